//! A batch of units: planned in parallel against one view, laid down one after the other. A unit that read what an
//! earlier one of the batch wrote is planned again, so that the outcome is that of one unit after the other whatever
//! the number of threads. In the same way units may be planned while the batch before theirs is still being written:
//! those that read what it wrote are planned again.

use super::book::Rulebook;
use super::draft::{CsSlot, InboundReferences, MvSlot, OutboundReferences, TargetEvent, UnitError, is_provisional_cs, is_provisional_mv};
use super::keys::{footprint_join, footprint_metaverse, footprint_name, footprint_object};
use super::resolve;
use super::unit::{Inbound, Planned, Unit, UnitPlan, plan_unit};
use super::view::{Failure, Footprints, JoinIndex, Overlay, Table, View};
use crate::model::{AttrId, ConnectorId, CsId, CsObject, CsReference, Link, MvId, MvObject, ObjectErrorCode, ValueState};
use crate::rules::ReferenceSource;
use crate::store::{DirtyReason, Snapshot, StoreError};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Objects of the step's own connector that found no partner, by the join values they wait for.
#[derive(Debug, Default)]
pub(crate) struct Sleepers(Table<u128, Vec<CsId>>);

impl Sleepers {
    fn insert(&mut self, key: u128, id: CsId) {
        let list = self.0.entry(key).or_default();
        if !list.contains(&id) {
            list.push(id);
        }
    }

    fn get(&self, key: u128) -> &[CsId] {
        self.0.get(&key).map_or(&[], Vec::as_slice)
    }
}

/// One unit of the batch that was laid down.
#[derive(Debug)]
pub(crate) struct UnitRecord {
    pub(crate) id: CsId,
    pub(crate) inbound: Inbound,
    pub(crate) metaverse: Option<MvId>,
    pub(crate) changed: bool,
    pub(crate) removed: bool,
    pub(crate) dn: Box<str>,
    pub(crate) events: Vec<(CsId, TargetEvent)>,
    pub(crate) before: Option<Arc<MvObject>>,
}

/// References of a metaverse object to be followed, with what is known of its contributors' rows.
#[derive(Debug)]
pub(crate) struct InboundJob {
    pub(crate) references: InboundReferences,
    pub(crate) touched: Vec<CsReference>,
    pub(crate) loaded: BTreeMap<CsId, Arc<Vec<CsReference>>>,
}

/// A problem of one object.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) id: CsId,
    pub(crate) dn: Box<str>,
    pub(crate) code: ObjectErrorCode,
    pub(crate) detail: String,
}

/// Plans units in parallel, each for itself. Reads only.
pub(crate) fn plan_units(
    book: &Rulebook<'_>,
    snapshot: &Snapshot,
    index: Option<&JoinIndex>,
    units: Vec<Unit>,
) -> Result<Vec<UnitPlan>, StoreError> {
    let (overlay, failure) = (Overlay::default(), Failure::default());
    let view = View { index, ..View::new(snapshot, &overlay, &failure, book.memberships()) };
    let plans = units.into_par_iter().with_min_len(16).map(|unit| plan_unit(book, &view, unit)).collect();
    failure.take()?;
    Ok(plans)
}

/// Everything a batch has decided.
pub(crate) struct Batch<'a> {
    pub(crate) book: &'a Rulebook<'a>,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) index: Option<&'a JoinIndex>,
    pub(crate) failure: Failure,
    pub(crate) overlay: Overlay,
    /// Links that changed: before the batch, after it.
    pub(crate) presence: BTreeMap<CsId, (Option<MvId>, Option<MvId>)>,
    pub(crate) inbound: BTreeMap<MvId, InboundJob>,
    pub(crate) outbound: BTreeMap<CsId, OutboundReferences>,
    pub(crate) dirty: BTreeMap<CsId, Option<DirtyReason>>,
    pub(crate) hashes: Vec<CsId>,
    pub(crate) blobs: Vec<Vec<u8>>,
    pub(crate) units: Vec<UnitRecord>,
    pub(crate) problems: Vec<Problem>,
    /// Units that decided something by references: subject and metaverse object.
    pub(crate) readers: Vec<(CsId, MvId)>,
    /// Metaverse objects whose references changed, and target objects whose references changed.
    pub(crate) moved_mv: HashSet<MvId>,
    pub(crate) moved_targets: BTreeMap<CsId, MvId>,
    /// The first numbers that did not exist before the batch.
    pub(crate) first_mv: MvId,
    first_cs: BTreeMap<ConnectorId, u64>,
    next_mv: u64,
    next_cs: BTreeMap<ConnectorId, u64>,
    /// Metaverse objects written, for the step's join index.
    pub(crate) join_keys: Vec<(u128, MvId)>,
}

