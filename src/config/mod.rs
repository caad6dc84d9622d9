//! The configuration folder: what people wrote, read whole and checked whole, before anything runs.
//!
//! One folder holds `syncline.toml` (store, guard, limits, rule settings), `connectors/*.toml` (one directory each)
//! and `rules/*.toml` (rules beside the built-in ones). Unknown keys are errors with file, line and a suggestion.
//! Secrets are named, never written: see [`Secrets`].

mod address;
mod alerts;
mod check;
mod connector;
pub mod diff;
mod edit;
mod error;
mod file;
mod password;
mod schema;
mod secrets;
mod service;
mod template;

pub(crate) use address::{holds_account, mask_addresses};
pub use alerts::{AlertsTable, MailSecurity, MailTable, WebhookTable};
pub use check::check_folder;
pub use connector::{
    AdDeltaMode, AdDeltaTable, AdFile, ConnectorConfig, ConnectorKind, ConnectorSettings, EmbeddedTenant, EntraFile, LDAP_TYPES, LdapFile,
    LdifFile, LdifShape, ParametersTable, SelectionTable, SignIn, check_server,
};
pub use edit::{Edit, ListEdit, Written, change_file, change_file_if, lock_folder, replace_file, set_key};
pub use error::{ConfigError, ConfigProblem};
pub use file::read_rule_file;
pub(crate) use file::{closest, no_toml, problem_of_key};
pub use password::{AdPasswordTable, LdifPasswordTable, PasswordReader, PasswordServer, PasswordServerPlace, PasswordSignIn};
pub(crate) use schema::known_words;
pub use schema::{SCHEMAS, SettingKey, SettingKind, connector_keys, schema_of, setting_keys};
pub use secrets::{CredentialReference, SecretOrigin, Secrets, valid_name};
pub use service::{SchedulerTable, ServiceTable, duration_of};
pub use template::{ConfigTemplate, TemplateError, TemplatePasswords, TemplateSource, TemplateTenant, take_back, write_secret};

use crate::engine::import::SHRINK_PERCENT_MAX;
use crate::rules::{CloudService, RuleProfile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use toml::Spanned;
use xxhash_rust::xxh3::Xxh3Default;

/// The version of the configuration format that this program reads.
pub const CONFIG_VERSION: i64 = 1;

/// Credentials with such names are kept by sign-ins, and change with every one.
pub const REFRESHED: &str = "-refresh-token";

/// The largest page cache, in MiB: 64 GiB.
const CACHE_MIB_MAX: usize = 64 << 10;
/// The most threads for rules and hashing.
const THREADS_MAX: usize = 1_024;

/// The main file's name within the folder.
pub const MAIN_FILE: &str = "syncline.toml";

/// Everything that people configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder it was read from.
    pub folder: PathBuf,
    /// The store's file.
    pub store: PathBuf,
    /// Protection against deleting by accident.
    pub guard: GuardTable,
    /// Bounds on memory, time and history.
    pub limits: LimitsTable,
    /// What the built-in rules ask for.
    pub rules: RulesTable,
    /// When cycles run by themselves.
    pub scheduler: SchedulerTable,
    /// Where a running service can be reached.
    pub service: ServiceTable,
    /// Who is told of what needs a person.
    pub alerts: AlertsTable,
    /// The connectors in the order of their file names.
    pub connectors: Vec<ConnectorConfig>,
    /// Rule files beside the built-in rules, in the order of their file names.
    pub rule_files: Vec<RuleText>,
    /// Where secrets come from.
    pub secrets: Secrets,
}

