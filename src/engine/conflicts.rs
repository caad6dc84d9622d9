//! Values that a target accepted and keeps aside, because another object has them: the import shows them as they were sent, and
//! the person goes by another name. So the target is asked for them, and for who has them, behind an export that sent names and as
//! long as there are some.
//!
//! Where an object of ours has a value that it is not to have any more, what the import showed of both is wrong. What they really have
//! is staged as if it had been shown; the next export then parts them like all names that change hands.

use super::EngineError;
use super::StepRecorder;
use super::describe::called;
use super::export::NAMES_SENT;
use super::import::refresh_kind;
use super::run::Engine;
use crate::connector::{Connector, ConnectorErrorKind, KeptAside, UniqueAttribute, UniqueKind, ValueHolder};
use crate::model::{
    AttrId, ConnectorId, CsId, CsObject, DeltaKind, ErrorSide, FlatBuilder, Names, ObjectError, ObjectErrorCode, Stage, StageMask,
    ValueRef, ValueState, counted, fold,
};
use crate::store::{ChangeSet, DirtyReason, KeptState, Snapshot, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

const CODE: ObjectErrorCode = ObjectErrorCode::QUARANTINED_ATTRIBUTE_VALUE_MUST_BE_UNIQUE;
/// Which conflicts exports were to put right, and when. What the target keeps aside again is not tried in every cycle: each attempt
/// may take somebody's sign-in name away for a moment.
const TRIED: KeptState<BTreeMap<String, Attempt>> = KeptState::new("names-put-right");
/// What did not help is tried again after so long, in microseconds.
const TRY_AGAIN: i64 = 86_400_000_000;
/// So many people are named in a note.
const NAMED: usize = 5;

/// An attempt to put a conflict right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Attempt {
    /// When, in microseconds since 1970.
    at: i64,
    /// Names were sent since, and the target keeps the value aside all the same.
    failed: bool,
}

/// What really is, where it is not what the import showed.
#[derive(Debug, Default)]
struct Truth {
    /// Values that the object does not have, whichever of its attributes shows them.
    lacks: Vec<(UniqueKind, String)>,
    /// Values that it has.
    has: Vec<(AttrId, UniqueKind, String)>,
}

/// Who has a value, and what can be done about it.
enum Finding {
    /// Nobody could look.
    Open,
    /// Nobody.
    Nobody,
    /// An object of ours that is to give it up.
    Parting(CsId, String),
    /// An object of ours that is to have it, too.
    Both(String),
    /// Somebody else.
    Stranger(ValueHolder),
}

