//! The agent between directories and their target: what is due, in which order, and what keeps it from being sent
//! (specification: sync engine 7). Independent of the object cycle: it reads what runs have committed, and writes
//! nothing that they read.

use super::domain::{Reading, failure};
use super::plan;
use super::shared::{Believed, Shared, off_thread};
use super::state::{DomainState, FullRequest, Held, PairState};
use crate::connector::{ConnectorErrorKind, Installation, PasswordFeatures};
use crate::context::Context;
use crate::events::{EventSink, PasswordEvent};
use crate::model::{ConnectorId, CsId, Timestamp};
use crate::rules::{RuleSet, RunParameters};
use crate::store::{ChangeSet, Snapshot, Store, StoreError, Watch};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

pub use super::push::PushError;
pub use super::shared::{Pair, Unread};

/// Time between two cycles (specification: sync engine 7.1).
pub const INTERVAL: Duration = Duration::from_mins(2);
/// A target that was sent nothing for so long gets a sign of life (specification: sync engine 7.4).
pub const HEARTBEAT: Duration = Duration::from_mins(30);
/// So many accounts are read one by one whatever their share is.
pub(super) const FULL_READ_FLOOR: usize = 500;

/// What an agent works with.
pub struct AgentSettings {
    /// The store.
    pub store: Store,
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// Parameters of rules; the time is set for each cycle.
    pub parameters: RunParameters,
    /// The directories whose passwords are synchronized.
    pub pairs: Vec<Pair>,
    /// This installation only watches: nothing is read or sent.
    pub staging: bool,
    /// Who we are: where somebody else writes, nothing is sent. `None` does not look.
    pub installation: Option<Installation>,
    /// Shared with every other agent that works on the same store.
    pub turn: AgentTurn,
    /// Hears what happened, after it is committed.
    pub events: Arc<dyn EventSink>,
}

/// The turn to work on passwords. Agents of one store share it: whoever has it is the only one that reads, sends and notes, so that no
/// answer for an older password comes behind a newer one that another agent sent.
#[derive(Clone, Debug, Default)]
pub struct AgentTurn(Arc<Mutex<()>>);

impl AgentTurn {
    /// Somebody has it, and whoever wants it now waits.
    pub fn is_taken(&self) -> bool {
        self.0.try_lock().is_err()
    }

    /// Takes it as soon as it is free. `None`: whoever wanted it gave up first.
    pub(super) async fn take(&self, cx: &Context) -> Option<OwnedMutexGuard<()>> {
        tokio::select! {
            biased;
            () = cx.cancel.cancelled() => None,
            turn = Arc::clone(&self.0).lock_owned() => Some(turn),
        }
    }
}

/// Reads password changes and sends them, again and again.
pub struct Agent {
    pub(super) shared: Arc<Shared>,
    pairs: Vec<Pair>,
    pub(super) staging: bool,
    pub(super) installation: Option<Installation>,
    /// Held during a cycle or a push, so that none overlaps another.
    pub(super) turn: AgentTurn,
    memory: Mutex<Memory>,
}

/// What may be forgotten when the process ends.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) holds: HashMap<ConnectorId, Hold>,
}

/// A target that does not answer, and when to ask again, on the clock of durations.
pub(super) struct Hold {
    pub(super) until: Duration,
    pub(super) attempts: u32,
}

/// What a cycle reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CycleKind {
    /// What changed, and what is due.
    Changes,
    /// Everything: all accounts that take part are sent once more. A restart goes on with it.
    Full,
}

/// What a cycle came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CycleReport {
    /// One for each directory, in order.
    pub pairs: Vec<PairReport>,
}

/// What became of one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairReport {
    /// The directory's name.
    pub source: String,
    /// Why nothing was sent, or why sending ended early.
    pub held: Option<Held>,
    /// The directory as a whole could not be asked.
    pub error: Option<String>,
    /// The domains that were read.
    pub domains: Vec<DomainReport>,
}

/// What a report says of a directory or a domain that was not read to its end because somebody asked for it.
pub(super) const TOLD_TO_STOP: &str = "told to stop before everything was read and sent";

