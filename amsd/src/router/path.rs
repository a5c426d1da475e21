//! Which path a contact has now: a direct link, else a relay where it is online, else the one used last, else any
//! that is up. A message that may only go one way goes there or stays.

use std::collections::BTreeMap;

use ams_wire::id::Handle;

use crate::contacts::{ContactId, ContactRow, PathRow};
use crate::live::Live;
use crate::outbox::wish::{self, Way};
use crate::relay::{RelayId, Relays, chores};
use crate::store::{Read, StoreError};

/// The path to take; `None`: nothing is up.
pub fn choose<'a>(id: ContactId, contact: &'a ContactRow, live: &Live) -> Option<&'a PathRow> {
    let direct = contact.paths.iter().find(|path| path.relay.is_direct());
    direct.filter(|path| is_usable(contact, path, live)).or_else(|| choose_relay(id, contact, live))
}

/// The relay to take; `None`: none is up.
fn choose_relay<'a>(id: ContactId, contact: &'a ContactRow, live: &Live) -> Option<&'a PathRow> {
    let last = live.used_last(id);
    let relays = || contact.paths.iter().filter(|path| !path.relay.is_direct());
    let usable = || relays().filter(|path| is_usable(contact, path, live));
    usable()
        .find(|path| live.is_online(path.relay, path.handle))
        .or_else(|| usable().find(|path| Some(path.relay) == last))
        .or_else(|| usable().next())
}

fn is_usable(contact: &ContactRow, path: &PathRow, live: &Live) -> bool {
    !path.missing && !contact.is_in_doubt(path.relay) && live.is_up(path.relay)
}

/// The paths on which the contact is there now.
pub fn there<'a>(contact: &'a ContactRow, live: &'a Live) -> impl Iterator<Item = &'a PathRow> {
    let usable = contact.paths.iter().filter(|path| is_usable(contact, path, live));
    usable.filter(|path| live.is_online(path.relay, path.handle))
}

/// Over which relay, and to which handle there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The relay.
    pub relay: RelayId,
    /// Our handle for the contact there.
    pub handle: Handle,
}

impl From<&PathRow> for Route {
    fn from(path: &PathRow) -> Self {
        Self { relay: path.relay, handle: path.handle }
    }
}

/// Where everything for one contact goes now.
#[derive(Debug)]
pub struct Routes {
    main: Route,
    /// By `seq`, those that may only go one way; `None`: it is not open.
    one_way: BTreeMap<u64, Option<Route>>,
}

impl Routes {
    /// Everything goes this way.
    pub fn all(main: Route) -> Self {
        Self { main, one_way: BTreeMap::new() }
    }

    /// Where what the contact is to get goes; `None`: nothing is up.
    pub fn find(
        db: &impl Read,
        id: ContactId,
        contact: &ContactRow,
        live: &Live,
    ) -> Result<Option<Self>, StoreError> {
        let known_as_open = known_as_open(db, contact)?;
        let contact = known_as_open.as_ref().unwrap_or(contact);
        let Some(main) = choose(id, contact, live).map(Route::from) else { return Ok(None) };
        let mut one_way = BTreeMap::new();
        for (seq, way) in wish::one_way(db, id)? {
            let route = match way {
                Way::Direct => Some(main).filter(|main| main.relay.is_direct()),
                Way::Relay => choose_relay(id, contact, live).map(Route::from),
                Way::Through(nick) => through(db, contact, live, &nick)?,
            };
            one_way.insert(seq, route);
        }
        Ok(Some(Self { main, one_way }))
    }

    /// The way of everything that has none of its own.
    pub fn main(&self) -> Route {
        self.main
    }

    /// The way of message `seq`, or of what carries none.
    pub fn of(&self, seq: Option<u64>) -> Option<Route> {
        seq.and_then(|seq| self.one_way.get(&seq)).copied().unwrap_or(Some(self.main))
    }
}

/// The contact without the paths that it was unblocked on and whose relay was not told yet: what
/// went there would be held for nobody until the relay's window ends. `None`: there are none.
fn known_as_open(db: &impl Read, contact: &ContactRow) -> Result<Option<ContactRow>, StoreError> {
    let mut paths = Vec::with_capacity(contact.paths.len());
    for path in &contact.paths {
        if !chores::is_unblocking(db, path.relay, path.handle)? {
            paths.push(path.clone());
        }
    }
    let is_whole = paths.len() == contact.paths.len();
    Ok((!is_whole).then(|| ContactRow { paths, ..contact.clone() }))
}

