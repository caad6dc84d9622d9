//! Reads one TOML file into a typed table, and turns what the parser says into a problem with a place.

use super::address::mask_addresses;
use super::error::ConfigProblem;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// Configuration is written by hand; a file beyond this is something else.
const LARGEST_FILE: u64 = 4 << 20;

/// The text of a file.
pub(super) fn read_text(path: &Path) -> Result<String, ConfigProblem> {
    let size = std::fs::metadata(path).map_err(|error| unread(path, &error))?.len();
    if size > LARGEST_FILE {
        return Err(ConfigProblem::of_file(path, format!("has {size} octets; a configuration file has {LARGEST_FILE} at most")));
    }
    std::fs::read_to_string(path).map_err(|error| unread(path, &error))
}

/// The text of a rule file, wherever it lies.
///
/// # Errors
/// A file that cannot be read, or that is too large to be one.
pub fn read_rule_file(path: &Path) -> Result<String, ConfigProblem> {
    read_text(path)
}

/// A file that is named or listed and cannot be read, with what to do.
fn unread(path: &Path, error: &std::io::Error) -> ConfigProblem {
    let problem = ConfigProblem::of_file(path, format!("cannot be read: {error}"));
    match (std::fs::read_link(path), error.kind()) {
        (Ok(target), ErrorKind::NotFound) => {
            problem.hint(format!("it is a link to {}: put that file back, or remove the link", target.display()))
        }
        (_, ErrorKind::PermissionDenied) => problem.hint("let the account that runs syncline read it, and the folders above it"),
        _ => problem,
    }
}

/// A problem of what a key says, in a file that was read before: with the place of the value, where the file still has it. The key of a
/// table within is written with a dot.
pub(crate) fn problem_of_key(folder: &Path, path: &Path, key: &str, message: impl Into<String>) -> ConfigProblem {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let place = DeTable::parse(&text).ok().and_then(|table| {
        let (outer, inner) = key.split_once('.').map_or((key, None), |(outer, inner)| (outer, Some(inner)));
        let value = table.get_ref().get(outer)?;
        inner.map_or_else(|| Some(value.span()), |inner| value.get_ref().get(inner).map(toml::Spanned::span))
    });
    match place {
        Some(span) => problem_at(folder, path, &text, span, message),
        None => ConfigProblem::of_file(Path::new(&shown(folder, path)), message),
    }
}

