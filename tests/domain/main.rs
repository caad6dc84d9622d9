//! A real Active Directory domain into a tenant, from the first cycle to the last change: after each, the tenant holds
//! what the domain says and nothing else was written, in the tenant or in the domain.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod accounts;
mod disabled;
mod judge;
#[path = "../connectors/labs.rs"]
#[allow(dead_code, reason = "the tests of connectors use the rest")]
mod labs;
mod passwords;
mod person;
mod wizard;
mod wizard_paths;
mod world;

use judge::{Picture, judge};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use world::{EXCLUDED, VERIFIED, World, Write};

const PEOPLE: &str = "OU=People,DC=corp,DC=example";
const GROUPS: &str = "OU=Groups,DC=corp,DC=example";

/// The sum of a counter over all steps.
fn counted(cycle: &Value, counter: &str) -> u64 {
    let runs = cycle["runs"].as_array().unwrap();
    runs.iter().flat_map(|run| run["steps"].as_array().unwrap()).map(|step| step["counters"][counter].as_u64().unwrap_or(0)).sum()
}

fn exports(cycle: &Value) -> u64 {
    ["add", "update", "rename", "delete", "failure"].iter().map(|name| counted(cycle, &format!("export-{name}"))).sum()
}

/// Everything the directory holds, but for what signing in changes.
fn dump(world: &World) -> BTreeSet<String> {
    let volatile = ["lastLogon", "logonCount", "badPasswordTime", "badPwdCount", "lastLogonTimestamp", "uSNChanged", "whenChanged"];
    let mut lines = BTreeSet::new();
    for (dn, entry) in world.lab.search(world.lab.text("base"), "(objectClass=*)", &["*"]) {
        for (name, values) in entry.iter().filter(|(name, _)| !volatile.contains(&name.as_str())) {
            lines.extend(values.iter().map(|value| format!("{dn} {name} {}", String::from_utf8_lossy(value))));
        }
    }
    lines
}

/// The anchor of the object with an account name or mail address.
fn anchor(picture: &Picture, name: &str) -> String {
    let found = picture.iter().find(|(_, seen)| seen.values.values().any(|value| value == name));
    found.unwrap_or_else(|| panic!("nobody is {name}")).0.1.clone()
}

/// One cycle brings exactly these writes: result, anchor, attributes (not compared when none are given).
#[track_caller]
fn brings(world: &World, change: &str, expected: &[(&str, &str, &[&str])]) -> Picture {
    world.forget_writes();
    let cycle = world.cycle(&[]);
    let mut writes = world.writes();
    writes.sort_by(|left, right| (&left.anchor, &left.result).cmp(&(&right.anchor, &right.result)));
    let mut wanted: Vec<_> = expected.to_vec();
    wanted.sort_by(|left, right| (left.1, left.0).cmp(&(right.1, right.0)));
    let fits = |(write, (result, anchor, attributes)): (&Write, &(&str, &str, &[&str]))| {
        let sent: BTreeSet<String> = write.attributes.iter().map(|name| name.to_ascii_lowercase()).collect();
        let named: BTreeSet<String> = attributes.iter().map(|name| name.to_ascii_lowercase()).collect();
        write.result == *result && write.anchor == *anchor && (attributes.is_empty() || sent == named)
    };
    assert!(
        writes.len() == wanted.len() && writes.iter().zip(&wanted).all(fits),
        "{change}\nwanted {wanted:#?}\nwritten {writes:#?}\n{cycle:#}"
    );
    let picture = judge(world, change);
    assert_eq!(exports(&world.cycle(&[])), 0, "a second cycle after: {change}");
    picture
}

