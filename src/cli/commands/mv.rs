//! `mv search`, `mv show` and `mv why`: what the metaverse holds and where it comes from.

use crate::cli::App;
use crate::cli::args::MvCommand;
use crate::cli::commands::cs::{filters, line_table};
use crate::cli::commands::{facts, more, only_one};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{moment, table, thousands};
use crate::service::{Access, MvLine, MvObjectView, MvQuery};
use serde::Serialize;

#[derive(Serialize)]
struct Lines {
    objects: Vec<MvLine>,
    more: bool,
}

pub(in crate::cli) fn run(app: &App, command: &MvCommand) -> Result<Exit, CommandError> {
    match command {
        MvCommand::Search { text, object_type, filters: conditions, limit } => {
            let query = MvQuery { object_type: object_type.clone(), text: text.clone(), filters: filters(conditions)?, limit: *limit };
            let service = app.service(Access::Existing)?;
            let (objects, cut) = service.browse()?.search_mv(&query)?;
            app.output.result(&Lines { objects, more: cut }, |found| {
                if found.objects.is_empty() {
                    app.output.note("Nothing fits.");
                    return;
                }
                let rows = found.objects.iter().map(|line| {
                    [line.id.to_string(), line.object_type.clone(), line.name.clone(), line.account.clone(), line.connectors.join(", ")]
                });
                app.output.table(table(["id", "type", "name", "account", "linked to"], &["id"], rows));
                more(&app.output, found.more, found.objects.len());
            });
        }
        MvCommand::Why { object, attribute, html } => return super::why::run(app, object, attribute, html.as_deref()),
        MvCommand::Show { object, limit } => {
            let service = app.service(Access::Existing)?;
            let browser = service.browse()?;
            let id = only_one(&browser, browser.find_mv(object)?, object, "metaverse object")?;
            let Some(view) = browser.show_mv(id, *limit)? else {
                return Err(CommandError::gone(format!("metaverse object {id}")));
            };
            app.output.result(&view, |view| print(app, view));
        }
    }
    Ok(Exit::Ok)
}

fn print(app: &App, view: &MvObjectView) {
    facts(&app.output, &format!("metaverse object {}", view.id), &[("type", view.object_type.clone())]);
    let mut rows = Vec::new();
    for attribute in &view.attributes {
        let mut name = attribute.name.clone();
        let mut origins = attribute.lineage.iter().map(|lineage| {
            [format!("{} ({})", lineage.rule, lineage.connector), format!("{} {}", lineage.source_id, lineage.dn), moment(&lineage.since)]
        });
        for value in &attribute.values {
            let [rule, object, since] = origins.next().unwrap_or_default();
            rows.push([std::mem::take(&mut name), value.to_string(), rule, object, since]);
        }
        for [rule, object, since] in origins {
            rows.push([std::mem::take(&mut name), String::new(), rule, object, since]);
        }
        let shown = u64::try_from(attribute.values.len()).unwrap_or(u64::MAX);
        if attribute.count > shown {
            let rest = format!("… and {} more", thousands(attribute.count - shown));
            rows.push([String::new(), rest, String::new(), String::new(), String::new()]);
        }
    }
    app.output.line("");
    app.output.table(table(["attribute", "value", "rule", "object", "since"], &[], rows));
    app.output.line("\nlinked to:");
    app.output.table(line_table(&view.links));
}