impl Engine<'_> {
    /// Notes with the objects what the target keeps aside of them, and has the next export put right what it can. True when somebody
    /// goes by another name who did not before, and no export will change it.
    pub(super) fn look_at_names(
        &self,
        id: ConnectorId,
        connector: &Arc<dyn Connector>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<bool, EngineError> {
        let unique = connector.unique_attributes();
        if unique.is_empty() {
            return Ok(false);
        }
        let snapshot = self.store.snapshot()?;
        let sent = snapshot.state(id, NAMES_SENT)?.is_some();
        let exports = snapshot.errors(id, None, usize::MAX)?.into_iter().filter(|(_, side, _)| *side == ErrorSide::Export);
        let known: HashMap<CsId, ObjectError> = exports.map(|(id, _, error)| (id, error)).collect();
        let before: Vec<CsId> = known.iter().filter(|(_, error)| error.code == CODE).map(|(id, _)| *id).collect();
        if !sent && before.is_empty() {
            return Ok(false);
        }
        let mut changes = ChangeSet::new();
        let found = match self.bridge.wait(connector.kept_aside(&self.cx)) {
            Ok(found) => found.unwrap_or_default(),
            Err(error) => {
                recorder.note(format!("whether the target keeps names of people aside could not be looked up: {error}"));
                // Whoever may not look today may not tomorrow; what passes is asked again.
                if sent && !passes(error.kind) {
                    changes.states.push((id, NAMES_SENT.to_owned(), None));
                    self.store.apply(changes)?;
                }
                return Ok(false);
            }
        };
        let mut look = Look {
            snapshot: &snapshot,
            names: self.store.names(),
            connector: id,
            unique,
            sent,
            now: self.cx.now().0,
            before: TRIED.read(&snapshot, id)?.or_forgotten().unwrap_or_default(),
            tried: BTreeMap::new(),
            truths: BTreeMap::new(),
        };
        let mut conflicts: BTreeMap<CsId, Conflict> = BTreeMap::new();
        for value in found {
            if let Some(object) = snapshot.cs_by_anchor(id, value.anchor.as_bytes())? {
                let conflict = conflicts.entry(object).or_default();
                look.take(object, value, conflict)?;
            }
        }
        let mut new = 0;
        for (object, conflict) in &conflicts {
            let earlier = known.get(object);
            let detail = conflict.detail();
            // A refusal weighs more.
            if earlier.is_some_and(|error| error.code != CODE) {
                continue;
            }
            new += u64::from(conflict.stays && (earlier.is_none() || conflict.failed));
            // What is known already is not told again.
            if earlier.is_none_or(|error| error.detail != detail) {
                let error = ObjectError::new(CODE, detail, self.cx.now()).after(earlier);
                changes.errors.push((*object, ErrorSide::Export, Some(error)));
            }
        }
        changes.errors.extend(before.into_iter().filter(|object| !conflicts.contains_key(object)).map(|id| (id, ErrorSide::Export, None)));
        if sent {
            changes.states.push((id, NAMES_SENT.to_owned(), None));
        }
        let corrected = look.correct(&mut changes)?;
        if look.tried != look.before {
            TRIED.put(&mut changes, id, (!look.tried.is_empty()).then_some(&look.tried))?;
        }
        drop(snapshot);
        if !changes.is_empty() {
            self.store.apply(changes)?;
        }
        if let Some(last) = corrected.len().checked_sub(1) {
            let named = corrected[..=last.min(NAMED - 1)].join(", ");
            recorder.note(format!(
                "the target keeps names of {} aside that have nobody else to go to, or that others are to give up; the next export puts it \
                 right: {named}{}",
                counted(corrected.len() as u64, "object", "objects"),
                if corrected.len() > NAMED { ", …" } else { "" }
            ));
        }
        if new > 0 {
            let name = self.participants.get(&id).map_or("", |participant| participant.name.as_str());
            recorder.note(format!(
                "{} in {name} by another name than sent, because somebody else has theirs; `syncline errors '{name}'` names them",
                counted(new, "object goes", "objects go")
            ));
        }
        Ok(new > 0)
    }
}

/// True for problems that are gone another time.
fn passes(kind: ConnectorErrorKind) -> bool {
    use ConnectorErrorKind::{Busy, Cancelled, Connection, Dropped};
    matches!(kind, Busy | Cancelled | Connection | Dropped)
}

/// What is kept aside of one object.
#[derive(Debug, Default)]
struct Conflict {
    /// One sentence for each value.
    told: BTreeSet<String>,
    /// Some of it stays so, whatever is exported.
    stays: bool,
    /// An export was to put some of it right, and did not.
    failed: bool,
}

impl Conflict {
    fn detail(&self) -> String {
        let told: Vec<&str> = self.told.iter().map(String::as_str).collect();
        format!(
            "the target took this object and keeps values of it aside, so that it goes by another name or address there: {}",
            told.join("; ")
        )
    }
}

/// A look at what a target keeps aside.
struct Look<'l> {
    snapshot: &'l Snapshot,
    names: &'l Names,
    connector: ConnectorId,
    unique: &'static [UniqueAttribute],
    /// Names were sent since the look before.
    sent: bool,
    /// In microseconds since 1970.
    now: i64,
    /// Attempts as they were known.
    before: BTreeMap<String, Attempt>,
    /// Attempts at what is still kept aside.
    tried: BTreeMap<String, Attempt>,
    truths: BTreeMap<CsId, Truth>,
}

