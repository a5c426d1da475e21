//! What every implementation of [`Accounts`] has to do. Each case gets a new, empty one.

use std::sync::Arc;

use ams_crypto::token::{Token, TokenHash};
use ams_wire::from_relay::RowState;
use ams_wire::id::{Blob, Handle, Key, RoutingId, WorkMark};
use ams_wire::username::Username;

use super::row::ContactRow;
use super::{ASK_LIFE, Accounts, Approval, Enrolled, Invited, OpenInvite, Record, Unwilling, User};

const NOW: u64 = 1_000_000;
const DAY: u64 = 24 * 3600;
const MOST: u64 = 100;

fn name(text: &str) -> Username {
    Username::new(text).unwrap()
}

fn handle(byte: u8) -> Handle {
    Handle([byte; 16])
}

fn key(byte: u8) -> Key {
    Key([byte; 32])
}

fn blob(text: &str) -> Blob {
    Blob::new(text.as_bytes().to_vec()).unwrap()
}

fn record(byte: u8) -> Record {
    [byte; 192]
}

fn token(byte: u8) -> TokenHash {
    Token::from_bytes([byte; 16]).hash()
}

fn mark(counter: u64) -> WorkMark {
    WorkMark { counter, nonce: [1; 8] }
}

async fn invite(accounts: &dyn Accounts, who: &str, of: TokenHash, reset: bool) {
    let invite = OpenInvite { name: name(who), expires: NOW + 7 * DAY };
    accounts.create_invite(invite, of, reset, MOST).await.unwrap();
}

/// An account whose token, key and record are `number`.
async fn user(accounts: &dyn Accounts, who: &str, number: u8) {
    invite(accounts, who, token(number), false).await;
    let joined =
        accounts.join(token(number), key(number), record(number), NOW, MOST).await.unwrap();
    assert_eq!(joined, Some(Enrolled { name: name(who), displaced: false, left: None }));
}

async fn rows(accounts: &dyn Accounts, number: u8, now: u64) -> Vec<(Handle, ContactRow)> {
    accounts.attach(key(number), now, 100).await.unwrap().unwrap().1.rows
}

async fn ask(accounts: &dyn Accounts, who: &str, own: u8, to: &str, intro: &str, now: u64) -> bool {
    let asked = accounts.ask(&name(who), handle(own), &name(to), blob(intro), now).await.unwrap();
    asked.is_some()
}

fn yes(by: &str, own: u8, to: &str, theirs: u8) -> Approval {
    Approval {
        by: name(by),
        to: name(to),
        their_handle: handle(theirs),
        handle: handle(own),
        blob: blob(&format!("{by} says yes")),
        link: None,
    }
}

