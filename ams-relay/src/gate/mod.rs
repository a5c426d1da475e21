//! What happens before a client is known. This room cannot reach the hub: it sees strangers, keys
//! and the account store, and hands out who was let in.
//!
//! 1. [`door`] decides whether a connection is taken at all.
//! 2. [`Gate::shake`] runs the handshake, within its time; [`turns`] lets few be computed at once.
//! 3. [`Guest::next`] answers registrations and logins, within theirs, until the link's key is a
//!    device that attaches. Enrolling itself is not the guest's: it is done outside of its time.
//!
//! Every refusal is the same frame, at the next tick of ten milliseconds, and then the link ends.

pub(crate) mod door;
mod guest;
pub(crate) mod turns;

use std::sync::Arc;
use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_crypto::opaque::RelayAccounts;
use ams_link::handshake::{self, HandshakeError};
use ams_link::receiver::Batch;
use ams_link::{Link, Receiver, Sender, Stream};
use ams_wire::id::Key;
use ams_wire::limits::RECORD_TAG;
use ams_wire::to_relay::Attach;
use tokio::time::{Instant, timeout};

use crate::accounts::{Accounts, AccountsError, Device, Enrolled, Pending, Snapshot};
use crate::clock::Clock;
use crate::config::{Limits, Registration};
use crate::limits::{Rate, Table};
use door::{Offence, Ticket};
pub(crate) use guest::Guest;
use turns::Turns;

/// Records of somebody who is not known: what a login needs is far smaller.
const MAX_RECORD: usize = 4096 + RECORD_TAG;
/// Logins for one name that are answered without delay. Its owner mistypes, a guesser goes on.
const FREE_TRIES: u32 = 3;
/// Refusals and password answers leave on ticks, so that how long they took is nobody's.
const TICK: Duration = Duration::from_millis(10);
/// The last piece before a tick: more than the runtime's timers are late by.
const PIECE: Duration = Duration::from_millis(3);

/// What all strangers share.
pub(crate) struct Gate {
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) opaque: Arc<RelayAccounts>,
    pub(crate) key: DhSecret,
    pub(crate) clock: Clock,
    pub(crate) registration: Registration,
    /// Seconds, as the first frame says it.
    pub(crate) window: u32,
    pub(crate) limits: Limits,
    /// Registrations and logins, by source.
    pub(crate) source_tries: Table,
    /// Password tries, by name: for every name, whether it exists or not.
    pub(crate) tries: Table,
    pub(crate) turns: Arc<Turns>,
    /// When ticks began, by the runtime's clock and by that of the machine.
    pub(crate) epoch: Instant,
    pub(crate) started: std::time::Instant,
}

/// Somebody came through.
pub(crate) enum Passed<S: Stream> {
    /// It may be enrolled. What displaces a device must be seen through, whatever becomes of the
    /// guest meanwhile.
    Proved {
        /// Makes the guest's key the device of an account; `None` refuses it.
        enrolling: Pending<Option<Enrolled>>,
        /// Go on with it by [`Guest::enrolled`].
        guest: Box<Guest<S>>,
    },
    /// A device goes online.
    Admitted(Box<Admitted<S>>),
}

/// A device that goes online.
pub(crate) struct Admitted<S: Stream> {
    pub(crate) tx: Sender<S::Write>,
    pub(crate) rx: Receiver<S::Read>,
    pub(crate) handshake_hash: [u8; 32],
    pub(crate) key: Key,
    pub(crate) attach: Attach,
    pub(crate) device: Device,
    pub(crate) snapshot: Snapshot,
    /// Frames that came with the attach.
    pub(crate) rest: Option<Batch>,
    pub(crate) ticket: Ticket,
}

