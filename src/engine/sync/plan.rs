//! A planned batch as data: what to write, what to count, which objects stand behind the counts. Making a plan
//! writes nothing; previews and steps share it.

use super::batch::{Batch, Problem, Sleepers, UnitRecord};
use super::book::Rulebook;
use super::draft::TargetEvent;
use super::unit::{Inbound, UnitPlan};
use super::view::{Footprints, JoinIndex};
use crate::model::{AttrId, ConnectorId, CsId, CsObject, ErrorSide, FlatValues, MvObject, ObjectError, Stage, ValueRef, ValueState};
use crate::store::{AttributeDelta, ChangeSet, CounterName, DirtyReason, Snapshot, StepObject, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How much of a value a counter's object list shows, in characters.
const SHOWN_CHARACTERS: usize = 120;
/// How many octets of a binary value it shows.
const SHOWN_OCTETS: usize = 16;

/// What one batch of synchronization would do. Plain data: apply [`SyncPlan::changes`] in one transaction, or look
/// at it and throw it away.
#[derive(Debug, Default)]
pub struct SyncPlan {
    /// Everything to be written, without run history.
    pub changes: ChangeSet,
    /// The counters of the specification (sync engine 5.3); outbound ones with the target's name behind a slash.
    pub counters: BTreeMap<CounterName, u64>,
    /// The objects behind the counters, as far as anything about them changed.
    pub objects: Vec<StepObject>,
    /// Connector-space objects processed: the inbound counters add up to it.
    pub processed: u64,
    /// Objects whose processing failed; part of `processed`.
    pub failed: u64,
    /// Objects marked for a new evaluation, or unmarked.
    pub dirty: BTreeMap<CsId, Option<DirtyReason>>,
    /// Join values of metaverse objects written.
    pub(crate) join_keys: Vec<(u128, crate::model::MvId)>,
    /// Footprints of everything written.
    pub(crate) written: Footprints,
}

/// Makes a batch of planned units. `stale`: what was written since they were planned.
pub(crate) fn plan(
    book: &Rulebook<'_>,
    connectors: &BTreeMap<ConnectorId, String>,
    snapshot: &Snapshot,
    index: Option<&JoinIndex>,
    sleepers: &mut Sleepers,
    plans: Vec<UnitPlan>,
    stale: &Footprints,
) -> Result<SyncPlan, StoreError> {
    let batch = Batch::lay_down(book, snapshot, index, sleepers, plans, stale)?;
    let mut plan = SyncPlan::default();
    let mut report = Report { book, connectors, plan: &mut plan };
    report.count(&batch)?;
    plan.fill(batch)?;
    Ok(plan)
}

impl SyncPlan {
    fn fill(&mut self, batch: Batch<'_>) -> Result<(), StoreError> {
        let Batch { book, snapshot, overlay, hashes, blobs, problems, mut dirty, join_keys, .. } = batch;
        let changes = &mut self.changes;
        self.written = overlay.footprints();
        for (id, object) in overlay.cs {
            if let Some(object) = object {
                changes.cs_put.push(Arc::unwrap_or_clone(object));
            } else {
                changes.cs_delete.push(id);
                dirty.remove(&id);
            }
        }
        let gone = &changes.cs_delete;
        for (owner, rows) in overlay.cs_rows {
            if gone.binary_search(&owner).is_err() {
                let rows = rows.into_iter().map(|((attr, target), state)| crate::model::CsReference { owner, attr, target, state });
                changes.cs_reference.extend(rows);
            }
        }
        for (id, object) in overlay.mv {
            match object {
                Some(object) => changes.mv_put.push(Arc::unwrap_or_clone(object)),
                None => changes.mv_delete.push(id),
            }
        }
        let lost = &changes.mv_delete;
        for (owner, rows) in overlay.mv_rows {
            if lost.binary_search(&owner).is_ok() {
                continue;
            }
            for ((attr, target), contributor) in rows {
                match contributor {
                    Some(contributor) if lost.binary_search(&target).is_err() => {
                        changes.mv_reference.push(crate::model::MvReference { owner, attr, target, contributor });
                    }
                    _ => changes.mv_reference_delete.push((owner, attr, target)),
                }
            }
        }
        changes.cs_hash.extend(hashes.into_iter().map(|id| (id, None)));
        changes.blobs = blobs;
        for Problem { id, code, detail, .. } in problems {
            let earlier = snapshot.error(id, ErrorSide::Sync)?;
            let error = ObjectError::new(code, detail, book.run.now).after(earlier.as_ref());
            changes.errors.push((id, ErrorSide::Sync, Some(error)));
        }
        for (id, reason) in &dirty {
            if reason.is_none() {
                changes.errors.push((*id, ErrorSide::Sync, None));
            }
        }
        let moot = moot_refusals(book, snapshot, &changes.cs_put)?;
        changes.errors.extend(moot.into_iter().map(|id| (id, ErrorSide::Export, None)));
        changes.dirty = dirty.iter().map(|(id, reason)| (*id, *reason)).collect();
        self.dirty = dirty;
        self.join_keys = join_keys;
        Ok(())
    }
}

/// A refusal is over when what was refused is no longer wanted.
fn moot_refusals(book: &Rulebook<'_>, snapshot: &Snapshot, put: &[CsObject]) -> Result<Vec<CsId>, StoreError> {
    let mut refusing = Vec::new();
    for target in book.rules.targets() {
        if !snapshot.errors(*target, None, 1)?.is_empty() {
            refusing.push(*target);
        }
    }
    let mut moot = Vec::new();
    for object in put.iter().filter(|object| refusing.contains(&object.id.connector())) {
        let waits = object.stage(Stage::PendingExport).is_some() || object.stage(Stage::InProgress).is_some();
        let refusal = |error: ObjectError| !error.is_kept_aside();
        if !waits && snapshot.error(object.id, ErrorSide::Export)?.is_some_and(refusal) {
            moot.push(object.id);
        }
    }
    Ok(moot)
}

struct Report<'a, 'p> {
    book: &'a Rulebook<'a>,
    connectors: &'a BTreeMap<ConnectorId, String>,
    plan: &'p mut SyncPlan,
}

impl Report<'_, '_> {
    fn count(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let mut moved = batch.moved_targets.clone();
        for unit in &batch.units {
            self.count_unit(batch, unit);
            for (target, event) in &unit.events {
                let follows = moved.remove(target).is_some();
                self.count_event(batch, *target, *event, follows)?;
            }
        }
        for target in moved.into_keys() {
            self.count_event(batch, target, TargetEvent::Compared { flow: true }, true)?;
        }
        for problem in &batch.problems {
            self.bump("flow-failure");
            self.list("flow-failure".into(), problem.id, problem.dn.to_string(), Vec::new());
            self.plan.processed += 1;
            self.plan.failed += 1;
        }
        Ok(())
    }

    fn count_unit(&mut self, batch: &Batch<'_>, unit: &UnitRecord) {
        let flow = unit.changed || unit.metaverse.is_some_and(|mv| batch.moved_mv.contains(&mv));
        let either = |removed: &'static str, flowed: &'static str, still: &'static str| match (unit.removed, flow) {
            (true, _) => removed,
            (false, true) => flowed,
            (false, false) => still,
        };
        let counter = match unit.inbound {
            Inbound::Placeholder => return,
            Inbound::Filtered => "disconnector-filtered",
            Inbound::Remains => "disconnector-remains",
            Inbound::Joined => either("disconnector-joined-remove-mv", "disconnector-joined-flow", "disconnector-joined-no-flow"),
            Inbound::Projected => {
                either("disconnector-projected-remove-mv", "disconnector-projected-flow", "disconnector-projected-no-flow")
            }
            Inbound::LeftScope => either("connector-filtered-remove-mv", "connector-filtered-leave-mv", "connector-filtered-leave-mv"),
            Inbound::Connected => either("connector-flow-remove-mv", "connector-flow", "connector-no-flow"),
            Inbound::Deleted => either("connector-delete-remove-mv", "connector-delete-leave-mv", "connector-delete-leave-mv"),
            Inbound::Retyped => "connector-delete-add-processed",
        };
        self.bump(counter);
        self.plan.processed += 1;
        let quiet = match unit.inbound {
            Inbound::Connected => counter == "connector-no-flow",
            Inbound::Filtered | Inbound::Remains => !batch.overlay.cs.contains_key(&unit.id),
            _ => false,
        };
        if !quiet {
            let after = unit.metaverse.and_then(|mv| batch.overlay.mv.get(&mv)).and_then(Option::as_ref);
            let changes = match (&unit.before, after) {
                (Some(before), Some(after)) => self.metaverse_delta(before, after),
                _ => Vec::new(),
            };
            self.list(counter.into(), unit.id, unit.dn.to_string(), changes);
        }
    }

    fn count_event(&mut self, batch: &Batch<'_>, target: CsId, event: TargetEvent, follows: bool) -> Result<(), StoreError> {
        let counter = match event {
            TargetEvent::Added { flow } if flow || follows => "provisioned-add-flow",
            TargetEvent::Added { .. } => "provisioned-add-no-flow",
            TargetEvent::Renamed { flow } if flow || follows => "provisioned-rename-flow",
            TargetEvent::Renamed { .. } => "provisioned-rename-no-flow",
            TargetEvent::Disconnected => "provisioned-disconnect",
            TargetEvent::Replaced { flow } if flow || follows => "provisioned-delete-add-flow",
            TargetEvent::Replaced { .. } => "provisioned-delete-add-no-flow",
            TargetEvent::Compared { flow } if flow || follows => "connector-flow",
            TargetEvent::Compared { .. } => "connector-no-flow",
        };
        let connector = target.connector();
        let name = match self.connectors.get(&connector) {
            Some(name) => format!("{counter}/{name}"),
            None => format!("{counter}/{connector}"),
        };
        *self.plan.counters.entry(CounterName(name.clone().into())).or_default() += 1;
        if counter == "connector-no-flow" {
            return Ok(());
        }
        let object = match batch.overlay.cs.get(&target) {
            Some(object) => object.clone(),
            None => batch.view().cs(target)?,
        };
        // An object that was never sent and vanished has no name left to show.
        let dn = object.as_ref().map_or_else(|| target.to_string(), |object| object.dn.to_string());
        let changes = match (&object, event) {
            (Some(object), TargetEvent::Compared { .. } | TargetEvent::Renamed { .. }) => self.pending_delta(object),
            _ => Vec::new(),
        };
        self.list(name, target, dn, changes);
        Ok(())
    }

    fn bump(&mut self, counter: &'static str) {
        *self.plan.counters.entry(CounterName(counter.into())).or_default() += 1;
    }

    fn list(&mut self, counter: String, id: CsId, dn: String, changes: Vec<AttributeDelta>) {
        self.plan.objects.push(StepObject { counter: CounterName(counter.into()), id, dn, changes });
    }

    fn metaverse_delta(&self, before: &MvObject, after: &MvObject) -> Vec<AttributeDelta> {
        value_delta(self.book, &before.values, &after.values)
    }

    fn pending_delta(&self, object: &CsObject) -> Vec<AttributeDelta> {
        let mut deltas = Vec::new();
        if let Some(name) = &object.stage(Stage::PendingExport).rename {
            deltas.push(AttributeDelta { attribute: "dn".to_owned(), removed: vec![object.dn.to_string()], added: vec![name.to_string()] });
        }
        for attr in object.values.attributes() {
            let mut delta = AttributeDelta { attribute: String::new(), removed: Vec::new(), added: Vec::new() };
            for item in object.values.attribute(attr) {
                let state = ValueState(item.flags);
                if state.added(Stage::PendingExport) {
                    delta.added.push(shown(item.value));
                } else if state.removed(Stage::PendingExport) {
                    delta.removed.push(shown(item.value));
                }
            }
            push_delta(self.book, &mut deltas, attr, delta);
        }
        deltas
    }
}

