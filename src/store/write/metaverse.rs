//! The metaverse: its objects, their lineage, references between them, and the join values by which they are found.

use super::blobs::{self, Uses};
use super::flawed;
use super::joins::{JoinRow, changed_join_keys};
use super::rows::{Lane, last_of_each, write_changed_rows};
use crate::model::{AttrId, MvId, MvObject, MvReference};
use crate::store::fault::Fault;
use crate::store::record::{self, Encoder, MvView};
use crate::store::tables;
use redb::{ReadableTable, ReadableTableMetadata};
use std::collections::BTreeMap;

/// What a set of changes does to the metaverse.
pub(super) struct MetaverseChanges {
    pub(super) put: Vec<MvObject>,
    pub(super) references: Vec<MvReference>,
    pub(super) removed_references: Vec<(MvId, AttrId, MvId)>,
}

impl MetaverseChanges {
    /// How many rows it names.
    pub(super) fn rows(&self) -> usize {
        self.put.len() + self.references.len() + self.removed_references.len()
    }
}

pub(super) struct Metaverse<'a> {
    pub(super) lane: Lane<'a>,
    /// Attributes whose values are found by.
    indexes: &'a [AttrId],
    seed: u64,
    encoder: Encoder,
    join: Vec<JoinRow>,
    pub(super) blobs: Uses,
    /// Objects that were there before and changed.
    pub(super) moved: Vec<u64>,
}

impl<'a> Metaverse<'a> {
    pub(super) fn new(lane: Lane<'a>, indexes: &'a [AttrId], seed: u64) -> Self {
        let (join, blobs, moved) = (Vec::new(), Uses::new(), Vec::new());
        Self { lane, indexes, seed, encoder: Encoder::default(), join, blobs, moved }
    }

    pub(super) fn write(&mut self, changes: MetaverseChanges, deleted: &[MvId]) -> Result<(), Fault> {
        self.mv_objects(changes.put, deleted)?;
        self.mv_references(changes.references, changes.removed_references, deleted)?;
        self.join.sort_unstable_by_key(|(key, _)| *key);
        self.lane.rows(tables::MV_JOIN, &self.join)
    }

    fn mv_objects(&mut self, put: Vec<MvObject>, delete: &[MvId]) -> Result<(), Fault> {
        let mut changes: Vec<(MvId, Option<MvObject>)> = put.into_iter().map(|object| (object.id, Some(object))).collect();
        changes.extend(delete.iter().map(|id| (*id, None)));
        last_of_each(&mut changes);
        if changes.is_empty() {
            return Ok(());
        }
        let highest = changes.iter().rev().find(|(_, object)| object.is_some());
        self.lane.at_least(tables::counter::MV, highest.map_or(0, |(id, _)| id.0.saturating_add(1)))?;
        let mut table = self.lane.transaction.open_table(tables::MV_OBJECT)?;
        let last = table.last()?.map(|(key, _)| key.value());
        let mut rows = Vec::with_capacity(changes.len());
        let mut lineages = Vec::with_capacity(changes.len());
        for (id, object) in changes {
            let old = if last.is_some_and(|last| id.0 <= last) { table.get(id.0)? } else { None };
            self.lane.tally.read += u64::from(last.is_some_and(|last| id.0 <= last));
            self.lane.tally.bodies += u64::from(old.is_some());
            let new = object.as_ref().map(|object| self.encoder.mv_object(object)).transpose().map_err(flawed("mv_object", id.0))?;
            let lineage =
                object.as_ref().map(|object| record::encode_lineage(&object.lineage)).transpose().map_err(flawed("lineage", id.0))?;
            lineages.push((id.0, lineage));
            if old.as_ref().zip(new.as_ref()).is_some_and(|(old, new)| old.value() == new.as_slice()) {
                continue;
            }
            if old.is_some() {
                self.moved.push(id.0);
            }
            let old = old.as_ref().map(|old| MvView::new(old.value())).transpose().map_err(flawed("mv_object", id.0))?;
            let current = new.as_ref().map(|new| MvView::new(new)).transpose().map_err(flawed("mv_object", id.0))?;
            let [was, is] = [&old, &current].map(|view| view.iter().flat_map(MvView::values));
            changed_join_keys(was, is, self.indexes, self.seed, id.0, &mut self.join).map_err(flawed("mv_object", id.0))?;
            for (view, change) in [(&old, -1), (&current, 1)] {
                if let Some(view) = view {
                    blobs::count(&mut self.blobs, view.values(), change).map_err(flawed("mv_object", id.0))?;
                }
            }
            rows.push((id.0, new));
        }
        let rows: Vec<_> = rows.iter().map(|(id, bytes)| (*id, bytes.as_deref())).collect();
        write_changed_rows(&mut table, &rows, &mut self.lane.tally)?;
        let lineages: Vec<_> = lineages.iter().map(|(id, bytes)| (*id, bytes.as_deref())).collect();
        self.lane.rows(tables::LINEAGE, &lineages)
    }

    fn mv_references(&mut self, references: Vec<MvReference>, removed: Vec<(MvId, AttrId, MvId)>, deleted: &[MvId]) -> Result<(), Fault> {
        let gone = |id: MvId| deleted.binary_search(&id).is_ok();
        let mut changes: Vec<((u64, u16, u64), Option<u8>)> =
            removed.into_iter().map(|(owner, attr, target)| ((owner.0, attr.0, target.0), None)).collect();
        changes.extend(
            references
                .into_iter()
                .filter(|row| !gone(row.owner) && !gone(row.target))
                .map(|row| ((row.owner.0, row.attr.0, row.target.0), Some(row.contributor))),
        );
        if changes.is_empty() && deleted.is_empty() {
            return Ok(());
        }
        let mut forward = self.lane.transaction.open_table(tables::MV_REFERENCE)?;
        if !deleted.is_empty() && !forward.is_empty()? {
            let reverse = self.lane.transaction.open_table(tables::MV_REFERRER)?;
            for id in deleted {
                for row in forward.range((id.0, 0, 0)..=(id.0, u16::MAX, u64::MAX))? {
                    changes.push((row?.0.value(), None));
                }
                for row in reverse.range((id.0, 0, 0)..=(id.0, u16::MAX, u64::MAX))? {
                    let (target, attr, owner) = row?.0.value();
                    changes.push(((owner, attr, target), None));
                }
            }
        }
        last_of_each(&mut changes);
        let last = forward.last()?.map(|(key, _)| key.value());
        let mut reverse = Vec::new();
        let mut counts: BTreeMap<(u64, u16), i64> = BTreeMap::new();
        let mut rows = Vec::with_capacity(changes.len());
        for (key, row) in changes {
            let (owner, attr, target) = key;
            let known = last.is_some_and(|last| key <= last);
            self.lane.tally.read += u64::from(known);
            let present = if known { forward.get(key)?.map(|row| row.value()) } else { None };
            if present == row {
                continue;
            }
            if present.is_some() != row.is_some() {
                reverse.push(((target, attr, owner), row.map(|_| ())));
                *counts.entry((owner, attr)).or_default() += if present.is_some() { -1 } else { 1 };
            }
            rows.push((key, row));
        }
        reverse.sort_unstable();
        write_changed_rows(&mut forward, &rows, &mut self.lane.tally)?;
        drop(forward);
        self.lane.rows(tables::MV_REFERRER, &reverse)?;
        self.lane.count(tables::MV_REFERENCE_COUNT, counts)
    }
}
