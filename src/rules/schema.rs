//! What attributes are: the metaverse's schema, the cloud's, and as much of directories as rules need to know.

use super::expr::{AttributeLookup, AttributeRef};
use crate::model::closest;
use crate::model::{AttrId, ConnectorId, Names, ValueKind};
use std::collections::HashMap;

/// Text of indexed metaverse attributes is at most this many characters long.
pub(super) const INDEXED_MAX: usize = 448;

/// The type of an attribute that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttributeType {
    /// `None` when nobody can tell: then values go as they are.
    pub(super) kind: Option<ValueKind>,
    pub(super) multi: bool,
    /// Text is limited to [`INDEXED_MAX`] characters.
    pub(super) indexed: bool,
}

/// A named set of attributes.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_name: HashMap<String, (AttrId, AttributeType)>,
}

impl Table {
    pub(super) fn insert(&mut self, names: &Names, name: &str, kind: AttributeType) {
        self.by_name.insert(name.to_owned(), (names.intern(name), kind));
    }

    pub(super) fn get(&self, name: &str) -> Option<(AttrId, AttributeType)> {
        self.by_name.get(name).copied()
    }

    pub(super) fn suggestion(&self, name: &str) -> Option<String> {
        closest(name, self.by_name.keys().map(String::as_str))
    }

    /// By number, for names that differ in case only.
    pub(super) fn by_id(&self) -> HashMap<AttrId, AttributeType> {
        self.by_name.values().copied().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, AttrId, AttributeType)> {
        self.by_name.iter().map(|(name, (id, kind))| (name.as_str(), *id, *kind))
    }

    fn from_tsv(names: &Names, text: &str) -> Self {
        let mut table = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut columns = line.split('\t');
            if let (Some(name), Some(syntax), Some(cardinality)) = (columns.next(), columns.next(), columns.next())
                && let Some(kind) = syntax_kind(syntax)
            {
                let indexed = columns.next() == Some("indexed") && kind == ValueKind::Text;
                table.insert(names, name, AttributeType { kind: Some(kind), multi: cardinality == "m", indexed });
            }
        }
        table
    }
}

/// The type behind a name of our tables and of `[[metaverse_attribute]]`.
pub(super) fn syntax_kind(syntax: &str) -> Option<ValueKind> {
    Some(match syntax {
        "string" => ValueKind::Text,
        "integer" => ValueKind::Number,
        "boolean" => ValueKind::Boolean,
        "binary" => ValueKind::Binary,
        "reference" => ValueKind::Reference,
        _ => return None,
    })
}

/// The attributes of one connector space.
#[derive(Debug)]
pub(super) struct Space {
    table: Table,
    by_id: HashMap<AttrId, AttributeType>,
    /// Names that the table does not have are refused in rules that people wrote.
    closed: bool,
}

impl Space {
    /// An attribute as rules read or write it.
    pub(super) fn attribute(&self, names: &Names, name: &str, lenient: bool) -> Result<(AttrId, AttributeType), Option<String>> {
        if let Some(found) = self.table.get(name) {
            return Ok(found);
        }
        if self.closed && !lenient {
            return Err(self.table.suggestion(name));
        }
        let id = names.intern(name);
        let unknown = AttributeType { kind: None, multi: true, indexed: false };
        Ok((id, self.by_id.get(&id).copied().unwrap_or(unknown)))
    }
}

/// All schemas of a configuration.
#[derive(Debug, Default)]
pub(super) struct Schema {
    pub(super) metaverse: Table,
    pub(super) spaces: HashMap<ConnectorId, Space>,
}

/// The metaverse as default-rules section 8 lays it down.
pub(super) fn metaverse(names: &Names) -> Table {
    Table::from_tsv(names, include_str!("defaults/metaverse-attributes.tsv"))
}

/// A directory or file: what it declares, and the attributes whose type every rule relies on.
pub(super) fn directory(names: &Names, declared: Option<&[(String, ValueKind, bool)]>) -> Space {
    let mut table = Table::default();
    for name in REFERENCES {
        table.insert(names, name, AttributeType { kind: Some(ValueKind::Reference), multi: true, indexed: false });
    }
    for name in OCTETS {
        table.insert(names, name, AttributeType { kind: Some(ValueKind::Binary), multi: true, indexed: false });
    }
    declare(&mut table, names, declared);
    let by_id = table.by_id();
    Space { table, by_id, closed: declared.is_some() }
}

/// The cloud: the connector's own table, and what this service declares beyond it.
pub(super) fn cloud(names: &Names, declared: Option<&[(String, ValueKind, bool)]>) -> Space {
    let mut table = cloud_table(names);
    declare(&mut table, names, declared);
    let by_id = table.by_id();
    Space { table, by_id, closed: true }
}

/// True for a name of the cloud's own table, without regard to case.
pub(super) fn is_cloud_attribute(name: &str) -> bool {
    cloud_names().any(|known| known.eq_ignore_ascii_case(name))
}

/// The name of the cloud's own table that somebody may have meant.
pub(super) fn closest_cloud_attribute(name: &str) -> Option<String> {
    closest(name, cloud_names())
}

fn cloud_names() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("defaults/entra-attributes.tsv").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split('\t').next())
}

/// The connector's own table.
pub(super) fn cloud_table(names: &Names) -> Table {
    Table::from_tsv(names, include_str!("defaults/entra-attributes.tsv"))
}

fn declare(table: &mut Table, names: &Names, declared: Option<&[(String, ValueKind, bool)]>) {
    for (name, kind, multi) in declared.unwrap_or_default() {
        let kind = match kind {
            ValueKind::LargeText => ValueKind::Text,
            ValueKind::LargeBinary => ValueKind::Binary,
            other => *other,
        };
        table.insert(names, name, AttributeType { kind: Some(kind), multi: *multi, indexed: false });
    }
}

/// How an attribute looks to an expression.
pub(super) fn lookup(found: Result<(AttrId, AttributeType), Option<String>>) -> AttributeLookup {
    match found {
        Ok((id, kind)) => AttributeLookup::Found(AttributeRef { id, kind: kind.kind }),
        Err(suggestion) => AttributeLookup::Unknown { suggestion },
    }
}

/// Attributes of directories that hold names of objects (Active Directory and RFC 4519, 2798).
const REFERENCES: &[&str] = &[
    "altRecipient",
    "assistant",
    "authOrig",
    "directReports",
    "dLMemRejectPerms",
    "dLMemSubmitPerms",
    "managedBy",
    "managedObjects",
    "manager",
    "member",
    "memberOf",
    "msDS-RegisteredOwner",
    "mS-DS-CreatorSID",
    "msExchBypassModerationFromDLMembersBL",
    "msExchBypassModerationFromDLMembersLink",
    "msExchBypassModerationLink",
    "msExchCoManagedByLink",
    "msExchDelegateListLink",
    "msExchModeratedByLink",
    "msExchTeamMailboxOwners",
    "msExchTeamMailboxSharePointLinkedBy",
    "owner",
    "publicDelegates",
    "roleOccupant",
    "secretary",
    "seeAlso",
    "unauthOrig",
    "uniqueMember",
];

/// Attributes of directories that hold octets wherever they occur.
const OCTETS: &[&str] = &[
    "jpegPhoto",
    "msExchArchiveGUID",
    "msExchBlockedSendersHash",
    "msExchMailboxGuid",
    "msExchMasterAccountSid",
    "msExchSafeRecipientsHash",
    "msExchSafeSendersHash",
    "msRTCSIP-OriginatorSid",
    "objectSid",
    "photo",
    "thumbnailPhoto",
    "userCertificate",
    "userSMIMECertificate",
];
