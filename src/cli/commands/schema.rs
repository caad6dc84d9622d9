//! `schema`: what directories and the metaverse have, and which attributes and classes are read.

use crate::cli::App;
use crate::cli::args::{CloudValues as Typed, SchemaCommand};
use crate::cli::calls::call;
use crate::cli::commands::facts;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted, table, thousands};
use crate::service::{Access, ClassChange, CloudValues, SchemaChange, SchemaView};

pub(in crate::cli) fn run(app: &App, command: &SchemaCommand) -> Result<Exit, CommandError> {
    let service = app.service(Access::Create)?;
    let change = match command {
        SchemaCommand::Show { of, used } => {
            let mut view = if of.eq_ignore_ascii_case("mv") { service.metaverse_schema()? } else { service.schema(&app.cx, of)? };
            view.attributes.retain(|attribute| !used || attribute.state != "unused");
            app.output.result(&view, |view| print(app, view));
            return Ok(Exit::Ok);
        }
        SchemaCommand::Include { connector, names, what_if } => service.choose_schema(&app.cx, connector, names, None, *what_if)?,
        SchemaCommand::Exclude { connector, names, cloud_values, what_if } => {
            let values = match cloud_values {
                Typed::Leave => CloudValues::Leave,
                Typed::Recall => CloudValues::Recall,
            };
            service.choose_schema(&app.cx, connector, names, Some(values), *what_if)?
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

fn print_change(app: &App, change: &SchemaChange) {
    app.output.line(clean(format!("{} ({}): {}", change.connector, change.file, change.done)));
    if !change.effects.is_empty() {
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
    }
    if let Some(classes) = &change.classes {
        print_classes(app, change, classes);
    }
    if change.done == "written" {
        app.output.note("The next import reads everything again, and a full synchronization follows.");
    }
}

fn print_classes(app: &App, change: &SchemaChange, classes: &ClassChange) {
    let rows = classes.objects.iter().map(|(class, objects)| [class.clone(), thousands(*objects)]);
    app.output.table(table(["class", "objects"], &["objects"], rows));
    facts(
        &app.output,
        &format!("{} reads {}", change.connector, classes.object_types.join(", ")),
        &[
            ("leave", format!("{} of the connector space", counted(classes.leaves, "object", "objects"))),
            ("deletes", format!("{} in targets, which the guards count", counted(classes.deletes, "object", "objects"))),
            ("come", classes.comes.map(|comes| format!("{} of the directory", counted(comes, "object", "objects"))).unwrap_or_default()),
        ],
    );
    if classes.leaves > 0 {
        let believe = call(&["run", "start", &change.connector, "full-import", "--allow-shrink"]);
        app.output.note(format!("A guard stops imports that miss much, or all of a class. To let this one through, once: {believe}"));
    }
}
