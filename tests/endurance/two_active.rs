//! Two installations on one tenant: only one of them writes, the other one names it, and taking over is a decision.

use crate::world::{World, exported, people};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use syncline::config::Config;
use syncline::context::Context;
use syncline::service::{Access, Promotion, Service, ServiceError};

/// The made-up directory with some more people. The promise of a number of records is taken out, as an editor would have to.
fn directory(more: usize) -> String {
    let text = people(30, 3, 2);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# syncline:")).collect();
    let extra = |number: usize| {
        format!(
            "\n\ndn: CN=Extra {number},DC=corp,DC=example\nobjectClass: top\nobjectClass: person\nobjectClass: organizationalPerson\n\
             objectClass: user\nobjectGUID:: AgICAgICAgICAgICAg{number:02}AA==\ncn: Extra {number}\nsAMAccountName: extra{number}\n\
             displayName: Extra {number}\nuserPrincipalName: extra{number}@corp.example\nuserAccountControl: 512"
        )
    };
    lines.join("\n").trim_end().to_owned() + &(10..10 + more).map(extra).collect::<String>() + "\n"
}

/// The same configuration in another folder, with a store of its own.
fn second(world: &World) -> PathBuf {
    let (first, second) = (world.config(), world.config().with_file_name("second"));
    for folder in ["", "connectors", "rules", "secrets"] {
        let from = first.join(folder);
        let Ok(files) = std::fs::read_dir(&from) else { continue };
        std::fs::create_dir_all(second.join(folder)).unwrap();
        for file in files.map(|file| file.unwrap()).filter(|file| file.file_type().unwrap().is_file()) {
            if !file.file_name().to_str().unwrap().contains(".redb") {
                std::fs::copy(file.path(), second.join(folder).join(file.file_name())).unwrap();
            }
        }
    }
    second
}

/// A command of an installation, which must end with this exit code.
#[track_caller]
fn json(config: &Path, code: i32, arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.arg("--config").arg(config).arg("--json").args(arguments).env("NO_COLOR", "1");
    let output = command.output().unwrap();
    let shown = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}:\n{shown}");
    serde_json::from_slice(&output.stdout).unwrap_or(Value::String(shown))
}

#[test]
fn the_second_one_is_refused_with_the_name_of_the_first_until_somebody_decides() {
    let world = World::new(&directory(0), &[]);
    let (first, second) = (world.config(), second(&world));
    world.cycle(0, &["--initial"]);
    json(&first, 1, &["phs", "enable"]);
    json(&first, 0, &["phs", "run", "--once"]);
    let id = json(&first, 0, &["mode", "show"])["installation"]["id"].as_str().unwrap().to_owned();

    // Everything joins; with nothing to be sent nobody is in anybody's way.
    let joined = json(&second, 0, &["cycle", "start", "--initial"]);
    assert_eq!(exported(&joined), 0, "{joined:#}");
    world.write_directory(&directory(1));
    let before = world.tenant_state();
    // Nobody has tried to export it yet: the tenant is asked.
    json(&second, 0, &["run", "start", "corp", "full-import"]);
    json(&second, 0, &["run", "start", "corp", "delta-sync"]);
    let looked = json(&second, 5, &["export", "--what-if"])["targets"][0].clone();
    let other = looked["another_installation"].as_str().unwrap_or_default();
    assert!(other.contains(id.split('-').next().unwrap()) && other.contains("last contact 2"), "{looked:#}");
    assert_eq!((&looked["adds"], &looked["stopped"]), (&1.into(), &true.into()), "{looked:#}");
    let stopped = json(&second, 5, &["cycle", "start"]);
    let told = stopped.to_string();
    assert!(told.contains("stopped-another-installation") && told.contains(id.split('-').next().unwrap()), "{told}");
    assert!(
        told.contains("last contact 2") && told.contains("1 object waits, among them Extra 10") && told.contains("promote --takeover"),
        "{told}"
    );
    assert_eq!(exported(&stopped), 0);
    assert_eq!(world.tenant_state(), before);
    let shown = json(&second, 5, &["mode", "show"]);
    assert_eq!((&shown["mode"], &shown["targets"][0]["last_writer"]["id"]), (&"active".into(), &id.as_str().into()), "{shown:#}");
    assert!(json(&second, 2, &["status"]).to_string().contains("another installation"));
    let events = json(&second, 0, &["events", "list", "--id", "7041"]);
    assert_eq!(events["events"].as_array().map(Vec::len), Some(1), "{events:#}");
    json(&second, 5, &["mode", "active"]);

    // Looking changes nothing, and without the word nothing is taken.
    let refused = json(&second, 5, &["promote"]);
    assert_eq!((&refused["ready"], &refused["promoted"]), (&false.into(), &false.into()), "{refused:#}");
    let looked = json(&second, 0, &["promote", "--takeover", "--what-if"]);
    assert_eq!((&looked["ready"], &looked["promoted"]), (&true.into(), &false.into()), "{looked:#}");
    json(&second, 5, &["cycle", "start"]);
    json(&first, 0, &["mode", "show"]);

    let promoted = json(&second, 0, &["promote", "--takeover"]);
    assert_eq!(promoted["promoted"], true, "{promoted:#}");
    assert_eq!(json(&second, 0, &["export", "--what-if"])["targets"][0]["stopped"], false);
    assert_eq!(exported(&json(&second, 0, &["cycle", "start"])), 1);

    // The first one finds out by itself: objects and passwords.
    world.write_directory(&directory(2));
    let before = world.tenant_state();
    let held = json(&first, 1, &["phs", "run", "--once"]);
    assert_eq!(held["directories"][0]["held"], "another-installation", "{held:#}");
    for _ in 0..2 {
        let stopped = json(&first, 5, &["cycle", "start"]);
        assert_eq!(exported(&stopped), 0, "{stopped:#}");
    }
    assert_eq!(world.tenant_state(), before);
    assert_eq!(exported(&json(&second, 0, &["cycle", "start"])), 1);

    // And back again. What the other one sent meanwhile is there already.
    json(&first, 0, &["promote", "--takeover"]);
    let quiet = json(&first, 0, &["cycle", "start"]);
    assert_eq!(exported(&quiet), 0, "{quiet:#}");
    assert_eq!(json(&first, 0, &["phs", "run", "--once"])["directories"][0]["held"], Value::Null);
    json(&second, 5, &["mode", "show"]);
    json(&second, 0, &["mode", "staging"]);
    world.write_directory(&directory(3));
    assert_eq!(exported(&json(&second, 0, &["cycle", "start"])), 0);
    // Who only watches is stopped by nobody; the other one is named all the same.
    let looked = json(&second, 0, &["export", "--what-if"])["targets"][0].clone();
    assert_eq!((&looked["adds"], &looked["stopped"]), (&1.into(), &false.into()), "{looked:#}");
    assert!(looked["another_installation"].as_str().is_some_and(|other| other.contains("last contact 2")), "{looked:#}");
    assert_eq!(exported(&json(&first, 0, &["cycle", "start"])), 1);
}

