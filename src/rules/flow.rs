//! Attribute flow: which flow decides an attribute, and what it gives (specification: sync engine, 3.6 and 3.8).
//!
//! The flows of all rules in scope are laid side by side once per combination of rules (see `layout`), in the order of
//! their targets, so that values come out in the order in which records hold them.

use super::evaluation::{Contribution, Contributor, Earlier, FlowError, ReferenceFlow, ReferenceSource, RunParameters, ScopeSet, Wanted};
use super::expr::{AttributeRef, Context, Expression, Fault, Scalar, Val, load, parse_boolean, parse_number};
use super::layout::{Layout, Target};
use super::schema::{AttributeType, INDEXED_MAX};
use super::shown::is_secret;
use super::{CompiledRule, MergeType, RuleSet, describe};
use crate::model::{
    AttrId, AttributeSource, Blob, ConnectorId, CsId, FlatBuilder, INLINE_VALUE_MAX, Lineage, MvObject, ObjectErrorCode, ObjectType,
    Present, Timestamp, Value, ValueKind, ValueRef, fold,
};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// Room for the values of a usual object, so that a list hardly ever grows while it is made.
const USUAL_VALUES: usize = 64;
/// Room for their octets.
const USUAL_OCTETS: usize = 2048;

/// A flow, ready to be evaluated.
#[derive(Debug)]
pub(super) struct CompiledFlow {
    pub(super) target: AttrId,
    pub(super) kind: AttributeType,
    pub(super) source: CompiledSource,
    pub(super) once: bool,
    pub(super) merge: MergeType,
    /// Nothing from the source is as if the flow did not exist.
    pub(super) keep: bool,
    /// Some other rule flows into the target with another merge type.
    pub(super) mixed: bool,
}

/// Where a flow's value comes from. The first five forms are nine tenths of the built-in flows.
#[derive(Debug)]
pub(super) enum CompiledSource {
    /// Values as they are.
    Direct(AttributeRef),
    /// References of this attribute; the engine reads the rows.
    References(AttributeRef),
    Constant(Value),
    /// `Trim([x])`
    Trim(AttributeRef),
    /// `Left(Trim([x]), 448)`
    TrimCut(AttributeRef),
    /// The first value, trimmed and cut to 448 characters.
    FirstCut(AttributeRef),
    Expression(Box<Expression>),
}

impl CompiledFlow {
    /// The attribute of the forms that read one, and for which nothing there means that nothing flows.
    fn plain_attribute(&self) -> Option<AttrId> {
        if self.keep { None } else { self.source.plain_attribute() }
    }
}

impl CompiledSource {
    /// The attribute of the forms that read one and give nothing when it is absent.
    fn plain_attribute(&self) -> Option<AttrId> {
        match self {
            Self::Direct(attribute) | Self::References(attribute) | Self::Trim(attribute) | Self::TrimCut(attribute) => Some(attribute.id),
            Self::FirstCut(_) | Self::Constant(_) | Self::Expression(_) => None,
        }
    }

    /// True for the forms that trim.
    fn trims(&self) -> bool {
        matches!(self, Self::Trim(_) | Self::TrimCut(_))
    }
}

/// An attribute of which a flow had nothing, so that other flows need not look again.
struct Absent<S> {
    source: S,
    /// The flow trimmed: text of blanks alone is nothing to it, and a value to flows that copy.
    trimmed: bool,
}

impl<S: PartialEq> Absent<S> {
    /// What is known when a flow had nothing of its one attribute.
    fn of(source: Option<S>, flow: &CompiledFlow) -> Option<Self> {
        source.map(|source| Self { source, trimmed: flow.source.trims() })
    }

    /// True when the flow cannot have anything either.
    fn covers(known: Option<&Self>, source: Option<&S>, flow: &CompiledFlow) -> bool {
        match (known, source) {
            (Some(known), Some(source)) => known.source == *source && (!known.trimmed || flow.source.trims()),
            _ => false,
        }
    }
}

impl CompiledSource {
    /// The attributes whose values can arrive at the target, each with whether the flow changes them on the way.
    pub(super) fn origins(&self) -> Vec<(AttrId, bool)> {
        match self {
            Self::Constant(_) => Vec::new(),
            // Trimming and cutting what is trimmed and cut changes nothing.
            Self::Direct(attribute)
            | Self::References(attribute)
            | Self::Trim(attribute)
            | Self::TrimCut(attribute)
            | Self::FirstCut(attribute) => vec![(attribute.id, false)],
            Self::Expression(expression) => match expression.passes() {
                Some(passed) => passed.into_iter().map(|attr| (attr, false)).collect(),
                None => expression.reads().iter().map(|attribute| (attribute.id, true)).collect(),
            },
        }
    }
}

/// What one flow gives.
pub(super) enum Produced<'a> {
    /// Nothing; the next rule may decide.
    Nothing,
    /// Nothing, and no other rule decides.
    Removed,
    /// As if the flow did not exist.
    Ignored,
    /// Values; never empty.
    Values(Val<'a>),
    /// All references of an attribute.
    References(AttrId),
    /// These references; never empty.
    Targets(Vec<u64>),
}

