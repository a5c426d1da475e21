//! `--start`: a daemon that is not there is started first.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ams_rpc::Exit;

use crate::failed::Failed;
use crate::text;

/// With this exit code `amsd` ends where another one has the profile already.
const RUNS_ALREADY: i32 = 3;
/// With this one where nobody could be asked for the passphrase of its key file.
pub(crate) const PASSPHRASE_NEEDED: i32 = 4;

/// How starting it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Started {
    /// Its socket answers.
    Ready,
    /// Another one has the profile: it may just be starting, too.
    Another,
}

/// Starts `amsd --daemon` for the profile in `home`, and returns when its socket answers.
///
/// # Errors
/// What it said, or that there is no such program.
pub(crate) fn start(home: Option<&Path>) -> Result<Started, Failed> {
    let program = program();
    let mut command = Command::new(&program);
    if let Some(home) = home {
        command.arg("--home").arg(home);
    }
    // Without stdin it asks for nothing, and what it says is told below.
    let ended = command
        .arg("--daemon")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| {
            Failed::new(Exit::NoDaemon, format!("cannot run {}: {error}", program.display()))
                .hint("install amsd beside amsctl, or where PATH leads")
        })?;
    match ended.status.code() {
        Some(0) => Ok(Started::Ready),
        Some(RUNS_ALREADY) => Ok(Started::Another),
        code => {
            let said = String::from_utf8_lossy(&ended.stderr);
            let why = said.trim().trim_start_matches("amsd: ");
            let amsd = typed(home);
            let hint = match code {
                Some(PASSPHRASE_NEEDED) => {
                    format!("start it yourself: {amsd} --daemon asks for the passphrase")
                }
                _ => format!("{amsd} --check looks at the profile and changes nothing"),
            };
            Err(Failed::new(Exit::NoDaemon, format!("amsd does not start: {why}")).hint(hint))
        }
    }
}

/// How its user calls it for the profile in `home`.
pub(crate) fn typed(home: Option<&Path>) -> String {
    match home {
        Some(home) => format!("amsd --home {}", text::for_shell(&home.display().to_string())),
        None => "amsd".to_owned(),
    }
}

/// The daemon that was installed with this program, or the one that PATH leads to.
pub(crate) fn program() -> PathBuf {
    let name = format!("amsd{}", env::consts::EXE_SUFFIX);
    let beside = env::current_exe().ok().and_then(|own| Some(own.parent()?.join(&name)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name))
}
