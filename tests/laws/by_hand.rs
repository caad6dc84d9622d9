//! Links by hand: what an administrator ties or parts stays so, whatever is synchronized behind it, and the laws hold.

use crate::directory::Entry;
use crate::scenarios::person;
use crate::world::World;
use crate::{A, B, T, invariants, rules};
use proptest::prelude::*;
use std::collections::BTreeMap;
use syncline::context::Context;
use syncline::engine::sync::{BATCH, Decree, SyncRequest, preview_decree, run_decree};
use syncline::engine::{Silent, StepRecorder};
use syncline::model::{ConnectorId, CsId, Link, MvId, RunId, Timestamp};
use syncline::rules::RunParameters;

/// Carries a decision out. Gives whether the object took it.
fn decide(world: &World, id: CsId, decree: Decree) -> bool {
    let request = SyncRequest {
        connector: id.connector(),
        full: false,
        parameters: RunParameters { now: Timestamp::from_seconds(9_000), ..RunParameters::default() },
        connectors: BTreeMap::new(),
        step: (RunId(1_000), 1),
        batch: BATCH,
    };
    let before = world.store.io_counts();
    let ahead = preview_decree(&world.store, &world.rules, &request.parameters, (id, decree)).unwrap().unwrap();
    assert_eq!(world.store.io_counts().rows_written, before.rows_written, "a look writes nothing");
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let outcome = run_decree(&world.store, &world.rules, &request, (id, decree), &Context::system(), &mut recorder).unwrap();
    invariants::check(world);
    assert!(!outcome.stopped);
    // What follows for others may fail on its own; the object itself took it, or stayed as it was.
    let took = match (decree, world.snapshot().cs_link(id).unwrap()) {
        (Decree::Join(wanted), Some(Link::ExplicitlyConnected { mv })) => mv == wanted,
        (Decree::Project(_), Some(Link::ExplicitlyConnected { .. }))
        | (Decree::Disconnect { explicit: true }, Some(Link::ExplicitlyDisconnected)) => true,
        (Decree::Disconnect { explicit: false }, Some(link)) => link.mv().is_none(),
        _ => false,
    };
    assert_eq!(took, ahead.problem.is_none(), "the look told what came: {:?}", ahead.problem);
    took
}

fn link(world: &World, connector: ConnectorId, dn: &str) -> Link {
    world.object(connector, dn).unwrap().link
}

/// Links and metaverse values, as text: what the laws compare.
fn told(world: &World) -> String {
    let spaces = [A, B, T].map(|connector| world.space(connector));
    format!("{spaces:?} {:?}", world.metaverse())
}

/// Everything is read and synchronized until nothing moves.
fn settled(world: &mut World, full: bool) {
    for _ in 0..4 {
        for connector in [A, B, T] {
            world.import(connector);
            world.sync(connector, full);
        }
        world.export(T);
        world.import(T);
        world.sync(T, full);
    }
}

#[test]
fn whom_an_administrator_joins_stays_joined_out_of_scope_too() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada").with("displayName", "Ada"));
    world.put(B, "2", person(2, "other").with("title", "Countess"));
    settled(&mut world, false);
    let (ada, other) = (link(&world, A, "CN=u1,DC=x").mv().unwrap(), link(&world, B, "CN=u2,DC=x"));
    assert_ne!(other.mv(), Some(ada));
    let id = world.object(B, "CN=u2,DC=x").unwrap().id;
    assert!(decide(&world, id, Decree::Join(ada)));
    assert_eq!(link(&world, B, "CN=u2,DC=x"), Link::ExplicitlyConnected { mv: ada });
    assert_eq!(world.metaverse().len(), 1, "nothing holds the other one any more");
    let joined = world.metaverse_of(A, "CN=u1,DC=x").unwrap();
    assert_eq!(world.mv_values(&joined, "title"), ["Countess"], "what it gives flows");
    for full in [false, true, true] {
        settled(&mut world, full);
        assert_eq!(link(&world, B, "CN=u2,DC=x"), Link::ExplicitlyConnected { mv: ada });
    }
    world.directory(B).get_mut("2").unwrap().set("hidden", Some("yes"));
    settled(&mut world, true);
    assert_eq!(link(&world, B, "CN=u2,DC=x"), Link::ExplicitlyConnected { mv: ada }, "scope does not part them");
    let twice = person(3, "third");
    world.put(B, "3", twice);
    settled(&mut world, false);
    let third = world.object(B, "CN=u3,DC=x").unwrap().id;
    assert!(!decide(&world, third, Decree::Join(ada)), "one of a connector is all that a metaverse object has");
}