async fn invites(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    invite(a, "alice", token(1), false).await;
    let invited = |exists| Some(Invited { name: name("alice"), exists });
    assert_eq!(a.invite(token(1), key(1), NOW).await.unwrap(), invited(false));
    assert_eq!(a.invite(token(2), key(1), NOW).await.unwrap(), None);
    assert_eq!(a.invite(token(1), key(1), NOW + 7 * DAY).await.unwrap(), None);
    // A second one for the same name takes the place of the first.
    invite(a, "alice", token(2), false).await;
    assert_eq!(a.invite(token(1), key(1), NOW).await.unwrap(), None);
    assert_eq!(a.join(token(1), key(1), record(1), NOW, MOST).await.unwrap(), None);
    let open = vec![OpenInvite { name: name("alice"), expires: NOW + 7 * DAY }];
    assert_eq!(a.invites(NOW).await.unwrap(), open);
    assert!(a.join(token(2), key(1), record(1), NOW, MOST).await.unwrap().is_some());
    assert!(a.invites(NOW).await.unwrap().is_empty());
    // Spent: for that device alone, and with the record that it brings last.
    assert_eq!(a.invite(token(2), key(2), NOW).await.unwrap(), None);
    assert_eq!(a.join(token(2), key(2), record(2), NOW, MOST).await.unwrap(), None);
    assert_eq!(a.invite(token(2), key(1), NOW).await.unwrap(), invited(true));
    assert!(a.join(token(2), key(1), record(3), NOW, MOST).await.unwrap().is_some());
    assert_eq!(a.record(&name("alice")).await.unwrap(), Some(record(3)));
    let again = OpenInvite { name: name("alice"), expires: NOW + 1 };
    assert_eq!(
        a.create_invite(again.clone(), token(4), false, MOST).await,
        Err(Unwilling::Exists(name("alice")))
    );
    let bob = OpenInvite { name: name("bob"), ..again.clone() };
    assert_eq!(
        a.create_invite(bob.clone(), token(4), true, MOST).await,
        Err(Unwilling::NoUser(name("bob")))
    );
    assert_eq!(a.create_invite(bob.clone(), token(4), false, 1).await, Err(Unwilling::TooMany(1)));
    a.create_invite(bob, token(4), false, MOST).await.unwrap();
    // Full meanwhile, when the invite is used; for whoever has an account that is no matter.
    assert_eq!(a.join(token(4), key(4), record(4), NOW, 1).await.unwrap(), None);
    assert!(a.join(token(2), key(1), record(3), NOW, 1).await.unwrap().is_some());
    a.revoke_invite(&name("bob"), NOW).await.unwrap();
    assert_eq!(a.revoke_invite(&name("bob"), NOW).await, Err(Unwilling::NoInvite(name("bob"))));
    // A reset lets another device in, which displaces the old one.
    invite(a, "alice", token(5), true).await;
    let joined = a.join(token(5), key(5), record(5), NOW, MOST).await.unwrap();
    assert_eq!(joined, Some(Enrolled { name: name("alice"), displaced: true, left: None }));
    assert!(a.attach(key(1), NOW, 1).await.unwrap().is_none());
    assert_eq!(a.join(token(2), key(1), record(1), NOW, MOST).await.unwrap(), None);
}

async fn devices_and_marks(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    let device = a.attach(key(1), NOW, 1).await.unwrap().unwrap().0;
    assert_eq!((&device.name, device.mark), (&name("alice"), None));
    a.mark(&name("alice"), device.enrolment, mark(5)).await.unwrap();
    a.mark(&name("alice"), device.enrolment, mark(4)).await.unwrap();
    a.mark(&name("alice"), device.enrolment.wrapping_add(1), mark(9)).await.unwrap();
    a.mark(&name("nobody"), device.enrolment, mark(9)).await.unwrap();
    let found = a.attach(key(1), NOW, 1).await.unwrap().unwrap().0;
    assert_eq!(found.mark, Some(mark(5)));
    // The same key anew: nothing displaced, a new count.
    let again = a.enrol(&name("alice"), key(1)).await.unwrap();
    assert_eq!(again, Some(Enrolled { name: name("alice"), displaced: false, left: None }));
    let found = a.attach(key(1), NOW, 1).await.unwrap().unwrap().0;
    assert_eq!(found.mark, None);
    assert_ne!(found.enrolment, device.enrolment);
    a.mark(&name("alice"), device.enrolment, mark(9)).await.unwrap();
    assert_eq!(a.attach(key(1), NOW, 1).await.unwrap().unwrap().0.mark, None);
    // A key is the device of one account.
    user(a, "bob", 2).await;
    assert!(ask(a, "alice", 1, "carol", "intro", NOW).await);
    let moved = a.enrol(&name("bob"), key(1)).await.unwrap();
    let left = Some(name("alice"));
    assert_eq!(moved, Some(Enrolled { name: name("bob"), displaced: true, left }));
    assert_eq!(a.attach(key(1), NOW, 1).await.unwrap().unwrap().0.name, name("bob"));
    assert!(a.attach(key(2), NOW, 1).await.unwrap().is_none());
    assert_eq!(a.enrol(&name("nobody"), key(3)).await.unwrap(), None);
    // What the device asked that left is nobody's.
    assert!(!a.enrol(&name("alice"), key(4)).await.unwrap().unwrap().displaced);
    assert!(rows(a, 4, NOW).await.is_empty());
    // A locked account is none.
    a.set_disabled(&name("bob"), true).await.unwrap();
    assert!(a.attach(key(1), NOW, 1).await.unwrap().is_none());
    assert_eq!(a.record(&name("bob")).await.unwrap(), None);
    assert_eq!(a.enrol(&name("bob"), key(3)).await.unwrap(), None);
    assert_eq!(a.join(token(2), key(2), record(2), NOW, MOST).await.unwrap(), None);
    a.set_disabled(&name("bob"), false).await.unwrap();
    assert!(a.attach(key(1), NOW, 1).await.unwrap().is_some());
    assert_eq!(a.set_disabled(&name("nobody"), true).await, Err(Unwilling::NoUser(name("nobody"))));
}

