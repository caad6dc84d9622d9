//! What directories tell about themselves: parameters of rules (`%Domain.FQDN%` and the like) and the extensions of their
//! schema. Told by the directory, remembered from the last run, or, for parameters, configured.

use super::{Service, ServiceError};
use crate::config::{ConnectorConfig, ConnectorSettings};
use crate::connector::ad::DirectoryFacts;
use crate::engine::belief::{EXTENSIONS, PARAMETERS};
use crate::model::{ConnectorId, Timestamp};
use crate::rules::{RunParameters, SchemaExtensions};
use crate::store::{ChangeSet, Store, StoreError};
use std::collections::BTreeMap;

/// What the schemas of directories were extended by, as far as an earlier run was told: an octet each, 0 or 1.
pub(super) fn kept_extensions<'c>(
    store: &Store,
    connectors: impl Iterator<Item = &'c ConnectorId>,
) -> Result<BTreeMap<ConnectorId, SchemaExtensions>, StoreError> {
    let snapshot = store.snapshot()?;
    let mut found = BTreeMap::new();
    for id in connectors {
        if let Some([exchange, lync, devices]) = snapshot.state(*id, EXTENSIONS)?.as_deref() {
            found.insert(*id, SchemaExtensions { exchange: *exchange != 0, lync: *lync != 0, devices: *devices != 0 });
        }
    }
    Ok(found)
}

impl Service {
    /// Parameters as far as they are known without asking a directory: configured ones, and those of the last run.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn kept_parameters(&self, now: Timestamp) -> Result<RunParameters, ServiceError> {
        let snapshot = self.store.snapshot()?;
        let mut parameters = BTreeMap::new();
        for (id, name) in &self.connectors {
            let mut known: BTreeMap<String, String> =
                snapshot.state(*id, PARAMETERS)?.and_then(|octets| serde_json::from_slice(&octets).ok()).unwrap_or_default();
            known.extend(self.configured_parameters(*id, name));
            parameters.insert(*id, known);
        }
        Ok(RunParameters { now, parameters })
    }

    /// True when a directory has told of itself in an earlier run.
    pub(super) fn knows_parameters(&self, name: &str) -> Result<bool, ServiceError> {
        let snapshot = self.store.snapshot()?;
        let known = self.connectors.iter().find(|(_, known)| *known == name).map(|(id, _)| snapshot.state(*id, PARAMETERS)).transpose()?;
        Ok(known.flatten().is_some())
    }

    /// Remembers what a directory told about itself, as far as it is news.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(super) fn keep_facts(&self, id: ConnectorId, facts: &DirectoryFacts) -> Result<(), ServiceError> {
        let parameters = serde_json::to_vec(&facts.parameters).map_err(|error| ServiceError::Usage(error.to_string()))?;
        let found = facts.extensions;
        let snapshot = self.store.snapshot()?;
        // A schema only grows: what was found once and is not found now could not be read.
        let known = snapshot.state(id, EXTENSIONS)?.unwrap_or_default();
        let before = |index: usize| known.get(index).is_some_and(|octet| *octet != 0);
        let extensions = [found.exchange || before(0), found.lync || before(1), found.devices || before(2)].map(u8::from).to_vec();
        let mut changes = ChangeSet::new();
        for (key, content) in [(PARAMETERS, parameters), (EXTENSIONS, extensions)] {
            if snapshot.state(id, key)?.as_deref() != Some(&content) {
                changes.states.push((id, key.to_owned(), Some(content)));
            }
        }
        drop(snapshot);
        if !changes.states.is_empty() {
            self.store.apply(changes)?;
        }
        Ok(())
    }

    fn configured_parameters(&self, id: ConnectorId, name: &str) -> BTreeMap<String, String> {
        let mut known = BTreeMap::from([("Connector.ID".to_owned(), id.to_string()), ("Connector.Name".to_owned(), name.to_owned())]);
        if let Some(connector) = self.config.connector(name) {
            known.extend(configured(connector));
        }
        known
    }
}

fn configured(connector: &ConnectorConfig) -> Vec<(String, String)> {
    let table = match &connector.settings {
        ConnectorSettings::Ldif(file) => &file.parameters,
        ConnectorSettings::Ad(file) => &file.parameters,
        ConnectorSettings::Ldap(file) => &file.parameters,
        ConnectorSettings::Entra(_) => return Vec::new(),
    };
    table.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
