//! From queued objects to a batch: what exactly is sent, and the record that it was handed over.

use super::super::{describe, stage};
use crate::connector::{AttributeChange, Capabilities, ExportKind, ExportOperation, ReferenceChange};
use crate::model::{
    AttrId, Blob, CsId, CsObject, CsReference, DeltaKind, Names, Stage, StageDelta, StageMask, Value, ValueRef, ValueState,
};
use crate::store::{AttributeDelta, ChangeSet, Snapshot, StoreError};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A batch with more content than this is closed, so that large values cannot fill the memory.
const BATCH_OCTETS: usize = 8 << 20;

/// One object of a batch that is under way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: CsId,
    pub(super) kind: ExportKind,
    pub(super) renamed: bool,
    pub(super) dn: String,
    /// The references sent.
    pub(super) rows: Vec<(AttrId, CsId)>,
    /// For the history.
    pub(super) changes: Vec<AttributeDelta>,
}

/// A batch ready to be sent.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) operations: Vec<ExportOperation>,
    pub(super) sent: Vec<Sent>,
}

/// Objects with something left to send.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) ids: BTreeSet<CsId>,
}

/// An object ready to be sent, and what sending it changes in the store.
struct Prepared {
    operation: ExportOperation,
    sent: Sent,
    object: CsObject,
    rows: Vec<CsReference>,
    octets: usize,
    left: bool,
}

/// Fills one batch from the front of `ids` and notes in `changes` that it is handed over. Gives the batch, if anything
/// can be sent, and the ids not used. `first`: this step has not sent these objects yet.
pub(super) fn batch<'i>(
    snapshot: &Snapshot,
    names: &Names,
    capabilities: &Capabilities,
    ids: &'i [CsId],
    first: bool,
    waiting: &mut Waiting,
    changes: &mut ChangeSet,
) -> Result<(Option<Batch>, &'i [CsId]), StoreError> {
    let (objects_max, references_max) = (capabilities.batch_objects.max(1), capabilities.batch_references.max(1));
    let mut batch = Batch { operations: Vec::new(), sent: Vec::new() };
    let (mut references, mut octets, mut used) = (0, 0, 0);
    let mut targets = Targets { snapshot, known: HashMap::new() };
    for id in ids {
        if batch.sent.len() >= objects_max || references >= references_max || octets >= BATCH_OCTETS {
            break;
        }
        let Some(prepared) = prepare(snapshot, names, capabilities, &mut targets, *id, first)? else {
            used += 1;
            continue;
        };
        let Prepared { operation, sent, object, rows, octets: more, left } = prepared;
        let links: usize = operation.references.iter().map(|change| change.added.len() + change.removed.len()).sum();
        let full = references + links > references_max || octets + more > BATCH_OCTETS;
        if full && !batch.sent.is_empty() {
            break;
        }
        used += 1;
        references += links;
        octets += more;
        if left {
            waiting.ids.insert(*id);
        }
        changes.cs_hash.push((*id, None));
        changes.cs_reference.extend(rows);
        changes.cs_put.push(object);
        batch.operations.push(operation);
        batch.sent.push(sent);
    }
    Ok(((!batch.sent.is_empty()).then_some(batch), &ids[used..]))
}

/// What is known of the objects that references point to.
struct Targets<'s> {
    snapshot: &'s Snapshot,
    known: HashMap<CsId, (bool, String)>,
}

impl Targets<'_> {
    /// Whether the object exists in the target, and its name there.
    fn get(&mut self, id: CsId) -> Result<(bool, &str), StoreError> {
        if !self.known.contains_key(&id) {
            let found = match self.snapshot.cs_object(id)? {
                Some(object) => (stage::acknowledged_exists(&object) || object.anchor.is_some(), object.dn.into()),
                None => (false, String::new()),
            };
            self.known.insert(id, found);
        }
        Ok(self.known.get(&id).map_or((false, ""), |(exists, dn)| (*exists, dn)))
    }
}

