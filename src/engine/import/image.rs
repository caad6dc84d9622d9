//! From a page's entry to an image, and from an image to an object's new state.

use super::lookup::Foreseen;
use crate::connector::{EntryRef, EntryValues, Operation};
use crate::model::{
    Anchor, AttrId, Blob, CsId, CsObject, CsReference, DeltaKind, Dn, DnKey, FlatBuilder, FlatValues, INLINE_VALUE_MAX, Names,
    ObjectErrorCode, Stage, StageMask, ValueKind, ValueRef, ValueState,
};
use crate::store::AttributeDelta;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// What an entry says, ready to be compared.
#[derive(Debug, Default)]
pub(super) struct Image {
    /// All values but references.
    pub(super) values: FlatValues,
    /// What the entry says about references, in the order in which it does.
    pub(super) references: Vec<(AttrId, Operation, Vec<Target>)>,
    /// Contents of large values.
    pub(super) blobs: Vec<Vec<u8>>,
    /// The first value that could not be understood.
    pub(super) flaw: Option<(ObjectErrorCode, String)>,
}

/// The name of an object referred to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) key: DnKey,
    pub(super) dn: Box<str>,
    /// Its key, where the directory tells it: then the name may be what it had when it was referred to.
    pub(super) anchor: Option<Anchor>,
    /// Who had the name when the page began.
    pub(super) foreseen: Foreseen,
}

/// The image that a whole entry gives.
pub(super) fn of_entry(entry: &EntryRef<'_>, names: &Names) -> Image {
    let mut builder = FlatBuilder::with_capacity(48, 1536);
    let mut image = Image::default();
    for (attr, _, values) in entry.attributes() {
        let mut targets = Vec::new();
        take_all(&mut image, &mut targets, &mut builder, names, attr, values);
        if !targets.is_empty() {
            image.references.push((attr, Operation::Add, targets));
        }
    }
    image.values = builder.finish();
    image
}

/// The values that a change gives on top of what was last imported, and what it says about references.
pub(super) fn of_change(entry: &EntryRef<'_>, names: &Names, object: &CsObject) -> Image {
    let mut image = Image::default();
    let mut kept: BTreeMap<AttrId, BTreeSet<crate::model::Value>> = BTreeMap::new();
    for item in object.values.iter().filter(|item| ValueState(item.flags).present(StageMask::IMPORTED)) {
        kept.entry(item.attr).or_default().insert(item.value.to_value());
    }
    for (attr, operation, values) in entry.attributes() {
        let mut targets = Vec::new();
        let mut builder = FlatBuilder::new();
        take_all(&mut image, &mut targets, &mut builder, names, attr, values);
        let told = builder.finish();
        let slot = kept.entry(attr).or_default();
        match operation {
            Operation::Replace => *slot = told.iter().map(|item| item.value.to_value()).collect(),
            Operation::Add => slot.extend(told.iter().map(|item| item.value.to_value())),
            Operation::Remove => told.iter().for_each(|item| {
                slot.remove(&item.value.to_value());
            }),
        }
        image.references.push((attr, operation, targets));
    }
    let mut builder = FlatBuilder::new();
    for (attr, values) in &kept {
        for value in values {
            builder.push(*attr, value.as_ref(), 0);
        }
    }
    image.values = builder.finish();
    image
}

/// Takes the values of an attribute, those of references with the anchors that stand beside them.
fn take_all(image: &mut Image, targets: &mut Vec<Target>, builder: &mut FlatBuilder, names: &Names, attr: AttrId, values: EntryValues<'_>) {
    for (anchor, value) in values.with_targets() {
        let before = targets.len();
        take(image, targets, builder, names, attr, value);
        targets[before..].iter_mut().for_each(|target| target.anchor = anchor.map(Anchor::new));
    }
}

