//! What was read, or is over, and is old leaves the disk, as the setting `history` says.
//!
//! A message that came in may go when some reader acknowledged it, it is older than `history`, and
//! every reader that was used within 90 days is past it. One that went out may go when nothing
//! more is tried for it and it is older than that. What a hook has yet to be run for stays. Ids stay
//! behind, so that nothing is taken twice, for as long as it could be ([`prune`]). Nothing goes by a
//! clock that cannot be believed yet ([`odd_since`]).

mod steady;

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::contacts::{intro, link};
use crate::hooks::jobs as hooks;
use crate::inbox::row::{In, ReaderRow, Readers};
use crate::inbox::{history, known, reader};
use crate::outbox::ids;
use crate::outbox::row::Out;
use crate::session::row;
use crate::settings::{History, Settings};
use crate::store::{Read, Store, StoreError, Txn};
use crate::timeline::{Direction, Entry, Timeline};

pub use steady::odd_since;

/// Between two rounds.
const PAUSE: Duration = Duration::from_hours(1);
/// Between two looks at everything that is remembered.
const PRUNE_PAUSE: Duration = Duration::from_hours(24);
/// After the start, which has more urgent things to do.
const FIRST: Duration = Duration::from_secs(60);
/// Messages that leave in one transaction.
const AT_ONCE: usize = 256;
/// Entries that are looked at in one transaction.
const LOOKS: usize = 4096;

const DAY: i64 = 24 * 60 * 60 * 1000;
/// A reader that was not used for longer holds nothing back.
const READER_LIFE: i64 = 90 * DAY;
/// With `history = "off"` a message that went out stays this long: its sender may wait for it, or
/// ask what became of it.
const LEAST_OUT: i64 = DAY;

/// Until `stop`.
pub async fn run(
    store: Store,
    clock: Clock,
    mut settings: watch::Receiver<Settings>,
    stop: CancellationToken,
) {
    let mut pause = FIRST;
    let mut pruned: Option<Instant> = None;
    let mut asked = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(()) = settings.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
        let kept = settings.borrow_and_update().history;
        pause = PAUSE;
        let (now, ran) = (clock.now(), asked.elapsed());
        match store.write(move |txn| steady::is_believed(txn, now, ran)).await {
            Ok(believed) => {
                asked = Instant::now();
                if !believed {
                    tracing::warn!("the clock is far from what it was: nothing old is removed yet");
                    continue;
                }
            }
            Err(error) => {
                tracing::error!(%error, "old messages could not be removed");
                continue;
            }
        }
        if let Err(error) = round(&store, kept, now).await {
            tracing::error!(%error, "old messages could not be removed");
        }
        if pruned.is_none_or(|at| at.elapsed() >= PRUNE_PAUSE) {
            if let Err(error) = prune(&store, now).await {
                tracing::error!(%error, "what need not be remembered could not be forgotten");
            }
            pruned = Some(Instant::now());
        }
    }
}

/// Forgets what nothing can ask about any more: ids, answers, keys that were never used.
///
/// # Errors
/// [`StoreError`]; what is left goes the next time.
pub async fn prune(store: &Store, now: i64) -> Result<(), StoreError> {
    known::prune(store, now).await?;
    while store.write(move |txn| ids::prune(txn, AT_ONCE, now)).await? >= AT_ONCE {}
    store.write(move |txn| intro::prune(txn, now)).await?;
    store.write(move |txn| row::prune(txn, now)).await?;
    store.write(move |txn| link::prune(txn, now)).await
}

/// Removes everything that may go; answers how many messages went.
///
/// # Errors
/// [`StoreError`]; what is left goes with the next round.
pub async fn round(store: &Store, kept: History, now: i64) -> Result<usize, StoreError> {
    let age = match kept {
        History::Forever => return Ok(0),
        History::Off => 0,
        History::For(length) => i64::try_from(length.as_millis()).unwrap_or(i64::MAX),
    };
    let mut from = Some(0);
    let mut gone = 0_usize;
    while let Some(place) = from {
        let part = store.write(move |txn| remove_some(txn, place, age, now)).await?;
        gone = gone.saturating_add(part.0);
        from = part.1;
    }
    Ok(gone)
}

