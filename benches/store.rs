//! Loading 100,000 objects of the measured shape, held against a bare cursor load of the same octets
//! (storage and performance, section 1: new objects into the connector space, at most twice the floor).
#![expect(clippy::print_stdout, reason = "a bench tells people")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the machine's clock")]
#![allow(missing_docs, reason = "the macros of the bench harness make undocumented functions")]

#[path = "../tests/store/shape.rs"]
mod shape;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use shape::{person, user};
use std::ops::Bound;
use std::path::Path;
use std::time::{Duration, Instant};
use syncline::model::{AttrId, CsObject, Lineage, RuleId, Stage, Timestamp};
use syncline::store::{ChangeSet, Store, StoreOptions};

const OBJECTS: u64 = 100_000;
const BATCH: usize = 4_000;
const OPTIONS: StoreOptions = StoreOptions { cache_octets: 96 << 20 };
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("cs_object");

/// Wall and processor time.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

/// Processor time of this process so far, user and system: fields 14 and 15 of `/proc/self/stat`, in hundredths.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn measure(work: impl FnOnce()) -> Cost {
    let (wall, before) = (Instant::now(), cpu());
    work();
    Cost { wall: wall.elapsed(), cpu: cpu().saturating_sub(before) }
}

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.wall);
    let wall = costs[costs.len() / 2].wall;
    costs.sort_by_key(|cost| cost.cpu);
    Cost { wall, cpu: costs[costs.len() / 2].cpu }
}

/// Loads objects as an import does: with anchors, names, links, queue and hashes.
fn load(path: &Path, batches: Vec<ChangeSet>) {
    let store = Store::open(path, OPTIONS).expect("a new store");
    let _ = user(store.names(), 1, 1);
    for batch in batches {
        store.apply(batch).expect("a batch");
    }
}

fn batches(users: &[CsObject]) -> Vec<ChangeSet> {
    let set = |batch: &[CsObject]| ChangeSet {
        cs_hash: batch.iter().map(|object| (object.id, Some(u128::from(object.id.0) << 64 | 7))).collect(),
        cs_put: batch.to_vec(),
        ..ChangeSet::new()
    };
    users.chunks(BATCH).map(set).collect()
}

/// The records as the store made them.
fn records(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let database = Database::open(path).expect("the store's file");
    let table = database.begin_read().expect("a view").open_table(RECORDS).expect("the table");
    let rows = table.iter().expect("rows");
    rows.map(|row| row.expect("a row")).map(|(id, bytes)| (id.value(), bytes.value().to_vec())).collect()
}

/// Nothing but the octets, by a cursor, in transactions of the same size.
fn floor(path: &Path, records: &[(u64, Vec<u8>)]) {
    let database = Database::builder().set_cache_size(OPTIONS.cache_octets).create(path).expect("a new file");
    for batch in records.chunks(BATCH) {
        let mut transaction = database.begin_write().expect("a transaction");
        transaction.set_quick_repair(true);
        {
            let mut table = transaction.open_table(RECORDS).expect("the table");
            let mut cursor = table.upper_bound_mut(Bound::<u64>::Unbounded).expect("a cursor");
            for (id, bytes) in batch {
                cursor.insert_before(*id, bytes.as_slice()).expect("ascending");
            }
            cursor.close().expect("all inserted");
        }
        transaction.commit().expect("a commit");
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes of a bench are small")]
fn ratio() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = syncline::model::Names::new();
    let users: Vec<_> = (1..=OBJECTS).map(|number| user(&names, 1, number)).collect();
    let first = folder.path().join("first");
    load(&first, batches(&users));
    let records = records(&first);
    let octets: usize = records.iter().map(|(_, bytes)| bytes.len()).sum();
    let size = std::fs::metadata(&first).map_or(0, |file| file.len());
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let (store, bare) = (folder.path().join(format!("store{round}")), folder.path().join(format!("bare{round}")));
        let batches = batches(&users);
        ours.push(measure(|| load(&store, batches)));
        floors.push(measure(|| floor(&bare, &records)));
        drop((std::fs::remove_file(store), std::fs::remove_file(bare)));
    }
    let (ours, floor) = (median(ours), median(floors));
    println!(
        "load of {OBJECTS} objects, {:.0} octets a record, {:.2} KB of file an object, batches of {BATCH}: store {:.2} s wall {:.2} s cpu, floor {:.2} s wall {:.2} s cpu, ratio {:.2} wall {:.2} cpu",
        octets as f64 / records.len() as f64,
        size as f64 / OBJECTS as f64 / 1000.0,
        ours.wall.as_secs_f64(),
        ours.cpu.as_secs_f64(),
        floor.wall.as_secs_f64(),
        floor.cpu.as_secs_f64(),
        ours.wall.as_secs_f64() / floor.wall.as_secs_f64(),
        ours.cpu.as_secs_f64() / floor.cpu.as_secs_f64(),
    );
}

fn loading(criterion: &mut Criterion) {
    // Listing benches or compiling them under test must not take a minute.
    if std::env::args().any(|argument| argument == "--bench") && !std::env::args().any(|argument| argument == "--list") {
        ratio();
    }
    let names = syncline::model::Names::new();
    let users: Vec<_> = (1..=BATCH as u64).map(|number| user(&names, 1, number)).collect();
    let people: Vec<_> = (1..=BATCH as u64)
        .map(|number| {
            let mut person = person(&names, number);
            let origin = |attr: AttrId| Lineage { attr, rule: RuleId(7), source: users[0].id, since: Timestamp(1) };
            person.lineage = person.values.attributes().map(origin).collect();
            person
        })
        .collect();
    let mut group = criterion.benchmark_group("store");
    group.sample_size(10);
    let filled = || {
        let store = Store::in_memory().expect("a store");
        let _ = user(store.names(), 1, 1);
        store
    };
    group.bench_function("apply a batch of new objects", |bencher| {
        bencher.iter_batched(
            || (filled(), batches(&users).remove(0)),
            |(store, set)| {
                store.apply(set).expect("a batch");
                store
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("apply a batch of new metaverse objects", |bencher| {
        bencher.iter_batched(
            || (filled(), ChangeSet { mv_put: people.clone(), ..ChangeSet::new() }),
            |(store, set)| {
                store.apply(set).expect("a batch");
                store
            },
            BatchSize::PerIteration,
        );
    });
    let store = filled();
    store.apply(batches(&users).remove(0)).expect("a batch");
    group.bench_function("apply the same batch again", |bencher| {
        bencher.iter_batched(|| batches(&users).remove(0), |set| store.apply(set).expect("a batch"), BatchSize::PerIteration);
    });
    group.bench_function("read a batch", |bencher| {
        bencher.iter(|| {
            let view = store.snapshot().expect("a view");
            let objects = view.cs_scan(syncline::model::ConnectorId(1), None, BATCH).expect("objects");
            objects.iter().filter(|object| object.stage(Stage::PendingImport).is_some()).count()
        });
    });
    group.finish();
}

criterion_group!(benches, loading);
criterion_main!(benches);
