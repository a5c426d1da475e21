//! What happens before a client is known. This room cannot reach the hub: it sees strangers, keys
//! and the account store, and hands out who was let in.
//!
//! 1. [`door`] decides whether a connection is taken at all.
//! 2. [`Gate::shake`] runs the handshake, within its time.
//! 3. [`Guest::next`] answers registrations and logins, within theirs, until the link's key is a
//!    device that attaches.
//!
//! Every refusal is the same frame, at the next tick of ten milliseconds, and then the link ends.

pub(crate) mod door;
mod guest;

use std::sync::Arc;
use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_crypto::opaque::RelayAccounts;
use ams_link::handshake::{self, HandshakeError};
use ams_link::receiver::Batch;
use ams_link::{Receiver, Sender, Stream};
use ams_wire::id::Key;
use ams_wire::to_relay::Attach;
use ams_wire::username::Username;
use tokio::time::Instant;

use crate::accounts::{Accounts, AccountsError, Device, Snapshot};
use crate::clock::Clock;
use crate::config::{Limits, Registration};
use crate::limits::{Rate, Table};
use door::{Offence, Ticket};
pub(crate) use guest::Guest;

/// Refusals and password answers leave on ticks, so that how long they took is nobody's.
const TICK: Duration = Duration::from_millis(10);

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
    pub(crate) tries: Arc<Table>,
    pub(crate) epoch: Instant,
}

/// Somebody came through.
pub(crate) enum Passed<S: Stream> {
    /// The guest's key is the device of this account now; the guest is still here.
    Enrolled {
        /// The account.
        name: Username,
        /// Go on with it.
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
        let link = match handshake::accept(stream, &self.key, limit).await {
            Ok(link) => link,
            Err(error) => {
                ticket.charge(match error {
                    HandshakeError::TimedOut => Offence::Late,
                    _ => Offence::Protocol,
                });
                return Err(error.into());
            }
        };
        let until = since.checked_add(self.limits.login_time).unwrap_or(since);
        Ok(Box::new(Guest::new(Arc::clone(self), link, ticket, until)))
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

    /// Waits for the next tick.
    async fn tick(&self) {
        let since = self.epoch.elapsed().as_nanos();
        let passed = since.checked_rem(TICK.as_nanos()).unwrap_or(0);
        let left = TICK.saturating_sub(Duration::from_nanos(u64::try_from(passed).unwrap_or(0)));
        tokio::time::sleep(left).await;
    }
}
