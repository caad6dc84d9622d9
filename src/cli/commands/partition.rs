//! `partition`: which parts of a directory are read.

use crate::cli::App;
use crate::cli::args::PartitionCommand;
use crate::cli::calls::call;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted, table, thousands, told};
use crate::service::{Access, Choice, ContainerTree, PartitionLine, SelectionChange};
use serde::Serialize;

#[derive(Serialize)]
struct Partitions {
    partitions: Vec<PartitionLine>,
}

pub(in crate::cli) fn run(app: &App, command: &PartitionCommand) -> Result<Exit, CommandError> {
    let service = app.service(Access::Create)?;
    let (arguments, choice) = match command {
        PartitionCommand::List { connector, ask } => {
            let partitions = service.partitions(&app.cx, connector.as_deref(), *ask)?;
            app.output.result(&Partitions { partitions }, |found| {
                let rows = found.partitions.iter().map(|line| {
                    let read = if line.enabled { "yes" } else { "no" };
                    [line.connector.clone(), line.partition.clone(), read.to_owned(), thousands(line.objects)]
                });
                app.output.table(table(["connector", "partition", "read", "objects"], &["objects"], rows));
                if found.partitions.is_empty() {
                    let connector = connector.as_deref().unwrap_or("CONNECTOR");
                    app.output.note(format!(
                        "No directory has partitions to choose from. Files have none, but containers:\n  {}\n  {}",
                        call(&["partition", "tree", connector]),
                        call(&["partition", "exclude", connector, "DN"])
                    ));
                }
            });
            return Ok(Exit::Ok);
        }
        PartitionCommand::Tree { connector } => {
            let tree = service.container_tree(&app.cx, connector)?;
            app.output.result(&tree, |tree| print_tree(app, tree));
            return Ok(Exit::Ok);
        }
        PartitionCommand::Include(arguments) => (arguments, Choice::Include),
        PartitionCommand::Exclude(arguments) => (arguments, Choice::Exclude),
        PartitionCommand::Enable(arguments) => (arguments, Choice::Enable),
        PartitionCommand::Disable(arguments) => (arguments, Choice::Disable),
    };
    let change = service.choose(&app.cx, &arguments.connector, choice, &arguments.dn, arguments.what_if)?;
    app.output.result(&change, |change| print_change(app, change));
    Ok(Exit::Ok)
}

fn print_tree(app: &App, tree: &ContainerTree) {
    app.output.line(clean(format!(
        "{}: {} ({}), of which {} read",
        tree.connector,
        counted(tree.objects, "object", "objects"),
        tree.object_types.join(", "),
        counted(tree.selected, "is", "are")
    )));
    let rows = tree.containers.iter().map(|container| {
        let name = container.dn.split(',').next().unwrap_or(&container.dn);
        let shown = if container.depth == 0 { container.dn.clone() } else { format!("{}{name}", "  ".repeat(container.depth)) };
        let read = match (container.named, container.selected) {
            (Some(named), _) => named,
            (None, true) => "yes",
            (None, false) => "no",
        };
        // Blanks in front would be taken for the space between columns.
        [shown.replace("  ", "\u{a0}\u{a0}"), read.to_owned(), thousands(container.objects), thousands(container.below)]
    });
    app.output.table(table(["container", "read", "objects", "with all below"], &["objects", "with all below"], rows));
}

fn print_change(app: &App, change: &SelectionChange) {
    let names = |names: &[String], none: &str| if names.is_empty() { none.to_owned() } else { names.join("; ") };
    super::facts(
        &app.output,
        &format!("{} ({}): {}", change.connector, change.file, change.done),
        &[
            ("partitions", names(&change.partitions, "")),
            ("include", names(&change.include, "everything")),
            ("exclude", names(&change.exclude, "nothing")),
            ("leave", format!("{} of the connector space", counted(change.leaves, "object", "objects"))),
            ("deletes", format!("{} in targets, which the guards count", counted(change.deletes, "object", "objects"))),
            ("come", change.comes.map(|comes| format!("{} of the directory", counted(comes, "object", "objects"))).unwrap_or_default()),
        ],
    );
    if let Some(reason) = &change.unchecked {
        app.output.note(told(format!("Nobody could tell whether this container exists, and it was taken as it was written: {reason}")));
    }
    if change.done == "written" {
        app.output.note(format!("\nThe next import reads everything again. What then would be sent: {}", call(&["export", "--what-if"])));
    }
}
