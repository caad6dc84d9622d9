//! For the administrator: how full the store is, a smaller file, a copy that can be restored.

use super::copies::{RestoreFolder, around};
use super::fault::{Fault, reason_of};
use super::open::{self, cannot_open, sync_folder};
use super::tables::{Tables, Visitor, visit_all};
use super::{Store, StoreError, StoreOptions, begin};
use crate::model::Timestamp;
use redb::{Database, Key, ReadOnlyTable, ReadableDatabase, ReadableTableMetadata, TableDefinition, TableHandle, Value};
use std::io::ErrorKind;
use std::ops::Bound;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// Rows and octets of one transaction of a copy.
const BATCH_ROWS: usize = 10_000;
const BATCH_OCTETS: usize = 16 << 20;

/// How full a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Size of the file; `None` in memory.
    pub file_octets: Option<u64>,
    /// All tables, in the order of the documentation.
    pub tables: Vec<TableUse>,
    /// Sizes of connector-space records.
    pub cs_records: RecordSizes,
    /// Sizes of metaverse records.
    pub mv_records: RecordSizes,
}

/// One table's share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableUse {
    /// Its name.
    pub name: &'static str,
    /// Rows.
    pub rows: u64,
    /// Octets of keys and values.
    pub stored_octets: u64,
    /// Octets of the tree above them.
    pub overhead_octets: u64,
    /// Octets of its pages that hold nothing.
    pub unused_octets: u64,
    /// Levels of its tree.
    pub height: u32,
}

/// How records fit into pages of 4 KiB (storage and performance, section 2): what counts is the step, not the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordSizes {
    /// Up to 1,000 octets: four or more in a page.
    pub four_per_page: u64,
    /// Up to 1,345 octets: three in a page.
    pub three_per_page: u64,
    /// Up to 2,030 octets: two in a page.
    pub two_per_page: u64,
    /// Up to 4,060 octets: a page each.
    pub one_per_page: u64,
    /// Larger: pages of their own, of power-of-two sizes.
    pub several_pages: u64,
    /// All octets together.
    pub octets: u64,
    /// The largest record.
    pub largest: u64,
}

impl RecordSizes {
    /// How many records there are.
    pub fn records(&self) -> u64 {
        self.four_per_page + self.three_per_page + self.two_per_page + self.one_per_page + self.several_pages
    }

    fn add(&mut self, octets: usize) {
        let class = match octets {
            0..=1000 => &mut self.four_per_page,
            1001..=1345 => &mut self.three_per_page,
            1346..=2030 => &mut self.two_per_page,
            2031..=4060 => &mut self.one_per_page,
            _ => &mut self.several_pages,
        };
        *class += 1;
        self.octets += octets as u64;
        self.largest = self.largest.max(octets as u64);
    }
}

/// What compacting brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactReport {
    /// Size of the file before, in octets.
    pub before: u64,
    /// Size of the file after, in octets.
    pub after: u64,
}

