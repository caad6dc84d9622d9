//! Whom a reference means: names change hands, objects go and come back under the same name.

use super::tests::{ANNA, BERT, Outcome, Row, SPACE, Told, by_name, counts, entry, full, import_rows, page, tell, unfinished};
use super::{ImportOptions, import_asking};
use crate::connector::{Completion, Departure, ImportPage, Operation, PageBuilder};
use crate::context::Context;
use crate::engine::sync::{BATCH, SyncRequest, synchronize};
use crate::engine::{Silent, StepRecorder};
use crate::model::{Anchor, CsId, Link, RunId, StageMask};
use crate::rules::{CompileInput, ConnectorKind, ConnectorProfile, RuleSet, RuleSettings, RunParameters};
use crate::store::Store;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Synchronizes what was imported, by rules that want nobody.
fn consume(store: &Store) {
    let connectors = [ConnectorProfile::new(SPACE, "A", ConnectorKind::Other)];
    let input = CompileInput { files: &[], connectors: &connectors, names: store.names(), settings: &RuleSettings::default() };
    let rules = RuleSet::compile(input).unwrap();
    let request = SyncRequest {
        connector: SPACE,
        full: false,
        parameters: RunParameters::default(),
        connectors: BTreeMap::from([(SPACE, "A".to_owned())]),
        step: (RunId(1), 2),
        batch: BATCH,
    };
    synchronize(store, &rules, &request, &Context::system(), &mut |plan| store.apply(plan.changes)).unwrap();
}

