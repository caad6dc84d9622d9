//! Values that go round: an attribute whose value comes back to where it was read, changed on the way, never settles.

use super::super::problem::RuleProblem;
use super::super::{Direction, RuleSet};
use super::warning;
use crate::model::{AttrId, ConnectorId};
use std::collections::{HashMap, HashSet};

/// An attribute of a connector space, or of the metaverse.
type Place = (Option<ConnectorId>, AttrId);

/// One attribute whose value flows on into another.
struct Way {
    from: Place,
    to: Place,
    /// Which rule, by its position.
    rule: usize,
    /// The value does not arrive as it set out.
    changes: bool,
}

/// Names every flow that changes a value which comes back to it.
pub(super) fn find(set: &RuleSet, found: &mut Vec<RuleProblem>) {
    let ways = ways(set);
    let mut next: HashMap<Place, Vec<usize>> = HashMap::new();
    for (index, way) in ways.iter().enumerate() {
        next.entry(way.from).or_default().push(index);
    }
    // Only what some target takes can come round.
    for way in ways.iter().filter(|way| way.changes) {
        let Some(back) = way_back(&ways, &next, way) else { continue };
        let rule = &set.rules[way.rule];
        let name = |place: Place| {
            let attribute = if place.1 == AttrId::DN { "dn".into() } else { set.names.name(place.1) };
            if place.0.is_none() { format!("{attribute} of the metaverse") } else { attribute.to_string() }
        };
        let through: Vec<String> = back.iter().map(|index| format!("\"{}\"", set.rules[ways[*index].rule].name)).collect();
        found.push(warning(
            rule,
            format!("values go round: {} makes {}, which comes back by {}", name(way.from), name(way.to), through.join(" and ")),
            "each synchronization changes the value once more: flow it one way only, or without changing it",
        ));
    }
}

fn ways(set: &RuleSet) -> Vec<Way> {
    let mut ways = Vec::new();
    for (index, (rule, compiled)) in set.rules.iter().zip(&set.compiled).enumerate() {
        let space = Some(rule.connector);
        let (read, written) = if rule.direction == Direction::Inbound { (space, None) } else { (None, space) };
        for flow in compiled.flows.iter().filter(|flow| !flow.once) {
            for (attr, changes) in flow.source.origins() {
                ways.push(Way { from: (read, attr), to: (written, flow.target), rule: index, changes });
            }
        }
    }
    ways
}

/// The shortest way from where a flow leads to where it began.
fn way_back(ways: &[Way], next: &HashMap<Place, Vec<usize>>, start: &Way) -> Option<Vec<usize>> {
    let mut reached: HashMap<Place, usize> = HashMap::new();
    let mut seen = HashSet::from([start.to]);
    let mut edge = vec![start.to];
    while !edge.is_empty() {
        let mut further = Vec::new();
        for place in edge {
            for index in next.get(&place).into_iter().flatten() {
                let to = ways[*index].to;
                if to == start.from {
                    let mut back = vec![*index];
                    let mut at = place;
                    while let Some(step) = reached.get(&at) {
                        back.push(*step);
                        at = ways[*step].from;
                    }
                    back.reverse();
                    return Some(back);
                }
                if seen.insert(to) {
                    reached.insert(to, *index);
                    further.push(to);
                }
            }
        }
        edge = further;
    }
    None
}
