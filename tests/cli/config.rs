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
    error: syncline.toml:7:1: unknown key `max_delets`
    hint: did you mean `max_deletes`?
    ");
    assert!(!config.join("syncline.redb").exists(), "a configuration that cannot work makes no store");
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 4);
    let error = &document(&output)["error"];
    assert_eq!(error["kind"], "configuration");
    assert_eq!(error["hints"][0], "did you mean `max_deletes`?");
}

#[test]
fn no_configuration_says_how_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = with_config(folder.path(), &["run", "list"]);
    assert_code(&output, 4);
    let init = format!("`syncline --config {} init`", folder.path().display());
    assert!(stderr(&output).contains(&init), "{}", stderr(&output));
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
    let output = with_config(&config, &["rule", "lint"]);
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

#[test]
fn a_first_look_is_plain_text() {
    let world = tempfile::tempdir().expect("a folder");
    let file = world.path().join("people.ldif");
    fs::write(&file, crate::PEOPLE).expect("a file");
    let init = ["init", "--source", "ldif", "--path", file.to_str().expect("a path"), "--domain", "corp.example", "--look"];
    let output = with_config(&world.path().join("config"), &init);
    assert_code(&output, 0);
    let shown = stdout(&output);
    assert!(!shown.contains('\u{fffd}') && shown.contains("\n\nEntra: "), "{shown}");
}

#[test]
fn init_writes_everything_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let people = folder.path().join("people.ldif");
    fs::write(&people, "version: 1\n").unwrap();
    let people = people.to_str().unwrap();
    let ldif = ["--source", "ldif", "--path", people];
    let server = ["--source", "ad", "--bind-name", "svc@corp.example", "--url"];
    let entra = ["--source", "ldif", "--path", people, "--tenant", "entra", "--tenant-id", "t", "--client-id", "c"];
    let cases: &[(&[&str], &[&str], &str)] = &[
        (&ldif, &["--name", "a/b"], "cannot be a connector's name"),
        (&ldif, &["--name", "O'Brien"], "must not hold quotes"),
        (&ldif, &["--name", "1"], "commands take numbers"),
        (&ldif, &["--name", "entra"], "the target's name"),
        (&ldif, &["--include", "garbage"], "--include garbage"),
        (&ldif, &["--domain", "."], "--domain .: this is no domain"),
        (&ldif, &["--verified-domain", "x@y"], "--verified-domain x@y"),
        (&ldif, &["--bind-name", "x"], "--bind-name has no meaning with --source ldif"),
        (&ldif, &["--tenant-id", "x"], "--tenant-id has no meaning with --tenant local"),
        (&server, &["ldap://dc1"], "the password would travel readable"),
        (&server, &["http://dc1"], "no address of an LDAP server"),
        (&server, &["ldaps://dc1", "--path", "x"], "--path has no meaning with --source ad"),
        (&server, &["ldaps://dc1", "--secret-file", "nowhere"], "cannot be read"),
        (&server, &["ldaps://dc1", "--ca-file", "nowhere"], "there is no file"),
        (&entra, &["--client-secret-file", "nowhere"], "cannot be read"),
        (&entra, &["--login-url", "login"], "--login-url login"),
    ];
    for (first, second, told) in cases {
        let config = folder.path().join("config");
        let output = with_config(&config, &[&["init"], *first, *second].concat());
        assert!(matches!(output.status.code(), Some(4 | 64)), "{second:?}");
        assert!(stderr(&output).contains(told), "{second:?}: {}", stderr(&output));
        assert!(!config.exists(), "{second:?} left something behind");
    }
    let config = folder.path().join("config");
    fs::create_dir_all(config.join("connectors")).unwrap();
    fs::write(config.join("connectors/90-entra.toml"), "# mine\n").unwrap();
    assert_code(&with_config(&config, &[&["init"], &ldif[..]].concat()), 4);
    assert_eq!(fs::read_dir(config.join("connectors")).unwrap().count(), 1);
}

