//! Why a metaverse attribute has its value, or none: who gives it, who else would, since when, and what targets got.

use super::browse::Browser;
use super::preview::SourcedFlow;
use super::views::{KnownAs, ValueView};
use super::{ProblemView, Service, ServiceError};
use crate::engine::sync::Tracer;
use crate::model::{
    AttrId, ConnectorId, CsId, CsObject, CsReference, ErrorSide, Lineage, MvId, MvObject, RunId, Stage, StageMask, Timestamp, ValueState,
};
use crate::rules::{AttributeDecision, AttributeTrace, Direction, RuleSet};
use crate::store::{CounterName, RunRecord, Snapshot, StepKind, StepRecord, StoreError};
use serde::Serialize;
use std::borrow::Cow;

/// Values shown of the attribute.
const VALUES: usize = 20;
/// Runs looked through for what was sent.
const RUNS: usize = 500;
/// Runs read at a time.
const PAGE: usize = 50;
/// The counters of objects that an export handed over.
const SENT: [&str; 4] = ["export-add", "export-update", "export-rename", "export-failure"];

/// Why a metaverse attribute has its value, or none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WhyView {
    /// The metaverse object's number.
    pub metaverse: u64,
    /// Its type.
    pub object_type: String,
    /// By what people know it.
    pub name: String,
    /// The attribute.
    pub attribute: String,
    /// Its values, the first few.
    pub values: Vec<ValueView>,
    /// How many values it has.
    pub count: u64,
    /// Where they come from.
    pub origins: Vec<WhyOrigin>,
    /// How old the values are; nothing when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<WhyAge>,
    /// What the rules make of the attribute now: `flows`, `kept`, `removed`, `empty` or `fails`; `no-flow` when no rule in
    /// scope flows into it.
    pub decision: &'static str,
    /// What stands there is not what the rules would give now; the next synchronization of a contributor changes it.
    pub outdated: bool,
    /// All flows into it in the order in which they are asked.
    pub flows: Vec<SourcedFlow>,
    /// Rules that flow into it and do not apply to the objects it is made of.
    pub out_of_scope: Vec<WhyNot>,
    /// What targets got of it.
    pub targets: Vec<WhyTarget>,
}

/// How old the values of an attribute are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhyAge {
    /// Since when they have been as they are.
    pub since: String,
    /// They may be older: the history that was looked through begins then.
    pub at_least: bool,
    /// The synchronization that made them so, while the history remembers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<WhyRun>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhyOrigin {
    /// The rule.
    pub rule: String,
    /// The object that gives the value.
    pub source_id: String,
    /// Its connector.
    pub connector: String,
    /// Its name.
    pub dn: String,
    /// Since when this rule and this object have been the origin; the value may be younger.
    pub since: String,
    /// The run that made them the origin, while the history remembers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<WhyRun>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhyRun {
    /// Its number.
    pub number: u64,
    /// Its connector.
    pub connector: String,
    /// Its profile.
    pub profile: String,
    /// When it began.
    pub started: String,
}

/// A rule that would flow into the attribute and does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhyNot {
    /// The rule.
    pub rule: String,
    /// The object that it was held against.
    pub source_id: String,
    /// Its name.
    pub dn: String,
    /// Per group of its scope, the clauses that fail.
    pub failing: Vec<Vec<String>>,
}

/// What one target got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhyTarget {
    /// The target.
    pub connector: String,
    /// The object there.
    pub id: String,
    /// Its name.
    pub dn: String,
    /// By what people know it.
    #[serde(flatten)]
    pub known_as: KnownAs,
    /// The attributes there that are made from this one.
    pub attributes: Vec<WhyTargetAttribute>,
    /// The last refusal of the object, when it is not settled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<ProblemView>,
}

/// One attribute of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhyTargetAttribute {
    /// Its name.
    pub attribute: String,
    /// The rule that decides it.
    pub rule: Option<String>,
    /// That rule reads the metaverse attribute.
    pub from_this: bool,
    /// `confirmed`, `unconfirmed`, `in-progress`, `pending` or `empty`.
    pub state: &'static str,
    /// Its values when everything wanted has arrived.
    pub values: Vec<ValueView>,
    /// The run that sent it last, as far as the history remembers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<WhyRun>,
    /// The import that showed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<WhyRun>,
}

