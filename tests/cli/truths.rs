//! What `status`, `doctor` and the others say is so: each of these was well by their words, and was not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use crate::serve::Served;
use crate::{PEOPLE, assert_code, counted, document, exported, small_world, stderr, stdout, syncline, two_people_leave, with_config};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A person of the small world's directory, as a record of changes or of all entries.
fn person(number: u32, record: &str) -> String {
    format!(
        "\ndn: CN=Extra {number},OU=People,DC=corp,DC=example\n{record}objectClass: user\n\
         objectGUID:: AQEBAQEBAQEBAQEB{number:04}AA==\nsAMAccountName: extra{number}\n\
         userPrincipalName: extra{number}@corp.example\nuserAccountControl: 512\n"
    )
}

/// A small world with twenty more people and a folder for change files.
fn with_changes() -> (TempDir, PathBuf, PathBuf) {
    let world = small_world();
    let (config, changes) = (world.path().join("config"), world.path().join("changes"));
    base(&world, 20);
    fs::create_dir(&changes).unwrap();
    assert_code(&with_config(&config, &["connector", "set", "corp.example", "changes", changes.to_str().unwrap()]), 0);
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    (world, config, changes)
}

/// Writes the file of all entries with so many more people.
fn base(world: &TempDir, more: u32) {
    let people: String = std::iter::once(PEOPLE.to_owned()).chain((0..more).map(|number| person(number, ""))).collect();
    fs::write(world.path().join("people.ldif"), people).unwrap();
}

fn status(config: &Path, code: i32) -> Value {
    let output = with_config(config, &["--json", "status"]);
    assert_code(&output, code);
    document(&output)
}

fn scheduler(config: &Path) -> Value {
    document(&with_config(config, &["--json", "scheduler", "show"]))
}

#[test]
fn a_change_file_that_disappears_deletes_nobody() {
    let (world, config, changes) = with_changes();
    let file = changes.join("0001.ldif");
    let text: String = (100..108).map(|number| person(number, "changetype: add\n")).collect();
    fs::write(&file, &text).unwrap();
    let taken = document(&with_config(&config, &["--json", "cycle", "start"]));
    assert_eq!(counted(&taken, "export-add"), 8, "{taken:#}");
    fs::remove_file(&file).unwrap();
    let refused = |arguments: &[&str]| {
        let output = with_config(&config, arguments);
        assert_code(&output, 3);
        let cycle = document(&output);
        assert_eq!((counted(&cycle, "stage-delete"), exported(&cycle)), (0, 0), "{cycle:#}");
        let message = cycle["runs"][0]["steps"].to_string();
        assert!(message.contains("0001.ldif: this change file was taken and is not there"), "{message}");
    };
    refused(&["--json", "cycle", "start"]);
    refused(&["--json", "cycle", "start", "--initial"]);
    // One that becomes a full one by itself.
    assert_code(&with_config(&config, &["scheduler", "override", "corp.example", "--full-import"]), 0);
    refused(&["--json", "cycle", "start"]);
    // Nor may the folder be named no more, or another one be named.
    let elsewhere = world.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    assert_code(&with_config(&config, &["connector", "set", "corp.example", "changes", elsewhere.to_str().unwrap()]), 0);
    refused(&["--json", "cycle", "start"]);
    assert_code(&with_config(&config, &["connector", "set", "corp.example", "changes", changes.to_str().unwrap()]), 0);

    // Put back, it counts as before.
    fs::write(&file, &text).unwrap();
    let back = with_config(&config, &["--json", "cycle", "start", "--initial"]);
    assert_code(&back, 0);
    assert_eq!(exported(&document(&back)), 0);
    // A new file of all entries says that it has everything: nobody asks for what was before.
    fs::remove_file(&file).unwrap();
    base(&world, 19);
    let output = with_config(&config, &["--json", "cycle", "start"]);
    assert_code(&output, 1);
    let anew = document(&output);
    assert_eq!(counted(&anew, "export-delete"), 9, "{anew:#}");
    assert_eq!(anew["runs"][0]["result"], "completed-warnings", "what its first step warned of is not lost: {anew:#}");
    assert!(stdout(&with_config(&config, &["status"])).contains("of corp.example has warnings"));
    assert!(anew["runs"][0]["steps"].to_string().contains("1 change file of before, such as '0001.ldif'"), "not without a word: {anew:#}");
}

