//! People, groups and files that move, are made anew or change places: nobody is deleted for it, and everybody has the right name.

use crate::{assert_code, counted, document, exported, stderr, stdout, with_config};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Output;

/// A folder with a configuration that sends LDIF files to the embedded tenant.
pub(crate) struct World {
    folder: tempfile::TempDir,
}

pub(crate) const OU: &str = "OU=People,DC=corp,DC=example";

/// A key of sixteen octets, in base64.
pub(crate) fn key(number: u32) -> String {
    use base64::Engine as _;
    let mut octets = [7; 16];
    octets[..4].copy_from_slice(&number.to_le_bytes());
    base64::engine::general_purpose::STANDARD.encode(octets)
}

/// A person with a key and a sign-in name, and what else is said of them.
pub(crate) fn person(number: u32, name: &str, more: &str) -> String {
    format!(
        "dn: CN=user {number},{OU}\nobjectClass: user\nobjectGUID:: {}\ncn: user {number}\nsAMAccountName: user{number}\n\
         userPrincipalName: {name}@corp.example\nuserAccountControl: 512\n{more}\n",
        key(number)
    )
}

pub(crate) fn people(numbers: impl Iterator<Item = u32>) -> String {
    numbers.map(|number| person(number, &format!("user{number}"), "")).collect()
}

/// A group with a key of its own.
pub(crate) fn group(number: u32, name: &str, members: impl Iterator<Item = u32>) -> String {
    let members = members.map(|member| format!("member: CN=user {member},{OU}\n")).collect::<Vec<_>>().concat();
    let key = key(number);
    format!("dn: CN={name},{OU}\nobjectClass: group\nobjectGUID:: {key}\ncn: {name}\nsAMAccountName: {name}\n{members}\n")
}

impl World {
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let world = Self { folder: tempfile::tempdir().expect("a folder can be made") };
        for (name, text) in files {
            world.write(name, text);
        }
        let path = world.at(files[0].0.split('/').next().expect("a name"));
        let path = path.to_str().expect("a plain path");
        assert_code(&world.run(&["init", "--source", "ldif", "--path", path, "--domain", "corp.example"]), 0);
        world
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.at("config")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        fs::write(path, text).expect("the folder can be written");
    }

    fn add_to(&self, file: &str, text: &str) {
        let before = fs::read_to_string(self.config().join(file)).expect("the configuration can be read");
        fs::write(self.config().join(file), before + text).expect("the configuration can be written");
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        with_config(&self.config(), arguments)
    }

    /// A cycle with its code, and what it came to.
    pub(crate) fn cycle(&self, more: &[&str]) -> (Option<i32>, Value) {
        let output = self.run(&[&["--json", "cycle", "start"], more].concat());
        let shown = document(&output);
        assert!(shown["runs"].is_array(), "{shown:#}\n{}", stderr(&output));
        (output.status.code(), shown)
    }

    pub(crate) fn first_cycle(&self) {
        let (code, shown) = self.cycle(&["--initial"]);
        assert_eq!(code, Some(0), "{shown:#}");
    }

    /// The text of a command, whatever comes of it.
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        stdout(&output) + &stderr(&output)
    }
}

