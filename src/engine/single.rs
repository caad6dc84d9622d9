//! A run over one object: what a preview showed, done and recorded; one entry read, one object sent.

use super::entry::read_entry;
use super::import::{self, ImportOptions};
use super::run::{Engine, Profile};
use super::sync::{BATCH, Decree, SyncRequest, run_decree, run_sync_of_object};
use super::{EngineError, Progress, StepRecorder};
use crate::connector::{Connector, ImportKind, ImportRequest};
use crate::events::Event;
use crate::model::{Anchor, ConnectorId, CsId, Dn, RunId};
use crate::rules::RunParameters;
use crate::store::{ChangeSet, RunRecord, RunResult, StepKind, StepRecord, StoreError};
use std::borrow::Cow;
use std::sync::Arc;

/// What a run over one object is, for the history.
struct Title {
    connector: ConnectorId,
    profile: String,
    kind: StepKind,
    /// What it was about.
    about: String,
}

impl Engine<'_> {
    /// Synchronizes one connector-space object with everything that follows from it. With `full` all targets of its
    /// metaverse object are compared, else only those whose rules read what changed. The rules are those of now, also
    /// where a full synchronization of the connector is due because they changed; it stays due.
    ///
    /// # Errors
    /// When the history cannot be written. What goes wrong within the run is its result.
    pub fn synchronize_object(&self, object: CsId, full: bool, progress: &mut dyn Progress) -> Result<RunRecord, StoreError> {
        let (profile, kind) =
            if full { (Profile::FullSynchronization, StepKind::FullSync) } else { (Profile::DeltaSynchronization, StepKind::DeltaSync) };
        let title = self.title_of(object, format!("{} of one object", profile.as_str()), kind)?;
        self.single(title, progress, |step, recorder| self.synchronize_one(object, full, None, step, recorder))
    }

    /// Does what an administrator decided about one object, with everything that follows from it.
    ///
    /// # Errors
    /// As [`Self::synchronize_object`].
    pub fn decree(&self, object: CsId, decree: Decree, progress: &mut dyn Progress) -> Result<RunRecord, StoreError> {
        let profile = match decree {
            Decree::Join(_) => "Join by hand",
            Decree::Project(_) => "Projection by hand",
            Decree::Disconnect { .. } => "Disconnection by hand",
        };
        let title = self.title_of(object, profile.to_owned(), StepKind::DeltaSync)?;
        self.single(title, progress, |step, recorder| self.synchronize_one(object, false, Some(decree), step, recorder))
    }

    /// Reads one entry from its directory and stages what it says. One that is known and does not show is not taken for gone: what
    /// tells that a directory or a file was not read whole are all the others. `narrowed` is the same connector for this entry
    /// alone, where that costs less; what is selected is said by the connector itself.
    ///
    /// # Errors
    /// As [`Self::synchronize_object`].
    pub fn import_entry(
        &self,
        connector: ConnectorId,
        dn: &Dn,
        narrowed: Option<&Arc<dyn Connector>>,
        progress: &mut dyn Progress,
    ) -> Result<RunRecord, StoreError> {
        let title =
            Title { connector, profile: "Import of one object".to_owned(), kind: StepKind::DeltaImport, about: format!("only {dn}") };
        self.single(title, progress, |step, recorder| self.import_one(connector, dn, narrowed, step, recorder))
    }

    /// Sends what waits for one object of a target. The guards look at everything that waits there.
    ///
    /// # Errors
    /// As [`Self::synchronize_object`].
    pub fn export_object(&self, object: CsId, progress: &mut dyn Progress) -> Result<RunRecord, StoreError> {
        let title = self.title_of(object, "Export of one object".to_owned(), StepKind::Export)?;
        let name = self.participants.get(&object.connector()).map(|participant| participant.name.clone()).unwrap_or_default();
        self.single(title, progress, |step, recorder| {
            let deletes_wait = self.asked_one();
            self.export_of(object.connector(), &name, step, deletes_wait.as_ref(), Some(object), recorder).map(|(result, _)| result)
        })
    }

    fn title_of(&self, object: CsId, profile: String, kind: StepKind) -> Result<Title, StoreError> {
        let dn = self.store.snapshot()?.cs_object(object)?.map(|object| object.dn).unwrap_or_default();
        Ok(Title { connector: object.connector(), profile, kind, about: format!("only {object} {dn}") })
    }

    /// A run of one step, with its history.
    fn single(
        &self,
        title: Title,
        progress: &mut dyn Progress,
        work: impl FnOnce((RunId, u32), &mut StepRecorder<'_>) -> Result<&'static str, EngineError>,
    ) -> Result<RunRecord, StoreError> {
        let Title { connector, profile, kind, about } = title;
        let name = self.participants.get(&connector).map(|participant| participant.name.clone()).unwrap_or_default();
        let id = self.store.snapshot()?.next_run()?;
        let mut record = RunRecord {
            id,
            cycle: None,
            connector,
            connector_name: name.clone(),
            profile,
            started: self.cx.now(),
            ended: None,
            result: RunResult::IN_PROGRESS,
            steps: Vec::new(),
        };
        self.write(&record)?;
        progress.step_started(&record.profile, &name);
        let mut recorder = StepRecorder::new(progress);
        let started = self.cx.now();
        let outcome = work((id, 1), &mut recorder);
        let (result, failure) = match outcome {
            Ok(result) => (result, None),
            Err(error) => {
                let begun = recorder.counters().values().any(|count| *count > 0);
                (if begun { error.result_under_way() } else { error.result() }, Some(error.to_string()))
            }
        };
        let notes = std::mem::take(&mut recorder.notes);
        let message = failure.into_iter().chain(notes).chain([about]).collect::<Vec<_>>().join("\n");
        let counters = recorder.counters().clone();
        let events = recorder.take_events();
        // What the step did not write itself; a step that failed counted objects, too.
        let rest = recorder.take_objects();
        if !rest.is_empty() {
            let mut changes = ChangeSet::new();
            changes.step_objects.extend(rest.into_iter().map(|object| (id, 1, object)));
            self.store.apply(changes)?;
        }
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
        for event in events {
            self.tell(event);
        }
        self.tell(Event::RunFinished {
            connector: name,
            profile: record.profile.clone(),
            result: result.to_owned(),
            message: Some(message),
        });
        Ok(record)
    }

    fn import_one(
        &self,
        id: ConnectorId,
        dn: &Dn,
        narrowed: Option<&Arc<dyn Connector>>,
        step: (RunId, u32),
        recorder: &mut StepRecorder<'_>,
    ) -> Result<&'static str, EngineError> {
        self.refuse_the_abandoned()?;
        import::finish_taking_back(self.store, id, self.takes_exports(id))?;
        self.look_at_containers(id, recorder)?;
        let connector = narrowed.map_or_else(|| self.connector(id), Ok)?;
        let attributes = self.attributes(id);
        let snapshot = self.store.snapshot()?;
        let known = match snapshot.cs_by_dn(id, &dn.key())? {
            Some(known) => snapshot.cs_object(known)?.filter(|object| object.anchor.is_some() && object.imported()),
            None => None,
        };
        drop(snapshot);
        self.note_other_selection(id)?;
        let anchor = known.as_ref().and_then(|object| object.anchor.clone());
        let request = ImportRequest { kind: ImportKind::Full, attributes: attributes.clone() };
        let wanted = self.bridge.wait(read_entry(&**connector, &self.cx, &request, anchor.as_ref(), dn))?;
        if known.is_some() && wanted.is_absent() {
            let message = format!(
                "{dn} is not there any more, or not selected. That one entry does not show tells nothing of why, so nothing was changed: who \
                 left is found by an import that reads everything, behind its guards: `syncline cycle start`"
            );
            return Err(EngineError::Guard { result: "no-start-object-not-found", message });
        }
        let page = wanted.page()?;
        let name = self.participants.get(&id).map_or("", |participant| participant.name.as_str());
        let mut options = ImportOptions::full(id, name, attributes, step);
        options.full = false;
        options.managed = self.rules.outbound_attributes(id).into_iter().collect();
        options.written_only = self.rules.written_only(id).into_iter().collect();
        options.errors_max = self.caution.errors_max;
        options.takes_exports = self.takes_exports(id);
        options.references_stay = connector.references_stay();
        options.references_have_anchors = connector.references_have_anchors();
        options.always_there = import::AlwaysThere::of(Arc::clone(connector));
        let mut ask_again = |anchors: &[Anchor]| self.bridge.wait(connector.find(&self.cx, &request, anchors));
        import::import_asking(self.store, std::iter::once(Ok(page)), &mut ask_again, &options, &self.cx, recorder)
    }

    fn synchronize_one(
        &self,
        object: CsId,
        full: bool,
        decree: Option<Decree>,
        step: (RunId, u32),
        recorder: &mut StepRecorder<'_>,
    ) -> Result<&'static str, EngineError> {
        self.refuse_the_abandoned()?;
        self.refuse_the_returned(object.connector())?;
        self.refuse_the_disbelieved(object.connector())?;
        self.refuse_missing_pilots()?;
        self.note_removals()?;
        self.forget_what_other_rules_made()?;
        let request = SyncRequest {
            connector: object.connector(),
            full,
            parameters: RunParameters { now: self.cx.now(), ..self.parameters.clone() },
            connectors: self.participants.iter().map(|(id, participant)| (*id, participant.name.clone())).collect(),
            step,
            batch: BATCH,
        };
        let outcome = match decree {
            Some(decree) => run_decree(self.store, self.rules, &request, (object, decree), &self.cx, recorder)?,
            None => run_sync_of_object(self.store, self.rules, &request, object, &self.cx, recorder)?,
        };
        self.drop_moot_errors()?;
        Ok(if outcome.failed > 0 { "completed-sync-errors" } else { "success" })
    }
}
