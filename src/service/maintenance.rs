//! What the store needs once a day.

use super::{Access, Service, ServiceError};
use crate::config::Config;
use crate::context::Context;
use crate::engine::belief::{Belief, Doubt};
use crate::engine::run::forget_runs;
use crate::model::Retention;
use crate::schedule::Policy;
use crate::store::{ChangeSet, Store};
use std::path::Path;
use tokio_util::sync::CancellationToken;

impl Service {
    /// Opens the store again when its disk failed. True when it did, and everybody begins anew.
    ///
    /// # Errors
    /// When something runs, or the file cannot be opened yet.
    pub fn mend_store(&self) -> Result<bool, ServiceError> {
        if self.store.failure().is_none() {
            return Ok(false);
        }
        let _turn = self.facilities.turn.take_now("opening the store again", &CancellationToken::new())?;
        self.store.reopen()?;
        // What the scheduler did meanwhile is known here only.
        self.remember_schedule(|_| ())?;
        Ok(true)
    }

    /// Makes a store that was restored believe nothing that may have changed since its backup: every directory and every
    /// target is read whole and everything is evaluated, by a cycle that is due at once. What was exported since is found
    /// there and joined; nothing is sent a second time. While one of them cannot be read, nothing is exported at all, since what
    /// the store knows of it is as old as the backup.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn distrust(&self, cx: &Context) -> Result<(), ServiceError> {
        let (snapshot, mut changes) = (self.store.snapshot()?, ChangeSet::new());
        for connector in self.all_connectors()? {
            Belief::distrust(&snapshot, connector, Doubt::Restored, &mut changes)?;
        }
        drop(snapshot);
        self.store.apply(changes)?;
        for connector in self.connectors.keys() {
            self.override_steps(*connector, true, true, cx.now())?;
        }
        self.remember_schedule(|memory| {
            memory.next_cycle = Policy::Initial;
            (memory.cycle_began, memory.cycle_ended) = (None, None);
        })
    }

    /// Copies a backup to where no store is, and makes the copy believe nothing, so that it does so from the moment on when it
    /// is put in a store's place, whatever is cut off then. An older format is migrated; the backup stays as it is.
    ///
    /// # Errors
    /// When the backup is no whole store, the copy cannot be written, or the configuration does not fit it.
    pub fn distrusting_copy(config: &Config, backup: &Path, copy: &Path, cx: &Context) -> Result<(), ServiceError> {
        Store::restore(backup, copy, cx.now())?;
        Self::open(config.clone(), Some(copy), Access::Existing)?.distrust(cx)
    }

    /// Purges runs and events that are older than they are kept. Gives how many runs there were.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn maintain(&self, cx: &Context) -> Result<u64, ServiceError> {
        self.purge(Retention::of_days(self.config.limits.history_days, cx.now()))
    }

    /// Purges runs and events that are older than they are kept. Gives how many runs there were.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn purge(&self, retention: Retention) -> Result<u64, ServiceError> {
        let purged = forget_runs(&self.store, retention)?;
        self.store.apply(ChangeSet { events_kept: Some(retention), ..ChangeSet::new() })?;
        Ok(purged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_copy_of_a_backup_believes_nothing_before_it_has_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir(folder.path().join("connectors")).unwrap();
        write("syncline.toml", "version = 1\n");
        write("connectors/people.toml", "kind = \"ldif\"\npath = \"people.ldif\"\n");
        write("people.ldif", "");
        let (cx, config) = (Context::system(), Config::load(folder.path()).unwrap());
        let (backup, copy) = (folder.path().join("backup.redb"), folder.path().join("copy.redb"));
        let service = Service::open(config.clone(), None, Access::Create).unwrap();
        service.remember_schedule(|memory| memory.cycle_ended = Some(7)).unwrap();
        service.store().backup(&backup).unwrap();
        Service::distrusting_copy(&config, &backup, &copy, &cx).unwrap();
        let restored = Service::open(config, Some(&copy), Access::Existing).unwrap().scheduler_memory().unwrap();
        assert_eq!((restored.next_cycle, restored.cycle_ended), (Policy::Initial, None));
        assert_eq!(service.scheduler_memory().unwrap().cycle_ended, Some(7));
    }
}
