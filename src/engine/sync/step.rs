//! A synchronization step: which objects it processes, in which order, in which batches.
//!
//! Linked, deleted and unwanted objects come first, in the order of their numbers. Objects that look for a partner
//! come after them, by the precedence of the rule that could tie them; of those that may want the same partner, the
//! one with the lower anchor comes first. So the winner of a contested join does not hang on the order of arrival
//! (architecture 16.12).

use super::batch::{Sleepers, plan_units};
use super::book::Rulebook;
use super::keys::KeyHash;
use super::plan::{SyncPlan, plan};
use super::unit::{Decree, Suitor, Unit, UnitPlan, suitor};
use super::view::{Failure, Footprints, JoinIndex, Overlay, View};
use crate::context::Context;
use crate::engine::TRACED;
use crate::engine::{EngineError, StepRecorder};
use crate::model::{AttrId, ConnectorId, CsId, CsObject, RunId, Stage};
use crate::rules::{RuleSet, RunParameters};
use crate::store::{ChangeSet, DirtyReason, Snapshot, Store, StoreError};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Objects per batch and transaction. The indexes of names and join values are hit all over by every batch, so fewer
/// batches rewrite fewer of their pages.
pub const BATCH: usize = 4_000;
/// The metaverse attribute by which commands look people up, joins or not.
pub const SIGN_IN_NAME: &str = "userPrincipalName";
/// How often a step goes on to objects that it made dirty itself.
const ROUNDS: usize = 10;
/// Looking up more than one in this many metaverse objects pays for reading all join values into memory.
const INDEX_SHARE: u64 = 20;

/// What to synchronize.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// The connector whose objects are processed.
    pub connector: ConnectorId,
    /// All of its objects, not only those with news.
    pub full: bool,
    /// Time and parameters for expressions.
    pub parameters: RunParameters,
    /// Names of connectors, for counters: `connector-flow/Entra`.
    pub connectors: BTreeMap<ConnectorId, String>,
    /// The run and the number of the step, under which the objects behind counters are kept.
    pub step: (RunId, u32),
    /// Objects per batch and transaction, [`BATCH`] as a rule. What a step comes to does not hang on it.
    pub batch: usize,
}

/// Runs a step with its history: counters and progress go to `recorder`, the objects behind them are written with
/// the batch that they belong to. No other run may write to the store meanwhile.
pub fn run_sync(
    store: &Store,
    rules: &RuleSet,
    request: &SyncRequest,
    cx: &Context,
    recorder: &mut StepRecorder<'_>,
) -> Result<SyncOutcome, EngineError> {
    if request.full {
        recorder.expect(Some(store.snapshot()?.cs_count(request.connector)?));
    }
    recorded(store, rules, request, None, cx, recorder)
}

/// As [`run_sync`], over one object of the connector and what follows from it for others. With `full`, all targets of its
/// metaverse object are compared, as in a full synchronization.
pub fn run_sync_of_object(
    store: &Store,
    rules: &RuleSet,
    request: &SyncRequest,
    object: CsId,
    cx: &Context,
    recorder: &mut StepRecorder<'_>,
) -> Result<SyncOutcome, EngineError> {
    recorded(store, rules, request, Some((object, None)), cx, recorder)
}

/// Does what an administrator decided about one object, with what follows from it for others.
pub fn run_decree(
    store: &Store,
    rules: &RuleSet,
    request: &SyncRequest,
    (object, decree): (CsId, Decree),
    cx: &Context,
    recorder: &mut StepRecorder<'_>,
) -> Result<SyncOutcome, EngineError> {
    recorded(store, rules, request, Some((object, Some(decree))), cx, recorder)
}

fn recorded(
    store: &Store,
    rules: &RuleSet,
    request: &SyncRequest,
    only: Option<(CsId, Option<Decree>)>,
    cx: &Context,
    recorder: &mut StepRecorder<'_>,
) -> Result<SyncOutcome, EngineError> {
    let (run, step) = request.step;
    let outcome = step_over(store, rules, request, only, cx, &mut |plan| {
        for (counter, number) in &plan.counters {
            recorder.count_named(counter, *number);
        }
        recorder.advance(plan.processed);
        let SyncPlan { mut changes, objects, .. } = plan;
        changes.step_objects.extend(objects.into_iter().map(|object| (run, step, object)));
        if changes.is_empty() { Ok(()) } else { store.apply_part(changes) }
    })?;
    // The objects that were not reached are still queued, so that a step may lose its end, but not its middle.
    store.apply(ChangeSet::new())?;
    if outcome.stopped { Err(EngineError::Cancelled) } else { Ok(outcome) }
}

