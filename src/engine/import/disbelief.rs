//! An import that is not believed, since a guard stopped it or it came to no end where only the whole of it counts: what is
//! staged is taken back, and nothing of the connector is synchronized until one that reads everything is believed.
//! (Specification: sync engine, section 5.5.)

use super::{EngineError, Import, StepRecorder};
use crate::engine::base::{drop_import, drop_reference_import};
use crate::model::{ConnectorId, CsId, CsObject, Link, Stage, counted};
use crate::store::{ChangeSet, Snapshot, Store, StoreError};
use std::fmt;

/// Under this name a connector keeps that what is staged is not believed, until an import that reads everything is, and why.
pub const DISBELIEVED: &str = "import-disbelieved";
/// Objects per transaction.
const BATCH: usize = 1_000;

/// Why what is staged of a connector is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A guard stopped an import.
    Stopped,
    /// An import of something else than the last complete one read has begun, and not come to its end.
    OtherSelection,
    /// An import found objects gone, and has not come to its end.
    Departures,
    /// An import found attributes gone from many objects, and has not come to its end.
    Losses,
    /// An import found references that lead to nobody yet, and has not come to its end.
    References,
}

impl Verdict {
    /// As it is kept. What cannot be read weighs as much as a guard.
    fn read(kept: &[u8]) -> Self {
        match kept {
            [2] => Self::OtherSelection,
            [3] => Self::Departures,
            [4] => Self::Losses,
            [5] => Self::References,
            _ => Self::Stopped,
        }
    }

    fn octet(self) -> u8 {
        match self {
            Self::Stopped => 1,
            Self::OtherSelection => 2,
            Self::Departures => 3,
            Self::Losses => 4,
            Self::References => 5,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "a guard stopped an import of it",
            Self::OtherSelection => "what is read of it changed, and the import that reads everything has not come to its end",
            Self::Departures => "an import found objects of it gone, and has not come to its end",
            Self::References => "an import found references of it that lead to nobody yet, and has not come to its end",
            Self::Losses => "an import found values gone from many objects of it, and has not come to its end",
        })
    }
}

impl Import<'_> {
    /// Takes back what is staged.
    pub(super) fn disbelieve(&self, verdict: Verdict, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        self.commit(ChangeSet::new(), recorder)?;
        disbelieve(self.store, self.options.connector, verdict, self.options.takes_exports, recorder)
    }

    /// Before anything is staged that counts as a whole or not at all.
    pub(super) fn note_verdict(&mut self) -> Result<(), StoreError> {
        match self.unwritten.take() {
            Some(verdict) => write(self.store, noting(self.options.connector, verdict)),
            None => Ok(()),
        }
    }
}

/// What notes that what is staged of a connector is not believed.
pub(super) fn noting(connector: ConnectorId, verdict: Verdict) -> ChangeSet {
    let mut changes = ChangeSet::new();
    changes.states.push((connector, DISBELIEVED.to_owned(), Some(vec![verdict.octet()])));
    changes
}

/// Notes that what is staged of a connector is not believed, and takes it back. Where the connector `takes_exports`, whatever is
/// linked stays staged: it may confirm an export, which is true whatever else is not.
pub(in crate::engine) fn disbelieve(
    store: &Store,
    connector: ConnectorId,
    verdict: Verdict,
    takes_exports: bool,
    recorder: &mut StepRecorder<'_>,
) -> Result<(), EngineError> {
    write(store, noting(connector, verdict))?;
    let (forgotten, restored) = take_back_staged(store, connector, takes_exports)?;
    if forgotten + restored > 0 {
        recorder.note(format!(
            "what was staged was taken back: {} that no synchronization has seen, and what waited for {}",
            counted(forgotten, "object", "objects"),
            counted(restored, "other", "others")
        ));
    }
    Ok(())
}

/// Why what is staged of a connector is not believed; `None` where it is.
///
/// # Errors
/// When the store cannot be read.
pub fn verdict(snapshot: &Snapshot, connector: ConnectorId) -> Result<Option<Verdict>, StoreError> {
    Ok(snapshot.state(connector, DISBELIEVED)?.map(|kept| Verdict::read(&kept)))
}

