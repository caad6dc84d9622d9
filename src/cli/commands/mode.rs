//! `mode show|active|staging` and `promote`: whether this installation exports, and becoming the one that does.

use crate::cli::args::{ModeCommand, PromoteArguments};
use crate::cli::calls::shown;
use crate::cli::commands::facts;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted, table};
use crate::cli::{App, Place};
use crate::service::{Access, InstallationView, ModeView, NotJoined, Promotion, PromotionView};
use serde_json::json;

pub(in crate::cli) fn run(app: &App, command: &ModeCommand) -> Result<Exit, CommandError> {
    let service = app.service(Access::Create)?;
    match command {
        ModeCommand::Show => {
            let view = service.mode(&app.cx)?;
            let blocked = view.targets.iter().any(|target| target.rival.is_some());
            app.output.result(&view, |view| show(app, view));
            Ok(if blocked { Exit::Guard } else { Exit::Ok })
        }
        ModeCommand::Active => {
            let changed = service.activate(&app.cx)?;
            heeded(app, false)?;
            app.output.result(&json!({ "mode": "active", "changed": changed }), |_| {
                app.output.line(if changed {
                    "Active: exports go from the next step on."
                } else {
                    "This installation was active already."
                });
            });
            Ok(Exit::Ok)
        }
        ModeCommand::Staging => {
            let changed = service.rest()?;
            heeded(app, true)?;
            app.output.result(&json!({ "mode": "staging", "changed": changed }), |_| {
                app.output.line(if changed {
                    "Staging: nothing is exported from the next batch on."
                } else {
                    "This installation was in staging mode already."
                });
            });
            Ok(Exit::Ok)
        }
    }
}

/// Refuses to call done what a running service does not do.
fn heeded(app: &App, staging: bool) -> Result<(), CommandError> {
    let Place::Service(station) = &app.place else { return Ok(()) };
    station.reload();
    if station.service().limits().staging == staging {
        return Ok(());
    }
    let why = station.refused().unwrap_or_else(|| "it took over another change meanwhile".to_owned());
    let message = format!("[guard] staging = {staging} is written down, and the running service does not heed it: {why}");
    let stop = "`syncline cycle stop` ends what runs; stop the service to be sure that nothing more is exported";
    let mend = "`syncline config check` says what is to be mended; it counts as soon as that is done";
    Err(CommandError::new("not-heeded", Exit::Stopped, message).hint(if staging { stop } else { mend }))
}

pub(in crate::cli) fn promote(app: &App, arguments: &PromoteArguments) -> Result<Exit, CommandError> {
    let service = app.service(Access::Create)?;
    let view = service.promote(&app.cx, Promotion { takeover: arguments.takeover, what_if: arguments.what_if })?;
    app.output.result(&view, |view| print(app, view));
    if view.promoted
        && let Err(error) = heeded(app, false)
    {
        // The result is there already, and stays the one document.
        app.output.for_people().error(&error);
        return Ok(error.exit);
    }
    Ok(if view.ready { Exit::Ok } else { Exit::Guard })
}

fn show(app: &App, view: &ModeView) {
    let mode = if view.mode == "staging" { "staging: nothing is exported" } else { "active" };
    facts(&app.output, "This installation", &[("mode", mode.to_owned()), ("who it is", named(&view.installation))]);
    for target in &view.targets {
        app.output.line("");
        facts(
            &app.output,
            &target.connector,
            &[
                ("wrote last", target.last_writer.as_ref().map_or_else(|| "the target does not tell".to_owned(), named)),
                ("kept from writing by", target.rival.clone().unwrap_or_default()),
                ("could not be asked", target.unreachable.clone().unwrap_or_default()),
            ],
        );
    }
    if view.targets.iter().any(|target| target.rival.is_some()) {
        app.output.note(format!("To make this installation the active one: {}", shown("syncline promote --takeover")));
    }
}

fn named(installation: &InstallationView) -> String {
    let id = installation.id.as_ref().map(|id| format!("installation {id}"));
    let contact = installation.last_contact.as_ref().map(|at| format!("last contact {at}"));
    [installation.machine.clone(), id, contact].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn print(app: &App, view: &PromotionView) {
    let rows =
        view.checks.iter().map(|check| [if check.good { "ok" } else { "stop" }.to_owned(), check.what.to_owned(), check.found.clone()]);
    app.output.table(table(["", "check", "found"], &[], rows));
    for command in view.checks.iter().filter_map(|check| check.command.as_ref()) {
        app.output.note(format!("To settle it: {}", shown(command)));
    }
    for other in &view.takes_over_from {
        app.output.line(clean(format!("Takes over from {other}")));
    }
    for target in &view.not_joined {
        not_joined(app, target);
    }
    app.output.line(if view.promoted {
        "This installation is the active one now. Another one stops by itself at its next export or password cycle."
    } else if view.ready {
        "This installation can become the active one. Nothing was changed."
    } else {
        "This installation is not fit to be the active one. Nothing was changed."
    });
}

/// A new store does not know who left before it was made, so nobody would ever be told of them.
fn not_joined(app: &App, target: &NotJoined) {
    let Some(command) = &target.command else { return };
    let told = match target.objects {
        Some(objects) => format!(
            "{} of {} joined to nobody in the directories: nothing deletes {} by itself. To look at {}: `{command}`",
            counted(objects, "synchronized object", "synchronized objects"),
            if objects == 1 { format!("{} is", target.connector) } else { format!("{} are", target.connector) },
            if objects == 1 { "it" } else { "them" },
            if objects == 1 { "it" } else { "them" },
        ),
        None => format!(
            "{} was not imported yet, so nobody knows whether it holds accounts of people who left: `{command}`, then `syncline run start '{}' \
             full-sync`",
            target.connector, target.connector
        ),
    };
    app.output.paragraph("note  ", &told);
}
