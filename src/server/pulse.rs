//! Whether the service still does its work: the loop that does what is due leaves a sign whenever it passes, and so does
//! whatever it has done. Without a sign for long, it hangs, and only a new process helps.

use crate::context::Context;
use crate::engine::Progress;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Whoever gives no sign for so long hangs. A throttled tenant, a full disk and a search of a million objects take less between
/// two signs, and nobody is served by a process that is killed while it waits for good reason.
const PATIENCE: Duration = Duration::from_hours(2);

/// When the last sign came, on the clock of durations.
#[derive(Debug, Default)]
pub struct Pulse {
    last: Mutex<Duration>,
}

impl Pulse {
    /// A sign.
    pub(super) fn beat(&self, cx: &Context) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = cx.clock.elapsed();
    }

    /// How long there was none, when that is too long.
    pub(super) fn stopped(&self, cx: &Context) -> Option<Duration> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Some(cx.clock.elapsed().saturating_sub(last)).filter(|quiet| *quiet > PATIENCE)
    }
}

/// Every step forward of a run is a sign.
pub(super) struct Signs<'a> {
    pub(super) pulse: &'a Pulse,
    pub(super) cx: &'a Context,
}

impl Progress for Signs<'_> {
    fn step_started(&mut self, _step: &str, _connector: &str) {
        self.pulse.beat(self.cx);
    }

    fn advanced(&mut self, _done: u64, _of: Option<u64>) {
        self.pulse.beat(self.cx);
    }

    fn step_finished(&mut self, _result: &str) {
        self.pulse.beat(self.cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Clock;
    use crate::model::Timestamp;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio_util::sync::CancellationToken;

    /// A clock that is set by hand, in minutes.
    #[derive(Default)]
    struct Set(AtomicU64);

    impl Clock for Set {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }

        fn elapsed(&self) -> Duration {
            Duration::from_mins(self.0.load(Ordering::SeqCst))
        }

        fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn who_neither_passes_nor_gets_on_hangs() {
        let clock = Arc::new(Set::default());
        let cx = Context { clock: clock.clone(), cancel: CancellationToken::new(), seed: 1 };
        let pulse = Pulse::default();
        let at = |minutes: u64| clock.0.store(minutes, Ordering::SeqCst);
        pulse.beat(&cx);
        at(120);
        assert_eq!(pulse.stopped(&cx), None);
        at(121);
        assert_eq!(pulse.stopped(&cx), Some(Duration::from_mins(121)));
        // A run that takes hours gets on meanwhile.
        Signs { pulse: &pulse, cx: &cx }.advanced(4_000, None);
        at(240);
        assert_eq!(pulse.stopped(&cx), None);
        at(242);
        assert!(pulse.stopped(&cx).is_some());
    }
}
