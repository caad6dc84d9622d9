//! A target with a will of its own: it gives out keys, keeps a log for delta reads, and goes wrong when the dice say so.

use crate::life::Dice;
use async_trait::async_trait;
use futures_util::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use syncline::connector::{
    Capabilities, Completion, Connector, ConnectorError, ConnectorErrorKind, ExportBatch, ExportKind, ExportOperation, ExportOutcome,
    ExportRejection, ExportReply, ImportKind, ImportRequest, ImportStream, Operation, PageBuilder, Schema,
};
use syncline::context::Context;
use syncline::model::{Anchor, Names, ObjectErrorCode, Value, ValueRef};

/// What the target holds, by name: values, and references as names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) key: u64,
    pub(crate) object_type: String,
    pub(crate) values: BTreeMap<String, BTreeSet<String>>,
}

/// The two faces of a target: what it shows, and what it really holds. Only a liar has two different ones.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) shown: BTreeMap<String, Held>,
    pub(crate) real: BTreeMap<String, Held>,
    next: u64,
    /// Keys and names of what changed, oldest first.
    log: Vec<(u64, String)>,
    pub(crate) calls: u64,
    /// What it was asked to do since the last look.
    pub(crate) asked: Vec<String>,
    pub(crate) faults: u64,
}

pub(crate) struct Target {
    pub(crate) names: Arc<Names>,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) dice: Arc<Mutex<Dice>>,
    pub(crate) lies: bool,
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}

impl State {
    fn apply(&mut self, operation: &ExportOperation, forget: bool) -> ExportOutcome {
        let known = self.shown.get(&operation.dn).map(|held| held.key);
        match operation.kind {
            ExportKind::Delete => {
                let key = self.remove(&operation.dn, forget);
                self.log.extend(key.map(|key| (key, operation.dn.clone())));
                return ExportOutcome::Accepted { anchor: None };
            }
            ExportKind::Update if known.is_none() => {
                return ExportOutcome::Rejected(ExportRejection {
                    code: ObjectErrorCode::CD_MISSING_OBJECT,
                    detail: format!("{} is not here", operation.dn),
                    conflicting_object: None,
                    attribute: None,
                });
            }
            ExportKind::Add | ExportKind::Update => {}
        }
        let key = known.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        for (face, real) in [(&mut self.shown, false), (&mut self.real, true)] {
            if real && forget {
                continue;
            }
            let held = face.entry(operation.dn.clone()).or_default();
            (held.key, held.object_type) = (key, operation.object_type.clone());
            for change in &operation.attributes {
                held.values.insert(change.name.clone(), change.wanted.iter().map(text).collect());
            }
            for change in &operation.references {
                let names = held.values.entry(change.name.clone()).or_default();
                if change.replace {
                    names.clear();
                }
                for name in &change.removed {
                    names.remove(name);
                }
                names.extend(change.added.iter().cloned());
            }
            held.values.retain(|_, values| !values.is_empty());
            if let Some(name) = &operation.rename
                && let Some(held) = face.remove(&operation.dn)
            {
                face.insert(name.clone(), held);
            }
        }
        self.log.push((key, operation.rename.clone().unwrap_or_else(|| operation.dn.clone())));
        ExportOutcome::Accepted { anchor: Some(Anchor::new(key.to_string().as_bytes())) }
    }

    /// Removes an object and every reference to it.
    fn remove(&mut self, dn: &str, forget: bool) -> Option<u64> {
        let key = self.shown.remove(dn).map(|held| held.key);
        if !forget {
            self.real.remove(dn);
        }
        for face in [&mut self.shown, &mut self.real] {
            for held in face.values_mut() {
                for values in held.values.values_mut() {
                    values.remove(dn);
                }
                held.values.retain(|_, values| !values.is_empty());
            }
        }
        key
    }
}

