//! `relay.*`: accounts at relays, and the links to them.

use std::time::Duration;

use ams_crypto::opaque::Password;
use ams_rpc::types::{
    Done, LinkState, RelayInfo, RelayJoinParams, RelayLeaveParams, RelayLoginParams, RelayParams,
    RelayPasswordParams, Relays as Shown, Secret,
};
use ams_rpc::{CallContext, RpcError};
use ams_wire::address::{HostPort, Link, RELAY_PORT};
use ams_wire::id::Key;
use ams_wire::username::Username;
use tokio::time::timeout;

use super::{App, error};
use crate::live::Live;
use crate::relay::{AccountError, Refusal, RelayId, RelayRow, Relays, by_nick, link_of};
use crate::store::{Read, StoreError};

/// A relay that this daemon has an account at: by its nickname, `HOST` or `HOST:PORT`.
pub(super) fn find_relay(db: &impl Read, text: &str) -> Result<(RelayId, RelayRow), RpcError> {
    if let Some(found) = by_nick(db, text)? {
        return Ok(found);
    }
    let unknown = || {
        RpcError::no_such_relay(format!("this daemon is on no relay called {text}"))
            .with_hint("amsctl relay list shows the relays; amsctl relay join LINK adds one")
    };
    let wanted = HostPort::parse(text, RELAY_PORT).map_err(|_| unknown())?;
    let mut found = db.list::<Relays>(&())?;
    found.retain(|(_, row)| row.enrolled && row.at == wanted.to_string());
    if found.is_empty() {
        // A host without its port, where the relay has another one than usual.
        found = db.list::<Relays>(&())?;
        found.retain(|(_, row)| {
            let at = HostPort::parse(&row.at, RELAY_PORT);
            row.enrolled && at.is_ok_and(|at| at.host() == text)
        });
    }
    let names: Vec<String> = found.iter().map(|(_, row)| row.nick.clone()).collect();
    match found.pop() {
        None => Err(unknown()),
        Some(only) if found.is_empty() => Ok(only),
        Some(_) => {
            Err(RpcError::ambiguous(format!("several relays are at {text}: {}", names.join(", ")))
                .with_hint("name one of them by its nickname"))
        }
    }
}

/// Every account, in the order in which they were joined.
pub(super) fn all(db: &impl Read, live: &Live) -> Result<Vec<RelayInfo>, StoreError> {
    let rows = db.list::<Relays>(&())?;
    let known = rows.into_iter().filter(|(_, row)| row.enrolled);
    Ok(known.map(|(id, row)| info(live, id, &row)).collect())
}

fn info(live: &Live, id: RelayId, row: &RelayRow) -> RelayInfo {
    let link = live.link(id);
    // The disk says what is wanted; its actor follows, and may be a moment behind.
    let state = match link.as_ref().map(|link| link.state) {
        _ if row.refused.is_some() => LinkState::Refused,
        _ if !row.wanted => LinkState::Off,
        None | Some(LinkState::Off | LinkState::Refused) => LinkState::Connecting,
        Some(state) => state,
    };
    let link = link.filter(|link| link.state == state);
    RelayInfo {
        name: row.nick.clone(),
        address: link_of(row).unwrap_or_else(|| row.at.clone()),
        user: row.user.to_string(),
        state,
        since: link.as_ref().map(|link| link.since),
        reason: match row.refused {
            Some(refusal) => Some(refusal.reason().to_owned()),
            None => link.and_then(|link| link.reason),
        },
    }
}

pub(super) async fn list(app: App) -> Result<Shown, RpcError> {
    let live = app.live.clone();
    app.store.read(move |db| Ok::<_, RpcError>(Shown { relays: all(db, &live)? })).await
}

pub(super) async fn join(
    app: App,
    _: CallContext,
    params: RelayJoinParams,
) -> Result<RelayInfo, RpcError> {
    let link = Link::parse_invite(&params.link).map_err(error::bad_link)?;
    let password = password(&params.password)?;
    let joined = app.accounts.join(link, password, params.nick).await?;
    settled(&app, joined).await
}

pub(super) async fn login(
    app: App,
    _: CallContext,
    params: RelayLoginParams,
) -> Result<RelayInfo, RpcError> {
    let link = Link::parse_relay(&params.link).map_err(error::bad_link)?;
    let user = user_name(&params.user)?;
    if !params.replace.unwrap_or(false) {
        let (key, name) = (link.relay, user.clone());
        let here = app.store.read(move |db| is_enrolled(db, &key, &name)).await?;
        // Logging in enrols this daemon, and every account has a device: only one that is this
        // daemon already is not displaced.
        if !here {
            return Err(RpcError::needs_replace(format!(
                "logging in as {user} displaces the device that the account has"
            )));
        }
    }
    let password = password(&params.password)?;
    let joined = app.accounts.login(link, user, password, params.nick).await?;
    settled(&app, joined).await
}

