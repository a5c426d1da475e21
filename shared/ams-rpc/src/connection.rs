//! One client: lines in, answers and notifications out, everything bounded.
//!
//! One task owns the socket, the calls that run and what is still to be written, so that a client
//! which does not read stops its own calls' answers and nothing else.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, future::BoxFuture, future::join_all};
use interprocess::local_socket::tokio::Stream;
use jsonrpsee_core::server::{BoundedSubscriptions, MethodSink};
use serde_json::value::RawValue;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::buffers::{Input, Output, PIECE};
use crate::error::RpcError;
use crate::platform::{Hangup, HangupWatch};
use crate::request::{Line, MAX_LINE, Rejected, RequestId, error_answer, read_line};
use crate::service::{MAX_ANSWER, Service, Surroundings};

/// Calls that run at the same time; further lines wait in the socket. Scripts pipe many at once.
pub const MAX_CALLS: usize = 64;
/// Subscriptions of one connection.
pub const MAX_SUBSCRIPTIONS: u32 = 16;
/// Notifications that wait for the output. What is behind them waits in the daemon's ring, and is
/// lost there with a note when the client stays away. Each may be as large as a message, 276 KiB as
/// JSON, and many clients may not read: so one, and one more in the hands of each subscription.
const MAX_NOTIFICATIONS: usize = 1;
/// With this much to be written no notification is taken in, so that those to be written are at most
/// this and one more. A connection that only follows holds this and three notifications.
const NOTIFICATIONS_WATER: usize = 16 * 1024;
/// With this much to be written no answer is taken in and nothing is read, so the buffer is at most
/// this and one answer.
const HIGH_WATER: usize = 256 * 1024;
/// A connection without a call or a subscription is closed after this long, and one whose client
/// takes nothing of what it is told, unless it follows something: forgotten pipes lock nobody out.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// How long the last answers may take when the server stops or the client broke a rule.
const LINGER: Duration = Duration::from_secs(2);

/// What a handler knows of its caller.
#[derive(Debug, Clone)]
pub struct CallContext(Arc<Caller>);

#[derive(Debug)]
struct Caller {
    id: usize,
    closed: CancellationToken,
    /// `None`: a caller without a socket.
    hangup: Option<Arc<Hangup>>,
}

impl CallContext {
    /// The connection's number, never given again while the server runs.
    #[must_use]
    pub fn id(&self) -> usize {
        self.0.id
    }

    /// Resolves when the client is gone or the server stops. A client that closed only its sending
    /// half is still there.
    pub async fn closed(&self) {
        self.0.closed.cancelled().await;
    }

    /// Whether the client is gone, asked of the system itself: true at once when it has closed,
    /// even where its own task has not noticed yet.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled() || self.0.hangup.as_ref().is_some_and(|hangup| hangup.now())
    }

    /// A caller within this process.
    pub(crate) fn without_socket(id: usize) -> Self {
        Self(Arc::new(Caller { id, closed: CancellationToken::new(), hangup: None }))
    }

    /// It will call no more.
    pub(crate) fn close(&self) {
        self.0.closed.cancel();
    }
}

/// Calls that run: how many requests each stands for, and its answer.
type Calls = FuturesUnordered<BoxFuture<'static, (usize, Option<Box<RawValue>>)>>;

pub(crate) struct ConnectionActor {
    // Set once.
    service: Service,
    context: CallContext,
    hangup: Arc<Hangup>,
    stop: CancellationToken,
    sink: MethodSink,
    subscriptions: BoundedSubscriptions,

    // Owned by run.
    stream: Stream,
    notifications: mpsc::Receiver<Box<RawValue>>,
    calls: Calls,
    running: usize,
    input: Input,
    output: Output,
}