/// A rule file as text; the rules themselves read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleText {
    /// The file's name as messages show it: `rules/10-contractors.toml`.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// `syncline.toml`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MainFile {
    /// The version of the configuration format: 1.
    #[schemars(with = "i64")]
    pub version: Spanned<i64>,
    /// The store's file, relative to the folder.
    #[serde(default = "default_store")]
    pub store: PathBuf,
    /// Protection against deleting by accident.
    #[serde(default)]
    pub guard: GuardTable,
    /// Bounds on memory, time and history.
    #[serde(default)]
    pub limits: LimitsTable,
    /// What the built-in rules ask for.
    #[serde(default)]
    pub rules: RulesTable,
    /// When cycles run by themselves.
    #[serde(default)]
    pub scheduler: SchedulerTable,
    /// Where a running service can be reached.
    #[serde(default)]
    pub service: ServiceTable,
    /// Who is told of what needs a person.
    #[serde(default)]
    pub alerts: AlertsTable,
}

/// `[guard]`: protection against deleting by accident (specification: sync engine, section 5.5).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuardTable {
    /// The limits of deletes count: `max_deletes` and `max_delete_percent`. Switched off, only the target's own limit does.
    pub delete_threshold: bool,
    /// The most deletes that one export sends; more stop it before the first object. The target's own limit also counts.
    pub max_deletes: u64,
    /// The most deletes as a share of the target's known objects, in percent. Without it, more than half of them stop an export, from
    /// ten deletes on.
    pub max_delete_percent: Option<u32>,
    /// Staging mode: everything is imported and synchronized, nothing is exported.
    pub staging: bool,
    /// Whether the first export to a tenant waits for somebody who has looked at it. The embedded tenant never does.
    pub first_export: FirstExport,
    /// A full import that would lose more than this share of the known objects, in percent, stops before it stages
    /// deletes; one that would lose all of them always does.
    pub shrink_percent: u32,
}

impl Default for GuardTable {
    fn default() -> Self {
        Self {
            delete_threshold: true,
            max_deletes: 500,
            max_delete_percent: None,
            staging: false,
            first_export: FirstExport::Approved,
            shrink_percent: SHRINK_PERCENT_MAX,
        }
    }
}

impl GuardTable {
    /// The stricter one of each limit.
    #[must_use]
    pub fn stricter(&self, other: &Self) -> Self {
        let either = |wanted| self.first_export == wanted || other.first_export == wanted;
        // Without a share it is half (specification: sync engine, section 5.5).
        let share = |table: &Self| table.max_delete_percent.unwrap_or(50);
        // Limits that are switched off are none.
        let limits = || [self, other].into_iter().filter(|table| table.delete_threshold);
        Self {
            delete_threshold: self.delete_threshold || other.delete_threshold,
            max_deletes: limits().map(|table| table.max_deletes).min().unwrap_or(self.max_deletes),
            max_delete_percent: limits().min_by_key(|table| share(table)).unwrap_or(self).max_delete_percent,
            staging: self.staging || other.staging,
            first_export: if either(FirstExport::Approved) { FirstExport::Approved } else { FirstExport::Free },
            shrink_percent: self.shrink_percent.min(other.shrink_percent),
        }
    }

    /// What the main file of a folder says of guards, whatever else is wrong with the folder: of a table that cannot be understood as
    /// a whole, staging mode alone. `None` when nothing of it can be read.
    pub fn stated(folder: &Path) -> Option<Self> {
        let text = file::read_text(&folder.join(MAIN_FILE)).ok()?;
        let table = text.parse::<toml::Table>().ok()?.remove("guard")?;
        let staging = table.get("staging").and_then(toml::Value::as_bool);
        let whole = table.try_into::<Self>().ok();
        // Half a table must not make anything else stricter than somebody wrote.
        whole.or_else(|| staging.map(|staging| Self { staging, ..Self::loosest() }))
    }

    /// Guards that hold nothing.
    fn loosest() -> Self {
        Self {
            delete_threshold: false,
            max_deletes: u64::MAX,
            max_delete_percent: Some(100),
            staging: false,
            first_export: FirstExport::Free,
            shrink_percent: 100,
        }
    }
}