fn prepare(
    snapshot: &Snapshot,
    names: &Names,
    capabilities: &Capabilities,
    targets: &mut Targets<'_>,
    id: CsId,
    first: bool,
) -> Result<Option<Prepared>, StoreError> {
    let Some(object) = snapshot.cs_object(id)? else { return Ok(None) };
    let pending = object.stage(Stage::PendingExport).clone();
    // Of what is under way nobody knows yet whether it arrived: an import decides first.
    if pending.kind == DeltaKind::None || object.stage(Stage::InProgress).is_some() {
        return Ok(None);
    }
    let kind = match pending.kind {
        DeltaKind::Add => ExportKind::Add,
        DeltaKind::Delete => ExportKind::Delete,
        DeltaKind::DeleteAdd => ExportKind::Replace,
        DeltaKind::Update | DeltaKind::None => ExportKind::Update,
    };
    let mut shown = describe::Changes::default();
    let fresh = object.values.entries().iter().any(|entry| ValueState(entry.flags).touched(Stage::PendingExport));
    let (attributes, octets) = attributes(snapshot, names, &object, kind, first, &mut shown)?;
    let References { changes: references, rows, left } = if kind == ExportKind::Delete {
        References::default()
    } else {
        references(snapshot, names, capabilities, targets, &object, kind, &mut shown)?
    };
    let rename = pending.rename.as_deref().filter(|_| kind != ExportKind::Delete).map(str::to_owned);
    if kind == ExportKind::Update && !fresh && rows.is_empty() && rename.is_none() {
        return Ok(None);
    }
    let operation = ExportOperation {
        id,
        kind,
        object_type: names.object_type_name(object.object_type).to_string(),
        dn: object.dn.to_string(),
        rename: rename.clone(),
        anchor: object.anchor.clone(),
        attributes,
        references,
    };
    let changes = shown.finish(names, rename.as_deref().map(|name| (&*object.dn, name)));
    let sent = Sent {
        id,
        kind,
        renamed: rename.is_some(),
        dn: object.dn.to_string(),
        rows: rows.iter().map(|row| (row.attr, row.target)).collect(),
        changes,
    };
    let mut object = object;
    *object.stage_mut(Stage::InProgress) = StageDelta { kind: pending.kind, rename: pending.rename };
    *object.stage_mut(Stage::PendingExport) = StageDelta { kind: if left { DeltaKind::Update } else { DeltaKind::None }, rename: None };
    stage::rewrite(&mut object.values, |_, state| stage::sent(state));
    Ok(Some(Prepared { operation, sent, object, rows, octets, left }))
}

/// The attributes to set or clear, with the octets of their values.
fn attributes(
    snapshot: &Snapshot,
    names: &Names,
    object: &CsObject,
    kind: ExportKind,
    first: bool,
    shown: &mut describe::Changes,
) -> Result<(Vec<AttributeChange>, usize), StoreError> {
    if kind == ExportKind::Delete {
        return Ok((Vec::new(), 0));
    }
    let mut changes: BTreeMap<AttrId, AttributeChange> = BTreeMap::new();
    let mut octets = 0;
    let touched: BTreeSet<AttrId> = object
        .values
        .iter()
        .filter(|item| {
            let state = ValueState(item.flags);
            // Until it is confirmed, what was acknowledged is sent along (specification: sync engine 2.2, point 7).
            state.touched(Stage::PendingExport) || first && kind == ExportKind::Update && state.touched(Stage::Unconfirmed)
        })
        .map(|item| item.attr)
        .collect();
    for item in object.values.iter().filter(|item| touched.contains(&item.attr)) {
        let state = ValueState(item.flags);
        let (added, removed) = (state.added(Stage::PendingExport), state.removed(Stage::PendingExport));
        let wanted = if kind == ExportKind::Update { state.present(StageMask::WANTED) } else { added };
        if !wanted && !removed {
            continue;
        }
        let change = changes.entry(item.attr).or_insert_with(|| AttributeChange {
            name: names.name(item.attr).to_string(),
            wanted: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
        });
        if removed && kind != ExportKind::Update {
            continue;
        }
        let value = content(snapshot, item.value)?;
        octets += size(&value);
        if added {
            shown.added(item.attr, || describe::shorten(item.value));
            change.added.push(value.clone());
        } else if removed {
            shown.removed(item.attr, || describe::shorten(item.value));
            change.removed.push(value.clone());
        }
        if wanted {
            change.wanted.push(value);
        }
    }
    if kind != ExportKind::Update {
        changes.retain(|_, change| !change.wanted.is_empty());
    }
    Ok((changes.into_values().collect(), octets))
}

