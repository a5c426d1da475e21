//! Contact links: whoever redeems one is a contact, verified on both sides.
//!
//! 1. [`make`]: a link with keys of its own, which the relay hears nothing of but its routing id
//!    ([`awaited`])
//! 2. [`redeem`]: somebody asks by it, sealed to the link, so that the relay can neither read nor
//!    replace what is asked
//! 3. [`receive`]: the first who really has the link is approved; the link is over
//! 4. [`met`]: the redeemer learns whom it met
//!
//! A link that was used, or expired, answers nobody: to a second redeemer it is somebody offline.

use ams_crypto::blob::{self, Purpose};
use ams_crypto::dh::{DhPublic, DhSecret};
use ams_crypto::identity::IdentityPublic;
use ams_crypto::introduction::{self, Completed, Meeting};
use ams_crypto::pair::LinkSecret;
use ams_wire::address::{ContactLink, HostPort, RELAY_PORT};
use ams_wire::from_relay::Redeemed as Shown;
use ams_wire::id::{Blob, ContactSecret, Handle, Key, RoutingId};
use ams_wire::intro::Place;
use ams_wire::limits::MAX_CONTACT_LINKS;
use ams_wire::to_relay::{Redeem, ToRelay};
use ams_wire::username::Username;
use minicbor::{Decode, Encode};

use super::ask::{Asked, AskedRow, new_row};
use super::intro::{Answer, IntroRow};
use super::request::{self, CameBy};
use super::row::{self, ContactId, ContactRow, Stage};
use super::tell;
use super::{BadName, by_address, by_identity, by_name, check_name, free_name, next_generation};
use crate::fact::Fact;
use crate::outbox::show::ME;
use crate::profile::{self, Me};
use crate::relay::{RelayId, RelayRow};
use crate::store::{Read, StoreError, Table, Txn};

/// How long a link is good, milliseconds.
const LIFE: i64 = 7 * 24 * 60 * 60 * 1000;
/// Characters of a fingerprint by which somebody is called whose name is not known yet.
const SHORT: usize = 8;

/// A link that was made here and that nobody redeemed yet.
#[derive(Clone, Encode, Decode)]
#[cbor(map)]
pub struct LinkRow {
    /// The relay that it leads over.
    #[n(0)]
    pub relay: RelayId,
    /// Its secret.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub secret: [u8; 16],
    /// The secret half of its one-time key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub one_time: [u8; 32],
    /// What the redeemer shall be called here.
    #[n(3)]
    pub name: Option<String>,
    /// Until when it is good, milliseconds since 1970.
    #[n(4)]
    pub until: i64,
}

/// Routing id → link that was made here.
pub struct Links;
impl Table for Links {
    const NAME: &'static str = "contact_links";
    type Key = RoutingId;
    type Row = LinkRow;
}

/// A link that was redeemed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RedeemedRow {
    /// Whom it made a contact, or shall.
    #[n(0)]
    pub contact: ContactId,
    /// Until when it is good, milliseconds since 1970.
    #[n(1)]
    pub until: i64,
}

/// Routing id → link that was redeemed here.
pub struct Redeemed;
impl Table for Redeemed {
    const NAME: &'static str = "contact_links_redeemed";
    type Key = RoutingId;
    type Row = RedeemedRow;
}

/// What is kept of the link with what was asked by it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AskedBy {
    /// The link.
    #[n(0)]
    pub by: RoutingId,
    /// Whose it is.
    #[n(1)]
    pub identity: Key,
    /// The sealed introduction: said again, it is the same.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
    /// Until when it is good, milliseconds since 1970.
    #[n(3)]
    pub until: i64,
    /// The user gave the contact its name.
    #[n(4)]
    pub named: bool,
}