/// The attributes that joins look up, of the metaverse and of spaces, as [`Store::index_attributes`] takes them.
/// Whoever opens a store with these rules says the same, or indexes are built back and forth.
pub fn indexed_attributes(rules: &RuleSet) -> (Vec<AttrId>, Vec<(ConnectorId, AttrId)>) {
    let (mut metaverse, mut spaces) = (rules.metaverse_join_attributes(), rules.space_join_attributes());
    for rule in rules.rules() {
        for clause in rule.join.iter().flatten() {
            metaverse.push(clause.mv);
            spaces.push((rule.connector, clause.cs));
        }
    }
    metaverse.sort_unstable();
    metaverse.dedup();
    spaces.sort_unstable();
    spaces.dedup();
    (metaverse, spaces)
}

/// What a step came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncOutcome {
    /// Objects processed.
    pub processed: u64,
    /// Of these, objects whose processing failed.
    pub failed: u64,
    /// The step was asked to end before it had processed all.
    pub stopped: bool,
}

/// Runs a step. Every planned batch goes to `apply`, which writes it (with whatever it adds) before the next is
/// planned. No other run may write to the store meanwhile.
pub fn synchronize(
    store: &Store,
    rules: &RuleSet,
    request: &SyncRequest,
    cx: &Context,
    apply: &mut dyn FnMut(SyncPlan) -> Result<(), StoreError>,
) -> Result<SyncOutcome, StoreError> {
    step_over(store, rules, request, None, cx, apply)
}

fn step_over(
    store: &Store,
    rules: &RuleSet,
    request: &SyncRequest,
    only: Option<(CsId, Option<Decree>)>,
    cx: &Context,
    apply: &mut dyn FnMut(SyncPlan) -> Result<(), StoreError>,
) -> Result<SyncOutcome, StoreError> {
    let names = Arc::clone(store.names());
    let mut book = Rulebook::new(rules, &request.parameters, &names, request.connector, request.full);
    book.everything = request.full && only.is_none();
    let (mut metaverse, spaces) = indexed_attributes(rules);
    // People are asked for by the name they sign in with.
    metaverse.push(store.names().intern(SIGN_IN_NAME));
    metaverse.sort_unstable();
    metaverse.dedup();
    store.index_attributes(&metaverse, &spaces)?;
    let mut step = Step {
        store,
        book: &book,
        request,
        cx,
        apply,
        sleepers: Sleepers::default(),
        index: None,
        dirty: HashMap::default(),
        outcome: SyncOutcome::default(),
    };
    match only {
        Some((object, decree)) => step.run_one(object, decree)?,
        None => step.run()?,
    }
    Ok(step.outcome)
}

struct Step<'a> {
    store: &'a Store,
    book: &'a Rulebook<'a>,
    request: &'a SyncRequest,
    cx: &'a Context,
    apply: &'a mut dyn FnMut(SyncPlan) -> Result<(), StoreError>,
    sleepers: Sleepers,
    index: Option<JoinIndex>,
    /// Marks of the connector's objects as they stand now.
    dirty: Marks,
    outcome: SyncOutcome,
}

