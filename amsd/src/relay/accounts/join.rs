//! An account is made, or this device is put in the place of the one that it has.
//!
//! 1. [`prepare`]: the device's key is on disk before the relay hears of it
//! 2. [`super::enrol`]: the relay takes that key
//! 3. [`enrolled`]: the account may be connected
//!
//! After a crash between any two, the same again does it: the key is the same, and the relay takes
//! a spent invite once more from whoever spent it.

use ams_crypto::dh::DhSecret;
use ams_crypto::opaque::Password;
use ams_wire::address::{HostPort, InviteLink, RelayLink};
use ams_wire::id::Key;
use ams_wire::username::Username;

use super::{AccountError, Accounts, begin_anew, enrol, failed};
use crate::fact::Fact;
use crate::outbox::show::ME;
use crate::outbox::wish;
use crate::profile::{self, Me};
use crate::relay::row::{RelayId, RelayRow, Relays};
use crate::store::{Read, StoreError, Txn};

/// Longest nickname, characters.
const MAX_NICK: usize = 64;

/// Where an account is, or shall be.
struct Place {
    at: HostPort,
    key: Key,
    user: Username,
    /// The nickname that the user wants it to have.
    nick: Option<String>,
}

/// An account that is about to be enrolled.
struct Prepared {
    id: RelayId,
    row: RelayRow,
    /// The nickname that it gets.
    nick: String,
}

impl Accounts {
    /// Makes the account that `link` invites to, and connects it.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn join(
        &self,
        link: InviteLink,
        password: Password,
        nick: Option<String>,
    ) -> Result<RelayId, AccountError> {
        let joined = self.in_turn(move |Self(inner)| async move {
            let InviteLink { at, relay: key, user, token } = link;
            let place = Place { at, key, user, nick };
            let prepared = inner.store.write(move |txn| prepare(txn, &place)).await?;
            let _held = inner.links.hold(prepared.id).await;
            let joined = enrol::join(&*inner.outside.network, &prepared.row, token, password).await;
            joined.map_err(|error| failed(error, &prepared.row, AccountError::InviteRefused))?;
            let (me, now) = (inner.me.clone(), inner.outside.clock.now());
            inner.store.write(move |txn| Ok(enrolled(txn, &me, &prepared, false, now)?)).await
        });
        joined.await
    }

    /// Enrols this device on the account `user`, in the place of the one that it has, and connects
    /// it.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn login(
        &self,
        link: RelayLink,
        user: Username,
        password: Password,
        nick: Option<String>,
    ) -> Result<RelayId, AccountError> {
        let logged_in = self.in_turn(move |Self(inner)| async move {
            let place = Place { at: link.at, key: link.relay, user: user.clone(), nick };
            let prepared = inner.store.write(move |txn| prepare(txn, &place)).await?;
            let _held = inner.links.hold(prepared.id).await;
            let login = enrol::login(&*inner.outside.network, &prepared.row, user, password).await;
            login.map_err(|error| failed(error, &prepared.row, AccountError::WrongPassword))?;
            let (me, now) = (inner.me.clone(), inner.outside.clock.now());
            inner.store.write(move |txn| Ok(enrolled(txn, &me, &prepared, true, now)?)).await
        });
        logged_in.await
    }
}

