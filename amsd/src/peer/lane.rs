//! From a direct link to the disk, in the order in which it came. While one commit runs, what comes
//! next gathers for the one after it; nothing is acknowledged before its commit.

use std::pin::Pin;

use ams_crypto::introduction;
use ams_wire::from_relay::{Request, Row, RowState};
use ams_wire::id::{Blob, IntroId};
use bytes::Bytes;

use super::row::{self, DirectRow, Directs, HANDLE};
use crate::contacts::ask::{self, Asked};
use crate::contacts::{approval, by_handle, request};
use crate::inbox::{self, Accepted};
use crate::relay::{Deps, RelayId, RelayRow};
use crate::session::row::{retire, roots};
use crate::settings::Requests;
use crate::store::{Read, StoreError, Txn};

/// Items of one commit: others' commits wait behind it.
const PER_COMMIT: usize = 128;
/// Items and bytes that may gather; when it is full, nothing more is read.
const MOST: (usize, usize) = (1024, 4 << 20);

/// Something that came, and that the disk must know of.
#[derive(Debug)]
pub(super) enum Item {
    /// An envelope.
    Envelope(Bytes),
    /// An introduction.
    Introduce(Blob),
    /// The contact keeps an introduction of ours.
    Noted(IntroId),
    /// An approval.
    Approval(Blob),
    /// The contact is done with an approval of ours.
    Opened(IntroId),
    /// What the contact owed is said; a bare envelope.
    Settled(Option<Bytes>),
}

impl Item {
    fn envelope(&self) -> Option<&[u8]> {
        match self {
            Self::Envelope(envelope) => Some(envelope),
            _ => None,
        }
    }

    /// Bytes that wait with it, about.
    fn size(&self) -> usize {
        match self {
            Self::Envelope(bytes) => bytes.len(),
            Self::Settled(bytes) => bytes.as_ref().map_or(0, Bytes::len),
            Self::Introduce(blob) | Self::Approval(blob) => blob.as_bytes().len(),
            Self::Noted(_) | Self::Opened(_) => 0,
        }
    }
}

/// What is on disk now.
#[derive(Debug, Default)]
pub(super) struct Committed {
    /// What each envelope turned out to be.
    pub(super) accepted: Vec<Accepted>,
    /// How many of them count as envelopes of the link.
    pub(super) handled: u64,
    /// Introductions that are kept.
    pub(super) noted: Vec<IntroId>,
    /// Approvals that are done with.
    pub(super) opened: Vec<IntroId>,
    /// The contact's receipt state was among it.
    pub(super) settled: bool,
    /// Our introduction was kept by the contact.
    pub(super) was_noted: bool,
}

type Commit = Pin<Box<dyn Future<Output = Result<Committed, StoreError>> + Send>>;

/// The way of one link's things to the disk.
pub(super) struct Lane {
    // Set once.
    deps: Deps,
    way: RelayId,
    // Owned by the link.
    gathered: Vec<Item>,
    bytes: usize,
    commit: Option<Commit>,
}

