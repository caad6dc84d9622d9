//! `config`: commands about whole configuration folders.

use crate::cli::App;
use crate::cli::args::ConfigCommand;
use crate::cli::commands::config_diff;
use crate::cli::error::{CommandError, Exit};

pub(in crate::cli) fn run(app: &App, command: &ConfigCommand) -> Result<Exit, CommandError> {
    match command {
        ConfigCommand::Diff { old, new, html } => config_diff::run(app, old, new, html.as_deref()),
    }
}
