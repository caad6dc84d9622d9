//! One connector-space object with everything that follows from it: the unit that is kept whole or not at all
//! (specification: sync engine 3.2).

use super::book::Rulebook;
use super::contribute::{Compare, Settled};
use super::draft::{CsSlot, Draft, InboundReferences, MvSlot, OutboundReferences, TargetEvent, UnitError};
use super::image::CsImage;
use super::keys::join_key;
use super::link::{Decision, ties};
use super::stages::wanted_exists;
use super::view::View;
use crate::engine::base::{commit_import, commit_reference};
use crate::model::{
    ConnectorId, CsId, CsObject, CsReference, DeltaKind, DnKey, FlatValues, Link, MvId, ObjectErrorCode, ObjectType, RawItem, Stage,
    StageMask, ValueState, Values,
};
use crate::rules::{Direction, JoinRequest, ScopeSet};
use crate::store::{DirtyReason, StoreError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a batch is made of.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// The object.
    pub(crate) object: Arc<CsObject>,
    /// Why it is evaluated again, when it has no news of its own.
    pub(crate) dirty: Option<DirtyReason>,
    /// What an administrator decided about it.
    pub(crate) decree: Option<Decree>,
}

/// What an administrator decides about one object, whatever rules say (specification: administration surface, section 5,
/// Joiner).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decree {
    /// It belongs to this metaverse object; scope does not break the link.
    Join(MvId),
    /// It becomes a metaverse object of this type, and stays linked to it.
    Project(ObjectType),
    /// It is taken off its metaverse object.
    Disconnect {
        /// For good: it is not considered again until somebody joins or projects it.
        explicit: bool,
    },
}

/// What happened to the object itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    /// A placeholder: not processed and not counted.
    Placeholder,
    /// A disconnector that no rule wants.
    Filtered,
    /// A disconnector that stays one.
    Remains,
    /// Joined now.
    Joined,
    /// Projected now.
    Projected,
    /// A connector that left scope.
    LeftScope,
    /// A connector before and after.
    Connected,
    /// Gone from its directory.
    Deleted,
    /// Became another type.
    Retyped,
}

/// A unit that could be planned: what is to be written, and what must be looked at after it. Owns everything.
#[derive(Debug)]
pub(crate) struct Planned {
    /// Objects read or changed.
    pub(crate) cs: Vec<CsSlot>,
    /// Metaverse objects read or changed.
    pub(crate) mv: Vec<MvSlot>,
    /// Reference rows changed.
    pub(crate) rows: Vec<CsReference>,
    /// Contents of large values.
    pub(crate) blobs: Vec<Vec<u8>>,
    /// Other objects that must be evaluated.
    pub(crate) dirty: Vec<(CsId, DirtyReason)>,
    /// Objects whose image hash is no longer true.
    pub(crate) hashes: Vec<CsId>,
    /// Names taken and freed.
    pub(crate) names: Vec<(ConnectorId, DnKey, Option<CsId>)>,
    /// References that the subject's import touched, as they were.
    pub(crate) touched_rows: Vec<CsReference>,
    /// References loaded, by owner, as they will be.
    pub(crate) loaded_rows: BTreeMap<CsId, Arc<Vec<CsReference>>>,
    /// References of the metaverse to follow.
    pub(crate) inbound_references: Vec<InboundReferences>,
    /// References of targets to follow.
    pub(crate) outbound_references: Vec<OutboundReferences>,
    /// What happened to targets.
    pub(crate) events: Vec<(CsId, TargetEvent)>,
    /// A decision hung on references that this batch may change.
    pub(crate) read_references: bool,
    /// The unit must be tried again.
    pub(crate) retry: Option<DirtyReason>,
    /// What happened to the object.
    pub(crate) inbound: Inbound,
    /// The metaverse object it has or had.
    pub(crate) metaverse: Option<MvId>,
    /// What happened to the metaverse object.
    pub(crate) settled: Settled,
    /// Join values that metaverse objects gained or lost.
    pub(crate) changed_keys: Vec<u128>,
    /// Join values of metaverse objects as they will be.
    pub(crate) keys: Vec<(u128, MvId)>,
    /// Join values that the object goes on waiting for.
    pub(crate) open_keys: Vec<u128>,
    /// Objects that wait for a value that appeared or went.
    pub(crate) wakes: Vec<CsId>,
}

