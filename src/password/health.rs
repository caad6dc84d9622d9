//! What keeps the agent from sending at all, and how it finds out that it may again. Each state is told once.

use super::agent::{Agent, HEARTBEAT, Hold, Memory, Pair};
use super::retry;
use super::shared::{Believed, off_thread};
use super::state::{Held, PairState};
use crate::connector::{ConnectorError, ConnectorErrorKind, CredentialError, CredentialErrorKind, PasswordFeatures};
use crate::context::Context;
use crate::engine::active::{self, Look, Rival};
use crate::events::{Event, PasswordEvent};
use crate::model::{ConnectorId, CsId, Timestamp};
use crate::store::StoreError;
use std::time::Duration;

impl Agent {
    /// True when both sides were read and synchronized in full once.
    pub(super) fn is_ready(&self, cx: &Context, pair: &Pair, state: &mut PairState) -> Result<bool, StoreError> {
        let (believed, unread) = Believed::look(&self.shared.store.snapshot()?, pair)?;
        state.ready &= state.believed == believed.numbers();
        if state.ready {
            return Ok(true);
        }
        (state.ready, state.believed) = (unread.is_empty(), believed.numbers());
        if state.ready {
            state.held = None;
        } else if state.held != Some(Held::NotSynchronized) {
            let waiting_for: Vec<String> = unread.into_iter().map(|side| side.name).collect();
            let (connector, waiting_for) = (pair.source_name.clone(), waiting_for.join(", "));
            self.tell(cx, PasswordEvent::Paused { connector, waiting_for });
            state.held = Some(Held::NotSynchronized);
        }
        Ok(state.ready)
    }

    /// The target's settings could not be read.
    pub(super) fn target_unknown(&self, cx: &Context, memory: &mut Memory, pair: &Pair, state: &mut PairState, error: &ConnectorError) {
        let held = match error.kind {
            ConnectorErrorKind::Disabled => Held::Disabled,
            ConnectorErrorKind::Authentication | ConnectorErrorKind::Permission => Held::Denied,
            ConnectorErrorKind::AnotherTenant => Held::AnotherTenant,
            _ => Held::Unreachable,
        };
        if state.held.as_ref() != Some(&held) {
            let (connector, message) = (pair.target_name.clone(), error.to_string());
            self.tell(
                cx,
                match held {
                    Held::Disabled => PasswordEvent::HealingStart { connector, message },
                    Held::Denied => PasswordEvent::AccessDenied { connector, message },
                    _ => PasswordEvent::TargetFailed { connector, message },
                },
            );
        }
        if !matches!(held, Held::Disabled | Held::AnotherTenant) {
            hold(cx, memory, pair.target, None);
        }
        (state.held, state.held_detail) = (Some(held), Some(error.to_string()));
    }

    /// True when the target's features let passwords through; tells when that changes.
    pub(super) fn takes_passwords(&self, cx: &Context, pair: &Pair, state: &mut PairState, features: &PasswordFeatures) -> bool {
        let off = if !features.synchronization {
            Some((Held::Disabled, "directory synchronization is off in the tenant; switch it on there"))
        } else if !features.password_hashes {
            Some((Held::SwitchedOff, "password hash synchronization is off in the tenant; switch it on: `syncline phs enable`"))
        } else {
            None
        };
        let Some((held, detail)) = off else {
            if matches!(state.held, Some(Held::SwitchedOff | Held::Disabled)) {
                self.tell(cx, PasswordEvent::HealingEnd { connector: pair.target_name.clone() });
            }
            // Whether it is there and accepts us, the next answer tells.
            if !matches!(state.held, Some(Held::Denied | Held::Unreachable)) {
                (state.held, state.held_detail) = (None, None);
            }
            return true;
        };
        if state.held.as_ref() != Some(&held) {
            let (connector, message) = (pair.target_name.clone(), detail.to_owned());
            self.tell(cx, PasswordEvent::HealingStart { connector, message });
        }
        (state.held, state.held_detail) = (Some(held), Some(detail.to_owned()));
        false
    }

    /// True when another installation writes to the target. Told once, and nothing is sent until a person decides.
    pub(super) async fn is_displaced(
        &self,
        cx: &Context,
        pair: &Pair,
        state: &mut PairState,
        features: &PasswordFeatures,
    ) -> Result<bool, StoreError> {
        let Some((rival, news)) = self.rival(cx, pair, features).await? else { return Ok(false) };
        if news {
            let (connector, other) = (pair.target_name.clone(), rival.to_string());
            self.shared.events.event(cx.now(), &Event::AnotherInstallation { connector, other });
        }
        let detail = format!("another installation writes to {}: {rival}; `syncline mode show` names both", pair.target_name);
        (state.held, state.held_detail) = (Some(Held::AnotherInstallation), Some(detail));
        Ok(true)
    }

