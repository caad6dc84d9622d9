//! From answers of the target to records and events.

use super::hash::{CredentialData, ITERATIONS, NtHash, SALT_LENGTH};
use super::retry::{self, FLAGGED};
use crate::connector::{Credential, CredentialAnswer, CredentialError, CredentialErrorKind};
use crate::engine::password::Destination;
use crate::events::PasswordEvent;
use crate::model::{CsId, Timestamp};
use crate::store::{PasswordRecord, PasswordSent, PasswordStamp, PasswordStatus};
use ring::rand::{SecureRandom, SystemRandom};

/// The number with which a target says that it is busy (specification: provisioning service 6.3).
const BUSY: i64 = 81;

/// An account on its way out. Its hash is wiped when it is dropped.
pub(super) struct Planned {
    pub(super) account: CsId,
    pub(super) dn: String,
    pub(super) destination: Destination,
    pub(super) stamp: PasswordStamp,
    pub(super) hash: NtHash,
    pub(super) force_change: bool,
    /// The account's record before the attempt.
    pub(super) record: PasswordRecord,
}

impl Planned {
    /// What the target is told first.
    pub(super) fn key(&self) -> &str {
        let destination = &self.destination;
        if destination.source_anchor.is_empty() { &destination.cloud_anchor } else { &destination.source_anchor }
    }

    /// When the password was changed; where the directory does not say, now.
    pub(super) fn changed(&self, now: Timestamp) -> Timestamp {
        self.stamp.changed.unwrap_or(now)
    }
}

/// Derives the keys of a batch, on all processors.
pub(super) fn credentials(batch: &[Planned], now: Timestamp) -> Result<Vec<Credential>, CredentialError> {
    let failed = |message: &str| CredentialError {
        kind: CredentialErrorKind::Later,
        code: None,
        tracking_id: None,
        retry_after: None,
        message: message.to_owned(),
    };
    let mut salts = vec![[0; SALT_LENGTH]; batch.len()];
    SystemRandom::new().fill(salts.as_flattened_mut()).map_err(|_| failed("the system gave no random octets"))?;
    let accounts: Vec<(NtHash, [u8; SALT_LENGTH])> = batch.iter().map(|planned| planned.hash.clone()).zip(salts).collect();
    let keys = CredentialData::derive_all(&accounts, ITERATIONS).map_err(|error| failed(&error.to_string()))?;
    let each = batch.iter().zip(keys).map(|(planned, data)| {
        let destination = &planned.destination;
        Credential {
            source_anchor: destination.source_anchor.clone(),
            cloud_anchor: destination.source_anchor.is_empty().then(|| destination.cloud_anchor.clone()),
            changed: planned.changed(now),
            data,
            force_change: planned.force_change,
        }
    });
    Ok(each.collect())
}

/// The record after an answer.
pub(super) fn answered(planned: &Planned, answer: &CredentialAnswer, now: Timestamp, seed: u64) -> PasswordRecord {
    let record = PasswordRecord { attempted: Some(now), ..planned.record.clone() };
    let attempts = record.attempts.saturating_add(1);
    let next = Some(retry::again(now, attempts, None, retry::jitter(seed, planned.account, attempts)));
    match answer {
        CredentialAnswer::Accepted => {
            let sent = PasswordSent {
                stamp: planned.stamp,
                force_change: planned.force_change,
                at: now,
                target: planned.destination.target,
                cloud_anchor: planned.destination.cloud_anchor.clone(),
                suffix: planned.destination.suffix(),
            };
            let detail = String::new();
            PasswordRecord { status: PasswordStatus::Success, sent: Some(sent), attempts: 0, next: None, code: None, detail, ..record }
        }
        CredentialAnswer::Unknown => {
            let detail = "the target does not know the account yet".to_owned();
            PasswordRecord { status: PasswordStatus::TargetNotExportedToDirectory, attempts, next, code: None, detail, ..record }
        }
        CredentialAnswer::Refused { code, detail } => {
            let detail = detail.clone().unwrap_or_else(|| "the target refused it and gave no reason".to_owned());
            PasswordRecord { status: PasswordStatus::Error, attempts, next, code: Some(*code), detail, ..record }
        }
    }
}

/// The record after a batch without an answer. All accounts of a batch come back together, so that a batch that fails
/// again can be taken apart.
pub(super) fn unanswered(planned: &Planned, error: &CredentialError, now: Timestamp, jitter: u64) -> PasswordRecord {
    let record = PasswordRecord { attempted: Some(now), ..planned.record.clone() };
    let attempts = record.attempts.saturating_add(1);
    let status = if is_busy(error) { PasswordStatus::RetryRequestedByTarget } else { PasswordStatus::Unknown };
    let next = Some(retry::again(now, attempts, error.retry_after, jitter));
    PasswordRecord { status, attempts, next, code: error.code, detail: error.message.clone(), ..record }
}

/// The record after the directory could not give an account.
pub(super) fn unread(record: Option<PasswordRecord>, status: PasswordStatus, detail: &str, now: Timestamp, jitter: u64) -> PasswordRecord {
    let record = record.unwrap_or_else(|| PasswordRecord::new(status));
    let attempts = record.attempts.saturating_add(1);
    let next = Some(retry::again(now, attempts, None, jitter));
    PasswordRecord { status, routed: true, attempts, next, code: None, detail: detail.to_owned(), ..record }
}

/// True when the target asked for time: nothing about the accounts is wrong.
pub(super) fn is_busy(error: &CredentialError) -> bool {
    error.code == Some(BUSY) || error.retry_after.is_some()
}

/// What is told of an account's answer.
pub(super) fn result(
    connector: &str,
    domain: &str,
    planned: &Planned,
    answer: &CredentialAnswer,
    record: &PasswordRecord,
    now: Timestamp,
) -> Vec<PasswordEvent> {
    let success = *answer == CredentialAnswer::Accepted;
    let mut events = vec![PasswordEvent::ChangeResult {
        connector: connector.to_owned(),
        domain: domain.to_owned(),
        anchor: planned.key().to_owned(),
        dn: planned.dn.clone(),
        change_date: planned.changed(now),
        success,
        force_change: planned.force_change,
        error_code: record.code,
        message: (!success).then(|| record.detail.clone()),
    }];
    if matches!(answer, CredentialAnswer::Refused { .. }) && record.attempts == FLAGGED {
        events.push(PasswordEvent::RefusedRepeatedly {
            connector: connector.to_owned(),
            dn: planned.dn.clone(),
            attempts: u64::from(record.attempts),
            error_code: record.code,
            message: record.detail.clone(),
        });
    }
    events
}