impl<'a> Batch<'a> {
    /// Lays units down in order. They were planned against this snapshot, or against one without the writes in `stale`.
    pub(crate) fn lay_down(
        book: &'a Rulebook<'a>,
        snapshot: &'a Snapshot,
        index: Option<&'a JoinIndex>,
        sleepers: &mut Sleepers,
        plans: Vec<UnitPlan>,
        stale: &Footprints,
    ) -> Result<Self, StoreError> {
        let first_mv = snapshot.mv_next()?;
        let mut batch = Self {
            book,
            snapshot,
            index,
            failure: Failure::default(),
            overlay: Overlay::default(),
            presence: BTreeMap::new(),
            inbound: BTreeMap::new(),
            outbound: BTreeMap::new(),
            dirty: BTreeMap::new(),
            hashes: Vec::new(),
            blobs: Vec::new(),
            units: Vec::with_capacity(plans.len()),
            problems: Vec::new(),
            readers: Vec::new(),
            moved_mv: HashSet::new(),
            moved_targets: BTreeMap::new(),
            first_mv,
            first_cs: BTreeMap::new(),
            next_mv: first_mv.0,
            next_cs: BTreeMap::new(),
            join_keys: Vec::new(),
        };
        for plan in plans {
            let Some(plan) = batch.renew(plan, stale)? else { continue };
            batch.lay(plan, sleepers)?;
        }
        batch.failure.take()?;
        resolve::follow_references(&mut batch)?;
        batch.failure.take()?;
        batch.keep_names()?;
        Ok(batch)
    }