/// One rule at work on one object.
pub(super) struct Origin<'a> {
    pub(super) rule: &'a CompiledRule,
    position: u32,
    pub(super) context: Context<'a>,
    present: Option<&'a Present>,
    pub(super) source: CsId,
    /// `once` flows run.
    pub(super) fresh: bool,
}

impl<'a> Origin<'a> {
    pub(super) fn new(rule: &'a CompiledRule, position: u32, context: Context<'a>, source: CsId, fresh: bool) -> Self {
        Self { rule, position, context, present: context.source.present(), source, fresh }
    }

    /// False when the source certainly has no value of the attribute.
    fn may_have(&self, attr: AttrId) -> bool {
        self.present.is_none_or(|present| present.may_have(attr))
    }
}

/// The rules at work on one object, by precedence, with their flows side by side.
pub(super) struct Bench<'a> {
    pub(super) rules: &'a RuleSet,
    pub(super) origins: Vec<Origin<'a>>,
    pub(super) layout: Arc<Layout>,
}

impl<'a> Bench<'a> {
    /// `origins` come by precedence.
    pub(super) fn new(rules: &'a RuleSet, origins: Vec<Origin<'a>>) -> Self {
        let positions: Vec<u32> = origins.iter().map(|origin| origin.position).collect();
        let layout = rules.layouts.get(&rules.compiled, &positions);
        Self { rules, origins, layout }
    }

    /// The flows into a target, each with its rule.
    pub(super) fn flows(&self, target: &Target) -> impl Iterator<Item = (&Origin<'a>, &'a CompiledFlow)> + Clone {
        self.layout.flows(target).map(|(place, index)| {
            let origin = &self.origins[place];
            (origin, &origin.rule.flows[index])
        })
    }

    /// True when no flow into the target can give anything, since what they copy is not there.
    fn is_idle(&self, target: &Target) -> bool {
        let absent =
            |(origin, flow): (&Origin<'a>, &CompiledFlow)| flow.plain_attribute().is_some_and(|attribute| !origin.may_have(attribute));
        target.plain && self.flows(target).all(absent)
    }

    /// The merge type of all flows into an attribute.
    pub(super) fn merge_of(&self, target: &Target) -> Result<MergeType, FlowError> {
        if !target.mixed {
            return Ok(target.merge);
        }
        let mut found: Option<(MergeType, &CompiledRule)> = None;
        for (origin, flow) in self.flows(target) {
            match found {
                Some((merge, first)) if merge != flow.merge => {
                    return Err(FlowError {
                        code: ObjectErrorCode::MERGE_TYPE_CONFLICT,
                        rule: Some(origin.rule.id),
                        target: Some(target.attr),
                        detail: format!(
                            "attribute {}: rule \"{}\" flows with merge type {merge:?} and rule \"{}\" with {:?}; give both the same merge type",
                            self.rules.names.name(target.attr),
                            self.rules.name_of(first),
                            self.rules.name_of(origin.rule),
                            flow.merge
                        ),
                    });
                }
                Some(_) => {}
                None => found = Some((flow.merge, origin.rule)),
            }
        }
        Ok(found.map_or(MergeType::Update, |(merge, _)| merge))
    }
}

/// The inbound rules at work for a metaverse object, by precedence.
pub(super) fn origins_of<'a>(
    rules: &'a RuleSet,
    object_type: ObjectType,
    contributors: &[Contributor<'a>],
    run: &'a RunParameters,
) -> Vec<Origin<'a>> {
    let mut origins: Vec<Origin<'_>> = Vec::with_capacity(12);
    for contributor in contributors {
        let context = Context { source: contributor.source, run, connector: contributor.id.connector() };
        for scoped in &contributor.scope.rules {
            let Some(rule) = rules.compiled.get(scoped.position as usize) else { continue };
            if rule.id == scoped.id && rule.mv_type.is_none_or(|wanted| wanted == object_type) && !rule.flows.is_empty() {
                let (position, source, fresh) = (scoped.position, contributor.id, contributor.new_link);
                origins.push(Origin::new(rule, position, context, source, fresh));
            }
        }
    }
    origins.sort_unstable_by_key(|origin| (origin.position, origin.source));
    origins
}