impl Step<'_> {
    fn run(&mut self) -> Result<(), StoreError> {
        let snapshot = self.store.snapshot()?;
        self.dirty = all_dirty(&snapshot, self.request.connector)?;
        if self.request.full {
            let end = snapshot.cs_next_sequence(self.request.connector)?;
            drop(snapshot);
            self.scan(end)?;
        } else {
            let mut ids = queued(&snapshot, self.request.connector)?;
            drop(snapshot);
            ids.extend(self.dirty.keys().copied());
            self.process(&ids.into_iter().collect::<Vec<_>>())?;
        }
        self.follow()
    }

    /// One object, and what follows from it for objects of the same connector. Marks of others wait for their own step.
    fn run_one(&mut self, object: CsId, decree: Option<Decree>) -> Result<(), StoreError> {
        let snapshot = self.store.snapshot()?;
        let before = object.0.checked_sub(1).map(CsId);
        let mark = snapshot.dirty(object.connector(), before, 1)?;
        drop(snapshot);
        self.dirty.extend(mark.into_iter().filter(|(id, _)| *id == object));
        if decree.is_none() {
            self.process(&[object])?;
            return self.follow();
        }
        let snapshot = self.store.snapshot()?;
        match snapshot.cs_object(object)? {
            Some(object) => self.batch(&snapshot, vec![Unit { decree, ..unit(&self.dirty, object) }])?,
            // Its mark has outlived it.
            None => {
                self.dirty.remove(&object);
            }
        }
        drop(snapshot);
        self.follow()
    }

    fn follow(&mut self) -> Result<(), StoreError> {
        for _ in 1..ROUNDS {
            // What failed waits for the next step, and what waits for a name or a target does, too.
            let follows = |reason: &DirtyReason| matches!(reason, DirtyReason::Consequence | DirtyReason::ReferenceResolved);
            let mut ids: Vec<CsId> = self.dirty.iter().filter(|(_, reason)| follows(reason)).map(|(id, _)| *id).collect();
            if ids.is_empty() || self.outcome.stopped {
                break;
            }
            ids.sort_unstable();
            self.process(&ids)?;
        }
        Ok(())
    }

    /// All objects of the connector that existed when the step began.
    fn scan(&mut self, end: u64) -> Result<(), StoreError> {
        let source = Source::Space { connector: self.request.connector, after: None, end };
        let suitors = self.pipeline(source, Some(Vec::new()))?;
        self.link_all(suitors)
    }

    /// The given objects, ascending.
    fn process(&mut self, ids: &[CsId]) -> Result<(), StoreError> {
        let suitors = self.pipeline(Source::Objects(ids), Some(Vec::new()))?;
        self.link_all(suitors)
    }

    fn link_all(&mut self, suitors: Vec<Suitor>) -> Result<(), StoreError> {
        if suitors.is_empty() || self.outcome.stopped {
            return Ok(());
        }
        let ids = {
            let snapshot = self.store.snapshot()?;
            self.prepare_index(&snapshot, suitors.len() as u64)?;
            in_order(&snapshot, suitors)?
        };
        self.pipeline(Source::Objects(&ids), None).map(drop)
    }

    /// Objects in their order, batch by batch. While a batch is written, the units of the next are planned as things stood
    /// before it; what it wrote under their feet is planned again.
    ///
    /// With `suitors`, objects that look for a partner are not planned but added to them: they come when all others are
    /// done. Whether an object is one is seen as things stood before the batch ahead of it, as it is within a batch.
    fn pipeline(&mut self, mut source: Source<'_>, mut suitors: Option<Vec<Suitor>>) -> Result<Vec<Suitor>, StoreError> {
        let (size, sorted) = (self.batch_size(), suitors.is_some());
        let look = Look { book: self.book, size, sorted };
        let mut stale = Footprints::default();
        let mut ahead = look.ahead(&mut source, &self.store.snapshot()?, self.index.as_ref(), &self.dirty)?;
        while let Some(Ahead { mut plans, suitors: found, lost }) = ahead {
            let _batch = tracing::info_span!(target: TRACED, "batch", objects = plans.len()).entered();
            if let Some(suitors) = &mut suitors {
                suitors.extend(found);
            }
            // Their marks have outlived them.
            for id in lost {
                self.dirty.remove(&id);
            }
            for plan in &mut plans {
                let mark = self.dirty.get(&plan.id).copied();
                plan.outdated = mark != plan.dirty;
                plan.dirty = mark;
            }
            let snapshot = self.store.snapshot()?;
            let plan = if plans.is_empty() { None } else { Some(self.plan(&snapshot, plans, &stale)?) };
            stale.clear();
            let (index, dirty) = (self.index.as_ref(), &self.dirty);
            let apply = &mut *self.apply;
            let mut next = Ok(None);
            rayon::in_place_scope(|scope| {
                let (next, snapshot, source) = (&mut next, &snapshot, &mut source);
                scope.spawn(move |_| *next = look.ahead(source, snapshot, index, dirty));
                let Some(mut plan) = plan else { return Ok(()) };
                stale = std::mem::take(&mut plan.written);
                apply(plan)
            })?;
            ahead = next?;
            if self.stop() {
                break;
            }
        }
        Ok(suitors.unwrap_or_default())
    }

    fn prepare_index(&mut self, snapshot: &Snapshot, lookups: u64) -> Result<(), StoreError> {
        // A delta costs what changed, also where that is much of a small directory.
        if self.index.is_some() || !self.request.full || lookups.saturating_mul(INDEX_SHARE) < snapshot.mv_count()? {
            return Ok(());
        }
        let mut index = JoinIndex::default();
        let mut after = None;
        loop {
            let objects = snapshot.mv_scan(after, BATCH)?;
            let Some(last) = objects.last() else { break };
            after = Some(last.id);
            for object in &objects {
                index.insert_object(object, &self.book.metaverse_keys);
            }
        }
        self.index = Some(index);
        Ok(())
    }

    fn batch(&mut self, snapshot: &Snapshot, units: Vec<Unit>) -> Result<(), StoreError> {
        let plans = plan_units(self.book, snapshot, self.index.as_ref(), units)?;
        let plan = self.plan(snapshot, plans, &Footprints::default())?;
        (self.apply)(plan)
    }

    /// Makes a batch of planned units, and takes note of what the rest of the step must know of it.
    fn plan(&mut self, snapshot: &Snapshot, plans: Vec<UnitPlan>, stale: &Footprints) -> Result<SyncPlan, StoreError> {
        let plan = plan(self.book, &self.request.connectors, snapshot, self.index.as_ref(), &mut self.sleepers, plans, stale)?;
        for (id, reason) in plan.dirty.iter().filter(|(id, _)| id.connector() == self.request.connector) {
            match reason {
                Some(reason) => self.dirty.insert(*id, *reason),
                None => self.dirty.remove(id),
            };
        }
        for id in &plan.changes.cs_delete {
            self.dirty.remove(id);
        }
        if let Some(index) = &mut self.index {
            for (key, mv) in &plan.join_keys {
                index.insert(*key, *mv);
            }
        }
        self.outcome.processed += plan.processed;
        self.outcome.failed += plan.failed;
        Ok(plan)
    }

    fn batch_size(&self) -> usize {
        self.request.batch.max(1)
    }

    fn stop(&mut self) -> bool {
        self.outcome.stopped |= self.cx.cancelled();
        self.outcome.stopped
    }
}

