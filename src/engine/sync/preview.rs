//! What synchronization would do with one object, told step by step and written nowhere. The same code as the step
//! itself, without the transaction.

use super::batch::{Batch, Sleepers, plan_units};
use super::book::Rulebook;
use super::draft::TargetEvent;
use super::image::CsImage;
use super::plan::{shown, value_delta};
use super::step::indexed_attributes;
use super::trace::{contribution, inbound_rules, outbound_rules, want};
use super::unit::{Decree, Inbound, Unit};
use super::view::{Footprints, JoinIndex};
use crate::engine::describe::emptied;
use crate::model::{
    AttrId, ConnectorId, CsId, CsObject, CsReference, DeltaKind, FlatValues, Lineage, Link, MvId, MvObject, ObjectErrorCode, RuleId, Stage,
    ValueState,
};
use crate::rules::{AttributeTrace, LinkType, RuleSet, RuleTrace, RunParameters};
use crate::store::{AttributeDelta, DirtyReason, Snapshot, Store, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Objects read at a time when join values have to be read into memory.
const PAGE: usize = 2_000;

/// What synchronization would do with one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// The object.
    pub id: CsId,
    /// Its name.
    pub dn: String,
    /// Its link now.
    pub link: Link,
    /// Its link afterwards; `None` when the object would be gone.
    pub link_after: Option<Link>,
    /// The inbound rules in scope, by precedence.
    pub scope: Vec<PreviewRule>,
    /// What would happen to it.
    pub decision: PreviewDecision,
    /// The metaverse object it is linked to afterwards, or was before.
    pub metaverse: Option<MvId>,
    /// The metaverse object's attributes with their winners, afterwards.
    pub flows: Vec<PreviewFlow>,
    /// The metaverse object now.
    pub before: Option<MvObject>,
    /// The metaverse object afterwards.
    pub after: Option<MvObject>,
    /// The enabled inbound rules for objects of its connector and type, in scope or not, by precedence.
    pub inbound: Vec<RuleTrace>,
    /// The enabled outbound rules for the metaverse object, in scope or not, by precedence.
    pub outbound: Vec<RuleTrace>,
    /// How the attributes of the metaverse object are decided, with everyone who was asked.
    pub attributes: Vec<AttributeTrace>,
    /// What changes in it.
    pub changes: Vec<AttributeDelta>,
    /// The target objects looked at.
    pub targets: Vec<PreviewTarget>,
    /// Other objects that would be evaluated after it.
    pub consequences: Vec<(CsId, DirtyReason)>,
    /// The problem that would stop it; then nothing of the above but scope is meant.
    pub problem: Option<(ObjectErrorCode, String)>,
}

/// A rule in scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewRule {
    /// The rule.
    pub id: RuleId,
    /// Its name.
    pub name: String,
    /// What it does to links.
    pub link: LinkType,
    /// It has join criteria.
    pub joins: bool,
}

/// What would happen to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviewDecision {
    /// It is a placeholder, which is never looked at.
    Placeholder,
    /// No rule wants it.
    Filtered,
    /// It finds no partner and makes none.
    Remains,
    /// It is joined.
    Joins,
    /// It becomes a new metaverse object.
    Projects,
    /// It stays linked.
    StaysLinked,
    /// It leaves scope and is disconnected.
    LeavesScope,
    /// It is gone from its directory.
    Deleted,
    /// It became another type and is evaluated as a new object.
    Retyped,
    /// A problem stops it.
    Fails,
}

/// An attribute of the metaverse object and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewFlow {
    /// The attribute's name.
    pub attribute: String,
    /// Its values from this contributor, shortened; for references how many there are.
    pub values: Vec<String>,
    /// The rule whose flow gave them.
    pub rule: String,
    /// The object that gave them.
    pub source: CsId,
    /// That object's name.
    pub source_dn: String,
}

/// A target object and what would be exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewTarget {
    /// The target.
    pub connector: ConnectorId,
    /// The object; one that does not exist yet has the number it would get.
    pub id: CsId,
    /// Its name, as wanted.
    pub dn: String,
    /// What the pending export does to it afterwards.
    pub pending: DeltaKind,
    /// The wanted changes of values.
    pub changes: Vec<AttributeDelta>,
    /// The wanted changes of references: attribute, name of the object referred to, added or removed.
    pub references: Vec<(String, String, bool)>,
    /// Attributes that have values there now and would have none.
    pub emptied: Vec<String>,
    /// How its attributes are decided; empty when it goes.
    pub attributes: Vec<AttributeTrace>,
    /// The object would be let go without being deleted.
    pub released: bool,
}

/// Looks ahead for one object. `full` also compares targets of a metaverse object that does not change. Writes nothing:
/// where the store lacks an index that joins need, the join values are read into memory.
pub fn preview(store: &Store, rules: &RuleSet, parameters: &RunParameters, id: CsId, full: bool) -> Result<Option<Preview>, StoreError> {
    look_ahead(store, rules, parameters, id, full, None)
}

