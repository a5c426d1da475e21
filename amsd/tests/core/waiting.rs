//! The router with a link that is a test's hands: what a relay says of messages and of people, and every
//! way in which a message that waits goes out.

use std::time::Duration;

use ams_rpc::types::State;
use ams_wire::id::{EnvelopeId, Handle};
use amsd::outbox::queue::Decision;
use amsd::outbox::row::OutState;
use amsd::outbox::wish::Wish;
use amsd::outbox::{self, Draft, queue};
use amsd::relay::LinkEvent;
use amsd::settings::Undeliverable;
use amsd::store::StoreError;
use tokio::time::Instant;

use crate::hands::{Hands, MANY, STEP, WINDOW};
use crate::person::{NOW, RELAY, draft};

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_if_the_contact_is_online_now() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    hands.presence(true).await;
    // The relay gave up although it says that bob is there; nobody says anything new.
    let kept = hands.kept().await;
    let (again, after) = hands.next_in_time().await;
    assert!(after <= Duration::from_secs(70), "{after:?}");
    hands.is_kept(&again, &kept).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_when_the_contact_comes_online() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let kept = hands.kept().await;
    hands.presence(true).await;
    hands.goes_out(&kept).await;
}

/// A snapshot says who is online before the link is up.
#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_if_the_contact_is_online_in_the_snapshot() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let kept = hands.kept().await;
    hands.link_down().await;
    hands.presence(true).await;
    hands.link_up().await;
    hands.goes_out(&kept).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_when_an_envelope_of_the_contacts_comes() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let kept = hands.kept().await;
    hands.bob.push("alice", "I am here").await;
    let out = hands.bob.seal("alice").await;
    hands.comes(&out[0].envelope).await;
    hands.goes_out(&kept).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_when_the_user_says_so() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let kept = hands.kept().await;
    let id = hands.alice.contact("bob").0;
    let decided = hands
        .alice
        .store
        .write(move |txn| queue::decide(txn, id, 1, queue::Decision::Retry, NOW))
        .await;
    assert_eq!(decided.unwrap().unwrap().state, OutState::Queued);
    hands.goes_out(&kept).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_when_a_question_is_answered() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let kept = hands.kept().await;
    let (question, after) = hands.next_in_time().await;
    assert!(question.envelope != kept.envelope && question.key.is_some());
    assert!(after >= Duration::from_secs(55), "{after:?}");
    hands.arrives(&question).await;
    hands.goes_out_anew(&kept).await;
}

/// Presence never says a word of somebody invisible. Whether they are there is asked every minute
/// at first and every hour in the end, for as long as something waits.
#[tokio::test(start_paused = true)]
async fn somebody_invisible_is_asked_less_and_less_often_and_gets_what_waits() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let kept = hands.kept().await;
    let (mut question, mut gaps) = (None, Vec::new());
    for _ in 0..10 {
        let (parcel, after) = hands.next_in_time().await;
        assert!(parcel.envelope != kept.envelope);
        gaps.push(after.as_secs());
        question = Some(parcel);
    }
    assert!(gaps.is_sorted() && gaps[0] <= 70, "{gaps:?}");
    assert!((3590..=3610).contains(gaps.last().unwrap()), "{gaps:?}");
    assert_eq!(hands.alice.states("bob"), [OutState::Waiting]);
    // Whatever the last one was, it asks for an answer.
    let asked = hands.bob.open("alice", &question.unwrap().envelope).await;
    assert!(asked.answer);
    let answer = hands.bob.bare("alice", false).unwrap();
    hands.comes(&answer).await;
    hands.goes_out_anew(&kept).await;
}