#[test]
fn the_main_file_is_not_its_folder() {
    let world = small_world();
    let output = with_config(&world.path().join("config/syncline.toml"), &["run", "list"]);
    assert_code(&output, 4);
    assert!(stderr(&output).contains(&format!("--config {}", world.path().join("config").display())), "{}", stderr(&output));
}

#[test]
fn a_configuration_of_entra_connect_is_taken_over_and_written_back() {
    let world = tempfile::tempdir().unwrap();
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/migration/server");
    let (corp, back) = (world.path().join("corp"), world.path().join("back"));
    let import = ["config", "import-entra", fixture.to_str().unwrap(), "--tenant", "embedded"];
    let output = with_config(&corp, &import);
    assert_code(&output, 0);
    let text = stdout(&output);
    for part in ["6 rules with 20 flows", "0 failed", "still needed: the secret 'corp-example-bind'", "DisplayName is spelled displayName"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(corp.join("import-report.json").exists());
    // One rule has every operator there is in one group, which nobody can be in.
    let lint = with_config(&corp, &["rule", "lint"]);
    assert_code(&lint, 1);
    assert_eq!(stdout(&lint).matches("warning:").count(), 1, "{}", stdout(&lint));
    // Nothing that is there is overwritten, whatever it is.
    let output = with_config(&corp, &import);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("has a configuration already"), "{}", stderr(&output));
    let output = with_config(&corp, &["--json", "config", "export", back.to_str().unwrap(), "--format", "entra"]);
    assert_code(&output, 0);
    assert_eq!(document(&output)["files"].as_array().unwrap().len(), 9);
    assert_code(&with_config(&corp, &["config", "export", back.to_str().unwrap()]), 4);
    let copy = world.path().join("copy");
    assert_code(&with_config(&corp, &["config", "export", copy.to_str().unwrap()]), 0);
    assert_eq!(fs::read(copy.join("syncline.toml")).unwrap(), fs::read(corp.join("syncline.toml")).unwrap());
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(copy.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["counts"]["flows"], 20);
    assert!(!copy.join("import-report.json").exists(), "the report is no part of a configuration");
    // A second look as a document, from the XML that was written.
    let again = world.path().join("again");
    let output = with_config(&again, &["--json", "config", "import-entra", back.to_str().unwrap()]);
    assert_code(&output, 0);
    assert_eq!((&document(&output)["rules"], &document(&output)["failed"]), (&6.into(), &0.into()));
    assert_eq!(world.path().read_dir().unwrap().count(), 4, "nothing else is left behind");
}

#[test]
fn an_import_that_finds_nothing_writes_nothing() {
    let world = tempfile::tempdir().unwrap();
    let from = world.path().join("from");
    fs::create_dir(&from).unwrap();
    fs::write(from.join("a.xml"), "<synchronizationRule>").unwrap();
    let into = world.path().join("into");
    let output = with_config(&into, &["config", "import-entra", from.to_str().unwrap()]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("holds no rule and no connector") && stderr(&output).contains("a.xml:1:"), "{}", stderr(&output));
    assert!(!into.exists());
    let output = with_config(&into, &["config", "import-entra", "/nowhere/at/all"]);
    assert_code(&output, 2);
}

/// A folder of rules that is shared and not mounted at the moment, and what editors leave beside the files.
#[test]
fn a_folder_that_leads_nowhere_is_an_error_and_what_lies_beside_files_is_none() {
    let world = small_world();
    let config = world.path().join("config");
    std::os::unix::fs::symlink("somebody@host.123", config.join("connectors/.#10-corp.example.toml")).unwrap();
    fs::write(config.join("connectors/._10-corp.example.toml"), [0, 5, 22, 7]).unwrap();
    assert_code(&with_config(&config, &["config", "check"]), 0);
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    std::os::unix::fs::symlink(world.path().join("not mounted"), config.join("rules")).unwrap();
    for command in [&["config", "check"][..], &["cycle", "start"], &["rule", "lint"]] {
        let output = with_config(&config, command);
        assert!(!output.status.success(), "{command:?}");
        let told = format!("{}{}", stdout(&output), stderr(&output));
        assert!(told.contains("rules") && told.contains("is a link to a place that is not there"), "{command:?}: {told}");
    }
}
