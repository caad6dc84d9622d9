//! Entries that are there and cannot be used: whoever refers to them goes on having whom they may be.

use crate::moves::{OU, World, group, key, people, person};
use crate::{assert_code, counted, exported, stderr, stdout};
use std::fs;

const FILE: &str = "in/1.ldif";

/// Twenty people, of whom the second ten have the first one as their manager, and a group of all.
fn directory() -> String {
    let managed = format!("manager: CN=user 1,{OU}\n");
    let managed = (11..21).map(|number| person(number, &format!("user{number}"), &managed));
    people(1..11) + &managed.collect::<String>() + &crew(1..21)
}

/// A group that the tenant gets.
fn crew(members: impl Iterator<Item = u32>) -> String {
    group(100, "all", members).replace("cn: all\n", "cn: all\ndisplayName: all\ngroupType: -2147483646\n")
}

/// The record of a person without its key, under this name.
fn unusable(directory: &str, number: u32, name: &str) -> String {
    let old = person(number, &format!("user{number}"), "");
    assert!(directory.contains(&old), "{old}");
    let keyless: Vec<&str> = old.lines().filter(|line| !line.starts_with("objectGUID")).collect();
    directory.replace(&old, &(keyless.join("\n") + "\n\n")).replace(&format!("CN=user {number},"), &format!("CN={name},"))
}

/// How many members and managers the tenant has.
fn references(world: &World) -> (usize, usize) {
    let found = crate::document(&world.run(&["--json", "cs", "search", "Entra", "--columns", "member,manager"]));
    let count = |column: &str| {
        let objects = found["objects"].as_array().expect("objects");
        objects.iter().filter_map(|object| object["columns"][column].as_array()).map(Vec::len).sum()
    };
    (count("member"), count("manager"))
}

/// A cycle that sends nothing, and after which the tenant has all references.
#[track_caller]
fn assert_nothing_lost(world: &World, what: &str) {
    let (_, shown) = world.cycle(&[]);
    assert_eq!((exported(&shown), references(world)), (0, (20, 10)), "{what}: {shown:#}");
}

#[test]
fn whoever_cannot_be_used_under_a_new_name_stays_in_all_groups() {
    let good = directory();
    for (number, name) in [(3, "usr 3"), (1, "usr 1")] {
        let world = World::with(&[(FILE, &good)]);
        world.first_cycle();
        let bad = unusable(&good, number, name);
        world.write(FILE, &bad);
        assert_nothing_lost(&world, "renamed");
        assert_nothing_lost(&world, "read once more");
        // Somebody else leaves the group.
        let fewer = bad.replace(&format!("member: CN=user 5,{OU}\n"), "");
        world.write(FILE, &fewer);
        let (_, shown) = world.cycle(&[]);
        assert_eq!((counted(&shown, "export-update"), references(&world)), (1, (19, 10)), "{shown:#}");
        world.write(FILE, &bad);
        world.cycle(&[]);
        // With its key it is the same one.
        world.write(FILE, &good.replace(&format!("CN=user {number},"), &format!("CN={name},")));
        let (code, shown) = world.cycle(&[]);
        assert_eq!((code, counted(&shown, "export-delete"), references(&world)), (Some(0), 0, (20, 10)), "{shown:#}");
        assert_nothing_lost(&world, "mended");
    }
}

#[test]
fn whoever_leaves_under_a_name_that_could_not_be_used_leaves_all_groups() {
    let good = directory();
    let world = World::with(&[(FILE, &good)]);
    world.first_cycle();
    let bad = unusable(&good, 3, "usr 3");
    world.write(FILE, &bad);
    assert_nothing_lost(&world, "renamed");
    // It is somebody else, who takes the memberships with the name; and whoever gets the former name gets none.
    let other = person(33, "other", "").replace("CN=user 33,", "CN=usr 3,");
    let next = person(34, "next", "").replace("CN=user 34,", "CN=user 3,");
    let at = bad.find("dn: CN=usr 3,").expect("the record");
    let end = bad[at..].find("\n\n").expect("an end") + at + 2;
    world.write(FILE, &format!("{}{other}{next}{}", &bad[..at], &bad[end..]));
    let (_, shown) = world.cycle(&[]);
    assert_eq!((counted(&shown, "export-delete"), counted(&shown, "export-add")), (1, 2), "{shown:#}");
    assert_eq!(references(&world), (20, 10));
    let members = crate::document(&world.run(&["--json", "cs", "search", "corp.example", "--columns", "member"]));
    let group = members["objects"]
        .as_array()
        .expect("objects")
        .iter()
        .find(|object| object["dn"].as_str().is_some_and(|dn| dn.starts_with("CN=all,")));
    assert_eq!(group.and_then(|group| group["columns"]["member"].as_array()).map(Vec::len), Some(20), "{members:#}");
}

