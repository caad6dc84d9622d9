//! Who is who in a connector space while an import runs: by anchor, by name, seen or not.

use crate::model::{ConnectorId, CsId, DnKey, Stage};
use crate::store::{Snapshot, StoreError};
use std::collections::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_128;

/// A 128-bit stand-in for an anchor or a name key; collisions are out of reach for what a directory can hold.
pub(super) type Key = u128;

/// The key of an anchor.
pub(super) fn anchor_key(anchor: &[u8]) -> Key {
    xxh3_128(anchor)
}

/// The key of a name.
pub(super) fn name_key(name: &DnKey) -> Key {
    xxh3_128(name.as_bytes())
}

/// Who had a name in the store when a page began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Foreseen {
    /// Nobody looked.
    #[default]
    No,
    /// This object, or nobody.
    Holder(Option<CsId>),
}

/// The canonical hashes of a space's objects. Numbers of objects are never used again, so that those in use lie as far apart as years of
/// coming and going put them: what is kept goes with the objects that there are, and not with the highest number.
#[derive(Default)]
struct Hashes {
    /// Ascending.
    numbers: Vec<u64>,
    /// In the same order; 0 where none is known.
    hashes: Vec<u128>,
}

impl Hashes {
    /// Loads those of a connector.
    fn load(snapshot: &Snapshot, connector: ConnectorId) -> Result<Self, StoreError> {
        let most = usize::try_from(snapshot.cs_count(connector)?).unwrap_or_default();
        let mut known = Self { numbers: Vec::with_capacity(most), hashes: Vec::with_capacity(most) };
        // The store gives them in the order of their ids.
        snapshot.cs_hashes(connector, &mut |id, hash| {
            known.numbers.push(id.sequence());
            known.hashes.push(hash);
        })?;
        Ok(known)
    }

    fn place(&self, id: CsId) -> Option<usize> {
        // Where nobody ever left, an object lies at its number; from there it is only ever to the left.
        let number = id.sequence();
        let end = usize::try_from(number).unwrap_or(usize::MAX).min(self.numbers.len());
        match end.checked_sub(1) {
            Some(last) if self.numbers[last] == number => Some(last),
            _ => self.numbers[..end].binary_search(&number).ok(),
        }
    }

    fn get(&self, id: CsId) -> Option<u128> {
        self.place(id).map(|place| self.hashes[place])
    }

    fn forget(&mut self, id: CsId) {
        if let Some(place) = self.place(id) {
            self.hashes[place] = 0;
        }
    }
}

/// Who is who. A full import loads the whole space, about 100 octets per object, and asks the store for nothing more.
/// A delta import loads nothing: what it meets is looked up in the store, and only what this import changed is kept
/// here, so that its work depends on the changes alone.
pub(super) struct Lookup {
    /// Everything is loaded; otherwise the maps hold what this import changed, and the store the rest.
    whole: bool,
    anchors: HashMap<Key, Option<CsId>>,
    names: HashMap<Key, Option<CsId>>,
    /// Empty in a delta import, which compares bodies.
    hashes: Hashes,
    /// Who was reported: a bit of each object, in words of 64 numbers, and a word only where somebody was.
    seen: HashMap<u64, u64>,
    /// Objects with an export that awaits confirmation: never unchanged.
    awaiting: HashSet<CsId>,
    connector: ConnectorId,
    next_sequence: u64,
}

impl Lookup {
    /// Looks everything up in the store.
    pub(super) fn of_changes(snapshot: &Snapshot, connector: ConnectorId) -> Result<Self, StoreError> {
        Ok(Self {
            whole: false,
            anchors: HashMap::new(),
            names: HashMap::new(),
            hashes: Hashes::default(),
            seen: HashMap::new(),
            awaiting: HashSet::new(),
            connector,
            next_sequence: snapshot.cs_next_sequence(connector)?,
        })
    }

