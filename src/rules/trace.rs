//! How rules come to what they give, told clause by clause and flow by flow. The evaluation is the one of
//! synchronization; only nothing is left out: flows that nobody had to ask are asked, too, and say what they would give.

use super::evaluation::{Contributor, FlowError, RunParameters, ScopeSet};
use super::expr::{AttributeRef, Context, Scalar};
use super::flow::{Bench, CompiledFlow, CompiledSource, Origin, Produced, checked, evaluate, origins_of};
use super::layout::Target;
use super::shown::{TraceValue, TraceValues, shown, shown_references};
use super::{CompiledJoinClause, CompiledRule, Direction, FlowSource, MergeType, RuleSet, SyncRule};
use crate::model::{AttrId, AttributeSource, ConnectorId, CsId, MvObject, ObjectType, RuleId, ValueKind, fold};
use serde::Serialize;
use std::collections::HashSet;
use std::fmt;

/// One rule held against one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleTrace {
    /// The rule.
    #[serde(skip)]
    pub id: RuleId,
    /// Its name.
    pub rule: String,
    /// Its place in the precedence; lower wins.
    pub precedence: u32,
    /// False for a rule that is switched off: everything below is what it would do.
    pub enabled: bool,
    /// `inbound` or `outbound`.
    pub direction: &'static str,
    /// What it does to links.
    pub link: &'static str,
    /// The type of object that it is for.
    pub wanted_type: String,
    /// The object's type.
    pub found_type: String,
    /// Type and scope fit.
    pub in_scope: bool,
    /// Groups of clauses: any group, all its clauses; none is every object.
    pub scope: Vec<GroupTrace>,
    /// Groups of pairs by which it looks for a partner, in order.
    pub join: Vec<JoinGroupTrace>,
    /// Its flows by target, each by itself: what other rules give is not looked at.
    pub flows: Vec<FlowTrace>,
}

/// One group of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupTrace {
    /// All clauses hold.
    pub holds: bool,
    /// The clauses.
    pub clauses: Vec<ClauseTrace>,
}

/// One test of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClauseTrace {
    /// The attribute tested.
    pub attribute: String,
    /// The test, as rule files spell it.
    pub operator: &'static str,
    /// What is compared with, parameters replaced; empty for tests of presence.
    pub operand: String,
    /// What the object has.
    #[serde(flatten)]
    pub found: TraceValues,
    /// The outcome.
    pub holds: bool,
}

/// One group of a join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JoinGroupTrace {
    /// Every pair has a key, so that the group is looked up.
    pub usable: bool,
    /// The pairs.
    pub pairs: Vec<JoinPairTrace>,
}

/// One pair of a join group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JoinPairTrace {
    /// The attribute on the object's side.
    pub own: String,
    /// The attribute on the partner's side.
    pub partner: String,
    /// Text compares exactly.
    pub case_sensitive: bool,
    /// What is looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<TraceValue>,
    /// Why nothing is looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
}

/// One flow and what it gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlowTrace {
    /// The rule.
    #[serde(skip)]
    pub id: RuleId,
    /// The object read; `None` outbound, where it is the metaverse object.
    #[serde(skip)]
    pub object: Option<CsId>,
    /// The rule's name.
    pub rule: String,
    /// The rule's place in the precedence.
    pub precedence: u32,
    /// The attribute written.
    pub target: String,
    /// Where the value comes from: `[attribute]`, a constant, or an expression.
    pub source: String,
    /// Only when the link (inbound) or the object (outbound) is made.
    pub once: bool,
    /// How it goes together with other flows.
    pub merge: &'static str,
    /// The attributes that it reads.
    pub inputs: Vec<InputTrace>,
    /// What it gives.
    #[serde(flatten)]
    pub outcome: FlowOutcome,
    /// How it stands among the flows into the attribute.
    pub verdict: Verdict,
    /// The rule that decided before this one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
}

/// An attribute that a flow reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputTrace {
    /// Its name.
    pub attribute: String,
    /// Its values.
    #[serde(flatten)]
    pub found: TraceValues,
}

