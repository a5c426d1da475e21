//! Clients that mean no good, and one who is served all the same.

use std::time::Duration;

use ams_crypto::dh::{DhPublic, DhSecret};
use ams_crypto::noise::{Sealer, XkInitiator};
use ams_wire::from_relay::FromRelay;
use ams_wire::limits::RECORD_TAG;
use ams_wire::to_relay::{Attach, ClientHello, ToRelay};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use super::client::{Client, alice_and_bob, config, handle};
use crate::Running;
use crate::config::Config;

/// Reads until the relay closes; gives how long that took.
pub(super) async fn closed(mut stream: DuplexStream) -> Duration {
    let since = Instant::now();
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    since.elapsed()
}

/// The first byte of a client's link and 48 more.
fn half_a_handshake() -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend_from_slice(DhSecret::generate().public().as_bytes());
    bytes.resize(49, 0);
    bytes
}

async fn crowd(relay: &Running) -> Vec<tokio::task::JoinHandle<Duration>> {
    let mut crowd = Vec::new();
    for _ in 0..20 {
        // One says nothing.
        crowd.push(tokio::spawn(closed(relay.connect())));
        // One says half of it.
        let mut half = relay.connect();
        half.write_all(&half_a_handshake()[..30]).await.unwrap();
        crowd.push(tokio::spawn(closed(half)));
        // One says it byte by byte.
        let (mut reads, mut writes) = tokio::io::split(relay.connect());
        tokio::spawn(async move {
            for byte in half_a_handshake() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if writes.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
        });
        crowd.push(tokio::spawn(async move {
            let since = Instant::now();
            let _ = reads.read(&mut [0; 64]).await;
            since.elapsed()
        }));
        // One talks nonsense.
        let mut junk = relay.connect();
        junk.write_all(&[0xAA; 4096]).await.unwrap();
        crowd.push(tokio::spawn(closed(junk)));
    }
    crowd
}

