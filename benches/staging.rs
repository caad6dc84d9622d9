//! How long decoded pages take to become connector-space objects, and how long it takes to see that nothing changed.
#![allow(missing_docs, reason = "the macros of the bench harness make undocumented functions")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::StreamExt;
use std::path::Path;
use std::sync::Arc;
use syncline::connector::ldif::{LdifConnector, LdifSettings};
use syncline::connector::{Connector as _, ConnectorError, ImportKind, ImportPage, ImportRequest};
use syncline::context::Context;
use syncline::directory_generator::DirectoryRecipe;
use syncline::engine::import::{ImportOptions, import};
use syncline::engine::{Silent, StepRecorder};
use syncline::model::{AttrId, ConnectorId, Names, RunId};
use syncline::rules::{CompileInput, ConnectorKind, ConnectorProfile, RuleSet, RuleSettings};
use syncline::store::{Store, StoreOptions};

const SOURCE: ConnectorId = ConnectorId(1);
const USERS: u64 = 10_000;

type Pages = Vec<Result<ImportPage, ConnectorError>>;

/// What the built-in rules read.
fn attributes(names: &Arc<Names>) -> Vec<AttrId> {
    let profile = |id, name: &str, kind| ConnectorProfile::new(id, name, kind);
    let connectors =
        [profile(SOURCE, "corp.example", ConnectorKind::ActiveDirectory), profile(ConnectorId(2), "Entra", ConnectorKind::Cloud)];
    let files = RuleSet::default_files();
    let input = CompileInput { files: &files, connectors: &connectors, names, settings: &RuleSettings::default() };
    RuleSet::compile(input).expect("the built-in rules").inbound_attributes(SOURCE)
}

/// The directory's pages, decoded with the names of a store.
fn pages(file: &Path, store: &Store) -> (Pages, Vec<AttrId>) {
    let attributes = attributes(store.names());
    let connector = LdifConnector::new(LdifSettings { path: file.to_owned(), ..LdifSettings::default() }, Arc::clone(store.names()))
        .expect("a connector");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let found = runtime.block_on(async {
        let request = ImportRequest { kind: ImportKind::Full, attributes: attributes.clone() };
        connector.import(&Context::system(), request).await.expect("an import").collect::<Vec<_>>().await
    });
    (found, attributes)
}

fn stage(store: &Store, pages: Pages, attributes: Vec<AttrId>) {
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let options = ImportOptions::full(SOURCE, "corp.example", attributes, (RunId(1), 1));
    let result = import(store, pages.into_iter(), &options, &Context::system(), &mut recorder).expect("an import");
    assert_eq!(result, "success");
}

fn staging(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = DirectoryRecipe { users: USERS, groups: USERS / 20, contacts: USERS / 100, ..DirectoryRecipe::default() };
    let mut content = Vec::new();
    recipe.write_ldif(&mut content).expect("a directory");
    let file = folder.path().join("directory.ldif");
    std::fs::write(&file, content).expect("a file");
    let open = |name: &str| Store::open(&folder.path().join(name), StoreOptions { cache_octets: 64 << 20 }).expect("a store");

    let mut group = criterion.benchmark_group("staging");
    group.throughput(Throughput::Elements(recipe.users + recipe.groups + recipe.contacts)).sample_size(10);
    let mut number = 0;
    group.bench_function("new objects", |bencher| {
        bencher.iter_batched(
            || {
                number += 1;
                let store = open(&format!("new-{number}.redb"));
                let (pages, attributes) = pages(&file, &store);
                (store, pages, attributes)
            },
            |(store, pages, attributes)| stage(&store, pages, attributes),
            BatchSize::PerIteration,
        );
    });
    let store = open("known.redb");
    let (first, attributes) = pages(&file, &store);
    stage(&store, first, attributes);
    group.bench_function("unchanged objects", |bencher| {
        bencher.iter_batched(|| pages(&file, &store), |(pages, attributes)| stage(&store, pages, attributes), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, staging);
criterion_main!(benches);
