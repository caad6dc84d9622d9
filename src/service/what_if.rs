//! What an export would send, and whether it would be allowed to.

use super::browse::known_as;
use super::views::{DeltaView, KnownAs};
use super::{Service, ServiceError};
use crate::connector::ExportKind;
use crate::engine::export::{ExportPlan, known_terms, plan_export};
use crate::model::ConnectorId;
use serde::Serialize;
use std::collections::BTreeMap;

/// What an export would send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhatIfView {
    /// The target.
    pub connector: String,
    /// Objects that would be created.
    pub adds: u64,
    /// Objects that would be changed.
    pub updates: u64,
    /// Objects that would get another name.
    pub renames: u64,
    /// Objects that would be removed.
    pub deletes: u64,
    /// The most deletes allowed: by the configuration, and by the target as it said at the last export.
    pub delete_limit: Option<u64>,
    /// The name of exactly this set of deletes, for `--allow-deletes`.
    pub delete_set: String,
    /// The name of exactly what waits, for `--plan` and `--approve`.
    pub plan: String,
    /// Nothing was exported to the target yet, and the first export waits for an approval.
    pub awaits_approval: bool,
    /// The export would stop before the first object.
    pub stopped_by_threshold: bool,
    /// Staging mode: nothing would be sent.
    pub staging: bool,
    /// Attributes that would have no value any more in objects that have one now, with the number of these objects; of
    /// everything that waits.
    pub would_be_emptied: BTreeMap<String, u64>,
    /// The objects, in the order of their numbers.
    pub objects: Vec<WhatIfObject>,
    /// More objects wait than are shown.
    pub more: bool,
}

/// One object that an export would send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhatIfObject {
    /// Its number.
    pub id: String,
    /// Its name.
    pub dn: String,
    /// What it is called.
    #[serde(flatten)]
    pub known_as: KnownAs,
    /// Its type.
    pub object_type: String,
    /// `add`, `update` or `delete`.
    pub operation: &'static str,
    /// The name wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rename: Option<String>,
    /// What would change.
    pub changes: Vec<DeltaView>,
    /// Of these the attributes that have values there now and would have none.
    pub would_be_emptied: Vec<String>,
}

impl Service {
    /// What the next export to a target would send, as the export itself would work it out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn what_if(&self, connector: ConnectorId, limit: usize) -> Result<WhatIfView, ServiceError> {
        let snapshot = self.store.snapshot()?;
        let guard = &self.config.guard;
        let plan = plan_export(&snapshot, self.store.names(), connector, None, limit)?;
        let (mut summary, terms) = (plan.summary, known_terms(&snapshot, connector)?);
        if guard.max_delete_percent.or(terms.delete_percent_max).is_some() {
            summary.count_existing(&snapshot, connector)?;
        }
        let delete_limit = summary.delete_limit(Some(guard.max_deletes), guard.max_delete_percent, terms);
        let mut known: Vec<KnownAs> = Vec::with_capacity(plan.objects.len());
        for object in &plan.objects {
            known.push(snapshot.cs_object(object.id)?.map(|object| known_as(self.store.names(), &object.values)).unwrap_or_default());
        }
        let objects = plan.objects.into_iter().zip(known).map(|(object, known_as)| WhatIfObject {
            id: object.id.to_string(),
            dn: object.dn,
            known_as,
            object_type: object.object_type,
            operation: match object.kind {
                ExportKind::Add => "add",
                ExportKind::Update => "update",
                ExportKind::Delete => "delete",
            },
            rename: object.rename,
            changes: object.changes.iter().map(DeltaView::of).collect(),
            would_be_emptied: object.emptied,
        });
        Ok(WhatIfView {
            connector: self.connectors.get(&connector).cloned().unwrap_or_default(),
            adds: summary.adds,
            updates: summary.updates,
            renames: summary.renames,
            deletes: summary.deletes,
            delete_limit,
            delete_set: summary.delete_set().to_string(),
            plan: ExportPlan::of(&snapshot, self.store.names(), connector)?.to_string(),
            awaits_approval: self.awaits_approval(connector)?,
            stopped_by_threshold: delete_limit.is_some_and(|limit| summary.deletes > limit),
            staging: guard.staging,
            would_be_emptied: plan.emptied,
            objects: objects.collect(),
            more: plan.more,
        })
    }
}
