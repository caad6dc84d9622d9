//! Reading: a consistent view of the last commit.

use super::database::{Database, database};
use super::record;
use super::tables as t;
use super::{CounterName, DirtyReason, RunRecord, StepObject, StoreError};
use crate::model::{
    AttrId, Blob, ConnectorId, CsId, CsObject, CsReference, DnKey, ErrorSide, Link, MvId, MvObject, MvReference, ObjectError, RunId, Stage,
    ValueRef, ValueState,
};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTableMetadata};
use std::ops::Bound;
use std::sync::Arc;

/// A consistent view that never changes and never blocks a writer. Keep it short-lived: it pins old pages.
///
/// All lists are in ascending order of their keys; `after` and `limit` page through them.
pub struct Snapshot {
    database: Arc<Database>,
    read: ReadTransaction,
    // The tables that every step reads, opened once.
    cs_object: ReadOnlyTable<u64, &'static [u8]>,
    cs_link: ReadOnlyTable<u64, (u8, u64, u32)>,
    cs_reference: ReadOnlyTable<(u64, u16, u64), u8>,
    mv_object: ReadOnlyTable<u64, &'static [u8]>,
    mv_lineage: ReadOnlyTable<u64, &'static [u8]>,
    mv_link: ReadOnlyTable<(u64, u16), u64>,
}

macro_rules! open {
    ($read:expr, $table:expr) => {
        $read.open_table($table).map_err(|error| database("open a table", &error))?
    };
}