#[test]
fn entries_that_an_import_could_not_use_are_not_well() {
    let (_world, config, changes) = with_changes();
    assert!(stdout(&with_config(&config, &["status"])).contains("All is well."));
    let nobody = "dn: CN=Nobody,OU=People,DC=corp,DC=example\nchangetype: modify\nreplace: title\ntitle: Ghost\n-\n";
    fs::write(changes.join("0001.ldif"), nobody).unwrap();
    assert_code(&with_config(&config, &["cycle", "start"]), 2);
    assert!(stdout(&with_config(&config, &["errors"])).contains("need-full-object"));
    let shown = status(&config, 1);
    assert_eq!((&shown["health"], &shown["connectors"][0]["errors"]), (&"attention".into(), &1.into()), "{shown:#}");
    assert!(shown["attention"][0]["what"].as_str().unwrap().contains("1 entry of corp.example could not be used"), "{shown:#}");
    let doctor = stdout(&with_config(&config, &["doctor"]));
    assert!(doctor.contains("1 object or entry has a problem") && !doctor.contains("Everything is as it should be"), "{doctor}");
}

#[test]
fn two_entries_with_one_name_are_named() {
    let world = small_world();
    let config = world.path().join("config");
    base(&world, 3);
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let mut people = fs::read_to_string(world.path().join("people.ldif")).unwrap();
    write!(people, "{}", person(7, "").replace("CN=Extra 7,", "CN=Extra 1,")).unwrap();
    fs::write(world.path().join("people.ldif"), people).unwrap();
    for _ in 0..2 {
        let cycle = with_config(&config, &["cycle", "start"]);
        assert_code(&cycle, 2);
        let errors = stdout(&with_config(&config, &["errors"]));
        assert!(errors.contains("duplicate-dn") && errors.contains("CN=Extra 1,OU=People,DC=corp,DC=example"), "{errors}");
        let shown = status(&config, 1);
        assert_eq!((&shown["health"], &shown["connectors"][0]["errors"]), (&"attention".into(), &1.into()), "{shown:#}");
    }
    base(&world, 3);
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    assert_eq!(status(&config, 0)["health"], "well");
}

#[test]
fn a_cycle_that_a_guard_stopped_did_not_succeed() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let first = scheduler(&config);
    assert!(first["last_success"].is_string() && first["last_success"] == first["last_full"], "{first:#}");
    assert_code(&with_config(&config, &["guard", "set", "--max-deletes", "1"]), 0);
    let before = two_people_leave(world.path());
    assert_code(&with_config(&config, &["cycle", "start"]), 5);
    let stopped = scheduler(&config);
    assert_eq!(stopped["last_success"], first["last_success"], "{stopped:#}");
    assert_eq!(stopped["last_read"], stopped["last_cycle"], "what was read was read: {stopped:#}");
    // A later one that has nothing to send succeeds; it read changes of the target, and so not everything.
    fs::write(world.path().join("people.ldif"), before).unwrap();
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    let healed = scheduler(&config);
    assert_eq!(healed["last_success"], healed["last_cycle"], "{healed:#}");
    assert_eq!(healed["last_full"], first["last_full"], "{healed:#}");
    let shown = stdout(&with_config(&config, &["scheduler", "show"]));
    assert!(shown.contains(" 7 days"), "{shown}");
}

