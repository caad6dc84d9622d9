//! What waits because a connector was removed, and for whom: neither more nor less, and whoever asks is told.

use crate::{assert_code, counted, document, small_world, stdout, with_config};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use tempfile::TempDir;

/// A directory of people with these numbers, which are their objectGUIDs, too.
fn directory(name: &str, numbers: impl IntoIterator<Item = u8>) -> String {
    let mut text = "version: 1\n".to_owned();
    for number in numbers {
        let guid = BASE64_STANDARD.encode([number; 16]);
        write!(
            text,
            "\ndn: CN={name}{number},OU=People,DC={name},DC=example\nobjectClass: top\nobjectClass: person\nobjectClass: user\n\
             objectGUID:: {guid}\ncn: {name}{number}\ndisplayName: {name}{number}\nsAMAccountName: {name}{number}\n\
             userPrincipalName: {name}{number}@{name}.example\nuserAccountControl: 512\n"
        )
        .expect("a text takes everything");
    }
    text
}

/// A tenant with the people of several directories.
struct World {
    folder: TempDir,
    config: PathBuf,
}

impl World {
    /// `corp.example` has twelve people; the others these.
    fn with(others: &[(&str, Range<u8>)]) -> Self {
        let folder = small_world();
        let config = folder.path().join("config");
        let world = Self { folder, config };
        world.write("people", directory("corp", 1..13));
        for (name, numbers) in others {
            world.write(name, directory(name, numbers.clone()));
            let path = format!("path={}", world.folder.path().join(format!("{name}.ldif")).display());
            assert_code(&world.does(&["connector", "add", name, "ldif", "--set", &path]), 0);
        }
        assert_code(&world.does(&["cycle", "start", "--initial"]), 0);
        assert_code(&world.does(&["status"]), 0);
        world
    }

    fn write(&self, name: &str, text: String) {
        fs::write(self.folder.path().join(format!("{name}.ldif")), text).expect("the folder can be written");
    }

    /// Whoever of `corp.example` has one of these numbers stays.
    fn corp_keeps(&self, numbers: Range<u8>) {
        self.write("people", directory("corp", numbers));
    }

    fn does(&self, arguments: &[&str]) -> std::process::Output {
        with_config(&self.config, arguments)
    }

    #[track_caller]
    fn ends(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.does(&[&["--json"], arguments].concat());
        assert_code(&output, code);
        document(&output)
    }

    #[track_caller]
    fn shows(&self, arguments: &[&str], code: i32) -> String {
        let output = self.does(arguments);
        assert_code(&output, code);
        stdout(&output)
    }

    /// A cycle that ends so; how many it deleted.
    #[track_caller]
    fn cycle(&self, code: i32) -> u64 {
        counted(&self.ends(&["cycle", "start"], code), "export-delete")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.config.join(format!("connectors/{name}.toml"))
    }

    /// Takes a connector's file away; gives what it says.
    fn take(&self, file: &str, name: &str, code: i32) -> String {
        let text = fs::read_to_string(self.file(file)).expect("a file");
        fs::remove_file(self.file(file)).expect("it can be removed");
        assert_code(&self.does(&["connector", "remove", name]), code);
        text
    }

    /// The deletes of removed connectors that wait, by the name of their set.
    #[track_caller]
    fn held(&self, count: u64) -> String {
        let found = self.ends(&["export", "Entra", "--what-if"], 1);
        let held = &found["targets"][0]["held"];
        assert_eq!(held["deletes"], count, "{held:#}");
        held["delete_set"].as_str().expect("a set").to_owned()
    }
}

#[test]
fn who_leaves_elsewhere_opens_no_door_for_a_removed_connector() {
    let world = World::with(&[("lab", 101..109)]);
    world.corp_keeps(1..12);
    for profile in ["full-import", "delta-sync"] {
        assert_code(&world.does(&["run", "start", "corp.example", profile]), 0);
    }
    world.take("lab", "lab", 0);
    let sent = world.ends(&["export", "Entra"], 0);
    assert_eq!(counted(&sent, "export-delete"), 1, "whoever left elsewhere waits for nobody: {sent:#}");
    assert_eq!(world.cycle(1), 0);
    assert_eq!(world.cycle(1), 0);
    world.held(8);
    assert_code(&world.does(&["store", "check"]), 0);
}

#[test]
fn an_allowance_for_one_removal_is_none_for_the_next() {
    let world = World::with(&[("lab", 101..109), ("hr", 201..207)]);
    world.take("lab", "lab", 0);
    assert_eq!(world.cycle(1), 0);
    world.take("hr", "hr", 0);
    let set = world.held(8);
    let sent = world.ends(&["export", "Entra", "--allow-deletes", &set], 0);
    assert_eq!(counted(&sent, "export-delete"), 8);
    assert_eq!(world.cycle(1), 0, "nobody has looked at these");
    let set = world.held(6);
    let message = world.shows(&["export", "Entra"], 1);
    assert!(message.contains("hr was removed") && message.contains(&format!("--allow-deletes {set}")), "{message}");
    assert_eq!(counted(&world.ends(&["export", "Entra", "--allow-deletes", &set], 0), "export-delete"), 6);
    assert_eq!(world.cycle(0), 0);
    assert_code(&world.does(&["status"]), 0);
}

