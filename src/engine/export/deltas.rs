//! How one value's membership and one object's deltas move through export: sent, acknowledged, refused, called back.

use crate::model::{AttrId, CsObject, DeltaKind, FlatBuilder, FlatValues, Stage, ValueState};

/// True when the object exists in its directory as far as imports and acknowledged exports tell. What was sent
/// without an answer counts for nothing.
pub(super) fn acknowledged_exists(object: &CsObject) -> bool {
    match object.stage(Stage::Unconfirmed).kind {
        DeltaKind::Add => true,
        DeltaKind::Delete => false,
        DeltaKind::None | DeltaKind::Update | DeltaKind::DeleteAdd => object.imported(),
    }
}

/// The name by which the target knows the object as far as imports and acknowledged exports tell.
pub(super) fn acknowledged_name(object: &CsObject) -> &str {
    object.stage(Stage::Unconfirmed).rename.as_deref().unwrap_or(&object.dn)
}

/// Wanted becomes handed over.
pub(super) fn sent(state: ValueState) -> ValueState {
    shift(state, Stage::PendingExport, Stage::InProgress)
}

/// Handed over becomes acknowledged. What was acknowledged before gives way: the newer change is the one to be seen.
pub(super) fn acknowledged(state: ValueState) -> ValueState {
    shift(state, Stage::InProgress, Stage::Unconfirmed)
}

/// Handed over becomes wanted again, unless something newer is wanted of the value.
pub(super) fn called_back(state: ValueState) -> ValueState {
    if state.touched(Stage::PendingExport) {
        state.without(Stage::InProgress)
    } else {
        shift(state, Stage::InProgress, Stage::PendingExport)
    }
}

/// Nothing is wanted or under way any more.
pub(super) fn withdrawn(state: ValueState) -> ValueState {
    state.without(Stage::PendingExport).without(Stage::InProgress).without(Stage::Unconfirmed)
}

fn shift(state: ValueState, from: Stage, to: Stage) -> ValueState {
    let rest = state.without(from);
    if state.added(from) {
        rest.with_added(to)
    } else if state.removed(from) {
        rest.with_removed(to)
    } else {
        state
    }
}

/// Rewrites the state of every value; values in no image any more go.
pub(super) fn rewrite(values: &mut FlatValues, change: impl Fn(AttrId, ValueState) -> ValueState) {
    let states: Vec<ValueState> = values.entries().iter().map(|entry| change(entry.attr, ValueState(entry.flags))).collect();
    if states.iter().any(|state| state.is_absent()) {
        let mut builder = FlatBuilder::with_capacity(states.len(), values.heap().len());
        for (item, state) in values.iter().zip(&states) {
            if !state.is_absent() {
                builder.push(item.attr, item.value, state.0);
            }
        }
        *values = builder.finish();
    } else {
        for (index, state) in states.into_iter().enumerate() {
            values.set_flags(index, state.0);
        }
    }
}

/// Lays what was acknowledged now over what was acknowledged before.
pub(super) fn acknowledge_object(object: &mut CsObject) {
    let existed = acknowledged_exists(object);
    let sent = std::mem::take(object.stage_mut(Stage::InProgress));
    let before = object.stage_mut(Stage::Unconfirmed);
    before.kind = match sent.kind {
        DeltaKind::None => before.kind,
        // An update of something that we did not know to exist tells that it does.
        DeltaKind::Update if !existed => DeltaKind::Add,
        DeltaKind::Update if before.kind != DeltaKind::None => before.kind,
        kind => kind,
    };
    if sent.rename.is_some() {
        before.rename = sent.rename;
    }
    rewrite(&mut object.values, |_, state| acknowledged(state));
}

/// Takes back what was handed over: it is wanted again.
pub(super) fn call_back_object(object: &mut CsObject) {
    let sent = std::mem::take(object.stage_mut(Stage::InProgress));
    let exists = acknowledged_exists(object);
    rewrite(&mut object.values, |_, state| called_back(state));
    let wanted = object.stage_mut(Stage::PendingExport);
    let newer = matches!(wanted.kind, DeltaKind::Delete | DeltaKind::Add);
    if sent.kind != DeltaKind::None && !newer {
        wanted.kind = if sent.kind == DeltaKind::Update && !exists { DeltaKind::Add } else { sent.kind };
    }
    if wanted.kind != DeltaKind::Delete
        && let Some(name) = sent.rename
    {
        wanted.rename.get_or_insert(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StageMask;

    #[test]
    fn a_wish_travels_and_comes_back() {
        for wish in [ValueState::ABSENT.with_added(Stage::PendingExport), ValueState::BASE.with_removed(Stage::PendingExport)] {
            let under_way = sent(wish);
            assert!(!under_way.touched(Stage::PendingExport) && under_way.touched(Stage::InProgress));
            assert_eq!(called_back(under_way), wish);
            let known = acknowledged(under_way);
            assert!(known.touched(Stage::Unconfirmed) && !known.touched(Stage::InProgress));
            assert_eq!(known.present(StageMask::EXPECTED), wish.present(StageMask::WANTED));
        }
    }

    #[test]
    fn a_newer_wish_is_not_overwritten_by_an_old_one() {
        let state = ValueState::ABSENT.with_added(Stage::InProgress).with_removed(Stage::PendingExport);
        assert_eq!(called_back(state), ValueState::ABSENT.with_removed(Stage::PendingExport));
    }

    #[test]
    fn an_added_and_then_removed_value_must_be_seen_gone() {
        let state = ValueState::ABSENT.with_added(Stage::Unconfirmed).with_removed(Stage::InProgress);
        assert!(acknowledged(state).removed(Stage::Unconfirmed));
    }
}
