//! The attributes that rules know without being told: for importers and exporters, which must spell them.

use super::schema::{self, Table};
use crate::model::{Names, ValueKind};

/// An attribute of one of the schemas that come with the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAttribute {
    /// Its name, as it must be spelled.
    pub name: String,
    /// What it holds.
    pub kind: ValueKind,
    /// It may have several values.
    pub multi: bool,
    /// Its text is limited to what an index takes.
    pub indexed: bool,
}

/// A schema that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownSchema {
    /// The metaverse (specification: default rules, section 8).
    Metaverse,
    /// The connector space of Entra ID.
    Cloud,
}

/// The attributes of a schema, in the order of their names without regard to case.
pub fn known_attributes(schema: KnownSchema) -> Vec<KnownAttribute> {
    let names = Names::new();
    let table: Table = match schema {
        KnownSchema::Metaverse => schema::metaverse(&names),
        KnownSchema::Cloud => schema::cloud_table(&names),
    };
    let mut found: Vec<KnownAttribute> = table
        .iter()
        .map(|(name, _, kind)| KnownAttribute {
            name: name.to_owned(),
            kind: kind.kind.unwrap_or(ValueKind::Text),
            multi: kind.multi,
            indexed: kind.indexed,
        })
        .collect();
    found.sort_by_cached_key(|attribute| (attribute.name.to_ascii_lowercase(), attribute.name.clone()));
    found
}
