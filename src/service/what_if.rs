//! What an export would send, and whether it would be allowed to.

use super::browse::known_as;
use super::guard::export_limits;
use super::take_overs::TakeOversView;
use super::views::{DeltaView, KnownAs};
use super::{Service, ServiceError};
use crate::connector::ExportKind;
use crate::context::Context;
use crate::engine::active::displaced_by;
use crate::engine::belief::Belief;
use crate::engine::export::{DeleteSet, ExportPlan, ExportSummary, HeldDeletes, PlannedExport, known_terms, plan_export, sample_of};
use crate::engine::full_steps::{Outstanding, outstanding};
use crate::engine::run::Standing;
use crate::model::ConnectorId;
use crate::store::Snapshot;
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
    /// What the next cycle does before it exports, so that it may send more than this: a sentence for each, with the command.
    pub outstanding: Vec<String>,
    /// Nothing was exported to the target yet, and the first export waits for an approval.
    pub awaits_approval: bool,
    /// More deletes wait than are allowed.
    pub stopped_by_threshold: bool,
    /// Another installation that writes to the target, in a sentence: exports of this one stop until somebody decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub another_installation: Option<String>,
    /// Why the target could not be asked who else writes to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unasked: Option<String>,
    /// A guard would stop the export before the first object: too many deletes, the first export's approval, or another installation
    /// (but in staging mode, where another one is what is expected).
    pub stopped: bool,
    /// Deletes that would not be sent, since nobody has allowed what follows from the removal of a connector, or what may only be a move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldView>,
    /// The set of deletes that was named for an allowance is one that waits; nothing where none was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<bool>,
    /// Staging mode: nothing would be sent.
    pub staging: bool,
    /// Attributes that would have no value any more in objects that have one now, with the number of these objects; of
    /// everything that waits.
    pub would_be_emptied: BTreeMap<String, u64>,
    /// New objects that the target would take for objects of its own; nothing when there are no new ones, or the target makes what it
    /// is told to make.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub take_overs: Option<TakeOversView>,
    /// The objects, in the order of their numbers.
    pub objects: Vec<WhatIfObject>,
    /// More objects wait than are shown.
    pub more: bool,
}

/// Deletes that wait because connectors were removed, or because who is to be deleted may only have moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldView {
    /// What the connectors were called.
    pub connectors: Vec<String>,
    /// Who may only have moved, and to where: a sentence for each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<String>,
    /// How many deletes wait for somebody.
    pub deletes: u64,
    /// The name of exactly these, for `--allow-deletes`.
    pub delete_set: String,
    /// Why they wait.
    pub reason: String,
    /// Some of the objects by name.
    pub sample: String,
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
    /// References that are to go and stay, as long as nothing becomes of whom they point to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldReference>,
}

/// A reference that is to go and stays for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldReference {
    /// The attribute.
    pub attribute: String,
    /// Whom it points to.
    pub name: String,
}

impl Service {
    /// What lies between what waits and what the directories and the configuration say now.
    fn outstanding(&self, cx: &Context) -> Result<Vec<String>, ServiceError> {
        let (snapshot, rules, parameters) = (self.store.snapshot()?, self.rules()?, self.kept_parameters(cx.now())?);
        let mut sentences = Vec::new();
        for (id, name) in &self.connectors {
            if let Some(moved) = self.moved_tenant(&snapshot, *id)? {
                sentences.push(format!("{name} {moved}"));
            } else if let Some(reason) = Belief::of(&snapshot, *id)?.reason() {
                sentences.push(format!("{name} is read as a whole first, because {reason}: `syncline run start '{name}' full-import`"));
                continue;
            }
            let selection = self.config.connector(name).map_or(0, super::connectors::selection);
            let steps = match outstanding(&snapshot, rules, &parameters, *id, selection)? {
                None => continue,
                Some(Outstanding::Reading(reason)) => {
                    format!("is read as a whole first, because {reason}: `syncline run start '{name}' full-import`")
                }
                Some(Outstanding::Synchronizing(reason)) => {
                    format!("is synchronized as a whole first, because {reason}: `syncline run start '{name}' full-sync`")
                }
                Some(Outstanding::Changes) => {
                    format!("has changes that are not synchronized yet: `syncline run start '{name}' delta-sync`")
                }
            };
            sentences.push(format!("{name} {steps}"));
        }
        for (id, (name, standing)) in self.former_connectors()? {
            if standing == Standing::Removed && snapshot.cs_count(id)? > 0 {
                sentences.push(format!("{name} was removed, and what came from it goes first, with `syncline cycle start`"));
            }
        }
        Ok(sentences)
    }

