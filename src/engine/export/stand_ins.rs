//! Who goes by a stand-in in a target: people who gave a sign-in name up for others and have not got their own yet. They cannot
//! sign in by the name they know, so they are sent first, and as long as nobody may send anything they are named.

use super::deltas;
use super::guards::NAMED;
use crate::engine::describe::called;
use crate::model::{ConnectorId, CsId, CsObject, Names, StageMask, ValueRef, ValueState};
use crate::store::{ChangeSet, KeptState, Snapshot, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// The state of a target that names the objects which were given stand-ins, with these.
pub const STAND_INS: &str = "stand-in-names";
const KEPT: KeptState<BTreeMap<u64, String>> = KeptState::new(STAND_INS);

/// Objects of a target that go by a stand-in, as far as answers and imports tell, with these names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandIns {
    /// The stand-ins by object.
    pub names: BTreeMap<CsId, String>,
}

impl StandIns {
    /// Who goes by a stand-in in a target. Costs nothing where nobody does.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(snapshot: &Snapshot, target: ConnectorId) -> Result<Self, StoreError> {
        let mut names = BTreeMap::new();
        // Whoever cannot be named is sent like everybody else.
        for (id, name) in KEPT.read(snapshot, target)?.or_forgotten().unwrap_or_default() {
            if snapshot.cs_object(CsId(id))?.is_some_and(|object| goes_by(&object, &name)) {
                names.insert(CsId(id), name);
            }
        }
        Ok(Self { names })
    }

    /// True when nobody does.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Those who are among some objects.
    #[must_use]
    pub(super) fn among(mut self, objects: &BTreeSet<CsId>) -> Self {
        self.names.retain(|id, _| objects.contains(id));
        self
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.names.len() as u64
    }

    /// Some of them, for a sentence: as whom they wait to be known, and the name that they have until then.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn sample(&self, snapshot: &Snapshot, names: &Names) -> Result<String, StoreError> {
        let mut found = Vec::new();
        for (id, name) in self.names.iter().take(NAMED) {
            found.extend(snapshot.cs_object(*id)?.map(|object| format!("{}, now {name}", called(names, &object))));
        }
        if self.names.len() > NAMED {
            found.push("…".to_owned());
        }
        Ok(found.join("; "))
    }
}

/// Values stay with an object whose delete was acknowledged until an import shows it gone; who is gone goes by no name.
fn goes_by(object: &CsObject, name: &str) -> bool {
    deltas::acknowledged_exists(object)
        && object.values.iter().any(|item| item.value == ValueRef::Text(name) && ValueState(item.flags).present(StageMask::EXPECTED))
}

/// Commits changes that give stand-ins to objects, and who they are.
pub(super) fn lend(store: &Store, target: ConnectorId, more: BTreeMap<CsId, String>, mut changes: ChangeSet) -> Result<(), StoreError> {
    let mut all = KEPT.read(&store.snapshot()?, target)?.or_forgotten().unwrap_or_default();
    all.extend(more.into_iter().filter(|(_, name)| !name.is_empty()).map(|(id, name)| (id.0, name)));
    KEPT.put(&mut changes, target, Some(&all).filter(|all| !all.is_empty()))?;
    store.apply(changes)
}

/// Forgets who has a name of their own again, or is gone. Gives whoever has not.
pub(super) fn settle(store: &Store, target: ConnectorId) -> Result<StandIns, StoreError> {
    let snapshot = store.snapshot()?;
    let left = StandIns::of(&snapshot, target)?;
    if snapshot.state(target, STAND_INS)?.is_some() {
        let mut changes = ChangeSet::new();
        let kept: BTreeMap<u64, String> = left.names.iter().map(|(id, name)| (id.0, name.clone())).collect();
        KEPT.put(&mut changes, target, Some(&kept).filter(|kept| !kept.is_empty()))?;
        store.apply(changes)?;
    }
    Ok(left)
}
