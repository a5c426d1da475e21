//! Administration, over the socket of the relay that runs or on the folder itself.

use std::path::{Path, PathBuf};

use ams_rpc::admin::{InviteCreateParams, NameParams, RelayBackupParams};
use ams_rpc::admin::{invite, relay, user};
use ams_rpc::client::{CallError, Client};
use ams_rpc::error::{Exit, RpcError};
use ams_rpc::methods::Method;
use ams_rpc::types::{Done, NoParams, Period};

use super::args::{Args, Command, Invite, User};
use super::{Failed, show};
use crate::admin::{AdminError, Administration, service};
use crate::data::{Data, SOCKET};

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let mut at = Office::open(args)?;
    match &args.command {
        Command::Serve(_) | Command::Doctor { .. } => {}
        Command::Invite(Invite::Create { name, expires }) => {
            let params = InviteCreateParams { name: name.clone(), expires: Some(Period(*expires)) };
            let made = at.call::<invite::Create>(&params, async |own, params| {
                let life = params.expires.map(|period| period.0);
                own.invite(&params.name, life, false).await.map_err(service::rpc_error)
            })?;
            show::invite(&made);
        }
        Command::Invite(Invite::List { json }) => {
            let list = at.call::<invite::List>(&NoParams {}, async |own, _| {
                own.invites().await.map_err(|error| service::storage(&error))
            })?;
            if *json { show::json(&list)? } else { show::invites(&list) }
        }
        Command::Invite(Invite::Revoke { name }) => {
            at.named::<invite::Revoke>(name, async |own, name| own.revoke(name).await)?;
        }
        Command::User(User::List { json }) => {
            let list = at.call::<user::List>(&NoParams {}, async |own, _| {
                own.users().await.map_err(|error| service::storage(&error))
            })?;
            if *json { show::json(&list)? } else { show::users(&list) }
        }
        Command::User(User::Disable { name }) => {
            at.named::<user::Disable>(name, async |own, name| own.set_disabled(name, true).await)?;
        }
        Command::User(User::Enable { name }) => {
            at.named::<user::Enable>(name, async |own, name| own.set_disabled(name, false).await)?;
        }
        Command::User(User::Remove { name }) => {
            at.named::<user::Remove>(name, async |own, name| own.remove(name).await)?;
        }
        Command::User(User::Reset { name }) => {
            let params = NameParams { name: name.clone() };
            let made = at.call::<user::Reset>(&params, async |own, params| {
                own.invite(&params.name, None, true).await.map_err(service::rpc_error)
            })?;
            show::invite(&made);
        }
        Command::Address => {
            let address =
                at.call::<relay::Address>(&NoParams {}, async |own, _| Ok(own.address()))?;
            show::line(&address.address);
        }
        Command::Backup { file } => {
            let params = RelayBackupParams { file: absolute(file)?.display().to_string() };
            let done = at.call::<relay::Backup>(&params, async |own, params| {
                own.backup(Path::new(&params.file)).await.map_err(service::backup_error)
            })?;
            show::backup(&done);
        }
        Command::Status { json } => {
            let status = at.call::<relay::Status>(&NoParams {}, async |own, _| {
                own.status().await.map_err(|error| service::storage(&error))
            })?;
            if *json { show::json(&status)? } else { show::status(&status) }
        }
    }
    Ok(())
}

/// Where administration is done.
enum Office {
    /// At the relay that runs.
    Running(Client),
    /// On the folder itself.
    Folder(Box<Administration>, tokio::runtime::Runtime),
}

impl Office {
    fn open(args: &Args) -> Result<Self, Failed> {
        let folder = args.data();
        match Client::connect(&folder.join(SOCKET)) {
            Ok(client) => return Ok(Self::Running(client)),
            Err(CallError::NotRunning { .. }) => {}
            Err(error) => return Err(called(&error)),
        }
        let config = args.config().map_err(|error| Failed::new(Exit::Usage, error))?;
        let failed = |error: crate::data::DataError| Failed::new(Exit::Failed, error);
        let data = Data::claim_existing(&folder).map_err(failed)?;
        let administration = Administration::offline(data, config).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| Failed::new(Exit::Failed, error))?;
        Ok(Self::Folder(Box::new(administration), runtime))
    }

    /// Calls `M`, or does what its handler does.
    fn call<M: Method>(
        &mut self,
        params: &M::Params,
        own: impl AsyncFnOnce(&Administration, &M::Params) -> Result<M::Result, RpcError>,
    ) -> Result<M::Result, Failed> {
        match self {
            Self::Running(client) => client.call::<M>(params).map_err(|error| called(&error)),
            Self::Folder(administration, runtime) => {
                Ok(runtime.block_on(own(administration, params))?)
            }
        }
    }

    fn named<M: Method<Params = NameParams, Result = Done>>(
        &mut self,
        name: &str,
        own: impl AsyncFnOnce(&Administration, &str) -> Result<(), AdminError>,
    ) -> Result<(), Failed> {
        let params = NameParams { name: name.to_owned() };
        self.call::<M>(&params, async |administration, params| {
            own(administration, &params.name).await.map_err(service::rpc_error)?;
            Ok(Done {})
        })?;
        Ok(())
    }
}

fn called(error: &CallError) -> Failed {
    let hint = match error {
        CallError::Failed(failure) => failure.data.as_ref().map(|data| data.hint.clone()),
        _ => None,
    };
    Failed { exit: error.exit(), message: error.to_string(), hint }
}

/// The relay has another working directory.
fn absolute(file: &Path) -> Result<PathBuf, Failed> {
    std::path::absolute(file).map_err(|error| Failed::new(Exit::Usage, error))
}
