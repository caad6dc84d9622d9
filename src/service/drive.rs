//! Runs profiles and cycles: starts what they need, lends it to the engine, and gives back what was recorded.

use super::journal::Journal;
use super::parameters::kept_extensions;
use super::tenant::{RunningTenant, TenantPlace};
use super::views::RunView;
use super::wiring::Wired;
use super::{Service, ServiceError, compile_rules};
use crate::config::ConnectorSettings;
use crate::context::Context;
use crate::engine::Progress;
use crate::engine::bridge::Bridge;
use crate::engine::export::DeleteSet;
use crate::engine::run::{Caution, Engine, Participant, Profile, Standing};
use crate::model::{ConnectorId, CsId};
use crate::store::RunRecord;
use std::collections::{BTreeMap, BTreeSet};
use tokio::signal::unix::{SignalKind, signal};

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Send exactly these waiting deletes, whatever the threshold says.
    pub allow_deletes: Option<DeleteSet>,
    /// Where the embedded tenant runs.
    pub tenant: TenantPlace,
}

/// Connectors made for some work, and the tenants that run for them.
#[derive(Default)]
struct Crew {
    wired: BTreeMap<ConnectorId, Wired>,
    tenants: Vec<RunningTenant>,
}

impl Service {
    /// Does work, one piece after the other. Gives the runs in the order in which they began. An interrupt or a
    /// request to terminate lets the running step end at its next border; a second one ends the process.
    ///
    /// # Errors
    /// When nothing could be begun. What goes wrong within a run is the run's result.
    pub fn drive(&self, work: &[Work], options: DriveOptions, progress: &mut dyn Progress) -> Result<Vec<RunView>, ServiceError> {
        self.drive_in(&Context::system(), work, options, progress)
    }

    /// As [`Self::drive`], with a clock and a wish to stop from outside.
    ///
    /// # Errors
    /// As [`Self::drive`].
    pub fn drive_in(
        &self,
        cx: &Context,
        work: &[Work],
        options: DriveOptions,
        progress: &mut dyn Progress,
    ) -> Result<Vec<RunView>, ServiceError> {
        self.rules()?;
        self.keep_source_anchor()?;
        let runtime = self.threads()?;
        let watcher = runtime.spawn(stop_on_signal(cx.clone()));
        let mut crew = Crew::default();
        let done = runtime
            .block_on(self.gather(work, options, cx, &mut crew))
            .and_then(|()| self.work(cx, work, options, &crew, Bridge::new(runtime.handle().clone()), progress));
        if done.is_ok() && work.iter().any(|piece| matches!(piece, Work::Cycle { .. })) {
            // Passwords go their own way: what becomes of them is told by events and `phs status`, not by the runs.
            if let Err(error) = runtime.block_on(self.passwords_behind_cycle(cx, crew.tenants.first())) {
                tracing::warn!("passwords were not synchronized: {error}");
            }
        }
        watcher.abort();
        crew.wired.clear();
        runtime.block_on(async {
            for tenant in crew.tenants.drain(..) {
                tenant.stop().await;
            }
        });
        if done.is_ok() {
            self.keep_source_anchor()?;
        }
        done.map(|records| records.iter().map(RunView::of).collect())
    }

    /// Threads for computing, once in a process, and for connections.
    fn threads(&self) -> Result<tokio::runtime::Runtime, ServiceError> {
        // Later calls change nothing.
        drop(rayon::ThreadPoolBuilder::new().num_threads(self.config.limits.threads).build_global());
        let failed = |error| ServiceError::Usage(format!("no threads for connections can be started: {error}"));
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)
    }

    /// Does asynchronous work on threads of its own; an interrupt or a request to terminate asks it to end.
    pub(super) fn with_runtime<T>(&self, cx: &Context, work: impl AsyncFnOnce() -> Result<T, ServiceError>) -> Result<T, ServiceError> {
        let runtime = self.threads()?;
        let watcher = runtime.spawn(stop_on_signal(cx.clone()));
        let done = runtime.block_on(work());
        watcher.abort();
        done
    }

    /// Makes the connectors that the work reads or writes.
    async fn gather(&self, work: &[Work], options: DriveOptions, cx: &Context, crew: &mut Crew) -> Result<(), ServiceError> {
        let mut needed: BTreeSet<ConnectorId> = BTreeSet::new();
        for piece in work {
            match piece {
                Work::Cycle { .. } => needed.extend(self.connectors.keys()),
                Work::Profile { connector, profile: Profile::FullImport | Profile::DeltaImport | Profile::Export } => {
                    needed.insert(*connector);
                }
                Work::Profile { .. } | Work::Object { .. } => {}
            }
        }
        for id in needed {
            let Some(config) = self.connectors.get(&id).and_then(|name| self.config.connector(name)) else { continue };
            let tenant = match &config.settings {
                ConnectorSettings::Entra(file) if file.is_embedded() => {
                    Some(RunningTenant::start(&config.name, file, self.password_only(), options.tenant, cx).await?)
                }
                _ => None,
            };
            let wired = self.wire(config, tenant.as_ref(), cx).await;
            crew.tenants.extend(tenant);
            let wired = wired?;
            if let Some(facts) = &wired.facts {
                self.keep_facts(id, facts)?;
            }
            crew.wired.insert(id, wired);
        }
        Ok(())
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
            target: rules.targets().contains(id),
            selection: self.config.connector(name).map_or(0, super::connectors::selection),
            standing: Standing::Configured,
        };
        let mut participants: BTreeMap<ConnectorId, Participant> =
            self.connectors.iter().map(|(id, name)| (*id, participant(id, name))).collect();
        for (id, (name, standing)) in self.former_connectors()? {
            participants.insert(id, Participant { name, connector: None, target: false, selection: 0, standing });
        }
        let guard = &self.config.guard;
        let journal = Journal::new(&self.store, self.config.limits.history_days);
        let engine = Engine {
            store: &self.store,
            rules,
            bridge,
            participants,
            parameters: self.kept_parameters(cx.now())?,
            caution: Caution {
                deletes_max: Some(guard.max_deletes),
                delete_percent_max: guard.max_delete_percent,
                allow_deletes: options.allow_deletes,
                errors_max: self.config.limits.object_errors,
                staging: guard.staging,
                shrink_percent_max: guard.shrink_percent,
                allow_shrink: options.allow_shrink,
                history_days: self.config.limits.history_days,
                ..Caution::default()
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
                Work::Cycle { initial } => records.extend(engine.cycle(*initial, progress)?),
            }
        }
        Ok(records)
    }
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
