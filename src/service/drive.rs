//! Runs profiles and cycles: starts what they need, lends it to the engine, and gives back what was recorded.

use super::facilities::{TenantLease, TurnHeld};
use super::parameters::kept_extensions;
use super::tenancy::Purpose;
use super::tenant::TenantPlace;
use super::views::RunView;
use super::wiring::Wired;
use super::{Service, ServiceError, compile_rules};
use crate::config::{ConnectorConfig, ConnectorSettings};
use crate::context::Context;
use crate::engine::bridge::Bridge;
use crate::engine::export::{DeleteSet, ExportPlan, HeldDeletes};
use crate::engine::run::{Caution, Engine, Participant, Profile, Standing, severity};
use crate::engine::sync::Decree;
use crate::engine::{EngineError, Progress};
use crate::model::{ConnectorId, CsId, Dn};
use crate::schedule::{CycleEnd, Reached};
use crate::store::RunRecord;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// One profile on one connector.
    Profile {
        /// The connector.
        connector: ConnectorId,
        /// The profile.
        profile: Profile,
    },
    /// Synchronization of one object, with what follows from it.
    Object {
        /// The object.
        object: CsId,
        /// With all its targets compared.
        full: bool,
    },
    /// The import of one entry.
    Entry {
        /// Its connector.
        connector: ConnectorId,
        /// Its name.
        dn: Dn,
    },
    /// The export of one object of a target.
    Target {
        /// The object.
        object: CsId,
    },
    /// What an administrator decided about one object, with what follows from it.
    Decree {
        /// The object.
        object: CsId,
        /// The decision.
        decree: Decree,
    },
    /// A whole cycle over all connectors.
    Cycle {
        /// With full steps.
        initial: bool,
    },
}

/// What one call of [`Service::drive`] may do beyond the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriveOptions {
    /// Believe full imports that miss most of the known objects.
    pub allow_shrink: bool,
    /// Take entries in full imports as they are that lack what each of their kind has, or are of another kind than before.
    pub allow_incomplete: bool,
    /// Send exactly these waiting deletes, whatever the threshold says.
    pub allow_deletes: Option<DeleteSet>,
    /// Send this plan and nothing else.
    pub plan: Option<ExportPlan>,
    /// Where the embedded tenant runs.
    pub tenant: TenantPlace,
    /// How long to wait for work that runs already in this process.
    pub patience: Duration,
}

/// Connectors made for some work, and the tenants that run for them.
#[derive(Default)]
struct Crew {
    wired: BTreeMap<ConnectorId, Wired>,
    /// A connector once more, for an entry alone.
    narrowed: Option<Wired>,
    /// Connectors that cannot be used, and why. A cycle goes on with the others.
    unusable: BTreeMap<ConnectorId, String>,
    tenants: Vec<TenantLease>,
}

/// Threads for connections: those of this process, or some for a single piece of work.
enum Threads {
    Lent(Handle),
    Own(Runtime),
}

impl Threads {
    fn handle(&self) -> &Handle {
        match self {
            Self::Lent(handle) => handle,
            Self::Own(runtime) => runtime.handle(),
        }
    }

    /// A process that goes on hears signals itself.
    fn watch_signals(&self, cx: &Context) -> Option<tokio::task::JoinHandle<()>> {
        match self {
            Self::Lent(_) => None,
            Self::Own(runtime) => Some(runtime.spawn(stop_on_signal(cx.clone()))),
        }
    }
}

impl Service {
    /// Does work, one piece after the other. Gives the runs in the order in which they began. Where the process does
    /// nothing else, an interrupt or a request to terminate lets the running step end at its next border, and a second
    /// one ends the process.
    ///
    /// # Errors
    /// When nothing could be begun. What goes wrong within a run is the run's result.
    pub fn drive(
        &self,
        cx: &Context,
        work: &[Work],
        options: DriveOptions,
        progress: &mut dyn Progress,
    ) -> Result<Vec<RunView>, ServiceError> {
        let threads = self.threads()?;
        let turn = threads.handle().block_on(self.facilities.turn.take(cx, &self.title(work), options.patience))?;
        let cycle = work.iter().any(|piece| matches!(piece, Work::Cycle { .. }));
        let began = cx.now();
        if !cycle {
            let done = self.do_work(cx, &threads, work, options, turn, progress);
            let read = done.as_ref().map(|runs| self.read_by(runs)).unwrap_or_default();
            if !read.is_empty() {
                self.facilities.seen_disabled.forget(&read, began, cx.now());
                self.note_schedule(|memory| memory.note_read(read, began));
            }
            return done;
        }
        // Whatever keeps a cycle from going on, it counts: the schedule must not try the same again at once.
        self.note_schedule(|memory| memory.begin_cycle(began));
        let done = self.do_work(cx, &threads, work, options, turn, progress);
        // One that was told to stop, and left something out, has a run that says so; told behind its last step, it did everything.
        let initial = work.contains(&Work::Cycle { initial: true });
        let end = match &done {
            Ok(runs) if !cx.cancelled() || !runs.iter().any(|run| run.result == EngineError::Cancelled.result()) => {
                let held = self.holds_deletes().unwrap_or(true);
                let reached = match reached(runs) {
                    Reached::Everything if held => Reached::Read,
                    reached => reached,
                };
                CycleEnd::Whole { initial, reached, all_read: all_read(runs) }
            }
            _ => CycleEnd::BrokenOff,
        };
        let read = done.as_ref().map(|runs| self.read_by(runs)).unwrap_or_default();
        self.facilities.seen_disabled.forget(&read, began, cx.now());
        self.note_schedule(|memory| {
            memory.note_read(read, began);
            memory.end_cycle(cx.now(), end);
        });
        done
    }

