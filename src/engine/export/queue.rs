//! What is to be sent, counted and put in order before the first call.

use super::deltas;
use super::names::{Exchange, First, Unique};
use super::{DeleteSet, ExportLimits, StandIns};
use crate::connector::ExportTerms;
use crate::model::{ConnectorId, CsId, CsObject, DeltaKind, Dn, ErrorSide, Stage};
use crate::store::{Snapshot, StoreError};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How many ids one read asks for.
const PAGE: usize = 10_000;

/// What is pending for a target, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportSummary {
    /// Objects to be created.
    pub adds: u64,
    /// Objects to be changed, without renames.
    pub updates: u64,
    /// Objects to be renamed or moved.
    pub renames: u64,
    /// Objects to be removed.
    pub deletes: u64,
    /// Names the set of deletes, so that an allowance cannot be used for another one.
    deletes_fingerprint: u64,
}

impl ExportSummary {
    /// Counts what is pending.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(snapshot: &Snapshot, connector: ConnectorId) -> Result<Self, StoreError> {
        let mut summary = Self::default();
        each(snapshot, connector, &mut |object| {
            summary.take(object);
            Ok(())
        })?;
        Ok(summary)
    }

    /// Everything that waits, in objects.
    pub fn all(&self) -> u64 {
        self.adds + self.updates + self.renames + self.deletes
    }

    /// Which objects are to be removed.
    pub fn delete_set(&self) -> DeleteSet {
        DeleteSet { count: self.deletes, fingerprint: self.deletes_fingerprint }
    }

    /// How many deletes may be sent: the strictest of all limits, ours and the target's; nothing where there is none. A share is one
    /// of the objects known to exist in the target; without one of our own, it is half of them and no fewer than nine.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn delete_limit(
        &self,
        snapshot: &Snapshot,
        connector: ConnectorId,
        limits: &ExportLimits,
        terms: &ExportTerms,
    ) -> Result<Option<u64>, StoreError> {
        let known = snapshot.cs_anchored(connector)?;
        let (ours, our_percent) = if limits.delete_threshold { (limits.deletes_max, limits.delete_percent_max) } else { (None, None) };
        let percent = [our_percent, terms.delete_percent_max].into_iter().flatten().min();
        let share = percent.map(|percent| known.saturating_mul(u64::from(percent)) / 100);
        Ok([ours, terms.deletes_max, share, limits.half_of(known)].into_iter().flatten().min())
    }

    /// The same without deletes that are not sent.
    #[must_use]
    pub fn without(mut self, held: &BTreeSet<CsId>) -> Self {
        self.deletes = self.deletes.saturating_sub(held.len() as u64);
        for id in held {
            self.deletes_fingerprint = self.deletes_fingerprint.wrapping_sub(fingerprint(*id));
        }
        self
    }

    fn take(&mut self, object: &CsObject) {
        let pending = object.stage(Stage::PendingExport);
        match pending.kind {
            DeltaKind::None | DeltaKind::DeleteAdd => {}
            DeltaKind::Add => self.adds += 1,
            DeltaKind::Update if pending.rename.is_some() => self.renames += 1,
            DeltaKind::Update => self.updates += 1,
            DeltaKind::Delete => {
                self.deletes += 1;
                self.deletes_fingerprint = self.deletes_fingerprint.wrapping_add(fingerprint(object.id));
            }
        }
    }
}

/// What one delete adds to the name of a set of them.
fn fingerprint(id: CsId) -> u64 {
    xxh3_64_with_seed(&id.0.to_le_bytes(), 116)
}

impl DeleteSet {
    /// The name of a set of deletes.
    pub(super) fn of(objects: &BTreeSet<CsId>) -> Self {
        let fingerprint = objects.iter().fold(0_u64, |sum, id| sum.wrapping_add(fingerprint(*id)));
        Self { count: objects.len() as u64, fingerprint }
    }
}

/// Calls `each` for every object with a pending export.
pub(super) fn each(
    snapshot: &Snapshot,
    connector: ConnectorId,
    each: &mut dyn FnMut(&CsObject) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    each_in(snapshot, Stage::PendingExport, connector, each)
}

/// The same for every object with something in a stage.
fn each_in(
    snapshot: &Snapshot,
    stage: Stage,
    connector: ConnectorId,
    each: &mut dyn FnMut(&CsObject) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let ids = snapshot.queue(stage, connector, after, PAGE)?;
        for id in &ids {
            if let Some(object) = snapshot.cs_object(*id)? {
                each(&object)?;
            }
        }
        match ids.last() {
            Some(last) if ids.len() == PAGE => after = Some(*last),
            _ => return Ok(()),
        }
    }
}

