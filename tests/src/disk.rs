//! Disks in memory that fail, or lose their power.
//!
//! The disks of one machine share a [`Journal`]: every write, change of length and sync, in order,
//! and between them what was answered to somebody. From it comes what would be on a disk had the
//! power gone at any moment: what was synced, and of the rest some, in any order, torn anywhere.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use amsd::store::Disk as Bytes;

use crate::seed::Seed;

/// A disk writes so many bytes at once, or not at all.
const SECTOR: u64 = 512;

/// What a program did to a disk.
#[derive(Debug, Clone)]
enum Call {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
    Sync,
}

impl Call {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*offset..end].copy_from_slice(bytes);
            }
            Self::SetLen(len) => to.resize(*len, 0),
            Self::Sync => {}
        }
    }
}

/// Everything that was done to the disks of one machine, and what was answered.
#[derive(Debug)]
pub struct Journal<Fact> {
    log: Arc<Mutex<Log>>,
    facts: Mutex<Vec<(usize, Fact)>>,
}

#[derive(Debug, Default)]
struct Log {
    calls: Vec<(usize, Call)>,
    disks: Vec<Vec<u8>>,
}

impl<Fact> Default for Journal<Fact> {
    fn default() -> Self {
        Self { log: Arc::default(), facts: Mutex::default() }
    }
}

impl<Fact: Clone> Journal<Fact> {
    /// One more disk, with this on it.
    pub fn disk(&self, bytes: Vec<u8>) -> Arc<Disk> {
        let mut log = self.log.lock().unwrap();
        log.disks.push(bytes.clone());
        let number = log.disks.len() - 1;
        Arc::new(Disk::of(bytes, Some((Arc::clone(&self.log), number))))
    }

    /// Something was answered, and has to be true from now on.
    pub fn answered(&self, fact: Fact) {
        let now = self.len();
        self.facts.lock().unwrap().push((now, fact));
    }

    /// Calls so far.
    pub fn len(&self) -> usize {
        self.log.lock().unwrap().calls.len()
    }

    /// Whether nothing was done yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was answered before the call of that number.
    pub fn facts(&self, before: usize) -> Vec<Fact> {
        let facts = self.facts.lock().unwrap();
        facts.iter().filter(|(at, _)| *at <= before).map(|(_, fact)| fact.clone()).collect()
    }

    /// The calls to a disk, by number.
    pub fn calls_to(&self, disk: &Disk) -> Vec<usize> {
        let number = disk.number();
        let log = self.log.lock().unwrap();
        let numbered = log.calls.iter().enumerate();
        numbered.filter(|(_, (of, _))| *of == number).map(|(at, _)| at).collect()
    }

    /// The syncs of a disk around a moment: the last before it, and the next from it on.
    pub fn syncs_around(&self, disk: &Disk, at: usize) -> (Option<usize>, Option<usize>) {
        let number = disk.number();
        let log = self.log.lock().unwrap();
        let is_sync = |(of, call): &(usize, Call)| *of == number && matches!(call, Call::Sync);
        let before = log.calls[..at].iter().rposition(is_sync);
        let next = log.calls[at..].iter().position(is_sync).map(|later| at + later);
        (before, next)
    }

    /// What a disk holds when the calls before `at`, and no others, were done and none is lost.
    pub fn whole(&self, disk: &Disk, at: usize) -> Vec<u8> {
        let number = disk.number();
        let log = self.log.lock().unwrap();
        let mut bytes = log.disks[number].clone();
        for (_, call) in log.calls[..at].iter().filter(|(of, _)| *of == number) {
            call.apply(&mut bytes);
        }
        bytes
    }

    /// What a disk holds when the power goes right before the call `at`.
    pub fn cut(&self, disk: &Disk, at: usize, loss: Loss, seed: &mut Seed) -> Vec<u8> {
        let number = disk.number();
        let synced = self.syncs_around(disk, at).0.map_or(0, |sync| sync + 1);
        let mut bytes = self.whole(disk, synced);
        let log = self.log.lock().unwrap();
        let open: Vec<&Call> = log.calls[synced..at]
            .iter()
            .filter(|(of, _)| *of == number)
            .map(|(_, call)| call)
            .collect();
        for (nth, call) in open.iter().enumerate() {
            let is_last = nth + 1 == open.len();
            for part in loss.of(call, is_last, seed) {
                part.apply(&mut bytes);
            }
        }
        bytes
    }
}

