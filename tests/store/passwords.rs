//! What is remembered of passwords, which of them are due, and which objects of watched connectors moved.

use crate::common::{OPTIONS, cs};
use std::path::Path;
use syncline::model::{
    ConnectorId, CsId, CsObject, CsReference, DeltaKind, FlatBuilder, Lineage, Link, MvId, MvObject, RuleId, Stage, Timestamp, ValueRef,
    ValueState,
};
use syncline::store::{ChangeSet, PasswordRecord, PasswordSent, PasswordStamp, PasswordStatus, Store, Watch};

const SOURCE: ConnectorId = ConnectorId(1);
const OTHER: ConnectorId = ConnectorId(2);

fn record(next: Option<i64>) -> PasswordRecord {
    let stamp = PasswordStamp { changed: Some(Timestamp(3)), version: Some(2) };
    let sent = PasswordSent {
        stamp,
        force_change: false,
        at: Timestamp(4),
        target: cs(3, 9),
        cloud_anchor: "User_9".to_owned(),
        suffix: "x.example".to_owned(),
    };
    let next = next.map(Timestamp);
    PasswordRecord { routed: true, seen: Some(stamp), sent: Some(sent), next, ..PasswordRecord::new(PasswordStatus::Success) }
}

fn object(store: &Store, id: CsId, mail: &str, state: ValueState) -> CsObject {
    let names = store.names();
    let mut object = CsObject::new(id, names.object_type("user"), format!("CN={},DC=x", id.sequence()));
    object.in_base = true;
    let mut values = FlatBuilder::new();
    values.push(names.intern("mail"), ValueRef::Text(mail), state.0);
    object.values = values.finish();
    object
}

fn put(store: &Store, object: &CsObject) {
    store.apply(ChangeSet { cs_put: vec![object.clone()], ..ChangeSet::new() }).unwrap();
}

fn passwords(store: &Store, rows: Vec<(CsId, Option<PasswordRecord>)>) {
    store.apply(ChangeSet { passwords: rows, ..ChangeSet::new() }).unwrap();
}

#[test]
fn what_is_due_follows_from_the_records() {
    let store = Store::in_memory().unwrap();
    for sequence in 1..=4 {
        put(&store, &object(&store, cs(1, sequence), "a@x", ValueState::BASE));
    }
    put(&store, &object(&store, cs(2, 1), "a@x", ValueState::BASE));
    let rows = [(1, Some(50)), (2, None), (3, Some(-10)), (4, Some(50))].map(|(sequence, next)| (cs(1, sequence), Some(record(next))));
    passwords(&store, rows.into_iter().chain([(cs(2, 1), Some(record(Some(0))))]).collect());
    let view = store.snapshot().unwrap();
    let due = |now: i64, after| view.passwords_due(SOURCE, Timestamp(now), after, 10).unwrap();
    assert_eq!(due(49, None), [(Timestamp(-10), cs(1, 3))]);
    assert_eq!(due(50, None), [(Timestamp(-10), cs(1, 3)), (Timestamp(50), cs(1, 1)), (Timestamp(50), cs(1, 4))]);
    assert_eq!(due(50, Some((Timestamp(50), cs(1, 1)))), [(Timestamp(50), cs(1, 4))]);
    assert_eq!(due(50, Some((Timestamp(51), cs(1, 0)))), []);
    let later = |behind: i64, after| view.passwords_later(SOURCE, Timestamp(behind), after, 10).unwrap();
    assert_eq!(later(49, None), [(Timestamp(50), cs(1, 1)), (Timestamp(50), cs(1, 4))]);
    assert_eq!(later(49, Some((Timestamp(50), cs(1, 1)))), [(Timestamp(50), cs(1, 4))]);
    assert_eq!((later(50, None), later(50, Some((Timestamp(-10), cs(1, 3))))), (vec![], vec![]));
    assert_eq!(view.password(cs(1, 1)).unwrap(), Some(record(Some(50))));
    assert_eq!(view.passwords(SOURCE, Some(cs(1, 2)), 1).unwrap(), [(cs(1, 3), record(Some(-10)))]);

    // The same once more writes nothing; another time moves the row; a removed object takes everything along.
    let written = store.io_counts().rows_written;
    passwords(&store, vec![(cs(1, 1), Some(record(Some(50))))]);
    assert_eq!(store.io_counts().rows_written, written);
    passwords(&store, vec![(cs(1, 1), Some(record(Some(70)))), (cs(1, 3), Some(record(None)))]);
    store.apply(ChangeSet { cs_delete: vec![cs(1, 4)], ..ChangeSet::new() }).unwrap();
    let view = store.snapshot().unwrap();
    assert_eq!(view.passwords_due(SOURCE, Timestamp(99), None, 10).unwrap(), [(Timestamp(70), cs(1, 1))]);
    assert_eq!(view.password(cs(1, 4)).unwrap(), None);
    assert!(store.check().unwrap().is_clean());
}

