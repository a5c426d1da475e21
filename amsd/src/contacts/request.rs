//! Somebody asks us.
//!
//! 1. [`receive`]: an introduction came; it is checked and kept, or answered at once: a renewal of
//!    a contact's, one that crosses our own, one that a rule accepts
//! 2. [`accept`] or [`reject`]: the user answers
//!
//! A refusal is silent: the asker sees somebody who is offline.

use ams_crypto::introduction::{self, ByLink, VerifiedIntro};
use ams_rpc::types::{Fact as Event, KeyChangedFact};
use ams_wire::from_relay::Request;
use ams_wire::id::{Blob, Handle, IntroId, Key, RoutingId};
use ams_wire::to_relay::{Approve, Refuse, ToRelay};
use ams_wire::username::Username;

use super::ask::new_row;
use super::direct;
use super::intro::{self, Answer, IntroRow, Intros, request_id};
use super::row::{self, ContactId, ContactRow, Contacts, PathRow, Stage, Verified};
use super::snapshot::with_missing;
use super::tell::tell;
use super::{
    BadName, by_address, by_identity, by_name, check_name, free_name, next_generation, recognise,
};
use crate::fact::Fact;
use crate::profile::{self, Me};
use crate::relay::{RelayId, RelayRow};
use crate::session::row::{RootRow, Roots};
use crate::settings::Requests;
use crate::store::{Read, StoreError, Table, Txn};
use ams_crypto::pair::{LinkSecret, Side};

/// Most requests that wait for the user.
pub(super) const MAX_WAITING: usize = 100;
/// Most roots of one contact that were approved and not used yet.
const MAX_UNUSED_ROOTS: usize = 4;

/// The contact link that an introduction came by.
pub(super) struct CameBy {
    /// Its routing id.
    pub(super) by: RoutingId,
    /// The introduction as it came, sealed to the link.
    pub(super) shown: IntroId,
    /// Its secret.
    pub(super) secret: LinkSecret,
    /// Our name there, which the asker does not know.
    pub(super) name: Username,
}

/// An introduction came from the relay, or on a contact's direct link; `true`: it is kept or
/// answered, and is not needed again.
pub fn receive(
    txn: &Txn<'_>,
    me: &Me,
    relay: (RelayId, &RelayRow),
    request: &Request,
    rule: Requests,
    now: i64,
) -> Result<bool, StoreError> {
    let id = introduction::id(request.intro.as_bytes());
    if let Some(known) = txn.get::<Intros>(&id)? {
        if !intro::is_void(txn, &known)? && !is_answered_by_now(txn, relay.0, &known)? {
            return repeat_answer(txn, relay.0, id, &known).map(|()| true);
        }
        // Approved for a contact that was removed since: asked anew.
        intro::forget(txn, id)?;
    }
    let refuse = || refuse(txn, relay.0, &request.from, request.their_handle).map(|()| false);
    let Ok(intro) = introduction::verify(request.intro.as_bytes()) else { return refuse() };
    if !is_meant_for_us(&intro, me, relay.1, &request.from) {
        return refuse();
    }
    if is_expired(&intro, now) {
        // A contact whose renewal came too late makes a new one; a refusal would end the pair.
        let known = by_identity(txn, &intro.identity)?.is_some();
        return if known { Ok(false) } else { refuse() };
    }
    let mut row = IntroRow {
        relay: relay.0,
        from: request.from.clone(),
        their_handle: request.their_handle,
        identity: Key(*intro.identity.as_bytes()),
        at: now,
        again: false,
        answer: Answer::Waiting(request.intro.as_bytes().to_vec()),
        link_key: None,
        source: None,
    };
    if let Some((contact, known)) = by_address(txn, relay.0, &request.from)? {
        return match known.identity {
            // The relay shows it again once the contact is unblocked.
            _ if known.blocked => Ok(false),
            Some(key) if key != row.identity => {
                key_changed(txn, relay.0, (contact, &known), row.identity).map(|()| false)
            }
            _ if !intro::may_answer(txn, row.identity, now)? => Ok(false),
            // Ours crosses theirs, or they renew: both have said yes already.
            _ => {
                let Some(handle) = known.path(relay.0).map(|path| path.handle) else {
                    return Ok(false);
                };
                approve(txn, me, &intro, row, (contact, &known, handle), None, now)?;
                Ok(true)
            }
        };
    }
    if let Some((_, known)) = by_identity(txn, &intro.identity)? {
        if known.blocked {
            return Ok(false);
        }
        row.again = true;
    }
    match rule {
        // Nothing is kept of it: whoever is denied must not fill the disk.
        Requests::Deny => refuse(),
        Requests::Accept if !intro::may_answer(txn, row.identity, now)? => Ok(false),
        Requests::Accept => {
            let (contact, known, handle) = new_or_known(txn, relay, &intro, &row, None)?;
            approve(txn, me, &intro, row, (contact, &known, handle), None, now)?;
            Ok(true)
        }
        Requests::Ask => {
            if intro::count_waiting(txn)? >= MAX_WAITING {
                return Ok(false);
            }
            txn.tell(Fact::event(Event::ContactRequest(ams_rpc::types::RequestFact {
                request: row.shown(id, &relay.1.nick),
            })));
            intro::put(txn, id, &row)?;
            Ok(true)
        }
    }
}

