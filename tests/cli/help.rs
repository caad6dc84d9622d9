//! What the program says of itself.

use crate::{assert_code, document, stderr, stdout, syncline};
use std::fmt::Write as _;

#[test]
fn help_of_every_command() {
    let mut text = String::new();
    let commands: &[&[&str]] = &[
        &[],
        &["demo"],
        &["init"],
        &["account", "ad", "check"],
        &["account", "ad", "grant"],
        &["account", "ad", "rotate"],
        &["secret"],
        &["doctor"],
        &["run"],
        &["run", "start"],
        &["run", "list"],
        &["run", "show"],
        &["cycle", "start"],
        &["export"],
        &["errors"],
        &["cs", "search"],
        &["cs", "show"],
        &["mv", "search"],
        &["mv", "show"],
        &["object", "explain"],
        &["mv", "why"],
        &["preview"],
        &["rule"],
        &["rule", "list"],
        &["rule", "test"],
        &["rule", "clone"],
        &["expr", "eval"],
        &["expr", "functions"],
        &["config", "diff"],
        &["store"],
        &["store", "check"],
        &["anchor", "convert"],
        &["tenant", "serve"],
    ];
    for command in commands {
        let output = syncline(command.iter().copied().chain(["--help"]));
        assert_code(&output, 0);
        writeln!(text, "$ syncline {} --help\n{}", command.join(" "), stdout(&output)).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_version_as_text_and_as_document() {
    let output = syncline(["--version"]);
    assert_code(&output, 0);
    assert_eq!(stdout(&output), format!("syncline {}\n", env!("CARGO_PKG_VERSION")));
    let output = syncline(["--version", "--json"]);
    assert_code(&output, 0);
    let version = document(&output);
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["commit"].is_string() && version["features"].as_array().is_some_and(|features| features.len() == 5));
}

#[test]
fn wrong_calls_end_with_64() {
    for arguments in [&["--nonsense"][..], &["cycle"], &["run", "start"], &[], &["demo", "--users", "0"], &["anchor", "convert", "!"]] {
        let output = syncline(arguments);
        assert_code(&output, 64);
        assert!(!stderr(&output).is_empty() && stdout(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn wrong_calls_are_documents_when_documents_are_asked_for() {
    for arguments in [&["--json", "cycle", "begin"][..], &["run", "list", "--limit", "0", "--json"], &["--json"]] {
        let output = syncline(arguments);
        assert_code(&output, 64);
        let error = &document(&output)["error"];
        assert_eq!((error["kind"].as_str(), error["exit_code"].as_u64()), (Some("usage"), Some(64)), "{arguments:?}");
        assert!(!error["message"].as_str().unwrap().is_empty() && error["hints"].is_array(), "{arguments:?}");
    }
}

/// Whoever is told that something is wrong is told what to do, with commands that can be pasted.
#[test]
fn errors_say_what_to_do() {
    let world = crate::small_world();
    let config = world.path().join("config");
    assert_code(&crate::with_config(&config, &["cycle", "start", "--initial"]), 0);
    let webhook: (&[&str], i32, &str) =
        (&["config", "set", "alerts.webhook.secret", "hunter2"], 64, "alerts.webhook.secret.credential NAME");
    let calls: [(&[&str], i32, &str); 20] = [
        webhook,
        (&["demo", "--store", "x.redb"], 64, "demo --dir DIR`"),
        (&["demo"], 64, "`syncline demo --dir DIR`"),
        (&["anchor", "convert", "!"], 64, "anchor convert 897485c7"),
        (&["run", "start", "corp.example", "full-sync", "--allow-shrink"], 64, "run start 'corp.example' full-import --allow-shrink`"),
        (&["run", "start", "Entra", "full-sync", "--allow-deletes", "600-91f2c3d4e5a60718"], 64, "export 'Entra' --what-if`"),
        (&["store", "restore", "nowhere.redb"], 4, "`ls -l "),
        (&["secret", "set", "x"], 64, "secret set x --secret-file FILE`"),
        (&["secret", "remove", "nobody-has-it"], 2, "secret list`"),
        (&["config", "schema", "nothing"], 64, "config schema syncline.toml`"),
        (&["cs", "search", "Entra", "--where", "nonsense"], 64, "--where 'department=Sales*'"),
        (&["export", "--what-if", "--csv", "/nowhere/at/all/x.csv"], 3, "`ls -ld /nowhere/at/all`"),
        (&["export", "--what-if", "--html", "/nowhere/at/all/x.html"], 3, "`df -h /nowhere/at/all`"),
        (&["export", "Entra", "--plan", "nonsense"], 64, "export --what-if`"),
        (&["lint", "directory", "--csv", "/nowhere/at/all/x.csv"], 3, "`ls -ld /nowhere/at/all`"),
        (&["init", "--source", "ldif"], 4, "config show`"),
        (&["connector", "test", "nobody"], 2, "corp.example, Entra"),
        (&["object", "explain", "nobody-at-all"], 2, "give a name"),
        (&["events", "explain", "1"], 2, "events explain`"),
        (&["expr", "functions", "Nosuch"], 2, "expr functions`"),
    ];
    for (call, code, told) in calls {
        let output = crate::with_config(&config, &[&["--json"], call].concat());
        assert_code(&output, code);
        let error = document(&output)["error"].clone();
        let hints = error["hints"].as_array().cloned().unwrap_or_default();
        // What a message lists needs no further word.
        assert!(!hints.is_empty() || error["message"].to_string().contains(told), "{call:?}: {error:#}");
        assert!(error.to_string().contains(told), "{call:?}: {told} is not in {error:#}");
    }
    let another = world.path().join("another");
    for wrong in [&["--source", "ldif", "--path", "people.ldif", "--url", "ldaps://x"][..], &["--source", "ad"], &["--source", "ldif"]] {
        let output = crate::with_config(&another, &[&["--json", "init"], wrong].concat());
        assert_code(&output, 64);
        let hints = document(&output)["error"]["hints"].to_string();
        assert!(hints.contains("init --help`") || hints.contains("--path people.ldif"), "{wrong:?}: {hints}");
    }
}

#[test]
fn nothing_is_never_what_a_limit_of_nothing_shows() {
    for command in [&["errors"][..], &["run", "list"], &["cs", "search", "Entra"], &["mv", "search"], &["export", "--what-if"]] {
        let output = syncline(command.iter().chain(&["--limit", "0"]));
        assert_code(&output, 64);
        assert!(stderr(&output).contains("1 or more"), "{}", stderr(&output));
    }
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let run = |file: &str, arguments: &[&str]| {
        let full = std::fs::OpenOptions::new().write(true).open(file).unwrap();
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("syncline"));
        command.args(arguments).stdout(full).output().unwrap()
    };
    for arguments in [&["--version"][..], &["--help"], &["--json", "--version"], &["anchor", "convert", "67452301"]] {
        let output = run("/dev/full", arguments);
        assert_code(&output, 3);
        assert!(stderr(&output).contains("could not be written to standard output"), "{}", stderr(&output));
        assert_code(&run("/dev/null", arguments), 0);
    }
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("syncline"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.arg("--help").stdout(writer).output().unwrap();
    assert_code(&output, 0);
    assert_eq!(stderr(&output), "");
}

#[test]
fn anchors_are_taken_as_they_are_printed() {
    for text in ["(objectGUID=\\67\\45\\23\\01)", "67452301", "67 45 23 01"] {
        let output = syncline(["--json", "anchor", "convert", text]);
        assert_code(&output, 0);
        assert_eq!(document(&output)["hex"], "67452301", "{text}");
    }
}

#[test]
fn anchors_in_all_forms() {
    let output = syncline(["anchor", "convert", "x4V0iaeB60KXxjftcwd7Hw=="]);
    assert_code(&output, 0);
    insta::assert_snapshot!(stdout(&output), @r"
    given as base64
      source anchor (base64)   x4V0iaeB60KXxjftcwd7Hw==
      hex                      c7857489a781eb4297c637ed73077b1f
      GUID (Active Directory)  897485c7-81a7-42eb-97c6-37ed73077b1f
      GUID (network order)     c7857489-a781-eb42-97c6-37ed73077b1f
      LDAP filter              (objectGUID=\c7\85\74\89\a7\81\eb\42\97\c6\37\ed\73\07\7b\1f)
      cloud name               CN={783456306961654236304B58786A66746377643748773D3D}
    ");
    let output = syncline(["--json", "anchor", "convert", "897485c7-81a7-42eb-97c6-37ed73077b1f"]);
    assert_eq!(document(&output)["base64"], "x4V0iaeB60KXxjftcwd7Hw==");
}
