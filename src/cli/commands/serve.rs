//! `serve`: the running service.

use crate::cli::App;
use crate::cli::args::ServeArguments;
use crate::cli::attached::Desk;
use crate::cli::error::{CommandError, Exit};
use crate::config::Config;
use crate::server::{ServeError, Station, serve};
use crate::service::Service;
use serde::Serialize;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// So long threads may take to end.
const LAST_BREATH: std::time::Duration = std::time::Duration::from_secs(2);

#[derive(Serialize)]
struct Ready {
    /// Where commands are taken.
    socket: String,
    /// Where health can be asked for.
    health: Option<String>,
    /// When the next cycle begins.
    next_cycle: Option<String>,
}

pub(in crate::cli) fn run(app: &App, _: &ServeArguments) -> Result<Exit, CommandError> {
    let config = Config::load(&app.config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        CommandError::new("service", Exit::NotStarted, format!("no threads can be started: {error}"))
            .hint("`ulimit -u` shows how many this account may have")
    })?;
    let handle = runtime.handle().clone();
    let service = app.patiently(|| Ok(Service::open_in(config.clone(), app.store.as_deref(), handle.clone())?))?;
    // A service that could never run a cycle should not look as if it did.
    service.rules()?;
    let station = Arc::new(Station::new(app.cx.clone(), service));
    let desk = Desk { station: Arc::clone(&station), config: app.config.clone(), store: app.store.clone() };
    runtime.spawn(signals(Arc::clone(&station), app.cx.cancel.clone()));
    let served = runtime.block_on(serve(station, Arc::new(desk), |station| ready(app, station)));
    // A command that does not end by itself must not keep the service alive.
    runtime.shutdown_timeout(LAST_BREATH);
    served.map_err(refused)?;
    Ok(Exit::Ok)
}

fn ready(app: &App, station: &Station) {
    let service = station.service();
    let next_cycle = service.scheduler(&app.cx, true).ok().and_then(|scheduler| scheduler.next_cycle);
    let facts = Ready {
        socket: service.config().socket(service.store_path()).display().to_string(),
        health: service.config().service.health.map(|address| format!("http://{address}/healthz")),
        next_cycle,
    };
    app.output.result(&facts, |facts| {
        let next = facts.next_cycle.as_deref().map_or_else(
            || "No cycle runs by itself: `scheduler show` says why".to_owned(),
            |at| format!("The next cycle begins at {}", crate::cli::output::moment(at)),
        );
        app.output.note(format!("Serving. {next}. Commands of this user are taken at {}.", facts.socket));
    });
}

fn refused(error: ServeError) -> CommandError {
    match error {
        ServeError::Service(error) => error.into(),
        ServeError::Socket { .. } => CommandError::new("service", Exit::NotStarted, error.to_string())
            .hint("name another place by [service] socket in syncline.toml"),
        ServeError::Part { .. } => CommandError::new("service", Exit::Stopped, error.to_string())
            .hint("start it again; if it ends in the same way, `syncline support bundle` has what a developer needs"),
        other => CommandError::new("service", Exit::NotStarted, other.to_string()),
    }
}

/// A request to terminate or an interrupt ends the service at the next border of what runs, the second one at once; a
/// hangup lets it look at its configuration, whatever runs.
async fn signals(station: Arc<Station>, stop: tokio_util::sync::CancellationToken) {
    let (Ok(mut terminate), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else { return };
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => {
                let station = Arc::clone(&station);
                tokio::task::spawn_blocking(move || {
                    station.reload();
                    station.look();
                });
            }
        }
    }
    stop.cancel();
    let code = tokio::select! {
        _ = tokio::signal::ctrl_c() => 130,
        _ = terminate.recv() => 143,
    };
    std::process::exit(code);
}
