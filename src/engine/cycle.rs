//! Cycles: runs strung together.
//!
//! Sources and targets are read, rules are applied, targets are written, and what was written is confirmed by reading it
//! back (specification: sync engine, section 5.4). Where a directory could not be read, nobody is deleted for it.

use super::active;
use super::export::{DeletesWait, ExportSummary, HeldDeletes, StandIns, possibly_known, waits_with};
use super::run::{Belonging, Engine, Profile, Standing, severity, stopped_by_guard};
use super::{EngineError, Progress, TRACED};
use crate::events::Event;
use crate::model::{ConnectorId, CsId, CsObject, DeltaKind, ErrorSide, RunId, Stage};
use crate::store::{RunRecord, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// How often a cycle goes on to what its own confirmation made necessary.
const ROUNDS: usize = 3;
/// How many ids one look asks for.
const PAGE: usize = 1_000;

impl Engine<'_> {
    /// Runs a whole cycle over all connectors, as far as it is of use. Gives the runs in their order.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn cycle(&self, initial: bool, progress: &mut dyn Progress) -> Result<Vec<RunRecord>, StoreError> {
        let span = tracing::info_span!(target: TRACED, "cycle", initial, result = tracing::field::Empty).entered();
        self.tell(Event::CycleStarted { initial });
        let mut cycle = Cycle {
            engine: self,
            progress,
            id: None,
            runs: Vec::new(),
            unread: BTreeSet::new(),
            moving: BTreeSet::new(),
            unsynchronized: BTreeSet::new(),
            left_out: Vec::new(),
        };
        cycle.all(initial)?;
        cycle.record_left_out()?;
        let runs = cycle.runs;
        self.forget_old_runs()?;
        let worst = runs.iter().map(|run| &run.result).max_by_key(|result| severity(&result.0));
        let result = worst.map_or_else(|| "success".to_owned(), |result| result.0.to_string());
        span.record("result", &result);
        self.tell(Event::CycleFinished { result });
        Ok(runs)
    }
}

/// True for the results of exports that a limit or a guard ended in the middle.
fn ends_exports(result: &str) -> bool {
    stopped_by_guard(result) || result == "stopped-error-limit"
}

/// True for an import that saw somebody leave.
fn has_departures(run: &RunRecord) -> bool {
    run.steps.iter().flat_map(|step| &step.counters).any(|(counter, count)| counter.0 == "stage-delete" && *count > 0)
}

/// A cycle under way.
struct Cycle<'c, 'a> {
    engine: &'c Engine<'a>,
    progress: &'c mut dyn Progress,
    /// The number of its first run.
    id: Option<RunId>,
    runs: Vec<RunRecord>,
    /// Connectors whose import failed in this cycle, or of which none is believed.
    unread: BTreeSet<ConnectorId>,
    /// Connectors that somebody may have moved to since they were read in this cycle.
    moving: BTreeSet<ConnectorId>,
    /// Connectors whose synchronization failed in this cycle.
    unsynchronized: BTreeSet<ConnectorId>,
    /// What it did not come to, since it was told to stop before.
    left_out: Vec<(ConnectorId, Profile)>,
}