/// Finishes what an interruption left of a taking back, and takes back what an import has told since that was not believed either.
pub(in crate::engine) fn finish_taking_back(store: &Store, connector: ConnectorId, takes_exports: bool) -> Result<(), StoreError> {
    if verdict(&store.snapshot()?, connector)?.is_some() {
        take_back_staged(store, connector, takes_exports)?;
    }
    Ok(())
}

/// Makes a space what the last synchronization saw; gives how many objects were forgotten and restored. Also what waited from
/// imports that were believed goes: everything is read anew, and of a name that changed hands both sides have to go back.
fn take_back_staged(store: &Store, connector: ConnectorId, takes_exports: bool) -> Result<(u64, u64), StoreError> {
    let restored = restore_all(store, connector, takes_exports)?;
    let of_ours = |object: &CsObject| {
        [Stage::Unconfirmed, Stage::InProgress, Stage::PendingExport].iter().any(|stage| object.stage(*stage).is_some())
    };
    let unseen = |object: &CsObject| object.link != Link::Placeholder && !object.in_base && object.link.mv().is_none() && !of_ours(object);
    let forgotten = forget(store, connector, |_, object| Ok(unseen(object)))?;
    // Behind that: a name to which nobody refers any more goes with whoever brought it.
    forget(store, connector, |snapshot, object| Ok(object.link == Link::Placeholder && snapshot.cs_referrers(object.id)?.is_empty()))?;
    Ok((forgotten, restored))
}

/// Forgets some objects of a space.
fn forget(
    store: &Store,
    connector: ConnectorId,
    goes: impl Fn(&Snapshot, &CsObject) -> Result<bool, StoreError>,
) -> Result<u64, StoreError> {
    let (mut forgotten, mut after) = (0, None);
    loop {
        let snapshot = store.snapshot()?;
        let objects = snapshot.cs_scan(connector, after, BATCH)?;
        let Some(last) = objects.last() else { return Ok(forgotten) };
        after = Some(last.id);
        let mut changes = ChangeSet::new();
        for object in &objects {
            if goes(&snapshot, object)? {
                changes.cs_delete.push(object.id);
            }
        }
        drop(snapshot);
        forgotten += changes.cs_delete.len() as u64;
        write(store, changes)?;
    }
}

/// Makes the objects of a space what the last synchronization saw, but for those that may confirm an export.
fn restore_all(store: &Store, connector: ConnectorId, takes_exports: bool) -> Result<u64, StoreError> {
    let (mut restored, mut after) = (0, None);
    loop {
        let snapshot = store.snapshot()?;
        let ids = snapshot.queue(Stage::PendingImport, connector, after, BATCH)?;
        let Some(last) = ids.last() else { return Ok(restored) };
        after = Some(*last);
        let mut changes = ChangeSet::new();
        for id in ids {
            let Some(object) = snapshot.cs_object(id)? else { continue };
            let stays = takes_exports && object.link.mv().is_some();
            if object.in_base && object.link != Link::Placeholder && !stays {
                restored += 1;
                restore(&snapshot, object, &mut changes)?;
            } else if stays {
                // What stays staged is judged anew by the next import.
                changes.cs_hash.push((id, None));
            }
        }
        drop(snapshot);
        write(store, changes)?;
    }
}

fn write(store: &Store, changes: ChangeSet) -> Result<(), StoreError> {
    if changes.is_empty() { Ok(()) } else { store.apply(changes) }
}

/// Makes an object what the last synchronization saw.
fn restore(snapshot: &Snapshot, mut object: CsObject, changes: &mut ChangeSet) -> Result<(), StoreError> {
    let id: CsId = object.id;
    drop_import(&mut object);
    changes.cs_reference.extend(snapshot.cs_touched_references(id)?.into_iter().filter_map(drop_reference_import));
    changes.cs_hash.push((id, None));
    changes.cs_put.push(object);
    Ok(())
}
