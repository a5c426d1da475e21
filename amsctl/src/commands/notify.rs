//! `amsctl notify`

use std::io::{IsTerminal, Read};

use ams_rpc::Exit;
use ams_rpc::types::{HookEvent, Message};

use crate::desktop::{self, Shown};
use crate::failed::Failed;

/// A line of the daemon is no longer.
const MAX_INPUT: u64 = 1024 * 1024;

/// Show what a hook is run for as a desktop notification.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl hook test notify
  amsctl recv --follow --reader desktop --exec amsctl notify

It reads the event, or a message as `recv --json` has it, on stdin. In the daemon's config:

  [[hook]]
  name = \"notify\"
  run = [\"/usr/bin/amsctl\", \"notify\"]
  pass_env = [\"DBUS_SESSION_BUS_ADDRESS\", \"XDG_RUNTIME_DIR\"]

A message's title is in the headline; priority 1 and 2 are shown with low urgency, 5 as critical.")]
pub struct Args {}

impl Args {
    pub(crate) fn run(self) -> Result<u8, Failed> {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            return Err(Failed::usage("there is no event to show")
                .hint("it is run by a hook, with the event on stdin: amsctl notify --help"));
        }
        let mut text = String::new();
        let read = stdin.lock().take(MAX_INPUT).read_to_string(&mut text);
        read.map_err(|error| Failed::usage(format!("cannot read stdin: {error}")))?;
        desktop::show(&shown(&text)?).map_err(|why| {
            Failed::new(Exit::Failed, format!("the notification is not shown: {why}")).hint(
                "a hook reaches the desktop with pass_env = [\"DBUS_SESSION_BUS_ADDRESS\", \
                 \"XDG_RUNTIME_DIR\"]; and something there has to show notifications",
            )
        })?;
        Ok(Exit::Done.code())
    }
}

fn shown(text: &str) -> Result<Shown, Failed> {
    let wrong = match serde_json::from_str::<HookEvent>(text) {
        Ok(event) => return Ok(Shown::of_event(&event)),
        Err(wrong) => wrong,
    };
    match serde_json::from_str::<Message>(text) {
        Ok(message) => Ok(Shown::of_message(&message)),
        Err(_) => Err(Failed::usage(format!("stdin is no event of a hook: {wrong}"))
            .hint("one JSON object, as a hook's program reads it")),
    }
}