/// What one flow gives, whether it was asked or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum FlowOutcome {
    /// Values.
    Values(TraceValues),
    /// Nothing.
    Nothing,
    /// `AuthoritativeNull`: the attribute is removed.
    Removed,
    /// `IgnoreThisFlow`.
    Ignored,
    /// The source is absent, and the flow keeps what is there.
    SourceAbsent,
    /// An error.
    Failed {
        /// The stable name.
        code: String,
        /// What is wrong, and where.
        detail: String,
    },
}

/// How a flow stands among all flows into one attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Its value is the attribute's.
    Won,
    /// Merged: its values are among the attribute's.
    Contributes,
    /// Merged: all it has stands there already from rules above.
    Repeats,
    /// A once-only flow that gave the value when the link was made; the value stays.
    KeptFromLink,
    /// It was asked and had nothing.
    GaveNothing,
    /// It was asked, had nothing, and so clears the attribute, since nobody else has a value.
    Clears,
    /// It was asked and wants the attribute removed.
    Removes,
    /// It said that it is to be left out.
    Ignored,
    /// A once-only flow whose moment has passed.
    NotNow,
    /// A rule above decided.
    NotAsked,
    /// It was asked and failed: the whole object stays as it was.
    Failed,
    /// Looked at by itself.
    Alone,
}

/// All flows into one attribute, by precedence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttributeTrace {
    /// The attribute.
    #[serde(skip)]
    pub attr: AttrId,
    /// Its name.
    pub attribute: String,
    /// How the flows go together.
    pub merge: &'static str,
    /// What becomes of it.
    pub decision: AttributeDecision,
    /// The problem of flows that cannot go together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The flows.
    pub flows: Vec<FlowTrace>,
    /// Where its values come from afterwards: rule and object (inbound), in order; outbound the rule that decided, with
    /// object 0.
    #[serde(skip)]
    pub origins: Vec<(RuleId, CsId)>,
}

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttributeDecision {
    /// It gets values.
    Flows,
    /// It stays as it is.
    Kept,
    /// A flow removes it.
    Removed,
    /// Nobody has a value: it is empty, or becomes so.
    Empty,
    /// A flow fails, and with it the object.
    Fails,
}

impl RuleSet {
    /// Holds one rule, enabled or not, against one object: a connector-space object for inbound rules, a metaverse
    /// object for outbound ones. `None` when there is no such rule.
    pub fn trace_rule(&self, id: RuleId, object: &dyn AttributeSource, run: &RunParameters) -> Option<RuleTrace> {
        let (rule, compiled) = self.both_halves(id)?;
        let context = Context { source: object, run, connector: rule.connector };
        let wanted_type = if rule.direction == Direction::Inbound { Some(rule.cs_type) } else { rule.mv_type };
        let type_name = |kind: ObjectType| self.names.object_type_name(kind).to_string();
        let fits = wanted_type.is_none_or(|wanted| wanted == object.object_type());
        let scope: Vec<GroupTrace> = rule
            .scope
            .0
            .iter()
            .zip(&compiled.scope.0)
            .map(|(said, compiled)| {
                let clauses = said.iter().zip(compiled).map(|(said, clause)| ClauseTrace {
                    attribute: self.attribute_name(said.attr),
                    operator: said.operator.as_str(),
                    operand: clause.operand.text(&context),
                    found: self.shown_attribute(object, clause.attribute),
                    holds: clause.holds(&context),
                });
                let clauses: Vec<ClauseTrace> = clauses.collect();
                GroupTrace { holds: clauses.iter().all(|clause| clause.holds), clauses }
            })
            .collect();
        let join = compiled.join.iter().map(|group| {
            let pairs: Vec<JoinPairTrace> = group.iter().map(|clause| self.join_pair(compiled, clause, object)).collect();
            JoinGroupTrace { usable: pairs.iter().all(|pair| pair.key.is_some()), pairs }
        });
        let join = join.collect();
        let source = CsId::new(ConnectorId(0), 0);
        let origin = Origin::new(compiled, 0, context, source, true);
        let flows = compiled.flows.iter().map(|flow| {
            let reached = Reached::of(self, &origin, flow);
            FlowTrace { object: None, ..self.flow_trace(&origin, flow, reached.outcome, Verdict::Alone) }
        });
        Some(RuleTrace {
            id,
            rule: rule.name.clone(),
            precedence: rule.precedence,
            enabled: rule.enabled,
            direction: rule.direction.as_str(),
            link: rule.link.as_str(),
            wanted_type: wanted_type.map_or_else(|| "*".to_owned(), type_name),
            found_type: type_name(object.object_type()),
            in_scope: fits && (scope.is_empty() || scope.iter().any(|group| group.holds)),
            scope,
            join,
            flows: flows.collect(),
        })
    }

