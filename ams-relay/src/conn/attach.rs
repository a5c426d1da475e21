//! From an admitted device to a running link: the work mark is compared, the seat is taken, the
//! snapshot is shown.

use std::collections::{HashSet, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ams_link::keepalive::Keepalive;
use ams_link::receiver::Batch;
use ams_link::{Receiver, Sender, Stream};
use ams_wire::from_relay::{Bye, FromRelay};
use ams_wire::id::{Key, WorkMark};
use ams_wire::to_relay::Attach;
use tokio::time::Instant;

use super::presence::Told;
use super::rows::Rows;
use super::send::Staged;
use super::{Conn, Desk, End, shown};
use crate::accounts::{Device, Snapshot};
use crate::gate::door::Ticket;
use crate::hub::member::Notices;
use crate::limits::Bucket;

/// For a snapshot to be read: 100 requests at 8 KiB/s.
const SNAPSHOT_TIME: Duration = Duration::from_secs(60);

/// A device that the gate let in.
pub(crate) struct Arrival<S: Stream> {
    pub(crate) tx: Sender<S::Write>,
    pub(crate) rx: Receiver<S::Read>,
    pub(crate) handshake_hash: [u8; 32],
    pub(crate) key: Key,
    pub(crate) attach: Attach,
    /// What the device's key was found to be, and what its account has.
    pub(crate) device: Device,
    pub(crate) snapshot: Snapshot,
    /// Frames that came with the attach.
    pub(crate) rest: Option<Batch>,
    /// What the hub's count of changes was before that was read.
    pub(crate) read_at: u64,
    /// It counts as a stranger until it is online.
    pub(crate) ticket: Ticket,
}

/// Lets the device online and shows it its snapshot.
///
/// # Errors
/// Why the link ends instead; the client was told.
pub(crate) async fn attach<S: Stream>(
    desk: &Arc<Desk>,
    arrival: Arrival<S>,
) -> Result<Box<Conn<S>>, End> {
    let Arrival { mut tx, rx, handshake_hash, key, attach, rest, read_at, .. } = arrival;
    let (mut device, mut snapshot, _ticket) = (arrival.device, arrival.snapshot, arrival.ticket);
    // Before the living link is sent away: an old copy must not displace it.
    if let Err(newest) = compare(desk, &device, attach.mark) {
        return Err(turn_away(&mut tx, &FromRelay::Cloned(newest)).await);
    }
    let Some(seat) = desk.hub.sit(&device.name).await else {
        return Err(turn_away(&mut tx, &FromRelay::Bye(Bye::Superseded)).await);
    };
    if desk.hub.row_changes() != read_at {
        // From here on the seat hears of every change; what came before it is read again.
        let most = usize::try_from(desk.limits.requests_shown).unwrap_or(usize::MAX);
        match desk.accounts.attach(key, desk.clock.now(), most).await? {
            Some(again) if again.0.name == device.name => (device, snapshot) = again,
            _ => return Err(turn_away(&mut tx, &FromRelay::Refused).await),
        }
    }
    if let Err(newest) = compare(desk, &device, attach.mark) {
        return Err(turn_away(&mut tx, &FromRelay::Cloned(newest)).await);
    }
    if device.mark != Some(attach.mark) {
        desk.accounts.mark(&device.name, device.enrolment, attach.mark).await?;
    }
    seat.member().raise_mark(device.enrolment, attach.mark);
    let now = Instant::now();
    let keepalive = Keepalive::new(now, desk.chance.clone());
    let mut conn = Box::new(Conn {
        desk: Arc::clone(desk),
        enrolment: device.enrolment,
        handshake_hash,
        tx,
        rx,
        timer: Box::pin(tokio::time::sleep_until(keepalive.deadline())),
        keepalive,
        frames: Bucket::default(),
        control_frames: Bucket::default(),
        bytes: Bucket::default(),
        pause: None,
        batch: rest,
        task: None,
        login: None,
        seat,
        rows: Rows::default(),
        is_visible: attach.visible,
        wants_visible: attach.visible,
        mark: attach.mark,
        written_mark: Some(attach.mark),
        staged: Staged::default(),
        accepted: 0,
        accepted_told: 0,
        accepted_due: None,
        stored: 0,
        ready: VecDeque::new(),
        notices: Notices::default(),
        changed_rows: HashSet::new(),
        requests_changed: false,
        requests_told: Vec::new(),
        redeemed_told: Vec::new(),
        presence: Told::default(),
    });
    // However slowly it reads: meanwhile all of it is in memory.
    match tokio::time::timeout(SNAPSHOT_TIME, conn.show(snapshot)).await {
        Ok(Ok(())) => Ok(conn),
        Ok(Err(end)) => Err(conn.leave(end).await),
        Err(_) => Err(End::Silent),
    }
}

impl<S: Stream> Conn<S> {
    async fn show(&mut self, snapshot: Snapshot) -> Result<(), End> {
        self.say(&FromRelay::Attached);
        for (handle, row) in snapshot.rows {
            self.rows.put(handle, Some(&row));
            self.say(&FromRelay::Row(shown(handle, &row)));
            self.make_room().await?;
        }
        let mut told = Vec::with_capacity(snapshot.requests.len());
        for request in snapshot.requests {
            told.push(ams_crypto::introduction::id(request.intro.as_bytes()).0);
            self.say(&FromRelay::Request(request));
            self.make_room().await?;
        }
        self.requests_told = told;
        if self.is_visible {
            for (own, peer, to) in self.rows.open() {
                self.seat.light(*own, peer, to);
            }
        }
        self.tell_all_presence();
        self.say(&FromRelay::SnapshotEnd);
        Ok(())
    }

    /// A long snapshot leaves in pieces, for as long as this link has the seat.
    async fn make_room(&mut self) -> Result<(), End> {
        if !self.tx.is_full() {
            return Ok(());
        }
        let stall = self.desk.limits.write_stall;
        let (seat, tx) = (&self.seat, &mut self.tx);
        let flushed = poll_fn(|context| match seat.poll_ending(context) {
            Some(ending) => Poll::Ready(Err(End::Ended(ending))),
            None => tx.poll_flush(context).map_err(|_| End::Left),
        });
        tokio::time::timeout(stall, flushed).await.unwrap_or(Err(End::Silent))
    }
}

/// The newest mark's counter, if the device's own is older or of a copy.
fn compare(desk: &Desk, device: &Device, shown: WorkMark) -> Result<(), u64> {
    let passed = desk.hub.member(&device.name).mark(device.enrolment);
    let newest = match (device.mark, passed) {
        (Some(written), Some(passed)) => written.later(passed),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return Ok(()),
    };
    let is_newest = shown.counter > newest.counter || shown == newest;
    if is_newest { Ok(()) } else { Err(newest.counter) }
}

async fn turn_away<W: tokio::io::AsyncWrite + Unpin>(
    tx: &mut Sender<W>,
    frame: &FromRelay<'_>,
) -> End {
    // Nobody waits for this link: a client that does not read it misses it.
    if tx.push(frame).is_ok() {
        let _ = tokio::time::timeout(Duration::from_secs(1), tx.flush()).await;
    }
    End::Left
}
