//! `kill -9` in the middle of import, synchronization and export; the next cycle ends where an undisturbed one ends.
//!
//! `SYNCLINE_KILLS` and `SYNCLINE_KILL_USERS` make it longer, `SYNCLINE_SEED` makes it another.

use crate::world::{World, assert_same, counted, exported, people};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
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

/// The parts of a cycle, by what the line says that ends the one before; the first begins with the process.
const PARTS: [(&str, &str); 4] =
    [("import", ""), ("synchronization", "Import: "), ("export", "Synchronization: "), ("confirmation", "Export: ")];
const EXPORT: usize = 2;

/// The cycles that are disturbed: everything for the first time, or what a working day changed.
const CYCLES: [&[&str]; 2] = [&["cycle", "start", "--initial"], &["cycle", "start"]];

/// How an undisturbed cycle went, and what it came to.
struct Calm {
    /// Seconds of each part.
    usual: [f64; PARTS.len()],
    /// Objects it sent.
    sent: u64,
    tenant: BTreeSet<String>,
    own: BTreeSet<String>,
}

impl Calm {
    fn of(world: &World, arguments: &[&str]) -> Self {
        let cycle = world.json(0, arguments);
        let seconds = |index: usize| cycle["runs"][index]["seconds"].as_f64().unwrap();
        let usual = [seconds(0) + seconds(1), seconds(2) + seconds(3), seconds(4), seconds(5) + seconds(6)];
        assert_eq!(exported(&world.cycle(0, &[])), 0);
        Self { usual, sent: exported(&cycle), tenant: world.tenant_state(), own: world.own_state() }
    }
}

/// The same directory after a day: some came, some left, some changed.
fn next_day(users: u64) -> String {
    let whole = people(users + users / 20 + 1, users / 20 + 2, users / 50 + 1);
    let mut kept = Vec::new();
    for (number, record) in whole.split("\n\n").enumerate() {
        // The promise of a number of records no longer holds.
        let record: String = record.lines().filter(|line| !line.starts_with("# syncline:")).flat_map(|line| [line, "\n"]).collect();
        let person = record.contains("objectClass: user");
        if person && number % 25 == 7 {
            continue;
        }
        let changed = person && number % 10 == 3;
        kept.push(if changed { record.replace("displayName: ", "displayName: Dr. ") } else { record });
    }
    kept.join("\n")
}

