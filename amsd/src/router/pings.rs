//! Pings that wait for their answers. In memory alone, and gone with whoever asked.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ams_wire::id::PingToken;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::contacts::ContactId;

/// Pings that wait at once. A person looks at a few contacts; a script that asks faster than it is
/// answered is told so.
const MOST: usize = 64;

/// A contact's daemon answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The way that the answer came: `direct`, or `relay:` and the relay's nickname.
    pub via: String,
    /// From the link's taking the ping to the answer.
    pub took: Duration,
}

/// Why a ping is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PingError {
    /// No path to the contact is up.
    #[error("no path to it is up")]
    NoWay,
    /// The relay says that it is not there, or it was never heard of.
    #[error("it is offline")]
    Offline,
    /// Too many pings wait.
    #[error("too many pings wait for an answer")]
    TooMany,
    /// The daemon ends, or its disk failed.
    #[error("it could not be looked up")]
    Failed,
}

type Answer = oneshot::Sender<Result<Answered, PingError>>;

struct Waiting {
    contact: ContactId,
    /// `None`: not sent yet.
    sent: Option<Instant>,
    answer: Answer,
}

/// All of them.
#[derive(Default)]
pub(super) struct Pings(Mutex<BTreeMap<PingToken, Waiting>>);

impl Pings {
    /// Waits until it is answered. Dropped, it is forgotten.
    pub(super) async fn wait(
        &self,
        contact: ContactId,
        poke: impl FnOnce(),
    ) -> Result<Answered, PingError> {
        let token = PingToken(ams_crypto::random::bytes());
        let (answer, answered) = oneshot::channel();
        {
            let mut pings = self.lock();
            if pings.len() >= MOST {
                return Err(PingError::TooMany);
            }
            pings.insert(token, Waiting { contact, sent: None, answer });
        }
        let _forget = Forget(self, token);
        poke();
        answered.await.unwrap_or(Err(PingError::Failed))
    }

    /// Those that were not sent.
    pub(super) fn unsent(&self) -> Vec<(PingToken, ContactId)> {
        let pings = self.lock();
        let unsent = pings.iter().filter(|(_, waiting)| waiting.sent.is_none());
        unsent.map(|(token, waiting)| (*token, waiting.contact)).collect()
    }

    /// It leaves now.
    pub(super) fn sent(&self, token: PingToken, now: Instant) {
        if let Some(waiting) = self.lock().get_mut(&token) {
            waiting.sent = Some(now);
        }
    }

    /// It came back from `contact`. One that was not asked for, or came before, says nothing.
    pub(super) fn came_back(&self, contact: ContactId, token: PingToken, via: &str, now: Instant) {
        let mut pings = self.lock();
        let sent = pings.get(&token).filter(|of| of.contact == contact).and_then(|of| of.sent);
        let Some(sent) = sent else { return };
        if let Some(waiting) = pings.remove(&token) {
            let took = now.duration_since(sent);
            // Whoever asked may have given up.
            let _ = waiting.answer.send(Ok(Answered { via: via.to_owned(), took }));
        }
    }

    /// There will be no answer.
    pub(super) fn fail(&self, token: PingToken, why: PingError) {
        if let Some(waiting) = self.lock().remove(&token) {
            let _ = waiting.answer.send(Err(why));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PingToken, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Forget<'a>(&'a Pings, PingToken);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

/// Between two answers to a contact's pings, in the long run.
const PAUSE: Duration = Duration::from_millis(500);
/// Answers that may go before that counts.
const BURST: u32 = 5;

/// How often a contact is answered: what is too much is dropped.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// Up to here answers were used.
    used_until: Option<Instant>,
}

impl Allowance {
    /// Whether one may go now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let from = self.used_until.filter(|until| *until > now).unwrap_or(now);
        let until = from.checked_add(PAUSE).unwrap_or(from);
        let most = PAUSE.saturating_mul(BURST);
        let may = until.duration_since(now) <= most;
        if may {
            self.used_until = Some(until);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;

    const BOB: ContactId = ContactId(1);
    const CAROL: ContactId = ContactId(2);

    async fn waits<T>(mut for_it: Pin<&mut impl Future<Output = T>>) -> bool {
        poll_fn(|cx| Poll::Ready(for_it.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_once_from_whom_was_asked_and_after_it_was_sent() {
        let pings = Pings::default();
        let asked = pings.wait(BOB, || ());
        tokio::pin!(asked);
        assert!(waits(asked.as_mut()).await);
        let (token, contact) = pings.unsent()[0];
        assert_eq!(contact, BOB);
        let began = Instant::now();
        let second = Duration::from_secs(1);
        pings.came_back(BOB, token, "direct", began);
        pings.sent(token, began);
        assert!(pings.unsent().is_empty());
        pings.came_back(CAROL, token, "direct", began + second);
        pings.came_back(BOB, PingToken([1; 8]), "direct", began + second);
        assert!(waits(asked.as_mut()).await);
        pings.came_back(BOB, token, "relay:home", began + second);
        pings.came_back(BOB, token, "direct", began + second);
        let answered = Answered { via: "relay:home".to_owned(), took: second };
        assert_eq!(asked.await, Ok(answered));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_makes_room() {
        let pings = Pings::default();
        {
            let mut many = Vec::new();
            for _ in 0..MOST {
                let mut one = Box::pin(pings.wait(BOB, || ()));
                assert!(waits(one.as_mut()).await);
                many.push(one);
            }
            assert_eq!(pings.wait(BOB, || ()).await, Err(PingError::TooMany));
        }
        assert!(pings.unsent().is_empty());
        let failed = pings.wait(BOB, || {
            let (token, _) = pings.unsent()[0];
            pings.fail(token, PingError::NoWay);
        });
        assert_eq!(failed.await, Err(PingError::NoWay));
    }

    #[test]
    fn a_contact_is_answered_in_bounds() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        let answered =
            |allowance: &mut Allowance, now| (0..100).filter(|_| allowance.take(now)).count();
        assert_eq!(answered(&mut allowance, now), 5);
        assert_eq!(answered(&mut allowance, now + PAUSE), 1);
        assert_eq!(answered(&mut allowance, now + PAUSE * 3), 2);
        assert_eq!(answered(&mut allowance, now + PAUSE * 1000), 5);
    }
}