/// The queue in the order of sending: numbers only, no bodies.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) summary: ExportSummary,
    /// By level: whoever is referred to, or is the parent, comes before whoever needs it.
    adds: BTreeMap<u32, Vec<CsId>>,
    /// By depth of the wanted name.
    updates: BTreeMap<usize, Vec<CsId>>,
    /// By depth of the name, deepest last in the map.
    deletes: BTreeMap<usize, Vec<CsId>>,
    /// Objects whose names this export changes.
    pub(super) moving: HashSet<CsId>,
    /// Names that change hands.
    pub(super) exchange: Exchange,
}

/// The queue, ready to be sent in this order.
pub(super) struct Waves {
    /// Whoever has names that others take.
    pub(super) first: First,
    /// Everything else before the deletes.
    pub(super) before: Vec<Vec<CsId>>,
    /// The other deletes, children first.
    pub(super) deletes: Vec<Vec<CsId>>,
}

impl Queue {
    pub(super) fn load(snapshot: &Snapshot, connector: ConnectorId, unique: &Unique) -> Result<Self, StoreError> {
        let mut queue = Self::default();
        let mut adds = Adds::default();
        each(snapshot, connector, &mut |object| {
            queue.summary.take(object);
            if !unique.is_empty() {
                queue.exchange.note(object, unique);
            }
            let pending = object.stage(Stage::PendingExport);
            let depth = |name: &str| Dn::parse(name).map_or(0, |dn| dn.depth());
            match pending.kind {
                DeltaKind::None | DeltaKind::DeleteAdd => {}
                DeltaKind::Add => {
                    adds.levels.insert(object.id, UNKNOWN);
                    // In flat targets nobody has a parent, and then nothing is kept.
                    if let Some(parent) = Dn::parse(&object.dn).ok().and_then(|dn| dn.parent()) {
                        adds.parents.extend(snapshot.cs_by_dn(connector, &parent.key())?.map(|parent| (object.id, parent)));
                    }
                }
                DeltaKind::Delete => queue.deletes.entry(depth(deltas::acknowledged_name(object))).or_default().push(object.id),
                DeltaKind::Update => {
                    // Only moves need their new parents first.
                    let wave = pending.rename.as_deref().map_or(0, depth);
                    if wave > 0 {
                        queue.moving.insert(object.id);
                    }
                    queue.updates.entry(wave).or_default().push(object.id);
                }
            }
            Ok(())
        })?;
        queue.adds = levels(snapshot, adds)?;
        if queue.exchange.frees_by_leaving() {
            for (id, side, error) in snapshot.errors(connector, None, usize::MAX)? {
                if side == ErrorSide::Export
                    && error.is_kept_aside()
                    && let Some(object) = snapshot.cs_object(id)?
                {
                    queue.exchange.note_kept_aside(&object, unique);
                }
            }
        }
        if queue.exchange.takes() {
            each_in(snapshot, Stage::InProgress, connector, &mut |object| {
                queue.exchange.note_unanswered(object, unique);
                Ok(())
            })?;
        }
        Ok(queue)
    }

    /// Leaves those where they are who take names that the target may still have: an import decides that first. Gives them.
    pub(super) fn leave_too_early(&mut self) -> BTreeSet<CsId> {
        let early = self.exchange.too_early();
        let lists = self.adds.values_mut().chain(self.updates.values_mut());
        lists.for_each(|list| list.retain(|id| !early.contains(id)));
        early
    }

    /// Takes out whoever goes by a stand-in and has a name to get, with those who have to go before them.
    pub(super) fn take_urgent(&mut self, waiting: &StandIns) -> Self {
        if waiting.is_empty() {
            return Self::default();
        }
        let mut urgent = Self { exchange: self.exchange.clone(), ..Self::default() };
        let queued = self.updated();
        let waiting: BTreeSet<CsId> = waiting.names.keys().filter(|id| queued.contains(id)).copied().collect();
        let ids = self.exchange.without_deletes(&waiting);
        for (depth, list) in &mut self.updates {
            let (now, later) = std::mem::take(list).into_iter().partition(|id| ids.contains(id));
            *list = later;
            urgent.updates.insert(*depth, now);
        }
        urgent
    }

    /// Everybody who is to be changed.
    pub(super) fn updated(&self) -> BTreeSet<CsId> {
        self.updates.values().flatten().copied().collect()
    }

