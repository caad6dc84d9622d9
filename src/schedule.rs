//! When a service does what: settings, what was done and what somebody asked for in, the next piece of work out. Without a
//! clock and without effects, so that a year of it takes no time to try (specification: sync engine, section 5.4).

use crate::model::{ConnectorId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What an administrator configured, and what the tenant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Cycles run by themselves.
    pub enabled: bool,
    /// From the beginning of one cycle to that of the next.
    pub interval: Duration,
    /// The shortest interval that the target allows; a shorter one is not used.
    pub floor: Duration,
    /// History is purged and the store is looked after.
    pub maintenance: bool,
    /// From one maintenance to the next.
    pub maintenance_interval: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_mins(30),
            floor: Duration::ZERO,
            maintenance: true,
            maintenance_interval: Duration::from_hours(24),
        }
    }
}

/// Changes that come within this time are read together.
const BURST: Duration = Duration::from_millis(500);
/// So long after a cycle none begins because of changes.
const BREATH: Duration = Duration::from_secs(1);
/// What a connector tells of changes is believed no longer when nothing was read of it for so long.
const DELTA_AGE_MAX: Duration = Duration::from_hours(7 * 24);

/// What was done, and what somebody asked for. Kept across restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// When the last cycle began, in microseconds since 1970.
    pub cycle_began: Option<i64>,
    /// When the last cycle ended.
    pub cycle_ended: Option<i64>,
    /// When the last cycle began whose runs all came to their end, exports as well.
    pub cycle_succeeded: Option<i64>,
    /// When the last cycle began whose imports and synchronizations came to their end, whatever became of exports.
    pub cycle_read: Option<i64>,
    /// When the last of these began whose first import of every connector was a full one.
    pub cycle_read_all: Option<i64>,
    /// When the last cycle began in which a connector was read, by the connector's number.
    pub read: BTreeMap<u16, i64>,
    /// When maintenance was done, or the first cycle began.
    pub maintained: Option<i64>,
    /// What the next cycle shall be; used up by it.
    pub next_cycle: Policy,
    /// Somebody wants a cycle now.
    pub asked: bool,
    /// Nothing runs by itself, because somebody said so.
    pub suspended: Option<Suspension>,
    /// Why nobody knows what was remembered. Somebody may have suspended the scheduler, so it counts as that, until somebody
    /// suspends it or lets it go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// When a directory told first that something changed which no cycle has read since. Not kept: who starts again reads
    /// what changed as soon as it listens again.
    #[serde(skip)]
    pub changed: Option<i64>,
}

/// What a cycle reads and evaluates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// What the engine finds right: changes, unless something makes more necessary.
    #[default]
    Unspecified,
    /// Changes.
    Delta,
    /// Everything.
    Initial,
}

/// Why nothing runs by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Since when, in microseconds since 1970.
    pub since: i64,
    /// Who asked for it.
    pub by: String,
    /// What they gave as the reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A cycle, with full steps or without, and why it is due.
    Cycle {
        /// With full steps.
        initial: bool,
        /// Why.
        reason: CycleReason,
    },
    /// Purging of history, and what else the store needs.
    Maintenance,
}

/// Why a cycle is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CycleReason {
    /// The interval is over.
    Interval,
    /// Somebody asked for it.
    Asked,
    /// A directory told that something changed.
    Changed,
}

impl Schedule {
    /// The interval that counts.
    pub fn effective_interval(&self) -> Duration {
        self.interval.max(self.floor)
    }

    /// What is due next, and when; nothing when nothing runs by itself. What should have been done in the past is due
    /// now, once, however often it was missed. A time that is noted and lies in the future is that of a clock which was
    /// set back since: what it was noted for is due now, so that nothing waits for a clock to catch up.
    pub fn next(&self, memory: &Memory, now: Timestamp) -> Option<(Timestamp, Due)> {
        let cycle = self.next_cycle(memory, now);
        let maintenance = self.next_maintenance(memory, now);
        match (cycle, maintenance) {
            // A cycle goes first: people wait for it.
            (Some(cycle), Some(maintenance)) => Some(if maintenance.0 < cycle.0 { maintenance } else { cycle }),
            (cycle, maintenance) => cycle.or(maintenance),
        }
    }

