//! What went wrong in the core, as a sentence that says what to do next.

use ams_crypto::backup::BackupError;
use ams_rpc::error::key_hint;
use ams_rpc::{ErrorKind, RpcError};
use ams_wire::address::LinkError;

use crate::backup::BackupFailed;
use crate::contacts::ask::AddError;
use crate::contacts::edit::EditError;
use crate::contacts::request::AnswerError;
use crate::contacts::{self, BadName, ContactId, ContactRow, by_name, link};
use crate::outbox::PushError;
use crate::relay::AccountError;
use crate::store::{Read, StoreError};

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Full => Self::storage_full("the disk is full"),
            StoreError::Stopped => stopping(),
            StoreError::Io(_)
            | StoreError::Failing
            | StoreError::Damaged(_)
            | StoreError::InUse => Self::storage(message),
        }
    }
}

impl From<PushError> for RpcError {
    fn from(error: PushError) -> Self {
        let message = error.to_string();
        match error {
            PushError::Store(error) => error.into(),
            PushError::NoSuchContact(name) => no_such_contact(&name),
            PushError::NotApproved(_) => Self::not_approved(message),
            PushError::Blocked(name) => blocked(&name),
            PushError::KeyChanged(name) => key_changed(&name),
            PushError::IdConflict(_) => Self::id_conflict(message),
            PushError::NoSuchRelay(_) => Self::no_such_relay(message),
            PushError::BadKey => Self::bad_value(message).with_hint(
                "name what the message tells of, like load; without a key it replaces no other",
            ),
            PushError::Bounds(_) => Self::bad_value(message),
        }
    }
}

impl From<AddError> for RpcError {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Store(error) => error.into(),
            AddError::BadName(error) => bad_name(error),
            AddError::NameTaken(name) => name_taken(&name),
            AddError::Known { ref name, .. } => Self::name_taken(error.to_string())
                .with_hint(format!("give it another name: amsctl contact rename {name} NEW")),
            AddError::Yourself(user) => {
                Self::bad_value(format!("{user} is your own account there"))
                    .with_hint("give your own address to somebody else: amsctl id shows it")
            }
        }
    }
}

impl From<BackupFailed> for RpcError {
    fn from(error: BackupFailed) -> Self {
        let message = error.to_string();
        match error {
            BackupFailed::Store(error) => error.into(),
            BackupFailed::File { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    Self::storage_full(message)
                }
                std::io::ErrorKind::AlreadyExists => Self::bad_file(message)
                    .with_hint("a backup is written into a new file; give it another name"),
                _ => Self::bad_file(message),
            },
            BackupFailed::Backup(BackupError::Passphrase) => Self::wrong_password(message)
                .with_hint("give the passphrase that the backup was made with"),
            BackupFailed::Backup(BackupError::OutOfMemory) => {
                Self::internal(message).with_hint("free some memory and try again")
            }
            BackupFailed::Backup(BackupError::TooLarge) => Self::bad_file(message)
                .with_hint("at most 256 MiB; amsctl history clear NAME makes it smaller"),
            BackupFailed::Backup(
                BackupError::NotABackup | BackupError::Version | BackupError::Damaged,
            ) => Self::bad_file(message),
            BackupFailed::NotEmpty => Self::not_allowed(message)
                .with_hint("restore into a new profile: amsd --home DIR --daemon"),
        }
    }
}

impl From<link::LinkError> for RpcError {
    fn from(error: link::LinkError) -> Self {
        use link::LinkError as L;
        let message = error.to_string();
        match error {
            L::Store(error) => error.into(),
            L::BadName(error) => bad_name(error),
            L::NameTaken(name) => name_taken(&name),
            L::TooMany => Self::rate_limited(message)
                .with_hint("a link is free again when it was redeemed, or after 7 days"),
            L::BadAddress(_) => Self::bad_value(message),
            L::BadKeys => Self::bad_link(message),
            L::Yourself => {
                Self::bad_value(message).with_hint("hand it to somebody else; it was not used up")
            }
            L::Expired => Self::link_expired(message),
            L::Used(_) => Self::link_used(message),
        }
    }
}

impl From<AnswerError> for RpcError {
    fn from(error: AnswerError) -> Self {
        let message = error.to_string();
        match error {
            AnswerError::Store(error) => error.into(),
            AnswerError::BadName(error) => bad_name(error),
            AnswerError::NameTaken(name) => name_taken(&name),
            AnswerError::NoSuchRequest(_) => Self::no_such_request(message),
            AnswerError::Ambiguous { .. } => Self::ambiguous(message),
        }
    }
}

