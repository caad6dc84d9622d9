//! How long it takes from the octets of a directory to canonical hashes, and how long the least thinkable work on the
//! same values takes: walk them all and hash each once (design: storage and performance, section 1).
#![allow(missing_docs, reason = "the macros of the bench harness make undocumented functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::StreamExt;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use syncline::connector::ldif::{LdifConnector, LdifSettings};
use syncline::connector::{Connector as _, ImportKind, ImportPage, ImportRequest, PageItem};
use syncline::context::Context;
use syncline::directory_generator::DirectoryRecipe;
use syncline::engine::hash;
use syncline::model::{AttrId, ConnectorId, Names};
use syncline::protocol::ldif::Reader;
use syncline::rules::{CompileInput, ConnectorKind, ConnectorProfile, RuleSet, RuleSettings};
use xxhash_rust::xxh3::xxh3_128;

const SECRET: u64 = 0x5EED;

/// A directory of the measured shape as a file.
fn directory(folder: &Path) -> PathBuf {
    let recipe = DirectoryRecipe { users: 2_000, groups: 100, contacts: 20, ..DirectoryRecipe::default() };
    let mut content = Vec::new();
    recipe.write_ldif(&mut content).expect("a directory");
    let path = folder.join("directory.ldif");
    std::fs::write(&path, content).expect("a file");
    path
}

/// What the built-in rules read.
fn attributes(names: &Arc<Names>) -> Vec<AttrId> {
    let profile = |id, name: &str, kind| ConnectorProfile::new(id, name, kind);
    let connectors =
        [profile(ConnectorId(1), "corp.example", ConnectorKind::ActiveDirectory), profile(ConnectorId(2), "Entra", ConnectorKind::Cloud)];
    let files = RuleSet::default_files();
    let input = CompileInput { files: &files, connectors: &connectors, names, settings: &RuleSettings::default() };
    RuleSet::compile(input).expect("the built-in rules").inbound_attributes(ConnectorId(1))
}

/// All pages of an import.
async fn pages(connector: &LdifConnector, attributes: &[AttrId]) -> Vec<ImportPage> {
    let request = ImportRequest { kind: ImportKind::Full, attributes: attributes.to_vec() };
    let mut stream = connector.import(&Context::system(), request).await.expect("an import");
    let mut found = Vec::new();
    while let Some(page) = stream.next().await {
        found.push(page.expect("a page"));
    }
    found
}

fn hashes(pages: &[ImportPage]) -> u128 {
    let mut sum = 0u128;
    for item in pages.iter().flat_map(ImportPage::items) {
        if let PageItem::Entry(entry) = item {
            sum = sum.wrapping_add(hash::entry(&entry, SECRET));
        }
    }
    sum
}

fn floor(pages: &[ImportPage]) -> u128 {
    let mut sum = 0u128;
    for item in pages.iter().flat_map(ImportPage::items) {
        if let PageItem::Entry(entry) = item {
            for (_, _, octets) in entry.attributes().flat_map(|(_, _, values)| values) {
                sum = sum.wrapping_add(xxh3_128(octets));
            }
        }
    }
    sum
}

fn decode(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = directory(folder.path());
    let content = std::fs::read(&path).expect("the file");
    let names = Arc::new(Names::new());
    let attributes = attributes(&names);
    let connector = LdifConnector::new(LdifSettings { path, ..LdifSettings::default() }, names).expect("a connector");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let read = runtime.block_on(pages(&connector, &attributes));
    let entries = read.iter().flat_map(ImportPage::items).filter(|item| matches!(item, PageItem::Entry(_))).count();
    assert!(entries >= 2_000, "all users come in, not {entries} entries");

    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(entries as u64)).sample_size(20);
    group.bench_function("LDIF records", |bencher| {
        bencher.iter(|| Reader::new(black_box(content.as_slice())).map(|record| record.expect("a record").len()).sum::<usize>());
    });
    group.bench_function("LDIF file to pages", |bencher| bencher.iter(|| runtime.block_on(pages(&connector, &attributes)).len()));
    group.bench_function("canonical hashes of pages", |bencher| bencher.iter(|| hashes(black_box(&read))));
    group.bench_function("floor: walk all values, hash each once", |bencher| bencher.iter(|| floor(black_box(&read))));
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