/// Removes some of what lies from `from` on; answers how many, and where to go on.
fn remove_some(
    txn: &Txn<'_>,
    from: u64,
    age: i64,
    now: i64,
) -> Result<(usize, Option<u64>), StoreError> {
    let mut entries = Vec::new();
    txn.each::<Timeline>(&(), Some(&from), |place, entry| {
        entries.push((place, entry));
        if entries.len() < LOOKS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let mut next = entries.last().map(|(place, _)| place.saturating_add(1));
    let readers: Vec<ReaderRow> = txn
        .list::<Readers>(&())?
        .into_iter()
        .map(|(_, row)| row)
        .filter(|row| now.saturating_sub(row.used_at) < READER_LIFE)
        .collect();
    let hooked = hooks::places(txn)?;
    let mut gone = 0_usize;
    for (place, entry) in entries {
        if hooked.contains(&place) {
            continue;
        }
        match verdict(txn, &readers, place, entry, age, now)? {
            Verdict::Goes => {
                if history::delete(txn, place, entry)? {
                    gone = gone.saturating_add(1);
                }
            }
            Verdict::Stays => {}
            // All that stands behind it is younger still.
            Verdict::Young => return Ok((gone, None)),
        }
        if gone >= AT_ONCE {
            next = Some(place.saturating_add(1));
            break;
        }
    }
    Ok((gone, next))
}

enum Verdict {
    Goes,
    Stays,
    Young,
}

fn verdict(
    db: &impl Read,
    readers: &[ReaderRow],
    place: u64,
    entry: Entry,
    age: i64,
    now: i64,
) -> Result<Verdict, StoreError> {
    let at = (entry.contact, entry.seq);
    let (since, over, least) = match entry.direction {
        Direction::In => {
            let Some(row) = db.get::<In>(&place)? else { return Ok(Verdict::Goes) };
            (row.received_at, reader::have_had(db, readers, place, entry)?, 0)
        }
        Direction::Out => {
            let Some(row) = db.get::<Out>(&at)? else { return Ok(Verdict::Goes) };
            (row.accepted_at, row.state.is_final(), LEAST_OUT)
        }
    };
    let old = now.saturating_sub(since);
    Ok(match () {
        // By a clock that was wrong then: what stands behind it may be old all the same.
        () if old < 0 => Verdict::Stays,
        () if old < age => Verdict::Young,
        () if over && old >= least => Verdict::Goes,
        () => Verdict::Stays,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "times of a test")]

    use std::sync::Arc;

    use ams_crypto::store::StoreKey;
    use ams_wire::id::MessageId;

    use super::*;
    use crate::contacts::ContactId;
    use crate::inbox::reader::Cursor;
    use crate::inbox::row::{InIds, InRow, Received, ReceivedRow};
    use crate::outbox::row::{Live, OutIds, OutRow, OutState, TextRow, Texts};
    use crate::timeline;

    const BOB: ContactId = ContactId(1);
    const NOW: i64 = 1_800_000_000_000;

    async fn store(folder: &tempfile::TempDir) -> Store {
        let path = folder.path().join("ams.redb");
        Store::create(&path, StoreKey::new(&[1; 32]), Arc::new(|_| {})).unwrap()
    }

    async fn arrived(store: &Store, seq: u64, at: i64) {
        let written = store.write(move |txn| {
            let place = timeline::append(txn, BOB, Direction::In, seq)?;
            let id = MessageId([u8::try_from(seq).unwrap(); 16]);
            let row = InRow {
                contact: BOB,
                id,
                seq,
                sent_at: at,
                received_at: at,
                via: String::new(),
                verified: false,
                text: "text".into(),
                reply_to: None,
                title: None,
                priority: None,
                tags: Vec::new(),
                choices: None,
            };
            txn.put::<In>(&place, &row)?;
            txn.put::<InIds>(&(id, BOB), &place)?;
            txn.put::<Received>(&(BOB, seq), &ReceivedRow::default())
        });
        Result::<_, StoreError>::unwrap(written.await);
    }

    async fn acknowledged(store: &Store, name: &'static str, place: u64, now: i64) {
        let cursor = Cursor { place, of: None };
        let written = store.write(move |txn| reader::acknowledge(txn, name, cursor, now));
        Result::<_, StoreError>::unwrap(written.await);
    }

    async fn sent(store: &Store, seq: u64, state: OutState, at: i64) {
        let written = store.write(move |txn| {
            let place = timeline::append(txn, BOB, Direction::Out, seq)?;
            let id = MessageId([0x80 | u8::try_from(seq).unwrap(); 16]);
            let row = OutRow {
                id,
                state,
                accepted_at: at,
                place,
                via: None,
                steps: Vec::new(),
                wish: None,
            };
            let text = TextRow { text: "text".into(), ..TextRow::default() };
            txn.put::<Out>(&(BOB, seq), &row)?;
            txn.put::<Texts>(&(BOB, seq), &text)?;
            txn.put::<OutIds>(&(id, BOB), &seq)?;
            if !state.is_final() {
                txn.put::<Live>(&(BOB, seq), &state)?;
            }
            Ok(())
        });
        Result::<_, StoreError>::unwrap(written.await);
    }

    fn left(store: &Store) -> Vec<(Direction, u64)> {
        let rows = store.read_now(|db| db.list::<Timeline>(&()));
        let rows = Result::<_, StoreError>::unwrap(rows);
        rows.into_iter().map(|(_, entry)| (entry.direction, entry.seq)).collect()
    }

    #[tokio::test]
    async fn only_what_every_reader_had_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let kept = History::For(Duration::from_hours(24));
        for seq in 1..=3 {
            arrived(&store, seq, NOW - 2 * DAY).await;
        }
        assert_eq!(round(&store, kept, NOW).await.unwrap(), 0, "nobody has read anything");
        acknowledged(&store, "default", 2, NOW).await;
        assert_eq!(round(&store, History::Forever, NOW).await.unwrap(), 0);
        assert_eq!(round(&store, kept, NOW).await.unwrap(), 2);
        assert_eq!(left(&store), [(Direction::In, 3)]);

        // Another reader that is behind holds back, until it was not used for 90 days.
        arrived(&store, 4, NOW - 2 * DAY).await;
        let written = store.write(|txn| {
            txn.put::<Readers>(
                &[7; 16],
                &ReaderRow { name: "slow".into(), all: 3, of: Vec::new(), used_at: NOW },
            )
        });
        Result::<_, StoreError>::unwrap(written.await);
        acknowledged(&store, "default", 4, NOW).await;
        assert_eq!(round(&store, kept, NOW).await.unwrap(), 1);
        assert_eq!(left(&store), [(Direction::In, 4)]);
        let later = NOW + 91 * DAY;
        acknowledged(&store, "default", 4, later).await;
        assert_eq!(round(&store, kept, later).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn what_is_young_or_on_its_way_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        let kept = History::For(Duration::from_hours(24));
        sent(&store, 1, OutState::Read, NOW - 2 * DAY).await;
        sent(&store, 2, OutState::Undelivered, NOW - 2 * DAY).await;
        sent(&store, 3, OutState::Delivered, NOW - 2 * DAY).await;
        sent(&store, 4, OutState::Read, NOW - DAY / 2).await;
        sent(&store, 5, OutState::Queued, NOW).await;
        assert_eq!(round(&store, kept, NOW).await.unwrap(), 2);
        let out = |seq| (Direction::Out, seq);
        assert_eq!(left(&store), [out(2), out(4), out(5)]);
        // Off: what was read goes at once, what went out a day later.
        arrived(&store, 1, NOW).await;
        acknowledged(&store, "default", 10, NOW).await;
        assert_eq!(round(&store, History::Off, NOW).await.unwrap(), 1);
        assert_eq!(left(&store), [out(2), out(4), out(5)]);
        assert_eq!(round(&store, History::Off, NOW + DAY).await.unwrap(), 1);
        assert_eq!(left(&store), [out(2), out(5)]);
    }

    /// A daemon that runs for some minutes, by a clock that says `now`.
    async fn runs(store: &Store, now: i64) {
        let history = History::For(Duration::from_hours(24));
        let settings = watch::Sender::new(Settings { history, ..Settings::default() });
        let stop = CancellationToken::new();
        let clock = Clock::told_by(move || now);
        let running = run(store.clone(), clock, settings.subscribe(), stop.clone());
        let running = tokio::spawn(running);
        tokio::time::sleep(Duration::from_mins(10)).await;
        stop.cancel();
        running.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_a_year_ahead_for_some_minutes_removes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        arrived(&store, 1, NOW - 2 * DAY).await;
        arrived(&store, 2, NOW).await;
        acknowledged(&store, "default", 10, NOW).await;
        // Nobody has tidied here yet: the newest message says what time it was.
        runs(&store, NOW + 365 * DAY).await;
        assert_eq!(left(&store).len(), 2);
        runs(&store, NOW).await;
        assert_eq!(left(&store), [(Direction::In, 2)]);
        runs(&store, NOW + 365 * DAY).await;
        assert_eq!(left(&store), [(Direction::In, 2)]);
        runs(&store, NOW + 2 * DAY).await;
        assert_eq!(left(&store), []);
    }

    #[tokio::test]
    async fn many_leave_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder).await;
        for seq in 1..=200 {
            arrived(&store, seq, NOW - 2 * DAY).await;
        }
        let written = store.write(|txn| {
            for seq in 1..=u64::try_from(AT_ONCE).unwrap() {
                timeline::append(txn, BOB, Direction::Out, seq)?;
            }
            Ok(())
        });
        Result::<_, StoreError>::unwrap(written.await);
        acknowledged(&store, "default", 1000, NOW).await;
        let kept = History::For(Duration::from_hours(1));
        assert_eq!(round(&store, kept, NOW).await.unwrap(), 200 + AT_ONCE);
        assert!(left(&store).is_empty());
    }
}
