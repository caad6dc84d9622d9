//! References, in both directions, after the units of a batch are laid down: what contributors name becomes
//! references between metaverse objects, and those become references between a target's objects. A reference whose
//! target has no counterpart yet is withheld; it follows when the target's link appears, found through the rows that
//! point at it (specification: sync engine 3.8, point 7).

use super::batch::{Batch, InboundJob};
use super::draft::OutboundReferences;
use super::image::MvImage;
use super::outbound::of_type;
use super::stages::{self, expected_exists, want_state};
use super::view::View;
use crate::model::{AttrId, CsId, CsReference, DeltaKind, MvId, Stage, StageMask, ValueState};
use crate::rules::{ReferenceFlow, ReferenceSource};
use crate::store::{DirtyReason, StoreError};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One reference of the metaverse that comes (with its contributor) or goes.
type MetaverseChange = (MvId, AttrId, MvId, Option<u8>);

/// Brings all references that the batch touched into agreement.
pub(crate) fn follow_references(batch: &mut Batch<'_>) -> Result<(), StoreError> {
    let changes = metaverse_changes(batch)?;
    for (owner, attr, target, contributor) in &changes {
        batch.overlay.mv_rows.entry(*owner).or_default().insert((*attr, *target), *contributor);
        batch.moved_mv.insert(*owner);
    }
    target_changes(batch, &changes)?;
    let readers: Vec<CsId> = batch.readers.iter().filter(|(_, mv)| batch.moved_mv.contains(mv)).map(|(id, _)| *id).collect();
    for id in readers {
        batch.dirty.insert(id, Some(DirtyReason::ReferenceResolved));
    }
    Ok(())
}

fn metaverse_changes(batch: &mut Batch<'_>) -> Result<Vec<MetaverseChange>, StoreError> {
    let view = batch.view();
    let whole: Vec<&InboundJob> = batch.inbound.values().filter(|job| is_whole(job)).collect();
    let mut changes: Vec<MetaverseChange> = whole
        .par_iter()
        .with_min_len(16)
        .map(|job| compare_metaverse(&view, job, batch.is_new_metaverse(job.references.mv)))
        .collect::<Result<Vec<_>, StoreError>>()?
        .into_iter()
        .flatten()
        .collect();
    let mut single: BTreeMap<(MvId, AttrId, MvId), Option<u8>> = BTreeMap::new();
    for job in batch.inbound.values().filter(|job| !is_whole(job)) {
        for row in &job.touched {
            let flows = job.references.flows.iter().filter(|flow| flow.owner == row.owner.0);
            for flow in flows.filter(|flow| flow.source == ReferenceSource::Attribute(row.attr)) {
                let Some(target) = metaverse_of(&view, row.target)? else { continue };
                let contributor = row.state.present(StageMask::WANTED).then_some(flow.contributor);
                single.insert((job.references.mv, flow.target, target), contributor);
            }
        }
    }
    let mut again: BTreeSet<CsId> = BTreeSet::new();
    for (id, (before, after)) in &batch.presence {
        if batch.is_new_object(*id) {
            continue;
        }
        for (attr, referrer) in batch.snapshot.cs_referrers(*id)? {
            let Some(owner) = metaverse_of(&view, referrer)? else { continue };
            if batch.inbound.get(&owner).is_some_and(is_whole) {
                continue;
            }
            let Some(object) = view.mv(owner)? else { continue };
            let Some(targets) = batch.book.reference_targets(&object, referrer, attr) else {
                again.insert(referrer);
                continue;
            };
            for (target, contributor, shared) in targets {
                if shared {
                    again.insert(referrer);
                    continue;
                }
                if let Some(before) = before {
                    single.insert((owner, target, *before), None);
                }
                if let Some(after) = after {
                    let state = batch.row_state(referrer, attr, *id)?;
                    if state.present(StageMask::WANTED) {
                        single.insert((owner, target, *after), Some(contributor));
                    }
                }
            }
        }
    }
    for referrer in again {
        batch.dirty.insert(referrer, Some(DirtyReason::ReferenceResolved));
    }
    changes.extend(single.into_iter().map(|((owner, attr, target), contributor)| (owner, attr, target, contributor)));
    Ok(changes)
}

