//! Attributes travel as numbers that mean something only beside the prefix table they come with (MS-DRSR 5.12, 5.16.4).

use crate::protocol::dcerpc::{NdrError, Reader, Writer};

/// `1.2.840.113556.1.4`, without its last number.
const MICROSOFT_4: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x14, 0x01, 0x04];
/// `1.2.840.113556.1.2`, without its last number.
const MICROSOFT_2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x14, 0x01, 0x02];
/// The prefixes that we send, by their index.
const OURS: [&[u8]; 2] = [MICROSOFT_4, MICROSOFT_2];
/// Octets of the entry that names the schema's state and must be the last: `ff`, revision, invocation id.
const SCHEMA_INFO: usize = 21;

/// The attributes that are asked for, and nothing more secret (drsuapi section 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// The password hash, encrypted twice.
    UnicodePwd,
    /// When the password was set; 0: it must be changed.
    PwdLastSet,
    /// Whether the account may be used.
    UserAccountControl,
    /// The object was deleted.
    IsDeleted,
}

impl Attribute {
    /// What a cycle asks for.
    pub const ALL: [Self; 4] = [Self::UnicodePwd, Self::PwdLastSet, Self::UserAccountControl, Self::IsDeleted];

    /// Index of the prefix among ours, and the last number of the object identifier.
    fn place(self) -> (usize, u32) {
        match self {
            Self::UnicodePwd => (0, 90),
            Self::PwdLastSet => (0, 96),
            Self::UserAccountControl => (0, 8),
            Self::IsDeleted => (1, 48),
        }
    }

    /// The number under which we ask for it.
    pub fn id(self) -> u32 {
        let (prefix, last) = self.place();
        u32::try_from(prefix).unwrap_or_default() << 16 | last
    }
}

/// The prefix table that a reply comes with. Borrowed from the reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixTable<'a> {
    entries: Vec<(u32, &'a [u8])>,
}

impl<'a> PrefixTable<'a> {
    /// A table of our own making; for tests of other codecs.
    pub fn new(entries: Vec<(u32, &'a [u8])>) -> Self {
        Self { entries }
    }

    /// Reads the pointee of a table with `count` entries. The last one is no prefix and is left out: it bears the
    /// index of another.
    pub(super) fn read(reader: &mut Reader<'a>, count: u32) -> Result<Self, NdrError> {
        reader.same(count)?;
        let count = reader.fits(count, 12).ok_or(NdrError::Count { at: reader.position() - 4 })?;
        let mut heads = reader.clone();
        reader.octets(count * 12)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let (index, length) = (heads.u32()?, heads.u32()?);
            if heads.pointer()? {
                reader.same(length)?;
                let length = reader.fits(length, 1).ok_or(NdrError::Count { at: reader.position() - 4 })?;
                entries.push((index, reader.octets(length)?));
            }
        }
        if entries.last().is_some_and(|(index, octets)| *index == 0 && octets.len() == SCHEMA_INFO && octets[0] == 0xff) {
            entries.pop();
        }
        Ok(Self { entries })
    }

    /// The number that an attribute has in this reply.
    pub fn id(&self, attribute: Attribute) -> Option<u32> {
        let (prefix, last) = attribute.place();
        let (index, _) = self.entries.iter().find(|(_, octets)| *octets == OURS[prefix])?;
        Some(index.checked_shl(16)? | last)
    }

    /// The number of an object identifier, in the basic encoding without tag and length.
    pub fn id_of(&self, identifier: &[u8]) -> Option<u32> {
        let (prefix, low) = attribute_id(identifier)?;
        let (index, _) = self.entries.iter().find(|(_, octets)| *octets == prefix)?;
        Some((index & 0xffff) << 16 | low)
    }

    /// The object identifier behind a number, in the basic encoding without tag and length.
    pub fn identifier(&self, id: u32) -> Option<Vec<u8>> {
        let (_, prefix) = self.entries.iter().find(|(index, _)| *index == id >> 16)?;
        Some(object_identifier(prefix, id & 0xffff))
    }

