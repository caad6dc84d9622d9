//! Runs: one profile on one connector, and what is remembered of it.
//!
//! Its record is written when it begins and when it ends, so that a run whose process died is seen as such
//! (specification: sync engine, sections 5.1 to 5.3).

use super::belief::{Belief, Doubt};
use super::bridge::Bridge;
use super::containers::RENAMED_CONTAINER;
use super::export::{DeleteSet, DeletesWait, ExportOptions, ExportReview, Limits, export, follow_removals};
use super::full_steps::{FULL_IMPORT_ASKED, FULL_SYNC_ASKED, SYNCHRONIZED};
use super::import::{self, ImportOptions, LEFT_PLACE, SHRINK_PERCENT_MAX, WATERMARK};
use super::sync::{BATCH, SyncRequest, run_sync};
use super::{EngineError, Progress, StepRecorder, TRACED};
use crate::connector::{Connector, ConnectorError, ConnectorErrorKind, ImportKind, ImportRequest, Installation};
use crate::context::Context;
use crate::events::{Event, EventSink};
use crate::model::{Anchor, ConnectorId, CsId, CsObject, ErrorSide, Retention, RunId, Stage};
use crate::rules::{RuleSet, RunParameters};
use crate::store::{ChangeSet, RunRecord, RunResult, StepKind, StepRecord, Store, StoreError};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The newest runs, among which are all that may still be open.
const NEWEST_RUNS: usize = 16;
/// The result of a run whose process ended under it.
const INTERRUPTED: &str = "stopped-server";

/// What a run does (specification: sync engine, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Read everything.
    FullImport,
    /// Read what changed.
    DeltaImport,
    /// Apply the rules to all objects.
    FullSynchronization,
    /// Apply the rules to what changed.
    DeltaSynchronization,
    /// Send what is wanted.
    Export,
}

impl Profile {
    /// The name in the history.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FullImport => "Full Import",
            Self::DeltaImport => "Delta Import",
            Self::FullSynchronization => "Full Synchronization",
            Self::DeltaSynchronization => "Delta Synchronization",
            Self::Export => "Export",
        }
    }

    fn step_kind(self) -> StepKind {
        match self {
            Self::FullImport => StepKind::FullImport,
            Self::DeltaImport => StepKind::DeltaImport,
            Self::FullSynchronization => StepKind::FullSync,
            Self::DeltaSynchronization => StepKind::DeltaSync,
            Self::Export => StepKind::Export,
        }
    }
}

/// A connector that takes part in runs.
#[derive(Clone)]
pub struct Participant {
    /// Its name.
    pub name: String,
    /// The way to its directory; only connectors that a run reads or writes need one.
    pub connector: Option<Arc<dyn Connector>>,
    /// Why there is none although one is needed.
    pub unusable: Option<String>,
    /// Rules write to it.
    pub target: bool,
    /// What its configuration selects, in short: with another value everything has to be read again.
    pub selection: u64,
    /// Where it stands.
    pub standing: Standing,
}

/// Whether a connector whose objects the store holds is still wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is configured.
    Configured,
    /// Its configuration is gone, and nobody said that its objects may go.
    Abandoned,
    /// It was removed: its objects are on their way out.
    Removed,
}

/// How careful runs are.
#[derive(Clone)]
pub struct Caution {
    /// What limits exports, also while they are under way.
    pub limits: Limits,
    /// Deletes allowed this once.
    pub allow_deletes: Option<DeleteSet>,
    /// More problems of objects than this end a step.
    pub errors_max: u64,
    /// A full import that misses more than this share is not believed, in percent.
    pub shrink_percent_max: u32,
    /// Believe it this once.
    pub allow_shrink: bool,
    /// Take entries as they are that lack what each of their kind has, or are of another kind than before, this once.
    pub allow_incomplete: bool,
    /// Asked before the first call of an export.
    pub review: Option<Arc<dyn ExportReview>>,
    /// Who we are: where somebody else writes, nothing is exported. `None` does not look.
    pub installation: Option<Installation>,
    /// Days for which history is kept.
    pub history_days: u32,
    /// Connectors of which nothing was read for so long that a delta is not believed: cycles read everything of them.
    pub too_old: BTreeSet<ConnectorId>,
}

