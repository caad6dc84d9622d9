//! Entries that tell of objects which are no more, or left under another name.

use super::lookup::Key;
use super::segment::{Segment, drop_references};
use super::{EngineError, Import, StepRecorder};
use crate::connector::{Departure, EntryRef, PageItem};
use crate::model::{CsObject, DeltaKind, Link, Stage, ValueState};
use crate::store::ChangeSet;

impl Import<'_> {
    /// An object that left under another name takes that name before it goes: references to it stay, and are found
    /// under this name when it comes back.
    pub(super) fn renamed_first<'p>(
        &self,
        item: &PageItem<'p>,
        anchor: Option<Key>,
        segment: &Segment<'_>,
    ) -> Result<Option<PageItem<'p>>, EngineError> {
        let PageItem::Gone(entry) = item else { return Ok(None) };
        if entry.departure() != Some(Departure::Left) || entry.dn().is_empty() {
            return Ok(None);
        }
        let mut known = self.by_anchor(entry, anchor, &segment.snapshot)?;
        if known.is_none() {
            known = self.by_name(entry.former_dn(), &segment.snapshot)?;
        }
        let Some(id) = known else { return Ok(None) };
        let known = segment.entries.contains(&id) || segment.snapshot.cs_object(id)?.is_some_and(|object| object.imported());
        Ok(known.then_some(PageItem::Change(*entry)))
    }

    /// A tombstone. False when it has to wait for the segment.
    pub(super) fn gone(
        &mut self,
        entry: &EntryRef<'_>,
        anchor: Option<Key>,
        segment: &mut Segment<'_>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<bool, EngineError> {
        let mut known = self.by_anchor(entry, anchor, &segment.snapshot)?;
        if let (None, Some(anchor)) = (known, entry.anchor()) {
            known = self.placeholder_of(anchor, &segment.snapshot)?;
        }
        if known.is_none() {
            known = self.by_name(entry.dn(), &segment.snapshot)?;
            if known.is_none() {
                known = self.by_name(entry.former_dn(), &segment.snapshot)?;
            }
            // Another object may have the name by now: one with a key of its own is not the one meant by another key.
            let own_key =
                |object: &CsObject| object.anchor.is_some() && (object.link != Link::Placeholder || self.options.references_have_anchors);
            if let (Some(id), Some(_)) = (known, entry.anchor())
                && !segment.has(id)
                && segment.snapshot.cs_object(id)?.is_some_and(|object| own_key(&object))
            {
                known = None;
            }
        }
        if known.is_some_and(|id| segment.has(id) || segment.placeholders.contains_key(&id)) {
            return Ok(false);
        }
        let object = known.map(|id| segment.snapshot.cs_object(id)).transpose()?.flatten();
        if let (Some(object), Some(Departure::Deleted)) = (&object, entry.departure()) {
            if segment.refers_to(object.id)? {
                return Ok(false);
            }
            drop_references(object.id, segment, recorder)?;
        }
        let Some(object) = object.filter(|object| object.link != Link::Placeholder) else {
            if let (Some(id), Some(Departure::Left)) = (known, entry.departure()) {
                self.rename_placeholder(id, entry.dn(), segment)?;
            }
            let name = Some(entry.former_dn()).filter(|former| !former.is_empty()).unwrap_or(entry.dn());
            self.refused.leave(entry.anchor(), name);
            recorder.count("filtered-deletes", 1);
            return Ok(true);
        };
        self.notice_gone(&object, recorder);
        let referrers = segment.snapshot.cs_referrers(object.id)?;
        self.note_outdated(object.id, &referrers);
        segment.entries.insert(object.id);
        self.displaced.remove(&object.id);
        stage_delete(object, &mut segment.changes, recorder);
        Ok(true)
    }
}

/// Stages the deletion of an object that the directory no longer has.
pub(super) fn stage_delete(mut object: CsObject, changes: &mut ChangeSet, recorder: &mut StepRecorder<'_>) {
    if !object.imported() {
        return;
    }
    recorder.object("stage-delete", object.id, &object.dn, Vec::new());
    mark_gone(&mut object);
    changes.cs_hash.push((object.id, None));
    changes.cs_put.push(object);
}

/// Its directory no longer has it: nothing that was exported or staged counts any more.
pub(super) fn mark_gone(object: &mut CsObject) {
    for index in 0..object.values.entries().len() {
        let state = ValueState(object.values.entries()[index].flags);
        object.values.set_flags(index, state.without(Stage::PendingImport).without(Stage::Unconfirmed).without(Stage::InProgress).0);
    }
    for stage in [Stage::Unconfirmed, Stage::InProgress, Stage::PendingExport] {
        *object.stage_mut(stage) = crate::model::StageDelta::default();
    }
    object.stage_mut(Stage::PendingImport).kind = DeltaKind::Delete;
}
