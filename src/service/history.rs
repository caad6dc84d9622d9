//! Looks at past runs, their counters and the objects behind them.

use super::ServiceError;
use super::views::{RunView, StepObjectView, StepObjectsView};
use crate::model::{ConnectorId, CsId, RunId, fold};
use crate::store::{CounterName, RunRecord, Snapshot, StepObject, StepRecord};
use serde::Serialize;
use std::borrow::Cow;

/// Runs read at a time.
const PAGE: usize = 50;
/// Rows behind a counter that are read at a time.
const ROWS: usize = 1_000;
/// The counters of who was deleted.
const DELETED: [&str; 2] = ["export-delete", "stage-delete"];

/// What a step of a run did to an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectLogLine {
    /// The run.
    pub run: u64,
    /// When the step began.
    pub started: String,
    /// The connector of the run, which may be another one than the object's.
    pub connector: String,
    /// The step's number.
    pub step: u32,
    /// What the step does.
    pub kind: String,
    /// The counter that counted the object: what was done.
    pub counter: String,
    /// Its name then, and what changed.
    #[serde(flatten)]
    pub object: StepObjectView,
}

impl ObjectLogLine {
    /// What became of an object that is not there any more, as far as the counter tells.
    pub fn departure(&self) -> &'static str {
        if self.counter == "export-delete" { "was deleted there by an export" } else { "was deleted, or left the selection" }
    }

    fn of(run: &RunRecord, step: &StepRecord, kind: &str, object: &StepObject) -> Self {
        Self {
            run: run.id.0,
            started: step.started.to_string(),
            connector: run.connector_name.clone(),
            step: step.number,
            kind: kind.to_owned(),
            counter: object.counter.0.to_string(),
            object: StepObjectView::of(object),
        }
    }
}

/// Somebody who may have been deleted.
pub(super) enum Departed<'t> {
    /// By the number.
    Object(CsId),
    /// By the name, or by what the history keeps of who is deleted from a target.
    Known(&'t str),
}

/// When such an object of one of these connectors was deleted last, and by which run. As far back as history is kept.
pub(super) fn last_delete(
    snapshot: &Snapshot,
    who: &Departed<'_>,
    connectors: &[ConnectorId],
) -> Result<Option<(CsId, ObjectLogLine)>, ServiceError> {
    // Rows of a counter are ordered by object: the one behind its predecessor is the object, or it was not counted.
    let (wanted, ahead) = match who {
        Departed::Object(id) => (Cow::Borrowed(""), id.0.checked_sub(1).map(CsId)),
        Departed::Known(text) => (fold(text), None),
    };
    let is_meant = |object: &StepObject| match who {
        Departed::Object(id) => object.id == *id,
        Departed::Known(_) => {
            let mut known_as = object.changes.iter().flat_map(|change| &change.removed);
            fold(&object.dn) == wanted || known_as.any(|value| fold(value) == wanted)
        }
    };
    let rows = if matches!(who, Departed::Object(_)) { 1 } else { ROWS };
    let mut before = None;
    loop {
        let runs = snapshot.runs(before, PAGE)?;
        let Some(oldest) = runs.last() else { return Ok(None) };
        before = Some(oldest.id);
        for run in runs.iter().filter(|run| connectors.contains(&run.connector)) {
            for (index, step) in run.steps.iter().enumerate().rev() {
                for counter in step.counters.keys().filter(|counter| DELETED.contains(&counter.0.as_ref())) {
                    let mut after = ahead;
                    loop {
                        let page = snapshot.step_objects(run.id, step.number, counter.clone(), after, rows)?;
                        if let Some(object) = page.iter().find(|object| is_meant(object)) {
                            let view = RunView::of(run);
                            return Ok(Some((object.id, ObjectLogLine::of(run, step, view.steps[index].title(), object))));
                        }
                        after = page.last().map(|last| last.id);
                        if after.is_none() || rows == 1 {
                            break;
                        }
                    }
                }
            }
        }
    }
}

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

    /// The newest runs first: of one connector where one is given, only those that have not ended where they are asked for.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn runs_of(&self, connector: Option<ConnectorId>, running: bool, limit: usize) -> Result<Vec<RunView>, ServiceError> {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let runs = self.snapshot.runs(before, PAGE)?;
            let Some(oldest) = runs.last() else { return Ok(found) };
            before = Some(oldest.id);
            for run in &runs {
                if found.len() >= limit {
                    return Ok(found);
                }
                // Runs follow each other: behind one that has ended, none is under way.
                if running && run.ended.is_some() {
                    return Ok(found);
                }
                if connector.is_none_or(|wanted| wanted == run.connector) {
                    found.push(RunView::of(run));
                }
            }
        }
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
        let name = CounterName(Cow::Owned(counter.to_owned()));
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

    /// What runs did to an object, the newest first; as far back as history is kept.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of_object(&self, id: CsId, last: usize) -> Result<(Vec<ObjectLogLine>, bool), ServiceError> {
        // Rows of a counter are ordered by object: the one behind its predecessor is the object, or it was not counted.
        let ahead = id.0.checked_sub(1).map(CsId);
        let (mut lines, mut before) = (Vec::new(), None);
        loop {
            let runs = self.snapshot.runs(before, PAGE)?;
            let Some(oldest) = runs.last() else { return Ok((lines, false)) };
            before = Some(oldest.id);
            for run in &runs {
                let view = RunView::of(run);
                for (step, shown) in run.steps.iter().zip(&view.steps).rev() {
                    for counter in step.counters.iter().filter(|(_, count)| **count > 0).map(|(name, _)| name) {
                        let found = self.snapshot.step_objects(run.id, step.number, counter.clone(), ahead, 1)?;
                        let Some(found) = found.first().filter(|found| found.id == id) else { continue };
                        if lines.len() >= last {
                            return Ok((lines, true));
                        }
                        lines.push(ObjectLogLine::of(run, step, shown.title(), found));
                    }
                }
            }
        }
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