/// See [`RuleSet::contribute`].
pub(super) fn contribute(
    rules: &RuleSet,
    object_type: ObjectType,
    contributors: &[Contributor<'_>],
    current: Option<&MvObject>,
    earlier: Option<Earlier<'_>>,
    run: &RunParameters,
) -> Result<Contribution, FlowError> {
    let origins = origins_of(rules, object_type, contributors, run);
    let bench = Bench::new(rules, origins);
    let mut inbound = Inbound {
        rules,
        current,
        now: run.now,
        values: FlatBuilder::with_capacity(USUAL_VALUES, USUAL_OCTETS),
        contribution: Contribution { lineage: Vec::with_capacity(USUAL_VALUES), ..Contribution::default() },
    };
    for target in bench.layout.targets.iter().filter(|target| !bench.is_idle(target)) {
        if let Some(earlier) = earlier
            && bench.flows(target).all(|(origin, _)| earlier.contributors.binary_search(&origin.source).is_ok())
        {
            inbound.take_over(target.attr, earlier.references);
            continue;
        }
        match bench.merge_of(target)? {
            MergeType::Update => inbound.update(&bench, target)?,
            merge => inbound.merge(&bench, target, merge == MergeType::MergeCaseInsensitive)?,
        }
    }
    let mut contribution = inbound.contribution;
    contribution.values = inbound.values.finish();
    contribution.lineage.shrink_to_fit();
    Ok(contribution)
}

struct Inbound<'r> {
    rules: &'r RuleSet,
    current: Option<&'r MvObject>,
    now: Timestamp,
    values: FlatBuilder,
    contribution: Contribution,
}

impl<'r> Inbound<'r> {
    /// What the metaverse object had as origins of an attribute.
    fn former(&self, target: AttrId) -> &[Lineage] {
        let Some(current) = self.current else { return &[] };
        let start = current.lineage.partition_point(|entry| entry.attr < target);
        let length = current.lineage[start..].partition_point(|entry| entry.attr == target);
        &current.lineage[start..start + length]
    }

    fn lineage(&mut self, target: AttrId, origin: &Origin<'_>) {
        let former = self.former(target).iter().find(|entry| entry.rule == origin.rule.id && entry.source == origin.source);
        let since = former.map_or(self.now, |entry| entry.since);
        self.contribution.lineage.push(Lineage { attr: target, rule: origin.rule.id, source: origin.source, since });
    }

    fn was_origin(&self, target: AttrId, origin: &Origin<'_>) -> bool {
        self.former(target).iter().any(|entry| entry.rule == origin.rule.id && entry.source == origin.source)
    }

