//! A call to the disk of a relay's accounts fails: the first, the second, and so on, until there is none
//! more. Whoever waits for it is told, and everything goes on once the disk works again.

use std::io::ErrorKind as Io;
use std::sync::Arc;

use ams_crypto::introduction;
use ams_crypto::token::TokenHash;
use ams_relay::accounts::store::Store;
use ams_relay::accounts::{Accounts, AccountsError, Approval, OpenInvite, Unwilling};
use ams_tests::disk::{Disk, Trouble};
use ams_wire::id::{Blob, Handle, Key, WorkMark};
use ams_wire::username::Username;

use super::errors::TROUBLES;

const NOW: u64 = 1_794_000_000;

fn name(text: &str) -> Username {
    Username::new(text).unwrap()
}

/// What an operation of the relay's store answered, as far as it matters.
type Answer = Result<String, AccountsError>;

fn done(answer: Result<impl std::fmt::Debug, AccountsError>) -> Answer {
    answer.map(|done| format!("{done:?}"))
}

fn wished(answer: Result<(), Unwilling>) -> Answer {
    match answer {
        Err(Unwilling::Accounts(error)) => Err(error),
        other => Ok(format!("{other:?}")),
    }
}

/// A life of accounts: invites, devices, contacts, marks, an end. Each step may be done again.
async fn operate(store: &Store, step: usize) -> Option<Answer> {
    let (alice, bob) = (name("alice"), name("bob"));
    let (key, blob) = (|n| Key([n; 32]), |text: &str| Blob::new(text.as_bytes().to_vec()).unwrap());
    let handle = |n| Handle([n; 16]);
    let invite = |who: &Username| OpenInvite { name: who.clone(), expires: NOW + 1000 };
    let approval = || Approval {
        by: bob.clone(),
        to: alice.clone(),
        their_handle: handle(1),
        handle: handle(2),
        blob: blob("approval"),
        link: None,
        intro: introduction::id(b"intro"),
    };
    let mark = |counter| WorkMark { counter, nonce: [1; 8] };
    let device = |n| store.attach(key(n), NOW, 9);
    Some(match step {
        0 => wished(store.create_invite(invite(&alice), TokenHash([1; 32]), false, 9).await),
        1 => done(store.join(TokenHash([1; 32]), key(1), [1; 192], NOW, 9).await),
        2 => wished(store.create_invite(invite(&bob), TokenHash([2; 32]), false, 9).await),
        3 => done(store.join(TokenHash([2; 32]), key(2), [2; 192], NOW, 9).await),
        4 => done(store.ask(&alice, handle(1), &bob, blob("intro"), NOW).await),
        5 => done(store.approve(approval(), NOW).await),
        6 => done(store.fetched(&alice, handle(1), introduction::approval_id(b"approval")).await),
        7 => done(device(1).await),
        8 => {
            let enrolment = match device(1).await {
                Ok(attached) => attached.unwrap().0.enrolment,
                Err(error) => return Some(Err(error)),
            };
            done(store.mark(&alice, enrolment, mark(7)).await)
        }
        9 => done(store.block(&alice, handle(1), true).await),
        10 => done(store.set_record(&bob, [3; 192]).await),
        11 => done(store.enrol(&bob, key(3)).await),
        12 => wished(store.set_disabled(&bob, true).await),
        13 => done(store.ask(&alice, handle(4), &bob, blob("again"), NOW).await),
        14 => done(store.refuse(&bob, &alice, handle(4)).await),
        15 => done(store.sweep(NOW + 30 * 24 * 3600).await),
        16 => done(store.remove(&alice, handle(1)).await),
        17 => done(store.delete(&alice).await),
        _ => return None,
    })
}

#[tokio::test]
async fn the_relays_store_says_what_its_disk_refuses_and_goes_on() {
    for (kind, lasts) in TROUBLES {
        // What everything looks like where nothing fails.
        let calm = Store::on(Disk::new(Vec::new())).unwrap();
        let disk = Disk::new(Vec::new());
        let store = Store::on(Arc::clone(&disk) as _).unwrap();
        let mut step = 0;
        while let Some(expected) = operate(&calm, step).await {
            expected.unwrap();
            let mut told = 0;
            for after in 0.. {
                disk.fail(Trouble { after, kind, lasts, hidden: false });
                let answer = operate(&store, step).await.unwrap();
                let failed = disk.mend();
                if let Err(error) = answer {
                    assert!(failed > 0, "step {step}, call {after}: {error}");
                    let is_full = error == AccountsError::Full;
                    assert_eq!(is_full, kind == Io::StorageFull, "step {step}: {error}");
                    told += 1;
                }
                if failed == 0 {
                    break;
                }
            }
            // Done at last, or by the try that did not know it.
            operate(&store, step).await.unwrap().unwrap();
            assert!(told > 0 || step == 7, "step {step}: nothing failed");
            assert_eq!(all_of(&store).await, all_of(&calm).await, "after step {step}");
            step += 1;
        }
        assert_eq!(step, 18);
    }
}

/// Everything that clients and administrators are shown, but the numbers that are drawn anew.
async fn all_of(store: &Store) -> String {
    let users = store.users().await.unwrap();
    let mut all = format!("{users:?} {:?}", store.invites(NOW).await.unwrap());
    for user in users {
        all.push_str(&format!(" {:?}", store.record(&user.name).await.unwrap()));
        all.push_str(&format!(" {:?}", store.requests(&user.name, NOW, 9).await.unwrap()));
    }
    for device in 1..=3 {
        if let Some((device, snapshot)) = store.attach(Key([device; 32]), NOW, 9).await.unwrap() {
            all.push_str(&format!(" {} {:?} {snapshot:?}", device.name, device.mark));
        }
    }
    all
}

/// The control: a disk that does not say that it failed.
#[tokio::test]
async fn a_disk_that_hides_its_errors_is_noticed() {
    let mut noticed = 0;
    for after in 0..12 {
        let disk = Disk::new(Vec::new());
        let store = Store::on(Arc::clone(&disk) as _).unwrap();
        operate(&store, 0).await.unwrap().unwrap();
        disk.fail(Trouble { after, kind: Io::Other, lasts: false, hidden: true });
        // It may notice at once; the engine stops the process where it cannot make sense of a page.
        let joined = tokio::spawn(async move { operate(&store, 1).await.unwrap() }).await;
        assert_eq!(disk.mend(), 1, "call {after}");
        let bytes = disk.bytes();
        let reopened = tokio::spawn(async move {
            let store = Store::on(Disk::new(bytes)).ok()?;
            store.users().await.ok().filter(|users| users.len() == 1)
        });
        let is_there = reopened.await.is_ok_and(|users| users.is_some());
        noticed += usize::from(!joined.is_ok_and(|answer| answer.is_ok()) || !is_there);
    }
    assert!(noticed > 0);
}
