//! How long synchronization takes with the built-in rules, and how long the least thinkable work takes on the same
//! machine in the same run: all users new, nothing changed, 500 changed.
//!
//! `cargo bench --bench sync -- 100000` sets the number of users; 20,000 without. Times are processor seconds, user
//! and system, and wall-clock seconds; the ratio is of processor times.

use redb::{Database, TableDefinition};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use syncline::context::Context;
use syncline::engine::sync::{BATCH, SyncOutcome, SyncRequest, synchronize};
use syncline::model::{
    Anchor, AttrId, ConnectorId, CsId, CsObject, CsReference, DeltaKind, FlatBuilder, RunId, Stage, StageMask, Timestamp, ValueRef,
    ValueState,
};
use syncline::rules::{CompileInput, ConnectorKind, ConnectorProfile, RuleSet, RuleSettings, RunParameters};
use syncline::store::{ChangeSet, Store, StoreOptions};

const AD: ConnectorId = ConnectorId(1);
const CLOUD: ConnectorId = ConnectorId(2);
const ROUNDS: usize = 5;
const CHANGED: u64 = 500;
const ROWS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("rows");

fn main() {
    let users = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(20_000);
    let directory = tempfile::tempdir().expect("a directory for stores");
    let mut table = Table::default();
    for round in 0..ROUNDS {
        let store = Store::open(&directory.path().join(format!("{round}.db")), StoreOptions { cache_octets: 128 << 20 }).expect("a store");
        let rules = rules(&store);
        stage(&store, users);
        let new = measure(|| sync(&store, &rules, true));
        assert_eq!((new.value.processed, new.value.failed), (users + users / 20, 0));
        let still = measure(|| sync(&store, &rules, true));
        let changed = CHANGED.min(users);
        change(&store, changed);
        let delta = measure(|| sync(&store, &rules, false));
        assert_eq!((delta.value.processed, delta.value.failed), (changed, 0));
        let reading = measure(|| floor_of_reading(&store));
        let writing = measure(|| floor_of_writing(&store, &directory.path().join(format!("floor{round}.db"))));
        let single = measure(|| floor_of_changes(&store, changed));
        table.add("all new", &new, reading.cpu + writing.cpu);
        table.add("nothing changed", &still, reading.cpu);
        table.add(&format!("{changed} changed"), &delta, single.cpu);
        drop(store);
        std::fs::remove_file(directory.path().join(format!("{round}.db"))).expect("the store goes");
    }
    table.print(users);
}

fn rules(store: &Store) -> RuleSet {
    let profile = |id, name: &str, kind| ConnectorProfile::new(id, name, kind);
    let connectors = [profile(AD, "contoso.test", ConnectorKind::ActiveDirectory), profile(CLOUD, "Entra", ConnectorKind::Cloud)];
    let files = RuleSet::default_files();
    let settings = RuleSettings::default();
    let input = CompileInput { files: &files, connectors: &connectors, names: store.names(), settings: &settings };
    RuleSet::compile(input).expect("the built-in rules")
}

fn sync(store: &Store, rules: &RuleSet, full: bool) -> SyncOutcome {
    let own = BTreeMap::from([("Domain.FQDN".to_owned(), "contoso.test".to_owned()), ("Connector.ID".to_owned(), "1".to_owned())]);
    let parameters = RunParameters { now: Timestamp::from_seconds(1_700_000_000), parameters: BTreeMap::from([(AD, own)]) };
    let request = SyncRequest { connector: AD, full, parameters, connectors: BTreeMap::new(), step: (RunId(1), 1), batch: BATCH };
    let cx = Context::system();
    synchronize(store, rules, &request, &cx, &mut |plan| if plan.changes.is_empty() { Ok(()) } else { store.apply(plan.changes) })
        .expect("synchronization")
}