    /// What the next export to a target would send, as the export itself would work it out; and what the target would take over, as
    /// it says now. `allow`: deletes that would be allowed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn what_if(
        &self,
        cx: &Context,
        connector: ConnectorId,
        allow: Option<DeleteSet>,
        limit: usize,
    ) -> Result<WhatIfView, ServiceError> {
        let snapshot = self.store.snapshot()?;
        let guard = &self.config.guard;
        let (summary, terms) = (ExportSummary::of(&snapshot, connector)?, known_terms(&snapshot, connector)?);
        let delete_limit = summary.delete_limit(&snapshot, connector, &export_limits(guard), &terms)?;
        let held = HeldDeletes::of(&snapshot, self.store.names(), connector)?;
        let (all, apart) = (allow == Some(summary.delete_set()), allow == Some(held.set()) && !held.is_empty());
        let rest = summary.without(&held.objects);
        let judged = if all { summary } else { rest };
        let named = allow == Some(judged.delete_set()) && judged.deletes > 0;
        let held = if all || apart { HeldDeletes::default() } else { held };
        let plan = plan_export(&snapshot, self.store.names(), connector, None, limit, &held)?;
        let objects = self.shown_plan(&snapshot, plan.objects)?;
        let stopped_by_threshold = delete_limit.is_some_and(|limit| judged.deletes > limit && !named);
        let (awaits_approval, take_overs) = (self.awaits_approval(connector)?, self.take_overs(cx, connector, limit)?);
        // An export that has nothing to send asks nobody.
        let something = if apart { summary } else { judged }.all() > 0;
        let silent = take_overs.as_ref().and_then(|found| found.problem.clone());
        let (another_installation, unasked) = if something { self.writes_beside(cx, connector, silent)? } else { (None, None) };
        Ok(WhatIfView {
            connector: self.connectors.get(&connector).cloned().unwrap_or_default(),
            adds: summary.adds,
            updates: plan.summary.updates,
            renames: summary.renames,
            deletes: summary.deletes,
            delete_limit,
            delete_set: summary.delete_set().to_string(),
            plan: ExportPlan::of(&snapshot, self.store.names(), connector)?.to_string(),
            outstanding: self.outstanding(cx)?,
            stopped: something && (stopped_by_threshold || awaits_approval || (another_installation.is_some() && !guard.staging)),
            awaits_approval,
            stopped_by_threshold,
            another_installation,
            unasked,
            held: self.held_view(&snapshot, &held)?,
            allowed: allow.map(|_| named || apart),
            staging: guard.staging,
            would_be_emptied: plan.emptied,
            take_overs,
            objects,
            more: plan.more,
        })
    }

    /// Another installation that writes to a target, as the target says now, and why it could not be asked. `silent`: that it did not
    /// answer is known already; what it said at an earlier export counts then.
    fn writes_beside(
        &self,
        cx: &Context,
        connector: ConnectorId,
        silent: Option<String>,
    ) -> Result<(Option<String>, Option<String>), ServiceError> {
        let (rival, unasked) = match silent {
            Some(problem) => (None, Some(problem)),
            None => self.writer_to(cx, connector)?.map_or((None, None), |writer| (writer.rival, writer.unreachable)),
        };
        let known = displaced_by(&self.store.snapshot()?, connector)?.map(|rival| rival.to_string());
        Ok((rival.or(known), unasked))
    }

    /// Deletes that wait because connectors were removed; nothing where there are none.
    fn held_view(&self, snapshot: &Snapshot, held: &HeldDeletes) -> Result<Option<HeldView>, ServiceError> {
        if held.is_empty() {
            return Ok(None);
        }
        Ok(Some(HeldView {
            connectors: held.connectors.clone(),
            moves: held.moves.values().map(ToString::to_string).collect(),
            deletes: held.count(),
            delete_set: held.set().to_string(),
            reason: held.reason(),
            sample: sample_of(snapshot, self.store.names(), held)?,
        }))
    }

    /// Everything that the next export to a target would send, for a file: the target itself is asked nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn what_waits(&self, connector: ConnectorId) -> Result<Vec<WhatIfObject>, ServiceError> {
        let snapshot = self.store.snapshot()?;
        let held = HeldDeletes::of(&snapshot, self.store.names(), connector)?;
        let plan = plan_export(&snapshot, self.store.names(), connector, None, usize::MAX, &held)?;
        self.shown_plan(&snapshot, plan.objects)
    }

    fn shown_plan(&self, snapshot: &Snapshot, planned: Vec<PlannedExport>) -> Result<Vec<WhatIfObject>, ServiceError> {
        let mut known: Vec<KnownAs> = Vec::with_capacity(planned.len());
        for object in &planned {
            known.push(snapshot.cs_object(object.id)?.map(|object| known_as(self.store.names(), &object.values)).unwrap_or_default());
        }
        let objects = planned.into_iter().zip(known).map(|(object, known_as)| WhatIfObject {
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
            held: object.held.into_iter().map(|(attribute, name)| HeldReference { attribute, name }).collect(),
        });
        Ok(objects.collect())
    }
}
