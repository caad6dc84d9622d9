//! An entry held against its object: what is new, what the directory confirms, what has to be wanted again.

use super::image::{self, Comparison};
use super::page::Work;
use super::required::are_accounts;
use super::vanished::attributes_of_base;
use crate::engine::base::{commit_import, commit_reference};
use crate::model::{Anchor, AttrId, CsId, CsObject, CsReference, DeltaKind, Dn, Link, Names, Stage, ValueState};
use crate::store::AttributeDelta;
use std::collections::{BTreeSet, HashMap};

/// An object after comparison.
pub(super) struct Staged {
    pub(super) object: CsObject,
    pub(super) rows: Vec<CsReference>,
    pub(super) found: Comparison,
    /// There was a record of it, be it a placeholder.
    pub(super) stored: bool,
    /// The entry was stored before, as more than a placeholder.
    pub(super) known: bool,
    /// We had it made, and the target shows it for the first time.
    pub(super) made: bool,
    pub(super) renamed: bool,
    pub(super) retyped: bool,
    /// What it says that it did not say before, for the history.
    pub(super) changes: Vec<AttributeDelta>,
    /// Attributes of which it had values when it was synchronized last, and has none any more.
    pub(super) lost: Vec<AttrId>,
}

/// Holds an entry against its object, which it takes.
pub(super) fn compare(work: &mut Work<'_>, written_only: &BTreeSet<AttrId>, names: &Names) -> Staged {
    let record = work.stored.take();
    let stored = record.is_some();
    let (mut object, references) = record.unwrap_or_else(|| {
        let object_type = work.entry.object_type().unwrap_or(crate::model::ObjectType(0));
        (CsObject::new(work.id, object_type, work.entry.dn()), Vec::new())
    });
    let known = stored && object.link != Link::Placeholder && !(work.adopted && object.anchor.is_none());
    let made =
        !object.in_base && [Stage::Unconfirmed, Stage::InProgress].into_iter().any(|stage| object.stage(stage).kind == DeltaKind::Add);
    let before = object.stage(Stage::PendingImport).kind;
    if object.link == Link::Placeholder {
        // The key is the entry's, if it has one: that of a placeholder is marked.
        (object.link, object.anchor) = (Link::Disconnected, None);
    }
    let returned = before == DeltaKind::Delete;
    let mut lost = if known && work.whole { attributes_of_base(&object.values, &references) } else { Vec::new() };
    lost.retain(|attr| {
        work.image.values.attribute_range(*attr).is_empty()
            && work.shown.range((*attr, CsId(0))..).next().is_none_or(|(shown, _)| shown != attr)
    });
    let mut found = Comparison::default();
    image::compare_values(&mut object, &work.image.values, written_only, &mut found);
    let mut changed_rows = image::compare_references(work.id, &references, &work.shown, written_only, &mut found);
    let merged: HashMap<(AttrId, CsId), ValueState> =
        references.iter().chain(&changed_rows).map(|row| ((row.attr, row.target), row.state)).collect();
    let rows: Vec<CsReference> =
        merged.into_iter().map(|((attr, target), state)| CsReference { owner: work.id, attr, target, state }).collect();

    if let Some(anchor) = work.entry.anchor() {
        object.anchor = Some(Anchor::new(anchor));
    }
    let renamed = work.renamed_from.is_some();
    if work.named {
        name(&mut object, work, renamed);
    }
    let (mut retyped, mut as_before) = (false, true);
    if let Some(object_type) = work.entry.object_type().filter(|kind| *kind != object.object_type) {
        retyped = known;
        as_before = are_accounts(&names.object_type_name(object.object_type), &names.object_type_name(object_type));
        if object.in_base {
            let base = object.previous_type.get_or_insert(object.object_type);
            if *base == object_type {
                object.previous_type = None;
            }
        }
        object.object_type = object_type;
    }
    confirm(&mut object, &mut found);
    let delta = object.stage_mut(Stage::PendingImport);
    delta.kind = DeltaKind::None;
    if !object.in_base {
        object.stage_mut(Stage::PendingImport).kind = DeltaKind::Add;
    } else if object.previous_type.is_some() {
        object.stage_mut(Stage::PendingImport).kind = DeltaKind::DeleteAdd;
    } else {
        image::refresh_kind(&mut object, &rows, Stage::PendingImport);
    }
    image::refresh_kind(&mut object, &rows, Stage::PendingExport);
    found.changed |= returned;
    let described = known && (retyped || renamed || (found.changed && found.differs));
    let changes = if described { image::describe(&object, names) } else { Vec::new() };
    let arrived = before == DeltaKind::None && object.link.mv().is_some() && !found.news && !found.wanted_again;
    if arrived && object.stage(Stage::PendingImport).kind == DeltaKind::Update && object.stage(Stage::PendingImport).rename.is_none() {
        // All that is new is that what we sent is there, and no rule reads it: there is nothing to synchronize.
        commit_import(&mut object);
        for row in &mut changed_rows {
            *row = commit_reference(*row).unwrap_or(*row);
        }
    }
    if !as_before {
        // Objects of another type have other attributes.
        lost.clear();
    }
    Staged { object, rows: changed_rows, found, stored, known, made, renamed, retyped, changes, lost }
}

/// Gives the object the name that the directory reports and remembers the one of the base image.
pub(super) fn name(object: &mut CsObject, work: &Work<'_>, renamed: bool) {
    let spelt = work.entry.dn();
    if renamed && object.in_base {
        let old = work.renamed_from.clone().filter(|_| !object.transient);
        let delta = object.stage_mut(Stage::PendingImport);
        if delta.rename.is_none() {
            delta.rename = old;
        }
        let back = delta.rename.as_deref().is_some_and(|base| same_name(base, spelt));
        if back {
            delta.rename = None;
        }
    }
    object.transient = false;
    object.dn = spelt.into();
    for stage in [Stage::Unconfirmed, Stage::InProgress, Stage::PendingExport] {
        let delta = object.stage_mut(stage);
        if delta.rename.as_deref().is_some_and(|wanted| same_name(wanted, spelt)) {
            delta.rename = None;
        }
    }
}

fn same_name(left: &str, right: &str) -> bool {
    matches!((Dn::parse(left), Dn::parse(right)), (Ok(left), Ok(right)) if left.same(&right))
}

/// Settles what exports did to the object as a whole, now that the directory shows it.
fn confirm(object: &mut CsObject, found: &mut Comparison) {
    for stage in [Stage::Unconfirmed, Stage::InProgress] {
        let delta = std::mem::take(object.stage_mut(stage));
        let wanted = object.stage_mut(Stage::PendingExport);
        if delta.kind == DeltaKind::Delete && wanted.kind == DeltaKind::None {
            // The delete was accepted, or lost, and the object is still there: it is wanted again, unless something
            // newer is wanted of the object by now.
            wanted.kind = DeltaKind::Delete;
            found.wanted_again = true;
        }
        if let Some(name) = delta.rename {
            object.stage_mut(Stage::PendingExport).rename.get_or_insert(name);
            found.wanted_again = true;
        }
    }
    let wanted = object.stage_mut(Stage::PendingExport);
    if wanted.kind == DeltaKind::Add {
        wanted.kind = DeltaKind::Update;
    }
}
