//! An import that the guard did not believe: what it staged is taken back, so that nothing of it counts, and the next one reads
//! everything. (Specification: sync engine, section 5.5.)

use super::{EngineError, Import, ImportOptions, StepRecorder};
use crate::engine::base::{drop_import, drop_reference_import};
use crate::model::{ConnectorId, CsId, Link, Stage};
use crate::store::{ChangeSet, Snapshot, Store, StoreError};

/// The name under which a connector keeps that its last import was not believed, until one is: the first number that the
/// import gave to a new object, 64 bits, little endian.
pub const DISBELIEVED: &str = "import-disbelieved";
/// Objects per transaction.
const BATCH: usize = 1_000;

impl Import<'_> {
    /// Takes back what this import staged.
    pub(super) fn disbelieve(&self, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let mut changes = ChangeSet::new();
        let first = self.first_number.to_le_bytes().to_vec();
        changes.states.push((self.options.connector, DISBELIEVED.to_owned(), Some(first)));
        self.commit(changes, recorder)?;
        let (forgotten, restored) = take_back(self.store, self.options, self.first_number)?;
        if forgotten + restored > 0 {
            recorder.note(format!(
                "what the import had staged was taken back: {forgotten} objects that nobody knew before, and what waited for {restored} others"
            ));
        }
        Ok(())
    }
}

/// Finishes what an interruption left of an import that was not believed.
pub(super) fn finish(store: &Store, options: &ImportOptions) -> Result<(), EngineError> {
    let first = first_disbelieved(&store.snapshot()?, options.connector)?;
    first.map_or(Ok(()), |first| take_back(store, options, first).map(drop))
}

/// Restores the objects that were known, and forgets those from a number on; gives how many were forgotten and restored.
fn take_back(store: &Store, options: &ImportOptions, first: u64) -> Result<(u64, u64), EngineError> {
    // What a target shows of objects that were exported is true whatever is missing, and what confirms an export must stay.
    let restored = if options.managed.is_empty() { restore_all(store, options.connector)? } else { 0 };
    // Behind that: a name to which nobody refers any more goes with whoever brought it.
    Ok((forget(store, options.connector, first)?, restored))
}

/// Forgets the objects from a number on that no synchronization has seen.
fn forget(store: &Store, connector: ConnectorId, first: u64) -> Result<u64, EngineError> {
    let mut forgotten = 0;
    let mut after = first.checked_sub(1).map(|before| CsId::new(connector, before));
    loop {
        let objects = store.snapshot()?.cs_scan(connector, after, BATCH)?;
        let Some(last) = objects.last() else { return Ok(forgotten) };
        after = Some(last.id);
        let mut changes = ChangeSet::new();
        changes.cs_delete.extend(objects.iter().filter(|object| !object.in_base && object.link.mv().is_none()).map(|object| object.id));
        forgotten += changes.cs_delete.len() as u64;
        write(store, changes)?;
    }
}

/// Makes every object of a source what the last synchronization saw.
fn restore_all(store: &Store, connector: ConnectorId) -> Result<u64, EngineError> {
    let (mut restored, mut after) = (0, None);
    loop {
        let snapshot = store.snapshot()?;
        let ids = snapshot.queue(Stage::PendingImport, connector, after, BATCH)?;
        let Some(last) = ids.last() else { return Ok(restored) };
        after = Some(*last);
        let mut changes = ChangeSet::new();
        for id in ids {
            restored += u64::from(restore(&snapshot, id, &mut changes)?);
        }
        drop(snapshot);
        write(store, changes)?;
    }
}

fn write(store: &Store, changes: ChangeSet) -> Result<(), EngineError> {
    if !changes.is_empty() {
        store.apply(changes)?;
    }
    Ok(())
}

/// The first number that an import gave which was not believed, while none since was.
fn first_disbelieved(snapshot: &Snapshot, connector: ConnectorId) -> Result<Option<u64>, StoreError> {
    let kept = snapshot.state(connector, DISBELIEVED)?;
    // What cannot be read counts as if everything had been new.
    Ok(kept.map(|octets| octets.try_into().map_or(0, u64::from_le_bytes)))
}

/// Makes an object what the last synchronization saw.
fn restore(snapshot: &Snapshot, id: CsId, changes: &mut ChangeSet) -> Result<bool, StoreError> {
    let Some(mut object) = snapshot.cs_object(id)?.filter(|object| object.in_base && object.link != Link::Placeholder) else {
        return Ok(false);
    };
    if !drop_import(&mut object) {
        return Ok(false);
    }
    changes.cs_reference.extend(snapshot.cs_touched_references(id)?.into_iter().filter_map(drop_reference_import));
    changes.cs_hash.push((id, None));
    changes.cs_put.push(object);
    Ok(true)
}
