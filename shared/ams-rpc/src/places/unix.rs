//! The places of a profile where no home folder is named, and of its socket, on Unix.

use std::path::{Path, PathBuf};

use super::{NoHome, Places};

/// What must be set.
pub(super) const NEEDED: &str = "HOME";
/// The name of the socket's file.
const SOCKET: &str = "amsd.sock";

pub(super) fn socket_of(home: &Path) -> PathBuf {
    home.join(SOCKET)
}

/// Where the XDG base directories say.
pub(super) fn usual(
    set: impl Fn(&str) -> Option<PathBuf>,
    temp: impl Fn() -> PathBuf,
) -> Result<Places, NoHome> {
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
    Ok(Places {
        home: None,
        config: base("XDG_CONFIG_HOME", ".config")?.join("ams").join("config.toml"),
        data: base("XDG_DATA_HOME", ".local/share")?.join("ams"),
        socket: runtime.join(SOCKET),
        runtime,
    })
}

fn user() -> String {
    rustix::process::geteuid().as_raw().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(variables: &[(&str, &str)]) -> Result<Places, NoHome> {
        let set = |name: &str| {
            let found = variables.iter().find(|(key, value)| *key == name && !value.is_empty());
            found.map(|(_, value)| PathBuf::from(value))
        };
        usual(set, || PathBuf::from("/tmp"))
    }

    #[test]
    fn xdg_folders() {
        let places = find(&[("HOME", "/home/u"), ("XDG_RUNTIME_DIR", "/run/u")]).unwrap();
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
        let places = find(&variables).unwrap();
        assert_eq!(places.config, Path::new("/c/ams/config.toml"));
        assert_eq!(places.data, Path::new("/h/.local/share/ams"), "a relative one is ignored");
        assert_eq!(places.runtime, PathBuf::from(format!("/tmp/ams-{}", user())));
        assert_eq!(find(&[]), Err(NoHome));
        assert_eq!(Places::in_home(Path::new("/f")).socket, Path::new("/f/amsd.sock"));
    }
}
