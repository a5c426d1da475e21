//! The checks of the system on Unix.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::statvfs;
use rustix::process::{Resource, geteuid, getrlimit};

use super::{Finding, Space, space};
use crate::unix::{FolderError, check_private_dir};

/// A folder that nobody else may write to, and where `alone`, not even read.
#[must_use]
pub fn folder(path: &Path, alone: bool) -> Finding {
    let shown = path.display().to_string();
    let root = geteuid().is_root();
    // systemd shows root a link to the folder of a user that it made.
    let real = if root { fs::canonicalize(path).ok() } else { None };
    let path = real.as_deref().unwrap_or(path);
    let found = match check_private_dir(path) {
        // Root looks at what others have.
        Err(FolderError::NotOurs { .. }) if root => loose(path, alone),
        Err(error) => {
            let fix = match &error {
                FolderError::Loose { .. } => format!("chmod go-w '{shown}'"),
                FolderError::NotOurs { owner, .. } => {
                    format!("run this as that user (number {owner}), or chown -R it to yours")
                }
                _ => "put a folder of your own there, or name another one".to_owned(),
            };
            return Finding::wrong("permissions", error.to_string(), fix).about(shown);
        }
        Ok(()) => loose(path, alone),
    };
    match found {
        None => Finding::ok("permissions", whose(path)).about(shown),
        Some(loose) => {
            Finding::wrong("permissions", format!("{loose} can be read by others"), private(path))
                .about(shown)
        }
    }
}

/// How far a folder is its user's. What is private in one that others see has rights of its own.
fn whose(path: &Path) -> &'static str {
    let mode = fs::metadata(path).map_or(0, |found| found.mode());
    match (mode & 0o044, mode & 0o011) {
        (0, 0) => "yours alone",
        (0, _) => "only you can change it; others can pass through it",
        _ => "only you can change it; others can see the names in it",
    }
}

fn private(path: &Path) -> String {
    format!("chmod -R go-rwx '{}'", path.display())
}

/// The first thing in there that others may read.
fn loose(path: &Path, alone: bool) -> Option<String> {
    if !alone {
        return None;
    }
    let open = |path: &Path| {
        fs::symlink_metadata(path).is_ok_and(|found| {
            // The mode of a link says nothing.
            !found.file_type().is_symlink() && found.mode() & 0o077 != 0
        })
    };
    if open(path) {
        return Some("it".to_owned());
    }
    let entries = fs::read_dir(path).ok()?.filter_map(Result::ok);
    let mut loose: Vec<_> = entries.map(|entry| entry.path()).filter(|path| open(path)).collect();
    loose.sort();
    Some(loose.first()?.file_name()?.to_string_lossy().into_owned())
}

/// The config file, if there is one: nobody else may write what the daemon does.
#[must_use]
pub fn config(path: &Path) -> Option<Finding> {
    let found = fs::metadata(path).ok()?;
    let shown = path.display().to_string();
    Some(if found.mode() & 0o022 != 0 {
        let fix = format!("chmod go-w '{shown}'");
        Finding::wrong("permissions", "others can write it", fix).about(shown)
    } else {
        Finding::ok("permissions", "yours to change").about(shown)
    })
}

/// A socket that is there and only its owner's.
#[must_use]
pub fn socket(path: &Path) -> Finding {
    let shown = path.display().to_string();
    let found = match fs::symlink_metadata(path) {
        Err(error) => {
            let fix = "start the program that makes it";
            return Finding::wrong("socket", error.to_string(), fix).about(shown);
        }
        Ok(found) => found,
    };
    let wrong =
        |what: String, fix: String| Finding::wrong("socket", what, fix).about(shown.clone());
    if !found.file_type().is_socket() {
        return wrong("not a socket".to_owned(), format!("mv '{shown}' '{shown}.old'"));
    }
    if found.uid() != geteuid().as_raw() && !geteuid().is_root() {
        let fix = "use the socket of your own profile: check --home and AMS_HOME".to_owned();
        return wrong(format!("belongs to user {}", found.uid()), fix);
    }
    // Elsewhere the mode of a socket means nothing, and its folder keeps others out.
    if cfg!(target_os = "linux") && found.mode() & 0o077 != 0 {
        let what = format!("others may use it: its mode is {:o}", found.mode() & 0o777);
        return wrong(what, format!("chmod 600 '{shown}'"));
    }
    Finding::ok("socket", "yours alone").about(shown)
}

