//! Bringing files of older formats to the present one: a backup beside the file, then one transaction per step.

use super::fault::Fault;
use super::open::{cannot_open, guarded, sync_folder};
use super::tables::{self, meta};
use super::{StoreError, StoreOptions, begin};
use redb::{Database, WriteTransaction};
use std::path::{Path, PathBuf};

/// A step from one format to the next.
pub(super) struct Migration {
    /// The format it starts from; it ends at the next one.
    pub(super) from: u32,
    /// What it does to the rows. The format number is raised in the same transaction.
    pub(super) run: fn(&WriteTransaction) -> Result<(), Fault>,
}

/// All steps, ordered. Format 1 is the first, so there are none yet; a step, once released, is never changed, and
/// its types are its own copies of the old records.
pub(super) const MIGRATIONS: &[Migration] = &[];

/// Where the copy of a file of an older format is kept.
pub(super) fn backup_path(path: &Path, format: u32) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".format-{format}.backup"));
    path.with_file_name(name)
}

/// Brings a file from `format` to `to`. The caller has looked at it: it is whole, ours, and nobody had it open.
pub(super) fn migrate(path: &Path, format: u32, steps: &[Migration], to: u32, options: StoreOptions) -> Result<(), StoreError> {
    // Open first: from here on nobody else can write to what is copied.
    let database = guarded(path, || Database::builder().set_cache_size(options.cache_octets).open(path))?;
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
    temporary.persist(to).map_err(|error| error.error)?;
    sync_folder(folder)
}
