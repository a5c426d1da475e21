//! The hub: who is online, what is held, until when. In memory alone; a restart forgets it.
//!
//! 1. A link that was admitted takes its account's [`seat`]; one link at a time has it.
//! 2. [`Hub::submit`] puts a sender's envelopes on a [`lane`]: one direction of one pair. The sender
//!    learns nothing from it: whether anybody is at its other end decides only what happens later.
//! 3. The recipient's link, woken once for a batch, takes them from the lane, after a look at its
//!    own row; they stay in memory until it has stored them.
//! 4. What it did not take or not store goes back, in order, when it leaves.
//! 5. At its deadline an envelope ends by [`wheel`], and the sender is told, the same for every
//!    cause.
//!
//! [`member`] is what belongs to one name; `lights` is who sees whom online.
//!
//! No lock is held over an await. Two are held at the same time in this order alone: a sender's
//! table of lanes, one of its lanes, a mailbox. The directory's, that of contact links, the wheel's
//! and a mark's are held alone.

pub(crate) mod lane;
mod lights;
pub(crate) mod member;
pub(crate) mod seat;
mod wheel;

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ams_wire::from_relay::Bye;
use ams_wire::id::{Handle, RoutingId};
use ams_wire::username::Username;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Limits;
use lane::{Held, Lane};
use member::{Ending, Member};
use wheel::Wheel;

/// Pokes that wait for the porter. It only looks up and wakes, so they are few; one that finds no
/// room is dropped, and its member learns at the next attach.
const POKES: usize = 4_096;
/// How often names that nobody uses any more are forgotten.
const SWEEP: Duration = Duration::from_secs(60);

/// Something changed that somebody may want to know, if there is somebody.
#[derive(Debug)]
pub(crate) enum Poke {
    /// One row of this member.
    Row(Username, Handle),
    /// The introductions to this member.
    Requests(Username),
    /// The introductions by this contact link.
    Redeemed(RoutingId),
}

/// Bounds of what is held.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) window: Duration,
    pub(crate) total_bytes: usize,
    pub(crate) sender_bytes: usize,
    pub(crate) sender_messages: usize,
    pub(crate) contact_messages: usize,
    pub(crate) link_bytes: usize,
}

impl Bounds {
    pub(crate) fn new(window: Duration, limits: &Limits) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let count = |messages: u32| usize::try_from(messages).unwrap_or(usize::MAX);
        Self {
            window,
            total_bytes: size(limits.held_bytes),
            sender_bytes: size(limits.sender_held_bytes),
            sender_messages: count(limits.sender_held_messages),
            contact_messages: count(limits.contact_held_messages),
            link_bytes: size(limits.link_bytes),
        }
    }
}

/// The hub.
#[derive(Debug)]
pub(crate) struct Hub {
    // Set once.
    bounds: Bounds,
    epoch: Instant,
    pokes: mpsc::Sender<Poke>,
    // Shared, behind short locks.
    directory: Mutex<HashMap<Username, Arc<Member>>>,
    /// Who waits on which contact link, while they are online.
    awaited: Mutex<HashMap<RoutingId, Arc<Member>>>,
    wheel: Wheel,
    // Counters.
    held_bytes: AtomicUsize,
    held_messages: AtomicUsize,
    seated: AtomicUsize,
    row_changes: AtomicU64,
    /// Whoever sits down has to leave.
    is_draining: AtomicBool,
    /// Memory is short: nothing is held.
    is_short: AtomicBool,
}

