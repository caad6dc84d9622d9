//! Reads LDIF record by record (RFC 2849 section "Formal Syntax Definition of LDIF").

use super::{CLOSED_MARK, END_MARK};
use crate::model::{Dn, ObjectErrorCode};
use base64::Engine as _;
use std::io::BufRead;
use std::ops::Range;

/// Octets that are kept of a line that is too long.
const NAMED_START: usize = 256;
/// Values that are kept of a damaged record, to tell who it may be about; longer ones tell nothing of that.
const KEPT_VALUES: usize = 1_000;
/// Octets of such a value.
const KEPT_OCTETS: usize = 512;
/// What a slip of an editor leaves in front of a `dn:`: blanks of all kinds, a mark of octet order, signs of comments and parts.
const SLIPS: [&[u8]; 6] = [b" ", b"\t", b"#", b"-", b"\xc2\xa0", b"\xef\xbb\xbf"];

/// How much a file may ask for. A damaged or hostile file then costs a record error instead of the memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Octets of one line with its continuation lines.
    pub line: usize,
    /// Octets of all decoded values of one record.
    pub record: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { line: 64 << 20, record: 256 << 20 }
    }
}

/// What a record asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A content record: the entry with all its values.
    Content,
    /// `changetype: add`, with all values of the new entry.
    Add,
    /// `changetype: delete`.
    Delete,
    /// `changetype: modify`; see [`Record::changes`].
    Modify,
    /// `changetype: modrdn` or `moddn`.
    Rename {
        /// The new relative name, such as `CN=New Name`.
        new_rdn: String,
        /// The old naming value goes from the entry's attributes.
        delete_old_rdn: bool,
        /// The new parent when the entry moves.
        new_superior: Option<String>,
    },
}

/// What one part of a modify record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModifyOperation {
    /// Values are added.
    Add,
    /// The named values go, or all of them when none is named.
    Delete,
    /// The values given are all there shall be.
    Replace,
}

/// One record of a file.
#[derive(Clone, Debug)]
pub struct Record {
    /// Line of the `dn:`, counted from 1.
    pub line: u64,
    /// The distinguished name as spelt.
    pub dn: String,
    /// What the record asks for.
    pub kind: RecordKind,
    heap: Vec<u8>,
    lines: Vec<PlacedLine>,
    changes: Vec<PlacedChange>,
}

#[derive(Clone, Debug)]
struct PlacedLine {
    number: u64,
    name: Range<usize>,
    value: Range<usize>,
}

#[derive(Clone, Debug)]
struct PlacedChange {
    operation: ModifyOperation,
    name: String,
    lines: Range<usize>,
}

/// One attribute value of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordValue<'a> {
    /// Attribute description as spelt, with its options: `cn`, `userCertificate;binary`.
    pub name: &'a str,
    /// The decoded octets.
    pub octets: &'a [u8],
    /// The line it begins in.
    pub line: u64,
}

/// One part of a modify record.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// What happens.
    pub operation: ModifyOperation,
    /// To which attribute.
    pub name: &'a str,
    record: &'a Record,
    lines: Range<usize>,
}

impl Record {
    /// Attribute values in the order of the file; for modify records all values of all parts.
    pub fn values(&self) -> impl Iterator<Item = RecordValue<'_>> {
        self.lines.iter().map(|line| self.value(line))
    }

    /// How many values the record has.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// True without values.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The value at `index`, which must be below [`Self::len`].
    pub fn value_at(&self, index: usize) -> RecordValue<'_> {
        self.value(&self.lines[index])
    }

    /// The parts of a modify record, in order.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        self.changes.iter().map(|change| Change {
            operation: change.operation,
            name: &change.name,
            record: self,
            lines: change.lines.clone(),
        })
    }

    fn value(&self, line: &PlacedLine) -> RecordValue<'_> {
        // Names were checked to be ASCII when the line was split.
        let name = std::str::from_utf8(&self.heap[line.name.clone()]).unwrap_or_default();
        RecordValue { name, octets: &self.heap[line.value.clone()], line: line.number }
    }
}

