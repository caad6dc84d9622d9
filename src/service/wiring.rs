//! Makes connectors from their configuration, with the secrets they need.

use super::tenancy::Purpose;
use super::tenant::RunningTenant;
use super::{Service, ServiceError};
use crate::config::{
    AdFile, ConnectorConfig, ConnectorSettings, LdapFile, LdifFile, PasswordReader, PasswordServer, PasswordSignIn, Secrets, SelectionTable,
};
use crate::connector::ad::ldapi::{LdapiPasswordSource, LdapiSettings};
use crate::connector::ad::replication::{Authentication, ReplicationServer, ReplicationSettings, ReplicationSource};
use crate::connector::ad::{AdConnector, AdSettings, DirectoryFacts};
use crate::connector::directory::Selection;
use crate::connector::ldap::{LdapConnector, LdapConnectorSettings, LdapSettings};
use crate::connector::ldif::{LdifConnector, LdifSettings};
use crate::connector::{Connector, ConnectorError, PasswordSource, SignIns};
use crate::context::Context;
use crate::model::Names;
use secrecy::SecretString;
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
    pub(super) async fn wire(
        &self,
        config: &ConnectorConfig,
        tenant: Option<&RunningTenant>,
        purpose: Purpose,
        cx: &Context,
    ) -> Result<Wired, ServiceError> {
        let names = Arc::clone(self.store.names());
        let failed = |source: ConnectorError| ServiceError::Connector { connector: config.name.clone(), source };
        match &config.settings {
            ConnectorSettings::Ldif(file) => Ok(Wired::plain(LdifConnector::new(ldif_settings(config, file), names).map_err(failed)?)),
            ConnectorSettings::Ad(file) => {
                super::rotation::settle(cx, file, &self.config.secrets).await;
                let connector = self.ad(config, file)?;
                let facts = connector.facts(cx).await;
                if let Err(error) = &facts {
                    let name = &config.name;
                    let instead =
                        if self.knows_parameters(name)? { "those of the last run count" } else { "and no earlier run knows them" };
                    tracing::warn!("{name} did not tell its names (%Domain.FQDN% and the like), {instead}: {error}");
                }
                Ok(Wired { connector: Arc::new(connector), facts: facts.ok() })
            }
            ConnectorSettings::Ldap(file) => {
                let settings = ldap_settings(config, file, &self.config.secrets, self.sign_ins())?;
                Ok(Wired::plain(LdapConnector::new(settings, names).map_err(failed)?))
            }
            ConnectorSettings::Entra(file) => Ok(Wired::plain(self.cloud(config, file, tenant, names, purpose)?)),
        }
    }

    /// A connector of Active Directory. Nothing is connected yet.
    pub(super) fn ad(&self, config: &ConnectorConfig, file: &AdFile) -> Result<AdConnector, ServiceError> {
        let settings = AdSettings {
            connection: ad_connection(file, &self.config.secrets, self.sign_ins())?,
            partitions: file.partitions.clone(),
            selection: selection(config, &file.selection),
            delta: file.delta.mode.into(),
        };
        let failed = |source| ServiceError::Connector { connector: config.name.clone(), source };
        AdConnector::new(settings, Arc::clone(self.store.names())).map_err(failed)
    }
}

/// The way to the password hashes of a directory.
///
/// # Errors
/// When its connector has none, or is configured in a way that cannot work.
pub(super) fn password_source(
    config: &ConnectorConfig,
    secrets: &Secrets,
    names: &Arc<Names>,
    sign_ins: &SignIns,
    patient: bool,
) -> Result<Arc<dyn PasswordSource>, ServiceError> {
    let failed = |source: ConnectorError| ServiceError::Connector { connector: config.name.clone(), source };
    match &config.settings {
        ConnectorSettings::Ldif(file) => Ok(Arc::new(LdifConnector::new(ldif_settings(config, file), Arc::clone(names)).map_err(failed)?)),
        ConnectorSettings::Ad(file) => match file.password_hash_sync.source {
            PasswordReader::Replication => {
                let settings = ReplicationSettings { patient, ..replication(file, secrets, sign_ins)? };
                Ok(Arc::new(ReplicationSource::new(settings).map_err(failed)?))
            }
            PasswordReader::Ldapi => {
                let table = &file.password_hash_sync;
                let socket = table.socket.clone().unwrap_or_else(|| DEFAULT_SOCKET.into());
                Ok(Arc::new(LdapiPasswordSource::new(LdapiSettings { domains: domains(file), ..LdapiSettings::new(socket) })))
            }
        },
        ConnectorSettings::Ldap(_) | ConnectorSettings::Entra(_) => {
            Err(ServiceError::Usage(format!("{} has no password hashes: directories of kind ad and ldif have", config.name)))
        }
    }
}

/// Where Samba's packages put the privileged socket.
const DEFAULT_SOCKET: &str = "/var/lib/samba/private/ldap_priv/ldapi";

