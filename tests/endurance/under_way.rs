//! What an administrator orders while a cycle of the service is under way counts for that cycle, and for nothing else.

use crate::served::{Served, comes};
use crate::world::{World, people};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use syncline::config::set_key;
use syncline::directory_generator::{DirectoryRecipe, PasswordRecipe};

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

/// Files are changed with an editor, too.
#[test]
fn staging_mode_that_is_written_into_the_file_reaches_the_export_that_runs() {
    let (world, service) = exporting();
    let main = world.config().join("syncline.toml");
    set_key(&world.config(), &main, "guard", "staging", true).unwrap();
    service.hang_up();
    // The store is asked when the service has ended: a command would let it look at its configuration.
    std::thread::sleep(Duration::from_secs(5));
    let sent = world.accepted();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(world.accepted(), sent, "the export goes on");
    service.stop();
    let run = last_export(&world).unwrap();
    assert_eq!(run["result"], "stopped-staging-mode", "{run:#}");
    set_key(&world.config(), &main, "guard", "staging", false).unwrap();
    goes_on(&world);
}

/// Somebody in a hurry must not have to mend another file first; and a file that cannot be used lets nothing out.
#[test]
fn staging_mode_counts_beside_a_file_that_cannot_be_read_and_stays_until_it_can() {
    let (world, service) = exporting();
    let connector = world.config().join("connectors/50-half.toml");
    std::fs::write(&connector, "kind = \n").unwrap();
    world.json(0, &["mode", "staging"]);
    assert_eq!(end_of_export(&world), "stopped-staging-mode");
    let sent = world.accepted();
    assert_eq!(world.json(0, &["mode", "show"])["mode"], "staging");

    // The other way round, what is refused as a whole does not count in part.
    let main = world.config().join("syncline.toml");
    let text = std::fs::read_to_string(&main).unwrap();
    let active = text.replace("staging = true", "staging = false").replace("max_deletes = 500", "max_deletes = 100000");
    assert!(active.contains("staging = false") && active.contains("max_deletes = 100000"), "{text}");
    std::fs::remove_file(&connector).unwrap();
    let rules = world.config().join("rules/10-half.toml");
    std::fs::create_dir_all(rules.parent().unwrap()).unwrap();
    std::fs::write(&rules, "[[rule]]\nname = 7\n").unwrap();
    std::fs::write(&main, active).unwrap();
    world.cycle(0, &[]);
    assert_eq!(world.accepted(), sent, "it was let out by a configuration that was refused");
    assert_eq!(world.json(0, &["mode", "show"])["mode"], "staging");
    let refused = world.json(3, &["mode", "active"]);
    assert!(refused["error"]["message"].as_str().unwrap().contains("rules/10-half.toml"), "{refused:#}");
    std::fs::remove_file(&rules).unwrap();
    assert_eq!(world.json(0, &["mode", "show"])["mode"], "active");
    goes_on(&world);
    service.stop();
}

/// Commands that send passwords go behind what is being sent, and say so.
#[test]
fn a_password_is_pushed_behind_those_under_way() {
    let of = |changed| DirectoryRecipe {
        users: 20,
        groups: 2,
        contacts: 1,
        passwords: Some(PasswordRecipe { changed }),
        ..DirectoryRecipe::default()
    };
    let text = |recipe: &DirectoryRecipe| {
        let mut text = Vec::new();
        recipe.write_ldif(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let (first, second) = (of(0), of(20));
    let world = World::new(&text(&first), &[]);
    world.json(0, &["phs", "enable"]);
    world.cycle(0, &["--initial"]);
    let covered = |index: &u64| {
        let status = world.json(0, &["phs", "status", "--object", &first.user_principal_name(*index)]);
        status["current"] == true
    };
    let person = (0..20).find(covered).expect("somebody has a password");
    let service = Served::start(&world);
    world.fault("slow,delay=5000,operation=ProvisionCredentials");
    world.write_directory(&text(&second));
    let name = first.user_principal_name(person);
    let mut round = world.command().args(["phs", "run", "--once"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    let pushed = comes(|| {
        let output = world.syncline(&["phs", "push", &name]);
        said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said.contains("begins when that has come to its end")
    });
    assert!(pushed, "nobody waited: {said}");
    assert!(round.wait().unwrap().success());
    world.clear("/faults");
    assert_eq!(world.sign_in(&name, &second.user_password(person)), 0);
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