impl<'a> Change<'a> {
    /// The values of this part.
    pub fn values(&self) -> impl Iterator<Item = RecordValue<'a>> + use<'a> {
        let record = self.record;
        record.lines[self.lines.clone()].iter().map(|line| record.value(line))
    }
}

/// Why a record could not be understood. Reading goes on at the next blank line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The stable name of the problem.
    pub code: ObjectErrorCode,
    /// The line in which it showed.
    pub line: u64,
    /// The record's name, when it was legible.
    pub dn: Option<String>,
    /// For people: what is wrong, and what to do.
    pub detail: String,
    /// Nothing separates the record from another one: whose lines are whose, nobody knows.
    pub merged: bool,
    /// It does not begin as a record does: a blank line in the record before it may have cut it off.
    pub headless: bool,
    /// What could be read of it all the same: names of attributes with their values, short ones, and not too many.
    pub values: Vec<(String, Vec<u8>)>,
}

/// What can go wrong while a file is read.
#[derive(Debug, thiserror::Error)]
pub enum LdifError {
    /// One record is damaged; the next call gives the one behind it.
    #[error("line {}: {}", .0.line, .0.detail)]
    Record(RecordError),
    /// The file is cut off, or is no LDIF; nothing follows.
    #[error("line {line}: {detail}")]
    File {
        /// The line in which it showed.
        line: u64,
        /// For people: what is wrong, and what to do.
        detail: String,
    },
    /// The file could not be read on; nothing follows.
    #[error("line {line}: reading failed: {source}")]
    Read {
        /// The line that was being read.
        line: u64,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Reads a file record by record.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    limits: Limits,
    /// Number of the line read last.
    number: u64,
    /// The logical line read last, and the physical line it began in.
    line: Vec<u8>,
    begins: u64,
    /// Where a continuation in that line looks like the beginning of an entry.
    folded: Option<usize>,
    /// A comment within this record that looks like the beginning of an entry: its line and the name.
    commented: Option<(u64, String)>,
    /// The record that was damaged last ran into another one, which comes next.
    merged: Option<Merged>,
    at_start: bool,
    finished: bool,
    /// The line read last was blank or the end: the reader stands between two records.
    between: bool,
    records: u64,
    promised: bool,
    closed: Option<u64>,
}

/// What one attempt at a logical line gave.
enum Line {
    /// In `Reader::line`.
    Text,
    Blank,
    TooLong,
    End,
}

/// How a record begins within another one.
#[derive(Debug)]
enum Merged {
    /// With its `dn:` in `Reader::line`.
    Line,
    /// With a comment; its first attribute is in `Reader::line`.
    Comment { line: u64, dn: String },
}

/// A line taken apart.
struct Parts {
    name: Range<usize>,
    value: ValueSource,
}

enum ValueSource {
    Plain(Range<usize>),
    Base64(Range<usize>),
    Url,
}

enum Stop {
    Record(RecordError),
    Fatal(LdifError),
}

impl From<LdifError> for Stop {
    fn from(error: LdifError) -> Self {
        Self::Fatal(error)
    }
}

impl<R: BufRead> Reader<R> {
    /// A reader with the default limits.
    pub fn new(source: R) -> Self {
        Self::with_limits(source, Limits::default())
    }

    /// A reader with other limits.
    pub fn with_limits(source: R, limits: Limits) -> Self {
        Self {
            source,
            limits,
            number: 0,
            line: Vec::new(),
            begins: 0,
            folded: None,
            commented: None,
            merged: None,
            at_start: true,
            finished: false,
            between: true,
            records: 0,
            promised: false,
            closed: None,
        }
    }

    /// Number of the line read last.
    pub fn line(&self) -> u64 {
        self.number
    }

