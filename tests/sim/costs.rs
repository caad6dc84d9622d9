//! What a delta cycle costs hangs on what changed and what follows from it: not on how many objects there are, and not on
//! how many members a group has. Held against the rows that the store read and wrote and against its commits, which no
//! clock disturbs.

use crate::rules::{A, T, rules_of};
use crate::runs::{LAWS, engine, participant};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use syncline::connector::{
    Capabilities, Completion, Connector, ConnectorError, ExportBatch, ExportKind, ExportOperation, ExportOutcome, ExportReply, ImportKind,
    ImportPage, ImportRequest, ImportStream, Operation, PageBuilder, Schema,
};
use syncline::context::Context;
use syncline::engine::Silent;
use syncline::engine::export::{ExportLimits, Limits};
use syncline::engine::run::{Caution, Engine, Profile};
use syncline::model::{Anchor, Names, Value, ValueRef};
use syncline::rules::RuleSet;
use syncline::store::{IoCounts, Store};

/// So many members the target takes in one batch.
const BATCH_REFERENCES: usize = 1_000;

/// As the built-in rules do: the group itself changes with every member, and has a reference that is computed.
const SIZE: &str = r#"
[[rule]]
name = "In from A - Group Size"
direction = "inbound"
connector = "A"
cs_type = "group"
mv_type = "group"
link = "join"
order = 31
flows = [{ to = "memberCount", expr = 'ValueCount("member")' }]

[[rule]]
name = "Out to T - Group Size"
direction = "outbound"
connector = "T"
cs_type = "group"
mv_type = "group"
link = "join"
order = 61
scope = [[{ attr = "memberCount", op = "LESSTHAN", value = "100000" }, { attr = "member", op = "ISNOTNULL" }]]
flows = [{ to = "description", from = "displayName" }, { to = "manager", expr = 'IIF(IsPresent([mail]), [manager], NULL)' }]
"#;

/// What a directory tells of one object.
#[derive(Clone)]
struct Told {
    what: What,
    dn: String,
    key: String,
    kind: &'static str,
    says: Vec<(String, Operation, Vec<String>)>,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Whole,
    Change,
    Gone,
}

impl Told {
    fn new(what: What, kind: &'static str, dn: String, key: String) -> Self {
        Self { what, dn, key, kind, says: Vec::new() }
    }

    fn user(number: u64) -> Self {
        let user = Self::new(What::Whole, "user", user_name(number), user_key(number));
        let user = user.says("badge", Operation::Replace, [number.to_string()]);
        let user = user.says("displayName", Operation::Replace, [format!("user {number}")]);
        user.says("mail", Operation::Replace, [format!("{number}@x")]).says("manager", Operation::Replace, [user_name(1)])
    }

    fn group(name: &str, members: impl IntoIterator<Item = u64>) -> Self {
        let group = Self::new(What::Whole, "group", format!("CN={name},DC=x"), name.to_owned());
        let group = group.says("cn", Operation::Replace, [name.to_owned()]);
        group.says("member", Operation::Replace, members.into_iter().map(user_name))
    }

    fn user_changes(number: u64) -> Self {
        Self::new(What::Change, "user", user_name(number), user_key(number))
    }

    fn group_changes(name: &str) -> Self {
        Self::new(What::Change, "group", format!("CN={name},DC=x"), name.to_owned())
    }

    fn gone(number: u64) -> Self {
        Self::new(What::Gone, "user", user_name(number), user_key(number))
    }

    fn says(mut self, attribute: &str, operation: Operation, values: impl IntoIterator<Item = String>) -> Self {
        self.says.push((attribute.to_owned(), operation, values.into_iter().collect()));
        self
    }