    /// The values that an origin gave to an attribute.
    fn given_by(&self, target: AttrId, origin: &Origin<'_>) -> Vec<ValueRef<'r>> {
        let Some(current) = self.current else { return Vec::new() };
        let place = self.former(target).iter().position(|entry| entry.rule == origin.rule.id && entry.source == origin.source);
        let own = current.values.attribute(target).filter(|item| Some(usize::from(item.flags)) == place);
        own.map(|item| item.value).collect()
    }

    /// Gives an attribute what it has.
    fn take_over(&mut self, target: AttrId, references: &[ReferenceFlow]) {
        let Some(current) = self.current else { return };
        for item in current.values.raw_attribute(target) {
            self.values.push_raw(item, item.flags());
        }
        let start = current.lineage.partition_point(|entry| entry.attr < target);
        self.contribution.lineage.extend(current.lineage[start..].iter().take_while(|entry| entry.attr == target));
        self.contribution.references.extend(references.iter().filter(|flow| flow.target == target).cloned());
    }

    fn update(&mut self, bench: &Bench<'_>, into: &Target) -> Result<(), FlowError> {
        let target = into.attr;
        let mut keep = false;
        let mut absent: Option<Absent<(AttrId, CsId)>> = None;
        for (origin, flow) in bench.flows(into) {
            if flow.once && !origin.fresh {
                // It ran when the link was made; what it gave then still counts at its place in the precedence.
                if self.was_origin(target, origin) {
                    keep = true;
                    break;
                }
                continue;
            }
            // Several rules often flow the same attribute of the same object: absent once is absent for all.
            let plain = flow.plain_attribute().map(|attribute| (attribute, origin.source));
            if Absent::covers(absent.as_ref(), plain.as_ref(), flow) {
                continue;
            }
            match quick(&mut self.values, origin, flow) {
                Some(true) => {
                    self.lineage(target, origin);
                    return Ok(());
                }
                Some(false) => {
                    absent = Absent::of(plain, flow);
                    continue;
                }
                None => {}
            }
            match produce(self.rules, origin, flow)? {
                Produced::Nothing => absent = Absent::of(plain, flow).or(absent),
                Produced::Ignored => keep = true,
                Produced::Removed => return Ok(()),
                Produced::Values(values) => {
                    for scalar in checked(self.rules, origin, flow, values)? {
                        put(&mut self.values, &mut self.contribution.blobs, target, &scalar, 0);
                    }
                    self.lineage(target, origin);
                    return Ok(());
                }
                Produced::References(attribute) => {
                    self.reference(target, origin, 0, ReferenceSource::Attribute(attribute));
                    self.lineage(target, origin);
                    return Ok(());
                }
                Produced::Targets(targets) => {
                    self.reference(target, origin, 0, ReferenceSource::Targets(targets));
                    self.lineage(target, origin);
                    return Ok(());
                }
            }
        }
        if keep {
            self.keep(&bench.origins, target);
        }
        Ok(())
    }

    fn reference(&mut self, target: AttrId, origin: &Origin<'_>, contributor: u8, source: ReferenceSource) {
        self.contribution.references.push(ReferenceFlow { target, contributor, owner: origin.source.0, source });
    }

    /// Leaves an attribute as it is, with its former origins, as far as those are still linked and in scope: what a
    /// vanished origin gave is withdrawn all the same (specification: sync engine 3.6, recall).
    fn keep(&mut self, origins: &[Origin<'_>], target: AttrId) {
        let Some(current) = self.current else { return };
        let mut renumbered: Vec<Option<u8>> = Vec::new();
        let mut kept: Vec<Lineage> = Vec::new();
        for entry in self.former(target) {
            let alive = origins.iter().any(|origin| origin.rule.id == entry.rule && origin.source == entry.source);
            renumbered.push(alive.then(|| index(kept.len())));
            if alive {
                kept.push(*entry);
            }
        }
        let Some(first) = kept.first() else { return };
        if self.rules.is_reference(target) {
            let owner = first.source.0;
            self.contribution.references.push(ReferenceFlow { target, contributor: 0, owner, source: ReferenceSource::Keep });
        }
        for item in current.values.attribute(target) {
            if let Some(Some(number)) = renumbered.get(usize::from(item.flags)) {
                self.values.push(target, item.value, *number);
            }
        }
        self.contribution.lineage.append(&mut kept);
    }

    fn merge(&mut self, bench: &Bench<'_>, into: &Target, ignore_case: bool) -> Result<(), FlowError> {
        let target = into.attr;
        let mut keep = false;
        let mut seen: HashSet<Scalar<'static>> = HashSet::new();
        let mut contributors = 0;
        for (origin, flow) in bench.flows(into) {
            let number = index(contributors);
            let mut gave = false;
            if flow.once && !origin.fresh {
                if self.rules.is_reference(target) {
                    keep |= self.was_origin(target, origin);
                    continue;
                }
                // It ran when the link was made; what it gave then still stands at its place in the precedence.
                for value in self.given_by(target, origin) {
                    if seen.insert(distinct(&Scalar::from(value), ignore_case)) {
                        self.values.push(target, value, number);
                        gave = true;
                    }
                }
                if gave {
                    self.lineage(target, origin);
                    contributors += 1;
                }
                continue;
            }
            match produce(self.rules, origin, flow)? {
                Produced::Nothing => {}
                Produced::Ignored => keep = true,
                // An answer, however many flows before it were to be ignored.
                Produced::Removed => {
                    keep = false;
                    break;
                }
                Produced::Values(values) => {
                    for scalar in checked(self.rules, origin, flow, values)? {
                        // An equal value of a higher rule stands already, and keeps its spelling and its origin.
                        if seen.insert(distinct(&scalar, ignore_case)) {
                            put(&mut self.values, &mut self.contribution.blobs, target, &scalar, number);
                            gave = true;
                        }
                    }
                }
                Produced::References(attribute) => {
                    self.reference(target, origin, number, ReferenceSource::Attribute(attribute));
                    gave = true;
                }
                Produced::Targets(targets) => {
                    self.reference(target, origin, number, ReferenceSource::Targets(targets));
                    gave = true;
                }
            }
            if gave {
                self.lineage(target, origin);
                contributors += 1;
            }
        }
        if contributors == 0 && keep {
            self.keep(&bench.origins, target);
        }
        Ok(())
    }
}

/// The outbound rules at work for a target object, by precedence.
pub(super) fn wanting<'a>(
    rules: &'a RuleSet,
    scope: &ScopeSet,
    object: &'a dyn AttributeSource,
    creating: bool,
    run: &'a RunParameters,
) -> Vec<Origin<'a>> {
    let mut origins: Vec<Origin<'_>> = Vec::with_capacity(scope.rules.len());
    for scoped in &scope.rules {
        let Some(rule) = rules.compiled.get(scoped.position as usize).filter(|rule| rule.id == scoped.id) else { continue };
        let context = Context { source: object, run, connector: rule.connector };
        let source = CsId::new(ConnectorId(0), 0);
        origins.push(Origin::new(rule, scoped.position, context, source, creating));
    }
    origins.sort_unstable_by_key(|origin| origin.position);
    origins
}

/// See [`RuleSet::want`].
pub(super) fn want(
    rules: &RuleSet,
    scope: &ScopeSet,
    object: &dyn AttributeSource,
    creating: bool,
    run: &RunParameters,
) -> Result<Wanted, FlowError> {
    let origins = wanting(rules, scope, object, creating, run);
    let bench = Bench::new(rules, origins);
    let length = bench.layout.targets.len();
    let wanted = Wanted { managed: Vec::with_capacity(length), decided_by: Vec::with_capacity(length), ..Wanted::default() };
    weigh(&bench, object, false, wanted, FlatBuilder::with_capacity(USUAL_VALUES, USUAL_OCTETS))
}

