//! Imports by hand-made pages: every rule of staging, one short scenario each.

use super::{FULL_NEEDED, ImportOptions, import, import_asking};
use crate::connector::{Completion, ConnectorError, ConnectorErrorKind, DiscoveryError, ImportPage, Legible, Operation, PageBuilder};
use crate::context::Context;
use crate::engine::{EngineError, Progress, Silent, StepRecorder};
use crate::model::{
    Anchor, ConnectorId, CsId, CsObject, DeltaKind, Dn, ErrorSide, FlatBuilder, FlatValues, Link, MvId, MvObject, ObjectErrorCode, RunId,
    Stage, StageMask, ValueRef, ValueState,
};
use crate::store::{ChangeSet, Store};
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) const SPACE: ConnectorId = ConnectorId(1);

/// Name, anchor, attributes; an attribute whose name begins with `@` is a reference.
pub(super) type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

pub(super) fn page(store: &Store, rows: &[Row<'_>]) -> ImportPage {
    let names = store.names();
    let mut builder = PageBuilder::new();
    for (dn, anchor, attributes) in rows {
        builder.begin_entry(dn);
        builder.anchor(anchor.as_bytes());
        builder.object_type(names.object_type("user"));
        for (attribute, value) in *attributes {
            builder.attribute(names.intern(attribute.trim_start_matches('@')), Operation::Replace);
            if attribute.starts_with('@') { builder.reference(value) } else { builder.value(ValueRef::Text(value)) }
        }
        builder.finish();
    }
    builder.build(Some(Completion::default()))
}

pub(super) fn unfinished(mut page: ImportPage) -> ImportPage {
    page.completion = None;
    page
}

fn run(store: &Store, pages: Vec<Result<ImportPage, ConnectorError>>) -> (Result<&'static str, EngineError>, BTreeMap<String, u64>) {
    let options = ImportOptions::full(SPACE, "A", Vec::new(), (RunId(1), 1));
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let result = import(store, pages.into_iter(), &options, &Context::system(), &mut recorder);
    let counters = recorder.counters().iter().map(|(name, count)| (name.0.to_string(), *count)).collect();
    (result, counters)
}

pub(super) fn import_rows(store: &Store, rows: &[Row<'_>]) -> BTreeMap<String, u64> {
    import_ending(store, rows, "success")
}

fn import_ending(store: &Store, rows: &[Row<'_>], expected: &str) -> BTreeMap<String, u64> {
    let (result, counters) = run(store, vec![Ok(page(store, rows))]);
    assert_eq!(result.unwrap(), expected);
    counters
}

pub(super) fn counts(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

pub(super) fn by_name(store: &Store, dn: &str) -> CsObject {
    let snapshot = store.snapshot().unwrap();
    let id = snapshot.cs_by_dn(SPACE, &Dn::parse(dn).unwrap().key()).unwrap().unwrap_or_else(|| panic!("{dn} is not there"));
    snapshot.cs_object(id).unwrap().unwrap()
}

/// What inbound sync will do in earnest: takes every pending import for the base image.
pub(super) fn consume(store: &Store) {
    let snapshot = store.snapshot().unwrap();
    let mut changes = ChangeSet::new();
    for mut object in snapshot.cs_scan(SPACE, None, 1_000).unwrap() {
        match object.stage(Stage::PendingImport).kind {
            DeltaKind::None => continue,
            DeltaKind::Delete => {
                changes.cs_delete.push(object.id);
                continue;
            }
            _ => {}
        }
        for mut row in snapshot.cs_references(object.id).unwrap() {
            row.state = consumed(row.state);
            changes.cs_reference.push(row);
        }
        let mut values = FlatBuilder::new();
        for item in object.values.iter() {
            let state = consumed(ValueState(item.flags));
            if !state.is_absent() {
                values.push(item.attr, item.value, state.0);
            }
        }
        object.values = values.finish();
        object.in_base = true;
        object.previous_type = None;
        *object.stage_mut(Stage::PendingImport) = crate::model::StageDelta::default();
        changes.cs_put.push(object);
    }
    store.apply(changes).unwrap();
}

fn consumed(state: ValueState) -> ValueState {
    let present = state.present(StageMask::IMPORTED);
    state.without(Stage::PendingImport).with_base(present)
}

pub(super) const ANNA: Row<'_> = ("CN=Anna,DC=x", "1", &[("mail", "anna@x"), ("@manager", "CN=Bert,DC=x")]);
pub(super) const BERT: Row<'_> = ("CN=Bert,DC=x", "2", &[("mail", "bert@x")]);

#[test]
fn a_second_import_of_the_same_stages_nothing_and_writes_nothing() {
    let store = Store::in_memory().unwrap();
    assert_eq!(import_rows(&store, &[ANNA, BERT]), counts(&[("stage-add", 2)]));
    consume(&store);
    import_rows(&store, &[ANNA, BERT]);
    let before = store.io_counts();
    assert_eq!(import_rows(&store, &[BERT, ANNA]), counts(&[("stage-no-change", 2)]));
    let after = store.io_counts();
    assert_eq!(after.bodies_read, before.bodies_read, "no body is read");
    assert!(after.rows_written - before.rows_written <= 1, "but for the epoch of the hashes nothing is written");
}

#[test]
fn references_find_their_targets_in_whatever_order_they_come() {
    let store = Store::in_memory().unwrap();
    let pages = vec![ANNA, BERT].into_iter().map(|row| Ok(unfinished(page(&store, &[row]))));
    let pages: Vec<_> = pages.chain([Ok(ImportPage::last(Completion::default()))]).collect();
    let (result, counters) = run(&store, pages);
    assert_eq!((result.unwrap(), counters), ("success", counts(&[("stage-add", 2)])));
    let (anna, bert) = (by_name(&store, "CN=Anna,DC=x"), by_name(&store, "CN=Bert,DC=x"));
    let rows = store.snapshot().unwrap().cs_references(anna.id).unwrap();
    assert_eq!(rows.iter().map(|row| row.target).collect::<Vec<_>>(), [bert.id]);
    assert_eq!(bert.link, Link::Disconnected, "the placeholder became the object");
}

#[test]
fn a_target_nobody_reports_is_a_placeholder_as_long_as_somebody_refers_to_it() {
    let store = Store::in_memory().unwrap();
    import_rows(&store, &[ANNA]);
    assert_eq!(by_name(&store, "CN=Bert,DC=x").link, Link::Placeholder);
    consume(&store);
    import_rows(&store, &[("CN=Anna,DC=x", "1", &[("mail", "anna@x")])]);
    consume(&store);
    import_rows(&store, &[("CN=Anna,DC=x", "1", &[("mail", "anna@x")])]);
    assert_eq!(store.snapshot().unwrap().cs_count(SPACE).unwrap(), 1);
}

/// Remembers how many objects were expected.
#[derive(Default)]
struct Expected(Option<u64>);

impl Progress for Expected {
    fn advanced(&mut self, _done: u64, of: Option<u64>) {
        self.0 = of;
    }
}

#[test]
fn a_full_import_expects_the_objects_that_there_are_and_no_placeholders() {
    let store = Store::in_memory().unwrap();
    for expected in [None, Some(1)] {
        let mut builder = PageBuilder::new();
        builder.begin_entry("CN=Anna,DC=x");
        builder.anchor(b"1");
        builder.object_type(store.names().object_type("user"));
        builder.attribute(store.names().intern("manager"), Operation::Replace);
        builder.reference_to("CN=Bert,DC=x", b"2");
        builder.finish();
        let options = ImportOptions { references_have_anchors: true, ..ImportOptions::full(SPACE, "A", Vec::new(), (RunId(1), 1)) };
        let mut told = Expected::default();
        let mut recorder = StepRecorder::new(&mut told);
        let pages = std::iter::once(Ok(builder.build(Some(Completion::default()))));
        assert_eq!(import(&store, pages, &options, &Context::system(), &mut recorder).unwrap(), "success");
        drop(recorder);
        assert_eq!(told.0, expected);
        consume(&store);
    }
}

#[test]
fn changes_renames_and_new_types_keep_the_object() {
    let store = Store::in_memory().unwrap();
    import_rows(&store, &[ANNA, BERT]);
    consume(&store);
    let id = by_name(&store, "CN=Bert,DC=x").id;
    let moved: Row<'_> = ("CN=Bert,OU=y,DC=x", "2", &[("mail", "bert@y")]);
    assert_eq!(import_rows(&store, &[ANNA, moved]), counts(&[("stage-no-change", 1), ("stage-rename", 1)]));
    let bert = by_name(&store, "CN=Bert,OU=y,DC=x");
    assert_eq!((bert.id, bert.stage(Stage::PendingImport).rename.as_deref()), (id, Some("CN=Bert,DC=x")));
    let back = import_rows(&store, &[ANNA, BERT]);
    assert_eq!(back.get("stage-rename"), Some(&1));
    assert_eq!(by_name(&store, "CN=Bert,DC=x").stage(Stage::PendingImport).kind, DeltaKind::None, "moved there and back is no change");
}

#[test]
fn two_objects_that_change_names_are_told_apart() {
    let store = Store::in_memory().unwrap();
    import_rows(&store, &[ANNA, BERT]);
    consume(&store);
    let (anna, bert) = (by_name(&store, "CN=Anna,DC=x").id, by_name(&store, "CN=Bert,DC=x").id);
    for split in [false, true] {
        let rows: [Row<'_>; 2] = [("CN=Bert,DC=x", "1", &[("mail", "anna@x")]), ("CN=Anna,DC=x", "2", &[("mail", "bert@x")])];
        let pages = if split {
            vec![Ok(unfinished(page(&store, &rows[..1]))), Ok(page(&store, &rows[1..]))]
        } else {
            vec![Ok(page(&store, &rows))]
        };
        assert_eq!(run(&store, pages).0.unwrap(), "success");
        assert_eq!((by_name(&store, "CN=Bert,DC=x").id, by_name(&store, "CN=Anna,DC=x").id), (anna, bert));
        assert!(!by_name(&store, "CN=Anna,DC=x").transient && !by_name(&store, "CN=Bert,DC=x").transient);
    }
}

#[test]
fn what_is_not_reported_is_deleted_only_after_a_complete_stream() {
    let store = Store::in_memory().unwrap();
    import_rows(&store, &[ANNA, BERT, ("CN=Cleo,DC=x", "3", &[])]);
    consume(&store);
    let cut = unfinished(page(&store, &[ANNA, BERT]));
    let (result, counters) = run(&store, vec![Ok(cut)]);
    assert!(matches!(result, Err(EngineError::Connector(error)) if error.kind == ConnectorErrorKind::Dropped));
    assert_eq!(counters.get("stage-delete"), None);
    assert_eq!(import_rows(&store, &[ANNA, BERT]), counts(&[("stage-delete", 1), ("stage-no-change", 2)]));
    assert_eq!(by_name(&store, "CN=Cleo,DC=x").stage(Stage::PendingImport).kind, DeltaKind::Delete);
    let again = import_rows(&store, &[ANNA, BERT, ("CN=Cleo,DC=x", "3", &[])]);
    assert_eq!(again.get("stage-delete"), None);
    assert_eq!(by_name(&store, "CN=Cleo,DC=x").stage(Stage::PendingImport).kind, DeltaKind::None, "it came back");
}

#[test]
fn an_empty_answer_is_not_believed_and_an_empty_scope_is_fine() {
    let store = Store::in_memory().unwrap();
    let nothing = || vec![Ok(ImportPage::last(Completion::default()))];
    let (result, counters) = run(&store, nothing());
    assert_eq!((result.unwrap(), counters), ("success", BTreeMap::new()));
    import_rows(&store, &[ANNA, BERT]);
    consume(&store);
    let (result, counters) = run(&store, nothing());
    let error = result.unwrap_err();
    assert_eq!(error.result(), "stopped-shrink-guard");
    assert!(error.to_string().contains("CN=Anna,DC=x"), "{error}");
    assert_eq!(counters, BTreeMap::new());
}

#[test]
fn duplicates_and_unreadable_entries_are_named_and_hold_their_objects() {
    let store = Store::in_memory().unwrap();
    import_rows(&store, &[ANNA, BERT]);
    consume(&store);
    let mut builder = PageBuilder::new();
    builder.reject(DiscoveryError {
        code: ObjectErrorCode::INVALID_BASE64_VALUE,
        detail: "line 7: mail".to_owned(),
        dn: Some("CN=Bert,DC=x".to_owned()),
        anchor: None,
        legible: Legible::default(),
    });
    let twice = page(&store, &[ANNA, ("CN=Other,DC=x", "1", &[])]);
    let (result, counters) = run(&store, vec![Ok(builder.build(None)), Ok(twice)]);
    assert_eq!(result.unwrap(), "completed-discovery-errors");
    assert_eq!(counters, counts(&[("stage-failure", 2), ("stage-no-change", 1)]));
    let snapshot = store.snapshot().unwrap();
    let errors = snapshot.errors(SPACE, None, 9).unwrap();
    let codes: Vec<_> = errors.iter().map(|(_, side, error)| (*side, error.code.to_string())).collect();
    assert_eq!(codes, [(ErrorSide::Import, "duplicate-object".to_owned()), (ErrorSide::Import, "invalid-base64-value".to_owned())]);
    assert!(errors[0].2.detail.contains("CN=Other,DC=x") && errors[0].2.detail.contains("CN=Anna,DC=x"), "{}", errors[0].2.detail);
}

#[test]
fn exports_are_confirmed_or_wanted_again() {
    let store = Store::in_memory().unwrap();
    import_rows(&store, &[ANNA, BERT]);
    consume(&store);
    import_rows(&store, &[ANNA, BERT]);
    let mail = store.names().intern("mail");
    let title = store.names().intern("title");
    let mut object = by_name(&store, "CN=Bert,DC=x");
    let mut values = FlatBuilder::new();
    values.push(mail, ValueRef::Text("bert@x"), ValueState::BASE.0);
    values.push(mail, ValueRef::Text("new@x"), ValueState::ABSENT.with_added(Stage::Unconfirmed).0);
    values.push(title, ValueRef::Text("Cook"), ValueState::ABSENT.with_added(Stage::Unconfirmed).0);
    object.values = values.finish();
    object.stage_mut(Stage::Unconfirmed).kind = DeltaKind::Update;
    let id: CsId = object.id;
    store.apply(ChangeSet { cs_put: vec![object], cs_hash: vec![(id, None)], ..ChangeSet::new() }).unwrap();
    import_ending(&store, &[ANNA, ("CN=Bert,DC=x", "2", &[("mail", "bert@x"), ("mail", "new@x")])], "completed-warnings");
    let object = by_name(&store, "CN=Bert,DC=x");
    let state =
        |attr, text| object.values.attribute(attr).find(|item| item.value == ValueRef::Text(text)).map(|item| ValueState(item.flags));
    assert_eq!(state(mail, "new@x"), Some(ValueState::ABSENT.with_added(Stage::PendingImport)), "confirmed");
    assert_eq!(state(title, "Cook"), Some(ValueState::ABSENT.with_added(Stage::PendingExport)), "dropped by the target, wanted again");
    assert_eq!(object.stage(Stage::Unconfirmed).kind, DeltaKind::None);
    assert_eq!(object.stage(Stage::PendingExport).kind, DeltaKind::Update);
    let error = store.snapshot().unwrap().error(id, ErrorSide::Import).unwrap().unwrap();
    assert_eq!(error.code, ObjectErrorCode::EXPORTED_CHANGE_NOT_REIMPORTED);
    assert!(error.detail.contains("title"), "{}", error.detail);
}

#[test]
fn an_import_that_is_not_believed_leaves_no_trace() {
    let store = Store::in_memory().unwrap();
    import_rows(&store, &[ANNA, BERT]);
    consume(&store);
    let seen = |store: &Store| {
        let snapshot = store.snapshot().unwrap();
        let objects = snapshot.cs_scan(SPACE, None, 100).unwrap();
        let rows: Vec<_> = objects.iter().flat_map(|object| snapshot.cs_references(object.id).unwrap()).collect();
        (objects, rows, snapshot.queue(Stage::PendingImport, SPACE, None, 10).unwrap())
    };
    let before = seen(&store);
    // Others with their names and others beside them; a second time they are no more believed for being known.
    let others: Vec<(String, String)> = (0..9).map(|number| (format!("CN=Other {number},DC=x"), format!("9{number}"))).collect();
    let mut wrong: Vec<Row<'_>> = others.iter().map(|(dn, anchor)| (dn.as_str(), anchor.as_str(), &[("mail", "o@x")][..])).collect();
    wrong.push(("CN=Anna,DC=x", "8", &[("mail", "other@x"), ("@manager", "CN=Nobody,DC=x")]));
    for _ in 0..2 {
        let (result, _) = run(&store, vec![Ok(page(&store, &wrong))]);
        assert_eq!(result.unwrap_err().result(), "stopped-shrink-guard");
        assert_eq!(seen(&store), before);
        assert!(store.snapshot().unwrap().state(SPACE, super::DISBELIEVED).unwrap().is_some(), "the next one reads everything");
        assert_eq!(store.check().unwrap().problems, []);
    }
    // One of two is missing, and the other says something else: that does not count either.
    let less: &[Row<'_>] = &[("CN=Berta,DC=x", "2", &[("mail", "changed@x"), ("@manager", "CN=Nobody new,DC=x")])];
    let mut options = ImportOptions::full(SPACE, "A", Vec::new(), (RunId(1), 1));
    options.shrink_percent_max = 10;
    let mut silent = Silent;
    let stopped = import(&store, [Ok(page(&store, less))].into_iter(), &options, &Context::system(), &mut StepRecorder::new(&mut silent));
    assert_eq!(stopped.unwrap_err().result(), "stopped-shrink-guard");
    assert_eq!(seen(&store), before);
    assert_eq!(import_rows(&store, &[ANNA, BERT]), counts(&[("stage-no-change", 2)]));
    assert_eq!(seen(&store), before);
    assert!(store.snapshot().unwrap().state(SPACE, super::DISBELIEVED).unwrap().is_none());
}

/// What waits from a believed import goes, too: names that it gave to others would else have two owners.
#[test]
fn what_waited_before_an_import_that_is_not_believed_keeps_no_names() {
    let group = |member: &str| entry("CN=Group,DC=x", "g", &[("@manager", member)]);
    let others: Vec<Told> = (0..9).map(|number| entry(&format!("CN=Other {number},DC=x"), &format!("9{number}"), &[])).collect();
    let cast = |told: &[Told]| [told, &people(0..3)[..]].concat();
    // Anna is renamed, or gone, and somebody new has her name; neither was synchronized yet.
    for (new_anna, at) in [(Some("CN=Anna new,DC=x"), "a"), (None, "b")] {
        let store = Store::in_memory().unwrap();
        full(&store, &cast(&[entry("CN=Anna,DC=x", "first", &[]), group("CN=Anna,DC=x")]));
        consume(&store);
        let mut now = vec![entry("CN=Anna,DC=x", "second", &[("mail", "second@x")]), group("CN=Anna,DC=x")];
        now.extend(new_anna.map(|name| entry(name, "first", &[])));
        // Somebody who is new, too, and takes over the number of a name to which somebody refers.
        now.push(entry("CN=Mine,DC=x", "mine", &[("@manager", "CN=Yours,DC=x")]));
        assert_eq!(full(&store, &cast(&now)).0, "success", "{at}");
        assert_eq!(
            full(&store, &[others.clone(), vec![entry("CN=Yours,DC=x", "yours", &[("mail", "wrong@x")])]].concat()).0,
            "stopped-shrink-guard"
        );
        assert_eq!(store.check().unwrap().problems, [], "{at}");
        assert!(
            store.snapshot().unwrap().queue(Stage::PendingImport, SPACE, None, 10).unwrap().is_empty(),
            "{at}: everything is taken back"
        );
        assert_eq!(store.snapshot().unwrap().cs_count(SPACE).unwrap(), 5, "{at}: nothing is left but what was synchronized");
        assert_eq!(full(&store, &cast(&now)).0, "success", "{at}");
        consume(&store);
        let second = by_name(&store, "CN=Anna,DC=x");
        assert_eq!(second.anchor, Some(Anchor::new(*b"second")), "{at}");
        let (snapshot, group) = (store.snapshot().unwrap(), by_name(&store, "CN=Group,DC=x").id);
        let shown = snapshot.cs_references(group).unwrap().into_iter().filter(|row| row.state.present(StageMask::IMPORTED));
        assert_eq!(shown.map(|row| row.target).collect::<Vec<_>>(), [second.id], "{at}: the group has the one who has the name now");
        assert_eq!(store.check().unwrap().problems, [], "{at}");
    }
}

/// Bert, linked, with an export of a mail address and a title behind him of which no import has told.
fn exported_bert(store: &Store) -> CsId {
    import_rows(store, &[ANNA, BERT]);
    consume(store);
    let mut object = by_name(store, "CN=Bert,DC=x");
    let sent = ValueState::ABSENT.with_added(Stage::Unconfirmed).0;
    let mut values = FlatBuilder::new();
    values.push(store.names().intern("mail"), ValueRef::Text("bert@x"), ValueState::BASE.0);
    values.push(store.names().intern("mail"), ValueRef::Text("new@x"), sent);
    values.push(store.names().intern("title"), ValueRef::Text("Cook"), sent);
    object.values = values.finish();
    object.stage_mut(Stage::Unconfirmed).kind = DeltaKind::Update;
    object.link = Link::ExplicitlyConnected { mv: MvId(1) };
    let id = object.id;
    let person = MvObject { id: MvId(1), object_type: object.object_type, values: FlatValues::default(), lineage: Vec::new() };
    store.apply(ChangeSet { cs_put: vec![object], mv_put: vec![person], cs_hash: vec![(id, None)], ..ChangeSet::new() }).unwrap();
    id
}

/// Imports Anna and Bert, whom the target shows with these attributes; rules write some of them that they do not read.
fn confirm(store: &Store, written_only: &[&str], bert: &[(&str, &str)]) -> BTreeMap<String, u64> {
    let mut options = ImportOptions::full(SPACE, "A", Vec::new(), (RunId(1), 1));
    options.written_only = written_only.iter().map(|name| store.names().intern(name)).collect();
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let pages = [Ok(page(store, &[ANNA, ("CN=Bert,DC=x", "2", bert)]))];
    import(store, pages.into_iter(), &options, &Context::system(), &mut recorder).unwrap();
    recorder.counters().iter().map(|(name, count)| (name.0.to_string(), *count)).collect()
}

#[test]
fn an_export_that_arrived_is_the_base_at_once_where_no_rule_reads_it() {
    let both: &[(&str, &str)] = &[("mail", "bert@x"), ("mail", "new@x"), ("title", "Cook")];
    let (arrived, waits) = (DeltaKind::None, DeltaKind::Update);
    for (written_only, shown, expected) in [
        (&["mail", "title"][..], both, arrived),
        // A rule looks at the mail address.
        (&["title"], both, waits),
        // Somebody else changed something, too.
        (&["mail", "title"], &[("mail", "bert@x"), ("mail", "new@x"), ("title", "Cook"), ("city", "Bern")], waits),
        // Something did not arrive.
        (&["mail", "title"], &[("mail", "bert@x"), ("mail", "new@x")], waits),
    ] {
        let store = Store::in_memory().unwrap();
        let id = exported_bert(&store);
        assert_eq!(confirm(&store, written_only, shown).get("stage-update"), Some(&1), "it is told all the same");
        let object = by_name(&store, "CN=Bert,DC=x");
        assert_eq!(object.stage(Stage::PendingImport).kind, expected, "{written_only:?} {shown:?}");
        assert_eq!(object.stage(Stage::Unconfirmed).kind, DeltaKind::None);
        let queued = store.snapshot().unwrap().queue(Stage::PendingImport, SPACE, None, 10).unwrap();
        assert_eq!(queued.contains(&id), expected == waits);
        let mask = if expected == arrived { StageMask::BASE } else { StageMask::IMPORTED };
        let found: Vec<_> =
            object.values.iter().filter(|item| ValueState(item.flags).present(mask)).map(|item| item.value.to_value()).collect();
        assert_eq!(found.len(), shown.len(), "nothing is lost: {found:?}");
        assert_eq!(store.check().unwrap().problems, []);
    }
}

/// One thing that a directory tells.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Entry { dn: String, anchor: String, values: Vec<(String, String)> },
    Change { dn: String, operation: Operation, attribute: String, value: String },
    Gone { dn: String },
    Rejected { dn: Option<String>, anchor: Option<String> },
}

pub(super) fn entry(dn: &str, anchor: &str, values: &[(&str, &str)]) -> Told {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Told::Entry { dn: dn.to_owned(), anchor: anchor.to_owned(), values }
}

fn unreadable(dn: &str) -> Told {
    Told::Rejected { dn: Some(dn.to_owned()), anchor: None }
}

fn change(dn: &str, operation: Operation, attribute: &str, value: &str) -> Told {
    Told::Change { dn: dn.to_owned(), operation, attribute: attribute.to_owned(), value: value.to_owned() }
}

fn pages_of(store: &Store, told: &[Told], size: usize) -> Vec<Result<ImportPage, ConnectorError>> {
    let names = store.names();
    let mut pages = Vec::new();
    for chunk in told.chunks(size) {
        let mut builder = PageBuilder::new();
        let place = |builder: &mut PageBuilder, name: &str, operation: Operation, value: &str| {
            builder.attribute(names.intern(name.trim_start_matches('@')), operation);
            if name.starts_with('@') { builder.reference(value) } else { builder.value(ValueRef::Text(value)) }
        };
        for told in chunk {
            match told {
                Told::Entry { dn, anchor, values } => {
                    builder.begin_entry(dn);
                    builder.anchor(anchor.as_bytes());
                    builder.object_type(names.object_type(if dn.starts_with("CN=group") { "group" } else { "user" }));
                    for (name, value) in values {
                        place(&mut builder, name, Operation::Replace, value);
                    }
                    builder.finish();
                }
                Told::Change { dn, operation, attribute, value } => {
                    builder.begin_change(dn);
                    place(&mut builder, attribute, *operation, value);
                    builder.finish();
                }
                Told::Gone { dn } => {
                    builder.begin_gone(dn);
                    builder.finish();
                }
                Told::Rejected { dn, anchor } => builder.reject(DiscoveryError {
                    code: ObjectErrorCode::PARSE_ERROR,
                    detail: "illegible".to_owned(),
                    dn: dn.clone(),
                    anchor: anchor.as_ref().map(|anchor| Anchor::new(anchor.as_bytes())),
                    legible: Legible::default(),
                }),
            }
        }
        pages.push(Ok(builder.build(None)));
    }
    pages.push(Ok(ImportPage::last(Completion { watermark: Some(vec![7]), answered_in_full: false })));
    pages
}

/// What an import came to: result, counters, notes.
pub(super) type Outcome = (String, BTreeMap<String, u64>, Vec<String>);

pub(super) fn tell(store: &Store, told: &[Told], size: usize, change: impl FnOnce(&mut ImportOptions)) -> Outcome {
    let mut options = ImportOptions::full(SPACE, "A", Vec::new(), (RunId(1), 1));
    change(&mut options);
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let result = import(store, pages_of(store, told, size).into_iter(), &options, &Context::system(), &mut recorder);
    let result = result.map_or_else(|error| error.result().to_owned(), str::to_owned);
    let counters = recorder.counters().iter().map(|(name, count)| (name.0.to_string(), *count)).collect();
    (result, counters, recorder.notes)
}

pub(super) fn full(store: &Store, told: &[Told]) -> Outcome {
    tell(store, told, 1_000, |_| {})
}

/// A full import that is cut off behind what was told; gives its result.
pub(super) fn cut_off(store: &Store, told: &[Told]) -> String {
    let mut pages = pages_of(store, told, 1);
    pages.pop();
    let options = ImportOptions::full(SPACE, "A", Vec::new(), (RunId(1), 1));
    let mut silent = Silent;
    let result = import(store, pages.into_iter(), &options, &Context::system(), &mut StepRecorder::new(&mut silent));
    result.map_or_else(|error| error.result().to_owned(), str::to_owned)
}

pub(super) fn delta(store: &Store, told: &[Told]) -> Outcome {
    tell(store, told, 1_000, |options| options.full = false)
}

/// Everything that a store holds of the space, in words.
fn picture(store: &Store) -> Vec<String> {
    let snapshot = store.snapshot().unwrap();
    let mut lines = Vec::new();
    for object in snapshot.cs_scan(SPACE, None, 1_000).unwrap() {
        let hashed = snapshot.cs_hash(object.id).unwrap().is_some();
        let mut rows = snapshot.cs_references(object.id).unwrap();
        rows.sort_by_key(|row| (row.attr, row.target));
        let rows: Vec<String> = rows.iter().map(|row| format!("{:?} {:?} {:?}", row.attr, row.target, row.state)).collect();
        let error = snapshot.error(object.id, ErrorSide::Import).unwrap().map(|error| format!("{}: {}", error.code, error.detail));
        let found = Dn::parse(&object.dn).ok().and_then(|dn| snapshot.cs_by_dn(SPACE, &dn.key()).unwrap());
        lines.push(format!("{object:?} hashed {hashed} rows {rows:?} error {error:?} found by name {found:?}"));
    }
    lines
}

fn state(store: &Store, name: &str) -> Option<Vec<u8>> {
    store.snapshot().unwrap().state(SPACE, name).unwrap()
}

fn values(store: &Store, dn: &str, attribute: &str) -> Vec<String> {
    let object = by_name(store, dn);
    let shown = object.values.attribute(store.names().intern(attribute)).filter(|item| ValueState(item.flags).present(StageMask::IMPORTED));
    shown.map(|item| format!("{:?}", item.value)).collect()
}

fn people(numbers: std::ops::Range<usize>) -> Vec<Told> {
    numbers.map(|number| entry(&format!("CN=p{number}"), &number.to_string(), &[("mail", "x")])).collect()
}

/// The person may have been renamed to what cannot be read.
#[test]
fn an_entry_that_cannot_be_read_and_has_a_new_name_holds_back_all_deletes() {
    let store = Store::in_memory().unwrap();
    full(&store, &people(0..5));
    consume(&store);
    let mut told = people(1..5);
    told.push(unreadable("CN=new"));
    let (result, counters, _) = full(&store, &told);
    assert_eq!((result.as_str(), counters.get("stage-delete")), ("completed-discovery-errors", None));
    told.pop();
    told.push(Told::Rejected { dn: Some("CN=new".to_owned()), anchor: Some("99".to_owned()) });
    assert_eq!(full(&store, &told).1.get("stage-delete"), Some(&1), "another anchor is another person");
}

#[test]
fn a_name_that_somebody_refers_to_tells_nothing_of_who_has_it() {
    let store = Store::in_memory().unwrap();
    let mut told = people(0..4);
    told.push(entry("CN=Anna", "a", &[("@manager", "CN=new")]));
    full(&store, &told);
    consume(&store);
    told.remove(0);
    told.push(unreadable("CN=new"));
    assert_eq!(full(&store, &told).1.get("stage-delete"), None);
}

/// The name of an entry that cannot be read was taken over from somebody who has another one now.
#[test]
fn an_object_held_by_its_old_name_alone_comes_under_its_new_one() {
    for first in [true, false] {
        let store = Store::in_memory().unwrap();
        full(&store, &people(0..5));
        consume(&store);
        let mut told = people(2..5);
        told.push(entry("CN=moved", "1", &[("mail", "x")]));
        told.insert(if first { 0 } else { told.len() }, unreadable("CN=p1"));
        let (result, counters, _) = full(&store, &told);
        assert_eq!((result.as_str(), counters.get("stage-delete")), ("completed-discovery-errors", None), "p0 may be p1 now");
        assert_eq!(by_name(&store, "CN=moved").anchor, Some(Anchor::new("1".as_bytes())));
    }
}

#[test]
fn several_changes_of_one_object_in_one_delta_add_up() {
    let store = Store::in_memory().unwrap();
    full(&store, &people(0..3));
    consume(&store);
    delta(&store, &[change("CN=p1", Operation::Replace, "title", "Cook"), change("CN=p1", Operation::Add, "mail", "y")]);
    assert_eq!((values(&store, "CN=p1", "title").len(), values(&store, "CN=p1", "mail").len()), (1, 2));
    let new = [entry("CN=new", "9", &[("mail", "n")]), change("CN=new", Operation::Replace, "title", "Cook")];
    delta(&store, &new);
    assert_eq!((values(&store, "CN=new", "title").len(), values(&store, "CN=new", "mail").len()), (1, 1));
    let (result, counters, _) =
        delta(&store, &[change("CN=p2", Operation::Replace, "title", "Cook"), Told::Gone { dn: "CN=p2".to_owned() }]);
    assert_eq!((result.as_str(), counters.get("stage-delete")), ("success", Some(&1)));
    assert_eq!(by_name(&store, "CN=p2").stage(Stage::PendingImport).kind, DeltaKind::Delete);
}

#[test]
fn of_two_entries_of_one_object_in_a_delta_the_later_one_counts() {
    let store = Store::in_memory().unwrap();
    full(&store, &people(0..2));
    consume(&store);
    let told = [entry("CN=p1", "1", &[("mail", "older")]), entry("CN=p1", "1", &[("mail", "newer")])];
    let (result, counters, _) = delta(&store, &told);
    assert_eq!((result.as_str(), counters.get("stage-failure")), ("success", None));
    assert_eq!(values(&store, "CN=p1", "mail"), ["\"newer\""]);
}

#[test]
fn a_change_of_an_object_that_is_gone_does_not_bring_it_back() {
    let store = Store::in_memory().unwrap();
    full(&store, &people(0..3));
    consume(&store);
    let (result, ..) = delta(&store, &[Told::Gone { dn: "CN=p1".to_owned() }, change("CN=p1", Operation::Replace, "title", "Cook")]);
    assert_eq!(result, "completed-discovery-errors");
    assert_eq!(by_name(&store, "CN=p1").stage(Stage::PendingImport).kind, DeltaKind::Delete);
}

#[test]
fn what_a_delta_could_not_use_is_remembered_until_a_full_import() {
    let store = Store::in_memory().unwrap();
    full(&store, &people(0..3));
    consume(&store);
    assert_eq!(state(&store, FULL_NEEDED), None);
    let (result, ..) = delta(&store, &[change("CN=p1", Operation::Replace, "@manager", "no name")]);
    assert_eq!((result.as_str(), state(&store, FULL_NEEDED)), ("completed-discovery-errors", Some(vec![1])), "a bad value");
    delta(&store, &[]);
    assert_eq!(state(&store, FULL_NEEDED), Some(vec![1]), "a delta import that had no problem changes nothing about that");
    full(&store, &people(0..3));
    assert_eq!(state(&store, FULL_NEEDED), None);
    delta(&store, &[change("CN=nobody", Operation::Replace, "mail", "y")]);
    assert_eq!(state(&store, FULL_NEEDED), Some(vec![1]), "a change of nobody");
    let mut told = people(0..3);
    told.push(unreadable("CN=new"));
    full(&store, &told);
    assert_eq!(state(&store, FULL_NEEDED), Some(vec![1]), "this one left something open, too");
}

/// A delete was sent, then the object was wanted again, and the target still shows it.
#[test]
fn a_newer_wish_is_not_overwritten_by_an_unconfirmed_delete() {
    for (newer, expected) in
        [(DeltaKind::Add, DeltaKind::Update), (DeltaKind::Update, DeltaKind::Update), (DeltaKind::None, DeltaKind::Delete)]
    {
        let store = Store::in_memory().unwrap();
        import_rows(&store, &[ANNA, BERT]);
        consume(&store);
        let title = store.names().intern("title");
        let mut object = by_name(&store, "CN=Bert,DC=x");
        let mut values = FlatBuilder::new();
        for item in object.values.iter() {
            values.push(item.attr, item.value, item.flags);
        }
        if newer != DeltaKind::None {
            values.push(title, ValueRef::Text("Cook"), ValueState::ABSENT.with_added(Stage::PendingExport).0);
        }
        object.values = values.finish();
        object.stage_mut(Stage::Unconfirmed).kind = DeltaKind::Delete;
        object.stage_mut(Stage::PendingExport).kind = newer;
        let id = object.id;
        store.apply(ChangeSet { cs_put: vec![object], cs_hash: vec![(id, None)], ..ChangeSet::new() }).unwrap();
        import_rows(&store, &[ANNA, BERT]);
        let object = by_name(&store, "CN=Bert,DC=x");
        assert_eq!(object.stage(Stage::PendingExport).kind, expected, "{newer:?}");
        assert!(!object.stage(Stage::Unconfirmed).is_some());
    }
}

#[test]
fn the_shrink_guard_keeps_its_word_however_few_objects_there_are() {
    for (known, reported, percent, believed) in [
        (1, 0, 50, false),
        (1, 0, 100, false),
        (2, 1, 50, true),
        (3, 1, 50, false),
        (9, 0, 100, false),
        (9, 1, 100, true),
        (12, 5, 50, false),
        (12, 6, 50, true),
        (20, 19, 0, false),
        (20, 20, 0, true),
    ] {
        let store = Store::in_memory().unwrap();
        full(&store, &people(0..known));
        consume(&store);
        let (result, counters, _) = tell(&store, &people(0..reported), 1_000, |options| options.shrink_percent_max = percent);
        let expected = if believed { "success" } else { "stopped-shrink-guard" };
        assert_eq!(result, expected, "{reported} of {known} at {percent} percent");
        assert_eq!(counters.contains_key("stage-delete"), believed && reported < known);
    }
}

/// An account that lost the rights to one container sees no groups any more, which are few beside the people.
#[test]
fn a_kind_of_object_that_goes_is_as_suspicious_as_a_directory_that_goes() {
    let groups = |numbers: std::ops::Range<usize>| -> Vec<Told> {
        numbers.map(|number| entry(&format!("CN=group{number},DC=x"), &format!("g{number}"), &[])).collect()
    };
    for (known, left, believed) in [(12, 0, false), (30, 1, true), (9, 0, true)] {
        let store = Store::in_memory().unwrap();
        full(&store, &[people(0..200), groups(0..known)].concat());
        consume(&store);
        let again = [people(0..200), groups(0..left)].concat();
        let (result, counters, _) = full(&store, &again);
        assert_eq!(result == "success", believed, "{left} of {known} groups: {result}");
        assert_eq!(counters.contains_key("stage-delete"), believed);
        let (allowed, ..) = tell(&store, &again, 1_000, |options| options.allow_shrink = true);
        assert_eq!(allowed, "success");
    }
}

/// What is gone already must not make what goes now look less.
#[test]
fn deletes_that_wait_for_their_synchronization_do_not_count_as_known() {
    let store = Store::in_memory().unwrap();
    full(&store, &people(0..12));
    consume(&store);
    assert_eq!(full(&store, &people(0..6)).0, "success");
    assert_eq!(full(&store, &people(0..2)).0, "stopped-shrink-guard", "4 of 6");
}

#[test]
fn what_was_not_met_is_asked_for_before_it_is_gone() {
    let store = Store::in_memory().unwrap();
    full(&store, &people(0..6));
    consume(&store);
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    let options = ImportOptions::full(SPACE, "A", Vec::new(), (RunId(1), 1));
    let mut asked = Vec::new();
    let mut again = |anchors: &[Anchor]| {
        asked.extend(anchors.iter().map(|anchor| String::from_utf8(anchor.as_bytes().to_vec()).unwrap()));
        let found = pages_of(&store, &[entry("CN=moved", "5", &[("mail", "x")])], 9).swap_remove(0)?;
        Ok(Some(vec![found]))
    };
    let pages = pages_of(&store, &people(0..4), 1_000).into_iter();
    let result = import_asking(&store, pages, &mut again, &options, &Context::system(), &mut recorder).unwrap();
    assert_eq!((result, asked), ("success", vec!["4".to_owned(), "5".to_owned()]));
    assert_eq!((recorder.counter("stage-delete"), recorder.counter("stage-rename")), (1, 1));
    assert_eq!(by_name(&store, "CN=moved").anchor, Some(Anchor::new("5".as_bytes())));

    let mut refused = |_: &[Anchor]| Err(ConnectorError::new(ConnectorErrorKind::Dropped, "hung up"));
    let pages = pages_of(&store, &people(0..4), 1_000).into_iter();
    let mut silent = Silent;
    let mut recorder = StepRecorder::new(&mut silent);
    import_asking(&store, pages, &mut refused, &options, &Context::system(), &mut recorder).unwrap_err();
    assert_eq!(recorder.counter("stage-delete"), 0, "no answer is no answer");
}

/// The directory names whoever is there, and breaks off when those are asked for who refer to somebody that is not.
#[test]
fn what_breaks_off_behind_deletes_is_not_believed() {
    for (answers, verdict) in [(1, Some(vec![3])), (2, None)] {
        let store = Store::in_memory().unwrap();
        import_rows(&store, &[ANNA, BERT]);
        consume(&store);
        let mut builder = PageBuilder::new();
        builder.begin_present("");
        builder.anchor(b"1");
        builder.finish();
        let pages = [Ok(builder.build(Some(Completion { watermark: Some(vec![8]), answered_in_full: true })))];
        let mut options = ImportOptions::full(SPACE, "A", Vec::new(), (RunId(1), 1));
        (options.full, options.references_stay) = (false, true);
        let mut asked = Vec::new();
        let mut noted = Vec::new();
        let mut ask = |anchors: &[Anchor]| {
            // What a process that is killed here leaves behind.
            let snapshot = store.snapshot().unwrap();
            let gone = snapshot.queue(Stage::PendingImport, SPACE, None, 10).unwrap().len();
            noted.push((gone, snapshot.state(SPACE, super::DISBELIEVED).unwrap()));
            asked.extend(anchors.iter().map(|anchor| String::from_utf8_lossy(anchor.as_bytes()).into_owned()));
            if asked.len() > answers { Err(ConnectorError::new(ConnectorErrorKind::Dropped, "hung up")) } else { Ok(Some(Vec::new())) }
        };
        let mut silent = Silent;
        let mut recorder = StepRecorder::new(&mut silent);
        let result = import_asking(&store, pages.into_iter(), &mut ask, &options, &Context::system(), &mut recorder);
        assert_eq!(asked, ["2", "1"], "who is missing, and who refers to them");
        assert_eq!(noted, [(0, None), (1, Some(vec![3]))], "with the first who is taken for gone");
        assert_eq!((result.is_err(), state(&store, super::DISBELIEVED)), (verdict.is_some(), verdict.clone()));
        let gone = store.snapshot().unwrap().queue(Stage::PendingImport, SPACE, None, 10).unwrap().len();
        assert_eq!(gone, usize::from(verdict.is_none()), "nobody is taken for gone, or Bert is");
    }
}

#[test]
fn who_lost_a_name_and_got_none_is_counted_and_named() {
    let store = Store::in_memory().unwrap();
    full(&store, &people(0..4));
    consume(&store);
    let (result, counters, notes) = delta(&store, &[entry("CN=p1", "2", &[("mail", "x")])]);
    assert_eq!((result.as_str(), counters.get("transient-objects")), ("completed-transient-objects", Some(&1)));
    assert!(notes.iter().any(|note| note.contains("CN=p1") && note.contains("another object has its name")), "{notes:?}");
    assert_eq!(state(&store, FULL_NEEDED), Some(vec![1]), "a full import will tell");
    let told = [entry("CN=p1", "2", &[("mail", "x")]), entry("CN=p2", "1", &[("mail", "x")])];
    let told: Vec<Told> = told.into_iter().chain(people(3..4)).chain(people(0..1)).collect();
    assert_eq!(full(&store, &told).0, "success");
    assert_eq!(by_name(&store, "CN=p2").anchor, Some(Anchor::new("1".as_bytes())));
}

#[test]
fn two_entries_with_one_name_are_a_problem_until_they_have_two() {
    let store = Store::in_memory().unwrap();
    full(&store, &people(0..4));
    consume(&store);
    let same: Vec<Told> = people(0..4).into_iter().chain([entry("CN=p1", "9", &[("mail", "x")])]).collect();
    for times in 0..3 {
        let (result, counters, notes) = full(&store, &same);
        assert_eq!((result.as_str(), counters.get("stage-failure")), ("completed-discovery-errors", Some(&1)));
        assert!(notes.iter().any(|note| note.contains("CN=p1: duplicate-dn: two entries of this import have the name")), "{notes:?}");
        let errors = store.snapshot().unwrap().errors(SPACE, None, 10).unwrap();
        let [(_, ErrorSide::Import, error)] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!((&error.code, error.retry_count), (&ObjectErrorCode::DUPLICATE_DN, times), "known since the first one");
        consume(&store);
    }
    let two: Vec<Told> = people(0..4).into_iter().chain([entry("CN=p9", "9", &[("mail", "x")])]).collect();
    assert_eq!(full(&store, &two).0, "success");
    assert!(store.snapshot().unwrap().errors(SPACE, None, 10).unwrap().is_empty());
    assert_eq!(state(&store, FULL_NEEDED), None);
}

#[test]
fn a_delta_reads_what_it_names_and_nothing_else() {
    let store = Store::in_memory().unwrap();
    full(&store, &people(0..2_000));
    consume(&store);
    let before = store.io_counts();
    delta(&store, &[change("CN=p7", Operation::Replace, "mail", "y")]);
    let after = store.io_counts();
    assert!(after.rows_read - before.rows_read < 40, "{} rows", after.rows_read - before.rows_read);
}

fn told() -> impl Strategy<Value = Told> {
    let name = |number: u8| format!("CN=n{number}");
    let values = (0..3u8, proptest::option::of(0..5u8)).prop_map(move |(mail, manager)| {
        let mut values = vec![("mail".to_owned(), mail.to_string())];
        values.extend(manager.map(|manager| ("@manager".to_owned(), name(manager))));
        values
    });
    prop_oneof![
        8 => (0..5u8, 0..5u8, values)
            .prop_map(move |(dn, anchor, values)| Told::Entry { dn: name(dn), anchor: anchor.to_string(), values }),
        1 => (0..5u8).prop_map(move |dn| unreadable(&name(dn))),
    ]
}

fn told_of_changes() -> impl Strategy<Value = Told> {
    let name = |number: u8| format!("CN=n{number}");
    let operation = prop_oneof![Just(Operation::Replace), Just(Operation::Add), Just(Operation::Remove)];
    prop_oneof![
        4 => told(),
        3 => (0..5u8, operation.clone(), 0..3u8)
            .prop_map(move |(dn, operation, value)| change(&name(dn), operation, "mail", &value.to_string())),
        2 => (0..5u8, operation, 0..5u8)
            .prop_map(move |(dn, operation, target)| change(&name(dn), operation, "@manager", &name(target))),
        1 => (0..5u8).prop_map(move |dn| Told::Gone { dn: name(dn) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What an import comes to depends on what the directory tells, and not on where pages end.
    #[test]
    fn pages_do_not_matter(
        imports in proptest::collection::vec(
            (any::<bool>(), any::<bool>()).prop_flat_map(|(full, synchronized)| {
                let told = if full { told().boxed() } else { told_of_changes().boxed() };
                (Just(full), Just(synchronized), proptest::collection::vec(told, 0..8))
            }),
            1..4,
        ),
    ) {
        let run = |size: usize| {
            let store = Store::in_memory().unwrap();
            let mut outcomes = Vec::new();
            for (full, synchronized, told) in &imports {
                let outcome = tell(&store, told, size, |options| {
                    options.full = *full;
                    options.allow_shrink = true;
                });
                outcomes.push((outcome, picture(&store)));
                let found = store.check().unwrap();
                assert!(found.is_clean(), "{found:?}");
                if *synchronized {
                    consume(&store);
                }
            }
            outcomes
        };
        let whole = run(1_000);
        prop_assert_eq!(&run(1), &whole);
        prop_assert_eq!(&run(2), &whole);
    }
}
