//! What the relay keeps on disk: accounts, invites, contact rows, work marks, names that are never
//! given again. Nothing else ever, and never a message.
//!
//! [`Accounts`] is the one door. [`row`] and [`user`] are what is kept and its rules; `store` keeps
//! it in redb; `contract` is the suite that every implementation has to pass.

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod contract;
pub mod row;
pub mod store;
pub mod user;

use std::path::PathBuf;
use std::pin::Pin;

use ams_crypto::token::TokenHash;
use ams_wire::from_relay::{Redeemed, Request};
use ams_wire::id::{ApprovalId, Blob, Handle, IntroId, Key, RoutingId, WorkMark};
use ams_wire::username::Username;

use row::ContactRow;

/// An OPAQUE record: the relay's form of a hashed password.
pub type Record = [u8; 192];

/// How long an introduction waits for its answer, seconds.
pub const ASK_LIFE: u64 = 14 * 24 * 3600;

/// Why the store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountsError {
    /// The disk is full; nothing was changed.
    #[error("no space left on the disk of the data folder")]
    Full,
    /// The disk or the file failed; nothing was changed.
    #[error("the accounts cannot be read or written: {0}")]
    Failed(String),
}

/// Why an administrator's wish is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwilling {
    /// The account exists already.
    #[error("there is an account {0} already")]
    Exists(Username),
    /// The name belonged to a deleted account.
    #[error("the name {0} belonged to a deleted account and is never given again")]
    Retired(Username),
    /// There is no such account.
    #[error("there is no account {0}")]
    NoUser(Username),
    /// There is no such invite.
    #[error("there is no open invite for {0}")]
    NoInvite(Username),
    /// As many accounts as the relay may have.
    #[error("the relay has all the accounts that its limits allow ({0})")]
    TooMany(u64),
    /// Something is at the place where the backup should go.
    #[error("{} is there already", .0.display())]
    FileExists(PathBuf),
    /// The store failed.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

/// An answer to come. Dropping it does not undo what it stands for.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, AccountsError>> + Send>>;
/// An answer to an administrator, to come.
pub type Wish<T> = Pin<Box<dyn Future<Output = Result<T, Unwilling>> + Send>>;

/// An invite that is not spent, or that its own device repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invited {
    /// The name that it is bound to.
    pub name: Username,
    /// There is an account of that name: the invite gives it a new password.
    pub exists: bool,
}

/// The device of an account, as its key was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Whose it is.
    pub name: Username,
    /// Tells this enrolment from every other one, also of the same key.
    pub enrolment: u64,
    /// The highest work mark that was written down; none since the enrolment.
    pub mark: Option<WorkMark>,
}

/// What a client is shown when it attaches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// All rows of the account.
    pub rows: Vec<(Handle, ContactRow)>,
    /// Introductions of others to it, the oldest first.
    pub requests: Vec<Request>,
}

/// What became of an enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Whose device the key is now.
    pub name: Username,
    /// Another key was the account's device before.
    pub displaced: bool,
    /// The key was the device of this account before, which has none now.
    pub left: Option<Username>,
}

/// An answer to an introduction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Who approves.
    pub by: Username,
    /// Who asked.
    pub to: Username,
    /// The asker's handle.
    pub their_handle: Handle,
    /// The approver's handle.
    pub handle: Handle,
    /// The sealed approval.
    pub blob: Blob,
    /// The contact link that the introduction came by.
    pub link: Option<RoutingId>,
    /// The introduction.
    pub intro: IntroId,
}

/// What an approval changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// The approver's row now, if it changed.
    pub own: Option<ContactRow>,
    /// The asker's row changed.
    pub theirs: bool,
}

/// An open invite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInvite {
    /// The name that it is bound to.
    pub name: Username,
    /// Until when it is good, seconds since 1970.
    pub expires: u64,
}

/// An account, for the administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: Username,
    /// Locked.
    pub disabled: bool,
    /// When it was made, seconds since 1970.
    pub created: u64,
}