#[test]
fn doctor_looks_where_cycles_read() {
    let folder = tempfile::tempdir().unwrap();
    let here = |arguments: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("syncline").unwrap();
        command.env("NO_COLOR", "1").current_dir(folder.path()).args(arguments).output().unwrap()
    };
    assert_code(&here(&["demo", "--users", "20", "--groups", "2", "--contacts", "1"]), 0);
    let doctor = here(&["--config", "syncline-demo", "--json", "doctor"]);
    assert!(doctor.status.code() < Some(2), "{}", stdout(&doctor));
    let found = document(&doctor);
    let file = found["findings"].as_array().unwrap().iter().find(|finding| finding["what"].to_string().contains("directory.ldif"));
    let file = file.unwrap_or_else(|| panic!("{found:#}"));
    assert!(file["level"] == "ok" && file["what"] == "syncline-demo/directory.ldif", "{file:#}");
    // Both say the same of the tenant: a password was a sign of life.
    let signs = found["findings"].as_array().unwrap().iter().find(|finding| finding["what"] == "passwords: sign of life");
    let told = signs.unwrap_or_else(|| panic!("{found:#}"))["evidence"].as_str().unwrap().to_owned();
    let shown = document(&here(&["--config", "syncline-demo", "--json", "status"]));
    let sign = shown["passwords"][0]["last_sign_of_life"].as_str().unwrap_or_else(|| panic!("{shown:#}"));
    assert!(told.contains(sign), "{told}, and status: {sign}");
    assert!(!stdout(&here(&["--config", "syncline-demo", "status"])).contains("never"));
}

/// A tenant that takes connections and says nothing is a line like any other, and the lines before it are there at once.
#[test]
fn doctor_does_not_wait_without_end() {
    let world = small_world();
    let config = world.path().join("other");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let (people, secret) = (world.path().join("people.ldif"), world.path().join("secret"));
    fs::write(&secret, "s").unwrap();
    let entra = ["--tenant", "entra", "--tenant-id", "corp.example", "--client-id", "00000000-0000-4000-8000-000000000001"];
    let places = ["--login-url", &url, "--provisioning-url", &url, "--client-secret-file", secret.to_str().unwrap()];
    let source = ["--source", "ldif", "--path", people.to_str().unwrap(), "--domain", "corp.example"];
    assert_code(&with_config(&config, &[&["init"], &source[..], &entra, &places].concat()), 0);
    let program = assert_cmd::cargo::cargo_bin("syncline");
    let mut child =
        Command::new(program).arg("--config").arg(&config).arg("doctor").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.expect("text"));
    assert!(lines.any(|line| line.contains("people.ldif")));
    assert!(child.try_wait().unwrap().is_none(), "it goes on to the tenant");
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().any(|line| line.contains("nothing was answered within 30 s")), "{rest:#?}");
    assert_eq!(child.wait().unwrap().code(), Some(2), "{rest:#?}");
}

#[test]
fn a_configuration_that_is_refused_is_not_well() {
    let world = small_world();
    let config = world.path().join("config");
    let service = Served::start(&config);
    service.cycles(1);
    let main = config.join("syncline.toml");
    let text = fs::read_to_string(&main).unwrap();
    fs::write(&main, "version = [").unwrap();
    let shown = status(&config, 2);
    let told = shown["attention"][0]["what"].as_str().unwrap();
    assert!(told.contains("the configuration in the files is refused") && told.contains("the one before it"), "{shown:#}");
    assert_eq!(shown["health"], "trouble", "{shown:#}");
    let people = stdout(&with_config(&config, &["status"]));
    assert!(people.contains("Something does not work.") && people.contains(" config check"), "{people}");
    // Readable files that are refused all the same are not well, either.
    for refused in ["[rules]\nsource_anchor = \"mail\"\n", "[rules]\nsource_anchor = \"nosuchattribute\"\n"] {
        fs::write(&main, format!("{text}\n{refused}")).unwrap();
        let doctor = with_config(&config, &["--json", "doctor"]);
        assert_code(&doctor, 2);
        let found = document(&doctor);
        let failed = |finding: &&Value| finding["area"] == "configuration" && finding["level"] == "fail";
        assert!(found["findings"].as_array().unwrap().iter().any(|finding| failed(&finding)), "{found:#}");
    }
    fs::write(&main, text).unwrap();
    assert_eq!(status(&config, 0)["health"], "well");
    let doctor = document(&with_config(&config, &["--json", "doctor"]));
    assert!(doctor["findings"].as_array().unwrap().iter().all(|finding| finding["level"] != "fail"), "{doctor:#}");
    service.stop();
}

