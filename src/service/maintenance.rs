//! What the store needs once a day.

use super::{Service, ServiceError};
use crate::context::Context;
use crate::engine::run::forget_runs_before;
use crate::model::Timestamp;
use crate::store::ChangeSet;

const DAY: i64 = 86_400_000_000;

impl Service {
    /// Purges runs and events that are older than they are kept. Gives how many runs there were.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn maintain(&self, cx: &Context) -> Result<u64, ServiceError> {
        let days = i64::from(self.config.limits.history_days.max(1));
        self.purge_before(Timestamp(cx.now().0.saturating_sub(days.saturating_mul(DAY))))
    }

    /// Purges runs and events from before a point in time. Gives how many runs there were.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn purge_before(&self, oldest: Timestamp) -> Result<u64, ServiceError> {
        let purged = forget_runs_before(&self.store, oldest)?;
        self.store.apply(ChangeSet { events_before: Some(oldest), ..ChangeSet::new() })?;
        Ok(purged)
    }
}
