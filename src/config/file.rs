//! Reads one TOML file into a typed table, and turns what the parser says into a problem with a place.

use super::address::mask_addresses;
use super::error::ConfigProblem;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;

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
    let place = toml::de::DeTable::parse(&text).ok().and_then(|table| {
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
    let end = floor_boundary(text, span.end).max(start);
    let before = &text[..start];
    let line = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before[line_start..].chars().count() + 1;
    let line_text = text[line_start..].lines().next().unwrap_or_default();
    let marked = text[start..end].lines().next().map_or(0, |marked| marked.chars().count()).max(1);
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    // What stands behind the key of a secret, or behind the host of an address, may be the secret itself.
    let masked = |text: &str| mask_addresses(text, str::to_owned);
    let excerpt = (!secret_line(line_text) && masked(line_text) == line_text)
        .then(|| format!("  {number} | {line_text}\n  {margin} | {}{}", " ".repeat(column - 1), "^".repeat(marked)));
    ConfigProblem { file: shown(folder, path).into(), place: Some((line, column)), message: masked(&message.into()), hint: None, excerpt }
}

/// A text that is no TOML, with the place where it ends to be so. What the parser shows of the text may be a secret.
pub(crate) fn no_toml(folder: &Path, path: &Path, text: &str, (message, span): (&str, Option<Range<usize>>)) -> ConfigProblem {
    problem_at(folder, path, text, span.unwrap_or(0..0), format!("is no TOML: {message}"))
}

fn secret_line(line: &str) -> bool {
    let key = line.split('=').next().unwrap_or_default().to_ascii_lowercase();
    ["pass", "pwd", "secret", "key", "token", "cred"].iter().any(|word| key.contains(word))
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
            (problem.place, problem.excerpt) = (None, None);
        }
        return problem;
    }
    let message = message.lines().next().unwrap_or("not understood");
    match message.rsplit_once(", expected ").and_then(|(found, expected)| Some((found, in_words(expected)?))) {
        Some((found, wanted)) => problem_at(folder, path, text, span, found).hint(wanted),
        None => problem_at(folder, path, text, span, message),
    }
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
    fn a_place_counts_characters() {
        let text = "a = 1\nname = \"Łódź\" x";
        let problem = problem_at(Path::new("/f"), Path::new("/f/a.toml"), text, text.len() - 1..text.len(), "bad");
        assert_eq!(problem.place, Some((2, 15)));
        assert_eq!(problem.file, Path::new("a.toml"));
    }
}
