//! Staging one page.

use super::image::{self, Comparison, Image, Target};
use super::lookup::{Key, anchor_key, name_key};
use super::{EngineError, Import, StepRecorder, hash};
use crate::connector::{DiscoveryError, EntryRef, ImportPage, PageItem};
use crate::model::{
    Anchor, AttrId, CsId, CsObject, CsReference, DeltaKind, Dn, ErrorSide, Link, Names, ObjectError, ObjectErrorCode, Stage, StageMask,
    ValueState,
};
use crate::store::{ChangeSet, DirtyReason, Snapshot};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An anchor longer than this cannot be a key (specification: sync engine, section 2.4).
const ANCHOR_MAX: usize = 398;
/// Few enough to keep both cores busy, enough to be worth handing over.
const PER_TASK: usize = 64;

/// An entry that is new or says something new.
struct Work<'p> {
    entry: EntryRef<'p>,
    whole: bool,
    hash: u128,
    dn: Option<Dn>,
    image: Image,
    id: CsId,
    stored: Option<(CsObject, Vec<CsReference>)>,
    /// The name before, when this import changed it.
    renamed_from: Option<Box<str>>,
    adopted: bool,
}

/// An object after comparison.
struct Staged {
    object: CsObject,
    rows: Vec<CsReference>,
    found: Comparison,
    /// The entry was stored before, as more than a placeholder.
    known: bool,
    renamed: bool,
    retyped: bool,
}

