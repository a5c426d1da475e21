//! `amsctl events`

use ams_rpc::types::{EventType, SubscribeParams};

use crate::failed::Failed;
use crate::patience::{Limit, Patience};
use crate::render;
use crate::session::Session;
use crate::text;

/// Follow everything that happens.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl events
  amsctl events --type contact.online --type contact.offline
  amsctl events --json --since CURSOR | jq .type")]
pub struct Args {
    /// Go on after this cursor of an earlier event; default: from now on.
    #[arg(long, value_name = "CURSOR")]
    since: Option<String>,

    /// Only events of this type; may be given several times.
    #[arg(long = "type", value_name = "T")]
    types: Vec<EventType>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let mut params = SubscribeParams {
            since: self.since,
            types: Some(self.types).filter(|types| !types.is_empty()),
        };
        let mut patience = Patience::new(Limit::new(None));
        let mut followed = false;
        loop {
            let error = match session.subscribe(&params) {
                Err(error) => error,
                Ok(mut events) => {
                    patience.answered();
                    // Without an event there is no place to go on from, and nobody can say what was lost.
                    if std::mem::replace(&mut followed, true) && params.since.is_none() {
                        text::note("amsctl: amsd was away; events of that time may be missing");
                    }
                    loop {
                        match events.next_notification() {
                            Err(error) => break error.into(),
                            Ok((event, raw)) => {
                                let shown = if session.json {
                                    text::json(raw.get())
                                } else {
                                    render::event(&event)
                                };
                                text::print(&shown)?;
                                // Where to go on when the connection breaks.
                                params.since = Some(event.cursor);
                            }
                        }
                    }
                }
            };
            if patience.wait(&error).is_err() {
                return Err(session.explain(error));
            }
        }
    }
}
