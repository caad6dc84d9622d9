//! A run over one object: what a preview showed, done and recorded.

use super::run::{Engine, Profile};
use super::sync::{BATCH, SyncRequest, run_sync_of_object};
use super::{EngineError, Progress, StepRecorder};
use crate::events::Event;
use crate::model::CsId;
use crate::rules::RunParameters;
use crate::store::{RunRecord, RunResult, StepKind, StepRecord, StoreError};
use std::borrow::Cow;

impl Engine<'_> {
    /// Synchronizes one connector-space object with everything that follows from it. With `full` all targets of its
    /// metaverse object are compared, else only those whose rules read what changed. The rules are those of now, also
    /// where a full synchronization of the connector is due because they changed; it stays due.
    ///
    /// # Errors
    /// When the history cannot be written. What goes wrong within the run is its result.
    pub fn synchronize_object(&self, object: CsId, full: bool, progress: &mut dyn Progress) -> Result<RunRecord, StoreError> {
        let connector = object.connector();
        let name = self.participants.get(&connector).map(|participant| participant.name.clone()).unwrap_or_default();
        let snapshot = self.store.snapshot()?;
        let id = snapshot.next_run()?;
        let dn = snapshot.cs_object(object)?.map(|object| object.dn).unwrap_or_default();
        drop(snapshot);
        let (profile, kind) =
            if full { (Profile::FullSynchronization, StepKind::FullSync) } else { (Profile::DeltaSynchronization, StepKind::DeltaSync) };
        let mut record = RunRecord {
            id,
            cycle: None,
            connector,
            connector_name: name.clone(),
            profile: format!("{} of one object", profile.as_str()),
            started: self.cx.now(),
            ended: None,
            result: RunResult::IN_PROGRESS,
            steps: Vec::new(),
        };
        self.write(&record)?;
        progress.step_started(&record.profile, &name);
        let mut recorder = StepRecorder::new(progress);
        let started = self.cx.now();
        let outcome = self.synchronize_one(object, full, (id, 1), &mut recorder);
        let (result, failure) = match outcome {
            Ok(result) => (result, None),
            Err(error) => {
                let begun = recorder.counters().values().any(|count| *count > 0);
                (if begun { error.result_under_way() } else { error.result() }, Some(error.to_string()))
            }
        };
        let about = format!("only {object} {dn}");
        let message = failure.map_or_else(|| about.clone(), |failure| format!("{failure}\n{about}"));
        let counters = recorder.counters().clone();
        drop(recorder);
        progress.step_finished(result);
        record.steps.push(StepRecord {
            number: 1,
            kind,
            started,
            ended: Some(self.cx.now()),
            result: RunResult(Cow::Borrowed(result)),
            counters,
            message: Some(message.clone()),
        });
        record.ended = Some(self.cx.now());
        record.result = RunResult(Cow::Borrowed(result));
        self.write(&record)?;
        self.tell(Event::RunFinished {
            connector: name,
            profile: record.profile.clone(),
            result: result.to_owned(),
            message: Some(message),
        });
        Ok(record)
    }

    fn synchronize_one(
        &self,
        object: CsId,
        full: bool,
        step: (crate::model::RunId, u32),
        recorder: &mut StepRecorder<'_>,
    ) -> Result<&'static str, EngineError> {
        self.refuse_the_abandoned()?;
        self.refuse_missing_pilots()?;
        self.forget_what_other_rules_made()?;
        let request = SyncRequest {
            connector: object.connector(),
            full,
            parameters: RunParameters { now: self.cx.now(), ..self.parameters.clone() },
            connectors: self.participants.iter().map(|(id, participant)| (*id, participant.name.clone())).collect(),
            step,
            batch: BATCH,
        };
        let outcome = run_sync_of_object(self.store, self.rules, &request, object, &self.cx, recorder)?;
        self.drop_moot_errors()?;
        Ok(if outcome.failed > 0 { "completed-sync-errors" } else { "success" })
    }
}
