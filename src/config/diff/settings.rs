//! Settings and connectors as keys and values.

use super::{FieldChange, Fields, ItemChange, compare_fields, items};
use crate::config::{Config, ConnectorConfig, ConnectorSettings};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// Keys that hold paths. Loading made them absolute or relative to the folder; compared they are as they were written.
const PATHS: &[&str] = &["store", "path", "changes", "export", "ca_file", "certificate", "embedded.folder"];

/// The main file, and the order in which both sides read the connectors that they share.
pub(super) fn main(old: &Config, new: &Config) -> Vec<FieldChange> {
    let mut changes = compare_fields(&main_fields(old), &main_fields(new));
    let order = |config: &Config, other: &Config| -> Vec<Value> {
        let shared = config.connectors.iter().filter(|connector| other.connectors.iter().any(|known| known.name == connector.name));
        shared.map(|connector| Value::from(connector.name.as_str())).collect()
    };
    let (before, after) = (order(old, new), order(new, old));
    if before != after {
        // Rules of the same order stand in the precedence as their connectors stand here.
        let key = "order of connectors".to_owned();
        changes.push(FieldChange { key, old: Some(Value::Array(before)), new: Some(Value::Array(after)) });
    }
    changes
}

fn main_fields(config: &Config) -> Fields {
    let mut fields = Fields::new();
    flatten("store", Value::from(config.store.to_string_lossy()), &config.folder, &mut fields);
    flatten("guard", value(&config.guard), &config.folder, &mut fields);
    flatten("limits", value(&config.limits), &config.folder, &mut fields);
    flatten("rules", value(&config.rules), &config.folder, &mut fields);
    fields
}

/// Connectors by name.
pub(super) fn connectors(old: &Config, new: &Config) -> Vec<ItemChange> {
    let of = |config: &Config| -> Vec<(String, Fields)> {
        config.connectors.iter().map(|connector| (connector.name.clone(), connector_fields(connector, &config.folder))).collect()
    };
    items(&of(old), &of(new), |(name, _)| name.as_str(), |(_, fields)| fields.clone())
}

fn connector_fields(connector: &ConnectorConfig, folder: &Path) -> Fields {
    let settings = match &connector.settings {
        ConnectorSettings::Ldif(file) => value(file),
        ConnectorSettings::Ad(file) => value(file),
        ConnectorSettings::Ldap(file) => value(file),
        ConnectorSettings::Entra(file) => value(file),
    };
    let mut fields = Fields::new();
    flatten("", settings, folder, &mut fields);
    // The name is what connectors are told apart by; whether it was written or taken from the file says nothing.
    fields.retain(|(key, _)| key != "name");
    fields
}

/// A table as a value. Secrets are references by name already.
fn value(table: &impl Serialize) -> Value {
    // Tables of texts, numbers and lists always have this form.
    serde_json::to_value(table).unwrap_or_default()
}

/// Tables as keys with dots. What is absent is left out, and so are empty lists.
fn flatten(key: &str, value: Value, folder: &Path, fields: &mut Fields) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                let key = if key.is_empty() { name } else { format!("{key}.{name}") };
                flatten(&key, value, folder, fields);
            }
        }
        Value::Null => {}
        Value::Array(values) if values.is_empty() => {}
        Value::String(text) if PATHS.contains(&key) => {
            let written = Path::new(&text).strip_prefix(folder).map(|inside| inside.to_string_lossy().into_owned());
            fields.push((key.to_owned(), Value::String(written.unwrap_or(text))));
        }
        other => fields.push((key.to_owned(), other)),
    }
}
