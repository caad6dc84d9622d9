//! The end of an import: what nobody reported, and whether to believe that it is gone.

use super::{AskAgain, EngineError, Import, StepRecorder};
use crate::connector::Completion;
use crate::model::{Anchor, CsObject, DeltaKind, ErrorSide, Link, ObjectError, ObjectErrorCode, Stage, StageDelta, StageMask, ValueState};
use crate::store::{ChangeSet, DirtyReason, Snapshot};

/// Objects per transaction.
const BATCH: usize = 1_000;
/// Objects to ask a directory for again at once.
const ASKED_AT_ONCE: usize = 200;
/// How many objects without a name of their own are named; of the others the number is told.
const NAMED: usize = 20;

impl Import<'_> {
    pub(super) fn finish(
        mut self,
        completion: &Completion,
        ask_again: &mut AskAgain<'_>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<&'static str, EngineError> {
        self.ask_for_unknown(ask_again, recorder)?;
        let whole = self.options.full || completion.answered_in_full;
        if whole && self.unidentified == 0 {
            self.obsolete(ask_again, recorder)?;
        }
        self.renew_referrers(ask_again, recorder)?;
        let nameless = self.nameless(recorder)?;
        // An entry of a full import that could not be used is reported again by whoever corrects it; one of a delta is
        // not, if only what it said was wrong for us.
        let lost = if whole { self.unidentified > 0 } else { self.problems > 0 };
        let mut changes = ChangeSet::new();
        self.final_states(completion, lost || nameless, &mut changes);
        self.commit(changes, recorder)?;
        let surprised = self.tell_surprises(recorder) | self.warned;
        Ok(match (self.problems, nameless, surprised) {
            (0, false, false) => "success",
            (0, false, true) => "completed-warnings",
            (0, true, _) => "completed-transient-objects",
            _ => "completed-discovery-errors",
        })
    }

    /// Stages deletes for what was not reported, after the guard has had its say and the directory was asked again.
    fn obsolete(&mut self, ask_again: &mut AskAgain<'_>, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let mut snapshot = self.store.snapshot()?;
        let mut unseen = self.lookup.unseen(&snapshot)?;
        let mut missing = 0u64;
        let mut sample = Vec::new();
        let mut anchors: Vec<Anchor> = Vec::new();
        for id in &unseen {
            let Some(object) = snapshot.cs_object(*id)? else { continue };
            // A delete that we asked for is no surprise.
            let asked = [Stage::Unconfirmed, Stage::InProgress].iter().any(|stage| object.stage(*stage).kind == DeltaKind::Delete);
            if object.link != Link::Placeholder && object.imported() && !asked {
                missing += 1;
                anchors.extend(object.anchor);
                if sample.len() < 3 {
                    sample.push(object.dn);
                }
            }
        }
        self.guard(missing, &sample)?;
        for asked in anchors.chunks(ASKED_AT_ONCE) {
            if self.cx.cancelled() {
                return Err(EngineError::Cancelled);
            }
            let Some(pages) = ask_again(asked)? else { break };
            for page in &pages {
                self.stage(page, recorder)?;
            }
        }
        if !anchors.is_empty() {
            snapshot = self.store.snapshot()?;
            unseen.retain(|id| !self.lookup.is_seen(*id));
        }
        if self.unidentified > 0 {
            // One of the answers may be about anybody.
            return Ok(());
        }
        for chunk in unseen.chunks(BATCH) {
            let mut changes = ChangeSet::new();
            for id in chunk {
                if let Some(object) = snapshot.cs_object(*id)? {
                    self.leave(object, &snapshot, &mut changes, recorder)?;
                }
            }
            self.commit(changes, recorder)?;
        }
        Ok(())
    }

    /// Reads those once more whose references may mean somebody else now, and who were not told as changed.
    fn renew_referrers(&mut self, ask_again: &mut AskAgain<'_>, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let outdated = std::mem::take(&mut self.outdated);
        let snapshot = self.store.snapshot()?;
        let mut anchors = Vec::new();
        for id in outdated {
            anchors.extend(snapshot.cs_object(id)?.filter(CsObject::imported).and_then(|object| object.anchor));
        }
        drop(snapshot);
        for asked in anchors.chunks(ASKED_AT_ONCE) {
            if self.cx.cancelled() {
                return Err(EngineError::Cancelled);
            }
            let Some(pages) = ask_again(asked)? else { break };
            for page in &pages {
                self.stage(page, recorder)?;
            }
        }
        Ok(())
    }

    /// Names the objects whose name another one took and that were reported neither under a new name nor as gone. True
    /// when there are any.
    fn nameless(&self, recorder: &mut StepRecorder<'_>) -> Result<bool, EngineError> {
        let snapshot = self.store.snapshot()?;
        let mut count = 0;
        for id in &self.displaced {
            let Some(object) = snapshot.cs_object(*id)?.filter(|object| object.transient && object.imported()) else { continue };
            let name = object.stage(Stage::PendingImport).rename.as_deref().unwrap_or(&object.dn);
            recorder.object("transient-objects", *id, name, Vec::new());
            count += 1;
            if count <= NAMED {
                let detail = "another object has its name now, and its own new name was not reported; a full import will tell";
                recorder.note(format!("transient-object: {name}: {detail}"));
            }
        }
        if count > NAMED {
            recorder.note(format!("transient-object: {} more objects", count - NAMED));
        }
        Ok(count > 0)
    }

    /// Refuses to believe that a directory lost much of what it had.
    fn guard(&self, missing: u64, sample: &[Box<str>]) -> Result<(), EngineError> {
        if missing == 0 || self.options.allow_shrink {
            return Ok(());
        }
        let known = missing + self.kept;
        let share = missing.saturating_mul(100) > known.saturating_mul(u64::from(self.options.shrink_percent_max));
        let empty = self.kept == 0;
        if !empty && !share {
            return Ok(());
        }
        let what = if empty {
            "the directory reported none of the objects it had".to_owned()
        } else {
            format!("the directory no longer reports {missing} of {known} objects")
        };
        let message = format!(
            "{what}, among them {}; nothing was staged as deleted. Look at the account's rights, the base and the filters; \
             if they are really gone, allow it once with `--allow-shrink`",
            sample.join("; ")
        );
        Err(EngineError::Guard { result: "stopped-shrink-guard", message })
    }

    fn leave(
        &mut self,
        object: CsObject,
        snapshot: &Snapshot,
        changes: &mut ChangeSet,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
        if object.link == Link::Placeholder {
            if snapshot.cs_referrers(object.id)?.is_empty() {
                changes.cs_delete.push(object.id);
            }
            return Ok(());
        }
        if object.imported() {
            self.notice_gone(&object, recorder);
            self.note_outdated(&snapshot.cs_referrers(object.id)?);
            super::page::stage_delete(object, changes, recorder);
            return Ok(());
        }
        let sent = [Stage::Unconfirmed, Stage::InProgress].into_iter().find(|stage| object.stage(*stage).is_some());
        if let Some(stage) = sent {
            self.not_arrived(object, stage, snapshot, changes)?;
        }
        Ok(())
    }

    /// An add that the target acknowledged, or never answered, and does not have: it is wanted again.
    fn not_arrived(&self, mut object: CsObject, stage: Stage, snapshot: &Snapshot, changes: &mut ChangeSet) -> Result<(), EngineError> {
        let id = object.id;
        let again = |state: ValueState| {
            let wanted = state.present(StageMask::WANTED);
            let cleared = state.without(Stage::Unconfirmed).without(Stage::InProgress).without(Stage::PendingExport);
            cleared.with_target(StageMask::EXPECTED, Stage::PendingExport, wanted)
        };
        for index in 0..object.values.entries().len() {
            let state = ValueState(object.values.entries()[index].flags);
            object.values.set_flags(index, again(state).0);
        }
        for mut row in snapshot.cs_touched_references(id)? {
            row.state = again(row.state);
            changes.cs_reference.push(row);
        }
        let deleted = object.stage(Stage::PendingExport).kind == DeltaKind::Delete
            || [Stage::Unconfirmed, Stage::InProgress].iter().any(|stage| object.stage(*stage).kind == DeltaKind::Delete);
        for stage in [Stage::Unconfirmed, Stage::InProgress] {
            *object.stage_mut(stage) = StageDelta::default();
        }
        if deleted {
            // Sent as an add and as a delete, and not there: nothing is left to do.
            changes.cs_delete.push(id);
            return Ok(());
        }
        object.anchor = None;
        object.stage_mut(Stage::PendingExport).kind = DeltaKind::Add;
        if stage == Stage::Unconfirmed {
            changes.errors.push((id, ErrorSide::Import, Some(self.unconfirmed_add())));
        }
        changes.dirty.push((id, Some(DirtyReason::Consequence)));
        changes.cs_put.push(object);
        Ok(())
    }

    fn unconfirmed_add(&self) -> ObjectError {
        let detail = "the target accepted the object and does not show it; it is sent again with the next export";
        ObjectError::new(ObjectErrorCode::EXPORTED_CHANGE_NOT_REIMPORTED, detail, self.cx.now())
    }
}
