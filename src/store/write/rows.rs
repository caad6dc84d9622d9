//! Sorted rows of one table, and rows that belong to one object at a time.

use crate::model::CsId;
use crate::store::StoreError;
use crate::store::fault::Fault;
use crate::store::tables;
use redb::{Key, ReadableTable, Table, Value, WriteTransaction};
use std::collections::BTreeMap;
use std::ops::Bound;

/// What one transaction read and wrote.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::store) struct Tally {
    /// Rows looked at.
    pub(in crate::store) read: u64,
    /// Records of objects among them.
    pub(in crate::store) bodies: u64,
    /// Rows inserted, changed or removed.
    pub(in crate::store) written: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.bodies += other.bodies;
        self.written += other.written;
    }
}

/// Writes sorted rows with distinct keys; `None` removes. Rows that are there already are left alone.
pub(in crate::store) fn write_rows<'r, K: Key + 'static, V: Value + 'static>(
    table: &mut Table<'_, K, V>,
    rows: &[(K::SelfType<'r>, Option<V::SelfType<'r>>)],
    tally: &mut Tally,
) -> Result<(), Fault> {
    put_rows(table, rows, false, tally)
}

/// The same for rows of which somebody who looked knows that each differs from what is there: one way down the tree less.
pub(super) fn write_changed_rows<'r, K: Key + 'static, V: Value + 'static>(
    table: &mut Table<'_, K, V>,
    rows: &[(K::SelfType<'r>, Option<V::SelfType<'r>>)],
    tally: &mut Tally,
) -> Result<(), Fault> {
    put_rows(table, rows, true, tally)
}

fn put_rows<'r, K: Key + 'static, V: Value + 'static>(
    table: &mut Table<'_, K, V>,
    rows: &[(K::SelfType<'r>, Option<V::SelfType<'r>>)],
    changed: bool,
    tally: &mut Tally,
) -> Result<(), Fault> {
    let last = table.last()?.map(|(key, _)| K::as_bytes(&key.value()).as_ref().to_vec());
    let known = last.map_or(0, |last| rows.partition_point(|(key, _)| K::compare(K::as_bytes(key).as_ref(), &last).is_le()));
    let (known, new) = rows.split_at(known);
    for (key, value) in known {
        tally.read += u64::from(!changed);
        if let Some(value) = value.as_ref().filter(|_| changed || V::fixed_width() == Some(0)) {
            // Known to be another, or a row without a value, which says all by being there: no need to look before.
            let before = table.insert(key, value)?;
            tally.written += u64::from(changed || before.is_none());
        } else if let Some(value) = value {
            let same = table.get(key)?.is_some_and(|old| V::as_bytes(&old.value()).as_ref() == V::as_bytes(value).as_ref());
            if !same {
                table.insert(key, value)?;
                tally.written += 1;
            }
        } else if table.remove(key)?.is_some() {
            tally.written += 1;
        }
    }
    if new.iter().any(|(_, value)| value.is_some()) {
        let mut cursor = table.upper_bound_mut(Bound::<K::SelfType<'_>>::Unbounded)?;
        for (key, value) in new {
            if let Some(value) = value {
                cursor.insert_before(key, value)?;
                tally.written += 1;
            }
        }
        cursor.close()?;
    }
    Ok(())
}

/// Sorts rows by key; of several for one key the last one pushed stays.
pub(in crate::store) fn last_of_each<K: Ord, V>(rows: &mut Vec<(K, V)>) {
    if rows.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        return;
    }
    rows.sort_by(|left, right| left.0.cmp(&right.0));
    rows.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            std::mem::swap(later, earlier);
        }
        same
    });
}

/// A change to a row that belongs to one object at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The object gives the row up, if it holds it.
    Release(u64),
    /// The object takes the row.
    Take(u64),
}

/// What to do when an object takes a row that another one holds and does not give up in the same set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Contested {
    /// The newcomer has it, and the other one is displaced: no name leads to it.
    Displace,
    /// The whole set is refused.
    Refuse(&'static str),
}

