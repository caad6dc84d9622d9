//! What the outside world lends to the core: the clock, the wish to stop, and seeded randomness.

use crate::model::Timestamp;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time as the core sees it. Every wait goes through it, or a simulated week would last a week.
pub trait Clock: Send + Sync {
    /// Wall-clock time, UTC.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary start; never goes backwards. For durations.
    fn elapsed(&self) -> Duration;
    /// Completes when `duration` has passed on this clock.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Handed to everything that may wait, stop early or need the time.
#[derive(Clone)]
pub struct Context {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Set when the work should end at the next border between pages, batches or units.
    pub cancel: CancellationToken,
    /// Seed for jitter; never for secrets.
    pub seed: u64,
}

impl Context {
    /// A context on the machine's clock, with a seed of its own.
    pub fn system() -> Self {
        let seed = RandomState::new().hash_one("jitter");
        Self { clock: Arc::new(SystemClock::new()), cancel: CancellationToken::new(), seed }
    }

    /// The same for work that nobody can stop: it is short, and half of it would do harm.
    #[must_use]
    pub fn to_the_end(&self) -> Self {
        Self { cancel: CancellationToken::new(), ..self.clone() }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// True when the work should end.
    pub fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// A clock whose `elapsed` starts now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("seed", &self.seed).finish_non_exhaustive()
    }
}