/// A file's name as messages show it: relative to the configuration folder.
pub(super) fn shown(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

/// A typed table from the text of a file.
pub(super) fn parse<T: DeserializeOwned>(folder: &Path, path: &Path, text: &str) -> Result<T, ConfigProblem> {
    toml::from_str(text).map_err(|error| problem_of(folder, path, text, &error))
}

/// A problem at a range of octets of the text.
pub(super) fn problem_at(folder: &Path, path: &Path, text: &str, span: Range<usize>, message: impl Into<String>) -> ConfigProblem {
    let start = floor_boundary(text, span.start);
    let before = &text[..start];
    let line = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before[line_start..].chars().count() + 1;
    // The line itself is not shown: under a misspelt key, or behind a quotation mark too few, it may hold a secret.
    let message = mask_addresses(&message.into(), str::to_owned);
    ConfigProblem { file: shown(folder, path).into(), place: Some((line, column)), message, hint: None }
}

/// A text that is no TOML, with the place where it ends to be so. What the parser shows of the text may be a secret.
pub(crate) fn no_toml(folder: &Path, path: &Path, text: &str, (message, span): (&str, Option<Range<usize>>)) -> ConfigProblem {
    problem_at(folder, path, text, span.unwrap_or(0..0), format!("is no TOML: {message}"))
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

pub(super) fn problem_of(folder: &Path, path: &Path, text: &str, error: &toml::de::Error) -> ConfigProblem {
    let message = error.message();
    let span = error.span().unwrap_or(0..0);
    if let Some((key, known)) = unknown_field(message) {
        let problem = problem_at(folder, path, text, span, format!("unknown key `{key}`"));
        let hint = closest(&key, &known)
            .map_or_else(|| format!("keys known here: {}", known.join(", ")), |meant| format!("did you mean `{meant}`?"));
        return problem.hint(hint);
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let mut quoted = rest.split('`');
        let given = quoted.next().unwrap_or_default().to_owned();
        let known: Vec<String> = quoted.skip(1).step_by(2).map(str::to_owned).collect();
        let hint =
            closest(&given, &known).map_or_else(|| format!("one of {}", known.join(", ")), |meant| format!("did you mean `{meant}`?"));
        return problem_at(folder, path, text, span, format!("unknown value `{given}`")).hint(hint);
    }
    if let Some(rest) = message.strip_prefix("missing field `") {
        let key = rest.trim_end_matches('`');
        let hint = "docs/reference/config.md explains every key";
        let mut problem = problem_at(folder, path, text, span.clone(), format!("missing key `{key}`")).hint(hint);
        if span.start == 0 {
            // Missing from the file as a whole: there is no line to point to.
            problem.place = None;
        }
        return problem;
    }
    let message = message.lines().next().unwrap_or("not understood");
    let key = key_at(text, span.start).map(|key| format!("`{key}`: ")).unwrap_or_default();
    // Only syntax and types: what stands there instead may be a secret that stands in the wrong place.
    let Some(found) = ["invalid type: ", "invalid value: "].into_iter().find(|found| message.starts_with(found)) else {
        return problem_at(folder, path, text, span, format!("{key}{message}"));
    };
    let (given, expected) = message.rsplit_once(", expected ").unwrap_or((message, ""));
    let given = given[found.len()..].split(['"', '`']).next().unwrap_or_default().trim_end();
    let problem = problem_at(folder, path, text, span, format!("{key}{found}{given}"));
    match in_words(expected) {
        Some(wanted) => problem.hint(wanted),
        None if expected.is_empty() => problem,
        None => problem.hint(format!("write {expected}")),
    }
}

/// The key, with the tables that it is in, whose value an octet of the text belongs to.
fn key_at(text: &str, at: usize) -> Option<String> {
    fn within(value: &toml::Spanned<DeValue<'_>>, at: usize) -> Option<String> {
        let here = value.span().contains(&at).then(String::new);
        match value.get_ref() {
            DeValue::Table(table) => of_table(table, at).or(here),
            DeValue::Array(items) => items.iter().find_map(|item| within(item, at)).or(here),
            _ => here,
        }
    }
    fn of_table(table: &DeTable<'_>, at: usize) -> Option<String> {
        table.iter().find_map(|(key, value)| {
            let inner = within(value, at)?;
            let key = key.get_ref();
            Some(if inner.is_empty() { key.to_string() } else { format!("{key}.{inner}") })
        })
    }
    of_table(DeTable::parse(text).ok()?.get_ref(), at)
}

/// What a parser expects, for people.
fn in_words(expected: &str) -> Option<&'static str> {
    Some(match expected {
        "u64" | "u32" | "u16" | "usize" => "write a whole number of 0 or more",
        "i64" | "i32" => "write a whole number",
        "a boolean" => "write true or false",
        "a string" | "a borrowed string" | "path string" => "write text in quotation marks",
        "a sequence" => "write a list in brackets: [\"…\", \"…\"]",
        _ if expected.starts_with("struct ") => "write a table with keys",
        _ => return None,
    })
}

/// The key and the known keys of serde's "unknown field" message.
fn unknown_field(message: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let mut quoted = rest.split('`');
    let key = quoted.next()?.to_owned();
    Some((key, quoted.skip(1).step_by(2).map(str::to_owned).collect()))
}

/// The known word nearest to a given one, if any is near enough to be a slip.
pub(crate) fn closest<'a>(given: &str, known: &'a [String]) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    known
        .iter()
        .map(|word| (distance(&given, &word.to_ascii_lowercase()), word.as_str()))
        .filter(|(distance, word)| *distance <= 1 + word.len().min(given.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Edits that turn one word into the other; a pair of neighbours that changed places counts once.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().take(64).collect(), right.chars().take(64).collect());
    let width = right.len() + 1;
    let mut table = vec![0; (left.len() + 1) * width];
    for (column, cell) in table.iter_mut().take(width).enumerate() {
        *cell = column;
    }
    for row in 1..=left.len() {
        table[row * width] = row;
        for column in 1..width {
            let same = left[row - 1] == right[column - 1];
            let mut best = (table[(row - 1) * width + column] + 1)
                .min(table[row * width + column - 1] + 1)
                .min(table[(row - 1) * width + column - 1] + usize::from(!same));
            if row > 1 && column > 1 && left[row - 1] == right[column - 2] && left[row - 2] == right[column - 1] {
                best = best.min(table[(row - 2) * width + column - 2] + 1);
            }
            table[row * width + column] = best;
        }
    }
    table[left.len() * width + right.len()]
}

