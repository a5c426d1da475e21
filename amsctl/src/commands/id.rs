//! `amsctl id`

use ams_rpc::methods::{daemon, identity};
use ams_rpc::types::{Identity, NoParams};

use crate::columns::table;
use crate::failed::Failed;
use crate::qr;
use crate::session::Session;
use crate::text;

/// Show the own fingerprint and accounts, and the links by which others can meet this daemon
/// directly.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl id
  amsctl id --qr
  amsctl id --json | jq -r .fingerprint")]
pub struct Args {
    /// Show the peer links as QR codes as well.
    #[arg(long)]
    qr: bool,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let mut links = true;
        let exit = session.show::<identity::Show>(&NoParams {}, |identity| {
            links = !identity.peer_links.is_empty();
            shown(identity, self.qr)
        })?;
        // A socket that may not ask for the status says no more than the id.
        if !links && let Ok(status) = session.call::<daemon::Status>(&NoParams {}) {
            text::note(&why_no_link(&status.listen));
        }
        Ok(exit)
    }
}

/// Why there is no link to hand out, and what makes one.
fn why_no_link(listen: &[String]) -> String {
    if listen.is_empty() {
        return "amsctl: no peer link: this daemon does not listen for direct peers\n  set listen = \
                [\"0.0.0.0:7310\"] in config.toml and restart amsd"
            .to_owned();
    }
    let listen = text::line(&listen.join(", "));
    format!(
        "amsctl: no peer link: {listen} does not say how others reach this machine\n  set \
         public_address = [\"HOST:PORT\"] in config.toml, and have it read again: systemctl reload, or \
         kill -HUP"
    )
}

fn shown(identity: &Identity, with_qr: bool) -> String {
    let mut rows = vec![["fingerprint".to_owned(), identity.fingerprint.clone()]];
    let row = |name: &str| {
        let name = name.to_owned();
        move |value: &String| [name.clone(), value.clone()]
    };
    rows.extend(identity.accounts.iter().map(row("account")));
    rows.extend(identity.peer_links.iter().map(row("peer link")));
    let codes = identity.peer_links.iter().filter(|_| with_qr).filter_map(|link| qr::code(link));
    codes.collect::<String>() + &table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where others reach this machine is read again; where it listens is not.
    #[test]
    fn only_what_needs_a_restart_asks_for_one() {
        assert!(why_no_link(&[]).contains("restart amsd"));
        let why = why_no_link(&["0.0.0.0:7310".to_owned()]);
        assert!(why.contains("have it read again") && !why.contains("restart"), "{why}");
    }
}
