//! A set of changes: what one transaction writes. Plain data, so that planning is pure and applying is one place.

use super::event::EventRecord;
use super::history::{RunRecord, StepObject};
use super::password::{PasswordRecord, Watch};
use crate::model::{
    AttrId, ConnectorId, CsId, CsObject, CsReference, ErrorSide, MvId, MvObject, MvReference, ObjectError, Retention, RunId,
};

/// Everything one transaction writes. Entries may come in any order; the store sorts them by table and key.
/// Of several entries for one key the last one counts.
#[derive(Debug, Default)]
pub struct ChangeSet {
    /// Objects to write, whole, with their links. Indexes, link rows and queues follow.
    pub cs_put: Vec<CsObject>,
    /// Objects to remove, with their names, anchors, hashes, links, references, errors and queue entries.
    pub cs_delete: Vec<CsId>,
    /// Canonical hashes of imported images; `None` forgets, so that the next import compares bodies.
    pub cs_hash: Vec<(CsId, Option<u128>)>,
    /// Reference rows; a state that [`is_absent`](crate::model::ValueState::is_absent) removes the row.
    pub cs_reference: Vec<CsReference>,
    /// Metaverse objects to write.
    pub mv_put: Vec<MvObject>,
    /// Metaverse objects to remove with their lineage, references in both directions and join rows.
    pub mv_delete: Vec<MvId>,
    /// Metaverse references to write.
    pub mv_reference: Vec<MvReference>,
    /// Metaverse references to remove.
    pub mv_reference_delete: Vec<(MvId, AttrId, MvId)>,
    /// Large contents that values in this set point to. Equal contents may be given more than once.
    pub blobs: Vec<Vec<u8>>,
    /// Marks and unmarks for a new evaluation.
    pub dirty: Vec<(CsId, Option<DirtyReason>)>,
    /// Problems to note (`Some`) or to clear (`None`).
    pub errors: Vec<(CsId, ErrorSide, Option<ObjectError>)>,
    /// Watermarks and other small states of connectors, by name; `None` forgets.
    pub states: Vec<(ConnectorId, String, Option<Vec<u8>>)>,
    /// Run records to write, whole.
    pub runs: Vec<RunRecord>,
    /// Objects behind counters.
    pub step_objects: Vec<(RunId, u32, StepObject)>,
    /// Runs to forget with all their steps and objects.
    pub runs_delete: Vec<RunId>,
    /// Events to append to the journal, in their order; numbers are given when they are written.
    pub events: Vec<EventRecord>,
    /// Events that are older than they are kept go, but for the last one.
    pub events_kept: Option<Retention>,
    /// What is remembered of passwords, by account; `None` forgets. Which accounts are due follows.
    pub passwords: Vec<(CsId, Option<PasswordRecord>)>,
    /// Objects that were looked at, as [`Snapshot::moved`](super::Snapshot::moved) gave them. One that moved again
    /// meanwhile stays noted.
    pub moved_seen: Vec<(CsId, u64)>,
    /// The connectors whose objects are noted when they move; replaces the earlier ones.
    pub watched: Option<Vec<(ConnectorId, Watch)>>,
}

/// Why an object without a pending import is evaluated again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DirtyReason {
    /// The last sync ended with an error.
    SyncError,
    /// Its export object vanished and must be provisioned again.
    RetryProvisioning,
    /// An object it refers to became resolvable.
    ReferenceResolved,
    /// Its metaverse object changed in a batch that did not hold it.
    Consequence,
}

impl ChangeSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// True when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.cs_put.is_empty()
            && self.cs_delete.is_empty()
            && self.cs_hash.is_empty()
            && self.cs_reference.is_empty()
            && self.mv_put.is_empty()
            && self.mv_delete.is_empty()
            && self.mv_reference.is_empty()
            && self.mv_reference_delete.is_empty()
            && self.dirty.is_empty()
            && self.errors.is_empty()
            && self.states.is_empty()
            && self.runs.is_empty()
            && self.step_objects.is_empty()
            && self.runs_delete.is_empty()
            && self.events.is_empty()
            && self.events_kept.is_none()
            && self.passwords.is_empty()
            && self.moved_seen.is_empty()
            && self.watched.is_none()
    }
}