/// All rows are compared, not only those that an import touched: asked for, or several flows share an attribute.
fn is_whole(job: &InboundJob) -> bool {
    let flows = &job.references.flows;
    job.references.whole || flows.iter().enumerate().any(|(index, flow)| flows[..index].iter().any(|other| other.target == flow.target))
}

fn metaverse_of(view: &View<'_>, id: CsId) -> Result<Option<MvId>, StoreError> {
    Ok(view.cs_link(id)?.and_then(crate::model::Link::mv))
}

fn compare_metaverse(view: &View<'_>, job: &InboundJob, fresh: bool) -> Result<Vec<MetaverseChange>, StoreError> {
    let owner = job.references.mv;
    let current = if fresh { Vec::new() } else { view.mv_rows(owner)? };
    let mut wanted: BTreeMap<(AttrId, MvId), u8> = BTreeMap::new();
    let mut loaded: BTreeMap<CsId, Arc<Vec<CsReference>>> = job.loaded.clone();
    for flow in &job.references.flows {
        match &flow.source {
            ReferenceSource::Attribute(attr) => {
                let from = CsId(flow.owner);
                let rows = if let Some(rows) = loaded.get(&from) {
                    Arc::clone(rows)
                } else {
                    let rows = Arc::new(view.cs_rows(from)?);
                    loaded.insert(from, Arc::clone(&rows));
                    rows
                };
                let start = rows.partition_point(|row| row.attr < *attr);
                for row in rows[start..].iter().take_while(|row| row.attr == *attr) {
                    if row.state.present(StageMask::WANTED)
                        && let Some(target) = metaverse_of(view, row.target)?
                    {
                        wanted.entry((flow.target, target)).or_insert(flow.contributor);
                    }
                }
            }
            ReferenceSource::Targets(targets) => {
                for target in targets {
                    if let Some(target) = metaverse_of(view, CsId(*target))? {
                        wanted.entry((flow.target, target)).or_insert(flow.contributor);
                    }
                }
            }
            ReferenceSource::Keep => {
                for row in current.iter().filter(|row| row.attr == flow.target) {
                    wanted.entry((row.attr, row.target)).or_insert(row.contributor);
                }
            }
        }
    }
    let mut changes = Vec::new();
    for row in &current {
        match wanted.remove(&(row.attr, row.target)) {
            Some(contributor) if contributor == row.contributor => {}
            Some(contributor) => changes.push((owner, row.attr, row.target, Some(contributor))),
            None => changes.push((owner, row.attr, row.target, None)),
        }
    }
    changes.extend(wanted.into_iter().map(|((attr, target), contributor)| (owner, attr, target, Some(contributor))));
    Ok(changes)
}

/// What single references of a target object ask for, and of which target objects more must be compared.
struct TargetWork {
    /// Wanted or not; `None` when no flow decides the attribute.
    single: BTreeMap<(CsId, AttrId, CsId), Option<bool>>,
    /// All references are compared.
    whole: BTreeSet<CsId>,
    /// All references of these attributes are compared: several flows decide one, or what it computes hangs on references.
    attributes: BTreeMap<CsId, BTreeSet<AttrId>>,
    /// Flows of target objects whose metaverse object has no unit in this batch.
    flows: BTreeMap<CsId, Option<Unvisited>>,
}

/// The reference flows of a target object without a unit in the batch.
struct Unvisited {
    job: OutboundReferences,
    /// What they compute hangs on references, and nobody else looks at it again.
    read_references: bool,
}

