//! What is allowed and probably not meant: findings over a whole set of rules.

mod dead;
mod loops;
mod names;
#[cfg(test)]
mod tests;

use super::problem::{RuleProblem, Severity};
use super::{Direction, LinkType, RuleSet, ScopeClause, ScopeOperator, SyncRule};
use std::collections::HashMap;

/// Looks at every rule and at how rules stand to each other.
pub(super) fn lint(set: &RuleSet) -> Vec<RuleProblem> {
    let mut found = Vec::new();
    disagreeing_joins(set, &mut found);
    dead::find(set, &mut found);
    loops::find(set, &mut found);
    names::find(set, &mut found);
    for rule in set.rules() {
        if rule.flows.is_empty() && rule.join.is_empty() && rule.link == LinkType::Join && !rule.password_sync {
            found.push(warning(
                rule,
                "the rule does nothing: no flows, no join, no provisioning".to_owned(),
                "remove it, or add what is missing",
            ));
        }
        if rule.direction == Direction::Outbound && rule.link == LinkType::Provision {
            let names_object = rule.flows.iter().any(|flow| flow.target == crate::model::AttrId::DN);
            let elsewhere = set.rules().iter().any(|other| {
                other.direction == Direction::Outbound
                    && other.connector == rule.connector
                    && other.mv_type == rule.mv_type
                    && other.cs_type == rule.cs_type
                    && other.flows.iter().any(|flow| flow.target == crate::model::AttrId::DN)
            });
            if !names_object && !elsewhere {
                found.push(warning(rule, "the rule provisions objects and nothing flows to dn".to_owned(), "add a flow to dn"));
            }
        }
    }
    found
}

/// Rules of people that join one type of object with criteria that differ from another rule's.
fn disagreeing_joins(set: &RuleSet, found: &mut Vec<RuleProblem>) {
    let mut first: HashMap<_, &SyncRule> = HashMap::new();
    let criteria = |rule: &SyncRule| -> Vec<Vec<_>> {
        rule.join.iter().map(|group| group.iter().map(|clause| (clause.cs, clause.mv, clause.case_sensitive)).collect()).collect()
    };
    for rule in set.rules().iter().filter(|rule| !rule.join.is_empty()) {
        // Outbound, different types are different decisions: a person becomes a user or a contact.
        let key = (rule.connector, rule.direction, rule.cs_type, rule.mv_type);
        match first.get(&key) {
            Some(other) if criteria(other) != criteria(rule) && !exclusive(other, rule) => {
                // It is told of the rule that somebody can change.
                let (told, other) = if rule.tag.is_some() && other.tag.is_none() { (*other, rule) } else { (rule, *other) };
                found.push(warning(
                    told,
                    format!("joins the same objects as rule \"{}\" by other criteria", other.name),
                    "an unlinked object that both send to different partners is an error: let the scopes exclude each other",
                ));
            }
            Some(_) => {}
            None => {
                first.insert(key, rule);
            }
        }
    }
}

/// True when no object can be in both scopes, as far as tests of presence tell.
fn exclusive(left: &SyncRule, right: &SyncRule) -> bool {
    let opposed = |one: &ScopeClause, other: &ScopeClause| {
        one.attr == other.attr
            && matches!(
                (one.operator, other.operator),
                (ScopeOperator::IsNull, ScopeOperator::IsNotNull) | (ScopeOperator::IsNotNull, ScopeOperator::IsNull)
            )
    };
    let apart = |one: &[ScopeClause], other: &[ScopeClause]| one.iter().any(|a| other.iter().any(|b| opposed(a, b)));
    let groups = &left.scope.0;
    !groups.is_empty() && !right.scope.0.is_empty() && groups.iter().all(|one| right.scope.0.iter().all(|other| apart(one, other)))
}

fn warning(rule: &SyncRule, message: String, hint: &str) -> RuleProblem {
    let (file, line) = rule.origin.rsplit_once(':').unwrap_or((rule.origin.as_str(), "0"));
    RuleProblem {
        severity: Severity::Warning,
        file: file.to_owned(),
        line: line.parse().unwrap_or(0),
        column: 1,
        rule: Some(rule.name.clone()),
        message,
        hint: Some(hint.to_owned()),
    }
}
