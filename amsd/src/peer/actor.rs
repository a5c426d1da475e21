//! One contact's direct way, from one link to the next. There is one link at most: a newer one takes
//! the place of the older, and where both sides dialled at once, both keep the same.

use std::sync::Arc;
use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_link::Link;
use ams_link::backoff::{self, Backoff};
use ams_link::stream::BoxedStream;
use ams_rpc::types::LinkState;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::dial::dial;
use super::incoming::{Incoming, Newest};
use super::offer::{self, Theirs};
use super::row::{self, DirectRow, HANDLE};
use super::serve::Served;
use crate::contacts::ask::{self, Asked, AskedRow};
use crate::contacts::{ContactId, ContactRow, Stage, request};
use crate::profile;
use crate::relay::{Deps, DialError, RelayId, account};
use crate::store::{Read, StoreError};

/// How long our own dialling goes on while a link of the contact's waits: as long as an address that
/// answers takes. One that swallows everything must not hold up a link that is there.
const HELD: Duration = Duration::from_secs(2);
/// Why a contact that says where it is is not dialled there; for people.
const NOT_DIALLED: &str = "it offers no address but on its own machine or network, such as \
                           127.0.0.1, which is not dialled, so it has to connect";

/// Reaches one actor. It ends by its token, not with its last handle.
#[derive(Clone)]
pub(super) struct ActorHandle {
    pub(super) pokes: Arc<Pokes>,
    pub(super) links: Arc<Newest>,
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
    /// Both offer direct links, and the contact says where it is: maybe where nobody is dialled.
    pub(super) offers_place: bool,
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
    pub(super) links: Arc<Newest>,
    pub(super) backoff: Backoff,
    /// A link of the contact's that waits until our own dialling ends.
    pub(super) held: Option<Incoming>,
    name: String,
}

impl Actor {
    pub(super) fn new(way: RelayId, deps: Deps, stop: CancellationToken) -> (Self, ActorHandle) {
        let (links, pokes) = (Arc::new(Newest::default()), Arc::new(Pokes::default()));
        let handle = ActorHandle { pokes: pokes.clone(), links: links.clone() };
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
                Err(error) => {
                    // The contact dials again; kept, it would be looked up again without a pause.
                    self.held = None;
                    error.into()
                }
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
        let (link, early, is_ours) = match self.held.take() {
            Some(Incoming { link, early }) => (link, early, false),
            None => match self.dial(&view).await {
                Ok(link) => (link, Vec::new(), true),
                Err(end) => return end,
            },
        };
        if view.known.is_in_doubt(self.way)
            && let Err(error) = proved(self.deps.clone(), self.way).await
        {
            return error.into();
        }
        Served::open(self, view, link, early, is_ours).run().await
    }

    /// Dials the contact. A link that it dialled meanwhile is taken, or waits for a moment.
    async fn dial(&mut self, view: &View) -> Result<Link<BoxedStream>, End> {
        if view.asked.as_ref().is_some_and(|(_, over)| *over) {
            let why = "not answered within 14 days; amsctl peer connect asks anew";
            return Err(End::Waits(why.to_owned()));
        }
        if view.direct.by_offer && !view.direct.noted {
            let why = "the contact has not taken yet how this daemon is reached";
            return Err(End::Waits(why.to_owned()));
        }
        if view.direct.places().is_empty() {
            let why = match view.offers_place {
                true => NOT_DIALLED,
                false => "its address is not known here, so it has to connect",
            };
            return Err(End::Waits(why.to_owned()));
        }
        let reason = self.deps.live.link(self.way).and_then(|link| link.reason);
        self.show(LinkState::Connecting, reason);
        let (deps, way) = (self.deps.clone(), self.way);
        let dialling = dial(&deps, way, view);
        tokio::pin!(dialling);
        let mut until = None;
        loop {
            let over = until.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(End::Stopped),
                incoming = self.links.next() => {
                    if !view.ours_wins() {
                        return Err(End::Replaced(Box::new(incoming)));
                    }
                    self.held = Some(incoming);
                    let now = Instant::now();
                    until = until.or(now.checked_add(HELD));
                }
                link = &mut dialling => return link,
                () = sleep_until(over), if until.is_some() => {
                    let held = self.held.take().map(Box::new);
                    return Err(held.map_or(End::Stopped, End::Replaced));
                }
            }
        }
    }

    /// Waits until the next try; `false`: there shall be none.
    async fn rest(&mut self, pause: Option<Duration>) -> bool {
        let wait = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            incoming = self.links.next() => {
                self.held = Some(incoming);
                true
            }
            () = self.pokes.hurry.notified() => true,
            // There may be something to dial now; not at once, or a contact that says another place
            // each time would have us dial as fast as it speaks.
            () = self.pokes.news.notified(), if pause.is_none() => {
                let pause = self.backoff.wait();
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => false,
                    () = self.pokes.hurry.notified() => true,
                    () = tokio::time::sleep(pause) => true,
                }
            }
            () = wait => true,
        }
    }

    pub(super) fn show(&self, state: LinkState, reason: Option<String>) {
        self.deps.live.relay(self.way, &self.name, state, reason);
    }
}

/// Whoever was in the contact's place is gone.
async fn proved(deps: Deps, way: RelayId) -> Result<(), StoreError> {
    let proved = deps.store.write(move |txn| {
        let Some((contact, known, _)) = row::wanted(txn, way)? else { return Ok(()) };
        request::key_proved(txn, way, (contact, &known))
    });
    proved.await
}

async fn view(deps: Deps, way: RelayId) -> Result<Option<View>, StoreError> {
    let (me, now) = (deps.me.clone(), deps.outside.clock.now());
    let view = deps.store.write(move |txn| {
        let Some((contact, known, direct)) = row::wanted(txn, way)? else { return Ok(None) };
        let mut asked = txn.get::<Asked>(&(way, HANDLE))?;
        // A restored profile has no keys, and whom it knows does not know its device.
        let lacks_keys = crate::session::row::roots(txn, contact)?.is_empty();
        // What a contact did not answer within its life is asked anew; what a stranger did not, ends.
        let is_over = |row: &AskedRow| now.saturating_sub(row.at) >= ask::LIFE;
        let stale = asked.as_ref().is_some_and(is_over) && known.stage != Stage::Asked;
        if stale || (asked.is_none() && !direct.by_offer && (!direct.noted || lacks_keys)) {
            if let Some(own) = account(txn, &me, way)? {
                ask::ask(txn, &me, (way, &own), contact, &known, now)?;
            }
            asked = txn.get::<Asked>(&(way, HANDLE))?;
        }
        let asked = match asked {
            Some(row) => {
                let over = is_over(&row) && known.stage == Stage::Asked;
                Some((row.secrets()?.intro().to_vec(), over))
            }
            None => None,
        };
        let secret = profile::link_secret(txn)?;
        let theirs = txn.get::<Theirs>(&contact)?.map(|row| row.offer);
        let offers_place =
            theirs.is_some_and(|theirs| !theirs.addresses.is_empty()) && offer::is_allowed(txn)?;
        Ok::<_, StoreError>(Some(View { contact, known, direct, asked, secret, offers_place }))
    });
    view.await
}
