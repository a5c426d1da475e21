//! What is held is bounded, whatever people do, and what ends does so in time.

use super::*;
use crate::hub::lock;

/// A hub with room for few.
fn small(total: usize, sender: usize) -> Arc<Hub> {
    let limits = Limits {
        held_bytes: total.try_into().unwrap(),
        sender_held_bytes: sender.try_into().unwrap(),
        ..Limits::default()
    };
    Hub::new(Bounds::new(Duration::from_secs(WINDOW), &limits)).0
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Envelopes that are small parts of what they were read with do not keep all of that.
#[tokio::test(start_paused = true)]
async fn what_waits_or_was_not_stored_pins_few_buffers() {
    let hub = hub();
    let mut alice = Alice::new(&hub).await;
    let mut bob = hub.sit(&name("bob")).await.unwrap();
    let mut ready = Vec::new();
    let mut buffers = Vec::new();
    for round in 0..20 {
        for number in 0..50 {
            let buffer = Bytes::from(vec![round; 64 * 1024]);
            let envelope = buffer.slice(100..100 + MIN_ENVELOPE);
            alice.send_for(u32::from(round) * 50 + number, seconds(WINDOW), envelope);
            buffers.push(buffer);
        }
        take(&mut bob, &mut ready, usize::MAX, true);
    }
    assert_eq!(bob.unstored_ids().len(), 1_000);
    let pinned = |buffers: &[Bytes]| buffers.iter().filter(|buffer| !buffer.is_unique()).count();
    assert!(pinned(&buffers) <= 64, "{}", pinned(&buffers));
    // The oldest are gone, and what comes then is behind many all the same.
    assert!(bob.stored(500));
    for number in 1_000..1_050 {
        let buffer = Bytes::from(vec![1; 64 * 1024]);
        alice.send_for(number, seconds(WINDOW), buffer.slice(..MIN_ENVELOPE));
        buffers.push(buffer);
    }
    take(&mut bob, &mut ready, usize::MAX, true);
    assert_eq!(pinned(&buffers), 0);
    // Not taken at all: the first of them.
    for number in 2_000..2_200 {
        let buffer = Bytes::from(vec![1; 64 * 1024]);
        alice.send_for(number, seconds(WINDOW), buffer.slice(..MIN_ENVELOPE));
        buffers.push(buffer);
    }
    assert_eq!(pinned(&buffers), 64);
    drop(bob);
    assert_eq!(pinned(&buffers), 0);
}

/// Deadlines that come earlier again and again do not leave more and more work behind.
#[tokio::test(start_paused = true)]
async fn a_lane_is_looked_at_once_at_a_time() {
    let hub = hub();
    let mut alice = Alice::new(&hub).await;
    let envelope = || Bytes::from(vec![7; MIN_ENVELOPE]);
    let mut failed = 0;
    for second in 0..300 {
        if second % 3 == 0 {
            alice.send_for(10_000 + second, seconds(WINDOW), envelope());
        }
        for number in 0..3 {
            alice.send_for(second * 3 + number, seconds(1), envelope());
        }
        tokio::time::advance(seconds(1)).await;
        hub.expire(Instant::now());
        failed += alice.failed().len();
        assert!(hub.wheel.len() <= usize::try_from(WINDOW).unwrap() + 1, "{}", hub.wheel.len());
    }
    tokio::time::advance(seconds(WINDOW + 1)).await;
    hub.expire(Instant::now());
    failed += alice.failed().len();
    assert_eq!(failed, 300 * 3 + 100);
    assert_eq!(hub.wheel.len(), 0);
}

/// An entry of the wheel that was overtaken by an earlier one does nothing, not even a look.
#[tokio::test(start_paused = true)]
async fn an_entry_that_was_overtaken_does_nothing() {
    let hub = hub();
    let mut alice = Alice::new(&hub).await;
    let envelope = || Bytes::from(vec![7; MIN_ENVELOPE]);
    // Entries at five, four, ... and the first that fires sets one for the next deadline.
    for life in [5, 4, 3, 2, 1] {
        alice.send_for(u32::try_from(life).unwrap(), seconds(life), envelope());
    }
    alice.send_for(6, seconds(6), envelope());
    let lane = alice.lane.clone().unwrap();
    tokio::time::advance(seconds(1)).await;
    hub.expire(Instant::now());
    assert_eq!(alice.failed(), [id(1)]);
    assert!(matches!(lane.expire(1).next, crate::hub::lane::Next::Stale));
    for second in 2..=6 {
        tokio::time::advance(seconds(1)).await;
        hub.expire(Instant::now());
        assert_eq!(alice.failed(), [id(second)]);
    }
    // It is closed now; an entry that was left would do nothing either.
    assert_eq!(hub.wheel.len(), 0);
    assert!(matches!(lane.expire(9).next, crate::hub::lane::Next::Stale));
}

/// What a link gives back ends at its own time, whatever else its lane waits for.
#[tokio::test(start_paused = true)]
async fn what_a_link_gives_back_fails_in_time() {
    let hub = hub();
    let mut alice = Alice::new(&hub).await;
    let mut bob = hub.sit(&name("bob")).await.unwrap();
    let envelope = || Bytes::from(vec![7; MIN_ENVELOPE]);
    alice.send_for(1, seconds(5), envelope());
    assert_eq!(take(&mut bob, &mut Vec::new(), usize::MAX, true), [id(1)]);
    // While the first is at bob's link, the lane comes to wait for the second alone.
    alice.send_for(2, seconds(9), envelope());
    alice.send_for(3, seconds(1), envelope());
    tokio::time::advance(seconds(1)).await;
    hub.expire(Instant::now());
    assert_eq!(alice.failed(), [id(3)]);
    drop(bob);
    assert_eq!(hub.wheel.next(), Some(5));
    tokio::time::advance(seconds(4)).await;
    hub.expire(Instant::now());
    assert_eq!(alice.failed(), [id(1)]);
}

/// The porter is late, or a link gave it back a moment ago: it is not delivered all the same.
#[tokio::test(start_paused = true)]
async fn nothing_is_delivered_after_its_deadline() {
    let hub = hub();
    let mut alice = Alice::new(&hub).await;
    let mut bob = hub.sit(&name("bob")).await.unwrap();
    let envelope = || Bytes::from(vec![7; MIN_ENVELOPE]);
    for (number, life) in [(1, 9), (2, 3), (3, 9), (4, 3)] {
        alice.send_for(number, seconds(life), envelope());
    }
    let mut ready = Vec::new();
    tokio::time::advance(seconds(3)).await;
    assert_eq!(take(&mut bob, &mut ready, MIN_ENVELOPE, true), [id(1)]);
    assert_eq!(take(&mut bob, &mut ready, usize::MAX, true), [id(3)]);
    assert!(ready.is_empty());
    // Bob is woken for the next one although something is left there.
    alice.send_for(5, seconds(9), envelope());
    assert_eq!(take(&mut bob, &mut ready, usize::MAX, true), [id(5)]);
    hub.expire(Instant::now());
    assert_eq!(alice.failed(), [id(2), id(4)]);
    assert!(bob.stored(3));
    assert_eq!((hub.held_bytes(), alice.member().counts()), (0, (0, 0, 0)));
}

/// Whatever many people send to those who are away: memory has an end.
#[tokio::test(start_paused = true)]
async fn many_senders_together_hold_no_more() {
    const BOUND: usize = 1_000_000;
    let hub = small(BOUND, BOUND / 4);
    let mut senders = Vec::new();
    for number in 0..20 {
        senders.push(Alice::writing(&hub, &format!("sender{number}"), Some("bob")).await);
    }
    for number in 0..50 {
        for sender in &mut senders {
            sender.send_for(number, seconds(WINDOW), Bytes::from(vec![7; 10_000]));
        }
    }
    // The last one may be over it.
    assert!(hub.held_bytes() <= BOUND + 11_000, "{}", hub.held_bytes());
    assert!(hub.held_bytes() >= BOUND / 10 * 8, "{}", hub.held_bytes());
}

/// Somebody who is away, somebody who is not there, no row at all, and somebody who is online and
/// lets nothing pass: the sender's own counts, by which the window is chosen, run alike.
#[tokio::test(start_paused = true)]
async fn bounds_are_reached_alike_whoever_is_there() {
    const BOUND: usize = 100_000;
    let mut histories = Vec::new();
    for (peer, blocks) in [(Some("bob"), false), (Some("nobody"), false), (None, false)]
        .into_iter()
        .chain([(Some("bob"), true)])
    {
        let hub = small(10 * BOUND, BOUND);
        let bob = hub.sit(&name("bob")).await.unwrap();
        let mut bob = Some(bob).filter(|_| blocks);
        let mut alice = Alice::writing(&hub, "alice", peer).await;
        let mut history = Vec::new();
        for number in 0..300 {
            let life = hub.window(alice.member());
            let length = if number < 150 { MIN_ENVELOPE } else { 30_000 };
            alice.send_for(number, life, Bytes::from(vec![7; length]));
            if let Some(bob) = &mut bob {
                assert_eq!(take(bob, &mut Vec::new(), usize::MAX, false), []);
            }
            if number % 50 == 49 {
                tokio::time::advance(seconds(1)).await;
                hub.expire(Instant::now());
            }
            history.push((life, alice.member().counts(), alice.failed().len(), hub.held_bytes()));
        }
        histories.push(history);
    }
    for history in &histories {
        assert_eq!(history, &histories[0]);
    }
}

/// What was under way to somebody online is held when that link ends; as much as for anybody else.
#[tokio::test(start_paused = true)]
async fn a_link_that_ends_leaves_no_more_than_is_held() {
    let hub = hub();
    let most = Limits::default().contact_held_messages;
    let mut alice = Alice::new(&hub).await;
    let mut bob = hub.sit(&name("bob")).await.unwrap();
    for number in 0..2_000 {
        alice.send(number);
    }
    let mut ready = Vec::new();
    assert_eq!(take(&mut bob, &mut ready, 50 * MIN_ENVELOPE, true).len(), 50);
    drop(bob);
    assert_eq!(hub.held_messages(), usize::try_from(most).unwrap());
    // The oldest, in order; the others when they are sent again.
    let mut bob = hub.sit(&name("bob")).await.unwrap();
    let (there, late): (Vec<_>, Vec<_>) = (0..2_001).map(id).partition(|one| *one < id(most));
    assert_eq!(take(&mut bob, &mut ready, usize::MAX, true), there);
    for number in 0..2_001 {
        alice.send(number);
    }
    assert_eq!(take(&mut bob, &mut ready, usize::MAX, true), late);
    assert!(bob.stored(2_001));
    assert_eq!((hub.held_bytes(), alice.member().counts()), (0, (0, 0, 0)));
}

/// Room that became free is not for what is behind something that was refused.
#[tokio::test(start_paused = true)]
async fn nothing_passes_what_was_refused() {
    const BOUND: usize = 100_000;
    let hub = small(BOUND, 10 * BOUND);
    let mut alice = Alice::new(&hub).await;
    let small_one = || Bytes::from(vec![7; MIN_ENVELOPE]);
    alice.send_for(0, seconds(1), Bytes::from(vec![7; BOUND]));
    alice.send_for(1, seconds(WINDOW), small_one());
    alice.send_for(2, seconds(WINDOW), small_one());
    tokio::time::advance(seconds(1)).await;
    hub.expire(Instant::now());
    assert_eq!(alice.failed(), [id(0)]);
    alice.send_for(3, seconds(WINDOW), small_one());
    alice.send_for(2, seconds(WINDOW), small_one());
    assert_eq!(hub.held_messages(), 0);
    for number in [1, 2, 3, 4] {
        alice.send_for(number, seconds(WINDOW), small_one());
    }
    let mut bob = hub.sit(&name("bob")).await.unwrap();
    let taken = take(&mut bob, &mut Vec::new(), usize::MAX, true);
    assert_eq!(taken, [1, 2, 3, 4].map(id));
}

/// Taken and stored by another thread before the sender's has looked up: the sum is never less than
/// nothing, which would be the largest number there is.
#[tokio::test]
async fn the_sum_is_never_less_than_nothing() {
    let hub = hub();
    let mut alice = Alice::new(&hub).await;
    let mut bob = hub.sit(&name("bob")).await.unwrap();
    alice.send_for(0, seconds(3_600), Bytes::from(vec![7; MIN_ENVELOPE]));
    let lane = alice.lane.clone().unwrap();
    let worker = std::thread::spawn(move || {
        let mut stored = 0;
        while stored < 20_000 {
            let mut count = 0;
            bob.take(&lane, |_| true, usize::MAX, |_, _| count += 1);
            assert!(bob.stored(count));
            assert!(bob.hub().held_bytes() < 1 << 40);
            stored += count;
        }
    });
    for number in 1..20_000 {
        alice.send_for(number, seconds(3_600), Bytes::from(vec![7; MIN_ENVELOPE]));
        while lock(&hub.directory).is_empty() || hub.held_messages() > 50 {
            std::thread::yield_now();
        }
    }
    worker.join().unwrap();
}
