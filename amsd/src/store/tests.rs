//! The store's promises: durable before the answer, all or nothing, one bad closure spoils nobody
//! else's work.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ams_crypto::store::StoreKey;
use futures_util::stream::{FuturesUnordered, StreamExt};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::*;
use crate::contacts::ContactId;

struct Numbers;
impl Table for Numbers {
    const NAME: &'static str = "numbers";
    type Key = (u64, u64);
    type Row = String;
}

fn key() -> StoreKey {
    StoreKey::new(&[7; 32])
}

fn silent() -> Told {
    Arc::new(|_| ())
}

fn new_store(told: Told) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(&folder.path().join("ams.redb"), key(), told).unwrap();
    (folder, store)
}

async fn put(store: &Store, at: (u64, u64), text: &'static str) {
    store.write(move |txn| txn.put::<Numbers>(&at, &text.to_owned())).await.unwrap();
}

#[tokio::test]
async fn what_was_answered_is_there_after_reopening() {
    let (folder, store) = new_store(silent());
    put(&store, (1, 2), "kept").await;
    drop(store);
    // The writer thread closes the file once its last handle is gone.
    let path = folder.path().join("ams.redb");
    let store = loop {
        match Store::open(&path, key(), silent()) {
            Err(StoreError::InUse) => std::thread::yield_now(),
            other => break other.unwrap(),
        }
    };
    assert_eq!(store.read_now(|db| db.get::<Numbers>(&(1, 2))), Ok(Some("kept".to_owned())));
}

#[tokio::test]
async fn another_key_opens_nothing() {
    let (folder, store) = new_store(silent());
    put(&store, (1, 2), "kept").await;
    drop(store);
    let path = folder.path().join("ams.redb");
    let other = StoreKey::new(&[8; 32]);
    let mut other = Some(other);
    let store = loop {
        match Store::open(&path, other.take().unwrap_or_else(|| StoreKey::new(&[8; 32])), silent())
        {
            Err(StoreError::InUse) => std::thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    let read = store.read_now(|db| db.get::<Numbers>(&(1, 2)));
    assert_eq!(read, Err(StoreError::Damaged("numbers")));
}

#[tokio::test]
async fn nothing_written_is_readable_in_the_file() {
    let (folder, store) = new_store(silent());
    put(&store, (1, 2), "a canary that nobody may find").await;
    let bytes = std::fs::read(folder.path().join("ams.redb")).unwrap();
    assert!(!bytes.windows(8).any(|window| window == b"a canary"));
}

#[tokio::test]
async fn a_closure_that_fails_after_a_change_takes_nobody_with_it() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let (_folder, store) = new_store(Arc::new(move |facts| heard.lock().unwrap().extend(facts)));
    let good = (0..20).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            store
                .write(move |txn| {
                    txn.put::<Numbers>(&(1, n), &"good".to_owned())?;
                    txn.tell(Fact::Due(ContactId(n)));
                    Ok::<_, StoreError>(())
                })
                .await
        })
    });
    let bad = store.write(|txn| {
        txn.put::<Numbers>(&(2, 0), &"bad".to_owned())?;
        txn.tell(Fact::Arrived);
        Err::<(), _>(StoreError::Damaged("on purpose"))
    });
    let good: Vec<_> = good.collect();
    assert_eq!(bad.await, Err(StoreError::Damaged("on purpose")));
    for answer in good {
        answer.await.unwrap().unwrap();
    }
    let rows = store.read_now(|db| db.list::<Numbers>(&())).unwrap();
    assert_eq!(rows.len(), 20);
    let told = told.lock().unwrap();
    assert!(told.iter().all(|fact| matches!(fact, Fact::Due(_))));
}

