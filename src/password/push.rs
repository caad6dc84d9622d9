//! One account on demand, whether it was sent before or not.

use super::agent::Agent;
use super::decision::older;
use super::flight::deliver;
use super::outcome::{self, Planned};
use super::shared::{Believed, Unread, domain_of};
use crate::connector::{ConnectorError, ConnectorErrorKind, CredentialError};
use crate::context::Context;
use crate::engine::active::Rival;
use crate::engine::password::{NoRoute, Route, is_disabled};
use crate::events::PasswordEvent;
use crate::model::{CsId, StageMask};
use crate::store::{ChangeSet, PasswordRecord, PasswordStamp, PasswordStatus, StoreError};

/// Why one account could not be sent now.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// It takes no part.
    #[error("{0}")]
    NoRoute(NoRoute),
    /// This installation only watches.
    #[error("this installation is in staging mode; nothing is sent")]
    Staging,
    /// Another installation writes to the target.
    #[error("another installation writes to the tenant: {0}; `syncline mode show` names both")]
    Displaced(Rival),
    /// A side was not read as a whole, or not since it was doubted.
    #[error("{0}: `syncline cycle start`, then try again")]
    Unread(Unread),
    /// The directory could not be asked.
    #[error(transparent)]
    Source(#[from] ConnectorError),
    /// The directory has it and could not give it.
    #[error("the directory could not give its password: {0}")]
    Unreadable(String),
    /// The directory does not have it, or no password of it.
    #[error("the directory gave no password for it")]
    NoPassword,
    /// It was disabled, and no cycle has read that yet.
    #[error("it is disabled in the directory, and no cycle has read that yet: `syncline cycle start`, then try again")]
    Disabled,
    /// The server that answered lags behind.
    #[error("the domain controller that answered does not have the newest password yet: try again")]
    Behind,
    /// It must be changed at the next sign-in, and the target does not take such passwords.
    #[error("it is a temporary password, and the tenant does not take those: switch on the feature, or set a lasting one")]
    Temporary,
    /// What is known of the directory or of the target counts no more.
    #[error("the directory or the tenant was forgotten or doubted meanwhile: try again behind the next cycle")]
    Distrusted,
    /// The target gave no answer.
    #[error(transparent)]
    Target(#[from] CredentialError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Agent {
    /// Sends one account now, whether it was sent before or not. Waits for a cycle that is under way, also one of another agent.
    ///
    /// # Errors
    /// Why it was not sent. An account that the target refuses is no error of ours: the status says so.
    pub async fn push(&self, cx: &Context, account: CsId) -> Result<PasswordStatus, PushError> {
        let outcome = self.push_account(cx, account).await;
        if let Err(error) = &outcome {
            let dn = self.shared.store.snapshot()?.cs_object(account)?.map_or_else(|| account.to_string(), |object| object.dn.to_string());
            let connector = self.pair_of(account).map(|pair| pair.source_name.clone()).unwrap_or_default();
            self.tell(cx, PasswordEvent::SingleFailed { connector, dn, message: error.to_string() });
        }
        outcome
    }

    async fn push_account(&self, cx: &Context, account: CsId) -> Result<PasswordStatus, PushError> {
        let Some(_turn) = self.turn.take(cx).await else {
            let message = "told to stop before the cycle that is under way came to its end";
            return Err(ConnectorError::new(ConnectorErrorKind::Cancelled, message).into());
        };
        let pair = self.pair_of(account).ok_or(PushError::NoRoute(NoRoute::NotPaired))?;
        if self.staging {
            return Err(PushError::Staging);
        }
        let now = cx.now();
        let snapshot = self.shared.store.snapshot()?;
        let (believed, unread) = Believed::look(&snapshot, pair)?;
        if let Some(side) = unread.into_iter().next() {
            return Err(PushError::Unread(side));
        }
        let destination = match self.shared.routes(now, |routes| routes.of(&snapshot, account))? {
            Route::Open(destination) => destination,
            Route::Closed(reason) => return Err(PushError::NoRoute(reason)),
        };
        let object = snapshot.cs_object(account)?.ok_or(PushError::NoRoute(NoRoute::NotPresent))?;
        let shown_disabled = is_disabled(self.shared.store.names(), &object, StageMask::BASE) != Some(false);
        let anchor = object.anchor.ok_or(PushError::NoRoute(NoRoute::NotPresent))?;
        let record = snapshot.password(account)?.unwrap_or_else(|| PasswordRecord::new(PasswordStatus::Unknown));
        drop(snapshot);
        let features = pair.sender.features(cx).await?;
        if let Some((rival, _)) = self.rival(cx, pair, &features).await? {
            return Err(PushError::Displaced(rival));
        }
        let domains = pair.reader.domains(cx).await?;
        let place = domain_of(&object.dn, &domains);
        let asked = domains.iter().enumerate().filter(|(index, _)| place.is_none_or(|place| place == *index));
        let mut given = None;
        for (_, domain) in asked {
            let read = pair.reader.read(cx, domain, std::slice::from_ref(&anchor)).await?;
            if let Some((_, reason)) = read.rejects.into_iter().find(|(rejected, _)| *rejected == anchor) {
                return Err(PushError::Unreadable(reason));
            }
            given = read.changes.into_iter().find(|change| change.anchor == anchor).map(|change| (domain.clone(), change));
            if given.is_some() {
                break;
            }
        }
        let (domain, change) = given.ok_or(PushError::NoPassword)?;
        if change.disabled == Some(true) && !shown_disabled {
            return Err(PushError::Disabled);
        }
        let force_change = change.must_change.unwrap_or(record.must_change);
        let hash = change.hash.flatten().ok_or(PushError::NoPassword)?;
        if force_change && !features.force_change {
            return Err(PushError::Temporary);
        }
        let stamp = PasswordStamp { changed: change.changed, version: change.version };
        if record.seen.is_some_and(|seen| older(stamp, seen)) {
            return Err(PushError::Behind);
        }
        // What fails is tried again, whatever was sent before.
        let record = PasswordRecord { routed: true, must_change: force_change, seen: Some(stamp), sent: None, ..record };
        let planned = Planned { account, dn: change.dn, destination, stamp, hash, force_change, record };
        if !believed.holds(&self.shared.store.snapshot()?)? {
            return Err(PushError::Distrusted);
        }
        let (connector, anchor) = (pair.source_name.clone(), planned.key().to_owned());
        let (dn, change_date) = (planned.dn.clone(), planned.changed(now));
        self.tell(cx, PasswordEvent::ChangeRequest { connector, domain: domain.clone(), anchor, dn, change_date });
        let (batch, answers) = deliver(pair, cx, vec![planned]).await;
        let answers = answers?;
        let now = cx.now();
        let mut changes = ChangeSet::new();
        let mut told = Vec::new();
        let mut status = PasswordStatus::Unknown;
        for (planned, answer) in batch.iter().zip(&answers) {
            let record = outcome::answered(planned, answer, now, cx.seed);
            status = record.status;
            told.extend(outcome::result(&pair.source_name, &domain, planned, answer, &record, now));
            changes.passwords.push((account, Some(record)));
        }
        let noted = self.shared.apply_believed(believed, changes).await?;
        for event in told {
            self.tell(cx, event);
        }
        if noted { Ok(status) } else { Err(PushError::Distrusted) }
    }
}
