//! What the attributes of an account say about its password, for the sources that see them as plain attributes (LDIF, a
//! Samba domain controller's own socket).

use crate::connector::{ACCOUNT_DISABLED, PasswordChange};
use crate::model::{Anchor, Timestamp};
use crate::password::hash::NtHash;
use crate::protocol::ldap::{AttributeStamp, PASSWORD_ATTRIBUTE};
use zeroize::Zeroize as _;

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
    /// `userAccountControl` (MS-ADTS 2.2.16).
    pub(crate) control: Option<String>,
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
            disabled: self
                .control
                .as_deref()
                .and_then(|text| text.trim().parse::<i64>().ok())
                .map(|control| control & ACCOUNT_DISABLED != 0),
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

/// When the password was changed and how often, from `replPropertyMetaData`.
pub(crate) fn password_metadata(value: &[u8]) -> Option<(Timestamp, u32)> {
    let stamp = AttributeStamp::of(value, PASSWORD_ATTRIBUTE)?;
    let seconds = i64::try_from(stamp.seconds).ok()?.checked_sub(EPOCH_SECONDS)?;
    let at = jiff::Timestamp::from_second(seconds).ok()?;
    Some((Timestamp(at.as_microsecond()), stamp.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(hashes: &[&[u8]], last_set: Option<&str>) -> Result<PasswordChange, String> {
        let account = AccountAttributes {
            hashes: hashes.iter().map(|hash| hash.to_vec()).collect(),
            last_set: last_set.map(str::to_owned),
            control: Some("514".to_owned()),
            metadata: None,
            deleted: false,
        };
        account.change(Anchor::new([1, 2].as_slice()), "CN=Ann,DC=corp")
    }

    #[test]
    fn attributes_become_a_change() {
        let hash = *b"0123456789abcdef";
        let whole = change(&[&hash], Some("133486406456789010")).unwrap();
        assert!(matches!(&whole.hash, Some(Some(_))) && whole.disabled == Some(true));
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
    fn metadata_tells_when_the_password_was_changed() {
        let blob = |seconds: u64| {
            let mut blob = [1u32.to_le_bytes(), [0; 4], 1u32.to_le_bytes(), [0; 4]].concat();
            blob.extend([PASSWORD_ATTRIBUTE.to_le_bytes(), 5u32.to_le_bytes()].concat());
            blob.extend(seconds.to_le_bytes());
            blob.extend([7; 32]);
            blob
        };
        assert_eq!(PASSWORD_ATTRIBUTE, 589_914);
        assert_eq!(password_metadata(&blob(13_348_640_645)), Some((Timestamp::from_seconds(1_704_167_045), 5)));
        assert_eq!(password_metadata(&blob(u64::MAX)), None, "no time of the calendar");
        assert_eq!(password_metadata(b""), None);
    }
}
