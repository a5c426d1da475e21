//! What is remembered, for how long, and that it is forgotten then.

use ams_wire::to_relay::ToRelay;
use amsd::contacts::intro::Intros;
use amsd::contacts::{Contacts, edit};
use amsd::inbox::known;
use amsd::inbox::row::Known;
use amsd::outbox;
use amsd::outbox::row::OutIds;
use amsd::settings::{History, Requests};
use amsd::store::{Read, Table};
use amsd::{profile, tidy};

use crate::person::{NOW, Person, draft, flow, friends, strangers};

const DAY: i64 = 24 * 60 * 60 * 1000;

fn rows<T: Table>(person: &Person) -> usize {
    person.store.read_now(|db| db.list::<T>(&())).unwrap().len()
}

/// The sender says with each message below which number nothing comes any more.
#[tokio::test]
async fn ids_of_what_never_comes_again_are_forgotten_after_a_month() {
    let (alice, bob) = friends().await;
    for number in 0..100 {
        alice.push("bob", &format!("m{number}")).await;
        flow(&alice, &bob).await;
    }
    let old = alice.seal("bob").await;
    assert!(old.is_empty());
    assert_eq!(known::prune(&bob.store, NOW + 29 * DAY).await.unwrap(), 0);
    // Alice is known to be done with the first 64 or so; the rest is remembered.
    let gone = known::prune(&bob.store, NOW + 31 * DAY).await.unwrap();
    assert!((60..100).contains(&gone), "{gone}");
    assert_eq!(rows::<Known>(&bob), 100 - gone);
    assert_eq!(known::prune(&bob.store, NOW + 31 * DAY).await.unwrap(), 0);
    let id = bob.contact("alice").0;
    let row = bob.store.read_now(|db| db.get::<Contacts>(&id)).unwrap().unwrap();
    assert_eq!(row.known_from, u64::try_from(gone).unwrap() + 1);

    // One of the forgotten comes again, sealed anew by a profile that went back to an old copy of
    // itself. What that profile writes now has a number that was given before, and is shown.
    let of_bob = alice.contact("bob").0;
    alice
        .store
        .write(move |txn| {
            let row = txn.get::<Contacts>(&of_bob)?.unwrap();
            txn.put::<Contacts>(&of_bob, &amsd::contacts::ContactRow { next_seq: 7, ..row })
        })
        .await
        .unwrap();
    let later = NOW + 32 * DAY;
    for (text, written) in [("once more", NOW - DAY), ("new", later)] {
        let draft = draft("bob", None, text);
        alice.store.write(move |txn| outbox::push(txn, &draft, written)).await.unwrap();
    }
    for out in alice.seal("bob").await {
        bob.open_at("alice", &out.envelope, later).await;
    }
    let shown = bob.inbox();
    assert_eq!(shown.len(), 101);
    assert_eq!(shown.last().unwrap(), "new");
}

#[tokio::test]
async fn the_id_of_a_deleted_message_is_remembered_for_a_month() {
    let (alice, bob) = friends().await;
    let sent = alice.push("bob", "first").await;
    flow(&alice, &bob).await;
    tidy::round(&alice.store, History::Off, NOW + 2 * DAY).await.unwrap();
    tidy::prune(&alice.store, NOW + 29 * DAY).await.unwrap();
    assert_eq!(rows::<OutIds>(&alice), 1);
    tidy::prune(&alice.store, NOW + 31 * DAY).await.unwrap();
    assert_eq!(rows::<OutIds>(&alice), 0);
    let draft = draft("bob", Some(sent.id), "second");
    alice.store.write(move |txn| outbox::push(txn, &draft, NOW + 31 * DAY)).await.unwrap();
}

/// The recipient tells messages apart for so many numbers and no more.
#[tokio::test]
async fn beyond_the_span_of_numbers_the_oldest_comes_to_its_end_first() {
    let (alice, bob) = friends().await;
    let stuck = alice.push("bob", "stuck").await;
    let id = stuck.contact;
    alice
        .store
        .write(move |txn| {
            let row = txn.get::<Contacts>(&id)?.unwrap();
            txn.put::<Contacts>(&id, &amsd::contacts::ContactRow { next_seq: 65_536, ..row })
        })
        .await
        .unwrap();
    let first = |seq| alice.store.read_now(|db| outbox::decide_first(db, id, seq)).unwrap();
    assert_eq!((first(65_536), first(65_537)), (None, None), "it goes on by itself");
    alice.push("bob", "the last one within").await;
    alice.push("bob", "the first one beyond").await;
    let reason = |seq| {
        let shown = alice.store.read_now(|db| outbox::show::with_steps(db, id, seq));
        shown.unwrap().unwrap().steps[0].reason.clone()
    };
    assert_eq!(reason(65_536), None);
    let why = reason(65_537).unwrap();
    assert!(why.starts_with(&format!("it goes after {}", stuck.id)), "{why}");
    let within = alice.seal("bob").await;
    assert_eq!(within.len(), 2, "what is beyond is not sealed");
    // Once it is over, the others go.
    for out in within {
        bob.open("alice", &out.envelope).await;
    }
    alice.open("bob", &bob.bare("alice", false).unwrap()).await;
    assert_eq!(first(65_538), None);
    flow(&alice, &bob).await;
    assert_eq!(bob.inbox().len(), 3);
}

