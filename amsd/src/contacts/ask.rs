//! We ask somebody for contact, or ask a contact to renew the keys.

use ams_crypto::introduction::{self, Meeting, RequestSecrets};
use ams_wire::id::{Blob, Handle};
use ams_wire::to_relay::{Ask, ToRelay};
use ams_wire::username::Username;
use minicbor::{Decode, Encode};

use super::link::{self, AskedBy};
use super::row::{self, ContactId, ContactRow, Contacts, PathRow, Stage};
use super::tell::tell;
use super::{BadName, by_address, by_name, check_name, free_name, next_generation};
use super::{intro, request};
use crate::profile::{self, Me};
use crate::relay::{RelayId, RelayRow, account};
use crate::session::row::retire;
use crate::store::{Read, StoreError, Table, Txn};

/// How long a request stands.
pub const LIFE: i64 = 14 * 24 * 60 * 60 * 1000;
/// Shortest time between two renewals of one contact.
const RENEWAL_PAUSE: i64 = 15 * 60 * 1000;

/// What is needed to open the answer.
#[derive(Clone, Encode, Decode)]
#[cbor(map)]
pub struct AskedRow {
    /// Whom the answer makes a contact.
    #[n(0)]
    pub contact: ContactId,
    /// [`RequestSecrets::to_bytes`].
    #[cbor(n(1), with = "minicbor::bytes")]
    pub secrets: Vec<u8>,
    /// Milliseconds since 1970.
    #[n(2)]
    pub at: i64,
    /// [`RootRow::generation`](crate::session::row::RootRow) of what the answer brings, as of the
    /// asking: an introduction that crosses ours, and is answered before, does not make it younger.
    #[cbor(n(3), default)]
    pub generation: u64,
    /// The contact link by which it is asked.
    #[n(4)]
    pub link: Option<AskedBy>,
}

impl AskedRow {
    /// The secrets.
    pub fn secrets(&self) -> Result<RequestSecrets, StoreError> {
        RequestSecrets::from_bytes(&self.secrets).ok_or(StoreError::Damaged(Asked::NAME))
    }
}

/// Relay and our handle there → what we asked.
pub struct Asked;
impl Table for Asked {
    const NAME: &'static str = "asked";
    type Key = (RelayId, Handle);
    type Row = AskedRow;
}

/// Why nobody was asked.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The name to be given is none.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// The name to be given is taken.
    #[error("another contact is called {0}")]
    NameTaken(String),
    /// That address is a contact already, and a name was to be given.
    #[error("{address} is a contact already, called {name}")]
    Known {
        /// The address.
        address: String,
        /// The contact's name.
        name: String,
    },
    /// That is the user's own address.
    #[error("{0} is yourself")]
    Yourself(Username),
}

/// Asks `user` at `relay` for contact. For an address that is a contact already, asks anew; it keeps
/// its name.
pub fn add(
    txn: &Txn<'_>,
    me: &Me,
    relay: (RelayId, &RelayRow),
    user: &Username,
    local: Option<&str>,
    now: i64,
) -> Result<(ContactId, ContactRow), AddError> {
    if *user == relay.1.user {
        return Err(AddError::Yourself(user.clone()));
    }
    if let Some((id, row)) = by_address(txn, relay.0, user)? {
        if local.is_some_and(|local| local != row.name) {
            let address = format!("{user}@{}", relay.1.nick);
            return Err(AddError::Known { address, name: row.name });
        }
        ask(txn, me, relay, id, &row, now)?;
        return Ok((id, row));
    }
    let name = match local {
        Some(name) => {
            check_name(name)?;
            if by_name(txn, name)?.is_some() {
                return Err(AddError::NameTaken(name.to_owned()));
            }
            name.to_owned()
        }
        None => free_name(txn, user, &relay.1.nick)?,
    };
    // Somebody who asked us already is answered: that is all that asking could lead to.
    if let Some(waiting) = intro::waiting_from(txn, relay.0, user)? {
        return Ok(request::approve_waiting(txn, me, relay, waiting, Some(name), now)?);
    }
    let id = ContactId(profile::count(txn, "contacts")?);
    let row =
        new_row(name, relay.0, user.clone(), Handle(ams_crypto::random::bytes()), Stage::Asked);
    row::put(txn, id, None, &row)?;
    ask(txn, me, relay, id, &row, now)?;
    Ok((id, row))
}

