//! `contact.*`: who is known, who asks, and what the user makes of them.

use std::time::Duration;

use ams_rpc::types::{
    Awaited, Contact, ContactAcceptParams, ContactAddParams, ContactBrief, ContactLinkMade,
    ContactLinkParams, ContactParams, ContactPingParams, ContactPinged, ContactRenameParams,
    ContactTrustParams, ContactVerified, ContactVerifyParams, ContactWaitParams, ContactWaited,
    Contacts, Done, Fact, Period, Presence, Requests, Time,
};
use ams_rpc::{CallContext, Exit, RpcError};
use ams_wire::address::{ContactLink, Link};
use ams_wire::username::Username;
use tokio::time::Instant;

use super::message::until;
use super::relay::find_relay;
use super::{App, error};
use crate::contacts::show::{self, brief};
use crate::contacts::{Stage, ask, edit, link, request};
use crate::relay::Relays;
use crate::router::PingError;
use crate::store::Read;

pub(super) async fn add(
    app: App,
    _: CallContext,
    params: ContactAddParams,
) -> Result<ContactBrief, RpcError> {
    if params.address.starts_with("ams://") {
        let link = Link::parse_contact(&params.address).map_err(error::bad_link)?;
        return redeem(app, link, params.local).await;
    }
    let (user, relay) = params.address.split_once('@').ok_or_else(|| {
        RpcError::bad_name(format!("{} does not say at which relay", quoted(&params.address)))
            .with_hint("write USER@RELAY; amsctl relay list shows the relays")
    })?;
    let user = Username::new(user).map_err(|error| {
        RpcError::bad_name(format!("{} is no user name: {error}", quoted(user)))
    })?;
    let (relay, local, at) = (relay.to_owned(), params.local, app.outside.clock.now());
    let me = app.me.clone();
    app.store
        .write(move |txn| {
            let (id, row) = find_relay(txn, &relay)?;
            let (id, row) = ask::add(txn, &me, (id, &row), &user, local.as_deref(), at)?;
            Ok::<_, RpcError>(brief(id, &row))
        })
        .await
}

async fn redeem(
    app: App,
    given: ContactLink,
    local: Option<String>,
) -> Result<ContactBrief, RpcError> {
    let (me, at) = (app.me.clone(), app.outside.clock.now());
    app.store
        .write(move |txn| {
            let relays = txn.list::<Relays>(&())?;
            let relay = relays.into_iter().find(|(_, row)| row.enrolled && row.key == given.relay);
            let (id, row) = relay.ok_or_else(|| {
                let at = &given.at;
                RpcError::no_such_relay(format!(
                    "this link leads over the relay at {at}, where this daemon has no account"
                ))
                .with_hint(format!(
                    "ask the operator of {at} for an invite, then: amsctl relay join LINK"
                ))
            })?;
            let (id, row) = link::redeem(txn, &me, (id, &row), &given, local.as_deref(), at)?;
            Ok::<_, RpcError>(brief(id, &row))
        })
        .await
}

pub(super) async fn make_link(
    app: App,
    _: CallContext,
    params: ContactLinkParams,
) -> Result<ContactLinkMade, RpcError> {
    let (me, at) = (app.me.clone(), app.outside.clock.now());
    app.store
        .write(move |txn| {
            let (id, row) = match &params.relay {
                Some(named) => find_relay(txn, named)?,
                None => {
                    let mut relays = txn.list::<Relays>(&())?.into_iter();
                    relays.find(|(_, row)| row.enrolled).ok_or_else(|| {
                        RpcError::no_such_relay("this daemon is on no relay that a link could name")
                    })?
                }
            };
            let made = link::make(txn, &me, (id, &row), params.local.as_deref(), at)?;
            let expires = i64::try_from(made.expires.saturating_mul(1000)).unwrap_or(i64::MAX);
            Ok::<_, RpcError>(ContactLinkMade {
                link: Link::Contact(made).to_string(),
                expires: Time::from_millis(expires),
            })
        })
        .await
}

pub(super) async fn requests(app: App) -> Result<Requests, RpcError> {
    let now = app.outside.clock.now();
    app.store.read(move |db| Ok::<_, RpcError>(show::requests(db, now)?)).await
}

