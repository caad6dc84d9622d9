//! Reading while planning: a snapshot with what the batch has decided so far laid over it.

use super::keys::{KeyHash, footprint_join, footprint_metaverse, footprint_object, join_key};
use crate::model::{AttrId, ConnectorId, CsId, CsObject, CsReference, DnKey, Link, MvId, MvObject, MvReference, ValueRef, ValueState};
use crate::store::{Snapshot, StoreError};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Footprints of what was read or written.
pub(crate) type Footprints = HashSet<u64, KeyHash>;

/// Tables of one batch, keyed by numbers that hash well by themselves.
pub(crate) type Table<K, V> = HashMap<K, V, KeyHash>;

/// What the batch has decided so far.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// Objects as they will be written; `None` goes.
    pub(crate) cs: BTreeMap<CsId, Option<Arc<CsObject>>>,
    /// Metaverse objects as they will be written; `None` goes.
    pub(crate) mv: BTreeMap<MvId, Option<Arc<MvObject>>>,
    /// All links of the metaverse objects whose links changed.
    pub(crate) links: HashMap<MvId, Vec<CsId>>,
    /// Changed reference rows of connector spaces; an absent state removes.
    pub(crate) cs_rows: BTreeMap<CsId, BTreeMap<(AttrId, CsId), ValueState>>,
    /// Changed references of the metaverse with their contributor; `None` removes.
    pub(crate) mv_rows: BTreeMap<MvId, BTreeMap<(AttrId, MvId), Option<u8>>>,
    /// Names taken and freed.
    pub(crate) names: HashMap<(ConnectorId, DnKey), Option<CsId>>,
    /// Join values of metaverse objects written.
    pub(crate) join: Table<u128, Vec<MvId>>,
    /// Footprints of everything written.
    pub(crate) written: Footprints,
}

impl Overlay {
    /// Footprints of everything that the batch comes to, with the references that were resolved after its units: whoever
    /// read one of them before the batch was committed must look again.
    pub(crate) fn footprints(&self) -> Footprints {
        let mut all = self.written.clone();
        all.extend(self.cs.keys().map(|id| footprint_object(*id)));
        all.extend(self.mv.keys().chain(self.links.keys()).chain(self.mv_rows.keys()).map(|id| footprint_metaverse(*id)));
        for (owner, rows) in &self.cs_rows {
            all.insert(footprint_object(*owner));
            all.extend(rows.keys().map(|(_, target)| footprint_object(*target)));
        }
        all
    }
}

/// Join values of the whole metaverse, for steps that look up more than a table walk costs.
#[derive(Debug, Default)]
pub(crate) struct JoinIndex {
    /// Keyed by half of a key: candidates are verified anyway, and this table is the largest of a step.
    first: Table<u64, MvId>,
    more: Table<u64, Vec<MvId>>,
    /// Join values of connector spaces, where the store keeps no index of them.
    spaces: Option<Table<u64, Vec<CsId>>>,
}

impl JoinIndex {
    /// Notes that a metaverse object has (or had: candidates are verified) a value.
    pub(crate) fn insert(&mut self, key: u128, mv: MvId) {
        let key = footprint_join(key);
        match self.first.get(&key) {
            None => {
                self.first.insert(key, mv);
            }
            Some(first) if *first == mv => {}
            Some(_) => {
                let more = self.more.entry(key).or_default();
                if !more.contains(&mv) {
                    more.push(mv);
                }
            }
        }
    }

    /// Notes all join values of a metaverse object.
    pub(crate) fn insert_object(&mut self, object: &MvObject, attributes: &[AttrId]) {
        for attr in attributes {
            for item in object.values.attribute(*attr) {
                self.insert(join_key(*attr, item.value), object.id);
            }
        }
    }

    /// Notes the join values of a connector-space object; from the first one on, spaces are looked up here.
    pub(crate) fn insert_space_object(&mut self, object: &CsObject, attributes: &[AttrId]) {
        let spaces = self.spaces.get_or_insert_default();
        for attr in attributes {
            for item in object.values.attribute(*attr) {
                let list = spaces.entry(footprint_join(join_key(*attr, item.value))).or_default();
                if !list.contains(&object.id) {
                    list.push(object.id);
                }
            }
        }
    }

    fn get(&self, key: u128, found: &mut Vec<MvId>) {
        let key = footprint_join(key);
        found.extend(self.first.get(&key));
        found.extend(self.more.get(&key).into_iter().flatten());
    }
}

/// A place where reading that cannot return an error leaves it.
#[derive(Debug, Default)]
pub(crate) struct Failure(Mutex<Option<StoreError>>);

