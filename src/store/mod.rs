//! What we remember: connector spaces, metaverse, links, history. redb with flat rkyv records behind plain types.
//!
//! Reading is by [`Snapshot`] (many, never block), writing by [`Store::apply`] of one [`ChangeSet`] (one at a time,
//! one transaction, all or nothing). Nothing of redb or rkyv is visible outside.

mod changes;
mod history;

pub use changes::{ChangeSet, DirtyReason};
pub use history::{AttributeDelta, CounterName, RunRecord, RunResult, StepKind, StepObject, StepRecord};

use crate::model::{
    AttrId, Blob, ConnectorId, CsId, CsObject, CsReference, DnKey, ErrorSide, Link, MvId, MvObject, MvReference, Names, ObjectError, RunId,
    Stage, ValueRef,
};
use std::path::Path;
use std::sync::Arc;

/// An open store. One process per file.
#[derive(Debug, Clone)]
pub struct Store {}

/// A consistent view that never changes and never blocks a writer. Keep it short-lived: it pins old pages.
#[derive(Debug)]
pub struct Snapshot {}

/// How to open a store.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Octets of page cache.
    pub cache_octets: usize,
}

/// Why the store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the store open.
    #[error("the store {path} is in use by another process")]
    InUse {
        /// The file.
        path: String,
    },
    /// The file is no store of ours.
    #[error("{path} is not a Syncline store: {reason}")]
    Foreign {
        /// The file.
        path: String,
        /// What was found instead.
        reason: String,
    },
    /// The file was made by a newer version.
    #[error("the store {path} has format {found}, this program knows up to {known}: use a newer version")]
    NewerFormat {
        /// The file.
        path: String,
        /// The format of the file.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// A record contradicts itself.
    #[error("the store is damaged at {place}: {reason}; run `syncline store check`")]
    Damaged {
        /// Table and key.
        place: String,
        /// What does not fit.
        reason: String,
    },
    /// The database or the disk refused.
    #[error("the store could not {action}: {reason}")]
    Database {
        /// What was attempted.
        action: &'static str,
        /// What the database said.
        reason: String,
    },
}

impl Store {
    /// Opens a store, making it if the file does not exist. Migrates an older format after a backup beside it.
    pub fn open(_path: &Path, _options: StoreOptions) -> Result<Store, StoreError> {
        unreachable!()
    }

    /// A store that lives in memory, for tests and previews.
    pub fn in_memory() -> Result<Store, StoreError> {
        unreachable!()
    }

    /// The interned names. New names become durable with the next [`Store::apply`].
    pub fn names(&self) -> &Arc<Names> {
        unreachable!()
    }

    /// A view of the last commit.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        unreachable!()
    }

    /// Writes a set of changes in one durable transaction. Indexes, queues and counters follow by themselves.
    pub fn apply(&self, _changes: ChangeSet) -> Result<(), StoreError> {
        unreachable!()
    }

    /// Says which attributes joins look up: of the metaverse, and of connector spaces for reverse joins. An index
    /// that was not there before is filled now.
    pub fn index_attributes(&self, _metaverse: &[AttrId], _spaces: &[(ConnectorId, AttrId)]) -> Result<(), StoreError> {
        unreachable!()
    }
}