/// Who lets the first export to a tenant go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FirstExport {
    /// Somebody who has looked at what would be sent.
    #[default]
    Approved,
    /// Nobody: it goes as soon as there is something to send.
    Free,
}

/// `[limits]`: bounds on memory, time and history.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsTable {
    /// Page cache of the store, in MiB, at most 65536.
    pub cache_mib: usize,
    /// Threads for rules and hashing, at most 1024; 0 takes one per processor.
    pub threads: usize,
    /// Object problems in one step that stop a run.
    pub object_errors: u64,
    /// How long run history is kept, in days.
    pub history_days: u32,
}

impl Default for LimitsTable {
    fn default() -> Self {
        Self { cache_mib: 96, threads: 0, object_errors: 5_000, history_days: 7 }
    }
}

/// `[rules]`: what the built-in rules ask for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RulesTable {
    /// The built-in rules apply; false leaves only the files in rules/.
    pub built_in: bool,
    /// The attribute that ties a user to its cloud object for good: `mS-DS-ConsistencyGuid`, `objectGUID` or another
    /// one that is unique and never changes (specification: sync engine, section 5.8).
    pub source_anchor: String,
    /// How accounts of several directories are found to be one person: `once`, `mail`, `object-sid`, `account-name` or
    /// the name of an attribute that is the same on both sides (specification: default rules, section 2.1).
    pub user_matching: String,
    /// Groups with more members are not sent.
    pub group_members_max: u64,
    /// Services of the cloud whose attributes are sent; without it those of all (specification: default rules, section 7).
    pub services: Option<Vec<CloudService>>,
    /// Attributes of the cloud that no built-in rule sends.
    pub exclude_attributes: Vec<String>,
    /// What Exchange Online writes goes back to the directories (specification: default rules, section 4.5).
    pub exchange_hybrid: bool,
    /// What synchronization is for: `full` or `password-only` (specification: sync engine, section 5.7).
    pub profile: RuleProfile,
}

impl Default for RulesTable {
    fn default() -> Self {
        Self {
            source_anchor: "mS-DS-ConsistencyGuid".to_owned(),
            user_matching: "object-sid".to_owned(),
            group_members_max: 250_000,
            built_in: true,
            services: None,
            exclude_attributes: Vec::new(),
            exchange_hybrid: false,
            profile: RuleProfile::Full,
        }
    }
}

fn default_store() -> PathBuf {
    PathBuf::from("syncline.redb")
}

impl Config {
    /// Reads and checks a configuration folder.
    ///
    /// # Errors
    /// Every problem found, with file, line and what to do: one for each file at least as far as it could be read.
    pub fn load(folder: &Path) -> Result<Self, ConfigError> {
        Self::load_with(folder, Secrets::of_process(folder))
    }

