//! An envelope becomes a message.

use std::collections::BTreeSet;

use ams_crypto::envelope::{self, Direction};
use ams_wire::body::Body;
use ams_wire::id::RootTag;
use ams_wire::inner::{Full, Inner};
use ams_wire::receipt::{Receipt, Standing, Window};

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
    /// A full envelope that was taken before: its sender lacks our receipt.
    pub duplicate: bool,
    /// The contact asks for a receipt.
    pub answer: bool,
    /// Something new was taken: a receipt is owed.
    pub taken: bool,
    /// The first envelope under a root: the contact is known to have the keys.
    pub first_under_root: bool,
    /// `seq` of our messages that now have a receipt.
    pub delivered: BTreeSet<u64>,
    /// Their ciphertexts, and those of empty envelopes.
    pub receipted: Vec<CipherKey>,
    /// `seq` of our messages that were passed over: a later one has a receipt, these have none.
    pub passed_over: BTreeSet<u64>,
    /// `seq` of our messages whose ciphertext is gone with its root: they are sealed anew.
    pub unsealed: BTreeSet<u64>,
    /// `seq` of our messages that were read; `None` where the contact does not tell.
    pub read: Option<Window>,
    /// The ratchets no longer fit: a renewal is needed.
    pub renew: bool,
    /// The contact took what was never sealed here: another copy of this profile did.
    pub cloned: bool,
}

/// Opens `envelope` from `contact`, on a copy of the ratchet, and keeps what that changes.
///
/// `None`: it opens under no root of the contact's, and nothing was changed.
pub fn open(
    txn: &Txn<'_>,
    me: &Me,
    id: ContactId,
    contact: &ContactRow,
    envelope: &[u8],
) -> Result<Option<Opened>, StoreError> {
    let Some(from) = contact.identity() else { return Ok(None) };
    let direction = Direction { from: &from, to: me.public() };
    let roots = row::roots(txn, id)?;
    for (tag, root) in &roots {
        let keys = root.keys()?;
        let Ok(padded) = envelope::open(keys.opening(root.side()), direction, envelope) else {
            continue;
        };
        let Ok(inner) = Inner::decode(&padded) else { return Ok(None) };
        return take(txn, id, &roots, *tag, root.clone(), inner).map(Some);
    }
    Ok(None)
}

fn take(
    txn: &Txn<'_>,
    id: ContactId,
    roots: &[(RootTag, RootRow)],
    tag: RootTag,
    mut root: RootRow,
    inner: Inner,
) -> Result<Opened, StoreError> {
    let mut opened = Opened { answer: inner.answer, ..Opened::default() };
    merge(txn, id, roots, &inner.receipt, &mut opened)?;
    let before = root.clone();
    if !root.opened {
        root.opened = true;
        opened.first_under_root = true;
        drop_roots_before(txn, id, roots, root.generation, &mut opened)?;
    }
    if let Some(full) = inner.full {
        take_full(&mut root, &full, &mut opened)?;
    }
    if (root.opened, root.taken, &root.ratchet) != (before.opened, before.taken, &before.ratchet) {
        txn.put::<Roots>(&(id, tag), &root)?;
    }
    Ok(opened)
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
            txn.delete::<Ciphers>(&key)?;
            opened.receipted.push(CipherKey { contact, root, ctr });
        }
    }
    Ok(())
}

/// A root whose first envelope opened ends those before it. What was sealed under them and has no
/// receipt is sealed anew: the contact may have dropped them already.
fn drop_roots_before(
    txn: &Txn<'_>,
    id: ContactId,
    roots: &[(RootTag, RootRow)],
    generation: u64,
    opened: &mut Opened,
) -> Result<(), StoreError> {
    for (tag, _) in roots.iter().filter(|(_, root)| root.generation < generation) {
        for (key, cipher) in txn.list::<Ciphers>(&(id, *tag))? {
            txn.delete::<Ciphers>(&key)?;
            opened.unsealed.extend(cipher.seq);
        }
        txn.delete::<Roots>(&(id, *tag))?;
    }
    Ok(())
}

fn take_full(root: &mut RootRow, full: &Full, opened: &mut Opened) -> Result<(), StoreError> {
    let newest_before = root.taken.newest().unwrap_or(0).max(root.taken.base().saturating_sub(1));
    root.taken.raise_base(full.base);
    match root.taken.standing(full.ctr) {
        // Below the base: the sender dropped it and does not wait for a receipt.
        Standing::Past | Standing::Beyond => {}
        Standing::Taken => opened.duplicate = true,
        Standing::New => {
            let mut ratchet = root.ratchet()?;
            match ratchet.decrypt(full.olm_type, &full.olm) {
                Ok(plaintext) => {
                    root.ratchet = ratchet.to_bytes().to_vec();
                    root.taken.insert(full.ctr);
                    opened.taken = true;
                    // What decrypts and is no message is taken all the same, or it would come
                    // again for ever.
                    opened.body = Body::decode(&plaintext).unwrap_or(None);
                }
                // An older one that the ratchet refuses is lost with its skipped key; a newer one
                // says that the two ratchets have parted.
                Err(_) => opened.renew |= full.ctr > newest_before,
            }
        }
    }
    Ok(())
}

/// Drops the ciphertext of message `seq`, so that its slot is free and it is sealed anew if it
/// goes out again.
pub fn drop_cipher(txn: &Txn<'_>, contact: ContactId, seq: u64) -> Result<(), StoreError> {
    for (key, cipher) in txn.list::<Ciphers>(&contact)? {
        if cipher.seq == Some(seq) {
            txn.delete::<Ciphers>(&key)?;
        }
    }
    Ok(())
}
