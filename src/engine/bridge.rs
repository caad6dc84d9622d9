//! The one place where the synchronous engine meets asynchronous connectors.

use crate::connector::{ConnectorError, ConnectorErrorKind, ImportPage, ImportStream};
use futures_util::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// How many pages may wait between a connector and the engine.
const PAGES_WAITING: usize = 4;

/// Pages of an import, one after the other, as a plain iterator. The connector reads on while the engine works, but
/// never more than a few pages ahead.
pub struct Pages {
    handle: Handle,
    receiver: mpsc::Receiver<Result<ImportPage, ConnectorError>>,
    task: tokio::task::JoinHandle<()>,
}

impl Pages {
    /// Starts to read a stream on the runtime.
    pub fn read(handle: &Handle, mut stream: ImportStream) -> Self {
        let (sender, receiver) = mpsc::channel(PAGES_WAITING);
        let task = handle.spawn(async move {
            while let Some(page) = stream.next().await {
                let failed = page.is_err();
                if sender.send(page).await.is_err() || failed {
                    break;
                }
            }
        });
        Self { handle: handle.clone(), receiver, task }
    }
}

impl Iterator for Pages {
    type Item = Result<ImportPage, ConnectorError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(page) = self.handle.block_on(self.receiver.recv()) {
            return Some(page);
        }
        // The channel is closed: a panic of the reader must not look like the end of a stream.
        match self.handle.block_on(&mut self.task) {
            Err(error) if error.is_panic() => Some(Err(ConnectorError::new(
                ConnectorErrorKind::Protocol,
                "the connector broke off while it decoded an answer; the directory's data cannot be read",
            ))),
            _ => None,
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").finish_non_exhaustive()
    }
}
