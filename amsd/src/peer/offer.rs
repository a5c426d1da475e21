//! Contacts that both allow it learn under their ratchet how each is reached directly.
//!
//! 1. [`set_own`]: what this daemon offers follows its config and where it listens
//! 2. [`due`]: a contact that has not taken it is told, and takes it ([`was_told`], [`was_taken`])
//! 3. [`take`]: a contact's offer came
//! 4. [`align`]: the direct way to a contact is what both allow
//!
//! An offer is a state, not a message: of each side the newest counts, and nobody waits for it.

use ams_wire::aside::{Aside, Offer};
use ams_wire::id::{Key, RootTag};
use minicbor::{Decode, Encode};

use super::reach;
use super::row::{self, DirectRow, Directs, HANDLE};
use crate::contacts::{self, ContactId, ContactRow, Contacts, PathRow, Stage};
use crate::fact::Fact;
use crate::profile;
use crate::session::row::{drop_cipher, sealing_root};
use crate::session::seal::{CipherKey, Desk, Room};
use crate::store::{Read, StoreError, Table, Txn};

/// So often within [`MOVES_SPAN`] the places that a contact offers may change. What changes more
/// often is dialled no more: a contact must not lead this daemon from place to place.
const MAX_MOVES: usize = 8;
/// Milliseconds.
const MOVES_SPAN: i64 = 60 * 60 * 1000;

/// What this daemon offers to its contacts.
pub struct OwnOffers;
impl Table for OwnOffers {
    const NAME: &'static str = "direct_own_offer";
    type Key = ();
    type Row = Offer;
}

/// What a contact was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ToldRow {
    /// The offer's number.
    #[n(0)]
    pub number: u64,
    /// The root that it was sealed under. Under another one it is told again: whoever renewed the keys
    /// may have lost all that it knew.
    #[n(1)]
    pub root: RootTag,
    /// The ciphertext's counter.
    #[n(2)]
    pub ctr: u64,
    /// The contact has it.
    #[n(3)]
    pub taken: bool,
    /// The link key of this daemon that the contact took before, and that was not taken back since.
    #[n(4)]
    pub has: Option<Key>,
}

/// Contact → what it was told.
pub struct Told;
impl Table for Told {
    const NAME: &'static str = "direct_told";
    type Key = ContactId;
    type Row = ToldRow;
}

/// What a contact offers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TheirRow {
    /// The newest offer.
    #[n(0)]
    pub offer: Offer,
    /// When the places in it changed, within [`MOVES_SPAN`].
    #[n(1)]
    pub moves: Vec<i64>,
}

/// Contact → what it offers.
pub struct Theirs;
impl Table for Theirs {
    const NAME: &'static str = "direct_offers";
    type Key = ContactId;
    type Row = TheirRow;
}

/// What this daemon offers now. Where that is news, every contact is due.
pub fn set_own(
    txn: &Txn<'_>,
    is_allowed: bool,
    addresses: Vec<String>,
    now: i64,
) -> Result<(), StoreError> {
    if stands(txn, is_allowed, &addresses)? {
        return Ok(());
    }
    let before = txn.get::<OwnOffers>(&())?;
    let (link_key, addresses) = match is_allowed {
        true => (Some(Key(*profile::link_secret(txn)?.public().as_bytes())), addresses),
        false => (None, Vec::new()),
    };
    let after = before.map_or(0, |before| before.number.saturating_add(1));
    let number = u64::try_from(now).unwrap_or_default().max(after);
    txn.put::<OwnOffers>(&(), &Offer { number, link_key, addresses })?;
    for (id, _) in contacts::all(txn)? {
        align(txn, id)?;
        txn.tell(Fact::Due(id));
    }
    txn.tell(Fact::Peers);
    Ok(())
}

/// Whether that is what this daemon offers already.
pub(super) fn stands(
    db: &impl Read,
    is_allowed: bool,
    addresses: &[String],
) -> Result<bool, StoreError> {
    Ok(match db.get::<OwnOffers>(&())? {
        Some(own) if is_allowed => own.link_key.is_some() && own.addresses == addresses,
        Some(own) => own.link_key.is_none(),
        None => !is_allowed,
    })
}

/// Whether this daemon offers direct links to its contacts.
pub fn is_allowed(db: &impl Read) -> Result<bool, StoreError> {
    Ok(db.get::<OwnOffers>(&())?.is_some_and(|own| own.link_key.is_some()))
}

