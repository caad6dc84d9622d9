//! Sizes, smaller files, copies.

use crate::common::{OPTIONS, cs, octets, person, user};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use syncline::engine::run::forget_runs;
use syncline::events::Level;
use syncline::model::{Blob, ConnectorId, FlatBuilder, Retention, RunId, Timestamp, ValueRef};
use syncline::store::{ChangeSet, EventRecord, RestoreFolder, RunRecord, RunResult, Store, StoreError};

const SPACE: ConnectorId = ConnectorId(1);

#[test]
fn the_common_user_fits_three_to_a_page() {
    let store = Store::in_memory().unwrap();
    let users: Vec<_> = (1..=600).map(|number| user(store.names(), 1, number)).collect();
    for user in &users {
        let values = user.values.entries().len();
        let octets = user.values.heap().len();
        assert!((36..=41).contains(&values), "{values} values");
        assert!((600..=1300).contains(&octets), "{octets} octets of content");
    }
    let people = (1..=600).map(|number| person(store.names(), number)).collect();
    store.apply(ChangeSet { cs_put: users, mv_put: people, ..ChangeSet::new() }).unwrap();
    let stats = store.stats().unwrap();
    for sizes in [stats.cs_records, stats.mv_records] {
        assert_eq!(sizes.records(), 600);
        assert!(sizes.largest <= 1345, "{sizes:?}");
        assert_eq!(sizes.two_per_page + sizes.one_per_page + sizes.several_pages, 0, "{sizes:?}");
    }
    let objects = stats.tables.iter().find(|table| table.name == "cs_object").unwrap();
    assert_eq!(objects.rows, 600);
    assert!(objects.unused_octets * 5 < objects.stored_octets, "full pages: {objects:?}");
}

#[test]
fn sizes_are_sorted_into_the_steps_of_a_page() {
    let store = Store::in_memory().unwrap();
    let attr = store.names().intern("data");
    let mut set = ChangeSet::new();
    for (number, values) in [(1, 0), (2, 1), (3, 2), (4, 4), (5, 8)] {
        let mut object = user(store.names(), 1, number);
        let mut builder = FlatBuilder::new();
        for value in 0..values {
            builder.push(attr, ValueRef::Binary(&octets(value, 900)), 1);
        }
        builder.push(attr, ValueRef::Binary(&[1; 200]), 1);
        object.values = builder.finish();
        set.cs_put.push(object);
    }
    store.apply(set).unwrap();
    let sizes = store.stats().unwrap().cs_records;
    assert_eq!((sizes.four_per_page, sizes.three_per_page, sizes.several_pages), (1, 1, 1), "{sizes:?}");
    assert_eq!((sizes.two_per_page, sizes.one_per_page), (0, 2), "{sizes:?}");
    assert_eq!(store.stats().unwrap().file_octets, None);
}

#[test]
fn a_copy_is_the_same_store_while_the_store_stays_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Store::open(&path, OPTIONS).unwrap();
    let content = octets(1, 5000);
    let mut set = ChangeSet { blobs: vec![content.clone()], ..ChangeSet::new() };
    for number in 1..=300 {
        let mut object = user(store.names(), 1, number);
        let mut values = FlatBuilder::new();
        values.push(store.names().intern("photo"), ValueRef::LargeBinary(Blob::of(&content)), 1);
        object.values = values.finish();
        set.cs_put.push(object);
    }
    store.apply(set).unwrap();
    let copy = folder.path().join("copy.redb");
    std::thread::scope(|threads| {
        // A writer does not wait for the copy, and the copy shows one moment.
        let writer = threads.spawn(|| {
            for number in 301..=320 {
                store.apply(ChangeSet { cs_put: vec![user(store.names(), 1, number)], ..ChangeSet::new() }).unwrap();
            }
        });
        store.backup(&copy).unwrap();
        writer.join().unwrap();
    });
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing temporary stays");
    let restored = Store::open(&copy, OPTIONS).unwrap();
    assert_eq!(restored.hash_seed(), store.hash_seed());
    assert!(restored.check().unwrap().is_clean());
    let view = restored.snapshot().unwrap();
    let count = view.cs_count(SPACE).unwrap();
    assert!((300..=320).contains(&count));
    assert_eq!(view.cs_scan(SPACE, None, 300).unwrap(), store.snapshot().unwrap().cs_scan(SPACE, None, 300).unwrap());
    assert_eq!(view.blob(Blob::of(&content)).unwrap(), Some(content));

    let before = std::fs::read(&path).unwrap();
    assert!(store.backup(&path).is_err(), "an existing file is not overwritten");
    assert!(std::fs::read(&path).unwrap() == before);
    assert!(store.backup(&folder.path().join("missing/copy.redb")).is_err());
    assert!(store.snapshot().is_ok(), "a target that refuses does the store no harm");
}

