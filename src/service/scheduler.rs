//! What the scheduler remembers: kept in the store, and in memory for as long as the process runs, so that a store that
//! refuses to write delays nothing and repeats nothing.

use super::connectors::INSTALLATION;
use super::guard_stops::GuardStop;
use super::{Service, ServiceError};
use crate::config::{Edit, MAIN_FILE, SchedulerTable, change_file, duration_of};
use crate::context::Context;
use crate::engine::export::known_terms;
use crate::engine::full_steps::{FULL_IMPORT_ASKED, FULL_SYNC_ASKED};
use crate::model::{ConnectorId, Timestamp};
use crate::schedule::{Due, Memory, Policy, Schedule};
use crate::store::{ChangeSet, Kept, KeptState, Store};
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where the installation keeps it.
const SCHEDULER: KeptState<Memory> = KeptState::new("scheduler");

/// The table of the main file.
const TABLE: &str = "scheduler";

/// What is remembered, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    memory: Mutex<Option<Known>>,
    /// Held by whoever writes it to the store: what is written last is the newest. Others read and note meanwhile.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct Known {
    memory: Memory,
    /// The store has it, too.
    kept: bool,
}

/// The scheduler as an administrator sees it (specification: sync engine, section 5.4).
#[derive(Clone, Debug, Serialize)]
pub struct SchedulerView {
    /// Cycles run by themselves.
    pub cycle_enabled: bool,
    /// The shortest interval that the tenant allows, in seconds, as far as it told.
    pub allowed_interval_seconds: u64,
    /// The configured interval, in seconds.
    pub customized_interval_seconds: u64,
    /// The one that counts, in seconds.
    pub effective_interval_seconds: u64,
    /// What the next cycle shall be.
    pub next_policy: Policy,
    /// A service runs, and begins cycles by itself.
    pub served: bool,
    /// When the next cycle begins. `None` when none does by itself, as where no service runs.
    pub next_cycle: Option<String>,
    /// When the last cycle began.
    pub last_cycle: Option<String>,
    /// When the last cycle began whose runs all came to their end, exports as well.
    pub last_success: Option<String>,
    /// When the last cycle began whose imports and synchronizations came to their end, whatever became of exports.
    pub last_read: Option<String>,
    /// When the last of these began that read every connector as a whole.
    pub last_full: Option<String>,
    /// Maintenance is done daily.
    pub maintenance_enabled: bool,
    /// When maintenance was done.
    pub last_maintenance: Option<String>,
    /// Days for which history is kept.
    pub history_days: u32,
    /// Nothing is exported.
    pub staging: bool,
    /// Since when, by whom and why nothing runs by itself.
    pub suspended: Option<SuspensionView>,
    /// What runs now in this process.
    pub running: Option<String>,
    /// Why nobody knows what the scheduler remembered; it counts as suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Full steps that somebody asked for.
    pub overrides: Vec<OverrideView>,
    /// What guards stopped in the last cycle, or by hand since, and nothing has healed.
    pub guard_stops: Vec<GuardStop>,
}

/// Why nothing runs by itself.
#[derive(Clone, Debug, Serialize)]
pub struct SuspensionView {
    /// Since when.
    pub since: String,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Full steps of a connector that somebody asked for.
#[derive(Clone, Debug, Serialize)]
pub struct OverrideView {
    /// Its name.
    pub connector: String,
    /// The next import reads everything.
    pub full_import: bool,
    /// The next synchronization evaluates everything.
    pub full_synchronization: bool,
}

impl Service {
    /// When things are due by configuration, and by what the tenant allows.
    pub fn schedule(&self) -> Schedule {
        let table = &self.config.scheduler;
        Schedule {
            enabled: table.enabled,
            interval: table.interval(),
            floor: self.allowed_interval(),
            maintenance: table.maintenance,
            ..Schedule::default()
        }
    }

    /// The longest of the shortest intervals that targets allow, as far as they told.
    fn allowed_interval(&self) -> Duration {
        let Ok(snapshot) = self.store.snapshot() else { return Duration::ZERO };
        let told = self.connectors.keys().filter_map(|id| known_terms(&snapshot, *id).ok()?.interval);
        told.max().unwrap_or_default()
    }

    /// What the scheduler remembers.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn scheduler_memory(&self) -> Result<Memory, ServiceError> {
        self.with_memory(|known| known.memory.clone())
    }

    /// Does something with what is remembered, which is read first when it is not known yet.
    fn with_memory<T>(&self, work: impl FnOnce(&mut Known) -> T) -> Result<T, ServiceError> {
        let mut memory = self.facilities.scheduler.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match memory.as_mut() {
            Some(known) => known,
            None => memory.insert(Known { memory: read(&self.store)?, kept: true }),
        };
        Ok(work(known))
    }

