//! A message becomes an envelope.

use std::collections::BTreeSet;

use ams_wire::id::RootTag;
use ams_wire::inner::{Full, Inner};
use ams_wire::limits::COUNTER_WINDOW;

use super::receipt;
use super::row::{self, CipherRow, Ciphers, Envelopes, RootRow, Roots};
use crate::contacts::{ContactId, ContactRow};
use crate::profile::Me;
use crate::relay::{self, RelayId};
use crate::store::{Read, StoreError, Txn};

/// Most messages of one contact without a receipt. The ratchet skips at most 40 keys of a chain and
/// keeps 5 chains. Over one way, and over several on each of which all goes again first, in order,
/// nothing is beyond it. What may only go one way can be: those who talk over another meanwhile begin
/// a chain with every turn, and after five it is refused. Then it is sealed anew
/// ([`state::settle`](crate::outbox::state::settle)).
pub const MAX_IN_FLIGHT: usize = 32;

/// Where a ciphertext is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CipherKey {
    /// To whom.
    pub contact: ContactId,
    /// Under which root.
    pub root: RootTag,
    /// Its counter.
    pub ctr: u64,
}

/// Whether something can be sealed for a contact now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// So many messages more.
    For(usize),
    /// No root yet, or none under which this side may seal.
    NoRoot,
    /// Too much is without a receipt.
    Full,
}

/// What was sealed just now.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Where it is kept.
    pub key: CipherKey,
    /// What is kept of it.
    pub cipher: CipherRow,
    /// The bytes.
    pub envelope: Vec<u8>,
}

/// What is kept of one contact's ratchets and ciphertexts, read once for one look at it.
pub struct Desk {
    contact: ContactId,
    roots: Vec<(RootTag, RootRow)>,
    ciphers: Vec<(CipherKey, CipherRow)>,
}

impl Desk {
    /// Reads it.
    pub fn open(db: &impl Read, contact: ContactId) -> Result<Self, StoreError> {
        let key = |(contact, root, ctr)| CipherKey { contact, root, ctr };
        let ciphers = db.list::<Ciphers>(&contact)?;
        Ok(Self {
            contact,
            roots: row::roots(db, contact)?,
            ciphers: ciphers.into_iter().map(|(at, cipher)| (key(at), cipher)).collect(),
        })
    }

    /// Whose it is.
    pub fn contact(&self) -> ContactId {
        self.contact
    }

    /// The roots, newest first.
    pub fn roots(&self) -> &[(RootTag, RootRow)] {
        &self.roots
    }

    /// What has no receipt.
    pub fn ciphers(&self) -> &[(CipherKey, CipherRow)] {
        &self.ciphers
    }

    /// `seq` of the messages that have a ciphertext.
    pub fn sealed(&self) -> BTreeSet<u64> {
        self.ciphers.iter().filter_map(|(_, cipher)| cipher.seq).collect()
    }

    /// A ciphertext was dropped.
    pub fn forget(&mut self, key: CipherKey) {
        self.ciphers.retain(|(kept, _)| *kept != key);
    }

    /// The full empty envelope that is out, if there is one.
    pub fn empty_out(&self) -> Option<&(CipherKey, CipherRow)> {
        self.ciphers.iter().find(|(_, cipher)| cipher.seq.is_none())
    }

    /// How many messages can be sealed now.
    pub fn room(&self) -> Room {
        let Some((tag, root)) = row::sealing_root(&self.roots) else { return Room::NoRoot };
        let messages = self.ciphers.iter().filter(|(_, cipher)| cipher.seq.is_some()).count();
        // One place of the span stays for an empty envelope, the question whether anybody is there.
        let span = self.span(*tag, root);
        let places = COUNTER_WINDOW.saturating_sub(1).saturating_sub(span);
        let places = usize::try_from(places).unwrap_or(usize::MAX);
        match MAX_IN_FLIGHT.saturating_sub(messages).min(places) {
            0 => Room::Full,
            slots => Room::For(slots),
        }
    }

    /// Whether the contact may not know that we have its approval: its root is ours by asking, and
    /// nothing of the contact's was opened under it.
    pub fn is_unanswered(&self) -> bool {
        row::sealing_root(&self.roots).is_some_and(|(_, root)| root.requester && !root.opened)
    }

    /// The lowest counter of a root whose ciphertext is still kept.
    fn base(&self, tag: RootTag, root: &RootRow) -> u64 {
        let of_root = self.ciphers.iter().filter(|(key, _)| key.root == tag);
        of_root.map(|(key, _)| key.ctr).min().unwrap_or(root.next_ctr)
    }

    fn span(&self, tag: RootTag, root: &RootRow) -> u64 {
        root.next_ctr.saturating_sub(self.base(tag, root))
    }

