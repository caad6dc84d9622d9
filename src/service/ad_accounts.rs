//! The accounts that connectors sign in with at Active Directory: which they are, what they may do, what they lack, how they
//! get it, and new passwords for them.

use super::wiring::{ad_connection, ad_connection_as};
use super::{ServiceError, rotation};
use crate::config::{AdFile, Config, ConnectorConfig, ConnectorSettings, SecretOrigin};
use crate::connector::ad::rights::{self, Feature, GrantPlan, ScriptKind};
use crate::connector::{ConnectorError, SignIns, ldap::LdapSettings};
use crate::context::Context;
use rotation::Rotation;
use secrecy::SecretString;
use serde::Serialize;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// The accounts of a configuration.
#[derive(Debug)]
pub struct AdAccounts {
    config: Config,
    runtime: Runtime,
    /// Of this command: who asked for it may have put right what was refused before, and gets one try.
    sign_ins: SignIns,
}

/// An account that a connector signs in with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdAccountLine {
    /// The connector.
    pub connector: String,
    /// The domain controller.
    pub url: String,
    /// The account.
    pub account: String,
    /// What it is for: `import`, `password-hash`.
    pub uses: Vec<&'static str>,
    /// The credential that holds its password.
    pub credential: String,
    /// Where that comes from.
    pub origin: String,
}

/// A right, and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RightLine {
    /// The feature that takes it.
    pub feature: &'static str,
    /// The right in words.
    pub right: String,
    /// Where it is granted.
    pub on: String,
    /// It is there; nothing when that cannot be told.
    pub granted: Option<bool>,
    /// What was found.
    pub evidence: String,
}

/// The rights of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RightsView {
    /// The connector.
    pub connector: String,
    /// The account's object.
    pub account: String,
    /// Its identifier.
    pub sid: String,
    /// What was looked at.
    pub rights: Vec<RightLine>,
    /// Attributes and classes that the forest does not have.
    pub absent: Vec<String>,
}

/// What an account may do with one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectRightsView {
    /// The object.
    pub object: String,
    /// What is inherited does not reach it.
    pub protected: bool,
    /// Entries of its access list that are for the account or its groups; nothing when they cannot be read.
    pub entries: Option<Vec<String>>,
    /// Attributes that the account may write, as the server says.
    pub writable: Vec<String>,
}

/// Objects that do not take inherited rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProtectedView {
    /// Their names.
    pub objects: Vec<String>,
    /// There are more.
    pub more: bool,
}

/// An entry that a feature takes, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GrantLine {
    /// The feature that takes it.
    pub feature: &'static str,
    /// The right in words.
    pub right: String,
    /// The object that gets the entry.
    pub on: String,
    /// The entry, as the security descriptor definition language writes it.
    pub entry: String,
}

/// What features take, for one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GrantView {
    /// The connector.
    pub connector: String,
    /// The account's object.
    pub account: String,
    /// The entries.
    pub grants: Vec<GrantLine>,
    /// Attributes and classes that the forest does not have: nothing is granted for them.
    pub absent: Vec<String>,
    /// The commands for an administrator, when they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// What became of each object's access list, when it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<Vec<ChangedLine>>,
}

/// What became of an object's access list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedLine {
    /// The object.
    pub on: String,
    /// Entries that were added; the others were there.
    pub added: usize,
    /// Why nothing was added: it takes a script, run on a domain controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How a grant is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantForm {
    /// Not at all.
    List,
    /// As commands.
    Script(ScriptKind),
    /// As change records.
    Ldif,
}