    /// Who decides the attributes of a metaverse object, as [`Self::contribute`] would with the same arguments. With
    /// `only`, of one attribute; attributes without any flow are left out.
    pub fn trace_contribution(
        &self,
        object_type: ObjectType,
        contributors: &[Contributor<'_>],
        current: Option<&MvObject>,
        only: Option<AttrId>,
        run: &RunParameters,
    ) -> Vec<AttributeTrace> {
        let bench = Bench::new(self, origins_of(self, object_type, contributors, run));
        let former = |target: AttrId| -> Vec<Former> {
            let Some(current) = current else { return Vec::new() };
            let lineage = current.lineage.iter().filter(|entry| entry.attr == target);
            let values = |index: u8| {
                let own = current.values.attribute(target).filter(move |item| item.flags == index);
                own.map(|item| Scalar::from(item.value).into_owned()).collect()
            };
            lineage.zip(0..=u8::MAX).map(|(entry, index)| Former { origin: (entry.rule, entry.source), values: values(index) }).collect()
        };
        let targets = bench.layout.targets.iter().filter(|target| only.is_none_or(|only| target.attr == only));
        targets.map(|target| Contest::new(&bench, target, former(target.attr), true).settle()).collect()
    }

    /// Who decides the attributes of a target object, as [`Self::want`] would with the same arguments. With `only`, of
    /// one attribute; attributes without any flow are left out.
    pub fn trace_want(
        &self,
        scope: &ScopeSet,
        object: &dyn AttributeSource,
        creating: bool,
        only: Option<AttrId>,
        run: &RunParameters,
    ) -> Vec<AttributeTrace> {
        let bench = Bench::new(self, super::flow::wanting(self, scope, object, creating, run));
        let targets = bench.layout.targets.iter().filter(|target| only.is_none_or(|only| target.attr == only));
        targets.map(|target| Contest::new(&bench, target, Vec::new(), false).settle()).collect()
    }

    /// The attributes that a rule's flows into `target` read, and those of all its flows without a target.
    pub fn flow_reads(&self, rule: RuleId, target: AttrId) -> Vec<AttrId> {
        let Some((_, compiled)) = self.both_halves(rule) else { return Vec::new() };
        let flows = compiled.flows.iter().filter(|flow| flow.target == target);
        flows.flat_map(|flow| flow.source.reads()).map(|attribute| attribute.id).collect()
    }

    fn both_halves(&self, id: RuleId) -> Option<(&SyncRule, &CompiledRule)> {
        let enabled = self.rules.iter().zip(&self.compiled);
        let disabled = self.disabled.iter().zip(&self.compiled_disabled);
        enabled.chain(disabled).find(|(rule, _)| rule.id == id)
    }

    fn attribute_name(&self, attr: AttrId) -> String {
        self.names.name(attr).to_string()
    }

    fn join_pair(&self, rule: &CompiledRule, clause: &CompiledJoinClause, object: &dyn AttributeSource) -> JoinPairTrace {
        let (key, lacks) = match self.join_key(rule, clause, object) {
            Ok(Some(key)) if super::is_secret(&self.attribute_name(clause.own)) => {
                drop(key);
                (Some(TraceValue { kind: "secret", value: "(a secret, not shown)".to_owned() }), None)
            }
            Ok(Some(key)) => (Some(shown(object, &Scalar::from(key.value.as_ref()))), None),
            Ok(None) if object.count(clause.own) == 0 => (None, Some("absent".to_owned())),
            Ok(None) => (None, Some("no value that the partner's attribute can hold".to_owned())),
            Err(_) => (None, Some(format!("{} values, a join needs one", object.count(clause.own)))),
        };
        JoinPairTrace {
            own: self.attribute_name(clause.own),
            partner: self.attribute_name(clause.partner),
            case_sensitive: clause.case_sensitive,
            key,
            lacks,
        }
    }

    fn flow_trace(&self, origin: &Origin<'_>, flow: &CompiledFlow, outcome: FlowOutcome, verdict: Verdict) -> FlowTrace {
        let rule = self.rule(origin.rule.id);
        let said = rule.and_then(|rule| rule.flows.iter().find(|said| said.target == flow.target));
        let source = match said.map(|said| &said.source) {
            Some(FlowSource::Direct(attr)) => format!("[{}]", self.names.name(*attr)),
            Some(FlowSource::Constant(value)) => shown(origin.context.source, &Scalar::from(value.as_ref())).to_string(),
            Some(FlowSource::Expression(text)) => text.clone(),
            None => String::new(),
        };
        let inputs = flow.source.reads().into_iter().map(|attribute| InputTrace {
            attribute: self.attribute_name(attribute.id),
            found: self.shown_attribute(origin.context.source, attribute),
        });
        FlowTrace {
            id: origin.rule.id,
            object: (origin.source.0 != 0).then_some(origin.source),
            rule: rule.map(|rule| rule.name.clone()).unwrap_or_default(),
            precedence: rule.map_or(0, |rule| rule.precedence),
            target: self.attribute_name(flow.target),
            source,
            once: flow.once,
            merge: flow.merge.as_str(),
            inputs: inputs.collect(),
            outcome,
            verdict,
            decided_by: None,
        }
    }
}

impl CompiledSource {
    /// The attributes read, each once.
    pub(super) fn reads(&self) -> Vec<AttributeRef> {
        match self {
            Self::Constant(_) => Vec::new(),
            Self::Expression(expression) => expression.reads().to_vec(),
            Self::References(attribute) => vec![AttributeRef { kind: Some(ValueKind::Reference), ..*attribute }],
            Self::Direct(attribute) | Self::Trim(attribute) | Self::TrimCut(attribute) | Self::FirstCut(attribute) => vec![*attribute],
        }
    }
}

impl RuleTrace {
    /// Why the object is not in scope: per group the clauses that fail, each with what was found. Empty when it is.
    pub fn failing(&self) -> Vec<Vec<String>> {
        if self.wanted_type != "*" && !self.wanted_type.eq_ignore_ascii_case(&self.found_type) {
            return vec![vec![format!("it is for {}, this is {}", self.wanted_type, self.found_type)]];
        }
        if self.in_scope {
            return Vec::new();
        }
        let failing = |group: &GroupTrace| group.clauses.iter().filter(|clause| !clause.holds).map(ToString::to_string).collect();
        self.scope.iter().map(failing).collect()
    }
}

impl fmt::Display for ClauseTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.attribute, self.operator)?;
        if !self.operand.is_empty() {
            write!(f, " \"{}\"", self.operand)?;
        }
        write!(f, " (it is {})", self.found)
    }
}

