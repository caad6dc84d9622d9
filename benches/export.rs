//! Preparing batches and taking their answers: an export of new users of the measured shape to a target that takes
//! everything at once, so that nothing but the engine and its store is measured (storage and performance, section 8).
#![expect(clippy::print_stdout, reason = "a bench tells people")]
#![allow(missing_docs, reason = "the macros of the bench harness make undocumented functions")]

#[path = "../tests/store/shape.rs"]
#[expect(dead_code, reason = "this bench needs users only")]
mod shape;

use async_trait::async_trait;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use shape::{octets, user};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use syncline::connector::{
    Capabilities, Connector, ConnectorError, ExportBatch, ExportOperation, ExportOutcome, ExportReply, ImportRequest, ImportStream, Schema,
};
use syncline::context::Context;
use syncline::engine::bridge::Bridge;
use syncline::engine::export::{ExportOptions, export};
use syncline::engine::{Silent, StepRecorder};
use syncline::model::{Anchor, ConnectorId, CsObject, DeltaKind, Names, RunId, Stage, StageDelta, ValueState};
use syncline::store::{ChangeSet, Store, StoreOptions};
use tokio::runtime::Runtime;

const TARGET: u16 = 2;
const OBJECTS: u64 = 20_000;
const FEW: u64 = 1_000;
const OPTIONS: StoreOptions = StoreOptions { cache_octets: 96 << 20 };

/// Takes everything, with keys as random as those of a tenant.
struct Taker;

#[async_trait]
impl Connector for Taker {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            full_import: true,
            delta_import: true,
            export: true,
            batch_objects: 250,
            batch_references: 15_000,
            batches_in_flight: 3,
            reference_deltas: true,
        }
    }

    async fn schema(&self, _cx: &Context) -> Result<Schema, ConnectorError> {
        Ok(Schema::default())
    }

    async fn import(&self, _cx: &Context, _request: ImportRequest) -> Result<ImportStream, ConnectorError> {
        unreachable!("this bench exports only")
    }

    async fn export(&self, _cx: &Context, batch: &ExportBatch) -> Result<ExportReply, ConnectorError> {
        let taken = |operation: &ExportOperation| {
            let anchor = Some(Anchor::new(hex::encode(octets(operation.id.0 + 1, 20)).into_bytes()));
            (operation.id, ExportOutcome::Accepted { anchor })
        };
        Ok(ExportReply::new(batch, batch.operations.iter().map(taken)))
    }
}

/// A user that synchronization wants in the target.
fn wanted(names: &Names, number: u64) -> CsObject {
    let mut object = user(names, TARGET, number);
    object.dn = format!("CN={{{}}}", hex::encode_upper(octets(number, 24))).into();
    (object.anchor, object.in_base) = (None, false);
    object.stages = Default::default();
    *object.stage_mut(Stage::PendingExport) = StageDelta { kind: DeltaKind::Add, rename: None };
    for index in 0..object.values.entries().len() {
        object.values.set_flags(index, ValueState::ABSENT.with_added(Stage::PendingExport).0);
    }
    object
}

/// A store in which so many users wait.
fn waiting(path: &Path, objects: u64) -> Store {
    let store = Store::open(path, OPTIONS).expect("a new store");
    let numbers: Vec<u64> = (1..=objects).collect();
    for batch in numbers.chunks(4_000) {
        let cs_put = batch.iter().map(|number| wanted(store.names(), *number)).collect();
        store.apply(ChangeSet { cs_put, ..ChangeSet::new() }).expect("a batch");
    }
    store
}

fn send(store: &Store, runtime: &Runtime) -> u64 {
    let connector: Arc<dyn Connector> = Arc::new(Taker);
    let options = ExportOptions::new(ConnectorId(TARGET), "T", (RunId(1), 1));
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let bridge = Bridge::new(runtime.handle().clone());
    let (result, outcome) = export(store, &connector, &bridge, &options, &Context::system(), &mut recorder).expect("an export");
    assert_eq!(result, "success");
    outcome.sent
}

/// Processor time of this process so far, user and system: fields 14 and 15 of `/proc/self/stat`, in hundredths.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn whole(runtime: &Runtime) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = waiting(&folder.path().join("store"), OBJECTS);
    let (counts, before) = (store.io_counts(), cpu());
    assert_eq!(send(&store, runtime), OBJECTS);
    let (used, after) = (cpu().saturating_sub(before), store.io_counts());
    println!(
        "export of {OBJECTS} new users: {:.2} s cpu, {} rows read, {} of them records, {} rows written, {} commits",
        used.as_secs_f64(),
        after.rows_read - counts.rows_read,
        after.bodies_read - counts.bodies_read,
        after.rows_written - counts.rows_written,
        after.commits - counts.commits,
    );
}

fn exporting(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    // Listing benches or compiling them under test must not take long.
    if std::env::args().any(|argument| argument == "--bench") && !std::env::args().any(|argument| argument == "--list") {
        whole(&runtime);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = criterion.benchmark_group("export");
    group.sample_size(10).throughput(Throughput::Elements(FEW));
    let mut round = 0;
    group.bench_function("prepare and answer 1,000 new users", |bencher| {
        bencher.iter_batched(
            || {
                round += 1;
                waiting(&folder.path().join(format!("store{round}")), FEW)
            },
            |store| send(&store, &runtime),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, exporting);
criterion_main!(benches);
