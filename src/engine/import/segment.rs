//! Entries that are written together, and what they do to objects that have no entry of their own among them.

use super::image::{self};
use super::page::Work;
use super::{EngineError, StepRecorder};
use crate::model::{AttrId, CsId, CsObject, CsReference, DeltaKind, Link, Stage, StageMask, ValueState};
use crate::store::{ChangeSet, Snapshot};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Entries that are written together.
pub(super) struct Segment<'p> {
    pub(super) snapshot: Snapshot,
    pub(super) changes: ChangeSet,
    pub(super) work: Vec<Work<'p>>,
    /// Objects with an entry in this segment.
    pub(super) entries: HashSet<CsId>,
    /// Objects that others change: whose name was taken, or whose reference found its object.
    pub(super) others: BTreeMap<CsId, CsObject>,
    /// Those of `others` whose references changed.
    pub(super) referrers: BTreeSet<CsId>,
    /// Objects to which entries of this segment refer; the store does not know that yet.
    pub(super) referred: HashSet<CsId>,
    /// New ones: somebody refers to whom nobody has reported.
    pub(super) placeholders: BTreeMap<CsId, CsObject>,
}

impl Segment<'_> {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            changes: ChangeSet::new(),
            work: Vec::new(),
            entries: HashSet::new(),
            others: BTreeMap::new(),
            referrers: BTreeSet::new(),
            referred: HashSet::new(),
            placeholders: BTreeMap::new(),
        }
    }

    /// True when the segment writes the object, so that whoever needs it has to wait.
    pub(super) fn has(&self, id: CsId) -> bool {
        self.entries.contains(&id) || self.others.contains_key(&id)
    }

    /// True when an entry of the segment refers to the object, or did so before.
    pub(super) fn refers_to(&self, id: CsId) -> Result<bool, EngineError> {
        Ok(self.referred.contains(&id) || self.snapshot.cs_referrers(id)?.iter().any(|(_, owner)| self.entries.contains(owner)))
    }

    /// True for a name that others refer to, and no more.
    pub(super) fn is_placeholder(&self, id: CsId) -> Result<bool, EngineError> {
        let link = match self.others.get(&id) {
            Some(object) => Some(object.link),
            None => self.snapshot.cs_link(id)?,
        };
        Ok(self.placeholders.contains_key(&id) || (link == Some(Link::Placeholder) && !self.entries.contains(&id)))
    }

    /// True for an object that has a key, be it that of whom it stands for.
    pub(super) fn has_anchor(&self, id: CsId) -> Result<bool, EngineError> {
        if let Some(object) = self.placeholders.get(&id).or_else(|| self.others.get(&id)) {
            return Ok(object.anchor.is_some());
        }
        // Entries have one, where references do.
        Ok(self.entries.contains(&id) || self.snapshot.cs_object(id)?.is_some_and(|object| object.anchor.is_some()))
    }

    /// An object as this segment leaves it; it must not have an entry of its own here.
    pub(super) fn other(&mut self, id: CsId) -> Result<Option<CsObject>, EngineError> {
        match self.others.remove(&id) {
            Some(object) => Ok(Some(object)),
            None => Ok(self.snapshot.cs_object(id)?),
        }
    }
}

/// The directory took the references to a deleted object away, and tells it of nobody.
pub(super) fn drop_references(target: CsId, segment: &mut Segment<'_>, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
    for (attr, owner) in segment.snapshot.cs_referrers(target)? {
        let state = segment.snapshot.cs_reference(owner, attr, target)?;
        if owner == target || !state.present(StageMask::IMPORTED) {
            continue;
        }
        let Some(referrer) = segment.other(owner)? else { continue };
        let state = state.with_target(StageMask::BASE, Stage::PendingImport, false);
        segment.changes.cs_reference.push(CsReference { owner, attr, target, state });
        segment.changes.cs_hash.push((owner, None));
        if segment.referrers.insert(owner) {
            recorder.object("stage-update", owner, &referrer.dn, Vec::new());
        }
        segment.others.insert(owner, referrer);
    }
    Ok(())
}

