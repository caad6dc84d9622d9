//! Files and values of every bad sort: each is named, stops no more than it must, and deletes nothing.

use crate::world::{World, counted, exported, person};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One group; `more` are further lines.
fn group(number: u32, more: &str) -> String {
    let id = STANDARD.encode([[1u8; 12].as_slice(), &number.to_be_bytes()].concat());
    let sid =
        STANDARD.encode([&[1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0][..], &number.to_le_bytes()].concat());
    format!(
        "dn: CN=Group {number},OU=People,DC=corp,DC=example\nobjectClass: top\nobjectClass: group\ncn: Group {number}\n\
         objectGUID:: {id}\nobjectSid:: {sid}\nsAMAccountName: g{number}\ngroupType: -2147483640\n{more}\n"
    )
}

fn file(records: &[String]) -> String {
    format!("version: 1\n\n{}", records.join("\n"))
}

fn people(count: u32) -> Vec<String> {
    (1..=count).map(|number| person(number, "")).collect()
}

/// A world in which five people were sent, and nothing since.
fn settled() -> World {
    let world = World::new(&file(&people(5)), &[]);
    assert_eq!(counted(&world.cycle(0, &["--initial"]), "export-add"), 5);
    world.clear("/traffic");
    world
}

/// Bad input is there now: the cycle ends so, says this, and deletes nothing.
#[track_caller]
fn suffers(world: &World, directory: &str, code: i32, said: &[&str]) -> Value {
    world.write_directory(directory);
    let cycle = world.cycle(code, &[]);
    let told = format!("{cycle}{}", world.json(0, &["errors"]));
    for words in said {
        assert!(told.contains(words), "{words:?} is not in {told}");
    }
    assert_eq!((counted(&cycle, "stage-delete"), counted(&cycle, "export-delete")), (0, 0), "{cycle:#}");
    world.check_store();
    cycle
}

/// Good input heals everything; what was not touched by the trouble is not written again.
#[track_caller]
fn heals(world: &World, directory: &str, exports: u64) {
    world.write_directory(directory);
    assert_eq!(exported(&world.cycle(0, &[])), exports);
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    assert_eq!(world.json(0, &["errors"])["problems"].as_array().map(Vec::len), Some(0));
    world.check_store();
}

/// Wherever a file with a promised end is cut, it is not read to the end.
#[test]
fn a_truncated_file_is_not_believed() {
    let world = settled();
    let whole = format!(
        "# syncline: this file ends with a line that counts its records\n{}\n# syncline: end of file, records: 5\n",
        file(&people(5))
    );
    for (end, said) in [
        ("sAMAccountName: p4", ["directory.ldif, line ", "cut off", "write it anew"]),
        ("displayName: Person 4\n", ["directory.ldif, line ", "cut off", "closing line"]),
        ("userPrincipalName: p3@corp.example\nuserAccountControl: 512\n\n", ["directory.ldif, line ", "cut off", "closing line"]),
    ] {
        let cut = &whole[..whole.find(end).unwrap() + end.len()];
        let cycle = suffers(&world, cut, 3, &said);
        assert_eq!(cycle["runs"][0]["result"], "stopped-file", "{cycle:#}");
        assert_eq!(world.writes(), 0);
    }
    heals(&world, &whole, 0);
}

/// A container is included by mistake, its file is cut in the middle, and the container is excluded again.
#[test]
fn half_of_another_selection_goes_nowhere() {
    let whole = |count: u32| {
        let contractors = (6..=count).map(|number| person(number, "").replace("OU=People", "OU=Contractors"));
        let records: Vec<String> = people(5).into_iter().chain(contractors).collect();
        format!(
            "# syncline: this file ends with a line that counts its records\n{}\n# syncline: end of file, records: {count}\n",
            file(&records)
        )
    };
    // More than come in one page.
    let all = whole(1_200);
    let world = World::new(&all, &[]);
    let select = |verb: &str| world.json(0, &["partition", verb, "corp", "OU=Contractors,DC=corp,DC=example"]);
    select("exclude");
    assert_eq!(counted(&world.cycle(0, &["--initial"]), "export-add"), 5);
    world.clear("/traffic");
    select("include");
    world.write_directory(&all[..all.len() - 100]);
    for _ in 0..2 {
        let cycle = world.cycle(3, &[]);
        assert_eq!(cycle["runs"][0]["result"], "stopped-file", "{cycle:#}");
        assert!(counted(&cycle, "stage-add") > 100 && exported(&cycle) == 0, "{cycle:#}");
        assert_eq!(world.writes(), 0);
    }
    let told = world.json(2, &["status"]).to_string();
    assert!(told.contains("nothing of corp is synchronized") && told.contains("what is read of it changed"), "{told}");
    let refused = world.json(4, &["run", "start", "corp", "delta-sync"]).to_string();
    assert!(refused.contains("what is read of it changed"), "{refused}");
    select("exclude");
    heals(&world, &all, 0);
    assert_eq!(world.writes(), 0);
}