    /// As [`Self::load`], with another source of secrets.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(folder: &Path, secrets: Secrets) -> Result<Self, ConfigError> {
        let main = read_main(folder).map_err(ConfigError::one)?;
        Self::load_rest(folder, main, secrets, None).map_err(|error| error.relative_to(folder))
    }

    /// As [`Self::load`], as if the main file or a connector's file, by its path, had another text.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_changed(folder: &Path, path: &Path, text: &str) -> Result<Self, ConfigError> {
        let (main, connector) =
            if path == folder.join(MAIN_FILE) { (main_of(folder, path, text), None) } else { (read_main(folder), Some((path, text))) };
        let main = main.map_err(ConfigError::one)?;
        Self::load_rest(folder, main, Secrets::of_process(folder), connector).map_err(|error| error.relative_to(folder))
    }

    fn load_rest(folder: &Path, main: MainFile, secrets: Secrets, changed: Option<(&Path, &str)>) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let store = folder.join(&main.store);
        let mut connectors = Vec::new();
        for path in toml_files(&folder.join("connectors"), &mut problems) {
            let read = match changed {
                Some((changed, text)) if changed == path => connector::read_text(folder, &path, text),
                _ => connector::read(folder, &path),
            };
            match read {
                Ok(connector) => connectors.push(connector),
                Err(problem) => problems.push(problem),
            }
        }
        check_names(&connectors, &mut problems);
        let mut rule_files = Vec::new();
        for path in toml_files(&folder.join("rules"), &mut problems) {
            match file::read_text(&path) {
                Ok(text) => rule_files.push(RuleText { name: file::shown(folder, &path), text }),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(Self {
                folder: folder.to_owned(),
                store,
                guard: main.guard,
                limits: main.limits,
                rules: main.rules,
                scheduler: main.scheduler,
                service: main.service,
                alerts: main.alerts,
                connectors,
                rule_files,
                secrets,
            })
        } else {
            Err(ConfigError::new(problems))
        }
    }

    /// Stands for all files of the folder that [`Self::load`] reads: another number means that something was changed.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn fingerprint(folder: &Path) -> std::io::Result<u64> {
        let mut problems = Vec::new();
        let mut paths = vec![folder.join(MAIN_FILE)];
        paths.extend(["connectors", "rules"].into_iter().flat_map(|name| toml_files(&folder.join(name), &mut problems)));
        let mut hasher = Xxh3Default::new();
        for path in paths {
            // The lengths keep apart what stands side by side.
            let content = std::fs::read(&path)?;
            for part in [path.as_os_str().as_encoded_bytes(), &content] {
                hasher.update(&part.len().to_le_bytes());
                hasher.update(part);
            }
        }
        Ok(hasher.digest())
    }

    /// As [`Self::fingerprint`], and stands for the secrets of the folder, too, as far as people set them: not for what they
    /// are, but for when they were written. What a sign-in renews by itself is left out.
    ///
    /// # Errors
    /// As [`Self::fingerprint`].
    pub fn stamp(folder: &Path) -> std::io::Result<u64> {
        let mut hasher = Xxh3Default::new();
        hasher.update(&Self::fingerprint(folder)?.to_le_bytes());
        let secrets = Secrets::of_process(folder);
        for name in secrets.kept().into_iter().filter(|name| !name.ends_with(REFRESHED)) {
            let Ok(metadata) = std::fs::metadata(secrets.path(&name)) else { continue };
            hasher.update(name.as_bytes());
            hasher.update(&metadata.mtime().to_le_bytes());
            hasher.update(&metadata.mtime_nsec().to_le_bytes());
        }
        Ok(hasher.digest())
    }

    /// The socket on which a running service takes commands.
    pub fn socket(&self, store: &Path) -> PathBuf {
        socket_of(&self.folder, &self.service, store)
    }

    /// A connector by name, compared without regard to case.
    pub fn connector(&self, name: &str) -> Option<&ConnectorConfig> {
        self.connectors.iter().find(|connector| connector.name.eq_ignore_ascii_case(name))
    }
}

fn socket_of(folder: &Path, service: &ServiceTable, store: &Path) -> PathBuf {
    match &service.socket {
        Some(socket) => folder.join(socket),
        None => store.with_extension("sock"),
    }
}

/// Where a service of this folder takes commands, as far as that can be told: a service goes on when its configuration
/// was broken, and must be reachable then more than ever.
pub fn socket_place(folder: &Path, store: Option<&Path>) -> PathBuf {
    let main = read_main(folder).ok();
    let kept = main.as_ref().map_or_else(default_store, |main| main.store.clone());
    let store = store.map_or_else(|| folder.join(kept), Path::to_owned);
    socket_of(folder, &main.map(|main| main.service).unwrap_or_default(), &store)
}

/// The variable of the environment that names a proxy for encrypted connections, if one does.
#[expect(clippy::disallowed_methods, reason = "configuration is the one place that reads the environment")]
pub fn proxy_variable() -> Option<&'static str> {
    let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    names.into_iter().find(|name| std::env::var(name).is_ok_and(|value| !value.trim().is_empty()))
}

