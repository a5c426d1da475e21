//! What is told on once it is true: events to whoever follows them, and a wake-up to whoever waits
//! for a message to come or to get somewhere.
//!
//! 1. The store hands over every commit's facts, in order: [`Dispatch::told`].
//! 2. An event goes into the [`ring`], from which subscribers pull.
//! 3. A waiter ([`waiters`]) is woken; it looks at the disk, which alone says what is true.
//!
//! Nothing here waits for anybody, and nothing here is remembered by the disk.

mod ring;
mod waiters;

use ams_rpc::types::Fact as EventFact;

use crate::contacts::ContactId;
use crate::fact::Fact;
use ams_wire::id::MessageId;

pub use ring::{BadCursor, Follower, MAX_EVENTS};
pub use waiters::{Arrivals, StateWaiter};

use ring::Ring;
use waiters::Waiters;

/// Where facts go. Clones share it.
#[derive(Clone, Default)]
pub struct Dispatch {
    ring: Ring,
    waiters: Waiters,
}

impl Dispatch {
    /// Takes the facts of a commit that are meant for somebody outside.
    pub fn told(&self, facts: Vec<Fact>) {
        for fact in facts {
            match fact {
                Fact::Event(event) => {
                    if let EventFact::ContactKeyChanged(changed) = &*event
                        && let Ok(contact) = changed.contact_id.parse()
                    {
                        self.waiters.all_moved(ContactId(contact));
                    }
                    self.tell(*event);
                }
                Fact::Arrived => self.waiters.arrived(),
                Fact::Unsure => self.waiters.unsure(),
                Fact::State { contact, id } => self.waiters.moved(contact, id),
                // For the router, the links and the hooks.
                Fact::Due(_)
                | Fact::Greet(_)
                | Fact::Read(_)
                | Fact::Asks(_)
                | Fact::Relays
                | Fact::Hooks
                | Fact::Peers => {}
            }
        }
    }

    /// Tells an event of which nothing is on disk: a link that came up, a contact that went.
    pub fn tell(&self, event: EventFact) {
        self.ring.push(event);
    }

    /// Follows events: from now on, or after the cursor `since`.
    ///
    /// # Errors
    /// [`BadCursor`] where `since` is none.
    pub fn follow(&self, since: Option<&str>) -> Result<Follower, BadCursor> {
        self.ring.follow(since)
    }

    /// How many follow.
    #[cfg(test)]
    #[cfg(unix)]
    pub(crate) fn followers(&self) -> usize {
        self.ring.followers()
    }

    /// Is woken whenever a message came in from now on.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        self.waiters.arrivals()
    }

    /// Is woken whenever this message of ours came into another state from now on, or its
    /// recipient's key came into doubt.
    #[must_use]
    pub fn states(&self, contact: ContactId, id: MessageId) -> StateWaiter {
        self.waiters.states(contact, id)
    }
}
