//! What comes from a direct peer, and how it comes to the disk: the desk of the link's [`Lane`].

use std::ops::Range;
use std::sync::Arc;

use ams_crypto::introduction;
use ams_wire::from_relay::{Request, Row, RowState};
use ams_wire::id::{Blob, IntroId};
use bytes::Bytes;

use super::row::{self, DirectRow, Directs, HANDLE};
use crate::contacts::ask::{self, Asked};
use crate::contacts::{approval, by_handle, request};
use crate::inbox::{self, Accepted};
use crate::lane;
use crate::relay::{Deps, RelayId, RelayRow};
use crate::session::row::{retire, roots};
use crate::settings::Requests;
use crate::store::{Read, StoreError, Txn};

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

/// The way of what a direct peer says to the disk.
pub(super) type Lane = lane::Lane<Desk>;

/// One direct link.
#[derive(Clone)]
pub(super) struct Desk {
    // Set once.
    deps: Deps,
    way: RelayId,
}

impl Desk {
    pub(super) fn new(deps: Deps, way: RelayId) -> Self {
        Self { deps, way }
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
        let rule = self.deps.settings.borrow().requests;
        let (me, now) = (self.deps.me.clone(), self.deps.outside.clock.now());
        let (way, store) = (self.way, self.deps.store.clone());
        async move {
            let commit = store.write(move |txn| {
                let mut done = Committed::default();
                let Some(own) = RelayRow::direct(&me) else { return Ok(done) };
                let turn = Turn { txn, way, own: &own, me: &me, rule, now };
                let items = items.get(some.clone()).unwrap_or_default();
                // Envelopes behind one another are handled together.
                let both =
                    |one: &Item, next: &Item| one.envelope().is_some() && next.envelope().is_some();
                for run in items.chunk_by(both) {
                    turn.take(run, &mut done)?;
                }
                Ok(done)
            });
            commit.await
        }
    }

    fn add(all: &mut Committed, later: Committed) {
        all.accepted.extend(later.accepted);
        all.handled = all.handled.saturating_add(later.handled);
        all.noted.extend(later.noted);
        all.opened.extend(later.opened);
        all.settled |= later.settled;
        all.was_noted |= later.was_noted;
    }

    /// An envelope counts as handled. Anything else is said again on the next link; and without the
    /// contact's receipt state nothing is sealed on this one.
    fn pass_over(all: &mut Committed, item: &Item) {
        if matches!(item, Item::Envelope(_)) {
            all.accepted.push(Accepted::default());
            all.handled = all.handled.saturating_add(1);
        }
    }
}

/// One transaction.
struct Turn<'a, 'b> {
    txn: &'a Txn<'b>,
    way: RelayId,
    own: &'a RelayRow,
    me: &'a crate::profile::Me,
    rule: Requests,
    now: i64,
}

impl Turn<'_, '_> {
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

#[cfg(test)]
mod tests {
    use super::super::tests::{Alice, BOB, HOME, NOW};
    use super::*;

    impl Alice {
        async fn hears(&self, items: Vec<Item>) -> Committed {
            let mut lane = Lane::new(Desk::new(self.deps.clone(), self.way));
            for item in items {
                lane.push(item);
            }
            lane.begin();
            lane.committed().await.unwrap()
        }

        /// Whether nothing is sealed under the keys that there are, and fresh ones are asked for.
        fn begins_anew(&self) -> (bool, bool) {
            let way = self.way;
            let look = |db: &crate::store::View<'_>| {
                let retired = roots(db, BOB)?.iter().all(|(_, root)| root.retired);
                Ok::<_, StoreError>((retired, db.get::<Asked>(&(way, HANDLE))?.is_some()))
            };
            self.deps.store.read_now(look).unwrap()
        }
    }

    fn envelope(byte: u8) -> Bytes {
        Bytes::from(vec![byte; 473])
    }

    /// This may be an old copy: what the contact says is sealed under keys that came later.
    #[tokio::test]
    async fn a_receipt_state_that_nothing_opens_begins_anew() {
        let alice = Alice::new().await;
        let done = alice.hears(vec![Item::Settled(None)]).await;
        assert!(done.settled);
        assert_eq!(alice.begins_anew(), (false, false), "who has no keys yet says none");
        let done = alice.hears(vec![Item::Settled(Some(envelope(1)))]).await;
        assert!(done.settled);
        assert_eq!(alice.begins_anew(), (true, true));
    }

    #[tokio::test]
    async fn what_a_damaged_row_keeps_from_the_disk_holds_up_nothing_behind_it() {
        let alice = Alice::new().await;
        let way = alice.way;
        let noted = IntroId([1; 32]);
        let damaged = alice.deps.store.write(move |txn| {
            let row = crate::contacts::ask::AskedRow {
                contact: BOB,
                secrets: vec![1],
                at: 0,
                generation: 1,
                link: None,
            };
            txn.put::<Asked>(&(way, HANDLE), &row)
        });
        let damaged: Result<(), StoreError> = damaged.await;
        damaged.unwrap();
        let opened = IntroId([2; 32]);
        let items = vec![
            Item::Noted(noted),
            Item::Envelope(envelope(1)),
            Item::Opened(opened),
            Item::Envelope(envelope(2)),
        ];
        let done = alice.hears(items).await;
        assert_eq!((done.handled, done.accepted.len(), done.was_noted), (2, 2, false));
    }

    /// A relay saw a newer copy of this profile: it has the keys of the direct way, too.
    #[tokio::test]
    async fn what_one_relay_says_of_a_copy_counts_on_every_path() {
        let alice = Alice::new().await;
        let me = alice.deps.me.clone();
        let done: Result<(), StoreError> =
            alice.deps.store.write(move |txn| ask::anew_elsewhere(txn, &me, HOME, NOW)).await;
        done.unwrap();
        assert_eq!(alice.begins_anew(), (true, true));
    }
}
