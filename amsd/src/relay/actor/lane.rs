//! What comes from a relay, and how it comes to the disk: the desk of the link's [`Lane`].

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use ams_wire::from_relay::{Redeemed, Request, Row};
use ams_wire::id::{Handle, WorkMark};
use bytes::Bytes;

use crate::contacts::{approval, link, request, snapshot};
use crate::inbox::{self, Accepted};
use crate::lane;
use crate::relay::row::{self, RelayId, RelayRow, Relays};
use crate::relay::{Deps, chores};
use crate::settings::Requests;
use crate::store::{Read, StoreError, Table, Txn};

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

/// The way of what a relay says to the disk.
pub(super) type Lane = lane::Lane<Desk>;

/// One link to a relay.
#[derive(Clone)]
pub(super) struct Desk {
    // Set once.
    deps: Deps,
    relay: RelayId,
    row: Arc<RelayRow>,
}

impl Desk {
    pub(super) fn new(deps: Deps, relay: RelayId, row: Arc<RelayRow>) -> Self {
        Self { deps, relay, row }
    }
}

impl lane::Desk for Desk {
    type Item = Item;
    type Committed = Committed;

    fn size(item: &Item) -> usize {
        item.size()
    }

    fn commit(
        &self,
        items: Arc<Vec<Item>>,
        some: Range<usize>,
    ) -> impl Future<Output = Result<Committed, StoreError>> + Send {
        let (desk, rule) = (self.clone(), self.deps.settings.borrow().requests);
        let store = self.deps.store.clone();
        async move {
            let commit = store.write(move |txn| {
                let mut done = Committed::default();
                let items = items.get(some.clone()).unwrap_or_default();
                // Envelopes behind one another are handled together.
                for run in items.chunk_by(|one, next| one.is_envelope() && next.is_envelope()) {
                    desk.take(txn, run, rule, &mut done)?;
                }
                done.mark = row::mark(txn, desk.relay)?;
                Ok(done)
            });
            commit.await
        }
    }

    fn add(all: &mut Committed, later: Committed) {
        all.accepted.extend(later.accepted);
        all.mark = later.mark;
        all.snapshot |= later.snapshot;
        all.done.extend(later.done);
    }

    /// It counts as handled.
    fn pass_over(all: &mut Committed, item: &Item) {
        match item {
            Item::Deliver { .. } => all.accepted.push(Accepted::default()),
            Item::Snapshot(_) => all.snapshot = true,
            Item::Done(number) => all.done.push(*number),
            Item::Row(_) | Item::Request(_) | Item::Redeemed(_) => {}
        }
    }
}

impl Desk {
    fn take(
        &self,
        txn: &Txn<'_>,
        run: &[Item],
        rule: Requests,
        done: &mut Committed,
    ) -> Result<(), StoreError> {
        let now = self.deps.outside.clock.now();
        let (me, relay) = (&self.deps.me, self.relay);
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
                let _ = request::receive(txn, me, (relay, &row()?), asked, rule, now)?;
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
