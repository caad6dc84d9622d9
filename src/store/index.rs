//! Which attributes joins look up, and the index rows of their values.

use super::fault::Fault;
use super::record::{CsView, MvView};
use super::write::{Tally, join_keys, write_rows};
use super::{Inner, begin, commit, tables};
use crate::model::{AttrId, ConnectorId, CsId, ValueRef, fold};
use redb::{ReadableDatabase, ReadableTable};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The indexes that are kept up to date, in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Indexes {
    /// Of the metaverse, sorted.
    pub(super) metaverse: Vec<AttrId>,
    /// Of connector spaces, sorted.
    pub(super) spaces: BTreeMap<ConnectorId, Vec<AttrId>>,
}

/// One index: (side, connector, attribute); the metaverse has connector 0.
type IndexKey = (u8, u16, u16);

const METAVERSE: u8 = 0;
const SPACE: u8 = 1;

/// The index is complete.
const READY: u8 = 1;
/// It is kept up to date and is being filled.
const FILLING: u8 = 0;
/// It is not kept up to date any more, and its rows are being removed.
const LEAVING: u8 = 2;

/// Rows of one transaction while an index is filled or emptied.
const BATCH: usize = 100_000;

/// The hash under which a value is looked up. Text compares folded; numbers and truth values as their text, so that
/// a number is found by a text that spells it. Large text compares by its content, unfolded.
pub(super) fn join_hash(seed: u64, value: ValueRef<'_>) -> u64 {
    match value {
        ValueRef::Text(text) => xxh3_64_with_seed(fold(text).as_bytes(), seed),
        ValueRef::Number(number) => xxh3_64_with_seed(number.to_string().as_bytes(), seed),
        ValueRef::Boolean(boolean) => xxh3_64_with_seed(if boolean { b"true" } else { b"false" }, seed),
        ValueRef::Binary(bytes) => xxh3_64_with_seed(bytes, seed),
        ValueRef::LargeText(blob) | ValueRef::LargeBinary(blob) => xxh3_64_with_seed(&blob.hash.to_le_bytes(), seed),
        ValueRef::Reference(id) => xxh3_64_with_seed(&id.to_le_bytes(), seed),
    }
}

impl Indexes {
    /// The indexes as the file has them; those being removed are not kept.
    pub(super) fn load(table: &impl ReadableTable<IndexKey, u8>) -> Result<Self, Fault> {
        let mut indexes = Self::default();
        for row in table.iter()? {
            let (key, state) = row?;
            if state.value() == LEAVING {
                continue;
            }
            match key.value() {
                (METAVERSE, _, attr) => indexes.metaverse.push(AttrId(attr)),
                (_, connector, attr) => indexes.spaces.entry(ConnectorId(connector)).or_default().push(AttrId(attr)),
            }
        }
        Ok(indexes)
    }
}