/// What is held is not shown as what would be sent.
#[test]
fn references_that_stay_are_told_as_such() {
    let good = directory();
    let world = World::with(&[(FILE, &good)]);
    world.first_cycle();
    // Somebody may have moved: the delete waits, and so do the references.
    let old = person(3, "user3", "");
    world.write(FILE, &good.replace(&old, &old.replace("objectClass: user", "objectClass: usr")));
    world.cycle(&[]);
    let planned = crate::document(&world.run(&["--json", "export", "--what-if"]));
    let text = planned.to_string();
    assert!(text.contains("\"held\":[{\"attribute\":\"member\""), "{planned:#}");
    assert!(!text.contains("\"attribute\":\"member\",\"removed\""), "{planned:#}");
    assert!(text.contains("\"updates\":0"), "nothing of the group would be sent: {planned:#}");
    assert!(world.told(&["export", "--what-if"]).contains("  stays for now: member: "));
    let explained = world.told(&["object", "explain", &format!("CN=all,{OU}")]);
    assert!(explained.contains("is to lose references there"), "{explained}");
}

#[test]
fn a_new_store_takes_nothing_from_whoever_cannot_be_used() {
    let good = directory();
    let world = World::with(&[(FILE, &good)]);
    world.first_cycle();
    world.write(FILE, &unusable(&good, 1, "user 1"));
    fs::remove_file(world.config().join("syncline.redb")).expect("it can be removed");
    for round in 0..2 {
        let (_, shown) = world.cycle(&[]);
        assert_eq!(exported(&shown), 0, "{round}: {shown:#}");
    }
    for command in [["status"], ["doctor"]] {
        let told = world.told(&command);
        assert!(told.contains("(user1@corp.example) may be 'CN=user 1,"), "{told}");
        assert!(!told.contains("has to be deleted there"), "{told}");
    }
    // Whoever sends somebody else is told nothing of that.
    let one = unusable(&good, 1, "user 1");
    let titled = one.replace("userPrincipalName: user5@corp.example\n", "userPrincipalName: user5@corp.example\ntitle: New\n");
    assert_ne!(one, titled);
    for (file, asked, told) in [(&titled, "CN=user 5", false), (&one, "CN=user 5", false), (&one, "CN=all", true)] {
        world.write(FILE, file);
        let output = world.run(&["--json", "object", "sync", &format!("{asked},{OU}")]);
        let said = format!("{}{}", stdout(&output), stderr(&output));
        assert_eq!(said.contains("to nobody here were not taken away"), told, "{asked}: {said}");
        assert_eq!((output.status.code(), said.contains("\"export-update\"")), (Some(i32::from(told)), !told), "{asked}: {said}");
    }
    world.write(FILE, &good);
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, exported(&shown), references(&world)), (Some(0), 0, (20, 10)), "{shown:#}");
    assert_code(&world.run(&["status"]), 0);
    // Whoever is not there any more goes, as always.
    world.write(FILE, &unusable(&good, 1, "user 1"));
    fs::remove_file(world.config().join("syncline.redb")).expect("it can be removed");
    world.cycle(&[]);
    let gone = good.replace(&person(1, "user1", ""), "");
    world.write(FILE, &gone);
    // As long as others name who is not there, nobody knows whether the directory only hides them.
    let (_, shown) = world.cycle(&[]);
    assert_eq!(exported(&shown), 0, "{shown:#}");
    let told = world.told(&["cycle", "start"]);
    assert!(told.contains("(user1@corp.example) may be somebody whom 'CN=") && told.contains("names and nobody is"), "{told}");
    world.write(FILE, &gone.replace(&format!("member: CN=user 1,{OU}\n"), "").replace("manager: CN=user 1,", "manager: CN=user 2,"));
    let (_, shown) = world.cycle(&[]);
    assert_eq!((counted(&shown, "export-update"), references(&world)), (11, (19, 10)), "{shown:#}");
    assert!(world.told(&["status"]).contains("has to be deleted there"));
}

#[test]
fn whoever_is_made_anew_in_change_files_has_the_references_to_the_name() {
    let good = directory();
    let world = World::with(&[(FILE, &good)]);
    fs::create_dir(world.at("changes")).expect("the folder can be made");
    assert_code(&world.run(&["connector", "set", "corp.example", "changes", world.at("changes").to_str().expect("a path")]), 0);
    world.first_cycle();
    let anew = person(77, "user1", "").replace("user 77", "user 1").replace("user77", "user1");
    let anew = anew.replacen('\n', "\nchangetype: add\n", 1);
    world.write("changes/0001.ldif", &format!("dn: CN=user 1,{OU}\nchangetype: delete\n\n{anew}"));
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, references(&world)), (Some(0), (20, 10)), "{shown:#}");
    assert_code(&world.run(&["run", "start", "corp.example", "full-import"]), 0);
    assert_nothing_lost(&world, "everything is read");
}

