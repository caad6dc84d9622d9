//! Network Data Representation, little-endian, 32 bits (C706 chapter 14): alignment, pointers, hostile counts.

use super::Guid;

/// Octets that are no valid data representation. Never quotes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NdrError {
    /// The data end within something.
    #[error("the data end at octet {at}, in the middle of a field")]
    Short {
        /// Where the field begins.
        at: usize,
    },
    /// A count or length that the remaining data cannot hold.
    #[error("the count at octet {at} promises more than the data hold")]
    Count {
        /// Where the count stands.
        at: usize,
    },
    /// Two fields that must agree do not.
    #[error("the field at octet {at} contradicts an earlier one")]
    Contradiction {
        /// Where the second of them stands.
        at: usize,
    },
    /// A value that this field cannot have.
    #[error("the field at octet {at} has a value that is not known")]
    Unknown {
        /// Where the field stands.
        at: usize,
    },
    /// The data go on after their end.
    #[error("the data go on after octet {at}, where they should end")]
    Trailing {
        /// Where the end was expected.
        at: usize,
    },
}

/// Reads primitives one after the other. Alignment counts from the start of the data.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// The number of octets read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The number of octets not read yet.
    pub fn remaining(&self) -> usize {
        self.data.len() - self.at
    }

    /// Skips padding up to a multiple of `size`, which is a power of two.
    pub fn align(&mut self, size: usize) -> Result<(), NdrError> {
        let padding = self.at.wrapping_neg() & (size - 1);
        self.octets(padding).map(|_| ())
    }

    /// The next `count` octets.
    pub fn octets(&mut self, count: usize) -> Result<&'a [u8], NdrError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.data.len()).ok_or(NdrError::Short { at: self.at })?;
        let octets = &self.data[self.at..end];
        self.at = end;
        Ok(octets)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NdrError> {
        let at = self.at;
        self.octets(N)?.try_into().map_err(|_| NdrError::Short { at })
    }

    /// An octet.
    pub fn u8(&mut self) -> Result<u8, NdrError> {
        self.array().map(|[octet]| octet)
    }

    /// Two octets, aligned.
    pub fn u16(&mut self) -> Result<u16, NdrError> {
        self.align(2)?;
        self.array().map(u16::from_le_bytes)
    }

    /// Two octets where they are, as towers have them.
    pub fn u16_unaligned(&mut self) -> Result<u16, NdrError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four octets, aligned.
    pub fn u32(&mut self) -> Result<u32, NdrError> {
        self.align(4)?;
        self.array().map(u32::from_le_bytes)
    }

    /// Eight octets, aligned.
    pub fn i64(&mut self) -> Result<i64, NdrError> {
        self.align(8)?;
        self.array().map(i64::from_le_bytes)
    }

    /// A GUID, aligned to its first field.
    pub fn guid(&mut self) -> Result<Guid, NdrError> {
        self.align(4)?;
        self.array().map(Guid)
    }

    /// The referent of a pointer; true when something will follow.
    pub fn pointer(&mut self) -> Result<bool, NdrError> {
        self.u32().map(|referent| referent != 0)
    }

    /// A count of elements of which each takes at least `smallest` octets of what remains. This is the guard before
    /// every allocation.
    pub fn count(&mut self, smallest: usize) -> Result<usize, NdrError> {
        let count = self.u32()?;
        let at = self.at - 4;
        self.fits(count, smallest).ok_or(NdrError::Count { at })
    }

    /// The same for a count that was read earlier and whose elements still come.
    pub fn fits(&self, count: u32, smallest: usize) -> Option<usize> {
        let count = usize::try_from(count).ok()?;
        count.checked_mul(smallest).filter(|needed| *needed <= self.remaining()).map(|_| count)
    }

    /// A number that must be `expected`.
    pub fn same(&mut self, expected: u32) -> Result<(), NdrError> {
        let found = self.u32()?;
        if found == expected { Ok(()) } else { Err(NdrError::Contradiction { at: self.at - 4 }) }
    }

    /// The pointee of a wide string: its UTF-16 octets without the zero at the end.
    pub fn wide_string(&mut self) -> Result<&'a [u8], NdrError> {
        self.u32()?;
        self.same(0)?;
        let units = self.count(2)?;
        let octets = self.octets(units * 2)?;
        Ok(octets.strip_suffix(&[0, 0]).filter(|_| units > 0).unwrap_or(octets))
    }

    /// Holds that everything was read.
    pub fn finish(self) -> Result<(), NdrError> {
        if self.remaining() == 0 { Ok(()) } else { Err(NdrError::Trailing { at: self.at }) }
    }
}

