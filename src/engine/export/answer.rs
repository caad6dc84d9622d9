//! What a target answered, turned into the new state of each object.

use super::super::describe::called;
use super::super::{EngineError, StepRecorder};
use super::prepare::Sent;
use super::{Answer, Run, broken_off, deltas, guards};
use crate::connector::{ExportKind, ExportOutcome, ExportRejection};
use crate::model::{
    Anchor, CsId, CsObject, CsReference, DeltaKind, ErrorSide, FlatBuilder, Link, ObjectError, ObjectErrorCode, Stage, StageDelta,
    ValueState,
};
use crate::store::{ChangeSet, CounterName, DirtyReason, Snapshot, StepObject, StoreError};
use std::borrow::Cow;
use std::collections::HashMap;

/// The target has another object with a value, or the key, that only one object may have.
const CONFLICTS: &[ObjectErrorCode] =
    &[ObjectErrorCode::ATTRIBUTE_VALUE_MUST_BE_UNIQUE, ObjectErrorCode::INVALID_SOFT_MATCH, ObjectErrorCode::OBJECT_TYPE_MISMATCH];

impl Run<'_> {
    /// Takes the answer for a whole batch; `None` when the call broke off.
    pub(super) fn answer(
        &mut self,
        sent: Vec<Sent>,
        answer: Option<Answer>,
        changes: &mut ChangeSet,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
        let answer = answer.unwrap_or_else(|| Err(broken_off()));
        // Whatever the answer is: from now on the object itself says what it is called, or that nobody knows.
        for sent in &sent {
            self.moving.remove(&sent.id);
        }
        let snapshot = self.store.snapshot()?;
        match answer {
            Ok(reply) => {
                let (outcomes, error) = reply.into_parts();
                let mut soft_matched = Vec::new();
                // A reply has an outcome for each operation, in the order in which they were sent.
                for (sent, (_, outcome)) in sent.into_iter().zip(outcomes) {
                    recorder.advance(1);
                    let Some(sent) = self.as_stored(&snapshot, sent)? else { continue };
                    match outcome {
                        ExportOutcome::Accepted { anchor } => match self.other_holder(&snapshot, &sent.object, anchor.as_ref())? {
                            Some(other) => soft_matched.push((sent, other)),
                            None => self.accepted(&snapshot, sent, anchor, changes, recorder)?,
                        },
                        ExportOutcome::Rejected(rejection) => self.rejected(&snapshot, sent, &rejection, changes, recorder)?,
                        ExportOutcome::Unknown => self.outcome.unknown += 1,
                        ExportOutcome::Unsent => {
                            call_back(sent.object, &sent.rows, changes);
                        }
                    }
                }
                if let Some(error) = error {
                    self.stop(error.into());
                }
                if !soft_matched.is_empty() {
                    // Rare, and each may move references of the others: one commit each.
                    self.commit(changes)?;
                    for (sent, other) in soft_matched {
                        self.merge(sent, other, changes, recorder)?;
                        self.commit(changes)?;
                    }
                }
            }
            Err(error) => {
                if error.nothing_sent {
                    for sent in sent {
                        if let Some(sent) = self.as_stored(&snapshot, sent)? {
                            call_back(sent.object, &sent.rows, changes);
                        }
                    }
                } else {
                    self.outcome.unknown += sent.len() as u64;
                }
                self.stop(error.into());
            }
        }
        if self.outcome.refused > self.options.errors_max {
            let (name, limit) = (&self.options.name, self.options.errors_max);
            let message = format!(
                "{name} refused {} objects, among them {}, and more than {limit} end an export: nothing more was sent. Look at them by `syncline errors`; \
                 `syncline export '{name}'` tries everything once more that waits, and `syncline config set limits.object_errors NUMBER` lets more \
                 of them pass",
                self.outcome.refused,
                self.refused_names.join("; ")
            );
            self.stop(EngineError::Guard { result: "stopped-error-limit", message });
        }
        Ok(())
    }

    /// What was handed over, as the store has it now: nobody but a merge changes an object that is under way, or the
    /// targets of its references. `None` when it is gone.
    fn as_stored(&self, snapshot: &Snapshot, mut sent: Sent) -> Result<Option<Sent>, StoreError> {
        if self.merged {
            let Some(object) = snapshot.cs_object(sent.id)? else { return Ok(None) };
            sent.object = object;
            for row in &mut sent.rows {
                row.state = snapshot.cs_reference(sent.id, row.attr, row.target)?;
            }
        }
        Ok(Some(sent))
    }

    /// The object, other than the one sent, that already has the key which the target gave.
    fn other_holder(&self, snapshot: &Snapshot, sent: &CsObject, anchor: Option<&Anchor>) -> Result<Option<CsId>, StoreError> {
        // One object has a key, so whoever has it already needs not be looked for.
        let Some(anchor) = anchor.filter(|anchor| sent.anchor.as_ref() != Some(*anchor)) else { return Ok(None) };
        let holder = snapshot.cs_by_anchor(self.options.connector, anchor.as_bytes())?;
        Ok(holder.filter(|holder| *holder != sent.id))
    }

    fn accepted(
        &mut self,
        snapshot: &Snapshot,
        mut sent: Sent,
        anchor: Option<Anchor>,
        changes: &mut ChangeSet,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), StoreError> {
        let mut object = sent.take_object();
        deltas::acknowledge_object(&mut object);
        if sent.kind != ExportKind::Delete {
            object.anchor = anchor.or(object.anchor);
        }
        acknowledge_rows(&sent.rows, changes);
        // What the target keeps aside is looked at behind the confirming import.
        if snapshot.error(sent.id, ErrorSide::Export)?.is_some_and(|error| !error.is_kept_aside()) {
            changes.errors.push((sent.id, ErrorSide::Export, None));
        }
        changes.cs_put.push(object);
        self.count(sent, changes, recorder);
        Ok(())
    }

    /// Counts an accepted object, once however many batches it took.
    fn count(&mut self, sent: Sent, changes: &mut ChangeSet, recorder: &mut StepRecorder<'_>) {
        let counter = match sent.kind {
            ExportKind::Add => "export-add",
            ExportKind::Update if sent.renamed => "export-rename",
            ExportKind::Update => "export-update",
            ExportKind::Delete => "export-delete",
        };
        let goes_on = self.waiting.ids.contains(&sent.id);
        let counted = if goes_on { !self.counted.insert(sent.id) } else { self.counted.contains(&sent.id) };
        if !counted {
            self.outcome.sent += 1;
            self.accepted += 1;
            self.tell(counter, sent, changes, recorder);
        }
    }

    /// Counts an object and keeps what was sent for the history.
    fn tell(&self, counter: &'static str, sent: Sent, changes: &mut ChangeSet, recorder: &mut StepRecorder<'_>) {
        let (run, step) = self.options.step;
        recorder.count(counter, 1);
        let object = StepObject { counter: CounterName(Cow::Borrowed(counter)), id: sent.id, dn: sent.dn, changes: sent.changes };
        changes.step_objects.push((run, step, object));
    }

    fn rejected(
        &mut self,
        snapshot: &Snapshot,
        mut sent: Sent,
        rejection: &ExportRejection,
        changes: &mut ChangeSet,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), StoreError> {
        self.waiting.ids.remove(&sent.id);
        let missing = [ObjectErrorCode::CD_MISSING_OBJECT, ObjectErrorCode::OBJECT_NOT_FOUND].contains(&rejection.code);
        if missing && sent.kind == ExportKind::Delete {
            // What should be gone is gone.
            return self.accepted(snapshot, sent, None, changes, recorder);
        }
        let exists_already = rejection.code == ObjectErrorCode::CD_EXISTING_OBJECT && sent.kind == ExportKind::Add;
        let second_chance = exists_already || rejection.code == ObjectErrorCode::DN_ATTRIBUTES_FAILURE;
        // Who holds the value may be among those that leave in this very export.
        let behind_deletes = self.deletes_follow && CONFLICTS.contains(&rejection.code);
        if (second_chance || behind_deletes) && self.retried.insert(sent.id) {
            let object = call_back(sent.object, &sent.rows, changes);
            if exists_already {
                object.stage_mut(Stage::PendingExport).kind = DeltaKind::Update;
            }
            if second_chance {
                self.again.insert(sent.id)
            } else {
                self.behind_deletes.insert(sent.id)
            };
            return Ok(());
        }
        let object = sent.take_object();
        if missing && sent.kind == ExportKind::Update {
            vanished(snapshot, object, changes)?;
        } else {
            call_back(object, &sent.rows, changes);
        }
        self.refused(snapshot, sent, rejection, changes, recorder)
    }

    fn refused(
        &mut self,
        snapshot: &Snapshot,
        sent: Sent,
        rejection: &ExportRejection,
        changes: &mut ChangeSet,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), StoreError> {
        self.outcome.sent += 1;
        self.outcome.refused += 1;
        if self.refused_names.len() < guards::NAMED {
            let name = snapshot.cs_object(sent.id)?.map(|object| called(self.store.names(), &object));
            self.refused_names.push(name.unwrap_or_else(|| sent.dn.clone()));
        }
        let mut detail = rejection.detail.clone();
        for part in [&rejection.attribute, &rejection.conflicting_object].into_iter().flatten() {
            if !detail.contains(part.as_str()) {
                detail.push_str("; ");
                detail.push_str(part);
            }
        }
        let earlier = snapshot.error(sent.id, ErrorSide::Export)?;
        let error = ObjectError::new(rejection.code.clone(), detail, self.cx.now()).after(earlier.as_ref());
        changes.errors.push((sent.id, ErrorSide::Export, Some(error)));
        self.tell("export-failure", sent, changes, recorder);
        Ok(())
    }

    /// The target matched a new object of ours with one it had, and that one was imported before: both rows become
    /// one, and the imported number stays (architecture 16.5).
    fn merge(&mut self, sent: Sent, other: CsId, changes: &mut ChangeSet, recorder: &mut StepRecorder<'_>) -> Result<(), StoreError> {
        let snapshot = self.store.snapshot()?;
        let (Some(mut sent), Some(theirs)) = (self.as_stored(&snapshot, sent)?, snapshot.cs_object(other)?) else { return Ok(()) };
        let ours = sent.take_object();
        let free = matches!(theirs.link, Link::Disconnected | Link::DisconnectedByFilter);
        if !free || ours.in_base || ours.object_type != theirs.object_type {
            let rejection = ExportRejection {
                code: ObjectErrorCode::DUPLICATE_ANCHOR,
                detail: format!(
                    "the target says that {} is the object {}, which belongs to somebody else here: give each its own source anchor, \
                     or disconnect one of them",
                    called(self.store.names(), &ours),
                    called(self.store.names(), &theirs)
                ),
                conflicting_object: None,
                attribute: None,
            };
            self.waiting.ids.remove(&sent.id);
            call_back(ours, &sent.rows, changes);
            return self.refused(&snapshot, sent, &rejection, changes, recorder);
        }
        self.merged = true;
        let mut merged = theirs;
        let mut ours = ours;
        deltas::acknowledge_object(&mut ours);
        acknowledge_rows(&sent.rows, changes);
        // What the acknowledgement set for our rows is carried over to the other number.
        let acknowledged: HashMap<_, _> =
            std::mem::take(&mut changes.cs_reference).into_iter().map(|row| ((row.attr, row.target), row.state)).collect();
        for row in snapshot.cs_references(sent.id)? {
            let state = acknowledged.get(&(row.attr, row.target)).copied().unwrap_or(row.state);
            let present = snapshot.cs_reference(other, row.attr, row.target)?;
            changes.cs_reference.push(CsReference { state: ValueState::ABSENT, ..row });
            let target = if row.target == sent.id { other } else { row.target };
            changes.cs_reference.push(CsReference { owner: other, attr: row.attr, target, state: laid_over(present, state) });
        }
        for (attr, owner) in snapshot.cs_referrers(sent.id)?.into_iter().filter(|(_, owner)| *owner != sent.id) {
            let state = snapshot.cs_reference(owner, attr, sent.id)?;
            let present = snapshot.cs_reference(owner, attr, other)?;
            changes.cs_reference.push(CsReference { owner, attr, target: sent.id, state: ValueState::ABSENT });
            changes.cs_reference.push(CsReference { owner, attr, target: other, state: laid_over(present, state) });
        }
        merged.dn = ours.dn.clone();
        merged.link = ours.link;
        merged.values = merge_values(&merged, &ours);
        for stage in [Stage::Unconfirmed, Stage::PendingExport] {
            let delta = std::mem::take(ours.stage_mut(stage));
            // It exists, so what was an add is a change of it.
            let kind = if delta.kind == DeltaKind::Add { DeltaKind::Update } else { delta.kind };
            *merged.stage_mut(stage) = StageDelta { kind, rename: delta.rename };
        }
        changes.cs_put.push(merged);
        changes.cs_hash.push((other, None));
        changes.cs_delete.push(sent.id);
        changes.dirty.push((other, Some(DirtyReason::Consequence)));
        let id = sent.id;
        self.count(sent, changes, recorder);
        if self.waiting.ids.remove(&id) {
            self.waiting.ids.insert(other);
            self.counted.insert(other);
        }
        Ok(())
    }
}

