//! Names that only one object of a target may have, and that change hands within one export: whoever gives one up goes first.
//!
//! A target may accept a name that is taken, keep it aside and say nothing, so the order must be right before anything is sent.
//! Where people take names from each other in a circle, and where somebody leaves whose name the target would keep in its recycle
//! bin, a name is given up first for one that nobody else has.

use super::prepare::{self, Batch};
use super::{Run, answer, guards};
use crate::connector::{AttributeChange, Connector, ExportBatch, ExportKind, ExportOperation, ExportOutcome, UniqueKind};
use crate::engine::{EngineError, StepRecorder};
use crate::model::{AttrId, CsId, CsObject, DeltaKind, Names, Stage, StageMask, Value, ValueRef, ValueState, fold};
use crate::store::ChangeSet;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_128;

/// The longest part before the `@` of a sign-in name, and what a stand-in takes of it.
const LOCAL_MAX: usize = 64;

/// The attributes of a target whose values are unique.
pub(super) type Unique = Vec<(AttrId, UniqueKind)>;

/// The attributes of a target whose values are unique, as far as anything has them.
pub(super) fn unique(connector: &dyn Connector, names: &Names) -> Unique {
    let known = connector.unique_attributes().iter();
    known.filter_map(|attribute| names.find(attribute.name).map(|attr| (attr, attribute.kind))).collect()
}

/// Who gives up which names, and who takes which.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    freed: HashMap<u128, CsId>,
    taken: Vec<(CsId, u128)>,
    leaving: HashSet<CsId>,
}

/// What goes before everything else.
#[derive(Debug, Default)]
pub(super) struct First {
    /// Objects that part with names before they are sent, with these names.
    pub(super) parted: BTreeMap<CsId, HashSet<u128>>,
    /// Deletes of objects whose names somebody takes.
    pub(super) deletes: Vec<CsId>,
    /// Updates of objects whose names somebody takes, those before whom nobody has to go first.
    pub(super) updates: Vec<Vec<CsId>>,
}

impl Exchange {
    /// Notes an object with something pending.
    pub(super) fn note(&mut self, object: &CsObject, unique: &Unique) {
        let leaves = object.stage(Stage::PendingExport).kind == DeltaKind::Delete;
        // Most changes are of other attributes.
        let touched = |attr| object.values.attribute(attr).any(|item| ValueState(item.flags).touched(Stage::PendingExport));
        if !leaves && !unique.iter().any(|(attr, _)| touched(*attr)) {
            return;
        }
        let before = keys(object, unique, StageMask::EXPECTED);
        let after = if leaves { HashSet::new() } else { keys(object, unique, StageMask::WANTED) };
        self.freed.extend(before.difference(&after).map(|key| (*key, object.id)));
        self.taken.extend(after.difference(&before).map(|key| (object.id, *key)));
        if leaves && !before.is_empty() {
            self.leaving.insert(object.id);
        }
    }

    /// True when somebody gets a name.
    pub(super) fn takes(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Who is not sent in this export, for whatever reason, gives nothing up in it either.
    pub(super) fn keep(&mut self, queued: impl Iterator<Item = CsId>) {
        if !self.freed.is_empty() {
            let queued: HashSet<CsId> = queued.collect();
            self.freed.retain(|_, id| queued.contains(id));
        }
    }

    /// The order in which names become free before they are taken.
    pub(super) fn order(self) -> First {
        let mut first = First::default();
        let mut required: BTreeMap<CsId, HashSet<u128>> = BTreeMap::new();
        let mut behind: BTreeMap<CsId, BTreeSet<CsId>> = BTreeMap::new();
        for (taker, key) in &self.taken {
            if let Some(giver) = self.freed.get(key).filter(|giver| *giver != taker) {
                required.entry(*giver).or_default().insert(*key);
                behind.entry(*taker).or_default().insert(*giver);
            }
        }
        let (leaving, mut left): (BTreeSet<CsId>, BTreeSet<CsId>) = required.keys().copied().partition(|id| self.leaving.contains(id));
        first.deletes = leaving.into_iter().collect();
        loop {
            let free = |id: &&CsId| behind.get(*id).is_none_or(|givers| givers.is_disjoint(&left));
            let next: Vec<CsId> = left.iter().filter(free).copied().collect();
            if next.is_empty() {
                break;
            }
            left.retain(|id| !next.contains(id));
            first.updates.push(next);
        }
        // What is left goes round in circles.
        first.parted = required.into_iter().filter(|(id, _)| left.contains(id) || self.leaving.contains(id)).collect();
        first
    }
}

fn key(kind: UniqueKind, text: &str) -> u128 {
    let bare = match kind {
        UniqueKind::Address => {
            text.split_at_checked(5).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("smtp:")).map_or(text, |(_, rest)| rest)
        }
        UniqueKind::SignInName => text,
    };
    xxh3_128(format!("{kind:?} {}", fold(bare.trim())).as_bytes())
}