impl Import<'_> {
    pub(super) fn page(&mut self, page: &ImportPage, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        recorder.count("filtered-objects", page.filtered);
        let snapshot = self.store.snapshot()?;
        let mut changes = ChangeSet::new();
        let digests: Vec<(u128, Option<Key>)> = (0..page.len())
            .into_par_iter()
            .with_min_len(PER_TASK)
            .map(|index| match page.item(index) {
                PageItem::Entry(entry) => (hash::entry(&entry, self.secret), entry.anchor().map(anchor_key)),
                PageItem::Change(entry) | PageItem::Gone(entry) => (0, entry.anchor().map(anchor_key)),
                PageItem::Rejected(_) => (0, None),
            })
            .collect();
        let mut work = self.sort_out(page, &digests, &snapshot, &mut changes, recorder)?;
        let names = self.store.names();
        work.par_iter_mut().with_min_len(PER_TASK).try_for_each(|work| {
            work.dn = Dn::parse(work.entry.dn()).ok().filter(|dn| dn.depth() > 0);
            if work.whole {
                work.image = image::of_entry(&work.entry, names);
            }
            if work.id.sequence() != 0 {
                work.stored = read(&snapshot, work.id)?;
            }
            Ok::<_, EngineError>(())
        })?;
        let mut work = self.identify(work, &snapshot, &mut changes, recorder)?;
        work.par_iter_mut().with_min_len(PER_TASK).filter(|work| !work.whole).try_for_each(|work| lay_over(work, &snapshot, names))?;
        let work = work;
        let targets = self.resolve(&work, &mut changes);
        let unreadable = &self.options.unreadable;
        let staged: Vec<Staged> =
            work.par_iter().zip(&targets).with_min_len(PER_TASK).map(|(work, shown)| compare(work, shown, unreadable)).collect();
        for (work, staged) in work.into_iter().zip(staged) {
            self.write(work, staged, &snapshot, &mut changes, recorder)?;
        }
        self.commit(changes, recorder)
    }

    /// Separates what says nothing new from what has to be compared.
    fn sort_out<'p>(
        &mut self,
        page: &'p ImportPage,
        digests: &[(u128, Option<Key>)],
        snapshot: &Snapshot,
        changes: &mut ChangeSet,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<Vec<Work<'p>>, EngineError> {
        let mut work = Vec::new();
        for (item, (hash, anchor)) in page.items().zip(digests) {
            let known = anchor.and_then(|key| self.lookup.by_anchor(key));
            match item {
                PageItem::Entry(entry) => {
                    if let Some(id) = known {
                        if !self.lookup.mark_seen(id) {
                            self.duplicate(id, &entry, snapshot, changes, recorder)?;
                            continue;
                        }
                        if self.lookup.unchanged(id, *hash) {
                            recorder.count("stage-no-change", 1);
                            continue;
                        }
                    }
                    work.push(Work::new(entry, true, *hash, known));
                }
                PageItem::Change(entry) => work.push(Work::new(entry, false, 0, known)),
                PageItem::Gone(entry) => self.gone(&entry, known, snapshot, changes, recorder)?,
                PageItem::Rejected(error) => self.rejected(error, changes, recorder),
            }
        }
        Ok(work)
    }

    /// Finds out which object every entry is, and gives numbers to new ones.
    fn identify<'p>(
        &mut self,
        work: Vec<Work<'p>>,
        snapshot: &Snapshot,
        changes: &mut ChangeSet,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<Vec<Work<'p>>, EngineError> {
        let mut identified: Vec<Work<'p>> = Vec::with_capacity(work.len());
        // Objects of this page that have no row yet.
        let mut fresh: BTreeSet<CsId> = BTreeSet::new();
        for mut work in work {
            if let Some(problem) = flaw(&work) {
                self.rejected(&problem, changes, recorder);
                continue;
            }
            let key = work.dn.as_ref().map(|dn| name_key(&dn.key()));
            if work.id.sequence() == 0 {
                // Another entry of this page may have taken the anchor meanwhile.
                if let Some(id) = work.entry.anchor().map(anchor_key).and_then(|anchor| self.lookup.by_anchor(anchor)) {
                    self.duplicate(id, &work.entry, snapshot, changes, recorder)?;
                    continue;
                }
                let holder = key.and_then(|key| self.lookup.by_name(key));
                match holder {
                    Some(id) if !fresh.contains(&id) => meet(&mut work, id, snapshot, changes)?,
                    Some(id) if work.entry.anchor().is_none() => work.id = id,
                    _ => {}
                }
                if work.id.sequence() == 0 {
                    if !work.whole {
                        let problem = problem_of(
                            &work.entry,
                            ObjectErrorCode::NEED_FULL_OBJECT,
                            "a change for an object that is not known: run a full import",
                        );
                        self.rejected(&problem, changes, recorder);
                        continue;
                    }
                    work.id = self.lookup.allocate();
                    fresh.insert(work.id);
                }
                if !self.lookup.mark_seen(work.id) && self.options.full {
                    self.duplicate(work.id, &work.entry, snapshot, changes, recorder)?;
                    continue;
                }
            } else if let (Some(key), Some((object, _))) = (key, &work.stored) {
                let old = Dn::parse(&object.dn).ok().map(|dn| name_key(&dn.key()));
                if old != Some(key) {
                    work.renamed_from = Some(object.dn.clone());
                    if let Some(holder) = self.lookup.by_name(key).filter(|holder| *holder != work.id && !fresh.contains(holder))
                        && !take_over(holder, work.id, snapshot, changes)?
                    {
                        displace(holder, snapshot, changes)?;
                    }
                    if let Some(old) = old {
                        self.lookup.clear_name(old, work.id);
                    }
                }
            }
            if let Some(anchor) = work.entry.anchor() {
                self.lookup.set_anchor(anchor_key(anchor), work.id);
            }
            if let Some(key) = key {
                self.lookup.set_name(key, work.id);
            }
            identified.push(work);
        }
        Ok(identified)
    }

    /// Turns names of targets into objects, with placeholders for those nobody has reported.
    fn resolve(&mut self, work: &[Work<'_>], changes: &mut ChangeSet) -> Vec<BTreeSet<(AttrId, CsId)>> {
        let placeholder = self.store.names().object_type("placeholder");
        let mut resolve_one = |target: &Target| {
            let key = name_key(&target.key);
            self.lookup.by_name(key).unwrap_or_else(|| {
                let id = self.lookup.allocate();
                let mut object = CsObject::new(id, placeholder, target.dn.clone());
                object.link = Link::Placeholder;
                changes.cs_put.push(object);
                self.lookup.set_name(key, id);
                id
            })
        };
        work.iter().map(|work| work.image.references.iter().map(|(attr, target)| (*attr, resolve_one(target))).collect()).collect()
    }

    fn write(
        &mut self,
        work: Work<'_>,
        staged: Staged,
        snapshot: &Snapshot,
        changes: &mut ChangeSet,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
        let Staged { object, rows, found, known, renamed, retyped } = staged;
        let id = object.id;
        if known {
            self.notice(&object, &found, snapshot, recorder)?;
        }
        if work.whole {
            changes.cs_hash.push((id, Some(work.hash)));
        }
        if !found.not_reimported.is_empty() {
            let names: Vec<_> = found.not_reimported.iter().map(|attr| self.store.names().name(*attr).to_string()).collect();
            let detail = format!(
                "the directory accepted a change of {} and does not show it; the change is sent again with the next export",
                names.join(", ")
            );
            let error = ObjectError::new(ObjectErrorCode::EXPORTED_CHANGE_NOT_REIMPORTED, detail, self.cx.now());
            changes.errors.push((id, ErrorSide::Import, Some(error)));
        } else if self.with_error.remove(&id) {
            changes.errors.push((id, ErrorSide::Import, None));
        }
        if found.wanted_again {
            changes.dirty.push((id, Some(DirtyReason::Consequence)));
        }
        if !known {
            recorder.object("stage-add", id, &object.dn, Vec::new());
        } else if retyped {
            recorder.object("stage-delete-add", id, &object.dn, image::describe(&object, self.store.names()));
        } else if renamed {
            recorder.object("stage-rename", id, &object.dn, image::describe(&object, self.store.names()));
        } else if found.changed && found.differs {
            recorder.object("stage-update", id, &object.dn, image::describe(&object, self.store.names()));
        } else {
            recorder.count("stage-no-change", 1);
        }
        changes.blobs.extend(work.image.blobs);
        changes.cs_reference.extend(rows);
        changes.cs_put.push(object);
        Ok(())
    }

    /// An entry that cannot be used: counted and noted, and seen if it can be told which object it is.
    fn rejected(&mut self, error: &DiscoveryError, changes: &mut ChangeSet, recorder: &mut StepRecorder<'_>) {
        self.problems += 1;
        let by_anchor = error.anchor.as_ref().and_then(|anchor| self.lookup.by_anchor(anchor_key(anchor.as_bytes())));
        let by_name = || error.dn.as_ref().and_then(|dn| Dn::parse(dn).ok()).and_then(|dn| self.lookup.by_name(name_key(&dn.key())));
        let known = by_anchor.or_else(by_name);
        let shown = error
            .dn
            .clone()
            .or_else(|| error.anchor.as_ref().map(ToString::to_string))
            .unwrap_or_else(|| "an entry without a name".to_owned());
        recorder.note(format!("{shown}: {}: {}", error.code, error.detail));
        if let Some(id) = known {
            self.lookup.mark_seen(id);
            let noted = ObjectError::new(error.code.clone(), error.detail.clone(), self.cx.now());
            changes.errors.push((id, ErrorSide::Import, Some(noted)));
            changes.cs_hash.push((id, None));
            recorder.object("stage-failure", id, &shown, Vec::new());
        } else {
            recorder.count("stage-failure", 1);
            if error.dn.is_none() && error.anchor.is_none() {
                self.unidentified += 1;
            }
        }
    }

    /// Two entries of one import say that they are the same object; the first one counts.
    fn duplicate(
        &mut self,
        id: CsId,
        entry: &EntryRef<'_>,
        snapshot: &Snapshot,
        changes: &mut ChangeSet,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
        self.problems += 1;
        let pending = changes.cs_put.iter().find(|object| object.id == id).map(|object| object.dn.to_string());
        let first = match pending {
            Some(dn) => dn,
            None => snapshot.cs_object(id)?.map_or_else(|| "an earlier entry of this page".to_owned(), |object| object.dn.into()),
        };
        let detail = format!("{} and {first} have the same anchor; the second one is ignored: give each its own", entry.dn());
        recorder.note(format!("{}: {detail}", ObjectErrorCode::DUPLICATE_OBJECT));
        recorder.object("stage-failure", id, entry.dn(), Vec::new());
        changes.errors.push((id, ErrorSide::Import, Some(ObjectError::new(ObjectErrorCode::DUPLICATE_OBJECT, detail, self.cx.now()))));
        changes.cs_hash.push((id, None));
        Ok(())
    }

    /// A tombstone.
    fn gone(
        &mut self,
        entry: &EntryRef<'_>,
        known: Option<CsId>,
        snapshot: &Snapshot,
        changes: &mut ChangeSet,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
        let by_name = || Dn::parse(entry.dn()).ok().and_then(|dn| self.lookup.by_name(name_key(&dn.key())));
        let Some(object) = known.or_else(by_name).map(|id| snapshot.cs_object(id)).transpose()?.flatten() else {
            recorder.count("filtered-deletes", 1);
            return Ok(());
        };
        self.notice_gone(&object, recorder);
        stage_delete(object, changes, recorder);
        Ok(())
    }
}

