//! Contact links: handed over by another way, redeemed once.

use ams_rpc::client::CallError;
use ams_rpc::methods::contact;
use ams_rpc::types::{
    ContactAddParams, ContactBrief, ContactLinkParams, ContactParams, ContactState,
    ContactVerifyParams, LinkState, NoParams, Presence, VerifiedBy,
};
use ams_tests::connection::{failure, refusal};
use ams_tests::{Net, Person};

async fn makes(person: &Person, name: Option<&str>) -> String {
    let params = ContactLinkParams { local: name.map(str::to_owned), relay: None };
    person.call::<contact::Link>(params).await.link
}

async fn redeems(person: &Person, link: &str) -> Result<ContactBrief, CallError> {
    let params = ContactAddParams { address: link.to_owned(), local: None };
    person.try_call::<contact::Add>(params).await
}

async fn verified_by_link(person: &Person, name: &str) {
    let shown = person.contact(name).await;
    assert_eq!((shown.verified, shown.verified_by), (true, Some(VerifiedBy::Link)), "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_redeems_a_link_is_a_verified_contact_on_both_sides() {
    let net = Net::new().await;
    let (alice, bob) = (net.person("alice").await, net.person("bob").await);
    let link = makes(&bob, Some("al")).await;
    let waiting = bob.call::<contact::Requests>(NoParams {}).await.links;
    assert_eq!((waiting.len(), waiting[0].relay.as_str()), (1, "home"));
    assert_eq!(waiting[0].name.as_deref(), Some("al"));
    let asked = redeems(&alice, &link).await.unwrap();
    assert_eq!(asked.state, ContactState::Pending);
    // Whom she met, bob's daemon says; what he calls her, he said himself.
    alice.contact_is("bob", ContactState::Active).await;
    bob.contact_is("al", ContactState::Active).await;
    assert_eq!(alice.contact("bob").await.id, asked.id);
    assert_eq!(alice.contact("bob").await.address.as_deref(), Some("bob@home"));
    assert_eq!(bob.contact("al").await.address.as_deref(), Some("alice@home"));
    alice.sees("bob", Presence::Online).await;
    alice.delivers("bob", "hi").await;
    bob.delivers("al", "hello").await;
    let got = bob.receives(1).await;
    assert!(got[0].verified && got[0].body == "hi");
    alice.reads(&["hello"]).await;
    verified_by_link(&alice, "bob").await;
    verified_by_link(&bob, "al").await;
    let number = |name: &str| ContactVerifyParams { name: name.to_owned(), confirm: None };
    let hers = alice.call::<contact::Verify>(number("bob")).await.safety_number;
    assert_eq!(bob.call::<contact::Verify>(number("al")).await.safety_number, hers);
    let left = bob.call::<contact::Requests>(NoParams {}).await;
    assert!(left.incoming.is_empty() && left.links.is_empty(), "{left:?}");
}

/// Neither is ever there while the other is; and each restarts in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_waits_for_both() {
    let net = Net::new().await;
    let (alice, bob) = (net.person("alice").await, net.person("bob").await);
    let carol = net.person("carol").await;
    let link = makes(&bob, None).await;
    bob.stop().await;
    redeems(&alice, &link).await.unwrap();
    // The relay has it when it answered something later.
    alice.meet(&carol).await;
    alice.restart().await;
    alice.stop().await;
    bob.start().await;
    bob.meet(&carol).await;
    verified_by_link(&bob, "alice").await;
    bob.stop().await;
    alice.start().await;
    alice.contact_is("bob", ContactState::Active).await;
    let id = alice.send("bob", "hi").await;
    bob.start().await;
    alice.reaches(id, ams_rpc::types::Stage::Delivered).await;
    verified_by_link(&alice, "bob").await;
    verified_by_link(&bob, "alice").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_good_once_and_each_mistake_has_its_answer() {
    let net = Net::new().await;
    let (alice, bob) = (net.person("alice").await, net.person("bob").await);
    let carol = net.person("carol").await;
    let link = makes(&bob, None).await;
    assert_eq!(refusal(redeems(&bob, &link).await), "bad_value");
    let stranger = net.stranger("stranger", |_| ()).await;
    let refused = failure(redeems(&stranger, &link).await);
    assert_eq!(refused.exit(), 7);
    assert!(refused.data.unwrap().hint.contains("relay join"));
    let mistyped = link.replace("/contact#A", "/contact#B");
    assert_eq!(refusal(redeems(&alice, &mistyped).await), "bad_link");
    let address = net.home().address(&*alice.line(net.home()).await).await;
    assert_eq!(refusal(redeems(&alice, &address).await), "bad_link");

    redeems(&alice, &link).await.unwrap();
    alice.contact_is("bob", ContactState::Active).await;
    let twice = failure(redeems(&alice, &link).await);
    assert_eq!((twice.data.as_ref().unwrap().kind.as_str(), twice.exit()), ("link_used", 6));
    // Somebody else sees what somebody sees who asks nobody.
    let asked = redeems(&carol, &link).await.unwrap();
    alice.meet(&carol).await;
    bob.meet(&carol).await;
    let shown = carol.contact(&asked.name).await;
    assert_eq!((shown.state, shown.address), (ContactState::Pending, None));
    assert!(shown.paths[0].reason.as_ref().unwrap().contains("somebody else used"));
    carol.call::<contact::Remove>(ContactParams { name: asked.name }).await;
    assert_eq!(bob.call::<contact::List>(NoParams {}).await.contacts.len(), 2);
}

/// She knows him already: no second contact is left, and what she is told is true at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_of_somebody_who_is_a_contact_verifies_that_contact() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let link = makes(&bob, None).await;
    let params = ContactAddParams { address: link.clone(), local: Some("robert".to_owned()) };
    let known = alice.call::<contact::Add>(params).await;
    let bobs = alice.contact("bob").await;
    assert_eq!((&known.id, known.name.as_str(), known.state), (&bobs.id, "bob", bobs.state));
    alice.contact_shows("bob", "verified", |contact| contact.verified).await;
    verified_by_link(&alice, "bob").await;
    assert_eq!(alice.call::<contact::List>(NoParams {}).await.contacts.len(), 1);
    assert_eq!(refusal(redeems(&alice, &link).await), "link_used");
    alice.delivers("bob", "still you").await;
}

