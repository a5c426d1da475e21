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
mod contacts;
mod cuts;
mod presence;
mod profiles;
mod readers;
mod relays;
mod talk;
mod waits;
mod wishes;

use std::fs;
use std::path::Path;

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
