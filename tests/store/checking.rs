//! `check` finds each kind of planted damage, and `rebuild` puts right what follows from the rest.

use crate::common::{OPTIONS, cs, octets, user};
use redb::{Database, TableDefinition};
use std::path::{Path, PathBuf};
use syncline::model::{
    AttrId, Blob, ConnectorId, CsReference, ErrorSide, FlatBuilder, Lineage, Link, MvId, MvObject, MvReference, ObjectError,
    ObjectErrorCode, RuleId, Stage, Timestamp, ValueRef, ValueState,
};
use syncline::store::{ChangeSet, CheckReport, DirtyReason, PasswordRecord, PasswordStatus, Store, StoreError};

const SPACE: ConnectorId = ConnectorId(1);

struct Sample {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

/// A store that has a row in every table that a check knows.
fn sample() -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Store::open(&path, OPTIONS).unwrap();
    let names = store.names().clone();
    let mail = names.intern("mail");
    let (member, photo) = (names.intern("member"), names.intern("photo"));
    store.index_attributes(&[mail], &[(SPACE, mail)]).unwrap();
    let mut set = ChangeSet::new();
    let content = octets(9, 3000);
    for number in 1..=5 {
        let mut object = user(&names, 1, number);
        object.link = Link::Connected { mv: MvId(number), by: RuleId(1) };
        let mut values = FlatBuilder::new();
        for item in object.values.iter() {
            values.push(item.attr, item.value, item.flags);
        }
        values.push(photo, ValueRef::LargeBinary(Blob::of(&content)), 1);
        object.values = values.finish();
        set.cs_hash.push((object.id, Some(u128::from(number))));
        let mut person = FlatBuilder::new();
        person.push(mail, ValueRef::Text(&format!("p{number}@x")), 0);
        let origin = |attr| Lineage { attr, rule: RuleId(1), source: object.id, since: Timestamp(1) };
        set.mv_put.push(MvObject {
            id: MvId(number),
            object_type: names.object_type("person"),
            values: person.finish(),
            lineage: vec![origin(mail), origin(member)],
        });
        set.cs_put.push(object);
        let state = if number == 3 { ValueState::BASE.with_removed(Stage::PendingImport) } else { ValueState::BASE };
        set.cs_reference.push(CsReference { owner: cs(1, 1), attr: member, target: cs(1, number), state });
        set.mv_reference.push(MvReference { owner: MvId(1), attr: member, target: MvId(number), contributor: 0 });
    }
    set.blobs.push(content);
    set.dirty.push((cs(1, 2), Some(DirtyReason::SyncError)));
    set.errors.push((cs(1, 2), ErrorSide::Sync, Some(ObjectError::new(ObjectErrorCode::AMBIGUOUS_JOIN, "two", Timestamp(1)))));
    let due = PasswordRecord { next: Some(Timestamp(5)), ..PasswordRecord::new(PasswordStatus::Error) };
    set.passwords = vec![(cs(1, 1), Some(due)), (cs(1, 2), Some(PasswordRecord::new(PasswordStatus::Success)))];
    store.apply(set).unwrap();
    assert_eq!(store.check().unwrap().problems, []);
    Sample { _folder: folder, path }
}

fn with_table<K: redb::Key + 'static, V: redb::Value + 'static>(
    path: &Path,
    name: &str,
    work: impl for<'t> FnOnce(&mut redb::Table<'t, K, V>),
) {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    work(&mut transaction.open_table(TableDefinition::<K, V>::new(name)).unwrap());
    transaction.commit().unwrap();
}

/// Plants damage, expects the check to find it in `table` and the rebuild to heal it.
fn heals<K: redb::Key + 'static, V: redb::Value + 'static>(
    damaged: &str,
    found_in: &'static str,
    work: impl for<'t> FnOnce(&mut redb::Table<'t, K, V>),
) {
    let sample = sample();
    with_table(&sample.path, damaged, work);
    let store = Store::open(&sample.path, OPTIONS).unwrap();
    let report = store.check().unwrap();
    assert!(report.counts.contains_key(found_in), "{damaged}: {report:?}");
    assert!(report.problems.iter().all(|problem| problem.repairable), "{damaged}: {report:?}");
    let healed = store.rebuild().unwrap();
    assert!(healed.is_clean() && healed.repaired > 0, "{damaged}: {healed:?}");
    drop(store);
    assert!(Store::open(&sample.path, OPTIONS).unwrap().check().unwrap().is_clean(), "and it stays");
}

/// Plants damage that only an import or a backup can heal.
fn stays<K: redb::Key + 'static, V: redb::Value + 'static>(
    damaged: &str,
    found_in: &'static str,
    work: impl for<'t> FnOnce(&mut redb::Table<'t, K, V>),
) {
    let (_, rebuilt) = after_rebuild(damaged, found_in, work);
    assert!(!rebuilt.is_ok_and(|report| report.is_clean()), "{damaged}: nothing is guessed");
}