/// As [`preview`], of what an administrator might decide about the object.
pub fn preview_decree(
    store: &Store,
    rules: &RuleSet,
    parameters: &RunParameters,
    (id, decree): (CsId, Decree),
) -> Result<Option<Preview>, StoreError> {
    look_ahead(store, rules, parameters, id, false, Some(decree))
}

fn look_ahead(
    store: &Store,
    rules: &RuleSet,
    parameters: &RunParameters,
    id: CsId,
    full: bool,
    decree: Option<Decree>,
) -> Result<Option<Preview>, StoreError> {
    let names = Arc::clone(store.names());
    let mut book = Rulebook::new(rules, parameters, &names, id.connector(), full);
    book.everything = false;
    let (metaverse, spaces) = indexed_attributes(rules);
    let snapshot = store.snapshot()?;
    let Some(object) = snapshot.cs_object(id)? else { return Ok(None) };
    let link = object.link;
    let index = if store.has_indexes(&metaverse, &spaces)? { None } else { Some(read_join_values(&snapshot, &metaverse, &spaces)?) };
    let unit = Unit { object: Arc::new(object.clone()), dirty: None, decree };
    let plans = plan_units(&book, &snapshot, index.as_ref(), vec![unit])?;
    let batch = Batch::lay_down(&book, &snapshot, index.as_ref(), &mut Sleepers::default(), plans, &Footprints::default())?;
    let view = batch.view();
    let scope = {
        let image = CsImage::new(&view, &object, None);
        rules.inbound_scope(id.connector(), &image, parameters)
    };
    let scope = scope.map(|scope| scope.rules).unwrap_or_default();
    let record = batch.units.first();
    let problem = batch.problems.first().map(|problem| (problem.code.clone(), problem.detail.clone()));
    let decision = match record.map(|record| record.inbound) {
        Some(inbound) => decision_of(inbound),
        None if problem.is_some() => PreviewDecision::Fails,
        None => PreviewDecision::Placeholder,
    };
    let metaverse = record.and_then(|record| record.metaverse);
    let before = match metaverse {
        Some(mv) => snapshot.mv_object(mv)?,
        None => None,
    };
    let after = match metaverse {
        Some(mv) => view.mv(mv)?.map(|object| object.as_ref().clone()),
        None => None,
    };
    let none = FlatValues::default();
    let changes =
        value_delta(&book, before.as_ref().map_or(&none, |object| &object.values), after.as_ref().map_or(&none, |object| &object.values));
    let mut targets: Vec<CsId> = record.map(|record| record.events.iter().map(|(id, _)| *id).collect()).unwrap_or_default();
    targets.extend(batch.moved_targets.keys());
    targets.sort_unstable();
    targets.dedup();
    let released = |id: CsId| {
        let events = record.map_or(&[][..], |record| record.events.as_slice());
        events.iter().any(|(target, event)| *target == id && *event == TargetEvent::Disconnected)
    };
    let mv = after.as_ref();
    let targets = targets.into_iter().map(|id| target_of(&batch, id, mv, released(id))).collect::<Result<Vec<_>, _>>()?;
    let flows = match &after {
        Some(object) => flows_of(&batch, object)?,
        None => Vec::new(),
    };
    let linked_now = matches!(decision, PreviewDecision::Joins | PreviewDecision::Projects | PreviewDecision::Retyped).then_some(id);
    let attributes = match &after {
        Some(object) => contribution(&book, &view, object.id, before.as_ref(), linked_now, None)?,
        None => Vec::new(),
    };
    let inbound = inbound_rules(&book, &view, &object);
    let outbound = after.as_ref().or(before.as_ref()).map(|object| outbound_rules(&book, &view, object)).unwrap_or_default();
    batch.failure.take()?;
    Ok(Some(Preview {
        id,
        dn: object.dn.to_string(),
        link,
        link_after: view.cs(id)?.map(|object| object.link),
        scope: scope
            .iter()
            .map(|rule| PreviewRule { id: rule.id, name: book.rule_name(rule.id), link: rule.link, joins: rule.joins })
            .collect(),
        decision,
        metaverse,
        flows,
        before,
        after,
        inbound,
        outbound,
        attributes,
        changes,
        targets,
        consequences: batch.dirty.iter().filter_map(|(id, reason)| reason.map(|reason| (*id, reason))).collect(),
        problem,
    }))
}

