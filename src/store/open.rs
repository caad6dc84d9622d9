//! Opening and making files: whatever is wrong with a file is found before anything is written to it.
//!
//! A file is first looked at through an overlay that keeps all writes in memory, even those of the database's own
//! repair after a crash. Only a file that turned out to be ours, whole and of a format we know is opened for writing.

use super::fault::{Fault, reason_of};
use super::index::Indexes;
use super::tables::{self, meta};
use super::{Counts, FORMAT, Inner, StoreError, StoreOptions, migrate};
use crate::model::Names;
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{BackendError, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, TableError};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, PoisonError, RwLock};
use xxhash_rust::xxh3::xxh3_64;

/// The first octets of every file of the database.
const DATABASE_MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Octets of cache while a file is only looked at.
const LOOK_CACHE: usize = 4 << 20;

/// What to call a store without a file.
const NO_FILE: &str = "(no file)";

/// What the meta table says.
struct Meta {
    format: u32,
    secret: [u8; 32],
}

/// Opens a file, making it if there is none.
pub(super) fn open(path: &Path, options: StoreOptions) -> Result<Inner, StoreError> {
    surviving(path, || open_file(path, options))
}

fn open_file(path: &Path, options: StoreOptions) -> Result<Inner, StoreError> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => create(path, options)?,
        Err(error) => return Err(cannot_open(path, &error)),
        Ok(found) if found.is_dir() => return Err(foreign(path, "it is a directory")),
        Ok(found) if found.len() == 0 => {
            return Err(foreign(path, "the file is empty; remove it to begin a new store, or restore a backup"));
        }
        Ok(_) => {}
    }
    let format = look(path)?.format;
    if format < FORMAT {
        migrate::migrate(path, format, migrate::MIGRATIONS, FORMAT, options)?;
    }
    let database = open_again(path, options)?;
    let opener = {
        let path = path.to_owned();
        Opener::new(path.clone(), move || surviving(&path, || open_again(&path, options)))
    };
    finish(database, path, Some(path), Some(opener))
}

fn open_again(path: &Path, options: StoreOptions) -> Result<Database, StoreError> {
    Database::builder().set_cache_size(options.cache_octets).open(path).map_err(|error| refused(path, error))
}

/// How a file is opened again after its disk failed.
pub(super) struct Opener {
    /// For messages.
    shown: PathBuf,
    open: Box<dyn Fn() -> Result<Database, StoreError> + Send + Sync>,
}

impl Opener {
    fn new(shown: PathBuf, open: impl Fn() -> Result<Database, StoreError> + Send + Sync + 'static) -> Self {
        Self { shown, open: Box::new(open) }
    }

