//! From queued objects to a batch: what exactly is sent, and the record that it was handed over.

use super::super::describe::{self, text_of};
use super::deltas;
use super::names::is_stand_in;
use crate::connector::{AttributeChange, Capabilities, ExportKind, ExportOperation, ReferenceChange};
use crate::model::{
    AttrId, Blob, CsId, CsObject, CsReference, DeltaKind, Link, Names, Stage, StageDelta, StageMask, Value, ValueRef, ValueState,
};
use crate::store::{AttributeDelta, ChangeSet, Snapshot, StoreError};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What the history says of somebody who was removed.
const TOLD_OF_DELETES: [&str; 3] = ["displayName", "userPrincipalName", "mail"];
/// A batch with more content than this is closed, so that large values cannot fill the memory.
const BATCH_OCTETS: usize = 8 << 20;

/// One object of a batch that is under way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: CsId,
    pub(super) kind: ExportKind,
    pub(super) renamed: bool,
    pub(super) dn: String,
    /// The object as it stands in the store from the hand-over on.
    pub(super) object: CsObject,
    /// The references sent, as they stand in the store.
    pub(super) rows: Vec<CsReference>,
    /// For the history; nothing for an object that is new, which itself tells what it has.
    pub(super) changes: Vec<AttributeDelta>,
}

impl Sent {
    /// The object, for a new state; what remains here is empty.
    pub(super) fn take_object(&mut self) -> CsObject {
        let empty = CsObject::new(self.id, self.object.object_type, "");
        std::mem::replace(&mut self.object, empty)
    }
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

/// An object ready to be sent.
struct Prepared {
    operation: ExportOperation,
    sent: Sent,
    octets: usize,
    left: bool,
}

/// What batches are made from.
pub(super) struct From<'s> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) names: &'s Names,
    pub(super) capabilities: &'s Capabilities,
    /// Objects whose names are about to change.
    pub(super) moving: &'s HashSet<CsId>,
    /// Objects whose deletes wait: whoever refers to them goes on doing so.
    pub(super) held: &'s BTreeSet<CsId>,
}

/// Fills one batch from the front of `ids` and notes in `changes` that it is handed over. Gives the batch, if anything
/// can be sent, and the ids not used. `first`: this step has not sent these objects yet.
pub(super) fn batch<'i>(
    from: &From<'_>,
    ids: &'i [CsId],
    first: bool,
    waiting: &mut Waiting,
    changes: &mut ChangeSet,
) -> Result<(Option<Batch>, &'i [CsId]), StoreError> {
    let (objects_max, references_max) = (from.capabilities.batch_objects.max(1), from.capabilities.batch_references.max(1));
    let mut batch = Batch { operations: Vec::new(), sent: Vec::new() };
    let (mut references, mut octets, mut used) = (0, 0, 0);
    let mut targets = Targets { from, known: HashMap::new() };
    for id in ids {
        if batch.sent.len() >= objects_max || references >= references_max || octets >= BATCH_OCTETS {
            break;
        }
        let Some(prepared) = prepare(from, &mut targets, *id, first, waiting)? else {
            used += 1;
            continue;
        };
        let Prepared { operation, sent, octets: more, left } = prepared;
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
        changes.cs_reference.extend_from_slice(&sent.rows);
        changes.cs_put.push(sent.object.clone());
        batch.operations.push(operation);
        batch.sent.push(sent);
    }
    Ok(((!batch.sent.is_empty()).then_some(batch), &ids[used..]))
}

/// What is known of the objects that references point to.
struct Targets<'s> {
    from: &'s From<'s>,
    known: HashMap<CsId, Target>,
}

/// An object that a reference points to.
struct Target {
    /// It is there as far as imports and answers tell.
    exists: bool,
    /// Its name is changing, or may have changed: whichever it is called by may be wrong.
    unsure: bool,
    /// Its name.
    name: String,
}

