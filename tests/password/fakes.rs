//! A target and a sink of events that tests pull the strings of, and everything around one agent: connector spaces that
//! synchronization filled, a directory, a clock.

use crate::clock::TestClock;
use crate::directory::Entry;
use crate::source::Source;
use crate::world::World;
use crate::{A, B, T, rules};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use syncline::connector::{
    ConnectorError, ConnectorErrorKind, Credential, CredentialAnswer, CredentialError, CredentialErrorKind, Installation, PasswordFeatures,
    PasswordTarget,
};
use syncline::context::Context;
use syncline::events::{Event, EventSink};
use syncline::model::{CsId, Timestamp};
use syncline::password::agent::{Agent, AgentSettings, AgentTurn, CycleKind, CycleReport, Pair};
use syncline::password::hash::CredentialData;
use syncline::rules::RunParameters;
use syncline::store::{ChangeSet, PasswordRecord, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

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
    /// Calls that are not answered before this is false.
    held: watch::Sender<bool>,
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

    /// Calls wait for their answers, or no longer.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Waits until a call has come.
    pub(crate) async fn called(&self) {
        while self.busy_with.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
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
        self.features.lock().unwrap().clone().map_err(|kind| ConnectorError::new(kind, "the settings cannot be read"))
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
        drop(self.held.subscribe().wait_for(|held| !held).await);
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
    turn: AgentTurn,
}

/// What agents of tests differ in.
#[derive(Default)]
struct Manner {
    staging: bool,
    parameters: RunParameters,
    installation: Option<Installation>,
    turn: AgentTurn,
}

fn agent_of(store: &Store, source: &Arc<Source>, sender: Arc<dyn PasswordTarget>, ear: &Arc<Ear>, staging: bool) -> Agent {
    agent_with(store, source, sender, ear, Manner { staging, ..Manner::default() })
}

fn agent_with(store: &Store, source: &Arc<Source>, sender: Arc<dyn PasswordTarget>, ear: &Arc<Ear>, manner: Manner) -> Agent {
    let Manner { staging, parameters, installation, turn } = manner;
    let pair = Pair { source: A, source_name: "A".to_owned(), reader: source.clone(), target: T, target_name: "T".to_owned(), sender };
    Agent::new(AgentSettings {
        store: store.clone(),
        rules: Arc::new(rules(store.names())),
        parameters,
        pairs: vec![pair],
        staging,
        installation,
        turn,
        events: ear.clone(),
    })
}

impl Stage {
    /// One domain, `DC=a`.
    pub(crate) fn new() -> Self {
        Self::with(World::new(rules), &["DC=a"], 7)
    }

    pub(crate) fn with(world: World, domains: &[&str], page: usize) -> Self {
        let clock = Arc::new(TestClock::new(1_000_000_000_000));
        let source = Arc::new(Source::new(clock.clone(), domains, page));
        let features =
            PasswordFeatures { synchronization: true, password_hashes: true, force_change: false, ..PasswordFeatures::default() };
        let target = Arc::new(Target {
            features: Mutex::new(Ok(features)),
            answering: Mutex::new(Box::new(accept)),
            batches: Mutex::default(),
            took: Mutex::default(),
            busy_with: Mutex::default(),
            held: watch::Sender::new(false),
        });
        let ear = Arc::new(Ear::default());
        let cx = Context { clock: clock.clone(), cancel: CancellationToken::new(), seed: 7 };
        let turn = AgentTurn::default();
        let agent = agent_with(&world.store, &source, target.clone(), &ear, Manner { turn: turn.clone(), ..Manner::default() });
        let stage = Self { world, clock, source, target, ear, cx, agent, turn };
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
        self.agent = agent_of(&self.world.store, &self.source, self.target.clone(), &self.ear, false);
        self.cx.cancel = CancellationToken::new();
    }

    pub(crate) fn staging(&mut self, staging: bool) {
        self.agent = agent_of(&self.world.store, &self.source, self.target.clone(), &self.ear, staging);
    }

    /// Passwords go to this target from now on.
    pub(crate) fn send_to(&mut self, sender: Arc<dyn PasswordTarget>) {
        self.agent = agent_of(&self.world.store, &self.source, sender, &self.ear, false);
    }

    /// The process begins again, as one of several that might write to the target.
    pub(crate) fn installed(&mut self, id: &str, name: &str) {
        let installation = Some(Installation { id: id.to_owned(), name: name.to_owned() });
        let manner = Manner { installation, ..Manner::default() };
        self.agent = agent_with(&self.world.store, &self.source, self.target.clone(), &self.ear, manner);
    }

    /// The process begins again, and the rules read other parameters of the directory.
    pub(crate) fn with_parameter(&mut self, name: &str, value: &str) {
        let own = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let parameters = RunParameters { parameters: BTreeMap::from([(A, own)]), ..RunParameters::default() };
        let manner = Manner { parameters, ..Manner::default() };
        self.agent = agent_with(&self.world.store, &self.source, self.target.clone(), &self.ear, manner);
    }

    /// Another agent of the same process, as a command makes one.
    pub(crate) fn second_agent(&self) -> Agent {
        let manner = Manner { turn: self.turn.clone(), ..Manner::default() };
        agent_with(&self.world.store, &self.source, self.target.clone(), &self.ear, manner)
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
        self.clock.now.receiver_count()
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