/// Reading. All lists are in ascending order of their keys; `after` and `limit` page through them.
impl Snapshot {
    /// One connector-space object with its link.
    pub fn cs_object(&self, _id: CsId) -> Result<Option<CsObject>, StoreError> {
        unreachable!()
    }
    /// Objects of a connector in the order of their ids, at most `limit`, beginning behind `after`.
    pub fn cs_scan(&self, _connector: ConnectorId, _after: Option<CsId>, _limit: usize) -> Result<Vec<CsObject>, StoreError> {
        unreachable!()
    }
    /// How many objects a connector space holds, placeholders included.
    pub fn cs_count(&self, _connector: ConnectorId) -> Result<u64, StoreError> {
        unreachable!()
    }
    /// The sequence number that the next new object of the connector gets.
    pub fn cs_next_sequence(&self, _connector: ConnectorId) -> Result<u64, StoreError> {
        unreachable!()
    }
    /// How an object stands to the metaverse, without reading the object.
    pub fn cs_link(&self, _id: CsId) -> Result<Option<Link>, StoreError> {
        unreachable!()
    }
    /// The canonical hash of the last imported image, if it may be trusted.
    pub fn cs_hash(&self, _id: CsId) -> Result<Option<u128>, StoreError> {
        unreachable!()
    }
    /// Calls `each` for every stored hash of a connector.
    pub fn cs_hashes(&self, _connector: ConnectorId, _each: &mut dyn FnMut(CsId, u128)) -> Result<(), StoreError> {
        unreachable!()
    }
    /// Calls `each` for every anchor of a connector.
    pub fn cs_anchors(&self, _connector: ConnectorId, _each: &mut dyn FnMut(&[u8], CsId)) -> Result<(), StoreError> {
        unreachable!()
    }
    /// Calls `each` for every name of a connector.
    pub fn cs_names(&self, _connector: ConnectorId, _each: &mut dyn FnMut(&[u8], CsId)) -> Result<(), StoreError> {
        unreachable!()
    }
    /// The object with an anchor.
    pub fn cs_by_anchor(&self, _connector: ConnectorId, _anchor: &[u8]) -> Result<Option<CsId>, StoreError> {
        unreachable!()
    }
    /// The object with a name.
    pub fn cs_by_dn(&self, _connector: ConnectorId, _dn: &DnKey) -> Result<Option<CsId>, StoreError> {
        unreachable!()
    }
    /// An object and everything below it, parents before children.
    pub fn cs_subtree(&self, _connector: ConnectorId, _dn: &DnKey) -> Result<Vec<CsId>, StoreError> {
        unreachable!()
    }
    /// Objects whose indexed attribute may have the value, compared folded; verify against the object.
    pub fn cs_join_candidates(&self, _connector: ConnectorId, _attr: AttrId, _value: ValueRef<'_>) -> Result<Vec<CsId>, StoreError> {
        unreachable!()
    }
    /// All references of an object, in all states.
    pub fn cs_references(&self, _owner: CsId) -> Result<Vec<CsReference>, StoreError> {
        unreachable!()
    }
    /// How many references of one attribute are in the base image, in one read.
    pub fn cs_reference_count(&self, _owner: CsId, _attr: AttrId) -> Result<u64, StoreError> {
        unreachable!()
    }
    /// Who refers to an object, and by which attribute.
    pub fn cs_referrers(&self, _target: CsId) -> Result<Vec<(AttrId, CsId)>, StoreError> {
        unreachable!()
    }
    /// The octets behind a large value.
    pub fn blob(&self, _blob: Blob) -> Result<Option<Vec<u8>>, StoreError> {
        unreachable!()
    }
    /// Objects of a connector with something in a stage.
    pub fn queue(&self, _stage: Stage, _connector: ConnectorId, _after: Option<CsId>, _limit: usize) -> Result<Vec<CsId>, StoreError> {
        unreachable!()
    }
    /// Connector-space objects marked for a new evaluation for another reason than a pending import.
    pub fn dirty(&self, _connector: ConnectorId, _after: Option<CsId>, _limit: usize) -> Result<Vec<(CsId, DirtyReason)>, StoreError> {
        unreachable!()
    }
    /// One metaverse object.
    pub fn mv_object(&self, _id: MvId) -> Result<Option<MvObject>, StoreError> {
        unreachable!()
    }
    /// Metaverse objects in the order of their ids.
    pub fn mv_scan(&self, _after: Option<MvId>, _limit: usize) -> Result<Vec<MvObject>, StoreError> {
        unreachable!()
    }
    /// How many metaverse objects there are.
    pub fn mv_count(&self) -> Result<u64, StoreError> {
        unreachable!()
    }
    /// The number that the next new metaverse object gets.
    pub fn mv_next(&self) -> Result<MvId, StoreError> {
        unreachable!()
    }
    /// The object of a connector that is linked to a metaverse object.
    pub fn mv_link(&self, _mv: MvId, _connector: ConnectorId) -> Result<Option<CsId>, StoreError> {
        unreachable!()
    }
    /// All objects linked to a metaverse object, by connector.
    pub fn mv_links(&self, _mv: MvId) -> Result<Vec<CsId>, StoreError> {
        unreachable!()
    }
    /// All references of a metaverse object.
    pub fn mv_references(&self, _owner: MvId) -> Result<Vec<MvReference>, StoreError> {
        unreachable!()
    }
    /// Who refers to a metaverse object, and by which attribute.
    pub fn mv_referrers(&self, _target: MvId) -> Result<Vec<(AttrId, MvId)>, StoreError> {
        unreachable!()
    }
    /// Metaverse objects whose indexed attribute may have the value, compared folded; verify against the object.
    pub fn mv_join_candidates(&self, _attr: AttrId, _value: ValueRef<'_>) -> Result<Vec<MvId>, StoreError> {
        unreachable!()
    }
    /// The problem of an object on one side.
    pub fn error(&self, _id: CsId, _side: ErrorSide) -> Result<Option<ObjectError>, StoreError> {
        unreachable!()
    }
    /// Problems of a connector's objects.
    pub fn errors(
        &self,
        _connector: ConnectorId,
        _after: Option<(CsId, ErrorSide)>,
        _limit: usize,
    ) -> Result<Vec<(CsId, ErrorSide, ObjectError)>, StoreError> {
        unreachable!()
    }
    /// A watermark or other small state of a connector, by name.
    pub fn state(&self, _connector: ConnectorId, _name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        unreachable!()
    }
    /// The newest runs first.
    pub fn runs(&self, _before: Option<RunId>, _limit: usize) -> Result<Vec<RunRecord>, StoreError> {
        unreachable!()
    }
    /// One run with its steps.
    pub fn run(&self, _id: RunId) -> Result<Option<RunRecord>, StoreError> {
        unreachable!()
    }
    /// The objects behind a counter of a step.
    pub fn step_objects(
        &self,
        _run: RunId,
        _step: u32,
        _counter: CounterName,
        _after: Option<CsId>,
        _limit: usize,
    ) -> Result<Vec<StepObject>, StoreError> {
        unreachable!()
    }
    /// The number that the next run gets.
    pub fn next_run(&self) -> Result<RunId, StoreError> {
        unreachable!()
    }
}
