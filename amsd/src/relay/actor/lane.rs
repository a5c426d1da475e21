//! From the link to the disk, in the order in which it came. While one commit runs, what comes
//! next gathers for the one after it; nothing is acknowledged before its commit.

use std::collections::BTreeSet;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use ams_wire::from_relay::{Redeemed, Request, Row};
use ams_wire::id::{Handle, WorkMark};
use bytes::Bytes;

use crate::clock::Clock;
use crate::contacts::{approval, link, request, snapshot};
use crate::inbox::{self, Accepted};
use crate::profile::Me;
use crate::relay::row::{self, RelayId, RelayRow, Relays};
use crate::relay::{Deps, chores};
use crate::settings::Requests;
use crate::store::{Read, Store, StoreError, Table, Txn};

/// Items of one commit: others' commits wait behind it.
const PER_COMMIT: usize = 128;
/// Items and bytes that may gather; when it is full, nothing more is read, and the relay keeps
/// what it has.
const MOST: (usize, usize) = (1024, 4 << 20);

/// Something that came, and that the disk must know of.
#[derive(Debug)]
pub(super) enum Item {
    /// An envelope.
    Deliver {
        /// Our handle of the sender.
        handle: Handle,
        /// A slice of the record.
        envelope: Bytes,
    },
    /// A row of the account.
    Row(Row),
    /// Somebody's introduction.
    Request(Request),
    /// Somebody's introduction by one of our contact links.
    Redeemed(Redeemed),
    /// The snapshot is complete; every row that it showed.
    Snapshot(BTreeSet<Handle>),
    /// A chore was answered.
    Done(u64),
}

impl Item {
    fn is_envelope(&self) -> bool {
        self.envelope().is_some()
    }

    /// Our handle of its sender, and the bytes.
    fn envelope(&self) -> Option<(Handle, &[u8])> {
        match self {
            Self::Deliver { handle, envelope } => Some((*handle, envelope)),
            _ => None,
        }
    }

    /// Bytes that wait with it, about.
    fn size(&self) -> usize {
        match self {
            Self::Deliver { envelope, .. } => envelope.len(),
            Self::Row(row) => row.approval.as_ref().map_or(0, |blob| blob.as_bytes().len()),
            Self::Request(request) => request.intro.as_bytes().len(),
            Self::Redeemed(redeemed) => redeemed.intro.as_bytes().len(),
            Self::Snapshot(_) | Self::Done(_) => 0,
        }
    }
}

/// What is on disk now.
#[derive(Debug, Default)]
pub(super) struct Committed {
    /// What each envelope turned out to be.
    pub(super) accepted: Vec<Accepted>,
    /// The work mark behind them.
    pub(super) mark: WorkMark,
    /// The snapshot was among it.
    pub(super) snapshot: bool,
    /// Chores that are gone.
    pub(super) done: Vec<u64>,
}

type Commit = Pin<Box<dyn Future<Output = Result<Committed, StoreError>> + Send>>;

/// The way of one link's things to the disk.
pub(super) struct Lane {
    // Set once.
    store: Store,
    me: Me,
    clock: Clock,
    relay: RelayId,
    row: Arc<RelayRow>,
    // Owned by the link.
    gathered: Vec<Item>,
    bytes: usize,
    commit: Option<Commit>,
}

impl Lane {
    pub(super) fn new(deps: &Deps, relay: RelayId, row: Arc<RelayRow>) -> Self {
        let (store, me) = (deps.store.clone(), deps.me.clone());
        let clock = deps.outside.clock.clone();
        Self { store, me, clock, relay, row, gathered: Vec::new(), bytes: 0, commit: None }
    }

    /// Lets an item wait for the next commit.
    pub(super) fn push(&mut self, item: Item) {
        self.bytes = self.bytes.saturating_add(item.size());
        self.gathered.push(item);
    }

    /// Whether more may be read from the link.
    pub(super) fn has_room(&self) -> bool {
        self.gathered.len() < MOST.0 && self.bytes < MOST.1
    }

