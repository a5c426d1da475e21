//! Where messages are handed over: stdout, or a program for each.
//!
//! A message is acknowledged when it was handed over, and is gone for its reader then. So stdout is
//! written message by message, and where it is a pipe, a message is handed over when the pipe's
//! reader has taken it: one that stops in the middle, like `head -1`, leaves the rest unread.

use std::env::consts::EXE_SUFFIX;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ams_rpc::Exit;

use crate::failed::Failed;
use crate::platform::stdout;
use crate::text;

/// A reader that takes its messages faster than this gets more of them at a time.
const QUICK: Duration = Duration::from_millis(100);
/// The most messages at a time.
const MOST: u32 = 1024;

/// Where messages go.
#[derive(Debug)]
pub enum Outlet<'a> {
    /// They are printed.
    Stdout {
        /// Where it is a pipe: how many messages are handed over before they are acknowledged.
        pace: Option<u32>,
    },
    /// A program is run for each, with the message on its stdin.
    Program {
        /// What is run.
        program: &'a OsString,
        /// With these arguments.
        args: &'a [OsString],
    },
}

impl<'a> Outlet<'a> {
    /// Stdout, whatever it is. One that was closed is `/dev/null` by now: the standard library opened
    /// that in its place.
    #[must_use]
    pub fn stdout() -> Self {
        Self::Stdout { pace: stdout::is_pipe().then_some(1) }
    }

    /// A program, the first of `words`, with the others as its arguments; `None` without any.
    ///
    /// # Errors
    /// Exit 2 where there is no such program.
    pub fn program(words: &'a [OsString]) -> Result<Option<Self>, Failed> {
        let [program, args @ ..] = words else { return Ok(None) };
        if !is_there(program) {
            return Err(no_program(program));
        }
        Ok(Some(Self::Program { program, args }))
    }

    /// How many messages may be asked for at once; `None`: as many as there are.
    #[must_use]
    pub fn at_once(&self) -> Option<u32> {
        match self {
            Self::Stdout { pace } => *pace,
            // So each is acknowledged by itself.
            Self::Program { .. } => Some(1),
        }
    }

    /// Hands over one after the other; how many were, and why no more.
    pub fn hand_over(
        &mut self,
        shown: impl Iterator<Item = String>,
    ) -> (usize, Result<(), Failed>) {
        let began = Instant::now();
        let mut taken = 0_usize;
        for one in shown {
            let handed = match self {
                Self::Stdout { .. } => print(&one),
                Self::Program { program, args } => execute(program, args, &one),
            };
            if let Err(failed) = handed {
                return (taken, Err(failed));
            }
            taken = taken.saturating_add(1);
        }
        if let Self::Stdout { pace: Some(pace) } = self {
            // What a slow reader took should be acknowledged soon: it may be stopped at any moment.
            let quick = began.elapsed() < QUICK;
            *pace = if quick { pace.saturating_mul(2).min(MOST) } else { 1 };
        }
        (taken, Ok(()))
    }
}

fn print(shown: &str) -> Result<(), Failed> {
    text::print(shown)?;
    stdout::wait_until_taken()?;
    Ok(())
}

/// Whether the system would find the program: a mistyped one is told at once, and not when a
/// message came.
fn is_there(program: &OsString) -> bool {
    let path = Path::new(program);
    // On Windows the end of a program's name may be left out, and the system puts it there.
    let mut whole = program.clone();
    whole.push(EXE_SUFFIX);
    let is_file = |folder: &Path| folder.join(path).is_file() || folder.join(&whole).is_file();
    if path.components().count() != 1 || program.to_string_lossy().contains('/') {
        return is_file(Path::new(""));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| is_file(&folder))
}

fn no_program(program: &OsString) -> Failed {
    let shown = program.to_string_lossy();
    Failed::usage(format!("there is no program {shown}"))
        .hint("nothing was acknowledged; give its path, like ./handle-one")
}

/// Runs the program with one message. No shell, and nothing of the message in its arguments.
fn execute(program: &OsString, args: &[OsString], message: &str) -> Result<(), Failed> {
    let shown = program.to_string_lossy();
    let failed = |what: String| {
        Failed::new(Exit::Failed, format!("{shown} {what}"))
            .hint("the message was not acknowledged; the next recv begins with it")
    };
    let mut child = match Command::new(program).args(args).stdin(Stdio::piped()).spawn() {
        Ok(child) => child,
        // It was there a moment ago.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_program(program)),
        Err(error) => return Err(failed(format!("cannot be run: {error}"))),
    };
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(message.as_bytes()) {
            // It may not care for its input.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => text::note(&format!("amsctl: {shown} did not take the message: {error}")),
            Ok(()) => {}
        }
    }
    let status = child.wait().map_err(|error| failed(format!("was lost: {error}")))?;
    if status.success() { Ok(()) } else { Err(failed(format!("ended with {status}"))) }
}
