//! Protection against deleting by accident, as an administrator sees and sets it (specification: sync engine, section 5.5).

use super::{Service, ServiceError};
use crate::config::{MAIN_FILE, set_key};
use crate::engine::export::{ExportSummary, known_terms};
use serde::Serialize;

/// The guards and how they stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuardView {
    /// The most deletes of one export.
    pub max_deletes: u64,
    /// The same as a share of what the target holds, in percent.
    pub max_delete_percent: Option<u32>,
    /// The share of known objects that a full import may miss and still be believed, in percent.
    pub shrink_percent: u32,
    /// Nothing is exported.
    pub staging: bool,
    /// Target by target.
    pub targets: Vec<GuardedTarget>,
}

/// How the guard stands for one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuardedTarget {
    /// Its name.
    pub connector: String,
    /// The tenant's own limit, as it said at the last export.
    pub tenant_max_deletes: Option<u64>,
    /// The same as a share, in percent.
    pub tenant_max_delete_percent: Option<u32>,
    /// Deletes that wait.
    pub waiting: u64,
    /// The strictest of all limits, in objects.
    pub limit: Option<u64>,
    /// An export would stop before its first object.
    pub stopped: bool,
}

/// Settings to write; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardChange {
    /// The most deletes of one export.
    pub max_deletes: Option<u64>,
    /// The same as a share, in percent.
    pub max_delete_percent: Option<u32>,
    /// The share that a full import may miss, in percent.
    pub shrink_percent: Option<u32>,
}

/// The table of the main file.
const TABLE: &str = "guard";

impl Service {
    /// The guards and how they stand.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn guard(&self) -> Result<GuardView, ServiceError> {
        let guard = &self.config.guard;
        let snapshot = self.store.snapshot()?;
        let mut targets = Vec::new();
        for id in self.rules()?.targets() {
            let terms = known_terms(&snapshot, *id)?;
            let mut summary = ExportSummary::of(&snapshot, *id)?;
            if guard.max_delete_percent.or(terms.delete_percent_max).is_some() {
                summary.count_existing(&snapshot, *id)?;
            }
            let limit = summary.delete_limit(Some(guard.max_deletes), guard.max_delete_percent, terms);
            targets.push(GuardedTarget {
                connector: self.connectors.get(id).cloned().unwrap_or_default(),
                tenant_max_deletes: terms.deletes_max,
                tenant_max_delete_percent: terms.delete_percent_max,
                waiting: summary.deletes,
                limit,
                stopped: limit.is_some_and(|limit| summary.deletes > limit),
            });
        }
        Ok(GuardView {
            max_deletes: guard.max_deletes,
            max_delete_percent: guard.max_delete_percent,
            shrink_percent: guard.shrink_percent,
            staging: guard.staging,
            targets,
        })
    }

    /// Writes guards into the main file.
    ///
    /// # Errors
    /// When a share is above 100, or the file cannot be written.
    pub fn set_guard(&self, change: GuardChange) -> Result<(), ServiceError> {
        for percent in [change.max_delete_percent, change.shrink_percent].into_iter().flatten() {
            if percent > 100 {
                return Err(ServiceError::Usage(format!("{percent} is no share in percent: write 0 to 100")));
            }
        }
        let folder = &self.config.folder;
        let path = folder.join(MAIN_FILE);
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let wanted = [
            ("max_deletes", change.max_deletes.map(whole)),
            ("max_delete_percent", change.max_delete_percent.map(i64::from)),
            ("shrink_percent", change.shrink_percent.map(i64::from)),
        ];
        for (key, value) in wanted {
            if let Some(value) = value {
                set_key(folder, &path, TABLE, key, value)?;
            }
        }
        Ok(())
    }
}
