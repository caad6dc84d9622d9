//! What a directory has, and what is read of it: types, attributes, and attributes that are left out with what becomes of
//! the values that they gave.

use super::class_choice::{ClassChange, Classes, listed};
use super::{Service, ServiceError};
use crate::config::{ConnectorConfig, Edit, ListEdit, SelectionTable, change_file};
use crate::connector::{AttributeSchema, Schema};
use crate::context::Context;
use crate::engine::belief::SCHEMA;
use crate::model::{AttrId, ConnectorId, StageMask, ValueKind, ValueState};
use crate::rules::Direction;
use crate::store::ChangeSet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Objects read at a time.
const PAGE: usize = 1_000;

/// What a directory has, or the metaverse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SchemaView {
    /// The connector; nothing for the metaverse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connector: Option<String>,
    /// The types of objects.
    pub object_types: Vec<ObjectTypeLine>,
    /// The attributes by name.
    pub attributes: Vec<AttributeLine>,
}

/// A type of objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectTypeLine {
    /// Its name.
    pub name: String,
    /// Objects of it are imported, or made by rules.
    pub used: bool,
}

/// An attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttributeLine {
    /// Its name.
    pub name: String,
    /// `text`, `number`, `boolean`, `binary` or `reference`.
    pub kind: &'static str,
    /// It may have several values.
    pub multi_valued: bool,
    /// `read`, `written`, `excluded`, `recalled` or `unused`.
    pub state: &'static str,
}

/// What was said of a schema the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct KeptSchema {
    types: BTreeSet<String>,
    attributes: BTreeMap<String, String>,
}

/// A schema that was read again, held against the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SchemaRefresh {
    /// The connector.
    pub connector: String,
    /// Nobody had looked at it before.
    pub first: bool,
    /// Attributes and types that are new.
    pub added: Vec<String>,
    /// Attributes and types that are gone.
    pub removed: Vec<String>,
    /// Attributes whose type changed.
    pub changed: Vec<String>,
    /// Of the removed ones those that rules read or write.
    pub missed: Vec<String>,
    /// It is the one to compare with from now on.
    pub applied: bool,
}

/// What becomes of the values that an attribute gave to the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudValues {
    /// They stay.
    Leave,
    /// They go.
    Recall,
}

/// Another choice of attributes and classes, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SchemaChange {
    /// The connector.
    pub connector: String,
    /// Its file.
    pub file: String,
    /// `leave` or `recall`; nothing where no attributes are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_values: Option<&'static str>,
    /// Attribute by attribute, what follows.
    pub effects: Vec<AttributeEffect>,
    /// What becomes of objects; nothing where no class was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<ClassChange>,
    /// `written`, `unchanged` or `would be written`.
    pub done: &'static str,
}

/// What leaving an attribute out means, or taking it in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttributeEffect {
    /// The attribute.
    pub attribute: String,
    /// Objects of the connector space that have a value.
    pub objects: u64,
    /// Of these the ones with an object in a target.
    pub in_targets: u64,
    /// The attributes of targets that its values reach.
    pub targets: Vec<String>,
}

impl Service {
    /// What a directory has, asked for now.
    ///
    /// # Errors
    /// When there is no such connector, or it does not answer.
    pub fn schema(&self, cx: &Context, name: &str) -> Result<SchemaView, ServiceError> {
        let id = self.connector_id(name)?;
        let (config, schema) = (self.configured(name)?, self.ask_schema(cx, name)?);
        let rules = self.rules()?;
        let names = self.store.names();
        let table = config.selection().cloned().unwrap_or_default();
        let (read, written) = (rules.inbound_attributes(id), rules.outbound_attributes(id));
        let attributes = schema.attributes.iter().map(|attribute| {
            let known = names.find(&attribute.name);
            let has = |list: &[AttrId]| known.is_some_and(|known| list.contains(&known));
            let state = match () {
                () if listed(&table.exclude_attributes, &attribute.name) => "excluded",
                () if listed(&table.recall_attributes, &attribute.name) => "recalled",
                () if has(&read) => "read",
                () if has(&written) => "written",
                () => "unused",
            };
            line(attribute, state)
        });
        let types = config.object_types();
        Ok(SchemaView {
            connector: Some(config.name.clone()),
            object_types: types_of(&schema.object_types, |name| types.is_empty() || listed(&types, name)),
            attributes: sorted(attributes.collect()),
        })
    }

    /// What the metaverse has: types and attributes that rules write.
    ///
    /// # Errors
    /// When the rules do not compile.
    pub fn metaverse_schema(&self) -> Result<SchemaView, ServiceError> {
        let rules = self.rules()?;
        let names = self.store.names();
        let (mut types, mut written, mut read) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for rule in rules.rules() {
            types.extend(rule.mv_type);
            match rule.direction {
                Direction::Inbound => written.extend(rule.flows.iter().map(|flow| flow.target)),
                Direction::Outbound => {
                    read.extend(rule.flows.iter().flat_map(|flow| rules.flow_reads(rule.id, flow.target)));
                }
            }
        }
        let attributes = rules.metaverse_attributes().into_iter().map(|(name, kind, multi_valued)| {
            let known = names.find(&name);
            let state = match known {
                Some(known) if written.contains(&known) => "written",
                Some(known) if read.contains(&known) => "read",
                _ => "unused",
            };
            AttributeLine { name, kind: kind_name(kind), multi_valued, state }
        });
        let object_types = types.iter().map(|kind| ObjectTypeLine { name: names.object_type_name(*kind).to_string(), used: true });
        Ok(SchemaView { connector: None, object_types: object_types.collect(), attributes: sorted(attributes.collect()) })
    }

