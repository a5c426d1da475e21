//! An envelope becomes a message.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use ams_crypto::envelope::{self, Direction};
use ams_crypto::identity::IdentityPublic;
use ams_crypto::olm;
use ams_wire::aside::Aside;
use ams_wire::body::Body;
use ams_wire::id::{PingToken, RootTag};
use ams_wire::inner::{Full, Inner};
use ams_wire::receipt::{Receipt, Run, Standing, Window};

use super::receipt;
use super::row::{self, Ciphers, RootRow, Roots};
use super::seal::CipherKey;
use crate::contacts::{ContactId, ContactRow};
use crate::profile::Me;
use crate::store::{Read, StoreError, Txn};

/// What an envelope turned out to be.
#[derive(Debug, Default)]
pub struct Opened {
    /// A message, new to this ratchet; it may still be one that came before under another root.
    pub body: Option<Body>,
    /// What its daemon says to this one.
    pub aside: Option<Aside>,
    /// A full envelope that was taken before: its sender lacks our receipt.
    pub duplicate: bool,
    /// The contact asks for a receipt.
    pub answer: bool,
    /// The contact wants this to be said back.
    pub ping: Option<PingToken>,
    /// What we wanted to be said back.
    pub pong: Option<PingToken>,
    /// Something new was taken: a receipt is owed.
    pub taken: bool,
    /// The first envelope under a root: the contact is known to have the keys.
    pub first_under_root: bool,
    /// `seq` of our messages that now have a receipt.
    pub delivered: BTreeSet<u64>,
    /// Their ciphertexts, and those of empty envelopes.
    pub receipted: Vec<CipherKey>,
    /// Those that the contact took, and that held no message.
    pub taken_without: Vec<CipherKey>,
    /// `seq` of our messages that were passed over: a later one has a receipt, these have none.
    pub passed_over: BTreeSet<u64>,
    /// `seq` of our messages whose ciphertext is gone with its root: they are sealed anew.
    pub unsealed: BTreeSet<u64>,
    /// `seq` of our messages that were read; `None` where the contact does not tell.
    pub read: Option<Window>,
    /// Of those below its base, the ones that were not.
    pub unread: Vec<Run>,
    /// The ratchets no longer fit: a renewal is needed.
    pub renew: bool,
    /// The contact took what was never sealed here: another copy of this profile did.
    pub cloned: bool,
}

/// The roots of one contact, for a run of envelopes that came from it: ratchets are read once, on
/// copies, and written once, by [`Opening::close`], in the same transaction.
pub struct Opening {
    id: ContactId,
    from: IdentityPublic,
    roots: Vec<(RootTag, RootRow)>,
    ratchets: BTreeMap<RootTag, olm::OlmSession>,
    changed: BTreeSet<RootTag>,
}

impl Opening {
    /// Reads the roots. `None`: the contact's key is not known yet.
    pub fn begin(
        db: &impl Read,
        id: ContactId,
        contact: &ContactRow,
    ) -> Result<Option<Self>, StoreError> {
        let Some(from) = contact.identity() else { return Ok(None) };
        Ok(Some(Self {
            id,
            from,
            roots: row::roots(db, id)?,
            ratchets: BTreeMap::new(),
            changed: BTreeSet::new(),
        }))
    }

    /// Whose roots these are.
    pub fn contact(&self) -> ContactId {
        self.id
    }

    /// Opens `envelope`, and takes what it says of our own ciphertexts.
    ///
    /// `None`: it opens under no root of the contact's, and nothing was changed.
    pub fn open(
        &mut self,
        txn: &Txn<'_>,
        me: &Me,
        envelope: &[u8],
    ) -> Result<Option<Opened>, StoreError> {
        let direction = Direction { from: &self.from, to: me.public() };
        for (tag, root) in &self.roots {
            let keys = root.keys()?;
            let Ok(padded) = envelope::open(keys.opening(root.side()), direction, envelope) else {
                continue;
            };
            let Ok(inner) = Inner::decode(&padded) else { return Ok(None) };
            return self.take(txn, *tag, inner).map(Some);
        }
        Ok(None)
    }

