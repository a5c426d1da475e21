//! The last events, in memory. Subscribers pull from it, each at its own pace, so that a slow one
//! costs nothing; one that fell out of it is told how much it lost.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ams_rpc::types::{Event, Fact, LostFact, Message, Time};
use data_encoding::BASE32_NOPAD_NOCASE;
use tokio::sync::watch;

/// Events that are kept.
pub const MAX_EVENTS: usize = 10_000;
/// What they may take together, by [`weight`]; a flood of the largest messages would otherwise
/// fill half a gigabyte. Whoever needs what fell out finds it in the inbox.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// A text that was not the cursor of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the cursor of an event")]
pub struct BadCursor(String);

/// Which run of the daemon, and the number of the event to go on with: the one after that which
/// carries the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    run: [u8; 8],
    number: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.run, self.number.to_be_bytes()].concat();
        f.write_str(&BASE32_NOPAD_NOCASE.encode(&bytes).to_ascii_lowercase())
    }
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let bytes = BASE32_NOPAD_NOCASE.decode(text.as_bytes()).ok()?;
        let (run, number) = bytes.split_first_chunk::<8>()?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        Some(Self { run: *run, number })
    }
}

/// The ring. Clones share it.
#[derive(Clone)]
pub(super) struct Ring(Arc<Shared>);

struct Shared {
    // Set once.
    run: [u8; 8],
    // Shared, written only by push.
    kept: Mutex<Kept>,
    /// The number of the next event, for those who wait for it.
    next: watch::Sender<u64>,
}

/// Events are numbered from 0 in each run.
#[derive(Default)]
struct Kept {
    events: VecDeque<Arc<Event>>,
    /// The number of the first one that is kept.
    first: u64,
    bytes: usize,
}

impl Kept {
    fn next(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.events.len()).unwrap_or(u64::MAX))
    }

    fn get(&self, number: u64) -> Option<Arc<Event>> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.events.get(at).cloned()
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self(Arc::new(Shared {
            run: ams_crypto::random::bytes(),
            kept: Mutex::default(),
            next: watch::Sender::new(0),
        }))
    }
}

impl Ring {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every change below leaves it whole, so what a panic left behind is whole too.
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cursor(&self, number: u64) -> String {
        Cursor { run: self.0.run, number }.to_string()
    }

    pub(super) fn push(&self, fact: Fact) {
        let mut kept = self.kept();
        let cursor = self.cursor(kept.next().saturating_add(1));
        let event = Event { cursor, time: Time::now(), fact };
        kept.bytes = kept.bytes.saturating_add(weight(&event));
        kept.events.push_back(Arc::new(event));
        while kept.events.len() > MAX_EVENTS || (kept.bytes > MAX_BYTES && kept.events.len() > 1) {
            let Some(gone) = kept.events.pop_front() else { break };
            kept.bytes = kept.bytes.saturating_sub(weight(&gone));
            kept.first = kept.first.saturating_add(1);
        }
        let next = kept.next();
        drop(kept);
        // Two pushes may overtake each other here; the higher number stays.
        self.0.next.send_if_modified(|shown| {
            let higher = next > *shown;
            *shown = next.max(*shown);
            higher
        });
    }

    pub(super) fn follow(&self, since: Option<&str>) -> Result<Follower, BadCursor> {
        let Some(text) = since else { return Ok(self.follow_new()) };
        let kept = self.kept();
        let (next, lost) = match Cursor::parse(text) {
            Some(Cursor { run, .. }) if run != self.0.run => {
                // Of a run before this one: what happened in between, nobody knows.
                (kept.first, Some(LostFact { count: None }))
            }
            Some(Cursor { number, .. }) if number <= kept.next() => (number, None),
            _ => return Err(BadCursor(text.chars().take(64).collect())),
        };
        drop(kept);
        Ok(Follower { ring: self.clone(), next, lost, news: self.0.next.subscribe() })
    }

    #[cfg(test)]
    #[cfg(unix)]
    pub(super) fn followers(&self) -> usize {
        self.0.next.receiver_count()
    }

    pub(super) fn follow_new(&self) -> Follower {
        let next = self.kept().next();
        Follower { ring: self.clone(), next, lost: None, news: self.0.next.subscribe() }
    }
}

/// What an event takes in memory, roughly: itself and what its strings hold.
fn weight(event: &Event) -> usize {
    let text = match &event.fact {
        Fact::MessageReceived(received) => weight_of_message(&received.message),
        _ => 0,
    };
    size_of::<Event>().saturating_add(256).saturating_add(text)
}

fn weight_of_message(message: &Message) -> usize {
    let tags = message.tags.iter().map(|tag| tag.len().saturating_add(size_of::<String>()));
    tags.fold(message.body.len(), usize::saturating_add)
        .saturating_add(message.title.as_ref().map_or(0, String::len))
}

/// One subscriber's place in the ring.
pub struct Follower {
    ring: Ring,
    /// The number of the event that comes next.
    next: u64,
    /// To be told first.
    lost: Option<LostFact>,
    news: watch::Receiver<u64>,
}

impl Follower {
    /// The next event; first of all `events.lost`, where some were missed. Nothing is lost when
    /// the caller stops waiting.
    pub async fn next(&mut self) -> Arc<Event> {
        loop {
            self.news.borrow_and_update();
            if let Some(event) = self.take() {
                return event;
            }
            if self.news.changed().await.is_err() {
                // Not while `self.ring` is there, which holds the other end.
                std::future::pending::<()>().await;
            }
        }
    }