/// What is to be told to the contact of `desk` now, as it is sealed. A ciphertext of an older offer is
/// dropped: what was taken back must not go out any more.
pub fn due(txn: &Txn<'_>, desk: &mut Desk) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    let Some(own) = txn.get::<OwnOffers>(&())? else { return Ok(None) };
    let contact = desk.contact();
    let told = txn.get::<Told>(&contact)?;
    let Some((root, _)) = sealing_root(desk.roots()) else { return Ok(None) };
    match told {
        // Nothing was said that could be taken back.
        None if own.link_key.is_none() => return Ok(None),
        None => {}
        Some(told) => {
            let key = CipherKey { contact, root: told.root, ctr: told.ctr };
            let is_out = desk.ciphers().iter().any(|(out, _)| *out == key);
            if told.number == own.number && told.root == *root && (told.taken || is_out) {
                return Ok(None);
            }
            if !matches!(desk.room(), Room::For(_)) {
                return Ok(None);
            }
            if is_out && told.number != own.number {
                drop_cipher(txn, &(contact, told.root, told.ctr))?;
                desk.forget(key);
            }
        }
    }
    if !matches!(desk.room(), Room::For(_)) {
        return Ok(None);
    }
    let number = own.number;
    let plaintext = Aside::Direct(own).encode();
    Ok(Some((number, plaintext.map_err(|_| StoreError::Damaged(OwnOffers::NAME))?)))
}

/// The offer `number` was sealed as `key`.
pub fn was_told(txn: &Txn<'_>, number: u64, key: CipherKey) -> Result<(), StoreError> {
    // Where another key is told, or none, the one that it has opens nothing any more.
    let own = txn.get::<OwnOffers>(&())?.and_then(|own| own.link_key);
    let before = txn.get::<Told>(&key.contact)?.filter(|before| before.root == key.root);
    let has = before.and_then(|before| before.has).filter(|has| Some(*has) == own);
    let row = ToldRow { number, root: key.root, ctr: key.ctr, taken: false, has };
    txn.put::<Told>(&key.contact, &row)
}

/// The contact took `key`, which holds no message.
pub fn was_taken(txn: &Txn<'_>, key: CipherKey) -> Result<(), StoreError> {
    let contact = key.contact;
    let told = txn.get::<Told>(&contact)?;
    let Some(told) = told.filter(|told| (told.root, told.ctr) == (key.root, key.ctr)) else {
        return Ok(());
    };
    let own = txn.get::<OwnOffers>(&())?.filter(|own| own.number == told.number);
    if own.as_ref().is_some_and(|own| own.link_key.is_none()) {
        return txn.delete::<Told>(&contact);
    }
    let has = own.map_or(told.has, |own| own.link_key);
    txn.put::<Told>(&contact, &ToldRow { taken: true, has, ..told })?;
    align(txn, contact)
}

/// A contact's offer came.
pub fn take(txn: &Txn<'_>, id: ContactId, offer: Offer, now: i64) -> Result<(), StoreError> {
    let before = txn.get::<Theirs>(&id)?;
    // Of what comes late and out of order the newest counts.
    if before.as_ref().is_some_and(|before| offer.number <= before.offer.number) {
        return Ok(());
    }
    let (known, mut moves) = match before {
        Some(before) => (before.offer.addresses, before.moves),
        None => (Vec::new(), Vec::new()),
    };
    moves.retain(|at| (0..MOVES_SPAN).contains(&now.saturating_sub(*at)));
    let mut offer = offer;
    if offer.addresses != known && !offer.addresses.is_empty() {
        if moves.len() >= MAX_MOVES {
            offer.addresses.clear();
        } else {
            moves.push(now);
        }
    }
    txn.put::<Theirs>(&id, &TheirRow { offer, moves })?;
    align(txn, id)
}

/// The contact is another one now, or none: nothing that was said counts.
pub fn forget(txn: &Txn<'_>, id: ContactId) -> Result<(), StoreError> {
    txn.delete::<Told>(&id)?;
    txn.delete::<Theirs>(&id)
}

