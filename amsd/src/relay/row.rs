//! What is kept of an account at a relay.

use ams_wire::address::{HostPort, Link, RELAY_PORT, RelayLink};
use ams_wire::id::{Key, WorkMark};
use ams_wire::intro::Place;
use ams_wire::username::Username;
use minicbor::{Decode, Encode};

use crate::profile::{self, Me};
use crate::store::{self, Read, StoreError, Table, Txn};

/// A relay that this daemon has, or had, an account at; or the direct way to one contact, which is a
/// path like the others to whoever seals, sends and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct RelayId(#[n(0)] pub u32);

/// Numbers from here on are those of direct ways.
const DIRECT: u32 = 1 << 31;

impl RelayId {
    /// The direct way of a stranger, who has none yet.
    pub const STRANGER: Self = Self(DIRECT);

    /// The `number`-th direct way, from 1.
    pub fn direct(number: u64) -> Self {
        // No profile meets two thousand million people.
        Self(DIRECT.saturating_add(u32::try_from(number).unwrap_or(u32::MAX)))
    }

    /// Whether this is a direct way.
    pub fn is_direct(self) -> bool {
        self.0 >= DIRECT
    }

    /// How a message went, for people: `relay:` and the relay's nickname, or `direct`.
    pub fn via(self, nick: &str) -> String {
        if self.is_direct() { "direct".to_owned() } else { format!("relay:{nick}") }
    }
}

impl store::Key for RelayId {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        store::Key::take(bytes).map(Self)
    }
}

/// One account.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RelayRow {
    /// The name here, unique; empty until the account is enrolled, and of a restored one the name
    /// that it had.
    #[n(0)]
    pub nick: String,
    /// `HOST:PORT`.
    #[n(1)]
    pub at: String,
    /// The relay's static key.
    #[n(2)]
    pub key: Key,
    /// Secret of this device's own static key for this relay. Committed before the first byte.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub device_secret: [u8; 32],
    /// The account.
    #[n(4)]
    pub user: Username,
    /// The relay is known to have taken this device's key.
    #[n(5)]
    pub enrolled: bool,
    /// The user wants it connected.
    #[n(6)]
    pub wanted: bool,
    /// Why the relay will not have this device, until the user does something.
    #[n(7)]
    pub refused: Option<Refusal>,
    /// The relay's counter when it refused this profile as a copy.
    #[n(8)]
    pub relay_counter: u64,
    /// The user wants the account deleted, and the relay may have done so.
    #[n(9)]
    pub deleting: bool,
    /// This device was enrolled on an account that another one had: rows that are not known here
    /// are its contacts, to be met again.
    #[n(10)]
    pub adopting: bool,
}

impl RelayRow {
    /// What stands for an account on direct ways, where nobody has one: who we are there.
    pub fn direct(me: &Me) -> Option<Self> {
        Some(Self {
            nick: "direct".to_owned(),
            at: String::new(),
            key: Key([0; 32]),
            device_secret: [0; 32],
            user: profile::direct_name(me.public())?,
            enrolled: false,
            wanted: false,
            refused: None,
            relay_counter: 0,
            deleting: false,
            adopting: false,
        })
    }

    /// The account that tests have: alice's at `home`.
    #[cfg(test)]
    pub(crate) fn home() -> Self {
        Self {
            nick: "home".to_owned(),
            at: "home.test:7311".to_owned(),
            key: Key([1; 32]),
            device_secret: [9; 32],
            user: Username::new("alice").unwrap(),
            enrolled: true,
            wanted: true,
            refused: None,
            relay_counter: 0,
            deleting: false,
            adopting: false,
        }
    }

    /// Where introductions say that they are for.
    pub fn place(&self) -> Place {
        if self.at.is_empty() { Place::Direct } else { Place::Relay(Key(self.key.0)) }
    }
}

/// The account at `relay`, or what stands for it on a direct way.
pub fn account(db: &impl Read, me: &Me, relay: RelayId) -> Result<Option<RelayRow>, StoreError> {
    if relay.is_direct() { Ok(RelayRow::direct(me)) } else { db.get::<Relays>(&relay) }
}

/// Why a relay will not have this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Refusal {
    /// Another device was enrolled on the account, or the account is gone.
    #[n(0)]
    Replaced,
    /// This profile is an old copy, or runs twice.
    #[n(1)]
    Cloned,
}

impl Refusal {
    /// For people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Replaced => {
                "the relay no longer takes this device: another one was enrolled, or the account \
                 is disabled or gone"
            }
            Self::Cloned => {
                "this profile is an old copy, or runs twice; if no other daemon uses it, resume"
            }
        }
    }
}

/// Relay → row.
pub struct Relays;
impl Table for Relays {
    const NAME: &'static str = "relays";
    type Key = RelayId;
    type Row = RelayRow;
}

/// Relay → work mark. A table of its own: it changes with every envelope.
pub struct Marks;
impl Table for Marks {
    const NAME: &'static str = "marks";
    type Key = RelayId;
    type Row = WorkMark;
}

/// The work mark as it stands.
pub fn mark(db: &impl Read, relay: RelayId) -> Result<WorkMark, StoreError> {
    Ok(db.get::<Marks>(&relay)?.unwrap_or_default())
}

/// Raises the work mark: called in every commit that seals or opens an envelope over `relay`.
pub fn raise_mark(txn: &Txn<'_>, relay: RelayId) -> Result<WorkMark, StoreError> {
    let mark = WorkMark {
        counter: mark(txn, relay)?.counter.saturating_add(1),
        nonce: ams_crypto::random::bytes(),
    };
    txn.put::<Marks>(&relay, &mark)?;
    Ok(mark)
}

/// Forgets the work mark, with the account.
pub(super) fn reset_mark(txn: &Txn<'_>, relay: RelayId) -> Result<(), StoreError> {
    txn.delete::<Marks>(&relay)
}

/// Goes on behind the relay's counter, which is that of another copy of this profile.
pub(super) fn pass_mark(txn: &Txn<'_>, relay: RelayId, counter: u64) -> Result<(), StoreError> {
    let counter = counter.max(mark(txn, relay)?.counter).saturating_add(1);
    txn.put::<Marks>(&relay, &WorkMark { counter, nonce: ams_crypto::random::bytes() })
}

/// The address link of the relay that an account is at; `None`: its address is none.
pub fn link_of(row: &RelayRow) -> Option<String> {
    let at = HostPort::parse(&row.at, RELAY_PORT).ok()?;
    Some(Link::Relay(RelayLink { at, relay: row.key }).to_string())
}

/// The account called `nick`.
pub fn by_nick(db: &impl Read, nick: &str) -> Result<Option<(RelayId, RelayRow)>, StoreError> {
    Ok(db.list::<Relays>(&())?.into_iter().find(|(_, row)| row.enrolled && row.nick == nick))
}
