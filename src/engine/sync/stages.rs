//! What synchronization does to the images of one connector-space object: wanting values, withdrawing what was wanted. Pure functions on [`CsObject`]; the algebra itself is in [`crate::model::ValueState`].

use crate::engine::base::update_flags;
use crate::model::{
    AttrId, CsObject, DeltaKind, FlatBuilder, FlatValues, RawItem, Stage, StageDelta, StageMask, ValueRef, ValueState, fold,
};

/// True when the object exists in the newest image that we have reason to expect in its directory: base, pending
/// import and everything sent (specification: sync engine 3.8, point 8).
pub(crate) fn expected_exists(object: &CsObject) -> bool {
    let sent = [Stage::PendingImport, Stage::Unconfirmed, Stage::InProgress];
    sent.into_iter().fold(object.in_base, |exists, stage| match object.stage(stage).kind {
        DeltaKind::Add | DeltaKind::DeleteAdd => true,
        DeltaKind::Delete => false,
        DeltaKind::None | DeltaKind::Update => exists,
    })
}

/// True when the object exists once everything wanted has arrived.
pub(crate) fn wanted_exists(object: &CsObject) -> bool {
    match object.stage(Stage::PendingExport).kind {
        DeltaKind::Add | DeltaKind::DeleteAdd => true,
        DeltaKind::Delete => false,
        DeltaKind::None | DeltaKind::Update => expected_exists(object),
    }
}

/// True when something was sent whose fate no import has shown yet.
pub(crate) fn under_way(object: &CsObject) -> bool {
    object.stage(Stage::Unconfirmed).is_some() || object.stage(Stage::InProgress).is_some()
}

/// Takes the wish for any value, name or existence off an object. True when there was one.
pub(crate) fn clear_pending_export(object: &mut CsObject) -> bool {
    if !object.stage(Stage::PendingExport).is_some() {
        return false;
    }
    *object.stage_mut(Stage::PendingExport) = StageDelta::default();
    update_flags(&mut object.values, |state| state.without(Stage::PendingExport));
    true
}

/// With the pending export set so that the value, expected or not, becomes wanted or not. Unlike
/// [`ValueState::with_target`] it can say that a value must be sent again although the images hold it: the object
/// itself is expected to be gone.
pub(crate) fn want_state(state: ValueState, expected: bool, wanted: bool) -> ValueState {
    match (expected, wanted) {
        (false, true) => state.with_added(Stage::PendingExport),
        (true, false) => state.with_removed(Stage::PendingExport),
        _ => state.without(Stage::PendingExport),
    }
}

/// What rules want of an object's values, in the form in which it is held against the images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WantedValues<'a> {
    /// All values wanted.
    pub(crate) values: &'a FlatValues,
    /// Attributes that are decided, ascending.
    pub(crate) managed: &'a [AttrId],
    /// Of these: only add.
    pub(crate) merged: &'a [AttrId],
    /// Of these: a text that differs in case only is there already.
    pub(crate) folded: &'a [AttrId],
}

/// The object's values with the pending export that leads from the expected image to the wanted one; attributes
/// that no flow decides lose what was wanted of them and are otherwise left alone. `None` when nothing changes.
pub(crate) fn want_values(object: &CsObject, wanted: WantedValues<'_>) -> Option<FlatValues> {
    let exists = expected_exists(object);
    let expected = |item: RawItem<'_>| exists && ValueState(item.flags()).present(StageMask::EXPECTED);
    let is_managed = |attr: AttrId| wanted.managed.binary_search(&attr).is_ok();
    let state_of = |item: RawItem<'_>| {
        let (state, attr) = (ValueState(item.flags()), item.attr());
        if !is_managed(attr) {
            return state.without(Stage::PendingExport);
        }
        let is_expected = expected(item);
        let stays = is_expected && wanted.merged.contains(&attr);
        let twin = || wanted.folded.contains(&attr) && has_twin(object, item, &expected);
        let is_wanted = stays || wanted.values.has(item) && (is_expected || !twin());
        want_state(state, is_expected, is_wanted)
    };
    let missing = |item: &RawItem<'_>| {
        let (item, attr) = (*item, item.attr());
        !object.values.has(item) && is_managed(attr) && !(wanted.folded.contains(&attr) && has_twin(object, item, &expected))
    };
    let unchanged =
        object.values.raw_iter().all(|item| state_of(item).0 == item.flags()) && !wanted.values.raw_iter().any(|item| missing(&item));
    if unchanged {
        return None;
    }
    let mut builder = FlatBuilder::with_capacity(
        object.values.entries().len() + wanted.values.entries().len(),
        object.values.heap().len() + wanted.values.heap().len(),
    );
    for item in object.values.raw_iter() {
        let state = state_of(item);
        if !state.is_absent() {
            builder.push_raw(item, state.0);
        }
    }
    for item in wanted.values.raw_iter().filter(missing) {
        builder.push_raw(item, ValueState::ABSENT.with_added(Stage::PendingExport).0);
    }
    Some(builder.finish())
}