fn through(
    db: &impl Read,
    contact: &ContactRow,
    live: &Live,
    nick: &str,
) -> Result<Option<Route>, StoreError> {
    for path in contact.paths.iter().filter(|path| is_usable(contact, path, live)) {
        if db.get::<Relays>(&path.relay)?.is_some_and(|row| row.nick == nick) {
            return Ok(Some(path.into()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ams_crypto::store::StoreKey;
    use ams_rpc::types::LinkState;
    use ams_wire::to_relay::ToRelay;
    use ams_wire::username::Username;

    use super::*;
    use crate::contacts::{Stage, ask};
    use crate::fact::Fact;
    use crate::profile::Me;
    use crate::relay::RelayRow;
    use crate::store::Store;

    const HOME: RelayId = RelayId(1);

    /// Where the contact is online, else where something went last; whoever asks.
    #[test]
    fn of_several_relays_it_is_the_one_with_the_contact_or_the_one_used_last() {
        const ID: ContactId = ContactId(7);
        let relays = [HOME, RelayId(2), RelayId(3)];
        let user = Username::new("bob").unwrap();
        let paths = relays.map(|relay| PathRow {
            relay,
            handle: Handle([1; 16]),
            user: user.clone(),
            missing: false,
        });
        let new =
            ask::new_row("bob".to_owned(), HOME, user.clone(), Handle([1; 16]), Stage::Active);
        let bob = ContactRow { paths: paths.to_vec(), ..new };
        let live = Live::new(Arc::new(|_| ()));
        let chosen = || choose(ID, &bob, &live).map(|path| path.relay);
        assert_eq!(chosen(), None);
        for relay in relays {
            live.relay(relay, "any", LinkState::Up, None);
        }
        assert_eq!(chosen(), Some(HOME));
        live.goes(ID, RelayId(2));
        assert_eq!(chosen(), Some(RelayId(2)));
        live.set_online(RelayId(3), Handle([1; 16]), true);
        assert_eq!(chosen(), Some(RelayId(3)));
        live.relay(RelayId(3), "any", LinkState::Down, None);
        assert_eq!(chosen(), Some(RelayId(2)));
    }

    #[tokio::test]
    async fn what_is_for_somebody_unblocked_waits_until_the_relay_knows() {
        let folder = tempfile::tempdir().unwrap();
        let (greet, mut greeted) = tokio::sync::mpsc::channel(8);
        let tell = move |facts: Vec<Fact>| {
            for fact in facts {
                if let Fact::Greet(contact) = fact {
                    greet.try_send(contact).unwrap();
                }
            }
        };
        let path = folder.path().join("ams.redb");
        let store = Store::create(&path, StoreKey::new(&[7; 32]), Arc::new(tell)).unwrap();
        let me = store.write(Me::create).await.unwrap();
        let live = Live::new(Arc::new(|_| ()));
        live.relay(HOME, "home", LinkState::Up, None);

        let bob = store.write(move |txn| {
            txn.put::<Relays>(&HOME, &RelayRow::home())?;
            let user = Username::new("bob").unwrap();
            Ok::<_, StoreError>(
                ask::add(txn, &me, (HOME, &RelayRow::home()), &user, None, 0).unwrap(),
            )
        });
        let (id, bob) = bob.await.unwrap();
        let handle = bob.paths.first().unwrap().handle;
        let route = || {
            let found = store.read_now(|db| Routes::find(db, id, &bob, &live));
            found.unwrap().map(|routes| routes.main().handle)
        };
        assert_eq!(route(), Some(handle), "a request of ours holds up nothing");

        let unblocked = store.write(move |txn| {
            chores::push(txn, HOME, &ToRelay::Unblock(handle))?;
            let waiting = chores::waiting(txn, HOME)?;
            Ok::<_, StoreError>(waiting.last().unwrap().0)
        });
        let number = unblocked.await.unwrap();
        assert_eq!(route(), None);
        let told: Result<(), StoreError> =
            store.write(move |txn| chores::done(txn, HOME, number)).await;
        told.unwrap();
        assert_eq!(route(), Some(handle));
        assert_eq!(greeted.recv().await, Some(id));
    }
}
