//! Rules compared: which one is which, what it says, and where it stands.

use super::{Change, ClauseLine, Fields, GroupChange, ItemChange, LineMark, PrecedenceChange, RuleChange, compare_fields, items};
use crate::rules::{PlainClause, PlainFlow, PlainJoin, PlainRule, PlainSource};
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};

/// Compares two sets of rules, both by precedence.
pub(super) fn compare(old: &[PlainRule], new: &[PlainRule]) -> Vec<RuleChange> {
    let pairs = pairs(old, new);
    let moved = moved(old, new, &pairs);
    let mut changes: Vec<(u32, RuleChange)> = Vec::new();
    let known: HashSet<usize> = pairs.iter().map(|(before, _)| *before).collect();
    for rule in old.iter().enumerate().filter(|(position, _)| !known.contains(position)).map(|(_, rule)| rule) {
        changes.push((rule.order, whole(rule, Change::Removed)));
    }
    let partner: HashMap<usize, usize> = pairs.into_iter().map(|(before, after)| (after, before)).collect();
    for (position, rule) in new.iter().enumerate() {
        match partner.get(&position).and_then(|before| old.get(*before)) {
            None => changes.push((rule.order, whole(rule, Change::Added))),
            Some(before) => {
                let change = rule_change(before, rule, moved.contains(&position));
                changes.extend(change.map(|change| (rule.order, change)));
            }
        }
    }
    changes.sort_by_key(|(order, _)| *order);
    changes.into_iter().map(|(_, change)| change).collect()
}

/// Positions of rules that are the same one: by tag (or name, without a tag) and connector; what is left over, by
/// name and connector, so that a rule that lost its tag is a changed one.
fn pairs(old: &[PlainRule], new: &[PlainRule]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let (mut old_open, mut new_open): (Vec<usize>, Vec<usize>) = ((0..old.len()).collect(), (0..new.len()).collect());
    let by_tag: fn(&PlainRule) -> (&str, &str) = |rule| (rule.tag.as_deref().unwrap_or(&rule.name), &rule.connector);
    let by_name: fn(&PlainRule) -> (&str, &str) = |rule| (&rule.name, &rule.connector);
    for key in [by_tag, by_name] {
        let places: HashMap<(&str, &str), usize> = new_open.iter().map(|position| (key(&new[*position]), *position)).collect();
        let mut taken = HashSet::new();
        old_open.retain(|position| match places.get(&key(&old[*position])) {
            Some(found) if taken.insert(*found) => {
                pairs.push((*position, *found));
                false
            }
            _ => true,
        });
        new_open.retain(|position| !taken.contains(position));
    }
    pairs
}

/// The positions (in the new set) of rules that went past others of their direction: those outside of the longest
/// sequence that kept its order.
fn moved(old: &[PlainRule], new: &[PlainRule], pairs: &[(usize, usize)]) -> HashSet<usize> {
    let mut found = HashSet::new();
    let mut directions: HashMap<_, Vec<(usize, usize)>> = HashMap::new();
    for (before, after) in pairs {
        directions.entry(new[*after].direction).or_default().push((*before, *after));
    }
    for mut list in directions.into_values() {
        list.sort_by_key(|(before, after)| (old[*before].order, *before, *after));
        let places: Vec<(u32, usize)> = list.iter().map(|(_, after)| (new[*after].order, *after)).collect();
        let kept = longest_rising(&places);
        found.extend(list.iter().enumerate().filter(|(index, _)| !kept.contains(index)).map(|(_, (_, after))| *after));
    }
    found
}

/// Indexes of a longest rising subsequence (patience sorting: the ends of the best sequences of each length).
fn longest_rising<T: Ord>(values: &[T]) -> HashSet<usize> {
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let length = ends.partition_point(|end| values[*end] < *value);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        if length == ends.len() {
            ends.push(index);
        } else {
            ends[length] = index;
        }
    }
    std::iter::successors(ends.last().copied(), |index| before[*index]).collect()
}