#[test]
fn a_copy_of_more_rows_than_one_transaction_takes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::in_memory().unwrap();
    let hashes = (1..=20_000).map(|number| (cs(1, number), Some(u128::from(number)))).collect();
    store.apply(ChangeSet { cs_hash: hashes, ..ChangeSet::new() }).unwrap();
    let copy = folder.path().join("copy.redb");
    store.backup(&copy).unwrap();
    let mut sum = 0u128;
    Store::open(&copy, OPTIONS).unwrap().snapshot().unwrap().cs_hashes(SPACE, &mut |_, hash| sum += hash).unwrap();
    assert_eq!(sum, 20_000 * 20_001 / 2);
}

#[test]
fn compacting_makes_the_file_smaller_and_changes_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Store::open(&path, OPTIONS).unwrap();
    let users = (1..=3000).map(|number| user(store.names(), 1, number)).collect();
    store.apply(ChangeSet { cs_put: users, ..ChangeSet::new() }).unwrap();
    store.apply(ChangeSet { cs_delete: (1..=2900).map(|number| cs(1, number)).collect(), ..ChangeSet::new() }).unwrap();
    assert!(matches!(Store::compact(&path, OPTIONS), Err(StoreError::InUse { .. })));
    let left = store.snapshot().unwrap().cs_scan(SPACE, None, 1000).unwrap();
    assert_eq!(store.stats().unwrap().file_octets, Some(std::fs::metadata(&path).unwrap().len()));
    drop(store);
    let before = std::fs::metadata(&path).unwrap().len();
    let report = Store::compact(&path, OPTIONS).unwrap();
    assert_eq!(report.before, before);
    assert!(report.after * 2 < report.before, "{report:?}");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), report.after);
    let store = Store::open(&path, OPTIONS).unwrap();
    assert_eq!(store.snapshot().unwrap().cs_scan(SPACE, None, 1000).unwrap(), left);
    assert!(store.check().unwrap().is_clean());
    assert!(Store::compact(&folder.path().join("none.redb"), OPTIONS).is_err(), "nothing is made by compacting");
    assert!(!folder.path().join("none.redb").exists());
}

#[test]
fn lesson_02_work_follows_the_changes_not_the_size() {
    let cost = |size: u64| {
        let store = Store::in_memory().unwrap();
        let users: Vec<_> = (1..=size).map(|number| user(store.names(), 1, number)).collect();
        for batch in users.chunks(2000) {
            store.apply(ChangeSet { cs_put: batch.to_vec(), ..ChangeSet::new() }).unwrap();
        }
        let before = store.io_counts();
        let view = store.snapshot().unwrap();
        let changed = (1..=50).map(|number| {
            let mut object = view.cs_object(cs(1, number * 7)).unwrap().unwrap();
            object.dn = format!("CN=renamed {number},DC=x").into();
            object
        });
        store.apply(ChangeSet { cs_put: changed.collect(), ..ChangeSet::new() }).unwrap();
        let after = store.io_counts();
        (
            after.rows_read - before.rows_read,
            after.bodies_read - before.bodies_read,
            after.rows_written - before.rows_written,
            after.commits - before.commits,
        )
    };
    let (small, large) = (cost(400), cost(6000));
    assert_eq!(small, large);
    assert_eq!((small.1, small.2, small.3), (100, 150, 1), "per object: body read twice; body, old name, new name written");
}

#[test]
fn a_store_in_use_is_not_restored_over() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backup) = (folder.path().join("store.redb"), folder.path().join("backup.redb"));
    let store = Store::open(&path, OPTIONS).unwrap();
    store.backup(&backup).unwrap();
    let error = Store::restore(&backup, &path, Timestamp(0)).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "it lies where it lay, and nothing beside it");
    drop(store);
    let kept = Store::restore(&backup, &path, Timestamp(0)).unwrap().kept.unwrap();
    assert!(kept.exists() && Store::open(&path, OPTIONS).is_ok());
    // A damaged store is a reason to restore.
    std::fs::write(&path, "no store any more").unwrap();
    Store::restore(&backup, &path, Timestamp(1_000_000)).unwrap();
    assert!(Store::open(&path, OPTIONS).is_ok());
}

