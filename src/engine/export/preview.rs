//! What an export would send, without sending it.

use super::super::describe;
use super::deltas;
use super::moves::possibly_known;
use super::queue::{ExportSummary, each};
use super::removals::{HeldDeletes, waits_with};
use crate::connector::ExportKind;
use crate::engine::sync::wants_values;
use crate::model::{ConnectorId, CsId, CsObject, CsReference, DeltaKind, Names, Stage, ValueState};
use crate::store::{AttributeDelta, Snapshot, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// What waits for a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportPreview {
    /// All of it, in numbers. Updates of which nothing would be sent, since all that is to go are references that stay, do not count.
    pub summary: ExportSummary,
    /// Attributes that would have no value any more in objects of the target that have one now, with the number of these
    /// objects; of the whole queue.
    pub emptied: BTreeMap<String, u64>,
    /// The objects, ascending by number, as many as were asked for.
    pub objects: Vec<PlannedExport>,
    /// There are more objects behind the last one.
    pub more: bool,
}

/// One object that an export would send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedExport {
    /// The object.
    pub id: CsId,
    /// What would happen to it.
    pub kind: ExportKind,
    /// Its type in the target.
    pub object_type: String,
    /// Its name.
    pub dn: String,
    /// Its new name.
    pub rename: Option<String>,
    /// What would change; the values that go and the values that come.
    pub changes: Vec<AttributeDelta>,
    /// Of these the attributes that have values there now and would have none.
    pub emptied: Vec<String>,
    /// References that are to go and stay for now, since nothing becomes of whom they point to: attribute and name.
    pub held: Vec<(String, String)>,
}

/// Lists the pending exports of a connector, at most `limit` objects behind `after`. References to those in `held`, and to whoever may be an
/// entry that cannot be used, stay.
///
/// # Errors
/// When the store cannot be read.
pub fn plan_export(
    snapshot: &Snapshot,
    names: &Names,
    connector: ConnectorId,
    after: Option<CsId>,
    limit: usize,
    held: &HeldDeletes,
) -> Result<ExportPreview, StoreError> {
    let stay = staying(snapshot, names, connector, held)?;
    let mut summary = ExportSummary::of(snapshot, connector)?;
    let ids = snapshot.queue(Stage::PendingExport, connector, after, limit.saturating_add(1))?;
    let more = ids.len() > limit;
    let mut objects = Vec::with_capacity(ids.len().min(limit));
    for id in ids.into_iter().take(limit) {
        if let Some(object) = snapshot.cs_object(id)? {
            objects.extend(planned(snapshot, names, &stay, &object)?);
        }
    }
    let mut emptied: BTreeMap<String, u64> = BTreeMap::new();
    each(snapshot, connector, &mut |object| {
        if object.stage(Stage::PendingExport).kind == DeltaKind::Update {
            let (rows, kept) = rows_as_sent(snapshot, &stay, object.id)?;
            for attribute in describe::emptied(names, object, &rows) {
                *emptied.entry(attribute).or_default() += 1;
            }
            let sends = object.stage(Stage::PendingExport).rename.is_some()
                || wants_values(object)
                || rows.iter().any(|row| row.state.touched(Stage::PendingExport));
            if !kept.is_empty() && !sends {
                summary.updates = summary.updates.saturating_sub(1);
            }
        }
        Ok(())
    })?;
    Ok(ExportPreview { summary, emptied, objects, more })
}

/// Whom an export leaves where they are, also in references.
fn staying(snapshot: &Snapshot, names: &Names, connector: ConnectorId, held: &HeldDeletes) -> Result<BTreeSet<CsId>, StoreError> {
    Ok(held.objects.iter().copied().chain(possibly_known(snapshot, names, connector)?.into_keys()).collect())
}

/// True for an object of which nothing is to change but references that stay for now.
///
/// # Errors
/// When the store cannot be read.
pub fn loses_only_what_stays(snapshot: &Snapshot, names: &Names, object: CsId) -> Result<bool, StoreError> {
    let held = HeldDeletes::of(snapshot, names, object.connector())?;
    let stay = staying(snapshot, names, object.connector(), &held)?;
    waits_with(snapshot, object, &|id| Ok(stay.contains(&id)))
}

/// The references of an object as an export takes them, and those that would go and stay.
fn rows_as_sent(snapshot: &Snapshot, stay: &BTreeSet<CsId>, owner: CsId) -> Result<(Vec<CsReference>, Vec<CsReference>), StoreError> {
    let (mut rows, mut held) = (snapshot.cs_references(owner)?, Vec::new());
    for row in rows.iter_mut().filter(|row| row.state.removed(Stage::PendingExport) && stay.contains(&row.target)) {
        held.push(*row);
        row.state = row.state.without(Stage::PendingExport);
    }
    Ok((rows, held))
}

fn planned(snapshot: &Snapshot, names: &Names, stay: &BTreeSet<CsId>, object: &CsObject) -> Result<Option<PlannedExport>, StoreError> {
    let pending = object.stage(Stage::PendingExport);
    let kind = match pending.kind {
        DeltaKind::Add => ExportKind::Add,
        DeltaKind::Update => ExportKind::Update,
        DeltaKind::Delete => ExportKind::Delete,
        DeltaKind::None | DeltaKind::DeleteAdd => return Ok(None),
    };
    let mut changes = describe::Changes::default();
    for item in object.values.iter() {
        let state = ValueState(item.flags);
        if state.added(Stage::PendingExport) {
            changes.added(item.attr, || describe::shorten(item.value));
        } else if state.removed(Stage::PendingExport) {
            changes.removed(item.attr, || describe::shorten(item.value));
        }
    }
    let name_of = |target: CsId| -> Result<String, StoreError> {
        let object = snapshot.cs_object(target)?;
        Ok(object.map_or_else(|| target.to_string(), |object| deltas::acknowledged_name(&object).to_owned()))
    };
    let (rows, held) = rows_as_sent(snapshot, stay, object.id)?;
    for row in rows.iter().filter(|row| row.state.touched(Stage::PendingExport)) {
        let target = name_of(row.target)?;
        if row.state.added(Stage::PendingExport) {
            changes.added(row.attr, || target);
        } else {
            changes.removed(row.attr, || target);
        }
    }
    let rename = pending.rename.as_deref();
    let dn = deltas::acknowledged_name(object);
    Ok(Some(PlannedExport {
        id: object.id,
        kind,
        object_type: names.object_type_name(object.object_type).to_string(),
        dn: dn.to_owned(),
        rename: rename.map(str::to_owned),
        changes: changes.finish(names, rename.map(|name| (dn, name))),
        emptied: describe::emptied(names, object, &rows),
        held: held.iter().map(|row| Ok((names.name(row.attr).to_string(), name_of(row.target)?))).collect::<Result<_, StoreError>>()?,
    }))
}
