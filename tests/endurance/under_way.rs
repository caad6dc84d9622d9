//! What an administrator orders while a cycle of the service is under way counts for that cycle, and for nothing else.

use crate::served::{Served, comes};
use crate::world::{World, people};
use serde_json::Value;

/// Each is a call of its own that takes half a second: enough for every command to come in between.
const PEOPLE: u64 = 200;
/// People, groups and contacts.
const ALL: u64 = PEOPLE + 3;

/// A service in the middle of its first export.
fn exporting() -> (World, Served) {
    let world = World::new(&people(PEOPLE, 2, 1), &["--fault", "slow=1,delay=500"]);
    world.set_batch(1);
    let service = Served::start(&world);
    assert!(comes(|| world.accepted() >= 2), "nothing arrives");
    (world, service)
}

fn last_export(world: &World) -> Option<Value> {
    let runs = world.json(0, &["run", "list", "--limit", "50"]);
    runs["runs"].as_array().unwrap().iter().find(|run| run["profile"] == "Export").cloned()
}

/// The result of the export, once it has ended.
fn end_of_export(world: &World) -> String {
    let mut result = String::new();
    let ended = comes(|| {
        result = last_export(world).and_then(|run| run["result"].as_str().map(str::to_owned)).unwrap_or_default();
        !result.is_empty() && result != "in-progress"
    });
    assert!(ended, "the export goes on: {result}");
    result
}

/// What was left goes out with the next cycle, and nothing twice.
fn goes_on(world: &World) {
    world.clear("/faults");
    assert!(world.accepted() < ALL, "everything had gone already");
    world.cycle(0, &[]);
    assert_eq!(world.accepted(), ALL);
}

#[test]
fn a_cycle_that_is_stopped_leaves_the_service_running() {
    let (world, service) = exporting();
    let stopped = world.json(0, &["cycle", "stop"]);
    assert!(stopped.to_string().contains("cycle"), "{stopped:#}");
    assert_eq!(end_of_export(&world), "stopped-user");
    let status = world.json(2, &["status"]);
    assert_eq!(status["served"], true, "the service goes on: {status:#}");
    goes_on(&world);
    service.stop();
}

#[test]
fn staging_mode_reaches_the_export_that_runs() {
    let (world, service) = exporting();
    world.json(0, &["mode", "staging"]);
    assert_eq!(end_of_export(&world), "stopped-staging-mode");
    let sent = world.accepted();
    world.cycle(0, &[]);
    assert_eq!(world.accepted(), sent, "an installation that only watches sends nothing");
    world.json(0, &["promote"]);
    goes_on(&world);
    service.stop();
}

#[test]
fn a_service_heeds_from_its_first_cycle_on_what_was_configured_before() {
    for arguments in [["guard", "set", "--max-deletes", "1"].as_slice(), &["mode", "staging"]] {
        let world = World::new(&people(20, 2, 1), &[]);
        world.cycle(0, &["--initial"]);
        world.json(0, arguments);
        world.write_directory(&people(12, 2, 1));
        let accepted = world.accepted();
        let service = Served::start(&world);
        let cycles = || world.json(0, &["events", "list", "--id", "7002"])["events"].as_array().map_or(0, Vec::len);
        assert!(comes(|| cycles() >= 2), "no cycle ends");
        assert_eq!(world.accepted(), accepted, "{arguments:?}");
        service.stop();
    }
}