/// Whether what waits for the user has had the answer by another word of that one's: it came from
/// whom the user had disconnected, and comes again on the way of a contact that is wanted.
fn is_answered_by_now(
    db: &impl Read,
    relay: RelayId,
    known: &IntroRow,
) -> Result<bool, StoreError> {
    let waits = matches!(known.answer, Answer::Waiting(_));
    let contact = by_address(db, relay, &known.from)?;
    let is_it = |row: &ContactRow| row.identity == Some(known.identity) && !row.blocked;
    Ok(waits && contact.is_some_and(|(_, row)| is_it(&row)))
}

pub(super) fn is_meant_for_us(
    intro: &VerifiedIntro,
    me: &Me,
    relay: &RelayRow,
    from: &Username,
) -> bool {
    let fields = &intro.fields;
    fields.from == *from
        && fields.to == relay.user
        && fields.place == relay.place()
        && intro.identity != *me.public()
}

pub(super) fn is_expired(intro: &VerifiedIntro, now: i64) -> bool {
    let now = u64::try_from(now).unwrap_or_default().checked_div(1000).unwrap_or_default();
    intro.fields.expires <= now
}

fn repeat_answer(
    txn: &Txn<'_>,
    relay: RelayId,
    id: IntroId,
    known: &IntroRow,
) -> Result<(), StoreError> {
    match &known.answer {
        Answer::Waiting(_) => Ok(()),
        Answer::Refused => refuse(txn, relay, &known.from, known.their_handle),
        Answer::Approved(handle, approval) => {
            send_approval(txn, relay, (id, known), *handle, approval.clone(), None)
        }
    }
}

fn refuse(txn: &Txn<'_>, relay: RelayId, to: &Username, handle: Handle) -> Result<(), StoreError> {
    tell(txn, relay, &ToRelay::Refuse(Refuse { to: to.clone(), their_handle: handle }))
}

/// Another identity key under a known address: somebody else has the account, or the contact lost
/// its keys. Nothing goes that way until the user says which.
pub(crate) fn key_changed(
    txn: &Txn<'_>,
    relay: RelayId,
    (id, before): (ContactId, &ContactRow),
    offered: Key,
) -> Result<(), StoreError> {
    let after = before.with_offer(offered, relay);
    if after == *before {
        return Ok(());
    }
    row::put(txn, id, Some(before), &after)?;
    if after.is_open() {
        // What is under way over that path goes over another one.
        txn.tell(Fact::Due(id));
    }
    if before.offered == Some(offered) && before.is_key_changed() == after.is_key_changed() {
        return Ok(());
    }
    let fingerprint = |key: Option<Key>| {
        key.and_then(|key| ams_crypto::identity::IdentityPublic::from_bytes(key.0).ok())
            .map(|key| key.fingerprint())
            .unwrap_or_default()
    };
    txn.tell(Fact::event(Event::ContactKeyChanged(KeyChangedFact {
        contact: after.name,
        contact_id: id.to_string(),
        fingerprint: fingerprint(before.identity),
        offered_fingerprint: fingerprint(Some(offered)),
    })));
    Ok(())
}

