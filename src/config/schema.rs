//! What configuration files may hold, as JSON Schema (draft 2020-12), made of the very types that read them: for editors,
//! for programs that write configurations, and for the list of settings.

use super::{AdFile, EntraFile, LdapFile, LdifFile, MainFile};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// The names that [`schema_of`] knows: the main file, and connector files by kind.
pub const SCHEMAS: [&str; 5] = ["syncline.toml", "ad", "ldap", "ldif", "entra"];

/// The schema of a file, by one of [`SCHEMAS`].
pub fn schema_of(name: &str) -> Option<Value> {
    let schema = match name {
        "syncline.toml" => schemars::schema_for!(MainFile),
        "ad" => schemars::schema_for!(AdFile),
        "ldap" => schemars::schema_for!(LdapFile),
        "ldif" => schemars::schema_for!(LdifFile),
        "entra" => schemars::schema_for!(EntraFile),
        _ => return None,
    };
    Some(schema.to_value())
}

/// A key of a file, with its table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingKey {
    /// `table.key`, or the key alone where it stands before all tables.
    pub key: String,
    /// What it is for.
    pub meaning: String,
    /// What is written behind it.
    pub kind: SettingKind,
    /// The words it may be, where they are few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// What counts without it; nothing where it must be written, or where nothing counts.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub default: Value,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingKind {
    /// Text in quotation marks.
    Text,
    /// A whole number.
    Number,
    /// True or false.
    Flag,
    /// Several texts in brackets.
    List,
    /// Something larger.
    Table,
}

/// Every setting of the main file.
pub fn setting_keys() -> Vec<SettingKey> {
    keys_of(&schemars::schema_for!(MainFile).to_value())
}

/// Every setting of a connector file of a kind.
pub fn connector_keys(kind: super::ConnectorKind) -> Vec<SettingKey> {
    schema_of(kind.as_str()).map(|schema| keys_of(&schema)).unwrap_or_default()
}

/// Every word that names a key or a table, in any file of settings.
pub(crate) fn known_words() -> &'static BTreeSet<String> {
    static WORDS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        fn collect(schema: &Value, words: &mut BTreeSet<String>) {
            match schema {
                Value::Object(fields) => {
                    words.extend(fields.get("properties").and_then(Value::as_object).into_iter().flat_map(|keys| keys.keys().cloned()));
                    fields.values().for_each(|inner| collect(inner, words));
                }
                Value::Array(items) => items.iter().for_each(|inner| collect(inner, words)),
                _ => {}
            }
        }
        let mut words = BTreeSet::new();
        SCHEMAS.into_iter().filter_map(schema_of).for_each(|schema| collect(&schema, &mut words));
        words
    });
    &WORDS
}

fn keys_of(schema: &Value) -> Vec<SettingKey> {
    let mut keys = Vec::new();
    collect(schema, schema, "", &Value::Null, &mut keys);
    keys
}

/// The schema that a reference leads to, or the schema itself.
fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let named = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')).and_then(|path| root.pointer(path));
    if let Some(named) = named {
        return named;
    }
    // An option is its content, or nothing.
    let content = schema["anyOf"].as_array().and_then(|some| some.iter().find(|one| one["type"] != "null"));
    content.map_or(schema, |content| resolved(root, content))
}

fn collect(root: &Value, schema: &Value, table: &str, defaults: &Value, keys: &mut Vec<SettingKey>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, property) in properties {
        let inner = resolved(root, property);
        let key = if table.is_empty() { name.clone() } else { format!("{table}.{name}") };
        let default = match (&property["default"], &defaults[name]) {
            (Value::Null, default) | (default, _) => default.clone(),
        };
        if inner["properties"].is_object() {
            collect(root, inner, &key, &default, keys);
            continue;
        }
        let meaning = [property, inner].into_iter().find_map(|schema| schema["description"].as_str()).unwrap_or_default();
        let words = words(root, inner);
        keys.push(SettingKey { key, meaning: meaning.replace('\n', " "), kind: kind(inner, &words), words, default });
    }
}

/// The few words that a value may be.
fn words(root: &Value, schema: &Value) -> Vec<String> {
    let schema = if schema["items"].is_object() { resolved(root, &schema["items"]) } else { schema };
    let listed = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let described = schema["oneOf"].as_array().into_iter().flatten().flat_map(|one| {
        let several = one["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        one["const"].as_str().into_iter().chain(several)
    });
    listed.chain(described).map(str::to_owned).collect()
}

fn kind(schema: &Value, words: &[String]) -> SettingKind {
    // An optional value has two types, of which one is nothing.
    let names = |wanted: &str| match &schema["type"] {
        Value::String(name) => name == wanted,
        Value::Array(all) => all.iter().any(|name| name == wanted),
        _ => false,
    };
    if names("array") {
        SettingKind::List
    } else if names("integer") || names("number") {
        SettingKind::Number
    } else if names("boolean") {
        SettingKind::Flag
    } else if names("string") || !words.is_empty() {
        SettingKind::Text
    } else {
        SettingKind::Table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConnectorKind;

    #[test]
    fn settings_are_those_of_the_types() {
        let keys = setting_keys();
        let of = |name: &str| keys.iter().find(|key| key.key == name).unwrap_or_else(|| panic!("{name}: {keys:#?}"));
        assert_eq!((of("guard.max_deletes").kind, &of("guard.max_deletes").default), (SettingKind::Number, &500.into()));
        assert_eq!((of("guard.staging").kind, &of("guard.staging").default), (SettingKind::Flag, &false.into()));
        assert_eq!(of("guard.max_delete_percent").kind, SettingKind::Number);
        assert_eq!(of("guard.first_export").words, ["approved", "free"]);
        assert_eq!((of("rules.services").kind, of("rules.services").words.len()), (SettingKind::List, 8));
        assert_eq!(of("scheduler.interval").kind, SettingKind::Text);
        assert_eq!(of("service.health").kind, SettingKind::Text);
        assert!(of("rules.source_anchor").meaning.contains("for good"));
        assert!(keys.iter().all(|key| !key.meaning.is_empty()), "{keys:#?}");
    }

    #[test]
    fn every_kind_has_its_keys() {
        for kind in ConnectorKind::ALL {
            let keys = connector_keys(kind);
            assert!(keys.iter().any(|key| key.key == "kind"), "{keys:#?}");
            assert!(schema_of(kind.as_str()).is_some_and(|schema| schema["additionalProperties"] == false));
        }
        let ad = connector_keys(ConnectorKind::Ad);
        assert!(ad.iter().any(|key| key.key == "selection.include" && key.kind == SettingKind::List));
        assert!(ad.iter().any(|key| key.key == "delta.mode" && key.words.contains(&"dirsync".to_owned())), "{ad:#?}");
        assert!(SCHEMAS.iter().all(|name| schema_of(name).is_some()) && schema_of("nobody").is_none());
    }
}
