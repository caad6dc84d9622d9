//! Looks at files every other second: a file that was written, and stays as it is, is the advice to import.

use super::LdifSettings;
use super::drop::state_of;
use super::import::{files_of, list, unreadable};
use crate::connector::{ChangeStream, ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use futures_util::StreamExt as _;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often files are looked at. A look costs one question to the system for every file.
const EVERY: Duration = Duration::from_secs(2);

/// Tells when a file of the directory, or of its changes, is another one than before.
pub(super) fn watch(settings: &LdifSettings, cx: Context) -> ChangeStream {
    let settings = settings.clone();
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let end = tokio::select! {
            () = sender.closed() => return,
            () = cx.cancel.cancelled() => ConnectorError::new(ConnectorErrorKind::Cancelled, "watching files was told to stop"),
            error = look(&settings, &cx, &sender) => error,
        };
        // Nobody listening any more is the same end.
        let _ = sender.send(Err(end)).await;
    });
    futures_util::stream::poll_fn(move |task| receiver.poll_recv(task)).boxed()
}

/// Looks until files cannot be read.
async fn look(settings: &LdifSettings, cx: &Context, sender: &mpsc::Sender<Result<(), ConnectorError>>) -> ConnectorError {
    let mut told = match state(settings).await {
        Ok(state) => state,
        Err(error) => return error,
    };
    let mut last = told;
    loop {
        cx.clock.sleep(EVERY).await;
        let now = match state(settings).await {
            Ok(state) => state,
            Err(error) => return error,
        };
        // What is still being written is looked at once more.
        if now == last && now != told {
            told = now;
            // When the last advice was not taken yet, it stands for this one as well.
            let _ = sender.try_send(Ok(()));
        }
        last = now;
    }
}

async fn state(settings: &LdifSettings) -> Result<(u128, u128), ConnectorError> {
    let (path, changes) = (settings.path.clone(), settings.changes.clone());
    tokio::task::spawn_blocking(move || {
        let base = state_of(&list(&path)?)?;
        let Some(changes) = changes else { return Ok((base, 0)) };
        let folder = std::fs::metadata(&changes).map_err(|error| unreadable(&changes, &error))?.is_dir();
        let files = if folder { files_of(&changes)? } else { vec![changes] };
        Ok((base, state_of(&files)?))
    })
    .await
    .map_err(|_| ConnectorError::new(ConnectorErrorKind::File, "looking at files ended unexpectedly"))?
}
