//! The DirSync control of Active Directory (MS-ADTS 3.1.1.3.4.1.3): what changed in a naming context since a cookie.

use super::ber::{INTEGER, OCTET_STRING, SEQUENCE, expect, integer, push, push_integer};

/// Object identifier of the DirSync control.
pub const DIRSYNC: &str = "1.2.840.113556.1.4.841";
/// Flag: give what the account may see, instead of all to an account with the right to replicate.
pub const OBJECT_SECURITY: u32 = 0x1;
/// Flag: of attributes that link objects, give the values that came and went instead of all.
pub const INCREMENTAL_VALUES: u32 = 0x8000_0000;

/// Octets of a cookie at most. They grow with the number of domain controllers, of which no forest has so many.
pub const COOKIE_MAX: usize = 1 << 20;

/// What a server says at the end of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirSyncReply {
    /// There is more: ask again with the cookie.
    pub more: bool,
    /// Where the next request begins.
    pub cookie: Vec<u8>,
}

/// The control value of a request: `SEQUENCE { flags INTEGER, maxBytes INTEGER, cookie OCTET STRING }`. The flags are
/// a signed number there, so that the highest one makes it negative.
pub fn dirsync_request(flags: u32, max_octets: u32, cookie: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(cookie.len() + 20);
    push_integer(&mut body, i64::from(flags.cast_signed()));
    push_integer(&mut body, i64::from(max_octets.min(i32::MAX.unsigned_abs())));
    push(&mut body, OCTET_STRING, cookie);
    let mut value = Vec::with_capacity(body.len() + 6);
    push(&mut value, SEQUENCE, &body);
    value
}

impl DirSyncReply {
    /// Reads a reply; `None` when it is no such value, or its cookie is larger than any can be.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (body, _) = expect(value, SEQUENCE)?;
        let (more, rest) = expect(body, INTEGER)?;
        let (_, rest) = expect(rest, INTEGER)?;
        let (cookie, _) = expect(rest, OCTET_STRING)?;
        let more = integer(more)? != 0;
        (cookie.len() <= COOKIE_MAX).then(|| Self { more, cookie: cookie.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written_as_servers_expect_them() {
        assert_eq!(
            dirsync_request(INCREMENTAL_VALUES, 1 << 20, b"ab"),
            [0x30, 15, 2, 4, 0x80, 0, 0, 0, 2, 3, 0x10, 0, 0, 4, 2, b'a', b'b']
        );
        assert_eq!(dirsync_request(OBJECT_SECURITY, 0, b""), [0x30, 8, 2, 1, 1, 2, 1, 0, 4, 0]);
        assert_eq!(dirsync_request(INCREMENTAL_VALUES | OBJECT_SECURITY, 0, b"")[2..8], [2, 4, 0x80, 0, 0, 1]);
    }

    #[test]
    fn replies_tell_whether_there_is_more() {
        let reply = |more: i64, cookie: &[u8]| {
            let mut body = Vec::new();
            push_integer(&mut body, more);
            push_integer(&mut body, 0);
            push(&mut body, OCTET_STRING, cookie);
            let mut value = Vec::new();
            push(&mut value, SEQUENCE, &body);
            value
        };
        assert_eq!(DirSyncReply::parse(&reply(0, b"abc")), Some(DirSyncReply { more: false, cookie: b"abc".to_vec() }));
        assert!(DirSyncReply::parse(&reply(1, &[7; 300])).unwrap().more);
        assert!(DirSyncReply::parse(&reply(-1, b"")).unwrap().more);
        assert_eq!(DirSyncReply::parse(&reply(0, &vec![0; COOKIE_MAX + 1])), None);
        let whole = reply(1, &[1; 200]);
        for end in 0..whole.len() {
            assert_eq!(DirSyncReply::parse(&whole[..end]), None, "{end}");
        }
        assert_eq!(DirSyncReply::parse(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
