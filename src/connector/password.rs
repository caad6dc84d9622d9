//! Password hashes, apart from everything else that a directory gives: where they are read, and where they are sent.
//!
//! A hash lives from the moment it is decrypted until its derived key is made, in memory that is wiped. It is in no
//! page, no record and no message (specification: sync engine 7; DRSUAPI 2).

use super::{ConnectorError, LastWriter};
use crate::context::Context;
use crate::model::{Anchor, Timestamp};
use crate::password::hash::{CredentialData, NtHash};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::fmt;
use std::sync::Arc;

/// How many accounts one batch may hold (specification: provisioning service 5.2).
pub const PASSWORD_BATCH: usize = 50;

/// A directory that gives the password hashes of its accounts.
#[async_trait]
pub trait PasswordSource: Send + Sync {
    /// The domains (naming contexts) that hold accounts, by name. Each has its own cookie and its own cycle.
    async fn domains(&self, cx: &Context) -> Result<Vec<String>, ConnectorError>;

    /// What changed in a domain since the cookie of an earlier read; everything without one. Each page is handed on
    /// before the next is asked for. An account may come more than once and in any order; the last page has
    /// [`PasswordPage::completion`]; a stream that ends without it was cut off and moves no cookie.
    ///
    /// # Errors
    /// [`WatermarkLost`](super::ConnectorErrorKind::WatermarkLost) when the cookie is of no use: read everything then.
    /// [`Permission`](super::ConnectorErrorKind::Permission) with the names of the missing rights.
    async fn changes(&self, cx: &Context, request: PasswordRequest) -> Result<PasswordStream, ConnectorError>;

    /// Reads accounts one by one: those that came into scope without a change of their own, and those to be sent again.
    /// Accounts that are gone are left out; those that are there and cannot be read are among the rejects. The page has
    /// no completion.
    ///
    /// # Errors
    /// As [`Self::changes`].
    async fn read(&self, cx: &Context, domain: &str, anchors: &[Anchor]) -> Result<PasswordPage, ConnectorError>;

    /// Holds everything that reading needs against what the directory has, one check after the other, for people.
    async fn diagnose(&self, cx: &Context) -> Vec<PasswordCheck>;
}

/// A target that takes password hashes.
#[async_trait]
pub trait PasswordTarget: Send + Sync {
    /// What the target has switched on.
    ///
    /// # Errors
    /// When the target does not answer.
    async fn features(&self, cx: &Context) -> Result<PasswordFeatures, ConnectorError>;

    /// What the target's clock showed when it answered last, where it tells that.
    fn told(&self) -> Option<Timestamp> {
        None
    }

    /// Switches the target's password hash synchronization on or off; everything else that it has switched stays.
    ///
    /// # Errors
    /// When the target does not answer or refuses.
    async fn set_enabled(&self, cx: &Context, on: bool) -> Result<(), ConnectorError>;

    /// Sends one batch of at most [`PASSWORD_BATCH`] accounts, in their order, or a sign of life when it is empty. A busy target is
    /// asked again for `patience` at most. Exactly one answer per account, in the order of the batch.
    ///
    /// # Errors
    /// When there is no answer for the batch as a whole. Sending it again does no harm.
    async fn send(
        &self,
        cx: &Context,
        batch: &[Credential],
        patience: std::time::Duration,
    ) -> Result<Vec<CredentialAnswer>, CredentialError>;
}

/// Which accounts the reader wants to have. Others are neither decrypted nor handed on.
pub type Wanted = Arc<dyn Fn(&Anchor) -> bool + Send + Sync>;

/// What to read of a domain.
#[derive(Clone)]
pub struct PasswordRequest {
    /// The domain, as [`PasswordSource::domains`] names it.
    pub domain: String,
    /// The cookie of an earlier read.
    pub since: Option<Vec<u8>>,
    /// The accounts that take part.
    pub wanted: Wanted,
}

impl fmt::Debug for PasswordRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordRequest").field("domain", &self.domain).field("since", &self.since.is_some()).finish_non_exhaustive()
    }
}

/// A stream of pages.
pub type PasswordStream = BoxStream<'static, Result<PasswordPage, ConnectorError>>;

/// Some accounts of a domain.
#[derive(Debug, Default)]
pub struct PasswordPage {
    /// What is known of the accounts that are wanted.
    pub changes: Vec<PasswordChange>,
    /// Accounts that could not be read, with a sentence for people; never with a value. The others are read all the same.
    pub rejects: Vec<(Anchor, String)>,
    /// Objects that the directory sent, wanted or not.
    pub seen: u64,
    /// Set on the last page: the cookie for the next read.
    pub completion: Option<PasswordCompletion>,
}

