//! `cycle start`: import, synchronize, export and confirm in one go.

use crate::cli::App;
use crate::cli::args::CycleCommand;
use crate::cli::commands::run::drive_warned;
use crate::cli::error::{CommandError, Exit};
use crate::service::{Access, DriveOptions, Service, Work};

pub(in crate::cli) fn run(app: &App, command: &CycleCommand) -> Result<Exit, CommandError> {
    let CycleCommand::Start { initial, allow_shrink } = command;
    let service = app.service(Access::Create)?;
    let options = DriveOptions { allow_shrink: *allow_shrink, ..DriveOptions::default() };
    drive_warned(app, &service, &[Work::Cycle { initial: *initial }], options, nothing_to_do(&service)?)
}

/// Why a cycle cannot be of use: somebody is missing on one of its ends.
fn nothing_to_do(service: &Service) -> Result<Vec<String>, CommandError> {
    let targets = service.rules()?.targets();
    if service.connector_list()?.iter().any(|connector| connector.state != "configured") {
        // What a former connector left behind is something to do.
        return Ok(Vec::new());
    }
    let folder = service.config().folder.join("connectors");
    let folder = folder.display();
    let missing = if service.connectors().is_empty() {
        format!("There is nothing to synchronize: no connector is configured in {folder}")
    } else if service.connectors().keys().all(|id| targets.contains(id)) {
        format!("There is nothing to synchronize from: no source is configured in {folder}")
    } else if targets.is_empty() {
        format!("There is nothing to synchronize to: no target is configured in {folder}")
    } else {
        return Ok(Vec::new());
    };
    Ok(vec![missing])
}
