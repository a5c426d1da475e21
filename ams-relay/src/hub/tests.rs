//! The hub alone, under a clock that the test moves.

mod bounds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ams_wire::id::{EnvelopeId, Handle};
use ams_wire::limits::MIN_ENVELOPE;
use ams_wire::username::Username;
use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::Instant;

use super::lane::{Held, Lane};
use super::member::{Member, Notices};
use super::seat::Seat;
use super::{Bounds, Hub};
use crate::config::Limits;

const ALICE: Handle = Handle([1; 16]);
const BOB: Handle = Handle([2; 16]);
const WINDOW: u64 = 5;

fn hub() -> Arc<Hub> {
    // The porter does not run: the tests expire by hand.
    Hub::new(Bounds::new(Duration::from_secs(WINDOW), &Limits::default())).0
}

fn name(text: &str) -> Username {
    Username::new(text).unwrap()
}

fn id(number: u32) -> EnvelopeId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    EnvelopeId(id)
}

fn notices(seat: &Seat) -> Notices {
    let mut notices = Notices::default();
    let waker = futures_waker();
    let context = std::task::Context::from_waker(&waker);
    seat.poll_notices(&context, &mut notices);
    notices
}

fn futures_waker() -> std::task::Waker {
    std::task::Waker::noop().clone()
}

/// Alice's side: what her link does for each envelope.
struct Alice {
    hub: Arc<Hub>,
    seat: Seat,
    /// Whom she writes to; nobody, if her handle has no row.
    peer: Option<Username>,
    lane: Option<Arc<Lane>>,
}

impl Alice {
    async fn new(hub: &Arc<Hub>) -> Self {
        Self::writing(hub, "alice", Some("bob")).await
    }

    async fn writing(hub: &Arc<Hub>, who: &str, peer: Option<&str>) -> Self {
        let seat = hub.sit(&name(who)).await.unwrap();
        Self { hub: Arc::clone(hub), seat, peer: peer.map(name), lane: None }
    }

    fn member(&self) -> &Arc<Member> {
        self.seat.member()
    }

    fn send(&mut self, number: u32) {
        let life = self.hub.window(self.member());
        self.send_for(number, life, Bytes::from(vec![7; MIN_ENVELOPE]));
    }

    fn send_for(&mut self, number: u32, life: Duration, envelope: Bytes) {
        let deadline = self.hub.deadline(Instant::now(), life);
        let mut staged = vec![Held::new(id(number), deadline, envelope, self.seat.number())];
        while !staged.is_empty() {
            let lane = self.lane.get_or_insert_with(|| {
                let peer = self.peer.as_ref().map(|peer| (peer, BOB));
                self.hub.lane(self.seat.member(), ALICE, peer)
            });
            match self.hub.submit(lane, &mut staged) {
                Some(true) => lane.recipient().unwrap().wake(Arc::clone(lane)),
                Some(false) => {}
                None => self.lane = None,
            }
        }
    }

    fn failed(&self) -> Vec<EnvelopeId> {
        notices(&self.seat).failed
    }
}

/// Takes all that is ready, in pieces of `room` bytes; `passes` is what bob's own row says.
fn take(seat: &mut Seat, ready: &mut Vec<Arc<Lane>>, room: usize, passes: bool) -> Vec<EnvelopeId> {
    ready.extend(notices(seat).ready);
    let mut taken = Vec::new();
    let mut left = Vec::new();
    for lane in ready.drain(..) {
        let mut count = 0_usize;
        let more = seat.take(&lane, |to| passes && to == BOB, room, |_, _| count += 1);
        taken.push(count);
        if more {
            left.push(lane);
        }
    }
    *ready = left;
    seat.newest(taken.iter().sum())
}

impl Seat {
    /// Ids of the newest of what was delivered and not stored.
    fn newest(&self, count: usize) -> Vec<EnvelopeId> {
        let all: Vec<_> = self.unstored_ids();
        all[all.len() - count..].to_vec()
    }
}

