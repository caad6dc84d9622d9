//! Rules that can never apply, and flows that never count.

use super::super::problem::RuleProblem;
use super::super::{Direction, FlowSource, MergeType, RuleSet, ScopeClause, ScopeOperator, SyncRule};
use super::warning;
use crate::model::AttrId;
use std::collections::HashSet;

/// Names rules whose scope nothing can be in, and flows that an earlier constant always outdoes.
pub(super) fn find(set: &RuleSet, found: &mut Vec<RuleProblem>) {
    let filled: HashSet<AttrId> =
        set.rules.iter().filter(|rule| rule.direction == Direction::Inbound).flat_map(|rule| &rule.flows).map(|flow| flow.target).collect();
    for (index, rule) in set.rules.iter().enumerate() {
        let groups = &rule.scope.0;
        if !groups.is_empty() && groups.iter().all(|group| is_impossible(group)) {
            let message = "the rule never applies: its conditions exclude each other".to_owned();
            found.push(warning(rule, message, "alternatives are groups of their own: [[{ … }], [{ … }]]"));
            continue;
        }
        // Built-in rules also ask for what only an administrator's rule fills.
        if rule.direction == Direction::Outbound && rule.tag.is_none() && !groups.is_empty() {
            let unfilled = |clause: &&ScopeClause| asks_for_value(clause) && !filled.contains(&clause.attr);
            let missing: Vec<Option<&ScopeClause>> = groups.iter().map(|group| group.iter().find(unfilled)).collect();
            if let Some(Some(clause)) = missing.iter().find(|found| found.is_some()).filter(|_| missing.iter().all(Option::is_some)) {
                let message = format!("the rule never applies: no rule gives {} a value", set.names.name(clause.attr));
                found.push(warning(rule, message, "add an inbound flow to the attribute, or remove the condition"));
                continue;
            }
        }
        // That an administrator's constant outdoes a built-in flow is what it is for.
        if rule.tag.is_none() {
            outdone(set, index, rule, found);
        }
    }
}

/// Flows into an attribute that an earlier rule of a wider scope gives a constant.
fn outdone(set: &RuleSet, index: usize, rule: &SyncRule, found: &mut Vec<RuleProblem>) {
    let wider = |other: &&SyncRule| {
        (other.direction, other.connector, other.cs_type, other.mv_type) == (rule.direction, rule.connector, rule.cs_type, rule.mv_type)
            && includes(other, rule)
    };
    for other in set.rules[..index].iter().filter(wider) {
        for flow in rule.flows.iter().filter(|flow| flow.merge == MergeType::Update) {
            let constant = |earlier: &&super::super::Flow| {
                earlier.target == flow.target && !earlier.once && matches!(earlier.source, FlowSource::Constant(_))
            };
            if other.flows.iter().any(|earlier| constant(&earlier)) {
                let message =
                    format!("the flow to {} never counts: rule \"{}\" gives it a constant before", set.names.name(flow.target), other.name);
                found.push(warning(rule, message, "give the rule a lower order, or remove the flow"));
            }
        }
    }
}

/// True when every object in the scope of `inner` is in the scope of `outer`, as far as equal clauses tell.
fn includes(outer: &SyncRule, inner: &SyncRule) -> bool {
    let same = |one: &ScopeClause, other: &ScopeClause| {
        one.attr == other.attr && one.operator == other.operator && one.value.eq_ignore_ascii_case(&other.value)
    };
    let covered =
        |group: &[ScopeClause]| outer.scope.0.iter().any(|wide| wide.iter().all(|clause| group.iter().any(|other| same(clause, other))));
    if outer.scope.0.is_empty() {
        return true;
    }
    !inner.scope.0.is_empty() && inner.scope.0.iter().all(|group| covered(group))
}

/// True when no object fulfils all clauses.
fn is_impossible(group: &[ScopeClause]) -> bool {
    let contradicts = |one: &ScopeClause, other: &ScopeClause| {
        one.attr == other.attr
            && match (one.operator, other.operator) {
                (ScopeOperator::IsNull, _) => asks_for_value(other),
                (ScopeOperator::Equal, ScopeOperator::NotEqual)
                | (ScopeOperator::IsIn, ScopeOperator::IsNotIn)
                | (ScopeOperator::Contains, ScopeOperator::NotContains)
                | (ScopeOperator::StartsWith, ScopeOperator::NotStartsWith)
                | (ScopeOperator::EndsWith, ScopeOperator::NotEndsWith)
                | (ScopeOperator::IsBitSet, ScopeOperator::IsNotBitSet)
                | (ScopeOperator::IsMemberOf, ScopeOperator::IsNotMemberOf) => one.value.eq_ignore_ascii_case(&other.value),
                _ => false,
            }
    };
    group.iter().any(|one| group.iter().any(|other| contradicts(one, other)))
}

/// True for tests that an absent attribute fails.
fn asks_for_value(clause: &ScopeClause) -> bool {
    !super::super::scope::test_of(clause.operator).1
}
