//! Delta imports from a real domain controller (Samba): whatever changes, the space is afterwards what a full import
//! from scratch makes of it, and no full step was needed.

mod random;
mod world;

use crate::labs::{self, Lab};
use futures_util::StreamExt as _;
use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;
use syncline::connector::Connector as _;
use syncline::connector::ad::{AdConnector, DeltaMode};
use syncline::context::Context;
use syncline::engine::run::Profile;
use syncline::store::StepKind;
use world::World;
pub(crate) use world::run_source;

const BASE: &str = "DC=corp,DC=example";

/// A domain that these tests change, each below containers of its own.
pub(crate) fn domain() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| labs::up("samba-ad", &labs::recipe(10, 2, 2), &[]))
}

/// Two containers for one test: what is imported, and what is not.
fn containers(name: &str) -> (String, String) {
    (format!("OU={name},{BASE}"), format!("OU={name} Outside,{BASE}"))
}

pub(crate) fn unit(dn: &str) -> String {
    format!("dn: {dn}\nchangetype: add\nobjectClass: organizationalUnit\n\n")
}

pub(crate) fn user(dn: &str, account: &str) -> String {
    format!("dn: {dn}\nchangetype: add\nobjectClass: user\nsAMAccountName: {account}\ndisplayName: {account}\n\n")
}

fn group(dn: &str, account: &str, members: &[&str]) -> String {
    let mut text = format!("dn: {dn}\nchangetype: add\nobjectClass: group\nsAMAccountName: {account}\n");
    for member in members {
        writeln!(text, "member: {member}").unwrap();
    }
    text + "\n"
}

fn change(dn: &str, operation: &str, attribute: &str, values: &[&str]) -> String {
    let mut text = format!("dn: {dn}\nchangetype: modify\n{operation}: {attribute}\n");
    for value in values {
        writeln!(text, "{attribute}: {value}").unwrap();
    }
    text + "\n"
}

pub(crate) fn rename(dn: &str, name: &str, parent: Option<&str>) -> String {
    let superior = parent.map(|parent| format!("newsuperior: {parent}\n")).unwrap_or_default();
    format!("dn: {dn}\nchangetype: modrdn\nnewrdn: {name}\ndeleteoldrdn: 1\n{superior}\n")
}

fn delete(dn: &str) -> String {
    format!("dn: {dn}\nchangetype: delete\n\n")
}

