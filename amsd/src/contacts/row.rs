//! What is kept of a contact.

use ams_crypto::identity::IdentityPublic;
use ams_rpc::types::VerifiedBy;
use ams_wire::id::{Handle, Key, RoutingId};
use ams_wire::username::Username;
use minicbor::{Decode, Encode};

use crate::relay::RelayId;
use crate::store::{Read, StoreError, Table, Txn};

/// A contact, also after it was renamed or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ContactId(#[n(0)] pub u64);

impl std::fmt::Display for ContactId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl crate::store::Key for ContactId {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        crate::store::Key::take(bytes).map(Self)
    }
}

/// How far the two have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Stage {
    /// We asked; no answer yet.
    #[n(0)]
    Asked,
    /// We approved; nothing of the contact's was opened yet.
    #[n(1)]
    Approved,
    /// Both sides are known to have the keys.
    #[n(2)]
    Active,
    /// Removed here. The row stays for the names in the history.
    #[n(3)]
    Removed,
}

/// How the user made sure of the identity key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Verified {
    /// Both sides met by a contact link.
    #[n(0)]
    Link,
    /// The safety numbers were compared.
    #[n(1)]
    Number,
    /// The fingerprint was given.
    #[n(2)]
    Fingerprint,
}

impl From<Verified> for VerifiedBy {
    fn from(how: Verified) -> Self {
        match how {
            Verified::Link => Self::Link,
            Verified::Number => Self::Number,
            Verified::Fingerprint => Self::Fingerprint,
        }
    }
}

/// One way to reach a contact.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PathRow {
    /// The relay, or the direct way.
    #[n(0)]
    pub relay: RelayId,
    /// Our handle for the contact there.
    #[n(1)]
    pub handle: Handle,
    /// The contact's name there.
    #[n(2)]
    pub user: Username,
    /// The relay no longer has our row.
    #[n(3)]
    pub missing: bool,
}

/// One contact.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ContactRow {
    /// The name here, unique among those not removed.
    #[n(0)]
    pub name: String,
    /// The identity key, once it is known.
    #[n(1)]
    pub identity: Option<Key>,
    /// How the user made sure of it.
    #[n(2)]
    pub verified: Option<Verified>,
    /// How far the two have come.
    #[n(3)]
    pub stage: Stage,
    /// Blocked by the user.
    #[n(4)]
    pub blocked: bool,
    /// Another identity key, offered under this contact's address.
    #[n(5)]
    pub offered: Option<Key>,
    /// Ways to reach it.
    #[n(6)]
    pub paths: Vec<PathRow>,
    /// `seq` of the next message to it, from 1.
    #[n(7)]
    pub next_seq: u64,
    /// Lowest `seq` of its messages that is on disk and unread; above all of them where none is.
    #[n(8)]
    pub unread_from: u64,
    /// When a renewal was last asked for, milliseconds since 1970.
    #[n(9)]
    pub renewed_at: i64,
    // 10 was a mark of earlier versions.
    /// Every message of its below this `seq` is over for it, as it said.
    #[cbor(n(11), default)]
    pub their_low: u64,
    /// Ids of its messages below this `seq` may be forgotten.
    #[cbor(n(12), default)]
    pub known_from: u64,
    /// The relays over which another key was offered; none: every path is in doubt.
    #[cbor(n(13), default)]
    pub offered_at: Vec<RelayId>,
    /// The link by which it is asked, until it answers: where it is, nobody but its key is known.
    #[n(14)]
    pub by_link: Option<RoutingId>,
}

impl ContactRow {
    /// The checked identity key.
    pub fn identity(&self) -> Option<IdentityPublic> {
        IdentityPublic::from_bytes(self.identity?.0).ok()
    }

