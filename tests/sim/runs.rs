//! Whole runs of an engine on directories of ours.

use std::collections::BTreeMap;
use std::sync::Arc;
use syncline::connector::Connector;
use syncline::context::Context;
use syncline::engine::bridge::Bridge;
use syncline::engine::run::{Caution, Engine, Participant, Standing};
use syncline::events::Log;
use syncline::model::ConnectorId;
use syncline::rules::{RuleSet, RunParameters};
use syncline::store::Store;
use tokio::runtime::Runtime;

/// The rules of the laws.
pub(crate) const LAWS: &str = include_str!("../laws/rules.toml");

/// A connector that is configured.
pub(crate) fn participant(name: &str, connector: Option<Arc<dyn Connector>>, target: bool) -> Participant {
    Participant { name: name.to_owned(), connector, unusable: None, target, selection: 0, standing: Standing::Configured }
}

/// What runs, as careful as by default.
pub(crate) fn engine<'a>(
    store: &'a Store,
    rules: &'a RuleSet,
    runtime: &Runtime,
    participants: BTreeMap<ConnectorId, Participant>,
) -> Engine<'a> {
    Engine {
        store,
        rules,
        bridge: Bridge::new(runtime.handle().clone()),
        participants,
        parameters: RunParameters::default(),
        caution: Caution::default(),
        cx: Context::system(),
        events: &Log,
    }
}
