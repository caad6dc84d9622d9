//! Where a delta import goes on: the server's cookie and what it belongs to.

use crate::protocol::ldap::SyncUuid;

const MAGIC: [u8; 4] = *b"SLSY";
/// The version of the form. Another one cannot be read, and then everything is read again.
const VERSION: u8 = 1;
/// The longest cookie that is kept. Those of OpenLDAP have 40 octets for each of up to 4,095 servers.
const COOKIE_MAX: usize = 192 << 10;
/// What stands around the cookie: magic, version, identifier, fingerprint, checksum.
const FIXED: usize = 4 + 1 + 16 + 8 + 4;

/// The end of a complete import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::connector::ldap) struct Watermark {
    /// The `entryUUID` of the naming context's own entry. An address is not enough: behind it there may be a database
    /// that was made anew, and behind another address a replica of the same one.
    pub(super) database: SyncUuid,
    /// Stands for what was asked: naming context and filter.
    pub(super) question: u64,
    /// How far the server had got.
    pub(super) cookie: Vec<u8>,
}

impl Watermark {
    /// The octets to keep.
    pub(in crate::connector::ldap) fn write(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(FIXED + self.cookie.len());
        octets.extend_from_slice(&MAGIC);
        octets.push(VERSION);
        octets.extend_from_slice(&self.database);
        octets.extend_from_slice(&self.question.to_le_bytes());
        octets.extend_from_slice(&self.cookie);
        octets.extend_from_slice(&crc32fast::hash(&octets).to_le_bytes());
        octets
    }

    /// Reads what was kept; `None` when it is of another version, damaged, or nothing of ours.
    pub(in crate::connector::ldap) fn read(octets: &[u8]) -> Option<Self> {
        let (body, sum) = octets.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return None;
        }
        let rest = body.strip_prefix(&MAGIC)?.strip_prefix(&[VERSION])?;
        let (database, rest) = rest.split_first_chunk::<16>()?;
        let (question, cookie) = rest.split_first_chunk::<8>()?;
        is_usable(cookie).then(|| Self { database: *database, question: u64::from_le_bytes(*question), cookie: cookie.to_vec() })
    }
}

/// False for a cookie that says nothing, or that an OpenLDAP server would take for none: it would send everything as if
/// it were new, and say that it had told every delete.
pub(super) fn is_usable(cookie: &[u8]) -> bool {
    if cookie.is_empty() || cookie.len() > COOKIE_MAX {
        return false;
    }
    if !cookie.starts_with(b"rid=") {
        // Another server's, in a form of its own (RFC 4533 section 2.1.2).
        return true;
    }
    let Ok(text) = std::str::from_utf8(cookie) else { return false };
    let Some(list) = text.split(',').find_map(|part| part.strip_prefix("csn=")) else { return false };
    list.split(';').all(is_change_number)
}

/// A change sequence number: `20240101000000.001160Z#000000#000#000000`.
fn is_change_number(text: &str) -> bool {
    const PATTERN: &[u8] = b"00000000000000.000000Z#000000#000#000000";
    let matches = |(octet, wanted): (u8, &u8)| match *wanted {
        b'0' => octet.is_ascii_hexdigit(),
        other => octet == other,
    };
    text.len() == PATTERN.len() && text.bytes().zip(PATTERN).all(matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watermark(cookie: &[u8]) -> Watermark {
        Watermark { database: [7; 16], question: 9, cookie: cookie.to_vec() }
    }

    #[test]
    fn what_is_written_is_read() {
        let one = b"rid=000,csn=20240101000000.001160Z#000000#000#000000".to_vec();
        let two = [&one[..], b";20240101000000.00ff60Z#000000#00a#000000"].concat();
        for cookie in [one.clone(), two, [b"rid=001,sid=00f,", &one[8..]].concat(), b"another server's".to_vec()] {
            assert_eq!(Watermark::read(&watermark(&cookie).write()), Some(watermark(&cookie)));
        }
    }

    #[test]
    fn a_damaged_one_is_none() {
        let octets = watermark(b"rid=000,csn=20240101000000.001160Z#000000#000#000000").write();
        for end in 0..octets.len() {
            assert_eq!(Watermark::read(&octets[..end]), None);
        }
        for at in 0..octets.len() {
            let mut wrong = octets.clone();
            wrong[at] ^= 1;
            assert_eq!(Watermark::read(&wrong), None);
        }
    }

    #[test]
    fn a_cookie_that_the_server_would_take_for_none_is_none() {
        for cookie in ["", "rid=000", "rid=000,csn=", "rid=000,csn=garbage", "rid=000,csn=20240101000000.001160Z#000000#000#000000;"] {
            assert_eq!(Watermark::read(&watermark(cookie.as_bytes()).write()), None, "{cookie}");
        }
        assert_eq!(Watermark::read(&watermark(&vec![b'x'; COOKIE_MAX + 1]).write()), None);
    }
}