fn target_changes(batch: &mut Batch<'_>, changes: &[MetaverseChange]) -> Result<(), StoreError> {
    let mut work = TargetWork {
        single: BTreeMap::new(),
        whole: batch.outbound.values().filter(|job| job.whole).map(|job| job.target).collect(),
        attributes: BTreeMap::new(),
        flows: BTreeMap::new(),
    };
    work.compare_rows(batch)?;
    for (owner, attr, target, contributor) in changes {
        for connector in batch.book.rules.targets() {
            let view = batch.view();
            if let (Some(from), to) = (view.link_in(*owner, *connector)?, view.link_in(*target, *connector)?) {
                work.point(batch, *owner, from, *attr, to, contributor.is_some())?;
            }
        }
    }
    for (id, (before, after)) in &batch.presence {
        let connector = id.connector();
        if !batch.book.is_target(connector) {
            continue;
        }
        for (metaverse, wanted) in before.iter().map(|mv| (*mv, false)).chain(after.iter().map(|mv| (*mv, true))) {
            if batch.is_new_metaverse(metaverse) {
                continue;
            }
            for (attr, owner) in batch.snapshot.mv_referrers(metaverse)? {
                let view = batch.view();
                let Some(from) = view.link_in(owner, connector)? else { continue };
                let row = batch.overlay.mv_rows.get(&owner).and_then(|rows| rows.get(&(attr, metaverse)));
                let present = row.is_none_or(Option::is_some) && !matches!(batch.overlay.mv.get(&owner), Some(None));
                work.point(batch, owner, from, attr, Some(*id), wanted && present)?;
            }
        }
    }
    let view = batch.view();
    let whole = work.whole.iter().map(|target| (target, None));
    let partly = work.attributes.iter().filter(|(target, _)| !work.whole.contains(target)).map(|(target, some)| (target, Some(some)));
    let jobs: Vec<(&OutboundReferences, Option<&BTreeSet<AttrId>>)> =
        whole.chain(partly).filter_map(|(target, some)| Some((work.job(batch, *target)?, some))).collect();
    let rows: Vec<(CsId, MvId, Vec<CsReference>)> = jobs
        .par_iter()
        .with_min_len(16)
        .map(|(job, some)| Ok((job.target, job.mv, compare_target(&view, job, *some, batch.is_new_object(job.target))?)))
        .collect::<Result<_, StoreError>>()?;
    for (target, mv, rows) in rows {
        apply_rows(batch, target, mv, rows)?;
    }
    let mut single: BTreeMap<CsId, Vec<CsReference>> = BTreeMap::new();
    for ((owner, attr, target), wanted) in work.single {
        if work.whole.contains(&owner) || work.attributes.get(&owner).is_some_and(|some| some.contains(&attr)) {
            continue;
        }
        let Some(object) = batch.view().cs(owner)? else { continue };
        let state = batch.row_state(owner, attr, target)?;
        let expected = expected_exists(&object) && state.present(StageMask::EXPECTED);
        let merged = batch.outbound.get(&owner).is_some_and(|job| job.merged.contains(&attr));
        let next = want_state(state, expected, wanted.map_or(expected, |wanted| wanted || merged && expected));
        if next != state {
            single.entry(owner).or_default().push(CsReference { owner, attr, target, state: next });
        }
    }
    for (owner, rows) in single {
        let Some(mv) = batch.view().cs(owner)?.and_then(|object| object.link.mv()) else { continue };
        apply_rows(batch, owner, mv, rows)?;
    }
    Ok(())
}

