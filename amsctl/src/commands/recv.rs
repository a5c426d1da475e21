//! `amsctl recv`

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use ams_rpc::Exit;
use ams_rpc::methods::inbox;
use ams_rpc::types::{
    DEFAULT_READER, InboxAckParams, InboxBatch, InboxNextParams, Message, Period,
};

use crate::failed::Failed;
use crate::render;
use crate::session::{Limit, Session};
use crate::text;

/// How long one call waits while following; then it asks again.
const FOLLOW: Duration = Duration::from_secs(10 * 60);

/// Print what arrived and this reader has not had, then acknowledge it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl recv
  amsctl recv --follow --reader log >> messages.txt
  amsctl recv --timeout 1m --max 1 --from alice || echo 'nothing from alice'
  amsctl recv --follow --exec ./handle-one")]
pub struct Args {
    /// Stay and print what arrives.
    #[arg(long, conflicts_with = "peek")]
    follow: bool,

    /// The reader, which has a position of its own.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_READER)]
    reader: String,

    /// Where the reader is made now: begin with everything that is kept, not with what comes.
    #[arg(long)]
    from_start: bool,

    /// End after so many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max: Option<u32>,

    /// Wait so long for the first message, like 30s or 5m; exit 12 when none came.
    #[arg(long, value_name = "DUR")]
    timeout: Option<Period>,

    /// Only from this contact; nothing of others is skipped.
    #[arg(long, value_name = "NAME")]
    from: Option<String>,

    /// Show what is there without acknowledging it.
    #[arg(long)]
    peek: bool,

    /// Run this program for each message, with the message as JSON on its stdin; the message is
    /// acknowledged when it exits 0. Everything after it belongs to it.
    #[arg(long, value_name = "CMD ARGS", num_args = 1.., allow_hyphen_values = true,
        conflicts_with = "peek")]
    exec: Vec<OsString>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let mut printed = 0_u32;
        let first = Limit::new(self.timeout);
        loop {
            let wait = self.wait(first, printed);
            let batch = self.next(session, wait, printed)?;
            let count = u32::try_from(batch.messages.len()).unwrap_or(u32::MAX);
            if count > 0 {
                self.hand_over(session, &batch.messages)?;
                printed = printed.saturating_add(count);
            }
            if self.peek {
                if batch.more {
                    text::note("there is more; --max says how much is shown");
                }
                return Ok(self.end(printed));
            }
            if let Some(cursor) = batch.cursor.filter(|_| count > 0) {
                let ack =
                    |_| InboxAckParams { reader: self.reader.clone(), cursor: cursor.clone() };
                session.persist::<inbox::Ack>(Limit::new(None), ack)?;
            }
            let done = self.max.is_some_and(|max| printed >= max);
            // Nobody came in time, or everything that was there is printed.
            let idle = count == 0 && (!self.follow || (printed == 0 && self.timeout.is_some()));
            if done || idle || (!self.follow && !batch.more) {
                return Ok(self.end(printed));
            }
        }
    }

    /// Until when the next call waits for a message; `None` where it does not wait.
    fn wait(&self, first: Limit, printed: u32) -> Option<Limit> {
        match (printed, self.timeout) {
            (0, Some(_)) => Some(first),
            _ if self.follow => Some(Limit::new(None)),
            _ => None,
        }
    }

    fn next(
        &self,
        session: &mut Session,
        wait: Option<Limit>,
        printed: u32,
    ) -> Result<InboxBatch, Failed> {
        let left = self.max.map(|max| max.saturating_sub(printed));
        let params = |wait| InboxNextParams {
            reader: self.reader.clone(),
            // A program gets its messages one by one, and so they are acknowledged.
            max: if self.exec.is_empty() { left } else { Some(1) },
            wait,
            from: self.from.clone(),
            from_start: Some(true).filter(|_| self.from_start),
            peek: Some(true).filter(|_| self.peek),
        };
        match wait {
            None => session.call::<inbox::Next>(&params(None)),
            Some(limit) => session
                .persist::<inbox::Next>(limit, |left| params(Some(left.unwrap_or(Period(FOLLOW))))),
        }
    }

    fn hand_over(&self, session: &Session, messages: &[Message]) -> Result<(), Failed> {
        if let [program, args @ ..] = self.exec.as_slice() {
            return messages.iter().try_for_each(|message| execute(program, args, message));
        }
        let mut shown = String::new();
        for message in messages {
            if session.json {
                shown.push_str(&json(message)?);
                shown.push('\n');
            } else {
                shown.push_str(&render::message(message));
            }
        }
        // Flushed before anything is acknowledged.
        Ok(text::print(&shown)?)
    }

    fn end(&self, printed: u32) -> u8 {
        match self.timeout {
            Some(_) if printed == 0 => Exit::NothingCame.code(),
            _ => Exit::Done.code(),
        }
    }
}

fn json(message: &Message) -> Result<String, Failed> {
    serde_json::to_string(message)
        .map_err(|error| Failed::new(Exit::Failed, format!("cannot write the message: {error}")))
}

/// Runs the program with one message. No shell, and nothing of the message in its arguments.
fn execute(program: &OsString, args: &[OsString], message: &Message) -> Result<(), Failed> {
    let shown = program.to_string_lossy();
    let failed = |what: String| {
        Failed::new(Exit::Failed, format!("{shown} {what}"))
            .hint("the message was not acknowledged; the next recv begins with it")
    };
    let mut line = json(message)?;
    line.push('\n');
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(line.as_bytes()) {
            // It may not care for its input.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => text::note(&format!("amsctl: {shown} did not take the message: {error}")),
            Ok(()) => {}
        }
    }
    let status = child.wait().map_err(|error| failed(format!("was lost: {error}")))?;
    if status.success() { Ok(()) } else { Err(failed(format!("ended with {status}"))) }
}
