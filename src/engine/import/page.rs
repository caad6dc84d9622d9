//! Staging one page.
//!
//! Entries are taken in their order and gathered into segments: within a segment no entry needs what another one
//! writes, so that a segment can be compared in parallel and written at once. An entry that does need it closes the
//! segment before it. What an import comes to therefore depends on the order of entries and not on where pages end.

use super::compare::{Staged, compare};
use super::identity::{Stored, read};
use super::image::{self, Image};
use super::lookup::{Foreseen, Key, anchor_key};
use super::refused::{flaw, problem_of};
use super::segment::{Segment, refresh_referrer};
use super::{AskAgain, EngineError, Import, StepRecorder, hash};
use crate::connector::{DiscoveryError, EntryRef, ImportPage, Legible, PageItem};
use crate::model::{AttrId, CsId, Dn, DnKey, ErrorSide, ObjectError, ObjectErrorCode};
use crate::store::{ChangeSet, DirtyReason, Snapshot};
use rayon::prelude::*;
use std::collections::{BTreeSet, HashSet};

/// Few enough to keep both cores busy, enough to be worth handing over.
const PER_TASK: usize = 64;

/// What was computed of an entry before its turn: everything that does not depend on entries before it.
pub(super) struct Ahead {
    pub(super) dn: Option<Dn>,
    pub(super) key: Option<DnKey>,
    /// Who had the name when the page began.
    pub(super) foreseen: Foreseen,
    /// For a whole entry; what a change comes to depends on the object.
    pub(super) image: Image,
    /// The object that was read ahead, as it was when the page began.
    pub(super) read: Option<CsId>,
    pub(super) stored: Stored,
}

/// An entry that is new or says something new.
pub(super) struct Work<'p> {
    pub(super) entry: EntryRef<'p>,
    pub(super) whole: bool,
    pub(super) hash: u128,
    pub(super) named: bool,
    pub(super) image: Image,
    /// The objects that the entry refers to, by attribute.
    pub(super) shown: BTreeSet<(AttrId, CsId)>,
    pub(super) id: CsId,
    pub(super) stored: Stored,
    /// The name before, when this import changed it.
    pub(super) renamed_from: Option<Box<str>>,
    pub(super) adopted: bool,
}

