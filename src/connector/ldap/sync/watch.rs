//! A search that never ends, as a bell: it rings when something changed, and says nothing of what.

use super::content::{Content, position};
use super::search::{Refusal, SyncError, SyncMessage, SyncQuestion, SyncSearch};
use crate::connector::ldap::client::Client;
use crate::connector::{ChangeStream, ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use crate::protocol::ldap::{SyncInfo, SyncMode};
use futures_util::StreamExt as _;
use ldap3::Scope;
use std::time::Duration;
use tokio::sync::mpsc;

/// What follows within this time of what was told is told at its end, together.
const BURST: Duration = Duration::from_millis(500);
/// How often the server is asked for a sign of life: a firewall that forgot the connection tells nobody.
const HEARTBEAT: Duration = Duration::from_mins(1);

/// Listens on a bound connection. `None` when the server does not say where it stands.
///
/// # Errors
/// When the server does not answer.
pub(in crate::connector::ldap) async fn watch(
    mut client: Client,
    cx: Context,
    content: Content,
) -> Result<Option<ChangeStream>, ConnectorError> {
    let Ok(watermark) = position(&mut client, &content).await? else {
        client.close().await;
        return Ok(None);
    };
    let question = SyncQuestion {
        base: &content.context,
        scope: Scope::Subtree,
        filter: &content.filter,
        attributes: &["1.1"],
        mode: SyncMode::RefreshAndPersist,
        cookie: Some(&watermark.cookie),
    };
    let search = client.synchronize(&question).await.map_err(|error| ended(&client, error))?;
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let listening = listen(&mut client, search, &cx, &sender);
        let end = tokio::select! {
            () = sender.closed() => None,
            () = cx.cancel.cancelled() => Some(ConnectorError::new(ConnectorErrorKind::Cancelled, "listening was told to stop")),
            error = listening => Some(error),
        };
        match end {
            Some(error) => drop(sender.send(Err(error)).await),
            None => client.close().await,
        }
    });
    Ok(Some(futures_util::stream::poll_fn(move |task| receiver.poll_recv(task)).boxed()))
}

/// Rings until the connection is lost.
async fn listen(
    client: &mut Client,
    mut search: SyncSearch,
    cx: &Context,
    sender: &mpsc::Sender<Result<(), ConnectorError>>,
) -> ConnectorError {
    let mut told: Option<Duration> = None;
    loop {
        let changed = tokio::select! {
            message = search.next() => match message {
                Ok(message) => tells_of_change(&message),
                Err(error) => return ended(client, error),
            },
            () = cx.clock.sleep(HEARTBEAT) => {
                if let Err(error) = client.read("", &["1.1"]).await {
                    return error;
                }
                false
            }
        };
        if !changed {
            continue;
        }
        // The first change is told at once: whoever hears it has something to do while the burst that it may belong to goes on.
        while let Some(left) =
            told.and_then(|told| BURST.checked_sub(cx.clock.elapsed().saturating_sub(told))).filter(|left| !left.is_zero())
        {
            tokio::select! {
                message = search.next() => if let Err(error) = message {
                    return ended(client, error);
                },
                () = cx.clock.sleep(left) => break,
            }
        }
        told = Some(cx.clock.elapsed());
        // When the last one was not taken yet, it tells of these changes as well.
        let _ = sender.try_send(Ok(()));
    }
}

/// The end of the first phase is no change: whoever begins to listen knows that it did not listen before.
fn tells_of_change(message: &SyncMessage) -> bool {
    matches!(message, SyncMessage::Entry { .. } | SyncMessage::Info(SyncInfo::IdSet { .. }))
}

fn ended(client: &Client, error: SyncError) -> ConnectorError {
    match error {
        SyncError::Failed(error) => error,
        SyncError::Refused(Refusal { said, .. }) => {
            let message = format!("{}: the server no longer tells what changes ({said})", client.settings.url);
            ConnectorError::new(ConnectorErrorKind::Dropped, message)
        }
    }
}