#[tokio::test(start_paused = true)]
async fn an_honest_client_is_served_in_a_crowd_of_others() {
    let relay = crate::start(config()).await.unwrap();
    let crowd = crowd(&relay).await;
    let ((mut alice, _), (mut bob, _)) = alice_and_bob(&relay).await;
    alice.send(handle(1), 1).await;
    assert_eq!(bob.delivered().await, (handle(2), 1));
    for one in crowd {
        assert!(one.await.unwrap() <= Duration::from_secs(6));
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_who_does_not_go_on_has_to_go() {
    let relay = crate::start(config()).await.unwrap();
    let since = Instant::now();
    let mut guest = Client::dial(&relay, &DhSecret::generate()).await;
    guest.hello().await;
    assert_eq!(guest.heard().await, None);
    assert!((19..=21).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn strangers_are_bounded_and_those_who_are_known_do_not_count() {
    let mut config: Config = config();
    config.limits.strangers = 4;
    let relay = crate::start(config).await.unwrap();
    let (mut alice, _) = Client::person(&relay, "alice").await;
    let strangers: Vec<_> = (0..4).map(|_| relay.connect()).collect();
    assert_eq!(closed(relay.connect()).await, Duration::ZERO);
    alice.settled().await;
    drop(strangers);
    // They are noticed to be gone, and there is room again.
    tokio::task::yield_now().await;
    let mut guest = Client::dial(&relay, &DhSecret::generate()).await;
    guest.hello().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_for_a_guest_ends_the_link() {
    let relay = crate::start(config()).await.unwrap();
    let mut guest = Client::dial(&relay, &DhSecret::generate()).await;
    guest.say(&ToRelay::Ping).await;
    assert_eq!(guest.heard().await, None);
    let mut guest = Client::dial(&relay, &DhSecret::generate()).await;
    guest.hello().await;
    guest.say(&ToRelay::Remove(handle(1))).await;
    assert_eq!(guest.heard().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_guest_sends_no_long_records_and_a_client_may() {
    let relay = crate::start(config()).await.unwrap();
    let mut guest = Client::dial(&relay, &DhSecret::generate()).await;
    guest.hello().await;
    guest.tx.push(&Anything(0xEE, vec![0; 5_000])).unwrap();
    let _ = guest.tx.flush().await;
    assert_eq!(guest.heard().await, None);
    let (mut alice, _) = Client::person(&relay, "alice").await;
    alice.tx.push(&Anything(0xEE, vec![0; 5_000])).unwrap();
    alice.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_guest_has_few_words() {
    let relay = crate::start(config()).await.unwrap();
    let mut guest = Client::dial(&relay, &DhSecret::generate()).await;
    guest.hello().await;
    for _ in 0..63 {
        guest.settled().await;
    }
    guest.say(&ToRelay::Ping).await;
    assert_eq!(guest.heard().await, None);
}

/// What nobody would send, in records that open: the sealing half of a link, and its stream.
async fn sealing(relay: &Running, key: &DhSecret) -> (Sealer, DuplexStream) {
    let server = DhPublic::from_bytes(relay.link().relay.0).unwrap();
    let (initiator, first) = XkInitiator::start(key, &server).unwrap();
    let mut stream = relay.connect();
    stream.write_all(&[1]).await.unwrap();
    stream.write_all(&first).await.unwrap();
    let mut second = [0; 48];
    stream.read_exact(&mut second).await.unwrap();
    let (transport, third) = initiator.finish(&second).unwrap();
    stream.write_all(&third).await.unwrap();
    (transport.sealer, stream)
}

fn record(sealer: &mut Sealer, plaintext: &[u8]) -> Vec<u8> {
    let mut record = vec![0; 2 + plaintext.len() + RECORD_TAG];
    let length = sealer.seal(plaintext, &mut record[2..]).unwrap();
    record[..2].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
    record
}

#[tokio::test(start_paused = true)]
async fn records_without_a_frame_count_for_a_guest() {
    let relay = crate::start(config()).await.unwrap();
    // By their number, and by their bytes.
    for (count, length) in [(65, 0), (17, 4_096)] {
        let (mut sealer, mut stream) = sealing(&relay, &DhSecret::generate()).await;
        for _ in 0..count {
            let _ = stream.write_all(&record(&mut sealer, &vec![0; length])).await;
        }
        assert_eq!(closed(stream).await, Duration::ZERO, "{count} of {length}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_without_a_frame_are_slowed_down() {
    let mut config: Config = config();
    config.limits.frames_per_second = 100;
    config.limits.frame_burst = 100;
    let relay = crate::start(config).await.unwrap();
    let (alice, key) = Client::person(&relay, "alice").await;
    drop(alice);
    let (mut sealer, mut stream) = sealing(&relay, &key).await;
    let mut first = Vec::new();
    ToRelay::Hello(ClientHello { versions: vec![1] }).encode(&mut first).unwrap();
    let attach = Attach { mark: Default::default(), visible: true };
    ToRelay::Attach(attach).encode(&mut first).unwrap();
    let frame = |frame: ToRelay<'_>| {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes).unwrap();
        bytes
    };
    let mut answer = [0; 4096];
    stream.write_all(&record(&mut sealer, &first)).await.unwrap();
    // All is answered in one piece.
    assert!(stream.read(&mut answer).await.unwrap() > 0);
    let since = Instant::now();
    for _ in 0..1_000 {
        stream.write_all(&record(&mut sealer, &[])).await.unwrap();
    }
    // What comes in one read is taken, and what comes then has to wait.
    stream.write_all(&record(&mut sealer, &frame(ToRelay::Ping))).await.unwrap();
    assert!(stream.read(&mut answer).await.unwrap() > 0);
    stream.write_all(&record(&mut sealer, &frame(ToRelay::Bye))).await.unwrap();
    closed(stream).await;
    assert!((8..=10).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
}

/// Bytes are those that came, with headers and padding.
#[tokio::test(start_paused = true)]
async fn padding_is_slowed_down() {
    let mut config: Config = config();
    // Ten of the smallest records.
    config.limits.bytes_per_second = 10 * 530;
    config.limits.byte_burst = 10 * 530;
    let relay = crate::start(config).await.unwrap();
    let (mut alice, _) = Client::person(&relay, "alice").await;
    let since = Instant::now();
    // No byte of a body, and 530 bytes on the wire each.
    for _ in 0..100 {
        alice.say(&ToRelay::Pong).await;
    }
    // What came in one read is taken, and what comes then has to wait.
    alice.settled().await;
    alice.settled().await;
    assert!((8..=10).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn control_frames_have_a_bound_of_their_own() {
    let mut config: Config = config();
    config.limits.control_frames_per_second = 1;
    config.limits.control_frame_burst = 3;
    let relay = crate::start(config).await.unwrap();
    let (mut alice, _) = Client::person(&relay, "alice").await;
    let since = Instant::now();
    for number in 0..100 {
        alice.send(handle(9), number).await;
    }
    alice.settled().await;
    assert_eq!(since.elapsed().as_secs(), 0);
    for _ in 0..8 {
        alice.say(&ToRelay::Remove(handle(1))).await;
        alice.answer().await;
    }
    alice.settled().await;
    assert!((4..=6).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn too_many_frames_are_slowed_down_and_none_is_lost() {
    let mut config: Config = config();
    config.limits.frames_per_second = 100;
    config.limits.frame_burst = 100;
    config.limits.sender_held_messages = 10_000;
    let relay = crate::start(config).await.unwrap();
    let (mut alice, _) = Client::person(&relay, "alice").await;
    let since = Instant::now();
    for number in 0..1_000 {
        alice.send(handle(9), number).await;
    }
    alice.settled().await;
    assert!(since.elapsed() >= Duration::from_secs(8), "{:?}", since.elapsed());
    alice.send(handle(9), 1_000).await;
    loop {
        if alice.heard().await == Some(FromRelay::Accepted(1_001)) {
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Frames of any type with any body, from somebody who is known: the link goes on or ends, and
    /// nobody else notices.
    #[test]
    fn any_frames_harm_nobody_else(
        frames in prop::collection::vec(
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..80)),
            1..20,
        )
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let relay = crate::start(config()).await.unwrap();
            let (alice_key, mut alice) = relay.stranger_let_in("alice").await;
            let (_, mut eve) = relay.stranger_let_in("eve").await;
            for (number, body) in frames {
                let _ = eve.tx.push(&Anything(number, body));
            }
            let _ = eve.tx.flush().await;
            let _ = eve.tx.push(&ToRelay::Ping);
            let _ = eve.tx.flush().await;
            while let Some(frame) = eve.any().await {
                if frame == ams_wire::frame::FrameType::Pong as u8 {
                    break;
                }
            }
            alice.settled().await;
            drop(alice);
            Client::again(&relay, &alice_key).await;
        });
    }
}

/// A frame that no client sends.
struct Anything(u8, Vec<u8>);

impl ams_link::sender::Outgoing for Anything {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), ams_wire::WireError> {
        out.push(self.0);
        out.extend_from_slice(&u16::try_from(self.1.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&self.1);
        Ok(())
    }
}
