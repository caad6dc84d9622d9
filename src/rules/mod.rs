//! What people configured: synchronization rules, their expressions, and the pure functions that apply them.
//!
//! Rules come in as text and go out as answers: which rules are in scope, which join keys an object has, what a
//! set of contributors gives to a metaverse object, what a target object should look like. Nothing here reads a
//! store, waits, or knows a connector.

mod evaluation;
mod model;

pub use evaluation::{
    Contribution, Contributor, FlowError, JoinClauseKey, JoinGroupKeys, JoinRequest, ReferenceFlow, ReferenceSource, RunParameters,
    ScopeSet, ScopedRule, Wanted,
};
pub use model::{Direction, Flow, FlowSource, JoinClause, LinkType, MergeType, Scope, ScopeClause, ScopeOperator, SyncRule};

use crate::model::{AttrId, AttributeSource, ConnectorId, MvObject, ObjectType, RuleId};

/// A checked and compiled set of rules. Immutable; a changed configuration makes a new one.
#[derive(Debug)]
pub struct RuleSet {}

impl RuleSet {
    /// The enabled rules in order of precedence.
    pub fn rules(&self) -> &[SyncRule] {
        unreachable!()
    }

    /// A rule by number, enabled or not.
    pub fn rule(&self, _id: RuleId) -> Option<&SyncRule> {
        unreachable!()
    }

    /// A hash over all that rules say: another value means that a full synchronization is due.
    pub fn fingerprint(&self) -> u64 {
        unreachable!()
    }

    /// The attributes of a connector that enabled inbound rules read (flows, scopes, joins).
    pub fn inbound_attributes(&self, _connector: ConnectorId) -> Vec<AttrId> {
        unreachable!()
    }

    /// The attributes of a connector that enabled outbound rules write.
    pub fn outbound_attributes(&self, _connector: ConnectorId) -> Vec<AttrId> {
        unreachable!()
    }

    /// Object types of a connector that any enabled inbound rule wants.
    pub fn inbound_types(&self, _connector: ConnectorId) -> Vec<ObjectType> {
        unreachable!()
    }

    /// Metaverse attributes that inbound joins look up.
    pub fn metaverse_join_attributes(&self) -> Vec<AttrId> {
        unreachable!()
    }

    /// Connector-space attributes that outbound (reverse) joins look up.
    pub fn space_join_attributes(&self) -> Vec<(ConnectorId, AttrId)> {
        unreachable!()
    }

    /// Connectors that have outbound rules, ascending.
    pub fn targets(&self) -> &[ConnectorId] {
        unreachable!()
    }

    /// True when the metaverse schema says that the attribute holds references.
    pub fn is_reference(&self, _attr: AttrId) -> bool {
        unreachable!()
    }

    /// Which inbound rules of `connector` are in scope for a connector-space object.
    pub fn inbound_scope(
        &self,
        _connector: ConnectorId,
        _object: &dyn AttributeSource,
        _run: &RunParameters,
    ) -> Result<ScopeSet, FlowError> {
        unreachable!()
    }

    /// Which outbound rules of the target `connector` are in scope for a metaverse object.
    pub fn outbound_scope(
        &self,
        _connector: ConnectorId,
        _object: &dyn AttributeSource,
        _run: &RunParameters,
    ) -> Result<ScopeSet, FlowError> {
        unreachable!()
    }

    /// The join requests of the rules in scope, by precedence. `object` is the side that looks for a partner.
    pub fn joins(&self, _scope: &ScopeSet, _object: &dyn AttributeSource) -> Result<Vec<JoinRequest>, FlowError> {
        unreachable!()
    }

    /// What the metaverse object should hold, given everything that is linked to it. Evaluates lazily: per
    /// attribute by precedence, stopping at the first flow that decides. `current` gives the values that
    /// `IgnoreThisFlow` keeps; `new_links` says per contributor whether it is joined or projected now
    /// (`once` flows run only then).
    pub fn contribute(
        &self,
        _object_type: ObjectType,
        _contributors: &[Contributor<'_>],
        _current: Option<&MvObject>,
        _run: &RunParameters,
    ) -> Result<Contribution, FlowError> {
        unreachable!()
    }

    /// What a target object should hold. `creating` is true when the object does not exist there yet.
    pub fn want(
        &self,
        _scope: &ScopeSet,
        _object: &dyn AttributeSource,
        _creating: bool,
        _run: &RunParameters,
    ) -> Result<Wanted, FlowError> {
        unreachable!()
    }
}
