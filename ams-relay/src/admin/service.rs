//! The administrator's socket: one handler for each method of the table.

use std::path::PathBuf;
use std::sync::Arc;

use ams_rpc::admin::{ADMIN_METHODS, InviteCreateParams, NameParams, RelayBackupParams};
use ams_rpc::admin::{invite, relay, user};
use ams_rpc::error::RpcError;
use ams_rpc::openrpc::ADMIN_EXAMPLES;
use ams_rpc::service::{Service, ServiceBuilder, TableMismatch};
use ams_rpc::types::{Done, NoParams};

use super::backup::BackupError;
use super::{AdminError, Administration};
use crate::accounts::{AccountsError, Unwilling};

/// The service.
///
/// # Errors
/// [`TableMismatch`] if a method has no handler.
pub(crate) fn build(administration: &Arc<Administration>) -> Result<Service, TableMismatch> {
    // Every handler owns the administration.
    let own = || Arc::clone(administration);
    let (create, list, revoke) = (own(), own(), own());
    let (users, disable, enable, remove, reset) = (own(), own(), own(), own(), own());
    let (status, address, backup) = (own(), own(), own());
    ServiceBuilder::new("ams-relay", env!("CARGO_PKG_VERSION"), ADMIN_METHODS)
        .examples(ADMIN_EXAMPLES)
        .register::<invite::Create, _, _>(move |_, params: InviteCreateParams| {
            let own = Arc::clone(&create);
            async move {
                let life = params.expires.map(|period| period.0);
                own.invite(&params.name, life, false).await.map_err(rpc_error)
            }
        })
        .register::<invite::List, _, _>(move |_, NoParams {}| {
            let own = Arc::clone(&list);
            async move { own.invites().await.map_err(|error| storage(&error)) }
        })
        .register::<invite::Revoke, _, _>(move |_, params: NameParams| {
            let own = Arc::clone(&revoke);
            async move { done(own.revoke(&params.name).await) }
        })
        .register::<user::List, _, _>(move |_, NoParams {}| {
            let own = Arc::clone(&users);
            async move { own.users().await.map_err(|error| storage(&error)) }
        })
        .register::<user::Disable, _, _>(move |_, params: NameParams| {
            let own = Arc::clone(&disable);
            async move { done(own.set_disabled(&params.name, true).await) }
        })
        .register::<user::Enable, _, _>(move |_, params: NameParams| {
            let own = Arc::clone(&enable);
            async move { done(own.set_disabled(&params.name, false).await) }
        })
        .register::<user::Remove, _, _>(move |_, params: NameParams| {
            let own = Arc::clone(&remove);
            async move { done(own.remove(&params.name).await) }
        })
        .register::<user::Reset, _, _>(move |_, params: NameParams| {
            let own = Arc::clone(&reset);
            async move { own.invite(&params.name, None, true).await.map_err(rpc_error) }
        })
        .register::<relay::Status, _, _>(move |_, NoParams {}| {
            let own = Arc::clone(&status);
            async move { own.status().await.map_err(|error| storage(&error)) }
        })
        .register::<relay::Address, _, _>(move |_, NoParams {}| {
            let own = Arc::clone(&address);
            async move { Ok(own.address()) }
        })
        .register::<relay::Backup, _, _>(move |_, params: RelayBackupParams| {
            let own = Arc::clone(&backup);
            async move {
                let file = PathBuf::from(params.file);
                if !file.is_absolute() {
                    return Err(RpcError::invalid_params("file must be an absolute path"));
                }
                own.backup(&file).await.map_err(backup_error)
            }
        })
        .build()
}

fn done(result: Result<(), AdminError>) -> Result<Done, RpcError> {
    result.map(|()| Done {}).map_err(rpc_error)
}

/// An error as it crosses the socket, and as the command prints it without one.
pub(crate) fn rpc_error(error: AdminError) -> RpcError {
    let text = error.to_string();
    match error {
        AdminError::Name(_) => RpcError::bad_name(text).with_hint("choose another name"),
        AdminError::Expired => {
            RpcError::bad_value(text).with_hint("write for example --expires 12h or --expires 7d")
        }
        AdminError::Closed => RpcError::not_allowed(text)
            .with_hint("set registration = \"invite\" in relay.toml and start the relay again"),
        AdminError::Unwilling(Unwilling::Accounts(error)) => storage(&error),
        AdminError::Unwilling(Unwilling::Exists(name)) => RpcError::name_taken(text)
            .with_hint(format!("ams-relay user reset {name} gives it a new password")),
        AdminError::Unwilling(Unwilling::Retired(_)) => {
            RpcError::name_taken(text).with_hint("choose another name")
        }
        AdminError::Unwilling(Unwilling::NoUser(_)) => RpcError::no_such_user(text),
        AdminError::Unwilling(Unwilling::NoInvite(_)) => RpcError::no_such_invite(text),
        AdminError::Unwilling(Unwilling::TooMany(_)) => {
            RpcError::not_allowed(text).with_hint("raise `accounts` under [limits] in relay.toml")
        }
        AdminError::Unwilling(Unwilling::FileExists(_)) => {
            RpcError::invalid_params(text).with_hint("name a file that is not there yet")
        }
    }
}

pub(crate) fn backup_error(error: BackupError) -> RpcError {
    let text = error.to_string();
    match error {
        BackupError::Accounts(Unwilling::Accounts(error)) => storage(&error),
        BackupError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            RpcError::storage_full(text)
        }
        BackupError::Memory | BackupError::Io { .. } | BackupError::Accounts(_) => {
            RpcError::invalid_params(text).with_hint("name a new file in a folder that is writable")
        }
    }
}

pub(crate) fn storage(error: &AccountsError) -> RpcError {
    let text = error.to_string();
    match error {
        AccountsError::Full => RpcError::storage_full(text),
        AccountsError::Failed(_) => RpcError::storage(text),
    }
    .with_hint("look into the relay's log, and at the disk of the data folder")
}