impl Look<'_> {
    /// Finds out about one value that is kept aside of `waiting`.
    fn take(&mut self, waiting: CsId, kept: KeptAside, conflict: &mut Conflict) -> Result<(), StoreError> {
        let KeptAside { anchor, attribute, value, holders } = kept;
        let what = format!("{attribute} '{value}'");
        let kind = kind_of(self.unique, &attribute);
        let finding = match kind {
            Some(kind) => self.finding(kind, &value, holders)?,
            None => Finding::Open,
        };
        let mut helps = false;
        if let (Some(kind), Finding::Nobody | Finding::Parting(..)) = (kind, &finding) {
            let key = format!("{anchor} {what}");
            let holder = if let Finding::Parting(holder, _) = finding { Some(holder) } else { None };
            helps = self.wanted_and_settled(waiting, kind, &value)? && self.may_try(key, conflict);
            if helps {
                self.truths.entry(waiting).or_default().lacks.push((kind, bare(kind, &value)));
            } else if let Some(holder) = holder {
                // What it really has was gathered for an export that does not come now.
                self.forget(holder, kind, &value);
            }
        }
        conflict.stays |= !helps;
        conflict.told.insert(match finding {
            Finding::Nobody if helps => format!("{what}, which nobody is seen to have any more: it is sent again by the next export"),
            Finding::Nobody => format!("{what}, which nobody is seen to have: the target gives it within an hour, and it is sent again within a day"),
            Finding::Parting(_, name) if helps => {
                format!("{what}, which {name} has and is to give up: the next export parts both from it and gives it to this one")
            }
            Finding::Parting(_, name) => format!(
                "{what}, which {name} has and is to give up, and the target let it go by no export so far: it is tried again within a day; look \
                 at that account there"
            ),
            Finding::Both(name) => {
                format!("{what}, which {name} has and is to have, too: give one of the two another value in the directory")
            }
            Finding::Stranger(holder) if holder.in_recycle_bin => format!(
                "{what}, which {} has, that lies in the recycle bin and keeps its values: {}; the target then gives the value within an hour. If \
                 it is the same person, made anew, the old account can come back instead (docs/guide/entra.md, \"Somebody who comes back\")",
                holder.called, holder.removal
            ),
            Finding::Stranger(holder) => format!(
                "{what}, which {} has, whom nobody here looks after: give this one another value, or {}; the target then gives the value within \
                 an hour",
                holder.called, holder.removal
            ),
            Finding::Open => format!(
                "{what}, which another object has, perhaps one of the recycle bin: give one of the two another value, or remove the other one for \
                 good; the target then gives it within an hour"
            ),
        });
        Ok(())
    }

    /// Who has a value. Of an object of ours that is to give it up, what it really has is gathered.
    fn finding(&mut self, kind: UniqueKind, value: &str, holders: Option<Vec<ValueHolder>>) -> Result<Finding, StoreError> {
        let Some(holders) = holders else { return Ok(Finding::Open) };
        let mut parting = None;
        for holder in holders {
            let ours = if holder.in_recycle_bin { None } else { self.snapshot.cs_by_anchor(self.connector, holder.anchor.as_bytes())? };
            let object = ours.map(|id| self.snapshot.cs_object(id)).transpose()?.flatten();
            let leaves = |object: &CsObject| object.stage(Stage::PendingExport).kind == DeltaKind::Delete;
            let Some(object) = object.filter(|object| object.link.mv().is_some() || leaves(object)) else {
                return Ok(Finding::Stranger(holder));
            };
            let name = called(self.names, &object);
            if !leaves(&object) && self.wants(&object, kind, value) {
                return Ok(Finding::Both(name));
            }
            if is_settled(&object) {
                let truth = self.truths.entry(object.id).or_default();
                for (attribute, text) in holder.values {
                    let attr = self.names.find(&attribute).filter(|_| kind_of(self.unique, &attribute) == Some(kind));
                    if let Some(attr) = attr.filter(|attr| !truth.has.iter().any(|(known, _, had)| known == attr && *had == text)) {
                        truth.has.push((attr, kind, text));
                    }
                }
            }
            parting = Some(Finding::Parting(object.id, name));
        }
        Ok(parting.unwrap_or(Finding::Nobody))
    }

    /// Takes back that somebody has a value.
    fn forget(&mut self, holder: CsId, kind: UniqueKind, value: &str) {
        let key = bare(kind, value);
        if let Some(truth) = self.truths.get_mut(&holder) {
            truth.has.retain(|(_, known, text)| *known != kind || bare(kind, text) != key);
        }
    }

    fn wants(&self, object: &CsObject, kind: UniqueKind, value: &str) -> bool {
        let key = bare(kind, value);
        let of_kind = self.unique.iter().filter(|attribute| attribute.kind == kind).filter_map(|attribute| self.names.find(attribute.name));
        of_kind.flat_map(|attr| object.values.attribute(attr)).any(|item| {
            let same = matches!(item.value, ValueRef::Text(text) if bare(kind, text) == key);
            same && ValueState(item.flags).present(StageMask::WANTED)
        })
    }

    /// True for an object that is to have a value, and of which nothing is on its way.
    fn wanted_and_settled(&self, id: CsId, kind: UniqueKind, value: &str) -> Result<bool, StoreError> {
        let Some(object) = self.snapshot.cs_object(id)? else { return Ok(false) };
        let stays = object.link.mv().is_some() && object.stage(Stage::PendingExport).kind != DeltaKind::Delete;
        Ok(stays && is_settled(&object) && self.wants(&object, kind, value))
    }

    /// True when an export may try, or is to try still, to put a conflict right. Once; then again after a day.
    fn may_try(&mut self, key: String, conflict: &mut Conflict) -> bool {
        let attempt = match self.before.get(&key) {
            Some(attempt) if attempt.failed && self.now.saturating_sub(attempt.at) < TRY_AGAIN => *attempt,
            Some(attempt) if !attempt.failed && self.sent => {
                conflict.failed = true;
                Attempt { failed: true, ..*attempt }
            }
            Some(attempt) if !attempt.failed => *attempt,
            _ => Attempt { at: self.now, failed: false },
        };
        self.tried.insert(key, attempt);
        !attempt.failed
    }

    /// Stages what really is. Gives the names of those who get theirs by it.
    fn correct(&self, changes: &mut ChangeSet) -> Result<Vec<String>, StoreError> {
        let mut waiting = Vec::new();
        for (id, truth) in &self.truths {
            let Some(mut object) = self.snapshot.cs_object(*id)? else { continue };
            if !truth.lacks.is_empty() {
                waiting.push(called(self.names, &object));
            }
            if !self.stage(&mut object, truth) {
                continue;
            }
            let rows = self.snapshot.cs_references(*id)?;
            refresh_kind(&mut object, &rows, Stage::PendingImport);
            refresh_kind(&mut object, &rows, Stage::PendingExport);
            changes.dirty.push((*id, Some(DirtyReason::Consequence)));
            changes.cs_put.push(object);
        }
        Ok(waiting)
    }

    /// Lays the truth over an object's values. False when they said it already.
    fn stage(&self, object: &mut CsObject, truth: &Truth) -> bool {
        let had: Vec<Option<usize>> = truth.has.iter().map(|(attr, kind, text)| place_of(object, *attr, *kind, text)).collect();
        let mut builder = FlatBuilder::with_capacity(object.values.entries().len() + truth.has.len(), object.values.heap().len());
        let mut changed = false;
        for (index, item) in object.values.iter().enumerate() {
            let state = ValueState(item.flags);
            let attribute = self.unique.iter().find(|attribute| self.names.find(attribute.name) == Some(item.attr));
            let after = match (attribute, item.value) {
                (Some(attribute), ValueRef::Text(text)) => {
                    match shown(truth, attribute.kind, item.attr, text, had.contains(&Some(index))) {
                        Some(shown) => as_shown(state, shown),
                        None => state,
                    }
                }
                _ => state,
            };
            changed |= after != state;
            if !after.is_absent() {
                builder.push(item.attr, item.value, after.0);
            }
        }
        for ((attr, _, text), _) in truth.has.iter().zip(&had).filter(|(_, had)| had.is_none()) {
            builder.push(*attr, ValueRef::Text(text), as_shown(ValueState::ABSENT, true).0);
            changed = true;
        }
        if changed {
            object.values = builder.finish();
        }
        changed
    }
}