/// Decides every attribute, or those only that may be references.
fn weigh(
    bench: &Bench<'_>,
    object: &dyn AttributeSource,
    references: bool,
    mut wanted: Wanted,
    mut values: FlatBuilder,
) -> Result<Wanted, FlowError> {
    let rules = bench.rules;
    for target in bench.layout.targets.iter().filter(|target| !references || target.refers) {
        if !bench.is_idle(target) {
            decide(bench, target, &mut wanted, &mut values)?;
        } else if let Some((first, _)) = bench.flows(target).next()
            && !rules.stays(bench.flows(target).map(|(_, flow)| flow), object)
        {
            wanted.clears(target, first.rule);
        }
    }
    wanted.values = values.finish();
    Ok(wanted)
}

/// See [`RuleSet::want_references`].
pub(super) fn want_references(
    rules: &RuleSet,
    scope: &ScopeSet,
    object: &dyn AttributeSource,
    run: &RunParameters,
) -> Result<Vec<ReferenceFlow>, FlowError> {
    let bench = Bench::new(rules, wanting(rules, scope, object, false, run));
    weigh(&bench, object, true, Wanted::default(), FlatBuilder::default()).map(|wanted| wanted.references)
}

impl Wanted {
    /// Nobody had a value: whoever was asked first clears the attribute.
    fn clears(&mut self, target: &Target, by: &CompiledRule) {
        if target.merge != MergeType::Update {
            self.merged.push(target.attr);
        }
        self.managed.push(target.attr);
        self.decided_by.push(by.id);
    }
}

fn decide(bench: &Bench<'_>, into: &Target, wanted: &mut Wanted, values: &mut FlatBuilder) -> Result<(), FlowError> {
    let (rules, target, merge) = (bench.rules, into.attr, bench.merge_of(into)?);
    let mut keep = false;
    // The first flow that was asked and had nothing.
    let mut first = None;
    let mut decided: Option<&CompiledRule> = None;
    let mut absent: Option<Absent<AttrId>> = None;
    let mut reference = false;
    let mut seen: HashSet<Scalar<'static>> = HashSet::new();
    let mut contributors = 0;
    for (origin, flow) in bench.flows(into) {
        reference = flow.kind.kind == Some(ValueKind::Reference);
        if flow.once && !origin.fresh {
            keep = true;
            continue;
        }
        let plain = flow.plain_attribute();
        if Absent::covers(absent.as_ref(), plain.as_ref(), flow) {
            first = first.or(Some(origin.rule));
            continue;
        }
        if merge == MergeType::Update && target != AttrId::DN {
            match quick(values, origin, flow) {
                Some(true) => {
                    decided = Some(origin.rule);
                    break;
                }
                Some(false) => {
                    absent = Absent::of(plain, flow);
                    first = first.or(Some(origin.rule));
                    continue;
                }
                None => {}
            }
        }
        match produce(rules, origin, flow)? {
            Produced::Nothing => {
                absent = Absent::of(plain, flow).or(absent);
                first = first.or(Some(origin.rule));
                continue;
            }
            // As if the flow did not exist.
            Produced::Ignored => continue,
            Produced::Removed => {
                decided = decided.or(Some(origin.rule));
                break;
            }
            Produced::Values(found) if target == AttrId::DN => {
                if let Some(Scalar::Text(name)) = checked(rules, origin, flow, found)?.into_iter().next() {
                    wanted.dn = Some(name.into_owned());
                }
                return Ok(());
            }
            Produced::Values(found) => {
                for scalar in checked(rules, origin, flow, found)? {
                    let new = match (&scalar, merge) {
                        (_, MergeType::Update) => true,
                        (Scalar::Text(text), MergeType::MergeCaseInsensitive) => seen.insert(Scalar::text(fold(text))),
                        _ => seen.insert(scalar.clone().into_owned()),
                    };
                    if new {
                        put(values, &mut wanted.blobs, target, &scalar, 0);
                    }
                }
            }
            Produced::References(attribute) => {
                let source = ReferenceSource::Attribute(attribute);
                wanted.references.push(ReferenceFlow { target, contributor: index(contributors), owner: 0, source });
            }
            Produced::Targets(targets) => {
                let source = ReferenceSource::Targets(targets);
                wanted.references.push(ReferenceFlow { target, contributor: index(contributors), owner: 0, source });
            }
        }
        contributors += 1;
        decided = decided.or(Some(origin.rule));
        if merge == MergeType::Update {
            break;
        }
    }
    if target == AttrId::DN {
        return Ok(());
    }
    // Nobody gave a value: whoever was asked and had none clears the attribute. When all flows are to be ignored, or one
    // had its say when the object was made, it is not touched (specification: sync engine 3.8, point 5).
    let Some(by) = decided.or(if keep { None } else { first }) else { return Ok(()) };
    let object = bench.flows(into).next().map(|(origin, _)| origin.context.source);
    if decided.is_none() && object.is_some_and(|object| rules.stays(bench.flows(into).map(|(_, flow)| flow), object)) {
        return Ok(());
    }
    if merge != MergeType::Update {
        wanted.merged.push(target);
    }
    if reference {
        if contributors == 0 {
            let source = ReferenceSource::Targets(Vec::new());
            wanted.references.push(ReferenceFlow { target, contributor: 0, owner: 0, source });
        }
        return Ok(());
    }
    wanted.managed.push(target);
    wanted.decided_by.push(by.id);
    Ok(())
}

