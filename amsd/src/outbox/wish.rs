//! What is wanted of one message beyond what the config says: a policy of its own, an end of trying,
//! a key by which a newer one replaces it, the only way that it may go.
//!
//! A wish lies in the message's row. What has to be found by it (by the time, by the key, by the
//! way) has an index, from which it leaves when nothing more is tried for the message.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ams_rpc::types::Via;
use ams_wire::id::MessageId;
use minicbor::{Decode, Encode};

use super::row::{Out, OutState};
use super::state::change;
use crate::contacts::{ContactId, ContactRow};
use crate::relay::{self, RelayId};
use crate::settings::Undeliverable;
use crate::store::{Read, StoreError, Table, Txn};

/// Messages whose time is over that are ended in one transaction.
const MAX_EXPIRED: usize = 256;

/// What is wanted of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Wish {
    /// What becomes of it when it cannot be delivered; `None`: what the config says then.
    #[n(0)]
    pub policy: Option<Undeliverable>,
    /// When trying ends, milliseconds since 1970 by this machine's clock.
    #[n(1)]
    pub expires_at: Option<i64>,
    /// A newer message to the contact with the same key replaces it.
    #[n(2)]
    pub key: Option<String>,
    /// The only way that it may go.
    #[n(3)]
    pub only: Option<Way>,
}

/// A way that a message may go.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Way {
    /// From daemon to daemon.
    #[n(0)]
    Direct,
    /// Through a relay, whichever.
    #[n(1)]
    Relay,
    /// Through the relay of this nickname.
    #[n(2)]
    Through(#[n(0)] String),
}

impl Way {
    /// Why a message that may only go this way can stay where it is.
    pub fn reason(&self) -> String {
        match self {
            Self::Direct => "goes over a direct link only".to_owned(),
            Self::Relay => "goes through a relay only".to_owned(),
            Self::Through(nick) => format!("goes through the relay {nick} only"),
        }
    }

    /// Why it stays where it is when it is for `contact`, who may have no such way at all.
    pub fn reason_for(&self, db: &impl Read, contact: &ContactRow) -> Result<String, StoreError> {
        let name = &contact.name;
        Ok(match self.leads_to(db, contact)? {
            true => self.reason(),
            false => format!("{}, and {name} has no such way yet", self.reason()),
        })
    }

    /// Whether the contact has such a way, be it connected or not.
    pub fn leads_to(&self, db: &impl Read, contact: &ContactRow) -> Result<bool, StoreError> {
        let mut there = contact.paths.iter().filter(|path| !path.missing).map(|path| path.relay);
        Ok(match self {
            Self::Direct => there.any(RelayId::is_direct),
            Self::Relay => there.any(|relay| !relay.is_direct()),
            Self::Through(nick) => match relay::by_nick(db, nick)? {
                Some((relay, _)) => there.any(|there| there == relay),
                None => false,
            },
        })
    }
}

impl From<Via> for Way {
    fn from(via: Via) -> Self {
        match via {
            Via::Direct => Self::Direct,
            Via::Relay => Self::Relay,
            Via::Through(nick) => Self::Through(nick),
        }
    }
}

impl From<Way> for Via {
    fn from(way: Way) -> Self {
        match way {
            Way::Direct => Self::Direct,
            Way::Relay => Self::Relay,
            Way::Through(nick) => Self::Through(nick),
        }
    }
}

/// When trying ends (milliseconds since 1970), contact and `seq`, of every message that has such an
/// end and is not final.
pub struct Deadlines;
impl Table for Deadlines {
    const NAME: &'static str = "out_deadlines";
    type Key = (u64, ContactId, u64);
    type Row = ();
}

/// Contact, blinded key and `seq` of every message that has a key and is not final.
pub struct Keyed;
impl Table for Keyed {
    const NAME: &'static str = "out_keyed";
    type Key = (ContactId, [u8; 16], u64);
    type Row = ();
}

/// Contact and `seq` of every message that may only go one way and is not final.
pub struct OneWay;
impl Table for OneWay {
    const NAME: &'static str = "out_one_way";
    type Key = (ContactId, u64);
    type Row = Way;
}

/// The message can be found by what is wanted of it.
pub(crate) fn note(
    txn: &Txn<'_>,
    contact: ContactId,
    seq: u64,
    wish: &Wish,
) -> Result<(), StoreError> {
    if let Some(at) = wish.expires_at {
        txn.put::<Deadlines>(&(millis(at), contact, seq), &())?;
    }
    if let Some(key) = &wish.key {
        txn.put::<Keyed>(&(contact, blind(txn, key), seq), &())?;
    }
    if let Some(way) = &wish.only {
        txn.put::<OneWay>(&(contact, seq), way)?;
    }
    Ok(())
}

