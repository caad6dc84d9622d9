//! Findings of `lint directory` as files: a table for spreadsheets, and the changes of the directory that mend them.

use super::lint::{LintFinding, Repair};
use crate::model::Dn;
use crate::protocol::ldif::Writer;
use std::collections::HashSet;
use std::io::{self, Write};
use xxhash_rust::xxh3::xxh3_128;

/// The columns of the table.
const COLUMNS: [&str; 14] = [
    "id",
    "connector",
    "name",
    "type",
    "kind",
    "consequence",
    "attribute",
    "source attribute",
    "value",
    "action",
    "proposed",
    "other",
    "other connector",
    "detail",
];

/// Writes findings as comma-separated values (RFC 4180), one in each line.
pub struct LintTable<W: Write> {
    out: W,
}

impl<W: Write> LintTable<W> {
    /// Begins with the line of names.
    ///
    /// # Errors
    /// As the writer says.
    pub fn new(mut out: W) -> io::Result<Self> {
        write!(out, "{}\r\n", COLUMNS.join(","))?;
        Ok(Self { out })
    }

    /// Writes the findings of one object.
    ///
    /// # Errors
    /// As the writer says.
    pub fn write(&mut self, findings: &[LintFinding]) -> io::Result<()> {
        for finding in findings {
            let (other, other_connector) = finding.other.as_ref().map_or(("", ""), |other| (other.dn.as_str(), other.connector.as_str()));
            let cells = [
                finding.id.as_str(),
                &finding.connector,
                &finding.dn,
                &finding.object_type,
                finding.kind,
                finding.consequence,
                finding.attribute,
                finding.source_attribute.as_deref().unwrap_or_default(),
                &finding.value,
                finding.action,
                finding.proposed.as_deref().unwrap_or_default(),
                other,
                other_connector,
                &finding.detail,
            ];
            write!(self.out, "{}\r\n", cells.map(cell).join(","))?;
        }
        Ok(())
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// As the writer says.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// One value of a table. What a spreadsheet would take for a formula gets an apostrophe in front; control characters, which
/// could steer a terminal, are shown as such.
pub fn cell(value: &str) -> String {
    let formula = value.starts_with(['=', '+', '-', '@']) && value.parse::<i64>().is_err();
    let mut plain: String = if formula { "'".to_owned() } else { String::new() };
    plain.extend(value.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }));
    if plain.contains([',', '"']) { format!("\"{}\"", plain.replace('"', "\"\"")) } else { plain }
}

/// Writes the changes that do away with findings (RFC 2849, `changetype: modify`, and `modrdn` for values that name entries).
pub struct LintRepairs<W: Write> {
    writer: Writer<W>,
    written: u64,
    /// Values that are changed already, as hashes: whoever is of two directories is found in both.
    done: HashSet<u128>,
    /// Entries and their new names, written last: no change behind it finds an entry under its old name.
    renames: Vec<(String, String)>,
}

impl<W: Write> LintRepairs<W> {
    /// Begins the file.
    ///
    /// # Errors
    /// As the writer says.
    pub fn new(out: W) -> io::Result<Self> {
        Ok(Self { writer: Writer::new(out)?, written: 0, done: HashSet::new(), renames: Vec::new() })
    }

    /// Writes what mends the findings of one object: each value is changed once, whatever is wrong with it.
    ///
    /// # Errors
    /// As the writer says.
    pub fn write(&mut self, findings: &[LintFinding]) -> io::Result<()> {
        let mut repairs: Vec<&Repair> = Vec::new();
        // What goes because another object has it goes, also where it could be mended.
        for repair in findings.iter().filter_map(|finding| finding.repair.as_ref()) {
            let same = |known: &&Repair| (&known.dn, &known.attribute, &known.old) == (&repair.dn, &repair.attribute, &repair.old);
            match repairs.iter().position(same).and_then(|place| repairs.get_mut(place)) {
                Some(known) if known.new.is_some() && repair.new.is_none() => *known = repair,
                Some(_) => {}
                None => repairs.push(repair),
            }
        }
        repairs.retain(|repair| self.done.insert(place_of(repair)));
        repairs.sort_by(|left, right| left.dn.cmp(&right.dn));
        for entry in repairs.chunk_by(|left, right| left.dn == right.dn) {
            let Some(first) = entry.first() else { continue };
            let (names, values): (Vec<&Repair>, Vec<&Repair>) = entry.iter().copied().partition(|repair| repair.names_the_entry);
            if !values.is_empty() {
                self.writer.change(&first.dn, "modify")?;
                for repair in values {
                    self.part(repair)?;
                }
                self.writer.end_record()?;
            }
            // An entry has one name, whatever else is wrong with it.
            if let Some((rdn, _)) = names.first().and_then(|repair| repair.renamed()) {
                self.renames.push((first.dn.clone(), rdn));
            }
            self.written += 1;
        }
        Ok(())
    }

    fn part(&mut self, repair: &Repair) -> io::Result<()> {
        let name = &repair.attribute;
        let mut one = |operation: &str, value: Option<&str>| -> io::Result<()> {
            self.writer.value(operation, name.as_bytes())?;
            if let Some(value) = value {
                self.writer.value(name, value.as_bytes())?;
            }
            self.writer.end_part()
        };
        match (&repair.old, &repair.new) {
            (Some(_), Some(new)) if !repair.among_others => one("replace", Some(new)),
            (Some(old), None) => one("delete", Some(old)),
            (Some(old), Some(new)) => {
                one("delete", Some(old))?;
                one("add", Some(new))
            }
            (None, Some(new)) => one("add", Some(new)),
            (None, None) => Ok(()),
        }
    }

    /// Writes what is left. Gives how many entries are changed.
    ///
    /// # Errors
    /// As the writer says.
    pub fn finish(mut self) -> io::Result<u64> {
        // What lies below goes first: behind the rename of a container it has another name.
        self.renames.sort_by_cached_key(|(dn, _)| std::cmp::Reverse(Dn::parse(dn).map_or(0, |dn| dn.depth())));
        for (dn, rdn) in &self.renames {
            self.writer.change(dn, "modrdn")?;
            self.writer.value("newrdn", rdn.as_bytes())?;
            self.writer.value("deleteoldrdn", b"1")?;
            self.writer.end_record()?;
        }
        self.writer.finish()?.flush()?;
        Ok(self.written)
    }
}

/// A value of an entry, as a hash. Neither names nor attributes hold the octet between them.
fn place_of(repair: &Repair) -> u128 {
    let old = repair.old.as_ref().map_or(String::new(), |old| format!("={old}"));
    xxh3_128(format!("{}\0{}\0{}\0{old}", repair.connector, repair.dn, repair.attribute).as_bytes())
}
