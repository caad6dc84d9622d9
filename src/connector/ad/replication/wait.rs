//! Waiting with a limit, and only as long as the run is not told to stop.

use crate::context::Context;
use std::future::Future;
use std::time::Duration;

/// Why nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupted {
    /// The run was told to stop.
    Cancelled,
    /// The time is up.
    TimedOut,
}

/// Waits for `work`, `limit` at most.
pub(super) async fn within<T>(cx: &Context, limit: Duration, work: impl Future<Output = T>) -> Result<T, Interrupted> {
    tokio::select! {
        biased;
        () = cx.cancel.cancelled() => Err(Interrupted::Cancelled),
        done = work => Ok(done),
        () = cx.clock.sleep(limit) => Err(Interrupted::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whatever_comes_first_decides() {
        let cx = Context::system();
        let moment = Duration::from_millis(5);
        assert_eq!(within(&cx, moment, async { 7 }).await, Ok(7));
        assert_eq!(within(&cx, moment, std::future::pending::<()>()).await, Err(Interrupted::TimedOut));
        cx.cancel.cancel();
        assert_eq!(within(&cx, moment, async { 7 }).await, Err(Interrupted::Cancelled));
    }
}
