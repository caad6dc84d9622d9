//! Whose password goes where: one scenario per reason, on connector spaces that synchronization itself filled.

use crate::directory::Entry;
use crate::world::World;
use crate::{A, B, T, rules, rules_of};
use std::collections::BTreeMap;
use syncline::engine::password::{Destination, Missing, NoRoute, Route, Routes};
use syncline::model::{ConnectorId, CsId};
use syncline::rules::{Direction, RunParameters};
use syncline::store::PasswordStatus;

fn person(badge: &str, domain: &str) -> Entry {
    let name = format!("CN={badge},DC={domain}");
    Entry::new("user", &name)
        .with("badge", badge)
        .with("displayName", badge)
        .with("userPrincipalName", &format!("{badge}@{domain}.example"))
}

fn pairs(sources: &[ConnectorId]) -> BTreeMap<ConnectorId, ConnectorId> {
    sources.iter().map(|source| (*source, T)).collect()
}

fn route_of(world: &World, sources: &[ConnectorId], id: CsId) -> Route {
    let (run, pairs) = (RunParameters::default(), pairs(sources));
    Routes::new(world.store.names(), &world.rules, &run, &pairs).of(&world.snapshot(), id).unwrap()
}

fn route(world: &World, connector: ConnectorId, badge: &str) -> Route {
    let domain = if connector == A { "a" } else { "b" };
    let id = world.object(connector, &format!("CN={badge},DC={domain}")).map_or(CsId::new(connector, 999), |object| object.id);
    route_of(world, &[A, B], id)
}

fn closed(world: &World, connector: ConnectorId, badge: &str) -> NoRoute {
    match route(world, connector, badge) {
        Route::Closed(reason) => {
            assert!(!reason.to_string().is_empty() && !reason.as_str().is_empty());
            reason
        }
        Route::Open(destination) => panic!("{destination:?}"),
    }
}

fn open(world: &World, connector: ConnectorId, badge: &str) -> Destination {
    match route(world, connector, badge) {
        Route::Open(destination) => destination,
        Route::Closed(reason) => panic!("{reason}"),
    }
}

/// Everything that a cycle does.
fn cycle(world: &mut World) {
    for connector in [A, B, T] {
        world.import(connector);
    }
    world.settle(&[A, B, T]);
    world.export(T);
    world.import(T);
    world.settle(&[A, B, T]);
}

fn missing(world: &World, badge: &str) -> Missing {
    match closed(world, A, badge) {
        NoRoute::NotExported { missing, .. } => missing,
        other => panic!("{other}"),
    }
}

#[test]
fn the_way_opens_with_the_confirmation_and_not_before() {
    let mut world = World::new(rules);
    assert_eq!(closed(&world, A, "1"), NoRoute::NotPresent);
    world.put(A, "1", person("1", "a"));
    world.import(A);
    assert_eq!(closed(&world, A, "1"), NoRoute::NotPresent, "nobody synchronized it yet");
    world.sync(A, false);
    assert_eq!(missing(&world, "1"), Missing::Export);
    assert_eq!(closed(&world, A, "1").status(), PasswordStatus::TargetNotExportedToDirectory);
    world.export(T);
    assert_eq!(missing(&world, "1"), Missing::Confirmation);
    world.import(T);
    let confirmed = open(&world, A, "1");
    assert_eq!((confirmed.source_anchor.as_str(), confirmed.cloud_anchor.as_str()), ("1", "t0001"));
    assert_eq!((confirmed.sign_in_name.as_str(), confirmed.suffix().as_str()), ("1@a.example", "a.example"));
    world.settle(&[A, B, T]);
    assert_eq!(open(&world, A, "1"), confirmed, "that synchronization consumed it makes no difference");
}

#[test]
fn only_enabled_users_of_the_directories_that_take_part() {
    let mut world = World::new(rules);
    world.put(A, "1", person("1", "a"));
    world.put(A, "2", person("2", "a").with("disabled", "yes"));
    world.put(A, "3", Entry { object_type: "inetOrgPerson".to_owned(), ..person("3", "a") });
    cycle(&mut world);
    open(&world, A, "1");
    let rules = vec!["In from A - Enabled".to_owned()];
    assert_eq!(closed(&world, A, "2"), NoRoute::OutOfScope { direction: Direction::Inbound, rules });
    assert_eq!(closed(&world, A, "3"), NoRoute::NotUser { object_type: "inetOrgPerson".to_owned() });
    let id = world.object(A, "CN=1,DC=a").unwrap().id;
    assert_eq!(route_of(&world, &[B], id), Route::Closed(NoRoute::NotPaired));

    // News that synchronization did not consume yet decide nothing.
    world.directory(A).get_mut("1").unwrap().set("disabled", Some("yes"));
    world.import(A);
    open(&world, A, "1");
    world.sync(A, false);
    assert!(!closed(&world, A, "1").waits());
}