/// Every kind of change, one after the other.
#[expect(clippy::many_single_char_names, reason = "people of a made-up directory")]
fn every_kind(prefix: &str, mode: DeltaMode) {
    let (inside, outside) = containers(prefix);
    let world = World::new(domain(), &[&inside], mode);
    let stem = prefix.to_lowercase();
    let (a, b, c) = (format!("CN=A,{inside}"), format!("CN=B,{inside}"), format!("CN=C,{outside}"));
    let staff = format!("CN=Staff,{inside}");
    world.modify(
        &(unit(&inside)
            + &unit(&outside)
            + &user(&a, &format!("{stem}a"))
            + &user(&b, &format!("{stem}b"))
            + &user(&c, &format!("{stem}c"))),
    );
    world.modify(&group(&staff, &format!("{stem}staff"), &[&a, &c]));
    world.begin();
    assert!(world.watermark().is_some());
    let nothing = world.follow("nothing");
    assert_eq!(nothing.get("stage-update").or(nothing.get("stage-add")), None, "{nothing:?}");

    world.modify(&change(&a, "replace", "title", &["Head"]));
    world.follow("a value set");
    assert!(world.says(&a).iter().any(|value| value.contains("title") && value.contains("Head")));
    world.modify(&(change(&a, "replace", "proxyAddresses", &["SMTP:a@x", "smtp:b@x"]) + &change(&a, "replace", "mail", &["a@x"])));
    world.follow("several values");
    world.modify(&change(&a, "delete", "proxyAddresses", &["smtp:b@x"]));
    world.follow("one value less");
    world.modify(&change(&a, "replace", "title", &[]));
    world.follow("a value cleared");
    assert!(!world.says(&a).iter().any(|value| value.contains("title")));

    let d = format!("CN=D,{inside}");
    world.modify(&(user(&d, &format!("{stem}d")) + &change(&staff, "add", "member", &[&d]) + &change(&a, "add", "manager", &[&d])));
    let counters = world.follow("a new user who is member and manager");
    assert_eq!(counters.get("stage-add"), Some(&1), "{counters:?}");
    world.modify(&change(&a, "replace", "manager", &[&b]));
    world.follow("another manager");
    world.modify(&change(&a, "replace", "manager", &[]));
    world.follow("no manager");
    world.modify(&(change(&staff, "delete", "member", &[&d]) + &change(&staff, "add", "member", &[&b])));
    world.follow("members come and go");

    // A link that was removed has the name of the time of its removal.
    let d2 = format!("CN=D\\, renamed,{inside}");
    world.modify(&(change(&staff, "add", "member", &[&d])));
    world.follow("a member more");
    world.modify(&(change(&staff, "delete", "member", &[&d]) + &rename(&d, "CN=D\\, renamed", None)));
    world.follow("a member removed and then renamed");
    world.modify(&(rename(&d2, "CN=D", None) + &change(&staff, "add", "member", &[&d])));
    world.follow("a member renamed and then added");

    world.modify(&rename(&b, "CN=Bert", None));
    let b = format!("CN=Bert,{inside}");
    let counters = world.follow("a member renamed");
    assert_eq!(counters.get("stage-rename"), Some(&1), "{counters:?}");
    world.modify(&rename(&b, "CN=Bert", Some(&outside)));
    world.follow("a member moved out of scope");
    let gone = format!("CN=Bert,{outside}");
    assert!(!world.has(&b) && world.says(&staff).contains(&format!("member->{gone} true")));
    world.modify(&rename(&gone, "CN=Berta", None));
    world.follow("a member renamed out of scope");
    world.modify(&rename(&format!("CN=Berta,{outside}"), "CN=Bert", Some(&inside)));
    world.follow("a member moved into scope");
    assert!(world.says(&staff).contains(&format!("member->{b} false")));
    world.modify(&rename(&c, "CN=C", Some(&inside)));
    world.follow("one who was never in scope moved into it");

    let (team, team2) = (format!("OU=Team,{inside}"), format!("OU=Squad,{inside}"));
    let e = format!("CN=E,{team}");
    world.modify(
        &(unit(&team) + &user(&e, &format!("{stem}e")) + &change(&staff, "add", "member", &[&e]) + &rename(&a, "CN=A", Some(&team))),
    );
    world.follow("a container with people");
    world.modify(&rename(&team, "OU=Squad", None));
    world.follow("the container renamed");
    assert!(world.has(&format!("CN=A,{team2}")));
    world.modify(&(unit(&team) + &user(&e, &format!("{stem}e2"))));
    world.follow("a new container and somebody of the old name");
    world.modify(&rename(&team2, "OU=Squad", Some(&outside)));
    world.follow("the container moved out of scope");
    assert!(!world.has(&format!("CN=A,{team2}")));
    world.modify(&rename(&format!("OU=Squad,{outside}"), "OU=Squad", Some(&inside)));
    world.follow("the container moved back");

    world.modify(&delete(&d));
    let counters = world.follow("a member deleted");
    assert_eq!(counters.get("stage-delete"), Some(&1), "{counters:?}");
    world.modify(&(delete(&b) + &user(&b, &format!("{stem}b2")) + &change(&staff, "add", "member", &[&b])));
    world.follow("one deleted and another made under the name, and member");
    world.modify(
        &(rename(&b, "CN=X", None) + &rename(&e, "CN=Bert", Some(&inside)) + &rename(&format!("CN=X,{inside}"), "CN=E", Some(&team))),
    );
    world.follow("two who change names");
    let outsider = format!("CN=Z,{outside}");
    world.modify(&(user(&outsider, &format!("{stem}z")) + &change(&staff, "add", "member", &[&outsider])));
    world.follow("a member who is out of scope");
    world.modify(&delete(&outsider));
    world.follow("a member deleted who is out of scope");
    let (kept, lost) = (format!("CN=Kept,{inside}"), format!("CN=Lost,{inside}"));
    world.modify(&(user(&kept, &format!("{stem}k")) + &user(&lost, &format!("{stem}l")) + &delete(&lost)));
    world.follow("one made and deleted in between");
    let quoted = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        "\"Changed-Password-1\"".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
    );
    world.modify(&format!("dn: {kept}\nchangetype: modify\nreplace: unicodePwd\nunicodePwd:: {quoted}\n\n"));
    let counters = world.follow("a password");
    assert!(["stage-add", "stage-update", "stage-rename"].iter().all(|name| !counters.contains_key(*name)), "{counters:?}");
    world.modify(&delete(&staff));
    world.follow("a group deleted");
}