#[test]
fn whom_an_administrator_parts_for_good_is_never_joined_again_until_told() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada"));
    world.put(B, "1", person(1, "ada").with("title", "Countess"));
    settled(&mut world, false);
    let ada = link(&world, A, "CN=u1,DC=x").mv().unwrap();
    assert_eq!(link(&world, B, "CN=u1,DC=x").mv(), Some(ada));
    let id = world.object(B, "CN=u1,DC=x").unwrap().id;
    assert!(decide(&world, id, Decree::Disconnect { explicit: true }));
    for full in [false, true] {
        world.directory(B).get_mut("1").unwrap().set("title", Some(if full { "Lady" } else { "Dame" }));
        settled(&mut world, full);
        assert_eq!(link(&world, B, "CN=u1,DC=x"), Link::ExplicitlyDisconnected);
        let alone = world.metaverse_of(A, "CN=u1,DC=x").unwrap();
        assert!(world.mv_values(&alone, "title").is_empty(), "what it gave is withdrawn");
    }
    assert!(decide(&world, id, Decree::Join(ada)));
    settled(&mut world, true);
    assert_eq!(link(&world, B, "CN=u1,DC=x"), Link::ExplicitlyConnected { mv: ada });

    // Not for good: the next step, a delta as well as a full one, finds its partner again.
    for full in [false, true] {
        assert!(decide(&world, id, Decree::Disconnect { explicit: false }));
        assert_eq!(link(&world, B, "CN=u1,DC=x"), Link::Disconnected);
        world.sync(B, full);
        assert_eq!(link(&world, B, "CN=u1,DC=x").mv(), Some(ada), "full: {full}");
    }
}

#[test]
fn whom_an_administrator_projects_lives_without_a_rule() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada").with("hidden", "yes"));
    settled(&mut world, false);
    assert_eq!(world.metaverse().len(), 0);
    let object = world.object(A, "CN=u1,DC=x").unwrap();
    let person_type = world.store.names().object_type("person");
    assert!(decide(&world, object.id, Decree::Project(person_type)));
    for full in [false, true] {
        settled(&mut world, full);
        assert!(matches!(link(&world, A, "CN=u1,DC=x"), Link::ExplicitlyConnected { .. }));
        assert_eq!(world.metaverse().len(), 1);
    }
    world.directory(A).remove("1");
    settled(&mut world, false);
    assert_eq!(world.metaverse().len(), 0, "with its object it goes");
}

#[test]
fn a_decision_about_nobody_is_refused() {
    let mut world = World::new(rules);
    world.put(A, "1", person(1, "ada"));
    settled(&mut world, false);
    let id = world.object(A, "CN=u1,DC=x").unwrap().id;
    assert!(!decide(&world, id, Decree::Join(MvId(99_999))));
    world.directory(A).remove("1");
    world.import(A);
    assert!(!decide(&world, id, Decree::Disconnect { explicit: true }), "it is on its way out");
}

/// A person of a small company: number, badge, hidden or not.
fn entry(number: u32, badge: u8, hidden: bool) -> Entry {
    let entry = person(number, &format!("b{badge}")).with("displayName", &format!("n{number}"));
    if hidden { entry.with("hidden", "yes") } else { entry }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Behind any decisions a second synchronization changes nothing (idempotence), and what deltas come to is what full
    /// steps come to.
    #[test]
    fn laws_hold_behind_decisions(
        people in prop::collection::vec((0..2_u8, 0..4_u8, any::<bool>()), 1..7),
        decisions in prop::collection::vec((0..7_usize, 0..4_u8, 0..7_usize), 1..6),
        changes in prop::collection::vec((0..7_usize, any::<bool>()), 0..4),
    ) {
        let mut world = World::new(rules);
        for (number, (connector, badge, hidden)) in (1..).zip(&people) {
            world.put(if *connector == 0 { A } else { B }, &number.to_string(), entry(number, *badge, *hidden));
        }
        settled(&mut world, false);
        for (object, what, partner) in decisions {
            let all: Vec<_> = world.space(A).into_iter().chain(world.space(B)).filter(|object| object.link != Link::Placeholder).collect();
            let Some(object) = all.get(object % all.len().max(1)) else { continue };
            let metaverse = world.metaverse();
            let decree = match what {
                0 => Decree::Disconnect { explicit: true },
                1 => Decree::Disconnect { explicit: false },
                2 if object.link.mv().is_none() => Decree::Project(world.store.names().object_type("person")),
                _ => match metaverse.get(partner % metaverse.len().max(1)) {
                    Some(mv) => Decree::Join(mv.id),
                    None => continue,
                },
            };
            decide(&world, object.id, decree);
        }
        for (number, hidden) in changes {
            let anchor = (number % people.len() + 1).to_string();
            let connector = if people[number % people.len()].0 == 0 { A } else { B };
            world.directory(connector).get_mut(&anchor).unwrap().set("hidden", hidden.then_some("yes"));
        }
        let by_hand: Vec<(CsId, Link)> = [A, B].into_iter().flat_map(|connector| world.space(connector))
            .filter(|object| matches!(object.link, Link::ExplicitlyConnected { .. } | Link::ExplicitlyDisconnected))
            .map(|object| (object.id, object.link))
            .collect();
        settled(&mut world, false);
        for (id, link) in by_hand {
            prop_assert_eq!(world.snapshot().cs_link(id).unwrap(), Some(link), "no synchronization changes what was decided");
        }
        let after_deltas = told(&world);
        settled(&mut world, true);
        prop_assert_eq!(&told(&world), &after_deltas, "full steps find nothing to do");
        settled(&mut world, false);
        prop_assert_eq!(&told(&world), &after_deltas);
    }
}
