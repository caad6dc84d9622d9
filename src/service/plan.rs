//! What somebody has looked at before it is sent: a pinned plan, and the approval of a first export.

use super::connectors::note_source_anchor;
use super::{Service, ServiceError};
use crate::config::{ConnectorSettings, FirstExport};
use crate::engine::export::{APPROVED, ExportPlan, ExportReview, ExportSummary, Sampled, sample, was_exported};
use crate::model::{ConnectorId, Names, counted};
use crate::store::{ChangeSet, Store};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A tenth more new objects than were approved are let through: people come and go between looking and sending.
const MORE_ADDS: u64 = 10;

/// What somebody looked at and approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Approval {
    plan: String,
    adds: u64,
    deletes: u64,
}

/// What the first export to a target waits for.
enum FirstLook {
    /// For nobody: there was one, or none is waited for.
    Done,
    /// For somebody who looks.
    Missing,
    /// For nobody, as long as it is about this.
    Given(Approval),
}

impl Approval {
    /// True while what is to be sent is about what was looked at.
    fn covers(&self, adds: u64, deletes: u64) -> bool {
        deletes <= self.deletes && adds <= self.adds.saturating_add(self.adds / MORE_ADDS)
    }
}

/// Has the last word before an export.
pub(super) struct Reviewer {
    store: Store,
    names: Arc<Names>,
    /// The only plan that may be sent.
    pinned: Option<ExportPlan>,
    /// What targets are called.
    targets: BTreeMap<ConnectorId, String>,
    /// Targets whose first export is still to come, and what of it somebody has approved.
    first_exports: BTreeMap<ConnectorId, Option<Approval>>,
    /// The attribute that ties people to their cloud objects.
    source_anchor: String,
}

impl ExportReview for Reviewer {
    fn allow(&self, connector: ConnectorId, summary: &ExportSummary, first: bool) -> Result<(), String> {
        self.judge(connector, summary, first)?;
        // Before anything is handed over: whatever is cut off behind it, objects may have been made with this one.
        note_source_anchor(&self.store, &self.source_anchor).map_err(|error| error.to_string())
    }
}

impl Reviewer {
    fn judge(&self, connector: ConnectorId, summary: &ExportSummary, first: bool) -> Result<(), String> {
        if let Some(pinned) = self.pinned {
            let snapshot = self.store.snapshot().map_err(|error| error.to_string())?;
            let waiting = ExportPlan::of(&snapshot, &self.names, connector).map_err(|error| error.to_string())?;
            if waiting != pinned {
                let sample = sample(&snapshot, &self.names, connector, Sampled::All).map_err(|error| error.to_string())?;
                let target = self.targets.get(&connector).map_or("", String::as_str);
                return Err(format!(
                    "the plan {pinned} is not what waits now ({waiting}): something changed since it was looked at, and nothing was sent. {} \
                     ({}), among them {sample}. Look at them by `syncline export '{target}' --what-if`, then send exactly \
                     these by `syncline export '{target}' --plan {waiting}`",
                    counted(summary.all(), "object waits", "objects wait"),
                    counted(summary.deletes, "delete", "deletes")
                ));
            }
            // Whoever names the plan has looked at it.
            return Ok(());
        }
        let approved = if first { self.first_exports.get(&connector) } else { None };
        if let Some(Some(approval)) = approved
            && !approval.covers(summary.adds, summary.deletes)
        {
            return Err(format!(
                "nothing was ever exported to this target, and what waits now is more than what was approved: {} and {}, \
                 and the plan {} had {} and {}. Look again by `syncline export --what-if`, which names the plan; approve it by \
                 `syncline export --approve PLAN`",
                counted(summary.adds, "add", "adds"),
                counted(summary.deletes, "delete", "deletes"),
                approval.plan,
                approval.adds,
                approval.deletes
            ));
        }
        if let Some(None) = approved {
            let snapshot = self.store.snapshot().map_err(|error| error.to_string())?;
            let sample = sample(&snapshot, &self.names, connector, Sampled::All).map_err(|error| error.to_string())?;
            let waiting = ExportPlan::of(&snapshot, &self.names, connector).map_err(|error| error.to_string())?;
            let target = self.targets.get(&connector).map_or("", String::as_str);
            return Err(format!(
                "nothing was ever exported to this target, and its first export waits for somebody who has looked at it: {} \
                 ({}, {}), among them {sample}. Look at them by `syncline export '{target}' --what-if`; approve exports from now on \
                 by `syncline export '{target}' --approve {waiting}`, or send exactly this by `syncline export '{target}' --plan {waiting}`",
                counted(summary.all(), "object", "objects"),
                counted(summary.adds, "add", "adds"),
                counted(summary.deletes, "delete", "deletes")
            ));
        }
        Ok(())
    }
}

