//! Meeting without a relay: we ask somebody at an address, or a stranger asks us.
//!
//! 1. [`add`]: we know who answers at an address, and ask
//! 2. [`receive`]: a stranger's introduction; kept or not, and only what is kept is acknowledged

use std::net::IpAddr;

use ams_crypto::identity::IdentityPublic;
use ams_crypto::introduction;
use ams_rpc::types::{Fact as Event, RequestFact};
use ams_wire::id::{IntroId, Key};
use ams_wire::username::Username;

use super::ask::{self, AddError, new_row};
use super::intro::{self, Answer, IntroRow};
use super::request::{self, MAX_WAITING};
use super::row::{self, ContactId, ContactRow, PathRow, Stage, Verified};
use super::{by_identity, by_name, check_name, free_name};
use crate::fact::Fact;
use crate::peer::{self, DirectRow, Directs, HANDLE};
use crate::profile::{self, Me};
use crate::relay::{RelayId, RelayRow, account};
use crate::settings::Requests;
use crate::store::{Read, StoreError, Txn};

/// Most requests by direct strangers that wait for the user: a part of all, so that nobody who can
/// reach this daemon keeps those away who ask through a relay.
const MAX_STRANGERS: usize = 20;
/// Most of them that came from one address, so that whoever sits there does not keep others away.
const MAX_FROM_ONE: usize = 5;
/// Most direct strangers who are accepted by rule within a day; those beyond wait for the user.
const MAX_ACCEPTED: usize = 50;
/// Milliseconds.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// Whoever answered at an address.
#[derive(Debug, Clone)]
pub struct Met {
    /// The identity that it proved.
    pub identity: IdentityPublic,
    /// Its device's key on direct links.
    pub link_key: Key,
    /// Where it was.
    pub at: String,
    /// The user had its fingerprint from elsewhere.
    pub verified: bool,
    /// A link to it is up: there is nothing to be asked.
    pub linked: bool,
}

pub(super) fn name_of(identity: &IdentityPublic) -> Result<Username, StoreError> {
    profile::direct_name(identity).ok_or(StoreError::Damaged("a fingerprint"))
}

/// Asks somebody who was met at an address. Somebody who is a contact already is that contact, with
/// one more way.
pub fn add(
    txn: &Txn<'_>,
    me: &Me,
    met: &Met,
    local: Option<&str>,
    now: i64,
) -> Result<(ContactId, ContactRow), AddError> {
    let user = name_of(&met.identity)?;
    if met.identity == *me.public() {
        return Err(AddError::Yourself(user));
    }
    let verified = met.verified.then_some(Verified::Fingerprint);
    let (id, before) = match by_identity(txn, &met.identity)? {
        Some((id, row)) => {
            if local.is_some_and(|local| local != row.name) {
                return Err(AddError::Known { address: met.at.clone(), name: row.name });
            }
            (id, row)
        }
        None => {
            let name = match local {
                Some(name) => {
                    check_name(name)?;
                    if by_name(txn, name)?.is_some() {
                        return Err(AddError::NameTaken(name.to_owned()));
                    }
                    name.to_owned()
                }
                None => free_name(txn, &user, "direct")?,
            };
            // Somebody who asked us already is answered: that is all that asking could lead to.
            if let Some(waiting) = intro::waiting_of(txn, Key(*met.identity.as_bytes()))? {
                let own = RelayRow::direct(me).ok_or(StoreError::Damaged("a fingerprint"))?;
                let own = (RelayId::STRANGER, &own);
                let (id, row) = request::approve_waiting(txn, me, own, waiting, Some(name), now)?;
                return Ok((id, at_address(txn, id, &row, met, verified)?));
            }
            let id = ContactId(profile::count(txn, "contacts")?);
            let way = peer::make(txn, &DirectRow::default())?;
            let mut row = new_row(name, way, user.clone(), HANDLE, Stage::Asked);
            row.identity = Some(Key(*met.identity.as_bytes()));
            row::put(txn, id, None, &row)?;
            super::recognise(txn, id, Key(*met.identity.as_bytes()))?;
            (id, row)
        }
    };
    let before = match before.direct() {
        Some(_) => before,
        None => {
            let way = peer::make(txn, &DirectRow::default())?;
            let path = PathRow { relay: way, handle: HANDLE, user, missing: false };
            let mut row = before.clone();
            row.paths.push(path);
            row::put(txn, id, Some(&before), &row)?;
            row
        }
    };
    let row = at_address(txn, id, &before, met, verified)?;
    let Some(way) = row.direct() else { return Ok((id, row)) };
    let known = txn.get::<Directs>(&way)?.is_some_and(|direct| direct.noted);
    if !known && let Some(own) = account(txn, me, way)? {
        ask::ask(txn, me, (way, &own), id, &row, now)?;
    }
    Ok((id, row))
}