/// True when all these indexes are there and complete.
pub(super) fn are_complete(inner: &Inner, metaverse: &[AttrId], spaces: &[(ConnectorId, AttrId)]) -> Result<bool, Fault> {
    let transaction = inner.database()?.begin_read()?;
    let table = transaction.open_table(tables::INDEXED)?;
    let wanted = metaverse.iter().map(|attr| (METAVERSE, 0, attr.0));
    for key in wanted.chain(spaces.iter().map(|(connector, attr)| (SPACE, connector.0, attr.0))) {
        if table.get(key)?.is_none_or(|state| state.value() != READY) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes the indexes those that are asked for. The caller holds the writer's lock.
pub(super) fn set(inner: &Inner, metaverse: &[AttrId], spaces: &[(ConnectorId, AttrId)]) -> Result<(), Fault> {
    let mut wanted: BTreeSet<IndexKey> = metaverse.iter().map(|attr| (METAVERSE, 0, attr.0)).collect();
    wanted.extend(spaces.iter().map(|(connector, attr)| (SPACE, connector.0, attr.0)));
    let known: BTreeMap<IndexKey, u8> = {
        let transaction = inner.database()?.begin_read()?;
        let table = transaction.open_table(tables::INDEXED)?;
        table.iter()?.map(|row| row.map(|(key, state)| (key.value(), state.value()))).collect::<Result<_, _>>()?
    };
    let leaving: Vec<_> = known.iter().filter(|(key, state)| !wanted.contains(*key) || **state == LEAVING).map(|(key, _)| *key).collect();
    let filling: Vec<_> = wanted.iter().filter(|key| known.get(*key) != Some(&READY)).copied().collect();
    if leaving.is_empty() && filling.is_empty() {
        return Ok(());
    }
    mark(inner, &leaving, Some(LEAVING))?;
    for key in &leaving {
        empty(inner, *key)?;
    }
    mark(inner, &leaving, None)?;
    mark(inner, &filling, Some(FILLING))?;
    fill(inner, &filling)?;
    mark(inner, &filling, Some(READY))
}

/// Notes a state of indexes, durably and in memory.
fn mark(inner: &Inner, keys: &[IndexKey], state: Option<u8>) -> Result<(), Fault> {
    if keys.is_empty() {
        return Ok(());
    }
    let transaction = begin(&*inner.database()?)?;
    let mut tally = Tally::default();
    let indexes = {
        let mut table = transaction.open_table(tables::INDEXED)?;
        let rows: Vec<_> = keys.iter().map(|key| (*key, state)).collect();
        write_rows(&mut table, &rows, &mut tally)?;
        Indexes::load(&table)?
    };
    commit(inner, transaction, tally)?;
    inner.set_indexes(indexes);
    Ok(())
}

/// Removes the rows of an index in batches.
fn empty(inner: &Inner, (side, connector, attr): IndexKey) -> Result<(), Fault> {
    let mut from = Bound::Included((attr, 0, 0));
    loop {
        let transaction = begin(&*inner.database()?)?;
        let mut tally = Tally::default();
        let full = {
            let mut table = transaction.open_table(if side == METAVERSE { tables::MV_JOIN } else { tables::CS_JOIN })?;
            let mut rows = Vec::new();
            let mut seen = 0;
            for row in table.range((from, Bound::Included((attr, u64::MAX, u64::MAX))))? {
                let key = row?.0.value();
                from = Bound::Excluded(key);
                seen += 1;
                // One table serves all connector spaces: rows of the others stay.
                if side == METAVERSE || CsId(key.2).connector().0 == connector {
                    rows.push((key, None));
                }
                if seen == BATCH {
                    break;
                }
            }
            tally.read += seen as u64;
            write_rows(&mut table, &rows, &mut tally)?;
            seen == BATCH
        };
        commit(inner, transaction, tally)?;
        if !full {
            return Ok(());
        }
    }
}

/// Adds the rows of indexes, sorted, in batches.
fn fill(inner: &Inner, keys: &[IndexKey]) -> Result<(), Fault> {
    let mut mv_attributes = Vec::new();
    let mut cs_attributes: BTreeMap<u16, Vec<AttrId>> = BTreeMap::new();
    for (side, connector, attr) in keys {
        let attributes = if *side == METAVERSE { &mut mv_attributes } else { cs_attributes.entry(*connector).or_default() };
        attributes.push(AttrId(*attr));
    }
    let (mut mv_rows, mut cs_rows) = (Vec::new(), Vec::new());
    let mut read = 0;
    {
        let transaction = inner.database()?.begin_read()?;
        if !mv_attributes.is_empty() {
            for row in transaction.open_table(tables::MV_OBJECT)?.iter()? {
                let (id, bytes) = row?;
                read += 1;
                MvView::new(bytes.value())
                    .and_then(|view| join_keys(view.values(), &mv_attributes, inner.seed, id.value(), &mut mv_rows))
                    .map_err(|flaw| Fault::damaged(format!("mv_object {}", id.value()), flaw))?;
            }
        }
        let objects = transaction.open_table(tables::CS_OBJECT)?;
        for (connector, attributes) in &cs_attributes {
            let range = CsId::range(ConnectorId(*connector));
            for row in objects.range(range.start().0..=range.end().0)? {
                let (id, bytes) = row?;
                read += 1;
                CsView::new(bytes.value())
                    .and_then(|view| join_keys(view.values(), attributes, inner.seed, id.value(), &mut cs_rows))
                    .map_err(|flaw| Fault::damaged(format!("cs_object {}", id.value()), flaw))?;
            }
        }
    }
    inner.counts.add(Tally { read, bodies: read, written: 0 });
    for (definition, mut rows) in [(tables::MV_JOIN, mv_rows), (tables::CS_JOIN, cs_rows)] {
        rows.sort_unstable();
        for batch in rows.chunks(BATCH) {
            let rows: Vec<_> = batch.iter().map(|key| (*key, Some(()))).collect();
            let transaction = begin(&*inner.database()?)?;
            let mut tally = Tally::default();
            write_rows(&mut transaction.open_table(definition)?, &rows, &mut tally)?;
            commit(inner, transaction, tally)?;
        }
    }
    Ok(())
}
