//! What rules read as `%Domain.FQDN%` and the like: configured, told by the directory, or remembered from the last run.

use super::{Service, ServiceError};
use crate::config::{ConnectorConfig, ConnectorSettings};
use crate::model::{ConnectorId, Timestamp};
use crate::rules::RunParameters;
use crate::store::ChangeSet;
use std::collections::BTreeMap;

/// The name under which a connector's parameters are remembered.
const KEPT: &str = "rule-parameters";

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
                snapshot.state(*id, KEPT)?.and_then(|octets| serde_json::from_slice(&octets).ok()).unwrap_or_default();
            known.extend(self.configured_parameters(*id, name));
            parameters.insert(*id, known);
        }
        Ok(RunParameters { now, parameters })
    }

    /// Remembers what a directory told about itself, when it is news.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(super) fn keep_parameters(&self, id: ConnectorId, told: &BTreeMap<String, String>) -> Result<(), ServiceError> {
        if told.is_empty() {
            return Ok(());
        }
        let content = serde_json::to_vec(told).map_err(|error| ServiceError::Usage(error.to_string()))?;
        if self.store.snapshot()?.state(id, KEPT)?.as_deref() != Some(&content) {
            let mut changes = ChangeSet::new();
            changes.states.push((id, KEPT.to_owned(), Some(content)));
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
