//! One object, from its directory to its targets and back: read, staged, synchronized, sent and confirmed by itself, in ten
//! named steps (specification: administration surface, section 2.2, Single Object Sync).

use super::object_read::ObjectRead;
use super::preview::PreviewView;
use super::{DriveOptions, RunView, Service, ServiceError, Work};
use crate::connector::directory::{Scope, Selection};
use crate::context::Context;
use crate::engine::Progress;
use crate::engine::run::{Profile, severity};
use crate::model::{ConnectorId, CsId, CsObject, Dn, ErrorSide, Stage, counted};
use serde::Serialize;
use std::collections::BTreeSet;

/// One object's way.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectSyncView {
    /// What was asked for.
    pub asked: String,
    /// The object's number, once it has one.
    pub id: Option<String>,
    /// Its connector.
    pub connector: String,
    /// Its name.
    pub dn: String,
    /// Nothing was written.
    pub what_if: bool,
    /// The steps, in their order.
    pub steps: Vec<ObjectStep>,
    /// What the directory says now, where it was only looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<ObjectRead>,
    /// What synchronization did, or would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<PreviewView>,
    /// The runs that did it.
    pub runs: Vec<RunView>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectStep {
    /// From 1 to 10.
    pub number: usize,
    /// Its name.
    pub name: &'static str,
    /// `done`, `skipped` or `failed`.
    pub outcome: &'static str,
    /// What was found or done.
    pub detail: String,
}

/// The names of the steps.
const STEPS: [&str; 10] = [
    "find the object",
    "selection",
    "read its directory",
    "stage what it says",
    "join and projection",
    "metaverse",
    "targets",
    "synchronize",
    "export",
    "confirm",
];

impl ObjectSyncView {
    fn step(&mut self, outcome: &'static str, detail: impl Into<String>) {
        let number = self.steps.len() + 1;
        let name = STEPS.get(number - 1).copied().unwrap_or("");
        self.steps.push(ObjectStep { number, name, outcome, detail: detail.into() });
    }

    /// The steps that are left do not take place.
    fn skip_rest(mut self, reason: &str) -> Self {
        while self.steps.len() < STEPS.len() {
            self.step("skipped", reason);
        }
        self
    }

    fn tell_preview(&mut self, preview: &PreviewView) {
        let mv = preview.metaverse.map(|mv| format!(", metaverse object {mv}")).unwrap_or_default();
        match &preview.problem {
            Some(problem) => self.step("failed", format!("{}: {}", problem.code, problem.detail)),
            None => self.step("done", format!("{}{mv}", preview.decision)),
        }
        let changed: Vec<&str> =
            preview.attributes.iter().filter(|attribute| attribute.changed).map(|attribute| attribute.attribute.as_str()).collect();
        self.step("done", if changed.is_empty() { "nothing changes".to_owned() } else { format!("changes: {}", changed.join(", ")) });
        let targets = preview.targets.iter().filter(|target| target.operation != "none" || target.released);
        let told: Vec<String> = targets.map(|target| format!("{}: {} {}", target.connector, target.operation, target.dn)).collect();
        self.step("done", if told.is_empty() { "nothing to send".to_owned() } else { told.join("; ") });
    }

    /// True when every step was done.
    pub fn succeeded(&self) -> bool {
        self.steps.iter().all(|step| step.outcome != "failed")
    }
}

/// Which entry is meant.
pub(super) struct Wanted {
    /// The directory.
    pub(super) connector: ConnectorId,
    /// The object as the store has it.
    pub(super) known: Option<CsObject>,
    /// Its name, as far as it is known.
    pub(super) dn: Dn,
}

