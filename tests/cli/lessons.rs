//! Lessons of the field that a person can cause with a directory and a configuration: what users of other synchronizers complained about,
//! done to this one (docs/testing.md, "Lessons of the field"). Each ends with nobody deleted who should not be.

use crate::{PEOPLE, assert_code, counted, document, exported, small_world, stdout, with_config};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A world that was synchronized once.
fn synchronized() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let world = small_world();
    let (config, file) = (world.path().join("config"), world.path().join("people.ldif"));
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    (world, config, file)
}

/// A cycle that must end with this exit code.
#[track_caller]
fn cycle(config: &Path, code: i32) -> Value {
    let output = with_config(config, &["--json", "cycle", "start"]);
    assert_code(&output, code);
    document(&output)
}

#[track_caller]
fn nobody_went(shown: &Value) {
    assert_eq!((counted(shown, "export-delete"), counted(shown, "export-add")), (0, 0), "{shown:#}");
}

/// Searches must not wait for a directory: our own store answers.
#[test]
fn lesson_05_questions_are_answered_without_the_directory() {
    let (_world, config, file) = synchronized();
    fs::remove_file(file).unwrap();
    for question in [
        &["cs", "show", "Entra:ada@corp.example"][..],
        &["mv", "search", "Köhler"],
        &["object", "explain", "ada@corp.example"],
        &["status"],
    ] {
        let output = with_config(&config, question);
        assert!(output.status.code() < Some(3), "{question:?}");
        assert!(!stdout(&output).is_empty(), "{question:?}");
    }
    assert!(stdout(&with_config(&config, &["mv", "search", "Köhler"])).contains("Emil"));
    // And a directory that is not there deletes nobody.
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert!(output.status.code() >= Some(3));
    nobody_went(&document(&output));
}

/// A base that finds nobody, as after a typing error, is no empty company.
#[test]
fn lesson_06_a_wrong_scope_finds_nobody_and_deletes_nobody() {
    let (_world, config, _) = synchronized();
    let source = fs::read_dir(config.join("connectors")).unwrap().map(|entry| entry.unwrap().path());
    let source = source.into_iter().find(|path| fs::read_to_string(path).unwrap().contains("\"ldif\"")).unwrap();
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, format!("{text}\n[selection]\ninclude = [\"OU=Peolpe,DC=corp,DC=example\"]\n")).unwrap();
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert!(output.status.code() >= Some(3), "{}", stdout(&output));
    let shown = document(&output);
    nobody_went(&shown);
    assert_eq!(counted(&shown, "stage-delete"), 0, "{shown:#}");
    fs::write(&source, text).unwrap();
    assert_eq!(exported(&cycle(&config, 0)), 0);
}

/// Values are values: no character in them divides or ends anything.
#[test]
fn lesson_14_separators_in_names_split_nothing() {
    let (_world, config, file) = synchronized();
    let name = "R&D; Köln, \"A|B\" 1/2 (x,y;z)";
    let people = PEOPLE.replace("displayName: Engineers\n", &format!("displayName: {name}\ndescription: a;b,c|d\n"));
    let people = people.replace("department: Engines\n", "department: Engines; Looms, and Cards|1\n");
    fs::write(&file, people).unwrap();
    let shown = cycle(&config, 0);
    assert_eq!(counted(&shown, "export-update"), 2, "{shown:#}");
    nobody_went(&shown);
    let group = document(&with_config(&config, &["--json", "cs", "search", "Entra", "--where", "displayName=R&D*"]));
    let id = group["objects"][0]["id"].as_str().unwrap_or_else(|| panic!("{group:#}"));
    let whole = document(&with_config(&config, &["--json", "cs", "show", id]));
    let values = |name: &str| {
        let attributes = whole["attributes"].as_array().unwrap_or_else(|| panic!("{whole:#}"));
        let found = attributes.iter().find(|attribute| attribute["name"] == name).unwrap_or_else(|| panic!("{name}: {whole:#}"));
        found["values"].as_array().unwrap().len()
    };
    assert_eq!((values("displayName"), values("member")), (1, 2));
    assert!(whole.to_string().contains("(x,y;z)"), "{whole:#}");
    assert_eq!(exported(&cycle(&config, 0)), 0, "nothing is left to be said");
}

