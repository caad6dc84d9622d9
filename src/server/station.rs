//! What a running service is made of: the present configuration with its store, and everything that goes on at the same
//! time around it.

use super::supervisor::Duties;
use crate::config::Config;
use crate::context::Context;
use crate::engine::Silent;
use crate::events::Event;
use crate::schedule::{CycleReason, Due, Memory, Schedule};
use crate::service::{DriveOptions, Service, ServiceError, Work};
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;

/// A running service.
#[derive(Debug)]
pub struct Station {
    pub(super) cx: Context,
    folder: PathBuf,
    service: RwLock<Arc<Service>>,
    /// The fingerprint of the configuration that was looked at last, whether it could be used or not.
    seen: Mutex<Option<u64>>,
    /// What is wrong with it, when it could not be used.
    refused: Mutex<Option<String>>,
    /// Called when something is to be looked at at once.
    pub(super) wake: Notify,
    /// Called when another configuration counts.
    pub(super) changed: tokio::sync::watch::Sender<u64>,
}

/// A cycle waits so long for a run that somebody started by hand, and is tried again behind it.
const PATIENCE: Duration = Duration::from_secs(20);

impl Station {
    /// A service on an open store. `service` was opened for the runtime that this runs on.
    pub fn new(cx: Context, service: Service) -> Self {
        let folder = service.config().folder.clone();
        let seen = Config::fingerprint(&folder).ok();
        let (changed, _) = tokio::sync::watch::channel(0);
        Self {
            cx,
            folder,
            service: RwLock::new(Arc::new(service)),
            seen: Mutex::new(seen),
            refused: Mutex::default(),
            wake: Notify::new(),
            changed,
        }
    }

    /// The present configuration with its store.
    pub fn service(&self) -> Arc<Service> {
        Arc::clone(&self.service.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at once whether something was changed or asked for.
    pub fn look(&self) {
        self.wake.notify_one();
    }

    /// A directory told that something changed.
    pub(super) fn advise(&self) {
        let now = self.cx.now();
        self.service().note_schedule(|memory| {
            memory.changed.get_or_insert(now.0);
        });
        self.wake.notify_one();
    }

    pub(super) fn tell(&self, event: &Event) {
        self.service().tell(self.cx.now(), event);
    }

    /// Takes over a configuration that was changed. One that cannot be used is told once, and the old one goes on.
    pub fn reload(&self) {
        let Ok(found) = Config::fingerprint(&self.folder) else { return };
        // Held to the end: who looks meanwhile must not go on with the old one.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == Some(found) {
            return;
        }
        *seen = Some(found);
        self.take_over();
    }

    /// Makes the service anew from configuration and store, whether a file changed or not.
    pub fn renew(&self) {
        let _seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_over();
    }

    fn take_over(&self) {
        match self.reconfigured() {
            Ok(service) => {
                *self.service.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(service);
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.tell(&Event::ConfigurationTaken);
                self.changed.send_modify(|generation| *generation += 1);
            }
            Err(error) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                self.tell(&Event::ConfigurationRefused { message: error.to_string() });
            }
        }
    }

    /// Why the configuration that lies in the folder is not the one that counts, if so.
    pub fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reconfigured(&self) -> Result<Service, ServiceError> {
        let config = Config::load(&self.folder)?;
        let service = self.service().reconfigured(config)?;
        service.rules()?;
        Ok(service)
    }

    /// One cycle. What goes wrong in it is told by its runs; what keeps it from beginning is told here.
    fn cycle(&self, initial: bool, reason: CycleReason) {
        if reason == CycleReason::TooOld {
            tracing::warn!("no cycle has succeeded for a week: everything is read and evaluated");
        }
        let service = self.service();
        let options = DriveOptions { patience: PATIENCE, ..DriveOptions::default() };
        match service.drive(&self.cx, &[Work::Cycle { initial }], options, &mut Silent) {
            // Its runs tell how it went; while something else runs, it stays due.
            Ok(_) | Err(ServiceError::Busy(_)) => {}
            Err(error) => {
                self.tell(&Event::CycleNotStarted { message: error.to_string() });
                let now = self.cx.now();
                service.note_schedule(|memory| {
                    memory.begin_cycle(now);
                    memory.end_cycle(now, false);
                });
            }
        }
    }

    fn maintain(&self) {
        let service = self.service();
        if let Err(error) = service.maintain(&self.cx) {
            tracing::warn!("maintenance did not come to its end: {error}");
        }
        let now = self.cx.now();
        service.note_schedule(|memory| memory.end_maintenance(now));
    }
}

#[async_trait]
impl Duties for Arc<Station> {
    async fn refresh(&self) {
        let station = Arc::clone(self);
        off_thread(move || station.reload()).await;
    }

    fn plan(&self) -> (Schedule, Memory) {
        let service = self.service();
        // A store that cannot be read now says so in the cycle that it is opened for.
        (service.schedule(), service.scheduler_memory().unwrap_or_default())
    }

    async fn perform(&self, due: Due) {
        let station = Arc::clone(self);
        off_thread(move || match due {
            Due::Cycle { initial, reason } => station.cycle(initial, reason),
            Due::Maintenance => station.maintain(),
        })
        .await;
    }
}

/// Does blocking work aside. A panic in it is told by its own message and ends only the work.
async fn off_thread(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(work).await {
        tracing::error!("the service met an error of its own and goes on: {error}");
    }
}
