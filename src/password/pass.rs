//! One pass over one domain: pages come in, accounts are judged, batches go out several at a time, results are noted.
//!
//! The next page is asked for when what is ready runs low, so that memory is bounded by pages, whatever the size of
//! the domain.

use super::decision::Terms;
use super::flight::{Flight, deliver};
use super::hand::{Hand, is_suspect};
use super::outcome::{self, Planned};
use super::plan::{self, PagePlan};
use super::retry;
use super::shared::{Believed, Judge, Pair, Shared, off_thread};
use super::state::{self, Held};
use crate::connector::{
    ConnectorError, ConnectorErrorKind, CredentialAnswer, CredentialError, CredentialErrorKind, Installation, PASSWORD_BATCH,
    PasswordCompletion, PasswordFeatures, PasswordPage, PasswordRequest, PasswordStream,
};
use crate::context::Context;
use crate::engine::active;
use crate::events::PasswordEvent;
use crate::model::{Anchor, CsId, Timestamp};
use crate::store::{ChangeSet, PasswordRecord, StoreError};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Batches that wait for an answer at one time.
const FLIGHTS: usize = 6;
/// Below this many accounts ready to go the next page is asked for.
const LOW: usize = 2 * FLIGHTS * PASSWORD_BATCH;
/// Accounts asked for by name in one call.
const ASKED: usize = 200;
/// Results are noted when there are this many.
const NOTED: usize = 300;
/// So many batches in a row without an answer, and the pass ends: the target is not there.
const FAILURES: u32 = 8;
/// Objects read between two reports of progress.
const PROGRESS: u64 = 10_000;
/// While it goes on, a pass asks so often who else writes to the target: one over everybody takes long.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// What a pass is to do.
pub(super) struct Order {
    /// The domain.
    pub(super) domain: String,
    /// Where the changes begin; `None` reads everything.
    pub(super) since: Option<Vec<u8>>,
    /// Accounts to be read by name, beside the changes.
    pub(super) asked: Vec<Anchor>,
    /// The target takes temporary passwords.
    pub(super) force_change: bool,
    /// See [`Terms::full_since`].
    pub(super) full_since: Option<Timestamp>,
    /// Who we are, where nobody else may write.
    pub(super) installation: Option<Installation>,
    /// What the work on the pair began with.
    pub(super) believed: Believed,
}

/// How a pass ended.
pub(super) enum End {
    /// All was read, and every result is noted.
    Complete,
    /// Told to stop.
    Cancelled,
    /// The directory failed; what came before is noted.
    Source(ConnectorError),
    /// The target takes nothing for the time being.
    Target(Held, CredentialError),
}

/// What a pass came to.
pub(super) struct Result {
    pub(super) end: End,
    /// The end of the changes, when they were read completely.
    pub(super) completion: Option<PasswordCompletion>,
    /// Objects that the directory gave.
    pub(super) seen: u64,
    /// Accounts that the target took.
    pub(super) accepted: u64,
    /// Accounts that failed and are tried again.
    pub(super) failed: u64,
}

enum Read {
    /// A page of changes, with the rest of the stream; `None` at its end.
    Page(PasswordStream, Option<std::result::Result<PasswordPage, ConnectorError>>),
    /// Accounts that were asked for by name.
    Asked(std::result::Result<PasswordPage, ConnectorError>),
}

/// A pass under way.
pub(super) struct Pass<'p> {
    shared: &'p Arc<Shared>,
    pair: &'p Pair,
    cx: &'p Context,
    order: Order,
    judge: Arc<Judge>,
    hand: Hand,
    noted: Vec<(CsId, Option<PasswordRecord>)>,
    told: Vec<PasswordEvent>,
    asked: VecDeque<Anchor>,
    stopped: Option<End>,
    failures: u32,
    retried: u64,
    dns: Vec<String>,
    reported: u64,
    only_time: u64,
    /// When the target was last asked who writes to it, on the clock of durations.
    looked: Duration,
    result: Result,
}