    /// Reads what is known of a space. Without `trust_hashes` every body is compared.
    pub(super) fn load(snapshot: &Snapshot, connector: ConnectorId, trust_hashes: bool) -> Result<Self, StoreError> {
        let mut lookup = Self { whole: true, ..Self::of_changes(snapshot, connector)? };
        snapshot.cs_anchors(connector, &mut |anchor, id| {
            lookup.anchors.insert(anchor_key(anchor), Some(id));
        })?;
        snapshot.cs_names(connector, &mut |name, id| {
            lookup.names.insert(xxh3_128(name), Some(id));
        })?;
        if trust_hashes {
            lookup.hashes = Hashes::load(snapshot, connector)?;
            for stage in [Stage::Unconfirmed, Stage::InProgress] {
                lookup.awaiting.extend(snapshot.queue(stage, connector, None, usize::MAX)?);
            }
        }
        Ok(lookup)
    }

    /// True when a full import neither knew nor met anybody.
    pub(super) fn is_empty(&self) -> bool {
        !self.names.values().chain(self.anchors.values()).any(Option::is_some)
    }

    pub(super) fn by_anchor(&self, snapshot: &Snapshot, key: Key, anchor: &[u8]) -> Result<Option<CsId>, StoreError> {
        match self.anchors.get(&key) {
            Some(known) => Ok(*known),
            None if self.whole => Ok(None),
            None => snapshot.cs_by_anchor(self.connector, anchor),
        }
    }

    pub(super) fn by_name(&self, snapshot: &Snapshot, name: &DnKey) -> Result<Option<CsId>, StoreError> {
        match self.names.get(&name_key(name)) {
            Some(known) => Ok(*known),
            None if self.whole => Ok(None),
            None => snapshot.cs_by_dn(self.connector, name),
        }
    }

    /// What the store says of a name, to be used when the turn of an entry comes.
    pub(super) fn foresee(&self, snapshot: &Snapshot, name: &DnKey) -> Result<Foreseen, StoreError> {
        Ok(if self.whole { Foreseen::No } else { Foreseen::Holder(snapshot.cs_by_dn(self.connector, name)?) })
    }

    /// As [`by_name`](Self::by_name). What was foreseen stands for every name that this import did not change since, and those
    /// are known here.
    pub(super) fn by_foreseen_name(&self, snapshot: &Snapshot, name: &DnKey, foreseen: Foreseen) -> Result<Option<CsId>, StoreError> {
        match (self.names.get(&name_key(name)), foreseen) {
            (None, Foreseen::Holder(holder)) => Ok(holder),
            _ => self.by_name(snapshot, name),
        }
    }

    /// True when the entry says what the last import said, and nothing awaits confirmation.
    pub(super) fn unchanged(&self, id: CsId, hash: u128) -> bool {
        hash != 0 && self.hashes.get(id) == Some(hash) && !self.awaiting.contains(&id)
    }

    /// The next entry of the object is compared by its body.
    pub(super) fn forget_hash(&mut self, id: CsId) {
        self.hashes.forget(id);
    }

