//! Every guard, tripped by the accident it is for. Each says what it stopped, how many objects, some of them by name, and the commands
//! that review it and let it through; the commands are given as they are printed, and what was allowed once is stopped the next time.
//!
//! docs/guide/service.md lists all guards with their tests; those that need another laboratory stand there.

use crate::world::{World, counted, exported, person};
use serde_json::{Value, json};
use std::path::PathBuf;

const PEOPLE: u32 = 30;

/// A directory of these people.
fn of(numbers: impl IntoIterator<Item = u32>) -> String {
    format!("version: 1\n\n{}", numbers.into_iter().map(|number| person(number, "")).collect::<Vec<_>>().join("\n"))
}

/// A world in which thirty people were sent.
fn settled() -> World {
    let world = World::new(&of(1..=PEOPLE), &[]);
    assert_eq!(counted(&world.cycle(0, &["--initial"]), "export-add"), u64::from(PEOPLE));
    world
}

/// Configures a second directory like the first. Gives the place of its file, which is not there yet.
fn with_a_second_directory(world: &World) -> PathBuf {
    let first = std::fs::read_to_string(world.connector_file("10-")).unwrap();
    let other = first.replace("name = \"corp\"", "name = \"second\"").replace("directory.ldif", "second.ldif");
    assert_ne!(other, first);
    std::fs::write(world.config().join("connectors/20-second.toml"), other).unwrap();
    world.directory_file().with_file_name("second.ldif")
}

fn set(world: &World, key: &str, value: &str) {
    world.json(0, &["config", "set", key, value]);
}

/// The commands that a message names, as a shell would take them.
fn commands(message: &str) -> Vec<Vec<String>> {
    let quoted = message.split('`').skip(1).step_by(2);
    let of_ours = quoted.filter_map(|command| command.strip_prefix("syncline "));
    let words = |command: &str| {
        let parts = command.split('\'').enumerate();
        let words =
            parts.flat_map(
                |(index, part)| {
                    if index % 2 == 1 { vec![part.to_owned()] } else { part.split_whitespace().map(str::to_owned).collect() }
                },
            );
        words.collect()
    };
    of_ours.map(words).collect()
}

/// What a guard said.
struct Stopped {
    review: Vec<String>,
    allow: Vec<String>,
}

impl Stopped {
    /// Looks, as the message says. Looking changes nothing.
    fn review(&self, world: &World) -> String {
        let before = world.tenant_state();
        let output = world.syncline(&self.review.iter().map(String::as_str).collect::<Vec<_>>());
        let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(matches!(output.status.code(), Some(0 | 5)), "{:?}: {shown}", self.review);
        assert_eq!(world.tenant_state(), before, "{:?}", self.review);
        shown
    }

