//! A call to the disk of a daemon fails: the first, the second, and so on, until there is none more.
//! Whoever waits for it is told, and everything goes on once the disk works again.

use std::io::ErrorKind as Io;
use std::sync::Arc;
use std::time::Duration;

use ams_rpc::ErrorKind;
use ams_rpc::client::CallError;
use ams_rpc::methods::{daemon, message, presence};
use ams_rpc::types::{MessageId, MessageParams, NoParams, PresenceParams, Stage, Visibility};
use ams_tests::disk::{Disk, Trouble};
use ams_tests::{Net, Person};
use tokio::time::timeout;

use super::steps::{STEPS, User, hurry};
use super::workload::{Recorded, Told, Who};

/// A full disk stays full until somebody makes room; other errors may be over at once.
pub(super) const TROUBLES: [(Io, bool); 3] =
    [(Io::StorageFull, true), (Io::StorageFull, false), (Io::Other, false)];

/// A message that comes in needs fewer calls to the disk.
const MOST_CALLS: usize = 200;
/// An answer that takes longer does not come.
const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_says_that_its_disk_is_full_and_goes_on() {
    everything_is_told(Io::StorageFull, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_says_that_its_disk_was_full_and_goes_on() {
    everything_is_told(Io::StorageFull, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_says_what_its_disk_refuses_and_goes_on() {
    everything_is_told(Io::Other, false).await;
}

/// Whatever a user does and a daemon writes down, and every call to the disk that it takes.
async fn everything_is_told(kind: Io, lasts: bool) {
    let (user, mut told_of) = (User::new().await, 0);
    for &step in STEPS {
        user.prepare(step).await;
        let mut told = 0;
        for after in 0.. {
            user.disk().fail(Trouble { after, kind, lasts, hidden: false });
            let answer = user.takes(step).await;
            let failed = user.disk().mend();
            match answer {
                Err(error) if is_of_the_disk(&error) => {
                    assert!(failed > 0, "{step:?}, call {after}: {error}");
                    told += 1;
                }
                // A try before this one did it and could not say so.
                Err(error) => {
                    let is_done = step.is_done_once(&error) && after > 0;
                    assert!(is_done, "{step:?}, call {after}: {error}");
                }
                Ok(()) => {}
            }
            // It is there, and knows what it knew.
            user.alice().call::<daemon::Status>(NoParams {}).await;
            if failed == 0 {
                break;
            }
        }
        user.has(step).await;
        // A single failure may be that of something else which is written down just then.
        assert!(told > 0 || !lasts || step.writes_nothing(), "{step:?}: nothing failed");
        told_of += usize::from(told > 0);
    }
    assert!(told_of > STEPS.len() / 2, "{told_of} were told of a failure");
    user.ends().await;
}

fn is_of_the_disk(error: &CallError) -> bool {
    let storage = [ErrorKind::Storage, ErrorKind::StorageFull];
    matches!(error, CallError::Failed(failure) if storage.iter().any(|kind| failure.is(*kind)))
}

/// The control: a disk that does not say that it failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemons_disk_that_hides_its_errors_is_noticed() {
    let mut noticed = 0;
    for after in 0..8 {
        let net = Net::new().await;
        let disk = Disk::new(Vec::new());
        let alice = Arc::new(net.stranger_on("alice", Arc::clone(&disk)).await);
        disk.fail(Trouble { after, kind: Io::Other, lasts: false, hidden: true });
        let hidden = Arc::clone(&alice);
        let set = tokio::spawn(async move {
            let params = PresenceParams { presence: Visibility::Invisible };
            hidden.try_call::<presence::Set>(params).await
        });
        let was_set = matches!(timeout(LONG, set).await, Ok(Ok(Ok(_))));
        disk.mend();
        let bytes = disk.bytes();
        let again = tokio::spawn(async move {
            alice.stop().await;
            alice.put_disk(Disk::new(bytes)).await;
            alice.try_start().await.ok()?;
            Some(alice.status().await)
        });
        let is_set = matches!(
            timeout(LONG, again).await,
            Ok(Ok(Some(status))) if status.presence == Visibility::Invisible
        );
        noticed += usize::from(!was_set || !is_set);
    }
    assert!(noticed > 0);
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

/// Waits until a message is there.
async fn comes_in(bob: &Person, id: MessageId) {
    bob.until(format!("{id}"), move |client| {
        hurry(client)?;
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