type Marks = HashMap<CsId, DirtyReason, KeyHash>;

fn unit(marks: &Marks, object: CsObject) -> Unit {
    let dirty = marks.get(&object.id).copied();
    Unit { object: Arc::new(object), dirty, decree: None }
}

/// Some objects of a pass.
struct Found {
    objects: Vec<CsObject>,
    /// Those that are not there any more.
    lost: Vec<CsId>,
}

/// The objects of a pass, in their order.
enum Source<'a> {
    /// These.
    Objects(&'a [CsId]),
    /// All of a space behind one of them, up to a number that the step found.
    Space { connector: ConnectorId, after: Option<CsId>, end: u64 },
}

impl Source<'_> {
    /// The next ones. `None` behind the last.
    fn next(&mut self, snapshot: &Snapshot, size: usize) -> Result<Option<Found>, StoreError> {
        match self {
            Self::Objects(rest) => {
                let (ids, behind) = rest.split_at(size.min(rest.len()));
                *rest = behind;
                if ids.is_empty() {
                    return Ok(None);
                }
                let found: Vec<_> = ids.par_iter().with_min_len(32).map(|id| snapshot.cs_object(*id)).collect::<Result<_, _>>()?;
                let lost = ids.iter().zip(&found).filter(|(_, object)| object.is_none()).map(|(id, _)| *id).collect();
                Ok(Some(Found { objects: found.into_iter().flatten().collect(), lost }))
            }
            Self::Space { connector, after, end } => {
                let mut objects = snapshot.cs_scan(*connector, *after, size)?;
                let Some(last) = objects.last() else { return Ok(None) };
                *after = Some(last.id);
                objects.retain(|object| object.id.sequence() < *end);
                Ok(if objects.is_empty() { None } else { Some(Found { objects, lost: Vec::new() }) })
            }
        }
    }
}

