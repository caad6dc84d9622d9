//! Where commands write to: data to standard output, everything else to standard error.

use super::calls::completed;
use super::console::{Console, Standard};
use super::error::{CommandError, Exit};
use crate::model::plural;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table as Grid, Width, presets};
use serde::Serialize;
use std::sync::Arc;

/// The way results leave a command.
#[derive(Clone)]
pub(crate) struct Output {
    /// One JSON document instead of text.
    pub json: bool,
    console: Arc<dyn Console>,
}

impl Output {
    /// Results for a console.
    pub(crate) fn new(json: bool, console: Arc<dyn Console>) -> Self {
        Self { json, console }
    }

    /// Results for standard output.
    pub(crate) fn standard(json: bool) -> Self {
        Self::new(json, Arc::new(Standard::default()))
    }

    /// The same place, for people.
    pub(crate) fn for_people(&self) -> Self {
        Self { json: false, console: Arc::clone(&self.console) }
    }

    /// Where progress bars are drawn; `None` where lines fit better.
    pub(crate) fn progress_target(&self) -> Option<indicatif::ProgressDrawTarget> {
        self.console.progress()
    }

    /// Prints a line of a result. A reader that went away is no error; any other failure is told by [`Self::unwritten`].
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        self.console.result(&format!("{}\n", text.as_ref()));
    }

    /// Characters in a line of the terminal that results go to.
    pub(crate) fn width(&self) -> Option<u16> {
        self.console.width()
    }

    /// A piece of a result that was laid out elsewhere.
    pub(crate) fn raw_result(&self, text: &str) {
        self.console.result(text);
    }

    /// A piece of something else that was laid out elsewhere.
    pub(crate) fn raw_note(&self, text: &str) {
        self.console.note(text);
    }

    /// Prints a table, as wide as the terminal allows.
    pub(crate) fn table(&self, table: Table) {
        self.line(table.laid_out(self.console.width()));
    }

    /// Why results could not be written, if so. For the end of the command.
    pub(crate) fn unwritten(&self) -> Option<CommandError> {
        let error = self.console.failure()?;
        Some(CommandError::new("output", Exit::Stopped, format!("the result could not be written to standard output: {error}")))
    }

    /// Prints the one document.
    pub(crate) fn document<T: Serialize>(&self, value: &T) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(text),
            Err(error) => self.note(format!("the result cannot be written as JSON: {error}")),
        }
    }

    /// Tells people something that is no result.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        self.console.note(&format!("{}\n", text.as_ref()));
    }

    /// Prints a result as a document or by a function.
    pub(crate) fn result<T: Serialize>(&self, value: &T, text: impl FnOnce(&T)) {
        if self.json { self.document(value) } else { text(value) }
    }

    /// Prints an error: as a document on standard output with `--json`, else with its hints on standard error.
    pub(crate) fn error(&self, error: &CommandError) {
        let message = completed(&error.message);
        let hints: Vec<String> = error.hints.iter().map(|hint| completed(hint)).collect();
        if self.json {
            #[derive(Serialize)]
            struct Document<'e> {
                error: Body<'e>,
            }
            #[derive(Serialize)]
            struct Body<'e> {
                kind: &'e str,
                message: &'e str,
                hints: &'e [String],
                exit_code: u8,
            }
            let body = Body { kind: error.kind, message: &message, hints: &hints, exit_code: error.exit.code() };
            self.document(&Document { error: body });
        } else {
            self.note(format!("error: {message}"));
            for hint in &hints {
                self.note(format!("hint: {hint}"));
            }
        }
    }
}

/// Rows and columns; how wide they are shown is decided where they are shown.
pub(crate) struct Table {
    grid: Grid,
    /// The longest word of each column, in characters.
    widest: Vec<u16>,
}

