//! Where commands write to: data to standard output, everything else to standard error.

use super::calls::completed;
use super::console::{Console, Standard};
use super::error::{CommandError, Exit};
pub(crate) use crate::model::{octets, thousands};
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

    /// Prints text behind a beginning. On a terminal it breaks at blanks, further lines below the first; elsewhere it is one line.
    pub(crate) fn paragraph(&self, beginning: &str, text: &str) {
        let width = self.console.width().map_or(usize::MAX, usize::from);
        for line in wrapped(beginning, &told(text), width) {
            self.line(line);
        }
    }

    /// Prints cells behind a beginning: on a terminal as many in a line as fit, elsewhere all in one.
    pub(crate) fn cells(&self, beginning: &str, cells: &[&str]) {
        let width = self.console.width().map_or(usize::MAX, usize::from);
        for line in filled(beginning, &cells.iter().map(clean).collect::<Vec<_>>(), width) {
            self.line(line);
        }
    }

    /// Prints a table, as wide as the terminal allows.
    pub(crate) fn table(&self, table: Table) {
        self.line(table.laid_out(self.console.width()));
    }

    /// Why results could not be written, if so. For the end of the command.
    pub(crate) fn unwritten(&self) -> Option<CommandError> {
        let error = self.console.failure()?;
        Some(
            CommandError::new("output", Exit::Stopped, format!("the result could not be written to standard output: {error}"))
                .hint("where it goes to a file, `df -h .` says whether there is room"),
        )
    }

    /// Prints the one document.
    pub(crate) fn document<T: Serialize>(&self, value: &T) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(text),
            Err(error) => self.note(format!("the result cannot be written as JSON: {error}")),
        }
    }

    /// Tells people something that is no result. On a terminal it breaks at blanks; commands stay whole.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        match self.console.width() {
            Some(width) => {
                let lines: Vec<String> = text.split('\n').flat_map(|line| noted(line, width.into())).collect();
                self.console.note(&format!("{}\n", lines.join("\n")));
            }
            None => self.console.note(&format!("{text}\n")),
        }
    }

    /// As [`Self::note`], with a beginning that further lines stand behind.
    pub(crate) fn note_behind(&self, beginning: &str, text: &str) {
        let width = self.console.width().map_or(usize::MAX, usize::from);
        self.console.note(&format!("{}\n", wrapped(beginning, text, width).join("\n")));
    }

    /// Prints a line of a list, whose further lines on a terminal stand a little to the right.
    pub(crate) fn entry(&self, text: &str) {
        let width = self.console.width().map_or(usize::MAX, usize::from);
        for line in broken("", BELOW.len(), &told(text), width) {
            self.line(line);
        }
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
    header: Vec<String>,
    /// Columns of numbers, which stand to the right.
    numbers: Vec<bool>,
    /// Cells below their row say what they are: without it only numbers do.
    named: bool,
    rows: Vec<Vec<String>>,
}

/// A table for people; columns named in `right` are numbers.
pub(crate) fn table<const N: usize>(header: [&str; N], right: &[&str], rows: impl IntoIterator<Item = [String; N]>) -> Table {
    Table {
        numbers: header.iter().map(|name| right.contains(name)).collect(),
        named: false,
        header: header.map(str::to_owned).to_vec(),
        rows: rows.into_iter().map(|row| row.map(clean).to_vec()).collect(),
    }
}

impl Table {
    /// The same table, whose cells below their row all begin with the names of their columns: for columns that look alike.
    #[must_use]
    pub(crate) fn named_below(self) -> Self {
        Self { named: true, ..self }
    }

    /// The same table without columns that have nothing in any row.
    #[must_use]
    pub(crate) fn without_empty(self) -> Self {
        let filled: Vec<bool> = (0..self.header.len()).map(|column| self.rows.iter().any(|row| !row[column].is_empty())).collect();
        let mut kept = filled.iter().copied().cycle();
        let mut keep = || kept.next().unwrap_or(true);
        let Self { mut header, mut numbers, named, mut rows } = self;
        header.retain(|_| keep());
        numbers.retain(|_| keep());
        for row in &mut rows {
            row.retain(|_| keep());
        }
        Self { header, numbers, named, rows }
    }

