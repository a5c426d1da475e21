//! What is on the network: every envelope is opened with the keys that lie on its sender's disk, so
//! that a key which is used twice does not go unnoticed.

use std::collections::BTreeMap;

use ams_crypto::envelope::{self, Direction};
use ams_crypto::identity::IdentityPublic;
use ams_crypto::pair::{RootKeys, Side};
use ams_wire::id::{Handle, RootTag};
use ams_wire::inner::Inner;
use ams_wire::receipt::Standing;
use amsd::contacts::{self, ContactId, ContactRow, Contacts};
use amsd::relay::RelayId;
use amsd::session::row::{RootRow, Roots, roots};
use amsd::store::{Read, Store, StoreError};

struct Root {
    keys: RootKeys,
    side: Side,
    to: IdentityPublic,
}

/// Everything that was ever sent.
#[derive(Default)]
pub(crate) struct Travels {
    roots: BTreeMap<(usize, RootTag), Root>,
    /// Sender, root, counter → the envelope.
    sealed: BTreeMap<(usize, RootTag, u64), Vec<u8>>,
    /// Sender, key of the ratchet's chain, place in it → the ciphertext.
    keys: BTreeMap<(usize, Vec<u8>, u64), Vec<u8>>,
}

impl Travels {
    /// `from` sent it. Says what is wrong with it.
    pub(crate) fn look(
        &mut self,
        from: usize,
        me: &IdentityPublic,
        store: Option<&Store>,
        envelope: &[u8],
    ) -> Result<(), String> {
        let mut found = self.open(from, me, envelope);
        if let (None, Some(store)) = (&found, store) {
            // Its root may be new. A disk that cannot be read says nothing.
            let _ = self.learn(from, store);
            found = self.open(from, me, envelope);
        }
        // The root may be gone already, with everything that is under it.
        let Some((tag, inner)) = found else { return Ok(()) };
        let Some(full) = inner.full else { return Ok(()) };
        let before = self.sealed.insert((from, tag, full.ctr), envelope.to_vec());
        if before.is_some_and(|before| before != envelope) {
            return Err(format!("person {from} sealed two envelopes under counter {}", full.ctr));
        }
        let (chain, place) = ratchet_key(full.olm_type, &full.olm)
            .ok_or_else(|| format!("person {from} sent what is no Olm message"))?;
        let before = self.keys.insert((from, chain, place), full.olm.clone());
        if before.is_some_and(|before| before != full.olm) {
            return Err(format!("person {from} used the ratchet key {place} twice"));
        }
        Ok(())
    }

    /// How many different envelopes were looked into.
    pub(crate) fn count(&self) -> usize {
        self.sealed.len()
    }

    fn open(&self, from: usize, me: &IdentityPublic, envelope: &[u8]) -> Option<(RootTag, Inner)> {
        self.roots.range((from, RootTag([0; 8]))..=(from, RootTag([255; 8]))).find_map(
            |((_, tag), root)| {
                let direction = Direction { from: me, to: &root.to };
                let padded =
                    envelope::open(root.keys.sealing(root.side), direction, envelope).ok()?;
                Some((*tag, Inner::decode(&padded).ok()?))
            },
        )
    }

    fn learn(&mut self, from: usize, store: &Store) -> Result<(), StoreError> {
        store.read_now(|db| {
            for ((contact, tag), row) in db.list::<Roots>(&())? {
                let RootRow { keys, requester, .. } = row;
                let to = db.get::<Contacts>(&contact)?.and_then(|row| row.identity());
                let (Some(to), Some(keys)) = (to, RootKeys::from_bytes(&keys)) else { continue };
                let side = if requester { Side::Requester } else { Side::Approver };
                self.roots.insert((from, tag), Root { keys, side, to });
            }
            Ok(())
        })
    }
}

/// Whether an envelope that `me` got at `relay` under `handle` is on the disk: its counter is taken, or
/// it is one that need not be kept or that the ratchet opens no more.
pub(crate) fn is_kept(
    store: &Store,
    me: &IdentityPublic,
    (relay, handle): (RelayId, Handle),
    envelope: &[u8],
) -> Result<bool, StoreError> {
    store.read_now(|db| match contacts::by_handle(db, relay, handle)? {
        Some(contact) => is_taken(db, me, contact, envelope),
        None => Ok(true),
    })
}

/// The same of one that came from `from` without a relay.
pub(crate) fn is_kept_of(
    store: &Store,
    me: &IdentityPublic,
    from: &IdentityPublic,
    envelope: &[u8],
) -> Result<bool, StoreError> {
    store.read_now(|db| {
        let is_it = |row: &ContactRow| row.identity().is_some_and(|known| known == *from);
        let known = contacts::all(db)?.into_iter().find(|(_, row)| is_it(row));
        known.map_or(Ok(true), |contact| is_taken(db, me, contact, envelope))
    })
}

fn is_taken(
    db: &impl Read,
    me: &IdentityPublic,
    (id, contact): (ContactId, ContactRow),
    envelope: &[u8],
) -> Result<bool, StoreError> {
    let Some(from) = contact.identity().filter(|_| contact.is_open()) else { return Ok(true) };
    for (_, root) in roots(db, id)? {
        let (keys, direction) = (root.keys()?, Direction { from: &from, to: me });
        let opened = envelope::open(keys.opening(root.side()), direction, envelope);
        let inner = opened.ok().and_then(|padded| Inner::decode(&padded).ok());
        if let Some(full) = inner.and_then(|inner| inner.full) {
            let opens =
                || root.ratchet().map(|mut olm| olm.decrypt(full.olm_type, &full.olm).is_ok());
            return Ok(root.taken.standing(full.ctr) != Standing::New || !opens()?);
        }
    }
    Ok(true)
}

/// The chain and the place in it that a ciphertext of Olm was made with: version, then fields of
/// protocol buffers (`0a` the ratchet key, `10` the index; `22` the message in a pre-key message).
fn ratchet_key(kind: u8, olm: &[u8]) -> Option<(Vec<u8>, u64)> {
    let mut fields = olm.get(1..)?;
    let (mut chain, mut place, mut message) = (None, None, None);
    while let Some((&tag, rest)) = fields.split_first() {
        fields = rest;
        match tag & 7 {
            0 => {
                let number = varint(&mut fields)?;
                if tag == 0x10 {
                    place = Some(number);
                }
            }
            2 => {
                let length = usize::try_from(varint(&mut fields)?).ok()?;
                let value = fields.get(..length)?;
                fields = &fields[length..];
                match tag {
                    0x0a => chain = Some(value.to_vec()),
                    0x22 => message = Some(value),
                    _ => {}
                }
            }
            // What stands behind the fields is the MAC.
            _ => break,
        }
        if kind != 0 && chain.is_some() && place.is_some() {
            return chain.zip(place);
        }
    }
    if kind == 0 { ratchet_key(1, message?) } else { None }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 || shift > 63 {
            return Some(value);
        }
    }
}