/// The contact's known key proved to be there, over `relay`: what was offered there needs no decision.
pub(crate) fn key_proved(
    txn: &Txn<'_>,
    relay: RelayId,
    (id, before): (ContactId, &ContactRow),
) -> Result<(), StoreError> {
    let after = before.with_proof(relay);
    if after == *before {
        return Ok(());
    }
    row::put(txn, id, Some(before), &after)?;
    txn.tell(Fact::Hooks);
    txn.tell(Fact::Due(id));
    Ok(())
}

/// The contact that an approval makes, or adds a path to, and our handle on that path.
pub(super) fn new_or_known(
    txn: &Txn<'_>,
    relay: (RelayId, &RelayRow),
    intro: &VerifiedIntro,
    row: &IntroRow,
    name: Option<String>,
) -> Result<(ContactId, ContactRow, Handle), StoreError> {
    let handle = match relay.0.is_direct() {
        true => crate::peer::HANDLE,
        false => Handle(ams_crypto::random::bytes()),
    };
    if let Some((id, before)) = by_identity(txn, &intro.identity)? {
        let mut known = before.clone();
        // Met again on the way that there is.
        if relay.0.is_direct() && before.path(relay.0).is_some() {
            return Ok((id, known, handle));
        }
        known.paths.push(PathRow {
            relay: relay.0,
            handle,
            user: row.from.clone(),
            missing: false,
        });
        row::put(txn, id, Some(&before), &known)?;
        return Ok((id, known, handle));
    }
    let id = ContactId(profile::count(txn, "contacts")?);
    let name = match name {
        Some(name) => name,
        None => free_name(txn, &row.from, &relay.1.nick)?,
    };
    let made = new_row(name, relay.0, row.from.clone(), handle, Stage::Approved);
    row::put(txn, id, None, &made)?;
    Ok((id, made, handle))
}

/// Answers `intro` for `contact`: a new root, and the approval on its way. By a link it is verified.
pub(super) fn approve(
    txn: &Txn<'_>,
    me: &Me,
    intro: &VerifiedIntro,
    row: IntroRow,
    (contact, before, handle): (ContactId, &ContactRow, Handle),
    link: Option<&CameBy>,
    now: i64,
) -> Result<(), StoreError> {
    // An introduction with keys that agree on nothing is nobody's mistake.
    let by_link = link.map(|link| ByLink { secret: &link.secret, name: &link.name });
    let Ok(approved) = introduction::approve(me.key(), &profile::olm(txn)?, intro, by_link) else {
        return refuse(txn, row.relay, &row.from, row.their_handle);
    };
    if before.identity.is_none() {
        recognise(txn, contact, row.identity)?;
    }
    let stage = if before.stage == Stage::Asked { Stage::Approved } else { before.stage };
    let identity = Some(row.identity);
    let verified = before.verified.or(link.map(|_| Verified::Link));
    let after = ContactRow { identity, stage, verified, ..before.with_proof(row.relay) };
    if before.offered.is_some() {
        txn.tell(Fact::Hooks);
    }
    let after = with_missing(&after, handle, false);
    row::put(txn, contact, Some(before), &after)?;
    drop_unused_roots(txn, contact)?;
    let generation = next_generation(txn, contact)?;
    let root =
        RootRow::new(&approved.roots, Side::Approver, intro.id, generation, &approved.session, now);
    txn.put::<Roots>(&(contact, approved.roots.tag), &root)?;
    let by = link.map(|link| link.by);
    let shown = link.map_or(intro.id, |link| link.shown);
    send_approval(txn, row.relay, (shown, &row), handle, approved.approval.clone(), by)?;
    let answer = Answer::Approved(handle, approved.approval);
    intro::put(txn, intro.id, &IntroRow { answer, ..row })?;
    txn.tell(Fact::Due(contact));
    Ok(())
}

/// Keeps the newest of the roots that were approved and never used.
fn drop_unused_roots(txn: &Txn<'_>, contact: ContactId) -> Result<(), StoreError> {
    let mut unused = txn.list::<Roots>(&contact)?;
    unused.retain(|(_, root)| !root.requester && !root.opened);
    unused.sort_by_key(|(_, root)| std::cmp::Reverse(root.made_at));
    for (key, _) in unused.into_iter().skip(MAX_UNUSED_ROOTS.saturating_sub(1)) {
        txn.delete::<Roots>(&key)?;
    }
    Ok(())
}

