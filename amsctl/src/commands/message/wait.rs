//! `amsctl message wait`

use ams_rpc::methods::message;
use ams_rpc::types::{Direction, MessageId, MessageParams, Period, Stage, WaitParams};

use crate::commands::send::not_reached;
use crate::failed::Failed;
use crate::patience::Limit;
use crate::session::Session;
use crate::text;

/// Wait until a message reached a stage or can no longer reach it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  id=$(amsctl send alice --print-id hi)
  amsctl message wait $id --for read --timeout 5m")]
pub struct Args {
    /// The message's id.
    id: MessageId,

    /// The stage to wait for.
    #[arg(long = "for", value_name = "sent|delivered|read")]
    stage: Stage,

    /// How long at most, like 30s or 5m.
    #[arg(long, value_name = "DUR")]
    timeout: Option<Period>,

    /// The contact that it was sent to, where the id was used for several.
    #[arg(long, value_name = "NAME")]
    contact: Option<String>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let params = |timeout| WaitParams {
            id: self.id,
            stage: self.stage,
            timeout,
            contact: self.contact.clone(),
        };
        let result = session.persist::<message::Wait>(Limit::new(self.timeout), params)?;
        if session.json {
            text::print_value(&result)?;
        }
        if !result.reached {
            let to = self.recipient(session);
            text::note(&not_reached(session, Some(self.stage), &result, to.as_deref()));
        }
        Ok(result.exit)
    }

    /// To whom it was sent: the hints name them.
    fn recipient(&self, session: &mut Session) -> Option<String> {
        if self.contact.is_some() {
            return self.contact.clone();
        }
        let params = MessageParams { id: self.id, contact: None };
        let shown = session.call::<message::Show>(&params).ok()?;
        let sent = shown.messages.into_iter().find(|one| one.message.direction == Direction::Out);
        sent.map(|one| one.message.contact)
    }
}