fn take(
    image: &mut Image,
    targets: &mut Vec<Target>,
    builder: &mut FlatBuilder,
    names: &Names,
    attr: AttrId,
    (kind, value, octets): (ValueKind, ValueRef<'_>, &[u8]),
) {
    match value {
        ValueRef::Text(dn) if kind == ValueKind::Reference => match Dn::parse(dn) {
            Ok(parsed) => targets.push(Target { key: parsed.key(), dn: parsed.as_str().into(), anchor: None, foreseen: Foreseen::No }),
            Err(error) => {
                let detail = format!("{}: {dn:?}: {error}", names.name(attr));
                image.flaw.get_or_insert((ObjectErrorCode::INVALID_REFERENCE_VALUE, detail));
            }
        },
        ValueRef::Text(_) if octets.len() > INLINE_VALUE_MAX => {
            builder.push(attr, ValueRef::LargeText(Blob::of(octets)), 0);
            image.blobs.push(octets.to_vec());
        }
        ValueRef::Binary(_) if octets.len() > INLINE_VALUE_MAX => {
            builder.push(attr, ValueRef::LargeBinary(Blob::of(octets)), 0);
            image.blobs.push(octets.to_vec());
        }
        other => builder.push(attr, other, 0),
    }
}

/// What comparing an object with its new image found.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Attributes that an export had changed, that the target acknowledged, and that the import does not show.
    pub(super) not_reimported: BTreeSet<AttrId>,
    /// Attributes whose values changed although nothing of ours was under way or wanted for them.
    pub(super) unasked: BTreeSet<AttrId>,
    /// References that went in the same way. A reference may go because what it points to does.
    pub(super) lost: Vec<(AttrId, CsId)>,
    /// References that came in the same way. A reference may come with what it points to.
    pub(super) gained: Vec<(AttrId, CsId)>,
    /// Something was put back to be exported again.
    pub(super) wanted_again: bool,
    /// The state of any value or reference changed.
    pub(super) changed: bool,
    /// Any value or reference differs from the base image.
    pub(super) differs: bool,
    /// Of what differs, something says more than that an export arrived which no rule reads.
    pub(super) news: bool,
}

/// Lays a new image over an object's values: sets the pending import, confirms exports. Rules write the attributes in
/// `written_only` and do not read them.
pub(super) fn compare_values(object: &mut CsObject, image: &FlatValues, written_only: &BTreeSet<AttrId>, found: &mut Comparison) {
    let before_values = std::mem::take(&mut object.values);
    let mut merged = FlatBuilder::with_capacity(before_values.entries().len().max(image.entries().len()), before_values.heap().len());
    let mut old = before_values.iter().peekable();
    let mut new = image.iter().peekable();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => (left.attr, left.value).cmp(&(right.attr, right.value)),
        };
        let (attr, value, before, shown) = if order == Ordering::Greater {
            let Some(item) = new.next() else { break };
            (item.attr, item.value, ValueState::ABSENT, true)
        } else {
            let Some(item) = old.next() else { break };
            let shown = order == Ordering::Equal && new.next().is_some();
            (item.attr, item.value, ValueState(item.flags), shown)
        };
        if unasked(before, shown) {
            found.unasked.insert(attr);
        }
        let after = settle(before, shown, attr, written_only, found);
        if !after.is_absent() {
            merged.push(attr, value, after.0);
        }
    }
    object.values = merged.finish();
}

/// The same for references. `shown` are the targets that the directory reported.
pub(super) fn compare_references(
    owner: CsId,
    stored: &[CsReference],
    shown: &BTreeSet<(AttrId, CsId)>,
    written_only: &BTreeSet<AttrId>,
    found: &mut Comparison,
) -> Vec<CsReference> {
    let mut rows = Vec::new();
    let known: BTreeSet<(AttrId, CsId)> = stored.iter().map(|row| (row.attr, row.target)).collect();
    for row in stored {
        let is_shown = shown.contains(&(row.attr, row.target));
        if !is_shown && unasked(row.state, is_shown) {
            found.lost.push((row.attr, row.target));
        } else if unasked(row.state, is_shown) {
            found.gained.push((row.attr, row.target));
        }
        let after = settle(row.state, is_shown, row.attr, written_only, found);
        if after != row.state {
            rows.push(CsReference { state: after, ..*row });
        }
    }
    for (attr, target) in shown.difference(&known) {
        found.gained.push((*attr, *target));
        let state = settle(ValueState::ABSENT, true, *attr, written_only, found);
        rows.push(CsReference { owner, attr: *attr, target: *target, state });
    }
    rows
}