async fn a_new_device_cancels_what_the_old_one_asked(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    user(a, "bob", 2).await;
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap();
    assert!(ask(a, "alice", 3, "carol", "intro", NOW).await);
    // A renewal that waits, and an approval that was not fetched, are for a device that is gone.
    assert!(ask(a, "alice", 1, "bob", "again", NOW).await);
    a.enrol(&name("alice"), key(9)).await.unwrap();
    let left = rows(a, 9, NOW).await;
    assert_eq!(left.len(), 1);
    let (own, row) = &left[0];
    assert_eq!((*own, row.open_to()), (handle(1), Some(handle(2))));
    assert_eq!((&row.intro, &row.approval), (&None, &None));
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    assert!(a.requests(&name("carol"), NOW, 9).await.unwrap().is_empty());
}

async fn redeeming(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    for (who, number) in [("alice", 1), ("bob", 2), ("carol", 3)] {
        user(a, who, number).await;
    }
    let (of_bob, other) = (RoutingId([7; 16]), RoutingId([8; 16]));
    let redeem =
        |who: &str, own, by, intro: &str| a.redeem(&name(who), handle(own), by, blob(intro), NOW);
    // Whether or not it is anybody's.
    assert!(redeem("alice", 1, of_bob, "sealed").await.unwrap().is_some());
    assert!(redeem("carol", 3, other, "sealed too").await.unwrap().is_some());
    assert!(redeem("alice", 1, of_bob, "sealed").await.unwrap().is_some());
    assert!(redeem("alice", 1, other, "sealed").await.unwrap().is_none());
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    assert!(a.requests(&name("alice"), NOW, 9).await.unwrap().is_empty());
    let shown = a.redeemed(vec![of_bob], NOW, 9).await.unwrap();
    assert_eq!((shown.len(), &shown[0].from, shown[0].by), (1, &name("alice"), of_bob));
    assert!(a.redeemed(vec![of_bob], NOW + ASK_LIFE, 9).await.unwrap().is_empty());
    assert_eq!(a.redeemed(vec![of_bob, other], NOW, 9).await.unwrap().len(), 2);
    assert_eq!(a.redeemed(vec![of_bob, other], NOW, 1).await.unwrap().len(), 1);
    // Only whoever names the link answers it, and then it is a row like any other.
    for link in [None, Some(other)] {
        let wrong = Approval { link, ..yes("carol", 5, "alice", 1) };
        assert!(!a.approve(wrong, NOW).await.unwrap().theirs);
    }
    let right = Approval { link: Some(of_bob), ..yes("bob", 2, "alice", 1) };
    assert!(a.approve(right.clone(), NOW).await.unwrap().theirs);
    assert!(a.approve(right, NOW).await.unwrap().theirs, "said again after a lost answer");
    assert!(a.redeemed(vec![of_bob], NOW, 9).await.unwrap().is_empty());
    let row = a.row(&name("alice"), handle(1), NOW).await.unwrap().unwrap();
    assert_eq!((&row.peer, row.open_to(), row.by), (&name("bob"), Some(handle(2)), None));
    assert!(ask(a, "alice", 1, "bob", "a renewal", NOW).await);
    assert_eq!(a.requests(&name("bob"), NOW, 9).await.unwrap().len(), 1);
    // What was redeemed and not answered goes with the device.
    a.enrol(&name("carol"), key(9)).await.unwrap();
    assert!(a.redeemed(vec![other], NOW, 9).await.unwrap().is_empty());
}

