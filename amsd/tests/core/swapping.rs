//! A relay that puts its own keys in the place of people's.

use ams_crypto::blob::{self, Purpose};
use ams_crypto::dh::{DhPublic, DhSecret};
use ams_crypto::introduction::{self, Meeting};
use ams_crypto::olm::OlmAccount;
use ams_crypto::pair::LinkSecret;
use ams_wire::address::ContactLink;
use ams_wire::from_relay::{Redeemed, Row, RowState};
use ams_wire::id::{Blob, Handle, Key};
use ams_wire::intro::Place;
use ams_wire::to_relay::{Approve, Redeem, ToRelay};
use ams_wire::username::Username;
use amsd::contacts::link::{self, LinkError};
use amsd::contacts::row::Verified;
use amsd::contacts::{self, Stage, edit};
use amsd::store::StoreError;

use crate::person::{NOW, Person, RELAY, become_friends, flow, greet};

const DAY: i64 = 24 * 60 * 60 * 1000;

async fn relay_of(people: &[&'static str]) -> Vec<Person> {
    let relay = Key(*DhSecret::generate().public().as_bytes());
    let mut all = Vec::new();
    for name in people {
        all.push(Person::new(name, relay).await);
    }
    all
}

impl Person {
    async fn makes_link(&self) -> ContactLink {
        let (me, relay) = (self.me.clone(), self.relay());
        let made = self.store.write(move |txn| link::make(txn, &me, (RELAY, &relay), None, NOW));
        made.await.unwrap()
    }

    async fn redeems(&self, link: &ContactLink, now: i64) -> Result<Redeem, LinkError> {
        let (me, relay, link) = (self.me.clone(), self.relay(), link.clone());
        self.store
            .write(move |txn| link::redeem(txn, &me, (RELAY, &relay), &link, None, now))
            .await?;
        let [ToRelay::Redeem(redeem)] = &self.chores().await[..] else { panic!("one request") };
        Ok(redeem.clone())
    }

    /// What is said to the relay about somebody who redeems.
    async fn is_shown(&self, from: &str, redeem: &Redeem) -> Vec<ToRelay<'static>> {
        let (me, relay) = (self.me.clone(), self.relay());
        let (from, their_handle) = (Username::new(from).unwrap(), redeem.handle);
        let shown = Redeemed { from, their_handle, by: redeem.by, intro: redeem.intro.clone() };
        self.store
            .write(move |txn| link::receive(txn, &me, (RELAY, &relay), &shown, NOW))
            .await
            .unwrap();
        self.chores().await
    }

    /// The relay shows an approval as this one's.
    async fn is_answered(&self, peer: &str, handle: Handle, approval: Blob) {
        let (me, relay, peer) = (self.me.clone(), self.relay(), Username::new(peer).unwrap());
        let row = Row { handle, peer, state: RowState::Accepted, approval: Some(approval) };
        self.store
            .write(move |txn| contacts::approval::receive(txn, &me, (RELAY, &relay), &row, NOW))
            .await
            .unwrap();
    }

    /// The contact whose name is not known yet.
    fn pending(&self) -> contacts::ContactRow {
        let all = self.store.read_now(|db| contacts::all(db)).unwrap();
        let is_pending = |row: &&contacts::ContactRow| row.name.starts_with("link-");
        all.iter().map(|(_, row)| row).find(is_pending).unwrap().clone()
    }

    async fn number(&self, of: &'static str) -> String {
        let me = self.me.clone();
        let shown = self.store.write(move |txn| edit::verify(txn, &me, of, None, NOW));
        shown.await.unwrap().1
    }
}

/// Between two people who met by name it can stand and read along; they see it when they compare.
#[tokio::test]
async fn who_met_by_name_is_unverified_and_the_numbers_differ() {
    let all = relay_of(&["alice", "bob", "bob", "alice"]).await;
    let [alice, bob, for_alice, for_bob] = &all[..] else { panic!("four") };
    become_friends(alice, for_alice).await;
    become_friends(for_bob, bob).await;
    alice.push("bob", "between us").await;
    flow(alice, for_alice).await;
    assert_eq!(for_alice.inbox(), ["between us"], "the attack works");
    for (who, contact) in [(alice, "bob"), (bob, "alice")] {
        assert_eq!(who.contact(contact).1.verified, None);
    }
    let (hers, his) = (alice.number("bob").await, bob.number("alice").await);
    assert_ne!(hers, his);
    let me = alice.me.clone();
    let confirmed = alice.store.write(move |txn| edit::verify(txn, &me, "bob", Some(&his), NOW));
    assert!(matches!(confirmed.await, Err(edit::EditError::Mismatch(_))));
    assert_eq!(alice.contact("bob").1.verified, None);
}

