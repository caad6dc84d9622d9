//! What compiling rules takes: files, connectors, settings.

use crate::model::{ConnectorId, Names, ValueKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A rule file: its name, for messages, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFile {
    /// As people see it, `rules/custom.toml`.
    pub name: String,
    /// TOML.
    pub text: String,
}

/// What a connector is, as far as rules care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorKind {
    /// Active Directory, Samba included. Target of `@each-ad`.
    ActiveDirectory,
    /// OpenLDAP and its kin. Target of `@each-ad` (for objects of Active Directory's shape) and of `@each-ldap`.
    OpenLdap,
    /// A file of entries of any shape. Target of `@each-ad` and of `@each-ldap`.
    Ldif,
    /// Entra ID or the local tenant. Target of `@cloud`.
    Cloud,
    /// Anything else: reached by its name only.
    Other,
}

/// A configured connector.
#[derive(Clone, Debug)]
pub struct ConnectorProfile {
    /// Its number.
    pub id: ConnectorId,
    /// Its name, unique.
    pub name: String,
    /// What it is.
    pub kind: ConnectorKind,
    /// Its schema, when it declares one: name, type, multi-valued. Rules of people that name another attribute are
    /// then refused; built-in rules find it absent. For the cloud, attributes beyond the built-in table.
    pub attributes: Option<Vec<(String, ValueKind, bool)>>,
    /// Names of parameters that the administrator added to the connector.
    pub parameters: Vec<String>,
    /// What the directory's schema was extended by.
    pub schema: SchemaExtensions,
    /// Names of the groups whose direct members alone are sent; empty is everybody.
    pub pilot_groups: Vec<String>,
    /// Attributes that are not read, and whose values stay in targets.
    pub left_attributes: Vec<String>,
    /// Attributes that are not read, and whose values go from targets.
    pub recalled_attributes: Vec<String>,
}

impl ConnectorProfile {
    /// A connector that nothing more is known of.
    pub fn new(id: ConnectorId, name: impl Into<String>, kind: ConnectorKind) -> Self {
        let (name, schema) = (name.into(), SchemaExtensions::default());
        Self {
            id,
            name,
            kind,
            attributes: None,
            parameters: Vec::new(),
            schema,
            pilot_groups: Vec::new(),
            left_attributes: Vec::new(),
            recalled_attributes: Vec::new(),
        }
    }
}

/// What an Active Directory schema was extended by; decides which built-in rules there are (specification: default
/// rules, section 1). By default everything: a rule whose attributes nobody has gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaExtensions {
    /// Exchange.
    pub exchange: bool,
    /// Lync or Skype for Business.
    pub lync: bool,
    /// Registered devices (`msDS-Device`).
    pub devices: bool,
}

impl Default for SchemaExtensions {
    fn default() -> Self {
        Self { exchange: true, lync: true, devices: true }
    }
}

/// A service of the cloud with its own set of attributes (specification: default rules, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CloudService {
    /// Microsoft 365 Apps.
    OfficeApps,
    /// Exchange Online.
    ExchangeOnline,
    /// SharePoint Online.
    #[serde(rename = "sharepoint-online")]
    SharePointOnline,
    /// Teams, before it Skype for Business Online and Lync Online.
    Teams,
    /// Azure Rights Management.
    AzureRms,
    /// Intune.
    Intune,
    /// Dynamics CRM.
    DynamicsCrm,
    /// Applications of others.
    ThirdParty,
}

impl CloudService {
    /// Every service.
    pub const ALL: &'static [Self] = &[
        Self::OfficeApps,
        Self::ExchangeOnline,
        Self::SharePointOnline,
        Self::Teams,
        Self::AzureRms,
        Self::Intune,
        Self::DynamicsCrm,
        Self::ThirdParty,
    ];

    /// The spelling in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OfficeApps => "office-apps",
            Self::ExchangeOnline => "exchange-online",
            Self::SharePointOnline => "sharepoint-online",
            Self::Teams => "teams",
            Self::AzureRms => "azure-rms",
            Self::Intune => "intune",
            Self::DynamicsCrm => "dynamics-crm",
            Self::ThirdParty => "third-party",
        }
    }

    /// The service of a spelling.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|service| service.as_str() == name)
    }
}

/// What synchronization is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RuleProfile {
    /// Objects with their attributes, and passwords.
    #[default]
    Full,
    /// Passwords of people who are in the cloud already, and nothing else (specification: sync engine, section 5.7).
    PasswordOnly,
}

/// Which attribute makes the source anchor of people (specification: sync engine, section 5.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AnchorAttribute {
    /// `objectGUID`; on OpenLDAP and in files `entryUUID` where it is missing.
    #[default]
    ObjectGuid,
    /// `mS-DS-ConsistencyGuid`, and `objectGUID` as long as it is empty.
    ConsistencyGuid,
    /// Another attribute: unique, never changed, neither name nor address.
    Attribute(String),
}

/// How accounts of several directories are found to be one person (specification: default rules, section 2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UserMatching {
    /// Every person is represented once: no join across directories.
    Once,
    /// By mail; people without mail are not synchronized.
    Mail,
    /// By security identifiers: account forests and resource forests.
    #[default]
    ObjectSid,
    /// The sign-in name of one directory against the alias of the other.
    AccountName,
    /// One attribute, the same on both sides; people without it are not synchronized.
    Attribute(String),
}

/// Settings that built-in rules depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSettings {
    /// Makes the source anchor of people.
    pub anchor_attribute: AnchorAttribute,
    /// Groups with more members are not sent (`limits.group_members`).
    pub group_members_max: u64,
    /// Joins people of several directories.
    pub user_matching: UserMatching,
    /// Services whose attributes are sent; `None` is all.
    pub services: Option<Vec<CloudService>>,
    /// Attributes of the cloud that no built-in rule sends.
    pub excluded_attributes: Vec<String>,
    /// Attributes that Exchange Online writes go back to directories.
    pub exchange_hybrid: bool,
    /// What synchronization is for.
    pub profile: RuleProfile,
}

impl RuleSettings {
    /// True when the attributes of a service are sent.
    pub fn wants(&self, service: CloudService) -> bool {
        self.services.as_ref().is_none_or(|services| services.contains(&service))
    }
}

impl Default for RuleSettings {
    fn default() -> Self {
        Self {
            anchor_attribute: AnchorAttribute::default(),
            group_members_max: 250_000,
            user_matching: UserMatching::default(),
            services: None,
            excluded_attributes: Vec::new(),
            exchange_hybrid: false,
            profile: RuleProfile::default(),
        }
    }
}

/// Everything that compiling takes.
#[derive(Clone, Copy, Debug)]
pub struct CompileInput<'i> {
    /// Built-in and own files; [`super::RuleSet::defaults_text`] gives the built-in ones.
    pub files: &'i [RuleFile],
    /// In the order of configuration.
    pub connectors: &'i [ConnectorProfile],
    /// The table of names that store and connectors share.
    pub names: &'i Arc<Names>,
    /// Settings that built-in rules depend on.
    pub settings: &'i RuleSettings,
}
