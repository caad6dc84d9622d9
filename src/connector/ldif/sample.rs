//! What the first entries of the files say of all: attributes that their directory gives to each object of a class.

use super::import::list;
use crate::connector::ClassAttribute;
use crate::connector::directory::most_derived;
use crate::protocol::ldif::Reader;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

/// How much of a file is looked at: some hundred entries, whatever there are.
const OCTETS_MAX: u64 = 1 << 20;
/// Only a domain gives these: whoever writes an entry by hand has none, and rules do without.
const GIVEN_BY_DOMAINS: [&str; 1] = ["objectSid"];
/// So many files of a folder are looked at.
const FILES_MAX: usize = 4;

/// Those of the attributes that most of the first objects of their class have. A directory that sets one sets it everywhere, and whoever is
/// written by hand or by another program may have none of it.
pub(super) fn usual(path: &Path, mut asked: Vec<ClassAttribute>) -> Vec<ClassAttribute> {
    asked.retain(|asked| !GIVEN_BY_DOMAINS.contains(&asked.attribute));
    let mut counts = vec![(0u64, 0u64); asked.len()];
    // What cannot be read is the import's to tell.
    for file in list(path).unwrap_or_default().into_iter().take(FILES_MAX) {
        let Ok(file) = File::open(&file) else { continue };
        for record in Reader::new(BufReader::new(file.take(OCTETS_MAX))).flatten() {
            let is_class = |name: &str| name.eq_ignore_ascii_case("objectClass");
            let classes: Vec<&[u8]> = record.values().filter(|value| is_class(value.name)).map(|value| value.octets).collect();
            let Some(class) = most_derived(&classes) else { continue };
            for (asked, (have, all)) in asked.iter().zip(&mut counts).filter(|(asked, _)| asked.class.eq_ignore_ascii_case(class)) {
                *all += 1;
                *have += u64::from(record.values().any(|value| value.name.eq_ignore_ascii_case(asked.attribute)));
            }
        }
    }
    let is_usual = |(asked, (have, all)): (ClassAttribute, (u64, u64))| (have * 2 > all).then_some(asked);
    asked.into_iter().zip(counts).filter_map(is_usual).collect()
}
