//! `ams-relay doctor`: the machine first, then the relay, then how it is reached. Changes nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;

use ams_crypto::keyfile::LoadError;
use ams_rpc::admin::{RelayStatus, relay};
use ams_rpc::client::{CallError, Client};
use ams_rpc::health::{Finding, Report, changed, clock, reach, unix};
use ams_rpc::types::{NoParams, Time};
use ams_wire::address::{HostPort, Link};

use super::Failed;
use super::args::Args;
use super::show;
use crate::config::{Config, Storage};
use crate::data::{self, DataError, SOCKET};

/// Links of some thousand people, the accounts, and some room.
const FILES: u64 = 4096;

/// Shows what was found, and says with which code to exit.
pub(super) fn run(args: &Args, json: bool) -> Result<u8, Failed> {
    let report = Report::of(look(args));
    if json {
        show::json(&report)?;
    } else {
        show::line(report.text(str::to_owned).trim_end());
    }
    Ok(report.exit())
}

fn look(args: &Args) -> Vec<Finding> {
    let data = args.data();
    let (config, mut found) = match args.config() {
        Ok(config) => (config, vec![Finding::ok("config", "understood")]),
        Err(error) => {
            let fix = "mend that line; packaging/examples/relay.toml shows every key";
            let wrong = Finding::wrong("config", error.to_string(), fix);
            (Config::new(Storage::Folder(data.clone())), vec![wrong])
        }
    };
    if !data::has_relay(&data) {
        let fix = "ams-relay serve makes one there; or name the folder: --data DIR";
        let said = format!("there is no relay in {}, or it may not be looked at", data.display());
        found.push(Finding::wrong("data", said, fix));
        found.extend(config.listen.map(free_port));
        return found;
    }
    found.push(unix::folder(&data, true));
    found.push(keys(&data));
    found.push(unix::disk(&data));
    found.push(clock(Time::now().as_millis(), changed(&data.join("accounts.redb"))));
    let socket = data.join(SOCKET);
    let status =
        Client::connect(&socket).and_then(|mut client| client.call::<relay::Status>(&NoParams {}));
    match status {
        Ok(status) => {
            found.push(unix::files(status.pid, FILES));
            found.extend(running(&status, &socket, config.listen));
        }
        Err(error) => found.extend(not_running(&error, config.listen)),
    }
    found
}

/// What belongs together is there, and readable.
fn keys(data: &Path) -> Finding {
    match data::check_keys(data) {
        Ok(()) => Finding::ok("keys", "complete"),
        // Root, who may not take them for his own.
        Err(DataError::Key { source: LoadError::Owner, .. }) => {
            Finding::ok("keys", "there, and another user's, who can say whether they are whole")
        }
        Err(error) => {
            let fix = "put the file back from the backup of the keys";
            Finding::wrong("keys", error.to_string(), fix)
        }
    }
}

fn not_running(error: &CallError, listen: Option<SocketAddr>) -> Vec<Finding> {
    if !matches!(error, CallError::NotRunning { .. }) {
        let fix = "look into its log: journalctl -u ams-relay";
        return vec![Finding::wrong("relay", error.to_string(), fix)];
    }
    let fix = "systemctl start ams-relay, or: ams-relay serve";
    let mut found = vec![Finding::wrong("relay", "it does not run", fix)];
    found.extend(listen.map(free_port));
    found
}

/// Whether a relay that starts could listen there.
fn free_port(at: SocketAddr) -> Finding {
    let port = at.port();
    let wrong = |said: String, fix: String| Finding::wrong("port", said, fix);
    match TcpListener::bind(at) {
        Ok(_) => Finding::ok("port", "free"),
        Err(error) => match error.kind() {
            io::ErrorKind::AddrInUse => wrong(
                "another program listens there".to_owned(),
                format!("ss -ltnp 'sport = :{port}' says which; or choose another port: listen"),
            ),
            io::ErrorKind::PermissionDenied => wrong(
                "this user may not listen there".to_owned(),
                "choose a port above 1023: listen".to_owned(),
            ),
            io::ErrorKind::AddrNotAvailable => wrong(
                "this machine has no such address".to_owned(),
                "listen on 0.0.0.0, or on an address that ip addr shows".to_owned(),
            ),
            _ => wrong(error.to_string(), "choose another address: listen".to_owned()),
        },
    }
    .about(at.to_string())
}

fn running(status: &RelayStatus, socket: &Path, listen: Option<SocketAddr>) -> Vec<Finding> {
    let pid = status.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
    let said = format!("it runs{pid}, with {} connections", status.connections);
    let mut found = vec![Finding::ok("relay", said), unix::socket(socket)];
    found.push(version(&status.version));
    found.extend(limits(status));
    match Link::parse(&status.address) {
        Ok(Link::Relay(link)) => found.extend(address(&link.at, listen)),
        _ => found.push(Finding::wrong("address", "it has none", "ams-relay address")),
    }
    found
}

/// The relay may have been started before the last upgrade.
fn version(relay: &str) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    if relay == own {
        return Finding::ok("version", format!("the relay that runs is {own}, as this program"));
    }
    let said = format!("the relay that runs is {relay}, this program is {own}");
    Finding::warning("version", said, "restart it: systemctl restart ams-relay")
}

