//! Attributes of a directory that are not read any more, and what becomes of the values that they gave.
//!
//! Values of a *left* attribute stay where they are in targets: the flows that read it are gone, and what nobody gives any
//! more to people of that directory is not touched. Values of a *recalled* one go, as if the directory had emptied it.

use super::flow::CompiledFlow;
use super::input::CompileInput;
use super::problem::{RuleProblem, Severity};
use super::{CompiledRule, Direction, RuleSet, SyncRule};
use crate::model::{AttrId, AttributeSource, ConnectorId, Names, ValueKind};
use std::collections::{BTreeMap, BTreeSet};

/// Attributes of the metaverse without which nobody could be told from others, or kept out.
const IDENTITY: [&str; 5] = ["sourceAnchor", "sourceAnchorBinary", "cloudFiltered", "accountEnabled", "userPrincipalName"];

/// What a configuration takes out.
#[derive(Debug, Default)]
pub(super) struct Excluded {
    /// Attributes that are not read, by connector.
    unread: BTreeMap<ConnectorId, BTreeSet<AttrId>>,
    /// Attributes of the metaverse that people of these directories keep in targets although nobody gives them any more.
    left: BTreeMap<AttrId, BTreeSet<ConnectorId>>,
}

impl Excluded {
    /// True for an attribute that the directory is not asked for.
    pub(super) fn has(&self, connector: ConnectorId, attr: AttrId) -> bool {
        self.unread.get(&connector).is_some_and(|unread| unread.contains(&attr))
    }

    /// True when nobody takes anything out.
    pub(super) fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }

    /// Stands for all of it, for the fingerprint of the rules.
    pub(super) fn text(&self, names: &Names) -> String {
        let unread =
            self.unread.iter().map(|(connector, attrs)| (connector, attrs.iter().map(|attr| names.name(*attr)).collect::<Vec<_>>()));
        let left = self.left.iter().map(|(attr, connectors)| (names.name(*attr), connectors));
        format!("{:?} {:?}", unread.collect::<Vec<_>>(), left.collect::<Vec<_>>())
    }

    /// Takes attributes out of compiled rules.
    pub(super) fn take_out<'r>(
        input: &CompileInput<'_>,
        rules: impl Iterator<Item = (&'r SyncRule, &'r mut CompiledRule)>,
        problems: &mut Vec<RuleProblem>,
    ) -> Self {
        let ids = |names: &[String]| names.iter().map(|name| input.names.intern(name)).collect::<BTreeSet<AttrId>>();
        let mut excluded = Self::default();
        let mut left: BTreeMap<ConnectorId, BTreeSet<AttrId>> = BTreeMap::new();
        for connector in input.connectors {
            let (leave, recall) = (ids(&connector.left_attributes), ids(&connector.recalled_attributes));
            if !leave.is_empty() || !recall.is_empty() {
                excluded.unread.insert(connector.id, leave.iter().chain(&recall).copied().collect());
                left.insert(connector.id, leave);
            }
        }
        if excluded.is_empty() {
            return excluded;
        }
        let mut rules: Vec<(&SyncRule, &mut CompiledRule)> = rules.filter(|(rule, _)| rule.enabled).collect();
        // What decides who is in a target: without it everybody would be taken out.
        let mut deciding: BTreeSet<AttrId> = IDENTITY.iter().map(|name| input.names.intern(name)).collect();
        for (_, compiled) in rules.iter().filter(|(rule, _)| rule.direction == Direction::Outbound) {
            deciding.extend(compiled.scope.reads().map(|attribute| attribute.id));
            deciding.extend(compiled.join.iter().flatten().map(|clause| clause.own));
        }
        for (rule, compiled) in rules.iter_mut().filter(|(rule, _)| rule.direction == Direction::Inbound) {
            let Some(unread) = excluded.unread.get(&rule.connector) else { continue };
            let mut refuse = |attr: AttrId, what: &str| problems.push(needed(input, rule, attr, what));
            for attribute in compiled.scope.reads().filter(|attribute| unread.contains(&attribute.id)) {
                refuse(attribute.id, "its scope reads it");
            }
            for clause in compiled.join.iter().flatten().filter(|clause| unread.contains(&clause.own)) {
                refuse(clause.own, "its join looks it up");
            }
            for flow in compiled.flows.iter().filter(|flow| deciding.contains(&flow.target)) {
                if let Some(attr) = read_by(flow, unread) {
                    refuse(attr, &format!("it makes {}, which decides who is who and who is sent", input.names.name(flow.target)));
                }
            }
            let Some(leave) = left.get(&rule.connector) else { continue };
            let connector = rule.connector;
            compiled.flows.retain(|flow| {
                let gone = read_by(flow, leave).is_some();
                if gone {
                    excluded.left.entry(flow.target).or_default().insert(connector);
                }
                !gone
            });
        }
        problems.dedup();
        excluded
    }
}

