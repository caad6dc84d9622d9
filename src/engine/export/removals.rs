//! Deletes that wait for somebody: those of people who may only have moved, and those that follow from the removal of a connector.
//! Whom a removal concerns is kept before anybody of it is synchronized off, and whoever of them is to be deleted waits until
//! somebody has allowed exactly that.

use super::DeleteSet;
use super::guards::NAMED;
use super::moves::{PossibleMove, possible_moves};
use super::queue::each;
use crate::model::{ConnectorId, CsId, DeltaKind, Names, Stage, Timestamp, ValueState};
use crate::store::{ChangeSet, Kept, KeptState, Snapshot, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The state of a target that names the objects which the removal of connectors concerns.
pub const REMOVALS: &str = "export-removals";
const KEPT: KeptState<Removals> = KeptState::new(REMOVALS);
/// Objects looked at together.
const PAGE: usize = 1_000;

/// What removals concern in one target, by the number of the removed connector.
type Removals = BTreeMap<u16, Removal>;

/// What the removal of one connector concerns in a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Removal {
    /// What the connector was called.
    name: String,
    /// Since when this is known, in microseconds since 1970.
    since: i64,
    /// The target's objects of whoever the connector had; once it is synchronized off, those of them that are to be deleted.
    objects: BTreeSet<u64>,
}

/// Deletes of one target that wait because connectors were removed, or because who is to be deleted may only have moved, and nobody
/// has allowed them yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldDeletes {
    /// What the removed connectors were called.
    pub connectors: Vec<String>,
    /// Of whom it may be that they only moved, and where to.
    pub moves: BTreeMap<CsId, PossibleMove>,
    /// Since when the first of them waits.
    pub since: Timestamp,
    /// The objects that are to be deleted.
    pub objects: BTreeSet<CsId>,
}

impl HeldDeletes {
    /// What waits for a target. Costs nothing where no connector was removed and nothing of a source has a problem.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(snapshot: &Snapshot, names: &Names, target: ConnectorId) -> Result<Self, StoreError> {
        let mut held = Self::default();
        for removal in removals(snapshot, target)?.into_values() {
            let waiting = waiting(snapshot, &removal.objects)?;
            if !waiting.is_empty() {
                let since = Timestamp(removal.since);
                held.since = if held.objects.is_empty() { since } else { held.since.min(since) };
                held.connectors.push(removal.name);
                held.objects.extend(waiting.into_iter().map(CsId));
            }
        }
        held.moves = possible_moves(snapshot, names, target)?;
        held.moves.retain(|id, _| !held.objects.contains(id));
        for (id, possible) in &held.moves {
            held.since = if held.objects.is_empty() { possible.since } else { held.since.min(possible.since) };
            held.objects.insert(*id);
        }
        Ok(held)
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// How many deletes wait.
    pub fn count(&self) -> u64 {
        self.objects.len() as u64
    }

    /// The name of exactly these deletes, for an allowance.
    pub fn set(&self) -> DeleteSet {
        DeleteSet::of(&self.objects)
    }

    /// Why they wait, in a sentence.
    pub fn reason(&self) -> String {
        let mut reasons = Vec::new();
        if !self.connectors.is_empty() {
            let were = if self.connectors.len() == 1 { "was" } else { "were" };
            reasons.push(format!("{} {were} removed, and nobody has said yet that this is meant to delete", self.connectors.join(" and ")));
        }
        reasons.extend(self.moves.values().take(NAMED).map(ToString::to_string));
        if self.moves.len() > NAMED {
            reasons.push(format!("and {} more", self.moves.len() - NAMED));
        }
        reasons.join("; ")
    }
}

fn removals(snapshot: &Snapshot, target: ConnectorId) -> Result<Removals, StoreError> {
    Ok(read(snapshot, target)?.0)
}

