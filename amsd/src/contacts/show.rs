//! Contacts as the user sees them.

use ams_crypto::identity::IdentityPublic;
use ams_rpc::types::{
    Contact, ContactBrief, ContactState, LinkState, OutgoingRequest, Path, PathKind, PathState,
    Presence, Requests, Time, WaitingLink,
};
use ams_wire::id::Key;

use super::row::{ContactId, ContactRow, PathRow, Stage};
use super::{all, ask, intro, link};
use crate::live::Live;
use crate::peer::{Directs, offer};
use crate::relay::{RelayId, Relays};
use crate::router::path;
use crate::store::{Read, StoreError};

/// One contact.
pub fn contact(
    db: &impl Read,
    live: &Live,
    id: ContactId,
    row: &ContactRow,
) -> Result<Contact, StoreError> {
    let active = path::choose(id, row, live).filter(|_| row.is_open()).map(|path| path.relay);
    let mut paths = Vec::with_capacity(row.paths.len());
    for path in &row.paths {
        let nick = nick(db, path.relay)?;
        let (state, since, reason) = match path.missing && path.relay.is_direct() {
            true => (PathState::Off, None, Some(why_not(db, id)?)),
            false => path_state(row, path, live),
        };
        let active = active == Some(path.relay);
        let (kind, name) = match path.relay.is_direct() {
            true => (PathKind::Direct, direct_name(db, path.relay)?),
            false => (PathKind::Relay, nick),
        };
        paths.push(Path { kind, name, active, state, since, reason });
    }
    if row.direct().is_none() && row.is_open() && offer::is_allowed(db)? {
        let (kind, name) = (PathKind::Direct, "direct".to_owned());
        let reason = Some(why_not(db, id)?);
        let (active, state, since) = (false, PathState::Off, None);
        paths.push(Path { kind, name, active, state, since, reason });
    }
    let relays = row.paths.iter().find(|path| !path.relay.is_direct());
    let address = match relays.filter(|_| row.by_link.is_none()) {
        Some(path) => Some(self::address(db, path)?),
        None => None,
    };
    Ok(Contact {
        id: id.to_string(),
        name: row.name.clone(),
        address,
        state: state(row),
        // Of somebody who is blocked nobody wants to know.
        presence: if row.blocked { Presence::Unknown } else { live.presence(row) },
        // What was verified is another key than the one that is offered everywhere.
        verified: row.verified.is_some() && !row.is_key_changed(),
        verified_by: row.verified.map(Into::into),
        fingerprint: fingerprint(row.identity),
        offered_fingerprint: fingerprint(row.offered),
        paths,
    })
}

/// One contact, in short.
pub fn brief(id: ContactId, row: &ContactRow) -> ContactBrief {
    ContactBrief { id: id.to_string(), name: row.name.clone(), state: state(row) }
}

/// Every contact, by name.
pub fn list(db: &impl Read, live: &Live) -> Result<Vec<Contact>, StoreError> {
    let mut shown = Vec::new();
    for (id, row) in all(db)? {
        shown.push(contact(db, live, id, &row)?);
    }
    shown.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(shown)
}

/// Requests that wait, in and out, and links that wait for whoever has them.
pub fn requests(db: &impl Read, now: i64) -> Result<Requests, StoreError> {
    let mut shown = Requests { incoming: Vec::new(), outgoing: Vec::new(), links: Vec::new() };
    for row in link::waiting(db, now)? {
        let (relay, expires) = (nick(db, row.relay)?, Time::from_millis(row.until));
        shown.links.push(WaitingLink { relay, name: row.name, expires });
    }
    for (id, row) in intro::waiting(db)? {
        shown.incoming.push(row.shown(id, &nick(db, row.relay)?));
    }
    for (relay, asked, contact, user) in ask::outgoing(db)? {
        shown.outgoing.push(OutgoingRequest {
            id: intro::request_id(asked.secrets()?.id()),
            to: match asked.link {
                Some(_) => format!("a contact link over {}", nick(db, relay)?),
                None if relay.is_direct() => direct_name(db, relay)?,
                None => format!("{user}@{}", nick(db, relay)?),
            },
            name: contact.name,
            sent: Time::from_millis(asked.at),
        });
    }
    Ok(shown)
}

fn state(row: &ContactRow) -> ContactState {
    match row.stage {
        _ if row.blocked => ContactState::Blocked,
        _ if row.is_key_changed() => ContactState::KeyChanged,
        Stage::Active => ContactState::Active,
        Stage::Asked | Stage::Approved | Stage::Removed => ContactState::Pending,
    }
}

/// Why nothing goes where another key was shown; for people.
pub const IN_DOUBT: &str = "another key was shown here, so nothing goes this way";

/// The state, since when, and why it is not up, or why nothing goes although it is.
fn path_state(
    row: &ContactRow,
    path: &PathRow,
    live: &Live,
) -> (PathState, Option<Time>, Option<String>) {
    let stands = |state, hint: &str| (state, None, Some(hint.to_owned()));
    if path.missing {
        let hint = "the relay no longer knows this contact: add it again";
        return stands(PathState::Missing, hint);
    }
    if row.is_in_doubt(path.relay) {
        return stands(PathState::KeyChanged, IN_DOUBT);
    }
    if row.by_link.is_some() {
        let hint = "not answered yet; a link that somebody else used, or that expired, never is: \
                    then remove this contact and ask for another link";
        return stands(PathState::Pending, hint);
    }
    if row.stage == Stage::Asked {
        return stands(PathState::Pending, "not answered yet");
    }
    let Some(link) = live.link(path.relay) else { return (PathState::Off, None, None) };
    let state = match link.state {
        LinkState::Up => PathState::Up,
        LinkState::Connecting => PathState::Connecting,
        LinkState::Down => PathState::Down,
        LinkState::Off => PathState::Off,
        LinkState::Refused => PathState::Refused,
    };
    let is_away = state == PathState::Up
        && row.is_open()
        && !path.relay.is_direct()
        && !live.is_online(path.relay, path.handle);
    let reason =
        if is_away { Some("the contact is not online there".to_owned()) } else { link.reason };
    (state, Some(link.since), reason)
}

/// Why a contact has no direct way; for people.
pub fn why_not(db: &impl Read, id: ContactId) -> Result<String, StoreError> {
    Ok(offer::why_none(db, id)?
        .unwrap_or("direct = \"off\" in the config of this daemon")
        .to_owned())
}

/// `USER@RELAY`, or where it is dialled.
pub(super) fn address(db: &impl Read, path: &PathRow) -> Result<String, StoreError> {
    if path.relay.is_direct() {
        return direct_name(db, path.relay);
    }
    Ok(format!("{}@{}", path.user, nick(db, path.relay)?))
}

/// Where a contact is dialled; `direct` where it dials.
pub fn direct_name(db: &impl Read, way: RelayId) -> Result<String, StoreError> {
    let row = db.get::<Directs>(&way)?;
    let first = row.as_ref().and_then(|row| row.places().into_iter().next().cloned());
    Ok(first.unwrap_or_else(|| "direct".to_owned()))
}

fn nick(db: &impl Read, relay: RelayId) -> Result<String, StoreError> {
    Ok(db.get::<Relays>(&relay)?.map_or_else(String::new, |row| row.nick))
}

fn fingerprint(key: Option<Key>) -> Option<String> {
    IdentityPublic::from_bytes(key?.0).ok().map(|key| key.fingerprint())
}
