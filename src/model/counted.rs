//! Numbers with the words that belong to them: one object waits, two objects wait.

/// A number with its noun, and its verb where one follows: `1 delete is`, `2 deletes are`.
pub fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_several() {
        assert_eq!(
            [0, 1, 2].map(|count| counted(count, "object waits", "objects wait")),
            ["0 objects wait", "1 object waits", "2 objects wait"]
        );
    }
}