/// Notes where a contact was met, and by whom.
fn at_address(
    txn: &Txn<'_>,
    id: ContactId,
    before: &ContactRow,
    met: &Met,
    verified: Option<Verified>,
) -> Result<ContactRow, StoreError> {
    let row = ContactRow { verified: before.verified.or(verified), ..before.clone() };
    row::put(txn, id, Some(before), &row)?;
    let Some(way) = row.direct() else { return Ok(row) };
    let known = txn.get::<Directs>(&way)?.unwrap_or_default();
    // Another device of the same identity: it has to keep our introduction first.
    // One that was up to nothing may have refused, or have removed us since: it is asked anew.
    let noted = known.noted && known.link_key == Some(met.link_key) && met.linked;
    let link_key = Some(met.link_key);
    let met =
        DirectRow { link_key, noted, off: false, by_offer: false, ..known }.at(met.at.clone());
    peer::put(txn, way, &met)?;
    Ok(row)
}

/// Gives a contact one more path. There is one direct way to each: a second becomes part of it.
pub(super) fn add_path(
    txn: &Txn<'_>,
    contact: &mut ContactRow,
    path: PathRow,
) -> Result<(), StoreError> {
    match contact.direct().filter(|_| path.relay.is_direct()) {
        Some(way) => unite(txn, way, path.relay)?,
        None => contact.paths.push(path),
    }
    Ok(())
}

/// Two ways lead to one contact: `way` stays, with what is known of the `other`, where it was met last.
fn unite(txn: &Txn<'_>, way: RelayId, other: RelayId) -> Result<(), StoreError> {
    let (before, met) = (txn.get::<Directs>(&way)?, txn.get::<Directs>(&other)?);
    let (before, met) = (before.unwrap_or_default(), met.unwrap_or_default());
    let mut row = DirectRow {
        addresses: before.addresses,
        offered: if met.offered.is_empty() { before.offered } else { met.offered },
        by_offer: before.by_offer && met.by_offer,
        ..met
    };
    for address in met.addresses.into_iter().rev() {
        row = row.at(address);
    }
    peer::forget(txn, other)?;
    peer::put(txn, way, &row)
}

/// The contact has another identity: whatever device it has is still to be met.
pub(super) fn meet_anew(txn: &Txn<'_>, contact: &mut ContactRow) -> Result<(), StoreError> {
    let (Some(way), Some(identity)) = (contact.direct(), contact.identity()) else {
        return Ok(());
    };
    let user = name_of(&identity)?;
    for path in contact.paths.iter_mut().filter(|path| path.relay == way) {
        path.user = user.clone();
    }
    let known = txn.get::<Directs>(&way)?.unwrap_or_default();
    peer::put(txn, way, &DirectRow { link_key: None, noted: false, ..known })
}

/// Whoever brings an introduction on a first meeting.
#[derive(Debug, Clone, Copy)]
pub struct Stranger {
    /// The identity that it proved.
    pub identity: IdentityPublic,
    /// Its device's key on direct links.
    pub link_key: Key,
    /// Where it comes from: an address, or the network that one household has.
    pub from: IpAddr,
}