impl Service {
    /// Takes one object through import, synchronization, export and confirmation, one short piece of work after the other. With
    /// `what_if` nothing is written.
    ///
    /// # Errors
    /// When the object is unknown and no name, or something else runs for longer than the options allow. What a step comes
    /// to is the step's outcome.
    pub fn sync_object(
        &self,
        cx: &Context,
        asked: &str,
        what_if: bool,
        options: DriveOptions,
        progress: &mut dyn Progress,
    ) -> Result<ObjectSyncView, ServiceError> {
        let wanted = self.wanted_entry(asked)?;
        let name = self.connectors.get(&wanted.connector).cloned().unwrap_or_default();
        let mut view = ObjectSyncView {
            asked: asked.to_owned(),
            id: wanted.known.as_ref().map(|object| object.id.to_string()),
            connector: name.clone(),
            dn: wanted.dn.as_str().to_owned(),
            what_if,
            steps: Vec::new(),
            read: None,
            preview: None,
            runs: Vec::new(),
        };
        let known = wanted.known.as_ref().map_or_else(|| "not known yet".to_owned(), |object| format!("known as {}", object.id));
        view.step("done", format!("{} in {name}, {known}", wanted.dn));
        let selected = self.is_selected(&name, &wanted.dn)?;
        if !selected && wanted.known.is_none() {
            view.step("failed", "its container is not read: see `syncline partition include --help`");
            return Ok(view.skip_rest("it is not selected"));
        }
        view.step("done", if selected { "its container is read" } else { "its container is not read: it leaves" });
        if what_if {
            if !self.look_at_directory(cx, &wanted, &mut view) {
                return Ok(view.skip_rest("there is nothing to look at"));
            }
        } else {
            let work = Work::Entry { connector: wanted.connector, dn: wanted.dn.clone() };
            let Some(run) = self.drive(cx, &[work], options, progress)?.pop() else { return Ok(view.skip_rest("nothing ran")) };
            let (told, failed) = (said(&run), severity(&run.result) >= 2);
            view.runs.push(run);
            if failed {
                view.step("failed", told);
                return Ok(view.skip_rest("the entry could not be read"));
            }
            view.step("done", "one entry was asked for");
            view.step("done", told);
        }
        let snapshot = self.store.snapshot()?;
        let id = match wanted.known.as_ref().map(|object| object.id) {
            // Its name may be another one by now.
            Some(id) if snapshot.cs_object(id)?.is_some() => Some(id),
            _ => snapshot.cs_by_dn(wanted.connector, &wanted.dn.key())?,
        };
        drop(snapshot);
        let Some(id) = id else {
            return Ok(view.skip_rest(if what_if {
                "rules see it once it was imported"
            } else {
                "there is no such object in the connector space"
            }));
        };
        view.id = Some(id.to_string());
        let before = self.targets_of(id)?;
        let preview = self.preview(id, true, cx.now())?;
        view.tell_preview(&preview);
        let failed = preview.problem.is_some();
        view.preview = Some(preview);
        if what_if || failed {
            return Ok(view.skip_rest(if failed { "a rule stops it" } else { "only a look" }));
        }
        let Some(run) = self.drive(cx, &[Work::Object { object: id, full: true }], options, progress)?.pop() else {
            return Ok(view.skip_rest("nothing ran"));
        };
        let failed = severity(&run.result) >= 2;
        view.step(if failed { "failed" } else { "done" }, said(&run));
        view.runs.push(run);
        if failed {
            return Ok(view.skip_rest("synchronization did not succeed"));
        }
        let targets: BTreeSet<CsId> = before.into_iter().chain(self.targets_of(id)?).collect();
        self.send(cx, &targets, options, progress, &mut view)?;
        Ok(view)
    }

    /// Reads the entry and says what an import would stage. False when there is nothing to go on with.
    fn look_at_directory(&self, cx: &Context, wanted: &Wanted, view: &mut ObjectSyncView) -> bool {
        let read = match self.read_object(cx, wanted) {
            Ok(read) => read,
            Err(error) => {
                view.step("failed", error.to_string());
                return false;
            }
        };
        let names: Vec<&str> = read.changes.iter().map(|change| change.attribute.as_str()).collect();
        let renamed = !Dn::parse(&read.dn).is_ok_and(|dn| dn.same(&wanted.dn));
        match (read.found, wanted.known.is_some()) {
            (false, _) => {
                view.step("done", "its directory does not have it any more, or it is not selected");
                view.step(
                    "failed",
                    "nothing would be changed: who left is found by an import that reads everything: `syncline cycle start`",
                );
                view.read = Some(read);
                return false;
            }
            (true, false) => {
                view.step("done", format!("read as {}", read.dn));
                view.step("done", format!("would be new, with {}", names.join(", ")));
            }
            (true, true) => {
                view.step("done", if renamed { format!("read, as {} now", read.dn) } else { "read".to_owned() });
                let told = if names.is_empty() { "nothing changed".to_owned() } else { format!("would change: {}", names.join(", ")) };
                let stale = !names.is_empty() || renamed;
                view.step("done", if stale { format!("{told}; the steps below look at what was imported before") } else { told });
            }
        }
        view.read = Some(read);
        true
    }

    /// Exports target objects one by one and imports their targets to see whether everything arrived.
    fn send(
        &self,
        cx: &Context,
        targets: &BTreeSet<CsId>,
        options: DriveOptions,
        progress: &mut dyn Progress,
        view: &mut ObjectSyncView,
    ) -> Result<(), ServiceError> {
        let mut waiting = Vec::new();
        for id in targets {
            if self.store.snapshot()?.cs_object(*id)?.is_some_and(|object| object.stage(Stage::PendingExport).is_some()) {
                waiting.push(*id);
            }
        }
        if waiting.is_empty() {
            view.step("skipped", "nothing waits");
            view.step("skipped", "nothing was sent");
            return Ok(());
        }
        let (mut told, mut failed) = (Vec::new(), false);
        for id in &waiting {
            for run in self.drive(cx, &[Work::Target { object: *id }], options, progress)? {
                failed |= severity(&run.result) >= 2;
                told.push(format!("{}: {}", run.connector, said(&run)));
                view.runs.push(run);
            }
        }
        view.step(if failed { "failed" } else { "done" }, told.join("; "));
        if failed {
            view.step("skipped", "not everything was sent");
            return Ok(());
        }
        let connectors: BTreeSet<ConnectorId> = waiting.iter().map(|id| id.connector()).collect();
        for connector in connectors {
            let work = [Work::Profile { connector, profile: Profile::DeltaImport }];
            view.runs.extend(self.drive(cx, &work, options, progress)?);
        }
        let snapshot = self.store.snapshot()?;
        let (mut open, mut held) = (Vec::new(), Vec::new());
        for id in &waiting {
            let Some(object) = snapshot.cs_object(*id)? else { continue };
            if object.stage(Stage::PendingExport).is_some() {
                held.push(object.dn.to_string());
            }
            let unsettled = [Stage::Unconfirmed, Stage::InProgress].iter().any(|stage| object.stage(*stage).is_some());
            if unsettled || snapshot.error(*id, ErrorSide::Export)?.is_some() {
                open.push(object.dn.to_string());
            }
        }
        if open.is_empty() && !held.is_empty() {
            view.step("done", format!("still waits, as the step before says: {}", held.join("; ")));
        } else if open.is_empty() {
            view.step("done", counted(waiting.len() as u64, "object arrived as it was sent", "objects arrived as they were sent"));
        } else {
            view.step("failed", format!("not confirmed: {}", open.join("; ")));
        }
        Ok(())
    }

