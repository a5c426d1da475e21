//! For what hooks are to be run: noted in the commit that makes it true, and taken away in one that
//! follows the program's end.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use ams_rpc::types::{Fact as Event, HookFailure, ReceivedFact, State, StateFact, Time};
use ams_wire::id::MessageId;

use super::row::{FailureRow, HookFailures, HookJobs, HookRow, Hooks, JobEvent, JobRow};
use super::rule::{About, LONGEST_PAUSE, pause_after};
use crate::contacts::{ContactId, ContactRow, Contacts};
use crate::fact::Fact;
use crate::inbox::history;
use crate::inbox::row::{In, InRow};
use crate::outbox::row::{OutRow, Texts};
use crate::profile;
use crate::relay::by_nick;
use crate::store::{Read, StoreError, Txn};

/// Failures that are kept. The oldest go first.
pub const MAX_FAILURES: u64 = 1000;

/// Where a job stands: the hook, when it is due, the message's place.
pub type JobKey = (u64, u64, u64);

/// The hooks of the config are these; answers their numbers. What is known of others goes.
pub fn configure(txn: &Txn<'_>, wanted: &[HookRow]) -> Result<Vec<u64>, StoreError> {
    let before = txn.list::<Hooks>(&())?;
    for (number, row) in &before {
        if !wanted.iter().any(|wanted| wanted.name == row.name) {
            txn.delete::<Hooks>(number)?;
            txn.delete_all::<HookJobs>(number)?;
            txn.delete_all::<HookFailures>(number)?;
        }
    }
    let mut numbers = Vec::with_capacity(wanted.len());
    for row in wanted {
        let known = before.iter().find(|(_, before)| before.name == row.name);
        let number = match known {
            Some((number, _)) => *number,
            None => profile::count(txn, "hooks")?,
        };
        if known.is_none_or(|(_, before)| before != row) {
            txn.put::<Hooks>(&number, row)?;
        }
        numbers.push(number);
    }
    Ok(numbers)
}

/// A message came in, and is kept at `place`.
pub fn received(
    txn: &Txn<'_>,
    place: u64,
    from: &ContactRow,
    message: &InRow,
) -> Result<(), StoreError> {
    let about =
        About { contact: Some(&from.name), verified: message.verified, tags: &message.tags };
    for (number, row) in txn.list::<Hooks>(&())? {
        if row.received && row.filter.takes(about) {
            let job = JobRow {
                serial: profile::count(txn, "hook_jobs")?,
                event: JobEvent::Received,
                contact: message.contact,
                id: message.id,
                at: message.received_at,
                reason: None,
                tries: 0,
            };
            txn.put::<HookJobs>(&(number, 0, place), &job)?;
            txn.tell(Fact::Hooks);
        }
    }
    Ok(())
}

/// A message of ours could not be delivered, and waits for a decision.
pub fn undelivered(
    txn: &Txn<'_>,
    contact: ContactId,
    seq: u64,
    message: &OutRow,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    let hooks = txn.list::<Hooks>(&())?;
    if !hooks.iter().any(|(_, row)| row.undelivered) {
        return Ok(());
    }
    let to = txn.get::<Contacts>(&contact)?;
    let says = txn.get::<Texts>(&(contact, seq))?;
    let about = About {
        contact: to.as_ref().map(|row| row.name.as_str()),
        verified: to.as_ref().is_some_and(|row| row.verified.is_some()),
        tags: says.as_ref().map_or(&[], |text| &text.tags),
    };
    for (number, row) in hooks {
        if row.undelivered && row.filter.takes(about) {
            let job = JobRow {
                serial: profile::count(txn, "hook_jobs")?,
                event: JobEvent::Undelivered,
                contact,
                id: message.id,
                at: message.steps.last().map_or(message.accepted_at, |step| step.at),
                reason: reason.map(str::to_owned),
                tries: 0,
            };
            txn.put::<HookJobs>(&(number, 0, message.place), &job)?;
            txn.tell(Fact::Hooks);
        }
    }
    Ok(())
}

/// What comes next for a hook.
#[derive(Debug)]
pub enum Next {
    /// It is to be run.
    Run(JobKey, JobRow, Box<Event>),
    /// There is nothing to run it for any more: the message was deleted, or its contact blocked.
    Gone(JobKey, JobRow),
    /// Something at this time, milliseconds since 1970.
    At(u64),
    /// Nothing.
    Nothing,
}

