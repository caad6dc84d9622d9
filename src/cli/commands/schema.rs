//! `schema`: what directories and the metaverse have, and which attributes are read.

use crate::cli::App;
use crate::cli::args::{CloudValues as Typed, SchemaCommand};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, table, thousands};
use crate::service::{Access, AttributeChange, CloudValues, SchemaView};

pub(in crate::cli) fn run(app: &App, command: &SchemaCommand) -> Result<Exit, CommandError> {
    let service = app.service(Access::Create)?;
    let change = match command {
        SchemaCommand::Show { of, used } => {
            let mut view = if of.eq_ignore_ascii_case("mv") { service.metaverse_schema()? } else { service.schema(&app.cx, of)? };
            view.attributes.retain(|attribute| !used || attribute.state != "unused");
            app.output.result(&view, |view| print(app, view));
            return Ok(Exit::Ok);
        }
        SchemaCommand::Include { connector, attributes, what_if } => service.choose_attributes(connector, attributes, None, *what_if)?,
        SchemaCommand::Exclude { connector, attributes, cloud_values, what_if } => {
            let values = match cloud_values {
                Typed::Leave => CloudValues::Leave,
                Typed::Recall => CloudValues::Recall,
            };
            service.choose_attributes(connector, attributes, Some(values), *what_if)?
        }
    };
    app.output.result(&change, |change| print_change(app, change));
    Ok(Exit::Ok)
}

fn print(app: &App, view: &SchemaView) {
    let types: Vec<String> =
        view.object_types.iter().map(|kind| if kind.used { kind.name.clone() } else { format!("({})", kind.name) }).collect();
    app.output.line(clean(format!("types: {}", types.join(", "))));
    let rows = view.attributes.iter().map(|attribute| {
        let several = if attribute.multi_valued { "yes" } else { "" };
        [attribute.name.clone(), attribute.kind.to_owned(), several.to_owned(), attribute.state.to_owned()]
    });
    app.output.table(table(["attribute", "type", "several", "state"], &[], rows));
}

fn print_change(app: &App, change: &AttributeChange) {
    app.output.line(clean(format!("{} ({}): {}", change.connector, change.file, change.done)));
    let rows = change
        .effects
        .iter()
        .map(|effect| [effect.attribute.clone(), thousands(effect.objects), thousands(effect.in_targets), effect.targets.join("; ")]);
    app.output.table(table(
        ["attribute", "objects with a value", "of these in targets", "reaches"],
        &["objects with a value", "of these in targets"],
        rows,
    ));
    app.output.line(match change.cloud_values {
        Some("leave") => "What they gave to targets stays there, and is not changed any more.",
        Some(_) => "What they gave to targets is emptied there, unless something else gives a value.",
        None => "They are read again, and flow as the rules say.",
    });
    if change.done == "written" {
        app.output.note("The next import reads everything again, and a full synchronization follows.");
    }
}
