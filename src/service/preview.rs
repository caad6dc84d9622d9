//! What synchronization would do with one object, as data for people: scope, join, every attribute with everyone who was
//! asked, and what targets would get or lose.

use super::browse::{Browser, kind_name, state_name};
use super::views::{DeltaView, ValueView};
use super::{Service, ServiceError};
use crate::engine::sync::{Decree, Preview, PreviewDecision, preview, preview_decree};
use crate::model::{AttrId, CsId, Link, MvObject, Timestamp};
use crate::rules::{AttributeTrace, FlowTrace, JoinGroupTrace, RuleTrace, RunParameters};
use serde::Serialize;

/// Characters shown of a value.
const CHARACTERS: usize = 120;
/// Values shown of an attribute.
const VALUES: usize = 5;

/// What synchronization would do with one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreviewView {
    /// The object.
    pub id: String,
    /// Its connector.
    pub connector: String,
    /// Its name.
    pub dn: String,
    /// Its type.
    pub object_type: String,
    /// Its link state now.
    pub state: &'static str,
    /// Its link state afterwards; nothing when the object would be gone.
    pub state_after: Option<&'static str>,
    /// `stays-linked`, `joins`, `projects`, `remains`, `filtered`, `leaves-scope`, `deleted`, `retyped`, `placeholder`, `fails`.
    pub decision: &'static str,
    /// The rule that ties it afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked_by: Option<String>,
    /// The metaverse object that it is linked to afterwards, or was before; one that would be made has the number that it
    /// would get.
    pub metaverse: Option<u64>,
    /// What stops it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<PreviewProblem>,
    /// The rules in scope, inbound ones first, by precedence.
    pub in_scope: Vec<RuleLine>,
    /// The rules for its type that are not in scope, with the clauses that fail.
    pub out_of_scope: Vec<RuleLine>,
    /// What rules in scope look up to find its partner.
    pub joins: Vec<JoinLine>,
    /// The attributes of the metaverse object that have a value before or afterwards, or that fail.
    pub attributes: Vec<PreviewAttribute>,
    /// The target objects that were compared.
    pub targets: Vec<PreviewTargetView>,
    /// Other objects that would be evaluated after it.
    pub consequences: Vec<String>,
}

/// What stops an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreviewProblem {
    /// The stable name.
    pub code: String,
    /// What happened and what to do.
    pub detail: String,
}

/// A rule in or out of scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleLine {
    /// Its place.
    pub precedence: u32,
    /// Its name.
    pub rule: String,
    /// `inbound` or `outbound`.
    pub direction: &'static str,
    /// What it does to links.
    pub link: &'static str,
    /// Per group of the scope, the clauses that fail; empty in scope.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<Vec<String>>,
}

/// What a rule looks up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JoinLine {
    /// The rule.
    pub rule: String,
    /// Its groups.
    pub groups: Vec<JoinGroupTrace>,
}

/// A metaverse attribute, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreviewAttribute {
    /// Its name.
    pub attribute: String,
    /// Its values now, shortened.
    pub before: Vec<String>,
    /// Its values afterwards.
    pub after: Vec<String>,
    /// It changes.
    pub changed: bool,
    /// All flows into it in the order in which they are asked.
    pub flows: Vec<SourcedFlow>,
}

/// A flow with the object that it reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourcedFlow {
    /// The object's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// Its connector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connector: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dn: Option<String>,
    /// The flow.
    #[serde(flatten)]
    pub flow: FlowTrace,
}

/// What would become of a target object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreviewTargetView {
    /// The target.
    pub connector: String,
    /// The object.
    pub id: String,
    /// Its name, as wanted.
    pub dn: String,
    /// What waits for export afterwards: `none`, `add`, `update`, `delete`.
    pub operation: &'static str,
    /// It would be let go without being deleted.
    pub released: bool,
    /// What would change in it.
    pub changes: Vec<DeltaView>,
    /// Attributes that have values there now and would have none.
    pub would_be_emptied: Vec<String>,
    /// How its attributes are decided.
    pub attributes: Vec<TargetAttribute>,
}