impl Lane {
    pub(super) fn new(deps: Deps, way: RelayId) -> Self {
        Self { deps, way, gathered: Vec::new(), bytes: 0, commit: None }
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
    pub(super) fn begin(&mut self) {
        if self.is_busy() || self.gathered.is_empty() {
            return;
        }
        let rest = self.gathered.split_off(self.gathered.len().min(PER_COMMIT));
        let items = std::mem::replace(&mut self.gathered, rest);
        let size: usize = items.iter().map(Item::size).sum();
        self.bytes = self.bytes.saturating_sub(size);
        let (deps, way) = (self.deps.clone(), self.way);
        self.commit = Some(Box::pin(commit(deps, way, items)));
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

async fn commit(deps: Deps, way: RelayId, items: Vec<Item>) -> Result<Committed, StoreError> {
    let rule = deps.settings.borrow().requests;
    let (me, now) = (deps.me.clone(), deps.outside.clock.now());
    let committed = deps.store.write(move |txn| {
        let mut done = Committed::default();
        let Some(own) = RelayRow::direct(&me) else { return Ok(done) };
        let desk = Desk { txn, way, own: &own, me: &me, rule, now };
        // Envelopes behind one another are handled together.
        let both = |one: &Item, next: &Item| one.envelope().is_some() && next.envelope().is_some();
        for run in items.chunk_by(both) {
            desk.take(run, &mut done)?;
        }
        Ok::<_, StoreError>(done)
    });
    committed.await
}

struct Desk<'a, 'b> {
    txn: &'a Txn<'b>,
    way: RelayId,
    own: &'a RelayRow,
    me: &'a crate::profile::Me,
    rule: Requests,
    now: i64,
}

impl Desk<'_, '_> {
    fn take(&self, run: &[Item], done: &mut Committed) -> Result<(), StoreError> {
        let Some(item) = run.first() else { return Ok(()) };
        match item {
            Item::Envelope(_) => {
                let accepted = self.accept(run.iter().filter_map(Item::envelope))?;
                let count = u64::try_from(accepted.len()).unwrap_or(u64::MAX);
                done.handled = done.handled.saturating_add(count);
                done.accepted.extend(accepted);
            }
            Item::Settled(bare) => {
                let accepted = self.accept(bare.iter().map(|bytes| &bytes[..]))?;
                if accepted.iter().any(|one| one.from.is_none()) {
                    self.begin_anew()?;
                }
                done.accepted.extend(accepted);
                done.settled = true;
            }
            Item::Introduce(intro) => {
                if self.introduced(intro)? {
                    done.noted.push(introduction::id(intro.as_bytes()));
                }
            }
            Item::Noted(id) => {
                let asked = self.txn.get::<Asked>(&(self.way, HANDLE))?;
                let ours = asked.map(|row| row.secrets()).transpose()?;
                if ours.is_some_and(|ours| ours.id() == *id) {
                    self.noted()?;
                    done.was_noted = true;
                }
            }
            Item::Approval(approval) => {
                self.approved(approval)?;
                done.opened.push(introduction::id(approval.as_bytes()));
            }
            Item::Opened(id) => row::opened(self.txn, self.way, *id)?,
        }
        Ok(())
    }

    fn accept<'e>(
        &self,
        envelopes: impl Iterator<Item = &'e [u8]>,
    ) -> Result<Vec<Accepted>, StoreError> {
        let came = inbox::Came { me: self.me, relay: self.way, nick: "direct", now: self.now };
        inbox::accept(self.txn, came, envelopes.map(|envelope| (HANDLE, envelope)))
    }

    fn introduced(&self, intro: &Blob) -> Result<bool, StoreError> {
        let Some(from) = self.name()? else { return Ok(false) };
        let request = Request { from, their_handle: HANDLE, intro: intro.clone() };
        let relay = (self.way, self.own);
        request::receive(self.txn, self.me, relay, &request, self.rule, self.now)
    }

    fn approved(&self, approval: &Blob) -> Result<(), StoreError> {
        let Some(peer) = self.name()? else { return Ok(()) };
        let (state, approval) = (RowState::Accepted, Some(approval.clone()));
        let shown = Row { handle: HANDLE, peer, state, approval };
        approval::receive(self.txn, self.me, (self.way, self.own), &shown, self.now)?;
        self.noted()
    }

    /// Its receipt state opens under none of our keys: this may be a copy from before they were
    /// renewed. Nothing more is sealed under them.
    fn begin_anew(&self) -> Result<(), StoreError> {
        let Some((id, contact)) = by_handle(self.txn, self.way, HANDLE)? else { return Ok(()) };
        if contact.is_open() && !roots(self.txn, id)?.is_empty() {
            retire(self.txn, id, self.now)?;
            ask::renew(self.txn, self.me, (self.way, self.own), id, self.now)?;
        }
        Ok(())
    }

    fn noted(&self) -> Result<(), StoreError> {
        let Some(known) = self.txn.get::<Directs>(&self.way)? else { return Ok(()) };
        if known.noted {
            return Ok(());
        }
        row::put(self.txn, self.way, &DirectRow { noted: true, ..known })
    }

    fn name(&self) -> Result<Option<ams_wire::username::Username>, StoreError> {
        let contact = by_handle(self.txn, self.way, HANDLE)?;
        Ok(contact.and_then(|(_, row)| row.path(self.way).map(|path| path.user.clone())))
    }
}
