//! Names that nobody knows and that look like ones that are known. A directory without a declared schema takes every name,
//! and a slip then reads as absent: negative conditions hold for everybody.

use super::super::problem::RuleProblem;
use super::super::{CompiledRule, Direction, RuleSet, SyncRule};
use super::warning;
use crate::model::closest;
use crate::model::{AttrId, ConnectorId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Names likely slips in rules of people, judged by what built-in rules use.
pub(super) fn find(set: &RuleSet, found: &mut Vec<RuleProblem>) {
    let mut known: HashMap<ConnectorId, BTreeSet<Arc<str>>> = HashMap::new();
    let mut types: HashMap<ConnectorId, BTreeSet<Arc<str>>> = HashMap::new();
    let built_in = |(rule, _): &(&SyncRule, &CompiledRule)| rule.tag.is_some() && rule.direction == Direction::Inbound;
    let absent = set.disabled.iter().zip(&set.compiled_disabled);
    for (rule, compiled) in set.rules.iter().zip(&set.compiled).chain(absent).filter(built_in) {
        known.entry(rule.connector).or_default().extend(reads(compiled).map(|attr| set.names.name(attr)));
        types.entry(rule.connector).or_default().insert(set.names.object_type_name(rule.cs_type));
    }
    let sent: BTreeSet<Arc<str>> = set
        .rules
        .iter()
        .filter(|rule| rule.direction == Direction::Outbound)
        .filter_map(|rule| rule.mv_type.map(|kind| set.names.object_type_name(kind)))
        .collect();
    for (rule, compiled) in set.rules.iter().zip(&set.compiled) {
        if rule.tag.is_some() || rule.direction != Direction::Inbound {
            continue;
        }
        let mut report = |what: &str, name: &str, candidates: &BTreeSet<Arc<str>>| {
            let folded = |candidate: &&Arc<str>| candidate.eq_ignore_ascii_case(name);
            if candidates.iter().find(folded).is_none()
                && let Some(close) = closest(name, candidates.iter().map(AsRef::as_ref))
            {
                let message = format!("no built-in rule knows the {what} {name}");
                found.push(warning(
                    rule,
                    message,
                    &format!("did you mean {close}? Where the directory has no such name, it reads as absent"),
                ));
            }
        };
        if let Some(candidates) = known.get(&rule.connector) {
            let own: BTreeSet<AttrId> = reads(compiled).collect();
            for attr in own {
                report("attribute", &set.names.name(attr), candidates);
            }
        }
        if let Some(candidates) = types.get(&rule.connector) {
            report("object type", &set.names.object_type_name(rule.cs_type), candidates);
        }
        if let Some(kind) =
            rule.mv_type.map(|kind| set.names.object_type_name(kind)).filter(|kind| !sent.is_empty() && !sent.contains(kind))
        {
            let known: Vec<&str> = sent.iter().map(AsRef::as_ref).collect();
            let hint = format!("rules that send know {}; objects of another type go nowhere", known.join(", "));
            found.push(warning(rule, format!("no rule sends metaverse objects of the type {kind}"), &hint));
        }
    }
}

/// The attributes of the connector space that an inbound rule reads.
fn reads(compiled: &CompiledRule) -> impl Iterator<Item = AttrId> + '_ {
    let scope = compiled.scope.reads().map(|attribute| attribute.id);
    let join = compiled.join.iter().flatten().map(|clause| clause.own);
    let flows = compiled.flows.iter().flat_map(|flow| flow.source.reads()).map(|attribute| attribute.id);
    scope.chain(join).chain(flows).filter(|attr| *attr != AttrId::DN)
}
