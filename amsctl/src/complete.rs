//! What a shell completes: commands and options from their definitions, and names and ids from the
//! daemon, which is asked while a shell completes and at no other time.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ams_rpc::Method;
use ams_rpc::client::Client;
use ams_rpc::methods::{contact, history, hook, inbox, message, queue, relay};
use ams_rpc::types::{
    EventType, HistoryParams, IfUndelivered, Message, MessageParams, NoParams, QueueListParams,
    Stage, Visibility,
};
use clap::{Arg, CommandFactory};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use crate::session::Session;
use crate::{Cli, text};

/// What a shell sets when it asks.
pub const VARIABLE: &str = "AMSCTL_COMPLETE";
/// A shell that completes waits so long for all answers of the daemon, and then does without.
const PATIENCE: Duration = Duration::from_millis(40);
/// So many of the newest messages are offered.
const MOST_MESSAGES: u32 = 20;

/// Answers a shell that asks, and ends the program then.
pub fn answer() {
    if std::env::var_os(VARIABLE).is_some() {
        CompleteEnv::with_factory(definitions).var(VARIABLE).complete();
    }
}

/// Every command, with what its arguments can be completed to.
fn definitions() -> clap::Command {
    let mut whole = Cli::command();
    whole.build();
    with_candidates(whole, &[])
}

fn with_candidates(command: clap::Command, path: &[String]) -> clap::Command {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let command = command.mut_args(|arg| candidates(&words, arg));
    command.mut_subcommands(|below| {
        let path = [path, &[below.get_name().to_owned()]].concat();
        with_candidates(below, &path)
    })
}

fn candidates(command: &[&str], arg: Arg) -> Arg {
    let names: fn() -> Vec<CompletionCandidate> = match (command, arg.get_id().as_str()) {
        (["contact", "accept" | "reject"], "name") => requests,
        (["send"], "words")
        | (["contact", _] | ["peer", "disconnect"] | ["wait" | "ping" | "ask" | "chat"], "name")
        | (["peer", "connect"], "address")
        | (_, "to" | "from" | "contact") => contacts,
        (_, "reader") => readers,
        (["relay", "join" | "login"], "nick") => return arg,
        (["relay", _], "nick") => relays,
        (["answer"] | ["message" | "queue" | "hook", _], "id" | "ids")
        | (_, "before" | "reply_to") => messages,
        (["answer"], "words") => choices,
        (_, "via") => ways,
        (["hook", _], "hook") => hooks,
        (_, "types" | "event") => || words(EventType::ALL),
        (_, "presence") => || words(Visibility::ALL),
        (_, "if_undelivered") => || words(IfUndelivered::ALL),
        (["send"], "wait") | (["message", _], "stage") => || words(Stage::ALL),
        _ => return arg,
    };
    arg.add(ArgValueCandidates::new(names))
}

fn words<T: ToString>(all: &[T]) -> Vec<CompletionCandidate> {
    all.iter().map(|word| CompletionCandidate::new(word.to_string())).collect()
}

/// One that a shell may type and show. What a terminal would take for a command is left out: it
/// can be typed by hand.
fn candidate(value: &str, about: &str) -> Option<CompletionCandidate> {
    let harmless = text::line(value) == value && !value.is_empty();
    let about = text::line(about);
    let help = Some(about).filter(|about| !about.is_empty()).map(Into::into);
    harmless.then(|| CompletionCandidate::new(value).help(help))
}

fn contacts() -> Vec<CompletionCandidate> {
    let known = ask::<contact::List>(&NoParams {}).map(|list| list.contacts).unwrap_or_default();
    let shown = known.iter().filter_map(|contact| {
        candidate(&contact.name, &format!("{}, {}", contact.state, contact.presence))
    });
    shown.collect()
}

fn requests() -> Vec<CompletionCandidate> {
    let known = ask::<contact::Requests>(&NoParams {}).map(|list| list.incoming);
    let known = known.unwrap_or_default();
    known.iter().filter_map(|request| candidate(&request.name, &request.from)).collect()
}

fn relays() -> Vec<CompletionCandidate> {
    let known = ask::<relay::List>(&NoParams {}).map(|list| list.relays).unwrap_or_default();
    known.iter().filter_map(|relay| candidate(&relay.name, relay.state.as_str())).collect()
}