/// An object got a name under which others referred to it before it was reported: their references, which point to a
/// placeholder, are references to the object, and the placeholder goes.
pub(super) fn take_over(placeholder: CsId, object: CsId, segment: &mut Segment<'_>) -> Result<(), EngineError> {
    for (attr, owner) in segment.snapshot.cs_referrers(placeholder)? {
        if owner == object {
            continue;
        }
        let Some(referrer) = segment.other(owner)? else { continue };
        let shown = segment.snapshot.cs_reference(owner, attr, placeholder)?.present(StageMask::IMPORTED);
        segment.changes.cs_reference.push(CsReference { owner, attr, target: placeholder, state: ValueState::ABSENT });
        refer((owner, attr, object), shown, segment)?;
        segment.others.insert(owner, referrer);
        segment.referrers.insert(owner);
    }
    segment.changes.cs_delete.push(placeholder);
    Ok(())
}

/// A name means another object than it did when these entries of the same full import were read: they refer to that one.
pub(super) fn follow_name(readers: &[(AttrId, CsId)], (before, now): (CsId, CsId), segment: &mut Segment<'_>) -> Result<(), EngineError> {
    for (attr, owner) in readers.iter().copied() {
        let Some(referrer) = segment.other(owner)? else { continue };
        refer((owner, attr, before), false, segment)?;
        refer((owner, attr, now), true, segment)?;
        segment.others.insert(owner, referrer);
        segment.referrers.insert(owner);
    }
    Ok(())
}

/// A reference that an entry does not tell any more stays, until the next entry of its owner is compared.
pub(super) fn keep(row: (CsId, AttrId, CsId), segment: &mut Segment<'_>) -> Result<(), EngineError> {
    let owner = row.0;
    let Some(referrer) = segment.other(owner)? else { return Ok(()) };
    refer(row, true, segment)?;
    segment.changes.cs_hash.push((owner, None));
    segment.others.insert(owner, referrer);
    segment.referrers.insert(owner);
    Ok(())
}

/// Stages whether the directory shows a reference.
fn refer((owner, attr, target): (CsId, AttrId, CsId), shown: bool, segment: &mut Segment<'_>) -> Result<(), EngineError> {
    let state = segment.snapshot.cs_reference(owner, attr, target)?.with_target(StageMask::BASE, Stage::PendingImport, shown);
    segment.changes.cs_reference.push(CsReference { owner, attr, target, state });
    Ok(())
}

/// Sets what an object has pending after references of it found their objects.
pub(super) fn refresh_referrer(object: &mut CsObject, snapshot: &Snapshot, changes: &ChangeSet) -> Result<(), EngineError> {
    let stored = snapshot.cs_touched_references(object.id)?;
    let moved = changes.cs_reference.iter().filter(|row| row.owner == object.id);
    let rows: HashMap<(AttrId, CsId), CsReference> = stored.iter().chain(moved).map(|row| ((row.attr, row.target), *row)).collect();
    let rows: Vec<CsReference> = rows.into_values().collect();
    image::refresh_kind(object, &rows, Stage::PendingImport);
    Ok(())
}

/// What an object is called while another one has its name.
pub(super) fn transient_name(id: CsId) -> Box<str> {
    format!("CN=transient-{id}").into()
}

/// The name of an object was taken by another: it gets a temporary one and waits for its rename or delete.
pub(super) fn displace(holder: CsId, segment: &mut Segment<'_>) -> Result<(), EngineError> {
    if let Some(placeholder) = segment.placeholders.get_mut(&holder) {
        (placeholder.transient, placeholder.dn) = (true, transient_name(holder));
        return Ok(());
    }
    let Some(mut object) = segment.other(holder)? else { return Ok(()) };
    if !object.transient {
        let name = std::mem::replace(&mut object.dn, transient_name(holder));
        object.transient = true;
        if object.link != Link::Placeholder {
            let delta = object.stage_mut(Stage::PendingImport);
            delta.rename.get_or_insert(name);
            if delta.kind == DeltaKind::None {
                delta.kind = DeltaKind::Update;
            }
            segment.changes.cs_hash.push((holder, None));
        }
    }
    segment.others.insert(holder, object);
    Ok(())
}
