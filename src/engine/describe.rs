//! Values and changes as short text, for the history and for previews.

use crate::model::{AttrId, Names, ValueRef};
use crate::store::AttributeDelta;
use std::collections::BTreeMap;

/// Longer texts are cut off, in characters.
const SHOWN: usize = 120;
/// Of an attribute with more changes only their number is told.
const CHANGES_SHOWN: usize = 25;

/// A value as a person reads it.
pub(super) fn shorten(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(text) if text.chars().count() > SHOWN => text.chars().take(SHOWN).chain(['…']).collect(),
        ValueRef::Text(text) => text.to_owned(),
        other => format!("{other:?}"),
    }
}

/// Collects changes by attribute.
#[derive(Debug, Default)]
pub(super) struct Changes {
    by_attribute: BTreeMap<AttrId, (Side, Side)>,
}

#[derive(Debug, Default)]
struct Side {
    shown: Vec<String>,
    more: usize,
}

impl Side {
    fn push(&mut self, text: impl FnOnce() -> String) {
        if self.shown.len() < CHANGES_SHOWN {
            self.shown.push(text());
        } else {
            self.more += 1;
        }
    }

    fn into_lines(mut self) -> Vec<String> {
        if self.more > 0 {
            self.shown.push(format!("… and {} more", self.more));
        }
        self.shown
    }
}

impl Changes {
    /// A value comes.
    pub(super) fn added(&mut self, attr: AttrId, text: impl FnOnce() -> String) {
        self.by_attribute.entry(attr).or_default().1.push(text);
    }

    /// A value goes.
    pub(super) fn removed(&mut self, attr: AttrId, text: impl FnOnce() -> String) {
        self.by_attribute.entry(attr).or_default().0.push(text);
    }

    /// The collected changes; a new name stands first.
    pub(super) fn finish(self, names: &Names, rename: Option<(&str, &str)>) -> Vec<AttributeDelta> {
        let rename = rename.map(|(before, after)| AttributeDelta {
            attribute: "dn".to_owned(),
            removed: vec![before.to_owned()],
            added: vec![after.to_owned()],
        });
        let rest = self.by_attribute.into_iter().map(|(attr, (removed, added))| AttributeDelta {
            attribute: names.name(attr).to_string(),
            removed: removed.into_lines(),
            added: added.into_lines(),
        });
        rename.into_iter().chain(rest).collect()
    }
}