/// A rule that came or went, with everything that it says.
fn whole(rule: &PlainRule, change: Change) -> RuleChange {
    let mut fields = fields(rule);
    fields.push(("precedence".to_owned(), Json::from(rule.order)));
    let nothing = Fields::new();
    let came = change == Change::Added;
    let mark = if came { LineMark::Added } else { LineMark::Removed };
    let group = |clauses: Vec<String>| GroupChange { change, clauses: clauses.into_iter().map(|text| ClauseLine { mark, text }).collect() };
    let (old_flows, new_flows): (&[PlainFlow], &[PlainFlow]) = if came { (&[], &rule.flows) } else { (&rule.flows, &[]) };
    RuleChange {
        change,
        name: rule.name.clone(),
        connector: rule.connector.clone(),
        tag: rule.tag.clone(),
        fields: if came { compare_fields(&nothing, &fields) } else { compare_fields(&fields, &nothing) },
        precedence: None,
        scope: texts(&rule.scope, clause_text).into_iter().map(group).collect(),
        join: texts(&rule.join, join_text).into_iter().map(group).collect(),
        join_reordered: false,
        flows: flows(old_flows, new_flows),
    }
}

fn rule_change(old: &PlainRule, new: &PlainRule, moved: bool) -> Option<RuleChange> {
    let (old_join, new_join) = (texts(&old.join, join_text), texts(&new.join, join_text));
    let change = RuleChange {
        change: Change::Changed,
        name: new.name.clone(),
        connector: new.connector.clone(),
        tag: new.tag.clone(),
        fields: compare_fields(&fields(old), &fields(new)),
        precedence: (moved || old.order != new.order).then_some(PrecedenceChange { old: old.order, new: new.order, moved }),
        scope: groups(texts(&old.scope, clause_text), texts(&new.scope, clause_text)),
        join_reordered: reordered(&old_join, &new_join),
        join: groups(old_join, new_join),
        flows: flows(&old.flows, &new.flows),
    };
    let same = change.fields.is_empty()
        && change.precedence.is_none()
        && change.scope.is_empty()
        && change.join.is_empty()
        && !change.join_reordered
        && change.flows.is_empty();
    (!same).then_some(change)
}

/// The keys of a rule that have one value each; as in files, what is false or empty is left out.
fn fields(rule: &PlainRule) -> Fields {
    let mut fields = vec![("name".to_owned(), Json::from(rule.name.as_str()))];
    let mut add = |key: &str, value: Json| fields.push((key.to_owned(), value));
    if !rule.description.is_empty() {
        add("description", Json::from(rule.description.as_str()));
    }
    if let Some(tag) = &rule.tag {
        add("tag", Json::from(tag.as_str()));
    }
    add("direction", Json::from(rule.direction.as_str()));
    add("cs_type", Json::from(rule.cs_type.as_str()));
    add("mv_type", Json::from(rule.mv_type.as_str()));
    add("link", Json::from(rule.link.as_str()));
    add("enabled", Json::from(rule.enabled));
    if rule.password_sync {
        add("password_sync", Json::Bool(true));
    }
    fields
}

fn flows(old: &[PlainFlow], new: &[PlainFlow]) -> Vec<ItemChange> {
    items(old, new, |flow| flow.target.as_str(), flow_fields)
}

/// A flow's keys as files spell them; what is the default is left out.
fn flow_fields(flow: &PlainFlow) -> Fields {
    use crate::model::Value;
    let source = match &flow.source {
        PlainSource::Direct(attribute) => ("from", Json::from(attribute.as_str())),
        PlainSource::Expression(text) => ("expr", Json::from(text.as_str())),
        PlainSource::Constant(Value::Boolean(value)) => ("constant", Json::from(*value)),
        PlainSource::Constant(Value::Number(value)) => ("constant", Json::from(*value)),
        PlainSource::Constant(Value::Text(value)) => ("constant", Json::from(value.as_ref())),
        PlainSource::Constant(other) => ("constant", Json::from(format!("{other:?}"))),
    };
    let mut fields = vec![(source.0.to_owned(), source.1)];
    let mut add = |key: &str, value: Json| fields.push((key.to_owned(), value));
    if flow.once {
        add("once", Json::Bool(true));
    }
    if flow.merge != crate::rules::MergeType::Update {
        add("merge", Json::from(flow.merge.as_str()));
    }
    if flow.keep_when_absent {
        add("when_source_absent", Json::from("keep"));
    }
    if flow.exact {
        add("compare", Json::from("binary"));
    }
    fields
}

fn texts<T>(groups: &[Vec<T>], text: fn(&T) -> String) -> Vec<Vec<String>> {
    groups.iter().map(|group| group.iter().map(text).collect()).collect()
}

