//! The running service: cycles on schedule, the password agent and listening to directories beside them, and a socket on
//! which commands of this machine are done. One process per store.

mod client;
mod health;
mod socket;
mod station;
mod supervisor;
mod tasks;
mod wire;

pub use client::{Piece, RunningService};
pub use socket::{Caller, Commands, ControlSocket};
pub use station::Station;
pub use supervisor::{Duties, supervise};
pub use wire::Call;

use crate::events::Event;
use sd_notify::NotifyState;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;

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
}

/// Serves until the station's context is cancelled; then ends what runs at its next border. `ready` is called when
/// commands are taken.
///
/// # Errors
/// When it could not begin. What goes wrong later is told by events, and it goes on.
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
    let tenants = service.hold_tenants(&station.cx).await?;
    drop(service);
    let stop = station.cx.cancel.clone();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(socket.serve(commands, stop.clone()));
    if let Some(listener) = health {
        tasks.spawn(health::serve(listener, Arc::clone(&station)));
    }
    tasks.spawn(tasks::passwords(Arc::clone(&station)));
    tasks.spawn(tasks::watches(Arc::clone(&station)));
    tasks.spawn(tasks::watchdog(station.cx.clone()));
    station.tell(&Event::ServiceStarted { version: env!("CARGO_PKG_VERSION").to_owned() });
    tell_system(&[NotifyState::Ready]);
    ready(&station);
    supervise(&station.cx, &station, &station.wake).await;
    tell_system(&[NotifyState::Stopping]);
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!("a part of the service met an error of its own: {error}");
        }
    }
    station.service().release_tenants(tenants).await;
    station.tell(&Event::ServiceStopping);
    Ok(())
}

/// Tells the service manager how things stand (sd_notify(3)); nobody listens where there is none.
fn tell_system(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager could not be told: {error}");
    }
}
