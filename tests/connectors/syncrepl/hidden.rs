//! Who is there and does not show what it is, or its key: to searches by class or key nobody is there.

use super::world::{BASE, Run, World, modify};
use syncline::connector::ImportKind;
use syncline::connector::ldap::DirectorySurvey;
use syncline::context::Context;
use syncline::engine::import::FULL_NEEDED;
use syncline::store::ChangeSet;

const PERSON: &str = "CN=one,OU=People";

/// A directory with somebody of whom the account may not read or search by an attribute any more.
fn hiding(flags: &[&str], attribute: &str) -> World {
    let world = World::selecting(flags);
    world.change(&super::world::person("one", "OU=People"));
    world.full();
    let file = format!("{}/slapd.conf", world.lab.folder());
    let configuration = std::fs::read_to_string(&file).unwrap();
    let rule = format!("access to dn.exact=\"{PERSON},{BASE}\" attrs={attribute} by * none\naccess to attrs=userPassword");
    std::fs::write(&file, configuration.replacen("access to attrs=userPassword", &rule, 1)).unwrap();
    // A server without a memory of what happened names whoever it takes for there.
    world.change(&modify("OU=People", "replace: description\ndescription: of all"));
    world.restart();
    world
}

/// The person stays, and a problem says what is wrong.
fn assert_kept(world: &World, run: &Run, part: &str) {
    assert_eq!((run.count("stage-delete"), run.result), (0, "completed-discovery-errors"), "{run:?}");
    assert!(run.notes.iter().any(|note| note.to_lowercase().contains("cn=one") && note.contains(part)), "{run:?}");
    let kept = super::world::picture(&world.store);
    assert_eq!(kept.values().filter(|(_, _, values, _)| values.iter().any(|value| value.contains("of one"))).count(), 1);
}

#[test]
fn who_does_not_show_a_class_is_not_gone() {
    let world = hiding(&["--sessionlog", "100"], "objectClass");
    let run = world.try_delta().unwrap();
    assert!(run.whole, "{run:?}");
    assert_kept(&world, &run, "objectClass");
    assert_kept(&world, &world.import(&world.store, ImportKind::Full).unwrap(), "objectClass");
    // Now it remembers the change of somebody who does not match the question.
    world.change(&modify(PERSON, "replace: sn\nsn: changed"));
    let run = world.try_delta().unwrap();
    assert!(!run.whole && run.items > 0, "{run:?}");
    assert_kept(&world, &run, "objectClass");
    // Whoever gives the right back changes no entry: the next delta asks for the one that lacked something.
    let file = format!("{}/slapd.conf", world.lab.folder());
    let hidden = std::fs::read_to_string(&file).unwrap();
    let rule = format!("access to dn.exact=\"{PERSON},{BASE}\" attrs=objectClass by * none\n");
    assert!(hidden.contains(&rule));
    std::fs::write(&file, hidden.replace(&rule, "")).unwrap();
    world.restart();
    let run = world.try_delta().unwrap();
    assert_eq!((run.whole, run.result, run.count("stage-update")), (false, "success", 1), "{run:?}");
    let values = super::world::picture(&world.store);
    assert_eq!(values.values().filter(|(_, _, values, _)| values.iter().any(|value| value.contains("changed"))).count(), 1);
}

#[test]
fn who_does_not_show_a_key_is_not_gone() {
    let world = hiding(&["--sessionlog", "100"], "entryUUID");
    let survey = survey(&world);
    assert_eq!((survey.looked, survey.keyless.count, survey.untold.count), (69, 1, 0));
    assert_eq!((survey.keyless.first.to_lowercase(), survey.no_changes), (format!("{PERSON},{BASE}").to_lowercase(), None));
    let run = world.try_delta().unwrap();
    assert!(run.whole, "{run:?}");
    assert_kept(&world, &run, "entryUUID");
    assert_kept(&world, &world.import(&world.store, ImportKind::Full).unwrap(), "entryUUID");
}

/// A change is told, and the key does not find whose it is: the next import reads everything, and nobody is taken for gone.
#[test]
fn a_change_of_somebody_who_is_not_found_by_the_key_is_not_lost() {
    let world = hiding(&["--sessionlog", "100"], "entryUUID");
    let needed = || world.store.snapshot().unwrap().state(super::world::SPACE, FULL_NEEDED).unwrap().is_some();
    let untold = |run: &Run| run.notes.iter().any(|note| note.contains("not found by their entryUUID: 1;"));
    world.try_delta().unwrap();
    clear(&world);
    world.change(&modify(PERSON, "replace: sn\nsn: changed"));
    let run = world.try_delta().unwrap();
    assert_eq!((run.whole, run.count("stage-delete"), needed(), untold(&run)), (false, 0, true, true), "{run:?}");
    // After a restart it names everybody who is there, but who changed only by the change.
    clear(&world);
    world.change(&modify(PERSON, "replace: sn\nsn: changed again"));
    world.restart();
    let run = world.try_delta().unwrap();
    assert_eq!((run.whole, run.count("stage-delete"), needed(), untold(&run)), (true, 0, true, true), "{run:?}");
    assert_kept(&world, &world.import(&world.store, ImportKind::Full).unwrap(), "entryUUID");
    assert!(needed(), "as long as it is hidden");
    // Where nothing is hidden nothing is to be told by a full import.
    let world = World::selecting(&["--sessionlog", "100"]);
    world.full();
    world.change(&super::world::person("one", "OU=People"));
    world.delta();
    assert!(world.store.snapshot().unwrap().state(super::world::SPACE, FULL_NEEDED).unwrap().is_none());
}

/// Forgets that an earlier import left something open.
fn clear(world: &World) {
    let mut changes = ChangeSet::new();
    changes.states.push((super::world::SPACE, FULL_NEEDED.to_owned(), None));
    world.store.apply(changes).unwrap();
}

/// Of whom no change is told, a look at the rights tells.
#[test]
fn who_does_not_show_a_change_number_is_told_by_a_look_at_the_rights() {
    let world = hiding(&["--sessionlog", "100"], "entryCSN");
    world.try_delta().unwrap();
    world.change(&modify(PERSON, "replace: sn\nsn: changed"));
    let run = world.try_delta().unwrap();
    assert_eq!(run.count("stage-update"), 0, "{run:?}");
    let survey = survey(&world);
    assert_eq!((survey.keyless.count, survey.untold.count, survey.no_changes), (0, 1, None));
    assert_eq!(survey.untold.first.to_lowercase(), format!("{PERSON},{BASE}").to_lowercase());
}

fn survey(world: &World) -> DirectorySurvey {
    world.block_on(world.connector(&world.store).survey(&Context::system())).unwrap()
}
