//! Passwords on their way: whose goes where, and the agent between a directory and a target that tests pull strings of.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod clock;
mod cycles;
#[allow(dead_code, reason = "shared with the laws of synchronization, which need all of it")]
#[path = "../laws/directory.rs"]
mod directory;
mod distrusted;
mod fakes;
#[path = "../laws/invariants.rs"]
mod invariants;
mod overtaking;
mod reports;
mod retries;
mod routes;
#[path = "../laws/rules.rs"]
mod rules;
mod secrets;
mod source;
mod takeover;
mod wire;
#[allow(dead_code, reason = "shared with the laws of synchronization, which need all of it")]
#[path = "../laws/world.rs"]
mod world;

pub(crate) use rules::{A, B, T, rules_of};
use std::sync::Arc;
use syncline::model::Names;
use syncline::rules::RuleSet;

/// The rules of `rules.toml`.
pub(crate) fn rules(names: &Arc<Names>) -> RuleSet {
    rules_of(names, include_str!("rules.toml"))
}
