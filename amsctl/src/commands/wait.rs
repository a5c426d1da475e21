//! `amsctl wait`

use ams_rpc::Exit;
use ams_rpc::methods::contact;
use ams_rpc::types::{
    Awaited, Contact, ContactParams, ContactWaitParams, PathKind, PathState, Period, Presence,
};

use crate::failed::Failed;
use crate::patience::Limit;
use crate::session::Session;
use crate::text;

/// Wait until a contact is online.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl wait alice --online && amsctl send alice 'you are back'
  amsctl wait alice --online --timeout 5m || echo 'alice did not come'")]
pub struct Args {
    /// The contact's name.
    name: String,

    /// What to wait for.
    #[arg(long, required = true)]
    online: bool,

    /// How long at most, like 30s or 5m; exit 12 when it is over.
    #[arg(long, value_name = "DUR")]
    timeout: Option<Period>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let params = |timeout| ContactWaitParams {
            name: self.name.clone(),
            awaited: Awaited::Online,
            timeout,
        };
        // It would wait without end and without a word for somebody who cannot come.
        if self.timeout.is_none()
            && let Some(why) = self.why_unknown(session)
        {
            let name = text::line(&self.name);
            text::note(&format!("amsctl: {name} is {}{why}", Presence::Unknown));
        }
        let result = session.persist::<contact::Wait>(Limit::new(self.timeout), params)?;
        if session.json {
            text::print_value(&result)?;
        }
        if result.exit != Exit::Done.code() {
            // Where it cannot be said why, that it did not come is enough.
            let why = self.why_unknown(session).unwrap_or_default();
            let name = text::line(&result.name);
            text::note(&format!("amsctl: {name} is {}{why}", result.presence));
        }
        Ok(result.exit)
    }

    fn why_unknown(&self, session: &mut Session) -> Option<String> {
        let shown = session.call::<contact::Show>(&ContactParams { name: self.name.clone() });
        shown.ok().and_then(|contact| why_unknown(&contact))
    }
}

/// Why nobody here can know whether the contact is there, and what to do about it.
fn why_unknown(contact: &Contact) -> Option<String> {
    if contact.presence != Presence::Unknown {
        return None;
    }
    let path = contact.paths.iter().find(|path| path.kind == PathKind::Relay)?;
    let nick = text::line(&path.name);
    Some(match path.state {
        PathState::Off => format!(": the relay {nick} is off: amsctl relay connect {nick}"),
        PathState::Connecting | PathState::Down => {
            format!(": the relay {nick} is not connected: amsctl relay list")
        }
        PathState::Refused => format!(": the relay {nick} refuses this daemon: amsctl status"),
        _ => return None,
    })
}