/// What tells values of a merge apart.
fn distinct(scalar: &Scalar<'_>, ignore_case: bool) -> Scalar<'static> {
    match scalar {
        Scalar::Text(text) if ignore_case => Scalar::text(fold(text)),
        other => other.clone().into_owned(),
    }
}

fn index(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

/// The usual flow, short: one value of the target's own type, as it is or trimmed. `Some(true)` when it was written,
/// `Some(false)` when there is none, `None` when the long way must be taken.
fn quick(values: &mut FlatBuilder, origin: &Origin<'_>, flow: &CompiledFlow) -> Option<bool> {
    let (attribute, trims) = match &flow.source {
        CompiledSource::Direct(attribute) => (attribute, false),
        CompiledSource::Trim(attribute) | CompiledSource::TrimCut(attribute) => (attribute, true),
        _ => return None,
    };
    let mut found = origin.context.source.values(attribute.id);
    let nothing = (!flow.keep).then_some(false);
    let Some(value) = found.next() else { return nothing };
    if found.next().is_some() {
        return None;
    }
    let value = match value {
        // Octets are never fewer than characters.
        ValueRef::Text(text) if text.len() <= INDEXED_MAX => ValueRef::Text(if trims { text.trim() } else { text }),
        ValueRef::Number(_) | ValueRef::Boolean(_) | ValueRef::Binary(_) if !trims => value,
        _ => return None,
    };
    if flow.kind.kind.is_some_and(|kind| kind != value.kind()) {
        return None;
    }
    if value == ValueRef::Text("") {
        return nothing;
    }
    values.push(flow.target, value, 0);
    Some(true)
}

/// Evaluates one flow, and settles what nothing means.
fn produce<'a>(rules: &RuleSet, origin: &Origin<'a>, flow: &'a CompiledFlow) -> Result<Produced<'a>, FlowError> {
    Ok(match evaluate(rules, origin, flow)? {
        Produced::Nothing if flow.keep => Produced::Ignored,
        other => other,
    })
}

/// Evaluates one flow. Empty text counts as nothing: a directory has no such value.
pub(super) fn evaluate<'a>(rules: &RuleSet, origin: &Origin<'a>, flow: &'a CompiledFlow) -> Result<Produced<'a>, FlowError> {
    let context = &origin.context;
    let fail = |fault: Fault| failure(rules, origin, flow, &fault);
    let values = match &flow.source {
        CompiledSource::References(attribute) => {
            return Ok(match context.source.count(attribute.id) {
                0 => Produced::Nothing,
                count if count > 1 && !flow.kind.multi => {
                    let message = format!("{count} references flow to an attribute of one value");
                    return Err(fail(Fault { code: ObjectErrorCode::FLOW_MULTI_VALUES_TO_SINGLE_VALUE, message, span: None }));
                }
                _ => Produced::References(attribute.id),
            });
        }
        CompiledSource::Constant(value) => Val::One(Scalar::from(value.as_ref())),
        CompiledSource::Direct(attribute) => each(context, *attribute, |scalar| Ok(Some(scalar))).map_err(fail)?,
        CompiledSource::Trim(attribute) => each(context, *attribute, |scalar| trim(context, scalar, usize::MAX)).map_err(fail)?,
        CompiledSource::TrimCut(attribute) => each(context, *attribute, |scalar| trim(context, scalar, INDEXED_MAX)).map_err(fail)?,
        CompiledSource::FirstCut(attribute) => match context.source.values(attribute.id).next() {
            Some(first) => trim(context, first.into(), INDEXED_MAX).map_err(fail)?.map_or(Val::Null, Val::One),
            None => Val::Null,
        },
        CompiledSource::Expression(expression) => match expression.evaluate(context).map_err(fail)? {
            Val::AuthoritativeNull => return Ok(Produced::Removed),
            Val::Ignore => return Ok(Produced::Ignored),
            other => without_empty(other),
        },
    };
    if values == Val::Null {
        return Ok(Produced::Nothing);
    }
    if flow.kind.kind == Some(ValueKind::Reference) {
        let mut targets = Vec::with_capacity(values.as_slice().len());
        for scalar in values.into_list() {
            match scalar {
                Scalar::Reference(id) => targets.push(id),
                other => {
                    let message = format!("{} flows to a reference; only references of the object itself can", other.type_name());
                    return Err(fail(Fault { code: ObjectErrorCode::CS_ATTRIBUTE_TYPE_MISMATCH, message, span: None }));
                }
            }
        }
        targets.sort_unstable();
        targets.dedup();
        if targets.len() > 1 && !flow.kind.multi {
            let message = format!("{} references flow to an attribute of one value", targets.len());
            return Err(fail(Fault { code: ObjectErrorCode::FLOW_MULTI_VALUES_TO_SINGLE_VALUE, message, span: None }));
        }
        return Ok(Produced::Targets(targets));
    }
    Ok(Produced::Values(values))
}

fn without_empty(value: Val<'_>) -> Val<'_> {
    match value {
        Val::One(scalar) if scalar.is_empty_text() => Val::Null,
        Val::Many(mut list) if list.iter().any(Scalar::is_empty_text) => {
            list.retain(|scalar| !scalar.is_empty_text());
            Val::from_list(list)
        }
        other => other,
    }
}

fn each<'a>(
    context: &Context<'a>,
    attribute: AttributeRef,
    mut step: impl FnMut(Scalar<'a>) -> Result<Option<Scalar<'a>>, Fault>,
) -> Result<Val<'a>, Fault> {
    let mut values = context.source.values(attribute.id);
    let Some(first) = values.next() else { return Ok(Val::Null) };
    let first = step(first.into())?.filter(|scalar| !scalar.is_empty_text());
    let Some(second) = values.next() else { return Ok(first.map_or(Val::Null, Val::One)) };
    let mut list: Vec<Scalar<'a>> = first.into_iter().collect();
    for value in std::iter::once(second).chain(values) {
        list.extend(step(value.into())?.filter(|scalar| !scalar.is_empty_text()));
    }
    Ok(Val::from_list(list))
}

fn trim<'a>(context: &Context<'a>, scalar: Scalar<'a>, length: usize) -> Result<Option<Scalar<'a>>, Fault> {
    let text = match context.plain_text(scalar)? {
        Ok(text) => super::expr::trimmed(text),
        Err(other) => return Err(Fault::mismatch(format!("Trim takes text, this is {}", other.type_name()))),
    };
    let end = super::expr::offset(&text, length);
    let text = if end < text.len() { super::expr::cut(text, 0, end) } else { text };
    Ok((!text.is_empty()).then_some(Scalar::Text(text)))
}

/// Values brought to the target's type, and held against its limits.
pub(super) fn checked<'a>(
    rules: &RuleSet,
    origin: &Origin<'a>,
    flow: &'a CompiledFlow,
    values: Val<'a>,
) -> Result<impl IntoIterator<Item = Scalar<'a>> + use<'a>, FlowError> {
    let fail = |fault: Fault| failure(rules, origin, flow, &fault);
    let one = |scalar: Scalar<'a>| -> Result<Scalar<'a>, FlowError> {
        let scalar = match flow.kind.kind {
            Some(kind) => convert(scalar, kind).map_err(|scalar| {
                let message = format!("{} flows to an attribute that holds {}", scalar.type_name(), kind_name(kind));
                fail(Fault { code: ObjectErrorCode::CS_ATTRIBUTE_TYPE_MISMATCH, message, span: None })
            })?,
            None => scalar,
        };
        if matches!(scalar, Scalar::Date(_) | Scalar::Name(_) | Scalar::Reference(_)) {
            let message = format!("{} is no value of an attribute", scalar.type_name());
            return Err(fail(Fault { code: ObjectErrorCode::CS_ATTRIBUTE_TYPE_MISMATCH, message, span: None }));
        }
        if flow.kind.indexed
            && let Some(length) = too_long(&origin.context, &scalar).map_err(fail)?
        {
            let message = format!("{length} characters flow to an indexed attribute, which holds {INDEXED_MAX}: cut the value with Left");
            return Err(fail(Fault { code: ObjectErrorCode::MV_CONSTRAINT_VIOLATION, message, span: None }));
        }
        Ok(scalar)
    };
    Ok(match values {
        Val::One(scalar) => OneOrMany::One(Some(one(scalar)?)),
        Val::Many(list) if !flow.kind.multi => {
            let message = format!("{} values flow to an attribute of one value", list.len());
            return Err(fail(Fault { code: ObjectErrorCode::FLOW_MULTI_VALUES_TO_SINGLE_VALUE, message, span: None }));
        }
        Val::Many(list) => OneOrMany::Many(list.into_iter().map(one).collect::<Result<Vec<_>, _>>()?.into_iter()),
        Val::Null | Val::AuthoritativeNull | Val::Ignore => OneOrMany::One(None),
    })
}

/// Values without an allocation for the usual single one.
enum OneOrMany<'a> {
    One(Option<Scalar<'a>>),
    Many(std::vec::IntoIter<Scalar<'a>>),
}

impl<'a> Iterator for OneOrMany<'a> {
    type Item = Scalar<'a>;

    fn next(&mut self) -> Option<Scalar<'a>> {
        match self {
            Self::One(scalar) => scalar.take(),
            Self::Many(list) => list.next(),
        }
    }
}

/// The value in another type, where nothing is lost. Text becomes a number, a Boolean or octets: files and servers
/// without a schema give everything as text.
pub(super) fn convert(scalar: Scalar<'_>, kind: ValueKind) -> Result<Scalar<'_>, Scalar<'_>> {
    match (scalar, kind) {
        (scalar @ (Scalar::Text(_) | Scalar::LargeText(_)), ValueKind::Text | ValueKind::LargeText)
        | (scalar @ Scalar::Number(_), ValueKind::Number)
        | (scalar @ Scalar::Boolean(_), ValueKind::Boolean)
        | (scalar @ (Scalar::Binary(_) | Scalar::LargeBinary(_)), ValueKind::Binary | ValueKind::LargeBinary)
        | (scalar @ Scalar::Reference(_), ValueKind::Reference) => Ok(scalar),
        (Scalar::Text(text), ValueKind::Number) => match parse_number(&text) {
            Some(number) => Ok(Scalar::Number(number)),
            None => Err(Scalar::Text(text)),
        },
        (Scalar::Text(text), ValueKind::Boolean) => match parse_boolean(&text) {
            Some(boolean) => Ok(Scalar::Boolean(boolean)),
            None => Err(Scalar::Text(text)),
        },
        (Scalar::Text(text), ValueKind::Binary | ValueKind::LargeBinary) => Ok(Scalar::Binary(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })),
        (Scalar::LargeText(blob), ValueKind::Binary | ValueKind::LargeBinary) => Ok(Scalar::LargeBinary(blob)),
        (other, _) => Err(other),
    }
}

