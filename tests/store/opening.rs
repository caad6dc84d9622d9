//! What cannot be opened is named and left as it is, octet for octet.

use crate::common::{Disk, OPTIONS, cs, user};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use syncline::store::{ChangeSet, FORMAT, Store, StoreError};

fn filled(path: &Path) -> Vec<u8> {
    let store = Store::open(path, OPTIONS).unwrap();
    let users = (1..=50).map(|number| user(store.names(), 1, number)).collect();
    store.apply(ChangeSet { cs_put: users, ..ChangeSet::new() }).unwrap();
    drop(store);
    std::fs::read(path).unwrap()
}

/// Opens a file that must be refused; the file and its folder must stay as they are.
fn refused(path: &Path) -> StoreError {
    let before = std::fs::read(path).unwrap();
    let error = Store::open(path, OPTIONS).unwrap_err();
    assert!(std::fs::read(path).unwrap() == before, "the file was changed");
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing was put beside it");
    error
}

#[test]
fn a_new_store_appears_whole_and_opens_again_with_its_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Store::open(&path, OPTIONS).unwrap();
    let seed = store.hash_seed();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    drop(store);
    assert_eq!(Store::open(&path, OPTIONS).unwrap().hash_seed(), seed);
    let other = Store::open(&folder.path().join("other.redb"), OPTIONS).unwrap();
    assert_ne!(other.hash_seed(), seed, "every store has a secret of its own");
}

#[test]
fn a_file_in_a_missing_folder_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let error = Store::open(&folder.path().join("missing/store.redb"), OPTIONS).unwrap_err();
    assert!(error.to_string().contains("missing/store.redb"), "{error}");
    assert!(matches!(Store::open(folder.path(), OPTIONS), Err(StoreError::Foreign { .. })), "a folder is no store");
}

#[test]
fn foreign_and_empty_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    for content in [&b""[..], b"redb", b"SQLite format 3\0 and so on", &[0xff; 10_000]] {
        std::fs::write(&path, content).unwrap();
        let error = refused(&path);
        assert!(matches!(&error, StoreError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains("store.redb"), "{error}");
    }
}

#[test]
fn a_database_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(redb::TableDefinition::<&str, &[u8]>::new("meta"))
        .unwrap()
        .insert("magic", b"something else".as_slice())
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(refused(&path), StoreError::Foreign { .. }));

    std::fs::remove_file(&path).unwrap();
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("meta")).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(refused(&path), StoreError::Foreign { .. }), "a table of the same name and other types");
}

fn set_format(path: &Path, format: u32) {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", format.to_le_bytes().as_slice()).unwrap();
    transaction.commit().unwrap();
}

#[test]
fn a_newer_format_is_refused_even_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    filled(&path);
    set_format(&path, FORMAT + 1);
    let error = refused(&path);
    assert!(matches!(error, StoreError::NewerFormat { found, known: FORMAT, .. } if found == FORMAT + 1), "{error}");

    // As a crash leaves it: copied while it is open for writing, so that it needs repair.
    let database = redb::Database::open(&path).unwrap();
    let mut transaction = database.begin_write().unwrap();
    transaction.set_quick_repair(true);
    transaction.open_table(redb::TableDefinition::<&str, &[u8]>::new("meta")).unwrap().insert("x", b"y".as_slice()).unwrap();
    transaction.commit().unwrap();
    let crashed = std::fs::read(&path).unwrap();
    drop(database);
    std::fs::write(&path, crashed).unwrap();
    assert!(matches!(refused(&path), StoreError::NewerFormat { .. }));
}

#[test]
fn a_crashed_store_opens_with_everything_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Store::open(&path, OPTIONS).unwrap();
    store.apply(ChangeSet { cs_put: vec![user(store.names(), 1, 7)], ..ChangeSet::new() }).unwrap();
    let crashed = std::fs::read(&path).unwrap();
    drop(store);
    std::fs::write(&path, crashed).unwrap();
    let store = Store::open(&path, OPTIONS).unwrap();
    assert!(store.snapshot().unwrap().cs_object(cs(1, 7)).unwrap().is_some());
}

#[test]
fn truncated_files_are_damaged_or_foreign_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let whole = filled(&path);
    for length in [5, 9, 64, 320, 4096, 8192, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = refused(&path);
        assert!(matches!(error, StoreError::Damaged { .. } | StoreError::Foreign { .. }), "{length}: {error}");
    }
}