    /// The batch as it stands.
    pub(crate) fn view(&self) -> View<'_> {
        View { index: self.index, ..View::new(self.snapshot, &self.overlay, &self.failure, self.book.memberships()) }
    }

    /// The plan itself when nothing it read was written since; else a new one. `None` when the object is gone.
    fn renew(&self, plan: UnitPlan, stale: &Footprints) -> Result<Option<UnitPlan>, StoreError> {
        let written = |read: &u64| self.overlay.written.contains(read) || stale.contains(read);
        if !plan.outdated && !plan.reads.iter().any(written) {
            return Ok(Some(plan));
        }
        let view = self.view();
        let Some(object) = view.cs(plan.id)? else { return Ok(None) };
        Ok(Some(plan_unit(self.book, &view, Unit { object, dirty: plan.dirty, decree: None })))
    }

    fn lay(&mut self, plan: UnitPlan, sleepers: &mut Sleepers) -> Result<(), StoreError> {
        let UnitPlan { id, dirty, result, .. } = plan;
        match result {
            Err(UnitError::Store(error)) => return Err(error),
            Err(UnitError::Object(code, detail)) => {
                let dn = self.view().cs(id)?.map_or_else(|| id.to_string().into(), |object| object.dn.clone());
                self.dirty.insert(id, Some(DirtyReason::SyncError));
                self.problems.push(Problem { id, dn, code, detail });
            }
            Ok(planned) => self.lay_planned(id, dirty, *planned, sleepers)?,
        }
        Ok(())
    }

    fn lay_planned(
        &mut self,
        id: CsId,
        dirty: Option<DirtyReason>,
        mut planned: Planned,
        sleepers: &mut Sleepers,
    ) -> Result<(), StoreError> {
        self.number(&mut planned)?;
        if dirty.is_some() || self.dirty.contains_key(&id) {
            self.dirty.insert(id, None);
        }
        if let Some(reason) = planned.retry {
            self.dirty.insert(id, Some(reason));
        }
        let subject = planned.cs.first();
        let dn = subject.and_then(|slot| slot.object.as_ref()).map(|object| object.dn.clone());
        let before = planned
            .metaverse
            .and_then(|mv| planned.mv.iter().find(|slot| slot.id == mv))
            .filter(|slot| slot.changed)
            .and_then(|slot| slot.before.clone());
        let dn = match dn {
            Some(dn) => dn,
            None => self.view().cs(id)?.map(|object| object.dn.clone()).unwrap_or_default(),
        };
        for slot in planned.cs {
            self.lay_object(slot);
        }
        for slot in planned.mv {
            self.lay_metaverse(slot);
        }
        for (connector, name, owner) in planned.names {
            self.overlay.written.insert(footprint_name(connector, &name));
            self.overlay.names.insert((connector, name), owner);
        }
        for row in planned.rows {
            self.overlay.cs_rows.entry(row.owner).or_default().insert((row.attr, row.target), row.state);
        }
        for (key, mv) in planned.keys {
            self.overlay.written.insert(footprint_join(key));
            let list = self.overlay.join.entry(key).or_default();
            if !list.contains(&mv) {
                list.push(mv);
            }
            self.join_keys.push((key, mv));
        }
        for key in planned.changed_keys {
            self.overlay.written.insert(footprint_join(key));
            for sleeper in sleepers.get(key) {
                if *sleeper != id {
                    self.wake(*sleeper)?;
                }
            }
        }
        for sleeper in planned.wakes {
            if sleeper != id {
                self.wake(sleeper)?;
            }
        }
        for key in planned.open_keys {
            sleepers.insert(key, id);
        }
        for (other, reason) in planned.dirty {
            self.dirty.insert(other, Some(reason));
        }
        self.hashes.extend(planned.hashes);
        self.blobs.append(&mut planned.blobs);
        if let (true, Some(mv)) = (planned.read_references, planned.metaverse) {
            self.readers.push((id, mv));
        }
        for references in planned.inbound_references {
            let mv = references.mv;
            let whole = self.inbound.get(&mv).is_some_and(|job| job.references.whole);
            let mut touched = self.inbound.remove(&mv).map(|job| job.touched).unwrap_or_default();
            touched.extend(planned.touched_rows.iter().copied());
            let references = InboundReferences { whole: whole || references.whole, ..references };
            let loaded = references
                .flows
                .iter()
                .filter_map(|flow| planned.loaded_rows.get_key_value(&CsId(flow.owner)))
                .map(|(owner, rows)| (*owner, Arc::clone(rows)))
                .collect();
            self.inbound.insert(mv, InboundJob { references, touched, loaded });
        }
        for references in planned.outbound_references {
            let earlier = self.outbound.remove(&references.target);
            let whole = references.whole || earlier.as_ref().is_some_and(|job| job.whole);
            let mut rows = earlier.map(|job| job.rows).unwrap_or_default();
            rows.extend_from_slice(&references.rows);
            self.outbound.insert(references.target, OutboundReferences { whole, rows, ..references });
        }
        if planned.inbound != Inbound::Placeholder {
            self.units.push(UnitRecord {
                id,
                inbound: planned.inbound,
                metaverse: planned.metaverse,
                changed: planned.settled.changed,
                removed: planned.settled.removed,
                dn,
                events: planned.events,
                before,
            });
        }
        Ok(())
    }

    /// Objects that go while others still refer to them leave their name and their key behind, until those others' news arrive.
    fn keep_names(&mut self) -> Result<(), StoreError> {
        let gone: Vec<CsId> = self.overlay.cs.iter().filter(|(_, object)| object.is_none()).map(|(id, _)| *id).collect();
        for id in gone {
            let mut referred = false;
            for (attr, owner) in self.snapshot.cs_referrers(id)? {
                let owner_stays = !matches!(self.overlay.cs.get(&owner), Some(None));
                referred |= owner_stays && !self.row_state(owner, attr, id)?.is_absent();
            }
            let Some(object) = self.snapshot.cs_object(id)?.filter(|_| referred) else { continue };
            let mut placeholder = object.into_placeholder();
            if let Some(key) = &placeholder.anchor
                && self.snapshot.cs_by_anchor(id.connector(), key.as_bytes())?.is_some_and(|holder| holder != id)
            {
                placeholder.anchor = None;
            }
            self.overlay.cs.insert(id, Some(Arc::new(placeholder)));
            self.hashes.push(id);
            self.dirty.insert(id, None);
        }
        Ok(())
    }

    /// Marks an object that may find a partner now.
    fn wake(&mut self, id: CsId) -> Result<(), StoreError> {
        if self.dirty.get(&id).is_some_and(Option::is_some) {
            return Ok(());
        }
        if matches!(self.view().cs_link(id)?, Some(Link::Disconnected)) {
            self.dirty.insert(id, Some(DirtyReason::Consequence));
        }
        Ok(())
    }

    fn lay_object(&mut self, slot: CsSlot) {
        if !slot.changed {
            return;
        }
        let after = slot.object.as_ref().and_then(|object| object.link.mv());
        if slot.link_before != after {
            let entry = self.presence.entry(slot.id).or_insert((slot.link_before, after));
            entry.1 = after;
        }
        if slot.object.is_none() {
            self.outbound.remove(&slot.id);
            if is_provisional_cs(slot.id) {
                return;
            }
        }
        self.overlay.written.insert(footprint_object(slot.id));
        self.overlay.cs.insert(slot.id, slot.object);
    }

    fn lay_metaverse(&mut self, slot: MvSlot) {
        if !slot.changed && !slot.links_changed || slot.object.is_none() && is_provisional_mv(slot.id) {
            return;
        }
        self.overlay.written.insert(footprint_metaverse(slot.id));
        if slot.object.is_none() {
            self.inbound.remove(&slot.id);
        }
        if slot.changed {
            self.overlay.mv.insert(slot.id, slot.object);
        }
        if slot.links_changed {
            self.overlay.links.insert(slot.id, slot.links);
        }
    }

    /// True for objects that the batch made, of which nothing can be stored yet.
    pub(crate) fn is_new_object(&self, id: CsId) -> bool {
        self.first_cs.get(&id.connector()).is_some_and(|first| id.sequence() >= *first)
    }

    /// True for metaverse objects that the batch made.
    pub(crate) fn is_new_metaverse(&self, id: MvId) -> bool {
        id >= self.first_mv
    }

    /// Gives the objects that a unit makes their numbers.
    fn number(&mut self, planned: &mut Planned) -> Result<(), StoreError> {
        let mut metaverse: Vec<(MvId, MvId)> = Vec::new();
        for slot in planned.mv.iter().filter(|slot| is_provisional_mv(slot.id) && slot.object.is_some()) {
            metaverse.push((slot.id, MvId(self.next_mv)));
            self.next_mv += 1;
        }
        let mut spaces: Vec<(CsId, CsId)> = Vec::new();
        for slot in planned.cs.iter().filter(|slot| is_provisional_cs(slot.id) && slot.object.is_some()) {
            let connector = slot.id.connector();
            let next = if let Some(next) = self.next_cs.get(&connector) {
                *next
            } else {
                let next = self.snapshot.cs_next_sequence(connector)?;
                self.first_cs.insert(connector, next);
                next
            };
            self.next_cs.insert(connector, next + 1);
            spaces.push((slot.id, CsId::new(connector, next)));
        }
        if metaverse.is_empty() && spaces.is_empty() {
            return Ok(());
        }
        let mv = |id: MvId| metaverse.iter().find(|(from, _)| *from == id).map_or(id, |(_, to)| *to);
        let cs = |id: CsId| spaces.iter().find(|(from, _)| *from == id).map_or(id, |(_, to)| *to);
        for slot in &mut planned.cs {
            slot.id = cs(slot.id);
            if let Some(object) =
                slot.object.as_mut().filter(|object| object.id != slot.id || object.link.mv().is_some_and(|id| mv(id) != id))
            {
                let object: &mut CsObject = Arc::make_mut(object);
                object.id = slot.id;
                object.link = match object.link {
                    Link::Connected { mv: id, by } => Link::Connected { mv: mv(id), by },
                    Link::ExplicitlyConnected { mv: id } => Link::ExplicitlyConnected { mv: mv(id) },
                    link => link,
                };
            }
        }
        for slot in &mut planned.mv {
            slot.id = mv(slot.id);
            slot.links.iter_mut().for_each(|link| *link = cs(*link));
            slot.links.sort_unstable();
            let stale = |object: &Arc<MvObject>| object.id != slot.id || object.lineage.iter().any(|entry| is_provisional_cs(entry.source));
            if let Some(object) = slot.object.as_mut().filter(|object| stale(object)) {
                let object = Arc::make_mut(object);
                object.id = slot.id;
                object.lineage.iter_mut().for_each(|entry| entry.source = cs(entry.source));
            }
        }
        for row in &mut planned.rows {
            row.owner = cs(row.owner);
            row.target = cs(row.target);
        }
        for (.., owner) in &mut planned.names {
            *owner = owner.map(cs);
        }
        for references in &mut planned.inbound_references {
            references.mv = mv(references.mv);
            for flow in &mut references.flows {
                flow.owner = cs(CsId(flow.owner)).0;
                if let ReferenceSource::Targets(targets) = &mut flow.source {
                    for target in targets {
                        *target = cs(CsId(*target)).0;
                    }
                }
            }
        }
        for references in &mut planned.outbound_references {
            references.mv = mv(references.mv);
            references.target = cs(references.target);
            references.flows.iter_mut().for_each(|flow| flow.owner = mv(MvId(flow.owner)).0);
        }
        planned.loaded_rows = std::mem::take(&mut planned.loaded_rows).into_iter().map(|(owner, rows)| (cs(owner), rows)).collect();
        planned.events.iter_mut().for_each(|(id, _)| *id = cs(*id));
        planned.keys.iter_mut().for_each(|(_, id)| *id = mv(*id));
        planned.dirty.iter_mut().for_each(|(id, _)| *id = cs(*id));
        planned.metaverse = planned.metaverse.map(mv);
        Ok(())
    }

    /// Changes a row and remembers which object it belongs to.
    pub(crate) fn put_row(&mut self, row: CsReference) {
        self.overlay.cs_rows.entry(row.owner).or_default().insert((row.attr, row.target), row.state);
    }

    /// The state of one reference as the batch leaves it.
    pub(crate) fn row_state(&self, owner: CsId, attr: AttrId, target: CsId) -> Result<ValueState, StoreError> {
        if let Some(state) = self.overlay.cs_rows.get(&owner).and_then(|rows| rows.get(&(attr, target))) {
            return Ok(*state);
        }
        if self.is_new_object(owner) {
            return Ok(ValueState::ABSENT);
        }
        self.snapshot.cs_reference(owner, attr, target)
    }
}