/// Each hands a link to the other, and both use them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_cross_make_one_contact_on_each_side() {
    let net = Net::new().await;
    for (one, other) in [("alice", "bob"), ("carol", "dave"), ("erin", "frank")] {
        let (one, other) = (net.person(one).await, net.person(other).await);
        let (of_one, of_other) = (makes(&one, None).await, makes(&other, None).await);
        let line = one.line(net.home()).await;
        // Asked before either heard of the other's.
        line.cut();
        one.link_is(net.home(), LinkState::Down).await;
        redeems(&one, &of_other).await.unwrap();
        redeems(&other, &of_one).await.unwrap();
        line.mend();
        one.contact_is(other.name(), ContactState::Active).await;
        other.contact_is(one.name(), ContactState::Active).await;
        one.delivers(other.name(), "hi").await;
        other.delivers(one.name(), "hello").await;
        for (person, met) in [(&one, &other), (&other, &one)] {
            verified_by_link(person, met.name()).await;
            person.sees(met.name(), Presence::Online).await;
            assert_eq!(person.call::<contact::List>(NoParams {}).await.contacts.len(), 1);
        }
    }
}

/// She removed him, and has no keys of his any more; he has those of before, and uses her link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_removed_a_contact_can_write_at_once_when_they_meet_again() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.delivers("bob", "before").await;
    bob.delivers("alice", "before").await;
    alice.call::<contact::Remove>(ContactParams { name: "bob".to_owned() }).await;
    redeems(&bob, &makes(&alice, None).await).await.unwrap();
    alice.contact_is("bob", ContactState::Active).await;
    alice.delivers("bob", "again").await;
    bob.delivers("alice", "again").await;
    verified_by_link(&bob, "alice").await;
}
