//! Results as text for people.

use std::fmt::Write as _;

use ams_rpc::types::{
    Contact, ContactBrief, ContactState, DaemonStatus, Direction, Event, Fact, Message,
    MessageSteps, PeerInfo, QueuedMessage, RelayInfo, SendChecked, State, Time,
};

use crate::columns::{below, states, table};
use crate::text::{block, line};

/// A time, to the second.
#[must_use]
pub fn time(time: Time) -> String {
    let full = time.to_string();
    match full.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => full,
    }
}

/// `TIME  alice: body`, and for what was sent from here `TIME  me to alice: body  [state]`.
#[must_use]
pub fn message(message: &Message) -> String {
    let when = match message.direction {
        Direction::In => message.time_received.unwrap_or(message.time_sent),
        Direction::Out => message.time_sent,
    };
    let mut shown = format!("{}  ", time(when));
    match message.direction {
        Direction::In => shown.push_str(&line(&message.from)),
        Direction::Out => {
            let _ = write!(shown, "me to {}", line(&message.to));
        }
    }
    shown.push_str(": ");
    if let Some(title) = &message.title {
        let _ = write!(shown, "[{}] ", line(title));
    }
    shown.push_str(&block(&message.body));
    if message.direction == Direction::Out && message.state != State::Read {
        let _ = write!(shown, "  [{}]", message.state);
    }
    if let (Direction::In, Some(choices)) = (message.direction, &message.choices) {
        let answers = if choices.is_empty() { "TEXT".to_owned() } else { choices.join("|") };
        let _ = write!(shown, "  [amsctl answer {} {}]", message.id, line(&answers));
    }
    shown.push('\n');
    shown
}

