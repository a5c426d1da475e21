//! Whether the wall clock may be believed when it says that something is old.
//!
//! A clock that is a year ahead for a minute would make everything old and every reader forgotten. So
//! the time of each round is kept, and a clock that is far from it is believed once the daemon has
//! run with it for a day, in one go or in several: whoever has seen the warning has set it by then.

use std::time::Duration;

use crate::inbox::row::In;
use crate::outbox::row::Out;
use crate::profile;
use crate::store::{Read, StoreError, Txn};
use crate::timeline::{Direction, Timeline};

use super::DAY;

/// So far ahead no clock goes between two rounds, but where the machine was off.
const AHEAD: i64 = 30 * DAY;
/// By less it goes back when it is set right.
const BACK: i64 = 60 * 60 * 1000;
/// So long the daemon runs with an odd clock before it is believed.
const TRIAL: Duration = Duration::from_hours(24);

/// When there was a round last, by a clock that was believed.
const TIDIED: &str = "tidied_at";
/// What an odd clock said last, and for how many milliseconds the daemon has run with it.
const ODD: &str = "odd_clock_at";
const RAN: &str = "odd_clock_ran";

/// When there was a round last, where that is odd beside `now`.
pub fn odd_since(db: &impl Read, now: i64) -> Result<Option<i64>, StoreError> {
    Ok(profile::moment(db, TIDIED)?.filter(|last| is_odd(*last, now)))
}

/// Whether something may be removed because it is old `now`; `ran` is how long the daemon has run
/// since it was asked last.
pub(super) fn is_believed(txn: &Txn<'_>, now: i64, ran: Duration) -> Result<bool, StoreError> {
    let last = match profile::moment(txn, TIDIED)? {
        Some(last) => Some(last),
        None => newest(txn)?,
    };
    let believed = !last.is_some_and(|last| is_odd(last, now)) || {
        let before = profile::moment(txn, ODD)?.filter(|before| !is_odd(*before, now));
        let in_all = match before {
            Some(_) => profile::moment(txn, RAN)?.unwrap_or_default(),
            None => 0,
        };
        let ran = if before.is_some() { ran } else { Duration::ZERO };
        let in_all = in_all.saturating_add(i64::try_from(ran.as_millis()).unwrap_or(i64::MAX));
        profile::set_moment(txn, ODD, now)?;
        profile::set_moment(txn, RAN, in_all)?;
        u128::try_from(in_all).is_ok_and(|in_all| in_all >= TRIAL.as_millis())
    };
    if believed {
        profile::set_moment(txn, TIDIED, now)?;
        profile::set_moment(txn, RAN, 0)?;
    }
    Ok(believed)
}

fn is_odd(last: i64, now: i64) -> bool {
    let since = now.saturating_sub(last);
    !(-BACK..AHEAD).contains(&since)
}

/// When the newest message came in or was accepted: a profile that an earlier version tidied has no
/// other word on what time it was.
fn newest(db: &impl Read) -> Result<Option<i64>, StoreError> {
    let Some((place, entry)) = db.last::<Timeline>(&())? else { return Ok(None) };
    Ok(match entry.direction {
        Direction::In => db.get::<In>(&place)?.map(|row| row.received_at),
        Direction::Out => db.get::<Out>(&(entry.contact, entry.seq))?.map(|row| row.accepted_at),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "times of a test")]

    use std::sync::Arc;

    use ams_crypto::store::StoreKey;

    use super::*;
    use crate::store::Store;

    const NOW: i64 = 1_800_000_000_000;
    const YEAR: i64 = 365 * DAY;

    /// Whether the clock is believed, each time some hours later.
    async fn believed(store: &Store, rounds: &[(i64, u64)]) -> Vec<bool> {
        let mut said = Vec::new();
        for (now, hours) in rounds.iter().copied() {
            let ran = Duration::from_hours(hours);
            let asked = store.write(move |txn| is_believed(txn, now, ran)).await;
            said.push(Result::<_, StoreError>::unwrap(asked));
        }
        said
    }

    #[tokio::test]
    async fn an_odd_clock_is_believed_after_a_day_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ams.redb");
        let store = Store::create(&path, StoreKey::new(&[1; 32]), Arc::new(|_| {})).unwrap();
        let odd = |now| {
            let odd = store.read_now(|db| odd_since(db, now));
            Result::<_, StoreError>::unwrap(odd)
        };
        assert_eq!(odd(NOW + YEAR), None, "nothing was tidied yet");
        let hour = DAY / 24;
        let steady = [(NOW, 0), (NOW + 29 * DAY, 1), (NOW + 29 * DAY - hour, 1), (NOW, 1)];
        assert_eq!(believed(&store, &steady).await, [true, true, true, false]);
        assert_eq!(odd(NOW), Some(NOW + 29 * DAY - hour));
        // The trial begins anew with each clock that is far from the one before.
        let (next, after) = (NOW + YEAR, NOW + 2 * YEAR);
        let odd_ones = [(next, 20), (next + DAY, 20), (after, 20), (after, 20), (next, 20)];
        assert_eq!(believed(&store, &odd_ones).await, [false; 5]);
        assert_eq!(odd(next), Some(NOW + 29 * DAY - hour));
        // On for some hours a day.
        let daily = [(next + DAY, 10), (next + 2 * DAY, 10), (next + 3 * DAY, 10)];
        assert_eq!(believed(&store, &daily).await, [false, false, true]);
        assert_eq!(odd(next + 3 * DAY), None);
        assert_eq!(believed(&store, &[(next + 3 * DAY + hour, 1)]).await, [true]);
    }
}