    /// Who else writes to the target, and whether that is news.
    pub(super) async fn rival(&self, cx: &Context, pair: &Pair, features: &PasswordFeatures) -> Result<Option<(Rival, bool)>, StoreError> {
        let Some(ours) = self.installation.clone() else { return Ok(None) };
        let (store, target, last, now) = (self.shared.store.clone(), pair.target, features.last_writer.clone(), cx.now());
        off_thread(move || {
            Ok(match active::look(&store, target, &ours, last.as_ref(), now)? {
                Look::Alone => None,
                // Whom we took over from finds out by itself; until then passwords wait.
                Look::Lingers { rival, .. } => Some((rival, false)),
                Look::Displaced { rival, news } => Some((rival, news)),
            })
        })
        .await
    }

    /// Notes that we wrote to the target.
    pub(super) async fn wrote(&self, cx: &Context, pair: &Pair) -> Result<(), StoreError> {
        if self.installation.is_none() {
            return Ok(());
        }
        let (store, target, told, now) = (self.shared.store.clone(), pair.target, pair.sender.told(), cx.now());
        off_thread(move || active::wrote(&store, target, told, now)).await
    }

    /// The target takes nothing more for the time being. Told once.
    pub(super) fn target_stops(
        &self,
        cx: &Context,
        memory: &mut Memory,
        pair: &Pair,
        state: &mut PairState,
        held: Held,
        error: &CredentialError,
    ) {
        let (connector, message) = (pair.target_name.clone(), error.message.clone());
        if state.held.as_ref() != Some(&held) {
            match held {
                Held::SwitchedOff | Held::Disabled => self.tell(cx, PasswordEvent::HealingStart { connector, message }),
                Held::Denied => self.tell(cx, PasswordEvent::AccessDenied { connector, message }),
                _ => {}
            }
        }
        if matches!(held, Held::Denied | Held::Unreachable) {
            hold(cx, memory, pair.target, error.retry_after);
        }
        (state.held, state.held_detail) = (Some(held), Some(error.message.clone()));
    }

    /// A sign of life when nothing was sent for a while (specification: sync engine 7.4, point 7).
    pub(super) async fn heartbeat(&self, cx: &Context, memory: &mut Memory, pair: &Pair, state: &mut PairState) -> Result<(), StoreError> {
        // After a time without answers it also tells whether the target is back.
        let mut signs = [state.last_sent, state.last_heartbeat].into_iter().flatten();
        let recent = signs.any(|sign| cx.now().since(Timestamp(sign)) < HEARTBEAT);
        if cx.cancelled() || recent && state.held.is_none() {
            return Ok(());
        }
        self.tell(cx, PasswordEvent::PingStart { connector: pair.target_name.clone() });
        match pair.sender.send(cx, &[], Duration::from_secs(30)).await {
            Ok(_) => {
                state.last_heartbeat = Some(cx.now().0);
                state.heartbeat_failure = None;
                (state.held, state.held_detail) = (None, None);
                memory.holds.remove(&pair.target);
                self.wrote(cx, pair).await?;
                self.tell(cx, PasswordEvent::PingEnd { connector: pair.target_name.clone() });
            }
            Err(error) if error.kind == CredentialErrorKind::Cancelled => {}
            Err(error) => {
                state.heartbeat_failure = Some(error.message.clone());
                let (connector, message) = (pair.target_name.clone(), error.message.clone());
                let (error_code, tracking_id) = (error.code, error.tracking_id.clone());
                self.tell(cx, PasswordEvent::PingFailed { connector, error_code, tracking_id, message });
                let held = match error.kind {
                    CredentialErrorKind::SwitchedOff => Held::SwitchedOff,
                    CredentialErrorKind::Disabled => Held::Disabled,
                    CredentialErrorKind::Denied => Held::Denied,
                    _ => Held::Unreachable,
                };
                self.target_stops(cx, memory, pair, state, held, &error);
            }
        }
        Ok(())
    }
}

/// Leaves a target alone for a while.
fn hold(cx: &Context, memory: &mut Memory, target: ConnectorId, asked: Option<Duration>) {
    let attempts = memory.holds.get(&target).map_or(0, |hold| hold.attempts).saturating_add(1);
    let jitter = retry::jitter(cx.seed, CsId::new(target, 0), attempts);
    let until = cx.clock.elapsed().saturating_add(retry::wait(attempts, asked, jitter));
    memory.holds.insert(target, Hold { until, attempts });
}