/// Writes who has which row; gives those who lost one that they did not give up.
pub(super) fn write_claims<'r, K: Key + 'static>(
    table: &mut Table<'_, K, u64>,
    mut claims: Vec<(K::SelfType<'r>, Claim)>,
    contested: Contested,
    tally: &mut Tally,
) -> Result<Vec<CsId>, Fault>
where
    K::SelfType<'r>: Ord,
{
    let mut losers = Vec::new();
    claims.sort_by(|left, right| left.0.cmp(&right.0));
    let mut rows = Vec::with_capacity(claims.len());
    let mut rest = claims.as_slice();
    while let Some((key, _)) = rest.first() {
        let length = rest.partition_point(|(other, _)| other == key);
        let (group, behind) = rest.split_at(length);
        rest = behind;
        tally.read += 1;
        if let [(_, Claim::Take(taker))] = group {
            // The usual case, a new object: one way down the tree instead of two.
            let holder = table.insert(key, taker)?.map(|holder| holder.value());
            let other = holder.filter(|holder| holder != taker);
            if let (Contested::Refuse(what), Some(holder)) = (contested, other) {
                return Err(StoreError::Conflict { what, holder: CsId(holder).to_string(), claimant: CsId(*taker).to_string() }.into());
            }
            losers.extend(other.map(CsId));
            tally.written += u64::from(holder != Some(*taker));
            continue;
        }
        let holder = table.get(key)?.map(|holder| holder.value());
        let released = holder.is_some_and(|holder| group.iter().any(|(_, claim)| *claim == Claim::Release(holder)));
        let mut takers = group.iter().filter_map(|(_, claim)| if let Claim::Take(id) = claim { Some(*id) } else { None });
        let taker = takers.next_back();
        let mut others = takers.chain(holder.filter(|_| taker.is_some() && !released)).filter(|other| Some(*other) != taker);
        match contested {
            Contested::Displace => losers.extend(others.map(CsId)),
            Contested::Refuse(what) => {
                if let Some((claimant, holder)) = taker.zip(others.next_back()) {
                    return Err(
                        StoreError::Conflict { what, holder: CsId(holder).to_string(), claimant: CsId(claimant).to_string() }.into()
                    );
                }
            }
        }
        match taker {
            Some(taker) if holder != Some(taker) => rows.push((key, Some(taker))),
            None if released => rows.push((key, None)),
            _ => {}
        }
    }
    for (key, value) in rows {
        match value {
            Some(value) => drop(table.insert(key, value)?),
            None => drop(table.remove(key)?),
        }
        tally.written += 1;
    }
    Ok(losers)
}

/// What one of the threads of a transaction writes with. No table is open in two of them.
pub(super) struct Lane<'a> {
    pub(super) transaction: &'a WriteTransaction,
    pub(super) tally: Tally,
}

impl<'a> Lane<'a> {
    pub(super) fn new(transaction: &'a WriteTransaction) -> Self {
        Self { transaction, tally: Tally::default() }
    }

    /// Writes sorted rows with distinct keys, as [`write_rows`].
    pub(super) fn rows<'r, K: Key + 'static, V: Value + 'static>(
        &mut self,
        definition: redb::TableDefinition<'static, K, V>,
        rows: &[(K::SelfType<'r>, Option<V::SelfType<'r>>)],
    ) -> Result<(), Fault> {
        if rows.is_empty() {
            return Ok(());
        }
        write_rows(&mut self.transaction.open_table(definition)?, rows, &mut self.tally)
    }

    /// Raises a counter's next number.
    pub(super) fn at_least(&mut self, kind: u8, next: u64) -> Result<(), Fault> {
        if next == 0 {
            return Ok(());
        }
        let mut table = self.transaction.open_table(tables::COUNTER)?;
        let (known, count) = table.get((kind, 0))?.map_or((0, 0), |row| row.value());
        if next > known {
            table.insert((kind, 0), (next, count))?;
            self.tally.written += 1;
        }
        Ok(())
    }

    /// Adds to how many references there are by owner and attribute.
    pub(super) fn count(
        &mut self,
        definition: redb::TableDefinition<'static, (u64, u16), u64>,
        changes: BTreeMap<(u64, u16), i64>,
    ) -> Result<(), Fault> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut table = self.transaction.open_table(definition)?;
        let mut rows = Vec::with_capacity(changes.len());
        for (key, change) in changes.into_iter().filter(|(_, change)| *change != 0) {
            let count = table.get(key)?.map_or(0, |row| row.value()).saturating_add_signed(change);
            rows.push((key, (count > 0).then_some(count)));
        }
        write_changed_rows(&mut table, &rows, &mut self.tally)
    }
}
