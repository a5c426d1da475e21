//! Contact rows: `(owner, handle) → row`, directed. Two rows that are accepted and point at each
//! other make a pair; nothing else is ever looked at when a message passes.

use ams_wire::from_relay::RowState;
use ams_wire::id::{Blob, Handle};
use ams_wire::username::Username;
use minicbor::{Decode, Encode};

use super::ASK_LIFE;

/// First byte of a stored value.
const VERSION: u8 = 1;

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Standing {
    /// The owner asked.
    #[n(0)]
    Asked,
    /// Both agreed.
    #[n(1)]
    Accepted,
    /// The other side declined; the owner goes on seeing `Asked`.
    #[n(2)]
    Refused,
}

/// One contact row.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ContactRow {
    /// The contact's name, which need not exist.
    #[n(0)]
    pub peer: Username,
    /// Where it stands.
    #[n(1)]
    pub standing: Standing,
    /// The owner blocks it.
    #[n(2)]
    pub blocked: bool,
    /// The contact's handle, once accepted.
    #[n(3)]
    pub peer_handle: Option<Handle>,
    /// When the introduction was put there, seconds since 1970.
    #[n(4)]
    pub asked_at: u64,
    /// The owner's introduction, until it is answered.
    #[n(5)]
    pub intro: Option<Blob>,
    /// The contact's approval, until the owner fetched it.
    #[n(6)]
    pub approval: Option<Blob>,
}

impl ContactRow {
    /// A row that asks.
    pub fn asking(peer: Username, intro: Blob, now: u64) -> Self {
        Self {
            peer,
            standing: Standing::Asked,
            blocked: false,
            peer_handle: None,
            asked_at: now,
            intro: Some(intro),
            approval: None,
        }
    }

    /// As its owner may see it.
    pub fn shown(&self) -> RowState {
        match self.standing {
            _ if self.blocked => RowState::Blocked,
            Standing::Accepted => RowState::Accepted,
            Standing::Asked | Standing::Refused => RowState::Asked,
        }
    }

    /// The introduction was never answered, for 14 days: the row is gone.
    pub fn is_expired(&self, now: u64) -> bool {
        self.standing != Standing::Accepted && self.is_stale(now)
    }

    /// The introduction is too old to be answered.
    pub fn is_stale(&self, now: u64) -> bool {
        self.asked_at.saturating_add(ASK_LIFE) <= now
    }

    /// Whether somebody may see and answer the introduction.
    pub fn is_answerable(&self, now: u64) -> bool {
        self.intro.is_some()
            && !self.blocked
            && self.standing != Standing::Refused
            && !self.is_stale(now)
    }

    /// The contact's handle, if this side lets traffic pass.
    pub fn open_to(&self) -> Option<Handle> {
        (self.standing == Standing::Accepted && !self.blocked).then_some(self.peer_handle).flatten()
    }

    /// What an introduction put on this row makes of it; `None` where it cannot be put there.
    pub fn with_intro(mut self, to: &Username, intro: Blob, now: u64) -> Option<Self> {
        if self.peer != *to || self.blocked {
            return None;
        }
        // The same bytes again are a repetition after a lost answer, and change nothing; a refused
        // row stays refused.
        if self.intro.as_ref() == Some(&intro) && !self.is_stale(now) {
            return Some(self);
        }
        if self.standing == Standing::Refused {
            self.standing = Standing::Asked;
        }
        self.intro = Some(intro);
        self.asked_at = now;
        Some(self)
    }

    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(VERSION, self)
    }

    /// Reads the stored form; `None` when it is damaged or of a later version.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        decode(VERSION, bytes)
    }
}

/// `version ‖ CBOR`.
pub(super) fn encode<T: Encode<()>>(version: u8, value: &T) -> Vec<u8> {
    let mut out = vec![version];
    let encoded = minicbor::encode(value, &mut out);
    debug_assert!(encoded.is_ok(), "a Vec takes every byte");
    out
}

pub(super) fn decode<T: for<'b> Decode<'b, ()>>(version: u8, bytes: &[u8]) -> Option<T> {
    let (&found, body) = bytes.split_first()?;
    if found != version {
        return None;
    }
    let mut decoder = minicbor::Decoder::new(body);
    let value = decoder.decode().ok()?;
    (decoder.position() == body.len()).then_some(value)
}
