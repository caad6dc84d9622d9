//! Staging one page.
//!
//! Entries are taken in their order and gathered into segments: within a segment no entry needs what another one
//! writes, so that a segment can be compared in parallel and written at once. An entry that does need it closes the
//! segment before it. What an import comes to therefore depends on the order of entries and not on where pages end.

use super::image::{self, Comparison, Image, Target};
use super::lookup::{Key, anchor_key};
use super::{AskAgain, EngineError, Import, StepRecorder, hash};
use crate::connector::{Departure, DiscoveryError, EntryRef, ImportPage, Operation, PageItem};
use crate::model::{
    Anchor, AttrId, CsId, CsObject, CsReference, DeltaKind, Dn, DnKey, ErrorSide, Link, ObjectError, ObjectErrorCode, Stage, StageMask,
    ValueState,
};
use crate::store::{ChangeSet, DirtyReason, Snapshot, StoreError};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// An anchor longer than this cannot be a key (specification: sync engine, section 2.4).
const ANCHOR_MAX: usize = 398;
/// Few enough to keep both cores busy, enough to be worth handing over.
const PER_TASK: usize = 64;

/// An object as it is stored, with its references: all of them for a whole entry; for a change those that something is under
/// way for and those that it names.
type Stored = Option<(CsObject, Vec<CsReference>)>;

/// What was computed of an entry before its turn: everything that does not depend on entries before it.
struct Ahead {
    dn: Option<Dn>,
    key: Option<DnKey>,
    /// For a whole entry; what a change comes to depends on the object.
    image: Image,
    /// The object that was read ahead, as it was when the page began.
    read: Option<CsId>,
    stored: Stored,
}

/// An entry that is new or says something new.
struct Work<'p> {
    entry: EntryRef<'p>,
    whole: bool,
    hash: u128,
    named: bool,
    image: Image,
    /// The objects that the entry refers to, by attribute.
    shown: BTreeSet<(AttrId, CsId)>,
    id: CsId,
    stored: Stored,
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

/// Entries that are written together.
pub(super) struct Segment<'p> {
    snapshot: Snapshot,
    changes: ChangeSet,
    work: Vec<Work<'p>>,
    /// Objects with an entry in this segment.
    entries: HashSet<CsId>,
    /// Objects that others change: whose name was taken, or whose reference found its object.
    others: BTreeMap<CsId, CsObject>,
    /// Those of `others` whose references changed.
    referrers: BTreeSet<CsId>,
    /// Objects to which entries of this segment refer; the store does not know that yet.
    referred: HashSet<CsId>,
    /// Names that somebody refers to and nobody has.
    placeholders: BTreeMap<CsId, Box<str>>,
}

/// What becomes of the object that has the name of an entry.
enum Holder {
    /// Nobody has it.
    Nobody,
    /// A placeholder: its references go over to the entry's object.
    Placeholder(CsId),
    /// We provisioned it, and it is not there yet: it gives way and is provisioned again.
    GivesWay(CsObject),
    /// It waits for its rename or delete under a temporary name.
    Displaced(CsId),
}

/// Which object an entry is.
struct Identity {
    /// None for a new one.
    id: Option<CsId>,
    stored: Stored,
    adopted: bool,
    holder: Holder,
}