fn prepare(txn: &Txn<'_>, place: &Place) -> Result<Prepared, AccountError> {
    let rows = txn.list::<Relays>(&())?;
    let known = rows.iter().find(|(_, row)| row.key == place.key);
    let before = known.map(|(_, row)| row).filter(|row| row.enrolled);
    if let Some(row) = before.filter(|row| row.user != place.user) {
        let (nick, user) = (row.nick.clone(), row.user.clone());
        return Err(AccountError::OtherAccount { nick, user });
    }
    let others = rows.iter().filter(|(_, row)| row.enrolled && row.key != place.key);
    let others: Vec<&str> = others.map(|(_, row)| row.nick.as_str()).collect();
    let nick = match (&place.nick, before) {
        (Some(nick), _) => checked(nick, &others)?,
        (None, Some(row)) => row.nick.clone(),
        (None, None) => match known.map(|(_, row)| row.nick.as_str()) {
            // Of a restored profile, which called it so.
            Some(nick) if !nick.is_empty() && !others.contains(&nick) => nick.to_owned(),
            _ => free_nick(place.at.host(), &others),
        },
    };
    let at = place.at.to_string();
    let (id, row) = match known {
        // Its new address is kept once it proved good.
        Some((id, row)) if row.enrolled => (*id, RelayRow { at, ..row.clone() }),
        Some((id, row)) => {
            let row = RelayRow { at, user: place.user.clone(), ..row.clone() };
            txn.put::<Relays>(id, &row)?;
            (*id, row)
        }
        None => {
            let id = u32::try_from(profile::count(txn, "relays")?);
            let id = RelayId(id.map_err(|_| StoreError::Damaged("a counter"))?);
            let row = new_row(at, place);
            txn.put::<Relays>(&id, &row)?;
            (id, row)
        }
    };
    Ok(Prepared { id, row, nick })
}

fn new_row(at: String, place: &Place) -> RelayRow {
    RelayRow {
        nick: String::new(),
        at,
        key: place.key,
        device_secret: *DhSecret::generate().to_bytes(),
        user: place.user.clone(),
        enrolled: false,
        wanted: false,
        refused: None,
        relay_counter: 0,
        deleting: false,
        adopting: false,
    }
}

/// The relay took the device.
fn enrolled(
    txn: &Txn<'_>,
    me: &Me,
    prepared: &Prepared,
    by_login: bool,
    now: i64,
) -> Result<RelayId, StoreError> {
    let Prepared { id, row, nick } = prepared;
    if row.enrolled && row.nick != *nick {
        wish::renamed(txn, &row.nick, nick)?;
    }
    let row = RelayRow {
        nick: nick.clone(),
        enrolled: true,
        wanted: true,
        refused: None,
        relay_counter: 0,
        deleting: false,
        adopting: by_login,
        ..row.clone()
    };
    txn.put::<Relays>(id, &row)?;
    // The work mark stays: the relay knows none of a device that it enrolled anew, and takes any.
    // Set back, it would fall behind those of envelopes that were sealed before and go out again,
    // and this profile would look like an old copy of itself.
    if by_login {
        begin_anew(txn, me, (*id, &row), now)?;
    }
    txn.tell(Fact::Relays);
    Ok(*id)
}

fn checked(nick: &str, others: &[&str]) -> Result<String, AccountError> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '@' | '/');
    let length = nick.chars().count();
    let fits = (1..=MAX_NICK).contains(&length) && nick.chars().all(plain);
    if !fits || nick.starts_with('-') || nick == ME {
        return Err(AccountError::BadNick);
    }
    if others.contains(&nick) {
        return Err(AccountError::NickTaken(nick.to_owned()));
    }
    Ok(nick.to_owned())
}

/// The host, or with a number behind it where that is taken.
fn free_nick(host: &str, others: &[&str]) -> String {
    let host: String = host.chars().take(MAX_NICK).collect();
    let mut nick = host.clone();
    let mut next = 2_u32;
    while nick == ME || others.contains(&nick.as_str()) {
        nick = format!("{host}-{next}");
        next = next.saturating_add(1);
    }
    nick
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicknames() {
        for good in ["home", "relay.example.org", "[::1]", "ü", &"x".repeat(MAX_NICK)] {
            assert_eq!(checked(good, &[]).unwrap(), good);
        }
        for bad in ["", "-x", "a b", "a@b", "a/b", "a\u{7}", &"x".repeat(MAX_NICK + 1)] {
            assert!(matches!(checked(bad, &[]), Err(AccountError::BadNick)), "{bad:?}");
        }
        assert!(matches!(checked("home", &["home"]), Err(AccountError::NickTaken(_))));
        assert_eq!(free_nick("home", &[]), "home");
        assert_eq!(free_nick("home", &["home", "home-2", "work"]), "home-3");
    }
}