/// The durable store. Every change is on disk when its answer comes. `now` is seconds since 1970.
pub trait Accounts: Send + Sync + 'static {
    // Before a client is known.

    /// The invite of a token, if it may be used by the device `key`: open, or spent by that very
    /// device.
    fn invite(&self, token: TokenHash, key: Key, now: u64) -> Pending<Option<Invited>>;
    /// Spends the invite and makes the account, unless there are `most` already, or gives the one
    /// that exists the new record; `key` becomes its device. `None` where [`Accounts::invite`] would
    /// say so.
    fn join(
        &self,
        token: TokenHash,
        key: Key,
        record: Record,
        now: u64,
        most: u64,
    ) -> Pending<Option<Enrolled>>;
    /// The record of a name; none for an unknown or locked one. Reads the same for all names.
    fn record(&self, name: &Username) -> Pending<Option<Record>>;
    /// Makes `key` the account's device. What another one asked, and what it was answered and did not
    /// fetch, goes with it.
    fn enrol(&self, name: &Username, key: Key) -> Pending<Option<Enrolled>>;
    /// The account whose device `key` is, and what it is shown, with at most `requests` requests.
    fn attach(&self, key: Key, now: u64, requests: usize) -> Pending<Option<(Device, Snapshot)>>;

    // The owner's own rows.

    /// Writes down a mark, unless there is a later one or the enrolment is over.
    fn mark(&self, name: &Username, enrolment: u64, mark: WorkMark) -> Pending<()>;
    /// Puts an introduction on the owner's row; gives the row, or none where a row of that handle
    /// does not allow it. Looks at nobody else's data: the answer must not depend on `to`.
    fn ask(
        &self,
        owner: &Username,
        handle: Handle,
        to: &Username,
        intro: Blob,
        now: u64,
    ) -> Pending<Option<ContactRow>>;
    /// As [`Accounts::ask`], of whoever made the contact link `by`.
    fn redeem(
        &self,
        owner: &Username,
        handle: Handle,
        by: RoutingId,
        intro: Blob,
        now: u64,
    ) -> Pending<Option<ContactRow>>;
    /// Blocks or unblocks the owner's row; gives it, if it is there.
    fn block(&self, owner: &Username, handle: Handle, blocked: bool)
    -> Pending<Option<ContactRow>>;
    /// Deletes the owner's row, if it is there.
    fn remove(&self, owner: &Username, handle: Handle) -> Pending<()>;
    /// Deletes the approval on the owner's row; gives the row, if it is there.
    fn fetched(
        &self,
        owner: &Username,
        handle: Handle,
        approval: ApprovalId,
    ) -> Pending<Option<ContactRow>>;
    /// One row.
    fn row(&self, owner: &Username, handle: Handle, now: u64) -> Pending<Option<ContactRow>>;

    // Answers to others.

    /// Introductions to `name`, the oldest first: the newest alone of whoever is no contact yet.
    fn requests(&self, name: &Username, now: u64, most: usize) -> Pending<Vec<Request>>;
    /// Introductions by these contact links, the oldest of each first.
    fn redeemed(&self, links: Vec<RoutingId>, now: u64, most: usize) -> Pending<Vec<Redeemed>>;
    /// Accepts an introduction, on both rows. The approver's own is the same where there is none to
    /// accept; it stays as it was where its handle is another contact's.
    fn approve(&self, approval: Approval, now: u64) -> Pending<Approved>;
    /// Declines an introduction. Its owner goes on seeing it as asked.
    fn refuse(&self, by: &Username, to: &Username, their_handle: Handle) -> Pending<()>;

    // The account.

    /// Replaces the record: a new password.
    fn set_record(&self, name: &Username, record: Record) -> Pending<()>;
    /// Deletes the account and all that it owns; its name is never given again. Whether it existed.
    fn delete(&self, name: &Username) -> Pending<bool>;

    // The administrator.

    /// Makes an invite; one that is open for the same name is replaced. With `reset` the account
    /// must exist, otherwise it must not.
    fn create_invite(
        &self,
        invite: OpenInvite,
        token: TokenHash,
        reset: bool,
        most: u64,
    ) -> Wish<()>;
    /// The open invites, by name.
    fn invites(&self, now: u64) -> Pending<Vec<OpenInvite>>;
    /// Takes an open invite back.
    fn revoke_invite(&self, name: &Username, now: u64) -> Wish<()>;
    /// All accounts, by name.
    fn users(&self) -> Pending<Vec<User>>;
    /// How many accounts there are.
    fn count(&self) -> Pending<u64>;
    /// Locks or unlocks an account.
    fn set_disabled(&self, name: &Username, disabled: bool) -> Wish<()>;
    /// Deletes what has expired.
    fn sweep(&self, now: u64) -> Pending<()>;
    /// Copies everything into a new file, mode 0600.
    fn backup(&self, file: PathBuf) -> Wish<()>;
}
