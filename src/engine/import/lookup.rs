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

/// Everything a full import keeps in memory: about 100 octets per object.
pub(super) struct Lookup {
    anchors: HashMap<Key, CsId>,
    names: HashMap<Key, CsId>,
    /// Canonical hashes by sequence number; 0 where none is known.
    hashes: Vec<u128>,
    seen: Vec<u64>,
    /// Objects with an export that awaits confirmation: never unchanged.
    awaiting: HashSet<CsId>,
    /// Objects with an anchor when the import began.
    pub(super) anchored: u64,
    connector: ConnectorId,
    next_sequence: u64,
}

impl Lookup {
    /// Reads what is known of a space. Without `trust_hashes` every body is compared.
    pub(super) fn load(snapshot: &Snapshot, connector: ConnectorId, trust_hashes: bool) -> Result<Self, StoreError> {
        let mut lookup = Self {
            anchors: HashMap::new(),
            names: HashMap::new(),
            hashes: Vec::new(),
            seen: Vec::new(),
            awaiting: HashSet::new(),
            anchored: 0,
            connector,
            next_sequence: snapshot.cs_next_sequence(connector)?,
        };
        snapshot.cs_anchors(connector, &mut |anchor, id| {
            lookup.anchors.insert(anchor_key(anchor), id);
        })?;
        snapshot.cs_names(connector, &mut |name, id| {
            lookup.names.insert(xxh3_128(name), id);
        })?;
        lookup.anchored = lookup.anchors.len() as u64;
        if trust_hashes {
            snapshot.cs_hashes(connector, &mut |id, hash| {
                let index = slot(id);
                if lookup.hashes.len() <= index {
                    lookup.hashes.resize(index + 1, 0);
                }
                lookup.hashes[index] = hash;
            })?;
        }
        for stage in [Stage::Unconfirmed, Stage::InProgress] {
            lookup.awaiting.extend(snapshot.queue(stage, connector, None, usize::MAX)?);
        }
        Ok(lookup)
    }

    pub(super) fn by_anchor(&self, key: Key) -> Option<CsId> {
        self.anchors.get(&key).copied()
    }

    pub(super) fn by_name(&self, key: Key) -> Option<CsId> {
        self.names.get(&key).copied()
    }

    /// True when the entry says what the last import said, and nothing awaits confirmation.
    pub(super) fn unchanged(&self, id: CsId, hash: u128) -> bool {
        hash != 0 && self.hashes.get(slot(id)) == Some(&hash) && !self.awaiting.contains(&id)
    }

    /// Notes that an object was reported; false when it had been before.
    pub(super) fn mark_seen(&mut self, id: CsId) -> bool {
        let (word, bit) = (slot(id) / 64, 1u64 << (slot(id) % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        new
    }

    pub(super) fn is_seen(&self, id: CsId) -> bool {
        self.seen.get(slot(id) / 64).is_some_and(|word| word >> (slot(id) % 64) & 1 == 1)
    }

    /// A number for a new object.
    pub(super) fn allocate(&mut self) -> CsId {
        let id = CsId::new(self.connector, self.next_sequence);
        self.next_sequence += 1;
        id
    }

    pub(super) fn set_anchor(&mut self, key: Key, id: CsId) {
        self.anchors.insert(key, id);
    }

    pub(super) fn set_name(&mut self, key: Key, id: CsId) {
        self.names.insert(key, id);
    }

    /// Forgets a name, unless another object has taken it meanwhile.
    pub(super) fn clear_name(&mut self, key: Key, id: CsId) {
        if self.names.get(&key) == Some(&id) {
            self.names.remove(&key);
        }
    }

    /// Objects that nobody reported, ascending.
    pub(super) fn unseen(&self) -> Vec<CsId> {
        let mut unseen: Vec<CsId> = self.names.values().chain(self.anchors.values()).copied().filter(|id| !self.is_seen(*id)).collect();
        unseen.sort_unstable();
        unseen.dedup();
        unseen
    }
}

fn slot(id: CsId) -> usize {
    usize::try_from(id.sequence()).unwrap_or(usize::MAX)
}
