//! Makes connectors from their configuration, with the secrets they need.

use super::cloud;
use super::tenant::RunningTenant;
use super::{Service, ServiceError};
use crate::config::{AdFile, ConnectorConfig, ConnectorSettings, LdapFile, Secrets, SelectionTable};
use crate::connector::ad::{AdConnector, AdSettings, DirectoryFacts};
use crate::connector::directory::Selection;
use crate::connector::ldap::{LdapConnector, LdapConnectorSettings, LdapSettings};
use crate::connector::ldif::{LdifConnector, LdifSettings};
use crate::connector::{Connector, ConnectorError};
use crate::context::Context;
use std::sync::Arc;
use std::time::Duration;

/// A connector, and what its directory tells about itself.
pub(super) struct Wired {
    pub(super) connector: Arc<dyn Connector>,
    /// `None` when it tells nothing, or could not be asked.
    pub(super) facts: Option<DirectoryFacts>,
}

impl Service {
    /// Makes a connector. Active Directory is asked for its parameters and its schema; when it cannot be reached, the run that needs it
    /// says so, and those of the last run count.
    pub(super) async fn wire(&self, config: &ConnectorConfig, tenant: Option<&RunningTenant>, cx: &Context) -> Result<Wired, ServiceError> {
        let names = Arc::clone(self.store.names());
        let failed = |source: ConnectorError| ServiceError::Connector { connector: config.name.clone(), source };
        match &config.settings {
            ConnectorSettings::Ldif(file) => {
                let settings = LdifSettings {
                    path: file.path.clone(),
                    changes: file.changes.clone(),
                    export: file.export.clone(),
                    anchor: file.anchor.clone(),
                    selection: selection(config, &file.selection),
                };
                Ok(Wired::plain(LdifConnector::new(settings, names).map_err(failed)?))
            }
            ConnectorSettings::Ad(file) => {
                let settings = AdSettings {
                    connection: ad_connection(file, &self.config.secrets)?,
                    partitions: file.partitions.clone(),
                    selection: selection(config, &file.selection),
                };
                let connector = AdConnector::new(settings, names).map_err(failed)?;
                let facts = connector.facts(cx).await;
                if let Err(error) = &facts {
                    let name = &config.name;
                    tracing::warn!("{name} did not tell its names (%Domain.FQDN% and the like), those of the last run count: {error}");
                }
                Ok(Wired { connector: Arc::new(connector), facts: facts.ok() })
            }
            ConnectorSettings::Ldap(file) => {
                let settings = LdapConnectorSettings {
                    connection: ldap_connection(file, &self.config.secrets)?,
                    base: file.base.clone(),
                    anchor: file.anchor.clone(),
                    selection: selection(config, &file.selection),
                };
                Ok(Wired::plain(LdapConnector::new(settings, names).map_err(failed)?))
            }
            ConnectorSettings::Entra(file) => Ok(Wired::plain(cloud::entra(config, file, tenant, &self.config.secrets, names)?)),
        }
    }
}

impl Wired {
    fn plain(connector: impl Connector + 'static) -> Self {
        Self { connector: Arc::new(connector), facts: None }
    }
}

fn selection(config: &ConnectorConfig, table: &SelectionTable) -> Selection {
    Selection { object_types: config.object_types(), include: table.include.clone(), exclude: table.exclude.clone() }
}

fn ad_connection(file: &AdFile, secrets: &Secrets) -> Result<LdapSettings, ServiceError> {
    Ok(LdapSettings {
        start_tls: file.start_tls,
        allow_plain: file.allow_plain,
        ca_file: file.ca_file.clone(),
        connect_timeout: Duration::from_secs(file.connect_timeout_seconds),
        answer_timeout: Duration::from_secs(file.answer_timeout_seconds),
        page_size: file.page_size,
        value_range: file.value_range,
        ..LdapSettings::new(&file.url, &file.bind_name, secrets.resolve(&file.password)?)
    })
}

fn ldap_connection(file: &LdapFile, secrets: &Secrets) -> Result<LdapSettings, ServiceError> {
    Ok(LdapSettings {
        start_tls: file.start_tls,
        allow_plain: file.allow_plain,
        ca_file: file.ca_file.clone(),
        connect_timeout: Duration::from_secs(file.connect_timeout_seconds),
        answer_timeout: Duration::from_secs(file.answer_timeout_seconds),
        page_size: file.page_size,
        ..LdapSettings::new(&file.url, &file.bind_name, secrets.resolve(&file.password)?)
    })
}
