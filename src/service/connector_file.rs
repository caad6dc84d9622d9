//! Connectors one by one: trying one, and writing the file of a new one. And the run profiles, which are built in.

use super::settings::refuse_secret;
use super::{Service, ServiceError};
use crate::config::{
    AdDeltaMode, Config, ConnectorKind, ConnectorSettings, CredentialReference, SettingKind, check_connector, check_connector_name,
    closest, connector_keys, schema_of,
};
use crate::connector::Capabilities;
use crate::context::Context;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value};

/// A kind of connectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectorType {
    /// The word in files.
    pub kind: &'static str,
    /// What it is for.
    pub title: &'static str,
    /// Settings that have to be written.
    pub needs: Vec<String>,
    /// How changes are learnt.
    pub deltas: &'static str,
    /// What can be written to it.
    pub exports: &'static str,
}

/// What a connector answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectorTrial {
    /// Its name.
    pub connector: String,
    /// Its kind.
    pub kind: &'static str,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// Types of objects that it has.
    pub object_types: usize,
    /// Attributes that it has.
    pub attributes: usize,
    /// It can tell what changed.
    pub delta_import: bool,
    /// It can be written to.
    pub export: bool,
    /// What it tells about itself.
    pub facts: BTreeMap<String, String>,
}

/// A file of a new connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewConnector {
    /// Its name.
    pub name: String,
    /// The file within the folder.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Credentials that it names and that nobody gives yet.
    pub missing_credentials: Vec<String>,
    /// `written` or `would be written`.
    pub done: &'static str,
}

/// A run profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProfileView {
    /// The word on the command line.
    pub name: &'static str,
    /// The name in the history.
    pub title: &'static str,
    /// What it does.
    pub does: &'static str,
    /// The connectors that have it.
    pub connectors: Vec<String>,
}

/// The kinds of connectors.
pub fn connector_types() -> Vec<ConnectorType> {
    ConnectorKind::ALL
        .into_iter()
        .map(|kind| {
            let (title, deltas, exports) = match kind {
                ConnectorKind::Ad => ("Active Directory, also Samba's", "DirSync control or numbers of changes", "nothing"),
                ConnectorKind::Ldap => ("OpenLDAP and its like", "content synchronization (RFC 4533)", "nothing"),
                ConnectorKind::Ldif => {
                    ("files of entries", "files of changes, where `changes` is set", "change records, where `export` is set")
                }
                ConnectorKind::Entra => {
                    ("Microsoft Entra ID, or a local tenant", "read-back behind a cookie", "users, groups, contacts, devices")
                }
            };
            // `kind` itself is written by whoever writes the file.
            let needs = required(kind).into_iter().filter(|key| key != "kind").collect();
            ConnectorType { kind: kind.as_str(), title, needs, deltas, exports }
        })
        .collect()
}

fn required(kind: ConnectorKind) -> Vec<String> {
    let schema = schema_of(kind.as_str()).unwrap_or_default();
    schema["required"].as_array().into_iter().flatten().filter_map(|key| key.as_str().map(str::to_owned)).collect()
}

/// Writes the file of a new connector; `settings` are `key=value`.
///
/// # Errors
/// When the name is taken or none, a setting is unknown or missing, or the file cannot be written.
pub fn add_connector(config: &Config, name: &str, kind: &str, settings: &[String], what_if: bool) -> Result<NewConnector, ServiceError> {
    check_connector_name(name).map_err(ServiceError::Usage)?;
    if let Some(known) = config.connector(name) {
        return Err(ServiceError::Usage(format!("there is a connector {} already, in {}", known.name, known.file.display())));
    }
    let Some(kind) = ConnectorKind::ALL.into_iter().find(|known| known.as_str() == kind) else {
        return Err(ServiceError::Usage(format!("there is no kind of connectors '{kind}'; `syncline connector types` lists them")));
    };
    let mut document = DocumentMut::new();
    document.insert("kind", Item::Value(kind.as_str().into()));
    document.insert("name", Item::Value(name.into()));
    for setting in settings {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(ServiceError::Usage(format!("'{setting}' is no setting: write KEY=VALUE")));
        };
        put(&mut document, kind, key.trim(), value.trim())?;
    }
    let text = document.to_string();
    let path = file_of(&config.folder, name);
    check_connector(&config.folder, &path, &text)?;
    let done = if what_if {
        "would be written"
    } else {
        write_new(&path, &text)?;
        "written"
    };
    let missing = credentials_of(&document).into_iter();
    let missing = missing.filter(|name| config.secrets.resolve(&CredentialReference { credential: name.clone() }).is_err());
    Ok(NewConnector {
        name: name.to_owned(),
        file: path.strip_prefix(&config.folder).unwrap_or(&path).display().to_string(),
        text,
        missing_credentials: missing.collect(),
        done,
    })
}

/// The file of a connector that has none yet.
pub(super) fn file_of(folder: &Path, name: &str) -> PathBuf {
    let plain: String =
        name.chars().map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' }).collect();
    folder.join("connectors").join(format!("{plain}.toml"))
}

