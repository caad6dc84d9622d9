//! The laws, on random directories and random histories: a second synchronization changes nothing; processing changes
//! gives what starting from nothing gives; neither order nor pages matter; an honest target comes to rest.

use crate::directory::Entry;
use crate::reference::{expect, picture};
use crate::world::World;
use crate::{A, B, T, rules};
use proptest::prelude::*;
use std::collections::BTreeSet;
use syncline::model::{ConnectorId, Stage};

/// One thing that happens to the world. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Event {
    Hire { directory: bool, badge: u8, mail: bool },
    Leave { directory: bool, who: u8 },
    Set { directory: bool, who: u8, attribute: u8, value: Option<u8> },
    Manager { directory: bool, who: u8, manager: Option<u8> },
    Group { name: u8 },
    Member { group: u8, member: u8 },
    Import { directory: u8, order: u64 },
    Sync { directory: u8, full: bool },
    Cycle,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (any::<bool>(), 0..8u8, any::<bool>()).prop_map(|(directory, badge, mail)| Event::Hire { directory, badge, mail }),
        1 => (any::<bool>(), any::<u8>()).prop_map(|(directory, who)| Event::Leave { directory, who }),
        5 => (any::<bool>(), any::<u8>(), 0..7u8, proptest::option::of(0..3u8))
            .prop_map(|(directory, who, attribute, value)| Event::Set { directory, who, attribute, value }),
        2 => (any::<bool>(), any::<u8>(), proptest::option::of(any::<u8>()))
            .prop_map(|(directory, who, manager)| Event::Manager { directory, who, manager }),
        1 => (0..3u8).prop_map(|name| Event::Group { name }),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(group, member)| Event::Member { group, member }),
        3 => (0..3u8, any::<u64>()).prop_map(|(directory, order)| Event::Import { directory, order }),
        3 => (0..3u8, proptest::bool::weighted(0.2)).prop_map(|(directory, full)| Event::Sync { directory, full }),
        1 => Just(Event::Cycle),
    ]
}

fn pick(world: &mut World, connector: ConnectorId, object_type: &str, who: u8) -> Option<String> {
    let anchors: Vec<String> = world
        .directory(connector)
        .iter()
        .filter(|(_, entry)| object_type.is_empty() || entry.object_type == object_type)
        .map(|(anchor, _)| anchor.clone())
        .collect();
    (!anchors.is_empty()).then(|| anchors[usize::from(who) % anchors.len()].clone())
}

fn drop_references(world: &mut World, connector: ConnectorId, anchor: &str) {
    for entry in world.directory(connector).values_mut() {
        for targets in entry.references.values_mut() {
            targets.remove(anchor);
        }
    }
}

fn shuffled(world: &mut World, connector: ConnectorId, seed: u64) -> Vec<String> {
    let mut order: Vec<String> = world.directory(connector).keys().cloned().collect();
    let mut state = seed | 1;
    for index in (1..order.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(index, (state >> 33) as usize % (index + 1));
    }
    order
}

fn happen(world: &mut World, event: &Event, hired: &mut u32) {
    let side = |directory: bool| if directory { A } else { B };
    match *event {
        Event::Hire { directory, badge, mail } => {
            let connector = side(directory);
            let badge = badge.to_string();
            if world.directory(connector).values().any(|entry| entry.value("badge") == Some(&badge)) {
                return;
            }
            *hired += 1;
            let mut entry =
                Entry::new("user", &format!("CN=u{hired},DC=x")).with("badge", &badge).with("displayName", &format!("user {badge}"));
            if mail {
                entry.set("mail", Some(&format!("{badge}@x")));
            }
            world.put(connector, &format!("{:03}", (*hired * 37) % 1000), entry);
        }
        Event::Leave { directory, who } => {
            let connector = side(directory);
            if let Some(anchor) = pick(world, connector, "", who) {
                world.directory(connector).remove(&anchor);
                drop_references(world, connector, &anchor);
            }
        }
        Event::Set { directory, who, attribute, value } => {
            let connector = side(directory);
            if let Some(anchor) = pick(world, connector, "user", who) {
                let name = ["displayName", "title", "mail", "blocked", "hidden", "department", "tags"][usize::from(attribute)];
                let entry = world.directory(connector).get_mut(&anchor).unwrap();
                let text = value.map(|value| match name {
                    "blocked" | "hidden" => if value == 0 { "no" } else { "yes" }.to_owned(),
                    "department" => if value == 0 { "Sales" } else { "IT" }.to_owned(),
                    _ => format!("{name} {value}"),
                });
                if let ("tags", Some(tag)) = (name, &text) {
                    let tags = entry.values.entry("tags".to_owned()).or_default();
                    if !tags.remove(tag) {
                        tags.insert(tag.clone());
                    }
                } else {
                    entry.set(name, text.as_deref());
                }
            }
        }
        Event::Manager { directory, who, manager } => {
            let connector = side(directory);
            if let Some(anchor) = pick(world, connector, "user", who) {
                let manager = manager.and_then(|manager| pick(world, connector, "user", manager));
                let entry = world.directory(connector).get_mut(&anchor).unwrap();
                entry.references.insert("manager".to_owned(), manager.into_iter().collect());
            }
        }
        Event::Group { name } => {
            let anchor = format!("g{name}");
            let name = name.to_string();
            world.directory(A).entry(anchor).or_insert_with(|| Entry::new("group", &format!("CN=g{name},DC=x")).with("cn", &name));
        }
        Event::Member { group, member } => {
            let (Some(group), Some(member)) = (pick(world, A, "group", group), pick(world, A, "", member)) else { return };
            let members = world.directory(A).get_mut(&group).unwrap().references.entry("member".to_owned()).or_default();
            if !members.remove(&member) {
                members.insert(member);
            }
        }
        Event::Import { directory, order } => {
            let connector = [A, B, T][usize::from(directory)];
            let order = shuffled(world, connector, order);
            world.import_in(connector, &order);
        }
        Event::Sync { directory, full } => {
            world.sync([A, B, T][usize::from(directory)], full);
        }
        Event::Cycle => cycle(world),
    }
}

