//! Export: sends what synchronization wants and nobody has sent, and never loses track of what it sent.
//!
//! Deletes are counted over the whole queue before the first call. Then, wave by wave: commit that a batch is handed
//! over, send it, commit the answers; the answers of one batch and the hand-over of the next share a commit. Whatever
//! has no answer stays handed over until an import shows what became of it. (Specification: sync engine, section 4;
//! architecture 6 and 8, invariants 7 to 10.)

mod answer;
mod deltas;
mod plan;
mod prepare;
mod preview;
mod queue;

pub use plan::ExportPlan;
pub use preview::{ExportPreview, PlannedExport, plan_export};
pub use queue::ExportSummary;

use super::bridge::{Bridge, Calls};
use super::{EngineError, StepRecorder};
use crate::connector::{Connector, ConnectorError, ConnectorErrorKind, ExportBatch, ExportReply, ExportTerms, ExportTotals};
use crate::context::Context;
use crate::events::Event;
use crate::model::{ConnectorId, CsId, RunId};
use crate::store::{ChangeSet, Snapshot, Store, StoreError};
use prepare::{Batch, Sent, Waiting};
use queue::Queue;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// The state that tells that something was exported to a connector before.
const EXPORTED: &str = "exported";
/// The state that keeps the target's terms.
const TERMS: &str = "export-terms";

/// A set of pending deletes that somebody has looked at: how many, and which. Written as `600-91f2c3d4e5a60718`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteSet {
    /// How many objects.
    pub count: u64,
    /// Differs for every other set, except by a chance of one in 2^64.
    pub fingerprint: u64,
}

impl std::fmt::Display for DeleteSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:016x}", self.count, self.fingerprint)
    }
}

impl std::str::FromStr for DeleteSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('-').filter(|(_, name)| name.len() == 16);
        let read =
            |(count, name): (&str, &str)| Some(Self { count: count.parse().ok()?, fingerprint: u64::from_str_radix(name, 16).ok()? });
        parts.and_then(read).ok_or_else(|| {
            format!(
                "'{text}' names no set of deletes, such as 600-91f2c3d4e5a60718; `syncline export --what-if` shows the name of what waits"
            )
        })
    }
}

/// Has the last word before anything is sent.
pub trait ExportReview: Send + Sync {
    /// Lets the export to a target go on, or says why not and what to do. `first`: nothing was ever exported to it.
    ///
    /// # Errors
    /// Why not, and what to do.
    fn allow(&self, connector: ConnectorId, summary: &ExportSummary, first: bool) -> Result<(), String>;
}

/// How careful to be.
#[derive(Clone)]
pub struct ExportOptions {
    /// The connector whose queue is sent.
    pub connector: ConnectorId,
    /// Its name.
    pub name: String,
    /// More deletes than this stop the export before the first call; `None` is no limit of ours.
    pub deletes_max: Option<u64>,
    /// The same as a share of the objects known to exist in the target, in percent.
    pub delete_percent_max: Option<u32>,
    /// Deletes allowed this once, whatever the limits say; no others.
    pub allow_deletes: Option<DeleteSet>,
    /// Deletes stay where they are this time, for this reason.
    pub hold_deletes: Option<String>,
    /// More refused objects than this end the step.
    pub errors_max: u64,
    /// This installation only watches.
    pub staging: bool,
    /// Export although this installation only watches.
    pub force: bool,
    /// Asked before the first call.
    pub review: Option<Arc<dyn ExportReview>>,
    /// The run and the step, for the history.
    pub step: (RunId, u32),
}

impl ExportOptions {
    /// The usual care: at most 500 deletes (specification: sync engine, section 5.5).
    pub fn new(connector: ConnectorId, name: impl Into<String>, step: (RunId, u32)) -> Self {
        Self {
            connector,
            name: name.into(),
            deletes_max: Some(500),
            delete_percent_max: None,
            allow_deletes: None,
            hold_deletes: None,
            errors_max: 5_000,
            staging: false,
            force: false,
            review: None,
            step,
        }
    }
}

impl std::fmt::Debug for ExportOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportOptions").field("connector", &self.connector).field("deletes_max", &self.deletes_max).finish_non_exhaustive()
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
    if options.staging && !options.force {
        let message =
            format!("this installation is in staging mode: nothing is exported to {}. To do it all the same, say so", options.name);
        recorder.event(Event::ExportLeftOut { connector: options.name.clone() });
        return Err(EngineError::Guard { result: "no-start-staging-mode", message });
    }
    if !connector.capabilities().export {
        let message = format!("{} takes no exports: it is configured as a source", options.name);
        return Err(EngineError::Guard { result: "no-start-export-not-supported", message });
    }
    let snapshot = store.snapshot()?;
    let mut queue = Queue::load(&snapshot, options.connector)?;
    let held = options.hold_deletes.as_ref().filter(|_| queue.summary.deletes > 0);
    if let Some(reason) = held {
        recorder.note(format!("{} deletes were not sent, because {reason}; they wait for the next export", queue.summary.deletes));
        queue.hold_deletes();
    }
    if queue.is_empty() {
        return Ok((if held.is_some() { "completed-warnings" } else { "success" }, ExportOutcome::default()));
    }
    let first = !was_exported(&snapshot, options.connector)?;
    drop(snapshot);
    let terms = bridge.wait(connector.begin_export(cx))?;
    remember_terms(store, options.connector, terms)?;
    if options.delete_percent_max.or(terms.delete_percent_max).is_some() && queue.summary.deletes > 0 {
        queue.summary.count_existing(&store.snapshot()?, options.connector)?;
    }
    guard(&queue.summary, options, terms, recorder)?;
    if let Some(review) = &options.review {
        let stopped = |message| EngineError::Guard { result: "stopped-by-review", message };
        review.allow(options.connector, &queue.summary, first).map_err(stopped)?;
    }
    recorder.expect(Some(queue.len()));
    let mut run = Run {
        store,
        connector,
        bridge,
        options,
        cx,
        calls: bridge.calls(),
        waiting: Waiting::default(),
        again: BTreeSet::new(),
        moving: HashSet::new(),
        behind_deletes: BTreeSet::new(),
        deletes_follow: false,
        retried: HashSet::new(),
        counted: HashSet::new(),
        merged: false,
        problem: None,
        outcome: ExportOutcome::default(),
        accepted: 0,
        first,
    };
    run.all(queue, recorder)?;
    let (result, outcome) = run.finish(recorder)?;
    Ok((if held.is_some() && result == "success" { "completed-warnings" } else { result }, outcome))
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
    })
}

