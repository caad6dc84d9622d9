//! Entries that cannot be used: counted, noted, and never taken for absence.

use super::image::{self, Image};
use super::lookup::anchor_key;
use super::page::Ahead;
use super::segment::Segment;
use super::{EngineError, Import, StepRecorder};
use crate::connector::{DiscoveryError, EntryRef, ImportPage, Legible, OddClass, Telling};
use crate::model::{
    Anchor, AttrId, ConnectorId, CsId, CsObject, Dn, DnKey, ErrorSide, Link, Names, ObjectError, ObjectErrorCode, Stage, StageMask,
    Timestamp, ValueKind, ValueRef, ValueState, counted,
};
use crate::store::{ChangeSet, KeptState, Snapshot, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use uuid::Uuid;

/// So many entries are named when they are too many.
const NAMED: usize = 3;
/// So many entries whose class may be a slip are kept; what more of them have is a class that is in use.
const SLIPS_MAX: usize = 1_000;

/// The security identifier of an account or a group.
const SID: &str = "objectSid";

/// Under this name a connector keeps which entries no object came of.
const REFUSED: KeptState<Vec<RefusedEntry>> = KeptState::new("refused-entries");

/// An entry of which no object came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct RefusedEntry {
    /// Its name, or whatever was known of it.
    pub(in crate::engine) name: String,
    /// Its key.
    pub(in crate::engine) anchor: Option<Vec<u8>>,
    /// Why it cannot be used.
    pub(in crate::engine) code: String,
    /// Since when, in microseconds since 1970.
    pub(in crate::engine) since: i64,
    /// Every key in it.
    #[serde(default)]
    pub(in crate::engine) keys: Vec<Vec<u8>>,
    /// Sign-in names, account names and addresses in it.
    #[serde(default)]
    pub(in crate::engine) identities: Vec<String>,
    /// What people call it.
    #[serde(default)]
    pub(in crate::engine) names: Vec<String>,
    /// Too little of it can be read to tell who it is about.
    #[serde(default)]
    pub(in crate::engine) anybody: bool,
    /// Another entry ran into it: whoever came of it before says nothing of who else is in there.
    #[serde(default)]
    merged: bool,
}

impl RefusedEntry {
    fn new(name: String, anchor: Option<&Anchor>, code: &ObjectErrorCode, legible: &Legible, since: i64) -> Self {
        Self {
            anybody: legible.nobody_knows || (anchor.is_none() && legible.is_empty() && Dn::parse(&name).is_err()),
            name,
            anchor: anchor.map(|anchor| anchor.as_bytes().to_vec()),
            code: code.to_string(),
            since,
            keys: legible.anchors.iter().map(|anchor| anchor.as_bytes().to_vec()).collect(),
            identities: legible.identities.clone(),
            names: legible.names.clone(),
            merged: legible.merged,
        }
    }
}

/// How a GUID is written as a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyForm {
    /// Its octets, as Active Directory has them.
    Octets,
    /// A text, as OpenLDAP has it.
    Text,
}

impl KeyForm {
    /// That of a key; none for one that is no GUID.
    fn of(anchor: &[u8]) -> Option<Self> {
        match anchor.len() {
            Anchor::GUID_OCTETS => Some(Self::Octets),
            length => (length > Anchor::GUID_OCTETS && Uuid::try_parse_ascii(anchor).is_ok()).then_some(Self::Text),
        }
    }
}

/// What one entry is told from others by: its key, or its name where it has none.
#[derive(PartialEq, Eq, Hash)]
enum Whose {
    Anchor(Vec<u8>),
    Name(Result<DnKey, String>),
}

impl Whose {
    fn named(name: &str) -> Self {
        Self::Name(Dn::parse(name).map(|dn| dn.key()).map_err(|_| name.to_owned()))
    }
}

impl RefusedEntry {
    fn whose(&self) -> Whose {
        self.anchor.clone().map_or_else(|| Whose::named(&self.name), Whose::Anchor)
    }