/// What moved since the last look, which is forgotten at once.
fn moved(store: &Store) -> Vec<CsId> {
    let view = store.snapshot().unwrap();
    let found: Vec<_> = [SOURCE, OTHER].into_iter().flat_map(|connector| view.moved(connector, None, 100).unwrap()).collect();
    store.apply(ChangeSet { moved_seen: found.clone(), ..ChangeSet::new() }).unwrap();
    found.into_iter().map(|(id, _)| id).collect()
}

#[test]
fn objects_of_watched_connectors_are_noted_when_they_move() {
    let store = Store::in_memory().unwrap();
    let mut user = object(&store, cs(1, 1), "a@x", ValueState::BASE);
    put(&store, &user);
    assert_eq!(moved(&store), [], "nothing is watched");
    let watched = Some(vec![(SOURCE, Watch::default())]);
    store.apply(ChangeSet { watched, ..ChangeSet::new() }).unwrap();
    assert_eq!(store.snapshot().unwrap().watched().unwrap(), [(SOURCE, Watch::default())]);

    put(&store, &object(&store, cs(1, 2), "b@x", ValueState::BASE));
    put(&store, &object(&store, cs(2, 1), "c@x", ValueState::BASE));
    assert_eq!(moved(&store), [cs(1, 2)], "a new object, and not that of another connector");

    user.stage_mut(Stage::PendingImport).kind = DeltaKind::Update;
    let mut values = FlatBuilder::new();
    for (mail, state) in
        [("a@x", ValueState::BASE.with_removed(Stage::PendingImport)), ("n@x", ValueState(0).with_added(Stage::PendingImport))]
    {
        values.push(store.names().intern("mail"), ValueRef::Text(mail), state.0);
    }
    user.values = values.finish();
    put(&store, &user);
    assert_eq!(moved(&store), [], "news that nobody consumed yet");
    let mut user = object(&store, cs(1, 1), "n@x", ValueState::BASE);
    put(&store, &user);
    assert_eq!(moved(&store), [cs(1, 1)], "the base changed");
    user.link = Link::Connected { mv: MvId(1), by: RuleId(1) };
    put(&store, &user);
    assert_eq!(moved(&store), [cs(1, 1)], "the link changed");
    put(&store, &user);
    assert_eq!(moved(&store), [], "nothing changed");
    user.stage_mut(Stage::Unconfirmed).kind = DeltaKind::Update;
    put(&store, &user);
    user.stage_mut(Stage::Unconfirmed).kind = DeltaKind::None;
    put(&store, &user);
    assert_eq!(moved(&store), [cs(1, 1)], "something under way to a target ended");
    user.stage_mut(Stage::PendingImport).kind = DeltaKind::Delete;
    put(&store, &user);
    assert_eq!(moved(&store), [cs(1, 1)], "it is about to go");
    store.apply(ChangeSet { cs_delete: vec![cs(1, 1)], ..ChangeSet::new() }).unwrap();
    assert_eq!(moved(&store), [cs(1, 1)], "it is gone");
    store.apply(ChangeSet { watched: Some(Vec::new()), ..ChangeSet::new() }).unwrap();
    put(&store, &user);
    assert_eq!(moved(&store), [], "nothing is watched any more");
}