fn remember_terms(store: &Store, connector: ConnectorId, terms: ExportTerms) -> Result<(), StoreError> {
    if known_terms(&store.snapshot()?, connector)? == terms {
        return Ok(());
    }
    let shown = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let (percent, interval) = (terms.delete_percent_max.map(u64::from), terms.interval.map(|interval| interval.as_secs()));
    let kept = format!("{} {} {}", shown(terms.deletes_max), shown(percent), shown(interval));
    let mut changes = ChangeSet::new();
    changes.states.push((connector, TERMS.to_owned(), Some(kept.into_bytes())));
    store.apply(changes)
}

/// Stops before the first call when more deletes are pending than may be sent.
fn guard(summary: &ExportSummary, options: &ExportOptions, terms: ExportTerms, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
    let Some(limit) = summary.delete_limit(options.deletes_max, options.delete_percent_max, terms) else { return Ok(()) };
    if summary.deletes <= limit || options.allow_deletes == Some(summary.delete_set()) {
        return Ok(());
    }
    recorder.event(Event::DeletionThreshold { connector: options.name.clone(), pending: summary.deletes, limit });
    let other = options.allow_deletes.map_or_else(String::new, |allowed| format!("the set {allowed} is allowed, another one waits: "));
    let message = format!(
        "{other}{} deletes are pending for {} and {limit} are allowed; nothing was sent. Review them with `syncline export --what-if`, \
         then allow exactly these once with `syncline export '{}' --allow-deletes {}`",
        summary.deletes,
        options.name,
        options.name,
        summary.delete_set()
    );
    Err(EngineError::Guard { result: "stopped-deletion-threshold-exceeded", message })
}

type Answer = Result<ExportReply, ConnectorError>;

struct Run<'a> {
    store: &'a Store,
    connector: &'a Arc<dyn Connector>,
    bridge: &'a Bridge,
    options: &'a ExportOptions,
    cx: &'a Context,
    calls: Calls<Vec<Sent>, Answer>,
    /// Objects with something left that could not be sent yet.
    waiting: Waiting,
    /// Objects to be sent once more, in another way.
    again: BTreeSet<CsId>,
    /// Objects whose names are about to change: until that is answered, nobody can say what to call them.
    moving: HashSet<CsId>,
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
    accepted: u64,
    first: bool,
}

impl Run<'_> {
    fn all(&mut self, mut queue: Queue, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        self.moving = std::mem::take(&mut queue.moving);
        let (before, deletes) = queue.into_waves();
        self.deletes_follow = !deletes.is_empty();
        for wave in before {
            self.wave(&wave, true, recorder)?;
        }
        self.moving.clear();
        self.rest(recorder)?;
        self.deletes_follow = false;
        for wave in deletes {
            self.wave(&wave, true, recorder)?;
        }
        self.again.append(&mut self.behind_deletes);
        self.rest(recorder)
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
            if self.cx.cancelled() && self.problem.is_none() {
                self.problem = Some(EngineError::Cancelled);
            }
            let mut ready: Vec<Batch> = Vec::new();
            if self.problem.is_none() && !rest.is_empty() {
                let snapshot = self.store.snapshot()?;
                while !rest.is_empty() && self.calls.len() + ready.len() < in_flight {
                    let from =
                        prepare::From { snapshot: &snapshot, names: self.store.names(), capabilities: &capabilities, moving: &self.moving };
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
                let (connector, cx) = (Arc::clone(self.connector), self.cx.clone());
                let batch = ExportBatch { operations };
                self.calls.start(sent, async move { connector.export(&cx, &batch).await });
            }
            let Some(mut ended) = self.calls.next_ended() else {
                if rest.is_empty() || self.problem.is_some() {
                    return Ok(());
                }
                continue;
            };
            loop {
                let (sent, answer) = ended;
                self.answer(sent, answer, &mut changes, recorder)?;
                match self.calls.ended_already() {
                    Some(next) => ended = next,
                    None => break,
                }
            }
        }
    }

    fn commit(&self, changes: &mut ChangeSet) -> Result<(), EngineError> {
        if !changes.is_empty() {
            self.store.apply(std::mem::take(changes))?;
        }
        Ok(())
    }

    fn finish(mut self, recorder: &mut StepRecorder<'_>) -> Result<(&'static str, ExportOutcome), EngineError> {
        let mut changes = ChangeSet::new();
        if self.first && self.accepted > 0 {
            changes.states.push((self.options.connector, EXPORTED.to_owned(), Some(vec![1])));
        }
        self.commit(&mut changes)?;
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
