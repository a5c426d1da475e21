//! The control: a relay that takes five microseconds longer to write the answer to whoever named
//! somebody who exists, after everything that should hide it. The suite has to catch it.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ams_crypto::token::TokenHash;
use ams_link::stream::BoxedStream;
use ams_relay::accounts::row::ContactRow;
use ams_relay::accounts::store::Store;
use ams_relay::accounts::{
    Accounts, Approval, Approved, Device, Enrolled, Invited, OpenInvite, Pending, Record, Snapshot,
    User, Wish,
};
use ams_relay::config::{Config, Storage};
use ams_relay::data::{Data, link, link_text};
use ams_relay::relay::start_on;
use ams_wire::address::HostPort;
use ams_wire::from_relay::{Redeemed, Request};
use ams_wire::id::{ApprovalId, Blob, Handle, Key, RoutingId, WorkMark};
use ams_wire::username::Username;
use anyhow::Result;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const LEAK: Duration = Duration::from_micros(5);
/// Answers that leak after somebody was named: both steps of a login.
const ANSWERS: u32 = 2;

/// Links that will leak, by their tasks.
type Leaks = Arc<Mutex<HashMap<tokio::task::Id, u32>>>;

/// Runs such a relay on `folder` until it is killed; writes its address link.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let config = Config::read(Storage::Memory, &folder.join("relay.toml"))?;
        let data = Data::claim(&folder.join("data"))?;
        let (store, keys) = data.open()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = link_text(&link(&keys.link, &HostPort::from_socket(listener.local_addr()?)));
        let leaks = Leaks::default();
        let accounts = Arc::new(LeakingAccounts { store, leaks: Arc::clone(&leaks) });
        let relay = start_on(Config { listen: None, ..config }, accounts, keys).await?;
        writeln!(io::stdout(), "{address}")?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            relay.serve(BoxedStream::new(LeakingStream { stream, leaks: Arc::clone(&leaks) }));
        }
    })
}

struct LeakingStream {
    stream: TcpStream,
    leaks: Leaks,
}

impl AsyncRead for LeakingStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for LeakingStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let began = Instant::now();
        let mut leaks = self.leaks.lock().unwrap();
        let left = tokio::task::try_id().and_then(|task| leaks.get_mut(&task));
        let does_leak = left.is_some_and(|left| {
            let does_leak = *left > 0;
            *left = left.saturating_sub(1);
            does_leak
        });
        drop(leaks);
        while does_leak && began.elapsed() < LEAK {
            std::hint::spin_loop();
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

struct LeakingAccounts {
    store: Store,
    leaks: Leaks,
}

/// The link whose task this is will leak in so many answers.
fn leak(leaks: &Leaks, answers: u32) {
    if let Some(task) = tokio::task::try_id() {
        leaks.lock().unwrap().insert(task, answers);
    }
}

impl Accounts for LeakingAccounts {
    fn record(&self, name: &Username) -> Pending<Option<Record>> {
        let (found, leaks) = (self.store.record(name), Arc::clone(&self.leaks));
        Box::pin(async move {
            let found = found.await?;
            leak(&leaks, if found.is_some() { ANSWERS } else { 0 });
            Ok(found)
        })
    }

    fn ask(
        &self,
        owner: &Username,
        handle: Handle,
        to: &Username,
        intro: Blob,
        now: u64,
    ) -> Pending<Option<ContactRow>> {
        let (found, leaks) = (self.store.record(to), Arc::clone(&self.leaks));
        let (store, owner, to) = (self.store.clone(), owner.clone(), to.clone());
        Box::pin(async move {
            let exists = found.await?.is_some();
            let asked = store.ask(&owner, handle, &to, intro, now).await;
            leak(&leaks, u32::from(exists));
            asked
        })
    }

    fn redeem(
        &self,
        owner: &Username,
        handle: Handle,
        by: RoutingId,
        intro: Blob,
        now: u64,
    ) -> Pending<Option<ContactRow>> {
        self.store.redeem(owner, handle, by, intro, now)
    }

    fn redeemed(&self, links: Vec<RoutingId>, now: u64, most: usize) -> Pending<Vec<Redeemed>> {
        self.store.redeemed(links, now, most)
    }

    fn invite(&self, token: TokenHash, key: Key, now: u64) -> Pending<Option<Invited>> {
        self.store.invite(token, key, now)
    }

    fn join(
        &self,
        token: TokenHash,
        key: Key,
        record: Record,
        now: u64,
        most: u64,
    ) -> Pending<Option<Enrolled>> {
        self.store.join(token, key, record, now, most)
    }

    fn enrol(&self, name: &Username, key: Key) -> Pending<Option<Enrolled>> {
        self.store.enrol(name, key)
    }

    fn attach(&self, key: Key, now: u64, most: usize) -> Pending<Option<(Device, Snapshot)>> {
        self.store.attach(key, now, most)
    }

    fn mark(&self, name: &Username, enrolment: u64, mark: WorkMark) -> Pending<()> {
        self.store.mark(name, enrolment, mark)
    }

    fn block(&self, owner: &Username, handle: Handle, on: bool) -> Pending<Option<ContactRow>> {
        self.store.block(owner, handle, on)
    }

    fn remove(&self, owner: &Username, handle: Handle) -> Pending<()> {
        self.store.remove(owner, handle)
    }

    fn fetched(
        &self,
        owner: &Username,
        handle: Handle,
        approval: ApprovalId,
    ) -> Pending<Option<ContactRow>> {
        self.store.fetched(owner, handle, approval)
    }

    fn row(&self, owner: &Username, handle: Handle, now: u64) -> Pending<Option<ContactRow>> {
        self.store.row(owner, handle, now)
    }

    fn requests(&self, name: &Username, now: u64, most: usize) -> Pending<Vec<Request>> {
        self.store.requests(name, now, most)
    }

    fn approve(&self, approval: Approval, now: u64) -> Pending<Approved> {
        self.store.approve(approval, now)
    }

    fn refuse(&self, by: &Username, to: &Username, their_handle: Handle) -> Pending<()> {
        self.store.refuse(by, to, their_handle)
    }

    fn set_record(&self, name: &Username, record: Record) -> Pending<()> {
        self.store.set_record(name, record)
    }

    fn delete(&self, name: &Username) -> Pending<bool> {
        self.store.delete(name)
    }

    fn create_invite(&self, of: OpenInvite, token: TokenHash, reset: bool, most: u64) -> Wish<()> {
        self.store.create_invite(of, token, reset, most)
    }

    fn invites(&self, now: u64) -> Pending<Vec<OpenInvite>> {
        self.store.invites(now)
    }

    fn revoke_invite(&self, name: &Username, now: u64) -> Wish<()> {
        self.store.revoke_invite(name, now)
    }

    fn users(&self) -> Pending<Vec<User>> {
        self.store.users()
    }

    fn count(&self) -> Pending<u64> {
        self.store.count()
    }

    fn set_disabled(&self, name: &Username, disabled: bool) -> Wish<()> {
        self.store.set_disabled(name, disabled)
    }

    fn sweep(&self, now: u64) -> Pending<()> {
        self.store.sweep(now)
    }

    fn backup(&self, file: PathBuf) -> Wish<()> {
        self.store.backup(file)
    }
}