    /// The next record; `None` at the end of a complete file.
    fn read(&mut self) -> Option<Result<Record, LdifError>> {
        if self.finished {
            return None;
        }
        let result = self.record();
        match result {
            Ok(Some(record)) => {
                self.records += 1;
                Some(Ok(record))
            }
            Ok(None) => {
                self.finished = true;
                self.check_end().err().map(Err)
            }
            Err(Stop::Fatal(error)) => {
                self.finished = true;
                Some(Err(error))
            }
            Err(Stop::Record(mut error)) => {
                // Reported before the rest is skipped: what is behind it may be a fatal problem of its own.
                self.records += 1;
                match self.skip_record(&mut error.values) {
                    Ok(()) => {
                        error.merged |= self.merged.is_some();
                        Some(Err(LdifError::Record(error)))
                    }
                    Err(fatal) => {
                        self.finished = true;
                        Some(Err(fatal))
                    }
                }
            }
        }
    }

    fn check_end(&self) -> Result<(), LdifError> {
        if !self.promised {
            return Ok(());
        }
        match self.closed {
            Some(count) if count == self.records => Ok(()),
            Some(count) => Err(self.file(format!(
                "the file says that it holds {count} records, but {} were found: it is damaged; write it anew, or mend this line if you changed the file by hand",
                self.records
            ))),
            None => Err(self.file("the file is cut off: its beginning promises a closing line that is not there; write it anew")),
        }
    }

    fn record(&mut self) -> Result<Option<Record>, Stop> {
        if let Some(merged) = self.merged.take() {
            return Err(self.merged_record(merged));
        }
        loop {
            match self.logical_line()? {
                Line::End => return Ok(None),
                Line::Blank => continue,
                Line::TooLong => return Err(self.headless(self.too_long())),
                Line::Text => {}
            }
            let parts = self.split(None).map_err(|stop| self.headless(stop))?;
            let name = self.line[parts.name.clone()].to_ascii_lowercase();
            match name.as_slice() {
                b"dn" => {
                    self.commented = None;
                    return self.body(&parts).map(Some);
                }
                b"version" if self.records == 0 => {
                    let value = self.decode(&parts, None)?;
                    if value != b"1" {
                        return Err(self
                            .file(format!(
                                "LDIF version {} is not supported; version 1 is the only one there is",
                                String::from_utf8_lossy(&value)
                            ))
                            .into());
                    }
                }
                // What ldapsearch without -LLL prints around the records.
                b"search" | b"ref" => {
                    self.skip_record(&mut Vec::new())?;
                    if let Some(merged) = self.merged.take() {
                        return Err(self.merged_record(merged));
                    }
                }
                b"result" => {
                    let value = self.decode(&parts, None)?;
                    self.search_result(&value)?;
                }
                _ => {
                    let detail = format!("a record begins with '{}' instead of 'dn:'", String::from_utf8_lossy(&name));
                    let stop = self.bad(ObjectErrorCode::MISSING_DN, None, detail);
                    // Files were put behind each other.
                    return Err(if name == b"version" { stop } else { self.headless(stop) });
                }
            }
        }
    }

    /// The problem of a record whose first line is the one read last, unless only a slip stands in front of its `dn:`.
    fn headless(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Record(error) => Stop::Record(RecordError { headless: entry_begins(&self.line).is_none(), ..error }),
            fatal @ Stop::Fatal(_) => fatal,
        }
    }

    /// `result: 4 Size limit exceeded` at the end of ldapsearch output: the dump is not the whole directory.
    fn search_result(&self, value: &[u8]) -> Result<(), LdifError> {
        let text = String::from_utf8_lossy(value);
        if text.split_whitespace().next() == Some("0") {
            return Ok(());
        }
        Err(self.file(format!("the search that wrote this file ended with '{text}', so the file is not complete; repeat the search")))
    }

    fn body(&mut self, dn_parts: &Parts) -> Result<Record, Stop> {
        let line = self.begins;
        let octets = self.decode(dn_parts, None)?;
        let Ok(dn) = String::from_utf8(octets) else {
            return Err(self.bad(ObjectErrorCode::INVALID_DN, None, "the name is not valid UTF-8".to_owned()));
        };
        let mut record = Record { line, dn, kind: RecordKind::Content, heap: Vec::new(), lines: Vec::new(), changes: Vec::new() };
        match self.lines(&mut record) {
            Err(Stop::Record(mut error)) => {
                let values = record.values().filter(|value| value.octets.len() <= KEPT_OCTETS).take(KEPT_VALUES);
                error.values = values.map(|value| (value.name.to_owned(), value.octets.to_vec())).collect();
                Err(Stop::Record(error))
            }
            other => other.map(|()| record),
        }
    }