/// What became of one domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainReport {
    /// The domain.
    pub domain: String,
    /// Everything was read, not only changes.
    pub full: bool,
    /// Objects that the directory gave.
    pub seen: u64,
    /// Accounts that the target took.
    pub accepted: u64,
    /// Accounts that failed and are tried again.
    pub failed: u64,
    /// Why it could not be read to the end.
    pub error: Option<String>,
}

impl Agent {
    /// An agent; it does nothing before its first cycle.
    pub fn new(settings: AgentSettings) -> Self {
        let AgentSettings { store, rules, parameters, pairs, staging, installation, turn, events } = settings;
        let targets = pairs.iter().map(|pair| (pair.source, pair.target)).collect();
        let shared = Arc::new(Shared { store, rules, parameters, pairs: targets, events });
        Self { shared, pairs, staging, installation, turn, memory: Mutex::default() }
    }

    /// The directories and their target, in order.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Cycles every two minutes, and earlier when somebody calls, until told to stop. What one cycle could not do, the
    /// next one tries again.
    pub async fn run(&self, cx: &Context, wake: &Notify) {
        self.tell(cx, PasswordEvent::Starting);
        let mut alive = cx.clock.elapsed();
        let mut failing = None;
        while !cx.cancelled() {
            let began = cx.clock.elapsed();
            // What goes on failing in the same way is told once.
            let failed = self.cycle(cx, CycleKind::Changes).await.err().map(|error| error.to_string());
            if failed.is_some() && failed != failing {
                let message = failed.clone().unwrap_or_default();
                self.tell(cx, PasswordEvent::Failed { message });
            }
            failing = failed;
            if began.saturating_sub(alive) >= HEARTBEAT {
                alive = began;
                self.tell(cx, PasswordEvent::Alive);
            }
            let rest = INTERVAL.saturating_sub(cx.clock.elapsed().saturating_sub(began));
            tokio::select! {
                () = cx.clock.sleep(rest) => {}
                () = wake.notified() => {}
                () = cx.cancel.cancelled() => {}
            }
        }
        self.tell(cx, PasswordEvent::Stopping);
        self.tell(cx, PasswordEvent::Stopped);
    }

    /// One cycle over all directories and their domains in turn; what fails in one holds up no other. Waits for a cycle or a push
    /// that is under way, also one of another agent; told to stop meanwhile, it reports nothing.
    ///
    /// # Errors
    /// When the store refuses. What goes wrong with a directory or a target is in the report and is tried again.
    pub async fn cycle(&self, cx: &Context, kind: CycleKind) -> Result<CycleReport, StoreError> {
        let Some(_turn) = self.turn.take(cx).await else { return Ok(CycleReport::default()) };
        let mut memory = self.memory.lock().await;
        let now = cx.now();
        if kind == CycleKind::Full {
            for pair in &self.pairs {
                let (store, source) = (self.shared.store.clone(), pair.source);
                off_thread(move || request_full(&store, source, now)).await?;
            }
        }
        let mut report = CycleReport::default();
        if self.staging {
            let held = |pair: &Pair| PairReport { source: pair.source_name.clone(), held: Some(Held::Staging), ..PairReport::default() };
            report.pairs = self.pairs.iter().map(held).collect();
            return Ok(report);
        }
        self.watch(now).await?;
        let (shared, spaces) = (self.shared.clone(), self.spaces());
        off_thread(move || plan::follow_moves(&shared, &spaces, now)).await?;
        let mut features = HashMap::new();
        for pair in &self.pairs {
            if cx.cancelled() {
                let (source, error) = (pair.source_name.clone(), Some(TOLD_TO_STOP.to_owned()));
                report.pairs.push(PairReport { source, error, ..PairReport::default() });
                continue;
            }
            report.pairs.push(self.pair(cx, &mut memory, &mut features, pair).await?);
        }
        Ok(report)
    }

