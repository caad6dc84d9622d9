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
mod secrets;
mod source;
mod takeover;
mod wire;
#[allow(dead_code, reason = "shared with the laws of synchronization, which need all of it")]
#[path = "../laws/world.rs"]
mod world;

use std::sync::Arc;
use syncline::model::{ConnectorId, Names};
use syncline::rules::{CompileInput, ConnectorKind, ConnectorProfile, RuleFile, RuleSet, RuleSettings};

/// The first directory.
pub(crate) const A: ConnectorId = ConnectorId(1);
/// The second directory.
pub(crate) const B: ConnectorId = ConnectorId(2);
/// The target.
pub(crate) const T: ConnectorId = ConnectorId(3);

/// The rules of `rules.toml`.
pub(crate) fn rules(names: &Arc<Names>) -> RuleSet {
    rules_of(names, include_str!("rules.toml"))
}

/// Rules from a text, for the three connectors.
pub(crate) fn rules_of(names: &Arc<Names>, text: &str) -> RuleSet {
    let files = [RuleFile { name: "passwords.toml".to_owned(), text: text.to_owned() }];
    let profile = |id, name: &str| ConnectorProfile::new(id, name, ConnectorKind::Other);
    let connectors = [profile(A, "A"), profile(B, "B"), profile(T, "T")];
    let settings = RuleSettings::default();
    RuleSet::compile(CompileInput { files: &files, connectors: &connectors, names, settings: &settings }).expect("the rules are right")
}