    /// Reads a schema again and holds it against the one that was looked at last; with `apply` it becomes the one to compare
    /// with, and built-in rules go by the extensions found.
    ///
    /// # Errors
    /// When there is no such connector, it does not answer, or the store refuses.
    pub fn refresh_schema(&self, cx: &Context, name: &str, apply: bool) -> Result<SchemaRefresh, ServiceError> {
        let (id, config) = (self.connector_id(name)?, self.configured(name)?);
        let schema = self.ask_schema(cx, name)?;
        let now = KeptSchema {
            types: schema.object_types.iter().cloned().collect(),
            attributes: schema
                .attributes
                .iter()
                .map(|attribute| {
                    let several = if attribute.multi_valued { ", several values" } else { "" };
                    (attribute.name.clone(), format!("{}{several}", kind_name(attribute.kind)))
                })
                .collect(),
        };
        let kept = self.store.snapshot()?.state(id, SCHEMA)?;
        let before: Option<KeptSchema> = kept.as_deref().and_then(|octets| serde_json::from_slice(octets).ok());
        let first = before.is_none();
        let before = before.unwrap_or_else(|| now.clone());
        let gone = |name: &&String| !now.attributes.contains_key(*name);
        let rules = self.rules()?;
        let used: Vec<AttrId> = rules.inbound_attributes(id).into_iter().chain(rules.outbound_attributes(id)).collect();
        let is_used = |name: &&String| self.store.names().find(name).is_some_and(|attr| used.contains(&attr));
        let removed: Vec<String> = before.attributes.keys().filter(gone).chain(before.types.difference(&now.types)).cloned().collect();
        let found = SchemaRefresh {
            connector: config.name.clone(),
            first,
            added: now
                .attributes
                .keys()
                .filter(|name| !before.attributes.contains_key(*name))
                .chain(now.types.difference(&before.types))
                .cloned()
                .collect(),
            missed: before.attributes.keys().filter(gone).filter(is_used).cloned().collect(),
            removed,
            changed: now
                .attributes
                .iter()
                .filter_map(|(name, kind)| {
                    let earlier = before.attributes.get(name).filter(|earlier| *earlier != kind)?;
                    Some(format!("{name}: {earlier} → {kind}"))
                })
                .collect(),
            applied: apply || first,
        };
        if found.applied && (first || before != now) {
            let content = serde_json::to_vec(&now).map_err(|error| ServiceError::Usage(error.to_string()))?;
            let mut changes = ChangeSet::new();
            changes.states.push((id, SCHEMA.to_owned(), Some(content)));
            self.store.apply(changes)?;
        }
        Ok(found)
    }

    /// Asks a connector for its schema, and keeps what its directory tells about itself.
    fn ask_schema(&self, cx: &Context, name: &str) -> Result<Schema, ServiceError> {
        let (id, config) = (self.connector_id(name)?, self.configured(name)?);
        self.with_wired(cx, config, async |wired| {
            if let Some(facts) = &wired.facts {
                self.keep_facts(id, facts)?;
            }
            let failed = |source| ServiceError::Connector { connector: config.name.clone(), source };
            wired.connector.schema(cx).await.map_err(failed)
        })
    }

