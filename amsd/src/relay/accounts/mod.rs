//! What the user does with accounts. Everything here can be repeated after a crash at any moment
//! of it.
//!
//! 1. [`join`]: an account is made, or logged in to ([`enrol`] is what the relay is told for it)
//! 2. connecting, disconnecting and going on from a copy: below
//! 3. [`calls`]: what the relay is asked over the account's own link: another password, deletion
//! 4. [`forget`]: what goes with an account

mod calls;
mod enrol;
mod forget;
mod join;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ams_wire::username::Username;
use tokio::sync::{Mutex, oneshot};

use super::dial::DialError;
use super::links::LinksHandle;
use super::row::{self, Refusal, RelayId, RelayRow, Relays, by_nick};
use crate::contacts::ask::{renew, withdraw};
use crate::contacts::{self, ContactRow};
use crate::fact::Fact;
use crate::outside::Outside;
use crate::profile::Me;
use crate::session::row::retire;
use crate::store::{Store, StoreError, Txn};
use enrol::EnrolError;

/// Why an account stays as it is. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No account has that nickname.
    #[error("no relay is called {0}")]
    NoSuchRelay(String),
    /// The nickname is none.
    #[error(
        "a relay's nickname is 1 to 64 characters without spaces, control characters, '@' and '/', \
         does not begin with '-', and is not 'me'"
    )]
    BadNick,
    /// Another account has that nickname.
    #[error("another relay is called {0}")]
    NickTaken(String),
    /// There is one account at each relay.
    #[error("this daemon has the account {user} at that relay already, as {nick}")]
    OtherAccount {
        /// Its nickname.
        nick: String,
        /// Its name.
        user: Username,
    },
    /// The relay cannot be reached, or went away.
    #[error("the relay at {at} cannot be reached: {reason}")]
    Unreachable {
        /// Where it should be.
        at: String,
        /// Why not.
        reason: String,
    },
    /// What answers does not hold the key that the link names.
    #[error("what answers at {at} is not the relay of this link, or its key changed")]
    WrongRelay {
        /// Where it should be.
        at: String,
    },
    /// The relay never says which it is.
    #[error("the relay refused the invite: it is spent, expired, or revoked")]
    InviteRefused,
    /// The relay never says which it is.
    #[error("the relay refused the login: wrong name or password")]
    WrongPassword,
    /// The password that the account has was said to be another one.
    #[error("the relay refused the change: the old password is wrong")]
    WrongOldPassword,
    /// A change was refused although the old password was right.
    #[error("the relay refused the change")]
    ChangeRefused,
    /// The relay wants it later.
    #[error("the relay takes no more changes for now")]
    Limited,
    /// The user switched it off.
    #[error("{0} is switched off")]
    Off(String),
    /// The relay no longer takes this device.
    #[error(
        "{0} no longer takes this device: another one was enrolled, or the account is disabled or \
         gone"
    )]
    DeviceRefused(String),
    /// This profile is an old copy, or runs twice.
    #[error("{0} has seen a newer copy of this profile")]
    Cloned(String),
    /// Not enough memory for the password hash.
    #[error("not enough memory for the password hash (64 MiB)")]
    OutOfMemory,
}

/// The accounts. Clones share it.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    // Set once.
    store: Store,
    me: Me,
    links: LinksHandle,
    outside: Outside,
    /// One change at a time: each looks at all accounts first.
    turn: Mutex<()>,
}

impl Accounts {
    /// The accounts in `store`, whose links are `links`.
    pub fn new(store: Store, me: Me, links: LinksHandle, outside: Outside) -> Self {
        Self(Arc::new(Inner { store, me, links, outside, turn: Mutex::default() }))
    }

