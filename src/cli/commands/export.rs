//! `export`: sends what waits, or shows what would be sent.

use crate::cli::App;
use crate::cli::args::ExportArguments;
use crate::cli::calls::call;
use crate::cli::commands::run::drive;
use crate::cli::commands::trace::print_wrapped;
use crate::cli::commands::{export_page, more};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted, table, thousands, told};
use crate::cli::private;
use crate::model::ConnectorId;
use crate::service::{Access, DriveOptions, ExportPlan, Profile, Service, TakeOversView, WhatIfObject, WhatIfView, Work, cell};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// More objects than these nobody looks at one by one, and a page of them would be too large to open.
const ON_PAGE: usize = 10_000;

#[derive(Serialize)]
struct Targets {
    targets: Vec<WhatIfView>,
}

pub(in crate::cli) fn run(app: &App, arguments: &ExportArguments) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let targets = targets(&service, arguments.connector.as_deref())?;
    if arguments.allow_deletes.is_some() && targets.len() > 1 {
        return Err(CommandError::usage("--allow-deletes needs the target's name: there are several targets"));
    }
    if arguments.what_if {
        return what_if(app, &service, &targets, arguments);
    }
    if let Some(plan) = &arguments.approve {
        let target = only_target(&service, &targets, "--approve")?;
        let plan = plan_of(app, &service, target, ("--approve", plan))?;
        service.approve_first_export(target, plan)?;
        app.output.result(&json!({ "approved": plan.to_string() }), |_| {
            app.output.line("Approved: the next cycle exports, and so do all that follow.");
        });
        return Ok(Exit::Ok);
    }
    if let Some(plan) = &arguments.plan {
        let target = only_target(&service, &targets, "--plan")?;
        let options = DriveOptions {
            allow_deletes: arguments.allow_deletes,
            plan: Some(plan_of(app, &service, target, ("--plan", plan))?),
            patience: app.wait,
            ..DriveOptions::default()
        };
        return drive(app, &service, &[Work::Profile { connector: target, profile: Profile::Export }], options);
    }
    let work: Vec<Work> = targets.into_iter().map(|connector| Work::Profile { connector, profile: Profile::Export }).collect();
    drive(app, &service, &work, DriveOptions { allow_deletes: arguments.allow_deletes, patience: app.wait, ..DriveOptions::default() })
}

/// Refuses an option that is about one target.
fn several(service: &Service, option: &str) -> CommandError {
    let names: Vec<&str> = service.connectors().values().map(String::as_str).collect();
    CommandError::usage(format!("{option} needs the target's name: there are several targets among {}", names.join(", ")))
        .hint("`syncline connector list` says which are targets; write `syncline export 'NAME'` and the option")
}

fn only_target(service: &Service, targets: &[ConnectorId], option: &str) -> Result<ConnectorId, CommandError> {
    match targets {
        [target] => Ok(*target),
        _ => Err(several(service, option)),
    }
}

/// A plan by its name, or by the document of a what-if.
fn plan_of(app: &App, service: &Service, target: ConnectorId, (option, text): (&str, &str)) -> Result<ExportPlan, CommandError> {
    if let Ok(plan) = text.parse() {
        return Ok(plan);
    }
    let path = app.path(Path::new(text));
    let unread = |reason: String| {
        CommandError::usage(format!("{option} {text}: {reason}"))
            .hint("`syncline export --what-if` names the plan of now; `--json` writes its document")
    };
    let content =
        std::fs::read(&path).map_err(|error| unread(format!("neither the name of a plan nor a file that can be read: {error}")))?;
    let document: Value = serde_json::from_slice(&content).map_err(|error| unread(format!("no document of --what-if --json: {error}")))?;
    let name = service.connectors().get(&target).cloned().unwrap_or_default();
    let views = document["targets"].as_array().cloned().unwrap_or_default();
    let view = views.iter().find(|view| view["connector"] == name.as_str());
    let plan = view.and_then(|view| view["plan"].as_str()).ok_or_else(|| unread(format!("it has no plan for {name}")))?;
    plan.parse().map_err(CommandError::usage)
}

fn targets(service: &Service, name: Option<&str>) -> Result<Vec<ConnectorId>, CommandError> {
    if let Some(name) = name {
        return Ok(vec![service.connector_id(name)?]);
    }
    let targets = service.rules()?.targets().to_vec();
    if targets.is_empty() {
        return Err(CommandError::new("configuration", Exit::NotStarted, "no connector is a target of a rule")
            .hint("`syncline connector list` shows the connectors, `syncline connector types` the kinds that rules can write to"));
    }
    Ok(targets)
}