async fn asking(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    // Whether bob exists or not.
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    let requests = a.requests(&name("bob"), NOW, 9).await.unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!((&requests[0].from, requests[0].their_handle), (&name("alice"), handle(1)));
    // The same again keeps its first moment; other bytes take the place.
    assert!(ask(a, "alice", 1, "bob", "intro", NOW + DAY).await);
    assert!(a.requests(&name("bob"), NOW + ASK_LIFE, 9).await.unwrap().is_empty());
    assert!(ask(a, "alice", 1, "bob", "other", NOW + DAY).await);
    assert_eq!(a.requests(&name("bob"), NOW + ASK_LIFE, 9).await.unwrap()[0].intro, blob("other"));
    assert!(!ask(a, "alice", 1, "carol", "intro", NOW + DAY).await);
    // The oldest first, and no more than asked for.
    user(a, "carol", 3).await;
    assert!(ask(a, "carol", 3, "bob", "older", NOW).await);
    let first = a.requests(&name("bob"), NOW + DAY, 1).await.unwrap();
    assert_eq!(first[0].from, name("carol"));
    // However often somebody asks, it is one request.
    assert!(ask(a, "carol", 4, "bob", "newer", NOW + 1).await);
    let shown = a.requests(&name("bob"), NOW + DAY, 9).await.unwrap();
    let shown: Vec<_> = shown.into_iter().map(|request| request.intro).collect();
    assert_eq!(shown, [blob("newer"), blob("other")]);
    // Oneself is nobody's contact.
    assert!(ask(a, "alice", 4, "alice", "intro", NOW).await);
    assert!(a.requests(&name("alice"), NOW, 9).await.unwrap().is_empty());
    let approved = a.approve(yes("alice", 5, "alice", 4), NOW).await.unwrap();
    assert!(!approved.theirs && approved.own.is_none());
    // Unanswered, it is gone after its time, and the handle is free.
    let later = NOW + DAY + ASK_LIFE;
    assert!(rows(a, 1, later).await.is_empty());
    assert!(a.row(&name("alice"), handle(1), later).await.unwrap().is_none());
    let late = a.approve(yes("bob", 2, "alice", 1), later).await.unwrap();
    assert!(!late.theirs && late.own.is_some());
    a.sweep(later).await.unwrap();
    assert!(a.row(&name("alice"), handle(1), NOW).await.unwrap().is_none());
    assert!(ask(a, "alice", 1, "carol", "intro", later).await);
}

async fn approving(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    user(a, "bob", 2).await;
    // Where there is nothing to accept, the approver's row looks the same and leads nowhere.
    let alone = a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap();
    assert!(!alone.theirs && alone.own.unwrap().open_to() == Some(handle(1)));
    assert!(rows(a, 1, NOW).await.is_empty());
    // No way around the limits of asking.
    assert!(ask(a, "bob", 2, "alice", "unasked", NOW).await);
    assert!(a.requests(&name("alice"), NOW, 9).await.unwrap().is_empty());
    a.remove(&name("bob"), handle(2)).await.unwrap();
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    // Not by somebody else than was asked.
    user(a, "carol", 3).await;
    assert!(!a.approve(yes("carol", 3, "alice", 1), NOW).await.unwrap().theirs);
    let approved = a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap();
    assert!(approved.theirs);
    let own = approved.own.unwrap();
    assert_eq!((own.open_to(), own.approval), (Some(handle(1)), None));
    let theirs = a.row(&name("alice"), handle(1), NOW).await.unwrap().unwrap();
    assert_eq!(theirs.open_to(), Some(handle(2)));
    assert_eq!((theirs.intro, theirs.approval), (None, Some(blob("bob says yes"))));
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    let fetched = a.fetched(&name("alice"), handle(1)).await.unwrap().unwrap();
    assert_eq!(fetched.approval, None);
    // An accepted row stays for good.
    assert_eq!(rows(a, 1, NOW + 99 * DAY).await.len(), 1);
    // A renewal, on the row; declined, it leaves it as it was.
    assert!(ask(a, "alice", 1, "bob", "again", NOW).await);
    assert_eq!(a.requests(&name("bob"), NOW, 9).await.unwrap().len(), 1);
    a.refuse(&name("bob"), &name("alice"), handle(1)).await.unwrap();
    let row = a.row(&name("alice"), handle(1), NOW).await.unwrap().unwrap();
    assert_eq!((row.shown(), row.intro), (RowState::Accepted, Some(blob("again"))));
    // The same again is declined already, another one is not.
    assert!(ask(a, "alice", 1, "bob", "again", NOW).await);
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    assert!(ask(a, "alice", 1, "bob", "please", NOW).await);
    assert_eq!(a.requests(&name("bob"), NOW, 9).await.unwrap()[0].intro, blob("please"));
    a.sweep(NOW + ASK_LIFE).await.unwrap();
    let row = a.row(&name("alice"), handle(1), NOW).await.unwrap().unwrap();
    assert_eq!((row.shown(), row.intro), (RowState::Accepted, None));
}

