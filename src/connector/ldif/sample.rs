//! What the entries of the files say of all: attributes that their directory gives to each object of a class.

use super::import::list;
use crate::connector::ClassAttribute;
use crate::connector::directory::most_derived;
use crate::protocol::ldif::Reader;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// So many objects of a class say what the others have; wherever they are in the files, since their order means nothing.
const ENOUGH: u64 = 200;
/// Only a domain gives these: whoever writes an entry by hand has none, and rules do without.
const GIVEN_BY_DOMAINS: [&str; 1] = ["objectSid"];

/// Those of the attributes that most of the first objects of their class have. A directory that sets one sets it everywhere, and whoever is
/// written by hand or by another program may have none of it.
pub(super) fn usual(path: &Path, mut asked: Vec<ClassAttribute>) -> Vec<ClassAttribute> {
    asked.retain(|asked| !GIVEN_BY_DOMAINS.contains(&asked.attribute));
    let mut counts = vec![(0u64, 0u64); asked.len()];
    let open = |counts: &[(u64, u64)]| counts.iter().any(|(_, all)| *all < ENOUGH);
    // What cannot be read is the import's to tell.
    for file in list(path).unwrap_or_default() {
        let Ok(file) = File::open(&file) else { continue };
        let mut records = Reader::new(BufReader::new(file)).flatten();
        while open(&counts)
            && let Some(record) = records.next()
        {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;
    use std::fs;

    /// A directory written into a file of each kind, one of them with a group of many members.
    #[test]
    fn where_the_people_are_in_the_files_means_nothing() {
        const CONTROL: ClassAttribute = ClassAttribute { class: "user", attribute: "userAccountControl" };
        let folder = tempfile::tempdir().unwrap();
        let mut group = "dn: CN=all,DC=x\nobjectClass: group\n".to_owned();
        for number in 0..40_000 {
            writeln!(group, "member: CN=somebody with a long name {number},OU=People,DC=x").unwrap();
        }
        for file in ["a", "b", "c", "d", "e"] {
            fs::write(folder.path().join(file).with_extension("ldif"), &group).unwrap();
        }
        for (without, usual_there) in [(9, false), (3, true)] {
            let mut people = String::new();
            for number in 0..12 {
                let control = if number < without { "" } else { "userAccountControl: 514\n" };
                writeln!(people, "dn: CN={number},DC=x\nobjectClass: user\n{control}").unwrap();
            }
            fs::write(folder.path().join("people.ldif"), people).unwrap();
            assert_eq!(usual(folder.path(), vec![CONTROL]), usual_there.then_some(CONTROL).into_iter().collect::<Vec<_>>());
        }
    }
}
