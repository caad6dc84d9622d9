//! What operators ask for: guards, one document for whoever helps, completions and manual pages.

use crate::{assert_code, document, small_world, stderr, stdout, syncline, with_config};
use serde_json::Value;
use std::fs;

#[test]
fn guards_are_shown_with_the_tenants_own_and_set_in_the_file() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let shown = document(&with_config(&config, &["--json", "guard", "show"]));
    assert_eq!((&shown["max_deletes"], &shown["targets"][0]["waiting"]), (&500.into(), &0.into()), "{shown:#}");
    assert_eq!(shown["targets"][0]["tenant_max_deletes"], 500, "the tenant has a limit of its own: {shown:#}");

    let before = fs::read_to_string(config.join("syncline.toml")).expect("text");
    let set = document(&with_config(&config, &["--json", "guard", "set", "--max-deletes", "1", "--max-delete-percent", "50"]));
    assert_eq!((&set["max_deletes"], &set["targets"][0]["limit"]), (&1.into(), &1.into()), "{set:#}");
    let after = fs::read_to_string(config.join("syncline.toml")).expect("text");
    assert!(after.contains("max_deletes = 1") && after.len() > before.len(), "{after}");
    assert_code(&with_config(&config, &["guard", "set"]), 64);
    assert_code(&with_config(&config, &["guard", "set", "--shrink-percent", "101"]), 64);

    // One may.
    crate::two_people_leave(world.path());
    assert_code(&with_config(&config, &["cycle", "start"]), 5);
    let stopped = document(&with_config(&config, &["--json", "guard", "show"]));
    assert_eq!((&stopped["targets"][0]["waiting"], &stopped["targets"][0]["stopped"]), (&2.into(), &true.into()), "{stopped:#}");
    assert!(stdout(&with_config(&config, &["guard", "show"])).contains("would stop before its first object"));
    let status = document(&with_config(&config, &["--json", "status"]));
    assert!(status["attention"].to_string().contains("2 deletes wait"), "{status:#}");
}

#[test]
fn without_a_service_no_time_is_told_for_the_next_cycle() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    for command in [&["status"][..], &["scheduler", "show"]] {
        let shown = stdout(&with_config(&config, command));
        let next = shown.lines().find(|line| line.trim_start().starts_with("next cycle")).unwrap_or_default();
        assert!(next.contains("when somebody starts it: no service runs"), "{shown}");
    }
    let view = document(&with_config(&config, &["--json", "scheduler", "show"]));
    assert_eq!((&view["served"], &view["next_cycle"]), (&false.into(), &Value::Null), "{view:#}");
    let status = document(&with_config(&config, &["--json", "status"]));
    assert_eq!(status["scheduler"]["next_cycle"], Value::Null, "{status:#}");
}

#[test]
fn what_a_guard_stopped_is_no_success_until_it_is_healed() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert!(stdout(&with_config(&config, &["status"])).contains("All is well."));
    assert_code(&with_config(&config, &["guard", "set", "--max-deletes", "1"]), 0);
    let text = crate::two_people_leave(world.path());
    let stopped = with_config(&config, &["cycle", "start"]);
    assert_code(&stopped, 5);
    let review = format!("syncline --config {} export Entra --what-if", config.display());
    let said = stderr(&stopped);
    assert!(said.contains("stopped by the guard 'deletion threshold' since 20") && said.contains(&review), "{said}");

    // Each cycle is stopped again, since the first one.
    let first = document(&with_config(&config, &["--json", "scheduler", "show"]))["guard_stops"][0].clone();
    let again = document(&with_config(&config, &["--json", "cycle", "start"]));
    assert_eq!((&again["stopped_by_guard"][0]["since"], &first["guard"]), (&first["since"], &"deletion threshold".into()), "{again:#}");
    assert_ne!(again["stopped_by_guard"][0]["run"], first["run"], "{again:#}");
    for command in ["status", "scheduler"] {
        let shown = stdout(&with_config(&config, if command == "status" { &["status"][..] } else { &["scheduler", "show"] }));
        assert!(shown.contains("stopped by the guard 'deletion threshold'") && shown.contains(&review), "{shown}");
        assert!(!shown.contains("All is well") && !shown.contains("that succeeded"), "{shown}");
    }
    let status = with_config(&config, &["--json", "status"]);
    assert_code(&status, 2);
    assert_eq!(document(&status)["attention"].as_array().map(Vec::len), Some(1), "told once: {}", stdout(&status));
    let shown = stdout(&with_config(&config, &["guard", "show"]));
    assert!(shown.contains("stopped") && !shown.contains("open"), "{shown}");

    // They come back: nothing waits any more, and no export is due that would say so.
    fs::write(world.path().join("people.ldif"), text).expect("the folder can be written");
    let healed = document(&with_config(&config, &["--json", "cycle", "start"]));
    assert!(healed["runs"].as_array().is_some_and(|runs| runs.iter().all(|run| run["profile"] != "Export")), "{healed:#}");
    let status = stdout(&with_config(&config, &["status"]));
    assert!(status.contains("All is well.") && !status.contains("stopped"), "{status}");
    let shown = stdout(&with_config(&config, &["scheduler", "show"]));
    assert!(!shown.contains("stopped"), "{shown}");
    assert!(stdout(&with_config(&config, &["guard", "show"])).contains("open"));
}