#[test]
fn a_domain_from_the_first_cycle_to_the_last_change() {
    let world = World::new(500, 50, 20);
    // One suffix that the tenant does not know, so that it substitutes.
    let stranger = first_user(&world);
    world.modify(&format!("dn: {stranger}\nchangetype: modify\nreplace: userPrincipalName\nuserPrincipalName: somebody@corp.internal\n"));

    let before = dump(&world);
    let first = world.cycle(&["--initial"]);
    let picture = judge(&world, "the first cycle");
    assert_eq!(dump(&world), before, "the domain is read only");
    let of = |kind: &str| picture.keys().filter(|(known, _)| *known == kind).count();
    assert!(of("user") >= 500 && of("group") >= 50 && of("contact") >= 20, "{} {} {}", of("user"), of("group"), of("contact"));
    assert_eq!(counted(&first, "export-add"), picture.len() as u64);
    assert!(
        picture.values().any(|seen| seen.values.get("userPrincipalName").is_some_and(|name| name.ends_with("@contoso.onmicrosoft.com")))
    );
    assert!(picture.values().any(|seen| seen.values.get("accountEnabled").is_some_and(|enabled| enabled == "false")), "nobody is disabled");
    world.forget_writes();
    assert_eq!(exports(&world.cycle(&[])), 0);
    assert_eq!(world.writes(), []);

    changes(&world);
    drift(&world);
    assert_eq!(counted(&world.cycle(&["--initial"]), "export-failure"), 0);
    judge(&world, "everything");
}

fn first_user(world: &World) -> String {
    let found = world.lab.search(PEOPLE, "(&(objectClass=user)(mail=*))", &["mail"]);
    found.keys().find(|dn| dn.is_ascii() && !dn.starts_with("CN=Ada ")).unwrap().clone()
}

