//! Envelopes from one to the other.

use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_wire::from_relay::{Bye, FromRelay};
use ams_wire::limits::PROTOCOL_VERSION;
use ams_wire::to_relay::{ClientHello, ToRelay};
use tokio::time::Instant;

use super::client::{Client, alice_and_bob, config, envelope_id, handle};
use crate::config::Config;

#[tokio::test(start_paused = true)]
async fn an_envelope_goes_from_alice_to_bob() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, _), (mut bob, _)) = alice_and_bob(&relay).await;
    alice.send(handle(1), 7).await;
    assert_eq!(bob.delivered().await, (handle(2), 7));
    assert_eq!(alice.heard().await, Some(FromRelay::Accepted(1)));
    bob.send(handle(2), 8).await;
    assert_eq!(alice.delivered().await, (handle(1), 8));
    bob.stored().await;
    bob.settled().await;
    assert_eq!(relay.status().await.unwrap().held_messages, 1);
    alice.stored().await;
    alice.settled().await;
    assert_eq!(relay.status().await.unwrap().held_bytes, 0);
    relay.stop().await;
    assert_eq!(alice.answer().await, FromRelay::Bye(Bye::Draining));
}

#[tokio::test(start_paused = true)]
async fn what_bob_missed_waits_for_him_in_order() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, _), (mut bob, bob_key)) = alice_and_bob(&relay).await;
    for number in 0..3 {
        alice.send(handle(1), number).await;
        assert_eq!(bob.delivered().await.1, number);
    }
    // He stored the first alone, then his link is cut.
    bob.delivered = 1;
    bob.stored().await;
    bob.settled().await;
    drop(bob);
    assert_eq!(alice.presence().await.offline, [handle(1)]);
    for number in 3..6 {
        alice.send(handle(1), number).await;
    }
    alice.settled().await;
    let (mut bob, shown) = Client::again(&relay, &bob_key).await;
    assert_eq!(shown.online, [handle(2)]);
    for number in 1..6 {
        assert_eq!(bob.delivered().await, (handle(2), number));
    }
    bob.stored().await;
    bob.settled().await;
    assert_eq!(relay.status().await.unwrap().held_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_fails_at_the_end_of_the_window() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, _), (bob, _)) = alice_and_bob(&relay).await;
    drop(bob);
    alice.presence().await;
    let sent = Instant::now();
    alice.send(handle(1), 1).await;
    alice.send(handle(9), 2).await;
    alice.send_for(handle(1), 3, 5).await;
    // The same bytes again keep their first deadline.
    tokio::time::sleep(Duration::from_secs(2)).await;
    alice.send(handle(1), 1).await;
    assert_eq!(alice.answer().await, FromRelay::Failed(envelope_id(3)));
    assert!((5..=6).contains(&sent.elapsed().as_secs()), "{:?}", sent.elapsed());
    let mut failed = [alice.answer().await, alice.answer().await];
    failed.sort_by_key(|frame| format!("{frame:?}"));
    assert_eq!(failed, [1, 2].map(|number| FromRelay::Failed(envelope_id(number))));
    assert!((60..=61).contains(&sent.elapsed().as_secs()), "{:?}", sent.elapsed());
    assert_eq!(relay.status().await.unwrap().held_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_window_it_fails_within_two_seconds() {
    let config = Config { retry_window: Duration::ZERO, ..config() };
    let relay = crate::start(config).await.unwrap();
    let ((mut alice, _), (mut bob, bob_key)) = alice_and_bob(&relay).await;
    alice.send(handle(1), 1).await;
    assert_eq!(bob.delivered().await, (handle(2), 1));
    bob.stored().await;
    bob.settled().await;
    drop(bob);
    alice.presence().await;
    let sent = Instant::now();
    alice.send(handle(1), 2).await;
    assert_eq!(alice.answer().await, FromRelay::Failed(envelope_id(2)));
    assert!(sent.elapsed() <= Duration::from_secs(2));
    let (mut bob, _) = Client::again(&relay, &bob_key).await;
    alice.send(handle(1), 3).await;
    assert_eq!(bob.delivered().await, (handle(2), 3));
}

#[tokio::test(start_paused = true)]
async fn a_newer_link_takes_over_with_what_the_older_one_had() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, _), (mut bob, bob_key)) = alice_and_bob(&relay).await;
    for number in 0..5 {
        alice.send(handle(1), number).await;
    }
    assert_eq!(bob.delivered().await.1, 0);
    let (mut newer, _) = Client::again(&relay, &bob_key).await;
    for number in 0..5 {
        assert_eq!(newer.delivered().await.1, number);
    }
    let mut last = None;
    while let Some(frame) = bob.heard().await {
        last = Some(frame);
    }
    assert_eq!(last, Some(FromRelay::Bye(Bye::Superseded)));
}

