//! Bringing files of older formats to the present one: a backup beside the file, then one transaction per step.

use super::fault::Fault;
use super::open::{cannot_open, refused, sync_folder};
use super::tables::{self, meta};
use super::{StoreError, StoreOptions, begin};
use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A step from one format to the next.
pub(super) struct Migration {
    /// The format it starts from; it ends at the next one.
    pub(super) from: u32,
    /// What it does to the rows. The format number is raised in the same transaction.
    pub(super) run: fn(&WriteTransaction) -> Result<(), Fault>,
}

/// All steps, ordered. Format 1 is the first; a step, once released, is never changed, and its types are its own
/// copies of the old records.
pub(super) const MIGRATIONS: &[Migration] =
    &[Migration { from: 1, run: make_room_for_passwords }, Migration { from: 2, run: note_touched_references }];

/// Format 2 has three tables more: what is remembered of passwords, which of them are due, which objects moved.
fn make_room_for_passwords(transaction: &WriteTransaction) -> Result<(), Fault> {
    transaction.open_table(TableDefinition::<u64, &[u8]>::new("password"))?;
    transaction.open_table(TableDefinition::<(u16, i64, u64), ()>::new("password_due"))?;
    transaction.open_table(TableDefinition::<u64, u64>::new("moved"))?;
    Ok(())
}

/// Format 3 notes which references a stage touches, and counts the references of the metaverse and the anchors of each
/// connector, so that a step need not look at all of them.
fn note_touched_references(transaction: &WriteTransaction) -> Result<(), Fault> {
    type Key = (u64, u16, u64);
    /// In the base, touched by no stage.
    const BASE: u8 = 1;
    {
        let references = transaction.open_table(TableDefinition::<Key, u8>::new("cs_reference"))?;
        let mut touched = transaction.open_table(TableDefinition::<Key, ()>::new("cs_reference_touched"))?;
        for row in references.iter()? {
            let (key, state) = row?;
            if state.value() > BASE {
                touched.insert(key.value(), ())?;
            }
        }
    }
    {
        let references = transaction.open_table(TableDefinition::<Key, u8>::new("mv_reference"))?;
        let mut counts = transaction.open_table(TableDefinition::<(u64, u16), u64>::new("mv_reference_count"))?;
        let mut current: Option<((u64, u16), u64)> = None;
        for row in references.iter()? {
            let (owner, attr, _) = row?.0.value();
            match &mut current {
                Some((key, count)) if *key == (owner, attr) => *count += 1,
                other => {
                    if let Some((key, count)) = other.replace(((owner, attr), 1)) {
                        counts.insert(key, count)?;
                    }
                }
            }
        }
        if let Some((key, count)) = current {
            counts.insert(key, count)?;
        }
    }
    let anchors = transaction.open_table(TableDefinition::<(u16, &[u8]), u64>::new("cs_by_anchor"))?;
    let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
    for row in anchors.iter()? {
        *counts.entry(row?.0.value().0).or_default() += 1;
    }
    let mut counters = transaction.open_table(TableDefinition::<(u8, u16), (u64, u64)>::new("counter"))?;
    for (connector, count) in counts {
        counters.insert((3, connector), (0, count))?;
    }
    Ok(())
}

/// Where the copy of a file of an older format goes: `NAME.format-1.backup`, or the next free number behind it, so
/// that no earlier backup is lost.
fn backup_path(path: &Path, format: u32) -> PathBuf {
    let numbered = |number: u32| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".format-{format}.backup"));
        if number > 1 {
            name.push(format!("-{number}"));
        }
        path.with_file_name(name)
    };
    (1..1000).map(numbered).find(|path| !path.exists()).unwrap_or_else(|| numbered(1))
}