/// It says `Failed` of what arrived, of what it never had, and again.
#[tokio::test(start_paused = true)]
async fn a_relay_that_lies_about_failures_makes_nothing_wrong_for_long() {
    let mut hands = Hands::new(Undeliverable::Ask).await;
    hands.tell(LinkEvent::Failed { relay: RELAY, envelope: EnvelopeId([9; 16]) }).await;
    hands.alice.push("bob", "kept").await;
    let parcel = hands.next_full().await;
    hands.taken(&parcel).await;
    hands.bob.open("alice", &parcel.envelope).await;
    hands.failed(&parcel).await;
    hands.states_are(&[OutState::Undelivered]).await;
    hands.failed(&parcel).await;
    // The receipt is the truth.
    let receipt = hands.bob.bare("alice", false).unwrap();
    hands.comes(&receipt).await;
    hands.states_are(&[OutState::Delivered]).await;
    hands.failed(&parcel).await;
    hands.alice.push("bob", "then").await;
    let then = hands.next_full().await;
    hands.arrives(&then).await;
    hands.states_are(&[OutState::Delivered, OutState::Delivered]).await;
    assert_eq!(hands.bob.inbox(), ["kept", "then"]);
}

/// What failed fills the window, and only a receipt makes room: whoever comes back is asked at once.
#[tokio::test(start_paused = true)]
async fn what_found_no_room_goes_out_the_moment_the_contact_is_back() {
    let mut hands = Hands::new(Undeliverable::Ask).await;
    hands.alice.push("bob", "first").await;
    let first = hands.next_full().await;
    hands.arrives(&first).await;
    let mut failed = 0;
    while let Some(parcel) = hands.pushed("failed").await {
        hands.taken(&parcel).await;
        hands.failed(&parcel).await;
        failed += 1;
        hands.settle().await;
    }
    assert_eq!(hands.alice.states("bob").last(), Some(&OutState::Queued));
    // The clock stands: nothing that is planned for later leaves.
    hands.presence(true).await;
    let question = hands.next_full().await;
    hands.arrives(&question).await;
    let last = hands.next_full().await;
    hands.arrives(&last).await;
    assert_eq!(hands.bob.inbox(), ["first", "failed"], "of {failed} that failed none came");
}

/// Silence of the relay about a message counts as a failure, but only while the link is alive.
#[tokio::test(start_paused = true)]
async fn a_relay_that_swallows_everything_is_noticed() {
    let mut hands = Hands::new(Undeliverable::Ask).await;
    hands.alice.push("bob", "kept").await;
    let parcel = hands.next_full().await;
    let before = Instant::now();
    while hands.alice.states("bob") != [OutState::Undelivered] {
        hands.passes(STEP).await;
    }
    let silent = before.elapsed();
    assert!(silent >= WINDOW && silent <= WINDOW + Duration::from_secs(30), "{silent:?}");
    hands.arrives(&parcel).await;
    hands.states_are(&[OutState::Delivered]).await;
}

/// A link on which nothing comes any more is found out by its own silence: no message fails before.
#[tokio::test(start_paused = true)]
async fn what_is_on_a_link_that_fell_silent_goes_again_over_the_next() {
    let mut hands = Hands::new(Undeliverable::Discard).await;
    hands.alice.push("bob", "kept").await;
    let parcel = hands.next_full().await;
    hands.taken(&parcel).await;
    hands.states_are(&[OutState::Sent]).await;
    for _ in 0..60 {
        tokio::time::advance(STEP).await;
        hands.settle().await;
    }
    hands.states_are(&[OutState::Sent]).await;
    hands.link_down().await;
    hands.states_are(&[OutState::Queued]).await;
    hands.link_up().await;
    hands.goes_out(&parcel).await;
}

/// More than one transaction has room for.
#[tokio::test(start_paused = true)]
async fn however_many_wait_they_go_out_in_their_order() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let bodies = hands.many().await;
    let bob = hands.alice.contact("bob").0;
    let kept = hands.alice.store.write(move |txn| {
        for (_, seq, _) in queue::live(txn, Some(bob))? {
            queue::decide(txn, bob, seq, Decision::Keep, NOW)?;
        }
        Ok::<_, StoreError>(())
    });
    kept.await.unwrap();
    hands.link_up().await;
    hands.presence(true).await;
    let mut parcel = hands.next_full().await;
    assert!(hands.alice.states("bob").contains(&OutState::Waiting), "all were moved at once");
    for left in (0..MANY).rev() {
        hands.bob.open("alice", &parcel.envelope).await;
        if left % 16 == 0 {
            let receipt = hands.bob.bare("alice", false).unwrap();
            hands.comes(&receipt).await;
        }
        if left > 0 {
            parcel = hands.next_full().await;
        }
    }
    hands.states_are(&[OutState::Delivered; MANY]).await;
    assert_eq!(hands.bob.inbox(), bodies);
    hands.alice.counts_are_right();
}

