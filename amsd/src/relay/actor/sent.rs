//! Which envelope the n-th `Send` of a link was, until the relay counts it as taken.

use std::collections::VecDeque;

use crate::session::seal::CipherKey;

/// Envelopes without the relay's word. A relay takes each as soon as it reads it, so that more
/// than this means that it does not read; then no more are taken from the router either.
const MOST: usize = 4096;

/// The `Send`s of one link.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Of those that the relay did not count yet; `None`: a bare one.
    keys: VecDeque<Option<CipherKey>>,
    accepted: u64,
}

/// The relay counts what was never sent, or counts backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongCount;

impl Sent {
    /// Whether more may be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.keys.len() < MOST
    }

    /// Whether all was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// One more was sent.
    pub(crate) fn push(&mut self, key: Option<CipherKey>) {
        self.keys.push_back(key);
    }

    /// The relay took the first `count` of the link; gives those that it had not counted before.
    pub(crate) fn accepted(&mut self, count: u64) -> Result<Vec<CipherKey>, WrongCount> {
        let news = count.checked_sub(self.accepted).ok_or(WrongCount)?;
        let news = usize::try_from(news).ok().filter(|news| *news <= self.keys.len());
        let taken = self.keys.drain(..news.ok_or(WrongCount)?).flatten().collect();
        self.accepted = count;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use ams_wire::id::RootTag;

    use super::*;
    use crate::contacts::ContactId;

    fn key(ctr: u64) -> CipherKey {
        CipherKey { contact: ContactId(1), root: RootTag([0; 8]), ctr }
    }

    #[test]
    fn a_count_covers_what_was_sent_since_the_last_one() {
        let mut sent = Sent::default();
        for next in [Some(key(1)), None, Some(key(2)), Some(key(3))] {
            sent.push(next);
        }
        assert_eq!(sent.accepted(0), Ok(vec![]));
        assert_eq!(sent.accepted(2), Ok(vec![key(1)]));
        assert_eq!(sent.accepted(2), Ok(vec![]));
        sent.push(Some(key(4)));
        assert_eq!(sent.accepted(5), Ok(vec![key(2), key(3), key(4)]));
    }

    #[test]
    fn a_count_of_nothing_sent_is_refused() {
        let mut sent = Sent::default();
        sent.push(Some(key(1)));
        assert_eq!(sent.accepted(2), Err(WrongCount));
        assert_eq!(sent.accepted(u64::MAX), Err(WrongCount));
        assert_eq!(sent.accepted(1), Ok(vec![key(1)]));
        assert_eq!(sent.accepted(0), Err(WrongCount));
    }

    #[test]
    fn a_relay_that_takes_nothing_gets_no_more() {
        let mut sent = Sent::default();
        while sent.has_room() {
            sent.push(None);
        }
        assert_eq!(sent.keys.len(), MOST);
        sent.accepted(1).unwrap();
        assert!(sent.has_room());
    }
}