/// A store in which these were imported and synchronized.
fn known(rows: &[Row<'_>]) -> Store {
    let store = Store::in_memory().unwrap();
    import_rows(&store, rows);
    consume(&store);
    store
}

/// A page with a tombstone.
fn departed(dn: &str, anchor: &[u8], departure: Departure) -> ImportPage {
    let mut builder = PageBuilder::new();
    builder.begin_departure(dn, departure);
    builder.anchor(anchor);
    builder.finish();
    builder.build(None)
}

/// The reference says the same name as before, and another object has it.
#[test]
fn a_reference_by_name_goes_to_whoever_has_the_name_now() {
    let store = Store::in_memory().unwrap();
    full(&store, &[BERT, ANNA].map(|(dn, anchor, values)| entry(dn, anchor, values)));
    consume(&store);
    let bert = entry("CN=Bert,DC=x", "3", &[("mail", "other@x")]);
    let anna = entry(ANNA.0, ANNA.1, ANNA.2);
    full(&store, &[bert, anna]);
    let id = by_name(&store, "CN=Bert,DC=x").id;
    let rows = store.snapshot().unwrap().cs_references(by_name(&store, "CN=Anna,DC=x").id).unwrap();
    let shown: Vec<CsId> = rows.iter().filter(|row| row.state.present(StageMask::IMPORTED)).map(|row| row.target).collect();
    assert_eq!(shown, [id]);
}

/// A delta import of pages, with answers to what it asks; gives who was asked for.
fn delta_asking(store: &Store, pages: Vec<ImportPage>, answers: &[Row<'_>]) -> (Outcome, Vec<String>) {
    let mut options = ImportOptions::full(SPACE, "A", Vec::new(), (RunId(1), 1));
    options.full = false;
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let pages = pages.into_iter().chain([ImportPage::last(Completion { watermark: Some(vec![8]), answered_in_full: false })]).map(Ok);
    let mut asked = Vec::new();
    let mut ask = |anchors: &[Anchor]| {
        asked.extend(anchors.iter().map(|anchor| String::from_utf8_lossy(anchor.as_bytes()).into_owned()));
        let known: Vec<Row<'_>> = answers.iter().filter(|(_, key, _)| anchors.contains(&Anchor::new(key.as_bytes()))).copied().collect();
        Ok(Some(vec![unfinished(page(store, &known))]))
    };
    let result = import_asking(store, pages, &mut ask, &options, &Context::system(), &mut recorder);
    let result = result.map_or_else(|error| error.result().to_owned(), str::to_owned);
    let counters = recorder.counters().iter().map(|(name, count)| (name.0.to_string(), *count)).collect();
    ((result, counters, recorder.notes), asked)
}

fn managers(store: &Store, dn: &str) -> Vec<String> {
    let owner = by_name(store, dn).id;
    let snapshot = store.snapshot().unwrap();
    let rows = snapshot.cs_references(owner).unwrap();
    let shown = rows.iter().filter(|row| row.state.present(StageMask::IMPORTED));
    shown.map(|row| snapshot.cs_object(row.target).unwrap().unwrap().dn.to_string()).collect()
}

#[test]
fn whom_a_change_names_and_nobody_knows_is_asked_for_before_anybody_refers_to_it() {
    let store = known(&[ANNA, BERT]);
    let manager = store.names().intern("manager");
    let mut builder = PageBuilder::new();
    builder.begin_change("CN=Bert,DC=x");
    builder.anchor(b"3");
    builder.finish();
    builder.begin_change("");
    builder.anchor(b"1");
    builder.attribute(manager, Operation::Add);
    builder.reference_to("CN=Bert,DC=x", b"3");
    builder.finish();
    builder.begin_change("CN=Else,DC=x");
    builder.anchor(b"9");
    builder.finish();
    let other: Row<'_> = ("CN=Bert,DC=x", "3", &[("mail", "other@x")]);
    let ((result, counters, notes), asked) =
        delta_asking(&store, vec![departed("", b"2", Departure::Deleted), builder.build(None)], &[other]);
    assert_eq!(result, "success", "{notes:?}");
    assert_eq!(asked, ["3", "9"]);
    assert_eq!(counters.get("filtered-objects"), Some(&1), "who is not given is out of scope: {counters:?}");
    assert_eq!(managers(&store, "CN=Anna,DC=x"), ["CN=Bert,DC=x"]);
    assert_eq!(by_name(&store, "CN=Bert,DC=x").anchor, Some(Anchor::new(*b"3")));
}

#[test]
fn references_to_the_deleted_go_and_references_to_those_who_left_stay() {
    for (departure, expected) in [(Departure::Deleted, None), (Departure::Left, Some("CN=Bert,OU=out,DC=x"))] {
        let store = known(&[ANNA, BERT]);
        let ((result, counters, _), _) = delta_asking(&store, vec![departed("CN=Bert,OU=out,DC=x", b"2", departure)], &[]);
        assert_eq!((result.as_str(), counters.get("stage-delete")), ("success", Some(&1)));
        consume(&store);
        assert_eq!(managers(&store, "CN=Anna,DC=x").first().map(String::as_str), expected, "{departure:?}");
    }
}

#[test]
fn a_tombstone_with_another_key_is_not_that_of_the_object_with_the_name() {
    let store = known(&[BERT]);
    let ((_, counters, _), _) = delta_asking(&store, vec![departed("CN=Bert,DC=x", b"7", Departure::Deleted)], &[]);
    assert_eq!(counters, counts(&[("filtered-deletes", 1)]));
}

#[test]
fn a_reference_that_goes_under_an_unknown_name_has_its_owner_read_whole() {
    let store = known(&[ANNA]);
    let mut builder = PageBuilder::new();
    builder.begin_change("");
    builder.anchor(b"1");
    builder.attribute(store.names().intern("manager"), Operation::Remove);
    builder.reference_to("CN=Formerly,DC=x", b"5");
    builder.finish();
    let whole: Row<'_> = ("CN=Anna,DC=x", "1", &[("mail", "anna@x")]);
    let ((result, ..), asked) = delta_asking(&store, vec![builder.build(None)], &[whole]);
    assert_eq!((result.as_str(), asked), ("success", vec!["1".to_owned()]));
    assert_eq!(managers(&store, "CN=Anna,DC=x"), [""; 0]);
}

/// Somebody is deleted and made anew under the same name, and who refers to the new one is told before it.
#[test]
fn a_name_that_was_told_before_it_changed_hands_is_asked_for_again() {
    let other: Row<'_> = ("CN=Bert,DC=x", "3", &[("mail", "other@x")]);
    for gone_first in [true, false] {
        let store = known(&[("CN=Anna,DC=x", "1", &[("mail", "anna@x")]), BERT]);
        let mut pages = vec![departed("CN=Bert,DC=x", b"2", Departure::Deleted), unfinished(page(&store, &[ANNA]))];
        if !gone_first {
            pages.reverse();
        }
        pages.push(unfinished(page(&store, &[other])));
        let ((result, ..), asked) = delta_asking(&store, pages, &[ANNA]);
        assert_eq!((result.as_str(), asked), ("success", vec!["1".to_owned()]), "gone first: {gone_first}");
        assert_eq!(managers(&store, "CN=Anna,DC=x"), ["CN=Bert,DC=x"]);
        assert_eq!(by_name(&store, "CN=Bert,DC=x").anchor, Some(Anchor::new(*b"3")));
    }
}

/// The directory is read while it changes: who refers to somebody was read under the old name, and the other under the new one.
#[test]
fn a_rename_during_a_full_import_loses_no_reference() {
    let store = known(&[ANNA, BERT]);
    let renamed: Row<'_> = ("CN=Bertram,DC=x", BERT.1, BERT.2);
    import_rows(&store, &[ANNA, renamed]);
    consume(&store);
    assert_eq!(managers(&store, "CN=Anna,DC=x"), ["CN=Bertram,DC=x"]);
    assert_eq!(store.check().unwrap().problems, []);
    assert_eq!(store.snapshot().unwrap().cs_count(SPACE).unwrap(), 2, "nobody stands for the old name");
}

/// Who refers to whom: by key, with the key of the manager, or the name that nobody has.
fn picture(store: &Store) -> Vec<(String, String, Vec<String>)> {
    let snapshot = store.snapshot().unwrap();
    let mut rows = Vec::new();
    for object in snapshot.cs_scan(SPACE, None, 1_000).unwrap().into_iter().filter(|object| object.link != Link::Placeholder) {
        let mut targets = Vec::new();
        for row in snapshot.cs_references(object.id).unwrap().iter().filter(|row| row.state.present(StageMask::IMPORTED)) {
            let target = snapshot.cs_object(row.target).unwrap().unwrap();
            targets.push(target.anchor.map_or_else(|| target.dn.to_string(), |anchor| anchor.to_string()));
        }
        targets.sort();
        rows.push((object.anchor.map(|anchor| anchor.to_string()).unwrap_or_default(), object.dn.to_string(), targets));
    }
    rows.sort();
    rows
}

/// A directory: some people in some order, each with a name of its own, and with some of the others as members.
fn directory() -> impl Strategy<Value = Vec<Told>> {
    let shuffled = || Just((0..6u8).collect::<Vec<u8>>()).prop_shuffle();
    let members = proptest::collection::vec(proptest::collection::btree_set(0..6usize, 0..4), 6);
    (shuffled(), shuffled(), members, 1..=6usize).prop_map(|(names, anchors, members, count)| {
        let names: Vec<String> = names.iter().take(count).map(|name| format!("CN=n{name}")).collect();
        let person = |((name, anchor), members): ((&String, u8), std::collections::BTreeSet<usize>)| {
            let members = members.into_iter().filter_map(|member| names.get(member));
            let values: Vec<(&str, &str)> = members.map(|member| ("@member", member.as_str())).collect();
            entry(name, &anchor.to_string(), &values)
        };
        names.iter().zip(anchors).zip(members).map(person).collect()
    })
}

/// Somebody by name and key, and members by name and key.
type Group = ((String, u8), Vec<(String, u8)>);

/// A page of a directory that tells of everybody, also of whom others refer to, by name and key.
fn keyed_page(store: &Store, groups: &[Group]) -> ImportPage {
    let names = store.names();
    let mut builder = PageBuilder::new();
    for ((dn, anchor), members) in groups {
        builder.begin_entry(dn);
        builder.anchor(&[*anchor]);
        builder.object_type(names.object_type("group"));
        if !members.is_empty() {
            builder.attribute(names.intern("member"), Operation::Replace);
            for (dn, anchor) in members {
                builder.reference_to(dn, &[*anchor]);
            }
        }
        builder.finish();
    }
    builder.build(None)
}

/// An import of pages in which references have anchors; a full one, or one of changes.
fn keyed(store: &Store, full: bool, pages: Vec<ImportPage>) -> String {
    let mut options = ImportOptions::full(SPACE, "A", Vec::new(), (RunId(1), 1));
    (options.full, options.allow_shrink, options.references_have_anchors) = (full, true, true);
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let pages = pages.into_iter().chain([ImportPage::last(Completion { watermark: Some(vec![8]), answered_in_full: false })]).map(Ok);
    import_asking(store, pages, &mut |_| Ok(None), &options, &Context::system(), &mut recorder).unwrap().to_owned()
}

fn group(dn: &str, anchor: u8, members: &[(&str, u8)]) -> Group {
    ((dn.to_owned(), anchor), members.iter().map(|(dn, anchor)| ((*dn).to_owned(), *anchor)).collect())
}

/// Members by name, with whether each is more than a name.
fn members(store: &Store, dn: &str) -> Vec<(String, bool)> {
    let snapshot = store.snapshot().unwrap();
    let rows = snapshot.cs_references(by_name(store, dn).id).unwrap();
    let shown = rows.iter().filter(|row| row.state.present(StageMask::IMPORTED));
    let mut members: Vec<(String, bool)> = shown
        .map(|row| snapshot.cs_object(row.target).unwrap().unwrap())
        .map(|target| (target.dn.to_string(), target.link != Link::Placeholder))
        .collect();
    members.sort();
    members
}

/// A member whom no selection covers is renamed and deleted between two imports: the tombstone has a name that nobody knows.
#[test]
fn a_tombstone_takes_references_away_whatever_its_name_is() {
    let store = Store::in_memory().unwrap();
    keyed(&store, true, vec![keyed_page(&store, &[group("CN=g", 1, &[("CN=out", 9), ("CN=other", 8)])])]);
    consume(&store);
    assert_eq!(keyed(&store, false, vec![departed("CN=renamed", &[9], Departure::Deleted)]), "success");
    assert_eq!(members(&store, "CN=g"), [("CN=other".to_owned(), false)]);
    // Who was imported and left the selection goes by a key, too.
    keyed(&store, true, vec![keyed_page(&store, &[group("CN=g", 1, &[("CN=p", 2)]), group("CN=p", 2, &[])])]);
    consume(&store);
    keyed(&store, false, vec![departed("CN=p,OU=out", &[2], Departure::Left)]);
    consume(&store);
    assert_eq!(members(&store, "CN=g"), [("CN=p,OU=out".to_owned(), false)]);
    keyed(&store, false, vec![departed("CN=renamed", &[2], Departure::Deleted)]);
    assert_eq!(members(&store, "CN=g"), []);
    assert_eq!(store.check().unwrap().problems, []);
}

/// Somebody left the selection and was synchronized off; whoever takes the name takes no memberships.
#[test]
fn who_takes_the_name_of_somebody_who_left_becomes_no_member() {
    let store = Store::in_memory().unwrap();
    keyed(&store, true, vec![keyed_page(&store, &[group("CN=g", 1, &[("CN=p", 2)]), group("CN=p", 2, &[])])]);
    consume(&store);
    keyed(&store, false, vec![departed("CN=p,OU=out", &[2], Departure::Left)]);
    consume(&store);
    keyed(&store, false, vec![keyed_page(&store, &[group("CN=p,OU=out", 3, &[])])]);
    consume(&store);
    let [(name, false)] = &members(&store, "CN=g")[..] else { panic!("who has the name is not the member") };
    assert!(name.contains("transient"), "{name}");
    assert_eq!(by_name(&store, "CN=p,OU=out").anchor, Some(Anchor::new([3])));
    // Who comes back is the member again, whatever the name.
    keyed(&store, false, vec![keyed_page(&store, &[group("CN=back", 2, &[])])]);
    consume(&store);
    assert_eq!(members(&store, "CN=g"), [("CN=back".to_owned(), true)]);
    assert_eq!(store.check().unwrap().problems, []);
}

/// Where references are names, an entry takes the placeholder with its name, and not its key.
#[test]
fn an_entry_without_a_key_does_not_get_that_of_a_placeholder() {
    let store = known(&[ANNA, BERT]);
    let id = by_name(&store, "CN=Bert,DC=x").id;
    delta_asking(&store, vec![departed("CN=Bert,DC=x", b"2", Departure::Left)], &[]);
    consume(&store);
    assert_eq!(by_name(&store, "CN=Bert,DC=x").anchor, Some(Anchor::of_placeholder(b"2")));
    let mut builder = PageBuilder::new();
    builder.begin_entry("CN=Bert,DC=x");
    builder.object_type(store.names().object_type("user"));
    builder.finish();
    delta_asking(&store, vec![builder.build(None)], &[]);
    let object = by_name(&store, "CN=Bert,DC=x");
    assert_eq!((object.id, object.link, object.anchor), (id, Link::Disconnected, None));
}

/// A member whom no selection covers is renamed, and somebody who is selected takes the name.
#[test]
fn who_takes_the_name_of_a_member_becomes_none() {
    for told in [true, false] {
        let store = Store::in_memory().unwrap();
        keyed(&store, true, vec![keyed_page(&store, &[group("CN=g", 1, &[("CN=n", 9)])])]);
        consume(&store);
        let mut pages = vec![keyed_page(&store, &[group("CN=n", 2, &[])])];
        if told {
            pages.insert(0, departed("CN=m", &[9], Departure::Left));
        }
        assert_eq!(keyed(&store, false, pages), "success");
        let [(name, false)] = &members(&store, "CN=g")[..] else { panic!("told: {told}") };
        assert_eq!(name == "CN=m", told, "{name}");
        keyed(&store, false, vec![keyed_page(&store, &[group("CN=m", 9, &[])])]);
        assert_eq!(members(&store, "CN=g"), [("CN=m".to_owned(), true)], "told: {told}");
        assert_eq!(store.check().unwrap().problems, []);
    }
}

/// Two whom no selection covers, one after the other, have one name.
#[test]
fn the_later_of_two_placeholders_has_the_name() {
    let store = Store::in_memory().unwrap();
    keyed(&store, true, vec![keyed_page(&store, &[group("CN=g", 1, &[("CN=n", 9)]), group("CN=h", 2, &[])])]);
    consume(&store);
    let told = [group("CN=g", 1, &[]), group("CN=h", 2, &[("CN=n", 8)])];
    assert_eq!(keyed(&store, false, vec![departed("CN=n", &[9], Departure::Deleted), keyed_page(&store, &told)]), "success");
    assert_eq!(members(&store, "CN=h"), [("CN=n".to_owned(), false)]);
    keyed(&store, false, vec![keyed_page(&store, &[group("CN=n", 9, &[])])]);
    let [(name, false)] = &members(&store, "CN=h")[..] else { panic!("who has the name is not the member") };
    assert!(name.contains("transient"), "{name}");
    assert_eq!(store.check().unwrap().problems, []);
}

/// A directory in which everybody may be a member, and some are not reported.
fn keyed_directory() -> impl Strategy<Value = Vec<Group>> {
    let shuffled = || Just((0..7u8).collect::<Vec<u8>>()).prop_shuffle();
    let members = proptest::collection::vec(proptest::collection::btree_set(0..7usize, 0..4), 7);
    (shuffled(), shuffled(), members, 1..=7usize).prop_map(|(names, anchors, members, reported)| {
        let all: Vec<(String, u8)> = names.iter().zip(anchors).map(|(name, anchor)| (format!("CN=n{name}"), anchor)).collect();
        let groups = all.iter().cloned().zip(members);
        groups.take(reported).map(|(own, members)| (own, members.into_iter().map(|member| all[member].clone()).collect())).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    /// Where references have anchors, a full import comes to what the directory says whatever was known before, also of members
    /// whom it does not report; what their placeholders are called is of no weight.
    #[test]
    fn references_with_anchors_mean_what_they_mean_from_nothing(
        directories in proptest::collection::vec((keyed_directory(), any::<bool>()), 2..4),
    ) {
        let store = Store::in_memory().unwrap();
        for (groups, synchronized) in &directories {
            keyed(&store, true, groups.chunks(3).map(|groups| keyed_page(&store, groups)).collect());
            if *synchronized {
                consume(&store);
            }
        }
        consume(&store);
        let scratch = Store::in_memory().unwrap();
        keyed(&scratch, true, vec![keyed_page(&scratch, &directories.last().unwrap().0)]);
        consume(&scratch);
        prop_assert_eq!(picture(&store), picture(&scratch));
        let found = store.check().unwrap();
        prop_assert!(found.is_clean(), "{:?}", found);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    /// Whatever was known before: a full import comes to what the directory says, in whatever order it says it, when every name in
    /// it leads to somebody.
    #[test]
    fn a_full_import_means_what_one_from_nothing_means(directories in proptest::collection::vec((directory(), any::<bool>()), 2..4)) {
        let store = Store::in_memory().unwrap();
        for (told, synchronized) in &directories {
            tell(&store, told, 3, |options| options.allow_shrink = true);
            if *synchronized {
                consume(&store);
            }
        }
        consume(&store);
        let scratch = Store::in_memory().unwrap();
        full(&scratch, &directories.last().unwrap().0);
        consume(&scratch);
        prop_assert_eq!(picture(&store), picture(&scratch));
        let found = store.check().unwrap();
        prop_assert!(found.is_clean(), "{:?}", found);
    }
}
