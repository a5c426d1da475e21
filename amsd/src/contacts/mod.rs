//! Who this profile knows: requests, approvals, renewals, and what the user does with contacts.
//!
//! 1. [`ask`]: we ask somebody, or renew what we have
//! 2. [`request`]: somebody asks us, and the user, or a rule, answers
//! 3. [`approval`]: our asking was answered
//! 4. [`direct`]: asking and being asked without a relay
//! 5. [`link`]: the same by a contact link, which both sides trust
//! 6. [`snapshot`]: the relay's rows are compared with ours
//! 7. [`edit`]: rename, block, verify, trust, remove
//! 8. [`show`]: what the user sees, and [`lost`]: whom no way leads to any more
//!
//! What of it concerns a relay, or a direct way instead, goes through [`tell`].
//!
//! Kept: [`row`] (contacts), [`intro`] (introductions that came).

pub mod approval;
pub mod ask;
pub mod direct;
pub mod edit;
pub mod intro;
pub mod link;
pub mod lost;
pub mod request;
pub mod row;
pub mod show;
pub mod snapshot;
mod tell;

pub(crate) use row::by_identity;
pub use row::{ContactId, ContactRow, Contacts, PathRow, Stage, all, by_handle, by_name, put};
use row::{by_address, with_identity};

use ams_wire::id::Key;
use ams_wire::username::Username;

use crate::inbox;
use crate::outbox::show::ME;
use crate::store::{Read, StoreError, Txn};

/// Longest local name, characters.
const MAX_NAME: usize = 64;

/// The name cannot be given to a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a contact's name is 1 to 64 characters without spaces or control characters, does not begin \
     with '-', and is not 'me'"
)]
pub struct BadName;

/// Checks a local name.
pub fn check_name(name: &str) -> Result<(), BadName> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !is_invisible(c);
    let good = !name.is_empty()
        && name.chars().count() <= MAX_NAME
        && name.chars().all(plain)
        && !name.starts_with('-')
        && name != ME;
    if good { Ok(()) } else { Err(BadName) }
}

/// Characters that make two names look alike or turn the text around them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The name of the contact that somebody who wrote `text` may mean: it differs in the case of its
/// letters alone, or `text` is its address.
pub fn alike(db: &impl Read, text: &str) -> Result<Option<String>, StoreError> {
    let text = text.to_lowercase();
    for (_, row) in all(db)? {
        if row.name.to_lowercase() == text {
            return Ok(Some(row.name));
        }
        for path in &row.paths {
            if show::address(db, path)?.to_lowercase() == text {
                return Ok(Some(row.name));
            }
        }
    }
    Ok(None)
}

/// The contact `id` turned out to have this key. If it was removed before, under another id, what
/// it sent then is known.
fn recognise(txn: &Txn<'_>, id: ContactId, identity: Key) -> Result<(), StoreError> {
    for (other, row) in with_identity(txn, identity)? {
        if row.stage == Stage::Removed && other != id {
            inbox::inherit(txn, other, id)?;
        }
    }
    Ok(())
}

/// A name that is free: `user`, else `user@relay`, else with a number behind it.
fn free_name(db: &impl Read, user: &Username, nick: &str) -> Result<String, StoreError> {
    let mut name = user.as_str().to_owned();
    let mut tries = 1_u32;
    while name == ME || by_name(db, &name)?.is_some() {
        name = match tries {
            1 => format!("{user}@{nick}"),
            more => format!("{user}@{nick}-{more}"),
        };
        tries = tries.saturating_add(1);
    }
    Ok(name)
}

/// How many roots in use come before one that is made now.
fn next_generation(db: &impl Read, contact: ContactId) -> Result<u64, StoreError> {
    next_generation_at(db, contact, i64::MAX)
}

/// As [`next_generation`], of the roots that were made before `at`.
fn next_generation_at(db: &impl Read, contact: ContactId, at: i64) -> Result<u64, StoreError> {
    let roots = crate::session::row::roots(db, contact)?;
    let used = roots.iter().filter(|(_, root)| root.opened && root.made_at < at);
    let newest = used.map(|(_, root)| root.generation).max();
    Ok(newest.map_or(1, |generation| generation.saturating_add(1)))
}