fn send_approval(
    txn: &Txn<'_>,
    relay: RelayId,
    (intro, row): (IntroId, &IntroRow),
    handle: Handle,
    approval: Vec<u8>,
    by: Option<RoutingId>,
) -> Result<(), StoreError> {
    let approval = Blob::new(approval).ok_or(StoreError::Damaged(Intros::NAME))?;
    let (to, their_handle) = (row.from.clone(), row.their_handle);
    let approve = Approve { to, their_handle, handle, approval, by, intro };
    tell(txn, relay, &ToRelay::Approve(approve))
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The name to be given is none.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// The name to be given is taken.
    #[error("another contact is called {0}")]
    NameTaken(String),
    /// Nothing like that waits.
    #[error("no request by {0} waits")]
    NoSuchRequest(String),
    /// Several wait; their ids.
    #[error("several requests by {name} wait: {}", ids.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// Which there are.
        ids: Vec<String>,
    },
}

/// Accepts the request that `wanted` (a name, `user@relay`, or an id) names.
pub fn accept(
    txn: &Txn<'_>,
    me: &Me,
    wanted: &str,
    local: Option<&str>,
    now: i64,
) -> Result<(ContactId, ContactRow), AnswerError> {
    let waiting = find(txn, wanted)?;
    if let Some(name) = local {
        check_name(name)?;
        if by_name(txn, name)?.is_some() {
            return Err(AnswerError::NameTaken(name.to_owned()));
        }
    }
    let relay = crate::relay::account(txn, me, waiting.1.relay)?
        .ok_or_else(|| AnswerError::NoSuchRequest(wanted.to_owned()))?;
    let relay = (waiting.1.relay, &relay);
    Ok(approve_waiting(txn, me, relay, waiting, local.map(str::to_owned), now)?)
}

/// Answers a request that waits with yes.
pub(super) fn approve_waiting(
    txn: &Txn<'_>,
    me: &Me,
    relay: (RelayId, &RelayRow),
    (_, mut row): (IntroId, IntroRow),
    name: Option<String>,
    now: i64,
) -> Result<(ContactId, ContactRow), StoreError> {
    let Answer::Waiting(intro) = &row.answer else { return Err(StoreError::Damaged(Intros::NAME)) };
    let intro = introduction::verify(intro).map_err(|_| StoreError::Damaged(Intros::NAME))?;
    let relay = if row.relay.is_direct() {
        let known = by_identity(txn, &intro.identity)?.map(|(_, known)| known);
        row.relay = direct::way_of(txn, known.as_ref(), row.link_key)?;
        (row.relay, relay.1)
    } else {
        relay
    };
    let (id, contact, handle) = new_or_known(txn, relay, &intro, &row, name)?;
    approve(txn, me, &intro, row, (id, &contact, handle), None, now)?;
    let contact = txn.get::<Contacts>(&id)?.ok_or(StoreError::Damaged(Contacts::NAME))?;
    Ok((id, contact))
}

/// Refuses the request that `wanted` names, silently.
pub fn reject(txn: &Txn<'_>, wanted: &str) -> Result<(), AnswerError> {
    let (id, row) = find(txn, wanted)?;
    refuse(txn, row.relay, &row.from, row.their_handle)?;
    Ok(intro::put(txn, id, &IntroRow { answer: Answer::Refused, ..row })?)
}

fn find(db: &impl Read, wanted: &str) -> Result<(IntroId, IntroRow), AnswerError> {
    let (user, nick) = wanted.split_once('@').unwrap_or((wanted, ""));
    let mut found = Vec::new();
    for (id, row) in intro::waiting(db)? {
        let at = db.get::<crate::relay::Relays>(&row.relay)?;
        let here =
            nick.is_empty() || at.is_some_and(|relay| relay.nick == nick || relay.at == nick);
        if request_id(id) == wanted || (row.from.as_str() == user && here) {
            found.push((id, row));
        }
    }
    let ids = found.iter().map(|(id, _)| request_id(*id)).collect();
    match found.pop() {
        None => Err(AnswerError::NoSuchRequest(wanted.to_owned())),
        Some(only) if found.is_empty() => Ok(only),
        Some(_) => Err(AnswerError::Ambiguous { name: wanted.to_owned(), ids }),
    }
}
