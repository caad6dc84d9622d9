//! The loop of a running service: what is due is done, one thing after the other; in between it waits, and looks up when
//! somebody wakes it. It knows when and in which order, and nothing of what it has done.

use super::pulse::Pulse;
use crate::context::Context;
use crate::schedule::{Due, Memory, Schedule};
use async_trait::async_trait;
use std::time::Duration;
use tokio::sync::Notify;

/// What a supervisor sees to.
#[async_trait]
pub trait Duties: Send + Sync {
    /// Takes over what was changed in the configuration, and opens a store again whose disk failed.
    async fn refresh(&self);
    /// When things are due, and what was done. `None` when that cannot be known now: nothing is done then. Why is told by
    /// whoever gives it.
    fn plan(&self) -> Option<(Schedule, Memory)>;
    /// Does what is due, and remembers when it was done: the plan after it must not name the same again at once. Failing
    /// is told by the work itself.
    async fn perform(&self, due: Due);
}

/// Waits are never longer: a clock that is set, or a machine that slept, is noticed within this time.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Does what is due until told to stop.
pub async fn supervise(cx: &Context, duties: &dyn Duties, wake: &Notify, pulse: &Pulse) {
    while !cx.cancelled() {
        duties.refresh().await;
        if cx.cancelled() {
            break;
        }
        pulse.beat(cx);
        let Some((schedule, memory)) = duties.plan() else {
            // Nobody can wake it to anything: it would ask the same again, without pause.
            tokio::select! {
                () = cx.clock.sleep(LOOK_AGAIN) => {}
                () = cx.cancel.cancelled() => {}
            }
            continue;
        };
        let now = cx.now();
        match schedule.next(&memory, now) {
            Some((at, due)) if at <= now => duties.perform(due).await,
            next => {
                let rest = next.map_or(LOOK_AGAIN, |(at, _)| Duration::from_micros(at.0.saturating_sub(now.0).unsigned_abs()));
                tokio::select! {
                    () = cx.clock.sleep(rest.min(LOOK_AGAIN)) => {}
                    () = wake.notified() => {}
                    () = cx.cancel.cancelled() => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Clock;
    use crate::model::Timestamp;
    use crate::schedule::{CycleEnd, CycleReason, Policy, Reached, Suspension};
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};
    use tokio_util::sync::CancellationToken;

    const MINUTE: i64 = 60_000_000;

    /// A clock on which whoever sleeps moves time: with one sleeper a week takes no time.
    #[derive(Default)]
    struct Quick {
        wall: AtomicI64,
        slept: AtomicU64,
    }

    impl Clock for Quick {
        fn now(&self) -> Timestamp {
            Timestamp(self.wall.load(Ordering::SeqCst))
        }

        fn elapsed(&self) -> Duration {
            Duration::from_micros(self.slept.load(Ordering::SeqCst))
        }

        fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(async move {
                let micros = u64::try_from(duration.as_micros()).unwrap();
                self.wall.fetch_add(i64::try_from(micros).unwrap(), Ordering::SeqCst);
                self.slept.fetch_add(micros, Ordering::SeqCst);
                tokio::task::yield_now().await;
            })
        }
    }

    type Script<'t> = Box<dyn Fn(&Diary<'_>, i64) + Send + Sync + 't>;

    /// Notes what is done when; `script` changes the world at set times.
    struct Diary<'t> {
        clock: Arc<Quick>,
        schedule: Mutex<Schedule>,
        memory: Mutex<Memory>,
        done: Mutex<Vec<(i64, Due)>>,
        takes: i64,
        refreshed: AtomicU64,
        blind: AtomicBool,
        stop: CancellationToken,
        script: Script<'t>,
    }

    impl Diary<'_> {
        fn minute(&self) -> i64 {
            self.clock.now().0 / MINUTE
        }
    }

    #[async_trait]
    impl Duties for Diary<'_> {
        async fn refresh(&self) {
            self.refreshed.fetch_add(1, Ordering::SeqCst);
            (self.script)(self, self.minute());
        }

        fn plan(&self) -> Option<(Schedule, Memory)> {
            (!self.blind.load(Ordering::SeqCst)).then(|| (*self.schedule.lock().unwrap(), self.memory.lock().unwrap().clone()))
        }

        async fn perform(&self, due: Due) {
            self.done.lock().unwrap().push((self.minute(), due));
            let mut memory = self.memory.lock().unwrap();
            match due {
                Due::Cycle { initial, .. } => {
                    memory.begin_cycle(self.clock.now());
                    self.clock.wall.fetch_add(self.takes * MINUTE, Ordering::SeqCst);
                    memory.end_cycle(self.clock.now(), CycleEnd::Whole { initial, reached: Reached::Everything, all_read: initial });
                }
                Due::Maintenance => memory.end_maintenance(self.clock.now()),
            }
        }
    }

    async fn live(minutes: i64, takes: i64, script: impl Fn(&Diary<'_>, i64) + Send + Sync) -> (Vec<(i64, Due)>, u64) {
        let clock = Arc::new(Quick::default());
        clock.wall.store(1_000_000 * MINUTE, Ordering::SeqCst);
        let cx = Context { clock: clock.clone(), cancel: CancellationToken::new(), seed: 1 };
        let diary = Diary {
            clock,
            schedule: Mutex::new(Schedule { maintenance: false, ..Schedule::default() }),
            memory: Mutex::default(),
            done: Mutex::default(),
            takes,
            refreshed: AtomicU64::new(0),
            blind: AtomicBool::new(false),
            stop: cx.cancel.clone(),
            script: Box::new(move |diary, minute| {
                script(diary, minute - 1_000_000);
                if minute - 1_000_000 >= minutes {
                    diary.stop.cancel();
                }
            }),
        };
        supervise(&cx, &diary, &Notify::new(), &Pulse::default()).await;
        let done = diary.done.lock().unwrap().iter().map(|(at, due)| (at - 1_000_000, *due)).collect();
        (done, diary.refreshed.load(Ordering::SeqCst))
    }

    fn cycles(done: &[(i64, Due)]) -> Vec<i64> {
        done.iter().filter(|(_, due)| matches!(due, Due::Cycle { .. })).map(|(at, _)| *at).collect()
    }

    #[tokio::test]
    async fn a_week_has_its_cycles_and_its_maintenance_and_no_busy_loop() {
        let (done, looked) = live(7 * 24 * 60, 2, |diary, _| diary.schedule.lock().unwrap().maintenance = true).await;
        let every_half_hour: Vec<i64> = (0..7 * 48).map(|number| number * 30).collect();
        assert_eq!(cycles(&done)[..336], every_half_hour[..]);
        assert_eq!(done.iter().filter(|(_, due)| *due == Due::Maintenance).count(), 6);
        // Once a minute, and once around each piece of work.
        assert!(looked <= 7 * 24 * 60 + 2 * 350, "{looked}");
    }

    #[tokio::test]
    async fn a_cycle_longer_than_the_interval_is_followed_at_once_and_never_overlapped() {
        let (done, _) = live(200, 45, |_, _| {}).await;
        assert_eq!(cycles(&done), [0, 45, 90, 135, 180]);
    }

    #[tokio::test]
    async fn suspended_it_waits_and_resumed_it_goes_on_once() {
        let (done, _) = live(300, 1, |diary, minute| {
            let suspension = Suspension { since: 0, by: "somebody".to_owned(), reason: String::new() };
            diary.memory.lock().unwrap().suspended = (40..200).contains(&minute).then_some(suspension);
        })
        .await;
        assert_eq!(cycles(&done), [0, 30, 200, 230, 260, 290]);
    }

    #[tokio::test]
    async fn what_is_asked_for_runs_also_when_suspended() {
        let (done, _) = live(120, 1, |diary, minute| {
            let mut memory = diary.memory.lock().unwrap();
            memory.suspended = Some(Suspension { since: 0, by: "somebody".to_owned(), reason: String::new() });
            if minute == 61 && memory.cycle_began.is_none() {
                memory.asked = true;
                memory.next_cycle = Policy::Initial;
            }
        })
        .await;
        assert_eq!(done, [(61, Due::Cycle { initial: true, reason: CycleReason::Asked })]);
    }

    #[tokio::test]
    async fn a_clock_that_jumps_neither_stops_it_nor_makes_it_catch_up() {
        let jumped = AtomicU64::new(0);
        let (done, _) = live(2_000, 1, move |diary, minute| {
            // A day forward after an hour, half a day back later.
            let jump = match (minute, jumped.load(Ordering::SeqCst)) {
                (60.., 0) => 24 * 60,
                (1_600.., 1) => -12 * 60,
                _ => return,
            };
            jumped.fetch_add(1, Ordering::SeqCst);
            diary.clock.wall.fetch_add(jump * MINUTE, Ordering::SeqCst);
        })
        .await;
        let cycles = cycles(&done);
        assert_eq!(cycles[..3], [0, 30, 1_500]);
        let back = cycles.windows(2).find(|pair| pair[1] < pair[0]).expect("the clock was set back");
        // By what the clock said then: half an hour behind the moment at which it was noticed.
        assert!((880..=912).contains(&back[1]), "{cycles:?}");
        assert!(cycles.windows(2).all(|pair| pair[1] < pair[0] || pair[1] - pair[0] >= 30), "{cycles:?}");
    }

    /// Nothing is known of what was done: it must not be taken for "nothing was done yet", nor asked for without pause.
    #[tokio::test]
    async fn without_a_plan_it_rests_and_does_nothing() {
        let (done, looked) = live(100, 1, |diary, minute| diary.blind.store((10..60).contains(&minute), Ordering::SeqCst)).await;
        assert_eq!(cycles(&done), [0, 60, 90]);
        assert!(looked <= 120, "{looked}");
    }

    #[tokio::test]
    async fn whoever_wakes_it_is_heard_at_once() {
        struct Asked(Mutex<Memory>, CancellationToken, AtomicU64);
        #[async_trait]
        impl Duties for Asked {
            async fn refresh(&self) {}
            fn plan(&self) -> Option<(Schedule, Memory)> {
                Some((Schedule { enabled: false, maintenance: false, ..Schedule::default() }, self.0.lock().unwrap().clone()))
            }
            async fn perform(&self, _: Due) {
                self.2.fetch_add(1, Ordering::SeqCst);
                self.0.lock().unwrap().begin_cycle(Timestamp(0));
                self.1.cancel();
            }
        }
        let cx = Context::system();
        let duties = Asked(Mutex::default(), cx.cancel.clone(), AtomicU64::new(0));
        let wake = Notify::new();
        let asking = async {
            tokio::task::yield_now().await;
            duties.0.lock().unwrap().asked = true;
            wake.notify_one();
        };
        let pulse = Pulse::default();
        tokio::join!(supervise(&cx, &duties, &wake, &pulse), asking);
        assert_eq!(duties.2.load(Ordering::SeqCst), 1);
    }
}