/// A lock whose holder cannot leave anything half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A hub, and the porter that has to run beside it.
    pub(crate) fn new(bounds: Bounds) -> (Arc<Self>, Porter) {
        let (pokes, waiting) = mpsc::channel(POKES);
        let hub = Arc::new(Self {
            bounds,
            epoch: Instant::now(),
            pokes,
            directory: Mutex::default(),
            awaited: Mutex::default(),
            wheel: Wheel::default(),
            held_bytes: AtomicUsize::new(0),
            held_messages: AtomicUsize::new(0),
            seated: AtomicUsize::new(0),
            row_changes: AtomicU64::new(0),
            is_draining: AtomicBool::new(false),
            is_short: AtomicBool::new(false),
        });
        let porter = Porter { hub: Arc::clone(&hub), waiting };
        (hub, porter)
    }

    /// Seconds of the hub's own count, rounded up, at which something ends that is accepted `now`
    /// and lives for `life`. No life is shorter than a second: somebody who is online needs the time
    /// to store it.
    pub(crate) fn deadline(&self, now: Instant, life: Duration) -> u32 {
        let life = life.max(Duration::from_secs(1));
        let end = now.saturating_duration_since(self.epoch).saturating_add(life);
        let up = u64::from(end.subsec_nanos() > 0);
        u32::try_from(end.as_secs().saturating_add(up)).unwrap_or(u32::MAX)
    }

    pub(crate) fn instant(&self, second: u32) -> Instant {
        self.epoch.checked_add(Duration::from_secs(second.into())).unwrap_or(self.epoch)
    }

    /// The second of the hub's count that `now` is in: what has this deadline or an earlier one is
    /// due.
    pub(crate) fn second(&self, now: Instant) -> u32 {
        let since = now.saturating_duration_since(self.epoch).as_secs();
        u32::try_from(since).unwrap_or(u32::MAX)
    }

    /// How long to try for a message that `sender` sends now. Past a bound it is no time at all,
    /// whoever the message is for. Asked once for a batch, so a sender's bound is passed by what
    /// comes within two seconds: were it refused at once, what is sent after it could pass it.
    pub(crate) fn window(&self, sender: &Member) -> Duration {
        let nearly_full = self.bounds.total_bytes.saturating_sub(self.bounds.total_bytes / 10);
        let is_short = self.is_short.load(Ordering::Relaxed);
        if is_short || self.held_bytes() >= nearly_full || sender.is_over(&self.bounds) {
            return Duration::ZERO;
        }
        self.bounds.window
    }

    /// Whether memory is full, also when `less` bytes are gone: then not even what was under way to
    /// somebody whose link ended is kept.
    fn is_out_of_room(&self, less: usize) -> bool {
        self.held_bytes().saturating_sub(less) > self.bounds.total_bytes
    }

    /// Puts envelopes on a lane. Returns whether its recipient should be woken, once the batch is
    /// through; `None` when the lane was given up in the meantime and a new one has to be found.
    pub(crate) fn submit(&self, lane: &Arc<Lane>, envelopes: &mut Vec<Held>) -> Option<bool> {
        let before = self.held_bytes();
        let bytes = envelopes.iter().map(Held::cost).fold(0, usize::saturating_add);
        let messages = envelopes.len();
        // Before anybody can take and store them, or there would be less than nothing for a moment.
        self.add(bytes, messages);
        let is_out = |taken: usize| before.saturating_add(taken) >= self.bounds.total_bytes;
        let pushed = lane.push(envelopes, &self.bounds, is_out);
        let kept = pushed.as_ref().map_or((0, 0), |pushed| (pushed.bytes, pushed.messages));
        self.subtract(bytes.saturating_sub(kept.0), messages.saturating_sub(kept.1));
        let pushed = pushed?;
        if let Some(deadline) = pushed.alarm {
            self.wheel.set(deadline, Arc::clone(lane));
        }
        Some(pushed.wakes)
    }

    /// The member of a name, which exists from now on as long as somebody holds it. Whether there is
    /// such an account makes no difference here.
    pub(crate) fn member(&self, name: &Username) -> Arc<Member> {
        let mut directory = lock(&self.directory);
        if let Some(member) = directory.get(name) {
            return Arc::clone(member);
        }
        let member = Arc::new(Member::new(name.clone()));
        directory.insert(name.clone(), Arc::clone(&member));
        member
    }

    /// The lane of a sender's handle: to the peer that the sender's own row names, or to nowhere.
    pub(crate) fn lane(
        &self,
        sender: &Arc<Member>,
        handle: Handle,
        peer: Option<(&Username, Handle)>,
    ) -> Arc<Lane> {
        match peer {
            Some((name, to)) => sender.lane_to(handle, &self.member(name), to, &self.bounds),
            None => sender.lane_to_nowhere(&self.bounds),
        }
    }

    /// Wakes whoever is concerned, through a task that has no way back to the caller.
    pub(crate) fn poke(&self, poke: Poke) {
        self.row_changes.fetch_add(1, Ordering::Release);
        if self.pokes.try_send(poke).is_err() {
            tracing::debug!("a poke found no room");
        }
    }

    /// Changes with every poke: who read something and then took a seat knows by it whether to
    /// read again.
    pub(crate) fn row_changes(&self) -> u64 {
        self.row_changes.load(Ordering::Acquire)
    }

    /// Ends the link of an account, if it has one. One that is about to take the seat sees by
    /// [`Hub::row_changes`] that it should look again whether it may.
    pub(crate) fn end(&self, name: &Username, ending: Ending) {
        self.row_changes.fetch_add(1, Ordering::Release);
        let member = lock(&self.directory).get(name).map(Arc::clone);
        if let Some(member) = member {
            member.end(ending);
        }
    }

    /// Ends every link, saying that the relay stops; also those that come from now on.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
        let members: Vec<_> = lock(&self.directory).values().map(Arc::clone).collect();
        for member in members {
            member.end(Ending::Bye(Bye::Draining));
        }
    }

    /// Memory is short, or not any more.
    pub(crate) fn run_short(&self, is_short: bool) {
        self.is_short.store(is_short, Ordering::Relaxed);
    }

    /// Nothing that a deleted account sent is delivered any more.
    pub(crate) fn silence(&self, name: &Username) {
        let member = lock(&self.directory).get(name).map(Arc::clone);
        if let Some(member) = member {
            member.silence();
        }
    }

    /// Whether an account has a link. For the administrator alone.
    pub(crate) fn is_seated(&self, name: &Username) -> bool {
        lock(&self.directory).get(name).is_some_and(|member| member.is_seated())
    }

    /// Accounts that have a link.
    pub(crate) fn seated(&self) -> usize {
        self.seated.load(Ordering::Relaxed)
    }

    /// Bytes of all envelopes in memory, with what keeping them costs.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// All envelopes in memory.
    pub(crate) fn held_messages(&self) -> usize {
        self.held_messages.load(Ordering::Relaxed)
    }

    /// Names of which anything is kept.
    #[cfg(test)]
    pub(crate) fn names(&self) -> usize {
        lock(&self.directory).len()
    }

    fn add(&self, bytes: usize, messages: usize) {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.held_messages.fetch_add(messages, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: usize, messages: usize) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.held_messages.fetch_sub(messages, Ordering::Relaxed);
    }

    fn forget_unused(&self) {
        // Whoever uses a member holds it; new holders come through this lock.
        lock(&self.directory).retain(|_, member| Arc::strong_count(member) > 1);
    }
}

