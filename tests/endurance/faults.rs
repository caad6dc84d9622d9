//! A tenant that refuses, throttles and loses answers.

use crate::world::{World, counted, exported, people};
use serde_json::json;

/// A fifth of all calls goes wrong in one way or another, and the end is the same.
#[test]
fn a_fifth_of_all_calls_going_wrong_changes_nothing_but_the_time() {
    let directory = people(400, 30, 10);
    let calm = World::new(&directory, &[]);
    calm.cycle(0, &["--initial"]);
    let tenant = calm.tenant_state();
    drop(calm);

    let world = World::new(&directory, &["--seed", "7"]);
    for rule in [
        "busy=0.03",
        "throttle=0.04,retry-after=0.05",
        "drop-before=0.03",
        "drop-answer=0.04",
        "duplicate=0.03",
        "partial=0.02",
        "unauthorized=0.02",
    ] {
        world.fault(&format!("{rule},service=provisioning"));
    }
    world.cycle(0, &["--initial"]);
    let faults = world.ask("/traffic")["faults"].clone();
    let hit: u64 = faults.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert!(hit >= 5, "{faults}");
    assert_eq!(world.tenant_state(), tenant);
    world.clear("/faults");
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    assert_eq!(exported(&world.cycle(0, &["--initial"])), 0);
    world.check_store();
}

/// Throttled, the accepted writes are at least 95 percent of what the bucket allows over five refills and more.
#[test]
fn a_throttled_tenant_is_used_to_the_full() {
    let world = World::new(&people(700, 30, 10), &[]);
    world.json(0, &["run", "start", "corp", "full-import"]);
    world.json(0, &["run", "start", "corp", "full-sync"]);
    world.put("/throttle", &json!({"writes": 100.0, "window_seconds": 0.5}));
    let export = world.json(0, &["export"]);
    let bucket = world.ask("/throttle");
    let (allowed, accepted) = (bucket["allowed"].as_f64().unwrap(), bucket["accepted"].as_f64().unwrap());
    assert_eq!(counted(&export, "export-add"), 740);
    assert!(accepted >= 600.0, "a full bucket and five refills: {bucket}");
    // Signing in, the last call and the end of the process take their time, too; it is not the bucket's.
    assert!(accepted / allowed >= 0.9, "{bucket}");
    assert!(world.ask("/traffic")["faults"]["throttled"].as_u64().unwrap() > 0);
}

/// The tenant is gone for a whole export: nothing is lost, and the next cycle does it all.
#[test]
fn a_tenant_that_is_away_is_waited_for_until_the_next_cycle() {
    let directory = people(120, 10, 5);
    let mut world = World::new(&directory, &[]);
    world.json(0, &["run", "start", "corp", "full-import"]);
    world.json(0, &["run", "start", "corp", "full-sync"]);
    world.kill_tenant();
    let export = world.json(4, &["export"]);
    let message = export["runs"][0]["steps"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("127.0.0.1") && message.contains("check the address"), "{message}");
    assert_eq!(export["runs"][0]["result"], "no-start-connection");
    let cycle = world.cycle(4, &[]);
    assert_eq!(exported(&cycle), 0, "what cannot be read is not written either: {cycle:#}");
    world.start_tenant();
    assert_eq!(counted(&world.cycle(0, &[]), "export-add"), 135);
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    world.check_store();
}

/// Switched off in the tenant, nothing is written, and the message says what to do.
#[test]
fn a_tenant_that_does_not_synchronize_is_left_alone() {
    let world = World::new(&people(10, 2, 1), &["--not-activated"]);
    let cycle = world.cycle(3, &["--initial"]);
    let text = cycle.to_string();
    assert!(text.contains("switched off in the tenant") && text.contains("switch it on"), "{text}");
    assert_eq!(world.writes(), 0);
    world.put("/activation", &json!({"enabled": true}));
    assert_eq!(counted(&world.cycle(0, &["--initial"]), "export-add"), 13);
}