    /// Goes online there, and stays so.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn connect(&self, nick: &str) -> Result<RelayId, AccountError> {
        let connected = self.change_in_turn(nick, |txn, id, row| {
            if row.refused == Some(Refusal::Cloned) {
                return Err(AccountError::Cloned(row.nick));
            }
            // The account may have been disabled for a while: the relay is asked again.
            let after = RelayRow { wanted: true, refused: None, ..row.clone() };
            if after != row {
                txn.put::<Relays>(&id, &after)?;
                txn.tell(Fact::Relays);
            }
            Ok(id)
        });
        let id = connected.await?;
        self.0.links.connect(id);
        Ok(id)
    }

    /// Goes offline there, until [`Accounts::connect`].
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn disconnect(&self, nick: &str) -> Result<RelayId, AccountError> {
        let disconnected = self.change_in_turn(nick, |txn, id, row| {
            let after = RelayRow { wanted: false, ..row.clone() };
            if after != row {
                txn.put::<Relays>(&id, &after)?;
                txn.tell(Fact::Relays);
            }
            Ok(id)
        });
        disconnected.await
    }

    /// Goes on from a profile that the relay saw a newer copy of: with marks behind those of the
    /// copy, and fresh keys with every contact there.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn resume(&self, nick: &str) -> Result<RelayId, AccountError> {
        let (me, now) = (self.0.me.clone(), self.0.outside.clock.now());
        let resumed = self.change_in_turn(nick, move |txn, id, row| {
            if row.refused != Some(Refusal::Cloned) {
                return Ok(id);
            }
            row::pass_mark(txn, id, row.relay_counter)?;
            let row = RelayRow { refused: None, relay_counter: 0, wanted: true, ..row };
            txn.put::<Relays>(&id, &row)?;
            begin_anew(txn, &me, (id, &row), now)?;
            txn.tell(Fact::Relays);
            Ok(id)
        });
        resumed.await
    }

    /// Forgets the account here, and deletes it at the relay if `delete_account`.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn leave(&self, nick: &str, delete_account: bool) -> Result<(), AccountError> {
        let nick = nick.to_owned();
        let left = self.in_turn(move |accounts| async move {
            let (id, row) = accounts.find(&nick).await?;
            if delete_account {
                accounts.delete_account(id, &row).await?;
            }
            let _held = accounts.0.links.hold(id).await;
            accounts.0.store.write(move |txn| forget::forget(txn, id)).await?;
            Ok(())
        });
        left.await
    }

    /// Does `work` when it is its turn, and to its end: a caller who takes no answers, or goes in the
    /// middle of it, must not keep the turn from others, nor leave half of it.
    async fn in_turn<T, F>(
        &self,
        work: impl FnOnce(Self) -> F + Send + 'static,
    ) -> Result<T, AccountError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, AccountError>> + Send + 'static,
    {
        let accounts = self.clone();
        let (mut reply, answer) = oneshot::channel();
        self.0.links.spawn(async move {
            let inner = Arc::clone(&accounts.0);
            let _turn = tokio::select! {
                biased;
                // Nothing was begun for whoever went before.
                () = reply.closed() => return,
                turn = inner.turn.lock() => turn,
            };
            // The caller may be gone.
            let _ = reply.send(work(accounts).await);
        });
        answer.await.unwrap_or_else(|_| Err(StoreError::Stopped.into()))
    }

    async fn change_in_turn<T: Send + 'static>(
        &self,
        nick: &str,
        change: impl FnMut(&Txn<'_>, RelayId, RelayRow) -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, AccountError> {
        let nick = nick.to_owned();
        self.in_turn(|accounts| async move { accounts.change(&nick, change).await }).await
    }

    async fn find(&self, nick: &str) -> Result<(RelayId, RelayRow), AccountError> {
        let nick = nick.to_owned();
        let look = self.0.store.read(move |db| Ok::<_, StoreError>((by_nick(db, &nick)?, nick)));
        let (found, nick) = look.await?;
        found.ok_or(AccountError::NoSuchRelay(nick))
    }

    /// Changes what is kept of the account called `nick`.
    async fn change<T: Send + 'static>(
        &self,
        nick: &str,
        mut change: impl FnMut(&Txn<'_>, RelayId, RelayRow) -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, AccountError> {
        let nick = nick.to_owned();
        let work = move |txn: &Txn<'_>| {
            let (id, row) =
                by_nick(txn, &nick)?.ok_or_else(|| AccountError::NoSuchRelay(nick.clone()))?;
            change(txn, id, row)
        };
        self.0.store.write(work).await
    }
}

/// Another copy of this profile, or another device of the account, may have gone on with the keys
/// of every contact there: nothing is sealed under them any more, and all are asked for fresh ones.
fn begin_anew(
    txn: &Txn<'_>,
    me: &Me,
    relay: (RelayId, &RelayRow),
    now: i64,
) -> Result<(), StoreError> {
    for (id, before) in contacts::all(txn)? {
        let Some(path) = before.path(relay.0) else { continue };
        // What was asked may have been answered to the other one.
        withdraw(txn, (relay.0, path.handle))?;
        retire(txn, id, now)?;
        // However lately the keys were renewed.
        contacts::put(txn, id, Some(&before), &ContactRow { renewed_at: 0, ..before.clone() })?;
        renew(txn, me, relay, id, now)?;
    }
    Ok(())
}

/// What a failed enrolment means for the user; `refused` is what the relay's refusal means here.
fn failed(error: EnrolError, row: &RelayRow, refused: AccountError) -> AccountError {
    let at = row.at.clone();
    match error {
        EnrolError::Dial(DialError::WrongRelay) => AccountError::WrongRelay { at },
        EnrolError::Refused => refused,
        EnrolError::OutOfMemory => AccountError::OutOfMemory,
        other => AccountError::Unreachable { at, reason: other.to_string() },
    }
}
