//! Commands that change something leave a line in the record of administrative acts.

use super::args::{
    AuditCommand, Command, ConfigCommand, ConnectorCommand, GuardCommand, PhsCommand, RuleCommand, RunCommand, SchedulerCommand,
    StoreCommand,
};
use super::commands::audit::log_of;
use super::error::{CommandError, Exit};
use super::{App, Place};
use crate::config::{Config, caller_name};
use crate::service::Act;

impl Command {
    /// Changes something beyond what runs by itself would change.
    fn is_act(&self) -> bool {
        match self {
            Self::Init(_) | Self::Cycle(_) | Self::Serve(_) => true,
            Self::Run(command) => matches!(command, RunCommand::Start { .. } | RunCommand::Stop | RunCommand::Purge { .. }),
            Self::Export(arguments) => !arguments.what_if,
            Self::Phs(command) => match command {
                PhsCommand::FullSync { .. } | PhsCommand::Push { .. } => true,
                PhsCommand::Enable { what_if, .. } | PhsCommand::Disable { what_if, .. } => !what_if,
                PhsCommand::Run { .. } | PhsCommand::Status { .. } | PhsCommand::Coverage { .. } | PhsCommand::Doctor { .. } => false,
            },
            Self::Connector(command) => !matches!(command, ConnectorCommand::List),
            Self::Preview(arguments) => arguments.commit,
            Self::Rule(command) => match command {
                RuleCommand::Clone { what_if, .. } | RuleCommand::Enable { what_if, .. } | RuleCommand::Disable { what_if, .. } => !what_if,
                _ => false,
            },
            Self::Config(command) => matches!(command, ConfigCommand::ImportEntra { .. }),
            Self::Store(command) => matches!(command, StoreCommand::Check { rebuild: true } | StoreCommand::Compact),
            Self::Guard(command) => !matches!(command, GuardCommand::Show),
            Self::Scheduler(command) => !matches!(command, SchedulerCommand::Show),
            Self::Audit(AuditCommand::List { .. })
            | Self::Demo(_)
            | Self::Events(_)
            | Self::Errors(_)
            | Self::Cs(_)
            | Self::Mv(_)
            | Self::Object(_)
            | Self::Expr(_)
            | Self::Anchor(_)
            | Self::Tenant(_)
            | Self::Support(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Status => false,
        }
    }
}

/// Does a command, and records it as it was typed when it is an act.
pub(super) fn recorded(app: &App, words: Vec<String>, command: Command) -> Result<Exit, CommandError> {
    if !command.is_act() {
        return super::execute(app, command);
    }
    let fingerprint = || Config::fingerprint(&app.config).map(|found| format!("{found:016x}")).unwrap_or_default();
    let before = fingerprint();
    let done = super::execute(app, command);
    let exit = done.as_ref().map_or_else(|error| error.exit, |exit| *exit);
    let act = Act {
        at: app.cx.now().to_string(),
        by: app.by.clone(),
        command: words,
        in_service: matches!(app.place, Place::Service(_)),
        exit_code: exit.code(),
        configuration_before: before,
        configuration_after: fingerprint(),
    };
    // Without a configuration there is nothing that could have been changed.
    if let Ok(log) = log_of(app)
        && let Err(error) = log.append(&act)
    {
        app.output.note(format!("warning: this act could not be recorded in {}: {error}", log.path().display()));
    }
    done
}

/// The account of this process, for the record.
pub(super) fn account() -> String {
    account_of(Some(rustix::process::getuid().as_raw()), caller_name().as_deref())
}

/// An account by its number, which the system vouches for, and the name that it goes by.
pub(super) fn account_of(number: Option<u32>, name: Option<&str>) -> String {
    let number = number.map_or_else(|| "uid unknown".to_owned(), |number| format!("uid {number}"));
    match name.filter(|name| !name.is_empty()) {
        Some(name) => format!("{name} ({number})"),
        None => number,
    }
}