/// A stranger's introduction; `true`: it is kept, and is not needed again.
pub fn receive(
    txn: &Txn<'_>,
    me: &Me,
    stranger: &Stranger,
    bytes: &[u8],
    rule: Requests,
    now: i64,
) -> Result<bool, StoreError> {
    let Stranger { identity, link_key, from } = stranger;
    // Nothing that lies on disk says from where anybody connected.
    let source = txn.sealer().blind("direct_sources", from.to_string().as_bytes());
    let link_key = *link_key;
    let Ok(intro) = introduction::verify(bytes) else { return Ok(false) };
    let Some(own) = RelayRow::direct(me) else { return Ok(false) };
    let from = name_of(identity)?;
    let meant = intro.identity == *identity && request::is_meant_for_us(&intro, me, &own, &from);
    if !meant || request::is_expired(&intro, now) {
        return Ok(false);
    }
    if let Some(known) = txn.get::<intro::Intros>(&intro.id)? {
        match known.answer {
            // What kept a rule from answering may be over.
            Answer::Waiting(_) if rule == Requests::Accept => {}
            Answer::Waiting(_) => return Ok(true),
            // Silence is all that a refusal says.
            Answer::Refused => return Ok(true),
            Answer::Approved(..) if !intro::is_void(txn, &known)? => return Ok(true),
            Answer::Approved(..) => intro::forget(txn, intro.id)?,
        }
    }
    let known = by_identity(txn, identity)?;
    if known.as_ref().is_some_and(|(_, row)| row.blocked) {
        return Ok(false);
    }
    let is_off = match known.as_ref().and_then(|(_, row)| row.direct()) {
        Some(way) => txn.get::<Directs>(&way)?.is_some_and(|direct| direct.off),
        None => false,
    };
    let row = IntroRow {
        relay: RelayId::STRANGER,
        from,
        their_handle: HANDLE,
        identity: intro.fields.identity,
        at: now,
        again: known.is_some(),
        answer: Answer::Waiting(bytes.to_vec()),
        link_key: Some(link_key),
        source: Some(source.to_vec().into()),
    };
    match rule {
        Requests::Deny => Ok(false),
        // A rule does not connect whom the user disconnected.
        Requests::Accept if is_off => wait(txn, intro.id, &row),
        Requests::Accept if !intro::may_answer(txn, row.identity, now)? => Ok(false),
        // Keys cost a stranger nothing, and each would get a place on disk and a link.
        Requests::Accept if known.is_none() && accepted_lately(txn, now)? >= MAX_ACCEPTED => {
            wait(txn, intro.id, &row)
        }
        Requests::Accept => {
            request::approve_waiting(txn, me, (row.relay, &own), (intro.id, row), None, now)?;
            Ok(true)
        }
        Requests::Ask => wait(txn, intro.id, &row),
    }
}

/// Direct requests that were accepted within a day.
fn accepted_lately(db: &impl Read, now: i64) -> Result<usize, StoreError> {
    let is_lately = |row: &IntroRow| {
        row.relay.is_direct()
            && matches!(row.answer, Answer::Approved(..))
            && (0..DAY).contains(&now.saturating_sub(row.at))
    };
    Ok(db.list::<intro::Intros>(&())?.iter().filter(|(_, row)| is_lately(row)).count())
}

