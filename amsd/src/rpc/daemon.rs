//! `daemon.*`: how it is, and its end.

use std::path::PathBuf;

use ams_rpc::RpcError;
use ams_rpc::error::key_hint;
use ams_rpc::types::{DaemonStatus, Done, InboxCounts, QueueCounts, StoreCounts, Time, Visibility};

use super::{App, peer, relay};
use crate::contacts::{self, lost};
use crate::outbox;
use crate::relay::Refusal;
use crate::settings::{Direct, Settings};
use crate::store::{Read, StoreError};
use crate::tally::{self, Tally};
use crate::tidy;

pub(super) async fn status(app: App) -> Result<DaemonStatus, RpcError> {
    let Settings { visible, socks5, direct, .. } = *app.settings.borrow();
    let now = app.outside.clock.now();
    let config = (app.config_mistake.borrow().clone(), app.restart.borrow().clone());
    let (shared, store) = (app.clone(), app.store.counts());
    app.store
        .read(move |db| {
            let queue = counts(db)?;
            let listen = shared.peers.listening();
            let mut warnings = warnings(db, &queue, now, (config.0.as_deref(), config.1))?;
            warnings.extend(shared.sockets.borrow().unserved.iter().cloned());
            warnings.extend(unknown(db, &shared)?);
            if direct == Direct::Contacts && socks5.is_some() && !listen.is_empty() {
                warnings.push(TOLD_BESIDE_PROXY.to_owned());
            }
            if !listen.is_empty() && shared.peers.reach().is_empty() {
                warnings.push(NO_PLACE.to_owned());
            }
            Ok(DaemonStatus {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                started: shared.started,
                home: shared.home.display().to_string(),
                fingerprint: shared.me.public().fingerprint(),
                presence: if visible { Visibility::Visible } else { Visibility::Invisible },
                listen: listen.iter().map(ToString::to_string).collect(),
                socks5: socks5.map(|at| at.to_string()),
                relays: relay::all(db, &shared.live)?,
                peers: peer::all(db, &shared.live)?,
                queue,
                inbox: InboxCounts { kept: tally::of(db, Tally::Kept)? },
                store: StoreCounts { commits: store.commits, writes: store.writes },
                hooks: shared.hooks.infos(db)?,
                warnings,
            })
        })
        .await
}

fn counts(db: &impl Read) -> Result<QueueCounts, StoreError> {
    Ok(QueueCounts {
        queued: tally::of(db, Tally::Queued)?,
        sent: tally::of(db, Tally::Sent)?,
        undelivered: tally::of(db, Tally::Undelivered)?,
        waiting: tally::of(db, Tally::Waiting)?,
    })
}

/// 2026-11-01T00:00:00Z, in milliseconds: before any version of this program.
const PAST: i64 = 1_793_491_200_000;

const TOLD_BESIDE_PROXY: &str = "direct = \"contacts\" tells contacts where this machine is, which \
                                 socks5 hides from relays: set one of them only, or make \
                                 public_address an address that may be known";

const NO_PLACE: &str = "listen names no address that others could connect to, so that amsctl id shows \
                        no link and contacts are told none: set public_address to the address \
                        at which others reach this machine";

/// What the user should know and may not look for.
fn warnings(
    db: &impl Read,
    queue: &QueueCounts,
    now: i64,
    (config_mistake, restart): (Option<&str>, Option<String>),
) -> Result<Vec<String>, StoreError> {
    let mut warnings = Vec::new();
    if let Some(mistake) = config_mistake {
        warnings.push(format!("the config was not taken, and the one before it stays: {mistake}"));
    }
    warnings.extend(restart);
    if now < PAST {
        let now = Time::from_millis(now);
        warnings.push(format!(
            "this machine's clock says {now}, which is past: set it, or requests and invites \
             expire at the wrong time"
        ));
    } else if let Some(last) = tidy::odd_since(db, now)? {
        let (now, last) = (Time::from_millis(now), Time::from_millis(last));
        warnings.push(format!(
            "this machine's clock says {now}, far from the {last} when old messages were last \
             removed: set it if it is wrong. Nothing is removed until the daemon has run with it \
             for 24 hours"
        ));
    }
    if queue.undelivered > 0 {
        let count = queue.undelivered;
        warnings.push(format!("{count} undelivered: amsctl queue list"));
    }
    for (_, row) in db.list::<crate::relay::Relays>(&())? {
        let nick = &row.nick;
        match row.refused {
            Some(Refusal::Replaced) => warnings.push(format!(
                "{nick} does not accept this device; it is asked again every few minutes, and at \
                 once by: amsctl relay connect {nick}. If another device was enrolled: amsctl \
                 relay login LINK --user {}",
                row.user
            )),
            Some(Refusal::Cloned) => warnings.push(format!(
                "an old or second copy of this profile was noticed at {nick}; if no other daemon \
                 uses it: amsctl relay resume {nick}"
            )),
            None => {}
        }
    }
    for (id, row) in contacts::all(db)? {
        if let Some(first) = outbox::decide_first(db, id, row.next_seq)? {
            warnings.push(format!(
                "new messages to {name} wait until an old one is decided: amsctl queue retry {first}, \
                 or discard",
                name = row.name
            ));
        }
        if let Some(command) = lost::add_again(db, &row)? {
            warnings.push(format!(
                "the relay no longer knows {name}, so nothing reaches them: {command}",
                name = row.name
            ));
        }
        if row.offered.is_some() {
            warnings.push(format!(
                "the key of {} changed: {}",
                row.name,
                key_hint(&row.name, "FINGERPRINT")
            ));
        }
    }
    Ok(warnings)
}

/// Names in the config that no contact has: rules go by names, so one that was written wrong, or
/// whose contact was renamed, is silently about nobody.
fn unknown(db: &impl Read, app: &App) -> Result<Vec<String>, StoreError> {
    let sockets = app.sockets.borrow();
    let socket = |(path, names): &(PathBuf, Vec<String>)| {
        (format!("the socket {} may send to", path.display()), names.clone())
    };
    let sockets = sockets.named.iter().map(socket);
    let hook = |(name, from)| (format!("the hook {name} is run for"), from);
    let mut warnings = Vec::new();
    for (what, names) in sockets.chain(app.hooks.named().into_iter().map(hook)) {
        for name in names {
            if contacts::by_name(db, &name)?.is_none() {
                warnings.push(format!(
                    "{what} {name}, and no contact is called that: amsctl contact list shows the \
                     names; correct the config, or rename the contact"
                ));
            }
        }
    }
    Ok(warnings)
}

pub(super) async fn stop(app: App) -> Result<Done, RpcError> {
    app.stop.cancel();
    Ok(Done {})
}
