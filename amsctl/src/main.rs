//! `amsctl`: see the library for what it does.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Parsing ends the program by itself where the usage is wrong (exit 2) or help was asked for.
    let cli = amsctl::Cli::parse();
    ExitCode::from(amsctl::run(cli))
}