impl Service {
    /// Explains one attribute of a metaverse object. Reads the objects that take part and a part of the run history, never
    /// a whole table.
    ///
    /// # Errors
    /// When the rules do not compile, the store cannot be read, the object is gone, or nobody knows the attribute.
    pub fn why(&self, id: MvId, attribute: &str, now: Timestamp) -> Result<WhyView, ServiceError> {
        let rules = self.rules()?;
        let run = self.kept_parameters(now)?;
        let browser = self.browse()?;
        let gone = || ServiceError::NotFound(format!("metaverse object {id} is gone"));
        let object = browser.snapshot.mv_object(id)?.ok_or_else(gone)?;
        let attr = self.store().names().find(attribute).filter(|attr| known(rules, *attr)).ok_or_else(|| {
            ServiceError::NotFound(format!(
                "no rule reads or writes a metaverse attribute '{attribute}'; `syncline mv show {id}` lists those of this object"
            ))
        })?;
        let tracer = Tracer::new(self.store(), &browser.snapshot, rules, &run);
        let trace = tracer.contribution(&object, attr)?;
        let why = Why { browser: &browser, rules, tracer: &tracer, object: &object, attr };
        let (values, count) = why.values()?;
        let origins = why.origins()?;
        let stored: Vec<_> = lineage(&object, attr).map(|entry| (entry.rule, entry.source)).collect();
        let told = trace.as_ref().map(|trace| trace.origins.clone()).unwrap_or_default();
        Ok(WhyView {
            metaverse: id.0,
            object_type: browser.names.object_type_name(object.object_type).to_string(),
            name: browser.first_text(&object.values, &["displayName", "cn", "accountName", "userPrincipalName", "mail"]),
            attribute: browser.names.name(attr).to_string(),
            values,
            count,
            age: why.age()?,
            origins,
            decision: decision(trace.as_ref()),
            outdated: stored != told || trace.as_ref().is_some_and(|trace| trace.decision == AttributeDecision::Fails),
            flows: trace.iter().flat_map(|trace| &trace.flows).map(|flow| SourcedFlow::of(&browser, flow)).collect::<Result<_, _>>()?,
            out_of_scope: why.out_of_scope()?,
            targets: why.targets()?,
        })
    }
}

fn decision(trace: Option<&AttributeTrace>) -> &'static str {
    match trace.map(|trace| trace.decision) {
        None => "no-flow",
        Some(AttributeDecision::Flows) => "flows",
        Some(AttributeDecision::Kept) => "kept",
        Some(AttributeDecision::Removed) => "removed",
        Some(AttributeDecision::Empty) => "empty",
        Some(AttributeDecision::Fails) => "fails",
    }
}

/// True for attributes of the metaverse that any rule, enabled or not, is about.
fn known(rules: &RuleSet, attr: AttrId) -> bool {
    rules.rules().iter().chain(rules.disabled_rules()).any(|rule| match rule.direction {
        Direction::Inbound => rule.flows.iter().any(|flow| flow.target == attr),
        Direction::Outbound => {
            rule.scope.0.iter().flatten().any(|clause| clause.attr == attr)
                || rule.flows.iter().any(|flow| rules.flow_reads(rule.id, flow.target).contains(&attr))
        }
    })
}

fn lineage(object: &MvObject, attr: AttrId) -> impl Iterator<Item = &Lineage> {
    object.lineage.iter().filter(move |entry| entry.attr == attr)
}

/// What the explanation looks at.
struct Why<'a> {
    browser: &'a Browser<'a>,
    rules: &'a RuleSet,
    tracer: &'a Tracer<'a>,
    object: &'a MvObject,
    attr: AttrId,
}

