//! What subscribers cost: those that read, those that do not, and those that are gone.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use ams_rpc::types::{Fact as Event, LinkFact, Message, ReceivedFact};
use serde_json::{Value, json};

use super::*;

/// A program with a socket.
struct Program(BufReader<UnixStream>);

impl Program {
    fn connect(bench: &Bench) -> Self {
        let stream = UnixStream::connect(&bench.home.places().socket).unwrap();
        Self(BufReader::new(stream))
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the daemon closed");
        serde_json::from_str(&line).unwrap()
    }

    /// Calls, and passes over events until the answer.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        writeln!(self.0.get_mut(), "{call}").unwrap();
        loop {
            let line = self.line();
            if line["id"] == 1 {
                return line["result"].clone();
            }
        }
    }

    fn event(&mut self) -> Value {
        self.line()["params"]["result"].clone()
    }
}

impl Bench {
    /// Calls until so many follow.
    async fn until_followed_by(&self, count: usize) {
        while self.dispatch.followers() != count {
            self.call::<m::inbox::Readers>(NoParams {}).await;
        }
    }

    fn tells(&self, name: &str) {
        self.dispatch.tell(Event::RelayUp(LinkFact { name: name.to_owned(), reason: None }));
    }
}

/// However a subscription ends, nothing of it stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_ended_is_counted_no_more() {
    let bench = Bench::new().await;
    assert_eq!(bench.dispatch.followers(), 0);
    let mut programs: Vec<_> = (0..8).map(|_| Program::connect(&bench)).collect();
    let mut subscriptions = Vec::new();
    for program in &mut programs {
        for _ in 0..ams_rpc::server::MAX_SUBSCRIPTIONS {
            subscriptions.push(program.call("events.subscribe", &json!({})));
        }
    }
    let most = subscriptions.len();
    assert_eq!(bench.dispatch.followers(), most);

    // Unsubscribed.
    let each = most / programs.len();
    for subscription in &subscriptions[..each] {
        let params = json!({"subscription": subscription});
        assert_eq!(programs[0].call("events.unsubscribe", &params), true);
        assert_eq!(programs[0].call("events.unsubscribe", &params), false);
    }
    bench.until_followed_by(most - each).await;
    // The place is free again.
    programs[0].call("events.subscribe", &json!({}));
    assert_eq!(bench.dispatch.followers(), most - each + 1);

    // Gone, with events that nobody read, and in the middle of a line.
    for _ in 0..100 {
        bench.tells("unread");
    }
    programs[1].0.get_mut().write_all(b"{\"jsonrpc\":").unwrap();
    drop(programs);
    bench.until_followed_by(0).await;
    bench.end().await;
}

/// One that does not read takes what its socket and the daemon's bounded buffers hold. It learns
/// how much it missed, and nobody else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_does_not_read_costs_a_bounded_piece() {
    const EVENTS: usize = 30_000;
    let bench = Bench::new().await;
    let mut slow = Program::connect(&bench);
    slow.call("events.subscribe", &json!({}));
    let mut quick = Program::connect(&bench);
    quick.call("events.subscribe", &json!({}));

    let name = "x".repeat(1000);
    for round in 0..EVENTS / 1000 {
        for _ in 0..1000 {
            bench.tells(&name);
        }
        for _ in 0..1000 {
            assert_eq!(quick.event()["type"], "relay.up", "in round {round}");
        }
        bench.call::<m::inbox::Readers>(NoParams {}).await;
    }

    let (mut taken, mut lost) = (0, None);
    while taken + lost.unwrap_or(0) < EVENTS {
        let event = slow.event();
        if event["type"] == "events.lost" {
            let count = usize::try_from(event["count"].as_u64().unwrap()).unwrap();
            assert_eq!(lost.replace(count), None, "it is told once");
            // What was on its way when it stopped reading: the buffers, and no more.
            assert!(taken < 2000, "{taken} events were kept for one that does not read");
        } else {
            taken += 1;
        }
    }
    assert_eq!(taken + lost.unwrap(), EVENTS);
    bench.end().await;
}

/// However large they are: the one that is being written, and two that wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn large_events_are_not_kept_for_one_that_does_not_read() {
    const LARGE: usize = 1024 * 1024;
    // More than the daemon keeps of them.
    const EVENTS: usize = 100;
    let bench = Bench::new().await;
    let mut slow = Program::connect(&bench);
    slow.call("events.subscribe", &json!({}));
    let message: Message = serde_json::from_value(json!({
        "id": MessageId([7; 16]), "contact": "alice", "contact_id": "1", "direction": "in",
        "from": "alice", "to": "me", "body": "x".repeat(LARGE), "state": "delivered",
        "time_sent": "2026-11-24T10:55:00.000Z", "time_received": null, "verified": false,
        "via": null, "reply_to": null, "title": null, "priority": null, "tags": [],
        "choices": null,
    }))
    .unwrap();
    for _ in 0..EVENTS {
        let message = message.clone();
        bench.dispatch.tell(Event::MessageReceived(ReceivedFact { message }));
        // Whatever can be taken is taken before the next one comes.
        bench.call::<m::inbox::Readers>(NoParams {}).await;
    }
    let mut taken = 0;
    let lost = loop {
        let event = slow.event();
        if event["type"] == "events.lost" {
            break event["count"].as_u64().unwrap();
        }
        taken += 1;
    };
    assert!(lost > 0 && taken <= 3, "{taken} MiB were kept for it, {lost} events lost");
    bench.end().await;
}