/// What is kept, and whether it is kept in this form.
fn read(snapshot: &Snapshot, target: ConnectorId) -> Result<(Removals, bool), StoreError> {
    Ok(match KEPT.read(snapshot, target)? {
        Kept::Nothing => (Removals::new(), true),
        Kept::Here(removals) => (removals, true),
        // Nobody knows whose deletes waited: nothing that waits now is sent unseen.
        Kept::Unreadable(_) => {
            let mut objects = BTreeSet::new();
            each(snapshot, target, &mut |object| {
                if object.stage(Stage::PendingExport).kind == DeltaKind::Delete {
                    objects.insert(object.id.0);
                }
                Ok(())
            })?;
            (Removals::from([(0, Removal { name: "a connector".to_owned(), since: 0, objects })]), false)
        }
    })
}

/// Those of some objects that wait to be deleted.
fn waiting(snapshot: &Snapshot, objects: &BTreeSet<u64>) -> Result<BTreeSet<u64>, StoreError> {
    let mut waiting = BTreeSet::new();
    for id in objects {
        let object = snapshot.cs_object(CsId(*id))?;
        if object.is_some_and(|object| object.stage(Stage::PendingExport).kind == DeltaKind::Delete) {
            waiting.insert(*id);
        }
    }
    Ok(waiting)
}

/// Looks, before anything is synchronized, whom the removals of connectors concern: of those that are on their way out
/// (`leaving`) everybody whom they share with a target, whatever becomes of them; of those that are through only whoever waits
/// to be deleted, so that somebody who leaves later waits for nobody.
pub(in crate::engine) fn follow_removals(
    store: &Store,
    targets: &[ConnectorId],
    leaving: &[(ConnectorId, &str)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let snapshot = store.snapshot()?;
    let mut changes = ChangeSet::new();
    for target in targets {
        let (before, readable) = read(&snapshot, *target)?;
        let mut after = Removals::new();
        for (number, removal) in &before {
            let through = leaving.iter().all(|(id, _)| id.0 != *number);
            let objects = if through { waiting(&snapshot, &removal.objects)? } else { removal.objects.clone() };
            let since = if readable { removal.since } else { now.0 };
            after.insert(*number, Removal { name: removal.name.clone(), since, objects });
        }
        for (id, name) in leaving {
            let removal = after.entry(id.0).or_insert_with(|| Removal { since: now.0, ..Removal::default() });
            (*name).clone_into(&mut removal.name);
            concerned(&snapshot, *id, *target, &mut removal.objects)?;
        }
        after.retain(|_, removal| !removal.objects.is_empty());
        if after != before || !readable {
            KEPT.put(&mut changes, *target, Some(&after).filter(|after| !after.is_empty()))?;
        }
    }
    if changes.is_empty() { Ok(()) } else { store.apply(changes) }
}

/// The objects of a target that share a metaverse object with one of a connector.
fn concerned(snapshot: &Snapshot, id: ConnectorId, target: ConnectorId, objects: &mut BTreeSet<u64>) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = snapshot.cs_scan(id, after, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        for mv in page.iter().filter_map(|object| object.link.mv()) {
            objects.extend(snapshot.mv_link(mv, target)?.map(|object| object.0));
        }
    }
}

/// Somebody allowed deletes: they wait for nobody any more. The others that a removal concerns go on waiting.
pub(super) fn release(store: &Store, target: ConnectorId, allowed: &BTreeSet<CsId>) -> Result<(), StoreError> {
    let mut removals = removals(&store.snapshot()?, target)?;
    for removal in removals.values_mut() {
        removal.objects.retain(|id| !allowed.contains(&CsId(*id)));
    }
    removals.retain(|_, removal| !removal.objects.is_empty());
    let mut changes = ChangeSet::new();
    KEPT.put(&mut changes, target, Some(&removals).filter(|removals| !removals.is_empty()))?;
    store.apply(changes)
}

