//! Whole links over streams in memory, on a clock that stands still.

use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_wire::frame::FrameType;
use ams_wire::from_relay::{Bye, FromRelay};
use ams_wire::to_relay::{ClientHello, ToRelay};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

use crate::handshake::{HandshakeError, accept, connect, greet};
use crate::receiver::ReceiveError;
use crate::{Link, Receiver, Stream};

const LIMIT: Duration = Duration::from_secs(5);

async fn links(buffer: usize) -> (Link<DuplexStream>, Link<DuplexStream>) {
    let (client, relay) = (DhSecret::generate(), DhSecret::generate());
    let (here, there) = duplex(buffer);
    let key = relay.public();
    let (here, there) =
        tokio::join!(connect(here, &client, &key, LIMIT), accept(there, &relay, LIMIT));
    let (here, there) = (here.unwrap(), there.unwrap());
    assert_eq!((here.remote, there.remote), (relay.public(), client.public()));
    assert_eq!(here.handshake_hash, there.handshake_hash);
    (here, there)
}

async fn numbers(receiver: &mut Receiver<<DuplexStream as Stream>::Read>, count: usize) -> Vec<u8> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        numbers.extend(receiver.receive().await.unwrap().map(|frame| frame.number));
    }
    numbers
}

#[tokio::test(start_paused = true)]
async fn frames_pass_both_ways() {
    let (mut client, mut relay) = links(4096).await;
    let hello = ToRelay::Hello(ClientHello { versions: vec![1] });
    client.sender.push(&hello).unwrap();
    client.sender.push(&ToRelay::Ping).unwrap();
    client.sender.flush().await.unwrap();
    let mut batch = relay.receiver.receive().await.unwrap();
    let frame = batch.next().unwrap();
    assert_eq!(ToRelay::decode(frame.number, &frame.body), Ok(Some(hello)));
    assert_eq!(batch.next().unwrap().number, FrameType::Ping as u8);
    assert!(batch.next().is_none());

    relay.sender.push(&FromRelay::Pong).unwrap();
    relay.sender.flush().await.unwrap();
    assert_eq!(numbers(&mut client.receiver, 1).await, [FrameType::Pong as u8]);
}

#[tokio::test(start_paused = true)]
async fn one_byte_at_a_time_is_slow_but_right() {
    let (mut client, mut relay) = links(1).await;
    for _ in 0..3 {
        client.sender.push(&ToRelay::Ping).unwrap();
    }
    let (sent, got) = tokio::join!(client.sender.flush(), numbers(&mut relay.receiver, 3));
    sent.unwrap();
    assert_eq!(got, [FrameType::Ping as u8; 3]);
}

#[tokio::test(start_paused = true)]
async fn another_relay_looks_like_a_wrong_key() {
    let (client, relay, other) = (DhSecret::generate(), DhSecret::generate(), DhSecret::generate());
    let (here, there) = duplex(4096);
    let key = other.public();
    let (dialled, accepted) =
        tokio::join!(connect(here, &client, &key, LIMIT), accept(there, &relay, LIMIT));
    let dialled = dialled.unwrap_err();
    assert!(matches!(dialled, HandshakeError::Closed), "{dialled}");
    assert!(dialled.is_wrong_key());
    assert!(matches!(accepted.unwrap_err(), HandshakeError::Rejected(_)));
}

