//! What people configured: synchronization rules, their expressions, and the pure functions that apply them.
//!
//! Rules come in as text and go out as answers: which rules are in scope, which join keys an object has, what a
//! set of contributors gives to a metaverse object, what a target object should look like. Nothing here reads a
//! store, waits, or knows a connector.

mod bounds;
mod build;
mod condition;
#[cfg(test)]
mod default_tests;
mod defaults;
mod evaluation;
mod excluded;
mod expr;
mod file;
mod flow;
mod input;
mod known;
mod layout;
mod lint;
mod model;
mod plain;
mod problem;
mod schema;
mod scope;
mod shown;
#[cfg(test)]
mod tests;
mod trace;
#[cfg(test)]
mod trace_tests;
mod trial;

pub use evaluation::{
    Contribution, Contributor, Earlier, FlowError, JoinClauseKey, JoinGroupKeys, JoinRequest, ReferenceFlow, ReferenceSource,
    RunParameters, ScopeSet, ScopedRule, Wanted,
};
pub(crate) use file::is_key;
pub use input::{
    AnchorAttribute, CloudService, CompileInput, ConnectorKind, ConnectorProfile, RuleFile, RuleProfile, RuleSettings, SchemaExtensions,
    UserMatching,
};
pub use known::{KnownAttribute, KnownSchema, known_attributes};
pub use model::{Direction, Flow, FlowSource, JoinClause, LinkType, MergeType, Scope, ScopeClause, ScopeOperator, SyncRule};
pub use plain::{PlainAttribute, PlainClause, PlainFlow, PlainJoin, PlainRule, PlainSource, declared_attributes};
pub use problem::{RuleProblem, Severity};
pub use shown::{TraceValue, TraceValues, is_secret};
pub use trace::{
    AttributeDecision, AttributeTrace, ClauseTrace, FlowOutcome, FlowTrace, GroupTrace, InputTrace, JoinGroupTrace, JoinPairTrace,
    RuleTrace, Verdict,
};
pub use trial::{FunctionView, Trial, TrialError, functions, made_value};

use crate::model::{AttrId, AttributeSource, ConnectorId, MvObject, Names, ObjectErrorCode, ObjectType, RuleId, ValueKind};
use evaluation::describe;
use expr::{Context, Scalar};
use flow::{CompiledFlow, CompiledSource};
use scope::CompiledScope;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// A checked and compiled set of rules. Immutable; a changed configuration makes a new one.
#[derive(Debug)]
pub struct RuleSet {
    names: Arc<Names>,
    /// Enabled, by precedence; `compiled` holds the other half of each at the same position.
    rules: Vec<SyncRule>,
    disabled: Vec<SyncRule>,
    /// Where each rule is: enabled ones first, then the others.
    positions: HashMap<RuleId, usize>,
    compiled: Vec<CompiledRule>,
    /// The other halves of `disabled`, for traces.
    compiled_disabled: Vec<CompiledRule>,
    inbound: HashMap<(ConnectorId, ObjectType), Vec<u32>>,
    outbound: HashMap<(ConnectorId, ObjectType), Vec<u32>>,
    targets: Vec<ConnectorId>,
    /// Groups whose direct members alone are sent.
    pilots: Vec<(ConnectorId, String)>,
    references: HashSet<AttrId>,
    /// Attributes that directories are not asked for.
    excluded: excluded::Excluded,
    fingerprint: u64,
    warnings: Vec<RuleProblem>,
    layouts: layout::Layouts,
    /// What attributes are, for expressions on trial.
    schema: schema::Schema,
}

/// The part of a rule that evaluation needs.
#[derive(Debug)]
struct CompiledRule {
    id: RuleId,
    connector: ConnectorId,
    mv_type: Option<ObjectType>,
    scope: CompiledScope,
    join: Vec<Vec<CompiledJoinClause>>,
    /// By target, each target once.
    flows: Vec<CompiledFlow>,
}

/// One pair of a join group, from the side that looks for a partner.
#[derive(Debug)]
struct CompiledJoinClause {
    own: AttrId,
    partner: AttrId,
    partner_kind: Option<ValueKind>,
    case_sensitive: bool,
}

impl RuleSet {
    /// Compiles rule files for the connectors of a configuration.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of files and lines; warnings are among it.
    pub fn compile(input: CompileInput<'_>) -> Result<Self, Vec<RuleProblem>> {
        build::compile(input)
    }