async fn crossing(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    user(a, "bob", 2).await;
    assert!(ask(a, "alice", 1, "bob", "from alice", NOW).await);
    assert!(ask(a, "bob", 2, "alice", "from bob", NOW).await);
    assert!(a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap().theirs);
    // Bob's own question is not answered by that.
    assert_eq!(a.requests(&name("alice"), NOW, 9).await.unwrap()[0].intro, blob("from bob"));
    assert!(a.approve(yes("alice", 1, "bob", 2), NOW).await.unwrap().theirs);
    let alice = a.row(&name("alice"), handle(1), NOW).await.unwrap().unwrap();
    let bob = a.row(&name("bob"), handle(2), NOW).await.unwrap().unwrap();
    assert_eq!(alice.approval, Some(blob("bob says yes")));
    assert_eq!(bob.approval, Some(blob("alice says yes")));
    assert_eq!((alice.open_to(), bob.open_to()), (Some(handle(2)), Some(handle(1))));
    // A handle that is another contact's is not given away.
    user(a, "carol", 3).await;
    assert!(ask(a, "carol", 3, "bob", "from carol", NOW).await);
    let taken = a.approve(yes("bob", 2, "carol", 3), NOW).await.unwrap();
    assert!(!taken.theirs && taken.own.is_none());
}

/// Whoever approved what was withdrawn is a contact after all when it is asked again.
async fn a_claim_comes_true(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    user(a, "bob", 2).await;
    assert!(!a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap().theirs);
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    assert!(a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap().theirs);
    assert!(ask(a, "bob", 2, "alice", "keys", NOW).await);
    assert_eq!(a.requests(&name("alice"), NOW, 9).await.unwrap()[0].intro, blob("keys"));
    // Once agreed stays agreed, also when the other row is gone.
    a.remove(&name("alice"), handle(1)).await.unwrap();
    assert!(!a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap().theirs);
    assert_eq!(a.requests(&name("alice"), NOW, 9).await.unwrap().len(), 1);
}

async fn refusing_and_blocking(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    a.refuse(&name("carol"), &name("alice"), handle(1)).await.unwrap();
    assert_eq!(a.requests(&name("bob"), NOW, 9).await.unwrap().len(), 1);
    a.refuse(&name("bob"), &name("alice"), handle(1)).await.unwrap();
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    let row = a.row(&name("alice"), handle(1), NOW).await.unwrap().unwrap();
    assert_eq!(row.shown(), RowState::Asked);
    assert!(!a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap().theirs);
    // The same question stays declined, a new one is asked.
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    assert!(ask(a, "alice", 1, "bob", "please", NOW).await);
    assert_eq!(a.requests(&name("bob"), NOW, 9).await.unwrap().len(), 1);
    // Blocked, nobody sees it and nobody can answer.
    let blocked = a.block(&name("alice"), handle(1), true).await.unwrap().unwrap();
    assert_eq!(blocked.shown(), RowState::Blocked);
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    assert!(!a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap().theirs);
    assert!(!ask(a, "alice", 1, "bob", "more", NOW).await);
    a.block(&name("alice"), handle(1), false).await.unwrap();
    assert!(a.approve(yes("bob", 2, "alice", 1), NOW).await.unwrap().theirs);
    assert!(a.block(&name("alice"), handle(9), true).await.unwrap().is_none());
    a.remove(&name("alice"), handle(1)).await.unwrap();
    a.remove(&name("alice"), handle(1)).await.unwrap();
    assert!(rows(a, 1, NOW).await.is_empty());
}