    fn put(&self, page: &mut PageBuilder, names: &Names) {
        match self.what {
            What::Whole => page.begin_entry(&self.dn),
            What::Change => page.begin_change(&self.dn),
            What::Gone => page.begin_gone(&self.dn),
        }
        page.anchor(self.key.as_bytes());
        if self.what != What::Gone {
            page.object_type(names.object_type(self.kind));
        }
        for (attribute, operation, values) in &self.says {
            page.attribute(names.intern(attribute), *operation);
            for value in values {
                if matches!(attribute.as_str(), "manager" | "member") {
                    page.reference(value);
                } else {
                    page.value(ValueRef::Text(value));
                }
            }
        }
        page.finish();
    }
}

fn user_name(number: u64) -> String {
    format!("CN=u{number},DC=x")
}

fn user_key(number: u64) -> String {
    format!("{number:08}")
}

/// A directory that tells all it has when it is asked for everything, and otherwise only the news.
struct Directory {
    names: Arc<Names>,
    all: Vec<Told>,
    news: Mutex<Vec<Told>>,
    /// What it was asked to do since the last look.
    asked: Mutex<Vec<ExportOperation>>,
}

impl Directory {
    fn new(names: &Arc<Names>, all: Vec<Told>) -> Arc<Self> {
        Arc::new(Self { names: Arc::clone(names), all, news: Mutex::default(), asked: Mutex::default() })
    }
}

/// What a target tells after it did as it was told.
fn echo(operation: &ExportOperation, key: &str) -> Told {
    let kind = if operation.object_type == "group" { "group" } else { "user" };
    let what = match operation.kind {
        ExportKind::Add => What::Whole,
        ExportKind::Update => What::Change,
        ExportKind::Delete => What::Gone,
    };
    let dn = operation.rename.clone().unwrap_or_else(|| operation.dn.clone());
    let mut told = Told::new(what, kind, dn, key.to_owned());
    for change in &operation.attributes {
        let texts = change.wanted.iter().map(|value| match value {
            Value::Text(text) => text.to_string(),
            other => format!("{other:?}"),
        });
        told = told.says(&change.name, Operation::Replace, texts);
    }
    for change in &operation.references {
        if !change.added.is_empty() {
            told = told.says(&change.name, Operation::Add, change.added.clone());
        }
        if !change.removed.is_empty() {
            told = told.says(&change.name, Operation::Remove, change.removed.clone());
        }
    }
    told
}

#[async_trait]
impl Connector for Directory {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            full_import: true,
            delta_import: true,
            export: true,
            batch_objects: 100,
            batch_references: BATCH_REFERENCES,
            batches_in_flight: 1,
            reference_deltas: true,
        }
    }

    async fn schema(&self, _cx: &Context) -> Result<Schema, ConnectorError> {
        Ok(Schema::default())
    }

    async fn import(&self, _cx: &Context, request: ImportRequest) -> Result<ImportStream, ConnectorError> {
        let news = std::mem::take(&mut *self.news.lock().unwrap());
        let full = request.kind == ImportKind::Full;
        let told = if full { &self.all } else { &news };
        let mut pages: Vec<Result<ImportPage, ConnectorError>> = Vec::new();
        for chunk in told.chunks(1_000) {
            let mut page = PageBuilder::new();
            for told in chunk {
                told.put(&mut page, &self.names);
            }
            pages.push(Ok(page.build(None)));
        }
        pages.push(Ok(PageBuilder::new().build(Some(Completion { watermark: Some(b"here".to_vec()), answered_in_full: full }))));
        Ok(futures_util::stream::iter(pages).boxed())
    }

    async fn export(&self, _cx: &Context, batch: &ExportBatch) -> Result<ExportReply, ConnectorError> {
        let mut outcomes = Vec::new();
        for operation in &batch.operations {
            let anchor = operation.anchor.clone().unwrap_or_else(|| Anchor::new(operation.dn.as_bytes()));
            let key = String::from_utf8(anchor.as_bytes().to_vec()).unwrap();
            self.news.lock().unwrap().push(echo(operation, &key));
            self.asked.lock().unwrap().push(operation.clone());
            outcomes.push((operation.id, ExportOutcome::Accepted { anchor: Some(anchor) }));
        }
        Ok(ExportReply::new(batch, outcomes))
    }
}