    fn next_cycle(&self, memory: &Memory, now: Timestamp) -> Option<(Timestamp, Due)> {
        // Where deltas are too old, the cycle itself reads that one connector as a whole, and no other one.
        let initial = memory.next_cycle == Policy::Initial;
        if memory.asked {
            return Some((now, Due::Cycle { initial, reason: CycleReason::Asked }));
        }
        if !self.enabled || memory.is_held() {
            return None;
        }
        let at = memory.cycle_began.map_or(now, |began| later(began, self.effective_interval(), now));
        // Changes come in bursts, and a cycle that follows another at once has company in what it waits for.
        let told = memory.changed.map(|changed| {
            let rested = memory.cycle_ended.map_or(now, |ended| later(ended, BREATH, now));
            later(changed, BURST, now).max(rested)
        });
        Some(match told {
            Some(told) if told < at => (told, Due::Cycle { initial, reason: CycleReason::Changed }),
            _ => (at, Due::Cycle { initial, reason: CycleReason::Interval }),
        })
    }

    fn next_maintenance(&self, memory: &Memory, now: Timestamp) -> Option<(Timestamp, Due)> {
        if !self.maintenance {
            return None;
        }
        // A new installation has nothing to purge yet.
        let last = memory.maintained?;
        Some((later(last, self.maintenance_interval, now), Due::Maintenance))
    }
}

/// How a cycle ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CycleEnd {
    /// It could not go on, or was told to stop: some of its runs did not take place.
    BrokenOff,
    /// All its runs took place.
    Whole {
        /// It consisted of full steps.
        initial: bool,
        /// How far it came.
        reached: Reached,
        /// Every connector was read as a whole, because that was asked for or because it was necessary.
        all_read: bool,
    },
}

/// How far a cycle came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// A directory could not be read, or rules could not be applied.
    Nothing,
    /// Directories were read and rules applied; something was not sent.
    Read,
    /// All of it.
    Everything,
}

impl Memory {
    /// Nothing runs by itself.
    pub fn is_held(&self) -> bool {
        self.suspended.is_some() || self.unreadable.is_some()
    }

    /// Lets nothing run by itself, or everything again. Whoever decides that need not know what was decided before.
    pub fn suspend(&mut self, suspension: Option<Suspension>) {
        self.suspended = suspension;
        self.unreadable = None;
    }

    /// Notes that a cycle begins. What was asked for is used up by it; of which kind the next one is to be stays known until
    /// it came to its end.
    pub fn begin_cycle(&mut self, now: Timestamp) {
        self.cycle_began = Some(now.0);
        self.maintained.get_or_insert(now.0);
        self.changed = None;
        self.asked = false;
    }

    /// Notes that the cycle ended.
    pub fn end_cycle(&mut self, now: Timestamp, end: CycleEnd) {
        self.cycle_ended = Some(now.0);
        let CycleEnd::Whole { initial, reached, all_read } = end else { return };
        if initial || self.next_cycle == Policy::Delta {
            self.next_cycle = Policy::Unspecified;
        }
        // From its beginning on changes are missing in it.
        if reached == Reached::Everything {
            self.cycle_succeeded = self.cycle_began;
        }
        if reached != Reached::Nothing {
            self.cycle_read = self.cycle_began;
            if all_read {
                self.cycle_read_all = self.cycle_began;
            }
        }
    }

    /// Notes which connectors were read by runs of which the first `began` then, in a cycle or by hand: from there on changes are
    /// missing.
    pub fn note_read(&mut self, connectors: impl IntoIterator<Item = ConnectorId>, began: Timestamp) {
        self.read.extend(connectors.into_iter().map(|ConnectorId(number)| (number, began.0)));
    }

    /// True for a connector of which the next cycle reads everything, since nothing was read of it for a week. Somebody who says delta
    /// gets it.
    pub fn is_too_old(&self, ConnectorId(number): ConnectorId, now: Timestamp) -> bool {
        // Who remembers nothing of single connectors remembers cycles that read all of them.
        let read = self.read.get(&number).copied().or(self.last_read());
        self.next_cycle != Policy::Delta && read.is_some_and(|at| now.since(Timestamp(at)) >= DELTA_AGE_MAX)
    }

    /// When the last cycle began that read all directories and applied all rules. Who remembers successes only has read, too.
    pub fn last_read(&self) -> Option<i64> {
        self.cycle_read.or(self.cycle_succeeded)
    }