/// The outcome of planning one unit.
#[derive(Debug)]
pub(crate) struct UnitPlan {
    /// The object.
    pub(crate) id: CsId,
    /// Why it was evaluated again.
    pub(crate) dirty: Option<DirtyReason>,
    /// Footprints of everything read.
    pub(crate) reads: Vec<u64>,
    /// What it began with is not true any more: it must be planned again whatever it read.
    pub(crate) outdated: bool,
    /// The plan, or the object's problem.
    pub(crate) result: Result<Box<Planned>, UnitError>,
}

/// Plans one unit against a view. Reads only.
pub(crate) fn plan_unit(book: &Rulebook<'_>, view: &View<'_>, unit: Unit) -> UnitPlan {
    let id = unit.object.id;
    let noted = Mutex::default();
    let view = &View { noted: Some(&noted), ..*view };
    let mut draft = Draft::new(book, view, unit.object);
    draft.retrying = unit.dirty.is_some();
    let mut work = Work { draft, open_keys: Vec::new(), settled: Settled::default(), mv: None };
    let inbound = unbroken(|| match unit.decree {
        Some(decree) => work.obey(decree),
        None => work.run(unit.dirty),
    });
    let mut reads = std::mem::take(&mut work.draft.reads);
    let result = inbound.and_then(|inbound| {
        let draft = work.draft;
        let mut planned = Planned {
            cs: draft.cs,
            mv: draft.mv,
            rows: draft.row_changes.into_values().collect(),
            blobs: draft.blobs,
            dirty: draft.dirty,
            hashes: draft.hashes,
            names: draft.names,
            touched_rows: draft.touched_rows,
            loaded_rows: draft.rows,
            inbound_references: draft.inbound,
            outbound_references: draft.outbound,
            events: draft.events,
            read_references: draft.read_references,
            retry: draft.retry,
            inbound,
            metaverse: work.mv,
            settled: work.settled,
            changed_keys: Vec::new(),
            keys: Vec::new(),
            open_keys: work.open_keys,
            wakes: Vec::new(),
        };
        planned.find_sleepers(book, view)?;
        Ok(Box::new(planned))
    });
    reads.append(&mut noted.lock().unwrap_or_else(PoisonError::into_inner));
    UnitPlan { id, dirty: unit.dirty, reads, outdated: false, result }
}

/// Does the work of one unit; a broken promise of our own in it is that object's problem and nobody else's.
fn unbroken<T>(work: impl FnOnce() -> Result<T, UnitError>) -> Result<T, UnitError> {
    // What the work had noted is dropped with its draft, so nobody sees it half-done.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let said = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
        let detail = format!(
            "Syncline itself failed while it worked on this object, which stays as it was: {}. Please report it with this text",
            said.unwrap_or("no reason was given")
        );
        Err(UnitError::Object(ObjectErrorCode::UNEXPECTED_ERROR, detail))
    })
}

struct Work<'v> {
    draft: Draft<'v>,
    open_keys: Vec<u128>,
    settled: Settled,
    mv: Option<MvId>,
}

