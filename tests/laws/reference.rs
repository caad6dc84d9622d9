//! What a store holds, in the form in which the judge says what it must hold.

pub(crate) use crate::expected::{Picture, Values, expect, put};
use crate::world::World;
use std::collections::BTreeMap;
use syncline::model::{ConnectorId, Link, Stage, StageMask, ValueState};

/// What the store holds. Attributes that only confirming brings are left out.
pub(crate) fn picture(world: &World, target: ConnectorId) -> Picture {
    let snapshot = world.snapshot();
    let objects = world.metaverse();
    let mut keys = BTreeMap::new();
    for object in &objects {
        let kind = world.names().object_type_name(object.object_type).to_string();
        let own = if kind == "group" { "cn" } else { "badge" };
        let key = format!("{kind} {}", world.mv_values(object, own).join("+"));
        assert!(!keys.values().any(|other| *other == key), "two metaverse objects for {key}");
        keys.insert(object.id, key);
    }
    let mut picture = Picture::default();
    for object in &objects {
        let mut values = Values::new();
        for item in object.values.iter() {
            let name = world.name(item.attr);
            if name != "targetNumber" {
                put(&mut values, &name, crate::world::text(item.value));
            }
        }
        for row in snapshot.mv_references(object.id).unwrap() {
            put(&mut values, &world.name(row.attr), keys[&row.target].clone());
        }
        picture.metaverse.insert(keys[&object.id].clone(), values);
    }
    for object in world.space(target) {
        if object.link == Link::Placeholder || object.link.mv().is_none() {
            let leaving = matches!(object.stage(Stage::PendingExport).kind, syncline::model::DeltaKind::Delete);
            let sent = matches!(object.stage(Stage::Unconfirmed).kind, syncline::model::DeltaKind::Delete);
            assert!(object.link == Link::Placeholder || leaving || sent, "{} is in the target and belongs to nobody", object.dn);
            continue;
        }
        let mut values = Values::new();
        for item in object.values.iter().filter(|item| ValueState(item.flags).present(StageMask::WANTED)) {
            put(&mut values, &world.name(item.attr), crate::world::text(item.value));
        }
        for row in snapshot.cs_references(object.id).unwrap() {
            if row.state.present(StageMask::WANTED) {
                put(&mut values, &world.name(row.attr), snapshot.cs_object(row.target).unwrap().unwrap().dn.to_string());
            }
        }
        picture.target.insert(object.dn.to_string(), values);
    }
    picture
}
