//! How failures of the database become errors of the store, and which of them end the use of the open file.

use super::StoreError;
use std::io::ErrorKind;

/// A failure inside the store, before it is known what was being done.
#[derive(Debug)]
pub(super) enum Fault {
    /// From the database or the disk.
    Database(redb::Error),
    /// A commit went wrong: what was written is unknown until the file is opened again.
    Commit(redb::Error),
    /// Already in its final form.
    Store(StoreError),
}

impl Fault {
    /// A record that contradicts itself.
    pub(super) fn damaged(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Store(StoreError::Damaged { place: place.into(), reason: reason.into() })
    }

    /// True when nothing may be written or read any more before the file was opened again.
    pub(super) fn poisons(&self) -> bool {
        match self {
            Self::Commit(_) => true,
            Self::Database(error) => {
                matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::LockPoisoned(_) | redb::Error::DatabaseClosed)
            }
            Self::Store(_) => false,
        }
    }

    /// The error to hand out.
    pub(super) fn into_error(self, action: &'static str) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Database(redb::Error::Corrupted(reason)) => StoreError::Damaged { place: "the pages of the file".to_owned(), reason },
            Self::Database(redb::Error::Io(error)) | Self::Commit(redb::Error::Io(error)) => {
                StoreError::Database { action, reason: reason_of(&error) }
            }
            Self::Database(error) | Self::Commit(error) => StoreError::Database { action, reason: error.to_string() },
        }
    }
}

/// What the disk said, and what to do where it is full.
pub(super) fn reason_of(error: &std::io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            ": the disk of the store is full. Make room there (`df -h` shows how much is left), then try again; what was committed is kept"
        }
        ErrorKind::FileTooLarge => {
            ": the file of the store may not grow any more (`ulimit -f`, LimitFSIZE= of the service). Raise that limit, then try again; what was \
             committed is kept"
        }
        _ => "",
    };
    format!("{error}{advice}")
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

macro_rules! from_database {
    ($($error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        })*
    };
}

from_database!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CursorError,
    redb::SetDurabilityError,
    redb::CompactionError
);

impl From<redb::CommitError> for Fault {
    fn from(error: redb::CommitError) -> Self {
        Self::Commit(error.into())
    }
}