impl Default for Caution {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            allow_deletes: None,
            errors_max: 5_000,
            shrink_percent_max: SHRINK_PERCENT_MAX,
            allow_shrink: false,
            allow_incomplete: false,
            review: None,
            installation: None,
            history_days: 7,
            too_old: BTreeSet::new(),
        }
    }
}

/// What runs work with.
pub struct Engine<'a> {
    /// The store; no other run writes to it meanwhile.
    pub store: &'a Store,
    /// The rules.
    pub rules: &'a RuleSet,
    /// The way to the runtime of the connectors.
    pub bridge: Bridge,
    /// All connectors, by number.
    pub participants: BTreeMap<ConnectorId, Participant>,
    /// Parameters of rules.
    pub parameters: RunParameters,
    /// How careful to be.
    pub caution: Caution,
    /// Clock and cancellation.
    pub cx: Context,
    /// Hears what happened, after it is committed.
    pub events: &'a dyn EventSink,
}

/// Which cycle a run is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belonging {
    /// None.
    Alone,
    /// A new one.
    FirstOfCycle,
    /// The one that this run began.
    OfCycle(RunId),
}

impl Belonging {
    /// The cycle of a run with this number.
    fn cycle(self, id: RunId) -> Option<RunId> {
        match self {
            Self::Alone => None,
            Self::FirstOfCycle => Some(id),
            Self::OfCycle(first) => Some(first),
        }
    }
}

/// What one step came to.
struct Done {
    kind: StepKind,
    result: &'static str,
    message: Option<String>,
    counters: BTreeMap<crate::store::CounterName, u64>,
    events: Vec<Event>,
    /// Objects that an export handed over.
    sent: u64,
}