impl<'p> Pass<'p> {
    pub(super) fn new(shared: &'p Arc<Shared>, pair: &'p Pair, cx: &'p Context, mut order: Order) -> Self {
        let judge = Arc::new(Judge::new(shared.clone(), pair.source, cx.now()));
        let asked = std::mem::take(&mut order.asked).into();
        Self {
            shared,
            pair,
            cx,
            order,
            judge,
            hand: Hand::default(),
            noted: Vec::new(),
            told: Vec::new(),
            asked,
            stopped: None,
            failures: 0,
            retried: 0,
            dns: Vec::new(),
            reported: 0,
            only_time: 0,
            looked: cx.clock.elapsed(),
            result: Result { end: End::Complete, completion: None, seen: 0, accepted: 0, failed: 0 },
        }
    }

    /// Does it. The cookie is kept when the changes were read completely and every result is noted; failures are noted
    /// with the accounts.
    pub(super) async fn run(mut self) -> std::result::Result<Result, StoreError> {
        let judge = self.judge.clone();
        let request = PasswordRequest {
            domain: self.order.domain.clone(),
            since: self.order.since.clone(),
            wanted: Arc::new(move |anchor: &Anchor| judge.wants(anchor.as_bytes())),
        };
        let mut stream = match self.pair.reader.changes(self.cx, request).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.result.end = source_failed(error);
                return Ok(self.result);
            }
        };
        let mut reading: Option<BoxFuture<'static, Read>> = None;
        let mut looking: Option<BoxFuture<'static, std::result::Result<PasswordFeatures, ConnectorError>>> = None;
        let mut flights: FuturesUnordered<Flight> = FuturesUnordered::new();
        'pass: loop {
            if self.cx.cancelled() && self.stopped.is_none() {
                self.stopped = Some(End::Cancelled);
            }
            if self.stopped.is_some() {
                // What is under way is waited for; nothing new begins.
                (reading, stream, looking) = (None, None, None);
                self.asked.clear();
                self.hand.drop_waiting();
            } else if reading.is_none() && self.hand.ready() < LOW {
                reading = self.next_read(&mut stream);
            }
            // Batches go out full while more may come: the target counts calls, not accounts.
            let more = reading.is_some() || stream.is_some() || !self.asked.is_empty();
            if looking.is_none() && self.is_time_to_look() {
                looking = Some(self.next_look());
            }
            // Nothing more goes out before it is known that nobody else writes.
            while looking.is_none()
                && flights.len() < FLIGHTS
                && let Some(batch) = self.hand.next_batch(more)
            {
                if !self.order.believed.holds(&self.shared.store.snapshot()?)? {
                    self.distrusted();
                    continue 'pass;
                }
                flights.push(self.send(batch));
            }
            if reading.is_none() && looking.is_none() && flights.is_empty() {
                break;
            }
            tokio::select! {
                read = async { match reading.as_mut() { Some(reading) => reading.await, None => std::future::pending().await } } => {
                    reading = None;
                    self.read(read, &mut stream).await?;
                }
                features = async { match looking.as_mut() { Some(looking) => looking.await, None => std::future::pending().await } } => {
                    looking = None;
                    self.seen(features).await?;
                }
                Some((batch, answers)) = flights.next(), if !flights.is_empty() => self.answered(batch, answers),
                () = self.cx.cancel.cancelled(), if self.stopped.is_none() => {}
            }
            if self.noted.len() >= NOTED {
                self.note(ChangeSet::new()).await?;
            }
        }
        self.finish().await
    }

    fn is_time_to_look(&self) -> bool {
        let since = self.cx.clock.elapsed().saturating_sub(self.looked);
        self.stopped.is_none() && self.order.installation.is_some() && since >= LOOK_AGAIN
    }

    fn next_look(&mut self) -> BoxFuture<'static, std::result::Result<PasswordFeatures, ConnectorError>> {
        self.looked = self.cx.clock.elapsed();
        let (sender, cx) = (self.pair.sender.clone(), self.cx.clone());
        async move { sender.features(&cx).await }.boxed()
    }

    /// Stops when somebody else writes to the target; the next round notes it and tells of it.
    async fn seen(&mut self, features: std::result::Result<PasswordFeatures, ConnectorError>) -> std::result::Result<(), StoreError> {
        if let Err(error) = &features
            && error.kind == ConnectorErrorKind::AnotherTenant
        {
            self.stop(Held::AnotherTenant, error.message.clone());
        }
        // Any other target that cannot be asked refuses the next batch, too.
        let (Ok(features), Some(ours)) = (features, self.order.installation.clone()) else { return Ok(()) };
        let (store, target, now, wrote) = (self.shared.store.clone(), self.pair.target, self.cx.now(), self.result.accepted > 0);
        let told = self.pair.sender.told();
        let rival = off_thread(move || {
            if wrote {
                // What the target shows may be our own contact of just now.
                active::wrote(&store, target, told, now)?;
            }
            active::rival(&store.snapshot()?, target, &ours, features.last_writer.as_ref(), now)
        })
        .await?;
        if let Some(rival) = rival {
            let message = format!("another installation writes to {}: {rival}; `syncline mode show` names both", self.pair.target_name);
            self.stop(Held::AnotherInstallation, message);
        }
        Ok(())
    }

    /// One of the sides was distrusted since the pass began: what the pass knows is about what was there before.
    fn distrusted(&mut self) {
        let (source, target) = (&self.pair.source_name, &self.pair.target_name);
        let message = format!("{source} or {target} was forgotten or doubted meanwhile; passwords go on when both were read since");
        self.stop(Held::NotSynchronized, message);
    }

    fn stop(&mut self, held: Held, message: String) {
        let error = CredentialError { kind: CredentialErrorKind::Denied, code: None, tracking_id: None, retry_after: None, message };
        self.stopped.get_or_insert(End::Target(held, error));
    }

    fn next_read(&mut self, stream: &mut Option<PasswordStream>) -> Option<BoxFuture<'static, Read>> {
        if let Some(mut stream) = stream.take() {
            return Some(
                async move {
                    let page = stream.next().await;
                    Read::Page(stream, page)
                }
                .boxed(),
            );
        }
        if self.asked.is_empty() {
            return None;
        }
        let anchors: Vec<Anchor> = self.asked.drain(..self.asked.len().min(ASKED)).collect();
        let (reader, cx, domain) = (self.pair.reader.clone(), self.cx.clone(), self.order.domain.clone());
        Some(async move { Read::Asked(reader.read(&cx, &domain, &anchors).await) }.boxed())
    }

    async fn read(&mut self, read: Read, stream: &mut Option<PasswordStream>) -> std::result::Result<(), StoreError> {
        match read {
            Read::Page(rest, Some(Ok(page))) => {
                self.result.seen += page.seen;
                match page.completion {
                    Some(completion) => self.result.completion = Some(completion),
                    None => *stream = Some(rest),
                }
                self.accept(PasswordPage { completion: None, ..page }, false).await?;
                if self.order.since.is_none() && self.result.seen / PROGRESS > self.reported / PROGRESS {
                    self.reported = self.result.seen;
                    let (seen, count) = (self.result.seen, self.result.accepted);
                    let (connector, domain) = self.place();
                    self.tell(PasswordEvent::FullProgress { connector, domain, seen, count });
                }
            }
            Read::Page(_, Some(Err(error))) | Read::Asked(Err(error)) => self.source_ended(error),
            Read::Page(_, None) => {
                let message = format!("the directory broke off before the end of {}; it is read again", self.order.domain);
                self.source_ended(ConnectorError::new(ConnectorErrorKind::Dropped, message));
            }
            Read::Asked(Ok(page)) => self.accept(page, true).await?,
        }
        Ok(())
    }

    /// Reading is over; what is ready still goes out.
    fn source_ended(&mut self, error: ConnectorError) {
        self.asked.clear();
        self.result.end = source_failed(error);
    }

    async fn accept(&mut self, page: PasswordPage, asked: bool) -> std::result::Result<(), StoreError> {
        // Judged by what is noted and by what is on its way: what came of the accounts before has to be in the store.
        self.note(ChangeSet::new()).await?;
        let terms = Terms { now: self.cx.now(), force_change: self.order.force_change, full_since: self.order.full_since, asked };
        let (shared, source, seed) = (self.shared.clone(), self.pair.source, self.cx.seed);
        let hand = std::mem::take(&mut self.hand);
        let believed = self.order.believed;
        let (plan, hand) = off_thread(move || (plan::page(&shared, source, page, &hand, terms, seed, believed), hand)).await;
        self.hand = hand;
        let Some(PagePlan { ready, reads, records, only_time, failed }) = plan? else {
            self.distrusted();
            return Ok(());
        };
        self.only_time += only_time;
        self.asked.extend(reads);
        self.result.failed += failed.len() as u64;
        let (connector, domain) = self.place();
        self.told.extend(failed.into_iter().map(|(dn, message)| {
            self.dns.push(dn.clone());
            PasswordEvent::ReadFailed { connector: connector.clone(), domain: domain.clone(), dn, message }
        }));
        for (account, record) in records {
            self.hand.settle(account, &record);
            self.noted.push((account, Some(record)));
        }
        for planned in ready {
            self.hand.put(planned);
        }
        Ok(())
    }

    fn send(&mut self, batch: Vec<Planned>) -> Flight {
        let (connector, domain) = self.place();
        let now = self.cx.now();
        let count = batch.len() as u64;
        self.shared.tell(now, PasswordEvent::BatchStart { connector: connector.clone(), domain: domain.clone(), count });
        for planned in &batch {
            let (connector, domain, anchor) = (connector.clone(), domain.clone(), planned.key().to_owned());
            let (dn, change_date) = (planned.dn.clone(), planned.changed(now));
            self.shared.tell(now, PasswordEvent::ChangeRequest { connector, domain, anchor, dn, change_date });
        }
        deliver(self.pair, self.cx, batch).boxed()
    }

    fn answered(&mut self, batch: Vec<Planned>, answers: std::result::Result<Vec<CredentialAnswer>, CredentialError>) {
        let (connector, domain) = self.place();
        let now = self.cx.now();
        let count = batch.len() as u64;
        let error = match answers {
            Ok(answers) => {
                self.failures = 0;
                let mut accepted = 0;
                for (planned, answer) in batch.iter().zip(&answers) {
                    let record = outcome::answered(planned, answer, now, self.cx.seed);
                    if *answer == CredentialAnswer::Accepted {
                        accepted += 1;
                        self.retried += u64::from(planned.record.attempts > 0);
                    } else {
                        self.dns.push(planned.dn.clone());
                    }
                    self.told.extend(outcome::result(&connector, &domain, planned, answer, &record, now));
                    self.keep(planned.account, record);
                }
                self.result.accepted += accepted;
                self.result.failed += count - accepted;
                self.told.push(PasswordEvent::BatchEnd { connector, domain, count, accepted });
                return;
            }
            Err(error) => error,
        };
        self.told.push(PasswordEvent::BatchFailed {
            connector,
            domain,
            count,
            error_code: error.code,
            tracking_id: error.tracking_id.clone(),
            message: error.message.clone(),
        });
        let held = match error.kind {
            CredentialErrorKind::Later => None,
            CredentialErrorKind::SwitchedOff => Some(Held::SwitchedOff),
            CredentialErrorKind::Disabled => Some(Held::Disabled),
            CredentialErrorKind::Denied => Some(Held::Denied),
            CredentialErrorKind::Cancelled => {
                self.stopped.get_or_insert(End::Cancelled);
                return;
            }
        };
        if let Some(held) = held {
            // Nothing about these accounts is wrong: they are read again when the target takes passwords.
            self.stopped.get_or_insert(End::Target(held, error));
            return;
        }
        // A target that refuses a batch for what is in it is there.
        if error.code.is_none() || outcome::is_busy(&error) {
            self.failures += 1;
        }
        let suspect = batch.first().is_some_and(is_suspect);
        if suspect && batch.len() > 1 && !outcome::is_busy(&error) && self.failures < FAILURES && self.stopped.is_none() {
            self.hand.split(batch);
            return;
        }
        let jitter = batch.first().map_or(0, |planned| retry::jitter(self.cx.seed, planned.account, planned.record.attempts + 1));
        self.result.failed += count;
        for planned in &batch {
            self.dns.push(planned.dn.clone());
            let record = outcome::unanswered(planned, &error, now, jitter);
            self.keep(planned.account, record);
        }
        if self.failures >= FAILURES {
            self.stopped.get_or_insert(End::Target(Held::Unreachable, error));
        }
    }

    /// Keeps what came of an account for the next commit.
    fn keep(&mut self, account: CsId, record: PasswordRecord) {
        let record = self.hand.answered(account, record);
        self.noted.push((account, Some(record)));
    }

    /// Commits what came of the accounts so far, then tells of it. What the target answered is told also where it counts no more.
    async fn note(&mut self, mut changes: ChangeSet) -> std::result::Result<(), StoreError> {
        changes.passwords.splice(0..0, std::mem::take(&mut self.noted));
        if !self.shared.apply_believed(self.order.believed, changes).await? {
            self.distrusted();
        }
        let now = self.cx.now();
        for event in std::mem::take(&mut self.told) {
            self.shared.tell(now, event);
        }
        if !self.dns.is_empty() {
            let (connector, domain) = self.place();
            let dns = std::mem::take(&mut self.dns);
            self.shared.tell(now, PasswordEvent::ScheduledForRetry { connector, domain, dns });
        }
        Ok(())
    }

    async fn finish(mut self) -> std::result::Result<Result, StoreError> {
        let judge = self.judge.clone();
        let refused = off_thread(move || judge.finish()).await?;
        let mut changes = ChangeSet::new();
        if !refused.is_empty() {
            let (shared, now) = (self.shared.clone(), self.cx.now());
            let (known, left) = off_thread(move || {
                let mut left = ChangeSet::new();
                plan::leave(&shared, &refused, now, &mut left).map(|()| (refused, left))
            })
            .await?;
            drop(known);
            changes.passwords = left.passwords;
        }
        if let Some(completion) = &self.result.completion
            && self.stopped.is_none()
        {
            state::keep_cookie(&mut changes, self.pair.source, &self.order.domain, completion.cookie.clone());
        }
        self.note(changes).await?;
        if let Some(end) = self.stopped.take() {
            self.result.end = end;
            self.result.completion = None;
        }
        let (connector, domain) = self.place();
        let now = self.cx.now();
        if self.result.failed > 0 {
            let (connector, domain) = (connector.clone(), domain.clone());
            self.shared.tell(now, PasswordEvent::RetryAdded { connector, domain, count: self.result.failed });
        }
        if self.retried > 0 {
            let (connector, domain) = (connector.clone(), domain.clone());
            self.shared.tell(now, PasswordEvent::RetryRemoved { connector, domain, count: self.retried });
        }
        if self.only_time > 0 {
            self.shared.tell(now, PasswordEvent::OnlyTimeChanged { connector, domain, count: self.only_time });
        }
        Ok(self.result)
    }

    fn place(&self) -> (String, String) {
        (self.pair.source_name.clone(), self.order.domain.clone())
    }

    fn tell(&self, event: PasswordEvent) {
        self.shared.tell(self.cx.now(), event);
    }
}

fn source_failed(error: ConnectorError) -> End {
    if error.kind == ConnectorErrorKind::Cancelled { End::Cancelled } else { End::Source(error) }
}
