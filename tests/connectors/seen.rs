//! Runs an import to its end and keeps what it said, in a form in which two imports can be compared.

use futures_util::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use syncline::connector::{Completion, Connector, ConnectorError, DiscoveryError, ImportKind, ImportRequest, PageItem};
use syncline::context::Context;
use syncline::model::{Names, ValueKind};

/// One entry, values as text or octets the way a directory would print them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeenEntry {
    pub(crate) anchor: Vec<u8>,
    pub(crate) object_type: String,
    pub(crate) values: BTreeMap<String, BTreeSet<Vec<u8>>>,
    pub(crate) kinds: BTreeMap<String, ValueKind>,
}

impl SeenEntry {
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.values.get(name)?.first().map(|octets| String::from_utf8_lossy(octets).into_owned())
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.values.get(name).map_or(0, BTreeSet::len)
    }
}

/// Everything an import said.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) entries: BTreeMap<String, SeenEntry>,
    pub(crate) changes: Vec<String>,
    pub(crate) gone: Vec<String>,
    pub(crate) present: usize,
    pub(crate) notes: Vec<String>,
    pub(crate) completion: Option<Completion>,
    pub(crate) rejected: Vec<DiscoveryError>,
    pub(crate) filtered: u64,
    pub(crate) pages: usize,
    pub(crate) largest_page: usize,
    pub(crate) completed: bool,
}

impl Seen {
    pub(crate) fn of_type(&self, object_type: &str) -> usize {
        self.entries.values().filter(|entry| entry.object_type == object_type).count()
    }

    pub(crate) fn codes(&self) -> Vec<&str> {
        self.rejected.iter().map(|error| error.code.as_str()).collect()
    }
}

/// A full import of some attributes.
pub(crate) async fn import(connector: &dyn Connector, names: &Names, attributes: &[&str]) -> Result<Seen, ConnectorError> {
    run(connector, names, attributes, ImportKind::Full).await
}

/// An import of some attributes.
pub(crate) async fn run(connector: &dyn Connector, names: &Names, attributes: &[&str], kind: ImportKind) -> Result<Seen, ConnectorError> {
    let attributes: Vec<_> = attributes.iter().map(|name| names.intern(name)).collect();
    let mut stream = connector.import(&Context::system(), ImportRequest { kind, attributes: attributes.clone() }).await?;
    let mut seen = Seen::default();
    while let Some(page) = stream.next().await {
        let page = page?;
        assert!(!seen.completed, "a page behind the last one");
        seen.pages += 1;
        seen.largest_page = seen.largest_page.max(page.len());
        seen.filtered += page.filtered;
        seen.completed = page.completion.is_some();
        seen.notes.extend(page.notes.iter().cloned());
        seen.completion.clone_from(&page.completion);
        for item in page.items() {
            match item {
                PageItem::Rejected(error) => seen.rejected.push(error.clone()),
                PageItem::Gone(entry) => seen.gone.push(entry.dn().to_owned()),
                PageItem::Present(_) => seen.present += 1,
                PageItem::Change(entry) => seen.changes.push(format!("{}: {}", entry.dn(), described(entry, names))),
                PageItem::Entry(entry) => {
                    let mut kept = SeenEntry {
                        anchor: entry.anchor().unwrap_or_default().to_vec(),
                        object_type: names.object_type_name(entry.object_type().expect("whole entries have a type")).to_string(),
                        ..SeenEntry::default()
                    };
                    for (attr, _, values) in entry.attributes() {
                        assert!(attributes.contains(&attr), "{} was not asked for", names.name(attr));
                        let name = names.name(attr).to_string();
                        for (kind, _, raw) in values {
                            assert!(
                                kept.values.entry(name.clone()).or_default().insert(printed(kind, raw)),
                                "{name} twice in {}",
                                entry.dn()
                            );
                            kept.kinds.insert(name.clone(), kind);
                        }
                    }
                    let before = seen.entries.insert(entry.dn().to_owned(), kept);
                    assert_eq!(before, None, "{} twice", entry.dn());
                }
            }
        }
    }
    Ok(seen)
}

fn described(entry: syncline::connector::EntryRef<'_>, names: &Names) -> String {
    let parts = entry.attributes().map(|(attr, operation, values)| {
        let values: Vec<String> = values.map(|(kind, _, raw)| String::from_utf8_lossy(&printed(kind, raw)).into_owned()).collect();
        format!("{operation:?} {} {values:?}", names.name(attr))
    });
    parts.collect::<Vec<_>>().join("; ")
}

fn printed(kind: ValueKind, raw: &[u8]) -> Vec<u8> {
    match kind {
        ValueKind::Number => i64::from_le_bytes(raw.try_into().unwrap()).to_string().into_bytes(),
        ValueKind::Boolean => {
            if raw == [1] {
                b"TRUE".to_vec()
            } else {
                b"FALSE".to_vec()
            }
        }
        _ => raw.to_vec(),
    }
}

/// A table of names for one test.
pub(crate) fn names() -> Arc<Names> {
    Arc::new(Names::new())
}
