//! What subscribers cost: those that read, those that do not, and those that are gone.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use ams_rpc::types::{Fact as Event, LinkFact};
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