    /// The lines behind the `dn:`, up to the blank one.
    fn lines(&mut self, record: &mut Record) -> Result<(), Stop> {
        let mut rename = Rename::default();
        let mut first = true;
        loop {
            match self.logical_line()? {
                Line::End | Line::Blank => break,
                Line::TooLong => return Err(self.too_long()),
                Line::Text => {}
            }
            if self.begins_another() {
                return Err(self.parse(&record.dn, "a second entry begins in this one; separate records by a blank line"));
            }
            if self.line == b"-" {
                if record.kind == RecordKind::Modify && !record.changes.is_empty() {
                    rename.part_open = false;
                    continue;
                }
                return Err(self.parse(&record.dn, "a line '-' outside of a modify record"));
            }
            let parts = self.split(Some(&record.dn))?;
            let name = self.line[parts.name.clone()].to_ascii_lowercase();
            if first {
                match name.as_slice() {
                    b"changetype" => {
                        record.kind = self.change_type(&parts, &record.dn)?;
                        first = false;
                        continue;
                    }
                    b"control" => {
                        self.control(&parts, &record.dn)?;
                        continue;
                    }
                    _ => first = false,
                }
            }
            match &record.kind {
                RecordKind::Content | RecordKind::Add => self.place(record, &parts)?,
                RecordKind::Delete => {
                    return Err(self.parse(&record.dn, "a delete record has a further line; separate records by a blank line"));
                }
                RecordKind::Modify => self.modify_line(record, &parts, &name, &mut rename)?,
                RecordKind::Rename { .. } => self.rename_line(&record.dn, &parts, &name, &mut rename)?,
            }
        }
        match record.kind {
            RecordKind::Content if record.lines.is_empty() => {
                return Err(incomplete(record, "a record without attributes; separate records by exactly one blank line"));
            }
            RecordKind::Modify if rename.part_open => {
                return Err(incomplete(record, "the last part of a modify record is not closed by a line '-': the record is cut off"));
            }
            RecordKind::Rename { .. } => {
                let (Some(new_rdn), Some(delete_old_rdn)) = (rename.new_rdn, rename.delete_old_rdn) else {
                    return Err(incomplete(record, "a rename record needs 'newrdn:' and 'deleteoldrdn:'"));
                };
                record.kind = RecordKind::Rename { new_rdn, delete_old_rdn, new_superior: rename.new_superior };
            }
            _ => {}
        }
        Ok(())
    }

    fn change_type(&self, parts: &Parts, dn: &str) -> Result<RecordKind, Stop> {
        let value = self.decode(parts, Some(dn))?;
        Ok(match value.to_ascii_lowercase().as_slice() {
            b"add" => RecordKind::Add,
            b"delete" => RecordKind::Delete,
            b"modify" => RecordKind::Modify,
            b"modrdn" | b"moddn" => RecordKind::Rename { new_rdn: String::new(), delete_old_rdn: true, new_superior: None },
            _ => {
                let shown = String::from_utf8_lossy(&value).into_owned();
                return Err(self.bad(
                    ObjectErrorCode::INVALID_CHANGE_TYPE,
                    Some(dn),
                    format!("unknown changetype '{shown}': add, delete, modify, modrdn or moddn is needed"),
                ));
            }
        })
    }

    /// A control that the writer called critical must not be passed over (RFC 2849, note 2).
    fn control(&self, parts: &Parts, dn: &str) -> Result<(), Stop> {
        let value = self.decode(parts, Some(dn))?;
        let text = String::from_utf8_lossy(&value);
        let mut words = text.split([' ', ':']).filter(|word| !word.is_empty());
        let name = words.next().unwrap_or_default().to_owned();
        if words.next() == Some("true") {
            return Err(self.parse(dn, &format!("the record demands control {name}, which is not supported")));
        }
        Ok(())
    }