/// Why there is no link, or nobody was asked by one. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The name to be given is none.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// The name to be given is taken.
    #[error("another contact is called {0}")]
    NameTaken(String),
    /// Too many links wait for somebody.
    #[error("{MAX_CONTACT_LINKS} contact links wait to be redeemed already")]
    TooMany,
    /// The relay's address cannot stand in a link.
    #[error("the address of the relay, {0}, cannot stand in a link")]
    BadAddress(String),
    /// Its keys are none.
    #[error("the keys in this link are not usable")]
    BadKeys,
    /// It is one's own.
    #[error("this is a link of your own")]
    Yourself,
    /// Its time is over.
    #[error("this link has expired: a contact link is good for 7 days")]
    Expired,
    /// It was redeemed here before.
    #[error("this link was redeemed here already, for {0}")]
    Used(String),
}

/// Makes a link that leads over `relay`.
pub fn make(
    txn: &Txn<'_>,
    me: &Me,
    (relay, row): (RelayId, &RelayRow),
    name: Option<&str>,
    now: i64,
) -> Result<ContactLink, LinkError> {
    if let Some(name) = name {
        check_free(txn, name)?;
    }
    if awaited(txn, relay, now)?.len() >= MAX_CONTACT_LINKS {
        return Err(LinkError::TooMany);
    }
    let at =
        HostPort::parse(&row.at, RELAY_PORT).map_err(|_| LinkError::BadAddress(row.at.clone()))?;
    let (secret, one_time) = (ams_crypto::random::bytes(), DhSecret::generate());
    let (by, until) = (RoutingId(ams_crypto::random::bytes()), now.saturating_add(LIFE));
    let made = LinkRow {
        relay,
        secret,
        one_time: *one_time.to_bytes(),
        name: name.map(str::to_owned),
        until,
    };
    txn.put::<Links>(&by, &made)?;
    txn.tell(Fact::Asks(relay));
    Ok(ContactLink {
        at,
        relay: row.key,
        by,
        identity: Key(*me.public().as_bytes()),
        one_time: Key(*one_time.public().as_bytes()),
        secret: ContactSecret(secret),
        expires: seconds(until),
    })
}

/// The links that lead over `relay` and are neither redeemed nor expired.
pub fn awaited(db: &impl Read, relay: RelayId, now: i64) -> Result<Vec<RoutingId>, StoreError> {
    let mut links = db.list::<Links>(&())?;
    links.retain(|(_, row)| row.relay == relay && now < row.until);
    Ok(links.into_iter().map(|(by, _)| by).collect())
}

/// The links that are neither redeemed nor expired, the soonest to end first.
pub(super) fn waiting(db: &impl Read, now: i64) -> Result<Vec<LinkRow>, StoreError> {
    let links = db.list::<Links>(&())?.into_iter().map(|(_, row)| row);
    let mut links: Vec<_> = links.filter(|row| now < row.until).collect();
    links.sort_by_key(|row| row.until);
    Ok(links)
}

/// Forgets what is over.
pub(crate) fn prune(txn: &Txn<'_>, now: i64) -> Result<(), StoreError> {
    for (by, row) in txn.list::<Links>(&())? {
        if row.until <= now {
            txn.delete::<Links>(&by)?;
        }
    }
    for (by, row) in txn.list::<Redeemed>(&())? {
        if row.until <= now {
            txn.delete::<Redeemed>(&by)?;
        }
    }
    Ok(())
}

/// The account at `relay` is given up.
pub(crate) fn forget(txn: &Txn<'_>, relay: RelayId) -> Result<(), StoreError> {
    for (by, row) in txn.list::<Links>(&())? {
        if row.relay == relay {
            txn.delete::<Links>(&by)?;
        }
    }
    Ok(())
}

