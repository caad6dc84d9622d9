//! A directory as a test sees it: entries by anchor, in plain maps.

use std::collections::{BTreeMap, BTreeSet};

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its object type.
    pub(crate) object_type: String,
    /// Its name.
    pub(crate) dn: String,
    /// Text values by attribute.
    pub(crate) values: BTreeMap<String, BTreeSet<String>>,
    /// Anchors of other entries by attribute.
    pub(crate) references: BTreeMap<String, BTreeSet<String>>,
}

impl Entry {
    /// An entry without values.
    pub(crate) fn new(object_type: &str, dn: &str) -> Self {
        Self { object_type: object_type.to_owned(), dn: dn.to_owned(), ..Self::default() }
    }

    /// With one value more.
    pub(crate) fn with(mut self, attribute: &str, value: &str) -> Self {
        self.values.entry(attribute.to_owned()).or_default().insert(value.to_owned());
        self
    }

    /// With one reference more.
    pub(crate) fn to(mut self, attribute: &str, anchor: &str) -> Self {
        self.references.entry(attribute.to_owned()).or_default().insert(anchor.to_owned());
        self
    }

    /// With exactly one value of an attribute, or none.
    pub(crate) fn set(&mut self, attribute: &str, value: Option<&str>) {
        match value {
            Some(value) => self.values.insert(attribute.to_owned(), BTreeSet::from([value.to_owned()])),
            None => self.values.remove(attribute),
        };
    }

    /// The first value of an attribute.
    pub(crate) fn value(&self, attribute: &str) -> Option<&str> {
        self.values.get(attribute)?.first().map(String::as_str)
    }
}

/// Entries by anchor.
pub(crate) type Directory = BTreeMap<String, Entry>;