    /// Notes that an object was reported; false when it had been before.
    pub(super) fn mark_seen(&mut self, id: CsId) -> bool {
        let (word, bit) = (id.sequence() / 64, 1u64 << (id.sequence() % 64));
        let word = self.seen.entry(word).or_default();
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub(super) fn is_seen(&self, id: CsId) -> bool {
        self.seen.get(&(id.sequence() / 64)).is_some_and(|word| word >> (id.sequence() % 64) & 1 == 1)
    }

    /// A number for a new object.
    pub(super) fn allocate(&mut self) -> CsId {
        let id = CsId::new(self.connector, self.next_sequence);
        self.next_sequence += 1;
        id
    }

    pub(super) fn set_anchor(&mut self, key: Key, id: CsId) {
        self.anchors.insert(key, Some(id));
    }

    pub(super) fn clear_anchor(&mut self, key: Key) {
        self.anchors.insert(key, None);
    }

    pub(super) fn set_name(&mut self, name: &DnKey, id: CsId) {
        self.names.insert(name_key(name), Some(id));
    }

    /// Forgets a name, unless another object has taken it meanwhile.
    pub(super) fn clear_name(&mut self, name: &DnKey, id: CsId) {
        let holder = self.names.entry(name_key(name)).or_insert(Some(id));
        if *holder == Some(id) {
            *holder = None;
        }
    }

    /// Objects that nobody reported, ascending.
    pub(super) fn unseen(&self, snapshot: &Snapshot) -> Result<Vec<CsId>, StoreError> {
        let mut unseen: Vec<CsId> = if self.whole {
            self.names.values().chain(self.anchors.values()).copied().flatten().filter(|id| !self.is_seen(*id)).collect()
        } else {
            let mut all = Vec::new();
            snapshot.cs_names(self.connector, &mut |_, id| all.push(id))?;
            snapshot.cs_anchors(self.connector, &mut |_, id| all.push(id))?;
            all.retain(|id| !self.is_seen(*id));
            all
        };
        unseen.sort_unstable();
        unseen.dedup();
        Ok(unseen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CsObject, ObjectType};
    use crate::store::{ChangeSet, Store};

    const SPACE: ConnectorId = ConnectorId(1);

    /// A space whose objects have these numbers, and hashes that follow from them.
    fn loaded(numbers: &[u64]) -> Lookup {
        let store = Store::in_memory().unwrap();
        let mut changes = ChangeSet::new();
        for number in numbers {
            let id = CsId::new(SPACE, *number);
            changes.cs_put.push(CsObject::new(id, ObjectType(1), format!("CN={number},DC=x")));
            changes.cs_hash.push((id, Some(u128::from(*number) + 7)));
        }
        store.apply(changes).unwrap();
        Lookup::load(&store.snapshot().unwrap(), SPACE, true).unwrap()
    }

    /// Octets of what is kept by number.
    fn octets(lookup: &Lookup) -> usize {
        lookup.hashes.numbers.capacity() * 8 + lookup.hashes.hashes.capacity() * 16 + lookup.seen.capacity() * 17
    }

    #[test]
    fn every_object_has_its_own_hash_wherever_its_number_lies() {
        let dense: Vec<u64> = (1..200).collect();
        let gaps: Vec<u64> = (1..200).map(|number| number * number).collect();
        for numbers in [&dense[..], &gaps, &[1], &[5_000_000], &[1, 2, 3, 5, 1 << 47], &[]] {
            let mut lookup = loaded(numbers);
            for number in numbers.iter().flat_map(|number| [number - 1, *number, number + 1]) {
                let (id, known) = (CsId::new(SPACE, number), numbers.contains(&number));
                assert_eq!(lookup.unchanged(id, u128::from(number) + 7), known, "{number} of {numbers:?}");
                assert!(!lookup.unchanged(id, 3) && !lookup.is_seen(id));
            }
            for number in numbers {
                let id = CsId::new(SPACE, *number);
                assert!(lookup.mark_seen(id) && !lookup.mark_seen(id) && lookup.is_seen(id));
                lookup.forget_hash(id);
                assert!(!lookup.unchanged(id, u128::from(*number) + 7));
            }
        }
    }

    /// Years of people who came and went, and strangers that were taken back.
    #[test]
    fn memory_goes_with_the_objects_and_not_with_their_numbers() {
        let at = |distance: u64| {
            let numbers: Vec<u64> = (1..=2_000).map(|number| number * distance).collect();
            let mut lookup = loaded(&numbers);
            assert!(numbers.iter().all(|number| lookup.mark_seen(CsId::new(SPACE, *number))));
            octets(&lookup)
        };
        let (dense, sparse) = (at(1), at(5_000));
        assert!(dense <= 2_000 * 26, "{dense} octets");
        assert!(sparse <= 2_000 * 24 + 4_000 * 17, "{sparse} octets");
    }
}
