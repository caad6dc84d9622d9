//! The accounts of a pass that are on their way out: ready to go, or gone and not answered yet. An account is out once at
//! a time, and of several changes the newest counts, wherever the older one is by then.

use super::outcome::Planned;
use super::retry::SPLIT;
use crate::connector::PASSWORD_BATCH;
use crate::engine::password::Destination;
use crate::model::{CsId, Timestamp};
use crate::store::{PasswordRecord, PasswordStamp};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// What people changed first goes first (specification: sync engine 7.4).
type Turn = (Option<Timestamp>, CsId);

/// The accounts on their way out.
#[derive(Default)]
pub(super) struct Hand {
    ready: BTreeMap<Turn, Planned>,
    turns: HashMap<CsId, Turn>,
    out: HashMap<CsId, Out>,
    /// Parts of batches that failed, to go out by themselves. Their accounts are out.
    parts: VecDeque<Vec<Planned>>,
}

/// An account that was sent and not answered yet, or that is part of a batch that goes once more.
struct Out {
    stamp: PasswordStamp,
    force_change: bool,
    destination: Destination,
    record: PasswordRecord,
    /// What was found out meanwhile, when it is nothing to be sent: counts from the answer on.
    later: Option<PasswordRecord>,
}

impl Hand {
    /// What is known of an account that is on its way: the newest of it. The store learns of it with the answer.
    pub(super) fn record(&self, account: CsId) -> Option<&PasswordRecord> {
        let waiting = self.turns.get(&account).and_then(|turn| self.ready.get(turn)).map(|planned| &planned.record);
        waiting.or_else(|| self.out.get(&account).map(|out| out.later.as_ref().unwrap_or(&out.record)))
    }

    /// True when this very change is on its way already, to the same place. A change that its directory does not count
    /// is like no other.
    pub(super) fn has(&self, account: CsId, stamp: PasswordStamp, force_change: bool, destination: &Destination) -> bool {
        let same = |known: (PasswordStamp, bool, &Destination)| {
            stamp != PasswordStamp::default() && known.0 == stamp && known.1 == force_change && known.2 == destination
        };
        if let Some(planned) = self.turns.get(&account).and_then(|turn| self.ready.get(turn)) {
            return same((planned.stamp, planned.force_change, &planned.destination));
        }
        let out = self.out.get(&account).filter(|out| out.later.is_none());
        out.is_some_and(|out| same((out.stamp, out.force_change, &out.destination)))
    }

    /// An account is to go out. What waits of it already is older, and goes nowhere.
    pub(super) fn put(&mut self, planned: Planned) {
        self.withdraw(planned.account);
        if let Some(out) = self.out.get_mut(&planned.account) {
            out.later = None;
        }
        let turn = (planned.stamp.changed, planned.account);
        self.turns.insert(planned.account, turn);
        self.ready.insert(turn, planned);
    }

    /// There is nothing to send of an account any more: what waits goes nowhere, and an answer that is still to come
    /// takes nothing back.
    pub(super) fn settle(&mut self, account: CsId, record: &PasswordRecord) {
        self.withdraw(account);
        if let Some(out) = self.out.get_mut(&account) {
            out.later = Some(record.clone());
        }
    }

    fn withdraw(&mut self, account: CsId) {
        if let Some(turn) = self.turns.remove(&account) {
            self.ready.remove(&turn);
        }
    }

    /// How many are ready to go.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The next accounts to go out together, none of them out already. Those whose batches failed again and again go by
    /// themselves, and in halves. `more`: a batch that is not full waits for what is being read.
    pub(super) fn next_batch(&mut self, more: bool) -> Option<Vec<Planned>> {
        if let Some(part) = self.parts.pop_front() {
            return Some(part);
        }
        if more && self.ready.len() < PASSWORD_BATCH {
            return None;
        }
        let mut free = self.ready.iter().filter(|(_, planned)| !self.out.contains_key(&planned.account)).peekable();
        let suspect = is_suspect(free.peek()?.1);
        let limit = if suspect { PASSWORD_BATCH / 2 } else { PASSWORD_BATCH };
        let turns: Vec<Turn> = free.filter(|(_, planned)| is_suspect(planned) == suspect).take(limit).map(|(turn, _)| *turn).collect();
        let batch: Vec<Planned> = turns.iter().filter_map(|turn| self.ready.remove(turn)).collect();
        for planned in &batch {
            self.turns.remove(&planned.account);
            let Planned { stamp, force_change, destination, record, .. } = planned;
            let (destination, record) = (destination.clone(), record.clone());
            let out = Out { stamp: *stamp, force_change: *force_change, destination, record, later: None };
            self.out.insert(planned.account, out);
        }
        Some(batch)
    }

    /// A batch failed as a whole and goes out again in two parts.
    pub(super) fn split(&mut self, mut batch: Vec<Planned>) {
        let second = batch.split_off(batch.len() / 2);
        self.parts.extend([batch, second].into_iter().filter(|part| !part.is_empty()));
    }

    /// An account was answered. Gives what is to be noted: `record`, unless something newer was found out meanwhile.
    pub(super) fn answered(&mut self, account: CsId, record: PasswordRecord) -> PasswordRecord {
        let later = self.out.remove(&account).and_then(|out| out.later);
        if let Some(planned) = self.turns.get(&account).and_then(|turn| self.ready.get_mut(turn)) {
            planned.record.sent.clone_from(&record.sent);
        }
        match later {
            // Whoever takes no part any more has no password in the target that counts.
            Some(later) if !later.routed => PasswordRecord { attempted: record.attempted, ..later },
            Some(later) => PasswordRecord { attempted: record.attempted, sent: record.sent, ..later },
            None => record,
        }
    }