/// One number's state with the deltas of the other laid over it.
fn laid_over(present: ValueState, ours: ValueState) -> ValueState {
    [Stage::Unconfirmed, Stage::PendingExport].into_iter().fold(present, |state, stage| {
        if ours.added(stage) {
            state.with_added(stage)
        } else if ours.removed(stage) {
            state.with_removed(stage)
        } else {
            state
        }
    })
}

fn merge_values(theirs: &CsObject, ours: &CsObject) -> crate::model::FlatValues {
    let mut builder = FlatBuilder::with_capacity(
        theirs.values.entries().len() + ours.values.entries().len(),
        theirs.values.heap().len() + ours.values.heap().len(),
    );
    // The first of equal values keeps its state: ours, laid over theirs.
    for item in ours.values.iter() {
        let present = theirs.values.attribute(item.attr).find(|other| other.value == item.value);
        let present = present.map_or(ValueState::ABSENT, |other| ValueState(other.flags));
        let state = laid_over(present, ValueState(item.flags));
        if !state.is_absent() {
            builder.push(item.attr, item.value, state.0);
        }
    }
    for item in theirs.values.iter() {
        let one = |object: &CsObject| object.values.attribute(item.attr).count() == 1;
        let sent =
            ours.values.attribute(item.attr).any(|sent| ValueState(sent.flags).added(Stage::Unconfirmed) && sent.value != item.value);
        // What we sent has taken the place of what was there: nobody else changed it.
        let replaced = sent && one(theirs) && one(ours);
        let state = ValueState(item.flags);
        builder.push(item.attr, item.value, if replaced { state.with_removed(Stage::Unconfirmed) } else { state }.0);
    }
    builder.finish()
}