    fn modify_line(&self, record: &mut Record, parts: &Parts, name: &[u8], open: &mut Rename) -> Result<(), Stop> {
        if open.part_open {
            let spelt = std::str::from_utf8(&self.line[parts.name.clone()]).unwrap_or_default();
            let agrees = record.changes.last().is_some_and(|change| change.name.eq_ignore_ascii_case(spelt));
            if !agrees {
                return Err(self
                    .parse(&record.dn, &format!("a value of '{spelt}' in a part that changes another attribute; is a line '-' missing?")));
            }
            self.place(record, parts)?;
            if let Some(change) = record.changes.last_mut() {
                change.lines.end = record.lines.len();
            }
            return Ok(());
        }
        let operation = match name {
            b"add" => ModifyOperation::Add,
            b"delete" => ModifyOperation::Delete,
            b"replace" => ModifyOperation::Replace,
            other => {
                let shown = String::from_utf8_lossy(other).into_owned();
                return Err(
                    self.parse(&record.dn, &format!("a part of a modify record begins with '{shown}' instead of add, delete or replace"))
                );
            }
        };
        let value = self.decode(parts, Some(&record.dn))?;
        let Ok(attribute) = String::from_utf8(value) else {
            return Err(self.parse(&record.dn, "the name of the attribute to change is not valid UTF-8"));
        };
        let at = record.lines.len();
        record.changes.push(PlacedChange { operation, name: attribute, lines: at..at });
        open.part_open = true;
        Ok(())
    }

    fn rename_line(&self, dn: &str, parts: &Parts, name: &[u8], rename: &mut Rename) -> Result<(), Stop> {
        let value = self.decode(parts, Some(dn))?;
        let Ok(text) = String::from_utf8(value) else {
            return Err(self.parse(dn, "a name in a rename record is not valid UTF-8"));
        };
        match name {
            b"newrdn" => rename.new_rdn = Some(text),
            b"newsuperior" => rename.new_superior = Some(text),
            b"deleteoldrdn" => {
                rename.delete_old_rdn = Some(match text.as_str() {
                    "0" => false,
                    "1" => true,
                    _ => return Err(self.parse(dn, "deleteoldrdn must be 0 or 1")),
                });
            }
            other => {
                let shown = String::from_utf8_lossy(other).into_owned();
                return Err(self.parse(dn, &format!("'{shown}' has no place in a rename record")));
            }
        }
        Ok(())
    }

    /// Puts the current line's attribute and value into the record.
    fn place(&self, record: &mut Record, parts: &Parts) -> Result<(), Stop> {
        let start = record.heap.len();
        record.heap.extend_from_slice(&self.line[parts.name.clone()]);
        let middle = record.heap.len();
        self.decode_into(parts, Some(&record.dn), &mut record.heap)?;
        if record.heap.len() > self.limits.record {
            return Err(self.parse(&record.dn, &format!("the record is larger than {} octets", self.limits.record)));
        }
        record.lines.push(PlacedLine { number: self.begins, name: start..middle, value: middle..record.heap.len() });
        Ok(())
    }