/// The keys a table knows, as its own refusal of an unknown one lists them.
#[cfg(test)]
pub(super) fn known_keys<T: DeserializeOwned>() -> Vec<String> {
    let error = toml::from_str::<T>("a-key-that-nobody-knows = 1").err().expect("unknown keys are errors");
    unknown_field(error.message()).map(|(_, known)| known).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["bind_name".to_owned(), "base".to_owned(), "url".to_owned()];
        assert_eq!(closest("bindname", &known), Some("bind_name"));
        assert_eq!(closest("bsae", &known), Some("base"));
        assert_eq!(closest("certificate", &known), None);
    }

    #[test]
    fn no_message_shows_what_stands_in_a_file() {
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Known {
            password: Option<super::super::CredentialReference>,
            count: u32,
            inner: Option<Box<Known>>,
            list: Vec<u32>,
        }
        let sound: Known = parse(Path::new("/f"), Path::new("/f/a.toml"), "count = 2\nlist = [1]\n[inner]\n").unwrap();
        assert_eq!((sound.count, sound.list, sound.password.is_none(), sound.inner.is_some()), (2, vec![1], true, true));
        let told = |text: &str| parse::<Known>(Path::new("/f"), Path::new("/f/a.toml"), text).unwrap_err().to_string();
        for (text, start) in [
            ("pasword = \"HidePlain14\"", "a.toml:1:1: unknown key `pasword` (did you mean `password`?)"),
            ("bindpw = \"HidePlain14\"", "a.toml:1:1: unknown key `bindpw` (keys known here:"),
            ("list = [1]\ninner = { kennwort = \"HidePlain14\" }", "a.toml:2:11: unknown key `kennwort`"),
            ("password = { credential = \"a\", psw = \"HidePlain14\" }", "a.toml:1:"),
            ("password = \"HidePlain14\"", "a.toml:1:12: `password`: a secret is never written here"),
            ("count = \"HidePlain14\"", "a.toml:1:9: `count`: invalid type: string (write a whole number of 0 or more)"),
            ("[inner]\ncount = \"HidePlain14\"", "a.toml:2:9: `inner.count`: invalid type: string"),
            ("list = [1, \"HidePlain14\"]", "a.toml:1:12: `list`: invalid type: string"),
            ("inner = \"HidePlain14\"", "a.toml:1:9: `inner`: invalid type: string (write a table with keys)"),
            ("pasword = \"HidePlain14", "a.toml:1:"),
            ("pasword = HidePlain14", "a.toml:1:"),
            ("HidePlain14", "a.toml:1:"),
            ("count = 1\ncount = \"HidePlain14\"", "a.toml:2:"),
        ] {
            let told = told(text);
            assert!(told.starts_with(start) && !told.contains("HidePlain14"), "{text}: {told}");
        }
    }

    #[test]
    fn a_place_counts_characters() {
        let text = "a = 1\nname = \"Łódź\" x";
        let problem = problem_at(Path::new("/f"), Path::new("/f/a.toml"), text, text.len() - 1..text.len(), "bad");
        assert_eq!(problem.place, Some((2, 15)));
        assert_eq!(problem.file, Path::new("a.toml"));
    }
}
