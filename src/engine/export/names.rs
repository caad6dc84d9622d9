//! Names that only one object of a target may have, and that change hands within one export: whoever gives one up goes first.
//!
//! A target may accept a name that is taken, keep it aside and say nothing, so the order must be right before anything is sent.
//! Where people take names from each other in a circle, and where somebody leaves whose name the target would keep in its recycle
//! bin, a name is given up first for one that nobody else has. Whoever goes by such a stand-in cannot sign in, so what they are
//! to become follows at once, and no guard looks between the two.

use super::{Run, deltas, stand_ins};
use crate::connector::{AttributeChange, Connector, ExportBatch, ExportKind, ExportOperation, ExportOutcome, UniqueKind};
use crate::engine::{EngineError, StepRecorder};
use crate::model::{AttrId, CsId, CsObject, DeltaKind, FlatBuilder, Names, Stage, StageMask, Value, ValueRef, ValueState};
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
#[derive(Clone, Debug, Default)]
pub(super) struct Exchange {
    freed: HashMap<u128, CsId>,
    taken: Vec<(CsId, u128)>,
    leaving: HashSet<CsId>,
    /// Names of which nobody knows whether they are free.
    unsure: HashSet<u128>,
}

/// What goes before everything else, in this order.
#[derive(Debug, Default)]
pub(super) struct First {
    /// Objects that leave and whose names somebody takes. They part with these names before they are deleted.
    pub(super) leaving: BTreeMap<CsId, HashSet<u128>>,
    /// Updates of objects whose names somebody takes, those before whom nobody has to go first.
    pub(super) updates: Vec<Vec<CsId>>,
    /// Objects that take names from each other, circle by circle. They part with these names before any of them is sent.
    pub(super) circles: Vec<BTreeMap<CsId, HashSet<u128>>>,
    /// Updates of objects whose names somebody takes, and who wait for somebody of a circle themselves.
    pub(super) behind: Vec<Vec<CsId>>,
}

impl First {
    /// Everybody in it.
    pub(super) fn ids(&self) -> impl Iterator<Item = CsId> {
        let parted = self.circles.iter().chain([&self.leaving]).flat_map(|parted| parted.keys());
        parted.chain(self.updates.iter().chain(&self.behind).flatten()).copied()
    }
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

    /// True when somebody leaves with names that others may wait for.
    pub(super) fn frees_by_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Notes an object that the target shows as it was sent, and of which it keeps names aside: it takes those of whoever leaves.
    pub(super) fn note_kept_aside(&mut self, object: &CsObject, unique: &Unique) {
        let leaves = |giver: &CsId| *giver != object.id && self.leaving.contains(giver);
        let free: Vec<u128> =
            keys(object, unique, StageMask::WANTED).into_iter().filter(|key| self.freed.get(key).is_some_and(leaves)).collect();
        self.taken.extend(free.into_iter().map(|key| (object.id, key)));
    }

    /// Notes an object that was handed over without an answer: whether the target still has the names that it gives up nobody
    /// knows.
    pub(super) fn note_unanswered(&mut self, object: &CsObject, unique: &Unique) {
        let gone = object.stage(Stage::InProgress).kind == DeltaKind::Delete;
        let after = if gone { HashSet::new() } else { keys(object, unique, StageMask::WANTED) };
        self.unsure.extend(keys(object, unique, StageMask::ACKNOWLEDGED).difference(&after));
    }

