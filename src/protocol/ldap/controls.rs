//! The value of the paged results control (RFC 2696), written and read by hand: what a server sends must not be able
//! to stop us.

use super::ber::{INTEGER, OCTET_STRING, SEQUENCE, expect, push, push_integer};

/// Object identifier of the paged results control.
pub const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";

/// What a server says at the end of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagedReply {
    /// To be sent with the request for the next page; empty behind the last one.
    pub cookie: Vec<u8>,
}

/// The control value that asks for a page: `SEQUENCE { size INTEGER, cookie OCTET STRING }`.
pub fn paged_request(size: u32, cookie: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(cookie.len() + 16);
    push_integer(&mut body, i64::from(size.min(i32::MAX.unsigned_abs())));
    push(&mut body, OCTET_STRING, cookie);
    let mut value = Vec::with_capacity(body.len() + 6);
    push(&mut value, SEQUENCE, &body);
    value
}

impl PagedReply {
    /// Reads a reply; `None` when it is no such value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (body, _) = expect(value, SEQUENCE)?;
        let (_, rest) = expect(body, INTEGER)?;
        let (cookie, _) = expect(rest, OCTET_STRING)?;
        Some(Self { cookie: cookie.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_back() {
        assert_eq!(paged_request(1_000, b""), [0x30, 6, 2, 2, 0x03, 0xe8, 4, 0]);
        assert_eq!(paged_request(200, b"ab"), [0x30, 8, 2, 2, 0, 0xc8, 4, 2, b'a', b'b']);
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let cookie = vec![7; length];
            assert_eq!(PagedReply::parse(&paged_request(0, &cookie)).unwrap().cookie, cookie);
        }
    }

    #[test]
    fn what_is_cut_off_or_lies_about_its_length_is_no_reply() {
        let whole = paged_request(1_000, &[1; 200]);
        for end in 0..whole.len() {
            assert_eq!(PagedReply::parse(&whole[..end]), None);
        }
        assert_eq!(PagedReply::parse(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(PagedReply::parse(&[0x30, 0x80]), None);
    }
}
