//! Commands that hints propose: whole, with the options of this call, and quoted, so that they can be pasted.

use crate::model::quoted;
use std::cell::RefCell;
use std::path::Path;

thread_local! {
    /// What stands before every proposed command: the program, and the options that this call was given. One thread does
    /// one call of a command; a running service does several at once.
    static BEGINNING: RefCell<String> = RefCell::new("syncline".to_owned());
}

/// The configuration folder that needs no option.
pub(crate) const DEFAULT_FOLDER: &str = "syncline";

/// Remembers the options of the call that this thread does.
pub(crate) fn remember(config: &Path, store: Option<&Path>) {
    BEGINNING.set(beginning(config, store));
}

/// A command with the options of this call.
pub(crate) fn call(words: &[&str]) -> String {
    BEGINNING.with_borrow(|beginning| joined(beginning, words))
}

/// A command with another configuration folder than this call has.
pub(crate) fn call_in(folder: &Path, words: &[&str]) -> String {
    joined(&beginning(folder, None), words)
}

/// A message that proposes commands in backticks, with the options of this call in each of them that has none yet.
pub(crate) fn completed(message: &str) -> String {
    BEGINNING.with_borrow(|beginning| completed_by(beginning, message))
}

fn completed_by(beginning: &str, message: &str) -> String {
    let mut parts = message.split("`syncline ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    let options = beginning.strip_prefix("syncline").unwrap_or_default().trim_start();
    for part in parts {
        // The demonstration has a folder of its own, and takes none of these options.
        let demonstration = part.strip_prefix("demo").is_some_and(|rest| rest.starts_with(['`', ' ']));
        let complete = options.is_empty() || demonstration || part.starts_with(&format!("{options} "));
        text.push('`');
        text.push_str(if complete { "syncline" } else { beginning });
        text.push(' ');
        text.push_str(part);
    }
    text
}

/// A proposed command, with the options of this call.
pub(crate) fn shown(command: &str) -> String {
    let rest = command.strip_prefix("syncline ").unwrap_or(command);
    BEGINNING.with_borrow(|beginning| format!("{beginning} {rest}"))
}

fn beginning(config: &Path, store: Option<&Path>) -> String {
    let mut text = "syncline".to_owned();
    if config != Path::new(DEFAULT_FOLDER) {
        text.push_str(" --config ");
        text.push_str(&quoted(&config.display().to_string()));
    }
    if let Some(store) = store {
        text.push_str(" --store ");
        text.push_str(&quoted(&store.display().to_string()));
    }
    text
}

fn joined(beginning: &str, words: &[&str]) -> String {
    let words = words.iter().map(|word| quoted(word));
    std::iter::once(beginning.to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_into_proposals_once() {
        let beginning = "syncline --config corp";
        let once = completed_by(beginning, "look at `syncline errors` and `syncline run list`; syncline itself stays");
        assert_eq!(once, "look at `syncline --config corp errors` and `syncline --config corp run list`; syncline itself stays");
        assert_eq!(completed_by(beginning, &once), once);
        assert_eq!(completed_by("syncline", "`syncline errors`"), "`syncline errors`");
        assert_eq!(completed_by(beginning, "`syncline demo` or `syncline demo --dir DIR`"), "`syncline demo` or `syncline demo --dir DIR`");
    }

    #[test]
    fn a_shell_reads_what_was_meant() {
        assert_eq!(["a.b-c", "", "two words", "it's"].map(quoted), ["a.b-c", "''", "'two words'", "'it'\\''s'"]);
        assert_eq!(call_in(Path::new("my corp"), &["run", "show", "1"]), "syncline --config 'my corp' run show 1");
        assert_eq!(call_in(Path::new(DEFAULT_FOLDER), &["errors"]), "syncline errors");
        assert_eq!(beginning(Path::new("corp"), Some(Path::new("s.redb"))), "syncline --config corp --store s.redb");
    }
}
