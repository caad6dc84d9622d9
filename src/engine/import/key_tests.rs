//! Keys that two entries have, and keys that do not fit: nobody is taken for another, and nobody is deleted for it.

use super::refused_entries;
use super::tests::{Outcome, SPACE, Told, by_name, consume, delta, entry, full, tell};
use crate::model::{CsObject, DeltaKind, ErrorSide, Stage, StageMask, ValueRef, ValueState};
use crate::store::Store;

const ANNA: &str = "CN=Anna,DC=x";
const BERT: &str = "CN=Bert,DC=x";
const NEW: &str = "CN=New,DC=x";

fn person(dn: &str, key: &str, sid: &str, mail: &str) -> Told {
    entry(dn, key, &[("objectSid", sid), ("mail", mail)])
}

fn anna() -> Told {
    person(ANNA, "1", "S-1", "anna@x")
}

fn bert() -> Told {
    person(BERT, "2", "S-2", "bert@x")
}

fn group(members: &[&str]) -> Told {
    let members: Vec<(&str, &str)> = members.iter().map(|member| ("@member", *member)).collect();
    entry("CN=group,DC=x", "9", &members)
}

/// Anna and Bert, both members of the group, as they were synchronized.
fn known() -> Store {
    let store = Store::in_memory().unwrap();
    full(&store, &[anna(), bert(), group(&[ANNA, BERT])]);
    consume(&store);
    store
}

fn shown(object: &CsObject, attr: crate::model::AttrId) -> Vec<String> {
    let items = object.values.attribute(attr).filter(|item| ValueState(item.flags).present(StageMask::IMPORTED));
    items.map(|item| if let ValueRef::Text(text) = item.value { text.to_owned() } else { String::new() }).collect()
}

/// Who is there: name, key, mail, whether it is about to go; and who is in the group.
fn picture(store: &Store) -> (Vec<String>, Vec<String>) {
    let (snapshot, mail) = (store.snapshot().unwrap(), store.names().intern("mail"));
    let mut people = Vec::new();
    let mut members = Vec::new();
    for object in snapshot.cs_scan(SPACE, None, 100).unwrap() {
        if object.anchor.is_some() {
            let goes = object.stage(Stage::PendingImport).kind == DeltaKind::Delete;
            let anchor = object.anchor.as_ref().map(ToString::to_string).unwrap_or_default();
            people.push(format!("{} {anchor} {} {}", object.dn, shown(&object, mail).join(","), if goes { "goes" } else { "stays" }));
        }
        for row in snapshot.cs_references(object.id).unwrap() {
            if row.state.present(StageMask::IMPORTED) {
                members.push(snapshot.cs_object(row.target).unwrap().unwrap().dn.to_string());
            }
        }
    }
    people.sort();
    members.sort();
    (people, members)
}

fn code(store: &Store, dn: &str) -> Option<String> {
    let object = by_name(store, dn);
    store.snapshot().unwrap().error(object.id, ErrorSide::Import).unwrap().map(|error| error.code.to_string())
}

fn failed((result, counters, notes): &Outcome) {
    assert_eq!(result, "completed-discovery-errors", "{notes:?}");
    assert_eq!(counters.get("stage-delete"), None, "{notes:?}");
}

#[test]
fn who_comes_with_the_key_of_another_is_held_in_whatever_order_they_come() {
    let before = picture(&known());
    let slip = || person(BERT, "1", "S-2", "bert@x");
    for told in [[anna(), slip()], [slip(), anna()]] {
        for size in [1, 2, 100] {
            let store = known();
            let told: Vec<Told> = told.iter().cloned().chain([group(&[ANNA, BERT])]).collect();
            failed(&tell(&store, &told, size, |_| {}));
            assert_eq!(picture(&store), before, "{told:?}");
            assert!(code(&store, BERT).is_some());
            // The mend is one by itself.
            full(&store, &[anna(), bert(), group(&[ANNA, BERT])]);
            assert_eq!((picture(&store), code(&store, BERT), code(&store, ANNA)), (before.clone(), None, None));
        }
    }
}

