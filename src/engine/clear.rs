//! Forgets the space of a target, so that its next import reads it as if for the first time. Sources and metaverse stay, and
//! joining ties both together again, as it does in a new store.

use super::belief::{Belief, Doubt};
use super::full_steps::{FULL_IMPORT_ASKED, FULL_SYNC_ASKED};
use crate::model::{
    AttrId, ConnectorId, CsReference, DeltaKind, FlatBuilder, Lineage, Link, MvId, MvObject, MvReference, Stage, Timestamp, ValueState,
};
use crate::store::{ChangeSet, Snapshot, Store, StoreError};
use serde::Serialize;
use std::collections::BTreeSet;

/// Objects per transaction.
const BATCH: usize = 1_000;

/// What a space holds, and with it what is lost when it is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Space {
    /// Objects, without placeholders.
    pub objects: u64,
    /// Of these the ones that are linked to a metaverse object; the next cycle finds them again.
    pub linked: u64,
    /// Of these the ones that somebody tied or parted by hand, which is forgotten.
    pub by_hand: u64,
    /// Objects that wait to be created; wanted again after the next synchronization.
    pub adds: u64,
    /// Objects that wait to be changed; wanted again after the next synchronization.
    pub updates: u64,
    /// Objects that wait to be removed: a later import finds them, and nobody wants them removed any more.
    pub deletes: u64,
    /// Objects with something that was sent and not yet seen.
    pub unconfirmed: u64,
}

impl Space {
    /// Objects with an export that waits.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.adds + self.updates + self.deletes
    }

    /// Counts what a space holds.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(snapshot: &Snapshot, connector: ConnectorId) -> Result<Self, StoreError> {
        let (mut space, mut after) = (Self::default(), None);
        loop {
            let objects = snapshot.cs_scan(connector, after, BATCH)?;
            let Some(last) = objects.last() else { return Ok(space) };
            after = Some(last.id);
            for object in objects.iter().filter(|object| object.link != Link::Placeholder) {
                space.objects += 1;
                space.linked += u64::from(object.link.mv().is_some());
                space.by_hand += u64::from(matches!(object.link, Link::ExplicitlyConnected { .. } | Link::ExplicitlyDisconnected));
                match object.stage(Stage::PendingExport).kind {
                    DeltaKind::None => {}
                    DeltaKind::Add => space.adds += 1,
                    DeltaKind::Update | DeltaKind::DeleteAdd => space.updates += 1,
                    DeltaKind::Delete => space.deletes += 1,
                }
                space.unconfirmed += u64::from([Stage::InProgress, Stage::Unconfirmed].iter().any(|stage| object.stage(*stage).is_some()));
            }
        }
    }
}

/// Forgets every object of a space with all that is under way for it, and asks for a full import of its connector and full
/// synchronizations of all. What the space gave to the metaverse goes, and metaverse objects that nothing else is linked to.
/// Can be repeated after an interruption.
///
/// # Errors
/// When the store refuses.
pub fn clear(store: &Store, connector: ConnectorId, all: &[ConnectorId], doubt: Doubt, now: Timestamp) -> Result<(), StoreError> {
    // First of all: whatever becomes of the rest, nothing goes on from what is no longer known.
    let asked = || Some(now.0.to_le_bytes().to_vec());
    let mut changes = ChangeSet::new();
    Belief::distrust(&store.snapshot()?, connector, doubt, &mut changes)?;
    changes.states.push((connector, FULL_IMPORT_ASKED.to_owned(), asked()));
    changes.states.extend(all.iter().map(|id| (*id, FULL_SYNC_ASKED.to_owned(), asked())));
    store.apply(changes)?;
    forget_references(store, connector)?;
    loop {
        let snapshot = store.snapshot()?;
        let objects = snapshot.cs_scan(connector, None, BATCH)?;
        if objects.is_empty() {
            return Ok(());
        }
        let mut changes = ChangeSet::new();
        let linked: BTreeSet<MvId> = objects.iter().filter_map(|object| object.link.mv()).collect();
        for mv in linked {
            if snapshot.mv_links(mv)?.iter().all(|link| link.connector() == connector) {
                changes.mv_delete.push(mv);
            } else if let Some(object) = snapshot.mv_object(mv)? {
                forget_contributions(&snapshot, connector, object, &mut changes)?;
            }
        }
        changes.cs_delete.extend(objects.iter().map(|object| object.id));
        store.apply(changes)?;
    }
}

/// Takes the references between objects of a space away, so that these can go in any order.
fn forget_references(store: &Store, connector: ConnectorId) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let snapshot = store.snapshot()?;
        let objects = snapshot.cs_scan(connector, after, BATCH)?;
        let Some(last) = objects.last() else { return Ok(()) };
        after = Some(last.id);
        let mut changes = ChangeSet::new();
        for object in &objects {
            let rows = snapshot.cs_references(object.id)?;
            if !rows.is_empty() {
                // Cut off here, the next import has to compare what it would take for unchanged.
                changes.cs_hash.push((object.id, None));
                changes.cs_reference.extend(rows.into_iter().map(|row| CsReference { state: ValueState::ABSENT, ..row }));
            }
        }
        if !changes.is_empty() {
            store.apply(changes)?;
        }
    }
}

