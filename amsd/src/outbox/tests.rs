//! The table of states: every way from one to another, and no other way, with what is recorded and
//! told about each. [`model`] holds the same table against whatever happens in whatever order.

#![allow(clippy::arithmetic_side_effects, reason = "times and numbers of a test")]

mod model;
mod overtaken;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ams_crypto::identity::IdentityKey;
use ams_crypto::store::StoreKey;
use ams_rpc::types::Fact as Event;
use ams_wire::id::{Handle, Key, RootTag, WorkMark};
use ams_wire::receipt::Window;
use ams_wire::username::Username;

use super::queue::Decision;
use super::row::{Queued, Waiting};
use super::state::Outcome;
use super::wish::{Deadlines, Keyed, OneWay};
use super::*;
use crate::contacts::{ContactRow, PathRow};
use crate::relay::RelayId;
use crate::session::row::{CipherRow, Ciphers};
use crate::session::seal::CipherKey;
use crate::settings::Undeliverable;
use crate::store::Store;
use crate::tally::{self, Tally};

const BOB: ContactId = ContactId(1);
const HOME: RelayId = RelayId(1);
const NOW: i64 = 1_800_000_000_000;
const STATES: [OutState; 9] = [
    OutState::Queued,
    OutState::Sent,
    OutState::Delivered,
    OutState::Read,
    OutState::Undelivered,
    OutState::Waiting,
    OutState::Discarded,
    OutState::Expired,
    OutState::Replaced,
];

/// What happens to a message, and where it comes from each state; `.`: it stays.
const TABLE: &str = "
    cause         queued       sent         delivered  read  undelivered  waiting    discarded  expired    replaced
    taken         sent         .            .          .     .            sent       .          .          .
    failed_ask    undelivered  undelivered  .          .     .            .          .          .          .
    failed_keep   waiting      waiting      .          .     .            .          .          .          .
    failed_drop   discarded    discarded    .          .     .            .          .          .          .
    lost          .            queued       .          .     .            .          .          .          .
    receipt       delivered    delivered    .          .     delivered    delivered  delivered  delivered  delivered
    was_read      .            .            read       .     .            .          .          .          .
    keep          waiting      waiting      .          .     waiting      .          .          .          .
    discard       discarded    discarded    .          .     discarded    discarded  .          .          .
    retry         .            .            .          .     queued       queued     .          .          .
    there         .            .            .          .     .            queued     .          .          .
    over          expired      expired      .          .     expired      expired    .          .          .
    successor     replaced     .            .          .     replaced     replaced   .          .          .
";

/// Where the table leads.
fn becomes(cause: &str, from: OutState) -> OutState {
    let row = TABLE.lines().find(|line| line.split_whitespace().next() == Some(cause)).unwrap();
    let cells: Vec<&str> = row.split_whitespace().skip(1).collect();
    assert_eq!(cells.len(), STATES.len(), "{cause}");
    match cells[STATES.iter().position(|state| *state == from).unwrap()] {
        "." => from,
        word => *STATES.iter().find(|state| State::from(**state).as_str() == word).unwrap(),
    }
}