    fn take(&mut self, txn: &Txn<'_>, tag: RootTag, inner: Inner) -> Result<Opened, StoreError> {
        let mut opened = Opened { answer: inner.answer, ..Opened::default() };
        merge(txn, self.id, &self.roots, &inner.receipt, &mut opened)?;
        let Some((_, root)) = self.roots.iter_mut().find(|(other, _)| *other == tag) else {
            return Ok(opened);
        };
        if !root.opened {
            root.opened = true;
            opened.first_under_root = true;
            self.changed.insert(tag);
        }
        let generation = root.generation;
        if inner.full.is_none() {
            (opened.ping, opened.pong) = (inner.receipt.ping, inner.receipt.pong);
        }
        if let Some(full) = inner.full {
            let ratchet = match self.ratchets.entry(tag) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(root.ratchet()?),
            };
            take_full(root, ratchet, &full, &mut opened);
            self.changed.insert(tag);
        }
        if opened.first_under_root {
            self.drop_roots_before(txn, generation, &mut opened)?;
            self.leave_other_roots(txn, &mut opened)?;
        }
        Ok(opened)
    }

    /// Of roots that crossed one is gone on with. What was sealed under another is sealed anew: the
    /// contact need not have that one, and what is sent as the same bytes would never open.
    fn leave_other_roots(&self, txn: &Txn<'_>, opened: &mut Opened) -> Result<(), StoreError> {
        let Some((sealing, _)) = row::sealing_root(&self.roots) else { return Ok(()) };
        for (key, cipher) in txn.list::<Ciphers>(&self.id)? {
            if key.1 != *sealing {
                row::drop_cipher(txn, &key)?;
                opened.unsealed.extend(cipher.seq);
            }
        }
        Ok(())
    }

    /// A root whose first envelope opened ends those before it. What was sealed under them and has
    /// no receipt is sealed anew: the contact may have dropped them already.
    fn drop_roots_before(
        &mut self,
        txn: &Txn<'_>,
        generation: u64,
        opened: &mut Opened,
    ) -> Result<(), StoreError> {
        for (tag, _) in self.roots.iter().filter(|(_, root)| root.generation < generation) {
            for (key, cipher) in txn.list::<Ciphers>(&(self.id, *tag))? {
                row::drop_cipher(txn, &key)?;
                opened.unsealed.extend(cipher.seq);
            }
            txn.delete::<Roots>(&(self.id, *tag))?;
            self.changed.remove(tag);
        }
        self.roots.retain(|(_, root)| root.generation >= generation);
        Ok(())
    }

    /// Writes what changed. Nothing of it counts before the commit.
    pub fn close(self, txn: &Txn<'_>) -> Result<(), StoreError> {
        let Self { id, roots, ratchets, changed, .. } = self;
        for (tag, mut root) in roots.into_iter().filter(|(tag, _)| changed.contains(tag)) {
            if let Some(ratchet) = ratchets.get(&tag) {
                root.ratchet = ratchet.to_bytes().to_vec();
            }
            txn.put::<Roots>(&(id, tag), &root)?;
        }
        Ok(())
    }
}

/// Takes what the receipt says of our ciphertexts.
fn merge(
    txn: &Txn<'_>,
    id: ContactId,
    roots: &[(RootTag, RootRow)],
    receipt: &Receipt,
    opened: &mut Opened,
) -> Result<(), StoreError> {
    opened.read = receipt.read;
    opened.unread = receipt.unread.clone().unwrap_or_default();
    for (tag, root) in roots.iter().filter(|(_, root)| !root.retired) {
        let Some(taken) = receipt::of_root(receipt, *tag) else { continue };
        let newest = taken.newest();
        if newest.is_some_and(|newest| newest >= root.next_ctr) {
            // Sealed by another copy of this profile. What else it lists may be that one's too:
            // nothing of this root is believed.
            opened.cloned = true;
            continue;
        }
        for (key, cipher) in txn.list::<Ciphers>(&(id, *tag))? {
            let (contact, root, ctr) = key;
            let is_taken = taken.contains(ctr);
            if is_taken {
                opened.delivered.extend(cipher.seq);
            } else if newest.is_none_or(|newest| newest < ctr) {
                continue;
            } else if let Some(seq) = cipher.seq {
                opened.passed_over.insert(seq);
                continue;
            }
            row::drop_cipher(txn, &key)?;
            opened.receipted.push(CipherKey { contact, root, ctr });
            if is_taken && cipher.seq.is_none() {
                opened.taken_without.push(CipherKey { contact, root, ctr });
            }
        }
    }
    Ok(())
}

fn take_full(root: &mut RootRow, ratchet: &mut olm::OlmSession, full: &Full, opened: &mut Opened) {
    let newest_before = root.taken.newest().unwrap_or(0).max(root.taken.base().saturating_sub(1));
    root.taken.raise_base(full.base);
    match root.taken.standing(full.ctr) {
        // Below the base: the sender dropped it and does not wait for a receipt.
        Standing::Past | Standing::Beyond => {}
        Standing::Taken => opened.duplicate = true,
        Standing::New => {
            let mut copy = ratchet.copy();
            match copy.decrypt(full.olm_type, &full.olm) {
                Ok(plaintext) => {
                    *ratchet = copy;
                    root.taken.insert(full.ctr);
                    opened.taken = true;
                    // What decrypts and is no message is taken all the same, or it would come
                    // again for ever.
                    match Body::decode(&plaintext) {
                        Ok(body) => opened.body = body,
                        Err(_) => opened.aside = Aside::decode(&plaintext).unwrap_or(None),
                    }
                }
                // An older one that the ratchet refuses is lost with its skipped key; a newer one
                // says that the two ratchets have parted.
                Err(_) => opened.renew |= full.ctr > newest_before,
            }
        }
    }
}
