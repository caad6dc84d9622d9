//! Large contents: each is kept once, with how many values point to it.

use super::rows::{Lane, write_rows};
use crate::model::Blob;
use crate::store::fault::Fault;
use crate::store::record::{Flaw, RawEntry};
use crate::store::tables;
use redb::ReadableTable;
use std::collections::HashMap;

/// How many more values point to a content than before.
pub(super) type Uses = HashMap<Blob, i64>;

/// Counts the values of a record that point to contents: by 1 for what is written, by -1 for what goes.
pub(super) fn count<'v>(uses: &mut Uses, values: impl Iterator<Item = Result<RawEntry<'v>, Flaw>>, change: i64) -> Result<(), Flaw> {
    for entry in values {
        if let Some(blob) = entry?.blob()? {
            *uses.entry(blob).or_default() += change;
        }
    }
    Ok(())
}

/// Writes who is used how often, and the contents that are new; those that nothing points to any more go.
pub(super) fn write(lane: &mut Lane<'_>, changes: impl Iterator<Item = (Blob, i64)>, contents: Vec<Vec<u8>>) -> Result<(), Fault> {
    let mut contents: Vec<_> = contents.into_iter().map(|content| (Blob::of(&content), content)).collect();
    contents.sort_unstable_by_key(|(blob, _)| *blob);
    contents.dedup_by_key(|(blob, _)| *blob);
    let content = |key: (u128, u32)| {
        let blob = Blob { hash: key.0, length: key.1 };
        contents.binary_search_by_key(&blob, |(blob, _)| *blob).ok().map(|index| contents[index].1.as_slice())
    };
    let mut changes: Vec<_> = changes.map(|(blob, change)| ((blob.hash, blob.length), change)).collect();
    // Contents for values that were there already: they repair a content that is missing.
    changes.extend(contents.iter().map(|(blob, _)| ((blob.hash, blob.length), 0)));
    changes.sort_unstable();
    changes.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 += later.1;
        }
        same
    });
    if changes.is_empty() {
        return Ok(());
    }
    let mut counts = lane.transaction.open_table(tables::BLOB_COUNT)?;
    let mut count_rows = Vec::with_capacity(changes.len());
    let mut content_rows = Vec::new();
    for (key, change) in changes {
        lane.tally.read += 1;
        let old = counts.get(key)?.map_or(0, |row| row.value());
        let new = old.saturating_add_signed(change);
        if new == 0 {
            if old > 0 {
                count_rows.push((key, None));
                content_rows.push((key, None));
            }
        } else {
            if old == 0 && content(key).is_none() {
                return Err(Fault::damaged(format!("blob {:032x}", key.0), "a value points to a content that nobody gave"));
            }
            count_rows.push((key, Some(new)));
            content_rows.extend(content(key).map(|content| (key, Some(content))));
        }
    }
    write_rows(&mut counts, &count_rows, &mut lane.tally)?;
    drop(counts);
    lane.rows(tables::BLOB, &content_rows)
}