/// The name that the account of this process goes by, as its environment says.
#[expect(clippy::disallowed_methods, reason = "the environment is read in this module")]
pub fn caller_name() -> Option<String> {
    std::env::var("USER").ok()
}

/// The collector that a service of this folder sends its spans to, as far as that can be told: logs begin before the
/// configuration is read, and say what is wrong with it.
pub fn collector(folder: &Path) -> Option<String> {
    read_main(folder).ok()?.service.traces
}

/// The stream that is the service manager's journal, as device and inode (systemd.exec(5), `JOURNAL_STREAM`).
#[expect(clippy::disallowed_methods, reason = "the environment is read in this module")]
pub fn journal_stream() -> Option<String> {
    std::env::var("JOURNAL_STREAM").ok()
}

fn read_main(folder: &Path) -> Result<MainFile, ConfigProblem> {
    if folder.is_file() {
        let around = folder.parent().filter(|around| !around.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let hint = format!("write --config {}", around.display());
        return Err(ConfigProblem::of_file(folder, "is a file; --config takes the folder that it is in").hint(hint));
    }
    let path = folder.join(MAIN_FILE);
    if !path.exists() {
        let hint = "make a configuration with `syncline init`, look at the demonstration (`syncline demo`), or name the folder by --config";
        return Err(ConfigProblem::of_file(&path, "there is no configuration here").hint(hint));
    }
    main_of(folder, &path, &file::read_text(&path)?)
}

/// Refuses a text that the main file cannot have.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_main(folder: &Path, text: &str) -> Result<(), ConfigProblem> {
    main_of(folder, &folder.join(MAIN_FILE), text).map(drop)
}

/// Refuses a text that a connector file cannot have.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_connector(folder: &Path, path: &Path, text: &str) -> Result<(), ConfigProblem> {
    connector::read_text(folder, path, text).map(drop)
}

fn main_of(folder: &Path, path: &Path, text: &str) -> Result<MainFile, ConfigProblem> {
    let main: MainFile = file::parse(folder, path, text)?;
    let problem = |span, message: String| file::problem_at(folder, path, text, span, message);
    if *main.version.get_ref() != CONFIG_VERSION {
        let message = format!("configuration format {} is not known here", main.version.get_ref());
        return Err(problem(main.version.span(), message).hint(format!("this program reads version = {CONFIG_VERSION}")));
    }
    for (name, percent) in [("shrink_percent", Some(main.guard.shrink_percent)), ("max_delete_percent", main.guard.max_delete_percent)] {
        if percent.is_some_and(|percent| percent > 100) {
            let at = text.find(name).map_or(0..0, |start| start..start + name.len());
            return Err(problem(at, format!("{name} is a share in percent and cannot be above 100")));
        }
    }
    let limits = [("cache_mib", main.limits.cache_mib, CACHE_MIB_MAX), ("threads", main.limits.threads, THREADS_MAX)];
    for (name, value, most) in limits {
        if value > most {
            let at = text.find(name).map_or(0..0, |start| start..start + name.len());
            return Err(problem(at, format!("{name} cannot be above {most}, and is {value}")));
        }
    }
    if let Err(message) = main.scheduler.check() {
        let at = text.find("interval").map_or(0..0, |start| start..start + "interval".len());
        return Err(problem(at, message));
    }
    if let Err(message) = main.service.check() {
        let at = text.find("traces").map_or(0..0, |start| start..start + "traces".len());
        return Err(problem(at, message));
    }
    if let Err(message) = main.alerts.check() {
        let at = text.find("[alerts").map_or(0..0, |start| start..start + "[alerts".len());
        return Err(problem(at, message));
    }
    Ok(main)
}

