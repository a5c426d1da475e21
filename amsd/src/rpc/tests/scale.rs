//! What an answer costs depends on what it prints, however much is kept.

#![allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]

use super::*;
use crate::outbox::row::TextRow;
use crate::outbox::wish::Wish;
use crate::outbox::{self, Draft};

/// What comes and goes a hundred times a minute, and the rows that are looked at for it.
type Costs = Vec<(&'static str, u64)>;

/// So many rows more may be looked at for ten times as many messages: those of a search by halves.
const MORE: u64 = 40;

/// Fills the store: as many messages came as went. The reader has had all but the last ten.
async fn filled(count: u64) -> Bench {
    let bench = Bench::new().await;
    let came = bench.store.write(move |txn| {
        for seq in 1..=count {
            let mut id = [1; 16];
            id[..8].copy_from_slice(&seq.to_be_bytes());
            let is_needle = seq + 5 == count || seq + 7 == count;
            come_in(txn, seq, WireId(id), if is_needle { "a needle" } else { "hay" })?;
        }
        Ok::<_, StoreError>(())
    });
    came.await.unwrap();
    let went = bench.store.write(move |txn| {
        for _ in 0..count {
            let text = TextRow { text: "hay".into(), ..TextRow::default() };
            let draft = Draft { to: "alice".into(), id: None, text, wish: Wish::default() };
            outbox::push(txn, &draft, clock()).map_err(|_| StoreError::Damaged("a test"))?;
        }
        Ok::<_, StoreError>(())
    });
    went.await.unwrap();
    let mut left = u32::try_from(count - 10).unwrap();
    while left > 0 {
        let params = InboxNextParams { max: Some(left), ..next("default") };
        let mut client = bench.client();
        let taken = spawn_blocking(move || {
            let batch = client.call::<m::inbox::Next>(&params).unwrap();
            let ack = InboxAckParams { reader: "default".into(), cursor: batch.cursor.unwrap() };
            client.call::<m::inbox::Ack>(&ack).unwrap();
            batch.messages.len()
        });
        left -= u32::try_from(taken.await.unwrap()).unwrap();
    }
    bench
}

async fn costs(count: u64) -> Costs {
    let bench = filled(count).await;
    let mut costs = Vec::new();
    let mut seen = bench.store.counts().seen;
    let mut cost = |of| {
        let before = std::mem::replace(&mut seen, bench.store.counts().seen);
        costs.push((of, seen - before));
    };
    let some = Some(10);
    let batch =
        bench.call::<m::inbox::Next>(InboxNextParams { max: some, ..next("default") }).await;
    cost("recv");
    assert_eq!(batch.messages.len(), 10);
    let from = InboxNextParams { max: some, from: Some("alice".into()), ..next("default") };
    assert_eq!(bench.call::<m::inbox::Next>(from).await.messages.len(), 10);
    cost("recv --from");
    let listed = HistoryParams { limit: some, ..HistoryParams::default() };
    assert_eq!(bench.call::<m::history::List>(listed.clone()).await.messages.len(), 10);
    cost("history");
    // Everything that went came later; of two that fit, the second says that there is more.
    let before = Some(batch.messages[9].id);
    let search = HistoryParams { search: Some("needle".into()), limit: Some(1), before, ..listed };
    assert_eq!(bench.call::<m::history::List>(search).await.messages.len(), 1);
    cost("history --search");
    let listed = QueueListParams { limit: some, ..QueueListParams::default() };
    let queue = bench.call::<m::queue::List>(listed.clone()).await;
    cost("queue list");
    assert_eq!((queue.messages.len(), queue.more), (10, true));
    let id = queue.messages[9].message.id;
    let after = QueueListParams { after: Some(id), to: Some("alice".into()), ..listed };
    assert_eq!(bench.call::<m::queue::List>(after).await.messages.len(), 10);
    cost("queue list --after");
    bench.call::<m::message::Show>(MessageParams { id, contact: None }).await;
    cost("message show");
    bench.call::<m::daemon::Status>(NoParams {}).await;
    cost("status");
    bench.readers().await;
    cost("reader list");
    bench.send("one more").await;
    cost("send");
    bench.end().await;
    costs
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_costs_what_it_prints() {
    let (few, many) = (costs(200).await, costs(2000).await);
    for ((what, before), (_, now)) in few.iter().zip(&many) {
        assert!(*now <= before + MORE, "{what}: {before} rows of 200, {now} of 2000");
        assert!(*now > 0, "{what}: nothing is counted");
    }
}