/// By a contact link it can neither read what is asked nor ask or answer in anybody's place.
#[tokio::test]
async fn who_met_by_link_cannot_be_stood_between() {
    let all = relay_of(&["alice", "bob", "mallory"]).await;
    let [alice, bob, mallory] = &all[..] else { panic!("three") };
    let link = bob.makes_link().await;
    let redeem = alice.redeems(&link, NOW).await.unwrap();
    let reads = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|seen| seen == part);
    let seen = redeem.intro.as_bytes();
    assert!(!reads(seen, alice.me.public().as_bytes()) && !reads(seen, b"alice"));
    let pending = alice.pending();
    assert_eq!((pending.stage, pending.verified), (Stage::Asked, None));

    // It knows everything of the link but its secret, and asks with keys of its own.
    let secret = || LinkSecret::from_bytes([0; 16]);
    let meeting = Meeting {
        from: Username::new("alice").unwrap(),
        to: Username::new(&link.by.to_string()).unwrap(),
        place: Place::Relay(link.relay),
    };
    let mut account = OlmAccount::new();
    let own =
        introduction::request(mallory.me.key(), &mut account, meeting, u64::MAX, Some(secret()));
    let to = DhPublic::from_bytes(link.one_time.0).unwrap();
    let sealed = blob::seal(Purpose::Intro(&secret()), &to, &own.intro).unwrap();
    for intro in [sealed, own.intro.clone(), vec![7; 2000], Vec::new()] {
        let swapped = Redeem { intro: Blob::new(intro).unwrap(), ..redeem.clone() };
        assert!(bob.is_shown("alice", &swapped).await.is_empty());
    }
    // Nor can it say that somebody else redeems it, or redeem it at another link of his.
    assert!(bob.is_shown("mallory", &redeem).await.is_empty());
    let other = bob.makes_link().await;
    let moved = Redeem { by: other.by, ..redeem.clone() };
    assert!(bob.is_shown("alice", &moved).await.is_empty());

    let [ToRelay::Approve(approve)] = &bob.is_shown("alice", &redeem).await[..] else {
        panic!("the first who has the link is approved")
    };
    assert_eq!((approve.by, approve.their_handle), (Some(link.by), redeem.handle));
    // The link is over: whoever comes now gets no answer.
    assert!(bob.is_shown("alice", &redeem).await.is_empty());

    // An answer of its own does not open, and the right one not under another name.
    let intro = introduction::verify(&own.intro).unwrap();
    let its = introduction::approve(mallory.me.key(), &OlmAccount::new(), &intro, None).unwrap();
    let its = Blob::new(its.approval).unwrap();
    for (peer, approval) in [("bob", its), ("mallory", approve.approval.clone())] {
        alice.is_answered(peer, redeem.handle, approval).await;
        let said = alice.chores().await;
        let again = said.iter().any(|frame| matches!(frame, ToRelay::Redeem(r) if *r == redeem));
        assert!(again, "she asks on, with the same bytes: {said:?}");
        assert_eq!(alice.pending().stage, Stage::Asked);
    }
    alice.approval(bob, approve).await;
    greet(alice, bob).await;
    for (who, contact) in [(alice, "bob"), (bob, "alice")] {
        let row = who.contact(contact).1;
        assert_eq!((row.stage, row.verified), (Stage::Active, Some(Verified::Link)));
        who.push(contact_of(contact), "between us alone").await;
    }
    flow(alice, bob).await;
    flow(bob, alice).await;
    assert_eq!(bob.inbox(), ["between us alone"]);
    assert_eq!(alice.number("bob").await, bob.number("alice").await);
}

fn contact_of(name: &str) -> &'static str {
    if name == "bob" { "bob" } else { "alice" }
}

/// What a link is not good for is said here, before anybody is asked.
#[tokio::test]
async fn a_link_that_is_worth_nothing_says_so() {
    let all = relay_of(&["alice", "bob"]).await;
    let [alice, bob] = &all[..] else { panic!("two") };
    let link = bob.makes_link().await;
    assert!(matches!(bob.redeems(&link, NOW).await, Err(LinkError::Yourself)));
    let late = alice.redeems(&link, NOW + 7 * DAY).await;
    assert!(matches!(late, Err(LinkError::Expired)));
    let weak = ContactLink { one_time: Key([0; 32]), ..link.clone() };
    assert!(matches!(alice.redeems(&weak, NOW).await, Err(LinkError::BadKeys)));
    alice.redeems(&link, NOW).await.unwrap();
    assert!(matches!(alice.redeems(&link, NOW).await, Err(LinkError::Used(_))));
    // 20 wait for somebody, and no more; what is over makes room.
    for _ in 1..20 {
        bob.makes_link().await;
    }
    let (me, relay) = (bob.me.clone(), bob.relay());
    let more = move |now| {
        let (me, relay) = (me.clone(), relay.clone());
        bob.store.write(move |txn| link::make(txn, &me, (RELAY, &relay), None, now))
    };
    assert!(matches!(more(NOW).await, Err(LinkError::TooMany)));
    more(NOW + 7 * DAY).await.unwrap();
    let awaited = bob.store.read_now(|db| link::awaited(db, RELAY, NOW + 7 * DAY));
    assert_eq!(Result::<_, StoreError>::unwrap(awaited).len(), 1);
}

/// Somebody who was met by name before, unverified, is the same contact, verified now.
#[tokio::test]
async fn a_link_verifies_a_contact_that_was_met_by_name() {
    let all = relay_of(&["alice", "bob"]).await;
    let [alice, bob] = &all[..] else { panic!("two") };
    become_friends(alice, bob).await;
    let before = alice.handle("bob");
    let link = bob.makes_link().await;
    let redeem = alice.redeems(&link, NOW).await.unwrap();
    let said = bob.is_shown("alice", &redeem).await;
    let [ToRelay::Approve(approve)] = &said[..] else { panic!("{said:?}") };
    let approve: &Approve = approve;
    alice.approval(bob, approve).await;
    let said = alice.chores().await;
    assert!(said.contains(&ToRelay::Remove(before)), "{said:?}");
    greet(alice, bob).await;
    for (who, contact) in [(alice, "bob"), (bob, "alice")] {
        let row = who.contact(contact).1;
        assert_eq!((row.verified, row.paths.len()), (Some(Verified::Link), 1));
        let all = who.store.read_now(|db| contacts::all(db)).unwrap();
        assert_eq!(all.len(), 1, "one contact");
    }
    alice.push("bob", "still you").await;
    flow(alice, bob).await;
    assert_eq!(bob.inbox(), ["still you"]);
}