/// Another expected text of the attribute that is the same but for case.
fn has_twin(object: &CsObject, item: RawItem<'_>, expected: &impl Fn(RawItem<'_>) -> bool) -> bool {
    let ValueRef::Text(text) = item.value() else { return false };
    let folded = fold(text);
    object.values.raw_attribute(item.attr()).any(|other| match other.value() {
        ValueRef::Text(candidate) => candidate != text && expected(other) && fold(candidate) == folded,
        _ => false,
    })
}

/// True when a pending export touches any value of the record.
pub(crate) fn wants_values(object: &CsObject) -> bool {
    object.values.entries().iter().any(|entry| ValueState(entry.flags).touched(Stage::PendingExport))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConnectorId, CsId, ObjectType};

    fn object(values: &[(u16, &str, ValueState)]) -> CsObject {
        let mut object = CsObject::new(CsId::new(ConnectorId(1), 1), ObjectType(9), "CN=a");
        let mut builder = FlatBuilder::new();
        for (attr, text, state) in values {
            builder.push(AttrId(*attr), ValueRef::Text(text), state.0);
        }
        object.values = builder.finish();
        object
    }

    fn values(pairs: &[(u16, &str)]) -> FlatValues {
        let mut builder = FlatBuilder::new();
        for (attr, text) in pairs {
            builder.push(AttrId(*attr), ValueRef::Text(text), 0);
        }
        builder.finish()
    }

    fn pending(object: &CsObject) -> Vec<(String, bool)> {
        object
            .values
            .iter()
            .filter(|item| ValueState(item.flags).touched(Stage::PendingExport))
            .map(|item| (format!("{:?}", item.value), ValueState(item.flags).added(Stage::PendingExport)))
            .collect()
    }

    fn want(object: &mut CsObject, wanted: &FlatValues, managed: &[u16], merged: &[u16], folded: &[u16]) -> bool {
        let ids = |numbers: &[u16]| numbers.iter().map(|number| AttrId(*number)).collect::<Vec<_>>();
        let (managed, merged, folded) = (ids(managed), ids(merged), ids(folded));
        let wanted = WantedValues { values: wanted, managed: &managed, merged: &merged, folded: &folded };
        match want_values(object, wanted) {
            Some(values) => {
                object.values = values;
                true
            }
            None => false,
        }
    }

    #[test]
    fn only_managed_attributes_are_compared_and_twice_changes_nothing() {
        let mut object = object(&[(3, "old", ValueState::BASE), (5, "foreign", ValueState::BASE)]);
        object.in_base = true;
        let wanted = values(&[(3, "new")]);
        assert!(want(&mut object, &wanted, &[3], &[], &[]));
        assert_eq!(pending(&object), [("\"new\"".to_owned(), true), ("\"old\"".to_owned(), false)]);
        assert!(!want(&mut object, &wanted, &[3], &[], &[]), "the same wish again");
        assert!(want(&mut object, &values(&[(3, "old")]), &[3], &[], &[]), "back to what is there");
        assert_eq!(pending(&object), []);
        assert_eq!(object.values.iter().count(), 2, "the value nobody has leaves no trace");
    }

    #[test]
    fn what_was_sent_is_expected() {
        let sent = ValueState::ABSENT.with_added(Stage::Unconfirmed);
        let mut object = object(&[(3, "sent", sent)]);
        object.stage_mut(Stage::Unconfirmed).kind = DeltaKind::Add;
        assert!(expected_exists(&object));
        assert!(!want(&mut object, &values(&[(3, "sent")]), &[3], &[], &[]));
        assert!(want(&mut object, &values(&[(3, "other")]), &[3], &[], &[]));
        assert_eq!(pending(&object), [("\"other\"".to_owned(), true), ("\"sent\"".to_owned(), false)]);
    }

    #[test]
    fn a_deleted_object_is_sent_whole_again() {
        let mut object = object(&[(3, "value", ValueState::BASE)]);
        object.in_base = true;
        object.stage_mut(Stage::Unconfirmed).kind = DeltaKind::Delete;
        assert!(!expected_exists(&object));
        assert!(want(&mut object, &values(&[(3, "value")]), &[3], &[], &[]));
        assert_eq!(pending(&object), [("\"value\"".to_owned(), true)]);
    }

    #[test]
    fn merged_attributes_only_gain_and_may_ignore_case() {
        let mut object = object(&[(3, "SMTP:A@x", ValueState::BASE)]);
        object.in_base = true;
        assert!(!want(&mut object, &values(&[(3, "smtp:a@x")]), &[3], &[3], &[3]));
        assert!(want(&mut object, &values(&[(3, "x500:/o=b")]), &[3], &[3], &[3]));
        assert_eq!(pending(&object), [("\"x500:/o=b\"".to_owned(), true)]);
        assert!(want(&mut object, &FlatValues::default(), &[3], &[3], &[3]));
        assert_eq!(pending(&object), [], "an unsent value of ours may go again");
    }
}
