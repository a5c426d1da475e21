//! `events.subscribe`: what happens, as it happens.

use ams_rpc::service::Pending;
use ams_rpc::types::{Event, EventType, SubscribeParams};
use ams_rpc::{CallContext, RpcError};

use super::App;

pub(super) async fn subscribe(
    app: App,
    _: CallContext,
    params: SubscribeParams,
    pending: Pending<Event>,
) {
    let mut events = match app.dispatch.follow(params.since.as_deref()) {
        Ok(events) => events,
        Err(error) => {
            let error = RpcError::bad_value(error.to_string())
                .with_hint("take the cursor of an event, or leave since out");
            return pending.reject(error).await;
        }
    };
    let Ok(sink) = pending.accept().await else { return };
    let wanted = |kind| match &params.types {
        Some(types) => kind == EventType::EventsLost || types.contains(&kind),
        None => true,
    };
    loop {
        let event = events.next().await;
        // Waits for room: a client that does not read falls behind in the ring, alone.
        if wanted(event.fact.kind()) && sink.send(&event).await.is_err() {
            return;
        }
    }
}
