//! Guards against accidents with a tenant that is already in use: the first export waits for somebody who has looked at
//! it, and a plan that was looked at is sent exactly or not at all.

use crate::world::{World, counted, people};

const PEOPLE: u64 = 30;
/// People, groups and contacts.
const ALL: u64 = PEOPLE + 3 + 2;

/// A world whose first export waits; the first cycle has run.
fn waiting() -> World {
    let world = World::new(&people(PEOPLE, 3, 2), &[]);
    world.set_first_export("approved");
    let cycle = world.cycle(5, &["--initial"]);
    assert_eq!(counted(&cycle, "export-add"), 0, "{cycle:#}");
    let told = cycle.to_string();
    assert!(told.contains("stopped-by-review") && told.contains("--approve 35-"), "{told}");
    world
}

fn plan(world: &World) -> String {
    // What it names would be stopped as it is.
    world.json(5, &["export", "--what-if"])["targets"][0]["plan"].as_str().unwrap().to_owned()
}

#[test]
fn the_first_export_waits_for_somebody_who_has_looked_at_it() {
    let world = waiting();
    assert_eq!(world.json(2, &["status"])["health"], "trouble");
    let shown = String::from_utf8(world.syncline(&["export", "--what-if", "--limit", "1"]).stderr).unwrap();
    let looked_at = plan(&world);
    assert!(shown.contains(&format!("--approve {looked_at}")), "{shown}");
    world.json(4, &["export", "--approve", "35-0000000000000000"]);
    world.json(64, &["export", "--approve", "no plan"]);
    assert_eq!(world.json(0, &["export", "--approve", &looked_at])["approved"], looked_at.as_str());
    assert_eq!(world.json(0, &["export", "--what-if"])["targets"][0]["stopped"], false);
    assert_eq!(counted(&world.cycle(0, &[]), "export-add"), ALL);
    // From then on nobody is asked.
    world.cycle(0, &[]);
}

#[test]
fn an_approval_is_for_what_was_looked_at() {
    let world = waiting();
    let looked_at = plan(&world);
    world.json(0, &["export", "--approve", &looked_at]);
    // Somebody widens the scope before the next cycle.
    world.write_directory(&people(PEOPLE + 10, 3, 2));
    let cycle = world.cycle(5, &[]);
    assert_eq!(counted(&cycle, "export-add"), 0, "{cycle:#}");
    assert!(cycle.to_string().contains("more than what was approved"), "{cycle:#}");
    let wider = plan(&world);
    world.json(0, &["export", "--approve", &wider]);
    // Who comes meanwhile is no other export.
    world.write_directory(&people(PEOPLE + 12, 3, 2));
    assert_eq!(counted(&world.cycle(0, &[]), "export-add"), ALL + 12);
}

#[test]
fn a_plan_is_sent_exactly_or_not_at_all() {
    let world = waiting();
    let page = world.config().join("plan.html");
    let output = world.syncline(&["--json", "export", "--what-if", "--html", page.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(5));
    let page = std::fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("<details>").count() as u64, ALL, "every object is on the page");
    let file = world.config().join("plan.json");
    std::fs::write(&file, &output.stdout).unwrap();
    let stale = plan(&world);

    // Somebody joins between the look and the order.
    world.write_directory(&people(PEOPLE + 1, 3, 2));
    world.json(0, &["run", "start", "corp", "full-import"]);
    world.json(0, &["run", "start", "corp", "delta-sync"]);
    let refused = world.json(5, &["export", "Entra", "--plan", file.to_str().unwrap()]);
    assert!(refused.to_string().contains("is not what waits now"), "{refused:#}");
    let fresh = plan(&world);
    assert_ne!(stale, fresh);
    assert_eq!(counted(&world.json(0, &["export", "Entra", "--plan", &fresh]), "export-add"), ALL + 1);
}
