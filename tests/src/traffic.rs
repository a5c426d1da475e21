//! People who write and read without an end, whatever is killed meanwhile.
//!
//! A writer repeats a message with its id until it is accepted; a reader repeats an acknowledgement
//! until it is taken. So what they noted is exactly what was accepted, and what was shown.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};

use ams_rpc::Method;
use ams_rpc::client::{CallError, Client};
use ams_rpc::methods::{inbox, message};
use ams_rpc::types::{
    InboxAckParams, InboxNextParams, Message, MessageId, MessageParams, Period, SendParams, Stage,
    WaitParams,
};

use crate::PATIENCE;
use crate::ledger::{Balance, assert_even, balance};

/// Messages that may be accepted and not read yet, for each direction.
const AHEAD: usize = 200;
/// Ends a talk.
const LAST: &str = "that was all";

/// A daemon that comes and goes.
#[derive(Debug)]
pub struct Door {
    socket: PathBuf,
    open: Mutex<bool>,
    changed: Condvar,
}

impl Door {
    /// The socket of a profile whose daemon runs.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { socket: home.join("amsd.sock"), open: Mutex::new(true), changed: Condvar::new() }
    }

    /// Before it is killed.
    pub fn close(&self) {
        *self.open.lock().unwrap() = false;
    }

    /// When it is back.
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let open = self.open.lock().unwrap();
        let (_open, waited) =
            self.changed.wait_timeout_while(open, PATIENCE, |open| !*open).unwrap();
        assert!(!waited.timed_out(), "{} did not come back", self.socket.display());
    }
}

/// Calls that go on when the daemon is back.
struct Caller<'a> {
    door: &'a Door,
    client: Option<Client>,
}

impl<'a> Caller<'a> {
    fn new(door: &'a Door) -> Self {
        Self { door, client: None }
    }

    fn call<M: Method>(&mut self, params: &M::Params) -> M::Result {
        loop {
            match self.try_once::<M>(params) {
                Ok(result) => return result,
                // The door was closed before the daemon was killed.
                Err(error) if error.is_away() => {
                    self.client = None;
                    self.door.wait();
                }
                Err(error) => panic!("{}: {error}", M::NAME),
            }
        }
    }

    /// Calls once, on a connection that is there: a daemon that dies meanwhile is not asked again.
    fn call_once<M: Method>(&mut self, params: &M::Params) {
        while let Err(error) = self.connect() {
            assert!(error.is_away(), "{error}");
            self.door.wait();
        }
        match self.try_once::<M>(params) {
            Ok(_) => {}
            Err(error) if error.is_away() => self.client = None,
            Err(error) => panic!("{}: {error}", M::NAME),
        }
    }

    fn try_once<M: Method>(&mut self, params: &M::Params) -> Result<M::Result, CallError> {
        self.connect()?.call::<M>(params)
    }

    fn connect(&mut self) -> Result<&mut Client, CallError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => {
                let client = Client::connect(&self.door.socket)?;
                client.set_timeout(Some(PATIENCE * 2))?;
                client
            }
        };
        Ok(self.client.insert(client))
    }
}

#[derive(Debug, Default)]
struct Books {
    accepted: Vec<(MessageId, String)>,
    shown: Vec<Message>,
    /// One more will be written.
    closed: bool,
}

/// One end of a talk: a daemon, and what the other end calls its person.
pub type End<'a> = (&'a Door, &'a str);

/// Everything from one person to another. The recipient reads it with a reader of its own, so that
/// several talks to one person go on at a time.
#[derive(Debug)]
pub struct Talk<'a> {
    from: &'a Door,
    to: &'a Door,
    /// What the recipient calls the sender, and the name of the reader.
    own: &'a str,
    /// What the sender calls the recipient.
    name: &'a str,
    /// The control.
    hasty: bool,
    books: Mutex<Books>,
    changed: Condvar,
}

impl<'a> Talk<'a> {
    /// Nothing is written yet.
    #[must_use]
    pub fn new((from, own): End<'a>, (to, name): End<'a>) -> Self {
        let (books, changed) = (Mutex::default(), Condvar::new());
        Self { from, to, own, name, hasty: false, books, changed }
    }

    /// The control: what the sender's daemon was told counts as accepted, as if the daemon said so before
    /// it has it on disk.
    #[must_use]
    pub fn hasty(from: End<'a>, to: End<'a>) -> Self {
        Self { hasty: true, ..Self::new(from, to) }
    }

