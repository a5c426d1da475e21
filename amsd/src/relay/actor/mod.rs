//! One account's link, from dialling to its end, again and again.
//!
//! 1. [`Actor::run`] dials, serves the link until it ends, and rests
//! 2. [`serve`] is the loop of a living link; [`frames`] what the relay's frames mean, [`outgoing`]
//!    what goes to it
//! 3. [`lane`] brings what came to the disk, in order, before anything of it is acknowledged, and
//!    [`handled`] says when that is
//! 4. [`sent`] remembers which envelope the n-th of the link was
//! 5. [`pacing`] tells what the account still has to say, one thing at a time for each row

mod frames;
mod handled;
mod lane;
mod outgoing;
mod pacing;
pub(crate) mod sent;
mod serve;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ams_link::backoff::{self, Backoff};
use ams_rpc::types::{Fact as Event, LinkFact, LinkState};
use ams_wire::from_relay::{Outcome, PasswordResponse};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::dial::dial;
use super::links::Deps;
use super::row::{Refusal, RelayId, RelayRow, Relays};
use crate::contacts::ask;
use crate::fact::Fact;
use crate::settings::Settings;
use crate::store::{Read, StoreError};
use pacing::Pacing;
use serve::Served;

/// Calls that may wait. A user makes one at a time.
const CALLS: usize = 4;
/// Between a failure of the disk and the next link.
const DISK_PAUSE: Duration = Duration::from_secs(15);

/// What the user waits for, from asking the relay.
pub(super) struct Call {
    /// An encoded control frame.
    pub(super) frame: Vec<u8>,
    /// Dropped when the link ends first.
    pub(super) reply: oneshot::Sender<Answer>,
}

/// What a relay answers to a call.
pub(super) enum Answer {
    /// It is done, or not.
    Done(Outcome),
    /// The first step of a change of password.
    Password {
        /// What the relay says.
        response: Box<PasswordResponse>,
        /// Of the link that it was said on.
        handshake_hash: [u8; 32],
    },
}

/// Reaches one actor. It ends by its token, not with its last handle: [`super::links`] owns both.
#[derive(Clone)]
pub(super) struct ActorHandle {
    pub(super) pokes: Arc<Pokes>,
    pub(super) calls: mpsc::Sender<Call>,
}

/// Reasons to look again; each carries nothing and is not lost while nobody looks.
#[derive(Default)]
pub(super) struct Pokes {
    /// There may be new chores.
    pub(super) chores: Notify,
    /// The user wants the link now.
    pub(super) hurry: Notify,
}

/// How a link, or the try to make one, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// It is no longer wanted, or the daemon stops.
    Stopped,
    /// Something went wrong that may go right the next time.
    Lost(String),
    /// The disk failed.
    Disk(String),
    /// The relay has a newer link of this device: this profile seems to run twice.
    Superseded,
    /// The relay will not have this device.
    Refused(Refusal),
    /// This profile is an old copy; the newest counter that the relay saw.
    Cloned(u64),
}

impl End {
    fn lost(reason: &str) -> Self {
        Self::Lost(reason.to_owned())
    }

    /// For people.
    fn reason(&self) -> &str {
        match self {
            Self::Stopped => "disconnected",
            Self::Lost(reason) | Self::Disk(reason) => reason,
            Self::Superseded => "another program is connected as this device",
            Self::Refused(refusal) => refusal.reason(),
            Self::Cloned(_) => Refusal::Cloned.reason(),
        }
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Disk(error.to_string())
    }
}

pub(super) struct Actor {
    // Set once.
    relay: RelayId,
    row: Arc<RelayRow>,
    deps: Deps,
    pokes: Arc<Pokes>,
    stop: CancellationToken,
    // Owned by run.
    calls: mpsc::Receiver<Call>,
    settings: watch::Receiver<Settings>,
    backoff: Backoff,
    pacing: Pacing,
    /// Why the last link ended.
    reason: Option<String>,
}