#[test]
fn a_pipe_is_no_directory() {
    let world = small_world();
    let config = world.path().join("config");
    let file = world.path().join("people.ldif");
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    // Whoever opens it waits for somebody who writes.
    let in_time = |arguments: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("syncline").unwrap();
        command.env("NO_COLOR", "1").timeout(Duration::from_mins(1)).arg("--config").arg(&config).args(arguments).output().unwrap()
    };
    let cycle = in_time(&["--json", "cycle", "start", "--initial"]);
    assert!(stdout(&cycle).contains("is a named pipe and no regular file"), "{}\n{}", stdout(&cycle), stderr(&cycle));
    assert!(matches!(cycle.status.code(), Some(3 | 4)), "{:?}", cycle.status);
    let doctor = in_time(&["doctor"]);
    assert_code(&doctor, 2);
    assert!(stdout(&doctor).contains("it is a named pipe and no regular file"), "{}", stdout(&doctor));
    let other = world.path().join("other");
    let made = with_config(&other, &["init", "--source", "ldif", "--path", file.to_str().unwrap(), "--domain", "corp.example"]);
    assert_code(&made, 4);
}

#[test]
fn a_target_is_one_also_where_rules_are_broken() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    fs::create_dir_all(config.join("rules")).unwrap();
    fs::write(config.join("rules/own.toml"), "[[rule]]\nname = \"x\"\n").unwrap();
    let output = with_config(&config, &["--json", "status"]);
    let shown = document(&output);
    let roles: Vec<(&str, bool)> = shown["connectors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["target"].as_bool().unwrap()))
        .collect();
    assert_eq!(roles, [("corp.example", false), ("Entra", true)], "{shown:#}");
}

#[test]
fn words_and_exit_codes_fit_what_happened() {
    let world = small_world();
    let config = world.path().join("config");
    // Something fails, and both say so by the same code.
    assert_code(&with_config(&config, &["phs", "doctor"]), 2);
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let events = with_config(&config, &["events", "list", "--limit", "3"]);
    assert!(stderr(&events).contains("(the newest 3;"), "{}", stderr(&events));
    let bogus = with_config(&config, &["export", "Entra", "--approve", "bogus"]);
    assert_code(&bogus, 64);
    assert!(stderr(&bogus).contains("--approve bogus:") && !stderr(&bogus).contains("--plan"), "{}", stderr(&bogus));

    let authority = world.path().join("authority.pem");
    fs::write(&authority, "no certificate\n").unwrap();
    let server =
        ["--source", "ldap", "--url", "ldaps://127.0.0.1", "--base", "DC=x", "--bind-name", "CN=a,DC=x", "--domain", "corp.example"];
    let other = world.path().join("other");
    let mut arguments = vec!["--config", other.to_str().unwrap(), "init"];
    arguments.extend(server.iter().chain(&["--ca-file", authority.to_str().unwrap()]));
    let refused = syncline(arguments);
    assert_code(&refused, 4);
    assert!(stderr(&refused).contains("authority.pem") && stderr(&refused).contains("PEM") && !other.exists(), "{}", stderr(&refused));
}

