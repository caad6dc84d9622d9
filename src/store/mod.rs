//! What we remember: connector spaces, metaverse, links, history. redb with flat rkyv records behind plain types.
//!
//! Reading is by [`Snapshot`] (many, never block), writing by [`Store::apply`] of one [`ChangeSet`] (one at a time,
//! one transaction, all or nothing). Nothing of redb or rkyv is visible outside.

mod changes;
mod check;
mod copies;
mod derived;
mod event;
mod fault;
mod history;
mod index;
mod kept;
mod migrate;
mod moved;
mod open;
mod password;
mod record;
mod snapshot;
mod tables;
mod upkeep;
mod write;

pub use changes::{ChangeSet, DirtyReason};
pub use check::{CheckProblem, CheckReport};
pub use copies::RestoreFolder;
pub use event::EventRecord;
pub use history::{AttributeDelta, CounterName, RunRecord, RunResult, StepKind, StepObject, StepRecord};
pub use kept::{Kept, KeptState};
pub use password::{PasswordRecord, PasswordSent, PasswordStamp, PasswordStatus, Watch};
pub use snapshot::Snapshot;
pub use upkeep::{CompactReport, RecordSizes, RestoreReport, StoreStats, TableUse};

use crate::model::{AttrId, ConnectorId, Names};
use fault::Fault;
use index::Indexes;
use redb::{Database, Durability, ReadableDatabase, WriteTransaction};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use write::Tally;

/// The newest format this program writes and reads.
pub const FORMAT: u32 = 3;
/// So many rows at most are written by [`Store::apply_part`] before one of its commits is durable: what a crash takes back,
/// and the pages that wait in memory, are bounded.
pub const UNFORCED_MOST: u64 = 200_000;

/// When a commit is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Force {
    Now,
    WithTheNext,
}

/// An open store. One process per file; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None` while a file whose disk failed could not be opened again.
    database: RwLock<Option<Arc<Database>>>,
    /// How it is opened again; `None` in memory.
    opener: Option<open::Opener>,
    /// How often it was opened again: views of earlier openings end.
    opening: AtomicU64,
    /// For messages; `None` in memory.
    path: Option<PathBuf>,
    names: Arc<Names>,
    /// Derived from the installation secret.
    seed: u64,
    indexes: RwLock<Arc<Indexes>>,
    /// Held while writing; how many names are durable.
    durable_names: Mutex<usize>,
    counts: Counts,
    /// Rows written by commits that are not durable yet.
    unforced: AtomicU64,
    poisoned: AtomicBool,
    /// What poisoned it, in words.
    failure: Mutex<Option<String>>,
}

/// How to open a store.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Octets of page cache. 64–128 MiB serve up to 200,000 objects, 256 MiB a million
    /// (storage and performance, section 4).
    pub cache_octets: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { cache_octets: 96 << 20 }
    }
}

/// Work done since the store was opened. Counts do not depend on the clock, so tests can hold the cost of a run
/// against them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounts {
    /// Rows read, by snapshots and by writers.
    pub rows_read: u64,
    /// Those among them that were records of objects, the dear ones.
    pub bodies_read: u64,
    /// Rows inserted, changed or removed.
    pub rows_written: u64,
    /// Durable commits.
    pub commits: u64,
}

#[derive(Debug, Default)]
struct Counts {
    read: AtomicU64,
    bodies: AtomicU64,
    written: AtomicU64,
    commits: AtomicU64,
}

impl Counts {
    fn add(&self, tally: Tally) {
        self.read.fetch_add(tally.read, Ordering::Relaxed);
        self.bodies.fetch_add(tally.bodies, Ordering::Relaxed);
        self.written.fetch_add(tally.written, Ordering::Relaxed);
    }
}