/// Files of others promise nothing; but one that ends within an entry deletes nobody.
#[test]
fn a_file_that_ends_within_an_entry_deletes_nobody() {
    let world = settled();
    let whole = file(&people(5));
    let fourth = whole.find("dn: CN=Person 4").unwrap();
    for end in ["objectClass: top\n", "objectClass: user\n", "displayName: Person 4\n"] {
        let cut = fourth + whole[fourth..].find(end).unwrap() + end.len();
        let cycle = suffers(&world, &whole[..cut], 2, &["directory.ldif, line 39", "may be cut off", "write the file anew"]);
        assert_eq!(cycle["runs"][0]["result"], "completed-discovery-errors", "{cycle:#}");
        assert_eq!(world.writes(), 0);
    }
    let cut = fourth + "dn: CN=Person 4,OU=People,DC=corp".len();
    suffers(&world, &whole[..cut], 3, &["directory.ldif, line 39", "cut off", "write it anew"]);
    assert_eq!(world.writes(), 0);
    heals(&world, &whole, 0);
}

#[test]
fn an_empty_file_is_not_believed() {
    let world = settled();
    suffers(&world, "version: 1\n", 5, &["none of the 5 objects of 'corp'", "CN=Person 1,", "--allow-shrink"]);
    assert_eq!(world.writes(), 0);
    heals(&world, &file(&people(5)), 0);
}

#[test]
fn bad_base64_is_a_problem_of_one_object() {
    let world = settled();
    let mut records = people(5);
    records[2] = person(3, "thumbnailPhoto:: %%%not-base64%%%\n");
    records[3] = person(4, "department: Changed\n");
    let cycle = suffers(&world, &file(&records), 2, &["directory.ldif, line 37", "CN=Person 3,", "thumbnailPhoto", "not valid base64"]);
    assert_eq!(counted(&cycle, "export-update"), 1, "the others go on");
    heals(&world, &file(&people(5)), 1);
}

#[test]
fn a_name_that_is_none_deletes_nobody() {
    let world = settled();
    let broken = file(&people(5)).replace("dn: CN=Person 3,OU=People,DC=corp,DC=example", "dn: Person 3 without a form");
    suffers(&world, &broken, 2, &["directory.ldif, line 27", "Person 3 without a form", "not a distinguished name"]);
    assert_eq!(world.writes(), 0);
    heals(&world, &file(&people(5)), 0);
}

#[test]
fn of_two_entries_with_one_anchor_the_second_is_named() {
    let world = settled();
    let mut records = people(5);
    records.push(person(5, "").replace("Person 5", "Person 5 again"));
    suffers(&world, &file(&records), 2, &["CN=Person 5 again,", "CN=Person 5,", "same anchor", "give each its own"]);
    let told = world.json(0, &["errors"])["problems"][0]["detail"].as_str().unwrap().to_owned();
    let line = |name: &str| 1 + file(&records).lines().position(|line| line.starts_with(&format!("dn: CN={name},"))).unwrap();
    let source = world.directory_file().display().to_string();
    let places = format!("{source}, line {}, and {source}, line {}", line("Person 5"), line("Person 5 again"));
    assert!(told.contains(&places), "{places}: {told}");
    assert_eq!(world.writes(), 0);
    heals(&world, &file(&people(5)), 0);
}

/// How the tenant names the object that has the value already.
const OTHER: &str = "The other object is User p1@corp.example (";

/// What a person is called in the connector space of the cloud.
fn cloud_name(number: u32) -> String {
    format!("CN={{{}}}", hex::encode_upper(STANDARD.encode([[0u8; 12].as_slice(), &number.to_be_bytes()].concat())))
}

/// The objects with a problem.
fn refused(world: &World) -> Vec<String> {
    world.json(0, &["errors"])["problems"].as_array().unwrap().iter().map(|problem| problem["dn"].as_str().unwrap().to_owned()).collect()
}

