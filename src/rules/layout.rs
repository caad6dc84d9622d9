//! The flows of several rules side by side, target by target: worked out once for every combination of rules that
//! objects are in scope of, since a directory of a hundred thousand people has a handful of combinations.

use super::flow::{CompiledFlow, CompiledSource};
use super::{CompiledRule, MergeType};
use crate::model::{AttrId, ValueKind};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

/// How many combinations are kept. Scopes that split objects into more are answered without the memory.
const KEPT_MAX: usize = 1024;

/// All flows of some rules, ordered by target, then by the order of the rules.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) targets: Vec<Target>,
    /// The rule's place in the combination, the flow's place in the rule.
    flows: Vec<(u16, u16)>,
}

/// One attribute with the flows into it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) attr: AttrId,
    /// The merge type of the first flow; of all flows unless `mixed`.
    pub(super) merge: MergeType,
    /// Some rule, of this combination or not, flows with another merge type.
    pub(super) mixed: bool,
    /// Every flow copies or trims values of one attribute, so that nothing comes of it when none of them is there.
    pub(super) plain: bool,
    /// A flow may give references.
    pub(super) refers: bool,
    flows: Range<usize>,
}

impl Layout {
    fn new(rules: &[&CompiledRule]) -> Self {
        let mut flows: Vec<(AttrId, u16, u16)> = Vec::new();
        for (place, rule) in (0u16..).zip(rules) {
            flows.extend((0u16..).zip(&rule.flows).map(|(index, flow)| (flow.target, place, index)));
        }
        flows.sort_unstable();
        let mut targets: Vec<Target> = Vec::new();
        for (at, (attr, place, index)) in flows.iter().enumerate() {
            let flow = &rules[usize::from(*place)].flows[usize::from(*index)];
            if let Some(target) = targets.last_mut().filter(|target| target.attr == *attr) {
                target.flows.end = at + 1;
                target.plain &= is_plain(flow);
                target.refers |= may_refer(flow);
            } else {
                let (plain, refers, flows) = (is_plain(flow), may_refer(flow), at..at + 1);
                targets.push(Target { attr: *attr, merge: flow.merge, mixed: flow.mixed, plain, refers, flows });
            }
        }
        Self { targets, flows: flows.into_iter().map(|(_, place, index)| (place, index)).collect() }
    }

    /// The flows into a target: places of their rules and of the flows in those.
    pub(super) fn flows(&self, target: &Target) -> impl Iterator<Item = (usize, usize)> + Clone {
        self.flows[target.flows.clone()].iter().map(|(place, index)| (usize::from(*place), usize::from(*index)))
    }
}

fn is_plain(flow: &CompiledFlow) -> bool {
    let reads_one = matches!(flow.source, CompiledSource::Direct(_) | CompiledSource::Trim(_) | CompiledSource::TrimCut(_));
    reads_one && !flow.once && !flow.keep && !flow.mixed && flow.kind.kind != Some(ValueKind::Reference) && flow.target != AttrId::DN
}

/// Attributes whose kind no schema tells may be references.
fn may_refer(flow: &CompiledFlow) -> bool {
    flow.kind.kind.is_none_or(|kind| kind == ValueKind::Reference) && flow.target != AttrId::DN
}

/// The layouts worked out so far, by the positions of their rules.
#[derive(Debug, Default)]
pub(super) struct Layouts(RwLock<HashMap<Box<[u32]>, Arc<Layout>>>);

impl Layouts {
    /// The layout of the rules at these positions.
    pub(super) fn get(&self, rules: &[CompiledRule], positions: &[u32]) -> Arc<Layout> {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(positions) {
            return Arc::clone(known);
        }
        let combined: Vec<&CompiledRule> = positions.iter().filter_map(|position| rules.get(*position as usize)).collect();
        let layout = Arc::new(Layout::new(&combined));
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.insert(positions.into(), Arc::clone(&layout));
        }
        layout
    }
}
