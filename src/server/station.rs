//! What a running service is made of: the present configuration with its store, and everything that goes on at the same
//! time around it.

use super::herald::Herald;
use super::pulse::{Pulse, Signs};
use super::supervisor::Duties;
use crate::config::{Config, GuardTable};
use crate::context::Context;
use crate::events::Event;
use crate::model::Timestamp;
use crate::schedule::{Due, Memory, Schedule};
use crate::service::{DriveOptions, Service, ServiceError, Work};
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;

/// A running service.
#[derive(Debug)]
pub struct Station {
    pub(super) cx: Context,
    folder: PathBuf,
    service: RwLock<Arc<Service>>,
    /// The fingerprint of the configuration that was looked at last, whether it could be used or not.
    seen: Mutex<Option<u64>>,
    /// What is wrong with it, when it could not be used.
    refused: Mutex<Option<String>>,
    /// What is known of a store whose disk failed.
    trouble: Mutex<Trouble>,
    /// Why nothing is planned, as it was told.
    unplanned: Mutex<Option<String>>,
    /// Whether the loop and what it does get on.
    pub(super) pulse: Pulse,
    /// What people were told of.
    herald: Herald,
    /// Called when something is to be looked at at once.
    pub(super) wake: Notify,
    /// Called when another configuration counts.
    pub(super) changed: tokio::sync::watch::Sender<u64>,
}

/// A store whose disk failed, and when to open it again.
#[derive(Debug, Default)]
struct Trouble {
    /// When it was found unusable.
    since: Option<Timestamp>,
    /// When it was opened again the last time, on the clock of durations.
    back: Option<Duration>,
    /// Not before this time.
    next: Duration,
    /// How long to leave it alone when it fails once more.
    pause: Duration,
}

/// A store whose disk failed is left alone for so long before it is opened again,
const FIRST_PAUSE: Duration = Duration::from_mins(1);
/// and at most for so long when opening it does not help.
const LONGEST_PAUSE: Duration = Duration::from_mins(30);
/// A disk that does its work for so long is well again.
const SETTLED: Duration = Duration::from_hours(2);

/// An editor has written a file within this time after it took the old one away.
const REPLACED_WITHIN: Duration = Duration::from_secs(1);
/// A cycle waits so long for a run that somebody started by hand, and is tried again behind it.
const PATIENCE: Duration = Duration::from_secs(20);

impl Station {
    /// A service on an open store. `service` was opened for the runtime that this runs on.
    pub fn new(cx: Context, service: Service) -> Self {
        let folder = service.config().folder.clone();
        let seen = Config::stamp(&folder).ok();
        let (changed, _) = tokio::sync::watch::channel(0);
        Self {
            cx,
            folder,
            service: RwLock::new(Arc::new(service)),
            seen: Mutex::new(seen),
            refused: Mutex::default(),
            trouble: Mutex::default(),
            unplanned: Mutex::default(),
            pulse: Pulse::default(),
            herald: Herald::default(),
            wake: Notify::new(),
            changed,
        }
    }

    /// Its clock, and the wish that it ends.
    pub fn context(&self) -> &Context {
        &self.cx
    }

