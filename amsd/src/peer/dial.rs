//! From a contact's addresses to a link: several are tried, each a little later than the one before,
//! and the first that leads to the contact is taken.

use std::time::Duration;

use ams_crypto::device;
use ams_crypto::dh::DhPublic;
use ams_link::Link;
use ams_link::handshake::HandshakeError;
use ams_link::peer;
use ams_link::stream::BoxedStream;
use ams_wire::address::{DIRECT_PORT, HostPort};
use ams_wire::id::Key;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

use super::actor::{End, View};
use super::meet::HANDSHAKE;
use super::row::{self, DirectRow};
use crate::contacts::request;
use crate::relay::{Deps, DialError, RelayId};
use crate::store::StoreError;

/// How long an address is alone: the usual case, that the first one answers, costs no other a
/// connection (as RFC 8305 has it).
const STAGGER: Duration = Duration::from_millis(300);

/// Why one address came to nothing.
enum Missed {
    /// Somebody else answers there.
    Other(Key),
    /// What the end of the try is, by what answers there or by our own disk.
    End(End),
    /// The same, where nothing answers.
    Silent(End),
}

impl From<End> for Missed {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl From<DialError> for Missed {
    fn from(error: DialError) -> Self {
        Self::Silent(error.into())
    }
}

impl From<StoreError> for Missed {
    fn from(error: StoreError) -> Self {
        Self::End(error.into())
    }
}

/// Dials all addresses. That another identity answers counts only where the known one is nowhere, and
/// that nothing answers only where nothing does anywhere.
pub(super) async fn dial(deps: &Deps, way: RelayId, view: &View) -> Result<Link<BoxedStream>, End> {
    let places = view.direct.places();
    // One of several is named: what is shown beside the reason is the first.
    let at = |address: &str, why: String| match places.len() {
        0 | 1 => End::Lost(why),
        _ => End::Lost(format!("{address}: {why}")),
    };
    let named = |address: &str, end: End| match end {
        End::Lost(why) => at(address, why),
        end => end,
    };
    let mut waiting = places.iter();
    let mut trying = FuturesUnordered::new();
    let (mut failed, mut silent, mut other) = (None, None, None);
    loop {
        trying.extend(waiting.next().map(|address| dial_one(deps, way, view, address)));
        tokio::select! {
            biased;
            Some((address, tried)) = trying.next() => match tried {
                Ok(link) => return Ok(link),
                Err(Missed::Other(identity)) => other = Some((address, identity)),
                Err(Missed::End(end)) => failed = failed.or(Some(named(address, end))),
                Err(Missed::Silent(end)) => silent = silent.or(Some(named(address, end))),
            },
            () = sleep(STAGGER), if waiting.len() > 0 => {}
            else => break,
        }
    }
    let Some((address, identity)) = other else {
        let nowhere = || End::Lost("no address to dial".to_owned());
        return Err(failed.or(silent).unwrap_or_else(nowhere));
    };
    offered(deps, way, identity).await?;
    Err(at(address, "somebody else answers there, with another key".to_owned()))
}

async fn dial_one<'a>(
    deps: &Deps,
    way: RelayId,
    view: &View,
    address: &'a str,
) -> (&'a str, Result<Link<BoxedStream>, Missed>) {
    (address, dial_at(deps, way, view, address).await)
}

async fn dial_at(
    deps: &Deps,
    way: RelayId,
    view: &View,
    address: &str,
) -> Result<Link<BoxedStream>, Missed> {
    let at = HostPort::parse(address, DIRECT_PORT).map_err(|_| DialError::BadAddress)?;
    let known = view.direct.link_key.filter(|_| view.direct.noted);
    let stream = deps.outside.network.connect(&at).await?;
    if let Some(key) = known {
        let key = DhPublic::from_bytes(key.0).map_err(|_| DialError::BadAddress)?;
        let link = peer::connect(stream, &view.secret, &key, HANDSHAKE).await;
        return link.map_err(|error| handshake_failed(view, address, error));
    }
    let met = peer::meet(stream, &view.secret, HANDSHAKE).await;
    let met = met.map_err(|error| handshake_failed(view, address, error))?;
    let identity = Key(*met.identity.as_bytes());
    if view.known.identity != Some(identity) {
        // Before we said who we are.
        return Err(Missed::Other(identity));
    }
    let link_key = Key(*met.link.as_bytes());
    if view.direct.link_key.is_some_and(|known| known != link_key) {
        let why =
            format!("another device answers there: amsctl peer connect {address} meets it anew");
        return Err(End::Lost(why).into());
    }
    if view.direct.link_key.is_none() {
        let learnt = DirectRow { link_key: Some(link_key), ..view.direct.clone() };
        let kept: Result<(), StoreError> =
            deps.store.write(move |txn| row::put(txn, way, &learnt)).await;
        kept?;
    }
    let record = device::record(deps.me.key(), &view.secret.public());
    let link = met.go_on(&record, HANDSHAKE).await;
    link.map_err(|error| handshake_failed(view, address, error))
}

/// Another identity answers where the contact did.
async fn offered(deps: &Deps, way: RelayId, identity: Key) -> Result<(), End> {
    let noted: Result<(), StoreError> = deps
        .store
        .write(move |txn| {
            let Some((contact, known, _)) = row::wanted(txn, way)? else { return Ok(()) };
            request::key_changed(txn, way, (contact, &known), identity)
        })
        .await;
    Ok(noted?)
}

fn handshake_failed(view: &View, address: &str, error: HandshakeError) -> Missed {
    let why = match error {
        HandshakeError::TimedOut => return DialError::Silent.into(),
        HandshakeError::Io(error) => DialError::from_io(&error).to_string(),
        _ if view.asked.is_some() => "not answered yet".to_owned(),
        _ => format!(
            "what answers there does not know this device, or is another: amsctl peer connect \
             {address} says which"
        ),
    };
    End::Lost(why).into()
}
