//! What left this disk without being read. Its numbers are remembered for the receipts: whatever
//! lies below the lowest unread number counts as read there, and nobody read these.

use ams_wire::limits::MAX_UNREAD_RUNS;
use ams_wire::receipt::Run;

use crate::contacts::ContactId;
use crate::store::{Read, StoreError, Table, Txn};

/// Contact → numbers of its messages that were deleted unread, in ascending runs, at most
/// [`MAX_UNREAD_RUNS`].
pub struct Unread;
impl Table for Unread {
    const NAME: &'static str = "in_unread";
    type Key = ContactId;
    type Row = Vec<Run>;
}

/// The numbers, as a receipt says them.
pub fn runs(db: &impl Read, contact: ContactId) -> Result<Option<Vec<Run>>, StoreError> {
    Ok(db.get::<Unread>(&contact)?.filter(|runs| !runs.is_empty()))
}

/// Message `seq` leaves, and nobody read it.
pub(super) fn note(txn: &Txn<'_>, contact: ContactId, seq: u64) -> Result<(), StoreError> {
    let mut runs = txn.get::<Unread>(&contact)?.unwrap_or_default();
    insert(&mut runs, seq);
    txn.put::<Unread>(&contact, &runs)
}

/// A message with the number `seq` came: another one than that which left, and it may be read.
pub(super) fn forget(txn: &Txn<'_>, contact: ContactId, seq: u64) -> Result<(), StoreError> {
    let Some(mut runs) = txn.get::<Unread>(&contact)? else { return Ok(()) };
    if remove(&mut runs, seq) { txn.put::<Unread>(&contact, &runs) } else { Ok(()) }
}

fn insert(runs: &mut Vec<Run>, seq: u64) {
    if runs.iter().any(|run| run.contains(seq)) {
        return;
    }
    let at = runs.partition_point(|run| run.first < seq);
    runs.insert(at, Run { first: seq, count: 1 });
    join(runs);
}

fn remove(runs: &mut Vec<Run>, seq: u64) -> bool {
    let Some(at) = runs.iter().position(|run| run.contains(seq)) else { return false };
    let run = runs.remove(at);
    let before = seq.saturating_sub(run.first);
    let behind = run.count.saturating_sub(before).saturating_sub(1);
    let parts = [(run.first, before), (seq.saturating_add(1), behind)];
    let parts = parts.into_iter().filter(|(_, count)| *count > 0);
    runs.splice(at..at, parts.map(|(first, count)| Run { first, count }));
    join(runs);
    true
}

/// Makes one of runs that touch each other, and, where there are too many, of the two that have the
/// least between them: that something was read may stay untold, but not that it was not.
fn join(runs: &mut Vec<Run>) {
    let gap = |runs: &[Run], at: usize| {
        let (one, next) = (runs.get(at)?, runs.get(at.saturating_add(1))?);
        Some(next.first.saturating_sub(one.first.saturating_add(one.count)))
    };
    loop {
        let pairs = 0..runs.len().saturating_sub(1);
        let Some(at) = pairs.min_by_key(|at| gap(runs, *at)) else { return };
        if gap(runs, at) > Some(0) && runs.len() <= MAX_UNREAD_RUNS {
            return;
        }
        let next = runs.remove(at.saturating_add(1));
        if let Some(run) = runs.get_mut(at) {
            run.count = next.first.saturating_sub(run.first).saturating_add(next.count);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "numbers of a test")]

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn of(seqs: &[u64]) -> Vec<(u64, u64)> {
        let mut runs = Vec::new();
        seqs.iter().for_each(|seq| insert(&mut runs, *seq));
        runs.iter().map(|run| (run.first, run.count)).collect()
    }

    #[test]
    fn what_follows_one_another_is_one_run() {
        assert_eq!(of(&[5, 7, 6, 6, 1]), [(1, 1), (5, 3)]);
        assert_eq!(of(&[u64::MAX, u64::MAX - 1]), [(u64::MAX - 1, 2)]);
    }

    #[test]
    fn of_too_many_runs_the_nearest_become_one() {
        let far: Vec<u64> = (0..8).map(|n| n * 100).collect();
        assert_eq!(of(&far).len(), MAX_UNREAD_RUNS);
        let joined = of(&[far, vec![302]].concat());
        assert_eq!(joined.len(), MAX_UNREAD_RUNS);
        assert_eq!(joined[3], (300, 3));
    }

    #[test]
    fn a_number_that_comes_again_may_be_read() {
        let mut runs = vec![Run { first: 5, count: 3 }];
        assert!(remove(&mut runs, 6));
        assert_eq!(runs, [Run { first: 5, count: 1 }, Run { first: 7, count: 1 }]);
        assert!(remove(&mut runs, 5) && remove(&mut runs, 7) && !remove(&mut runs, 7));
        assert!(runs.is_empty());
    }

    #[test]
    fn a_row_has_these_bytes() {
        let row = vec![Run { first: 7, count: 1 }, Run { first: 20, count: 300 }];
        let bytes = [0x82, 0x82, 7, 1, 0x82, 20, 0x19, 1, 44];
        assert_eq!(minicbor::to_vec(&row).unwrap(), bytes);
        assert_eq!(minicbor::decode::<Vec<Run>>(&bytes).unwrap(), row);
    }

    proptest! {
        #[test]
        fn none_is_ever_lost_and_the_runs_are_apart(seqs in vec(0..400_u64, 0..200)) {
            let mut runs = Vec::new();
            for (at, seq) in seqs.iter().enumerate() {
                insert(&mut runs, *seq);
                prop_assert!(runs.len() <= MAX_UNREAD_RUNS);
                for seq in seqs.iter().take(at + 1) {
                    prop_assert_eq!(runs.iter().filter(|run| run.contains(*seq)).count(), 1);
                }
                prop_assert!(runs.windows(2).all(|two| two[0].first + two[0].count < two[1].first));
            }
        }
    }
}
