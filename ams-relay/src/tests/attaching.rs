//! Links between their login and their seat: counted, timed, and gone when a newer one comes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_crypto::introduction;
use ams_link::stream::BoxedStream;
use ams_wire::from_relay::{Bye, FromRelay};
use ams_wire::id::{Blob, Handle};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::abuse::closed;
use super::client::{Client, blob, config, handle, name};
use crate::Running;
use crate::accounts::Approval;

const APPROVED: u128 = 300;
const SUPERSEDED: FromRelay<'static> = FromRelay::Bye(Bye::Superseded);

/// A link that has said who it is and waits to be attached.
async fn waiting(relay: &Running, key: &DhSecret) -> Client {
    let mut client = Client::dial(relay, key).await;
    client.hello().await;
    client.say_attach().await;
    // Time goes on when everybody waits.
    sleep(Duration::from_millis(1)).await;
    client
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_seat_is_a_stranger_until_it_has_it() {
    let mut config = config();
    config.limits.strangers = 1;
    let relay = crate::start(config).await.unwrap();
    let (alice, key) = Client::person(&relay, "alice").await;
    drop(alice);
    let seat = relay.desk().hub.sit(&name("alice")).await.unwrap();
    let mut alice = waiting(&relay, &key).await;
    assert_eq!(closed(relay.connect()).await, Duration::ZERO);
    drop(seat);
    assert_eq!(alice.heard().await, Some(FromRelay::Attached));
    alice.settled().await;
    let mut guest = Client::dial(&relay, &DhSecret::generate()).await;
    guest.hello().await;
}

#[tokio::test(start_paused = true)]
async fn of_those_who_wait_for_a_seat_only_the_last_stays() {
    let relay = crate::start(config()).await.unwrap();
    let (alice, key) = Client::person(&relay, "alice").await;
    drop(alice);
    let seat = relay.desk().hub.sit(&name("alice")).await.unwrap();
    let mut first = waiting(&relay, &key).await;
    let mut second = waiting(&relay, &key).await;
    assert_eq!(first.heard().await, Some(SUPERSEDED));
    assert_eq!(first.heard().await, None);
    drop(seat);
    assert_eq!(second.heard().await, Some(FromRelay::Attached));
}

/// Alice, who did not fetch what many others approved: her snapshot is 1.2 MB.
async fn much_approved(relay: &Running) -> DhSecret {
    let (alice, key) = Client::person(relay, "alice").await;
    drop(alice);
    let (accounts, now) = (&relay.desk().accounts, relay.desk().clock.now());
    let alice = name("alice");
    for number in 0..APPROVED {
        let by = name(&format!("user{number}"));
        let own = Handle(number.to_be_bytes());
        accounts.ask(&alice, own, &by, blob("intro"), now).await.unwrap();
        let blob = Blob::new(vec![1; 4_000]).unwrap();
        let approval = Approval {
            by,
            to: alice.clone(),
            their_handle: own,
            handle: handle(1),
            blob,
            link: None,
            intro: introduction::id(b"intro"),
        };
        assert!(accounts.approve(approval, now).await.unwrap().theirs);
    }
    key
}

/// A stream of which so much is read in a second, and no more is on its way.
struct Slow {
    inner: DuplexStream,
    each_second: usize,
    pause: Pin<Box<Sleep>>,
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.pause.as_mut().poll(context));
        let mut some = buffer.take(self.each_second);
        let read = Pin::new(&mut self.inner).poll_read(context, &mut some);
        let count = some.filled().len();
        if read.is_ready() {
            buffer.advance(count);
            self.pause.as_mut().reset(Instant::now() + Duration::from_secs(1));
        }
        read
    }
}

impl AsyncWrite for Slow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// A client on such a stream.
async fn slow(relay: &Running, key: &DhSecret, each_second: usize) -> Client {
    let (inner, server) = tokio::io::duplex(each_second);
    relay.serve(server);
    let stream = Slow { inner, each_second, pause: Box::pin(sleep(Duration::ZERO)) };
    let mut client = Client::dial_over(relay, key, BoxedStream::new(stream)).await;
    client.hello().await;
    client
}

#[tokio::test(start_paused = true)]
async fn a_link_that_reads_its_snapshot_slowly_does_not_keep_the_seat() {
    let relay = crate::start(config()).await.unwrap();
    let key = much_approved(&relay).await;
    let mut old = slow(&relay, &key, 16 << 10).await;
    old.say_attach().await;
    sleep(Duration::from_secs(2)).await;
    let since = Instant::now();
    let (_new, shown) = Client::again(&relay, &key).await;
    assert_eq!(shown.rows.len(), 300);
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_has_its_time() {
    let relay = crate::start(config()).await.unwrap();
    let key = much_approved(&relay).await;
    let mut alice = slow(&relay, &key, 16 << 10).await;
    let since = Instant::now();
    alice.say_attach().await;
    let mut rows = 0;
    while let Some(frame) = alice.heard().await {
        rows += usize::from(matches!(frame, FromRelay::Row(_)));
    }
    let took = since.elapsed().as_secs();
    assert!((55..70).contains(&took), "{took} s");
    assert!((100..300).contains(&rows), "{rows} rows");
    // At a tolerable pace it is shown.
    let mut alice = slow(&relay, &key, 64 << 10).await;
    assert_eq!(alice.attach().await.rows.len(), 300);
}