/// Lets a request wait for the user, in the place of an older one of the same identity.
fn wait(txn: &Txn<'_>, id: IntroId, row: &IntroRow) -> Result<bool, StoreError> {
    let waiting = intro::waiting(txn)?;
    let (mut others, mut here) = (0_usize, 0_usize);
    let mut is_news = true;
    for (old, waits) in waiting.iter().filter(|(_, waits)| waits.relay.is_direct()) {
        if waits.identity == row.identity {
            intro::forget(txn, *old)?;
            is_news = false;
        } else {
            others = others.saturating_add(1);
            here = here.saturating_add(usize::from(waits.source == row.source));
        }
    }
    let is_full = others >= MAX_STRANGERS || here >= MAX_FROM_ONE || waiting.len() >= MAX_WAITING;
    if is_news && is_full {
        return Ok(false);
    }
    if is_news {
        let request = row.shown(id, "direct");
        txn.tell(Fact::event(Event::ContactRequest(RequestFact { request })));
    }
    intro::put(txn, id, row)?;
    Ok(true)
}

/// The way to somebody whose request is accepted, and whom it leads to now: by that device, which
/// the user has accepted with it.
pub(super) fn way_of(
    txn: &Txn<'_>,
    known: Option<&ContactRow>,
    link_key: Option<Key>,
) -> Result<RelayId, StoreError> {
    match known.and_then(ContactRow::direct) {
        Some(way) => {
            let row = txn.get::<Directs>(&way)?.unwrap_or_default();
            let link_key = link_key.or(row.link_key);
            // By a rule nobody gets here whom the user disconnected: this is the user's word.
            let (off, noted, by_offer) = (false, true, false);
            peer::put(txn, way, &DirectRow { link_key, off, noted, by_offer, ..row })?;
            Ok(way)
        }
        None => peer::make(txn, &DirectRow { link_key, noted: true, ..DirectRow::default() }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ams_crypto::identity::IdentityKey;
    use ams_crypto::introduction::Meeting;
    use ams_crypto::olm::OlmAccount;
    use ams_crypto::store::StoreKey;
    use ams_wire::intro::Place;

    use super::*;
    use crate::store::Store;

    const NOW: i64 = 1_800_000_000_000;

    /// Somebody asks from 192.0.2.`last`; whether it is kept.
    async fn asks(store: &Store, me: &Me, key: &IdentityKey, last: u8) -> bool {
        let (from, to) = (name_of(&key.public()).unwrap(), name_of(me.public()).unwrap());
        let meeting = Meeting { from, to, place: Place::Direct };
        let expires = u64::try_from(NOW / 1000 + 60).unwrap();
        let made = introduction::request(key, &mut OlmAccount::new(), meeting, expires, None);
        let from = IpAddr::from([192, 0, 2, last]);
        let (identity, link_key, me) = (key.public(), Key([last; 32]), me.clone());
        let stranger = Stranger { identity, link_key, from };
        let kept =
            store.write(move |txn| receive(txn, &me, &stranger, &made.intro, Requests::Ask, NOW));
        let kept: Result<_, StoreError> = kept.await;
        kept.unwrap()
    }

    #[tokio::test]
    async fn strangers_wait_in_few_places_and_fewer_from_one_address() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ams.redb");
        let store = Store::create(&path, StoreKey::new(&[7; 32]), Arc::new(|_| {})).unwrap();
        let me = store.write(Me::create).await.unwrap();
        let first = IdentityKey::generate();
        assert!(asks(&store, &me, &first, 1).await);
        for _ in 1..MAX_FROM_ONE {
            assert!(asks(&store, &me, &IdentityKey::generate(), 1).await);
        }
        assert!(!asks(&store, &me, &IdentityKey::generate(), 1).await, "one more from there");
        for last in (2..).take(MAX_STRANGERS - MAX_FROM_ONE) {
            assert!(asks(&store, &me, &IdentityKey::generate(), last).await);
        }
        assert!(!asks(&store, &me, &IdentityKey::generate(), 200).await, "one more than all");
        // In the place of what the same one asked before.
        assert!(asks(&store, &me, &first, 1).await);
        let waiting = store.read(|db| intro::waiting(db).map(|all| all.len()));
        let waiting: Result<_, StoreError> = waiting.await;
        assert_eq!(waiting.unwrap(), MAX_STRANGERS);
    }
}