/// The end of a complete read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordCompletion {
    /// Where the next read begins.
    pub cookie: Vec<u8>,
    /// The directory gave everything, though changes were asked for.
    pub answered_in_full: bool,
    /// The server that answered, for people.
    pub server: String,
    /// Why the server that is named first did not answer, when another one had to.
    pub passed_over: Option<PassedOver>,
}

/// A server that should have answered and did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Its name.
    pub server: String,
    /// Why, for people.
    pub reason: String,
}

/// What changed of one account. A part that is `None` did not change, or is not known to the source.
pub struct PasswordChange {
    /// The account's key in the directory, as the connector space has it.
    pub anchor: Anchor,
    /// The account's name in the directory.
    pub dn: String,
    /// The new password hash; `Some(None)`: the account has none any more.
    pub hash: Option<Option<NtHash>>,
    /// When the password was changed, and the how many-th change it is, where the source counts. Both together tell a
    /// change that was sent already from one that was not.
    pub changed: Option<Timestamp>,
    /// See [`Self::changed`].
    pub version: Option<u32>,
    /// The password must be changed at the next sign-in (`pwdLastSet` is 0).
    pub must_change: Option<bool>,
    /// The account may not be used (`userAccountControl`, bit 2), or may again.
    pub disabled: Option<bool>,
    /// The account was deleted. A source that tells nothing of deleted accounts is as good: nobody's password is sent
    /// for it, and the next import closes its record.
    pub deleted: bool,
}

/// Never shows the hash.
impl fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordChange")
            .field("dn", &self.dn)
            .field("has_hash", &self.hash.as_ref().map(Option::is_some))
            .field("changed", &self.changed)
            .field("version", &self.version)
            .field("must_change", &self.must_change)
            .field("disabled", &self.disabled)
            .field("deleted", &self.deleted)
            .finish_non_exhaustive()
    }
}

/// One check of [`PasswordSource::diagnose`], or of the agent's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordCheck {
    /// What was looked at.
    pub what: String,
    /// It is as it should be.
    pub good: bool,
    /// What was found, for people.
    pub evidence: String,
    /// What to do when it is not good.
    pub remedy: Option<String>,
}

/// What a target has switched on (specification: provisioning service 3.1, sync engine 6.9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PasswordFeatures {
    /// Directory synchronization as a whole.
    pub synchronization: bool,
    /// Password hash synchronization.
    pub password_hashes: bool,
    /// Temporary passwords are taken and must be changed at the next sign-in.
    pub force_change: bool,
    /// The cloud's own expiry counts for synchronized users, too.
    pub cloud_policy: bool,
    /// Who wrote to the target last, when it tells.
    pub last_writer: Option<LastWriter>,
}

/// The password of one account, as the target gets it.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The account by its source anchor.
    pub source_anchor: String,
    /// The account by the target's own key. A target is told one of the two: this, when there is no source anchor to tell.
    pub cloud_anchor: Option<String>,
    /// When the password was changed in the directory.
    pub changed: Timestamp,
    /// The derived key.
    pub data: CredentialData,
    /// It must be changed at the next sign-in.
    pub force_change: bool,
}

/// What the target said about one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialAnswer {
    /// The password counts.
    Accepted,
    /// The target does not know the account (yet).
    Unknown,
    /// The target does not take it.
    Refused {
        /// The target's number.
        code: i64,
        /// The target's words, if it had any.
        detail: Option<String>,
    },
}

/// Why a batch as a whole has no answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CredentialError {
    /// What to do about it.
    pub kind: CredentialErrorKind,
    /// The target's number, if it gave one: 81 busy, 90 switched off (specification: provisioning service 6.3).
    pub code: Option<i64>,
    /// What the target calls the call in its own records.
    pub tracking_id: Option<String>,
    /// How long the target asked to wait.
    pub retry_after: Option<std::time::Duration>,
    /// For people, without secrets.
    pub message: String,
}

/// Kinds of problems of a whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialErrorKind {
    /// Busy, unreachable, no usable answer: try again later.
    Later,
    /// Password hash synchronization is off in the tenant.
    SwitchedOff,
    /// Directory synchronization is off in the tenant.
    Disabled,
    /// Our own account is not accepted, or lacks a right.
    Denied,
    /// The agent was told to stop.
    Cancelled,
}
