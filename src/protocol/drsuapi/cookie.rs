//! Where a reader of changes left off, in a form of our own that can be kept: no secret, but it steers what is read.

use super::{Cursor, Position};
use crate::protocol::dcerpc::Guid;

/// The version of the form. Another one cannot be read, and then everything is read again.
pub const COOKIE_VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"SLRC";
/// Everything but the text and the cursors: magic, version, two GUIDs and the context's, position, time, two counts, sum.
const FIXED: usize = 4 + 1 + 3 * 16 + 3 * 8 + 8 + 2 + 4 + 4;
const CURSOR: usize = 24;

/// The end of a complete cycle at one controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// The naming context by its name.
    pub context: String,
    /// The naming context by its GUID: a domain that was made anew has another.
    pub context_guid: Guid,
    /// The controller.
    pub agent: Guid,
    /// Its database's life.
    pub invocation: Guid,
    /// Where it stood.
    pub position: Position,
    /// Everything known, of whichever controller.
    pub known: Vec<Cursor>,
    /// When the cycle ended: microseconds since 1970-01-01 UTC.
    pub taken: i64,
}

/// Why octets are no cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CookieError {
    /// Of another version, or nothing of ours.
    #[error("its form is not known to this version")]
    Form,
    /// The checksum or a length is wrong.
    #[error("it is damaged")]
    Damaged,
}

impl Cookie {
    /// The octets to keep.
    pub fn write(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(FIXED + self.context.len() + self.known.len() * CURSOR);
        octets.extend_from_slice(&MAGIC);
        octets.push(COOKIE_VERSION);
        for guid in [self.context_guid, self.agent, self.invocation] {
            octets.extend_from_slice(&guid.0);
        }
        for number in self.position.into_iter().chain([self.taken]) {
            octets.extend_from_slice(&number.to_le_bytes());
        }
        // A name or a vector beyond these lengths does not exist; a cookie cut short is read as a damaged one.
        octets.extend_from_slice(&u16::try_from(self.context.len()).unwrap_or(u16::MAX).to_le_bytes());
        octets.extend_from_slice(self.context.as_bytes());
        octets.extend_from_slice(&u32::try_from(self.known.len()).unwrap_or(u32::MAX).to_le_bytes());
        for cursor in &self.known {
            octets.extend_from_slice(&cursor.invocation.0);
            octets.extend_from_slice(&cursor.usn.to_le_bytes());
        }
        octets.extend_from_slice(&crc32fast::hash(&octets).to_le_bytes());
        octets
    }

    /// Reads what was kept.
    pub fn read(octets: &[u8]) -> Result<Self, CookieError> {
        let rest = octets.strip_prefix(&MAGIC).ok_or(CookieError::Form)?;
        let (version, rest) = rest.split_first().ok_or(CookieError::Form)?;
        if *version != COOKIE_VERSION {
            return Err(CookieError::Form);
        }
        let (body, sum) = rest.split_last_chunk::<4>().ok_or(CookieError::Damaged)?;
        if crc32fast::hash(&octets[..octets.len() - sum.len()]) != u32::from_le_bytes(*sum) {
            return Err(CookieError::Damaged);
        }
        let mut rest = body;
        let mut guids = [Guid::NIL; 3];
        for guid in &mut guids {
            *guid = Guid(take(&mut rest)?);
        }
        let mut numbers = [0; 4];
        for number in &mut numbers {
            *number = i64::from_le_bytes(take(&mut rest)?);
        }
        let length = usize::from(u16::from_le_bytes(take(&mut rest)?));
        let (context, after) = rest.split_at_checked(length).ok_or(CookieError::Damaged)?;
        let context = std::str::from_utf8(context).map_err(|_| CookieError::Damaged)?.to_owned();
        rest = after;
        let count = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).map_err(|_| CookieError::Damaged)?;
        if count.checked_mul(CURSOR) != Some(rest.len()) {
            return Err(CookieError::Damaged);
        }
        let mut known = Vec::with_capacity(count);
        for _ in 0..count {
            known.push(Cursor { invocation: Guid(take(&mut rest)?), usn: i64::from_le_bytes(take(&mut rest)?) });
        }
        let [context_guid, agent, invocation] = guids;
        let [high_object, reserved, high_property, taken] = numbers;
        Ok(Self { context, context_guid, agent, invocation, position: [high_object, reserved, high_property], known, taken })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], CookieError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(CookieError::Damaged)?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie() -> Cookie {
        Cookie {
            context: "DC=grün,DC=example".to_owned(),
            context_guid: Guid([1; 16]),
            agent: Guid([2; 16]),
            invocation: Guid([3; 16]),
            position: [4_111, 0, 4_111],
            known: vec![Cursor { invocation: Guid([3; 16]), usn: 4_111 }, Cursor { invocation: Guid([4; 16]), usn: -1 }],
            taken: 1_795_000_000_000_000,
        }
    }

    #[test]
    fn what_is_kept_is_read() {
        let octets = cookie().write();
        assert_eq!(octets.len(), FIXED + "DC=grün,DC=example".len() + 2 * CURSOR);
        assert_eq!(Cookie::read(&octets), Ok(cookie()));
        let bare = Cookie { known: Vec::new(), context: String::new(), ..cookie() };
        assert_eq!(Cookie::read(&bare.write()), Ok(bare));
    }

    #[test]
    fn what_is_damaged_or_foreign_is_not() {
        let octets = cookie().write();
        for length in 0..octets.len() {
            assert!(Cookie::read(&octets[..length]).is_err(), "{length}");
        }
        for index in 0..octets.len() {
            let mut other = octets.clone();
            other[index] ^= 0x10;
            let expected = if index < 5 { CookieError::Form } else { CookieError::Damaged };
            assert_eq!(Cookie::read(&other), Err(expected), "{index}");
        }
        let mut longer = octets.clone();
        longer.push(0);
        assert_eq!(Cookie::read(&longer), Err(CookieError::Damaged));
        assert_eq!(Cookie::read(b"MSDS"), Err(CookieError::Form));
    }
}
