//! Changes single keys of a configuration file and leaves everything else as people wrote it.

use super::error::ConfigProblem;
use super::file;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use toml_edit::{DocumentMut, Item, Table, Value};

/// Sets a flag in a table of a file, and writes the file whole or not at all. False: it had that value already.
///
/// # Errors
/// The file cannot be read or written, is no TOML, or has something else in the table's place.
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
    let folder = path.parent().unwrap_or(folder);
    let unwritten = |error: &std::io::Error| problem(format!("cannot be written: {error}"));
    let mut file = tempfile::Builder::new().prefix(".connector-").tempfile_in(folder).map_err(|error| unwritten(&error))?;
    // Whoever could read the file before can read it afterwards.
    let permissions = fs::metadata(path).map_err(|error| unwritten(&error))?.permissions();
    file.as_file().set_permissions(permissions).map_err(|error| unwritten(&error))?;
    file.write_all(document.to_string().as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(|error| unwritten(&error))?;
    file.persist(path).map_err(|error| unwritten(&error.error))?;
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
}
