//! What is wanted of one message: a policy of its own, a time after which it is worth nothing, a key
//! by which a newer one replaces it, the only way that it may go.

use std::time::Duration;

use ams_rpc::admin;
use ams_rpc::methods::{message, queue};
use ams_rpc::types::{
    IfUndelivered, LinkState, MessageId, NoParams, Period, Presence, QueueListParams, QueueParams,
    SendParams, Stage, State, Via,
};
use ams_tests::connection::refusal;
use ams_tests::{Net, PATIENCE, Person};
use amsd::settings::Undeliverable;

fn short_window(config: &mut ams_relay::config::Config) {
    config.retry_window = Duration::from_secs(1);
}

fn these(ids: &[MessageId]) -> QueueParams {
    QueueParams { ids: Some(ids.to_vec()), ..QueueParams::default() }
}

fn text(body: &str) -> SendParams {
    SendParams::new("bob", body)
}

fn within(millis: u64, body: &str) -> SendParams {
    SendParams { ttl: Some(Period(Duration::from_millis(millis))), ..text(body) }
}

/// What the relay keeps for those who are not there.
async fn held(net: &Net) -> u64 {
    net.home().admin::<admin::relay::Status>(NoParams {}).await.held_messages
}

async fn sent(alice: &Person, params: SendParams) -> MessageId {
    alice.try_send(params).await.unwrap().id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_own_policy_beats_a_config_that_changes() {
    let net = Net::with(short_window).await;
    let (alice, bob) = net.friends("alice", "bob").await;
    bob.stop().await;
    alice.sees("bob", Presence::Offline).await;
    let own = |policy, body| SendParams { if_undelivered: Some(policy), ..text(body) };
    let ask = sent(&alice, own(IfUndelivered::Ask, "ask")).await;
    let keep = sent(&alice, own(IfUndelivered::Keep, "keep")).await;
    let plain = sent(&alice, text("as the config says")).await;
    alice.reconfigure(|to| to.undeliverable = Undeliverable::Discard).await;
    alice.message_is(plain, State::Discarded).await;
    alice.message_is(ask, State::Undelivered).await;
    let shown = alice.message_is(keep, State::Waiting).await;
    assert_eq!(shown.if_undelivered, Some(IfUndelivered::Keep));
    let status = alice.status().await;
    assert_eq!(status.warnings, ["1 undelivered: amsctl queue list"]);
    bob.start().await;
    alice.reaches(keep, Stage::Delivered).await;
    bob.reads(&["keep"]).await;
}

/// The relay keeps a message no longer than it is worth something, and the sender tries no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_had_its_time_ends_whatever_its_state() {
    let net = Net::with(|config| config.retry_window = Duration::from_secs(3600)).await;
    let (alice, bob) = net.friends("alice", "bob").await;
    bob.stop().await;
    alice.sees("bob", Presence::Offline).await;
    let never = sent(&alice, text("for ever")).await;
    alice.message_is(never, State::Sent).await;
    let before = held(&net).await;
    let held_short = sent(&alice, within(1500, "sent")).await;
    let shown = alice.message_is(held_short, State::Expired).await;
    let states: Vec<&str> = shown.steps.iter().map(|step| step.what.as_str()).collect();
    assert_eq!(states, ["queued", "sent", "expired"]);
    assert!(shown.expires.is_some());
    let ended = alice.wait(held_short, Stage::Delivered, None).await;
    assert_eq!((ended.reached, ended.exit), (false, 9));
    let gone = async { while held(&net).await > before {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("the relay tries no longer than the sender");
    let kept = SendParams { if_undelivered: Some(IfUndelivered::Keep), ..text("kept") };
    let kept = sent(&alice, SendParams { ttl: Some(Period(Duration::from_secs(2))), ..kept }).await;
    alice.message_is(kept, State::Sent).await;
    alice.call::<queue::Keep>(these(&[kept])).await;
    assert_eq!(alice.message(kept).await.message.state, State::Waiting);
    alice.message_is(kept, State::Expired).await;

    // Over while the daemon is away, and over while it is back.
    net.home().stop().await;
    alice.link_is(net.home(), LinkState::Down).await;
    let soon = sent(&alice, within(1, "queued")).await;
    let later = sent(&alice, within(2_000, "queued")).await;
    alice.restart().await;
    alice.message_is(soon, State::Expired).await;
    alice.message_is(later, State::Expired).await;
    net.home().start().await;
    bob.start().await;
    alice.reaches(never, Stage::Delivered).await;
    bob.reads(&["for ever"]).await;
    assert_eq!(bob.unread().await, 0);
    let refused = alice.try_send(within(0, "never")).await;
    assert_eq!(refusal(refused), "bad_value");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undelivered_message_is_asked_about_until_its_time_is_over() {
    let net = Net::with(short_window).await;
    let (alice, bob) = net.friends("alice", "bob").await;
    bob.stop().await;
    alice.sees("bob", Presence::Offline).await;
    let id = sent(&alice, within(6_000, "hi")).await;
    alice.message_is(id, State::Undelivered).await;
    alice.message_is(id, State::Expired).await;
    assert_eq!(alice.status().await.queue.undelivered, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_key_only_the_newest_goes() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    net.home().stop().await;
    alice.link_is(net.home(), LinkState::Down).await;
    let load = |body| SendParams { key: Some("load".to_owned()), ..text(body) };
    let first = sent(&alice, load("load 1")).await;
    let other = sent(&alice, SendParams { key: Some("disk".to_owned()), ..text("disk 1") }).await;
    let id = Some(MessageId([7; 16]));
    let newest = sent(&alice, SendParams { id, ..load("load 2") }).await;
    let shown = alice.message(first).await;
    assert_eq!(shown.message.state, State::Replaced);
    let reason = shown.steps.last().unwrap().reason.clone();
    assert_eq!(reason, Some(format!("replaced by {newest}")));
    let ended = alice.wait(first, Stage::Delivered, None).await;
    assert_eq!((ended.reached, ended.exit), (false, 9));
    // The same call again is no newer message.
    let again = alice.try_send(SendParams { id, ..load("load 2") }).await.unwrap();
    assert_eq!(again.state, State::Queued);
    net.home().start().await;
    alice.reaches(newest, Stage::Delivered).await;
    alice.reaches(other, Stage::Delivered).await;
    bob.reads(&["disk 1", "load 2"]).await;
    assert_eq!(bob.unread().await, 0);
    // What arrived is replaced by nothing.
    let third = sent(&alice, load("load 3")).await;
    alice.reaches(third, Stage::Delivered).await;
    let shown = alice.message(newest).await;
    assert!(Stage::Delivered.reached_by(shown.message.state), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_goes_the_way_that_it_may_go_or_stays() {
    let net = Net::new().await;
    let work = net.relay("work").await;
    let (alice, bob) = net.friends_over_both(&work, "alice", "bob").await;
    alice.delivers("bob", "first").await;
    work.stop().await;
    alice.link_is(&work, LinkState::Down).await;

    let via = |way: &str, body| SendParams { via: Some(way.parse().unwrap()), ..text(body) };
    let refused = alice.try_send(via("relay:nowhere", "hi")).await;
    assert_eq!(refusal(refused), "no_such_relay");
    let direct = sent(&alice, via("direct", "from daemon to daemon")).await;
    let at_work = sent(&alice, via("relay:work", "over work")).await;
    let any = sent(&alice, via("relay", "over any")).await;
    alice.reaches(any, Stage::Delivered).await;
    alice.delivers("bob", "second").await;
    for (id, only) in [(direct, Via::Direct), (at_work, Via::Through("work".to_owned()))] {
        let shown = alice.message(id).await;
        assert_eq!((shown.message.state, shown.only_via), (State::Queued, Some(only)));
        assert!(shown.steps[0].reason.is_some());
    }
    let lacks = "goes over a direct link only, and bob has no such way yet";
    let would = alice.call::<message::Check>(via("direct", "hi")).await;
    assert_eq!((would.waits, would.reason.as_deref(), would.exit), (true, Some(lacks), 0));
    let would = alice.call::<message::Check>(via("relay:work", "hi")).await;
    assert_eq!(would.reason.as_deref(), Some("goes through the relay work only"));
    assert_eq!(alice.call::<message::Check>(via("relay", "hi")).await.reason, None);
    assert_eq!(alice.message(direct).await.steps[0].reason.as_deref(), Some(lacks));
    let queued = alice.call::<queue::List>(QueueListParams::default()).await.messages;
    let reasons: Vec<_> = queued.iter().map(|queued| queued.reason.as_deref()).collect();
    assert_eq!(reasons, [Some(lacks), Some("goes through the relay work only")]);
    work.start().await;
    alice.reaches(at_work, Stage::Delivered).await;
    let got = bob.receives(4).await;
    let bodies: Vec<&str> = got.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(bodies, ["first", "over any", "second", "over work"]);
    assert_eq!(got[3].via.as_deref(), Some("relay:work"));

    let decided = alice.call::<queue::Discard>(these(&[direct])).await;
    assert_eq!(decided.messages[0].state, State::Discarded);
    let ended = alice.wait(direct, Stage::Delivered, None).await;
    assert_eq!((ended.reached, ended.exit), (false, 9));
}

/// What already left cannot be called back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_that_comes_late_tells_what_happened() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let line = alice.line(net.home()).await;
    line.delay(Duration::from_secs(1));
    let id = alice.send("bob", "too late to stop").await;
    bob.reads(&["too late to stop"]).await;
    let decided = alice.call::<queue::Discard>(these(&[id])).await;
    assert_eq!(decided.messages[0].state, State::Discarded);
    let shown = alice.message_is(id, State::Read).await;
    let states: Vec<&str> = shown.steps.iter().map(|step| step.what.as_str()).collect();
    let tail = &states[states.len() - 3..];
    assert_eq!(tail, ["discarded", "delivered", "read"]);
}
