//! Compares two configurations: settings, connectors, metaverse attributes, and rules flow by flow.
//!
//! Pure: two [`Side`]s in, one [`ConfigDiff`] out. Compared is what configurations mean, not how they are written:
//! defaults count as if they stood in the files, and comments, file names and flow sets do not count.

mod rules;
mod settings;

use super::Config;
use crate::rules::{PlainAttribute, PlainRule};
use serde::Serialize;
use serde_json::Value;

/// One of the two configurations.
#[derive(Clone, Copy, Debug)]
pub struct Side<'s> {
    /// As it was loaded.
    pub config: &'s Config,
    /// All its rules, built-in and own, enabled or not, by precedence.
    pub rules: &'s [PlainRule],
    /// What its rule files add to the metaverse.
    pub attributes: &'s [PlainAttribute],
}

/// What happened to something from the old configuration to the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Only the new configuration has it.
    Added,
    /// Only the old configuration has it.
    Removed,
    /// Both have it, and it differs.
    Changed,
}

/// A key with what it was and what it is. A key of a list stands once per value that came or went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    /// The key as files spell it, tables before it: `guard.max_deletes`.
    pub key: String,
    /// What it was; nothing when it was absent.
    pub old: Option<Value>,
    /// What it is; nothing when it is absent.
    pub new: Option<Value>,
}

/// A connector, metaverse attribute or flow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ItemChange {
    /// What happened to it.
    pub change: Change,
    /// The connector's or attribute's name; of a flow the attribute written.
    pub name: String,
    /// Its keys: all of them when it came or went, else those that differ.
    pub fields: Vec<FieldChange>,
}

/// Where a line of a scope or join stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineMark {
    /// In both.
    Same,
    /// In the new one.
    Added,
    /// In the old one.
    Removed,
}

/// One clause of a scope or pair of a join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClauseLine {
    /// Where it stands.
    pub mark: LineMark,
    /// The clause: `department EQUAL "IT"`, `mail = mail`.
    pub text: String,
}

/// One group of a scope or join that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupChange {
    /// What happened to it.
    pub change: Change,
    /// Its clauses, also those that stayed.
    pub clauses: Vec<ClauseLine>,
}

/// How a rule's place in the precedence differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PrecedenceChange {
    /// The number it had.
    pub old: u32,
    /// The number it has.
    pub new: u32,
    /// It went past other rules of its direction. False: only the number is another one.
    pub moved: bool,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleChange {
    /// What happened to it.
    pub change: Change,
    /// Its name, in the new configuration where it is there.
    pub name: String,
    /// Its connector's name.
    pub connector: String,
    /// Its tag.
    pub tag: Option<String>,
    /// Keys, without those that stand below: all of them when the rule came or went, else those that differ.
    pub fields: Vec<FieldChange>,
    /// Its place; nothing when it is the same, or when the rule came or went (then the number is among the keys).
    pub precedence: Option<PrecedenceChange>,
    /// Groups of its scope.
    pub scope: Vec<GroupChange>,
    /// Groups of its join.
    pub join: Vec<GroupChange>,
    /// The join groups that both sides have stand in another order: the first one that matches decides.
    pub join_reordered: bool,
    /// Its flows.
    pub flows: Vec<ItemChange>,
}

impl RuleChange {
    /// Only the number in the precedence is another one; the rule says and does the same.
    pub fn only_renumbered(&self) -> bool {
        self.change == Change::Changed
            && self.fields.is_empty()
            && self.scope.is_empty()
            && self.join.is_empty()
            && !self.join_reordered
            && self.flows.is_empty()
            && self.precedence.is_some_and(|precedence| !precedence.moved)
    }
}

/// Everything in which two configurations differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ConfigDiff {
    /// Keys of the main file, and the order of connectors.
    pub settings: Vec<FieldChange>,
    /// Connectors by name.
    pub connectors: Vec<ItemChange>,
    /// Metaverse attributes that rule files declare, by name.
    pub metaverse_attributes: Vec<ItemChange>,
    /// Rules by precedence, those that went at their old place.
    pub rules: Vec<RuleChange>,
}

/// How much differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiffSummary {
    /// Nothing does.
    pub equal: bool,
    /// Settings that differ.
    pub settings: usize,
    /// Connectors that came, went or differ.
    pub connectors: usize,
    /// Metaverse attributes that came, went or differ.
    pub metaverse_attributes: usize,
    /// Rules that came.
    pub rules_added: usize,
    /// Rules that went.
    pub rules_removed: usize,
    /// Rules that say something else or moved in the precedence.
    pub rules_changed: usize,
    /// Of those, the ones that moved.
    pub rules_moved: usize,
    /// Rules with another number at the same place.
    pub rules_renumbered: usize,
    /// Flows that came, within rules that both sides have.
    pub flows_added: usize,
    /// Flows that went, within rules that both sides have.
    pub flows_removed: usize,
    /// Flows that differ.
    pub flows_changed: usize,
}

