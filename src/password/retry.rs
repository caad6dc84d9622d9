//! When to try again what did not succeed (specification: sync engine 7.5).

use crate::model::{CsId, Timestamp};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Minutes to wait after each attempt in vain; behind the last, always the last.
const MINUTES: [u64; 5] = [2, 4, 8, 16, 30];
/// After so many refusals somebody should look at the account.
pub(super) const FLAGGED: u32 = 5;
/// After so many batches without an answer, the accounts go out in halves, so that one of them cannot hold up the rest.
pub(super) const SPLIT: u32 = 3;
/// How long a look at a route that has not opened yet may be put off. What opens it is noted by the store; this is for
/// what nothing notes, such as a scope that tests the time.
pub(super) const WAITING: Duration = Duration::from_mins(30);
/// Nothing of ours is put off for longer: the longest pause with its jitter.
pub(super) const LONGEST: Duration = Duration::from_mins(MINUTES[MINUTES.len() - 1] * (100 + JITTER_PERCENT) / 100);
/// Waits are up to this share longer than said, so that not all come back at once.
const JITTER_PERCENT: u64 = 20;

/// How long to wait after the `attempts`-th attempt in vain (from 1), without jitter.
pub(super) fn pause(attempts: u32) -> Duration {
    let index = usize::try_from(attempts.max(1) - 1).unwrap_or(usize::MAX).min(MINUTES.len() - 1);
    Duration::from_mins(MINUTES[index])
}

/// How long to wait after the `attempts`-th attempt in vain. What the target asked for counts exactly.
pub(super) fn wait(attempts: u32, asked: Option<Duration>, jitter: u64) -> Duration {
    asked.unwrap_or_else(|| {
        let pause = pause(attempts);
        let share = u32::try_from(jitter % (JITTER_PERCENT + 1)).unwrap_or(0);
        pause + pause * share / 100
    })
}

/// When that is.
pub(super) fn again(now: Timestamp, attempts: u32, asked: Option<Duration>, jitter: u64) -> Timestamp {
    after(now, wait(attempts, asked, jitter))
}

/// A point in time after another one.
pub(super) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
}

/// A number that scatters accounts and attempts, the same for the same seed.
pub(super) fn jitter(seed: u64, account: CsId, attempts: u32) -> u64 {
    xxh3_64_with_seed(&account.0.to_le_bytes(), seed ^ u64::from(attempts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_half_an_hour() {
        let minutes: Vec<u64> = (1..=7).map(|attempts| pause(attempts).as_secs() / 60).collect();
        assert_eq!(minutes, [2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(pause(u32::MAX), pause(5));
    }

    #[test]
    fn jitter_lengthens_and_never_shortens() {
        let now = Timestamp::from_seconds(1_000);
        for jitter in 0..50 {
            let wait = again(now, 2, None, jitter).0 - now.0;
            assert!((240_000_000..=288_000_000).contains(&wait), "{wait}");
            assert!(super::wait(u32::MAX, None, jitter) <= LONGEST);
        }
        assert_eq!(again(now, 2, Some(Duration::from_secs(7)), 13), Timestamp::from_seconds(1_007), "as the target said");
    }
}
