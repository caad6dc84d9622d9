//! `cs search` and `cs show`: what connector spaces hold.

use crate::cli::App;
use crate::cli::args::{CsCommand, CsSearchArguments, PendingKind};
use crate::cli::commands::{attribute_table, facts, more, only_object};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{Table, clean, moment, table};
use crate::model::{DeltaKind, ErrorSide};
use crate::service::{Access, AttributeFilter, CsLine, CsObjectView, CsQuery, KnownAs};
use serde::Serialize;

#[derive(Serialize)]
struct Lines {
    objects: Vec<CsLine>,
    more: bool,
}

pub(in crate::cli) fn run(app: &App, command: &CsCommand) -> Result<Exit, CommandError> {
    match command {
        CsCommand::Search(arguments) => search(app, arguments),
        CsCommand::Show { object, limit } => show(app, object, *limit),
    }
}

fn search(app: &App, arguments: &CsSearchArguments) -> Result<Exit, CommandError> {
    let query = query(arguments)?;
    let service = app.service(Access::Existing)?;
    let connector = service.connector_id(&arguments.connector)?;
    let (objects, cut) = service.browse()?.search_cs(connector, &query)?;
    app.output.result(&Lines { objects, more: cut }, |found| {
        if found.objects.is_empty() {
            app.output.note("Nothing fits.");
            return;
        }
        app.output.table(line_table(&found.objects));
        more(&app.output, found.more, found.objects.len());
    });
    Ok(Exit::Ok)
}

/// Objects of connector spaces, one in each line.
pub(in crate::cli) fn line_table(lines: &[CsLine]) -> Table {
    let mv = |line: &CsLine| line.metaverse.map(|mv| mv.to_string()).unwrap_or_default();
    if lines.iter().all(|line| line.known_as == KnownAs::default()) {
        let row = |line: &CsLine| {
            [line.id.clone(), line.object_type.clone(), line.state.to_owned(), mv(line), line.pending.join(", "), line.dn.clone()]
        };
        return table(["id", "type", "state", "mv", "pending", "name"], &["id", "mv"], lines.iter().map(row));
    }
    let row = |line: &CsLine| {
        let (state, pending, known_as) = (line.state.to_owned(), line.pending.join(", "), line.known_as.to_string());
        [line.id.clone(), line.object_type.clone(), state, mv(line), pending, known_as, line.dn.clone()]
    };
    table(["id", "type", "state", "mv", "pending", "known as", "name"], &["id", "mv"], lines.iter().map(row))
}

fn query(arguments: &CsSearchArguments) -> Result<CsQuery, CommandError> {
    let kinds = |kinds: &[PendingKind]| {
        kinds
            .iter()
            .map(|kind| match kind {
                PendingKind::Add => DeltaKind::Add,
                PendingKind::Update => DeltaKind::Update,
                PendingKind::Delete => DeltaKind::Delete,
                PendingKind::DeleteAdd => DeltaKind::DeleteAdd,
            })
            .collect()
    };
    let sides =
        [(arguments.import_error, ErrorSide::Import), (arguments.sync_error, ErrorSide::Sync), (arguments.export_error, ErrorSide::Export)];
    Ok(CsQuery {
        rdn: arguments.rdn.clone(),
        under: arguments.under.clone(),
        object_type: arguments.object_type.clone(),
        state: arguments.state.clone(),
        pending_import: kinds(&arguments.pending_import),
        pending_export: kinds(&arguments.pending_export),
        error_sides: sides.into_iter().filter_map(|(wanted, side)| wanted.then_some(side)).collect(),
        filters: filters(&arguments.filters)?,
        limit: arguments.limit,
    })
}

/// Conditions on attributes.
pub(in crate::cli) fn filters(texts: &[String]) -> Result<Vec<AttributeFilter>, CommandError> {
    texts.iter().map(|text| text.parse().map_err(CommandError::usage)).collect()
}

fn show(app: &App, text: &str, limit: usize) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let browser = service.browse()?;
    let id = only_object(&browser, browser.find_origin(text)?, text)?;
    let Some(view) = browser.show_cs(id, limit)? else {
        return Err(CommandError::new("not-found", Exit::Errors, format!("object {id} is gone")));
    };
    app.output.result(&view, |view| print(app, view));
    Ok(Exit::Ok)
}

fn print(app: &App, view: &CsObjectView) {
    let anchor = view.anchor.as_ref().map(|anchor| anchor.guid.clone().unwrap_or_else(|| anchor.text.clone())).unwrap_or_default();
    facts(
        &app.output,
        &view.dn,
        &[
            ("id", view.id.clone()),
            ("connector", view.connector.clone()),
            ("type", view.object_type.clone()),
            ("anchor", anchor),
            ("state", view.state.to_owned()),
            ("metaverse", view.metaverse.map(|mv| mv.to_string()).unwrap_or_default()),
            ("linked by", view.linked_by.clone().unwrap_or_default()),
            ("transient", if view.transient { "another object took its name".to_owned() } else { String::new() }),
        ],
    );
    app.output.line(format!("\n{} attributes:", view.image));
    app.output.table(attribute_table(&view.attributes));
    for stage in &view.stages {
        app.output.line(format!("\n{}: {}", stage.stage, stage.operation));
        if let Some(rename) = &stage.rename {
            app.output.line(format!("  name: {}", clean(rename)));
        }
        for change in &stage.changes {
            for value in &change.removed {
                app.output.line(format!("  - {}: {}", change.attribute, clean(value.to_string())));
            }
            for value in &change.added {
                app.output.line(format!("  + {}: {}", change.attribute, clean(value.to_string())));
            }
        }
    }
    for problem in &view.problems {
        app.output.line(format!(
            "\nproblem ({}): {}, since {}, {} retries",
            problem.side,
            problem.code,
            moment(&problem.first_seen),
            problem.retries
        ));
        for line in problem.detail.lines() {
            app.output.line(format!("  {}", clean(line)));
        }
    }
}