/// Makes the direct way to a contact what both offer. A way that the user made stays, whatever is
/// offered; one that came of the offers is there as long as both are.
pub fn align(txn: &Txn<'_>, id: ContactId) -> Result<(), StoreError> {
    let is_contact = |row: &ContactRow| matches!(row.stage, Stage::Approved | Stage::Active);
    let Some(before) = txn.get::<Contacts>(&id)?.filter(is_contact) else { return Ok(()) };
    let Some(identity) = before.identity() else { return Ok(()) };
    let own = txn.get::<OwnOffers>(&())?.filter(|own| own.link_key.is_some());
    let theirs = txn.get::<Theirs>(&id)?.map(|row| row.offer);
    let both = own.as_ref().zip(theirs).and_then(|(own, theirs)| {
        let link_key = theirs.link_key?;
        let is_good = |at: &String| reach::may_be_dialled(at, &own.addresses);
        Some((link_key, theirs.addresses.into_iter().filter(is_good).collect::<Vec<_>>()))
    });
    let told = txn.get::<Told>(&id)?;
    // Wherever this daemon moved since: it is the key by which it is let in.
    let has_key = |told: ToldRow, own: &Offer| {
        told.has == own.link_key || (told.taken && told.number == own.number)
    };
    let knows_us = own.is_some_and(|own| told.is_some_and(|told| has_key(told, &own)));
    let (way, known) = match (before.direct(), &both) {
        (Some(way), _) => (way, txn.get::<Directs>(&way)?.unwrap_or_default()),
        (None, None) => return Ok(()),
        (None, Some(_)) => {
            let known = DirectRow { by_offer: true, ..DirectRow::default() };
            (row::make(txn, &known)?, known)
        }
    };
    let is_open = both.is_some();
    let (link_key, offered) = both.map_or((None, Vec::new()), |(key, at)| (Some(key), at));
    let wanted = match known.by_offer {
        true => DirectRow { link_key, offered, noted: knows_us, ..known.clone() },
        false if link_key.is_none() || link_key == known.link_key => {
            DirectRow { offered, ..known.clone() }
        }
        // Its device is another one than the one that was met.
        false => DirectRow { link_key, offered, noted: knows_us, ..known.clone() },
    };
    let mut after = before.clone();
    if after.path(way).is_none() {
        let user = profile::direct_name(&identity).ok_or(StoreError::Damaged(Contacts::NAME))?;
        after.paths.push(PathRow { relay: way, handle: HANDLE, user, missing: false });
    }
    for path in after.paths.iter_mut().filter(|path| path.relay == way) {
        path.missing = known.by_offer && !is_open;
    }
    if after != before {
        contacts::put(txn, id, Some(&before), &after)?;
    }
    if wanted != known {
        row::put(txn, way, &wanted)?;
    }
    Ok(())
}

