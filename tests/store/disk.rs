//! A disk that can lose power.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use syncline::store::{Store, StoreError, StoreOptions};

/// Small caches, so that tests read from the disk, too.
pub(crate) const OPTIONS: StoreOptions = StoreOptions { cache_octets: 1 << 20 };

/// A disk in memory. Writes reach it only by a synchronization; losing power keeps any part of the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    durable: Vec<u8>,
    /// What readers see.
    current: Vec<u8>,
    /// Since the last synchronization, in order.
    unsynced: Vec<Unsynced>,
    /// Operations until the power goes.
    countdown: Option<u64>,
    /// It is no power that goes then, but room.
    full: bool,
    dead: bool,
}

#[derive(Debug)]
enum Unsynced {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Disk {
    /// Lets the power go after `operations` more writes, length changes or synchronizations.
    pub(crate) fn fail_after(&self, operations: u64) {
        self.0.lock().unwrap().countdown = Some(operations);
    }

    /// Lets the room go after `operations` more.
    pub(crate) fn fill_after(&self, operations: u64) {
        self.0.lock().unwrap().full = true;
        self.fail_after(operations);
    }

    /// True when the power went.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.lock().unwrap().dead
    }

    /// The disk as it is found when power is back: of the writes that were not synchronized, those whose bit in
    /// `survivors` is set are there.
    pub(crate) fn after_power_loss(&self, survivors: u64) -> Disk {
        let platter = self.0.lock().unwrap();
        let mut content = platter.durable.clone();
        for (index, change) in platter.unsynced.iter().enumerate() {
            let kept = survivors.rotate_right(u32::try_from(index % 64).unwrap()) & 1 == 1;
            if kept {
                change.apply(&mut content);
            }
        }
        Disk(Arc::new(Mutex::new(Platter { durable: content.clone(), current: content, ..Platter::default() })))
    }

    pub(crate) fn open(&self) -> Result<Store, StoreError> {
        Store::open_with_backend(self.clone(), OPTIONS)
    }
}

impl Unsynced {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.resize(usize::try_from(*length).unwrap(), 0),
            Self::Write(offset, data) => {
                let start = usize::try_from(*offset).unwrap();
                // The length change before it may be among what was lost.
                if content.len() < start + data.len() {
                    content.resize(start + data.len(), 0);
                }
                content[start..start + data.len()].copy_from_slice(data);
            }
        }
    }
}

impl Platter {
    fn step(&mut self) -> io::Result<()> {
        if self.dead || self.countdown == Some(0) {
            self.dead = true;
            if self.full {
                return Err(ErrorKind::StorageFull.into());
            }
            return Err(io::Error::other("the power is gone"));
        }
        self.countdown = self.countdown.map(|left| left - 1);
        Ok(())
    }

    fn change(&mut self, change: Unsynced) -> io::Result<()> {
        self.step()?;
        change.apply(&mut self.current);
        self.unsynced.push(change);
        Ok(())
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.0.lock().unwrap();
        if platter.dead {
            return Err(io::Error::other("the power is gone"));
        }
        let start = usize::try_from(offset).unwrap();
        let content = platter.current.get(start..start + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(content);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.lock().unwrap().change(Unsynced::Length(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.step()?;
        let Platter { durable, current, .. } = &mut *platter;
        durable.clone_from(current);
        platter.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().change(Unsynced::Write(offset, data.to_vec()))
    }
}
