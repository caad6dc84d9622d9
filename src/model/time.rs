//! Points in time, UTC.

use std::fmt;
use std::time::Duration;

/// A point in time with microseconds since 1970-01-01 UTC. It comes from the injected clock only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From whole seconds since 1970-01-01 UTC.
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Whole seconds since 1970-01-01 UTC.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// How long ago a noted time is at this one. A noted time in the future is that of a clock that was set back since: nobody knows
    /// how long ago it was, so it is long ago, and longer than anything that waits. Whoever compares a noted time with now does it by
    /// this, or says why not.
    pub fn since(self, noted: Self) -> Duration {
        u64::try_from(self.0.saturating_sub(noted.0)).map_or(Duration::MAX, Duration::from_micros)
    }

    /// True for a noted time before `bound`, and by the rule of [`since`](Self::since) for one behind `now`.
    pub fn is_before(self, bound: Self, now: Self) -> bool {
        self < bound || self > now
    }

    /// The same point as the calendar library has it.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::MAX)
    }
}

/// ISO 8601 in UTC with milliseconds: `2026-11-21T08:30:00.123Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_jiff().strftime("%Y-%m-%dT%H:%M:%S.%3fZ"))
    }
}

/// Which of the things that were noted one behind the other are older than they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// What was noted before this time is old.
    pub before: Timestamp,
    /// The current time.
    pub now: Timestamp,
}

/// A day, in microseconds.
const DAY: i64 = 86_400_000_000;

impl Retention {
    /// Keeps what was noted in the last days, and in the last day at least.
    pub fn of_days(days: u32, now: Timestamp) -> Self {
        Self { before: Timestamp(now.0.saturating_sub(i64::from(days.max(1)).saturating_mul(DAY))), now }
    }

    /// How many of them are old, counted from the first; `noted` has their times in the order of noting.
    ///
    /// A time in the future is long ago here, too, and holds nothing back. But removing cannot be undone, and to a clock that is behind
    /// everything is in the future: such a thing goes when what was noted behind it, at a time that can be believed, is old.
    ///
    /// # Errors
    /// The first one of `noted`.
    pub fn old<E>(self, noted: impl IntoIterator<Item = Result<Timestamp, E>>) -> Result<usize, E> {
        let mut old = 0;
        for (place, at) in noted.into_iter().enumerate() {
            let at = at?;
            if at < self.before {
                old = place + 1;
            } else if at <= self.now {
                break;
            }
        }
        Ok(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn a_noted_time_in_the_future_is_long_ago() {
        let now = Timestamp::from_seconds(1_000);
        assert_eq!(now.since(Timestamp::from_seconds(940)), Duration::from_mins(1));
        assert_eq!((now.since(now), now.since(Timestamp(now.0 + 1))), (Duration::ZERO, Duration::MAX));
        let bound = Timestamp::from_seconds(900);
        let before = [899, 900, 1_000, 1_001].map(|at| Timestamp::from_seconds(at).is_before(bound, now));
        assert_eq!(before, [true, false, false, true]);
    }

    #[test]
    fn something_is_kept_for_a_day_at_least() {
        let now = Timestamp::from_seconds(10 * 86_400);
        let before = [0, 1, 3].map(|days| Retention::of_days(days, now).before.seconds() / 86_400);
        assert_eq!(before, [9, 9, 7]);
        assert!(Retention::of_days(u32::MAX, now).before < Timestamp(0), "longer than there is time");
        assert_eq!(Retention::of_days(1, Timestamp(i64::MIN)).before, Timestamp(i64::MIN));
    }

    #[test]
    fn what_was_noted_in_the_future_goes_with_what_is_behind_it() {
        let old = |noted: &[i64]| {
            let retention = Retention { before: Timestamp(100), now: Timestamp(200) };
            retention.old(noted.iter().map(|at| Ok::<_, Infallible>(Timestamp(*at)))).unwrap()
        };
        assert_eq!(old(&[10, 20, 100, 30]), 2);
        assert_eq!(old(&[900, 901, 20, 150]), 3, "a clock that was ahead");
        assert_eq!(old(&[10, 900, 150]), 1, "what is behind it is young");
        assert_eq!(old(&[300, 301, 302, 200]), 0, "a clock that is behind removes nothing");
        assert_eq!((old(&[]), old(&[900]), old(&[200])), (0, 0, 0));
    }
}
