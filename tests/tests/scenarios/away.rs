//! Somebody or something is away for a while.

use std::time::Duration;

use ams_rpc::methods::queue;
use ams_rpc::types::{LinkState, Period, Presence, QueueParams, SendParams, Stage, State};
use ams_tests::ledger::{Balance, assert_even, balance};
use ams_tests::{Net, PATIENCE, Person};
use amsd::settings::Undeliverable;

/// As short as a window can be that is one.
fn short_window(config: &mut ams_relay::config::Config) {
    config.retry_window = Duration::from_secs(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_waits_for_somebody_who_comes_back_soon() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    bob.stop().await;
    let first = alice.send("bob", "first").await;
    alice.message_is(first, State::Sent).await;
    let second = alice.send("bob", "second").await;
    bob.start().await;
    alice.reaches(first, Stage::Delivered).await;
    alice.reaches(second, Stage::Delivered).await;
    bob.reads(&["first", "second"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_the_relay_gave_up_waits_for_a_decision() {
    let net = Net::with(short_window).await;
    let (alice, bob) = net.friends("alice", "bob").await;
    bob.stop().await;
    alice.sees("bob", Presence::Offline).await;
    let id = alice.send("bob", "hi").await;
    alice.message_is(id, State::Undelivered).await;
    let ended = alice.wait(id, Stage::Delivered, None).await;
    assert_eq!((ended.reached, ended.exit), (false, 9));
    assert_eq!(alice.status().await.queue.undelivered, 1);

    bob.start().await;
    let all = QueueParams { all: Some(true), ..QueueParams::default() };
    alice.call::<queue::Retry>(all).await;
    alice.reaches(id, Stage::Delivered).await;
    bob.reads(&["hi"]).await;
    alice.queue_is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_was_discarded_does_not_arrive_later() {
    let net = Net::with(short_window).await;
    let (alice, bob) = net.friends("alice", "bob").await;
    bob.stop().await;
    let id = alice.send("bob", "never mind").await;
    alice.message_is(id, State::Undelivered).await;
    let those = QueueParams { ids: Some(vec![id]), ..QueueParams::default() };
    alice.call::<queue::Discard>(those).await;
    alice.message_is(id, State::Discarded).await;
    bob.start().await;
    alice.delivers("bob", "this instead").await;
    bob.reads(&["this instead"]).await;
    assert_eq!(alice.message(id).await.message.state, State::Discarded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_shall_be_kept_goes_out_by_itself_when_they_come_online() {
    let net = Net::with(short_window).await;
    let alice = net.person_with("alice", |to| to.undeliverable = Undeliverable::Keep).await;
    let bob = net.person("bob").await;
    alice.meet(&bob).await;
    bob.stop().await;
    let id = alice.send("bob", "when you are back").await;
    alice.message_is(id, State::Waiting).await;
    let ended = alice.wait(id, Stage::Delivered, None).await;
    assert_eq!((ended.reached, ended.exit), (false, 8));
    alice.restart().await;
    bob.start().await;
    alice.reaches(id, Stage::Delivered).await;
    bob.reads(&["when you are back"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_shall_be_discarded_ends_by_itself() {
    let net = Net::with(short_window).await;
    let alice = net.person_with("alice", |to| to.undeliverable = Undeliverable::Discard).await;
    let bob = net.person("bob").await;
    alice.meet(&bob).await;
    bob.stop().await;
    let id = alice.send("bob", "now or never").await;
    alice.message_is(id, State::Discarded).await;
    bob.start().await;
    alice.delivers("bob", "now").await;
    bob.reads(&["now"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_window_nothing_is_held() {
    let net = Net::with(|config| config.retry_window = Duration::ZERO).await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.delivers("bob", "online").await;
    bob.stop().await;
    alice.sees("bob", Presence::Offline).await;
    let id = alice.send("bob", "offline").await;
    alice.message_is(id, State::Undelivered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_out_in_order_when_the_relay_is_back() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    net.home().stop().await;
    alice.link_is(net.home(), LinkState::Down).await;
    let first = alice.send("bob", "1").await;
    alice.send("bob", "2").await;
    let last = alice.send("bob", "3").await;
    assert_eq!(alice.message(first).await.message.state, State::Queued);
    let reason = alice.status().await.relays[0].reason.clone();
    assert!(reason.is_some_and(|reason| !reason.is_empty()), "nobody says why");
    net.home().start().await;
    alice.reaches(last, Stage::Delivered).await;
    bob.reads(&["1", "2", "3"]).await;
}

/// The relay forgets what it holds when it restarts; the sender does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_restarts_loses_nothing() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    bob.stop().await;
    let id = alice.send("bob", "held").await;
    alice.message_is(id, State::Sent).await;
    net.home().restart().await;
    bob.start().await;
    alice.reaches(id, Stage::Delivered).await;
    bob.reads(&["held"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_survives_the_senders_restart() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    net.home().stop().await;
    alice.send("bob", "1").await;
    let last = alice.send("bob", "2").await;
    alice.restart().await;
    let bodies: Vec<String> = alice.queue().await.into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, ["1", "2"]);
    net.home().start().await;
    alice.reaches(last, Stage::Delivered).await;
    bob.reads(&["1", "2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_received_survives_the_recipients_restart() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.delivers("bob", "kept").await;
    bob.restart().await;
    bob.reads(&["kept"]).await;
    bob.restart().await;
    assert_eq!(bob.unread().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_are_cut_again_and_again_lose_and_double_nothing() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let lines = [alice.line(net.home()).await, bob.line(net.home()).await];
    let texts: Vec<String> = (0..120).map(|number| number.to_string()).collect();
    let sending = async {
        for (number, text) in texts.iter().enumerate() {
            alice.send("bob", text).await;
            bob.send("alice", text).await;
            if number % 20 == 10 {
                let line = &lines[number / 20 % 2];
                line.cut();
                line.mend();
            }
        }
    };
    let ((), at_bob, at_alice) =
        tokio::join!(sending, bob.receives(texts.len()), alice.receives(texts.len()));
    for (whose, got) in [("bob", at_bob), ("alice", at_alice)] {
        let shown: Vec<String> = got.into_iter().map(|message| message.body).collect();
        assert_even(whose, &texts, &shown);
    }
    alice.queue_is_empty().await;
    bob.queue_is_empty().await;
    assert_eq!(bob.unread().await + alice.unread().await, 0);
}

/// Bob's daemon took everything, and what it answered was lost on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_receipt_was_lost_is_shown_once() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let line = alice.line(net.home()).await;
    line.delay(Duration::from_millis(50));
    let id = alice.send("bob", "once").await;
    // It left, and the receipt is still on its way.
    bob.reads(&["once"]).await;
    line.cut();
    line.mend();
    alice.reaches(id, Stage::Delivered).await;
    alice.delivers("bob", "then").await;
    bob.reads(&["then"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_stalls_holds_up_nobody_else() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let carol = net.person("carol").await;
    alice.meet(&carol).await;
    let line = bob.line(net.home()).await;
    line.stall();
    let slow = alice.send("bob", "slow").await;
    for number in 0..50 {
        alice.send("carol", number.to_string()).await;
    }
    assert_eq!(carol.receives(50).await.len(), 50);
    line.cut();
    line.mend();
    alice.reaches(slow, Stage::Delivered).await;
    bob.reads(&["slow"]).await;
}

/// More than may be under way at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_queue_goes_out_in_order_when_somebody_is_back() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    bob.stop().await;
    let texts: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for text in &texts {
        alice.send("bob", text).await;
    }
    bob.start().await;
    let got = bob.receives(texts.len()).await;
    let shown: Vec<String> = got.into_iter().map(|message| message.body).collect();
    assert_even("bob", &texts, &shown);
    alice.queue_is_empty().await;
}

/// What the relay has no room for fails when its time is over like everything else, and is for the
/// user to see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_relay_has_no_room_for_is_not_lost() {
    let small = |config: &mut ams_relay::config::Config| {
        short_window(config);
        config.limits.contact_held_messages = 8;
    };
    let net = Net::with(small).await;
    let (alice, bob) = net.friends("alice", "bob").await;
    bob.stop().await;
    alice.sees("bob", Presence::Offline).await;
    let texts: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    for text in &texts {
        alice.send("bob", text).await;
    }
    let last = alice.queue().await.pop().unwrap();
    alice.message_is(last.id, State::Undelivered).await;
    bob.start().await;
    alice.sees("bob", Presence::Online).await;
    let all = QueueParams { all: Some(true), ..QueueParams::default() };
    alice.call::<queue::Retry>(all).await;
    let got = bob.receives(texts.len()).await;
    let shown: Vec<String> = got.into_iter().map(|message| message.body).collect();
    // A message that had been undelivered may come late, and none twice.
    assert_eq!(Balance { disordered: 0, ..balance(&texts, &shown) }, Balance::EVEN);
    alice.queue_is_empty().await;
    assert_eq!(bob.unread().await, 0);
}

/// Somebody is away while more is written to them than may be under way at once; then they are back.
async fn overnight(policy: Undeliverable, ended: State) -> (Net, Person, Person, Vec<String>) {
    let net = Net::with(short_window).await;
    let alice = net.person_with("alice", |to| to.undeliverable = policy).await;
    let bob = net.person("bob").await;
    alice.meet(&bob).await;
    bob.stop().await;
    alice.sees("bob", Presence::Offline).await;
    let texts: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let mut sent = Vec::new();
    for text in &texts {
        sent.push(alice.send("bob", text).await);
    }
    for id in sent {
        alice.message_is(id, ended).await;
    }
    bob.start().await;
    let params = SendParams {
        wait: Some(Stage::Delivered),
        timeout: Some(Period(PATIENCE)),
        ..SendParams::new("bob", "new")
    };
    let new = alice.try_send(params).await.unwrap();
    assert_eq!((new.state, new.reached, new.exit), (State::Delivered, true, 0));
    (net, alice, bob, texts)
}

/// All of `texts` in order, and the new one somewhere among them.
async fn has_all(bob: &Person, texts: &[String]) {
    let got = bob.receives(texts.len() + 1).await;
    let mut shown: Vec<String> = got.into_iter().map(|message| message.body).collect();
    let new = shown.iter().position(|text| text == "new").expect("the new one");
    shown.remove(new);
    assert_even("bob", texts, &shown);
    assert_eq!(bob.unread().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_night_away_the_user_decides_about_forty_messages() {
    let (_net, alice, bob, texts) = overnight(Undeliverable::Ask, State::Undelivered).await;
    let status = alice.status().await;
    assert_eq!(status.queue.undelivered, 40);
    assert!(status.warnings.iter().any(|line| line.contains("40 undelivered")), "{status:?}");
    let all = QueueParams { all: Some(true), ..QueueParams::default() };
    alice.call::<queue::Retry>(all).await;
    has_all(&bob, &texts).await;
    alice.queue_is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_night_away_forty_kept_messages_go_out_by_themselves() {
    let (_net, alice, bob, texts) = overnight(Undeliverable::Keep, State::Waiting).await;
    has_all(&bob, &texts).await;
    alice.queue_is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_night_away_forty_discarded_messages_hold_up_nothing() {
    let (_net, alice, bob, _) = overnight(Undeliverable::Discard, State::Discarded).await;
    bob.reads(&["new"]).await;
    alice.delivers("bob", "another").await;
    bob.reads(&["another"]).await;
    assert!(alice.queue().await.is_empty());
}