#[test]
fn what_a_killed_restore_left_goes_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (path, backup) = (at("store.redb"), at("backup.redb"));
    Store::open(&path, OPTIONS).unwrap().backup(&backup).unwrap();
    let leave = || {
        for name in [".syncline-restore-Killed", ".tmpOther"] {
            std::fs::create_dir_all(at(name)).unwrap();
            std::fs::copy(&backup, at(name).join("backup.redb")).unwrap();
        }
    };
    std::fs::write(at(".syncline-restore-file"), "somebody's").unwrap();
    std::fs::create_dir(at("elsewhere")).unwrap();
    std::os::unix::fs::symlink(at("elsewhere"), at(".syncline-restore-link")).unwrap();
    let working = RestoreFolder::beside(&path).unwrap();
    assert_eq!(std::fs::metadata(working.path()).unwrap().permissions().mode() & 0o777, 0o700);
    std::fs::copy(&backup, working.path().join("backup.redb")).unwrap();
    let assert_left = |told: &str| {
        assert!(!at(".syncline-restore-Killed").exists(), "{told}");
        assert!(working.path().join("backup.redb").exists(), "{told}: somebody works there");
        let others = [".tmpOther/backup.redb", ".syncline-restore-file", "elsewhere", ".syncline-restore-link", "backup.redb"];
        assert!(others.iter().all(|name| at(name).exists()), "{told}: {others:?}");
    };
    leave();
    drop(Store::open(&path, OPTIONS).unwrap());
    assert_left("opened");
    leave();
    Store::restore(&backup, &path, Timestamp(0)).unwrap();
    assert_left("restored");
    let was = working.path().to_owned();
    drop(working);
    assert!(!was.exists(), "whoever comes to the end leaves nothing");
}

const DAY: i64 = 86_400_000_000;

/// A store that has noted runs and events on these days, one behind the other.
fn noted(days: &[i64]) -> Store {
    let store = Store::in_memory().unwrap();
    let run = |(number, day): (u64, &i64)| RunRecord {
        id: RunId(number),
        cycle: None,
        connector: SPACE,
        connector_name: "ad".to_owned(),
        profile: "Full Import".to_owned(),
        started: Timestamp(day * DAY),
        ended: None,
        result: RunResult::SUCCESS,
        steps: Vec::new(),
    };
    let event = |day: &i64| EventRecord {
        sequence: 0,
        at: Timestamp(day * DAY),
        number: 904,
        level: Level::Information,
        connector: String::new(),
        text: String::new(),
        fields: "{}".to_owned(),
    };
    let (runs, events) = ((1..).zip(days).map(run).collect(), days.iter().map(event).collect());
    store.apply(ChangeSet { runs, events, ..ChangeSet::new() }).unwrap();
    store
}

/// The days of runs and of events that are left after those were purged that are kept for a week.
fn left(store: &Store, today: i64) -> (Vec<i64>, Vec<i64>) {
    let retention = Retention { before: Timestamp((today - 7) * DAY), now: Timestamp(today * DAY) };
    forget_runs(store, retention).unwrap();
    store.apply(ChangeSet { events_kept: Some(retention), ..ChangeSet::new() }).unwrap();
    let view = store.snapshot().unwrap();
    let runs: BTreeSet<_> = view.runs(None, 1_000).unwrap().into_iter().map(|run| (run.id, run.started.0 / DAY)).collect();
    let events = view.events(None, 1_000).unwrap();
    (runs.into_iter().map(|(_, day)| day).collect(), events.into_iter().map(|event| event.at.0 / DAY).collect())
}

#[test]
fn a_clock_that_was_ahead_for_a_day_does_not_keep_history_for_years() {
    let days = [100, 101, 3_700, 3_700, 102, 103, 110];
    let store = noted(&days);
    assert_eq!(left(&store, 109), (days[2..].to_vec(), days[2..].to_vec()), "what is behind it is young");
    assert_eq!(left(&store, 110), (vec![103, 110], vec![103, 110]));
    // A clock that is behind removes nothing, since nobody could bring it back; of events the last one always stays.
    assert_eq!(left(&store, 1), (vec![103, 110], vec![103, 110]));
    assert_eq!(left(&store, 400), (vec![], vec![110]));
}