fn what_if(app: &App, service: &Service, targets: &[ConnectorId], arguments: &ExportArguments) -> Result<Exit, CommandError> {
    let mut views = Vec::new();
    for target in targets {
        views.push(service.what_if(&app.cx, *target, arguments.allow_deletes, arguments.limit)?);
    }
    if let Some(file) = &arguments.html {
        let whole = targets
            .iter()
            .map(|target| service.what_if(&app.cx, *target, arguments.allow_deletes, ON_PAGE))
            .collect::<Result<Vec<_>, _>>()?;
        let path = app.result_file(file)?;
        let failed = |error: std::io::Error| CommandError::unwritten(&path, &error);
        private::write(&path, export_page::page(&whole, &app.cx.now().to_string()).as_bytes()).map_err(failed)?;
        app.output.note(format!("Everything that waits: {}", path.display()));
    }
    if let Some(file) = &arguments.csv {
        let mut text = format!("{}\r\n", COLUMNS.join(","));
        for (target, view) in targets.iter().zip(&views) {
            service.what_waits(*target)?.iter().for_each(|object| rows_of(&view.connector, object, &mut text));
        }
        let path = app.result_file(file)?;
        let failed = |error: std::io::Error| CommandError::unwritten(&path, &error);
        private::write(&path, text.as_bytes()).map_err(failed)?;
        app.output.note(format!("Everything that waits: {}", path.display()));
    }
    let exit = if views.iter().any(|view| view.stopped) {
        Exit::Guard
    } else if views.iter().any(|view| view.held.is_some()) {
        Exit::Warnings
    } else {
        Exit::Ok
    };
    app.output.result(&Targets { targets: views }, |found| {
        for view in &found.targets {
            print(app, view);
        }
    });
    Ok(exit)
}

/// The columns of the table of everything that waits.
const COLUMNS: [&str; 11] = [
    "target",
    "operation",
    "object",
    "type",
    "display name and sign-in name",
    "name in the target",
    "attribute",
    "change",
    "value now",
    "value then",
    "left without a value",
];

/// The lines of one object: one for each value that comes, goes or is replaced, and one alone where no attribute changes. So nothing has
/// to be taken apart, and a group of thousands fits the cells of a spreadsheet.
fn rows_of(target: &str, object: &WhatIfObject, text: &mut String) {
    let known_as = object.known_as.to_string();
    let head = [target, object.operation, &object.id, &object.object_type, &known_as, &object.dn].map(cell).join(",");
    // Writing to a text cannot fail.
    let mut row = |attribute: &str, (now, then): (&str, &str), emptied: bool| {
        let change = match (now, then) {
            ("", "") => "",
            ("", _) => "add",
            (_, "") => "remove",
            _ => "replace",
        };
        let cells = [attribute, change, now, then, if emptied { "yes" } else { "" }].map(cell).join(",");
        let _ = write!(text, "{head},{cells}\r\n");
    };
    if let Some(rename) = &object.rename {
        row("(name)", (&object.dn, rename), false);
    }
    if object.changes.is_empty() && object.rename.is_none() {
        row("", ("", ""), false);
    }
    for change in &object.changes {
        let emptied = object.would_be_emptied.contains(&change.attribute);
        if let ([now], [then]) = (change.removed.as_slice(), change.added.as_slice()) {
            row(&change.attribute, (now, then), emptied);
            continue;
        }
        change.removed.iter().for_each(|value| row(&change.attribute, (value, ""), emptied));
        change.added.iter().for_each(|value| row(&change.attribute, ("", value), emptied));
    }
}

