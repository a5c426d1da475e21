//! Where the three programs are, as cargo built them beside this test.
//!
//! `cargo test --workspace` builds them before any test runs. Where only this package is tested they
//! may be missing or older than their sources; then they are built here, once.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

const NAMES: [&str; 3] = ["amsd", "amsctl", "ams-relay"];

/// The path of a program.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let path = FOLDER.get_or_init(up_to_date).join(name);
    assert!(path.is_file(), "{} is not there", path.display());
    path
}

/// The folder of the programs, which are as new as their sources.
fn up_to_date() -> PathBuf {
    // target/PROFILE/deps/TEST
    let test = env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap().to_owned();
    if !NAMES.iter().all(|name| is_current(&folder, name)) {
        build(&folder);
    }
    folder
}

/// Beside each program cargo writes what it was made from.
fn is_current(folder: &Path, name: &str) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    let Some(built) = changed(&folder.join(name)) else { return false };
    let Ok(made_from) = fs::read_to_string(folder.join(name).with_extension("d")) else {
        return false;
    };
    let sources = made_from.split_once(": ").map_or("", |(_, sources)| sources.trim());
    // A space within a path has a backslash before it.
    let sources = sources.replace("\\ ", "\0");
    let mut sources = sources.split_ascii_whitespace().map(|path| path.replace('\0', " "));
    let older = |source: Option<SystemTime>| source.is_some_and(|source| source <= built);
    !made_from.is_empty() && sources.all(|source| older(changed(Path::new(&source))))
}

fn build(folder: &Path) {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "--offline", "--profile", profile, "--bins"]);
    command.args(NAMES.iter().flat_map(|name| ["--package", name]));
    command.arg("--target-dir").arg(folder.parent().unwrap());
    command.current_dir(root());
    let status = command.status().unwrap();
    assert!(status.success(), "the programs cannot be built: {status}");
}

/// The root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
