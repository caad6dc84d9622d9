//! `run start`, `run list`, `run show`: single run profiles, and what past runs did.

use crate::cli::App;
use crate::cli::args::{Profile, RunCommand};
use crate::cli::commands::more;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, duration, table, thousands};
use crate::cli::progress::progress;
use crate::service::{Access, DeleteSet, DriveOptions, RunView, Service, StepObjectsView, Work};
use serde::Serialize;
use std::fmt::Write as _;

#[derive(Serialize)]
struct Runs<'r> {
    runs: &'r [RunView],
}

pub(in crate::cli) fn run(app: &App, command: &RunCommand) -> Result<Exit, CommandError> {
    match command {
        RunCommand::Start { connector, profile, allow_shrink, allow_deletes } => {
            start(app, connector, *profile, *allow_shrink, *allow_deletes)
        }
        RunCommand::List { limit } => {
            let runs = app.service(Access::Existing)?.history()?.runs(*limit)?;
            app.output.result(&Runs { runs: &runs }, |found| {
                if found.runs.is_empty() {
                    app.output.note("Nothing ran yet.");
                    return;
                }
                app.output.line(run_table(found.runs));
            });
            Ok(Exit::Ok)
        }
        RunCommand::Show { number, counter, step, limit } => {
            let history = app.service(Access::Existing)?.history()?;
            match counter {
                None => {
                    let view = history.run(*number)?;
                    app.output.result(&view, |view| print_run(app, view));
                }
                Some(counter) => {
                    let view = history.objects(*number, *step, counter, *limit)?;
                    app.output.result(&view, |view| print_objects(app, view));
                }
            }
            Ok(Exit::Ok)
        }
    }
}

/// Runs, one in each line.
fn run_table(runs: &[RunView]) -> String {
    table(
        ["run", "cycle", "connector", "profile", "started", "took", "result", "counted"],
        &["run", "cycle", "took"],
        runs.iter().map(|run| {
            [
                run.number.to_string(),
                run.cycle.map(|cycle| cycle.to_string()).unwrap_or_default(),
                run.connector.clone(),
                run.profile.clone(),
                run.started.clone(),
                run.seconds.map(duration).unwrap_or_default(),
                run.result.clone(),
                run.steps.iter().map(|step| counters(&step.counters, 3)).collect::<Vec<_>>().join("; "),
            ]
        }),
    )
}

/// The counters of a step in a few words, the largest numbers that say something first.
pub(in crate::cli) fn counters(counters: &std::collections::BTreeMap<String, u64>, most: usize) -> String {
    let mut shown: Vec<(&String, &u64)> = counters.iter().filter(|(_, count)| **count > 0).collect();
    shown.sort_by_key(|(name, _)| (name.contains("no-change") || name.contains("no-flow"), (*name).clone()));
    let mut text = String::new();
    for (index, (name, count)) in shown.iter().enumerate() {
        if index == most {
            text.push_str(", …");
            break;
        }
        let _ = write!(text, "{}{name} {}", if index > 0 { ", " } else { "" }, thousands(**count));
    }
    text
}

/// What runs did, as `run start`, `cycle start` and `export` show it.
pub(in crate::cli) fn print_results(app: &App, runs: &[RunView]) {
    let rows = runs.iter().flat_map(|run| {
        run.steps.iter().map(|step| {
            [
                run.number.to_string(),
                run.connector.clone(),
                step.title().to_owned(),
                step.seconds.map(duration).unwrap_or_default(),
                step.result.clone(),
                counters(&step.counters, 6),
            ]
        })
    });
    app.output.line(table(["run", "connector", "step", "took", "result", "counted"], &["run", "took"], rows));
    for (run, step) in runs.iter().flat_map(|run| run.steps.iter().map(move |step| (run, step))) {
        if let Some(message) = &step.message {
            app.output.line(format!(
                "\nrun {}, {}: {}",
                run.number,
                step.title(),
                message.lines().map(clean).collect::<Vec<_>>().join("\n  ")
            ));
        }
    }
}

