//! Where everything of a profile is.
//!
//! With a home folder (`--home`, else `AMS_HOME`) all of it lies in there; without one, where the
//! XDG base directories say.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The places of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The home folder, where one was named; otherwise everything is where XDG says.
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

/// The name of the socket's file.
const SOCKET: &str = "amsd.sock";

/// No place can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither HOME nor AMS_HOME is set; say where with --home DIR")]
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
        if let Some(home) = flag.map(Path::to_owned).or_else(|| set("AMS_HOME")) {
            return Ok(Self::in_home(&home));
        }
        // The specification says that a relative path there is to be ignored.
        let xdg = |name: &str| set(name).filter(|path| path.is_absolute());
        let home = set("HOME");
        let base = |name: &str, below_home: &str| {
            xdg(name).or_else(|| home.as_ref().map(|home| home.join(below_home))).ok_or(NoHome)
        };
        let runtime = match xdg("XDG_RUNTIME_DIR") {
            Some(runtime) => runtime.join("ams"),
            None => temp().join(format!("ams-{}", user())),
        };
        Ok(Self {
            home: None,
            config: base("XDG_CONFIG_HOME", ".config")?.join("ams").join("config.toml"),
            data: base("XDG_DATA_HOME", ".local/share")?.join("ams"),
            socket: runtime.join(SOCKET),
            runtime,
        })
    }

    /// Everything in one folder.
    #[must_use]
    pub fn in_home(home: &Path) -> Self {
        Self {
            home: Some(home.to_owned()),
            config: home.join("config.toml"),
            data: home.join("data"),
            runtime: home.to_owned(),
            socket: home.join(SOCKET),
        }
    }
}

#[cfg(unix)]
fn user() -> String {
    rustix::process::geteuid().as_raw().to_string()
}

#[cfg(not(unix))]
fn user() -> String {
    env::var("USERNAME").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(flag: Option<&str>, variables: &[(&str, &str)]) -> Result<Places, NoHome> {
        let lookup = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        Places::from_environment(flag.map(Path::new), lookup, || PathBuf::from("/tmp"))
    }

    #[test]
    fn the_flag_wins_over_ams_home_and_that_over_xdg() {
        let variables = [("AMS_HOME", "/a"), ("HOME", "/home/u"), ("XDG_RUNTIME_DIR", "/run/u")];
        assert_eq!(find(Some("/f"), &variables).unwrap().socket, Path::new("/f/amsd.sock"));
        let places = find(None, &variables).unwrap();
        assert_eq!(places.config, Path::new("/a/config.toml"));
        assert_eq!(places.data, Path::new("/a/data"));
        assert_eq!(places.runtime, Path::new("/a"));
        let places = find(None, &variables[1..]).unwrap();
        assert_eq!(places.config, Path::new("/home/u/.config/ams/config.toml"));
        assert_eq!(places.data, Path::new("/home/u/.local/share/ams"));
        assert_eq!(places.socket, Path::new("/run/u/ams/amsd.sock"));
        assert_eq!(places.home, None);
    }

    #[test]
    fn xdg_folders_and_what_stands_in_for_them() {
        let variables = [
            ("HOME", "/h"),
            ("XDG_CONFIG_HOME", "/c"),
            ("XDG_DATA_HOME", "relative"),
            ("XDG_RUNTIME_DIR", ""),
        ];
        let places = find(None, &variables).unwrap();
        assert_eq!(places.config, Path::new("/c/ams/config.toml"));
        assert_eq!(places.data, Path::new("/h/.local/share/ams"), "a relative one is ignored");
        assert_eq!(places.runtime, PathBuf::from(format!("/tmp/ams-{}", user())));
        assert_eq!(find(None, &[]), Err(NoHome));
    }
}