/// Whoever writes the file forgets a line, or may not read it any more.
#[test]
fn a_new_account_of_a_file_that_does_not_say_whether_it_may_be_used_is_not_taken_where_the_others_do() {
    let good = people(1..6);
    let world = World::with(&[(FILE, &good)]);
    world.first_cycle();
    let new = |lost: &str| person(6, "user6", "").lines().filter(|line| !line.starts_with(lost)).collect::<Vec<_>>().join("\n") + "\n\n";
    for lost in ["userAccountControl:", "sAMAccountName:"] {
        world.write(FILE, &(new(lost) + &good));
        let (code, shown) = world.cycle(&[]);
        assert_eq!((code, exported(&shown)), (Some(2), 0), "{lost}: {shown:#}");
        assert!(shown.to_string().contains(&format!("it has no {}", lost.trim_end_matches(':'))), "{lost}: {shown:#}");
    }
    world.write(FILE, &(person(6, "user6", "") + &good));
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, counted(&shown, "export-add")), (Some(0), 1), "{shown:#}");
    // The same of whom a file of changes adds.
    let file = world.config().join("connectors/10-corp.example.toml");
    let (text, changes) = (fs::read_to_string(&file).expect("it can be read"), world.at("changes.ldif"));
    fs::write(&file, format!("changes = \"{}\"\n{text}", changes.display())).expect("it can be written");
    let added = person(7, "user7", "").replace("objectClass", "changetype: add\nobjectClass");
    for (lost, code, adds) in [("userAccountControl: 512\n", Some(2), 0), ("", Some(0), 1)] {
        world.write("changes.ldif", &if lost.is_empty() { added.clone() } else { added.replace(lost, "") });
        let (ended, shown) = world.cycle(&[]);
        assert_eq!((ended, counted(&shown, "export-add")), (code, adds), "{lost}: {shown:#}");
    }
    // Where hardly anybody says it, nobody has to.
    let (most, few) = (people(1..4).replace("userAccountControl: 512\n", ""), people(4..6));
    let world = World::with(&[(FILE, &(most + &few))]);
    world.first_cycle();
}

#[test]
fn a_problem_of_many_entries_is_repeated_of_some_and_listed_of_all() {
    let world = World::with(&[(FILE, &(people(1..13) + &people(13..21).replace("userAccountControl: 512\n", "")))]);
    let output = world.run(&["cycle", "start", "--initial"]);
    assert_code(&output, 2);
    let (summary, told) = (stdout(&output), stderr(&output));
    assert_eq!(summary.matches("it has no userAccountControl").count(), 5, "{summary}");
    assert!(summary.contains("and 3 more notes: ") && summary.contains(" run show 1"), "{summary}");
    assert!(told.contains("and 5 more, which") && told.matches("it has no userAccountControl").count() == 3, "{told}");
    assert_eq!(world.told(&["run", "show", "1"]).matches("it has no userAccountControl").count(), 8);
    let listed = crate::document(&world.run(&["--json", "errors"]));
    assert_eq!(listed["problems"].as_array().map(Vec::len), Some(8), "{listed:#}");
}

#[test]
fn slips_of_many_entries_are_named_of_some() {
    let world = World::with(&[(FILE, &(people(1..6) + &people(6..14).replace("objectClass: user", "objectClass: usr")))]);
    world.cycle(&["--initial"]);
    let noted = world.told(&["run", "show", "1"]);
    assert_eq!(noted.matches("and may be meant as one that is").count(), 3, "{noted}");
    assert!(noted.contains("5 more entries have a class that may be meant as one that is selected"), "{noted}");
    let listed = crate::document(&world.run(&["--json", "errors"]));
    assert_eq!(listed["problems"].as_array().map(Vec::len), Some(8), "{listed:#}");
}