pub(super) async fn accept(
    app: App,
    _: CallContext,
    params: ContactAcceptParams,
) -> Result<ContactBrief, RpcError> {
    let (me, at) = (app.me.clone(), app.outside.clock.now());
    app.store
        .write(move |txn| {
            let local = params.local.as_deref();
            let (id, row) = request::accept(txn, &me, &params.name, local, at)?;
            Ok::<_, RpcError>(brief(id, &row))
        })
        .await
}

pub(super) async fn reject(
    app: App,
    _: CallContext,
    params: ContactParams,
) -> Result<Done, RpcError> {
    app.store
        .write(move |txn| {
            request::reject(txn, &params.name)?;
            Ok::<_, RpcError>(Done {})
        })
        .await
}

pub(super) async fn block(
    app: App,
    _: CallContext,
    params: ContactParams,
) -> Result<ContactBrief, RpcError> {
    set_blocked(app, params.name, true).await
}

pub(super) async fn unblock(
    app: App,
    _: CallContext,
    params: ContactParams,
) -> Result<ContactBrief, RpcError> {
    set_blocked(app, params.name, false).await
}

async fn set_blocked(app: App, name: String, blocked: bool) -> Result<ContactBrief, RpcError> {
    let (me, at) = (app.me.clone(), app.outside.clock.now());
    app.store
        .write(move |txn| {
            let (id, row) = edit::set_blocked(txn, &me, &name, blocked, at)
                .map_err(|error| error::of_name(txn, &name, error))?;
            Ok::<_, RpcError>(brief(id, &row))
        })
        .await
}

pub(super) async fn list(app: App) -> Result<Contacts, RpcError> {
    let live = app.live.clone();
    app.store.read(move |db| Ok::<_, RpcError>(Contacts { contacts: show::list(db, &live)? })).await
}

pub(super) async fn show(
    app: App,
    _: CallContext,
    params: ContactParams,
) -> Result<Contact, RpcError> {
    let live = app.live.clone();
    app.store
        .read(move |db| {
            let (id, row) = error::contact_called(db, &params.name)?;
            Ok(show::contact(db, &live, id, &row)?)
        })
        .await
}

pub(super) async fn rename(
    app: App,
    _: CallContext,
    params: ContactRenameParams,
) -> Result<ContactBrief, RpcError> {
    app.store
        .write(move |txn| {
            let (id, row) = edit::rename(txn, &params.name, &params.new)
                .map_err(|error| error::of_name(txn, &params.name, error))?;
            Ok::<_, RpcError>(brief(id, &row))
        })
        .await
}

pub(super) async fn remove(
    app: App,
    _: CallContext,
    params: ContactParams,
) -> Result<Done, RpcError> {
    let at = app.outside.clock.now();
    app.store
        .write(move |txn| {
            edit::remove(txn, &params.name, at)
                .map_err(|error| error::of_name(txn, &params.name, error))?;
            Ok::<_, RpcError>(Done {})
        })
        .await
}

pub(super) async fn verify(
    app: App,
    _: CallContext,
    params: ContactVerifyParams,
) -> Result<ContactVerified, RpcError> {
    let (me, at) = (app.me.clone(), app.outside.clock.now());
    app.store
        .write(move |txn| {
            let confirm = params.confirm.as_deref();
            let (row, safety_number) = edit::verify(txn, &me, &params.name, confirm, at)
                .map_err(|error| error::of_name(txn, &params.name, error))?;
            Ok::<_, RpcError>(ContactVerified {
                name: row.name,
                safety_number,
                // The number may be that of another key than the one that was verified.
                verified: row.verified.is_some() && row.offered.is_none(),
                verified_by: row.verified.map(Into::into),
            })
        })
        .await
}

pub(super) async fn trust(
    app: App,
    _: CallContext,
    params: ContactTrustParams,
) -> Result<ContactBrief, RpcError> {
    let (me, at) = (app.me.clone(), app.outside.clock.now());
    app.store
        .write(move |txn| {
            let (id, row) = edit::trust(txn, &me, &params.name, &params.fingerprint, at)
                .map_err(|error| error::of_name(txn, &params.name, error))?;
            Ok::<_, RpcError>(brief(id, &row))
        })
        .await
}

