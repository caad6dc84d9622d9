//! Cycles from LDIF files into the embedded tenant, and what stops them.

use crate::{assert_code, counted, document, exported, small_world, stderr, with_config};
use std::fs;

#[test]
fn a_second_cycle_has_nothing_to_do_and_a_change_is_one_export() {
    let world = small_world();
    let config = world.path().join("config");
    let first = with_config(&config, &["--json", "cycle", "start", "--initial"]);
    assert_code(&first, 0);
    assert_eq!(counted(&document(&first), "export-add"), 5);
    let second = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&second, 0);
    assert_eq!(exported(&document(&second)), 0);

    let file = world.path().join("people.ldif");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("department: Engines", "department: Analytics")).unwrap();
    let third = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&third, 0);
    assert_eq!((counted(&document(&third), "export-update"), exported(&document(&third))), (1, 1));
}

#[test]
fn what_if_shows_the_change_and_sends_nothing() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-sync"]), 0);
    let output = with_config(&config, &["--json", "export", "--what-if"]);
    assert_code(&output, 0);
    let target = &document(&output)["targets"][0];
    assert_eq!((target["adds"].as_u64(), target["deletes"].as_u64()), (Some(5), Some(0)));
    let again = with_config(&config, &["--json", "export", "--what-if"]);
    assert_eq!(document(&again), document(&output), "looking changes nothing");
}

#[test]
fn a_truncated_file_deletes_nothing() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let file = world.path().join("people.ldif");
    let text = fs::read_to_string(&file).unwrap();
    let cut = text.find("sAMAccountName: emil").unwrap() + 8;
    fs::write(&file, &text[..cut]).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_ne!(output.status.code(), Some(0));
    assert_eq!(counted(&document(&output), "export-delete"), 0);
    assert_eq!(counted(&document(&output), "stage-delete"), 0);
}

#[test]
fn bad_base64_is_a_problem_of_one_object() {
    let world = small_world();
    let config = world.path().join("config");
    let file = world.path().join("people.ldif");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("department: Engines", "thumbnailPhoto:: %%%not-base64")).unwrap();
    let output = with_config(&config, &["--json", "run", "start", "corp.example", "full-import"]);
    assert_code(&output, 2);
    assert_eq!(document(&output)["runs"][0]["result"], "completed-discovery-errors");
    assert_eq!(counted(&document(&output), "stage-failure"), 1);
}

#[test]
fn an_empty_source_stops_before_deletes_are_staged() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    fs::write(world.path().join("people.ldif"), "version: 1\n").unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 5);
    assert_eq!(counted(&document(&output), "stage-delete"), 0);
    assert_eq!(exported(&document(&output)), 0);
}

#[test]
fn a_missing_file_is_a_run_that_did_not_start() {
    let world = small_world();
    let config = world.path().join("config");
    fs::remove_file(world.path().join("people.ldif")).unwrap();
    let output = with_config(&config, &["run", "start", "corp.example", "full-import"]);
    assert!(matches!(output.status.code(), Some(3 | 4)), "{}", stderr(&output));
    let shown = crate::stdout(&output) + &stderr(&output);
    assert!(shown.contains("people.ldif"), "{shown}");
}

#[test]
fn the_threshold_stops_an_export_until_the_deletes_were_reviewed() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let main = config.join("syncline.toml");
    fs::write(&main, fs::read_to_string(&main).unwrap().replace("max_deletes = 500", "max_deletes = 0")).unwrap();
    let file = world.path().join("people.ldif");
    let text = fs::read_to_string(&file).unwrap();
    let (before, after) = text.split_once("dn: CN=Old Hand").unwrap();
    let after = &after[after.find("dn: CN=Engineers").unwrap()..];
    fs::write(&file, format!("{before}{after}")).unwrap();

    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 5);
    assert_eq!(exported(&document(&output)), 0);
    let output = with_config(&config, &["--json", "export", "--what-if"]);
    assert_code(&output, 5);
    assert_eq!(document(&output)["targets"][0]["deletes"], 1);
    let output = with_config(&config, &["--json", "export", "Entra", "--allow-deletes", "2"]);
    assert_code(&output, 5);
    let output = with_config(&config, &["--json", "export", "Entra", "--allow-deletes", "1"]);
    assert_code(&output, 0);
    assert_eq!(counted(&document(&output), "export-delete"), 1);
}