#[test]
fn an_import_that_a_guard_does_not_believe_is_no_success() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    fs::write(world.path().join("people.ldif"), "version: 1\n").expect("the folder can be written");
    let stopped = with_config(&config, &["cycle", "start"]);
    assert_code(&stopped, 5);
    assert!(stderr(&stopped).contains("corp.example is stopped by the guard 'shrink guard' since 20"), "{}", stderr(&stopped));
    let status = stdout(&with_config(&config, &["status"]));
    assert!(status.contains("stopped by the guard 'shrink guard'") && status.contains("run show "), "{status}");
    assert!(status.contains("run start 'corp.example' full-import --allow-shrink"), "{status}");
    assert!(stdout(&with_config(&config, &["guard", "show"])).contains("corp.example is stopped by the guard 'shrink guard'"));
}

/// Staging mode, too, lets nothing through.
#[test]
fn guards_are_not_open_while_nothing_is_exported() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert_code(&with_config(&config, &["mode", "staging"]), 0);
    let shown = document(&with_config(&config, &["--json", "guard", "show"]));
    assert_eq!(shown["targets"][0]["stopped"], true, "{shown:#}");
    assert!(shown["targets"][0]["blocked_by"].to_string().contains("staging mode"), "{shown:#}");
    assert!(!stdout(&with_config(&config, &["guard", "show"])).contains("open"));
}

#[test]
fn a_support_bundle_tells_of_the_installation_and_of_nobody() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert_code(&with_config(&config, &["preview", "ada@corp.example", "--commit"]), 0);
    let output = with_config(&config, &["support", "bundle"]);
    assert_code(&output, 0);
    assert!(stderr(&output).contains("left out"), "{}", stderr(&output));
    let bundle: Value = serde_json::from_slice(&output.stdout).expect("one document");
    for part in ["made", "version", "machine", "configuration", "status", "store", "rule_problems", "runs", "events", "problems", "acts"] {
        assert!(!bundle[part].is_null(), "{part}");
    }
    assert!(bundle["runs"].as_array().is_some_and(|runs| runs.len() > 5) && bundle["configuration"]["syncline.toml"].is_string());
    let text = stdout(&output).to_lowercase();
    for person in ["ada@", "emil@", "oldhand", "cn=ada", "cn=emil"] {
        assert!(!text.contains(person), "{person}");
    }
    let named = with_config(&config, &["support", "bundle", "--with-names"]);
    assert!(stdout(&named).contains("ada@corp.example"), "what was typed is in it when it is asked for");
    for secret in fs::read_dir(config.join("tenant"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|file| file.path().extension().is_some_and(|end| end == "json"))
    {
        let credentials: Value = serde_json::from_slice(&fs::read(secret.path()).expect("ours")).expect("JSON");
        for (name, value) in credentials.as_object().expect("fields") {
            if let Some(value) = value.as_str().filter(|value| value.len() >= 16 && name.to_lowercase().contains("secret")) {
                assert!(!stdout(&named).contains(value), "{name}");
            }
        }
    }
}

/// A real limit of the system, as a quota or a full disk would be.
#[test]
fn a_store_that_cannot_grow_says_why_and_what_to_do() {
    let world = small_world();
    let config = world.path().join("config");
    let program = assert_cmd::cargo::cargo_bin("syncline");
    let limited = "trap '' XFSZ; ulimit -f 64; exec \"$0\" --config \"$1\" cycle start --initial";
    let output = std::process::Command::new("sh").args(["-c", limited]).arg(program).arg(&config).output().expect("a shell");
    let told = stdout(&output) + &stderr(&output);
    assert!(matches!(output.status.code(), Some(3 | 4)), "{told}");
    assert!(told.contains("File too large") && told.contains("may not grow any more") && told.contains("Raise that limit"), "{told}");
}

#[test]
fn shells_and_pagers_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = syncline(["completions", shell]);
        assert_code(&output, 0);
        assert!(stdout(&output).contains("scheduler"), "{shell}");
    }
    assert_code(&syncline(["completions", "nu-such-shell"]), 64);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let pages = folder.path().join("man");
    assert_code(&syncline(["man", pages.to_str().expect("a plain path")]), 0);
    let page = fs::read_to_string(pages.join("syncline-scheduler-set.1")).expect("a page for each command");
    assert!(page.contains(".TH") && page.contains("interval"), "{page}");
}