macro_rules! reading {
    ($result:expr) => {
        $result.map_err(|error| database("read", &error))?
    };
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(super) fn new(database: &Arc<Database>) -> Result<Self, StoreError> {
        let read = database.begin_read()?;
        Ok(Self {
            cs_object: open!(read, t::CS_OBJECT),
            cs_link: open!(read, t::CS_LINK),
            cs_reference: open!(read, t::CS_REFERENCE),
            mv_object: open!(read, t::MV_OBJECT),
            mv_lineage: open!(read, t::MV_LINEAGE),
            mv_link: open!(read, t::MV_LINK),
            database: Arc::clone(database),
            read,
        })
    }

    /// One connector-space object with its link.
    pub fn cs_object(&self, id: CsId) -> Result<Option<CsObject>, StoreError> {
        self.database.count_reads(1);
        let Some(row) = reading!(self.cs_object.get(id.0)) else { return Ok(None) };
        let link = self.cs_link(id)?.unwrap_or_default();
        record::cs_decode(id, row.value(), link).map(Some)
    }

    /// Objects of a connector in the order of their ids, at most `limit`, beginning behind `after`.
    pub fn cs_scan(&self, connector: ConnectorId, after: Option<CsId>, limit: usize) -> Result<Vec<CsObject>, StoreError> {
        let all = CsId::range(connector);
        let from = after.map_or(Bound::Included(all.start().0), |id| Bound::Excluded(id.0));
        let mut links = reading!(self.cs_link.range::<u64>((from, Bound::Included(all.end().0))));
        let mut objects = Vec::new();
        for row in reading!(self.cs_object.range::<u64>((from, Bound::Included(all.end().0)))).take(limit) {
            let (key, value) = reading!(row);
            let id = CsId(key.value());
            let link = match links.next() {
                Some(link) => {
                    let (link_key, row) = reading!(link);
                    if link_key.value() == id.0 { record::link_decode(id, row.value())? } else { self.cs_link(id)?.unwrap_or_default() }
                }
                None => Link::Disconnected,
            };
            objects.push(record::cs_decode(id, value.value(), link)?);
        }
        self.database.count_reads(objects.len() as u64);
        Ok(objects)
    }

    /// How many objects a connector space holds, placeholders included. Counts links, so that no record is read.
    pub fn cs_count(&self, connector: ConnectorId) -> Result<u64, StoreError> {
        let all = CsId::range(connector);
        let rows = reading!(self.cs_link.range(all.start().0..=all.end().0));
        Ok(rows.count() as u64)
    }

    /// The sequence number that the next new object of the connector gets.
    pub fn cs_next_sequence(&self, connector: ConnectorId) -> Result<u64, StoreError> {
        self.meta(&next_cs_name(connector)).map(|next| next.unwrap_or(1))
    }

    /// How an object stands to the metaverse, without reading the object.
    pub fn cs_link(&self, id: CsId) -> Result<Option<Link>, StoreError> {
        let row = reading!(self.cs_link.get(id.0));
        row.map(|row| record::link_decode(id, row.value())).transpose()
    }

    /// The canonical hash of the last imported image, if it may be trusted.
    pub fn cs_hash(&self, id: CsId) -> Result<Option<u128>, StoreError> {
        let table = open!(self.read, t::CS_HASH);
        Ok(reading!(table.get(id.0)).map(|row| row.value()))
    }

    /// Calls `each` for every stored hash of a connector.
    pub fn cs_hashes(&self, connector: ConnectorId, each: &mut dyn FnMut(CsId, u128)) -> Result<(), StoreError> {
        let table = open!(self.read, t::CS_HASH);
        let all = CsId::range(connector);
        for row in reading!(table.range(all.start().0..=all.end().0)) {
            let (key, value) = reading!(row);
            each(CsId(key.value()), value.value());
        }
        Ok(())
    }

    /// Calls `each` for every anchor of a connector.
    pub fn cs_anchors(&self, connector: ConnectorId, each: &mut dyn FnMut(&[u8], CsId)) -> Result<(), StoreError> {
        let table = open!(self.read, t::CS_ANCHOR);
        each_name(&table, connector, each)
    }

    /// Calls `each` for every name key of a connector.
    pub fn cs_names(&self, connector: ConnectorId, each: &mut dyn FnMut(&[u8], CsId)) -> Result<(), StoreError> {
        let table = open!(self.read, t::CS_DN);
        each_name(&table, connector, each)
    }

    /// The object with an anchor.
    pub fn cs_by_anchor(&self, connector: ConnectorId, anchor: &[u8]) -> Result<Option<CsId>, StoreError> {
        let table = open!(self.read, t::CS_ANCHOR);
        Ok(reading!(table.get((connector.0, anchor))).map(|row| CsId(row.value())))
    }

    /// The object with a name.
    pub fn cs_by_dn(&self, connector: ConnectorId, dn: &DnKey) -> Result<Option<CsId>, StoreError> {
        let table = open!(self.read, t::CS_DN);
        Ok(reading!(table.get((connector.0, dn.as_bytes()))).map(|row| CsId(row.value())))
    }

    /// An object and everything below it, parents before children.
    pub fn cs_subtree(&self, connector: ConnectorId, dn: &DnKey) -> Result<Vec<CsId>, StoreError> {
        let table = open!(self.read, t::CS_DN);
        let mut found = Vec::new();
        for row in reading!(table.range((connector.0, dn.as_bytes())..)) {
            let (key, id) = reading!(row);
            let (owner, name) = key.value();
            if owner != connector.0 || !name.starts_with(dn.as_bytes()) {
                break;
            }
            found.push(CsId(id.value()));
        }
        Ok(found)
    }

    /// Objects whose indexed attribute may have the value, compared folded; verify against the object.
    pub fn cs_join_candidates(&self, connector: ConnectorId, attr: AttrId, value: ValueRef<'_>) -> Result<Vec<CsId>, StoreError> {
        let table = open!(self.read, t::CS_JOIN);
        let hash = join_hash(value);
        let rows = reading!(table.range((connector.0, attr.0, hash, 0)..=(connector.0, attr.0, hash, u64::MAX)));
        rows.map(|row| row.map(|(key, _)| CsId(key.value().3)).map_err(|error| database("read", &error))).collect_rows()
    }

    /// All references of an object, in all states.
    pub fn cs_references(&self, owner: CsId) -> Result<Vec<CsReference>, StoreError> {
        let mut found = Vec::new();
        for row in reading!(self.cs_reference.range((owner.0, 0, 0)..=(owner.0, u16::MAX, u64::MAX))) {
            let (key, state) = reading!(row);
            let (_, attr, target) = key.value();
            found.push(CsReference { owner, attr: AttrId(attr), target: CsId(target), state: ValueState(state.value()) });
        }
        self.database.count_reads(found.len() as u64);
        Ok(found)
    }

    /// The state of one reference; absent when there is no row.
    pub fn cs_reference(&self, owner: CsId, attr: AttrId, target: CsId) -> Result<ValueState, StoreError> {
        let row = reading!(self.cs_reference.get((owner.0, attr.0, target.0)));
        Ok(row.map_or(ValueState::ABSENT, |state| ValueState(state.value())))
    }

    /// How many references of one attribute are in the wanted image, in one read.
    pub fn cs_reference_count(&self, owner: CsId, attr: AttrId) -> Result<u64, StoreError> {
        let table = open!(self.read, t::CS_REFERENCE_COUNT);
        Ok(reading!(table.get((owner.0, attr.0))).map_or(0, |row| row.value()))
    }

    /// Who refers to an object, and by which attribute.
    pub fn cs_referrers(&self, target: CsId) -> Result<Vec<(AttrId, CsId)>, StoreError> {
        let table = open!(self.read, t::CS_REFERRER);
        let rows = reading!(table.range((target.0, 0, 0)..=(target.0, u16::MAX, u64::MAX)));
        rows.map(|row| {
            let (key, ()) = row.map_err(|error| database("read", &error)).map(|(key, value)| (key.value(), value.value()))?;
            Ok((AttrId(key.1), CsId(key.2)))
        })
        .collect_rows()
    }

    /// The octets behind a large value.
    pub fn blob(&self, blob: Blob) -> Result<Option<Vec<u8>>, StoreError> {
        let table = open!(self.read, t::BLOB);
        Ok(reading!(table.get(blob.hash)).map(|row| row.value().1.to_vec()))
    }

    /// Objects of a connector with something in a stage.
    pub fn queue(&self, stage: Stage, connector: ConnectorId, after: Option<CsId>, limit: usize) -> Result<Vec<CsId>, StoreError> {
        let table = open!(self.read, t::QUEUE);
        let all = CsId::range(connector);
        let code = stage_code(stage);
        let from = after.map_or(Bound::Included((code, all.start().0)), |id| Bound::Excluded((code, id.0)));
        let rows = reading!(table.range::<(u8, u64)>((from, Bound::Included((code, all.end().0)))));
        rows.take(limit).map(|row| row.map(|(key, _)| CsId(key.value().1)).map_err(|error| database("read", &error))).collect_rows()
    }

    /// Connector-space objects marked for a new evaluation for another reason than a pending import.
    pub fn dirty(&self, connector: ConnectorId, after: Option<CsId>, limit: usize) -> Result<Vec<(CsId, DirtyReason)>, StoreError> {
        let table = open!(self.read, t::DIRTY);
        let all = CsId::range(connector);
        let from = after.map_or(Bound::Included(all.start().0), |id| Bound::Excluded(id.0));
        let mut found = Vec::new();
        for row in reading!(table.range::<u64>((from, Bound::Included(all.end().0)))).take(limit) {
            let (key, reason) = reading!(row);
            let reason = match reason.value() {
                0 => DirtyReason::SyncError,
                1 => DirtyReason::RetryProvisioning,
                2 => DirtyReason::ReferenceResolved,
                3 => DirtyReason::Consequence,
                other => return Err(record::damaged_at(&format!("dirty {}", key.value()), &format!("unknown reason {other}"))),
            };
            found.push((CsId(key.value()), reason));
        }
        Ok(found)
    }

    /// One metaverse object.
    pub fn mv_object(&self, id: MvId) -> Result<Option<MvObject>, StoreError> {
        self.database.count_reads(1);
        let Some(row) = reading!(self.mv_object.get(id.0)) else { return Ok(None) };
        let Some(lineage) = reading!(self.mv_lineage.get(id.0)) else {
            return Err(record::damaged_at(&format!("lineage {id}"), "the row is missing"));
        };
        record::mv_decode(id, row.value(), lineage.value()).map(Some)
    }

    /// Metaverse objects in the order of their ids.
    pub fn mv_scan(&self, after: Option<MvId>, limit: usize) -> Result<Vec<MvObject>, StoreError> {
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.0));
        let mut found = Vec::new();
        let mut lineages = reading!(self.mv_lineage.range::<u64>((from, Bound::Unbounded)));
        for row in reading!(self.mv_object.range::<u64>((from, Bound::Unbounded))).take(limit) {
            let (key, value) = reading!(row);
            let id = MvId(key.value());
            let Some(lineage) = lineages.next() else { return Err(record::damaged_at(&format!("lineage {id}"), "the row is missing")) };
            let (lineage_key, lineage) = reading!(lineage);
            if lineage_key.value() != id.0 {
                return Err(record::damaged_at(&format!("lineage {id}"), "the row is missing"));
            }
            found.push(record::mv_decode(id, value.value(), lineage.value())?);
        }
        self.database.count_reads(found.len() as u64);
        Ok(found)
    }

    /// How many metaverse objects there are.
    pub fn mv_count(&self) -> Result<u64, StoreError> {
        Ok(reading!(self.mv_object.len()))
    }

    /// The number that the next new metaverse object gets.
    pub fn mv_next(&self) -> Result<MvId, StoreError> {
        self.meta("next-mv").map(|next| MvId(next.unwrap_or(1)))
    }

    /// The object of a connector that is linked to a metaverse object.
    pub fn mv_link(&self, mv: MvId, connector: ConnectorId) -> Result<Option<CsId>, StoreError> {
        Ok(reading!(self.mv_link.get((mv.0, connector.0))).map(|row| CsId(row.value())))
    }

    /// All objects linked to a metaverse object, by connector.
    pub fn mv_links(&self, mv: MvId) -> Result<Vec<CsId>, StoreError> {
        let rows = reading!(self.mv_link.range((mv.0, 0)..=(mv.0, u16::MAX)));
        rows.map(|row| row.map(|(_, id)| CsId(id.value())).map_err(|error| database("read", &error))).collect_rows()
    }

    /// All references of a metaverse object.
    pub fn mv_references(&self, owner: MvId) -> Result<Vec<MvReference>, StoreError> {
        let table = open!(self.read, t::MV_REFERENCE);
        let mut found = Vec::new();
        for row in reading!(table.range((owner.0, 0, 0)..=(owner.0, u16::MAX, u64::MAX))) {
            let (key, contributor) = reading!(row);
            let (_, attr, target) = key.value();
            found.push(MvReference { owner, attr: AttrId(attr), target: MvId(target), contributor: contributor.value() });
        }
        self.database.count_reads(found.len() as u64);
        Ok(found)
    }

    /// Who refers to a metaverse object, and by which attribute.
    pub fn mv_referrers(&self, target: MvId) -> Result<Vec<(AttrId, MvId)>, StoreError> {
        let table = open!(self.read, t::MV_REFERRER);
        let rows = reading!(table.range((target.0, 0, 0)..=(target.0, u16::MAX, u64::MAX)));
        rows.map(|row| {
            let (key, ()) = row.map_err(|error| database("read", &error)).map(|(key, value)| (key.value(), value.value()))?;
            Ok((AttrId(key.1), MvId(key.2)))
        })
        .collect_rows()
    }

    /// Metaverse objects whose indexed attribute may have the value, compared folded; verify against the object.
    pub fn mv_join_candidates(&self, attr: AttrId, value: ValueRef<'_>) -> Result<Vec<MvId>, StoreError> {
        let table = open!(self.read, t::MV_JOIN);
        let hash = join_hash(value);
        let rows = reading!(table.range((attr.0, hash, 0)..=(attr.0, hash, u64::MAX)));
        rows.map(|row| row.map(|(key, _)| MvId(key.value().2)).map_err(|error| database("read", &error))).collect_rows()
    }

    /// The problem of an object on one side.
    pub fn error(&self, id: CsId, side: ErrorSide) -> Result<Option<ObjectError>, StoreError> {
        let table = open!(self.read, t::ERROR);
        let row = reading!(table.get((id.0, side_code(side))));
        row.map(|row| record::error_decode(id, row.value())).transpose()
    }

    /// Problems of a connector's objects.
    pub fn errors(
        &self,
        connector: ConnectorId,
        after: Option<(CsId, ErrorSide)>,
        limit: usize,
    ) -> Result<Vec<(CsId, ErrorSide, ObjectError)>, StoreError> {
        let table = open!(self.read, t::ERROR);
        let all = CsId::range(connector);
        let from = after.map_or(Bound::Included((all.start().0, 0)), |(id, side)| Bound::Excluded((id.0, side_code(side))));
        let mut found = Vec::new();
        for row in reading!(table.range::<(u64, u8)>((from, Bound::Included((all.end().0, u8::MAX))))).take(limit) {
            let (key, value) = reading!(row);
            let (id, side) = key.value();
            let side = match side {
                0 => ErrorSide::Import,
                1 => ErrorSide::Sync,
                2 => ErrorSide::Export,
                other => return Err(record::damaged_at(&format!("object_error {id}"), &format!("unknown side {other}"))),
            };
            found.push((CsId(id), side, record::error_decode(CsId(id), value.value())?));
        }
        Ok(found)
    }

    /// A watermark or other small state of a connector, by name.
    pub fn state(&self, connector: ConnectorId, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let table = open!(self.read, t::STATE);
        Ok(reading!(table.get((connector.0, name))).map(|row| row.value().to_vec()))
    }

    /// Runs below `before`, the newest first.
    pub fn runs(&self, before: Option<RunId>, limit: usize) -> Result<Vec<RunRecord>, StoreError> {
        let table = open!(self.read, t::RUN);
        let rows = reading!(table.range(..before.map_or(u64::MAX, |id| id.0)));
        let mut found = Vec::new();
        for row in rows.rev().take(limit) {
            let (key, value) = reading!(row);
            found.push(record::run_decode(RunId(key.value()), value.value())?);
        }
        Ok(found)
    }

    /// One run with its steps.
    pub fn run(&self, id: RunId) -> Result<Option<RunRecord>, StoreError> {
        let table = open!(self.read, t::RUN);
        let row = reading!(table.get(id.0));
        row.map(|row| record::run_decode(id, row.value())).transpose()
    }

    /// The objects behind a counter of a step.
    pub fn step_objects(
        &self,
        run: RunId,
        step: u32,
        counter: CounterName,
        after: Option<CsId>,
        limit: usize,
    ) -> Result<Vec<StepObject>, StoreError> {
        let table = open!(self.read, t::STEP_OBJECT);
        let name: &str = &counter.0;
        let from = after.map_or(Bound::Included((run.0, step, name, 0)), |id| Bound::Excluded((run.0, step, name, id.0)));
        let rows = reading!(table.range::<(u64, u32, &str, u64)>((from, Bound::Included((run.0, step, name, u64::MAX)))));
        let mut found = Vec::new();
        for row in rows.take(limit) {
            let (key, value) = reading!(row);
            found.push(record::step_object_decode(counter.clone(), CsId(key.value().3), value.value())?);
        }
        Ok(found)
    }

    /// The number that the next run gets.
    pub fn next_run(&self) -> Result<RunId, StoreError> {
        self.meta("next-run").map(|next| RunId(next.unwrap_or(1)))
    }

    fn meta(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let table = open!(self.read, t::META);
        Ok(reading!(table.get(name)).map(|row| row.value()))
    }
}