/// The check of such damage, and what a rebuild says to it.
fn after_rebuild<K: redb::Key + 'static, V: redb::Value + 'static>(
    damaged: &str,
    found_in: &'static str,
    work: impl for<'t> FnOnce(&mut redb::Table<'t, K, V>),
) -> (CheckReport, Result<CheckReport, StoreError>) {
    let sample = sample();
    with_table(&sample.path, damaged, work);
    let store = Store::open(&sample.path, OPTIONS).unwrap();
    let report = store.check().unwrap();
    assert!(
        report.problems.iter().any(|problem| problem.table == found_in && !problem.repairable && !problem.message.is_empty()),
        "{damaged}: {report:?}"
    );
    (report, store.rebuild())
}

const USER: u64 = 1 << 48 | 1;
const OTHER: u64 = 1 << 48 | 2;
const NOBODY: u64 = (1 << 48) + 77;

fn last_key<K: redb::Key + 'static, V: redb::Value + 'static, O>(
    table: &redb::Table<'_, K, V>,
    own: impl for<'a> Fn(K::SelfType<'a>) -> O,
) -> O {
    use redb::ReadableTable;
    own(table.last().unwrap().unwrap().0.value())
}

#[test]
fn passwords_that_are_due_follow_from_their_records() {
    heals::<(u16, i64, u64), ()>("password_due", "password_due", |table| drop(table.remove((1, 5, USER)).unwrap()));
    heals::<(u16, i64, u64), ()>("password_due", "password_due", |table| drop(table.insert((1, 6, OTHER), ()).unwrap()));
    heals::<u64, &[u8]>("password", "password", |table| drop(table.insert(NOBODY, b"x".as_slice()).unwrap()));
    heals::<u64, &[u8]>("password", "password", |table| drop(table.insert(USER, b"\x01broken".as_slice()).unwrap()));
}

#[test]
fn missing_wrong_and_extra_rows_of_anchors_and_names() {
    for name in ["cs_by_anchor", "cs_by_dn"] {
        heals::<(u16, &[u8]), u64>(name, name, |table| {
            let key = last_key(table, |(connector, key)| (connector, key.to_vec()));
            table.remove((key.0, key.1.as_slice())).unwrap();
        });
        heals::<(u16, &[u8]), u64>(name, name, |table| {
            let key = last_key(table, |(connector, key)| (connector, key.to_vec()));
            table.insert((key.0, key.1.as_slice()), NOBODY).unwrap();
        });
        heals::<(u16, &[u8]), u64>(name, name, |table| {
            table.insert((1, b"stale".as_slice()), USER).unwrap();
        });
    }
}

#[test]
fn join_rows() {
    for name in ["cs_join", "mv_join"] {
        heals::<(u16, u64, u64), ()>(name, name, |table| {
            let key = last_key(table, |key| key);
            table.remove(key).unwrap();
        });
        heals::<(u16, u64, u64), ()>(name, name, |table| {
            table.insert((1, 2, 3), ()).unwrap();
        });
    }
}

#[test]
fn queues_and_counters() {
    heals::<(u8, u64), ()>("queue", "queue", |table| {
        table.remove((0, USER)).unwrap();
    });
    heals::<(u8, u64), ()>("queue", "queue", |table| {
        table.insert((3, USER), ()).unwrap();
    });
    heals::<(u8, u16), (u64, u64)>("counter", "counter", |table| {
        table.insert((0, 1), (6, 4)).unwrap();
    });
    heals::<(u8, u16), (u64, u64)>("counter", "counter", |table| {
        table.insert((0, 1), (2, 5)).unwrap();
    });
    heals::<(u8, u16), (u64, u64)>("counter", "counter", |table| {
        table.remove((1, 0)).unwrap();
    });
}

#[test]
fn links_of_the_metaverse() {
    heals::<(u64, u16), u64>("mv_link", "mv_link", |table| {
        table.remove((3, 1)).unwrap();
    });
    heals::<(u64, u16), u64>("mv_link", "mv_link", |table| {
        table.insert((3, 1), OTHER).unwrap();
    });
    heals::<(u64, u16), u64>("mv_link", "mv_link", |table| {
        table.insert((3, 9), OTHER).unwrap();
    });
}

#[test]
fn two_links_of_one_connector_to_one_object() {
    let (report, rebuilt) = after_rebuild::<u64, (u8, u64, u32)>("cs_link", "mv_link", |table| {
        table.insert(OTHER, (4, 1, 1)).unwrap();
    });
    assert!(report.problems.iter().any(|problem| problem.key.contains("1.1") && problem.key.contains("1.2")), "{report:?}");
    assert!(!rebuilt.unwrap().is_clean(), "a guess which of the two is right is not made");
}