#[tokio::test(start_paused = true)]
async fn a_bent_answer_looks_like_a_wrong_key() {
    let (client, relay) = (DhSecret::generate(), DhSecret::generate());
    let (here, mut middle) = duplex(4096);
    let (mut beyond, there) = duplex(4096);
    let key = relay.public();
    let man_in_the_middle = async {
        let mut hello = [0; 49];
        middle.read_exact(&mut hello).await.unwrap();
        beyond.write_all(&hello).await.unwrap();
        let mut answer = [0; 48];
        beyond.read_exact(&mut answer).await.unwrap();
        answer[40] ^= 1;
        middle.write_all(&answer).await.unwrap();
        drop(beyond);
    };
    let (dialled, accepted, ()) = tokio::join!(
        connect(here, &client, &key, LIMIT),
        accept(there, &relay, LIMIT),
        man_in_the_middle,
    );
    assert!(matches!(dialled, Err(HandshakeError::Rejected(_))));
    assert!(matches!(accepted, Err(HandshakeError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_not_answered() {
    for first in [0, 2, 3, b'G', 0xff] {
        let (mut here, there) = duplex(4096);
        here.write_all(&[first; 200]).await.unwrap();
        let accepted = accept(there, &DhSecret::generate(), LIMIT).await;
        assert!(matches!(accepted, Err(HandshakeError::UnknownPattern)), "{first}");
        let mut answer = Vec::new();
        here.read_to_end(&mut answer).await.unwrap();
        assert!(answer.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_handshake_is_over_at_the_limit() {
    let relay = DhSecret::generate();
    for bytes in [0, 1, 20, 48] {
        let start = Instant::now();
        let (mut here, there) = duplex(4096);
        here.write_all(&vec![1; bytes]).await.unwrap();
        let accepted = accept(there, &relay, LIMIT).await;
        assert!(matches!(accepted, Err(HandshakeError::TimedOut)), "{bytes}");
        assert_eq!(start.elapsed(), LIMIT);
    }
    // And on the other side: a relay that takes everything and says nothing.
    let (here, _there) = duplex(4096);
    let key = relay.public();
    let dialled = connect(here, &DhSecret::generate(), &key, LIMIT).await.unwrap_err();
    assert!(matches!(dialled, HandshakeError::TimedOut));
    assert!(!dialled.is_wrong_key());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_after_the_first_message() {
    let (client, relay) = (DhSecret::generate(), DhSecret::generate());
    let (here, there) = duplex(4096);
    let key = relay.public();
    let greeting = tokio::select! {
        _ = connect(here, &client, &key, LIMIT) => panic!("nobody answered"),
        greeting = greet(there, LIMIT) => greeting.unwrap(),
    };
    let accepted = greeting.answer(&relay).unwrap().exchange().await;
    assert!(matches!(accepted, Err(HandshakeError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn bye_is_a_frame_and_everything_else_a_cut() {
    let (mut client, mut relay) = links(4096).await;
    relay.sender.push(&FromRelay::Bye(Bye::Draining)).unwrap();
    relay.sender.close().await.unwrap();
    drop(relay.receiver);
    assert_eq!(numbers(&mut client.receiver, 1).await, [FrameType::Bye as u8]);
    assert!(matches!(client.receiver.receive().await, Err(ReceiveError::Cut)));

    let (mut client, relay) = links(4096).await;
    drop(relay);
    assert!(matches!(client.receiver.receive().await, Err(ReceiveError::Cut)));
    client.sender.push(&ToRelay::Ping).unwrap();
    assert!(client.sender.flush().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stalled_stream_is_seen_and_loses_nothing() {
    let (mut client, mut relay) = links(600).await;
    assert_eq!(client.sender.stalled_since(), None);
    let start = Instant::now();
    for _ in 0..5 {
        client.sender.push(&ToRelay::Ping).unwrap();
        // Given up again and again: what was not written stays.
        let _ = timeout(Duration::from_secs(1), client.sender.flush()).await;
    }
    assert_eq!(client.sender.stalled_since(), Some(start));
    assert!(client.sender.is_pending() && !client.sender.is_full());
    let (sent, got) = tokio::join!(client.sender.flush(), numbers(&mut relay.receiver, 5));
    sent.unwrap();
    assert_eq!(got, [FrameType::Ping as u8; 5]);
    assert_eq!(client.sender.stalled_since(), None);
}

#[tokio::test(start_paused = true)]
async fn a_receive_that_is_given_up_loses_nothing() {
    let (mut client, mut relay) = links(100).await;
    client.sender.push(&ToRelay::Ping).unwrap();
    for _ in 0..4 {
        let _ = timeout(Duration::from_millis(1), client.sender.flush()).await;
        assert!(timeout(Duration::from_millis(1), relay.receiver.receive()).await.is_err());
    }
    let (sent, got) = tokio::join!(client.sender.flush(), numbers(&mut relay.receiver, 1));
    sent.unwrap();
    assert_eq!(got, [FrameType::Ping as u8]);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_records_change_keys_in_step() {
    let (mut client, mut relay) = links(64 * 1024).await;
    for _ in 0..2_100 {
        client.sender.push(&ToRelay::Ping).unwrap();
        client.sender.flush().await.unwrap();
        assert_eq!(numbers(&mut relay.receiver, 1).await.len(), 1);
    }
}

#[tokio::test]
async fn over_tcp() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, relay) = (DhSecret::generate(), DhSecret::generate());
    let key = relay.public();
    let (here, there) = tokio::join!(
        async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            connect(stream, &client, &key, LIMIT).await.unwrap()
        },
        async { accept(listener.accept().await.unwrap().0, &relay, LIMIT).await.unwrap() },
    );
    let (mut here, mut there) = (here, there);
    here.sender.push(&ToRelay::Ping).unwrap();
    here.sender.flush().await.unwrap();
    assert_eq!(there.receiver.receive().await.unwrap().count(), 1);
    drop(here);
    assert!(matches!(there.receiver.receive().await, Err(ReceiveError::Cut)));
}

#[test]
fn a_waiting_handshake_keeps_little() {
    let (stream, _other) = duplex(1);
    let relay = DhSecret::generate();
    let size = size_of_val(&accept(stream, &relay, LIMIT));
    assert!(size <= 2048, "{size}");
}