/// Collects rows or the first error; a name of its own so that call sites need no turbofish.
trait CollectRows<T> {
    fn collect_rows(self) -> Result<Vec<T>, StoreError>;
}

impl<T, I: Iterator<Item = Result<T, StoreError>>> CollectRows<T> for I {
    fn collect_rows(self) -> Result<Vec<T>, StoreError> {
        self.collect()
    }
}

fn each_name(
    table: &ReadOnlyTable<(u16, &'static [u8]), u64>,
    connector: ConnectorId,
    each: &mut dyn FnMut(&[u8], CsId),
) -> Result<(), StoreError> {
    for row in reading!(table.range((connector.0, &[][..])..)) {
        let (key, id) = reading!(row);
        let (owner, name) = key.value();
        if owner != connector.0 {
            break;
        }
        each(name, CsId(id.value()));
    }
    Ok(())
}

/// The hash under which a join value is indexed: case is folded, so that exact and folded joins share one index.
pub(super) fn join_hash(value: ValueRef<'_>) -> u64 {
    use xxhash_rust::xxh3::xxh3_64;
    match value {
        ValueRef::Text(text) => xxh3_64(crate::model::fold(text).as_bytes()),
        ValueRef::Binary(octets) => xxh3_64(octets),
        ValueRef::Number(number) => xxh3_64(&number.to_le_bytes()),
        ValueRef::Boolean(boolean) => xxh3_64(&[u8::from(boolean)]),
        ValueRef::LargeText(blob) | ValueRef::LargeBinary(blob) => xxh3_64(&blob.hash.to_le_bytes()),
        ValueRef::Reference(id) => xxh3_64(&id.to_le_bytes()),
    }
}

pub(super) fn stage_code(stage: Stage) -> u8 {
    match stage {
        Stage::PendingImport => 0,
        Stage::Unconfirmed => 1,
        Stage::InProgress => 2,
        Stage::PendingExport => 3,
    }
}

pub(super) fn side_code(side: ErrorSide) -> u8 {
    match side {
        ErrorSide::Import => 0,
        ErrorSide::Sync => 1,
        ErrorSide::Export => 2,
    }
}

pub(super) fn next_cs_name(connector: ConnectorId) -> String {
    format!("next-cs-{connector}")
}
