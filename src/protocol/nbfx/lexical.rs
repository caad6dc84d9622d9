//! Lexical forms of values that binary XML carries as numbers.

use std::fmt::Write as _;

/// Ticks of 100 ns per second.
const TICKS: u64 = 10_000_000;

/// A GUID in the order of Windows: the first three fields little-endian.
pub(super) fn guid(bytes: [u8; 16]) -> String {
    uuid::Uuid::from_bytes_le(bytes).hyphenated().to_string()
}

/// A date: ticks since 0001-01-01 in the low 62 bits, the kind above them (0 unspecified, 1 UTC, 2 local).
pub(super) fn date_time(raw: u64) -> Option<String> {
    let ticks = raw & 0x3FFF_FFFF_FFFF_FFFF;
    let seconds = i64::try_from(ticks / TICKS).ok()? - 62_135_596_800;
    let stamp = jiff::Timestamp::from_second(seconds).ok()?;
    let mut text = stamp.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    push_fraction(&mut text, ticks % TICKS);
    if raw >> 62 == 1 {
        text.push('Z');
    }
    Some(text)
}

/// A time span in ticks as an XSD duration.
pub(super) fn time_span(ticks: i64) -> String {
    let mut text = String::from(if ticks < 0 { "-P" } else { "P" });
    let total = ticks.unsigned_abs();
    let (days, rest) = (total / TICKS / 86_400, total % (TICKS * 86_400));
    let (hours, minutes, seconds, fraction) = (rest / TICKS / 3_600, rest / TICKS / 60 % 60, rest / TICKS % 60, rest % TICKS);
    if days > 0 {
        let _ = write!(text, "{days}D");
    }
    if rest > 0 || days == 0 {
        text.push('T');
        if hours > 0 {
            let _ = write!(text, "{hours}H");
        }
        if minutes > 0 {
            let _ = write!(text, "{minutes}M");
        }
        if seconds > 0 || fraction > 0 || total == 0 {
            let _ = write!(text, "{seconds}");
            push_fraction(&mut text, fraction);
            text.push('S');
        }
    }
    text
}

/// A decimal of .NET: reserved, scale, sign, high 32 bits, low 64 bits.
pub(super) fn decimal(bytes: [u8; 16]) -> Option<String> {
    let scale = usize::from(bytes[2]);
    let sign = bytes[3];
    if scale > 28 || (sign != 0 && sign != 0x80) {
        return None;
    }
    let high = u128::from(u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]));
    let low = u128::from(u64::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15]]));
    let mut digits = (high << 64 | low).to_string();
    if scale > 0 {
        while digits.len() <= scale {
            digits.insert(0, '0');
        }
        digits.insert(digits.len() - scale, '.');
    }
    if sign == 0x80 {
        digits.insert(0, '-');
    }
    Some(digits)
}

/// A float as XSD spells it.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "INF" } else { "-INF" }.to_owned()
    } else {
        value.to_string()
    }
}

fn push_fraction(text: &mut String, fraction: u64) {
    if fraction > 0 {
        let digits = format!("{fraction:07}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_spans_and_decimals() {
        assert_eq!(date_time(0).unwrap(), "0001-01-01T00:00:00");
        let ticks = (1_704_164_645 + 62_135_596_800) * TICKS + 6_789_010;
        assert_eq!(date_time(1 << 62 | ticks).unwrap(), "2024-01-02T03:04:05.678901Z");
        assert_eq!(time_span(18_000_000_000), "PT30M");
        assert_eq!(time_span(0), "PT0S");
        assert_eq!(time_span(-864_000_000_000), "-P1D");
        let mut raw = [0u8; 16];
        raw[2] = 2;
        raw[3] = 0x80;
        raw[8] = 5;
        assert_eq!(decimal(raw).unwrap(), "-0.05");
        assert_eq!(guid([0; 16]), "00000000-0000-0000-0000-000000000000");
    }
}