/// They could not be sealed for a whole window, and what was has no receipt.
#[tokio::test(start_paused = true)]
async fn however_many_found_no_room_their_sender_hears_of_all() {
    let mut hands = Hands::new(Undeliverable::Ask).await;
    hands.many().await;
    hands.link_up().await;
    let since = Instant::now();
    while hands.alice.states("bob") != [OutState::Undelivered; MANY] {
        assert!(since.elapsed() < WINDOW * 3, "some are not");
        hands.passes(STEP).await;
    }
    hands.alice.counts_are_right();
}

/// It says that somebody is there who is not, again and again, and speaks of people nobody knows.
#[tokio::test(start_paused = true)]
async fn a_relay_that_lies_about_presence_loses_nothing() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let unknown = vec![Handle([0xee; 16])];
    hands.tell(LinkEvent::Presence { relay: RELAY, online: unknown, offline: Vec::new() }).await;
    let kept = hands.kept().await;
    for _ in 0..5 {
        hands.presence(true).await;
        let again = hands.next_full().await;
        assert!(again.envelope == kept.envelope);
        hands.taken(&again).await;
        hands.states_are(&[OutState::Sent]).await;
        hands.failed(&again).await;
        hands.states_are(&[OutState::Waiting]).await;
        hands.presence(false).await;
    }
    hands.presence(true).await;
    hands.goes_out(&kept).await;
    assert!(hands.bob.inbox().len() == 1);
}

/// Three envelopes in a row that no key opens: alice asks bob for fresh keys, once.
#[tokio::test(start_paused = true)]
async fn what_no_key_opens_has_fresh_keys_asked_for() {
    let hands = Hands::new(Undeliverable::Keep).await;
    let asked = |hands: &Hands| {
        let looked = hands.alice.store.read_now(|db| amsd::relay::chores::rows(db, RELAY));
        looked.unwrap().contains(&hands.alice.handle("bob"))
    };
    hands.alice.chores().await;
    let junk = vec![7; 600];
    let good = hands.bob.bare("alice", false).unwrap();
    for envelope in [&junk, &junk, &good, &junk, &junk, &good] {
        hands.comes(envelope).await;
    }
    hands.bob.push("alice", "m").await;
    hands.comes(&hands.bob.seal("alice").await[0].envelope).await;
    assert!(!asked(&hands), "each time something readable came before the third");
    for _ in 0..3 {
        hands.comes(&junk).await;
    }
    while !asked(&hands) {
        tokio::task::yield_now().await;
    }
    // Once in a quarter of an hour.
    hands.alice.chores().await;
    for _ in 0..6 {
        hands.comes(&junk).await;
    }
    hands.comes(&good).await;
    hands.alice.push("bob", "the router has handled all that").await;
    hands.states_are(&[OutState::Queued]).await;
    assert!(!asked(&hands));
}

/// The sender's trying ends at its time, and not a moment before.
#[tokio::test(start_paused = true)]
async fn a_message_with_an_end_ends_then() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let wish = Wish { expires_at: Some(NOW + 1_500), ..Wish::default() };
    let draft = Draft { wish, ..draft("bob", None, "soon over") };
    let pushed = hands.alice.store.write(move |txn| outbox::push(txn, &draft, NOW)).await;
    assert_eq!(pushed.unwrap().state, State::Queued);
    let parcel = hands.next_full().await;
    assert_eq!(parcel.ttl, 2, "a relay is told whole seconds");
    hands.taken(&parcel).await;
    hands.states_are(&[OutState::Sent]).await;
    tokio::time::advance(Duration::from_millis(1_499)).await;
    hands.settle().await;
    hands.states_are(&[OutState::Sent]).await;
    tokio::time::advance(Duration::from_millis(2)).await;
    hands.states_are(&[OutState::Expired]).await;
    hands.alice.counts_are_right();
}
