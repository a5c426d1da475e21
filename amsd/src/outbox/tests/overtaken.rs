//! What may only go one way, while the two talk over another.

use ams_wire::id::IntroId;

use super::*;
use crate::session::row::{RootRow, Roots};

/// Five that were sealed later were taken: its key may be gone at the contact, and the relay would bring
/// the same bytes for ever.
#[tokio::test]
async fn what_was_overtaken_on_another_way_is_sealed_anew_once() {
    let bench = Bench::new().await;
    let settle = |seq| {
        let key = CipherKey { contact: BOB, root: ROOT, ctr: seq };
        let (outcome, policy) = (Outcome::Silence, Undeliverable::Ask);
        bench.write(move |txn| state::settle(txn, key, outcome, "relay:home", policy, NOW))
    };
    let root = |next_ctr| RootRow {
        keys: Vec::new(),
        requester: true,
        intro: IntroId([1; 32]),
        generation: 1,
        opened: true,
        ratchet: Vec::new(),
        next_ctr,
        taken: Window::new(1),
        made_at: NOW,
        retired: false,
    };
    let seq = bench.message(Wish::default(), OutState::Sent).await;
    bench.write(move |txn| txn.put::<Roots>(&(BOB, ROOT), &root(seq + 6))).await;
    settle(seq).await;
    assert_eq!(bench.row(seq).state, OutState::Queued);
    assert!(bench.read(|db| db.list::<Ciphers>(&BOB)).is_empty());
    bench
        .write(move |txn| {
            txn.put::<Ciphers>(&(BOB, ROOT, seq), &cipher(seq))?;
            state::change(txn, BOB, seq, NOW, None, None, |_| Some(OutState::Sent))
        })
        .await;
    settle(seq).await;
    assert_eq!(bench.row(seq).state, OutState::Undelivered, "the user hears of it");

    let other = bench.message(Wish::default(), OutState::Sent).await;
    bench.write(move |txn| txn.put::<Roots>(&(BOB, ROOT), &root(other + 5))).await;
    settle(other).await;
    assert_eq!(bench.row(other).state, OutState::Undelivered, "four are not too many");
}

/// On a direct link that is up the contact is there: what it does not confirm goes again, whatever the
/// policy.
#[tokio::test]
async fn what_a_contact_does_not_confirm_directly_goes_again() {
    let bench = Bench::new().await;
    let seq = bench.message(Wish::default(), OutState::Sent).await;
    let key = CipherKey { contact: BOB, root: ROOT, ctr: seq };
    let (outcome, policy) = (Outcome::Unconfirmed, Undeliverable::Discard);
    bench.write(move |txn| state::settle(txn, key, outcome, "direct", policy, NOW)).await;
    assert_eq!(bench.row(seq).state, OutState::Queued);
    assert_eq!(bench.read(|db| db.list::<Ciphers>(&BOB)).len(), 1, "the same bytes");
}
