//! Changes single keys of a configuration file and leaves everything else as people wrote it.
//!
//! There is one way to do so, [`change_file`]: it holds the folder's lock from reading to writing, so that no change is lost
//! to another one, and nothing is written that could not be read again.

use super::error::ConfigProblem;
use super::{MAIN_FILE, check_connector, check_main, file};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

/// A change of one key.
#[derive(Clone, Debug)]
pub enum Edit {
    /// The key has this value.
    Put(Value),
    /// The key goes, so that its default counts.
    Take,
    /// A list of texts loses some and gains others; what else is in it stays, whoever put it there.
    List(ListEdit),
}

/// Texts that a list gains and loses. Texts are compared without regard to case, as names and attributes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEdit {
    add: Vec<String>,
    remove: Vec<String>,
    /// The list may end up empty, and then goes.
    may_go: bool,
    /// What counts where there is no list.
    defaults: Vec<String>,
}

impl ListEdit {
    /// What makes the second list of the first one. It is held against what the file has by the time it is written.
    pub fn between(before: &[String], after: &[String]) -> Self {
        Self { may_go: true, ..Self::of_what_is_read(before, after) }
    }

    /// The same for a list whose absence means everything: unless that is what was decided, it never ends up empty because two
    /// decided at the same time.
    pub fn of_what_is_read(before: &[String], after: &[String]) -> Self {
        let missing = |from: &[String], other: &[String]| -> Vec<String> {
            from.iter().filter(|text| !other.iter().any(|known| known == *text)).cloned().collect()
        };
        Self { add: missing(after, before), remove: missing(before, after), may_go: after.is_empty(), defaults: Vec::new() }
    }

    /// The same for a list without which others count: where the file has none it begins with these, and where it comes to these
    /// again it goes.
    pub fn of_defaults(defaults: &[String], before: &[String], after: &[String]) -> Self {
        Self { may_go: false, defaults: defaults.to_vec(), ..Self::of_what_is_read(before, after) }
    }