/// An object got a name under which others referred to it before it was reported: their references, which point to a
/// placeholder, are references to the object, and the placeholder goes. False when the holder is no placeholder.
fn take_over(holder: CsId, object: CsId, snapshot: &Snapshot, changes: &mut ChangeSet) -> Result<bool, EngineError> {
    let Some(placeholder) = snapshot.cs_object(holder)?.filter(|placeholder| placeholder.link == Link::Placeholder) else {
        return Ok(false);
    };
    let mut owners: BTreeMap<CsId, Vec<AttrId>> = BTreeMap::new();
    for (attr, owner) in snapshot.cs_referrers(placeholder.id)? {
        owners.entry(owner).or_default().push(attr);
    }
    for (owner, attributes) in owners {
        let Some(mut referrer) = snapshot.cs_object(owner)? else { continue };
        let mut rows = snapshot.cs_references(owner)?;
        for attr in attributes {
            let shown = snapshot.cs_reference(owner, attr, holder)?.present(StageMask::IMPORTED);
            let state = snapshot.cs_reference(owner, attr, object)?.with_target(StageMask::BASE, Stage::PendingImport, shown);
            rows.retain(|row| row.attr != attr || (row.target != holder && row.target != object));
            rows.push(CsReference { owner, attr, target: object, state });
            changes.cs_reference.push(CsReference { owner, attr, target: holder, state: ValueState::ABSENT });
            changes.cs_reference.push(CsReference { owner, attr, target: object, state });
        }
        image::refresh_kind(&mut referrer, &rows, Stage::PendingImport);
        changes.cs_put.push(referrer);
    }
    changes.cs_delete.push(holder);
    Ok(true)
}

