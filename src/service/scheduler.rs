//! What the scheduler remembers: kept in the store, and in memory for as long as the process runs, so that a store that
//! refuses to write delays nothing and repeats nothing.

use super::connectors::INSTALLATION;
use super::{Service, ServiceError};
use crate::config::{MAIN_FILE, SchedulerTable, set_key};
use crate::context::Context;
use crate::engine::export::known_terms;
use crate::engine::run::{FULL_IMPORT_ASKED, FULL_SYNC_ASKED};
use crate::model::{ConnectorId, Timestamp};
use crate::schedule::{Due, Memory, Policy, Schedule};
use crate::store::{ChangeSet, Store};
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The name under which the installation keeps it.
const SCHEDULER: &str = "scheduler";

/// The table of the main file.
const TABLE: &str = "scheduler";

/// What is remembered, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    memory: Mutex<Option<Memory>>,
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
    /// When the next cycle begins. `None` when none does by itself.
    pub next_cycle: Option<String>,
    /// When the last cycle began.
    pub last_cycle: Option<String>,
    /// When the last cycle began whose imports and synchronizations came to their end.
    pub last_success: Option<String>,
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
    /// Full steps that somebody asked for.
    pub overrides: Vec<OverrideView>,
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
        let mut kept = self.facilities.scheduler.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = kept.as_ref() {
            return Ok(memory.clone());
        }
        let memory = read(&self.store)?;
        *kept = Some(memory.clone());
        Ok(memory)
    }

    /// Changes what the scheduler remembers. It counts for this process even when the store refuses to write it.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn remember_schedule(&self, change: impl FnOnce(&mut Memory)) -> Result<(), ServiceError> {
        let mut memory = self.scheduler_memory()?;
        change(&mut memory);
        *self.facilities.scheduler.memory.lock().unwrap_or_else(PoisonError::into_inner) = Some(memory.clone());
        let octets = serde_json::to_vec(&memory).map_err(|error| ServiceError::Usage(error.to_string()))?;
        let mut changes = ChangeSet::new();
        changes.states.push((INSTALLATION, SCHEDULER.to_owned(), Some(octets)));
        Ok(self.store.apply(changes)?)
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
            let interval = text.parse().map_err(|error: jiff::Error| refused(error.to_string()))?;
            SchedulerTable { interval, ..SchedulerTable::default() }.check().map_err(refused)?;
        }
        let folder = &self.config.folder;
        let path = folder.join(MAIN_FILE);
        let mut set = Vec::new();
        if let Some(interval) = interval {
            set_key(folder, &path, TABLE, "interval", interval)?;
            set.push("interval");
        }
        for (key, wanted) in [("enabled", enabled), ("maintenance", maintenance), ("near_real_time", near_real_time)] {
            if let Some(wanted) = wanted {
                set_key(folder, &path, TABLE, key, wanted)?;
                set.push(key);
            }
        }
        Ok(set)
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

    /// The scheduler as an administrator sees it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn scheduler(&self, cx: &Context) -> Result<SchedulerView, ServiceError> {
        let (schedule, memory) = (self.schedule(), self.scheduler_memory()?);
        let time = |at: Option<i64>| at.map(|at| Timestamp(at).to_string());
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
        let next = cycles.next(&memory, cx.now()).filter(|(_, due)| matches!(due, Due::Cycle { .. }));
        Ok(SchedulerView {
            cycle_enabled: schedule.enabled,
            allowed_interval_seconds: schedule.floor.as_secs(),
            customized_interval_seconds: schedule.interval.as_secs(),
            effective_interval_seconds: schedule.effective_interval().as_secs(),
            next_policy: memory.next_cycle,
            next_cycle: next.map(|(at, _)| at.to_string()),
            last_cycle: time(memory.cycle_began),
            last_success: time(memory.cycle_succeeded),
            maintenance_enabled: schedule.maintenance,
            last_maintenance: time(memory.maintained),
            history_days: self.config.limits.history_days,
            staging: self.config.guard.staging,
            suspended: memory.suspended.map(|suspension| SuspensionView {
                since: Timestamp(suspension.since).to_string(),
                by: suspension.by,
                reason: suspension.reason,
            }),
            running: self.running(),
            overrides,
        })
    }
}

/// What was kept. What cannot be understood was written by another release, and only delays a cycle when it is forgotten.
fn read(store: &Store) -> Result<Memory, ServiceError> {
    let kept = store.snapshot()?.state(INSTALLATION, SCHEDULER)?;
    Ok(kept.and_then(|octets| serde_json::from_slice(&octets).ok()).unwrap_or_default())
}
