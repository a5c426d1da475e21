//! What is kept of a root and of what was sealed under it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ams_crypto::olm;
use ams_crypto::pair::{RootKeys, Side};
use ams_wire::id::{IntroId, RootTag, WorkMark};
use ams_wire::receipt::Window;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::contacts::ContactId;
use crate::outbox::state;
use crate::relay::RelayId;
use crate::store::{Read, StoreError, Table, Txn};

/// One pair secret and its ratchet.
#[derive(Clone, Encode, Decode)]
#[cbor(map)]
pub struct RootRow {
    /// [`RootKeys::to_bytes`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub keys: Vec<u8>,
    /// Whether this side made the introduction.
    #[n(1)]
    pub requester: bool,
    /// The introduction.
    #[n(2)]
    pub intro: IntroId,
    /// How many roots of this contact were in use before it.
    #[n(3)]
    pub generation: u64,
    /// An envelope of the contact's under it was opened.
    #[n(4)]
    pub opened: bool,
    /// [`olm::OlmSession::to_bytes`].
    #[cbor(n(5), with = "minicbor::bytes")]
    pub ratchet: Vec<u8>,
    /// Counter of the next ciphertext, from 1.
    #[n(6)]
    pub next_ctr: u64,
    /// Counters of the contact's that were taken.
    #[n(7)]
    pub taken: Window,
    /// Milliseconds since 1970.
    #[n(8)]
    pub made_at: i64,
    /// Another copy of this profile may have sealed under it: nothing is sealed under it here.
    #[n(9)]
    pub retired: bool,
}

impl RootRow {
    /// A new root, nothing sealed or opened under it.
    pub fn new(
        keys: &RootKeys,
        side: Side,
        intro: IntroId,
        generation: u64,
        ratchet: &olm::OlmSession,
        now: i64,
    ) -> Self {
        Self {
            keys: keys.to_bytes().to_vec(),
            requester: side == Side::Requester,
            intro,
            generation,
            opened: false,
            ratchet: ratchet.to_bytes().to_vec(),
            next_ctr: 1,
            taken: Window::new(1),
            made_at: now,
            retired: false,
        }
    }

    /// The envelope keys.
    pub fn keys(&self) -> Result<RootKeys, StoreError> {
        RootKeys::from_bytes(&self.keys).ok_or(StoreError::Damaged(Roots::NAME))
    }

    /// Which part this side had.
    pub fn side(&self) -> Side {
        if self.requester { Side::Requester } else { Side::Approver }
    }

    /// The ratchet, as a copy to work on.
    pub fn ratchet(&self) -> Result<olm::OlmSession, StoreError> {
        olm::OlmSession::from_bytes(&self.ratchet).map_err(|_| StoreError::Damaged(Roots::NAME))
    }

    /// Whether this side may seal under it: the requester at once, the approver when something of
    /// the requester's was opened.
    pub fn can_seal(&self) -> bool {
        !self.retired && (self.requester || self.opened)
    }
}

/// Contact and root → row.
pub struct Roots;
impl Table for Roots {
    const NAME: &'static str = "roots";
    type Key = (ContactId, RootTag);
    type Row = RootRow;
}

/// A ciphertext that has no receipt yet. Its envelope stands in [`Envelopes`]: what is in a window is
/// looked at with every envelope that comes or goes, the bytes only when they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CipherRow {
    /// `seq` of the message in it; `None`: a full empty envelope.
    #[n(0)]
    pub seq: Option<u64>,
    // 1 was the envelope.
    /// The relay whose work mark was raised for it, and the mark.
    #[n(2)]
    pub relay: RelayId,
    /// The mark as of sealing.
    #[n(3)]
    pub mark: WorkMark,
}

/// Contact, root and counter → ciphertext.
pub struct Ciphers;
impl Table for Ciphers {
    const NAME: &'static str = "ciphers";
    type Key = (ContactId, RootTag, u64);
    type Row = CipherRow;
}

/// Contact, root and counter → envelope: it is sent again as the same bytes.
pub struct Envelopes;
impl Table for Envelopes {
    const NAME: &'static str = "envelopes";
    type Key = (ContactId, RootTag, u64);
    type Row = ByteVec;
}

/// Drops a ciphertext and its envelope.
pub fn drop_cipher(txn: &Txn<'_>, key: &(ContactId, RootTag, u64)) -> Result<(), StoreError> {
    txn.delete::<Ciphers>(key)?;
    txn.delete::<Envelopes>(key)
}

/// Drops the ciphertext of message `seq`, so that its slot is free and it is sealed anew if it
/// goes out again.
pub fn unseal(txn: &Txn<'_>, contact: ContactId, seq: u64) -> Result<(), StoreError> {
    for (key, cipher) in txn.list::<Ciphers>(&contact)? {
        if cipher.seq == Some(seq) {
            drop_cipher(txn, &key)?;
        }
    }
    Ok(())
}

/// Drops every key and ciphertext of a contact's.
pub fn forget(txn: &Txn<'_>, contact: ContactId) -> Result<(), StoreError> {
    for (key, _) in txn.list::<Ciphers>(&contact)? {
        drop_cipher(txn, &key)?;
    }
    txn.delete_all::<Roots>(&contact)
}

