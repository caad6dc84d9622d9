//! Keys of a configuration file as a list, and the file as text.

use super::model::{EntraParameter, SYNCLINE_PREFIX};
use super::report::{Outcome, Report};
use super::words::short;
use std::fmt::Write as _;

/// Keys with their values as TOML writes them; a dot separates a table from its key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Keys(Vec<(String, String)>);

impl Keys {
    /// Sets a key, in the place that it had.
    pub(super) fn set(&mut self, key: &str, value: impl Into<toml::Value>) {
        let text = value.into().to_string();
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = text,
            None => self.0.push((key.to_owned(), text)),
        }
    }

    /// Sets a key where it has a value.
    pub(super) fn set_some(&mut self, key: &str, value: Option<impl Into<toml::Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Sets a key to a credential.
    pub(super) fn set_credential(&mut self, key: &str, credential: &str) {
        let table = toml::Table::from_iter([("credential".to_owned(), toml::Value::from(credential))]);
        self.set(key, toml::Value::Table(table));
    }

    /// Sets a key to a list, where that has anything.
    pub(super) fn set_list(&mut self, key: &str, values: &[String]) {
        if !values.is_empty() {
            self.set(key, toml::Value::Array(values.iter().map(|value| toml::Value::from(value.as_str())).collect()));
        }
    }

    /// The value of a key, as TOML writes it.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// The keys and their values, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Takes over the parameters that only Syncline knows; they win over what was worked out.
    pub(super) fn take_parameters(&mut self, parameters: &[EntraParameter], report: &mut Report) {
        for parameter in parameters {
            let Some(key) = parameter.name.strip_prefix(SYNCLINE_PREFIX).filter(|key| *key != "version") else { continue };
            let named = key.split('.').count() <= 2
                && key.split('.').all(|part| {
                    !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_')
                });
            let value = toml::from_str::<toml::Table>(&format!("value = {}", parameter.value));
            let value = value.ok().filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
            match value {
                Some(value) if named => {
                    report.add(
                        Outcome::Taken,
                        &parameter.place,
                        format!("parameter {}", short(&parameter.name)),
                        format!("{key} = {value}"),
                    );
                    self.set(key, value);
                }
                _ => report.add(
                    Outcome::Failed,
                    &parameter.place,
                    format!("parameter {}", short(&parameter.name)),
                    "is no key of a configuration with a value as TOML writes it",
                ),
            }
        }
    }

    /// The file: a comment, the keys of no table, then the tables.
    pub(super) fn to_toml(&self, comment: &str) -> String {
        let mut text = String::new();
        for line in comment.lines() {
            let _ = writeln!(text, "# {line}");
        }
        for (key, value) in self.iter().filter(|(key, _)| !key.contains('.')) {
            let _ = writeln!(text, "{key} = {value}");
        }
        let mut tables: Vec<&str> = Vec::new();
        for (key, _) in self.iter() {
            if let Some((table, _)) = key.split_once('.')
                && !tables.contains(&table)
            {
                tables.push(table);
            }
        }
        for table in tables {
            let _ = writeln!(text, "\n[{table}]");
            for (key, value) in self.iter().filter_map(|(key, value)| Some((key.split_once('.')?, value))) {
                if key.0 == table {
                    let _ = writeln!(text, "{} = {value}", key.1);
                }
            }
        }
        text
    }
}

/// A name for a file, made of a name for people.
pub(super) fn slug(name: &str) -> String {
    let mut plain = String::new();
    for character in name.chars().take(60) {
        if character.is_ascii_alphanumeric() || character == '.' {
            plain.push(character.to_ascii_lowercase());
        } else if !plain.ends_with('-') && !plain.is_empty() {
            plain.push('-');
        }
    }
    let plain = plain.trim_matches(['-', '.']).to_owned();
    if plain.is_empty() { "connector".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_a_file_with_tables_behind_plain_keys() {
        let mut keys = Keys::default();
        keys.set("guard.staging", true);
        keys.set("kind", "ad");
        keys.set_credential("password", "ad-bind");
        keys.set_list("guard.list", &["a\"b".to_owned()]);
        let text = keys.to_toml("Two\nlines.");
        let wanted =
            "# Two\n# lines.\nkind = \"ad\"\npassword = { credential = \"ad-bind\" }\n\n[guard]\nstaging = true\nlist = ['a\"b']\n";
        assert_eq!(text, wanted);
        assert_eq!([slug("contoso.onmicrosoft.com - AAD"), slug("../Ü")], ["contoso.onmicrosoft.com-aad", "connector"]);
    }
}