/// Writes primitives one after the other, with zeros as padding, and counts the referents of pointers.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    data: Vec<u8>,
    pointers: u32,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.data
    }

    /// The number of octets written so far.
    pub fn position(&self) -> usize {
        self.data.len()
    }

    /// Pads to a multiple of `size`, which is a power of two.
    pub fn align(&mut self, size: usize) {
        self.data.resize(self.data.len().next_multiple_of(size), 0);
    }

    /// Octets as they are.
    pub fn octets(&mut self, octets: &[u8]) {
        self.data.extend_from_slice(octets);
    }

    /// An octet.
    pub fn u8(&mut self, value: u8) {
        self.data.push(value);
    }

    /// Two octets, aligned.
    pub fn u16(&mut self, value: u16) {
        self.align(2);
        self.octets(&value.to_le_bytes());
    }

    /// Two octets where they are, as towers have them.
    pub fn u16_unaligned(&mut self, value: u16) {
        self.octets(&value.to_le_bytes());
    }

    /// Four octets, aligned.
    pub fn u32(&mut self, value: u32) {
        self.align(4);
        self.octets(&value.to_le_bytes());
    }

    /// A count or length of ours, which is never near the limit.
    pub fn count(&mut self, value: usize) {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX));
    }

    /// Eight octets, aligned.
    pub fn i64(&mut self, value: i64) {
        self.align(8);
        self.octets(&value.to_le_bytes());
    }

    /// A GUID, aligned to its first field.
    pub fn guid(&mut self, value: Guid) {
        self.align(4);
        self.octets(&value.0);
    }

    /// A pointer to something: the next referent, as other clients number them.
    pub fn pointer(&mut self) {
        self.u32(0x0002_0000 + self.pointers * 4);
        self.pointers += 1;
    }

    /// A pointer to something when it is there, else to nothing.
    pub fn optional(&mut self, there: bool) {
        if there { self.pointer() } else { self.u32(0) }
    }

    /// The pointee of a wide string, with its zero.
    pub fn wide_string(&mut self, text: &str) {
        let units: Vec<u16> = text.encode_utf16().chain([0]).collect();
        self.count(units.len());
        self.u32(0);
        self.count(units.len());
        for unit in units {
            self.u16(unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::new();
        writer.u8(7);
        writer.u16(0x0102);
        writer.u32(0x0102_0304);
        writer.i64(-5);
        writer.guid(Guid([9; 16]));
        writer.pointer();
        writer.optional(false);
        writer.pointer();
        writer.wide_string("Grün");
        let data = writer.finish();
        assert_eq!(&data[..8], [7, 0, 2, 1, 4, 3, 2, 1]);
        let mut reader = Reader::new(&data);
        assert_eq!((reader.u8(), reader.u16(), reader.u32(), reader.i64()), (Ok(7), Ok(0x0102), Ok(0x0102_0304), Ok(-5)));
        assert_eq!(reader.guid(), Ok(Guid([9; 16])));
        assert_eq!((reader.u32(), reader.pointer(), reader.u32()), (Ok(0x0002_0000), Ok(false), Ok(0x0002_0004)));
        assert_eq!(reader.wide_string().unwrap(), b"G\0r\0\xfc\0n\0");
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_count_that_cannot_be_is_refused_before_anything_is_allocated() {
        let data = [0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0];
        assert_eq!(Reader::new(&data).count(1), Err(NdrError::Count { at: 0 }));
        assert_eq!(Reader::new(&[2, 0, 0, 0, 1, 2]).count(1), Ok(2));
        assert_eq!(Reader::new(&[2, 0, 0, 0, 1, 2]).count(2), Err(NdrError::Count { at: 0 }));
        assert_eq!(Reader::new(&[1, 2]).u32(), Err(NdrError::Short { at: 0 }));
        assert_eq!(Reader::new(&[1]).finish(), Err(NdrError::Trailing { at: 0 }));
    }
}
