//! A file becomes a profile.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use ams_crypto::Zeroizing;
use ams_crypto::backup::{BackupError, HEADER, MAX_PIECE, OVERHEAD, Pieces};
use minicbor::Decoder;

use super::{BackupFailed, Head, LAST, MAX_CONTENTS, Summary, tables};
use crate::contacts::row::{Contacts, Stage};
use crate::fact::Fact;
use crate::profile::{self, Me};
use crate::relay::{self, Relays};
use crate::store::{Read, Store, StoreError, Txn};
use crate::timeline::{self, Timeline};

type Contents = Vec<Zeroizing<Vec<u8>>>;

/// Restores a backup into a profile that nothing was done with yet. The running daemon is whoever
/// the backup is of from then on.
///
/// # Errors
/// [`BackupFailed`]; then nothing was changed.
pub async fn read(
    store: &Store,
    me: &Me,
    path: &Path,
    passphrase: Zeroizing<String>,
) -> Result<Summary, BackupFailed> {
    store.read(|db| check_empty(db)).await?;
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || open(&path, &passphrase));
    let contents = opened.await.map_err(|_| StoreError::Stopped)??;
    let contents = Arc::new(contents);
    let put = Arc::clone(&contents);
    let restored = store.write(move |txn| {
        check_empty(txn)?;
        restore(txn, &put)
    });
    let (head, summary) = restored.await?;
    me.become_restored(&head);
    Ok(summary)
}

/// Whether nothing was done with the profile.
fn check_empty(db: &impl Read) -> Result<(), BackupFailed> {
    let rows = [db.count::<Contacts>()?, db.count::<Relays>()?, db.count::<Timeline>()?];
    if rows.iter().all(|count| *count == 0) { Ok(()) } else { Err(BackupFailed::NotEmpty) }
}

/// Everything in it, each piece checked before it is believed. No length is, before it was compared
/// with its bound.
fn open(path: &Path, passphrase: &str) -> Result<Contents, BackupFailed> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => BackupFailed::Backup(BackupError::Damaged),
        _ => BackupFailed::File { path: path.to_owned(), source },
    };
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let mut header = [0; HEADER];
    file.read_exact(&mut header).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupFailed::Backup(BackupError::NotABackup),
        _ => failed(error),
    })?;
    let mut pieces = Pieces::open(passphrase, &header)?;
    let (mut contents, mut size) = (Contents::new(), 0_usize);
    loop {
        let mut length = [0; 4];
        file.read_exact(&mut length).map_err(failed)?;
        let length = u32::from_be_bytes(length);
        let is_last = length & LAST != 0;
        let length = usize::try_from(length & !LAST).unwrap_or(usize::MAX);
        size = size.saturating_add(length);
        if length > MAX_PIECE.saturating_add(OVERHEAD) || size > MAX_CONTENTS.saturating_mul(2) {
            return Err(BackupError::Damaged.into());
        }
        let mut sealed = vec![0; length];
        file.read_exact(&mut sealed).map_err(failed)?;
        contents.push(pieces.unseal(sealed, is_last)?);
        if is_last {
            break;
        }
    }
    match file.read(&mut [0]).map_err(failed)? {
        0 => Ok(contents),
        _ => Err(BackupError::Damaged.into()),
    }
}

fn restore(
    txn: &Txn<'_>,
    contents: &Contents,
) -> Result<(Zeroizing<[u8; 32]>, Summary), BackupFailed> {
    let mut head: Option<Head> = None;
    for piece in contents {
        let mut items = Decoder::new(piece);
        while items.position() < piece.len() {
            take(txn, &mut items, &mut head)?;
        }
    }
    let head = head.ok_or(BackupError::Damaged)?;
    timeline::index(txn)?;
    let identity = Zeroizing::new(head.identity);
    let me = profile::restore(txn, &identity)?;
    for (name, count) in [
        ("contacts", head.contacts),
        ("timeline", head.timeline),
        ("relays", head.relays),
        ("directs", head.directs),
    ] {
        profile::set_counted(txn, name, count)?;
    }
    let mut summary = Summary {
        fingerprint: me.public().fingerprint(),
        contacts: 0,
        messages: txn.count::<Timeline>()?,
        accounts: Vec::new(),
    };
    for (_, row) in txn.list::<Relays>(&())? {
        summary.accounts.extend(relay::link_of(&row).map(|link| (link, row.user.to_string())));
    }
    for (_, row) in txn.list::<Contacts>(&())? {
        summary.contacts = summary.contacts.saturating_add(u64::from(row.stage != Stage::Removed));
    }
    txn.tell(Fact::Arrived);
    txn.tell(Fact::Peers);
    Ok((identity, summary))
}

fn take(
    txn: &Txn<'_>,
    items: &mut Decoder<'_>,
    head: &mut Option<Head>,
) -> Result<(), BackupFailed> {
    let damaged = |_| BackupError::Damaged;
    let parts = items.array().map_err(damaged)?;
    let kind = items.u8().map_err(damaged)?;
    match (parts, kind, &head) {
        (Some(2), 0, None) => {
            let found: Head = items.decode().map_err(damaged)?;
            if found.layout > profile::layout(txn)? {
                return Err(BackupError::Version.into());
            }
            if found.layout < profile::layout(txn)? {
                return Err(BackupError::Damaged.into());
            }
            *head = Some(found);
        }
        (Some(4), 1, Some(_)) => {
            let table = items.str().map_err(damaged)?;
            let key = items.bytes().map_err(damaged)?;
            let row = items.bytes().map_err(damaged)?;
            tables::put(txn, table, key, row).map_err(|error| match error {
                StoreError::Damaged(_) => BackupFailed::Backup(BackupError::Damaged),
                other => other.into(),
            })?;
        }
        _ => return Err(BackupError::Damaged.into()),
    }
    Ok(())
}
