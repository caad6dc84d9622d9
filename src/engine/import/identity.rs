//! Which object an entry is, and whose name it takes.

use super::lookup::Key;
use super::page::Ahead;
use super::segment::{Segment, displace, follow_name, take_over};
use super::{EngineError, Import};
use crate::connector::EntryRef;
use crate::model::{AttrId, CsId, CsObject, CsReference, DeltaKind, Dn, Link, ObjectType, Stage, StageMask};
use crate::store::{DirtyReason, Snapshot, StoreError};

/// An object as it is stored, with its references: all of them for a whole entry; for a change those that something is under
/// way for and those that it names.
pub(super) type Stored = Option<(CsObject, Vec<CsReference>)>;

/// What becomes of the object that has the name of an entry.
pub(super) enum Holder {
    /// Nobody has it.
    Nobody,
    /// A placeholder: its references go over to the entry's object.
    Placeholder(CsId),
    /// We provisioned it, and it is not there yet: it gives way and is provisioned again.
    GivesWay(CsObject),
    /// It waits for its rename or delete under a temporary name.
    Displaced(CsId),
}

/// Which object an entry is.
pub(super) struct Identity {
    /// None for a new one.
    pub(super) id: Option<CsId>,
    pub(super) stored: Stored,
    pub(super) adopted: bool,
    pub(super) holder: Holder,
}

impl Import<'_> {
    pub(super) fn by_anchor(&self, entry: &EntryRef<'_>, key: Option<Key>, snapshot: &Snapshot) -> Result<Option<CsId>, EngineError> {
        let Some((key, anchor)) = key.zip(entry.anchor()) else { return Ok(None) };
        Ok(self.lookup.by_anchor(snapshot, key, anchor)?)
    }

    pub(super) fn by_name(&self, dn: &str, snapshot: &Snapshot) -> Result<Option<CsId>, EngineError> {
        let Ok(dn) = Dn::parse(dn) else { return Ok(None) };
        Ok(self.lookup.by_name(snapshot, &dn.key())?)
    }

    /// True when another entry of a full import was the object already. In a delta the later entry tells the newer state.
    pub(super) fn is_duplicate(&self, id: CsId) -> bool {
        self.options.full && self.lookup.is_seen(id) && !self.held.contains(&id) && !self.second_counts.contains(&id)
    }

    /// Notes that an object was reported that the space had when the import began, and as what.
    pub(super) fn see_known(&mut self, id: CsId, object_type: Option<ObjectType>) {
        let first = self.lookup.mark_seen(id);
        self.kept += u64::from(first);
        if first && let Some(object_type) = object_type {
            *self.kept_of.entry(object_type).or_default() += 1;
        }
        // What could not be read and had only its name was another object, and nobody knows which.
        self.unidentified += u64::from(!first && self.held.remove(&id));
    }

    /// Finds out which object an entry is, and whose name it takes. `known` has the entry's anchor, or else `stands` is the placeholder
    /// that stands for it. None when that has to wait for the segment.
    pub(super) fn identify(
        &self,
        entry: &EntryRef<'_>,
        whole: bool,
        (known, stands): (Option<CsId>, Option<CsId>),
        own: &Ahead,
        segment: &Segment<'_>,
    ) -> Result<Option<Identity>, EngineError> {
        let mut identity = Identity { id: known, stored: None, adopted: false, holder: Holder::Nobody };
        let Some(key) = &own.key else { return Ok(Some(identity)) };
        let holder = self.lookup.by_foreseen_name(&segment.snapshot, key, own.foreseen)?.filter(|holder| Some(*holder) != known);
        if let Some(placeholder) = stands.filter(|_| stands != holder) {
            // It has another name, and its references go over to the entry's object.
            if segment.placeholders.contains_key(&placeholder) || segment.has(placeholder) || segment.refers_to(placeholder)? {
                return Ok(None);
            }
        }
        let Some(holder) = holder else { return Ok(Some(identity)) };
        let stands_for_another =
            |object: &CsObject| self.options.references_have_anchors && object.anchor.is_some() && stands != Some(holder);
        if let Some(placeholder) = segment.placeholders.get(&holder) {
            if known.is_some() || stands_for_another(placeholder) {
                return Ok(None);
            }
            identity.id = Some(holder);
            return Ok(Some(identity));
        }
        if segment.entries.contains(&holder) {
            return Ok(None);
        }
        let object = match segment.others.get(&holder) {
            Some(object) => Some(object.clone()),
            None => segment.snapshot.cs_object(holder)?,
        };
        let Some(object) = object else { return Ok(Some(identity)) };
        let other = object.link == Link::Placeholder && stands_for_another(&object);
        let placeholder = object.link == Link::Placeholder && !other;
        let provisioned = object.anchor.is_none() && !object.imported();
        if known.is_none() {
            let same_type = entry.object_type().is_none_or(|kind| kind == object.object_type);
            if entry.anchor().is_none() || placeholder || (object.anchor.is_none() && same_type) {
                if segment.others.contains_key(&holder) {
                    return Ok(None);
                }
                identity.id = Some(holder);
                identity.adopted = object.anchor.is_none() && !placeholder;
                identity.stored = Some((object, references(&segment.snapshot, holder, whole)?));
                return Ok(Some(identity));
            }
        }
        if !whole && known.is_none() {
            // A change for an object that nobody knows takes no name.
            return Ok(Some(identity));
        }
        if segment.refers_to(holder)? {
            return Ok(None);
        }
        identity.holder = if placeholder {
            Holder::Placeholder(holder)
        } else if provisioned {
            Holder::GivesWay(object)
        } else {
            Holder::Displaced(holder)
        };
        Ok(Some(identity))
    }

    /// Frees the name that an object takes.
    pub(super) fn make_room(&mut self, id: CsId, holder: Holder, segment: &mut Segment<'_>) -> Result<(), EngineError> {
        match holder {
            Holder::Nobody => {}
            Holder::Placeholder(placeholder) => take_over(placeholder, id, segment)?,
            Holder::GivesWay(object) => {
                if let Some(mv) = object.link.mv() {
                    let sources = segment.snapshot.mv_links(mv)?.into_iter().filter(|id| *id != object.id);
                    segment.changes.dirty.extend(sources.map(|id| (id, Some(DirtyReason::RetryProvisioning))));
                }
                segment.others.remove(&object.id);
                segment.entries.insert(object.id);
                segment.changes.cs_delete.push(object.id);
            }
            Holder::Displaced(holder) => {
                let mut readers = self.outdate(holder, id, segment)?;
                if !self.options.full && self.options.references_stay && is_leaving(holder, segment)? {
                    readers = who_refers(holder, id, segment)?;
                }
                follow_name(&readers, (holder, id), segment)?;
                self.lookup.forget_hash(holder);
                self.displaced.insert(holder);
                displace(holder, segment)?;
            }
        }
        Ok(())
    }

    /// An object loses its name. Stored references may not be what their entries mean then: the next entry of each referrer is
    /// compared, even when it says what it said last. Gives the references that this full import has read already, `by`
    /// being whose entry it reads now: they mean whoever has the name.
    pub(super) fn outdate(&mut self, loser: CsId, by: CsId, segment: &mut Segment<'_>) -> Result<Vec<(AttrId, CsId)>, EngineError> {
        let referrers = segment.snapshot.cs_referrers(loser)?;
        for (_, owner) in &referrers {
            self.lookup.forget_hash(*owner);
            segment.changes.cs_hash.push((*owner, None));
        }
        self.note_outdated(loser, &referrers);
        let mut readers = Vec::new();
        for (attr, owner) in referrers {
            let read = self.options.full
                && !self.options.references_have_anchors
                && self.lookup.is_seen(owner)
                && !self.unread.contains(&owner)
                && ![loser, by].contains(&owner);
            if read && segment.snapshot.cs_reference(owner, attr, loser)?.present(StageMask::IMPORTED) {
                readers.push((attr, owner));
            }
        }
        Ok(readers)
    }

    /// Notes whom a delta import has to ask for once more when an object loses its name or goes: those whose references do not
    /// follow by themselves, and those that told the reference by that name in this import, when it may have been another's already.
    pub(super) fn note_outdated(&mut self, loser: CsId, referrers: &[(AttrId, CsId)]) {
        if !self.options.full {
            let owners = referrers.iter().map(|(_, owner)| *owner);
            let told = owners.filter(|owner| self.options.references_stay || self.told_by_name.contains(&(*owner, loser)));
            self.outdated.extend(told);
        }
    }
}

