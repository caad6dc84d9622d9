//! Turning a set of changes into sorted rows of every table, inside one transaction.
//!
//! Old records are read in the order of their keys, rows of indexes follow from the difference between old and new,
//! and every table gets its rows sorted, appended by a cursor where they lie behind the last key. A row whose octets
//! are already there is not written, so that repeating a set of changes writes nothing.
//!
//! Tables are trees of their own, so two threads fill them side by side: one the connector spaces with their indexes,
//! one the metaverse, the marks and the history.

mod blobs;
mod joins;
mod journal;
mod metaverse;
mod rows;
mod spaces;

use super::changes::ChangeSet;
use super::fault::Fault;
use super::record::Flaw;
use super::{Inner, moved, password, tables};
pub(super) use joins::join_keys;
use metaverse::{Metaverse, MetaverseChanges};
use redb::WriteTransaction;
use rows::Lane;
pub(super) use rows::{Tally, last_of_each, write_rows};
use spaces::Spaces;
pub(super) use spaces::{counts_as_anchored, counts_as_wanted, is_touched, name_key};
use std::mem::take;

/// From so many rows on each side on, a second thread costs less than it brings.
const WORTH: usize = 64;

/// Writes everything of `changes`; the caller commits.
pub(super) fn write_all(inner: &Inner, transaction: &WriteTransaction, mut changes: ChangeSet, tally: &mut Tally) -> Result<(), Fault> {
    let indexes = inner.indexes();
    changes.cs_delete.sort_unstable();
    changes.cs_delete.dedup();
    changes.mv_delete.sort_unstable();
    changes.mv_delete.dedup();
    let (cs_delete, mv_delete) = (take(&mut changes.cs_delete), take(&mut changes.mv_delete));
    let (cs_put, cs_reference, contents) = (take(&mut changes.cs_put), take(&mut changes.cs_reference), take(&mut changes.blobs));
    let (moved_seen, watched) = (take(&mut changes.moved_seen), changes.watched.take());
    let metaverse_changes = MetaverseChanges {
        put: take(&mut changes.mv_put),
        references: take(&mut changes.mv_reference),
        removed_references: take(&mut changes.mv_reference_delete),
    };

    let mut spaces = Spaces::new(Lane::new(transaction), &indexes, inner.seed)?;
    let mut metaverse = Metaverse::new(Lane::new(transaction), &indexes.metaverse, inner.seed);
    let of_spaces = cs_put.len() + cs_reference.len() + cs_delete.len();
    let of_others = metaverse_changes.rows() + mv_delete.len() + changes.step_objects.len() + changes.cs_hash.len() + changes.dirty.len();
    let outcome = side_by_side(
        of_spaces >= WORTH && of_others >= WORTH,
        || spaces.write(cs_put, cs_reference, &cs_delete),
        || {
            metaverse.write(metaverse_changes, &mv_delete)?;
            journal::write(&mut metaverse.lane, changes, &cs_delete)
        },
    );
    *tally += spaces.lane.tally;
    *tally += metaverse.lane.tally;
    outcome?;

    // What needs both.
    spaces.lane.tally = Tally::default();
    spaces.counters()?;
    let Spaces { mut lane, blobs: mut uses, mut moved, displaced, .. } = spaces;
    for (blob, change) in metaverse.blobs {
        *uses.entry(blob).or_default() += change;
    }
    blobs::write(&mut lane, uses.into_iter(), contents)?;
    metaverse.moved.into_iter().for_each(|id| moved.metaverse(id));
    moved::forget(transaction, moved_seen, &mut lane.tally)?;
    moved.write(transaction, &mut lane.tally)?;
    // Who lost the name is compared again, whatever was noted.
    let forgotten: Vec<_> = displaced.into_iter().map(|id| (id.0, None)).collect();
    lane.rows(tables::CS_HASH, &forgotten)?;
    if let Some(watched) = watched {
        let row = password::encode_watched(&watched);
        lane.rows(tables::META, &[(tables::meta::WATCHED, Some(row.as_slice()))])?;
    }
    *tally += lane.tally;
    Ok(())
}

/// Does two things that touch different tables, by two threads where that is worth it. Of two failures the first one counts.
fn side_by_side(
    worth: bool,
    first: impl FnOnce() -> Result<(), Fault>,
    second: impl FnOnce() -> Result<(), Fault> + Send,
) -> Result<(), Fault> {
    if !worth {
        return first().and_then(|()| second());
    }
    std::thread::scope(|scope| {
        let second = scope.spawn(second);
        let first = first();
        let second = second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        first.and(second)
    })
}

fn flawed(table: &str, id: u64) -> impl Fn(Flaw) -> Fault {
    move |flaw| Fault::damaged(format!("{table} {id}"), flaw)
}