/// Whether an object really has a value; `None` where that is not in question.
fn shown(truth: &Truth, kind: UniqueKind, attr: AttrId, text: &str, had: bool) -> Option<bool> {
    if had {
        return Some(true);
    }
    let key = bare(kind, text);
    let lacks = truth.lacks.iter().any(|(known, lacked)| *known == kind && *lacked == key);
    // Nobody has two sign-in names.
    let another = kind == UniqueKind::SignInName && truth.has.iter().any(|(known, ..)| *known == attr);
    (lacks || another).then_some(false)
}

/// Where an object's values have one of this key: in this very form, or in another one.
fn place_of(object: &CsObject, attr: AttrId, kind: UniqueKind, text: &str) -> Option<usize> {
    let key = bare(kind, text);
    let range = object.values.attribute_range(attr);
    let values: Vec<(usize, ValueRef<'_>)> = range.clone().zip(object.values.attribute(attr).map(|item| item.value)).collect();
    let exact = values.iter().find(|(_, value)| *value == ValueRef::Text(text));
    let same = || values.iter().find(|(_, value)| matches!(value, ValueRef::Text(other) if bare(kind, other) == key));
    exact.or_else(same).map(|(index, _)| *index)
}

/// A value's state when the target shows it, or does not; what is wanted of it stays.
fn as_shown(state: ValueState, shown: bool) -> ValueState {
    let wanted = state.present(StageMask::WANTED);
    state.with_target(StageMask::BASE, Stage::PendingImport, shown).with_target(StageMask::EXPECTED, Stage::PendingExport, wanted)
}

/// True when nothing of an object is on its way: then what was shown is all that is known of it.
fn is_settled(object: &CsObject) -> bool {
    object.imported() && ![Stage::Unconfirmed, Stage::InProgress].into_iter().any(|stage| object.stage(stage).is_some())
}

fn kind_of(unique: &[UniqueAttribute], attribute: &str) -> Option<UniqueKind> {
    unique.iter().find(|known| known.name.eq_ignore_ascii_case(attribute)).map(|known| known.kind)
}

/// A value in the form in which values of its kind are compared.
fn bare(kind: UniqueKind, text: &str) -> String {
    let rest = match kind {
        UniqueKind::Address => {
            text.split_at_checked(5).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("smtp:")).map_or(text, |(_, rest)| rest)
        }
        UniqueKind::SignInName => text,
    };
    fold(rest.trim()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ObjectType;

    const NAME: AttrId = AttrId(7);

    #[test]
    fn what_somebody_really_has_is_as_if_it_had_been_shown() {
        for state in [ValueState::BASE, ValueState::ABSENT.with_added(Stage::PendingImport)] {
            let after = as_shown(state, false);
            assert!(
                !after.present(StageMask::EXPECTED) && after.present(StageMask::WANTED) && after.added(Stage::PendingExport),
                "{state:?}"
            );
        }
        let held = as_shown(ValueState::ABSENT, true);
        assert!(held.present(StageMask::EXPECTED) && held.removed(Stage::PendingExport));
        assert_eq!(as_shown(held, true), held);
    }

    #[test]
    fn a_value_is_found_in_its_own_form_first() {
        let mut object = CsObject::new(CsId::new(ConnectorId(1), 1), ObjectType(9), "CN=a");
        let mut builder = FlatBuilder::new();
        for text in ["SMTP:a@corp.example", "smtp:A@corp.example", "smtp:b@corp.example"] {
            builder.push(NAME, ValueRef::Text(text), ValueState::BASE.0);
        }
        object.values = builder.finish();
        let at = |text| {
            place_of(&object, NAME, UniqueKind::Address, text)
                .and_then(|index| object.values.iter().nth(index).map(|item| format!("{:?}", item.value)))
        };
        assert_eq!(at("smtp:A@corp.example").as_deref(), Some("\"smtp:A@corp.example\""));
        assert_eq!(at("SMTP:B@corp.example").as_deref(), Some("\"smtp:b@corp.example\""));
        assert_eq!(at("smtp:c@corp.example"), None);
    }
}
