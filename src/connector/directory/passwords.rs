//! What the attributes of an account say about its password, for the sources that see them as plain attributes (LDIF, a
//! Samba domain controller's own socket).

use crate::connector::PasswordChange;
use crate::model::{Anchor, Timestamp};
use crate::password::hash::NtHash;
use zeroize::Zeroize as _;

/// The number of `unicodePwd` in replication (MS-ADA3; specification: DRSUAPI 12).
pub(crate) const PASSWORD_ATTRIBUTE: u32 = 589_914;

/// Seconds between the beginnings of the Windows and of the Unix calendar.
const EPOCH_SECONDS: i64 = 11_644_473_600;

/// The attributes of one account, as they came. Secrets are wiped when it is turned into a change, or dropped.
#[derive(Default)]
pub(crate) struct AccountAttributes {
    /// `unicodePwd`: the 16 octets of the NT hash, once.
    pub(crate) hashes: Vec<Vec<u8>>,
    /// `pwdLastSet`: 100 ns since 1601 (MS-ADA3 2.175); 0: must be changed.
    pub(crate) last_set: Option<String>,
    /// When `unicodePwd` was changed, and how often, where the directory keeps that.
    pub(crate) metadata: Option<(Timestamp, u32)>,
    /// `isDeleted`.
    pub(crate) deleted: bool,
}

impl Drop for AccountAttributes {
    fn drop(&mut self) {
        self.hashes.zeroize();
    }
}

impl AccountAttributes {
    /// What the account's password is. All of the account's attributes were read: what is missing is not there.
    ///
    /// # Errors
    /// A sentence for people, without values.
    pub(crate) fn change(self, anchor: Anchor, dn: &str) -> Result<PasswordChange, String> {
        let hash = match self.hashes.as_slice() {
            [] => None,
            [octets] => Some(nt_hash(octets)?),
            more => return Err(format!("unicodePwd has {} values; an account has one", more.len())),
        };
        let last_set = match self.last_set.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(text) => match text.parse::<i64>() {
                Ok(ticks) if ticks >= 0 => Some(ticks),
                _ => return Err("pwdLastSet is not a number of 100 ns since 1601".to_owned()),
            },
        };
        let set_at = last_set.filter(|ticks| *ticks > 0).and_then(timestamp);
        Ok(PasswordChange {
            anchor,
            dn: dn.to_owned(),
            hash: Some(hash),
            // As replication tells it, so that one account may be read in both ways.
            changed: self.metadata.map(|(at, _)| at).or(set_at),
            version: self.metadata.map(|(_, version)| version),
            must_change: last_set.map(|ticks| ticks == 0),
            deleted: self.deleted,
        })
    }
}

/// The hash of a value, whose content is in no message.
fn nt_hash(octets: &[u8]) -> Result<NtHash, String> {
    NtHash::from_octets(octets)
        .ok_or_else(|| format!("unicodePwd has {} octets; it must be the 16 octets of the NT hash (in LDIF as base64)", octets.len()))
}

/// A point in time from 100 ns since 1601; `None` for "never" and other times beyond the calendar.
fn timestamp(ticks: i64) -> Option<Timestamp> {
    let micros = (ticks / 10).checked_sub(EPOCH_SECONDS * 1_000_000)?;
    jiff::Timestamp::from_microsecond(micros).ok().map(|_| Timestamp(micros))
}

/// When an attribute was changed and how often, from `replPropertyMetaData` (MS-ADTS 3.1.1.2.1; its stored form begins with
/// a version, 1, and the number of entries, each of 48 octets: attribute, version, seconds since 1601, who, two USNs).
pub(crate) fn metadata_of(blob: &[u8], attribute: u32) -> Option<(Timestamp, u32)> {
    const HEAD: usize = 16;
    const ENTRY: usize = 48;
    let number = |octets: &[u8], at: usize| octets.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    if number(blob, 0)? != 1 {
        return None;
    }
    let count = usize::try_from(number(blob, 8)?).ok()?;
    let entry = blob.get(HEAD..)?.chunks_exact(ENTRY).take(count).find(|entry| number(entry, 0) == Some(attribute))?;
    let seconds = i64::try_from(u64::from_le_bytes(entry.get(8..16)?.try_into().ok()?)).ok()?;
    let at = jiff::Timestamp::from_second(seconds.checked_sub(EPOCH_SECONDS)?).ok()?;
    Some((Timestamp(at.as_microsecond()), number(entry, 4)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(hashes: &[&[u8]], last_set: Option<&str>) -> Result<PasswordChange, String> {
        let account = AccountAttributes {
            hashes: hashes.iter().map(|hash| hash.to_vec()).collect(),
            last_set: last_set.map(str::to_owned),
            ..AccountAttributes::default()
        };
        account.change(Anchor::new([1, 2].as_slice()), "CN=Ann,DC=corp")
    }

    #[test]
    fn attributes_become_a_change() {
        let hash = *b"0123456789abcdef";
        let whole = change(&[&hash], Some("133486406456789010")).unwrap();
        assert!(matches!(&whole.hash, Some(Some(_))));
        assert_eq!((whole.must_change, whole.changed), (Some(false), Some(Timestamp(1_704_167_045_678_901))));
        let temporary = change(&[&hash], Some("0")).unwrap();
        assert_eq!((temporary.must_change, temporary.changed), (Some(true), None));
        let bare = change(&[], None).unwrap();
        assert!(matches!(bare.hash, Some(None)));
        assert_eq!((bare.must_change, bare.changed), (None, None));
        // "Never", as some tools write it, is no time.
        assert_eq!(change(&[&hash], Some("9223372036854775807")).unwrap().changed, None);
        for (hashes, last_set) in
            [(vec![&hash[..15]], None), (vec![&hash[..], &hash[..]], None), (vec![&hash[..]], Some("-1")), (vec![], Some("x"))]
        {
            let sentence = change(&hashes, last_set).unwrap_err();
            assert!(!sentence.contains("0123") && !sentence.contains("30313233"), "{sentence}");
        }
    }

    #[test]
    fn metadata_is_found_and_never_trusted() {
        let entry = |attribute: u32, version: u32, seconds: u64| {
            let mut entry = [attribute.to_le_bytes(), version.to_le_bytes()].concat();
            entry.extend(seconds.to_le_bytes());
            entry.extend([7; 32]);
            entry
        };
        let mut blob = [1u32.to_le_bytes(), [0; 4], 2u32.to_le_bytes(), [0; 4]].concat();
        blob.extend(entry(3, 1, 13_348_640_000));
        blob.extend(entry(589_914, 5, 13_348_640_645));
        assert_eq!(metadata_of(&blob, 589_914), Some((Timestamp::from_seconds(1_704_167_045), 5)));
        assert_eq!(metadata_of(&blob, 4), None);
        for length in 0..blob.len() {
            assert_eq!(metadata_of(&blob[..length], 589_914), None, "{length}");
        }
        let mut lying = blob.clone();
        lying[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(metadata_of(&lying, 589_914).is_some());
        lying[..4].copy_from_slice(&9u32.to_le_bytes());
        assert_eq!(metadata_of(&lying, 589_914), None);
    }
}
