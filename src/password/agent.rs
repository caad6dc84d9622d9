//! The agent between directories and their target: what is due, in which order, and what keeps it from being sent
//! (specification: sync engine 7). Independent of the object cycle: it reads what runs have committed, and writes
//! nothing that they read.

use super::outcome::{self, Planned};
use super::pass::{self, End, Order, Pass};
use super::plan;
use super::retry;
use super::shared::{Shared, off_thread};
use super::state::{self, DomainState, Failure, FullRequest, Held, PairState};
use crate::connector::{ConnectorError, ConnectorErrorKind, CredentialError, CredentialErrorKind, PasswordFeatures};
use crate::context::Context;
use crate::engine::password::{NoRoute, Route, is_synchronized};
use crate::events::{EventSink, PasswordEvent};
use crate::model::{ConnectorId, CsId, Timestamp};
use crate::rules::{RuleSet, RunParameters};
use crate::store::{ChangeSet, PasswordStamp, PasswordStatus, Snapshot, Store, StoreError, Watch};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};

pub use super::shared::Pair;

/// Time between two cycles (specification: sync engine 7.1).
pub const INTERVAL: Duration = Duration::from_secs(120);
/// A target that was sent nothing for so long gets a sign of life (specification: sync engine 7.4).
pub const HEARTBEAT: Duration = Duration::from_secs(30 * 60);
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
    /// Hears what happened, after it is committed.
    pub events: Arc<dyn EventSink>,
}

/// Reads password changes and sends them, again and again.
pub struct Agent {
    shared: Arc<Shared>,
    pairs: Vec<Pair>,
    staging: bool,
    /// Held during a cycle, so that none overlaps another.
    memory: Mutex<Memory>,
}

/// What may be forgotten when the process ends.
#[derive(Default)]
struct Memory {
    holds: HashMap<ConnectorId, Hold>,
}

