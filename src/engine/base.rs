//! Making what was imported the base image of a connector-space object, or taking it back. Pure functions on [`CsObject`]; the
//! algebra itself is in [`ValueState`].

use crate::model::{CsObject, CsReference, FlatBuilder, FlatValues, Stage, StageDelta, StageMask, ValueState};

/// Consumes the pending import of object and values: what was imported becomes the base. False when there was
/// none. The references of the object follow by [`commit_reference`].
pub(super) fn commit_import(object: &mut CsObject) -> bool {
    if !object.stage(Stage::PendingImport).is_some() {
        return false;
    }
    object.in_base = object.imported();
    object.previous_type = None;
    *object.stage_mut(Stage::PendingImport) = StageDelta::default();
    update_flags(&mut object.values, commit_state);
    true
}

fn commit_state(state: ValueState) -> ValueState {
    state.with_base(state.present(StageMask::IMPORTED)).without(Stage::PendingImport)
}

/// The same for one reference. `None` when the pending import does not touch it.
pub(super) fn commit_reference(row: CsReference) -> Option<CsReference> {
    row.state.touched(Stage::PendingImport).then(|| CsReference { state: commit_state(row.state), ..row })
}

/// Takes the pending import of object and values back: the object is what the last synchronization saw. False when there was
/// none. The references of the object follow by [`drop_reference_import`].
pub(super) fn drop_import(object: &mut CsObject) -> bool {
    if !object.stage(Stage::PendingImport).is_some() {
        return false;
    }
    let delta = std::mem::take(object.stage_mut(Stage::PendingImport));
    if let Some(name) = delta.rename {
        object.dn = name;
        object.transient = false;
    }
    if let Some(object_type) = object.previous_type.take() {
        object.object_type = object_type;
    }
    update_flags(&mut object.values, |state| state.without(Stage::PendingImport));
    true
}

/// The same for one reference. `None` when the pending import does not touch it.
pub(super) fn drop_reference_import(row: CsReference) -> Option<CsReference> {
    row.state.touched(Stage::PendingImport).then(|| CsReference { state: row.state.without(Stage::PendingImport), ..row })
}

/// Rewrites every value's state; values in no image any more go.
pub(super) fn update_flags(values: &mut FlatValues, state: impl Fn(ValueState) -> ValueState) {
    let states: Vec<u8> = values.entries().iter().map(|entry| state(ValueState(entry.flags)).0).collect();
    if states.iter().any(|state| ValueState(*state).is_absent()) {
        let mut builder = FlatBuilder::with_capacity(states.len(), values.heap().len());
        for (item, state) in values.raw_iter().zip(states) {
            if !ValueState(state).is_absent() {
                builder.push_raw(item, state);
            }
        }
        *values = builder.finish();
    } else {
        for (index, state) in states.into_iter().enumerate() {
            if values.entries()[index].flags != state {
                values.set_flags(index, state);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AttrId, ConnectorId, CsId, DeltaKind, ObjectType, ValueRef};

    #[test]
    fn committing_makes_the_imported_image_the_base() {
        let mut object = CsObject::new(CsId::new(ConnectorId(1), 1), ObjectType(9), "CN=a");
        let mut builder = FlatBuilder::new();
        for (text, state) in [
            ("gone", ValueState::BASE.with_removed(Stage::PendingImport)),
            ("new", ValueState::ABSENT.with_added(Stage::PendingImport)),
            ("same", ValueState::BASE),
        ] {
            builder.push(AttrId(3), ValueRef::Text(text), state.0);
        }
        object.values = builder.finish();
        object.stage_mut(Stage::PendingImport).kind = DeltaKind::Add;
        assert!(commit_import(&mut object));
        assert!(object.in_base && !object.stage(Stage::PendingImport).is_some());
        let left: Vec<_> = object.values.iter().map(|item| (format!("{:?}", item.value), item.flags)).collect();
        assert_eq!(left, [("\"new\"".to_owned(), 1), ("\"same\"".to_owned(), 1)]);
        assert!(!commit_import(&mut object));
    }
}
