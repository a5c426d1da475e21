//! The command line of AMS: every command is one call to the daemon, and what it answers as text
//! for people or, with `--json`, as it came.
//!
//! In the order of a run:
//!
//! 1. [`Cli`]: what was typed; [`commands`] has one file per command, with its arguments.
//! 2. [`session`]: the connection to the daemon, found, made and made again; [`patience`]: how long it
//!    is waited for; `start`: a daemon where none runs.
//! 3. [`password`], [`body`], `confirm`: what is read from a terminal, a file or stdin.
//! 4. [`text`], [`columns`], [`render`]: what is shown, with everything harmless that somebody else wrote;
//!    [`qr`]: links as QR codes; [`outlet`]: how received messages are handed over; [`progress`]: a word on
//!    what takes long; [`desktop`]: notifications; [`chat`]: a
//!    conversation.
//! 5. [`failed`]: what went wrong, as a sentence, a hint and an exit code.
//!
//! Beside that way: [`complete`], for a shell that asks what could be typed; `doctor`, which looks for what is
//! wrong.
//!
//! `unix` and `windows` are what is particular to the system.

pub mod body;
pub mod chat;
pub mod columns;
pub mod commands;
pub mod complete;
mod confirm;
pub mod desktop;
mod doctor;
pub mod failed;
pub mod outlet;
pub mod password;
pub mod patience;
pub mod progress;
pub mod qr;
pub mod render;
pub mod session;
mod start;
pub mod text;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::path::PathBuf;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

use clap::Parser;

use crate::commands::Command;
use crate::session::Session;

/// AMS from the shell: send and receive messages, manage contacts and relays.
#[derive(Debug, Parser)]
#[command(name = "amsctl", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "\
Examples:
  amsctl relay join 'ams://relay.example.org:7311/invite#…'
  amsctl contact add bob@relay.example.org
  amsctl send bob backup finished
  df -h | amsctl send bob --wait delivered --timeout 30s
  amsctl recv --follow
  amsctl wait bob --online && amsctl send bob 'you are back'

Exit codes: 0 done, 1 failed, 2 usage, 3 not reachable, 4 key not trusted, 5 rate limited,
6 refused, 7 no such thing, 8 queued, 9 undelivered, 10 sent, 11 amsd is not running,
12 nothing came within the timeout.")]
pub struct Cli {
    /// The profile's home folder; everything of the profile lies in it.
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,

    /// The daemon's socket; default: the profile's.
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Start amsd in the background first, where it does not run.
    #[arg(long, global = true, conflicts_with = "socket")]
    pub start: bool,

    /// Print the daemon's results as JSON, one object a line.
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Carries out what was typed, and says with which code to exit.
#[must_use]
pub fn run(cli: Cli) -> u8 {
    let mut session = Session::new(cli.home, cli.socket, cli.json).starting(cli.start);
    let takes_note = cli.command.takes_note();
    match cli.command.run(&mut session) {
        Ok(exit) => {
            if takes_note {
                session.note_undelivered();
            }
            exit
        }
        Err(failed) => failed.report(),
    }
}