#[test]
fn nothing_yet_is_not_well_and_a_restored_store_says_when_it_last_read() {
    let world = small_world();
    let config = world.path().join("config");
    // Makes a store, and runs nothing.
    assert_code(&with_config(&config, &["scheduler", "show"]), 0);
    let shown = stdout(&with_config(&config, &["status"]));
    assert!(shown.contains("Nothing was synchronized yet.") && shown.contains("never"), "{shown}");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    assert!(stdout(&with_config(&config, &["status"])).contains("All is well."));
    let backup = world.path().join("backup.redb").display().to_string();
    assert_code(&with_config(&config, &["store", "backup", &backup]), 0);
    assert_code(&with_config(&config, &["store", "restore", &backup]), 0);
    let shown = stdout(&with_config(&config, &["status"]));
    let line = shown.lines().find(|line| line.contains("last cycle")).unwrap();
    assert!(line.contains("20") && line.contains(", before the store was restored"), "{shown}");
}

#[test]
fn who_was_deleted_is_found_in_the_history() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    two_people_leave(world.path());
    assert_code(&with_config(&config, &["cycle", "start"]), 0);
    // By what she signed in with, and by her name in the directory, which a group may still use.
    for command in [&["object", "explain"][..], &["mv", "show"], &["object", "find"]] {
        let asked = with_config(&config, &[command, &["ADA@corp.example"]].concat());
        assert_code(&asked, 2);
        let said = stderr(&asked);
        assert!(said.contains("was deleted") && said.contains(": run ") && said.contains("cs log "), "{command:?}: {said}");
    }
    let shown = stdout(&with_config(&config, &["object", "explain", "CN=Ada Byron,OU=People,DC=corp,DC=example"]));
    assert!(shown.contains("It was here until 20") && shown.contains("was deleted, or left the selection"), "{shown}");
    for name in ["ada@corp.example", "CN=Ada Byron,OU=People,DC=corp,DC=example"] {
        let log = document(&with_config(&config, &["--json", "cs", "log", name]));
        let counters = log["entries"].as_array().unwrap().iter().map(|entry| entry["counter"].as_str().unwrap());
        assert!(counters.into_iter().any(|counter| counter.ends_with("-delete")), "{log:#}");
        assert_eq!(document(&with_config(&config, &["--json", "cs", "log", log["object"].as_str().unwrap()])), log);
    }
    let nobody = with_config(&config, &["object", "explain", "nobody@corp.example"]);
    assert!(!stderr(&nobody).contains("was deleted"), "{}", stderr(&nobody));
}

#[test]
fn whoever_does_not_say_any_more_that_they_are_disabled_is_not_enabled() {
    let world = small_world();
    let config = world.path().join("config");
    let people = world.path().join("people.ldif");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let text = fs::read_to_string(&people).unwrap();
    assert!(text.contains("userAccountControl: 514\n"));
    fs::write(&people, text.replace("userAccountControl: 514\n", "title: Captain\n")).unwrap();
    for _ in 0..2 {
        let cycle = with_config(&config, &["--json", "cycle", "start"]);
        assert_code(&cycle, 2);
        assert_eq!((exported(&document(&cycle)), counted(&document(&cycle), "stage-delete")), (0, 0), "{}", stdout(&cycle));
    }
    let errors = stdout(&with_config(&config, &["errors"]));
    assert!(errors.contains("missing-required-attribute") && errors.contains("Old Hand"), "{errors}");
    assert_code(&with_config(&config, &["status"]), 1);
    // Whoever allows that the directory is smaller has not allowed this.
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import", "--allow-shrink"]), 2);
    // When it is meant it is said, and then the rules decide.
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import", "--allow-incomplete"]), 0);
    let cycle = document(&with_config(&config, &["--json", "cycle", "start"]));
    assert_eq!(exported(&cycle), 1, "{cycle:#}");
    assert!(!stdout(&with_config(&config, &["errors"])).contains("missing-required-attribute"));
}
