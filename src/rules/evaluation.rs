//! What evaluation takes and gives.

use crate::model::{
    AttrId, AttributeSource, ConnectorId, CsId, FlatValues, Lineage, ObjectErrorCode, ObjectType, RuleId, Timestamp, Value,
};
use std::collections::BTreeMap;

/// What is the same for all objects of one run: time and parameters.
#[derive(Clone, Debug, Default)]
pub struct RunParameters {
    /// `Now()`, fixed for the run; `since` of new lineage.
    pub now: Timestamp,
    /// Parameters by connector and name without percent signs: `Domain.FQDN`, `Forest.Netbios`, `Connector.ID`, …
    pub parameters: BTreeMap<ConnectorId, BTreeMap<String, String>>,
}

/// The rules in scope for one object, ordered by precedence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeSet {
    /// The rules, as positions in the compiled set (crate-internal) with what the engine needs of each.
    pub rules: Vec<ScopedRule>,
}

/// What the engine needs of a rule in scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopedRule {
    /// Position in the compiled set.
    pub position: u32,
    /// The rule.
    pub id: RuleId,
    /// What it does to links.
    pub link: super::LinkType,
    /// The type on the other side: metaverse type of inbound rules (`None` is any), space type of outbound rules.
    pub partner_type: Option<ObjectType>,
    /// It has join criteria.
    pub joins: bool,
    /// It takes part in password hash synchronization.
    pub password_sync: bool,
}

impl ScopeSet {
    /// True when nothing is in scope.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule of an id, when it is in scope.
    pub fn get(&self, id: RuleId) -> Option<&ScopedRule> {
        self.rules.iter().find(|rule| rule.id == id)
    }
}

/// How one rule in scope wants to find a partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The rule.
    pub rule: RuleId,
    /// What it does to links when it finds one, or none.
    pub link: super::LinkType,
    /// The partner's type; `None` is any.
    pub partner_type: Option<ObjectType>,
    /// The groups in order. A group with a clause whose own side has no value is left out.
    pub groups: Vec<JoinGroupKeys>,
    /// At least one attribute named in the criteria has a value (or there are no criteria): may project.
    pub has_value: bool,
}

/// All pairs of one join group that must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinGroupKeys {
    /// The pairs.
    pub clauses: Vec<JoinClauseKey>,
}

/// What one pair looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinClauseKey {
    /// The attribute on the partner's side.
    pub partner: AttrId,
    /// The value it must have.
    pub value: Value,
    /// Compare text exactly.
    pub case_sensitive: bool,
}

/// One connector-space object that is linked to the metaverse object under evaluation.
#[derive(Clone, Copy)]
pub struct Contributor<'a> {
    /// The object.
    pub id: CsId,
    /// Its image, own pending exports included.
    pub source: &'a dyn AttributeSource,
    /// The inbound rules in scope for it.
    pub scope: &'a ScopeSet,
    /// Joined or projected in this very unit.
    pub new_link: bool,
}

/// What an evaluation of the same metaverse object found a moment ago. Attributes into which only contributors flow that
/// have not changed since are taken over, not worked out again.
#[derive(Clone, Copy, Debug)]
pub struct Earlier<'a> {
    /// The contributors of that time, ascending; each is still one, with the same image, rules and links.
    pub contributors: &'a [CsId],
    /// The references found. Everything else is what the metaverse object holds now.
    pub references: &'a [ReferenceFlow],
}

/// What contributors give to a metaverse object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contribution {
    /// All values but references; flags are indexes into the attribute's lineage entries.
    pub values: FlatValues,
    /// Origins, ordered by attribute, then precedence. `since` is kept from `current` where rule and source stayed,
    /// else it is the run's time.
    pub lineage: Vec<Lineage>,
    /// Reference attributes and where their targets come from.
    pub references: Vec<ReferenceFlow>,
    /// Contents that expressions made and that `values` holds by handle; they go with the change set.
    pub blobs: Vec<Vec<u8>>,
}

/// Where the targets of a reference attribute come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceFlow {
    /// The attribute written.
    pub target: AttrId,
    /// Index within the attribute's lineage entries (inbound); 0 outbound.
    pub contributor: u8,
    /// The object read: a `CsId` inbound; 0 outbound, where it is the metaverse object that was given.
    pub owner: u64,
    /// The targets.
    pub source: ReferenceSource,
}

/// The targets of a reference flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferenceSource {
    /// All references of this attribute of the owner; the engine reads the rows itself.
    Attribute(AttrId),
    /// These objects, as an expression chose them.
    Targets(Vec<u64>),
    /// The attribute stays as it is.
    Keep,
}

/// What a target object should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The name it should have, from a flow to `dn`.
    pub dn: Option<String>,
    /// Values wanted, without `dn` and references.
    pub values: FlatValues,
    /// Attributes that a flow decided, ascending: present in `values`, or to be empty. Others are not touched.
    pub managed: Vec<AttrId>,
    /// Of `managed` and of `references`: values are added to what the target has, and only our own are removed.
    pub merged: Vec<AttrId>,
    /// Reference attributes decided; not in `managed`. Empty `Targets` take all references away.
    pub references: Vec<ReferenceFlow>,
    /// The rule that decided each managed attribute, same order as `managed`; for explanations.
    pub decided_by: Vec<RuleId>,
    /// Contents that expressions made and that `values` holds by handle; they go with the change set.
    pub blobs: Vec<Vec<u8>>,
}

/// Why a flow, scope or join of an object failed. The whole object is left as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct FlowError {
    /// The stable name.
    pub code: ObjectErrorCode,
    /// The rule at work.
    pub rule: Option<RuleId>,
    /// The attribute to be written.
    pub target: Option<AttrId>,
    /// For people: rule name, target attribute, expression with a caret, values read.
    pub detail: String,
}

impl std::fmt::Debug for Contributor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contributor").field("id", &self.id).field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Text form of a source for error details; kept here so that every error shows values the same way.
pub(super) fn describe(source: &dyn AttributeSource, attr: AttrId) -> String {
    let values: Vec<String> = source.values(attr).take(4).map(|value| format!("{value:?}")).collect();
    if values.is_empty() { "absent".to_owned() } else { values.join(", ") }
}
