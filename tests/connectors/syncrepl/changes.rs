//! Every kind of change, one after the other, with and without a memory of deletes in the server.

use super::world::{BASE, Run, World, modify, person, remove, rename};
use std::fmt::Write as _;

const MEMBERS: usize = 5_000;

/// The changes of a directory's life. Each is followed by a delta import and a comparison with a fresh store.
fn life(world: &World) {
    let step = |what: &str, ldif: &str, check: &dyn Fn(&Run)| {
        world.change(ldif);
        world.proxy.watch(usize::MAX);
        let run = world.try_delta().unwrap();
        // One to read; one to ask whether somebody is really gone, one for those who refer to whoever was renamed or went.
        assert!(world.proxy.connections() <= 3, "{what}: {} connections", world.proxy.connections());
        assert_eq!(run.result, "success", "{what}: {run:?}");
        world.assert_as_fresh(what);
        check(&run);
    };
    let counts = |name: &'static str, number: u64| move |run: &Run| assert_eq!(run.count(name), number, "{name}: {run:?}");
    let people = (person("one", "OU=Teams,OU=People") + &person("two", "OU=Teams,OU=People"))
        + &person("three", "OU=Inner,OU=Teams,OU=People")
        + &person("hidden", "OU=Secret,OU=People")
        + &person("away", "OU=Outside");
    step("added", &people, &counts("stage-add", 3));
    let one = "CN=one,OU=Teams,OU=People";
    step("changed", &modify(one, "replace: sn\nsn: changed"), &counts("stage-update", 1));
    step("cleared", &modify(one, "delete: description\n-\nadd: mail\nmail: one@x"), &counts("stage-update", 1));
    let group = format!("dn: CN=g,OU=Groups,{BASE}\nchangetype: add\nobjectClass: group\ncn: g\nmember: {one},{BASE}\n\n");
    step("grouped", &group, &counts("stage-add", 1));
    // Nobody puts the group right here: it keeps the old name, which is nobody's.
    step("renamed", &rename(one, "CN=uno", None), &counts("stage-rename", 1));
    step("moved out", &rename("CN=uno,OU=Teams,OU=People", "CN=uno", Some("OU=Outside")), &counts("stage-delete", 1));
    step("moved in", &rename("CN=uno,OU=Outside", "CN=one", Some("OU=Teams,OU=People")), &|_| ());
    step("moved to where nobody looks", &rename(one, "CN=one", Some("OU=Secret,OU=People")), &counts("stage-delete", 1));
    step("moved back", &rename("CN=one,OU=Secret,OU=People", "CN=one", Some("OU=Teams,OU=People")), &|_| ());
    let two = "CN=two,OU=Teams,OU=People";
    step("of another class", &modify(two, "replace: objectClass\nobjectClass: contact"), &counts("stage-delete-add", 1));
    step("of an unwanted class", &modify(two, "replace: objectClass\nobjectClass: person"), &counts("stage-delete", 1));
    step("of a wanted class", &modify(two, "replace: objectClass\nobjectClass: user"), &|_| ());
    let swap =
        rename(one, "CN=for a moment", None) + &rename(two, "CN=one", None) + &rename("CN=for a moment,OU=Teams,OU=People", "CN=two", None);
    step("names swapped", &swap, &counts("stage-rename", 2));
    step("made anew under the same name", &(remove(two) + &person("two", "OU=Teams,OU=People")), &counts("stage-add", 1));
    step("container renamed", &rename("OU=Teams,OU=People", "OU=Squads", None), &counts("stage-rename", 3));
    step("container moved out", &rename("OU=Squads,OU=People", "OU=Squads", Some("OU=Outside")), &counts("stage-delete", 3));
    step("container moved in", &rename("OU=Squads,OU=Outside", "OU=Teams", Some("OU=People")), &|_| ());
    step(
        "container moved to where nobody looks",
        &rename("OU=Teams,OU=People", "OU=Teams", Some("OU=Secret,OU=People")),
        &counts("stage-delete", 3),
    );
    step("container moved back", &rename("OU=Teams,OU=Secret,OU=People", "OU=Teams", Some("OU=People")), &|_| ());
    step("container described", &modify("OU=Teams,OU=People", "add: description\ndescription: all of us"), &counts("stage-update", 0));
    let tree = remove("CN=three,OU=Inner,OU=Teams,OU=People") + &remove("OU=Inner,OU=Teams,OU=People");
    step("container deleted", &tree, &counts("stage-delete", 1));
    step("come and gone", &(person("short", "OU=People") + &remove("CN=short,OU=People")), &counts("stage-add", 0));
    step("deleted", &remove(one), &counts("stage-delete", 1));
    let mut many = format!("dn: CN=big,OU=Groups,{BASE}\nchangetype: add\nobjectClass: group\ncn: big\n");
    for number in 0..MEMBERS {
        writeln!(many, "member: CN=m{number},OU=Outside,{BASE}").unwrap();
    }
    step("a large group", &(many + "\n"), &counts("stage-add", 1));
    let member = |number: usize| format!("member: CN=m{number},OU=Outside,{BASE}");
    let parts = format!("delete: member\n{}\n-\nadd: member\nmember: {two},{BASE}", member(77));
    step("one of many members", &modify("CN=big,OU=Groups", &parts), &counts("stage-update", 1));
    step("no member left", &modify("CN=big,OU=Groups", "delete: member"), &counts("stage-update", 1));
    step("nothing", "", &|run| assert_eq!(run.items, 0, "{run:?}"));
}

#[test]
fn a_server_that_remembers_deletes_tells_what_changed() {
    let world = World::selecting(&["--sessionlog", "10000"]);
    world.full();
    life(&world);
    world.change(&person("last", "OU=People"));
    world.proxy.watch(usize::MAX);
    let run = world.try_delta().unwrap();
    assert!(!run.whole, "{run:?}");
    assert_eq!((run.items, world.proxy.connections()), (1, 1), "{run:?}");
}

#[test]
fn a_server_that_does_not_tells_who_is_still_there() {
    let world = World::selecting(&[]);
    world.full();
    life(&world);
    world.change(&remove("CN=two,OU=Teams,OU=People"));
    let run = world.delta();
    assert!(run.whole && run.count("stage-delete") == 1, "{run:?}");
}

#[test]
fn a_whole_naming_context_without_containers_is_followed() {
    let world = World::new(&["--sessionlog", "100"]);
    world.full();
    world.change(&(person("one", "OU=People") + &rename("OU=Contacts", "OU=Others", None)));
    let run = world.delta();
    assert_eq!((run.count("stage-add"), run.count("stage-rename")), (1, 6), "{run:?}");
}

#[test]
fn a_restart_forgets_deletes_and_a_short_memory_overflows() {
    let world = World::selecting(&["--sessionlog", "10"]);
    world.full();
    world.change(&person("one", "OU=People"));
    assert!(!world.delta().whole);
    world.change(&remove("CN=one,OU=People"));
    world.restart();
    let run = world.delta();
    assert!(run.whole && run.count("stage-delete") == 1, "{run:?}");
    let many: String = (0..40).map(|number| person(&format!("p{number}"), "OU=People")).collect();
    let gone: String = (0..30).map(|number| remove(&format!("CN=p{number},OU=People"))).collect();
    world.change(&many);
    assert_eq!(world.delta().count("stage-add"), 40);
    world.change(&gone);
    let run = world.delta();
    assert!(run.whole && run.count("stage-delete") == 30, "{run:?}");
}