    /// Whether anything may be sent to it and taken from it.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Approved | Stage::Active)
            && !self.blocked
            && !self.is_key_changed()
    }

    /// Another key was offered, and there is no path on which the known one alone was seen.
    pub fn is_key_changed(&self) -> bool {
        let mut paths = self.paths.iter().filter(|path| !path.missing);
        self.offered.is_some() && paths.all(|path| self.is_in_doubt(path.relay))
    }

    /// Whether another key was offered over `relay`.
    pub fn is_in_doubt(&self, relay: RelayId) -> bool {
        self.offered.is_some() && (self.offered_at.is_empty() || self.offered_at.contains(&relay))
    }

    /// The row after `key`, which is another one, was offered over `relay`.
    pub(super) fn with_offer(&self, key: Key, relay: RelayId) -> Self {
        let mut after = Self { offered: Some(key), ..self.clone() };
        if !self.is_in_doubt(relay) {
            after.offered_at.push(relay);
        }
        after
    }

    /// The row after the known key proved to be there, over `relay`: whoever offered another one is
    /// gone.
    pub(super) fn with_proof(&self, relay: RelayId) -> Self {
        let mut after = self.clone();
        after.offered_at.retain(|at| *at != relay);
        if after.offered_at.is_empty() {
            after.offered = None;
        }
        after
    }

    /// The direct way to it, if it has one.
    pub fn direct(&self) -> Option<RelayId> {
        self.paths.iter().map(|path| path.relay).find(|relay| relay.is_direct())
    }

    /// The path over `relay`.
    pub fn path(&self, relay: RelayId) -> Option<&PathRow> {
        self.paths.iter().find(|path| path.relay == relay)
    }
}

/// Contact → row.
pub struct Contacts;
impl Table for Contacts {
    const NAME: &'static str = "contacts";
    type Key = ContactId;
    type Row = ContactRow;
}

/// Blinded local name → contact. Names are not readable on disk, and looked up at every send.
pub struct Names;
impl Table for Names {
    const NAME: &'static str = "contact_names";
    type Key = [u8; 16];
    type Row = ContactId;
}

/// Relay and our handle there → contact.
pub struct Handles;
impl Table for Handles {
    const NAME: &'static str = "contact_handles";
    type Key = (RelayId, Handle);
    type Row = ContactId;
}

/// Blinded address and contact. Requests and rows of a relay are looked up by address.
pub struct Addresses;
impl Table for Addresses {
    const NAME: &'static str = "contact_addresses";
    type Key = ([u8; 16], ContactId);
    type Row = ();
}

/// Blinded identity key and contact, also one that was removed.
pub struct Identities;
impl Table for Identities {
    const NAME: &'static str = "contact_identities";
    type Key = ([u8; 16], ContactId);
    type Row = ();
}

/// The contact with that address.
pub(crate) fn by_address(
    db: &impl Read,
    relay: RelayId,
    user: &Username,
) -> Result<Option<(ContactId, ContactRow)>, StoreError> {
    let has = |row: &ContactRow| row.paths.iter().any(|p| p.relay == relay && p.user == *user);
    for ((_, id), ()) in db.list::<Addresses>(&address_key(db, relay, user))? {
        let row = db.get::<Contacts>(&id)?.filter(|row| row.stage != Stage::Removed && has(row));
        if let Some(row) = row {
            return Ok(Some((id, row)));
        }
    }
    Ok(None)
}

/// The contact with that identity key.
pub(crate) fn by_identity(
    db: &impl Read,
    identity: &IdentityPublic,
) -> Result<Option<(ContactId, ContactRow)>, StoreError> {
    let all = with_identity(db, Key(*identity.as_bytes()))?;
    Ok(all.into_iter().find(|(_, row)| row.stage != Stage::Removed))
}

/// Every contact that has, or had when it was removed, that identity key.
pub(super) fn with_identity(
    db: &impl Read,
    identity: Key,
) -> Result<Vec<(ContactId, ContactRow)>, StoreError> {
    let mut found = Vec::new();
    for ((_, id), ()) in db.list::<Identities>(&identity_key(db, identity))? {
        let row = db.get::<Contacts>(&id)?.filter(|row| row.identity == Some(identity));
        found.extend(row.map(|row| (id, row)));
    }
    Ok(found)
}

