//! Values and changes as short text, for the history and for previews.

use crate::model::{AttrId, CsObject, CsReference, DeltaKind, FlatValues, Names, Stage, StageMask, ValueRef, ValueState};
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

/// A text of an object of a target by which people know it: as it shall be, or as it is where nothing is wanted any more.
pub fn text_of(names: &Names, values: &FlatValues, name: &str) -> Option<String> {
    let attr = names.find(name)?;
    [StageMask::WANTED, StageMask::IMPORTED].into_iter().find_map(|mask| {
        values.attribute(attr).find_map(|item| match item.value {
            ValueRef::Text(text) if ValueState(item.flags).present(mask) => Some(text.to_owned()),
            _ => None,
        })
    })
}

/// By what people know an object of a target, otherwise its name there.
pub(super) fn called(names: &Names, object: &CsObject) -> String {
    let text = |name: &str| text_of(names, &object.values, name);
    match (text("displayName"), text("userPrincipalName").or_else(|| text("mail"))) {
        (Some(name), Some(account)) => format!("{name} ({account})"),
        (Some(text), None) | (None, Some(text)) => text,
        (None, None) => object.dn.to_string(),
    }
}

/// The attributes that are expected to have values in the target now and would have none after the pending export, by
/// name. `references` are the rows that the pending export touches, or all of them. Objects that are made or deleted have
/// none: those are told as a whole.
pub(super) fn emptied(names: &Names, object: &CsObject, references: &[CsReference]) -> Vec<String> {
    if object.stage(Stage::PendingExport).kind != DeltaKind::Update {
        return Vec::new();
    }
    let mut has: BTreeMap<AttrId, (bool, bool)> = BTreeMap::new();
    let values = object.values.iter().map(|item| (item.attr, ValueState(item.flags)));
    for (attr, state) in values.chain(references.iter().map(|row| (row.attr, row.state))) {
        let (now, after) = has.entry(attr).or_default();
        *now |= state.present(StageMask::EXPECTED);
        *after |= state.present(StageMask::WANTED);
    }
    has.into_iter().filter(|(_, (now, after))| *now && !after).map(|(attr, _)| names.name(attr).to_string()).collect()
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
