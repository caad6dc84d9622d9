//! The one place where the synchronous engine meets asynchronous connectors.

use crate::connector::{ConnectorError, ConnectorErrorKind, ImportPage, ImportStream};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::future::Future;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};

/// How many pages may wait between a connector and the engine.
const PAGES_WAITING: usize = 4;

/// The way to the runtime on which connectors live. Its methods block; call them from plain threads only.
#[derive(Clone, Debug)]
pub struct Bridge {
    handle: Handle,
}

impl Bridge {
    /// A bridge to a runtime of several threads.
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Waits for one answer.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Reads a stream of pages.
    pub fn pages(&self, stream: ImportStream) -> Pages {
        Pages::read(&self.handle, stream)
    }

    /// Room for calls that are under way at the same time.
    pub fn calls<K, T: Send + 'static>(&self) -> Calls<K, T> {
        Calls { handle: self.handle.clone(), running: JoinSet::new(), keys: HashMap::new() }
    }
}

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

/// Calls under way at the same time. Each has a key by which its answer is known.
#[derive(Debug)]
pub struct Calls<K, T> {
    handle: Handle,
    running: JoinSet<T>,
    keys: HashMap<Id, K>,
}

impl<K, T: Send + 'static> Calls<K, T> {
    /// Starts a call.
    pub fn start(&mut self, key: K, call: impl Future<Output = T> + Send + 'static) {
        let task = self.running.spawn_on(call, &self.handle);
        self.keys.insert(task.id(), key);
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// True when none is under way.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Waits for the next call to end. `None` for its answer when it broke off; `None` when none is under way.
    pub fn next_ended(&mut self) -> Option<(K, Option<T>)> {
        let ended = self.handle.block_on(self.running.join_next_with_id())?;
        self.answer(ended)
    }

    /// Another call that has ended already.
    pub fn ended_already(&mut self) -> Option<(K, Option<T>)> {
        let ended = self.running.try_join_next_with_id()?;
        self.answer(ended)
    }

    fn answer(&mut self, ended: Result<(Id, T), tokio::task::JoinError>) -> Option<(K, Option<T>)> {
        let (id, answer) = match ended {
            Ok((id, answer)) => (id, Some(answer)),
            Err(error) => (error.id(), None),
        };
        self.keys.remove(&id).map(|key| (key, answer))
    }
}