#[test]
fn every_kind_of_change_arrives_by_dirsync() {
    every_kind("Replicated", DeltaMode::Auto);
}

#[test]
fn every_kind_of_change_arrives_by_dirsync_of_what_is_visible() {
    every_kind("Visible", DeltaMode::DirSyncVisible);
}

#[test]
fn every_kind_of_change_arrives_by_numbers() {
    every_kind("Numbered", DeltaMode::Usn);
}

#[test]
fn lesson_11_one_member_more_in_a_large_group_is_one_reference() {
    let (inside, _) = containers("Large");
    let world = World::new(domain(), &[&inside], DeltaMode::Auto);
    let staff = format!("CN=Everybody,{inside}");
    let people: Vec<String> = (0..1_600).map(|number| format!("CN=c{number},{inside}")).collect();
    let mut made = unit(&inside);
    for dn in &people {
        write!(made, "dn: {dn}\nchangetype: add\nobjectClass: contact\n\n").unwrap();
    }
    world.modify(&made);
    let members: Vec<&str> = people[..1_599].iter().map(String::as_str).collect();
    world.modify(&group(&staff, "everybody", &members));
    world.begin();
    assert_eq!(world.says(&staff).iter().filter(|value| value.starts_with("member->")).count(), 1_599);
    world.modify(&(change(&staff, "add", "member", &[&people[1_599]]) + &change(&staff, "delete", "member", &[&people[7]])));
    let before = world.store.io_counts();
    world.run(Profile::DeltaImport);
    let after = world.store.io_counts();
    assert!(after.rows_written - before.rows_written < 40, "{before:?} {after:?}");
    world.follow("a member more and one less");
    let says = world.says(&staff);
    assert_eq!(says.iter().filter(|value| value.starts_with("member->")).count(), 1_599);
    world.modify(&group(&format!("CN=New,{inside}"), "everynew", &members));
    world.follow("a new group with many members");
}

#[test]
fn a_changed_value_that_changes_back_is_seen_by_the_next_full_import() {
    let (inside, _) = containers("Back");
    let world = World::new(domain(), &[&inside], DeltaMode::Auto);
    let a = format!("CN=A,{inside}");
    world.modify(&(unit(&inside) + &user(&a, "backa") + &change(&a, "replace", "title", &["one"])));
    world.begin();
    world.modify(&change(&a, "replace", "title", &["two"]));
    world.follow("two");
    world.modify(&change(&a, "replace", "title", &["one"]));
    // Not by a delta: what the full import before the last one said must not be taken for what the space has.
    world.begin();
    assert!(world.says(&a).iter().any(|value| value.contains("one")), "{:?}", world.says(&a));
}