impl Targets<'_> {
    fn get(&mut self, id: CsId) -> Result<&Target, StoreError> {
        match self.known.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let found = match self.from.snapshot.cs_object(id)? {
                    Some(object) => Target {
                        exists: deltas::acknowledged_exists(&object) || (object.link != Link::Placeholder && object.anchor.is_some()),
                        unsure: self.from.moving.contains(&id) || object.stage(Stage::InProgress).rename.is_some(),
                        name: deltas::acknowledged_name(&object).to_owned(),
                    },
                    None => Target { exists: false, unsure: false, name: String::new() },
                };
                Ok(unknown.insert(found))
            }
        }
    }
}

fn prepare(
    from: &From<'_>,
    targets: &mut Targets<'_>,
    id: CsId,
    first: bool,
    waiting: &mut Waiting,
) -> Result<Option<Prepared>, StoreError> {
    let (snapshot, names) = (from.snapshot, from.names);
    let Some(object) = snapshot.cs_object(id)? else { return Ok(None) };
    let pending = object.stage(Stage::PendingExport).clone();
    // Of what is under way nobody knows yet whether it arrived: an import decides first.
    if object.stage(Stage::InProgress).is_some() {
        return Ok(None);
    }
    let kind = match pending.kind {
        DeltaKind::Add => ExportKind::Add,
        DeltaKind::Update => ExportKind::Update,
        DeltaKind::Delete => ExportKind::Delete,
        // Only imports find out that an object became another type.
        DeltaKind::None | DeltaKind::DeleteAdd => return Ok(None),
    };
    let mut shown = describe::Changes::default();
    if kind == ExportKind::Delete {
        // Whoever asks later who that was finds nothing but this.
        for name in TOLD_OF_DELETES {
            if let Some(attr) = names.find(name)
                && let Some(text) = text_of(names, &object.values, name)
            {
                shown.removed(attr, || text);
            }
        }
    }
    let fresh = object.values.entries().iter().any(|entry| ValueState(entry.flags).touched(Stage::PendingExport));
    let (attributes, octets) = attributes(snapshot, names, &object, kind, first, &mut shown)?;
    let References { changes: references, rows, left } =
        if kind == ExportKind::Delete { References::default() } else { references(from, targets, &object, kind, &mut shown)? };
    let rename = pending.rename.as_deref().filter(|_| kind != ExportKind::Delete).map(str::to_owned);
    if kind == ExportKind::Update && !fresh && rows.is_empty() && rename.is_none() {
        // Once more when the others had their turn, and not again after that.
        if left && first {
            waiting.ids.insert(id);
        }
        return Ok(None);
    }
    let dn = deltas::acknowledged_name(&object).to_owned();
    let operation = ExportOperation {
        id,
        kind,
        object_type: names.object_type_name(object.object_type).to_string(),
        dn: dn.clone(),
        rename: rename.clone(),
        anchor: object.anchor.clone(),
        attributes,
        references,
    };
    let changes = shown.finish(names, rename.as_deref().map(|name| (dn.as_str(), name)));
    let mut object = object;
    *object.stage_mut(Stage::InProgress) = StageDelta { kind: pending.kind, rename: pending.rename };
    *object.stage_mut(Stage::PendingExport) = StageDelta { kind: if left { DeltaKind::Update } else { DeltaKind::None }, rename: None };
    deltas::rewrite(&mut object.values, |_, state| deltas::sent(state));
    let sent = Sent { id, kind, renamed: rename.is_some(), dn, object, rows, changes };
    Ok(Some(Prepared { operation, sent, octets, left }))
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
    let whole = kind == ExportKind::Add;
    let mut changes = Vec::new();
    let mut octets = 0;
    for attr in object.values.attributes() {
        let states = || object.values.attribute(attr).map(|item| (item, ValueState(item.flags)));
        // Until it is confirmed, what was acknowledged is sent along (specification: sync engine 2.2, point 7).
        let again = |state: ValueState| first && !whole && state.touched(Stage::Unconfirmed);
        if !states().any(|(_, state)| state.touched(Stage::PendingExport) || again(state)) {
            continue;
        }
        let mut change = AttributeChange { name: String::new(), wanted: Vec::new(), added: Vec::new(), removed: Vec::new() };
        let mut said = false;
        for (item, state) in states() {
            let (added, removed) = (state.added(Stage::PendingExport), state.removed(Stage::PendingExport));
            if whole {
                if added {
                    let value = content(snapshot, item.value)?;
                    octets += size(&value);
                    change.wanted.push(value);
                }
                continue;
            }
            let wanted = state.present(StageMask::WANTED);
            if !wanted && !removed {
                continue;
            }
            said = true;
            let value = content(snapshot, item.value)?;
            octets += size(&value);
            if added {
                shown.added(attr, || describe::shorten(item.value));
                change.added.push(value.clone());
            } else if removed {
                // That a stand-in goes is no news to anybody: nobody was told that it came.
                if !matches!(item.value, ValueRef::Text(text) if is_stand_in(deltas::acknowledged_name(object), text)) {
                    shown.removed(attr, || describe::shorten(item.value));
                }
                change.removed.push(value.clone());
            }
            if wanted {
                change.wanted.push(value);
            }
        }
        if said || !change.wanted.is_empty() {
            change.name = names.name(attr).to_string();
            changes.push(change);
        }
    }
    Ok((changes, octets))
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

/// The references to change: those whose targets exist and can be named, at most as many as one batch takes.
fn references(
    from: &From<'_>,
    targets: &mut Targets<'_>,
    object: &CsObject,
    kind: ExportKind,
    shown: &mut describe::Changes,
) -> Result<References, StoreError> {
    let whole = kind != ExportKind::Update || !from.capabilities.reference_deltas;
    // Only a list of something that exists names what stays.
    let stored = if whole && kind == ExportKind::Update {
        from.snapshot.cs_references(object.id)?
    } else {
        from.snapshot.cs_touched_references(object.id)?
    };
    let touched: BTreeSet<AttrId> = stored.iter().filter(|row| row.state.touched(Stage::PendingExport)).map(|row| row.attr).collect();
    // What must be sent whole cannot be cut into pieces, and a new object starts with all that one batch takes.
    let limit = if from.capabilities.reference_deltas { from.capabilities.batch_references.max(1) } else { usize::MAX };
    let mut changes: BTreeMap<AttrId, ReferenceChange> = BTreeMap::new();
    // A list that has to be named whole waits for its last name.
    let mut unnamed: BTreeSet<AttrId> = BTreeSet::new();
    let (mut rows, mut left) = (Vec::new(), false);
    for row in stored.iter().filter(|row| touched.contains(&row.attr)) {
        let (added, mut removed) = (row.state.added(Stage::PendingExport), row.state.removed(Stage::PendingExport));
        let stays = removed && from.held.contains(&row.target);
        left |= stays;
        removed &= !stays;
        let kept = whole && kind == ExportKind::Update && (stays || row.state.present(StageMask::WANTED));
        if !added && !removed && !kept {
            continue;
        }
        if (added || removed) && rows.len() >= limit {
            left = true;
            break;
        }
        let target = targets.get(row.target)?;
        // What a whole list does not name any more needs no name.
        if target.unsure && (added || kept || !whole) {
            left = true;
            if whole && kind == ExportKind::Update {
                unnamed.insert(row.attr);
            }
            continue;
        }
        if added && !target.exists {
            left = true;
            continue;
        }
        let dn = target.name.as_str();
        let change = changes.entry(row.attr).or_insert_with(|| ReferenceChange {
            name: from.names.name(row.attr).to_string(),
            replace: whole,
            added: Vec::new(),
            removed: Vec::new(),
        });
        if kind == ExportKind::Add {
            // Of what appears the history tells the name only.
        } else if added {
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
            rows.push(CsReference { state: deltas::sent(row.state), ..*row });
        }
    }
    changes.retain(|attr, _| !unnamed.contains(attr));
    rows.retain(|row| !unnamed.contains(&row.attr));
    Ok(References { changes: changes.into_values().collect(), rows, left })
}
