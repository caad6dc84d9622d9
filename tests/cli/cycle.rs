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
fn a_tenant_that_cannot_be_started_keeps_nobody_from_being_read() {
    let world = small_world();
    let config = world.path().join("config");
    // In the way of the tenant's folder.
    fs::write(config.join("tenant"), "").unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_ne!(output.status.code(), Some(0));
    let told = document(&output);
    let results: Vec<_> = told["runs"].as_array().unwrap().iter().map(|run| (run["connector"].as_str(), run["result"].as_str())).collect();
    assert_eq!(results[..2], [(Some("corp.example"), Some("success")), (Some("Entra"), Some("no-start-connection"))], "{told:#}");
    fs::remove_file(config.join("tenant")).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    assert_eq!(counted(&document(&output), "export-add"), 5);
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
    // What comes before it is told with its reason.
    assert_code(&with_config(&config, &["scheduler", "override", "corp.example", "--full-sync"]), 0);
    let shown = document(&with_config(&config, &["--json", "export", "--what-if"]));
    let wanted =
        "corp.example is synchronized as a whole first, because somebody asked for it: `syncline run start 'corp.example' full-sync`";
    assert!(shown["targets"][0]["outstanding"].as_array().unwrap().iter().any(|sentence| sentence == wanted), "{shown:#}");
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
fn entries_that_are_no_objects_yet_are_among_the_problems() {
    let world = small_world();
    let config = world.path().join("config");
    let file = world.path().join("people.ldif");
    let text = fs::read_to_string(&file).unwrap();
    let bad = text.replace("department: Engines", "thumbnailPhoto:: %%%not-base64").replace("objectGUID:: VVVVVVVVVVVVVVVVVVVVVQ==\n", "");
    fs::write(&file, bad).unwrap();
    let output = with_config(&config, &["run", "start", "corp.example", "full-import"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains(&format!("syncline --config {} errors", config.display())), "{}", stderr(&output));
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 2);
    let output = with_config(&config, &["--json", "errors"]);
    assert_code(&output, 0);
    let problems = document(&output)["problems"].as_array().unwrap().clone();
    let of = |code: &str| problems.iter().find(|problem| problem["code"] == code).unwrap_or_else(|| panic!("{problems:#?}"));
    let (photo, contact) = (of("invalid-base64-value"), of("missing-anchor-component"));
    assert_eq!(photo["dn"], "CN=Ada Byron,OU=People,DC=corp,DC=example");
    assert_eq!(contact["dn"], "CN=Partner Pat,OU=People,DC=corp,DC=example");
    assert!(photo["id"].is_null() && photo["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problems:#?}");
    assert!(photo["first_seen"].as_str() < photo["last_seen"].as_str(), "the first import saw it, too: {problems:#?}");
    fs::write(&file, text).unwrap();
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    assert_eq!(document(&with_config(&config, &["--json", "errors"]))["problems"].as_array().unwrap().len(), 0);
}

#[test]
fn a_cycle_that_can_do_nothing_is_no_success() {
    for (gone, told) in
        [(&["10-corp.example"][..], "no source"), (&["90-entra"], "no target"), (&["10-corp.example", "90-entra"], "no connector")]
    {
        let world = small_world();
        let config = world.path().join("config");
        for name in gone {
            fs::remove_file(config.join(format!("connectors/{name}.toml"))).unwrap();
        }
        let output = with_config(&config, &["cycle", "start"]);
        assert_code(&output, 1);
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
    }
    let world = small_world();
    let config = world.path().join("config");
    let connector = config.join("connectors/10-corp.example.toml");
    let text = fs::read_to_string(&connector).unwrap();
    fs::write(&connector, format!("{text}\n[selection]\nobject_types = [\"printer\"]\n")).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 1);
    let warnings = document(&output)["warnings"].clone();
    assert!(warnings[0].as_str().unwrap().contains("10-corp.example.toml"), "{warnings:#}");
}

#[test]
fn lesson_10_an_empty_source_stops_before_deletes_are_staged() {
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
    let target = &document(&output)["targets"][0];
    assert_eq!((target["deletes"].as_u64(), target["delete_limit"].as_u64()), (Some(1), Some(0)));
    let set = target["delete_set"].as_str().unwrap();
    // What is proposed can be pasted.
    let proposed = stderr(&with_config(&config, &["export", "--what-if"]));
    let proposed = proposed.lines().find_map(|line| line.trim().strip_prefix("syncline ")).unwrap();
    assert_eq!(proposed, format!("--config {} export Entra --allow-deletes {set}", config.display()));
    let other = format!("{}{}", &set[..set.len() - 1], if set.ends_with('0') { '1' } else { '0' });
    for (wrong, code) in [(other.as_str(), 5), ("1", 64)] {
        assert_code(&with_config(&config, &["--json", "export", "Entra", "--allow-deletes", wrong]), code);
    }
    let output = with_config(&config, &["--json", "export", "Entra", "--allow-deletes", set]);
    assert_code(&output, 0);
    assert_eq!(counted(&document(&output), "export-delete"), 1);
}

/// The first account of the directory moves to a second directory that cannot be read just then.
#[test]
fn lesson_08_nobody_is_deleted_while_a_directory_cannot_be_read() {
    let world = small_world();
    let config = world.path().join("config");
    let second = world.path().join("second.ldif");
    fs::write(&second, "version: 1\n").unwrap();
    let first = config.join("connectors/10-corp.example.toml");
    let text = fs::read_to_string(&first).unwrap();
    let other = text.replace("name = \"corp.example\"", "name = \"second\"").replace("people.ldif", "second.ldif");
    assert_ne!(other, text);
    fs::write(config.join("connectors/20-second.toml"), other).unwrap();
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);

    let file = world.path().join("people.ldif");
    let text = fs::read_to_string(&file).unwrap();
    let start = text.find("dn: CN=Old Hand").unwrap();
    let end = start + text[start..].find("dn: CN=Engineers").unwrap();
    fs::write(&file, format!("{}{}", &text[..start], &text[end..])).unwrap();
    fs::remove_file(&second).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    let shown = document(&output);
    assert_eq!((counted(&shown, "stage-delete"), counted(&shown, "export-delete")), (1, 0), "{shown:#}");
    let export = shown["runs"].as_array().unwrap().iter().find(|run| run["profile"] == "Export").unwrap();
    assert_eq!(export["result"], "completed-warnings");
    let message = export["steps"][0]["message"].as_str().unwrap();
    assert!(message.contains("1 delete was not sent") && message.contains("second could not be read"), "{message}");

    fs::write(&second, format!("version: 1\n\n{}", &text[start..end])).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    assert_eq!(counted(&document(&output), "export-delete"), 0, "the person is still there, in the other directory");
    assert_eq!(exported(&document(&with_config(&config, &["--json", "cycle", "start"]))), 0);
}

