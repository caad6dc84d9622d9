//! What synchronization promises: laws on random histories, and one scenario per sentence of the specification.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod by_hand;
mod directory;
mod expected;
mod invariants;
mod laws;
mod one_object;
mod precedence;
mod reference;
mod rules;
mod scenarios;
mod world;

pub(crate) use rules::{A, B, T, rules_of};
use std::sync::Arc;
use syncline::model::Names;
use syncline::rules::RuleSet;

/// The rules of `rules.toml`.
pub(crate) fn rules(names: &Arc<Names>) -> RuleSet {
    rules_of(names, include_str!("rules.toml"))
}
