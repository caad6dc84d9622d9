//! `kill -9` of the running service at any moment while its directory goes on changing. Whatever starts it anew, as a
//! service manager does, need do nothing else: it goes on by itself, and the tenant becomes what the directory says.
//!
//! `SYNCLINE_KILLS` makes it longer, `SYNCLINE_SEED` makes it another.

use crate::killed::{Dice, READ, kill_at, setting};
use crate::served::{Served, comes};
use crate::world::{World, assert_same, exported};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use syncline::directory_generator::{DirectoryRecipe, PasswordRecipe, PasswordState};

/// So many people there are always, but for those who are away.
const USERS: u64 = 200;
/// So many more there are at most.
const MORE: u64 = 20;
/// So many times as long as a cycle takes by itself a life of the service lasts at most: passwords go behind it.
const LIFE: f64 = 2.5;
/// So many people are away at any time; others at the next.
const AWAY: u64 = 3;

fn recipe(version: u64) -> DirectoryRecipe {
    let passwords = Some(PasswordRecipe { changed: (2 * version).min(USERS) });
    // Everybody has the number, and so the security identifier, that nobody else ever has.
    DirectoryRecipe { users: USERS + MORE, groups: 12, contacts: 5, passwords, ..DirectoryRecipe::default() }
}

/// The directory after so many changes: with each, some come, some go, some come back, some are called otherwise, groups lose members
/// and have them again, and two people have new passwords.
fn directory(version: u64) -> String {
    let recipe = recipe(version);
    let mut text = Vec::new();
    recipe.write_ldif(&mut text).unwrap();
    // One line for each value.
    let text = String::from_utf8(text).unwrap().replace("\n ", "");
    let mut kept = Vec::new();
    let mut person = 0;
    for record in text.split("\n\n") {
        // The promise of a number of records no longer holds.
        let mut record: String = record.lines().filter(|line| !line.starts_with("# syncline:")).flat_map(|line| [line, "\n"]).collect();
        if record.contains("objectClass: user") {
            person += 1;
            let away = version * AWAY % USERS;
            if person > USERS + version % MORE || (version > 0 && (away..away + AWAY).contains(&person)) {
                continue;
            }
            if person % 10 == version % 10 {
                record = record.replace("displayName: ", &format!("displayName: {version}. "));
            }
        }
        if record.contains("objectClass: group") {
            let left = |index: u64, line: &str| line.starts_with("member:") && index % 5 == version % 5;
            record = (0..).zip(record.lines()).filter(|(index, line)| !left(*index, line)).flat_map(|(_, line)| [line, "\n"]).collect();
        }
        kept.push(record);
    }
    kept.join("\n")
}

/// Nobody ever sees half a file.
fn write(world: &World, version: u64) {
    let new = world.directory_file().with_extension("new");
    std::fs::write(&new, directory(version)).unwrap();
    std::fs::rename(new, world.directory_file()).unwrap();
}

/// What a kill interrupted: a step of a cycle, or a batch of passwords that was on its way.
fn interrupted(world: &World, passwords: &mut u64) -> Vec<&'static str> {
    let runs = world.newest_runs();
    let profile_of = |run: &Value| run["profile"].as_str().unwrap().to_owned();
    let step_of = |run: &Value| {
        let (profile, target) = (profile_of(run), run["connector"] == "Entra");
        let sent = || runs.iter().any(|other| other["cycle"] == run["cycle"] && profile_of(other) == "Export");
        match (profile.contains("Import"), profile.contains("Synchronization")) {
            (true, _) if target && sent() => "confirming import",
            (true, _) if target => "import of the tenant",
            (true, _) => "import of the directory",
            (_, true) => "synchronization",
            _ => "export",
        }
    };
    let mut hit: Vec<&str> = runs.iter().filter(|run| run["result"] == "in-progress").map(step_of).collect();
    // The tenant got a batch, and nobody noted an answer to it.
    let sent = world.ask("/traffic")["calls"]["ProvisionCredentials"].as_u64().unwrap_or(0);
    let told = world.json(0, &["events", "list", "--id", "651,652", "--limit", "100000"]);
    let open = sent.saturating_sub(told["events"].as_array().unwrap().len() as u64);
    if open > *passwords {
        *passwords = open;
        hit.push("passwords");
    }
    hit
}