/// True for what an export leaves where it is as long as it `holds` some objects: one of these, or an object of which nothing is to
/// change but that it refers to these no longer.
pub(in crate::engine) fn waits_with(
    snapshot: &Snapshot,
    id: CsId,
    holds: &dyn Fn(CsId) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    if holds(id)? {
        return Ok(true);
    }
    let Some(object) = snapshot.cs_object(id)? else { return Ok(false) };
    let wanted = object.stage(Stage::PendingExport);
    let has_values = object.values.iter().any(|item| ValueState(item.flags).touched(Stage::PendingExport));
    if wanted.kind != DeltaKind::Update || wanted.rename.is_some() || has_values {
        return Ok(false);
    }
    let mut waits = false;
    for row in snapshot.cs_touched_references(id)?.iter().filter(|row| row.state.touched(Stage::PendingExport)) {
        waits = row.state.removed(Stage::PendingExport) && holds(row.target)?;
        if !waits {
            break;
        }
    }
    Ok(waits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CsObject, FlatValues, Link, MvId, MvObject, ObjectType, RuleId};

    const SOURCE: ConnectorId = ConnectorId(1);
    const TARGET: ConnectorId = ConnectorId(2);
    const NOW: Timestamp = Timestamp(7);

    /// People of the source and of the target, by the number that both share; whoever is told waits to be deleted.
    fn store(people: &[u64], deleted: &[u64]) -> Store {
        let store = Store::in_memory().unwrap();
        let mut changes = ChangeSet::new();
        for number in people {
            let mv = MvId(*number);
            changes.mv_put.push(MvObject { id: mv, object_type: ObjectType(0), values: FlatValues::default(), lineage: Vec::new() });
            for connector in [SOURCE, TARGET] {
                let id = CsId::new(connector, *number);
                let mut object = CsObject::new(id, ObjectType(0), format!("CN={number}"));
                object.link = Link::Connected { mv, by: RuleId(1) };
                changes.cs_put.push(object);
            }
        }
        store.apply(changes).unwrap();
        delete(&store, deleted);
        store
    }

    fn delete(store: &Store, numbers: &[u64]) {
        let mut changes = ChangeSet::new();
        for number in numbers {
            let mut object = store.snapshot().unwrap().cs_object(CsId::new(TARGET, *number)).unwrap().unwrap();
            object.stage_mut(Stage::PendingExport).kind = DeltaKind::Delete;
            changes.cs_put.push(object);
        }
        store.apply(changes).unwrap();
    }

    fn held(store: &Store) -> Vec<u64> {
        let held = HeldDeletes::of(&store.snapshot().unwrap(), store.names(), TARGET).unwrap();
        held.objects.iter().map(|id| id.sequence()).collect()
    }

    #[test]
    fn what_is_allowed_goes_and_the_rest_waits_until_the_connector_is_off() {
        let store = store(&[1, 2, 3], &[]);
        follow_removals(&store, &[TARGET], &[(SOURCE, "lab")], NOW).unwrap();
        assert_eq!(held(&store), [] as [u64; 0], "nobody is deleted yet");
        delete(&store, &[1]);
        assert_eq!(held(&store), [1]);
        release(&store, TARGET, &BTreeSet::from([CsId::new(TARGET, 1)])).unwrap();
        assert_eq!(held(&store), [] as [u64; 0]);
        delete(&store, &[2]);
        assert_eq!(held(&store), [2], "nobody was asked about this one");
        // It is off: whoever stayed may leave later.
        follow_removals(&store, &[TARGET], &[], NOW).unwrap();
        delete(&store, &[3]);
        assert_eq!(held(&store), [2]);
    }

    #[test]
    fn of_what_cannot_be_read_nothing_is_sent_unseen() {
        let store = store(&[1, 2], &[1]);
        let mut changes = ChangeSet::new();
        changes.states.push((TARGET, REMOVALS.to_owned(), Some(b"lab, hr".to_vec())));
        store.apply(changes).unwrap();
        assert_eq!(held(&store), [1]);
        // Whoever leaves later is another matter.
        follow_removals(&store, &[TARGET], &[], NOW).unwrap();
        delete(&store, &[2]);
        assert_eq!(held(&store), [1]);
    }
}
