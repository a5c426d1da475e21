//! What the watchdog goes by: whether the daemon's own work goes on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ams_rpc::client::Client;
use ams_rpc::methods as m;
use ams_rpc::places::Places;
use ams_rpc::types::{PresenceParams, Visibility};
use amsd::settings::Settings;
use amsd::store::Disk;
use amsd::{Home, Start};
use tokio::time::timeout;

/// A disk that can stop to answer, as one behind a broken network does.
#[derive(Debug, Default)]
struct Hanging {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    hangs: bool,
    waiting: u32,
}

impl Hanging {
    fn hang(&self, yes: bool) {
        self.state.lock().unwrap().hangs = yes;
        self.news.notify_all();
    }

    /// Returns when a write or a sync waits.
    fn until_somebody_waits(&self) {
        let state = self.state.lock().unwrap();
        drop(self.news.wait_while(state, |state| state.waiting == 0).unwrap());
    }

    /// Where a change waits for as long as the disk hangs.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.news.notify_all();
        let mut state = self.news.wait_while(state, |state| state.hangs).unwrap();
        state.waiting -= 1;
        change(&mut state)
    }
}

fn range(offset: u64, length: usize) -> std::ops::Range<usize> {
    let start = usize::try_from(offset).unwrap();
    start..start + length
}

impl Disk for Hanging {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.copy_from_slice(&self.state.lock().unwrap().bytes[range(offset, out.len())]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap();
        self.change(|state| state.bytes.resize(len, 0));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(|_| ());
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|state| state.bytes[range(offset, data.len())].copy_from_slice(data));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_disk_hangs_does_not_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Hanging::default());
    let running = amsd::start(Start {
        listen: Vec::new(),
        public: Vec::new(),
        home: Home::open(Places::in_home(&folder.path().join("home"))).unwrap(),
        settings: Settings::default(),
        socket: None,
        disk: Some(disk.clone()),
    })
    .await
    .unwrap();
    running.goes_on().await;

    disk.hang(true);
    let socket = running.socket().to_owned();
    let call = tokio::task::spawn_blocking(move || {
        let hidden = PresenceParams { presence: Visibility::Invisible };
        Client::connect(&socket).unwrap().call::<m::presence::Set>(&hidden).unwrap()
    });
    tokio::task::block_in_place(|| disk.until_somebody_waits());
    // Its socket, router and links would answer; the write behind the one that hangs does not.
    let mut goes_on = Box::pin(running.goes_on());
    timeout(Duration::from_millis(100), &mut goes_on).await.unwrap_err();

    disk.hang(false);
    goes_on.await;
    call.await.unwrap();
    drop(running.stop().await);
}