/// A promotion says what speaks against it before anything is lost.
#[test]
fn whoever_is_not_fit_is_not_promoted() {
    let world = World::new(&directory(10), &[]);
    let second = second(&world);
    world.cycle(0, &["--initial"]);
    let never = json(&second, 5, &["promote", "--takeover"]);
    let failed = |view: &Value| {
        let checks = view["checks"].as_array().unwrap().clone();
        checks
            .into_iter()
            .filter(|check| check["good"] == false)
            .map(|check| check["what"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(failed(&never), ["the last cycle", "the last import", "the last import"], "{never:#}");

    json(&second, 0, &["mode", "staging"]);
    json(&second, 0, &["cycle", "start", "--initial"]);
    json(&second, 0, &["guard", "set", "--max-deletes", "3"]);
    world.write_directory(&directory(0));
    json(&second, 0, &["cycle", "start"]);
    let many = json(&second, 5, &["promote", "--takeover"]);
    assert_eq!(failed(&many), ["the deletes that wait"], "{many:#}");
    assert!(many.to_string().contains("export 'Entra' --what-if"), "{many:#}");
    // Nothing was taken: the first one goes on.
    assert_eq!(exported(&world.cycle(0, &[])), 10);
    json(&second, 0, &["cycle", "start"]);
    let promoted = json(&second, 0, &["promote", "--takeover"]);
    assert_eq!(promoted["promoted"], true, "{promoted:#}");
}

/// A takeover that could not be kept would silence both.
#[test]
fn a_promotion_that_cannot_be_written_takes_nothing() {
    let world = World::new(&directory(0), &[]);
    let second = second(&world);
    world.cycle(0, &["--initial"]);
    json(&second, 0, &["mode", "staging"]);
    json(&second, 0, &["cycle", "start", "--initial"]);
    let service = Service::open(Config::load(&second).unwrap(), None, Access::Existing).unwrap();
    let main = second.join("syncline.toml");
    std::fs::remove_file(&main).unwrap();
    std::fs::create_dir(&main).unwrap();
    let refused = service.promote(&Context::system(), Promotion { takeover: true, what_if: false });
    assert!(matches!(refused, Err(ServiceError::Config(_))), "{refused:?}");
    drop(service);
    world.write_directory(&directory(1));
    assert_eq!(exported(&world.cycle(0, &[])), 1, "the first one goes on");
}
