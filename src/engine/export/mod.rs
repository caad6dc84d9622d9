//! Export: sends what synchronization wants and nobody has sent, and never loses track of what it sent.
//!
//! Deletes are counted over the whole queue before the first call. Then, wave by wave: commit that a batch is handed
//! over, send it, commit the answers; the answers of one batch and the hand-over of the next share a commit. Whatever
//! has no answer stays handed over until an import shows what became of it. (Specification: sync engine, section 4;
//! architecture 6 and 8, invariants 7 to 10.)

mod adds;
mod answer;
mod deltas;
mod guards;
mod limits;
mod moves;
mod names;
mod plan;
mod prepare;
mod preview;
mod queue;
mod removals;
mod stand_ins;

pub use adds::new_objects;
pub use guards::{Sampled, sample, sample_of};
pub use limits::{ExportLimits, Limits};
pub(in crate::engine) use moves::possibly_known;
use moves::possibly_known_to;
pub use moves::{PossibleMove, Unknown, belongs_to_nobody};
pub use plan::{DeleteSet, ExportPlan};
pub use preview::{ExportPreview, PlannedExport, loses_only_what_stays, plan_export};
pub use queue::ExportSummary;
pub(in crate::engine) use removals::follow_removals;
pub(in crate::engine) use removals::waits_with;
pub use removals::{HeldDeletes, REMOVALS};
pub use stand_ins::{STAND_INS, StandIns};

use super::active;
use super::bridge::{Bridge, Calls};
use super::{EngineError, StepRecorder, TRACED};
use crate::connector::{Connector, ConnectorError, ConnectorErrorKind, ExportBatch, ExportReply, ExportTerms, ExportTotals, Installation};
use crate::context::Context;
use crate::events::Event;
use crate::model::{ConnectorId, CsId, RunId};
use crate::store::{ChangeSet, Snapshot, Store, StoreError};
use prepare::{Batch, Sent, Waiting};
use queue::{Queue, Waves};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;

/// The state that tells that something was exported to a connector before.
pub(super) const EXPORTED: &str = "exported";
/// The state that tells that names were sent of which the target may have kept some aside.
pub(super) const NAMES_SENT: &str = "names-sent";
/// The state that keeps the target's terms.
pub(super) const TERMS: &str = "export-terms";
/// The name under which a target keeps what of its first export was approved.
pub const APPROVED: &str = "first-export-approved";
/// While it goes on, an export asks so often who else writes to the target.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Has the last word before anything is sent.
pub trait ExportReview: Send + Sync {
    /// Lets the export to a target go on, or says why not and what to do. `first`: nothing was ever exported to it.
    ///
    /// # Errors
    /// Why not, and what to do.
    fn allow(&self, connector: ConnectorId, summary: &ExportSummary, first: bool) -> Result<(), String>;
}

/// Why deletes stay where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletesWait {
    /// The words behind a "because".
    pub reason: String,
    /// An export by hand sends them all the same.
    pub by_hand: bool,
}

/// How careful to be.
#[derive(Clone)]
pub struct ExportOptions {
    /// The connector whose queue is sent.
    pub connector: ConnectorId,
    /// Its name.
    pub name: String,
    /// What limits it, at the beginning and before every batch.
    pub limits: Limits,
    /// Deletes allowed this once, whatever the limits say; no others.
    pub allow_deletes: Option<DeleteSet>,
    /// Why deletes stay where they are this time: whoever is missing may have moved to where nobody looked.
    pub deletes_wait: Option<DeletesWait>,
    /// More refused objects than this end the step.
    pub errors_max: u64,
    /// Export although this installation only watches.
    pub force: bool,
    /// Only this object is sent; the guards count the whole queue all the same.
    pub only: Option<CsId>,
    /// Asked before the first call.
    pub review: Option<Arc<dyn ExportReview>>,
    /// Who we are: when somebody else writes to the target, nothing is sent. `None` does not look.
    pub installation: Option<Installation>,
    /// The run and the step, for the history.
    pub step: (RunId, u32),
}

impl ExportOptions {
    /// The usual care: at most 500 deletes (specification: sync engine, section 5.5).
    pub fn new(connector: ConnectorId, name: impl Into<String>, step: (RunId, u32)) -> Self {
        Self {
            connector,
            name: name.into(),
            limits: Limits::default(),
            allow_deletes: None,
            deletes_wait: None,
            errors_max: 5_000,
            force: false,
            only: None,
            review: None,
            installation: None,
            step,
        }
    }
}