    /// Who takes a name that the target may still have, and who takes a name from those.
    pub(super) fn too_early(&self) -> BTreeSet<CsId> {
        let mut unsure = self.unsure.clone();
        let mut found = BTreeSet::new();
        while !unsure.is_empty() {
            let more: BTreeSet<CsId> =
                self.taken.iter().filter(|(id, key)| unsure.contains(key) && found.insert(*id)).map(|(id, _)| *id).collect();
            unsure = self.freed.iter().filter(|(_, id)| more.contains(id)).map(|(key, _)| *key).collect();
        }
        found
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

    /// Those of some objects that can be sent without a delete before them, with the objects that have to go before them.
    pub(super) fn without_deletes(&self, some: &BTreeSet<CsId>) -> BTreeSet<CsId> {
        let mut behind: HashMap<CsId, Vec<CsId>> = HashMap::new();
        if !some.is_empty() {
            for (taker, key) in &self.taken {
                behind.entry(*taker).or_default().extend(self.freed.get(key).filter(|giver| *giver != taker));
            }
        }
        let mut all = BTreeSet::new();
        for id in some {
            let (mut found, mut open) = (BTreeSet::from([*id]), vec![*id]);
            while let Some(next) = open.pop() {
                let givers = behind.get(&next).into_iter().flatten();
                open.extend(givers.filter(|giver| found.insert(**giver)));
            }
            if found.iter().all(|id| !self.leaving.contains(id)) {
                all.append(&mut found);
            }
        }
        all
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
        let mut left: BTreeSet<CsId> = required.keys().copied().filter(|id| !self.leaving.contains(id)).collect();
        loop {
            let free = |id: &&CsId| behind.get(*id).is_none_or(|givers| givers.is_disjoint(&left));
            let next: Vec<CsId> = left.iter().filter(free).copied().collect();
            if next.is_empty() {
                break;
            }
            left.retain(|id| !next.contains(id));
            first.updates.push(next);
        }
        // What is left goes round in circles, or waits for somebody who does. The latter need no stand-in.
        loop {
            let needed: BTreeSet<CsId> = left.iter().filter_map(|id| behind.get(id)).flatten().copied().collect();
            let last: Vec<CsId> = left.difference(&needed).copied().collect();
            if last.is_empty() {
                break;
            }
            left.retain(|id| needed.contains(id));
            first.behind.insert(0, last);
        }
        for circle in connected(&left, &behind) {
            first.circles.push(circle.into_iter().filter_map(|id| required.remove_entry(&id)).collect());
        }
        first.leaving = required.into_iter().filter(|(id, _)| self.leaving.contains(id)).collect();
        first
    }
}

/// Objects that have to do with each other, each in one set.
fn connected(ids: &BTreeSet<CsId>, behind: &BTreeMap<CsId, BTreeSet<CsId>>) -> Vec<BTreeSet<CsId>> {
    let mut beside: BTreeMap<CsId, BTreeSet<CsId>> = BTreeMap::new();
    for (taker, givers) in behind.iter().filter(|(taker, _)| ids.contains(taker)) {
        for giver in givers.intersection(ids) {
            beside.entry(*taker).or_default().insert(*giver);
            beside.entry(*giver).or_default().insert(*taker);
        }
    }
    let mut sets = Vec::new();
    while let Some((first, others)) = beside.pop_first() {
        let mut set = BTreeSet::from([first]);
        let mut open = others;
        while let Some(next) = open.pop_first() {
            set.insert(next);
            open.extend(beside.remove(&next).into_iter().flatten().filter(|id| !set.contains(id)));
        }
        sets.push(set);
    }
    sets
}

fn key(kind: UniqueKind, text: &str) -> u128 {
    xxh3_128(format!("{kind:?} {}", kind.compared(text)).as_bytes())
}

fn texts(object: &CsObject, attr: AttrId, there: impl Fn(ValueState) -> bool) -> impl Iterator<Item = &str> {
    let items = object.values.attribute(attr).filter(move |item| there(ValueState(item.flags)));
    items.filter_map(|item| if let ValueRef::Text(text) = item.value { Some(text) } else { None })
}

fn keys(object: &CsObject, unique: &Unique, image: StageMask) -> HashSet<u128> {
    unique
        .iter()
        .flat_map(|(attr, kind)| texts(object, *attr, move |state| state.present(image)).map(move |text| key(*kind, text)))
        .collect()
}

/// The operation by which an object parts with names, the object as it is from the hand-over on, and its stand-in.
fn parting(names: &Names, unique: &Unique, mut object: CsObject, needed: &HashSet<u128>) -> Option<(ExportOperation, CsObject, String)> {
    let dn = deltas::acknowledged_name(&object).to_owned();
    let stays = object.stage(Stage::PendingExport).kind != DeltaKind::Delete;
    let mut attributes = Vec::new();
    let mut stand_ins: Vec<(AttrId, String)> = Vec::new();
    let mut parted: HashSet<(AttrId, String)> = HashSet::new();
    for (attr, kind) in unique {
        let (mut wanted, mut added, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for text in texts(&object, *attr, |state| state.present(StageMask::EXPECTED)) {
            let value = |text: &str| Value::Text(text.into());
            if !needed.contains(&key(*kind, text)) {
                wanted.push(value(text));
                continue;
            }
            let stand_in = match kind {
                UniqueKind::SignInName => stand_in(&dn, text),
                UniqueKind::Address => None,
            };
            // Nobody can be without a sign-in name.
            if *kind == UniqueKind::SignInName && stand_in.is_none() {
                continue;
            }
            removed.push(value(text));
            parted.insert((*attr, text.to_owned()));
            added.extend(stand_in.as_deref().map(value));
            stand_ins.extend(stand_in.map(|name| (*attr, name)));
        }
        wanted.extend(added.iter().cloned());
        if !removed.is_empty() {
            attributes.push(AttributeChange { name: names.name(*attr).to_string(), wanted, added, removed });
        }
    }
    if attributes.is_empty() {
        return None;
    }
    let operation = ExportOperation {
        id: object.id,
        kind: ExportKind::Update,
        object_type: names.object_type_name(object.object_type).to_string(),
        dn,
        rename: None,
        anchor: object.anchor.clone(),
        attributes,
        references: Vec::new(),
    };
    let mut values = FlatBuilder::with_capacity(object.values.entries().len() + stand_ins.len(), object.values.heap().len());
    let lent = ValueState::ABSENT.with_added(Stage::InProgress);
    // It goes again with what is wanted of whoever stays.
    let lent = if stays { lent.with_removed(Stage::PendingExport) } else { lent };
    for (attr, name) in &stand_ins {
        values.push(*attr, ValueRef::Text(name), lent.0);
    }
    for item in object.values.iter() {
        let state = ValueState(item.flags);
        let goes = if let ValueRef::Text(text) = item.value { parted.contains(&(item.attr, text.to_owned())) } else { false };
        values.push(item.attr, item.value, if goes { state.with_removed(Stage::InProgress) } else { state }.0);
    }
    object.values = values.finish();
    object.stage_mut(Stage::InProgress).kind = DeltaKind::Update;
    Some((operation, object, stand_ins.into_iter().next().map(|(_, name)| name).unwrap_or_default()))
}

/// Takes back that an object parts with names: what is wanted of it was never taken away.
fn stays_as_it_was(mut object: CsObject, changes: &mut ChangeSet) {
    object.stage_mut(Stage::InProgress).kind = DeltaKind::None;
    deltas::rewrite(&mut object.values, |_, state| {
        let state = state.without(Stage::InProgress);
        // Nothing is left of a stand-in that nobody has.
        if state == ValueState::ABSENT.with_removed(Stage::PendingExport) { ValueState::ABSENT } else { state }
    });
    changes.cs_put.push(object);
}

/// A sign-in name that nobody has, and by which people still recognise the old one.
fn stand_in(dn: &str, name: &str) -> Option<String> {
    let (local, domain) = name.rsplit_once('@')?;
    let mark = mark(dn);
    let rest: String = local.chars().take(LOCAL_MAX - mark.len()).collect();
    Some(format!("{mark}{}@{domain}", rest.trim_end_matches('.')))
}

fn mark(dn: &str) -> String {
    format!("{:032x}", xxh3_128(dn.as_bytes()))
}

/// True for the stand-in of the object with this name.
pub(super) fn is_stand_in(dn: &str, name: &str) -> bool {
    name.len() > LOCAL_MAX / 2 && name.starts_with(&mark(dn))
}

impl Run<'_> {
    /// Gives names up and takes them, so that each is free before it is taken.
    pub(super) fn exchange(&mut self, first: First, unique: &Unique, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let most = self.connector.capabilities().batch_objects.max(1);
        let leaving: Vec<_> = first.leaving.into_iter().collect();
        for some in leaving.chunks(most) {
            self.trade(&some.iter().cloned().collect(), unique, recorder)?;
        }
        for wave in first.updates {
            self.wave(&wave, true, recorder)?;
        }
        let mut together = BTreeMap::new();
        for circle in first.circles {
            if !together.is_empty() && together.len() + circle.len() > most {
                self.trade(&std::mem::take(&mut together), unique, recorder)?;
            }
            together.extend(circle);
        }
        self.trade(&together, unique, recorder)?;
        for wave in first.behind {
            self.wave(&wave, true, recorder)?;
        }
        Ok(())
    }

    /// Has objects part with names that others take, and sends what they are to become, or that they are deleted, right behind it.
    /// Whatever guards may stop is stopped before it: who has a stand-in is on the way.
    fn trade(
        &mut self,
        parted: &BTreeMap<CsId, HashSet<u128>>,
        unique: &Unique,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
        if parted.is_empty() {
            return Ok(());
        }
        self.look(true, recorder);
        if self.problem.is_some() {
            return Ok(());
        }
        self.on_its_way = true;
        let ids: Vec<CsId> = parted.keys().copied().collect();
        let done = self.part(parted, unique, recorder).and_then(|()| self.wave(&ids, true, recorder));
        self.on_its_way = false;
        done
    }

    /// Has objects part with names that others take.
    fn part(
        &mut self,
        parted: &BTreeMap<CsId, HashSet<u128>>,
        unique: &Unique,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(), EngineError> {
        let most = self.connector.capabilities().batch_objects.max(1);
        let cx = self.cx.to_the_end();
        let all: Vec<(&CsId, &HashSet<u128>)> = parted.iter().collect();
        for some in all.chunks(most) {
            if self.is_stopped() {
                break;
            }
            let snapshot = self.store.snapshot()?;
            let mut changes = ChangeSet::new();
            let (mut operations, mut handed, mut known) = (Vec::new(), Vec::new(), BTreeMap::new());
            for (id, needed) in some {
                let Some(object) = snapshot.cs_object(**id)? else { continue };
                // Of what is under way an import decides first.
                if object.stage(Stage::InProgress).is_some() || !object.stage(Stage::PendingExport).is_some() {
                    continue;
                }
                if let Some((operation, object, name)) = parting(self.store.names(), unique, object, needed) {
                    changes.cs_hash.push((**id, None));
                    changes.cs_put.push(object.clone());
                    known.insert(**id, name);
                    operations.push(operation);
                    handed.push(object);
                }
            }
            drop(snapshot);
            if operations.is_empty() {
                continue;
            }
            recorder.handed_over(operations.len() as u64);
            stand_ins::lend(self.store, self.options.connector, known, changes)?;
            let mut changes = ChangeSet::new();
            match self.bridge.wait(self.connector.export(&cx, &ExportBatch { operations })) {
                Ok(reply) => {
                    let (outcomes, error) = reply.into_parts();
                    for (mut object, (_, outcome)) in handed.into_iter().zip(outcomes) {
                        match outcome {
                            ExportOutcome::Accepted { .. } => {
                                deltas::acknowledge_object(&mut object);
                                changes.cs_put.push(object);
                            }
                            // What comes next shows whether the name is free.
                            ExportOutcome::Rejected(_) | ExportOutcome::Unsent => stays_as_it_was(object, &mut changes),
                            ExportOutcome::Unknown => self.outcome.unknown += 1,
                        }
                    }
                    if let Some(error) = error {
                        self.stop(error.into());
                    }
                }
                Err(error) => {
                    if error.nothing_sent {
                        for object in handed {
                            stays_as_it_was(object, &mut changes);
                        }
                    } else {
                        self.outcome.unknown += handed.len() as u64;
                    }
                    self.stop(error.into());
                }
            }
            self.commit(&mut changes)?;
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
        let leaving = leaving.iter().map(|id| CsId(*id)).collect();
        Exchange { freed, taken, leaving, ..Exchange::default() }.order()
    }

    #[test]
    fn who_gives_a_name_up_goes_before_who_takes_it() {
        // 1 takes what 2 has, 2 what 3 has; 4 gives up what nobody wants.
        let first = exchange(&[(2, 20), (3, 30), (4, 40)], &[(1, 20), (2, 30), (3, 31)], &[4]);
        assert_eq!(first.updates, [[CsId(3)], [CsId(2)]]);
        assert!(first.circles.is_empty() && first.leaving.is_empty());
        // 5 leaves, and 2 takes its name.
        let first = exchange(&[(2, 20), (5, 50), (6, 60)], &[(1, 20), (2, 50)], &[5, 6]);
        assert_eq!(first.updates, vec![vec![CsId(2)]]);
        assert_eq!(first.leaving.into_iter().collect::<Vec<_>>(), [(CsId(5), HashSet::from([50]))]);
    }

    #[test]
    fn who_is_held_back_gives_nothing_up() {
        let mut exchange = Exchange { freed: HashMap::from([(10, CsId(1)), (20, CsId(2))]), ..Exchange::default() };
        exchange.taken = vec![(CsId(3), 10), (CsId(3), 20)];
        exchange.leaving = HashSet::from([CsId(1), CsId(2)]);
        exchange.keep([CsId(2), CsId(3)].into_iter());
        let first = exchange.order();
        assert_eq!(first.leaving.into_keys().collect::<Vec<_>>(), [CsId(2)]);
    }

    #[test]
    fn who_goes_round_in_a_circle_parts_with_names_first_and_nobody_else_does() {
        let circles =
            |first: &First| -> Vec<Vec<u64>> { first.circles.iter().map(|circle| circle.keys().map(|id| id.0).collect()).collect() };
        let first = exchange(&[(1, 10), (2, 20), (3, 30)], &[(1, 20), (2, 30), (3, 10)], &[]);
        assert_eq!(circles(&first), [[1, 2, 3]]);
        assert!(first.updates.is_empty() && first.leaving.is_empty() && first.behind.is_empty());
        // Two circles are two; 5 takes from one of them, 6 from 5, and somebody from 6.
        let gives = [(1, 10), (2, 20), (3, 30), (4, 40), (1, 11), (5, 50), (6, 60), (7, 70)];
        let takes = [(1, 20), (2, 10), (3, 40), (4, 30), (5, 11), (6, 50), (9, 60), (2, 70)];
        let first = exchange(&gives, &takes, &[]);
        assert_eq!(circles(&first), [[1, 2], [3, 4]]);
        assert_eq!((&first.updates, &first.behind), (&vec![vec![CsId(7)]], &vec![vec![CsId(5)], vec![CsId(6)]]));
        assert_eq!(first.ids().count(), 7);
    }

    #[test]
    fn who_goes_by_a_stand_in_goes_first_unless_a_delete_has_to() {
        let of = |gives: &[(u64, u128)], takes: &[(u64, u128)], leaving: &[u64], some: &[u64]| -> Vec<u64> {
            let freed = gives.iter().map(|(id, key)| (*key, CsId(*id))).collect();
            let taken = takes.iter().map(|(id, key)| (CsId(*id), *key)).collect();
            let leaving = leaving.iter().map(|id| CsId(*id)).collect();
            let exchange = Exchange { freed, taken, leaving, ..Exchange::default() };
            exchange.without_deletes(&some.iter().map(|id| CsId(*id)).collect()).into_iter().map(|id| id.0).collect()
        };
        assert_eq!(of(&[(2, 20), (3, 30), (4, 40)], &[(1, 20), (2, 30)], &[], &[1]), [1, 2, 3]);
        assert_eq!(of(&[(2, 20), (3, 30)], &[(1, 20), (2, 30)], &[3], &[1]), [] as [u64; 0]);
        assert_eq!(of(&[(2, 20)], &[(1, 20)], &[], &[]), [] as [u64; 0]);
    }

    #[test]
    fn who_takes_what_may_not_be_free_waits_and_so_does_whoever_takes_from_there() {
        let exchange = Exchange {
            freed: HashMap::from([(20, CsId(2)), (40, CsId(4))]),
            taken: vec![(CsId(2), 10), (CsId(3), 20), (CsId(5), 40)],
            unsure: HashSet::from([10]),
            ..Exchange::default()
        };
        assert_eq!(exchange.too_early(), BTreeSet::from([CsId(2), CsId(3)]));
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