fn clause_text(clause: &PlainClause) -> String {
    if clause.operator.takes_value() {
        format!("{} {} {}", clause.attribute, clause.operator.as_str(), Json::from(clause.value.as_str()))
    } else {
        format!("{} {}", clause.attribute, clause.operator.as_str())
    }
}

fn join_text(pair: &PlainJoin) -> String {
    format!("{} = {}{}", pair.cs, pair.mv, if pair.case_sensitive { " (case-sensitive)" } else { "" })
}

/// The same clauses, in whatever order: all of them must hold.
fn same_group(left: &[String], right: &[String]) -> bool {
    left.len() == right.len() && left.iter().all(|clause| right.contains(clause)) && right.iter().all(|clause| left.contains(clause))
}

/// Groups that differ: equal ones are set aside, of the others those with the most common clauses belong together.
fn groups(old: Vec<Vec<String>>, new: Vec<Vec<String>>) -> Vec<GroupChange> {
    let mut new: Vec<Vec<String>> = new;
    let mut old: Vec<Vec<String>> = old;
    old.retain(|group| match new.iter().position(|other| same_group(group, other)) {
        Some(position) => {
            new.remove(position);
            false
        }
        None => true,
    });
    let mut changes = Vec::new();
    for group in old {
        let common = |other: &Vec<String>| group.iter().filter(|clause| other.contains(clause)).count();
        let best =
            new.iter().enumerate().filter(|(_, other)| common(other) > 0).max_by_key(|(index, other)| (common(other), usize::MAX - index));
        let best = best.map(|(index, _)| index);
        let partner = best.map(|index| new.remove(index));
        let change = if partner.is_some() { Change::Changed } else { Change::Removed };
        let partner = partner.unwrap_or_default();
        let mark = |clause: &String| if partner.contains(clause) { LineMark::Same } else { LineMark::Removed };
        let mut clauses: Vec<ClauseLine> = group.iter().map(|clause| ClauseLine { mark: mark(clause), text: clause.clone() }).collect();
        let came = partner.iter().filter(|clause| !group.contains(clause));
        clauses.extend(came.map(|clause| ClauseLine { mark: LineMark::Added, text: clause.clone() }));
        changes.push(GroupChange { change, clauses });
    }
    for group in new {
        let clauses = group.into_iter().map(|text| ClauseLine { mark: LineMark::Added, text }).collect();
        changes.push(GroupChange { change: Change::Added, clauses });
    }
    changes
}

