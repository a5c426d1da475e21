//! Somebody behind a SOCKS5 proxy: nothing is dialled around it, and no name is looked up.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ams_rpc::methods::relay;
use ams_rpc::types::{LinkState, NoParams, RelayParams};
use ams_tests::Net;
use ams_tests::connection::failure;
use ams_tests::person::Person;
use ams_tests::proxy::Proxy;
use ams_tests::shell::quiet_port;
use ams_wire::address::{DIRECT_PORT, HostPort, InviteLink, Link, PeerLink, RELAY_PORT};
use amsd::settings::{Direct, Settings};

/// Names that lead nowhere but through the proxy (RFC 6761 section 6.4).
const RELAY: &str = "relay.invalid";
const BOB: &str = "bob.invalid";

fn at(name: &str, port: u16) -> HostPort {
    HostPort::parse(name, port).unwrap()
}

/// The same invite, to a relay of another name.
fn renamed(invite: &str) -> String {
    let invite = Link::parse_invite(invite).unwrap();
    Link::Invite(InviteLink { at: at(RELAY, RELAY_PORT), ..invite }).to_string()
}

/// Somebody who knows the relay `home` by another name, and dials through `proxy` alone.
async fn behind(net: &Net, proxy: &Proxy, name: &str) -> Person {
    let through = proxy.at();
    let person = net.stranger(name, |settings| settings.socks5 = Some(through)).await;
    let line = person.line(net.home()).await;
    proxy.knows(&format!("{RELAY}:{RELAY_PORT}"), line.at());
    let invite = renamed(&net.home().invite(name, &line).await);
    person.try_join(&invite, Some("home")).await.unwrap();
    person.link_is(net.home(), LinkState::Up).await;
    person
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_goes_through_the_proxy_and_every_name_to_it() {
    let net = Net::new().await;
    let proxy = Proxy::start().await;
    let alice = behind(&net, &proxy, "alice").await;
    assert_eq!(alice.status().await.socks5, Some(proxy.at().to_string()));

    let bob = net.listener("bob", |_| ()).await;
    bob.join(net.home()).await;
    let door = net.door(&bob).await;
    proxy.knows(&format!("{BOB}:{DIRECT_PORT}"), door.at());
    let link = Link::parse_peer(&bob.peer_link().await).unwrap();
    let link = Link::Peer(PeerLink { at: at(BOB, DIRECT_PORT), ..link }).to_string();
    alice.connect(&link, "bob").await.unwrap();
    bob.accept_stranger(&alice).await;
    alice.peer_is("bob", LinkState::Up).await;
    alice.delivers("bob", "one").await;

    // Everything breaks, and is dialled again.
    let line = alice.line(net.home()).await;
    for way in [&*line, &door] {
        way.cut();
        alice
            .until("a link to be down", |client| {
                let relays = client.call::<relay::List>(&NoParams {}).unwrap().relays;
                let peers = client.call::<ams_rpc::methods::peer::List>(&NoParams {}).unwrap();
                let down = relays.iter().any(|relay| relay.state != LinkState::Up)
                    || peers.peers.iter().any(|peer| peer.state != LinkState::Up);
                down.then_some(())
            })
            .await;
        way.mend();
        alice.link_is(net.home(), LinkState::Up).await;
        alice.peer_is("bob", LinkState::Up).await;
    }
    alice.restart().await;
    alice.link_is(net.home(), LinkState::Up).await;
    alice.peer_is("bob", LinkState::Up).await;
    alice.delivers("bob", "two").await;
    bob.reads(&["one", "two"]).await;

    let passed = proxy.passed();
    let from: BTreeSet<SocketAddr> = passed.iter().filter_map(|one| one.from).collect();
    let came: Vec<SocketAddr> = [line.visitors(), door.visitors()].concat();
    // The invite, twice cut and once restarted; a meeting, an introduction, the same again.
    assert!(line.visitors().len() >= 4 && door.visitors().len() >= 4, "{came:?}");
    let around: Vec<_> = came.iter().filter(|visitor| !from.contains(visitor)).collect();
    assert!(around.is_empty(), "around the proxy: {around:?}");
    assert!(passed.iter().all(|one| one.by_name), "looked up here: {passed:?}");
}

/// The link is down, and asking for it ends with these words; also where a try was under way that
/// had begun before they became true.
async fn is_down_because(person: &Person, words: &str) {
    let mut said = Vec::new();
    for _ in 0..2 {
        let nick = "home".to_owned();
        said.push(failure(person.try_call::<relay::Connect>(RelayParams { nick }).await).message);
    }
    assert!(said.iter().any(|said| said.contains(words)), "{words}: {said:?}");
}

/// Whatever it is, the way is back by itself when the proxy is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_proxy_is_said() {
    let net = Net::new().await;
    // It is away for a while, and nobody else's port meanwhile.
    let at = SocketAddr::from(([127, 0, 0, 1], quiet_port()));
    let proxy = Proxy::start_at(at).await;
    let alice = behind(&net, &proxy, "alice").await;
    let line = alice.line(net.home()).await;

    proxy.forbid(true);
    line.cut();
    line.mend();
    alice.link_is(net.home(), LinkState::Down).await;
    is_down_because(&alice, &format!("it does not allow {RELAY}")).await;
    proxy.forbid(false);
    alice.link_is(net.home(), LinkState::Up).await;

    proxy.stop().await;
    alice.link_is(net.home(), LinkState::Down).await;
    is_down_because(&alice, "nothing listens there").await;
    let proxy = Proxy::start_at(at).await;
    is_down_because(&alice, &format!("it cannot reach {RELAY}")).await;
    proxy.knows(&format!("{RELAY}:{RELAY_PORT}"), line.at());
    alice.link_is(net.home(), LinkState::Up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_proxy_is_for_what_is_dialled_from_then_on() {
    let net = Net::new().await;
    let alice = net.person("alice").await;
    let line = alice.line(net.home()).await;
    let proxy = Proxy::start().await;
    proxy.knows(&line.at().to_string(), line.at());
    let through = proxy.at();
    alice.reconfigure(|settings| settings.socks5 = Some(through)).await;
    assert!(proxy.passed().is_empty());
    line.cut();
    alice.link_is(net.home(), LinkState::Down).await;
    line.mend();
    alice.link_is(net.home(), LinkState::Up).await;
    let passed = proxy.passed();
    assert_eq!(passed.last().unwrap().asked, line.at().to_string());
    assert!(passed.iter().all(|one| !one.by_name));
}

/// A proxy hides where somebody is; a place that is told to contacts does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_told_beside_a_proxy_is_warned_of() {
    let net = Net::new().await;
    let proxy = Proxy::start().await;
    let through = proxy.at();
    for (direct, socks5, warned) in [
        (Direct::Contacts, Some(through), true),
        (Direct::Contacts, None, false),
        (Direct::Off, Some(through), false),
    ] {
        let adjust = |settings: &mut Settings| {
            (settings.direct, settings.socks5) = (direct, socks5);
        };
        let person = net.listener(&format!("{direct:?}-{}", socks5.is_some()), adjust).await;
        let warnings = person.status().await.warnings;
        assert_eq!(warnings.iter().any(|one| one.contains("socks5")), warned, "{warnings:?}");
    }
}
