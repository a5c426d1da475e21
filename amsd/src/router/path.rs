//! Which path a contact has now: a relay where it is online, else the one used last, else any
//! that is up. A message that may only go one way goes there or stays.

use std::collections::BTreeMap;

use ams_wire::id::Handle;

use crate::contacts::{ContactId, ContactRow, PathRow};
use crate::live::Live;
use crate::outbox::wish::{self, Way};
use crate::relay::{RelayId, Relays};
use crate::store::{Read, StoreError};

/// The path to take; `None`: nothing is up.
pub fn choose<'a>(
    contact: &'a ContactRow,
    live: &Live,
    last: Option<RelayId>,
) -> Option<&'a PathRow> {
    let usable = || contact.paths.iter().filter(|path| is_usable(contact, path, live));
    usable()
        .find(|path| live.is_online(path.relay, path.handle))
        .or_else(|| usable().find(|path| Some(path.relay) == last))
        .or_else(|| usable().next())
}

fn is_usable(contact: &ContactRow, path: &PathRow, live: &Live) -> bool {
    !path.missing && !contact.is_in_doubt(path.relay) && live.is_up(path.relay)
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
        last: Option<RelayId>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(main) = choose(contact, live, last).map(Route::from) else { return Ok(None) };
        let mut one_way = BTreeMap::new();
        for (seq, way) in wish::one_way(db, id)? {
            let route = match way {
                Way::Direct => None,
                Way::Relay => Some(main),
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