/// True for an object that the directory has let go, and that is there until it is synchronized.
fn is_leaving(id: CsId, segment: &Segment<'_>) -> Result<bool, StoreError> {
    let leaves = |object: &CsObject| object.stage(Stage::PendingImport).kind == DeltaKind::Delete;
    Ok(match segment.others.get(&id) {
        Some(object) => leaves(object),
        None => segment.snapshot.cs_object(id)?.is_some_and(|object| leaves(&object)),
    })
}

/// The references that others show to an object whose name `by` takes: where names stay behind, they mean that one from now on.
fn who_refers(id: CsId, by: CsId, segment: &Segment<'_>) -> Result<Vec<(AttrId, CsId)>, StoreError> {
    let mut readers = segment.snapshot.cs_referrers(id)?;
    readers.retain(|(_, owner)| ![id, by].contains(owner));
    let mut shown = Vec::with_capacity(readers.len());
    for (attr, owner) in readers {
        if segment.snapshot.cs_reference(owner, attr, id)?.present(StageMask::IMPORTED) {
            shown.push((attr, owner));
        }
    }
    Ok(shown)
}

/// An object, with all its references for a whole entry, and with those that are touched for a change.
pub(super) fn read(snapshot: &Snapshot, id: CsId, whole: bool) -> Result<Stored, EngineError> {
    let Some(object) = snapshot.cs_object(id)? else { return Ok(None) };
    let rows = references(snapshot, id, whole)?;
    Ok(Some((object, rows)))
}

pub(super) fn references(snapshot: &Snapshot, id: CsId, all: bool) -> Result<Vec<CsReference>, StoreError> {
    if all { snapshot.cs_references(id) } else { snapshot.cs_touched_references(id) }
}