/// What a flow came to, with its values as far as merging has to compare them.
struct Reached {
    outcome: FlowOutcome,
    /// In the form in which merged values are equal, but for case.
    scalars: Vec<Scalar<'static>>,
}

impl Reached {
    fn of(rules: &RuleSet, origin: &Origin<'_>, flow: &CompiledFlow) -> Self {
        let reads = flow.source.reads();
        let source = origin.context.source;
        let plain = |outcome| Self { outcome, scalars: Vec::new() };
        let failed = |error: FlowError| {
            let detail =
                if rules.secret_among(&reads) { "it reads a secret, so its message is not shown".to_owned() } else { error.detail };
            plain(FlowOutcome::Failed { code: error.code.as_str().to_owned(), detail })
        };
        match evaluate(rules, origin, flow) {
            Err(error) => failed(error),
            Ok(Produced::Nothing) if flow.keep => plain(FlowOutcome::SourceAbsent),
            Ok(Produced::Nothing) => plain(FlowOutcome::Nothing),
            Ok(Produced::Removed) => plain(FlowOutcome::Removed),
            Ok(Produced::Ignored) => plain(FlowOutcome::Ignored),
            Ok(Produced::References(attribute)) => plain(FlowOutcome::Values(shown_references(source, attribute))),
            Ok(Produced::Targets(targets)) => {
                let targets: Vec<Scalar<'_>> = targets.into_iter().map(Scalar::Reference).collect();
                plain(FlowOutcome::Values(rules.shown_result(source, &reads, &targets)))
            }
            Ok(Produced::Values(values)) => match checked(rules, origin, flow, values) {
                Err(error) => failed(error),
                Ok(values) => {
                    let scalars: Vec<Scalar<'_>> = values.into_iter().collect();
                    let outcome = FlowOutcome::Values(rules.shown_result(source, &reads, &scalars));
                    Self { outcome, scalars: scalars.into_iter().map(Scalar::into_owned).collect() }
                }
            },
        }
    }
}