#[test]
fn who_cannot_see_what_is_deleted_reads_everything_each_time() {
    let (inside, _) = containers("Blind");
    let mut world = World::new(domain(), &[&inside], DeltaMode::Auto);
    world.modify(&(unit(&inside) + &user(&format!("CN=A,{inside}"), "blinda") + &user(&format!("CN=Stays,{inside}"), "blinds")));
    world.settings.connection.bind_name = domain().text("half_name").to_owned();
    let record = world.run(Profile::FullImport);
    assert_eq!(record.result.0, "completed-warnings", "{record:#?}");
    let message = record.steps[0].message.as_deref().unwrap();
    assert!(message.contains("CN=Deleted Objects,DC=corp,DC=example") && message.contains("dsacls"), "{message}");
    assert!(world.watermark().is_none());
    world.run(Profile::FullSynchronization);
    world.modify(&delete(&format!("CN=A,{inside}")));
    world.modify(&user(&format!("CN=B,{inside}"), "blindb"));
    let record = world.run(Profile::DeltaImport);
    assert_eq!(record.steps[0].kind, StepKind::FullImport);
    assert_eq!(record.steps[0].counters.iter().find(|(name, _)| name.0 == "stage-delete").map(|(_, count)| *count), Some(1));
}

/// Takes the right to look into a container, and into those below it, from the account that reads.
fn hide(dn: &str) {
    deny(dn, "(D;CI;RPLCLO;;;{account})");
    assert!(domain().search(BASE, &format!("(&(distinguishedName={dn})(ou=*))"), &["ou"]).is_empty(), "{dn} still shows");
}