/// Starts a cycle and kills it when `share` of the part's usual time has passed; the tenant, too, if that is wanted.
/// False when the cycle was faster.
fn kill_within(world: &mut World, arguments: &[&str], part: usize, wait: f64, tenant_too: bool) -> bool {
    let mut child = world.command().args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let begins_after = PARTS[part].1;
    if !begins_after.is_empty() {
        while let Some(Ok(line)) = lines.next() {
            if line.starts_with("Entra: ") && line.contains(begins_after) {
                break;
            }
        }
    }
    std::thread::sleep(Duration::from_secs_f64(wait));
    let ended = child.try_wait().unwrap().is_some();
    if tenant_too && !ended {
        world.kill_tenant();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    if tenant_too && !ended {
        world.start_tenant();
    }
    !ended
}

#[test]
fn killed_at_any_moment_it_ends_where_an_undisturbed_run_ends() {
    let (kills, users) = (setting("SYNCLINE_KILLS", 10), setting("SYNCLINE_KILL_USERS", 800));
    let seed = setting("SYNCLINE_SEED", 1);
    let (first, second) = (people(users, users / 20 + 2, users / 50 + 1), next_day(users));
    let calm = World::new(&first, &[]);
    let initial = Calm::of(&calm, CYCLES[0]);
    calm.write_directory(&second);
    let calm = [initial, Calm::of(&calm, CYCLES[1])];
    assert!(calm[0].tenant != calm[1].tenant && calm[1].sent > users / 10, "the day changed something");

    let mut dice = Dice(seed);
    // How many kills interrupted a run of a profile, and how many of an export found a part of the writes done.
    let (mut hit, mut in_export): (BTreeMap<String, u64>, u64) = (BTreeMap::new(), 0);
    let (mut done, mut late, mut tenant_killed) = (0, 0, false);
    for round in 0.. {
        if done == kills {
            break;
        }
        let (arguments, calm) = (CYCLES[round % 2], &calm[round % 2]);
        let mut world = World::new(&first, &[]);
        if round % 2 == 1 {
            world.cycle(0, &["--initial"]);
            world.write_directory(&second);
        }
        world.clear("/traffic");
        let mut interrupted = BTreeSet::new();
        // Up to three times in a row, each time somewhere else.
        for _ in 0..3.min(kills - done) {
            let part = usize::try_from(done).unwrap() % PARTS.len();
            let tenant_too = part == EXPORT && done >= kills / 2 && !tenant_killed;
            if !kill_within(&mut world, arguments, part, calm.usual[part] * dice.share(), tenant_too) {
                // Nothing is left to interrupt here; the same part comes again in another world.
                late += 1;
                assert!(late <= 10 + kills, "the kills come too late, seed {seed}");
                break;
            }
            done += 1;
            tenant_killed |= tenant_too;
            for (number, profile) in world.interrupted_runs() {
                // The one before may have been killed before it began anything.
                if !interrupted.insert(number) {
                    continue;
                }
                let accepted = world.accepted();
                in_export += u64::from(profile == "Export" && accepted > 0 && accepted < calm.sent);
                *hit.entry(profile).or_default() += 1;
            }
        }
        let place = format!("after kill {done}, seed {seed}");
        let again = world.json(0, arguments);
        assert_eq!(counted(&again, "export-failure"), 0, "{place}");
        assert_eq!(exported(&world.cycle(0, &[])), 0, "nothing is left to do {place}");
        assert_same(&world.tenant_state(), &calm.tenant, &format!("the tenant {place}"));
        assert_same(&world.own_state(), &calm.own, &format!("the store {place}"));
        world.check_store();
        let runs = world.json(0, &["run", "list", "--limit", "1000"]);
        let ended = |result: &str| runs["runs"].as_array().unwrap().iter().filter(|run| run["result"] == result).count();
        assert_eq!((ended("in-progress"), ended("stopped-server")), (0, interrupted.len()), "interrupted runs are closed as such {place}");
    }
    println!(
        "{kills} kills of cycles of {users} users, seed {seed}: {late} more came too late; runs hit: {hit:?}; {in_export} with a part sent"
    );
    for part in ["Import", "Synchronization", "Export"] {
        assert!(hit.keys().any(|profile| profile.contains(part)), "no kill hit {part}: {hit:?}, seed {seed}");
    }
    assert!(in_export > 0, "no kill found a part of an export sent, seed {seed}");
    assert!(tenant_killed, "the tenant was never killed, seed {seed}");
}

/// The first moments of all: the store is just being made.
#[test]
fn killed_while_its_store_is_made_it_makes_it_the_next_time() {
    let world = World::new(&people(20, 2, 1), &[]);
    let mut with_store = 0;
    // On a busy machine it takes longer until there is anything to interrupt.
    for milliseconds in (0..).step_by(2) {
        if with_store >= 10 {
            break;
        }
        assert!(milliseconds < 2_000, "every kill came before the store");
        let store = world.config().join(format!("store-{milliseconds}.redb"));
        let run = |command: &mut std::process::Command| {
            command.arg("--store").arg(&store).args(["--json", "run", "start", "corp", "full-import"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let mut child = run(&mut world.command());
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        with_store += u32::from(store.exists());
        let output = run(&mut world.command()).wait_with_output().unwrap();
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "killed after {milliseconds} ms: {shown}");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(counted(&document, "stage-add") + counted(&document, "stage-no-change"), 23, "{document:#}");
        let check = world.command().arg("--store").arg(&store).args(["store", "check"]).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }
}