/// A contact of whom nothing is known but an address.
pub(crate) fn new_row(
    name: String,
    relay: RelayId,
    user: Username,
    handle: Handle,
    stage: Stage,
) -> ContactRow {
    ContactRow {
        name,
        identity: None,
        verified: None,
        stage,
        blocked: false,
        offered: None,
        paths: vec![PathRow { relay, handle, user, missing: false }],
        next_seq: 1,
        unread_from: 0,
        renewed_at: 0,
        their_low: 0,
        known_from: 0,
        offered_at: Vec::new(),
        by_link: None,
    }
}

/// Puts an introduction on the contact's row at `relay`: the one that stands there, or a new one
/// when it is too old.
pub(crate) fn ask(
    txn: &Txn<'_>,
    me: &Me,
    relay: (RelayId, &RelayRow),
    id: ContactId,
    contact: &ContactRow,
    now: i64,
) -> Result<(), StoreError> {
    let Some(path) = contact.path(relay.0) else { return Ok(()) };
    let key = (relay.0, path.handle);
    if contact.by_link.is_some() {
        // By the link alone: nobody else is known to be asked. Once it is over, so is the asking.
        let asked = txn.get::<Asked>(&key)?.and_then(|row| row.link);
        return asked.map_or(Ok(()), |asked| link::tell(txn, relay.0, path.handle, &asked, now));
    }
    let standing = standing(txn, key, now)?;
    let generation = next_generation(txn, id)?;
    let intro = match standing {
        Some(row) => {
            // Whatever was opened since it was first asked, the answer is to come after it.
            txn.put::<Asked>(&key, &AskedRow { generation, ..row.clone() })?;
            row.secrets()?.intro().to_vec()
        }
        None => {
            withdraw(txn, key)?;
            let mut account = profile::olm(txn)?;
            let expires = now.saturating_add(LIFE).checked_div(1000).unwrap_or_default();
            let meeting = Meeting {
                from: relay.1.user.clone(),
                to: path.user.clone(),
                place: relay.1.place(),
            };
            let expires = u64::try_from(expires).unwrap_or(u64::MAX);
            let made = introduction::request(me.key(), &mut account, meeting, expires, None);
            profile::put_olm(txn, &account)?;
            let secrets = made.secrets.to_bytes().to_vec();
            let row = AskedRow { contact: id, secrets, at: now, generation, link: None };
            txn.put::<Asked>(&key, &row)?;
            made.intro
        }
    };
    let intro = Blob::new(intro).ok_or(StoreError::Damaged(Asked::NAME))?;
    let frame = ToRelay::Ask(Ask { handle: path.handle, to: path.user.clone(), intro });
    tell(txn, relay.0, &frame)
}

/// Asks a contact for fresh keys, over the relay that the need was noticed on; at most once in
/// [`RENEWAL_PAUSE`].
pub fn renew(
    txn: &Txn<'_>,
    me: &Me,
    relay: (RelayId, &RelayRow),
    id: ContactId,
    now: i64,
) -> Result<(), StoreError> {
    let Some(before) = txn.get::<Contacts>(&id)? else { return Ok(()) };
    // A clock that was set back must not hold renewals up for ever.
    let since = now.saturating_sub(before.renewed_at);
    if (0..RENEWAL_PAUSE).contains(&since) {
        return Ok(());
    }
    let row = ContactRow { renewed_at: now, ..before.clone() };
    row::put(txn, id, Some(&before), &row)?;
    ask(txn, me, relay, id, &row, now)
}

