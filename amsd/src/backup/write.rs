//! A snapshot becomes a file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use ams_crypto::Zeroizing;
use ams_crypto::backup::{BackupError, Pieces};
use minicbor::Encoder;

use super::tables::{self, Row};
use super::{BackupFailed, FULL_PIECE, Head, LAST, MAX_CONTENTS, Summary};
use crate::contacts::row::{Contacts, Stage};
use crate::home::{keep_name, new_private};
use crate::profile::{self, Me};
use crate::relay::{self, Relays};
use crate::store::{Read, Store, Table, View};
use crate::timeline::Timeline;

/// Writes a backup of the profile into a new file, mode 0600. What could not be finished does not
/// stay.
///
/// # Errors
/// [`BackupFailed`].
pub async fn write(
    store: &Store,
    path: &Path,
    passphrase: Zeroizing<String>,
) -> Result<Summary, BackupFailed> {
    let path = path.to_owned();
    store
        .read(move |db| {
            let failed = |source| BackupFailed::File { path: path.clone(), source };
            // Nobody waits half a second to hear that the file is there.
            let file = new_private(&path).map_err(failed)?;
            let written = (|| {
                let pieces = Pieces::begin(&passphrase)?;
                let mut backup = Backup { file, pieces, full: Zeroizing::default(), size: 0 };
                backup.file.write_all(backup.pieces.header()).map_err(failed)?;
                let summary = fill(db, &mut backup, &failed)?;
                backup.file.sync_all().map_err(failed)?;
                keep_name(&path).map_err(failed)?;
                Ok(summary)
            })();
            if written.is_err() {
                // The first error is the one to be told.
                let _ = std::fs::remove_file(&path);
            }
            written
        })
        .await
}

struct Backup {
    file: File,
    pieces: Pieces,
    /// The next piece, so far.
    full: Zeroizing<Vec<u8>>,
    /// Of all that was put.
    size: usize,
}

impl Backup {
    fn put(
        &mut self,
        item: &[u8],
        failed: &impl Fn(io::Error) -> BackupFailed,
    ) -> Result<(), BackupFailed> {
        self.size = self.size.saturating_add(item.len());
        if self.size > MAX_CONTENTS {
            return Err(BackupError::TooLarge.into());
        }
        self.full.extend_from_slice(item);
        if self.full.len() >= FULL_PIECE { self.write_piece(0, failed) } else { Ok(()) }
    }

    fn write_piece(
        &mut self,
        last: u32,
        failed: &impl Fn(io::Error) -> BackupFailed,
    ) -> Result<(), BackupFailed> {
        let sealed = self.pieces.seal(&self.full, last == LAST)?;
        self.full.clear();
        let length = u32::try_from(sealed.len()).map_err(|_| BackupError::TooLarge)?;
        self.file.write_all(&(length | last).to_be_bytes()).map_err(failed)?;
        self.file.write_all(&sealed).map_err(failed)
    }
}

fn fill(
    db: &View<'_>,
    backup: &mut Backup,
    failed: &impl Fn(io::Error) -> BackupFailed,
) -> Result<Summary, BackupFailed> {
    let me = Me::load(db)?;
    let head = Head {
        identity: *me.key().to_bytes(),
        layout: profile::layout(db)?,
        contacts: profile::counted(db, "contacts")?,
        timeline: profile::counted(db, "timeline")?,
        relays: profile::counted(db, "relays")?,
        directs: profile::counted(db, "directs")?,
    };
    let mut item = Zeroizing::new(Vec::new());
    encoded(Encoder::new(&mut *item).array(2).and_then(|e| e.u8(0)?.encode(&head)))?;
    backup.put(&item, failed)?;
    let mut summary = Summary {
        fingerprint: me.public().fingerprint(),
        contacts: 0,
        messages: 0,
        accounts: Vec::new(),
    };
    for (_, row) in db.list::<Relays>(&())? {
        summary.accounts.extend(relay::link_of(&row).map(|link| (link, row.user.to_string())));
    }
    for (_, row) in db.list::<Contacts>(&())? {
        summary.contacts = summary.contacts.saturating_add(u64::from(row.stage != Stage::Removed));
    }
    tables::each::<BackupFailed>(db, &mut |(table, key, row): Row<'_>| {
        if table == Timeline::NAME {
            summary.messages = summary.messages.saturating_add(1);
        }
        // Keys of a device are in no backup, sealed or not.
        let bare = (table == Relays::NAME).then(|| bare_relay(row)).transpose()?;
        let row = bare.as_deref().unwrap_or(row);
        item.clear();
        let mut encoder = Encoder::new(&mut *item);
        encoded(encoder.array(4).and_then(|e| e.u8(1)?.str(table)?.bytes(key)?.bytes(row)))?;
        backup.put(&item, failed)
    })?;
    backup.write_piece(LAST, failed)?;
    Ok(summary)
}

fn bare_relay(row: &[u8]) -> Result<Vec<u8>, BackupFailed> {
    let damaged = || crate::store::StoreError::Damaged(Relays::NAME);
    let row = minicbor::decode(row).map_err(|_| damaged())?;
    Ok(minicbor::to_vec(tables::not_enrolled(row)).map_err(|_| damaged())?)
}

/// A `Vec` takes every byte.
fn encoded<T, E>(done: Result<T, E>) -> Result<(), BackupFailed> {
    done.map(|_| ()).map_err(|_| BackupError::TooLarge.into())
}