#[test]
fn a_copy_with_the_key_of_somebody_known_gets_nothing_of_it_in_whatever_order_they_come() {
    let before = picture(&known());
    let copy = || person(NEW, "1", "S-9", "new@x");
    let groups = || group(&[ANNA, BERT]);
    for told in [[anna(), copy(), groups(), bert()], [copy(), groups(), anna(), bert()], [groups(), copy(), bert(), anna()]] {
        for size in [1, 2, 100] {
            let store = known();
            failed(&tell(&store, &told, size, |_| {}));
            assert_eq!(picture(&store), before, "{told:?}");
            let refused = refused_entries(&store.snapshot().unwrap(), SPACE).unwrap();
            assert_eq!(refused.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), [NEW]);
            assert_eq!(refused[0].identities, ["new@x"], "{:?}", refused[0]);
        }
    }
}

/// Who names the copy does not get the one whose key it has.
#[test]
fn whoever_refers_to_a_copy_refers_to_nobody_known() {
    let store = known();
    failed(&full(&store, &[person(NEW, "1", "S-9", "new@x"), group(&[NEW, BERT]), anna(), bert()]));
    assert!(!picture(&store).1.contains(&ANNA.to_owned()) || code(&store, "CN=group,DC=x").is_some(), "{:?}", picture(&store));
}

#[test]
fn an_identifier_that_is_never_given_twice_tells_that_the_key_is_wrong() {
    let before = picture(&known());
    // A key that nobody has, and one that is another's elsewhere, look alike here.
    let store = known();
    failed(&full(&store, &[anna(), person(BERT, "7", "S-2", "bert@x"), group(&[ANNA, BERT])]));
    assert_eq!(picture(&store), before);
    assert_eq!(code(&store, BERT).as_deref(), Some("missing-anchor-component"));
    // Meant, it is another object.
    let told = [anna(), person(BERT, "7", "S-2", "bert@x"), group(&[ANNA, BERT])];
    let (_, counters, _) = tell(&store, &told, 100, |options| options.allow_shrink = true);
    assert_eq!((counters.get("stage-delete"), counters.get("stage-add")), (Some(&1), Some(&1)));
    // Who was deleted and made anew has another one.
    let store = known();
    let (_, counters, _) = full(&store, &[anna(), person(BERT, "7", "S-7", "bert@x"), group(&[ANNA, BERT])]);
    assert_eq!((counters.get("stage-delete"), counters.get("stage-add")), (Some(&1), Some(&1)));
}

/// Everything else of them is as before, so it is the keys that are wrong.
#[test]
fn keys_that_go_round_are_believed_of_nobody() {
    const CARL: &str = "CN=Carl,DC=x";
    let people = |keys: [&str; 3]| {
        let [anna, bert, carl] = keys;
        [person(ANNA, anna, "S-1", "anna@x"), person(BERT, bert, "S-2", "bert@x"), person(CARL, carl, "S-3", "carl@x")]
    };
    let groups = || group(&[ANNA, CARL]);
    for keys in [["2", "1", "3"], ["1", "3", "2"], ["2", "3", "1"], ["3", "1", "2"]] {
        for size in [1, 2, 100] {
            for place in 0..4 {
                let store = Store::in_memory().unwrap();
                full(&store, &people(["1", "2", "3"]).into_iter().chain([groups()]).collect::<Vec<_>>());
                consume(&store);
                let before = picture(&store);
                let mut told = people(keys).to_vec();
                told.insert(place, groups());
                for _ in 0..2 {
                    failed(&tell(&store, &told, size, |_| {}));
                    assert_eq!(picture(&store), before, "{keys:?} {size} {place}");
                }
                let (result, ..) = full(&store, &people(["1", "2", "3"]).into_iter().chain([groups()]).collect::<Vec<_>>());
                assert_eq!((result.as_str(), picture(&store)), ("success", before.clone()));
            }
        }
    }
}