fn ways() -> Vec<CompletionCandidate> {
    let known = ask::<relay::List>(&NoParams {}).map(|list| list.relays).unwrap_or_default();
    let through = known.iter().filter_map(|relay| candidate(&format!("relay:{}", relay.name), ""));
    words(&["direct", "relay"]).into_iter().chain(through).collect()
}

fn hooks() -> Vec<CompletionCandidate> {
    let known = ask::<hook::List>(&NoParams {}).map(|list| list.hooks).unwrap_or_default();
    known.iter().filter_map(|hook| candidate(&hook.name, hook.state.as_str())).collect()
}

fn readers() -> Vec<CompletionCandidate> {
    let known = ask::<inbox::Readers>(&NoParams {}).map(|list| list.readers).unwrap_or_default();
    let shown = known
        .iter()
        .filter_map(|reader| candidate(&reader.name, &format!("{} unread", reader.unread)));
    shown.collect()
}

/// What waits for a decision, and the newest of the history.
fn messages() -> Vec<CompletionCandidate> {
    let Some(mut daemon) = Daemon::find() else { return Vec::new() };
    let queued = daemon.ask::<queue::List>(&QueueListParams::default()).map(|list| list.messages);
    let queued = queued.unwrap_or_default().into_iter().map(|queued| queued.message);
    let params = HistoryParams { limit: Some(MOST_MESSAGES), ..HistoryParams::default() };
    let said = daemon.ask::<history::List>(&params).map(|list| list.messages).unwrap_or_default();
    let mut shown: Vec<CompletionCandidate> = Vec::new();
    for message in queued.chain(said) {
        let id = message.id.to_string();
        let known = shown.iter().any(|other| other.get_value() == OsStr::new(&id));
        if !known {
            shown.extend(candidate(&id, &about(&message)));
        }
    }
    shown
}

/// What may be answered to the question whose id stands in the line.
fn choices() -> Vec<CompletionCandidate> {
    let words = std::env::args().skip_while(|word| word != "answer");
    let Some(id) = words.filter_map(|word| word.parse().ok()).next() else { return Vec::new() };
    let shown = ask::<message::Show>(&MessageParams { id, contact: None });
    let questions = shown.map(|shown| shown.messages).unwrap_or_default();
    let choices = questions.into_iter().filter_map(|shown| shown.message.choices).flatten();
    choices.filter_map(|choice| candidate(&choice, "")).collect()
}

fn about(message: &Message) -> String {
    const LONGEST: usize = 30;
    let beginning: String =
        message.body.lines().next().unwrap_or_default().chars().take(LONGEST).collect();
    format!("{}, {}: {beginning}", message.contact, message.state)
}

/// Asks the daemon; `None` where it does not answer at once.
fn ask<M: Method>(params: &M::Params) -> Option<M::Result> {
    Daemon::find()?.ask::<M>(params)
}

/// The daemon, and until when it is waited for, however often it is asked.
struct Daemon {
    client: Client,
    until: Instant,
}

impl Daemon {
    fn find() -> Option<Self> {
        let until = Instant::now().checked_add(PATIENCE)?;
        let socket = session(std::env::args_os()).socket().ok()?;
        Some(Self { client: Client::connect(&socket).ok()?, until })
    }

    fn ask<M: Method>(&mut self, params: &M::Params) -> Option<M::Result> {
        let left = self.until.checked_duration_since(Instant::now());
        self.client.set_timeout(Some(left.filter(|left| !left.is_zero())?)).ok()?;
        self.client.call::<M>(params).ok()
    }
}

/// The session of the line that is completed: it may name another profile.
fn session(arguments: impl Iterator<Item = OsString>) -> Session {
    let words: Vec<String> = arguments.map(|word| word.to_string_lossy().into_owned()).collect();
    let value_of = |option: &str| {
        let joined = format!("{option}=");
        let mut found = words.windows(2).filter_map(|pair| match pair {
            [name, value] if name == option => Some(value.as_str()),
            [_, word] => word.strip_prefix(&joined),
            _ => None,
        });
        found.next().map(PathBuf::from)
    };
    Session::new(value_of("--home"), value_of("--socket"), false)
}
