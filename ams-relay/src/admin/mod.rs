//! What the administrator can do, with the relay running and without: the same operations on the
//! same store, over the socket in the data folder ([`service`]) or directly.

pub mod backup;
pub(crate) mod service;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ams_crypto::token::Token;
use ams_rpc::admin::{
    InviteInfo, InviteLink, Invites, LimitInfo, RelayAddress, RelayBackedUp, RelayStatus, UserInfo,
    UserState, Users,
};
use ams_rpc::types::{Period, Time};
use ams_wire::address::{self, RelayLink};
use ams_wire::from_relay::Bye;
use ams_wire::id::InviteToken;
use ams_wire::username::{BadUsername, Username};

use crate::accounts::{Accounts, AccountsError, OpenInvite, Unwilling};
use crate::config::{Config, Registration};
use crate::data::{self, Data, DataError};
use crate::hub::Hub;
use crate::hub::member::Ending;
use crate::memory;
use backup::BackupError;

/// How long an invite is good where nothing else is said.
const INVITE_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why an administrator's operation is not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Not a username.
    #[error(transparent)]
    Name(#[from] BadUsername),
    /// It may not be.
    #[error(transparent)]
    Unwilling(#[from] Unwilling),
    /// It would be of no use.
    #[error("an invite that expires at once is of no use")]
    Expired,
    /// Registration is closed.
    #[error("registration is closed in this relay's config")]
    Closed,
}

impl From<AccountsError> for AdminError {
    fn from(error: AccountsError) -> Self {
        Self::Unwilling(error.into())
    }
}

/// What only a running relay has.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) hub: Arc<Hub>,
    /// When it started, seconds since 1970.
    pub(crate) started: u64,
}

/// The administrator's operations.
pub struct Administration {
    accounts: Arc<dyn Accounts>,
    config: Config,
    link: RelayLink,
    live: Option<Live>,
    data: Option<Data>,
}

impl std::fmt::Debug for Administration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Administration(..)")
    }
}

impl Administration {
    pub(crate) fn new(
        accounts: Arc<dyn Accounts>,
        config: Config,
        link: RelayLink,
        live: Option<Live>,
        data: Option<Data>,
    ) -> Self {
        Self { accounts, config, link, live, data }
    }

    /// On a data folder that no relay uses.
    ///
    /// # Errors
    /// [`DataError`].
    pub fn offline(data: Data, config: Config) -> Result<Self, DataError> {
        let (store, keys) = data.open()?;
        let link = data::link(&keys.link, &data.address()?);
        Ok(Self::new(Arc::new(store), config, link, None, Some(data)))
    }

    pub(crate) fn link(&self) -> &RelayLink {
        &self.link
    }