impl Engine<'_> {
    /// Closes runs whose process ended under them.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn recover(&self) -> Result<(), StoreError> {
        let now = self.cx.now();
        let mut changes = ChangeSet::new();
        // Runs follow each other: only the newest of a process can be open.
        for mut record in self.store.snapshot()?.runs(None, NEWEST_RUNS)? {
            if record.ended.is_some() {
                continue;
            }
            record.ended = Some(now);
            record.result = RunResult(Cow::Borrowed(INTERRUPTED));
            self.tell(Event::RunInterrupted { connector: record.connector_name.clone(), profile: record.profile.clone() });
            changes.runs.push(record);
        }
        if changes.is_empty() { Ok(()) } else { self.store.apply(changes) }
    }

    /// Runs one profile on one connector.
    ///
    /// # Errors
    /// When the history cannot be written. What goes wrong within the run is its result.
    pub fn run(&self, connector: ConnectorId, profile: Profile, progress: &mut dyn Progress) -> Result<RunRecord, StoreError> {
        let (record, _) = self.run_counted(connector, profile, Belonging::Alone, None, progress)?;
        self.forget_old_runs()?;
        Ok(record)
    }

    /// As [`Self::run`]; with it, how many objects were handed over. Deletes stay where `deletes_wait` says why.
    pub(super) fn run_counted(
        &self,
        connector: ConnectorId,
        profile: Profile,
        belonging: Belonging,
        deletes_wait: Option<&DeletesWait>,
        progress: &mut dyn Progress,
    ) -> Result<(RunRecord, u64), StoreError> {
        let name = self.participants.get(&connector).map(|participant| participant.name.clone()).unwrap_or_default();
        let snapshot = self.store.snapshot()?;
        let id = snapshot.next_run()?;
        let (profile, mut reason) = self.possible(&snapshot, connector, profile)?;
        drop(snapshot);
        let mut record = RunRecord {
            id,
            cycle: belonging.cycle(id),
            connector,
            connector_name: name.clone(),
            profile: profile.as_str().to_owned(),
            started: self.cx.now(),
            ended: None,
            result: RunResult::IN_PROGRESS,
            steps: Vec::new(),
        };
        self.write(&record)?;
        let mut sent = 0;
        let mut next = Some(profile);
        while let Some(profile) = next.take() {
            let number = u32::try_from(record.steps.len()).unwrap_or(u32::MAX) + 1;
            let started = self.cx.now();
            let (done, then) = self.step(connector, (profile, reason.take()), (id, number), deletes_wait, progress)?;
            progress.step_finished(done.result);
            sent += done.sent;
            record.steps.push(StepRecord {
                number,
                kind: done.kind,
                started,
                ended: Some(self.cx.now()),
                result: RunResult(Cow::Borrowed(done.result)),
                counters: done.counters,
                message: done.message,
            });
            // The run has its result when it has ended, and not while another step is to come.
            if then.is_none() {
                record.ended = Some(self.cx.now());
                // What an earlier step warned of is not well because a later one went through.
                let warned = record.steps.iter().any(|step| severity(&step.result.0) > 0);
                let result = if done.result == "success" && warned { "completed-warnings" } else { done.result };
                record.result = RunResult(Cow::Borrowed(result));
            }
            self.write(&record)?;
            for event in done.events {
                self.tell(event);
            }
            next = then;
        }
        self.tell(Event::RunFinished {
            connector: name,
            profile: record.profile.clone(),
            result: record.result.0.to_string(),
            message: record.steps.last().and_then(|step| step.message.clone()),
        });
        Ok((record, sent))
    }

    /// Writes down a run that was to come and did not begin, because somebody asked for the end.
    pub(super) fn record_unbegun(
        &self,
        connector: ConnectorId,
        profile: Profile,
        belonging: Belonging,
        message: String,
    ) -> Result<RunRecord, StoreError> {
        let name = self.participants.get(&connector).map(|participant| participant.name.clone()).unwrap_or_default();
        let (id, now) = (self.store.snapshot()?.next_run()?, self.cx.now());
        let result = RunResult(Cow::Borrowed(EngineError::Cancelled.result()));
        let record = RunRecord {
            id,
            cycle: belonging.cycle(id),
            connector,
            connector_name: name.clone(),
            profile: profile.as_str().to_owned(),
            started: now,
            ended: Some(now),
            result: result.clone(),
            steps: vec![StepRecord {
                number: 1,
                kind: profile.step_kind(),
                started: now,
                ended: Some(now),
                result,
                counters: BTreeMap::new(),
                message: Some(message.clone()),
            }],
        };
        self.write(&record)?;
        let (profile, result) = (record.profile.clone(), record.result.0.to_string());
        self.tell(Event::RunFinished { connector: name, profile, result, message: Some(message) });
        Ok(record)
    }

    /// One step; with it, the step that has to follow in the same run because this one could not do it.
    fn step(
        &self,
        id: ConnectorId,
        (profile, reason): (Profile, Option<String>),
        step: (RunId, u32),
        deletes_wait: Option<&DeletesWait>,
        progress: &mut dyn Progress,
    ) -> Result<(Done, Option<Profile>), StoreError> {
        let kind = profile.step_kind();
        let name = self.participants.get(&id).map(|participant| participant.name.clone()).unwrap_or_default();
        let (run, profile_name) = (step.0.0, profile.as_str());
        let span =
            tracing::info_span!(target: TRACED, "step", connector = %name, profile = profile_name, run, result = tracing::field::Empty);
        let span = span.entered();
        progress.step_started(profile.as_str(), &name);
        let mut recorder = StepRecorder::new(progress);
        if let Some(reason) = reason {
            let step = if kind == StepKind::FullImport { "import" } else { "synchronization" };
            recorder.note(format!("a full step, because {reason}"));
            recorder.event(Event::FullStepRequired { connector: name.clone(), step, reason });
        }
        let watermark = if kind == StepKind::DeltaImport { self.store.snapshot()?.state(id, WATERMARK)? } else { None };
        let mut sent = 0;
        let outcome = match profile {
            Profile::FullImport | Profile::DeltaImport => self.import(id, watermark, step, &mut recorder),
            Profile::FullSynchronization | Profile::DeltaSynchronization => {
                self.synchronize(id, profile == Profile::FullSynchronization, step, &mut recorder)
            }
            Profile::Export => self.export(id, &name, step, deletes_wait, &mut recorder).map(|(result, handed_over)| {
                sent = handed_over;
                result
            }),
        };
        let (result, mut message, then) = match outcome {
            Ok(result) => (result, None, None),
            Err(EngineError::Connector(error))
                if kind == StepKind::DeltaImport
                    && matches!(error.kind, ConnectorErrorKind::WatermarkLost | ConnectorErrorKind::ReadAnew) =>
            {
                self.leave_watermark(id)?;
                let result = if error.kind == ConnectorErrorKind::ReadAnew { "success" } else { "completed-warnings" };
                (result, Some(error.message), Some(Profile::FullImport))
            }
            Err(error) => {
                if matches!(&error, EngineError::Guard { result, .. } if *result == "stopped-shrink-guard") {
                    recorder.event(Event::ImportShrank { connector: name.clone(), message: error.to_string() });
                }
                // What an export that ended early had handed over, only an import knows. A guard may have let nothing out at all.
                if kind == StepKind::Export && (recorder.all_handed_over() > 0 || !matches!(error, EngineError::Guard { .. })) {
                    sent += recorder.all_handed_over().max(1);
                }
                let begun = recorder.counters().values().any(|count| *count > 0);
                let result = if begun { error.result_under_way() } else { error.result() };
                (result, Some(error.to_string()), None)
            }
        };
        span.record("result", result);
        if !recorder.notes.is_empty() {
            let notes = recorder.notes.join("\n");
            message = Some(message.map_or_else(|| notes.clone(), |message| format!("{message}\n{notes}")));
        }
        let done = Done { kind, result, message, counters: recorder.counters().clone(), events: recorder.take_events(), sent };
        // What the step did not write itself; a step that failed counted objects, too.
        let rest = recorder.take_objects();
        if !rest.is_empty() {
            let mut changes = ChangeSet::new();
            changes.step_objects.extend(rest.into_iter().map(|object| (step.0, step.1, object)));
            self.store.apply(changes)?;
        }
        Ok((done, then))
    }

    fn import(
        &self,
        id: ConnectorId,
        watermark: Option<Vec<u8>>,
        step: (RunId, u32),
        recorder: &mut StepRecorder<'_>,
    ) -> Result<&'static str, EngineError> {
        self.refuse_the_abandoned()?;
        import::finish_taking_back(self.store, id, self.takes_exports(id))?;
        let connector = self.connector(id)?;
        let asked = self.store.snapshot()?.state(id, FULL_IMPORT_ASKED)?;
        let attributes = self.attributes(id);
        let full = watermark.is_none();
        let name = self.participants.get(&id).map_or("", |participant| participant.name.as_str());
        let mut options = ImportOptions::full(id, name, attributes.clone(), step);
        options.full = full;
        options.reads = Some(self.reads(id));
        options.managed = self.rules.outbound_attributes(id).into_iter().collect();
        options.written_only = self.rules.written_only(id).into_iter().collect();
        options.shrink_percent_max = self.caution.shrink_percent_max;
        options.allow_shrink = self.caution.allow_shrink;
        options.allow_incomplete = self.caution.allow_incomplete;
        options.errors_max = self.caution.errors_max;
        options.references_stay = connector.references_stay();
        options.renames_are_told = connector.renames_are_told();
        options.references_have_anchors = connector.references_have_anchors();
        options.always_there = import::AlwaysThere::of(Arc::clone(connector));
        options.takes_exports = self.takes_exports(id);
        if full && Belief::of(&self.store.snapshot()?, id)?.doubt == Some(Doubt::Removed) {
            import::take_back(self.store, id)?;
        }
        self.look_at_containers(id, recorder)?;
        if full && let Some(since) = self.last_place(id)? {
            let told = self.bridge.wait(connector.look_back(&self.cx, &since, self.caution.allow_shrink));
            told.map_err(|error| file_lost(error, name))?.into_iter().for_each(|told| recorder.note(told));
        }
        let kind = watermark.map_or(ImportKind::Full, |since| ImportKind::Delta { since });
        let request = ImportRequest { kind, attributes };
        let stream = self.bridge.wait(connector.import(&self.cx, request.clone()))?;
        let mut ask_again = |anchors: &[Anchor]| self.bridge.wait(connector.find(&self.cx, &request, anchors));
        // Once more: what was renamed meanwhile was read by its old name.
        let mut last_look = |recorder: &mut StepRecorder<'_>| self.look_at_containers(id, recorder);
        let pages = self.bridge.pages(stream);
        let result = import::import_looking(self.store, pages, &mut ask_again, &mut last_look, &options, &self.cx, recorder)?;
        let kept_aside = self.look_at_names(id, connector, recorder)?;
        let result = if kept_aside && result == "success" { "completed-warnings" } else { result };
        if full {
            if let Some(reason) = Belief::of(&self.store.snapshot()?, id)?.reason() {
                recorder.note(format!(
                    "nobody knows whose the entries are that could not be read, so '{name}' still counts as not read as a whole, because \
                     {reason}: correct them (`syncline run show {}`) and read again by `syncline run start '{name}' full-import`",
                    step.0.0
                ));
            }
            if self.caution.allow_shrink {
                self.believe_pilots(id)?;
            }
            self.done_as_asked(id, FULL_IMPORT_ASKED, asked)?;
        }
        Ok(result)
    }

    fn synchronize(
        &self,
        id: ConnectorId,
        full: bool,
        step: (RunId, u32),
        recorder: &mut StepRecorder<'_>,
    ) -> Result<&'static str, EngineError> {
        self.refuse_the_abandoned()?;
        self.refuse_the_returned(id)?;
        self.refuse_the_disbelieved(id)?;
        self.refuse_missing_pilots()?;
        self.note_removals()?;
        self.forget_what_other_rules_made()?;
        let asked = self.store.snapshot()?.state(id, FULL_SYNC_ASKED)?;
        let request = SyncRequest {
            connector: id,
            full,
            parameters: RunParameters { now: self.cx.now(), ..self.parameters.clone() },
            connectors: self.participants.iter().map(|(id, participant)| (*id, participant.name.clone())).collect(),
            step,
            batch: BATCH,
        };
        let outcome = run_sync(self.store, self.rules, &request, &self.cx, recorder)?;
        if full {
            // A delta drops those of the objects that it changed, and others are not moot.
            self.drop_moot_errors()?;
            self.remember(id, SYNCHRONIZED, self.rules_and_parameters().to_le_bytes().to_vec())?;
            self.done_as_asked(id, FULL_SYNC_ASKED, asked)?;
        }
        Ok(if outcome.failed > 0 { "completed-sync-errors" } else { "success" })
    }

    /// A step with these rules changes the metaverse for everybody: what spaces were synchronized with before counts no more,
    /// also when those rules come back.
    pub(super) fn forget_what_other_rules_made(&self) -> Result<(), StoreError> {
        let now = self.rules_and_parameters().to_le_bytes();
        let snapshot = self.store.snapshot()?;
        let mut changes = ChangeSet::new();
        for other in self.participants.keys() {
            if snapshot.state(*other, SYNCHRONIZED)?.is_some_and(|known| known != now) {
                changes.states.push((*other, SYNCHRONIZED.to_owned(), None));
            }
        }
        drop(snapshot);
        if changes.is_empty() { Ok(()) } else { self.store.apply(changes) }
    }

    /// A refusal is over when what was refused is no longer wanted.
    pub(super) fn drop_moot_errors(&self) -> Result<(), StoreError> {
        let snapshot = self.store.snapshot()?;
        let mut changes = ChangeSet::new();
        for target in self.rules.targets() {
            for (id, side, error) in snapshot.errors(*target, None, usize::MAX)? {
                let moot = |object: &CsObject| !object.stage(Stage::PendingExport).is_some() && !object.stage(Stage::InProgress).is_some();
                let object = snapshot.cs_object(id)?;
                // What the target keeps aside, it keeps aside also when nothing waits.
                let stays = object.is_some() && error.is_kept_aside();
                if side == ErrorSide::Export && !stays && object.as_ref().is_none_or(moot) {
                    changes.errors.push((id, side, None));
                }
            }
        }
        drop(snapshot);
        if changes.is_empty() { Ok(()) } else { self.store.apply(changes) }
    }

    fn export(
        &self,
        id: ConnectorId,
        name: &str,
        step: (RunId, u32),
        deletes_wait: Option<&DeletesWait>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(&'static str, u64), EngineError> {
        self.export_of(id, name, step, deletes_wait, None, recorder)
    }

    /// As [`Self::export`], of one object alone where one is given.
    pub(super) fn export_of(
        &self,
        id: ConnectorId,
        name: &str,
        step: (RunId, u32),
        deletes_wait: Option<&DeletesWait>,
        only: Option<CsId>,
        recorder: &mut StepRecorder<'_>,
    ) -> Result<(&'static str, u64), EngineError> {
        self.refuse_the_abandoned()?;
        self.refuse_the_unread(id, name)?;
        let options = ExportOptions {
            limits: self.caution.limits.clone(),
            allow_deletes: self.caution.allow_deletes,
            deletes_wait: deletes_wait.map_or_else(|| self.unsynchronized(id), |wait| Ok(Some(wait.clone())))?,
            errors_max: self.caution.errors_max,
            only,
            review: self.caution.review.clone(),
            installation: self.caution.installation.clone(),
            ..ExportOptions::new(id, name, step)
        };
        let (result, outcome) = export(self.store, self.connector(id)?, &self.bridge, &options, &self.cx, recorder)?;
        Ok((result, outcome.sent + outcome.unknown))
    }

    /// Notes, before anything is synchronized, whose deletes would follow from the removal of connectors.
    pub(super) fn note_removals(&self) -> Result<(), StoreError> {
        let leaving = self.participants.iter().filter(|(_, participant)| participant.standing == Standing::Removed);
        let leaving: Vec<(ConnectorId, &str)> = leaving.map(|(id, participant)| (*id, participant.name.as_str())).collect();
        follow_removals(self.store, self.rules.targets(), &leaving, self.cx.now())
    }

    /// True when rules write to a connector and, as far as that is known, it can be written to.
    pub(super) fn takes_exports(&self, id: ConnectorId) -> bool {
        let takes = |participant: &Participant| participant.connector.as_ref().is_none_or(|known| known.capabilities().export);
        self.participants.get(&id).is_some_and(|participant| participant.target && takes(participant))
    }

    pub(super) fn connector(&self, id: ConnectorId) -> Result<&Arc<dyn Connector>, EngineError> {
        let participant = self.participants.get(&id);
        participant.and_then(|participant| participant.connector.as_ref()).ok_or_else(|| EngineError::Guard {
            result: "no-start-connection",
            message: participant
                .and_then(|participant| participant.unusable.clone())
                .unwrap_or_else(|| "the connector was not set up for this run".to_owned()),
        })
    }

    fn remember(&self, id: ConnectorId, name: &str, content: Vec<u8>) -> Result<(), StoreError> {
        if self.store.snapshot()?.state(id, name)?.as_ref() == Some(&content) {
            return Ok(());
        }
        let mut changes = ChangeSet::new();
        changes.states.push((id, name.to_owned(), Some(content)));
        self.store.apply(changes)
    }

    /// A full step that somebody asked for is done. Whoever asked again meanwhile gets another one.
    fn done_as_asked(&self, id: ConnectorId, name: &str, asked: Option<Vec<u8>>) -> Result<(), StoreError> {
        if asked.is_none() || self.store.snapshot()?.state(id, name)? != asked {
            return Ok(());
        }
        let mut changes = ChangeSet::new();
        changes.states.push((id, name.to_owned(), None));
        self.store.apply(changes)
    }

    /// Nothing goes on from there any more; what was read up to there is still looked back on.
    fn leave_watermark(&self, id: ConnectorId) -> Result<(), StoreError> {
        let mut changes = ChangeSet::new();
        if let Some(watermark) = self.store.snapshot()?.state(id, WATERMARK)? {
            changes.states.push((id, LEFT_PLACE.to_owned(), Some(watermark)));
        }
        changes.states.push((id, WATERMARK.to_owned(), None));
        self.store.apply(changes)
    }

    /// Up to where the last import that was complete has read, whether or not another one can go on from there.
    fn last_place(&self, id: ConnectorId) -> Result<Option<Vec<u8>>, StoreError> {
        let snapshot = self.store.snapshot()?;
        Ok(match snapshot.state(id, WATERMARK)? {
            Some(watermark) => Some(watermark),
            None => snapshot.state(id, LEFT_PLACE)?,
        })
    }

    pub(super) fn write(&self, record: &RunRecord) -> Result<(), StoreError> {
        let mut changes = ChangeSet::new();
        changes.runs.push(record.clone());
        self.store.apply(changes)
    }

    /// Removes history that is older than it is kept.
    pub(super) fn forget_old_runs(&self) -> Result<(), StoreError> {
        forget_runs(self.store, Retention::of_days(self.caution.history_days, self.cx.now())).map(drop)
    }

    pub(super) fn tell(&self, event: Event) {
        self.events.event(self.cx.now(), &event);
    }
}

