//! Numbers as people say them, with the words that belong to them: one object waits, two objects wait.

/// A number with its noun, and its verb where one follows: `1 delete is`, `2 deletes are`.
pub fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// A number with separators: `12,345`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of octets as people say it.
pub fn octets(number: u64) -> String {
    let mut whole = number;
    let mut rest = 0;
    for unit in ["octets", "KiB", "MiB"] {
        if whole < 1_024 {
            return if unit == "octets" { format!("{whole} octets") } else { format!("{whole}.{} {unit}", rest * 10 / 1_024) };
        }
        (whole, rest) = (whole / 1_024, whole % 1_024);
    }
    format!("{}.{} GiB", thousands(whole), rest * 10 / 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_people_say_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([999, 1_536, 5 << 20, 3 << 30].map(octets), ["999 octets", "1.5 KiB", "5.0 MiB", "3.0 GiB"]);
        assert_eq!([0, 757_760, 2_048 << 30].map(octets), ["0 octets", "740.0 KiB", "2,048.0 GiB"]);
    }

    #[test]
    fn one_is_not_several() {
        assert_eq!(
            [0, 1, 2].map(|count| counted(count, "object waits", "objects wait")),
            ["0 objects wait", "1 object waits", "2 objects wait"]
        );
    }
}