#[test]
fn without_flagged_rules_there_is_no_way() {
    let text = include_str!("rules.toml");
    for (direction, number) in [(Direction::Inbound, 11), (Direction::Outbound, 30)] {
        let flagged = format!("order = {number}\npassword_sync = true");
        assert!(text.contains(&flagged));
        let text = text.replace(&flagged, &format!("order = {number}"));
        let mut world = World::new(|names| {
            rules_of(
                names,
                &text.replace("scope = [[{ attr = \"disabled\", op", "direct = [\"description\"]\nscope = [[{ attr = \"disabled\", op"),
            )
        });
        world.put(A, "1", person("1", "a"));
        cycle(&mut world);
        assert_eq!(closed(&world, A, "1"), NoRoute::NoRule { direction });
    }
}

#[test]
fn the_outbound_side_decides_too() {
    let mut world = World::new(rules);
    world.put(A, "1", person("1", "a"));
    cycle(&mut world);
    world.directory(A).get_mut("1").unwrap().set("displayName", Some("hidden"));
    world.import(A);
    world.sync(A, false);
    let rules = vec!["Out to T - Person".to_owned()];
    assert_eq!(closed(&world, A, "1"), NoRoute::OutOfScope { direction: Direction::Outbound, rules });
    cycle(&mut world);
    world.directory(A).get_mut("1").unwrap().set("displayName", Some("shown"));
    cycle(&mut world);
    assert_eq!(open(&world, A, "1").cloud_anchor, "t0002", "made anew in the target");
}

#[test]
fn a_new_sign_in_name_has_to_arrive_first() {
    let mut world = World::new(rules);
    world.put(A, "1", person("1", "a"));
    cycle(&mut world);
    world.directory(A).get_mut("1").unwrap().set("userPrincipalName", Some("1@New.example"));
    world.import(A);
    world.sync(A, false);
    assert_eq!(missing(&world, "1"), Missing::SignInName);
    world.export(T);
    assert_eq!(missing(&world, "1"), Missing::SignInName, "sent is not confirmed");
    world.import(T);
    assert_eq!(open(&world, A, "1").suffix(), "new.example");

    world.directory(A).get_mut("1").unwrap().set("displayName", Some("other"));
    world.import(A);
    world.sync(A, false);
    open(&world, A, "1");
}

#[test]
fn of_several_accounts_the_rule_of_highest_precedence_decides() {
    let mut world = World::new(rules);
    world.put(A, "1", person("1", "a"));
    world.put(B, "1", person("1", "b"));
    cycle(&mut world);
    let (a, b) = (world.object(A, "CN=1,DC=a").unwrap().id, world.object(B, "CN=1,DC=b").unwrap().id);
    open(&world, A, "1");
    assert_eq!(closed(&world, B, "1"), NoRoute::Outranked { by: a });
    assert!(matches!(route_of(&world, &[B], b), Route::Open(_)), "a directory whose passwords are not wanted is no rival");

    let (run, pairs) = (RunParameters::default(), pairs(&[A, B]));
    let target = open(&world, A, "1").target;
    let routes = Routes::new(world.store.names(), &world.rules, &run, &pairs);
    for object in [a, b, target] {
        assert_eq!(routes.concerned(&world.snapshot(), object).unwrap(), [a, b]);
    }
    world.directory(A).get_mut("1").unwrap().set("disabled", Some("yes"));
    cycle(&mut world);
    open(&world, B, "1");
}

#[test]
fn whoever_is_about_to_go_takes_no_password() {
    let mut world = World::new(rules);
    world.put(A, "1", person("1", "a"));
    cycle(&mut world);
    world.directory(T).clear();
    world.import(T);
    assert_eq!(missing(&world, "1"), Missing::Leaving);
    world.settle(&[A, B, T]);
    assert_eq!(missing(&world, "1"), Missing::Export, "it is made again");
    world.directory(A).clear();
    world.import(A);
    assert_eq!(closed(&world, A, "1"), NoRoute::NotPresent);
}
