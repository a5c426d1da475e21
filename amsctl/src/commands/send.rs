//! `amsctl send`

use std::io::{self, IsTerminal};

use ams_rpc::Exit;
use ams_rpc::error::key_hint;
use ams_rpc::methods::{contact, message};
use ams_rpc::types::{
    ContactParams, IfUndelivered, MessageId, Path, PathKind, PathState, Period, SendParams,
    SendResult, Stage, State, Via, WaitParams,
};

use serde_json::json;

use crate::body;
use crate::failed::Failed;
use crate::patience::Limit;
use crate::render;
use crate::session::Session;
use crate::text;

/// Send a message. Returns when it is durable in the daemon's queue.
#[derive(Debug, clap::Args)]
#[command(override_usage = "\
amsctl send [OPTIONS] NAME [TEXT]...
       amsctl send [OPTIONS] --to NAME [--to NAME]... [TEXT]...")]
#[command(after_help = "\
Examples:
  amsctl send alice backup finished
  df -h | amsctl send alice
  amsctl send alice --wait delivered --timeout 30s 'disk full' || echo 'not delivered'
  amsctl send --to alice --to bob 'the same for both'
  amsctl send alice --key load --ttl 10m </proc/loadavg
  amsctl send alice --if-undelivered keep 'when you are back'
  amsctl send alice --dry-run 'disk full'
  amsctl send alice -- -5 degrees")]
pub struct Args {
    /// The contact's name, then the text; without text, or with `-`, the text is stdin.
    #[arg(value_name = "NAME TEXT")]
    words: Vec<String>,

    /// A recipient; may be given several times. Then everything else is text.
    #[arg(long, value_name = "NAME")]
    to: Vec<String>,

    /// Wait until this stage is reached or can no longer be.
    #[arg(long, value_name = "sent|delivered|read")]
    wait: Option<Stage>,

    /// How long to wait at most, like 30s or 5m.
    #[arg(long, value_name = "DUR", requires = "wait")]
    timeout: Option<Period>,

    /// Print the message's id as soon as it is durable.
    #[arg(long)]
    print_id: bool,

    /// The message's id, 32 lower-case hex digits. The same id again sends nothing twice.
    #[arg(long)]
    id: Option<MessageId>,

    /// The id of the message that this one answers.
    #[arg(long, value_name = "ID")]
    reply_to: Option<MessageId>,

    /// A title, for notifications.
    #[arg(long)]
    title: Option<String>,

    /// From 1, the lowest, to 5.
    #[arg(long, value_name = "1..5", value_parser = clap::value_parser!(u8).range(1..=5))]
    priority: Option<u8>,

    /// A tag; may be given several times.
    #[arg(long = "tag", value_name = "T")]
    tags: Vec<String>,

    /// What becomes of it if it cannot be delivered, whatever the config says.
    #[arg(long, value_name = "ask|keep|discard")]
    if_undelivered: Option<IfUndelivered>,

    /// Give it up when this time is over, like 10m or 2h.
    #[arg(long, value_name = "DUR")]
    ttl: Option<Period>,

    /// Replace an older message with this key that has not left.
    #[arg(long, value_name = "K")]
    key: Option<String>,

    /// The only way that it may go.
    #[arg(long, value_name = "direct|relay|relay:NICK")]
    via: Option<Via>,

    /// Send nothing, and say what would become of it. It exits as sending would; nothing is waited
    /// for, and no id is printed.
    #[arg(long)]
    dry_run: bool,
}

/// One message on its way.
struct Letter {
    to: String,
    id: MessageId,
}