#[test]
fn killed_at_any_moment_the_service_goes_on_by_itself() {
    let (kills, seed) = (setting("SYNCLINE_KILLS", 8), setting("SYNCLINE_SEED", 1));
    let mut dice = Dice::of(seed);
    let world = World::new(&directory(0), &[]);
    world.json(0, &["phs", "enable"]);
    let (mut hit, mut idle, mut passwords): (BTreeMap<&str, u64>, u64, u64) = (BTreeMap::new(), 0, 0);
    // The first cycle comes to its end once, or every life would begin with it; `killed` disturbs that one.
    world.cycle(0, &["--initial"]);
    world.json(0, &["phs", "run", "--once"]);
    // As far away as a tenant usually is, so that calls are hit, too.
    world.fault("slow=1.0,delay=200");
    let mut version = 1;
    write(&world, version);
    let cycle = world.cycle(0, &[]);
    let usual: f64 = cycle["runs"].as_array().unwrap().iter().map(|run| run["seconds"].as_f64().unwrap()).sum();
    for _ in 0..kills {
        // Something changes before it lives, and while it does.
        version += 1;
        write(&world, version);
        let service = Served::start(&world);
        let life = LIFE * usual * dice.share();
        std::thread::sleep(Duration::from_secs_f64(life / 2.0));
        version += 1;
        write(&world, version);
        std::thread::sleep(Duration::from_secs_f64(life / 2.0));
        service.kill();
        let interrupted = interrupted(&world, &mut passwords);
        idle += u64::from(interrupted.is_empty());
        for step in interrupted {
            *hit.entry(step).or_default() += 1;
        }
    }

    // Nobody says anything to it any more.
    world.clear("/faults");
    let calm = World::new(&directory(0), &[]);
    calm.json(0, &["phs", "enable"]);
    calm.cycle(0, &["--initial"]);
    write(&calm, version);
    calm.cycle(0, &[]);
    calm.json(0, &["phs", "run", "--once"]);
    assert_eq!(exported(&calm.cycle(0, &[])), 0);
    let wanted = live(&calm);
    let service = Served::start(&world);
    if !comes(|| live(&world) == wanted) {
        let told = |arguments: &[&str]| String::from_utf8_lossy(&world.syncline(arguments).stdout).into_owned();
        let (status, errors, runs) = (told(&["status"]), told(&["errors"]), told(&["run", "list", "--limit", "10"]));
        let place = format!("the tenant after {kills} kills, seed {seed}, {version} versions\n{status}\n{errors}\n{runs}\n");
        assert_same(&live(&world), &wanted, &place);
    }
    let recipe = recipe(version);
    let people: Vec<u64> = (0..USERS).filter(|index| index % 7 == 0 || *index + 1 == 2 * version).collect();
    let behind = |index: &&u64| {
        let (name, password) = (recipe.user_principal_name(**index), recipe.user_password(**index));
        recipe.password_state(**index) == PasswordState::Good && world.sign_in(&name, &password) != calm.sign_in(&name, &password)
    };
    let mut left = people;
    let arrived = comes(|| {
        left = left.iter().filter(behind).copied().collect();
        left.is_empty()
    });
    assert!(arrived, "passwords of {left:?} did not arrive after {kills} kills, seed {seed}");
    service.stop();
    assert_eq!(exported(&world.cycle(0, &[])), 0, "nothing is left to do");
    assert_eq!(exported(&world.cycle(0, &["--initial"])), 0, "nor when everything is read");
    assert_eq!(live(&world), wanted);
    world.check_store();
    let runs = world.json(0, &["run", "list", "--limit", "5000"]);
    assert!(runs["runs"].as_array().unwrap().iter().all(|run| run["result"] != "in-progress"), "runs that were interrupted are closed");
    println!("{kills} kills of the service, seed {seed}, {version} versions of the directory; {idle} hit nothing under way: {hit:?}");
}

/// What the tenant shows. Whoever was away in a version that a killed service never read was never deleted, so the
/// recycle bins may differ.
fn live(world: &World) -> std::collections::BTreeSet<String> {
    world.tenant_state().into_iter().filter(|line| !line.contains("\"deleted\":true")).collect()
}

/// The kill comes between a delete and its confirmation, and whoever was deleted comes back: the next cycle learns both at once.
#[test]
fn whoever_comes_back_behind_an_unconfirmed_delete_is_in_the_tenant_after_one_cycle() {
    let (first, without, back) = (12, 14, 17);
    let calm = World::new(&directory(first), &[]);
    calm.cycle(0, &["--initial"]);
    write(&calm, back);
    calm.cycle(0, &[]);
    let mut world = World::new(&directory(first), &[]);
    world.cycle(0, &["--initial"]);
    write(&world, without);
    world.clear("/traffic");
    // Nothing changed in the tenant, so the import before the export is one call, and the one behind it begins with the second.
    assert!(kill_at(&mut world, &["cycle", "start"], (READ, 2), false), "the confirming import was never reached");
    assert_eq!(world.interrupted_runs().len(), 1);
    write(&world, back);
    world.cycle(0, &[]);
    assert_same(&live(&world), &live(&calm), "the tenant one cycle later");
    assert_eq!(exported(&world.cycle(0, &[])), 0, "nothing is left to do");
    world.check_store();
}
