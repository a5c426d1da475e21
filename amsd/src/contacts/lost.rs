//! Contacts that no way leads to any more: their relays went back to before they were met.

use super::{ContactRow, show};
use crate::store::{Read, StoreError};

/// The command that adds the contact again; `None`: it is no such contact.
pub fn add_again(db: &impl Read, row: &ContactRow) -> Result<Option<String>, StoreError> {
    if !row.is_open() || row.paths.iter().any(|path| !path.missing) {
        return Ok(None);
    }
    let Some(path) = row.paths.iter().find(|path| !path.relay.is_direct()) else {
        return Ok(None);
    };
    Ok(Some(format!("amsctl contact add {}", show::address(db, path)?)))
}