async fn deleting(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    user(a, "bob", 2).await;
    assert!(ask(a, "alice", 1, "bob", "intro", NOW).await);
    assert!(ask(a, "bob", 2, "alice", "intro", NOW).await);
    invite(a, "alice", token(8), true).await;
    assert_eq!(a.count().await.unwrap(), 2);
    assert!(a.delete(&name("alice")).await.unwrap());
    assert!(!a.delete(&name("alice")).await.unwrap());
    assert_eq!(
        a.users().await.unwrap(),
        [User { name: name("bob"), disabled: false, created: NOW }]
    );
    assert!(a.attach(key(1), NOW, 1).await.unwrap().is_none());
    assert_eq!(a.record(&name("alice")).await.unwrap(), None);
    assert!(a.requests(&name("bob"), NOW, 9).await.unwrap().is_empty());
    assert_eq!(a.join(token(1), key(1), record(1), NOW, MOST).await.unwrap(), None);
    assert_eq!(a.join(token(8), key(8), record(8), NOW, MOST).await.unwrap(), None);
    // The name is never given again; what others asked it stays theirs.
    let anew = OpenInvite { name: name("alice"), expires: NOW + 1 };
    for reset in [false, true] {
        assert_eq!(
            a.create_invite(anew.clone(), token(9), reset, MOST).await,
            Err(Unwilling::Retired(name("alice")))
        );
    }
    assert_eq!(rows(a, 2, NOW).await.len(), 1);
}

async fn passwords(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    a.set_record(&name("alice"), record(7)).await.unwrap();
    a.set_record(&name("nobody"), record(7)).await.unwrap();
    assert_eq!(a.record(&name("alice")).await.unwrap(), Some(record(7)));
    assert_eq!(a.record(&name("nobody")).await.unwrap(), None);
}

async fn many_at_once(accounts: Arc<dyn Accounts>) {
    let a = &*accounts;
    user(a, "alice", 1).await;
    let alice = name("alice");
    let asked: Vec<_> = (0..100)
        .map(|n| a.ask(&alice, handle(n), &name(&format!("user{n}")), blob("intro"), NOW))
        .collect();
    for ask in asked {
        assert!(ask.await.unwrap().is_some());
    }
    assert_eq!(rows(a, 1, NOW).await.len(), 100);
}

/// Runs the suite on an implementation.
macro_rules! suite {
    ($module:ident, $new:expr) => {
        mod $module {
            use super::*;

            suite!(@cases $new; invites devices_and_marks
                a_new_device_cancels_what_the_old_one_asked asking redeeming approving crossing
                a_claim_comes_true
                refusing_and_blocking deleting passwords many_at_once);
        }
    };
    (@cases $new:expr; $($case:ident)*) => {$(
        #[tokio::test]
        async fn $case() {
            let (accounts, _kept) = $new;
            super::$case(accounts).await;
        }
    )*};
}

fn in_memory() -> (Arc<dyn Accounts>, ()) {
    (Arc::new(super::store::Store::in_memory().unwrap()), ())
}

fn in_a_file() -> (Arc<dyn Accounts>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("accounts.redb");
    super::store::Store::create(&file).unwrap();
    let store = super::store::Store::open(&file).unwrap();
    (Arc::new(store), folder)
}

suite!(redb_in_memory, in_memory());
suite!(redb_in_a_file, in_a_file());

#[tokio::test]
async fn a_store_is_found_again_and_its_backup_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (file, copy) = (folder.path().join("a.redb"), folder.path().join("b.redb"));
    {
        super::store::Store::create(&file).unwrap();
        let store = super::store::Store::open(&file).unwrap();
        user(&store, "alice", 1).await;
        assert!(ask(&store, "alice", 1, "bob", "intro", NOW).await);
        store.backup(copy.clone()).await.unwrap();
        assert_eq!(store.backup(copy.clone()).await, Err(Unwilling::FileExists(copy.clone())));
    }
    for file in [file, copy] {
        let store = super::store::Store::open(&file).unwrap();
        assert_eq!(store.count().await.unwrap(), 1);
        assert_eq!(rows(&store, 1, NOW).await.len(), 1);
        assert_eq!(store.requests(&name("bob"), NOW, 9).await.unwrap().len(), 1);
    }
    let empty = folder.path().join("empty.redb");
    std::fs::write(&empty, []).unwrap();
    assert!(super::store::Store::open(&empty).is_err());
    assert!(super::store::Store::open(&folder.path().join("missing.redb")).is_err());
}
