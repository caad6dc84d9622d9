//! What is not believed, through whole runs: a scripted directory is wrong, fails, is renamed under the import, is cut off under
//! another selection, and the metaverse holds those that were believed and nobody else.

use crate::disk::Disk;
use crate::life::Dice;
use crate::rules::{A, B, T, rules_of};
use crate::runs::{engine, participant};
use crate::target::Target;
use async_trait::async_trait;
use futures_util::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use syncline::connector::{
    Capabilities, Completion, Connector, ConnectorError, ConnectorErrorKind, ContainerPlace, DiscoveryError, ExportBatch, ExportReply,
    ImportKind, ImportRequest, ImportStream, KeptContainer, Legible, Operation, PageBuilder, Schema,
};
use syncline::context::Context;
use syncline::engine::Silent;
use syncline::engine::belief::{Belief, Doubt};
use syncline::engine::import::{DISBELIEVED, WATERMARK};
use syncline::engine::run::{Engine, Participant, Profile};
use syncline::model::{AttrId, ConnectorId, CsObject, Dn, MvObject, Names, ObjectErrorCode, Stage, ValueRef};
use syncline::store::{ChangeSet, RunRecord, Store};

/// What a refused synchronization ends with.
const REFUSED: &str = "no-start-import-not-believed";

const RULES: &str = r#"
[[rule]]
name = "In from A"
direction = "inbound"
connector = "A"
cs_type = "user"
mv_type = "person"
link = "provision"
order = 10
direct = ["displayName"]

[[rule]]
name = "In from B"
direction = "inbound"
connector = "B"
cs_type = "user"
mv_type = "person"
link = "provision"
order = 20
direct = ["displayName"]
"#;

/// Who comes to A from B is known by the name.
const JOIN_IN_A: &str = r#"
[[rule]]
name = "Join in A"
direction = "inbound"
connector = "A"
cs_type = "user"
mv_type = "person"
link = "join"
order = 5
join = [[{ cs = "displayName", mv = "displayName" }]]
"#;

/// What A becomes a target by, although it takes no exports.
const OUT_TO_A: &str = r#"
[[rule]]
name = "Out to A"
direction = "outbound"
connector = "A"
cs_type = "user"
mv_type = "person"
link = "join"
order = 30
join = [[{ cs = "displayName", mv = "displayName" }]]
direct = ["title"]
"#;

const OUT_TO_T: &str = r#"
[[rule]]
name = "Out to T"
direction = "outbound"
connector = "T"
cs_type = "user"
mv_type = "person"
link = "provision"
order = 40
direct = ["displayName"]
flows = [{ to = "dn", expr = '"CN=" & [displayName]' }]
"#;

/// How an import ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Complete,
    /// In the middle.
    CutOff,
    /// With an entry of which nobody can tell whose it is.
    Illegible,
    /// It does not answer.
    Away,
}

/// A directory that tells what it is told to tell.
struct Script {
    names: Arc<Names>,
    people: Mutex<Vec<String>>,
    end: Mutex<End>,
    /// So many looks at the containers find them in their places; those behind find them renamed.
    renamed_after: Mutex<Option<usize>>,
    /// So many looks at the containers are answered; those behind find the connection broken.
    broken_after: Mutex<Option<usize>>,
    /// Who asks for changes is told that there are none; otherwise everything is told.
    tells_changes: AtomicBool,
    /// What happens as soon as an import begins, before it reads.
    meanwhile: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

impl Script {
    fn new(names: &Arc<Names>) -> Arc<Self> {
        Arc::new(Self {
            names: Arc::clone(names),
            people: Mutex::default(),
            end: Mutex::new(End::Complete),
            renamed_after: Mutex::default(),
            broken_after: Mutex::default(),
            tells_changes: AtomicBool::default(),
            meanwhile: Mutex::default(),
        })
    }

    /// Gives somebody to another directory at the beginning of each of the next imports.
    fn gives(self: &Arc<Self>, to: &Arc<Self>, people: Vec<String>) {
        let (from, to) = (Arc::downgrade(self), Arc::downgrade(to));
        let mut people = people.into_iter();
        *self.meanwhile.lock().unwrap() = Some(Box::new(move || {
            if let (Some(person), Some(from), Some(to)) = (people.next(), from.upgrade(), to.upgrade()) {
                let known = from.people.lock().unwrap().extract_if(.., |known| *known == person).next();
                to.people.lock().unwrap().extend(known);
            }
        }));
    }