impl std::fmt::Debug for ExportOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportOptions").field("connector", &self.connector).field("limits", &self.limits.now()).finish_non_exhaustive()
    }
}

/// The numbers of an export step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportOutcome {
    /// Objects with an answer.
    pub sent: u64,
    /// Of these, refused ones.
    pub refused: u64,
    /// Objects whose fate nobody knows.
    pub unknown: u64,
}

/// Sends the queue of a connector. Gives the step's result string and its numbers.
///
/// # Errors
/// A guard that stopped the step before the first call, a lost connection (what was answered is committed), a store
/// that refuses.
pub fn export(
    store: &Store,
    connector: &Arc<dyn Connector>,
    bridge: &Bridge,
    options: &ExportOptions,
    cx: &Context,
    recorder: &mut StepRecorder<'_>,
) -> Result<(&'static str, ExportOutcome), EngineError> {
    guards::staging(store, options, recorder)?;
    if !connector.capabilities().export {
        let message = format!("{} takes no exports: it is configured as a source", options.name);
        return Err(EngineError::Guard { result: "no-start-export-not-supported", message });
    }
    let snapshot = store.snapshot()?;
    let unique = names::unique(&**connector, store.names());
    let mut queue = Queue::load(&snapshot, options.connector, &unique)?;
    let all = queue.summary;
    let removed = HeldDeletes::of(&snapshot, store.names(), options.connector)?;
    let allowed = options.allow_deletes.is_some_and(|set| set == removed.set() || set == all.delete_set());
    let too_early = queue.leave_too_early();
    let some_wait = !too_early.is_empty();
    // Deletes that stay this time.
    let mut held = BTreeSet::new();
    if some_wait {
        recorder.note(guards::too_early(&snapshot, store.names(), options, &too_early)?);
    }
    let held_besides = !removed.is_empty() && !allowed;
    if held_besides {
        held.clone_from(&removed.objects);
    }
    let deletes_wait = options.deletes_wait.as_ref().filter(|_| all.deletes > 0);
    if deletes_wait.is_some() {
        held.append(&mut queue.hold_deletes());
    }
    queue.hold(&held);
    // Whoever sends one object is told nothing of the deletes of others.
    let concerned = options.only.is_none_or(|only| held.contains(&only));
    if held_besides && concerned {
        recorder.note(guards::removed(&snapshot, store.names(), options, &removed)?);
    }
    if let Some(wait) = deletes_wait.filter(|_| concerned) {
        let besides = if held_besides { &removed.objects } else { &BTreeSet::new() };
        if let Some(told) = guards::deletes_wait(&snapshot, store.names(), options, (&all, besides), wait)? {
            recorder.note(told);
        }
    }
    if queue.is_empty() {
        return Ok((if concerned && !held.is_empty() || some_wait { "completed-warnings" } else { "success" }, ExportOutcome::default()));
    }
    let first = !was_exported(&snapshot, options.connector)?;
    drop(snapshot);
    let terms = bridge.wait(connector.begin_export(cx))?;
    remember_terms(store, options.connector, &terms)?;
    let sight = guards::Sight { store, connector, bridge, options, cx };
    sight.another_installation(terms.last_writer.as_ref(), false, recorder)?;
    let asked = cx.clock.elapsed();
    // Who was named in an allowance of their own is not counted with the others.
    let counted_apart = held.is_empty() && options.allow_deletes == Some(removed.set());
    let summary = if counted_apart { queue.summary.without(&removed.objects) } else { queue.summary };
    let stopped = guards::deletes(store, &summary, options, &terms, recorder).err();
    if stopped.is_none()
        && let Some(review) = &options.review
    {
        let stopped = |message| EngineError::Guard { result: "stopped-by-review", message };
        review.allow(options.connector, &queue.summary, first).map_err(stopped)?;
    }
    if stopped.is_none() && held.is_empty() && !removed.is_empty() {
        removals::release(store, options.connector, &removed.objects)?;
    }
    if let Some(only) = options.only {
        queue.keep(only);
    }
    let snapshot = store.snapshot()?;
    let stay = match options.only {
        Some(only) => possibly_known_to(&snapshot, store.names(), only)?,
        None => possibly_known(&snapshot, store.names(), options.connector)?,
    };
    let concerned = concerned || !stay.is_empty();
    if !stay.is_empty() {
        recorder.note(guards::references_stay(&stay));
        held.extend(stay.into_keys());
    }
    let waiting = StandIns::of(&snapshot, options.connector)?;
    drop(snapshot);
    // Who was promised a name in an earlier export gets it before everybody else, and no guard of deletes is about them.
    let urgent = queue.take_urgent(&waiting);
    if stopped.is_some() && !urgent.is_empty() {
        recorder.note(guards::urgent(&store.snapshot()?, store.names(), options, &waiting.among(&urgent.updated()))?);
        queue = Queue::default();
    } else if let Some(stopped) = stopped {
        return Err(stopped);
    }
    if queue.exchange.takes() || urgent.exchange.takes() {
        let mut changes = ChangeSet::new();
        changes.states.push((options.connector, NAMES_SENT.to_owned(), Some(vec![1])));
        store.apply(changes)?;
    }
    recorder.expect(Some(urgent.len() + queue.len()));
    let mut run = Run {
        store,
        connector,
        bridge,
        options,
        limits: options.limits.now(),
        terms,
        summary,
        cx,
        calls: bridge.calls(),
        on_its_way: false,
        waiting: Waiting::default(),
        again: BTreeSet::new(),
        moving: HashSet::new(),
        held,
        behind_deletes: BTreeSet::new(),
        deletes_follow: false,
        retried: HashSet::new(),
        counted: HashSet::new(),
        merged: false,
        problem: None,
        outcome: ExportOutcome::default(),
        refused_names: Vec::new(),
        accepted: 0,
        first,
        asked,
    };
    run.all(urgent, queue, &unique, recorder)?;
    let some_wait = some_wait || concerned && !run.held.is_empty();
    let (result, outcome) = run.finish(recorder)?;
    if let Some(stopped) = stopped {
        return Err(stopped);
    }
    Ok((if some_wait && result == "success" { "completed-warnings" } else { result }, outcome))
}

