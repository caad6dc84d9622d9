//! Whether a container that somebody names exists: a misspelt one would be kept in the file, and change nothing.

use super::partitions::{same_name, without_containers};
use super::wiring::{ad_connection, ldap_connection};
use super::{Service, ServiceError};
use crate::config::{ConnectorConfig, ConnectorSettings, closest};
use crate::connector::ldap::{CensusPlan, missing_container};
use crate::connector::{ConnectorError, ConnectorErrorKind, PageItem};
use crate::context::Context;
use crate::model::{ConnectorId, Dn};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Classes of containers, which files are asked for beside what is imported.
const CONTAINER_TYPES: [&str; 8] =
    ["organizationalUnit", "container", "builtinDomain", "domain", "domainDNS", "organization", "country", "locality"];
/// More containers of a file are not kept to propose one of them.
const CONTAINERS_MAX: usize = 20_000;

impl Service {
    /// Refuses a container that the directory does not have. Gives why, when the directory could not be asked.
    ///
    /// # Errors
    /// When there is no such container; the message names the nearest one.
    pub(super) fn refuse_missing_container(
        &self,
        cx: &Context,
        id: ConnectorId,
        config: &ConnectorConfig,
        dn: &Dn,
    ) -> Result<Option<String>, ServiceError> {
        let named = config.selection().is_some_and(|table| {
            let mut known = table.include.iter().chain(&table.exclude);
            known.any(|known| same_name(known, dn.as_str()))
        });
        // What is named already may be taken back, also when it has gone; what holds somebody we know of exists.
        if named || !self.store.snapshot()?.cs_subtree(id, &dn.key())?.is_empty() {
            return Ok(None);
        }
        match self.containers_unless(cx, config, dn) {
            Ok(None) => Ok(None),
            Ok(Some(known)) => Err(ServiceError::Usage(missing(config, dn, &known))),
            Err(ServiceError::Connector { source: ConnectorError { kind: ConnectorErrorKind::Cancelled, message, .. }, connector }) => {
                Err(ServiceError::Connector { connector, source: ConnectorError::new(ConnectorErrorKind::Cancelled, message) })
            }
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    /// Asks a directory for a container; when it does not have it, for those that it has.
    fn containers_unless(&self, cx: &Context, config: &ConnectorConfig, dn: &Dn) -> Result<Option<Vec<Dn>>, ServiceError> {
        let (settings, plan) = match &config.settings {
            ConnectorSettings::Ad(file) => {
                (ad_connection(file, &self.config.secrets, self.sign_ins())?, CensusPlan::active_directory(domain_of(dn).as_str()))
            }
            ConnectorSettings::Ldap(file) => {
                (ldap_connection(file, &self.config.secrets, self.sign_ins())?, CensusPlan::ldap(&file.base, &[]))
            }
            ConnectorSettings::Ldif(_) | ConnectorSettings::Entra(_) => return self.containers_of_file_unless(cx, config, dn),
        };
        let failed = |source| ServiceError::Connector { connector: config.name.clone(), source };
        self.with_runtime(cx, async || missing_container(cx, Arc::new(settings), &plan, dn.as_str()).await.map_err(failed))
    }

    fn containers_of_file_unless(&self, cx: &Context, config: &ConnectorConfig, dn: &Dn) -> Result<Option<Vec<Dn>>, ServiceError> {
        let mut everything = without_containers(config);
        let mut types = config.object_types();
        types.extend(CONTAINER_TYPES.map(str::to_owned));
        if let Some(table) = everything.selection_mut() {
            table.object_types = types;
        }
        let (wanted, mut found) = (dn.key(), false);
        let mut known = BTreeMap::new();
        self.each_item(cx, &everything, &mut |item| {
            let name = match item {
                PageItem::Entry(entry) => Some(entry.dn()),
                // An entry that cannot be imported lies somewhere, too.
                PageItem::Rejected(problem) => problem.dn.as_deref(),
                _ => None,
            };
            let Some(name) = name.and_then(|name| Dn::parse(name).ok()) else { return };
            found |= name.key().is_within(&wanted);
            let mut above = name.parent();
            while let Some(container) = above.filter(|container| container.depth() > 0 && known.len() < CONTAINERS_MAX) {
                above = container.parent();
                if known.insert(container.key().as_bytes().to_vec(), container).is_some() {
                    break;
                }
            }
        })?;
        Ok((!found).then(|| known.into_values().collect()))
    }
}

/// The domain that a name lies in; the name itself where it lies in none.
fn domain_of(dn: &Dn) -> Dn {
    let in_domain = |dn: &Dn| dn.component(0).is_some_and(|(kind, _)| kind.eq_ignore_ascii_case("dc"));
    let mut above = Some(dn.clone());
    while let Some(name) = above.take_if(|name| !in_domain(name)) {
        above = name.parent();
    }
    above.unwrap_or_else(|| dn.clone())
}

/// That there is no such container, and which one may be meant.
fn missing(config: &ConnectorConfig, dn: &Dn, known: &[Dn]) -> String {
    let names: Vec<String> = known.iter().map(|known| known.as_str().to_owned()).collect();
    let above = || {
        let mut above = dn.parent();
        while let Some(name) = above {
            if known.iter().any(|known| known.same(&name)) {
                return Some(name);
            }
            above = name.parent();
        }
        None
    };
    let meant = match (closest(dn.as_str(), &names), above()) {
        (Some(name), _) => format!(" Did you mean '{name}'?"),
        (None, Some(name)) => format!(" The nearest container above it is '{name}'."),
        (None, None) => String::new(),
    };
    let seen = if matches!(config.settings, ConnectorSettings::Ldif(_)) { "" } else { ", or the account may not see it" };
    let name = &config.name;
    format!("{name} has no container '{dn}'{seen}.{meant} Nothing was written; `syncline partition tree '{name}'` shows the containers")
}
