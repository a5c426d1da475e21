//! What happens while a line is being typed.

use ams_rpc::Exit;
use ams_rpc::error::key_hint;
use ams_rpc::methods::{inbox, message};
use ams_rpc::types::{
    Event, EventType, Fact, InboxAckParams, InboxNextParams, MessageParams, SubscribeParams,
};
use rustyline::ExternalPrinter;

use super::{PAUSE, Screen, SharedTalk};
use crate::failed::Failed;
use crate::session::Session;
use crate::text::line;

/// What is followed.
const TYPES: [EventType; 5] = [
    EventType::MessageReceived,
    EventType::MessageState,
    EventType::ContactOnline,
    EventType::ContactOffline,
    EventType::ContactKeyChanged,
];

/// Listens.
pub struct Ear<P> {
    /// For events, which take a connection for themselves.
    pub events: Session,
    /// For everything else.
    pub calls: Session,
    /// Whose position is moved when something was shown.
    pub reader: String,
    /// The conversation.
    pub talk: SharedTalk,
    /// Where it is shown.
    pub screen: Screen<P>,
}

impl<P: ExternalPrinter> Ear<P> {
    /// As long as the process lives. A daemon that goes away is waited for.
    pub fn listen(mut self) {
        let params = SubscribeParams { since: None, types: Some(TYPES.to_vec()) };
        let mut away = false;
        loop {
            if let Ok(mut events) = self.events.subscribe(&params) {
                if std::mem::take(&mut away) {
                    self.screen.print("  amsd is back\n".to_owned());
                }
                // After it follows, so that nothing comes in between unseen.
                let mut done = self.catch_up().and_then(|()| self.look_after());
                loop {
                    match done {
                        Err(failed) if failed.exit == Exit::NoDaemon.code() => break,
                        Err(failed) => {
                            let why = failed.message.unwrap_or_default();
                            self.screen.print(format!("  {}\n", line(&why)));
                        }
                        Ok(()) => {}
                    }
                    let Ok((event, _)) = events.next_notification() else { break };
                    done = self.hear(&event);
                }
            }
            // Its other connection is as dead as the one that told.
            self.calls = self.calls.another();
            if !std::mem::replace(&mut away, true) {
                self.screen.print("  amsd is away; what you send waits until it is back\n".into());
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn hear(&mut self, event: &Event) -> Result<(), Failed> {
        match &event.fact {
            Fact::MessageReceived(fact) if self.talk.is_with(&fact.message.contact_id) => {
                self.screen.print(self.talk.show(&fact.message).unwrap_or_default());
                self.catch_up()?;
            }
            Fact::MessageState(fact) => {
                let told = self.talk.state(fact.id, fact.state, fact.reason.as_deref(), false);
                self.screen.print(told.unwrap_or_default());
            }
            Fact::ContactOnline(fact) if self.talk.is_with(&fact.contact_id) => {
                self.screen.print(format!("  {} is online\n", line(&fact.contact)));
            }
            Fact::ContactOffline(fact) if self.talk.is_with(&fact.contact_id) => {
                self.screen.print(format!("  {} is offline\n", line(&fact.contact)));
            }
            Fact::ContactKeyChanged(fact) if self.talk.is_with(&fact.contact_id) => {
                let name = line(&fact.contact);
                self.screen.print(format!(
                    "  the key of {name} changed; nothing is sent until you decide: {}\n",
                    key_hint(&name, "FINGERPRINT")
                ));
            }
            Fact::EventsLost(_) => self.catch_up().and_then(|()| self.look_after())?,
            _ => {}
        }
        Ok(())
    }

    /// Shows what the reader has not had of this contact, and acknowledges it.
    pub fn catch_up(&mut self) -> Result<(), Failed> {
        loop {
            let batch = self.calls.call::<inbox::Next>(&InboxNextParams {
                reader: self.reader.clone(),
                max: None,
                wait: None,
                from: Some(self.talk.name()),
                from_start: None,
                // Without holding the reader: another conversation may have the same.
                peek: Some(true),
                after: None,
            })?;
            for message in &batch.messages {
                self.screen.print(self.talk.show(message).unwrap_or_default());
            }
            let Some(cursor) = batch.cursor else { return Ok(()) };
            let ack = InboxAckParams { reader: self.reader.clone(), cursor };
            self.calls.call::<inbox::Ack>(&ack)?;
            if !batch.more {
                return Ok(());
            }
        }
    }

    /// What became of our messages while nobody listened.
    fn look_after(&mut self) -> Result<(), Failed> {
        let name = self.talk.name();
        for id in self.talk.unfinished() {
            let params = MessageParams { id, contact: Some(name.clone()) };
            // Of another contact, or deleted since.
            let Ok(shown) = self.calls.call::<message::Show>(&params) else { continue };
            for of in shown.messages {
                let reason = of.steps.last().and_then(|step| step.reason.as_deref());
                let told = self.talk.state(id, of.message.state, reason, false);
                self.screen.print(told.unwrap_or_default());
            }
        }
        Ok(())
    }
}
