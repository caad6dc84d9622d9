//! The tenant's directory: objects, what is unique about them, references between them, the recycle bin, and the
//! log from which deltas are read. One file of its own, or memory.

mod change;
mod effective;
mod lifecycle;
mod matching;
mod naming;
mod policy;
mod properties;
mod readback;
mod record;
mod tables;
mod write;

pub use change::{
    Conflict, CredentialChange, CredentialResult, Effect, FaultCode, Incoming, ObjectFault, Operation, Outcome, ReferenceChange, SyncChange,
};
pub use lifecycle::Edit;
pub use policy::{Authentication, Features, Policy};
pub use properties::{MANAGER, MEMBER, Properties, Property, PropertyValue, REFERENCES, ReferenceAttribute};
pub use readback::{CookieError, ReadBackItem, ReadBackPage, ReadBackRequest};
pub use record::{CredentialRecord, Deletion, Effective, Mastery, ObjectKind, ObjectRecord, Quarantined};
pub use tables::{Reader, UniqueKey, UniqueKind, Writer, parse_cloud_anchor};

use redb::{Builder, Database, ReadableDatabase};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The tenant's own number of an object: dense, from 1, in the order of creation.
pub type ObjectNumber = u64;

/// Why the directory could not be read or written. Refusals of single objects are no errors; see [`ObjectFault`].
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The file could not be read or written.
    #[error("the tenant's file cannot be used: {0}")]
    Storage(#[from] redb::Error),
    /// The file is open elsewhere, no tenant's file, or cannot be created.
    #[error("the tenant's file {} cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the storage says.
        source: redb::DatabaseError,
    },
    /// A row does not hold what it should.
    #[error("the tenant's file is damaged: {0}; restore it from a copy or start a new tenant")]
    Damaged(&'static str),
}

macro_rules! from_storage {
    ($($error:ty),+) => {
        $(impl From<$error> for DirectoryError {
            fn from(error: $error) -> Self {
                Self::Storage(error.into())
            }
        })+
    };
}

from_storage!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError);

/// A change that was not made: either the object was refused, or the directory itself failed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// This object may not be changed so.
    #[error("{}: {}", .0.code.as_str(), .0.description)]
    Object(ObjectFault),
    /// The directory failed; nothing of the whole call was kept.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl From<ObjectFault> for Refusal {
    fn from(fault: ObjectFault) -> Self {
        Self::Object(fault)
    }
}

macro_rules! refusal_from_storage {
    ($($error:ty),+) => {
        $(impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::Directory(error.into())
            }
        })+
    };
}

refusal_from_storage!(redb::StorageError);

/// The tenant's directory.
pub struct Directory {
    database: Database,
}

impl Directory {
    /// Opens or creates a directory in a file that only its owner may read: the keys that sign tokens are in it.
    /// `cache` is the most memory for pages, in octets.
    pub fn open(path: &Path, cache: usize) -> Result<Self, DirectoryError> {
        let failed = |source: redb::DatabaseError| DirectoryError::Open { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(|error| failed(redb::StorageError::from(error).into()))?;
        Self::prepared(Builder::new().set_cache_size(cache).create_file(file).map_err(failed)?)
    }

    /// A directory that lives as long as the process.
    pub fn in_memory() -> Result<Self, DirectoryError> {
        let database = Builder::new()
            .set_cache_size(16 << 20)
            .create_with_backend(redb::backends::InMemoryBackend::new())
            .map_err(|source| DirectoryError::Open { path: PathBuf::from("(memory)"), source })?;
        Self::prepared(database)
    }

    fn prepared(database: Database) -> Result<Self, DirectoryError> {
        let directory = Self { database };
        directory.write(|_| Ok::<(), DirectoryError>(()))?;
        Ok(directory)
    }

    /// A consistent view of the last commit. Keep it short: it holds old pages.
    pub fn read(&self) -> Result<Reader, DirectoryError> {
        Reader::open(&self.database.begin_read()?)
    }

    /// Runs a write and commits it; an error undoes all of it. The file survives a kill at any moment.
    pub fn write<R, E: From<DirectoryError>>(&self, work: impl FnOnce(&mut Writer<'_>) -> Result<R, E>) -> Result<R, E> {
        let mut transaction = self.database.begin_write().map_err(DirectoryError::from)?;
        transaction.set_quick_repair(true);
        let result = {
            let mut writer = Writer::open(&transaction)?;
            let result = work(&mut writer)?;
            writer.finish()?;
            result
        };
        transaction.commit().map_err(DirectoryError::from)?;
        Ok(result)
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn nobody_but_its_owner_may_read_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tenant.redb");
        drop(Directory::open(&path, 1 << 20).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Directory::open(&folder.path().join("no/tenant.redb"), 1 << 20), Err(DirectoryError::Open { .. })));
    }
}
