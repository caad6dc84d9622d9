//! Lessons of the field about time (docs/testing.md, "Lessons of the field").

use crate::world::{World, counted, people};

/// One task that goes through people one by one took two hours for what should take seconds, and more workers did not help. The whole
/// way of a thousand people, on a busy machine and unoptimized, is held to ten times the rate of that complaint.
#[test]
fn lesson_03_a_thousand_people_take_seconds_and_not_a_quarter_of_an_hour() {
    const PEOPLE: u64 = 1_000;
    const SECONDS_EACH: f64 = 1.0 / 13.0;
    let world = World::new(&people(PEOPLE, 20, 10), &[]);
    world.set_batch(250);
    let cycle = world.cycle(0, &["--initial"]);
    assert!(counted(&cycle, "export-add") >= PEOPLE, "{cycle:#}");
    let seconds: f64 = cycle["runs"].as_array().unwrap().iter().map(|run| run["seconds"].as_f64().unwrap()).sum();
    #[expect(clippy::cast_precision_loss, reason = "a thousand is exact")]
    let allowed = PEOPLE as f64 * SECONDS_EACH;
    assert!(seconds < allowed, "{seconds} s for {PEOPLE} people");
}