impl Cycle<'_, '_> {
    fn all(&mut self, initial: bool) -> Result<(), StoreError> {
        let sources = self.engine.participants.iter().filter(|(_, participant)| !participant.target);
        let sources: Vec<(ConnectorId, Standing)> = sources.map(|(id, participant)| (*id, participant.standing)).collect();
        let targets = self.engine.participants.iter().filter(|(_, participant)| participant.target).map(|(id, _)| *id);
        let targets: Vec<ConnectorId> = targets.collect();
        let import = if initial { Profile::FullImport } else { Profile::DeltaImport };
        let synchronize = if initial { Profile::FullSynchronization } else { Profile::DeltaSynchronization };
        let readable = sources.iter().filter(|(_, standing)| *standing == Standing::Configured).map(|(id, _)| *id);
        for id in readable.chain(targets.iter().copied()) {
            let too_old = !initial && self.engine.caution.too_old.contains(&id);
            if too_old {
                let reason = "nothing was read of it for a week".to_owned();
                self.engine.tell(Event::FullStepRequired { connector: self.name(id).to_owned(), step: "import", reason });
            }
            self.import(id, if too_old { Profile::FullImport } else { import })?;
        }
        self.read_again_behind_departures(&sources)?;
        let present = sources.iter().filter(|(_, standing)| *standing != Standing::Abandoned).map(|(id, _)| *id);
        let mut order: Vec<ConnectorId> = Vec::new();
        for id in present.chain(targets.iter().copied()) {
            // What was staged is what the directory said. But it may be half of a move, so it waits for an import that is believed.
            if self.engine.cx.cancelled() {
                // Nothing of it is synchronized, but for another reason.
                order.push(id);
            } else if let Some(verdict) = self.engine.verdict(id)? {
                tracing::warn!(
                    connector = self.name(id),
                    "nothing of it is synchronized: {verdict}, and none that reads everything was believed since"
                );
                self.unread.insert(id);
            } else {
                order.push(id);
            }
        }
        for id in &order {
            self.synchronize(*id, synchronize)?;
        }
        self.try_again(&order, &targets)?;
        for id in targets {
            self.send(id)?;
        }
        Ok(())
    }

    /// Before anybody is deleted: who left a directory while this cycle read the others may have moved to one of them behind its
    /// import, or back to where they left. Those that were read before the newest departure was seen are read once more, and so is the
    /// one that saw it. Of who leaves again and again nobody knows where they are, so deletes wait.
    fn read_again_behind_departures(&mut self, sources: &[(ConnectorId, Standing)]) -> Result<(), StoreError> {
        for round in 0..=ROUNDS {
            let Some(seen) = self.runs.iter().rposition(has_departures) else { break };
            if !self.unread.is_empty() || sources.len() < 2 {
                // Deletes wait anyway, or there is nowhere else to be.
                break;
            }
            let last_read = |id: ConnectorId| self.runs.iter().rposition(|run| run.connector == id);
            let read_before = |id: &ConnectorId| last_read(*id).is_some_and(|read| read <= seen);
            let earlier: Vec<ConnectorId> = sources.iter().map(|(id, _)| *id).filter(read_before).collect();
            if round == ROUNDS {
                self.moving.extend(earlier);
                break;
            }
            for id in earlier {
                self.import(id, Profile::DeltaImport)?;
            }
        }
        Ok(())
    }

    /// Before anybody is deleted: what failed earlier in this cycle may have failed for somebody whom a later synchronization has
    /// let go, and who only moved.
    fn try_again(&mut self, order: &[ConnectorId], targets: &[ConnectorId]) -> Result<(), StoreError> {
        let failed = |id: &&ConnectorId| {
            let last = self.runs.iter().rfind(|run| run.connector == **id);
            last.is_some_and(|run| run.result.0 == "completed-sync-errors")
        };
        let failed: Vec<ConnectorId> = order.iter().filter(failed).copied().collect();
        if failed.is_empty() {
            return Ok(());
        }
        let snapshot = self.engine.store.snapshot()?;
        let mut deletes = false;
        for target in targets {
            deletes |= ExportSummary::of(&snapshot, *target)?.deletes > 0;
        }
        drop(snapshot);
        for id in failed.into_iter().filter(|_| deletes) {
            self.synchronize(id, Profile::DeltaSynchronization)?;
        }
        Ok(())
    }