impl TargetWork {
    /// What decides about a target object's references.
    fn job<'w>(&'w self, batch: &'w Batch<'_>, target: CsId) -> Option<&'w OutboundReferences> {
        batch.outbound.get(&target).or_else(|| self.flows.get(&target).and_then(Option::as_ref).map(|found| &found.job))
    }

    /// Single references that units name are held against the metaverse.
    fn compare_rows(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let view = batch.view();
        for job in batch.outbound.values().filter(|job| !job.whole && !job.rows.is_empty()) {
            for (attr, to) in &job.rows {
                let deciding = job.flows.iter().find(|flow| flow.target == *attr);
                if deciding.is_some_and(|flow| is_computed(flow) || is_shared(flow, &job.flows)) {
                    self.attributes.entry(job.target).or_default().insert(*attr);
                    continue;
                }
                let source = deciding.map(|flow| &flow.source);
                let wanted = match (source, metaverse_of(&view, *to)?) {
                    (Some(ReferenceSource::Attribute(source)), Some(mv)) => Some(view.has_mv_reference(job.mv, *source, mv)?),
                    (Some(ReferenceSource::Attribute(_)), None) => Some(false),
                    _ => None,
                };
                self.single.insert((job.target, *attr, *to), wanted);
            }
        }
        Ok(())
    }

    /// The reference `attr` of a metaverse object to the one behind `to` comes or goes: what that means for the
    /// target object `from`.
    fn point(
        &mut self,
        batch: &Batch<'_>,
        owner: MvId,
        from: CsId,
        attr: AttrId,
        to: Option<CsId>,
        wanted: bool,
    ) -> Result<(), StoreError> {
        if self.whole.contains(&from) {
            return Ok(());
        }
        let known = batch.outbound.get(&from);
        if known.is_none() && !self.flows.contains_key(&from) {
            let found = reference_flows(&batch.view(), batch, owner, from)?;
            self.flows.insert(from, found);
        }
        let found = self.flows.get(&from).and_then(Option::as_ref);
        // A unit whose decisions hang on references is taken again when they change: here it needs no second look.
        let computed_anew = known.is_none() && found.is_some_and(|found| found.read_references);
        let Some(job) = known.or(found.map(|found| &found.job)) else { return Ok(()) };
        for flow in &job.flows {
            if is_computed(flow) {
                if computed_anew {
                    self.attributes.entry(from).or_default().insert(flow.target);
                }
            } else if flow.source == ReferenceSource::Attribute(attr) {
                if is_shared(flow, &job.flows) {
                    self.attributes.entry(from).or_default().insert(flow.target);
                } else if let Some(to) = to {
                    self.single.insert((from, flow.target, to), Some(wanted));
                }
            }
        }
        Ok(())
    }
}

fn is_computed(flow: &ReferenceFlow) -> bool {
    matches!(flow.source, ReferenceSource::Targets(_))
}

fn is_shared(flow: &ReferenceFlow, flows: &[ReferenceFlow]) -> bool {
    flows.iter().filter(|other| other.target == flow.target).count() > 1
}

/// The reference flows that decide for a target object whose metaverse object has no unit in this batch.
fn reference_flows(view: &View<'_>, batch: &Batch<'_>, owner: MvId, target: CsId) -> Result<Option<Unvisited>, StoreError> {
    let (Some(source), Some(object)) = (view.mv(owner)?, view.cs(target)?) else { return Ok(None) };
    let book = batch.book;
    let image = MvImage::new(view, &source);
    let scope = book.rules.outbound_scope(target.connector(), &image, book.run);
    let creating = !expected_exists(&object);
    let wanted = scope.and_then(|scope| book.rules.want(&of_type(&scope, object.object_type), &image, creating, book.run));
    // A metaverse object that cannot be exported keeps what it has; its own unit reports why.
    Ok(wanted.ok().map(|wanted| Unvisited {
        job: OutboundReferences { mv: owner, target, flows: wanted.references, merged: wanted.merged, whole: false, rows: Vec::new() },
        read_references: image.read_references(),
    }))
}