    /// Opens it, and reads what is kept in memory of it.
    pub(super) fn open(&self) -> Result<(Database, Kept), StoreError> {
        let database = (self.open)()?;
        let kept = keep(&database, &self.shown)?;
        Ok((database, kept))
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// A store in memory.
pub(super) fn in_memory() -> Result<Inner, StoreError> {
    let path = Path::new(NO_FILE);
    let database = Database::builder().create_with_backend(InMemoryBackend::new()).map_err(|error| refused(path, error))?;
    initialise(&database, [0; 32]).map_err(|fault| fault.into_error("make a new store"))?;
    finish(database, path, None, None)
}

/// A store on a given backend.
pub(super) fn with_backend(backend: impl StorageBackend, options: StoreOptions) -> Result<Inner, StoreError> {
    finish(on_backend(backend, options)?, Path::new(NO_FILE), None, None)
}

/// A store on storage that can be had again.
pub(super) fn on_storage<B: StorageBackend>(
    storage: impl Fn() -> io::Result<B> + Send + Sync + 'static,
    options: StoreOptions,
) -> Result<Inner, StoreError> {
    let path = Path::new(NO_FILE);
    let opener =
        Opener::new(path.to_owned(), move || on_backend(storage().map_err(|error| cannot_open(Path::new(NO_FILE), &error))?, options));
    finish((opener.open)()?, path, None, Some(opener))
}

fn on_backend(backend: impl StorageBackend, options: StoreOptions) -> Result<Database, StoreError> {
    let path = Path::new(NO_FILE);
    let new = backend.len().map_err(|error| cannot_open(path, &error))? == 0;
    let opened = Database::builder().set_cache_size(options.cache_octets).create_with_backend(backend);
    let database = opened.map_err(|error| refused(path, error))?;
    if new || is_blank(&database).map_err(|fault| fault.into_error("read what is there"))? {
        initialise(&database, secret()?).map_err(|fault| fault.into_error("make a new store"))?;
    }
    Ok(database)
}

/// True for a database that was made and lost before its first commit.
fn is_blank(database: &Database) -> Result<bool, Fault> {
    Ok(database.begin_read()?.list_tables()?.next().is_none())
}

/// Looks at a file without changing it.
fn look(path: &Path) -> Result<Meta, StoreError> {
    read_meta(&overlaid(path)?, path)
}

/// Holds every page against its sum, without changing the file.
pub(super) fn verify(path: &Path) -> Result<(), StoreError> {
    surviving(path, || {
        let mut database = overlaid(path)?;
        read_meta(&database, path)?;
        match database.check_integrity() {
            Ok(true) => Ok(()),
            Ok(false) => Err(damaged_file(path, "some of its pages are not what was written")),
            Err(error) => Err(refused(path, error)),
        }
    })
}

/// Keeps everybody from opening a file as a store, for as long as what is given is kept. What is in the file does not matter.
pub(super) fn hold(path: &Path) -> Result<FileBackend, StoreError> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| cannot_open(path, &error))?;
    let held = FileBackend::new(file).map_err(|error| refused(path, error))?;
    // A backend locks nothing by itself; databases lock ranges, and all of it conflicts with each of them.
    match held.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
        Ok(true) => Ok(held),
        Ok(false) => Err(StoreError::InUse { path: path.display().to_string() }),
        Err(error) => Err(cannot_open(path, &io::Error::other(error.to_string()))),
    }
}

/// Opens a file so that nothing is written to it.
fn overlaid(path: &Path) -> Result<Database, StoreError> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| cannot_open(path, &error))?;
    let mut start = [0; DATABASE_MAGIC.len()];
    match file.read_exact(&mut start) {
        Ok(()) if start == DATABASE_MAGIC => {}
        Ok(()) => return Err(foreign(path, "it is a file of another kind")),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(foreign(path, "it is too short")),
        Err(error) => return Err(cannot_open(path, &error)),
    }
    let overlay = Overlay::new(file).map_err(|error| refused(path, error))?;
    Database::builder().set_cache_size(LOOK_CACHE).create_with_backend(overlay).map_err(|error| refused(path, error))
}

/// Makes a file: beside its place first, so that nobody ever sees half of it.
fn create(path: &Path, options: StoreOptions) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary =
        tempfile::Builder::new().prefix(".new-store-").tempfile_in(folder).map_err(|error| cannot_open(path, &error))?.into_temp_path();
    {
        let database = Database::builder()
            .set_cache_size(options.cache_octets.min(LOOK_CACHE))
            .create(&temporary)
            .map_err(|error| refused(path, error))?;
        initialise(&database, secret()?).map_err(|fault| fault.into_error("make a new store"))?;
    }
    match temporary.persist_noclobber(path) {
        // Somebody else was quicker; what is there now is opened like any file.
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(cannot_open(path, &error.error)),
        Ok(()) => sync_folder(folder).map_err(|error| cannot_open(path, &error)),
    }
}

/// Makes a rename in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// 32 octets that nobody can guess.
fn secret() -> Result<[u8; 32], StoreError> {
    let mut secret = [0; 32];
    SystemRandom::new()
        .fill(&mut secret)
        .map_err(|_| StoreError::Database { action: "make a new store", reason: "the system gave no random octets".to_owned() })?;
    Ok(secret)
}