/// How an attribute of a target is decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetAttribute {
    /// Its name.
    pub attribute: String,
    /// All flows into it in the order in which they are asked.
    pub flows: Vec<SourcedFlow>,
}

impl SourcedFlow {
    /// A flow with the name of the object that it reads.
    pub(super) fn of(browser: &Browser<'_>, flow: &FlowTrace) -> Result<Self, ServiceError> {
        let named = |id: CsId| browser.dn_of(id);
        Ok(Self {
            source_id: flow.object.map(|id| id.to_string()),
            connector: flow.object.map(|id| browser.connector_name(id.connector())),
            dn: flow.object.map(named).transpose()?,
            flow: flow.clone(),
        })
    }
}

impl Service {
    /// Looks ahead for one object and writes nothing. `full` compares all targets, also those whose rules read nothing
    /// that changes.
    ///
    /// # Errors
    /// When the rules do not compile, the store cannot be read, or the object is gone.
    pub fn preview(&self, id: CsId, full: bool, now: Timestamp) -> Result<PreviewView, ServiceError> {
        self.ahead(id, now, |run| preview(self.store(), self.rules()?, run, id, full).map_err(ServiceError::from))
    }

    /// Looks ahead to what an administrator might decide about one object, and writes nothing.
    ///
    /// # Errors
    /// As [`Self::preview`].
    pub fn preview_decree(&self, id: CsId, decree: Decree, now: Timestamp) -> Result<PreviewView, ServiceError> {
        self.ahead(id, now, |run| preview_decree(self.store(), self.rules()?, run, (id, decree)).map_err(ServiceError::from))
    }

    fn ahead(
        &self,
        id: CsId,
        now: Timestamp,
        look: impl FnOnce(&RunParameters) -> Result<Option<Preview>, ServiceError>,
    ) -> Result<PreviewView, ServiceError> {
        let run = self.kept_parameters(now)?;
        let browser = self.browse()?;
        let gone = || ServiceError::NotFound(format!("object {id} is gone"));
        let object = browser.snapshot.cs_object(id)?.ok_or_else(gone)?;
        let ahead = look(&run)?.ok_or_else(gone)?;
        let line = |trace: &RuleTrace| RuleLine {
            precedence: trace.precedence,
            rule: trace.rule.clone(),
            direction: trace.direction,
            link: trace.link,
            failing: trace.failing(),
        };
        let traces = || ahead.inbound.iter().chain(&ahead.outbound);
        let joins = ahead.inbound.iter().filter(|trace| trace.in_scope && !trace.join.is_empty());
        let linked_by = match ahead.link_after {
            Some(Link::Connected { by, .. }) => Some(browser.rule_name(by)),
            _ => None,
        };
        Ok(PreviewView {
            id: id.to_string(),
            connector: browser.connector_name(id.connector()),
            dn: ahead.dn.clone(),
            object_type: browser.names.object_type_name(object.object_type).to_string(),
            state: state_name(ahead.link),
            state_after: ahead.link_after.map(state_name),
            decision: decision_name(ahead.decision),
            linked_by,
            metaverse: ahead.metaverse.map(|mv| mv.0),
            problem: ahead.problem.as_ref().map(|(code, detail)| PreviewProblem { code: code.as_str().to_owned(), detail: detail.clone() }),
            in_scope: traces().filter(|trace| trace.in_scope).map(line).collect(),
            out_of_scope: traces().filter(|trace| !trace.in_scope).map(line).collect(),
            joins: joins.map(|trace| JoinLine { rule: trace.rule.clone(), groups: trace.join.clone() }).collect(),
            attributes: attributes(&browser, &ahead)?,
            targets: targets(&browser, &ahead)?,
            consequences: ahead.consequences.iter().filter(|(other, _)| *other != id).map(|(other, _)| other.to_string()).collect(),
        })
    }
}

