//! The checks of the system on Windows.

use std::path::Path;

use super::{Finding, Space, space};
use crate::windows::{FolderError, check_private_dir, free};

/// A folder that is one, and no link. Whom its rights let in is not looked at.
#[must_use]
pub fn folder(path: &Path, _alone: bool) -> Finding {
    let shown = path.display().to_string();
    match check_private_dir(path) {
        Ok(()) => {
            let said = "a folder, and no link; its rights are not looked at";
            Finding::ok("permissions", said).about(shown)
        }
        Err(error) => {
            let fix = match &error {
                FolderError::Io { .. } => "look at its rights: icacls",
                _ => "put a folder of your own there, or name another one",
            };
            Finding::wrong("permissions", error.to_string(), fix).about(shown)
        }
    }
}

/// A config file: whom its rights let in is not looked at.
#[must_use]
pub fn config(_path: &Path) -> Option<Finding> {
    None
}

/// A pipe that was connected to: whose it is was looked at then.
#[must_use]
pub fn socket(path: &Path) -> Finding {
    Finding::ok("socket", "served by you").about(path.display().to_string())
}

/// What is free where `path` is.
#[must_use]
pub fn disk(path: &Path) -> Finding {
    let shown = path.display().to_string();
    match free(path) {
        Ok(free) => space(Space { free, files: None }).about(shown),
        Err(error) => {
            let fix = "look whether the disk is there";
            Finding::wrong("disk", format!("cannot be asked: {error}"), fix).about(shown)
        }
    }
}

/// How many files a process may have open.
#[must_use]
pub fn files(_pid: Option<u32>, needed: u64) -> Finding {
    Finding::ok("files", format!("{needed} may be needed; the system sets no limit"))
}