fn is_enrolled(db: &impl Read, relay: &Key, user: &Username) -> Result<bool, StoreError> {
    let rows = db.list::<Relays>(&())?;
    let ours = |row: &RelayRow| row.key == *relay && row.user == *user && row.enrolled;
    Ok(rows.iter().any(|(_, row)| ours(row) && row.refused.is_none()))
}

pub(super) async fn connect(
    app: App,
    _: CallContext,
    params: RelayParams,
) -> Result<RelayInfo, RpcError> {
    let nick = params.nick;
    let named = nick.clone();
    let known = app.store.read(move |db| by_nick(db, &named)).await?;
    let failures = known.map_or(0, |(id, _)| app.live.failures(id));
    let relay = app.accounts.connect(&nick).await?;
    let info = outcome(&app, relay, Some(failures), CONNECT).await?;
    if info.state == LinkState::Up {
        return Ok(info);
    }
    // It stays wanted: what is answered is how this try ended.
    let row = app.store.read(move |db| db.get::<Relays>(&relay)).await?;
    Err(match (row.and_then(|row| row.refused), info.state) {
        (Some(Refusal::Replaced), _) => AccountError::DeviceRefused(nick).into(),
        (Some(Refusal::Cloned), _) => AccountError::Cloned(nick).into(),
        (None, LinkState::Off) => AccountError::Off(nick).into(),
        (None, _) => {
            let reason = info.reason.unwrap_or_else(|| "no answer yet".to_owned());
            RpcError::not_reachable(format!("{nick} is not connected: {reason}"))
                .with_hint("it is tried again by itself; amsctl relay list shows how it stands")
        }
    })
}

pub(super) async fn disconnect(
    app: App,
    _: CallContext,
    params: RelayParams,
) -> Result<RelayInfo, RpcError> {
    let relay = app.accounts.disconnect(&params.nick).await?;
    shown(&app, relay).await
}

pub(super) async fn leave(
    app: App,
    _: CallContext,
    params: RelayLeaveParams,
) -> Result<Done, RpcError> {
    app.accounts.leave(&params.nick, params.delete_account.unwrap_or(false)).await?;
    Ok(Done {})
}

pub(super) async fn password_of(
    app: App,
    _: CallContext,
    params: RelayPasswordParams,
) -> Result<Done, RpcError> {
    let (old, new) = (password(&params.old_password)?, password(&params.password)?);
    app.accounts.password(&params.nick, old, new).await?;
    Ok(Done {})
}

pub(super) async fn resume(
    app: App,
    _: CallContext,
    params: RelayParams,
) -> Result<RelayInfo, RpcError> {
    let relay = app.accounts.resume(&params.nick).await?;
    settled(&app, relay).await
}

/// How long an answer waits for the link where something else was done already, so that it tells
/// how connecting went and not only that it was begun.
const SETTLE: Duration = Duration::from_secs(3);
/// How long a try to connect may take: longer than dialling somebody who does not answer.
pub(super) const CONNECT: Duration = Duration::from_secs(25);

/// How that account stands once its link is up or refused, or [`SETTLE`] is over.
async fn settled(app: &App, relay: RelayId) -> Result<RelayInfo, RpcError> {
    outcome(app, relay, None, SETTLE).await
}

/// How that account stands once its link is up or refused, or has failed more often than
/// `failures`, or `patience` is over.
async fn outcome(
    app: &App,
    relay: RelayId,
    failures: Option<u64>,
    patience: Duration,
) -> Result<RelayInfo, RpcError> {
    let mut news = app.live.follow();
    let look = async {
        loop {
            let failed = failures.is_some_and(|before| app.live.failures(relay) > before);
            let info = shown(app, relay).await?;
            if failed || !matches!(info.state, LinkState::Connecting | LinkState::Down) {
                return Ok(info);
            }
            if news.changed().await.is_err() {
                return Ok(info);
            }
        }
    };
    match timeout(patience, look).await {
        Ok(settled) => settled,
        Err(_) => shown(app, relay).await,
    }
}

/// How that account stands, now.
async fn shown(app: &App, relay: RelayId) -> Result<RelayInfo, RpcError> {
    let live = app.live.clone();
    app.store
        .read(move |db| {
            let row = db.get::<Relays>(&relay)?;
            let row = row.ok_or_else(|| RpcError::no_such_relay("the relay was left meanwhile"))?;
            Ok(info(&live, relay, &row))
        })
        .await
}

fn password(given: &Secret) -> Result<Password, RpcError> {
    Password::new(given.expose_secret().to_owned())
        .map_err(|error| RpcError::bad_password(error.to_string()))
}

fn user_name(text: &str) -> Result<Username, RpcError> {
    Username::new(text).map_err(|error| RpcError::bad_name(error.to_string()))
}