/// Why a guest goes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    /// No handshake came about.
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    /// It took too long.
    #[error("the time was over")]
    Late,
    /// Too many others came after it.
    #[error("too many handshakes")]
    Crowded,
    /// It went by itself.
    #[error("the client left")]
    Left,
    /// It sent what no client sends.
    #[error("the client broke the protocol")]
    Protocol,
    /// It was told `Refused`.
    #[error("refused")]
    Refused,
    /// The store failed.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

impl Gate {
    /// Runs the handshake.
    pub(crate) async fn shake<S: Stream>(
        self: &Arc<Self>,
        stream: S,
        ticket: Ticket,
    ) -> Result<Box<Guest<S>>, Closed> {
        let since = Instant::now();
        let limit = self.limits.handshake_time;
        let shaken = timeout(limit, self.handshake(stream, limit)).await;
        let mut link = match shaken.unwrap_or(Err(HandshakeError::TimedOut.into())) {
            Ok(link) => link,
            Err(closed) => {
                match &closed {
                    Closed::Handshake(HandshakeError::TimedOut) => ticket.charge(Offence::Late),
                    Closed::Handshake(_) => ticket.charge(Offence::Protocol),
                    _ => {}
                }
                return Err(closed);
            }
        };
        link.receiver.bound(Some(MAX_RECORD));
        let until = since.checked_add(self.limits.login_time).unwrap_or(since);
        Ok(Box::new(Guest::new(Arc::clone(self), link, ticket, until)))
    }

    async fn handshake<S: Stream>(&self, stream: S, limit: Duration) -> Result<Link<S>, Closed> {
        let greeting = handshake::greet(stream, limit).await?;
        let answer = {
            let _turn = self.turns.next().await.ok_or(Closed::Crowded)?;
            greeting.answer(&self.key)?
        };
        let answered = answer.exchange().await?;
        let _turn = self.turns.next().await.ok_or(Closed::Crowded)?;
        Ok(answered.finish()?)
    }

    /// The rate at which one source may register or log in.
    pub(crate) fn source_rate(limits: &Limits) -> Rate {
        let count = limits.source_logins_per_minute;
        Rate::new(count, Duration::from_secs(60), count)
    }

    /// The rate at which passwords of one name may be tried.
    pub(crate) fn name_rate(limits: &Limits) -> Rate {
        let count = limits.name_logins_per_hour;
        Rate::new(count, Duration::from_secs(3600), count)
    }

    /// How long a login waits for its answer after `before` others for its name: whatever came of
    /// them, or the delay would tell whether somebody knows the password. Far less than a guest has.
    fn patience(&self, before: u32) -> Duration {
        let longest = self.limits.login_time.checked_div(4).unwrap_or_default();
        match before.checked_sub(FREE_TRIES) {
            None => Duration::ZERO,
            Some(more) => {
                let times = 1_u32.checked_shl(more).unwrap_or(u32::MAX);
                self.limits.name_login_delay.saturating_mul(times).min(longest)
            }
        }
    }

    /// Waits for the next tick.
    ///
    /// The runtime's timers have whole milliseconds: a thread that waits for one wakes up so many of
    /// them after it began to wait, and that moment tells within the millisecond how long the answer
    /// took. So a thread of its own, whose sleep is precise, waits for the last piece.
    async fn tick(&self) {
        match self.clock {
            Clock::System => {
                let coarse = left(self.epoch.elapsed()).saturating_sub(PIECE);
                tokio::time::sleep(coarse).await;
                let precise = left(self.started.elapsed());
                // Without it the answer comes early, when the relay stops.
                let _ = tokio::task::spawn_blocking(move || std::thread::sleep(precise)).await;
            }
            Clock::Following { .. } => tokio::time::sleep(left(self.epoch.elapsed())).await,
        }
    }
}

/// How long it is until the next tick.
fn left(since: Duration) -> Duration {
    let passed = since.as_nanos().checked_rem(TICK.as_nanos()).unwrap_or(0);
    TICK.saturating_sub(Duration::from_nanos(u64::try_from(passed).unwrap_or(0)))
}
