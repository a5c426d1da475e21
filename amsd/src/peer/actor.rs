//! One contact's direct way, from one link to the next. There is one link at most: a newer one takes
//! the place of the older, and where both sides dialled at once, both keep the same.

use std::sync::Arc;

use ams_crypto::device;
use ams_crypto::dh::{DhPublic, DhSecret};
use ams_link::Link;
use ams_link::backoff::{self, Backoff};
use ams_link::handshake::HandshakeError;
use ams_link::peer;
use ams_link::receiver::Frame;
use ams_link::stream::BoxedStream;
use ams_rpc::types::LinkState;
use ams_wire::address::{DIRECT_PORT, HostPort};
use ams_wire::id::Key;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::meet::HANDSHAKE;
use super::row::{self, DirectRow, HANDLE};
use super::serve::Served;
use crate::contacts::ask::{self, Asked};
use crate::contacts::{ContactId, ContactRow, Stage, request};
use crate::profile;
use crate::relay::{Deps, DialError, RelayId, account};
use crate::store::{Read, StoreError};

/// Links that came in and were not looked at. More at once is nobody's need.
const INCOMING: usize = 2;

/// A link that the contact dialled, and what it said before it was known who it is.
pub(super) struct Incoming {
    pub(super) link: Link<BoxedStream>,
    pub(super) early: Vec<Frame>,
}

/// Reaches one actor. It ends by its token, not with its last handle.
#[derive(Clone)]
pub(super) struct ActorHandle {
    pub(super) pokes: Arc<Pokes>,
    pub(super) links: mpsc::Sender<Incoming>,
}

/// Reasons to look again; each carries nothing and is not lost while nobody looks.
#[derive(Default)]
pub(super) struct Pokes {
    /// There may be something to be told.
    pub(super) news: Notify,
    /// The user wants the link now.
    pub(super) hurry: Notify,
}

/// How a link, or the try to make one, ended.
pub(super) enum End {
    /// It is no longer wanted, or the daemon stops.
    Stopped,
    /// Something went wrong that may go right the next time.
    Lost(String),
    /// The disk failed.
    Disk(String),
    /// Our introduction is kept: now the contact decides.
    Noted,
    /// The contact dialled anew.
    Replaced(Box<Incoming>),
    /// There is nothing to dial, or no more.
    Waits(String),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Disk(error.to_string())
    }
}

impl From<DialError> for End {
    fn from(error: DialError) -> Self {
        Self::Lost(error.to_string())
    }
}

/// What is on disk of the way.
pub(super) struct View {
    pub(super) contact: ContactId,
    pub(super) known: ContactRow,
    pub(super) direct: DirectRow,
    /// The introduction that was not answered, and whether its time is over.
    pub(super) asked: Option<(Vec<u8>, bool)>,
    pub(super) secret: DhSecret,
}

impl View {
    /// Whether, of two links that were dialled at once, ours is kept.
    pub(super) fn ours_wins(&self) -> bool {
        let ours = self.secret.public();
        self.direct.link_key.is_none_or(|theirs| *ours.as_bytes() < theirs.0)
    }
}

pub(super) struct Actor {
    // Set once.
    pub(super) way: RelayId,
    pub(super) deps: Deps,
    pub(super) pokes: Arc<Pokes>,
    pub(super) stop: CancellationToken,
    // Owned by run.
    pub(super) links: mpsc::Receiver<Incoming>,
    pub(super) backoff: Backoff,
    /// A link of the contact's that waits until our own dialling ends.
    pub(super) held: Option<Incoming>,
    name: String,
}

impl Actor {
    pub(super) fn new(way: RelayId, deps: Deps, stop: CancellationToken) -> (Self, ActorHandle) {
        let (sender, links) = mpsc::channel(INCOMING);
        let pokes = Arc::new(Pokes::default());
        let handle = ActorHandle { pokes: pokes.clone(), links: sender };
        let backoff = Backoff::new(deps.outside.chance.clone());
        let held = None;
        let actor = Self { way, deps, pokes, stop, links, backoff, held, name: String::new() };
        (actor, handle)
    }

    pub(super) async fn run(mut self) {
        loop {
            let end = match view(self.deps.clone(), self.way).await {
                Ok(Some(view)) => {
                    self.name.clone_from(&view.known.name);
                    self.once(view).await
                }
                Ok(None) => return,
                Err(error) => error.into(),
            };
            let pause = match end {
                End::Stopped => return self.show(LinkState::Down, Some("disconnected".to_owned())),
                End::Replaced(newer) => {
                    self.held = Some(*newer);
                    continue;
                }
                // Soon: whoever decides by a rule has decided already.
                End::Noted => {
                    self.show(LinkState::Connecting, Some("asked; not answered yet".to_owned()));
                    Some(backoff::FIRST)
                }
                End::Lost(reason) | End::Disk(reason) => {
                    self.deps.live.relay_failed(self.way, &self.name, reason);
                    Some(self.backoff.wait())
                }
                End::Waits(reason) => {
                    self.show(LinkState::Down, Some(reason));
                    None
                }
            };
            if self.held.is_none() && !self.rest(pause).await {
                return;
            }
        }
    }

    /// One link, from whichever side it comes, until it ends.
    async fn once(&mut self, view: View) -> End {
        if let Some(Incoming { link, early }) = self.held.take() {
            return Served::open(self, view, link, early, false).run().await;
        }
        match self.dial(&view).await {
            Ok(link) => Served::open(self, view, link, Vec::new(), true).run().await,
            Err(end) => end,
        }
    }