    /// Changes what the scheduler remembers. It counts for this process even when the store refuses to write it.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn remember_schedule(&self, change: impl FnOnce(&mut Memory)) -> Result<(), ServiceError> {
        let _writing = self.facilities.scheduler.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = self.with_memory(|known| {
            let before = Memory { changed: None, ..known.memory.clone() };
            change(&mut known.memory);
            known.kept &= before == Memory { changed: None, ..known.memory.clone() };
            (!known.kept).then(|| known.memory.clone())
        })?;
        let Some(memory) = changed else { return Ok(()) };
        SCHEDULER.update(&self.store, INSTALLATION, |_| (Kept::Here(memory), ()))?;
        self.with_memory(|known| known.kept = true)
    }

    /// Notes that a directory told of a change. Costs nothing, however often it is told: what is not read yet is read by the
    /// same cycle, and a process that begins reads everything that changed.
    ///
    /// # Errors
    /// When the store cannot be read, if nobody looked before.
    pub fn note_change(&self, now: Timestamp) -> Result<(), ServiceError> {
        self.with_memory(|known| known.memory.changed = known.memory.changed.or(Some(now.0)))
    }

    /// As [`Self::remember_schedule`], where a store that refuses must not hold up what it is told of.
    pub fn note_schedule(&self, change: impl FnOnce(&mut Memory)) {
        if let Err(error) = self.remember_schedule(change) {
            tracing::warn!("what the scheduler did could not be noted in the store: {error}");
        }
    }

    /// Writes settings of the scheduler into the main file. Gives the keys that were changed or stood so already.
    ///
    /// # Errors
    /// When a setting makes no sense, or the file cannot be written.
    pub fn set_schedule(
        &self,
        enabled: Option<bool>,
        interval: Option<&str>,
        maintenance: Option<bool>,
        near_real_time: Option<bool>,
    ) -> Result<Vec<&'static str>, ServiceError> {
        if let Some(text) = interval {
            let refused = |why: String| ServiceError::Usage(format!("--interval {text}: {why}"));
            let interval = duration_of(text).map_err(|why| ServiceError::Usage(format!("--interval: {why}")))?;
            SchedulerTable { interval, ..SchedulerTable::default() }.check().map_err(refused)?;
        }
        let folder = &self.config.folder;
        let mut wanted: Vec<([&'static str; 2], Edit)> = Vec::new();
        wanted.extend(interval.map(|interval| ([TABLE, "interval"], Edit::Put(interval.into()))));
        for (key, flag) in [("enabled", enabled), ("maintenance", maintenance), ("near_real_time", near_real_time)] {
            wanted.extend(flag.map(|flag| ([TABLE, key], Edit::Put(flag.into()))));
        }
        let edits: Vec<(&[&str], Edit)> = wanted.iter().map(|(key, edit)| (key.as_slice(), edit.clone())).collect();
        change_file(folder, &folder.join(MAIN_FILE), &edits, false)?;
        Ok(wanted.into_iter().map(|([_, key], _)| key).collect())
    }

    /// Asks for full steps of a connector, or takes that back.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn override_steps(
        &self,
        connector: ConnectorId,
        full_import: bool,
        full_synchronization: bool,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let asked = |wanted: bool| wanted.then(|| now.0.to_le_bytes().to_vec());
        let mut changes = ChangeSet::new();
        changes.states.push((connector, FULL_IMPORT_ASKED.to_owned(), asked(full_import)));
        changes.states.push((connector, FULL_SYNC_ASKED.to_owned(), asked(full_synchronization)));
        Ok(self.store.apply(changes)?)
    }

    /// The scheduler as an administrator sees it. `served`: a service runs.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn scheduler(&self, cx: &Context, served: bool) -> Result<SchedulerView, ServiceError> {
        self.scheduler_with(cx, served, self.guard_stops()?)
    }

    /// The same for whoever knows what guards stopped.
    pub(super) fn scheduler_with(&self, cx: &Context, served: bool, guard_stops: Vec<GuardStop>) -> Result<SchedulerView, ServiceError> {
        let (schedule, memory) = (self.schedule(), self.scheduler_memory()?);
        let time = |at: Option<i64>| at.map(|at| Timestamp(at).to_string());
        let unreadable = memory.unreadable.clone();
        let snapshot = self.store.snapshot()?;
        let mut overrides = Vec::new();
        for (id, name) in &self.connectors {
            let full_import = snapshot.state(*id, FULL_IMPORT_ASKED)?.is_some();
            let full_synchronization = snapshot.state(*id, FULL_SYNC_ASKED)?.is_some();
            if full_import || full_synchronization {
                overrides.push(OverrideView { connector: name.clone(), full_import, full_synchronization });
            }
        }
        let cycles = Schedule { maintenance: false, ..schedule };
        let next = cycles.next(&memory, cx.now()).filter(|(_, due)| served && matches!(due, Due::Cycle { .. }));
        Ok(SchedulerView {
            cycle_enabled: schedule.enabled,
            allowed_interval_seconds: schedule.floor.as_secs(),
            customized_interval_seconds: schedule.interval.as_secs(),
            effective_interval_seconds: schedule.effective_interval().as_secs(),
            next_policy: memory.next_cycle,
            served,
            next_cycle: next.map(|(at, _)| at.to_string()),
            last_cycle: time(memory.cycle_began),
            last_success: time(memory.cycle_succeeded),
            last_read: time(memory.last_read()),
            last_full: time(memory.cycle_read_all),
            maintenance_enabled: schedule.maintenance,
            last_maintenance: time(memory.maintained),
            history_days: self.config.limits.history_days,
            staging: self.config.guard.staging,
            suspended: memory.suspended.map(|suspension| SuspensionView {
                since: Timestamp(suspension.since).to_string(),
                by: suspension.by,
                reason: suspension.reason,
            }),
            unreadable,
            running: self.running(),
            overrides,
            guard_stops,
        })
    }
}

