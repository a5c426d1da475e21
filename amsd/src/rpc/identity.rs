//! `identity.*` and `presence.*`: what others know this profile by.

use ams_rpc::types::{Identity, PresenceParams, Visibility};
use ams_rpc::{CallContext, RpcError};

use super::{App, peer};
use crate::profile;
use crate::relay::Relays;
use crate::store::Read;

pub(super) async fn show(app: App) -> Result<Identity, RpcError> {
    let fingerprint = app.me.public().fingerprint();
    let peer_links = peer::links(&app);
    app.store
        .read(move |db| {
            let relays = db.list::<Relays>(&())?;
            let accounts = relays
                .into_iter()
                .filter(|(_, row)| row.enrolled)
                .map(|(_, row)| format!("{}@{}", row.user, row.at));
            Ok(Identity { fingerprint, accounts: accounts.collect(), peer_links })
        })
        .await
}

pub(super) async fn set_presence(
    app: App,
    _: CallContext,
    params: PresenceParams,
) -> Result<PresenceParams, RpcError> {
    let visible = params.presence == Visibility::Visible;
    app.store.write(move |txn| profile::set_invisible(txn, !visible)).await?;
    app.settings.send_modify(|settings| settings.visible = visible);
    Ok(params)
}