/// Puts an entry of the account that reads into an access list.
fn deny(dn: &str, entry: &str) {
    let lab = domain();
    let found = lab.search(BASE, "(sAMAccountName=svc_sync)", &["objectSid"]);
    let sid = found.values().next().unwrap()["objectSid"].first().unwrap().clone();
    let authority = u64::from_be_bytes([&[0, 0][..], &sid[2..8]].concat().try_into().unwrap());
    let parts = sid[8..].chunks(4).map(|part| u32::from_le_bytes(part.try_into().unwrap()).to_string());
    let sid = format!("S-{}-{authority}-{}", sid[0], parts.collect::<Vec<_>>().join("-"));
    let output = std::process::Command::new("samba-tool")
        .args(["dsacl", "set", &format!("--objectdn={dn}"), &format!("--sddl={}", entry.replace("{account}", &sid))])
        .arg(format!("--configfile={}/smb.conf", lab.folder()))
        .output()
        .expect("samba-tool is missing; run tools/lab/install as root");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Samba tells nothing at all of who is where the account may not look, in none of its ways.
fn leavers(name: &str, mode: DeltaMode) {
    let (inside, _) = containers(name);
    let (hidden, team, stem) = (format!("OU=Leavers,{inside}"), format!("OU=Team,{inside}"), name.to_lowercase());
    let mut world = World::new(domain(), &[&inside], mode);
    world.settings.selection.exclude = vec![hidden.clone()];
    let (stays, goes, along) = (format!("CN=Stays,{inside}"), format!("CN=Goes,{inside}"), format!("CN=Along,{team}"));
    world.modify(&(unit(&inside) + &unit(&hidden) + &unit(&team)));
    for (number, dn) in [&stays, &goes, &along].into_iter().enumerate() {
        world.modify(&user(dn, &format!("{stem}{number}")));
    }
    // Enough for the full import to be believed.
    for number in 3..6 {
        world.modify(&user(&format!("CN=Stays {number},{inside}"), &format!("{stem}{number}")));
    }
    world.begin();
    assert!(world.watermark().is_some());
    world.follow("nothing");
    hide(&hidden);
    world.modify(&(rename(&goes, "CN=Goes", Some(&hidden)) + &rename(&team, "OU=Team", Some(&hidden))));
    let import = world.run(Profile::DeltaImport);
    let kinds: Vec<StepKind> = import.steps.iter().map(|step| step.kind).collect();
    assert_eq!(
        (&kinds[..], import.result.0.as_ref()),
        (&[StepKind::DeltaImport, StepKind::FullImport][..], "completed-warnings"),
        "{import:#?}"
    );
    let message = import.steps[0].message.as_deref().unwrap();
    assert!(message.contains(&hidden) && message.contains("svc_sync@corp.example") && message.contains("LC and RP"), "{message}");
    world.run(Profile::DeltaSynchronization);
    let scratch = syncline::store::Store::in_memory().unwrap();
    world.run_on(&scratch, Profile::FullImport);
    world.run_on(&scratch, Profile::FullSynchronization);
    assert_eq!(world::picture(&world.store), world::picture(&scratch));
    assert!(world.has(&stays));
    assert_eq!(world::picture(&world.store).len(), 4);
    // As long as that is so, nothing is gone on from.
    assert!(world.watermark().is_none());
    let import = world.run(Profile::DeltaImport);
    assert_eq!((import.steps[0].kind, import.result.0.as_ref()), (StepKind::FullImport, "completed-warnings"), "{import:#?}");
}

#[test]
fn who_moves_to_a_hidden_container_is_gone() {
    leavers("Hidden", DeltaMode::Auto);
}

#[test]
fn who_moves_to_a_hidden_container_is_gone_by_numbers() {
    leavers("Unnumbered", DeltaMode::Usn);
}

/// Who does not show what it is, is there all the same, and a change of it says no more.
fn classless(name: &str, mode: DeltaMode) {
    let (inside, _) = containers(name);
    let (dark, stem) = (format!("CN=Dark,{inside}"), name.to_lowercase());
    let world = World::new(domain(), &[&inside], mode);
    world.modify(&(unit(&inside) + &user(&dark, &format!("{stem}d"))));
    for number in 0..5 {
        world.modify(&user(&format!("CN=Stays {number},{inside}"), &format!("{stem}{number}")));
    }
    world.begin();
    // MS-ADA3 2.38: the GUID of objectClass.
    deny(&dark, "(OD;;RP;bf9679e5-0de6-11d0-a285-00aa003049e2;;{account})");
    for profile in [Profile::DeltaImport, Profile::FullImport, Profile::DeltaImport] {
        world.modify(&change(&dark, "replace", "title", &[&format!("{profile:?}")]));
        let import = world.run(profile);
        let deletes = import.steps.iter().filter_map(|step| step.counters.iter().find(|(name, _)| name.0 == "stage-delete")).count();
        assert_eq!(deletes, 0, "{import:#?}");
        world.run(Profile::DeltaSynchronization);
        assert!(world.has(&dark), "{import:#?}");
        if profile == Profile::FullImport {
            let said = import.steps[0].message.as_deref().unwrap_or_default();
            assert!(import.result.0 == "completed-discovery-errors" && said.contains("objectClass"), "{import:#?}");
        }
    }
}

#[test]
fn who_does_not_show_a_class_is_not_gone() {
    classless("Classless", DeltaMode::Auto);
}

#[test]
fn who_does_not_show_a_class_is_not_gone_by_what_is_visible() {
    classless("Dim", DeltaMode::DirSyncVisible);
}

#[test]
fn who_does_not_show_a_class_is_not_gone_by_numbers() {
    classless("Unlit", DeltaMode::Usn);
}

#[test]
fn the_domain_tells_that_something_changed() {
    let (inside, _) = containers("Watched");
    let world = World::new(domain(), &[&inside], DeltaMode::Auto);
    world.modify(&unit(&inside));
    let connector = AdConnector::new(world.settings.clone(), world.store.names().clone()).unwrap();
    let heard = world.runtime.block_on(async {
        let mut changes = connector.watch(&Context::system()).await.unwrap().unwrap();
        let change = user(&format!("CN=A,{inside}"), "watcheda");
        tokio::task::block_in_place(|| world.modify(&change));
        // Samba looks for changes every five seconds.
        tokio::time::timeout(Duration::from_secs(20), changes.next()).await
    });
    assert!(matches!(heard, Ok(Some(Ok(())))));
}