#[test]
fn an_added_entry_with_the_key_of_somebody_who_is_there_is_no_rename_where_those_are_told() {
    let before = picture(&known());
    let store = known();
    let copy = [person(NEW, "1", "S-9", "new@x")];
    let outcome = tell(&store, &copy, 100, |options| (options.full, options.renames_are_told) = (false, true));
    failed(&outcome);
    assert_eq!(picture(&store), before);
    assert!(store.snapshot().unwrap().state(SPACE, super::FULL_NEEDED).unwrap().is_some(), "the next import reads everything");
    // Elsewhere a known key under another name is a rename.
    delta(&store, &[person(NEW, "1", "S-1", "anna@x")]);
    assert_eq!(by_name(&store, NEW).anchor.map(|key| key.to_string()), before_key());
}

fn before_key() -> Option<String> {
    by_name(&known(), ANNA).anchor.map(|key| key.to_string())
}

/// Somebody else may be behind a known name: who is missed elsewhere is told by what the entry shows.
#[test]
fn who_is_refused_under_a_known_name_with_another_key_is_kept_with_what_it_shows() {
    let store = known();
    let no_class = |page: &mut crate::connector::PageBuilder| {
        page.begin_entry(BERT);
        page.anchor(b"7");
        page.attribute(store.names().intern("mail"), crate::connector::Operation::Replace);
        page.value(ValueRef::Text("jana@x"));
        page.finish();
    };
    let mut page = crate::connector::PageBuilder::new();
    no_class(&mut page);
    page.begin_gone(BERT);
    page.anchor(b"2");
    page.finish();
    let mut silent = crate::engine::Silent;
    let mut recorder = crate::engine::StepRecorder::new(&mut silent);
    let mut options = super::ImportOptions::full(SPACE, "A", Vec::new(), (crate::model::RunId(1), 1));
    options.full = false;
    let pages = [Ok(page.build(Some(crate::connector::Completion::default())))];
    super::import(&store, pages.into_iter(), &options, &crate::context::Context::system(), &mut recorder).unwrap();
    let refused = refused_entries(&store.snapshot().unwrap(), SPACE).unwrap();
    assert_eq!(refused.iter().map(|entry| entry.identities.clone()).collect::<Vec<_>>(), [["jana@x"]], "{refused:?}");
}

/// A group that names somebody by a new name, and the end of the import that would have told who that is never comes.
#[test]
fn what_breaks_off_before_names_were_settled_is_not_believed() {
    let renamed = || person("CN=Bertha,DC=x", "2", "S-2", "bert@x");
    for told in [vec![anna(), group(&[ANNA, "CN=Bertha,DC=x"])], vec![group(&[ANNA, BERT]), anna(), renamed()]] {
        let store = known();
        assert_eq!(super::tests::cut_off(&store, &told), "stopped-connectivity");
        assert!(super::verdict(&store.snapshot().unwrap(), SPACE).unwrap().is_some(), "{told:?}");
        full(&store, &[anna(), renamed(), group(&[ANNA, "CN=Bertha,DC=x"])]);
        assert_eq!(super::verdict(&store.snapshot().unwrap(), SPACE).unwrap(), None);
        assert_eq!(picture(&store).1, [ANNA, "CN=Bertha,DC=x"]);
    }
    // Who only gains a name that nobody has loses nothing.
    let store = known();
    super::tests::cut_off(&store, &[anna(), group(&[ANNA, BERT, NEW])]);
    assert_eq!(super::verdict(&store.snapshot().unwrap(), SPACE).unwrap(), None);
}

/// An old copy of a file beside it, in front or behind: what says the same as before counts.
#[test]
fn who_is_told_twice_stays_as_it_was() {
    let before = picture(&known());
    let stale = || person(ANNA, "1", "S-1", "stale@x");
    for told in [[anna(), stale()], [stale(), anna()]] {
        for size in [1, 2, 100] {
            let store = known();
            let told: Vec<Told> = told.iter().cloned().chain([bert(), group(&[ANNA, BERT])]).collect();
            for _ in 0..3 {
                failed(&tell(&store, &told, size, |_| {}));
                assert_eq!((picture(&store), code(&store, ANNA).as_deref()), (before.clone(), Some("duplicate-object")), "{told:?}");
            }
            full(&store, &[anna(), bert(), group(&[ANNA, BERT])]);
            assert_eq!((picture(&store), code(&store, ANNA)), (before.clone(), None));
        }
    }
}