fn print(app: &App, view: &WhatIfView) {
    for object in &view.objects {
        app.output.cells(&format!("{:<10}  ", object.operation), &[&object.id, &object.dn, &object.known_as.to_string()]);
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
        for held in &object.held {
            app.output.line(format!("  stays for now: {}: {}", held.attribute, clean(&held.name)));
        }
    }
    more(&app.output, view.more, view.objects.len());
    app.output.line(format!(
        "{}: {}, {}, {}, {}",
        clean(&view.connector),
        counted(view.adds, "add", "adds"),
        counted(view.updates, "update", "updates"),
        counted(view.renames, "rename", "renames"),
        counted(view.deletes, "delete", "deletes")
    ));
    if let Some(found) = &view.take_overs {
        print_take_overs(app, &view.connector, found);
    }
    if !view.would_be_emptied.is_empty() {
        app.output.line(format!("\nwould be emptied in {}:", clean(&view.connector)));
        let rows = view.would_be_emptied.iter().map(|(attribute, objects)| [attribute.clone(), thousands(*objects)]);
        app.output.table(table(["attribute", "objects"], &["objects"], rows));
    }
    for sentence in &view.outstanding {
        app.output.note(told(format!("not all of the next cycle is shown: {sentence}")));
    }
    if view.awaits_approval {
        app.output.note(format!(
            "Nothing was exported there yet, and the first export waits for you. To let exports go from now on, or to send exactly this:\n  {}\n  {}",
            call(&["export", &view.connector, "--approve", &view.plan]),
            call(&["export", &view.connector, "--plan", &view.plan])
        ));
    }
    if let Some(other) = &view.another_installation {
        let stops = if view.staging { "" } else { " Exports of this one stop before the first object." };
        app.output.note(told(format!(
            "Another installation writes to {}: {other}.{stops} Look at both with `syncline mode show`; if this one shall be the active one: \
             `syncline promote --takeover`",
            view.connector
        )));
    }
    if let Some(reason) = view.unasked.as_ref().filter(|_| view.take_overs.as_ref().is_none_or(|found| found.problem.is_none())) {
        app.output.note(told(format!("{} could not be asked who else writes to it: {reason}", view.connector)));
    }
    if view.staging {
        app.output.note("This installation is in staging mode: nothing would be sent.");
    }
    match view.allowed {
        Some(true) => app.output.note("The deletes that --allow-deletes names would be sent."),
        Some(false) => app.output.note("The deletes that --allow-deletes names are not those that wait: none would be sent for it."),
        None => {}
    }
    if let Some(held) = &view.held {
        let held_back = counted(held.deletes, "delete would not be sent", "deletes would not be sent");
        let why = told(format!("{held_back}, because {}: {}. After a review, to send exactly these:", held.reason, held.sample));
        app.output.note(format!("{why}\n  {}", call(&["export", &view.connector, "--allow-deletes", &held.delete_set])));
    }
    if view.stopped_by_threshold {
        app.output.note(format!(
            "The export would stop before the first object: {}, {} allowed. After a review, to send exactly these:\n  {}",
            counted(view.deletes, "delete waits", "deletes wait"),
            counted(view.delete_limit.unwrap_or_default(), "is", "are"),
            call(&["export", &view.connector, "--allow-deletes", &view.delete_set])
        ));
    }
}

fn print_take_overs(app: &App, connector: &str, found: &TakeOversView) {
    if let Some(problem) = &found.problem {
        app.output.note(format!("Take-overs could not be looked up: {problem}"));
        return;
    }
    for gap in &found.gaps {
        app.output.note(format!("Take-overs are known in part: {gap}"));
    }
    if found.objects.is_empty() {
        app.output.line("No object of the cloud would be taken over.");
        return;
    }
    app.output.line(format!("\nNew objects that {} has already:", clean(connector)));
    for object in &found.objects {
        let cloud = [&object.cloud_display_name, &object.cloud_name].into_iter().flatten().cloned().collect::<Vec<_>>().join(", ");
        let (ours, theirs) = (object.known_as.to_string(), format!("= {} {cloud} ({} {})", object.cloud_id, object.key, object.value));
        app.output.cells(&format!("{:<12}  ", object.fate), &[&object.id, &ours, &theirs]);
        if let Some(reason) = &object.reason {
            print_wrapped(&app.output, "  ", reason);
        }
        for change in &object.overwritten {
            for value in &change.cloud {
                app.output.line(format!("  - {}: {}", change.attribute, clean(value)));
            }
            for value in &change.wanted {
                app.output.line(format!("  + {}: {}", change.attribute, clean(value)));
            }
            if !change.lost.is_empty() {
                print_wrapped(&app.output, "  would be lost: ", &change.lost.join(", "));
            }
        }
    }
    more(&app.output, found.more, found.objects.len());
    app.output.line(format!(
        "{} taken over, {} refused, {} with a value kept aside, {} synchronized already",
        thousands(found.taken_over),
        thousands(found.refused),
        thousands(found.kept_aside),
        thousands(found.synchronized)
    ));
}