impl ConnectionActor {
    /// Takes over a connection whose peer was checked.
    pub(crate) fn new(
        id: usize,
        stream: Stream,
        service: Service,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let (sender, notifications) = mpsc::channel(MAX_NOTIFICATIONS);
        let hangup = Arc::new(Hangup::of(&stream)?);
        let closed = CancellationToken::new();
        Ok(Self {
            service,
            context: CallContext(Arc::new(Caller { id, closed, hangup: Some(hangup.clone()) })),
            hangup,
            stop,
            sink: MethodSink::new_with_limit(sender, u32::try_from(MAX_ANSWER).unwrap_or(u32::MAX)),
            subscriptions: BoundedSubscriptions::new(MAX_SUBSCRIPTIONS),
            stream,
            notifications,
            calls: FuturesUnordered::new(),
            running: 0,
            input: Input::default(),
            output: Output::default(),
        })
    }

    /// Serves until the client is gone, has nothing more to say, or broke a rule.
    pub(crate) async fn run(mut self) {
        match self.serve().await {
            Ok(Ending::Finished) => {}
            Ok(Ending::Linger) => {
                let _ = tokio::time::timeout(LINGER, self.discard()).await;
            }
            Err(error) => tracing::debug!(%error, "a client's connection ended"),
        }
        // Handlers that outlive it must know, and what they hold of it must not keep the client
        // waiting for the end.
        self.context.close();
        self.hangup.shut();
    }

    async fn serve(&mut self) -> io::Result<Ending> {
        // Made when it is needed first: while lines are read, their end tells.
        let mut watch: Option<HangupWatch> = None;
        let mut idle_since = Instant::now();
        let mut deadline: Option<Instant> = None;
        let mut gone = false;
        loop {
            self.take_lines();
            if gone {
                self.output.clear();
            }
            if self.nothing_left() {
                return Ok(if self.input.refused { Ending::Linger } else { Ending::Finished });
            }
            let room = self.output.len() < HIGH_WATER;
            let has_room = self.output.len() < NOTIFICATIONS_WATER;
            let may_read = !self.input.ended && self.running < MAX_CALLS && room;
            if !may_read && !gone && watch.is_none() {
                watch = Some(self.hangup.watch()?);
            }
            let wake =
                deadline.unwrap_or_else(|| idle_since.checked_add(IDLE).unwrap_or(idle_since));
            // In this order: whether anybody is there at all; then reading, calls and
            // notifications, each of which stops at its own bound when the output is full; and
            // writing last, so that what is ready together leaves in one write.
            let lost = tokio::select! {
                biased;
                () = hung_up(watch.as_ref()), if !gone => true,
                () = self.stop.cancelled(), if deadline.is_none() => {
                    self.context.0.closed.cancel();
                    self.notifications.close();
                    self.input.end();
                    deadline = Instant::now().checked_add(LINGER);
                    false
                }
                read = self.input.read_from(&self.stream), if may_read => read.is_err(),
                Some((requests, answer)) = self.calls.next(), if room => {
                    self.running = self.running.saturating_sub(requests);
                    if let Some(answer) = answer {
                        self.output.push(&answer);
                    }
                    false
                }
                Some(notification) = self.notifications.recv(), if has_room => {
                    self.output.push(&notification);
                    false
                }
                wrote = self.output.write_to(&self.stream), if !self.output.is_empty() => {
                    wrote.is_err()
                }
                () = tokio::time::sleep_until(wake) => {
                    let idle = self.running == 0 || !self.output.is_empty();
                    if deadline.is_some() || (idle && self.subscribed() == 0) {
                        return Ok(Ending::Finished);
                    }
                    false
                }
            };
            idle_since = Instant::now();
            if lost {
                // What the client asked for before it went is still read and done; what only
                // waits for something is told to end.
                gone = true;
                self.context.0.closed.cancel();
                self.notifications.close();
                deadline = deadline.or_else(|| Instant::now().checked_add(LINGER));
            }
        }
    }

    fn subscribed(&self) -> usize {
        // The actor's own sink is one sender; every subscription has others.
        self.notifications.sender_strong_count().saturating_sub(1)
    }

