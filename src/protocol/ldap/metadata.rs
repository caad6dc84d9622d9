//! `replPropertyMetaData` of Active Directory: when and how often each attribute of an object was changed, as the domain
//! controller numbers changes (stamps: MS-ADTS 3.1.1.1.9, stored form: 3.1.1.2.1).

/// The attribute `name`, the relative name of an object, by its compact number (MS-ADTS 3.1.1.2.6, prefix 9).
pub const NAME_ATTRIBUTE: u32 = 0x0009_0001;
/// The attribute `unicodePwd` in the same way.
pub const PASSWORD_ATTRIBUTE: u32 = 0x0009_005a;
/// Octets before the first record: version, reserved, count, reserved.
const HEADER: usize = 16;
/// Octets of a record: attribute, version, time, invocation id, the originator's number, the number here.
const RECORD: usize = 48;

/// The last change of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeStamp {
    /// How often the attribute was changed.
    pub version: u32,
    /// When, in seconds since 1601-01-01 UTC.
    pub seconds: u64,
    /// The number of the change on the domain controller that was asked.
    pub usn: u64,
}

impl AttributeStamp {
    /// The stamp of an attribute, by its compact number; `None` when the value does not tell.
    pub fn of(value: &[u8], attribute: u32) -> Option<Self> {
        if word(value, 0)? != 1 {
            return None;
        }
        let count = usize::try_from(word(value, 8)?).ok()?;
        let record = value.get(HEADER..)?.chunks_exact(RECORD).take(count).find(|record| word(record, 0) == Some(attribute))?;
        Some(Self { version: word(record, 4)?, seconds: long(record, 8)?, usn: long(record, RECORD - 8)? })
    }
}

fn word(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn long(octets: &[u8], at: usize) -> Option<u64> {
    octets.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(records: &[(u32, AttributeStamp)]) -> Vec<u8> {
        let count = u32::try_from(records.len()).unwrap();
        let mut octets = [1u32.to_le_bytes(), [0; 4], count.to_le_bytes(), [0; 4]].concat();
        for (attribute, stamp) in records {
            octets.extend([attribute.to_le_bytes(), stamp.version.to_le_bytes()].concat());
            octets.extend(stamp.seconds.to_le_bytes());
            octets.extend([9; 24]);
            octets.extend(stamp.usn.to_le_bytes());
        }
        octets
    }

    const RENAMED: AttributeStamp = AttributeStamp { version: 2, seconds: 13_348_640_645, usn: 77 };
    const OTHER: AttributeStamp = AttributeStamp { version: 1, seconds: 13_348_640_000, usn: 99 };

    #[test]
    fn the_stamp_of_an_attribute_is_found() {
        let whole = blob(&[(0, OTHER), (NAME_ATTRIBUTE, RENAMED), (3, OTHER)]);
        assert_eq!(AttributeStamp::of(&whole, NAME_ATTRIBUTE), Some(RENAMED));
        assert_eq!(AttributeStamp::of(&whole, PASSWORD_ATTRIBUTE), None);
    }

    #[test]
    fn what_is_cut_off_or_lies_tells_nothing_wrong() {
        let whole = blob(&[(0, OTHER), (NAME_ATTRIBUTE, RENAMED)]);
        for end in 0..whole.len() {
            assert_eq!(AttributeStamp::of(&whole[..end], NAME_ATTRIBUTE), None, "{end}");
        }
        let mut lying = whole.clone();
        lying[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(AttributeStamp::of(&lying, NAME_ATTRIBUTE), Some(RENAMED));
        assert_eq!(AttributeStamp::of(&lying, PASSWORD_ATTRIBUTE), None);
        lying[..4].copy_from_slice(&9u32.to_le_bytes());
        assert_eq!(AttributeStamp::of(&lying, NAME_ATTRIBUTE), None);
    }
}