    /// The number of prefixes.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is no prefix.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.entries.capacity() * size_of::<(u32, &[u8])>()
    }
}

/// Puts prefix and the low half of a number together (MS-DRSR 5.16.4, `OidFromAttid`).
pub fn object_identifier(prefix: &[u8], low: u32) -> Vec<u8> {
    let mut identifier = prefix.to_vec();
    if low >= 128 {
        // The uppermost bit marks numbers from 16384 on; how they begin is part of the prefix.
        identifier.push(0x80 | (low >> 7 & 0x7f).to_le_bytes()[0]);
    }
    identifier.push((low & 0x7f).to_le_bytes()[0]);
    identifier
}

/// Takes an object identifier apart into the prefix and the low half of the number (MS-DRSR 5.16.4, `MakeAttid`).
pub fn attribute_id(identifier: &[u8]) -> Option<(&[u8], u32)> {
    // The octets of the last number: those behind the last octet without the continuation bit but one.
    let begin = identifier[..identifier.len().checked_sub(1)?].iter().rposition(|octet| octet & 0x80 == 0).map_or(0, |at| at + 1);
    let last =
        identifier[begin..].iter().try_fold(0_u32, |value, octet| value.checked_mul(128).map(|value| value | u32::from(octet & 0x7f)))?;
    let taken = if last < 128 { 1 } else { 2 };
    let prefix = identifier.get(..identifier.len().checked_sub(taken)?)?;
    let mark = if last >= 16_384 { 0x8000 } else { 0 };
    Some((prefix, (last % 16_384) | mark))
}

/// The pointee of the table that we send: our prefixes, and a schema state of nothing. Without that a partial set of
/// attributes is refused.
pub(super) fn write(writer: &mut Writer) {
    let mut schema_info = [0; SCHEMA_INFO];
    schema_info[0] = 0xff;
    let entries = [(0, OURS[0]), (1, OURS[1]), (0, &schema_info)];
    writer.count(entries.len());
    for (index, octets) in entries {
        writer.u32(index);
        writer.count(octets.len());
        writer.pointer();
    }
    for (_, octets) in entries {
        writer.count(octets.len());
        writer.octets(octets);
    }
}

/// The number of entries that [`write`] writes.
pub(super) const WRITTEN: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::drsuapi::recorded;

    #[test]
    fn every_vector_holds_both_ways() {
        let vectors = recorded::expected("vectors");
        let table = &vectors["oid_attid"]["prefix_table"];
        let prefixes: Vec<(u32, Vec<u8>)> = table
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["ndx"].as_u64().unwrap().try_into().unwrap(), hex::decode(entry["prefix"].as_str().unwrap()).unwrap()))
            .collect();
        let table = PrefixTable::new(prefixes.iter().map(|(index, octets)| (*index, octets.as_slice())).collect());
        let attributes = vectors["oid_attid"]["attrs"].as_array().unwrap();
        assert_eq!(attributes.len(), 9);
        for attribute in attributes {
            let identifier = hex::decode(attribute["ber"].as_str().unwrap()).unwrap();
            let id = u32::from_str_radix(attribute["attid_local"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
            assert_eq!(table.id_of(&identifier), Some(id), "{attribute}");
            // Beyond 16383 the number alone does not tell the identifier's first octet of the last number; the prefix does.
            assert_eq!(table.identifier(id), Some(identifier.clone()), "{attribute}");
            assert_eq!(hex::encode(attribute_id(&identifier).unwrap().0), attribute["prefix"].as_str().unwrap());
            let known = match attribute["name"].as_str().unwrap() {
                "unicodePwd" => Attribute::UnicodePwd,
                "pwdLastSet" => Attribute::PwdLastSet,
                "userAccountControl" => Attribute::UserAccountControl,
                "isDeleted" => Attribute::IsDeleted,
                _ => continue,
            };
            assert_eq!((known.id(), table.id(known)), (id, Some(id)));
        }
        assert_eq!((table.id_of(&[]), table.id_of(&[0x2a]), table.identifier(0x0009_0001)), (None, None, None));
        assert_eq!(table.id_of(&[0xff; 40]), None);
    }
}