struct Bench {
    store: Option<Store>,
    path: PathBuf,
    told: Arc<Mutex<Vec<Fact>>>,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ams.redb");
        let told = Arc::default();
        let store = Store::create(&path, StoreKey::new(&[1; 32]), listen(&told)).unwrap();
        let bench = Self { store: Some(store), path, told, _folder: folder };
        bench.write(|txn| contacts::put(txn, BOB, None, &bob())).await;
        bench
    }

    async fn restart(&mut self) {
        self.store.take().unwrap().close().await;
        let told = listen(&self.told);
        self.store = Some(Store::open(&self.path, StoreKey::new(&[1; 32]), told).unwrap());
        self.write(|txn| {
            let live = contacts_with_live(txn)?;
            state::restarted(txn, &live, NOW)
        })
        .await;
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.as_ref().unwrap().write(move |txn| work(txn)).await.unwrap()
    }

    fn read<T>(&self, look: impl FnOnce(&crate::store::View<'_>) -> Result<T, StoreError>) -> T {
        self.store.as_ref().unwrap().read_now(look).unwrap()
    }

    /// A message in this state, with its ciphertext; answers its `seq`.
    async fn message(&self, wish: Wish, in_state: OutState) -> u64 {
        let draft = draft(wish);
        let pushed =
            self.store.as_ref().unwrap().write(move |txn| push(txn, &draft, NOW)).await.unwrap();
        let seq = self.read(|db| db.get::<OutIds>(&(pushed.id, BOB))).unwrap();
        self.write(move |txn| {
            txn.put::<Ciphers>(&(BOB, ROOT, seq), &cipher(seq))?;
            state::change(txn, BOB, seq, NOW, None, None, |row| {
                (row.state != in_state).then_some(in_state)
            })
        })
        .await;
        self.told().await;
        seq
    }

    fn row(&self, seq: u64) -> OutRow {
        self.read(|db| db.get::<Out>(&(BOB, seq))).unwrap()
    }

    /// The events since the last look: `message.state`, and how many `message.undelivered`.
    async fn told(&self) -> (Vec<(MessageId, State, Option<String>)>, usize) {
        // A commit is told before the next one begins.
        self.write(|_| Ok(())).await;
        let (mut states, mut undelivered) = (Vec::new(), 0);
        for fact in std::mem::take(&mut *self.told.lock().unwrap()) {
            let Fact::Event(event) = fact else { continue };
            match *event {
                Event::MessageState(fact) => {
                    states.push((MessageId(fact.id.0), fact.state, fact.reason));
                }
                Event::MessageUndelivered(fact) => {
                    assert_eq!(fact.state, State::Undelivered);
                    undelivered += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        (states, undelivered)
    }

    /// What is found by an index is what is so.
    fn indexes_agree(&self) {
        let rows = self.read(|db| db.list::<Out>(&BOB));
        let those = |is: &dyn Fn(&OutRow) -> bool| -> BTreeSet<u64> {
            rows.iter().filter(|(_, row)| is(row)).map(|((_, seq), _)| *seq).collect()
        };
        let wish = |row: &OutRow| row.wish.clone().unwrap_or_default();
        let live = |row: &OutRow| !row.state.is_final();
        let seqs = |keys: Vec<u64>| keys.into_iter().collect::<BTreeSet<u64>>();
        let live_rows = self.read(|db| db.list::<Live>(&()));
        assert_eq!(seqs(live_rows.iter().map(|((_, seq), _)| *seq).collect()), those(&live));
        for ((_, seq), state) in live_rows {
            assert_eq!(state, self.row(seq).state);
        }
        let waiting = self.read(|db| db.list::<Waiting>(&()));
        assert_eq!(
            seqs(waiting.iter().map(|((_, seq), ())| *seq).collect()),
            those(&|row| row.state == OutState::Waiting)
        );
        let queued = self.read(|db| db.list::<Queued>(&()));
        assert_eq!(
            seqs(queued.iter().map(|((_, seq), ())| *seq).collect()),
            those(&|row| row.state == OutState::Queued)
        );
        for state in [OutState::Queued, OutState::Sent, OutState::Undelivered, OutState::Waiting] {
            let counted = self.read(|db| tally::of(db, Tally::of(state).unwrap()));
            assert_eq!(counted, u64::try_from(those(&|row| row.state == state).len()).unwrap());
        }
        let deadlines = self.read(|db| db.list::<Deadlines>(&()));
        assert_eq!(
            seqs(deadlines.iter().map(|((_, _, seq), ())| *seq).collect()),
            those(&|row| live(row) && wish(row).expires_at.is_some())
        );
        let keyed = self.read(|db| db.list::<Keyed>(&()));
        assert_eq!(
            seqs(keyed.iter().map(|((_, _, seq), ())| *seq).collect()),
            those(&|row| live(row) && wish(row).key.is_some())
        );
        let one_way = self.read(|db| db.list::<OneWay>(&()));
        assert_eq!(
            seqs(one_way.iter().map(|((_, seq), _)| *seq).collect()),
            those(&|row| live(row) && wish(row).only.is_some())
        );
    }
}

fn listen(told: &Arc<Mutex<Vec<Fact>>>) -> crate::store::Told {
    let told = Arc::clone(told);
    Arc::new(move |facts| told.lock().unwrap().extend(facts))
}

const ROOT: RootTag = RootTag([7; 8]);

fn key(seq: u64) -> CipherKey {
    CipherKey { contact: BOB, root: ROOT, ctr: seq }
}

fn cipher(seq: u64) -> CipherRow {
    CipherRow { seq: Some(seq), relay: HOME, mark: WorkMark::default() }
}

fn draft(wish: Wish) -> Draft {
    let text = TextRow { text: "hi".into(), ..TextRow::default() };
    Draft { to: "bob".into(), id: None, text, wish }
}

fn bob() -> ContactRow {
    ContactRow {
        name: "bob".into(),
        identity: Some(Key(*IdentityKey::generate().public().as_bytes())),
        verified: None,
        stage: Stage::Active,
        blocked: false,
        offered: None,
        paths: vec![PathRow {
            relay: HOME,
            handle: Handle([1; 16]),
            user: Username::new("bob").unwrap(),
            missing: false,
        }],
        next_seq: 1,
        unread_from: 0,
        renewed_at: 0,
        their_low: 0,
        known_from: 0,
        offered_at: Vec::new(),
        by_link: None,
    }
}

/// Lets `cause` happen to message `seq`.
async fn happen(bench: &Bench, cause: &'static str, seq: u64, at: i64) {
    let settle = |outcome: Outcome, policy: Undeliverable| async move {
        bench
            .write(move |txn| state::settle(txn, key(seq), outcome, "relay:home", policy, at))
            .await;
    };
    let decide = |decision: Decision| async move {
        bench.write(move |txn| queue::decide(txn, BOB, seq, decision, at)).await.unwrap();
    };
    match cause {
        "taken" => settle(Outcome::Sent, Undeliverable::Ask).await,
        "failed_ask" => settle(Outcome::Failed, Undeliverable::Ask).await,
        "failed_keep" => settle(Outcome::Silence, Undeliverable::Keep).await,
        "failed_drop" => settle(Outcome::Failed, Undeliverable::Discard).await,
        "lost" => {
            bench
                .write(move |txn| state::link_lost(txn, &[key(seq)], "the link is lost", at))
                .await;
        }
        "receipt" => bench.write(move |txn| state::delivered(txn, BOB, seq, RECEIPT, at)).await,
        "was_read" => {
            let mut window = Window::new(1);
            window.insert(seq);
            bench
                .write(move |txn| state::read(txn, BOB, (&window, &[]), &BTreeSet::from([seq]), at))
                .await;
        }
        "keep" => decide(Decision::Keep).await,
        "discard" => decide(Decision::Discard).await,
        "retry" => decide(Decision::Retry).await,
        "there" => bench.write(move |txn| queue::contact_is_there(txn, BOB, HOME, at)).await,
        "over" => drop(bench.write(move |txn| wish::expire_due(txn, at)).await),
        "successor" => {
            bench.write(move |txn| wish::replace(txn, BOB, "load", MessageId([9; 16]), at)).await;
        }
        other => panic!("{other}"),
    }
}

/// The path that receipts come by.
const RECEIPT: &str = "direct";

/// How a message went is known from whoever took it, or from its receipt where that is here first.
#[tokio::test]
async fn a_receipt_names_the_path_where_nothing_else_did() {
    let bench = Bench::new().await;
    for (causes, expected) in [(&["receipt"][..], RECEIPT), (&["taken", "receipt"], "relay:home")] {
        let seq = bench.message(Wish::default(), OutState::Queued).await;
        for cause in causes {
            happen(&bench, cause, seq, NOW).await;
        }
        let row = bench.row(seq);
        assert_eq!(row.via.as_deref(), Some(expected), "{causes:?}");
        assert!(row.steps.iter().any(|step| step.via.as_deref() == Some(expected)), "{causes:?}");
    }
}

fn causes() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| *word != "cause")
}

#[tokio::test]
async fn every_way_from_state_to_state_and_no_other() {
    assert_eq!(causes().count(), 13);
    for cause in causes() {
        let bench = Bench::new().await;
        for from in STATES {
            let wish =
                Wish { expires_at: Some(NOW + 1000), key: Some("load".into()), ..Wish::default() };
            let seq = bench.message(wish, from).await;
            let before = bench.row(seq);
            let at = NOW + 1000;
            happen(&bench, cause, seq, at).await;
            let after = bench.row(seq);
            let expected = becomes(cause, from);
            assert_eq!(after.state, expected, "{cause} from {from:?}");
            let (states, undelivered) = bench.told().await;
            if expected == from {
                assert_eq!(after.steps, before.steps, "{cause} from {from:?}");
                assert!(states.is_empty(), "{cause} from {from:?}");
            } else {
                let step = after.steps.last().unwrap();
                assert_eq!((step.at, step.state), (at, expected));
                assert_eq!(after.steps.len(), before.steps.len() + 1);
                assert_eq!(states, [(after.id, expected.into(), step.reason.clone())]);
                // What the recipient or the relay said needs no reason.
                let said = matches!(cause, "taken" | "receipt" | "was_read");
                assert_eq!(step.reason.is_some(), !said, "{cause}");
            }
            let became = expected == OutState::Undelivered && from != expected;
            assert_eq!(undelivered, usize::from(became), "{cause} from {from:?}");
            bench.indexes_agree();
            // Out of the way of the next one.
            bench.write(move |txn| txn.delete::<Ciphers>(&(BOB, ROOT, seq))).await;
        }
    }
}

#[tokio::test]
async fn the_reason_names_the_successor() {
    let bench = Bench::new().await;
    let load = || Wish { key: Some("load".into()), ..Wish::default() };
    let under_way = bench.message(load(), OutState::Sent).await;
    let first = bench.message(load(), OutState::Undelivered).await;
    let other = bench.message(Wish { key: Some("else".into()), ..load() }, OutState::Queued).await;
    let successor = bench.message(load(), OutState::Queued).await;
    let states = [under_way, first, other, successor].map(|seq| bench.row(seq).state);
    assert_eq!(states, [OutState::Sent, OutState::Replaced, OutState::Queued, OutState::Queued]);
    let reason = bench.row(first).steps.last().unwrap().reason.clone();
    assert_eq!(reason, Some(format!("replaced by {}", bench.row(successor).id)));
}

#[tokio::test]
async fn its_own_policy_comes_before_the_config() {
    let bench = Bench::new().await;
    let own = |policy| Wish { policy: Some(policy), ..Wish::default() };
    for (wanted, becomes) in [
        (Undeliverable::Ask, OutState::Undelivered),
        (Undeliverable::Keep, OutState::Waiting),
        (Undeliverable::Discard, OutState::Discarded),
    ] {
        for cause in ["failed_ask", "failed_keep", "failed_drop"] {
            let seq = bench.message(own(wanted), OutState::Sent).await;
            happen(&bench, cause, seq, NOW).await;
            assert_eq!(bench.row(seq).state, becomes);
        }
    }
}

#[tokio::test]
async fn what_the_user_keeps_is_not_asked_about_again() {
    let bench = Bench::new().await;
    let seq = bench.message(Wish::default(), OutState::Sent).await;
    for cause in ["failed_ask", "keep", "there", "taken", "failed_ask"] {
        happen(&bench, cause, seq, NOW).await;
    }
    assert_eq!(bench.row(seq).state, OutState::Waiting);
    assert_eq!(bench.told().await.1, 1, "asked once");
}

#[tokio::test]
async fn what_may_go_one_way_waits_for_that_way() {
    let bench = Bench::new().await;
    let only = |way| Wish { only: Some(way), ..Wish::default() };
    let draft = draft(only(Way::Through("nowhere".into())));
    let refused = bench.store.as_ref().unwrap().write(move |txn| push(txn, &draft, NOW)).await;
    assert!(matches!(refused, Err(PushError::NoSuchRelay(nick)) if nick == "nowhere"));
    let direct = bench.message(only(Way::Direct), OutState::Waiting).await;
    let relay = bench.message(only(Way::Relay), OutState::Waiting).await;
    assert!(bench.row(direct).steps[0].reason.as_ref().unwrap().contains("direct"));
    happen(&bench, "there", relay, NOW).await;
    assert_eq!(bench.row(direct).state, OutState::Waiting);
    assert_eq!(bench.row(relay).state, OutState::Queued);
}

#[tokio::test]
async fn beyond_what_a_recipient_remembers_an_old_one_has_to_be_decided() {
    let bench = Bench::new().await;
    let first = bench.message(Wish::default(), OutState::Undelivered).await;
    let first_id = bench.row(first).id;
    let next_seq = |seq| {
        bench.write(move |txn| {
            let before = txn.get::<contacts::Contacts>(&BOB)?.unwrap();
            let after = ContactRow { next_seq: seq, ..before.clone() };
            contacts::put(txn, BOB, Some(&before), &after)
        })
    };
    next_seq(first + MAX_SPAN - 1).await;
    let last = bench.message(Wish::default(), OutState::Queued).await;
    assert_eq!(bench.row(last).steps[0].reason, None);
    let beyond = bench.message(Wish::default(), OutState::Queued).await;
    let reason = bench.row(beyond).steps[0].reason.clone().unwrap();
    assert!(reason.starts_with(&format!("decide {first_id} first")), "{reason}");
    let to_decide = |bench: &Bench| bench.read(|db| decide_first(db, BOB, beyond));
    assert_eq!(to_decide(&bench), Some(first_id));
    // On its way again it needs nobody.
    happen(&bench, "retry", first, NOW).await;
    assert_eq!(to_decide(&bench), None);
    happen(&bench, "failed_ask", first, NOW).await;
    assert_eq!(to_decide(&bench), Some(first_id));
    happen(&bench, "discard", first, NOW).await;
    assert_eq!(to_decide(&bench), None);
}

/// What lay on disk before messages had wishes, and what they look like now.
#[test]
fn rows_on_disk() {
    let row = OutRow {
        id: MessageId([1; 16]),
        state: OutState::Sent,
        accepted_at: 2,
        place: 3,
        via: None,
        steps: Vec::new(),
        wish: None,
    };
    let old = format!("a6 0050{} 0101 0202 0303 0580", "01".repeat(16));
    let hex = |text: &str| -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect()
    };
    let old = hex(&old.replacen("a6", "a5", 1));
    assert_eq!(minicbor::to_vec(&row).unwrap(), old);
    assert_eq!(minicbor::decode::<OutRow>(&old).unwrap(), row);
    let wish = Wish {
        policy: Some(Undeliverable::Keep),
        expires_at: Some(4),
        key: Some("k".into()),
        only: Some(Way::Through("h".into())),
    };
    let bytes = minicbor::to_vec(&wish).unwrap();
    assert_eq!(bytes, hex("a4 0001 0104 02616b 0382 02816168"));
    assert_eq!(minicbor::decode::<Wish>(&bytes).unwrap(), wish);
    for at in 0..bytes.len() {
        // Whatever comes out, nothing breaks.
        let mut bent = bytes.clone();
        bent[at] ^= 0x55;
        let _ = minicbor::decode::<Wish>(&bent);
        assert!(minicbor::decode::<Wish>(&bytes[..at]).is_err());
    }
}

#[test]
fn a_relay_is_told_whole_seconds() {
    let ends = |at| Some(Wish { expires_at: Some(at), ..Wish::default() });
    assert_eq!(wish::seconds_left(None, NOW), 0);
    assert_eq!(wish::seconds_left(Some(&Wish::default()), NOW), 0);
    for (left, seconds) in [(1, 1), (1000, 1), (1001, 2), (60_000, 60), (0, 1), (-5000, 1)] {
        assert_eq!(wish::seconds_left(ends(NOW + left).as_ref(), NOW), seconds, "{left}");
    }
    assert_eq!(wish::seconds_left(ends(i64::MAX).as_ref(), NOW), u32::MAX);
    assert_eq!(wish::seconds_left(ends(NOW).as_ref(), i64::MIN), 1_800_000_000);
}
