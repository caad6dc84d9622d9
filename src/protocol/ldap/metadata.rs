//! `replPropertyMetaData` of Active Directory: when which attribute of an object was changed last, as the domain
//! controller numbers changes (stamps: MS-ADTS 3.1.1.1.9; the layout is the one in which domain controllers give it).

/// The attribute `name`, the relative name of an object, by its compact number (MS-ADTS 3.1.1.2.6, prefix 9).
const NAME: u32 = 0x0009_0001;
/// Octets before the first record: version, reserved, count, reserved.
const HEADER: usize = 16;
/// Octets of a record: attribute, version, time, invocation id, the originator's number, the number here.
const RECORD: usize = 48;

/// The number that the last change of an object's name has on the domain controller that was asked; `None` when the
/// value does not tell.
pub fn renamed_at(value: &[u8]) -> Option<u64> {
    let number = |at: usize| -> Option<u32> { Some(u32::from_le_bytes(value.get(at..at + 4)?.try_into().ok()?)) };
    if number(0)? != 1 {
        return None;
    }
    let records = value.get(HEADER..)?;
    let count = usize::try_from(number(8)?).ok()?;
    let name = records.chunks_exact(RECORD).take(count).find(|record| record[..4] == NAME.to_le_bytes())?;
    Some(u64::from_le_bytes(name[RECORD - 8..].try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(records: &[(u32, u64)]) -> Vec<u8> {
        let mut octets = Vec::new();
        octets.extend_from_slice(&1u32.to_le_bytes());
        octets.extend_from_slice(&[0; 4]);
        octets.extend_from_slice(&u32::try_from(records.len()).unwrap().to_le_bytes());
        octets.extend_from_slice(&[0; 4]);
        for (attribute, number) in records {
            octets.extend_from_slice(&attribute.to_le_bytes());
            octets.extend_from_slice(&[9; RECORD - 12]);
            octets.extend_from_slice(&number.to_le_bytes());
        }
        octets
    }

    #[test]
    fn the_number_of_the_last_rename_is_found() {
        assert_eq!(renamed_at(&blob(&[(0, 5), (NAME, 77), (3, 99)])), Some(77));
        assert_eq!(renamed_at(&blob(&[(0, 5)])), None);
    }

    #[test]
    fn what_is_cut_off_tells_nothing() {
        let whole = blob(&[(NAME, 77)]);
        for end in 0..whole.len() {
            assert_eq!(renamed_at(&whole[..end]), None, "{end}");
        }
        let mut lying = blob(&[(3, 1)]);
        lying[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(renamed_at(&lying), None);
    }
}
