//! The end of a connector: its space is emptied in the way in which a directory would lose everything. And its return.

use super::gone::mark_gone;
use super::image::refresh_kind;
use crate::model::{ConnectorId, DeltaKind, Link, Stage};
use crate::store::{ChangeSet, Store, StoreError};

/// Objects per transaction.
const BATCH: usize = 1_000;

/// Takes back that objects of a space are staged as gone: no directory said so, and the full import that follows finds out who
/// is. Can be repeated after an interruption.
///
/// # Errors
/// When the store refuses.
pub fn take_back(store: &Store, connector: ConnectorId) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let snapshot = store.snapshot()?;
        let ids = snapshot.queue(Stage::PendingImport, connector, after, BATCH)?;
        let Some(last) = ids.last() else { return Ok(()) };
        after = Some(*last);
        let mut changes = ChangeSet::new();
        for id in ids {
            let Some(mut object) = snapshot.cs_object(id)? else { continue };
            if object.stage(Stage::PendingImport).kind == DeltaKind::Delete {
                object.stage_mut(Stage::PendingImport).kind = match (object.in_base, object.previous_type) {
                    // Whoever was new is new again, and its values are read anew.
                    (false, _) => DeltaKind::Add,
                    (true, Some(_)) => DeltaKind::DeleteAdd,
                    (true, None) => DeltaKind::None,
                };
                if object.stage(Stage::PendingImport).kind == DeltaKind::None {
                    refresh_kind(&mut object, &snapshot.cs_references(id)?, Stage::PendingImport);
                }
                changes.cs_hash.push((object.id, None));
                changes.cs_put.push(object);
            }
        }
        if !changes.is_empty() {
            store.apply(changes)?;
        }
    }
}

/// Stages every object of a space as gone; what is staged already stays so. Can be repeated after an interruption.
///
/// # Errors
/// When the store refuses.
pub fn retire(store: &Store, connector: ConnectorId) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let objects = store.snapshot()?.cs_scan(connector, after, BATCH)?;
        let Some(last) = objects.last() else { return Ok(()) };
        after = Some(last.id);
        let mut changes = ChangeSet::new();
        for mut object in objects {
            // Placeholders go with the last object that refers to them.
            if object.link != Link::Placeholder && object.stage(Stage::PendingImport).kind != DeltaKind::Delete {
                mark_gone(&mut object);
                changes.cs_hash.push((object.id, None));
                changes.cs_put.push(object);
            }
        }
        if !changes.is_empty() {
            store.apply(changes)?;
        }
    }
}
