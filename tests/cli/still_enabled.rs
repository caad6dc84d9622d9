//! Who is disabled in a directory and still enabled in the cloud is told first, by name, wherever somebody looks.

use crate::{PEOPLE, assert_code, document, small_world, stdout, with_config};
use serde_json::Value;
use std::fs;

const ADA: &str = "CN=Ada Byron,OU=People,DC=corp,DC=example";

/// A rule that fails for whoever is disabled, as rules about anchors do for whoever is in two directories.
const RULE: &str = "[[rule]]\nname = \"In from HR - Own\"\ndirection = \"inbound\"\nconnector = \"corp.example\"\ncs_type = \"user\"\n\
                    mv_type = \"person\"\nlink = \"join\"\norder = 50\n\
                    flows = [{ to = \"title\", expr = 'IIF([employeeType] = \"broken\", Error(\"It has changed\"), [title])' }]\n";

#[test]
fn whoever_is_disabled_and_still_enabled_in_the_cloud_is_told_first_and_by_name() {
    let world = small_world();
    let config = world.path().join("config");
    fs::create_dir_all(config.join("rules")).expect("a folder");
    fs::write(config.join("rules/own.toml"), RULE).expect("a file");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    assert!(!stdout(&with_config(&config, &["status"])).contains("still enabled"));

    // Disabled, and her synchronization fails: nothing of it goes.
    let account = PEOPLE.split("\n\n").find(|entry| entry.contains(&format!("dn: {ADA}"))).expect("she is there");
    let control = account.lines().find(|line| line.starts_with("userAccountControl: ")).expect("an account");
    let shut = account.replace(control, "userAccountControl: 514\nemployeeType: broken");
    let file = world.path().join("people.ldif");
    fs::write(&file, PEOPLE.replace(account, &shut)).expect("the folder can be written");
    with_config(&config, &["cycle", "start"]);
    let output = with_config(&config, &["--json", "status"]);
    assert_code(&output, 2);
    let status = document(&output);
    let first = &status["attention"][0];
    let what = first["what"].as_str().unwrap_or_default();
    assert_eq!((&status["health"], &first["level"]), (&"trouble".into(), &"trouble".into()), "{status:#}");
    for part in [
        ADA,
        "disabled in corp.example and still enabled in",
        "the synchronization of these people fails",
        "sync-rule-error-function-triggered",
    ] {
        assert!(what.contains(part), "{part}: {status:#}");
    }
    let problems = document(&with_config(&config, &["--json", "errors"]));
    assert!(problems["still_enabled"][0].as_str().is_some_and(|text| text.contains(ADA)), "{problems:#}");
    assert!(stdout(&with_config(&config, &["errors"])).trim_start().starts_with("!! 1 person is disabled"), "{problems:#}");
    let doctor = with_config(&config, &["doctor"]);
    assert_code(&doctor, 2);
    assert!(stdout(&doctor).contains("still enabled"), "{}", stdout(&doctor));

    // What lets her synchronization succeed disables her, and nothing is said any more.
    fs::write(&file, PEOPLE.replace(account, &shut.replace("\nemployeeType: broken", ""))).expect("the folder can be written");
    with_config(&config, &["cycle", "start"]);
    with_config(&config, &["cycle", "start"]);
    let status = document(&with_config(&config, &["--json", "status"]));
    assert!(!status.to_string().contains("still enabled"), "{status:#}");
    assert_eq!(document(&with_config(&config, &["--json", "errors"]))["still_enabled"], Value::Null);
}

/// Nobody can be named before the directory is read again; that nobody is disabled is told all the same.
#[test]
fn behind_a_guard_it_is_told_that_nobody_is_disabled() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    fs::write(world.path().join("people.ldif"), "").expect("the folder can be written");
    let cycle = with_config(&config, &["cycle", "start"]);
    assert_code(&cycle, 5);
    let status = document(&with_config(&config, &["--json", "status"]));
    let first = &status["attention"][0];
    let what = first["what"].as_str().unwrap_or_default();
    assert!(what.starts_with("while corp.example is stopped by the guard '"), "{status:#}");
    assert!(what.ends_with("whoever is disabled or deleted there stays enabled in the cloud"), "{status:#}");
    assert_eq!(first["level"], "trouble", "{status:#}");
    fs::write(world.path().join("people.ldif"), PEOPLE).expect("the folder can be written");
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    assert!(!document(&with_config(&config, &["--json", "status"])).to_string().contains("stays enabled"));
}
