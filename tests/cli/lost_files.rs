//! Files that were read before and are not there any more, or say nothing: whatever was set, restored or spelled meanwhile, they take
//! nobody off.

use crate::moves::{World, people};
use crate::{assert_code, counted, exported};
use std::fs;

const SOURCE: &str = "corp.example";

/// Twenty-nine people in two files of a folder, of which the first has eight.
fn two_files() -> World {
    World::with(&[("in/1.ldif", &people(1..9)), ("in/2.ldif", &people(9..30))])
}

/// Sets a path of the connector.
fn set(world: &World, key: &str, name: &str) {
    assert_code(&world.run(&["connector", "set", SOURCE, key, world.at(name).to_str().expect("a plain path")]), 0);
}

fn with_changes(world: &World) {
    fs::create_dir(world.at("changes")).expect("the folder can be made");
    set(world, "changes", "changes");
}

/// The store as it was, as somebody brings it back.
fn restore(world: &World, name: &str) {
    let backup = world.at(name);
    let backup = backup.to_str().expect("a plain path");
    for act in ["backup", "restore"] {
        assert_code(&world.run(&["store", act, backup]), 0);
    }
}

fn assert_stopped(world: &World, what: &str) {
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "stage-delete"), exported(&shown)), (Some(5), 0, 0), "{what}: {shown:#}");
    let said = shown.to_string();
    assert!(said.contains("stopped-missing-file") && said.contains("1.ldif"), "{what}: {said}");
}

fn assert_nothing_to_send(world: &World, what: &str) {
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "stage-delete"), exported(&shown)), (Some(0), 0, 0), "{what}: {shown:#}");
}

/// Loses the first file in every way, and puts it back.
fn assert_no_way_to_lose_a_file(world: &World, what: &str) {
    let (path, aside) = (world.at("in/1.ldif"), world.at("aside"));
    for left in [None, Some(""), Some("version: 1\n"), Some("# written by a job\n")] {
        let what = format!("{what}, then {left:?}");
        fs::rename(&path, &aside).expect("renamed");
        if let Some(text) = left {
            fs::write(&path, text).expect("written");
        }
        assert_stopped(world, &what);
        // The second try has no more to go on from than the first one.
        assert_stopped(world, &what);
        fs::rename(&aside, &path).expect("renamed");
        assert_nothing_to_send(world, &what);
    }
}

#[test]
fn a_header_is_no_file_and_a_slash_no_other_folder() {
    let world = two_files();
    world.first_cycle();
    assert_no_way_to_lose_a_file(&world, "without change files");
    for spelled in ["in/", "in/../in"] {
        set(&world, "path", spelled);
        fs::rename(world.at("in/1.ldif"), world.at("aside")).expect("renamed");
        assert_stopped(&world, spelled);
        fs::rename(world.at("aside"), world.at("in/1.ldif")).expect("renamed");
        assert_nothing_to_send(&world, spelled);
    }
    // One file is another decision.
    fs::write(world.at("all.ldif"), people(1..30)).expect("written");
    set(&world, "path", "all.ldif");
    assert_nothing_to_send(&world, "one file with all of them");
}

#[test]
fn a_file_is_missed_with_change_files_as_without() {
    let world = two_files();
    with_changes(&world);
    world.first_cycle();
    assert_no_way_to_lose_a_file(&world, "with change files");
    // What is meant is said once.
    fs::remove_file(world.at("in/1.ldif")).expect("removed");
    assert_stopped(&world, "meant");
    assert_code(&world.run(&["run", "start", SOURCE, "full-import", "--allow-shrink"]), 0);
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "export-delete")), (Some(0), 8), "{shown:#}");
}

#[test]
fn a_file_is_missed_when_change_files_are_new() {
    let world = two_files();
    world.first_cycle();
    with_changes(&world);
    fs::rename(world.at("in/1.ldif"), world.at("aside")).expect("renamed");
    assert_stopped(&world, "change files are new");
}

#[test]
fn a_file_is_missed_after_a_restore() {
    let world = two_files();
    world.first_cycle();
    restore(&world, "backup-1");
    assert_no_way_to_lose_a_file(&world, "restored");
    restore(&world, "backup-2");
    restore(&world, "backup-3");
    fs::remove_file(world.at("in/1.ldif")).expect("removed");
    assert_stopped(&world, "restored twice");
}

#[test]
fn change_files_are_remembered_after_a_restore() {
    let world = two_files();
    with_changes(&world);
    world.first_cycle();
    let added = people(30..31).replacen("\nobjectClass", "\nchangetype: add\nobjectClass", 1);
    let taken = world.at("changes/0002.ldif");
    fs::write(&taken, &added).expect("written");
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "export-add")), (Some(0), 1), "{shown:#}");
    restore(&world, "backup");
    let refused = |told: &str| {
        let (code, shown) = world.cycle(&[]);
        assert_eq!((code, counted(&shown, "stage-delete"), exported(&shown)), (Some(3), 0, 0), "{told}: {shown:#}");
        assert!(shown.to_string().contains(told), "{told}: {shown:#}");
    };
    fs::rename(&taken, world.at("aside")).expect("renamed");
    refused("0002.ldif: this change file was taken and is not there");
    fs::rename(world.at("aside"), &taken).expect("renamed");
    let early = world.at("changes/0001.ldif");
    let deleted = people(3..4).lines().next().map(|dn| format!("{dn}\nchangetype: delete\n")).expect("a name");
    fs::write(&early, deleted).expect("written");
    refused("'0002.ldif' behind it was taken already");
    fs::rename(&early, world.at("changes/0003.ldif")).expect("renamed");
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "export-delete")), (Some(0), 1), "{shown:#}");
}

/// A file of changes by itself may grow; whom it added stays as long as nobody says otherwise.
#[test]
fn what_a_single_change_file_told_is_missed_when_it_is_gone() {
    let world = two_files();
    let added = |numbers| people(numbers).replacen("\nobjectClass", "\nchangetype: add\nobjectClass", 1);
    let file = world.at("changes.ldif");
    fs::write(&file, added(30..31)).expect("written");
    set(&world, "changes", "changes.ldif");
    world.first_cycle();
    fs::write(&file, format!("{}\n{}", added(30..31), added(31..32))).expect("written");
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "export-add")), (Some(0), 1), "{shown:#}");
    let stays = |told: &str, options: &[&str]| {
        let (code, shown) = world.cycle(options);
        assert_eq!((code, counted(&shown, "stage-delete"), exported(&shown)), (Some(3), 0, 0), "{told}: {shown:#}");
        assert!(shown.to_string().contains(told), "{told}: {shown:#}");
    };
    for lost in [String::new(), added(31..32)] {
        fs::write(&file, lost).expect("written");
        // Changes are read as they come, and what is missing is missed by whoever reads everything.
        assert_eq!(world.cycle(&[]).0, Some(0));
        stays("whom this change file had added", &["--initial"]);
    }
    fs::write(&file, format!("{}\n{}", added(30..31), added(31..32))).expect("written");
    assert_eq!(world.cycle(&["--initial"]).0, Some(0));
    with_changes(&world);
    stays("a file of changes was taken", &["--initial"]);
    assert_code(&world.run(&["connector", "set", SOURCE, "changes", "--unset"]), 0);
    stays("names something else now", &["--initial"]);
}
