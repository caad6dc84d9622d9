//! A clock for a service that really runs: time passes only when everybody waits, and then at once to the moment for which
//! the first of them waits.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;
use syncline::context::Clock;
use syncline::model::Timestamp;

#[derive(Debug, Default)]
pub(crate) struct Leaping {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Microseconds since 1970, as the machine's clock says it.
    wall: i64,
    /// What passed since the beginning, whatever the clock says.
    elapsed: Duration,
    sleepers: BTreeMap<(Duration, u64), Waker>,
    /// How many waits began so far.
    waits: u64,
}

/// What a look at the clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) elapsed: Duration,
    pub(crate) sleepers: usize,
    pub(crate) waits: u64,
    /// The first moment for which anybody waits.
    pub(crate) next: Option<Duration>,
}

impl Leaping {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self { state: Mutex::new(State { wall: now.0, ..State::default() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn look(&self) -> Look {
        let state = self.state();
        let next = state.sleepers.keys().next().map(|(until, _)| *until);
        Look { elapsed: state.elapsed, sleepers: state.sleepers.len(), waits: state.waits, next }
    }

    /// Lets time pass to the moment for which somebody waits, and not beyond `limit`.
    pub(crate) fn leap(&self, limit: Duration) {
        let mut state = self.state();
        let first = state.sleepers.keys().next().map_or(limit, |(until, _)| *until);
        let to = first.min(limit).max(state.elapsed);
        state.wall += i64::try_from(to.saturating_sub(state.elapsed).as_micros()).unwrap();
        state.elapsed = to;
        let later = state.sleepers.split_off(&(to, u64::MAX));
        let due = std::mem::replace(&mut state.sleepers, later);
        drop(state);
        due.into_values().for_each(Waker::wake);
    }

    /// Somebody sets the machine's clock. Nothing passes by it.
    pub(crate) fn set(&self, by: Duration, back: bool) {
        let by = i64::try_from(by.as_micros()).unwrap();
        self.state().wall += if back { -by } else { by };
    }
}

impl Clock for Leaping {
    fn now(&self) -> Timestamp {
        Timestamp(self.state().wall)
    }

    fn elapsed(&self) -> Duration {
        self.state().elapsed
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let until = self.elapsed() + duration;
        let mut place = Place { clock: self, until, number: None };
        Box::pin(std::future::poll_fn(move |task| {
            // All of it, or the place would be given up before it is taken, and never afterwards.
            let place = &mut place;
            let mut state = place.clock.state();
            if state.elapsed >= place.until {
                return Poll::Ready(());
            }
            if place.number.is_none() {
                state.waits += 1;
                place.number = Some(state.waits);
            }
            if let Some(number) = place.number {
                state.sleepers.insert((place.until, number), task.waker().clone());
            }
            Poll::Pending
        }))
    }
}

/// Somebody's place among those who wait; given up when they do not wait any more.
struct Place<'c> {
    clock: &'c Leaping,
    until: Duration,
    number: Option<u64>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.clock.state().sleepers.remove(&(self.until, number));
        }
    }
}
