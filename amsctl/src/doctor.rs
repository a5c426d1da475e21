//! The checks of `amsctl doctor`: the machine first, then the daemon, then what it reaches.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use ams_rpc::health::{self, Finding, platform};
use ams_rpc::places::Places;
use ams_rpc::types::{DaemonStatus, LinkState, RelayInfo, Time};

use crate::failed::Failed;
use crate::start;

/// Files that a daemon may have open: its clients, its links, its database.
const FILES: u64 = 512;

/// Looks at everything. `places`: of a profile of ours, if it is not just a socket that was named;
/// `status`: what the daemon said of itself.
pub(crate) fn look(
    places: Option<&Places>,
    socket: &Path,
    status: Result<&DaemonStatus, &Failed>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(places) = places {
        found.extend(machine(places));
    }
    found.push(platform::files(status.ok().map(|status| status.pid), FILES));
    let database = places.map(|places| places.data.join("amsd.redb"));
    found.push(clock(database.as_deref()));
    match status {
        Err(failed) => found.extend(without_daemon(places, failed)),
        Ok(status) => {
            let started = status.started;
            found.push(Finding::ok("daemon", format!("pid {}, since {started}", status.pid)));
            // What somebody else shares has the rights that he gave it.
            if places.is_some() {
                found.push(platform::socket(socket));
            }
            found.push(version(&status.version));
            found.extend(status.listen.iter().map(|at| port(at)));
            found.extend(status.socks5.iter().map(|at| proxy(at)));
            let proxied = status.socks5.is_some();
            found.extend(status.relays.iter().map(|info| relay(info, proxied)));
            found.extend(messages(status));
        }
    }
    found
}

/// Folders, config and disk.
fn machine(places: &Places) -> Vec<Finding> {
    use platform::{config, disk, folder};

    let mut found = Vec::new();
    if let Some(home) = places.home.as_deref().filter(|home| home.exists()) {
        found.push(folder(home, false));
    }
    if places.home.is_none() && places.runtime.exists() {
        found.push(folder(&places.runtime, false));
    }
    if places.data.exists() {
        found.push(folder(&places.data, true));
    } else {
        let said = "there is no profile yet; the first start of amsd makes one";
        found.push(Finding::ok("permissions", said).about(places.data.display().to_string()));
    }
    found.extend(config(&places.config));
    // Where it will be made, if it is not there.
    let there = places.data.ancestors().find(|folder| folder.exists());
    found.push(disk(there.unwrap_or(Path::new("/"))));
    found
}

fn clock(database: Option<&Path>) -> Finding {
    health::clock(Time::now().as_millis(), database.and_then(health::changed))
}

/// Why there is no answer, and what can be said of the profile without a daemon.
fn without_daemon(places: Option<&Places>, failed: &Failed) -> Vec<Finding> {
    let said = failed.message.clone().unwrap_or_default();
    let fix = failed.hint.clone().unwrap_or_else(|| "amsctl stop && amsd --daemon".to_owned());
    let mut found = vec![Finding::wrong("daemon", said, fix)];
    // One that is there and says nothing has the profile.
    if failed.exit == ams_rpc::Exit::NoDaemon.code()
        && !failed.is_away()
        && let Some(places) = places.filter(|places| places.data.exists())
    {
        found.push(profile(places));
    }
    found
}

