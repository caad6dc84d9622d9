//! Reads the schema of a forest: which attribute has which syntax (MS-ADTS 3.1.1.2.2.2).

use crate::connector::directory::KindTable;
use crate::connector::ldap::Client;
use crate::connector::{AttributeSchema, ConnectorError};
use crate::model::ValueKind;
use ldap3::Scope;
use std::fmt::Write as _;
use std::sync::Arc;

/// Attributes asked for in one search: a filter must not grow without bound.
const NAMES_AT_ONCE: usize = 200;

/// Learns the kinds of the attributes in `wanted`, or of all. What the forest does not have (Exchange's attributes
/// without Exchange) keeps the kind that the table had.
pub(super) async fn learn(
    client: &mut Client,
    base: &str,
    wanted: Option<&[Arc<str>]>,
    table: &mut KindTable,
) -> Result<Learned, ConnectorError> {
    let filters: Vec<String> = match wanted {
        None => vec!["(objectClass=attributeSchema)".to_owned()],
        Some(names) => names.chunks(NAMES_AT_ONCE).map(filter).collect(),
    };
    let mut learned = Learned::default();
    for filter in filters {
        let asked = ["lDAPDisplayName", "attributeSyntax", "oMSyntax", "isSingleValued", "linkID"];
        for entry in client.search(base, Scope::OneLevel, &filter, &asked).await? {
            let (Some(name), Some(syntax)) = (entry.text("lDAPDisplayName"), entry.text("attributeSyntax")) else { continue };
            let kind = if name.eq_ignore_ascii_case("distinguishedName") { ValueKind::Text } else { kind_of(syntax) };
            let multi_valued = !entry.text("isSingleValued").is_some_and(|value| value.eq_ignore_ascii_case("TRUE"));
            table.set(name, kind, multi_valued);
            learned.links.extend(entry.text("linkID").and_then(|link| link.parse::<u32>().ok()).filter(|link| link.is_multiple_of(2)));
            learned.attributes.push(AttributeSchema { name: name.to_owned(), kind, multi_valued });
        }
    }
    Ok(learned)
}

/// What was learned of attributes.
#[derive(Debug, Default)]
pub(super) struct Learned {
    pub(super) attributes: Vec<AttributeSchema>,
    /// The link numbers of those that link objects forwards: even ones (MS-ADTS 3.1.1.2.3.1).
    pub(super) links: Vec<u32>,
}

/// The names of the attributes by which objects tell who links to them: the link numbers that follow those of the forward
/// links.
pub(super) async fn back_links(client: &mut Client, base: &str, links: &[u32]) -> Result<Vec<String>, ConnectorError> {
    let mut names = Vec::new();
    for links in links.chunks(NAMES_AT_ONCE) {
        let mut filter = "(&(objectClass=attributeSchema)(|".to_owned();
        for link in links {
            let _ = write!(filter, "(linkID={})", u64::from(*link) + 1);
        }
        filter.push_str("))");
        let found = client.search(base, Scope::OneLevel, &filter, &["lDAPDisplayName"]).await?;
        names.extend(found.iter().filter_map(|entry| entry.text("lDAPDisplayName")).map(str::to_owned));
    }
    Ok(names)
}

fn filter(names: &[Arc<str>]) -> String {
    let mut filter = "(&(objectClass=attributeSchema)(|".to_owned();
    for name in names {
        let _ = write!(filter, "(lDAPDisplayName={})", ldap3::ldap_escape(name.as_ref()));
    }
    filter.push_str("))");
    filter
}

/// The kind behind an `attributeSyntax`. `oMSyntax` divides some of them further, but never by kind: 2.5.5.9 is
/// integer and enumeration, 2.5.5.10 octets and replica links, 2.5.5.1 is names only.
fn kind_of(syntax: &str) -> ValueKind {
    match syntax {
        "2.5.5.1" => ValueKind::Reference,
        "2.5.5.8" => ValueKind::Boolean,
        "2.5.5.9" | "2.5.5.16" => ValueKind::Number,
        "2.5.5.10" | "2.5.5.15" | "2.5.5.17" => ValueKind::Binary,
        // Names with octets or text before them (2.5.5.7, 2.5.5.14) are kept as the text that they are.
        _ => ValueKind::Text,
    }
}
