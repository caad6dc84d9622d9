//! What an entry says of references: names turned into objects, with placeholders for those that nobody has reported.

use super::disbelief::noting;
use super::image::Target;
use super::lookup::anchor_key;
use super::segment::{Segment, displace, follow_name, keep, take_over, transient_name};
use super::{EngineError, Import, StepRecorder, Verdict};
use crate::connector::Operation;
use crate::model::{Anchor, AttrId, CsId, CsObject, CsReference, Dn, DnKey, Link, Stage, StageMask, counted};
use crate::store::{ChangeSet, Snapshot};
use std::collections::{BTreeSet, HashSet};

/// Names given back in one transaction.
const BATCH: usize = 1_000;

/// A name that an object lost in a full import behind entries that told it.
pub(super) struct Freed {
    /// Stands for whoever takes the name.
    whoever: CsId,
    loser: CsId,
    /// Attributes and objects that told it.
    readers: Vec<(AttrId, CsId)>,
}

impl Import<'_> {
    /// Reads the references that a change speaks of, beside those that it must settle anyway: the others stay as they are,
    /// so that one member more costs the same in every group.
    pub(super) fn read_named(
        &self,
        owner: CsId,
        told: &[(AttrId, Operation, Vec<Target>)],
        rows: &mut Vec<CsReference>,
        segment: &Segment<'_>,
    ) -> Result<(), EngineError> {
        let snapshot = &segment.snapshot;
        let mut known: HashSet<(AttrId, CsId)> = rows.iter().map(|row| (row.attr, row.target)).collect();
        for (attr, operation, targets) in told {
            if *operation == Operation::Replace {
                let all = snapshot.cs_references_of(owner, *attr)?;
                rows.extend(all.into_iter().filter(|row| known.insert((row.attr, row.target))));
                continue;
            }
            for target in targets {
                let (Some(target), _) = self.target(target, segment)? else { continue };
                if known.insert((*attr, target)) {
                    let state = snapshot.cs_reference(owner, *attr, target)?;
                    rows.extend((!state.is_absent()).then_some(CsReference { owner, attr: *attr, target, state }));
                }
            }
        }
        Ok(())
    }

    /// The object that a reference means, by its anchor or else by its name, and whether the anchor found it.
    pub(super) fn target(&self, target: &Target, segment: &Segment<'_>) -> Result<(Option<CsId>, bool), EngineError> {
        let snapshot = &segment.snapshot;
        let Some(anchor) = target.anchor.as_ref().map(Anchor::as_bytes) else {
            return Ok((self.lookup.by_foreseen_name(snapshot, &target.key, target.foreseen)?, false));
        };
        let mut found = self.lookup.by_anchor(snapshot, anchor_key(anchor), anchor)?;
        if found.is_none() {
            found = self.placeholder_of(anchor, snapshot)?;
        }
        if found.is_some() {
            return Ok((found, true));
        }
        let named = self.lookup.by_foreseen_name(snapshot, &target.key, target.foreseen)?;
        // Whoever has a key has another one.
        let other = named.map(|id| segment.has_anchor(id)).transpose()?;
        Ok((named.filter(|_| other != Some(true)), false))
    }

    /// Who stands for the object with an anchor, to which others refer and which nobody has reported.
    pub(super) fn placeholder_of(&self, anchor: &[u8], snapshot: &Snapshot) -> Result<Option<CsId>, EngineError> {
        if !self.options.references_have_anchors {
            return Ok(None);
        }
        let anchor = Anchor::of_placeholder(anchor);
        Ok(self.lookup.by_anchor(snapshot, anchor_key(anchor.as_bytes()), anchor.as_bytes())?)
    }

    /// A new placeholder: it stands for the object with an anchor, or else for whoever will have a name.
    pub(super) fn placeholder(
        &mut self,
        (key, dn): (&DnKey, &str),
        anchor: Option<&Anchor>,
        segment: &mut Segment<'_>,
    ) -> Result<CsId, EngineError> {
        let id = self.lookup.allocate();
        let mut object = CsObject::new(id, self.store.names().object_type("placeholder"), dn);
        object.link = Link::Placeholder;
        if let Some(anchor) = anchor.filter(|_| self.options.references_have_anchors) {
            let anchor = Anchor::of_placeholder(anchor.as_bytes());
            self.lookup.set_anchor(anchor_key(anchor.as_bytes()), id);
            object.anchor = Some(anchor);
        }
        self.name_placeholder(&mut object, key, dn, segment)?;
        segment.placeholders.insert(id, object);
        segment.referred.insert(id);
        Ok(id)
    }

    /// Gives a placeholder its name, or a temporary one when an object has that. Of two placeholders the one that was told later
    /// has it.
    fn name_placeholder(&mut self, object: &mut CsObject, key: &DnKey, dn: &str, segment: &mut Segment<'_>) -> Result<(), EngineError> {
        let holder = self.lookup.by_name(&segment.snapshot, key)?;
        if let Some(holder) = holder {
            object.transient = !segment.is_placeholder(holder)?;
            if object.transient {
                object.dn = transient_name(object.id);
                return Ok(());
            }
            displace(holder, segment)?;
        }
        (object.transient, object.dn) = (false, dn.into());
        self.lookup.set_name(key, object.id);
        Ok(())
    }

    /// An object that nobody reported has another name now.
    pub(super) fn rename_placeholder(&mut self, id: CsId, dn: &str, segment: &mut Segment<'_>) -> Result<(), EngineError> {
        let Ok(new) = Dn::parse(dn) else { return Ok(()) };
        let Some(mut object) = segment.other(id)? else { return Ok(()) };
        let old = Dn::parse(&object.dn).ok().filter(|_| !object.transient);
        if old.as_ref().is_none_or(|old| !old.same(&new)) {
            if let Some(old) = old {
                self.lookup.clear_name(&old.key(), id);
            }
            self.name_placeholder(&mut object, &new.key(), dn, segment)?;
        }
        segment.others.insert(id, object);
        Ok(())
    }

    /// An object was reported for which a placeholder stood, and is it, or takes its references.
    pub(super) fn replace(&mut self, placeholder: CsId, anchor: &[u8], id: CsId, segment: &mut Segment<'_>) -> Result<(), EngineError> {
        self.lookup.clear_anchor(anchor_key(Anchor::of_placeholder(anchor).as_bytes()));
        if placeholder == id {
            return Ok(());
        }
        if let Some(old) = segment.snapshot.cs_object(placeholder)?.filter(|old| !old.transient)
            && let Ok(dn) = Dn::parse(&old.dn)
        {
            self.lookup.clear_name(&dn.key(), placeholder);
        }
        take_over(placeholder, id, segment)
    }

    /// Where a directory gives names alone, only the end of a full import knows whom a name means that nobody has yet. What an entry
    /// loses for it does not count before: whatever breaks off must not be synchronized.
    pub(super) fn note_unsettled(&mut self, changes: &mut ChangeSet) {
        if self.verdict.is_none() {
            self.verdict = Some(Verdict::References);
            changes.states.extend(noting(self.options.connector, Verdict::References).states);
        }
    }

    /// True when an entry gives up somebody, and refers by the same attribute to a name that nobody has.
    pub(super) fn is_unsettled(
        &self,
        shown: &BTreeSet<(AttrId, CsId)>,
        rows: &[CsReference],
        snapshot: &Snapshot,
        new: &HashSet<CsId>,
    ) -> Result<bool, EngineError> {
        if !self.options.full || self.options.references_have_anchors {
            return Ok(false);
        }
        let lost: BTreeSet<AttrId> = rows.iter().filter(|row| row.state.removed(Stage::PendingImport)).map(|row| row.attr).collect();
        for (_, target) in lost.iter().flat_map(|attr| shown.range((*attr, CsId(0))..=(*attr, CsId(u64::MAX)))) {
            if new.contains(target) || snapshot.cs_link(*target)? == Some(Link::Placeholder) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A name is free that entries of this full import told as a reference already: they mean whoever takes it.
    pub(super) fn free_name(
        &mut self,
        (key, dn): (&DnKey, &str),
        loser: CsId,
        readers: Vec<(AttrId, CsId)>,
        segment: &mut Segment<'_>,
    ) -> Result<(), EngineError> {
        if !readers.is_empty() {
            self.note_unsettled(&mut segment.changes);
            let whoever = self.placeholder((key, dn), None, segment)?;
            follow_name(&readers, (loser, whoever), segment)?;
            self.freed.push(Freed { whoever, loser, readers });
        }
        Ok(())
    }

    /// Nobody took the name: those who told it were read before the object was renamed, and mean that one.
    pub(super) fn give_back(&mut self, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        for freed in std::mem::take(&mut self.freed).chunks(BATCH) {
            let mut segment = Segment::new(self.store.snapshot()?);
            for Freed { whoever, loser, readers } in freed {
                let place = segment.snapshot.cs_object(*whoever)?.filter(|place| place.link == Link::Placeholder);
                // Who could not be used had it, and is not the loser.
                let anothers = |place: &CsObject| Dn::parse(&place.dn).is_ok_and(|dn| self.refused.unusable.contains(&dn.key()));
                if place.is_none_or(|place| anothers(&place)) {
                    continue;
                }
                follow_name(readers, (*whoever, *loser), &mut segment)?;
                if segment.snapshot.cs_referrers(*whoever)?.iter().all(|reader| readers.contains(reader)) {
                    segment.changes.cs_delete.push(*whoever);
                }
            }
            self.flush(segment, recorder)?;
        }
        Ok(())
    }

    /// An entry that cannot be used may be somebody under a new name whom nobody reported. So whoever refers to it by that name goes on
    /// referring to those of them, too, who would go with it. The next entry of the referrer is compared, whatever it says.
    pub(super) fn keep_references(&mut self, whole: bool, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let names = std::mem::take(&mut self.refused.unusable);
        if self.options.references_have_anchors {
            return Ok(());
        }
        let snapshot = self.store.snapshot()?;
        let mut referrers = BTreeSet::new();
        for name in &names {
            let Some(place) = self.lookup.by_name(&snapshot, name)? else { continue };
            if snapshot.cs_link(place)? != Some(Link::Placeholder) {
                continue;
            }
            for (attr, owner) in snapshot.cs_referrers(place)? {
                if snapshot.cs_reference(owner, attr, place)?.present(StageMask::IMPORTED) {
                    referrers.insert((owner, attr));
                }
            }
        }
        drop(snapshot);
        let mut kept = 0;
        for part in referrers.into_iter().collect::<Vec<_>>().chunks(BATCH) {
            let mut segment = Segment::new(self.store.snapshot()?);
            for (owner, attr) in part.iter().copied() {
                for row in segment.snapshot.cs_touched_references(owner)? {
                    let lost = row.attr == attr && row.state.removed(Stage::PendingImport);
                    let untold = self.unread.contains(&row.target) || (whole && !self.lookup.is_seen(row.target));
                    if lost && untold && segment.snapshot.cs_object(row.target)?.is_some_and(|object| object.imported()) {
                        keep((owner, attr, row.target), &mut segment)?;
                        kept += 1;
                    }
                }
            }
            self.flush(segment, recorder)?;
        }
        if kept > 0 {
            recorder.note(format!(
                "{} that nobody tells of any more: whoever has them refers to an entry that could not be used, which may be the same under \
                 a new name",
                counted(kept, "reference stays", "references stay")
            ));
        }
        Ok(())
    }

    /// Turns names of targets into objects, with placeholders for those nobody has reported. With it, whether something was
    /// taken away under a name that leads nowhere, so that what is left is not sure.
    pub(super) fn resolve(
        &mut self,
        owner: CsId,
        told: Vec<(AttrId, Operation, Vec<Target>)>,
        before: &[CsReference],
        segment: &mut Segment<'_>,
    ) -> Result<(BTreeSet<(AttrId, CsId)>, bool), EngineError> {
        let imported = before.iter().filter(|row| row.state.present(StageMask::IMPORTED));
        let mut shown: Vec<(AttrId, CsId)> = imported.map(|row| (row.attr, row.target)).collect();
        let mut unclear = false;
        for (attr, operation, targets) in told {
            if operation == Operation::Replace {
                shown.retain(|(other, _)| *other != attr);
            }
            let had: HashSet<CsId> = match operation {
                Operation::Remove => shown.iter().filter(|(other, _)| *other == attr).map(|(_, target)| *target).collect(),
                _ => HashSet::new(),
            };
            let mut gone = HashSet::new();
            for target in targets {
                let (found, by_anchor) = self.target(&target, segment)?;
                match (found, operation) {
                    (Some(id), Operation::Remove) => {
                        unclear |= !by_anchor && target.anchor.is_some() && !had.contains(&id);
                        gone.insert((attr, id));
                    }
                    (None, Operation::Remove) => unclear |= target.anchor.is_some(),
                    (Some(id), _) => {
                        shown.push((attr, id));
                        if !by_anchor && !self.options.full && !self.options.references_stay {
                            self.told_by_name.insert((owner, id));
                        }
                    }
                    (None, _) => {
                        let placeholder = self.placeholder((&target.key, &target.dn), target.anchor.as_ref(), segment)?;
                        shown.push((attr, placeholder));
                    }
                }
            }
            shown.retain(|row| !gone.contains(row));
        }
        Ok((shown.into_iter().collect(), unclear))
    }
}