/// How runs ended, taken together: the worst of them.
pub(in crate::cli) fn exit_of(runs: &[RunView]) -> Exit {
    runs.iter().map(|run| Exit::of_result(&run.result)).max().unwrap_or_default()
}

fn print_run(app: &App, run: &RunView) {
    super::facts(
        app.output,
        &format!("run {}: {} on {}", run.number, run.profile, run.connector),
        &[
            ("started", run.started.clone()),
            ("ended", run.ended.clone().unwrap_or_else(|| "not".to_owned())),
            ("took", run.seconds.map(duration).unwrap_or_default()),
            ("result", run.result.clone()),
            ("cycle", run.cycle.map(|cycle| cycle.to_string()).unwrap_or_default()),
        ],
    );
    for step in &run.steps {
        let subtype = step.subtype.map(|subtype| format!(" ({subtype})")).unwrap_or_default();
        app.output.line(format!("\nstep {}: {}{subtype}: {}", step.number, step.kind, step.result));
        if let Some(message) = &step.message {
            for line in message.lines() {
                app.output.line(format!("  {}", clean(line)));
            }
        }
        if !step.counters.is_empty() {
            let rows = step.counters.iter().map(|(name, count)| [format!("  {name}"), thousands(*count)]);
            app.output.line(table(["  counter", "objects"], &["objects"], rows));
        }
    }
    if let Some(name) = run.steps.iter().flat_map(|step| step.counters.iter()).find(|(_, count)| **count > 0).map(|(name, _)| name) {
        app.output.note(format!("\nThe objects behind a counter: syncline run show {} --counter {name}", run.number));
    }
}

fn print_objects(app: &App, view: &StepObjectsView) {
    for object in &view.objects {
        app.output.line(clean(format!("{}  {}", object.id, object.dn)));
        for change in &object.changes {
            for value in &change.removed {
                app.output.line(format!("  - {}: {}", change.attribute, clean(value)));
            }
            for value in &change.added {
                app.output.line(format!("  + {}: {}", change.attribute, clean(value)));
            }
        }
    }
    more(app.output, view.more, view.objects.len());
}

fn start(app: &App, connector: &str, profile: Profile, allow_shrink: bool, allow_deletes: Option<DeleteSet>) -> Result<Exit, CommandError> {
    use crate::service::Profile as Kind;
    let profile = match profile {
        Profile::FullImport => Kind::FullImport,
        Profile::DeltaImport => Kind::DeltaImport,
        Profile::FullSync => Kind::FullSynchronization,
        Profile::DeltaSync => Kind::DeltaSynchronization,
        Profile::Export => Kind::Export,
    };
    if allow_shrink && profile != Kind::FullImport {
        return Err(CommandError::usage("--allow-shrink goes with full-import"));
    }
    if allow_deletes.is_some() && profile != Kind::Export {
        return Err(CommandError::usage("--allow-deletes goes with export"));
    }
    let service = app.service(Access::Create)?;
    let connector = service.connector_id(connector)?;
    drive(app, &service, &[Work::Profile { connector, profile }], DriveOptions { allow_shrink, allow_deletes, ..DriveOptions::default() })
}

/// Does work with progress and shows what came of it.
pub(in crate::cli) fn drive(app: &App, service: &Service, work: &[Work], options: DriveOptions) -> Result<Exit, CommandError> {
    let mut progress = progress(app.output);
    let runs = service.drive(work, options, progress.as_mut())?;
    drop(progress);
    let exit = exit_of(&runs);
    app.output.result(&Runs { runs: &runs }, |found| print_results(app, found.runs));
    if !app.output.json && exit == Exit::Errors {
        app.output.note("Some objects have problems: syncline errors lists them.");
    }
    Ok(exit)
}