#[test]
fn what_moves_while_it_is_looked_at_stays_noted() {
    let store = Store::in_memory().unwrap();
    store.apply(ChangeSet { watched: Some(vec![(SOURCE, Watch::default())]), ..ChangeSet::new() }).unwrap();
    put(&store, &object(&store, cs(1, 1), "a@x", ValueState::BASE));
    let seen = store.snapshot().unwrap().moved(SOURCE, None, 10).unwrap();
    put(&store, &object(&store, cs(1, 1), "b@x", ValueState::BASE));
    store.apply(ChangeSet { moved_seen: seen, ..ChangeSet::new() }).unwrap();
    assert_eq!(moved(&store), [cs(1, 1)]);
    assert_eq!(moved(&store), []);
}

#[test]
fn members_and_metaverse_objects_speak_for_others() {
    let store = Store::in_memory().unwrap();
    let names = store.names();
    let (member, mail) = (names.intern("member"), names.intern("mail"));
    let mut user = object(&store, cs(1, 1), "a@x", ValueState::BASE);
    user.link = Link::Connected { mv: MvId(1), by: RuleId(1) };
    let person = |mail_value: &str| {
        let mut values = FlatBuilder::new();
        values.push(mail, ValueRef::Text(mail_value), 0);
        let lineage = vec![Lineage { attr: mail, rule: RuleId(1), source: cs(2, 5), since: Timestamp(1) }];
        MvObject { id: MvId(1), object_type: names.object_type("person"), values: values.finish(), lineage }
    };
    store.apply(ChangeSet { cs_put: vec![user], mv_put: vec![person("a@x")], ..ChangeSet::new() }).unwrap();
    let refer = |state| {
        let row = CsReference { owner: cs(1, 2), attr: member, target: cs(1, 1), state };
        store.apply(ChangeSet { cs_reference: vec![row], ..ChangeSet::new() }).unwrap();
    };
    put(&store, &object(&store, cs(1, 2), "g@x", ValueState::BASE));
    store.apply(ChangeSet { watched: Some(vec![(SOURCE, Watch::default())]), ..ChangeSet::new() }).unwrap();
    store.apply(ChangeSet { mv_put: vec![person("b@x")], ..ChangeSet::new() }).unwrap();
    assert_eq!(moved(&store), [cs(1, 1)], "whoever is behind it may have come into scope");
    refer(ValueState::BASE);
    assert_eq!(moved(&store), [], "nobody asked for members");
    store.apply(ChangeSet { watched: Some(vec![(SOURCE, Watch { referred: true })]), ..ChangeSet::new() }).unwrap();
    refer(ValueState::BASE.with_removed(Stage::PendingImport));
    assert_eq!(moved(&store), [], "the base still has it");
    refer(ValueState::ABSENT);
    assert_eq!(moved(&store), [cs(1, 1)]);
}

fn without_what_format_2_brought(path: &Path) {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.delete_table(redb::TableDefinition::<u64, &[u8]>::new("password")).unwrap();
    transaction.delete_table(redb::TableDefinition::<(u16, i64, u64), ()>::new("password_due")).unwrap();
    transaction.delete_table(redb::TableDefinition::<u64, u64>::new("moved")).unwrap();
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", 1u32.to_le_bytes().as_slice()).unwrap();
    transaction.commit().unwrap();
}

#[test]
fn a_store_of_the_first_format_opens_and_keeps_what_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Store::open(&path, OPTIONS).unwrap();
    let user = object(&store, cs(1, 1), "a@x", ValueState::BASE);
    put(&store, &user);
    drop(store);
    without_what_format_2_brought(&path);

    let store = Store::open(&path, OPTIONS).unwrap();
    assert_eq!(store.snapshot().unwrap().cs_object(cs(1, 1)).unwrap(), Some(user));
    passwords(&store, vec![(cs(1, 1), Some(record(Some(5))))]);
    assert_eq!(store.snapshot().unwrap().passwords_due(SOURCE, Timestamp(5), None, 9).unwrap().len(), 1);
    assert!(store.check().unwrap().is_clean());
    assert!(folder.path().join("store.redb.format-1.backup").exists());
}
