//! What planning asks of the rules again and again, worked out once per step: which attributes joins look up, who
//! must be woken when a metaverse value changes, which flows copy references.

use super::keys::KeyHash;
use super::view::Table;
use crate::model::{AttrId, ConnectorId, CsId, Dn, DnKey, MvObject, Names, RuleId};
use crate::rules::{Direction, FlowSource, MergeType, RuleSet, RunParameters, ScopeOperator};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// The rules with tables over them, for one step.
pub(crate) struct Rulebook<'a> {
    /// The rules.
    pub(crate) rules: &'a RuleSet,
    /// Time and parameters, the same for all objects.
    pub(crate) run: &'a RunParameters,
    /// Names, for messages.
    pub(crate) names: &'a Names,
    /// The connector whose objects the step processes.
    pub(crate) connector: ConnectorId,
    /// Objects are evaluated whole, not only as far as they have news.
    pub(crate) full: bool,
    /// All objects of the connector are evaluated in this step.
    pub(crate) everything: bool,
    /// Metaverse attributes that any join looks at, in either direction; ascending.
    pub(crate) metaverse_keys: Vec<AttrId>,
    wakes: BTreeMap<AttrId, Vec<(ConnectorId, AttrId)>>,
    reverse: BTreeMap<ConnectorId, Vec<(AttrId, AttrId)>>,
    own_keys: HashMap<RuleId, Vec<(AttrId, AttrId)>>,
    watched_groups: HashSet<(ConnectorId, DnKey)>,
    memberships: Option<(AttrId, AttrId)>,
    reference_sources: HashSet<(ConnectorId, AttrId), KeyHash>,
    inbound: HashSet<ConnectorId, KeyHash>,
    /// What outbound rules name, per target: attributes they read as they are, and their expressions folded.
    outbound: Table<ConnectorId, (HashSet<AttrId, KeyHash>, String)>,
    reads: Mutex<Table<(ConnectorId, AttrId), bool>>,
}

impl<'a> Rulebook<'a> {
    /// Reads the rules through once.
    pub(crate) fn new(rules: &'a RuleSet, run: &'a RunParameters, names: &'a Names, connector: ConnectorId, full: bool) -> Self {
        let metaverse_keys = super::step::indexed_attributes(rules).0;
        let mut wakes: BTreeMap<AttrId, Vec<(ConnectorId, AttrId)>> = BTreeMap::new();
        let mut reverse: BTreeMap<ConnectorId, Vec<(AttrId, AttrId)>> = BTreeMap::new();
        let mut watched_groups = HashSet::new();
        let mut reference_sources = HashSet::default();
        let mut inbound = HashSet::default();
        for rule in rules.rules() {
            for clause in rule.join.iter().flatten() {
                match rule.direction {
                    Direction::Inbound => push_once(wakes.entry(clause.mv).or_default(), (rule.connector, clause.cs)),
                    Direction::Outbound => push_once(reverse.entry(rule.connector).or_default(), (clause.cs, clause.mv)),
                }
            }
            if rule.direction == Direction::Inbound {
                inbound.insert(rule.connector);
                for flow in rule.flows.iter().filter(|flow| rules.is_reference(flow.target)) {
                    if let FlowSource::Direct(source) = flow.source {
                        reference_sources.insert((rule.connector, source));
                    }
                }
                for clause in rule.scope.0.iter().flatten() {
                    if matches!(clause.operator, ScopeOperator::IsMemberOf | ScopeOperator::IsNotMemberOf) {
                        watched_groups.extend(Dn::parse(&clause.value).ok().map(|name| (rule.connector, name.key())));
                    }
                }
            }
        }
        let mut outbound: Table<ConnectorId, (HashSet<AttrId, KeyHash>, String)> = Table::default();
        for rule in rules.rules().iter().filter(|rule| rule.direction == Direction::Outbound) {
            let (attributes, expressions) = outbound.entry(rule.connector).or_default();
            attributes.extend(rule.scope.0.iter().flatten().map(|clause| clause.attr));
            attributes.extend(rule.join.iter().flatten().map(|clause| clause.mv));
            for flow in &rule.flows {
                match &flow.source {
                    FlowSource::Direct(attr) => {
                        attributes.insert(*attr);
                    }
                    FlowSource::Constant(_) => {}
                    FlowSource::Expression(text) => {
                        expressions.push_str(&text.to_ascii_lowercase());
                        expressions.push('\n');
                    }
                }
            }
        }
        let mut own_keys: HashMap<RuleId, Vec<(AttrId, AttrId)>> = HashMap::new();
        for rule in rules.rules().iter().filter(|rule| rule.direction == Direction::Inbound) {
            for flow in rule.flows.iter().filter(|flow| metaverse_keys.contains(&flow.target)) {
                if let FlowSource::Direct(source) = flow.source {
                    push_once(own_keys.entry(rule.id).or_default(), (source, flow.target));
                }
            }
        }
        Self {
            rules,
            run,
            names,
            connector,
            full,
            everything: full,
            metaverse_keys,
            wakes,
            reverse,
            own_keys,
            memberships: (!watched_groups.is_empty()).then(|| (names.intern("memberOf"), names.intern("member"))),
            watched_groups,
            reference_sources,
            inbound,
            outbound,
            reads: Mutex::default(),
        }
    }