/// The name of an object was taken by another: it gets a temporary one and waits for its rename or delete.
fn displace(holder: CsId, snapshot: &Snapshot, changes: &mut ChangeSet) -> Result<(), EngineError> {
    let pending = changes.cs_put.iter().rposition(|object| object.id == holder).map(|index| changes.cs_put.remove(index));
    let Some(mut object) = pending.map_or_else(|| snapshot.cs_object(holder), |object| Ok(Some(object)))? else { return Ok(()) };
    if object.transient {
        changes.cs_put.push(object);
        return Ok(());
    }
    let name = std::mem::replace(&mut object.dn, format!("CN=transient-{holder}").into());
    object.transient = true;
    let delta = object.stage_mut(Stage::PendingImport);
    delta.rename.get_or_insert(name);
    if delta.kind == DeltaKind::None {
        delta.kind = DeltaKind::Update;
    }
    changes.cs_hash.push((holder, None));
    changes.cs_put.push(object);
    Ok(())
}

/// What makes an entry unusable, if anything does.
fn flaw(work: &Work<'_>) -> Option<DiscoveryError> {
    let problem = |code, detail: &str| Some(problem_of(&work.entry, code, detail));
    if let Some((code, detail)) = &work.image.flaw {
        return Some(problem_of(&work.entry, code.clone(), detail));
    }
    if work.dn.is_none() && (work.whole || !work.entry.dn().is_empty()) {
        let code = if work.entry.dn().is_empty() { ObjectErrorCode::MISSING_DN } else { ObjectErrorCode::INVALID_DN };
        return problem(code, "the entry's distinguished name cannot be read");
    }
    if work.entry.anchor().is_some_and(|anchor| anchor.len() > ANCHOR_MAX) {
        return problem(ObjectErrorCode::ANCHOR_TOO_LONG, "the anchor is longer than 398 octets: choose another anchor attribute");
    }
    if work.whole && work.entry.object_type().is_none() {
        return problem(ObjectErrorCode::MISSING_OBJECT_CLASS, "the entry has no object class");
    }
    None
}