    /// Lines break at blanks only, or names could be neither read nor copied. Where that does not fit or squeezes, the last columns stand
    /// below the others, row by row; of a table with two columns the terminal breaks the second one.
    pub(crate) fn laid_out(self, width: Option<u16>) -> String {
        let all = self.header.len();
        let whole = self.widest(shown_width);
        let longest_word = |cell: &str| cell.split(' ').map(shown_width).max().unwrap_or(0);
        let least = self.widest(|cell| longest_word(cell).max(shown_width(cell).min(READABLE)));
        let room = |widths: &[u16], columns: usize| widths.iter().take(columns).fold(0_u16, |sum, width| sum.saturating_add(*width));
        let beside = match width {
            Some(width) if all > 2 && room(&least, all) > width => {
                let most = |widths: &[u16], from: usize| (from..all).rev().find(|columns| room(widths, *columns) <= width);
                most(&whole, 2).or_else(|| most(&least, 1)).unwrap_or(1)
            }
            _ => all,
        };
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        grid.set_header(self.header.iter().take(beside)).add_rows(self.rows.iter().map(|row| row.iter().take(beside)));
        let dynamic = width.filter(|width| room(&least, beside) <= *width);
        if let Some(width) = dynamic {
            grid.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
        }
        for (column, (least, number)) in grid.column_iter_mut().zip(least.iter().zip(&self.numbers)) {
            if dynamic.is_some() {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*least)));
            }
            if *number {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        match width.filter(|_| beside < all) {
            None => grid.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n"),
            Some(width) => self.with_rest_below(grid, beside, width),
        }
    }

    /// The grid of the first columns with the cells of the others below each row.
    fn with_rest_below(&self, mut grid: Grid, beside: usize, width: u16) -> String {
        grid.style_mut().header_separator.fill = Some(SEPARATOR);
        grid.style_mut().row_separator.fill = Some(SEPARATOR);
        let rest = |row: &[String], named: bool| {
            let cells = row.iter().enumerate().skip(beside).filter(|(_, cell)| !cell.is_empty());
            let told = cells.map(|(index, cell)| {
                match (named && (self.named || self.numbers.get(index) == Some(&true)), self.header.get(index)) {
                    (true, Some(name)) if !name.is_empty() => format!("{name} {cell}"),
                    _ => cell.clone(),
                }
            });
            filled(BELOW, &told.collect::<Vec<_>>(), width.into())
        };
        let heading = if self.named { Vec::new() } else { rest(&self.header, false) };
        let mut below = std::iter::once(heading).chain(self.rows.iter().map(|row| rest(row, true)));
        let mut lines = Vec::new();
        for line in grid.lines() {
            if line.starts_with(SEPARATOR) {
                lines.extend(below.next().unwrap_or_default());
            } else {
                lines.push(line.trim_end().to_owned());
            }
        }
        lines.extend(below.next().unwrap_or_default());
        lines.join("\n")
    }

    /// The greatest width of each column, with its blanks, where a cell has that of a function.
    fn widest(&self, width: impl Fn(&str) -> usize) -> Vec<u16> {
        let column = |index: usize| std::iter::once(&self.header).chain(&self.rows).filter_map(move |row| row.get(index));
        let widest = |index: usize| column(index).map(|cell| width(cell)).max().unwrap_or(0);
        (0..self.header.len()).map(|index| u16::try_from(widest(index)).unwrap_or(u16::MAX).saturating_add(PADDING)).collect()
    }
}

/// Blanks around the cells of a column.
const PADDING: u16 = 2;

/// Narrower columns of text are hard to read.
const READABLE: usize = 24;

/// Stands before cells below their row.
const BELOW: &str = "      ";

/// Tells rows of a grid from each other; no cell holds it.
const SEPARATOR: char = '\u{1}';

