//! The running service: cycles on schedule, the password agent and listening to directories beside them, and a socket on
//! which commands of this machine are done. One process per store.

mod client;
mod health;
mod herald;
mod pulse;
mod socket;
mod station;
mod supervisor;
mod tasks;
mod wire;

pub use client::{Piece, RunningService};
pub use pulse::Pulse;
pub use socket::{Caller, Commands, ControlSocket};
pub use station::Station;
pub use supervisor::{Duties, supervise};
pub use wire::Call;

use crate::events::Event;
use sd_notify::NotifyState;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// Why a service could not begin its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Commands could not reach it.
    #[error("the control socket {}: {reason}", .path.display())]
    Socket {
        /// Its place.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// Its health could not be asked for.
    #[error("[service] health = \"{address}\": {reason}")]
    Health {
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        reason: io::Error,
    },
    /// The embedded tenant could not be started.
    #[error(transparent)]
    Service(#[from] crate::service::ServiceError),
    /// A part of it ended by itself: only a new process has all of them again.
    #[error("{part} ended by itself: {reason}")]
    Part {
        /// Which part.
        part: &'static str,
        /// Why.
        reason: String,
    },
}

/// Serves until the station's context is cancelled; then ends what runs at its next border. `ready` is called when
/// commands are taken.
///
/// # Errors
/// When it could not begin, or a part of it broke off. What else goes wrong later is told by events, and it goes on.
pub async fn serve(station: Arc<Station>, commands: Arc<dyn Commands>, ready: impl FnOnce(&Station)) -> Result<(), ServeError> {
    let service = station.service();
    let path = service.config().socket(service.store_path());
    let socket = ControlSocket::open(&path).map_err(|reason| ServeError::Socket { path, reason })?;
    let health = match service.config().service.health {
        Some(address) => {
            let failed = |reason| ServeError::Health { address, reason };
            Some(TcpListener::bind(address).await.map_err(failed)?)
        }
        None => None,
    };
    // A tenant of its own is there for as long as the service: people sign in to it between cycles, too.
    let mut tenants = Vec::new();
    if let Err(error) = service.hold_tenants(&station.cx, &mut tenants).await {
        service.release_tenants(tenants).await;
        return Err(error.into());
    }
    drop(service);
    let stop = station.cx.cancel.clone();
    let mut parts = Parts::default();
    parts.start("the control socket", socket.serve(commands, stop.clone()));
    if let Some(listener) = health {
        parts.start("health", health::serve(listener, Arc::clone(&station)));
    }
    parts.start("password synchronization", tasks::passwords(Arc::clone(&station)));
    parts.start("listening to directories", tasks::watches(Arc::clone(&station)));
    parts.start("embedded tenants", tasks::tenants(Arc::clone(&station), tenants));
    parts.start("looking at the configuration", tasks::configuration(Arc::clone(&station)));
    parts.start("telling people", tasks::alerts(Arc::clone(&station)));
    if let Some(wanted) = sd_notify::watchdog_enabled() {
        parts.start("signs of life", tasks::watchdog(Arc::clone(&station), wanted));
    }
    station.tell(&Event::ServiceStarted { version: env!("CARGO_PKG_VERSION").to_owned() });
    station.resume();
    station.pulse.beat(&station.cx);
    tell_system(&[NotifyState::Ready]);
    ready(&station);
    let done = parts.beside(supervise(&station.cx, &station, &station.wake, &station.pulse), &stop).await;
    tell_system(&[NotifyState::Stopping]);
    parts.end().await;
    station.tell(&Event::ServiceStopping);
    done
}

/// What goes on beside the supervisor's loop, by name. None of it ends before the service does.
#[derive(Default)]
struct Parts {
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Parts {
    fn start(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        let task = self.running.spawn(part);
        self.names.insert(task.id(), name);
    }

    /// Does the main work. When a part ends before it, the work is told to end as well: half a service looks like a whole one.
    async fn beside(&mut self, work: impl Future<Output = ()>, stop: &CancellationToken) -> Result<(), ServeError> {
        tokio::pin!(work);
        let ended = tokio::select! {
            () = &mut work => return Ok(()),
            Some(ended) = self.running.join_next_with_id() => ended,
        };
        let (id, reason) = match ended {
            // They end in any order when the service is told to.
            Ok(_) if stop.is_cancelled() => {
                work.await;
                return Ok(());
            }
            Ok((id, ())) => (id, "it came to its end, and nobody had told it to".to_owned()),
            Err(error) => (error.id(), format!("it met an error of its own: {error}")),
        };
        let part = self.names.get(&id).copied().unwrap_or("a part of the service");
        tracing::error!("{part} ended by itself, so the service ends: {reason}");
        stop.cancel();
        work.await;
        Err(ServeError::Part { part, reason })
    }

    /// Waits until all have ended.
    async fn end(&mut self) {
        while let Some(ended) = self.running.join_next().await {
            if let Err(error) = ended {
                tracing::error!("a part of the service met an error of its own: {error}");
            }
        }
    }
}

/// Tells the service manager how things stand (sd_notify(3)); nobody listens where there is none.
fn tell_system(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager could not be told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goes on until the service ends.
    async fn faithful(stop: CancellationToken) {
        stop.cancelled().await;
    }

    #[tokio::test]
    async fn a_part_that_breaks_off_ends_the_service() {
        for breaks in [true, false] {
            let (mut parts, stop) = (Parts::default(), CancellationToken::new());
            parts.start("the first", faithful(stop.clone()));
            parts.start("the second", async move { assert!(!breaks, "as a test wants it") });
            let failed = parts.beside(faithful(stop.clone()), &stop).await.unwrap_err();
            assert!(failed.to_string().starts_with("the second ended by itself"), "{failed}");
            assert!(stop.is_cancelled());
            parts.end().await;
        }
    }

    #[tokio::test]
    async fn parts_that_end_with_the_service_are_no_failure() {
        let (mut parts, stop) = (Parts::default(), CancellationToken::new());
        parts.start("the first", faithful(stop.clone()));
        let (work, ending) = (faithful(stop.clone()), stop.clone());
        let (done, ()) = tokio::join!(parts.beside(work, &stop), async move { ending.cancel() });
        done.unwrap();
        parts.end().await;
    }
}