fn acknowledge_rows(rows: &[CsReference], changes: &mut ChangeSet) {
    changes.cs_reference.extend(rows.iter().map(|row| CsReference { state: deltas::acknowledged(row.state), ..*row }));
}

/// Takes back what was handed over; gives the object, as it stands in the set, for further changes.
pub(super) fn call_back<'c>(mut object: CsObject, rows: &[CsReference], changes: &'c mut ChangeSet) -> &'c mut CsObject {
    changes.cs_reference.extend(rows.iter().map(|row| CsReference { state: deltas::called_back(row.state), ..*row }));
    deltas::call_back_object(&mut object);
    changes.cs_put.push(object);
    let last = changes.cs_put.len() - 1;
    &mut changes.cs_put[last]
}

/// The target does not have what we wanted to change: as if it had acknowledged a delete. The next synchronization
/// wants the object again, whole.
fn vanished(snapshot: &Snapshot, mut object: CsObject, changes: &mut ChangeSet) -> Result<(), StoreError> {
    for row in snapshot.cs_touched_references(object.id)? {
        let state = deltas::withdrawn(row.state);
        if state != row.state {
            changes.cs_reference.push(CsReference { state, ..row });
        }
    }
    deltas::rewrite(&mut object.values, |_, state| deltas::withdrawn(state));
    for stage in [Stage::InProgress, Stage::PendingExport] {
        *object.stage_mut(stage) = StageDelta::default();
    }
    *object.stage_mut(Stage::Unconfirmed) = StageDelta { kind: DeltaKind::Delete, rename: None };
    changes.dirty.push((object.id, Some(DirtyReason::Consequence)));
    changes.cs_put.push(object);
    Ok(())
}
