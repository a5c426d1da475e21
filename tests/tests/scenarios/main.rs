//! What people do, with the real code of relay and daemons over real sockets, within one process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

mod away;
mod backups;
mod contacts;
mod cuts;
mod direct;
mod links;
mod looking;
mod offers;
mod pings;
mod presence;
mod profiles;
mod proxies;
mod questions;
mod readers;
mod reasons;
mod relays;
mod talk;
mod trust;
mod waits;
mod wishes;

use std::fs;
use std::path::Path;

use ams_rpc::methods::relay;
use ams_rpc::types::{LinkState, RelayLoginParams, Secret};
use ams_tests::Net;
use ams_tests::person::{PASSWORD, Person};

/// Copies a folder, rights and all; sockets stay behind.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Enrols the daemon of `person` on the account `user`.
async fn take_over(net: &Net, person: &Person, user: &str) {
    let login = RelayLoginParams {
        link: net.home().address(&*person.line(net.home()).await).await,
        user: user.to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
        nick: Some("home".to_owned()),
        replace: Some(true),
    };
    person.call::<relay::Login>(login).await;
    person.link_is(net.home(), LinkState::Up).await;
}
