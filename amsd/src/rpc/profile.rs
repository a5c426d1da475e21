//! `profile.*`: the profile in one file.

use std::path::PathBuf;

use ams_crypto::Zeroizing;
use ams_rpc::types::{ProfileAccount, ProfileParams, ProfileSummary};
use ams_rpc::{CallContext, RpcError};

use super::App;
use crate::backup::{self, Summary};

/// Shortest passphrase, characters.
const MIN_PASSPHRASE: usize = 8;

pub(super) async fn backup(
    app: App,
    _: CallContext,
    params: ProfileParams,
) -> Result<ProfileSummary, RpcError> {
    let (file, passphrase) = checked(params)?;
    Ok(shown(backup::write(&app.store, &file, passphrase).await?))
}

pub(super) async fn restore(
    app: App,
    _: CallContext,
    params: ProfileParams,
) -> Result<ProfileSummary, RpcError> {
    let (file, passphrase) = checked(params)?;
    Ok(shown(backup::read(&app.store, &app.me, &file, passphrase).await?))
}

fn checked(params: ProfileParams) -> Result<(PathBuf, Zeroizing<String>), RpcError> {
    let file = PathBuf::from(params.file);
    if !file.is_absolute() {
        return Err(RpcError::bad_value("the file's path is not an absolute one"));
    }
    let passphrase = Zeroizing::new(params.passphrase.expose_secret().to_owned());
    if passphrase.chars().count() < MIN_PASSPHRASE {
        return Err(RpcError::bad_password(format!(
            "a passphrase has at least {MIN_PASSPHRASE} characters"
        )));
    }
    Ok((file, passphrase))
}

fn shown(summary: Summary) -> ProfileSummary {
    let Summary { fingerprint, contacts, messages, accounts } = summary;
    let accounts = accounts.into_iter().map(|(link, user)| ProfileAccount { link, user });
    ProfileSummary { fingerprint, contacts, messages, accounts: accounts.collect() }
}
