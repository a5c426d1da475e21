//! Hooks on Windows: there are none. What keeps a program on Unix that goes wild, and whoever could
//! have put another one in its place, has no counterpart here yet; so the config says no, and nothing
//! is run.

use std::path::{Path, PathBuf};

use super::{Programs, Ran, Run, Running};

/// Why a file is not run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// None is.
    #[error("amsd runs no programs on Windows; amsctl recv --follow --exec does")]
    NotHere,
}

/// Refuses every program.
///
/// # Errors
/// [`ProgramError`].
pub fn check_program(_path: &Path) -> Result<(), ProgramError> {
    Err(ProgramError::NotHere)
}

/// The system's own programs, of which none is run.
#[derive(Debug, Clone)]
pub struct System {
    /// Where they would be run.
    pub folder: PathBuf,
}

impl Programs for System {
    fn run(&self, _run: Run) -> Running {
        let outcome = Err(ProgramError::NotHere.to_string());
        Box::pin(std::future::ready(Ran { outcome, output: Vec::new() }))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn a_config_with_a_hook_or_another_socket_is_refused() {
        let refused = parse("[[hook]]\nrun = ['C:\\Windows\\notepad.exe']\n").unwrap_err();
        assert_eq!(refused.line, 2);
        assert!(refused.to_string().contains("runs no programs on Windows"), "{refused}");
        let socket = "[[socket]]\npath = '\\\\.\\pipe\\x'\nallow = ['send']\n";
        let refused = parse(socket).unwrap_err().to_string();
        assert!(refused.contains("serves no pipe beside its own"), "{refused}");
    }
}
