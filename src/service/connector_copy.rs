//! One connector's settings as a file, from one installation to another. Secrets are named in such files and never held.

use super::connector_file::{credentials_of, file_of, write_new};
use super::{Service, ServiceError};
use crate::config::{
    Config, ConfigProblem, ConnectorKind, CredentialReference, check_connector, check_connector_name, connector_keys, no_toml, replace_file,
};
use serde::Serialize;
use std::path::Path;
use toml_edit::{DocumentMut, Item};

/// The longest file that is taken for settings of a connector, in octets.
const LONGEST: u64 = 1 << 20;
/// Keys that name files or folders of the machine.
const PLACES: [&str; 7] = ["path", "changes", "export", "ca_file", "certificate", "folder", "socket"];

/// A connector's settings to be carried elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectorCopy {
    /// Its name.
    pub connector: String,
    /// Its kind.
    pub kind: &'static str,
    /// The settings as they stand in its file, with comments, and with its name.
    pub text: String,
    /// Credentials that it names, which the other installation has to have.
    pub credentials: Vec<String>,
    /// Files and folders that it names, `key = place`, which have to be there, too.
    pub places: Vec<String>,
}

/// A connector made of such a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportedConnector {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// The file within the configuration folder.
    pub file: String,
    /// Its text.
    pub text: String,
    /// It takes the place of settings that this name had before.
    pub replaces: bool,
    /// Credentials that it names and that nobody gives here.
    pub missing_credentials: Vec<String>,
    /// Files and folders that it names and that are not there.
    pub missing_places: Vec<String>,
    /// `written`, `unchanged` or `would be written`.
    pub done: &'static str,
}

impl Service {
    /// The settings of a connector as a file for another installation.
    ///
    /// # Errors
    /// When there is no such connector, or its file cannot be read.
    pub fn copy_connector(&self, name: &str) -> Result<ConnectorCopy, ServiceError> {
        self.connector_id(name)?;
        let config = self.configured(name)?;
        let path = &config.file;
        let (text, mut document) = parsed(path, path.strip_prefix(&self.config.folder).unwrap_or(path))?;
        let mut text = text;
        if document.get("name").is_none() {
            // Elsewhere the file has another name.
            document.insert("name", Item::Value(config.name.as_str().into()));
            text = document.to_string();
        }
        Ok(ConnectorCopy {
            connector: config.name.clone(),
            kind: config.kind().as_str(),
            text,
            credentials: credentials_of(&document),
            places: places_of(&document, config.kind()).into_iter().map(|(key, place)| format!("{key} = {place}")).collect(),
        })
    }
}

/// Makes a connector of a file that [`Service::copy_connector`] gave.
///
/// # Errors
/// When the file cannot be read or understood, its name is taken and `replace` is not asked for, the connector of that name is
/// of another kind, or the file cannot be written.
pub fn import_connector(
    config: &Config,
    from: &Path,
    name: Option<&str>,
    replace: bool,
    what_if: bool,
) -> Result<ImportedConnector, ServiceError> {
    let problem = |message: String| ServiceError::from(ConfigProblem::of_file(from, message));
    let (_, mut document) = parsed(from, from)?;
    if let Some(name) = name {
        document.insert("name", Item::Value(name.into()));
    }
    let Some(name) = document.get("name").and_then(Item::as_str).map(str::to_owned) else {
        return Err(problem("says no name for the connector: give one by --name".to_owned()));
    };
    check_connector_name(&name).map_err(ServiceError::Usage)?;
    let known = config.connector(&name);
    if let Some(known) = known.filter(|_| !replace) {
        return Err(ServiceError::Usage(format!(
            "there is a connector {} already, in {}: --replace puts these settings in their place, --name gives them another name",
            known.name,
            known.file.display()
        )));
    }
    let path = known.map_or_else(|| file_of(&config.folder, &name), |known| known.file.clone());
    let text = document.to_string();
    // Problems are told at the lines of the file that was given.
    check_connector(&config.folder, from, &text)?;
    let kind = document.get("kind").and_then(Item::as_str).unwrap_or_default();
    let Some(kind) = ConnectorKind::ALL.into_iter().find(|known| known.as_str() == kind) else {
        return Err(problem(format!("'{kind}' is no kind of connectors")));
    };
    if let Some(known) = known.filter(|known| known.kind() != kind) {
        return Err(ServiceError::Usage(format!(
            "{} is of kind {}, and these settings are of kind {}: its objects would be read as something else",
            known.name,
            known.kind().as_str(),
            kind.as_str()
        )));
    }
    let same = known.is_some() && std::fs::read_to_string(&path).is_ok_and(|present| present == text);
    let done = match (same, what_if) {
        (true, _) => "unchanged",
        (false, true) => "would be written",
        (false, false) => {
            if known.is_some() {
                replace_file(&config.folder, &path, &text)?;
            } else {
                write_new(&path, &text)?;
            }
            "written"
        }
    };
    let given = |name: &String| config.secrets.resolve(&CredentialReference { credential: name.clone() }).is_ok();
    let there = |place: &str| config.folder.join(place).exists();
    Ok(ImportedConnector {
        kind: kind.as_str(),
        file: path.strip_prefix(&config.folder).unwrap_or(&path).display().to_string(),
        text,
        replaces: known.is_some(),
        missing_credentials: credentials_of(&document).into_iter().filter(|name| !given(name)).collect(),
        missing_places: places_of(&document, kind)
            .into_iter()
            .filter(|(_, place)| !there(place))
            .map(|(key, place)| format!("{key} = {place}"))
            .collect(),
        name,
        done,
    })
}

/// A file of settings, as it stands and understood.
fn parsed(path: &Path, shown: &Path) -> Result<(String, DocumentMut), ServiceError> {
    let problem = |message: String| ServiceError::from(ConfigProblem::of_file(shown, message));
    let unread = |error: std::io::Error| problem(format!("cannot be read: {error}"));
    if std::fs::metadata(path).map_err(unread)?.len() > LONGEST {
        return Err(problem("is longer than the settings of any connector".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
    let document =
        text.parse().map_err(|error: toml_edit::TomlError| no_toml(Path::new(""), shown, &text, (error.message(), error.span())))?;
    Ok((text, document))
}

/// The files and folders that a connector's settings name.
fn places_of(document: &DocumentMut, kind: ConnectorKind) -> Vec<(String, String)> {
    let keys = connector_keys(kind).into_iter().map(|known| known.key);
    let keys = keys.filter(|key| key.rsplit('.').next().is_some_and(|last| PLACES.contains(&last)));
    keys.filter_map(|key| {
        let item = key.split('.').try_fold(document.as_item(), |item, name| item.get(name))?;
        Some((key, item.as_str()?.to_owned()))
    })
    .collect()
}