fn put(document: &mut DocumentMut, kind: ConnectorKind, key: &str, value: &str) -> Result<(), ServiceError> {
    let keys = connector_keys(kind);
    refuse_secret(&keys, key, "=")?;
    let Some(about) = keys.iter().find(|known| known.key == key) else {
        let names: Vec<String> = keys.iter().map(|known| known.key.clone()).collect();
        let meant = closest(key, &names).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        return Err(ServiceError::Usage(format!("a connector of kind {} has no setting {key}{meant}", kind.as_str())));
    };
    let refused = |wanted: &str| ServiceError::Usage(format!("{key} takes {wanted}, not '{value}'"));
    let value: Value = match about.kind {
        SettingKind::Number => value.parse::<i64>().map_err(|_| refused("a whole number"))?.into(),
        SettingKind::Flag => value.parse::<bool>().map_err(|_| refused("true or false"))?.into(),
        SettingKind::List if value.starts_with('[') => value.parse().map_err(|_| refused("a list: [\"…\", \"…\"]"))?,
        SettingKind::List => Array::from_iter([value]).into(),
        SettingKind::Text => value.into(),
        SettingKind::Table => return Err(refused("a table, which is written into the file")),
    };
    if let Some(reference) = key.strip_suffix(".credential") {
        let mut table = InlineTable::new();
        table.insert("credential", value);
        document.insert(reference, Item::Value(table.into()));
        return Ok(());
    }
    let (tables, last) = key.rsplit_once('.').map_or((None, key), |(tables, last)| (Some(tables), last));
    let mut at: &mut Table = document.as_table_mut();
    for name in tables.into_iter().flat_map(|tables| tables.split('.')) {
        let entry = at.entry(name).or_insert_with(|| Item::Table(Table::new()));
        at = entry.as_table_mut().ok_or_else(|| ServiceError::Usage(format!("{name} is no table")))?;
    }
    at.insert(last, Item::Value(value));
    Ok(())
}

/// The credentials that a connector's settings name.
pub(super) fn credentials_of(document: &DocumentMut) -> Vec<String> {
    let tables = document.iter().filter_map(|(_, item)| item.as_table_like());
    tables.filter_map(|table| table.get("credential").and_then(Item::as_str).map(str::to_owned)).collect()
}

/// Writes a file that is not there yet, whole or not at all.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), ServiceError> {
    let failed = |error: &std::io::Error| ServiceError::SettingUnwritten { path: path.to_owned(), reason: error.to_string() };
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    let mut file = tempfile::Builder::new().prefix(".connector-").tempfile_in(folder).map_err(|error| failed(&error))?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(|error| failed(&error))?;
    file.persist_noclobber(path).map(drop).map_err(|error| failed(&error.error))
}

impl Service {
    /// Signs in to a connector's directory or tenant and reads its schema. Imports nothing.
    ///
    /// # Errors
    /// As the directory says, or when there is no such connector.
    pub fn try_connector(&self, cx: &Context, name: &str) -> Result<ConnectorTrial, ServiceError> {
        let (id, config) = (self.connector_id(name)?, self.configured(name)?);
        let begun = cx.clock.elapsed();
        self.has_its_files(config)?;
        self.with_wired(cx, config, async |wired| {
            let failed = |source| ServiceError::Connector { connector: config.name.clone(), source };
            let schema = wired.connector.schema(cx).await.map_err(failed)?;
            if let ConnectorSettings::Entra(_) = &config.settings {
                // The schema of a tenant is known without asking: this asks.
                wired.connector.begin_export(cx).await.map_err(failed)?;
            }
            if let Some(facts) = &wired.facts {
                self.keep_facts(id, facts)?;
            }
            let Capabilities { delta_import, export, .. } = wired.connector.capabilities();
            Ok(ConnectorTrial {
                connector: config.name.clone(),
                kind: config.kind().as_str(),
                seconds: cx.clock.elapsed().saturating_sub(begun).as_secs(),
                object_types: schema.object_types.len(),
                attributes: schema.attributes.len(),
                delta_import,
                export,
                facts: wired.facts.as_ref().map(|facts| facts.parameters.clone()).unwrap_or_default(),
            })
        })
    }

    /// The run profiles, which are built in, and who has them.
    ///
    /// # Errors
    /// When the rules do not compile.
    pub fn profiles(&self) -> Result<Vec<ProfileView>, ServiceError> {
        let targets = self.rules()?.targets();
        let names = |wanted: &dyn Fn(&str, bool) -> bool| -> Vec<String> {
            self.connectors.iter().filter(|(id, name)| wanted(name, targets.contains(id))).map(|(_, name)| name.clone()).collect()
        };
        let deltas = |name: &str| match self.config.connector(name).map(|config| &config.settings) {
            Some(ConnectorSettings::Ldif(file)) => file.changes.is_some(),
            Some(ConnectorSettings::Ad(file)) => file.delta.mode != AdDeltaMode::Off,
            _ => true,
        };
        let (all, delta, target) = (names(&|_, _| true), names(&|name, _| deltas(name)), names(&|_, target| target));
        let view = |name, title, does, connectors: &[String]| ProfileView { name, title, does, connectors: connectors.to_vec() };
        Ok(vec![
            view("full-import", "Full Import", "reads everything; what was known and is not met is gone", &all),
            view("delta-import", "Delta Import", "reads what changed since the last import", &delta),
            view("full-sync", "Full Synchronization", "applies the rules to all objects of the connector", &all),
            view("delta-sync", "Delta Synchronization", "applies the rules to what changed", &all),
            view("export", "Export", "sends what waits, past the guards", &target),
        ])
    }
}
