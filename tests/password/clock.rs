//! The clock of these tests.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use syncline::context::Clock;
use syncline::model::Timestamp;
use tokio::sync::watch;

/// A clock that stands still until a test moves it.
pub(crate) struct TestClock {
    pub(crate) now: watch::Sender<i64>,
    /// Whoever waits moves it: for code that waits by itself, such as a client of a real server.
    moves: AtomicBool,
    /// By how much the wall clock is wrong, in microseconds.
    wrong: AtomicI64,
}

impl TestClock {
    pub(crate) fn new(now: i64) -> Self {
        Self { now: watch::Sender::new(now), moves: AtomicBool::new(false), wrong: AtomicI64::new(0) }
    }

    /// From now on waiting takes no time and moves the clock.
    pub(crate) fn move_by_waiting(&self) {
        self.moves.store(true, Ordering::SeqCst);
    }

    /// The wall clock is so many minutes ahead from now on; 0 puts it right. What passes on the clock of durations goes on.
    pub(crate) fn ahead(&self, minutes: i64) {
        self.wrong.store(minutes * 60_000_000, Ordering::SeqCst);
    }

    pub(crate) fn forward(&self, minutes: i64) {
        self.now.send_modify(|now| *now += minutes * 60_000_000);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(*self.now.borrow() + self.wrong.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(u64::try_from(*self.now.borrow()).unwrap())
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let until = *self.now.borrow() + i64::try_from(duration.as_micros()).unwrap();
        if self.moves.load(Ordering::SeqCst) {
            self.now.send_modify(|now| *now = until.max(*now));
        }
        let mut changes = self.now.subscribe();
        Box::pin(async move { drop(changes.wait_for(|now| *now >= until).await) })
    }
}
