//! One daemon's link to a relay that says what a test wants it to say.

use std::collections::BTreeSet;

use ams_rpc::types::{Fact as Event, LinkState};
use ams_wire::from_relay::{Bye, Deliver, FromRelay, Outcome, Presence, RelayHello, Row, RowState};
use ams_wire::id::{EnvelopeId, Handle, RootTag, WorkMark};
use ams_wire::limits::MIN_ENVELOPE;
use ams_wire::to_relay::ToRelay;
use ams_wire::username::Username;

use super::*;
use crate::contacts::ContactId;
use crate::relay::scripted::{Daemon, HOME, Relay, hello};
use crate::relay::{AccountError, LinkEvent, Parcel, chores, row};
use crate::session::seal::CipherKey;

const BOB: Handle = Handle([2; 16]);

fn envelope(id: u8) -> Vec<u8> {
    vec![id; MIN_ENVELOPE]
}

fn parcel(ctr: Option<u64>) -> Parcel {
    let key = ctr.map(|ctr| CipherKey { contact: ContactId(1), root: RootTag([0; 8]), ctr });
    Parcel { handle: BOB, ttl: 0, mark: WorkMark::default(), envelope: envelope(1), key }
}

#[tokio::test]
async fn what_the_relay_counts_is_taken() {
    let relay = Relay::start().await;
    let mut alice = Daemon::at(&relay).await;
    let mut wire = relay.attach().await;
    let link = alice.up().await;
    assert!(link.offer(vec![parcel(Some(1)), parcel(None), parcel(Some(2))]).is_ok());
    for _ in 0..3 {
        wire.hear(|said| matches!(said, ToRelay::Send(send) if send.handle == BOB).then_some(()))
            .await;
    }
    let failed = EnvelopeId([1; 16]);
    wire.say(&[FromRelay::Accepted(3), FromRelay::Failed(failed)]).await;
    match alice.events.recv().await {
        Some(LinkEvent::Taken { keys, .. }) => {
            assert_eq!(keys.iter().map(|key| key.ctr).collect::<Vec<_>>(), [1, 2]);
        }
        _ => panic!("nothing was taken"),
    }
    let Some(LinkEvent::Failed { envelope, .. }) = alice.events.recv().await else { panic!() };
    assert_eq!(envelope, failed);
    // A count of what was never sent ends the link.
    wire.say(&[FromRelay::Accepted(4)]).await;
    assert!(matches!(alice.events.recv().await, Some(LinkEvent::Down { .. })));
    assert!(link.offer(vec![parcel(None)]).is_err());
}

#[tokio::test]
async fn also_junk_is_counted_as_handled_so_that_it_blocks_nothing() {
    let relay = Relay::start().await;
    let mut alice = Daemon::at(&relay).await;
    let mut wire = relay.attach().await;
    alice.up().await;
    let junk = envelope(9);
    let deliver = FromRelay::Deliver(Deliver { handle: BOB, envelope: &junk });
    wire.say(&[deliver.clone(), deliver]).await;
    let mut count = 0;
    while count < 2 {
        let stored = wire.hear(|said| match said {
            ToRelay::Stored(stored) => Some(stored.count),
            _ => None,
        });
        let next = stored.await;
        assert!(next > count);
        count = next;
        let Some(LinkEvent::Handled { of, .. }) = alice.events.recv().await else { panic!() };
        assert!(of.iter().all(|accepted| accepted.from.is_none()));
    }
    assert_eq!(count, 2);
}

#[tokio::test]
async fn a_lost_link_comes_back_by_itself() {
    let relay = Relay::start().await;
    let mut alice = Daemon::at(&relay).await;
    let mut wire = relay.attach().await;
    alice.up().await;
    assert!(alice.live.is_up(HOME));
    wire.say(&[FromRelay::Bye(Bye::Draining)]).await;
    let Some(LinkEvent::Down { reason, .. }) = alice.events.recv().await else { panic!() };
    assert_eq!(reason, "the relay is stopping or restarting");
    alice.links.connect(HOME);
    let _wire = relay.attach().await;
    alice.up().await;
    alice.links.stop().await;
    let Some(LinkEvent::Down { reason, .. }) = alice.events.recv().await else { panic!() };
    assert_eq!(reason, "disconnected");
}

#[tokio::test]
async fn a_daemon_that_stops_says_goodbye() {
    let relay = Relay::start().await;
    let mut alice = Daemon::at(&relay).await;
    let mut wire = relay.attach().await;
    alice.up().await;
    alice.links.stop().await;
    wire.hear(|said| matches!(said, ToRelay::Bye).then_some(())).await;
}