    /// Leaves attributes and classes of objects of a directory out, or takes them in again. The next import reads everything again.
    /// With `what_if` nothing is written, and the directory is asked for who would come.
    ///
    /// # Errors
    /// When rules know no such attribute or class or cannot do without it, or the file cannot be written.
    pub fn choose_schema(
        &self,
        cx: &Context,
        name: &str,
        chosen: &[String],
        exclude: Option<CloudValues>,
        what_if: bool,
    ) -> Result<SchemaChange, ServiceError> {
        let (id, config) = (self.connector_id(name)?, self.directory(name)?);
        let table = config.selection().cloned().unwrap_or_default();
        let mut after = table.clone();
        let (mut effects, mut classes) = (Vec::new(), Classes::of(config));
        for name in chosen {
            if let Some(class) = self.class_named(id, config, name)? {
                if exclude == Some(CloudValues::Recall) {
                    return Err(ServiceError::Usage(format!(
                        "{class} is a class: its objects leave, and what becomes of them in the cloud follows from the rules. Only values of \
                         attributes are recalled"
                    )));
                }
                classes.choose(config, &class, exclude.is_some())?;
                continue;
            }
            let attr = self.read_attribute(id, config, &table, name)?;
            let spelled = self.store.names().name(attr).to_string();
            for list in [&mut after.exclude_attributes, &mut after.recall_attributes] {
                list.retain(|known| !known.eq_ignore_ascii_case(name));
            }
            match exclude {
                Some(CloudValues::Leave) => after.exclude_attributes.push(spelled),
                Some(CloudValues::Recall) => after.recall_attributes.push(spelled),
                None => {}
            }
            effects.push(self.effect(id, attr)?);
        }
        let class_edit = classes.edit();
        let mut changed = config.clone();
        if let Some(selection) = changed.selection_mut() {
            *selection = after.clone();
            if class_edit.is_some() {
                selection.object_types = classes.after().to_vec();
            }
        }
        // Rules that cannot do without an attribute say so now, and not when the service reads the file.
        self.would_compile(changed)?;
        let cloud_values = exclude.filter(|_| !effects.is_empty());
        let classes = self.class_change(cx, id, config, classes, what_if)?;
        let done = match what_if {
            _ if after == table && class_edit.is_none() => "unchanged",
            true => "would be written",
            false => {
                let between = |before, after| Edit::List(ListEdit::between(before, after));
                let mut edits: Vec<(&[&str], Edit)> = vec![
                    (&["selection", "exclude_attributes"], between(&table.exclude_attributes, &after.exclude_attributes)),
                    (&["selection", "recall_attributes"], between(&table.recall_attributes, &after.recall_attributes)),
                ];
                edits.extend(class_edit.map(|edit| (&["selection", "object_types"] as &[&str], edit)));
                change_file(&self.config.folder, &config.file, &edits, false)?.as_str()
            }
        };
        Ok(SchemaChange {
            connector: config.name.clone(),
            file: config.file.strip_prefix(&self.config.folder).unwrap_or(&config.file).display().to_string(),
            cloud_values: cloud_values.map(|values| if values == CloudValues::Leave { "leave" } else { "recall" }),
            effects,
            classes,
            done,
        })
    }

    /// An attribute that rules read of a directory, or would read if it were not left out.
    fn read_attribute(
        &self,
        id: ConnectorId,
        config: &ConnectorConfig,
        table: &SelectionTable,
        name: &str,
    ) -> Result<AttrId, ServiceError> {
        let names = self.store.names();
        let read = self.rules()?.inbound_attributes(id);
        let known = names
            .find(name)
            .filter(|attr| read.contains(attr) || listed(&table.exclude_attributes, name) || listed(&table.recall_attributes, name));
        let Some(known) = known else {
            let mut all: Vec<String> = read.iter().map(|attr| names.name(*attr).to_string()).collect();
            all.extend(self.classes_known(id, config)?);
            let meant = crate::config::closest(name, &all).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            let message = format!("no rule reads an attribute or a class {name}, so it is not read already{meant}");
            return Err(ServiceError::Usage(message));
        };
        Ok(known)
    }

    fn effect(&self, id: ConnectorId, attr: AttrId) -> Result<AttributeEffect, ServiceError> {
        let (rules, names) = (self.rules()?, self.store.names());
        let targets = rules.reached_targets(id, attr);
        let snapshot = self.store.snapshot()?;
        let (mut objects, mut in_targets, mut after) = (0, 0, None);
        loop {
            let page = snapshot.cs_scan(id, after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for object in &page {
                let valued = object.values.attribute(attr).any(|item| ValueState(item.flags).present(StageMask::IMPORTED))
                    || !snapshot.cs_references(object.id)?.iter().all(|row| row.attr != attr);
                if !valued {
                    continue;
                }
                objects += 1;
                if let Some(mv) = object.link.mv()
                    && snapshot.mv_links(mv)?.iter().any(|link| targets.iter().any(|(target, _)| *target == link.connector()))
                {
                    in_targets += 1;
                }
            }
        }
        let shown = |(target, attr): &(ConnectorId, AttrId)| {
            format!("{}: {}", self.connectors.get(target).map_or("?", String::as_str), names.name(*attr))
        };
        Ok(AttributeEffect { attribute: names.name(attr).to_string(), objects, in_targets, targets: targets.iter().map(shown).collect() })
    }
}

fn types_of(types: &[String], used: impl Fn(&str) -> bool) -> Vec<ObjectTypeLine> {
    types.iter().map(|name| ObjectTypeLine { name: name.clone(), used: used(name) }).collect()
}

fn line(attribute: &AttributeSchema, state: &'static str) -> AttributeLine {
    AttributeLine { name: attribute.name.clone(), kind: kind_name(attribute.kind), multi_valued: attribute.multi_valued, state }
}

fn sorted(mut lines: Vec<AttributeLine>) -> Vec<AttributeLine> {
    lines.sort_by_cached_key(|line| line.name.to_ascii_lowercase());
    lines
}

fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Text | ValueKind::LargeText => "text",
        ValueKind::Number => "number",
        ValueKind::Boolean => "boolean",
        ValueKind::Binary | ValueKind::LargeBinary => "binary",
        ValueKind::Reference => "reference",
    }
}
