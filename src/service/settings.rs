//! Settings by name: what counts now and where it comes from, and changing one of them in its file.

use super::named_files::{missing_files, named_credentials};
use super::support_mask::SECRET_ADDRESS;
use super::{Service, ServiceError, compile_configured, problems_of};
use crate::config::{
    Config, ConfigProblem, ConnectorConfig, CredentialReference, Edit, MAIN_FILE, SettingKey, SettingKind, change_file_if, check_folder,
    connector_keys, holds_account, mask_addresses, no_toml, problem_of_key, setting_keys,
};
use crate::rules::Severity;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One setting and its value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingView {
    /// Its key, what it is for, and what counts without it.
    #[serde(flatten)]
    pub about: SettingKey,
    /// What counts now; nothing where nothing does.
    pub value: serde_json::Value,
    /// It is written in the file.
    pub written: bool,
}

/// A change of one setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingChange {
    /// The file.
    pub file: PathBuf,
    /// The key.
    pub key: String,
    /// What counted before.
    pub before: serde_json::Value,
    /// What counts afterwards.
    pub after: serde_json::Value,
    /// `written`, `unchanged`, or `would be written`.
    pub done: &'static str,
}

/// Something that a configuration says that is wrong, or probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigFinding {
    /// `error` or `warning`.
    pub severity: &'static str,
    /// The file within the folder.
    pub file: String,
    /// 1-based line, where there is one.
    pub line: Option<usize>,
    /// 1-based column.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl ConfigFinding {
    fn of(problem: &ConfigProblem, folder: &Path) -> Self {
        let (line, column) = problem.place.unzip();
        Self {
            severity: "error",
            file: problem.file.strip_prefix(folder).unwrap_or(&problem.file).display().to_string(),
            line,
            column,
            message: problem.message.clone(),
            hint: problem.hint.clone(),
        }
    }
}

/// That the cloud's objects were made with another source anchor than is configured: nothing runs then.
pub fn anchor_finding(error: &ServiceError) -> ConfigFinding {
    let problem = ConfigProblem::of_file(Path::new(MAIN_FILE), error.to_string());
    ConfigFinding::of(&problem, Path::new(""))
}

/// Everything that can be told about a configuration folder without asking a server: its files, its rules, and what its
/// connectors need of this machine.
pub fn check_config(folder: &Path) -> Vec<ConfigFinding> {
    let config = match check_folder(folder) {
        Ok(config) => config,
        Err(problems) => return problems.iter().map(|problem| ConfigFinding::of(problem, folder)).collect(),
    };
    let mut found = Vec::new();
    let rules = match compile_configured(&config) {
        Ok((rules, connectors)) => problems_of(&config, &rules, &connectors),
        Err(ServiceError::Rules(problems)) => problems,
        Err(other) => {
            let problem = ConfigProblem::of_file(Path::new(MAIN_FILE), other.to_string());
            found.push(ConfigFinding::of(&problem, folder));
            Vec::new()
        }
    };
    for problem in rules {
        found.push(ConfigFinding {
            severity: if problem.severity == Severity::Error { "error" } else { "warning" },
            file: problem.file.clone(),
            line: (problem.line > 0).then_some(problem.line),
            column: (problem.line > 0).then_some(problem.column),
            message: problem.rule.as_ref().map_or_else(|| problem.message.clone(), |rule| format!("rule '{rule}': {}", problem.message)),
            hint: problem.hint.clone(),
        });
    }
    for connector in &config.connectors {
        needs(&config, connector, &mut found);
    }
    if let Some(webhook) = &config.alerts.webhook {
        found.extend(webhook.secret.iter().filter_map(|secret| unusable(&config, MAIN_FILE, secret)));
    }
    if let Some(mail) = &config.alerts.mail {
        found.extend(mail.password.iter().filter_map(|secret| unusable(&config, MAIN_FILE, secret)));
    }
    if config.connectors.is_empty() {
        found.push(warning(
            MAIN_FILE,
            "there is no connector: nothing can be synchronized",
            "add files to connectors/, or run `syncline init`",
        ));
    }
    found.sort_by(|left, right| (&left.file, left.line).cmp(&(&right.file, right.line)));
    found
}

fn warning(file: &str, message: impl Into<String>, hint: &str) -> ConfigFinding {
    ConfigFinding {
        severity: "warning",
        file: file.to_owned(),
        line: None,
        column: None,
        message: message.into(),
        hint: Some(hint.to_owned()),
    }
}

/// A credential that is named and cannot be used.
fn unusable(config: &Config, file: &str, credential: &CredentialReference) -> Option<ConfigFinding> {
    let problem = config.secrets.resolve(credential).err()?;
    let message = format!("the credential '{}' cannot be used: {}", credential.credential, problem.message);
    Some(ConfigFinding { severity: "error", hint: problem.hint, ..warning(file, message, "") })
}

