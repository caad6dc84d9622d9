//! One directory object: what synchronization wrote, what administrators set, and what the tenant made of both.

use super::properties::{Properties, PropertyValue};
use crate::model::Timestamp;
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// The types of objects that synchronization knows (specification: provisioning service 4.2).
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A person's account.
    User,
    /// A group of any kind.
    Group,
    /// A mail contact.
    Contact,
    /// A computer.
    Device,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [ObjectKind; 4] = [Self::User, Self::Group, Self::Contact, Self::Device];

    /// The spelling on the wire and at the beginning of cloud anchors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
            Self::Contact => "Contact",
            Self::Device => "Device",
        }
    }

    /// Reads the spelling of the wire, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an object's truth lives; `onPremisesSyncEnabled` in Graph (specification: sync engine 6.1).
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mastery {
    /// In the cloud; `null` in Graph.
    Cloud,
    /// In the directory that is synchronized; `true`.
    OnPremises,
    /// It was synchronized and is no longer; `false`.
    Released,
}

/// A value that another object has, kept aside until it is free (specification: sync engine 6.6).
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// `UserPrincipalName` or `ProxyAddresses`.
    pub property: String,
    /// The value that is kept aside.
    pub value: String,
    /// Since when, in microseconds since 1970.
    pub since: i64,
}

/// What the tenant made of the wanted values: this is what shows in Graph and what is unique.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    /// The sign-in name of a user.
    pub user_principal_name: Option<String>,
    /// The nickname, made at the first synchronization (specification: sync engine 6.4).
    pub mail_nickname: Option<String>,
    /// The mail address.
    pub mail: Option<String>,
    /// Proxy addresses without the quarantined ones.
    pub proxy_addresses: Vec<String>,
    /// Values kept aside.
    pub quarantined: Vec<Quarantined>,
}

/// A reference to a deleted object that was taken away with it.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostReference {
    /// The object that referred.
    pub owner: u64,
    /// The number of the attribute.
    pub attribute: u8,
}

/// The recycle-bin part of an object (specification: sync engine 6.7).
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When, in microseconds since 1970.
    pub at: i64,
    /// When it will be gone for good.
    pub purge_at: i64,
    /// Synchronization deleted it, so synchronization may bring it back in spite of a take-over block.
    pub by_synchronization: bool,
    /// What referred to it.
    pub references: Vec<LostReference>,
}

/// One object of the tenant.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecord {
    /// The object id, as the octets of a UUID.
    pub id: [u8; 16],
    /// Its type; never changes.
    pub kind: ObjectKind,
    /// The immutable id, compared with its case.
    pub source_anchor: Option<String>,
    /// Where its truth lives.
    pub mastery: Mastery,
    /// When it came to be, in microseconds since 1970.
    pub created: i64,
    /// When synchronization last wrote it.
    pub synchronized: Option<i64>,
    /// Set while it lies in the recycle bin.
    pub deleted: Option<Deletion>,
    /// What synchronization wrote; what a read-back returns.
    pub written: Properties,
    /// What administrators set in the cloud.
    pub cloud: Properties,
    /// What became of both.
    pub effective: Effective,
    /// Names of the administrator roles it holds.
    pub roles: Vec<String>,
    /// Has a mailbox licence.
    pub mailbox: bool,
    /// How many member rows it has.
    pub members: u32,
}

impl ObjectRecord {
    /// A new object without any value.
    pub fn new(id: Uuid, kind: ObjectKind, now: Timestamp) -> Self {
        Self {
            id: *id.as_bytes(),
            kind,
            source_anchor: None,
            mastery: Mastery::Cloud,
            created: now.0,
            synchronized: None,
            deleted: None,
            written: Properties::default(),
            cloud: Properties::default(),
            effective: Effective::default(),
            roles: Vec::new(),
            mailbox: false,
            members: 0,
        }
    }

    /// The object id.
    pub fn uuid(&self) -> Uuid {
        Uuid::from_bytes(self.id)
    }