    /// Nothing more goes out. What is out is answered as before.
    pub(super) fn drop_waiting(&mut self) {
        self.ready.clear();
        self.turns.clear();
        for planned in self.parts.drain(..).flatten() {
            self.out.remove(&planned.account);
        }
    }
}

/// A batch with it got no answer several times.
pub(super) fn is_suspect(planned: &Planned) -> bool {
    planned.record.attempts >= SPLIT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConnectorId, MvId, RuleId};
    use crate::password::hash::NtHash;
    use crate::store::{PasswordSent, PasswordStatus};

    fn id(number: u64) -> CsId {
        CsId::new(ConnectorId(1), number)
    }

    fn destination(anchor: &str) -> Destination {
        Destination {
            target: CsId::new(ConnectorId(3), 1),
            metaverse: MvId(1),
            source_anchor: "x".to_owned(),
            cloud_anchor: anchor.to_owned(),
            sign_in_name: "a@x.example".to_owned(),
            rules: [RuleId(1), RuleId(2)],
        }
    }

    fn stamp(version: u32) -> PasswordStamp {
        PasswordStamp { changed: Some(Timestamp(i64::from(version))), version: Some(version) }
    }

    fn planned(number: u64, version: u32) -> Planned {
        let record = PasswordRecord { routed: true, seen: Some(stamp(version)), ..PasswordRecord::new(PasswordStatus::Unknown) };
        Planned {
            account: id(number),
            dn: format!("CN={number}"),
            destination: destination("t1"),
            stamp: stamp(version),
            hash: NtHash::new([1; 16]),
            force_change: false,
            record,
        }
    }

    fn taken(version: u32) -> PasswordRecord {
        let sent = PasswordSent {
            stamp: stamp(version),
            force_change: false,
            at: Timestamp(500),
            target: CsId::new(ConnectorId(3), 1),
            cloud_anchor: "t1".to_owned(),
            suffix: "x.example".to_owned(),
        };
        PasswordRecord { routed: true, seen: Some(stamp(version)), sent: Some(sent), ..PasswordRecord::new(PasswordStatus::Success) }
    }

    fn versions(batch: Option<Vec<Planned>>) -> Vec<u32> {
        batch.into_iter().flatten().map(|planned| planned.stamp.version.unwrap()).collect()
    }

    #[test]
    fn what_is_newer_waits_for_the_answer_and_then_goes() {
        let mut hand = Hand::default();
        hand.put(planned(1, 1));
        assert!(hand.has(id(1), stamp(1), false, &destination("t1")));
        assert_eq!(versions(hand.next_batch(false)), [1]);
        assert!(hand.has(id(1), stamp(1), false, &destination("t1")), "out is on its way, too");
        assert!(!hand.has(id(1), stamp(1), true, &destination("t1")) && !hand.has(id(1), stamp(1), false, &destination("t2")));
        hand.put(planned(1, 2));
        assert_eq!(hand.record(id(1)).unwrap().seen, Some(stamp(2)));
        assert_eq!(hand.next_batch(false).map(|batch| batch.len()), None, "one at a time");
        assert_eq!(hand.answered(id(1), taken(1)), taken(1));
        assert_eq!(hand.record(id(1)).unwrap().sent, taken(1).sent, "what waits knows what the target has");
        hand.put(planned(1, 3));
        assert_eq!(versions(hand.next_batch(false)), [3], "only the newest");
    }

    #[test]
    fn what_was_found_out_meanwhile_outlives_the_answer() {
        let filtered = PasswordRecord { must_change: true, ..planned(1, 2).record };
        let closed = PasswordRecord { routed: false, sent: None, ..filtered.clone() };
        for (later, sent) in [(filtered, taken(1).sent), (closed, None)] {
            let mut hand = Hand::default();
            hand.put(planned(1, 1));
            hand.next_batch(false);
            hand.settle(id(1), &later);
            assert_eq!(hand.record(id(1)), Some(&later));
            assert!(!hand.has(id(1), stamp(1), false, &destination("t1")), "the older one is to go again when it comes again");
            let noted = hand.answered(id(1), taken(1));
            assert_eq!((noted.seen, noted.must_change, noted.routed, noted.sent), (later.seen, true, later.routed, sent));
        }
        let mut hand = Hand::default();
        hand.put(planned(1, 1));
        hand.settle(id(1), &planned(1, 2).record);
        assert_eq!((hand.ready(), hand.record(id(1))), (0, None), "what had not gone goes nowhere");
    }

    #[test]
    fn the_earliest_change_goes_first_and_suspects_apart() {
        let mut hand = Hand::default();
        for number in [3, 1, 2] {
            hand.put(planned(number, u32::try_from(number).unwrap()));
        }
        let mut failed = planned(4, 4);
        failed.record.attempts = SPLIT;
        hand.put(failed);
        assert_eq!(hand.next_batch(true).map(|batch| batch.len()), None, "more may come");
        assert_eq!(versions(hand.next_batch(false)), [1, 2, 3]);
        let suspects = hand.next_batch(false).unwrap();
        assert_eq!(suspects.len(), 1);
        hand.put(planned(4, 5));
        hand.split(suspects);
        assert_eq!(versions(hand.next_batch(false)), [4], "parts go before what is newer: their accounts are out");
        assert_eq!(hand.next_batch(false).map(|batch| batch.len()), None);
        hand.drop_waiting();
        hand.answered(id(4), taken(4));
        assert_eq!((hand.ready(), hand.record(id(4))), (0, None));
    }
}