impl Args {
    pub(crate) fn run(mut self, session: &mut Session) -> Result<u8, Failed> {
        let recipients = self.recipients()?;
        if self.id.is_some() && recipients.len() > 1 {
            return Err(Failed::usage("an id is for one message, and several --to are several")
                .hint("leave --id away, or send them one by one"));
        }
        let body = body::read(&self.words)?;
        let letters = recipients
            .into_iter()
            .map(|to| Ok(Letter { to, id: self.id.map_or_else(new_id, Ok)? }))
            .collect::<Result<Vec<_>, Failed>>()?;
        if self.dry_run {
            return self.check(session, &letters, &body);
        }
        let limit = Limit::new(self.timeout);
        // A wait is a call of its own where something is to be done between accepting and waiting, and
        // where it has no end: accepting has one.
        let several = letters.len() > 1;
        let apart = self.print_id || several || self.timeout.is_none();

        let mut highest = Exit::Done.code();
        let mut accepted = Vec::new();
        for letter in letters {
            match self.send(session, &letter, &body, limit, !apart) {
                Ok(result) => accepted.push((letter, result)),
                Err(failed) => {
                    highest = highest.max(refused(session, &letter, &failed, several)?);
                }
            }
        }
        for (letter, mut result) in accepted {
            if let (true, Some(stage)) = (apart, self.wait) {
                match self.wait(session, &letter, stage, limit) {
                    Ok(waited) => result = waited,
                    Err(failed) => {
                        highest = highest.max(refused(session, &letter, &failed, several)?);
                        continue;
                    }
                }
            }
            if session.json {
                text::print_json(&line(&letter, &result, several))?;
            }
            self.note_way(session, &letter, &body);
            if !result.reached {
                text::note(&not_reached(session, self.wait, &result, Some(&letter.to)));
            }
            highest = highest.max(result.exit);
        }
        Ok(highest)
    }

    fn recipients(&mut self) -> Result<Vec<String>, Failed> {
        if !self.to.is_empty() {
            let mut recipients = Vec::new();
            for to in std::mem::take(&mut self.to) {
                // Named twice, it is still one recipient.
                if !recipients.contains(&to) {
                    recipients.push(to);
                }
            }
            return Ok(recipients);
        }
        if self.words.is_empty() {
            return Err(Failed::usage("there is nobody to send to")
                .hint("amsctl send NAME TEXT; amsctl contact list shows the names"));
        }
        Ok(vec![self.words.remove(0)])
    }

    fn params(&self, letter: &Letter, body: &str) -> SendParams {
        SendParams {
            id: Some(letter.id),
            reply_to: self.reply_to,
            title: self.title.clone(),
            priority: self.priority,
            tags: Some(self.tags.clone()).filter(|tags| !tags.is_empty()),
            if_undelivered: self.if_undelivered,
            ttl: self.ttl,
            key: self.key.clone(),
            via: self.via.clone(),
            ..SendParams::new(letter.to.clone(), body)
        }
    }

    fn send(
        &self,
        session: &mut Session,
        letter: &Letter,
        body: &str,
        limit: Limit,
        wait: bool,
    ) -> Result<SendResult, Failed> {
        let wait = self.wait.filter(|_| wait);
        let params = |left: Option<Period>| SendParams {
            wait,
            timeout: left.filter(|_| wait.is_some()),
            ..self.params(letter, body)
        };
        // Accepting a message has no time limit of its own; only waiting has.
        let limit = if wait.is_some() { limit } else { Limit::new(None) };
        let result = session
            .persist::<message::Send>(limit, params)
            .map_err(|failed| failed.about(letter.id))?;
        if self.print_id {
            text::print(&letter.id.to_string())?;
        }
        Ok(result)
    }

    /// Says of each what sending it would come to.
    fn check(&self, session: &mut Session, letters: &[Letter], body: &str) -> Result<u8, Failed> {
        let several = letters.len() > 1;
        let mut highest = Exit::Done.code();
        for letter in letters {
            let mut params = self.params(letter, body);
            params.id = self.id;
            match session.call::<message::Check>(&params) {
                Ok(would) if session.json => {
                    text::print_value(&would)?;
                }
                Ok(would) => text::print(&render::checked(&would))?,
                Err(failed) => {
                    highest = highest.max(refused(session, letter, &failed, several)?);
                }
            }
        }
        Ok(highest)
    }