/// Asks whoever made `link`. Of somebody who is a contact already the link makes no second one: that
/// contact is meant, under the name that it has, and gets what the link brings once it is answered.
pub fn redeem(
    txn: &Txn<'_>,
    me: &Me,
    relay: (RelayId, &RelayRow),
    link: &ContactLink,
    local: Option<&str>,
    now: i64,
) -> Result<(ContactId, ContactRow), LinkError> {
    let until = i64::try_from(link.expires.saturating_mul(1000)).unwrap_or(i64::MAX);
    let identity = IdentityPublic::from_bytes(link.identity.0).map_err(|_| LinkError::BadKeys)?;
    let one_time = DhPublic::from_bytes(link.one_time.0).map_err(|_| LinkError::BadKeys)?;
    if identity == *me.public() {
        return Err(LinkError::Yourself);
    }
    if let Some(before) = txn.get::<Redeemed>(&link.by)?
        && let Some(contact) = txn.get::<row::Contacts>(&before.contact)?
        && contact.stage != Stage::Removed
    {
        return Err(LinkError::Used(contact.name));
    }
    if until <= now {
        return Err(LinkError::Expired);
    }
    let known = by_identity(txn, &identity)?;
    let local = local.filter(|_| known.is_none());
    let name = match local {
        Some(name) => check_free(txn, name)?,
        None => placeholder(txn, &identity)?,
    };
    let id = ContactId(profile::count(txn, "contacts")?);
    let handle = Handle(ams_crypto::random::bytes());
    let user = stands_for(link.by)?;
    let made = ContactRow {
        by_link: Some(link.by),
        ..new_row(name, relay.0, user.clone(), handle, Stage::Asked)
    };
    row::put(txn, id, None, &made)?;
    let mut account = profile::olm(txn)?;
    let meeting =
        Meeting { from: relay.1.user.clone(), to: user, place: Place::Relay(Key(relay.1.key.0)) };
    let secret = || LinkSecret::from_bytes(*link.secret.as_bytes());
    let asked =
        introduction::request(me.key(), &mut account, meeting, link.expires, Some(secret()));
    profile::put_olm(txn, &account)?;
    let sealed = blob::seal(Purpose::Intro(&secret()), &one_time, &asked.intro)
        .map_err(|_| LinkError::BadKeys)?;
    let by =
        AskedBy { by: link.by, identity: link.identity, sealed, until, named: local.is_some() };
    let kept = AskedRow {
        contact: id,
        secrets: asked.secrets.to_bytes().to_vec(),
        at: now,
        generation: next_generation(txn, id)?,
        link: Some(by.clone()),
    };
    txn.put::<Asked>(&(relay.0, handle), &kept)?;
    let contact = known.as_ref().map_or(id, |(known, _)| *known);
    txn.put::<Redeemed>(&link.by, &RedeemedRow { contact, until })?;
    tell(txn, relay.0, handle, &by, now)?;
    Ok(known.unwrap_or((id, made)))
}

/// Says, or says again, what is asked by a link, as long as it is good.
pub(super) fn tell(
    txn: &Txn<'_>,
    relay: RelayId,
    handle: Handle,
    asked: &AskedBy,
    now: i64,
) -> Result<(), StoreError> {
    if asked.until <= now {
        return Ok(());
    }
    let intro = Blob::new(asked.sealed.clone()).ok_or(StoreError::Damaged(Asked::NAME))?;
    tell::tell(txn, relay, &ToRelay::Redeem(Redeem { handle, by: asked.by, intro }))
}