fn too_long<'a>(context: &Context<'a>, scalar: &Scalar<'a>) -> Result<Option<usize>, Fault> {
    let count = |text: &str| if text.len() <= INDEXED_MAX { 0 } else { text.chars().count() };
    let length = match scalar {
        Scalar::Text(text) => count(text),
        Scalar::LargeText(_) => match load(context, scalar.clone())? {
            Scalar::Text(text) => count(&text),
            _ => 0,
        },
        _ => 0,
    };
    Ok((length > INDEXED_MAX).then_some(length))
}

fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Text | ValueKind::LargeText => "text",
        ValueKind::Number => "numbers",
        ValueKind::Boolean => "Booleans",
        ValueKind::Binary | ValueKind::LargeBinary => "octets",
        ValueKind::Reference => "references",
    }
}

/// Writes a value; what an expression made larger than a record takes goes beside it.
fn put(values: &mut FlatBuilder, blobs: &mut Vec<Vec<u8>>, target: AttrId, scalar: &Scalar<'_>, flags: u8) {
    let large = |content: &[u8], blobs: &mut Vec<Vec<u8>>| {
        blobs.push(content.to_vec());
        Blob::of(content)
    };
    let value = match scalar {
        Scalar::Text(text) if text.len() > INLINE_VALUE_MAX => ValueRef::LargeText(large(text.as_bytes(), blobs)),
        Scalar::Text(text) => ValueRef::Text(text),
        Scalar::Binary(bytes) if bytes.len() > INLINE_VALUE_MAX => ValueRef::LargeBinary(large(bytes, blobs)),
        Scalar::Binary(bytes) => ValueRef::Binary(bytes),
        Scalar::Number(number) => ValueRef::Number(*number),
        Scalar::Boolean(boolean) => ValueRef::Boolean(*boolean),
        Scalar::LargeText(blob) => ValueRef::LargeText(*blob),
        Scalar::LargeBinary(blob) => ValueRef::LargeBinary(*blob),
        // `checked` lets none of these through.
        Scalar::Date(_) | Scalar::Name(_) | Scalar::Reference(_) => return,
    };
    values.push(target, value, flags);
}