impl std::fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("participants", &self.participants.keys()).finish_non_exhaustive()
    }
}

/// Removes the history of runs that are older than it is kept. Gives how many there were. Costs what is removed.
///
/// # Errors
/// When the store refuses.
pub fn forget_runs(store: &Store, retention: Retention) -> Result<u64, StoreError> {
    let old = store.snapshot()?.old_runs(retention)?;
    // One by one: a run may have as many rows as the directory has objects.
    for run in &old {
        store.apply(ChangeSet { runs_delete: vec![*run], ..ChangeSet::new() })?;
    }
    Ok(old.len() as u64)
}

/// The result of an import that was stopped because a file of its folder is missing or empty.
const MISSING_FILE: &str = "stopped-missing-file";

/// A lost file stops the import like a guard: a person says whether it is meant.
fn file_lost(error: ConnectorError, name: &str) -> EngineError {
    if error.kind != ConnectorErrorKind::FileLost {
        return error.into();
    }
    let message = format!("{error}; if it is meant, say so once by `syncline run start '{name}' full-import --allow-shrink`");
    EngineError::Guard { result: MISSING_FILE, message }
}

/// True for the results of steps that a guard stopped before they did harm, and that a person has to look at.
pub fn stopped_by_guard(result: &str) -> bool {
    guard_of(result).is_some()
}

/// What people call the guard that stopped a step with this result, if one did.
pub fn guard_of(result: &str) -> Option<&'static str> {
    match result {
        "stopped-deletion-threshold-exceeded" => Some("deletion threshold"),
        "stopped-shrink-guard" => Some("shrink guard"),
        RENAMED_CONTAINER => Some("renamed containers"),
        MISSING_FILE => Some("missing files"),
        "stopped-by-review" => Some("review of exports"),
        "stopped-another-installation" => Some("one active installation"),
        "stopped-staging-mode" => Some("staging mode"),
        _ => None,
    }
}

/// How bad a result is: 0 is success.
pub fn severity(result: &str) -> u8 {
    match result {
        "success" => 0,
        _ if result.starts_with("completed-") && !result.ends_with("errors") => 1,
        _ if result.starts_with("completed-") => 2,
        _ if result.starts_with("no-start-") => 4,
        _ if stopped_by_guard(result) => 5,
        _ => 3,
    }
}