fn cycle(world: &mut World) {
    for connector in [A, B, T] {
        world.import(connector);
    }
    world.settle(&[A, B, T]);
    world.export(T);
}

fn assert_unchanging(world: &mut World) -> Result<(), TestCaseError> {
    for connector in [A, B, T, T, B, A] {
        world.sync(connector, true);
        prop_assert_eq!(world.written, 0, "a full synchronization of {} after everything was done wrote", connector);
        world.sync(connector, false);
        prop_assert_eq!(world.written, 0, "a delta synchronization of {} with nothing to do wrote", connector);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_where_starting_from_nothing_ends(events in proptest::collection::vec(event(), 1..60)) {
        let mut world = World::new(rules);
        let mut hired = 0;
        for event in &events {
            happen(&mut world, event, &mut hired);
        }
        for connector in [A, B, T] {
            world.import(connector);
        }
        world.settle(&[A, B, T]);
        let (a, b) = (world.directory(A).clone(), world.directory(B).clone());
        let expected = expect(&a, &b);
        prop_assert_eq!(&picture(&world, T), &expected, "after the history");
        assert_unchanging(&mut world)?;

        // An honest target: everything sent is seen again, and nothing is left to send.
        for _ in 0..4 {
            world.export(T);
            world.import(T);
            world.settle(&[T, A, B]);
        }
        prop_assert_eq!(world.pending(T), 0, "the target comes to rest");
        for object in world.space(T) {
            prop_assert!(!object.stage(Stage::Unconfirmed).is_some(), "{} is confirmed", object.dn);
        }
        prop_assert_eq!(&picture(&world, T), &expected, "after the target came to rest");
        assert_unchanging(&mut world)?;
        let names: BTreeSet<String> = world.directory(T).values().map(|entry| entry.dn.clone()).collect();
        let wanted: BTreeSet<String> = expected.target.keys().cloned().collect();
        prop_assert_eq!(names, wanted, "the target's own entries");

        let mut fresh = World::new(rules);
        fresh.directories.insert(B, b);
        fresh.directories.insert(A, a);
        for connector in [B, A] {
            let order = shuffled(&mut fresh, connector, events.len() as u64);
            fresh.import_in(connector, &order);
            fresh.sync(connector, true);
        }
        fresh.settle(&[B, A, T]);
        prop_assert_eq!(&picture(&fresh, T), &expected, "from nothing, in another order");
    }

    #[test]
    fn the_winner_of_a_contested_join_does_not_hang_on_the_order_of_arrival(
        badges in proptest::collection::vec(0..4u8, 2..12),
        orders in proptest::collection::vec(any::<u64>(), 2..4),
        full in any::<bool>(),
    ) {
        let mut outcomes = Vec::new();
        for order in &orders {
            let mut world = World::new(rules);
            for (index, badge) in badges.iter().enumerate() {
                let entry = Entry::new("user", &format!("CN=u{index}")).with("badge", &badge.to_string()).with("displayName", &index.to_string());
                world.put(A, &format!("{:02}", (index * 7) % 13), entry);
            }
            let order = shuffled(&mut world, A, *order);
            world.import_in(A, &order);
            world.sync(A, full);
            let linked: BTreeSet<String> =
                world.space(A).iter().filter(|object| object.link.mv().is_some()).map(|object| object.dn.to_string()).collect();
            let problems: BTreeSet<(String, String)> = world
                .space(A)
                .iter()
                .filter_map(|object| Some((object.dn.to_string(), world.problem(A, &object.dn)?.code.to_string())))
                .collect();
            let lowest: BTreeSet<String> = badges
                .iter()
                .filter_map(|badge| {
                    let rivals = badges.iter().enumerate().filter(|(_, other)| *other == badge).map(|(index, _)| index);
                    rivals.min_by_key(|index| (index * 7) % 13).map(|index| format!("CN=u{index}"))
                })
                .collect();
            prop_assert_eq!(&linked, &lowest, "the lowest anchor wins");
            prop_assert!(problems.iter().all(|(_, code)| code == "ambiguous-join"));
            prop_assert_eq!(problems.len() + linked.len(), badges.len());
            outcomes.push((linked, problems));
        }
        prop_assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn the_number_of_threads_does_not_matter(events in proptest::collection::vec(event(), 1..25)) {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut world = World::new(rules);
                let mut hired = 0;
                for event in &events {
                    happen(&mut world, event, &mut hired);
                }
                let spaces: Vec<_> = [A, B, T].into_iter().flat_map(|connector| world.space(connector)).collect();
                (world.metaverse(), spaces)
            })
        };
        prop_assert_eq!(run(1), run(3));
    }
}