/// The first attribute of a list that a flow reads.
fn read_by(flow: &CompiledFlow, attributes: &BTreeSet<AttrId>) -> Option<AttrId> {
    flow.source.reads().into_iter().map(|attribute| attribute.id).find(|attr| attributes.contains(attr))
}

fn needed(input: &CompileInput<'_>, rule: &SyncRule, attr: AttrId, what: &str) -> RuleProblem {
    let connector =
        input.connectors.iter().find(|connector| connector.id == rule.connector).map_or("", |connector| connector.name.as_str());
    let name = input.names.name(attr);
    RuleProblem {
        severity: Severity::Error,
        file: "settings".to_owned(),
        line: 0,
        column: 0,
        rule: Some(rule.name.clone()),
        message: format!("connector \"{connector}\" cannot do without {name}: {what}"),
        hint: Some(format!("take {name} out of [selection] exclude_attributes and recall_attributes, or disable the rule first")),
    }
}

impl RuleSet {
    /// True when nobody gives any of these attributes of the metaverse any more because the directories that did are not
    /// asked for them: what targets have stays as it is.
    pub(super) fn stays<'f>(&self, flows: impl Iterator<Item = &'f CompiledFlow>, object: &dyn AttributeSource) -> bool {
        if self.excluded.left.is_empty() {
            return false;
        }
        let mut read = flows.flat_map(|flow| flow.source.reads()).map(|attribute| attribute.id);
        read.any(|attr| {
            let left = self.excluded.left.get(&attr);
            left.is_some_and(|connectors| connectors.iter().any(|connector| object.has_part_of(*connector)))
        })
    }

    /// The attributes of the metaverse: name, type, several values.
    pub fn metaverse_attributes(&self) -> Vec<(String, ValueKind, bool)> {
        let all = self.schema.metaverse.iter();
        all.map(|(name, _, kind)| (name.to_owned(), kind.kind.unwrap_or(ValueKind::Text), kind.multi)).collect()
    }

    /// The attributes of targets that the values of an attribute of a directory reach.
    pub fn reached_targets(&self, connector: ConnectorId, attr: AttrId) -> Vec<(ConnectorId, AttrId)> {
        let mut between: BTreeSet<AttrId> = BTreeSet::new();
        for rule in self.of(connector, Direction::Inbound) {
            between.extend(rule.flows.iter().filter(|flow| flow.source.reads().iter().any(|read| read.id == attr)).map(|flow| flow.target));
        }
        let mut found: BTreeSet<(ConnectorId, AttrId)> = BTreeSet::new();
        for target in self.targets() {
            for rule in self.of(*target, Direction::Outbound) {
                let reads = |flow: &&CompiledFlow| flow.source.reads().iter().any(|read| between.contains(&read.id));
                found.extend(rule.flows.iter().filter(reads).map(|flow| (*target, flow.target)));
            }
        }
        found.into_iter().collect()
    }
}