    /// The built-in rule files: name and text.
    pub fn defaults_text() -> &'static [(&'static str, &'static str)] {
        defaults::FILES
    }

    /// The built-in rule files, ready for [`CompileInput::files`].
    pub fn default_files() -> Vec<RuleFile> {
        defaults::FILES.iter().map(|(name, text)| RuleFile { name: (*name).to_owned(), text: (*text).to_owned() }).collect()
    }

    /// What is allowed and probably not meant.
    pub fn lint(&self) -> &[RuleProblem] {
        &self.warnings
    }

    /// The enabled rules in order of precedence.
    pub fn rules(&self) -> &[SyncRule] {
        &self.rules
    }

    /// Rules that are configured and do not apply.
    pub fn disabled_rules(&self) -> &[SyncRule] {
        &self.disabled
    }

    /// A rule by number, enabled or not.
    pub fn rule(&self, id: RuleId) -> Option<&SyncRule> {
        let position = *self.positions.get(&id)?;
        self.rules.get(position).or_else(|| self.disabled.get(position.checked_sub(self.rules.len())?))
    }

    /// A hash over all that rules say: another value means that a full synchronization is due.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The attributes of a connector that enabled inbound rules read (flows, scopes, joins).
    pub fn inbound_attributes(&self, connector: ConnectorId) -> Vec<AttrId> {
        let mut found = BTreeSet::new();
        for rule in self.of(connector, Direction::Inbound) {
            found.extend(rule.scope.reads().map(|attribute| attribute.id));
            found.extend(rule.join.iter().flatten().map(|clause| clause.own));
            for flow in &rule.flows {
                match &flow.source {
                    CompiledSource::Constant(_) => {}
                    CompiledSource::Expression(expression) => found.extend(expression.reads().iter().map(|attribute| attribute.id)),
                    CompiledSource::Direct(attribute)
                    | CompiledSource::References(attribute)
                    | CompiledSource::Trim(attribute)
                    | CompiledSource::TrimCut(attribute)
                    | CompiledSource::FirstCut(attribute) => {
                        found.insert(attribute.id);
                    }
                }
            }
        }
        // Names of objects are no attributes.
        found.remove(&AttrId::DN);
        found.retain(|attr| !self.excluded.has(connector, *attr));
        found.into_iter().collect()
    }

    /// The attributes of a connector that enabled outbound rules write, and those that their joins look up.
    pub fn outbound_attributes(&self, connector: ConnectorId) -> Vec<AttrId> {
        let mut found = BTreeSet::new();
        for rule in self.of(connector, Direction::Outbound) {
            found.extend(rule.flows.iter().map(|flow| flow.target));
            found.extend(rule.join.iter().flatten().map(|clause| clause.partner));
        }
        found.remove(&AttrId::DN);
        found.into_iter().collect()
    }

    /// The attributes of a connector that outbound rules write and no rule looks at: that a value of ours arrived in one of
    /// them tells synchronization nothing. None where a rule of the connector asks for members of groups.
    pub fn written_only(&self, connector: ConnectorId) -> Vec<AttrId> {
        let asks_for_members = |rule: &SyncRule| {
            let mut clauses = rule.scope.0.iter().flatten();
            clauses.any(|clause| matches!(clause.operator, ScopeOperator::IsMemberOf | ScopeOperator::IsNotMemberOf))
        };
        if self.rules.iter().any(|rule| rule.connector == connector && rule.direction == Direction::Inbound && asks_for_members(rule)) {
            return Vec::new();
        }
        let mut written: BTreeSet<AttrId> =
            self.of(connector, Direction::Outbound).flat_map(|rule| &rule.flows).map(|flow| flow.target).collect();
        for read in self.inbound_attributes(connector) {
            written.remove(&read);
        }
        for (_, looked_up) in self.space_join_attributes().into_iter().filter(|(space, _)| *space == connector) {
            written.remove(&looked_up);
        }
        written.remove(&AttrId::DN);
        written.into_iter().collect()
    }

    /// Object types of a connector that any enabled inbound rule wants.
    pub fn inbound_types(&self, connector: ConnectorId) -> Vec<ObjectType> {
        let types: BTreeSet<ObjectType> = self
            .rules
            .iter()
            .filter(|rule| rule.connector == connector && rule.direction == Direction::Inbound)
            .map(|rule| rule.cs_type)
            .collect();
        types.into_iter().collect()
    }

    /// Metaverse attributes that inbound joins look up.
    pub fn metaverse_join_attributes(&self) -> Vec<AttrId> {
        let mut found = BTreeSet::new();
        for (rule, compiled) in self.rules.iter().zip(&self.compiled) {
            if rule.direction == Direction::Inbound {
                found.extend(compiled.join.iter().flatten().map(|clause| clause.partner));
            }
        }
        found.into_iter().collect()
    }

    /// Connector-space attributes that outbound (reverse) joins look up.
    pub fn space_join_attributes(&self) -> Vec<(ConnectorId, AttrId)> {
        let mut found = BTreeSet::new();
        for (rule, compiled) in self.rules.iter().zip(&self.compiled) {
            if rule.direction == Direction::Outbound {
                found.extend(compiled.join.iter().flatten().map(|clause| (rule.connector, clause.partner)));
            }
        }
        found.into_iter().collect()
    }

    /// Connectors that have outbound rules, ascending.
    pub fn targets(&self) -> &[ConnectorId] {
        &self.targets
    }

    /// True when a connector gives something to others: its enabled inbound rules make metaverse objects, or flow into them.
    pub fn is_source(&self, connector: ConnectorId) -> bool {
        let mut inbound = self.rules.iter().filter(|rule| rule.connector == connector && rule.direction == Direction::Inbound);
        inbound.any(|rule| rule.link == LinkType::Provision || !rule.flows.is_empty())
    }

    /// Groups whose direct members alone are sent: while one of them is missing, nobody knows who its members are.
    pub fn pilot_groups(&self) -> &[(ConnectorId, String)] {
        &self.pilots
    }

    /// True when the metaverse schema says that the attribute holds references.
    pub fn is_reference(&self, attr: AttrId) -> bool {
        self.references.contains(&attr)
    }

    /// Which inbound rules of `connector` are in scope for a connector-space object.
    pub fn inbound_scope(&self, connector: ConnectorId, object: &dyn AttributeSource, run: &RunParameters) -> Result<ScopeSet, FlowError> {
        let positions = self.inbound.get(&(connector, object.object_type()));
        Ok(self.scope(positions, Context { source: object, run, connector }))
    }

    /// Which outbound rules of the target `connector` are in scope for a metaverse object.
    pub fn outbound_scope(&self, connector: ConnectorId, object: &dyn AttributeSource, run: &RunParameters) -> Result<ScopeSet, FlowError> {
        let positions = self.outbound.get(&(connector, object.object_type()));
        Ok(self.scope(positions, Context { source: object, run, connector }))
    }

    /// The join requests of the rules in scope, by precedence: of rules that have join criteria, and of rules that
    /// provision. `object` is the side that looks for a partner.
    ///
    /// # Errors
    /// A join attribute of the object has several values (`join-object-id-must-be-single-valued`).
    pub fn joins(&self, scope: &ScopeSet, object: &dyn AttributeSource) -> Result<Vec<JoinRequest>, FlowError> {
        let mut requests = Vec::new();
        for scoped in &scope.rules {
            if !scoped.joins && scoped.link == LinkType::Join {
                continue;
            }
            let Some(rule) = self.compiled.get(scoped.position as usize).filter(|rule| rule.id == scoped.id) else { continue };
            let mut has_value = rule.join.is_empty();
            let mut groups = Vec::with_capacity(rule.join.len());
            for group in &rule.join {
                let mut clauses = Vec::with_capacity(group.len());
                for clause in group {
                    if let Some(key) = self.join_key(rule, clause, object)? {
                        has_value = true;
                        clauses.push(key);
                    }
                }
                if clauses.len() == group.len() {
                    groups.push(JoinGroupKeys { clauses });
                }
            }
            requests.push(JoinRequest { rule: rule.id, link: scoped.link, partner_type: scoped.partner_type, groups, has_value });
        }
        Ok(requests)
    }

    /// What the metaverse object should hold, given everything that is linked to it. Evaluates lazily: per
    /// attribute by precedence, stopping at the first flow that decides. `current` gives the values that
    /// `IgnoreThisFlow` keeps; `new_links` says per contributor whether it is joined or projected now
    /// (`once` flows run only then).
    pub fn contribute(
        &self,
        object_type: ObjectType,
        contributors: &[Contributor<'_>],
        current: Option<&MvObject>,
        run: &RunParameters,
    ) -> Result<Contribution, FlowError> {
        flow::contribute(self, object_type, contributors, current, None, run)
    }

    /// The same once more, after `current` became what the evaluation `earlier` gave and contributors were added.
    pub fn contribute_again(
        &self,
        object_type: ObjectType,
        contributors: &[Contributor<'_>],
        current: &MvObject,
        earlier: Earlier<'_>,
        run: &RunParameters,
    ) -> Result<Contribution, FlowError> {
        flow::contribute(self, object_type, contributors, Some(current), Some(earlier), run)
    }

    /// What a target object should hold. `creating` is true when the object does not exist there yet.
    pub fn want(&self, scope: &ScopeSet, object: &dyn AttributeSource, creating: bool, run: &RunParameters) -> Result<Wanted, FlowError> {
        flow::want(self, scope, object, creating, run)
    }

    /// The references of [`want`](Self::want) alone, of an object that exists there.
    pub fn want_references(
        &self,
        scope: &ScopeSet,
        object: &dyn AttributeSource,
        run: &RunParameters,
    ) -> Result<Vec<ReferenceFlow>, FlowError> {
        flow::want_references(self, scope, object, run)
    }

    fn of(&self, connector: ConnectorId, direction: Direction) -> impl Iterator<Item = &CompiledRule> {
        let pairs = self.rules.iter().zip(&self.compiled);
        pairs.filter(move |(rule, _)| rule.connector == connector && rule.direction == direction).map(|(_, compiled)| compiled)
    }

    fn name_of(&self, rule: &CompiledRule) -> &str {
        self.rule(rule.id).map_or("?", |rule| rule.name.as_str())
    }

    fn scope(&self, positions: Option<&Vec<u32>>, context: Context<'_>) -> ScopeSet {
        let positions = positions.map(Vec::as_slice).unwrap_or_default();
        let mut rules = Vec::with_capacity(positions.len());
        for position in positions {
            let (rule, compiled) = (&self.rules[*position as usize], &self.compiled[*position as usize]);
            if compiled.scope.holds(&context) {
                let partner_type = if rule.direction == Direction::Inbound { rule.mv_type } else { Some(rule.cs_type) };
                rules.push(ScopedRule {
                    position: *position,
                    id: rule.id,
                    link: rule.link,
                    partner_type,
                    joins: !rule.join.is_empty(),
                    password_sync: rule.password_sync,
                });
            }
        }
        ScopeSet { rules }
    }

    fn join_key(
        &self,
        rule: &CompiledRule,
        clause: &CompiledJoinClause,
        object: &dyn AttributeSource,
    ) -> Result<Option<JoinClauseKey>, FlowError> {
        let fail = |detail: String, code: ObjectErrorCode| FlowError {
            code,
            rule: Some(rule.id),
            target: Some(clause.own),
            detail: format!("rule \"{}\", join attribute {}: {detail}", self.name_of(rule), self.names.name(clause.own)),
        };
        let mut values = object.values(clause.own);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            let detail = format!("has several values, a join needs one: {}", describe(object, clause.own));
            return Err(fail(detail, ObjectErrorCode::JOIN_OBJECT_ID_MUST_BE_SINGLE_VALUED));
        }
        let scalar = Scalar::from(value);
        if scalar.is_empty_text() {
            return Ok(None);
        }
        let converted = match clause.partner_kind {
            Some(kind) => flow::convert(scalar, kind),
            None => Ok(scalar),
        };
        // A value that the partner's attribute cannot hold matches nothing.
        let Some(value) = converted.ok().and_then(|scalar| scalar.to_value()) else { return Ok(None) };
        Ok(Some(JoinClauseKey { partner: clause.partner, value, case_sensitive: clause.case_sensitive }))
    }

    /// A hash over names, not numbers: those differ from store to store.
    fn compute_fingerprint(&self, schema: &schema::Schema) -> u64 {
        let mut text = String::new();
        if !self.excluded.is_empty() {
            text.push_str(&self.excluded.text(&self.names));
        }
        let name = |attr: AttrId| self.names.name(attr);
        // Writing to a String cannot fail.
        for rule in &self.rules {
            let _ = writeln!(
                text,
                "rule {:?} {:?} {:?} {} {} {:?} {:?} {} {}",
                rule.name,
                rule.tag,
                rule.direction,
                rule.connector,
                self.names.object_type_name(rule.cs_type),
                rule.mv_type.map(|kind| self.names.object_type_name(kind)),
                rule.link,
                rule.precedence,
                rule.password_sync
            );
            for clause in rule.scope.0.iter().flat_map(|group| group.iter().map(Some).chain([None])) {
                let _ = match clause {
                    Some(clause) => writeln!(text, "scope {} {:?} {:?}", name(clause.attr), clause.operator, clause.value),
                    None => writeln!(text, "or"),
                };
            }
            for clause in rule.join.iter().flat_map(|group| group.iter().map(Some).chain([None])) {
                let _ = match clause {
                    Some(clause) => writeln!(text, "join {} {} {}", name(clause.cs), name(clause.mv), clause.case_sensitive),
                    None => writeln!(text, "or"),
                };
            }
            for flow in &rule.flows {
                let _ = match &flow.source {
                    FlowSource::Direct(source) => write!(text, "flow {} <- [{}]", name(flow.target), name(*source)),
                    FlowSource::Constant(value) => write!(text, "flow {} <- {value:?}", name(flow.target)),
                    FlowSource::Expression(expression) => write!(text, "flow {} <- {expression}", name(flow.target)),
                };
                let _ = writeln!(text, " {} {:?} {} {}", flow.once, flow.merge, flow.keep_when_absent, flow.exact);
            }
        }
        let mut attributes: Vec<String> = schema.metaverse.iter().map(|(name, _, kind)| format!("{name} {kind:?}")).collect();
        attributes.sort_unstable();
        text.push_str(&attributes.join("\n"));
        xxhash_rust::xxh3::xxh3_64(text.as_bytes())
    }
}
