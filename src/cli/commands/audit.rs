//! `audit list`: what administrators did.

use crate::cli::App;
use crate::cli::args::AuditCommand;
use crate::cli::commands::more_before;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{moment, table};
use crate::config::Config;
use crate::model::quoted;
use crate::service::{Act, AuditLog};
use serde::Serialize;

#[derive(Serialize)]
struct Acts {
    acts: Vec<Act>,
    more: bool,
}

pub(in crate::cli) fn run(app: &App, command: &AuditCommand) -> Result<Exit, CommandError> {
    let AuditCommand::List { limit } = command;
    let log = log_of(app)?;
    let failed = |error: std::io::Error| {
        let place = log.path().display().to_string();
        CommandError::new("audit", Exit::Stopped, format!("{place}: {error}"))
            .hint(format!("`ls -l {}` says who may read it", quoted(&place)))
    };
    let (acts, cut) = log.newest(*limit).map_err(failed)?;
    app.output.result(&Acts { acts, more: cut }, |found| {
        if found.acts.is_empty() {
            app.output.line("Nobody changed anything yet.");
            return;
        }
        let rows = found.acts.iter().map(|act| {
            let command: Vec<String> = act.command.iter().map(|word| quoted(word)).collect();
            let same = act.exit_code.is_none() || act.configuration_before == act.configuration_after;
            let changed = if same { "" } else { "configuration" };
            let time = if act.at.is_empty() { &act.begun } else { &act.at };
            let exit = act.exit_code.map_or_else(|| "none yet".to_owned(), |code| code.to_string());
            [moment(time), act.by.clone(), exit, changed.to_owned(), command.join(" ")]
        });
        app.output.table(table(["time", "by", "exit", "changed", "command"], &["exit"], rows));
        more_before(&app.output, found.more, found.acts.len());
    });
    Ok(Exit::Ok)
}

/// The record that belongs to a configuration.
pub(in crate::cli) fn log_of(app: &App) -> Result<AuditLog, CommandError> {
    let store = match &app.store {
        Some(store) => store.clone(),
        None => Config::load(&app.config)?.store,
    };
    Ok(AuditLog::beside(&store))
}