/// Nothing can be sealed for the contact that has our `handle` at `relay`. Where what it was asked for
/// expired before it answered, it is asked anew.
pub fn renew_expired(
    txn: &Txn<'_>,
    me: &Me,
    (relay, handle): (RelayId, Handle),
    id: ContactId,
    now: i64,
) -> Result<(), StoreError> {
    if standing(txn, (relay, handle), now)?.is_some() {
        return Ok(());
    }
    let Some(row) = account(txn, me, relay)? else { return Ok(()) };
    renew(txn, me, (relay, &row), id, now)
}

/// What was asked and has not expired.
fn standing(
    db: &impl Read,
    key: (RelayId, Handle),
    now: i64,
) -> Result<Option<AskedRow>, StoreError> {
    let asked = db.get::<Asked>(&key)?;
    Ok(asked.filter(|row| (0..LIFE).contains(&now.saturating_sub(row.at))))
}

/// `relay` saw a newer copy of this profile, which may have used the keys of every contact there. Over
/// other paths nothing more is sealed under them either: who has some is asked for fresh ones there.
pub(crate) fn anew_elsewhere(
    txn: &Txn<'_>,
    me: &Me,
    relay: RelayId,
    now: i64,
) -> Result<(), StoreError> {
    for (id, before) in row::all(txn)? {
        let others = before.paths.iter().filter(|path| path.relay != relay && !path.missing);
        let others: Vec<_> = others.map(|path| (path.relay, path.handle)).collect();
        if before.path(relay).is_none() || others.is_empty() || !before.is_open() {
            continue;
        }
        retire(txn, id, now)?;
        let row = ContactRow { renewed_at: now, ..before.clone() };
        row::put(txn, id, Some(&before), &row)?;
        for (other, handle) in others {
            // What was asked may have been answered to the copy.
            withdraw(txn, (other, handle))?;
            if let Some(own) = account(txn, me, other)? {
                ask(txn, me, (other, &own), id, &row, now)?;
            }
        }
    }
    Ok(())
}

/// A contact that was blocked is heard again: what the relay refused to pass on meanwhile is asked
/// again. What the contact asked, the relay shows again.
pub(super) fn make_up(
    txn: &Txn<'_>,
    me: &Me,
    id: ContactId,
    contact: &ContactRow,
    now: i64,
) -> Result<(), StoreError> {
    for path in &contact.paths {
        let asked = txn.get::<Asked>(&(path.relay, path.handle))?.is_some();
        let Some(relay) = account(txn, me, path.relay)? else { continue };
        if asked {
            ask(txn, me, (path.relay, &relay), id, contact, now)?;
        }
    }
    Ok(())
}

/// Drops what was asked of a contact.
pub(super) fn cancel(txn: &Txn<'_>, contact: &ContactRow) -> Result<(), StoreError> {
    for path in &contact.paths {
        withdraw(txn, (path.relay, path.handle))?;
    }
    Ok(())
}

/// Drops what was asked on a row, and the one-time key that was made for it.
pub(crate) fn withdraw(txn: &Txn<'_>, asked: (RelayId, Handle)) -> Result<(), StoreError> {
    let Some(row) = txn.get::<Asked>(&asked)? else { return Ok(()) };
    let mut account = profile::olm(txn)?;
    row.secrets()?.withdraw(&mut account);
    profile::put_olm(txn, &account)?;
    txn.delete::<Asked>(&asked)
}

/// What we asked and nobody answered, of those who are not contacts yet.
pub fn outgoing(
    db: &impl Read,
) -> Result<Vec<(RelayId, AskedRow, ContactRow, Username)>, StoreError> {
    let mut found = Vec::new();
    for ((relay, handle), asked) in db.list::<Asked>(&())? {
        let Some(contact) = db.get::<Contacts>(&asked.contact)? else { continue };
        let user = contact.paths.iter().find(|p| p.handle == handle).map(|p| p.user.clone());
        if let (Stage::Asked, Some(user)) = (contact.stage, user) {
            found.push((relay, asked, contact, user));
        }
    }
    Ok(found)
}