impl AdAccounts {
    /// The accounts of a configuration. Nothing is connected yet.
    ///
    /// # Errors
    /// When there are no threads for connections.
    pub fn new(config: Config) -> Result<Self, ServiceError> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(ServiceError::no_threads)?;
        Ok(Self { config, runtime, sign_ins: SignIns::default() })
    }

    /// Every account, by connector.
    pub fn list(&self) -> Vec<AdAccountLine> {
        let mut lines = Vec::new();
        for connector in &self.config.connectors {
            let ConnectorSettings::Ad(file) = &connector.settings else { continue };
            let table = &file.password_hash_sync;
            let separate = table.account.is_some() || table.password.is_some();
            let line = |account: &str, credential: &str, uses: Vec<&'static str>| AdAccountLine {
                connector: connector.name.clone(),
                url: file.url.clone(),
                account: account.to_owned(),
                uses,
                credential: credential.to_owned(),
                origin: origin_text(&self.config.secrets.origin(credential)),
            };
            let mut uses = vec!["import"];
            if table.enabled && !separate {
                uses.push("password-hash");
            }
            lines.push(line(&file.bind_name, &file.password.credential, uses));
            if table.enabled && separate {
                let credential = table.password.as_ref().unwrap_or(&file.password);
                lines.push(line(table.account.as_ref().unwrap_or(&file.bind_name), &credential.credential, vec!["password-hash"]));
            }
        }
        lines
    }

    fn file(&self, name: &str) -> Result<(&ConnectorConfig, &AdFile), ServiceError> {
        let connector = self.config.connector(name).ok_or_else(|| {
            let known: Vec<&str> = self.config.connectors.iter().map(|connector| connector.name.as_str()).collect();
            ServiceError::NotFound(format!("there is no connector '{name}'; there are: {}", known.join(", ")))
        })?;
        match &connector.settings {
            ConnectorSettings::Ad(file) => Ok((connector, file)),
            _ => Err(ServiceError::Usage(format!("{} is no Active Directory", connector.name))),
        }
    }

    /// The directory of an object that is named with its connector before it (`connector:name`), or the only one there is; and the
    /// name alone.
    ///
    /// # Errors
    /// When it may be in several directories, or in none.
    pub(super) fn directory_of<'t>(&self, object: &'t str) -> Result<(&ConnectorConfig, &AdFile, &'t str), ServiceError> {
        if let Some((name, rest)) = object.split_once(':')
            && let Some(connector) = self.config.connectors.iter().find(|known| known.name.eq_ignore_ascii_case(name.trim()))
        {
            let (connector, file) = self.file(&connector.name)?;
            return Ok((connector, file, rest.trim()));
        }
        let mut directories = self.config.connectors.iter().filter_map(|connector| match &connector.settings {
            ConnectorSettings::Ad(file) => Some((connector, file)),
            _ => None,
        });
        match (directories.next(), directories.next()) {
            (Some((connector, file)), None) => Ok((connector, file, object.trim())),
            (None, _) => Err(ServiceError::Usage("there is no Active Directory among the connectors".to_owned())),
            _ => Err(ServiceError::Usage(format!(
                "several directories may have it: write the connector's name and a colon before '{object}'"
            ))),
        }
    }

    /// What `[rules]` take the source anchor from.
    pub(super) fn source_anchor(&self) -> &str {
        &self.config.rules.source_anchor
    }

    /// Waits for work with a directory.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub(super) fn own(&self, file: &AdFile) -> Result<Arc<LdapSettings>, ServiceError> {
        Ok(Arc::new(ad_connection(file, &self.config.secrets, &self.sign_ins)?))
    }

    /// What the configuration wants of an account.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn wanted(&self, name: &str) -> Result<Vec<Feature>, ServiceError> {
        let (_, file) = self.file(name)?;
        let mut features = vec![Feature::Read, Feature::Changes];
        if file.password_hash_sync.enabled {
            features.push(Feature::PasswordHash);
        }
        Ok(features)
    }

    /// Which rights the account of a directory has.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub fn check(&self, cx: &Context, name: &str, features: &[Feature], base: Option<&str>) -> Result<RightsView, ServiceError> {
        let (connector, file) = self.file(name)?;
        let found = self.runtime.block_on(rights::check(cx, self.own(file)?, features, base));
        let (plan, checks) = found.map_err(|source| failed(connector, source))?;
        let line = |check: rights::RightCheck| RightLine {
            feature: check.feature.as_str(),
            right: check.right,
            on: check.dn,
            granted: check.granted,
            evidence: check.evidence,
        };
        Ok(RightsView {
            connector: connector.name.clone(),
            account: plan.dn,
            sid: plan.sid.to_string(),
            rights: checks.into_iter().map(line).collect(),
            absent: plan.absent,
        })
    }

    /// What the account of a directory may do with one object.
    ///
    /// # Errors
    /// When the directory does not answer, or the account cannot see the object.
    pub fn object(&self, cx: &Context, name: &str, dn: &str) -> Result<ObjectRightsView, ServiceError> {
        let (connector, file) = self.file(name)?;
        let found = self.runtime.block_on(rights::rights_on(cx, self.own(file)?, dn)).map_err(|source| failed(connector, source))?;
        let found = found.ok_or_else(|| ServiceError::NotFound(format!("the account cannot see '{dn}', or it does not exist")))?;
        let rights::ObjectRights { dn, protected, entries, writable } = found;
        Ok(ObjectRightsView { object: dn, protected, entries, writable })
    }

    /// Objects to which rights of their containers do not come down.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub fn protected(&self, cx: &Context, name: &str, base: Option<&str>, limit: usize) -> Result<ProtectedView, ServiceError> {
        let (connector, file) = self.file(name)?;
        let found = self.runtime.block_on(rights::protected_objects(cx, self.own(file)?, base, limit));
        let (objects, more) = found.map_err(|source| failed(connector, source))?;
        Ok(ProtectedView { objects, more })
    }

    /// What features take, written down in a form.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub fn plan(
        &self,
        cx: &Context,
        name: &str,
        features: &[Feature],
        base: Option<&str>,
        form: GrantForm,
    ) -> Result<GrantView, ServiceError> {
        let (connector, file) = self.file(name)?;
        let own = self.own(file)?;
        self.runtime
            .block_on(async {
                let plan = rights::plan(cx, Arc::clone(&own), None, features, base).await?;
                let script = match form {
                    GrantForm::List => None,
                    GrantForm::Script(kind) => Some(rights::script(&plan, kind)),
                    GrantForm::Ldif => Some(rights::ldif(cx, own, &plan).await?),
                };
                Ok(view(connector, plan, script, None))
            })
            .map_err(|source| failed(connector, source))
    }

    /// Grants what features take, as an administrator.
    ///
    /// # Errors
    /// When the directory does not let the administrator in, or refuses.
    pub fn grant(
        &self,
        cx: &Context,
        name: &str,
        features: &[Feature],
        base: Option<&str>,
        admin: (&str, SecretString),
    ) -> Result<GrantView, ServiceError> {
        let (connector, file) = self.file(name)?;
        let admin = Arc::new(ad_connection_as(file, admin.0, admin.1));
        self.runtime
            .block_on(async {
                let plan = rights::plan(cx, Arc::clone(&admin), Some(&file.bind_name), features, base).await?;
                let changed = rights::grant(cx, admin, &plan).await?;
                let line = |changed: rights::Changed| ChangedLine { on: changed.dn, added: changed.added, refused: changed.refused };
                let changed = changed.into_iter().map(line).collect();
                Ok(view(connector, plan, None, Some(changed)))
            })
            .map_err(|source| failed(connector, source))
    }

    /// Shuts the account's own object, as an administrator. Gives the entries of its access list then.
    ///
    /// # Errors
    /// As for [`Self::grant`].
    pub fn harden(&self, cx: &Context, name: &str, admin: (&str, SecretString), what_if: bool) -> Result<Vec<String>, ServiceError> {
        let (connector, file) = self.file(name)?;
        let admin = Arc::new(ad_connection_as(file, admin.0, admin.1));
        self.runtime
            .block_on(async {
                let plan = rights::plan(cx, Arc::clone(&admin), Some(&file.bind_name), &[], None).await?;
                rights::harden(cx, admin, &plan, what_if).await
            })
            .map_err(|source| failed(connector, source))
    }

    /// Gives the account of a directory a new password, and keeps it.
    ///
    /// # Errors
    /// When the secret is not ours to change, or the directory refuses; the message says which password counts.
    pub fn rotate(&self, cx: &Context, name: &str, what_if: bool) -> Result<Rotation, ServiceError> {
        let (connector, file) = self.file(name)?;
        self.runtime.block_on(rotation::rotate(cx, &self.config.connectors, connector, file, &self.config.secrets, what_if))
    }
}

pub(super) fn failed(connector: &ConnectorConfig, source: ConnectorError) -> ServiceError {
    ServiceError::Connector { connector: connector.name.clone(), source }
}

fn view(connector: &ConnectorConfig, plan: GrantPlan, script: Option<String>, changed: Option<Vec<ChangedLine>>) -> GrantView {
    let line = |grant: rights::Grant| GrantLine {
        feature: grant.feature.as_str(),
        right: grant.shown,
        on: grant.dn,
        entry: grant.ace.to_string(),
    };
    GrantView {
        connector: connector.name.clone(),
        account: plan.dn,
        grants: plan.grants.into_iter().map(line).collect(),
        absent: plan.absent,
        script,
        changed,
    }
}

/// Where a secret comes from, in words.
pub(super) fn origin_text(origin: &SecretOrigin) -> String {
    match origin {
        SecretOrigin::ServiceManager(path) => format!("service manager ({})", path.display()),
        SecretOrigin::Variable(variable) => format!("environment ({variable})"),
        SecretOrigin::Folder(path) => format!("file ({})", path.display()),
        SecretOrigin::Nowhere => "nobody gives it".to_owned(),
    }
}