#[test]
fn links_without_objects_and_objects_without_links() {
    stays::<u64, (u8, u64, u32)>("cs_link", "cs_link", |table| {
        table.remove(OTHER).unwrap();
    });
    stays::<u64, (u8, u64, u32)>("cs_link", "cs_link", |table| {
        table.insert(NOBODY, (1, 0, 0)).unwrap();
    });
    stays::<u64, (u8, u64, u32)>("cs_link", "cs_link", |table| {
        table.insert(OTHER, (4, 99, 1)).unwrap();
    });
    stays::<u64, (u8, u64, u32)>("cs_link", "cs_link", |table| {
        table.insert(OTHER, (77, 1, 1)).unwrap();
    });
}

#[test]
fn reverse_rows_and_counts_of_references() {
    for (forward, reverse) in [("cs_reference", "cs_referrer"), ("mv_reference", "mv_referrer")] {
        heals::<(u64, u16, u64), ()>(reverse, reverse, |table| {
            let key = last_key(table, |key| key);
            table.remove(key).unwrap();
        });
        heals::<(u64, u16, u64), ()>(reverse, reverse, |table| {
            table.insert((1, 2, 3), ()).unwrap();
        });
        heals::<(u64, u16, u64), u8>(forward, reverse, |table| {
            let key = last_key(table, |key| key);
            table.remove(key).unwrap();
        });
        heals::<(u64, u16, u64), u8>(forward, forward, |table| {
            table.insert((NOBODY, 2, USER), 1).unwrap();
        });
    }
    for counts in ["cs_reference_count", "mv_reference_count"] {
        heals::<(u64, u16), u64>(counts, counts, |table| {
            let key = last_key(table, |key| key);
            table.insert(key, 17).unwrap();
        });
        heals::<(u64, u16), u64>(counts, counts, |table| {
            table.insert((OTHER, 2), 17).unwrap();
        });
    }
    heals::<(u8, u16), (u64, u64)>("counter", "counter", |table| {
        table.insert((3, 1), (0, 77)).unwrap();
    });
    heals::<(u8, u16), (u64, u64)>("counter", "counter", |table| {
        table.remove((3, 1)).unwrap();
    });
}

#[test]
fn references_that_a_stage_touches() {
    let table = "cs_reference_touched";
    heals::<(u64, u16, u64), ()>(table, table, |table| {
        let key = last_key(table, |key| key);
        table.remove(key).unwrap();
    });
    heals::<(u64, u16, u64), ()>(table, table, |table| {
        table.insert((USER, 2, NOBODY), ()).unwrap();
    });
}

#[test]
fn references_to_nobody_and_in_no_state() {
    stays::<(u64, u16, u64), u8>("cs_reference", "cs_reference", |table| {
        table.insert((USER, 2, NOBODY), 1).unwrap();
    });
    stays::<(u64, u16, u64), u8>("cs_reference", "cs_reference", |table| {
        let key = last_key(table, |key| key);
        table.insert(key, 200).unwrap();
    });
    // Added by a pending export that the object does not have.
    let state = ValueState::ABSENT.with_added(Stage::PendingExport).0;
    stays::<(u64, u16, u64), u8>("cs_reference", "cs_reference", |table| {
        let key = last_key(table, |key| key);
        table.insert(key, state).unwrap();
    });
    stays::<(u64, u16, u64), u8>("mv_reference", "mv_reference", |table| {
        let key = last_key(table, |key| key);
        table.insert(key, 9).unwrap();
    });
}

#[test]
fn rows_beside_objects_that_do_not_exist() {
    heals::<u64, u128>("cs_hash", "cs_hash", |table| {
        table.insert(NOBODY, 5).unwrap();
    });
    heals::<u64, u8>("dirty", "dirty", |table| {
        table.insert(NOBODY, 1).unwrap();
    });
    heals::<u64, u8>("dirty", "dirty", |table| {
        table.insert(USER, 99).unwrap();
    });
    heals::<(u64, u8), &[u8]>("object_error", "object_error", |table| {
        table.insert((USER, 0), b"nonsense".as_slice()).unwrap();
    });
}

#[test]
fn large_contents() {
    heals::<(u128, u32), u64>("blob_count", "blob_count", |table| {
        let key = last_key(table, |key| key);
        table.insert(key, 1).unwrap();
    });
    heals::<(u128, u32), &[u8]>("blob", "blob", |table| {
        let unused = octets(3, 2000);
        let blob = Blob::of(&unused);
        table.insert((blob.hash, blob.length), unused.as_slice()).unwrap();
    });
    stays::<(u128, u32), &[u8]>("blob", "blob", |table| {
        let key = last_key(table, |key| key);
        table.remove(key).unwrap();
    });
    stays::<(u128, u32), &[u8]>("blob", "blob", |table| {
        let key = last_key(table, |key| key);
        table.insert(key, b"another".as_slice()).unwrap();
    });
}

