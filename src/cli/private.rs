//! Files with values of people: whatever the umask says and whatever was there before, only their owner may read them.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Opens an empty file that only this user may read, also where others could read the one that was there.
///
/// # Errors
/// When it cannot be opened, or belongs to somebody else, who alone may take it from others.
pub(super) fn create(path: &Path) -> io::Result<File> {
    opened(path).map(|(file, _)| file)
}

/// The same, and whether there was none before.
fn opened(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.write(true).truncate(false).mode(0o600);
    // Nothing is cut off before the mode is right: who may not set it leaves the file as it is.
    let (file, new) = match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (options.create(true).open(path)?, false),
        made => (made?, true),
    };
    let metadata = file.metadata()?;
    // A terminal or a pipe keeps its mode, and holds nothing.
    if metadata.is_file() {
        if metadata.permissions().mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        file.set_len(0)?;
    }
    Ok((file, new))
}

/// Writes such a file whole.
///
/// # Errors
/// As [`create`], and when the disk refuses: a file that was not there is not there then either.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    whole(path, |file| {
        file.write_all(content)?;
        if file.metadata()?.is_file() { file.sync_all() } else { Ok(()) }
    })
}

fn whole(path: &Path, content: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let (mut file, new) = opened(path)?;
    content(&mut file).inspect_err(|_| {
        if new {
            // What was wrong counts, and not that this did not work either.
            let _ = std::fs::remove_file(path);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nobody_else_may_read_them_also_when_they_were_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        write(&path, b"first, and long").unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        write(&path, b"second").unwrap();
        assert_eq!((mode(), fs::read(&path).unwrap().as_slice()), (0o600, b"second".as_slice()));
        write(Path::new("/dev/null"), b"x").unwrap();
    }

    #[test]
    fn what_cannot_be_written_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.json");
        let full = |file: &mut File| {
            file.write_all(b"{")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        assert_eq!(whole(&path, full).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(!path.exists(), "half a result was left");
        // Whoever had a file of that name still has one.
        write(&path, b"first").unwrap();
        whole(&path, full).unwrap_err();
        assert!(path.exists());
        assert_eq!(write(Path::new("/dev/full"), b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(Path::new("/dev/full").exists());
    }
}
