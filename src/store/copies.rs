//! Folders in which copies of a store lie while one is restored. They are known by their name, and those of whoever was killed go.

use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::TempDir;

/// How the names of these folders begin, and of nothing else.
const PREFIX: &str = ".syncline-restore-";
/// How often a new folder is made for one that somebody took for a leftover.
const ATTEMPTS: usize = 10;

/// A folder for copies of a store, beside the place that one of them takes. It goes with this value. Where the process is killed before,
/// whoever restores or opens the store next takes it away: as long as it is in use it is locked.
#[derive(Debug)]
pub struct RestoreFolder {
    // In this order: it is locked until nothing of it is left.
    folder: TempDir,
    _lock: File,
}

impl RestoreFolder {
    /// Makes one in the folder of a store, for this user alone, and takes away what killed ones left there.
    ///
    /// # Errors
    /// When no folder can be made there.
    pub fn beside(store: &Path) -> io::Result<Self> {
        take_leftovers(store);
        for _ in 0..ATTEMPTS {
            let folder = tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(around(store))?;
            let lock = match File::open(folder.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            // Somebody may have found it in this moment, unlocked. Where files cannot be locked, nobody takes it for a leftover either.
            if !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) && folder.path().exists() {
                return Ok(Self { folder, _lock: lock });
            }
        }
        Err(io::Error::other("somebody removes every new folder at once"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The folder that holds a file.
pub(super) fn around(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Takes away what killed restores left beside a store: whole copies of it, which nobody looks after. What cannot be taken away stays, for
/// it stops nobody.
pub(super) fn take_leftovers(store: &Path) {
    let Ok(entries) = std::fs::read_dir(around(store)) else { return };
    for entry in entries.flatten() {
        // No link to a folder is one.
        let left = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if left
            && let Ok(lock) = File::open(entry.path())
            && lock.try_lock().is_ok()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
