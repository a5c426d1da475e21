//! The places of a profile where no home folder is named, and of its pipe, on Windows.

use std::path::{Path, PathBuf, absolute};

use super::{NoHome, Places};
use crate::windows::own_sid;

/// What must be set.
pub(super) const NEEDED: &str = "APPDATA and LOCALAPPDATA";
/// The profile part of the pipe's name where no home folder is named.
const USUAL: &str = "default";

/// `\\.\pipe\ams-<SID>-<profile>`: whose it is and which of his. The profile is a hash of the home
/// folder, since a folder's name cannot stand in a pipe's.
pub(super) fn socket_of(home: &Path) -> PathBuf {
    // One that is not the caller's is found out when it is connected to.
    let home = absolute(home).unwrap_or_else(|_| home.to_owned());
    pipe(&format!("{:016x}", hash(&home)))
}

/// In the folders of the user's applications: settings that may follow him to another machine, and
/// data that stays on this one.
pub(super) fn usual(
    set: impl Fn(&str) -> Option<PathBuf>,
    _temp: impl Fn() -> PathBuf,
) -> Result<Places, NoHome> {
    let base = |name: &str| set(name).filter(|path| path.is_absolute()).ok_or(NoHome);
    let data = base("LOCALAPPDATA")?.join("ams");
    Ok(Places {
        home: None,
        config: base("APPDATA")?.join("ams").join("config.toml"),
        runtime: data.clone(),
        data,
        socket: pipe(USUAL),
    })
}

fn pipe(profile: &str) -> PathBuf {
    PathBuf::from(format!(r"\\.\pipe\ams-{}-{profile}", own_sid().unwrap_or("unknown")))
}

/// FNV-1a over the folder as it is written, without what Windows does not tell apart: case, kinds
/// of slashes, and one at the end. Nothing hangs on its strength.
fn hash(home: &Path) -> u64 {
    let written = home.to_string_lossy().to_lowercase().replace('/', "\\");
    let written = written.trim_end_matches('\\').bytes();
    written.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_applications() {
        let set = |name: &str| match name {
            "APPDATA" => Some(PathBuf::from(r"C:\Users\u\AppData\Roaming")),
            "LOCALAPPDATA" => Some(PathBuf::from(r"C:\Users\u\AppData\Local")),
            _ => None,
        };
        let places = usual(set, PathBuf::new).unwrap();
        assert_eq!(places.config, Path::new(r"C:\Users\u\AppData\Roaming\ams\config.toml"));
        assert_eq!(places.data, Path::new(r"C:\Users\u\AppData\Local\ams"));
        let pipe = places.socket.to_str().unwrap();
        assert!(pipe.starts_with(r"\\.\pipe\ams-S-1-5-") && pipe.ends_with("-default"), "{pipe}");
        assert_eq!(
            usual(|name| set(name).filter(|_| name == "APPDATA"), PathBuf::new),
            Err(NoHome)
        );
    }

    #[test]
    fn a_home_has_one_pipe_however_it_is_written() {
        let one = socket_of(Path::new(r"C:\Users\u\ams"));
        assert_eq!(socket_of(Path::new(r"c:/users/U/ams\")), one);
        assert_ne!(socket_of(Path::new(r"C:\Users\u\ams2")), one);
        // As it was when it was first written down: amsd and amsctl may be of two versions.
        assert_eq!(hash(Path::new(r"c:\a")), 0x7f89_de91_ebb8_dc77);
    }
}
