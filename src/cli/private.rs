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
    // Nothing is cut off before the mode is right: who may not set it leaves the file as it is.
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let metadata = file.metadata()?;
    // A terminal or a pipe keeps its mode, and holds nothing.
    if metadata.is_file() {
        if metadata.permissions().mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        file.set_len(0)?;
    }
    Ok(file)
}

/// Writes such a file whole.
///
/// # Errors
/// As [`create`], and when the disk refuses.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = create(path)?;
    file.write_all(content)?;
    if file.metadata()?.is_file() { file.sync_all() } else { Ok(()) }
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
}
