//! What an earlier version kept in another form becomes what this one reads, at the first start
//! after an update: in one transaction, so that a crash in the middle leaves the earlier form.

use std::ops::ControlFlow;

use ams_wire::id::{RootTag, WorkMark};
use minicbor::{Decode, Encode};

use crate::contacts::{self, ContactId, Contacts, intro};
use crate::inbox::row::Received;
use crate::outbox::row::{Live, Queued};
use crate::profile;
use crate::relay::{RelayId, chores};
use crate::session::row::{CipherRow, Ciphers, Envelopes};
use crate::store::{Read, StoreError, Table, Txn};
use crate::tally::{self, Tally};
use crate::timeline;

/// The form of what lies on disk. 1: envelopes within the rows of [`Ciphers`], no [`Queued`], no
/// tallies, no indexes of addresses, identities, chores and waiting requests. 2: no index of what
/// arrived ([`timeline::Arrivals`]). 3: frames among the chores that name no introduction and no
/// approval.
const LAYOUT: u64 = 4;

/// Brings the store to the present form.
///
/// # Errors
/// [`StoreError`]; then nothing was changed.
pub fn migrate(txn: &Txn<'_>) -> Result<(), StoreError> {
    let layout = profile::layout(txn)?;
    if layout >= LAYOUT {
        return Ok(());
    }
    if layout < 2 {
        part_envelopes(txn)?;
        count_messages(txn)?;
        for (id, row) in txn.list::<Contacts>(&())? {
            contacts::row::index(txn, id, None, &row)?;
        }
        chores::index(txn)?;
        intro::index(txn)?;
    }
    if layout < 3 {
        timeline::index(txn)?;
    }
    chores::drop_unreadable(txn)?;
    profile::set_layout(txn, LAYOUT)
}

/// A row of [`Ciphers`] in layout 1.
#[derive(Encode, Decode)]
#[cbor(map)]
struct WholeCipherRow {
    #[n(0)]
    seq: Option<u64>,
    #[cbor(n(1), with = "minicbor::bytes")]
    envelope: Vec<u8>,
    #[n(2)]
    relay: RelayId,
    #[n(3)]
    mark: WorkMark,
}

struct WholeCiphers;
impl Table for WholeCiphers {
    const NAME: &'static str = Ciphers::NAME;
    type Key = (ContactId, RootTag, u64);
    type Row = WholeCipherRow;
}

fn part_envelopes(txn: &Txn<'_>) -> Result<(), StoreError> {
    let mut keys = Vec::new();
    txn.each::<WholeCiphers>(&(), None, |key, _| {
        keys.push(key);
        ControlFlow::Continue(())
    })?;
    for key in keys {
        let Some(WholeCipherRow { seq, envelope, relay, mark }) = txn.get::<WholeCiphers>(&key)?
        else {
            continue;
        };
        txn.put::<Ciphers>(&key, &CipherRow { seq, relay, mark })?;
        txn.put::<Envelopes>(&key, &envelope.into())?;
    }
    Ok(())
}