impl Work<'_> {
    fn run(&mut self, dirty: Option<DirtyReason>) -> Result<Inbound, UnitError> {
        let id = self.draft.subject;
        let Some(object) = self.draft.cs(id)? else { return Ok(Inbound::Placeholder) };
        if object.link == Link::Placeholder {
            return Ok(Inbound::Placeholder);
        }
        let news = object.stage(Stage::PendingImport).kind;
        if news == DeltaKind::Delete {
            drop(object);
            return self.delete(id);
        }
        let mut left = None;
        if news == DeltaKind::DeleteAdd {
            left = object.link.mv();
            if left.is_some() {
                drop(object);
                self.draft.unlink(id, Link::Disconnected)?;
            }
        } else {
            drop(object);
        }
        if news != DeltaKind::None {
            self.consume(id)?;
        }
        let Some(object) = self.draft.cs(id)? else { return Ok(Inbound::Placeholder) };
        if object.link == Link::ExplicitlyDisconnected {
            return Ok(Inbound::Remains);
        }
        if object.link.mv().is_none() && !wanted_exists(&object) {
            // It is on its way out, and only a metaverse object that wants it back may stop that.
            self.settle_left(left, None)?;
            return Ok(Inbound::Remains);
        }
        let scope = self.draft.inbound_scope(id, &object)?;
        let mut inbound = Inbound::Connected;
        match object.link {
            Link::Connected { mv, by } => {
                let inbound_tie = self.draft.book.rules.rule(by).is_none_or(|rule| rule.direction == Direction::Inbound);
                if inbound_tie && scope.get(by).is_none() {
                    drop(object);
                    if let Some(next) = scope.rules.iter().find(|rule| ties(rule)) {
                        let by = next.id;
                        self.draft.edit(id, |object| object.link = Link::Connected { mv, by })?;
                    } else {
                        self.draft.unlink(id, Link::DisconnectedByFilter)?;
                        self.draft.let_go(id, false)?;
                        left = Some(mv);
                        inbound = Inbound::LeftScope;
                    }
                }
            }
            Link::Disconnected | Link::DisconnectedByFilter => {
                inbound = self.connect(&object, &scope, left.is_some())?;
            }
            _ => {}
        }
        let now = self.draft.cs(id)?.and_then(|object| object.link.mv());
        self.settle_left(left, now)?;
        let compare = if self.draft.book.full || dirty.is_some() { Compare::All } else { Compare::One(id.connector()) };
        if let Some(mv) = now {
            self.mv = Some(mv);
            self.settled = self.draft.settle(mv, compare)?;
        } else if matches!(inbound, Inbound::Remains | Inbound::Filtered) && self.offer(id)? {
            inbound = Inbound::Joined;
        }
        if news == DeltaKind::DeleteAdd && left.is_some() {
            inbound = Inbound::Retyped;
        }
        Ok(inbound)
    }

    /// Does what an administrator decided.
    fn obey(&mut self, decree: Decree) -> Result<Inbound, UnitError> {
        let id = self.draft.subject;
        let Some(object) = self.draft.cs(id)? else { return Ok(Inbound::Placeholder) };
        let news = object.stage(Stage::PendingImport).kind;
        if object.link == Link::Placeholder || matches!(news, DeltaKind::Delete | DeltaKind::DeleteAdd) {
            let detail = format!("{} is not there any more, or becomes another type: synchronize it first", object.dn);
            return Draft::problem(ObjectErrorCode::UNEXPECTED_ERROR, detail);
        }
        let (before, link, dn) = (object.link.mv(), object.link, object.dn.clone());
        drop(object);
        if news != DeltaKind::None {
            self.consume(id)?;
        }
        let inbound = match decree {
            Decree::Join(mv) if before == Some(mv) => {
                self.draft.edit(id, |object| object.link = Link::ExplicitlyConnected { mv })?;
                Inbound::Connected
            }
            Decree::Join(mv) => {
                if self.draft.mv(mv)?.is_none() || self.draft.link_in(mv, id.connector())?.is_some() {
                    let detail = format!("{dn} cannot be joined to metaverse object {mv}: it is gone, or has an object of this connector");
                    return Draft::problem(ObjectErrorCode::AMBIGUOUS_JOIN, detail);
                }
                self.draft.link(id, Link::ExplicitlyConnected { mv })?;
                Inbound::Joined
            }
            Decree::Project(object_type) => {
                let mv = self.draft.project(object_type);
                self.draft.link(id, Link::ExplicitlyConnected { mv })?;
                Inbound::Projected
            }
            Decree::Disconnect { explicit } => {
                let to = if explicit { Link::ExplicitlyDisconnected } else { Link::Disconnected };
                if before.is_some() {
                    self.draft.unlink(id, to)?;
                    self.draft.let_go(id, false)?;
                } else if link != to {
                    self.draft.edit(id, |object| object.link = to)?;
                }
                if !explicit {
                    // Free again means that the next step looks at it, a delta as well as a full one.
                    self.draft.retry = Some(DirtyReason::RetryProvisioning);
                }
                if before.is_some() { Inbound::LeftScope } else { Inbound::Remains }
            }
        };
        let now = self.draft.cs(id)?.and_then(|object| object.link.mv());
        self.settle_left(before, now)?;
        if let Some(mv) = now {
            self.mv = Some(mv);
            self.settled = self.draft.settle(mv, Compare::All)?;
        }
        Ok(inbound)
    }

    /// Joins, projects or leaves an unlinked object.
    fn connect(&mut self, object: &Arc<CsObject>, scope: &ScopeSet, relinking: bool) -> Result<Inbound, UnitError> {
        let id = object.id;
        let requests = self.requests(object, scope)?;
        Ok(match self.draft.decide(object, scope, &requests)? {
            Decision::Join(mv, by) => {
                self.draft.link(id, Link::Connected { mv, by })?;
                Inbound::Joined
            }
            Decision::Project(object_type, by) => {
                let mv = self.draft.project(object_type);
                self.draft.link(id, Link::Connected { mv, by })?;
                Inbound::Projected
            }
            Decision::Remain => {
                if object.link != Link::Disconnected {
                    self.draft.edit(id, |object| object.link = Link::Disconnected)?;
                }
                self.open_keys = open_keys(&requests);
                self.lapse(id, relinking)?;
                Inbound::Remains
            }
            Decision::Filtered => {
                if object.link != Link::DisconnectedByFilter {
                    self.draft.edit(id, |object| object.link = Link::DisconnectedByFilter)?;
                }
                self.lapse(id, relinking)?;
                Inbound::Filtered
            }
        })
    }

    /// An object that lost its metaverse object and found no other has nothing to wish for any more.
    fn lapse(&mut self, id: CsId, relinking: bool) -> Result<(), UnitError> {
        if relinking {
            self.draft.let_go(id, false)?;
        }
        Ok(())
    }

    fn requests(&mut self, object: &Arc<CsObject>, scope: &ScopeSet) -> Result<Vec<JoinRequest>, UnitError> {
        if !scope.rules.iter().any(|rule| rule.joins) {
            return Ok(Vec::new());
        }
        let rows = self.draft.image_rows(object.id)?;
        let image = CsImage::new(self.draft.view, object, rows);
        Ok(self.draft.book.rules.joins(scope, &image)?)
    }

    fn settle_left(&mut self, left: Option<MvId>, now: Option<MvId>) -> Result<(), UnitError> {
        if let Some(mv) = left.filter(|mv| now != Some(*mv)) {
            self.mv = Some(mv);
            self.settled = self.draft.settle(mv, Compare::All)?;
        }
        Ok(())
    }

    /// The directory no longer has the object (specification: sync engine 3.2).
    fn delete(&mut self, id: CsId) -> Result<Inbound, UnitError> {
        let mv = self.draft.cs(id)?.and_then(|object| object.link.mv());
        self.draft.remove(id)?;
        if let Some(mv) = mv {
            self.mv = Some(mv);
            self.settled = self.draft.settle(mv, Compare::All)?;
        }
        Ok(Inbound::Deleted)
    }

    /// Makes what was imported the base, references included.
    fn consume(&mut self, id: CsId) -> Result<(), UnitError> {
        let mut rows = self.draft.touched(id)?;
        rows.retain(|row| row.state.touched(Stage::PendingImport));
        self.draft.touched_rows = rows;
        self.draft.edit(id, |object| {
            commit_import(object);
        })?;
        if !self.draft.touched_rows.is_empty() {
            self.draft.edit_rows(id, |row| commit_reference(*row))?;
            let watched = self.draft.cs(id)?.is_some_and(|object| self.draft.book.is_watched(id.connector(), &object.dn));
            if watched {
                let members = self.draft.touched_rows.iter().map(|row| (row.target, DirtyReason::Consequence));
                self.draft.dirty.extend(members);
            }
        }
        Ok(())
    }

    /// Metaverse objects whose outbound rules look for an object like this one get their chance: without it, an
    /// object that a target shows late would be found by a full synchronization of the source only.
    fn offer(&mut self, id: CsId) -> Result<bool, UnitError> {
        let connector = id.connector();
        let pairs = self.draft.book.reverse(connector);
        if pairs.is_empty() {
            return Ok(false);
        }
        let Some(object) = self.draft.cs(id)? else { return Ok(false) };
        let mut candidates = Vec::new();
        for (space, metaverse) in pairs {
            for value in Values::staged(&object.values, *space, StageMask::WANTED) {
                let key = join_key(*metaverse, value);
                self.draft.reads.push(super::keys::footprint_join(key));
                candidates.extend(self.draft.metaverse_candidates(*metaverse, value, key)?);
            }
        }
        drop(object);
        candidates.sort_unstable();
        candidates.dedup();
        for mv in candidates {
            if self.draft.link_in(mv, connector)?.is_some() || self.draft.mv(mv)?.is_none() {
                continue;
            }
            let settled = self.draft.settle(mv, Compare::One(connector))?;
            let linked = self.draft.cs(id)?.and_then(|object| object.link.mv());
            if linked.is_some() {
                self.mv = linked;
                self.settled = settled;
                self.open_keys.clear();
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn open_keys(requests: &[JoinRequest]) -> Vec<u128> {
    let clauses = requests.iter().flat_map(|request| &request.groups).flat_map(|group| &group.clauses);
    let mut keys: Vec<u128> = clauses.map(|clause| join_key(clause.partner, clause.value.as_ref())).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

impl Planned {
    /// Join values that appeared or went, and who waits for them.
    fn find_sleepers(&mut self, book: &Rulebook<'_>, view: &View<'_>) -> Result<(), StoreError> {
        let empty = FlatValues::default();
        for slot in self.mv.iter().filter(|slot| slot.changed) {
            for attr in &book.metaverse_keys {
                let [before, after] = [&slot.before, &slot.object].map(|object| object.as_ref().map_or(&empty, |object| &object.values));
                self.keys.extend(after.attribute(*attr).map(|item| (join_key(*attr, item.value), slot.id)));
                let gone = before.raw_attribute(*attr).filter(|item| !after.has(*item));
                let come = after.raw_attribute(*attr).filter(|item| !before.has(*item));
                for value in gone.chain(come).map(RawItem::value) {
                    self.changed_keys.push(join_key(*attr, value));
                    for (connector, space) in book.wakes(*attr) {
                        if book.everything && *connector == book.connector {
                            // Everything of this connector is evaluated in this step; who is still to come sees the
                            // value, and who came before is remembered by its open keys.
                            continue;
                        }
                        self.wakes.extend(view.cs_candidates(*connector, *space, value)?);
                    }
                }
            }
        }
        self.wakes.sort_unstable();
        self.wakes.dedup();
        Ok(())
    }
}

/// What the order of linking needs to know of an unlinked object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suitor {
    /// Precedence of the first rule that could tie it.
    pub(crate) precedence: u32,
    /// The object.
    pub(crate) id: CsId,
    /// Footprints of join values it looks for or will give: two objects that share one want, perhaps, the same partner.
    pub(crate) keys: Box<[u64]>,
}

/// Looks at an object that may join or project. `None` when it can be planned at once: it is linked, deleted, or no
/// rule would tie it, or its evaluation fails, which its unit will report.
pub(crate) fn suitor(book: &Rulebook<'_>, view: &View<'_>, object: &CsObject) -> Option<Suitor> {
    let news = object.stage(Stage::PendingImport).kind;
    let free = match object.link {
        Link::Disconnected | Link::DisconnectedByFilter => true,
        Link::Connected { .. } | Link::ExplicitlyConnected { .. } => news == DeltaKind::DeleteAdd,
        Link::Placeholder | Link::ExplicitlyDisconnected => false,
    };
    if !free || news == DeltaKind::Delete {
        return None;
    }
    let image = CsImage::new(view, object, None);
    let scope = book.rules.inbound_scope(object.id.connector(), &image, book.run).ok()?;
    let first = scope.rules.iter().find(|rule| ties(rule))?;
    let precedence = book.rules.rule(first.id).map_or(u32::MAX, |rule| rule.precedence);
    let requests = if scope.rules.iter().any(|rule| rule.joins) { book.rules.joins(&scope, &image).ok()? } else { Vec::new() };
    let mut keys = open_keys(&requests);
    for rule in &scope.rules {
        for (source, target) in book.own_keys(rule.id) {
            let values = object.values.attribute(*source).filter(|item| ValueState(item.flags).present(StageMask::WANTED));
            keys.extend(values.map(|item| join_key(*target, item.value)));
        }
    }
    let mut keys: Vec<u64> = keys.into_iter().map(super::keys::footprint_join).collect();
    keys.sort_unstable();
    keys.dedup();
    Some(Suitor { precedence, id: object.id, keys: keys.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_is_the_problem_of_one_object() {
        let fails = || -> Result<(), UnitError> { panic!("index 3 of {}", 2) };
        let Err(UnitError::Object(code, detail)) = unbroken(fails) else { unreachable!("the work failed") };
        assert_eq!(code, ObjectErrorCode::UNEXPECTED_ERROR);
        assert!(detail.contains("index 3 of 2") && detail.contains("stays as it was"), "{detail}");
        assert_eq!(unbroken(|| Ok::<_, UnitError>(1)).ok(), Some(1));
    }
}