/// A table for people; columns named in `right` are numbers.
pub(crate) fn table<const N: usize>(header: [&str; N], right: &[&str], rows: impl IntoIterator<Item = [String; N]>) -> Table {
    let mut grid = Grid::new();
    grid.load_style(presets::NOTHING).set_header(header);
    for (index, name) in header.iter().enumerate() {
        if right.contains(name)
            && let Some(column) = grid.column_mut(index)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut widest = header.map(longest_word);
    for row in rows {
        let row = row.map(clean);
        for (widest, cell) in widest.iter_mut().zip(&row) {
            *widest = (*widest).max(longest_word(cell));
        }
        grid.add_row(row);
    }
    Table { grid, widest: widest.to_vec() }
}

impl Table {
    /// Lines break at blanks only, or names could be neither read nor copied: where that does not fit, the terminal
    /// breaks them.
    pub(crate) fn laid_out(self, width: Option<u16>) -> String {
        let Self { mut grid, widest } = self;
        let least = widest.iter().fold(0_u16, |sum, width| sum.saturating_add(*width).saturating_add(PADDING));
        grid.set_content_arrangement(ContentArrangement::Disabled);
        if let Some(width) = width.filter(|width| least <= *width) {
            grid.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
            for (index, widest) in widest.into_iter().enumerate() {
                if let Some(column) = grid.column_mut(index) {
                    column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(widest.saturating_add(PADDING))));
                }
            }
        }
        let lines: Vec<String> = grid.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

/// Blanks around the cells of a column.
const PADDING: u16 = 2;

/// The width of the longest word, in characters.
fn longest_word(text: &str) -> u16 {
    text.split(' ').map(|word| word.chars().count()).max().and_then(|width| u16::try_from(width).ok()).unwrap_or(u16::MAX)
}

/// What comes from directories is shown without control characters, which could steer the terminal.
pub(crate) fn clean(text: impl AsRef<str>) -> String {
    text.as_ref().chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// A sentence of the program for people: without control characters, and with the options of this call in the commands that it
/// proposes.
pub(crate) fn told(text: impl AsRef<str>) -> String {
    clean(completed(text.as_ref()))
}

/// A number with separators: `12,345`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and what it counts: `1 object`, `12,345 objects`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {}", thousands(number), plural(number, noun))
}

/// A number of octets as people say it.
pub(crate) fn octets(number: u64) -> String {
    let mut whole = number;
    let mut rest = 0;
    for unit in ["octets", "KiB", "MiB"] {
        if whole < 1_024 {
            return if unit == "octets" { format!("{whole} octets") } else { format!("{whole}.{} {unit}", rest * 10 / 1_024) };
        }
        (whole, rest) = (whole / 1_024, whole % 1_024);
    }
    format!("{}.{} GiB", thousands(whole), rest * 10 / 1_024)
}

/// A time for lists: without fractions of a second, UTC.
pub(crate) fn moment(time: &str) -> String {
    match time.split_once('T') {
        Some((day, clock)) => format!("{day} {}Z", clock.split(['.', 'Z', '+']).next().unwrap_or(clock)),
        None => time.to_owned(),
    }
}

/// A duration as people say it.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1_000.0)
    } else if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.1} min", seconds / 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([999, 1_536, 5 << 20, 3 << 30].map(octets), ["999 octets", "1.5 KiB", "5.0 MiB", "3.0 GiB"]);
        assert_eq!([0.0123, 2.5, 90.0, 150.0].map(duration), ["12 ms", "2.5 s", "90.0 s", "2.5 min"]);
    }

    #[test]
    fn times_are_short_in_lists() {
        assert_eq!(moment("2026-03-01T08:15:42.123456Z"), "2026-03-01 08:15:42Z");
        assert_eq!(moment("2026-03-01T08:15:42Z"), "2026-03-01 08:15:42Z");
        assert_eq!(moment(""), "");
    }

    #[test]
    fn tables_cannot_steer_a_terminal() {
        let text = table(["name", "count"], &["count"], [["a\u{1b}[2J".to_owned(), "1".to_owned()], ["b".to_owned(), "1000".to_owned()]])
            .laid_out(None);
        assert!(!text.contains('\u{1b}') && text.contains("1000"), "{text}");
    }
}
