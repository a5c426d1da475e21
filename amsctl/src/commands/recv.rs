//! `amsctl recv`

use std::ffi::OsString;
use std::time::Duration;

use ams_rpc::Exit;
use ams_rpc::methods::inbox;
use ams_rpc::types::{
    DEFAULT_READER, InboxAckParams, InboxBatch, InboxNextParams, Message, Period,
};

use crate::failed::Failed;
use crate::outlet::Outlet;
use crate::patience::Limit;
use crate::render;
use crate::session::Session;
use crate::text;

/// How long one call waits while following; then it asks again.
const FOLLOW: Duration = Duration::from_secs(10 * 60);

/// Print what arrived and this reader has not had, then acknowledge it. Where stdout is a pipe, a
/// message is acknowledged when the pipe's reader has taken it.
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
    /// acknowledged when it exits 0, and recv ends with 1 when it does not. Everything after it
    /// belongs to it.
    #[arg(long, value_name = "CMD ARGS", num_args = 1.., allow_hyphen_values = true,
        conflicts_with = "peek")]
    exec: Vec<OsString>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let mut outlet = match Outlet::program(&self.exec)? {
            Some(program) => program,
            None => Outlet::stdout(),
        };
        let json = session.json || !self.exec.is_empty();
        let first = Limit::new(self.timeout);
        let mut printed = 0_u32;
        let mut after: Option<String> = None;
        loop {
            let wait = self.wait(first, printed);
            let left = self.max.map(|max| max.saturating_sub(printed));
            let most = [left, outlet.at_once()].into_iter().flatten().min();
            let batch = self.next(session, wait, most, after.as_deref())?;
            let shown = batch.messages.iter().map(|message| shown(message, json));
            let (taken, ended) = outlet.hand_over(shown);
            printed = printed.saturating_add(u32::try_from(taken).unwrap_or(u32::MAX));
            if self.peek {
                after.clone_from(&batch.cursor);
            } else {
                self.acknowledge(session, &batch, taken)?;
            }
            ended?;
            let done = self.max.is_some_and(|max| printed >= max);
            // Nobody came in time, or everything that was there is printed.
            let idle = taken == 0 && (!self.follow || (printed == 0 && self.timeout.is_some()));
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
        max: Option<u32>,
        after: Option<&str>,
    ) -> Result<InboxBatch, Failed> {
        let params = |wait| InboxNextParams {
            reader: self.reader.clone(),
            max,
            wait,
            from: self.from.clone(),
            from_start: Some(true).filter(|_| self.from_start),
            peek: Some(true).filter(|_| self.peek),
            after: after.map(str::to_owned),
        };
        match wait {
            None => session.call::<inbox::Next>(&params(None)),
            Some(limit) => session
                .persist::<inbox::Next>(limit, |left| params(Some(left.unwrap_or(Period(FOLLOW))))),
        }
    }

    /// Acknowledges the first `taken` messages of `batch`, and no more.
    fn acknowledge(
        &self,
        session: &mut Session,
        batch: &InboxBatch,
        taken: usize,
    ) -> Result<(), Failed> {
        let cursor = match taken {
            0 => return Ok(()),
            all if all == batch.messages.len() => batch.cursor.clone(),
            some => {
                // A cursor is for a whole answer: the same again, as far as it was taken.
                let part = self.next(session, None, u32::try_from(some).ok(), None)?;
                let same = part.messages.iter().eq(batch.messages.iter().take(some));
                part.cursor.filter(|_| same)
            }
        };
        let Some(cursor) = cursor else { return Ok(()) };
        let ack = |_| InboxAckParams { reader: self.reader.clone(), cursor: cursor.clone() };
        match session.persist::<inbox::Ack>(Limit::new(None), ack) {
            Ok(_) => Ok(()),
            Err(failed) => Err(self.come_again(failed)),
        }
    }

    /// The daemon refused the acknowledgement of what was printed already.
    fn come_again(&self, failed: Failed) -> Failed {
        // Whether one that went away had taken it is not known.
        if failed.kind.as_deref().is_none_or(|kind| kind == Failed::AWAY) {
            return failed;
        }
        let what = if self.exec.is_empty() { "printed" } else { "handed over" };
        let message = format!(
            "what was {what} is not acknowledged, so the next recv begins with it: {}",
            failed.message.unwrap_or_default()
        );
        Failed { message: Some(message), ..failed }
    }

    fn end(&self, printed: u32) -> u8 {
        match self.timeout {
            Some(_) if printed == 0 => Exit::NothingCame.code(),
            _ => Exit::Done.code(),
        }
    }
}

/// A message for people, or as a line of JSON.
fn shown(message: &Message, json: bool) -> String {
    if !json {
        return render::message(message);
    }
    // Strings, numbers and lists: always written.
    let mut line = text::json(&serde_json::to_string(message).unwrap_or_default());
    line.push('\n');
    line
}