/// How long a root that was approved and never used is kept, milliseconds.
const UNUSED_LIFE: i64 = 14 * 24 * 60 * 60 * 1000;

/// Drops what was approved long ago and never used. A contact's only root stays: the approval of it
/// may still lie at the relay, and whoever fetches it then has nothing else to seal under.
pub(crate) fn prune(txn: &Txn<'_>, now: i64) -> Result<(), StoreError> {
    let mut of = BTreeMap::<_, Vec<_>>::new();
    txn.each::<Roots>(&(), None, |(contact, tag), root| {
        of.entry(contact).or_default().push((tag, root.made_at, root.requester || root.opened));
        ControlFlow::Continue(())
    })?;
    for (contact, mut roots) in of {
        // Used ones first, then the newest: the first of all stays.
        roots.sort_by_key(|(_, made_at, used)| (!used, Reverse(*made_at)));
        for (tag, made_at, used) in roots.into_iter().skip(1) {
            if !used && now.saturating_sub(made_at) >= UNUSED_LIFE {
                txn.delete::<Roots>(&(contact, tag))?;
            }
        }
    }
    Ok(())
}

/// The contact's roots, newest first; of one generation the bytewise lower introduction first.
pub fn roots(db: &impl Read, contact: ContactId) -> Result<Vec<(RootTag, RootRow)>, StoreError> {
    let rows = db.list::<Roots>(&contact)?;
    let mut rows: Vec<_> = rows.into_iter().map(|((_, tag), row)| (tag, row)).collect();
    rows.sort_by(|(_, a), (_, b)| b.generation.cmp(&a.generation).then(a.intro.cmp(&b.intro)));
    Ok(rows)
}

/// The root to seal under, if there is one.
///
/// Two that cross are of one generation. Each side begins with the one it asked for, and both end
/// with the lower introduction once each has opened something under it. Of several that this side
/// asked for and nobody used yet, the newest: the contact may have given up the others.
pub fn sealing_root(roots: &[(RootTag, RootRow)]) -> Option<&(RootTag, RootRow)> {
    let usable = || roots.iter().filter(|(_, root)| root.can_seal());
    let newest = usable().map(|(_, root)| root.generation).max()?;
    let of_newest = || usable().filter(|(_, root)| root.generation == newest);
    let opened = of_newest().filter(|(_, root)| root.opened).min_by_key(|(_, root)| root.intro);
    opened.or_else(|| of_newest().max_by_key(|(_, root)| root.made_at))
}

/// Nothing is sealed any more under the roots that `contact` has now, and what has no receipt is
/// sealed anew: another copy of this profile may have used the same keys. What the contact still
/// sends under them can be opened.
pub fn retire(txn: &Txn<'_>, contact: ContactId, now: i64) -> Result<(), StoreError> {
    for (key, root) in txn.list::<Roots>(&contact)? {
        txn.put::<Roots>(&key, &RootRow { retired: true, ..root })?;
    }
    for (key, cipher) in txn.list::<Ciphers>(&contact)? {
        drop_cipher(txn, &key)?;
        if let Some(seq) = cipher.seq {
            state::requeue(
                txn,
                contact,
                seq,
                "sealed anew: the keys may have been used twice",
                now,
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "times of a test")]

    use std::sync::Arc;

    use ams_crypto::store::StoreKey;

    use super::*;
    use crate::store::Store;

    const NOW: i64 = 1_800_000_000_000;

    fn root(made_at: i64, requester: bool, opened: bool) -> RootRow {
        RootRow {
            keys: Vec::new(),
            requester,
            intro: IntroId([1; 32]),
            generation: 1,
            opened,
            ratchet: Vec::new(),
            next_ctr: 1,
            taken: Window::new(1),
            made_at,
            retired: false,
        }
    }

    #[tokio::test]
    async fn what_was_approved_and_never_used_is_kept_for_14_days() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ams.redb");
        let store = Store::create(&path, StoreKey::new(&[1; 32]), Arc::new(|_| {})).unwrap();
        let (old, young) = (NOW - UNUSED_LIFE, NOW - UNUSED_LIFE + 1);
        let (bob, carol, dave) = (ContactId(1), ContactId(2), ContactId(3));
        let left = store.write(move |txn| {
            for (contact, tag, root) in [
                (bob, 1, root(old, false, true)),
                (bob, 2, root(old, false, false)),
                (bob, 3, root(young, false, false)),
                // Asked for by this side: whoever approved may use it at any time.
                (bob, 4, root(old, true, false)),
                // The newest of those that are all there is.
                (carol, 5, root(old - 1, false, false)),
                (carol, 6, root(old, false, false)),
                (dave, 7, root(old, false, false)),
            ] {
                txn.put::<Roots>(&(contact, RootTag([tag; 8])), &root)?;
            }
            prune(txn, NOW)?;
            let left = txn.list::<Roots>(&())?;
            Ok::<_, StoreError>(left.into_iter().map(|((_, tag), _)| tag.0[0]).collect::<Vec<_>>())
        });
        assert_eq!(left.await.unwrap(), [1, 3, 4, 6, 7]);
    }
}
