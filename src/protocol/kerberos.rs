//! What a Kerberos key distribution centre says when it refuses: the code, and what time it has (RFC 4120 section 5.9.1).
//!
//! Everything else about Kerberos is the business of a library; it keeps the reason of a refusal to itself.

use crate::model::Timestamp;

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why (RFC 4120 section 7.5.9).
    pub code: u32,
    /// The time at the other side.
    pub server_time: Timestamp,
}

impl Refusal {
    /// No such account.
    pub const CLIENT_UNKNOWN: u32 = 6;
    /// No such service.
    pub const SERVICE_UNKNOWN: u32 = 7;
    /// Disabled, locked out, expired, or outside of its hours.
    pub const ACCOUNT_REVOKED: u32 = 18;
    /// The password has expired.
    pub const PASSWORD_EXPIRED: u32 = 23;
    /// The password is wrong.
    pub const WRONG_PASSWORD: u32 = 24;
    /// Not a refusal, but the first half of every sign-in.
    pub const PASSWORD_WANTED: u32 = 25;
    /// The clocks differ too much.
    pub const CLOCK_SKEW: u32 = 37;
    /// The realm is another one.
    pub const WRONG_REALM: u32 = 68;

    /// Reads an answer; none when it is no refusal.
    pub fn read(message: &[u8]) -> Option<Self> {
        // [APPLICATION 30] around a sequence of tagged fields.
        let fields = element(element(message, 0x7e)?.0, 0x30)?.0;
        let (mut time, mut code) = (None, None);
        let mut rest = fields;
        while let Some(tag) = rest.first() {
            let (field, after) = element(rest, *tag)?;
            match tag {
                0xa4 => time = time_of(element(field, 0x18)?.0),
                0xa6 => code = number(element(field, 0x02)?.0),
                _ => {}
            }
            rest = after;
        }
        Some(Self { code: code?, server_time: time? })
    }
}

/// The content of an element with a tag, and what follows it (X.690 section 8.1).
fn element(octets: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = octets else { return None };
    if *found != tag {
        return None;
    }
    let (length, rest) = if *length < 0x80 {
        (usize::from(*length), rest)
    } else {
        let (long, rest) = rest.split_at_checked(usize::from(length & 0x7f)).filter(|(long, _)| (1..=4).contains(&long.len()))?;
        (long.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
    };
    rest.split_at_checked(length)
}

fn number(octets: &[u8]) -> Option<u32> {
    (1..=4).contains(&octets.len()).then(|| octets.iter().fold(0, |number, octet| number << 8 | u32::from(*octet)))
}

/// `20261121145117Z` (RFC 4120 section 5.2.3).
fn time_of(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 15 && text.is_ascii())?;
    let digits = |from: usize, to: usize| text[from..to].parse::<i8>().ok();
    let year = text[..4].parse().ok()?;
    let date = jiff::civil::Date::new(year, digits(4, 6)?, digits(6, 8)?).ok()?;
    let time = jiff::civil::Time::new(digits(8, 10)?, digits(10, 12)?, digits(12, 14)?, 0).ok()?;
    let zoned = date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refusal as a Samba domain controller sends it: no client time, texts at the end.
    fn refusal() -> Vec<u8> {
        let mut fields = Vec::new();
        fields.extend_from_slice(&[0xa0, 3, 2, 1, 5, 0xa1, 3, 2, 1, 30]);
        fields.extend_from_slice(&[0xa4, 0x11, 0x18, 0x0f]);
        fields.extend_from_slice(b"20261121145117Z");
        fields.extend_from_slice(&[0xa5, 3, 2, 1, 9, 0xa6, 3, 2, 1, 24]);
        fields.extend_from_slice(&[0xa9, 6, 0x1b, 4]);
        fields.extend_from_slice(b"CORP");
        let length = u8::try_from(fields.len()).unwrap();
        let mut message = vec![0x7e, length + 2, 0x30, length];
        message.extend_from_slice(&fields);
        message
    }

    #[test]
    fn a_refusal_tells_why_and_when() {
        let read = Refusal::read(&refusal()).unwrap();
        assert_eq!((read.code, read.server_time.to_string().as_str()), (Refusal::WRONG_PASSWORD, "2026-11-21T14:51:17.000Z"));
    }

    #[test]
    fn other_octets_are_none() {
        let message = refusal();
        for length in 0..message.len() {
            assert_eq!(Refusal::read(&message[..length]), None, "{length}");
        }
        for index in 0..message.len() {
            let mut other = message.clone();
            other[index] ^= 0x81;
            // Whatever it is read as, it is read without harm.
            let _ = Refusal::read(&other);
        }
        assert_eq!(Refusal::read(&[0x7e, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(Refusal::read(&[0x6b, 2, 0x30, 0]), None);
    }
}
