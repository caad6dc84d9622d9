//! Changes single keys of a configuration file and leaves everything else as people wrote it.

use super::error::ConfigProblem;
use super::file;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use toml_edit::{DocumentMut, Item, Table, Value};

/// Sets a flag in a table of a file, and writes the file whole or not at all. False: it had that value already. The file
/// keeps its owner, its group and its mode; behind a symbolic link, the file that it names is written and the link stays.
///
/// # Errors
/// The file cannot be read or written, is no TOML, has something else in the table's place, or is somebody's whom we may
/// not leave it to.
pub fn set_flag(folder: &Path, path: &Path, table: &str, key: &str, flag: bool) -> Result<bool, ConfigProblem> {
    set_key(folder, path, table, key, flag)
}

/// Sets a key in a table of a file, as [`set_flag`] does.
///
/// # Errors
/// As [`set_flag`].
pub fn set_key(folder: &Path, path: &Path, table: &str, key: &str, wanted: impl Into<Value>) -> Result<bool, ConfigProblem> {
    let wanted = wanted.into();
    let problem = |message: String| ConfigProblem::of_file(path.strip_prefix(folder).unwrap_or(path), message);
    let text = file::read_text(path)?;
    let mut document: DocumentMut = text.parse().map_err(|error| problem(format!("is no TOML any more: {error}")))?;
    let entry = document.entry(table).or_insert_with(|| Item::Table(Table::new()));
    let Some(keys) = entry.as_table_like_mut() else {
        return Err(problem(format!("{table} is no table")));
    };
    let shown = |value: &Value| value.clone().decorated("", "").to_string();
    if keys.get(key).and_then(Item::as_value).is_some_and(|known| shown(known) == shown(&wanted)) {
        return Ok(false);
    }
    keys.insert(key, Item::Value(wanted));
    let unwritten = |error: &std::io::Error| problem(format!("cannot be written: {error}"));
    let real = fs::canonicalize(path).map_err(|error| unwritten(&error))?;
    let folder = real.parent().unwrap_or(folder);
    let mut file = tempfile::Builder::new().prefix(".connector-").tempfile_in(folder).map_err(|error| unwritten(&error))?;
    // Whoever could read the file before can read it afterwards, and nobody else.
    let before = fs::metadata(&real).map_err(|error| unwritten(&error))?;
    let ours = file.as_file().metadata().map_err(|error| unwritten(&error))?;
    let other = |wanted: u32, has: u32| (wanted != has).then_some(wanted);
    let (owner, group) = (other(before.uid(), ours.uid()), other(before.gid(), ours.gid()));
    if owner.is_some() || group.is_some() {
        std::os::unix::fs::fchown(file.as_file(), owner, group).map_err(|error| {
            problem(format!(
                "belongs to user {} and group {}, and cannot be left to them ({error}); run this as that user, or as root",
                before.uid(),
                before.gid()
            ))
        })?;
    }
    file.as_file().set_permissions(before.permissions()).map_err(|error| unwritten(&error))?;
    file.write_all(document.to_string().as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(|error| unwritten(&error))?;
    file.persist(&real).map_err(|error| unwritten(&error.error))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_else_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        let before = "# ours\nkind = \"ad\" # a comment\n\n[selection]\ninclude = [\n  \"OU=a\", # b\n]\n";
        fs::write(&path, before).unwrap();
        let set = |flag| set_flag(folder.path(), &path, "password_hash_sync", "enabled", flag).unwrap();
        assert!(set(true));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{before}\n[password_hash_sync]\nenabled = true\n"));
        assert!(!set(true));
        assert!(set(false));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{before}\n[password_hash_sync]\nenabled = false\n"));
        fs::write(&path, "password_hash_sync = 3\n").unwrap();
        let error = set_flag(folder.path(), &path, "password_hash_sync", "enabled", true).unwrap_err();
        assert!(error.message.contains("is no table"), "{}", error.message);
    }

    #[test]
    fn owner_mode_and_links_stay() {
        use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
        let folder = tempfile::tempdir().unwrap();
        let shared = tempfile::tempdir().unwrap();
        let (real, link) = (shared.path().join("real.toml"), folder.path().join("c.toml"));
        fs::write(&real, "kind = \"ad\"\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        // Only root may give files away; everybody else keeps what is their own.
        let root = fs::metadata(&real).unwrap().uid() == 0;
        if root {
            chown(&real, Some(12_345), Some(23_456)).unwrap();
        }
        let before = fs::metadata(&real).unwrap();
        assert!(set_flag(folder.path(), &link, "password_hash_sync", "enabled", true).unwrap());
        let after = fs::metadata(&real).unwrap();
        assert_eq!((after.uid(), after.gid(), after.mode() & 0o7777), (before.uid(), before.gid(), 0o640));
        assert_eq!(root, after.uid() == 12_345);
        assert_eq!(fs::read_link(&link).unwrap(), real);
        assert!(fs::read_to_string(&real).unwrap().contains("enabled = true"));
        assert_eq!(fs::read_dir(shared.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