#[tokio::test(start_paused = true)]
async fn one_wake_for_many_and_none_while_something_waits() {
    let hub = hub();
    let mut alice = Alice::new(&hub).await;
    let mut bob = hub.sit(&name("bob")).await.unwrap();
    for number in 0..10 {
        alice.send(number);
    }
    let mut ready = notices(&bob).ready;
    assert_eq!(ready.len(), 1);
    assert_eq!(take(&mut bob, &mut ready, usize::MAX, true).len(), 10);
    assert!(bob.stored(10));
    assert!(!bob.stored(1));
    assert_eq!((hub.held_bytes(), hub.held_messages()), (0, 0));
    alice.send(10);
    assert_eq!(notices(&bob).ready.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_nobody_uses_is_forgotten() {
    let hub = hub();
    let mut alice = Alice::new(&hub).await;
    alice.send(1);
    tokio::time::advance(Duration::from_secs(WINDOW + 1)).await;
    hub.expire(Instant::now());
    assert_eq!(alice.failed(), [id(1)]);
    alice.lane = None;
    hub.forget_unused();
    assert_eq!(super::lock(&hub.directory).len(), 1);
    drop(alice);
    hub.forget_unused();
    assert_eq!(super::lock(&hub.directory).len(), 0);
}

/// What had no room is not forgotten: sent again on the sender's next link, it keeps its place
/// before what is sent after it.
#[tokio::test(start_paused = true)]
async fn what_had_no_room_is_taken_when_it_is_sent_again() {
    let hub = hub();
    let most = Limits::default().contact_held_messages;
    let mut alice = Alice::new(&hub).await;
    for number in 0..most + 2 {
        alice.send(number);
    }
    // Again while there is no room: still refused.
    alice.send(most);
    let mut bob = hub.sit(&name("bob")).await.unwrap();
    let mut ready = Vec::new();
    let there: Vec<_> = (0..most).map(id).collect();
    assert_eq!(take(&mut bob, &mut ready, usize::MAX, true), there);
    for number in 0..most + 3 {
        alice.send(number);
    }
    let late: Vec<_> = (most..most + 3).map(id).collect();
    assert_eq!(take(&mut bob, &mut ready, usize::MAX, true), late);
    assert!(bob.stored(there.len() + late.len()));
    assert_eq!(alice.member().counts(), (0, 0, 0));
    assert_eq!((hub.held_bytes(), hub.held_messages()), (0, 0));
    tokio::time::advance(Duration::from_secs(WINDOW + 1)).await;
    hub.expire(Instant::now());
    assert_eq!(alice.failed(), []);
}

/// The window of the first ended while its sender's link was dead: nobody told the sender, who sends
/// all of it again, in order. What is still held must not stand before it then.
#[tokio::test(start_paused = true)]
async fn what_is_sent_again_comes_in_the_order_in_which_it_is_sent_again() {
    let hub = hub();
    let mut alice = Alice::new(&hub).await;
    alice.send(1);
    tokio::time::advance(Duration::from_secs(WINDOW - 1)).await;
    alice.send(2);
    tokio::time::advance(Duration::from_secs(2)).await;
    hub.expire(Instant::now());
    assert_eq!(alice.failed(), [id(1)]);
    let mut alice = {
        drop(alice);
        Alice::new(&hub).await
    };
    for number in [1, 2, 3] {
        alice.send(number);
    }
    let mut bob = hub.sit(&name("bob")).await.unwrap();
    let taken = take(&mut bob, &mut Vec::new(), usize::MAX, true);
    assert_eq!(taken, [id(1), id(2), id(3)]);
    assert!(bob.stored(3));
    assert_eq!(alice.member().counts(), (0, 0, 0));
}

/// What its sender gave up meanwhile is not sent again, and comes no earlier for that.
#[tokio::test(start_paused = true)]
async fn what_is_sent_again_keeps_its_place_before_what_is_not() {
    let hub = hub();
    let mut alice = Alice::new(&hub).await;
    for number in [1, 2, 3] {
        alice.send(number);
    }
    drop(alice);
    let mut alice = Alice::new(&hub).await;
    for number in [1, 2, 4] {
        alice.send(number);
    }
    let mut bob = hub.sit(&name("bob")).await.unwrap();
    let taken = take(&mut bob, &mut Vec::new(), usize::MAX, true);
    assert_eq!(taken, [id(1), id(2), id(3), id(4)]);
}

#[tokio::test(start_paused = true)]
async fn too_much_for_one_link_ends_it() {
    let hub = hub();
    let mut alice = Alice::new(&hub).await;
    let bob = hub.sit(&name("bob")).await.unwrap();
    let many = u32::try_from((8 << 20) / MIN_ENVELOPE).unwrap();
    for number in 0..many {
        alice.send(number);
    }
    assert!(notices(&bob).ending.is_some());
}

#[derive(Debug, Clone)]
enum Step {
    Send(u32),
    Take { room: usize },
    Store(usize),
    Leave,
    Sit,
    Block(bool),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u32..60).prop_map(Step::Send),
        4 => (1_usize..4000).prop_map(|room| Step::Take { room }),
        4 => (0_usize..8).prop_map(Step::Store),
        1 => Just(Step::Leave),
        2 => Just(Step::Sit),
        1 => any::<bool>().prop_map(Step::Block),
        1 => (0_u64..3).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

/// Bob's side and what is known of every envelope.
struct World {
    hub: Arc<Hub>,
    alice: Alice,
    bob: Option<Seat>,
    ready: Vec<Arc<Lane>>,
    blocked: bool,
    /// Envelopes on their way, by id, with the order in which they were accepted.
    alive: BTreeMap<EnvelopeId, u32>,
    /// Delivered on this link and not stored, in order; failed ones stay in the count.
    delivered: Vec<EnvelopeId>,
    next: u32,
}

impl World {
    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Send(number) => {
                self.alice.send(number);
                // One that is on its way already is dropped, and what bob's link has stays where it
                // is; what waits goes behind the others.
                if !self.delivered.contains(&id(number)) {
                    self.alive.insert(id(number), self.next);
                    self.next += 1;
                }
            }
            Step::Take { room } => self.take(room),
            Step::Store(count) => {
                let Some(bob) = &mut self.bob else { return };
                let fits = count <= self.delivered.len();
                assert_eq!(bob.stored(count), fits);
                if fits {
                    for id in self.delivered.drain(..count) {
                        self.alive.remove(&id);
                    }
                }
            }
            Step::Leave => {
                self.bob = None;
                self.ready.clear();
                self.delivered.clear();
            }
            Step::Sit => {
                self.step_leave();
                self.bob = Some(self.hub.sit(&name("bob")).await.unwrap());
            }
            Step::Block(blocked) => {
                self.blocked = blocked;
                if let Some(bob) = &self.bob {
                    self.ready = bob.incoming();
                }
            }
            Step::Wait(seconds) => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                self.expire();
            }
        }
    }

    fn step_leave(&mut self) {
        self.bob = None;
        self.ready.clear();
        self.delivered.clear();
    }

    fn take(&mut self, room: usize) {
        let Some(bob) = &mut self.bob else { return };
        let taken = take(bob, &mut self.ready, room, !self.blocked);
        for id in &taken {
            // Nothing that ended is delivered, and nothing twice on one link.
            assert!(self.alive.contains_key(id), "{id:?}");
            assert!(!self.delivered.contains(id), "{id:?}");
        }
        self.delivered.extend(taken);
        let order: Vec<_> =
            self.delivered.iter().filter_map(|id| self.alive.get(id)).copied().collect();
        assert!(order.is_sorted(), "{order:?}");
    }

    fn expire(&mut self) {
        let now = Instant::now();
        self.hub.expire(now);
        if let Some(bob) = &mut self.bob {
            while let Some(due) = bob.due().filter(|due| self.hub.instant(*due) <= now) {
                bob.expire(due);
            }
        }
        let failed = self.alice.failed();
        let once: BTreeSet<_> = failed.iter().collect();
        assert_eq!(once.len(), failed.len());
        for id in &failed {
            assert!(self.alive.remove(id).is_some(), "{id:?} failed and was not alive");
            // It keeps its place in bob's count, and may come again.
            for delivered in self.delivered.iter_mut().filter(|delivered| *delivered == id) {
                *delivered = EnvelopeId([0xFF; 16]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever happens: order is kept, everything ends exactly once, stored or failed, and every
    /// count comes back to zero.
    #[test]
    fn everything_ends_once_and_in_order(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let hub = hub();
            let alice = Alice::new(&hub).await;
            let mut world = World {
                alice,
                hub,
                bob: None,
                ready: Vec::new(),
                blocked: false,
                alive: BTreeMap::new(),
                delivered: Vec::new(),
                next: 0,
            };
            for step in &steps {
                world.step(step).await;
            }
            for _ in 0..3 {
                tokio::time::advance(Duration::from_secs(WINDOW + 1)).await;
                world.expire();
            }
            assert!(world.alive.is_empty(), "{:?}", world.alive);
            assert_eq!((world.hub.held_bytes(), world.hub.held_messages()), (0, 0));
            let bob = world.hub.member(&name("bob"));
            drop(world.bob.take());
            world.hub.expire(Instant::now());
            assert_eq!(world.alice.member().counts(), (0, 0, 0));
            assert_eq!(bob.counts(), (0, 0, 0));
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_never_idle_makes_room_as_well() {
    let hub = hub();
    let alice = hub.sit(&name("alice")).await.unwrap();
    let waker = futures_waker();
    let context = std::task::Context::from_waker(&waker);
    // A later link came just before this one sat down, and somebody writes all the time.
    alice.member().arrivals.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    hub.poke(super::Poke::Requests(name("alice")));
    let superseded = Some(super::member::Ending::Bye(ams_wire::from_relay::Bye::Superseded));
    assert_eq!(alice.poll_ending(&context), superseded);
    assert_eq!(notices(&alice).ending, superseded);
}
