//! What is written, and what is not, on a disk that can be full.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A disk that takes nothing while it is full.
#[derive(Debug, Default)]
struct Small {
    memory: InMemoryBackend,
    is_full: Arc<AtomicBool>,
}

impl Small {
    fn room(&self) -> io::Result<()> {
        let is_full = self.is_full.load(Ordering::Relaxed);
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Disk for Small {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.memory.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.room()?;
        self.memory.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.memory.write(offset, data)
    }
}

#[tokio::test]
async fn what_changes_nothing_of_ones_own_is_not_committed() {
    let disk = Small::default();
    let is_full = Arc::clone(&disk.is_full);
    let store = Store::inline_on(disk).unwrap();
    let (alice, bob) = (Username::new("alice").unwrap(), Username::new("bob").unwrap());
    let (there, nowhere) = (Handle([1; 16]), Handle([9; 16]));
    let ask = || store.ask(&alice, there, &bob, Blob::new(vec![1]).unwrap(), 1_000);
    assert!(ask().await.unwrap().is_some());
    is_full.store(true, Ordering::Relaxed);
    store.remove(&alice, nowhere).await.unwrap();
    let approval = ApprovalId([1; 32]);
    assert!(store.fetched(&alice, nowhere, approval).await.unwrap().is_none());
    assert!(store.fetched(&alice, there, approval).await.unwrap().is_some());
    assert!(store.block(&alice, nowhere, true).await.unwrap().is_none());
    assert!(store.block(&alice, there, false).await.unwrap().is_some());
    // How long these take would tell of somebody else's rows.
    assert!(store.refuse(&alice, &bob, nowhere).await.is_err());
    is_full.store(false, Ordering::Relaxed);
    assert!(store.count().await.is_ok());
    is_full.store(true, Ordering::Relaxed);
    assert!(ask().await.is_err());
}
