//! What arrived, and its readers.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_came_in_shows_when_it_was_read() {
    let bench = Bench::new().await;
    bench.arrives(1, "one").await;
    let params = || MessageParams { id: MessageId([1; 16]), contact: None };
    let steps = |shown: ams_rpc::types::MessageShown| -> Vec<String> {
        shown.messages[0].steps.iter().map(|step| step.what.clone()).collect()
    };
    assert_eq!(steps(bench.call::<m::message::Show>(params()).await), ["delivered"]);
    let cursor = bench.call::<m::inbox::Next>(next("default")).await.cursor.unwrap();
    let ack = InboxAckParams { reader: "default".into(), cursor };
    bench.call::<m::inbox::Ack>(ack.clone()).await;
    let shown = bench.call::<m::message::Show>(params()).await;
    let read = shown.messages[0].steps[1].time;
    assert_eq!(steps(shown), ["delivered", "read"]);
    // The first time counts.
    bench.call::<m::inbox::Ack>(InboxAckParams { reader: "default".into(), ..ack }).await;
    let shown = bench.call::<m::message::Show>(params()).await;
    assert_eq!(shown.messages[0].steps[1].time, read);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_goes_on_behind_what_it_saw() {
    let bench = Bench::new().await;
    for seq in 1..=3 {
        bench.arrives(seq, &format!("text {seq}")).await;
    }
    let look = |after: Option<String>| InboxNextParams {
        peek: Some(true),
        max: Some(2),
        after,
        ..next("default")
    };
    let first = bench.call::<m::inbox::Next>(look(None)).await;
    assert_eq!((first.messages.len(), first.more), (2, true));
    let second = bench.call::<m::inbox::Next>(look(first.cursor.clone())).await;
    assert_eq!((second.messages[0].body.as_str(), second.more), ("text 3", false));
    let last = bench.call::<m::inbox::Next>(look(second.cursor)).await;
    assert_eq!((last.messages.len(), last.cursor), (0, None));
    // In one contact's messages it goes on, too.
    let from = InboxNextParams { from: Some("alice".into()), ..look(first.cursor) };
    assert_eq!(bench.call::<m::inbox::Next>(from).await.messages.len(), 1);
    let reader = InboxNextParams { peek: None, ..look(Some("1".into())) };
    bench.refused::<m::inbox::Next>(reader, ErrorKind::InvalidParams).await;
    assert_eq!(bench.readers().await, [("default".into(), 3)], "nothing was taken");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_held_until_what_it_got_is_acknowledged() {
    let bench = Bench::new().await;
    bench.arrives(1, "one").await;
    bench.arrives(2, "two").await;
    let mut first = bench.client();
    let (mut first, batch) = spawn_blocking(move || {
        let params = InboxNextParams { max: Some(1), ..next("default") };
        let batch = first.call::<m::inbox::Next>(&params).unwrap();
        (first, batch)
    })
    .await
    .unwrap();
    assert_eq!((batch.messages[0].body.as_str(), batch.more), ("one", true));
    bench.refused::<m::inbox::Next>(next("default"), ErrorKind::ReaderBusy).await;
    let cursor = batch.cursor.unwrap();
    let ack = InboxAckParams { reader: "default".into(), cursor };
    let first = spawn_blocking(move || {
        first.call::<m::inbox::Ack>(&ack).unwrap();
        first
    })
    .await
    .unwrap();
    let batch = bench.call::<m::inbox::Next>(next("default")).await;
    assert_eq!(batch.messages.len(), 1, "acknowledged: the rest, to whoever asks");
    assert_eq!(batch.messages[0].body, "two");
    // That connection is closed and nothing of it was acknowledged.
    let again = bench.call::<m::inbox::Next>(next("default")).await;
    assert_eq!(again.messages, batch.messages);
    drop(first);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_reader_gets_what_arrives() {
    let bench = Bench::new().await;
    let wait = Some(Period(std::time::Duration::from_secs(3600)));
    let new = InboxNextParams { wait, ..next("new") };
    bench.arrives(1, "before it was made").await;
    let waiting = bench.begin::<m::inbox::Next>(new);
    // It begins at its first use, which has to come before what it is to get.
    while bench.readers().await.len() == 1 {}
    bench.arrives(2, "after").await;
    let batch = waiting.await.unwrap().unwrap();
    assert_eq!(batch.messages.len(), 1);
    assert_eq!(batch.messages[0].body, "after");

    let peek = InboxNextParams { peek: Some(true), from_start: Some(true), ..next("unmade") };
    let peeked = bench.call::<m::inbox::Next>(peek).await;
    assert_eq!(peeked.messages.len(), 2);
    assert_eq!(bench.readers().await, [("default".into(), 2), ("new".into(), 1)], "none is made");
    let of = InboxNextParams { from: Some("alice".into()), ..next("default") };
    assert_eq!(bench.call::<m::inbox::Next>(of).await.messages.len(), 2);
    let of = InboxNextParams { from: Some("bob".into()), ..next("default") };
    bench.refused::<m::inbox::Next>(of, ErrorKind::NoSuchContact).await;
    bench.end().await;
}
