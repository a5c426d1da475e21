//! `peer.*`: direct links.

use ams_crypto::identity::IdentityPublic;
use ams_rpc::error::key_hint;
use ams_rpc::types::{LinkState, PeerConnectParams, PeerInfo, PeerParams, Peers};
use ams_rpc::{CallContext, RpcError};
use ams_wire::address::{DIRECT_PORT, HostPort, Link};
use ams_wire::id::Key;
use tokio::time::timeout;

use super::relay::CONNECT;
use super::{App, error};
use crate::contacts::direct::{self, Met};
use crate::contacts::{self, ContactId, ContactRow, Stage, request, show};
use crate::live::Live;
use crate::peer::{self, DirectRow, Directs, MeetError};
use crate::relay::RelayId;
use crate::store::{Read, StoreError, Table, Txn};

/// Every direct peer, by name.
pub(super) fn all(db: &impl Read, live: &Live) -> Result<Vec<PeerInfo>, StoreError> {
    let mut found = Vec::new();
    for (id, row) in contacts::all(db)? {
        if let Some(way) = row.direct() {
            found.push(info(db, live, way, (id, &row))?);
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn info(
    db: &impl Read,
    live: &Live,
    way: RelayId,
    (id, row): (ContactId, &ContactRow),
) -> Result<PeerInfo, StoreError> {
    let direct = db.get::<Directs>(&way)?.unwrap_or_default();
    let is_over = direct.by_offer && direct.link_key.is_none();
    let is_off = direct.off;
    let off = is_off || is_over || row.blocked;
    let link = live.link(way);
    // The disk says what is wanted; its actor follows, and may be a moment behind.
    let state = match link.as_ref().map(|link| link.state) {
        _ if off => LinkState::Down,
        None | Some(LinkState::Off | LinkState::Refused) => LinkState::Connecting,
        Some(state) => state,
    };
    let is_shown = |shown| shown == state || (off && shown == LinkState::Off);
    let link = link.filter(|link| is_shown(link.state));
    let reason = match off {
        true if row.blocked => Some("blocked".to_owned()),
        true if is_over => Some(show::why_not(db, id)?),
        true => Some("disconnected".to_owned()),
        // Whether it answers at this moment matters less.
        false if row.is_in_doubt(way) => Some(show::IN_DOUBT.to_owned()),
        false => link.as_ref().and_then(|link| link.reason.clone()),
    };
    Ok(PeerInfo {
        name: row.name.clone(),
        address: show::direct_name(db, way)?,
        state,
        since: link.map(|link| link.since),
        reason,
        fingerprint: row.identity().map(|key| key.fingerprint()),
    })
}

/// The links to hand out.
pub(super) fn links(app: &App) -> Vec<String> {
    let identity = Key(*app.me.public().as_bytes());
    let link = |at| Link::Peer(ams_wire::address::PeerLink { at, identity }).to_string();
    app.peers.reach().into_iter().map(link).collect()
}

/// Where to dial, and who has to be there.
struct Wanted {
    at: HostPort,
    identity: Option<IdentityPublic>,
    /// The user had the fingerprint from elsewhere, and did not only see it here.
    verified: bool,
}

fn wanted(params: &PeerConnectParams) -> Result<Wanted, RpcError> {
    let given = match &params.fingerprint {
        Some(text) => Some(IdentityPublic::from_fingerprint(text).map_err(|error| {
            RpcError::bad_value(error.to_string()).with_hint("amsctl id on the other side shows it")
        })?),
        None => None,
    };
    let accept_new = params.accept_new == Some(true);
    if params.address.starts_with("ams://") {
        let link = Link::parse_peer(&params.address).map_err(error::bad_link)?;
        let identity = IdentityPublic::from_bytes(link.identity.0)
            .map_err(|_| RpcError::bad_link("the key in this link is not usable"))?;
        if given.is_some_and(|given| given != identity) {
            return Err(RpcError::fingerprint_mismatch(
                "the link is another one's than the fingerprint",
            ));
        }
        return Ok(Wanted { at: link.at, identity: Some(identity), verified: true });
    }
    let at = HostPort::parse(&params.address, DIRECT_PORT).map_err(|error| {
        RpcError::bad_value(error.to_string()).with_hint("write HOST:PORT, or give a peer link")
    })?;
    Ok(Wanted { at, identity: given, verified: given.is_some() && !accept_new })
}

/// Connects a contact that has a direct way again, by its name; `None`: an address is meant.
async fn again(app: &App, params: &PeerConnectParams) -> Result<Option<PeerInfo>, RpcError> {
    let says_who = params.local.is_some() || params.fingerprint.is_some();
    if says_who || params.accept_new.is_some() || params.address.starts_with("ams://") {
        return Ok(None);
    }
    let (name, live) = (params.address.clone(), app.live.clone());
    let found = app.store.write(move |txn| {
        let Some((id, row)) = contacts::by_name(txn, &name)? else { return Ok(None) };
        let Some(way) = row.direct() else {
            // A host without a dot and a port is rare, a name that was meant is not.
            return match name.contains(['.', ':']) {
                true => Ok(None),
                false => Err(RpcError::no_such_peer(format!("{name} has no direct way"))
                    .with_hint("amsctl peer connect HOST:PORT, or a peer link of that contact")),
            };
        };
        if row.blocked {
            return Err(RpcError::blocked("this contact is blocked"));
        }
        let direct = txn.get::<Directs>(&way)?.unwrap_or_default();
        // Whoever did not answer yet may never, and where there is nowhere to dial, the contact does.
        let is_dialled = row.stage == Stage::Active && direct.noted && !direct.places().is_empty();
        if direct.off {
            peer::put(txn, way, &DirectRow { off: false, ..direct })?;
        }
        if let Some(changed) = in_doubt(way, &row) {
            return Ok(Some((way, Found::Answer(Err(changed)))));
        }
        Ok(Some(match is_dialled && !live.is_up(way) {
            true => (way, Found::Dialled(live.failures(way))),
            false => (way, Found::Answer(Ok(info(txn, &live, way, (id, &row))?))),
        }))
    });
    let Some((way, found)) = found.await? else { return Ok(None) };
    app.peers.hurry(way);
    match found {
        Found::Answer(answer) => answer.map(Some),
        Found::Dialled(failures) => tried(app, way, failures).await.map(Some),
    }
}

/// What connecting a contact again comes to.
enum Found {
    /// There is nothing to wait for.
    Answer(Result<PeerInfo, RpcError>),
    /// It is dialled, after so many tries that failed.
    Dialled(u64),
}

/// How the try to connect ended: by a link, a failure more than `failures`, or no patience.
async fn tried(app: &App, way: RelayId, failures: u64) -> Result<PeerInfo, RpcError> {
    let mut news = app.live.follow();
    let look = async {
        while !app.live.is_up(way) && app.live.failures(way) <= failures {
            if news.changed().await.is_err() {
                return;
            }
        }
    };
    // What is shown then is how it stands.
    let _ = timeout(CONNECT, look).await;
    let live = app.live.clone();
    let stands = app.store.read(move |db| {
        let Some((id, row, _)) = peer::wanted(db, way)? else {
            return Err(RpcError::no_such_peer("it was disconnected meanwhile"));
        };
        if let Some(changed) = in_doubt(way, &row) {
            return Err(changed);
        }
        Ok(info(db, &live, way, (id, &row))?)
    });
    let info = stands.await?;
    if info.state == LinkState::Up {
        return Ok(info);
    }
    let reason = info.reason.unwrap_or_else(|| "no answer yet".to_owned());
    Err(RpcError::not_reachable(format!("{} is not connected: {reason}", info.name))
        .with_hint("it is tried again by itself; amsctl peer list shows how it stands"))
}

/// Another key was shown where the contact is dialled.
fn in_doubt(way: RelayId, row: &ContactRow) -> Option<RpcError> {
    let key = IdentityPublic::from_bytes(row.offered.filter(|_| row.is_in_doubt(way))?.0).ok()?;
    Some(error::key_shown(&row.name, key.fingerprint()))
}

/// Whose place an address is: the contact's that the user names, else the one's that is dialled there.
fn resident(
    db: &impl Read,
    at: &str,
    named: Option<&str>,
) -> Result<Option<(ContactId, ContactRow)>, StoreError> {
    if let Some(name) = named
        && let Some(known) = contacts::by_name(db, name)?
    {
        return Ok(Some(known));
    }
    for (id, row) in contacts::all(db)? {
        let Some(way) = row.direct() else { continue };
        let direct = db.get::<Directs>(&way)?.unwrap_or_default();
        if direct.places().iter().any(|place| place.eq_ignore_ascii_case(at)) {
            return Ok(Some((id, row)));
        }
    }
    Ok(None)
}

/// Whoever was met, and is no contact, is where a contact ought to be: the contact may have another
/// key now, or somebody may have taken its place. Only the user can tell, and a new name says that it
/// is somebody else.
fn instead_of(
    txn: &Txn<'_>,
    live: &Live,
    met: &Met,
    named: Option<&str>,
) -> Result<Option<RpcError>, StoreError> {
    let Some((id, row)) = resident(txn, &met.at, named)? else { return Ok(None) };
    let (name, at, shown) = (&row.name, &met.at, met.identity.fingerprint());
    let is_named = named == Some(name.as_str());
    if row.identity.is_none() || (met.verified && !is_named) {
        return Ok(None);
    }
    let other = "if it is somebody else, connect with another name and the fingerprint that amsctl id \
                 shows there: --as NAME --fingerprint F";
    // Where its own key is there at this moment, it has no other.
    let way = row.direct().filter(|way| !row.blocked && !live.is_up(*way));
    let hint = match way {
        Some(way) => {
            let direct = txn.get::<Directs>(&way)?.unwrap_or_default();
            // Where it is met once its new key is trusted.
            peer::put(txn, way, &direct.at(at.clone()))?;
            request::key_changed(txn, way, (id, &row), Key(*met.identity.as_bytes()))?;
            format!("{}; {other}", key_hint(name, &shown))
        }
        None => format!("amsctl contact show {name} has the key that is known; {other}"),
    };
    let what = match is_named {
        true => format!("{name} is a contact with another key"),
        false => format!("{name} was at this address with another key"),
    };
    let what = format!("{what}: {at} shows the fingerprint {shown}; nothing was said to it");
    Ok(Some(RpcError::key_changed(what).with_hint(hint).offering(shown)))
}

pub(super) async fn connect(
    app: App,
    _: CallContext,
    params: PeerConnectParams,
) -> Result<PeerInfo, RpcError> {
    if let Some(connected) = again(&app, &params).await? {
        return Ok(connected);
    }
    let wanted = wanted(&params)?;
    let mut met = app.meeter.meet(&wanted.at).await.map_err(|error| match error {
        MeetError::Store(error) => error.into(),
        MeetError::Dial(_) | MeetError::Closed => {
            RpcError::not_reachable(format!("{}: {error}", wanted.at)).with_hint(
                "check the address, and that the other amsd listens there; then try again",
            )
        }
    })?;
    if let Some(expected) = wanted.identity
        && expected != met.identity
    {
        let at = &wanted.at;
        return Err(RpcError::fingerprint_mismatch(format!(
            "{at} shows another key, with the fingerprint {}; nothing was said to it",
            met.identity.fingerprint()
        ))
        .offering(met.identity.fingerprint()));
    }
    met.verified = wanted.verified;
    let (me, now) = (app.me.clone(), app.outside.clock.now());
    let pinned = wanted.identity.is_some() || params.accept_new == Some(true);
    let live = app.live.clone();
    let asked = app.store.write(move |txn| {
        let known = contacts::by_identity(txn, &met.identity)?;
        let is_new = known.is_none() && met.identity != *me.public();
        if is_new && let Some(changed) = instead_of(txn, &live, &met, params.local.as_deref())? {
            return Ok(Err(changed));
        }
        if !pinned && is_new {
            let fingerprint = met.identity.fingerprint();
            return Err(RpcError::key_unknown(format!(
                "{} shows the fingerprint {fingerprint}, which nobody vouched for",
                met.at
            ))
            .offering(fingerprint));
        }
        if known.as_ref().is_some_and(|(_, row)| row.blocked) {
            return Err(RpcError::blocked("this contact is blocked"));
        }
        let way = known.as_ref().and_then(|(_, row)| row.direct());
        let met = Met { linked: way.is_some_and(|way| live.is_up(way)), ..met.clone() };
        let (id, row) = direct::add(txn, &me, &met, params.local.as_deref(), now)?;
        let way = row.direct().ok_or(StoreError::Damaged(Directs::NAME))?;
        Ok(Ok((way, info(txn, &live, way, (id, &row))?)))
    });
    // What was noted of a changed key stays.
    let (way, info) = asked.await??;
    app.peers.hurry(way);
    Ok(info)
}

pub(super) async fn list(app: App) -> Result<Peers, RpcError> {
    let live = app.live.clone();
    app.store.read(move |db| Ok(Peers { peers: all(db, &live)? })).await
}

pub(super) async fn disconnect(
    app: App,
    _: CallContext,
    params: PeerParams,
) -> Result<PeerInfo, RpcError> {
    let live = app.live.clone();
    app.store
        .write(move |txn| {
            let (id, row) = error::contact_called(txn, &params.name)?;
            let Some(way) = row.direct() else {
                return Err(RpcError::no_such_peer(format!("{} has no direct way", params.name)));
            };
            let direct = txn.get::<Directs>(&way)?.unwrap_or_default();
            peer::put(txn, way, &DirectRow { off: true, ..direct })?;
            info(txn, &live, way, (id, &row)).map_err(Into::into)
        })
        .await
}