    fn split(&self, dn: Option<&str>) -> Result<Parts, Stop> {
        let line = &self.line;
        let Some(colon) = line.iter().position(|octet| *octet == b':') else {
            return Err(self.bad(
                ObjectErrorCode::PARSE_ERROR,
                dn,
                "a line without ':' is neither an attribute nor a continuation (which begins with a blank)".to_owned(),
            ));
        };
        let name = 0..colon;
        let legible = !name.is_empty()
            && line[name.clone()]
                .iter()
                .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b';' | b'_' | b'=' | b'*'));
        if !legible {
            let shown: String = String::from_utf8_lossy(&line[name]).chars().take(40).collect();
            return Err(self.bad(ObjectErrorCode::PARSE_ERROR, dn, format!("'{shown}' is not an attribute name")));
        }
        let (mut start, mark) = match line.get(colon + 1) {
            Some(b':') => (colon + 2, b':'),
            Some(b'<') => (colon + 2, b'<'),
            _ => (colon + 1, b' '),
        };
        while line.get(start) == Some(&b' ') {
            start += 1;
        }
        let rest = start..line.len();
        Ok(Parts {
            name,
            value: match mark {
                b':' => ValueSource::Base64(rest),
                b'<' => ValueSource::Url,
                _ => ValueSource::Plain(rest),
            },
        })
    }

    fn decode(&self, parts: &Parts, dn: Option<&str>) -> Result<Vec<u8>, Stop> {
        let mut octets = Vec::new();
        self.decode_into(parts, dn, &mut octets)?;
        Ok(octets)
    }

    fn decode_into(&self, parts: &Parts, dn: Option<&str>, octets: &mut Vec<u8>) -> Result<(), Stop> {
        match &parts.value {
            ValueSource::Plain(range) => octets.extend_from_slice(&self.line[range.clone()]),
            ValueSource::Base64(range) => {
                let mut text = &self.line[range.clone()];
                while let Some((b' ', shorter)) = text.split_last() {
                    text = shorter;
                }
                if base64::engine::general_purpose::STANDARD.decode_vec(text, octets).is_err() {
                    let name = String::from_utf8_lossy(&self.line[parts.name.clone()]).into_owned();
                    return Err(self.bad(ObjectErrorCode::INVALID_BASE64_VALUE, dn, format!("the value of '{name}' is not valid base64")));
                }
            }
            ValueSource::Url => {
                let name = String::from_utf8_lossy(&self.line[parts.name.clone()]).into_owned();
                return Err(self.bad(
                    ObjectErrorCode::PARSE_ERROR,
                    dn,
                    format!("the value of '{name}' is a reference to a file or address (':<'), which is not followed; put the value itself there in base64 ('::')"),
                ));
            }
        }
        Ok(())
    }

    /// The problem of a record that begins within another one.
    fn merged_record(&self, merged: Merged) -> Stop {
        let (line, dn) = match merged {
            Merged::Comment { line, dn } => (line, Some(dn)),
            Merged::Line => {
                let octets = self.split(None).and_then(|parts| self.decode(&parts, None)).ok();
                (self.begins, octets.and_then(|octets| String::from_utf8(octets).ok()))
            }
        };
        let detail =
            "the entry begins within the record before it, and nobody knows whose lines are whose; separate records by a blank line";
        Stop::Record(RecordError {
            code: ObjectErrorCode::PARSE_ERROR,
            line,
            dn,
            detail: detail.to_owned(),
            merged: true,
            headless: false,
            values: Vec::new(),
        })
    }

    /// True when the line read last is in another record than those before it, which is what comes next then.
    fn begins_another(&mut self) -> bool {
        let folded = self.folded.filter(|at| named_entry(self.line.get(*at..).unwrap_or_default()).is_some());
        let slip = folded.or_else(|| entry_begins(&self.line));
        if let Some(at) = slip {
            self.line.drain(..at);
            // `dn :` is meant as `dn:`.
            while self.line.get(2).is_some_and(u8::is_ascii_whitespace) {
                self.line.remove(2);
            }
            self.commented = None;
            self.merged = Some(Merged::Line);
        } else if let Some((line, dn)) = self.commented.take() {
            self.merged = Some(Merged::Comment { line, dn });
        }
        self.merged.is_some()
    }

    /// Reads the rest of a damaged record, and keeps what can be read of it. A record that begins in it comes next.
    fn skip_record(&mut self, values: &mut Vec<(String, Vec<u8>)>) -> Result<(), LdifError> {
        if self.merged.is_some() || self.between {
            return Ok(());
        }
        self.keep(values);
        while !self.between {
            match self.logical_line()? {
                Line::Blank | Line::End | Line::TooLong => {}
                Line::Text => {
                    // ldapsearch prints `search:` and `result:` in one block.
                    if let Some(value) = self.line.strip_prefix(b"result: ") {
                        let value = value.to_vec();
                        self.search_result(&value)?;
                    }
                    if self.begins_another() {
                        return Ok(());
                    }
                    self.keep(values);
                }
            }
        }
        Ok(())
    }

    /// Keeps what the line read last says, if that can be read.
    fn keep(&self, values: &mut Vec<(String, Vec<u8>)>) {
        if values.len() >= KEPT_VALUES || self.line.len() > 2 * KEPT_OCTETS {
            return;
        }
        let Ok(parts) = self.split(None) else { return };
        let Ok(octets) = self.decode(&parts, None) else { return };
        let name = String::from_utf8_lossy(&self.line[parts.name.clone()]).into_owned();
        if octets.len() <= KEPT_OCTETS && !name.eq_ignore_ascii_case("dn") {
            values.push((name, octets));
        }
    }

    /// Reads a line with its continuations into `self.line`, passing over comments.
    fn logical_line(&mut self) -> Result<Line, LdifError> {
        loop {
            self.line.clear();
            self.folded = None;
            let Some(mut fits) = self.physical_line()? else {
                self.between = true;
                return Ok(Line::End);
            };
            self.begins = self.number;
            if self.at_start {
                self.at_start = false;
                self.first_line()?;
            }
            if self.line.is_empty() && fits {
                self.commented = None;
                self.between = true;
                return Ok(Line::Blank);
            }
            self.between = false;
            while self.peek()? == Some(b' ') {
                self.source.consume(1);
                let at = self.line.len();
                let Some(continued) = self.physical_line()? else {
                    return Err(self.cut_off());
                };
                if self.folded.is_none() && self.line.get(at..).is_some_and(|text| entry_begins(text).is_some()) {
                    self.folded = Some(at);
                }
                fits &= continued;
            }
            if self.line.first() == Some(&b'#') {
                self.comment();
                continue;
            }
            return Ok(if fits { Line::Text } else { Line::TooLong });
        }
    }

    fn first_line(&mut self) -> Result<(), LdifError> {
        if let Some(what) = other_form(&self.line) {
            return Err(self.file(what));
        }
        if self.line.starts_with(&[0xef, 0xbb, 0xbf]) {
            self.line.drain(..3);
        }
        Ok(())
    }

    fn comment(&mut self) {
        let text = String::from_utf8_lossy(&self.line);
        if text == CLOSED_MARK {
            self.promised = true;
        } else if let Some(count) = text.strip_prefix(END_MARK) {
            self.closed = count.trim().parse().ok();
        } else {
            let named = named_entry(self.line.get(self.folded.unwrap_or_default()..).unwrap_or_default());
            self.commented = named.map(|dn| (self.begins, dn)).or(self.commented.take());
        }
    }

    /// Appends one physical line without its end to `self.line`. `None` at the end of the file; `Some(false)` when the
    /// line is longer than allowed and its rest was thrown away.
    fn physical_line(&mut self) -> Result<Option<bool>, LdifError> {
        let mut seen = false;
        let mut fits = true;
        loop {
            let number = self.number + 1;
            let buffer = match self.source.fill_buf() {
                Ok(buffer) => buffer,
                Err(source) if source.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(LdifError::Read { line: number, source }),
            };
            if buffer.is_empty() {
                if seen {
                    self.number += 1;
                    return Err(self.cut_off());
                }
                return Ok(None);
            }
            seen = true;
            let end = buffer.iter().position(|octet| *octet == b'\n');
            let taken = end.unwrap_or(buffer.len());
            if self.line.len() + taken > self.limits.line {
                fits = false;
                // The start stays: it names the attribute.
                let start = NAMED_START.saturating_sub(self.line.len()).min(taken);
                self.line.extend_from_slice(&buffer[..start]);
                self.line.truncate(NAMED_START);
            } else if fits {
                self.line.extend_from_slice(&buffer[..taken]);
            }
            self.source.consume(taken + usize::from(end.is_some()));
            if end.is_some() {
                self.number += 1;
                if self.line.last() == Some(&b'\r') {
                    self.line.pop();
                }
                return Ok(Some(fits));
            }
        }
    }

    fn peek(&mut self) -> Result<Option<u8>, LdifError> {
        loop {
            match self.source.fill_buf() {
                Ok(buffer) => return Ok(buffer.first().copied()),
                Err(source) if source.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(LdifError::Read { line: self.number, source }),
            }
        }
    }

    fn cut_off(&self) -> LdifError {
        // Without a single line break it is something else, rather than cut off.
        if let Some(what) = other_form(&self.line).filter(|_| self.number == 1) {
            return self.file(what);
        }
        self.file("the file is cut off in this line: its last line has no end; write it anew (or add a line break if it is complete)")
    }

    fn too_long(&self) -> Stop {
        let name: String = self.line.iter().take(40).take_while(|octet| **octet != b':').map(|octet| char::from(*octet)).collect();
        self.bad(ObjectErrorCode::PARSE_ERROR, None, format!("the value of '{name}' is longer than {} octets", self.limits.line))
    }

    fn file(&self, detail: impl Into<String>) -> LdifError {
        LdifError::File { line: self.number, detail: detail.into() }
    }

    fn parse(&self, dn: &str, detail: &str) -> Stop {
        self.bad(ObjectErrorCode::PARSE_ERROR, Some(dn), detail.to_owned())
    }

    fn bad(&self, code: ObjectErrorCode, dn: Option<&str>, detail: String) -> Stop {
        Stop::Record(RecordError {
            code,
            line: self.begins,
            dn: dn.map(str::to_owned),
            detail,
            merged: false,
            headless: false,
            values: Vec::new(),
        })
    }
}