/// Writes tables and meta rows into an empty database.
pub(super) fn initialise(database: &Database, secret: [u8; 32]) -> Result<(), Fault> {
    let transaction = super::begin(database)?;
    tables::create_all(&transaction)?;
    {
        let mut table = transaction.open_table(tables::META)?;
        table.insert(meta::MAGIC, meta::MAGIC_VALUE)?;
        table.insert(meta::FORMAT, FORMAT.to_le_bytes().as_slice())?;
        table.insert(meta::SECRET, secret.as_slice())?;
    }
    Ok(transaction.commit()?)
}

/// Reads what a database is, and refuses what is not ours or newer.
fn read_meta(database: &Database, path: &Path) -> Result<Meta, StoreError> {
    let failed = |fault: Fault| fault.into_error("read what the file is");
    let transaction = database.begin_read().map_err(|error| failed(error.into()))?;
    let table = match transaction.open_table(tables::META) {
        Ok(table) => table,
        Err(TableError::Storage(error)) => return Err(failed(error.into())),
        Err(_) => return Err(foreign(path, "it is a database of another program")),
    };
    let get = |key| table.get(key).map(|row| row.map(|row| row.value().to_vec())).map_err(|error| failed(error.into()));
    if get(meta::MAGIC)?.as_deref() != Some(meta::MAGIC_VALUE) {
        return Err(foreign(path, "it is a database of another program"));
    }
    let damaged = |what: &str| StoreError::Damaged { place: format!("{}, table meta", path.display()), reason: what.to_owned() };
    let format = get(meta::FORMAT)?.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let format = format.filter(|format| *format > 0).ok_or_else(|| damaged("no format version"))?;
    if format > FORMAT {
        return Err(StoreError::NewerFormat { path: path.display().to_string(), found: format, known: FORMAT });
    }
    let secret = get(meta::SECRET)?.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| damaged("no installation secret"))?;
    Ok(Meta { format, secret })
}

/// What of a store is kept in memory.
pub(super) struct Kept {
    /// Derived from the installation secret.
    pub(super) seed: u64,
    /// In the order of their numbers.
    pub(super) names: Vec<String>,
    pub(super) indexes: Indexes,
}

/// Reads what is kept in memory.
fn keep(database: &Database, shown: &Path) -> Result<Kept, StoreError> {
    let found = read_meta(database, shown)?;
    let load = || -> Result<(Vec<String>, Indexes), Fault> {
        let transaction = database.begin_read()?;
        // Every table, so that a missing one is found now.
        tables::Tables::open(&transaction)?;
        let table = transaction.open_table(tables::ATTRIBUTE)?;
        let mut ordered = Vec::new();
        for row in table.iter()? {
            let (number, name) = row?;
            if usize::from(number.value()) != ordered.len() {
                return Err(Fault::damaged("attribute", "its numbers have a gap"));
            }
            ordered.push(name.value().to_owned());
        }
        Ok((ordered, Indexes::load(&transaction.open_table(tables::INDEXED)?)?))
    };
    let (names, indexes) = load().map_err(|fault| fault.into_error("read what is kept in memory"))?;
    Ok(Kept { seed: xxh3_64(&found.secret), names, indexes })
}

fn finish(database: Database, shown: &Path, path: Option<&Path>, opener: Option<Opener>) -> Result<Inner, StoreError> {
    let kept = keep(&database, shown)?;
    let names = Names::from_ordered(kept.names.iter().map(String::as_str));
    if names.len() != kept.names.len().max(1) {
        return Err(Fault::damaged("attribute", "a name stands twice").into_error("read what is kept in memory"));
    }
    Ok(Inner {
        database: RwLock::new(Some(std::sync::Arc::new(database))),
        opener,
        opening: AtomicU64::new(0),
        path: path.map(Path::to_owned),
        names: std::sync::Arc::new(names),
        seed: kept.seed,
        indexes: RwLock::new(std::sync::Arc::new(kept.indexes)),
        durable_names: Mutex::new(kept.names.len()),
        counts: Counts::default(),
        unforced: AtomicU64::new(0),
        poisoned: AtomicBool::new(false),
        failure: Mutex::default(),
    })
}