    /// `<Type>_<object id>` (specification: provisioning service 4.1).
    pub fn cloud_anchor(&self) -> String {
        format!("{}_{}", self.kind, self.uuid().hyphenated())
    }

    /// How other objects' references name this one: by source anchor, or by cloud anchor without one.
    pub fn reference_name(&self) -> String {
        self.source_anchor.clone().unwrap_or_else(|| self.cloud_anchor())
    }

    /// The value that counts: the written one, otherwise the one set in the cloud.
    pub fn wanted(&self, name: &str) -> Option<&PropertyValue> {
        self.written.get(name).or_else(|| self.cloud.get(name))
    }

    /// The text that counts, without empty ones.
    pub fn wanted_text(&self, name: &str) -> Option<&str> {
        self.wanted(name).and_then(PropertyValue::as_text).filter(|text| !text.is_empty())
    }

    /// The texts that count.
    pub fn wanted_texts(&self, name: &str) -> &[String] {
        self.wanted(name).map_or(&[], PropertyValue::texts)
    }

    /// The boolean that counts.
    pub fn wanted_boolean(&self, name: &str) -> Option<bool> {
        self.written.boolean(name).or_else(|| self.cloud.boolean(name))
    }

    /// True unless the account was disabled.
    pub fn account_enabled(&self) -> bool {
        self.wanted_boolean("accountEnabled").unwrap_or(true)
    }

    /// The primary mail address: the `SMTP:` entry, otherwise the mail address.
    pub fn primary_address(&self) -> Option<&str> {
        primary_of(&self.effective.proxy_addresses).or(self.effective.mail.as_deref())
    }

    /// True when it is not in the recycle bin.
    pub fn is_live(&self) -> bool {
        self.deleted.is_none()
    }
}

/// The address behind `SMTP:` among proxy addresses.
pub(super) fn primary_of(addresses: &[String]) -> Option<&str> {
    addresses.iter().find_map(|address| address.strip_prefix("SMTP:")).filter(|address| !address.is_empty())
}

/// Password state of an account; lives in its own row so that no read of an object touches it.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct CredentialRecord {
    /// Salted derivation in its text form (specification: provisioning service 5.1); never a password.
    pub derivation: String,
    /// It came by password hash synchronization.
    pub synchronized: bool,
    /// When it was set, in microseconds since 1970.
    pub changed: i64,
    /// The next sign-in must change it.
    pub must_change: bool,
    /// `DisablePasswordExpiration` is set.
    pub never_expires: bool,
    /// Wrong passwords in a row.
    pub failures: u32,
    /// Sign-in is refused until then.
    pub locked_until: i64,
    /// Sessions from before then are over, in microseconds since 1970: an administrator set the password. A synchronized
    /// password ends no session (specification: sync engine 6.9).
    pub sessions_since: i64,
}

/// [`CredentialRecord`] as it was before sessions were told from passwords; still read.
#[derive(Archive, Serialize, Deserialize)]
pub(super) struct EarlierCredentialRecord {
    derivation: String,
    synchronized: bool,
    changed: i64,
    must_change: bool,
    never_expires: bool,
    failures: u32,
    locked_until: i64,
}

impl From<EarlierCredentialRecord> for CredentialRecord {
    fn from(earlier: EarlierCredentialRecord) -> Self {
        Self {
            derivation: earlier.derivation,
            synchronized: earlier.synchronized,
            changed: earlier.changed,
            must_change: earlier.must_change,
            never_expires: earlier.never_expires,
            failures: earlier.failures,
            locked_until: earlier.locked_until,
            sessions_since: if earlier.synchronized { 0 } else { earlier.changed },
        }
    }
}

/// Never shows the derivation.
impl fmt::Debug for CredentialRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialRecord").field("synchronized", &self.synchronized).field("changed", &self.changed).finish_non_exhaustive()
    }
}

/// What remains of an object that is gone, so that a delta can report it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The object id.
    pub id: [u8; 16],
    /// Its type.
    pub kind: ObjectKind,
    /// Its immutable id.
    pub source_anchor: Option<String>,
    /// When it went, in microseconds since 1970.
    pub at: i64,
}