#[test]
fn what_is_held_is_told_everywhere_and_others_leave_as_always() {
    let world = World::with(&[("lab", 101..109)]);
    world.take("lab", "lab", 0);
    assert_eq!(world.cycle(1), 0);
    let told = "lab was removed, and nobody has said yet that this is meant to delete";
    let status = world.ends(&["status"], 1);
    let attention = status["attention"].to_string();
    assert!(attention.contains("8 deletes are held for Entra") && attention.contains(told), "{attention}");
    assert!(world.ends(&["doctor"], 1).to_string().contains(told));
    let guard = world.ends(&["guard", "show"], 0);
    assert!(guard["targets"][0]["blocked_by"][0].as_str().is_some_and(|reason| reason.contains(told)), "{guard:#}");
    assert_eq!(guard["stops"][0]["guard"], "removed connector", "{guard:#}");
    assert!(world.ends(&["alerts", "show"], 0)["found"].to_string().contains("deletes-held"));
    assert!(world.shows(&["object", "explain", "lab101@lab.example"], 0).contains("was removed, and"));
    let scheduler = world.ends(&["scheduler", "show"], 0);
    assert_ne!(scheduler["last_success"], scheduler["last_cycle"], "{scheduler:#}");
    assert_eq!(scheduler["guard_stops"][0]["guard"], "removed connector", "{scheduler:#}");

    // Whoever leaves another directory meanwhile goes, and nobody else.
    world.corp_keeps(1..12);
    assert_eq!(world.cycle(1), 1);
    let set = world.held(8);
    let shown = world.ends(&["export", "Entra", "--what-if", "--allow-deletes", &set], 0);
    let target = &shown["targets"][0];
    assert!(target["allowed"] == true && target["deletes"] == 8 && target["held"].is_null(), "{shown:#}");
    let other = format!("8-{:016x}", 7);
    let shown = world.does(&["export", "Entra", "--what-if", "--allow-deletes", &other]);
    assert_code(&shown, 1);
    world.held(8);
    assert_eq!(counted(&world.ends(&["export", "Entra", "--allow-deletes", &set], 0), "export-delete"), 8);
    assert_eq!(world.cycle(0), 0);
    assert!(world.shows(&["status"], 0).contains("All is well"));
}

#[test]
fn a_removal_that_deletes_nobody_holds_nobody() {
    // Everybody of the removed one is somebody of the other, too.
    let world = World::with(&[("lab", 1..9)]);
    let file = world.take("lab", "lab", 0);
    assert_eq!(world.cycle(0), 0);
    assert_code(&world.does(&["status"]), 0);
    world.corp_keeps(1..12);
    assert_eq!(world.cycle(0), 1, "who was never there");
    world.corp_keeps(2..12);
    assert_eq!(world.cycle(0), 1, "who was there, and stayed by the other directory");

    // And one that comes back, without whoever was deleted.
    world.write("lab", directory("lab", 2..9));
    fs::write(world.file("lab"), &file).expect("the folder can be written");
    assert_eq!(world.cycle(0), 0);
    world.take("lab", "lab", 0);
    fs::write(world.file("lab"), &file).expect("the folder can be written");
    assert_eq!(world.cycle(0), 0);
    world.corp_keeps(2..11);
    assert_eq!(world.cycle(0), 1);
}

#[test]
fn a_connector_that_comes_back_takes_its_hold_along() {
    let world = World::with(&[("lab", 101..109)]);
    let file = world.take("lab", "lab", 0);
    assert_eq!(world.cycle(1), 0);
    fs::write(world.file("lab"), &file).expect("the folder can be written");
    assert_eq!(world.cycle(0), 0);
    assert_code(&world.does(&["status"]), 0);
    // Whoever leaves it now leaves.
    world.write("lab", directory("lab", 101..108));
    assert_eq!(world.cycle(0), 1);
}

#[test]
fn held_deletes_are_not_counted_with_those_that_an_export_sends() {
    let world = World::with(&[("lab", 101..109)]);
    assert_code(&world.does(&["guard", "set", "--max-deletes", "5"]), 0);
    world.take("lab", "lab", 0);
    world.write("people", directory("corp", 1..13).replace("displayName: corp3", "displayName: Third"));
    let cycle = world.ends(&["cycle", "start"], 1);
    assert_eq!((counted(&cycle, "export-update"), counted(&cycle, "export-delete")), (1, 0), "{cycle:#}");
    let status = world.shows(&["status"], 1);
    assert!(!status.contains("nothing is exported") && status.contains("8 deletes are held"), "{status}");
    // Six who leave elsewhere are too many by themselves.
    world.write("people", directory("corp", 1..7).replace("displayName: corp3", "displayName: Third"));
    assert_eq!(world.cycle(5), 0);
    let status = world.shows(&["status"], 2);
    assert!(status.contains("6 deletes wait for Entra, and 5 are allowed"), "{status}");
    let set = world.ends(&["export", "Entra", "--what-if"], 5)["targets"][0]["delete_set"].as_str().expect("a set").to_owned();
    assert!(set.starts_with("14-"), "{set}");
    let shown = world.ends(&["export", "Entra", "--what-if", "--allow-deletes", &set], 0);
    assert_eq!(shown["targets"][0]["allowed"], true, "{shown:#}");
    assert_eq!(counted(&world.ends(&["export", "Entra", "--allow-deletes", &set], 0), "export-delete"), 14);
}