    /// Writes until the talk is closed, and then one last message.
    pub fn write(&self) {
        let mut caller = Caller::new(self.from);
        for number in 0_u32.. {
            let books = self.books.lock().unwrap();
            let (books, waited) = self
                .changed
                .wait_timeout_while(books, PATIENCE, |books| {
                    !books.closed && books.accepted.len() >= books.shown.len() + AHEAD
                })
                .unwrap();
            assert!(!waited.timed_out(), "nothing reaches {} any more", self.name);
            let last = books.closed;
            drop(books);
            let id = MessageId(ams_crypto::random::bytes());
            // Some fill a record, and some need several.
            let length = [0, 0, 0, 400, 0, 0, 3_000, 0, 0, 40_000][number as usize % 10];
            let body = match last {
                true => LAST.to_owned(),
                false => format!("{number} for {}{}", self.name, ".".repeat(length)),
            };
            let params = SendParams { id: Some(id), ..SendParams::new(self.name, body.clone()) };
            // The last one ends the reader.
            if self.hasty && !last {
                caller.call_once::<message::Send>(&params);
            } else {
                caller.call::<message::Send>(&params);
            }
            self.books.lock().unwrap().accepted.push((id, body));
            self.changed.notify_all();
            if last {
                return;
            }
        }
    }

    /// Reads until the last message, or nothing comes any more.
    pub fn read(&self) {
        let mut caller = Caller::new(self.to);
        let reader = self.own.to_owned();
        loop {
            let next = InboxNextParams {
                reader: reader.clone(),
                max: Some(50),
                wait: Some(Period(PATIENCE)),
                from: Some(self.own.to_owned()),
                from_start: Some(true),
                peek: None,
                after: None,
            };
            let batch = caller.call::<inbox::Next>(&next);
            let Some(cursor) = batch.cursor else {
                eprintln!("nothing comes from {} to {} any more", self.own, self.name);
                return;
            };
            let ack = InboxAckParams { reader: reader.clone(), cursor };
            caller.call::<inbox::Ack>(&ack);
            let mut books = self.books.lock().unwrap();
            books.shown.extend(batch.messages);
            let done = books.shown.last().is_some_and(|message| message.body == LAST);
            drop(books);
            self.changed.notify_all();
            if done {
                return;
            }
        }
    }

    /// How far it is: what was accepted and what was shown, together.
    #[must_use]
    pub fn progress(&self) -> usize {
        let books = self.books.lock().unwrap();
        books.accepted.len() + books.shown.len()
    }

    /// Waits until it went on by so many steps, or both are done.
    pub fn goes_on(&self, steps: usize) {
        let until = self.progress() + steps;
        let books = self.books.lock().unwrap();
        let (_books, waited) = self
            .changed
            .wait_timeout_while(books, PATIENCE, |books| {
                books.accepted.len() + books.shown.len() < until
            })
            .unwrap();
        assert!(!waited.timed_out(), "nothing goes to {} any more", self.name);
    }

    /// What is written next is the last.
    pub fn close(&self) {
        self.books.lock().unwrap().closed = true;
        self.changed.notify_all();
    }

    /// When both have ended: waits until the sender knows of every message that it is delivered, and
    /// compares what was accepted with what was shown. Gives how many they were.
    pub fn ends(self) -> usize {
        let books = self.books.into_inner().unwrap();
        let mut caller = Caller::new(self.from);
        for (id, body) in &books.accepted {
            let params = WaitParams {
                id: *id,
                stage: Stage::Delivered,
                timeout: Some(Period(PATIENCE)),
                contact: None,
            };
            let ended = caller.call::<message::Wait>(&params);
            assert!(ended.reached, "`{body}` is {} and not delivered", ended.state);
        }
        let (accepted, shown) = books.bodies();
        if balance(&accepted, &shown) != Balance::EVEN {
            tell_where(&books, &mut caller);
        }
        assert_even(&format!("from {} to {}", self.own, self.name), &accepted, &shown);
        shown.len()
    }

    /// What became of everything, when both have ended.
    #[must_use]
    pub fn balance(self) -> Balance {
        let (accepted, shown) = self.books.into_inner().unwrap().bodies();
        balance(&accepted, &shown)
    }
}

impl Books {
    /// What was accepted, and what was shown.
    fn bodies(&self) -> (Vec<String>, Vec<String>) {
        (
            self.accepted.iter().map(|(_, body)| body.clone()).collect(),
            self.shown.iter().map(|message| message.body.clone()).collect(),
        )
    }
}

/// Prints the life of each message that was not shown after the one before it, and of that one.
fn tell_where(books: &Books, caller: &mut Caller<'_>) {
    let shown = |id: MessageId| books.shown.iter().position(|message| message.id == id);
    for pair in books.accepted.windows(2) {
        let places = (shown(pair[0].0), shown(pair[1].0));
        if matches!(places, (Some(first), Some(second)) if first < second) {
            continue;
        }
        for (id, body) in pair {
            let start: String = body.chars().take(20).collect();
            eprintln!("{start}: accepted as {id}, shown at {:?}", shown(*id));
            if let Some(place) = shown(*id) {
                eprintln!("  received {:?}", books.shown[place].time_received);
            }
            let params = MessageParams { id: *id, contact: None };
            for step in
                caller.call::<message::Show>(&params).messages.into_iter().flat_map(|m| m.steps)
            {
                eprintln!("  {} {} {}", step.time, step.what, step.reason.unwrap_or_default());
            }
        }
    }
}