/// A line of a note. A command that stands there without backticks goes on to the end of the line, and is not broken.
fn noted(line: &str, width: usize) -> Vec<String> {
    let bare = line.match_indices("syncline ").any(|(at, _)| !line.get(..at).is_some_and(|before| before.ends_with('`')));
    if bare || shown_width(line) <= width {
        return vec![line.to_owned()];
    }
    let text = line.trim_start_matches(' ');
    let indent = line.len() - text.len();
    let labelled = ["error: ", "hint: ", "warning: "].iter().any(|label| text.starts_with(label));
    broken(&" ".repeat(indent), if labelled { indent + 2 } else { indent }, text, width)
}

/// Text behind a beginning, broken at blanks, its further lines below its first. Commands in backticks stay whole, so that they
/// can be pasted.
pub(crate) fn wrapped(beginning: &str, text: &str, width: usize) -> Vec<String> {
    broken(beginning, shown_width(beginning), text, width)
}

/// Text behind a beginning, broken at blanks, its further lines so far to the right.
fn broken(beginning: &str, indent: usize, text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut end) = (Vec::new(), beginning.to_owned(), shown_width(beginning));
    let mut empty = true;
    for word in words(text) {
        let long = shown_width(word);
        if !empty && end + 1 + long > width {
            lines.push(line.trim_end().to_owned());
            (line, end, empty) = (" ".repeat(indent), indent, true);
        }
        if !empty {
            line.push(' ');
            end += 1;
        }
        line.push_str(word);
        end += long;
        empty = false;
    }
    lines.push(line.trim_end().to_owned());
    lines
}

/// Cells behind a beginning, as many in a line as fit. A cell that is wider than a line is broken as [`wrapped`] does it.
fn filled<T: AsRef<str>>(beginning: &str, cells: &[T], width: usize) -> Vec<String> {
    let indent = " ".repeat(shown_width(beginning));
    let mut lines: Vec<String> = Vec::new();
    for cell in cells.iter().map(AsRef::as_ref).filter(|cell| !cell.is_empty()) {
        match lines.last_mut() {
            Some(line) if shown_width(line) + 2 + shown_width(cell) <= width => {
                line.push_str("  ");
                line.push_str(cell);
            }
            Some(_) => lines.extend(wrapped(&indent, cell, width)),
            None => lines = wrapped(beginning, cell, width),
        }
    }
    lines
}

/// The pieces between blanks, whole commands as one piece.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let paired = text.matches('`').count().is_multiple_of(2);
    let mut inside = false;
    text.split(move |character: char| {
        inside ^= paired && character == '`';
        character == ' ' && !inside
    })
}

/// The columns of a terminal that a text takes.
pub(crate) fn shown_width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    let mut grid = Grid::new();
    grid.add_row([text]);
    grid.column_max_content_widths().into_iter().map(usize::from).sum()
}

