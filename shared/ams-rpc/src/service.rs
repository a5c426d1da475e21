//! A request meets its handler: a table of methods and a handler for each, held by jsonrpsee.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use jsonrpsee_core::server::{
    BoundedSubscriptions, ConnectionId, Extensions, MethodCallback, MethodResponse, MethodSink,
    Methods, PendingSubscriptionSink, RpcModule, SubscriptionSink, SubscriptionState,
};
use jsonrpsee_core::traits::IdProvider;
use jsonrpsee_types::{Id, Params, SubscriptionId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::connection::CallContext;
use crate::error::RpcError;
use crate::methods::{Entry, Method, Subscription};
use crate::openrpc;
use crate::request::{Request, RequestId, error_answer, with_number};
use crate::scope::Scope;
use crate::types::{NoParams, UnsubscribeParams};

/// The largest answer. `inbox.next` keeps itself to 512 KiB of messages; escaped they can grow.
pub const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// jsonrpsee's code for an answer that was larger than allowed.
const OVERSIZED: i32 = jsonrpsee_types::error::OVERSIZED_RESPONSE_CODE;

/// Collects the handlers of a table.
pub struct ServiceBuilder {
    module: RpcModule<()>,
    // Set once.
    title: &'static str,
    version: &'static str,
    table: &'static [Entry],
    examples: &'static str,
    faults: Vec<String>,
}

impl std::fmt::Debug for ServiceBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceBuilder").field("table", &self.table).finish_non_exhaustive()
    }
}

/// A table and its handlers do not fit together.
#[derive(Debug, thiserror::Error)]
#[error("the methods and the table differ: {}", .0.join("; "))]
pub struct TableMismatch(Vec<String>);

impl ServiceBuilder {
    /// For the methods in `table`. `rpc.discover` is served by itself, under this title and
    /// version.
    #[must_use]
    pub fn new(title: &'static str, version: &'static str, table: &'static [Entry]) -> Self {
        let (module, faults) = (RpcModule::new(()), Vec::new());
        Self { module, title, version, table, examples: "[]", faults }
    }

    /// Shows these examples in `rpc.discover`: a text for [`openrpc::examples`].
    #[must_use]
    pub fn examples(self, examples: &'static str) -> Self {
        Self { examples, ..self }
    }

    fn discover(self) -> Self {
        let Self { title, version, table, examples, .. } = self;
        self.register::<crate::methods::rpc::Discover, _, _>(move |_, NoParams {}| {
            let shown = openrpc::examples(examples)
                .map_err(|error| RpcError::internal(format!("the examples: {error}")));
            ready(shown.map(|shown| openrpc::document(title, version, table, &shown)))
        })
    }

    fn entry(&mut self, name: &'static str) -> Option<&'static Entry> {
        let found = self.table.iter().find(|entry| entry.name == name);
        if found.is_none() {
            self.faults.push(format!("{name} is not in the table"));
        }
        found
    }

    /// Gives `M` its handler.
    ///
    /// Calls of one connection run at the same time, but are *started* in the order in which they
    /// came: what a handler does before its first `await` happens in that order. A handler that
    /// waits for long watches [`CallContext::closed`]. It is dropped when the connection is gone.
    #[must_use]
    pub fn register<M, F, Fut>(mut self, handler: F) -> Self
    where
        M: Method,
        F: Fn(CallContext, M::Params) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<M::Result, RpcError>> + Send + 'static,
    {
        let Some(entry) = self.entry(M::NAME) else { return self };
        let registered =
            self.module.register_async_method(M::NAME, move |params, _, extensions| {
                let handler = handler.clone();
                async move {
                    let context = context_of(&extensions)?;
                    let params = read_params(params.as_str(), entry)?;
                    handler(context, params).await
                }
            });
        if let Err(error) = registered {
            self.faults.push(error.to_string());
        }
        self
    }

    /// Gives the subscription `S` its handler, which lives as long as the subscription: it is
    /// dropped when the client unsubscribes or goes.
    ///
    /// It checks its params, then calls [`Pending::accept`] or [`Pending::reject`].
    #[must_use]
    pub fn register_subscription<S, F, Fut>(mut self, handler: F) -> Self
    where
        S: Subscription,
        F: Fn(CallContext, S::Params, Pending<S::Item>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let unsubscribe = <S::Unsubscribe as Method>::NAME;
        let (Some(entry), Some(_)) = (self.entry(S::NAME), self.entry(unsubscribe)) else {
            return self;
        };
        let registered = self.module.register_subscription(
            S::NAME,
            S::NOTIFICATION,
            unsubscribe,
            move |params, sink, _, extensions| {
                let handler = handler.clone();
                async move {
                    let read = context_of(&extensions)
                        .and_then(|context| Ok((context, read_params(params.as_str(), entry)?)));
                    let (context, params) = match read {
                        Ok(read) => read,
                        Err(error) => return sink.reject(error).await,
                    };
                    let (accepted, sink_of) = oneshot::channel::<SubscriptionSink>();
                    let pending = Pending { sink, accepted, item: PhantomData };
                    let unsubscribed = async {
                        match sink_of.await {
                            Ok(sink) => sink.closed().await,
                            // Rejected: the handler ends by itself.
                            Err(_) => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        biased;
                        () = context.closed() => {}
                        () = unsubscribed => {}
                        () = handler(context.clone(), params, pending) => {}
                    }
                }
            },
        );
        if let Err(error) = registered {
            self.faults.push(error.to_string());
        }
        self
    }

    /// The service, if every method of the table has its handler.
    ///
    /// # Errors
    /// Names every method that is missing, was given twice or is not in the table.
    pub fn build(self) -> Result<Service, TableMismatch> {
        let mut whole = self.discover();
        for entry in whole.table {
            if whole.module.method(entry.name).is_none() {
                whole.faults.push(format!("{} has no handler", entry.name));
            }
        }
        if !whole.faults.is_empty() {
            return Err(TableMismatch(whole.faults));
        }
        Ok(Service {
            scope: None,
            methods: whole.module.into(),
            subscription_ids: Arc::new(SubscriptionIds(AtomicU64::new(1))),
        })
    }
}

/// A table with its handlers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Service {
    /// What its callers may do; `None`: everything.
    scope: Option<Arc<Scope>>,
    methods: Methods,
    subscription_ids: Arc<SubscriptionIds>,
}

/// Subscriptions are numbered, as strings.
#[derive(Debug)]
struct SubscriptionIds(AtomicU64);

impl IdProvider for SubscriptionIds {
    fn next_id(&self) -> SubscriptionId<'static> {
        SubscriptionId::from(self.0.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

/// What a call runs in.
pub(crate) struct Surroundings<'a> {
    pub(crate) context: &'a CallContext,
    /// Where subscriptions put their answer and their notifications.
    pub(crate) sink: &'a MethodSink,
    pub(crate) subscriptions: &'a BoundedSubscriptions,
    pub(crate) in_batch: bool,
}

/// An answer to come; none for a notification, and none where a subscription answered by itself.
pub(crate) type Answer = BoxFuture<'static, Option<Box<RawValue>>>;

impl Service {
    /// The same methods, for callers who may do only what `scope` says.
    #[must_use]
    pub fn within(self, scope: Scope) -> Self {
        Self { scope: Some(Arc::new(scope)), ..self }
    }