/// True when something was exported to a target before.
///
/// # Errors
/// When the store cannot be read.
pub fn was_exported(snapshot: &Snapshot, connector: ConnectorId) -> Result<bool, StoreError> {
    Ok(snapshot.state(connector, EXPORTED)?.is_some())
}

/// The terms that a target named when an export last began.
///
/// # Errors
/// When the store cannot be read.
pub fn known_terms(snapshot: &Snapshot, connector: ConnectorId) -> Result<ExportTerms, StoreError> {
    let kept = snapshot.state(connector, TERMS)?.and_then(|octets| String::from_utf8(octets).ok()).unwrap_or_default();
    let mut words = kept.split(' ');
    let mut next = || words.next().unwrap_or_default();
    Ok(ExportTerms {
        deletes_max: next().parse().ok(),
        delete_percent_max: next().parse().ok(),
        interval: next().parse().ok().map(Duration::from_secs),
        last_writer: None,
    })
}

/// Keeps the terms that a target named just now.
///
/// # Errors
/// When the store refuses.
pub fn remember_terms(store: &Store, connector: ConnectorId, terms: &ExportTerms) -> Result<(), StoreError> {
    let known = known_terms(&store.snapshot()?, connector)?;
    if known == (ExportTerms { last_writer: None, ..terms.clone() }) {
        return Ok(());
    }
    let shown = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let (percent, interval) = (terms.delete_percent_max.map(u64::from), terms.interval.map(|interval| interval.as_secs()));
    let kept = format!("{} {} {}", shown(terms.deletes_max), shown(percent), shown(interval));
    let mut changes = ChangeSet::new();
    changes.states.push((connector, TERMS.to_owned(), Some(kept.into_bytes())));
    store.apply(changes)
}

type Answer = Result<ExportReply, ConnectorError>;

struct Run<'a> {
    store: &'a Store,
    connector: &'a Arc<dyn Connector>,
    bridge: &'a Bridge,
    options: &'a ExportOptions,
    /// What limited it when it began.
    limits: ExportLimits,
    /// What the target itself allows.
    terms: ExportTerms,
    /// What waited when the export began.
    summary: ExportSummary,
    cx: &'a Context,
    calls: Calls<Vec<Sent>, Answer>,
    /// What is sent now was promised to objects that go by a stand-in: nothing but a lost connection stops it.
    on_its_way: bool,
    /// Objects with something left that could not be sent yet.
    waiting: Waiting,
    /// Objects to be sent once more, in another way.
    again: BTreeSet<CsId>,
    /// Objects whose names are about to change: until that is answered, nobody can say what to call them.
    moving: HashSet<CsId>,
    /// Objects whose deletes stay this time.
    held: BTreeSet<CsId>,
    /// Objects to be sent once more when the deletes are through: what refused them may be among these.
    behind_deletes: BTreeSet<CsId>,
    /// There are deletes that have not been sent yet.
    deletes_follow: bool,
    /// Objects that had their second chance.
    retried: HashSet<CsId>,
    /// Objects counted already, that go on in further batches.
    counted: HashSet<CsId>,
    /// Two objects became one in this step.
    merged: bool,
    /// What ends the step early.
    problem: Option<EngineError>,
    outcome: ExportOutcome,
    /// Some of the refused objects, by name.
    refused_names: Vec<String>,
    accepted: u64,
    first: bool,
    /// When the target was last asked who writes to it, on the clock of durations.
    asked: Duration,
}