    pub(super) fn pair_of(&self, account: CsId) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.source == account.connector())
    }

    pub(super) fn tell(&self, cx: &Context, event: PasswordEvent) {
        self.shared.tell(cx.now(), event);
    }

    fn spaces(&self) -> BTreeSet<ConnectorId> {
        self.pairs.iter().flat_map(|pair| [pair.source, pair.target]).collect()
    }

    /// Has the store note what moves in our spaces. Where it did not before, all accounts are looked at.
    async fn watch(&self, now: Timestamp) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let pairs: Vec<_> = self.pairs.iter().map(|pair| (pair.source, pair.target)).collect();
        off_thread(move || {
            let mut wanted: BTreeMap<ConnectorId, Watch> = pairs.iter().map(|(_, target)| (*target, Watch::default())).collect();
            shared.routes(now, |routes| {
                wanted.extend(pairs.iter().map(|(source, _)| (*source, Watch { referred: routes.asks_for_members(*source) })));
            });
            let wanted: Vec<_> = wanted.into_iter().collect();
            let snapshot = shared.store.snapshot()?;
            let known = snapshot.watched()?;
            if known == wanted {
                return Ok(());
            }
            let mut changes = ChangeSet::new();
            for (source, target) in pairs {
                let state = PairState { rules: None, ..PairState::read(&snapshot, source, target)? };
                state.write(&mut changes, source)?;
            }
            changes.watched = Some(wanted.clone());
            shared.store.apply(changes)?;
            let left = known.iter().map(|(connector, _)| *connector).filter(|left| wanted.iter().all(|(connector, _)| connector != left));
            left.into_iter().try_for_each(|connector| forget_moved(&shared.store, connector))
        })
        .await
    }

    async fn pair(
        &self,
        cx: &Context,
        memory: &mut Memory,
        known: &mut HashMap<ConnectorId, PasswordFeatures>,
        pair: &Pair,
    ) -> Result<PairReport, StoreError> {
        let mut report = PairReport { source: pair.source_name.clone(), ..PairReport::default() };
        let mut state = PairState::read(&self.shared.store.snapshot()?, pair.source, pair.target)?;
        self.synchronize_pair(cx, memory, known, pair, &mut state, &mut report).await?;
        report.held.clone_from(&state.held);
        state.last_cycle = Some(cx.now().0);
        let mut changes = ChangeSet::new();
        state.write(&mut changes, pair.source)?;
        // Distrusted since, the directory may have forgotten all this by now; the next cycle begins anew.
        let believed = Believed::since(pair, state.believed);
        self.shared.apply_believed(believed, changes).await?;
        Ok(report)
    }

    async fn synchronize_pair(
        &self,
        cx: &Context,
        memory: &mut Memory,
        known: &mut HashMap<ConnectorId, PasswordFeatures>,
        pair: &Pair,
        state: &mut PairState,
        report: &mut PairReport,
    ) -> Result<(), StoreError> {
        if !self.is_ready(cx, pair, state)? {
            return Ok(());
        }
        let believed = Believed::since(pair, state.believed);
        if memory.holds.get(&pair.target).is_some_and(|hold| hold.until > cx.clock.elapsed()) {
            state.held.get_or_insert(Held::Unreachable);
            return Ok(());
        }
        let features = match known.get(&pair.target) {
            Some(features) => features.clone(),
            None => match pair.sender.features(cx).await {
                Ok(features) => known.entry(pair.target).or_insert(features).clone(),
                Err(error) if error.kind == ConnectorErrorKind::Cancelled => {
                    note_told_to_stop(report);
                    return Ok(());
                }
                Err(error) => {
                    self.target_unknown(cx, memory, pair, state, &error);
                    return Ok(());
                }
            },
        };
        if !self.takes_passwords(cx, pair, state, &features) || self.is_displaced(cx, pair, state, &features).await? {
            return Ok(());
        }
        self.look(cx, pair, state, &features).await?;
        let domains = match pair.reader.domains(cx).await {
            Ok(domains) => domains,
            Err(error) if error.kind == ConnectorErrorKind::Cancelled => {
                note_told_to_stop(report);
                return Ok(());
            }
            Err(error) => {
                report.error = Some(error.to_string());
                let told = state.failure.as_ref().is_some_and(|known| known.kind == error.kind.as_str());
                if !told {
                    let (connector, error_kind, message) = (pair.source_name.clone(), error.kind.as_str().to_owned(), error.to_string());
                    self.tell(cx, PasswordEvent::DomainFailed { connector, domain: String::new(), error: error_kind, message });
                    state.failure = Some(failure(&error, cx.now()));
                }
                return self.heartbeat(cx, memory, pair, state).await;
            }
        };
        state.failure = None;
        state.domains.clone_from(&domains);
        let snapshot = self.shared.store.snapshot()?;
        let mut failing = false;
        for domain in &domains {
            failing |= DomainState::read(&snapshot, pair.source, domain)?.failure.is_some();
        }
        if !failing && FullRequest::read(&snapshot, pair.source)?.is_some_and(|full| full.done.is_empty()) {
            self.tell(cx, PasswordEvent::FullStarted { connector: pair.source_name.clone() });
        }
        drop(snapshot);
        let (shared, source, names, began) = (self.shared.clone(), pair.source, domains.clone(), cx.now());
        let mut due = off_thread(move || plan::due(&shared, source, &names, began)).await?;
        for (index, domain) in domains.iter().enumerate() {
            if cx.cancelled() {
                note_told_to_stop(report);
                return Ok(());
            }
            let due_here = due.anchors.remove(&index).unwrap_or_default();
            let many = due_here.len() >= FULL_READ_FLOOR && due_here.len() * 10 > due.in_scope;
            let work =
                Reading { pair, domains: &domains, domain, due: due_here, many, began, force_change: features.force_change, believed };
            let (done, stopped) = Box::pin(self.domain(cx, work)).await?;
            if done.accepted > 0 {
                self.wrote(cx, pair).await?;
                state.last_sent = Some(cx.now().0);
                (state.held, state.held_detail) = (None, None);
                memory.holds.remove(&pair.target);
            }
            report.domains.push(done);
            if let Some((Held::NotSynchronized, _)) = stopped {
                // What was kept of the pair may be forgotten.
                *state = PairState::read(&self.shared.store.snapshot()?, pair.source, pair.target)?;
                self.is_ready(cx, pair, state)?;
                return Ok(());
            }
            if let Some((held, error)) = stopped {
                self.target_stops(cx, memory, pair, state, held, &error);
                return Ok(());
            }
        }
        self.heartbeat(cx, memory, pair, state).await
    }

    /// Looks at all accounts when the rules, or the parameters that they read, are others than last time, and at
    /// temporary passwords when the target begins to take those.
    async fn look(&self, cx: &Context, pair: &Pair, state: &mut PairState, features: &PasswordFeatures) -> Result<(), StoreError> {
        let (rules, now) = (self.shared.mark(), cx.now());
        if state.rules != Some(rules) {
            let (shared, source) = (self.shared.clone(), pair.source);
            off_thread(move || plan::look_at_all(&shared, source, now)).await?;
            state.rules = Some(rules);
        }
        if features.force_change && !state.force_change {
            let (shared, source) = (self.shared.clone(), pair.source);
            off_thread(move || plan::wake_filtered(&shared, source, now)).await?;
        }
        state.force_change = features.force_change;
        let mut changes = ChangeSet::new();
        state.write(&mut changes, pair.source)?;
        self.shared.apply(changes).await
    }
}