/// An origin of an attribute as it is, and what it gave.
struct Former {
    origin: (RuleId, CsId),
    values: Vec<Scalar<'static>>,
}

/// All flows into one attribute on their way to a decision.
struct Contest<'b, 'a> {
    bench: &'b Bench<'a>,
    target: &'b Target,
    former: Vec<Former>,
    /// Merged: what a once-only flow gave when the link was made stands beside the rest.
    stands: bool,
    inbound: bool,
    /// Something says that the attribute stays as it is when nobody has a value.
    keep: bool,
    /// Who decided, so that the rest is not asked.
    decided: Option<(AttributeDecision, String)>,
    origins: Vec<(RuleId, CsId)>,
    /// The first flow that was asked and had nothing, by its place.
    first: Option<(usize, RuleId)>,
    seen: HashSet<Scalar<'static>>,
}

impl<'b, 'a> Contest<'b, 'a> {
    fn new(bench: &'b Bench<'a>, target: &'b Target, former: Vec<Former>, inbound: bool) -> Self {
        Self {
            bench,
            target,
            former,
            stands: false,
            inbound,
            keep: false,
            decided: None,
            origins: Vec::new(),
            first: None,
            seen: HashSet::new(),
        }
    }

    fn settle(mut self) -> AttributeTrace {
        let rules = self.bench.rules;
        let merge = self.bench.merge_of(self.target);
        let problem = merge.as_ref().err().map(|error| error.detail.clone());
        let merge = merge.unwrap_or(MergeType::Update);
        let mut flows = Vec::new();
        for (place, (origin, flow)) in self.bench.flows(self.target).enumerate() {
            let reached = Reached::of(rules, origin, flow);
            let before = self.decided.as_ref().map(|(_, by)| by.clone());
            let verdict = self.judge(place, origin, flow, &reached, merge);
            let mut trace = rules.flow_trace(origin, flow, reached.outcome, verdict);
            trace.decided_by = before.filter(|_| verdict == Verdict::NotAsked);
            flows.push(trace);
        }
        let decision = self.decide(&mut flows);
        let decision = if problem.is_some() { AttributeDecision::Fails } else { decision };
        AttributeTrace {
            attr: self.target.attr,
            attribute: rules.attribute_name(self.target.attr),
            merge: merge.as_str(),
            decision,
            problem,
            flows,
            origins: self.origins,
        }
    }

