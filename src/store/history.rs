//! Run history: what ran, when, with which result, which objects stood behind each counter.

use crate::model::{ConnectorId, CsId, RunId, Timestamp};
use std::collections::BTreeMap;

/// One run of a profile on one connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Its number.
    pub id: RunId,
    /// The cycle it belongs to, when it was not started alone: the id of the cycle's first run.
    pub cycle: Option<RunId>,
    /// The connector.
    pub connector: ConnectorId,
    /// The connector's name at that time.
    pub connector_name: String,
    /// The profile's name: `Full Import`, `Delta Synchronization`, `Export`, …
    pub profile: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; `None` while it runs, or when the process died under it.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub result: RunResult,
    /// Its steps in order.
    pub steps: Vec<StepRecord>,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecord {
    /// From 1.
    pub number: u32,
    /// What it did.
    pub kind: StepKind,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub result: RunResult,
    /// The counters of the specification (sync engine, section 5.3); outbound ones carry the target connector's
    /// name behind a slash: `connector-flow/Entra`.
    pub counters: BTreeMap<CounterName, u64>,
    /// A sentence when the step did not end well.
    pub message: Option<String>,
}

/// A counter's exact name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterName(pub std::borrow::Cow<'static, str>);

/// One object behind a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepObject {
    /// The counter.
    pub counter: CounterName,
    /// The object.
    pub id: CsId,
    /// Its name at that time.
    pub dn: String,
    /// What changed, one line per attribute: `attribute: before → after`. Binary and long values are shortened.
    pub changes: Vec<AttributeDelta>,
}

/// One attribute's values before and after, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeDelta {
    /// The attribute's name.
    pub attribute: String,
    /// The values that went.
    pub removed: Vec<String>,
    /// The values that came.
    pub added: Vec<String>,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepKind {
    /// `full-import`.
    FullImport,
    /// `delta-import`.
    DeltaImport,
    /// `apply-rules`, subtype `reevaluate-flow-connectors`.
    FullSync,
    /// `apply-rules`, subtype `apply-pending`.
    DeltaSync,
    /// `export`.
    Export,
}

/// How a run or step ended, in Microsoft's spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunResult(pub std::borrow::Cow<'static, str>);

impl RunResult {
    /// It has not ended.
    pub const IN_PROGRESS: Self = Self(std::borrow::Cow::Borrowed("in-progress"));
    /// All well.
    pub const SUCCESS: Self = Self(std::borrow::Cow::Borrowed("success"));
}
