//! The end of a connector: its space is emptied in the way in which a directory would lose everything.

use super::gone::mark_gone;
use crate::model::{ConnectorId, DeltaKind, Link, Stage};
use crate::store::{ChangeSet, Store, StoreError};

/// Objects per transaction.
const BATCH: usize = 1_000;

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