impl Import<'_> {
    /// Stages a page of the stream; the directory is asked where that needs it.
    pub(super) fn page(
        &mut self,
        page: &ImportPage,
        ask_again: &mut AskAgain<'_>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
        self.stage_from(page, Some(ask_again), recorder)
    }

    /// Stages a page of answers, for which nothing is asked.
    pub(super) fn stage(&mut self, page: &ImportPage, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        self.stage_from(page, None, recorder)
    }

    fn stage_from(
        &mut self,
        page: &ImportPage,
        mut ask_again: Option<&mut AskAgain<'_>>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
        recorder.count("filtered-objects", page.filtered);
        let digests: Vec<(u128, Option<Key>)> = (0..page.len())
            .into_par_iter()
            .with_min_len(PER_TASK)
            .map(|index| match page.item(index) {
                PageItem::Entry(entry) => (hash::entry(&entry, self.secret), entry.anchor().map(anchor_key)),
                PageItem::Change(entry) | PageItem::Gone(entry) | PageItem::Present(entry) => (0, entry.anchor().map(anchor_key)),
                PageItem::Rejected(_) => (0, None),
            })
            .collect();
        let mut segment = Segment::new(self.store.snapshot()?);
        let mut ahead = self.read_ahead(page, &digests, &segment.snapshot)?;
        // Objects that earlier segments of this page have written.
        let mut stale: HashSet<CsId> = HashSet::new();
        for (index, (item, digest)) in page.items().zip(&digests).enumerate() {
            if let Some(ask_again) = ask_again.as_deref_mut().filter(|_| self.unknown.must_be_asked_before(&item)) {
                self.flush(segment, recorder)?;
                self.ask_for_unknown(ask_again, recorder)?;
                segment = Segment::new(self.store.snapshot()?);
                // The answers may have written anything.
                for ahead in &mut ahead {
                    *ahead = None;
                }
            }
            let first = self.renamed_first(&item, digest.1, &segment)?;
            for item in first.iter().chain([&item]) {
                while !self.item(item, *digest, &mut ahead[index], &stale, &mut segment, recorder)? {
                    stale.extend(segment.entries.iter().chain(segment.others.keys()));
                    self.flush(segment, recorder)?;
                    segment = Segment::new(self.store.snapshot()?);
                }
            }
        }
        self.flush(segment, recorder)
    }

    /// Decodes, in parallel, the entries that probably say something new, and reads their objects.
    fn read_ahead(
        &self,
        page: &ImportPage,
        digests: &[(u128, Option<Key>)],
        snapshot: &Snapshot,
    ) -> Result<Vec<Option<Box<Ahead>>>, EngineError> {
        let one = |index: usize| {
            let (hash, anchor) = digests[index];
            let (entry, whole) = match page.item(index) {
                PageItem::Entry(entry) => (entry, true),
                PageItem::Change(entry) => (entry, false),
                PageItem::Gone(_) | PageItem::Present(_) | PageItem::Rejected(_) => return Ok(None),
            };
            let known = self.by_anchor(&entry, anchor, snapshot)?;
            if whole && known.is_some_and(|id| self.lookup.unchanged(id, hash)) {
                return Ok(None);
            }
            self.ahead(&entry, whole, known, snapshot).map(Some)
        };
        (0..page.len()).into_par_iter().with_min_len(PER_TASK).map(one).collect()
    }

    fn ahead(&self, entry: &EntryRef<'_>, whole: bool, known: Option<CsId>, snapshot: &Snapshot) -> Result<Box<Ahead>, EngineError> {
        let dn = Dn::parse(entry.dn()).ok().filter(|dn| dn.depth() > 0);
        let key = dn.as_ref().map(Dn::key);
        let mut image = if whole { image::of_entry(entry, self.store.names()) } else { Image::default() };
        for target in image.references.iter_mut().flat_map(|(.., targets)| targets) {
            target.foreseen = self.lookup.foresee(snapshot, &target.key)?;
        }
        let foreseen = key.as_ref().map_or(Ok(Foreseen::No), |key| self.lookup.foresee(snapshot, key))?;
        let stored = known.map(|id| read(snapshot, id, whole)).transpose()?.flatten();
        Ok(Box::new(Ahead { dn, key, foreseen, image, read: known, stored }))
    }

    /// Takes one item into the segment. False when it needs something that the segment has yet to write; nothing
    /// happened then.
    pub(super) fn item<'p>(
        &mut self,
        item: &PageItem<'p>,
        (hash, anchor): (u128, Option<Key>),
        ahead: &mut Option<Box<Ahead>>,
        stale: &HashSet<CsId>,
        segment: &mut Segment<'p>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<bool, EngineError> {
        let (entry, whole) = match item {
            PageItem::Entry(entry) => (entry, true),
            PageItem::Change(entry) => (entry, false),
            PageItem::Gone(entry) => return self.gone(entry, anchor, segment, recorder),
            PageItem::Present(entry) => {
                if let Some(id) = self.by_anchor(entry, anchor, &segment.snapshot)? {
                    self.see_known(id, None);
                    recorder.count("stage-no-change", 1);
                }
                return Ok(true);
            }
            PageItem::Rejected(error) => return self.rejected(error, segment, recorder),
        };
        let mut known = self.by_anchor(entry, anchor, &segment.snapshot)?;
        if known.is_none() && !entry.former_dn().is_empty() {
            known = self.by_name(entry.former_dn(), &segment.snapshot)?;
            if known.is_none() {
                let detail = "a rename of an object that is not known, with whatever lies below it: run a full import";
                let dn = Some(entry.former_dn().to_owned());
                let problem = DiscoveryError {
                    code: ObjectErrorCode::NEED_FULL_OBJECT,
                    detail: detail.to_owned(),
                    dn,
                    anchor: None,
                    legible: Legible::default(),
                };
                return self.rejected(&problem, segment, recorder);
            }
        }
        if let Some(id) = known {
            if segment.has(id) || segment.placeholders.contains_key(&id) {
                return Ok(false);
            }
            if whole
                && self.is_duplicate(id)
                && let Some(done) = self.duplicate(id, entry, segment, recorder)?
            {
                return Ok(done);
            }
            if whole && self.lookup.unchanged(id, hash) {
                self.see_known(id, entry.object_type());
                self.unread.remove(&id);
                recorder.count("stage-no-change", 1);
                return Ok(true);
            }
        }
        let placeholder = match entry.anchor() {
            Some(anchor) if whole && known.is_none() => self.placeholder_of(anchor, &segment.snapshot)?,
            _ => None,
        };
        let mut own = match ahead.take() {
            Some(own) => own,
            None => self.ahead(entry, whole, known, &segment.snapshot)?,
        };
        if own.read.is_some_and(|id| Some(id) != known || stale.contains(&id)) || (known.is_some() && own.read.is_none()) {
            own.read = known;
            own.stored = known.map(|id| read(&segment.snapshot, id, whole)).transpose()?.flatten();
        }
        if let Some(problem) = flaw(entry, self.store.names(), whole, &own) {
            return self.rejected(&problem, segment, recorder);
        }
        if let Some(problem) = if whole { self.other_key(entry, known, &own, segment)? } else { None } {
            return self.rejected(&problem, segment, recorder);
        }
        let old = own.stored.as_ref().and_then(|(object, _)| Dn::parse(&object.dn).ok()).map(|dn| dn.key());
        let renamed = known.filter(|_| own.key.is_some() && own.stored.is_some() && old != own.key);
        if let Some(problem) = self.taken_key(entry, whole, renamed.and(own.stored.as_ref()).map(|(object, _)| object)) {
            return self.rejected(&problem, segment, recorder);
        }
        let identity = match renamed {
            Some(id) if segment.refers_to(id)? => None,
            _ => self.identify(entry, whole, (known, placeholder), &own, segment)?,
        };
        let Some(mut identity) = identity else {
            *ahead = Some(own);
            return Ok(false);
        };
        let mut stored = identity.stored.take().or_else(|| own.stored.take());
        let mut image = std::mem::take(&mut own.image);
        if !whole {
            let Some((object, _)) = stored.as_ref().filter(|(object, _)| object.imported()) else {
                let detail = "a change for an object that is not known: run a full import";
                let problem = problem_of(entry, self.store.names(), ObjectErrorCode::NEED_FULL_OBJECT, detail);
                if self.unknown.note(&problem) {
                    return Ok(true);
                }
                return self.rejected(&problem, segment, recorder);
            };
            image = image::of_change(entry, self.store.names(), object);
            if let Some((code, detail)) = &image.flaw {
                return self.rejected(&problem_of(entry, self.store.names(), code.clone(), detail), segment, recorder);
            }
        }
        if let Some(problem) = self.another_kind(entry, stored.as_ref().map(|(object, _)| object)) {
            return self.rejected(&problem, segment, recorder);
        }
        if let Some(problem) = self.lacks_required(entry, whole, stored.as_ref(), &image, &segment.snapshot)? {
            return self.rejected(&problem, segment, recorder);
        }
        if let (Some(id), None) = (identity.id, known) {
            if whole
                && self.is_duplicate(id)
                && let Some(done) = self.duplicate(id, entry, segment, recorder)?
            {
                return Ok(done);
            }
            self.lookup.mark_seen(id);
        } else if let Some(id) = known {
            self.see_known(id, entry.object_type());
        }
        let id = identity.id.unwrap_or_else(|| self.lookup.allocate());
        self.lookup.mark_seen(id);
        segment.placeholders.remove(&id);
        segment.entries.insert(id);
        self.second_counts.remove(&id);
        if whole {
            self.outdated.remove(&id);
            self.unread.remove(&id);
        }
        let mut renamed_from = None;
        if let (Some(_), Some((object, _))) = (renamed, &stored) {
            renamed_from = Some(object.dn.clone());
            // Whoever refers to it by its old name now means another object, or says another name.
            let readers = self.outdate(id, id, segment)?;
            if let Some(old) = old.filter(|_| !object.transient) {
                self.lookup.clear_name(&old, id);
                self.free_name((&old, &object.dn), id, readers, segment)?;
            }
        }
        self.make_room(id, identity.holder, segment)?;
        if let (Some(placeholder), Some(anchor)) = (placeholder, entry.anchor()) {
            self.replace(placeholder, anchor, id, segment)?;
        }
        if let Some(anchor) = entry.anchor() {
            self.lookup.set_anchor(anchor_key(anchor), id);
        }
        if let Some(key) = &own.key {
            self.lookup.set_name(key, id);
            self.displaced.remove(&id);
        }
        if let Some((object, rows)) = stored.as_mut().filter(|_| !whole) {
            self.read_named(object.id, &image.references, rows, segment)?;
        }
        let before = stored.as_ref().filter(|_| !whole).map_or(&[][..], |(_, rows)| rows.as_slice());
        let (shown, unclear) = self.resolve(id, std::mem::take(&mut image.references), before, segment)?;
        if unclear {
            let detail = "a reference was taken away that is not known: run a full import";
            // Where the directory cannot be asked, what is not there needs not be taken away.
            self.unknown.note(&problem_of(entry, self.store.names(), ObjectErrorCode::NEED_FULL_OBJECT, detail));
        }
        segment.referred.extend(shown.iter().map(|(_, target)| *target));
        let named = own.dn.is_some();
        segment.work.push(Work { entry: *entry, whole, hash, named, image, shown, id, stored, renamed_from, adopted: identity.adopted });
        Ok(true)
    }

    /// Compares and writes what was gathered.
    pub(super) fn flush(&mut self, segment: Segment<'_>, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let Segment { snapshot, mut changes, mut work, mut others, referrers, placeholders, .. } = segment;
        let (written_only, names) = (&self.options.written_only, self.store.names());
        let staged: Vec<Staged> = work.par_iter_mut().with_min_len(PER_TASK).map(|work| compare(work, written_only, names)).collect();
        for owner in referrers {
            if let Some(object) = others.get_mut(&owner) {
                refresh_referrer(object, &snapshot, &changes)?;
            }
        }
        let new: HashSet<CsId> = placeholders.keys().copied().collect();
        changes.cs_put.extend(placeholders.into_values());
        changes.cs_put.extend(others.into_values());
        for (work, staged) in work.into_iter().zip(staged) {
            if staged.known && self.is_unsettled(&work.shown, &staged.rows, &snapshot, &new)? {
                self.note_unsettled(&mut changes);
            }
            self.write(work, staged, &snapshot, &mut changes, recorder)?;
        }
        drop(snapshot);
        self.commit_part(changes, recorder)
    }

    fn write(
        &mut self,
        work: Work<'_>,
        staged: Staged,
        snapshot: &Snapshot,
        changes: &mut ChangeSet,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
        let Staged { object, rows, found, stored, known, made, renamed, retyped, changes: described, lost } = staged;
        let id = object.id;
        self.note_losses(&object, &lost, changes);
        if known {
            self.notice(&object, &found, made, snapshot, recorder)?;
        }
        if work.whole {
            // Whose problem stands is looked at again by the next full import, also when nothing is to be sent again.
            let settled = found.not_reimported.is_empty() && !self.told_twice.contains(&id);
            changes.cs_hash.push((id, settled.then_some(work.hash)));
        } else if found.changed || renamed {
            // What the last whole entry said is not what the object is any more.
            changes.cs_hash.push((id, None));
        }
        if !found.not_reimported.is_empty() {
            let names: Vec<_> = found.not_reimported.iter().map(|attr| self.store.names().name(*attr).to_string()).collect();
            let detail = format!(
                "the directory accepted a change of {} and does not show it; the change is sent again with the next export",
                names.join(", ")
            );
            let error = ObjectError::new(ObjectErrorCode::EXPORTED_CHANGE_NOT_REIMPORTED, detail, self.cx.now());
            changes.errors.push((id, ErrorSide::Import, Some(error)));
        } else if stored
            && !self.told_twice.contains(&id)
            && let Some(error) = snapshot.error(id, ErrorSide::Import)?
        {
            changes.errors.push((id, ErrorSide::Import, None));
            if error.code == ObjectErrorCode::DUPLICATE_DN {
                self.renamed_back.insert(id, error);
            }
        }
        if found.wanted_again {
            changes.dirty.push((id, Some(DirtyReason::Consequence)));
        }
        if !known {
            recorder.object("stage-add", id, &object.dn, Vec::new());
        } else if retyped {
            recorder.object("stage-delete-add", id, &object.dn, described);
        } else if renamed {
            recorder.object("stage-rename", id, &object.dn, described);
        } else if found.changed && found.differs {
            recorder.object("stage-update", id, &object.dn, described);
        } else {
            recorder.count("stage-no-change", 1);
        }
        changes.blobs.extend(work.image.blobs);
        changes.cs_reference.extend(rows);
        changes.cs_put.push(object);
        Ok(())
    }
}
