//! The rows of indexes of join values that follow from the values of an object.

use crate::model::AttrId;
use crate::store::index::join_hash;
use crate::store::record::{Flaw, RawEntry};

/// A row of an index of join values: what is to be there, and what is not.
pub(super) type JoinRow = ((u16, u64, u64), Option<()>);

/// Adds the index keys of an object's values, sorted and once each.
pub(in crate::store) fn join_keys<'v>(
    values: impl Iterator<Item = Result<RawEntry<'v>, Flaw>>,
    attributes: &[AttrId],
    seed: u64,
    id: u64,
    keys: &mut Vec<(u16, u64, u64)>,
) -> Result<(), Flaw> {
    if attributes.is_empty() {
        return Ok(());
    }
    let start = keys.len();
    for entry in values {
        let entry = entry?;
        if attributes.binary_search(&entry.attr).is_ok() {
            keys.push((entry.attr.0, join_hash(seed, entry.value()?), id));
        }
    }
    // Only the new tail: whoever collects the keys of many objects must not pay for all of them again and again.
    keys[start..].sort_unstable();
    let mut end = start;
    for at in start..keys.len() {
        if at == start || keys[at] != keys[end - 1] {
            keys[end] = keys[at];
            end += 1;
        }
    }
    keys.truncate(end);
    Ok(())
}

/// Rows of an index that lead from the values of an object before to those it has.
pub(super) fn changed_join_keys<'v>(
    old: impl Iterator<Item = Result<RawEntry<'v>, Flaw>> + Clone,
    new: impl Iterator<Item = Result<RawEntry<'v>, Flaw>> + Clone,
    attributes: &[AttrId],
    seed: u64,
    id: u64,
    rows: &mut Vec<JoinRow>,
) -> Result<(), Flaw> {
    if attributes.is_empty() {
        return Ok(());
    }
    // Most changes leave all of these values alone, and what is spelt alike needs no key.
    let indexed = |entry: &Result<RawEntry<'_>, Flaw>| entry.as_ref().map_or(true, |entry| attributes.binary_search(&entry.attr).is_ok());
    let (mut was, mut is) = (old.clone().filter(indexed), new.clone().filter(indexed));
    loop {
        match (was.next().transpose()?, is.next().transpose()?) {
            (None, None) => return Ok(()),
            (Some(was), Some(is)) if was.same(is) => {}
            _ => break,
        }
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    join_keys(old, attributes, seed, id, &mut before)?;
    join_keys(new, attributes, seed, id, &mut after)?;
    difference(before, after, rows);
    Ok(())
}

/// Rows that turn one sorted list of keys into another.
fn difference<K: Ord>(old: Vec<K>, new: Vec<K>, rows: &mut Vec<(K, Option<()>)>) {
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(old), Some(new)) => old.cmp(new),
        };
        match order {
            std::cmp::Ordering::Less => rows.extend(old.next().map(|key| (key, None))),
            std::cmp::Ordering::Greater => rows.extend(new.next().map(|key| (key, Some(())))),
            std::cmp::Ordering::Equal => {
                old.next();
                new.next();
            }
        }
    }
}