/// `mv in/1.ldif in/1.ldif.part` and `: > in/2.ldif` are the accidents of every job that writes files.
#[test]
fn a_file_of_a_folder_that_is_missing_or_empty_takes_nobody_off() {
    let (first, second) = (people(1..9), people(9..30));
    let world = World::with(&[("in/1.ldif", &first), ("in/2.ldif", &second)]);
    world.first_cycle();
    for (accident, file) in [("missing", "1.ldif"), ("empty", "1.ldif"), ("missing", "2.ldif"), ("empty", "2.ldif")] {
        let (path, aside) = (world.at("in").join(file), world.at("aside"));
        fs::rename(&path, &aside).expect("renamed");
        if accident == "empty" {
            fs::write(&path, "").expect("written");
        }
        let (code, shown) = world.cycle(&[]);
        assert_eq!((code, counted(&shown, "stage-delete"), exported(&shown)), (Some(5), 0, 0), "{accident} {file}: {shown:#}");
        let said = shown.to_string();
        let command = "`syncline run start 'corp.example' full-import --allow-shrink`";
        assert!(said.contains(file) && said.contains(command) && said.contains("stopped-missing-file"), "{said}");
        assert!(world.told(&["status"]).contains("missing files"), "{}", world.told(&["status"]));
        fs::rename(&aside, &path).expect("renamed");
        let (code, shown) = world.cycle(&[]);
        assert_eq!((code, exported(&shown)), (Some(0), 0), "{shown:#}");
    }
    // Another file beside them is no surprise, and neither is one that was always empty.
    world.write("in/3.ldif", &people(30..31));
    world.write("in/4.ldif", "");
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "export-add")), (Some(0), 1), "{shown:#}");
    fs::remove_file(world.at("in/4.ldif")).expect("removed");
    assert_eq!(world.cycle(&[]).0, Some(0));
    // What is meant is said once, and counts from then on.
    fs::remove_file(world.at("in/3.ldif")).expect("removed");
    assert_eq!(world.cycle(&[]).0, Some(5));
    assert_code(&world.run(&["run", "start", "corp.example", "full-import", "--allow-shrink"]), 0);
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "export-delete")), (Some(0), 1), "{shown:#}");
    // Files that are all called otherwise are a new delivery.
    fs::rename(world.at("in/1.ldif"), world.at("in/day-2-1.ldif")).expect("renamed");
    fs::rename(world.at("in/2.ldif"), world.at("in/day-2-2.ldif")).expect("renamed");
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, exported(&shown)), (Some(0), 0), "{shown:#}");
}

fn pilot_world() -> World {
    let all = people(1..31) + &group(100, "Pilot", 1..9);
    let world = World::with(&[("people.ldif", &all)]);
    world.add_to("connectors/10-corp.example.toml", &format!("\n[selection]\ngroups = [\"CN=Pilot,{OU}\"]\n"));
    world.first_cycle();
    world
}

#[test]
fn another_group_behind_the_name_of_a_pilot_stops_before_anybody_is_taken_out() {
    for renamed in [true, false] {
        let world = pilot_world();
        if renamed {
            let all = people(1..31) + &group(100, "Pilot old", 1..9) + &group(101, "Pilot", 29..30);
            world.write("people.ldif", &all);
        } else {
            world.write("people.ldif", &people(1..31));
            assert!(world.cycle(&[]).1.to_string().contains("no-start-pilot-group-missing"));
            world.write("people.ldif", &(people(1..31) + &group(101, "Pilot", 1..4)));
        }
        for initial in [&[][..], &["--initial"]] {
            let (code, shown) = world.cycle(initial);
            assert_eq!((code, exported(&shown)), (Some(4), 0), "{shown:#}");
            let said = shown.to_string();
            assert!(said.contains("no-start-pilot-group-replaced") && said.contains("another group than before"), "{said}");
            assert_eq!(said.contains("CN=Pilot old"), renamed, "{said}");
        }
        assert!(!world.told(&["status"]).contains("All is well"), "{}", world.told(&["status"]));
        // Once it is said that this is meant, everybody is looked at at once.
        assert_code(&world.run(&["run", "start", "corp.example", "full-import", "--allow-shrink"]), 0);
        let (code, shown) = world.cycle(&[]);
        let gone = if renamed { 8 } else { 5 };
        assert_eq!((code, counted(&shown, "export-delete")), (Some(0), gone), "{shown:#}");
        let (code, shown) = world.cycle(&["--initial"]);
        assert_eq!((code, exported(&shown)), (Some(0), 0), "nothing is left for later: {shown:#}");
    }
}

#[test]
fn a_pilot_that_is_configured_by_its_new_name_goes_on() {
    let world = pilot_world();
    world.write("people.ldif", &(people(1..31) + &group(100, "Pilot old", 1..9) + &group(101, "Pilot", 29..30)));
    assert_eq!(world.cycle(&[]).0, Some(4));
    let file = world.config().join("connectors/10-corp.example.toml");
    let text = fs::read_to_string(&file).expect("text").replace("CN=Pilot,", "CN=Pilot old,");
    fs::write(&file, text).expect("written");
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "export-delete"), counted(&shown, "export-add")), (Some(0), 0, 0), "{shown:#}");
}