/// A number with its noun: `1 object`, `2,000 objects`.
pub(crate) fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { several })
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
        assert_eq!([0, 1, 2_000].map(|count| counted(count, "object", "objects")), ["0 objects", "1 object", "2,000 objects"]);
        assert_eq!([0.0123, 2.5, 90.0, 150.0].map(duration), ["12 ms", "2.5 s", "90.0 s", "2.5 min"]);
    }

    #[test]
    fn times_are_short_in_lists() {
        assert_eq!(moment("2026-03-01T08:15:42.123456Z"), "2026-03-01 08:15:42Z");
        assert_eq!(moment("2026-03-01T08:15:42Z"), "2026-03-01 08:15:42Z");
        assert_eq!(moment(""), "");
    }

    /// Rows as `run list` has them.
    fn runs() -> Table {
        let row = |run: &str, profile: &str, result: &str, counted: &str| {
            [run, "corp.example", profile, "2026-11-22 04:28:31Z", "30 ms", result, counted, "7"].map(str::to_owned)
        };
        let rows = [
            row(
                "14",
                "Full Synchronization",
                "completed-sync-errors",
                "connector-delete-remove-mv 15, connector-flow/Entra 164, flow-failure 1",
            ),
            row("3", "Export", "success", ""),
        ];
        table(["run", "connector", "profile", "started", "took", "result", "counted", "steps"], &["run", "took", "steps"], rows)
    }

    #[test]
    fn what_does_not_fit_beside_stands_below() {
        let text = runs().laid_out(Some(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with(" run  connector") && lines[0].ends_with("took") && lines[1] == "      result  counted  steps",
            "{text}"
        );
        // Every word is there, whole and in its order, and numbers say what they count.
        let squeezed = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            squeezed
                .contains("30 ms completed-sync-errors connector-delete-remove-mv 15, connector-flow/Entra 164, flow-failure 1 steps 7")
        );
        assert!(text.ends_with("      success  steps 7"), "{text}");
        assert_eq!(runs().laid_out(None).lines().count(), 3, "whoever reads lines gets a line for each row");
        assert_eq!(runs().laid_out(Some(300)), runs().laid_out(None));
    }

    #[test]
    fn wide_letters_count_twice() {
        let rows = [["王小明".to_owned(), "研究開發部門".to_owned(), "a".repeat(20)]];
        let shown = |width| table(["name", "department", "more"], &[], rows.clone()).laid_out(Some(width));
        assert_eq!(shown(6 + 12 + 20 + 6).lines().count(), 2);
        assert_eq!(shown(6 + 12 + 20 + 5).lines().count(), 4, "{}", shown(43));
    }

    #[test]
    fn commands_are_not_broken() {
        let lines = wrapped("ok  ", "to see them `syncline --config corp errors` helps", 30);
        assert_eq!(lines, ["ok  to see them", "    `syncline --config corp errors`", "    helps"]);
        assert_eq!(wrapped("", "one ` alone is no command", 12), ["one ` alone", "is no", "command"]);
        assert_eq!(wrapped("- ", "", 10), ["-"]);
        assert_eq!(filled("add  ", &["1.1", "CN=x", "", "Ada Byron"], 16), ["add  1.1  CN=x", "     Ada Byron"]);
        assert_eq!(filled("add  ", &["1.1", "CN=x", "Ada Byron"], usize::MAX), ["add  1.1  CN=x  Ada Byron"]);
    }

    #[test]
    fn notes_break_at_blanks_and_commands_do_not() {
        assert_eq!(noted("error: a long sentence that says much", 20), ["error: a long", "  sentence that says", "  much"]);
        assert_eq!(noted("  a sentence of some words", 14), ["  a sentence", "  of some", "  words"]);
        assert_eq!(noted("To see: syncline --config corp errors", 20), ["To see: syncline --config corp errors"]);
        assert_eq!(noted("to see: `syncline errors` helps you", 18), ["to see:", "`syncline errors`", "helps you"]);
        assert_eq!(noted("", 20), [""]);
        let rows = [["a".to_owned(), "b".repeat(10), "run 1".to_owned(), "run 2".to_owned()]];
        let shown = table(["attribute", "value", "sent", "confirmed"], &[], rows).named_below().laid_out(Some(34));
        assert_eq!(shown.lines().count(), 3, "{shown}");
        assert!(shown.ends_with("      confirmed run 2"), "{shown}");
    }

    #[test]
    fn columns_without_anything_are_left_out() {
        let rows = [["a", "1", "", "x"], ["b", "", "", "y"]].map(|row| row.map(str::to_owned));
        let text = table(["name", "count", "problems", "result"], &["count"], rows).without_empty().laid_out(None);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines, [vec!["name", "count", "result"], vec!["a", "1", "x"], vec!["b", "y"]], "{text}");
    }

    #[test]
    fn tables_cannot_steer_a_terminal() {
        let text = table(["name", "count"], &["count"], [["a\u{1b}[2J".to_owned(), "1".to_owned()], ["b".to_owned(), "1000".to_owned()]])
            .laid_out(None);
        assert!(!text.contains('\u{1b}') && text.contains("1000"), "{text}");
    }
}
