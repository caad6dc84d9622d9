//! `kill -9` in the middle of import, synchronization and export; the next cycle ends where an undisturbed one ends.
//!
//! `SYNCLINE_KILLS` and `SYNCLINE_KILL_USERS` make it longer, `SYNCLINE_SEED` makes it another.

use crate::world::{World, exported, people};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

#[expect(clippy::disallowed_methods, reason = "a test is told by its environment how long to run")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Random enough, and the same for the same seed.
struct Dice(u64);

impl Dice {
    /// A number from 0 up to 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 33).unwrap()) / f64::from(1u32 << 31)
    }
}

/// The steps of an initial cycle, by the line that ends the one before.
const STEPS: [(&str, &str); 4] = [
    ("import", ""),
    ("synchronization", "Entra: Full Import: "),
    ("export", "Entra: Full Synchronization: "),
    ("confirmation", "Entra: Export: "),
];

/// Starts a cycle and kills it when `share` of the step's usual time has passed. False when it was faster.
fn kill_within(world: &World, begins_after: &str, usual: f64, share: f64) -> bool {
    let mut child = world.command().args(["cycle", "start", "--initial"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    if !begins_after.is_empty() {
        while let Some(Ok(line)) = lines.next() {
            if line.starts_with(begins_after) {
                break;
            }
        }
    }
    std::thread::sleep(Duration::from_secs_f64(usual * share));
    let ended = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    !ended
}

#[test]
fn killed_at_any_moment_it_ends_where_an_undisturbed_run_ends() {
    let (kills, users) = (setting("SYNCLINE_KILLS", 10), setting("SYNCLINE_KILL_USERS", 800));
    let seed = setting("SYNCLINE_SEED", 1);
    let directory = people(users, users / 20 + 2, users / 50 + 1);
    let calm = World::new(&directory, &[]);
    let first = calm.cycle(0, &["--initial"]);
    assert_eq!(exported(&calm.cycle(0, &[])), 0);
    let (tenant, own) = (calm.tenant_state(), calm.own_state());
    let seconds = |index: usize| first["runs"][index]["seconds"].as_f64().unwrap();
    let usual = [seconds(0) + seconds(1), seconds(2) + seconds(3), seconds(4), seconds(5) + seconds(6)];
    drop(calm);

    let mut dice = Dice(seed);
    let mut hit: BTreeMap<String, u64> = BTreeMap::new();
    let mut done = 0;
    while done < kills {
        let mut world = World::new(&directory, &[]);
        // Up to three times in a row, each time somewhere else.
        for _ in 0..3.min(kills - done) {
            let step = usize::try_from(done).unwrap() % STEPS.len();
            let share = dice.share();
            let in_time = kill_within(&world, STEPS[step].1, usual[step], share);
            done += 1;
            if in_time {
                let runs = world.json(0, &["run", "list"]);
                // A run that never came to its end is shown as running until the next one begins.
                let last = runs["runs"].as_array().and_then(|runs| runs.first()).cloned();
                if let Some(last) = last.filter(|last| last["result"] == "in-progress") {
                    *hit.entry(last["profile"].as_str().unwrap().to_owned()).or_default() += 1;
                }
            }
            if done % 7 == 0 {
                world.kill_tenant();
                world.start_tenant();
            }
        }
        let again = world.json(0, &["cycle", "start", "--initial"]);
        assert_eq!(crate::world::counted(&again, "export-failure"), 0, "seed {seed}");
        assert_eq!(world.tenant_state(), tenant, "the tenant after kill {done}, seed {seed}");
        assert_eq!(exported(&world.cycle(0, &[])), 0, "nothing is left to do after kill {done}, seed {seed}");
        assert_eq!(world.own_state(), own, "the store after kill {done}, seed {seed}");
        world.check_store();
        let runs = world.json(0, &["run", "list", "--limit", "1000"]);
        assert!(runs["runs"].as_array().unwrap().iter().all(|run| run["result"] != "in-progress"), "interrupted runs are closed");
    }
    for part in ["Import", "Synchronization", "Export"] {
        assert!(hit.keys().any(|profile| profile.contains(part)), "no kill hit {part}: {hit:?}, seed {seed}");
    }
}
