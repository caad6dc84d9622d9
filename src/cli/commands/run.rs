//! `run start`, `run list`, `run show`: single run profiles, and what past runs did.

use crate::cli::App;
use crate::cli::args::{Profile, RunCommand};
use crate::cli::calls::{call, completed, shown};
use crate::cli::commands::more;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{Output, Table, clean, counted, duration, moment, table, thousands};
use crate::cli::progress::progress;
use crate::config::duration_of;
use crate::model::{ConnectorId, Retention, Timestamp};
use crate::service::Profile as Kind;
use crate::service::{Access, DriveOptions, GuardStop, History, RunView, Service, StepObjectView, StepObjectsView, Work};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;

#[derive(Serialize)]
struct Shown<'r> {
    runs: &'r [RunView],
    /// What people should look at although no run complained.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'r [String],
    /// What guards stopped.
    #[serde(skip_serializing_if = "<[GuardStop]>::is_empty")]
    stopped_by_guard: &'r [GuardStop],
}

pub(in crate::cli) fn run(app: &App, command: &RunCommand) -> Result<Exit, CommandError> {
    match command {
        RunCommand::Start { connector, profile, allow_shrink, allow_incomplete, allow_deletes } => {
            let (allow_shrink, allow_incomplete, allow_deletes) = (*allow_shrink, *allow_incomplete, *allow_deletes);
            start(app, connector, *profile, DriveOptions { allow_shrink, allow_incomplete, allow_deletes, ..DriveOptions::default() })
        }
        RunCommand::Stop => super::cycle::stop(app),
        RunCommand::Purge { older_than, all } => purge(app, older_than.as_deref(), *all),
        RunCommand::List { connector, running, limit } => {
            let service = app.service(Access::Existing)?;
            let only = connector.as_deref().map(|name| service.connector_id(name)).transpose()?;
            let runs = service.history()?.runs_of(only, *running, *limit)?;
            app.output.result(&Shown { runs: &runs, warnings: &[], stopped_by_guard: &[] }, |found| {
                if found.runs.is_empty() {
                    app.output.note(if *running { "Nothing runs." } else { "Nothing ran yet." });
                    return;
                }
                app.output.table(run_table(found.runs));
            });
            Ok(Exit::Ok)
        }
        RunCommand::Show { number, counter, step, limit } => {
            let history = app.service(Access::Existing)?.history()?;
            match counter {
                None => {
                    let mut view = history.run(*number)?;
                    History::refuse_unknown_step(&view, *step)?;
                    view.steps.retain(|shown| step.is_none_or(|wanted| wanted == shown.number));
                    app.output.result(&view, |view| print_run(app, view));
                }
                Some(counter) => {
                    History::refuse_unknown_step(&history.run(*number)?, *step)?;
                    let view = history.objects(*number, *step, counter, *limit)?;
                    app.output.result(&view, |view| print_objects(app, view));
                }
            }
            Ok(Exit::Ok)
        }
    }
}

fn purge(app: &App, older_than: Option<&str>, all: bool) -> Result<Exit, CommandError> {
    let age = match older_than {
        Some(text) => duration_of(text).map_err(|why| CommandError::usage(format!("--older-than: {why}")))?,
        None => jiff::SignedDuration::ZERO,
    };
    let micros = i64::try_from(age.unsigned_abs().as_micros()).unwrap_or(i64::MAX);
    let now = app.cx.now();
    // All of them are also those that a clock noted which was ahead.
    let before = if all { Timestamp(i64::MAX) } else { Timestamp(now.0.saturating_sub(micros)) };
    let purged = app.service(Access::Existing)?.purge(Retention { before, now })?;
    app.output.result(&json!({ "purged": purged }), |_| app.output.line(format!("{} forgotten.", counted(purged, "run", "runs"))));
    Ok(Exit::Ok)
}

