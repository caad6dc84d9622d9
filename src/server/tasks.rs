//! What goes on beside the supervisor's loop: the password agent, listening to directories, embedded tenants, looking at the
//! configuration, and signs of life.

use super::station::{Station, off_thread};
use super::tell_system;
use crate::context::Context;
use crate::model::ConnectorId;
use crate::service::TenantLease;
use futures_util::StreamExt as _;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// What failed is tried again after this time, and after twice the time whenever it fails again.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// How often it is looked whether people are to be told of something, and whether the configuration was changed.
const LOOK_EVERY: Duration = Duration::from_mins(1);
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
            // The agent may have been at work when they were switched off.
            off_thread(move || {
                if let Err(error) = service.forget_password_changes() {
                    tracing::warn!("changes of passwords go on being noted: {error}");
                }
            })
            .await;
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
        for id in station.service().with_accounts() {
            let cx = Context { cancel: stop.clone(), ..station.cx.clone() };
            listening.spawn(look_for_disabled(Arc::clone(&station), cx, id));
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
                // Nobody told what happened before.
                station.advise();
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
            }
            Err(error) => {
                tracing::debug!("{id} cannot be listened to now: {error}");
                rest(&cx, &mut pause).await;
            }
        }
    }
}

/// Looks for accounts that were disabled, and has a cycle run at once when there is one.
async fn look_for_disabled(station: Arc<Station>, cx: Context, id: ConnectorId) {
    let mut pause = FIRST_PAUSE;
    while !cx.cancelled() {
        match station.service().watch_disabled(&cx, id).await {
            Ok(None) => return,
            Ok(Some(mut looks)) => {
                // It looks from now on: nobody looked before, or since the one that a changed configuration ended.
                station.advise();
                while let Some(found) = looks.next().await {
                    let news = match found {
                        Ok(accounts) => {
                            let (service, cx) = (station.service(), cx.clone());
                            // Whoever cannot say counts as one who says yes.
                            let asked = tokio::task::spawn_blocking(move || service.is_news(&cx, id, &accounts));
                            !matches!(asked.await, Ok(Ok(false)))
                        }
                        Err(error) => {
                            tracing::info!("{id} cannot be looked at for disabled accounts, the schedule goes on: {error}");
                            break;
                        }
                    };
                    pause = FIRST_PAUSE;
                    if news {
                        station.advise();
                    }
                }
                if cx.cancelled() {
                    return;
                }
                rest(&cx, &mut pause).await;
            }
            Err(error) => {
                tracing::debug!("{id} cannot be looked at for disabled accounts now: {error}");
                rest(&cx, &mut pause).await;
            }
        }
    }
}

/// Looks at the configuration, also while a cycle keeps the supervisor's loop from it for hours.
pub(super) async fn configuration(station: Arc<Station>) {
    while !station.cx.cancelled() {
        tokio::select! {
            () = station.cx.clock.sleep(LOOK_EVERY) => {}
            () = station.cx.cancel.cancelled() => return,
        }
        let looking = Arc::clone(&station);
        off_thread(move || looking.reload()).await;
    }
}

/// Lets the embedded tenants run that the configuration names, as it names them.
pub(super) async fn tenants(station: Arc<Station>, mut leases: Vec<TenantLease>) {
    let mut changed = station.changed.subscribe();
    let mut pause = FIRST_PAUSE;
    while !station.cx.cancelled() {
        changed.mark_unchanged();
        let failed = station.service().hold_tenants(&station.cx, &mut leases).await.err();
        if let Some(error) = &failed {
            tracing::warn!("{error}; it is tried again in {} s", pause.as_secs());
        }
        tokio::select! {
            () = rest(&station.cx, &mut pause), if failed.is_some() => {}
            _ = changed.changed() => pause = FIRST_PAUSE,
            () = station.cx.cancel.cancelled() => {}
        }
    }
    station.service().release_tenants(leases).await;
}

/// Tells people of what needs them, where that is wanted.
pub(super) async fn alerts(station: Arc<Station>) {
    let mut changed = station.changed.subscribe();
    while !station.cx.cancelled() {
        changed.mark_unchanged();
        let wanted = station.service().config().alerts.is_wanted();
        if wanted {
            let looking = Arc::clone(&station);
            off_thread(move || looking.herald().look(&looking)).await;
        }
        tokio::select! {
            () = station.cx.clock.sleep(LOOK_EVERY), if wanted => {}
            _ = changed.changed() => {}
            () = station.cx.cancel.cancelled() => {}
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

/// Tells the service manager that this process does its work, twice as often as it wants to hear it; nothing more when the work
/// hangs, so that the manager starts another process.
pub(super) async fn watchdog(station: Arc<Station>, wanted: Duration) {
    // The machine's time, whatever the service's clock says: the manager has no other.
    let mut ticks = tokio::time::interval(wanted / 2);
    let mut hung = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => match station.pulse.stopped(&station.cx) {
                None => tell_system(&[NotifyState::Watchdog]),
                Some(quiet) if !hung => {
                    hung = true;
                    tracing::error!("nothing has got on for {} s: the service manager is no longer told that all is well", quiet.as_secs());
                }
                Some(_) => {}
            },
            () = station.cx.cancel.cancelled() => return,
        }
    }
}
