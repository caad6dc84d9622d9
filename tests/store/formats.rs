//! Stores of older formats open, and have what the newer formats added.

use crate::common::{OPTIONS, cs, user};
use redb::{Database, TableDefinition};
use std::path::Path;
use syncline::model::{
    AttrId, ConnectorId, CsReference, FlatValues, Lineage, MvId, MvObject, MvReference, RuleId, Stage, Timestamp, ValueState,
};
use syncline::store::{ChangeSet, Store};

const MEMBER: AttrId = AttrId(2);
const OWNER: AttrId = AttrId(3);

fn without_what_format_3_brought(path: &Path) {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.delete_table(TableDefinition::<(u64, u16, u64), ()>::new("cs_reference_touched")).unwrap();
    transaction.delete_table(TableDefinition::<(u64, u16), u64>::new("mv_reference_count")).unwrap();
    let counters = TableDefinition::<(u8, u16), (u64, u64)>::new("counter");
    transaction.open_table(counters).unwrap().retain(|(kind, _), _| kind != 3).unwrap();
    let meta = TableDefinition::<&str, &[u8]>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", 2u32.to_le_bytes().as_slice()).unwrap();
    transaction.commit().unwrap();
}

fn filled(path: &Path) {
    let store = Store::open(path, OPTIONS).unwrap();
    let names = store.names();
    let mut set = ChangeSet::new();
    for (connector, number) in (1..=4).map(|number| (1, number)).chain([(2, 1)]) {
        set.cs_put.push(user(names, connector, number));
    }
    for (owner, target, state) in [
        (1, 2, ValueState::BASE),
        (1, 3, ValueState::BASE),
        (2, 1, ValueState::BASE),
        (2, 3, ValueState::ABSENT.with_added(Stage::PendingImport)),
        (2, 4, ValueState::BASE.with_removed(Stage::PendingImport)),
        (3, 1, ValueState::ABSENT.with_added(Stage::PendingImport)),
    ] {
        set.cs_reference.push(CsReference { owner: cs(1, owner), attr: MEMBER, target: cs(1, target), state });
    }
    let since = Timestamp(1);
    for number in 1..=3 {
        let lineage = [MEMBER, OWNER].map(|attr| Lineage { attr, rule: RuleId(1), source: cs(1, 1), since }).to_vec();
        let object_type = names.object_type("person");
        set.mv_put.push(MvObject { id: MvId(number), object_type, values: FlatValues::default(), lineage });
    }
    for (owner, attr, target) in [(1, MEMBER, 1), (1, MEMBER, 2), (1, OWNER, 3), (3, MEMBER, 1)] {
        set.mv_reference.push(MvReference { owner: MvId(owner), attr, target: MvId(target), contributor: 0 });
    }
    store.apply(set).unwrap();
    assert_eq!(store.check().unwrap().problems, []);
}

/// All that format 3 added, as a view gives it.
fn told(store: &Store) -> String {
    let view = store.snapshot().unwrap();
    let touched: Vec<_> = (1..=4).map(|number| view.cs_touched_references(cs(1, number)).unwrap()).collect();
    let pairs = (1..=3).flat_map(|owner| [MEMBER, OWNER].map(|attr| (MvId(owner), attr)));
    let counts: Vec<_> = pairs.map(|(owner, attr)| view.mv_reference_count(owner, attr).unwrap()).collect();
    let anchored = [1, 2, 3].map(|connector| view.cs_anchored(ConnectorId(connector)).unwrap());
    format!("{touched:?} {counts:?} {anchored:?}")
}

#[test]
fn a_store_of_format_2_learns_what_is_touched_and_how_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    filled(&path);
    let before = told(&Store::open(&path, OPTIONS).unwrap());
    assert!(before.contains("[2, 1, 0, 0, 1, 0]"), "{before}");
    without_what_format_3_brought(&path);

    let store = Store::open(&path, OPTIONS).unwrap();
    assert_eq!(told(&store), before);
    assert_eq!(store.check().unwrap().problems, []);
    assert!(folder.path().join("store.redb.format-2.backup").exists());
}