/// What is free where `path` is.
#[must_use]
pub fn disk(path: &Path) -> Finding {
    let shown = path.display().to_string();
    match statvfs(path) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let files = (found.f_files > 0).then_some(found.f_favail);
            space(Space { free, files }).about(shown)
        }
        Err(error) => {
            let fix = "look whether the disk is there and mounted";
            Finding::wrong("disk", format!("cannot be asked: {error}"), fix).about(shown)
        }
    }
}

/// How many files a process may have open, against how many it needs: of the process `pid` where
/// the system shows that, else of this one.
#[must_use]
pub fn files(pid: Option<u32>, needed: u64) -> Finding {
    let shown = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/limits")).ok());
    let limit = shown.as_deref().and_then(open_files);
    // Without a number there is no limit.
    let limit = limit.unwrap_or_else(|| getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX));
    let said = format!("{limit} may be open, {needed} may be needed");
    if limit < needed {
        let fix = format!(
            "raise it: ulimit -n {needed} before the start, or LimitNOFILE={needed} in the unit"
        );
        return Finding::wrong("files", said, fix);
    }
    Finding::ok("files", said)
}

/// The limit that holds, from the system's table.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::super::State;
    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_that_others_use_is_found() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("data");
        assert_eq!(folder(&path, true).state, State::Wrong);
        fs::create_dir(&path).unwrap();
        chmod(&path, 0o700);
        assert_eq!(folder(&path, true).state, State::Ok);
        assert_eq!(folder(&path, false).finding, "yours alone");
        chmod(&path, 0o711);
        assert!(folder(&path, false).finding.ends_with("pass through it"));
        chmod(&path, 0o755);
        assert_eq!(folder(&path, false).state, State::Ok);
        assert!(folder(&path, false).finding.ends_with("see the names in it"));
        let found = folder(&path, true);
        assert_eq!(found.state, State::Wrong);
        assert!(found.fix.unwrap().starts_with("chmod -R go-rwx"));
        chmod(&path, 0o770);
        assert!(folder(&path, false).fix.unwrap().starts_with("chmod go-w"));
        chmod(&path, 0o700);
        let key = path.join("data.key");
        fs::write(&key, "").unwrap();
        chmod(&key, 0o640);
        assert!(folder(&path, true).finding.starts_with("data.key can be read"));
        chmod(&key, 0o600);
        assert_eq!(folder(&path, true).state, State::Ok);
        let link = base.path().join("link");
        symlink(&path, &link).unwrap();
        let found = folder(&link, true);
        // Only to root does it not matter.
        assert_eq!(found.state == State::Ok, geteuid().is_root(), "{found:?}");
    }

    #[test]
    fn a_socket_that_others_may_use_is_found() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("s");
        assert_eq!(socket(&path).state, State::Wrong);
        let listener = UnixListener::bind(&path).unwrap();
        chmod(&path, 0o600);
        assert_eq!(socket(&path).state, State::Ok);
        chmod(&path, 0o666);
        assert!(socket(&path).fix.unwrap().starts_with("chmod 600"));
        drop(listener);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(socket(&path).finding, "not a socket");
    }

    #[test]
    fn a_limit_of_files_is_read_as_the_system_shows_it() {
        let table = "Limit                     Soft Limit           Hard Limit           Units     \n\
                     Max open files            1024                 4096                 files     \n";
        assert_eq!(open_files(table), Some(1024));
        assert_eq!(open_files(&table.replace("1024", "unlimited")), Some(u64::MAX));
        assert_eq!(open_files(""), None);
        assert_eq!(files(None, u64::MAX).state, State::Wrong);
        assert_eq!(files(None, 1).state, State::Ok);
    }
}