#[tokio::test]
async fn a_refused_device_is_asked_about_when_the_user_wants_it() {
    let relay = Relay::start().await;
    let mut alice = Daemon::at(&relay).await;
    let mut wire = relay.accept().await;
    wire.hear_attach().await;
    wire.say(&[hello(), FromRelay::Refused]).await;
    while alice.live.link(HOME).is_none_or(|link| link.state != LinkState::Refused) {
        tokio::task::yield_now().await;
    }
    assert_eq!(alice.row().await.refused, Some(Refusal::Replaced));
    let password = |text: &str| ams_crypto::opaque::Password::new(text.to_owned()).unwrap();
    let accounts = alice.accounts();
    let changed = accounts.password("home", password("old-password"), password("new-password"));
    assert!(matches!(changed.await, Err(AccountError::DeviceRefused(_))));
    accounts.connect("home").await.unwrap();
    let _wire = relay.attach().await;
    alice.up().await;
    assert_eq!(alice.row().await.refused, None);
}

/// An account that was disabled for a while works again by itself.
#[tokio::test]
async fn a_relay_that_refuses_is_asked_again_after_minutes() {
    let relay = Relay::start().await;
    let mut alice = Daemon::at(&relay).await;
    let mut wire = relay.accept().await;
    wire.hear_attach().await;
    wire.say(&[hello(), FromRelay::Refused]).await;
    while alice.row().await.refused.is_none() {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5 * 60)).await;
    tokio::time::resume();
    let _wire = relay.attach().await;
    alice.up().await;
    assert_eq!(alice.row().await.refused, None);
}