    fn take(&mut self) -> Option<Arc<Event>> {
        let kept = self.ring.kept();
        let missed = kept.first.saturating_sub(self.next);
        if missed > 0 {
            self.next = kept.first;
            let before = self.lost.take();
            // A number is of no use where a part of it is not known.
            let count = before.is_none().then_some(missed);
            self.lost = Some(LostFact { count });
        }
        if let Some(lost) = self.lost.take() {
            let cursor = self.ring.cursor(self.next);
            let fact = Fact::EventsLost(lost);
            return Some(Arc::new(Event { cursor, time: Time::now(), fact }));
        }
        let event = kept.get(self.next)?;
        self.next = self.next.saturating_add(1);
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use ams_rpc::types::{LinkFact, MessageId};
    use polled_once::now;

    use super::*;

    /// Polls once: what is there already.
    mod polled_once {
        use std::pin::pin;
        use std::task::{Context, Poll, Waker};

        pub(super) fn now<T>(future: impl Future<Output = T>) -> Option<T> {
            match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(value) => Some(value),
                Poll::Pending => None,
            }
        }
    }

    fn named(name: &str) -> Fact {
        Fact::RelayUp(LinkFact { name: name.to_string(), reason: None })
    }

    fn name_of(event: &Event) -> String {
        match &event.fact {
            Fact::RelayUp(link) => link.name.clone(),
            other => format!("{other:?}"),
        }
    }

    fn lost_of(event: &Event) -> Option<u64> {
        match &event.fact {
            Fact::EventsLost(lost) => lost.count,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn followers_go_on_where_they_were() {
        let ring = Ring::default();
        ring.push(named("before"));
        let mut follower = ring.follow(None).unwrap();
        assert!(now(follower.next()).is_none());
        ring.push(named("a"));
        ring.push(named("b"));
        let first = now(follower.next()).unwrap();
        assert_eq!(name_of(&first), "a");
        let mut again = ring.follow(Some(&first.cursor)).unwrap();
        assert_eq!(name_of(&now(again.next()).unwrap()), "b");
        assert!(now(again.next()).is_none());
        assert_eq!(name_of(&now(follower.next()).unwrap()), "b");
    }

    #[tokio::test]
    async fn a_waiting_follower_is_woken() {
        let ring = Ring::default();
        let mut follower = ring.follow(None).unwrap();
        let waiting = tokio::spawn(async move { name_of(follower.next().await.as_ref()) });
        tokio::task::yield_now().await;
        ring.push(named("a"));
        assert_eq!(waiting.await.unwrap(), "a");
    }

    #[test]
    fn who_is_behind_is_told_and_costs_nothing() {
        let ring = Ring::default();
        let mut slow = ring.follow(None).unwrap();
        for number in 0..MAX_EVENTS + 3 {
            ring.push(named(&number.to_string()));
        }
        assert_eq!(ring.kept().events.len(), MAX_EVENTS);
        let lost = now(slow.next()).unwrap();
        assert_eq!(lost_of(&lost), Some(3));
        assert_eq!(name_of(&now(slow.next()).unwrap()), "3");
        // Going on from the note loses nothing more.
        let mut again = ring.follow(Some(&lost.cursor)).unwrap();
        assert_eq!(name_of(&now(again.next()).unwrap()), "3");
        for number in 4..MAX_EVENTS + 3 {
            assert_eq!(name_of(&now(slow.next()).unwrap()), number.to_string());
        }
        assert!(now(slow.next()).is_none());
    }

    #[test]
    fn a_cursor_of_another_run_loses_an_unknown_number() {
        let (before, ring) = (Ring::default(), Ring::default());
        before.push(named("old"));
        let old = now(before.follow(Some(&before.cursor(0))).unwrap().next()).unwrap();
        ring.push(named("new"));
        let mut follower = ring.follow(Some(&old.cursor)).unwrap();
        let lost = now(follower.next()).unwrap();
        assert_eq!(lost_of(&lost), None);
        assert_eq!(name_of(&now(follower.next()).unwrap()), "new");
    }

    #[test]
    fn a_note_before_the_first_event_can_be_gone_on_from() {
        let (before, ring) = (Ring::default(), Ring::default());
        let mut follower = ring.follow(Some(&before.cursor(7))).unwrap();
        let lost = now(follower.next()).unwrap();
        ring.push(named("first"));
        let mut again = ring.follow(Some(&lost.cursor)).unwrap();
        assert_eq!(name_of(&now(again.next()).unwrap()), "first");
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let ring = Ring::default();
        ring.push(named("a"));
        for text in ["", "x", "1", &ring.cursor(2), &ring.cursor(9), &"a".repeat(500)] {
            assert!(ring.follow(Some(text)).is_err(), "{text}");
        }
        assert!(ring.follow(Some(&ring.cursor(0).to_ascii_uppercase())).is_ok());
    }

    #[test]
    fn large_messages_are_bounded_by_their_bytes() {
        let ring = Ring::default();
        for _ in 0..1_500 {
            ring.push(Fact::MessageReceived(ams_rpc::types::ReceivedFact {
                message: Message {
                    id: MessageId([0; 16]),
                    contact: String::new(),
                    contact_id: String::new(),
                    direction: ams_rpc::types::Direction::In,
                    from: String::new(),
                    to: String::new(),
                    body: "x".repeat(46 * 1024),
                    state: ams_rpc::types::State::Delivered,
                    time_sent: Time::now(),
                    time_received: None,
                    verified: false,
                    via: None,
                    reply_to: None,
                    title: None,
                    priority: None,
                    tags: Vec::new(),
                    choices: None,
                },
            }));
        }
        let kept = ring.kept();
        assert!(kept.bytes <= MAX_BYTES && kept.events.len() > 600, "{}", kept.events.len());
        assert_eq!(kept.next(), 1_500);
    }
}