impl ConfigDiff {
    /// Counts.
    pub fn summary(&self) -> DiffSummary {
        let rules = |wanted: Change| self.rules.iter().filter(move |rule| rule.change == wanted);
        let flows = |wanted: Change| rules(Change::Changed).flat_map(|rule| &rule.flows).filter(|flow| flow.change == wanted).count();
        let renumbered = self.rules.iter().filter(|rule| rule.only_renumbered()).count();
        DiffSummary {
            equal: *self == Self::default(),
            settings: self.settings.len(),
            connectors: self.connectors.len(),
            metaverse_attributes: self.metaverse_attributes.len(),
            rules_added: rules(Change::Added).count(),
            rules_removed: rules(Change::Removed).count(),
            rules_changed: rules(Change::Changed).count() - renumbered,
            rules_moved: rules(Change::Changed).filter(|rule| rule.precedence.is_some_and(|precedence| precedence.moved)).count(),
            rules_renumbered: renumbered,
            flows_added: flows(Change::Added),
            flows_removed: flows(Change::Removed),
            flows_changed: flows(Change::Changed),
        }
    }
}

/// Compares two configurations.
pub fn compare(old: Side<'_>, new: Side<'_>) -> ConfigDiff {
    ConfigDiff {
        settings: settings::main(old.config, new.config),
        connectors: settings::connectors(old.config, new.config),
        metaverse_attributes: items(
            old.attributes,
            new.attributes,
            |attribute| attribute.name.as_str(),
            |attribute| {
                let mut fields = vec![("type".to_owned(), Value::from(attribute.kind.as_str()))];
                // As in files: what is false is left out.
                fields.extend(attribute.multi.then(|| ("multi".to_owned(), Value::Bool(true))));
                fields.extend(attribute.indexed.then(|| ("indexed".to_owned(), Value::Bool(true))));
                fields
            },
        ),
        rules: rules::compare(old.rules, new.rules),
    }
}

/// Keys and values in order.
type Fields = Vec<(String, Value)>;

/// Compares two lists of named things: first what both have and what went, in the old order, then what came.
fn items<T>(old: &[T], new: &[T], name: impl Fn(&T) -> &str, fields: impl Fn(&T) -> Fields) -> Vec<ItemChange> {
    let mut changes = Vec::new();
    for item in old {
        let other = new.iter().find(|other| name(other) == name(item));
        let differing = compare_fields(&fields(item), &other.map(&fields).unwrap_or_default());
        let change = if other.is_some() { Change::Changed } else { Change::Removed };
        if change == Change::Removed || !differing.is_empty() {
            changes.push(ItemChange { change, name: name(item).to_owned(), fields: differing });
        }
    }
    for item in new.iter().filter(|item| !old.iter().any(|other| name(other) == name(item))) {
        changes.push(ItemChange { change: Change::Added, name: name(item).to_owned(), fields: compare_fields(&[], &fields(item)) });
    }
    changes
}

/// The keys that differ: first those that went, then the others in the order of the new side.
fn compare_fields(old: &[(String, Value)], new: &[(String, Value)]) -> Vec<FieldChange> {
    let find = |side: &[(String, Value)], key: &str| side.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone());
    let mut changes = Vec::new();
    for (key, value) in old.iter().filter(|(key, _)| find(new, key).is_none()) {
        field(key, Some(value.clone()), None, &mut changes);
    }
    for (key, value) in new {
        field(key, find(old, key), Some(value.clone()), &mut changes);
    }
    changes
}

/// One key; a list value by value, unless only the order of its values is another one.
fn field(key: &str, old: Option<Value>, new: Option<Value>, changes: &mut Vec<FieldChange>) {
    if old == new {
        return;
    }
    let list = |value: &Option<Value>| match value {
        None => Some(Vec::new()),
        Some(Value::Array(values)) => Some(values.clone()),
        Some(_) => None,
    };
    let single = |old, new| FieldChange { key: key.to_owned(), old, new };
    let (Some(before), Some(after)) = (list(&old), list(&new)) else {
        changes.push(single(old, new));
        return;
    };
    let earlier = changes.len();
    changes.extend(before.iter().filter(|value| !after.contains(value)).map(|value| single(Some(value.clone()), None)));
    changes.extend(after.iter().filter(|value| !before.contains(value)).map(|value| single(None, Some(value.clone()))));
    if changes.len() == earlier && !(before.is_empty() && after.is_empty()) {
        changes.push(single(old, new));
    }
}