/// Somebody redeems one of our links. Who does not have the link itself, but its routing id, can
/// make nothing that opens.
pub fn receive(
    txn: &Txn<'_>,
    me: &Me,
    relay: (RelayId, &RelayRow),
    shown: &Shown,
    now: i64,
) -> Result<(), StoreError> {
    let link = txn.get::<Links>(&shown.by)?;
    let Some(link) = link.filter(|link| link.relay == relay.0 && now < link.until) else {
        return Ok(());
    };
    let secret = LinkSecret::from_bytes(link.secret);
    let one_time = DhSecret::from_bytes(&link.one_time);
    let opened = blob::open(Purpose::Intro(&secret), &one_time, shown.intro.as_bytes());
    let Some(intro) = opened.ok().and_then(|opened| introduction::verify(&opened).ok()) else {
        return Ok(());
    };
    let is_meant = intro.fields.from == shown.from
        && intro.fields.to == stands_for(shown.by)?
        && intro.fields.place == Place::Relay(Key(relay.1.key.0))
        && intro.identity != *me.public();
    if !is_meant || intro.fields.expires <= seconds(now) {
        return Ok(());
    }
    let identity = Key(*intro.identity.as_bytes());
    let row = IntroRow {
        relay: relay.0,
        from: shown.from.clone(),
        their_handle: shown.their_handle,
        identity,
        at: now,
        again: false,
        // What is approved below is kept with its answer.
        answer: Answer::Refused,
        link_key: None,
        source: None,
    };
    let by_its_address = by_address(txn, relay.0, &shown.from)?;
    let known = match &by_its_address {
        Some(known) => Some(known.clone()),
        None => by_identity(txn, &intro.identity)?,
    };
    if known.is_some_and(|(_, known)| known.blocked) {
        return Ok(());
    }
    let (id, contact, handle) = match by_its_address {
        Some((id, known)) if known.identity.is_some_and(|key| key != identity) => {
            return request::key_changed(txn, relay.0, (id, &known), identity);
        }
        Some((id, known)) => {
            let Some(path) = known.path(relay.0) else { return Ok(()) };
            let handle = path.handle;
            (id, known, handle)
        }
        None => {
            // The name that the link was made with may be somebody else's by now.
            let name = match link.name {
                Some(name) if by_name(txn, &name)?.is_none() => Some(name),
                _ => None,
            };
            request::new_or_known(txn, relay, &intro, &row, name)?
        }
    };
    let came = CameBy {
        by: shown.by,
        shown: introduction::id(shown.intro.as_bytes()),
        secret,
        name: relay.1.user.clone(),
    };
    request::approve(txn, me, &intro, row, (id, &contact, handle), Some(&came), now)?;
    txn.delete::<Links>(&shown.by)?;
    // It is waited on no longer.
    txn.tell(Fact::Asks(relay.0));
    Ok(())
}

/// The contact, now that whoever made the link said who they are there; `None`: it was somebody
/// else who answered.
pub(super) fn met(
    txn: &Txn<'_>,
    (relay, row): (RelayId, &RelayRow),
    (id, before): (ContactId, &ContactRow),
    asked: &AskedBy,
    completed: &Completed,
    shown: &Username,
) -> Result<Option<ContactRow>, StoreError> {
    let user = &completed.fields.from;
    if asked.identity.0 != *completed.identity.as_bytes() || user != shown {
        return Ok(None);
    }
    let mut after = ContactRow { by_link: None, ..before.clone() };
    if !asked.named {
        after.name = free_name(txn, user, &row.nick)?;
    }
    let of_link = stands_for(asked.by)?;
    for path in &mut after.paths {
        if path.relay == relay && path.user == of_link {
            path.user = user.clone();
        }
    }
    row::put(txn, id, Some(before), &after)?;
    Ok(Some(after))
}

/// The name that stands in an introduction by a link, where that of whoever is asked would: the
/// routing id in hex.
fn stands_for(by: RoutingId) -> Result<Username, StoreError> {
    Username::new(&by.to_string()).map_err(|_| StoreError::Damaged("a routing id"))
}

fn check_free(db: &impl Read, name: &str) -> Result<String, LinkError> {
    check_name(name)?;
    match by_name(db, name)? {
        Some(_) => Err(LinkError::NameTaken(name.to_owned())),
        None => Ok(name.to_owned()),
    }
}

/// What somebody is called of whom only the key is known.
fn placeholder(db: &impl Read, identity: &IdentityPublic) -> Result<String, StoreError> {
    let short: String = identity.fingerprint().chars().filter(|c| *c != '-').take(SHORT).collect();
    let first = format!("link-{short}");
    let (mut name, mut next) = (first.clone(), 2_u32);
    while name == ME || by_name(db, &name)?.is_some() {
        name = format!("{first}-{next}");
        next = next.saturating_add(1);
    }
    Ok(name)
}

fn seconds(at: i64) -> u64 {
    u64::try_from(at).unwrap_or_default().checked_div(1000).unwrap_or_default()
}
