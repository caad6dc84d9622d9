//! `kill -9` in the middle of import, synchronization and export; the next cycle ends where an undisturbed one ends.
//!
//! `SYNCLINE_KILLS` and `SYNCLINE_KILL_USERS` make it longer, `SYNCLINE_SEED` makes it another.

use crate::served::comes;
use crate::world::{World, assert_same, counted, exported, people};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

#[expect(clippy::disallowed_methods, reason = "a test is told by its environment how long to run")]
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Random enough, and the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 33).unwrap()) / f64::from(1u32 << 31)
    }
}

/// The parts of a cycle. In three of them the tenant stops at one of the calls, so that the kill comes there however fast or
/// slow the machine is. Between them nobody is called: there the line tells that the part began.
const PARTS: [Part; 4] = [Part::Calls(READ), Part::Synchronization, Part::Calls(WRITE), Part::LastCall(READ)];
const EXPORT: usize = 2;
const SYNCHRONIZATION: usize = 1;
pub(crate) const READ: &str = "ReadBackAzureADSyncObjects2";
const WRITE: &str = "ProvisionAzureADSyncObjects2";

#[derive(Clone, Copy)]
enum Part {
    /// Any of the calls of this operation, but for the first and the last one when there are so many.
    Calls(&'static str),
    /// The last one of them.
    LastCall(&'static str),
    /// Behind the imports.
    Synchronization,
}

/// The cycles that are disturbed: everything for the first time, or what a working day changed.
const CYCLES: [&[&str]; 2] = [&["cycle", "start", "--initial"], &["cycle", "start"]];

/// How an undisturbed cycle went, and what it came to.
struct Calm {
    /// Calls of the tenant, by operation.
    calls: BTreeMap<String, u64>,
    /// Seconds of the synchronization.
    synchronized: f64,
    /// Objects it sent.
    sent: u64,
    tenant: BTreeSet<String>,
    own: BTreeSet<String>,
}

impl Calm {
    fn of(world: &World, arguments: &[&str]) -> Self {
        world.clear("/traffic");
        let cycle = world.json(0, arguments);
        let calls = serde_json::from_value(world.ask("/traffic")["calls"].clone()).unwrap();
        let synchronized = [2, 3].into_iter().map(|index: usize| cycle["runs"][index]["seconds"].as_f64().unwrap()).sum();
        let sent = exported(&cycle);
        assert_eq!(exported(&world.cycle(0, &[])), 0);
        Self { calls, synchronized, sent, tenant: world.tenant_state(), own: world.own_state() }
    }

    /// At which call of a part to stop.
    fn call(&self, part: Part, dice: &mut Dice) -> Option<(&'static str, u64)> {
        let calls = |operation| self.calls.get(operation).copied().unwrap_or_else(|| panic!("{operation} was never called"));
        match part {
            Part::Synchronization => None,
            Part::LastCall(operation) => Some((operation, calls(operation))),
            Part::Calls(operation) => {
                let between = u32::try_from(calls(operation).saturating_sub(2)).unwrap();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number from 0")]
                let number = (f64::from(between) * dice.share()) as u64;
                Some((operation, if between == 0 { 1 } else { 2 + number }))
            }
        }
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

/// Starts a cycle and kills it at a call of the tenant; the tenant, too, if that is wanted. False when there was no such call
/// any more.
pub(crate) fn kill_at(world: &mut World, arguments: &[&str], (operation, number): (&str, u64), tenant_too: bool) -> bool {
    let stopped = |world: &World| world.ask("/traffic")["faults"]["slow"].as_u64().unwrap_or(0);
    let before = stopped(world);
    // Nobody waits that long: it is killed before.
    world.fault(&format!("slow=1x,every={number},delay=3600000,operation={operation}"));
    let mut child = world.command().args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let is_stopped = comes(|| child.try_wait().unwrap().is_some() || stopped(world) > before);
    assert!(is_stopped, "the cycle neither ends nor comes to call {number} of {operation}");
    let hit = stopped(world) > before;
    if hit && operation == WRITE {
        // The calls before it are on their way at the same time.
        assert!(comes(|| world.accepted() > 0), "nothing is written before call {number}");
    }
    if hit && tenant_too {
        world.kill_tenant();
    }
    // It may have ended by itself.
    drop(child.kill());
    child.wait().unwrap();
    if hit && tenant_too {
        world.start_tenant();
    }
    world.clear("/faults");
    hit
}

/// Starts a cycle and kills it so many seconds after the imports. False when it had ended.
fn kill_behind_imports(world: &World, arguments: &[&str], wait: f64) -> bool {
    let mut child = world.command().args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.starts_with("Entra: ") && line.contains("Import: ") {
            break;
        }
    }
    std::thread::sleep(Duration::from_secs_f64(wait));
    let ended = child.try_wait().unwrap().is_some();
    drop(child.kill());
    child.wait().unwrap();
    !ended
}

#[test]
fn lesson_01_killed_at_any_moment_it_ends_where_an_undisturbed_run_ends() {
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
        // Between two calls a kill may come too late; then it is tried again, at once behind the imports.
        let missing = !hit.keys().any(|profile| profile.contains("Synchronization"));
        if done >= kills && !missing {
            break;
        }
        assert!(round < 20 + 2 * usize::try_from(kills).unwrap(), "{late} kills came too late, seed {seed}: {hit:?}");
        let (arguments, calm) = (CYCLES[round % 2], &calm[round % 2]);
        let mut world = World::new(&first, &[]);
        if round % 2 == 1 {
            world.cycle(0, &["--initial"]);
            world.write_directory(&second);
        }
        world.clear("/traffic");
        let mut interrupted = BTreeSet::new();
        // Up to three times in a row, each time somewhere else.
        for _ in 0..kills.saturating_sub(done).clamp(1, 3) {
            let part = if done < kills { usize::try_from(done).unwrap() % PARTS.len() } else { SYNCHRONIZATION };
            let tenant_too = part == EXPORT && done >= kills / 2 && !tenant_killed;
            let in_time = match calm.call(PARTS[part], &mut dice) {
                Some(call) => kill_at(&mut world, arguments, call, tenant_too),
                None => kill_behind_imports(&world, arguments, if done < kills { calm.synchronized * dice.share() } else { 0.0 }),
            };
            if !in_time {
                // Nothing is left to interrupt here; the same part comes again in another world.
                late += 1;
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

/// Killed in its first export, it must know at its next start what the objects in the cloud were made with.
#[test]
fn the_source_anchor_is_kept_before_the_first_object_leaves() {
    let mut world = World::new(&people(200, 4, 2), &[]);
    let killed = kill_at(&mut world, CYCLES[0], (WRITE, 3), false);
    assert!(killed && world.accepted() > 0, "the kill came too late");
    let main = world.config().join("syncline.toml");
    let text = std::fs::read_to_string(&main).unwrap();
    assert!(!text.contains("\n[rules]"), "{text}");
    std::fs::write(&main, format!("{text}\n[rules]\nsource_anchor = \"employeeID\"\n")).unwrap();
    let refused = world.cycle(4, &[]).to_string();
    assert!(refused.contains("'employeeID'") && refused.contains("Put 'mS-DS-ConsistencyGuid' back"), "{refused}");
    std::fs::write(&main, text).unwrap();
    world.cycle(0, &[]);
    assert_eq!(exported(&world.cycle(0, &[])), 0);
}
