//! Looks at directories and tenants before there is a configuration, for whoever answers the questions of a first one. Each
//! answer is tried out at once; nothing is kept.

use super::ServiceError;
use crate::connector::ad::replication::{ReplicationSettings, ReplicationSource};
use crate::connector::ad::{self, DomainSurvey, LocatedController};
use crate::connector::entra::{self, EntraSettings, TenantSurvey};
use crate::connector::ldap::{Census, CensusPlan, LdapSettings, census, first_suffix};
use crate::connector::{ConnectorError, PasswordCheck, PasswordSource as _, ReachTarget, Reached, Unreached, reach};
use crate::context::Context;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Looks at what is not configured yet.
#[derive(Debug)]
pub struct Surveyor {
    runtime: Runtime,
}

impl Surveyor {
    /// Threads for its connections.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn new() -> Result<Self, ServiceError> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(ServiceError::no_threads)?;
        Ok(Self { runtime })
    }

    /// The controllers of a domain, by the name system.
    ///
    /// # Errors
    /// When nobody answers, or there are none.
    pub fn locate(&self, cx: &Context, domain: &str, server: Option<SocketAddr>) -> Result<Vec<LocatedController>, ConnectorError> {
        self.runtime.block_on(ad::locate(cx, domain, server))
    }

    /// Reaches a server without signing in.
    ///
    /// # Errors
    /// With the step that failed.
    pub fn reach(&self, cx: &Context, target: &ReachTarget) -> Result<Reached, Unreached> {
        self.runtime.block_on(reach(cx, target))
    }

    /// What a domain controller says of itself and of an account.
    ///
    /// # Errors
    /// When it does not let the account in.
    pub fn domain(&self, cx: &Context, settings: &LdapSettings) -> Result<DomainSurvey, ConnectorError> {
        self.runtime.block_on(ad::survey(cx, Arc::new(settings.clone())))
    }

    /// The first naming context of another directory, if it names one; so the account was let in.
    ///
    /// # Errors
    /// When it was not.
    pub fn directory(&self, cx: &Context, settings: &LdapSettings) -> Result<Option<String>, ConnectorError> {
        self.runtime.block_on(first_suffix(cx, Arc::new(settings.clone())))
    }

    /// What lies where.
    ///
    /// # Errors
    /// When the directory does not answer, or the account may not read.
    pub fn census(&self, cx: &Context, settings: &LdapSettings, plan: &CensusPlan) -> Result<Census, ConnectorError> {
        self.runtime.block_on(census(cx, Arc::new(settings.clone()), plan))
    }

    /// Whether password hashes can be read by replication.
    ///
    /// # Errors
    /// When the settings cannot work.
    pub fn replication(&self, cx: &Context, settings: ReplicationSettings) -> Result<Vec<PasswordCheck>, ConnectorError> {
        let source = ReplicationSource::new(settings)?;
        Ok(self.runtime.block_on(source.diagnose(cx)))
    }

    /// What a tenant says of itself.
    ///
    /// # Errors
    /// When it does not let us in.
    pub fn tenant(&self, cx: &Context, settings: EntraSettings) -> Result<TenantSurvey, ConnectorError> {
        self.runtime.block_on(entra::survey(cx, settings))
    }
}