    /// The objects of targets that stand for the same metaverse object.
    fn targets_of(&self, id: CsId) -> Result<Vec<CsId>, ServiceError> {
        let snapshot = self.store.snapshot()?;
        let targets = self.rules()?.targets();
        let Some(mv) = snapshot.cs_link(id)?.and_then(crate::model::Link::mv) else { return Ok(Vec::new()) };
        Ok(snapshot.mv_links(mv)?.into_iter().filter(|link| targets.contains(&link.connector())).collect())
    }

    /// True when the containers of a directory that are read hold a name.
    pub(super) fn is_selected(&self, name: &str, dn: &Dn) -> Result<bool, ServiceError> {
        let config = self.directory(name)?;
        let table = config.selection().cloned().unwrap_or_default();
        let selection = Selection { object_types: config.object_types(), include: table.include, exclude: table.exclude };
        let scope = Scope::new(&selection).map_err(|source| ServiceError::Connector { connector: name.to_owned(), source })?;
        Ok(scope.wants(&dn.key()))
    }

    /// The object that a text means: one that is known, or the name of one that is new.
    fn wanted_entry(&self, asked: &str) -> Result<Wanted, ServiceError> {
        use super::Found;
        let browser = self.browse()?;
        match browser.find_origin(asked)? {
            Found::One(id) if self.rules()?.targets().contains(&id.connector()) => {
                let name = self.connectors.get(&id.connector()).cloned().unwrap_or_default();
                Err(ServiceError::NotFound(format!(
                    "'{asked}' is known in {name} alone, and no directory has it: `syncline object explain {id}` says what is known of it. If an entry \
                     of a directory is meant, name that, with the connector before it: 'CONNECTOR:CN=...'"
                )))
            }
            Found::One(id) => {
                let known = self.store.snapshot()?.cs_object(id)?;
                let dn = known.as_ref().and_then(|object| Dn::parse(&object.dn).ok());
                let dn = dn.ok_or_else(|| ServiceError::NotFound(format!("object {id} is gone, or has no name")))?;
                Ok(Wanted { connector: id.connector(), known, dn })
            }
            Found::Several(several) => {
                let shown: Vec<String> = several.iter().take(10).map(ToString::to_string).collect();
                Err(ServiceError::Usage(format!("'{asked}' may mean several objects: {}; give one of these numbers", shown.join(", "))))
            }
            Found::None => self.new_entry(asked),
        }
    }

    fn new_entry(&self, asked: &str) -> Result<Wanted, ServiceError> {
        let named = asked.split_once(':').filter(|(name, _)| self.connector_id(name.trim()).is_ok());
        let directories: Vec<ConnectorId> = if let Some((name, _)) = named {
            vec![self.connector_id(name.trim())?]
        } else {
            let targets = self.rules()?.targets();
            self.connectors.keys().copied().filter(|id| !targets.contains(id)).collect()
        };
        let text = named.map_or(asked, |(_, rest)| rest).trim();
        let dn = Dn::parse(text).ok().filter(|dn| dn.depth() > 0);
        let Some(dn) = dn else {
            return Err(ServiceError::NotFound(format!(
                "no object is known as '{asked}'; somebody who is new is named by the distinguished name, with the connector before it: \
                 `syncline object sync 'connector:CN=…'`"
            )));
        };
        match directories.as_slice() {
            [connector] => Ok(Wanted { connector: *connector, known: None, dn }),
            _ => Err(ServiceError::Usage(format!("nobody is known as {dn}: put the name of the directory before it, `connector:{dn}`"))),
        }
    }
}

/// What a run came to, in a few words.
fn said(run: &RunView) -> String {
    let mut words = vec![run.result.clone()];
    for step in &run.steps {
        words.extend(step.counters.iter().filter(|(_, count)| **count > 0).map(|(name, count)| format!("{name} {count}")));
        words.extend(step.message.iter().filter(|_| severity(&run.result) >= 2).map(|message| message.replace('\n', " ")));
    }
    words.join(", ")
}
