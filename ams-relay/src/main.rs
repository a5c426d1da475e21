//! The `ams-relay` program.

fn main() -> std::process::ExitCode {
    ams_relay::cli::main()
}
