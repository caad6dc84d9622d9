//! Values that a target accepted and keeps aside, because another object has them: the import shows them as they were sent, and
//! the person goes by another name. So the target is asked for them, and for who has them, behind an export that sent names and as
//! long as there are some.
//!
//! Where an object of ours has a value that it is not to have any more, what the import showed of both is wrong. What they really have
//! is staged as if it had been shown; the next export then parts them like all names that change hands.

use super::EngineError;
use super::StepRecorder;
use super::describe::called;
use super::export::{NAMES_SENT, Unknown};
use super::import::refresh_kind;
use super::run::Engine;
use crate::connector::{Connector, ConnectorErrorKind, KeptAside, UniqueAttribute, UniqueKind, ValueHolder};
use crate::model::{
    AttrId, ConnectorId, CsId, CsObject, DeltaKind, ErrorSide, FlatBuilder, Names, ObjectError, Stage, StageMask, Timestamp, ValueRef,
    ValueState, counted,
};
use crate::store::{ChangeSet, DirtyReason, KeptState, Snapshot, StoreError};
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Which conflicts exports were to put right, and when. What the target keeps aside again is not tried in every cycle: each attempt
/// may take somebody's sign-in name away for a moment.
const TRIED: KeptState<BTreeMap<String, Attempt>> = KeptState::new("names-put-right");
/// What did not help is tried again after so long.
const TRY_AGAIN: Duration = Duration::from_hours(24);
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
    /// Objects of ours that are to give it up, and what the last of them is called.
    Parting(Vec<Holder>, String),
    /// An object of ours that is to have it, too.
    Both(String),
    /// Somebody of whom nobody knows yet who it is here, and why.
    Unknown(String),
    /// Somebody else.
    Stranger(ValueHolder),
}

/// An object of ours that has a value and is to give it up.
struct Holder {
    id: CsId,
    /// Nothing of it is on its way.
    settled: bool,
    /// By which attributes it has the value, and in which form.
    has: Vec<(AttrId, String)>,
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
        let before: Vec<CsId> = known.iter().filter(|(_, error)| error.is_kept_aside()).map(|(id, _)| *id).collect();
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
            now: self.cx.now(),
            before: TRIED.read(&snapshot, id)?.or_forgotten().unwrap_or_default(),
            tried: BTreeMap::new(),
            truths: BTreeMap::new(),
            unknown: OnceCell::new(),
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
            if earlier.is_some_and(|error| !error.is_kept_aside()) {
                continue;
            }
            new += u64::from(conflict.stays && (earlier.is_none() || conflict.failed));
            // What is known already is not told again.
            if earlier.is_none_or(|error| error.detail != detail) {
                let error = ObjectError::kept_aside(detail, self.cx.now()).after(earlier);
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
    now: Timestamp,
    /// Attempts as they were known.
    before: BTreeMap<String, Attempt>,
    /// Attempts at what is still kept aside.
    tried: BTreeMap<String, Attempt>,
    truths: BTreeMap<CsId, Truth>,
    /// Looked up for the first who belongs to nobody here.
    unknown: OnceCell<Unknown>,
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
        let key = format!("{anchor} {what}");
        let mut helps = false;
        match (kind, &finding) {
            (Some(kind), Finding::Nobody) => helps = self.may_be_parted(waiting, kind, &value, &[], key, conflict)?,
            (Some(kind), Finding::Parting(holders, _)) => helps = self.may_be_parted(waiting, kind, &value, holders, key, conflict)?,
            (_, Finding::Open) => conflict.failed |= self.remember(key, self.sent),
            (_, Finding::Nobody | Finding::Parting(..) | Finding::Both(_) | Finding::Unknown(_) | Finding::Stranger(_)) => {}
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
            Finding::Unknown(may_be) => format!("{what}, which somebody else has: {may_be}. Mend that entry first, and delete nobody there before"),
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

    /// Gathers what really is where an export can put it right now; false where it cannot.
    fn may_be_parted(
        &mut self,
        waiting: CsId,
        kind: UniqueKind,
        value: &str,
        holders: &[Holder],
        key: String,
        conflict: &mut Conflict,
    ) -> Result<bool, StoreError> {
        if !self.wanted_and_settled(waiting, kind, value)? || holders.iter().any(|holder| !holder.settled) {
            // What became of an attempt that is on its way is not known yet.
            self.remember(key, false);
            return Ok(false);
        }
        if !self.may_try(key, conflict) {
            return Ok(false);
        }
        self.truths.entry(waiting).or_default().lacks.push((kind, bare(kind, value)));
        for holder in holders {
            let truth = self.truths.entry(holder.id).or_default();
            for (attr, text) in &holder.has {
                if truth.has.iter().all(|(known, _, had)| known != attr || had != text) {
                    truth.has.push((*attr, kind, text.clone()));
                }
            }
        }
        Ok(true)
    }

    /// Who has a value.
    fn finding(&self, kind: UniqueKind, value: &str, holders: Option<Vec<ValueHolder>>) -> Result<Finding, StoreError> {
        let Some(holders) = holders else { return Ok(Finding::Open) };
        let (mut parting, mut last) = (Vec::new(), None);
        for holder in holders {
            let ours = if holder.in_recycle_bin { None } else { self.snapshot.cs_by_anchor(self.connector, holder.anchor.as_bytes())? };
            let object = ours.map(|id| self.snapshot.cs_object(id)).transpose()?.flatten();
            let leaves = |object: &CsObject| object.stage(Stage::PendingExport).kind == DeltaKind::Delete;
            let Some(object) = object else { return Ok(Finding::Stranger(holder)) };
            if object.link.mv().is_none() && !leaves(&object) {
                let may_be = self.unknown()?.may_be(self.names, &object);
                return Ok(may_be.map_or(Finding::Stranger(holder), Finding::Unknown));
            }
            let name = called(self.names, &object);
            if !leaves(&object) && self.wants(&object, kind, value) {
                return Ok(Finding::Both(name));
            }
            let of_kind = holder.values.into_iter().filter(|(attribute, _)| kind_of(self.unique, attribute) == Some(kind));
            let has = of_kind.filter_map(|(attribute, text)| self.names.find(&attribute).map(|attr| (attr, text))).collect();
            parting.push(Holder { id: object.id, settled: is_settled(&object), has });
            last = Some(name);
        }
        Ok(last.map_or(Finding::Nobody, |name| Finding::Parting(parting, name)))
    }

    /// Whom entries that cannot be used may be; looked up once.
    fn unknown(&self) -> Result<&Unknown, StoreError> {
        if let Some(known) = self.unknown.get() {
            return Ok(known);
        }
        let known = Unknown::of(self.snapshot, self.connector)?;
        Ok(self.unknown.get_or_init(|| known))
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
            Some(attempt) if attempt.failed && self.now.since(Timestamp(attempt.at)) < TRY_AGAIN => *attempt,
            Some(attempt) if !attempt.failed && self.sent => {
                conflict.failed = true;
                Attempt { failed: true, ..*attempt }
            }
            Some(attempt) if !attempt.failed => *attempt,
            _ => Attempt { at: self.now.0, failed: false },
        };
        self.tried.insert(key, attempt);
        !attempt.failed
    }

    /// Keeps in mind that there was an attempt, where none can be made now; `failed`: names were sent since. True where that is new.
    fn remember(&mut self, key: String, failed: bool) -> bool {
        let Some(attempt) = self.before.get(&key).copied() else { return false };
        self.tried.insert(key, Attempt { failed: attempt.failed || failed, ..attempt });
        failed && !attempt.failed
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
    kind.compared(text).into_owned()
}

#[cfg(test)]
mod tests;