/// Without resilience the tenant refuses the second of two, and says which attribute and which other object.
#[test]
fn a_duplicate_sign_in_name_is_refused_with_both_objects_named() {
    let world = settled();
    world.put(
        "/features",
        &json!({"set": {"quarantineUponUpnConflictEnabled": false, "quarantineUponProxyAddressesConflictEnabled": false}}),
    );
    let broken = file(&people(5)).replace("userPrincipalName: p2@corp.example", "userPrincipalName: p1@corp.example");
    let cycle =
        suffers(&world, &broken, 2, &["AttributeValueMustBeUnique", "UserPrincipalName p1@corp.example", OTHER, "Change the value"]);
    assert_eq!(counted(&cycle, "export-failure"), 1);
    assert_eq!(refused(&world), [cloud_name(2)]);
    assert!(world.tenant_state().iter().any(|line| line.contains("p2@corp.example")), "the refused object keeps its name");
    heals(&world, &file(&people(5)), 0);
}

#[test]
fn lesson_25_a_duplicate_address_is_refused_with_both_objects_named() {
    let world = settled();
    world.put(
        "/features",
        &json!({"set": {"quarantineUponUpnConflictEnabled": false, "quarantineUponProxyAddressesConflictEnabled": false}}),
    );
    let mut records = people(5);
    records[0] = person(1, "proxyAddresses: SMTP:same@corp.example\n");
    world.write_directory(&file(&records));
    assert_eq!(exported(&world.cycle(0, &[])), 1);
    records[1] = person(2, "proxyAddresses: smtp:same@corp.example\n");
    suffers(
        &world,
        &file(&records),
        2,
        &["AttributeValueMustBeUnique", "ProxyAddresses smtp:same@corp.example", OTHER, "Change the value"],
    );
    assert_eq!(refused(&world), [cloud_name(2)]);
    records[1] = person(2, "");
    heals(&world, &file(&records), 0);
}

/// With resilience, the tenant's default, the second object is created, and its value is put aside.
#[test]
fn a_duplicate_sign_in_name_of_a_new_object_is_put_aside() {
    let world = settled();
    let mut records = people(6);
    records[5] = records[5].replace("p6@corp.example", "p1@corp.example");
    world.write_directory(&file(&records));
    assert_eq!(counted(&world.cycle(1, &[]), "export-add"), 1);
    assert!(world.tenant_state().iter().any(|line| line.contains("\"quarantined\":[{")), "nothing was put aside");
    let problems = world.json(0, &["errors"]);
    assert_eq!(problems["problems"][0]["code"], "QuarantinedAttributeValueMustBeUnique", "{problems:#}");
    assert_eq!(exported(&world.cycle(0, &[])), 0, "read-back shows what was written");
}

#[test]
fn groups_in_a_circle_are_groups() {
    let world = settled();
    let member = |number: u32| format!("member: CN=Group {number},OU=People,DC=corp,DC=example\n");
    let mut records = people(5);
    records.extend([group(1, &member(2)), group(2, &member(3)), group(3, &(member(1) + &member(3)))]);
    world.write_directory(&file(&records));
    assert_eq!(counted(&world.cycle(0, &[]), "export-add"), 3);
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    let members: usize =
        world.tenant_state().iter().filter(|line| line.contains("\"Group\"")).map(|line| line.matches("AQEBAQEBAQEBAQEB").count()).sum();
    // Each group shows its own anchor and those of its members.
    assert_eq!(members, 3 + 4);
    world.check_store();
    heals(&world, &file(&people(5)), 3);
}

#[test]
fn a_manager_who_is_missing_comes_later() {
    let world = settled();
    let mut records = people(5);
    records[0] = person(1, "manager: CN=Person 6,OU=People,DC=corp,DC=example\n");
    world.write_directory(&file(&records));
    assert_eq!(exported(&world.cycle(0, &[])), 0, "nobody to refer to");
    records.push(person(6, ""));
    world.write_directory(&file(&records));
    let cycle = world.cycle(0, &[]);
    assert_eq!((counted(&cycle, "export-add"), counted(&cycle, "export-update")), (1, 1));
    assert_eq!(exported(&world.cycle(0, &[])), 0);
}