/// A directory as an import leaves it: users of about forty values, a manager for most, a group for every twenty.
fn stage(store: &Store, users: u64) {
    let names = store.names();
    let attr = |name: &str| names.intern(name);
    let (user, group) = (names.object_type("user"), names.object_type("group"));
    let (manager, member) = (attr("manager"), attr("member"));
    let added = ValueState::ABSENT.with_added(Stage::PendingImport);
    let texts: Vec<(AttrId, &str)> = [
        "sAMAccountName",
        "cn",
        "displayName",
        "givenName",
        "sn",
        "mail",
        "userPrincipalName",
        "mailNickname",
        "title",
        "department",
        "company",
        "physicalDeliveryOfficeName",
        "telephoneNumber",
        "mobile",
        "facsimileTelephoneNumber",
        "homePhone",
        "streetAddress",
        "l",
        "st",
        "postalCode",
        "co",
        "c",
        "info",
        "description",
        "employeeID",
        "preferredLanguage",
        "extensionAttribute1",
        "extensionAttribute2",
        "extensionAttribute3",
        "extensionAttribute4",
        "extensionAttribute5",
        "legacyExchangeDN",
        "wWWHomePage",
        "initials",
    ]
    .into_iter()
    .map(|name| (attr(name), name))
    .collect();
    let mut changes = ChangeSet::new();
    for number in 1..=users + users / 20 {
        let id = CsId::new(AD, number);
        let is_group = number > users;
        let mut values = FlatBuilder::with_capacity(48, 1_400);
        let guid: Vec<u8> = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes().into_iter().chain(number.to_le_bytes()).collect();
        values.push(attr("objectGUID"), ValueRef::Binary(&guid), added.0);
        let mut sid = vec![1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        sid.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
        values.push(attr("objectSid"), ValueRef::Binary(&sid), added.0);
        if is_group {
            values.push(attr("cn"), ValueRef::Text(&format!("group {number}")), added.0);
            values.push(attr("sAMAccountName"), ValueRef::Text(&format!("g{number}")), added.0);
            values.push(attr("groupType"), ValueRef::Number(-2_147_483_640), added.0);
            for each in 0..20 {
                let target = CsId::new(AD, 1 + (number * 7_919 + each * 104_729) % users);
                changes.cs_reference.push(CsReference { owner: id, attr: member, target, state: added });
            }
        } else {
            for (attr, name) in &texts {
                values.push(*attr, ValueRef::Text(&format!("{name} of user {number}")), added.0);
            }
            values.push(attr("userAccountControl"), ValueRef::Number(512), added.0);
            values.push(attr("pwdLastSet"), ValueRef::Number(132_000_000_000_000_000), added.0);
            for kind in ["SMTP:", "smtp:alias.", "x500:/o=x/cn="] {
                values.push(attr("proxyAddresses"), ValueRef::Text(&format!("{kind}user{number}@contoso.test")), added.0);
            }
            if number % 5 != 0 {
                let target = CsId::new(AD, 1 + number / 10);
                changes.cs_reference.push(CsReference { owner: id, attr: manager, target, state: added });
            }
        }
        let dn = format!("CN=object {number},OU=People,DC=contoso,DC=test");
        let mut object = CsObject::new(id, if is_group { group } else { user }, dn.as_str());
        object.anchor = Some(Anchor::new(guid));
        object.stage_mut(Stage::PendingImport).kind = DeltaKind::Add;
        object.values = values.finish();
        changes.cs_put.push(object);
        if changes.cs_put.len() == 10_000 {
            store.apply(std::mem::take(&mut changes)).expect("staging");
        }
    }
    store.apply(changes).expect("staging");
}

/// Another title for the first users.
fn change(store: &Store, count: u64) {
    let snapshot = store.snapshot().expect("a snapshot");
    let title = store.names().intern("title");
    let mut changes = ChangeSet::new();
    for mut object in snapshot.cs_scan(AD, None, usize::try_from(count).expect("fits")).expect("objects") {
        let mut values = FlatBuilder::new();
        for item in object.values.iter() {
            let state = if item.attr == title { ValueState(item.flags).with_removed(Stage::PendingImport).0 } else { item.flags };
            values.push(item.attr, item.value, state);
        }
        values.push(title, ValueRef::Text("promoted"), ValueState::ABSENT.with_added(Stage::PendingImport).0);
        object.values = values.finish();
        object.stage_mut(Stage::PendingImport).kind = DeltaKind::Update;
        changes.cs_put.push(object);
    }
    store.apply(changes).expect("staging");
}

/// Decode every record and copy 36 of its attributes.
fn floor_of_reading(store: &Store) -> SyncOutcome {
    let snapshot = store.snapshot().expect("a snapshot");
    let (mut after, mut processed) = (None, 0);
    loop {
        let objects = snapshot.cs_scan(AD, after, 1_000).expect("objects");
        let Some(last) = objects.last() else { break };
        after = Some(last.id);
        for object in &objects {
            let mut copy = FlatBuilder::with_capacity(48, 1_400);
            for item in object.values.iter().filter(|item| ValueState(item.flags).present(StageMask::WANTED)).take(36) {
                copy.push(item.attr, item.value, 0);
            }
            processed += u64::from(!std::hint::black_box(copy.finish()).is_empty());
        }
    }
    SyncOutcome { processed, failed: 0, stopped: false }
}

/// Load as many records as a full synchronization makes, of the same size, twice, in batches of 1,000.
fn floor_of_writing(store: &Store, path: &Path) -> SyncOutcome {
    let snapshot = store.snapshot().expect("a snapshot");
    let database = Database::create(path).expect("a database");
    let (mut after, mut processed) = (None, 0);
    loop {
        let objects = snapshot.cs_scan(CLOUD, after, 1_000).expect("objects");
        let Some(last) = objects.last() else { break };
        after = Some(last.id);
        let write = database.begin_write().expect("a transaction");
        {
            let mut table = write.open_table(ROWS).expect("a table");
            for half in [0, 1 << 40] {
                for object in &objects {
                    let size = object.values.heap().len() + 8 * object.values.entries().len();
                    table.insert(half + object.id.sequence(), vec![7u8; size].as_slice()).expect("a row");
                    processed += 1;
                }
            }
        }
        write.commit().expect("a commit");
    }
    drop(database);
    std::fs::remove_file(path).expect("the database goes");
    SyncOutcome { processed, failed: 0, stopped: false }
}

/// Read and write as many records as changed, in one transaction.
fn floor_of_changes(store: &Store, count: u64) -> SyncOutcome {
    let snapshot = store.snapshot().expect("a snapshot");
    let mut changes = ChangeSet::new();
    for mut object in snapshot.cs_scan(AD, None, usize::try_from(count).expect("fits")).expect("objects") {
        object.transient = true;
        changes.cs_put.push(object);
    }
    store.apply(changes).expect("a commit");
    SyncOutcome { processed: count, failed: 0, stopped: false }
}

struct Measured {
    value: SyncOutcome,
    cpu: f64,
    wall: f64,
}

fn measure(work: impl FnOnce() -> SyncOutcome) -> Measured {
    let cx = Arc::new(Context::system());
    let (start, before) = (cx.clock.elapsed(), processor_time());
    let value = std::hint::black_box(work());
    let (wall, cpu) = (cx.clock.elapsed().saturating_sub(start), processor_time().saturating_sub(before));
    Measured { value, cpu: cpu.as_secs_f64(), wall: wall.as_secs_f64() }
}

/// User and system time of this process, in hundredths of a second.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[derive(Default)]
struct Table(BTreeMap<String, Vec<(f64, f64, f64)>>);

impl Table {
    fn add(&mut self, name: &str, measured: &Measured, floor: f64) {
        self.0.entry(name.to_owned()).or_default().push((measured.cpu, measured.wall, floor));
    }

    #[expect(clippy::print_stdout, reason = "a benchmark prints")]
    fn print(&self, users: u64) {
        let median = |mut list: Vec<f64>| {
            list.sort_by(f64::total_cmp);
            list[list.len() / 2]
        };
        println!("{users} users, {} groups, medians of {ROUNDS} rounds", users / 20);
        println!("{:<18}{:>10}{:>10}{:>10}{:>8}", "", "cpu s", "wall s", "floor s", "ratio");
        for (name, rounds) in &self.0 {
            let of = |pick: fn(&(f64, f64, f64)) -> f64| median(rounds.iter().map(pick).collect());
            let (cpu, wall, floor) = (of(|round| round.0), of(|round| round.1), of(|round| round.2));
            println!("{name:<18}{cpu:>10.3}{wall:>10.3}{floor:>10.3}{:>8.2}", cpu / floor.max(0.01));
        }
    }
}
