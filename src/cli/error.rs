//! How commands end: exit codes, and errors with a kind and hints.

use crate::config::{ConfigError, ConfigProblem, TemplateError};
use crate::connector::ConnectorErrorKind;
use crate::model::quoted;
use crate::service::{ServiceError, stopped_by_guard};
use crate::store::StoreError;
use serde::Serialize;
use std::io;
use std::path::Path;
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

    /// A result that could not be written to a file of the caller.
    pub(crate) fn unwritten(path: &Path, error: &io::Error) -> Self {
        Self::new("unwritten", Exit::Stopped, format!("{}: {error}", path.display())).hint(writing(path))
    }

    /// Something that was there a moment ago, or before the last synchronization.
    pub(crate) fn gone(what: impl std::fmt::Display) -> Self {
        Self::new("not-found", Exit::Errors, format!("{what} is gone")).hint("it was removed meanwhile: `syncline run list` shows what ran")
    }

    /// The same error with advice.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// How to find out why a place cannot be written to.
fn writing(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = quoted(&folder.display().to_string());
    format!("`ls -ld {folder}` says whether it is there and who may write to it, `df -h {folder}` whether there is room")
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
            ServiceError::Connector { source, .. } if source.kind == ConnectorErrorKind::Cancelled => {
                Self::new("interrupted", Exit::Stopped, message)
            }
            ServiceError::Connector { connector, .. } => Self::new("connector", Exit::NotStarted, message)
                .hint(format!("`syncline doctor` tries everything that {connector} needs, step by step: name, port, certificate, sign-in")),
            ServiceError::Tenant { .. } => Self::new("tenant", Exit::NotStarted, message)
                .hint("only one process can have its folder: see that no other one runs on this configuration, `ps -C syncline -f`"),
            ServiceError::Engine(error) => Self::new("engine", Exit::of_result(error.result()), message)
                .hint("what is done stays done: `syncline run list` shows how far it came, and `syncline status` what to do"),
            ServiceError::Expression(error) => {
                let hint = error.hint.clone();
                let command = Self::new("expression", Exit::Errors, message);
                hint.into_iter().fold(command, Self::hint)
            }
            ServiceError::SettingUnwritten { path, .. } => Self::new("unwritten", Exit::NotStarted, message).hint(writing(&path)),
            ServiceError::Unwritten { path, .. } => Self::new("unwritten", Exit::Stopped, message).hint(writing(&path)),
            ServiceError::NotReady { hint, .. } => Self::new("not-ready", Exit::NotStarted, message).hint(hint),
            ServiceError::Guarded { hint, .. } => Self::new("guard", Exit::Guard, message).hint(hint),
            ServiceError::NotSent(_) => {
                Self::new("not-sent", Exit::Errors, message).hint("`syncline phs doctor` says which part of the way does not work")
            }
            ServiceError::Busy(_) => {
                Self::new("busy", Exit::NotStarted, message).hint("wait for it (--wait SECONDS), or ask it to end: `syncline cycle stop`")
            }
            ServiceError::Environment(_) => Self::new("environment", Exit::NotStarted, message)
                .hint("`syncline doctor` looks at this machine, `ulimit -a` shows its limits"),
            ServiceError::Interrupted(_) => Self::new("interrupted", Exit::Stopped, message),
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
            StoreError::NewerFormat { .. } => Self::new("store-newer", Exit::NotStarted, message).hint(
                "`syncline --version` says which version this is; a backup from before lies beside the store, `syncline store restore --help`",
            ),
            StoreError::Damaged { place, reason } => damaged(&place, &reason),
            StoreError::NoPlace { .. } => {
                Self::new("store-no-place", Exit::NotStarted, message).hint("name another place for the copy; nothing is wrong with the store")
            }
            _ => Self::new("store", Exit::NotStarted, message)
                .hint("`syncline doctor` looks at the disk and the store, `syncline store check` at all of its records"),
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
        let message = error.to_string();
        let told = Self::new("configuration", Exit::NotStarted, message);
        match error {
            TemplateError::Exists(_) => {
                told.hint("`syncline config show` shows what is configured there, `syncline config set --help` how to change it")
            }
            TemplateError::CredentialName(_) => told,
            TemplateError::Io { path, .. } => told.hint(writing(&path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::ConnectorError;

    #[test]
    fn what_the_machine_does_not_give_is_no_wrong_call() {
        let error = CommandError::from(ServiceError::Environment("this machine gives no random numbers".to_owned()));
        assert_eq!((error.kind, error.exit.code()), ("environment", 4));
        // A setting that could not be written is as it was; a result that could not be is not there.
        let (path, reason) = (std::path::PathBuf::from("rules/a.toml"), "no space left".to_owned());
        let setting = CommandError::from(ServiceError::SettingUnwritten { path: path.clone(), reason: reason.clone() });
        let result = CommandError::from(ServiceError::Unwritten { path, reason });
        assert_eq!((setting.exit.code(), result.exit.code()), (4, 3));
    }

    #[test]
    fn what_went_wrong_outside_comes_with_a_command() {
        let unwritten = ServiceError::Unwritten { path: "/var/lib/a b/x.csv".into(), reason: "no space left".to_owned() };
        let errors: Vec<CommandError> = vec![
            unwritten.into(),
            ServiceError::Environment("no threads".to_owned()).into(),
            ServiceError::NotSent("the tenant refused it".to_owned()).into(),
            ServiceError::Tenant { connector: "Entra".to_owned(), message: "in use".to_owned() }.into(),
            StoreError::NewerFormat { path: "x".into(), found: 9, known: 8 }.into(),
            TemplateError::Exists("x".into()).into(),
            CommandError::unwritten(Path::new("x.html"), &io::Error::other("no space left")),
            CommandError::gone("object 1.1"),
        ];
        for error in &errors {
            assert!(error.hints.iter().any(|hint| hint.matches('`').count() >= 2), "{error:?}");
        }
        assert!(errors[0].hints[0].contains("`ls -ld '/var/lib/a b'`"), "{:?}", errors[0]);
        assert!(errors[6].hints[0].contains("`df -h .`"), "{:?}", errors[6]);
    }

    #[test]
    fn who_was_told_to_stop_was_not_wrongly_called() {
        let error = CommandError::from(ServiceError::Interrupted("not all objects were looked at".to_owned()));
        assert_eq!((error.kind, error.exit.code(), &*error.message), ("interrupted", 3, "stopped: not all objects were looked at"));
    }

    #[test]
    fn a_directory_that_nobody_waits_for_any_more_is_no_failure_of_it() {
        let source = ConnectorError::new(ConnectorErrorKind::Cancelled, "told to stop before the server had answered");
        let error = CommandError::from(ServiceError::Connector { connector: "corp".to_owned(), source });
        assert_eq!((error.kind, error.exit.code(), error.hints.len()), ("interrupted", 3, 0), "{error:?}");
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