impl Why<'_> {
    fn snapshot(&self) -> &Snapshot {
        &self.browser.snapshot
    }

    fn values(&self) -> Result<(Vec<ValueView>, u64), ServiceError> {
        let name = self.browser.names.name(self.attr);
        let mut values = Vec::new();
        let mut count = 0;
        for item in self.object.values.attribute(self.attr) {
            count += 1;
            if values.len() < VALUES {
                values.push(ValueView::of(&name, item.value));
            }
        }
        if self.rules.is_reference(self.attr) {
            for row in self.snapshot().mv_references(self.object.id)?.into_iter().filter(|row| row.attr == self.attr) {
                count += 1;
                if values.len() < VALUES {
                    let target = self.snapshot().mv_object(row.target)?;
                    let known = ["displayName", "cn", "userPrincipalName", "mail"];
                    let dn = target.map(|target| self.browser.first_text(&target.values, &known)).unwrap_or_default();
                    values.push(ValueView::Reference { dn, id: row.target.to_string() });
                }
            }
        }
        Ok((values, count))
    }

    fn origins(&self) -> Result<Vec<WhyOrigin>, ServiceError> {
        let mut origins = Vec::new();
        for entry in lineage(self.object, self.attr) {
            origins.push(WhyOrigin {
                rule: self.browser.rule_name(entry.rule),
                source_id: entry.source.to_string(),
                connector: self.browser.connector_name(entry.source.connector()),
                dn: self.browser.dn_of(entry.source)?,
                since: entry.since.to_string(),
                run: run_at(self.snapshot(), entry.since)?.as_ref().map(WhyRun::of),
            });
        }
        Ok(origins)
    }

    /// When a synchronization last changed the values: as the history tells, and not before the present origin became it.
    fn age(&self) -> Result<Option<WhyAge>, ServiceError> {
        let Some(origin) = lineage(self.object, self.attr).map(|entry| entry.since).max() else { return Ok(None) };
        let name = self.browser.names.name(self.attr);
        let (mut before, mut seen, mut oldest) = (None, 0, None);
        while seen < RUNS {
            let runs = self.snapshot().runs(before, PAGE)?;
            let Some(last) = runs.last() else { break };
            before = Some(last.id);
            seen += runs.len();
            for run in &runs {
                if run.ended.is_some_and(|ended| ended < origin) {
                    return Ok(Some(self.age_of_origin(origin)?));
                }
                for step in run.steps.iter().filter(|step| matches!(step.kind, StepKind::FullSync | StepKind::DeltaSync)) {
                    if self.changed_by(run, step, &name)? {
                        let since = step.started.max(origin).to_string();
                        return Ok(Some(WhyAge { since, at_least: false, run: Some(WhyRun::of(run)) }));
                    }
                }
                oldest = Some(run.started);
            }
        }
        // The history does not reach back to where the origin became it.
        Ok(Some(match oldest.filter(|oldest| *oldest > origin) {
            Some(oldest) => WhyAge { since: oldest.to_string(), at_least: true, run: None },
            None => self.age_of_origin(origin)?,
        }))
    }

    fn age_of_origin(&self, since: Timestamp) -> Result<WhyAge, ServiceError> {
        let run = run_at(self.snapshot(), since)?.as_ref().map(WhyRun::of);
        Ok(WhyAge { since: since.to_string(), at_least: false, run })
    }

    /// True when a step changed the attribute for an object that gives it.
    fn changed_by(&self, run: &RunRecord, step: &StepRecord, name: &str) -> Result<bool, ServiceError> {
        for entry in lineage(self.object, self.attr) {
            let ahead = entry.source.0.checked_sub(1).map(CsId);
            // Behind a stroke a counter names the target whose objects it counts.
            let counters = step.counters.iter().filter(|(counter, count)| **count > 0 && !counter.0.contains('/'));
            for (counter, _) in counters {
                let found = self.snapshot().step_objects(run.id, step.number, counter.clone(), ahead, 1)?;
                if found.iter().any(|object| object.id == entry.source && object.changes.iter().any(|change| change.attribute == name)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn out_of_scope(&self) -> Result<Vec<WhyNot>, ServiceError> {
        let links = self.snapshot().mv_links(self.object.id)?;
        let mut found = Vec::new();
        let flows_in =
            |rule: &&crate::rules::SyncRule| rule.direction == Direction::Inbound && rule.flows.iter().any(|flow| flow.target == self.attr);
        for rule in self.rules.rules().iter().filter(flows_in) {
            for id in links.iter().filter(|id| id.connector() == rule.connector) {
                let Some(trace) = self.tracer.rule(rule.id, *id)? else { continue };
                // A rule about another type of object says nothing about this one.
                if !trace.in_scope && trace.wanted_type.eq_ignore_ascii_case(&trace.found_type) {
                    found.push(WhyNot {
                        rule: rule.name.clone(),
                        source_id: id.to_string(),
                        dn: self.browser.dn_of(*id)?,
                        failing: trace.failing(),
                    });
                }
            }
        }
        Ok(found)
    }

    fn targets(&self) -> Result<Vec<WhyTarget>, ServiceError> {
        let mut found = Vec::new();
        for id in self.snapshot().mv_links(self.object.id)?.into_iter().filter(|id| self.browser.is_target(*id)) {
            let Some(target) = self.snapshot().cs_object(id)? else { continue };
            let name = self.browser.names.name(self.attr);
            let mut attributes = Vec::new();
            let mut rows: Option<Vec<CsReference>> = None;
            let reads = |flow: &crate::rules::FlowTrace| flow.inputs.iter().any(|input| input.attribute == *name);
            for trace in self.tracer.want(self.object, &target, None)? {
                if !trace.flows.iter().any(reads) {
                    continue;
                }
                let winner = trace.origins.first().map(|(rule, _)| *rule);
                let from_this = trace.flows.iter().any(|flow| Some(flow.id) == winner && reads(flow));
                let rows = match &rows {
                    Some(rows) => rows,
                    None => rows.insert(self.snapshot().cs_references(id)?),
                };
                let state = state_of(&target, rows, trace.attr);
                let sent = self.sent(&target, trace.attr, state)?;
                let confirmed = match &sent {
                    Some((number, _)) if state == "confirmed" => self.confirmed(id.connector(), *number)?,
                    _ => None,
                };
                attributes.push(WhyTargetAttribute {
                    values: self.target_values(&target, rows, trace.attr)?,
                    rule: winner.map(|rule| self.browser.rule_name(rule)),
                    attribute: trace.attribute,
                    from_this,
                    state,
                    sent: sent.map(|(_, run)| run),
                    confirmed,
                });
            }
            let connector = self.browser.connector_name(id.connector());
            let problem = self.snapshot().error(id, ErrorSide::Export)?;
            let known_as = self.browser.known_as(&target);
            found.push(WhyTarget {
                problem: problem.map(|error| {
                    let name = (target.dn.to_string(), known_as.clone());
                    ProblemView::new(id.to_string(), connector.clone(), name, ErrorSide::Export, &error)
                }),
                known_as,
                connector,
                id: id.to_string(),
                dn: target.dn.to_string(),
                attributes,
            });
        }
        Ok(found)
    }

    fn target_values(&self, target: &CsObject, rows: &[CsReference], attr: AttrId) -> Result<Vec<ValueView>, ServiceError> {
        let name = self.browser.names.name(attr);
        let wanted = target.values.attribute(attr).filter(|item| ValueState(item.flags).present(StageMask::WANTED));
        let mut values: Vec<ValueView> = wanted.take(VALUES).map(|item| ValueView::of(&name, item.value)).collect();
        let references = rows.iter().filter(|row| row.attr == attr && row.state.present(StageMask::WANTED));
        for row in references.take(VALUES.saturating_sub(values.len())) {
            values.push(ValueView::Reference { dn: self.browser.dn_of(row.target)?, id: row.target.to_string() });
        }
        Ok(values)
    }

    /// The newest run that handed the attribute over.
    fn sent(&self, target: &CsObject, attr: AttrId, state: &str) -> Result<Option<(RunId, WhyRun)>, ServiceError> {
        let name = self.browser.names.name(attr);
        let (mut before, mut seen) = (None, 0);
        while seen < RUNS {
            let runs = self.snapshot().runs(before, PAGE)?;
            let Some(last) = runs.last() else { break };
            before = Some(last.id);
            seen += runs.len();
            for run in runs.iter().filter(|run| run.connector == target.id.connector()) {
                for step in run.steps.iter().filter(|step| step.kind == StepKind::Export) {
                    for counter in SENT {
                        let counter = CounterName(Cow::Borrowed(counter));
                        if step.counters.get(&counter).copied().unwrap_or(0) == 0 {
                            continue;
                        }
                        // What an object was made with is not told value by value, and it was not made with nothing.
                        let whole = counter.0 == "export-add" && state != "empty";
                        let ahead = target.id.0.checked_sub(1).map(CsId);
                        let found = self.snapshot().step_objects(run.id, step.number, counter, ahead, 1)?;
                        let names_it = |object: &crate::store::StepObject| {
                            object.id == target.id && (whole || object.changes.iter().any(|change| change.attribute == *name))
                        };
                        if found.iter().any(names_it) {
                            return Ok(Some((run.id, WhyRun::of(run))));
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// The first import of the target behind the run that sent.
    fn confirmed(&self, connector: ConnectorId, sent: RunId) -> Result<Option<WhyRun>, ServiceError> {
        let next = self.snapshot().next_run()?;
        for number in sent.0 + 1..next.0.min(sent.0 + 1 + RUNS as u64) {
            let Some(run) = self.snapshot().run(RunId(number))? else { continue };
            let imports = |kind: StepKind| matches!(kind, StepKind::FullImport | StepKind::DeltaImport);
            let read =
                run.steps.iter().any(|step| imports(step.kind) && (step.result.0 == "success" || step.result.0.starts_with("completed")));
            if run.connector == connector && read {
                return Ok(Some(WhyRun::of(&run)));
            }
        }
        Ok(None)
    }
}

impl WhyRun {
    fn of(run: &RunRecord) -> Self {
        Self { number: run.id.0, connector: run.connector_name.clone(), profile: run.profile.clone(), started: run.started.to_string() }
    }
}

/// What is under way for an attribute of a target object.
fn state_of(object: &CsObject, rows: &[CsReference], attr: AttrId) -> &'static str {
    let values = object.values.attribute(attr).map(|item| ValueState(item.flags));
    let states: Vec<ValueState> = values.chain(rows.iter().filter(|row| row.attr == attr).map(|row| row.state)).collect();
    let touched = |stage| states.iter().any(|state| state.touched(stage));
    if touched(Stage::PendingExport) {
        "pending"
    } else if touched(Stage::InProgress) {
        "in-progress"
    } else if touched(Stage::Unconfirmed) {
        "unconfirmed"
    } else if states.iter().any(|state| state.present(StageMask::WANTED)) {
        "confirmed"
    } else {
        "empty"
    }
}

/// The run that was at work at a moment. Runs are numbered in the order of their beginning, so that halving finds it.
fn run_at(snapshot: &Snapshot, moment: Timestamp) -> Result<Option<RunRecord>, StoreError> {
    // The newest run up to a number; older ones may be forgotten already.
    let up_to = |number: u64| snapshot.runs(Some(RunId(number + 1)), 1).map(|mut runs| runs.pop());
    let (mut low, mut high) = (0, snapshot.next_run()?.0);
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        if up_to(middle)?.is_none_or(|run| run.started <= moment) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(up_to(low)?.filter(|run| run.started <= moment && run.ended.is_none_or(|ended| moment <= ended)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ChangeSet, RunResult, Store};

    #[test]
    fn the_run_of_a_moment_is_found_while_the_history_has_it() {
        let store = Store::in_memory().unwrap();
        let mut changes = ChangeSet::new();
        // 1 to 9 are forgotten; 10 to 40 took two seconds each, with a pause of three.
        for number in 10..=40_i64 {
            changes.runs.push(RunRecord {
                id: RunId(number.unsigned_abs()),
                cycle: None,
                connector: ConnectorId(1),
                connector_name: "x".to_owned(),
                profile: "Full Synchronization".to_owned(),
                started: Timestamp::from_seconds(number * 5),
                ended: Some(Timestamp::from_seconds(number * 5 + 2)),
                result: RunResult(Cow::Borrowed("success")),
                steps: Vec::new(),
            });
        }
        store.apply(changes).unwrap();
        let snapshot = store.snapshot().unwrap();
        let found = |second| run_at(&snapshot, Timestamp::from_seconds(second)).unwrap().map(|run| run.id.0);
        assert_eq!([50, 51, 52, 101, 200, 202].map(found), [Some(10), Some(10), Some(10), Some(20), Some(40), Some(40)]);
        assert_eq!([49, 53, 203, 0].map(found), [None; 4]);
    }
}