    /// Sends to a target and confirms, until nothing new is wanted.
    fn send(&mut self, target: ConnectorId) -> Result<(), StoreError> {
        if !self.engine.caution.limits.now().delete_threshold {
            self.engine.tell(Event::DeletionThresholdOff { connector: self.name(target).to_owned() });
        }
        if self.engine.cx.cancelled() {
            self.leave_out_export(target)?;
            return self.tell_of_stand_ins(target);
        }
        if let Some(reason) = self.hindrance(target) {
            tracing::warn!(connector = self.name(target), "nothing is exported in this cycle: {reason}");
            return self.tell_of_stand_ins(target);
        }
        let deletes_wait = self.deletes_wait();
        for _ in 0..ROUNDS {
            if self.engine.cx.cancelled() {
                self.leave_out_export(target)?;
                break;
            }
            if !self.wanted(target, deletes_wait.is_some())? {
                self.show_life(target)?;
                break;
            }
            let sent = self.run(target, Profile::Export, deletes_wait.as_ref())?;
            if sent == 0 {
                break;
            }
            let stopped = self.runs.last().is_some_and(|run| ends_exports(&run.result.0));
            self.import(target, Profile::DeltaImport)?;
            if self.unread.contains(&target) {
                // What the target holds is not known: the next cycle goes on from there.
                break;
            }
            self.synchronize(target, Profile::DeltaSynchronization)?;
            if stopped {
                // It would only be stopped again: a person, or the next cycle, goes on.
                break;
            }
        }
        Ok(())
    }

    /// Why nobody is deleted in this cycle: whoever is missing may have moved to where nobody looked.
    fn deletes_wait(&self) -> Option<DeletesWait> {
        let names = |ids: &BTreeSet<ConnectorId>| ids.iter().map(|id| self.name(*id)).collect::<Vec<_>>().join(", ");
        let reason = match (self.unread.is_empty(), self.moving.is_empty()) {
            (true, true) => return None,
            (false, _) => format!("{} could not be read in this cycle", names(&self.unread)),
            (true, false) => format!("people went on leaving other directories behind the import of {}", names(&self.moving)),
        };
        Some(DeletesWait { reason, by_hand: true })
    }

    /// Notes that nothing is sent any more, where something may wait to be sent.
    fn leave_out_export(&mut self, target: ConnectorId) -> Result<(), StoreError> {
        let known = self.left_out.is_empty();
        let sends = self.engine.takes_exports(target) && !self.engine.caution.limits.now().staging;
        // Before everything was read and synchronized, nobody knows what would have waited.
        if sends && (!known || self.wanted(target, self.deletes_wait().is_some())?) {
            self.left_out.push((target, Profile::Export));
        }
        Ok(())
    }