/// True when the groups that both sides have stand in another order.
fn reordered(old: &[Vec<String>], new: &[Vec<String>]) -> bool {
    let places: Vec<usize> = old.iter().filter_map(|group| new.iter().position(|other| same_group(group, other))).collect();
    !places.is_sorted()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Value;
    use crate::rules::{Direction, LinkType, MergeType, ScopeOperator};

    fn rule(name: &str, order: u32) -> PlainRule {
        PlainRule {
            name: name.to_owned(),
            description: String::new(),
            tag: None,
            direction: Direction::Inbound,
            connector: "corp".to_owned(),
            cs_type: "user".to_owned(),
            mv_type: "person".to_owned(),
            link: LinkType::Join,
            order,
            password_sync: false,
            enabled: true,
            scope: Vec::new(),
            join: Vec::new(),
            flows: Vec::new(),
        }
    }

    fn clause(attribute: &str, value: &str) -> PlainClause {
        PlainClause { attribute: attribute.to_owned(), operator: ScopeOperator::Equal, value: value.to_owned() }
    }

    fn flow(target: &str, source: PlainSource) -> PlainFlow {
        PlainFlow { target: target.to_owned(), source, once: false, merge: MergeType::Update, keep_when_absent: false, exact: false }
    }

    fn marks(changes: &[GroupChange]) -> String {
        let mark = |mark| match mark {
            LineMark::Same => ' ',
            LineMark::Added => '+',
            LineMark::Removed => '-',
        };
        let lines: Vec<String> =
            changes.iter().flat_map(|group| &group.clauses).map(|line| format!("{}{};", mark(line.mark), line.text)).collect();
        lines.concat()
    }

    #[test]
    fn equal_rules_give_nothing_whatever_the_order_of_clauses() {
        let mut old = rule("a", 10);
        old.scope = vec![vec![clause("x", "1"), clause("y", "2")], vec![clause("z", "3")]];
        let mut new = old.clone();
        new.scope = vec![vec![clause("z", "3")], vec![clause("y", "2"), clause("x", "1")]];
        assert_eq!(compare(&[old], &[new]), []);
    }

    #[test]
    fn a_rule_that_went_past_another_moved_and_the_others_did_not() {
        let old = [rule("a", 10), rule("b", 11), rule("c", 12), rule("d", 13)];
        let new = [rule("d", 9), rule("a", 10), rule("b", 11), rule("c", 14)];
        let changes = compare(&old, &new);
        let shown: Vec<_> = changes.iter().map(|change| (change.name.as_str(), change.precedence.unwrap().moved)).collect();
        assert_eq!(shown, [("d", true), ("c", false)]);
        assert!(!changes[0].only_renumbered() && changes[1].only_renumbered());
    }

    #[test]
    fn rules_are_known_by_tag_then_by_name_and_always_by_connector() {
        let tagged = PlainRule { tag: Some("t".to_owned()), ..rule("old name", 10) };
        let renamed = PlainRule { tag: Some("t".to_owned()), ..rule("new name", 10) };
        let changes = compare(std::slice::from_ref(&tagged), &[renamed]);
        assert_eq!((changes.len(), changes[0].change, changes[0].fields[0].key.as_str()), (1, Change::Changed, "name"));
        let without = rule("old name", 10);
        let changes = compare(std::slice::from_ref(&tagged), &[without]);
        assert_eq!((changes.len(), changes[0].fields[0].key.as_str()), (1, "tag"));
        let elsewhere = PlainRule { connector: "other".to_owned(), ..tagged.clone() };
        let changes = compare(&[tagged], &[elsewhere]);
        assert_eq!(changes.iter().map(|change| change.change).collect::<Vec<_>>(), [Change::Removed, Change::Added]);
    }

    #[test]
    fn scopes_and_joins_are_compared_clause_by_clause() {
        let mut old = rule("a", 10);
        old.scope = vec![vec![clause("x", "1"), clause("y", "2")], vec![clause("gone", "1")]];
        let pair = |cs: &str| vec![PlainJoin { cs: cs.to_owned(), mv: cs.to_owned(), case_sensitive: false }];
        old.join = vec![pair("mail"), pair("uid")];
        let mut new = old.clone();
        new.scope = vec![vec![clause("x", "1"), clause("y", "3")], vec![clause("came", "1")]];
        new.join = vec![pair("uid"), pair("mail")];
        let changes = compare(&[old.clone()], &[new]);
        assert_eq!(marks(&changes[0].scope), " x EQUAL \"1\";-y EQUAL \"2\";+y EQUAL \"3\";-gone EQUAL \"1\";+came EQUAL \"1\";");
        assert!(changes[0].join_reordered && changes[0].join.is_empty());
        let changes = compare(&[], &[old]);
        assert_eq!(marks(&changes[0].join), "+mail = mail;+uid = uid;");
    }

    #[test]
    fn flows_are_compared_key_by_key() {
        let mut old = rule("a", 10);
        old.flows = vec![
            flow("same", PlainSource::Direct("x".to_owned())),
            flow("title", PlainSource::Direct("title".to_owned())),
            flow("gone", PlainSource::Constant(Value::Boolean(true))),
        ];
        let mut new = old.clone();
        new.flows[1].source = PlainSource::Expression("Trim([title])".to_owned());
        new.flows[1].once = true;
        new.flows[2] = flow("came", PlainSource::Constant(Value::Number(5)));
        let changes = compare(&[old], &[new]);
        let shown: Vec<String> = changes[0]
            .flows
            .iter()
            .map(|flow| {
                let fields =
                    flow.fields.iter().map(|field| format!(" {}:{:?}>{:?}", field.key, field.old, field.new)).collect::<Vec<_>>().concat();
                format!("{:?} {}{fields}", flow.change, flow.name)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "Changed title from:Some(String(\"title\"))>None expr:None>Some(String(\"Trim([title])\")) once:None>Some(Bool(true))",
                "Removed gone constant:Some(Bool(true))>None",
                "Added came constant:None>Some(Number(5))",
            ]
        );
    }
}