/// Brings a file from `format` to `to`. The caller has looked at it: it is whole, ours, and nobody had it open.
pub(super) fn migrate(path: &Path, format: u32, steps: &[Migration], to: u32, options: StoreOptions) -> Result<(), StoreError> {
    // Open first: from here on nobody else can write to what is copied.
    let database = Database::builder().set_cache_size(options.cache_octets).open(path).map_err(|error| refused(path, error))?;
    let backup = backup_path(path, format);
    copy(path, &backup).map_err(|error| cannot_open(&backup, &error))?;
    for format in format..to {
        let Some(step) = steps.iter().find(|step| step.from == format) else {
            return Err(StoreError::Foreign {
                path: path.display().to_string(),
                reason: format!("its format {format} is older than any this program can bring forward"),
            });
        };
        let run = || -> Result<(), Fault> {
            let transaction = begin(&database)?;
            (step.run)(&transaction)?;
            transaction.open_table(tables::META)?.insert(meta::FORMAT, (format + 1).to_le_bytes().as_slice())?;
            Ok(transaction.commit()?)
        };
        run().map_err(|fault| fault.into_error("bring the file to the present format"))?;
    }
    Ok(())
}

/// Copies a file durably. The database is open and idle, so the copy is a file as after a crash: it opens.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new().prefix(".backup-").tempfile_in(folder)?;
    std::io::copy(&mut std::fs::File::open(from)?, temporary.as_file_mut())?;
    temporary.as_file().sync_all()?;
    temporary.persist_noclobber(to).map_err(|error| error.error)?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConnectorId, CsId, CsObject};
    use crate::store::{ChangeSet, FORMAT, Store};

    const OPTIONS: StoreOptions = StoreOptions { cache_octets: 1 << 20 };

    fn store_with_one_object(path: &Path) {
        let store = Store::open(path, OPTIONS).unwrap();
        let object = CsObject::new(CsId::new(ConnectorId(1), 1), store.names().object_type("user"), "CN=a,DC=x");
        store.apply(ChangeSet { cs_put: vec![object], ..ChangeSet::new() }).unwrap();
    }

    fn add_a_state(transaction: &WriteTransaction) -> Result<(), Fault> {
        transaction.open_table(tables::STATE)?.insert((1, "migrated"), b"yes".as_slice())?;
        Ok(())
    }

    fn fail(transaction: &WriteTransaction) -> Result<(), Fault> {
        add_a_state(transaction)?;
        Err(Fault::damaged("cs_object 1", "as if"))
    }

    fn format_of(path: &Path) -> u32 {
        use redb::ReadableDatabase;
        let database = Database::open(path).unwrap();
        let table = database.begin_read().unwrap().open_table(tables::META).unwrap();
        u32::from_le_bytes(table.get(meta::FORMAT).unwrap().unwrap().value().try_into().unwrap())
    }

    #[test]
    fn steps_run_in_order_after_a_backup_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        store_with_one_object(&path);
        let mut steps = vec![Migration { from: 1, run: add_a_state }];
        steps.extend((2..=FORMAT).map(|from| Migration { from, run: |_| Ok(()) }));
        migrate(&path, 1, &steps, FORMAT + 1, OPTIONS).unwrap();
        assert_eq!(format_of(&path), FORMAT + 1);
        assert!(matches!(Store::open(&path, OPTIONS), Err(StoreError::NewerFormat { known: FORMAT, .. })));

        let backup = Store::open(&folder.path().join("store.redb.format-1.backup"), OPTIONS).unwrap();
        let view = backup.snapshot().unwrap();
        assert!(view.cs_object(CsId::new(ConnectorId(1), 1)).unwrap().is_some());
        assert_eq!(view.state(ConnectorId(1), "migrated").unwrap(), None, "the backup is from before");
    }

    #[test]
    fn a_step_that_fails_changes_nothing_and_may_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        store_with_one_object(&path);
        let error = migrate(&path, 1, &[Migration { from: 1, run: fail }], 2, OPTIONS).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let store = Store::open(&path, OPTIONS).unwrap();
        assert_eq!(store.snapshot().unwrap().state(ConnectorId(1), "migrated").unwrap(), None);
        drop(store);

        migrate(&path, 1, &[Migration { from: 1, run: add_a_state }], 2, OPTIONS).unwrap();
        assert_eq!(format_of(&path), 2);
        assert!(folder.path().join("store.redb.format-1.backup-2").exists(), "the first backup is kept");
        assert!(matches!(migrate(&path, 2, &[], 3, OPTIONS), Err(StoreError::Foreign { .. })), "no step leads on");
    }
}
