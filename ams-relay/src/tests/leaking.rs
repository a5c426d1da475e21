//! A store with a fault. A leak is what a change that breaks the rule would look like: the two-worlds
//! test has to catch it.

use std::path::PathBuf;
use std::time::Duration;

use ams_crypto::token::TokenHash;
use ams_wire::from_relay::{Redeemed, Request};
use ams_wire::id::{ApprovalId, Blob, Handle, Key, RoutingId, WorkMark};
use ams_wire::username::Username;

use super::client::{blob, name, routing};
use crate::accounts::row::ContactRow;
use crate::accounts::store::Store;
use crate::accounts::{
    Accounts, AccountsError, Approval, Approved, Device, Enrolled, Invited, OpenInvite, Pending,
    Record, Snapshot, User, Wish,
};

/// Its fault; a leak is what asking does with a look at the account of who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leak {
    /// Refuses to ask nobody.
    Answer,
    /// Takes longer for somebody.
    Time,
    /// Does not keep what was asked of nobody.
    Rows,
    /// Takes longer to redeem a contact link that is bob's, where there is a bob.
    Link,
    /// No leak: what enrols a device is answered long after it is done.
    SlowToEnrol,
    /// No leak: nothing that is called [`LOST`] can be written.
    Disk,
}

/// What a disk that fails does not take.
pub(super) const LOST: &str = "lost";

fn failed<T>() -> Result<T, AccountsError> {
    Err(AccountsError::Failed("on purpose".to_owned()))
}

pub(super) struct Leaking {
    pub(super) store: Store,
    pub(super) leak: Leak,
}

impl Accounts for Leaking {
    fn ask(
        &self,
        owner: &Username,
        handle: Handle,
        to: &Username,
        intro: Blob,
        now: u64,
    ) -> Pending<Option<ContactRow>> {
        let (store, leak) = (self.store.clone(), self.leak);
        let (owner, to) = (owner.clone(), to.clone());
        Box::pin(async move {
            let exists = store.record(&to).await?.is_some();
            match leak {
                Leak::Answer if !exists => return Ok(None),
                Leak::Disk if intro == blob(LOST) => return failed(),
                Leak::Time if exists => tokio::time::sleep(Duration::from_millis(1)).await,
                Leak::Rows if !exists => return Ok(Some(ContactRow::asking(to, intro, now))),
                _ => {}
            }
            store.ask(&owner, handle, &to, intro, now).await
        })
    }

    fn redeem(
        &self,
        owner: &Username,
        handle: Handle,
        by: RoutingId,
        intro: Blob,
        now: u64,
    ) -> Pending<Option<ContactRow>> {
        let (store, leak, owner) = (self.store.clone(), self.leak, owner.clone());
        Box::pin(async move {
            let is_bobs = by == routing(0) && store.record(&name("bob")).await?.is_some();
            if leak == Leak::Link && is_bobs {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            store.redeem(&owner, handle, by, intro, now).await
        })
    }

    fn redeemed(&self, links: Vec<RoutingId>, now: u64, most: usize) -> Pending<Vec<Redeemed>> {
        self.store.redeemed(links, now, most)
    }

    fn invite(&self, token: TokenHash, key: Key, now: u64) -> Pending<Option<Invited>> {
        self.store.invite(token, key, now)
    }

    fn join(
        &self,
        token: TokenHash,
        key: Key,
        record: Record,
        now: u64,
        most: u64,
    ) -> Pending<Option<Enrolled>> {
        self.store.join(token, key, record, now, most)
    }

    fn record(&self, name: &Username) -> Pending<Option<Record>> {
        self.store.record(name)
    }

    fn enrol(&self, name: &Username, key: Key) -> Pending<Option<Enrolled>> {
        let (enrolled, leak) = (self.store.enrol(name, key), self.leak);
        Box::pin(async move {
            let enrolled = enrolled.await?;
            if leak == Leak::SlowToEnrol {
                tokio::time::sleep(Duration::from_secs(25)).await;
            }
            Ok(enrolled)
        })
    }

    fn attach(&self, key: Key, now: u64, most: usize) -> Pending<Option<(Device, Snapshot)>> {
        self.store.attach(key, now, most)
    }

    fn mark(&self, name: &Username, enrolment: u64, mark: WorkMark) -> Pending<()> {
        self.store.mark(name, enrolment, mark)
    }

    fn block(&self, owner: &Username, handle: Handle, on: bool) -> Pending<Option<ContactRow>> {
        self.store.block(owner, handle, on)
    }

    fn remove(&self, owner: &Username, handle: Handle) -> Pending<()> {
        self.store.remove(owner, handle)
    }

    fn fetched(
        &self,
        owner: &Username,
        handle: Handle,
        approval: ApprovalId,
    ) -> Pending<Option<ContactRow>> {
        self.store.fetched(owner, handle, approval)
    }

    fn row(&self, owner: &Username, handle: Handle, now: u64) -> Pending<Option<ContactRow>> {
        self.store.row(owner, handle, now)
    }

    fn requests(&self, name: &Username, now: u64, most: usize) -> Pending<Vec<Request>> {
        self.store.requests(name, now, most)
    }

    fn approve(&self, approval: Approval, now: u64) -> Pending<Approved> {
        if self.leak == Leak::Disk && approval.blob == blob(LOST) {
            return Box::pin(async { failed() });
        }
        self.store.approve(approval, now)
    }

    fn refuse(&self, by: &Username, to: &Username, their_handle: Handle) -> Pending<()> {
        self.store.refuse(by, to, their_handle)
    }

    fn set_record(&self, name: &Username, record: Record) -> Pending<()> {
        self.store.set_record(name, record)
    }

    fn delete(&self, name: &Username) -> Pending<bool> {
        self.store.delete(name)
    }

    fn create_invite(&self, of: OpenInvite, token: TokenHash, reset: bool, most: u64) -> Wish<()> {
        self.store.create_invite(of, token, reset, most)
    }

    fn invites(&self, now: u64) -> Pending<Vec<OpenInvite>> {
        self.store.invites(now)
    }

    fn revoke_invite(&self, name: &Username, now: u64) -> Wish<()> {
        self.store.revoke_invite(name, now)
    }

    fn users(&self) -> Pending<Vec<User>> {
        self.store.users()
    }

    fn count(&self) -> Pending<u64> {
        self.store.count()
    }

    fn set_disabled(&self, name: &Username, disabled: bool) -> Wish<()> {
        self.store.set_disabled(name, disabled)
    }

    fn sweep(&self, now: u64) -> Pending<()> {
        self.store.sweep(now)
    }

    fn backup(&self, file: PathBuf) -> Wish<()> {
        self.store.backup(file)
    }
}
