//! One file per command, named like its method: `relay/join.rs` is `amsctl relay join` and calls
//! `relay.join`. The few that have another name are listed in the test below.

pub mod answer;
pub mod ask;
pub mod backup;
pub mod call;
pub mod chat;
pub mod completions;
pub mod contact;
pub mod doctor;
pub mod events;
pub mod history;
pub mod hook;
pub mod id;
pub mod message;
pub mod notify;
pub mod peer;
pub mod ping;
pub mod presence;
pub mod queue;
pub mod reader;
pub mod recv;
pub mod relay;
pub mod restore;
pub mod send;
pub mod status;
pub mod stop;
pub mod wait;

use clap::Subcommand;

use crate::failed::Failed;
use crate::session::Session;

/// What to do.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Show the daemon, its relays, its queue and its inbox.
    Status(status::Args),
    /// Look for what is wrong, and say what to do about it.
    Doctor(doctor::Args),
    /// Stop the daemon.
    Stop(stop::Args),
    /// Show the own fingerprint, accounts and peer links.
    Id(id::Args),
    /// Write identity, contacts and messages into a file.
    Backup(backup::Args),
    /// Restore a backup into a new profile.
    Restore(restore::Args),
    /// Show or hide that this daemon is online.
    Presence(presence::Args),
    /// Send a message.
    Send(send::Args),
    /// Ask somebody something, and print the answer.
    Ask(ask::Args),
    /// Answer a question.
    Answer(answer::Args),
    /// Talk to a contact, line by line.
    Chat(chat::Args),
    /// Print what arrived and was not printed yet.
    Recv(recv::Args),
    /// List or remove readers of the inbox.
    #[command(subcommand)]
    Reader(reader::Command),
    /// Show what was said.
    History(history::Args),
    /// Wait until a contact is online.
    Wait(wait::Args),
    /// Measure the round trip to a contact's daemon, and say which way it takes.
    Ping(ping::Args),
    /// Show, wait for or delete one message.
    #[command(subcommand)]
    Message(message::Command),
    /// List messages that are not delivered yet and decide about them.
    #[command(subcommand)]
    Queue(queue::Command),
    /// List, try and repeat the programs that are run for what happens.
    #[command(subcommand)]
    Hook(hook::Command),
    /// Join relays and connect to them.
    #[command(subcommand)]
    Relay(relay::Command),
    /// Meet people directly, without a relay.
    #[command(subcommand)]
    Peer(peer::Command),
    /// Ask, accept and verify contacts.
    #[command(subcommand)]
    Contact(contact::Command),
    /// Follow everything that happens.
    Events(events::Args),
    /// Call any method of the daemon.
    Call(call::Args),
    /// Show what a hook is run for as a desktop notification.
    Notify(notify::Args),
    /// Print what makes a shell complete what is typed.
    Completions(completions::Args),
}

impl Command {
    /// Carries it out, and says with which code to exit.
    ///
    /// # Errors
    /// What went wrong.
    pub fn run(self, session: &mut Session) -> Result<u8, Failed> {
        match self {
            Self::Status(args) => args.run(session),
            Self::Doctor(args) => args.run(session),
            Self::Stop(args) => args.run(session),
            Self::Id(args) => args.run(session),
            Self::Backup(args) => args.run(session),
            Self::Restore(args) => args.run(session),
            Self::Presence(args) => args.run(session),
            Self::Send(args) => args.run(session),
            Self::Ask(args) => args.run(session),
            Self::Answer(args) => args.run(session),
            Self::Chat(args) => args.run(session),
            Self::Recv(args) => args.run(session),
            Self::Reader(command) => command.run(session),
            Self::History(args) => args.run(session),
            Self::Message(command) => command.run(session),
            Self::Queue(command) => command.run(session),
            Self::Hook(command) => command.run(session),
            Self::Relay(command) => command.run(session),
            Self::Peer(command) => command.run(session),
            Self::Contact(command) => command.run(session),
            Self::Events(args) => args.run(session),
            Self::Call(args) => args.run(session),
            Self::Notify(args) => args.run(),
            Self::Completions(args) => args.run(session),
            Self::Wait(args) => args.run(session),
            Self::Ping(args) => args.run(session),
        }
    }