/// People of whom one is refused by the cloud.
fn with_too_many_addresses(number: u8) -> String {
    let mut addresses = String::new();
    for address in 0..301 {
        writeln!(addresses, "proxyAddresses: smtp:a{address}@corp.example").expect("a text takes everything");
    }
    directory("corp", 1..13).replace(&format!("cn: corp{number}\n"), &format!("cn: corp{number}\n{addresses}"))
}

fn exports(cycle: &Value) -> usize {
    cycle["runs"].as_array().expect("runs").iter().filter(|run| run["profile"] == "Export").count()
}

/// A group refers to somebody whose delete is held, so there is always something of it that is not sent.
#[test]
fn who_is_refused_is_sent_once_in_a_cycle_while_references_are_held() {
    let world = World::with(&[]);
    let people = with_too_many_addresses(7);
    world.corp_with_group(&people, 1..6);
    world.any_cycle();
    let at = people.find("dn: CN=corp3,").expect("they are there");
    let odd = people[..at].to_owned() + &people[at..].replacen("objectClass: user\n", "objectClass: uesr\n", 1);
    world.corp_with_group(&odd, 1..6);
    world.any_cycle();
    world.held(1);
    for name in ["Corp Nine", "Corp 9"] {
        world.corp_with_group(&odd.replace("displayName: corp9\n", &format!("displayName: {name}\n")), 1..6);
        let cycle = world.any_cycle();
        assert_eq!((counted(&cycle, "export-update"), counted(&cycle, "export-failure"), exports(&cycle)), (1, 1, 1), "{cycle:#}");
    }
}

/// What waits for a person is no reason to send once more what was refused.
#[test]
fn who_is_refused_is_sent_once_in_a_cycle_while_deletes_are_held() {
    let world = World::with(&[("lab", 101..109)]);
    world.take("lab", "lab", 0);
    world.write("people", with_too_many_addresses(3));
    let cycle = world.ends(&["cycle", "start"], 2);
    assert_eq!((counted(&cycle, "export-failure"), exports(&cycle)), (1, 1), "{cycle:#}");
    world.held(8);
    let cycle = world.ends(&["cycle", "start"], 2);
    assert_eq!((counted(&cycle, "export-failure"), exports(&cycle)), (1, 1), "{cycle:#}");
}

#[test]
fn without_a_target_it_is_not_well() {
    let world = World::with(&[]);
    let text = fs::read_to_string(world.file("90-entra")).expect("a file");
    fs::remove_file(world.file("90-entra")).expect("it can be removed");
    let said = world.shows(&["connector", "remove", "Entra"], 0);
    assert!(!said.contains("Deletes that follow"), "{said}");
    assert_code(&world.does(&["cycle", "start"]), 0);
    world.cycle(1);
    let status = world.shows(&["status"], 1);
    assert!(status.contains("no target is configured"), "{status}");
    assert!(world.ends(&["doctor"], 1).to_string().contains("no target is configured"));

    // Who leaves meanwhile is nobody's when it comes back, and that is said.
    world.corp_keeps(1..10);
    world.cycle(1);
    fs::write(world.file("90-entra"), text).expect("the folder can be written");
    let cycle = world.ends(&["cycle", "start"], 1);
    assert!(cycle["warnings"].to_string().contains("3 objects belong to nobody here"), "{cycle:#}");
    let status = world.shows(&["status"], 1);
    assert!(status.contains("3 objects belong to nobody here") && status.contains("corp10"), "{status}");
    assert!(world.ends(&["doctor"], 1).to_string().contains("3 objects belong to nobody here"));
}

#[test]
fn who_waits_to_be_removed_from_a_target_that_goes_is_named() {
    let world = World::with(&[]);
    world.corp_keeps(1..11);
    for profile in ["full-import", "delta-sync"] {
        assert_code(&world.does(&["run", "start", "corp.example", profile]), 0);
    }
    fs::remove_file(world.file("90-entra")).expect("it can be removed");
    let looked = world.ends(&["connector", "remove", "Entra", "--what-if"], 1);
    assert_eq!((&looked["target"], &looked["deletes"]), (&Value::from(true), &Value::from(2)), "{looked:#}");
    let output = world.does(&["connector", "remove", "Entra"]);
    assert_code(&output, 1);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("2 objects wait to be removed there") && said.contains("corp11") && said.contains("corp12"), "{said}");
}