    /// A cycle that was told to stop before it did everything is no success: the run that would have come next is in the history as
    /// one that was stopped, with all that is left to do.
    fn record_left_out(&mut self) -> Result<(), StoreError> {
        let Some((id, profile)) = self.left_out.first().copied() else { return Ok(()) };
        let mut names: Vec<String> = Vec::new();
        for (id, profile) in &self.left_out {
            let name = format!("{} on {}", profile.as_str(), self.name(*id));
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let message =
            format!("the cycle was told to stop before this began; not done: {}. `syncline cycle start` does it", names.join(", "));
        let record = self.engine.record_unbegun(id, profile, self.belonging(), message)?;
        self.id.get_or_insert(record.id);
        self.runs.push(record);
        Ok(())
    }

    fn belonging(&self) -> Belonging {
        self.id.map_or(Belonging::FirstOfCycle, Belonging::OfCycle)
    }

    /// As long as nothing may be sent, somebody has to know who cannot sign in for it.
    fn tell_of_stand_ins(&self, target: ConnectorId) -> Result<(), StoreError> {
        let snapshot = self.engine.store.snapshot()?;
        let left = StandIns::of(&snapshot, target)?;
        if !left.is_empty() {
            let people = left.sample(&snapshot, self.engine.store.names())?;
            self.engine.tell(Event::StandInNames { connector: self.name(target).to_owned(), objects: left.count(), people });
        }
        Ok(())
    }

    /// Lets a target know that this installation is active, when nothing was sent for hours.
    fn show_life(&self, target: ConnectorId) -> Result<(), StoreError> {
        let connector = self.engine.participants.get(&target).and_then(|participant| participant.connector.as_ref());
        let (Some(ours), Some(connector)) = (&self.engine.caution.installation, connector) else { return Ok(()) };
        match active::show_life(self.engine.store, target, connector, ours, &self.engine.bridge, &self.engine.cx) {
            Ok(None) => Ok(()),
            Ok(Some(rival)) => {
                let (connector, other) = (self.name(target).to_owned(), rival.to_string());
                self.engine.tell(Event::AnotherInstallation { connector, other });
                Ok(())
            }
            Err(EngineError::Store(error)) => Err(error),
            Err(error) => {
                tracing::warn!(connector = self.name(target), "the target could not be shown that this installation is active: {error}");
                Ok(())
            }
        }
    }

    /// Why it would be wrong to export now.
    fn hindrance(&self, target: ConnectorId) -> Option<String> {
        if self.unread.contains(&target) {
            return Some(format!("{} could not be read, so what it holds is not known", self.name(target)));
        }
        if let Some(id) = self.unsynchronized.first() {
            return Some(format!("the synchronization of {} did not come to its end", self.name(*id)));
        }
        if !self.engine.takes_exports(target) {
            return Some("rules write to it, and it takes no exports: what they want stays in its space".to_owned());
        }
        if self.engine.caution.limits.now().staging {
            self.engine.tell(Event::ExportLeftOut { connector: self.name(target).to_owned() });
            return Some("this installation is in staging mode".to_owned());
        }
        None
    }

    fn name(&self, id: ConnectorId) -> &str {
        self.engine.participants.get(&id).map_or("?", |participant| participant.name.as_str())
    }

    /// True when something waits that was not refused already, and that an export would send. `held`: deletes stay this time.
    fn wanted(&self, target: ConnectorId, held: bool) -> Result<bool, StoreError> {
        let snapshot = self.engine.store.snapshot()?;
        // The first export of a cycle tries everything again.
        let first = self.runs.iter().all(|run| run.connector != target || run.profile != Profile::Export.as_str());
        let page = if first { 1 } else { PAGE };
        let names = self.engine.store.names();
        let removed = if first { HeldDeletes::default() } else { HeldDeletes::of(&snapshot, names, target)? };
        let stay = if first { BTreeMap::new() } else { possibly_known(&snapshot, names, target)? };
        let leaves = |object: CsObject| object.stage(Stage::PendingExport).kind == DeltaKind::Delete;
        let holds = |id: CsId| -> Result<bool, StoreError> {
            Ok(removed.objects.contains(&id) || stay.contains_key(&id) || held && snapshot.cs_object(id)?.is_some_and(leaves))
        };
        let mut after = None;
        loop {
            let ids = snapshot.queue(Stage::PendingExport, target, after, page)?;
            let Some(last) = ids.last() else { return Ok(false) };
            after = Some(*last);
            for id in ids {
                if first {
                    return Ok(true);
                }
                // Who was taken with a value kept aside was not refused.
                let refused = snapshot.error(id, ErrorSide::Export)?.is_some_and(|error| !error.is_kept_aside());
                // What an export left where it is would have everything sent once more that was refused.
                if !refused && !waits_with(&snapshot, id, &holds)? {
                    return Ok(true);
                }
            }
        }
    }

    fn import(&mut self, id: ConnectorId, profile: Profile) -> Result<(), StoreError> {
        self.run(id, profile, None)?;
        if self.failed() {
            self.unread.insert(id);
        }
        Ok(())
    }

    fn synchronize(&mut self, id: ConnectorId, profile: Profile) -> Result<(), StoreError> {
        self.run(id, profile, None)?;
        if self.failed() {
            self.unsynchronized.insert(id);
        }
        Ok(())
    }

    /// True when the last run did not come to its end.
    fn failed(&self) -> bool {
        self.runs.last().is_some_and(|run| severity(&run.result.0) >= 3)
    }

    fn run(&mut self, id: ConnectorId, profile: Profile, deletes_wait: Option<&DeletesWait>) -> Result<u64, StoreError> {
        if self.engine.cx.cancelled() {
            self.left_out.push((id, profile));
            return Ok(0);
        }
        let belonging = self.belonging();
        let (record, sent) = self.engine.run_counted(id, profile, belonging, deletes_wait, self.progress)?;
        self.id.get_or_insert(record.id);
        self.runs.push(record);
        Ok(sent)
    }
}
