//! Two ways between two real daemons, a direct one and a relay. The direct one is cut while messages
//! are on it, refuses for a while, and comes back: nothing is lost, doubled, or out of order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ams_rpc::client::Client;
use ams_rpc::methods::{contact, daemon, identity, message, peer};
use ams_rpc::types::{
    LinkState, Message, MessageId, NoParams, PathKind, Period, SendParams, Stage, WaitParams,
};
use ams_tests::process::file;
use ams_tests::shell::{Operator, User};
use ams_tests::{Line, PATIENCE};
use ams_wire::address::{DIRECT_PORT, HostPort, Link, PeerLink};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Somebody who accepts whoever asks.
fn user(folder: &Path, name: &str) -> User {
    let user = User::new(&folder.join(name));
    fs::create_dir(user.home()).unwrap();
    fs::set_permissions(user.home(), Permissions::from_mode(0o700)).unwrap();
    file(user.home(), "config.toml", "requests = \"accept\"\n");
    user
}

fn client(user: &User) -> Client {
    Client::connect(&user.home().join("amsd.sock")).unwrap()
}

/// `from` sends these numbers; the id of the last one.
fn says(from: &User, to: &str, numbers: Range<usize>) -> MessageId {
    let mut client = client(from);
    let send =
        |number: usize| client.call::<message::Send>(&SendParams::new(to, number.to_string()));
    numbers.map(send).last().unwrap().unwrap().id
}

fn is_delivered(from: &User, id: MessageId) {
    let timeout = Some(Period(PATIENCE));
    let params = WaitParams { id, stage: Stage::Delivered, timeout, contact: None };
    let waited = client(from).call::<message::Wait>(&params).unwrap();
    assert!(waited.reached, "{id} is {}", waited.state);
}

/// Waits until the direct way is so, and messages take it or the other.
fn direct_is(user: &User, up: bool) {
    user.until(if up { "a direct link" } else { "no direct link" }, |client| {
        let peers = client.call::<peer::List>(&NoParams {}).unwrap().peers;
        let contacts = client.call::<contact::List>(&NoParams {}).unwrap().contacts;
        let is_up = peers.iter().any(|peer| peer.state == LinkState::Up);
        let active = contacts.iter().flat_map(|contact| &contact.paths).find(|path| path.active);
        let direct = active.is_some_and(|path| path.kind == PathKind::Direct);
        (is_up == up && direct == up).then_some(())
    });
}

/// All that arrived, in the order of arrival.
fn arrived(user: &User) -> Vec<Message> {
    let shown = user.amsctl(&["recv", "--max", "1000", "--json"]).ok();
    shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbers(messages: &[Message]) -> Vec<usize> {
    messages.iter().map(|message| message.body.parse().unwrap()).collect()
}

fn ways(messages: &[Message]) -> BTreeSet<&str> {
    messages.iter().filter_map(|message| message.via.as_deref()).collect()
}

/// The link of `user`, over `line`.
fn link_over(line: &Line, user: &User) -> String {
    let mut links = client(user).call::<identity::Show>(&NoParams {}).unwrap().peer_links;
    let link = Link::parse_peer(&links.pop().unwrap()).unwrap();
    let at = HostPort::parse(&line.at().to_string(), DIRECT_PORT).unwrap();
    Link::Peer(PeerLink { at, ..link }).to_string()
}

#[test]
fn a_direct_way_that_is_cut_in_the_middle_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let [alice, bob] = ["alice", "bob"].map(|name| user(folder.path(), name));
    let _alices = alice.starts_daemon();
    let _bobs = bob.starts_daemon_with(&["--listen", "127.0.0.1:0"]);
    alice.joins(&relay.invites("alice")).exits(0);
    bob.joins(&relay.invites("bob")).exits(0);
    alice.amsctl(&["contact", "add", "bob@home"]).exits(0);
    alice.can_write_to("bob");
    bob.can_write_to("alice");

    let runtime = Runtime::new().unwrap();
    let listen = client(&bob).call::<daemon::Status>(&NoParams {}).unwrap().listen;
    let door: SocketAddr = listen[0].parse().unwrap();
    let line = runtime.block_on(Line::open(watch::channel(Some(door)).1));
    alice.amsctl(&["peer", "connect", &link_over(&line, &bob), "--as", "bob"]).exits(0);
    direct_is(&alice, true);
    direct_is(&bob, true);

    // Some are there, some on their way, some not sealed yet.
    says(&alice, "bob", 0..200);
    says(&bob, "alice", 0..50);
    bob.until("some messages", |client| {
        let kept = client.call::<daemon::Status>(&NoParams {}).unwrap().inbox.kept;
        (kept >= 20).then_some(())
    });
    line.cut();
    let last = says(&alice, "bob", 200..350);
    let lasts = says(&bob, "alice", 50..100);
    direct_is(&alice, false);
    direct_is(&bob, false);
    is_delivered(&alice, last);
    is_delivered(&bob, lasts);

    line.mend();
    let last = says(&alice, "bob", 350..500);
    direct_is(&alice, true);
    direct_is(&bob, true);
    is_delivered(&alice, last);
    is_delivered(&alice, says(&alice, "bob", 500..501));
    is_delivered(&bob, says(&bob, "alice", 100..101));

    let (bobs, alices) = (arrived(&bob), arrived(&alice));
    assert_eq!(numbers(&bobs), (0..501).collect::<Vec<_>>());
    assert_eq!(numbers(&alices), (0..101).collect::<Vec<_>>());
    for messages in [&bobs, &alices] {
        assert_eq!(ways(messages), BTreeSet::from(["direct", "relay:home"]));
        assert_eq!(messages.last().unwrap().via.as_deref(), Some("direct"));
    }
    for user in [&alice, &bob] {
        let queue = client(user).call::<daemon::Status>(&NoParams {}).unwrap().queue;
        assert_eq!(queue, Default::default(), "nothing is left");
    }
}
