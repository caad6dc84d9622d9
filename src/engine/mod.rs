//! The circle: import and confirm, synchronize, export, and the runs that string them together.
//!
//! The engine is synchronous and knows neither protocol nor terminal. Connectors are reached through one bridge
//! ([`bridge`]); everything it remembers goes through change sets of the store.

pub mod active;
mod base;
pub mod belief;
pub mod bridge;
pub mod clear;
mod conflicts;
mod containers;
mod cycle;
mod describe;
pub mod entry;
pub mod export;
pub mod full_steps;
pub mod hash;
pub mod import;
pub mod password;
mod pilots;
mod recorder;
mod refusals;
pub mod run;
mod single;
pub mod sync;

pub use describe::text_of;
pub use recorder::{Progress, Silent, StepRecorder};

/// The target of spans that are made for traces: of cycles, their steps, and the batches of those.
pub const TRACED: &str = "syncline::trace";

use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::store::StoreError;

/// Why a step could not go on. What it committed before stays; nothing is half-written.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The directory or the way to it failed.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// A guard stopped the step before it did harm.
    #[error("{message}")]
    Guard {
        /// The result string of the step.
        result: &'static str,
        /// What was stopped, how many, and the commands that review or allow it.
        message: String,
    },
    /// The step was told to end.
    #[error("stopped on request")]
    Cancelled,
}

impl EngineError {
    /// The result string of a step that ends with this error (specification: sync engine, section 5.2).
    pub fn result(&self) -> &'static str {
        match self {
            Self::Store(_) => "stopped-database-connection-lost",
            Self::Guard { result, .. } => result,
            Self::Cancelled => "stopped-user",
            Self::Connector(error) => match error.kind {
                ConnectorErrorKind::Authentication => "no-start-credentials",
                ConnectorErrorKind::Connection => "no-start-connection",
                ConnectorErrorKind::Configuration | ConnectorErrorKind::AnotherTenant => "no-start-configuration",
                ConnectorErrorKind::File => "stopped-file",
                ConnectorErrorKind::Cancelled => "stopped-user",
                _ => "stopped-connectivity",
            },
        }
    }

    /// The same when objects had come or gone before it: such a step is not one that did not start.
    pub fn result_under_way(&self) -> &'static str {
        match self.result() {
            "no-start-credentials" | "no-start-connection" => "stopped-connectivity",
            "no-start-staging-mode" => "stopped-staging-mode",
            result => result,
        }
    }
}