/// What becomes of what was written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of it is gone.
    Everything,
    /// All of it is there, as after the death of a process.
    Nothing,
    /// All of it is there, but only the beginning of the last write.
    Torn,
    /// Some of it is there, whatever came first, and of some writes only some sectors.
    Some,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Everything, Self::Nothing, Self::Torn, Self::Some];

    /// What is left of a call.
    fn of(self, call: &Call, is_last: bool, seed: &mut Seed) -> Vec<Call> {
        match (self, call) {
            (_, Call::Sync) | (Self::Everything, _) => Vec::new(),
            (Self::Torn, Call::Write { offset, bytes }) if is_last => {
                let kept = usize::try_from(seed.below(bytes.len() as u64 + 1)).unwrap();
                vec![Call::Write { offset: *offset, bytes: bytes[..kept].to_vec() }]
            }
            (Self::Torn | Self::Nothing, call) => vec![call.clone()],
            (Self::Some, Call::SetLen(_)) if seed.below(2) == 0 => Vec::new(),
            (Self::Some, Call::SetLen(_)) => vec![call.clone()],
            (Self::Some, Call::Write { offset, bytes }) => match seed.below(4) {
                0 => Vec::new(),
                1 => sectors(*offset, bytes).filter(|_| seed.below(2) == 0).collect(),
                _ => vec![call.clone()],
            },
        }
    }
}

/// A write, sector by sector as they lie on the disk.
fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = Call> {
    let sector = usize::try_from(SECTOR).unwrap();
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(from..).filter(|rest| !rest.is_empty())?;
        let at = offset + from;
        let part = rest.len().min(sector - at % sector);
        from += part;
        Some(Call::Write { offset: at, bytes: rest[..part].to_vec() })
    })
}

/// How a disk fails.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    /// Calls that still work.
    pub after: usize,
    /// What the next one says.
    pub kind: io::ErrorKind,
    /// So do all after it.
    pub lasts: bool,
    /// Says that it worked, and did nothing: no disk that a program can be written for.
    pub hidden: bool,
}

/// A disk.
#[derive(Debug)]
pub struct Disk {
    bytes: Mutex<Vec<u8>>,
    journal: Option<(Arc<Mutex<Log>>, usize)>,
    trouble: Mutex<Option<Trouble>>,
    /// Calls that failed.
    failed: Mutex<usize>,
    /// Its syncs do nothing, and it says that they did.
    lies: Mutex<bool>,
}

impl Disk {
    /// A disk without a journal.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self::of(bytes, None))
    }

    fn of(bytes: Vec<u8>, journal: Option<(Arc<Mutex<Log>>, usize)>) -> Self {
        Self {
            bytes: Mutex::new(bytes),
            journal,
            trouble: Mutex::new(None),
            failed: Mutex::new(0),
            lies: Mutex::new(false),
        }
    }

    fn number(&self) -> usize {
        self.journal.as_ref().unwrap().1
    }

    /// What is on it, synced or not.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.held().clone()
    }

    /// From now on it says that it synced and does not.
    pub fn lie(&self) {
        *self.lies.lock().unwrap() = true;
    }

    /// It will fail.
    pub fn fail(&self, trouble: Trouble) {
        *self.failed.lock().unwrap() = 0;
        *self.trouble.lock().unwrap() = Some(trouble);
    }

    /// It works again; answers how many calls failed.
    pub fn mend(&self) -> usize {
        *self.trouble.lock().unwrap() = None;
        *self.failed.lock().unwrap()
    }

    fn held(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap()
    }

    /// Whether this call does nothing although it says that it did.
    fn call(&self) -> io::Result<bool> {
        let mut coming = self.trouble.lock().unwrap();
        let Some(trouble) = coming.as_mut() else { return Ok(false) };
        if trouble.after > 0 {
            trouble.after -= 1;
            return Ok(false);
        }
        let trouble = *trouble;
        if !trouble.lasts {
            *coming = None;
        }
        *self.failed.lock().unwrap() += 1;
        if trouble.hidden { Ok(true) } else { Err(trouble.kind.into()) }
    }

    fn change(&self, call: Call) -> io::Result<()> {
        if self.call()? {
            return Ok(());
        }
        let mut held = self.held();
        call.apply(&mut held);
        if matches!(call, Call::Sync) && *self.lies.lock().unwrap() {
            return Ok(());
        }
        if let Some((log, number)) = &self.journal {
            log.lock().unwrap().calls.push((*number, call));
        }
        Ok(())
    }
}