    /// True while deletes are held, because a connector was removed or people may only have moved: no cycle does everything then.
    fn holds_deletes(&self) -> Result<bool, ServiceError> {
        let snapshot = self.store.snapshot()?;
        for target in self.rules()?.targets() {
            if !HeldDeletes::of(&snapshot, self.store.names(), *target)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Does work that has the turn.
    fn do_work(
        &self,
        cx: &Context,
        threads: &Threads,
        work: &[Work],
        options: DriveOptions,
        turn: TurnHeld<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<RunView>, ServiceError> {
        self.rules()?;
        self.keep_source_anchor()?;
        self.finish_removals()?;
        let runtime = threads.handle();
        let watcher = threads.watch_signals(cx);
        let mut crew = Crew::default();
        let done = runtime
            .block_on(self.gather(work, options, cx, &mut crew))
            .and_then(|()| self.work(cx, work, options, &crew, Bridge::new(runtime.clone()), progress));
        drop(turn);
        if done.is_ok() && work.iter().any(|piece| matches!(piece, Work::Cycle { .. })) {
            // Passwords go their own way: what becomes of them is told by events and `phs status`, not by the runs.
            if let Err(error) = runtime.block_on(self.passwords_behind_cycle(cx)) {
                tracing::warn!("passwords were not synchronized: {error}");
            }
        }
        if let Some(watcher) = watcher {
            watcher.abort();
        }
        crew.wired.clear();
        runtime.block_on(async {
            for lease in crew.tenants.drain(..) {
                self.facilities.tenants.give_back(lease).await;
            }
        });
        if done.is_ok() {
            self.keep_source_anchor()?;
        }
        done.map(|records| records.iter().map(RunView::of).collect())
    }

    /// The connectors of which an import of these runs came to its end.
    fn read_by(&self, runs: &[RunView]) -> Vec<ConnectorId> {
        let read = |name: &str| runs.iter().any(|run| run.connector == name && is_import(run) && severity(&run.result) < 3);
        self.connectors.iter().filter(|(_, name)| read(name)).map(|(id, _)| *id).collect()
    }

    /// Work in a few words, for others who want the turn meanwhile.
    fn title(&self, work: &[Work]) -> String {
        match work.first() {
            Some(Work::Cycle { initial: true }) => "an initial cycle".to_owned(),
            Some(Work::Cycle { initial: false }) => "a cycle".to_owned(),
            Some(Work::Profile { connector, profile }) => {
                format!("{} of {}", profile.as_str(), self.connectors.get(connector).map_or("?", String::as_str))
            }
            Some(Work::Object { object, .. }) => format!("the synchronization of object {object}"),
            Some(Work::Entry { dn, .. }) => format!("the import of {dn}"),
            Some(Work::Target { object }) => format!("the export of object {object}"),
            Some(Work::Decree { object, .. }) => format!("a decision about object {object}"),
            None => "nothing".to_owned(),
        }
    }

    /// Threads for computing, once in a process, and for connections.
    fn threads(&self) -> Result<Threads, ServiceError> {
        // Later calls change nothing.
        drop(rayon::ThreadPoolBuilder::new().num_threads(self.config.limits.threads).build_global());
        if let Some(handle) = &self.facilities.runtime {
            return Ok(Threads::Lent(handle.clone()));
        }
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map(Threads::Own).map_err(ServiceError::no_threads)
    }

    /// Does asynchronous work on threads for connections; an interrupt or a request to terminate asks it to end.
    pub(super) fn with_runtime<T>(&self, cx: &Context, work: impl AsyncFnOnce() -> Result<T, ServiceError>) -> Result<T, ServiceError> {
        let threads = self.threads()?;
        let watcher = threads.watch_signals(cx);
        let done = threads.handle().block_on(work());
        if let Some(watcher) = watcher {
            watcher.abort();
        }
        done
    }

    /// Does something with a connector; the embedded tenant runs meanwhile.
    pub(super) fn with_wired<T>(
        &self,
        cx: &Context,
        config: &ConnectorConfig,
        work: impl AsyncFnOnce(&Wired) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        // Files of entries are read by imports alone, which say so in the history.
        if !matches!(config.settings, ConnectorSettings::Ldif(_)) {
            self.has_its_files(config)?;
        }
        self.with_runtime(cx, async || {
            let pool = &self.facilities.tenants;
            let lease = match &config.settings {
                ConnectorSettings::Entra(file) if file.is_embedded() => {
                    Some(pool.take(&config.name, file, self.password_only(), TenantPlace::Here, cx).await?)
                }
                _ => None,
            };
            let done = match self.wire(config, lease.as_ref().map(TenantLease::tenant), Purpose::Looks, cx).await {
                Ok(wired) => work(&wired).await,
                Err(error) => Err(error),
            };
            if let Some(lease) = lease {
                pool.give_back(lease).await;
            }
            done
        })
    }

    /// Makes the connectors that the work reads or writes.
    async fn gather(&self, work: &[Work], options: DriveOptions, cx: &Context, crew: &mut Crew) -> Result<(), ServiceError> {
        let mut needed: BTreeSet<ConnectorId> = BTreeSet::new();
        for piece in work {
            match piece {
                Work::Cycle { .. } => needed.extend(self.connectors.keys()),
                Work::Profile { connector, profile: Profile::FullImport | Profile::DeltaImport | Profile::Export }
                | Work::Entry { connector, .. } => {
                    needed.insert(*connector);
                }
                Work::Target { object } => {
                    needed.insert(object.connector());
                }
                Work::Profile { .. } | Work::Object { .. } | Work::Decree { .. } => {}
            }
        }
        // It goes on with the others.
        let cycle = work.iter().any(|piece| matches!(piece, Work::Cycle { .. }));
        for id in needed {
            let Some(config) = self.connectors.get(&id).and_then(|name| self.config.connector(name)) else { continue };
            let tenant = match &config.settings {
                ConnectorSettings::Entra(file) if file.is_embedded() => {
                    match self.facilities.tenants.take(&config.name, file, self.password_only(), options.tenant, cx).await {
                        Err(error) if cycle => {
                            crew.unusable.insert(id, error.to_string());
                            continue;
                        }
                        taken => {
                            // Whatever goes wrong from here on, the crew gives it back.
                            crew.tenants.push(taken?);
                            crew.tenants.last()
                        }
                    }
                }
                _ => None,
            };
            let asked = work.iter().find_map(|piece| match piece {
                Work::Entry { connector, dn } if *connector == id => Some(dn),
                _ => None,
            });
            let narrowed = asked.map(|dn| self.narrowed(id, config, dn)).transpose()?.flatten();
            if let Some(narrowed) = narrowed {
                crew.narrowed = Some(self.wire(&narrowed, tenant.map(TenantLease::tenant), Purpose::Runs, cx).await?);
            }
            let wired = match self.wire(config, tenant.map(TenantLease::tenant), Purpose::Runs, cx).await {
                Err(error) if cycle => {
                    crew.unusable.insert(id, error.to_string());
                    continue;
                }
                wired => wired?,
            };
            if let Some(facts) = &wired.facts {
                self.keep_facts(id, facts)?;
            }
            crew.wired.insert(id, wired);
        }
        Ok(())
    }

    /// The connector for an entry that nobody knows yet: a server is searched at its name alone. Whoever is known is found by
    /// the anchor, whatever its name is now.
    pub(super) fn narrowed(&self, id: ConnectorId, config: &ConnectorConfig, dn: &Dn) -> Result<Option<ConnectorConfig>, ServiceError> {
        if !matches!(config.settings, ConnectorSettings::Ad(_) | ConnectorSettings::Ldap(_)) {
            return Ok(None);
        }
        if self.store.snapshot()?.cs_by_dn(id, &dn.key())?.is_some() || !self.is_selected(&config.name, dn)? {
            return Ok(None);
        }
        let mut narrowed = config.clone();
        if let Some(selection) = narrowed.selection_mut() {
            selection.include = vec![dn.as_str().to_owned()];
            selection.exclude.clear();
        }
        Ok(Some(narrowed))
    }

    fn work(
        &self,
        cx: &Context,
        work: &[Work],
        options: DriveOptions,
        crew: &Crew,
        bridge: Bridge,
        progress: &mut dyn Progress,
    ) -> Result<Vec<RunRecord>, ServiceError> {
        // What directories told just now may be news: another schema has other built-in rules.
        let extensions = kept_extensions(&self.store, self.connectors.keys())?;
        let compiled = if extensions == self.extensions {
            None
        } else {
            Some(compile_rules(&self.config, self.store.names(), &self.connectors, &extensions).map_err(ServiceError::Rules)?)
        };
        let rules = match &compiled {
            Some(rules) => rules,
            None => self.rules()?,
        };
        let participant = |id: &ConnectorId, name: &String| Participant {
            name: name.clone(),
            connector: crew.wired.get(id).map(|wired| wired.connector.clone()),
            unusable: crew.unusable.get(id).cloned(),
            target: rules.targets().contains(id),
            selection: self.config.connector(name).map_or(0, super::connectors::selection),
            standing: Standing::Configured,
        };
        let mut participants: BTreeMap<ConnectorId, Participant> =
            self.connectors.iter().map(|(id, name)| (*id, participant(id, name))).collect();
        for (id, (name, standing)) in self.former_connectors()? {
            participants.insert(id, Participant { name, connector: None, unusable: None, target: false, selection: 0, standing });
        }
        let (guard, memory) = (&self.config.guard, self.scheduler_memory()?);
        let journal = self.journal();
        let engine = Engine {
            store: &self.store,
            rules,
            bridge,
            participants,
            parameters: self.kept_parameters(cx.now())?,
            caution: Caution {
                limits: self.facilities.limits.clone(),
                allow_deletes: options.allow_deletes,
                errors_max: self.config.limits.object_errors,
                shrink_percent_max: guard.shrink_percent,
                allow_shrink: options.allow_shrink,
                allow_incomplete: options.allow_incomplete,
                history_days: self.config.limits.history_days,
                review: Some(self.reviewer(options.plan)?),
                installation: Some(self.installation()?),
                too_old: self.connectors.keys().copied().filter(|id| memory.is_too_old(*id, cx.now())).collect(),
            },
            cx: cx.clone(),
            events: &journal,
        };
        engine.recover()?;
        let mut records = Vec::new();
        for piece in work {
            match piece {
                Work::Profile { connector, profile } => records.push(engine.run(*connector, *profile, progress)?),
                Work::Object { object, full } => records.push(engine.synchronize_object(*object, *full, progress)?),
                Work::Entry { connector, dn } => {
                    let narrowed = crew.narrowed.as_ref().map(|wired| &wired.connector);
                    records.push(engine.import_entry(*connector, dn, narrowed, progress)?);
                }
                Work::Target { object } => records.push(engine.export_object(*object, progress)?),
                Work::Decree { object, decree } => records.push(engine.decree(*object, *decree, progress)?),
                Work::Cycle { initial } => records.extend(engine.cycle(*initial, progress)?),
            }
        }
        Ok(records)
    }
}

/// How far a cycle of these runs came.
fn reached(runs: &[RunView]) -> Reached {
    let failed = |run: &RunView| severity(&run.result) >= 3;
    let sends = |run: &RunView| run.profile == Profile::Export.as_str();
    match (runs.is_empty(), runs.iter().any(|run| failed(run) && !sends(run)), runs.iter().any(failed)) {
        (true, ..) | (_, true, _) => Reached::Nothing,
        (_, _, true) => Reached::Read,
        _ => Reached::Everything,
    }
}

fn is_import(run: &RunView) -> bool {
    [Profile::FullImport.as_str(), Profile::DeltaImport.as_str()].contains(&run.profile.as_str())
}

/// True when the first import of every connector was a full one. What a target shows behind an export is read as changes.
fn all_read(runs: &[RunView]) -> bool {
    let mut connectors = BTreeSet::new();
    let full = |run: &RunView| run.steps.last().is_some_and(|step| step.kind == "full-import");
    runs.iter().filter(|run| is_import(run)).filter(|run| connectors.insert(run.connector.clone())).all(full)
}

/// Asks the work to end at the first interrupt, request to terminate or lost terminal; the second one ends the process.
async fn stop_on_signal(cx: Context) {
    let (Ok(mut terminate), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => tracing::warn!("stopping at the next border; what is done stays done. Press again to end at once"),
        _ = terminate.recv() => tracing::warn!("stopping at the next border; what is done stays done"),
        _ = hangup.recv() => {}
    }
    cx.cancel.cancel();
    let code = tokio::select! {
        _ = tokio::signal::ctrl_c() => 130,
        _ = terminate.recv() => 143,
    };
    std::process::exit(code);
}
