//! What goes on beside the supervisor's loop: the password agent, listening to directories, and signs of life.

use super::station::Station;
use super::tell_system;
use crate::context::Context;
use crate::model::ConnectorId;
use futures_util::StreamExt as _;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// What failed is tried again after this time, and after twice the time whenever it fails again.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Pauses are never longer.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Lets the password agent run, with the configuration that counts.
pub(super) async fn passwords(station: Arc<Station>) {
    let mut changed = station.changed.subscribe();
    let mut pause = FIRST_PAUSE;
    while !station.cx.cancelled() {
        changed.mark_unchanged();
        let service = station.service();
        if service.password_sources().is_empty() {
            pause = FIRST_PAUSE;
            tokio::select! {
                _ = changed.changed() => {}
                () = station.cx.cancel.cancelled() => {}
            }
            continue;
        }
        let cx = Context { cancel: station.cx.cancel.child_token(), ..station.cx.clone() };
        let stop = cx.cancel.clone();
        let mut agent = tokio::task::spawn_blocking(move || service.run_password_agent(&cx));
        let ended = tokio::select! {
            ended = &mut agent => ended,
            _ = changed.changed() => {
                // Ends at the next border between batches and begins again with what counts now.
                stop.cancel();
                pause = FIRST_PAUSE;
                agent.await
            }
        };
        let failed = match ended {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!("passwords are not synchronized for {} s: {failed}", pause.as_secs());
        rest(&station.cx, &mut pause).await;
    }
}

/// Listens to every directory that can tell of changes.
pub(super) async fn watches(station: Arc<Station>) {
    let mut changed = station.changed.subscribe();
    while !station.cx.cancelled() {
        changed.mark_unchanged();
        let stop = station.cx.cancel.child_token();
        let mut listening = JoinSet::new();
        for id in station.service().watchable() {
            let cx = Context { cancel: stop.clone(), ..station.cx.clone() };
            listening.spawn(listen(Arc::clone(&station), cx, id));
        }
        tokio::select! {
            _ = changed.changed() => {}
            () = station.cx.cancel.cancelled() => {}
        }
        stop.cancel();
        while listening.join_next().await.is_some() {}
    }
}

/// Listens to one directory, and calls again when the connection is lost.
async fn listen(station: Arc<Station>, cx: Context, id: ConnectorId) {
    let mut pause = FIRST_PAUSE;
    while !cx.cancelled() {
        match station.service().watch(&cx, id).await {
            Ok(None) => return,
            Ok(Some(mut changes)) => {
                loop {
                    let told = tokio::select! {
                        told = changes.next() => told,
                        () = cx.cancel.cancelled() => return,
                    };
                    match told {
                        Some(Ok(())) => {
                            pause = FIRST_PAUSE;
                            station.advise();
                        }
                        Some(Err(error)) => {
                            tracing::info!("{id} tells of changes no longer, the schedule goes on: {error}");
                            break;
                        }
                        None => break,
                    }
                }
                rest(&cx, &mut pause).await;
                // Nobody told what happened meanwhile.
                station.advise();
            }
            Err(error) => {
                tracing::debug!("{id} cannot be listened to now: {error}");
                rest(&cx, &mut pause).await;
            }
        }
    }
}

/// Waits, and longer the next time.
async fn rest(cx: &Context, pause: &mut Duration) {
    tokio::select! {
        () = cx.clock.sleep(*pause) => {}
        () = cx.cancel.cancelled() => {}
    }
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

/// Tells the service manager that this process is alive, twice as often as it wants to hear it.
pub(super) async fn watchdog(cx: Context) {
    let Some(wanted) = sd_notify::watchdog_enabled() else { return };
    // The machine's time, whatever the service's clock says: the manager has no other.
    let mut ticks = tokio::time::interval(wanted / 2);
    loop {
        tokio::select! {
            _ = ticks.tick() => tell_system(&[NotifyState::Watchdog]),
            () = cx.cancel.cancelled() => return,
        }
    }
}
