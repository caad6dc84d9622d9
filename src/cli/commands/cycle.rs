//! `cycle start|next|stop`: import, synchronize, export and confirm in one go.

use crate::cli::App;
use crate::cli::args::{CycleCommand, NextPolicy};
use crate::cli::commands::run::drive_warned;
use crate::cli::error::{CommandError, Exit};
use crate::schedule::Policy;
use crate::service::{Access, DriveOptions, Work};
use serde_json::json;

pub(in crate::cli) fn run(app: &App, command: &CycleCommand) -> Result<Exit, CommandError> {
    match command {
        CycleCommand::Start { initial, allow_shrink } => {
            let service = app.service(Access::Create)?;
            let options = DriveOptions { allow_shrink: *allow_shrink, patience: app.wait, ..DriveOptions::default() };
            drive_warned(app, &service, &[Work::Cycle { initial: *initial }], options, service.nothing_to_do()?.into_iter().collect())
        }
        CycleCommand::Next { policy } => {
            let service = app.service(Access::Create)?;
            let policy = match policy {
                NextPolicy::Initial => Policy::Initial,
                NextPolicy::Delta => Policy::Delta,
                NextPolicy::Unspecified => Policy::Unspecified,
            };
            service.remember_schedule(|memory| memory.next_cycle = policy)?;
            app.output.result(&json!({ "next_policy": policy }), |_| app.output.line("Noted for the next cycle that runs by itself."));
            Ok(Exit::Ok)
        }
        CycleCommand::Stop => stop(app),
    }
}

/// Asks what runs in the service to end.
pub(in crate::cli) fn stop(app: &App) -> Result<Exit, CommandError> {
    let stopped = app.service(Access::Existing)?.stop_running();
    app.output.result(&json!({ "stopping": stopped }), |_| match &stopped {
        Some(work) => app.output.line(format!("{work} ends at its next border; what is done stays done.")),
        None => app.output.line("Nothing runs."),
    });
    Ok(Exit::Ok)
}