/// What changed between two lists of values, attribute by attribute, as people read it.
pub(crate) fn value_delta(book: &Rulebook<'_>, before: &FlatValues, after: &FlatValues) -> Vec<AttributeDelta> {
    let mut attributes: Vec<AttrId> = before.attributes().chain(after.attributes()).collect();
    attributes.sort_unstable();
    attributes.dedup();
    let mut deltas = Vec::new();
    for attr in attributes {
        if before.same_attribute(after, attr) {
            continue;
        }
        let only = |these: &FlatValues, others: &FlatValues| {
            let lacking = these.raw_attribute(attr).filter(|item| !others.has(*item));
            lacking.map(|item| shown(item.value())).collect::<Vec<_>>()
        };
        let delta = AttributeDelta { attribute: String::new(), removed: only(before, after), added: only(after, before) };
        push_delta(book, &mut deltas, attr, delta);
    }
    deltas
}

fn push_delta(book: &Rulebook<'_>, deltas: &mut Vec<AttributeDelta>, attr: AttrId, delta: AttributeDelta) {
    if !delta.added.is_empty() || !delta.removed.is_empty() {
        deltas.push(AttributeDelta { attribute: book.names.name(attr).to_string(), ..delta });
    }
}

/// A value as people read it, shortened.
pub(crate) fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(text) => match text.char_indices().nth(SHOWN_CHARACTERS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        },
        ValueRef::Number(number) => number.to_string(),
        ValueRef::Boolean(boolean) => if boolean { "True" } else { "False" }.to_owned(),
        ValueRef::Binary(bytes) if bytes.len() > SHOWN_OCTETS => {
            format!("{}… ({} octets)", hex::encode(&bytes[..SHOWN_OCTETS]), bytes.len())
        }
        ValueRef::Binary(bytes) => hex::encode(bytes),
        ValueRef::LargeText(blob) => format!("text of {} octets", blob.length),
        ValueRef::LargeBinary(blob) => format!("{} octets", blob.length),
        ValueRef::Reference(id) => format!("object {id}"),
    }
}