/// The references of a target object as they must be; of `some` attributes only, if they are given.
fn compare_target(
    view: &View<'_>,
    job: &OutboundReferences,
    some: Option<&BTreeSet<AttrId>>,
    fresh: bool,
) -> Result<Vec<CsReference>, StoreError> {
    let owner = job.target;
    let Some(object) = view.cs(owner)? else { return Ok(Vec::new()) };
    let current = match some {
        _ if fresh && view.rows_untouched(owner) => Vec::new(),
        None => view.cs_rows(owner)?,
        Some(some) => {
            let mut rows = Vec::new();
            for attr in some {
                rows.extend(view.cs_rows_of(owner, *attr)?);
            }
            rows
        }
    };
    let decided = |flow: &&ReferenceFlow| flow.source != ReferenceSource::Keep && some.is_none_or(|some| some.contains(&flow.target));
    if current.is_empty() && !job.flows.iter().any(|flow| decided(&flow)) {
        return Ok(Vec::new());
    }
    let connector = owner.connector();
    let mut wanted: BTreeSet<(AttrId, CsId)> = BTreeSet::new();
    let mut references = None;
    for flow in job.flows.iter().filter(decided) {
        let targets: Vec<MvId> = match &flow.source {
            ReferenceSource::Attribute(attr) => {
                if references.is_none() {
                    references = Some(view.mv_rows(job.mv)?);
                }
                let rows = references.as_deref().unwrap_or_default();
                let start = rows.partition_point(|row| row.attr < *attr);
                rows[start..].iter().take_while(|row| row.attr == *attr).map(|row| row.target).collect()
            }
            ReferenceSource::Targets(targets) => targets.iter().map(|target| MvId(*target)).collect(),
            ReferenceSource::Keep => Vec::new(),
        };
        for target in targets {
            if let Some(target) = view.link_in(target, connector)? {
                wanted.insert((flow.target, target));
            }
        }
    }
    let exists = expected_exists(&object);
    let managed: BTreeSet<AttrId> = job.flows.iter().filter(decided).map(|flow| flow.target).collect();
    let mut changes = Vec::new();
    for row in &current {
        let expected = exists && row.state.present(StageMask::EXPECTED);
        let asked = wanted.remove(&(row.attr, row.target));
        let state = if managed.contains(&row.attr) {
            want_state(row.state, expected, asked || expected && job.merged.contains(&row.attr))
        } else {
            row.state.without(Stage::PendingExport)
        };
        if state != row.state {
            changes.push(CsReference { state, ..*row });
        }
    }
    let added = ValueState::ABSENT.with_added(Stage::PendingExport);
    changes.extend(wanted.into_iter().map(|(attr, target)| CsReference { owner, attr, target, state: added }));
    Ok(changes)
}

/// Writes changed references of a target object and keeps the kind of its pending export true.
fn apply_rows(batch: &mut Batch<'_>, target: CsId, mv: MvId, rows: Vec<CsReference>) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    batch.moved_targets.insert(target, mv);
    let mut wished = false;
    for row in rows {
        wished |= row.state.touched(Stage::PendingExport);
        if batch.book.flows_in(target.connector(), row.attr) {
            batch.dirty.insert(target, Some(DirtyReason::Consequence));
        }
        batch.put_row(row);
    }
    let Some(object) = batch.view().cs(target)? else { return Ok(()) };
    let pending = object.stage(Stage::PendingExport);
    let kind = match pending.kind {
        kind @ (DeltaKind::Add | DeltaKind::Delete | DeltaKind::DeleteAdd) => kind,
        DeltaKind::None | DeltaKind::Update => {
            let wishes = wished
                || pending.rename.is_some()
                || stages::wants_values(&object)
                || batch.view().cs_touched(target)?.iter().any(|row| row.state.touched(Stage::PendingExport));
            if wishes { DeltaKind::Update } else { DeltaKind::None }
        }
    };
    if kind != pending.kind {
        let mut object = object;
        Arc::make_mut(&mut object).stage_mut(Stage::PendingExport).kind = kind;
        batch.overlay.cs.insert(target, Some(object));
    }
    Ok(())
}