    fn nothing_left(&self) -> bool {
        self.input.ended
            && self.running == 0
            && self.output.is_empty()
            && self.notifications.is_empty()
            && (self.subscribed() == 0 || self.notifications.is_closed())
    }

    /// Starts what the complete lines ask for, up to the bound.
    fn take_lines(&mut self) {
        while self.running < MAX_CALLS && self.output.len() < HIGH_WATER {
            let Some(line) = self.input.next_line() else { break };
            if line.len() > MAX_LINE {
                return self.refuse_line();
            }
            self.start(&line);
        }
        if self.input.is_too_long() {
            self.refuse_line();
        }
    }

    fn refuse_line(&mut self) {
        let error = RpcError::line_too_long("the line is longer than 1 MiB");
        self.output.push(&error_answer(None, error));
        self.input.refuse();
    }

    fn start(&mut self, line: &[u8]) {
        let around = |in_batch| Surroundings {
            context: &self.context,
            sink: &self.sink,
            subscriptions: &self.subscriptions,
            in_batch,
        };
        let rejected = |rejected: Rejected| error_answer(rejected.id.as_ref(), rejected.error);
        match read_line(line) {
            Line::Blank => {}
            Line::One(Err(error)) => self.output.push(&rejected(error)),
            Line::One(Ok(request)) => {
                let answer = self.service.dispatch(&request, &around(false));
                self.calls.push(answer.map(|answer| (1, answer)).boxed());
                self.running = self.running.saturating_add(1);
            }
            Line::Batch(requests) => {
                let count = requests.len();
                let around = around(true);
                let left = Arc::new(AtomicUsize::new(MAX_ANSWER));
                let answers = join_all(requests.into_iter().map(|request| match request {
                    Ok(request) => {
                        let (id, left) = (request.id.clone(), Arc::clone(&left));
                        let answer = self.service.dispatch(&request, &around);
                        answer.map(move |answer| within(&left, id, answer?)).boxed()
                    }
                    Err(error) => futures_util::future::ready(Some(rejected(error))).boxed(),
                }));
                self.calls.push(answers.map(move |all| (count, batch_answer(&all))).boxed());
                self.running = self.running.saturating_add(count);
            }
        }
    }

    /// Reads on for a moment after the last answer, so that a client which is still writing gets
    /// to see it instead of a broken pipe.
    async fn discard(&mut self) -> io::Result<()> {
        self.hangup.shut_writing();
        let mut scratch = Vec::with_capacity(PIECE);
        while (&self.stream).read_buf(&mut scratch).await? > 0 {
            scratch.clear();
        }
        Ok(())
    }
}

/// Resolves when the client is gone altogether.
async fn hung_up(watch: Option<&HangupWatch>) {
    match watch {
        // What cannot be watched is as good as gone.
        Some(watch) => watch.hung_up().await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

enum Ending {
    /// Nothing more to say.
    Finished,
    /// The client broke a rule and may be in the middle of a write.
    Linger,
}

/// The answer to a request of a batch, or that there is no room for it beside those that came before:
/// they are kept until the last one is there.
fn within(
    left: &AtomicUsize,
    id: Option<RequestId>,
    answer: Box<RawValue>,
) -> Option<Box<RawValue>> {
    let length = answer.get().len();
    let takes = |left: usize| left.checked_sub(length);
    if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes).is_ok() {
        return Some(answer);
    }
    let error =
        RpcError::answer_too_large("the batch's answers would be larger than 4 MiB together");
    Some(error_answer(Some(&id?), error))
}

/// The answers of a batch as one array; none where all were notifications.
fn batch_answer(answers: &[Option<Box<RawValue>>]) -> Option<Box<RawValue>> {
    let mut array = String::from("[");
    for answer in answers.iter().flatten() {
        if array.len() > 1 {
            array.push(',');
        }
        array.push_str(answer.get());
    }
    if array.len() == 1 {
        return None;
    }
    array.push(']');
    RawValue::from_string(array).ok()
}
