//! Attributes that vanish from many objects at once: a right to read that is gone, or a column that an export left out.

use crate::moves::{World, group, person};
use crate::{assert_code, counted, document, exported, stdout};
use std::ops::RangeInclusive;

/// Twelve people with departments, but for some, and six groups with members or none. Groups that are not synchronized, as those that
/// Windows brings along, keep their members.
fn directory(without: RangeInclusive<u32>, members: usize) -> String {
    let department = |number| if without.contains(&number) { "" } else { "department: Engines\n" };
    let people = (1..=12).map(|number| person(number, &format!("user{number}"), department(number)));
    let security = |group: String| group.replace("objectClass: group\n", "objectClass: group\ngroupType: -2147483646\n");
    let team = |number: u32| security(group(100 + number, &format!("Team {number}"), (1..).take(members)));
    let critical = |group: String| group.replace("objectClass: group\n", "objectClass: group\nisCriticalSystemObject: TRUE\n");
    let system = |number: u32| critical(group(200 + number, &format!("System {number}"), 1..4));
    people.chain((1..=6).map(team)).chain((1..=12).map(system)).collect()
}

fn settled() -> World {
    let world = World::with(&[("people.ldif", &directory(13..=13, 3))]);
    world.first_cycle();
    world
}

const ALLOW: [&str; 5] = ["run", "start", "corp.example", "full-import", "--allow-shrink"];

/// Nothing is sent, by whatever way, and what vanished is told with the ways out.
fn assert_stopped(world: &World, told: &[&str]) {
    for _ in 0..2 {
        let (code, shown) = world.cycle(&[]);
        assert_eq!((code, exported(&shown)), (Some(5), 0), "{shown:#}");
        assert_eq!(shown["runs"][0]["result"], "stopped-shrink-guard", "{shown:#}");
        let said = shown.to_string();
        for word in told.iter().chain(&["`syncline doctor`", "`syncline object explain 'CN=", "full-import --allow-shrink`"]) {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    assert_code(&world.run(&["run", "start", "corp.example", "delta-sync"]), 4);
    let waiting = &document(&world.run(&["--json", "export", "--what-if"]))["targets"][0];
    assert_eq!((&waiting["updates"], &waiting["deletes"]), (&0.into(), &0.into()), "{waiting:#}");
    assert!(world.told(&["status"]).contains("shrink guard"), "{}", world.told(&["status"]));
}

#[test]
fn an_attribute_that_most_people_lost_is_not_believed_and_can_be_allowed_once() {
    let world = settled();
    world.write("people.ldif", &directory(1..=10, 3));
    assert_stopped(&world, &["department from 10 of the 12 that had it", "CN=user 1,"]);
    // The mistake is undone: nothing happened.
    world.write("people.ldif", &directory(13..=13, 3));
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, exported(&shown)), (Some(0), 0), "{shown:#}");
    // It was meant: once is once.
    world.write("people.ldif", &directory(1..=10, 3));
    assert_stopped(&world, &["department"]);
    assert_code(&world.run(&ALLOW), 0);
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "export-update")), (Some(0), 10), "{shown:#}");
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, exported(&shown)), (Some(0), 0), "{shown:#}");
}

#[test]
fn groups_that_all_lost_their_members_keep_them() {
    let world = settled();
    world.write("people.ldif", &directory(13..=13, 0));
    assert_stopped(&world, &["member from 6 of the 6 that had it"]);
    assert_code(&world.run(&ALLOW), 0);
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "export-update")), (Some(0), 6), "{shown:#}");
}

#[test]
fn what_a_few_lost_or_an_administrator_left_out_passes() {
    let world = settled();
    world.write("people.ldif", &directory(1..=5, 3));
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "export-update")), (Some(0), 5), "{shown:#}");
    let output = world.run(&["schema", "exclude", "corp.example", "department", "--cloud-values", "recall"]);
    assert_code(&output, 0);
    let (code, shown) = world.cycle(&[]);
    assert!(code < Some(2), "{shown:#}\n{}", stdout(&output));
    assert_eq!(counted(&shown, "export-update"), 7, "{shown:#}");
}

/// The import ends in the middle of the file, behind those who lost the attribute.
#[test]
fn what_vanished_before_an_import_broke_off_is_not_synchronized() {
    let world = settled();
    let whole = directory(1..=10, 3);
    let cut = whole.find("dn: CN=Team 3").expect("a third team") + "dn: CN=Team 3".len();
    world.write("people.ldif", &whole[..cut]);
    let (code, shown) = world.cycle(&[]);
    assert!(code > Some(1), "{shown:#}");
    assert_eq!(exported(&shown), 0, "{shown:#}");
    world.run(&["run", "start", "corp.example", "delta-sync"]);
    let waiting = &document(&world.run(&["--json", "export", "--what-if"]))["targets"][0];
    assert_eq!((&waiting["updates"], &waiting["deletes"]), (&0.into(), &0.into()), "{waiting:#}");
}
