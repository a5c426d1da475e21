//! What administration prints.

use std::io::Write as _;

use ams_rpc::admin::{InviteLink, Invites, RelayBackedUp, RelayStatus, UserState, Users};
use ams_rpc::error::Exit;
use ams_rpc::types::{Period, Time};

use super::Failed;

/// One line on stdout; whoever reads it may have gone.
pub(super) fn line(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<(), Failed> {
    let text = serde_json::to_string(value).map_err(|error| Failed::new(Exit::Failed, error))?;
    line(text);
    Ok(())
}

/// The link alone on stdout, for whoever puts it into a file.
pub(super) fn invite(made: &InviteLink) {
    if made.replaced {
        eprintln!("ams-relay: the link that was made for {} before is no longer good", made.name);
    }
    line(&made.link);
}

pub(super) fn invites(list: &Invites) {
    for invite in &list.invites {
        line(format_args!("{:<32}  good until {}", invite.name, invite.expires));
    }
}

pub(super) fn users(list: &Users) {
    for user in &list.users {
        let state = match user.state {
            UserState::Active if user.online => "online",
            UserState::Active => "offline",
            UserState::Disabled => "disabled",
        };
        line(format_args!("{:<32}  {state:<8}  made {}", user.name, user.created));
    }
}

pub(super) fn backup(done: &RelayBackedUp) {
    line(format_args!("accounts: {}", done.file));
    line(format_args!("keys:     {}  (keep it apart from the accounts)", done.keys_file));
}

pub(super) fn status(status: &RelayStatus) {
    line(format_args!("address      {}", status.address));
    match (status.pid, status.started) {
        (Some(pid), Some(started)) => {
            let up = Time::now().as_millis().saturating_sub(started.as_millis()) / 1000;
            let up = std::time::Duration::from_secs(u64::try_from(up).unwrap_or(0));
            line(format_args!("running      process {pid}, for {}", Period(up)));
        }
        _ => line("running      no"),
    }
    line(format_args!("version      {}", status.version));
    line(format_args!("accounts     {}", status.accounts));
    line(format_args!("connections  {}", status.connections));
    line(format_args!(
        "held         {} messages, {} bytes, for at most {}",
        status.held_messages, status.held_bytes, status.retry_window
    ));
    for limit in &status.limits {
        match limit.used {
            Some(used) => line(format_args!("limit        {} {used} of {}", limit.name, limit.max)),
            None => line(format_args!("limit        {} {}", limit.name, limit.max)),
        }
    }
}
