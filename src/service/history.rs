//! Looks at past runs, their counters and the objects behind them.

use super::ServiceError;
use super::views::{RunView, StepObjectView, StepObjectsView};
use crate::model::RunId;
use crate::store::{CounterName, RunRecord, Snapshot};

/// Past runs at one moment.
#[derive(Debug)]
pub struct History {
    snapshot: Snapshot,
}

impl History {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot }
    }

    /// The newest runs first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunView>, ServiceError> {
        Ok(self.snapshot.runs(None, limit)?.iter().map(RunView::of).collect())
    }

    /// One run.
    ///
    /// # Errors
    /// When there is none of this number.
    pub fn run(&self, number: u64) -> Result<RunView, ServiceError> {
        Ok(RunView::of(&self.record(number)?))
    }

    /// The objects behind a counter of a run's step; without `step`, of the first step that counted it.
    ///
    /// # Errors
    /// When no step counted it; the message lists what was counted.
    pub fn objects(&self, number: u64, step: Option<u32>, counter: &str, limit: usize) -> Result<StepObjectsView, ServiceError> {
        let record = self.record(number)?;
        let steps = record.steps.iter().filter(|known| step.is_none_or(|wanted| wanted == known.number));
        let found = steps.clone().find(|step| step.counters.iter().any(|(name, count)| *count > 0 && name.0 == counter));
        let Some(found) = found else {
            let mut known: Vec<&str> = steps.flat_map(|step| step.counters.keys().map(|name| &*name.0)).collect();
            known.sort_unstable();
            known.dedup();
            return Err(ServiceError::NotFound(format!(
                "run {number} counted nothing as '{counter}'; it counted: {}",
                if known.is_empty() { "nothing".to_owned() } else { known.join(", ") }
            )));
        };
        let name = CounterName(std::borrow::Cow::Owned(counter.to_owned()));
        let mut objects = self.snapshot.step_objects(record.id, found.number, name, None, limit.saturating_add(1))?;
        let more = objects.len() > limit;
        objects.truncate(limit);
        Ok(StepObjectsView {
            run: number,
            step: found.number,
            counter: counter.to_owned(),
            objects: objects.iter().map(StepObjectView::of).collect(),
            more,
        })
    }

    /// An error when a run has no such step.
    ///
    /// # Errors
    /// Just that; the message lists those it has.
    pub fn refuse_unknown_step(run: &RunView, step: Option<u32>) -> Result<(), ServiceError> {
        let Some(step) = step.filter(|step| run.steps.iter().all(|known| known.number != *step)) else { return Ok(()) };
        let known: Vec<String> = run.steps.iter().map(|step| step.number.to_string()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(ServiceError::Usage(format!("run {} has no step {step}; there are: {known}", run.number)))
    }

    fn record(&self, number: u64) -> Result<RunRecord, ServiceError> {
        self.snapshot
            .run(RunId(number))?
            .ok_or_else(|| ServiceError::NotFound(format!("there is no run {number}; `syncline run list` shows those there are")))
    }
}
