//! What is kept of direct ways: one for each contact that has any, and what is still to be told over
//! it.

use ams_crypto::introduction;
use ams_wire::id::{Handle, IntroId, Key};
use ams_wire::to_relay::ToRelay;
use minicbor::{Decode, Encode};

use crate::contacts::{self, ContactId, ContactRow};
use crate::fact::Fact;
use crate::profile;
use crate::relay::RelayId;
use crate::store::{Read, StoreError, Table, Txn};

/// Our handle for a contact on its direct way: there is one contact on each.
pub const HANDLE: Handle = Handle([0; 16]);
/// Addresses that are kept of one contact.
const MAX_ADDRESSES: usize = 4;
/// Approvals of one contact that wait to be told: it has kept the secrets of few requests.
const MAX_APPROVALS: usize = 4;

/// One direct way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DirectRow {
    /// The key of the contact's device on direct links; `None`: to be learnt at a first meeting.
    #[n(0)]
    pub link_key: Option<Key>,
    /// Where the user, or who answered there, said to dial: `HOST:PORT`, the newest first.
    #[n(1)]
    pub addresses: Vec<String>,
    /// The user does not want it connected.
    #[n(2)]
    pub off: bool,
    /// The contact is known to know our device: by an introduction that it kept, or by its own.
    #[n(3)]
    pub noted: bool,
    /// Where the contact itself says that it is.
    #[cbor(n(4), default)]
    pub offered: Vec<String>,
    /// It came of what both offer, and of nothing that the user did: it ends when one of them does
    /// not offer it any more.
    #[cbor(n(5), default)]
    pub by_offer: bool,
}

/// Direct way → row.
pub struct Directs;
impl Table for Directs {
    const NAME: &'static str = "directs";
    type Key = RelayId;
    type Row = DirectRow;
}

/// An approval that the contact did not say it has.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ApprovalRow {
    /// Sealed.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub approval: Vec<u8>,
    /// In which order they were given.
    #[n(1)]
    pub number: u64,
}

/// Direct way and SHA-256 of an approval → approval.
pub struct Approvals;
impl Table for Approvals {
    const NAME: &'static str = "direct_approvals";
    type Key = (RelayId, IntroId);
    type Row = ApprovalRow;
}

/// A way that was none before.
pub fn make(txn: &Txn<'_>, row: &DirectRow) -> Result<RelayId, StoreError> {
    let id = RelayId::direct(profile::count(txn, "directs")?);
    put(txn, id, row)?;
    Ok(id)
}

/// Keeps a way as it is now.
pub fn put(txn: &Txn<'_>, id: RelayId, row: &DirectRow) -> Result<(), StoreError> {
    txn.put::<Directs>(&id, row)?;
    txn.tell(Fact::Peers);
    Ok(())
}

/// Forgets a way, with the contact or what it was for.
pub fn forget(txn: &Txn<'_>, id: RelayId) -> Result<(), StoreError> {
    txn.delete_all::<Approvals>(&id)?;
    txn.delete::<Directs>(&id)?;
    txn.tell(Fact::Peers);
    Ok(())
}

/// The contact that a way leads to, and the way, where anything is wanted of it.
pub fn wanted(
    db: &impl Read,
    id: RelayId,
) -> Result<Option<(ContactId, ContactRow, DirectRow)>, StoreError> {
    let Some(row) = db.get::<Directs>(&id)? else { return Ok(None) };
    let Some((contact, known)) = contacts::by_handle(db, id, HANDLE)? else { return Ok(None) };
    let is_off = row.off
        || known.blocked
        || known.stage == contacts::Stage::Removed
        || (row.by_offer && row.link_key.is_none());
    Ok((!is_off).then_some((contact, known, row)))
}

impl DirectRow {
    /// The row with one more address, which is tried first.
    #[must_use]
    pub fn at(mut self, address: String) -> Self {
        self.addresses.retain(|known| *known != address);
        self.addresses.insert(0, address);
        self.addresses.truncate(MAX_ADDRESSES);
        self
    }

    /// Where to dial, what is likely to be right first; none: the contact dials.
    pub fn places(&self) -> Vec<&String> {
        let mut places: Vec<_> = self.offered.iter().collect();
        places.extend(self.addresses.iter().filter(|at| !self.offered.contains(at)));
        places
    }
}

/// What would be told to a relay is done on a direct way in its own manner: there is nobody in
/// between who has to know.
pub fn instead(txn: &Txn<'_>, id: RelayId, frame: &ToRelay<'_>) -> Result<(), StoreError> {
    match frame {
        // What is asked lies on disk, and is told on every link until it is answered.
        ToRelay::Ask(_) => txn.tell(Fact::Asks(id)),
        ToRelay::Approve(approve) => {
            let approval = approve.approval.as_bytes().to_vec();
            let key = (id, introduction::id(&approval));
            let number = profile::count(txn, "direct_approvals")?;
            txn.put::<Approvals>(&key, &ApprovalRow { approval, number })?;
            let waiting = approvals(txn, id)?;
            let over = waiting.len().saturating_sub(MAX_APPROVALS);
            for (old, _) in waiting.into_iter().take(over) {
                opened(txn, id, old)?;
            }
            txn.tell(Fact::Asks(id));
        }
        // Whether anything is wanted of the way shows in the contact's own row.
        ToRelay::Block(_) | ToRelay::Unblock(_) => txn.tell(Fact::Peers),
        ToRelay::Remove(_) => forget(txn, id)?,
        _ => {}
    }
    Ok(())
}

/// The approvals that wait to be told, in order.
pub(super) fn approvals(
    db: &impl Read,
    id: RelayId,
) -> Result<Vec<(IntroId, ApprovalRow)>, StoreError> {
    let mut rows = db.list::<Approvals>(&id)?;
    rows.sort_by_key(|(_, row)| row.number);
    Ok(rows.into_iter().map(|((_, hash), row)| (hash, row)).collect())
}

/// The contact has this approval.
pub(super) fn opened(txn: &Txn<'_>, id: RelayId, approval: IntroId) -> Result<(), StoreError> {
    txn.delete::<Approvals>(&(id, approval))
}
