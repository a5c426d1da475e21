//! Events that are made up, for whoever tries a hook.

use std::sync::Arc;

use ams_rpc::types::{
    ContactFact, Direction, EventType, Fact, IncomingRequest, KeyChangedFact, LinkFact, LostFact,
    Message, MessageId, ReceivedFact, RequestFact, State, StateFact, Time,
};

use super::{Hook, Run, actor};

/// The message that the made up events are about.
const ID: MessageId = MessageId([0; 16]);
const WHO: &str = "test";

/// A run of `hook` with an event of this type that did not happen.
pub fn run(hook: &Arc<Hook>, kind: EventType, now: i64) -> Run {
    let time = Time::from_millis(now);
    // About somebody whom the hook is for.
    let from = hook.filter.from.as_ref().and_then(|names| names.first());
    let contact = from.cloned().unwrap_or_else(|| WHO.to_owned());
    let tags = hook.filter.tags.iter().flatten().take(1).cloned().collect();
    actor::run(hook, 0, time, fact(kind, contact, tags, time), true)
}

fn fact(kind: EventType, contact: String, tags: Vec<String>, time: Time) -> Fact {
    let contact_id = String::from("0");
    let link = || LinkFact { name: WHO.to_owned(), reason: Some("a test".to_owned()) };
    let state = |state, contact, contact_id| StateFact {
        id: ID,
        contact,
        contact_id,
        state,
        reason: Some("a test".to_owned()),
    };
    let known = |contact, contact_id| ContactFact { contact, contact_id, verified: true };
    match kind {
        EventType::MessageReceived => Fact::MessageReceived(ReceivedFact {
            message: Message {
                id: ID,
                contact: contact.clone(),
                contact_id,
                direction: Direction::In,
                from: contact,
                to: crate::outbox::show::ME.to_owned(),
                body: "a test of this hook, and no message".to_owned(),
                state: State::Delivered,
                time_sent: time,
                time_received: Some(time),
                verified: true,
                via: None,
                reply_to: None,
                title: Some("Test".to_owned()),
                priority: Some(3),
                tags,
                choices: None,
            },
        }),
        EventType::MessageState => Fact::MessageState(state(State::Delivered, contact, contact_id)),
        EventType::MessageUndelivered => {
            Fact::MessageUndelivered(state(State::Undelivered, contact, contact_id))
        }
        EventType::ContactOnline => Fact::ContactOnline(known(contact, contact_id)),
        EventType::ContactOffline => Fact::ContactOffline(known(contact, contact_id)),
        EventType::ContactApproved => Fact::ContactApproved(known(contact, contact_id)),
        EventType::ContactRequest => Fact::ContactRequest(RequestFact {
            request: IncomingRequest {
                id: "0".to_owned(),
                from: contact.clone(),
                name: contact,
                fingerprint: String::new(),
                again: false,
                received: time,
            },
        }),
        EventType::ContactKeyChanged => Fact::ContactKeyChanged(KeyChangedFact {
            contact,
            contact_id,
            fingerprint: String::new(),
            offered_fingerprint: String::new(),
        }),
        EventType::RelayUp => Fact::RelayUp(link()),
        EventType::RelayDown => Fact::RelayDown(link()),
        EventType::PeerUp => Fact::PeerUp(link()),
        EventType::PeerDown => Fact::PeerDown(link()),
        EventType::StateCloned => Fact::StateCloned(link()),
        EventType::EventsLost => Fact::EventsLost(LostFact { count: None }),
    }
}