    /// Seals each of `contents` (the message of that `seq`, or nothing) and keeps the envelopes
    /// until their receipts; as many as there are counters for. The caller lets nothing leave
    /// before the commit. Gives the new ones, in order.
    pub fn seal(
        &mut self,
        txn: &Txn<'_>,
        me: &Me,
        contact: &ContactRow,
        over: RelayId,
        contents: &[(Option<u64>, Vec<u8>)],
        tell_read: bool,
    ) -> Result<Vec<Sealed>, StoreError> {
        let mut done = Vec::with_capacity(contents.len());
        let root = row::sealing_root(&self.roots).cloned();
        let (Some(to), Some((tag, mut root)), false) =
            (contact.identity(), root, contents.is_empty())
        else {
            return Ok(done);
        };
        let mut ratchet = root.ratchet()?;
        let receipt = receipt::state(txn, self.contact, &self.roots, tell_read)?;
        let mark = relay::raise_mark(txn, over)?;
        for (seq, plaintext) in contents {
            if self.span(tag, &root) >= COUNTER_WINDOW {
                break;
            }
            let (ctr, base) = (root.next_ctr, self.base(tag, &root));
            let sealed = ratchet.encrypt(plaintext).map_err(|_| StoreError::Damaged(RATCHET))?;
            let full = Full { ctr, base, olm_type: sealed.kind, olm: sealed.bytes };
            // An empty one is a question.
            let inner = Inner { answer: seq.is_none(), receipt: receipt.clone(), full: Some(full) };
            let envelope = receipt::wrap(me, &to, &root, &inner)?;
            let cipher = CipherRow { seq: *seq, relay: over, mark };
            txn.put::<Ciphers>(&(self.contact, tag, ctr), &cipher)?;
            txn.put::<Envelopes>(&(self.contact, tag, ctr), &envelope.clone().into())?;
            let key = CipherKey { contact: self.contact, root: tag, ctr };
            self.ciphers.push((key, cipher));
            done.push(Sealed { key, cipher, envelope });
            root.next_ctr = ctr.saturating_add(1);
        }
        root.ratchet = ratchet.to_bytes().to_vec();
        txn.put::<Roots>(&(self.contact, tag), &root)?;
        if let Some((_, kept)) = self.roots.iter_mut().find(|(other, _)| *other == tag) {
            *kept = root;
        }
        Ok(done)
    }
}

const RATCHET: &str = "a ratchet";

#[cfg(test)]
mod tests {
    use ams_crypto::identity::IdentityKey;
    use ams_crypto::introduction::{self, Meeting};
    use ams_crypto::olm::{OlmAccount, OlmSession};
    use ams_wire::intro::Place;
    use ams_wire::username::Username;

    use super::*;

    /// The two ends of a ratchet.
    fn alice_and_bob() -> (OlmSession, OlmSession) {
        let (alice, bob) = (IdentityKey::generate(), IdentityKey::generate());
        let (mut hers, his) = (OlmAccount::new(), OlmAccount::new());
        let user = |name| Username::new(name).unwrap();
        let meeting = Meeting { from: user("alice"), to: user("bob"), place: Place::Direct };
        let asked = introduction::request(&alice, &mut hers, meeting, u64::MAX, None);
        let intro = introduction::verify(&asked.intro).unwrap();
        let approved = introduction::approve(&bob, &his, &intro, None).unwrap();
        let completed = asked.secrets.complete(&mut hers, &approved.approval).unwrap();
        (completed.session, approved.session)
    }

    #[test]
    fn what_is_out_at_once_opens_in_every_order() {
        let (mut alice, mut bob) = alice_and_bob();
        let said: Vec<_> = (0..MAX_IN_FLIGHT).map(|_| alice.encrypt(b"hi").unwrap()).collect();
        for sealed in said.iter().rev() {
            bob.decrypt(sealed.kind, &sealed.bytes).unwrap();
        }
    }

    /// That is why a message which may only go one way is sealed anew where those who talk over
    /// another way overtook it.
    #[test]
    fn what_five_turns_overtook_opens_no_more() {
        for turns in 0..=5 {
            let (mut alice, mut bob) = alice_and_bob();
            let late = alice.encrypt(b"by relay").unwrap();
            for _ in 0..=turns {
                let sealed = alice.encrypt(b"directly").unwrap();
                bob.decrypt(sealed.kind, &sealed.bytes).unwrap();
                let sealed = bob.encrypt(b"and back").unwrap();
                alice.decrypt(sealed.kind, &sealed.bytes).unwrap();
            }
            assert_eq!(bob.decrypt(late.kind, &late.bytes).is_ok(), turns < 5, "{turns}");
        }
    }
}
