//! Where everything of a profile is.
//!
//! With a home folder (`--home`, else `AMS_HOME`) all of it lies in there; without one, where the
//! system has such things: the XDG base directories, or on Windows the folders of the user's
//! applications. A socket is a file in there, and on Windows a pipe, whose name is made of the user
//! and the home folder.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

/// The places of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The home folder, where one was named; otherwise everything is where the system has it.
    pub home: Option<PathBuf>,
    /// The config file, which need not be there.
    pub config: PathBuf,
    /// The folder of keys and database.
    pub data: PathBuf,
    /// The folder of the socket.
    pub runtime: PathBuf,
    /// The socket.
    pub socket: PathBuf,
}

/// No place can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither {} nor AMS_HOME is set; say where with --home DIR", platform::NEEDED)]
pub struct NoHome;

impl Places {
    /// The places of the profile that a program is started for: `flag` (`--home`) wins over the
    /// environment.
    ///
    /// # Errors
    /// [`NoHome`] where the environment says nothing at all.
    pub fn find(flag: Option<&Path>) -> Result<Self, NoHome> {
        Self::from_environment(flag, |name| env::var_os(name), env::temp_dir)
    }

    fn from_environment(
        flag: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
        temp: impl Fn() -> PathBuf,
    ) -> Result<Self, NoHome> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        match flag.map(Path::to_owned).or_else(|| set("AMS_HOME")) {
            Some(home) => Ok(Self::in_home(&home)),
            None => platform::usual(set, temp),
        }
    }

    /// Everything in one folder.
    #[must_use]
    pub fn in_home(home: &Path) -> Self {
        Self {
            home: Some(home.to_owned()),
            config: home.join("config.toml"),
            data: home.join("data"),
            runtime: home.to_owned(),
            socket: platform::socket_of(home),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_ams_home() {
        let find = |flag| {
            let lookup = |name: &str| (name == "AMS_HOME").then(|| OsString::from("a"));
            Places::from_environment(flag, lookup, PathBuf::new).unwrap()
        };
        let places = find(None);
        assert_eq!(places.config, Path::new("a").join("config.toml"));
        assert_eq!(places.data, Path::new("a").join("data"));
        assert_eq!(places.runtime, Path::new("a"));
        assert_eq!(find(Some(Path::new("f"))).data, Path::new("f").join("data"));
        assert_ne!(find(Some(Path::new("f"))).socket, places.socket);
    }

    #[test]
    fn without_anything_there_is_no_place() {
        let nothing = Places::from_environment(None, |_| None, PathBuf::new);
        assert_eq!(nothing, Err(NoHome));
    }
}
