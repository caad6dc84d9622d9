//! How commands end: exit codes, and errors with a kind and hints.

use crate::config::{ConfigError, ConfigProblem, TemplateError};
use crate::service::{ServiceError, stopped_by_guard};
use crate::store::StoreError;
use serde::Serialize;
use std::process::ExitCode;

/// How a command ended (specification: sync engine, section 5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Exit {
    /// All well.
    #[default]
    Ok,
    /// Done, with something to look at.
    Warnings,
    /// Done, but some objects failed; or what was asked for is not there.
    Errors,
    /// Stopped on the way.
    Stopped,
    /// Not even begun.
    NotStarted,
    /// A threshold or guard stopped it.
    Guard,
    /// Wrongly called.
    Usage,
}

impl Exit {
    /// The number that the process ends with.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warnings => 1,
            Self::Errors => 2,
            Self::Stopped => 3,
            Self::NotStarted => 4,
            Self::Guard => 5,
            Self::Usage => 64,
        }
    }

    /// As a process ended.
    pub(crate) fn of_code(code: u8) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::Warnings,
            2 => Self::Errors,
            4 => Self::NotStarted,
            5 => Self::Guard,
            64 => Self::Usage,
            _ => Self::Stopped,
        }
    }

    /// How a run with this result string ends.
    pub(crate) fn of_result(result: &str) -> Self {
        match result {
            "success" | "completed-no-objects" | "completed-skipped-already-completed" => Self::Ok,
            "in-progress" => Self::Stopped,
            _ if stopped_by_guard(result) => Self::Guard,
            _ if result.starts_with("no-start") || result == "access-denied" => Self::NotStarted,
            _ if result.starts_with("completed") && result.ends_with("errors") => Self::Errors,
            _ if result.starts_with("completed") => Self::Warnings,
            _ => Self::Stopped,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command could not do what was asked.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// A stable word for programs.
    pub kind: &'static str,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hints: Vec<String>,
    /// How the process ends.
    pub exit: Exit,
}

impl CommandError {
    /// An error of a kind.
    pub(crate) fn new(kind: &'static str, exit: Exit, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new(), exit }
    }

    /// A wrong call.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new("usage", Exit::Usage, message)
    }

    /// The same error with advice.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl From<ServiceError> for CommandError {
    fn from(error: ServiceError) -> Self {
        let message = error.to_string();
        match error {
            ServiceError::Config(error) => Self::from(error),
            ServiceError::SourceAnchor { .. } => Self::new("configuration", Exit::NotStarted, message),
            ServiceError::Store(error) => Self::from(error),
            ServiceError::NoStore(_) => {
                Self::new("no-store", Exit::NotStarted, message).hint("run a first cycle: `syncline cycle start --initial`")
            }
            ServiceError::Rules(_) => Self::new("rules", Exit::NotStarted, message).hint("`syncline rule lint` shows all findings"),
            ServiceError::Connector { .. } => Self::new("connector", Exit::NotStarted, message),
            ServiceError::Tenant { .. } => Self::new("tenant", Exit::NotStarted, message),
            ServiceError::Engine(error) => Self::new("engine", Exit::of_result(error.result()), message),
            ServiceError::Expression(error) => {
                let hint = error.hint.clone();
                let command = Self::new("expression", Exit::Errors, message);
                hint.into_iter().fold(command, Self::hint)
            }
            ServiceError::Unwritten { .. } => Self::new("unwritten", Exit::Stopped, message),
            ServiceError::NotReady { hint, .. } => Self::new("not-ready", Exit::NotStarted, message).hint(hint),
            ServiceError::Guarded { hint, .. } => Self::new("guard", Exit::Guard, message).hint(hint),
            ServiceError::NotSent(_) => Self::new("not-sent", Exit::Errors, message),
            ServiceError::Busy(_) => {
                Self::new("busy", Exit::NotStarted, message).hint("wait for it (--wait SECONDS), or ask it to end: `syncline cycle stop`")
            }
            ServiceError::Environment(_) => Self::new("environment", Exit::NotStarted, message),
            ServiceError::NotFound(_) => Self::new("not-found", Exit::Errors, message),
            ServiceError::Usage(_) => Self::usage(message),
        }
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::InUse { .. } => {
                Self::new("store-in-use", Exit::NotStarted, message).hint("wait for the other command (--wait SECONDS), or stop it")
            }
            StoreError::Foreign { .. } => {
                Self::new("store-foreign", Exit::NotStarted, message).hint("name the store by --store, or move the file away")
            }
            StoreError::NewerFormat { .. } => Self::new("store-newer", Exit::NotStarted, message),
            StoreError::Damaged { place, reason } => damaged(&place, &reason),
            _ => Self::new("store", Exit::NotStarted, message),
        }
    }
}

/// A damaged store, and the ways out of it.
fn damaged(place: &str, reason: &str) -> CommandError {
    let pages = reason.strip_suffix("; restore a backup");
    let message = format!("the store is damaged at {place}: {}", pages.unwrap_or(reason));
    let mut error = CommandError::new("store-damaged", Exit::NotStarted, message);
    if pages.is_none() {
        // Pages that cannot be read cannot be checked, either.
        error = error.hint("`syncline store check --rebuild` mends what follows from other records");
    }
    error.hint("restore a backup of the file, or move the file away and run `syncline cycle start --initial`").hint(
        "a new store finds every link again; lost are the history, and the memory of who left since the last cycle: \
         they stay in the cloud, listed by `syncline cs search TARGET --state disconnector`",
    )
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        let problems = error.problems();
        let (mut messages, mut hints) = (Vec::new(), Vec::new());
        for problem in problems {
            let told = ConfigProblem { hint: None, ..problem.clone() };
            messages.push(told.to_string());
            if let Some(hint) = &problem.hint {
                hints.push(if problems.len() > 1 { format!("{}: {hint}", problem.at()) } else { hint.clone() });
            }
        }
        Self { hints, ..Self::new("configuration", Exit::NotStarted, messages.join("\n")) }
    }
}

impl From<TemplateError> for CommandError {
    fn from(error: TemplateError) -> Self {
        Self::new("configuration", Exit::NotStarted, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_does_not_give_is_no_wrong_call() {
        let error = CommandError::from(ServiceError::Environment("this machine gives no random numbers".to_owned()));
        assert_eq!((error.kind, error.exit.code()), ("environment", 4));
    }

    #[test]
    fn results_have_the_documented_exit_codes() {
        for (result, code) in [
            ("success", 0),
            ("completed-no-objects", 0),
            ("completed-warnings", 1),
            ("completed-transient-objects", 1),
            ("completed-sync-errors", 2),
            ("completed-export-errors", 2),
            ("completed-discovery-errors", 2),
            ("stopped-connectivity", 3),
            ("no-start-credentials", 4),
            ("stopped-deletion-threshold-exceeded", 5),
        ] {
            assert_eq!(Exit::of_result(result).code(), code, "{result}");
        }
    }
}