/// An error that names rule, target, expression with a caret, and what was read.
fn failure(rules: &RuleSet, origin: &Origin<'_>, flow: &CompiledFlow, fault: &Fault) -> FlowError {
    let reads: Vec<AttributeRef> = match &flow.source {
        CompiledSource::Expression(expression) => expression.reads().to_vec(),
        CompiledSource::Constant(_) => Vec::new(),
        CompiledSource::Direct(attribute)
        | CompiledSource::References(attribute)
        | CompiledSource::Trim(attribute)
        | CompiledSource::TrimCut(attribute)
        | CompiledSource::FirstCut(attribute) => vec![*attribute],
    };
    let withheld = |attr: AttrId| attr != AttrId::DN && is_secret(&rules.names.name(attr));
    // Messages quote what was wrong.
    let message = if reads.iter().any(|attribute| withheld(attribute.id)) { "fails; what it read is secret" } else { &fault.message };
    let mut detail = format!("rule \"{}\", attribute {}: {message}", rules.name_of(origin.rule), rules.names.name(flow.target));
    if let CompiledSource::Expression(expression) = &flow.source {
        detail.push('\n');
        detail.push_str(&expression.point_at(fault));
    }
    for attribute in reads {
        let source = origin.context.source;
        let read = if attribute.id == AttrId::DN {
            source.dn().to_owned()
        } else if withheld(attribute.id) {
            "(secret)".to_owned()
        } else if attribute.is_reference() {
            format!("{} references", source.count(attribute.id))
        } else {
            describe(source, attribute.id).chars().take(200).collect()
        };
        detail.push_str("\nread [");
        detail.push_str(&rules.names.name(attribute.id));
        detail.push_str("]: ");
        detail.push_str(&read);
    }
    FlowError { code: fault.code.clone(), rule: Some(origin.rule.id), target: Some(flow.target), detail }
}
