//! What has to be on a disk after the power went.
//!
//! The rows are exactly those of the last commit that was answered before, or of the one that was
//! under way: nothing is half there, and nothing of an earlier time comes back. Whatever somebody
//! was told is so.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ams_crypto::dh::DhSecret;
use ams_crypto::keyfile::{self, Kind};
use ams_crypto::store::StoreKey;
use ams_relay::accounts::Accounts;
use ams_relay::accounts::store::Store as RelayStore;
use ams_tests::disk::Disk;
use ams_wire::id::{Key, MessageId};
use amsd::contacts::row::{Contacts, Stage};
use amsd::inbox::row::{In, InIds, Known, Received};
use amsd::outbox::queue;
use amsd::outbox::row::{Out, OutState};
use amsd::relay::Relays;
use amsd::store::{Place, Read, Store, StoreError, inspect};

use super::workload::{Fact, Who};

/// Later than everything that the relay stored, and before it expires.
const NOW: u64 = 1_795_000_000;

/// Everything on a disk, in a form that can be compared.
pub(crate) type Dump = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// The key of a person's store.
pub(crate) fn key(home: &Path) -> StoreKey {
    let secret = keyfile::load(&home.join("data/data.key"), Kind::Data).unwrap();
    StoreKey::new(&secret.to_array::<32>().unwrap())
}

/// Opens a daemon's disk as its next start does, and looks at it.
pub(crate) async fn daemon(
    who: Who,
    disk: &Arc<Disk>,
    key: impl Fn() -> StoreKey,
    facts: &[Fact],
) -> Result<Dump, String> {
    let failed = |error: StoreError| format!("{who:?}: {error}");
    let place = Place::Disk(disk.clone());
    let store = Store::at(place.clone(), key(), Arc::new(|_| ())).map_err(failed)?;
    let facts = facts.to_vec();
    let untrue = store
        .read(move |db| {
            let mut untrue = Vec::new();
            for fact in facts {
                if !holds(db, who, &fact)? {
                    untrue.push(fact);
                }
            }
            Ok::<_, StoreError>(untrue)
        })
        .await
        .map_err(failed)?;
    store.close().await;
    if !untrue.is_empty() {
        return Err(format!("{who:?} was told what is not so: {untrue:?}"));
    }
    let findings = amsd::check::examine(&place, key()).map_err(failed)?;
    if !findings.are_good() {
        return Err(format!("{who:?}: amsd --check finds {findings:?}"));
    }
    dump(&place, key()).map_err(failed)
}

/// Every row of a daemon's disk, which stays as it is.
pub(crate) fn dump(place: &Place, key: StoreKey) -> Result<Dump, StoreError> {
    let mut rows = Dump::new();
    let mut each = |table: &str, key: &[u8], row: Option<&[u8]>| {
        rows.insert((table.to_owned(), key.to_vec()), row.unwrap_or_default().to_vec());
    };
    inspect::inspect(place, key, &mut each, |_| Ok::<_, StoreError>(()))?;
    Ok(rows)
}

/// Whether something that was told is so on `who`'s disk; what is about others always is.
fn holds(db: &impl Read, who: Who, fact: &Fact) -> Result<bool, StoreError> {
    let id_of = |id: &ams_rpc::types::MessageId| MessageId(id.0);
    let state = |id| -> Result<Option<OutState>, StoreError> {
        let [at] = queue::by_id(db, id_of(&id))?[..] else { return Ok(None) };
        Ok(Some(db.get::<Out>(&at)?.map_or(OutState::Read, |row| row.state)))
    };
    Ok(match fact {
        Fact::Joined(person) if *person == who => {
            db.list::<Relays>(&())?.iter().any(|(_, row)| row.enrolled)
        }
        Fact::Met => db.list::<Contacts>(&())?.iter().any(|(_, row)| row.stage == Stage::Active),
        Fact::Renamed(name) if who == Who::Alice => {
            db.list::<Contacts>(&())?.iter().any(|(_, row)| row.name == *name)
        }
        Fact::Sent(from, id) if *from == who => state(*id)?.is_some(),
        Fact::Delivered(from, id) if *from == who => {
            matches!(state(*id)?, Some(OutState::Delivered | OutState::Read))
        }
        // On the disk of the other, or known to have been there.
        Fact::Delivered(_, id) => {
            db.list::<Known>(&())?.iter().any(|((_, known), _)| *known == id_of(id))
        }
        Fact::Discarded(from, id) if *from == who => {
            !matches!(state(*id)?, None | Some(OutState::Queued | OutState::Sent))
        }
        Fact::Taken(reader, id) if *reader == who => match db.list::<InIds>(&id_of(id))?.first() {
            None => true,
            Some((_, place)) => match db.get::<In>(place)? {
                None => false,
                Some(row) => {
                    db.get::<Received>(&(row.contact, row.seq))?.is_some_and(|row| row.read)
                }
            },
        },
        _ => true,
    })
}

/// The keys by which alice and bob are known to the relay, as their own disks say.
pub(crate) fn devices(disk: &Arc<Disk>, key: StoreKey) -> Vec<Key> {
    let place = Place::Disk(disk.clone());
    let mut each = |_: &str, _: &[u8], _: Option<&[u8]>| ();
    inspect::inspect(&place, key, &mut each, |db| {
        let relays = db.list::<Relays>(&())?.into_iter();
        let public = |secret: &[u8; 32]| Key(*DhSecret::from_bytes(secret).public().as_bytes());
        Ok::<_, StoreError>(relays.map(|(_, row)| public(&row.device_secret)).collect())
    })
    .unwrap()
}

/// Opens a relay's disk as its next start does, and looks at it.
pub(crate) async fn relay(
    disk: &Arc<Disk>,
    devices: &[Key],
    facts: &[Fact],
) -> Result<Dump, String> {
    let failed = |error| format!("relay: {error}");
    let store = RelayStore::on(disk.clone()).map_err(failed)?;
    let users = store.users().await.map_err(failed)?;
    let invites = store.invites(0).await.map_err(failed)?;
    let mut dump = Dump::new();
    dump.insert(("users".to_owned(), Vec::new()), format!("{users:?}").into_bytes());
    dump.insert(("invites".to_owned(), Vec::new()), format!("{invites:?}").into_bytes());
    for device in devices {
        let attached = store.attach(*device, NOW, 100).await.map_err(failed)?;
        dump.insert(("of".to_owned(), device.0.to_vec()), format!("{attached:?}").into_bytes());
    }
    let is_user = |name: &str| users.iter().any(|user| user.name.as_str() == name);
    let is_invited = |name: &str| invites.iter().any(|invite| invite.name.as_str() == name);
    let revoked = |name| facts.iter().any(|fact| matches!(fact, Fact::Revoked(of) if of == name));
    for fact in facts {
        let holds = match fact {
            Fact::Joined(who) => is_user(if *who == Who::Alice { "alice" } else { "bob" }),
            Fact::Invited(name) => is_invited(name) || revoked(name) || *name == "dave",
            Fact::Revoked(name) => !is_invited(name),
            _ => true,
        };
        if !holds {
            return Err(format!("the relay's administrator was told what is not so: {fact:?}"));
        }
    }
    Ok(dump)
}
