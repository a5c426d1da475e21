//! What is asked of the relay over the account's own link.

use ams_crypto::opaque::{ClientLogin, ClientRegistration, Password};
use ams_wire::from_relay::Outcome;
use ams_wire::to_relay::{PasswordFinish, PasswordStart, ToRelay};

use super::enrol::off_the_async_threads;
use super::{AccountError, Accounts, failed};
use crate::relay::actor::Answer;
use crate::relay::links::CallError;
use crate::relay::row::{Refusal, RelayId, RelayRow, Relays};

impl Accounts {
    /// Changes the password.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn password(
        &self,
        nick: &str,
        old: Password,
        new: Password,
    ) -> Result<(), AccountError> {
        let nick = nick.to_owned();
        let changed =
            self.in_turn(|accounts| async move { accounts.change_password(&nick, old, new).await });
        changed.await
    }

    async fn change_password(
        &self,
        nick: &str,
        old: Password,
        new: Password,
    ) -> Result<(), AccountError> {
        let (id, row) = self.find(nick).await?;
        let failed = |error| failed(error, &row, AccountError::WrongOldPassword);
        let (login, ke1) = ClientLogin::start(old).map_err(|error| failed(error.into()))?;
        let (registration, request) =
            ClientRegistration::start(new).map_err(|error| failed(error.into()))?;
        let start = ToRelay::PasswordStart(PasswordStart { ke1, request });
        let (response, hash) = match self.call(id, &row, &start).await? {
            Answer::Password { response, handshake_hash } => (response, handshake_hash),
            Answer::Done(Outcome::Limited) => return Err(AccountError::Limited),
            Answer::Done(_) => return Err(AccountError::ChangeRefused),
        };
        let finish = off_the_async_threads(move || {
            let ke3 = login.finish(&response.ke2, &hash)?;
            let upload = registration.finish(&response.response)?;
            Ok(PasswordFinish { ke3, upload })
        });
        let finish = finish.await.map_err(failed)?;
        match self.call(id, &row, &ToRelay::PasswordFinish(finish)).await? {
            Answer::Done(Outcome::Ok) => Ok(()),
            Answer::Done(Outcome::Limited) => Err(AccountError::Limited),
            _ => Err(AccountError::ChangeRefused),
        }
    }

    /// Has the relay delete the account.
    pub(super) async fn delete_account(
        &self,
        id: RelayId,
        row: &RelayRow,
    ) -> Result<(), AccountError> {
        // An earlier try came so far, and the relay knows this device no longer: that was all.
        if row.deleting && row.refused == Some(Refusal::Replaced) {
            return Ok(());
        }
        let marked = self.change(&row.nick, |txn, id, row| {
            Ok::<_, AccountError>(txn.put::<Relays>(&id, &RelayRow { deleting: true, ..row })?)
        });
        marked.await?;
        match self.call(id, row, &ToRelay::DeleteAccount).await? {
            Answer::Done(Outcome::Ok) => Ok(()),
            Answer::Done(Outcome::Limited) => Err(AccountError::Limited),
            _ => Err(AccountError::ChangeRefused),
        }
    }

    /// Asks the relay over the account's link.
    async fn call(
        &self,
        id: RelayId,
        row: &RelayRow,
        frame: &ToRelay<'_>,
    ) -> Result<Answer, AccountError> {
        let mut encoded = Vec::with_capacity(512);
        let unreachable =
            |reason: &str| AccountError::Unreachable { at: row.at.clone(), reason: reason.into() };
        frame.encode(&mut encoded).map_err(|_| unreachable("the question is too long"))?;
        match row.refused {
            Some(Refusal::Replaced) => return Err(AccountError::DeviceRefused(row.nick.clone())),
            Some(Refusal::Cloned) => return Err(AccountError::Cloned(row.nick.clone())),
            None if !row.wanted => return Err(AccountError::Off(row.nick.clone())),
            None => {}
        }
        let answer = self.0.links.call(id, encoded).await;
        answer.map_err(|error| match error {
            CallError::Lost => unreachable("the link ended before the answer came"),
            CallError::NotUp => unreachable(&self.0.links.why_not_up(id)),
        })
    }
}
