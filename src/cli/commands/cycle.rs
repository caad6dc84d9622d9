//! `cycle start`: import, synchronize, export and confirm in one go.

use crate::cli::App;
use crate::cli::args::CycleCommand;
use crate::cli::commands::run::drive;
use crate::cli::error::{CommandError, Exit};
use crate::service::{Access, DriveOptions, Work};

pub(in crate::cli) fn run(app: &App, command: &CycleCommand) -> Result<Exit, CommandError> {
    let CycleCommand::Start { initial, allow_shrink } = command;
    let service = app.service(Access::Create)?;
    drive(app, &service, &[Work::Cycle { initial: *initial }], DriveOptions { allow_shrink: *allow_shrink, ..DriveOptions::default() })
}
