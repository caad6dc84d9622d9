//! `export`: sends what waits, or shows what would be sent.

use crate::cli::App;
use crate::cli::args::ExportArguments;
use crate::cli::calls::call;
use crate::cli::commands::more;
use crate::cli::commands::run::drive;
use crate::cli::commands::trace::print_wrapped;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, table, thousands};
use crate::model::ConnectorId;
use crate::service::{Access, DriveOptions, Profile, Service, WhatIfView, Work};
use serde::Serialize;

#[derive(Serialize)]
struct Targets {
    targets: Vec<WhatIfView>,
}

pub(in crate::cli) fn run(app: &App, arguments: &ExportArguments) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let targets = targets(&service, arguments.connector.as_deref())?;
    if arguments.what_if {
        return what_if(app, &service, &targets, arguments.limit);
    }
    if arguments.allow_deletes.is_some() && targets.len() > 1 {
        return Err(CommandError::usage("--allow-deletes needs the target's name: there are several targets"));
    }
    let work: Vec<Work> = targets.into_iter().map(|connector| Work::Profile { connector, profile: Profile::Export }).collect();
    drive(app, &service, &work, DriveOptions { allow_deletes: arguments.allow_deletes, ..DriveOptions::default() })
}

fn targets(service: &Service, name: Option<&str>) -> Result<Vec<ConnectorId>, CommandError> {
    if let Some(name) = name {
        return Ok(vec![service.connector_id(name)?]);
    }
    let targets = service.rules()?.targets().to_vec();
    if targets.is_empty() {
        return Err(CommandError::new("configuration", Exit::NotStarted, "no connector is a target of a rule"));
    }
    Ok(targets)
}

fn what_if(app: &App, service: &Service, targets: &[ConnectorId], limit: usize) -> Result<Exit, CommandError> {
    let mut views = Vec::new();
    for target in targets {
        views.push(service.what_if(*target, limit)?);
    }
    let exit = if views.iter().any(|view| view.stopped_by_threshold) { Exit::Guard } else { Exit::Ok };
    app.output.result(&Targets { targets: views }, |found| {
        for view in &found.targets {
            print(app, view);
        }
    });
    Ok(exit)
}

fn print(app: &App, view: &WhatIfView) {
    for object in &view.objects {
        let line = format!("{:<10}  {}  {}  {}", object.operation, object.id, object.dn, object.known_as);
        app.output.line(clean(line.trim_end()));
        if let Some(rename) = &object.rename {
            app.output.line(clean(format!("  name: {rename}")));
        }
        if !object.would_be_emptied.is_empty() {
            print_wrapped(&app.output, "  would be emptied: ", &object.would_be_emptied.join(", "));
        }
        for change in &object.changes {
            for value in &change.removed {
                app.output.line(format!("  - {}: {}", change.attribute, clean(value)));
            }
            for value in &change.added {
                app.output.line(format!("  + {}: {}", change.attribute, clean(value)));
            }
        }
    }
    more(&app.output, view.more, view.objects.len());
    app.output.line(format!(
        "{}: {} adds, {} updates, {} renames, {} deletes",
        clean(&view.connector),
        thousands(view.adds),
        thousands(view.updates),
        thousands(view.renames),
        thousands(view.deletes)
    ));
    if !view.would_be_emptied.is_empty() {
        app.output.line(format!("\nwould be emptied in {}:", clean(&view.connector)));
        let rows = view.would_be_emptied.iter().map(|(attribute, objects)| [attribute.clone(), thousands(*objects)]);
        app.output.table(table(["attribute", "objects"], &["objects"], rows));
    }
    if view.staging {
        app.output.note("This installation is in staging mode: nothing would be sent.");
    }
    if view.stopped_by_threshold {
        app.output.note(format!(
            "The export would stop before the first object: {} deletes wait, {} are allowed. After a review, to send exactly these:\n  {}",
            view.deletes,
            view.delete_limit.unwrap_or_default(),
            call(&["export", &view.connector, "--allow-deletes", &view.delete_set])
        ));
    }
}