/// True when a value came or went although nothing of ours was under way or wanted for it.
fn unasked(before: ValueState, shown: bool) -> bool {
    let ours = [Stage::Unconfirmed, Stage::InProgress, Stage::PendingExport].into_iter().any(|stage| before.touched(stage));
    !ours && before.present(StageMask::IMPORTED) != shown
}

/// One value's new state when the directory shows it, or does not.
fn settle(before: ValueState, shown: bool, attr: AttrId, written_only: &BTreeSet<AttrId>, found: &mut Comparison) -> ValueState {
    let mut wanted = None;
    let mut ours = false;
    for stage in [Stage::Unconfirmed, Stage::InProgress] {
        let arrived = (before.added(stage) && shown) || (before.removed(stage) && !shown);
        ours |= arrived;
        if before.touched(stage) && !arrived {
            wanted = Some(before.added(stage));
            if stage == Stage::Unconfirmed {
                found.not_reimported.insert(attr);
            }
        }
    }
    let mut after = before.without(Stage::Unconfirmed).without(Stage::InProgress).with_target(StageMask::BASE, Stage::PendingImport, shown);
    if before.touched(Stage::PendingExport) {
        // A newer wish stands; it is moot when the directory shows it already.
        after = after.with_target(StageMask::EXPECTED, Stage::PendingExport, before.added(Stage::PendingExport));
    } else if let Some(present) = wanted {
        after = after.with_target(StageMask::EXPECTED, Stage::PendingExport, present);
        found.wanted_again = true;
    }
    found.changed |= after != before;
    if after.touched(Stage::PendingImport) {
        found.differs = true;
        found.news |= !ours || before.touched(Stage::PendingImport) || !written_only.contains(&attr);
    }
    after
}

/// True when any value, or any of the reference rows, is touched by a stage.
pub(super) fn touched(object: &CsObject, rows: &[CsReference], stage: Stage) -> bool {
    object.values.entries().iter().any(|entry| ValueState(entry.flags).touched(stage)) || rows.iter().any(|row| row.state.touched(stage))
}

/// What a pending import changes, as text for the history.
pub(super) fn describe(object: &CsObject, names: &Names) -> Vec<AttributeDelta> {
    let mut changes: BTreeMap<AttrId, AttributeDelta> = BTreeMap::new();
    for item in object.values.iter() {
        let state = ValueState(item.flags);
        if !state.touched(Stage::PendingImport) {
            continue;
        }
        let change = changes.entry(item.attr).or_insert_with(|| AttributeDelta {
            attribute: names.name(item.attr).to_string(),
            removed: Vec::new(),
            added: Vec::new(),
        });
        let side = if state.added(Stage::PendingImport) { &mut change.added } else { &mut change.removed };
        side.push(shorten(item.value));
    }
    changes.into_values().collect()
}

fn shorten(value: ValueRef<'_>) -> String {
    const SHOWN: usize = 120;
    match value {
        ValueRef::Text(text) if text.chars().count() > SHOWN => text.chars().take(SHOWN).chain(['…']).collect(),
        ValueRef::Text(text) => text.to_owned(),
        other => format!("{other:?}"),
    }
}

/// Sets the object-level kind of a stage from what its values and references say.
pub(in crate::engine) fn refresh_kind(object: &mut CsObject, rows: &[CsReference], stage: Stage) {
    let any = touched(object, rows, stage);
    let delta = object.stage_mut(stage);
    if matches!(delta.kind, DeltaKind::None | DeltaKind::Update) {
        delta.kind = if any || delta.rename.is_some() { DeltaKind::Update } else { DeltaKind::None };
    }
}