/// What a file is that begins so and is no plain text in lines; `None` for whatever may be LDIF.
fn other_form(first_line: &[u8]) -> Option<&'static str> {
    match first_line {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            Some("the file is in UTF-16; convert it to UTF-8, for example with iconv -f UTF-16 -t UTF-8")
        }
        [0x1f, 0x8b, ..] => Some("the file is compressed with gzip; unpack it, for example with gunzip"),
        [b'P', b'K', 3, 4, ..] => Some("the file is a ZIP archive; unpack it, for example with unzip"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("the file is compressed with xz; unpack it, for example with unxz"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("the file is compressed with zstd; unpack it, for example with unzstd"),
        // Several of them in front of a line break are a slip of a conversion.
        line if line.windows(2).any(|pair| matches!(pair, [b'\r', other] if *other != b'\r')) => {
            Some("the lines of the file end with CR alone, and LF or CR LF is needed; convert it, for example with tr '\\r' '\\n'")
        }
        _ => None,
    }
}

/// A problem that shows only at the end of the record.
fn incomplete(record: &Record, detail: &str) -> Stop {
    Stop::Record(RecordError {
        code: ObjectErrorCode::PARSE_ERROR,
        line: record.line,
        dn: Some(record.dn.clone()),
        detail: detail.to_owned(),
        merged: false,
        headless: false,
        values: Vec::new(),
    })
}