    /// Nothing is gained and nothing lost.
    pub fn is_nothing(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

/// What became of a file that was to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It says other things now.
    Changed,
    /// It would say other things; nothing was written.
    WouldChange,
    /// It said that already.
    Unchanged,
}

impl Written {
    /// For people: `written`, `would be written` or `unchanged`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "written",
            Self::WouldChange => "would be written",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Keeps everybody else who changes this folder by a command waiting, in this process and in others, for as long as what is
/// given is held. People with an editor are not kept.
///
/// # Errors
/// When the folder cannot be opened, or lies where nothing can be locked.
pub fn lock_folder(folder: &Path) -> Result<File, ConfigProblem> {
    let failed = |error: std::io::Error| {
        ConfigProblem::of_file(folder, format!("the folder cannot be locked for a change: {error}"))
            .hint("change the file in an editor; a running service takes it in by itself")
    };
    // The folder itself: a lock file of its own would be one more thing in it, and a file that is replaced takes its lock along.
    let lock = File::open(folder).map_err(failed)?;
    lock.lock().map_err(failed)?;
    Ok(lock)
}

/// Changes keys of the main file or of a connector's file, all of them in one write, or none. A key is named with all tables
/// that it is in. The file is written only when it can be read afterwards; it keeps its owner, its group and its mode, and
/// behind a symbolic link, the file that it names is written and the link stays. With `look_only` nothing is written.
///
/// # Errors
/// The file cannot be read or written, has something else in a table's place, would not be understood, or is somebody's
/// whom we may not leave it to.
pub fn change_file(folder: &Path, path: &Path, edits: &[(&[&str], Edit)], look_only: bool) -> Result<Written, ConfigProblem> {
    change_file_if(folder, path, edits, look_only, |_| Ok(()))
}

/// As [`change_file`], when the text that would be written fits: it is judged under the folder's lock.
///
/// # Errors
/// As [`change_file`], and why the text does not fit.
pub fn change_file_if<E: From<ConfigProblem>>(
    folder: &Path,
    path: &Path,
    edits: &[(&[&str], Edit)],
    look_only: bool,
    fits: impl FnOnce(&str) -> Result<(), E>,
) -> Result<Written, E> {
    // Who only looks needs no right to lock, and may see the file of before.
    let _held = if look_only { None } else { Some(lock_folder(folder)?) };
    let problem = |message: String| ConfigProblem::of_file(path.strip_prefix(folder).unwrap_or(path), message);
    let text = file::read_text(path)?;
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| file::no_toml(folder, path, &text, (error.message(), error.span())))?;
    let mut changed = false;
    for (key, edit) in edits {
        changed |= apply(&mut document, key, edit).map_err(problem)?;
    }
    if !changed {
        return Ok(Written::Unchanged);
    }
    let text = document.to_string();
    if path == folder.join(MAIN_FILE) {
        check_main(folder, &text)?;
    } else {
        check_connector(folder, path, &text)?;
    }
    fits(&text)?;
    if look_only {
        return Ok(Written::WouldChange);
    }
    write_whole(folder, path, &text)?;
    Ok(Written::Changed)
}

/// Sets one key in a table of a file by [`change_file`]. False: it had that value already.
///
/// # Errors
/// As [`change_file`].
pub fn set_key(folder: &Path, path: &Path, table: &str, key: &str, wanted: impl Into<Value>) -> Result<bool, ConfigProblem> {
    Ok(change_file(folder, path, &[(&[table, key], Edit::Put(wanted.into()))], false)? == Written::Changed)
}

/// Does one edit; false where the document said so already.
fn apply(document: &mut DocumentMut, key: &[&str], edit: &Edit) -> Result<bool, String> {
    let Some((name, tables)) = key.split_last() else { return Ok(false) };
    let mut keys: &mut dyn TableLike = document.as_table_mut();
    for table in tables {
        if matches!(edit, Edit::Take) && keys.get(table).is_none() {
            return Ok(false);
        }
        keys = keys
            .entry(table)
            .or_insert_with(|| Item::Table(Table::new()))
            .as_table_like_mut()
            .ok_or_else(|| format!("{table} is no table"))?;
    }
    let shown = |value: &Value| value.clone().decorated("", "").to_string();
    let known = keys.get(name).and_then(Item::as_value);
    let mut wanted = match edit {
        Edit::Take => return Ok(keys.remove(name).is_some()),
        Edit::Put(wanted) => wanted.clone(),
        Edit::List(edit) => match listed(name, known, edit)? {
            Some(list) => list.into(),
            None => return Ok(keys.remove(name).is_some()),
        },
    };
    if known.is_some_and(|known| shown(known) == shown(&wanted)) {
        return Ok(false);
    }
    // What stands behind the value on its line stays there.
    if let Some(known) = known {
        *wanted.decor_mut() = known.decor().clone();
    }
    keys.insert(name, Item::Value(wanted));
    Ok(true)
}

/// A list after an edit, with what is said beside texts that stay; `None` where nothing is left in it.
fn listed(name: &str, known: Option<&Value>, edit: &ListEdit) -> Result<Option<Array>, String> {
    let mut list = match known {
        Some(known) => known.as_array().cloned().ok_or_else(|| format!("{name} is no list"))?,
        None => Array::new(),
    };
    if list.is_empty() {
        list.extend(&edit.defaults);
    }
    let is = |item: &Value, text: &String| item.as_str().is_some_and(|known| known.eq_ignore_ascii_case(text));
    list.retain(|item| !edit.remove.iter().any(|text| is(item, text)));
    for text in &edit.add {
        if list.iter().any(|item| is(item, text)) {
            continue;
        }
        // One in each line where the others stand so.
        let decor = list.get(0).map(|first| first.decor().clone()).filter(|decor| {
            decor.prefix().and_then(|prefix| prefix.as_str()).is_some_and(|prefix| prefix.contains('\n') && !prefix.contains('#'))
        });
        let mut item = Value::from(text.as_str());
        if let Some(decor) = decor {
            *item.decor_mut() = decor;
            list.push_formatted(item);
        } else {
            list.push(item);
        }
    }
    let default = list.len() == edit.defaults.len() && edit.defaults.iter().all(|text| list.iter().any(|item| is(item, text)));
    if default && !list.is_empty() {
        return Ok(None);
    }
    if list.is_empty() && !edit.may_go {
        // An empty list would mean something else than either change did.
        return Err(format!("{name} was changed meanwhile, and nothing would be left in it; look at it, and decide again"));
    }
    Ok((!list.is_empty()).then_some(list))
}

/// Writes a connector's file anew as a whole, under the folder's lock.
///
/// # Errors
/// The file cannot be written, would not be understood, or is somebody's whom we may not leave it to.
pub fn replace_file(folder: &Path, path: &Path, text: &str) -> Result<(), ConfigProblem> {
    let _held = lock_folder(folder)?;
    check_connector(folder, path, text)?;
    write_whole(folder, path, text)
}

/// Writes a file whole or not at all, and leaves it to whom it belongs.
fn write_whole(folder: &Path, path: &Path, text: &str) -> Result<(), ConfigProblem> {
    let problem = |message: String| ConfigProblem::of_file(path.strip_prefix(folder).unwrap_or(path), message);
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
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(|error| unwritten(&error))?;
    file.persist(&real).map_err(|error| unwritten(&error.error))?;
    // The name is on the disk when its folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| unwritten(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with one connector's file of this text.
    fn with_file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    const AD: &str = "kind = \"ad\" # a comment\nurl = \"ldaps://dc1\"\nbind_name = \"svc\"\npassword = { credential = \"ad-bind\" }\n";

    #[test]
    fn everything_else_stays_as_it_was() {
        let before = format!("# ours\n{AD}\n[selection]\ninclude = [\n  \"OU=a\", # b\n]\n");
        let (folder, path) = with_file(&before);
        let set = |flag: bool| set_key(folder.path(), &path, "password_hash_sync", "enabled", flag).unwrap();
        assert!(set(true));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{before}\n[password_hash_sync]\nenabled = true\n"));
        assert!(!set(true));
        assert!(set(false));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{before}\n[password_hash_sync]\nenabled = false\n"));
        fs::write(&path, "password_hash_sync = 3\n").unwrap();
        let error = set_key(folder.path(), &path, "password_hash_sync", "enabled", true).unwrap_err();
        assert!(error.message.contains("is no table"), "{}", error.message);
    }

    #[test]
    fn keys_are_found_in_their_tables_and_bad_ones_are_not_written() {
        let (folder, path) = with_file(&format!("page_size = 10 # small\n{AD}"));
        let text = || fs::read_to_string(&path).unwrap();
        let change = |key: &[&str], edit: Edit| change_file(folder.path(), &path, &[(key, edit)], false);
        assert_eq!(change(&["page_size"], Edit::Put(20.into())).unwrap(), Written::Changed);
        assert_eq!(text(), format!("page_size = 20 # small\n{AD}"));
        assert_eq!(change(&["delta", "mode"], Edit::Put("dirsync".into())).unwrap(), Written::Changed);
        assert!(text().contains("[delta]\nmode = \"dirsync\""), "{}", text());
        let before = text();
        // Whatever way a key is set, what could not be read again is refused.
        assert!(change(&["page_size"], Edit::Put("many".into())).is_err());
        assert!(set_key(folder.path(), &path, "password_hash_sync", "enabled", 3).is_err());
        assert!(set_key(folder.path(), &path, "password_hash_sync", "enbled", true).is_err());
        // Of several changes all are written, or none.
        let both: [(&[&str], Edit); 2] = [(&["value_range"], Edit::Put(5.into())), (&["page_size"], Edit::Put(0.into()))];
        assert!(change_file(folder.path(), &path, &both, false).is_err());
        assert_eq!(text(), before);
        let look = change_file(folder.path(), &path, &[(&["page_size"], Edit::Put(30.into()))], true).unwrap();
        assert!(look == Written::WouldChange && text() == before);
        assert_eq!(change(&["delta", "mode"], Edit::Take).unwrap(), Written::Changed);
        assert!(!text().contains("mode"));
        assert_eq!(change(&["delta", "mode"], Edit::Take).unwrap(), Written::Unchanged);
        assert_eq!(change(&["z", "b"], Edit::Take).unwrap(), Written::Unchanged);
    }

    #[test]
    fn the_main_file_is_held_against_its_own_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MAIN_FILE);
        fs::write(&path, "version = 1\n").unwrap();
        assert!(set_key(folder.path(), &path, "guard", "staging", true).unwrap());
        for (key, wrong) in [("stagin", true.into()), ("shrink_percent", Value::from(101))] {
            assert!(set_key(folder.path(), &path, "guard", key, wrong).is_err(), "{key}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "version = 1\n\n[guard]\nstaging = true\n");
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        const EACH: i64 = 20;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MAIN_FILE);
        fs::write(&path, "version = 1\n").unwrap();
        let keys = [("guard", "max_deletes"), ("guard", "shrink_percent"), ("limits", "history_days"), ("alerts", "remind_hours")];
        let (folder, path) = (folder.path(), &path);
        std::thread::scope(|scope| {
            for (table, key) in keys {
                scope.spawn(move || {
                    for number in 1..=EACH {
                        // What this one wrote the last time is still there: nobody wrote over it.
                        assert!(set_key(folder, path, table, key, number).unwrap());
                        let table_now: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
                        assert_eq!(table_now[table][key].as_integer(), Some(number), "{table}.{key}");
                    }
                });
            }
        });
        let after: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
        assert!(keys.iter().all(|(table, key)| after[*table][*key].as_integer() == Some(EACH)), "{after:?}");
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn lists_are_changed_where_they_lie() {
        let text = |list: &str| format!("{AD}[selection]\ninclude = {list}\n");
        let (folder, path) = with_file(&text("[\n  \"OU=a\", # mine\n  \"OU=b\",\n]"));
        let between = |before: &[&str], after: &[&str]| {
            let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let edit = ListEdit::of_what_is_read(&texts(before), &texts(after));
            change_file(folder.path(), &path, &[(&["selection", "include"], Edit::List(edit))], false)
        };
        // OU=b came after these two decided; it stays.
        assert_eq!(between(&["OU=a"], &["OU=a", "OU=c"]).unwrap(), Written::Changed);
        assert_eq!(fs::read_to_string(&path).unwrap(), text("[\n  \"OU=a\", # mine\n  \"OU=b\",\n  \"OU=c\",\n]"));
        assert_eq!(between(&["OU=a", "OU=d"], &["OU=a", "OU=C"]).unwrap(), Written::Unchanged);
        assert_eq!(between(&["OU=a", "ou=B", "OU=c"], &["OU=c"]).unwrap(), Written::Changed);
        // Two that each leave one out would leave none, which means all: the second one is told.
        let error = between(&["OU=b", "OU=c"], &["OU=b"]).unwrap_err();
        assert!(error.message.contains("changed meanwhile"), "{}", error.message);
        assert_eq!(between(&["OU=c"], &[]).unwrap(), Written::Changed);
        assert!(!fs::read_to_string(&path).unwrap().contains("include"));
    }

    #[test]
    fn a_list_without_which_others_count_begins_with_these() {
        let (folder, path) = with_file(AD);
        let text = || fs::read_to_string(&path).unwrap();
        let defaults = ["user", "group", "contact"].map(str::to_owned);
        let without = |gone: &str| defaults.iter().filter(|text| *text != gone).cloned().collect::<Vec<_>>();
        let change = |before: &[String], after: &[String]| {
            let edit = ListEdit::of_defaults(&defaults, before, after);
            change_file(folder.path(), &path, &[(&["selection", "object_types"], Edit::List(edit))], false)
        };
        // Two decide at the same time, neither of them seeing the other one's list: both choices count.
        assert_eq!(change(&defaults, &without("contact")).unwrap(), Written::Changed);
        assert_eq!(change(&defaults, &without("group")).unwrap(), Written::Changed);
        assert!(text().contains("object_types = [\"user\"]"), "{}", text());
        assert!(change(&defaults, &without("user")).unwrap_err().message.contains("nothing would be left"));
        assert_eq!(change(&without("contact"), &defaults).unwrap(), Written::Changed);
        assert_eq!(change(&without("group"), &defaults).unwrap(), Written::Changed);
        assert!(!text().contains("object_types"), "{}", text());
    }

    #[test]
    fn owner_mode_and_links_stay() {
        use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
        let folder = tempfile::tempdir().unwrap();
        let shared = tempfile::tempdir().unwrap();
        let (real, link) = (shared.path().join("real.toml"), folder.path().join("c.toml"));
        fs::write(&real, AD).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        // Only root may give files away; everybody else keeps what is their own.
        let root = fs::metadata(&real).unwrap().uid() == 0;
        if root {
            chown(&real, Some(12_345), Some(23_456)).unwrap();
        }
        let before = fs::metadata(&real).unwrap();
        assert!(set_key(folder.path(), &link, "password_hash_sync", "enabled", true).unwrap());
        let after = fs::metadata(&real).unwrap();
        assert_eq!((after.uid(), after.gid(), after.mode() & 0o7777), (before.uid(), before.gid(), 0o640));
        assert_eq!(root, after.uid() == 12_345);
        assert_eq!(fs::read_link(&link).unwrap(), real);
        assert!(fs::read_to_string(&real).unwrap().contains("enabled = true"));
        assert_eq!(fs::read_dir(shared.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