#[test]
fn a_new_store_names_those_whom_nobody_remembers() {
    let world = World::with(&[]);
    let store = world.config.join("syncline.redb");
    fs::rename(&store, world.folder.path().join("former.redb")).expect("it can be moved");
    world.corp_keeps(1..12);
    let cycle = world.ends(&["cycle", "start", "--initial"], 1);
    let warning = cycle["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("1 object belongs to nobody here") && warning.contains("corp12"), "{cycle:#}");
    let status = world.shows(&["status"], 1);
    assert!(status.contains("1 object belongs to nobody here") && status.contains("--state disconnector"), "{status}");
}

#[test]
fn a_connector_is_renamed_only_when_that_is_meant() {
    let world = World::with(&[("lab", 101..109)]);
    let text = fs::read_to_string(world.file("lab")).expect("a file");
    fs::write(world.file("lab"), text.replace("\"lab\"", "\"works\"")).expect("the folder can be written");
    let shown = world.ends(&["connector", "rename", "lab", "works", "--what-if"], 0);
    assert_eq!((&shown["objects"], &shown["what_if"]), (&Value::from(8), &Value::from(true)), "{shown:#}");
    let list = world.ends(&["connector", "list"], 0).to_string();
    assert!(list.contains("abandoned"), "nothing was renamed: {list}");
    assert_code(&world.does(&["connector", "rename", "lab", "works"]), 0);
    assert_eq!(world.cycle(0), 0);
}

impl World {
    /// What a cycle came to, however it ends.
    fn any_cycle(&self) -> Value {
        document(&self.does(&["--json", "cycle", "start"]))
    }

    /// Those of `corp.example` without one who leaves for good and one who moves to `lab`, as whom it has this record.
    fn moves(&self, who: u8, leaver: u8, record: &str) {
        self.write("people", directory("corp", (1..13).filter(|number| ![who, leaver].contains(number))));
        self.write("lab", directory("lab", 101..103) + record);
    }
}

/// Somebody of `corp.example` as `lab` has them.
fn moved(number: u8, more: &str) -> String {
    let text = directory("corp", [number]).replace("DC=corp", "DC=lab").replace("version: 1\n", "");
    text.replace("userAccountControl: 512\n", &format!("userAccountControl: 512\n{more}"))
}

/// The new entry of somebody who moved has a value that nobody can read, so no object comes of it.
#[test]
fn who_may_only_have_moved_to_an_entry_that_cannot_be_read_is_not_deleted() {
    let world = World::with(&[("lab", 101..103)]);
    world.moves(3, 5, &moved(3, "thumbnailPhoto:: %%%\n"));
    let shown = world.any_cycle();
    assert_eq!(counted(&shown, "export-delete"), 1, "who leaves for good goes, and nobody else: {shown:#}");
    let said = shown.to_string();
    assert!(said.contains("corp3 (corp3@corp.example) may only have moved to 'CN=corp3,OU=People,DC=lab,DC=example' of lab"), "{said}");
    assert!(said.contains("`syncline errors 'lab'`") && said.contains("--allow-deletes 1-"), "{said}");
    world.held(1);
    assert_eq!(counted(&world.any_cycle(), "export-delete"), 0, "again and again");
    // Everybody is told, on both sides.
    let told = "may only have moved";
    let status = stdout(&world.does(&["--json", "status"]));
    assert!(status.contains(told) && status.contains("possible move"), "{status}");
    assert!(world.shows(&["object", "explain", "corp3@corp.example"], 0).contains(told));
    let guard = world.ends(&["guard", "show"], 0);
    assert_eq!(guard["stops"][0]["guard"], "possible move", "{guard:#}");
    // It ends by itself.
    world.moves(3, 5, &moved(3, ""));
    let shown = world.ends(&["cycle", "start"], 0);
    assert_eq!((counted(&shown, "export-delete"), counted(&shown, "export-add")), (0, 0), "{shown:#}");
    assert!(world.shows(&["status"], 0).contains("All is well"));
    assert_code(&world.does(&["store", "check"]), 0);
}

/// The new entry of somebody who moved can be read, and a rule fails for it, again and again.
#[test]
fn who_may_only_have_moved_to_an_object_that_cannot_be_synchronized_is_not_deleted() {
    let world = World::with(&[("lab", 101..103)]);
    let rule = "[[rule]]\nname = \"In from lab - Own\"\ndirection = \"inbound\"\nconnector = \"lab\"\ncs_type = \"user\"\n\
                mv_type = \"person\"\nlink = \"join\"\norder = 50\n\
                flows = [{ to = \"title\", expr = 'IIF(IsPresent([title]), Error(\"Nobody has a title\"), \"none\")' }]\n";
    fs::create_dir_all(world.config.join("rules")).expect("the folder can be made");
    fs::write(world.config.join("rules/own.toml"), rule).expect("the folder can be written");
    world.any_cycle();
    // With another key: the sign-in name tells who it is.
    let (old, new) = (BASE64_STANDARD.encode([4; 16]), BASE64_STANDARD.encode([44; 16]));
    world.moves(4, 5, &moved(4, "title: Lead\n").replace(&old, &new));
    let shown = world.any_cycle();
    assert_eq!(counted(&shown, "export-delete"), 1, "{shown:#}");
    let said = shown.to_string();
    assert!(said.contains("(sync-rule-error-function-triggered) and shows corp4@corp.example, too"), "{said}");
    assert_eq!(counted(&world.any_cycle(), "export-delete"), 0);
    // Somebody knows better.
    let set = world.held(1);
    let sent = world.does(&["--json", "export", "Entra", "--allow-deletes", &set]);
    assert_eq!(counted(&document(&sent), "export-delete"), 1);
}

/// Somebody moved, and the new record has a slip, whichever it is: the delete waits for who may be there.
#[test]
fn who_may_only_have_moved_is_not_deleted_whatever_is_wrong_with_the_new_record() {
    let world = World::with(&[("lab", 101..103)]);
    let (whole, key) = (moved(3, ""), BASE64_STANDARD.encode([3; 16]));
    let line = format!("objectGUID:: {key}\n");
    let other = format!("objectGUID:: {}\n", BASE64_STANDARD.encode([33; 16]));
    // What tells who it is, where only one thing does.
    let nameless = |text: String| text.replace("CN=corp3", "CN=U3").replace("displayName: corp3\n", "").replace("\ncn: corp3\n", "\n");
    let records = [
        nameless(whole.replace(&line, &other).replace("userAccountControl: 512", "userAccountControl: abc")),
        nameless(whole.replace(&line, "")),
        nameless(whole.replace(&line, "objectGUID:\n")),
        nameless(whole.replace(&line, "objectGUID:: %%%\n")),
        nameless(whole.replace(&line, &format!("{other}a line of words\n"))),
        nameless(whole.replace("\nobjectClass: top", "\nchangetype: modify\nobjectClass: top")),
        nameless(whole.replace(&line, &format!("{other}{line}")).replace("userPrincipalName: corp3@corp.example\n", "")),
        nameless(whole.replace(&line, &format!("{other}userAccountControl: abc\n")).replace("userPrincipalName: corp3@corp.example\n", "")),
        nameless(whole.replace("dn: CN=corp3,OU=People,DC=lab,DC=example\n", "")),
        nameless(whole.replace(&line, &other)).trim_start().to_owned(),
        "\ndn: CN=U3,DC=lab,DC=example\nobjectClass: user\n".to_owned(),
        "\nobjectClass: user\n".to_owned(),
    ];
    world.write("people", directory("corp", (1..13).filter(|number| *number != 3)));
    for record in records {
        world.write("lab", directory("lab", 101..103) + &record);
        let shown = world.any_cycle();
        assert_eq!(counted(&shown, "export-delete"), 0, "{record}\n{shown:#}");
        let said = shown.to_string();
        assert!(said.contains("corp3 (corp3@corp.example) may only have moved to"), "{record}\n{said}");
        assert!(said.contains("--allow-deletes 1-"), "{record}\n{said}");
        world.held(1);
    }
    // It was somebody who is gone after all.
    world.write("lab", directory("lab", 101..103));
    assert_eq!(world.cycle(0), 1);
    assert_code(&world.does(&["store", "check"]), 0);
}

impl World {
    /// A cycle in which nobody comes or goes, whatever else it says; what that is.
    #[track_caller]
    fn nobody_moves(&self, what: &str) -> String {
        let shown = self.any_cycle();
        for count in ["stage-add", "stage-delete", "export-add", "export-delete"] {
            assert_eq!(counted(&shown, count), 0, "{what}: {count}: {shown:#}");
        }
        shown.to_string()
    }
}

/// The blank line between two records is damaged: nobody is deleted for it, and both are told with their lines.
#[test]
fn records_that_run_into_each_other_delete_nobody() {
    let world = World::with(&[]);
    let good = directory("corp", 1..13);
    let key = format!("objectGUID:: {}\n", BASE64_STANDARD.encode([8; 16]));
    for first in [good.clone(), good.replace(&key, "")] {
        for separator in ["", " \n", "\t\n", "\u{a0}\n", "#\n", "-\n"] {
            let bad = first.replace("\n\ndn: CN=corp9,", &format!("\n{separator}dn: CN=corp9,"));
            assert_ne!(bad, first);
            world.write("people", bad);
            let said = world.nobody_moves(separator);
            assert!(said.contains("CN=corp9,") && said.contains("CN=corp8,") && said.contains("separate records"), "{separator:?}: {said}");
        }
    }
    // Nobody is taken for gone meanwhile, and everybody who is gone is when the file is mended.
    world.write("people", directory("corp", 1..12).replace("\n\ndn: CN=corp9,", "\ndn: CN=corp9,"));
    world.nobody_moves("and one is gone");
    world.corp_keeps(1..12);
    assert_eq!(world.cycle(0), 1);
}

/// A key that lost a colon or a part is nobody else's key, and no key of the other kind stands in for one that is lost.
#[test]
fn a_damaged_key_makes_nobody_somebody_else() {
    let world = World::with(&[]);
    let key = BASE64_STANDARD.encode([3; 16]);
    let with_both = |numbers: Range<u8>| {
        let text = directory("corp", numbers.clone());
        numbers.fold(text, |text, number| {
            let key = format!("objectGUID:: {}\n", BASE64_STANDARD.encode([number; 16]));
            text.replace(&key, &format!("{key}entryUUID: 00000000-0000-0000-0000-0000000000{number:02}\n"))
        })
    };
    let good = with_both(1..13);
    let line = format!("objectGUID:: {key}\n");
    for (bad, code) in [
        (good.replace(&line, &format!("objectGUID: {key}\n")), "invalid-attribute-value"),
        (good.replace(&line, "objectGUID:: AAAA\n"), "invalid-attribute-value"),
        (good.replace(&line, ""), "missing-anchor-component"),
        // With another name, too.
        (good.replace(&line, "").replace("CN=corp3,", "CN=other,"), "missing-anchor-component"),
        // All of them.
        (good.split_inclusive('\n').filter(|line| !line.starts_with("objectGUID")).collect(), "missing-anchor-component"),
    ] {
        assert_ne!(bad, good);
        world.write("people", bad);
        assert!(world.nobody_moves(code).contains(code), "{code}");
    }
    world.write("people", good);
    world.nobody_moves("mended");
    assert_code(&world.does(&["status"]), 0);
}

/// A class that nobody knows may be a slip: who has it leaves the selection, is named, and is deleted only when that is allowed.
#[test]
fn a_class_that_nobody_knows_deletes_nobody_unasked() {
    let world = World::with(&[]);
    let with_class = |class: &str| {
        let good = directory("corp", 1..13);
        let at = good.find("dn: CN=corp3,").expect("a record");
        good[..at].to_owned() + &good[at..].replacen("objectClass: user\n", &format!("objectClass: {class}\n"), 1)
    };
    world.write("people", with_class("uesr"));
    for _ in 0..3 {
        let shown = world.any_cycle();
        assert_eq!(counted(&shown, "export-delete"), 0, "{shown:#}");
        let said = shown.to_string();
        assert!(said.contains("'uesr'") && said.contains("CN=corp3,"), "{said}");
        world.held(1);
    }
    world.write("people", with_class("user"));
    let shown = world.ends(&["cycle", "start"], 0);
    assert_eq!((counted(&shown, "export-delete"), counted(&shown, "export-add")), (0, 0), "{shown:#}");
    // What is allowed goes.
    world.write("people", with_class("uesr"));
    world.any_cycle();
    let sent = world.does(&["--json", "export", "Entra", "--allow-deletes", &world.held(1)]);
    assert_eq!(counted(&document(&sent), "export-delete"), 1);
}

/// The new entry of somebody who moved is imported and not synchronized yet, when somebody exports.
#[test]
fn who_moved_to_an_entry_that_waits_for_synchronization_is_not_deleted() {
    let world = World::with(&[("lab", 101..103)]);
    world.moves(3, 5, &moved(3, ""));
    for (connector, profile) in [("corp.example", "full-import"), ("lab", "full-import"), ("corp.example", "delta-sync")] {
        assert_code(&world.does(&["run", "start", connector, profile]), 0);
    }
    let sent = world.ends(&["export", "Entra"], 1);
    assert_eq!(counted(&sent, "export-delete"), 0, "{sent:#}");
    assert!(sent.to_string().contains("2 deletes were not sent, because news of lab wait for their synchronization"), "{sent:#}");
    let shown = world.ends(&["cycle", "start"], 0);
    assert_eq!((counted(&shown, "export-delete"), counted(&shown, "export-add")), (1, 0), "who left for good: {shown:#}");
    assert_code(&world.does(&["store", "check"]), 0);
}

/// Whoever looks at one object asks no other directory.
#[test]
fn synchronizing_somebody_who_moved_deletes_nobody() {
    let world = World::with(&[("lab", 101..103)]);
    world.moves(3, 5, &moved(3, ""));
    let ahead = world.shows(&["object", "sync", "corp3@corp.example", "--what-if"], 2);
    assert!(ahead.contains("who left is found by an import that reads everything"), "{ahead}");
    let done = world.does(&["--json", "object", "sync", "corp3@corp.example"]);
    let said = stdout(&done);
    assert!(said.contains("who left is found by an import that reads everything") && !said.contains("export-delete"), "{said}");
    // Whoever asks for somebody else is told nothing of it.
    let other = world.shows(&["object", "sync", "corp9@corp.example"], 0);
    assert!(!other.contains("not sent") && !other.contains("corp3"), "{other}");
    let shown = world.any_cycle();
    assert_eq!((counted(&shown, "export-delete"), counted(&shown, "export-add")), (1, 0), "{shown:#}");
    assert_code(&world.does(&["store", "check"]), 0);
}

/// The same by a change record, which tells of its entry nothing but the classes: who it is about is known from the import before.
#[test]
fn a_class_that_nobody_knows_in_a_change_record_deletes_nobody_unasked() {
    let folder = small_world();
    let config = folder.path().join("config");
    let world = World { folder, config };
    // The target knows people by a key of their own, and nobody is called what the entry is.
    let people = (1..13).fold(directory("corp", 1..13), |text, number: u8| {
        let key = BASE64_STANDARD.encode([100 + number; 16]);
        let shown = format!("displayName: corp{number}\n");
        text.replace(&shown, &format!("displayName: Person {number}\nmS-DS-ConsistencyGuid:: {key}\n"))
    });
    world.write("people", people);
    let changes = world.folder.path().join("changes");
    fs::create_dir(&changes).expect("the folder can be written");
    let file = world.file("10-corp.example");
    let text = fs::read_to_string(&file).expect("a file");
    fs::write(&file, format!("changes = \"{}\"\n{text}", changes.display())).expect("it can be written");
    assert_code(&world.does(&["cycle", "start", "--initial"]), 0);
    let record =
        "dn: CN=corp3,OU=People,DC=corp,DC=example\nchangetype: modify\nreplace: objectClass\nobjectClass: top\nobjectClass: uesr\n-\n\n";
    fs::write(changes.join("1.ldif"), record).expect("the folder can be written");
    for look in 0..3 {
        let shown = world.any_cycle();
        assert_eq!(counted(&shown, "export-delete"), 0, "{shown:#}");
        let said = shown.to_string();
        assert_eq!(said.contains("'uesr'") && said.contains("CN=corp3,"), look == 0, "an import of changes tells it once: {said}");
        assert!(said.contains("Person 3 (corp3@corp.example) may only have moved to"), "{said}");
        world.held(1);
    }
    // Who corrects the slip by another one has deleted nobody, either.
    fs::write(changes.join("2.ldif"), record.replace("uesr", "usre")).expect("the folder can be written");
    for look in 0..2 {
        let shown = world.any_cycle();
        assert_eq!(counted(&shown, "export-delete"), 0, "{shown:#}");
        assert_eq!(shown.to_string().contains("'usre'"), look == 0, "{shown:#}");
        world.held(1);
    }
    // What a full import reads holds it, too.
    world.does(&["run", "start", "corp.example", "full-import"]);
    assert_eq!(counted(&world.any_cycle(), "export-delete"), 0);
    let sent = world.does(&["--json", "export", "Entra", "--allow-deletes", &world.held(1)]);
    assert_eq!(counted(&document(&sent), "export-delete"), 1);
}

impl World {
    /// A group of `corp.example` with these members, behind its people.
    fn corp_with_group(&self, people: &str, members: Range<u8>) {
        let guid = BASE64_STANDARD.encode([77; 16]);
        let members: Vec<String> = members.map(|number| format!("member: CN=corp{number},OU=People,DC=corp,DC=example\n")).collect();
        let members = members.concat();
        let group = format!(
            "\ndn: CN=All,DC=corp,DC=example\nobjectClass: group\nobjectGUID:: {guid}\nsAMAccountName: All\ndisplayName: All\ngroupType: -2147483646\n{members}"
        );
        self.write("people", format!("{people}{group}"));
    }

    /// Who are members in the target.
    fn members(&self) -> usize {
        let found = self.ends(&["cs", "search", "Entra", "--columns", "member"], 0);
        let objects = found["objects"].as_array().expect("objects");
        objects.iter().filter_map(|object| object["columns"]["member"].as_array()).map(Vec::len).sum()
    }
}

/// The lines of one entry stand in another one, without a `dn:` between them: neither is used, and nobody is deleted.
#[test]
fn an_entry_that_swallowed_another_one_deletes_nobody() {
    let world = World::with(&[("lab", 101..104)]);
    let good = directory("corp", 1..13);
    let head = |number: u8, keyed: bool| {
        let start = good.find(&format!("\n\ndn: CN=corp{number},")).expect("a record") + 1;
        let end = if keyed { "objectGUID" } else { "cn: " };
        good[start..start + good[start..].find(end).expect("a line")].to_owned()
    };
    for bad in [good.replace(&head(6, false), ""), good.replace(&head(6, true), "")] {
        assert_ne!(bad, good);
        world.write("people", bad);
        let said = world.nobody_moves("swallowed");
        assert!(said.contains("has several values") && said.contains("CN=corp5,"), "{said}");
    }
    // Also somebody who came from elsewhere.
    world.write("people", directory("corp", (1..13).filter(|number| *number != 3)));
    let moved = moved(3, "").replace(&BASE64_STANDARD.encode([3; 16]), &BASE64_STANDARD.encode([33; 16]));
    let moved = moved.trim_start().split_once('\n').expect("lines").1.to_owned();
    let without: Vec<&str> = moved.split_inclusive('\n').filter(|line| !line.starts_with("objectGUID")).collect();
    for lines in [moved.clone(), without.concat()] {
        world.write("lab", directory("lab", 101..104) + &lines);
        let shown = world.any_cycle();
        assert_eq!(counted(&shown, "export-delete"), 0, "{shown:#}");
        assert!(shown.to_string().contains("corp3 (corp3@corp.example) may only have moved to 'CN=lab103,"), "{shown:#}");
        world.held(1);
    }
    world.write("lab", directory("lab", 101..104));
    assert_eq!(world.cycle(0), 1, "they left after all");
    assert_code(&world.does(&["status"]), 0);
}

/// A blank line within an entry: what is in front of it is no whole entry, and what is behind it none at all.
#[test]
fn an_entry_with_a_blank_line_in_it_loses_nothing() {
    let world = World::with(&[]);
    let people = directory("corp", 1..13);
    world.corp_with_group(&people, 1..13);
    world.cycle(0);
    assert_eq!(world.members(), 12);
    let good = fs::read_to_string(world.folder.path().join("people.ldif")).expect("a file");
    for line in ["member: CN=corp1,", "sAMAccountName: All", "userPrincipalName: corp4@", "objectGUID:: BAQE"] {
        let bad = good.replace(line, &format!("\n{line}"));
        assert_ne!(bad, good, "{line}");
        world.write("people", bad);
        let shown = world.any_cycle();
        let counts = ["export-update", "export-delete", "stage-delete", "stage-update"].map(|count| counted(&shown, count));
        assert_eq!(counts, [0; 4], "{line}: {shown:#}");
        assert!(shown.to_string().contains("may be the rest of it"), "{shown:#}");
        assert_eq!(world.members(), 12);
    }
    world.write("people", good);
    let shown = world.ends(&["cycle", "start"], 0);
    assert_eq!(counted(&shown, "export-update"), 0, "{shown:#}");
}

/// Somebody moved, and the class of the new entry is misspelt or lost: that is no entry of ours, and may be who is missed.
#[test]
fn a_class_that_nobody_knows_holds_who_moved_there() {
    let world = World::with(&[("lab", 101..103)]);
    let record = moved(3, "");
    let class = "objectClass: user\n";
    for slip in ["objectClass: uesr\n", "objectClas: user\n", ""] {
        world.moves(3, 0, &record.replace(class, slip));
        for _ in 0..2 {
            let shown = world.any_cycle();
            assert_eq!(counted(&shown, "export-delete"), 0, "{slip}: {shown:#}");
            assert!(shown.to_string().contains("corp3 (corp3@corp.example) may only have moved to"), "{shown:#}");
            world.held(1);
        }
    }
    world.moves(3, 0, &record);
    let shown = world.ends(&["cycle", "start"], 0);
    assert_eq!((counted(&shown, "export-delete"), counted(&shown, "export-add")), (0, 0), "{shown:#}");
    // Another class than a wanted one is nobody who moved, and whoever leaves goes.
    let badge = moved(4, "").replace(&BASE64_STANDARD.encode([4; 16]), &BASE64_STANDARD.encode([44; 16]));
    world.write("people", directory("corp", (1..13).filter(|number| ![3, 4].contains(number))));
    world.write("lab", directory("lab", 101..103) + &record + &badge.replace(class, "objectClass: acmeBadge\n"));
    assert_eq!(world.cycle(0), 1);
}

/// Somebody's list of classes that stops too early is a slip in the file, too.
#[test]
fn a_class_that_is_lost_deletes_nobody_unasked() {
    let world = World::with(&[]);
    let good = directory("corp", 1..13);
    for (line, slip) in [("objectClass: user\n", "objectClas: user\n"), ("objectClass: user\n", "")] {
        let at = good.find("dn: CN=corp3,").expect("a record");
        world.write("people", good[..at].to_owned() + &good[at..].replacen(line, slip, 1));
        let shown = world.any_cycle();
        assert_eq!(counted(&shown, "export-delete"), 0, "{shown:#}");
        world.held(1);
        world.write("people", good.clone());
        let shown = world.ends(&["cycle", "start"], 0);
        assert_eq!((counted(&shown, "export-delete"), counted(&shown, "export-add")), (0, 0), "{shown:#}");
    }
}

/// Whose delete waits stays in all groups, and everything else of these is sent.
#[test]
fn who_is_held_stays_in_all_groups() {
    let world = World::with(&[]);
    let good = directory("corp", 1..13);
    world.corp_with_group(&good, 1..13);
    world.cycle(0);
    let at = good.find("dn: CN=corp3,").expect("a record");
    let bad = good[..at].to_owned() + &good[at..].replacen("objectClass: user\n", "objectClass: uesr\n", 1);
    world.corp_with_group(&bad, 1..13);
    for _ in 0..2 {
        let shown = world.any_cycle();
        assert_eq!((counted(&shown, "export-delete"), counted(&shown, "export-update")), (0, 0), "{shown:#}");
        world.held(1);
    }
    // Somebody else leaves the group.
    world.corp_with_group(&bad, 1..12);
    let shown = world.any_cycle();
    assert_eq!((counted(&shown, "export-delete"), counted(&shown, "export-update")), (0, 1), "{shown:#}");
    world.corp_with_group(&good, 1..12);
    let shown = world.ends(&["cycle", "start"], 0);
    assert_eq!((counted(&shown, "export-delete"), counted(&shown, "export-update")), (0, 0), "{shown:#}");
    assert_eq!(world.members(), 11);
    // What is allowed goes, with all references.
    world.corp_with_group(&bad, 1..12);
    world.any_cycle();
    let sent = world.does(&["--json", "export", "Entra", "--allow-deletes", &world.held(1)]);
    assert_eq!(counted(&document(&sent), "export-delete"), 1);
    world.any_cycle();
    assert_eq!(world.members(), 10);
    assert_code(&world.does(&["store", "check"]), 0);
}