/// Takes what a connector gave from a metaverse object. Of values that several gave, those that it gave go until the next
/// synchronization finds them at the others.
fn forget_contributions(
    snapshot: &Snapshot,
    connector: ConnectorId,
    mut object: MvObject,
    changes: &mut ChangeSet,
) -> Result<(), StoreError> {
    if object.lineage.iter().all(|lineage| lineage.source.connector() != connector) {
        return Ok(());
    }
    let before = std::mem::take(&mut object.lineage);
    let mut values = FlatBuilder::new();
    for item in object.values.raw_iter() {
        if let Some(place) = place_without(&before, item.attr(), item.flags(), connector) {
            values.push_raw(item, place);
        }
    }
    for row in snapshot.mv_references(object.id)? {
        match place_without(&before, row.attr, row.contributor, connector) {
            None => changes.mv_reference_delete.push((row.owner, row.attr, row.target)),
            Some(place) if place != row.contributor => changes.mv_reference.push(MvReference { contributor: place, ..row }),
            Some(_) => {}
        }
    }
    object.values = values.finish();
    object.lineage = before.into_iter().filter(|lineage| lineage.source.connector() != connector).collect();
    changes.mv_put.push(object);
    Ok(())
}

/// Where the contributor of a value stands among those of its attribute once those of a connector are gone; nothing when it
/// is one of them.
fn place_without(lineage: &[Lineage], attr: AttrId, contributor: u8, connector: ConnectorId) -> Option<u8> {
    let mut place = 0;
    for (index, origin) in lineage.iter().filter(|origin| origin.attr == attr).enumerate() {
        let goes = origin.source.connector() == connector;
        if index == usize::from(contributor) {
            return (!goes).then_some(place);
        }
        place += u8::from(!goes);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::import::WATERMARK;
    use crate::model::{CsId, CsObject, RuleId, ValueRef};

    const SOURCE: ConnectorId = ConnectorId(1);
    const TARGET: ConnectorId = ConnectorId(2);

    fn linked(store: &Store, id: CsId, name: &str, mv: u64) -> CsObject {
        let mut object = CsObject::new(id, store.names().object_type("user"), name);
        object.in_base = true;
        object.link = Link::Connected { mv: MvId(mv), by: RuleId(7) };
        object
    }

    /// Two people of a source and their objects in a target, which gave something to both, and to a third that it has alone.
    fn world() -> Store {
        let store = Store::in_memory().unwrap();
        let [mail, manager] = ["mail", "manager"].map(|name| store.names().intern(name));
        let person = |id: u64, values: &[(&str, u8)], origins: &[(AttrId, CsId)]| {
            let mut builder = FlatBuilder::new();
            for (text, contributor) in values {
                builder.push(mail, ValueRef::Text(text), *contributor);
            }
            let origin = |(attr, source): &(AttrId, CsId)| Lineage { attr: *attr, rule: RuleId(7), source: *source, since: Timestamp(5) };
            let lineage = origins.iter().map(origin).collect();
            MvObject { id: MvId(id), object_type: store.names().object_type("person"), values: builder.finish(), lineage }
        };
        let (there, here) = (|number| CsId::new(TARGET, number), |number| CsId::new(SOURCE, number));
        let mut changes = ChangeSet::new();
        for number in 1..=2 {
            changes.cs_put.push(linked(&store, here(number), &format!("CN={number},DC=here"), number));
        }
        for number in 1..=3 {
            changes.cs_put.push(linked(&store, there(number), &format!("CN={number},DC=there"), number));
        }
        changes.cs_reference.push(CsReference { owner: there(1), attr: manager, target: there(2), state: ValueState::BASE });
        // What the target gave stands before what the source gave.
        let origins = [(mail, there(1)), (mail, here(1)), (manager, there(1)), (manager, here(1))];
        changes.mv_put.push(person(1, &[("a@there", 0), ("b@here", 1)], &origins));
        changes.mv_put.push(person(2, &[("c@here", 0)], &[(mail, here(2))]));
        changes.mv_put.push(person(3, &[("d@there", 0)], &[(mail, there(3))]));
        for (target, contributor) in [(2, 1), (3, 0)] {
            changes.mv_reference.push(MvReference { owner: MvId(1), attr: manager, target: MvId(target), contributor });
        }
        changes.states.push((TARGET, WATERMARK.to_owned(), Some(vec![1])));
        store.apply(changes).unwrap();
        store
    }

    #[test]
    fn what_a_target_gave_goes_with_it_and_the_rest_stays() {
        let store = world();
        assert!(store.check().unwrap().is_clean());
        let space = Space::of(&store.snapshot().unwrap(), TARGET).unwrap();
        assert_eq!((space.objects, space.linked), (3, 3));
        for _ in 0..2 {
            clear(&store, TARGET, &[SOURCE, TARGET], Doubt::Cleared, Timestamp(9)).unwrap();
            let report = store.check().unwrap();
            assert!(report.is_clean(), "{:?}", report.problems);
            let snapshot = store.snapshot().unwrap();
            assert_eq!((snapshot.cs_count(TARGET).unwrap(), snapshot.cs_count(SOURCE).unwrap()), (0, 2));
            assert_eq!(snapshot.mv_object(MvId(3)).unwrap(), None, "nobody else stands for it");
            let first = snapshot.mv_object(MvId(1)).unwrap().unwrap();
            let values: Vec<_> = first.values.iter().map(|item| (format!("{:?}", item.value), item.flags)).collect();
            assert_eq!(values, [("\"b@here\"".to_owned(), 0)], "its contributor is the first one now");
            assert!(first.lineage.iter().all(|origin| origin.source.connector() == SOURCE) && first.lineage.len() == 2);
            let references = snapshot.mv_references(MvId(1)).unwrap();
            assert_eq!(references.iter().map(|row| (row.target, row.contributor)).collect::<Vec<_>>(), [(MvId(2), 0)]);
            assert_eq!(snapshot.state(TARGET, WATERMARK).unwrap(), None);
            assert!(snapshot.state(TARGET, FULL_IMPORT_ASKED).unwrap().is_some());
            assert!([SOURCE, TARGET].iter().all(|id| snapshot.state(*id, FULL_SYNC_ASKED).unwrap().is_some()));
        }
    }
}