#[test]
fn overwritten_pages_are_found_by_their_sums_and_the_file_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let whole = filled(&path);
    Store::verify(&path).unwrap();
    assert!(std::fs::read(&path).unwrap() == whole, "looking changes nothing");
    let mut found = 0;
    let pages = whole.len() / 4096;
    for page in 0..pages {
        let mut broken = whole.clone();
        broken[page * 4096 + 100..page * 4096 + 140].fill(0xa5);
        if broken == whole {
            continue;
        }
        std::fs::write(&path, &broken).unwrap();
        if let Err(error) = Store::verify(&path) {
            assert!(matches!(error, StoreError::Damaged { .. } | StoreError::Foreign { .. }), "{error}");
            found += 1;
        }
        assert!(std::fs::read(&path).unwrap() == broken, "page {page}: the file was changed");
        // Whatever else happens, opening and checking end in an error or an answer.
        if let Ok(store) = Store::open(&path, OPTIONS) {
            drop(store.check());
        }
    }
    // Fifty users at three per page, indexes, and the rows of the other tables.
    assert!(found >= 25, "{found} of {pages} pages");
}

#[test]
fn a_store_in_use_is_refused_in_this_process_and_from_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Store::open(&path, OPTIONS).unwrap();
    let error = Store::open(&path, OPTIONS).unwrap_err();
    assert!(matches!(&error, StoreError::InUse { path } if path.ends_with("store.redb")), "{error}");
    // The holder is not disturbed.
    store.apply(ChangeSet { cs_put: vec![user(store.names(), 1, 1)], ..ChangeSet::new() }).unwrap();
    drop(store);
    drop(Store::open(&path, OPTIONS).unwrap());

    // This test again, in a process of its own, holding the store until its input ends.
    let this = std::env::current_exe().unwrap();
    let mut holder = Command::new(this)
        .args(["--exact", "opening::holder", "--nocapture"])
        .env("SYNCLINE_TEST_HOLD", &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(holder.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("holding")));
    assert!(matches!(Store::open(&path, OPTIONS), Err(StoreError::InUse { .. })));
    holder.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(holder.wait().unwrap().success());
    assert!(Store::open(&path, OPTIONS).is_ok());
}

/// The other process of the test above; without its variable there is nothing to hold.
#[test]
#[expect(clippy::disallowed_methods, reason = "how the other process learns that it is one")]
fn holder() {
    let Ok(path) = std::env::var("SYNCLINE_TEST_HOLD") else {
        assert!(std::env::current_exe().is_ok(), "run alone, this test only shows that it can be run");
        return;
    };
    let _store = Store::open(Path::new(&path), OPTIONS).unwrap();
    println!("holding");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    assert_eq!(line, "go\n");
}

/// Not only whoever meets the full disk is told of it, but also whoever comes behind.
#[test]
fn a_full_disk_is_called_that_with_what_to_do() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    disk.fill_after(2);
    let first = store.apply(ChangeSet { cs_put: vec![user(store.names(), 1, 1)], ..ChangeSet::new() }).unwrap_err();
    for error in [first, store.snapshot().map(drop).unwrap_err(), store.apply(ChangeSet::new()).unwrap_err()] {
        let told = error.to_string();
        assert!(told.contains("the disk of the store is full. Make room there (`df -h`"), "{told}");
    }
}

#[test]
fn a_failing_disk_ends_the_use_of_the_store_until_it_is_reopened() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    store.apply(ChangeSet { cs_put: vec![user(store.names(), 1, 1)], ..ChangeSet::new() }).unwrap();
    disk.fail_after(2);
    let error = store.apply(ChangeSet { cs_put: vec![user(store.names(), 1, 2)], ..ChangeSet::new() }).unwrap_err();
    assert!(matches!(error, StoreError::Database { .. }), "{error}");
    for error in [store.snapshot().map(drop).unwrap_err(), store.apply(ChangeSet::new()).unwrap_err()] {
        assert!(error.to_string().contains("starting again"), "{error}");
    }
    drop(store);
    let store = disk.after_power_loss(0).open().unwrap();
    assert_eq!(store.snapshot().unwrap().cs_count(syncline::model::ConnectorId(1)).unwrap(), 1);
}