/// What is nearly used up.
fn limits(status: &RelayStatus) -> Vec<Finding> {
    let full = status.limits.iter().filter_map(|limit| {
        let used = limit.used?;
        // Nine tenths.
        let near = limit.max.saturating_sub(limit.max.checked_div(10)?);
        (limit.max > 0 && used >= near).then(|| {
            let said = format!("{used} of {} are used", limit.max);
            let fix = "raise it in relay.toml, [limits], if the machine has room";
            Finding::warning("limits", said, fix).about(&limit.name)
        })
    });
    let mut found: Vec<Finding> = full.collect();
    if found.is_empty() {
        found.push(Finding::ok("limits", "none is nearly used up"));
    }
    found
}

/// Whether it is reached as its link says, and by whom.
fn address(public: &HostPort, listen: Option<SocketAddr>) -> Vec<Finding> {
    let text = public.to_string();
    let mut found = match (reach(&text), listen.filter(|at| at.port() != 0)) {
        (Ok(at), _) => vec![Finding::ok("port", "answers").about(at.to_string())],
        (Err((why, fix)), None) => vec![Finding::wrong("port", why, fix).about(&text)],
        (Err((why, fix)), Some(listen)) => match reach(&local(listen).to_string()) {
            Err(_) => vec![Finding::wrong("port", why, fix).about(&text)],
            Ok(at) => {
                let said = format!("{why}, though the relay answers here");
                let port = at.port();
                let fix = format!(
                    "let TCP port {port} through in firewall and router, and check the name; some \
                     networks do not let a machine reach itself: try from another one"
                );
                let answers = Finding::ok("port", "answers").about(at.to_string());
                vec![answers, Finding::warning("address", said, fix).about(&text)]
            }
        },
    };
    let near = reach_of(&text);
    found.push(match near {
        None => Finding::ok("address", "others can use it").about(text),
        Some(near) => {
            let said = format!("only {near} can use it");
            let fix = "set public_address in relay.toml to a name or address that others reach";
            Finding::warning("address", said, fix).about(text)
        }
    });
    found
}

/// An address of this machine for one that it listens on.
fn local(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}

/// Who alone can use an address that is a number; names may lead anywhere.
fn reach_of(text: &str) -> Option<&'static str> {
    let (host, _) = text.rsplit_once(':')?;
    if host == "localhost" {
        return Some("this machine");
    }
    match host.trim_matches(['[', ']']).parse().ok()? {
        ip if IpAddr::is_loopback(&ip) => Some("this machine"),
        IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() => Some("this network"),
        IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => {
            Some("this network")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ams_rpc::admin::LimitInfo;
    use ams_rpc::health::State;
    use ams_rpc::types::Period;
    use ams_wire::address::RELAY_PORT;

    use super::*;

    fn states(found: &[Finding]) -> Vec<(&'static str, State)> {
        found.iter().map(|finding| (finding.check, finding.state)).collect()
    }

    #[test]
    fn a_port_is_free_or_taken() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap();
        let found = free_port(at);
        assert!(found.state == State::Wrong && found.fix.unwrap().contains("ss -ltnp"));
        drop(taken);
        assert_eq!(free_port(at).state, State::Ok);
        // Of a range that is kept for documentation: no machine has it.
        let nowhere = free_port("192.0.2.1:7311".parse().unwrap());
        assert!(nowhere.finding.contains("no such address"), "{}", nowhere.finding);
    }

    #[test]
    fn an_address_that_leads_nowhere_is_told_from_a_relay_that_does_not_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let listen = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let here = HostPort::parse(&format!("127.0.0.1:{port}"), RELAY_PORT).unwrap();
        let found = address(&here, Some(listen));
        assert_eq!(states(&found), [("port", State::Ok), ("address", State::Warning)]);
        assert!(found[1].finding.contains("only this machine"), "{found:?}");

        let wrong = HostPort::parse("relay.invalid", RELAY_PORT).unwrap();
        let found = address(&wrong, Some(listen));
        assert_eq!(
            states(&found),
            [("port", State::Ok), ("address", State::Warning), ("address", State::Ok)]
        );
        drop(listener);
        let found = address(&here, Some(listen));
        assert_eq!(found[0].state, State::Wrong);
    }

    #[test]
    fn who_can_use_an_address() {
        assert_eq!(reach_of("relay.example.org:7311"), None);
        assert_eq!(reach_of("203.0.113.7:7311"), None);
        assert_eq!(reach_of("localhost:7311"), Some("this machine"));
        assert_eq!(reach_of("[::1]:7311"), Some("this machine"));
        assert_eq!(reach_of("192.168.1.4:7311"), Some("this network"));
        assert_eq!(reach_of("[fd00::1]:7311"), Some("this network"));
    }

    #[test]
    fn versions_and_limits_are_compared() {
        assert_eq!(version(env!("CARGO_PKG_VERSION")).state, State::Ok);
        assert_eq!(version("0.0.1").state, State::Warning);
        let limit = |used| LimitInfo { name: "held_bytes".to_owned(), max: 100, used: Some(used) };
        let status = |used| RelayStatus {
            version: String::new(),
            running: true,
            pid: None,
            started: None,
            address: String::new(),
            accounts: 0,
            connections: 0,
            held_messages: 0,
            held_bytes: 0,
            retry_window: Period(std::time::Duration::ZERO),
            limits: vec![limit(used)],
        };
        assert_eq!(limits(&status(89))[0].state, State::Ok);
        assert_eq!(limits(&status(90))[0].state, State::Warning);
    }
}
