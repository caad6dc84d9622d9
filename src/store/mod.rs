//! What we remember: connector spaces, metaverse, links, history. redb with flat rkyv records behind plain types.
//!
//! Reading is by [`Snapshot`] (many, never block), writing by [`Store::apply`] of one [`ChangeSet`] (one at a time,
//! one transaction, all or nothing). Nothing of redb or rkyv is visible outside.

mod apply;
mod changes;
mod database;
mod history;
mod record;
mod snapshot;
mod tables;

pub use changes::{ChangeSet, DirtyReason};
pub use history::{AttributeDelta, CounterName, RunRecord, RunResult, StepKind, StepObject, StepRecord};
pub use snapshot::Snapshot;

use crate::model::{AttrId, ConnectorId, Names};
use database::Database;
use std::path::Path;
use std::sync::Arc;

/// An open store. One process per file; clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    database: Arc<Database>,
}

/// How to open a store.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Octets of page cache.
    pub cache_octets: usize,
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
    /// The database or the disk refused.
    #[error("the store could not {action}: {reason}")]
    Database {
        /// What was attempted.
        action: &'static str,
        /// What the database said.
        reason: String,
    },
}

impl Default for StoreOptions {
    /// 64 MiB of cache: enough up to 200,000 objects.
    fn default() -> Self {
        Self { cache_octets: 64 << 20 }
    }
}

/// Rows and commits since the store was opened; what tests hold "work depends on changes alone" against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounts {
    /// Records and rows read one by one or by scan.
    pub rows_read: u64,
    /// Rows inserted, replaced or removed.
    pub rows_written: u64,
    /// Durable commits.
    pub commits: u64,
}

impl Store {
    /// Opens a store, making it if the file does not exist. Migrates an older format after a backup beside it.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Store, StoreError> {
        Ok(Store { database: Arc::new(Database::open(path, options)?) })
    }

    /// A store that lives in memory, for tests and previews.
    pub fn in_memory() -> Result<Store, StoreError> {
        Self::open_with_backend(redb::backends::InMemoryBackend::new(), StoreOptions::default())
    }

    /// A store on a storage of the caller's; simulations give one that forgets unsynced writes.
    pub fn open_with_backend(backend: impl redb::StorageBackend, options: StoreOptions) -> Result<Store, StoreError> {
        Ok(Store { database: Arc::new(Database::with_backend(backend, options)?) })
    }

    /// The interned names. New names become durable with the next [`Store::apply`].
    pub fn names(&self) -> &Arc<Names> {
        self.database.names()
    }

    /// The secret of this installation that seeds canonical hashes, so that nobody can make colliding values.
    pub fn hash_seed(&self) -> u64 {
        self.database.secret()
    }

    /// Rows and commits since the store was opened.
    pub fn io_counts(&self) -> IoCounts {
        self.database.io_counts()
    }

    /// A view of the last commit.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Snapshot::new(&self.database)
    }

    /// Writes a set of changes in one durable transaction. Indexes, queues and counters follow by themselves.
    pub fn apply(&self, changes: ChangeSet) -> Result<(), StoreError> {
        apply::apply(&self.database, changes)
    }

    /// Says which attributes joins look up: of the metaverse, and of connector spaces for reverse joins. An index
    /// that was not there before is filled now.
    pub fn index_attributes(&self, metaverse: &[AttrId], spaces: &[(ConnectorId, AttrId)]) -> Result<(), StoreError> {
        apply::index_attributes(&self.database, metaverse, spaces)
    }
}
