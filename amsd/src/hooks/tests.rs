//! Hooks whose programs the test plays, under a paused clock.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ams_crypto::store::StoreKey;
use ams_wire::id::{Handle, Key};
use ams_wire::username::Username;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::rule::Filter;
use super::*;
use crate::contacts::{self, ContactId, ContactRow, Contacts, PathRow, Stage};
use crate::fact::Fact;
use crate::inbox::history;
use crate::inbox::row::{In, InRow};
use crate::outbox::row::{Out, OutRow, OutState};
use crate::relay::RelayId;
use crate::store::Disk;
use crate::timeline::{self, Direction, Entry};

const ALICE: ContactId = ContactId(1);
const RELAY: RelayId = RelayId(1);
const BEGIN: i64 = 1_800_000_000_000;

/// A disk that is there as long as a clone of it is.
#[derive(Debug, Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Disk for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.0.lock().unwrap().len()).unwrap())
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.0.lock().unwrap()[at..at.checked_add(out.len()).unwrap()]);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let end = at.checked_add(data.len()).unwrap();
        self.0.lock().unwrap()[at..end].copy_from_slice(data);
        Ok(())
    }
}

type Verdict = Box<dyn Fn(&Run) -> Result<(), String> + Send + Sync>;

/// Programs that do what the test says, and tell when they were run.
struct Played {
    ran: mpsc::Sender<(Duration, Run)>,
    begun: Instant,
    /// What each comes to.
    verdict: Verdict,
    takes: Duration,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Programs for Played {
    fn run(&self, run: Run) -> Running {
        let outcome = (self.verdict)(&run);
        let at = self.begun.elapsed();
        let (ran, takes, now) = (self.ran.clone(), self.takes, Arc::clone(&self.now));
        let running = now.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        self.most.fetch_max(running, Ordering::SeqCst);
        Box::pin(async move {
            ran.send((at, run)).await.unwrap();
            tokio::time::sleep(takes).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ran { outcome, output: Vec::new() }
        })
    }
}

struct Scene {
    store: Store,
    handle: HooksHandle,
    dispatch: Dispatch,
    clock: Clock,
    ran: mpsc::Receiver<(Duration, Run)>,
    programs: Arc<Played>,
    most: Arc<AtomicUsize>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Scene {
    /// Hooks of which each run takes so long and comes to that.
    async fn new(
        hooks: &[Hook],
        takes: Duration,
        verdict: impl Fn(&Run) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let (handle, dispatch) = (HooksHandle::default(), Dispatch::default());
        let (poked, told) = (handle.clone(), dispatch.clone());
        let disk = Memory::default();
        let store = Store::inline_on(
            move || disk.clone(),
            StoreKey::new(&[1; 32]),
            Arc::new(move |facts: Vec<Fact>| {
                if facts.iter().any(|fact| matches!(fact, Fact::Hooks)) {
                    poked.poke();
                }
                told.told(facts);
            }),
        )
        .unwrap();
        let met = store.write(|txn| contacts::put(txn, ALICE, None, &alice()));
        Result::<_, StoreError>::unwrap(met.await);
        let (ran, hears) = mpsc::channel(256);
        let (begun, most) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let programs = Arc::new(Played {
            ran,
            begun,
            verdict: Box::new(verdict),
            takes,
            now: Arc::default(),
            most: Arc::clone(&most),
        });
        let clock = Clock::told_by(move || {
            BEGIN.saturating_add(i64::try_from(begun.elapsed().as_millis()).unwrap())
        });
        handle.set(&store, hooks.to_vec()).await.unwrap();
        let stop = CancellationToken::new();
        let deps = Deps {
            store: store.clone(),
            clock: clock.clone(),
            dispatch: dispatch.clone(),
            programs: programs.clone(),
        };
        let task = handle.start(deps, stop.clone());
        Self { store, handle, dispatch, clock, ran: hears, programs, most, stop, task }
    }

    /// Alice's message of that number comes in.
    async fn comes(&self, seq: u64) -> u64 {
        let at = self.clock.now();
        let kept = self.store.write(move |txn| {
            let place = timeline::append(txn, ALICE, Direction::In, seq)?;
            let message = InRow {
                contact: ALICE,
                id: id(seq),
                seq,
                sent_at: at,
                received_at: at,
                via: "relay:home".to_owned(),
                verified: false,
                text: format!("message {seq}"),
                reply_to: None,
                title: None,
                priority: None,
                tags: Vec::new(),
                choices: None,
            };
            txn.put::<In>(&place, &message)?;
            jobs::received(txn, place, &alice(), &message)?;
            Ok(place)
        });
        Result::<_, StoreError>::unwrap(kept.await)
    }

    async fn alice_is(&self, after: ContactRow) {
        let put = self.store.write(move |txn| {
            contacts::put(txn, ALICE, Some(&alice()), &after)?;
            txn.tell(Fact::Hooks);
            Ok(())
        });
        Result::<_, StoreError>::unwrap(put.await);
    }

    /// When the next program was run, in seconds, and for which of alice's messages.
    async fn next(&mut self) -> (u64, u8) {
        let (at, run) = self.ran.recv().await.unwrap();
        (at.as_secs(), run.id.unwrap().0[0])
    }

    fn counts(&self) -> (u64, u64) {
        self.store.read_now(|db| jobs::counts(db, 1)).unwrap()
    }

    /// Lets everything happen that happens within so long.
    async fn pass(&self, length: Duration) {
        tokio::time::sleep(length).await;
    }

    async fn ends(self) -> Store {
        self.stop.cancel();
        self.task.await.unwrap();
        self.store
    }
}

fn id(seq: u64) -> MessageId {
    MessageId([u8::try_from(seq).unwrap(); 16])
}

fn alice() -> ContactRow {
    let path = PathRow {
        relay: RELAY,
        handle: Handle([2; 16]),
        user: Username::new("alice").unwrap(),
        missing: false,
    };
    ContactRow {
        name: "alice".into(),
        identity: None,
        verified: None,
        stage: Stage::Active,
        blocked: false,
        offered: None,
        paths: vec![path],
        next_seq: 1,
        unread_from: 0,
        renewed_at: 0,
        their_low: 0,
        known_from: 0,
        offered_at: Vec::new(),
        by_link: None,
    }
}

fn hook(name: &str) -> Hook {
    Hook {
        name: name.to_owned(),
        on: vec![EventType::MessageReceived],
        filter: Filter::default(),
        program: "/bin/true".into(),
        args: Vec::new(),
        pass_env: Vec::new(),
        timeout: Duration::from_secs(10),
        retries: 3,
        parallel: 1,
    }
}

const QUICK: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_message_is_handed_over_once_and_in_order() {
    let mut stage = Scene::new(&[hook("log")], QUICK, |_| Ok(())).await;
    for seq in 1..=3 {
        stage.comes(seq).await;
    }
    for seq in 1..=3 {
        let (_, run) = stage.ran.recv().await.unwrap();
        assert_eq!(run.id, Some(id(seq)));
        let read: serde_json::Value = serde_json::from_str(&run.input).unwrap();
        assert_eq!(read["type"], "message.received");
        assert_eq!(read["message"]["body"], format!("message {seq}"));
        assert_eq!((&read["hook"], &read["tries"]), (&"log".into(), &0.into()));
    }
    stage.pass(Duration::from_hours(1)).await;
    assert!(stage.ran.try_recv().is_err());
    assert_eq!(stage.counts(), (0, 0));
    stage.ends().await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_run_again_after_growing_pauses_and_then_listed() {
    let mut stage = Scene::new(&[hook("log")], Duration::ZERO, |run| match run.id {
        Some(MessageId([1, ..])) => Err("no paper".to_owned()),
        _ => Ok(()),
    })
    .await;
    stage.comes(1).await;
    assert_eq!(stage.next().await, (0, 1));
    // What comes behind it does not wait for it.
    stage.comes(2).await;
    assert_eq!(stage.next().await, (0, 2));
    assert_eq!(stage.next().await, (1, 1));
    assert_eq!(stage.counts(), (1, 0));
    assert_eq!(stage.next().await, (6, 1));
    assert_eq!(stage.next().await, (31, 1));
    stage.pass(Duration::from_hours(1)).await;
    assert!(stage.ran.try_recv().is_err());
    assert_eq!(stage.counts(), (0, 1));
    let [failure] = &stage.store.read_now(|db| jobs::failures(db)).unwrap()[..] else {
        panic!("one failure")
    };
    assert_eq!((failure.tries, failure.reason.as_str()), (4, "no paper"));
    let infos = stage.store.read_now(|db| stage.handle.infos(db)).unwrap();
    assert_eq!((infos[0].failed, infos[0].state), (1, HookState::Failing));

    let again = stage.store.write(|txn| jobs::replay(txn, 1, None));
    assert_eq!(Result::<_, StoreError>::unwrap(again.await), 1);
    let (_, run) = stage.ran.recv().await.unwrap();
    assert_eq!(run.id, Some(id(1)));
    stage.ends().await;
}

/// A hook that was cut off in the middle is run again by the next daemon, with the same id.
#[tokio::test(start_paused = true)]
async fn what_was_cut_off_is_run_again() {
    let mut stage = Scene::new(&[hook("log")], Duration::from_secs(5), |_| Ok(())).await;
    stage.comes(1).await;
    assert_eq!(stage.next().await.1, 1);
    let (clock, dispatch, programs) =
        (stage.clock.clone(), stage.dispatch.clone(), stage.programs.clone());
    let (handle, stop) = (stage.handle.clone(), CancellationToken::new());
    let ran = std::mem::replace(&mut stage.ran, mpsc::channel(1).1);
    let store = stage.ends().await;
    let deps = Deps { store: store.clone(), clock, dispatch, programs };
    let task = handle.start(deps, stop.clone());
    let mut ran = ran;
    assert_eq!(ran.recv().await.unwrap().1.id, Some(id(1)));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(store.read_now(|db| jobs::counts(db, 1)).unwrap(), (0, 0));
    assert!(ran.try_recv().is_err());
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn few_run_at_once() {
    let wide = Hook { parallel: 3, ..hook("wide") };
    let hooks = [wide, hook("narrow"), hook("third")];
    let mut stage = Scene::new(&hooks, Duration::from_secs(5), |_| Ok(())).await;
    for seq in 1..=20 {
        stage.comes(seq).await;
    }
    let mut of_hook = BTreeMap::<String, u64>::new();
    for _ in 0..60 {
        let (_, run) = stage.ran.recv().await.unwrap();
        *of_hook.entry(run.hook.name.clone()).or_default() += 1;
        if of_hook.values().sum::<u64>() == 12 {
            // None has waited for the others to be through.
            assert_eq!(of_hook.len(), 3, "{of_hook:?}");
        }
    }
    assert_eq!(stage.most.load(Ordering::SeqCst), 4);
    assert!(of_hook.values().all(|count| *count == 20), "{of_hook:?}");
    stage.ends().await;
}

/// A hook whose programs hang takes all places but one.
#[tokio::test(start_paused = true)]
async fn a_slow_hook_leaves_a_place_to_the_others() {
    let slow = Hook { parallel: 4, ..hook("slow") };
    let hour = Duration::from_hours(1);
    let other = Hook { on: vec![EventType::RelayDown], ..hook("other") };
    let mut stage = Scene::new(&[slow.clone(), other], hour, |_| Ok(())).await;
    for seq in 1..=5 {
        stage.comes(seq).await;
    }
    for seq in 1..=3 {
        assert_eq!(stage.next().await, (0, seq));
    }
    let down = ams_rpc::types::LinkFact { name: "home".into(), reason: None };
    stage.dispatch.tell(ams_rpc::types::Fact::RelayDown(down));
    let (_, run) = stage.ran.recv().await.unwrap();
    assert_eq!(run.hook.name, "other");
    assert_eq!(stage.most.load(Ordering::SeqCst), 4);
    stage.ends().await;

    // Where there is no other, it has them all.
    let mut stage = Scene::new(&[slow], hour, |_| Ok(())).await;
    for seq in 1..=5 {
        stage.comes(seq).await;
    }
    for seq in 1..=4 {
        assert_eq!(stage.next().await, (0, seq));
    }
    assert_eq!(stage.most.load(Ordering::SeqCst), 4);
    stage.ends().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_run_for_a_contact_whose_key_is_in_doubt() {
    let mut stage = Scene::new(&[hook("log")], Duration::ZERO, |_| Err("not yet".into())).await;
    stage.comes(1).await;
    assert_eq!(stage.next().await, (0, 1));
    let doubtful = ContactRow { offered: Some(Key([9; 32])), ..alice() };
    stage.alice_is(doubtful).await;
    stage.pass(Duration::from_mins(1)).await;
    assert!(stage.ran.try_recv().is_err(), "it was due after a second");
    assert_eq!(stage.counts(), (1, 0));
    // The user decided.
    stage.alice_is(alice()).await;
    assert_eq!(stage.next().await, (60, 1));
    // Of somebody who is blocked, nothing any more.
    stage.alice_is(ContactRow { blocked: true, ..alice() }).await;
    stage.pass(Duration::from_hours(1)).await;
    assert!(stage.ran.try_recv().is_err());
    assert_eq!(stage.counts(), (0, 0));
    stage.ends().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_deleted_is_handed_to_nobody() {
    let mut stage = Scene::new(&[hook("log")], Duration::ZERO, |_| Err("x".into())).await;
    let place = stage.comes(1).await;
    assert_eq!(stage.next().await, (0, 1));
    let entry = Entry { contact: ALICE, direction: Direction::In, seq: 1 };
    let deleted = stage.store.write(move |txn| history::delete(txn, place, entry));
    assert!(Result::<_, StoreError>::unwrap(deleted.await));
    stage.pass(Duration::from_hours(1)).await;
    assert!(stage.ran.try_recv().is_err());
    assert_eq!(stage.counts(), (0, 0));
    stage.ends().await;
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_delivered_is_told_to_who_wants_it() {
    let wanted = Hook {
        on: vec![EventType::MessageUndelivered, EventType::RelayDown],
        filter: Filter { from: Some(vec!["alice".into()]), ..Filter::default() },
        ..hook("pager")
    };
    let all = Hook { on: vec![EventType::RelayDown], ..hook("links") };
    let mut stage = Scene::new(&[wanted, all], Duration::ZERO, |_| Ok(())).await;
    let gave_up = stage.store.write(|txn| {
        let place = timeline::append(txn, ALICE, Direction::Out, 1)?;
        let row = OutRow {
            id: id(7),
            state: OutState::Undelivered,
            accepted_at: BEGIN,
            place,
            via: None,
            steps: Vec::new(),
            wish: None,
        };
        txn.put::<Out>(&(ALICE, 1), &row)?;
        jobs::undelivered(txn, ALICE, 1, &row, Some("the relay gave up"))
    });
    Result::<_, StoreError>::unwrap(gave_up.await);
    let (_, run) = stage.ran.recv().await.unwrap();
    assert!(run.input.contains("the relay gave up") && run.input.contains("\"alice\""));
    // An event of which nothing is on disk; `from` is about contacts.
    let down = ams_rpc::types::LinkFact { name: "home".into(), reason: None };
    stage.dispatch.tell(ams_rpc::types::Fact::RelayDown(down.clone()));
    let (_, run) = stage.ran.recv().await.unwrap();
    assert_eq!((run.hook.name.as_str(), run.event), ("links", EventType::RelayDown));
    stage.dispatch.tell(ams_rpc::types::Fact::RelayUp(down));
    stage.pass(Duration::from_mins(1)).await;
    assert!(stage.ran.try_recv().is_err());
    stage.ends().await;
}

/// A hook that is new is not run for what came before; one that is gone leaves nothing.
#[tokio::test(start_paused = true)]
async fn the_config_is_followed() {
    let mut stage = Scene::new(&[hook("log")], Duration::ZERO, |_| Err("x".into())).await;
    stage.comes(1).await;
    assert_eq!(stage.next().await, (0, 1));
    stage.handle.set(&stage.store, vec![hook("other")]).await.unwrap();
    stage.pass(Duration::from_hours(1)).await;
    assert!(stage.ran.try_recv().is_err());
    stage.comes(2).await;
    let (_, run) = stage.ran.recv().await.unwrap();
    assert_eq!((run.hook.name.as_str(), run.id), ("other", Some(id(2))));
    assert_eq!(stage.counts(), (0, 0));
    let row = stage.store.read_now(|db| db.get::<Contacts>(&ALICE)).unwrap();
    assert!(row.is_some());
    stage.ends().await;
}

#[tokio::test(start_paused = true)]
async fn the_list_of_failures_has_an_end() {
    let once = Hook { retries: 0, ..hook("log") };
    let stage = Scene::new(&[once], Duration::ZERO, |_| Ok(())).await;
    let most = jobs::MAX_FAILURES;
    let filled = stage.store.write(move |txn| {
        for place in 1..=most.saturating_add(5) {
            let job = row::JobRow {
                serial: place,
                event: row::JobEvent::Received,
                contact: ALICE,
                id: id(1),
                at: 0,
                reason: None,
                tries: 0,
            };
            txn.put::<row::HookJobs>(&(1, 0, place), &job)?;
            jobs::failed(txn, (1, 0, place), place, "x", 0, 0)?;
        }
        assert_eq!(txn.count::<row::HookFailures>()?, most);
        assert!(txn.get::<row::HookFailures>(&(1, 5))?.is_none());
        assert!(txn.get::<row::HookFailures>(&(1, 6))?.is_some());
        Ok(())
    });
    Result::<_, StoreError>::unwrap(filled.await);
    stage.ends().await;
}