/// All join values, from the objects themselves.
fn read_join_values(snapshot: &Snapshot, metaverse: &[AttrId], spaces: &[(ConnectorId, AttrId)]) -> Result<JoinIndex, StoreError> {
    let mut index = JoinIndex::default();
    let mut after = None;
    loop {
        let objects = snapshot.mv_scan(after, PAGE)?;
        let Some(last) = objects.last() else { break };
        after = Some(last.id);
        for object in &objects {
            index.insert_object(object, metaverse);
        }
    }
    let mut by_connector: BTreeMap<ConnectorId, Vec<AttrId>> = BTreeMap::new();
    for (connector, attr) in spaces {
        by_connector.entry(*connector).or_default().push(*attr);
    }
    for (connector, attributes) in by_connector {
        let mut after = None;
        loop {
            let objects = snapshot.cs_scan(connector, after, PAGE)?;
            let Some(last) = objects.last() else { break };
            after = Some(last.id);
            for object in &objects {
                index.insert_space_object(object, &attributes);
            }
        }
    }
    Ok(index)
}

fn decision_of(inbound: Inbound) -> PreviewDecision {
    match inbound {
        Inbound::Placeholder => PreviewDecision::Placeholder,
        Inbound::Filtered => PreviewDecision::Filtered,
        Inbound::Remains => PreviewDecision::Remains,
        Inbound::Joined => PreviewDecision::Joins,
        Inbound::Projected => PreviewDecision::Projects,
        Inbound::LeftScope => PreviewDecision::LeavesScope,
        Inbound::Connected => PreviewDecision::StaysLinked,
        Inbound::Deleted => PreviewDecision::Deleted,
        Inbound::Retyped => PreviewDecision::Retyped,
    }
}

fn flows_of(batch: &Batch<'_>, object: &MvObject) -> Result<Vec<PreviewFlow>, StoreError> {
    let view = batch.view();
    let references = view.mv_rows(object.id)?;
    let mut flows = Vec::with_capacity(object.lineage.len());
    let mut last: Option<AttrId> = None;
    let mut index = 0u8;
    for Lineage { attr, rule, source, .. } in &object.lineage {
        index = if last.replace(*attr) == Some(*attr) { index.saturating_add(1) } else { 0 };
        let mut values: Vec<String> =
            object.values.attribute(*attr).filter(|item| item.flags == index).map(|item| shown(item.value)).collect();
        let count = references.iter().filter(|row| row.attr == *attr && row.contributor == index).count();
        if count > 0 {
            values.push(format!("{count} references"));
        }
        let source_dn = view.cs(*source)?.map(|object| object.dn.to_string()).unwrap_or_default();
        let attribute = batch.book.names.name(*attr).to_string();
        flows.push(PreviewFlow { attribute, values, rule: batch.book.rule_name(*rule), source: *source, source_dn });
    }
    Ok(flows)
}

fn target_of(batch: &Batch<'_>, id: CsId, mv: Option<&MvObject>, disconnected: bool) -> Result<PreviewTarget, StoreError> {
    let view = batch.view();
    let object: Option<Arc<CsObject>> = view.cs(id)?;
    let rows: Vec<CsReference> = if object.is_some() { view.cs_rows(id)? } else { Vec::new() };
    let mut references = Vec::new();
    for row in rows.iter().filter(|row| row.state.touched(Stage::PendingExport)) {
        let name = view.cs(row.target)?.map_or_else(|| row.target.to_string(), |target| target.dn.to_string());
        references.push((batch.book.names.name(row.attr).to_string(), name, row.state.added(Stage::PendingExport)));
    }
    let pending = object.as_ref().map_or(DeltaKind::None, |object| object.stage(Stage::PendingExport).kind);
    let rename = object.as_ref().and_then(|object| object.stage(Stage::PendingExport).rename.clone());
    let dn = rename.or_else(|| object.as_ref().map(|object| object.dn.clone())).map(String::from).unwrap_or_default();
    let mut changes = Vec::new();
    for attr in object.iter().flat_map(|object| object.values.attributes()) {
        let values = object.as_ref().map(|object| object.values.attribute(attr)).into_iter().flatten();
        let mut delta = AttributeDelta { attribute: batch.book.names.name(attr).to_string(), removed: Vec::new(), added: Vec::new() };
        for item in values {
            let state = ValueState(item.flags);
            if state.added(Stage::PendingExport) {
                delta.added.push(shown(item.value));
            } else if state.removed(Stage::PendingExport) {
                delta.removed.push(shown(item.value));
            }
        }
        if !delta.added.is_empty() || !delta.removed.is_empty() {
            changes.push(delta);
        }
    }
    let released = disconnected && pending != DeltaKind::Delete;
    let emptied = object.as_ref().map(|object| emptied(batch.book.names, object, &rows)).unwrap_or_default();
    let attributes = match (&object, mv) {
        (Some(object), Some(mv)) if object.link.mv() == Some(mv.id) => want(batch.book, &view, mv, object, None),
        _ => Vec::new(),
    };
    Ok(PreviewTarget { connector: id.connector(), id, dn, pending, changes, references, emptied, attributes, released })
}