#[tokio::test]
async fn answers_to_introductions_are_forgotten_and_whoever_is_denied_leaves_nothing() {
    let (alice, bob) = friends().await;
    assert_eq!(rows::<Intros>(&bob), 1);
    tidy::prune(&bob.store, NOW + 14 * DAY).await.unwrap();
    assert_eq!(rows::<Intros>(&bob), 1);
    tidy::prune(&bob.store, NOW + 16 * DAY).await.unwrap();
    assert_eq!(rows::<Intros>(&bob), 0);
    // That it is forgotten does the pair no harm.
    alice.push("bob", "hi").await;
    flow(&alice, &bob).await;

    let (carol, dave) = strangers().await;
    carol.add("bob").await;
    let [ToRelay::Ask(asked)] = &carol.chores().await[..] else { panic!("one request") };
    dave.request_by(&carol, asked, Requests::Deny, NOW).await;
    assert!(matches!(dave.chores().await[..], [ToRelay::Refuse(_)]));
    assert_eq!(rows::<Intros>(&dave), 0);
}

/// A contact cannot have us agree on keys as often as it likes.
#[tokio::test]
async fn a_contact_that_renews_too_often_is_answered_later() {
    let (alice, bob) = friends().await;
    let mut now = NOW;
    for _ in 0..3 {
        now += 1;
        let asked = fresh(&alice, now).await;
        bob.request_by(&alice, &asked, Requests::Ask, now).await;
        assert!(matches!(bob.chores().await[..], [ToRelay::Approve(_)]));
    }
    let asked = fresh(&alice, now).await;
    bob.request_by(&alice, &asked, Requests::Ask, now).await;
    assert!(bob.chores().await.is_empty());
    now += 16 * 60 * 1000;
    bob.request_by(&alice, &asked, Requests::Ask, now).await;
    assert!(matches!(bob.chores().await[..], [ToRelay::Approve(_)]));
    // And of all those answers a few are kept.
    for _ in 0..10 {
        now += 16 * 60 * 1000;
        let asked = fresh(&alice, now).await;
        bob.request_by(&alice, &asked, Requests::Ask, now).await;
        assert!(matches!(bob.chores().await[..], [ToRelay::Approve(_)]));
    }
    assert_eq!(rows::<Intros>(&bob), 4);
}

/// A daemon that asks for fresh keys whenever it likes.
async fn fresh(alice: &Person, now: i64) -> ams_wire::to_relay::Ask {
    let row = alice.contact("bob").1;
    let (id, handle) = (alice.contact("bob").0, alice.handle("bob"));
    alice
        .store
        .write(move |txn| {
            txn.delete::<amsd::contacts::ask::Asked>(&(crate::person::RELAY, handle))?;
            txn.put::<Contacts>(&id, &amsd::contacts::ContactRow { renewed_at: 0, ..row.clone() })
        })
        .await
        .unwrap();
    alice.renew_at("bob", now).await
}

/// Each introduction has a one-time key of its own; one that is given up takes it along.
#[tokio::test]
async fn one_time_keys_go_with_what_they_were_made_for() {
    let (alice, bob) = friends().await;
    let keys =
        |person: &Person| person.store.read_now(|db| profile::olm(db)).unwrap().waiting_keys();
    assert_eq!((keys(&alice), keys(&bob)), (0, 0));
    alice.add("nobody").await;
    alice.chores().await;
    alice.renew("bob").await;
    assert_eq!(keys(&alice), 2);
    alice.store.write(|txn| edit::remove(txn, "nobody", NOW)).await.unwrap();
    assert_eq!(keys(&alice), 1);
    // A renewal that is too old is made anew.
    alice.chores().await;
    alice.renew_at("bob", NOW + 15 * DAY).await;
    assert_eq!(keys(&alice), 1);
}
