//! Looking before one sends, and waiting for somebody to come.

use ams_rpc::methods::{contact, message};
use ams_rpc::types::{
    Awaited, ContactWaitParams, ContactWaited, LinkState, MessageId, Presence, SendParams, Via,
};
use ams_tests::Net;
use ams_tests::connection::refusal;

fn for_online(name: &str, timeout: Option<&str>) -> ContactWaitParams {
    let timeout = timeout.map(|text| text.parse().unwrap());
    ContactWaitParams { name: name.to_owned(), awaited: Awaited::Online, timeout }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_when_the_contact_comes() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.sees("bob", Presence::Online).await;
    let there: ContactWaited = alice.call::<contact::Wait>(for_online("bob", None)).await;
    assert_eq!((there.presence, there.reached, there.exit), (Presence::Online, true, 0));

    bob.stop().await;
    alice.sees("bob", Presence::Offline).await;
    let short = alice.call::<contact::Wait>(for_online("bob", Some("10ms"))).await;
    assert_eq!((short.presence, short.reached, short.exit), (Presence::Offline, false, 12));
    let waiting = alice.call::<contact::Wait>(for_online("bob", Some("1m")));
    let (came, ()) = tokio::join!(waiting, bob.start());
    assert!(came.reached);

    let nobody = alice.try_call::<contact::Wait>(for_online("carol", None)).await;
    assert_eq!(refusal(nobody), "no_such_contact");
}

/// A look tells what sending would, and changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_tells_and_changes_nothing() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.sees("bob", Presence::Online).await;
    let look = |params: SendParams| alice.try_call::<message::Check>(params);

    let would = look(SendParams::new("bob", "hello")).await.unwrap();
    assert_eq!(
        (would.via.as_deref(), would.waits, would.known),
        (Some("relay:home"), false, false)
    );
    assert_eq!((would.size, would.max_size, would.exit), (5, 46 * 1024, 0));
    assert_eq!(would.presence, Presence::Online);
    let direct = SendParams { via: Some(Via::Direct), ..SendParams::new("bob", "hello") };
    assert!(look(direct).await.unwrap().waits);

    // The same refusals.
    let refused = |params: SendParams| async move { refusal(look(params).await) };
    assert_eq!(refused(SendParams::new("carol", "hi")).await, "no_such_contact");
    assert_eq!(refused(SendParams::new("bob", "")).await, "empty_body");
    assert_eq!(refused(SendParams::new("bob", "x".repeat(46 * 1024 + 1))).await, "too_long");
    let nowhere = Via::Through("work".to_owned());
    let nowhere = SendParams { via: Some(nowhere), ..SendParams::new("bob", "hi") };
    assert_eq!(refused(nowhere).await, "no_such_relay");

    // It replaces nothing, takes no id, and leaves nothing in the queue.
    net.home().stop().await;
    alice.link_is(net.home(), LinkState::Down).await;
    let id = Some(MessageId([7; 16]));
    let keyed = |body: &str, id| SendParams {
        key: Some("load".to_owned()),
        id,
        ..SendParams::new("bob", body)
    };
    let first = alice.try_send(keyed("1", None)).await.unwrap();
    let would = look(keyed("2", id)).await.unwrap();
    assert!(would.waits && would.via.is_none() && !would.known);
    let queue = alice.queue().await;
    assert_eq!(queue.iter().map(|message| message.id).collect::<Vec<_>>(), [first.id]);
    // What was accepted is known, and what is another message is refused.
    alice.try_send(keyed("2", id)).await.unwrap();
    assert!(look(keyed("2", id)).await.unwrap().known);
    assert_eq!(refused(keyed("3", id)).await, "id_conflict");
    drop(bob);
}