    fn tells(&self, people: &[String], end: End) {
        *self.people.lock().unwrap() = people.to_vec();
        *self.end.lock().unwrap() = end;
    }
}

#[async_trait]
impl Connector for Script {
    fn capabilities(&self) -> Capabilities {
        Capabilities { delta_import: true, ..Capabilities::SOURCE }
    }

    async fn schema(&self, _cx: &Context) -> Result<Schema, ConnectorError> {
        Ok(Schema::default())
    }

    async fn import(&self, _cx: &Context, request: ImportRequest) -> Result<ImportStream, ConnectorError> {
        if let Some(meanwhile) = self.meanwhile.lock().unwrap().as_mut() {
            meanwhile();
        }
        let (people, end) = (self.people.lock().unwrap().clone(), *self.end.lock().unwrap());
        if end == End::Away {
            return Err(ConnectorError::new(ConnectorErrorKind::Connection, "the directory does not answer"));
        }
        let mut page = PageBuilder::new();
        if self.tells_changes.load(Ordering::SeqCst) && matches!(request.kind, ImportKind::Delta { .. }) {
            let nothing = page.build(Some(Completion { watermark: Some(vec![1]), answered_in_full: false }));
            return Ok(futures_util::stream::iter([Ok(nothing)]).boxed());
        }
        for person in &people {
            let (name, shown) = person.split_once('=').unwrap_or((person, person));
            page.begin_entry(&format!("CN={name},DC=x"));
            page.anchor(name.as_bytes());
            page.object_type(self.names.object_type("user"));
            if !shown.is_empty() {
                page.attribute(self.names.intern("displayName"), Operation::Replace);
                page.value(ValueRef::Text(shown));
            }
            page.finish();
        }
        if end == End::Illegible {
            page.reject(DiscoveryError {
                code: ObjectErrorCode::INVALID_DN,
                detail: "nobody knows whose".to_owned(),
                dn: None,
                anchor: None,
                legible: Legible::default(),
            });
        }
        let completion = Completion { watermark: Some(vec![1]), answered_in_full: true };
        let mut pages = vec![Ok(page.build((end != End::CutOff).then_some(completion)))];
        if end == End::CutOff {
            pages.push(Err(ConnectorError::new(ConnectorErrorKind::Dropped, "the connection broke")));
        }
        Ok(futures_util::stream::iter(pages).boxed())
    }

    async fn containers(&self, _cx: &Context, _kept: &[KeptContainer]) -> Result<Vec<ContainerPlace>, ConnectorError> {
        if *self.end.lock().unwrap() == End::Away {
            return Err(ConnectorError::new(ConnectorErrorKind::Connection, "the directory does not answer"));
        }
        let mut answered = self.broken_after.lock().unwrap();
        if *answered == Some(0) {
            return Err(ConnectorError::new(ConnectorErrorKind::Dropped, "the connection broke"));
        }
        *answered = answered.map(|left| left.saturating_sub(1));
        let mut left = self.renamed_after.lock().unwrap();
        let renamed = *left == Some(0);
        *left = left.map(|left| left.saturating_sub(1));
        let moved_to = renamed.then(|| "OU=Private,DC=x".to_owned());
        Ok(vec![ContainerPlace { configured: "OU=Secret,DC=x".to_owned(), included: false, key: Some(vec![7]), moved_to }])
    }

    async fn export(&self, _cx: &Context, _batch: &ExportBatch) -> Result<ExportReply, ConnectorError> {
        Err(ConnectorError::new(ConnectorErrorKind::Configuration, "this directory takes no exports").unsent())
    }
}

/// Two directories and what a store makes of them.
struct World {
    runtime: tokio::runtime::Runtime,
    store: Store,
    a: Arc<Script>,
    b: Arc<Script>,
    target: Option<Arc<Target>>,
    rules: String,
    /// Stands for what the configuration selects of A.
    selection: AtomicU64,
}

fn named(prefix: &str, numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| format!("{prefix}{number}")).collect()
}