impl Service {
    /// Who has the last word before exports.
    pub(super) fn reviewer(&self, pinned: Option<ExportPlan>) -> Result<Arc<Reviewer>, ServiceError> {
        let mut first_exports = BTreeMap::new();
        for id in self.connectors.keys() {
            match self.first_look(*id)? {
                FirstLook::Done => {}
                FirstLook::Missing => drop(first_exports.insert(*id, None)),
                FirstLook::Given(approval) => drop(first_exports.insert(*id, Some(approval))),
            }
        }
        let (store, names, targets) = (self.store.clone(), Arc::clone(self.store.names()), self.connectors.clone());
        let source_anchor = self.config.rules.source_anchor.clone();
        Ok(Arc::new(Reviewer { store, names, pinned, targets, first_exports, source_anchor }))
    }

    /// True for a tenant that nothing was exported to, until somebody approves what waits now.
    pub(super) fn awaits_approval(&self, connector: ConnectorId) -> Result<bool, ServiceError> {
        Ok(match self.first_look(connector)? {
            FirstLook::Done => false,
            FirstLook::Missing => true,
            FirstLook::Given(approval) => {
                let waiting = ExportSummary::of(&self.store.snapshot()?, connector)?;
                !approval.covers(waiting.adds, waiting.deletes)
            }
        })
    }

    /// What was approved of the first export to a tenant, where one is still to come.
    fn first_look(&self, connector: ConnectorId) -> Result<FirstLook, ServiceError> {
        let config = self.connectors.get(&connector).and_then(|name| self.config.connector(name));
        let real = config.is_some_and(|config| matches!(&config.settings, ConnectorSettings::Entra(file) if !file.is_embedded()));
        let snapshot = self.store.snapshot()?;
        if !real || self.config.guard.first_export != FirstExport::Approved {
            return Ok(FirstLook::Done);
        }
        if was_exported(&snapshot, connector)? {
            return Ok(FirstLook::Done);
        }
        // What cannot be read approves nothing.
        let approval = snapshot.state(connector, APPROVED)?.and_then(|octets| serde_json::from_slice(&octets).ok());
        Ok(approval.map_or(FirstLook::Missing, FirstLook::Given))
    }

    /// Approves the first export to a target by somebody who has looked at the plan that waits now.
    ///
    /// # Errors
    /// When another plan waits, or the store refuses.
    pub fn approve_first_export(&self, connector: ConnectorId, plan: ExportPlan) -> Result<(), ServiceError> {
        let snapshot = self.store.snapshot()?;
        if let Some(moved) = self.moved_tenant(&snapshot, connector)? {
            let name = self.name_of(connector);
            return Err(ServiceError::NotReady {
                message: format!("{name} {moved}. Nothing was approved"),
                hint: format!("ask it by `syncline run start '{name}' full-import`; its message says what to do"),
            });
        }
        let waiting = ExportPlan::of(&snapshot, self.store.names(), connector)?;
        if waiting != plan {
            return Err(ServiceError::NotReady {
                message: format!("the plan {plan} is not what waits now ({waiting}): something changed since it was looked at"),
                hint: "look again: `syncline export --what-if`".to_owned(),
            });
        }
        let summary = ExportSummary::of(&snapshot, connector)?;
        let approval = Approval { plan: plan.to_string(), adds: summary.adds, deletes: summary.deletes };
        let octets = serde_json::to_vec(&approval).map_err(|error| ServiceError::Usage(error.to_string()))?;
        let mut changes = ChangeSet::new();
        changes.states.push((connector, APPROVED.to_owned(), Some(octets)));
        Ok(self.store.apply(changes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_is_for_about_what_was_looked_at() {
        let approval = Approval { plan: "x".to_owned(), adds: 35, deletes: 2 };
        assert!(approval.covers(35, 2) && approval.covers(38, 0) && approval.covers(1, 1));
        assert!(!approval.covers(39, 2) && !approval.covers(40_000, 2) && !approval.covers(35, 3));
    }
}
