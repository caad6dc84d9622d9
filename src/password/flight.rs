//! One batch on its way to the target and back.

use super::outcome::{self, Planned};
use super::shared::{Pair, off_thread};
use crate::connector::{CredentialAnswer, CredentialError, CredentialErrorKind};
use crate::context::Context;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// How long one call may wait for a busy target, so that one busy answer never holds up the rest (specification: sync
/// engine 7.5).
const PATIENCE: Duration = Duration::from_secs(30);

/// What comes back: the accounts, and one answer for each or why there is none.
pub(super) type Landed = (Vec<Planned>, Result<Vec<CredentialAnswer>, CredentialError>);
/// A batch that is being sent.
pub(super) type Flight = BoxFuture<'static, Landed>;

/// Derives the keys of a batch and sends it.
pub(super) fn deliver(pair: &Pair, cx: &Context, batch: Vec<Planned>) -> impl Future<Output = Landed> + Send + 'static {
    let (sender, cx) = (pair.sender.clone(), cx.clone());
    async move {
        let now = cx.now();
        let (batch, credentials) = off_thread(move || {
            let credentials = outcome::credentials(&batch, now);
            (batch, credentials)
        })
        .await;
        let answers = match credentials {
            Ok(credentials) => sender.send(&cx, &credentials, PATIENCE).await,
            Err(error) => Err(error),
        };
        let answers = answers.and_then(|answers| {
            if answers.len() == batch.len() {
                return Ok(answers);
            }
            let message = format!("the target answered {} of {} accounts; none of the answers counts", answers.len(), batch.len());
            Err(CredentialError { kind: CredentialErrorKind::Later, code: None, tracking_id: None, retry_after: None, message })
        });
        (batch, answers)
    }
}