/// Two directories; one person is known by the same consistency GUID in whichever of them it is.
fn two_directories(in_first: bool, in_second: bool) -> (String, String) {
    let anchor = format!("mS-DS-ConsistencyGuid:: {}\n", key(500));
    let text = |here: bool, number: u32, base: u32| {
        let one = if here { person(number, "wanderer", &anchor) } else { String::new() };
        people(base..base + 12) + &one
    };
    (text(in_first, 501, 1), text(in_second, 502, 21))
}

fn world_of_two(in_first: bool, in_second: bool) -> World {
    let (first, second) = two_directories(in_first, in_second);
    let world = World::with(&[("people.ldif", &first), ("lab.ldif", &second)]);
    let text = fs::read_to_string(world.config().join("connectors/10-corp.example.toml")).expect("text");
    let lab = text.replace("name = \"corp.example\"", "name = \"lab\"").replace("people.ldif", "lab.ldif");
    fs::write(world.config().join("connectors/20-lab.toml"), lab).expect("written");
    world
}

fn move_to(world: &World, in_first: bool, in_second: bool) -> (Option<i32>, Value) {
    let (first, second) = two_directories(in_first, in_second);
    world.write("people.ldif", &first);
    world.write("lab.ldif", &second);
    world.cycle(&[])
}

#[test]
fn whoever_moves_to_another_directory_with_the_anchor_is_changed_and_not_deleted() {
    for to_first in [true, false] {
        let world = world_of_two(!to_first, to_first);
        world.first_cycle();
        let (_, shown) = move_to(&world, to_first, !to_first);
        let deletes = (counted(&shown, "export-delete"), counted(&shown, "export-add"));
        assert_eq!(deletes, (0, 0), "to the first: {to_first}: {shown:#}");
        let (code, shown) = world.cycle(&[]);
        assert_eq!((code, exported(&shown)), (Some(0), 0), "to the first: {to_first}: {shown:#}");
        let errors = document(&world.run(&["--json", "errors"]));
        assert_eq!(errors["errors"].as_array().or_else(|| errors["problems"].as_array()).map(Vec::len), Some(0), "{errors:#}");
    }
}

#[test]
fn whoever_moves_slowly_is_not_deleted_when_the_old_object_goes() {
    let world = world_of_two(false, true);
    world.first_cycle();
    let (_, shown) = move_to(&world, true, true);
    assert_eq!((counted(&shown, "export-delete"), counted(&shown, "export-add")), (0, 0), "{shown:#}");
    let said = world.told(&["errors"]);
    assert!(said.contains("ambiguous-join") && said.contains("CN=user 501") && said.contains("CN=user 502"), "{said}");
    assert!(!said.contains("metaverse object 9223372036854"), "{said}");
    let (_, shown) = move_to(&world, true, false);
    assert_eq!((counted(&shown, "export-delete"), counted(&shown, "export-add")), (0, 0), "{shown:#}");
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, exported(&shown)), (Some(0), 0), "{shown:#}");
}

/// Whoever succeeds somebody is entered before the predecessor is taken out.
#[test]
fn who_waits_for_the_name_of_a_predecessor_gets_it_when_that_one_leaves() {
    let world = World::with(&[("in/1.ldif", &people(1..6))]);
    world.first_cycle();
    world.write("in/1.ldif", &(people(1..6) + &person(50, "user1", "")));
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "export-add")), (Some(1), 1), "{shown:#}");
    assert!(world.told(&["errors"]).contains("Quarantined"), "{}", world.told(&["errors"]));
    world.write("in/1.ldif", &(people(2..6) + &person(50, "user1", "")));
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "export-delete")), (Some(0), 1), "{shown:#}");
    assert!(!world.told(&["errors"]).contains("Quarantined"), "{}", world.told(&["errors"]));
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, exported(&shown)), (Some(0), 0), "{shown:#}");
}
