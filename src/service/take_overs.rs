//! Which objects of the cloud an export would take over instead of making new ones, and what that does to their values
//! (specification: sync engine, section 6.3).

use super::browse::known_as;
use super::facilities::TenantLease;
use super::views::KnownAs;
use super::{Service, ServiceError};
use crate::connector::{Match, MatchFate};
use crate::context::Context;
use crate::engine::export::new_objects;
use crate::model::{ConnectorId, CsObject, Names, StageMask, Value, ValueState};
use crate::store::Snapshot;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// New objects that the target knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TakeOversView {
    /// Why it could not be looked up. Nothing else is known then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What could not be found out beside that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<String>,
    /// Requests that it took.
    pub requests: u64,
    /// Objects of the cloud that would become ours.
    pub taken_over: u64,
    /// Objects that are synchronized already and would be changed.
    pub synchronized: u64,
    /// Objects that the tenant would refuse.
    pub refused: u64,
    /// Objects of which a value would be kept aside, because another one has it.
    pub kept_aside: u64,
    /// One by one, those that are taken over or refused first.
    pub objects: Vec<TakeOver>,
    /// More objects than are shown.
    pub more: bool,
}

/// A new object that the target knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TakeOver {
    /// Its number.
    pub id: String,
    /// Its name in the target.
    pub dn: String,
    /// What it is called.
    #[serde(flatten)]
    pub known_as: KnownAs,
    /// `taken-over`, `refused`, `kept-aside` or `synchronized`.
    pub fate: &'static str,
    /// Why it would be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The key that both have: `source-anchor`, `primary-address` or `user-principal-name`.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// The id of the cloud's object.
    pub cloud_id: String,
    /// What the cloud's object is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_display_name: Option<String>,
    /// Its sign-in name or mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_name: Option<String>,
    /// Administrator roles that it holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Values of the cloud that ours would overwrite. What the directory has no value for stays as it is.
    pub overwritten: Vec<Overwritten>,
}

/// Values of one attribute that would be overwritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overwritten {
    /// The attribute.
    pub attribute: String,
    /// What the cloud has.
    pub cloud: Vec<String>,
    /// What it would have.
    pub wanted: Vec<String>,
    /// Of the cloud's values those that would be gone, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
}

impl Service {
    /// Looks up which new objects a target would take for its own. A target that cannot be asked is no error: the view says why.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn take_overs(&self, cx: &Context, connector: ConnectorId, limit: usize) -> Result<Option<TakeOversView>, ServiceError> {
        let snapshot = self.store.snapshot()?;
        let adds = new_objects(&snapshot, self.store.names(), connector)?;
        if adds.is_empty() {
            return Ok(None);
        }
        let asked = self.with_runtime(cx, async || {
            let mut leases: Vec<TenantLease> = Vec::new();
            let asked = match self.reach(connector, cx, &mut leases).await {
                Ok(reached) => reached.matches(cx, &adds).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            for lease in leases {
                self.facilities.tenants.give_back(lease).await;
            }
            Ok(asked)
        })?;
        let mut report = match asked {
            Ok(Some(report)) => report,
            Ok(None) => return Ok(None),
            Err(problem) => return Ok(Some(TakeOversView { problem: Some(problem), ..TakeOversView::default() })),
        };
        report.matches.sort_by_key(|found| (rank(&found.fate), found.id));
        let count = |fate: &str| report.matches.iter().filter(|found| name_of(&found.fate) == fate).count() as u64;
        Ok(Some(TakeOversView {
            problem: None,
            requests: report.requests,
            taken_over: count("taken-over"),
            synchronized: count("synchronized"),
            refused: count("refused"),
            kept_aside: count("kept-aside"),
            objects: report.matches.iter().take(limit).map(|found| self.take_over(&snapshot, found)).collect::<Result<_, _>>()?,
            more: report.matches.len() > limit,
            gaps: report.gaps,
        }))
    }

    fn take_over(&self, snapshot: &Snapshot, found: &Match) -> Result<TakeOver, ServiceError> {
        let object = snapshot.cs_object(found.id)?;
        let names = self.store.names();
        Ok(TakeOver {
            id: found.id.to_string(),
            dn: object.as_ref().map(|object| object.dn.to_string()).unwrap_or_default(),
            known_as: object.as_ref().map(|object| known_as(names, &object.values)).unwrap_or_default(),
            fate: name_of(&found.fate),
            reason: match &found.fate {
                MatchFate::Refused(reason) => Some(reason.clone()),
                _ => None,
            },
            key: found.key.as_str(),
            value: found.value.clone(),
            cloud_id: found.existing.id.clone(),
            cloud_display_name: found.existing.display_name.clone(),
            cloud_name: found.existing.name.clone(),
            roles: found.existing.roles.clone(),
            overwritten: match &found.fate {
                MatchFate::TakenOver | MatchFate::Synchronized => {
                    object.map(|object| overwritten(names, &object, found)).unwrap_or_default()
                }
                MatchFate::Refused(_) | MatchFate::KeptAside => Vec::new(),
            },
        })
    }
}

fn name_of(fate: &MatchFate) -> &'static str {
    match fate {
        MatchFate::TakenOver => "taken-over",
        MatchFate::Synchronized => "synchronized",
        MatchFate::Refused(_) => "refused",
        MatchFate::KeptAside => "kept-aside",
    }
}

/// What takes something away stands first.
fn rank(fate: &MatchFate) -> u8 {
    match fate {
        MatchFate::TakenOver => 0,
        MatchFate::Refused(_) => 1,
        MatchFate::KeptAside => 2,
        MatchFate::Synchronized => 3,
    }
}

/// Where both have values and they differ.
fn overwritten(names: &Names, object: &CsObject, found: &Match) -> Vec<Overwritten> {
    let mut ours: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in object.values.iter().filter(|item| ValueState(item.flags).present(StageMask::WANTED)) {
        let text = match item.value.to_value() {
            Value::Text(text) => text.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Boolean(flag) => flag.to_string(),
            // Photos and certificates: Graph shows none of them beside the others.
            _ => continue,
        };
        ours.entry(names.name(item.attr).to_string()).or_default().push(text);
    }
    let of = |attribute: &str| ours.iter().find(|(name, _)| name.eq_ignore_ascii_case(attribute)).map(|(_, values)| values.clone());
    let differ = |cloud: &[String], wanted: &[String]| cloud.iter().collect::<BTreeSet<_>>() != wanted.iter().collect::<BTreeSet<_>>();
    let shown = found.existing.values.iter().filter_map(|(attribute, cloud)| {
        let wanted = of(attribute).filter(|wanted| differ(cloud, wanted))?;
        let gone = |value: &&String| !wanted.iter().any(|other| other.eq_ignore_ascii_case(value));
        let lost = if cloud.len() > 1 || wanted.len() > 1 { cloud.iter().filter(gone).cloned().collect() } else { Vec::new() };
        Some(Overwritten { attribute: attribute.clone(), cloud: cloud.clone(), wanted, lost })
    });
    shown.collect()
}
