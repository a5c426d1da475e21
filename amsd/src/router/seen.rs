//! What the router knows of a contact beside what is on disk.

use std::time::Duration;

use tokio::time::Instant;

use super::pings::Allowance;
use super::serve::Want;

/// Envelopes in a row that none of a contact's keys opens, after which it is asked for fresh ones:
/// it may have gone on with keys that are not here any more.
const MAX_UNREADABLE: u32 = 3;

/// What is remembered of a contact while the daemon runs.
#[derive(Default)]
pub(super) struct Seen {
    /// What a look that came to nothing was to do.
    pub(super) postponed: Want,
    /// When something full last left.
    pub(super) full_at: Option<Instant>,
    /// When it was last answered with a lone receipt.
    pub(super) answered_at: Option<Instant>,
    /// How often its pings are answered.
    pub(super) pongs: Allowance,
    /// When what waits for it was last tried by itself.
    pub(super) woken_at: Option<Instant>,
    /// The pause before the next probe; `None`: no probe is planned.
    pub(super) probe: Option<Duration>,
    /// Since when nothing could be sealed for it, though something is queued.
    pub(super) blocked_since: Option<Instant>,
    /// Envelopes in a row that none of our keys opened.
    unreadable: u32,
}

impl Seen {
    /// An envelope came as this contact's, and no key opens it; `true`: fresh ones are to be asked
    /// for.
    pub(super) fn nothing_opened(&mut self) -> bool {
        self.unreadable = self.unreadable.saturating_add(1);
        let enough = self.unreadable >= MAX_UNREADABLE;
        if enough {
            self.unreadable = 0;
        }
        enough
    }

    /// One opened.
    pub(super) fn opened(&mut self) {
        self.unreadable = 0;
    }
}