    /// On a terminal: that it may only go a way which is not open now.
    fn note_way(&self, session: &mut Session, letter: &Letter, body: &str) {
        if self.via.is_none() || session.json || !io::stderr().is_terminal() {
            return;
        }
        let Ok(would) = session.call::<message::Check>(&self.params(letter, body)) else { return };
        if let Some(reason) = would.reason {
            let (to, reason) = (text::line(&letter.to), text::line(&reason));
            text::note(&format!("amsctl: the message to {to} {reason}"));
        }
    }

    fn wait(
        &self,
        session: &mut Session,
        letter: &Letter,
        stage: Stage,
        limit: Limit,
    ) -> Result<SendResult, Failed> {
        let params = |timeout| WaitParams {
            id: letter.id,
            stage,
            timeout,
            contact: Some(letter.to.clone()),
        };
        session.persist::<message::Wait>(limit, params).map_err(|failed| failed.about(letter.id))
    }
}

/// The result as it came; where there are several, each says whose it is.
fn line(letter: &Letter, result: &SendResult, several: bool) -> String {
    if several {
        let SendResult { id, state, reached, exit } = result;
        let to = &letter.to;
        json!({"to": to, "id": id, "state": state, "reached": reached, "exit": exit}).to_string()
    } else {
        serde_json::to_string(result).unwrap_or_default()
    }
}

/// A message that was not sent has its line, too, where there are several: with the id that it would
/// have had, and why.
fn refused(
    session: &Session,
    letter: &Letter,
    failed: &Failed,
    several: bool,
) -> Result<u8, Failed> {
    if session.json && several {
        let error = json!({"kind": failed.kind, "message": failed.message, "hint": failed.hint});
        let line = json!({
            "to": letter.to, "id": letter.id, "state": null, "reached": false,
            "exit": failed.exit, "error": error,
        });
        text::print_json(&line.to_string())?;
    }
    Ok(failed.report())
}

/// Why a wait ended without its stage.
pub(super) fn not_reached(
    session: &mut Session,
    wanted: Option<Stage>,
    result: &SendResult,
    to: Option<&str>,
) -> String {
    let wanted = wanted.map_or("sent", Stage::as_str);
    let whose = to.map(|to| format!(" to {}", text::line(to))).unwrap_or_default();
    let name = to.map_or_else(|| "NAME".to_owned(), text::line);
    let then = match result.state {
        _ if result.exit == Exit::KeyNotTrusted.code() => format!(
            "; the contact's key changed, so nothing more is sent: {}",
            key_hint(&name, "FINGERPRINT")
        ),
        State::Undelivered => {
            format!("; what now: amsctl queue retry {id}, or keep, or discard", id = result.id)
        }
        State::Queued | State::Sent | State::Waiting => {
            match (to.and_then(|to| forgotten(session, to)), result.state) {
                (Some(address), _) => format!(
                    "; the relay no longer knows {name}, so it stays here: amsctl contact add {}",
                    text::line(&address)
                ),
                (None, State::Waiting) => "; it goes out when the contact comes online".to_owned(),
                (None, _) => "; it goes on by itself".to_owned(),
            }
        }
        _ => String::new(),
    };
    format!("amsctl: not {wanted}: the message {}{whose} is {}{then}", result.id, result.state)
}

/// The address of a contact whose relays know it no longer, and to whom nothing else leads.
fn forgotten(session: &mut Session, name: &str) -> Option<String> {
    let contact = session.call::<contact::Show>(&ContactParams { name: name.to_owned() }).ok()?;
    let is_missing = |path: &Path| path.state == PathState::Missing;
    let leads = |path: &Path| !is_missing(path) && path.kind == PathKind::Relay || path.active;
    let lost = contact.paths.iter().any(is_missing) && !contact.paths.iter().any(leads);
    contact.address.filter(|_| lost)
}

/// An id for a message of ours.
pub(super) fn new_id() -> Result<MessageId, Failed> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failed::new(Exit::Failed, format!("the system has no randomness: {error}"))
    })?;
    Ok(MessageId(bytes))
}
