//! Who is disabled in a directory and still enabled in the cloud is told first, by name, wherever somebody looks.

use crate::{PEOPLE, assert_code, document, small_world, stdout, with_config};
use serde_json::Value;
use std::fs;
use std::path::Path;

const ADA: &str = "CN=Ada Byron,OU=People,DC=corp,DC=example";

/// A rule that fails for whoever is disabled, as rules about anchors do for whoever is in two directories.
const RULE: &str = "[[rule]]\nname = \"In from HR - Own\"\ndirection = \"inbound\"\nconnector = \"corp.example\"\ncs_type = \"user\"\n\
                    mv_type = \"person\"\nlink = \"join\"\norder = 50\n\
                    flows = [{ to = \"title\", expr = 'IIF([employeeType] = \"broken\", Error(\"It has changed\"), [title])' }]\n";

/// A rule that writes to the directory. Nobody is in its scope, and the directory is a target all the same.
const WRITES_BACK: &str = "[[rule]]\nname = \"Out to HR - Own\"\ndirection = \"outbound\"\nconnector = \"corp.example\"\ncs_type = \"user\"\n\
                           mv_type = \"person\"\nlink = \"join\"\norder = 60\n\
                           scope = [[{ attr = \"title\", op = \"EQUAL\", value = \"nobody\" }]]\n\
                           flows = [{ to = \"description\", from = \"title\" }]\n";

/// Ada's account as it is and as it is disabled; nothing of that goes while her synchronization fails.
fn ada() -> (&'static str, String) {
    let account = PEOPLE.split("\n\n").find(|entry| entry.contains(&format!("dn: {ADA}"))).expect("she is there");
    let control = account.lines().find(|line| line.starts_with("userAccountControl: ")).expect("an account");
    (account, account.replace(control, "userAccountControl: 514\nemployeeType: broken"))
}

fn write_rules(config: &Path, rules: &str) {
    fs::create_dir_all(config.join("rules")).expect("a folder");
    fs::write(config.join("rules/own.toml"), rules).expect("a file");
}

/// The findings of `doctor` that have these words.
fn diagnosed(config: &Path, words: &str) -> Vec<Value> {
    let found = document(&with_config(config, &["--json", "doctor"]));
    let all = found["findings"].as_array().unwrap_or_else(|| panic!("{found:#}"));
    all.iter().filter(|finding| finding.to_string().contains(words)).cloned().collect()
}

#[test]
fn whoever_is_disabled_and_still_enabled_in_the_cloud_is_told_first_and_by_name() {
    let world = small_world();
    let config = world.path().join("config");
    write_rules(&config, RULE);
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    assert!(!stdout(&with_config(&config, &["status"])).contains("still enabled"));

    // Disabled, and her synchronization fails: nothing of it goes.
    let (account, shut) = ada();
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
    assert_eq!(first["command"], "syncline errors 'corp.example'", "{status:#}");
    let doctor = with_config(&config, &["doctor"]);
    assert_code(&doctor, 2);
    let diagnosed = diagnosed(&config, "still enabled");
    assert_eq!((diagnosed.len(), &diagnosed[0]["level"]), (1, &"fail".into()), "{diagnosed:#?}");

    // Whoever hears of things by mail hears of this first.
    let alerts = document(&with_config(&config, &["--json", "alerts", "show"]));
    let alert = &alerts["found"][0];
    assert_eq!((&alert["condition"], &alert["subject"]), (&"still-enabled".into(), &"corp.example".into()), "{alerts:#}");
    assert!(alert["text"].as_str().is_some_and(|text| text.contains(ADA)), "{alerts:#}");
    let main = config.join("syncline.toml");
    let before = fs::read_to_string(&main).expect("text");
    fs::write(&main, format!("{before}\n[alerts]\nconditions = [\"no-cycle\"]\n")).expect("the folder can be written");
    assert_eq!(document(&with_config(&config, &["--json", "alerts", "show"]))["found"], serde_json::json!([]));
    fs::write(&main, before).expect("the folder can be written");

    // Who helps hears of it, and of nobody.
    assert_code(&with_config(&config, &["scheduler", "suspend", "--reason", "Ada is on leave"]), 0);
    let bundle = with_config(&config, &["support", "bundle"]);
    assert_code(&bundle, 0);
    assert_eq!(document(&bundle)["status"]["attention"][0]["command"], first["command"]);
    let text = stdout(&bundle).to_lowercase();
    for person in ["ada", "byron", "emil"] {
        assert!(!text.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == person), "{person}: {text}");
    }
    assert!(stdout(&with_config(&config, &["support", "bundle", "--with-names"])).contains(ADA));
    assert_code(&with_config(&config, &["scheduler", "resume"]), 0);

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
    let diagnosed = diagnosed(&config, "stays enabled");
    assert_eq!((diagnosed.len(), &diagnosed[0]["level"]), (1, &"fail".into()), "{diagnosed:#?}");
    fs::write(world.path().join("people.ldif"), PEOPLE).expect("the folder can be written");
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    assert!(!document(&with_config(&config, &["--json", "status"])).to_string().contains("stays enabled"));
}

