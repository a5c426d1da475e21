//! `amsctl queue`

pub mod discard;
pub mod keep;
pub mod list;
pub mod retry;

use ams_rpc::types::{MessageId, QueueOutcomes, QueueParams};
use ams_rpc::{Exit, Method};
use clap::Subcommand;

use crate::columns::states;
use crate::failed::Failed;
use crate::session::Session;

/// List messages that are not delivered yet and decide about them.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// List them.
    List(list::Args),
    /// Keep them: they go out by themselves when the contact comes online.
    Keep(keep::Args),
    /// Give them up.
    Discard(discard::Args),
    /// Try them again now.
    Retry(retry::Args),
}

impl Command {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        match self {
            Self::List(args) => args.run(session),
            Self::Keep(args) => args.run(session),
            Self::Discard(args) => args.run(session),
            Self::Retry(args) => args.run(session),
        }
    }
}

/// Which messages are meant.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The messages' ids.
    #[arg(value_name = "ID")]
    ids: Vec<MessageId>,

    /// Every message that is not in a final state.
    #[arg(long)]
    all: bool,

    /// Every such message to this contact.
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
}

impl Which {
    fn params(self) -> QueueParams {
        QueueParams {
            ids: Some(self.ids).filter(|ids| !ids.is_empty()),
            all: Some(true).filter(|_| self.all),
            to: self.to,
            after: None,
        }
    }

    /// Decides about all of them: many are more than one call, and `seen` is shown each answer.
    fn decide<M>(
        self,
        session: &mut Session,
        mut seen: impl FnMut(&QueueOutcomes),
    ) -> Result<u8, Failed>
    where
        M: Method<Params = QueueParams, Result = QueueOutcomes>,
    {
        let mut params = self.params();
        loop {
            let outcomes = session.show_page::<M>(&params, text)?;
            seen(&outcomes);
            match outcomes.next {
                Some(next) => params.after = Some(next),
                None => return Ok(Exit::Done.code()),
            }
        }
    }
}

fn text(outcomes: &QueueOutcomes) -> String {
    let rows: Vec<[String; 2]> = outcomes
        .messages
        .iter()
        .map(|outcome| [outcome.id.to_string(), outcome.state.to_string()])
        .collect();
    states(&rows, &[1])
}
