//! What every implementation of [`Accounts`] has to do. Each case gets a new, empty one.

use std::sync::Arc;

use ams_crypto::introduction;
use ams_crypto::token::{Token, TokenHash};
use ams_wire::from_relay::RowState;
use ams_wire::id::{ApprovalId, Blob, Handle, IntroId, Key, RoutingId, WorkMark};
use ams_wire::username::Username;

use super::row::ContactRow;
use super::{ASK_LIFE, Accounts, Approval, Enrolled, Invited, OpenInvite, Record, Unwilling, User};

mod contacts;

use contacts::{
    a_claim_comes_true, approving, asking, asking_anew, crossing, redeeming, refusing_and_blocking,
};

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
        intro: intro_id("intro"),
    }
}

fn intro_id(intro: &str) -> IntroId {
    introduction::id(intro.as_bytes())
}

fn approval_id(by: &str) -> ApprovalId {
    introduction::approval_id(format!("{by} says yes").as_bytes())
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
                asking_anew a_claim_comes_true
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