#[async_trait]
impl Connector for Target {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            full_import: true,
            delta_import: true,
            export: true,
            batch_objects: 4,
            batch_references: 3,
            batches_in_flight: 2,
            reference_deltas: true,
        }
    }

    async fn schema(&self, _cx: &Context) -> Result<Schema, ConnectorError> {
        Ok(Schema::default())
    }

    async fn import(&self, _cx: &Context, request: ImportRequest) -> Result<ImportStream, ConnectorError> {
        let state = self.state.lock().unwrap();
        let mut dice = self.dice.lock().unwrap();
        let since = match request.kind {
            ImportKind::Full => None,
            ImportKind::Delta { .. } if dice.fault(0.05) => {
                return Err(ConnectorError::new(ConnectorErrorKind::WatermarkLost, "the simulated cookie is stale").unsent());
            }
            ImportKind::Delta { since } => Some(u64::from_le_bytes(since.try_into().unwrap())),
        };
        let mut names: Vec<String> = match since {
            None => state.shown.keys().cloned().collect(),
            Some(position) => {
                let news = &state.log[usize::try_from(position).unwrap()..];
                news.iter().map(|(_, name)| name.clone()).collect::<BTreeSet<_>>().into_iter().collect()
            }
        };
        let references_changed: Vec<String> =
            if since.is_some() { state.shown.keys().filter(|name| !names.contains(name)).cloned().collect() } else { Vec::new() };
        // Deletes take references with them without a word in the log: the target shows their owners again.
        names.extend(references_changed);
        dice.shuffle(&mut names);
        let mut page = PageBuilder::new();
        for name in &names {
            let Some(held) = state.shown.get(name) else {
                let gone = state.log.iter().rev().find(|(_, logged)| logged == name).map_or(0, |(key, _)| *key);
                if !state.shown.values().any(|held| held.key == gone) {
                    page.begin_gone(name);
                    page.anchor(gone.to_string().as_bytes());
                    page.finish();
                }
                continue;
            };
            page.begin_entry(name);
            page.anchor(held.key.to_string().as_bytes());
            page.object_type(self.names.object_type(&held.object_type));
            for (attribute, values) in &held.values {
                page.attribute(self.names.intern(attribute), Operation::Replace);
                for value in values {
                    if matches!(attribute.as_str(), "manager" | "member") {
                        page.reference(value);
                    } else {
                        page.value(ValueRef::Text(value));
                    }
                }
            }
            page.finish();
        }
        if dice.fault(0.1) {
            let cut = ConnectorError::new(ConnectorErrorKind::Dropped, "the simulated connection broke");
            return Ok(futures_util::stream::iter([Ok(page.build(None)), Err(cut)]).boxed());
        }
        let watermark = (state.log.len() as u64).to_le_bytes().to_vec();
        let last = page.build(Some(Completion { watermark: Some(watermark), answered_in_full: since.is_none() }));
        Ok(futures_util::stream::iter([Ok(last)]).boxed())
    }

    async fn export(&self, _cx: &Context, batch: &ExportBatch) -> Result<ExportReply, ConnectorError> {
        let mut state = self.state.lock().unwrap();
        let mut dice = self.dice.lock().unwrap();
        state.calls += 1;
        let lost = || ConnectorError::new(ConnectorErrorKind::Dropped, "the simulated answer was lost");
        let mut order: Vec<&ExportOperation> = batch.operations.iter().collect();
        let fault = if dice.fault(0.35) { 1 + dice.below(6) } else { 0 };
        state.faults += u64::from(fault > 0);
        let asked = batch.operations.iter().map(|operation| {
            let changes: Vec<&str> = operation.attributes.iter().map(|change| change.name.as_str()).collect();
            format!("{:?} {} {changes:?} {:?}", operation.kind, operation.dn, operation.references)
        });
        let asked = format!("fault {fault}: {}", asked.collect::<Vec<_>>().join("; "));
        state.asked.push(asked);
        match fault {
            1 => return Err(lost()),
            2 => return Err(ConnectorError::new(ConnectorErrorKind::Busy, "the simulated target is busy").unsent()),
            3 => order.truncate(order.len() / 2),
            4 => dice.shuffle(&mut order),
            _ => {}
        }
        let mut outcomes = Vec::new();
        for operation in &order {
            if fault == 5 && dice.below(3) == 0 {
                let rejection = ExportRejection {
                    code: ObjectErrorCode::CD_ERROR,
                    detail: "the simulated target does not like it".to_owned(),
                    conflicting_object: None,
                    attribute: None,
                };
                outcomes.push((operation.id, ExportOutcome::Rejected(rejection)));
                continue;
            }
            let forget = self.lies && dice.below(8) == 0;
            let outcome = state.apply(operation, forget);
            if fault == 6 {
                // Doubled on the way.
                state.apply(operation, forget);
            }
            outcomes.push((operation.id, outcome));
        }
        // The first half is done, and nobody hears of it; or all is, and nobody hears of it.
        if fault == 3 || fault > 0 && dice.below(4) == 0 {
            return Err(lost());
        }
        Ok(ExportReply::new(batch, outcomes))
    }
}
