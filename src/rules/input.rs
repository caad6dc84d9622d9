//! What compiling rules takes: files, connectors, settings.

use crate::model::{ConnectorId, Names, ValueKind};
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
}

impl Default for RuleSettings {
    fn default() -> Self {
        Self { anchor_attribute: AnchorAttribute::default(), group_members_max: 250_000, user_matching: UserMatching::default() }
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
