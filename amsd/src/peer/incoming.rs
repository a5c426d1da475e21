//! A link that a contact dialled, on its way to the actor of that contact.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ams_link::Link;
use ams_link::receiver::Frame;
use ams_link::stream::BoxedStream;
use tokio::sync::Notify;

/// A link that the contact dialled, and what it said before it was known who it is.
pub(super) struct Incoming {
    pub(super) link: Link<BoxedStream>,
    pub(super) early: Vec<Frame>,
}

/// The newest of the links that came in and were not looked at. The contact gave up the older ones:
/// it dials again only then.
#[derive(Default)]
pub(super) struct Newest {
    link: Mutex<Option<Incoming>>,
    came: Notify,
}

impl Newest {
    /// Takes the place of the one before it, which is closed.
    pub(super) fn put(&self, link: Incoming) {
        let before = self.lock().replace(link);
        drop(before);
        self.came.notify_one();
    }

    /// Waits for one. Nothing is lost if the future is dropped.
    pub(super) async fn next(&self) -> Incoming {
        loop {
            if let Some(link) = self.lock().take() {
                return link;
            }
            self.came.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Incoming>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