/// Also where so many are asked for in one turn of a task that tokio makes it give way to others.
#[tokio::test]
async fn writes_run_in_the_order_in_which_they_were_asked_for() {
    let (_folder, store) = new_store(silent());
    let ran = Arc::new(Mutex::new(Vec::new()));
    let mut asked: FuturesUnordered<_> = (0..1000)
        .map(|number| {
            let ran = Arc::clone(&ran);
            store.write(move |_| {
                ran.lock().unwrap().push(number);
                Ok::<_, StoreError>(())
            })
        })
        .collect();
    while let Some(written) = asked.next().await {
        written.unwrap();
    }
    assert_eq!(*ran.lock().unwrap(), (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_refusal_before_any_change_does_not_roll_others_back() {
    let (_folder, store) = new_store(silent());
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let work = store.write(move |txn| {
        counted.fetch_add(1, Ordering::Relaxed);
        txn.put::<Numbers>(&(1, 1), &"good".to_owned())
    });
    let refused = store.write(|_| Err::<(), _>(StoreError::Damaged("refused")));
    let (worked, refused) = tokio::join!(work, refused);
    assert_eq!((worked, refused), (Ok(()), Err(StoreError::Damaged("refused"))));
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn walks_keep_to_their_prefix_both_ways() {
    let (_folder, store) = new_store(silent());
    for at in [(1, 1), (1, u64::MAX), (2, 1), (2, 2), (2, 3), (3, 0), (u64::MAX, 1)] {
        put(&store, at, "row").await;
    }
    let walk = |backward: bool, prefix: u64, at: Option<(u64, u64)>| {
        store.read_now(|db| {
            let mut keys = Vec::new();
            let step = |key, _| {
                keys.push(key);
                ControlFlow::Continue(())
            };
            if backward {
                db.each_back::<Numbers>(&prefix, at.as_ref(), step)?;
            } else {
                db.each::<Numbers>(&prefix, at.as_ref(), step)?;
            }
            Ok::<_, StoreError>(keys)
        })
    };
    assert_eq!(walk(false, 2, None).unwrap(), [(2, 1), (2, 2), (2, 3)]);
    assert_eq!(walk(false, 2, Some((2, 2))).unwrap(), [(2, 2), (2, 3)]);
    assert_eq!(walk(true, 2, Some((2, 3))).unwrap(), [(2, 2), (2, 1)]);
    assert_eq!(walk(true, 1, None).unwrap(), [(1, u64::MAX), (1, 1)]);
    assert_eq!(walk(true, u64::MAX, None).unwrap(), [(u64::MAX, 1)]);
    assert!(walk(false, 4, None).unwrap().is_empty());
}

#[tokio::test]
async fn rows_are_counted_also_those_of_this_transaction() {
    let (_folder, store) = new_store(silent());
    let count = |store: &Store| store.read_now(|db| db.count::<Numbers>());
    assert_eq!(count(&store), Ok(0));
    put(&store, (1, 1), "one").await;
    put(&store, (1, 2), "two").await;
    let within = store.write(|txn| {
        txn.put::<Numbers>(&(1, 3), &"three".to_owned())?;
        txn.put::<Numbers>(&(1, 2), &"again".to_owned())?;
        txn.delete::<Numbers>(&(1, 1))?;
        txn.delete::<Numbers>(&(9, 9))?;
        txn.count::<Numbers>()
    });
    assert_eq!(within.await, Ok(2));
    assert_eq!(count(&store), Ok(2));
}

#[tokio::test]
async fn rows_on_a_way_are_counted_without_a_look_at_them() {
    let (_folder, store) = new_store(silent());
    for at in [(1, 1), (2, 1), (2, 2), (2, 3), (3, 0), (u64::MAX, 5)] {
        put(&store, at, "row").await;
    }
    let count = |at: (u64, u64)| store.read_now(|db| db.count_from::<Numbers>(&at.0, &at));
    assert_eq!(count((2, 0)), Ok(3));
    assert_eq!(count((2, 3)), Ok(1));
    assert_eq!(count((2, 4)), Ok(0));
    assert_eq!(count((2, u64::MAX)), Ok(0));
    assert_eq!(count((u64::MAX, 0)), Ok(1));
    assert_eq!(count((4, 0)), Ok(0));
    // Also what this transaction changed.
    let within = store.write(|txn| {
        txn.delete::<Numbers>(&(2, 2))?;
        txn.put::<Numbers>(&(2, 9), &"new".to_owned())?;
        txn.put::<Numbers>(&(2, 10), &"new".to_owned())?;
        txn.count_from::<Numbers>(&2_u64, &(2, 2))
    });
    assert_eq!(within.await, Ok(3));
}

/// A disk that stays between openings, and whose calls fail from the n-th on until it is mended.
#[derive(Debug, Clone)]
struct Failing {
    memory: Arc<InMemoryBackend>,
    calls_left: Arc<AtomicUsize>,
}

impl Failing {
    fn call(&self) -> std::io::Result<()> {
        let left = self.calls_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            (left != usize::MAX).then(|| left.saturating_sub(1))
        });
        if left == Ok(0) { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> std::io::Result<u64> {
        self.memory.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.memory.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.call()?;
        self.memory.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.call()?;
        self.memory.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.call()?;
        self.memory.write(offset, data)
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_not_the_end() {
    // Whichever call of the commit fails: the answer is the error, nothing is half there, and once
    // there is space the store goes on.
    for fails_at in 0.. {
        let memory = Arc::new(InMemoryBackend::new());
        let disk = Failing { memory, calls_left: Arc::new(AtomicUsize::new(usize::MAX)) };
        let place = Place::Disk(Arc::new(disk.clone()));
        place.create().unwrap();
        let store = Store::at(place, key(), silent()).unwrap();
        put(&store, (1, 1), "before").await;
        disk.calls_left.store(fails_at, Ordering::Relaxed);
        let written = store.write(|txn| txn.put::<Numbers>(&(1, 2), &"during".to_owned())).await;
        disk.calls_left.store(usize::MAX, Ordering::Relaxed);
        if written.is_ok() {
            assert!(fails_at > 2, "a commit writes and syncs");
            return;
        }
        assert_eq!(written, Err(StoreError::Full));
        put(&store, (1, 3), "after").await;
        let rows = store.read_now(|db| db.list::<Numbers>(&())).unwrap();
        let rows: Vec<_> = rows.iter().map(|(key, row)| (key.1, row.as_str())).collect();
        // A failure of the last sync may leave a commit that is on disk and was not answered.
        let kept: Vec<_> = rows.iter().filter(|(n, _)| *n != 2).copied().collect();
        assert_eq!(kept, [(1, "before"), (3, "after")], "call {fails_at}");
    }
}

#[tokio::test]
async fn commits_and_what_shared_them_are_counted() {
    let (_folder, store) = new_store(silent());
    let counted = || (store.counts().commits, store.counts().writes);
    put(&store, (1, 0), "alone").await;
    assert_eq!(counted(), (1, 1));
    store.write(|_| Ok::<_, StoreError>(())).await.unwrap();
    assert_eq!(counted(), (1, 1), "nothing was changed");
    // While one is at work others gather, and share the next.
    let ((begin, begun), (go, going)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let slow = store.clone();
    let slow = tokio::spawn(async move {
        let work = move |txn: &Txn<'_>| {
            begin.send(()).unwrap();
            going.recv().unwrap();
            txn.put::<Numbers>(&(1, 1), &"slow".to_owned())
        };
        slow.write(work).await
    });
    while begun.try_recv().is_err() {
        tokio::task::yield_now().await;
    }
    let others = (2..7).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { put(&store, (1, n), "together").await })
    });
    let others: Vec<_> = others.collect();
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    slow.await.unwrap().unwrap();
    for other in others {
        other.await.unwrap();
    }
    assert_eq!(counted(), (3, 7));
}