    /// Makes an invite; with `reset`, for an account that exists.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn invite(
        &self,
        name: &str,
        life: Option<Duration>,
        reset: bool,
    ) -> Result<InviteLink, AdminError> {
        let name = Username::new(name)?;
        if self.config.registration == Registration::Closed && !reset {
            return Err(AdminError::Closed);
        }
        let life = life.unwrap_or(INVITE_LIFE);
        if life.as_secs() == 0 {
            return Err(AdminError::Expired);
        }
        let now = self.config.clock.now();
        let expires = now.saturating_add(life.as_secs());
        let open = self.accounts.invites(now).await?;
        let replaced = open.iter().any(|invite| invite.name == name);
        let token = Token::generate();
        let invite = OpenInvite { name: name.clone(), expires };
        let most = self.config.limits.accounts;
        self.accounts.create_invite(invite, token.hash(), reset, most).await?;
        let link = address::Link::Invite(address::InviteLink {
            at: self.link.at.clone(),
            relay: self.link.relay,
            user: name.clone(),
            token: InviteToken(*token.to_bytes()),
        });
        let (link, name) = (link.to_string(), name.to_string());
        Ok(InviteLink { link, name, expires: time(expires), replaced })
    }

    /// The open invites.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn invites(&self) -> Result<Invites, AccountsError> {
        let open = self.accounts.invites(self.config.clock.now()).await?;
        let invites = open
            .into_iter()
            .map(|invite| InviteInfo {
                name: invite.name.to_string(),
                expires: time(invite.expires),
            })
            .collect();
        Ok(Invites { invites })
    }

    /// Takes an invite back.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn revoke(&self, name: &str) -> Result<(), AdminError> {
        let name = Username::new(name)?;
        Ok(self.accounts.revoke_invite(&name, self.config.clock.now()).await?)
    }

    /// The accounts.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn users(&self) -> Result<Users, AccountsError> {
        let users = self.accounts.users().await?;
        let is_online =
            |name: &Username| self.live.as_ref().is_some_and(|live| live.hub.is_seated(name));
        let users = users
            .into_iter()
            .map(|user| UserInfo {
                online: is_online(&user.name),
                name: user.name.to_string(),
                state: if user.disabled { UserState::Disabled } else { UserState::Active },
                created: time(user.created),
            })
            .collect();
        Ok(Users { users })
    }

    /// Locks an account and ends its link, or unlocks it.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_disabled(&self, name: &str, disabled: bool) -> Result<(), AdminError> {
        let name = Username::new(name)?;
        self.accounts.set_disabled(&name, disabled).await?;
        if disabled && let Some(live) = &self.live {
            live.hub.end(&name, Ending::Silent);
        }
        Ok(())
    }

    /// Deletes an account.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn remove(&self, name: &str) -> Result<(), AdminError> {
        let name = Username::new(name)?;
        if !self.accounts.delete(&name).await? {
            return Err(Unwilling::NoUser(name).into());
        }
        if let Some(live) = &self.live {
            live.hub.silence(&name);
            live.hub.end(&name, Ending::Bye(Bye::Replaced));
        }
        Ok(())
    }

    /// The state of the relay.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn status(&self) -> Result<RelayStatus, AccountsError> {
        let accounts = self.accounts.count().await?;
        let live = self.live.as_ref();
        let number = |of: fn(&Hub) -> usize| {
            live.map_or(0, |live| u64::try_from(of(&live.hub)).unwrap_or(u64::MAX))
        };
        let limits = &self.config.limits;
        let held = number(Hub::held_bytes);
        let limit = |name: &str, used: Option<u64>, max: u64| LimitInfo {
            name: name.to_owned(),
            used,
            max,
        };
        Ok(RelayStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            running: live.is_some(),
            pid: live.map(|_| std::process::id()),
            started: live.map(|live| time(live.started)),
            address: data::link_text(&self.link),
            accounts,
            connections: number(Hub::seated),
            held_messages: number(Hub::held_messages),
            held_bytes: held,
            retry_window: Period(self.config.retry_window),
            limits: vec![
                limit("accounts", Some(accounts), limits.accounts),
                limit("held_bytes", live.map(|_| held), limits.held_bytes),
                limit("memory_bytes", live.and_then(|_| memory::resident()), limits.memory_bytes),
                limit("sender_held_bytes", None, limits.sender_held_bytes),
                limit("sender_held_messages", None, limits.sender_held_messages.into()),
                limit("contact_held_messages", None, limits.contact_held_messages.into()),
                limit("link_bytes", None, limits.link_bytes),
                limit("contacts", None, limits.contacts.into()),
                limit("asks_pending", None, limits.asks_pending.into()),
                limit("asks_per_day", None, limits.asks_per_day.into()),
                limit("strangers", None, limits.strangers.into()),
                limit("frames_per_second", None, limits.frames_per_second.into()),
                limit("bytes_per_second", None, limits.bytes_per_second.into()),
            ],
        })
    }

    /// The address link.
    pub fn address(&self) -> RelayAddress {
        RelayAddress { address: data::link_text(&self.link) }
    }

    /// Copies the accounts into `file` and the keys into a second one.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn backup(&self, file: &Path) -> Result<RelayBackedUp, BackupError> {
        let folder = self.data.as_ref().map(Data::path).ok_or(BackupError::Memory)?;
        let keys_file = backup::keys_path(file);
        backup::write_keys(folder, &keys_file)?;
        if let Err(error) = self.accounts.backup(file.to_owned()).await {
            // Half a backup must not look like one.
            let _ = std::fs::remove_file(&keys_file);
            return Err(error.into());
        }
        Ok(RelayBackedUp {
            file: file.display().to_string(),
            keys_file: keys_file.display().to_string(),
        })
    }

    pub(crate) async fn sweep(&self) -> Result<(), AccountsError> {
        self.accounts.sweep(self.config.clock.now()).await
    }
}

fn time(seconds: u64) -> Time {
    Time::from_millis(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000))
}
