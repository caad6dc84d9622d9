//! Passwords of made-up people: known to tests and to the demonstration, and in the file as Active Directory keeps them.

use super::{DirectoryRecipe, START_OF_2024};
use md4::{Digest as _, Md4};

/// 100-nanosecond units in a second.
const TICKS: u64 = 10_000_000;
/// A changed password is younger than any first one by this much: a year.
const YEAR: u64 = 365 * 86_400 * TICKS;

/// What to make of passwords: one in two hundred people has none, one in a hundred must change it at the next sign-in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasswordRecipe {
    /// So many people, the first ones, have changed theirs since.
    pub changed: u64,
}

/// How it stands with somebody's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordState {
    /// It can be used.
    Good,
    /// It must be changed at the next sign-in (`pwdLastSet` is 0).
    Temporary,
    /// There is none.
    Missing,
}

impl DirectoryRecipe {
    /// The password of user `index`, who has one unless [`Self::password_state`] says otherwise. Changed ones differ from the
    /// first ones in their end. The first ones are those of the test directories (`tools/lab`), too.
    pub fn user_password(&self, index: u64) -> String {
        let changed = self.passwords.is_some_and(|passwords| index < passwords.changed);
        format!("Pw-{:06}-Sync!{}", index + 1, if changed { "-2" } else { "" })
    }

    /// How it stands with the password of user `index`.
    pub fn password_state(&self, index: u64) -> PasswordState {
        match index {
            _ if self.passwords.is_none() || index % 200 == 113 => PasswordState::Missing,
            _ if index % 100 == 17 => PasswordState::Temporary,
            _ => PasswordState::Good,
        }
    }

    /// `pwdLastSet` and `unicodePwd` of user `index`.
    pub(super) fn stored_password(&self, index: u64) -> (u64, Option<[u8; 16]>) {
        let set = START_OF_2024 + index * TICKS;
        let Some(recipe) = &self.passwords else { return (set, None) };
        let last_set = if index < recipe.changed { set + YEAR } else { set };
        match self.password_state(index) {
            PasswordState::Good => (last_set, Some(nt_hash(&self.user_password(index)))),
            PasswordState::Temporary => (0, Some(nt_hash(&self.user_password(index)))),
            PasswordState::Missing => (0, None),
        }
    }
}

/// MD4 over UTF-16LE. Made-up passwords are no secrets, so nothing is wiped.
fn nt_hash(password: &str) -> [u8; 16] {
    let units: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    Md4::digest(units).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ldif::Reader;

    fn written(passwords: Option<PasswordRecipe>) -> Vec<(String, Option<Vec<u8>>)> {
        let recipe = DirectoryRecipe { users: 400, groups: 0, contacts: 0, passwords, ..DirectoryRecipe::default() };
        let mut file = Vec::new();
        recipe.write_ldif(&mut file).unwrap();
        let records = Reader::new(file.as_slice()).map(|record| record.unwrap()).filter(|record| record.dn.starts_with("CN="));
        let found = |record: crate::protocol::ldif::Record| {
            let value = |name: &str| record.values().find(|value| value.name == name).map(|value| value.octets.to_vec());
            (String::from_utf8(value("pwdLastSet").unwrap()).unwrap(), value("unicodePwd"))
        };
        records.map(found).collect()
    }

    #[test]
    fn people_have_the_passwords_that_are_told() {
        let recipe = DirectoryRecipe { passwords: Some(PasswordRecipe { changed: 3 }), ..DirectoryRecipe::default() };
        assert_eq!((recipe.user_password(2), recipe.user_password(3)), ("Pw-000003-Sync!-2".to_owned(), "Pw-000004-Sync!".to_owned()));
        // The published example of MS-NLMP 4.2.2.1.2.
        assert_eq!(hex::encode(nt_hash("Password")), "a4f49c406510bdcab6824ee7c30fd852");
        let first = written(Some(PasswordRecipe::default()));
        let later = written(Some(PasswordRecipe { changed: 3 }));
        for (index, (first, later)) in (0..).zip(first.iter().zip(&later)) {
            let state = recipe.password_state(index);
            assert_eq!(first.1.is_none(), state == PasswordState::Missing, "{index}");
            assert_eq!(first.0 == "0", state != PasswordState::Good, "{index}");
            assert_eq!(first != later, index < 3, "{index}");
            let known = DirectoryRecipe { passwords: Some(PasswordRecipe::default()), ..DirectoryRecipe::default() }.user_password(index);
            assert!(first.1.as_ref().is_none_or(|hash| hash[..] == nt_hash(&known)), "{index}");
        }
        assert!(first[0].0.parse::<u64>().unwrap() < later[0].0.parse::<u64>().unwrap());
        let count = |state| (0..400).filter(|index| recipe.password_state(*index) == state).count();
        assert_eq!((count(PasswordState::Temporary), count(PasswordState::Missing)), (4, 2));
    }

    #[test]
    fn a_directory_without_passwords_has_none() {
        assert!(written(None).iter().all(|(last_set, hash)| hash.is_none() && last_set != "0"));
    }
}