/// What a connector needs of this machine: secrets, certificates, files.
fn needs(config: &Config, connector: &ConnectorConfig, found: &mut Vec<ConfigFinding>) {
    for (key, credential) in named_credentials(connector) {
        if let Err(problem) = config.secrets.resolve(credential) {
            let message = format!("the credential '{}' cannot be used: {}", credential.credential, problem.message);
            let problem = ConfigProblem { hint: problem.hint, ..problem_of_key(&config.folder, &connector.file, key, message) };
            found.push(ConfigFinding::of(&problem, &config.folder));
        }
    }
    found.extend(missing_files(config, connector).iter().map(|problem| ConfigFinding::of(problem, &config.folder)));
}

/// The settings of the main file, by the keys that [`set_setting`] takes.
///
/// # Errors
/// When the file cannot be read.
pub fn settings(folder: &Path) -> Result<Vec<SettingView>, ServiceError> {
    views(folder, &folder.join(MAIN_FILE), setting_keys())
}

fn views(folder: &Path, path: &Path, keys: Vec<SettingKey>) -> Result<Vec<SettingView>, ServiceError> {
    let table = table_of(folder, path)?;
    let view = |about: SettingKey| {
        let written = at(&table, &about.key);
        SettingView { value: shown(&about.key, written.map_or_else(|| about.default.clone(), json)), written: written.is_some(), about }
    };
    Ok(keys.into_iter().map(view).collect())
}

fn table_of(folder: &Path, path: &Path) -> Result<toml::Table, ServiceError> {
    let unread = |error| ServiceError::from(ConfigProblem::of_file(path, format!("cannot be read: {error}")));
    let text = std::fs::read_to_string(path).map_err(unread)?;
    text.parse().map_err(|error: toml::de::Error| no_toml(folder, path, &text, (error.message(), error.span())).into())
}

fn at<'t>(table: &'t toml::Table, key: &str) -> Option<&'t toml::Value> {
    let mut names = key.split('.');
    let first = table.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

/// A value as it is told. What stands behind the host of some addresses is a secret, and what stands before one always is.
fn shown(key: &str, value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::String(text) if key == SECRET_ADDRESS || holds_account(&text) => mask_addresses(&text, str::to_owned).into(),
        serde_json::Value::Array(items) => items.into_iter().map(|item| shown(key, item)).collect(),
        other => other,
    }
}

fn json(value: &toml::Value) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Changes a setting of the main file; without a value its default counts again.
///
/// # Errors
/// When there is no such setting, the value does not fit, or the file cannot be written.
pub fn set_setting(folder: &Path, key: &str, value: Option<&str>, what_if: bool) -> Result<SettingChange, ServiceError> {
    let path = folder.join(MAIN_FILE);
    change(folder, &path, &setting_keys(), key, value, what_if)
}

impl Service {
    /// The settings of a connector: what is in its file, and what counts without it. Secrets are named, never told.
    ///
    /// # Errors
    /// When there is no such connector, or its file cannot be read.
    pub fn connector_settings(&self, name: &str) -> Result<Vec<SettingView>, ServiceError> {
        let connector = self.configured(name)?;
        views(&self.config.folder, &connector.file, connector_keys(connector.kind()))
    }

    /// Changes a setting of a connector's file; without a value its default counts again.
    ///
    /// # Errors
    /// When there is no such connector or setting, the value does not fit, or the file cannot be written.
    pub fn set_connector_setting(&self, name: &str, key: &str, value: Option<&str>, what_if: bool) -> Result<SettingChange, ServiceError> {
        let connector = self.configured(name)?;
        if matches!(key, "kind" | "name") {
            let hint = "it is what tells connectors apart: `syncline connector rename --help` says how a connector gets another name";
            return Err(ServiceError::Usage(format!("{key} is not changed here: {hint}")));
        }
        let (folder, path) = (&self.config.folder, &connector.file);
        change(folder, path, &connector_keys(connector.kind()), key, value, what_if)
    }

    /// The configuration of a connector, by name or number.
    pub(super) fn configured(&self, name: &str) -> Result<&ConnectorConfig, ServiceError> {
        let id = self.connector_id(name)?;
        let known = self.connectors.get(&id).and_then(|name| self.config.connector(name));
        known.ok_or_else(|| ServiceError::NotFound(format!("the connector '{name}' is not configured")))
    }
}

/// Refuses a secret where its name belongs. Somebody types the secret itself here one day: it goes nowhere, and is not repeated.
/// `assigns`: what stands between a setting and its value.
pub(super) fn refuse_secret(keys: &[SettingKey], key: &str, assigns: &str) -> Result<(), ServiceError> {
    let reference = format!("{key}.credential");
    if !keys.iter().any(|known| known.key == reference) {
        return Ok(());
    }
    Err(ServiceError::Usage(format!(
        "there is no setting {key}: a secret is kept under a name, and files have the name alone. Write {reference}{assigns}NAME, and give the \
         secret by `syncline secret set NAME`"
    )))
}