/// Groups that contain each other, and themselves.
#[test]
fn lesson_15_groups_in_a_circle_come_to_rest() {
    let (_world, config, file) = synchronized();
    let group = |name: &str, number: u8, members: &[&str]| {
        let members: Vec<String> = members.iter().map(|member| format!("member: CN={member},OU=People,DC=corp,DC=example\n")).collect();
        format!(
            "\ndn: CN={name},OU=People,DC=corp,DC=example\nobjectClass: top\nobjectClass: group\nobjectGUID:: AQEBAQEBAQEBAQEBAQE{number}AA==\n\
             cn: {name}\ndisplayName: {name}\nsAMAccountName: {name}\ngroupType: -2147483646\n{}",
            members.concat()
        )
    };
    let circle = [group("One", 1, &["Two", "One"]), group("Two", 2, &["Three"]), group("Three", 3, &["One", "Ada Byron"])].concat();
    fs::write(&file, format!("{PEOPLE}{circle}")).unwrap();
    let shown = cycle(&config, 0);
    assert_eq!(
        (counted(&shown, "export-add"), counted(&shown, "export-delete"), counted(&shown, "export-failure")),
        (3, 0, 0),
        "{shown:#}"
    );
    assert_eq!(exported(&cycle(&config, 0)), 0);
    assert_eq!(exported(&document(&with_config(&config, &["--json", "cycle", "start", "--initial"]))), 0);
}

/// Somebody marries and moves to another office: the same person, with everything that belongs to them.
#[test]
fn lesson_16_a_rename_and_a_move_keep_the_person() {
    let (_world, config, file) = synchronized();
    let people = PEOPLE
        .replace("CN=Ada Byron,OU=People,", "CN=Ada Lovelace,OU=Moved,OU=People,")
        .replace("cn: Ada Byron\nsn: Byron", "cn: Ada Lovelace\nsn: Lovelace")
        .replace("displayName: Ada Byron", "displayName: Ada Lovelace")
        .replace("userPrincipalName: ada@", "userPrincipalName: ada.lovelace@");
    assert_ne!(people, PEOPLE);
    fs::write(&file, people).unwrap();
    let shown = cycle(&config, 0);
    nobody_went(&shown);
    assert_eq!(counted(&shown, "export-update"), 1, "{shown:#}");
    // Who refers to them still does: nothing is left for the group and the manager.
    assert_eq!(exported(&cycle(&config, 0)), 0);
    assert!(stdout(&with_config(&config, &["cs", "show", "Entra:ada.lovelace@corp.example"])).contains("Ada Lovelace"));
}

/// Names are compared as names: case, blanks and escapes do not make another person of anybody.
#[test]
fn lesson_23_names_are_compared_as_names_and_not_as_texts() {
    let (_world, config, file) = synchronized();
    let people = PEOPLE
        .replace("dn: CN=Ada Byron,", "dn: CN=Byron\\, Ada \\+1,")
        .replace("cn: Ada Byron", "cn: Byron, Ada +1")
        .replace("member: CN=Ada Byron,OU=People,DC=corp,DC=example", "member: cn=byron\\2c ada \\2B1, ou=PEOPLE,dc=Corp,DC=EXAMPLE")
        .replace("manager: CN=Ada Byron,OU=People,DC=corp,DC=example", "manager: CN=Byron\\2C Ada \\+1,OU=people,DC=corp,DC=example");
    fs::write(&file, people).unwrap();
    let shown = cycle(&config, 0);
    nobody_went(&shown);
    assert_eq!(exported(&cycle(&config, 0)), 0);
    let group = document(&with_config(&config, &["--json", "cs", "search", "Entra", "--where", "displayName=Engineers"]));
    let id = group["objects"][0]["id"].as_str().unwrap_or_else(|| panic!("{group:#}"));
    let whole = document(&with_config(&config, &["--json", "cs", "show", id]));
    let attributes = whole["attributes"].as_array().unwrap_or_else(|| panic!("{whole:#}"));
    let member = attributes.iter().find(|attribute| attribute["name"] == "member").unwrap_or_else(|| panic!("{whole:#}"));
    assert_eq!(member["values"].as_array().map(Vec::len), Some(2), "{whole:#}");
}