/// Why there is no direct way to a contact, where direct links are allowed here; for people.
pub fn why_none(db: &impl Read, id: ContactId) -> Result<Option<&'static str>, StoreError> {
    if !is_allowed(db)? {
        return Ok(None);
    }
    Ok(Some(match db.get::<Theirs>(&id)? {
        Some(_) => "the contact no longer allows direct links",
        None => {
            "the contact has not offered direct links: its config does not have direct = \"contacts\", \
                 or it was not heard since"
        }
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "times of a test")]

    use std::sync::Arc;

    use ams_crypto::identity::{IdentityKey, IdentityPublic};
    use ams_crypto::store::StoreKey;
    use ams_wire::id::Handle;
    use ams_wire::username::Username;
    use tempfile::TempDir;

    use super::*;
    use crate::contacts::direct::{self, Met};
    use crate::profile::Me;
    use crate::relay::RelayId;
    use crate::store::Store;

    const BOB: ContactId = ContactId(1);
    const NOW: i64 = 1_800_000_000_000;
    const HERS: &str = "192.0.2.1:7310";
    const HIS: &str = "192.0.2.2:7310";

    /// Alice, and bob, whom she knows over a relay.
    struct Alice {
        store: Store,
        me: Me,
        bob: IdentityPublic,
        _folder: TempDir,
    }

    impl Alice {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("ams.redb");
            let store = Store::create(&path, StoreKey::new(&[7; 32]), Arc::new(|_| {})).unwrap();
            let me = store.write(Me::create).await.unwrap();
            let bob = IdentityKey::generate().public();
            let alice = Self { store, me, bob, _folder: folder };
            alice
                .does(move |txn| {
                    let user = Username::new("bob").unwrap();
                    let path = PathRow {
                        relay: RelayId(1),
                        handle: Handle([3; 16]),
                        user,
                        missing: false,
                    };
                    let row = ContactRow {
                        name: "bob".to_owned(),
                        identity: Some(Key(*bob.as_bytes())),
                        verified: None,
                        stage: Stage::Active,
                        blocked: false,
                        offered: None,
                        paths: vec![path],
                        next_seq: 1,
                        unread_from: 0,
                        renewed_at: 0,
                        their_low: 0,
                        known_from: 0,
                        offered_at: Vec::new(),
                        by_link: None,
                    };
                    contacts::put(txn, BOB, None, &row)
                })
                .await;
            alice
        }

        async fn does<T: Send + 'static>(
            &self,
            work: impl FnMut(&Txn<'_>) -> Result<T, StoreError> + Send + 'static,
        ) -> T {
            self.store.write(work).await.unwrap()
        }

        async fn offers(&self, is_allowed: bool) {
            self.does(move |txn| set_own(txn, is_allowed, vec![HERS.to_owned()], NOW)).await;
        }

        async fn is_offered(&self, number: u64, key: Option<u8>, at: &'static str, now: i64) {
            self.does(move |txn| {
                let addresses = if at.is_empty() { Vec::new() } else { vec![at.to_owned()] };
                let link_key = key.map(|key| Key([key; 32]));
                take(txn, BOB, Offer { number, link_key, addresses }, now)
            })
            .await;
        }

        /// What she offers is sealed for bob.
        async fn is_told(&self, ctr: u64) -> CipherKey {
            let key = CipherKey { contact: BOB, root: RootTag([1; 8]), ctr };
            self.does(move |txn| {
                let number = txn.get::<OwnOffers>(&())?.unwrap().number;
                was_told(txn, number, key)?;
                align(txn, BOB)
            })
            .await;
            key
        }

        /// The direct way to bob, and whether it is open.
        fn way(&self) -> Option<(DirectRow, bool)> {
            self.store
                .read_now(|db| {
                    let contact = db.get::<Contacts>(&BOB)?.unwrap();
                    let Some(way) = contact.direct() else { return Ok(None) };
                    let is_open = !contact.path(way).unwrap().missing;
                    assert_eq!(row::wanted(db, way)?.is_some(), is_open);
                    Ok::<_, StoreError>(Some((db.get::<Directs>(&way)?.unwrap(), is_open)))
                })
                .unwrap()
        }

        fn places(&self) -> Vec<String> {
            self.way().unwrap().0.places().into_iter().cloned().collect()
        }
    }

    #[tokio::test]
    async fn a_way_is_there_as_long_as_both_offer_it() {
        let alice = Alice::new().await;
        alice.is_offered(1, Some(5), HIS, NOW).await;
        assert_eq!(alice.way(), None, "she does not");
        alice.offers(true).await;
        let (row, is_open) = alice.way().unwrap();
        assert!(is_open && row.by_offer && !row.noted, "he does not know her key yet");
        assert_eq!(row.link_key, Some(Key([5; 32])));
        assert_eq!(alice.places(), [HIS]);

        let key = alice.is_told(4).await;
        alice.does(move |txn| was_taken(txn, key)).await;
        assert!(alice.way().unwrap().0.noted);
        let moved = |txn: &Txn<'_>| set_own(txn, true, vec!["192.0.2.9:7310".to_owned()], NOW);
        alice.does(moved).await;
        assert!(alice.way().unwrap().0.noted, "he does not know where she is, but her key");
        alice.is_told(5).await;
        assert!(alice.way().unwrap().0.noted, "nor has he to take it first");

        alice.offers(false).await;
        assert!(!alice.way().unwrap().1);
        alice.is_told(6).await;
        alice.offers(true).await;
        let (row, is_open) = alice.way().unwrap();
        assert!(is_open && !row.noted, "he may have forgotten it since");

        alice.is_offered(2, None, "", NOW).await;
        assert!(!alice.way().unwrap().1);
        alice.is_offered(1, Some(5), HIS, NOW).await;
        assert!(!alice.way().unwrap().1, "what comes late says nothing");
    }

    #[tokio::test]
    async fn nobody_leads_this_daemon_from_place_to_place() {
        let alice = Alice::new().await;
        alice.offers(true).await;
        let places = [HIS, "192.0.2.3:7310"];
        for move_ in 0..MAX_MOVES {
            let at = places[move_ % 2];
            alice.is_offered(1 + u64::try_from(move_).unwrap(), Some(5), at, NOW).await;
            assert_eq!(alice.places(), [at]);
        }
        alice.is_offered(20, Some(5), "192.0.2.4:7310", NOW + MOVES_SPAN - 1).await;
        assert!(alice.places().is_empty());
        assert!(alice.way().unwrap().1, "he can dial her");
        alice.is_offered(21, Some(5), HIS, NOW + MOVES_SPAN).await;
        assert_eq!(alice.places(), [HIS]);
    }

    #[tokio::test]
    async fn a_way_that_the_user_made_stays_and_is_found_again() {
        let alice = Alice::new().await;
        let (me, bob) = (alice.me.clone(), alice.bob);
        alice
            .does(move |txn| {
                let met = Met {
                    identity: bob,
                    link_key: Key([5; 32]),
                    at: "192.0.2.9:7310".to_owned(),
                    verified: false,
                    linked: true,
                };
                direct::add(txn, &me, &met, None, NOW).unwrap();
                Ok(())
            })
            .await;
        alice.offers(true).await;
        alice.is_offered(1, Some(5), HIS, NOW).await;
        assert_eq!(alice.places(), [HIS, "192.0.2.9:7310"]);
        alice.is_offered(2, None, "", NOW).await;
        assert_eq!(alice.places(), ["192.0.2.9:7310"]);
        assert!(alice.way().unwrap().1);
        alice.offers(false).await;
        assert!(alice.way().unwrap().1);
    }

    #[tokio::test]
    async fn what_a_contact_offers_on_this_machine_is_passed_over() {
        let alice = Alice::new().await;
        alice.offers(true).await;
        alice.is_offered(1, Some(5), "127.0.0.1:22", NOW).await;
        assert!(alice.places().is_empty());
    }
}
