//! "Did you mean": the closest of a set of names.

/// The name closest to `word`, when it is close enough to be meant. Equal but for case is closest of all.
pub(crate) fn closest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|name| (if name.eq_ignore_ascii_case(word) { 0 } else { distance(word, name) }, name))
        .filter(|(distance, name)| *distance <= allowed && *name != word)
        .min()
        .map(|(_, name)| name.to_owned())
}

/// Insertions, deletions, replacements and swaps of neighbours, without regard to case.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(64).map(|c| c.to_ascii_lowercase()).collect();
    let right: Vec<char> = right.chars().take(64).map(|c| c.to_ascii_lowercase()).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, l) in left.iter().enumerate() {
        let mut now = vec![row + 1];
        for (column, r) in right.iter().enumerate() {
            let mut best = (last[column] + usize::from(l != r)).min(last[column + 1] + 1).min(now[column] + 1);
            if row > 0 && column > 0 && *l == right[column - 1] && left[row - 1] == *r {
                best = best.min(before[column - 1] + 1);
            }
            now.push(best);
        }
        before = std::mem::replace(&mut last, now);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn close_names_are_found_and_far_ones_are_not() {
        let names = ["displayName", "department", "mail", "manager"];
        assert_eq!(closest("displayname", names).as_deref(), Some("displayName"));
        assert_eq!(closest("dispalyName", names).as_deref(), Some("displayName"));
        assert_eq!(closest("mial", names).as_deref(), Some("mail"));
        assert_eq!(closest("telephoneNumber", names), None);
    }
}