fn count_messages(txn: &Txn<'_>) -> Result<(), StoreError> {
    for (key, state) in txn.list::<Live>(&())? {
        if let Some(tally) = Tally::of(state) {
            tally::more(txn, tally)?;
        }
        if state == crate::outbox::row::OutState::Queued {
            txn.put::<Queued>(&key, &())?;
        }
    }
    let mut kept = 0_u64;
    txn.each::<Received>(&(), None, |_, _| {
        kept = kept.saturating_add(1);
        ControlFlow::Continue(())
    })?;
    tally::set(txn, Tally::Kept, kept)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ams_crypto::identity::{IdentityKey, IdentityPublic};
    use ams_crypto::store::StoreKey;
    use ams_wire::id::{Handle, IntroId, Key};
    use ams_wire::to_relay::ToRelay;
    use ams_wire::username::Username;
    use minicbor::bytes::ByteVec;

    use super::*;
    use crate::contacts::intro::{Answer, IntroRow, Intros};
    use crate::contacts::row::{Verified, by_address, by_identity};
    use crate::contacts::{PathRow, Stage};
    use crate::inbox::row::ReceivedRow;
    use crate::outbox::row::OutState;
    use crate::relay::chores::{ChoreRow, Chores};
    use crate::store::Store;
    use crate::timeline::{Arrivals, Direction};

    const HOME: RelayId = RelayId(1);
    const BOB: ContactId = ContactId(1);

    /// A contact as layout 1 had it.
    #[derive(Encode, Decode)]
    #[cbor(map)]
    struct OldContactRow {
        #[n(0)]
        name: String,
        #[n(1)]
        identity: Option<Key>,
        #[n(2)]
        verified: Option<Verified>,
        #[n(3)]
        stage: Stage,
        #[n(4)]
        blocked: bool,
        #[n(5)]
        offered: Option<Key>,
        #[n(6)]
        paths: Vec<PathRow>,
        #[n(7)]
        next_seq: u64,
        #[n(8)]
        unread_from: u64,
        #[n(9)]
        renewed_at: i64,
    }

    struct OldContacts;
    impl Table for OldContacts {
        const NAME: &'static str = Contacts::NAME;
        type Key = ContactId;
        type Row = OldContactRow;
    }

    fn user() -> Username {
        Username::new("bob").unwrap()
    }

    fn write_layout_1(txn: &Txn<'_>, identity: Key) -> Result<(), StoreError> {
        let path = PathRow { relay: HOME, handle: Handle([2; 16]), user: user(), missing: false };
        let bob = OldContactRow {
            name: "bob".into(),
            identity: Some(identity),
            verified: None,
            stage: Stage::Active,
            blocked: false,
            offered: None,
            paths: vec![path],
            next_seq: 4,
            unread_from: 1,
            renewed_at: 0,
        };
        txn.put::<OldContacts>(&BOB, &bob)?;
        let sealed = WholeCipherRow {
            seq: Some(1),
            envelope: vec![7; 100],
            relay: HOME,
            mark: WorkMark::default(),
        };
        txn.put::<WholeCiphers>(&(BOB, RootTag([3; 8]), 1), &sealed)?;
        for (seq, state) in [(1, OutState::Sent), (2, OutState::Queued), (3, OutState::Queued)] {
            txn.put::<Live>(&(BOB, seq), &state)?;
        }
        txn.put::<Received>(&(BOB, 1), &ReceivedRow::default())?;
        let mut frame = Vec::new();
        ToRelay::Block(Handle([2; 16])).encode(&mut frame).unwrap();
        txn.put::<Chores>(&(HOME, 1), &ChoreRow { frame })?;
        let asked = IntroRow {
            relay: HOME,
            from: Username::new("carol").unwrap(),
            their_handle: Handle([5; 16]),
            identity: Key([6; 32]),
            at: 1,
            again: false,
            answer: Answer::Waiting(vec![1]),
            link_key: None,
            source: None,
        };
        txn.put::<Intros>(&IntroId([9; 32]), &asked)
    }

    #[tokio::test]
    async fn layout_3_is_read_by_this_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ams.redb");
        let store = Store::create(&path, StoreKey::new(&[1; 32]), Arc::new(|_| {})).unwrap();
        let looked = store.write(|txn| {
            let row = Handle([2; 16]);
            chores::push(txn, HOME, &ToRelay::Remove(row))?;
            chores::push(txn, HOME, &ToRelay::Block(row))?;
            let (number, _) = chores::waiting(txn, HOME)?[0];
            // That the approval on that row was fetched, and nothing of which.
            let frame = [&[0x46, 0, 16], &row.0[..]].concat();
            txn.put::<Chores>(&(HOME, number), &ChoreRow { frame })?;
            profile::set_layout(txn, 3)?;
            migrate(txn)?;
            chores::push(txn, HOME, &ToRelay::Unblock(row))?;
            let left = chores::waiting(txn, HOME)?;
            assert_eq!(left.len(), 1, "{left:?}");
            assert_eq!(txn.count::<chores::ChoreRows>()?, 1);
            assert_eq!(txn.get::<chores::ChoreCounts>(&HOME)?, Some(1));
            Ok(())
        });
        Result::<_, StoreError>::unwrap(looked.await);
    }

    #[tokio::test]
    async fn layout_2_is_read_by_this_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ams.redb");
        let store = Store::create(&path, StoreKey::new(&[1; 32]), Arc::new(|_| {})).unwrap();
        let looked = store.write(|txn| {
            let sent = timeline::append(txn, BOB, Direction::Out, 1)?;
            let came = timeline::append(txn, BOB, Direction::In, 7)?;
            txn.delete_all::<Arrivals>(&())?;
            profile::set_layout(txn, 2)?;
            migrate(txn)?;
            assert_ne!(sent, came);
            assert_eq!(txn.list::<Arrivals>(&())?, [((BOB, came), 7)]);
            assert_eq!(timeline::contacts_heard(txn)?, [BOB]);
            timeline::remove(txn, BOB, came)?;
            assert_eq!(txn.count::<Arrivals>()?, 0);
            assert_eq!(profile::layout(txn)?, LAYOUT);
            Ok(())
        });
        Result::<_, StoreError>::unwrap(looked.await);
    }

    #[tokio::test]
    async fn layout_1_is_read_by_this_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ams.redb");
        let store = Store::create(&path, StoreKey::new(&[1; 32]), Arc::new(|_| {})).unwrap();
        let public: IdentityPublic = IdentityKey::generate().public();
        let identity = Key(*public.as_bytes());
        let done = store.write(move |txn| {
            write_layout_1(txn, identity)?;
            migrate(txn)?;
            // The second start finds nothing to do.
            migrate(txn)
        });
        Result::<_, StoreError>::unwrap(done.await);
        let looked = store.write(move |txn| {
            let at = (BOB, RootTag([3; 8]), 1);
            let cipher = txn.get::<Ciphers>(&at)?.unwrap();
            assert_eq!((cipher.seq, cipher.relay), (Some(1), HOME));
            assert_eq!(txn.get::<Envelopes>(&at)?.unwrap(), ByteVec::from(vec![7; 100]));
            assert_eq!(txn.list::<Queued>(&BOB)?, [((BOB, 2), ()), ((BOB, 3), ())]);
            assert_eq!((tally::of(txn, Tally::Queued)?, tally::of(txn, Tally::Sent)?), (2, 1));
            assert_eq!(tally::of(txn, Tally::Kept)?, 1);
            assert_eq!(by_address(txn, HOME, &user())?.unwrap().0, BOB);
            assert_eq!(by_identity(txn, &public)?.unwrap().0, BOB);
            assert_eq!(intro::waiting(txn)?.len(), 1);
            // What makes a chore needless finds it.
            chores::push(txn, HOME, &ToRelay::Remove(Handle([2; 16])))?;
            assert_eq!(chores::waiting(txn, HOME)?.len(), 1);
            Ok(())
        });
        Result::<_, StoreError>::unwrap(looked.await);
    }
}