/// A source, a target, and what lies between them, at rest.
struct World {
    store: Store,
    rules: RuleSet,
    source: Arc<Directory>,
    target: Arc<Directory>,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new(all: Vec<Told>) -> Self {
        let store = Store::in_memory().unwrap();
        let names = Arc::clone(store.names());
        let rules = rules_of(&names, &format!("{LAWS}{SIZE}"));
        let world = Self {
            source: Directory::new(&names, all),
            target: Directory::new(&names, Vec::new()),
            store,
            rules,
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap(),
        };
        world.with_engine(|engine| {
            engine.cycle(true, &mut Silent).unwrap();
            engine.cycle(false, &mut Silent).unwrap();
        });
        let arrived = world.asked().iter().filter(|operation| operation.kind == ExportKind::Add).count();
        assert_eq!(arrived, world.source.all.len(), "everybody arrived");
        assert_eq!(world.store.check().unwrap().problems, []);
        world
    }

    /// Users, and two groups: one of the last users, and `g1` of the others named.
    fn of(users: u64, members: u64) -> Self {
        let groups = [Told::group("g1", 1..=members), Told::group("g2", [users])];
        Self::new(groups.into_iter().chain((1..=users).map(Told::user)).collect())
    }

    fn with_engine<R>(&self, work: impl FnOnce(&Engine<'_>) -> R) -> R {
        let (source, target): (Arc<dyn Connector>, Arc<dyn Connector>) = (self.source.clone(), self.target.clone());
        let participants = BTreeMap::from([(A, participant("A", Some(source), false)), (T, participant("T", Some(target), true))]);
        work(&Engine {
            caution: Caution {
                limits: Limits::new(ExportLimits { delete_percent_max: Some(90), ..ExportLimits::default() }),
                ..Caution::default()
            },
            ..engine(&self.store, &self.rules, &self.runtime, participants)
        })
    }

    /// What some work costs.
    fn cost(&self, work: impl FnOnce(&Engine<'_>)) -> IoCounts {
        let before = self.store.io_counts();
        self.with_engine(work);
        let after = self.store.io_counts();
        IoCounts {
            rows_read: after.rows_read - before.rows_read,
            bodies_read: after.bodies_read - before.bodies_read,
            rows_written: after.rows_written - before.rows_written,
            commits: after.commits - before.commits,
        }
    }

    /// What a delta cycle over these news costs.
    fn cycle(&self, news: Vec<Told>) -> IoCounts {
        self.source.news.lock().unwrap().extend(news);
        let cost = self.cost(|engine| {
            let runs = engine.cycle(false, &mut Silent).unwrap();
            let wrong: Vec<_> = runs.iter().filter(|run| run.result.0 != "success" || run.profile.starts_with("Full")).collect();
            assert!(wrong.is_empty(), "{wrong:#?}");
        });
        assert_eq!(self.store.check().unwrap().problems, []);
        cost
    }

    /// The same, step by step: import, synchronization, export, confirming import, its synchronization.
    fn steps(&self, news: Vec<Told>) -> Vec<(&'static str, IoCounts)> {
        self.source.news.lock().unwrap().extend(news);
        let steps = [
            ("import", A, Profile::DeltaImport),
            ("synchronization", A, Profile::DeltaSynchronization),
            ("export", T, Profile::Export),
            ("confirming import", T, Profile::DeltaImport),
            ("its synchronization", T, Profile::DeltaSynchronization),
        ];
        let steps = steps.map(|(name, connector, profile)| {
            let cost = self.cost(|engine| {
                let run = engine.run(connector, profile, &mut Silent).unwrap();
                assert_eq!((&*run.result.0, run.steps.len()), ("success", 1), "{run:#?}");
            });
            (name, cost)
        });
        assert_eq!(self.store.check().unwrap().problems, []);
        steps.to_vec()
    }

    /// What the target was asked to do since the last look.
    fn asked(&self) -> Vec<ExportOperation> {
        std::mem::take(&mut *self.target.asked.lock().unwrap())
    }
}

/// References that come and go in an operation.
fn links(operation: &ExportOperation) -> (Vec<String>, Vec<String>) {
    let all = |of: fn(&syncline::connector::ReferenceChange) -> &Vec<String>| operation.references.iter().flat_map(of).cloned().collect();
    (all(|change| &change.added), all(|change| &change.removed))
}

/// People of the large directory; `SYNCLINE_COSTS` makes it another.
fn large() -> u64 {
    crate::setting("SYNCLINE_COSTS").unwrap_or(1_500)
}

/// People of the small one.
fn small() -> u64 {
    (large() / 10).max(300)
}

/// Members of a large group.
fn crowd() -> u64 {
    (large() * 2 / 3).min(50_000)
}

#[test]
fn a_cycle_without_news_costs_the_same_in_every_directory() {
    let cost = |users| World::of(users, 20).cycle(Vec::new());
    let (small, large) = (cost(small()), cost(large()));
    assert_eq!(small, large);
    assert_eq!(small.bodies_read, 0, "{small:?}");
    // Four runs, noted when they begin and when they end; each takes a number.
    assert_eq!((small.commits, small.rows_written), (8, 12), "{small:?}");
    // Two of them ask, before each synchronization, whom removals of connectors concern, and whether what was imported is believed.
    assert!(small.rows_read <= 69, "{small:?}");
}

#[test]
fn a_few_changes_cost_the_same_in_every_directory() {
    let news = |users: u64| {
        let replace = Operation::Replace;
        vec![
            Told::user_changes(7).says("displayName", replace, ["somebody else".to_owned()]),
            Told::user(users + 1),
            Told::user(users + 2),
            Told::gone(9),
            Told { dn: "CN=renamed,DC=x".to_owned(), ..Told::user_changes(11) }.says("badge", replace, ["eleven".to_owned()]),
            Told::user_changes(12).says("manager", replace, [user_name(2)]),
            Told::group_changes("g1").says("member", Operation::Add, [user_name(30), user_name(users + 1)]).says(
                "member",
                Operation::Remove,
                [user_name(3)],
            ),
        ]
    };
    let cost = |users| {
        let world = World::of(users, 20);
        let cost = world.cycle(news(users));
        assert_eq!(world.asked().len(), 7, "one write for each object");
        (cost, world.cycle(Vec::new()))
    };
    let (small, large) = (cost(small()), cost(large()));
    assert_eq!(small, large);
    assert!(small.0.rows_read <= 1_067 && small.0.rows_written <= 395 && small.0.commits <= 29, "{small:?}");
}

/// A day's worth of news: most people are changed, some come, some go.
#[test]
fn many_changes_cost_the_same_in_every_directory() {
    let [changes, comers, leavers] = if small() >= 2_000 { [400, 75, 25] } else { [160, 30, 10] };
    let cost = |users| {
        let world = World::of(users, 20);
        // Nobody of the group, and not the manager of all.
        let changed = (30..30 + changes)
            .map(|number| Told::user_changes(number).says("displayName", Operation::Replace, [format!("somebody else {number}")]));
        let came = (users + 1..=users + comers).map(Told::user);
        let gone = (40 + changes..40 + changes + leavers).map(Told::gone);
        let cost = world.cycle(changed.chain(came).chain(gone).collect());
        assert_eq!(world.asked().len() as u64, changes + comers + leavers, "one write for each object");
        cost
    };
    let (in_small, in_large) = (cost(small()), cost(large()));
    assert_eq!(in_small, in_large);
    println!("{} changes of {} and of {} people: {in_large:?}", changes + comers + leavers, small(), large());
}

/// What the first change of `g1` costs, step by step. What a directory told in one piece has a hash of that piece, by which a full import
/// knows it again, and the first change that is sent withdraws it: one row more than with every change behind it. A group of more
/// members than one batch takes was sent in several, so that its target told of it in several, and has no hash to withdraw.
fn first_change(world: &World) -> Vec<(&'static str, IoCounts)> {
    let cost = world.steps(vec![Told::group_changes("g1").says("displayName", Operation::Replace, ["All".to_owned()])]);
    assert_eq!(world.asked().len(), 1);
    cost
}

#[test]
fn a_member_that_comes_or_goes_costs_the_same_in_every_group() {
    let measured = |members: u64| {
        let world = World::of(large(), members);
        let first = first_change(&world);
        let added = world.steps(vec![Told::group_changes("g1").says("member", Operation::Add, [user_name(large() - 1)])]);
        let asked = world.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!(links(&asked[0]), (vec![format!("CN={}", large() - 1)], vec![]), "one member is sent, and no other");
        let removed = world.steps(vec![Told::group_changes("g1").says("member", Operation::Remove, [user_name(5)])]);
        let asked = world.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!(links(&asked[0]), (vec![], vec!["CN=5".to_owned()]));
        let news = Told::group_changes("g1").says("displayName", Operation::Replace, ["Everybody".to_owned()]);
        let renamed = world.steps(vec![news]);
        assert_eq!(world.asked().len(), 1);
        (first, (added, removed, renamed))
    };
    let ((small_first, small), (mut large_first, large)) = (measured(10), measured(crowd()));
    assert_eq!(small, large);
    let (_, export) = large_first.iter_mut().find(|(step, _)| *step == "export").unwrap();
    export.rows_written += u64::from(crowd() > BATCH_REFERENCES as u64);
    assert_eq!(small_first, large_first);
    println!("one member of {} comes, one goes, and the group is renamed: {large:?}", crowd());
    let sum = |of: fn(&IoCounts) -> u64| large.0.iter().map(|(_, cost)| of(cost)).sum::<u64>();
    assert!(sum(|cost| cost.rows_read) <= 258 && sum(|cost| cost.rows_written) <= 56, "{large:?}");
}

#[test]
fn a_member_that_is_deleted_or_renamed_costs_the_same_in_every_group() {
    let measured = |members: u64| {
        let world = World::of(large(), members);
        first_change(&world);
        let deleted = world.steps(vec![Told::gone(5)]);
        let asked = world.asked();
        let kinds: Vec<_> = asked.iter().map(|operation| (operation.kind, operation.dn.as_str())).collect();
        assert!(kinds.contains(&(ExportKind::Delete, "CN=5")), "{kinds:?}");
        assert!(asked.iter().all(|operation| links(operation).0.is_empty() && links(operation).1.len() <= 1), "{asked:?}");
        let renamed = Told { dn: "CN=renamed,DC=x".to_owned(), ..Told::user_changes(6) };
        let renamed = world.steps(vec![renamed.says("badge", Operation::Replace, ["six".to_owned()])]);
        let asked = world.asked();
        let renames: Vec<_> = asked.iter().map(|operation| operation.rename.as_deref()).collect();
        assert_eq!(renames, [Some("CN=six")], "{asked:?}");
        (deleted, renamed)
    };
    let (small, large) = (measured(10), measured(crowd()));
    assert_eq!(small, large);
}

#[test]
fn what_only_arrived_needs_no_synchronization() {
    let world = World::of(small(), 20);
    let bodies = |steps: &[(&str, IoCounts)]| steps.iter().map(|(_, cost)| cost.bodies_read).collect::<Vec<_>>();
    let changed = world.steps(vec![Told::user_changes(40).says("displayName", Operation::Replace, ["somebody else".to_owned()])]);
    assert_eq!(world.asked().len(), 1);
    println!("one person is changed: {changed:?}");
    assert_eq!(bodies(&changed).last(), Some(&0), "{changed:?}");
    // What the target made has a name and a key that nobody knew.
    let came = world.steps(vec![Told::user(small() + 1)]);
    assert_eq!(world.asked().len(), 1);
    assert!(bodies(&came).last() > Some(&0), "{came:?}");
    // The wish came to rest: nothing is sent once more.
    world.cycle(Vec::new());
    assert_eq!(world.asked().len(), 0);
}