/// Stages the deletion of an object that the directory no longer has.
pub(super) fn stage_delete(mut object: CsObject, changes: &mut ChangeSet, recorder: &mut StepRecorder<'_>) {
    if !object.imported() {
        return;
    }
    recorder.object("stage-delete", object.id, &object.dn, Vec::new());
    mark_gone(&mut object);
    changes.cs_hash.push((object.id, None));
    changes.cs_put.push(object);
}

/// Its directory no longer has it: nothing that was exported or staged counts any more.
pub(super) fn mark_gone(object: &mut CsObject) {
    for index in 0..object.values.entries().len() {
        let state = ValueState(object.values.entries()[index].flags);
        object.values.set_flags(index, state.without(Stage::PendingImport).without(Stage::Unconfirmed).without(Stage::InProgress).0);
    }
    for stage in [Stage::Unconfirmed, Stage::InProgress, Stage::PendingExport] {
        *object.stage_mut(stage) = crate::model::StageDelta::default();
    }
    object.stage_mut(Stage::PendingImport).kind = DeltaKind::Delete;
}

/// An entry with an unknown anchor has the name of a stored object.
fn meet(work: &mut Work<'_>, holder: CsId, snapshot: &Snapshot, changes: &mut ChangeSet) -> Result<(), EngineError> {
    let Some((object, rows)) = read(snapshot, holder)? else {
        // A placeholder that an earlier entry of this page made; it is written with this page's changes.
        work.id = holder;
        changes.cs_put.retain(|object| object.id != holder);
        return Ok(());
    };
    if object.anchor.is_none() {
        let same_type = object.link == Link::Placeholder || work.entry.object_type().is_none_or(|kind| kind == object.object_type);
        if same_type {
            work.id = holder;
            work.adopted = object.link != Link::Placeholder;
            work.stored = Some((object, rows));
        } else {
            // We provisioned something else under this name: it gives way and is provisioned again.
            if let Some(mv) = object.link.mv() {
                let sources = snapshot.mv_links(mv)?.into_iter().filter(|id| *id != holder);
                changes.dirty.extend(sources.map(|id| (id, Some(DirtyReason::RetryProvisioning))));
            }
            changes.cs_delete.push(holder);
        }
    } else if work.entry.anchor().is_none() {
        work.id = holder;
        work.stored = Some((object, rows));
    } else {
        displace(holder, snapshot, changes)?;
    }
    Ok(())
}

impl<'p> Work<'p> {
    fn new(entry: EntryRef<'p>, whole: bool, hash: u128, known: Option<CsId>) -> Self {
        Self {
            entry,
            whole,
            hash,
            dn: None,
            image: Image::default(),
            id: known.unwrap_or(CsId(0)),
            stored: None,
            renamed_from: None,
            adopted: false,
        }
    }
}

fn read(snapshot: &Snapshot, id: CsId) -> Result<Option<(CsObject, Vec<CsReference>)>, EngineError> {
    let Some(object) = snapshot.cs_object(id)? else { return Ok(None) };
    let rows = snapshot.cs_references(id)?;
    Ok(Some((object, rows)))
}

/// Completes a change to a whole image: what was imported last, with the change laid over it.
fn lay_over(work: &mut Work<'_>, snapshot: &Snapshot, names: &Names) -> Result<(), EngineError> {
    let Some((object, rows)) = &work.stored else { return Ok(()) };
    let mut references = Vec::with_capacity(rows.len());
    for row in rows.iter().filter(|row| row.state.present(StageMask::IMPORTED)) {
        let target = snapshot.cs_object(row.target)?.and_then(|target| Dn::parse(&target.dn).ok());
        if let Some(dn) = target {
            references.push((row.attr, Target { key: dn.key(), dn: dn.as_str().into() }));
        }
    }
    work.image = image::of_change(&work.entry, names, object, &references);
    Ok(())
}

fn problem_of(entry: &EntryRef<'_>, code: ObjectErrorCode, detail: &str) -> DiscoveryError {
    let dn = Some(entry.dn().to_owned()).filter(|dn| !dn.is_empty());
    DiscoveryError { code, detail: detail.to_owned(), dn, anchor: entry.anchor().map(Anchor::new) }
}