fn changes(world: &World) {
    let ada = format!("CN=Ada Example,{PEOPLE}");
    world.modify(&format!(
        "dn: {ada}\nchangetype: add\nobjectClass: user\ncn: Ada Example\nsAMAccountName: ada.example\ngivenName: Ada\nsn: Example\n\
         displayName: Ada Example\nuserPrincipalName: ada.example@{VERIFIED}\nmail: ada.example@{VERIFIED}\ndepartment: Research\n\
         userAccountControl: 544\n\ndn: CN=Bea Boss,{PEOPLE}\nchangetype: add\nobjectClass: user\ncn: Bea Boss\nsAMAccountName: bea.boss\n\
         userPrincipalName: bea.boss@{VERIFIED}\nuserAccountControl: 544\n\ndn: CN=Readers,{GROUPS}\nchangetype: add\nobjectClass: group\n\
         cn: Readers\nsAMAccountName: readers\ngroupType: -2147483640\n"
    ));
    world.forget_writes();
    world.cycle(&[]);
    let picture = judge(world, "creating two users and a group");
    let (user, boss, group) = (anchor(&picture, "ada.example"), anchor(&picture, "bea.boss"), anchor(&picture, "Readers"));
    let made: BTreeSet<(String, String)> = world.writes().into_iter().map(|write| (write.result, write.anchor)).collect();
    let wanted = [&user, &boss, &group].map(|anchor| ("created".to_owned(), anchor.clone()));
    assert_eq!(made, BTreeSet::from(wanted));
    assert_eq!(world.writes().len(), 3, "each created by one write");
    assert_eq!(exports(&world.cycle(&[])), 0);

    let (user, boss, group) = (user.as_str(), boss.as_str(), group.as_str());
    let set = |dn: &str, attribute: &str, value: &str| {
        world.modify(&format!("dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n"));
    };
    set(&ada, "department", "Development");
    brings(world, "changing a department", &[("updated", user, &["department"])]);
    world.modify(&format!("dn: {ada}\nchangetype: modify\ndelete: department\n"));
    brings(world, "clearing a department", &[("updated", user, &["department"])]);
    set(&ada, "manager", &format!("CN=Bea Boss,{PEOPLE}"));
    brings(world, "getting a manager", &[("updated", user, &["manager"])]);

    let renamed = format!("CN=Ada Renamed,{PEOPLE}");
    world.modify(&format!("dn: {ada}\nchangetype: modrdn\nnewrdn: CN=Ada Renamed\ndeleteoldrdn: 1\n"));
    brings(world, "renaming a user", &[("updated", user, &["commonName"])]);
    let unit = world.lab.search(PEOPLE, "(objectClass=organizationalUnit)", &["ou"]);
    let unit = unit.keys().find(|dn| dn.as_str() != PEOPLE && dn.is_ascii()).unwrap();
    let moved = format!("CN=Ada Renamed,{unit}");
    world.modify(&format!("dn: {renamed}\nchangetype: modrdn\nnewrdn: CN=Ada Renamed\ndeleteoldrdn: 1\nnewsuperior: {unit}\n"));
    // No default rule sends where an account lives: nothing is to be written.
    brings(world, "moving a user between units", &[]);

    world.modify(&format!("dn: CN=Readers,{GROUPS}\nchangetype: modify\nadd: member\nmember: {moved}\nmember: CN=Bea Boss,{PEOPLE}\n"));
    brings(world, "adding members", &[("updated", group, &["member"])]);
    world.modify(&format!("dn: CN=Readers,{GROUPS}\nchangetype: modify\ndelete: member\nmember: CN=Bea Boss,{PEOPLE}\n"));
    brings(world, "removing a member", &[("updated", group, &["member"])]);

    set(&moved, "userAccountControl", "546");
    brings(world, "disabling an account", &[("updated", user, &["accountEnabled"])]);
    set(&moved, "userAccountControl", "544");
    brings(world, "enabling it again", &[("updated", user, &["accountEnabled"])]);
    set(&moved, "manager", &first_user(world));
    brings(world, "changing a manager", &[("updated", user, &["manager"])]);

    // Out of scope, the user goes into the recycle bin; back in scope, the same cloud object comes out of it.
    let id = |world: &World| {
        let users = world.graph_list("/users?$select=id,onPremisesImmutableId&$top=200");
        users.iter().find(|found| found["onPremisesImmutableId"] == user).map(|found| found["id"].clone())
    };
    let before = id(world).unwrap();
    world.modify(&format!("dn: {moved}\nchangetype: modrdn\nnewrdn: CN=Ada Renamed\ndeleteoldrdn: 1\nnewsuperior: {EXCLUDED}\n"));
    brings(world, "moving out of scope", &[("deleted", user, &[]), ("updated", group, &["member"])]);
    assert_eq!(id(world), None);
    world.modify(&format!(
        "dn: CN=Ada Renamed,{EXCLUDED}\nchangetype: modrdn\nnewrdn: CN=Ada Renamed\ndeleteoldrdn: 1\nnewsuperior: {PEOPLE}\n"
    ));
    brings(world, "moving back", &[("restored", user, &[]), ("updated", group, &["member"])]);
    assert_eq!(id(world), Some(before.clone()));

    // A deleted account that is reanimated is the same account, though the directory has forgotten most of it.
    world.modify(&format!("dn: {renamed}\nchangetype: delete\n"));
    brings(world, "deleting a user", &[("deleted", user, &[]), ("updated", group, &["member"])]);
    world.lab.modify_with(
        &format!(
            "dn:{}\nchangetype: modify\ndelete: isDeleted\n-\nreplace: distinguishedName\ndistinguishedName: {renamed}\n",
            world.deleted("ada.example")
        ),
        &["-e", "!1.2.840.113556.1.4.417"],
    );
    world.modify(&format!(
        "dn: {renamed}\nchangetype: modify\nreplace: userPrincipalName\nuserPrincipalName: ada.example@{VERIFIED}\n-\nreplace: displayName\ndisplayName: Ada Again\n"
    ));
    // The tenant gives back values of before of which the directory knows nothing any more: they go in the same cycle.
    brings(world, "restoring a user", &[("restored", user, &[]), ("updated", user, &["givenName", "mail", "surname", "manager"])]);
    assert_eq!(id(world), Some(before));

    world.modify(&format!("dn: CN=Readers,{GROUPS}\nchangetype: delete\n"));
    brings(world, "deleting a group", &[("deleted", group, &[])]);
    set(&format!("CN=Bea Boss,{PEOPLE}"), "displayName", "Bea the Boss");
    brings(world, "naming the boss", &[("updated", boss, &["displayName"])]);
}

/// A value changed in the tenant behind our back is found by the next full import, named, and put right.
fn drift(world: &World) {
    world.meddle(&format!("bea.boss@{VERIFIED}"), &json!({"displayName": "Somebody Else"}));
    world.forget_writes();
    let output = world.syncline(&["--json", "run", "start", "Entra", "full-import"]);
    assert_eq!(output.status.code(), Some(1), "drift is a warning: {}", String::from_utf8_lossy(&output.stdout));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("drift") && shown.contains("displayName"), "{shown}");
    let cycle = world.cycle(&[]);
    assert_eq!(exports(&cycle), 1, "{cycle:#}");
    assert_eq!(world.writes().len(), 1);
    judge(world, "drift");
}