#[test]
fn records_that_cannot_be_read_stop_a_rebuild() {
    for name in ["cs_object", "mv_object"] {
        let (_, rebuilt) = after_rebuild::<u64, &[u8]>(name, name, |table| {
            let key = last_key(table, |key| key);
            table.insert(key, b"\x01nonsense".as_slice()).unwrap();
        });
        let error = rebuilt.unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { place, .. } if place.starts_with(name)), "{error}");
    }
    let (_, rebuilt) = after_rebuild::<u64, &[u8]>("cs_object", "cs_object", |table| {
        table.insert(USER, b"\x09".as_slice()).unwrap();
    });
    assert!(rebuilt.is_err());
}

#[test]
fn damage_to_one_record_is_an_error_of_that_object_only() {
    let sample = sample();
    with_table::<u64, &[u8]>(&sample.path, "cs_object", |table| {
        table.insert(OTHER, b"\x01nonsense".as_slice()).unwrap();
    });
    let store = Store::open(&sample.path, OPTIONS).unwrap();
    let view = store.snapshot().unwrap();
    let error = view.cs_object(cs(1, 2)).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { place, .. } if place == "cs_object 1.2"), "{error}");
    assert!(view.cs_object(cs(1, 1)).unwrap().is_some());
    // A set that would have to know the old record is refused, others are not.
    assert!(store.apply(ChangeSet { cs_put: vec![user(store.names(), 1, 2)], ..ChangeSet::new() }).is_err());
    store.apply(ChangeSet { cs_put: vec![user(store.names(), 1, 3)], ..ChangeSet::new() }).unwrap();
}

#[test]
fn values_without_origin() {
    stays::<u64, &[u8]>("lineage", "mv_object", |table| {
        table.remove(2).unwrap();
    });
    stays::<u64, &[u8]>("lineage", "lineage", |table| {
        use redb::ReadableTable;
        let row = table.get(2).unwrap().unwrap().value().to_vec();
        table.insert(99, row.as_slice()).unwrap();
    });
}

#[test]
fn a_damaged_list_of_names_is_found_when_the_store_is_opened() {
    let sample = sample();
    with_table::<u16, &str>(&sample.path, "attribute", |table| {
        table.remove(3).unwrap();
    });
    assert!(matches!(Store::open(&sample.path, OPTIONS), Err(StoreError::Damaged { .. })));
    with_table::<u16, &str>(&sample.path, "attribute", |table| {
        table.insert(3, "MAIL").unwrap();
        table.insert(4, "mail").unwrap();
    });
    assert!(matches!(Store::open(&sample.path, OPTIONS), Err(StoreError::Damaged { .. })), "a name that stands twice");
}

#[test]
fn an_index_whose_filling_was_interrupted_is_filled_again() {
    let sample = sample();
    let (mail, key) = {
        let store = Store::open(&sample.path, OPTIONS).unwrap();
        let mail = store.names().find("mail").unwrap();
        (mail, (1u8, 1u16, mail.0))
    };
    with_table::<(u8, u16, u16), u8>(&sample.path, "indexed", |table| {
        table.insert(key, 0).unwrap();
    });
    with_table::<(u16, u64, u64), ()>(&sample.path, "cs_join", |table| table.retain(|_, ()| false).unwrap());
    let store = Store::open(&sample.path, OPTIONS).unwrap();
    store.index_attributes(&[mail], &[(SPACE, mail)]).unwrap();
    assert!(store.check().unwrap().is_clean());

    // Likewise one whose removal was interrupted, and which is wanted again.
    drop(store);
    with_table::<(u8, u16, u16), u8>(&sample.path, "indexed", |table| {
        table.insert(key, 2).unwrap();
    });
    let store = Store::open(&sample.path, OPTIONS).unwrap();
    store.apply(ChangeSet { cs_delete: vec![cs(1, 5)], ..ChangeSet::new() }).unwrap();
    store.index_attributes(&[mail], &[(SPACE, mail)]).unwrap();
    assert_eq!(store.check().unwrap().problems, []);
    assert_eq!(AttrId(key.2), mail);
}

#[test]
fn only_the_first_hundred_problems_of_a_kind_are_told_but_all_are_counted() {
    let sample = sample();
    with_table::<u64, u128>(&sample.path, "cs_hash", |table| {
        for number in 0..250 {
            table.insert(NOBODY + number, 1).unwrap();
        }
    });
    let store = Store::open(&sample.path, OPTIONS).unwrap();
    let report = store.check().unwrap();
    assert_eq!(report.counts["cs_hash"], 250);
    assert_eq!(report.problems.len(), 100);
    assert_eq!(store.rebuild().unwrap().repaired, 250);
}
