//! What stands beside the objects: marks, hashes, problems, passwords, states of connectors, and the history.

use super::flawed;
use super::rows::{Lane, last_of_each};
use crate::model::CsId;
use crate::store::changes::ChangeSet;
use crate::store::fault::Fault;
use crate::store::record;
use crate::store::tables;
use crate::store::{event, password};
use redb::ReadableTableMetadata;
use std::ops::Bound;

/// Writes all of a set but objects and references. `cs_delete`: the removed objects, sorted.
pub(super) fn write(lane: &mut Lane<'_>, changes: ChangeSet, cs_delete: &[CsId]) -> Result<(), Fault> {
    let ChangeSet {
        mut cs_hash,
        mut dirty,
        mut errors,
        mut states,
        runs,
        step_objects,
        mut runs_delete,
        events,
        events_kept,
        mut passwords,
        ..
    } = changes;
    runs_delete.sort_unstable();
    runs_delete.dedup();

    passwords.extend(cs_delete.iter().map(|id| (*id, None)));
    password::write(lane.transaction, passwords, &mut lane.tally)?;

    let gone = |id: &CsId| cs_delete.binary_search(id).is_ok();
    cs_hash.retain(|(id, _)| !gone(id));
    cs_hash.extend(cs_delete.iter().map(|id| (*id, None)));
    let mut hashes: Vec<_> = cs_hash.into_iter().map(|(id, hash)| (id.0, hash)).collect();
    last_of_each(&mut hashes);
    lane.rows(tables::CS_HASH, &hashes)?;

    dirty.retain(|(id, _)| !gone(id));
    dirty.extend(cs_delete.iter().map(|id| (*id, None)));
    let mut marks: Vec<_> = dirty.into_iter().map(|(id, reason)| (id.0, reason.map(record::reason_code))).collect();
    last_of_each(&mut marks);
    lane.rows(tables::DIRTY, &marks)?;

    errors.retain(|(id, _, _)| !gone(id));
    let mut problems = Vec::with_capacity(errors.len() + 3 * cs_delete.len());
    for (id, side, error) in errors {
        let bytes = error.map(|error| record::encode_error(&error)).transpose().map_err(flawed("object_error", id.0))?;
        problems.push(((id.0, record::side_code(side)), bytes));
    }
    problems.extend(cs_delete.iter().flat_map(|id| (0..3).map(|side| ((id.0, side), None))));
    last_of_each(&mut problems);
    let problems: Vec<_> = problems.iter().map(|(key, bytes)| (*key, bytes.as_deref())).collect();
    lane.rows(tables::OBJECT_ERROR, &problems)?;

    // Borrowed keys from here on: the owners stay alive in `states` and `step_objects`.
    let mut small: Vec<_> = states.drain(..).map(|(connector, name, value)| ((connector.0, name), value)).collect();
    last_of_each(&mut small);
    let small: Vec<_> = small.iter().map(|((connector, name), value)| ((*connector, name.as_str()), value.as_deref())).collect();
    lane.rows(tables::STATE, &small)?;

    let forgotten = |run: u64| runs_delete.iter().any(|deleted| deleted.0 == run);
    let mut records = Vec::with_capacity(runs.len() + runs_delete.len());
    let next_run = runs.iter().map(|run| run.id.0.saturating_add(1)).max().unwrap_or(0);
    for run in runs.into_iter().filter(|run| !forgotten(run.id.0)) {
        records.push((run.id.0, Some(record::encode_run(&run).map_err(flawed("run", run.id.0))?)));
    }
    records.extend(runs_delete.iter().map(|run| (run.0, None)));
    last_of_each(&mut records);
    let records: Vec<_> = records.iter().map(|(run, bytes)| (*run, bytes.as_deref())).collect();
    lane.rows(tables::RUN, &records)?;
    lane.at_least(tables::counter::RUN, next_run)?;

    let mut listed = Vec::with_capacity(step_objects.len());
    for (run, step, object) in &step_objects {
        if !forgotten(run.0) {
            let bytes = record::encode_step_object(object).map_err(flawed("step_object", object.id.0))?;
            listed.push(((run.0, *step, object.counter.0.as_ref(), object.id.0), Some(bytes)));
        }
    }
    last_of_each(&mut listed);
    let listed: Vec<_> = listed.iter().map(|(key, bytes)| (*key, bytes.as_deref())).collect();
    lane.rows(tables::STEP_OBJECT, &listed)?;
    if !runs_delete.is_empty() {
        let mut table = lane.transaction.open_table(tables::STEP_OBJECT)?;
        let before = table.len()?;
        for run in &runs_delete {
            let range = (Bound::Included((run.0, 0, "", 0)), Bound::Excluded((run.0.saturating_add(1), 0, "", 0)));
            table.retain_in(range, |_, _| false)?;
        }
        lane.tally.written += before - table.len()?;
    }
    event::write(lane.transaction, events, events_kept, &mut lane.tally)
}