/// Why the store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the store open.
    #[error("the store {path} is in use by another process")]
    InUse {
        /// The file.
        path: String,
    },
    /// The file is no store of ours.
    #[error("{path} is not a Syncline store: {reason}")]
    Foreign {
        /// The file.
        path: String,
        /// What was found instead.
        reason: String,
    },
    /// The file was made by a newer version.
    #[error("the store {path} has format {found}, this program knows up to {known}: use a newer version")]
    NewerFormat {
        /// The file.
        path: String,
        /// The format of the file.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// A record contradicts itself.
    #[error("the store is damaged at {place}: {reason}; run `syncline store check`")]
    Damaged {
        /// Table and key.
        place: String,
        /// What does not fit.
        reason: String,
    },
    /// Two objects of one connector claim what only one can have; nothing of the set was written.
    #[error("{claimant} wants {what} that {holder} holds; nothing was written")]
    Conflict {
        /// What both want.
        what: &'static str,
        /// The object that has it.
        holder: String,
        /// The object that wants it.
        claimant: String,
    },
    /// A copy cannot be written where it was asked for; nothing is wrong with the store.
    #[error("the store cannot be copied there: {reason}")]
    NoPlace {
        /// What is in the way.
        reason: String,
    },
    /// The database or the disk refused.
    #[error("the store could not {action}: {reason}")]
    Database {
        /// What was attempted.
        action: &'static str,
        /// What the database said.
        reason: String,
    },
}