/// The `*.toml` files of a folder in the order of their names; none when the folder does not exist. What editors and other systems leave
/// beside a file for themselves is none (`.#name`, `._name`).
fn toml_files(folder: &Path, problems: &mut Vec<ConfigProblem>) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // For example since nothing is mounted at the moment; what is in there is not gone for that.
            if folder.symlink_metadata().is_ok() {
                problems
                    .push(ConfigProblem::of_file(folder, "the folder is a link to a place that is not there: mend it, or remove the link"));
            }
            return Vec::new();
        }
        Err(error) => {
            problems.push(ConfigProblem::of_file(folder, format!("the folder cannot be read: {error}")));
            return Vec::new();
        }
    };
    let is_one = |path: &PathBuf| {
        let beside = path.file_name().is_some_and(|name| [".#", "._"].iter().any(|mark| name.to_string_lossy().starts_with(mark)));
        !beside && path.extension().is_some_and(|ending| ending == "toml")
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_one).collect();
    paths.sort();
    paths
}

/// A connector's file within the configuration.
fn shown_name(path: &Path) -> String {
    format!("connectors/{}", path.file_name().unwrap_or_default().to_string_lossy())
}

fn check_names(connectors: &[ConnectorConfig], problems: &mut Vec<ConfigProblem>) {
    for (index, connector) in connectors.iter().enumerate() {
        if let Some(earlier) = connectors[..index].iter().find(|earlier| earlier.name.eq_ignore_ascii_case(&connector.name)) {
            problems.push(ConfigProblem::of_file(
                &connector.file,
                format!("the name '{}' is taken by {}; connectors need different names", connector.name, shown_name(&earlier.file)),
            ));
        }
        if let Err(message) = check_connector_name(&connector.name) {
            let mut problem = ConfigProblem::of_file(&connector.file, message);
            problem.hint = Some(
                "write another name into this file; if it was synchronized under this one, `syncline connector rename OLD NEW` then keeps its people"
                    .to_owned(),
            );
            problems.push(problem);
        }
    }
}

