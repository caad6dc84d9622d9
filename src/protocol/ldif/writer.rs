//! Writes LDIF (RFC 2849) in plain ASCII, lines folded at 76 octets, as `ldapsearch` does.

use super::{CLOSED_MARK, END_MARK};
use base64::Engine as _;
use std::io::{self, Write};

const WIDTH: usize = 76;

/// Writes records. The file names its number of records at the end, so that a reader can tell whether it is whole.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    line: Vec<u8>,
    records: u64,
    open: bool,
    closing: bool,
}

impl<W: Write> Writer<W> {
    /// Begins a file that [`Self::finish`] will close.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(b"version: 1\n\n")?;
        Self::without_version(out)
    }

    /// The same without the version line, which `slapadd` takes for a broken entry.
    pub fn without_version(mut out: W) -> io::Result<Self> {
        // No blank line behind it: to slapadd a comment that stands alone is an entry without a name.
        writeln!(out, "{CLOSED_MARK}")?;
        Ok(Self { out, line: Vec::new(), records: 0, open: false, closing: true })
    }

    /// Goes on in a file that others may append to: neither heading nor closing line.
    pub fn appending(out: W) -> Self {
        Self { out, line: Vec::new(), records: 0, open: false, closing: false }
    }

    /// Begins a content record.
    pub fn entry(&mut self, dn: &str) -> io::Result<()> {
        self.end_record()?;
        self.open = true;
        self.records += 1;
        self.value("dn", dn.as_bytes())
    }

    /// Begins a change record of a type: `add`, `delete`, `modify` or `modrdn`.
    pub fn change(&mut self, dn: &str, change_type: &str) -> io::Result<()> {
        self.entry(dn)?;
        self.value("changetype", change_type.as_bytes())
    }

    /// Writes one value of the open record, in base64 when plain text would not survive.
    pub fn value(&mut self, name: &str, octets: &[u8]) -> io::Result<()> {
        self.line.clear();
        self.line.extend_from_slice(name.as_bytes());
        if is_safe(octets) {
            self.line.extend_from_slice(b": ");
            self.line.extend_from_slice(octets);
        } else {
            self.line.extend_from_slice(b":: ");
            let start = self.line.len();
            let length = base64::encoded_len(octets.len(), true).ok_or_else(|| io::Error::other("a value is too long for base64"))?;
            self.line.resize(start + length, 0);
            base64::engine::general_purpose::STANDARD
                .encode_slice(octets, &mut self.line[start..])
                .map_err(|_| io::Error::other("a value is too long for base64"))?;
        }
        let (first, rest) = self.line.split_at(self.line.len().min(WIDTH));
        self.out.write_all(first)?;
        for piece in rest.chunks(WIDTH - 1) {
            self.out.write_all(b"\n ")?;
            self.out.write_all(piece)?;
        }
        self.out.write_all(b"\n")
    }

    /// Closes a part of a modify record.
    pub fn end_part(&mut self) -> io::Result<()> {
        self.out.write_all(b"-\n")
    }

    /// Closes the open record.
    pub fn end_record(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.open) {
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Closes the file and gives the underlying writer back, flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_record()?;
        if self.closing {
            writeln!(self.out, "{END_MARK}{}", self.records)?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

/// SAFE-STRING of RFC 2849, and without a blank at the end, which readers would lose.
fn is_safe(octets: &[u8]) -> bool {
    match (octets.first(), octets.last()) {
        (None, _) => true,
        (Some(first), Some(last)) => {
            !matches!(first, b' ' | b':' | b'<') && *last != b' ' && octets.iter().all(|octet| matches!(octet, 0x20..=0x7e))
        }
        _ => false,
    }
}
