//! The static dictionary of binary XML ([MC-NBFS] section 2.2): even numbers stand for strings that every side knows.

use std::collections::HashMap;
use std::sync::OnceLock;

const TABLE: &str = include_str!("dictionary.tsv");

fn by_id() -> &'static [&'static str] {
    static STRINGS: OnceLock<Vec<&'static str>> = OnceLock::new();
    STRINGS.get_or_init(|| {
        let mut strings = Vec::new();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let Some((id, text)) = line.split_once('\t') else { continue };
            let Ok(id) = id.parse::<usize>() else { continue };
            if strings.len() <= id / 2 {
                strings.resize(id / 2 + 1, "");
            }
            strings[id / 2] = text;
        }
        strings
    })
}

/// The string behind a number of the wire; `None` for odd numbers and numbers beyond the table.
pub(super) fn string(id: u32) -> Option<&'static str> {
    if id % 2 == 1 {
        return None;
    }
    by_id().get(usize::try_from(id / 2).ok()?).copied()
}

/// The number of a string, when the dictionary has it.
pub(super) fn id(text: &str) -> Option<u32> {
    static IDS: OnceLock<HashMap<&'static str, u32>> = OnceLock::new();
    let ids = IDS.get_or_init(|| {
        let mut ids = HashMap::new();
        for (index, text) in by_id().iter().enumerate() {
            if let Ok(index) = u32::try_from(index) {
                ids.entry(*text).or_insert(index * 2);
            }
        }
        ids.remove("");
        ids
    });
    ids.get(text).copied()
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_of_the_specification() {
        for (id, text) in [(0, "mustUnderstand"), (2, "Envelope"), (134, "Fault"), (888, "type"), (918, "string"), (972, "")] {
            let found = super::string(id).unwrap();
            assert!(found == text || text.is_empty(), "{id}: {found}");
        }
        assert_eq!(super::id("base64Binary"), Some(920));
        assert_eq!(super::string(1), None);
        assert_eq!(super::string(974), None);
    }
}