    /// The present configuration with its store.
    pub fn service(&self) -> Arc<Service> {
        Arc::clone(&self.service.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at once whether something was changed or asked for.
    pub fn look(&self) {
        self.wake.notify_one();
    }

    /// A directory told that something changed.
    pub(super) fn advise(&self) {
        if let Err(error) = self.service().note_change(self.cx.now()) {
            tracing::warn!("that something changed could not be noted; the next cycle reads it: {error}");
        }
        self.wake.notify_one();
    }

    /// Whoever tells people.
    pub(super) fn herald(&self) -> &Herald {
        &self.herald
    }

    /// Goes on where an earlier process was broken off: a cycle that did not come to its end is due now.
    pub(super) fn resume(&self) {
        let broken_off = |memory: &Memory| memory.cycle_began.is_some_and(|began| memory.cycle_ended.is_none_or(|ended| ended < began));
        if self.service().scheduler_memory().is_ok_and(|memory| broken_off(&memory)) {
            self.advise();
        }
    }

    pub(super) fn tell(&self, event: &Event) {
        self.service().tell(self.cx.now(), event);
    }

    /// Takes over a configuration that was changed. One that cannot be used is told once, and the old one goes on, with the stricter
    /// guards of both.
    pub fn reload(&self) {
        // Held to the end: who looks meanwhile must not go on with the old one.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // A file that is just being replaced or removed is no trouble: the second look finds it settled.
        let stamp = || Config::stamp(&self.folder).or_else(|_| Config::stamp(&self.folder));
        let mut found = stamp();
        if found.as_ref().is_ok_and(|found| *seen != Some(*found)) && self.lacks_rules() {
            // Without them everything would be synchronized anew, by rules that nobody means.
            std::thread::sleep(REPLACED_WITHIN);
            found = stamp();
        }
        match found {
            Ok(found) if *seen == Some(found) => {}
            Ok(found) => {
                *seen = Some(found);
                self.take_over();
            }
            Err(error) => {
                // Whatever lies there when it can be looked at again is looked at.
                *seen = None;
                self.refuse(format!("the configuration in {} cannot be looked at: {error}", self.folder.display()));
            }
        }
    }

    /// A file of rules that counts is gone or empty: removed, or just being written by somebody's editor.
    fn lacks_rules(&self) -> bool {
        let empty = |name: &str| std::fs::metadata(self.folder.join(name)).map_or(true, |metadata| metadata.len() == 0);
        self.service().config().rule_files.iter().any(|file| !file.text.is_empty() && empty(&file.name))
    }

    /// Makes the service anew from configuration and store, whether a file changed or not.
    pub fn renew(&self) {
        let _seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_over();
    }

    fn take_over(&self) {
        match self.reconfigured().and_then(|service| self.swap(service)) {
            Ok(()) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.tell(&Event::ConfigurationTaken);
                self.changed.send_modify(|generation| *generation += 1);
            }
            Err(error) => self.refuse(error.to_string()),
        }
    }

    /// Puts a service in the place of the one that counts.
    fn swap(&self, service: Service) -> Result<(), ServiceError> {
        service.take_effect()?;
        *self.service.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(service);
        Ok(())
    }

    /// Whatever else is wrong with the folder: where its main file asks for stricter guards than count now, those count at once. Staging
    /// mode is for emergencies, and must not wait until somebody has mended another file.
    fn tighten(&self) -> Result<(), ServiceError> {
        let service = self.service();
        let now = &service.config().guard;
        let Some(guard) = GuardTable::stated(&self.folder).map(|stated| now.stricter(&stated)).filter(|guard| guard != now) else {
            return Ok(());
        };
        self.swap(service.reconfigured(Config { guard, ..service.config().clone() })?)?;
        self.changed.send_modify(|generation| *generation += 1);
        Ok(())
    }

    /// The configuration that lies in the folder does not count, but for stricter guards. Told once.
    fn refuse(&self, mut message: String) {
        if let Err(error) = self.tighten() {
            message = format!("{message}; and its stricter guards, if it has any, could not be heeded: {error}");
        }
        let known = self.refused.lock().unwrap_or_else(PoisonError::into_inner).replace(message.clone());
        if known.as_ref() != Some(&message) {
            self.tell(&Event::ConfigurationRefused { message });
        }
    }

    /// Nothing runs by itself, for this reason. Told once.
    fn leave_unplanned(&self, reason: Option<String>) {
        let mut known = self.unplanned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(message) = reason.as_ref().filter(|reason| known.as_ref() != Some(reason)) {
            self.tell(&Event::CycleNotStarted { message: message.clone() });
        }
        *known = reason;
    }

    /// Why the configuration that lies in the folder is not the one that counts, if so.
    pub fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reconfigured(&self) -> Result<Service, ServiceError> {
        let config = Config::load(&self.folder)?;
        let service = self.service().reconfigured(config)?;
        service.rules()?;
        Ok(service)
    }

    /// One cycle. What goes wrong in it is told by its runs; what keeps it from beginning is told here.
    fn cycle(&self, initial: bool) {
        let service = self.service();
        let options = DriveOptions { patience: PATIENCE, ..DriveOptions::default() };
        // Whoever stops the cycle stops the cycle, and not the service.
        let cx = Context { cancel: self.cx.cancel.child_token(), ..self.cx.clone() };
        match service.drive(&cx, &[Work::Cycle { initial }], options, &mut Signs { pulse: &self.pulse, cx: &cx }) {
            // Its runs tell how it went; while something else runs, it stays due.
            Ok(_) | Err(ServiceError::Busy(_)) => {}
            Err(error) => self.tell(&Event::CycleNotStarted { message: error.to_string() }),
        }
    }

    /// Opens the store again after its disk failed. One that fails again and again is tried more and more rarely.
    fn mend(&self) {
        let service = self.service();
        let Some(message) = service.store().failure() else { return };
        let (now, elapsed) = (self.cx.now(), self.cx.clock.elapsed());
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.since.is_none() {
            let again = trouble.back.is_some_and(|back| elapsed.saturating_sub(back) < SETTLED);
            trouble.pause = if again { (trouble.pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
            trouble.next = elapsed + trouble.pause;
            trouble.since = Some(now);
            self.tell(&Event::StoreLost { message });
        }
        if elapsed < trouble.next {
            return;
        }
        match service.mend_store() {
            Ok(_) => {
                let since = trouble.since.take().unwrap_or(now);
                trouble.back = Some(elapsed);
                drop(trouble);
                self.tell(&Event::StoreBack { since });
                if self.refused().is_some() {
                    // Perhaps nothing was wrong with it but the store.
                    self.renew();
                } else {
                    // Whoever remembers what the store may not have kept begins anew.
                    self.changed.send_modify(|generation| *generation += 1);
                }
            }
            Err(error) => {
                tracing::info!("the store could not be opened again: {error}");
                if !matches!(error, ServiceError::Busy(_)) {
                    trouble.pause = (trouble.pause * 2).min(LONGEST_PAUSE);
                    trouble.next = elapsed + trouble.pause;
                }
            }
        }
    }

    fn maintain(&self) {
        let service = self.service();
        if let Err(error) = service.maintain(&self.cx) {
            tracing::warn!("maintenance did not come to its end: {error}");
        }
        let now = self.cx.now();
        service.note_schedule(|memory| memory.end_maintenance(now));
    }
}

#[async_trait]
impl Duties for Arc<Station> {
    async fn refresh(&self) {
        let station = Arc::clone(self);
        off_thread(move || {
            station.reload();
            station.mend();
        })
        .await;
    }

    fn plan(&self) -> Option<(Schedule, Memory)> {
        let service = self.service();
        let memory = match service.scheduler_memory() {
            Ok(memory) => memory,
            Err(error) => {
                self.leave_unplanned(Some(format!("what the scheduler remembers cannot be read now: {error}")));
                return None;
            }
        };
        self.leave_unplanned(memory.unreadable.as_ref().map(|why| {
            format!("what the scheduler remembers cannot be read ({why}), and somebody may have suspended it: `syncline scheduler resume` begins anew")
        }));
        Some((service.schedule(), memory))
    }

    async fn perform(&self, due: Due) {
        let station = Arc::clone(self);
        off_thread(move || match due {
            Due::Cycle { initial, .. } => station.cycle(initial),
            Due::Maintenance => station.maintain(),
        })
        .await;
    }
}

/// Does blocking work aside. A panic in it is told by its own message and ends only the work.
pub(super) async fn off_thread(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(work).await {
        tracing::error!("the service met an error of its own and goes on: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Clock, SystemClock};
    use crate::model::ConnectorId;
    use crate::service::EventQuery;
    use crate::store::{Kept, KeptState, Store};
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn station(store: &Store, runtime: &tokio::runtime::Runtime) -> (tempfile::TempDir, Arc<Station>) {
        station_on(store, runtime, Context::system())
    }

    fn station_on(store: &Store, runtime: &tokio::runtime::Runtime, cx: Context) -> (tempfile::TempDir, Arc<Station>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("syncline.toml"), "version = 1\n").unwrap();
        let config = Config::load(folder.path()).unwrap();
        let service = Service::on_store(config, store.clone(), runtime.handle().clone()).unwrap();
        (folder, Arc::new(Station::new(cx, service)))
    }

    fn told(station: &Station, number: u32) -> Vec<String> {
        let query = EventQuery { numbers: vec![number], ..EventQuery::default() };
        station.service().events(&query, 100).unwrap().0.into_iter().map(|event| event.text).collect()
    }

    #[test]
    fn a_configuration_that_cannot_be_looked_at_is_told_once_and_taken_when_it_is_back() {
        let (store, runtime) = (Store::in_memory().unwrap(), tokio::runtime::Runtime::new().unwrap());
        let (folder, station) = station(&store, &runtime);
        let main = folder.path().join("syncline.toml");
        std::fs::remove_file(&main).unwrap();
        (0..3).for_each(|_| station.reload());
        assert!(station.refused().is_some());
        assert_eq!(told(&station, 7063).len(), 1);
        std::fs::write(&main, "version = 1\n").unwrap();
        (0..3).for_each(|_| station.reload());
        assert_eq!(station.refused(), None);
        assert_eq!(told(&station, 7062).len(), 1);
    }

    /// A clock on which a minute passes at once, and then no more.
    struct OneMinute(SystemClock, AtomicBool);

    impl Clock for OneMinute {
        fn now(&self) -> Timestamp {
            self.0.now()
        }

        fn elapsed(&self) -> Duration {
            self.0.elapsed()
        }

        fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            let passes = duration <= Duration::from_mins(1) && !self.1.swap(true, Ordering::SeqCst);
            Box::pin(async move { if passes { std::future::ready(()).await } else { std::future::pending().await } })
        }
    }

    /// The loop is in a cycle for hours, and does not look.
    #[test]
    fn the_configuration_is_looked_at_once_a_minute_whatever_the_loop_does() {
        let (store, runtime) = (Store::in_memory().unwrap(), tokio::runtime::Runtime::new().unwrap());
        let clock = Arc::new(OneMinute(SystemClock::new(), AtomicBool::default()));
        let (folder, station) = station_on(&store, &runtime, Context { clock, ..Context::system() });
        std::fs::write(folder.path().join("syncline.toml"), "version = 1\n[guard]\nstaging = true\n").unwrap();
        let mut changed = station.changed.subscribe();
        let part = runtime.spawn(super::super::tasks::configuration(Arc::clone(&station)));
        runtime.block_on(async { tokio::time::timeout(Duration::from_mins(1), changed.changed()).await }).unwrap().unwrap();
        assert!(station.service().limits().staging);
        station.cx.cancel.cancel();
        runtime.block_on(part).unwrap();
    }

    /// Rules that do not compile.
    const BROKEN: &str = "[[rule]]\nname = 7\n";

    #[test]
    fn nothing_of_a_refused_configuration_counts_but_stricter_guards() {
        let (store, runtime) = (Store::in_memory().unwrap(), tokio::runtime::Runtime::new().unwrap());
        let (folder, station) = station(&store, &runtime);
        let main = folder.path().join("syncline.toml");
        for name in ["rules", "connectors"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let rules = folder.path().join("rules/10-own.toml");
        let guard = |text: &str| std::fs::write(&main, format!("version = 1\n[guard]\n{text}")).unwrap();
        let counts = || station.service().limits();
        guard("max_deletes = 20\nstaging = true\n");
        station.reload();
        assert_eq!((counts().deletes_max, counts().staging), (Some(20), true));

        // A connector that nobody knows, and looser guards, beside rules that cannot be used.
        guard("max_deletes = 100000\nstaging = false\n");
        std::fs::write(&rules, BROKEN).unwrap();
        std::fs::write(folder.path().join("connectors/hr.toml"), "kind = \"ldif\"\npath = \"hr.ldif\"\n").unwrap();
        station.reload();
        assert!(station.refused().is_some());
        assert_eq!((counts().deletes_max, counts().staging), (Some(20), true));
        assert!(station.service().config().guard.staging);
        let number = store.snapshot().unwrap().state(ConnectorId(0), "connector-number/hr").unwrap();
        assert_eq!(number, None, "it has a number already");

        // Stricter ones count at once, and are shown; they stay until a configuration is accepted.
        guard("max_deletes = 3\n");
        station.reload();
        guard("max_deletes = 500\n");
        station.reload();
        assert_eq!((counts().deletes_max, counts().staging), (Some(3), true));
        assert_eq!(station.service().config().guard.max_deletes, 3);
        std::fs::remove_file(&rules).unwrap();
        station.reload();
        assert_eq!(station.refused(), None);
        assert_eq!((counts().deletes_max, counts().staging), (Some(500), false));
        let number = store.snapshot().unwrap().state(ConnectorId(0), "connector-number/hr").unwrap();
        assert!(number.is_some(), "its number is kept");
    }

    #[test]
    fn rules_that_are_being_replaced_are_not_taken_for_removed() {
        let (store, runtime) = (Store::in_memory().unwrap(), tokio::runtime::Runtime::new().unwrap());
        let (folder, station) = station(&store, &runtime);
        let rules = folder.path().join("rules/10-own.toml");
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        std::fs::write(&rules, "# nothing yet\n").unwrap();
        station.reload();
        let count = || station.service().config().rule_files.len();
        assert_eq!((count(), told(&station, 7062).len()), (1, 1));
        for gone in [true, false] {
            if gone {
                std::fs::remove_file(&rules).unwrap();
            } else {
                std::fs::write(&rules, "").unwrap();
            }
            let editor = std::thread::spawn({
                let rules = rules.clone();
                move || {
                    std::thread::sleep(REPLACED_WITHIN / 4);
                    std::fs::write(rules, "# nothing yet\n").unwrap();
                }
            });
            station.reload();
            editor.join().unwrap();
            assert_eq!((count(), told(&station, 7062).len()), (1, 1), "gone: {gone}");
        }
        std::fs::remove_file(&rules).unwrap();
        station.reload();
        assert_eq!((count(), told(&station, 7062).len()), (0, 2), "removed for good");
    }

    #[test]
    fn a_schedule_that_cannot_be_read_is_told_once_and_nothing_is_due() {
        let (store, runtime) = (Store::in_memory().unwrap(), tokio::runtime::Runtime::new().unwrap());
        let damaged: KeptState<u32> = KeptState::new("scheduler");
        damaged.update(&store, ConnectorId(0), |_| (Kept::Here(7), ())).unwrap();
        let (_folder, station) = station(&store, &runtime);
        for _ in 0..3 {
            let (schedule, memory) = station.plan().expect("it is known that nothing is known");
            assert_eq!(schedule.next(&memory, station.cx.now()), None);
        }
        let told = told(&station, 7064);
        assert!(matches!(&told[..], [one] if one.contains("scheduler resume")), "{told:?}");
    }
}