/// What comes next for the hook `number`, apart from the messages at the places `busy`.
pub fn next(
    db: &impl Read,
    number: u64,
    now: u64,
    busy: &BTreeSet<u64>,
) -> Result<Next, StoreError> {
    let mut found = Ok(Next::Nothing);
    db.each::<HookJobs>(&number, None, |key, job| {
        let (_, due, place) = key;
        // Later than any pause: the clock was wrong when that was written.
        if due > now && due.saturating_sub(now) <= millis(LONGEST_PAUSE) {
            found = Ok(Next::At(due));
            return ControlFlow::Break(());
        }
        if busy.contains(&place) {
            return ControlFlow::Continue(());
        }
        match event(db, place, &job) {
            Ok(Looked::Held) => return ControlFlow::Continue(()),
            Ok(Looked::Gone) => found = Ok(Next::Gone(key, job)),
            Ok(Looked::There(event)) => found = Ok(Next::Run(key, job, event)),
            Err(error) => found = Err(error),
        }
        ControlFlow::Break(())
    })?;
    found
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

enum Looked {
    There(Box<Event>),
    Held,
    Gone,
}

/// What a hook is told. Nothing of a contact whose key is in doubt, until that is decided.
fn event(db: &impl Read, place: u64, job: &JobRow) -> Result<Looked, StoreError> {
    let Some(contact) = db.get::<Contacts>(&job.contact)?.filter(|row| !row.blocked) else {
        return Ok(Looked::Gone);
    };
    if contact.is_key_changed() {
        return Ok(Looked::Held);
    }
    match job.event {
        JobEvent::Received => {
            let Some(row) = db.get::<In>(&place)? else { return Ok(Looked::Gone) };
            if let Some(nick) = row.via.strip_prefix("relay:")
                && let Some((relay, _)) = by_nick(db, nick)?
                && contact.is_in_doubt(relay)
            {
                return Ok(Looked::Held);
            }
            let Some(message) = history::received(db, place)? else { return Ok(Looked::Gone) };
            Ok(Looked::There(Box::new(Event::MessageReceived(ReceivedFact { message }))))
        }
        JobEvent::Undelivered => {
            Ok(Looked::There(Box::new(Event::MessageUndelivered(StateFact {
                id: ams_rpc::types::MessageId(job.id.0),
                contact: contact.name,
                contact_id: job.contact.to_string(),
                state: State::Undelivered,
                reason: job.reason.clone(),
            }))))
        }
    }
}

/// It was run, and all is well; or there is nothing to run it for.
pub fn done(txn: &Txn<'_>, key: JobKey, serial: u64) -> Result<(), StoreError> {
    let same = txn.get::<HookJobs>(&key)?.is_some_and(|job| job.serial == serial);
    if same { txn.delete::<HookJobs>(&key) } else { Ok(()) }
}

/// It was run and failed: again later, `retries` times, and then no more.
pub fn failed(
    txn: &Txn<'_>,
    key: JobKey,
    serial: u64,
    why: &str,
    retries: u32,
    now: u64,
) -> Result<(), StoreError> {
    let (number, _, place) = key;
    let Some(mut job) = txn.get::<HookJobs>(&key)?.filter(|job| job.serial == serial) else {
        return Ok(());
    };
    txn.delete::<HookJobs>(&key)?;
    job.tries = job.tries.saturating_add(1);
    if job.tries <= retries {
        let pause = millis(pause_after(job.tries));
        return txn.put::<HookJobs>(&(number, now.saturating_add(pause), place), &job);
    }
    if txn.count::<HookFailures>()? >= MAX_FAILURES {
        let of_hook = txn.first::<HookFailures>(&number)?;
        let oldest = match of_hook {
            Some(oldest) => Some(oldest),
            None => txn.first::<HookFailures>(&())?,
        };
        if let Some((oldest, _)) = oldest {
            txn.delete::<HookFailures>(&oldest)?;
        }
    }
    txn.put::<HookFailures>(&(number, place), &FailureRow { job, why: why.to_owned() })
}

/// Runs a hook again for what it failed for, all of it or what is about these messages; answers
/// for how many.
pub fn replay(txn: &Txn<'_>, number: u64, ids: Option<&[MessageId]>) -> Result<u64, StoreError> {
    let mut replayed = 0_u64;
    for (key, FailureRow { job, .. }) in txn.list::<HookFailures>(&number)? {
        if ids.is_some_and(|ids| !ids.contains(&job.id)) {
            continue;
        }
        txn.delete::<HookFailures>(&key)?;
        let serial = profile::count(txn, "hook_jobs")?;
        txn.put::<HookJobs>(&(number, 0, key.1), &JobRow { serial, tries: 0, ..job })?;
        replayed = replayed.saturating_add(1);
    }
    txn.tell(Fact::Hooks);
    Ok(replayed)
}

/// What every hook failed for, oldest first within each.
pub fn failures(db: &impl Read) -> Result<Vec<HookFailure>, StoreError> {
    let mut shown = Vec::new();
    for ((number, _), FailureRow { job, why }) in db.list::<HookFailures>(&())? {
        let Some(hook) = db.get::<Hooks>(&number)? else { continue };
        let contact = db.get::<Contacts>(&job.contact)?;
        shown.push(HookFailure {
            hook: hook.name,
            event: job.event.into(),
            id: ams_rpc::types::MessageId(job.id.0),
            contact: contact.map_or_else(String::new, |row| row.name),
            time: Time::from_millis(job.at),
            tries: job.tries,
            reason: why,
        });
    }
    Ok(shown)
}

/// How many events wait for a hook, and how many it failed for.
pub fn counts(db: &impl Read, number: u64) -> Result<(u64, u64), StoreError> {
    let (mut waiting, mut failed) = (0_u64, 0_u64);
    db.each::<HookJobs>(&number, None, |_, _| {
        waiting = waiting.saturating_add(1);
        ControlFlow::Continue(())
    })?;
    db.each::<HookFailures>(&number, None, |_, _| {
        failed = failed.saturating_add(1);
        ControlFlow::Continue(())
    })?;
    Ok((waiting, failed))
}

/// Places of the messages that a hook has yet to be run for: they stay until then.
pub fn places(db: &impl Read) -> Result<BTreeSet<u64>, StoreError> {
    let mut places = BTreeSet::new();
    db.each::<HookJobs>(&(), None, |(_, _, place), _| {
        places.insert(place);
        ControlFlow::Continue(())
    })?;
    Ok(places)
}

/// The message at `place` was deleted here: what hooks said of it goes as well. What one was to be run
/// for is noticed when its turn comes.
pub fn forget(txn: &Txn<'_>, place: u64) -> Result<(), StoreError> {
    for (number, _) in txn.list::<Hooks>(&())? {
        if txn.get::<HookFailures>(&(number, place))?.is_some() {
            txn.delete::<HookFailures>(&(number, place))?;
        }
    }
    Ok(())
}