    /// A note on undelivered messages may follow it: not where it would say the same again, or
    /// where the daemon is gone.
    #[must_use]
    pub fn takes_note(&self) -> bool {
        !matches!(
            self,
            Self::Status(_)
                | Self::Doctor(_)
                | Self::Stop(_)
                | Self::Queue(_)
                | Self::Call(_)
                | Self::Notify(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use ams_rpc::METHODS;
    use clap::CommandFactory;

    use crate::Cli;

    /// Commands that are not named like their method, and what they call.
    const NAMED_OTHERWISE: &[(&str, &[&str])] = &[
        ("status", &["daemon.status"]),
        ("doctor", &["daemon.status"]),
        ("stop", &["daemon.stop"]),
        ("id", &["identity.show"]),
        ("backup", &["profile.backup"]),
        ("restore", &["profile.restore"]),
        ("presence", &["presence.set"]),
        ("send", &["message.send", "message.check"]),
        ("ask", &["message.ask"]),
        ("answer", &["message.answer"]),
        ("wait", &["contact.wait"]),
        ("ping", &["contact.ping"]),
        ("completions", &[]),
        ("chat", &["message.send"]),
        ("notify", &[]),
        ("recv", &["inbox.next", "inbox.ack"]),
        ("reader.list", &["inbox.readers"]),
        ("reader.remove", &["inbox.forget"]),
        ("events", &["events.subscribe"]),
        ("call", &[]),
    ];
    /// Methods without a command of their own.
    const WITHOUT_COMMAND: &[&str] = &["events.unsubscribe", "rpc.discover"];

    /// `relay.join` for `relay/join.rs`, with what is in it.
    fn files() -> Vec<(String, String)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands");
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let noun = entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
            if entry.path().is_dir() {
                for verb in fs::read_dir(entry.path()).unwrap().map(Result::unwrap) {
                    let name = verb.path().file_stem().unwrap().to_str().unwrap().to_owned();
                    if name != "mod" {
                        let source = fs::read_to_string(verb.path()).unwrap();
                        found.push((format!("{noun}.{name}"), source));
                    }
                }
            } else if noun != "mod" {
                found.push((noun, fs::read_to_string(entry.path()).unwrap()));
            }
        }
        found
    }

    #[test]
    fn every_method_has_its_command_and_every_command_its_method() {
        let mut called = BTreeSet::new();
        for (command, source) in files() {
            let otherwise = NAMED_OTHERWISE.iter().find(|(name, _)| *name == command);
            let methods = otherwise.map_or(vec![command.as_str()], |(_, methods)| methods.to_vec());
            for method in methods {
                let (noun, verb) = method.split_once('.').unwrap();
                let verb: String = verb
                    .chars()
                    .take(1)
                    .flat_map(char::to_uppercase)
                    .chain(verb.chars().skip(1))
                    .collect();
                // `events` goes through the session, which knows the subscription.
                if command != "events" {
                    assert!(
                        source.contains(&format!("{noun}::{verb}")),
                        "{command} calls {method}"
                    );
                }
                called.insert(method.to_owned());
            }
        }
        called.extend(WITHOUT_COMMAND.iter().map(|name| (*name).to_owned()));
        let table: BTreeSet<String> = METHODS.iter().map(|entry| entry.name.to_owned()).collect();
        assert_eq!(called, table);
    }

    /// All definitions, also those that are made only when they are needed.
    fn whole() -> clap::Command {
        let mut whole = Cli::command().disable_help_subcommand(true);
        whole.build();
        whole
    }

    #[test]
    fn every_file_is_a_subcommand_and_the_other_way_round() {
        let mut commands = BTreeSet::new();
        for noun in whole().get_subcommands() {
            let verbs: Vec<&str> = noun.get_subcommands().map(clap::Command::get_name).collect();
            if verbs.is_empty() || noun.get_name() == "history" {
                let list = if verbs.is_empty() { "" } else { ".list" };
                commands.insert(format!("{}{list}", noun.get_name()));
            }
            commands.extend(verbs.iter().map(|verb| format!("{}.{verb}", noun.get_name())));
        }
        let files: BTreeSet<String> = files().into_iter().map(|(name, _)| name).collect();
        assert_eq!(commands, files);
    }

    #[test]
    fn the_definitions_hold_and_every_command_has_an_example() {
        Cli::command().debug_assert();
        for noun in whole().get_subcommands() {
            let leaves: Vec<&clap::Command> = match noun.get_subcommands().count() {
                0 => vec![noun],
                _ => noun.get_subcommands().collect(),
            };
            for leaf in leaves {
                let help = leaf.get_after_help().map(ToString::to_string).unwrap_or_default();
                let name = leaf.get_name();
                assert!(help.contains("Example") && help.contains("amsctl"), "{name}");
                assert!(leaf.get_about().is_some(), "{name}");
            }
        }
    }
}