/// More members than the cloud takes: the group stays away, and everybody else comes.
#[test]
fn a_group_of_250_000_members_stays_at_home() {
    let world = settled();
    let mut members = String::new();
    for number in 0..250_000 {
        writeln!(members, "member: CN=M{number},DC=x").unwrap();
    }
    let mut records = people(6);
    records.push(group(1, &members));
    world.write_directory(&file(&records));
    let cycle = world.cycle(0, &[]);
    assert_eq!((counted(&cycle, "stage-add"), counted(&cycle, "export-add")), (2, 1), "{cycle:#}");
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    let told = world.json(0, &["object", "explain", "CN=Group 1,OU=People,DC=corp,DC=example"]).to_string();
    assert!(told.contains("No outbound rule provisions it") && told.contains("250000"), "{told}");
    records[6] = group(1, "member: CN=Person 1,OU=People,DC=corp,DC=example\n");
    world.write_directory(&file(&records));
    assert_eq!(counted(&world.cycle(0, &[]), "export-add"), 1);
    world.check_store();
}

/// Large values go their own way around the records, whole, and are sent once.
#[test]
fn an_attribute_of_ten_megabytes_arrives_whole() {
    let world = settled();
    let mut records = people(5);
    let photo = STANDARD.encode(vec![7u8; 10 << 20]);
    records[0] = person(1, &format!("thumbnailPhoto:: {photo}\n"));
    world.write_directory(&file(&records));
    let cycle = world.cycle(0, &[]);
    assert_eq!((counted(&cycle, "export-update"), exported(&cycle)), (1, 1));
    assert!(world.tenant_state().iter().any(|line| line.contains(&photo)), "the photo did not arrive");
    assert_eq!(exported(&world.cycle(0, &[])), 0);
    heals(&world, &file(&people(5)), 1);
}

/// Where a rule cannot carry such a value, the person stays as it was, and rule and attribute are named.
#[test]
fn ten_megabytes_where_they_have_no_place_are_refused_with_rule_and_attribute() {
    let world = settled();
    let mut records = people(5);
    records[0] = person(1, &format!("department: {}\n", "x".repeat(10 << 20)));
    records[1] = person(2, "department: Sales\n");
    let said =
        ["mv-constraint-violation", "CN=Person 1,", "In from AD - User Common", "attribute department", "10485760 characters", "Left"];
    let cycle = suffers(&world, &file(&records), 2, &said);
    assert_eq!(exported(&cycle), 1, "the others go on: {cycle:#}");
    heals(&world, &file(&people(5)), 1);
}

#[test]
fn a_typing_error_in_the_configuration_is_shown_with_its_place() {
    let world = settled();
    let path = world.connector_file("10-");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("path =", "paht =")).unwrap();
    let output = world.syncline(&["cycle", "start"]);
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{shown}");
    assert!(shown.contains("paht") && shown.contains("path") && shown.contains("10-corp") && shown.contains(".toml:"), "{shown}");
    std::fs::write(&path, text).unwrap();
    heals(&world, &file(&people(5)), 0);
}

/// A delta tells everything once: what could not be used of it is found by reading all.
#[test]
fn a_change_that_could_not_be_used_makes_the_next_import_a_full_one() {
    let world = settled();
    let changes = world.directory_file().with_file_name("changes.txt");
    std::fs::write(&changes, "version: 1\n").unwrap();
    let path = world.connector_file("10-");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\npath =", &format!("\nchanges = \"{}\"\npath =", changes.display()), 1)).unwrap();
    world.cycle(0, &[]);
    let told = |cycle: &Value| cycle["runs"][0]["steps"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(told(&world.cycle(0, &[])), "", "a delta import");

    let rename = "dn: CN=Person 2,OU=People,DC=corp,DC=example\nchangetype: modrdn\nnewrdn: CN=Person 2+sn=Two\ndeleteoldrdn: 1\n";
    std::fs::write(&changes, rename).unwrap();
    let cycle = world.cycle(2, &[]);
    assert!(told(&cycle).contains("need-full-object"), "{cycle:#}");
    assert_eq!(exported(&cycle), 0);
    std::fs::write(&changes, "version: 1\n").unwrap();
    let cycle = world.cycle(0, &[]);
    assert!(told(&cycle).contains("a full step, because an earlier import could not use all that it was told"), "{cycle:#}");
    assert_eq!(exported(&cycle), 0);
    assert_eq!(told(&world.cycle(0, &[])), "", "a delta import again");
}
