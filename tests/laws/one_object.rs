//! One object synchronized by itself, and what a preview of it may touch: nothing.

use crate::scenarios::person;
use crate::world::World;
use crate::{A, B, T, rules};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use syncline::context::Context;
use syncline::engine::sync::{BATCH, SyncRequest, preview, run_sync_of_object};
use syncline::engine::{Silent, StepRecorder};
use syncline::model::{CsId, RunId, Stage, Timestamp};
use syncline::rules::RunParameters;

/// Everything that synchronization writes, as text.
fn whole(world: &World) -> String {
    let snapshot = world.snapshot();
    let mut told = String::new();
    for connector in [A, T] {
        for object in world.space(connector) {
            writeln!(told, "{object:?} {:?}", snapshot.cs_references(object.id).unwrap()).unwrap();
        }
        writeln!(told, "{:?}", snapshot.dirty(connector, None, usize::MAX).unwrap()).unwrap();
        writeln!(told, "{:?}", snapshot.errors(connector, None, usize::MAX).unwrap()).unwrap();
        for stage in Stage::ALL {
            writeln!(told, "{stage:?} {:?}", snapshot.queue(stage, connector, None, usize::MAX).unwrap()).unwrap();
        }
    }
    for object in world.metaverse() {
        let (links, references) = (snapshot.mv_links(object.id).unwrap(), snapshot.mv_references(object.id).unwrap());
        writeln!(told, "{object:?} {links:?} {references:?}").unwrap();
    }
    told
}

fn synchronize_one(world: &World, id: CsId, full: bool) {
    let request = SyncRequest {
        connector: id.connector(),
        full,
        // The time at which a step of the world would run now.
        parameters: RunParameters { now: Timestamp::from_seconds(1_003), ..RunParameters::default() },
        connectors: BTreeMap::new(),
        step: (RunId(1_000), 1),
        batch: BATCH,
    };
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let cx = Context::system();
    let outcome = run_sync_of_object(&world.store, &world.rules, &request, id, &cx, &mut recorder).expect("the store is sound");
    assert_eq!((outcome.processed >= 1, outcome.failed), (true, 0));
}

#[test]
fn one_object_synchronized_is_what_a_delta_synchronization_makes_of_it() {
    let change = |world: &mut World| {
        world.put(A, "1", person(1, "ada").with("displayName", "Ada"));
        world.put(A, "2", person(2, "bob").to("manager", "1"));
        world.import(A);
        world.sync(A, false);
        world.export(T);
        world.import(T);
        world.sync(T, false);
        world.directory(A).get_mut("1").unwrap().set("displayName", None);
        world.directory(A).get_mut("1").unwrap().set("title", Some("Countess"));
        world.import(A);
    };
    let mut expected = World::new(rules);
    change(&mut expected);
    expected.sync(A, false);
    for full in [false, true] {
        let mut world = World::new(rules);
        change(&mut world);
        let id = world.object(A, "CN=u1,DC=x").unwrap().id;
        let (told, before, counts) = (whole(&world), world.store.names().len(), world.store.io_counts());
        for full in [false, true] {
            let ahead = preview(&world.store, &world.rules, &RunParameters::default(), id, full).unwrap().unwrap();
            assert!(!ahead.changes.is_empty() && !ahead.attributes.is_empty());
        }
        let after = world.store.io_counts();
        assert_eq!((after.rows_written, after.commits), (counts.rows_written, counts.commits), "a preview writes no row");
        assert_eq!((whole(&world), world.store.names().len()), (told, before));
        synchronize_one(&world, id, full);
        assert_eq!(whole(&world), whole(&expected), "full: {full}");
    }
}

#[test]
fn one_object_synchronized_leaves_the_news_of_others_alone() {
    let mut world = World::new(rules);
    for number in 1..4 {
        world.put(A, &number.to_string(), person(number, &format!("p{number}")));
    }
    world.import(A);
    let id = world.object(A, "CN=u2,DC=x").unwrap().id;
    synchronize_one(&world, id, false);
    let news = |dn| world.object(A, dn).unwrap().stage(Stage::PendingImport).is_some();
    assert_eq!(["CN=u1,DC=x", "CN=u2,DC=x", "CN=u3,DC=x"].map(news), [true, false, true]);
    assert_eq!(world.metaverse().len(), 1);
}

#[test]
fn a_preview_finds_partners_without_the_indexes_of_the_store() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada"));
    world.import(A);
    world.sync(A, false);
    world.put(B, "1", person(1, "ada"));
    world.import(B);
    let id = world.object(B, "CN=u1,DC=x").unwrap().id;
    let decide = |world: &World| {
        let ahead = preview(&world.store, &world.rules, &RunParameters::default(), id, false).unwrap().unwrap();
        (ahead.decision, ahead.metaverse, ahead.targets)
    };
    let expected = decide(&world);
    world.store.index_attributes(&[], &[]).unwrap();
    let counts = world.store.io_counts();
    assert_eq!(decide(&world), expected);
    assert_eq!(world.store.io_counts().rows_written, counts.rows_written);
}