fn attributes(browser: &Browser<'_>, ahead: &Preview) -> Result<Vec<PreviewAttribute>, ServiceError> {
    let mut attrs: Vec<AttrId> = Vec::new();
    for object in [&ahead.before, &ahead.after].into_iter().flatten() {
        attrs.extend(object.values.attributes());
        attrs.extend(object.lineage.iter().map(|entry| entry.attr));
    }
    let fails = |trace: &&AttributeTrace| trace.decision == crate::rules::AttributeDecision::Fails;
    attrs.extend(ahead.attributes.iter().filter(fails).map(|trace| trace.attr));
    attrs.sort_unstable();
    attrs.dedup();
    let mut found = Vec::with_capacity(attrs.len());
    for attr in attrs {
        let name = browser.names.name(attr).to_string();
        let (before, mut after) = (values(ahead.before.as_ref(), attr, &name), values(ahead.after.as_ref(), attr, &name));
        let references = |flow: &&crate::engine::sync::PreviewFlow| flow.attribute == name && after.is_empty();
        let told: Vec<String> = ahead.flows.iter().filter(references).flat_map(|flow| flow.values.clone()).collect();
        after.extend(told);
        let changed = ahead.changes.iter().any(|change| change.attribute == name);
        let flows = ahead.attributes.iter().filter(|trace| trace.attr == attr).flat_map(|trace| &trace.flows);
        let flows = flows.map(|flow| SourcedFlow::of(browser, flow)).collect::<Result<_, _>>()?;
        found.push(PreviewAttribute { attribute: name, before, after, changed, flows });
    }
    found.sort_by_cached_key(|attribute| attribute.attribute.to_lowercase());
    Ok(found)
}

fn values(object: Option<&MvObject>, attr: AttrId, name: &str) -> Vec<String> {
    let Some(object) = object else { return Vec::new() };
    let all: Vec<String> = object.values.attribute(attr).map(|item| cut(&ValueView::of(name, item.value).to_string())).collect();
    let more = all.len().saturating_sub(VALUES);
    let mut shown: Vec<String> = all.into_iter().take(VALUES).collect();
    if more > 0 {
        shown.push(format!("… and {more} more"));
    }
    shown
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn targets(browser: &Browser<'_>, ahead: &Preview) -> Result<Vec<PreviewTargetView>, ServiceError> {
    let mut found = Vec::new();
    for target in &ahead.targets {
        let mut changes: Vec<DeltaView> = target.changes.iter().map(DeltaView::of).collect();
        for (attribute, name, added) in &target.references {
            let place = changes.iter().position(|change| change.attribute == *attribute);
            let place = place.unwrap_or_else(|| {
                changes.push(DeltaView { attribute: attribute.clone(), removed: Vec::new(), added: Vec::new() });
                changes.len() - 1
            });
            let Some(change) = changes.get_mut(place) else { continue };
            if *added { change.added.push(name.clone()) } else { change.removed.push(name.clone()) }
        }
        let mut attributes = Vec::new();
        for trace in &target.attributes {
            let touched = changes.iter().any(|change| change.attribute == trace.attribute);
            if touched || trace.decision == crate::rules::AttributeDecision::Fails {
                let flows = trace.flows.iter().map(|flow| SourcedFlow::of(browser, flow)).collect::<Result<_, _>>()?;
                attributes.push(TargetAttribute { attribute: trace.attribute.clone(), flows });
            }
        }
        found.push(PreviewTargetView {
            connector: browser.connector_name(target.connector),
            id: target.id.to_string(),
            dn: target.dn.clone(),
            operation: kind_name(target.pending),
            released: target.released,
            changes,
            would_be_emptied: target.emptied.clone(),
            attributes,
        });
    }
    Ok(found)
}

fn decision_name(decision: PreviewDecision) -> &'static str {
    match decision {
        PreviewDecision::Placeholder => "placeholder",
        PreviewDecision::Filtered => "filtered",
        PreviewDecision::Remains => "remains",
        PreviewDecision::Joins => "joins",
        PreviewDecision::Projects => "projects",
        PreviewDecision::StaysLinked => "stays-linked",
        PreviewDecision::LeavesScope => "leaves-scope",
        PreviewDecision::Deleted => "deleted",
        PreviewDecision::Retyped => "retyped",
        PreviewDecision::Fails => "fails",
    }
}