/// Notes that a directory's passwords were not all read and sent because somebody asked for the end.
fn note_told_to_stop(report: &mut PairReport) {
    report.error = Some(TOLD_TO_STOP.to_owned());
}

/// Asks for a full synchronization of a directory's passwords: every account that takes part is sent once more. Kept
/// until it is done, whoever does it.
///
/// # Errors
/// When the store refuses.
pub fn request_full(store: &Store, source: ConnectorId, now: Timestamp) -> Result<(), StoreError> {
    FullRequest::ask(store, source, now)
}

/// Ends the watching of connector spaces, when passwords are synchronized no more. What is known of accounts stays.
///
/// # Errors
/// When the store refuses.
pub fn unwatch(store: &Store) -> Result<(), StoreError> {
    let watched = store.snapshot()?.watched()?;
    if watched.is_empty() {
        return Ok(());
    }
    store.apply(ChangeSet { watched: Some(Vec::new()), ..ChangeSet::new() })?;
    watched.into_iter().try_for_each(|(connector, _)| forget_moved(store, connector))
}

fn forget_moved(store: &Store, connector: ConnectorId) -> Result<(), StoreError> {
    let page = |snapshot: &Snapshot| snapshot.moved(connector, None, plan::PAGE);
    loop {
        let moved_seen = page(&store.snapshot()?)?;
        if moved_seen.is_empty() {
            return Ok(());
        }
        store.apply(ChangeSet { moved_seen, ..ChangeSet::new() })?;
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("pairs", &self.pairs).field("staging", &self.staging).finish_non_exhaustive()
    }
}
