//! What a connector's configuration names on this machine: files, folders and secrets, and which of them are not there.

use super::{Service, ServiceError};
use crate::config::{Config, ConfigError, ConfigProblem, ConnectorConfig, ConnectorSettings, CredentialReference, problem_of_key};
use std::path::Path;

/// The credentials that a connector needs, by their keys.
pub(super) fn named_credentials(connector: &ConnectorConfig) -> Vec<(&'static str, &CredentialReference)> {
    match &connector.settings {
        ConnectorSettings::Ldif(_) => Vec::new(),
        ConnectorSettings::Ad(settings) => {
            let passwords = settings.password_hash_sync.password.as_ref().filter(|_| settings.password_hash_sync.enabled);
            let own = passwords.map(|password| ("password_hash_sync.password", password));
            std::iter::once(("password", &settings.password)).chain(own).collect()
        }
        ConnectorSettings::Ldap(settings) => vec![("password", &settings.password)],
        ConnectorSettings::Entra(settings) => {
            let named = [("client_secret", &settings.client_secret), ("private_key", &settings.private_key)];
            named.into_iter().filter_map(|(key, credential)| Some((key, credential.as_ref()?))).collect()
        }
    }
}

/// The files and folders that a connector reads, by their keys.
fn named_files(connector: &ConnectorConfig) -> Vec<(&'static str, &Path)> {
    let named = match &connector.settings {
        ConnectorSettings::Ldif(settings) => vec![("path", Some(&settings.path)), ("changes", settings.changes.as_ref())],
        ConnectorSettings::Ad(settings) => vec![("ca_file", settings.ca_file.as_ref())],
        ConnectorSettings::Ldap(settings) => vec![("ca_file", settings.ca_file.as_ref())],
        ConnectorSettings::Entra(settings) => vec![("ca_file", settings.ca_file.as_ref()), ("certificate", settings.certificate.as_ref())],
    };
    named.into_iter().filter_map(|(key, path)| Some((key, path?.as_path()))).collect()
}

/// The files that a connector names and that cannot be found or opened, each with the line that names it, and what to do.
pub(super) fn missing_files(config: &Config, connector: &ConnectorConfig) -> Vec<ConfigProblem> {
    let missing = |(key, path): (&'static str, &Path)| {
        // Opening what is no file may wait for somebody at its other end.
        let opened = |metadata: std::fs::Metadata| if metadata.is_file() { std::fs::File::open(path).map(drop) } else { Ok(()) };
        let error = std::fs::metadata(path).and_then(opened).err()?;
        let message = format!("{key}: {} cannot be read: {error}", path.display());
        let hint = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "let the account that runs syncline read it, and the folders above it".to_owned(),
            _ => format!("put it there, or name another one: `syncline connector set '{}' {key} FILE`", connector.name),
        };
        Some(problem_of_key(&config.folder, &connector.file, key, message).hint(hint))
    };
    named_files(connector).into_iter().filter_map(missing).collect()
}

impl Service {
    /// Refuses a connector that names files which are not there.
    ///
    /// # Errors
    /// All of them, with the lines that name them.
    pub(super) fn has_its_files(&self, connector: &ConnectorConfig) -> Result<(), ServiceError> {
        let missing = missing_files(&self.config, connector);
        if missing.is_empty() { Ok(()) } else { Err(ConfigError::new(missing).into()) }
    }

    /// The files that a connector names and that are not there now, a sentence with the place and what to do for each: for whoever asks
    /// why a run of it failed.
    pub fn missing_files(&self, connector: &str) -> Vec<String> {
        let missing = self.config.connector(connector).map(|connector| missing_files(&self.config, connector)).unwrap_or_default();
        missing.iter().map(ToString::to_string).collect()
    }
}