/// With hybrid Exchange every directory is also written to.
#[test]
fn a_directory_that_rules_also_write_to_is_told_of_like_others() {
    let world = small_world();
    let config = world.path().join("config");
    let connector = config.join("connectors/10-corp.example.toml");
    let text = fs::read_to_string(&connector).expect("text");
    fs::write(&connector, format!("export = \"changes.ldif\"\n{text}")).expect("the folder can be written");
    write_rules(&config, &format!("{RULE}\n{WRITES_BACK}"));
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let (account, shut) = ada();
    let file = world.path().join("people.ldif");
    fs::write(&file, PEOPLE.replace(account, &shut)).expect("the folder can be written");
    with_config(&config, &["cycle", "start"]);
    let status = document(&with_config(&config, &["--json", "status"]));
    let targets: Vec<&Value> = status["connectors"].as_array().expect("connectors").iter().map(|connector| &connector["target"]).collect();
    assert_eq!(targets, [&Value::Bool(true); 2], "{status:#}");
    let what = status["attention"][0]["what"].as_str().unwrap_or_default();
    assert!(what.starts_with("1 person is disabled in corp.example and still enabled in Entra") && what.contains(ADA), "{status:#}");

    fs::write(&file, "").expect("the folder can be written");
    assert_code(&with_config(&config, &["cycle", "start"]), 5);
    let status = document(&with_config(&config, &["--json", "status"]));
    assert!(status["attention"].to_string().contains("while corp.example is stopped by the guard"), "{status:#}");
}

/// Deletes that are held, and exports that are stopped, keep no directory from being read.
#[test]
fn a_stopped_export_keeps_nobody_enabled_by_itself() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert_code(&with_config(&config, &["guard", "set", "--max-deletes", "1"]), 0);
    crate::two_people_leave(world.path());
    assert_code(&with_config(&config, &["cycle", "start"]), 5);
    let status = document(&with_config(&config, &["--json", "status"]));
    assert!(!status.to_string().contains("stays enabled"), "{status:#}");
}

/// The account in a forest of resources is disabled, that of the person beside it is not: nobody is to be disabled by hand.
#[test]
fn whoever_has_an_enabled_account_in_another_directory_is_rightly_enabled() {
    for enabled in [true, false] {
        let world = small_world();
        let config = world.path().join("config");
        let main = config.join("syncline.toml");
        let text = fs::read_to_string(&main).expect("text");
        fs::write(&main, format!("{text}\n[rules]\nuser_matching = \"mail\"\n")).expect("the folder can be written");
        let connector = fs::read_to_string(config.join("connectors/10-corp.example.toml")).expect("text");
        let lab = connector.replace("name = \"corp.example\"", "name = \"lab\"").replace("people.ldif", "lab.ldif");
        fs::write(config.join("connectors/20-lab.toml"), lab).expect("the folder can be written");
        let person = |control: u32| {
            format!(
                "dn: CN=Ada,OU=Lab,DC=lab,DC=example\nobjectClass: user\nobjectGUID:: ZmZmZmZmZmZmZmZmZmZmZg==\ncn: Ada\n\
                 sAMAccountName: ada\nuserPrincipalName: ada@corp.example\nmail: ada@corp.example\nuserAccountControl: {control}\n"
            )
        };
        fs::write(world.path().join("lab.ldif"), person(512)).expect("the folder can be written");
        write_rules(&config, RULE);
        assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
        assert_code(&with_config(&config, &["cycle", "start"]), 0);
        let (account, shut) = ada();
        fs::write(world.path().join("people.ldif"), PEOPLE.replace(account, &shut)).expect("the folder can be written");
        fs::write(world.path().join("lab.ldif"), person(if enabled { 512 } else { 514 })).expect("the folder can be written");
        with_config(&config, &["cycle", "start"]);
        let problems = document(&with_config(&config, &["--json", "errors"]));
        assert_eq!(problems["problems"][0]["code"], "sync-rule-error-function-triggered", "{problems:#}");
        let told = problems["still_enabled"].to_string();
        assert_eq!(told.contains("Ada"), !enabled, "enabled in the lab: {enabled}: {problems:#}");
    }
}