/// Where in a line its `dn:` stands: at its beginning, or behind what a slip leaves there.
fn entry_begins(line: &[u8]) -> Option<usize> {
    if line.first().is_some_and(|octet| octet.is_ascii_alphabetic() && !octet.eq_ignore_ascii_case(&b'd')) {
        return None;
    }
    let mut rest = line;
    while let Some(shorter) = SLIPS.iter().find_map(|slip| rest.strip_prefix(*slip)) {
        rest = shorter;
    }
    let (name, behind) = rest.split_at_checked(2)?;
    let colon = behind.iter().find(|octet| !octet.is_ascii_whitespace());
    (name.eq_ignore_ascii_case(b"dn") && colon == Some(&b':')).then(|| line.len() - rest.len())
}

/// The name of the entry that begins with a text which may be something else: a comment, or a part of a value.
fn named_entry(text: &[u8]) -> Option<String> {
    let behind = &text[entry_begins(text)? + 2..];
    let value = std::str::from_utf8(behind).ok()?.trim_start().strip_prefix(':')?;
    let dn = match value.strip_prefix(':') {
        Some(base64) => String::from_utf8(base64::engine::general_purpose::STANDARD.decode(base64.trim()).ok()?).ok()?,
        None => value.trim().to_owned(),
    };
    Dn::parse(&dn).is_ok_and(|dn| dn.depth() > 0).then_some(dn)
}

/// State of a change record while its lines come in.
#[derive(Default)]
struct Rename {
    new_rdn: Option<String>,
    delete_old_rdn: Option<bool>,
    new_superior: Option<String>,
    part_open: bool,
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Record, LdifError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read()
    }
}