    /// Lets it through, as the message says.
    #[track_caller]
    fn allow(&self, world: &World) -> Value {
        world.json(0, &self.allow.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// A command that a guard must stop with this exit code and result: nothing is sent, and the message holds these words, among them a
/// number and a name, and at least two commands, of which the first reviews and the last lets through.
#[track_caller]
fn stops(world: &World, code: i32, arguments: &[&str], result: &str, said: &[&str]) -> Stopped {
    let before = world.tenant_state();
    let document = world.json(code, arguments);
    assert_eq!(world.tenant_state(), before, "{document:#}");
    let runs = document["runs"].as_array().unwrap_or_else(|| panic!("{document:#}"));
    let stopped = runs.iter().find(|run| run["result"] == result).unwrap_or_else(|| panic!("{result}: {document:#}"));
    let message = stopped["steps"][0]["message"].as_str().unwrap_or_else(|| panic!("{stopped:#}"));
    speaks(message, said)
}

#[track_caller]
fn speaks(message: &str, said: &[&str]) -> Stopped {
    for words in said {
        assert!(message.contains(words), "{words:?} is not in {message:?}");
    }
    let mut commands = commands(message);
    assert!(commands.len() >= 2, "two commands: {message}");
    Stopped { review: commands.remove(0), allow: commands.pop().unwrap() }
}

/// A container of some people is moved out of what is read.
#[test]
fn deletes_by_number_are_stopped_by_the_loss_of_a_container() {
    let world = settled();
    set(&world, "guard.max_deletes", "3");
    world.write_directory(&of(6..=PEOPLE));
    let words = ["5 deletes are pending", "3 are allowed", "Among them: Person ", "…"];
    let stopped = stops(&world, 5, &["cycle", "start"], "stopped-deletion-threshold-exceeded", &words);
    assert!(stopped.review(&world).contains("5 deletes"), "the review lists them");
    // Again and again, until somebody decides.
    stops(&world, 5, &["cycle", "start"], "stopped-deletion-threshold-exceeded", &words);
    // What was allowed is this set, and no larger one.
    world.write_directory(&of(7..=PEOPLE));
    stops(&world, 5, &["cycle", "start"], "stopped-deletion-threshold-exceeded", &["6 deletes are pending"]);
    let refused = stops(
        &world,
        5,
        &stopped.allow.iter().map(String::as_str).collect::<Vec<_>>(),
        "stopped-deletion-threshold-exceeded",
        &["is allowed, another one waits", "6 deletes are pending"],
    );
    assert_eq!(counted(&refused.allow(&world), "export-delete"), 6);
    // Once is once.
    world.write_directory(&of(11..=PEOPLE));
    stops(&world, 5, &["cycle", "start"], "stopped-deletion-threshold-exceeded", &["4 deletes are pending", "Person "]);
}

/// A directory loses a tenth of its people, fewer than the number that is allowed.
#[test]
fn deletes_by_share_are_stopped_in_a_small_company() {
    let world = settled();
    set(&world, "guard.max_delete_percent", "5");
    world.write_directory(&of(4..=PEOPLE));
    let words = ["3 deletes are pending", "1 is allowed", "Among them: Person 1 (p1@corp.example)"];
    let stopped = stops(&world, 5, &["cycle", "start"], "stopped-deletion-threshold-exceeded", &words);
    stopped.review(&world);
    assert_eq!(counted(&stopped.allow(&world), "export-delete"), 3);
}

/// A query of the directory forgets more than half of the people.
#[test]
fn a_source_that_shrank_is_not_believed() {
    let world = settled();
    world.write_directory(&of(20..=PEOPLE));
    let words = ["no longer reports 19 of 30 objects", "'corp'", "CN=Person ", "nothing was staged as deleted", "was taken back"];
    let stopped = stops(&world, 5, &["cycle", "start"], "stopped-shrink-guard", &words);
    assert!(stopped.review(&world).contains("Person "));
    assert_eq!(counted(&stopped.allow(&world), "stage-delete"), 19);
    // Whoever believes it is asked once more before more than half of the tenant goes.
    let held =
        stops(&world, 5, &["cycle", "start"], "stopped-deletion-threshold-exceeded", &["19 deletes are pending", "half of what is there"]);
    assert_eq!(counted(&held.allow(&world), "export-delete"), 19);
    // Once is once.
    world.write_directory(&of(30..=PEOPLE));
    stops(&world, 5, &["cycle", "start"], "stopped-shrink-guard", &["10 of 11 objects"]);
}

/// An export of the directory that found nobody.
#[test]
fn an_empty_source_is_not_believed() {
    let world = settled();
    set(&world, "guard.shrink_percent", "100");
    world.write_directory("version: 1\n");
    let words = ["reported none of the 30 objects", "CN=Person ", "nothing was staged as deleted"];
    let stopped = stops(&world, 5, &["cycle", "start"], "stopped-shrink-guard", &words);
    assert!(stopped.review(&world).contains("Person "));
    assert_eq!(counted(&stopped.allow(&world), "stage-delete"), 30);
}

/// Somebody connects a directory to a tenant that is in use, and would have everything sent without having looked.
#[test]
fn the_first_export_names_what_it_would_send() {
    let world = World::new(&of(1..=PEOPLE), &[]);
    world.set_first_export("approved");
    let words = ["30 objects (30 adds, 0 deletes)", "among them Person ", "waits for somebody who has looked"];
    let stopped = stops(&world, 5, &["cycle", "start", "--initial"], "stopped-by-review", &words);
    assert!(stopped.review(&world).contains("30 adds"));
    assert_eq!(counted(&stopped.allow(&world), "export-add"), 30);
}

/// The directory changed between the look at a plan and the order to send it.
#[test]
fn a_plan_that_is_out_of_date_names_what_waits_instead() {
    let world = settled();
    let hold = |people: std::ops::RangeInclusive<u32>| {
        world.write_directory(&of(people));
        world.json(0, &["run", "start", "corp", "full-import"]);
        world.json(0, &["run", "start", "corp", "delta-sync"]);
    };
    hold(1..=PEOPLE + 1);
    let plan = world.json(0, &["export", "--what-if"])["targets"][0]["plan"].as_str().unwrap().to_owned();
    hold(2..=PEOPLE + 1);
    let words = ["is not what waits now", "2 objects wait (1 delete)", "among them ", "Person "];
    let stopped = stops(&world, 5, &["export", "Entra", "--plan", &plan], "stopped-by-review", &words);
    assert!(stopped.review(&world).contains("1 delete\n"));
    let sent = stopped.allow(&world);
    assert_eq!((counted(&sent, "export-add"), counted(&sent, "export-delete")), (1, 1), "{sent:#}");
}

/// A second server is set up beside the first one.
#[test]
fn staging_sends_nothing_and_says_what_waits() {
    let world = settled();
    world.json(0, &["mode", "staging"]);
    world.write_directory(&of(1..=PEOPLE + 2));
    let cycle = world.cycle(0, &[]);
    assert_eq!((counted(&cycle, "stage-add"), exported(&cycle)), (2, 0), "{cycle:#}");
    let words = ["staging mode", "2 objects wait", "among them Person 31"];
    let stopped = stops(&world, 4, &["export"], "no-start-staging-mode", &words);
    assert!(stopped.review(&world).contains("2 adds"));
    stopped.allow(&world);
    assert_eq!(counted(&world.cycle(0, &[]), "export-add"), 2);
}

/// A second directory is configured and cannot be read: nobody knows yet which of its people are those of the first.
#[test]
fn a_source_that_was_never_read_holds_the_export_back() {
    let world = World::new(&of(1..=PEOPLE), &[]);
    let second = with_a_second_directory(&world);
    let words = ["second was never read completely", "30 objects wait", "among them Person "];
    let stopped = stops(&world, 4, &["cycle", "start", "--initial"], "no-start-source-never-read", &words);
    assert!(stopped.review(&world).contains("second"));
    std::fs::write(&second, of([50])).unwrap();
    stopped.allow(&world);
    assert_eq!(counted(&world.cycle(0, &[]), "export-add"), 31);
}

/// Somebody moves from one directory to another one that cannot be read just then.
#[test]
fn deletes_wait_while_a_directory_cannot_be_read_and_are_named() {
    let world = World::new(&of(1..=PEOPLE), &[]);
    let second = with_a_second_directory(&world);
    std::fs::write(&second, of([50])).unwrap();
    world.cycle(0, &["--initial"]);
    world.write_directory(&of(2..=PEOPLE));
    std::fs::remove_file(&second).unwrap();
    let output = world.syncline(&["--json", "cycle", "start"]);
    let cycle: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((counted(&cycle, "stage-delete"), exported(&cycle)), (1, 0), "{cycle:#}");
    let export = cycle["runs"].as_array().unwrap().iter().find(|run| run["profile"] == "Export").unwrap();
    let message = export["steps"][0]["message"].as_str().unwrap();
    let words = ["1 delete was not sent", "second could not be read", "among them Person 1 (p1@corp.example)"];
    let waiting = speaks(message, &words);
    assert!(waiting.review(&world).contains("1 delete\n"));
    assert_eq!(counted(&waiting.allow(&world), "export-delete"), 1);
}

/// A tool writes nonsense into an attribute of everybody.
#[test]
fn too_many_entries_that_cannot_be_used_end_an_import() {
    let world = settled();
    set(&world, "limits.object_errors", "4");
    let broken: String = of(1..=PEOPLE).replace("userAccountControl: 512\n", "userAccountControl: 512\nthumbnailPhoto:: %%%\n");
    world.write_directory(&broken);
    let words = ["30 entries of 'corp' could not be used so far", "among them CN=Person 1,", "more than 4 end an import"];
    let stopped = stops(&world, 3, &["cycle", "start"], "stopped-error-limit", &words);
    assert!(stopped.review(&world).contains("Person "));
    assert_eq!(stopped.allow.last().map(String::as_str), Some("NUMBER"));
    world.write_directory(&of(1..=PEOPLE));
    assert_eq!(exported(&world.cycle(0, &[])), 0);
}

/// A tool gives ten people one sign-in name, and the tenant refuses one after the other.
#[test]
fn too_many_refused_objects_end_an_export() {
    let world = settled();
    set(&world, "limits.object_errors", "4");
    world.put(
        "/features",
        &json!({"set": {"quarantineUponUpnConflictEnabled": false, "quarantineUponProxyAddressesConflictEnabled": false}}),
    );
    let same = (1..=10).fold(of(1..=PEOPLE), |text, number| {
        text.replace(&format!("userPrincipalName: p{number}@corp.example"), "userPrincipalName: p30@corp.example")
    });
    world.write_directory(&same);
    let words = ["Entra refused 10 objects", "among them Person ", "more than 4 end an export"];
    let stopped = stops(&world, 3, &["cycle", "start"], "stopped-error-limit", &words);
    assert!(stopped.review(&world).contains("p30@corp.example"));
    assert_eq!(stopped.allow.last().map(String::as_str), Some("NUMBER"));
    world.write_directory(&of(1..=PEOPLE));
    assert_eq!(exported(&world.cycle(0, &[])), 0);
}
