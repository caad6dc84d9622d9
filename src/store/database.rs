//! The redb file: opening it safely, its identity, and what is kept in memory beside it.

use super::tables::{FORMAT, INDEXED, MAGIC, META, NAME, every_table};
use super::{IoCounts, StoreError, StoreOptions};
use crate::model::{AttrId, ConnectorId, Names};
use redb::{DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The open file.
pub(super) struct Database {
    redb: redb::Database,
    names: Arc<Names>,
    secret: u64,
    indexed: RwLock<Indexed>,
    rows_read: AtomicU64,
    rows_written: AtomicU64,
    commits: AtomicU64,
}

/// Attributes that joins look up.
#[derive(Clone, Debug, Default)]
pub(super) struct Indexed {
    /// Of the metaverse.
    pub(super) metaverse: BTreeSet<AttrId>,
    /// Of connector spaces.
    pub(super) spaces: BTreeSet<(ConnectorId, AttrId)>,
}

/// How every redb file begins.
const REDB_MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1A, 0x0A, 0xA9, 0x0D, 0x0A];

impl Database {
    pub(super) fn open(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        let existed = look_at(path, &shown)?;
        let mut builder = redb::Builder::new();
        builder.set_cache_size(options.cache_octets);
        let opened = if existed { builder.open(path) } else { builder.create(path) };
        let redb = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: shown.clone() },
            other => StoreError::Foreign { path: shown.clone(), reason: other.to_string() },
        })?;
        Self::prepare(redb, &shown, existed)
    }

    pub(super) fn with_backend(backend: impl redb::StorageBackend, options: StoreOptions) -> Result<Self, StoreError> {
        let existed = backend.len().map_err(|error| database("open the storage", &error))? > 0;
        let mut builder = redb::Builder::new();
        builder.set_cache_size(options.cache_octets);
        let redb = builder.create_with_backend(backend).map_err(|error| database("open the storage", &error))?;
        Self::prepare(redb, "(given storage)", existed)
    }

    fn prepare(redb: redb::Database, shown: &str, existed: bool) -> Result<Self, StoreError> {
        if existed {
            check_identity(&redb, shown)?;
        } else {
            create_tables(&redb)?;
        }
        let read = redb.begin_read().map_err(|error| database("begin reading", &error))?;
        let secret = read_meta(&read, "secret")?.unwrap_or_default();
        let table = read.open_table(NAME).map_err(|error| database("open a table", &error))?;
        let mut ordered = Vec::new();
        for row in table.iter().map_err(|error| database("read names", &error))? {
            let (_, name) = row.map_err(|error| database("read names", &error))?;
            ordered.push(name.value().to_owned());
        }
        let names = Arc::new(Names::from_ordered(ordered.iter().map(String::as_str)));
        let mut indexed = Indexed::default();
        let table = read.open_table(INDEXED).map_err(|error| database("open a table", &error))?;
        for row in table.iter().map_err(|error| database("read indexes", &error))? {
            let (key, _) = row.map_err(|error| database("read indexes", &error))?;
            match key.value() {
                (0, attr) => drop(indexed.metaverse.insert(AttrId(attr))),
                (space, attr) => {
                    let connector = u16::try_from(space - 1).unwrap_or(u16::MAX);
                    indexed.spaces.insert((ConnectorId(connector), AttrId(attr)));
                }
            }
        }
        drop(table);
        drop(read);
        Ok(Self {
            redb,
            names,
            secret,
            indexed: RwLock::new(indexed),
            rows_read: AtomicU64::new(0),
            rows_written: AtomicU64::new(0),
            commits: AtomicU64::new(0),
        })
    }

    pub(super) fn names(&self) -> &Arc<Names> {
        &self.names
    }

    pub(super) fn secret(&self) -> u64 {
        self.secret
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        self.redb.begin_read().map_err(|error| database("begin reading", &error))
    }

    /// A durable transaction whose allocator state is saved with it, so that reopening after a kill is quick.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        let mut write = self.redb.begin_write().map_err(|error| database("begin writing", &error))?;
        write.set_quick_repair(true);
        Ok(write)
    }

    pub(super) fn commit(&self, write: WriteTransaction, rows: u64) -> Result<(), StoreError> {
        write.commit().map_err(|error| database("commit", &error))?;
        self.rows_written.fetch_add(rows, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn count_reads(&self, rows: u64) {
        self.rows_read.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn io_counts(&self) -> IoCounts {
        IoCounts {
            rows_read: self.rows_read.load(Ordering::Relaxed),
            rows_written: self.rows_written.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
        }
    }

    pub(super) fn indexed(&self) -> Indexed {
        self.indexed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_indexed(&self, indexed: Indexed) {
        *self.indexed.write().unwrap_or_else(PoisonError::into_inner) = indexed;
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("io", &self.io_counts()).finish_non_exhaustive()
    }
}

/// The one form in which the database's own errors leave this module.
pub(super) fn database(action: &'static str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Database { action, reason: error.to_string() }
}

/// True when the file exists and begins like a database; an error for files that are something else. Looks only.
fn look_at(path: &Path, shown: &str) -> Result<bool, StoreError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(database("open the file", &format!("{shown}: {error}"))),
    };
    let mut start = [0u8; REDB_MAGIC.len()];
    let foreign = |reason: &str| StoreError::Foreign { path: shown.to_owned(), reason: reason.to_owned() };
    file.read_exact(&mut start).map_err(|_| foreign("the file is empty or too short"))?;
    if start != REDB_MAGIC {
        return Err(foreign("the file does not begin like a database"));
    }
    Ok(true)
}

fn check_identity(redb: &redb::Database, shown: &str) -> Result<(), StoreError> {
    let read = redb.begin_read().map_err(|error| database("begin reading", &error))?;
    let foreign = |reason: &str| StoreError::Foreign { path: shown.to_owned(), reason: reason.to_owned() };
    let magic = read_meta(&read, "magic").map_err(|_| foreign("a database of another program"))?;
    if magic != Some(MAGIC) {
        return Err(foreign("a database of another program"));
    }
    let format = read_meta(&read, "format")?.unwrap_or_default();
    if format > FORMAT {
        let found = u32::try_from(format).unwrap_or(u32::MAX);
        return Err(StoreError::NewerFormat { path: shown.to_owned(), found, known: u32::try_from(FORMAT).unwrap_or(u32::MAX) });
    }
    Ok(())
}

fn read_meta(read: &ReadTransaction, name: &str) -> Result<Option<u64>, StoreError> {
    let table = read.open_table(META).map_err(|error| database("open a table", &error))?;
    let row = table.get(name).map_err(|error| database("read meta", &error))?;
    Ok(row.map(|value| value.value()))
}

fn create_tables(redb: &redb::Database) -> Result<(), StoreError> {
    let mut write = redb.begin_write().map_err(|error| database("begin writing", &error))?;
    write.set_quick_repair(true);
    macro_rules! create {
        ($table:ident) => {
            write.open_table(super::tables::$table).map_err(|error| database("make a table", &error))?;
        };
    }
    every_table!(create);
    {
        let mut meta = write.open_table(META).map_err(|error| database("open a table", &error))?;
        let secret: u64 = rand::random();
        for (name, value) in [("magic", MAGIC), ("format", FORMAT), ("secret", secret)] {
            meta.insert(name, value).map_err(|error| database("write meta", &error))?;
        }
    }
    write.commit().map_err(|error| database("commit", &error))
}
