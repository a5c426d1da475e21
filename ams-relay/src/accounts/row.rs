//! Contact rows: `(owner, handle) → row`, directed. Two rows that are accepted and point at each
//! other make a pair; nothing else is ever looked at when a message passes.

use ams_wire::from_relay::RowState;
use ams_wire::id::{Blob, Handle, RoutingId};
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
    /// The contact's name, which need not exist; the owner's own, who can be no contact, while it is
    /// asked by a link.
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
    /// The owner alone says that both agreed. Nobody else ever sees that, the owner included.
    #[cbor(n(7), default)]
    pub is_claim: bool,
    /// The introduction on this accepted row was declined. It stays until there is another one, so
    /// that its owner cannot tell by what counts as the same again.
    #[cbor(n(8), default)]
    pub is_declined: bool,
    /// The contact link by which the owner asks, until whoever made it answered.
    #[n(9)]
    pub by: Option<RoutingId>,
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
            is_claim: false,
            is_declined: false,
            by: None,
        }
    }

    /// A row that asks by a contact link.
    pub fn redeeming(owner: Username, by: RoutingId, intro: Blob, now: u64) -> Self {
        Self { by: Some(by), ..Self::asking(owner, intro, now) }
    }

    /// A row that its owner's approval makes; `is_claim` where the other side wants none.
    pub fn approving(peer: Username, peer_handle: Handle, is_claim: bool, now: u64) -> Self {
        Self {
            peer,
            standing: Standing::Accepted,
            blocked: false,
            peer_handle: Some(peer_handle),
            asked_at: now,
            intro: None,
            approval: None,
            is_claim,
            is_declined: false,
            by: None,
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

    /// Whether the introduction is shown to the one whom it is for. On a claim it is not: it would
    /// be a request that counts for no limit.
    pub fn is_listed(&self) -> bool {
        self.intro.is_some()
            && self.standing != Standing::Refused
            && !self.is_declined
            && !self.is_claim
    }

    /// Whether somebody may see and answer the introduction.
    pub fn is_answerable(&self, now: u64) -> bool {
        self.is_listed() && !self.blocked && !self.is_stale(now)
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
        self.is_declined = false;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted() -> ContactRow {
        let name = Username::new("bob").unwrap();
        ContactRow::approving(name, Handle([2; 16]), false, 1_000)
    }

    /// What a relay wrote before there were claims and declined renewals.
    const OLD: &str = "01a50063626f62010102f4035002020202020202020202020202020202041903e8";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
        digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn an_old_row_is_read_and_means_what_it_meant() {
        assert_eq!(ContactRow::from_bytes(&bytes(OLD)), Some(accepted()));
    }

    #[test]
    fn the_stored_form_is_frozen_and_each_bent_byte_does_no_harm() {
        let by = Some(RoutingId([3; 16]));
        let row = ContactRow { is_claim: true, is_declined: true, by, ..accepted() };
        let link = "03".repeat(16);
        let golden = bytes(&format!("{}07f508f50950{link}", OLD.replacen("a5", "a8", 1)));
        assert_eq!(row.to_bytes(), golden);
        assert_eq!(ContactRow::from_bytes(&golden), Some(row));
        for at in 0..golden.len() {
            for bit in 0..8 {
                let mut bent = golden.clone();
                bent[at] ^= 1 << bit;
                // Another row or none, and never a panic.
                if let Some(row) = ContactRow::from_bytes(&bent) {
                    assert!(ContactRow::from_bytes(&row.to_bytes()).is_some());
                }
            }
            assert_eq!(ContactRow::from_bytes(&golden[..at]), None);
        }
    }
}