    /// Leaves the deletes where they are. Gives them.
    pub(super) fn hold_deletes(&mut self) -> BTreeSet<CsId> {
        self.summary.deletes = 0;
        std::mem::take(&mut self.deletes).into_values().flatten().collect()
    }

    /// Leaves some deletes where they are.
    pub(super) fn hold(&mut self, held: &BTreeSet<CsId>) {
        self.deletes.values_mut().for_each(|list| list.retain(|id| !held.contains(id)));
        self.summary = self.summary.without(held);
    }

    /// Leaves everything but one object where it is.
    pub(super) fn keep(&mut self, only: CsId) {
        let lists = self.adds.values_mut().chain(self.updates.values_mut()).chain(self.deletes.values_mut());
        lists.for_each(|list| list.retain(|id| *id == only));
        self.moving.retain(|id| *id == only);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> u64 {
        let lists = self.adds.values().chain(self.updates.values()).chain(self.deletes.values());
        lists.map(|list| list.len() as u64).sum()
    }

    /// Whoever has names that others take, everything else before the deletes, and the other deletes, children first.
    pub(super) fn into_waves(mut self) -> Waves {
        let lists = self.adds.values().chain(self.updates.values()).chain(self.deletes.values());
        self.exchange.keep(lists.flatten().copied());
        let first = self.exchange.order();
        let early: HashSet<CsId> = first.ids().collect();
        let late = |mut list: Vec<CsId>| {
            list.retain(|id| !early.contains(id));
            list
        };
        let before = self.adds.into_values().chain(self.updates.into_values()).map(late).collect();
        let deletes = self.deletes.into_values().rev().map(late).filter(|list| !list.is_empty()).collect();
        Waves { first, before, deletes }
    }
}

/// Not looked at yet.
const UNKNOWN: u32 = u32::MAX;
/// Being looked at: whoever meets it again has found a circle.
const OPEN: u32 = u32::MAX - 1;

/// New objects, with their levels once these are known, and the parents of those that have one.
#[derive(Default)]
struct Adds {
    levels: HashMap<CsId, u32>,
    parents: HashMap<CsId, CsId>,
}

/// An object whose needs are being followed.
struct Visit {
    id: CsId,
    needs: Vec<CsId>,
    level: u32,
}

/// Puts new objects into levels: nobody needs anybody of the own level or a higher one. A circle is cut somewhere; the
/// reference that closes it is held back and sent later.
fn levels(snapshot: &Snapshot, mut adds: Adds) -> Result<BTreeMap<u32, Vec<CsId>>, StoreError> {
    let mut ids: Vec<CsId> = adds.levels.keys().copied().collect();
    ids.sort_unstable();
    for id in &ids {
        if adds.levels.get(id) != Some(&UNKNOWN) {
            continue;
        }
        adds.levels.insert(*id, OPEN);
        let mut path = vec![Visit { id: *id, needs: needs(snapshot, *id, &adds)?, level: 0 }];
        while let Some(visit) = path.last_mut() {
            if let Some(next) = visit.needs.pop() {
                match adds.levels.get(&next).copied() {
                    Some(UNKNOWN) => {
                        adds.levels.insert(next, OPEN);
                        let needs = needs(snapshot, next, &adds)?;
                        path.push(Visit { id: next, needs, level: 0 });
                    }
                    Some(OPEN) | None => {}
                    Some(level) => visit.level = visit.level.max(level + 1),
                }
            } else {
                let Some(done) = path.pop() else { break };
                adds.levels.insert(done.id, done.level);
                if let Some(above) = path.last_mut() {
                    above.level = above.level.max(done.level + 1);
                }
            }
        }
    }
    let mut levels: BTreeMap<u32, Vec<CsId>> = BTreeMap::new();
    for id in ids {
        let level = adds.levels.get(&id).copied().unwrap_or(0);
        levels.entry(level).or_default().push(id);
    }
    Ok(levels)
}

/// The new objects that a new object needs: those it refers to, and its parent.
fn needs(snapshot: &Snapshot, id: CsId, adds: &Adds) -> Result<Vec<CsId>, StoreError> {
    let rows = snapshot.cs_touched_references(id)?;
    let wanted = rows.iter().filter(|row| row.state.added(Stage::PendingExport)).map(|row| row.target);
    let mut needs: Vec<CsId> = wanted.filter(|target| *target != id && adds.levels.contains_key(target)).collect();
    needs.extend(adds.parents.get(&id).filter(|parent| adds.levels.contains_key(parent)));
    Ok(needs)
}