fn compare(work: &Work<'_>, shown: &BTreeSet<(AttrId, CsId)>, unreadable: &BTreeSet<AttrId>) -> Staged {
    let (mut object, stored) = match &work.stored {
        Some((object, rows)) => (object.clone(), rows.as_slice()),
        None => (CsObject::new(work.id, work.entry.object_type().unwrap_or(crate::model::ObjectType(0)), work.entry.dn()), &[][..]),
    };
    let known = work.stored.is_some() && object.link != Link::Placeholder && !(work.adopted && object.anchor.is_none());
    let before = object.stage(Stage::PendingImport).kind;
    if object.link == Link::Placeholder {
        object.link = Link::Disconnected;
    }
    let returned = before == DeltaKind::Delete;
    let mut found = Comparison::default();
    image::compare_values(&mut object, &work.image.values, unreadable, &mut found);
    let changed_rows = image::compare_references(work.id, stored, shown, unreadable, &mut found);
    let merged: HashMap<(AttrId, CsId), ValueState> =
        stored.iter().chain(&changed_rows).map(|row| ((row.attr, row.target), row.state)).collect();
    let rows: Vec<CsReference> =
        merged.into_iter().map(|((attr, target), state)| CsReference { owner: work.id, attr, target, state }).collect();

    if let Some(anchor) = work.entry.anchor() {
        object.anchor = Some(Anchor::new(anchor));
    }
    let renamed = work.renamed_from.is_some();
    if work.dn.is_some() {
        name(&mut object, work, renamed);
    }
    let mut retyped = false;
    if let Some(object_type) = work.entry.object_type().filter(|kind| *kind != object.object_type) {
        retyped = known;
        if object.in_base {
            let base = object.previous_type.get_or_insert(object.object_type);
            if *base == object_type {
                object.previous_type = None;
            }
        }
        object.object_type = object_type;
    }
    confirm(&mut object, &mut found);
    let delta = object.stage_mut(Stage::PendingImport);
    delta.kind = DeltaKind::None;
    if !object.in_base {
        object.stage_mut(Stage::PendingImport).kind = DeltaKind::Add;
    } else if object.previous_type.is_some() {
        object.stage_mut(Stage::PendingImport).kind = DeltaKind::DeleteAdd;
    } else {
        image::refresh_kind(&mut object, &rows, Stage::PendingImport);
    }
    image::refresh_kind(&mut object, &rows, Stage::PendingExport);
    found.changed |= returned;
    Staged { object, rows: changed_rows, found, known, renamed, retyped }
}

/// Gives the object the name that the directory reports and remembers the one of the base image.
fn name(object: &mut CsObject, work: &Work<'_>, renamed: bool) {
    let spelt = work.entry.dn();
    if renamed && object.in_base {
        let old = work.renamed_from.clone().filter(|_| !object.transient);
        let delta = object.stage_mut(Stage::PendingImport);
        if delta.rename.is_none() {
            delta.rename = old;
        }
        let back = delta.rename.as_deref().is_some_and(|base| same_name(base, spelt));
        if back {
            delta.rename = None;
        }
    }
    object.transient = false;
    object.dn = spelt.into();
    for stage in [Stage::Unconfirmed, Stage::InProgress, Stage::PendingExport] {
        let delta = object.stage_mut(stage);
        if delta.rename.as_deref().is_some_and(|wanted| same_name(wanted, spelt)) {
            delta.rename = None;
        }
    }
}

fn same_name(left: &str, right: &str) -> bool {
    matches!((Dn::parse(left), Dn::parse(right)), (Ok(left), Ok(right)) if left.same(&right))
}

/// Settles what exports did to the object as a whole, now that the directory shows it.
fn confirm(object: &mut CsObject, found: &mut Comparison) {
    for stage in [Stage::Unconfirmed, Stage::InProgress] {
        let delta = std::mem::take(object.stage_mut(stage));
        if delta.kind == DeltaKind::Delete {
            // The delete was accepted, or lost, and the object is still there: it is wanted again.
            object.stage_mut(Stage::PendingExport).kind = DeltaKind::Delete;
            found.wanted_again = true;
        }
        if let Some(name) = delta.rename {
            object.stage_mut(Stage::PendingExport).rename.get_or_insert(name);
            found.wanted_again = true;
        }
    }
    let wanted = object.stage_mut(Stage::PendingExport);
    if wanted.kind == DeltaKind::Add {
        wanted.kind = DeltaKind::Update;
    }
}