    /// Starts a request.
    pub(crate) fn dispatch(&self, request: &Request<'_>, around: &Surroundings<'_>) -> Answer {
        let id = request.id.clone();
        let scope = self.scope.clone();
        match self.call(request, around) {
            Ok(call) => AssertUnwindSafe(call)
                .catch_unwind()
                .map(move |outcome| {
                    let id = id?;
                    match outcome {
                        Ok(None) => None,
                        Ok(Some(answer)) => {
                            let answer = finish(answer, &id);
                            Some(match scope {
                                Some(scope) => scope.discreet(answer),
                                None => answer,
                            })
                        }
                        // The panic's message may quote data, so it goes nowhere.
                        Err(_) => Some(error_answer(
                            Some(&id),
                            RpcError::internal("the method failed inside the daemon"),
                        )),
                    }
                })
                .boxed(),
            Err(error) => ready(id.map(|id| error_answer(Some(&id), error))).boxed(),
        }
    }

    fn call(
        &self,
        request: &Request<'_>,
        around: &Surroundings<'_>,
    ) -> Result<BoxFuture<'static, Option<MethodResponse>>, RpcError> {
        if let Some(scope) = &self.scope {
            scope.check(&request.method, request.params)?;
        }
        let Some(callback) = self.methods.method(&request.method) else {
            return Err(RpcError::method_not_found(format!(
                "there is no method `{}`",
                brief(&request.method)
            )));
        };
        let id = match &request.id {
            Some(RequestId::Plain(id)) => id.clone(),
            Some(RequestId::Number(_)) | None => Id::Number(0),
        };
        let params = Params::new(request.params.map(RawValue::get)).into_owned();
        let connection = ConnectionId(around.context.id());
        let mut extensions = Extensions::new();
        extensions.insert(around.context.clone());
        Ok(match callback {
            MethodCallback::Sync(call) => {
                ready(Some(call(id, params, MAX_ANSWER, extensions))).boxed()
            }
            MethodCallback::Async(call) => {
                call(id, params, connection, MAX_ANSWER, extensions).map(Some).boxed()
            }
            MethodCallback::Unsubscription(call) => {
                let wanted: UnsubscribeParams = read(request.params.map(RawValue::get))
                    .map_err(|error| RpcError::invalid_params(error.to_string()))?;
                // jsonrpsee takes a list here.
                let list = serde_json::to_string(&[wanted.subscription])
                    .map_err(|error| RpcError::internal(error.to_string()))?;
                ready(Some(call(id, Params::new(Some(&list)), connection, MAX_ANSWER, extensions)))
                    .boxed()
            }
            MethodCallback::Subscription(call) => {
                // Its answer goes through the sink and so cannot be part of a batch's answer; and
                // nobody could end one whose answer has no id.
                if around.in_batch || !matches!(request.id, Some(RequestId::Plain(_))) {
                    return Err(RpcError::invalid_request(
                        "subscribe outside a batch, with a string or a whole number as id",
                    ));
                }
                let Some(subscription_permit) = around.subscriptions.acquire() else {
                    return Err(RpcError::busy(format!(
                        "this connection has {} subscriptions already",
                        around.subscriptions.max()
                    )));
                };
                let state = SubscriptionState {
                    conn_id: connection,
                    id_provider: &*self.subscription_ids,
                    subscription_permit,
                };
                call(id, params, around.sink.clone(), state, extensions).map(|_| None).boxed()
            }
        })
    }
}

fn finish(answer: MethodResponse, id: &RequestId) -> Box<RawValue> {
    if answer.as_error_code() == Some(OVERSIZED) {
        return error_answer(
            Some(id),
            RpcError::answer_too_large("the answer would be larger than 4 MiB"),
        );
    }
    match id {
        RequestId::Plain(_) => answer.into_json(),
        RequestId::Number(number) => with_number(answer.as_json(), number),
    }
}

fn context_of(extensions: &Extensions) -> Result<CallContext, RpcError> {
    extensions
        .get::<CallContext>()
        .cloned()
        .ok_or_else(|| RpcError::internal("the call came without its connection"))
}

fn read<P: DeserializeOwned>(params: Option<&str>) -> Result<P, serde_json::Error> {
    serde_json::from_str(params.unwrap_or("{}"))
}

fn read_params<P: DeserializeOwned>(params: Option<&str>, entry: &Entry) -> Result<P, RpcError> {
    read(params).map_err(|error| {
        let known = openrpc::param_names(entry);
        let given: serde_json::Map<String, serde_json::Value> = read(params).unwrap_or_default();
        let unknown: Vec<String> = given
            .keys()
            .filter(|name| !known.contains(name))
            .map(|name| format!("`{}`", brief(name)))
            .collect();
        let takes = if known.is_empty() { "no parameters".to_owned() } else { known.join(", ") };
        let message = if unknown.is_empty() {
            // serde's place in the line means nothing to somebody who wrote an object.
            let text = error.to_string();
            let text = text.split(" at line ").next().unwrap_or(&text);
            match params.and_then(|params| parameter_at(params, error.column())) {
                Some(name) => format!("`{name}`: {text}"),
                None => text.to_owned(),
            }
        } else {
            format!("{} has no parameter {}", entry.name, unknown.join(", "))
        };
        RpcError::invalid_params(message).with_hint(format!("{} takes {takes}", entry.name))
    })
}

/// The name of the parameter at whose value serde stopped, after so many bytes.
fn parameter_at(params: &str, stopped: usize) -> Option<String> {
    let given: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(params).ok()?;
    let start_of =
        |value: &RawValue| value.get().as_ptr().addr().checked_sub(params.as_ptr().addr());
    let is_there = |value: &RawValue| {
        start_of(value).is_some_and(|start| {
            (start..=start.saturating_add(value.get().len())).contains(&stopped)
        })
    };
    given.into_iter().find(|(_, value)| is_there(value)).map(|(name, _)| name.into_owned())
}

/// What a stranger wrote, short enough to quote.
fn brief(text: &str) -> String {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// A subscription that is neither accepted nor rejected yet.
#[must_use = "a subscription that is neither accepted nor rejected answers an internal error"]
pub struct Pending<T> {
    sink: PendingSubscriptionSink,
    accepted: oneshot::Sender<SubscriptionSink>,
    item: PhantomData<fn(T)>,
}

impl<T> std::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending(..)")
    }
}

