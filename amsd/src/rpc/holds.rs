//! Who is in the middle of which reader: two programs that took turns on one would each miss what
//! the other got.
//!
//! A connection holds a reader from an `inbox.next` that waits or returned messages until it
//! acknowledged the last of them or closed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ams_rpc::{CallContext, RpcError};

use crate::contacts::ContactId;
use crate::inbox::reader::Cursor;

/// A connection, as far as holding goes.
pub(super) trait Connection: Clone {
    /// Not given to any other while the server runs.
    fn number(&self) -> usize;
    /// Asked of the system at this moment.
    fn is_gone(&self) -> bool;
}

impl Connection for CallContext {
    fn number(&self) -> usize {
        self.id()
    }

    fn is_gone(&self) -> bool {
        self.is_closed()
    }
}

/// Every reader that is held. Clones share it.
pub(super) struct Holds<C = CallContext>(Arc<Mutex<BTreeMap<String, Held<C>>>>);

impl<C> Clone for Holds<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Default for Holds<C> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

struct Held<C> {
    by: C,
    /// Calls that have not answered yet.
    calls: usize,
    /// What was returned last in each scope and is not acknowledged.
    returned: BTreeMap<Option<ContactId>, u64>,
}

impl<C: Connection> Holds<C> {
    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Held<C>>> {
        // A map is whole between any two of the calls below.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes hold of `reader` for a call, until that has answered.
    pub(super) fn take(&self, reader: &str, by: &C) -> Result<Hold<C>, RpcError> {
        let mut held = self.held();
        // Also frees what clients that are gone left behind.
        held.retain(|_, hold| hold.by.number() == by.number() || !hold.by.is_gone());
        let entry = held.entry(reader.to_owned()).or_insert_with(|| Held {
            by: by.clone(),
            calls: 0,
            returned: BTreeMap::new(),
        });
        if entry.by.number() != by.number() {
            return Err(RpcError::reader_busy(format!("another program is reading as {reader}")));
        }
        entry.calls = entry.calls.saturating_add(1);
        Ok(Hold { holds: self.clone(), reader: reader.to_owned(), by: by.number() })
    }

    /// Everything up to `cursor`, in its scope, was acknowledged.
    pub(super) fn acknowledged(&self, reader: &str, by: &C, cursor: Cursor) {
        self.change(reader, by.number(), |entry| {
            entry.returned.retain(|scope, place| {
                let covered = cursor.of.is_none() || *scope == cursor.of;
                !covered || *place > cursor.place
            });
        });
    }

    /// Changes what connection `by` holds, and lets go when nothing is left of it.
    fn change(&self, reader: &str, by: usize, change: impl FnOnce(&mut Held<C>)) {
        let mut held = self.held();
        let Some(entry) = held.get_mut(reader).filter(|entry| entry.by.number() == by) else {
            return;
        };
        change(entry);
        if entry.calls == 0 && entry.returned.is_empty() {
            held.remove(reader);
        }
    }
}

/// A call that is in the middle of a reader. Dropped, it has answered, or was given up.
pub(super) struct Hold<C: Connection = CallContext> {
    holds: Holds<C>,
    reader: String,
    by: usize,
}

impl<C: Connection> Hold<C> {
    /// The call returns messages: its connection goes on holding until these are acknowledged.
    pub(super) fn until_acknowledged(self, cursor: Cursor) {
        self.holds.change(&self.reader, self.by, |entry| {
            let last = entry.returned.entry(cursor.of).or_insert(cursor.place);
            *last = cursor.place.max(*last);
        });
    }
}

impl<C: Connection> Drop for Hold<C> {
    fn drop(&mut self) {
        self.holds.change(&self.reader, self.by, |entry| {
            entry.calls = entry.calls.saturating_sub(1);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[derive(Clone)]
    struct Client(usize, Rc<Cell<bool>>);

    impl Client {
        fn new(number: usize) -> Self {
            Self(number, Rc::default())
        }
    }

    impl Connection for Client {
        fn number(&self) -> usize {
            self.0
        }

        fn is_gone(&self) -> bool {
            self.1.get()
        }
    }

    fn all(place: u64) -> Cursor {
        Cursor { place, of: None }
    }

    #[test]
    fn a_second_one_is_refused_while_the_first_waits() {
        let (holds, one, two) = (Holds::default(), Client::new(1), Client::new(2));
        let waiting = holds.take("default", &one).unwrap();
        let refused = holds.take("default", &two).map(|_| ()).unwrap_err();
        assert_eq!(refused.kind, ams_rpc::ErrorKind::ReaderBusy);
        assert!(holds.take("other", &two).is_ok());
        // The same connection may ask twice.
        drop(holds.take("default", &one).unwrap());
        assert!(holds.take("default", &two).is_err());
        drop(waiting);
        assert!(holds.take("default", &two).is_ok());
        assert!(holds.held().is_empty());
    }

    #[test]
    fn what_was_returned_holds_until_its_last_is_acknowledged() {
        let (holds, one, two) = (Holds::default(), Client::new(1), Client::new(2));
        holds.take("r", &one).unwrap().until_acknowledged(all(5));
        assert!(holds.take("r", &two).is_err());
        holds.acknowledged("r", &one, all(4));
        assert!(holds.take("r", &two).is_err());
        // Somebody else's word does not count.
        holds.acknowledged("r", &two, all(5));
        assert!(holds.take("r", &two).is_err());
        holds.acknowledged("r", &one, all(5));
        assert!(holds.take("r", &two).is_ok());
    }

    #[test]
    fn scopes_are_acknowledged_one_by_one() {
        let (holds, one, two) = (Holds::default(), Client::new(1), Client::new(2));
        let of = |contact, place| Cursor { place, of: Some(ContactId(contact)) };
        holds.take("r", &one).unwrap().until_acknowledged(of(1, 5));
        holds.take("r", &one).unwrap().until_acknowledged(of(2, 6));
        holds.acknowledged("r", &one, of(1, 9));
        assert!(holds.take("r", &two).is_err());
        holds.acknowledged("r", &one, all(6));
        assert!(holds.take("r", &two).is_ok());
    }

    #[test]
    fn a_client_that_is_gone_holds_nothing() {
        let (holds, one, two) = (Holds::default(), Client::new(1), Client::new(2));
        holds.take("r", &one).unwrap().until_acknowledged(all(5));
        let waiting = holds.take("s", &one).unwrap();
        one.1.set(true);
        let mine = holds.take("r", &two).unwrap();
        assert_eq!(holds.held().len(), 1);
        // Its call, dropped late, does not let go of what is another's by now.
        let other = holds.take("s", &two).unwrap();
        drop(waiting);
        assert_eq!(holds.held().len(), 2);
        drop((mine, other));
        assert!(holds.held().is_empty());
    }
}