    /// Notes that maintenance was done.
    pub fn end_maintenance(&mut self, now: Timestamp) {
        self.maintained = Some(now.0);
    }
}

/// A noted time and an interval behind it, at the earliest now; now when the noted time lies in the future, as by [`Timestamp::since`].
fn later(noted: i64, interval: Duration, now: Timestamp) -> Timestamp {
    if noted > now.0 {
        return now;
    }
    let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
    Timestamp(noted.saturating_add(interval).max(now.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn at(minutes: i64) -> Timestamp {
        Timestamp(1_000_000 * MINUTE + minutes * MINUTE)
    }

    fn ran(minutes: i64) -> Memory {
        let mut memory = Memory::default();
        memory.begin_cycle(at(minutes));
        memory.end_cycle(at(minutes + 1), whole(Reached::Everything));
        memory.end_maintenance(at(minutes));
        memory
    }

    fn whole(reached: Reached) -> CycleEnd {
        CycleEnd::Whole { initial: false, reached, all_read: false }
    }

    fn delta(reason: CycleReason) -> Due {
        Due::Cycle { initial: false, reason }
    }

    #[test]
    fn the_first_cycle_is_due_at_once_and_the_others_by_interval() {
        let schedule = Schedule::default();
        assert_eq!(schedule.next(&Memory::default(), at(0)), Some((at(0), delta(CycleReason::Interval))));
        assert_eq!(schedule.next(&ran(0), at(5)), Some((at(30), delta(CycleReason::Interval))));
        let hurried = Schedule { interval: Duration::from_mins(1), floor: Duration::from_mins(30), ..schedule };
        assert_eq!(hurried.next(&ran(0), at(5)), Some((at(30), delta(CycleReason::Interval))));
    }

    #[test]
    fn what_was_missed_is_done_once() {
        let schedule = Schedule::default();
        assert_eq!(schedule.next(&ran(0), at(600)), Some((at(600), delta(CycleReason::Interval))));
        assert_eq!(schedule.next(&ran(600), at(601)), Some((at(630), delta(CycleReason::Interval))));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up() {
        let schedule = Schedule::default();
        assert_eq!(schedule.next(&ran(100_000), at(0)).map(|(at, _)| at), Some(at(0)));
    }

    #[test]
    fn suspended_means_only_what_is_asked_for() {
        let schedule = Schedule { maintenance: false, ..Schedule::default() };
        let mut memory = ran(0);
        memory.suspended = Some(Suspension { since: at(0).0, by: "somebody".to_owned(), reason: String::new() });
        assert_eq!(schedule.next(&memory, at(500)), None);
        memory.asked = true;
        assert_eq!(schedule.next(&memory, at(500)), Some((at(500), delta(CycleReason::Asked))));
        assert_eq!(Schedule { enabled: false, ..schedule }.next(&ran(0), at(500)), None);
    }

    #[test]
    fn an_initial_cycle_is_used_up_by_itself() {
        let schedule = Schedule::default();
        let mut memory = ran(0);
        memory.next_cycle = Policy::Initial;
        assert_eq!(schedule.next(&memory, at(5)), Some((at(30), Due::Cycle { initial: true, reason: CycleReason::Interval })));
        memory.begin_cycle(at(30));
        memory.end_cycle(at(31), CycleEnd::BrokenOff);
        assert_eq!(memory.next_cycle, Policy::Initial, "what was broken off is still to be done");
        memory.begin_cycle(at(60));
        memory.end_cycle(at(61), whole(Reached::Everything));
        assert_eq!(memory.next_cycle, Policy::Initial, "a delta cycle by hand is another one");
        memory.begin_cycle(at(90));
        memory.end_cycle(at(91), CycleEnd::Whole { initial: true, reached: Reached::Nothing, all_read: true });
        assert_eq!(memory.next_cycle, Policy::Unspecified);
    }

    #[test]
    fn what_was_read_and_not_sent_is_no_success_and_keeps_deltas() {
        let schedule = Schedule { maintenance: false, ..Schedule::default() };
        let mut memory = ran(0);
        memory.begin_cycle(at(30));
        memory.end_cycle(at(31), CycleEnd::Whole { initial: false, reached: Reached::Read, all_read: true });
        assert_eq!((memory.cycle_succeeded, memory.cycle_read, memory.cycle_read_all), (Some(at(0).0), Some(at(30).0), Some(at(30).0)));
        assert_eq!(schedule.next(&memory, at(32)), Some((at(60), delta(CycleReason::Interval))));
        memory.begin_cycle(at(60));
        memory.end_cycle(at(61), CycleEnd::Whole { initial: true, reached: Reached::Nothing, all_read: true });
        assert_eq!((memory.cycle_read, memory.cycle_read_all), (Some(at(30).0), Some(at(30).0)));
        memory.begin_cycle(at(90));
        memory.end_cycle(at(91), whole(Reached::Everything));
        assert_eq!((memory.cycle_succeeded, memory.cycle_read, memory.cycle_read_all), (Some(at(90).0), Some(at(90).0), Some(at(30).0)));
    }

    #[test]
    fn changes_that_a_directory_tells_of_come_at_once_and_together() {
        let schedule = Schedule::default();
        let mut memory = ran(0);
        let told = at(5);
        memory.changed = Some(told.0);
        let due = Some((Timestamp(told.0 + 500_000), delta(CycleReason::Changed)));
        assert_eq!(schedule.next(&memory, told), due);
        // Not on the heels of the cycle before.
        memory.cycle_ended = Some(told.0);
        assert_eq!(schedule.next(&memory, told), Some((Timestamp(told.0 + 1_000_000), delta(CycleReason::Changed))));
        memory.begin_cycle(at(6));
        assert_eq!(schedule.next(&memory, at(7)), Some((at(36), delta(CycleReason::Interval))));
        memory.changed = Some(at(7).0);
        memory.suspended = Some(Suspension { since: 0, by: String::new(), reason: String::new() });
        assert!(!matches!(schedule.next(&memory, at(8)), Some((_, Due::Cycle { .. }))));
    }

    #[test]
    fn deltas_of_a_connector_are_believed_for_a_week_and_no_other_one_pays_for_it() {
        let schedule = Schedule { maintenance: false, ..Schedule::default() };
        let (week, away, here) = (7 * 24 * 60, ConnectorId(1), ConnectorId(2));
        let mut memory = ran(0);
        memory.note_read([away, here], at(0));
        // Cycles go on, and in none of them all is read.
        memory.begin_cycle(at(week - 10));
        memory.end_cycle(at(week - 9), whole(Reached::Nothing));
        memory.note_read([here], at(week - 10));
        let too_old = |memory: &Memory, minutes| (memory.is_too_old(away, at(minutes)), memory.is_too_old(here, at(minutes)));
        assert_eq!((too_old(&memory, week - 1), too_old(&memory, week)), ((false, false), (true, false)));
        assert_eq!(schedule.next(&memory, at(week)), Some((at(week + 20), delta(CycleReason::Interval))));
        // What the other one tells of begins a cycle like any other.
        memory.changed = Some(at(week).0);
        assert!(matches!(schedule.next(&memory, at(week)), Some((_, Due::Cycle { initial: false, reason: CycleReason::Changed }))));
        // Somebody who says delta gets it.
        memory.next_cycle = Policy::Delta;
        assert_eq!(too_old(&memory, week), (false, false));
        memory.next_cycle = Policy::Unspecified;
        // Read by hand.
        memory.note_read([away], at(week - 2));
        assert_eq!((too_old(&memory, week), too_old(&memory, 2 * week - 2)), ((false, false), (true, true)));
        // What was kept before single connectors were remembered.
        assert_eq!((too_old(&ran(0), week - 1), too_old(&ran(0), week)), ((false, false), (true, true)));
    }

    #[test]
    fn maintenance_comes_daily_and_never_before_a_cycle_that_is_due() {
        let schedule = Schedule::default();
        let day = 24 * 60;
        let mut memory = ran(0);
        memory.begin_cycle(at(day - 10));
        assert_eq!(schedule.next(&memory, at(day - 5)), Some((at(day), Due::Maintenance)));
        memory.begin_cycle(at(day - 30));
        assert_eq!(schedule.next(&memory, at(day)), Some((at(day), delta(CycleReason::Interval))));
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let mut memory = ran(3);
        memory.note_read([ConnectorId(7)], at(3));
        memory.suspended = Some(Suspension { since: 1, by: "root".to_owned(), reason: "move".to_owned() });
        let text = serde_json::to_string(&memory).unwrap();
        assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), memory);
        assert_eq!(serde_json::from_str::<Memory>("{}").unwrap(), Memory::default());
    }
}
