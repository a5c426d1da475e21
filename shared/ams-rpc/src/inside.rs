//! A caller within the daemon's own process: the same lines and the same handlers, and no socket.
//! What a simulation calls through.

use jsonrpsee_core::server::{BoundedSubscriptions, MethodSink};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::client::{CallError, answer_to, line_of};
use crate::connection::CallContext;
use crate::error::RpcError;
use crate::methods::Method;
use crate::request::{Line, error_answer, read_line};
use crate::service::{MAX_ANSWER, Service, Surroundings};

/// The number of every call: each is answered before the next one is made, or is by itself.
const CALL: u64 = 1;

/// A client without a connection. What it holds of the daemon is free when it is dropped.
#[derive(Debug)]
pub struct Inside {
    service: Service,
    context: CallContext,
    sink: MethodSink,
    /// Nothing is subscribed here.
    _notifications: mpsc::Receiver<Box<RawValue>>,
}

impl Inside {
    /// A caller of `service`; no two of one service have the same `number`.
    #[must_use]
    pub fn new(number: usize, service: Service) -> Self {
        let (sender, notifications) = mpsc::channel(1);
        let most = u32::try_from(MAX_ANSWER).unwrap_or(u32::MAX);
        Self {
            service,
            context: CallContext::without_socket(number),
            sink: MethodSink::new_with_limit(sender, most),
            _notifications: notifications,
        }
    }

    /// Calls a method of the table.
    ///
    /// # Errors
    /// As [`crate::client::Client::call`].
    pub async fn call<M: Method>(&self, params: &M::Params) -> Result<M::Result, CallError> {
        let line = line_of(CALL, M::NAME, params)?;
        let answer = match read_line(&line) {
            Line::One(Ok(request)) => {
                let around = Surroundings {
                    context: &self.context,
                    sink: &self.sink,
                    subscriptions: &BoundedSubscriptions::new(0),
                    in_batch: false,
                };
                self.service.dispatch(&request, &around).await
            }
            Line::One(Err(rejected)) => Some(error_answer(None, rejected.error)),
            Line::Blank | Line::Batch(_) => None,
        };
        let answer =
            answer.unwrap_or_else(|| error_answer(None, RpcError::internal("there was no answer")));
        let result = answer_to(CALL, answer.get())?.unwrap_or_else(|| RawValue::NULL.to_owned());
        serde_json::from_str(result.get()).map_err(|error| CallError::Nonsense(error.to_string()))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.context.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::methods::{Entry, METHODS, inbox};
    use crate::service::ServiceBuilder;
    use crate::types::{Done, InboxAckParams};

    fn service() -> Service {
        let table: Vec<Entry> = METHODS
            .iter()
            .filter(|e| e.name == "inbox.ack" || e.name == "rpc.discover")
            .copied()
            .collect();
        let ack = |caller: CallContext, params: InboxAckParams| async move {
            if params.cursor == "wait" {
                caller.closed().await;
            }
            if params.cursor == "bad" {
                return Err(RpcError::bad_value("bad"));
            }
            Ok(Done {})
        };
        ServiceBuilder::new("t", "1", table.leak())
            .register::<inbox::Ack, _, _>(ack)
            .build()
            .unwrap()
    }

    #[tokio::test]
    async fn a_call_is_answered_as_over_a_socket() {
        let inside = Inside::new(1, service());
        let ack = |cursor: &str| InboxAckParams { reader: "r".into(), cursor: cursor.into() };
        assert!(inside.call::<inbox::Ack>(&ack("1")).await.is_ok());
        match inside.call::<inbox::Ack>(&ack("bad")).await {
            Err(CallError::Failed(failure)) => assert!(failure.is(ErrorKind::BadValue)),
            other => panic!("{other:?}"),
        }
        // A handler that waits notices that its caller is gone.
        let waiting = inside.context.clone();
        drop(inside);
        waiting.closed().await;
        assert!(waiting.is_closed());
    }
}
