//! The command line as people and scripts meet it: whole outputs, exit codes, and a demonstration from end to end.

mod alerts;
mod browse;
mod browser;
mod by_hand;
mod choices;
mod config;
mod config_diff;
mod connector;
mod cycle;
mod demo;
mod explain;
mod guards;
mod guide;
mod help;
mod interrupted;
mod lessons;
mod lint;
mod lost_files;
mod moves;
mod narrow;
mod object_errors;
mod one_object;
mod operate;
mod pages;
mod passwords;
mod private;
mod removals;
mod result_files;
mod serve;
mod settings;
mod sign_in;
mod spaces;
mod still_enabled;
mod traces;
mod truths;
mod unusable;
mod vanished;
mod wrong_rules;

use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Output;

/// Runs the program and gives what it printed.
fn syncline<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    let mut command = assert_cmd::Command::cargo_bin("syncline").expect("the program is built");
    command.env_remove("CREDENTIALS_DIRECTORY").env("NO_COLOR", "1").env("COLUMNS", "100");
    command.args(arguments).output().expect("the program can be started")
}

/// Runs the program with a configuration folder.
fn with_config(folder: &Path, arguments: &[&str]) -> Output {
    let mut all = vec!["--config".as_ref(), folder.as_os_str()];
    all.extend(arguments.iter().map(OsStr::new));
    syncline(all)
}

/// The one document that a command with `--json` prints.
fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("no JSON document ({error}):\n{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "\nstdout:\n{}\nstderr:\n{}", stdout(output), stderr(output));
}

/// The sum of a counter over all steps of the runs in a document.
fn counted(document: &Value, counter: &str) -> u64 {
    let runs = document["runs"].as_array().expect("there are runs");
    let steps = runs.iter().flat_map(|run| run["steps"].as_array().expect("runs have steps"));
    steps.map(|step| step["counters"][counter].as_u64().unwrap_or(0)).sum()
}

/// Objects that exports sent, whatever they did to them.
fn exported(document: &Value) -> u64 {
    ["export-add", "export-update", "export-rename", "export-delete", "export-failure"]
        .into_iter()
        .map(|counter| counted(document, counter))
        .sum()
}

/// The directory of the tests: three people of whom one is disabled, one group with two of them, one contact.
const PEOPLE: &str = include_str!("people.ldif");

/// Ada's department becomes another one.
fn ada_changes(world: &Path) {
    let people = world.join("people.ldif");
    let text = std::fs::read_to_string(&people).expect("text").replace("department: Engines", "department: Looms");
    std::fs::write(&people, text).expect("the folder can be written");
}

/// Takes Ada and Emil out of the directory of a small world. Gives it as it was.
fn two_people_leave(world: &Path) -> String {
    let people = world.join("people.ldif");
    let text = std::fs::read_to_string(&people).expect("text");
    let stays = |entry: &&str| !entry.contains("sAMAccountName: ada") && !entry.contains("sAMAccountName: emil");
    let kept: Vec<&str> = text.split("\n\n").filter(stays).collect();
    assert_eq!(text.split("\n\n").count(), kept.len() + 2);
    std::fs::write(&people, kept.join("\n\n")).expect("the folder can be written");
    text
}

/// A folder with a directory and a configuration that sends it to the embedded tenant.
fn small_world() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("people.ldif");
    std::fs::write(&file, PEOPLE).expect("the folder can be written");
    let output = with_config(
        &folder.path().join("config"),
        &["init", "--source", "ldif", "--path", file.to_str().expect("a plain path"), "--domain", "corp.example"],
    );
    assert_code(&output, 0);
    folder
}
