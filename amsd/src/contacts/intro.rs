//! Introductions that came, and what became of each: one that comes again is answered alike.

use ams_rpc::types::{IncomingRequest, Time};
use ams_wire::id::{Handle, IntroId, Key};
use ams_wire::username::Username;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::by_handle;
use super::row::ContactRow;
use crate::relay::RelayId;
use crate::store::{Read, StoreError, Table, Txn};

/// Most answers to one contact that are kept.
const MAX_ANSWERS: usize = 4;
/// Within so long at most as many introductions of one contact are answered, milliseconds. A daemon
/// renews once in that time; each answer costs a key agreement and a commit.
const ANSWERS_SPAN: i64 = 15 * 60 * 1000;
/// How long an introduction's answer is kept: it expires after 14 days, and the relay shows it no
/// more. By our clock: what an introduction says of its end is its maker's word.
const INTRO_LIFE: i64 = 15 * 24 * 60 * 60 * 1000;

/// An introduction and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct IntroRow {
    /// Where it came.
    #[n(0)]
    pub relay: RelayId,
    /// Who asks there.
    #[n(1)]
    pub from: Username,
    /// The asker's handle.
    #[n(2)]
    pub their_handle: Handle,
    /// The asker's identity key.
    #[n(3)]
    pub identity: Key,
    /// Milliseconds since 1970.
    #[n(4)]
    pub at: i64,
    /// It comes from somebody who is a contact already.
    #[n(5)]
    pub again: bool,
    /// What became of it.
    #[n(6)]
    pub answer: Answer,
    /// Of somebody who asks directly: the key of its device.
    #[n(7)]
    pub link_key: Option<Key>,
    /// And from where, blinded.
    #[n(8)]
    pub source: Option<ByteVec>,
}

