//! What became of every part of an export: taken, changed, not taken, failed; with file and line.

use super::model::Place;
use serde::Serialize;
use std::collections::HashMap;

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It should have been taken and could not be: somebody has to look at it.
    Failed,
    /// It is not taken, and the note says why.
    NotTaken,
    /// It is taken in another form.
    Changed,
    /// It is taken as it is.
    Taken,
}

impl Outcome {
    /// Every outcome, what matters most first.
    pub const ALL: [Self; 4] = [Self::Failed, Self::NotTaken, Self::Changed, Self::Taken];

    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::NotTaken => "not taken",
            Self::Changed => "changed",
            Self::Taken => "taken",
        }
    }
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportLine {
    /// What became of it.
    pub outcome: Outcome,
    /// What it is: `rule "In from AD - User Join"`, `partition DC=corp,DC=example`.
    pub subject: String,
    /// Why, or what it became.
    pub note: String,
    /// The file, as it is named in the export.
    pub file: String,
    /// 1-based line; 0 when it belongs to no line.
    pub line: usize,
    /// 1-based column as [`Place::column`]; 0 when the line says enough.
    pub column: usize,
    /// How often the same was found; file and line are those of the first.
    pub count: u64,
    /// Syncline had never heard of it.
    pub unknown: bool,
}

impl ReportLine {
    /// File, line and column as one text.
    pub fn place(&self) -> String {
        Place { file: self.file.as_str().into(), line: self.line, column: self.column }.to_string()
    }
}

/// The most different lines that a report keeps; the rest is counted.
const LINES_MAX: usize = 20_000;

/// What became of every part of an export.
#[derive(Clone, Debug, Default)]
pub struct Report {
    lines: Vec<ReportLine>,
    /// Lines of which equal ones are counted, by outcome, subject and note.
    counted: HashMap<(Outcome, String, String), usize>,
    /// How many parts had each outcome, in the order of [`Outcome::ALL`].
    counts: [u64; 4],
    left_out: u64,
}

impl Report {
    /// The lines: what matters most first, then in the order in which they were found.
    pub fn lines(&self) -> Vec<ReportLine> {
        let mut lines = self.lines.clone();
        lines.sort_by_key(|line| line.outcome);
        lines
    }

    /// How many parts had an outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        Outcome::ALL.iter().zip(self.counts).find(|(known, _)| **known == outcome).map_or(0, |(_, count)| count)
    }

    /// How many parts nobody here had ever heard of.
    pub fn unknown(&self) -> u64 {
        self.lines.iter().filter(|line| line.unknown).map(|line| line.count).sum()
    }

    /// Lines beyond what a report keeps.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Says of a whole file why it was not read: because it is none of an export, or because it could not be.
    pub fn file(&mut self, outcome: Outcome, name: &str, note: impl Into<String>) {
        self.add(outcome, &Place::of_file(name), "file", note);
    }

    /// Adds a line.
    pub(super) fn add(&mut self, outcome: Outcome, place: &Place, subject: impl Into<String>, note: impl Into<String>) {
        self.push(outcome, place, subject.into(), note.into(), false);
    }

    /// Adds a line, or counts it where the same was said before.
    pub(super) fn counted(&mut self, outcome: Outcome, place: &Place, subject: impl Into<String>, note: impl Into<String>) {
        self.count_or_push(outcome, place, subject.into(), note.into(), false);
    }

    /// Something that nobody here ever heard of.
    pub(super) fn unknown_part(&mut self, place: &Place, subject: impl Into<String>) {
        self.count_or_push(Outcome::NotTaken, place, subject.into(), "not known to Syncline".to_owned(), true);
    }

    fn count_or_push(&mut self, outcome: Outcome, place: &Place, subject: String, note: String, unknown: bool) {
        let key = (outcome, subject, note);
        if let Some(line) = self.counted.get(&key).and_then(|index| self.lines.get_mut(*index)) {
            line.count += 1;
            self.note(outcome);
            return;
        }
        let (outcome, subject, note) = key.clone();
        if self.push(outcome, place, subject, note, unknown) {
            self.counted.insert(key, self.lines.len() - 1);
        }
    }

    fn push(&mut self, outcome: Outcome, place: &Place, subject: String, note: String, unknown: bool) -> bool {
        self.note(outcome);
        if self.lines.len() >= LINES_MAX {
            self.left_out += 1;
            return false;
        }
        let (file, line, column) = (place.file.to_string(), place.line, place.column);
        self.lines.push(ReportLine { outcome, subject, note, file, line, column, count: 1, unknown });
        true
    }

    fn note(&mut self, outcome: Outcome) {
        if let Some((_, count)) = Outcome::ALL.iter().zip(&mut self.counts).find(|(known, _)| **known == outcome) {
            *count += 1;
        }
    }
}
