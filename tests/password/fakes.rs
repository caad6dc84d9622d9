//! A directory, a target and a clock that tests pull the strings of, around connector spaces that synchronization
//! filled.

use crate::directory::Entry;
use crate::world::World;
use crate::{A, B, T, rules};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use syncline::connector::{
    ConnectorError, ConnectorErrorKind, Credential, CredentialAnswer, CredentialError, CredentialErrorKind, PasswordChange, PasswordCheck,
    PasswordCompletion, PasswordFeatures, PasswordPage, PasswordRequest, PasswordSource, PasswordStream, PasswordTarget,
};
use syncline::context::{Clock, Context};
use syncline::events::{Event, EventSink};
use syncline::model::{Anchor, CsId, Timestamp};
use syncline::password::agent::{Agent, AgentSettings, CycleKind, CycleReport, Pair};
use syncline::password::hash::{CredentialData, NtHash};
use syncline::rules::RunParameters;
use syncline::store::{ChangeSet, PasswordRecord, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A clock that stands still until a test moves it.
pub(crate) struct TestClock(watch::Sender<i64>);

impl TestClock {
    pub(crate) fn forward(&self, minutes: i64) {
        self.0.send_modify(|now| *now += minutes * 60_000_000);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(*self.0.borrow())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(u64::try_from(*self.0.borrow()).unwrap())
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let until = *self.0.borrow() + i64::try_from(duration.as_micros()).unwrap();
        let mut changes = self.0.subscribe();
        Box::pin(async move { drop(changes.wait_for(|now| *now >= until).await) })
    }
}

/// An account as its directory has it.
#[derive(Clone)]
struct Account {
    dn: String,
    password: Option<String>,
    version: u32,
    changed: i64,
    must_change: bool,
    /// Only `pwdLastSet` changed since.
    only_time: bool,
    unreadable: bool,
}

#[derive(Default)]
struct DomainState {
    accounts: BTreeMap<String, Account>,
    log: Vec<String>,
    down: Option<ConnectorErrorKind>,
    cut_after: Option<usize>,
    cookie_lost: bool,
}

/// A directory that gives what a test put into it.
pub(crate) struct Source {
    clock: Arc<TestClock>,
    domains: Mutex<BTreeMap<String, DomainState>>,
    page: usize,
    /// Pages that were asked for so far.
    pub(crate) pages: Arc<AtomicUsize>,
    /// Accounts whose hashes were decrypted, in order.
    pub(crate) decrypted: Arc<Mutex<Vec<String>>>,
    /// Accounts that were asked for by name.
    pub(crate) asked: Mutex<Vec<String>>,
    /// Whether each read was one of everything.
    pub(crate) full_reads: Mutex<Vec<bool>>,
}

impl Source {
    fn new(clock: Arc<TestClock>, domains: &[&str], page: usize) -> Self {
        Self {
            clock,
            domains: Mutex::new(domains.iter().map(|name| ((*name).to_owned(), DomainState::default())).collect()),
            page,
            pages: Arc::default(),
            decrypted: Arc::default(),
            asked: Mutex::default(),
            full_reads: Mutex::default(),
        }
    }

    fn in_domain<T>(&self, anchor: &str, work: impl FnOnce(&mut DomainState) -> T) -> T {
        let mut domains = self.domains.lock().unwrap();
        let name = domains.iter().find(|(_, domain)| domain.accounts.contains_key(anchor)).map(|(name, _)| name.clone());
        let name = name.unwrap_or_else(|| domains.keys().next().unwrap().clone());
        work(domains.get_mut(&name).unwrap())
    }

    /// Somebody gets a new account.
    pub(crate) fn create(&self, domain: &str, anchor: &str, dn: &str, password: &str) {
        let account = Account {
            dn: dn.to_owned(),
            password: Some(password.to_owned()),
            version: 1,
            changed: self.clock.now().0,
            must_change: false,
            only_time: false,
            unreadable: false,
        };
        let mut domains = self.domains.lock().unwrap();
        let domain = domains.get_mut(domain).unwrap();
        domain.accounts.insert(anchor.to_owned(), account);
        domain.log.push(anchor.to_owned());
    }

    /// Somebody changes a password.
    pub(crate) fn change(&self, anchor: &str, password: Option<&str>) {
        let now = self.clock.now().0;
        self.in_domain(anchor, |domain| {
            let account = domain.accounts.get_mut(anchor).unwrap();
            account.password = password.map(str::to_owned);
            account.version += 1;
            (account.changed, account.only_time) = (now, false);
            domain.log.push(anchor.to_owned());
        });
    }

    /// An administrator says that it must be changed, or need not be.
    pub(crate) fn must_change(&self, anchor: &str, must_change: bool) {
        self.in_domain(anchor, |domain| {
            let account = domain.accounts.get_mut(anchor).unwrap();
            (account.must_change, account.only_time) = (must_change, true);
            domain.log.push(anchor.to_owned());
        });
    }

    pub(crate) fn unreadable(&self, anchor: &str, unreadable: bool) {
        self.in_domain(anchor, |domain| {
            domain.accounts.get_mut(anchor).unwrap().unreadable = unreadable;
            domain.log.push(anchor.to_owned());
        });
    }

    pub(crate) fn down(&self, domain: &str, kind: Option<ConnectorErrorKind>) {
        self.domains.lock().unwrap().get_mut(domain).unwrap().down = kind;
    }

    /// Reads of the domain break off after so many pages.
    pub(crate) fn cut_after(&self, domain: &str, pages: Option<usize>) {
        self.domains.lock().unwrap().get_mut(domain).unwrap().cut_after = pages;
    }

    pub(crate) fn lose_cookie(&self, domain: &str) {
        self.domains.lock().unwrap().get_mut(domain).unwrap().cookie_lost = true;
    }

    pub(crate) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    pub(crate) fn take_decrypted(&self) -> Vec<String> {
        std::mem::take(&mut self.decrypted.lock().unwrap())
    }
}

fn change_of(anchor: &str, account: &Account, whole: bool) -> PasswordChange {
    let whole = whole || !account.only_time;
    PasswordChange {
        anchor: Anchor::new(anchor.as_bytes()),
        dn: account.dn.clone(),
        hash: whole.then(|| account.password.as_deref().map(NtHash::of_password)),
        changed: whole.then_some(Timestamp(account.changed)),
        version: whole.then_some(account.version),
        must_change: Some(account.must_change),
        deleted: false,
    }
}

#[async_trait]
impl PasswordSource for Source {
    async fn domains(&self, _cx: &Context) -> Result<Vec<String>, ConnectorError> {
        Ok(self.domains.lock().unwrap().keys().cloned().collect())
    }

    async fn changes(&self, _cx: &Context, request: PasswordRequest) -> Result<PasswordStream, ConnectorError> {
        let mut domains = self.domains.lock().unwrap();
        let domain = domains.get_mut(&request.domain).unwrap();
        if let Some(kind) = domain.down {
            return Err(ConnectorError::new(kind, format!("{} gives nothing", request.domain)));
        }
        if request.since.is_some() && std::mem::take(&mut domain.cookie_lost) {
            return Err(ConnectorError::new(ConnectorErrorKind::WatermarkLost, "the cookie is of another time"));
        }
        self.full_reads.lock().unwrap().push(request.since.is_none());
        let full = request.since.is_none();
        let since = request.since.map_or(0, |cookie| usize::from_le_bytes(cookie.try_into().unwrap()));
        let names: Vec<String> = if full {
            domain.accounts.keys().cloned().collect()
        } else {
            domain.log[since..].iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
        };
        let accounts: Vec<(String, Account)> = names.into_iter().map(|name| (name.clone(), domain.accounts[&name].clone())).collect();
        let cookie = domain.log.len().to_le_bytes().to_vec();
        let (cut, wanted, pages) = (domain.cut_after, request.wanted, self.pages.clone());
        let mut chunks: Vec<Vec<(String, Account)>> = accounts.chunks(self.page).map(<[_]>::to_vec).collect();
        if chunks.is_empty() {
            chunks.push(Vec::new());
        }
        let last = chunks.len() - 1;
        let log = self.decrypted.clone();
        let stream = futures_util::stream::iter(chunks.into_iter().enumerate()).map(move |(number, chunk)| {
            pages.fetch_add(1, Ordering::SeqCst);
            if cut.is_some_and(|cut| number >= cut) {
                return Err(ConnectorError::new(ConnectorErrorKind::Dropped, "the line broke"));
            }
            let mut page = PasswordPage { seen: chunk.len() as u64, ..PasswordPage::default() };
            for (name, account) in &chunk {
                let anchor = Anchor::new(name.as_bytes());
                if !wanted(&anchor) {
                    continue;
                }
                log.lock().unwrap().push(name.clone());
                if account.unreadable {
                    page.rejects.push((anchor, "its envelope does not open".to_owned()));
                } else {
                    page.changes.push(change_of(name, account, full));
                }
            }
            if number == last {
                page.completion = Some(PasswordCompletion { cookie: cookie.clone(), answered_in_full: full, server: "dc1".to_owned() });
            }
            Ok(page)
        });
        Ok(stream.boxed())
    }

    async fn read(&self, _cx: &Context, domain: &str, anchors: &[Anchor]) -> Result<Vec<PasswordChange>, ConnectorError> {
        let domains = self.domains.lock().unwrap();
        let domain = &domains[domain];
        let names: Vec<String> = anchors.iter().map(|anchor| String::from_utf8(anchor.as_bytes().to_vec()).unwrap()).collect();
        self.asked.lock().unwrap().extend(names.iter().cloned());
        Ok(names.iter().filter_map(|name| domain.accounts.get(name).map(|account| change_of(name, account, true))).collect())
    }

    async fn diagnose(&self, _cx: &Context) -> Vec<PasswordCheck> {
        Vec::new()
    }
}

/// What a call of the target comes to.
pub(crate) type Answer = Result<Vec<CredentialAnswer>, CredentialError>;
type Answering = Box<dyn Fn(&[Credential]) -> Answer + Send + Sync>;

/// A target that answers as a test wants it.
pub(crate) struct Target {
    pub(crate) features: Mutex<Result<PasswordFeatures, ConnectorErrorKind>>,
    answering: Mutex<Answering>,
    /// The batches of accounts that it got, answered or not; signs of life are empty ones.
    pub(crate) batches: Mutex<Vec<Vec<String>>>,
    /// What it took last, by source anchor: key and whether it must be changed.
    pub(crate) took: Mutex<BTreeMap<String, (CredentialData, bool)>>,
    busy_with: Mutex<BTreeSet<String>>,
}

pub(crate) fn failure(kind: CredentialErrorKind, code: Option<i64>, retry_after: Option<u64>) -> CredentialError {
    let retry_after = retry_after.map(Duration::from_secs);
    CredentialError { kind, code, tracking_id: Some("track-1".to_owned()), retry_after, message: "the target said no".to_owned() }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where other answers fail")]
pub(crate) fn accept(batch: &[Credential]) -> Answer {
    Ok(batch.iter().map(|_| CredentialAnswer::Accepted).collect())
}

impl Target {
    pub(crate) fn answers(&self, answering: impl Fn(&[Credential]) -> Answer + Send + Sync + 'static) {
        *self.answering.lock().unwrap() = Box::new(answering);
    }

    /// The accounts of the batches since the last look, in order.
    pub(crate) fn sent(&self) -> Vec<String> {
        std::mem::take(&mut *self.batches.lock().unwrap()).into_iter().flatten().collect()
    }

    pub(crate) fn holds(&self, anchor: &str, password: &str) -> bool {
        self.took.lock().unwrap().get(anchor).is_some_and(|(data, _)| data.verify_password(password))
    }
}

#[async_trait]
impl PasswordTarget for Target {
    async fn features(&self, _cx: &Context) -> Result<PasswordFeatures, ConnectorError> {
        self.features.lock().unwrap().map_err(|kind| ConnectorError::new(kind, "the settings cannot be read"))
    }

    async fn set_enabled(&self, _cx: &Context, on: bool) -> Result<(), ConnectorError> {
        if let Ok(features) = &mut *self.features.lock().unwrap() {
            features.password_hashes = on;
        }
        Ok(())
    }

    async fn send(&self, _cx: &Context, batch: &[Credential], _patience: Duration) -> Answer {
        let names: Vec<String> = batch.iter().map(|credential| credential.source_anchor.clone()).collect();
        assert!(names.len() <= 50);
        for name in &names {
            assert!(self.busy_with.lock().unwrap().insert(name.clone()), "{name} is in two batches at once");
        }
        tokio::task::yield_now().await;
        self.batches.lock().unwrap().push(names.clone());
        let answers = (self.answering.lock().unwrap())(batch);
        for name in &names {
            self.busy_with.lock().unwrap().remove(name);
        }
        if let Ok(answers) = &answers {
            for (credential, answer) in batch.iter().zip(answers) {
                if *answer == CredentialAnswer::Accepted {
                    let taken = (credential.data.clone(), credential.force_change);
                    self.took.lock().unwrap().insert(credential.source_anchor.clone(), taken);
                }
            }
        }
        answers
    }
}

/// Keeps what it hears.
#[derive(Default)]
pub(crate) struct Ear(pub(crate) Mutex<Vec<Event>>);

impl EventSink for Ear {
    fn event(&self, _at: Timestamp, event: &Event) {
        assert!(!event.to_string().is_empty());
        self.0.lock().unwrap().push(event.clone());
    }
}

/// Everything around one agent.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) source: Arc<Source>,
    pub(crate) target: Arc<Target>,
    pub(crate) ear: Arc<Ear>,
    pub(crate) cx: Context,
    pub(crate) agent: Agent,
}

fn agent_of(store: &Store, source: &Arc<Source>, target: &Arc<Target>, ear: &Arc<Ear>, staging: bool) -> Agent {
    let pair = Pair {
        source: A,
        source_name: "A".to_owned(),
        reader: source.clone(),
        target: T,
        target_name: "T".to_owned(),
        sender: target.clone(),
    };
    Agent::new(AgentSettings {
        store: store.clone(),
        rules: Arc::new(rules(store.names())),
        parameters: RunParameters::default(),
        pairs: vec![pair],
        staging,
        events: ear.clone(),
    })
}

impl Stage {
    /// One domain, `DC=a`.
    pub(crate) fn new() -> Self {
        Self::with(World::new(rules), &["DC=a"], 7)
    }

    pub(crate) fn with(world: World, domains: &[&str], page: usize) -> Self {
        let clock = Arc::new(TestClock(watch::Sender::new(1_000_000_000_000)));
        let source = Arc::new(Source::new(clock.clone(), domains, page));
        let features = PasswordFeatures { synchronization: true, password_hashes: true, force_change: false, cloud_policy: false };
        let target = Arc::new(Target {
            features: Mutex::new(Ok(features)),
            answering: Mutex::new(Box::new(accept)),
            batches: Mutex::default(),
            took: Mutex::default(),
            busy_with: Mutex::default(),
        });
        let ear = Arc::new(Ear::default());
        let cx = Context { clock: clock.clone(), cancel: CancellationToken::new(), seed: 7 };
        let agent = agent_of(&world.store, &source, &target, &ear, false);
        let stage = Self { world, clock, source, target, ear, cx, agent };
        stage.synchronized(true);
        stage
    }

    /// Marks both sides as read and synchronized in full, or not.
    pub(crate) fn synchronized(&self, done: bool) {
        let mut changes = ChangeSet::new();
        for connector in [A, B, T] {
            for name in ["read-completely", "synchronized-with"] {
                changes.states.push((connector, name.to_owned(), done.then(|| b"x".to_vec())));
            }
        }
        self.world.store.apply(changes).unwrap();
    }

    /// The process ends and begins again.
    pub(crate) fn restart(&mut self) {
        self.agent = agent_of(&self.world.store, &self.source, &self.target, &self.ear, false);
        self.cx.cancel = CancellationToken::new();
    }

    pub(crate) fn staging(&mut self, staging: bool) {
        self.agent = agent_of(&self.world.store, &self.source, &self.target, &self.ear, staging);
    }

    /// Somebody gets an account in a domain, with the password `first-NAME`.
    pub(crate) fn hire(&mut self, name: &str, domain: &str) {
        let dn = format!("CN={name},{domain}");
        let entry = Entry::new("user", &dn).with("badge", name).with("displayName", name);
        self.world.put(A, name, entry.with("userPrincipalName", &format!("{name}@a.example")));
        self.source.create(domain, name, &dn, &format!("first-{name}"));
    }

    /// A directory run: everything is imported, synchronized, exported and confirmed.
    pub(crate) fn run(&mut self) {
        for connector in [A, T] {
            self.world.import(connector);
        }
        self.world.settle(&[A, B, T]);
        self.world.export(T);
        self.world.import(T);
        self.world.settle(&[A, B, T]);
    }

    pub(crate) async fn cycle(&self) -> CycleReport {
        self.agent.cycle(&self.cx, CycleKind::Changes).await.unwrap()
    }

    /// Some minutes pass, then a cycle; gives the accounts that were sent.
    pub(crate) async fn after(&self, minutes: i64) -> Vec<String> {
        self.clock.forward(minutes);
        self.target.sent();
        self.cycle().await;
        let mut sent = self.target.sent();
        sent.sort();
        sent
    }

    /// How many wait for the clock.
    pub(crate) fn clock_sleepers(&self) -> usize {
        self.clock.0.receiver_count()
    }

    pub(crate) fn id(&self, name: &str) -> CsId {
        self.world.snapshot().cs_by_anchor(A, name.as_bytes()).unwrap().unwrap()
    }

    pub(crate) fn record(&self, name: &str) -> PasswordRecord {
        self.world.snapshot().password(self.id(name)).unwrap().unwrap()
    }

    /// The numbers of the events since the last look, without those of batches and accounts.
    pub(crate) fn heard(&self) -> Vec<u32> {
        let events = std::mem::take(&mut *self.ear.0.lock().unwrap());
        events.iter().map(Event::number).filter(|number| ![650, 651, 653, 654, 656, 657].contains(number)).collect()
    }

    /// How often an event was heard since the last look.
    pub(crate) fn count(&self, number: u32) -> usize {
        self.ear.0.lock().unwrap().iter().filter(|event| event.number() == number).count()
    }

    pub(crate) fn change_feature(&self, change: impl FnOnce(&mut PasswordFeatures)) {
        change(self.target.features.lock().unwrap().as_mut().unwrap());
    }

    pub(crate) fn set(&mut self, name: &str, attribute: &str, value: Option<&str>) {
        self.world.directory(A).get_mut(name).unwrap().set(attribute, value);
    }
}
