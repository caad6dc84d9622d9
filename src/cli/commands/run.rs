//! `run list`, `run show`: what past runs did.

use crate::cli::App;
use crate::cli::args::RunCommand;
use crate::cli::commands::more;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, duration, table, thousands};
use crate::service::{Access, RunView, StepObjectsView};
use serde::Serialize;
use std::fmt::Write as _;

#[derive(Serialize)]
struct Runs<'r> {
    runs: &'r [RunView],
}

pub(in crate::cli) fn run(app: &App, command: &RunCommand) -> Result<Exit, CommandError> {
    match command {
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
