//! Memory is short: who goes, who stays, and what becomes of what is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_wire::from_relay::FromRelay;
use tokio::time::Instant;

use super::client::{Client, alice_and_bob, config, envelope_id, handle};

const CAP: u64 = 1_000;

#[tokio::test(start_paused = true)]
async fn strangers_go_and_nothing_is_held_until_there_is_memory_again() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, _), (mut bob, bob_key)) = alice_and_bob(&relay).await;
    let used = Arc::new(AtomicU64::new(0));
    relay.watch_memory(CAP, {
        let used = Arc::clone(&used);
        move || Some(used.load(Ordering::Relaxed))
    });
    let mut guest = Client::dial(&relay, &DhSecret::generate()).await;
    guest.hello().await;

    used.store(CAP * 4 / 5 + 1, Ordering::Relaxed);
    assert_eq!(guest.heard().await, None);
    assert_eq!(super::abuse::closed(relay.connect()).await, Duration::ZERO);
    // Those who are known go on, and what can be delivered is.
    alice.send(handle(1), 1).await;
    assert_eq!(bob.delivered().await, (handle(2), 1));
    bob.stored().await;
    bob.settled().await;
    drop(bob);
    alice.presence().await;
    // For everybody else trying ends at once, whether there is such a contact or not.
    let sent = Instant::now();
    alice.send(handle(1), 2).await;
    alice.send(handle(9), 3).await;
    let mut failed = [alice.answer().await, alice.answer().await];
    failed.sort_by_key(|frame| format!("{frame:?}"));
    assert_eq!(failed, [2, 3].map(|number| FromRelay::Failed(envelope_id(number))));
    assert!(sent.elapsed() <= Duration::from_secs(2), "{:?}", sent.elapsed());

    used.store(0, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    alice.send(handle(1), 4).await;
    alice.settled().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (mut bob, _) = Client::again(&relay, &bob_key).await;
    assert_eq!(bob.delivered().await, (handle(2), 4));
}