impl Bytes for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.held().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // A disk that is full can be read, and one that hides its errors is not wrong about them.
        let reads =
            |trouble: &Trouble| trouble.kind == io::ErrorKind::StorageFull || trouble.hidden;
        if !self.trouble.lock().unwrap().as_ref().is_some_and(reads) {
            self.call()?;
        }
        let held = self.held();
        let from = usize::try_from(offset).unwrap();
        let there = held.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(there);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Call::SetLen(usize::try_from(len).unwrap()))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(Call::Sync)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.change(Call::Write { offset, bytes: bytes.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (Journal<()>, Arc<Disk>) {
        let journal = Journal::default();
        let disk = journal.disk(Vec::new());
        disk.set_len(2048).unwrap();
        disk.write(0, &[1; 1024]).unwrap();
        disk.sync_data().unwrap();
        disk.write(0, &[2; 1024]).unwrap();
        disk.write(1024, &[3; 1024]).unwrap();
        (journal, disk)
    }

    #[test]
    fn what_was_synced_is_never_lost_and_of_the_rest_anything_may_be() {
        let (journal, disk) = written();
        let (end, mut seed) = (journal.len(), Seed::new(1));
        let mut cut = |loss| journal.cut(&disk, end, loss, &mut seed);
        assert_eq!(cut(Loss::Everything), [[1; 1024], [0; 1024]].concat());
        assert_eq!(cut(Loss::Nothing), disk.bytes());
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let torn = cut(Loss::Torn);
            assert_eq!(torn[..1024], [2; 1024]);
            let some = cut(Loss::Some);
            assert!(
                some[..1024].chunks(512).all(|sector| sector == [1; 512] || sector == [2; 512])
            );
            seen.insert((some[0], some[600], some[1024], some[1600]));
        }
        // The later write without the earlier one, and halves of either.
        for kept in [(1, 1, 3, 3), (2, 2, 0, 0), (2, 1, 0, 3), (1, 2, 3, 0), (1, 1, 0, 0)] {
            assert!(seen.contains(&kept), "{kept:?}");
        }
    }

    #[test]
    fn a_disk_that_lies_keeps_nothing_for_sure() {
        let journal = Journal::<()>::default();
        let disk = journal.disk(Vec::new());
        disk.lie();
        disk.write(0, b"gone").unwrap();
        disk.sync_data().unwrap();
        assert_eq!(journal.cut(&disk, journal.len(), Loss::Everything, &mut Seed::new(1)), b"");
    }

    #[test]
    fn the_nth_call_fails_and_is_counted() {
        let disk = Disk::new(vec![0; 8]);
        let kind = io::ErrorKind::StorageFull;
        disk.fail(Trouble { after: 1, kind, lasts: false, hidden: false });
        disk.write(0, b"one").unwrap();
        assert_eq!(disk.sync_data().unwrap_err().kind(), kind);
        disk.sync_data().unwrap();
        assert_eq!(disk.mend(), 1);
        disk.fail(Trouble { after: 0, kind, lasts: true, hidden: false });
        assert!(disk.read(0, &mut [0; 3]).is_ok() && disk.write(0, b"two").is_err());
        assert_eq!(disk.mend(), 1);
        let kind = io::ErrorKind::Other;
        disk.fail(Trouble { after: 0, kind, lasts: true, hidden: false });
        assert!(disk.read(0, &mut [0; 3]).is_err() && disk.write(0, b"two").is_err());
        assert_eq!(disk.mend(), 2);
        disk.fail(Trouble { after: 0, kind, lasts: false, hidden: true });
        disk.write(0, b"six").unwrap();
        assert_eq!((disk.mend(), &disk.bytes()[..3]), (1, &b"one"[..]));
    }
}