    /// True when an object came of it, or has its name. One that is about to go has not come.
    fn has_come(&self, snapshot: &Snapshot, connector: ConnectorId) -> Result<bool, StoreError> {
        if self.merged {
            return Ok(false);
        }
        let by_anchor = self.anchor.as_ref().map(|anchor| snapshot.cs_by_anchor(connector, anchor)).transpose()?.flatten();
        let by_name = Dn::parse(&self.name).ok().map(|dn| snapshot.cs_by_dn(connector, &dn.key())).transpose()?.flatten();
        for id in by_anchor.into_iter().chain(by_name) {
            if snapshot.cs_object(id)?.is_some_and(|object| object.imported()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The entries of which no object came: those that the connector keeps, and those of an import.
#[derive(Default)]
pub(super) struct Refused {
    kept: Vec<RefusedEntry>,
    /// Some of those that are kept left in this import.
    left: bool,
    now: Vec<RefusedEntry>,
    /// The names of all entries of this import that could not be used, whether it is known who they are or not.
    pub(super) unusable: BTreeSet<DnKey>,
    /// Of those that are kept, whoever a change record gives another class that nobody knows: that is no departure.
    odd_again: HashSet<Whose>,
}

impl Refused {
    pub(super) fn begin(snapshot: &Snapshot, connector: ConnectorId) -> Result<Self, StoreError> {
        let kept = REFUSED.read(snapshot, connector)?.or_forgotten().unwrap_or_default();
        Ok(Self { kept, ..Self::default() })
    }

    /// True when no object came of the entry with a key in earlier imports, and nobody told since that it went.
    pub(super) fn keeps(&self, key: &[u8]) -> bool {
        self.kept.iter().any(|entry| entry.anchor.as_deref() == Some(key))
    }

    /// Whom a tombstone means is not there any more. Where it has no key, its name says who that is; one with a key says nothing of an
    /// entry without.
    pub(super) fn leave(&mut self, anchor: Option<&[u8]>, name: &str) {
        if self.kept.is_empty() && self.now.is_empty() {
            return;
        }
        let name = Whose::named(name);
        if anchor.is_none() && self.odd_again.contains(&name) {
            return;
        }
        let stays = |entry: &RefusedEntry| match anchor {
            Some(anchor) => entry.anchor.as_deref() != Some(anchor),
            None => Whose::named(&entry.name) != name,
        };
        let before = self.kept.len();
        self.kept.retain(stays);
        self.left |= self.kept.len() < before;
        self.now.retain(stays);
    }
}

/// The entries of a connector of which no object came, and none has come since.
pub(in crate::engine) fn refused_entries(snapshot: &Snapshot, connector: ConnectorId) -> Result<Vec<RefusedEntry>, StoreError> {
    let mut entries = Vec::new();
    for entry in REFUSED.read(snapshot, connector)?.or_forgotten().unwrap_or_default() {
        if !entry.has_come(snapshot, connector)? {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// An entry that is kept although no object came of it, for whoever looks: what it is called, why, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEntry {
    /// Its name, or whatever was known of it.
    pub name: String,
    /// Why it cannot be used.
    pub code: String,
    /// Since when.
    pub since: Timestamp,
}

/// The entries that a connector keeps.
///
/// # Errors
/// When the store cannot be read.
pub fn kept_entries(snapshot: &Snapshot, connector: ConnectorId) -> Result<Vec<KeptEntry>, StoreError> {
    let entries = refused_entries(snapshot, connector)?.into_iter();
    Ok(entries.map(|RefusedEntry { name, code, since, .. }| KeptEntry { name, code, since: Timestamp(since) }).collect())
}

impl Import<'_> {
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
        self.lacking.note(error);
        self.refused.unusable.extend(error.dn.as_deref().and_then(|dn| Dn::parse(dn).ok()).map(|dn| dn.key()));
        let shown = error
            .dn
            .clone()
            .or_else(|| error.anchor.as_ref().map(ToString::to_string))
            .unwrap_or_else(|| "an entry without a name".to_owned());
        self.remember(&shown);
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
            self.unread.insert(id);
            recorder.object("stage-failure", id, &shown, Vec::new());
            self.unidentified += u64::from(error.legible.merged);
            // Who comes under a known name with another key may be somebody else, and the known one about to go.
            if error.legible.merged || error.anchor.is_some() && by_anchor.is_none() {
                self.refused.now.push(RefusedEntry::new(shown, error.anchor.as_ref(), &error.code, &error.legible, self.cx.now().0));
            }
        } else {
            recorder.count("stage-failure", 1);
            self.refused.now.push(RefusedEntry::new(shown, error.anchor.as_ref(), &error.code, &error.legible, self.cx.now().0));
            // Without an anchor it may be anybody under a new name, and so it may when it ran into another one.
            self.unidentified += u64::from(error.anchor.is_none() || error.legible.merged);
        }
        self.hold_others(error, segment)?;
        Ok(true)
    }

    /// Whoever has one of the keys of an entry that cannot be used is not missing, whatever the entry is.
    fn hold_others(&mut self, error: &DiscoveryError, segment: &Segment<'_>) -> Result<(), EngineError> {
        for anchor in error.legible.anchors.iter().filter(|anchor| self.options.full && Some(*anchor) != error.anchor.as_ref()) {
            let id = self.lookup.by_anchor(&segment.snapshot, anchor_key(anchor.as_bytes()), anchor.as_bytes())?;
            // Whoever has an entry in the segment was seen.
            if let Some(id) = id.filter(|id| self.lookup.mark_seen(*id)) {
                self.kept += 1;
                self.held.insert(id);
                self.unread.insert(id);
            }
        }
        Ok(())
    }

    /// Objects whose class is one that nobody knows now leave the selection: whoever corrects it is told, and as long as it is so,
    /// nobody is deleted for it without being asked.
    pub(super) fn odd_classes(&mut self, page: &ImportPage, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        if page.odd.is_empty() {
            return Ok(());
        }
        let (connector, snapshot) = (self.options.connector, self.store.snapshot()?);
        for odd in &page.odd {
            let by_anchor = odd.anchor.as_ref().map(|anchor| snapshot.cs_by_anchor(connector, anchor.as_bytes())).transpose()?.flatten();
            let known = match by_anchor {
                Some(id) => Some(id),
                None => self.by_name(&odd.dn, &snapshot)?,
            };
            let object = known.map(|id| snapshot.cs_object(id)).transpose()?.flatten();
            let object = object.filter(|object| object.link != Link::Placeholder && object.imported());
            let key = object.as_ref().and_then(|object| object.anchor.clone()).or_else(|| odd.anchor.clone());
            // A change record has no key, and is about whoever has its name.
            let same = |entry: &&RefusedEntry| {
                entry.name == odd.dn && (key.is_none() || entry.anchor.as_deref() == key.as_ref().map(Anchor::as_bytes))
            };
            let noted = self.refused.kept.iter().find(same).map(|entry| entry.code.as_str());
            let again = noted.is_some() && key.is_none();
            if again {
                self.refused.odd_again.insert(Whose::named(&odd.dn));
            }
            if object.is_none() && noted != Some(ObjectErrorCode::INVALID_ATTRIBUTE_VALUE.to_string().as_str()) {
                self.note_slip(odd, noted.is_none(), recorder);
                continue;
            }
            self.warned = true;
            recorder.note(format!(
                "{}: {}: its class '{}' is none that is known or selected, so it left the selection; if that is a slip, correct it, and if it is \
                 meant, allow its delete, which waits until then: `syncline guard show`",
                odd.dn, odd.place, odd.class
            ));
            if again {
                // What is kept of it says more than this record.
                continue;
            }
            let mut legible = Legible { nobody_knows: false, ..odd.legible.clone() };
            if let Some(object) = &object {
                self.add_imported(&mut legible, object);
            }
            let code = ObjectErrorCode::INVALID_ATTRIBUTE_VALUE;
            self.refused.now.push(RefusedEntry::new(odd.dn.clone(), key.as_ref(), &code, &legible, self.cx.now().0));
        }
        Ok(())
    }

    /// An entry that was none of ours before, and may be of a wanted class: somebody who is missed elsewhere may have moved there.
    fn note_slip(&mut self, odd: &OddClass, new: bool, recorder: &mut StepRecorder<'_>) {
        if !odd.slip || !odd.legible.tells_who() || self.slips >= SLIPS_MAX {
            return;
        }
        self.slips += 1;
        self.new_slips += usize::from(new);
        if new && self.new_slips <= NAMED {
            recorder.note(format!(
                "{}: {}: its class '{}' is none that is selected, and may be meant as one that is: as long as it is so, nobody is deleted \
                 elsewhere who has its sign-in name, account name, address or key; if it is a slip, correct it",
                odd.dn, odd.place, odd.class
            ));
        }
        // What people call it is no reason: nobody says that it is a person at all.
        let legible = Legible { nobody_knows: false, names: Vec::new(), ..odd.legible.clone() };
        let (name, code) = (odd.dn.clone(), ObjectErrorCode::MISSING_OBJECT_CLASS);
        self.refused.now.push(RefusedEntry::new(name, odd.anchor.as_ref(), &code, &legible, self.cx.now().0));
    }

    /// That there are more of those than were named: hundreds of them must not push out what else a run notes.
    pub(super) fn note_more_slips(&self, recorder: &mut StepRecorder<'_>) {
        if let more @ 1.. = self.new_slips.saturating_sub(NAMED) {
            let entries = counted(more as u64, "more entry has", "more entries have");
            recorder
                .note(format!("{entries} a class that may be meant as one that is selected: `syncline errors '{}'`", self.options.name));
        }
    }

    /// What was read of an object before tells who it is, too: a change record says next to nothing of that.
    fn add_imported(&self, legible: &mut Legible, object: &CsObject) {
        // Targets know the values that were synchronized last, which an earlier page may have changed.
        let stages = [StageMask::IMPORTED, StageMask::BASE];
        let shown = object.values.iter().filter(|item| stages.iter().any(|stage| ValueState(item.flags).present(*stage)));
        add_values(legible, self.store.names(), shown.map(|item| (item.attr, item.value)));
    }

    /// What is wrong with an entry that has the name of a known object and another key: one of another kind, so that the attribute by
    /// which it was known is lost and the next one stands in for it; or one with the known security identifier, which is never given
    /// twice (MS-ADTS 3.1.1.1.9), so that the key is another's or was damaged.
    pub(super) fn other_key(
        &self,
        entry: &EntryRef<'_>,
        by_key: Option<CsId>,
        own: &Ahead,
        segment: &Segment<'_>,
    ) -> Result<Option<DiscoveryError>, EngineError> {
        let Some(anchor) = entry.anchor().filter(|_| !self.options.allow_shrink) else { return Ok(None) };
        let Some(key) = &own.key else { return Ok(None) };
        let holder = self.lookup.by_foreseen_name(&segment.snapshot, key, own.foreseen)?.filter(|holder| Some(*holder) != by_key);
        let Some(holder) = holder else { return Ok(None) };
        // Who is only held for the key of an entry that was refused has not been told of.
        let told = self.lookup.is_seen(holder) && !self.unread.contains(&holder);
        let object = segment.snapshot.cs_object(holder)?.filter(|object| object.imported() && !told && !object.transient);
        let Some((object, known)) = object.and_then(|object| object.anchor.clone().map(|known| (object, known))) else { return Ok(None) };
        if known.as_bytes() == anchor {
            return Ok(None);
        }
        let forms = KeyForm::of(anchor).zip(KeyForm::of(known.as_bytes()));
        let new = Anchor::new(anchor);
        let detail = if by_key.is_none() && forms.is_some_and(|(is, was)| is != was) {
            format!(
                "it is known by the key {known}, and comes with one of another kind, {new}: is its objectGUID missing? With the new key it \
                 would be somebody else. If all keys are meant to change, allow it once with `syncline run start '{}' full-import --allow-shrink`",
                self.options.name
            )
        } else if self.has_sid_of(&own.image, &object) {
            format!(
                "it is known by the key {known}, and comes with another one, {new}, and the objectSid that it had: a directory gives no \
                 objectSid twice, so the key is a slip or another's. If it were believed, the account would be deleted. Put the key back; if \
                 it is meant to change, allow it once with `syncline run start '{}' full-import --allow-shrink`",
                self.options.name
            )
        } else {
            return Ok(None);
        };
        let mut problem = problem_of(entry, self.store.names(), ObjectErrorCode::MISSING_ANCHOR_COMPONENT, &detail);
        problem.legible.anchors.extend(problem.anchor.take());
        Ok(Some(problem))
    }

    /// What is wrong with an entry that comes with the key of an object that is still there under another name, in a delta that would
    /// have told a rename. Which of both has the key is known to a full import only.
    pub(super) fn taken_key(&self, entry: &EntryRef<'_>, whole: bool, known: Option<&CsObject>) -> Option<DiscoveryError> {
        let known = known.filter(|object| whole && !self.options.full && self.options.renames_are_told && object.imported())?;
        let detail = format!(
            "it has the key of {}, which is still there and was not renamed: give it a key of its own, or rename that one by 'changetype: \
             modrdn'. The next import reads everything",
            known.dn
        );
        let mut problem = problem_of(entry, self.store.names(), ObjectErrorCode::DUPLICATE_OBJECT, &detail);
        // The key is the other one's.
        problem.anchor = None;
        Some(problem)
    }

    /// True when both have the same security identifier.
    fn has_sid_of(&self, image: &Image, object: &CsObject) -> bool {
        let Some(attr) = self.store.names().find(SID) else { return false };
        let known = object.values.attribute(attr).find(|item| ValueState(item.flags).present(StageMask::IMPORTED));
        known.is_some_and(|known| image.values.attribute(attr).any(|told| told.value == known.value))
    }

    /// Keeps which entries no object came of. An import of changes tells of the others no more, until one of them comes or leaves.
    pub(super) fn keep_refused(&mut self, whole: bool, changes: &mut ChangeSet) -> Result<(), StoreError> {
        let (connector, snapshot) = (self.options.connector, self.store.snapshot()?);
        let Refused { kept, left, now, .. } = std::mem::take(&mut self.refused);
        let (mut after, mut places) = (Vec::<RefusedEntry>::new(), HashMap::new());
        for entry in now {
            // Who was told twice is what was told last.
            match places.entry(entry.whose()) {
                Entry::Occupied(place) => after[*place.get()] = entry,
                Entry::Vacant(free) => {
                    free.insert(after.len());
                    after.push(entry);
                }
            }
        }
        for entry in &kept {
            match places.entry(entry.whose()) {
                Entry::Occupied(place) => after[*place.get()].since = entry.since,
                Entry::Vacant(free) if !whole && !entry.has_come(&snapshot, connector)? => {
                    free.insert(after.len());
                    after.push(entry.clone());
                }
                Entry::Vacant(_) => {}
            }
        }
        if left || after != kept {
            REFUSED.put(changes, connector, Some(&after).filter(|after| !after.is_empty()))?;
        }
        Ok(())
    }

    /// Keeps the names of some that could not be used.
    fn remember(&mut self, name: &str) {
        if self.problem_names.len() < NAMED {
            self.problem_names.push(name.to_owned());
        }
    }

    /// The second entry of an object counts, whatever the first one left.
    fn count_again(&mut self, id: CsId) {
        self.second_counts.insert(id);
        self.lookup.forget_hash(id);
    }

    /// Two entries of a full import say that they are the same object. The first one counts, unless the second one says what was
    /// synchronized last, or has the name by which the object is known. `None` when this one counts.
    pub(super) fn duplicate(
        &mut self,
        id: CsId,
        entry: &EntryRef<'_>,
        segment: &mut Segment<'_>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<Option<bool>, EngineError> {
        let object = segment.snapshot.cs_object(id)?;
        let is = |name: &str| matches!((Dn::parse(name), Dn::parse(entry.dn())), (Ok(name), Ok(told)) if name.same(&told));
        let code = ObjectErrorCode::DUPLICATE_OBJECT;
        let Some(object) = object else { return Ok(None) };
        let first = &object.dn;
        let places = entry.told_twice().map(|places| format!(" (read in {places})")).unwrap_or_default();
        let known = object.stage(Stage::PendingImport).rename.as_deref().filter(|_| object.in_base && !object.transient);
        if known.is_some_and(is) && !is(first) {
            let detail = format!(
                "{first} and {} have the same key{places}, and the object is known as the second one, so the first one is ignored: give each its \
                 own",
                entry.dn()
            );
            let mut legible = Legible::default();
            let told = object.values.iter().filter(|item| ValueState(item.flags).present(StageMask::IMPORTED));
            add_values(&mut legible, self.store.names(), told.map(|item| (item.attr, item.value)));
            self.problems += 1;
            // Whose name it had may be missed now.
            self.unidentified += 1;
            self.remember(first);
            self.refused.unusable.extend(Dn::parse(first).ok().map(|dn| dn.key()));
            self.refused.now.push(RefusedEntry::new(first.to_string(), None, &code, &legible, self.cx.now().0));
            recorder.note(format!("{code}: {detail}"));
            recorder.object("stage-failure", id, first, Vec::new());
            self.count_again(id);
            return Ok(None);
        }
        self.told_twice.insert(id);
        if is(first) {
            let as_before = object.in_base && says_as_base(entry, self.store.names(), &object);
            let counts = if as_before { "what says the same as before counts" } else { "the first one counts" };
            let detail = format!(
                "{} is told twice{places}, and {counts}: is there an older copy of the file beside it, or was an entry pasted twice?",
                entry.dn()
            );
            self.problems += 1;
            self.remember(entry.dn());
            recorder.note(format!("{code}: {detail}"));
            recorder.object("stage-failure", id, entry.dn(), Vec::new());
            segment.changes.errors.push((id, ErrorSide::Import, Some(ObjectError::new(code, detail, self.cx.now()))));
            segment.changes.cs_hash.push((id, None));
            if as_before {
                self.count_again(id);
            }
            return Ok((!as_before).then_some(true));
        }
        let detail = format!("{first} and {} have the same anchor{places}; the second one is ignored: give each its own", entry.dn());
        let mut problem = problem_of(entry, self.store.names(), code.clone(), &detail);
        // The key is the other one's.
        problem.anchor = None;
        if !self.rejected(&problem, segment, recorder)? {
            return Ok(Some(false));
        }
        segment.changes.errors.push((id, ErrorSide::Import, Some(ObjectError::new(code, detail, self.cx.now()))));
        segment.changes.cs_hash.push((id, None));
        Ok(Some(true))
    }
}

/// True when an entry has the values that were synchronized last.
fn says_as_base(entry: &EntryRef<'_>, names: &Names, object: &CsObject) -> bool {
    let told = image::of_entry(entry, names).values;
    let base = object.values.iter().filter(|item| ValueState(item.flags).present(StageMask::BASE));
    told.iter().map(|item| (item.attr, item.value)).eq(base.map(|item| (item.attr, item.value)))
}

/// What makes an entry unusable, if anything does.
pub(super) fn flaw(entry: &EntryRef<'_>, names: &Names, whole: bool, own: &Ahead) -> Option<DiscoveryError> {
    let problem = |code, detail: &str| Some(problem_of(entry, names, code, detail));
    if let Some((code, detail)) = &own.image.flaw {
        return Some(problem_of(entry, names, code.clone(), detail));
    }
    if own.dn.is_none() && (whole || !entry.dn().is_empty()) {
        let code = if entry.dn().is_empty() { ObjectErrorCode::MISSING_DN } else { ObjectErrorCode::INVALID_DN };
        return problem(code, "the entry's distinguished name cannot be read");
    }
    if entry.anchor().is_some_and(|anchor| anchor.len() > Anchor::OCTETS_MAX) {
        return problem(ObjectErrorCode::ANCHOR_TOO_LONG, "the anchor is longer than 398 octets: choose another anchor attribute");
    }
    if whole && entry.object_type().is_none() {
        return problem(ObjectErrorCode::MISSING_OBJECT_CLASS, "the entry has no object class");
    }
    None
}

/// The problem of an entry, with whatever tells who it is about: somebody who is missed may be behind it.
pub(super) fn problem_of(entry: &EntryRef<'_>, names: &Names, code: ObjectErrorCode, detail: &str) -> DiscoveryError {
    let dn = Some(entry.dn().to_owned()).filter(|dn| !dn.is_empty());
    let mut legible = Legible::default();
    let told = entry.attributes().flat_map(|(attr, _, values)| values.map(move |value| (attr, value)));
    add_values(
        &mut legible,
        names,
        told.filter(|(_, (kind, ..))| *kind != ValueKind::Reference).map(|(attr, (_, value, _))| (attr, value)),
    );
    DiscoveryError { code, detail: detail.to_owned(), dn, anchor: entry.anchor().map(Anchor::new), legible }
}

/// Adds what values tell of whom they belong to.
fn add_values<'v>(legible: &mut Legible, names: &Names, values: impl Iterator<Item = (AttrId, ValueRef<'v>)>) {
    let mut values: Vec<_> = values.map(|(attr, value)| (Telling::of(&names.name(attr)), value)).collect();
    // There is not room for all of everybody.
    values.sort_by_key(|(telling, _)| telling.map_or(usize::MAX, |(place, _)| place));
    for (telling, value) in values {
        // Any other attribute may be by what a target knows who somebody is; it is no name of an account.
        let telling = telling.map_or(Telling::Key, |(_, telling)| telling);
        match value {
            ValueRef::Text(text) => legible.add(telling, text.as_bytes()),
            ValueRef::Binary(octets) => legible.add(Telling::Key, octets),
            _ => {}
        }
    }
}