/// Nothing more is tried for the message.
pub(super) fn forget(
    txn: &Txn<'_>,
    contact: ContactId,
    seq: u64,
    wish: &Wish,
) -> Result<(), StoreError> {
    if let Some(at) = wish.expires_at {
        txn.delete::<Deadlines>(&(millis(at), contact, seq))?;
    }
    if let Some(key) = &wish.key {
        txn.delete::<Keyed>(&(contact, blind(txn, key), seq))?;
    }
    if wish.only.is_some() {
        txn.delete::<OneWay>(&(contact, seq))?;
    }
    Ok(())
}

/// The message is kept from now on, whatever the config says.
pub(super) fn keep(txn: &Txn<'_>, contact: ContactId, seq: u64) -> Result<(), StoreError> {
    let Some(mut row) = txn.get::<Out>(&(contact, seq))? else { return Ok(()) };
    if !row.state.is_final() {
        row.wish.get_or_insert_default().policy = Some(Undeliverable::Keep);
        txn.put::<Out>(&(contact, seq), &row)?;
    }
    Ok(())
}

/// `successor` has the key: what has it and is not under way goes no more.
pub(super) fn replace(
    txn: &Txn<'_>,
    contact: ContactId,
    key: &str,
    successor: MessageId,
    now: i64,
) -> Result<(), StoreError> {
    let reason = format!("replaced by {successor}");
    for ((_, _, seq), ()) in txn.list::<Keyed>(&(contact, blind(txn, key)))? {
        change(txn, contact, seq, now, None, Some(&reason), |row| match row.state {
            OutState::Queued | OutState::Undelivered | OutState::Waiting => {
                Some(OutState::Replaced)
            }
            _ => None,
        })?;
    }
    Ok(())
}

/// Ends what had until now, some of it at a time; answers when the next one's time is over.
pub fn expire_due(txn: &Txn<'_>, now: i64) -> Result<Option<i64>, StoreError> {
    let (mut due, mut next) = (Vec::new(), None);
    txn.each::<Deadlines>(&(), None, |key, ()| {
        let at = i64::try_from(key.0).unwrap_or(i64::MAX);
        if at > now || due.len() >= MAX_EXPIRED {
            next = Some(at);
            return ControlFlow::Break(());
        }
        due.push(key);
        ControlFlow::Continue(())
    })?;
    for key in due {
        let (_, contact, seq) = key;
        txn.delete::<Deadlines>(&key)?;
        change(txn, contact, seq, now, None, Some("its time to live is over"), |row| {
            (!row.state.is_final()).then_some(OutState::Expired)
        })?;
    }
    Ok(next)
}

/// Messages to the contact that may only go one way.
pub fn one_way(db: &impl Read, contact: ContactId) -> Result<BTreeMap<u64, Way>, StoreError> {
    let rows = db.list::<OneWay>(&contact)?;
    Ok(rows.into_iter().map(|((_, seq), way)| (seq, way)).collect())
}

/// A relay has another nickname: what may only go through it goes on through it.
pub(crate) fn renamed(txn: &Txn<'_>, before: &str, nick: &str) -> Result<(), StoreError> {
    for ((contact, seq), way) in txn.list::<OneWay>(&())? {
        if way != Way::Through(before.to_owned()) {
            continue;
        }
        let way = Way::Through(nick.to_owned());
        txn.put::<OneWay>(&(contact, seq), &way)?;
        if let Some(mut row) = txn.get::<Out>(&(contact, seq))? {
            row.wish.get_or_insert_default().only = Some(way);
            txn.put::<Out>(&(contact, seq), &row)?;
        }
    }
    Ok(())
}

/// Whole seconds until trying ends, for a relay: at least one, and 0 where there is no end.
pub fn seconds_left(wish: Option<&Wish>, now: i64) -> u32 {
    let Some(at) = wish.and_then(|wish| wish.expires_at) else { return 0 };
    let left = millis(at).saturating_sub(millis(now)).div_ceil(1000);
    u32::try_from(left).unwrap_or(u32::MAX).max(1)
}

/// Nothing was before 1970.
fn millis(at: i64) -> u64 {
    u64::try_from(at).unwrap_or(0)
}

/// What somebody chose as a key is not readable on disk.
fn blind(db: &impl Read, key: &str) -> [u8; 16] {
    db.sealer().blind(Keyed::NAME, key.as_bytes())
}
