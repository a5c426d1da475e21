//! Messages: the same again, waits, what is shown of them.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_is_the_same_message() {
    let bench = Bench::new().await;
    let id = Some(MessageId([9; 16]));
    let params = |text: &str| SendParams { id, ..SendParams::new("alice", text) };
    let first = bench.call::<m::message::Send>(params("hi")).await;
    assert_eq!((first.state, first.reached, first.exit), (State::Queued, true, 0));
    assert_eq!(bench.call::<m::message::Send>(params("hi")).await, first);
    bench.refused::<m::message::Send>(params("other"), ErrorKind::IdConflict).await;
    let queue = bench.call::<m::queue::List>(QueueListParams::default()).await;
    assert_eq!(queue.messages.len(), 1);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_the_stage_is_reached() {
    let bench = Bench::new().await;
    let waiting = bench.begin::<m::message::Send>(wait_for(Stage::Delivered, None, "hi"));
    let id = queued(&bench, 1).await[0];
    let wait = WaitParams { id, stage: Stage::Read, timeout: None, contact: None };
    let longer = bench.begin::<m::message::Wait>(wait);
    bench.delivered(1).await;
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.state, result.reached, result.exit), (State::Delivered, true, 0));

    let mut window = ams_wire::receipt::Window::new(0);
    window.insert(1);
    let read = bench
        .store
        .write(move |txn| state::read(txn, ALICE, (&window, &[]), &BTreeSet::new(), clock()));
    Result::<_, StoreError>::unwrap(read.await);
    let result = longer.await.unwrap().unwrap();
    assert_eq!((result.state, result.reached, result.exit), (State::Read, true, 0));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_nobodys_may_be_an_address_or_in_other_letters() {
    let bench = Bench::new().await;
    let mut client = bench.client();
    let hints = spawn_blocking(move || {
        ["ALICE", "alice@", "bob"].map(|to| {
            match client.call::<m::message::Send>(&SendParams::new(to, "hi")) {
                Err(CallError::Failed(failure)) => failure.data.unwrap().hint,
                other => panic!("{other:?}"),
            }
        })
    });
    let [letters, address, nobody] = hints.await.unwrap();
    assert!(letters.starts_with("alice may be meant"), "{letters}");
    // The relay of this contact has no name here.
    assert!(address.starts_with("alice may be meant"), "{address}");
    assert_eq!(nobody, ErrorKind::NoSuchContact.hint());
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_the_stage_can_no_longer_be_reached() {
    let bench = Bench::new().await;
    let timed = bench.call::<m::message::Send>(wait_for(Stage::Sent, Some("10ms"), "a")).await;
    assert_eq!((timed.state, timed.reached), (State::Queued, false));
    assert_eq!(timed.exit, Exit::Queued.code());

    let waiting = bench.begin::<m::message::Send>(wait_for(Stage::Sent, Some("1h"), "b"));
    let ids = queued(&bench, 2).await;
    let discard = QueueParams { ids: Some(vec![ids[1]]), ..QueueParams::default() };
    let outcomes = bench.call::<m::queue::Discard>(discard).await;
    assert_eq!(outcomes.messages[0].state, State::Discarded);
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.reached, result.exit), (false, Exit::Undelivered.code()));

    // Kept: a wait with no end of its own ends there, one with a timeout goes on.
    let waiting = bench.begin::<m::message::Send>(wait_for(Stage::Sent, None, "c"));
    queued(&bench, 2).await;
    let all = || QueueParams { all: Some(true), ..QueueParams::default() };
    bench.call::<m::queue::Keep>(all()).await;
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.state, result.exit), (State::Waiting, Exit::Queued.code()));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_ends_a_wait_and_refuses_the_next_message() {
    let bench = Bench::new().await;
    let waiting = bench.begin::<m::message::Send>(wait_for(Stage::Delivered, None, "hi"));
    queued(&bench, 1).await;
    let changed = bench.store.write(|txn| {
        let before = txn.get::<Contacts>(&ALICE)?.unwrap();
        let other = Key(*IdentityKey::generate().public().as_bytes());
        let after = ContactRow { offered: Some(other), ..before.clone() };
        contacts::put(txn, ALICE, Some(&before), &after)?;
        txn.tell(Fact::Event(Box::new(ams_rpc::types::Fact::ContactKeyChanged(
            ams_rpc::types::KeyChangedFact {
                contact: "alice".into(),
                contact_id: ALICE.to_string(),
                fingerprint: String::new(),
                offered_fingerprint: String::new(),
            },
        ))));
        Ok(())
    });
    Result::<_, StoreError>::unwrap(changed.await);
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.reached, result.exit), (false, Exit::KeyNotTrusted.code()));
    let params = SendParams::new("alice", "more");
    bench.refused::<m::message::Send>(params, ErrorKind::KeyChanged).await;
    let status = bench.call::<m::daemon::Status>(NoParams {}).await;
    assert!(status.warnings.iter().any(|warning| warning.contains("alice")), "{status:?}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_shown_with_its_steps_and_deleted_when_it_is_over() {
    let bench = Bench::new().await;
    let id = bench.send("hi").await.id;
    let message = || MessageParams { id, contact: None };
    bench.refused::<m::message::Delete>(message(), ErrorKind::NotAllowed).await;
    bench.delivered(1).await;
    let shown = bench.call::<m::message::Show>(message()).await.messages;
    let steps: Vec<_> = shown[0].steps.iter().map(|step| step.what.as_str()).collect();
    assert_eq!(steps, ["queued", "delivered"]);
    let named = MessageParams { contact: Some("bob".into()), ..message() };
    bench.refused::<m::message::Show>(named, ErrorKind::NoSuchContact).await;
    bench.call::<m::message::Delete>(message()).await;
    bench.refused::<m::message::Show>(message(), ErrorKind::NoSuchMessage).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_back_page_by_page() {
    let bench = Bench::new().await;
    for text in ["one", "two", "three"] {
        bench.send(text).await;
    }
    bench.arrives(1, "Four").await;
    let texts = |page: &ams_rpc::types::Messages| -> Vec<String> {
        page.messages.iter().map(|message| message.body.clone()).collect()
    };
    let newest = HistoryParams { limit: Some(2), ..HistoryParams::default() };
    let page = bench.call::<m::history::List>(newest.clone()).await;
    assert_eq!((texts(&page), page.more), (vec!["three".into(), "Four".into()], true));
    let older = HistoryParams { before: Some(page.messages[0].id), ..newest };
    let page = bench.call::<m::history::List>(older).await;
    assert_eq!((texts(&page), page.more), (vec!["one".into(), "two".into()], false));
    let found = HistoryParams { search: Some("fOUR".into()), ..HistoryParams::default() };
    assert_eq!(texts(&bench.call::<m::history::List>(found).await), ["Four"]);
    // What is on its way stays.
    let clear = HistoryClearParams { contact: "alice".into() };
    assert_eq!(bench.call::<m::history::Clear>(clear).await.removed, 1);
    bench.end().await;
}

/// A machine without a battery for its clock, before it heard the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_in_the_past_is_told_and_stops_nothing() {
    let clock = crate::clock::Clock::told_by(|| 86_400_000);
    let bench = Bench::with(Outside { clock, ..Outside::default() }).await;
    let status = bench.call::<m::daemon::Status>(NoParams {}).await;
    let said = "this machine's clock says 1970-01-02T00:00:00.000Z, which is past: set it, ";
    assert!(status.warnings.iter().any(|warning| warning.starts_with(said)), "{status:?}");
    let ttl = Some(Period(std::time::Duration::from_secs(3600)));
    let sent = bench.call::<m::message::Send>(SendParams { ttl, ..SendParams::new("alice", "hi") });
    assert_eq!(sent.await.state, State::Queued);
    bench.end().await;
    let right = Bench::new().await;
    assert_eq!(right.call::<m::daemon::Status>(NoParams {}).await.warnings, [""; 0]);
    right.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumped_is_told() {
    let bench = Bench::new().await;
    let set = |at| bench.store.write(move |txn| crate::profile::set_moment(txn, "tidied_at", at));
    for (days, told) in [(29, 0), (31, 1), (-1, 1)] {
        Result::<_, StoreError>::unwrap(set(clock() - days * 86_400_000).await);
        let warnings = bench.call::<m::daemon::Status>(NoParams {}).await.warnings;
        assert_eq!(warnings.len(), told, "{warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains("set it if it is wrong")));
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_before_sending_takes_part_in_nobodys_commit() {
    let bench = Bench::new().await;
    // The writer is in the middle of somebody's work for as long as we want.
    let ((begin, begun), (go, going)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let store = bench.store.clone();
    let slow = tokio::spawn(async move {
        let work = move |_: &Txn<'_>| {
            begin.send(()).unwrap();
            // Also over when the test is.
            let _ = going.recv();
            Ok::<_, StoreError>(())
        };
        store.write(work).await
    });
    while begun.try_recv().is_err() {
        tokio::task::yield_now().await;
    }
    let written = || (bench.store.counts().commits, bench.store.counts().writes);
    let before = written();
    let looking = bench.begin::<m::message::Check>(SendParams::new("alice", "hi"));
    let would = tokio::time::timeout(std::time::Duration::from_secs(20), looking).await;
    let would = would.expect("a look waits for the writer").unwrap().unwrap();
    assert_eq!((would.to.as_str(), would.waits, would.size), ("alice", true, 2));
    go.send(()).unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!(written(), before);
    let queue = bench.call::<m::queue::List>(QueueListParams::default()).await;
    assert!(queue.messages.is_empty());
    bench.end().await;
}

/// The interface tells the bounds that a message has on its way.
#[test]
fn the_bounds_of_the_interface_are_those_of_the_wire() {
    use ams_rpc::types as told;
    use ams_wire::limits as kept;
    assert_eq!(told::MAX_BODY, kept::MAX_BODY_TEXT);
    assert_eq!(told::MAX_TITLE, kept::MAX_TITLE);
    assert_eq!((told::MAX_TAGS, told::MAX_TAG), (kept::MAX_TAGS, kept::MAX_TAG));
    assert_eq!((told::MAX_CHOICES, told::MAX_CHOICE), (kept::MAX_CHOICES, kept::MAX_CHOICE));
}
