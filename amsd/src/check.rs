//! `amsd --check`: is a profile that no daemon uses whole? Nothing of it is changed.

use std::io::{self, Write};
use std::process::ExitCode;

use ams_rpc::places::Places;

use crate::home::{Home, HomeError};
use crate::inbox::history;
use crate::open::{OpenError, existing_key};
use crate::outbox::queue;
use crate::profile::Me;
use crate::relay::Relays;
use crate::store::{Read, StoreError, inspect};
use crate::{contacts, home};

/// Why a profile cannot be checked, or is not whole.
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

struct Contents {
    identity: Option<String>,
    relays: usize,
    contacts: usize,
    queued: usize,
    received: u64,
}

/// Checks the profile and prints what was found: a success where all of it is whole.
///
/// # Errors
/// [`CheckError`].
pub fn report(places: Places) -> Result<ExitCode, CheckError> {
    let home = Home::look(places)?;
    let mut out = io::stdout().lock();
    let loose = home::loose(&home.places().data)?;
    writeln!(out, "profile    {}", home.shown().display())?;
    let key = existing_key(&home)?;
    writeln!(out, "key        {}", home.key_file().display())?;
    let found = inspect::inspect(&home.database(), &key, |db| {
        Ok::<_, StoreError>(Contents {
            identity: Me::find(db)?.map(|me| me.public().fingerprint()),
            relays: db.list::<Relays>(&())?.len(),
            contacts: contacts::all(db)?.len(),
            queued: queue::live(db, None)?.len(),
            received: history::kept(db)?,
        })
    });
    let (contents, rows) =
        found.map_err(|source| OpenError::Store { path: home.database(), source })?;
    let identity = contents
        .identity
        .ok_or_else(|| OpenError::Lost { path: home.database(), what: "without an identity" })?;
    writeln!(out, "identity   {identity}")?;
    writeln!(
        out,
        "contents   {} relays, {} contacts, {} messages received, {} not delivered",
        contents.relays, contents.contacts, contents.received, contents.queued
    )?;
    writeln!(out, "database   {} rows open with the key, {} do not", rows.whole, rows.damaged)?;
    for path in &loose {
        writeln!(out, "warning    {} is open to others; the next start mends it", path.display())?;
    }
    if rows.damaged > 0 {
        writeln!(out, "the database is damaged: restore a backup of the folder")?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(out, "all is well")?;
    Ok(ExitCode::SUCCESS)
}