/// The naming contexts to read; none means the server's own domain.
fn domains(file: &AdFile) -> Vec<String> {
    let table = &file.password_hash_sync;
    if table.domains.is_empty() { file.partitions.clone() } else { table.domains.clone() }
}

pub(super) fn replication(file: &AdFile, secrets: &Secrets, sign_ins: &SignIns) -> Result<ReplicationSettings, ServiceError> {
    let table = &file.password_hash_sync;
    let named = |server: &PasswordServer| {
        let (address, port) = match server {
            PasswordServer::Name(_) => (None, None),
            PasswordServer::Place(place) => (place.address.clone(), place.port),
        };
        ReplicationServer { address, port, kdc: table.kdc.clone(), ..ReplicationServer::new(server.name()) }
    };
    let mut servers: Vec<ReplicationServer> = table.servers.iter().map(named).collect();
    if servers.is_empty() {
        servers.push(ReplicationServer { kdc: table.kdc.clone(), ..ReplicationServer::new(host_of(&file.url)) });
    }
    let account = table.account.clone().unwrap_or_else(|| file.bind_name.clone());
    let password = secrets.resolve(table.password.as_ref().unwrap_or(&file.password))?;
    Ok(ReplicationSettings {
        authentication: match table.sign_in {
            PasswordSignIn::Kerberos => Authentication::Kerberos,
            PasswordSignIn::Negotiate => Authentication::Negotiate,
            PasswordSignIn::Ntlm => Authentication::Ntlm,
        },
        domains: domains(file),
        connect_timeout: Duration::from_secs(file.connect_timeout_seconds),
        sign_in: sign_ins.to(&realm(file)),
        ..ReplicationSettings::new(servers, account, password)
    })
}

/// The host of `ldaps://host:port`.
pub(super) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    match host.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    }
}

fn ldif_settings(config: &ConnectorConfig, file: &LdifFile) -> LdifSettings {
    LdifSettings {
        path: file.path.clone(),
        changes: file.changes.clone(),
        export: file.export.clone(),
        anchor: file.anchor.clone(),
        selection: selection(config, &file.selection),
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

/// The connection of a directory as it is configured. A secret that was refused is not tried again soon.
///
/// # Errors
/// When nobody gives the account's password.
pub(super) fn ad_connection(file: &AdFile, secrets: &Secrets, sign_ins: &SignIns) -> Result<LdapSettings, ServiceError> {
    let settings = ad_connection_as(file, &file.bind_name, secrets.resolve(&file.password)?);
    Ok(LdapSettings { sign_in: Some(sign_ins.to(&realm(file))), ..settings })
}

/// Where the accounts of an Active Directory are unique: the part of their names behind the `@`, or the address where none has one.
fn realm(file: &AdFile) -> String {
    let accounts = [Some(&file.bind_name), file.password_hash_sync.account.as_ref()];
    let realm = accounts.into_iter().flatten().find_map(|account| account.rsplit_once('@'));
    realm.map_or_else(|| file.url.clone(), |(_, realm)| realm.to_owned())
}

/// The same connection for another account.
pub(super) fn ad_connection_as(file: &AdFile, account: &str, password: SecretString) -> LdapSettings {
    LdapSettings {
        start_tls: file.start_tls,
        allow_plain: file.allow_plain,
        ca_file: file.ca_file.clone(),
        connect_timeout: Duration::from_secs(file.connect_timeout_seconds),
        answer_timeout: Duration::from_secs(file.answer_timeout_seconds),
        page_size: file.page_size,
        value_range: file.value_range,
        ..LdapSettings::new(&file.url, account, password)
    }
}

/// What an LDAP directory is read by, as it is configured.
///
/// # Errors
/// When nobody gives the account's password.
pub(super) fn ldap_settings(
    config: &ConnectorConfig,
    file: &LdapFile,
    secrets: &Secrets,
    sign_ins: &SignIns,
) -> Result<LdapConnectorSettings, ServiceError> {
    Ok(LdapConnectorSettings {
        connection: ldap_connection(file, secrets, sign_ins)?,
        base: file.base.clone(),
        anchor: file.anchor.clone(),
        selection: selection(config, &file.selection),
    })
}

/// The connection of such a directory. A secret that was refused is not tried again soon.
///
/// # Errors
/// When nobody gives the account's password.
pub(super) fn ldap_connection(file: &LdapFile, secrets: &Secrets, sign_ins: &SignIns) -> Result<LdapSettings, ServiceError> {
    Ok(LdapSettings {
        start_tls: file.start_tls,
        allow_plain: file.allow_plain,
        ca_file: file.ca_file.clone(),
        connect_timeout: Duration::from_secs(file.connect_timeout_seconds),
        answer_timeout: Duration::from_secs(file.answer_timeout_seconds),
        page_size: file.page_size,
        sign_in: Some(sign_ins.to(&file.url)),
        ..LdapSettings::new(&file.url, &file.bind_name, secrets.resolve(&file.password)?)
    })
}
