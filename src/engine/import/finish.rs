//! The end of an import: what nobody reported, and whether to believe that it is gone.

use super::disbelief::noting;
use super::{AskAgain, EngineError, Import, LastLook, StepRecorder, Verdict};
use crate::connector::Completion;
use crate::model::{
    Anchor, CsId, CsObject, DeltaKind, ErrorSide, Link, ObjectError, ObjectErrorCode, ObjectType, Stage, StageDelta, StageMask, ValueState,
};
use crate::store::{ChangeSet, DirtyReason, Snapshot};
use std::collections::BTreeMap;

/// So many missing objects are named.
const SAMPLED: usize = 3;
/// Objects per transaction.
const BATCH: usize = 1_000;
/// Objects to ask a directory for again at once.
pub(super) const ASKED_AT_ONCE: usize = 200;
/// Fewer missing objects of one type are no matter for the guard, whatever their share.
const OF_A_TYPE: u64 = 10;
/// How many objects without a name of their own are named; of the others the number is told.
const NAMED: usize = 20;

/// Objects that a full import did not report.
#[derive(Default)]
struct Missing {
    count: u64,
    /// How many of them have lost their names to others in this import.
    displaced: u64,
    /// Some of them, by name.
    sample: Vec<Box<str>>,
    by_type: BTreeMap<ObjectType, MissingOfType>,
}

#[derive(Default)]
struct MissingOfType {
    count: u64,
    sample: Vec<Box<str>>,
}

impl Missing {
    fn add(&mut self, mut object: CsObject) {
        self.displaced += u64::from(object.transient);
        // A temporary name says nothing to people, and goes with what the import staged.
        let own = object.stage_mut(Stage::PendingImport).rename.take();
        let name = own.filter(|_| object.transient).unwrap_or(object.dn);
        let of_type = self.by_type.entry(object.object_type).or_default();
        self.count += 1;
        of_type.count += 1;
        if of_type.sample.len() < SAMPLED {
            of_type.sample.push(name.clone());
        }
        if self.sample.len() < SAMPLED {
            self.sample.push(name);
        }
    }
}