/// What was kept. Of what cannot be read nobody knows whether it was a suspension, so nothing runs by itself until somebody
/// decides.
fn read(store: &Store) -> Result<Memory, ServiceError> {
    Ok(match SCHEDULER.read(&store.snapshot()?, INSTALLATION)? {
        Kept::Here(memory) => memory,
        Kept::Nothing => Memory::default(),
        Kept::Unreadable(why) => Memory { unreadable: Some(why), ..Memory::default() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::schedule::{CycleEnd, Reached, Suspension};
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

    fn service(store: &Store) -> Service {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("syncline.toml"), "version = 1\n").unwrap();
        let config = Config::load(folder.path()).unwrap();
        Service::counting(config, store.clone(), folder.path().join("syncline.redb"), Arc::default()).unwrap()
    }

    fn suspension() -> Suspension {
        Suspension { since: NOW.0, by: "somebody".to_owned(), reason: String::new() }
    }

    #[test]
    fn what_directories_tell_costs_nothing() {
        let store = Store::in_memory().unwrap();
        let service = service(&store);
        service.remember_schedule(|memory| memory.begin_cycle(NOW)).unwrap();
        let before = store.io_counts();
        for number in 0..1_000 {
            service.note_change(Timestamp(NOW.0 + number)).unwrap();
        }
        assert_eq!(store.io_counts(), before);
        assert_eq!(service.scheduler_memory().unwrap().changed, Some(NOW.0), "the first one counts");
        service.remember_schedule(|memory| memory.changed = None).unwrap();
        assert_eq!(store.io_counts(), before, "what is not kept is no news for the store");
    }

    #[test]
    fn a_suspension_outlives_cycles_and_news_of_the_same_moment() {
        let store = Store::in_memory().unwrap();
        let service = service(&store);
        let begin = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    begin.wait();
                    for number in 0..50 {
                        service.remember_schedule(|memory| memory.begin_cycle(Timestamp(NOW.0 + number))).unwrap();
                        let end = CycleEnd::Whole { initial: false, reached: Reached::Everything, all_read: false };
                        service.remember_schedule(|memory| memory.end_cycle(Timestamp(NOW.0 + number), end)).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                begin.wait();
                (0..200).for_each(|number| service.note_change(Timestamp(NOW.0 + number)).unwrap());
            });
            begin.wait();
            service.remember_schedule(|memory| memory.suspend(Some(suspension()))).unwrap();
        });
        assert_eq!(service.scheduler_memory().unwrap().suspended, Some(suspension()));
        assert_eq!(read(&store).unwrap().suspended, Some(suspension()), "what was written last is the newest");
    }

    #[test]
    fn what_cannot_be_read_counts_as_suspended_until_somebody_decides() {
        let store = Store::in_memory().unwrap();
        let damaged: KeptState<u32> = KeptState::new("scheduler");
        damaged.update(&store, INSTALLATION, |_| (Kept::Here(7), ())).unwrap();
        let first = service(&store);
        let next = |service: &Service| {
            let schedule = Schedule { maintenance: false, ..service.schedule() };
            schedule.next(&service.scheduler_memory().unwrap(), NOW)
        };
        assert_eq!(next(&first), None);
        // A cycle that somebody starts is no decision about the schedule; it does not make it forget.
        first.remember_schedule(|memory| memory.begin_cycle(NOW)).unwrap();
        let second = service(&store);
        assert_eq!(next(&second), None);
        let view = second.scheduler(&Context::system(), true).unwrap();
        assert!(view.unreadable.is_some_and(|why| why.contains("'scheduler'")) && view.next_cycle.is_none());
        second.remember_schedule(|memory| memory.suspend(None)).unwrap();
        assert!(next(&second).is_some());
        assert!(next(&service(&store)).is_some(), "the decision is kept");
    }
}