impl Actor {
    pub(super) fn new(
        relay: RelayId,
        row: RelayRow,
        deps: Deps,
        stop: CancellationToken,
    ) -> (Self, ActorHandle) {
        let (sender, calls) = mpsc::channel(CALLS);
        let pokes = Arc::new(Pokes::default());
        let handle = ActorHandle { pokes: pokes.clone(), calls: sender };
        let settings = deps.settings.clone();
        let backoff = Backoff::new(deps.outside.chance.clone());
        let actor = Self {
            relay,
            row: Arc::new(row),
            deps,
            pokes,
            stop,
            calls,
            settings,
            backoff,
            pacing: Pacing::default(),
            reason: None,
        };
        (actor, handle)
    }

    pub(super) async fn run(mut self) {
        loop {
            self.show(LinkState::Connecting, self.reason.clone());
            let end = match self.connect().await {
                Ok(served) => served.run().await,
                Err(end) => end,
            };
            tracing::debug!(relay = self.relay.0, reason = end.reason(), "a link ended");
            self.reason = Some(end.reason().to_owned());
            match &end {
                End::Lost(reason) | End::Disk(reason) => {
                    let nick = &self.row.nick;
                    self.deps.live.relay_failed(self.relay, nick, reason.clone());
                }
                // Nothing failed.
                End::Stopped | End::Superseded => self.show(LinkState::Down, self.reason.clone()),
                // Shown, and told, when the relay's word on it is kept.
                End::Refused(_) | End::Cloned(_) => {}
            }
            let pause = match end {
                End::Stopped => return,
                End::Refused(refusal) if self.park(refusal, 0).await => return,
                End::Cloned(counter) if self.park(Refusal::Cloned, counter).await => return,
                // It may take a link to come up, and fail at what comes over it.
                End::Disk(_) => DISK_PAUSE,
                // The two would displace each other as fast as they can.
                End::Superseded => backoff::LONGEST,
                End::Lost(_) | End::Refused(_) | End::Cloned(_) => self.backoff.wait(),
            };
            if !self.rest(pause).await {
                return;
            }
        }
    }

    /// Dials and says what opens a link.
    async fn connect(&mut self) -> Result<Served<'_>, End> {
        let row = self.row.clone();
        let link = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(End::Stopped),
            link = dial(&*self.deps.outside.network, &row) => link.map_err(|error| End::Lost(error.to_string()))?,
        };
        Served::open(self, link).await
    }

    /// Notes on disk that the relay will not have this device, so that it is not asked again until
    /// the user did something; `false`: the disk failed.
    async fn park(&self, refusal: Refusal, counter: u64) -> bool {
        let (relay, nick) = (self.relay, self.row.nick.clone());
        let (me, now) = (self.deps.me.clone(), self.deps.outside.clock.now());
        let parked = self.deps.store.write(move |txn| {
            let Some(row) = txn.get::<Relays>(&relay)? else { return Ok(()) };
            let row = RelayRow { refused: Some(refusal), relay_counter: counter, ..row };
            txn.put::<Relays>(&relay, &row)?;
            if refusal == Refusal::Cloned {
                let reason = Some(refusal.reason().to_owned());
                let fact = LinkFact { name: nick.clone(), reason };
                ask::anew_elsewhere(txn, &me, relay, now)?;
                txn.tell(Fact::event(Event::StateCloned(fact)));
            }
            txn.tell(Fact::Relays);
            Ok::<_, StoreError>(())
        });
        match parked.await {
            Ok(()) => {
                self.show(LinkState::Refused, Some(refusal.reason().to_owned()));
                true
            }
            Err(error) => {
                tracing::error!(%error, "a refusal could not be kept");
                self.show(LinkState::Down, self.reason.clone());
                false
            }
        }
    }

    /// Waits until the next try; `false`: there shall be none.
    async fn rest(&self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = self.pokes.hurry.notified() => true,
            () = tokio::time::sleep(pause) => true,
        }
    }

    fn show(&self, state: LinkState, reason: Option<String>) {
        self.deps.live.relay(self.relay, &self.row.nick, state, reason);
    }
}