/// A value with its content: handles are ours, a connector needs what they stand for.
fn content(snapshot: &Snapshot, value: ValueRef<'_>) -> Result<Value, StoreError> {
    let octets = |blob: Blob| {
        snapshot.blob(blob)?.ok_or_else(|| StoreError::Damaged {
            place: "large values".to_owned(),
            reason: format!("a value of {} octets has no content", blob.length),
        })
    };
    Ok(match value {
        ValueRef::LargeText(blob) => Value::Text(String::from_utf8_lossy(&octets(blob)?).into_owned().into_boxed_str()),
        ValueRef::LargeBinary(blob) => Value::Binary(octets(blob)?.into_boxed_slice()),
        other => other.to_value(),
    })
}

fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Binary(octets) => octets.len(),
        _ => 8,
    }
}

#[derive(Default)]
struct References {
    changes: Vec<ReferenceChange>,
    /// The rows sent, as they are from now on.
    rows: Vec<CsReference>,
    /// Something could not be sent yet that may be sent later in this step.
    left: bool,
}

/// The references to change: those whose targets exist, at most as many as one batch takes.
fn references(
    snapshot: &Snapshot,
    names: &Names,
    capabilities: &Capabilities,
    targets: &mut Targets<'_>,
    object: &CsObject,
    kind: ExportKind,
    shown: &mut describe::Changes,
) -> Result<References, StoreError> {
    let stored = snapshot.cs_references(object.id)?;
    let touched: BTreeSet<AttrId> = stored.iter().filter(|row| row.state.touched(Stage::PendingExport)).map(|row| row.attr).collect();
    let whole = kind != ExportKind::Update || !capabilities.reference_deltas;
    // What must be sent whole cannot be cut into pieces, and a new object starts with all that one batch takes.
    let limit = if capabilities.reference_deltas { capabilities.batch_references.max(1) } else { usize::MAX };
    let mut changes: BTreeMap<AttrId, ReferenceChange> = BTreeMap::new();
    let (mut rows, mut left) = (Vec::new(), false);
    for row in stored.iter().filter(|row| touched.contains(&row.attr)) {
        let (added, removed) = (row.state.added(Stage::PendingExport), row.state.removed(Stage::PendingExport));
        let kept = whole && kind == ExportKind::Update && row.state.present(StageMask::WANTED);
        if !added && !removed && !kept {
            continue;
        }
        if (added || removed) && rows.len() >= limit {
            left = true;
            break;
        }
        let (exists, dn) = targets.get(row.target)?;
        if added && !exists {
            left = true;
            continue;
        }
        let change = changes.entry(row.attr).or_insert_with(|| ReferenceChange {
            name: names.name(row.attr).to_string(),
            replace: whole,
            added: Vec::new(),
            removed: Vec::new(),
        });
        if added {
            shown.added(row.attr, || dn.to_owned());
        } else if removed {
            shown.removed(row.attr, || dn.to_owned());
        }
        if added || kept {
            change.added.push(dn.to_owned());
        } else if !whole {
            change.removed.push(dn.to_owned());
        }
        if added || removed {
            rows.push(CsReference { state: stage::sent(row.state), ..*row });
        }
    }
    Ok(References { changes: changes.into_values().collect(), rows, left })
}