impl Run<'_> {
    /// Sends everything: first those who wait for their names.
    fn all(&mut self, urgent: Queue, mut queue: Queue, unique: &names::Unique, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        self.moving = std::mem::take(&mut queue.moving);
        let Waves { first, before, .. } = urgent.into_waves();
        self.exchange(first, unique, recorder)?;
        for wave in before {
            self.wave(&wave, true, recorder)?;
        }
        let Waves { first, before, deletes } = queue.into_waves();
        self.deletes_follow = !deletes.is_empty();
        // The guards have let all of the deletes pass, these among them.
        self.still_allowed(!first.leaving.is_empty(), recorder);
        self.exchange(first, unique, recorder)?;
        for wave in before {
            self.wave(&wave, true, recorder)?;
        }
        self.moving.clear();
        self.rest(recorder)?;
        self.deletes_follow = false;
        self.still_allowed(!deletes.is_empty(), recorder);
        for wave in deletes {
            self.wave(&wave, true, recorder)?;
        }
        self.again.append(&mut self.behind_deletes);
        self.rest(recorder)
    }

    /// Before deletes: the limits may have been changed while everything else was sent.
    fn still_allowed(&mut self, deletes: bool, recorder: &mut StepRecorder<'_>) {
        if self.options.limits.now() != self.limits
            && deletes
            && self.problem.is_none()
            && let Err(stopped) = guards::deletes(self.store, &self.summary, self.options, &self.terms, recorder)
        {
            self.stop(stopped);
        }
    }

    /// Sends what was held back: references whose targets are there now, more references than one batch takes, and
    /// what the target wants in another form or at another time.
    fn rest(&mut self, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        while self.problem.is_none() {
            let mut wave = std::mem::take(&mut self.waiting).ids;
            wave.append(&mut self.again);
            if wave.is_empty() {
                break;
            }
            self.wave(&wave.into_iter().collect::<Vec<_>>(), false, recorder)?;
        }
        Ok(())
    }

    /// Sends some objects, and waits until all of them have their answers.
    fn wave(&mut self, ids: &[CsId], first: bool, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let capabilities = self.connector.capabilities();
        let in_flight = capabilities.batches_in_flight.max(1);
        let mut rest = ids;
        let mut changes = ChangeSet::new();
        loop {
            // What is on its way gets its answer; nothing else leaves.
            self.look(!rest.is_empty(), recorder);
            let mut ready: Vec<Batch> = Vec::new();
            if !self.is_stopped() && !rest.is_empty() {
                let snapshot = self.store.snapshot()?;
                while !rest.is_empty() && self.calls.len() + ready.len() < in_flight {
                    let from = prepare::From {
                        snapshot: &snapshot,
                        names: self.store.names(),
                        capabilities: &capabilities,
                        moving: &self.moving,
                        held: &self.held,
                    };
                    let (batch, left) = prepare::batch(&from, rest, first, &mut self.waiting, &mut changes)?;
                    rest = left;
                    if let Some(batch) = batch {
                        ready.push(batch);
                    }
                }
            }
            self.commit(&mut changes)?;
            for batch in ready {
                let Batch { operations, sent } = batch;
                let cx = if self.on_its_way { self.cx.to_the_end() } else { self.cx.clone() };
                let connector = Arc::clone(self.connector);
                recorder.handed_over(operations.len() as u64);
                let batch = ExportBatch { operations };
                // From the call to its answer.
                let span = tracing::info_span!(target: TRACED, "batch", objects = batch.operations.len());
                self.calls.start(sent, async move { connector.export(&cx, &batch).await }.instrument(span));
            }
            let Some(mut ended) = self.calls.next_ended() else {
                if rest.is_empty() || self.is_stopped() {
                    return Ok(());
                }
                continue;
            };
            loop {
                let (sent, answer) = ended;
                self.answer(sent, answer, &mut changes, recorder)?;
                // Half of them at a time: the answers of several batches and the hand-over of the next ones share a commit, and the
                // target has something to do meanwhile.
                let next = if self.calls.len() > in_flight / 2 { self.calls.next_ended() } else { self.calls.ended_already() };
                match next {
                    Some(next) => ended = next,
                    None => break,
                }
            }
        }
    }

    /// Looks whether the export may go on. `more`: there is something to send.
    fn look(&mut self, more: bool, recorder: &mut StepRecorder<'_>) {
        if self.on_its_way {
            return;
        }
        if self.cx.cancelled() {
            self.stop(EngineError::Cancelled);
        }
        if self.problem.is_none()
            && let Err(stopped) = guards::staging(self.store, self.options, recorder)
        {
            self.stop(stopped);
        }
        if self.problem.is_none()
            && more
            && let Err(problem) = self.look_again(recorder)
        {
            self.stop(problem);
        }
    }

    /// True when nothing more may leave. A guard, or the wish to stop, does not concern what is on its way.
    fn is_stopped(&self) -> bool {
        match &self.problem {
            None => false,
            Some(EngineError::Guard { .. } | EngineError::Cancelled) => !self.on_its_way,
            Some(EngineError::Store(_) | EngineError::Connector(_)) => true,
        }
    }

    /// Asks now and then who writes to the target: an export may take hours, and somebody else may take over meanwhile. Who
    /// cannot find out does not go on.
    fn look_again(&mut self, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let now = self.cx.clock.elapsed();
        if self.options.installation.is_none() || now.saturating_sub(self.asked) < LOOK_AGAIN {
            return Ok(());
        }
        self.asked = now;
        if self.accepted > 0 {
            // What the target shows may be our own contact of just now.
            active::wrote(self.store, self.options.connector, self.connector.told(), self.cx.now())?;
        }
        let terms = self.bridge.wait(self.connector.begin_export(self.cx))?;
        let Self { store, connector, bridge, options, cx, .. } = *self;
        guards::Sight { store, connector, bridge, options, cx }.another_installation(terms.last_writer.as_ref(), true, recorder)
    }

    fn commit(&self, changes: &mut ChangeSet) -> Result<(), EngineError> {
        if !changes.is_empty() {
            self.store.apply(std::mem::take(changes))?;
        }
        Ok(())
    }

    fn finish(mut self, recorder: &mut StepRecorder<'_>) -> Result<(&'static str, ExportOutcome), EngineError> {
        let mut changes = ChangeSet::new();
        if self.options.installation.is_some() && self.accepted > 0 {
            active::wrote(self.store, self.options.connector, self.connector.told(), self.cx.now())?;
        }
        if self.first && self.accepted > 0 {
            changes.states.push((self.options.connector, EXPORTED.to_owned(), Some(vec![1])));
        }
        self.commit(&mut changes)?;
        let left = stand_ins::settle(self.store, self.options.connector)?;
        if !left.is_empty() {
            let people = left.sample(&self.store.snapshot()?, self.store.names())?;
            recorder.event(Event::StandInNames { connector: self.options.name.clone(), objects: left.count(), people });
        }
        if self.outcome.unknown > 0 {
            recorder
                .note(format!("of {} objects nobody knows whether the target took them; the next import decides", self.outcome.unknown));
        }
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let totals = ExportTotals { sent: self.outcome.sent, accepted: self.accepted };
        let mut result = "success";
        if let Err(error) = self.bridge.wait(self.connector.finish_export(self.cx, totals)) {
            recorder.note(format!("everything was sent, but the end of the export could not be reported: {error}"));
            result = "completed-warnings";
        }
        if self.outcome.unknown > 0 {
            result = "completed-warnings";
        }
        if self.outcome.refused > 0 {
            result = "completed-export-errors";
        }
        Ok((result, self.outcome))
    }

    /// Notes what ends the step, unless something did before.
    fn stop(&mut self, problem: EngineError) {
        if self.problem.is_none() {
            self.problem = Some(problem);
        }
    }
}

/// What became of a connector that broke off in the middle of a call.
fn broken_off() -> ConnectorError {
    ConnectorError::new(
        ConnectorErrorKind::Protocol,
        "the connector broke off while it exported; what it had sent is decided by the next import",
    )
}