pub(super) async fn wait(
    app: App,
    caller: CallContext,
    params: ContactWaitParams,
) -> Result<ContactWaited, RpcError> {
    let Awaited::Online = params.awaited;
    let deadline = params.timeout.and_then(|Period(length)| Instant::now().checked_add(length));
    // From before the first look, so that nothing is told in between.
    let mut news =
        app.dispatch.follow(None).map_err(|error| RpcError::internal(error.to_string()))?;
    let mut timed_out = false;
    loop {
        let named = ContactParams { name: params.name.clone() };
        let Contact { name, presence, .. } = show(app.clone(), caller.clone(), named).await?;
        let reached = presence == Presence::Online;
        if reached || timed_out {
            let exit = if reached { Exit::Done } else { Exit::NothingCame };
            return Ok(ContactWaited { name, presence, reached, exit: exit.code() });
        }
        // Only of contacts: others come in thousands.
        let told = async { while !is_of_a_contact(&news.next().await.fact) {} };
        tokio::select! {
            biased;
            () = caller.closed() => return Err(error::stopping()),
            () = told => {}
            () = until(deadline) => timed_out = true,
        }
    }
}

/// How long an answer to a ping is waited for where nobody says.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn ping(
    app: App,
    caller: CallContext,
    params: ContactPingParams,
) -> Result<ContactPinged, RpcError> {
    let timeout = params.timeout.map_or(PING_TIMEOUT, |Period(length)| length);
    let deadline = Instant::now().checked_add(timeout);
    let (id, row) = app
        .store
        .read(move |db| {
            let (id, row) = error::contact_called(db, &params.name)?;
            match () {
                () if row.is_key_changed() => Err(error::key_changed(&row.name)),
                () if row.blocked => Err(error::blocked(&row.name)),
                () if row.stage == Stage::Active => Ok((id, row)),
                () if row.stage == Stage::Approved => {
                    let name = &row.name;
                    let what = format!("{name} was not heard of since you accepted it");
                    Err(RpcError::not_reachable(what)
                        .with_hint(format!("amsctl wait {name} --online")))
                }
                () => {
                    let name = &row.name;
                    Err(RpcError::not_approved(format!("{name} has not approved you yet")))
                }
            }
        })
        .await?;
    let name = row.name.clone();
    if let (Some(true), Some(way)) = (params.hurry_direct, row.direct())
        && !app.live.is_up(way)
    {
        app.peers.hurry(way);
    }
    tokio::select! {
        biased;
        () = caller.closed() => Err(error::stopping()),
        answered = app.router.ping(id) => match answered {
            Ok(answered) => {
                let microseconds = u64::try_from(answered.took.as_micros()).unwrap_or(u64::MAX);
                let (via, microseconds) = (Some(answered.via), Some(microseconds));
                Ok(ContactPinged { name, via, microseconds, exit: Exit::Done.code() })
            }
            Err(error) => Err(not_pinged(&name, error)),
        },
        () = until(deadline) => {
            let (via, microseconds, exit) = (None, None, Exit::NothingCame.code());
            Ok(ContactPinged { name, via, microseconds, exit })
        }
    }
}

fn not_pinged(name: &str, error: PingError) -> RpcError {
    match error {
        PingError::NoWay => RpcError::not_reachable(format!("no path to {name} is up"))
            .with_hint(format!("amsctl contact show {name} says why")),
        PingError::Offline => RpcError::not_reachable(format!("{name} is offline"))
            .with_hint(format!("amsctl wait {name} --online")),
        PingError::TooMany => RpcError::busy(error.to_string()),
        PingError::Failed => error::stopping(),
    }
}

fn is_of_a_contact(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::ContactOnline(_)
            | Fact::ContactOffline(_)
            | Fact::ContactApproved(_)
            | Fact::ContactKeyChanged(_)
            | Fact::EventsLost(_)
    )
}

/// What somebody typed, short enough to be shown again.
fn quoted(text: &str) -> String {
    format!("`{}`", text.chars().take(64).collect::<String>())
}