/// A target that does not answer, and when to ask again.
struct Hold {
    until: Timestamp,
    attempts: u32,
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

/// Why one account could not be sent now.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// It takes no part.
    #[error("{0}")]
    NoRoute(NoRoute),
    /// This installation only watches.
    #[error("this installation is in staging mode; nothing is sent")]
    Staging,
    /// The directory could not be asked.
    #[error(transparent)]
    Source(#[from] ConnectorError),
    /// The directory does not have it, or no password of it.
    #[error("the directory gave no password for it")]
    NoPassword,
    /// It must be changed at the next sign-in, and the target does not take such passwords.
    #[error("it is a temporary password, and the tenant does not take those: switch on the feature, or set a lasting one")]
    Temporary,
    /// The target gave no answer.
    #[error(transparent)]
    Target(#[from] CredentialError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Agent {
    /// An agent; it does nothing before its first cycle.
    pub fn new(settings: AgentSettings) -> Self {
        let AgentSettings { store, rules, parameters, pairs, staging, events } = settings;
        let targets = pairs.iter().map(|pair| (pair.source, pair.target)).collect();
        let shared = Arc::new(Shared { store, rules, parameters, pairs: targets, events });
        Self { shared, pairs, staging, memory: Mutex::default() }
    }

    /// Cycles every two minutes, and earlier when somebody calls, until told to stop. What one cycle could not do, the
    /// next one tries again.
    pub async fn run(&self, cx: &Context, wake: &Notify) {
        self.tell(cx, PasswordEvent::Starting);
        while !cx.cancelled() {
            let began = cx.clock.elapsed();
            if let Err(error) = self.cycle(cx, CycleKind::Changes).await {
                self.tell(cx, PasswordEvent::Failed { message: error.to_string() });
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

    /// One cycle over all directories and their domains in turn; what fails in one holds up no other. Waits for a cycle
    /// that is under way.
    ///
    /// # Errors
    /// When the store refuses. What goes wrong with a directory or a target is in the report and is tried again.
    pub async fn cycle(&self, cx: &Context, kind: CycleKind) -> Result<CycleReport, StoreError> {
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
                break;
            }
            report.pairs.push(self.pair(cx, &mut memory, &mut features, pair).await?);
        }
        Ok(report)
    }

    /// Sends one account now, whether it was sent before or not. Waits for a cycle that is under way.
    ///
    /// # Errors
    /// Why it was not sent. An account that the target refuses is no error of ours: the status says so.
    pub async fn push(&self, cx: &Context, account: CsId) -> Result<PasswordStatus, PushError> {
        let outcome = self.push_account(cx, account).await;
        if let Err(error) = &outcome {
            let dn = self.shared.store.snapshot()?.cs_object(account)?.map_or_else(|| account.to_string(), |object| object.dn.to_string());
            let connector = self.pair_of(account).map(|pair| pair.source_name.clone()).unwrap_or_default();
            self.tell(cx, PasswordEvent::SingleFailed { connector, dn, message: error.to_string() });
        }
        outcome
    }

    async fn push_account(&self, cx: &Context, account: CsId) -> Result<PasswordStatus, PushError> {
        let _memory = self.memory.lock().await;
        let pair = self.pair_of(account).ok_or(PushError::NoRoute(NoRoute::NotPaired))?;
        if self.staging {
            return Err(PushError::Staging);
        }
        let now = cx.now();
        let snapshot = self.shared.store.snapshot()?;
        let destination = match self.shared.routes(now, |routes| routes.of(&snapshot, account))? {
            Route::Open(destination) => destination,
            Route::Closed(reason) => return Err(PushError::NoRoute(reason)),
        };
        let object = snapshot.cs_object(account)?.ok_or(PushError::NoRoute(NoRoute::NotPresent))?;
        let anchor = object.anchor.ok_or(PushError::NoRoute(NoRoute::NotPresent))?;
        let record = snapshot.password(account)?.unwrap_or_else(|| crate::store::PasswordRecord::new(PasswordStatus::Unknown));
        drop(snapshot);
        let domains = pair.reader.domains(cx).await?;
        let place = super::shared::domain_of(&object.dn, &domains);
        let asked = domains.iter().enumerate().filter(|(index, _)| place.is_none_or(|place| place == *index));
        let mut given = None;
        for (_, domain) in asked {
            let read = pair.reader.read(cx, domain, std::slice::from_ref(&anchor)).await?;
            given = read.into_iter().find(|change| change.anchor == anchor).map(|change| (domain.clone(), change));
            if given.is_some() {
                break;
            }
        }
        let (domain, change) = given.ok_or(PushError::NoPassword)?;
        let force_change = change.must_change.unwrap_or(record.must_change);
        let hash = change.hash.flatten().ok_or(PushError::NoPassword)?;
        if force_change && !pair.sender.features(cx).await?.force_change {
            return Err(PushError::Temporary);
        }
        let stamp = PasswordStamp { changed: change.changed, version: change.version };
        let record = crate::store::PasswordRecord { routed: true, must_change: force_change, seen: Some(stamp), ..record };
        let planned = Planned { account, dn: change.dn, destination, stamp, hash, force_change, record };
        let (connector, anchor) = (pair.source_name.clone(), planned.key().to_owned());
        let (dn, change_date) = (planned.dn.clone(), planned.changed(now));
        self.tell(cx, PasswordEvent::ChangeRequest { connector, domain: domain.clone(), anchor, dn, change_date });
        let (batch, answers) = pass::deliver(pair, cx, vec![planned]).await;
        let answers = answers?;
        let now = cx.now();
        let mut changes = ChangeSet::new();
        let mut told = Vec::new();
        let mut status = PasswordStatus::Unknown;
        for (planned, answer) in batch.iter().zip(&answers) {
            let record = outcome::answered(planned, answer, now, cx.seed);
            status = record.status;
            told.extend(outcome::result(&pair.source_name, &domain, planned, answer, &record, now));
            changes.passwords.push((account, Some(record)));
        }
        self.shared.apply(changes).await?;
        told.into_iter().for_each(|event| self.tell(cx, event));
        Ok(status)
    }

    fn pair_of(&self, account: CsId) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.source == account.connector())
    }

    fn tell(&self, cx: &Context, event: PasswordEvent) {
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
                state.write(&mut changes, source);
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
        state.write(&mut changes, pair.source);
        self.shared.apply(changes).await?;
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
        if memory.holds.get(&pair.target).is_some_and(|hold| hold.until > cx.now()) {
            state.held.get_or_insert(Held::Unreachable);
            return Ok(());
        }
        let features = match known.get(&pair.target) {
            Some(features) => *features,
            None => match pair.sender.features(cx).await {
                Ok(features) => *known.entry(pair.target).or_insert(features),
                Err(error) if error.kind == ConnectorErrorKind::Cancelled => return Ok(()),
                Err(error) => {
                    self.target_unknown(cx, memory, pair, state, &error);
                    return Ok(());
                }
            },
        };
        if !self.takes_passwords(cx, pair, state, features) {
            return Ok(());
        }
        self.look(cx, pair, state, features).await?;
        let domains = match pair.reader.domains(cx).await {
            Ok(domains) => domains,
            Err(error) if error.kind == ConnectorErrorKind::Cancelled => return Ok(()),
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
        if FullRequest::read(&self.shared.store.snapshot()?, pair.source)?.is_some_and(|full| full.done.is_empty()) {
            self.tell(cx, PasswordEvent::FullStarted { connector: pair.source_name.clone() });
        }
        let (shared, source, names, began) = (self.shared.clone(), pair.source, domains.clone(), cx.now());
        let mut due = off_thread(move || plan::due(&shared, source, &names, began)).await?;
        for (index, domain) in domains.iter().enumerate() {
            if cx.cancelled() {
                return Ok(());
            }
            let due_here = due.anchors.remove(&index).unwrap_or_default();
            let many = due_here.len() >= FULL_READ_FLOOR && due_here.len() * 10 > due.in_scope;
            let work = Domain { pair, domains: &domains, domain, due: due_here, many, began, force_change: features.force_change };
            let (done, stopped) = self.domain(cx, work).await?;
            if done.accepted > 0 {
                state.last_sent = Some(cx.now().0);
                memory.holds.remove(&pair.target);
            }
            report.domains.push(done);
            if let Some((held, error)) = stopped {
                self.target_stops(cx, memory, pair, state, held, &error);
                return Ok(());
            }
        }
        self.heartbeat(cx, memory, pair, state).await
    }

    /// True when both sides were read and synchronized in full once.
    fn is_ready(&self, cx: &Context, pair: &Pair, state: &mut PairState) -> Result<bool, StoreError> {
        if state.ready {
            return Ok(true);
        }
        let snapshot = self.shared.store.snapshot()?;
        let mut waiting_for = Vec::new();
        for (connector, name) in [(pair.source, &pair.source_name), (pair.target, &pair.target_name)] {
            if !is_synchronized(&snapshot, connector)? {
                waiting_for.push(name.as_str());
            }
        }
        state.ready = waiting_for.is_empty();
        if state.ready {
            state.held = None;
        } else if state.held != Some(Held::NotSynchronized) {
            let (connector, waiting_for) = (pair.source_name.clone(), waiting_for.join(", "));
            self.tell(cx, PasswordEvent::Paused { connector, waiting_for });
            state.held = Some(Held::NotSynchronized);
        }
        Ok(state.ready)
    }

    /// The target's settings could not be read.
    fn target_unknown(&self, cx: &Context, memory: &mut Memory, pair: &Pair, state: &mut PairState, error: &ConnectorError) {
        let held = match error.kind {
            ConnectorErrorKind::Disabled => Held::Disabled,
            ConnectorErrorKind::Authentication | ConnectorErrorKind::Permission => Held::Denied,
            _ => Held::Unreachable,
        };
        if state.held.as_ref() != Some(&held) {
            let (connector, message) = (pair.target_name.clone(), error.to_string());
            self.tell(
                cx,
                match held {
                    Held::Disabled => PasswordEvent::HealingStart { connector, message },
                    Held::Denied => PasswordEvent::AccessDenied { connector, message },
                    _ => PasswordEvent::TargetFailed { connector, message },
                },
            );
        }
        if held != Held::Disabled {
            hold(cx, memory, pair.target, None);
        }
        (state.held, state.held_detail) = (Some(held), Some(error.to_string()));
    }

    /// True when the target's features let passwords through; tells when that changes.
    fn takes_passwords(&self, cx: &Context, pair: &Pair, state: &mut PairState, features: PasswordFeatures) -> bool {
        let off = if !features.synchronization {
            Some((Held::Disabled, "directory synchronization is off in the tenant; switch it on there"))
        } else if !features.password_hashes {
            Some((Held::SwitchedOff, "password hash synchronization is off in the tenant; switch it on: syncline phs enable"))
        } else {
            None
        };
        let Some((held, detail)) = off else {
            if matches!(state.held, Some(Held::SwitchedOff | Held::Disabled)) {
                self.tell(cx, PasswordEvent::HealingEnd { connector: pair.target_name.clone() });
            }
            (state.held, state.held_detail) = (None, None);
            return true;
        };
        if state.held.as_ref() != Some(&held) {
            let (connector, message) = (pair.target_name.clone(), detail.to_owned());
            self.tell(cx, PasswordEvent::HealingStart { connector, message });
        }
        (state.held, state.held_detail) = (Some(held), Some(detail.to_owned()));
        false
    }

    /// Looks at all accounts when the rules are others than last time, and at temporary passwords when the target
    /// begins to take those.
    async fn look(&self, cx: &Context, pair: &Pair, state: &mut PairState, features: PasswordFeatures) -> Result<(), StoreError> {
        let (rules, now) = (self.shared.rules.fingerprint(), cx.now());
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
        state.write(&mut changes, pair.source);
        self.shared.apply(changes).await
    }

    /// Reads a domain and sends what it has to. With the report, why the target takes no more.
    async fn domain(&self, cx: &Context, work: Domain<'_>) -> Result<(DomainReport, Option<(Held, CredentialError)>), StoreError> {
        let Domain { pair, domains, domain, due, many, began, force_change } = work;
        let snapshot = self.shared.store.snapshot()?;
        let mut kept = DomainState::read(&snapshot, pair.source, domain)?;
        let cookie = state::cookie(&snapshot, pair.source, domain)?;
        let request = FullRequest::read(&snapshot, pair.source)?;
        let requested = request.filter(|full| !full.done.iter().any(|done| done == domain)).map(|full| full.requested);
        drop(snapshot);
        let place = || (pair.source_name.clone(), domain.to_owned());
        let mut full = requested.is_some() || many || cookie.is_none();
        let order = |since: Option<Vec<u8>>, asked| Order {
            domain: domain.to_owned(),
            since,
            asked,
            force_change,
            full_since: requested.map(Timestamp),
        };
        let start_full = || {
            let (connector, domain) = place();
            self.tell(cx, PasswordEvent::FullDomainStarted { connector, domain });
        };
        let first = if full {
            start_full();
            order(None, Vec::new())
        } else {
            order(cookie, due)
        };
        let mut result = Pass::new(&self.shared, pair, cx, first).run().await?;
        if !full && matches!(&result.end, End::Source(error) if error.kind == ConnectorErrorKind::WatermarkLost) {
            full = true;
            start_full();
            result = Pass::new(&self.shared, pair, cx, order(None, Vec::new())).run().await?;
        }
        let now = cx.now();
        let mut report = DomainReport {
            domain: domain.to_owned(),
            full,
            seen: result.seen,
            accepted: result.accepted,
            failed: result.failed,
            error: None,
        };
        let (connector, name) = place();
        let mut changes = ChangeSet::new();
        let mut all_done = false;
        if let Some(completion) = result.completion {
            kept.last_read = Some(now.0);
            kept.server = completion.server;
            if full {
                kept.last_full = Some(now.0);
                let (connector, domain) = (connector.clone(), name.clone());
                self.tell(cx, PasswordEvent::FullDomainCompleted { connector, domain, count: result.accepted });
                // As it stands now: somebody may have asked anew meanwhile.
                let request = FullRequest::read(&self.shared.store.snapshot()?, pair.source)?;
                if let Some(mut request) = request.filter(|request| Some(request.requested) == requested) {
                    request.done.push(name.clone());
                    all_done = domains.iter().all(|domain| request.done.contains(domain));
                    FullRequest::write(Some(&request).filter(|_| !all_done), &mut changes, pair.source);
                }
            }
        }
        let mut stopped = None;
        match result.end {
            End::Complete => {
                if kept.failure.take().is_some() {
                    self.tell(cx, PasswordEvent::DomainResumed { connector, domain: name });
                }
                let (shared, source, seed) = (self.shared.clone(), pair.source, cx.seed);
                let (domain, domains) = (domain.to_owned(), domains.to_vec());
                off_thread(move || plan::put_off_missed(&shared, source, (&domain, &domains), began, now, seed)).await?;
            }
            End::Cancelled => {}
            End::Source(error) => {
                report.error = Some(error.to_string());
                if kept.failure.as_ref().is_none_or(|known| known.kind != error.kind.as_str()) {
                    let (kind, message) = (error.kind.as_str().to_owned(), error.to_string());
                    if full {
                        let (connector, domain) = place();
                        self.tell(cx, PasswordEvent::FullFailed { connector, domain, message: message.clone() });
                    }
                    self.tell(cx, PasswordEvent::DomainFailed { connector, domain: name, error: kind, message });
                    kept.failure = Some(failure(&error, now));
                }
            }
            End::Target(held, error) => {
                report.error = Some(error.message.clone());
                stopped = Some((held, error));
            }
        }
        kept.write(&mut changes, pair.source, domain);
        self.shared.apply(changes).await?;
        if all_done {
            self.tell(cx, PasswordEvent::FullCompleted { connector: pair.source_name.clone() });
        }
        Ok((report, stopped))
    }

    /// The target takes nothing more for the time being. Told once.
    fn target_stops(&self, cx: &Context, memory: &mut Memory, pair: &Pair, state: &mut PairState, held: Held, error: &CredentialError) {
        let (connector, message) = (pair.target_name.clone(), error.message.clone());
        if state.held.as_ref() != Some(&held) {
            match held {
                Held::SwitchedOff | Held::Disabled => self.tell(cx, PasswordEvent::HealingStart { connector, message }),
                Held::Denied => self.tell(cx, PasswordEvent::AccessDenied { connector, message }),
                _ => {}
            }
        }
        if matches!(held, Held::Denied | Held::Unreachable) {
            hold(cx, memory, pair.target, error.retry_after);
        }
        (state.held, state.held_detail) = (Some(held), Some(error.message.clone()));
    }

    /// A sign of life when nothing was sent for a while (specification: sync engine 7.4, point 7).
    async fn heartbeat(&self, cx: &Context, memory: &mut Memory, pair: &Pair, state: &mut PairState) -> Result<(), StoreError> {
        let last = state.last_sent.max(state.last_heartbeat).map(Timestamp);
        if cx.cancelled() || last.is_some_and(|last| retry::between(last, cx.now()) < HEARTBEAT) {
            return Ok(());
        }
        self.tell(cx, PasswordEvent::PingStart { connector: pair.target_name.clone() });
        match pair.sender.send(cx, &[], Duration::from_secs(30)).await {
            Ok(_) => {
                state.last_heartbeat = Some(cx.now().0);
                state.heartbeat_failure = None;
                memory.holds.remove(&pair.target);
                self.tell(cx, PasswordEvent::PingEnd { connector: pair.target_name.clone() });
            }
            Err(error) if error.kind == CredentialErrorKind::Cancelled => {}
            Err(error) => {
                state.heartbeat_failure = Some(error.message.clone());
                let (connector, message) = (pair.target_name.clone(), error.message.clone());
                let (error_code, tracking_id) = (error.code, error.tracking_id.clone());
                self.tell(cx, PasswordEvent::PingFailed { connector, error_code, tracking_id, message });
                let held = match error.kind {
                    CredentialErrorKind::SwitchedOff => Held::SwitchedOff,
                    CredentialErrorKind::Disabled => Held::Disabled,
                    CredentialErrorKind::Denied => Held::Denied,
                    _ => Held::Unreachable,
                };
                self.target_stops(cx, memory, pair, state, held, &error);
            }
        }
        Ok(())
    }
}

/// One domain to be read.
struct Domain<'d> {
    pair: &'d Pair,
    domains: &'d [String],
    domain: &'d str,
    due: Vec<crate::model::Anchor>,
    many: bool,
    began: Timestamp,
    force_change: bool,
}

fn failure(error: &ConnectorError, now: Timestamp) -> Failure {
    Failure { kind: error.kind.as_str().to_owned(), message: error.to_string(), since: now.0 }
}

/// Leaves a target alone for a while.
fn hold(cx: &Context, memory: &mut Memory, target: ConnectorId, asked: Option<Duration>) {
    let attempts = memory.holds.get(&target).map_or(0, |hold| hold.attempts).saturating_add(1);
    let jitter = retry::jitter(cx.seed, CsId::new(target, 0), attempts);
    let until = retry::again(cx.now(), attempts, asked, jitter);
    memory.holds.insert(target, Hold { until, attempts });
}

/// Asks for a full synchronization of a directory's passwords: every account that takes part is sent once more. Kept
/// until it is done, whoever does it.
///
/// # Errors
/// When the store refuses.
pub fn request_full(store: &Store, source: ConnectorId, now: Timestamp) -> Result<(), StoreError> {
    let mut changes = ChangeSet::new();
    FullRequest::write(Some(&FullRequest { requested: now.0, done: Vec::new() }), &mut changes, source);
    store.apply(changes)
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
