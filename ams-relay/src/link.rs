//! A connection's way through the rooms: door, gate, conn. The only place that knows all three.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ams_link::Stream;
use ams_wire::from_relay::Bye;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::{AccountsError, Enrolled, Pending};
use crate::conn::attach::{Arrival, attach};
use crate::conn::{Conn, Desk};
use crate::gate::door::{Door, Ticket};
use crate::gate::{Closed, Gate, Passed};
use crate::hub::Hub;
use crate::hub::member::Ending;

/// After a failed accept: first pause and longest pause.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The rooms that a connection goes through.
pub(crate) struct Rooms {
    pub(crate) door: Arc<Door>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) desk: Arc<Desk>,
}

/// How links end with the relay.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// Nobody is let in any more; who is attached is told by the hub.
    pub(crate) stop: CancellationToken,
    /// Whoever is still there goes, without a word.
    pub(crate) cut: CancellationToken,
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rooms(..)")
    }
}

/// Accepts until `stop`. It waits for no client.
pub(crate) async fn accept(
    listener: TcpListener,
    rooms: Arc<Rooms>,
    links: TaskTracker,
    stop: Stop,
) {
    let mut pause = ACCEPT_PAUSE.0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                pause = ACCEPT_PAUSE.0;
                // Records are gathered here already.
                if stream.set_nodelay(true).is_ok() {
                    spawn(&rooms, &links, &stop, stream, Some(from.ip()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(ACCEPT_PAUSE.1);
            }
        }
    }
}

/// Serves a connection in a task of its own, if the door lets it in.
pub(crate) fn spawn<S: Stream>(
    rooms: &Arc<Rooms>,
    links: &TaskTracker,
    stop: &Stop,
    stream: S,
    from: Option<IpAddr>,
) {
    // Closed without a byte otherwise.
    if let Some(ticket) = rooms.door.knock(from, Instant::now()) {
        let (rooms, stop, tasks) = (Arc::clone(rooms), stop.clone(), links.clone());
        links.spawn(async move {
            // What a stranger needs is gone when the link is up. A stop needs no goodbye here: the
            // hub says it to everybody who is known.
            let leave = ticket.leave();
            let admit = leave.run_until_cancelled(admit(rooms, tasks, stream, ticket));
            let admitted = Box::pin(stop.stop.run_until_cancelled(admit)).await;
            if let Some(Some(Some(conn))) = admitted
                && let Some(end) = stop.cut.run_until_cancelled(conn.run()).await
            {
                tracing::debug!(%end, "a link ended");
            }
        });
    }
}

async fn admit<S: Stream>(
    rooms: Arc<Rooms>,
    tasks: TaskTracker,
    stream: S,
    ticket: Ticket,
) -> Option<Box<Conn<S>>> {
    let Rooms { gate, desk, .. } = &*rooms;
    match pass(gate, desk, &tasks, stream, ticket).await {
        Ok(arrival) => match attach(desk, arrival).await {
            Ok(conn) => Some(conn),
            Err(end) => {
                tracing::debug!(%end, "a device was not attached");
                None
            }
        },
        Err(closed) => {
            tracing::debug!(%closed, "a guest went");
            None
        }
    }
}

async fn pass<S: Stream>(
    gate: &Arc<Gate>,
    desk: &Arc<Desk>,
    tasks: &TaskTracker,
    stream: S,
    ticket: Ticket,
) -> Result<Arrival<S>, Closed> {
    let mut guest = gate.shake(stream, ticket).await?;
    loop {
        // Before anything of an account is read: a change after it shows.
        let read_at = desk.hub.row_changes();
        match guest.next().await? {
            Passed::Proved { enrolling, guest: same } => {
                guest = same;
                guest.enrolled(enrol(&desk.hub, tasks, enrolling).await?);
            }
            Passed::Admitted(admitted) => {
                let admitted = *admitted;
                return Ok(Arrival {
                    tx: admitted.tx,
                    rx: admitted.rx,
                    handshake_hash: admitted.handshake_hash,
                    key: admitted.key,
                    attach: admitted.attach,
                    device: admitted.device,
                    snapshot: admitted.snapshot,
                    rest: admitted.rest,
                    read_at,
                    ticket: admitted.ticket,
                });
            }
        }
    }
}

/// Sees an enrolment through in a task of its own: a guest who runs out of time or has to go must
/// not leave a device online that is nobody's any more.
async fn enrol(
    hub: &Arc<Hub>,
    tasks: &TaskTracker,
    enrolling: Pending<Option<Enrolled>>,
) -> Result<bool, AccountsError> {
    let hub = Arc::clone(hub);
    let done = tasks.spawn(async move {
        let enrolled = enrolling.await?;
        // Whichever device was online for these accounts is not their device any more.
        if let Some(enrolled) = &enrolled {
            hub.end(&enrolled.name, Ending::Bye(Bye::Replaced));
            if let Some(left) = &enrolled.left {
                hub.end(left, Ending::Bye(Bye::Replaced));
            }
        }
        Ok(enrolled.is_some())
    });
    done.await.unwrap_or_else(|_| Err(AccountsError::Failed("the enrolment was lost".to_owned())))
}
