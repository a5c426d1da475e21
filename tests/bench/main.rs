//! The figures of AMS, each beside a floor measured in the same run. Reports, never fails a gate.
//!
//! `cargo run --release -p ams-tests --bin bench -- [ROW...]`, after
//! `cargo build --release --workspace`.
//!
//! 1. [`process`]: the servers as processes of their own, what they use of the machine
//! 2. [`floor`]: the least that a server could do: a plain forwarder over TLS 1.3
//! 3. [`relay`] and [`client`]: a real relay, and clients that speak the real protocol
//! 4. [`load`]: the same load over either
//! 5. [`relay_rows`] and [`daemon_rows`]: the rows ([`daemon`]: people with real daemons)
//! 6. [`table`]: the report
#![allow(
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a program for developers that prints a report; what overflows is a wrong figure"
)]

mod client;
mod daemon;
mod daemon_rows;
mod floor;
mod load;
mod process;
mod relay;
mod relay_rows;
mod table;

use anyhow::{Result, bail};

use table::Table;

/// Argument by which this program runs again as the floor's server.
const FLOOR_SERVER: &str = "floor-server";

/// Every row, in the order of the report.
const ROWS: &[(&str, &str)] = &[
    ("flood", "relay CPU per message, 128 in flight per pair, 64 B and 1 KiB"),
    ("lone", "relay CPU per message, 1 in flight per pair, 64 B"),
    ("trip", "round trip over two relay hops"),
    ("burst", "senders that do not wait"),
    ("reconnect", "relay CPU per reconnect of an enrolled device"),
    ("start", "start to first login served"),
    ("memory", "memory per idle link, 10,000 links"),
    ("direct", "one message and throughput between two daemons without a relay"),
    ("send", "amsctl send, process start to exit"),
    ("throughput", "messages per second between two daemons, durable and receipted"),
    ("contacts", "the same to 50 contacts in turn, each a daemon of its own"),
    ("idle", "an idle daemon with 100 contacts"),
    ("stored", "start, lists, searches and memory with 100,000 stored messages (only if named)"),
];

fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == FLOOR_SERVER) {
        return floor::serve(arguments.get(1).map_or("", String::as_str).as_ref());
    }
    for name in &arguments {
        if !ROWS.iter().any(|(row, _)| row == name) {
            let rows: Vec<_> =
                ROWS.iter().map(|(row, what)| format!("  {row:<11} {what}")).collect();
            bail!("there is no row `{name}`; the rows are\n{}", rows.join("\n"));
        }
    }
    if arguments.is_empty() {
        arguments = ROWS.iter().map(|(row, _)| (*row).to_owned()).collect();
        arguments.retain(|row| row != "stored");
    }
    let wants = |row: &str| arguments.iter().any(|wanted| wanted == row);
    process::raise_open_files()?;
    let mut table = Table::default();
    let measured = relay_rows::measure(&mut table, wants)
        .and_then(|()| daemon_rows::measure(&mut table, wants));
    // What was measured before something failed is still worth reading.
    println!("{table}");
    measured
}