/// Does what reads pages that may be broken, and takes a panic of the database over them for the damage it is.
fn surviving<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged_file(path, "its pages do not fit together")))
}

/// What a refusal to open means.
pub(super) fn refused(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.display().to_string() },
        DatabaseError::UpgradeRequired(version) => {
            foreign(path, &format!("it is a database of format {version}, which no Syncline ever wrote"))
        }
        DatabaseError::Storage(redb::StorageError::Io(error))
            if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::InvalidInput) =>
        {
            cannot_open(path, &error)
        }
        error => damaged_file(path, &error.to_string()),
    }
}

fn damaged_file(path: &Path, reason: &str) -> StoreError {
    StoreError::Damaged { place: path.display().to_string(), reason: format!("{reason}; restore a backup") }
}

fn foreign(path: &Path, reason: &str) -> StoreError {
    StoreError::Foreign { path: path.display().to_string(), reason: reason.to_owned() }
}

pub(super) fn cannot_open(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Database { action: "open its file", reason: format!("{}: {}", path.display(), reason_of(error)) }
}

const PAGE: usize = 4096;

/// A file that is read but never written: writes stay in memory. Locks are those of the file.
#[derive(Debug)]
struct Overlay {
    file: FileBackend,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    /// What of the file still counts: setting the length shorter and longer again gives zeros.
    from_file: u64,
    pages: HashMap<u64, Box<[u8; PAGE]>>,
}

impl Overlay {
    fn new(file: File) -> Result<Self, DatabaseError> {
        let file = FileBackend::new(file)?;
        let length = file.len()?;
        Ok(Self { file, written: Mutex::new(Written { length, from_file: length, pages: HashMap::new() }) })
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, written: &Written, number: u64, page: &mut [u8; PAGE]) -> io::Result<()> {
        if let Some(known) = written.pages.get(&number) {
            page.copy_from_slice(&known[..]);
            return Ok(());
        }
        page.fill(0);
        let start = number * PAGE as u64;
        let there = usize::try_from(written.from_file.saturating_sub(start)).unwrap_or(PAGE).min(PAGE);
        if there > 0 { self.file.read(start, &mut page[..there]) } else { Ok(()) }
    }

    /// Calls `each` with every page that a range of octets touches: its number, the part within the page, the part
    /// within the range.
    fn pieces(
        offset: u64,
        length: usize,
        mut each: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let within = usize::try_from(at % PAGE as u64).unwrap_or(0);
            let count = (PAGE - within).min(length - done);
            each(at / PAGE as u64, within..within + count, done..done + count)?;
            done += count;
        }
        Ok(())
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > written.length) {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the file is shorter than it says"));
        }
        let mut page = [0; PAGE];
        Self::pieces(offset, out.len(), |number, within, part| {
            self.page(&written, number, &mut page)?;
            out[part].copy_from_slice(&page[within]);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut written = self.written();
        written.from_file = written.from_file.min(length);
        if length < written.length {
            written.pages.retain(|number, page| {
                let start = number * PAGE as u64;
                if start < length {
                    let kept = usize::try_from(length - start).unwrap_or(PAGE).min(PAGE);
                    page[kept..].fill(0);
                }
                start < length
            });
        }
        written.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        Self::pieces(offset, data.len(), |number, within, part| {
            let mut page = Box::new([0; PAGE]);
            self.page(&written, number, &mut page)?;
            page[within].copy_from_slice(&data[part]);
            written.pages.insert(number, page);
            Ok(())
        })
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
