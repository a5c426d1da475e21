//! Handshakes take turns. They are the costly thing that a stranger can ask for, and the threads
//! that compute them are those that serve everybody else: half of the machine's are left to the
//! links that are up. Whoever waits is served in order; when too many wait, the one that waits
//! longest goes, who has the least time left.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Who computes, and who waits for it.
#[derive(Debug)]
pub(crate) struct Turns {
    // Set once.
    at_once: usize,
    most_waiting: usize,
    // Shared, behind a short lock.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    /// The oldest first.
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// Its holder may compute. Dropping it lets the next one.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Turns>);

impl Turns {
    /// For a machine of so many processors.
    pub(crate) fn new(processors: usize, most_waiting: usize) -> Arc<Self> {
        let at_once = processors.div_ceil(2).max(1);
        Arc::new(Self { at_once, most_waiting, state: Mutex::default() })
    }

    /// Waits for a turn; `None` when too many came after.
    pub(crate) async fn next(self: &Arc<Self>) -> Option<Turn> {
        let (give, turn) = oneshot::channel();
        let dropped = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.running < self.at_once {
                state.running = state.running.saturating_add(1);
                return Some(Turn(Arc::clone(self)));
            }
            state.waiting.push_back(give);
            let is_full = state.waiting.len() > self.most_waiting;
            if is_full { state.waiting.pop_front() } else { None }
        };
        drop(dropped);
        turn.await.ok()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            let next = state.waiting.pop_front();
            if next.is_none() {
                state.running = state.running.saturating_sub(1);
            }
            next
        };
        // Whoever gave up drops what it is given, and so gives it to the one behind it.
        if let Some(next) = next {
            let _ = next.send(Turn(Arc::clone(&self.0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future + Unpin>(waits: &mut F) -> Poll<F::Output> {
        std::pin::Pin::new(waits).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn turns_are_taken_in_order_and_the_oldest_goes_when_too_many_wait() {
        let turns = Turns::new(2, 2);
        let wait = || {
            let turns = Arc::clone(&turns);
            Box::pin(async move { turns.next().await })
        };
        let (mut first, mut second, mut third) = (wait(), wait(), wait());
        let Poll::Ready(Some(turn)) = poll(&mut first) else { panic!("nobody has a turn") };
        assert!(poll(&mut second).is_pending() && poll(&mut third).is_pending());
        // One too many: the second, who waits longest, goes.
        let mut fourth = wait();
        assert!(poll(&mut fourth).is_pending());
        assert!(matches!(poll(&mut second), Poll::Ready(None)));
        assert!(poll(&mut third).is_pending());
        // The third gave up by itself: the fourth is next.
        drop(third);
        drop(turn);
        let Poll::Ready(Some(turn)) = poll(&mut fourth) else { panic!("the turn was lost") };
        drop(turn);
        assert_eq!(turns.state.lock().unwrap().running, 0);
        assert!(matches!(poll(&mut wait()), Poll::Ready(Some(_))));
    }
}