impl Segment<'_> {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            changes: ChangeSet::new(),
            work: Vec::new(),
            entries: HashSet::new(),
            others: BTreeMap::new(),
            referrers: BTreeSet::new(),
            referred: HashSet::new(),
            placeholders: BTreeMap::new(),
        }
    }

    /// True when the segment writes the object, so that whoever needs it has to wait.
    fn has(&self, id: CsId) -> bool {
        self.entries.contains(&id) || self.others.contains_key(&id)
    }

    /// True when an entry of the segment refers to the object, or did so before.
    fn refers_to(&self, id: CsId) -> Result<bool, EngineError> {
        Ok(self.referred.contains(&id) || self.snapshot.cs_referrers(id)?.iter().any(|(_, owner)| self.entries.contains(owner)))
    }

    /// An object as this segment leaves it; it must not have an entry of its own here.
    fn other(&mut self, id: CsId) -> Result<Option<CsObject>, EngineError> {
        match self.others.remove(&id) {
            Some(object) => Ok(Some(object)),
            None => Ok(self.snapshot.cs_object(id)?),
        }
    }
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

    /// An object that left under another name takes that name before it goes: references to it stay, and are found
    /// under this name when it comes back.
    fn renamed_first<'p>(
        &self,
        item: &PageItem<'p>,
        anchor: Option<Key>,
        segment: &Segment<'_>,
    ) -> Result<Option<PageItem<'p>>, EngineError> {
        let PageItem::Gone(entry) = item else { return Ok(None) };
        if entry.departure() != Some(Departure::Left) || entry.dn().is_empty() {
            return Ok(None);
        }
        let Some(id) = self.by_anchor(entry, anchor, &segment.snapshot)? else { return Ok(None) };
        let known = segment.entries.contains(&id) || segment.snapshot.cs_object(id)?.is_some_and(|object| object.imported());
        Ok(known.then_some(PageItem::Change(*entry)))
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
        let image = if whole { image::of_entry(entry, self.store.names()) } else { Image::default() };
        let stored = known.map(|id| read(snapshot, id, whole)).transpose()?.flatten();
        Ok(Box::new(Ahead { dn, key, image, read: known, stored }))
    }

    fn by_anchor(&self, entry: &EntryRef<'_>, key: Option<Key>, snapshot: &Snapshot) -> Result<Option<CsId>, EngineError> {
        let Some((key, anchor)) = key.zip(entry.anchor()) else { return Ok(None) };
        Ok(self.lookup.by_anchor(snapshot, key, anchor)?)
    }

    fn by_name(&self, dn: &str, snapshot: &Snapshot) -> Result<Option<CsId>, EngineError> {
        let Ok(dn) = Dn::parse(dn) else { return Ok(None) };
        Ok(self.lookup.by_name(snapshot, &dn.key())?)
    }

    /// Takes one item into the segment. False when it needs something that the segment has yet to write; nothing
    /// happened then.
    fn item<'p>(
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
                    self.see_known(id);
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
                let problem = DiscoveryError { code: ObjectErrorCode::NEED_FULL_OBJECT, detail: detail.to_owned(), dn, anchor: None };
                return self.rejected(&problem, segment, recorder);
            }
        }
        if let Some(id) = known {
            if segment.has(id) || segment.placeholders.contains_key(&id) {
                return Ok(false);
            }
            if whole && self.is_duplicate(id) {
                self.duplicate(id, entry, segment, recorder)?;
                return Ok(true);
            }
            if whole && self.lookup.unchanged(id, hash) {
                self.see_known(id);
                recorder.count("stage-no-change", 1);
                return Ok(true);
            }
        }
        let mut own = match ahead.take() {
            Some(own) => own,
            None => self.ahead(entry, whole, known, &segment.snapshot)?,
        };
        if own.read.is_some_and(|id| Some(id) != known || stale.contains(&id)) || (known.is_some() && own.read.is_none()) {
            own.read = known;
            own.stored = known.map(|id| read(&segment.snapshot, id, whole)).transpose()?.flatten();
        }
        if let Some(problem) = flaw(entry, whole, &own) {
            return self.rejected(&problem, segment, recorder);
        }
        let old = own.stored.as_ref().and_then(|(object, _)| Dn::parse(&object.dn).ok()).map(|dn| dn.key());
        let renamed = known.filter(|_| own.key.is_some() && own.stored.is_some() && old != own.key);
        let identity = match renamed {
            Some(id) if segment.refers_to(id)? => None,
            _ => self.identify(entry, whole, known, &own, segment)?,
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
                let problem = problem_of(entry, ObjectErrorCode::NEED_FULL_OBJECT, detail);
                if self.unknown.note(&problem) {
                    return Ok(true);
                }
                return self.rejected(&problem, segment, recorder);
            };
            image = image::of_change(entry, self.store.names(), object);
            if let Some((code, detail)) = &image.flaw {
                return self.rejected(&problem_of(entry, code.clone(), detail), segment, recorder);
            }
        }
        if let (Some(id), None) = (identity.id, known) {
            if whole && self.is_duplicate(id) {
                self.duplicate(id, entry, segment, recorder)?;
                return Ok(true);
            }
            self.lookup.mark_seen(id);
        } else if let Some(id) = known {
            self.see_known(id);
        }
        let id = identity.id.unwrap_or_else(|| self.lookup.allocate());
        self.lookup.mark_seen(id);
        segment.placeholders.remove(&id);
        segment.entries.insert(id);
        if whole {
            self.outdated.remove(&id);
        }
        let mut renamed_from = None;
        if let (Some(_), Some((object, _))) = (renamed, &stored) {
            renamed_from = Some(object.dn.clone());
            if let Some(old) = old.filter(|_| !object.transient) {
                self.lookup.clear_name(&old, id);
            }
            // Whoever refers to it by its old name now means another object, or says another name.
            let referrers = segment.snapshot.cs_referrers(id)?;
            self.outdate(&referrers, segment);
        }
        self.make_room(id, identity.holder, segment)?;
        if let Some(anchor) = entry.anchor() {
            self.lookup.set_anchor(anchor_key(anchor), id);
        }
        if let Some(key) = &own.key {
            self.lookup.set_name(key, id);
            self.displaced.remove(&id);
        }
        if let Some((object, rows)) = stored.as_mut().filter(|_| !whole) {
            self.read_named(object.id, &image.references, rows, &segment.snapshot)?;
        }
        let before = stored.as_ref().filter(|_| !whole).map_or(&[][..], |(_, rows)| rows.as_slice());
        let (shown, unclear) = self.resolve(std::mem::take(&mut image.references), before, segment)?;
        if unclear {
            let detail = "a reference was taken away that is not known: run a full import";
            // Where the directory cannot be asked, what is not there needs not be taken away.
            self.unknown.note(&problem_of(entry, ObjectErrorCode::NEED_FULL_OBJECT, detail));
        }
        segment.referred.extend(shown.iter().map(|(_, target)| *target));
        let named = own.dn.is_some();
        segment.work.push(Work { entry: *entry, whole, hash, named, image, shown, id, stored, renamed_from, adopted: identity.adopted });
        Ok(true)
    }

    /// True when another entry of a full import was the object already. In a delta the later entry tells the newer state.
    fn is_duplicate(&self, id: CsId) -> bool {
        self.options.full && self.lookup.is_seen(id) && !self.held.contains(&id)
    }

    /// Notes that an object was reported that the space had when the import began.
    fn see_known(&mut self, id: CsId) {
        let first = self.lookup.mark_seen(id);
        self.kept += u64::from(first);
        // What could not be read and had only its name was another object, and nobody knows which.
        self.unidentified += u64::from(!first && self.held.remove(&id));
    }

    /// Finds out which object an entry is, and whose name it takes. None when that has to wait for the segment.
    fn identify(
        &self,
        entry: &EntryRef<'_>,
        whole: bool,
        known: Option<CsId>,
        own: &Ahead,
        segment: &Segment<'_>,
    ) -> Result<Option<Identity>, EngineError> {
        let mut identity = Identity { id: known, stored: None, adopted: false, holder: Holder::Nobody };
        let Some(key) = &own.key else { return Ok(Some(identity)) };
        let holder = self.lookup.by_name(&segment.snapshot, key)?.filter(|holder| Some(*holder) != known);
        let Some(holder) = holder else { return Ok(Some(identity)) };
        if segment.placeholders.contains_key(&holder) {
            if known.is_some() {
                return Ok(None);
            }
            identity.id = Some(holder);
            return Ok(Some(identity));
        }
        if segment.entries.contains(&holder) {
            return Ok(None);
        }
        let object = match segment.others.get(&holder) {
            Some(object) => Some(object.clone()),
            None => segment.snapshot.cs_object(holder)?,
        };
        let Some(object) = object else { return Ok(Some(identity)) };
        let placeholder = object.link == Link::Placeholder;
        let provisioned = object.anchor.is_none() && !object.imported();
        if known.is_none() {
            let same_type = placeholder || entry.object_type().is_none_or(|kind| kind == object.object_type);
            if entry.anchor().is_none() || (object.anchor.is_none() && same_type) {
                if segment.others.contains_key(&holder) {
                    return Ok(None);
                }
                identity.id = Some(holder);
                identity.adopted = object.anchor.is_none() && !placeholder;
                identity.stored = Some((object, references(&segment.snapshot, holder, whole)?));
                return Ok(Some(identity));
            }
        }
        if !whole && known.is_none() {
            // A change for an object that nobody knows takes no name.
            return Ok(Some(identity));
        }
        if segment.refers_to(holder)? {
            return Ok(None);
        }
        identity.holder = if placeholder {
            Holder::Placeholder(holder)
        } else if provisioned {
            Holder::GivesWay(object)
        } else {
            Holder::Displaced(holder)
        };
        Ok(Some(identity))
    }

    /// Frees the name that an object takes.
    fn make_room(&mut self, id: CsId, holder: Holder, segment: &mut Segment<'_>) -> Result<(), EngineError> {
        match holder {
            Holder::Nobody => {}
            Holder::Placeholder(placeholder) => take_over(placeholder, id, segment)?,
            Holder::GivesWay(object) => {
                if let Some(mv) = object.link.mv() {
                    let sources = segment.snapshot.mv_links(mv)?.into_iter().filter(|id| *id != object.id);
                    segment.changes.dirty.extend(sources.map(|id| (id, Some(DirtyReason::RetryProvisioning))));
                }
                segment.others.remove(&object.id);
                segment.entries.insert(object.id);
                segment.changes.cs_delete.push(object.id);
            }
            Holder::Displaced(holder) => {
                let referrers = segment.snapshot.cs_referrers(holder)?;
                self.outdate(&referrers, segment);
                self.lookup.forget_hash(holder);
                self.displaced.insert(holder);
                displace(holder, segment)?;
            }
        }
        Ok(())
    }

    /// Objects whose stored references may not be what their entries mean: the next entry of each is compared, even
    /// when it says what it said last.
    fn outdate(&mut self, referrers: &[(AttrId, CsId)], segment: &mut Segment<'_>) {
        for (_, owner) in referrers {
            self.lookup.forget_hash(*owner);
            segment.changes.cs_hash.push((*owner, None));
        }
        self.note_outdated(referrers);
    }

    /// Notes whom a delta import has to ask for once more, if the directory's references do not follow by themselves.
    pub(super) fn note_outdated(&mut self, referrers: &[(AttrId, CsId)]) {
        if self.options.references_stay && !self.options.full {
            self.outdated.extend(referrers.iter().map(|(_, owner)| *owner));
        }
    }

    /// Reads the references that a change speaks of, beside those that it must settle anyway: the others stay as they are,
    /// so that one member more costs the same in every group.
    fn read_named(
        &self,
        owner: CsId,
        told: &[(AttrId, Operation, Vec<Target>)],
        rows: &mut Vec<CsReference>,
        snapshot: &Snapshot,
    ) -> Result<(), EngineError> {
        let mut known: HashSet<(AttrId, CsId)> = rows.iter().map(|row| (row.attr, row.target)).collect();
        for (attr, operation, targets) in told {
            if *operation == Operation::Replace {
                let all = snapshot.cs_references_of(owner, *attr)?;
                rows.extend(all.into_iter().filter(|row| known.insert((row.attr, row.target))));
                continue;
            }
            for target in targets {
                let (Some(target), _) = self.target(target, snapshot)? else { continue };
                if known.insert((*attr, target)) {
                    let state = snapshot.cs_reference(owner, *attr, target)?;
                    rows.extend((!state.is_absent()).then_some(CsReference { owner, attr: *attr, target, state }));
                }
            }
        }
        Ok(())
    }

    /// The object that a reference means, by its anchor or else by its name, and whether the anchor found it.
    fn target(&self, target: &Target, snapshot: &Snapshot) -> Result<(Option<CsId>, bool), EngineError> {
        if let Some(anchor) = &target.anchor {
            let found = self.lookup.by_anchor(snapshot, anchor_key(anchor.as_bytes()), anchor.as_bytes())?;
            if found.is_some() {
                return Ok((found, true));
            }
        }
        Ok((self.lookup.by_name(snapshot, &target.key)?, false))
    }

    /// Turns names of targets into objects, with placeholders for those nobody has reported. With it, whether something was
    /// taken away under a name that leads nowhere, so that what is left is not sure.
    fn resolve(
        &mut self,
        told: Vec<(AttrId, Operation, Vec<Target>)>,
        before: &[CsReference],
        segment: &mut Segment<'_>,
    ) -> Result<(BTreeSet<(AttrId, CsId)>, bool), EngineError> {
        let imported = before.iter().filter(|row| row.state.present(StageMask::IMPORTED));
        let mut shown: Vec<(AttrId, CsId)> = imported.map(|row| (row.attr, row.target)).collect();
        let mut unclear = false;
        for (attr, operation, targets) in told {
            if operation == Operation::Replace {
                shown.retain(|(other, _)| *other != attr);
            }
            let had: HashSet<CsId> = match operation {
                Operation::Remove => shown.iter().filter(|(other, _)| *other == attr).map(|(_, target)| *target).collect(),
                _ => HashSet::new(),
            };
            let mut gone = HashSet::new();
            for target in targets {
                let (found, by_anchor) = self.target(&target, &segment.snapshot)?;
                match (found, operation) {
                    (Some(id), Operation::Remove) => {
                        unclear |= !by_anchor && target.anchor.is_some() && !had.contains(&id);
                        gone.insert((attr, id));
                    }
                    (None, Operation::Remove) => unclear |= target.anchor.is_some(),
                    (Some(id), _) => shown.push((attr, id)),
                    (None, _) => {
                        let id = self.lookup.allocate();
                        self.lookup.set_name(&target.key, id);
                        segment.placeholders.insert(id, target.dn);
                        shown.push((attr, id));
                    }
                }
            }
            shown.retain(|row| !gone.contains(row));
        }
        Ok((shown.into_iter().collect(), unclear))
    }

    /// Compares and writes what was gathered.
    pub(super) fn flush(&mut self, segment: Segment<'_>, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let Segment { snapshot, mut changes, work, mut others, referrers, placeholders, .. } = segment;
        let unreadable = &self.options.unreadable;
        let staged: Vec<Staged> = work.par_iter().with_min_len(PER_TASK).map(|work| compare(work, unreadable)).collect();
        for owner in referrers {
            if let Some(object) = others.get_mut(&owner) {
                refresh_referrer(object, &snapshot, &changes)?;
            }
        }
        let placeholder = self.store.names().object_type("placeholder");
        changes.cs_put.extend(placeholders.into_iter().map(|(id, dn)| {
            let mut object = CsObject::new(id, placeholder, dn);
            object.link = Link::Placeholder;
            object
        }));
        changes.cs_put.extend(others.into_values());
        for (work, staged) in work.into_iter().zip(staged) {
            self.write(work, staged, &snapshot, &mut changes, recorder)?;
        }
        drop(snapshot);
        self.commit(changes, recorder)
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
        let (id, stored) = (object.id, work.stored.is_some());
        if known {
            self.notice(&object, &found, snapshot, recorder)?;
        }
        if work.whole {
            changes.cs_hash.push((id, Some(work.hash)));
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
        } else if stored && snapshot.error(id, ErrorSide::Import)?.is_some() {
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

    /// An entry that cannot be used: counted and noted, and seen if it can be told which object it is. False when that
    /// has to wait for the segment.
    pub(super) fn rejected(
        &mut self,
        error: &DiscoveryError,
        segment: &mut Segment<'_>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<bool, EngineError> {
        let mut by_anchor = None;
        if let Some(anchor) = &error.anchor {
            by_anchor = self.lookup.by_anchor(&segment.snapshot, anchor_key(anchor.as_bytes()), anchor.as_bytes())?;
        }
        let mut known = by_anchor;
        if let (None, Some(dn)) = (known, &error.dn) {
            known = self.by_name(dn, &segment.snapshot)?.filter(|id| !segment.placeholders.contains_key(id));
        }
        if known.is_some_and(|id| segment.has(id)) {
            return Ok(false);
        }
        if let Some(id) = known
            && segment.snapshot.cs_link(id)? == Some(Link::Placeholder)
        {
            // Somebody refers to this name; that tells nothing of who has it.
            known = None;
        }
        self.problems += 1;
        let shown = error
            .dn
            .clone()
            .or_else(|| error.anchor.as_ref().map(ToString::to_string))
            .unwrap_or_else(|| "an entry without a name".to_owned());
        recorder.note(format!("{shown}: {}: {}", error.code, error.detail));
        if let Some(id) = known {
            let first = self.lookup.mark_seen(id);
            self.kept += u64::from(first);
            if by_anchor.is_none() && self.options.full {
                if first {
                    self.held.insert(id);
                } else if error.anchor.is_none() {
                    self.unidentified += 1;
                }
            }
            let noted = ObjectError::new(error.code.clone(), error.detail.clone(), self.cx.now());
            segment.changes.errors.push((id, ErrorSide::Import, Some(noted)));
            segment.changes.cs_hash.push((id, None));
            segment.entries.insert(id);
            recorder.object("stage-failure", id, &shown, Vec::new());
        } else {
            recorder.count("stage-failure", 1);
            // Without an anchor it may be anybody under a new name.
            self.unidentified += u64::from(error.anchor.is_none());
        }
        Ok(true)
    }

    /// Two entries of a full import say that they are the same object; the first one counts.
    fn duplicate(
        &mut self,
        id: CsId,
        entry: &EntryRef<'_>,
        segment: &mut Segment<'_>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
        self.problems += 1;
        let first = segment.snapshot.cs_object(id)?.map_or_else(|| "an earlier entry".to_owned(), |object| object.dn.into());
        let detail = format!("{} and {first} have the same anchor; the second one is ignored: give each its own", entry.dn());
        recorder.note(format!("{}: {detail}", ObjectErrorCode::DUPLICATE_OBJECT));
        recorder.object("stage-failure", id, entry.dn(), Vec::new());
        let noted = ObjectError::new(ObjectErrorCode::DUPLICATE_OBJECT, detail, self.cx.now());
        segment.changes.errors.push((id, ErrorSide::Import, Some(noted)));
        segment.changes.cs_hash.push((id, None));
        Ok(())
    }

    /// A tombstone. False when it has to wait for the segment.
    fn gone(
        &mut self,
        entry: &EntryRef<'_>,
        anchor: Option<Key>,
        segment: &mut Segment<'_>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<bool, EngineError> {
        let mut known = self.by_anchor(entry, anchor, &segment.snapshot)?;
        if known.is_none() {
            known = self.by_name(entry.dn(), &segment.snapshot)?;
            // Another object may have the name by now: one with a key of its own is not the one meant by another key.
            if let (Some(id), Some(_)) = (known, entry.anchor())
                && !segment.has(id)
                && segment.snapshot.cs_object(id)?.is_some_and(|object| object.anchor.is_some())
            {
                known = None;
            }
        }
        if known.is_some_and(|id| segment.has(id) || segment.placeholders.contains_key(&id)) {
            return Ok(false);
        }
        let object = known.map(|id| segment.snapshot.cs_object(id)).transpose()?.flatten();
        if let (Some(object), Some(Departure::Deleted)) = (&object, entry.departure()) {
            if segment.refers_to(object.id)? {
                return Ok(false);
            }
            drop_references(object.id, segment, recorder)?;
        }
        let Some(object) = object.filter(|object| object.link != Link::Placeholder) else {
            recorder.count("filtered-deletes", 1);
            return Ok(true);
        };
        self.notice_gone(&object, recorder);
        let referrers = segment.snapshot.cs_referrers(object.id)?;
        self.note_outdated(&referrers);
        segment.entries.insert(object.id);
        self.displaced.remove(&object.id);
        stage_delete(object, &mut segment.changes, recorder);
        Ok(true)
    }
}

/// The directory took the references to a deleted object away, and tells it of nobody.
fn drop_references(target: CsId, segment: &mut Segment<'_>, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
    for (attr, owner) in segment.snapshot.cs_referrers(target)? {
        let state = segment.snapshot.cs_reference(owner, attr, target)?;
        if owner == target || !state.present(StageMask::IMPORTED) {
            continue;
        }
        let Some(referrer) = segment.other(owner)? else { continue };
        let state = state.with_target(StageMask::BASE, Stage::PendingImport, false);
        segment.changes.cs_reference.push(CsReference { owner, attr, target, state });
        segment.changes.cs_hash.push((owner, None));
        if segment.referrers.insert(owner) {
            recorder.object("stage-update", owner, &referrer.dn, Vec::new());
        }
        segment.others.insert(owner, referrer);
    }
    Ok(())
}

/// An object got a name under which others referred to it before it was reported: their references, which point to a
/// placeholder, are references to the object, and the placeholder goes.
fn take_over(placeholder: CsId, object: CsId, segment: &mut Segment<'_>) -> Result<(), EngineError> {
    for (attr, owner) in segment.snapshot.cs_referrers(placeholder)? {
        if owner == object {
            continue;
        }
        let Some(referrer) = segment.other(owner)? else { continue };
        let shown = segment.snapshot.cs_reference(owner, attr, placeholder)?.present(StageMask::IMPORTED);
        let state = segment.snapshot.cs_reference(owner, attr, object)?.with_target(StageMask::BASE, Stage::PendingImport, shown);
        segment.changes.cs_reference.push(CsReference { owner, attr, target: placeholder, state: ValueState::ABSENT });
        segment.changes.cs_reference.push(CsReference { owner, attr, target: object, state });
        segment.others.insert(owner, referrer);
        segment.referrers.insert(owner);
    }
    segment.changes.cs_delete.push(placeholder);
    Ok(())
}

/// Sets what an object has pending after references of it found their objects.
fn refresh_referrer(object: &mut CsObject, snapshot: &Snapshot, changes: &ChangeSet) -> Result<(), EngineError> {
    let stored = snapshot.cs_touched_references(object.id)?;
    let moved = changes.cs_reference.iter().filter(|row| row.owner == object.id);
    let rows: HashMap<(AttrId, CsId), CsReference> = stored.iter().chain(moved).map(|row| ((row.attr, row.target), *row)).collect();
    let rows: Vec<CsReference> = rows.into_values().collect();
    image::refresh_kind(object, &rows, Stage::PendingImport);
    Ok(())
}

/// The name of an object was taken by another: it gets a temporary one and waits for its rename or delete.
fn displace(holder: CsId, segment: &mut Segment<'_>) -> Result<(), EngineError> {
    let Some(mut object) = segment.other(holder)? else { return Ok(()) };
    if !object.transient {
        let name = std::mem::replace(&mut object.dn, format!("CN=transient-{holder}").into());
        object.transient = true;
        let delta = object.stage_mut(Stage::PendingImport);
        delta.rename.get_or_insert(name);
        if delta.kind == DeltaKind::None {
            delta.kind = DeltaKind::Update;
        }
        segment.changes.cs_hash.push((holder, None));
    }
    segment.others.insert(holder, object);
    Ok(())
}

/// What makes an entry unusable, if anything does.
fn flaw(entry: &EntryRef<'_>, whole: bool, own: &Ahead) -> Option<DiscoveryError> {
    let problem = |code, detail: &str| Some(problem_of(entry, code, detail));
    if let Some((code, detail)) = &own.image.flaw {
        return Some(problem_of(entry, code.clone(), detail));
    }
    if own.dn.is_none() && (whole || !entry.dn().is_empty()) {
        let code = if entry.dn().is_empty() { ObjectErrorCode::MISSING_DN } else { ObjectErrorCode::INVALID_DN };
        return problem(code, "the entry's distinguished name cannot be read");
    }
    if entry.anchor().is_some_and(|anchor| anchor.len() > ANCHOR_MAX) {
        return problem(ObjectErrorCode::ANCHOR_TOO_LONG, "the anchor is longer than 398 octets: choose another anchor attribute");
    }
    if whole && entry.object_type().is_none() {
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

/// An object, with all its references for a whole entry, and with those that are touched for a change.
fn read(snapshot: &Snapshot, id: CsId, whole: bool) -> Result<Stored, EngineError> {
    let Some(object) = snapshot.cs_object(id)? else { return Ok(None) };
    let rows = references(snapshot, id, whole)?;
    Ok(Some((object, rows)))
}

fn references(snapshot: &Snapshot, id: CsId, all: bool) -> Result<Vec<CsReference>, StoreError> {
    if all { snapshot.cs_references(id) } else { snapshot.cs_touched_references(id) }
}

fn problem_of(entry: &EntryRef<'_>, code: ObjectErrorCode, detail: &str) -> DiscoveryError {
    let dn = Some(entry.dn().to_owned()).filter(|dn| !dn.is_empty());
    DiscoveryError { code, detail: detail.to_owned(), dn, anchor: entry.anchor().map(Anchor::new) }
}

fn compare(work: &Work<'_>, unreadable: &BTreeSet<AttrId>) -> Staged {
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
    let changed_rows = image::compare_references(work.id, stored, &work.shown, unreadable, &mut found);
    let merged: HashMap<(AttrId, CsId), ValueState> =
        stored.iter().chain(&changed_rows).map(|row| ((row.attr, row.target), row.state)).collect();
    let rows: Vec<CsReference> =
        merged.into_iter().map(|((attr, target), state)| CsReference { owner: work.id, attr, target, state }).collect();

    if let Some(anchor) = work.entry.anchor() {
        object.anchor = Some(Anchor::new(anchor));
    }
    let renamed = work.renamed_from.is_some();
    if work.named {
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
        let wanted = object.stage_mut(Stage::PendingExport);
        if delta.kind == DeltaKind::Delete && wanted.kind == DeltaKind::None {
            // The delete was accepted, or lost, and the object is still there: it is wanted again, unless something
            // newer is wanted of the object by now.
            wanted.kind = DeltaKind::Delete;
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
