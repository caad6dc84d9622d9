//! A clock that only those who wait move: what somebody waited for is exactly what passed, however busy the machine is.

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use syncline::context::{Clock, Context};
use syncline::model::Timestamp;

/// Whoever waits moves it.
#[derive(Default)]
pub(crate) struct Quick(AtomicI64);

impl Quick {
    /// A clock that says what the machine's says now: tokens are dated.
    pub(crate) fn today() -> Self {
        Self(AtomicI64::new(Context::system().now().0))
    }
}

impl Clock for Quick {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.load(Ordering::SeqCst)).unwrap())
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.0.fetch_add(i64::try_from(duration.as_micros()).unwrap(), Ordering::SeqCst);
        Box::pin(tokio::task::yield_now())
    }
}
