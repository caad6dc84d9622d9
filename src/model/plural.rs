//! English nouns behind numbers.

/// A noun in the form that a number asks for: one `object`, no `objects`, one `entry`, two `entries`.
pub fn plural(number: u64, noun: &str) -> String {
    match noun.strip_suffix('y') {
        _ if number == 1 => noun.to_owned(),
        Some(stem) => format!("{stem}ies"),
        None => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_one() {
        assert_eq!([0, 1, 2].map(|number| plural(number, "object")), ["objects", "object", "objects"]);
        assert_eq!([1, 2].map(|number| plural(number, "entry")), ["entry", "entries"]);
    }
}
