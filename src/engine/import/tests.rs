//! Imports by hand-made pages: every rule of staging, one short scenario each.

use super::{ImportOptions, import};
use crate::connector::{Completion, ConnectorError, ConnectorErrorKind, DiscoveryError, ImportPage, Operation, PageBuilder};
use crate::context::Context;
use crate::engine::{EngineError, Silent, StepRecorder};
use crate::model::{
    ConnectorId, CsId, CsObject, DeltaKind, Dn, ErrorSide, FlatBuilder, Link, ObjectErrorCode, RunId, Stage, StageMask, ValueRef,
    ValueState,
};
use crate::store::{ChangeSet, Store};
use std::collections::BTreeMap;

const SPACE: ConnectorId = ConnectorId(1);

/// Name, anchor, attributes; an attribute whose name begins with `@` is a reference.
type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

fn page(store: &Store, rows: &[Row<'_>]) -> ImportPage {
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

fn unfinished(mut page: ImportPage) -> ImportPage {
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

fn import_rows(store: &Store, rows: &[Row<'_>]) -> BTreeMap<String, u64> {
    import_ending(store, rows, "success")
}

fn import_ending(store: &Store, rows: &[Row<'_>], expected: &str) -> BTreeMap<String, u64> {
    let (result, counters) = run(store, vec![Ok(page(store, rows))]);
    assert_eq!(result.unwrap(), expected);
    counters
}

fn counts(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn by_name(store: &Store, dn: &str) -> CsObject {
    let snapshot = store.snapshot().unwrap();
    let id = snapshot.cs_by_dn(SPACE, &Dn::parse(dn).unwrap().key()).unwrap().unwrap_or_else(|| panic!("{dn} is not there"));
    snapshot.cs_object(id).unwrap().unwrap()
}

/// What inbound sync will do in earnest: takes every pending import for the base image.
fn consume(store: &Store) {
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

const ANNA: Row<'_> = ("CN=Anna,DC=x", "1", &[("mail", "anna@x"), ("@manager", "CN=Bert,DC=x")]);
const BERT: Row<'_> = ("CN=Bert,DC=x", "2", &[("mail", "bert@x")]);

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