#[test]
fn in_staging_mode_everything_is_worked_out_and_nothing_is_sent() {
    let world = small_world();
    let config = world.path().join("config");
    let main = config.join("syncline.toml");
    let text = fs::read_to_string(&main).unwrap();
    fs::write(&main, text.replace("[guard]\n", "[guard]\nstaging = true\n")).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start", "--initial"]);
    assert_code(&output, 0);
    assert_eq!(exported(&document(&output)), 0);
    let output = with_config(&config, &["--json", "export", "--what-if"]);
    let target = &document(&output)["targets"][0];
    assert_eq!((target["adds"].as_u64(), target["staging"].as_bool()), (Some(5), Some(true)));
    let output = with_config(&config, &["--json", "export"]);
    assert_code(&output, 4);
    assert!(crate::stdout(&output).contains("staging"));
    fs::write(&main, text).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    assert_eq!(exported(&document(&output)), 5);
}

/// The directory told about less than a new rule reads: only reading it all again helps.
#[test]
fn when_rules_read_more_than_before_everything_is_imported_again() {
    let world = small_world();
    let config = world.path().join("config");
    let connector = config.join("connectors/10-corp.example.toml");
    let changes = world.path().join("changes.ldif");
    fs::write(&changes, "version: 1\n").unwrap();
    let text = fs::read_to_string(&connector).unwrap();
    fs::write(&connector, format!("changes = \"{}\"\n{text}", changes.display())).unwrap();
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let kinds = |output: &std::process::Output| -> Vec<String> {
        let shown = document(output);
        assert!(shown["runs"].is_array(), "{shown:#}");
        let runs = shown["runs"].as_array().unwrap().iter().filter(|run| run["connector"] == "corp.example").cloned().collect::<Vec<_>>();
        runs.iter().map(|run| run["profile"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&with_config(&config, &["--json", "cycle", "start"])), ["Delta Import", "Delta Synchronization"]);
    fs::create_dir_all(config.join("rules")).unwrap();
    let rule = "[[rule]]\nname = \"In from corp - Rooms\"\ndirection = \"inbound\"\nconnector = \"corp.example\"\ncs_type = \"user\"\n\
                mv_type = \"person\"\nlink = \"join\"\norder = 50\ndirect = [\"description <- roomNumber\"]\n";
    fs::write(config.join("rules/50-rooms.toml"), rule).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 0);
    assert_eq!(kinds(&output), ["Full Import", "Full Synchronization"]);
    assert_eq!(kinds(&with_config(&config, &["--json", "cycle", "start"])), ["Delta Import", "Delta Synchronization"]);
    // What rules read as parameters is a part of the rules.
    fs::write(
        &connector,
        format!("changes = \"{}\"\n{}", changes.display(), text.replace("domain_netbios = \"CORP\"", "domain_netbios = \"NEW\"")),
    )
    .unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_eq!(kinds(&output), ["Delta Import", "Full Synchronization"], "{:#}", document(&output));
}
