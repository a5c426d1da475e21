//! The daemon's methods: one file per noun, one function per method.
//!
//! A call is checked, done as one transaction or one look at a snapshot, and answered after the
//! commit. What waits is woken by [`crate::dispatch`] and looks again.

mod contact;
mod daemon;
mod error;
mod events;
mod history;
mod holds;
mod hook;
mod identity;
mod inbox;
mod message;
mod page;
mod peer;
mod profile;
mod question;
mod queue;
mod relay;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use ams_rpc::methods as m;
use ams_rpc::service::TableMismatch;
use ams_rpc::types::{NoParams, Time};
use ams_rpc::{CallContext, METHODS, RpcError, Service, ServiceBuilder, openrpc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::contacts::ContactId;
use crate::dispatch::Dispatch;
use crate::hooks::HooksHandle;
use crate::live::Live;
use crate::outside::Outside;
use crate::peer::{Meeter, PeersHandle};
use crate::profile::Me;
use crate::relay::Accounts;
use crate::router::RouterHandle;
use crate::scoped::Sockets;
use crate::settings::Settings;
use crate::store::{Read, Store};
use holds::Holds;

/// What the methods work on.
pub struct Core {
    /// The disk.
    pub store: Store,
    /// Whose profile it is.
    pub me: Me,
    /// What is told on.
    pub dispatch: Dispatch,
    /// Links and presence, as they are now.
    pub live: Live,
    /// Accounts at relays.
    pub accounts: Accounts,
    /// Programs that are run for what happens.
    pub hooks: HooksHandle,
    /// Direct links.
    pub peers: PeersHandle,
    /// Asks contacts for a sign of life.
    pub router: RouterHandle,
    /// Looks at who answers at an address.
    pub meeter: Meeter,
    /// Time, chance, network and programs.
    pub outside: Outside,
    /// What the user chose, as it is now.
    pub settings: watch::Sender<Settings>,
    /// What is wrong with the config that was read last, where the one before it stays.
    pub config_mistake: watch::Receiver<Option<String>>,
    /// What is to be said of the sockets of the config.
    pub sockets: watch::Receiver<Sockets>,
    /// What of the config waits for the next start.
    pub restart: watch::Receiver<Option<String>>,
    /// The folder that the user knows the profile by.
    pub home: PathBuf,
    /// When the daemon started.
    pub started: Time,
    /// Cancelled by `daemon.stop`.
    pub stop: CancellationToken,
}

/// What every handler gets.
struct Shared {
    core: Core,
    holds: Holds,
}

impl std::ops::Deref for Shared {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

type App = Arc<Shared>;

/// The methods of the table, with their handlers.
///
/// # Errors
/// [`TableMismatch`] where a method of the table has none.
pub fn service(core: Core) -> Result<Service, TableMismatch> {
    let app = Arc::new(Shared { core, holds: Holds::default() });
    let mut builder =
        ServiceBuilder::new("amsd", env!("CARGO_PKG_VERSION"), METHODS).examples(openrpc::EXAMPLES);
    macro_rules! serve {
        ($($method:path => $handler:path;)+) => {$(
            builder = builder.register::<$method, _, _>({
                let app = Arc::clone(&app);
                move |caller: CallContext, params| $handler(Arc::clone(&app), caller, params)
            });
        )+};
    }
    macro_rules! serve_plain {
        ($($method:path => $handler:path;)+) => {$(
            builder = builder.register::<$method, _, _>({
                let app = Arc::clone(&app);
                move |_: CallContext, _: NoParams| $handler(Arc::clone(&app))
            });
        )+};
    }
    serve_plain! {
        m::daemon::Status => daemon::status;
        m::daemon::Stop => daemon::stop;
        m::identity::Show => identity::show;
        m::inbox::Readers => inbox::readers;
        m::hook::List => hook::list;
        m::relay::List => relay::list;
        m::peer::List => peer::list;
        m::contact::Requests => contact::requests;
        m::contact::List => contact::list;
    }
    serve! {
        m::presence::Set => identity::set_presence;
        m::profile::Backup => profile::backup;
        m::profile::Restore => profile::restore;
        m::message::Send => message::send;
        m::message::Ask => question::ask;
        m::message::Answer => question::answer;
        m::message::Check => message::check;
        m::message::Show => message::show;
        m::message::Wait => message::wait;
        m::message::Delete => message::delete;
        m::inbox::Next => inbox::next;
        m::inbox::Ack => inbox::ack;
        m::inbox::Forget => inbox::forget;
        m::history::List => history::list;
        m::history::Clear => history::clear;
        m::queue::List => queue::list;
        m::queue::Keep => queue::keep;
        m::queue::Discard => queue::discard;
        m::queue::Retry => queue::retry;
        m::hook::Test => hook::test;
        m::hook::Replay => hook::replay;
        m::relay::Join => relay::join;
        m::relay::Login => relay::login;
        m::relay::Connect => relay::connect;
        m::relay::Disconnect => relay::disconnect;
        m::relay::Leave => relay::leave;
        m::relay::Password => relay::password_of;
        m::relay::Resume => relay::resume;
        m::peer::Connect => peer::connect;
        m::peer::Disconnect => peer::disconnect;
        m::contact::Add => contact::add;
        m::contact::Accept => contact::accept;
        m::contact::Reject => contact::reject;
        m::contact::Block => contact::block;
        m::contact::Unblock => contact::unblock;
        m::contact::Show => contact::show;
        m::contact::Wait => contact::wait;
        m::contact::Ping => contact::ping;
        m::contact::Rename => contact::rename;
        m::contact::Remove => contact::remove;
        m::contact::Verify => contact::verify;
        m::contact::Trust => contact::trust;
        m::contact::Link => contact::make_link;
    }
    builder
        .register_subscription::<m::events::Subscribe, _, _>(move |caller, params, pending| {
            events::subscribe(Arc::clone(&app), caller, params, pending)
        })
        .build()
}

/// The contact of that name.
fn contact_called(db: &impl Read, name: &str) -> Result<ContactId, RpcError> {
    error::contact_called(db, name).map(|(id, _)| id)
}