/// What became of an introduction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// Nothing yet; the introduction itself.
    #[n(0)]
    Waiting(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Approved; our handle and the sealed approval.
    #[n(1)]
    Approved(#[n(0)] Handle, #[cbor(n(1), with = "minicbor::bytes")] Vec<u8>),
    /// Refused.
    #[n(2)]
    Refused,
}

/// Introduction → what became of it.
pub struct Intros;
impl Table for Intros {
    const NAME: &'static str = "intros";
    type Key = IntroId;
    type Row = IntroRow;
}

/// The introductions that wait for the user.
pub struct Unanswered;
impl Table for Unanswered {
    const NAME: &'static str = "intros_waiting";
    type Key = IntroId;
    type Row = ();
}

/// Notes what became of one.
pub(super) fn put(txn: &Txn<'_>, id: IntroId, row: &IntroRow) -> Result<(), StoreError> {
    match row.answer {
        Answer::Waiting(_) => txn.put::<Unanswered>(&id, &())?,
        Answer::Approved(..) | Answer::Refused => txn.delete::<Unanswered>(&id)?,
    }
    txn.put::<Intros>(&id, row)
}

/// Forgets one.
pub(crate) fn forget(txn: &Txn<'_>, id: IntroId) -> Result<(), StoreError> {
    txn.delete::<Unanswered>(&id)?;
    txn.delete::<Intros>(&id)
}

/// How many wait for the user.
pub(super) fn count_waiting(db: &impl Read) -> Result<usize, StoreError> {
    Ok(db.list::<Unanswered>(&())?.len())
}

/// Files what an earlier version did not.
pub(crate) fn index(txn: &Txn<'_>) -> Result<(), StoreError> {
    for (id, row) in txn.list::<Intros>(&())? {
        put(txn, id, &row)?;
    }
    Ok(())
}

/// Forgets introductions that nobody shows any more.
pub(crate) fn prune(txn: &Txn<'_>, now: i64) -> Result<(), StoreError> {
    for (id, row) in txn.list::<Intros>(&())? {
        if now.saturating_sub(row.at) >= INTRO_LIFE {
            forget(txn, id)?;
        }
    }
    Ok(())
}

impl IntroRow {
    /// The request as the user sees it.
    pub fn shown(&self, id: IntroId, nick: &str) -> IncomingRequest {
        let identity = ams_crypto::identity::IdentityPublic::from_bytes(self.identity.0);
        IncomingRequest {
            id: request_id(id),
            from: match self.relay.is_direct() {
                true => "direct".to_owned(),
                false => format!("{}@{nick}", self.from),
            },
            name: self.from.to_string(),
            fingerprint: identity.map(|key| key.fingerprint()).unwrap_or_default(),
            again: self.again,
            received: Time::from_millis(self.at),
        }
    }
}

/// What a request is called: the first half of its introduction's hash.
pub fn request_id(id: IntroId) -> String {
    id.to_string().chars().take(16).collect()
}

/// Whether one more introduction by `identity` is answered now. Of the answers that it had, the
/// newest few are kept.
pub(super) fn may_answer(txn: &Txn<'_>, identity: Key, now: i64) -> Result<bool, StoreError> {
    let mut answered = txn.list::<Intros>(&())?;
    answered
        .retain(|(_, row)| row.identity == identity && matches!(row.answer, Answer::Approved(..)));
    answered.sort_by_key(|(_, row)| std::cmp::Reverse(row.at));
    let lately = answered.iter().filter(|(_, row)| {
        // One from a clock that was ahead holds up nothing.
        (0..ANSWERS_SPAN).contains(&now.saturating_sub(row.at))
    });
    if lately.count() >= MAX_ANSWERS {
        return Ok(false);
    }
    for (id, _) in answered.into_iter().skip(MAX_ANSWERS.saturating_sub(1)) {
        forget(txn, id)?;
    }
    Ok(true)
}

/// Whether the contact that an introduction was approved for is no longer one.
pub(super) fn is_void(db: &impl Read, known: &IntroRow) -> Result<bool, StoreError> {
    let Answer::Approved(handle, _) = &known.answer else { return Ok(false) };
    let contact = by_handle(db, known.relay, *handle)?;
    Ok(contact.is_none_or(|(_, row)| row.identity != Some(known.identity)))
}

/// Forgets what a contact that is removed had asked: asking again, it is asked about anew.
pub(super) fn forget_of(txn: &Txn<'_>, contact: &ContactRow) -> Result<(), StoreError> {
    for (id, row) in txn.list::<Intros>(&())? {
        let theirs = Some(row.identity) == contact.identity;
        if theirs && matches!(row.answer, Answer::Approved(..)) {
            forget(txn, id)?;
        }
    }
    Ok(())
}

/// Every request that waits for the user, oldest first.
pub fn waiting(db: &impl Read) -> Result<Vec<(IntroId, IntroRow)>, StoreError> {
    let mut rows = Vec::new();
    for (id, ()) in db.list::<Unanswered>(&())? {
        rows.extend(db.get::<Intros>(&id)?.map(|row| (id, row)));
    }
    rows.sort_by_key(|(_, row)| row.at);
    Ok(rows)
}

/// The request that a direct stranger made who proved this identity, if one waits. What a stranger
/// is called says too little: it is the beginning of a fingerprint.
pub(super) fn waiting_of(
    db: &impl Read,
    identity: Key,
) -> Result<Option<(IntroId, IntroRow)>, StoreError> {
    let rows = waiting(db)?;
    Ok(rows.into_iter().rfind(|(_, row)| row.relay.is_direct() && row.identity == identity))
}

/// The request of that address, if one waits.
pub(super) fn waiting_from(
    db: &impl Read,
    relay: RelayId,
    user: &Username,
) -> Result<Option<(IntroId, IntroRow)>, StoreError> {
    let rows = waiting(db)?;
    Ok(rows.into_iter().rfind(|(_, row)| row.relay == relay && row.from == *user))
}