impl Failure {
    /// Keeps the first error.
    pub(crate) fn note(&self, error: StoreError) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(error);
    }

    /// The error that was left here, if any.
    pub(crate) fn take(&self) -> Result<(), StoreError> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// A snapshot with a batch's decisions over it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// What is committed.
    pub(crate) snapshot: &'a Snapshot,
    /// What the batch decided.
    pub(crate) overlay: &'a Overlay,
    /// Join values in memory, when the step looks up many.
    pub(crate) index: Option<&'a JoinIndex>,
    /// Where errors of reading go that have no other way out.
    pub(crate) failure: &'a Failure,
    /// The names of back links and links, when scopes ask for members of groups.
    pub(crate) memberships: Option<(AttrId, AttrId)>,
    /// Where footprints of what a unit reads go when it reads past its own sheet.
    pub(crate) noted: Option<&'a Mutex<Vec<u64>>>,
}

impl<'a> View<'a> {
    /// A snapshot with decisions over it, in which join values are looked up in the store.
    pub(crate) fn new(snapshot: &'a Snapshot, overlay: &'a Overlay, failure: &'a Failure, memberships: Option<(AttrId, AttrId)>) -> Self {
        Self { snapshot, overlay, index: None, failure, memberships, noted: None }
    }

    fn note(&self, footprint: u64) {
        if let Some(noted) = self.noted {
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(footprint);
        }
    }

    /// The name of an object that another one refers to.
    pub(crate) fn name_of(&self, id: CsId) -> Option<String> {
        self.note(footprint_object(id));
        self.or_note(self.cs(id)).map(|object| object.dn.to_string())
    }

    /// The value, or the default after noting the error; the caller of the whole plan looks at the note.
    pub(crate) fn or_note<T: Default>(&self, result: Result<T, StoreError>) -> T {
        result.unwrap_or_else(|error| {
            self.failure.note(error);
            T::default()
        })
    }

    /// One connector-space object.
    pub(crate) fn cs(&self, id: CsId) -> Result<Option<Arc<CsObject>>, StoreError> {
        match self.overlay.cs.get(&id) {
            Some(object) => Ok(object.clone()),
            None => Ok(self.snapshot.cs_object(id)?.map(Arc::new)),
        }
    }

    /// How an object stands to the metaverse, without reading all of it.
    pub(crate) fn cs_link(&self, id: CsId) -> Result<Option<Link>, StoreError> {
        match self.overlay.cs.get(&id) {
            Some(object) => Ok(object.as_ref().map(|object| object.link)),
            None => self.snapshot.cs_link(id),
        }
    }

    /// One metaverse object.
    pub(crate) fn mv(&self, id: MvId) -> Result<Option<Arc<MvObject>>, StoreError> {
        match self.overlay.mv.get(&id) {
            Some(object) => Ok(object.clone()),
            None => Ok(self.snapshot.mv_object(id)?.map(Arc::new)),
        }
    }

    /// All objects linked to a metaverse object, ascending.
    pub(crate) fn links(&self, id: MvId) -> Result<Vec<CsId>, StoreError> {
        match self.overlay.links.get(&id) {
            Some(links) => Ok(links.clone()),
            None => self.snapshot.mv_links(id),
        }
    }

    /// The object of a connector that is linked to a metaverse object.
    pub(crate) fn link_in(&self, id: MvId, connector: ConnectorId) -> Result<Option<CsId>, StoreError> {
        match self.overlay.links.get(&id) {
            Some(links) => Ok(links.iter().copied().find(|link| link.connector() == connector)),
            None => self.snapshot.mv_link(id, connector),
        }
    }

    /// The object with a name.
    pub(crate) fn cs_by_dn(&self, connector: ConnectorId, name: &DnKey) -> Result<Option<CsId>, StoreError> {
        if !self.overlay.names.is_empty()
            && let Some(found) = self.overlay.names.get(&(connector, name.clone()))
        {
            return Ok(*found);
        }
        self.snapshot.cs_by_dn(connector, name)
    }

    /// All references of an object, in all states, ascending by attribute and target.
    pub(crate) fn cs_rows(&self, owner: CsId) -> Result<Vec<CsReference>, StoreError> {
        self.note(footprint_object(owner));
        Ok(self.with_changes(owner, self.snapshot.cs_references(owner)?))
    }

    /// The references of one attribute of an object, in all states, ascending by target.
    pub(crate) fn cs_rows_of(&self, owner: CsId, attr: AttrId) -> Result<Vec<CsReference>, StoreError> {
        self.note(footprint_object(owner));
        let mut rows = self.with_changes(owner, self.snapshot.cs_references_of(owner, attr)?);
        rows.retain(|row| row.attr == attr);
        Ok(rows)
    }

    /// The references of an object that any stage touches, ascending by attribute and target.
    pub(crate) fn cs_touched(&self, owner: CsId) -> Result<Vec<CsReference>, StoreError> {
        self.note(footprint_object(owner));
        let mut rows = self.with_changes(owner, self.snapshot.cs_touched_references(owner)?);
        rows.retain(|row| row.state.is_touched());
        Ok(rows)
    }

    fn with_changes(&self, owner: CsId, stored: Vec<CsReference>) -> Vec<CsReference> {
        match self.overlay.cs_rows.get(&owner) {
            Some(changes) => laid_over(owner, stored, changes.iter().map(|(key, state)| (*key, *state))),
            None => stored,
        }
    }