impl Import<'_> {
    pub(super) fn finish(
        mut self,
        completion: &Completion,
        ask_again: &mut AskAgain<'_>,
        last_look: &mut LastLook<'_>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<&'static str, EngineError> {
        self.ask_for_unknown(ask_again, recorder)?;
        let whole = self.options.full || completion.answered_in_full;
        // An entry that is read by itself has no place to go on from, and says nothing of others.
        let goes_on = !whole && completion.watermark.is_some();
        if goes_on {
            self.ask_for_lacking(ask_again, recorder)?;
        }
        if whole {
            self.guard_losses(recorder)?;
        }
        // All that the directory is asked comes before anybody is taken for gone: what breaks off here deletes nobody.
        let missing = if whole { self.missing(ask_again, recorder)? } else { Vec::new() };
        if whole {
            last_look(recorder)?;
            self.obsolete(&missing, recorder)?;
        }
        if !whole || !self.outdated.is_empty() {
            let renewed = self.renew_referrers(ask_again, recorder).and_then(|()| last_look(recorder));
            if let Err(error) = renewed {
                // Guards take back what they stop.
                if let Some(verdict) = self.verdict.filter(|_| !matches!(error, EngineError::Guard { .. })) {
                    self.disbelieve(verdict, recorder)?;
                }
                return Err(error);
            }
        }
        self.give_back(recorder)?;
        self.keep_references(whole, recorder)?;
        let mut changes = ChangeSet::new();
        let nameless = self.nameless(&mut changes, recorder)?;
        // An entry of a full import that could not be used is reported again by whoever corrects it; one of a delta is
        // not, if only what it said was wrong for us. Who lacks something is asked for.
        let lost = if whole { self.unidentified > 0 } else { self.problems > self.lacking.met() };
        let lost = self.keep_lacking(whole, goes_on, &mut changes)? || lost;
        if self.options.full && self.options.managed.is_empty() && self.lookup.is_empty() {
            let name = &self.options.name;
            recorder.note(format!(
                "nothing that is selected was found in '{name}': look at selection.object_types, the base and the containers with \
                 `syncline partition tree '{name}'`"
            ));
        }
        self.final_states(completion, lost || nameless || self.untold, &mut changes)?;
        self.note_more_slips(recorder);
        self.keep_refused(whole, &mut changes)?;
        self.commit(changes, recorder)?;
        let surprised = self.tell_surprises(recorder) | self.warned;
        Ok(match (self.problems, nameless, surprised) {
            (0, false, false) => "success",
            (0, false, true) => "completed-warnings",
            (0, true, _) => "completed-transient-objects",
            _ => "completed-discovery-errors",
        })
    }

    /// Whom nobody reported, after the guard has had its say and the directory was asked again.
    fn missing(&mut self, ask_again: &mut AskAgain<'_>, recorder: &mut StepRecorder<'_>) -> Result<Vec<CsId>, EngineError> {
        if self.unidentified > 0 && !self.judges_gaps() {
            return Ok(Vec::new());
        }
        let snapshot = self.store.snapshot()?;
        let mut unseen = self.lookup.unseen(&snapshot)?;
        let mut missing = Missing::default();
        let mut anchors: Vec<Anchor> = Vec::new();
        for id in &unseen {
            let Some(object) = snapshot.cs_object(*id)? else { continue };
            // A delete that we asked for is no surprise.
            let asked = [Stage::Unconfirmed, Stage::InProgress].iter().any(|stage| object.stage(*stage).kind == DeltaKind::Delete);
            if object.link != Link::Placeholder && object.imported() && !asked {
                anchors.extend(object.anchor.clone());
                missing.add(object);
            }
        }
        if let Err(stopped) = self.guard(&missing) {
            self.disbelieve(Verdict::Stopped, recorder)?;
            return Err(stopped);
        }
        if self.unidentified == 0 {
            self.ask(&anchors, ask_again, recorder)?;
            unseen.retain(|id| !self.lookup.is_seen(*id));
        }
        if self.unidentified > 0 {
            // An entry, or one of the answers, may be about anybody.
            unseen.clear();
        }
        Ok(unseen)
    }

    /// Stages deletes for whoever is missing. A delta import knows only until its end who refers to them: with the first of them
    /// it becomes durable that nothing counts before.
    fn obsolete(&mut self, missing: &[CsId], recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let snapshot = self.store.snapshot()?;
        for chunk in missing.chunks(BATCH) {
            let mut changes = ChangeSet::new();
            if !self.options.full && self.verdict.is_none() {
                self.verdict = Some(Verdict::Departures);
                changes = noting(self.options.connector, Verdict::Departures);
            }
            for id in chunk {
                if let Some(object) = snapshot.cs_object(*id)? {
                    self.leave(object, &snapshot, &mut changes, recorder)?;
                }
            }
            self.commit_part(changes, recorder)?;
        }
        Ok(())
    }

    /// Asks the directory for objects and stages what it says, as long as it can be asked.
    pub(super) fn ask(
        &mut self,
        anchors: &[Anchor],
        ask_again: &mut AskAgain<'_>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
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

    /// Reads those once more whose references may mean somebody else now, and who were not told as changed.
    fn renew_referrers(&mut self, ask_again: &mut AskAgain<'_>, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let outdated = std::mem::take(&mut self.outdated);
        let snapshot = self.store.snapshot()?;
        let mut anchors = Vec::new();
        for id in outdated {
            anchors.extend(snapshot.cs_object(id)?.filter(CsObject::imported).and_then(|object| object.anchor));
        }
        drop(snapshot);
        self.ask(&anchors, ask_again, recorder)?;
        Ok(())
    }

    /// Names the objects whose name another one took: in a full import two entries have that name, or else their own new
    /// name was not reported. True when there are any.
    fn nameless(&mut self, changes: &mut ChangeSet, recorder: &mut StepRecorder<'_>) -> Result<bool, EngineError> {
        let snapshot = self.store.snapshot()?;
        let mut count = 0;
        for id in std::mem::take(&mut self.displaced) {
            let Some(object) = snapshot.cs_object(id)?.filter(|object| object.transient && object.imported()) else { continue };
            let name = object.stage(Stage::PendingImport).rename.as_deref().unwrap_or(&object.dn);
            recorder.object("transient-objects", id, name, Vec::new());
            count += 1;
            // Whoever is only held was not told by that name.
            if self.options.full && self.lookup.is_seen(id) && !self.unread.contains(&id) {
                self.same_name(&object, name, changes, recorder);
            } else if count <= NAMED {
                let detail = if self.options.full {
                    "another object has its name now, and its own new name was not reported"
                } else {
                    "another object has its name now, and its own new name was not reported; a full import will tell"
                };
                recorder.note(format!("transient-object: {name}: {detail}"));
            } else if count == NAMED + 1 {
                recorder.note("transient-object: and more objects".to_owned());
            }
        }
        Ok(count > 0)
    }

    /// Two entries of a full import have one name: a problem of the object that lost it to the later one.
    fn same_name(&mut self, object: &CsObject, name: &str, changes: &mut ChangeSet, recorder: &mut StepRecorder<'_>) {
        self.problems += 1;
        let anchor = object.anchor.as_ref().map(|anchor| format!(" (the one with the anchor {anchor})")).unwrap_or_default();
        let detail = format!(
            "two entries of this import have the name '{name}', and only one can: the later one keeps it, and object {}{anchor} is without a \
             name; rename or remove one of the two in the directory",
            object.id
        );
        recorder.note(format!("{name}: {}: {detail}", ObjectErrorCode::DUPLICATE_DN));
        recorder.object("stage-failure", object.id, name, Vec::new());
        let earlier = self.renamed_back.remove(&object.id);
        let error = ObjectError::new(ObjectErrorCode::DUPLICATE_DN, detail, self.cx.now()).after(earlier.as_ref());
        changes.errors.push((object.id, ErrorSide::Import, Some(error)));
    }

    /// Refuses to believe that a directory lost much of what it had.
    fn guard(&self, missing: &Missing) -> Result<(), EngineError> {
        if missing.count == 0 || self.options.allow_shrink {
            return Ok(());
        }
        let known = missing.count + self.kept;
        let suspicious =
            |missing: u64, known: u64| missing.saturating_mul(100) > known.saturating_mul(u64::from(self.options.shrink_percent_max));
        // An account that lost sight of one container often lost a kind of object: all groups, and a tenth of everything. A delta
        // that names whoever is there does not say as what.
        let whole_kind = |(object_type, of_type): &(&ObjectType, &MissingOfType)| {
            self.options.full && of_type.count >= OF_A_TYPE && !self.kept_of.contains_key(*object_type)
        };
        let kind = missing.by_type.iter().find(whole_kind);
        let (what, sample) = match kind {
            _ if self.kept == 0 => (format!("the directory reported none of the {known} objects"), &missing.sample),
            _ if suspicious(missing.count, known) => {
                (format!("the directory no longer reports {} of {known} objects", missing.count), &missing.sample)
            }
            Some((object_type, of_type)) => {
                let kind = self.store.names().object_type_name(*object_type);
                (format!("the directory no longer reports any of the {} objects of type {kind}", of_type.count), &of_type.sample)
            }
            None => return Ok(()),
        };
        let name = &self.options.name;
        let taken = match missing.displaced {
            0 => "",
            _ if missing.displaced == missing.count => " (others with other keys have all of their names: is the anchor another one?)",
            _ => " (others with other keys have some of their names)",
        };
        let back = if self.options.takes_exports { ", but for what may confirm an export" } else { "" };
        let message = format!(
            "{what} of '{name}'{taken}, among them {}; nothing was staged as deleted, whatever else was staged was taken back{back}, and \
             nothing of it is synchronized before an import that reads everything is believed. Look at the account's \
             rights, the base and the filters, and at one of them: `syncline object explain '{}'`. If they are really gone, allow it once with \
             `syncline run start '{name}' full-import --allow-shrink`",
            sample.join("; "),
            sample.first().map_or("", |name| name)
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
            self.note_outdated(object.id, &snapshot.cs_referrers(object.id)?);
            super::gone::stage_delete(object, changes, recorder);
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