impl From<EditError> for RpcError {
    fn from(error: EditError) -> Self {
        let message = error.to_string();
        match error {
            EditError::Store(error) => error.into(),
            EditError::NoSuchContact(name) => no_such_contact(&name),
            EditError::BadName(error) => bad_name(error),
            EditError::NameTaken(name) => {
                name_taken(&name).with_hint("choose another name; amsctl contact list shows them")
            }
            EditError::NoKey(_) => Self::not_approved(message),
            EditError::Mismatch(_) => Self::number_mismatch(message),
            EditError::OtherKey(name) => Self::fingerprint_mismatch(message)
                .with_hint(format!("amsctl contact show {name} has the one that is offered")),
            EditError::IsAnother(name) => Self::name_taken(message).with_hint(format!(
                "let one of the two go, then decide again: amsctl contact remove {name}"
            )),
        }
    }
}

impl From<AccountError> for RpcError {
    fn from(error: AccountError) -> Self {
        let message = error.to_string();
        match error {
            AccountError::Store(error) => error.into(),
            AccountError::NoSuchRelay(_) => Self::no_such_relay(message),
            AccountError::BadNick => {
                Self::bad_name(message).with_hint("choose another nickname with --as")
            }
            AccountError::NickTaken(_) => Self::name_taken(message),
            AccountError::OtherAccount { nick, .. } => Self::name_taken(message)
                .with_hint(format!("leave that account first: amsctl relay leave {nick}")),
            AccountError::Unreachable { .. } => Self::not_reachable(message),
            AccountError::WrongRelay { .. } => Self::wrong_relay(message),
            AccountError::InviteRefused => Self::invite_refused(message),
            AccountError::WrongPassword => Self::wrong_password(message),
            AccountError::WrongOldPassword => Self::wrong_password(message)
                .with_hint("check the password that the account has; it keeps that one"),
            AccountError::ChangeRefused => Self::not_allowed(message)
                .with_hint("try again; if it stays so, ask the relay's operator"),
            AccountError::Limited => Self::rate_limited(message),
            AccountError::Off(nick) => {
                Self::relay_off(message).with_hint(format!("amsctl relay connect {nick}"))
            }
            AccountError::DeviceRefused(nick) => Self::device_refused(message).with_hint(format!(
                "it is asked again every few minutes; to enrol this daemon again: amsctl relay \
                 login LINK --user NAME --as {nick}"
            )),
            AccountError::Cloned(nick) => Self::state_cloned(message).with_hint(format!(
                "if no other daemon uses this profile: amsctl relay resume {nick}"
            )),
            AccountError::OutOfMemory => {
                Self::internal(message).with_hint("free some memory and try again")
            }
        }
    }
}

/// The link is not one, or not the right one.
pub(super) fn bad_link(error: LinkError) -> RpcError {
    let refused = RpcError::bad_link(error.to_string());
    match error {
        LinkError::NotALink | LinkError::Damaged => refused,
        LinkError::Version => refused.with_hint("update AMS on this machine"),
        LinkError::Kind { wanted, .. } => {
            refused.with_hint(format!("{wanted} link is needed here"))
        }
    }
}

fn bad_name(error: BadName) -> RpcError {
    RpcError::bad_name(error.to_string()).with_hint("choose another name")
}

fn name_taken(name: &str) -> RpcError {
    RpcError::name_taken(format!("another contact is called {name}"))
}

/// Nobody has that name.
fn no_such_contact(name: &str) -> RpcError {
    RpcError::no_such_contact(format!("no contact is called {name}"))
}

/// `error`, and where it says that nobody has that name, who may be meant.
pub(super) fn of_name(db: &impl Read, name: &str, error: impl Into<RpcError>) -> RpcError {
    let error = error.into();
    if error.kind != ErrorKind::NoSuchContact {
        return error;
    }
    // A hint is not worth an error of its own.
    match contacts::alike(db, name) {
        Ok(Some(known)) => error.with_hint(format!(
            "{known} may be meant; amsctl contact list shows the names and addresses"
        )),
        Ok(None) | Err(_) => error,
    }
}

/// The contact of that name.
pub(super) fn contact_called(
    db: &impl Read,
    name: &str,
) -> Result<(ContactId, ContactRow), RpcError> {
    by_name(db, name)?.ok_or_else(|| of_name(db, name, no_such_contact(name)))
}

/// The user blocked the contact.
pub(super) fn blocked(name: &str) -> RpcError {
    RpcError::blocked(format!("{name} is blocked"))
        .with_hint(format!("amsctl contact unblock {name}"))
}

/// Somebody shows another key in the contact's place.
pub(super) fn key_changed(name: &str) -> RpcError {
    RpcError::key_changed(format!("the key of {name} changed, so nothing is sent"))
        .with_hint(key_hint(name, "FINGERPRINT"))
}

/// The same, where it is known which key was shown.
pub(super) fn key_shown(name: &str, fingerprint: String) -> RpcError {
    key_changed(name).with_hint(key_hint(name, &fingerprint)).offering(fingerprint)
}

/// The daemon is going down, or the caller went.
pub(super) fn stopping() -> RpcError {
    RpcError::stopping("amsd is stopping")
}