/// Refuses what commands could not tell from something else.
///
/// # Errors
/// A sentence about the name.
pub fn check_connector_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains([':', '/']) || name.trim() != name {
        return Err(format!("'{name}' cannot be a connector's name: it must not be empty, hold ':' or '/', or begin or end blank"));
    }
    // Messages propose commands with the name between single quotes.
    if name.chars().any(|character| character.is_control() || "'\"`\\$".contains(character)) {
        return Err(format!("{name:?} cannot be a connector's name: it must not hold quotes, '`', '$', '\\' or control characters"));
    }
    if name.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(format!("'{name}' cannot be a connector's name: commands take numbers for the numbers of connectors"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn problems(files: &[(&str, &str)]) -> String {
        let folder = folder(files);
        let shown = Config::load(folder.path()).unwrap_err().to_string();
        shown.replace(folder.path().to_str().unwrap(), "FOLDER")
    }

    const AD: &str =
        "kind = \"ad\"\nurl = \"ldaps://dc1.corp.example\"\nbind_name = \"svc@corp.example\"\npassword = { credential = \"ad-bind\" }\n";

    #[test]
    fn a_folder_is_read_whole() {
        let folder = folder(&[
            ("syncline.toml", "version = 1\n[guard]\nmax_deletes = 20\n[rules]\nsource_anchor = \"objectGUID\"\n"),
            ("connectors/corp.toml", AD),
            ("connectors/entra.toml", "kind = \"entra\"\nname = \"Entra\"\ntenant = \"embedded\"\n"),
            ("rules/10-own.toml", "# nothing yet\n"),
        ]);
        let config = Config::load(folder.path()).unwrap();
        assert_eq!(config.guard.max_deletes, 20);
        assert_eq!(config.rules.source_anchor, "objectGUID");
        assert_eq!(config.connectors.iter().map(|connector| connector.name.as_str()).collect::<Vec<_>>(), ["corp", "Entra"]);
        assert!(matches!(config.connector("CORP").unwrap().settings, ConnectorSettings::Ad(_)));
        assert_eq!(config.rule_files[0].name, "rules/10-own.toml");
        assert_eq!(config.store, folder.path().join("syncline.redb"));
    }

    #[test]
    fn a_secret_that_was_set_anew_is_noticed() {
        let folder = folder(&[("syncline.toml", "version = 1\n")]);
        let secrets = Secrets::with_environment(folder.path(), |_| None);
        let stamps = || (Config::fingerprint(folder.path()).unwrap(), Config::stamp(folder.path()).unwrap());
        let none = stamps();
        secrets.keep("ad-bind", &secrecy::SecretString::from("x")).unwrap();
        let one = stamps();
        secrets.keep("entra-refresh-token", &secrecy::SecretString::from("y")).unwrap();
        assert!(none.0 == one.0 && none.1 != one.1 && stamps() == one);
    }

    #[test]
    fn an_unknown_key_names_the_place_and_the_key_that_was_meant() {
        let shown = problems(&[("syncline.toml", "version = 1\n[guard]\nmax_delete = 20\n")]);
        assert_eq!(shown, "syncline.toml:3:1: unknown key `max_delete` (did you mean `max_deletes`?)");
    }

    #[test]
    fn problems_of_all_files_come_at_once() {
        let shown = problems(&[
            ("syncline.toml", "version = 1\n"),
            ("connectors/a.toml", "kind = \"entar\"\n"),
            ("connectors/b.toml", &AD.replace("{ credential = \"ad-bind\" }", "\"hunter2\"")),
            ("connectors/c.toml", "kind = \"ldif\"\n"),
        ]);
        assert!(shown.contains("connectors/a.toml:1:8: unknown kind `entar` (did you mean `entra`?)"), "{shown}");
        assert!(shown.contains("connectors/b.toml:4:12: `password`: a secret is never written here"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("connectors/c.toml") && shown.contains("missing key `path`"), "{shown}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        assert!(problems(&[("syncline.toml", "version = 2\n")]).contains("configuration format 2 is not known here"));
        assert!(problems(&[("syncline.toml", "version = 1\n[guard]\nshrink_percent = 101\n")]).contains("syncline.toml:3:1"));
        assert!(problems(&[("syncline.toml", "version = 1\nversion = 1\n")]).contains("duplicate key"));
        assert!(problems(&[]).contains("there is no configuration here"));
        let twice = problems(&[
            ("syncline.toml", "version = 1\n"),
            ("connectors/a.toml", AD),
            ("connectors/b.toml", &format!("name = \"A\"\n{AD}")),
        ]);
        assert!(twice.contains("connectors/b.toml: the name 'A' is taken by connectors/a.toml"), "{twice}");
    }

    #[test]
    fn numbers_are_asked_for_in_words() {
        for (given, wanted) in [("-1", "write a whole number of 0 or more"), ("\"500\"", "write a whole number of 0 or more")] {
            let shown = problems(&[("syncline.toml", &format!("version = 1\n[guard]\nmax_deletes = {given}\n"))]);
            assert!(shown.starts_with("syncline.toml:3:15: ") && shown.contains(wanted) && !shown.contains("u64"), "{shown}");
        }
        let shown = problems(&[("syncline.toml", "version = 1\n[guard]\nstaging = 1\n")]);
        assert!(shown.contains("write true or false"), "{shown}");
        let shown = problems(&[("syncline.toml", "version = 1\n"), ("connectors/a.toml", &format!("{AD}page_size = 0\n"))]);
        assert!(shown.starts_with("connectors/a.toml:5:1: page_size"), "{shown}");
        let shown = problems(&[("syncline.toml", "version = 1\n"), ("connectors/a.toml", &format!("{AD}page_size = 100000000\n"))]);
        assert!(shown.starts_with("connectors/a.toml:5:1: page_size is 100000000") && shown.contains("1000 entries"), "{shown}");
    }

    #[test]
    fn guards_are_known_whatever_else_is_wrong_and_the_stricter_ones_count() {
        let stated = |text: &str| GuardTable::stated(folder(&[("syncline.toml", text)]).path());
        let guard = stated("version = 9\nnonsense = 1\n[guard]\nmax_deletes = 7\nstaging = true\n").unwrap();
        assert_eq!((guard.max_deletes, guard.staging), (7, true));
        assert_eq!(stated("version = 1\n[guard\n"), None);
        let now = GuardTable { max_deletes: 20, max_delete_percent: Some(10), first_export: FirstExport::Free, ..GuardTable::default() };
        assert_eq!(
            now.stricter(&stated("[guard]\nstaging = true\nmax_delete = 1\n").unwrap()),
            GuardTable { staging: true, ..now.clone() }
        );
        let looser = GuardTable { max_deletes: 30, max_delete_percent: Some(60), shrink_percent: 100, ..now.clone() };
        assert_eq!(now.stricter(&looser), now);
        assert_eq!(looser.stricter(&now), now);
        let half = GuardTable { max_delete_percent: None, ..now.clone() };
        assert_eq!((now.stricter(&half), looser.stricter(&half).max_delete_percent), (now, None));
    }

    #[test]
    fn problems_do_not_tell_what_stands_behind_a_host() {
        let hook = "https://hooks.example/services/T0AB12CD3";
        for text in [format!("[alerts]\nwebhook = \"{hook}\"\n"), format!("[alerts.webhook]\nurl = \"{hook}\n")] {
            let shown = problems(&[("syncline.toml", &format!("version = 1\n{text}"))]);
            assert!(shown.starts_with("syncline.toml:3:") && !shown.contains("T0AB"), "{shown}");
        }
        let folder = folder(&[("syncline.toml", &format!("version = 1\n[alerts.webhook]\nurl = \"{hook}\n"))]);
        let changed = set_key(folder.path(), &folder.path().join(MAIN_FILE), "guard", "staging", true).unwrap_err().to_string();
        assert!(changed.starts_with("syncline.toml:3:") && changed.contains("no TOML") && !changed.contains("T0AB"), "{changed}");
    }

    #[test]
    fn a_file_is_not_its_folder() {
        let folder = folder(&[("syncline.toml", "version = 1\n")]);
        let shown = Config::load(&folder.path().join("syncline.toml")).unwrap_err().to_string();
        assert!(shown.contains(&format!("write --config {}", folder.path().display())), "{shown}");
    }

    #[test]
    fn every_key_is_in_the_reference() {
        let reference = include_str!("../../docs/reference/config.md");
        let mut keys: Vec<String> = Vec::new();
        keys.extend(file::known_keys::<MainFile>());
        keys.extend(file::known_keys::<GuardTable>());
        keys.extend(file::known_keys::<LimitsTable>());
        keys.extend(file::known_keys::<RulesTable>());
        keys.extend(file::known_keys::<SchedulerTable>());
        keys.extend(file::known_keys::<ServiceTable>());
        keys.extend(file::known_keys::<LdifFile>());
        keys.extend(file::known_keys::<AdFile>());
        keys.extend(file::known_keys::<LdapFile>());
        keys.extend(file::known_keys::<EntraFile>());
        keys.extend(file::known_keys::<SelectionTable>());
        keys.extend(file::known_keys::<ParametersTable>());
        keys.extend(file::known_keys::<EmbeddedTenant>());
        keys.extend(file::known_keys::<AdPasswordTable>());
        keys.extend(file::known_keys::<PasswordServerPlace>());
        assert!(keys.len() > 40, "{keys:?}");
        let missing: Vec<&String> = keys.iter().filter(|key| !reference.contains(&format!("`{key}`"))).collect();
        assert!(missing.is_empty(), "docs/reference/config.md does not explain {missing:?}");
    }
}