impl Store {
    /// Opens a store, making it if the file does not exist. Migrates an older format after a backup beside it. Copies that a killed
    /// restore left beside it go ([`RestoreFolder`]).
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Foreign`], [`StoreError::NewerFormat`] and [`StoreError::Damaged`] leave
    /// the file as it was, octet for octet.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Store, StoreError> {
        let inner = open::open(path, options)?;
        copies::take_leftovers(path);
        Ok(Self::from_inner(inner))
    }

    /// A store that lives in memory, for tests and previews. Its secret is fixed, so that runs repeat exactly.
    pub fn in_memory() -> Result<Store, StoreError> {
        open::in_memory().map(Self::from_inner)
    }

    /// A store on storage of the caller's, which is asked for again whenever the store is opened again: for simulations
    /// of disks that fail and come back.
    pub fn open_on<B: redb::StorageBackend>(
        storage: impl Fn() -> std::io::Result<B> + Send + Sync + 'static,
        options: StoreOptions,
    ) -> Result<Store, StoreError> {
        open::on_storage(storage, options).map(Self::from_inner)
    }

    /// What failed, when a failure of the disk ended the use of the open file: nothing is read or written before
    /// [`Self::reopen`].
    pub fn failure(&self) -> Option<String> {
        if !self.inner.poisoned.load(Ordering::Acquire) {
            return None;
        }
        self.inner
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .or_else(|| Some("it could not be opened again".to_owned()))
    }

    /// Opens the file again after its disk failed; what was committed is there. Views of before end with an error, and
    /// whoever was in the middle of several changes has been told that one of them failed.
    ///
    /// # Errors
    /// As [`Self::open`], and when the file is not the one that was open; it can be tried again.
    pub fn reopen(&self) -> Result<(), StoreError> {
        let inner = &*self.inner;
        let Some(opener) = &inner.opener else {
            return Err(StoreError::Database { action: "be opened again", reason: "it lives in memory".to_owned() });
        };
        // Nobody writes meanwhile.
        let mut durable_names = inner.durable_names.lock().unwrap_or_else(PoisonError::into_inner);
        inner.poisoned.store(true, Ordering::Release);
        *inner.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        inner.opening.fetch_add(1, Ordering::AcqRel);
        let old = inner.database.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(old);
        let (database, kept) = opener.open()?;
        let names = kept.names.iter().enumerate().all(|(number, name)| {
            u16::try_from(number).is_ok_and(|number| usize::from(number) < inner.names.len() && *inner.names.name(AttrId(number)) == **name)
        });
        if kept.seed != inner.seed || !names {
            let path = inner.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            return Err(StoreError::Foreign { path, reason: "it is another store than the one that was open".to_owned() });
        }
        *durable_names = kept.names.len();
        inner.unforced.store(0, Ordering::Relaxed);
        inner.set_indexes(kept.indexes);
        *inner.database.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(database));
        inner.poisoned.store(false, Ordering::Release);
        Ok(())
    }

    /// A store on a backend of the caller's, new if the backend is empty: for simulations that lose what was
    /// written and not synchronized.
    pub fn open_with_backend(backend: impl redb::StorageBackend, options: StoreOptions) -> Result<Store, StoreError> {
        open::with_backend(backend, options).map(Self::from_inner)
    }

    fn from_inner(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The interned names. New names become durable with the next [`Store::apply`].
    pub fn names(&self) -> &Arc<Names> {
        &self.inner.names
    }

    /// The seed of hashes that must not be guessed from outside; derived from the installation secret.
    pub fn hash_seed(&self) -> u64 {
        self.inner.seed
    }

    /// What was read and written since the store was opened.
    pub fn io_counts(&self) -> IoCounts {
        let counts = &self.inner.counts;
        IoCounts {
            rows_read: counts.read.load(Ordering::Relaxed),
            bodies_read: counts.bodies.load(Ordering::Relaxed),
            rows_written: counts.written.load(Ordering::Relaxed),
            commits: counts.commits.load(Ordering::Relaxed),
        }
    }

    /// A view of the last commit.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let opening = self.inner.opening.load(Ordering::Acquire);
        self.inner.run_in(opening, "open a view", || {
            let transaction = self.inner.database()?.begin_read()?;
            Ok(Snapshot::new(tables::Tables::open(&transaction)?, self.inner.clone(), opening))
        })
    }

    /// Writes a set of changes in one durable transaction. Indexes, queues and counters follow by themselves; rows
    /// that are already as wanted are not written, and nothing is committed when no row changes.
    ///
    /// A removal of an object wins over everything else that the set says of it. A connector-space object that others
    /// still refer to stays as a placeholder, so that no reference loses its target; a metaverse object takes the
    /// references in both directions along. Contents in `blobs` that no value points to are not kept.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when two objects claim one anchor, or one connector's link to a metaverse object;
    /// [`StoreError::Damaged`] when a record read on the way contradicts itself or a value points to a content that
    /// nobody gave; [`StoreError::Database`] when the disk refuses. Nothing of the set is written then.
    pub fn apply(&self, changes: ChangeSet) -> Result<(), StoreError> {
        let mut durable_names = self.inner.durable_names.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.apply(&mut durable_names, changes, Force::Now)
    }

    /// As [`Self::apply`], for a part of a work that is done again from its beginning if the machine stops before its end:
    /// everybody sees it at once, and it is durable with the next commit that is. What was committed before is never lost
    /// without what came after it, so the file is always as it was at some moment.
    ///
    /// Pages that many parts change are written once. Every [`UNFORCED_MOST`] rows one of them is durable.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_part(&self, changes: ChangeSet) -> Result<(), StoreError> {
        let mut durable_names = self.inner.durable_names.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.apply(&mut durable_names, changes, Force::WithTheNext)
    }

    /// Writes a set of changes that follows from what is there, while nobody else writes: between the view that `plan` gets
    /// and the commit of what it gives lies no other commit. `plan` must not write itself, and should be short, for all
    /// writers wait for it.
    ///
    /// # Errors
    /// As [`Self::apply`], and what `plan` gives; nothing is written then.
    pub fn update<T>(&self, plan: impl FnOnce(&Snapshot) -> Result<(ChangeSet, T), StoreError>) -> Result<T, StoreError> {
        let mut durable_names = self.inner.durable_names.lock().unwrap_or_else(PoisonError::into_inner);
        let (changes, answer) = plan(&self.snapshot()?)?;
        self.inner.apply(&mut durable_names, changes, Force::Now)?;
        Ok(answer)
    }

    /// True when every index that [`Self::index_attributes`] would make is there and complete. Writes nothing.
    pub fn has_indexes(&self, metaverse: &[AttrId], spaces: &[(ConnectorId, AttrId)]) -> Result<bool, StoreError> {
        let inner = &*self.inner;
        inner.run("look for indexes", || index::are_complete(inner, metaverse, spaces))
    }

    /// Says which attributes joins look up: of the metaverse, and of connector spaces for reverse joins. An index
    /// that was not there before is filled now, one that is not named any more is removed.
    pub fn index_attributes(&self, metaverse: &[AttrId], spaces: &[(ConnectorId, AttrId)]) -> Result<(), StoreError> {
        let inner = &*self.inner;
        let mut durable_names = inner.durable_names.lock().unwrap_or_else(PoisonError::into_inner);
        inner.run("build indexes", || {
            // First the names: an index must not outlive the number of its attribute.
            if inner.names.len() > *durable_names {
                let transaction = begin(&*inner.database()?)?;
                let mut tally = Tally::default();
                let known = write_names(inner, &transaction, *durable_names, &mut tally)?;
                commit(inner, transaction, tally)?;
                *durable_names = known;
            }
            index::set(inner, metaverse, spaces)
        })
    }
}

impl Inner {
    /// Writes a set of changes, for whoever holds the right to write.
    fn apply(&self, durable_names: &mut usize, changes: ChangeSet, force: Force) -> Result<(), StoreError> {
        if changes.is_empty() && changes.blobs.is_empty() && self.names.len() == *durable_names && !self.owes(force) {
            return self.usable();
        }
        self.run("write changes", || {
            let transaction = begin(&*self.database()?)?;
            let mut tally = Tally::default();
            let known = write_names(self, &transaction, *durable_names, &mut tally)?;
            write::write_all(self, &transaction, changes, &mut tally)?;
            commit_as(self, transaction, tally, force)?;
            *durable_names = known;
            Ok(())
        })
    }

    /// True when a commit of this kind has to make something durable that earlier ones left.
    fn owes(&self, force: Force) -> bool {
        force == Force::Now && self.unforced.load(Ordering::Relaxed) > 0
    }

    fn indexes(&self) -> Arc<Indexes> {
        self.indexes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_indexes(&self, indexes: Indexes) {
        *self.indexes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(indexes);
    }

    /// An error when an earlier failure left it unknown what the file holds.
    fn usable(&self) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::Acquire) {
            let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let first = failure.map_or_else(String::new, |failure| format!(" ({failure})"));
            let reason = format!(
                "an earlier access to the disk failed{first}; look after the disk. A running service opens the store again by itself, \
                 everybody else by starting again"
            );
            return Err(StoreError::Database { action: "go on", reason });
        }
        Ok(())
    }

    /// The open database.
    fn database(&self) -> Result<Arc<Database>, Fault> {
        let open = self.database.read().unwrap_or_else(PoisonError::into_inner).clone();
        open.ok_or(Fault::Database(redb::Error::DatabaseClosed))
    }

    /// The database alone, when nobody else has it.
    fn into_database(self) -> Option<Database> {
        let open = self.database.into_inner().unwrap_or_else(PoisonError::into_inner);
        open.and_then(|database| Arc::try_unwrap(database).ok())
    }

    /// Does something with the database; a failure of the disk ends the use of the store until it is reopened.
    fn run<T>(&self, action: &'static str, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, StoreError> {
        self.run_in(self.opening.load(Ordering::Acquire), action, work)
    }

    /// As [`Self::run`], by something that belongs to one opening of the file: it says nothing about later ones.
    fn run_in<T>(&self, opening: u64, action: &'static str, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, StoreError> {
        self.usable()?;
        let present = || self.opening.load(Ordering::Acquire) == opening;
        if !present() {
            return Err(StoreError::Database { action, reason: "the store was opened again meanwhile; look anew".to_owned() });
        }
        work().map_err(|fault| {
            let poisons = fault.poisons() && present();
            let error = fault.into_error(action);
            if poisons && !self.poisoned.swap(true, Ordering::AcqRel) {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            }
            error
        })
    }
}

/// Begins a durable transaction after whose commit the file reopens at once, even after a crash
/// (storage and performance, section 4).
fn begin(database: &Database) -> Result<WriteTransaction, Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Commits durably, unless nothing was written.
fn commit(inner: &Inner, transaction: WriteTransaction, tally: Tally) -> Result<(), Fault> {
    commit_as(inner, transaction, tally, Force::Now)
}

/// Commits, unless there is nothing to be committed.
fn commit_as(inner: &Inner, mut transaction: WriteTransaction, tally: Tally, force: Force) -> Result<(), Fault> {
    inner.counts.add(tally);
    if tally.written == 0 && !inner.owes(force) {
        transaction.abort()?;
        return Ok(());
    }
    let unforced = inner.unforced.load(Ordering::Relaxed).saturating_add(tally.written);
    if force == Force::WithTheNext && unforced <= UNFORCED_MOST {
        transaction.set_durability(Durability::None)?;
        transaction.commit()?;
        inner.unforced.store(unforced, Ordering::Relaxed);
    } else {
        transaction.commit()?;
        inner.unforced.store(0, Ordering::Relaxed);
        inner.counts.commits.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Writes names that are not durable yet; returns how many are now.
fn write_names(inner: &Inner, transaction: &WriteTransaction, durable: usize, tally: &mut Tally) -> Result<usize, Fault> {
    let known = inner.names.len();
    if known > durable {
        let mut names = Vec::with_capacity(known - durable);
        for number in durable..known {
            let number = u16::try_from(number).map_err(|_| Fault::damaged("attribute", "more names than numbers"))?;
            names.push((number, inner.names.name(AttrId(number))));
        }
        let rows: Vec<_> = names.iter().map(|(number, name)| (*number, Some(&**name))).collect();
        write::write_rows(&mut transaction.open_table(tables::ATTRIBUTE)?, &rows, tally)?;
    }
    Ok(known)
}