/// The contact of that name.
pub fn by_name(db: &impl Read, name: &str) -> Result<Option<(ContactId, ContactRow)>, StoreError> {
    let Some(id) = db.get::<Names>(&name_key(db, name))? else { return Ok(None) };
    Ok(db.get::<Contacts>(&id)?.map(|row| (id, row)))
}

/// The contact that is `handle` at `relay`.
pub fn by_handle(
    db: &impl Read,
    relay: RelayId,
    handle: Handle,
) -> Result<Option<(ContactId, ContactRow)>, StoreError> {
    let Some(id) = db.get::<Handles>(&(relay, handle))? else { return Ok(None) };
    Ok(db.get::<Contacts>(&id)?.map(|row| (id, row)))
}

/// All contacts that were not removed.
pub fn all(db: &impl Read) -> Result<Vec<(ContactId, ContactRow)>, StoreError> {
    let mut rows = db.list::<Contacts>(&())?;
    rows.retain(|(_, row)| row.stage != Stage::Removed);
    Ok(rows)
}

/// Writes a row and the indexes that follow from it; `before` is what stood there.
pub fn put(
    txn: &Txn<'_>,
    id: ContactId,
    before: Option<&ContactRow>,
    row: &ContactRow,
) -> Result<(), StoreError> {
    let named = |row: &ContactRow| (row.stage != Stage::Removed).then(|| name_key(txn, &row.name));
    let (old, new) = (before.and_then(named), named(row));
    if old != new {
        if let Some(old) = old {
            txn.delete::<Names>(&old)?;
        }
        if let Some(new) = new {
            txn.put::<Names>(&new, &id)?;
        }
    }
    index(txn, id, before, row)?;
    txn.put::<Contacts>(&id, row)
}

/// Brings what leads to a row by its address, handle or identity to where the row is now.
pub(crate) fn index(
    txn: &Txn<'_>,
    id: ContactId,
    before: Option<&ContactRow>,
    row: &ContactRow,
) -> Result<(), StoreError> {
    let paths = before.map(|row| row.paths.as_slice()).unwrap_or_default();
    if paths != row.paths {
        index_paths(txn, id, paths, row)?;
    }
    let identity = before.and_then(|row| row.identity);
    if identity != row.identity {
        if let Some(old) = identity {
            txn.delete::<Identities>(&(identity_key(txn, old), id))?;
        }
        if let Some(new) = row.identity {
            txn.put::<Identities>(&(identity_key(txn, new), id), &())?;
        }
    }
    Ok(())
}

fn index_paths(
    txn: &Txn<'_>,
    id: ContactId,
    before: &[PathRow],
    row: &ContactRow,
) -> Result<(), StoreError> {
    for path in before {
        if !row.paths.iter().any(|kept| (kept.relay, kept.handle) == (path.relay, path.handle)) {
            txn.delete::<Handles>(&(path.relay, path.handle))?;
        }
        txn.delete::<Addresses>(&(address_key(txn, path.relay, &path.user), id))?;
    }
    for path in &row.paths {
        txn.put::<Handles>(&(path.relay, path.handle), &id)?;
        txn.put::<Addresses>(&(address_key(txn, path.relay, &path.user), id), &())?;
    }
    Ok(())
}

fn address_key(db: &impl Read, relay: RelayId, user: &Username) -> [u8; 16] {
    let mut address = relay.0.to_be_bytes().to_vec();
    address.extend_from_slice(user.as_str().as_bytes());
    db.sealer().blind(Addresses::NAME, &address)
}

fn identity_key(db: &impl Read, identity: Key) -> [u8; 16] {
    db.sealer().blind(Identities::NAME, &identity.0)
}

fn name_key(db: &impl Read, name: &str) -> [u8; 16] {
    db.sealer().blind(Names::NAME, name.as_bytes())
}