/// Has `amsd --check` look at a profile that no daemon uses.
fn profile(places: &Places) -> Finding {
    let program = start::program();
    let mut check = Command::new(&program);
    if let Some(home) = &places.home {
        check.arg("--home").arg(home);
    }
    let checked = check.arg("--check").stdin(Stdio::null()).output();
    let about = |finding: Finding| finding.about(places.data.display().to_string());
    match checked {
        Ok(checked) if checked.status.success() => {
            about(Finding::ok("profile", "amsd --check finds that all is well"))
        }
        Ok(checked) if checked.status.code() == Some(start::PASSPHRASE_NEEDED) => {
            let said = "sealed under a passphrase; amsd --check on a terminal can look at more";
            about(Finding::ok("profile", said))
        }
        Ok(checked) => {
            let (out, err) = (checked.stdout, checked.stderr);
            let said = [err, out].concat();
            let said = String::from_utf8_lossy(&said);
            let said = said.lines().next().unwrap_or("amsd --check failed");
            let said = said.trim_start_matches("amsd: ");
            about(Finding::wrong("profile", said, "mend what it names, or restore a backup"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let said = "amsd is neither beside amsctl nor where PATH leads";
            Finding::wrong("profile", said, "install it, or set PATH")
        }
        Err(error) => {
            let said = format!("cannot run {}: {error}", program.display());
            Finding::wrong("profile", said, "look at the rights of that file")
        }
    }
}

/// The daemon may have been started before the last upgrade.
fn version(daemon: &str) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    if daemon == own {
        return Finding::ok("version", format!("amsd and amsctl are {own}"));
    }
    let said = format!("the daemon that runs is {daemon}, amsctl is {own}");
    Finding::warning("version", said, "restart it: amsctl stop && amsd --daemon")
}

/// Whether the daemon answers where it listens for direct peers.
fn port(at: &str) -> Finding {
    let here = at.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
    match health::reach(&here) {
        Ok(_) => Finding::ok("port", "answers").about(at),
        Err((why, _)) => {
            let fix = "restart the daemon, and look into its log";
            Finding::wrong("port", why, fix).about(at)
        }
    }
}

/// Whether anything answers where everything is dialled through. What it reaches, the daemon says.
fn proxy(at: &str) -> Finding {
    match health::reach(at) {
        Ok(_) => Finding::ok("proxy", "answers").about(at),
        Err((why, _)) => {
            let fix = "start the proxy, or change `socks5` in the config and have it read again";
            Finding::wrong("proxy", why, fix).about(at)
        }
    }
}

/// A relay: whether the link is up, and if not, whether it can be reached from here at all.
/// Where there is a proxy, nothing is dialled or looked up around it, here neither.
fn relay(relay: &RelayInfo, proxied: bool) -> Finding {
    let nick = &relay.name;
    let reason = relay.reason.as_deref().unwrap_or("no reason is known yet");
    let finding = match relay.state {
        LinkState::Up => match relay.since {
            Some(since) => Finding::ok("relay", format!("up since {since}")),
            None => Finding::ok("relay", "up"),
        },
        LinkState::Off => Finding::ok("relay", "off, because you disconnected it"),
        LinkState::Refused => {
            let fix = "the daemon's warning below says what to do";
            Finding::wrong("relay", format!("not connected: {reason}"), fix)
        }
        LinkState::Connecting | LinkState::Down if proxied => {
            let fix = format!("amsctl relay connect {nick} tries at once");
            Finding::wrong("relay", format!("not connected: {reason}"), fix)
        }
        LinkState::Connecting | LinkState::Down => match host_port(&relay.address) {
            None => Finding::wrong("relay", reason, "amsctl relay list shows its address"),
            Some(at) => match health::reach(at) {
                Err((why, fix)) => Finding::wrong("relay", why, fix),
                Ok(address) => {
                    let said = format!("{address} answers, but the link is not up: {reason}");
                    let fix = format!(
                        "amsctl relay connect {nick} tries at once; if it stays so, something \
                         else may listen there, or it has another key than its link says"
                    );
                    Finding::wrong("relay", said, fix)
                }
            },
        },
    };
    finding.about(nick)
}

/// `HOST:PORT` of a relay's address link.
fn host_port(link: &str) -> Option<&str> {
    let at = link.strip_prefix("ams://")?;
    Some(at.split(['/', '#']).next().unwrap_or(at)).filter(|at| at.contains(':'))
}

/// What waits for the user, and what the daemon warns of.
fn messages(status: &DaemonStatus) -> Vec<Finding> {
    let warned = status.warnings.iter().map(|warning| {
        // The last part of most of them is the command.
        Finding::warning("warning", warning, "amsctl status shows it until it is mended")
    });
    let mut found: Vec<Finding> = warned.collect();
    if found.is_empty() {
        found.push(Finding::ok("warning", "the daemon has none"));
    }
    found
}

#[cfg(test)]
mod tests {
    use ams_rpc::health::State;

    use super::*;

    fn info(state: LinkState, address: &str) -> RelayInfo {
        RelayInfo {
            name: "home".to_owned(),
            address: address.to_owned(),
            user: "alice".to_owned(),
            state,
            since: None,
            reason: Some("the handshake failed".to_owned()),
        }
    }

    #[test]
    fn a_relay_that_is_not_up_is_looked_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("ams://{}/relay#AAAA", listener.local_addr().unwrap());
        assert_eq!(relay(&info(LinkState::Up, &at), false).state, State::Ok);
        assert_eq!(relay(&info(LinkState::Off, &at), false).state, State::Ok);
        let refused = relay(&info(LinkState::Refused, &at), false);
        assert!(refused.state == State::Wrong && refused.finding.contains("the handshake failed"));

        let answers = relay(&info(LinkState::Down, &at), false);
        assert!(answers.finding.contains("answers, but the link is not up: the handshake"));
        assert!(answers.fix.unwrap().contains("amsctl relay connect home"));
        drop(listener);
        let gone = relay(&info(LinkState::Connecting, &at), false);
        assert!(gone.finding.contains("nothing listens"), "{}", gone.finding);
    }

    #[test]
    fn nothing_is_dialled_around_a_proxy() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let through = relay(&info(LinkState::Down, &format!("ams://{at}/relay#AAAA")), true);
        assert!(through.finding.contains("not connected: the handshake failed"));
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "it was dialled");

        assert_eq!(proxy(&at.to_string()).state, State::Ok);
        drop(listener);
        let gone = proxy(&at.to_string());
        assert!(gone.state == State::Wrong && gone.fix.unwrap().contains("`socks5`"));
    }

    #[test]
    fn where_a_link_leads() {
        assert_eq!(
            host_port("ams://relay.example.org:7311/relay#x"),
            Some("relay.example.org:7311")
        );
        assert_eq!(host_port("ams://[::1]:7311/relay#x"), Some("[::1]:7311"));
        assert_eq!(host_port("relay.example.org"), None);
    }

    #[test]
    fn versions_and_ports_are_compared() {
        assert_eq!(version(env!("CARGO_PKG_VERSION")).state, State::Ok);
        let older = version("0.0.1");
        assert_eq!(older.state, State::Warning);
        assert!(older.finding.contains("0.0.1"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        assert_eq!(port(&format!("0.0.0.0:{number}")).state, State::Ok);
        drop(listener);
        assert_eq!(port(&format!("0.0.0.0:{number}")).state, State::Wrong);
    }
}
