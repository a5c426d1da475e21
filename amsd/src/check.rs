//! `amsd --check`: is a profile that no daemon uses whole? Nothing of it is changed.
//!
//! 1. the folders, the mark and the key
//! 2. the database: its own structure, and that every row opens with the key and says something
//!    ([`tables`])
//! 3. that what the rows say fits together ([`rules`])

mod rules;
mod tables;

use std::io::{self, Write};
use std::process::ExitCode;

use ams_crypto::store::StoreKey;
use ams_rpc::places::Places;

use crate::home::{Home, HomeError};
use crate::inbox::row::Received;
use crate::open::{self, OpenError};
use crate::outbox::queue;
use crate::passphrase::Passphrase;
use crate::profile::Me;
use crate::relay::Relays;
use crate::store::{Place, Read, StoreError, inspect};
use crate::{contacts, home};
pub use tables::Rows;

/// Why a profile cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Its folders.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its key, or a file that is missing.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The report cannot be written.
    #[error("cannot write the report: {0}")]
    Output(#[from] io::Error),
}

/// What was found in a database.
#[derive(Debug, Default)]
pub struct Findings {
    /// The fingerprint of the identity.
    pub identity: Option<String>,
    /// Relays that it has an account on.
    pub relays: usize,
    /// Contacts.
    pub contacts: usize,
    /// Messages that are not final.
    pub queued: usize,
    /// Messages that came in and are kept.
    pub received: u64,
    /// How the rows are.
    pub rows: Rows,
    /// What does not fit together, in words; at most [`rules::MAX_FAULTS`].
    pub faults: Vec<String>,
}

impl Findings {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn are_good(&self) -> bool {
        self.identity.is_some() && self.rows.are_whole() && self.faults.is_empty()
    }
}

/// Checks a database, wherever it is.
///
/// # Errors
/// When it cannot be read, or its structure is damaged.
pub fn examine(place: &Place, key: StoreKey) -> Result<Findings, StoreError> {
    let mut rows = Rows::default();
    let mut each = |table: &str, key: &[u8], row: Option<&[u8]>| rows.note(table, key, row);
    // Whatever cannot be read any more is among the rows already: what is left is still looked at.
    let mut findings = inspect::inspect(place, key, &mut each, |db| {
        Ok::<_, StoreError>(Findings {
            identity: Me::find(db).ok().flatten().map(|me| me.public().fingerprint()),
            relays: db.list::<Relays>(&()).map_or(0, |relays| relays.len()),
            contacts: contacts::all(db).map_or(0, |contacts| contacts.len()),
            queued: queue::live(db, None).map_or(0, |live| live.len()),
            received: db.count::<Received>().unwrap_or_default(),
            rows: Rows::default(),
            faults: rules::broken(db).unwrap_or_default(),
        })
    })?;
    findings.rows = rows;
    Ok(findings)
}

/// Checks the profile and prints what was found: a success where all of it is whole.
///
/// # Errors
/// [`CheckError`].
pub fn report(places: Places, passphrase: Option<Passphrase>) -> Result<ExitCode, CheckError> {
    let home = Home::look(places)?.with(passphrase);
    let mut out = io::stdout().lock();
    let loose = home::loose(&home.places().data)?;
    writeln!(out, "profile    {}", home.shown().display())?;
    let place = Place::File(home.database());
    if !open::existed(&home, &place)? {
        writeln!(out, "its first start was cut off; the next start of amsd completes it")?;
        return Ok(ExitCode::FAILURE);
    }
    let key = open::existing_key(&home)?;
    writeln!(out, "key        {}", home.key_file().display())?;
    let found = examine(&place, key)
        .map_err(|source| OpenError::Store { path: home.database(), source })?;
    if found.identity.is_none() && found.rows.are_whole() {
        return Err(OpenError::Lost { path: home.database(), what: "without an identity" }.into());
    }
    let identity = found.identity.as_deref().unwrap_or("cannot be read");
    writeln!(out, "identity   {identity}")?;
    writeln!(
        out,
        "contents   {} relays, {} contacts, {} messages received, {} not delivered",
        found.relays, found.contacts, found.received, found.queued
    )?;
    writeln!(out, "database   {}", found.rows)?;
    for fault in &found.faults {
        writeln!(out, "fault      {fault}")?;
    }
    for path in &loose {
        writeln!(out, "warning    {} is open to others; the next start mends it", path.display())?;
    }
    if !found.are_good() {
        let all_closed = found.rows.whole == 0;
        let advice = match all_closed {
            true => "the key is not the one of this database: put the right key file back",
            false => "the database is damaged: restore a backup of the folder",
        };
        writeln!(out, "{advice}")?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(out, "all is well")?;
    Ok(ExitCode::SUCCESS)
}
