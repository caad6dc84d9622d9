//! What guards stopped and nothing has healed since: as good as the last cycle may look otherwise, somebody is waited for.

use super::status::last_run;
use super::views::RunView;
use super::{Service, ServiceError};
use crate::engine::export::{ExportSummary, HeldDeletes};
use crate::engine::run::{Profile, guard_of, severity};
use crate::model::{ConnectorId, quoted};
use crate::store::{RunRecord, Snapshot};
use serde::Serialize;
use std::fmt;

/// The guard that holds the deletes which follow from the removal of a connector; everything else is sent.
const REMOVED_CONNECTOR: &str = "removed connector";
/// The guard that holds the deletes of people who may only have moved; everything else is sent.
const POSSIBLE_MOVE: &str = "possible move";
/// The guard that lets nothing run while the rules would make everybody somebody else.
pub(super) const SOURCE_ANCHOR_CHANGED: &str = "source anchor";
/// Runs read at a time.
const PAGE: usize = 100;
/// Runs looked through for the first one that was stopped.
const RUNS: usize = 5_000;

/// True for the guards that hold some deletes and stop nothing else.
pub(super) fn holds_deletes(guard: &str) -> bool {
    [REMOVED_CONNECTOR, POSSIBLE_MOVE].contains(&guard)
}

/// A run that a guard stopped, and that nothing has healed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuardStop {
    /// The connector.
    pub connector: String,
    /// The guard, as people call it.
    pub guard: &'static str,
    /// How the run ended.
    pub result: String,
    /// The run that it stopped last; 0 when nothing began.
    pub run: u64,
    /// When the first of the runs began that it stopped one after the other; nothing where none began.
    pub since: Option<String>,
    /// The command that shows what it is about, and how it goes on.
    pub command: String,
    /// It keeps something from being sent; otherwise it keeps the connector from being read.
    #[serde(skip)]
    pub(super) export: bool,
}

impl fmt::Display for GuardStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole seconds are enough for people.
        let stopped = if holds_deletes(self.guard) { "has deletes held" } else { "is stopped" };
        write!(f, "{} {stopped} by the guard '{}'", self.connector, self.guard)?;
        let Some(since) = &self.since else { return Ok(()) };
        match since.split_once('.') {
            Some((whole, _)) => write!(f, " since {whole}Z"),
            None => write!(f, " since {since}"),
        }
    }
}

impl Service {
    /// What guards stopped and nothing has healed since.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn guard_stops(&self) -> Result<Vec<GuardStop>, ServiceError> {
        let runs = self.history()?.runs(super::status::RUNS)?;
        self.guard_stops_of(&self.store.snapshot()?, &runs)
    }

    /// The same among the newest runs.
    pub(super) fn guard_stops_of(&self, snapshot: &Snapshot, runs: &[RunView]) -> Result<Vec<GuardStop>, ServiceError> {
        let mut stops = Vec::new();
        if let Some(kept) = self.changed_source_anchor(snapshot)? {
            for target in self.rules.as_ref().map_or(&[][..], |rules| rules.targets()) {
                stops.push(GuardStop {
                    connector: self.name_of(*target),
                    guard: SOURCE_ANCHOR_CHANGED,
                    result: "no-start-source-anchor".to_owned(),
                    run: 0,
                    since: None,
                    command: format!("syncline config set rules.source_anchor {kept}"),
                    export: true,
                });
            }
        }
        for (id, name) in &self.connectors {
            for export in [false, true] {
                let Some(last) = last_run(runs, name, export) else { continue };
                let Some(guard) = guard_of(&last.result) else { continue };
                if export && is_healed(snapshot, *id, runs, name)? {
                    continue;
                }
                let command = match last.result.as_str() {
                    "stopped-deletion-threshold-exceeded" | "stopped-by-review" => format!("syncline export {} --what-if", quoted(name)),
                    "stopped-another-installation" | "stopped-staging-mode" => "syncline mode show".to_owned(),
                    _ => format!("syncline run show {}", last.run),
                };
                let since = Some(stopped_since(snapshot, *id, export, &last.result)?.unwrap_or(last.started));
                stops.push(GuardStop { connector: name.clone(), guard, result: last.result, run: last.run, since, command, export });
            }
            let held = HeldDeletes::of(snapshot, self.store.names(), *id)?;
            if !held.is_empty() {
                let last = last_run(runs, name, true);
                stops.push(GuardStop {
                    connector: name.clone(),
                    guard: if held.connectors.is_empty() { POSSIBLE_MOVE } else { REMOVED_CONNECTOR },
                    result: last.as_ref().map_or_else(String::new, |run| run.result.clone()),
                    run: last.map_or(0, |run| run.run),
                    since: Some(held.since.to_string()),
                    command: format!("syncline export {} --what-if", quoted(name)),
                    export: true,
                });
            }
        }
        Ok(stops)
    }
}

/// True when the last export of a target did not end well, and nothing of it is left to do: nothing waits any more, and where
/// something may have been handed over, the target was read since.
pub(super) fn is_healed(snapshot: &Snapshot, id: ConnectorId, runs: &[RunView], name: &str) -> Result<bool, ServiceError> {
    let Some(export) = last_run(runs, name, true) else { return Ok(false) };
    let read = || last_run(runs, name, false).is_some_and(|import| import.run > export.run && severity(&import.result) < 3);
    Ok(severity(&export.result) >= 3
        && ExportSummary::of(snapshot, id)?.all() == 0
        && (guard_of(&export.result).is_some() || export.result.starts_with("no-start") || read()))
}

/// When the first of those runs of a connector began that ended alike, one after the other, up to now.
fn stopped_since(snapshot: &Snapshot, id: ConnectorId, export: bool, result: &str) -> Result<Option<String>, ServiceError> {
    let kinds = |run: &RunRecord| {
        let reads = [Profile::FullImport.as_str(), Profile::DeltaImport.as_str()];
        if export { run.profile == Profile::Export.as_str() } else { reads.contains(&run.profile.as_str()) }
    };
    let (mut since, mut before, mut seen) = (None, None, 0);
    while seen < RUNS {
        let page = snapshot.runs(before, PAGE)?;
        let Some(oldest) = page.last() else { break };
        before = Some(oldest.id);
        seen += page.len();
        for run in page.iter().filter(|run| run.connector == id && run.ended.is_some() && kinds(run)) {
            if run.result.0 != result {
                return Ok(since);
            }
            since = Some(run.started.to_string());
        }
    }
    Ok(since)
}