    /// Whether a commit is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.commit.is_some()
    }

    /// Begins the next commit, if something waits and none is under way.
    pub(super) fn begin(&mut self, rule: Requests) {
        if self.is_busy() || self.gathered.is_empty() {
            return;
        }
        let rest = self.gathered.split_off(self.gathered.len().min(PER_COMMIT));
        let items = std::mem::replace(&mut self.gathered, rest);
        let size: usize = items.iter().map(Item::size).sum();
        self.bytes = self.bytes.saturating_sub(size);
        let desk = Desk {
            store: self.store.clone(),
            me: self.me.clone(),
            clock: self.clock.clone(),
            relay: self.relay,
            row: self.row.clone(),
            rule,
        };
        self.commit = Some(Box::pin(async move { desk.commit(items).await }));
    }

    /// The commit that is under way is on disk, or failed. Waits for ever where there is none.
    pub(super) async fn committed(&mut self) -> Result<Committed, StoreError> {
        let Some(commit) = &mut self.commit else { return std::future::pending().await };
        let done = commit.as_mut().await;
        self.commit = None;
        done
    }

    /// The link ended: waits for the commit that is under way, so that what it holds is told.
    pub(super) async fn finish(&mut self) -> Option<Committed> {
        if self.is_busy() { self.committed().await.ok() } else { None }
    }
}

/// What a commit needs.
#[derive(Clone)]
struct Desk {
    store: Store,
    me: Me,
    clock: Clock,
    relay: RelayId,
    row: Arc<RelayRow>,
    rule: Requests,
}

impl Desk {
    /// Commits all, in one transaction. Where one of them meets a damaged row, each in its own: the
    /// relay would show that one again for ever, and nothing behind it would ever come through.
    async fn commit(&self, items: Vec<Item>) -> Result<Committed, StoreError> {
        let items = Arc::new(items);
        let whole = 0..items.len();
        match self.commit_some(&items, whole.clone()).await {
            Err(StoreError::Damaged(_)) => {}
            done => return done,
        }
        let mut all = Committed::default();
        for (index, item) in whole.zip(items.iter()) {
            match self.commit_some(&items, index..index.saturating_add(1)).await {
                Ok(one) => all.add(one),
                Err(error @ StoreError::Damaged(_)) => {
                    tracing::error!(%error, "something that the relay showed could not be kept");
                    all.pass_over(item);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    async fn commit_some(
        &self,
        items: &Arc<Vec<Item>>,
        range: Range<usize>,
    ) -> Result<Committed, StoreError> {
        let (desk, items) = (self.clone(), Arc::clone(items));
        let commit = self.store.write(move |txn| {
            let mut done = Committed::default();
            let items = items.get(range.clone()).unwrap_or_default();
            // Envelopes behind one another are handled together.
            for run in items.chunk_by(|one, next| one.is_envelope() && next.is_envelope()) {
                desk.take(txn, run, &mut done)?;
            }
            done.mark = row::mark(txn, desk.relay)?;
            Ok(done)
        });
        commit.await
    }

    fn take(&self, txn: &Txn<'_>, run: &[Item], done: &mut Committed) -> Result<(), StoreError> {
        let now = self.clock.now();
        let (me, relay) = (&self.me, self.relay);
        // As it stands now: a snapshot changes it for what comes behind.
        let row = || txn.get::<Relays>(&relay)?.ok_or(StoreError::Damaged(Relays::NAME));
        let Some(item) = run.first() else { return Ok(()) };
        match item {
            Item::Deliver { .. } => {
                let came = inbox::Came { me, relay, nick: &self.row.nick, now };
                let accepted = inbox::accept(txn, came, run.iter().filter_map(Item::envelope))?;
                done.accepted.extend(accepted);
            }
            Item::Row(shown) => approval::receive(txn, me, (relay, &row()?), shown, now)?,
            Item::Request(asked) => {
                let _ = request::receive(txn, me, (relay, &row()?), asked, self.rule, now)?;
            }
            Item::Redeemed(shown) => link::receive(txn, me, (relay, &row()?), shown, now)?,
            Item::Snapshot(rows) => {
                snapshot::compare(txn, me, (relay, &row()?), rows, now)?;
                done.snapshot = true;
            }
            Item::Done(number) => {
                chores::done(txn, relay, *number)?;
                done.done.push(*number);
            }
        }
        Ok(())
    }
}

impl Committed {
    /// What was committed after it.
    fn add(&mut self, later: Self) {
        self.accepted.extend(later.accepted);
        self.mark = later.mark;
        self.snapshot |= later.snapshot;
        self.done.extend(later.done);
    }

    /// An item that cannot be kept counts as handled.
    fn pass_over(&mut self, item: &Item) {
        match item {
            Item::Deliver { .. } => self.accepted.push(Accepted::default()),
            Item::Snapshot(_) => self.snapshot = true,
            Item::Done(number) => self.done.push(*number),
            Item::Row(_) | Item::Request(_) | Item::Redeemed(_) => {}
        }
    }
}
