//! Configurations that cannot work: the message names the place, and nothing is begun.

use crate::{assert_code, document, small_world, stderr, stdout, syncline, with_config};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_typo_is_named_with_its_place_and_what_was_meant() {
    let world = small_world();
    let config = world.path().join("config");
    let main = config.join("syncline.toml");
    let text = fs::read_to_string(&main).unwrap().replace("max_deletes", "max_delets");
    fs::write(&main, text).unwrap();
    let output = with_config(&config, &["cycle", "start"]);
    assert_code(&output, 4);
    insta::assert_snapshot!(stderr(&output), @r"
    error: syncline.toml:7:1: unknown key `max_delets` (did you mean `max_deletes`?)
      7 | max_delets = 500
        | ^^^^^^^^^^
    ");
    assert!(!config.join("syncline.redb").exists(), "a configuration that cannot work makes no store");
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 4);
    assert_eq!(document(&output)["error"]["kind"], "configuration");
}

#[test]
fn no_configuration_says_how_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = with_config(folder.path(), &["run", "list"]);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("syncline init"), "{}", stderr(&output));
}

#[test]
fn no_store_yet_is_told_apart_from_an_empty_one() {
    let world = small_world();
    let output = with_config(&world.path().join("config"), &["cs", "search", "corp.example"]);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("there is no store at"), "{}", stderr(&output));
}

#[test]
fn a_foreign_file_as_store_is_left_alone() {
    let world = small_world();
    let foreign = world.path().join("letter.txt");
    fs::write(&foreign, "Dear Ada,\n").unwrap();
    let config = world.path().join("config");
    let output = with_config(&config, &["--store", foreign.to_str().unwrap(), "run", "list"]);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("is not a Syncline store"), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "Dear Ada,\n");
}

#[test]
fn a_rule_that_does_not_compile_names_file_and_line() {
    let world = small_world();
    let config = world.path().join("config");
    fs::create_dir(config.join("rules")).unwrap();
    fs::write(config.join("rules/own.toml"), "[[rule]]\nname = \"Own\"\ndirectoin = \"inbound\"\n").unwrap();
    let output = with_config(&config, &["rules", "lint"]);
    assert_code(&output, 2);
    assert!(stdout(&output).contains("rules/own.toml:3:"), "{}", stdout(&output));
    let output = with_config(&config, &["cycle", "start"]);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("rules/own.toml:3:"), "{}", stderr(&output));
}

#[test]
fn init_copies_secrets_with_mode_0600_and_writes_none_into_files() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "correct horse\n").unwrap();
    let config = folder.path().join("config");
    let arguments = [
        "init",
        "--source",
        "ad",
        "--url",
        "ldaps://dc1.corp.example",
        "--bind-name",
        "svc@corp.example",
        "--domain",
        "corp.example",
        "--secret-file",
        password.to_str().unwrap(),
    ];
    let output = with_config(&config, &arguments);
    assert_code(&output, 0);
    let secret = config.join("secrets/directory-bind");
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    for file in ["syncline.toml", "connectors/10-corp.example.toml", "connectors/90-entra.toml"] {
        assert!(!fs::read_to_string(config.join(file)).unwrap().contains("correct horse"), "{file}");
    }
    assert!(!stdout(&output).contains("correct horse"));
    let again = with_config(&config, &arguments);
    assert_code(&again, 4);
    assert!(stderr(&again).contains("exists already"), "{}", stderr(&again));
}

#[test]
fn a_secret_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let arguments =
        ["init", "--source", "ad", "--url", "ldaps://127.0.0.1:1", "--bind-name", "svc@corp.example", "--domain", "corp.example"];
    assert_code(&with_config(&config, &arguments), 0);
    let secret = config.join("secrets/directory-bind");
    fs::create_dir(config.join("secrets")).unwrap();
    fs::write(&secret, "correct horse").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let output = with_config(&config, &["run", "start", "corp.example", "full-import"]);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("chmod 600") && !stderr(&output).contains("correct horse"), "{}", stderr(&output));
}

#[test]
fn a_missing_flag_is_a_wrong_call() {
    let folder = tempfile::tempdir().unwrap();
    let output = syncline(["--config", folder.path().join("c").to_str().unwrap(), "init", "--source", "ad"]);
    assert_code(&output, 64);
    assert!(stderr(&output).contains("--url"), "{}", stderr(&output));
}