/// A batch of units, planned before its turn.
struct Ahead {
    plans: Vec<UnitPlan>,
    suitors: Vec<Suitor>,
    lost: Vec<CsId>,
}

/// How batches are planned before their turn.
#[derive(Clone, Copy)]
struct Look<'a> {
    book: &'a Rulebook<'a>,
    size: usize,
    /// Objects that look for a partner are put aside.
    sorted: bool,
}

impl Look<'_> {
    /// The next batch as things stand in the snapshot.
    fn ahead(
        self,
        source: &mut Source<'_>,
        snapshot: &Snapshot,
        index: Option<&JoinIndex>,
        marks: &Marks,
    ) -> Result<Option<Ahead>, StoreError> {
        let Some(Found { objects, lost }) = source.next(snapshot, self.size)? else { return Ok(None) };
        let mut units: Vec<Unit> = objects.into_iter().map(|object| unit(marks, object)).collect();
        let suitors = if self.sorted { self.put_aside(snapshot, &mut units)? } else { Vec::new() };
        Ok(Some(Ahead { plans: plan_units(self.book, snapshot, index, units)?, suitors, lost }))
    }

    /// Takes the objects out that look for a partner.
    fn put_aside(self, snapshot: &Snapshot, units: &mut Vec<Unit>) -> Result<Vec<Suitor>, StoreError> {
        let (overlay, failure) = (Overlay::default(), Failure::default());
        let view = View::new(snapshot, &overlay, &failure, self.book.memberships());
        let found: Vec<Option<Suitor>> = units.par_iter().with_min_len(32).map(|unit| suitor(self.book, &view, &unit.object)).collect();
        failure.take()?;
        let mut looking = found.iter().map(Option::is_some);
        units.retain(|_| !looking.next().unwrap_or(false));
        Ok(found.into_iter().flatten().collect())
    }
}

/// Objects with a pending import.
fn queued(snapshot: &Snapshot, connector: ConnectorId) -> Result<BTreeSet<CsId>, StoreError> {
    let mut ids = BTreeSet::new();
    let mut after = None;
    loop {
        let page = snapshot.queue(Stage::PendingImport, connector, after, 10 * BATCH)?;
        let Some(last) = page.last() else { break };
        after = Some(*last);
        ids.extend(page);
    }
    Ok(ids)
}

fn all_dirty(snapshot: &Snapshot, connector: ConnectorId) -> Result<Marks, StoreError> {
    let mut marks = HashMap::default();
    let mut after = None;
    loop {
        let page = snapshot.dirty(connector, after, 10 * BATCH)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        marks.extend(page);
    }
    Ok(marks)
}

/// The order of linking: by precedence; within it objects that share no join value by number, then those that do by
/// anchor.
fn in_order(snapshot: &Snapshot, suitors: Vec<Suitor>) -> Result<Vec<CsId>, StoreError> {
    let contested = contested(&suitors);
    let mut order = Vec::with_capacity(suitors.len());
    for (suitor, contested) in suitors.into_iter().zip(contested) {
        let by = if contested {
            let object = snapshot.cs_object(suitor.id)?;
            object.map(|object| (object.anchor, object.dn))
        } else {
            None
        };
        order.push((suitor.precedence, by.is_some(), by, suitor.id));
    }
    order.sort_unstable();
    Ok(order.into_iter().map(|(.., id)| id).collect())
}

/// Which objects share a join value with another.
fn contested(suitors: &[Suitor]) -> Vec<bool> {
    let mut keys: Vec<(u64, usize)> =
        suitors.iter().enumerate().flat_map(|(index, suitor)| suitor.keys.iter().map(move |key| (*key, index))).collect();
    keys.par_sort_unstable();
    let mut contested = vec![false; suitors.len()];
    for pair in keys.windows(2) {
        if pair[0].0 == pair[1].0 {
            contested[pair[0].1] = true;
            contested[pair[1].1] = true;
        }
    }
    contested
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_that_share_a_value_are_contested() {
        let suitor = |number, keys: &[u64]| Suitor { precedence: 1, id: CsId::new(ConnectorId(1), number), keys: keys.into() };
        assert_eq!(contested(&[suitor(1, &[5, 6]), suitor(2, &[7]), suitor(3, &[6])]), [true, false, true]);
    }
}