fn change(
    folder: &Path,
    path: &Path,
    keys: &[SettingKey],
    key: &str,
    value: Option<&str>,
    what_if: bool,
) -> Result<SettingChange, ServiceError> {
    refuse_secret(keys, key, " ")?;
    let Some(about) = keys.iter().find(|known| known.key == key) else {
        let names: Vec<String> = keys.iter().map(|known| known.key.clone()).collect();
        let meant = crate::config::closest(key, &names).map(|meant| format!(": did you mean {meant}?"));
        let meant = meant.unwrap_or_else(|| format!("; there are: {}", names.join(", ")));
        return Err(ServiceError::Usage(format!("there is no setting {key}{meant}")));
    };
    if about.kind == SettingKind::Table {
        return Err(ServiceError::Usage(format!("{key} is more than a value: write it into {}", path.display())));
    }
    // The command's own record goes beside the store; where there is no folder, neither could be opened any more.
    if let Some(around) =
        value.filter(|_| key == "store" && path == folder.join(MAIN_FILE)).and_then(|store| folder.join(store).parent().map(Path::to_owned))
        && !around.is_dir()
    {
        let hint = format!("make it first: `mkdir -p {}`", around.display());
        return Err(ConfigProblem::of_file(&around, "there is no such folder, and the store would lie in it").hint(hint).into());
    }
    let before = at(&table_of(folder, path)?, key).map_or_else(|| about.default.clone(), json);
    let names: Vec<&str> = key.split('.').collect();
    let wanted = value.map(|value| value_of(about, value)).transpose()?;
    let edit = wanted.clone().map_or(Edit::Take, Edit::Put);
    let fits = |text: &str| refuse_unusable(folder, path, key, text);
    let done = change_file_if(folder, path, &[(names.as_slice(), edit)], what_if, fits)?.as_str();
    let after = match wanted {
        Some(wanted) => wanted.to_string().trim().parse::<toml::Value>().map_or(serde_json::Value::Null, |value| json(&value)),
        None => about.default.clone(),
    };
    Ok(SettingChange {
        file: path.strip_prefix(folder).unwrap_or(path).to_owned(),
        key: key.to_owned(),
        before: shown(key, before),
        after: shown(key, after),
        done,
    })
}

/// Refuses a text of a file under which the folder could not be read or the rules would not compile. What is wrong already is no
/// reason: whoever mends one thing after the other goes on.
fn refuse_unusable(folder: &Path, path: &Path, key: &str, text: &str) -> Result<(), ServiceError> {
    let Ok(before) = Config::load(folder) else { return Ok(()) };
    let errors = |config: &Config| match compile_configured(config) {
        Ok(_) => Vec::new(),
        Err(ServiceError::Rules(problems)) => {
            problems.iter().filter(|problem| problem.severity == Severity::Error).map(ToString::to_string).collect()
        }
        Err(other) => vec![other.to_string()],
    };
    let known: Vec<String> = errors(&before);
    let mut new = errors(&Config::load_changed(folder, path, text)?);
    new.retain(|error| !known.contains(error));
    if new.is_empty() {
        return Ok(());
    }
    let message = format!("{key} is not changed: the rules would not compile with that value.\n{}", new.join("\n"));
    let file = path.strip_prefix(folder).unwrap_or(path);
    Err(ConfigProblem::of_file(file, message)
        .hint("give another value, or mend first what is named; `syncline config show` says what the setting is for")
        .into())
}

/// A value as it was typed, in the form that the file needs.
fn value_of(about: &SettingKey, typed: &str) -> Result<toml_edit::Value, ServiceError> {
    let refused = |wanted: &str| ServiceError::Usage(format!("{} takes {wanted}, not '{typed}'", about.key));
    match about.kind {
        SettingKind::Number => typed.replace('_', "").parse::<i64>().map(Into::into).map_err(|_| refused("a whole number")),
        SettingKind::Flag => typed.parse::<bool>().map(Into::into).map_err(|_| refused("true or false")),
        SettingKind::Text => {
            if !about.words.is_empty() && !about.words.iter().any(|word| word == typed) {
                return Err(refused(&format!("one of {}", about.words.join(", "))));
            }
            Ok(typed.into())
        }
        SettingKind::List => {
            // A name may hold commas, so several values are written as in the file.
            let items: Vec<String> = if typed.trim_start().starts_with('[') {
                let value: toml_edit::Value = typed.parse().map_err(|_| refused("a list: [\"…\", \"…\"]"))?;
                let texts = value.as_array().into_iter().flatten().map(|item| item.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().ok_or_else(|| refused("a list of texts: [\"…\", \"…\"]"))?
            } else {
                vec![typed.to_owned()]
            };
            let unknown: BTreeSet<&String> = items.iter().filter(|item| !about.words.is_empty() && !about.words.contains(item)).collect();
            if let Some(unknown) = unknown.first() {
                return Err(refused(&format!("some of {} (there is no {unknown})", about.words.join(", "))));
            }
            Ok(items.into_iter().collect::<toml_edit::Array>().into())
        }
        SettingKind::Table => Err(refused("a table, which is written into the file")),
    }
}