/// What `status` and the guard point to has to show it.
#[test]
fn entries_that_are_kept_for_a_class_are_listed_until_it_is_right() {
    let good = people(1..6);
    let world = World::with(&[(FILE, &good)]);
    world.first_cycle();
    let old = person(3, "user3", "");
    world.write(FILE, &good.replace(&old, &old.replace("objectClass: user", "objectClass: usr")));
    let (_, shown) = world.cycle(&[]);
    assert_eq!(exported(&shown), 0, "{shown:#}");
    let listed = || crate::document(&world.run(&["--json", "errors"]))["problems"].as_array().expect("problems").clone();
    let found = listed();
    let mut about = found.iter().filter(|problem| problem["dn"].as_str().is_some_and(|dn| dn.starts_with("CN=user 3,")));
    let problem = about.next().unwrap_or_else(|| panic!("{found:#?}"));
    assert!(about.next().is_none() && problem["connector"] == "corp.example", "{found:#?}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("class") && detail.contains("guard show")), "{problem:#}");
    let told = world.told(&["cycle", "start"]);
    assert!(told.contains("Problems of earlier runs are still there"), "{told}");
    world.write(FILE, &good);
    world.cycle(&[]);
    assert_eq!(listed().len(), 0);
    let told = world.told(&["cycle", "start"]);
    assert!(!told.contains("Problems of earlier runs"), "{told}");
}

/// A template account was copied with its `mS-DS-ConsistencyGuid`, and a store is made anew.
#[test]
fn who_has_the_key_of_another_for_a_source_anchor_takes_nobodys_object() {
    let good = directory();
    let world = World::with(&[(FILE, &good)]);
    world.first_cycle();
    let own = person(1, "user1", "");
    let copied = own.replace("cn: user 1\n", &format!("cn: user 1\nmS-DS-ConsistencyGuid:: {}\n", key(3)));
    world.write(FILE, &good.replace(&own, &copied));
    fs::remove_file(world.config().join("syncline.redb")).expect("the store");
    for _ in 0..2 {
        let (_, shown) = world.cycle(&[]);
        assert_eq!(exported(&shown), 0, "{shown:#}");
        let errors = world.told(&["errors"]);
        assert!(errors.contains("ambiguous-join  CN=user 1,") && errors.contains("is the key of 'CN=user 3,"), "{errors}");
        let status = world.told(&["status"]);
        assert!(status.contains("delete nobody there before") && !status.contains("has to be deleted"), "{status}");
    }
    world.write(FILE, &good);
    let (code, shown) = world.cycle(&[]);
    assert_eq!((code, exported(&shown), references(&world)), (Some(0), 0, (20, 10)), "{shown:#}");
    assert!(world.told(&["errors"]).contains("has a problem"), "nobody");
}

/// Two keys are exchanged in a file, or three; everything else of these people is as it was.
#[test]
fn exchanged_keys_give_nobody_the_account_of_another() {
    let sid = |number: u32| {
        use base64::Engine as _;
        let octets = [&[1, 5, 0, 0, 0, 0, 0, 5][..], &[21, 0, 0, 0], &[1; 12], &number.to_le_bytes()].concat();
        format!("objectSid:: {}\n", base64::engine::general_purpose::STANDARD.encode(octets))
    };
    let group = crew([1, 4].into_iter());
    let people = |keys: [u32; 5]| -> String {
        let one = |(number, its): (u32, u32)| person(number, &format!("user{number}"), &sid(number)).replace(&key(number), &key(its));
        (1..6).zip(keys).map(one).collect()
    };
    let good = people([1, 2, 3, 4, 5]) + &group;
    let world = World::with(&[(FILE, &good)]);
    world.first_cycle();
    for keys in [[2, 1, 3, 4, 5], [1, 4, 3, 5, 2]] {
        world.write(FILE, &(people(keys) + &group));
        for _ in 0..2 {
            let (code, shown) = world.cycle(&[]);
            assert_eq!((code, exported(&shown), references(&world).0), (Some(2), 0, 2), "{keys:?}: {shown:#}");
        }
        world.write(FILE, &good);
        let (code, shown) = world.cycle(&[]);
        assert_eq!((code, exported(&shown)), (Some(0), 0), "{keys:?}: {shown:#}");
    }
}

/// A slip in a class, or a tool that writes another one.
#[test]
fn nobody_becomes_another_kind_of_object_unasked() {
    let good = directory();
    let world = World::with(&[(FILE, &good)]);
    world.first_cycle();
    let (user, group) = (person(3, "user3", ""), good[good.find("dn: CN=all").expect("the group")..].to_owned());
    let slips = [
        good.replace(&user, &user.replace("objectClass: user", "objectClass: contact")),
        good.replace(&group, &group.replace("objectClass: group", "objectClass: user")),
    ];
    for slip in slips {
        assert_ne!(slip, good);
        world.write(FILE, &slip);
        for _ in 0..2 {
            assert_nothing_lost(&world, "another class");
            assert!(world.told(&["errors"]).contains("which no directory makes of it"));
        }
        world.write(FILE, &good);
        assert_nothing_lost(&world, "the former class");
        assert!(!world.told(&["errors"]).contains("which no directory makes of it"));
    }
    // When it is meant it is said.
    world.write(FILE, &good.replace(&user, &user.replace("objectClass: user", "objectClass: contact")));
    assert_code(&world.run(&["run", "start", "corp.example", "full-import", "--allow-incomplete"]), 0);
    let (_, shown) = world.cycle(&[]);
    assert_eq!(counted(&shown, "export-delete"), 1, "{shown:#}");
}
