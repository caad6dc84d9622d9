//! How long the built-in rules take over one user and one group: scope, inbound contribution, outbound image.

#[path = "shared/scene.rs"]
mod scene;

use criterion::{Criterion, criterion_group, criterion_main};
use scene::{Scene, compile};
use std::hint::black_box;
use syncline::model::ConnectorId;

fn rules(criterion: &mut Criterion) {
    let scene = Scene::new();
    let person = scene.metaverse(&scene.user, "person");
    criterion.bench_function("rules/compile the built-in set", |bencher| bencher.iter(|| compile(black_box(&scene.names))));
    criterion.bench_function("rules/inbound scope of a user", |bencher| {
        bencher.iter(|| scene.set.inbound_scope(ConnectorId(1), black_box(&scene.user), &scene.run).expect("scopes hold"));
    });
    criterion.bench_function("rules/contribute a user", |bencher| bencher.iter(|| scene.contribute(black_box(&scene.user), "person")));
    criterion.bench_function("rules/outbound scope of a person", |bencher| {
        bencher.iter(|| scene.set.outbound_scope(ConnectorId(2), black_box(&person), &scene.run).expect("scopes hold"));
    });
    criterion.bench_function("rules/want a cloud user", |bencher| bencher.iter(|| scene.want(black_box(&person))));
    criterion.bench_function("rules/one user through all rules", |bencher| {
        bencher.iter(|| scene.want(&scene.metaverse(black_box(&scene.user), "person")));
    });
    criterion.bench_function("rules/contribute a group", |bencher| bencher.iter(|| scene.contribute(black_box(&scene.group), "group")));
}

criterion_group!(benches, rules);
criterion_main!(benches);