fn texts(object: &CsObject, attr: AttrId, there: impl Fn(ValueState) -> bool) -> impl Iterator<Item = &str> {
    let items = object.values.attribute(attr).filter(move |item| there(ValueState(item.flags)));
    items.filter_map(|item| if let ValueRef::Text(text) = item.value { Some(text) } else { None })
}

/// Of an object that is handed over: what the target has as far as imports and answers tell.
fn acknowledged(state: ValueState) -> bool {
    state.without(Stage::InProgress).present(StageMask::EXPECTED)
}

fn keys(object: &CsObject, unique: &Unique, image: StageMask) -> HashSet<u128> {
    unique
        .iter()
        .flat_map(|(attr, kind)| texts(object, *attr, move |state| state.present(image)).map(move |text| key(*kind, text)))
        .collect()
}

/// The operation by which an object parts with names.
fn parting(names: &Names, unique: &Unique, object: &CsObject, of: &ExportOperation, needed: &HashSet<u128>) -> ExportOperation {
    let mut attributes = Vec::new();
    for (attr, kind) in unique {
        let (mut wanted, mut added, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for text in texts(object, *attr, acknowledged) {
            let value = |text: &str| Value::Text(text.into());
            if !needed.contains(&key(*kind, text)) {
                wanted.push(value(text));
                continue;
            }
            let stand_in = match kind {
                UniqueKind::SignInName => stand_in(&of.dn, text),
                UniqueKind::Address => None,
            };
            // Nobody can be without a sign-in name.
            if *kind == UniqueKind::SignInName && stand_in.is_none() {
                continue;
            }
            removed.push(value(text));
            added.extend(stand_in.as_deref().map(value));
        }
        wanted.extend(added.iter().cloned());
        if !removed.is_empty() {
            attributes.push(AttributeChange { name: names.name(*attr).to_string(), wanted, added, removed });
        }
    }
    ExportOperation { kind: ExportKind::Update, rename: None, attributes, references: Vec::new(), ..of.clone() }
}

/// A sign-in name that nobody has, and by which people still recognise the old one.
fn stand_in(dn: &str, name: &str) -> Option<String> {
    let (local, domain) = name.rsplit_once('@')?;
    let mark = format!("{:032x}", xxh3_128(dn.as_bytes()));
    let rest: String = local.chars().take(LOCAL_MAX - mark.len()).collect();
    Some(format!("{mark}{}@{domain}", rest.trim_end_matches('.')))
}

impl Run<'_> {
    /// Has objects part with names that others take. What they are to become is sent later; until then it is theirs again.
    pub(super) fn part(
        &mut self,
        parted: &BTreeMap<CsId, HashSet<u128>>,
        unique: &Unique,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
        let ids: Vec<CsId> = parted.keys().copied().collect();
        let capabilities = self.connector.capabilities();
        let names: &Names = self.store.names();
        let mut rest: &[CsId] = &ids;
        while !rest.is_empty() && self.problem.is_none() {
            if self.cx.cancelled() {
                self.stop(EngineError::Cancelled);
                break;
            }
            if let Err(stopped) = guards::staging(self.store, self.options, recorder) {
                self.stop(stopped);
                break;
            }
            let snapshot = self.store.snapshot()?;
            let from = prepare::From { snapshot: &snapshot, names, capabilities: &capabilities, moving: &self.moving };
            let mut changes = ChangeSet::new();
            let (batch, left) = prepare::batch(&from, rest, true, &mut self.waiting, &mut changes)?;
            drop(snapshot);
            rest = left;
            self.commit(&mut changes)?;
            let Some(Batch { operations, sent }) = batch else { continue };
            let none = HashSet::new();
            let part = |(operation, sent): (&ExportOperation, &prepare::Sent)| {
                parting(names, unique, &sent.object, operation, parted.get(&sent.id).unwrap_or(&none))
            };
            let batch = ExportBatch { operations: operations.iter().zip(&sent).map(part).collect() };
            match self.bridge.wait(self.connector.export(self.cx, &batch)) {
                Ok(reply) => {
                    let (outcomes, error) = reply.into_parts();
                    for (sent, (_, outcome)) in sent.into_iter().zip(outcomes) {
                        self.waiting.ids.remove(&sent.id);
                        if outcome == ExportOutcome::Unknown {
                            self.outcome.unknown += 1;
                        } else {
                            // Refused or not: what comes next shows whether the name is free.
                            answer::call_back(sent.object, &sent.rows, &mut changes);
                        }
                    }
                    self.commit(&mut changes)?;
                    if let Some(error) = error {
                        self.stop(error.into());
                    }
                }
                Err(error) => {
                    self.answer(sent, Some(Err(error)), &mut changes, recorder)?;
                    self.commit(&mut changes)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(gives: &[(u64, u128)], takes: &[(u64, u128)], leaving: &[u64]) -> First {
        let freed = gives.iter().map(|(id, key)| (*key, CsId(*id))).collect();
        let taken = takes.iter().map(|(id, key)| (CsId(*id), *key)).collect();
        Exchange { freed, taken, leaving: leaving.iter().map(|id| CsId(*id)).collect() }.order()
    }

    #[test]
    fn who_gives_a_name_up_goes_before_who_takes_it() {
        // 1 takes what 2 has, 2 what 3 has; 4 gives up what nobody wants.
        let first = exchange(&[(2, 20), (3, 30), (4, 40)], &[(1, 20), (2, 30), (3, 31)], &[4]);
        assert_eq!(first.updates, [[CsId(3)], [CsId(2)]]);
        assert!(first.parted.is_empty() && first.deletes.is_empty());
        // 5 leaves, and 2 takes its name.
        let first = exchange(&[(2, 20), (5, 50), (6, 60)], &[(1, 20), (2, 50)], &[5, 6]);
        assert_eq!((first.deletes, first.updates), (vec![CsId(5)], vec![vec![CsId(2)]]));
        assert_eq!(first.parted.into_iter().collect::<Vec<_>>(), [(CsId(5), HashSet::from([50]))]);
    }

    #[test]
    fn who_is_held_back_gives_nothing_up() {
        let mut exchange = Exchange { freed: HashMap::from([(10, CsId(1)), (20, CsId(2))]), ..Exchange::default() };
        exchange.taken = vec![(CsId(3), 10), (CsId(3), 20)];
        exchange.leaving = HashSet::from([CsId(1), CsId(2)]);
        exchange.keep([CsId(2), CsId(3)].into_iter());
        let first = exchange.order();
        assert_eq!((first.deletes, first.parted.len()), (vec![CsId(2)], 1));
    }

    #[test]
    fn who_goes_round_in_a_circle_parts_with_names_first() {
        let first = exchange(&[(1, 10), (2, 20), (3, 30)], &[(1, 20), (2, 30), (3, 10)], &[]);
        assert_eq!(first.parted.keys().copied().collect::<Vec<_>>(), [CsId(1), CsId(2), CsId(3)]);
        assert!(first.updates.is_empty() && first.deletes.is_empty());
    }

    #[test]
    fn a_stand_in_is_a_sign_in_name_of_the_same_domain() {
        let name = stand_in("CN={41}", &format!("{}@corp.example", "x".repeat(64))).unwrap();
        assert_eq!(name.split_once('@').map(|(local, domain)| (local.len(), domain)), Some((64, "corp.example")));
        assert_ne!(stand_in("CN={42}", "a@corp.example"), stand_in("CN={41}", "a@corp.example"));
        assert_eq!(stand_in("CN={42}", "a"), None);
    }

    #[test]
    fn an_address_is_the_same_with_its_scheme_and_in_any_case() {
        assert_eq!(key(UniqueKind::Address, "SMTP:Ada@corp.example"), key(UniqueKind::Address, "ada@corp.example"));
        assert_ne!(key(UniqueKind::Address, "ada@corp.example"), key(UniqueKind::SignInName, "ada@corp.example"));
    }
}