    /// How many references each attribute of an object has in the wanted image, as committed.
    pub(crate) fn reference_counts(&self, owner: CsId) -> Vec<(AttrId, u64)> {
        self.note(footprint_object(owner));
        self.or_note(self.snapshot.cs_reference_counts(owner))
    }

    /// True when the batch did not change the references of an object.
    pub(crate) fn rows_untouched(&self, owner: CsId) -> bool {
        !self.overlay.cs_rows.contains_key(&owner)
    }

    /// The groups that name an object, when the attribute asks for them: directories compute the back link and tell
    /// nobody that it changed, so it is read off the links.
    pub(crate) fn groups_of(&self, member: CsId, attr: AttrId) -> Option<Vec<u64>> {
        let (back_link, link) = self.memberships.filter(|(back_link, _)| *back_link == attr)?;
        debug_assert_ne!(back_link, link);
        self.note(footprint_object(member));
        Some(self.or_note(self.snapshot.cs_referrers_by(member, link)).into_iter().map(|group| group.0).collect())
    }

    /// All references of a metaverse object, ascending by attribute and target.
    pub(crate) fn mv_rows(&self, owner: MvId) -> Result<Vec<MvReference>, StoreError> {
        self.note(footprint_metaverse(owner));
        let stored = self.snapshot.mv_references(owner)?;
        let Some(changes) = self.overlay.mv_rows.get(&owner) else { return Ok(stored) };
        let mut rows: BTreeMap<(AttrId, MvId), u8> = stored.into_iter().map(|row| ((row.attr, row.target), row.contributor)).collect();
        for (key, contributor) in changes {
            match contributor {
                Some(contributor) => rows.insert(*key, *contributor),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().map(|((attr, target), contributor)| MvReference { owner, attr, target, contributor }).collect())
    }

    /// True when a metaverse object has a reference.
    pub(crate) fn has_mv_reference(&self, owner: MvId, attr: AttrId, target: MvId) -> Result<bool, StoreError> {
        self.note(footprint_metaverse(owner));
        match self.overlay.mv_rows.get(&owner).and_then(|rows| rows.get(&(attr, target))) {
            Some(row) => Ok(row.is_some()),
            None => Ok(self.snapshot.mv_reference(owner, attr, target)?.is_some()),
        }
    }

    /// How many references one attribute of a metaverse object has, without reading them.
    pub(crate) fn mv_reference_count(&self, owner: MvId, attr: AttrId) -> Result<u64, StoreError> {
        self.note(footprint_metaverse(owner));
        let mut count = self.snapshot.mv_reference_count(owner, attr)?;
        let Some(changes) = self.overlay.mv_rows.get(&owner) else { return Ok(count) };
        for ((_, target), row) in changes.range((attr, MvId(0))..=(attr, MvId(u64::MAX))) {
            match (self.snapshot.mv_reference(owner, attr, *target)?.is_some(), row.is_some()) {
                (false, true) => count += 1,
                (true, false) => count = count.saturating_sub(1),
                _ => {}
            }
        }
        Ok(count)
    }

    /// Objects of a connector that may have a value, to be verified.
    pub(crate) fn cs_candidates(&self, connector: ConnectorId, attr: AttrId, value: ValueRef<'_>) -> Result<Vec<CsId>, StoreError> {
        let Some(spaces) = self.index.and_then(|index| index.spaces.as_ref()) else {
            return self.snapshot.cs_join_candidates(connector, attr, value);
        };
        let found = spaces.get(&footprint_join(join_key(attr, value))).map_or(&[][..], Vec::as_slice);
        Ok(found.iter().copied().filter(|id| id.connector() == connector).collect())
    }

    /// Metaverse objects that may have a value; ascending, each once, to be verified.
    pub(crate) fn mv_candidates(&self, attr: AttrId, value: ValueRef<'_>, key: u128) -> Result<Vec<MvId>, StoreError> {
        let mut found = Vec::new();
        match self.index {
            Some(index) => index.get(key, &mut found),
            None => found = self.snapshot.mv_join_candidates(attr, value)?,
        }
        found.extend(self.overlay.join.get(&key).into_iter().flatten());
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

/// References of an object with changes laid over them, ascending by attribute and target.
pub(crate) fn laid_over(
    owner: CsId,
    stored: Vec<CsReference>,
    changes: impl Iterator<Item = ((AttrId, CsId), ValueState)>,
) -> Vec<CsReference> {
    let mut changes = changes.peekable();
    if changes.peek().is_none() {
        return stored;
    }
    let mut rows: BTreeMap<(AttrId, CsId), ValueState> = stored.into_iter().map(|row| ((row.attr, row.target), row.state)).collect();
    rows.extend(changes);
    let present = rows.into_iter().filter(|(_, state)| !state.is_absent());
    present.map(|((attr, target), state)| CsReference { owner, attr, target, state }).collect()
}