#[tokio::test]
async fn a_copy_of_a_profile_stops_and_goes_on_behind_the_relays_counter() {
    let relay = Relay::start().await;
    let mut alice = Daemon::at(&relay).await;
    let mut wire = relay.accept().await;
    assert_eq!(wire.hear_attach().await.mark, WorkMark::default());
    wire.say(&[hello(), FromRelay::Cloned(41)]).await;
    loop {
        match alice.told.recv().await {
            Some(Event::StateCloned(_)) => break,
            // Of the link, which is refused: told by another task.
            Some(Event::RelayDown(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    let cloned = alice.accounts().connect("home").await;
    assert!(matches!(cloned, Err(AccountError::Cloned(_))));
    for _ in 0..2 {
        // The second time there is nothing left to do.
        alice.accounts().resume("home").await.unwrap();
    }
    let mut wire = relay.accept().await;
    assert_eq!(wire.hear_attach().await.mark.counter, 42);
    wire.say(&[hello(), FromRelay::Attached, FromRelay::SnapshotEnd]).await;
    alice.up().await;
}

#[tokio::test]
async fn chores_are_told_until_they_are_answered() {
    let relay = Relay::start().await;
    let mut alice = Daemon::at(&relay).await;
    alice.write(|txn| chores::push(txn, HOME, &ToRelay::Block(BOB))).await;
    let mut wire = relay.attach().await;
    wire.hear(|said| matches!(said, ToRelay::Block(BOB)).then_some(())).await;
    alice.up().await;
    drop(wire);
    assert!(matches!(alice.events.recv().await, Some(LinkEvent::Down { .. })));
    alice.links.connect(HOME);
    let mut wire = relay.attach().await;
    wire.hear(|said| matches!(said, ToRelay::Block(BOB)).then_some(())).await;
    alice.up().await;
    wire.say(&[FromRelay::Done(Outcome::Ok)]).await;
    // One that comes while the link is up; it begins only when the one before it is off the disk.
    alice.write(|txn| chores::push(txn, HOME, &ToRelay::Remove(BOB))).await;
    wire.hear(|said| matches!(said, ToRelay::Remove(BOB)).then_some(())).await;
    let left = alice.write(|txn| chores::waiting(txn, HOME)).await;
    assert_eq!(left.len(), 1);
    // A refused one is not told again.
    wire.say(&[FromRelay::Done(Outcome::Refused)]).await;
    while !alice.write(|txn| chores::waiting(txn, HOME)).await.is_empty() {}
}

/// Whatever was said and heard before the line broke, the next link begins from the start, shows
/// what is asked of it, and what waits to be told is told.
#[tokio::test]
async fn a_link_that_dies_at_any_step_of_an_attach_comes_back() {
    let relay = Relay::start().await;
    let mut alice = Daemon::at(&relay).await;
    alice.write(|txn| chores::push(txn, HOME, &ToRelay::Block(BOB))).await;
    let presence = FromRelay::Presence(Presence { online: vec![BOB], offline: Vec::new() });
    let left_over = Handle([3; 16]);
    let row = FromRelay::Row(Row {
        handle: left_over,
        peer: Username::new("bob").unwrap(),
        state: RowState::Accepted,
        approval: None,
    });
    let junk = envelope(9);
    let steps = [
        hello(),
        FromRelay::Attached,
        row,
        presence,
        FromRelay::Deliver(Deliver { handle: BOB, envelope: &junk }),
        FromRelay::SnapshotEnd,
    ];
    for said in 0..=steps.len() {
        let mut wire = relay.accept().await;
        if said > 0 {
            wire.hear_attach().await;
        }
        wire.say(&steps[..said]).await;
        if said == steps.len() {
            let mut heard = BTreeSet::new();
            while heard.len() < 3 {
                heard.insert(wire.hear(|said| Some(format!("{said:?}"))).await);
            }
        }
        drop(wire);
        // Who is online was told: that it is not known any more is told, too.
        if said >= 2 {
            while !matches!(alice.events.recv().await, Some(LinkEvent::Down { .. })) {}
        }
        alice.links.connect(HOME);
    }
    let mut wire = relay.attach().await;
    // Somebody was blocked, and a row that nobody here knows was shown: it is left over.
    let mut told = Vec::new();
    while told.len() < 2 {
        let next = wire.hear(|said| match said {
            ToRelay::Block(row) | ToRelay::Remove(row) => Some(*row),
            _ => None,
        });
        told.push(next.await);
    }
    assert_eq!(told, [BOB, left_over]);
    wire.say(&[FromRelay::Done(Outcome::Ok), FromRelay::Done(Outcome::Ok)]).await;
    alice.up().await;
    while !alice.write(|txn| chores::waiting(txn, HOME)).await.is_empty() {}
}

#[tokio::test]
async fn a_change_of_visibility_is_told_at_once() {
    let relay = Relay::start().await;
    let mut alice = Daemon::at(&relay).await;
    let mut wire = relay.accept().await;
    assert!(wire.hear_attach().await.visible);
    wire.say(&[hello(), FromRelay::Attached, FromRelay::SnapshotEnd]).await;
    alice.up().await;
    alice.settings.send_modify(|settings| settings.visible = false);
    wire.hear(|said| matches!(said, ToRelay::SetPresence(false)).then_some(())).await;
    alice.settings.send_modify(|settings| settings.visible = true);
    wire.hear(|said| matches!(said, ToRelay::SetPresence(true)).then_some(())).await;
}

#[tokio::test]
async fn marks_travel_with_what_was_done_under_them() {
    let relay = Relay::start().await;
    let mut alice = Daemon::at(&relay).await;
    let mark = alice.write(|txn| row::raise_mark(txn, HOME)).await;
    let mut wire = relay.attach().await;
    alice.up().await;
    let newer = alice.write(|txn| row::raise_mark(txn, HOME)).await;
    assert_eq!(newer.counter, mark.counter.saturating_add(1));
    let junk = envelope(9);
    wire.say(&[FromRelay::Deliver(Deliver { handle: BOB, envelope: &junk })]).await;
    let stored = wire.hear(|said| match said {
        ToRelay::Stored(stored) => Some(stored.mark),
        _ => None,
    });
    assert_eq!(stored.await, newer);
}

#[tokio::test]
async fn out_of_turn_frames_end_the_link() {
    let relay = Relay::start().await;
    let alice = Daemon::at(&relay).await;
    for wrong in [
        vec![FromRelay::Attached],
        vec![FromRelay::Hello(RelayHello { version: 9, window: 60 })],
        vec![hello(), FromRelay::SnapshotEnd],
        vec![hello(), FromRelay::Attached, FromRelay::Done(Outcome::Ok)],
        vec![hello(), FromRelay::Attached, FromRelay::SnapshotEnd, FromRelay::SnapshotEnd],
    ] {
        let mut wire = relay.accept().await;
        wire.hear_attach().await;
        wire.say(&wrong).await;
        while wire.rx.receive().await.is_ok() {}
        alice.links.connect(HOME);
    }
    let reason = alice.live.link(HOME).and_then(|link| link.reason).unwrap();
    assert!(reason.contains("makes no sense"), "{reason}");
}