impl Drop for Hub {
    /// Members and lanes hold each other.
    fn drop(&mut self) {
        for member in lock(&self.directory).values() {
            member.let_go();
        }
    }
}

/// Carries pokes and watches the deadlines.
#[derive(Debug)]
pub(crate) struct Porter {
    hub: Arc<Hub>,
    waiting: mpsc::Receiver<Poke>,
}

impl Porter {
    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut sweep = Instant::now();
        loop {
            let deadline = self.hub.wheel.next().map(|second| self.hub.instant(second));
            let wake = deadline.map_or(sweep, |deadline| deadline.min(sweep));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                poke = self.waiting.recv() => match poke {
                    Some(poke) => self.carry(&poke),
                    None => return,
                },
                () = self.hub.wheel.changed() => {}
                () = tokio::time::sleep_until(wake) => {
                    let now = Instant::now();
                    self.hub.expire(now);
                    if now >= sweep {
                        self.hub.forget_unused();
                        sweep = now.checked_add(SWEEP).unwrap_or(now);
                    }
                }
            }
        }
    }

    fn carry(&self, poke: &Poke) {
        let member = match poke {
            Poke::Row(name, _) | Poke::Requests(name) => {
                lock(&self.hub.directory).get(name).map(Arc::clone)
            }
            Poke::Redeemed(by) => lock(&self.hub.awaited).get(by).map(Arc::clone),
        };
        if let Some(member) = member {
            member.notice(|notices| match poke {
                Poke::Row(_, handle) => notices.rows.push(*handle),
                Poke::Requests(_) | Poke::Redeemed(_) => notices.requests = true,
            });
        }
    }
}
