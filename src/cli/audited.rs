//! Commands that change something leave a line in the record of administrative acts.

use super::args::{
    AccountCommand, AdAccountCommand, AlertsCommand, AnchorCommand, AuditCommand, Command, ConfigCommand, ConnectorCommand, CsCommand,
    GuardCommand, ModeCommand, ObjectCommand, PartitionCommand, PhsCommand, RuleCommand, RunCommand, SchedulerCommand, SchemaCommand,
    SecretCommand, StoreCommand,
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
            Self::Account(AccountCommand::Ad(command)) => match command {
                AdAccountCommand::Grant { apply, .. } => *apply,
                AdAccountCommand::Harden { what_if, .. } | AdAccountCommand::Rotate { what_if, .. } => !what_if,
                AdAccountCommand::List | AdAccountCommand::Check { .. } => false,
            },
            Self::Secret(command) => match command {
                SecretCommand::Set { what_if, .. } | SecretCommand::Remove { what_if, .. } => !what_if,
                SecretCommand::List => false,
            },
            Self::Init(_) | Self::Cycle(_) | Self::Serve(_) => true,
            Self::Run(command) => matches!(command, RunCommand::Start { .. } | RunCommand::Stop | RunCommand::Purge { .. }),
            Self::Export(arguments) => !arguments.what_if,
            Self::Phs(command) => match command {
                PhsCommand::FullSync { .. } | PhsCommand::Push { .. } => true,
                PhsCommand::Enable { what_if, .. } | PhsCommand::Disable { what_if, .. } => !what_if,
                PhsCommand::Run { .. }
                | PhsCommand::Status { .. }
                | PhsCommand::Coverage { .. }
                | PhsCommand::Log { .. }
                | PhsCommand::Doctor { .. } => false,
            },
            Self::Connector(command) => match command {
                ConnectorCommand::List
                | ConnectorCommand::Show { .. }
                | ConnectorCommand::Types
                | ConnectorCommand::Test { .. }
                | ConnectorCommand::Export { .. } => false,
                ConnectorCommand::Rename { .. } => true,
                ConnectorCommand::RefreshSchema { apply, .. } => *apply,
                ConnectorCommand::Remove { what_if, .. }
                | ConnectorCommand::Add { what_if, .. }
                | ConnectorCommand::Import { what_if, .. } => !what_if,
                ConnectorCommand::Set { new, .. } => !new.what_if,
            },
            Self::Partition(command) => match command {
                PartitionCommand::List { .. } | PartitionCommand::Tree { .. } => false,
                PartitionCommand::Include(choice)
                | PartitionCommand::Exclude(choice)
                | PartitionCommand::Enable(choice)
                | PartitionCommand::Disable(choice) => !choice.what_if,
            },
            Self::Schema(command) => match command {
                SchemaCommand::Show { .. } => false,
                SchemaCommand::Include { what_if, .. } | SchemaCommand::Exclude { what_if, .. } => !what_if,
            },
            Self::Cs(command) => match command {
                CsCommand::Search(_) | CsCommand::Show { .. } | CsCommand::Log { .. } => false,
                CsCommand::Clear { what_if, .. }
                | CsCommand::Join { what_if, .. }
                | CsCommand::Project { what_if, .. }
                | CsCommand::Disconnect { what_if, .. } => !what_if,
            },
            Self::Object(command) => matches!(command, ObjectCommand::Sync { what_if: false, .. }),
            Self::Preview(arguments) => arguments.commit,
            Self::Rule(command) => match command {
                RuleCommand::Clone { what_if, .. }
                | RuleCommand::Apply { what_if, .. }
                | RuleCommand::Delete { what_if, .. }
                | RuleCommand::Enable { what_if, .. }
                | RuleCommand::Disable { what_if, .. } => !what_if,
                _ => false,
            },
            Self::Config(command) => match command {
                ConfigCommand::ImportEntra { .. } => true,
                ConfigCommand::Set { new, .. } => !new.what_if,
                _ => false,
            },
            Self::Store(command) => {
                matches!(
                    command,
                    StoreCommand::Check { rebuild: true } | StoreCommand::Compact | StoreCommand::Restore { what_if: false, .. }
                )
            }
            Self::Guard(command) => match command {
                GuardCommand::Show { .. } => false,
                GuardCommand::Set(settings) => !settings.what_if,
                GuardCommand::Disable { what_if } => !what_if,
            },
            Self::Mode(command) => !matches!(command, ModeCommand::Show),
            Self::Promote(arguments) => !arguments.what_if,
            Self::Scheduler(command) => !matches!(command, SchedulerCommand::Show),
            Self::Anchor(command) => match command {
                AnchorCommand::Convert { .. } | AnchorCommand::Get { .. } => false,
                AnchorCommand::Set { how, .. } | AnchorCommand::Clear { how, .. } => !how.what_if,
            },
            Self::Alerts(command) => matches!(command, AlertsCommand::Test { what_if: false }),
            Self::Audit(AuditCommand::List { .. })
            | Self::Demo(_)
            | Self::Events(_)
            | Self::Errors(_)
            | Self::Mv(_)
            | Self::Expr(_)
            | Self::Lint(_)
            | Self::Profile(_)
            | Self::Tenant(_)
            | Self::Support(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Doctor(_)
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
    let mut act = Act {
        begun: app.cx.now().to_string(),
        at: String::new(),
        by: app.by.clone(),
        command: words,
        in_service: matches!(app.place, Place::Service(_)),
        exit_code: None,
        configuration_before: fingerprint(),
        configuration_after: String::new(),
    };
    let told = write(app, &act, false);
    let done = super::execute(app, command);
    act.at = app.cx.now().to_string();
    act.exit_code = Some(done.as_ref().map_or_else(|error| error.exit, |exit| *exit).code());
    act.configuration_after = fingerprint();
    write(app, &act, told);
    done
}

/// Writes the record, and says once of an act when it cannot be written. `told`: that was said. Gives whether it is now.
fn write(app: &App, act: &Act, told: bool) -> bool {
    // Without a configuration there is nothing that could be changed.
    if let Ok(log) = log_of(app)
        && let Err(error) = log.append(act)
        // The store's folder may be made by the act itself.
        && (act.exit_code.is_some() || error.kind() != std::io::ErrorKind::NotFound)
    {
        if !told {
            app.output.note(format!("warning: this act could not be recorded in {}: {error}", log.path().display()));
        }
        return true;
    }
    told
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
