//! A service in this process, with a real store, on a clock that is moved by hand and a disk that can be full.

use crate::leaping::{Leaping, Look};
use redb::StorageBackend;
use redb::backends::FileBackend;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use syncline::config::Config;
use syncline::context::{Clock as _, Context, SystemClock};
use syncline::model::Timestamp;
use syncline::server::{Call, Caller, Commands, ServeError, Station, serve};
use syncline::service::Service;
use syncline::store::{Store, StoreOptions};
use tokio_util::sync::CancellationToken;

/// A run that waits for time to pass moves nothing for so many looks.
const STILL: u32 = 10;
pub(crate) const LOOK_EVERY: Duration = Duration::from_micros(300);

/// A disk that can be full: nothing more is written then.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn open(path: &Path, full: &Arc<AtomicBool>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let file = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self { file, full: Arc::clone(full) })
    }

    fn room(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.room()?;
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

struct Nobody;

impl Commands for Nobody {
    fn run(&self, _: &Call, _: Arc<Caller>, _: &CancellationToken) -> u8 {
        0
    }
}

/// A service that runs, and the hand that moves its clock.
pub(crate) struct Life {
    /// Ends the service first of all, also when a test ends at a surprise: nobody would wake those who sleep.
    _stop: tokio_util::sync::DropGuard,
    pub(crate) clock: Arc<Leaping>,
    pub(crate) station: Arc<Station>,
    pub(crate) cx: Context,
    pub(crate) full: Arc<AtomicBool>,
    pub(crate) began: Timestamp,
    /// Who waits for time to pass when there is nothing to do.
    residents: usize,
    runtime: tokio::runtime::Runtime,
    serving: tokio::task::JoinHandle<Result<(), ServeError>>,
}

impl Life {
    pub(crate) fn begin(config: Config, residents: usize) -> Self {
        // A whole minute, for times are written with no more than thousandths.
        let began = Timestamp(SystemClock::new().now().0 / 60_000_000 * 60_000_000);
        let clock = Arc::new(Leaping::at(began));
        let cx = Context { clock: clock.clone(), cancel: CancellationToken::new(), seed: 1 };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let full = Arc::new(AtomicBool::new(false));
        let (path, disk) = (config.store.clone(), Arc::clone(&full));
        let store = Store::open_on(move || Disk::open(&path, &disk), StoreOptions::default()).unwrap();
        let service = Service::on_store(config, store, runtime.handle().clone()).unwrap();
        let station = Arc::new(Station::new(cx.clone(), service));
        let serving = runtime.spawn(serve(Arc::clone(&station), Arc::new(Nobody), |_| ()));
        Self { _stop: cx.cancel.clone().drop_guard(), clock, station, cx, full, began, residents, runtime, serving }
    }

    pub(crate) fn service(&self) -> Arc<Service> {
        self.station.service()
    }

    /// Waits until everybody waits for time to pass.
    pub(crate) fn settle(&self) -> Look {
        let (mut last, mut still) = (self.clock.look(), 0);
        loop {
            let look = self.clock.look();
            still = if look == last { still + 1 } else { 0 };
            // Whoever works does not sleep: during a run, the supervisor's place is that of the run.
            if look.sleepers >= self.residents && (still > STILL || self.service().running().is_none()) {
                return look;
            }
            assert!(still < 200_000, "the service does not come to rest: {look:?}");
            last = look;
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Lets time pass until so long after the beginning.
    pub(crate) fn pass(&self, until: Duration) -> Look {
        loop {
            let look = self.settle();
            if look.elapsed >= until {
                return look;
            }
            self.clock.leap(until);
        }
    }

    pub(crate) fn end(self) {
        self.cx.cancel.cancel();
        self.runtime.block_on(self.serving).unwrap().unwrap();
    }
}
