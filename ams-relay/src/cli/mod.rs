//! The command line. Administration asks the relay that runs on the data folder, and works on the
//! folder itself where none runs; what it prints is the same.

mod args;
mod ask;
mod doctor;
mod serve;
mod show;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as platform;

use std::process::ExitCode;

use clap::Parser;

pub use args::Args;
use args::Command;

/// Runs the command that was given.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help goes to stdout and is no failure.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let done = match &args.command {
        Command::Serve(serve) => serve::run(&args, serve).map(|()| 0),
        Command::Doctor { json } => doctor::run(&args, *json),
        _ => ask::run(&args).map(|()| 0),
    };
    match done {
        Ok(exit) => ExitCode::from(exit),
        Err(failed) => {
            failed.print();
            ExitCode::from(failed.exit)
        }
    }
}

/// A command that did not do what it should.
#[derive(Debug)]
struct Failed {
    exit: u8,
    message: String,
    hint: Option<String>,
}

impl Failed {
    fn new(exit: ams_rpc::error::Exit, error: impl std::fmt::Display) -> Self {
        Self { exit: exit.code(), message: error.to_string(), hint: None }
    }

    fn print(&self) {
        eprintln!("ams-relay: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("  {hint}");
        }
    }
}

impl From<ams_rpc::error::RpcError> for Failed {
    fn from(error: ams_rpc::error::RpcError) -> Self {
        let hint = Some(error.hint().to_owned());
        Self { exit: error.exit().code(), message: error.message, hint }
    }
}
