//! The queue: listed, and decided about.

use ams_rpc::types::LinkState;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_decided_about_a_message_that_has_ended() {
    let bench = Bench::new().await;
    let id = bench.send("hi").await.id;
    bench.delivered(1).await;
    let of = |ids: Vec<MessageId>| QueueParams { ids: Some(ids), ..QueueParams::default() };
    bench.refused::<m::queue::Discard>(of(vec![id]), ErrorKind::NotAllowed).await;
    bench.refused::<m::queue::Keep>(of(vec![id]), ErrorKind::NotAllowed).await;
    // All or none of those that are named.
    let other = bench.send("other").await.id;
    bench.refused::<m::queue::Keep>(of(vec![other, id]), ErrorKind::NotAllowed).await;
    let shown = bench.call::<m::message::Show>(MessageParams { id: other, contact: None }).await;
    assert_eq!(shown.messages[0].message.state, State::Queued);
    let nobodys = of(vec![MessageId([7; 16])]);
    bench.refused::<m::queue::Retry>(nobodys, ErrorKind::NoSuchMessage).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_comes_page_by_page() {
    let bench = Bench::new().await;
    // Every character of these takes six in JSON.
    let text = "\u{1}".repeat(46 * 1024);
    for _ in 0..13 {
        bench.send(&text).await;
    }
    let first = bench.call::<m::queue::List>(QueueListParams::default()).await;
    assert!(first.more && first.messages.len() < 13, "{}", first.messages.len());
    let after = first.messages.last().map(|queued| queued.message.id);
    let params = QueueListParams { after, ..QueueListParams::default() };
    let second = bench.call::<m::queue::List>(params).await;
    assert_eq!((first.messages.len() + second.messages.len(), second.more), (13, false));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_decided_part_by_part() {
    let bench = Bench::new().await;
    for text in ["one", "two", "three"] {
        bench.send(text).await;
    }
    let all = || QueueParams { all: Some(true), ..QueueParams::default() };
    let outcomes = bench.call::<m::queue::Keep>(all()).await;
    assert_eq!((outcomes.messages.len(), outcomes.next), (3, None));
    let behind = QueueParams { after: Some("1-2".into()), ..all() };
    let outcomes = bench.call::<m::queue::Discard>(behind).await;
    assert_eq!(outcomes.messages.len(), 1);
    assert_eq!(outcomes.messages[0].state, State::Discarded);
    for wrong in ["", "x", "1-", "1-2-3"] {
        let params = QueueParams { after: Some(wrong.into()), ..all() };
        bench.refused::<m::queue::Retry>(params, ErrorKind::InvalidParams).await;
    }
    let elsewhere = QueueParams {
        to: Some("alice".into()),
        after: Some("2-1".into()),
        ..QueueParams::default()
    };
    bench.refused::<m::queue::Retry>(elsewhere, ErrorKind::InvalidParams).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_says_why_and_stops_at_its_limit() {
    let bench = Bench::new().await;
    let ids = [bench.send("one").await.id, bench.send("two").await.id, bench.send("3").await.id];
    let params = QueueParams { ids: Some(vec![ids[1]]), ..QueueParams::default() };
    bench.call::<m::queue::Keep>(params).await;
    let most = QueueListParams { limit: Some(2), ..QueueListParams::default() };
    let first = bench.call::<m::queue::List>(most.clone()).await;
    let said: Vec<_> = first.messages.iter().map(|queued| queued.reason.as_deref()).collect();
    // There is no link here, and the relay of the contact has no name.
    assert_eq!((said, first.more), (vec![None, Some("asked by the user")], true));
    let behind = QueueListParams { after: Some(ids[1]), ..most };
    let rest = bench.call::<m::queue::List>(behind).await;
    assert_eq!((rest.messages[0].message.id, rest.more), (ids[2], false));
    bench.end().await;
}

/// What holds a message back is said before what happened to it last.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_says_what_holds_back_a_message_that_was_tried_again() {
    let bench = Bench::new().await;
    let via = Some(ams_rpc::types::Via::Direct);
    let direct = SendParams { via, ..SendParams::new("alice", "direct") };
    bench.call::<m::message::Send>(direct).await;
    bench.at_home(false).await;
    bench.send("any way").await;
    let all = || QueueParams { all: Some(true), ..QueueParams::default() };
    bench.call::<m::queue::Keep>(all()).await;
    bench.call::<m::queue::Retry>(all()).await;
    let only = "goes over a direct link only, and alice has no such way yet";
    assert_eq!(bench.reasons().await, [only, "not connected: home"]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_the_relay_forgot_is_told_with_what_mends_it() {
    let bench = Bench::new().await;
    bench.at_home(true).await;
    bench.live.relay(RelayId(1), "home", LinkState::Up, None);
    let command = "amsctl contact add alice@home";
    bench.send("hi").await;
    let kept = bench.send("kept").await.id;
    let keep = QueueParams { ids: Some(vec![kept]), ..QueueParams::default() };
    bench.call::<m::queue::Keep>(keep).await;
    let said = format!("the relay no longer knows this contact: {command}");
    assert_eq!(bench.reasons().await, [said.as_str(), &said]);
    let warnings = bench.call::<m::daemon::Status>(NoParams {}).await.warnings;
    let warned = format!("the relay no longer knows alice, so nothing reaches them: {command}");
    assert!(warnings.contains(&warned), "{warnings:?}");
    bench.end().await;
}

/// Presence is told once: whoever is online already will not come online.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_for_a_contact_that_is_online_goes_at_once() {
    let bench = Bench::new().await;
    bench.at_home(false).await;
    let direct = Some(ams_rpc::types::Via::Direct);
    let direct = SendParams { via: direct, ..SendParams::new("alice", "direct") };
    bench.send("hi").await;
    bench.call::<m::message::Send>(direct).await;
    let keep =
        || bench.call::<m::queue::Keep>(QueueParams { all: Some(true), ..QueueParams::default() });
    let states = |outcomes: ams_rpc::types::QueueOutcomes| {
        outcomes.messages.into_iter().map(|outcome| outcome.state).collect::<Vec<_>>()
    };
    assert_eq!(states(keep().await), [State::Waiting; 2]);
    bench.live.relay(RelayId(1), "home", LinkState::Up, None);
    assert_eq!(states(keep().await), [State::Waiting; 2]);
    bench.live.set_online(RelayId(1), Handle([1; 16]), true);
    assert_eq!(states(keep().await), [State::Queued, State::Waiting]);
    bench.end().await;
}

/// What came in between is not in the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_goes_on_behind_any_of_its_messages() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for seq in 1..=7 {
        ids.push(bench.send("hi").await.id);
        bench.arrives(seq, "in between").await;
    }
    for seq in [2, 3, 6] {
        bench.delivered(seq).await;
    }
    let left: Vec<_> = [0, 3, 4, 6].map(|at| ids[at]).to_vec();
    for (at, id) in ids.iter().enumerate() {
        let params = QueueListParams { after: Some(*id), ..QueueListParams::default() };
        let queue = bench.call::<m::queue::List>(params).await.messages;
        let shown: Vec<_> = queue.into_iter().map(|queued| queued.message.id).collect();
        let behind = left.iter().copied().filter(|id| ids[at + 1..].contains(id));
        assert_eq!(shown, behind.collect::<Vec<_>>(), "behind message {at}");
    }
    bench.end().await;
}
