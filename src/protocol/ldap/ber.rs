//! The few pieces of BER (ITU-T X.690) that control values need, written and read by hand: what a server sends must
//! not be able to stop us, nor make us take memory for lengths that it only claims.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const SEQUENCE: u8 = 0x30;

/// Appends an element.
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

/// Appends an integer in as few octets as its sign needs.
pub(super) fn push_integer(target: &mut Vec<u8>, number: i64) {
    let octets = number.to_be_bytes();
    let needless = |at: usize| match octets[at] {
        0 => octets[at + 1] < 0x80,
        0xff => octets[at + 1] >= 0x80,
        _ => false,
    };
    let skip = (0..7).take_while(|at| needless(*at)).count();
    push(target, INTEGER, &octets[skip..]);
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

/// An element that must have this tag: its content, and what follows it.
pub(super) fn expect(octets: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(octets)?;
    (found == tag).then_some((content, rest))
}

/// The number that the content of an integer element stands for.
pub(super) fn integer(content: &[u8]) -> Option<i64> {
    let first = *content.first()?;
    if content.len() > 8 {
        return None;
    }
    let sign = if first < 0x80 { 0 } else { -1 };
    Some(content.iter().fold(sign, |number, octet| number << 8 | i64::from(*octet)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_take_as_few_octets_as_their_sign_needs() {
        let written = |number: i64| {
            let mut octets = Vec::new();
            push_integer(&mut octets, number);
            octets
        };
        assert_eq!(written(0), [2, 1, 0]);
        assert_eq!(written(127), [2, 1, 127]);
        assert_eq!(written(128), [2, 2, 0, 128]);
        assert_eq!(written(-1), [2, 1, 0xff]);
        assert_eq!(written(-0x8000_0000), [2, 4, 0x80, 0, 0, 0]);
        for number in [0, 1, -1, 127, 128, -128, -129, 65_535, i64::MAX, i64::MIN, -0x8000_0000, 0x8000_0000] {
            let octets = written(number);
            let (content, rest) = expect(&octets, INTEGER).unwrap();
            assert_eq!((integer(content), rest), (Some(number), &[][..]));
        }
        assert_eq!(integer(&[]), None);
        assert_eq!(integer(&[0; 9]), None);
    }
}
