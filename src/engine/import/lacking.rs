//! Entries that lack what none of their kind is without. Whoever gives the right to read it back changes no object, so that no change
//! tells of them: imports of changes ask for them by their keys.

use super::{AskAgain, EngineError, Import, StepRecorder};
use crate::connector::DiscoveryError;
use crate::model::{Anchor, ConnectorId, CsObject, ObjectErrorCode};
use crate::store::{ChangeSet, KeptState, Snapshot, StoreError};
use std::collections::BTreeSet;

/// So many are asked for by their keys; where there are more of them, imports read everything.
const KEPT_MAX: usize = 1_000;

/// Under this name a connector keeps their keys.
const LACKING: KeptState<BTreeSet<Vec<u8>>> = KeptState::new("lacking-entries");

/// Who lacks something.
#[derive(Default)]
pub(super) struct Lacking {
    /// The keys of those whom earlier imports met.
    kept: BTreeSet<Vec<u8>>,
    /// The keys of those whom this import met.
    now: BTreeSet<Vec<u8>>,
    /// How often that was.
    met: u64,
    /// Whoever cannot be asked for, since the key itself is missing or another one.
    keyless: u64,
}

impl Lacking {
    pub(super) fn begin(snapshot: &Snapshot, connector: ConnectorId) -> Result<Self, StoreError> {
        let kept = LACKING.read(snapshot, connector)?.or_forgotten().unwrap_or_default();
        Ok(Self { kept, ..Self::default() })
    }

    /// An entry with a problem that may come from a missing right to read.
    pub(super) fn note(&mut self, error: &DiscoveryError) {
        let of_right = [ObjectErrorCode::MISSING_REQUIRED_ATTRIBUTE, ObjectErrorCode::MISSING_OBJECT_CLASS].contains(&error.code);
        match error.anchor.as_ref().filter(|_| of_right) {
            Some(anchor) => {
                self.met += 1;
                self.now.insert(anchor.as_bytes().to_vec());
            }
            None => self.keyless += u64::from(of_right || error.code == ObjectErrorCode::MISSING_ANCHOR_COMPONENT),
        }
    }

    /// How many of the problems of this import are those of entries that can be asked for.
    pub(super) fn met(&self) -> u64 {
        self.met
    }
}

impl Import<'_> {
    /// Asks for whoever lacked something before, and was not told of now.
    pub(super) fn ask_for_lacking(&mut self, ask_again: &mut AskAgain<'_>, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let asked: Vec<Anchor> = self.still_lacking()?.difference(&self.lacking.now).map(|key| Anchor::new(key.as_slice())).collect();
        self.ask(&asked, ask_again, recorder)
    }

    /// The keys of those of earlier imports of whom this one does not know better.
    fn still_lacking(&self) -> Result<BTreeSet<Vec<u8>>, StoreError> {
        let mut still = BTreeSet::new();
        if self.lacking.kept.is_empty() {
            return Ok(still);
        }
        let snapshot = self.store.snapshot()?;
        for key in &self.lacking.kept {
            let id = snapshot.cs_by_anchor(self.options.connector, key)?;
            let object = id.map(|id| snapshot.cs_object(id)).transpose()?.flatten().filter(CsObject::imported);
            let lacks = match object {
                Some(object) => !self.lookup.is_seen(object.id) || self.unread.contains(&object.id),
                // Whom nobody knew is kept, until it is told as gone.
                None => self.refused.keeps(key),
            };
            if lacks {
                still.insert(key.clone());
            }
        }
        Ok(still)
    }

    /// Keeps who lacks something. `asked` says that everybody of earlier imports was told of or asked for. True when the next import has
    /// to read everything for one of them.
    pub(super) fn keep_lacking(&mut self, whole: bool, asked: bool, changes: &mut ChangeSet) -> Result<bool, StoreError> {
        let mut still = if whole { BTreeSet::new() } else { self.still_lacking()? };
        // Who is known, lacked something and is not found is hidden, or went without being told.
        let lost = asked && !still.is_subset(&self.lacking.now);
        still.append(&mut self.lacking.now);
        let too_many = still.len() > KEPT_MAX;
        if too_many {
            still.clear();
        }
        if still != self.lacking.kept {
            LACKING.put(changes, self.options.connector, Some(&still).filter(|still| !still.is_empty()))?;
        }
        Ok(lost || too_many || self.lacking.keyless > 0)
    }
}