impl World {
    /// Ten people of A and two of B, read and synchronized.
    fn new(more_rules: &str) -> Self {
        let world = Self::unread(Store::in_memory().unwrap(), more_rules);
        world.cycle();
        assert_eq!(world.people().len(), 12);
        world
    }

    /// The same, and nothing was read yet.
    fn unread(store: Store, more_rules: &str) -> Self {
        let (a, b) = (Script::new(store.names()), Script::new(store.names()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = Self { runtime, a, b, target: None, rules: format!("{RULES}{more_rules}"), store, selection: AtomicU64::new(1) };
        world.a.tells(&named("a", 0..10), End::Complete);
        world.b.tells(&named("b", 0..2), End::Complete);
        world
    }

    /// Selects something else of A; who asks for changes is told none from here on.
    fn select(&self, selection: u64) {
        self.selection.store(selection, Ordering::SeqCst);
        self.a.tells_changes.store(true, Ordering::SeqCst);
    }

    fn with<R>(&self, work: impl FnOnce(&Engine<'_>) -> R) -> R {
        let rules = rules_of(self.store.names(), &self.rules);
        let is_target = |id| rules.targets().contains(&id);
        let (a, b): (Arc<dyn Connector>, Arc<dyn Connector>) = (self.a.clone(), self.b.clone());
        let selection = self.selection.load(Ordering::SeqCst);
        let mut participants = BTreeMap::from([
            (A, Participant { selection, ..participant("A", Some(a), is_target(A)) }),
            (B, participant("B", Some(b), is_target(B))),
        ]);
        if is_target(T) {
            let target = self.target.clone().map(|target| -> Arc<dyn Connector> { target });
            participants.insert(T, participant("T", target, true));
        }
        work(&engine(&self.store, &rules, &self.runtime, participants))
    }

    fn cycle(&self) -> Vec<RunRecord> {
        self.with(|engine| engine.cycle(false, &mut Silent).unwrap())
    }

    /// Runs a profile; gives its result and message.
    fn run(&self, id: ConnectorId, profile: Profile) -> (String, String) {
        let record = self.with(|engine| engine.run(id, profile, &mut Silent).unwrap());
        let message = record.steps.last().and_then(|step| step.message.clone()).unwrap_or_default();
        (record.result.0.to_string(), message)
    }

    /// Who is in the metaverse.
    fn people(&self) -> BTreeSet<String> {
        let (shown, snapshot) = (self.store.names().intern("displayName"), self.store.snapshot().unwrap());
        let name = |person: &MvObject, attr: AttrId| {
            person.values.attribute(attr).map(|item| format!("{:?}", item.value).replace('"', "")).collect::<Vec<_>>().join("+")
        };
        snapshot.mv_scan(None, 1_000).unwrap().iter().map(|person| name(person, shown)).collect()
    }

    /// Who of A is staged or known.
    fn space(&self) -> BTreeSet<String> {
        let objects = self.store.snapshot().unwrap().cs_scan(A, None, 1_000).unwrap();
        objects.iter().filter(|object| object.imported()).map(|object: &CsObject| object.dn.to_string()).collect()
    }

    fn put_state(&self, name: &str, value: Option<Vec<u8>>) {
        self.store.apply(ChangeSet { states: vec![(A, name.to_owned(), value)], ..ChangeSet::new() }).unwrap();
    }

    fn doubt(&self, id: ConnectorId) {
        let mut changes = ChangeSet::new();
        Belief::distrust(&self.store.snapshot().unwrap(), id, Doubt::Restored, &mut changes).unwrap();
        self.store.apply(changes).unwrap();
    }
}

fn result_of(runs: &[RunRecord], id: ConnectorId, profile: &str) -> Option<String> {
    runs.iter().rfind(|run| run.connector == id && run.profile == profile).map(|run| run.result.0.to_string())
}

/// The next import fails half-way, and neither a cycle nor anybody by hand synchronizes what it told.
#[test]
fn what_was_refused_stays_refused_when_the_next_import_fails() {
    let world = World::new("");
    let before = world.people();
    let strangers = named("stranger", 0..10);
    world.a.tells(&strangers, End::Complete);
    let runs = world.cycle();
    assert_eq!(result_of(&runs, A, "Full Import").or(result_of(&runs, A, "Delta Import")).as_deref(), Some("stopped-shrink-guard"));
    assert_eq!((world.people(), world.space().len()), (before.clone(), 10));
    for (round, end) in [End::CutOff, End::Away].into_iter().enumerate() {
        world.a.tells(&strangers, end);
        // Others go on meanwhile.
        world.b.tells(&named("b", 0..3 + u32::try_from(round).unwrap()), End::Complete);
        let runs = world.cycle();
        let expected: BTreeSet<String> = before.iter().cloned().chain(named("b", 2..3 + u32::try_from(round).unwrap())).collect();
        assert_eq!(world.people(), expected, "{end:?}: {runs:#?}");
        let stranger = world.store.snapshot().unwrap().cs_scan(A, None, 1_000).unwrap().last().unwrap().id;
        for profile in [Profile::DeltaSynchronization, Profile::FullSynchronization] {
            let (result, message) = world.run(A, profile);
            assert_eq!(result, REFUSED, "{message}");
            assert!(message.contains("`syncline run start 'A' full-import`"), "{message}");
        }
        let one = world.with(|engine| engine.synchronize_object(stranger, true, &mut Silent).unwrap());
        assert_eq!(one.result.0, REFUSED, "{one:#?}");
        assert_eq!(world.people(), expected, "{end:?}");
    }
    // As soon as an import is believed, everything goes on.
    world.a.tells(&named("a", 0..11), End::Complete);
    world.cycle();
    let expected: BTreeSet<String> = named("a", 0..11).into_iter().chain(named("b", 0..4)).collect();
    assert_eq!(world.people(), expected);
    assert_eq!(world.run(A, Profile::DeltaSynchronization).0, "success");
    assert_eq!(world.store.check().unwrap().problems, []);
}

/// The process dies while it takes back, and the directory is away when it starts again.
#[test]
fn an_interrupted_taking_back_is_finished_while_the_directory_is_away() {
    let world = World::new("");
    let (before, space) = (world.people(), world.space());
    world.a.tells(&[named("stranger", 0..10), named("a", 0..5)].concat(), End::CutOff);
    world.run(A, Profile::FullImport);
    assert_eq!(world.space().len(), 20);
    world.put_state(DISBELIEVED, Some(vec![1]));
    world.a.tells(&[], End::Away);
    world.cycle();
    assert_eq!(world.people(), before);
    assert_eq!(world.space(), space);
    // A restored backup is no more believed than what was copied.
    world.a.tells(&named("stranger", 0..10), End::CutOff);
    world.run(A, Profile::FullImport);
    world.doubt(A);
    world.a.tells(&[], End::Away);
    world.cycle();
    assert_eq!((world.people(), world.space()), (before, space));
}

/// An excluded container is renamed while everything is read: whoever was in it was told, and comes nowhere.
#[test]
fn a_container_that_is_renamed_under_the_import_makes_nothing_of_it_count() {
    for profile in [Profile::FullImport, Profile::DeltaImport] {
        let world = World::new("");
        let (before, space) = (world.people(), world.space());
        let watermark = world.store.snapshot().unwrap().state(A, WATERMARK).unwrap();
        world.a.tells(&named("a", 0..14), End::Complete);
        *world.a.renamed_after.lock().unwrap() = Some(1);
        let (result, message) = world.run(A, profile);
        assert_eq!(result, "stopped-renamed-container", "{message}");
        assert_eq!(world.space(), space, "{profile:?}");
        assert_eq!(world.store.snapshot().unwrap().state(A, WATERMARK).unwrap(), watermark);
        world.a.tells(&[], End::Away);
        world.cycle();
        assert_eq!(world.people(), before, "{profile:?}");
        assert_eq!(world.run(A, Profile::FullSynchronization).0, REFUSED);
        world.a.tells(&named("a", 0..11), End::Complete);
        *world.a.renamed_after.lock().unwrap() = None;
        let runs = world.cycle();
        assert_eq!(result_of(&runs, A, "Full Import").as_deref(), Some("success"), "{runs:#?}");
        assert_eq!(world.people().len(), 13);
    }
}

#[test]
fn one_entry_is_not_read_past_the_guard_for_renamed_containers() {
    let world = World::new("");
    let space = world.space();
    world.a.tells(&named("a", 0..11), End::Complete);
    *world.a.renamed_after.lock().unwrap() = Some(0);
    let dn = Dn::parse("CN=a10,DC=x").unwrap();
    let record = world.with(|engine| engine.import_entry(A, &dn, None, &mut Silent).unwrap());
    assert_eq!((record.result.0.as_ref(), world.space()), ("stopped-renamed-container", space), "{record:#?}");
}

/// Who cannot be read may be anybody: a directory that was doubted stays so.
#[test]
fn a_doubt_outlasts_an_import_with_illegible_entries() {
    let world = World::new(OUT_TO_T);
    world.doubt(A);
    world.a.tells(&named("a", 0..10), End::Illegible);
    assert_eq!(world.run(A, Profile::FullImport).0, "completed-discovery-errors");
    let (result, message) = world.run(T, Profile::Export);
    assert_eq!(result, "no-start-source-never-read", "{message}");
    assert!(message.contains("A was not read since: the store was restored from a backup"), "{message}");
    world.a.tells(&named("a", 0..10), End::Complete);
    assert_eq!(world.run(A, Profile::DeltaImport).0, "success");
    let (result, message) = world.run(T, Profile::Export);
    assert_eq!(result, "no-start-connection", "the guards let it pass, and it is no more than a name: {message}");
}

/// A rule that writes to a directory makes it no less of a source.
#[test]
fn a_source_that_rules_write_to_is_a_source() {
    let world = World::new(&format!("{OUT_TO_A}{OUT_TO_T}"));
    let space = world.space();
    // What it tells and nobody believes is taken back, be it somebody known or somebody new.
    world.a.tells(&[vec!["a0=Somebody Else".to_owned()], named("stranger", 0..4)].concat(), End::Complete);
    assert_eq!(world.run(A, Profile::FullImport).0, "stopped-shrink-guard");
    assert_eq!(world.space(), space);
    assert_eq!(world.store.snapshot().unwrap().queue(Stage::PendingImport, A, None, 10).unwrap(), []);
    world.a.tells(&named("a", 0..10), End::Complete);
    assert_eq!(world.run(A, Profile::FullImport).0, "success");
    // A backup comes back while it is away.
    world.doubt(A);
    world.a.tells(&[], End::Away);
    world.cycle();
    let (result, message) = world.run(T, Profile::Export);
    assert_eq!(result, "no-start-source-never-read", "{message}");
    assert!(message.contains("A was not read since: the store was restored from a backup"), "{message}");
}

/// A container is included, the import of everything breaks off, and the container is excluded again. Or an attribute is, and half
/// of the people were read without it.
#[test]
fn a_selection_that_is_undone_before_it_was_read_leaves_nothing() {
    let without_names: Vec<String> = (0..5).map(|number| format!("a{number}=")).collect();
    for other in [named("a", 0..14), without_names] {
        for profile in [Profile::DeltaImport, Profile::FullImport] {
            let world = World::new("");
            let (before, space) = (world.people(), world.space());
            world.a.tells(&other, End::CutOff);
            world.select(2);
            for _ in 0..2 {
                let (result, message) = world.run(A, profile);
                assert_eq!(result, "stopped-connectivity", "{message}");
                let runs = world.cycle();
                assert_eq!(world.people(), before, "half of another selection goes nowhere: {runs:#?}");
                let (result, message) = world.run(A, Profile::DeltaSynchronization);
                assert_eq!(result, REFUSED, "{message}");
                assert!(message.contains("what is read of it changed"), "{message}");
            }
            world.a.tells(&named("a", 0..10), End::Complete);
            world.select(1);
            let runs = world.cycle();
            assert_eq!((world.people(), world.space()), (before, space), "{runs:#?}");
            assert_eq!(result_of(&runs, A, "Full Import").as_deref(), Some("success"), "{runs:#?}");
            assert_eq!(result_of(&world.cycle(), A, "Delta Import").as_deref(), Some("success"), "it is believed again");
            assert_eq!(world.store.check().unwrap().problems, []);
        }
    }
}

/// It is not undone: as soon as it was read to its end, everything goes on.
#[test]
fn another_selection_counts_when_it_was_read_to_its_end() {
    for end in [End::Complete, End::Illegible] {
        let world = World::new("");
        world.a.tells(&named("a", 0..14), End::CutOff);
        world.select(2);
        world.cycle();
        assert_eq!(world.people().len(), 12);
        world.a.tells(&named("a", 0..14), end);
        let runs = world.cycle();
        assert_eq!(world.people().len(), 16, "{end:?}: {runs:#?}");
        assert_eq!(world.run(A, Profile::DeltaSynchronization).0, "success", "{end:?}");
    }
}

/// An entry of which nobody knows whose it is takes nobody off, and lets no wrong base in either.
#[test]
fn a_wrong_base_with_an_illegible_entry_is_not_believed() {
    let world = World::new("");
    let (before, space) = (world.people(), world.space());
    world.a.tells(&named("stranger", 0..4), End::Illegible);
    world.select(2);
    let runs = world.cycle();
    assert_eq!(result_of(&runs, A, "Full Import").as_deref(), Some("stopped-shrink-guard"), "{runs:#?}");
    assert_eq!((world.people(), world.space()), (before, space));
}

/// Nothing is exported before everything was read once, so what the first import told so far may count.
#[test]
fn a_first_import_that_breaks_off_goes_on() {
    let world = World::unread(Store::in_memory().unwrap(), OUT_TO_T);
    world.a.tells(&named("a", 0..5), End::CutOff);
    world.cycle();
    assert_eq!(world.people().len(), 7);
    let (result, message) = world.run(T, Profile::Export);
    assert_eq!(result, "no-start-source-never-read", "{message}");
    world.a.tells(&named("a", 0..8), End::CutOff);
    world.cycle();
    assert_eq!((world.people().len(), world.space().len()), (10, 8));
    world.a.tells(&named("a", 0..10), End::Complete);
    world.cycle();
    assert_eq!(world.people().len(), 12);
    let (result, message) = world.run(T, Profile::Export);
    assert_eq!(result, "no-start-connection", "the guards let it pass, and it is no more than a name: {message}");
}

/// One person of another selection is read by hand, and the selection is undone: no delta tells that the person is not meant.
#[test]
fn one_entry_of_another_selection_is_looked_at_again() {
    let world = World::new("");
    world.a.tells(&named("a", 0..11), End::Complete);
    world.select(2);
    let dn = Dn::parse("CN=a10,DC=x").unwrap();
    let record = world.with(|engine| engine.import_entry(A, &dn, None, &mut Silent).unwrap());
    assert_eq!((record.result.0.as_ref(), world.space().len()), ("success", 11), "{record:#?}");
    world.a.tells(&named("a", 0..10), End::Complete);
    world.select(1);
    let runs = world.cycle();
    assert_eq!((world.people().len(), world.space().len()), (12, 10), "{runs:#?}");
}

/// Wherever the process dies in an import of another selection: the place to go on from is that of what was read.
#[test]
fn a_place_to_go_on_from_is_never_that_of_another_selection() {
    let mut outcomes = BTreeSet::new();
    for operations in 0.. {
        let disk = Disk::default();
        let mut world = World::unread(disk.open().unwrap(), "");
        world.cycle();
        let before = world.people();
        world.a.tells(&named("a", 0..6), End::Complete);
        world.select(2);
        disk.fail_after(operations);
        // The store ends with the process.
        let _ended = world.with(|engine| engine.run(A, Profile::DeltaImport, &mut Silent));
        let over = !disk.is_dead();
        world.store = disk.after_power_loss(u64::MAX).open().unwrap();
        world.a = Script::new(world.store.names());
        world.b = Script::new(world.store.names());
        world.a.tells(&named("a", 0..10), End::Complete);
        world.b.tells(&named("b", 0..2), End::Complete);
        world.select(1);
        let runs = world.cycle();
        assert_eq!(world.people(), before, "killed after {operations} operations: {runs:#?}");
        outcomes.insert(result_of(&runs, A, "Full Import").is_some());
        if over {
            break;
        }
    }
    assert_eq!(outcomes, BTreeSet::from([false, true]), "killed before anything was read, and behind it");
}

/// The connection breaks when everything was read and before anybody was taken for gone.
#[test]
fn a_last_look_that_fails_deletes_nobody() {
    for profile in [Profile::FullImport, Profile::DeltaImport] {
        let world = World::new("");
        let before = world.people();
        world.a.tells(&named("a", 0..6), End::Complete);
        *world.a.broken_after.lock().unwrap() = Some(1);
        let (result, message) = world.run(A, profile);
        assert_eq!(result, "stopped-connectivity", "{message}");
        assert_eq!(world.space().len(), 10, "{profile:?}: nobody is taken for gone");
        *world.a.broken_after.lock().unwrap() = Some(1);
        let runs = world.cycle();
        assert_eq!(world.people(), before, "{profile:?}: {runs:#?}");
        *world.a.broken_after.lock().unwrap() = None;
        world.cycle();
        assert_eq!(world.people().len(), 8);
    }
}

/// Two directories with ten people and two, and a target that has them all.
fn moving_world() -> (World, Arc<Target>) {
    let mut world = World::unread(Store::in_memory().unwrap(), &format!("{JOIN_IN_A}{OUT_TO_T}"));
    let names = Arc::clone(world.store.names());
    let target = Arc::new(Target { names, state: Arc::default(), dice: Dice::quiet(), lies: false });
    world.target = Some(Arc::clone(&target));
    world.cycle();
    assert_eq!(held_by(&target).len(), 12);
    (world, target)
}

fn held_by(target: &Target) -> BTreeSet<String> {
    target.state.lock().unwrap().real.keys().cloned().collect()
}

/// A was read already when somebody of B moves there, and B is read behind that.
#[test]
fn who_moves_while_the_others_are_read_stays() {
    let (world, target) = moving_world();
    let (people, held) = (world.people(), held_by(&target));
    world.b.gives(&world.a, named("b", 1..2));
    let runs = world.cycle();
    assert_eq!((world.people(), held_by(&target)), (people.clone(), held.clone()), "{runs:#?}");
    assert!(world.space().contains("CN=b1,DC=x"), "A is read once more: {runs:#?}");
    // Nobody leaves: everybody is read once.
    let runs = world.cycle();
    let imports = runs.iter().filter(|run| run.profile.ends_with("Import") && run.connector != T).count();
    assert_eq!((imports, world.people(), held_by(&target)), (2, people, held), "{runs:#?}");
    // Who leaves for good goes, in the same cycle.
    world.a.tells(&named("a", 0..10), End::Complete);
    world.cycle();
    assert!(!world.people().contains("b1") && !held_by(&target).contains("CN=b1"));
}

/// A was read already when somebody of B moves there, and is told to read once more when they are back.
#[test]
fn who_goes_to_and_fro_between_two_reads_stays() {
    let (world, target) = moving_world();
    let (people, held) = (world.people(), held_by(&target));
    world.b.gives(&world.a, named("b", 1..2));
    // At the first import of A there is nobody of that name.
    world.a.gives(&world.b, [named("b", 1..2), named("b", 1..2)].concat());
    let runs = world.cycle();
    assert_eq!((world.people(), held_by(&target)), (people, held), "{runs:#?}");
    assert!(!world.space().contains("CN=b1,DC=x"), "{runs:#?}");
}

/// People go to and fro faster than two directories can be read.
#[test]
fn while_people_leave_again_and_again_nobody_is_deleted() {
    let (world, target) = moving_world();
    let held = held_by(&target);
    world.a.gives(&world.b, named("a", 0..4));
    world.b.gives(&world.a, named("b", 0..2).into_iter().chain(named("a", 0..3)).collect());
    let runs = world.cycle();
    assert!(held.is_subset(&held_by(&target)), "{runs:#?}");
    // As soon as it is quiet, everybody is where they are, and nobody was lost.
    for _ in 0..3 {
        world.cycle();
    }
    assert_eq!((world.people().len(), held_by(&target)), (12, held));
}
