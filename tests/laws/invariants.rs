//! What must hold after every step, whatever happened (architecture, section 8: structure).

use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use syncline::model::{Anchor, ConnectorId, CsId, DeltaKind, Link, MvId, Stage, ValueState};

/// Checks invariants 1 to 5, and that the object-level part of every delta agrees with its values and references.
pub(crate) fn check(world: &World) {
    let snapshot = world.snapshot();
    let mut linked: BTreeMap<MvId, BTreeSet<CsId>> = BTreeMap::new();
    for connector in [1, 2, 3].map(ConnectorId) {
        for object in world.space(connector) {
            if let Some(mv) = object.link.mv() {
                assert!(snapshot.mv_object(mv).unwrap().is_some(), "{} is linked to metaverse object {mv}, which is gone", object.dn);
                assert_eq!(snapshot.mv_link(mv, connector).unwrap(), Some(object.id), "1 and 2: one link per connector, both ways");
                linked.entry(mv).or_default().insert(object.id);
            }
            assert_eq!(snapshot.cs_link(object.id).unwrap(), Some(object.link), "2: forward rows");
            let rows = snapshot.cs_references(object.id).unwrap();
            if object.link == Link::Placeholder {
                let marked = object.anchor.as_ref().is_none_or(|key| Anchor::is_of_placeholder(key.as_bytes()));
                assert!(
                    marked && object.values.is_empty() && rows.is_empty(),
                    "5: a placeholder is a name, and the key of whom it stands for"
                );
            }
            assert!(rows.windows(2).all(|pair| (pair[0].attr, pair[0].target) < (pair[1].attr, pair[1].target)));
            for row in &rows {
                assert!(row.state.is_valid() && !row.state.is_absent());
                assert!(snapshot.cs_object(row.target).unwrap().is_some(), "{} refers to an object that is gone", object.dn);
            }
            for stage in Stage::ALL {
                let touched = object.values.iter().any(|item| ValueState(item.flags).touched(stage))
                    || rows.iter().any(|row| row.state.touched(stage));
                let delta = object.stage(stage);
                match delta.kind {
                    DeltaKind::None => assert!(!touched && delta.rename.is_none(), "{}: {stage:?} is empty, its values are not", object.dn),
                    DeltaKind::Update if stage == Stage::PendingExport => {
                        assert!(touched || delta.rename.is_some(), "{}: an update of nothing is pending", object.dn);
                    }
                    DeltaKind::Delete if stage == Stage::PendingExport => {
                        assert!(!touched, "{}: values of an object that is to go", object.dn);
                    }
                    _ => {}
                }
            }
        }
    }
    for object in world.metaverse() {
        let links: BTreeSet<CsId> = snapshot.mv_links(object.id).unwrap().into_iter().collect();
        assert_eq!(Some(&links), linked.get(&object.id), "2 and the life of metaverse object {}: reverse rows", object.id);
        assert!(object.lineage.windows(2).all(|pair| pair[0].attr <= pair[1].attr), "lineage is in order");
        let entries = |attr| object.lineage.iter().filter(|entry| entry.attr == attr).count();
        for item in object.values.iter() {
            assert!(usize::from(item.flags) < entries(item.attr), "4: every value has an origin");
        }
        for entry in &object.lineage {
            assert!(links.contains(&entry.source), "4: {} still gives {}", entry.source, world.name(entry.attr));
        }
        for row in snapshot.mv_references(object.id).unwrap() {
            assert!(usize::from(row.contributor) < entries(row.attr), "4: every reference has an origin");
            assert!(snapshot.mv_object(row.target).unwrap().is_some(), "a reference to a metaverse object that is gone");
        }
    }
}
