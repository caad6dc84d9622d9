//! What somebody has looked at before it is sent: a pinned plan, and the approval of a first export.

use super::{Service, ServiceError};
use crate::config::{ConnectorSettings, FirstExport};
use crate::engine::export::{ExportPlan, ExportReview, ExportSummary, was_exported};
use crate::model::{ConnectorId, Names};
use crate::store::{ChangeSet, Store};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The name under which a target keeps that its first export was approved.
const APPROVED: &str = "first-export-approved";

/// Has the last word before an export.
pub(super) struct Reviewer {
    store: Store,
    names: Arc<Names>,
    /// The only plan that may be sent.
    pinned: Option<ExportPlan>,
    /// Targets whose first export nobody has approved.
    unapproved: BTreeSet<ConnectorId>,
}

impl ExportReview for Reviewer {
    fn allow(&self, connector: ConnectorId, summary: &ExportSummary, first: bool) -> Result<(), String> {
        if let Some(pinned) = self.pinned {
            let snapshot = self.store.snapshot().map_err(|error| error.to_string())?;
            let waiting = ExportPlan::of(&snapshot, &self.names, connector).map_err(|error| error.to_string())?;
            if waiting != pinned {
                return Err(format!(
                    "the plan {pinned} is not what waits now ({waiting}): something changed since it was looked at, and nothing was sent. \
                     Look again: `syncline export --what-if`"
                ));
            }
            // Whoever names the plan has looked at it.
            return Ok(());
        }
        if first && self.unapproved.contains(&connector) {
            let all = summary.adds + summary.updates + summary.renames + summary.deletes;
            return Err(format!(
                "nothing was ever exported to this target, and its first export waits for somebody who has looked at it: {all} objects. \
                 Look at it by `syncline export --what-if`, which names the plan; approve it by `syncline export --approve PLAN`, or send \
                 exactly that by `syncline export --plan PLAN`"
            ));
        }
        Ok(())
    }
}

impl Service {
    /// Who has the last word before exports.
    pub(super) fn reviewer(&self, pinned: Option<ExportPlan>) -> Result<Arc<Reviewer>, ServiceError> {
        let mut unapproved = BTreeSet::new();
        for id in self.connectors.keys() {
            if self.awaits_approval(*id)? {
                unapproved.insert(*id);
            }
        }
        Ok(Arc::new(Reviewer { store: self.store.clone(), names: Arc::clone(self.store.names()), pinned, unapproved }))
    }

    /// True for a tenant that nothing was exported to, until somebody approves it.
    pub(super) fn awaits_approval(&self, connector: ConnectorId) -> Result<bool, ServiceError> {
        let config = self.connectors.get(&connector).and_then(|name| self.config.connector(name));
        let real = config.is_some_and(|config| matches!(&config.settings, ConnectorSettings::Entra(file) if !file.is_embedded()));
        let snapshot = self.store.snapshot()?;
        Ok(real
            && self.config.guard.first_export == FirstExport::Approved
            && snapshot.state(connector, APPROVED)?.is_none()
            && !was_exported(&snapshot, connector)?)
    }

    /// Approves the first export to a target by somebody who has looked at the plan that waits now.
    ///
    /// # Errors
    /// When another plan waits, or the store refuses.
    pub fn approve_first_export(&self, connector: ConnectorId, plan: ExportPlan) -> Result<(), ServiceError> {
        let waiting = ExportPlan::of(&self.store.snapshot()?, self.store.names(), connector)?;
        if waiting != plan {
            return Err(ServiceError::NotReady {
                message: format!("the plan {plan} is not what waits now ({waiting}): something changed since it was looked at"),
                hint: "look again: `syncline export --what-if`".to_owned(),
            });
        }
        let mut changes = ChangeSet::new();
        changes.states.push((connector, APPROVED.to_owned(), Some(plan.to_string().into_bytes())));
        Ok(self.store.apply(changes)?)
    }
}