impl Store {
    /// Counts rows, octets and records by size. Reads the whole of the two object tables.
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        let view = self.snapshot()?;
        view.guarded("count its rows", || {
            let mut stats = StoreStats::default();
            visit_all(&view.tables, &mut Uses(&mut stats.tables))?;
            for (table, sizes) in [(&view.tables.cs_object, &mut stats.cs_records), (&view.tables.mv_object, &mut stats.mv_records)] {
                for row in table.range::<u64>(..)? {
                    sizes.add(row?.1.value().len());
                }
            }
            let length = self.inner.path.as_ref().and_then(|path| std::fs::metadata(path).ok()).map(|file| file.len());
            stats.file_octets = length;
            Ok(stats)
        })
    }

    /// Gives space that nothing uses back to the disk. The store must not be open anywhere, in this process neither.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn compact(path: &Path, options: StoreOptions) -> Result<CompactReport, StoreError> {
        if !path.exists() {
            let error = std::io::Error::new(ErrorKind::NotFound, "there is no such file");
            return Err(cannot_open(path, &error));
        }
        let inner = open::open(path, options)?;
        let length = || std::fs::metadata(path).map(|file| file.len()).map_err(|error| cannot_open(path, &error));
        let before = length()?;
        let alone = inner.into_database().ok_or_else(|| StoreError::InUse { path: path.display().to_string() });
        let mut database = alone?;
        database.compact().map(drop).map_err(|error| Fault::from(error).into_error("compact its file"))?;
        drop(database);
        Ok(CompactReport { before, after: length()? })
    }

    /// Copies the store, as it is at this moment, into a new file while it stays in use. The copy is written under
    /// another name, read again row by row, and only then given its name. It holds the same secrets as the store.
    ///
    /// # Errors
    /// [`StoreError::Database`] when the target exists or its disk refuses, [`StoreError::Damaged`] when a row of the
    /// store cannot be read or the copy is not the same; nothing of that name is left behind then.
    pub fn backup(&self, to: &Path) -> Result<(), StoreError> {
        const ACTION: &str = "copy itself";
        if to.exists() {
            return Err(StoreError::NoPlace { reason: format!("{} exists", to.display()) });
        }
        let folder = around(to);
        let unwritable = |error: &std::io::Error| StoreError::NoPlace { reason: format!("{}: {}", to.display(), reason_of(error)) };
        let temporary =
            tempfile::Builder::new().prefix(".backup-").tempfile_in(folder).map_err(|error| unwritable(&error))?.into_temp_path();
        let view = self.snapshot()?;
        {
            let database = Database::builder()
                .set_cache_size(32 << 20)
                .create(&temporary)
                .map_err(|error| StoreError::Database { action: ACTION, reason: format!("{}: {error}", to.display()) })?;
            // The target's disk may fail without harm to the store, so these failures do not end its use.
            let copied = (|| -> Result<(), Fault> {
                let mut copy = Copy { database: &database, sums: Vec::new() };
                visit_all(&view.tables, &mut copy)?;
                let transaction = database.begin_read()?;
                let mut sums = Sums(Vec::new());
                visit_all(&Tables::open(&transaction)?, &mut sums)?;
                if sums.0 == copy.sums { Ok(()) } else { Err(Fault::damaged(to.display().to_string(), "the copy is not what was copied")) }
            })();
            copied.map_err(|fault| fault.into_error(ACTION))?;
        }
        drop(view);
        std::fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(|error| unwritable(&error))?;
        // Opens as any store would, so a copy that cannot be used never gets its name.
        drop(open::open(&temporary, StoreOptions::default())?);
        temporary.persist_noclobber(to).map_err(|error| unwritable(&error.error))?;
        sync_folder(folder).map_err(|error| unwritable(&error))
    }
}

/// What became of a restored store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreReport {
    /// Where the store lies that was there before; `None` when there was none.
    pub kept: Option<PathBuf>,
}

impl Store {
    /// Puts a copy of a backup in a store's place. What was there is kept beside it under another name. The store must
    /// not be open anywhere, in this process neither.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while somebody has the store open, [`StoreError::Damaged`] and [`StoreError::Foreign`] when
    /// the backup is no whole store of ours, [`StoreError::Database`] when the disk refuses. The store that was there is
    /// untouched then.
    pub fn restore(backup: &Path, to: &Path, now: Timestamp) -> Result<RestoreReport, StoreError> {
        const ACTION: &str = "be restored";
        let refused = |path: &Path, error: &std::io::Error| StoreError::Database {
            action: ACTION,
            reason: format!("{}: {}", path.display(), reason_of(error)),
        };
        open::verify(backup)?;
        let there = to.exists();
        // A damaged store is a reason to restore, one in use is a reason not to. Nobody opens it until the other one is in place:
        // what somebody wrote there meanwhile would be lost with it.
        let held = if there { Some(open::hold(to)?) } else { None };
        let copies = RestoreFolder::beside(to).map_err(|error| refused(to, &error))?;
        let temporary = tempfile::NamedTempFile::new_in(copies.path()).map_err(|error| refused(to, &error))?.into_temp_path();
        std::fs::copy(backup, &temporary).map_err(|error| refused(backup, &error))?;
        // The copy is the owner's alone, whatever the backup's mode was.
        std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600)).map_err(|error| refused(to, &error))?;
        std::fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(|error| refused(to, &error))?;
        open::verify(&temporary)?;
        let kept = if there {
            let beside = |number: u32| {
                let again = if number == 0 { String::new() } else { format!("-{number}") };
                to.with_extension(format!("before-restore-{}{again}.redb", now.0 / 1_000_000))
            };
            let kept = (0..1_000).map(beside).find(|path| !path.exists()).unwrap_or_else(|| beside(1_000));
            std::fs::rename(to, &kept).map_err(|error| refused(&kept, &error))?;
            Some(kept)
        } else {
            None
        };
        if let Err(error) = temporary.persist_noclobber(to) {
            if let Some(kept) = &kept {
                std::fs::rename(kept, to).map_err(|error| refused(kept, &error))?;
            }
            return Err(refused(to, &error.error));
        }
        sync_folder(around(to)).map_err(|error| refused(to, &error))?;
        drop(held);
        Ok(RestoreReport { kept })
    }
}

