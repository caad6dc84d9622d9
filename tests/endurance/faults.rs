//! A tenant that refuses, throttles and loses answers.

use crate::world::{World, assert_same, counted, exported, people, person};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;

/// A fifth of all calls goes wrong in one way or another, and the end is the same.
#[test]
fn a_fifth_of_all_calls_going_wrong_changes_nothing_but_the_time() {
    let directory = people(400, 30, 10);
    let calm = World::new(&directory, &[]);
    calm.cycle(0, &["--initial"]);
    assert_eq!(exported(&calm.cycle(0, &[])), 0);
    let (tenant, own) = (calm.tenant_state(), calm.own_state());
    drop(calm);

    let world = World::new(&directory, &["--seed", "7"]);
    world.set_batch(5);
    world.clear("/traffic");
    let rules = [
        "busy=0.05,retry-after=0.05",
        "throttle=0.05,retry-after=0.05",
        "drop-before=0.03",
        "drop-answer=0.04",
        "duplicate=0.04",
        "partial=0.04",
    ];
    for rule in rules {
        world.fault(&format!("{rule},service=provisioning"));
    }
    let cycle = world.cycle(0, &["--initial"]);
    let traffic = world.ask("/traffic");
    let sum = |counters: &Value| counters.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>();
    let (calls, wrong) = (sum(&traffic["calls"]), sum(&traffic["faults"]));
    assert!(calls >= 100 && wrong * 5 >= calls, "{wrong} of {calls} calls went wrong: {traffic:#}");
    for rule in rules {
        let kind = rule.split('=').next().unwrap();
        assert!(traffic["faults"][kind].as_u64().is_some_and(|count| count > 0), "{kind} never happened: {traffic:#}");
    }
    assert_eq!(counted(&cycle, "export-failure"), 0, "{cycle:#}");
    assert_same(&world.tenant_state(), &tenant, "the tenant");
    world.clear("/faults");
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    assert_same(&world.own_state(), &own, "the store");
    assert_eq!(exported(&world.cycle(0, &["--initial"])), 0);
    world.check_store();
}

/// A tenant that lets a seventh of the writes through and asks to wait for the rest is waited for: nothing is refused, lost or sent
/// twice. How well the allowance is used is held on a clock of its own (`connectors`, `lesson_12`).
#[test]
fn a_throttled_tenant_ends_no_export_half_way() {
    let world = World::new(&people(700, 30, 10), &[]);
    world.json(0, &["run", "start", "corp", "full-import"]);
    world.json(0, &["run", "start", "corp", "full-sync"]);
    world.put("/throttle", &json!({"writes": 100.0, "window_seconds": 2.0}));
    let export = world.json(0, &["export"]);
    assert_eq!((counted(&export, "export-add"), exported(&export), world.accepted()), (740, 740, 740), "{export:#}");
    assert!(world.ask("/traffic")["faults"]["throttled"].as_u64().unwrap() > 0);
    world.clear("/throttle");
    assert_eq!(exported(&world.cycle(0, &[])), 0);
}

/// The tenant dies in the middle of an export and Syncline does not: what was sent is not sent again, and what was not
/// is sent by the next cycle.
#[test]
fn a_tenant_that_dies_during_an_export_gets_the_rest_from_the_next_cycle() {
    let directory = people(300, 20, 10);
    let calm = World::new(&directory, &[]);
    calm.cycle(0, &["--initial"]);
    assert_eq!(exported(&calm.cycle(0, &[])), 0);
    let (tenant, own) = (calm.tenant_state(), calm.own_state());
    drop(calm);

    let mut world = World::new(&directory, &[]);
    world.json(0, &["run", "start", "corp", "full-import"]);
    world.json(0, &["run", "start", "corp", "full-sync"]);
    world.put("/throttle", &json!({"writes": 100.0, "window_seconds": 1.0}));
    let export = world.command().args(["--json", "export"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for look in 0.. {
        assert!(look < 3_000, "nothing arrives");
        if world.accepted() >= 100 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    world.kill_tenant();
    let output = export.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{shown}");
    let document: Value = serde_json::from_str(&shown).unwrap();
    let (run, message) = (&document["runs"][0], document["runs"][0]["steps"][0]["message"].as_str().unwrap());
    assert_eq!(run["result"], "stopped-connectivity", "{document:#}");
    assert!(message.contains("127.0.0.1") && message.contains("check the address"), "{message}");
    let arrived = counted(&document, "export-add");
    assert!((1..330).contains(&arrived), "{document:#}");
    world.start_tenant();
    let kept = world.tenant_state().iter().filter(|line| line.contains("\"sourceAnchor\"")).count();
    let rest = world.cycle(0, &[]);
    let sent = counted(&rest, "export-add");
    assert!(
        u64::try_from(kept).unwrap() >= arrived && (330 - arrived).abs_diff(sent) <= u64::try_from(kept).unwrap() - arrived,
        "{rest:#}"
    );
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    assert_same(&world.tenant_state(), &tenant, "the tenant");
    assert_same(&world.own_state(), &own, "the store");
    world.check_store();
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

/// Whoever is to be disabled and is refused stays enabled: that is told first, with the command that shows the refusal.
#[test]
fn whoever_cannot_be_disabled_is_told_with_the_place_of_the_problem() {
    let directory: String = (1..5).map(|number| person(number, "")).collect();
    let world = World::new(&directory, &[]);
    world.cycle(0, &["--initial"]);
    world.cycle(0, &[]);
    world.write_directory(&directory.replacen("userAccountControl: 512", "userAccountControl: 514", 1));
    world.fault("reject,code=LargeObject,operation=ProvisionAzureADSyncObjects2");
    let cycle = world.cycle(2, &[]);
    assert_eq!(counted(&cycle, "export-failure"), 1, "{cycle:#}");
    let status = world.json(2, &["status"]);
    let first = &status["attention"][0];
    let what = first["what"].as_str().unwrap();
    for part in ["1 person is disabled in corp and still enabled in Entra", "the export of these people fails", "CN=Person 1,OU=People"] {
        assert!(what.contains(part), "{part}: {status:#}");
    }
    assert_eq!(first["command"], "syncline errors 'Entra'", "the problem is kept there: {status:#}");
    let problems = world.json(0, &["errors", "Entra"]);
    assert_eq!(problems["problems"].as_array().map(Vec::len), Some(1), "{problems:#}");
    world.clear("/faults");
    world.cycle(0, &[]);
    assert!(!world.json(0, &["status"]).to_string().contains("still enabled"));
}