/// A message, everything that is known of it, and its steps.
#[must_use]
pub fn message_steps(shown: &MessageSteps) -> String {
    let of = &shown.message;
    let mut rows = vec![
        ["id".to_owned(), of.id.to_string()],
        ["from".to_owned(), of.from.clone()],
        ["to".to_owned(), of.to.clone()],
        ["state".to_owned(), of.state.to_string()],
        ["sent".to_owned(), of.time_sent.to_string()],
    ];
    let mut row = |name: &str, value: Option<String>| {
        rows.extend(value.map(|value| [name.to_owned(), value]));
    };
    row("received", of.time_received.map(|time| time.to_string()));
    row("via", of.via.clone());
    row("verified", Some(yes(of.verified)));
    row("reply to", of.reply_to.map(|id| id.to_string()));
    row("title", of.title.clone());
    row("priority", of.priority.map(|priority| priority.to_string()));
    row("choices", of.choices.as_ref().map(|choices| choices.join(", ")));
    row("tags", Some(of.tags.join(", ")).filter(|tags| !tags.is_empty()));
    row("if undelivered", shown.if_undelivered.map(|policy| policy.to_string()));
    row("expires", shown.expires.map(|time| time.to_string()));
    row("key", shown.key.clone());
    row("only via", shown.only_via.as_ref().map(ToString::to_string));
    let mut out = table(&rows);
    let _ = writeln!(out, "body  {}", block(&of.body));
    let steps: Vec<[String; 4]> = shown
        .steps
        .iter()
        .map(|step| {
            [
                step.time.to_string(),
                step.what.clone(),
                step.via.clone().unwrap_or_default(),
                step.reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    if !steps.is_empty() {
        out.push_str("steps\n");
        out.push_str(&below(&steps, &[1]));
    }
    out
}

/// What sending a message would come to.
#[must_use]
pub fn checked(would: &SendChecked) -> String {
    let becomes = match &would.via {
        _ if would.known => "was accepted before; nothing would change".to_owned(),
        Some(via) => format!("would go now, over {}", line(via)),
        None if !would.waits => "would go now; this socket does not tell over which way".to_owned(),
        None => match &would.reason {
            Some(reason) => format!("would wait here: it {}", line(reason)),
            None => "would wait here: no path is up".to_owned(),
        },
    };
    table(&[
        ["to".to_owned(), would.to.clone()],
        ["presence".to_owned(), would.presence.to_string()],
        ["verified".to_owned(), yes(would.verified)],
        ["size".to_owned(), format!("{} of {} bytes", would.size, would.max_size)],
        ["the message".to_owned(), becomes],
    ])
}

/// A queue: ids, for whoever decides about them, and why each message is there.
#[must_use]
pub fn queue(messages: &[QueuedMessage]) -> String {
    let rows: Vec<[String; 6]> = messages
        .iter()
        .map(|QueuedMessage { message, reason }| {
            [
                message.id.to_string(),
                message.state.to_string(),
                time(message.time_sent),
                message.to.clone(),
                beginning(&message.body),
                reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    states(&rows, &[1])
}

/// The first line of a body, short.
fn beginning(body: &str) -> String {
    const LONGEST: usize = 40;
    let first = body.lines().next().unwrap_or_default();
    let mut short: String = first.chars().take(LONGEST).collect();
    if short.len() < body.trim_end().len() {
        short.push('…');
    }
    short
}

/// Relays, a line each.
#[must_use]
pub fn relays(relays: &[RelayInfo]) -> String {
    states(&relay_rows(relays), &[1])
}

fn relay_rows(relays: &[RelayInfo]) -> Vec<[String; 5]> {
    relays
        .iter()
        .map(|relay| {
            [
                relay.name.clone(),
                relay.state.to_string(),
                relay.user.clone(),
                since(relay.since),
                relay.reason.clone().unwrap_or_default(),
            ]
        })
        .collect()
}

/// One relay, after something was done to it.
#[must_use]
pub fn relay(relay: &RelayInfo) -> String {
    relays(std::slice::from_ref(relay))
}

/// Direct peers, a line each.
#[must_use]
pub fn peers(peers: &[PeerInfo]) -> String {
    states(&peer_rows(peers), &[1])
}

fn peer_rows(peers: &[PeerInfo]) -> Vec<[String; 5]> {
    let row = |peer: &PeerInfo| {
        [
            peer.name.clone(),
            peer.state.to_string(),
            peer.address.clone(),
            since(peer.since),
            peer.reason.clone().unwrap_or_default(),
        ]
    };
    peers.iter().map(row).collect()
}

/// One direct peer, after something was done to it.
#[must_use]
pub fn peer(peer: &PeerInfo) -> String {
    peers(std::slice::from_ref(peer))
}

/// Contacts, a line each.
#[must_use]
pub fn contacts(contacts: &[Contact]) -> String {
    let rows: Vec<[String; 5]> = contacts
        .iter()
        .map(|contact| {
            [
                contact.name.clone(),
                contact.state.to_string(),
                contact.presence.to_string(),
                verified(contact).to_owned(),
                contact.address.clone().unwrap_or_default(),
            ]
        })
        .collect();
    states(&rows, &[1, 2])
}

fn verified(contact: &Contact) -> &'static str {
    if contact.verified { "verified" } else { "unverified" }
}

/// One contact, whole.
#[must_use]
pub fn contact(contact: &Contact) -> String {
    let mut rows = vec![
        ["name".to_owned(), contact.name.clone()],
        ["state".to_owned(), contact.state.to_string()],
        ["presence".to_owned(), contact.presence.to_string()],
    ];
    let mut row = |name: &str, value: Option<String>| {
        rows.extend(value.map(|value| [name.to_owned(), value]));
    };
    row("address", contact.address.clone());
    row(
        "verified",
        Some(match contact.verified_by {
            Some(by) if contact.verified => format!("yes, by {by}"),
            // Before it answered there is no key to compare.
            _ if contact.state == ContactState::Pending && contact.fingerprint.is_none() => {
                "no".to_owned()
            }
            _ => format!("no: amsctl contact verify {}", contact.name),
        }),
    );
    row("fingerprint", contact.fingerprint.clone());
    row("offered", contact.offered_fingerprint.clone());
    row("id", Some(contact.id.clone()));
    let mut out = table(&rows);
    let paths: Vec<[String; 5]> = contact
        .paths
        .iter()
        .map(|path| {
            let active = if path.active { ", in use" } else { "" };
            [
                path.kind.to_string(),
                path.name.clone(),
                format!("{}{active}", path.state),
                since(path.since),
                path.reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    if !paths.is_empty() {
        out.push_str("paths\n");
        out.push_str(&below(&paths, &[2]));
    }
    out
}

/// A contact, after something was done to it.
#[must_use]
pub fn contact_brief(contact: &ContactBrief) -> String {
    format!("{}: {}", line(&contact.name), contact.state)
}

/// The daemon's state.
#[must_use]
pub fn status(status: &DaemonStatus) -> String {
    let queue = &status.queue;
    let mut out = format!(
        "amsd {}, running since {} (pid {}), {}\n",
        line(&status.version),
        time(status.started),
        status.pid,
        status.presence
    );
    let mut rows = vec![
        ["home".to_owned(), status.home.clone()],
        ["fingerprint".to_owned(), status.fingerprint.clone()],
        [
            "queue".to_owned(),
            format!(
                "{} queued, {} sent, {} undelivered, {} waiting",
                queue.queued, queue.sent, queue.undelivered, queue.waiting
            ),
        ],
        ["inbox".to_owned(), format!("{} kept", status.inbox.kept)],
        ["listening".to_owned(), or_none(status.listen.join(", "))],
    ];
    rows.extend(status.socks5.iter().map(|at| ["proxy".to_owned(), at.clone()]));
    out.push_str(&table(&rows));
    if status.relays.is_empty() {
        out.push_str("relays       none: amsctl relay join LINK\n");
    } else {
        out.push_str("relays\n");
        out.push_str(&below(&relay_rows(&status.relays), &[1]));
    }
    if !status.peers.is_empty() {
        out.push_str("peers\n");
        out.push_str(&below(&peer_rows(&status.peers), &[1]));
    }
    for hook in status.hooks.iter().filter(|hook| hook.reason.is_some() || hook.failed > 0) {
        let reason = hook.reason.as_deref().map(|why| format!(": {}", line(why)));
        let failed = match hook.failed {
            0 => String::new(),
            count => format!(", failed for {count}: amsctl hook list"),
        };
        let (name, reason) = (line(&hook.name), reason.unwrap_or_default());
        let _ = writeln!(out, "hook {name}: {}{reason}{failed}", hook.state);
    }
    for warning in &status.warnings {
        let _ = writeln!(out, "warning: {}", line(warning));
    }
    out
}

fn since(at: Option<Time>) -> String {
    at.map(|at| format!("since {}", time(at))).unwrap_or_default()
}

fn or_none(text: String) -> String {
    if text.is_empty() { "no".to_owned() } else { text }
}

/// Yes or no.
#[must_use]
pub fn yes(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// An event: `TIME  type  what belongs to it`.
#[must_use]
pub fn event(event: &Event) -> String {
    let about = match &event.fact {
        Fact::MessageReceived(fact) => {
            format!("{}: {}", line(&fact.message.from), block(&fact.message.body))
        }
        Fact::MessageState(fact) | Fact::MessageUndelivered(fact) => {
            format!("{} to {}: {}", fact.id, line(&fact.contact), fact.state)
                + &because(fact.reason.as_deref())
        }
        Fact::ContactOnline(fact) | Fact::ContactOffline(fact) | Fact::ContactApproved(fact) => {
            line(&fact.contact)
        }
        Fact::ContactRequest(fact) => {
            format!("{} ({})", line(&fact.request.from), line(&fact.request.fingerprint))
        }
        Fact::ContactKeyChanged(fact) => {
            format!("{}: now {}", line(&fact.contact), line(&fact.offered_fingerprint))
        }
        Fact::RelayUp(fact)
        | Fact::RelayDown(fact)
        | Fact::PeerUp(fact)
        | Fact::PeerDown(fact)
        | Fact::StateCloned(fact) => line(&fact.name) + &because(fact.reason.as_deref()),
        Fact::EventsLost(fact) => match fact.count {
            Some(count) => format!("{count} events were missed"),
            None => "events were missed".to_owned(),
        },
    };
    format!("{}  {}  {about}\n", time(event.time), event.fact.kind())
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(" ({})", line(reason))).unwrap_or_default()
}
