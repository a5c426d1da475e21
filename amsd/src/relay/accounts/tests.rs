//! Accounts are made, changed and left at a relay that says what a test wants it to say.

use ams_crypto::opaque::{Password, RelayAccounts};
use ams_rpc::types::LinkState;
use ams_wire::address::{HostPort, InviteLink, RelayLink};
use ams_wire::from_relay::{Bye, FromRelay, Outcome, PasswordResponse};
use ams_wire::id::InviteToken;
use ams_wire::to_relay::ToRelay;

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::clock::Clock;
use crate::contacts::ask::Asked;
use crate::relay::scripted::{Daemon, Relay, Wire, hello};
use crate::relay::{chores, mark, raise_mark};
use crate::store::Read;

/// For what would otherwise never end.
const PATIENCE: Duration = Duration::from_secs(30);
const TOKEN: InviteToken = InviteToken([5; 16]);

fn name(name: &str) -> Username {
    Username::new(name).unwrap()
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

fn at(relay: &Relay) -> HostPort {
    HostPort::from_socket(relay.listener.local_addr().unwrap())
}

fn invite(relay: &Relay) -> InviteLink {
    InviteLink { at: at(relay), relay: relay.public(), user: name("alice"), token: TOKEN }
}

fn address(relay: &Relay) -> RelayLink {
    RelayLink { at: at(relay), relay: relay.public() }
}

/// The relay's half of a registration, up to the record.
async fn register(wire: &mut Wire, keys: &RelayAccounts) -> [u8; 192] {
    wire.hear(|said| matches!(said, ToRelay::Hello(_)).then_some(())).await;
    let request = wire.hear(|said| match said {
        ToRelay::JoinStart(start) if start.token == TOKEN => Some(start.request),
        _ => None,
    });
    let response = keys.register(&name("alice"), &request.await).unwrap();
    wire.say(&[hello(), FromRelay::JoinResponse(response)]).await;
    let upload = wire.hear(|said| match said {
        ToRelay::JoinFinish(finish) => Some(finish.upload),
        _ => None,
    });
    upload.await
}

/// The relay's half of a login; whether it succeeded.
async fn log_in(wire: &mut Wire, keys: &RelayAccounts, record: &[u8; 192]) -> bool {
    wire.hear(|said| matches!(said, ToRelay::Hello(_)).then_some(())).await;
    let (user, ke1) = wire
        .hear(|said| match said {
            ToRelay::LoginStart(start) => Some((start.user.clone(), start.ke1)),
            _ => None,
        })
        .await;
    let (login, ke2) = keys.login(&user, Some(record), &ke1, &wire.handshake_hash).unwrap();
    wire.say(&[hello(), FromRelay::LoginResponse(Box::new(ke2))]).await;
    let Ok(batch) = wire.rx.receive().await else { return false };
    let ke3 =
        batch.into_iter().find_map(|frame| match ToRelay::decode(frame.number, &frame.body) {
            Ok(Some(ToRelay::LoginFinish(finish))) => Some(finish.ke3),
            _ => None,
        });
    ke3.is_some_and(|ke3| login.finish(&ke3).is_ok())
}

async fn find(daemon: &Daemon, nick: &'static str) -> Option<(RelayId, RelayRow)> {
    daemon.write(move |txn| by_nick(txn, nick)).await
}

/// Joins; gives the record that the relay keeps, and the link that came up.
async fn joined(daemon: &mut Daemon, relay: &Relay, keys: &RelayAccounts) -> ([u8; 192], Wire) {
    let accounts = daemon.accounts();
    let join = accounts.join(invite(relay), password("correct horse"), Some("home".to_owned()));
    let serve = async {
        let mut wire = relay.accept().await;
        let record = register(&mut wire, keys).await;
        wire.say(&[FromRelay::Enrolled]).await;
        (record, wire.remote)
    };
    let (joined, (record, device)) = tokio::join!(join, serve);
    joined.unwrap();
    let wire = relay.attach().await;
    // Later links are known by this key alone.
    assert_eq!(wire.remote, device);
    daemon.up().await;
    (record, wire)
}

#[tokio::test]
async fn an_interrupted_join_is_repeated_with_the_same_key() {
    let (relay, keys) = (Relay::start().await, RelayAccounts::generate().unwrap());
    let mut alice = Daemon::new().await;
    let accounts = alice.accounts();
    let join = accounts.join(invite(&relay), password("correct horse"), None);
    let serve = async {
        let mut wire = relay.accept().await;
        register(&mut wire, &keys).await;
        // The invite is spent, and the answer is lost.
        wire.remote
    };
    let (joined_once, device) = tokio::join!(join, serve);
    assert!(matches!(joined_once, Err(AccountError::Unreachable { .. })));
    assert!(find(&alice, "127.0.0.1").await.is_none());

    let (_, wire) = joined(&mut alice, &relay, &keys).await;
    assert_eq!(wire.remote, device);
    let (_, row) = find(&alice, "home").await.unwrap();
    assert_eq!((row.at, row.user), (at(&relay).to_string(), name("alice")));
    assert_eq!(alice.write(|txn| txn.list::<Relays>(&())).await.len(), 1);
}

#[tokio::test]
async fn a_refused_invite_changes_nothing() {
    let relay = Relay::start().await;
    let alice = Daemon::new().await;
    let accounts = alice.accounts();
    let join = accounts.join(invite(&relay), password("correct horse"), Some("home".to_owned()));
    let serve = async {
        let mut wire = relay.accept().await;
        wire.say(&[hello(), FromRelay::Refused]).await;
        wire
    };
    let (refused, _wire) = tokio::join!(join, serve);
    assert!(matches!(refused, Err(AccountError::InviteRefused)));
    assert!(find(&alice, "home").await.is_none());
}

#[tokio::test]
async fn who_answers_and_whether_is_said() {
    let (relay, other) = (Relay::start().await, Relay::start().await);
    let alice = Daemon::new().await;
    let accounts = alice.accounts();
    let wrong = InviteLink { at: at(&other), ..invite(&relay) };
    let serve = async {
        let (stream, _) = other.listener.accept().await.unwrap();
        let limit = std::time::Duration::from_secs(10);
        ams_link::handshake::accept(stream, &other.key, limit).await.map(drop)
    };
    let join = accounts.join(wrong, password("correct horse"), None);
    let (joined, served) = tokio::join!(join, serve);
    assert!(matches!(joined, Err(AccountError::WrongRelay { .. })));
    assert!(served.is_err());

    let nobody = invite(&relay);
    drop(relay);
    let joined = accounts.join(nobody, password("correct horse"), None).await;
    let error = joined.unwrap_err().to_string();
    assert!(error.ends_with("cannot be reached: connection refused"), "{error}");
}

#[tokio::test]
async fn a_login_takes_the_device_anew() {
    let (relay, keys) = (Relay::start().await, RelayAccounts::generate().unwrap());
    let mut alice = Daemon::new().await;
    let (record, mut wire) = joined(&mut alice, &relay, &keys).await;
    let (id, _) = find(&alice, "home").await.unwrap();
    let before = alice.write(move |txn| raise_mark(txn, id)).await;
    let accounts = alice.accounts();

    let login = accounts.login(address(&relay), name("alice"), password("wrong horse"), None);
    let serve = async {
        // The link that it has makes room first.
        wire.hear(|said| matches!(said, ToRelay::Bye).then_some(())).await;
        log_in(&mut relay.accept().await, &keys, &record).await
    };
    let (login, finished) = tokio::join!(login, serve);
    assert!(matches!(login, Err(AccountError::WrongPassword)));
    assert!(!finished);
    // The account is as it was, and connects again.
    assert_eq!(alice.write(move |txn| mark(txn, id)).await, before);
    let mut wire = relay.attach().await;

    let login = accounts.login(address(&relay), name("alice"), password("correct horse"), None);
    let serve = async {
        wire.hear(|said| matches!(said, ToRelay::Bye).then_some(())).await;
        let mut wire = relay.accept().await;
        assert!(log_in(&mut wire, &keys, &record).await);
        wire.say(&[FromRelay::Enrolled]).await;
    };
    assert_eq!(tokio::join!(login, serve).0.unwrap(), id);
    // Not set back: what was sealed before goes out with its mark, which may not be the newer one.
    assert_eq!(alice.write(move |txn| mark(txn, id)).await, before);
    relay.attach().await;

    let other = accounts.login(address(&relay), name("carol"), password("correct horse"), None);
    assert!(matches!(other.await, Err(AccountError::OtherAccount { .. })));
}

#[tokio::test]
async fn a_password_is_changed_over_the_accounts_own_link() {
    let (relay, keys) = (Relay::start().await, RelayAccounts::generate().unwrap());
    let mut alice = Daemon::new().await;
    let (record, mut wire) = joined(&mut alice, &relay, &keys).await;
    let accounts = alice.accounts();
    for (old, right) in [("wrong horse", false), ("correct horse", true)] {
        let change = accounts.password("home", password(old), password("battery staple"));
        let serve = async {
            let (ke1, request) = wire
                .hear(|said| match said {
                    ToRelay::PasswordStart(start) => Some((start.ke1, start.request)),
                    _ => None,
                })
                .await;
            let hash = wire.handshake_hash;
            let (login, ke2) = keys.login(&name("alice"), Some(&record), &ke1, &hash).unwrap();
            let response = keys.register(&name("alice"), &request).unwrap();
            let response = PasswordResponse { ke2, response };
            wire.say(&[FromRelay::PasswordResponse(Box::new(response))]).await;
            if right {
                let ke3 = wire.hear(|said| match said {
                    ToRelay::PasswordFinish(finish) => Some(finish.ke3),
                    _ => None,
                });
                login.finish(&ke3.await).unwrap();
                wire.say(&[FromRelay::Done(Outcome::Ok)]).await;
            }
        };
        let (changed, ()) = tokio::join!(change, serve);
        assert_eq!(changed.is_ok(), right, "{changed:?}");
        assert!(right || matches!(changed, Err(AccountError::WrongOldPassword)));
    }
}

#[tokio::test]
async fn switched_off_stays_off_and_comes_back() {
    let (relay, keys) = (Relay::start().await, RelayAccounts::generate().unwrap());
    let mut alice = Daemon::new().await;
    let (_, mut wire) = joined(&mut alice, &relay, &keys).await;
    let accounts = alice.accounts();
    let id = accounts.disconnect("home").await.unwrap();
    wire.hear(|said| matches!(said, ToRelay::Bye).then_some(())).await;
    while alice.live.link(id).is_none_or(|link| link.state != LinkState::Off) {
        tokio::task::yield_now().await;
    }
    let off = accounts.password("home", password("correct horse"), password("battery staple"));
    assert!(matches!(off.await, Err(AccountError::Off(_))));
    accounts.connect("home").await.unwrap();
    relay.attach().await;
    assert!(matches!(accounts.connect("work").await, Err(AccountError::NoSuchRelay(_))));
}

#[tokio::test]
async fn an_account_that_is_left_leaves_nothing_behind() {
    let (relay, keys) = (Relay::start().await, RelayAccounts::generate().unwrap());
    let mut alice = Daemon::new().await;
    let (_, mut wire) = joined(&mut alice, &relay, &keys).await;
    let me = alice.me.clone();
    let (id, row) = find(&alice, "home").await.unwrap();
    let account = row.clone();
    alice
        .write(move |txn| {
            let bob = name("bob");
            let added =
                contacts::ask::add(txn, &me, (id, &account), &bob, None, Clock::default().now());
            added.map(|_| ()).map_err(|_| StoreError::Damaged("a test"))
        })
        .await;
    wire.hear(|said| matches!(said, ToRelay::Ask(_)).then_some(())).await;
    let accounts = alice.accounts();
    let leave = accounts.leave("home", true);
    let serve = async {
        wire.hear(|said| matches!(said, ToRelay::DeleteAccount).then_some(())).await;
        // The request before it is answered first.
        wire.say(&[FromRelay::Done(Outcome::Ok), FromRelay::Done(Outcome::Ok)]).await;
        wire.say(&[FromRelay::Bye(Bye::Replaced)]).await;
    };
    let (left, ()) = tokio::join!(leave, serve);
    left.unwrap();
    assert!(find(&alice, "home").await.is_none());
    let left = alice.write(move |txn| {
        let chores = chores::waiting(txn, id)?.len();
        Ok((chores, txn.list::<Asked>(&id)?.len(), contacts::all(txn)?.len()))
    });
    assert_eq!(left.await, (0, 0, 0));
    assert!(matches!(accounts.leave("home", true).await, Err(AccountError::NoSuchRelay(_))));
}

#[tokio::test]
async fn an_interrupted_deletion_is_completed() {
    let relay = Relay::start().await;
    let alice = Daemon::at(&relay).await;
    let accounts = alice.accounts();
    let leave = accounts.leave("home", true);
    let serve = async {
        let mut wire = relay.attach().await;
        wire.hear(|said| matches!(said, ToRelay::DeleteAccount).then_some(())).await;
        // It is deleted, and the answer is lost.
        drop(wire);
        let mut wire = relay.accept().await;
        wire.hear_attach().await;
        wire.say(&[hello(), FromRelay::Refused]).await;
    };
    let (left, ()) = tokio::join!(leave, serve);
    assert!(matches!(left, Err(AccountError::Unreachable { .. })));
    while find(&alice, "home").await.is_some_and(|(_, row)| row.refused.is_none()) {}
    accounts.leave("home", true).await.unwrap();
    assert!(find(&alice, "home").await.is_none());
}

/// A client that asks for much and reads nothing: its calls stand still.
#[tokio::test]
async fn a_caller_that_takes_no_answer_holds_up_nobody() {
    let (relay, keys) = (Relay::start().await, RelayAccounts::generate().unwrap());
    let alice = Daemon::new().await;
    let accounts = alice.accounts();
    let home = Some("home".to_owned());
    let mut join = Box::pin(accounts.join(invite(&relay), password("correct horse"), home));
    let mut wire = tokio::select! {
        joined = &mut join => panic!("{joined:?} before the relay said anything"),
        wire = relay.accept() => wire,
    };
    // From here on nobody looks at the call.
    register(&mut wire, &keys).await;
    wire.say(&[FromRelay::Enrolled]).await;
    let others = async {
        accounts.connect("home").await.unwrap();
        relay.attach().await
    };
    let _wire = timeout(PATIENCE, others).await.expect("the call holds others up");
    join.await.unwrap();
}

#[tokio::test]
async fn what_a_caller_began_and_left_is_done() {
    let (relay, keys) = (Relay::start().await, RelayAccounts::generate().unwrap());
    let alice = Daemon::new().await;
    let accounts = alice.accounts();
    let join = accounts.join(invite(&relay), password("correct horse"), Some("home".to_owned()));
    let mut wire = tokio::select! {
        joined = join => panic!("{joined:?} before the relay said anything"),
        wire = relay.accept() => wire,
    };
    register(&mut wire, &keys).await;
    wire.say(&[FromRelay::Enrolled]).await;
    timeout(PATIENCE, relay.attach()).await.expect("the account does not connect");
    assert!(find(&alice, "home").await.unwrap().1.enrolled);
}