    /// Dials every address in turn. A link that the contact dialled meanwhile is taken, or waits.
    async fn dial(&mut self, view: &View) -> Result<Link<BoxedStream>, End> {
        if view.asked.as_ref().is_some_and(|(_, over)| *over) {
            let why = "not answered within 14 days; amsctl peer connect asks anew";
            return Err(End::Waits(why.to_owned()));
        }
        if view.direct.addresses.is_empty() {
            let why = "its address is not known here, so it has to connect";
            return Err(End::Waits(why.to_owned()));
        }
        let reason = self.deps.live.link(self.way).and_then(|link| link.reason);
        self.show(LinkState::Connecting, reason);
        let (deps, way) = (self.deps.clone(), self.way);
        let dialling = dial_all(&deps, way, view);
        tokio::pin!(dialling);
        loop {
            let may_hold = self.held.is_none();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(End::Stopped),
                Some(incoming) = self.links.recv(), if may_hold => {
                    if !view.ours_wins() {
                        return Err(End::Replaced(Box::new(incoming)));
                    }
                    self.held = Some(incoming);
                }
                link = &mut dialling => return link,
            }
        }
    }

    /// Waits until the next try; `false`: there shall be none.
    async fn rest(&mut self, pause: Option<std::time::Duration>) -> bool {
        let wait = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            Some(incoming) = self.links.recv() => {
                self.held = Some(incoming);
                true
            }
            () = self.pokes.hurry.notified() => true,
            () = wait => true,
        }
    }

    pub(super) fn show(&self, state: LinkState, reason: Option<String>) {
        self.deps.live.relay(self.way, &self.name, state, reason);
    }
}

async fn view(deps: Deps, way: RelayId) -> Result<Option<View>, StoreError> {
    let (me, now) = (deps.me.clone(), deps.outside.clock.now());
    let view = deps.store.write(move |txn| {
        let Some((contact, known, direct)) = row::wanted(txn, way)? else { return Ok(None) };
        let mut asked = txn.get::<Asked>(&(way, HANDLE))?;
        // A restored profile has no keys, and whom it knows does not know its device.
        let lacks_keys = crate::session::row::roots(txn, contact)?.is_empty();
        if asked.is_none() && (!direct.noted || lacks_keys) {
            if let Some(own) = account(txn, &me, way)? {
                ask::ask(txn, &me, (way, &own), contact, &known, now)?;
            }
            asked = txn.get::<Asked>(&(way, HANDLE))?;
        }
        let asked = match asked {
            Some(row) => {
                let over = now.saturating_sub(row.at) >= ask::LIFE;
                Some((row.secrets()?.intro().to_vec(), over && known.stage == Stage::Asked))
            }
            None => None,
        };
        let secret = profile::link_secret(txn)?;
        Ok::<_, StoreError>(Some(View { contact, known, direct, asked, secret }))
    });
    view.await
}

async fn dial_all(deps: &Deps, way: RelayId, view: &View) -> Result<Link<BoxedStream>, End> {
    let mut failed = End::Lost("no address to dial".to_owned());
    for address in &view.direct.addresses {
        match dial_one(deps, way, view, address).await {
            Ok(link) => return Ok(link),
            Err(end) => failed = end,
        }
    }
    Err(failed)
}

async fn dial_one(
    deps: &Deps,
    way: RelayId,
    view: &View,
    address: &str,
) -> Result<Link<BoxedStream>, End> {
    let at = HostPort::parse(address, DIRECT_PORT).map_err(|_| DialError::BadAddress)?;
    let known = view.direct.link_key.filter(|_| view.direct.noted);
    let stream = deps.outside.network.connect(&at).await?;
    if let Some(key) = known {
        let key = DhPublic::from_bytes(key.0).map_err(|_| DialError::BadAddress)?;
        let link = peer::connect(stream, &view.secret, &key, HANDSHAKE).await;
        return link.map_err(|error| handshake_failed(view, error));
    }
    let met = peer::meet(stream, &view.secret, HANDSHAKE).await;
    let met = met.map_err(|error| handshake_failed(view, error))?;
    let identity = Key(*met.identity.as_bytes());
    if view.known.identity != Some(identity) {
        // Before we said who we are.
        offered(deps, way, identity).await?;
        return Err(End::Lost("somebody else answers there, with another key".to_owned()));
    }
    let link_key = Key(*met.link.as_bytes());
    if view.direct.link_key.is_some_and(|known| known != link_key) {
        let why = "another device answers there: amsctl peer connect meets it anew";
        return Err(End::Lost(why.to_owned()));
    }
    if view.direct.link_key.is_none() {
        let learnt = DirectRow { link_key: Some(link_key), ..view.direct.clone() };
        let kept: Result<(), StoreError> =
            deps.store.write(move |txn| row::put(txn, way, &learnt)).await;
        kept?;
    }
    let record = device::record(deps.me.key(), &view.secret.public());
    met.go_on(&record, HANDSHAKE).await.map_err(|error| handshake_failed(view, error))
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

fn handshake_failed(view: &View, error: HandshakeError) -> End {
    match error {
        HandshakeError::TimedOut => DialError::Silent.into(),
        HandshakeError::Io(error) => DialError::from_io(&error).into(),
        _ if view.asked.is_some() => End::Lost("not answered yet".to_owned()),
        _ => End::Lost("what answers there does not know this device, or is another".to_owned()),
    }
}