#[tokio::test(start_paused = true)]
async fn one_who_does_not_read_holds_up_nobody() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, _), (bob, bob_key)) = alice_and_bob(&relay).await;
    // Far more than bob's stream takes; he never reads.
    for number in 0..2_000 {
        alice.send(handle(1), number).await;
    }
    alice.settled().await;
    // His link is given up, and what it had is held.
    while !alice.presence().await.offline.contains(&handle(1)) {}
    drop(bob);
    let (mut bob, _) = Client::again(&relay, &bob_key).await;
    for number in 0..100 {
        assert_eq!(bob.delivered().await.1, number);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_hold_fails_the_same_for_everybody() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, _), (bob, _)) = alice_and_bob(&relay).await;
    drop(bob);
    alice.presence().await;
    let sent = Instant::now();
    // More than one contact is kept: what has no room fails with the rest of them.
    let many = config().limits.contact_held_messages + 20;
    for number in 0..many {
        alice.send(handle(1), number).await;
    }
    let mut failed = Vec::new();
    while failed.len() < many.try_into().unwrap() {
        if let FromRelay::Failed(id) = alice.answer().await {
            assert!(sent.elapsed() >= Duration::from_secs(60));
            failed.push(id);
        }
    }
    failed.sort();
    assert_eq!(failed, (0..many).map(envelope_id).collect::<Vec<_>>());
    // More than one sender may leave: from then on, but for what came in one piece with the last
    // that had room, there is no window.
    let sent = Instant::now();
    for number in 0..2_000 {
        alice.send(handle(9), number).await;
    }
    let mut at_once = 0;
    while at_once < 800 {
        if let FromRelay::Failed(_) = alice.answer().await {
            at_once += 1;
        }
    }
    assert!(sent.elapsed() < Duration::from_secs(10), "{:?}", sent.elapsed());
}

/// What is nearly full is full for everybody, also for somebody who sent nothing before; and what
/// can be delivered is.
#[tokio::test(start_paused = true)]
async fn a_relay_that_is_nearly_full_holds_nothing_more_for_anybody() {
    let mut config = config();
    config.limits.held_bytes = 100 * 601;
    config.limits.contact_held_messages = 1_000;
    let relay = crate::start(config).await.unwrap();
    let ((mut alice, _), (mut bob, _)) = alice_and_bob(&relay).await;
    let (mut carol, _) = Client::person(&relay, "carol").await;
    carol.send(handle(5), 1_000).await;
    carol.settled().await;
    let sent = Instant::now();
    for number in 0..95 {
        alice.send(handle(9), number).await;
    }
    alice.settled().await;
    assert_eq!(relay.status().await.unwrap().held_messages, 96);
    // Within her own bounds, to a contact who is there, to nobody: no window for either.
    carol.send(handle(5), 1_001).await;
    assert_eq!(carol.answer().await, FromRelay::Failed(envelope_id(1_001)));
    assert!(sent.elapsed() <= Duration::from_secs(2), "{:?}", sent.elapsed());
    alice.send(handle(1), 2_000).await;
    assert_eq!(bob.delivered().await, (handle(2), 2_000));
    // What was held before keeps its time.
    assert_eq!(carol.answer().await, FromRelay::Failed(envelope_id(1_000)));
    assert!((59..=61).contains(&sent.elapsed().as_secs()), "{:?}", sent.elapsed());
}

/// Whenever within a second it was accepted, an envelope ends when a second does.
#[tokio::test(start_paused = true)]
async fn trying_ends_at_a_whole_second_for_everything_alike() {
    let relay = crate::start(config()).await.unwrap();
    let began = Instant::now();
    let (mut alice, _) = Client::person(&relay, "alice").await;
    for number in 0..4 {
        tokio::time::sleep(Duration::from_millis(230)).await;
        alice.send_for(handle(number), number.into(), 3).await;
    }
    let mut ends = Vec::new();
    for _ in 0..4 {
        assert!(matches!(alice.answer().await, FromRelay::Failed(_)));
        ends.push(began.elapsed());
    }
    // The porter's clock has whole milliseconds.
    assert!(ends.iter().all(|end| end.subsec_millis() <= 2), "{ends:?}");
    assert!(ends.iter().all(|end| (3..=5).contains(&end.as_secs())), "{ends:?}");
}

/// The first frame says the window, so that a sender knows how long to wait.
#[tokio::test(start_paused = true)]
async fn the_first_frame_says_the_window() {
    for window in [0, 1, 3_600] {
        let config = Config { retry_window: Duration::from_secs(window), ..config() };
        let relay = crate::start(config).await.unwrap();
        let mut guest = Client::dial(&relay, &DhSecret::generate()).await;
        let versions = vec![PROTOCOL_VERSION];
        guest.say(&ToRelay::Hello(ClientHello { versions })).await;
        let Some(FromRelay::Hello(hello)) = guest.heard().await else { panic!("no hello") };
        assert_eq!(u64::from(hello.window), window);
    }
}

#[tokio::test(start_paused = true)]
async fn a_count_of_what_was_never_delivered_ends_the_link() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, _), _bob) = alice_and_bob(&relay).await;
    alice.delivered = 1;
    alice.stored().await;
    while alice.heard().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn silence_is_pinged_and_then_ended() {
    let relay = crate::start(config()).await.unwrap();
    let (mut alice, _) = Client::person(&relay, "alice").await;
    assert_eq!(alice.heard().await, Some(FromRelay::Ping));
    alice.say(&ToRelay::Pong).await;
    assert_eq!(alice.heard().await, Some(FromRelay::Ping));
    assert_eq!(alice.heard().await, Some(FromRelay::Ping));
    assert_eq!(alice.heard().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_is_dropped_takes_its_links_with_it() {
    let relay = crate::start(config()).await.unwrap();
    let (mut alice, _) = Client::person(&relay, "alice").await;
    drop(relay);
    assert_eq!(alice.heard().await, None);
}
