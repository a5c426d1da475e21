//! `amsctl`: see the library for what it does.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // One look at the environment where no shell asks.
    amsctl::complete::answer();
    // Parsing ends the program by itself where the usage is wrong (exit 2) or help was asked for.
    let cli = amsctl::Cli::parse();
    ExitCode::from(amsctl::run(cli))
}