    fn judge(&mut self, place: usize, origin: &Origin<'_>, flow: &CompiledFlow, reached: &Reached, merge: MergeType) -> Verdict {
        if self.decided.is_some() {
            return Verdict::NotAsked;
        }
        let by = || self.bench.rules.name_of(origin.rule).to_owned();
        let own = (origin.rule.id, origin.source);
        let update = merge == MergeType::Update;
        if flow.once && !origin.fresh {
            let former = self.former.iter().find(|former| self.inbound && former.origin == own);
            let gave = former.is_some();
            if let Some(former) = former.filter(|_| !update && !self.bench.rules.is_reference(self.target.attr)) {
                let mut new = false;
                for value in &former.values {
                    new |= self.seen.insert(distinct(value, merge));
                }
                if new {
                    self.origins.push(own);
                    self.stands = true;
                }
                return Verdict::KeptFromLink;
            }
            if gave && update {
                self.keep = true;
                self.decided = Some((AttributeDecision::Kept, by()));
                return Verdict::KeptFromLink;
            }
            self.keep |= gave || !self.inbound;
            return if gave { Verdict::KeptFromLink } else { Verdict::NotNow };
        }
        match &reached.outcome {
            FlowOutcome::Nothing => {
                self.first = self.first.or(Some((place, origin.rule.id)));
                Verdict::GaveNothing
            }
            FlowOutcome::Ignored | FlowOutcome::SourceAbsent => {
                self.keep |= self.inbound;
                Verdict::Ignored
            }
            FlowOutcome::Removed => {
                if !self.inbound && self.origins.is_empty() {
                    self.origins.push((origin.rule.id, CsId(0)));
                }
                self.decided = Some((AttributeDecision::Removed, by()));
                Verdict::Removes
            }
            FlowOutcome::Failed { .. } => {
                self.decided = Some((AttributeDecision::Fails, by()));
                Verdict::Failed
            }
            FlowOutcome::Values(_) if update => {
                self.origins.push(if self.inbound { own } else { (origin.rule.id, CsId(0)) });
                self.decided = Some((AttributeDecision::Flows, by()));
                Verdict::Won
            }
            FlowOutcome::Values(_) => self.join_in(own, reached, merge),
        }
    }

    /// A merged flow with values.
    fn join_in(&mut self, own: (RuleId, CsId), reached: &Reached, merge: MergeType) -> Verdict {
        let mut gave = reached.scalars.is_empty();
        for scalar in &reached.scalars {
            gave |= self.seen.insert(distinct(scalar, merge));
        }
        if self.inbound && gave {
            self.origins.push(own);
        } else if !self.inbound && self.origins.is_empty() {
            self.origins.push((own.0, CsId(0)));
        }
        if gave { Verdict::Contributes } else { Verdict::Repeats }
    }

    /// What it comes to when all were asked.
    fn decide(&mut self, flows: &mut [FlowTrace]) -> AttributeDecision {
        let gave = self.stands || flows.iter().any(|flow| matches!(flow.verdict, Verdict::Won | Verdict::Contributes));
        match self.decided.as_ref().map(|(decision, _)| *decision) {
            Some(AttributeDecision::Fails) => return AttributeDecision::Fails,
            _ if gave => return AttributeDecision::Flows,
            Some(AttributeDecision::Removed) => return AttributeDecision::Removed,
            _ => {}
        }
        if self.keep && self.inbound {
            // What a vanished origin gave is withdrawn all the same.
            let linked =
                |entry: &(RuleId, CsId)| self.bench.origins.iter().any(|origin| origin.rule.id == entry.0 && origin.source == entry.1);
            self.origins = self.former.iter().map(|former| former.origin).filter(linked).collect();
            return if self.origins.is_empty() { AttributeDecision::Empty } else { AttributeDecision::Kept };
        }
        if self.keep {
            return AttributeDecision::Kept;
        }
        if self.inbound || self.target.attr == AttrId::DN {
            return AttributeDecision::Empty;
        }
        // When every flow said that it is to be left out, nobody touches the attribute.
        let Some((place, rule)) = self.first else { return AttributeDecision::Kept };
        let object = self.bench.flows(self.target).next().map(|(origin, _)| origin.context.source);
        if object.is_some_and(|object| self.bench.rules.stays(self.bench.flows(self.target).map(|(_, flow)| flow), object)) {
            return AttributeDecision::Kept;
        }
        self.origins.push((rule, CsId(0)));
        if let Some(flow) = flows.get_mut(place) {
            flow.verdict = Verdict::Clears;
        }
        AttributeDecision::Empty
    }
}

/// What makes a value of a merged attribute the same as another one.
fn distinct(value: &Scalar<'static>, merge: MergeType) -> Scalar<'static> {
    match value {
        Scalar::Text(text) if merge == MergeType::MergeCaseInsensitive => Scalar::text(fold(text)),
        other => other.clone(),
    }
}