/// Runs, one in each line.
fn run_table(runs: &[RunView]) -> Table {
    table(
        ["run", "cycle", "connector", "profile", "started", "took", "result", "counted"],
        &["run", "cycle", "took"],
        runs.iter().map(|run| {
            [
                run.number.to_string(),
                run.cycle.map(|cycle| cycle.to_string()).unwrap_or_default(),
                run.connector.clone(),
                run.profile.clone(),
                moment(&run.started),
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

/// Notes of one step that a summary repeats; many entries with one problem would hide everything else.
const NOTES_SHOWN: usize = 5;

/// What runs did, as `run start`, `cycle start` and `export` show it.
pub(in crate::cli) fn print_results(app: &App, runs: &[RunView]) {
    if runs.is_empty() {
        return;
    }
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
    app.output.table(table(["run", "connector", "step", "took", "result", "counted"], &["run", "took"], rows));
    for (run, step) in runs.iter().flat_map(|run| run.steps.iter().map(move |step| (run, step))) {
        if let Some(message) = &step.message {
            let message = completed(message);
            let mut lines: Vec<String> = message.lines().take(NOTES_SHOWN).map(clean).collect();
            let more = message.lines().count() - lines.len();
            if more > 0 {
                let all = call(&["run", "show", &run.number.to_string()]);
                lines.push(format!("and {}: {all}", counted(more as u64, "more note", "more notes")));
            }
            app.output.line(format!("\nrun {}, {}: {}", run.number, step.title(), lines.join("\n  ")));
        }
    }
}

/// How runs ended, taken together: the worst of them.
pub(in crate::cli) fn exit_of(runs: &[RunView]) -> Exit {
    runs.iter().map(|run| Exit::of_result(&run.result)).max().unwrap_or_default()
}

fn print_run(app: &App, run: &RunView) {
    super::facts(
        &app.output,
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
            for line in completed(message).lines() {
                app.output.paragraph("  ", line);
            }
        }
        if !step.counters.is_empty() {
            let rows = step.counters.iter().map(|(name, count)| [format!("  {name}"), thousands(*count)]);
            app.output.table(table(["  counter", "objects"], &["objects"], rows));
        }
    }
    if let Some(name) = run.steps.iter().flat_map(|step| step.counters.iter()).find(|(_, count)| **count > 0).map(|(name, _)| name) {
        let command = call(&["run", "show", &run.number.to_string(), "--counter", name]);
        app.output.note(format!("\nThe objects behind a counter: {command}"));
    }
}

fn print_objects(app: &App, view: &StepObjectsView) {
    for object in &view.objects {
        app.output.line(clean(format!("{}  {}", object.id, object.dn)));
        print_changes(&app.output, object);
    }
    more(&app.output, view.more, view.objects.len());
}

/// What a step changed of an object, a value in each line.
pub(in crate::cli) fn print_changes(output: &Output, object: &StepObjectView) {
    for change in &object.changes {
        for value in &change.removed {
            output.line(format!("  - {}: {}", change.attribute, clean(value)));
        }
        for value in &change.added {
            output.line(format!("  + {}: {}", change.attribute, clean(value)));
        }
    }
}

fn start(app: &App, connector: &str, profile: Profile, options: DriveOptions) -> Result<Exit, CommandError> {
    let profile = match profile {
        Profile::FullImport => Kind::FullImport,
        Profile::DeltaImport => Kind::DeltaImport,
        Profile::FullSync => Kind::FullSynchronization,
        Profile::DeltaSync => Kind::DeltaSynchronization,
        Profile::Export => Kind::Export,
    };
    for (word, given) in [("--allow-shrink", options.allow_shrink), ("--allow-incomplete", options.allow_incomplete)] {
        if given && profile != Kind::FullImport {
            return Err(CommandError::usage(format!("{word} goes with full-import"))
                .hint(format!("`syncline run start '{connector}' full-import {word}`")));
        }
    }
    if options.allow_deletes.is_some() && profile != Kind::Export {
        return Err(CommandError::usage("--allow-deletes goes with export").hint(format!(
            "`syncline export '{connector}' --what-if` names the set; then `syncline run start '{connector}' export --allow-deletes SET`"
        )));
    }
    let service = app.service(Access::Create)?;
    let connector = service.connector_id(connector)?;
    drive(app, &service, &[Work::Profile { connector, profile }], options)
}

/// Does work with progress and shows what came of it.
pub(in crate::cli) fn drive(app: &App, service: &Service, work: &[Work], options: DriveOptions) -> Result<Exit, CommandError> {
    drive_warned(app, service, work, options, Vec::new())
}

/// As [`drive`], with sentences about what is to be looked at anyway.
pub(in crate::cli) fn drive_warned(
    app: &App,
    service: &Service,
    work: &[Work],
    options: DriveOptions,
    warnings: Vec<String>,
) -> Result<Exit, CommandError> {
    let mut progress = progress(&app.output);
    let runs = service.drive(&app.cx, work, options, progress.as_mut())?;
    drop(progress);
    let mut warnings = warnings;
    warnings.extend(runs.iter().filter_map(|run| all_filtered(service, run)));
    let failed: BTreeSet<&str> =
        runs.iter().filter(|run| Exit::of_result(&run.result) >= Exit::Stopped).map(|run| run.connector.as_str()).collect();
    warnings.extend(failed.into_iter().flat_map(|connector| service.missing_files(connector)));
    for target in service.rules()?.targets() {
        warnings.extend(strays(service, *target, &runs)?);
    }
    let exports = |piece: &Work| matches!(piece, Work::Cycle { .. } | Work::Profile { profile: Kind::Export, .. });
    if work.iter().any(exports) {
        warnings.extend(super::guard::threshold_off(service));
    }
    let exit = if warnings.is_empty() { exit_of(&runs) } else { exit_of(&runs).max(Exit::Warnings) };
    let mut stops = if exit == Exit::Guard { service.guard_stops()? } else { Vec::new() };
    stops.retain(|stop| runs.iter().any(|run| run.number == stop.run));
    app.output.result(&Shown { runs: &runs, warnings: &warnings, stopped_by_guard: &stops }, |found| {
        print_results(app, found.runs);
        for warning in found.warnings {
            app.output.note(format!("\n{}", clean(completed(warning))));
        }
        for stop in found.stopped_by_guard {
            app.output.note(format!("\n{}: {}", clean(stop.to_string()), shown(&stop.command)));
        }
    });
    if !app.output.json && exit == Exit::Errors {
        app.output.note(format!("Some objects have problems, which this lists: {}", call(&["errors"])));
    } else if !app.output.json && exit < Exit::Errors && work.iter().any(|piece| matches!(piece, Work::Cycle { .. })) {
        // Nothing of it happened in these runs, so their outcome is not another one for it.
        let (left, _) = service.browse()?.problems(None, 1)?;
        if !left.is_empty() {
            app.output.note(format!("Problems of earlier runs are still there, which this lists: {}", call(&["errors"])));
        }
    }
    Ok(exit)
}

/// A sentence when a synchronization of a target came upon objects that belong to nobody, and still do.
fn strays(service: &Service, target: ConnectorId, runs: &[RunView]) -> Result<Option<String>, CommandError> {
    let Some(name) = service.connectors().get(&target) else { return Ok(None) };
    let remains = |run: &&RunView| run.steps.iter().any(|step| step.counters.get("disconnector-remains").is_some_and(|count| *count > 0));
    if runs.iter().filter(|run| run.connector == *name).any(|run| remains(&run)) {
        let found = service.strays(target)?;
        return Ok(found.map(|found| format!("{found}: `syncline cs search '{name}' --state disconnector`")));
    }
    Ok(None)
}

/// A sentence when a full import read entries and wanted none of them.
fn all_filtered(service: &Service, run: &RunView) -> Option<String> {
    let step =
        run.steps.iter().find(|step| step.kind == "full-import" && (step.result == "success" || step.result.starts_with("completed")))?;
    let filtered = step.counters.get("filtered-objects").copied().unwrap_or(0);
    let used = step.counters.iter().any(|(name, count)| *count > 0 && name.starts_with("stage-") && name != "stage-delete");
    if filtered == 0 || used {
        return None;
    }
    let file = service.config().connector(&run.connector)?.file.display().to_string();
    Some(format!(
        "All {} of {} were left out by the object types or containers that it selects: see [selection] in {file}",
        counted(filtered, "entry", "entries"),
        run.connector
    ))
}
