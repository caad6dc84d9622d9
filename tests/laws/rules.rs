//! Rules from a text, for two directories and a target.

use std::sync::Arc;
use syncline::model::{ConnectorId, Names};
use syncline::rules::{CompileInput, ConnectorKind, ConnectorProfile, RuleFile, RuleSet, RuleSettings};

/// The first directory.
pub(crate) const A: ConnectorId = ConnectorId(1);
/// The second directory.
pub(crate) const B: ConnectorId = ConnectorId(2);
/// The target.
pub(crate) const T: ConnectorId = ConnectorId(3);

/// Rules from a text, for the three connectors.
pub(crate) fn rules_of(names: &Arc<Names>, text: &str) -> RuleSet {
    let files = [RuleFile { name: "rules.toml".to_owned(), text: text.to_owned() }];
    let connectors = [(A, "A"), (B, "B"), (T, "T")].map(|(id, name)| ConnectorProfile::new(id, name, ConnectorKind::Other));
    let settings = RuleSettings::default();
    RuleSet::compile(CompileInput { files: &files, connectors: &connectors, names, settings: &settings }).expect("the rules are right")
}
