//! A call to the disk fails: the first, the second, and so on, until there is none more. Whoever
//! waits for it is told, and everything goes on once the disk works again.

use std::io::ErrorKind as Io;
use std::sync::Arc;

use ams_crypto::introduction;
use ams_crypto::token::TokenHash;
use ams_relay::accounts::store::Store;
use ams_relay::accounts::{Accounts, AccountsError, Approval, OpenInvite, Unwilling};
use ams_rpc::ErrorKind;
use ams_rpc::client::CallError;
use ams_rpc::methods::{contact, daemon, inbox, message, presence, relay};
use ams_rpc::types::{
    ContactParams, InboxAckParams, LinkState, MessageId, MessageParams, NoParams, PresenceParams,
    RelayParams, SendParams, Stage, Visibility,
};
use ams_tests::Person;
use ams_tests::disk::{Disk, Trouble};
use ams_wire::id::{Blob, Handle, Key, WorkMark};
use ams_wire::username::Username;

use super::workload::{Recorded, Told, Who};

/// A full disk stays full until somebody makes room; other errors may be over at once.
const TROUBLES: [(Io, bool); 3] =
    [(Io::StorageFull, true), (Io::StorageFull, false), (Io::Other, false)];

/// A message that comes in needs fewer calls to the disk.
const MOST_CALLS: usize = 200;

/// What a user does.
#[derive(Debug, Clone)]
enum Step {
    Send(MessageId),
    Read,
    Hide,
    Block,
    Unblock,
    Show,
}

async fn take(step: &Step, recorded: &Recorded) -> Result<(), CallError> {
    let alice = &recorded.alice;
    let bob = ContactParams { name: "bob".to_owned() };
    match step {
        Step::Send(id) => {
            let params = SendParams { id: Some(*id), ..SendParams::new("bob", format!("{id}")) };
            alice.try_call::<message::Send>(params).await.map(|_| ())
        }
        Step::Read => {
            let reader = alice.reader("default").await;
            let batch = reader.look(reader.next()).await?;
            let Some(cursor) = batch.cursor else { return Ok(()) };
            let params = InboxAckParams { reader: "default".to_owned(), cursor };
            alice.try_call::<inbox::Ack>(params).await.map(|_| ())
        }
        Step::Hide => {
            let params = PresenceParams { presence: Visibility::Invisible };
            alice.try_call::<presence::Set>(params).await.map(|_| ())
        }
        Step::Show => {
            let params = PresenceParams { presence: Visibility::Visible };
            alice.try_call::<presence::Set>(params).await.map(|_| ())
        }
        Step::Block => alice.try_call::<contact::Block>(bob).await.map(|_| ()),
        Step::Unblock => alice.try_call::<contact::Unblock>(bob).await.map(|_| ()),
    }
}

fn message_id() -> MessageId {
    MessageId(ams_crypto::random::bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_says_what_its_disk_refuses_and_goes_on() {
    let recorded = Recorded::begin().await;
    recorded.meet().await;
    let disk = recorded.disk(Who::Alice);
    let mut sent = Vec::new();
    for (kind, lasts) in TROUBLES {
        recorded.send(Who::Bob, "alice", Told::Then).await;
        let id = message_id();
        sent.push(id);
        let steps =
            [Step::Send(id), Step::Read, Step::Hide, Step::Show, Step::Block, Step::Unblock];
        for step in steps {
            let mut told = 0;
            for after in 0.. {
                disk.fail(Trouble { after, kind, lasts, hidden: false });
                let answer = take(&step, &recorded).await;
                let failed = disk.mend();
                if let Err(error) = answer {
                    assert!(failed > 0, "{step:?}, call {after}: {error}");
                    let CallError::Failed(failure) = &error else {
                        panic!("{step:?}, call {after}: {error}");
                    };
                    let storage = [ErrorKind::Storage, ErrorKind::StorageFull];
                    assert!(storage.iter().any(|kind| failure.is(*kind)), "{step:?}: {error}");
                    told += 1;
                }
                // It is there, and knows what it knew.
                recorded.alice.call::<daemon::Status>(NoParams {}).await;
                if failed == 0 {
                    break;
                }
            }
            take(&step, &recorded).await.unwrap();
            assert!(told > 0 || matches!(step, Step::Read), "{step:?}: nothing failed");
        }
    }
    for id in sent {
        recorded.alice.reaches(id, Stage::Delivered).await;
    }
    recorded.alice.queue_is_empty().await;
    recorded.bob.queue_is_empty().await;
    let got = recorded.bob.receives(TROUBLES.len()).await;
    assert_eq!(got.len(), TROUBLES.len());
    assert_eq!(recorded.bob.unread().await, 0, "something came twice");
    recorded.stop().await;
}

/// Bob's disk fails at every call while a message comes in: it comes in later, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_while_a_message_comes_in_costs_only_time() {
    let recorded = Recorded::begin().await;
    recorded.meet().await;
    let disk = recorded.disk(Who::Bob);
    let mut sent = Vec::new();
    for after in 0..MOST_CALLS {
        disk.fail(Trouble { after, kind: Io::Other, lasts: false, hidden: false });
        let id = recorded.send(Who::Alice, "bob", Told::Then).await;
        comes_in(&recorded.bob, id).await;
        recorded.alice.reaches(id, Stage::Delivered).await;
        sent.push(id);
        if disk.mend() == 0 {
            break;
        }
    }
    assert!((10..MOST_CALLS).contains(&sent.len()), "{} calls", sent.len());
    let got = recorded.bob.receives(sent.len()).await;
    let got: Vec<MessageId> = got.into_iter().map(|message| message.id).collect();
    assert_eq!(got, sent);
    assert_eq!(recorded.bob.unread().await, 0);
    recorded.stop().await;
}

/// Waits until a message is there; where the link rests after the disk failed, the user hurries it.
async fn comes_in(bob: &Person, id: MessageId) {
    bob.until(format!("{id}"), move |client| {
        let home = || RelayParams { nick: "home".to_owned() };
        let relays = client.call::<relay::List>(&NoParams {}).ok()?.relays;
        if relays[0].state == LinkState::Down {
            client.call::<relay::Connect>(&home()).ok()?;
        }
        let shown = MessageParams { id, contact: None };
        client.call::<message::Show>(&shown).ok().map(|_| ())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_disk_that_fails_says_so_and_the_next_one_starts() {
    let recorded = Recorded::begin().await;
    let (alice, disk) = (&recorded.alice, recorded.disk(Who::Alice));
    for (kind, lasts) in TROUBLES {
        let mut refused = 0;
        for after in 0.. {
            alice.stop().await;
            disk.fail(Trouble { after, kind, lasts, hidden: false });
            let started = alice.try_start().await;
            let failed = disk.mend();
            match started {
                Ok(()) if failed == 0 => break,
                Ok(()) => {}
                Err(error) => {
                    refused += 1;
                    let said = error.to_string();
                    let expected =
                        if kind == Io::StorageFull { "the disk is full" } else { "the store" };
                    assert!(said.contains(expected) && failed > 0, "call {after}: {said}");
                    alice.start().await;
                }
            }
        }
        assert!(refused > 0 || kind == Io::StorageFull, "nothing failed");
    }
    recorded.stop().await;
}

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
