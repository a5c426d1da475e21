//! A disk in memory. What was written and not synced is gone, wholly or in part, when the power is;
//! and it can be full, or fail at its n-th call.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use ams_tests::seed::Seed;
use redb::StorageBackend;
use tokio::sync::Notify;

/// What is torn is torn at such a border.
const SECTOR: usize = 512;

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, written) => {
                let end = at + written.len();
                if bytes.len() < end {
                    set_length(bytes, end);
                }
                bytes[*at..end].copy_from_slice(written);
            }
            Self::Length(length) => set_length(bytes, *length),
        }
    }
}

/// As `resize`, which goes byte by byte where it is not optimised: a twentieth of a run.
fn set_length(bytes: &mut Vec<u8>, length: usize) {
    match length.checked_sub(bytes.len()) {
        Some(more) => bytes.extend_from_slice(&vec![0; more]),
        None => bytes.truncate(length),
    }
}

/// What goes wrong at a call that is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call fails, once. If it is a sync, nobody knows how much arrived of what was not synced.
    Error,
    /// The power goes before the call does anything.
    PowerBefore,
    /// The power goes when the call is done.
    PowerAfter,
}

#[derive(Debug)]
struct Inner {
    /// What reads see.
    now: Vec<u8>,
    /// What outlives the power.
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    chance: Seed,
    /// Nothing may be added.
    is_full: bool,
    /// After so many writes and syncs more.
    fault: Option<(u32, Fault)>,
    /// Which plug counts; there is none while the power is off.
    plug: u64,
    has_power: bool,
    /// The control: syncs that say they are done and are not.
    lies: bool,
}

/// The disk; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    inner: Arc<Mutex<Inner>>,
    power_cut: Arc<Notify>,
}

/// One use of the disk, from when the power came to when it goes.
#[derive(Debug, Clone)]
pub(crate) struct Plug {
    disk: Disk,
    number: u64,
}

impl Disk {
    /// With this on it.
    pub(crate) fn new(image: Vec<u8>, chance: Seed) -> Self {
        let inner = Inner {
            now: image.clone(),
            durable: image,
            unsynced: Vec::new(),
            chance,
            is_full: false,
            fault: None,
            plug: 0,
            has_power: true,
            lies: false,
        };
        Self { inner: Arc::new(Mutex::new(inner)), power_cut: Arc::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// For whoever uses it from now on, until the next restart: who opens it once more after that
    /// gets nothing.
    pub(crate) fn plug(&self) -> Plug {
        Plug { disk: self.clone(), number: self.inner().plug }
    }

    /// What outlives the power.
    pub(crate) fn image(&self) -> Vec<u8> {
        self.inner().durable.clone()
    }

    /// Whoever used it is gone, and of what was not synced some may be there all the same. It can be
    /// used again.
    pub(crate) fn restart(&self) {
        let mut inner = self.inner();
        inner.settle();
        inner.plug += 1;
        inner.has_power = true;
        inner.fault = None;
    }

    /// The power goes now; [`Disk::restart`] brings it back.
    pub(crate) fn cut_power(&self) {
        self.inner().has_power = false;
    }

    /// Resolves when a fault took the power.
    pub(crate) async fn power_cut(&self) {
        self.power_cut.notified().await;
    }

    /// Whether whoever uses it still does.
    pub(crate) fn has_power(&self) -> bool {
        self.inner().has_power
    }

    /// Full, or no longer.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.inner().is_full = is_full;
    }

    /// Something goes wrong after `calls` more.
    pub(crate) fn set_fault(&self, calls: u32, fault: Fault) {
        self.inner().fault = Some((calls, fault));
    }

    /// Nothing is to go wrong any more.
    pub(crate) fn heal(&self) {
        let mut inner = self.inner();
        (inner.is_full, inner.fault) = (false, None);
    }

    /// The control: from now on nothing that is synced is durable.
    pub(crate) fn set_lies(&self) {
        self.inner().lies = true;
    }
}

impl Inner {
    /// Of what was not synced, chance says what is there: nothing, all, or some of it, torn.
    fn settle(&mut self) {
        let how = self.chance.below(3);
        for change in std::mem::take(&mut self.unsynced) {
            match (how, change) {
                (1, change) => change.apply(&mut self.durable),
                (2, Change::Write(at, bytes)) => {
                    for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                        if self.chance.below(2) == 0 {
                            let part = Change::Write(at + number * SECTOR, sector.to_vec());
                            part.apply(&mut self.durable);
                        }
                    }
                }
                // A file is never shorter than what is written into it.
                (2, change) => change.apply(&mut self.durable),
                _ => {}
            }
        }
        self.now.clone_from(&self.durable);
    }
}

fn failed() -> io::Error {
    io::Error::other("the disk failed")
}

impl Plug {
    fn inner(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.disk.inner();
        if inner.has_power && inner.plug == self.number { Ok(inner) } else { Err(failed()) }
    }

    /// A call that changes something, with what chance has for it.
    fn change(
        &self,
        is_sync: bool,
        act: impl FnOnce(&mut Inner) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut inner = self.inner()?;
        let fault = match &mut inner.fault {
            None => None,
            Some((0, fault)) => Some(*fault),
            Some((calls, _)) => {
                *calls -= 1;
                None
            }
        };
        if fault.is_some() {
            inner.fault = None;
        }
        match fault {
            None => act(&mut inner),
            Some(Fault::Error) => {
                if is_sync {
                    inner.settle();
                }
                Err(failed())
            }
            Some(Fault::PowerBefore) => {
                inner.has_power = false;
                self.disk.power_cut.notify_one();
                Err(failed())
            }
            Some(Fault::PowerAfter) => {
                let done = act(&mut inner);
                inner.has_power = false;
                self.disk.power_cut.notify_one();
                done
            }
        }
    }
}

impl StorageBackend for Plug {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner()?.now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.inner()?;
        let at = usize::try_from(offset).unwrap();
        let from = inner.now.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(false, |inner| {
            let length = usize::try_from(len).unwrap();
            if inner.is_full && length > inner.now.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let change = Change::Length(length);
            change.apply(&mut inner.now);
            inner.unsynced.push(change);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(true, |inner| {
            if inner.lies {
                return Ok(());
            }
            for change in std::mem::take(&mut inner.unsynced) {
                change.apply(&mut inner.durable);
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(false, |inner| {
            // A file system that writes elsewhere first has no room for what overwrites, either.
            if inner.is_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let change = Change::Write(usize::try_from(offset).unwrap(), data.to_vec());
            change.apply(&mut inner.now);
            inner.unsynced.push(change);
            Ok(())
        })
    }
}
