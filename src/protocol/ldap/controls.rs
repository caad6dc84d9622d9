//! The value of the paged results control (RFC 2696), written and read by hand: what a server sends must not be able
//! to stop us. The elements of ASN.1 it is made of serve other controls, too.

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
    let size = i64::from(size.min(i32::MAX.unsigned_abs())).to_be_bytes();
    // DER: no octet more than the sign needs.
    let skip = (0..7).take_while(|at| size[*at] == 0 && size[at + 1] < 0x80).count();
    push(&mut body, 0x02, &size[skip..]);
    push(&mut body, 0x04, cookie);
    let mut value = Vec::with_capacity(body.len() + 6);
    push(&mut value, 0x30, &body);
    value
}

impl PagedReply {
    /// Reads a reply; `None` when it is no such value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (0x30, body, _) = element(value)? else { return None };
        let (0x02, _, rest) = element(body)? else { return None };
        let (0x04, cookie, _) = element(rest)? else { return None };
        Some(Self { cookie: cookie.to_vec() })
    }
}

pub(super) fn push(target: &mut Vec<u8>, tag: u8, content: &[u8]) {
    target.push(tag);
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => target.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let skip = length.iter().take_while(|octet| **octet == 0).count();
            // At most eight octets of length.
            target.push(0x80 | u8::try_from(length.len() - skip).unwrap_or_default());
            target.extend_from_slice(&length[skip..]);
        }
    }
    target.extend_from_slice(content);
}

/// The first element: its tag, its content, and what follows it.
pub(super) fn element(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = octets.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(*first & 0x7f);
        if count == 0 || count > 4 || rest.len() < count {
            return None;
        }
        let length = rest[..count].iter().fold(0usize, |length, octet| length << 8 | usize::from(*octet));
        (length, &rest[count..])
    };
    (rest.len() >= length).then(|| (*tag, &rest[..length], &rest[length..]))
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
