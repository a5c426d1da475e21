//! Whatever happens to messages, in whatever order, they are where the table says, and everything
//! that is found by an index is so.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What happens to some message, or to all.
#[derive(Debug, Clone)]
enum Action {
    Push {
        policy: Option<Undeliverable>,
        ttl: Option<i64>,
        key: Option<u8>,
    },
    Happens(&'static str, usize),
    /// The clock goes on, or is set.
    Clock(i64),
    Restart,
}

const YEAR: i64 = 365 * 24 * 60 * 60 * 1000;

fn action() -> impl Strategy<Value = Action> {
    let policy = prop_oneof![
        Just(Undeliverable::Ask),
        Just(Undeliverable::Keep),
        Just(Undeliverable::Discard)
    ];
    let causes: Vec<&'static str> =
        causes().filter(|cause| !matches!(*cause, "over" | "successor")).collect();
    prop_oneof![
        4 => (
            prop::option::of(policy),
            prop::option::of(1..5_000_i64),
            prop::option::of(0..2_u8)
        )
            .prop_map(|(policy, ttl, key)| Action::Push { policy, ttl, key }),
        12 => (prop::sample::select(causes), any::<prop::sample::Index>())
            .prop_map(|(cause, which)| Action::Happens(cause, which.index(64))),
        3 => (0..3_000_i64).prop_map(Action::Clock),
        1 => prop_oneof![Just(YEAR), Just(-YEAR)].prop_map(Action::Clock),
        1 => Just(Action::Restart),
    ]
}

/// A message as the model knows it.
#[derive(Debug)]
struct Known {
    state: OutState,
    policy: Option<Undeliverable>,
    ends: Option<i64>,
    key: Option<u8>,
    /// The receipt came: its ciphertext is gone, and nobody says anything about it any more.
    receipted: bool,
}

/// The table, applied to messages one by one.
#[derive(Default)]
struct Model {
    messages: BTreeMap<u64, Known>,
    told: Vec<(u64, State)>,
}

impl Model {
    fn happens(&mut self, cause: &str, seq: u64) {
        let known = self.messages.get_mut(&seq).unwrap();
        let cause = match (cause, known.policy) {
            ("failed_ask" | "failed_keep" | "failed_drop", Some(own)) => match own {
                Undeliverable::Ask => "failed_ask",
                Undeliverable::Keep => "failed_keep",
                Undeliverable::Discard => "failed_drop",
            },
            (cause, _) => cause,
        };
        let spoken_of =
            matches!(cause, "taken" | "failed_ask" | "failed_keep" | "failed_drop" | "lost");
        if spoken_of && known.receipted {
            return;
        }
        if cause == "keep" && !known.state.is_final() {
            known.policy = Some(Undeliverable::Keep);
        }
        known.receipted |= cause == "receipt";
        let next = becomes(cause, known.state);
        if next != known.state {
            known.state = next;
            self.told.push((seq, next.into()));
        }
    }

    fn all(&mut self, cause: &str, of: impl Fn(&Known) -> bool) {
        let those: Vec<u64> =
            self.messages.iter().filter(|(_, known)| of(known)).map(|(seq, _)| *seq).collect();
        for seq in those {
            self.happens(cause, seq);
        }
    }
}

async fn run(actions: Vec<Action>) {
    let mut bench = Bench::new().await;
    let (mut model, mut now) = (Model::default(), NOW);
    for action in actions {
        match &action {
            Action::Push { policy, ttl, key } => {
                let wish = Wish {
                    policy: *policy,
                    expires_at: ttl.map(|ttl| now + ttl),
                    key: key.map(|key| key.to_string()),
                    only: None,
                };
                let draft = draft(wish);
                let pushed =
                    bench.store.as_ref().unwrap().write(move |txn| push(txn, &draft, now)).await;
                let id = pushed.unwrap().id;
                let seq = bench.read(|db| db.get::<OutIds>(&(id, BOB))).unwrap();
                bench.write(move |txn| txn.put::<Ciphers>(&(BOB, ROOT, seq), &cipher(seq))).await;
                if key.is_some() {
                    model.all("successor", |known| known.key == *key);
                }
                let known = Known {
                    state: OutState::Queued,
                    policy: *policy,
                    ends: ttl.map(|ttl| now + ttl),
                    key: *key,
                    receipted: false,
                };
                model.messages.insert(seq, known);
            }
            Action::Happens(cause, which) => {
                let seqs: Vec<u64> = model.messages.keys().copied().collect();
                let Some(seq) = which.checked_rem(seqs.len()).map(|at| seqs[at]) else { continue };
                happen(&bench, cause, seq, now).await;
                if *cause == "receipt" {
                    bench.write(move |txn| txn.delete::<Ciphers>(&(BOB, ROOT, seq))).await;
                }
                match *cause {
                    "there" => model.all("there", |_| true),
                    // What was read says so of everything below, too; `read` is told of one here.
                    cause => model.happens(cause, seq),
                }
            }
            Action::Clock(by) => {
                now += by;
                let next = bench.write(move |txn| wish::expire_due(txn, now)).await;
                model.all("over", |known| known.ends.is_some_and(|ends| ends <= now));
                let left = model.messages.values().filter(|known| !known.state.is_final());
                assert_eq!(next, left.filter_map(|known| known.ends).min());
            }
            Action::Restart => {
                bench.restart().await;
                model.all("lost", |_| true);
            }
        }
        for (seq, known) in &model.messages {
            let row = bench.row(*seq);
            assert_eq!(row.state, known.state, "{seq} after {action:?}");
            assert_eq!(row.steps.last().unwrap().state, known.state);
            assert!(row.steps.len() <= row::MAX_STEPS);
        }
        bench.indexes_agree();
        let (states, undelivered) = bench.told().await;
        let id = |seq: u64| bench.row(seq).id;
        let mut expected: Vec<_> =
            model.told.drain(..).map(|(seq, state)| (id(seq), state)).collect();
        let asked = expected.iter().filter(|(_, state)| *state == State::Undelivered).count();
        assert_eq!(undelivered, asked, "{action:?}");
        let mut told: Vec<_> = states.into_iter().map(|(id, state, _)| (id, state)).collect();
        told.sort_unstable();
        expected.sort_unstable();
        assert_eq!(told, expected, "{action:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_happens_the_table_holds(actions in prop::collection::vec(action(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(actions));
    }
}