/// The client went, or it unsubscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the subscription has ended")]
pub struct Closed;

impl<T: Serialize> Pending<T> {
    /// Answers the subscription's id; notifications may follow.
    ///
    /// # Errors
    /// [`Closed`] when the client is gone.
    pub async fn accept(self) -> Result<EventSink<T>, Closed> {
        let sink = self.sink.accept().await.map_err(|_| Closed)?;
        self.accepted.send(sink.clone()).map_err(|_| Closed)?;
        Ok(EventSink { sink, item: PhantomData })
    }

    /// Answers an error.
    pub async fn reject(self, error: RpcError) {
        self.sink.reject(error).await;
    }
}

/// Where the notifications of one subscription go.
#[derive(Debug)]
pub struct EventSink<T> {
    sink: SubscriptionSink,
    item: PhantomData<fn(T)>,
}

impl<T: Serialize> EventSink<T> {
    /// Sends one notification, waiting until the client has room for it. So a client that does not
    /// read holds up nobody but this subscription's own handler.
    ///
    /// # Errors
    /// [`Closed`] when the subscription has ended.
    pub async fn send(&self, item: &T) -> Result<(), Closed> {
        let json = serde_json::value::to_raw_value(item).map_err(|_| Closed)?;
        tokio::select! {
            biased;
            () = self.sink.closed() => Err(Closed),
            sent = self.sink.send(json) => sent.map_err(|_| Closed),
        }
    }
}
