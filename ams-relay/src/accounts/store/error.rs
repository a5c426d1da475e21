//! What goes wrong in a transaction, and what is told of it.

use std::io;

use crate::accounts::AccountsError;

/// What went wrong inside of a transaction.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("a stored value is damaged or of a later version")]
    Damaged,
    #[error("there is something already")]
    Exists,
    #[error("it failed a moment ago")]
    Closed,
    #[error(transparent)]
    Redb(#[from] redb::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

macro_rules! from_redb {
    ($($name:ident)*) => {$(
        impl From<redb::$name> for StoreError {
            fn from(error: redb::$name) -> Self {
                Self::Redb(error.into())
            }
        }
    )*};
}
from_redb!(DatabaseError TransactionError TableError StorageError CommitError SetDurabilityError);

impl StoreError {
    /// Whether reading or writing failed, after which the file has to be opened anew.
    pub(super) fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Redb(redb::Error::Io(_)) | Self::Io(_)) || self.is_of_another()
    }

    /// Whether it failed under somebody else before.
    pub(super) fn is_of_another(&self) -> bool {
        matches!(self, Self::Redb(redb::Error::PreviousIo) | Self::Closed)
    }
}

impl From<StoreError> for AccountsError {
    fn from(error: StoreError) -> Self {
        let io = match &error {
            StoreError::Redb(redb::Error::Io(io)) | StoreError::Io(io) => Some(io.kind()),
            _ => None,
        };
        match io {
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Self::Full,
            _ => Self::Failed(error.to_string()),
        }
    }
}