    /// Which spaces look a metaverse attribute up in inbound joins, and by which attribute of theirs.
    pub(crate) fn wakes(&self, metaverse: AttrId) -> &[(ConnectorId, AttrId)] {
        self.wakes.get(&metaverse).map_or(&[], Vec::as_slice)
    }

    /// The pairs (space attribute, metaverse attribute) by which outbound rules look for objects of a connector.
    pub(crate) fn reverse(&self, connector: ConnectorId) -> &[(AttrId, AttrId)] {
        self.reverse.get(&connector).map_or(&[], Vec::as_slice)
    }

    /// The pairs (space attribute, metaverse attribute) by which a rule itself gives values that joins look up.
    pub(crate) fn own_keys(&self, rule: RuleId) -> &[(AttrId, AttrId)] {
        self.own_keys.get(&rule).map_or(&[], Vec::as_slice)
    }

    /// The names of back links and links, when any scope asks for members of groups.
    pub(crate) fn memberships(&self) -> Option<(AttrId, AttrId)> {
        self.memberships
    }

    /// True when a scope asks for members of the group with this name.
    pub(crate) fn is_watched(&self, connector: ConnectorId, name: &str) -> bool {
        !self.watched_groups.is_empty() && Dn::parse(name).is_ok_and(|name| self.watched_groups.contains(&(connector, name.key())))
    }

    /// True when inbound rules carry this reference attribute of a space into the metaverse.
    pub(crate) fn flows_in(&self, connector: ConnectorId, attr: AttrId) -> bool {
        self.reference_sources.contains(&(connector, attr))
    }

    /// True when any inbound rule reads the connector's space.
    pub(crate) fn has_inbound(&self, connector: ConnectorId) -> bool {
        self.inbound.contains(&connector)
    }

    /// The connectors whose spaces inbound rules read.
    pub(crate) fn sources(&self) -> Vec<ConnectorId> {
        let mut sources: Vec<ConnectorId> = self.inbound.iter().copied().collect();
        sources.sort_unstable();
        sources
    }

    /// True when any outbound rule writes to the connector.
    pub(crate) fn is_target(&self, connector: ConnectorId) -> bool {
        self.rules.targets().contains(&connector)
    }

    /// False when no outbound rule of the target can tell whether a metaverse attribute changed. An expression can
    /// read an attribute only by naming it, so one whose name stands nowhere in it is not read.
    pub(crate) fn may_matter(&self, target: ConnectorId, attr: AttrId) -> bool {
        let Some((attributes, expressions)) = self.outbound.get(&target) else { return false };
        if attributes.contains(&attr) {
            return true;
        }
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        *reads.entry((target, attr)).or_insert_with(|| expressions.contains(&self.names.name(attr).to_ascii_lowercase()))
    }

    /// The name of a rule, for messages.
    pub(crate) fn rule_name(&self, id: RuleId) -> String {
        self.rules.rule(id).map_or_else(|| format!("rule number {}", id.0), |rule| rule.name.clone())
    }

    /// Where a reference attribute of a contributor goes: for every lineage entry of that contributor whose rule
    /// copies `source`, the metaverse attribute, the contributor's index, and whether others contribute too.
    /// `None` when a flow computes its targets, so that only a new evaluation can tell.
    pub(crate) fn reference_targets(&self, object: &MvObject, owner: CsId, source: AttrId) -> Option<Vec<(AttrId, u8, bool)>> {
        let mut targets = Vec::new();
        let mut index = 0u8;
        for (position, entry) in object.lineage.iter().enumerate() {
            let first = position == 0 || object.lineage[position - 1].attr != entry.attr;
            index = if first { 0 } else { index.saturating_add(1) };
            if entry.source != owner || !self.rules.is_reference(entry.attr) {
                continue;
            }
            let shared = !first || object.lineage.get(position + 1).is_some_and(|next| next.attr == entry.attr);
            let flows = self.rules.rule(entry.rule).map_or(&[][..], |rule| rule.flows.as_slice());
            for flow in flows.iter().filter(|flow| flow.target == entry.attr) {
                match &flow.source {
                    FlowSource::Direct(read) if *read == source => targets.push((entry.attr, index, shared)),
                    FlowSource::Direct(_) | FlowSource::Constant(_) => {}
                    FlowSource::Expression(_) => return None,
                }
            }
        }
        Some(targets)
    }

    /// True when the rule that decided an attribute adds values without regard to case.
    pub(crate) fn merges_folded(&self, rule: RuleId, target: AttrId) -> bool {
        self.rules
            .rule(rule)
            .is_some_and(|rule| rule.flows.iter().any(|flow| flow.target == target && flow.merge == MergeType::MergeCaseInsensitive))
    }
}

fn push_once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