struct Uses<'a>(&'a mut Vec<TableUse>);

impl Visitor for Uses<'_> {
    type Error = Fault;

    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        name: &'static str,
        _: TableDefinition<'static, K, V>,
        rows: &ReadOnlyTable<K, V>,
    ) -> Result<(), Fault> {
        let stats = rows.stats()?;
        self.0.push(TableUse {
            name,
            rows: rows.len()?,
            stored_octets: stats.stored_bytes(),
            overhead_octets: stats.metadata_bytes(),
            unused_octets: stats.fragmented_bytes(),
            height: stats.tree_height(),
        });
        Ok(())
    }
}

/// Copies tables into another database, noting a sum of each.
struct Copy<'a> {
    database: &'a Database,
    sums: Vec<(&'static str, u64, u64)>,
}

impl Visitor for Copy<'_> {
    type Error = Fault;

    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        name: &'static str,
        definition: TableDefinition<'static, K, V>,
        rows: &ReadOnlyTable<K, V>,
    ) -> Result<(), Fault> {
        let mut source = rows.range::<K::SelfType<'_>>(..)?;
        let (mut sum, mut count) = (Xxh3::new(), 0u64);
        loop {
            let transaction = begin(self.database)?;
            let mut octets = 0;
            let mut copied = 0;
            {
                let mut target = transaction.open_table(definition)?;
                let mut cursor = target.upper_bound_mut(Bound::<K::SelfType<'_>>::Unbounded)?;
                while copied < BATCH_ROWS && octets < BATCH_OCTETS {
                    let Some(row) = source.next() else { break };
                    let (key, value) = row?;
                    octets += add_row::<K, V>(&mut sum, &key.value(), &value.value());
                    cursor.insert_before(key.value(), value.value())?;
                    copied += 1;
                }
                cursor.close()?;
            }
            transaction.commit()?;
            count += copied as u64;
            if copied < BATCH_ROWS && octets < BATCH_OCTETS {
                break;
            }
        }
        self.sums.push((name, count, sum.digest()));
        Ok(())
    }
}

/// The sums of tables, to compare.
struct Sums(Vec<(&'static str, u64, u64)>);

impl Visitor for Sums {
    type Error = Fault;

    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        name: &'static str,
        definition: TableDefinition<'static, K, V>,
        rows: &ReadOnlyTable<K, V>,
    ) -> Result<(), Fault> {
        debug_assert_eq!(name, definition.name());
        let (mut sum, mut count) = (Xxh3::new(), 0);
        for row in rows.range::<K::SelfType<'_>>(..)? {
            let (key, value) = row?;
            add_row::<K, V>(&mut sum, &key.value(), &value.value());
            count += 1;
        }
        self.0.push((name, count, sum.digest()));
        Ok(())
    }
}

/// Adds a row to a sum; returns its octets.
fn add_row<K: Key, V: Value>(sum: &mut Xxh3, key: &K::SelfType<'_>, value: &V::SelfType<'_>) -> usize {
    let (key, value) = (K::as_bytes(key), V::as_bytes(value));
    let (key, value) = (key.as_ref(), value.as_ref());
    sum.update(&(key.len() as u64).to_le_bytes());
    sum.update(key);
    sum.update(&(value.len() as u64).to_le_bytes());
    sum.update(value);
    key.len() + value.len()
}
