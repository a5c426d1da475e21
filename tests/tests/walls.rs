//! The house keeps its shape: what must not know something cannot reach it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ams_tests::programs::root;
use ams_tests::search::files;

/// Packages of the workspace, by name, with their folders.
const ROOMS: [(&str, &str); 8] = [
    ("ams-wire", "shared/ams-wire"),
    ("ams-crypto", "shared/ams-crypto"),
    ("ams-link", "shared/ams-link"),
    ("ams-rpc", "shared/ams-rpc"),
    ("amsd", "amsd"),
    ("amsctl", "amsctl"),
    ("ams-relay", "ams-relay"),
    ("ams-tests", "tests"),
];

/// Every crate that `package` is built with, tests apart.
fn reaches(package: &str) -> BTreeSet<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}", "--package", package])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[track_caller]
fn assert_walled(package: &str, forbidden: &[&str]) {
    let reached = reaches(package);
    assert!(reached.contains(package), "{reached:?}");
    for crate_name in forbidden {
        assert!(!reached.contains(*crate_name), "{package} reaches {crate_name}");
    }
}

#[test]
fn the_command_line_reaches_no_link_store_or_ratchet() {
    assert_walled(
        "amsctl",
        &[
            "snow",
            "redb",
            "vodozemac",
            "opaque-ke",
            "argon2",
            "ml-kem",
            "ed25519-dalek",
            "x25519-dalek",
            "chacha20",
            "tokio-rustls",
            "ams-crypto",
            "ams-link",
            "ams-wire",
            "amsd",
            "ams-relay",
        ],
    );
}

#[test]
fn bytes_and_cryptography_have_no_runtime() {
    for package in ["ams-wire", "ams-crypto"] {
        assert_walled(package, &["tokio", "futures-util", "mio", "redb", "ams-link", "ams-rpc"]);
    }
    assert_walled("ams-wire", &["snow", "vodozemac", "ring", "sha2", "ams-crypto"]);
}

#[test]
fn links_and_rpc_know_neither_store_nor_each_other() {
    assert_walled("ams-link", &["redb", "jsonrpsee-core", "interprocess", "ams-rpc"]);
    assert_walled("ams-rpc", &["redb", "vodozemac", "snow", "ams-crypto", "ams-link", "ams-wire"]);
}

#[test]
fn the_programs_know_nothing_of_each_other_and_no_tls() {
    assert_walled("amsd", &["ams-relay", "amsctl", "tokio-rustls", "rustls", "governor"]);
    assert_walled("ams-relay", &["amsd", "amsctl", "tokio-rustls", "rustls"]);
}

/// The control: what is there is seen.
#[test]
fn a_crate_that_is_reached_is_seen() {
    let reached = reaches("amsd");
    for crate_name in ["snow", "redb", "vodozemac", "tokio", "ams-wire"] {
        assert!(reached.contains(crate_name), "{crate_name}");
    }
}

#[test]
fn the_top_level_folders_are_these() {
    let mut folders = BTreeSet::new();
    for entry in fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            folders.insert(entry.file_name().into_string().unwrap());
        }
    }
    // What git and cargo make, and what git does not track.
    for beside in [".git", "target"] {
        folders.remove(beside);
    }
    let allowed = [".ci", "ams-relay", "amsctl", "amsd", "packaging", "shared", "systemd", "tests"];
    assert_eq!(folders, allowed.map(str::to_owned).into());
}

fn manifest(path: &Path) -> toml::Table {
    let text = fs::read_to_string(path).unwrap();
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn versions_stand_in_the_root_alone() {
    for (name, folder) in ROOMS {
        let manifest = manifest(&root().join(folder).join("Cargo.toml"));
        // Those of one kind of system, too.
        let targets = manifest.get("target").and_then(toml::Value::as_table);
        let targets = targets.into_iter().flat_map(toml::Table::values);
        for table in targets.filter_map(toml::Value::as_table).chain([&manifest]) {
            for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
                let Some(dependencies) = table.get(section).and_then(toml::Value::as_table) else {
                    continue;
                };
                for (crate_name, how) in dependencies {
                    let from_root =
                        how.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                    assert!(from_root, "{name}: {crate_name} does not come from the workspace");
                }
            }
        }
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        assert_eq!(lints.and_then(toml::Value::as_bool), Some(true), "{name} has its own lints");
        assert!(!manifest.contains_key("features"), "{name} has features");
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let workspace = manifest(&root().join("Cargo.toml"));
    let dependencies = workspace["workspace"]["dependencies"].as_table().unwrap();
    let reasons = fs::read_to_string(root().join("DECISIONS.md")).unwrap();
    let reasons = reasons.split_once("\n## Dependencies").unwrap().1;
    let named: BTreeSet<&str> = reasons
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | ").map(|(names, _)| names))
        .flat_map(|names| names.split([',', ' ', '(', ')']))
        .collect();
    for (name, how) in dependencies {
        if how.get("path").is_none() {
            let package = how.get("package").and_then(toml::Value::as_str).unwrap_or(name);
            let has = named.contains(package) || named.contains(name.as_str());
            assert!(has, "{name} has no line in DECISIONS.md");
        }
    }
}

/// The sources of the workspace, each with its path from the root.
fn sources() -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    for (_, folder) in ROOMS {
        for path in files(&root().join(folder)) {
            if path.extension().is_some_and(|extension| extension == "rs") {
                let short = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                sources.insert(short, fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(sources.len() > 100, "only {} sources were found", sources.len());
    sources
}

/// Whether a file is nothing but tests.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.contains("_tests/")
        || path.ends_with("tests.rs")
        || path.contains("/samples/")
}

/// What a file has before its tests.
fn without_tests(text: &str) -> &str {
    let tests = text.match_indices("\n#[cfg(test)]").find(|(at, _)| {
        // Over other attributes.
        let mut lines = text[at + 1..].lines().skip_while(|line| line.starts_with('#'));
        lines.next().is_some_and(|line| line.ends_with("mod tests {"))
    });
    tests.map_or(text, |(at, _)| &text[..at])
}

/// The lines of code, without comments and documentation.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn files_have_one_subject_and_an_end() {
    let mut too_long = Vec::new();
    for (path, text) in sources() {
        let lines = without_tests(&text).lines().count();
        let most = if path.ends_with("/main.rs") && !is_test(&path) { 60 } else { 500 };
        if lines > most && !is_test(&path) {
            too_long.push(format!("{path}: {lines} lines"));
        }
    }
    assert!(too_long.is_empty(), "{too_long:#?}");
}

#[test]
fn files_are_named_after_a_subject() {
    for path in sources().keys() {
        for word in ["manager", "helper", "util", "common", "misc"] {
            assert!(!path.contains(word), "{path}: `{word}` names no subject");
        }
    }
}

/// Every library opens with a map on which each of its modules is.
#[test]
fn libraries_open_with_their_map() {
    for (path, text) in sources() {
        if !path.ends_with("src/lib.rs") {
            continue;
        }
        let map: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let mut tests_only = false;
        for line in text.lines() {
            let words = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "));
            let module = words.and_then(|rest| rest.strip_suffix(';'));
            if let Some(module) = module.filter(|_| !tests_only) {
                let forms =
                    [format!("[`{module}`]"), format!("`{module}`"), format!("mod@{module}")];
                let is_there = forms.iter().any(|form| map.contains(form));
                assert!(is_there, "{path}: the map does not show `{module}`");
            }
            // An attribute counts for what comes next, over other attributes.
            tests_only = line == "#[cfg(test)]" || (tests_only && line.starts_with("#["));
        }
    }
}

/// The files that name something in their code, apart from those that may.
fn naming(needle: &str, may: impl Fn(&str) -> bool) -> Vec<String> {
    let names = |text: &str| code(without_tests(text)).any(|line| line.contains(needle));
    let found = sources().into_iter().filter(|(path, text)| !is_test(path) && names(text));
    found.map(|(path, _)| path).filter(|path| !may(path)).collect()
}

#[test]
fn the_database_stays_behind_the_store() {
    let in_store = |path: &str| path.contains("/store/");
    assert_eq!(naming("redb::", in_store), [""; 0]);
    assert!(!naming("redb::", |_| false).is_empty(), "nothing is found at all");
}

/// What is only there on one kind of system is in a file of that name.
#[test]
fn the_system_stays_in_its_files() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        let is_of_a_system = ["/unix.rs", "/windows.rs"].iter().any(|name| path.ends_with(name))
            || path.contains("/windows/");
        if is_test(&path) || is_of_a_system {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            let of = ["std::os::", "rustix::", "signal::unix", "signal::windows", "windows_sys::"];
            if of.iter().any(|of| line.contains(of)) {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// With a proxy nothing is dialled or looked up around it: there is one door.
#[test]
fn the_daemon_dials_in_one_place() {
    let dials =
        ["TcpStream::connect", "TcpSocket", "lookup_host", "ToSocketAddrs", "to_socket_addrs"];
    for needle in dials.into_iter().chain(["UdpSocket", "Socks5Stream"]) {
        let elsewhere =
            naming(needle, |path| !path.starts_with("amsd/") || path == "amsd/src/tcp.rs");
        assert_eq!(elsewhere, [""; 0], "{needle}");
    }
    let text = &sources()["amsd/src/tcp.rs"];
    assert!(text.contains("TcpStream::connect") && text.contains("lookup_host"), "the control");
}

/// Each file of a system has its twin: what is there on one is answered for on the other.
#[test]
fn systems_have_the_same_rooms() {
    let sources = sources();
    // The relay is not built for Windows, and there is no D-Bus.
    let alone = |path: &str| path.starts_with("ams-relay/") || path == "amsctl/src/desktop/unix.rs";
    let mut found = 0;
    for path in sources.keys().filter(|path| path.ends_with("/unix.rs") && !alone(path)) {
        let twin = path.replace("/unix.rs", "/windows.rs");
        assert!(sources.contains_key(&twin), "{path} has no {twin}");
        found += 1;
    }
    assert!(found > 5, "only {found} were found");
}

/// The one file that may call the system where no crate does.
const UNSAFE: &str = "shared/ams-rpc/src/windows/ffi.rs";

#[test]
fn unsafe_code_stands_in_one_file() {
    let sources = sources();
    let names = |text: &str| {
        let mut words = code(text).flat_map(|line| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned)
        });
        words.any(|word| word == "unsafe" || word == "unsafe_code")
    };
    let found: Vec<&String> =
        sources.iter().filter(|(_, text)| names(text)).map(|(path, _)| path).collect();
    // This one names it.
    assert_eq!(found, [UNSAFE, "tests/tests/walls.rs"]);

    // Each block says why it may be there.
    let text = &sources[UNSAFE];
    let blocks = code(text).filter(|line| line.contains("unsafe {")).count();
    let reasons = text.lines().filter(|line| line.trim_start().starts_with("// SAFETY: ")).count();
    assert_eq!(blocks, reasons);
    assert!(blocks > 5);
}

/// Whoever has not logged in reaches nothing of what is online or held.
#[test]
fn the_gate_cannot_reach_the_hub() {
    let sources = sources();
    let gate: Vec<_> =
        sources.iter().filter(|(path, _)| path.starts_with("ams-relay/src/gate/")).collect();
    assert!(gate.len() >= 2, "the gate is not where it is looked for");
    for (path, text) in gate {
        for line in code(text) {
            for room in ["hub", "conn", "admin"] {
                let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
                let names = words.into_iter().any(|word| word == room);
                let is_path =
                    names && (line.contains("::") || line.trim_start().starts_with("use "));
                assert!(!is_path, "{path} reaches {room}: {line}");
            }
        }
    }
}

/// Of the two kinds of links a daemon has, those to relays know nothing of the others.
#[test]
fn links_to_relays_know_nothing_of_direct_peers() {
    let sources = sources();
    let relay: Vec<_> =
        sources.iter().filter(|(path, _)| path.starts_with("amsd/src/relay/")).collect();
    assert!(relay.len() >= 10, "relays are not where they are looked for");
    for (path, text) in relay {
        for line in code(text) {
            assert!(!line.contains("crate::peer") && !line.contains("peer::"), "{path}: {line}");
        }
    }
}

#[test]
fn errors_of_any_kind_stay_in_main() {
    assert_eq!(naming("anyhow", |path| path.ends_with("/main.rs")), [""; 0]);
}

#[test]
fn nothing_is_left_for_later() {
    for needle in ["todo!(", "unimplemented!(", "TODO", "FIXME", "XXX"] {
        let found = naming(needle, |_| false);
        assert_eq!(found, [""; 0], "{needle}");
    }
}

/// The list of rooms above is the workspace.
#[test]
fn every_member_is_looked_at() {
    let workspace = manifest(&root().join("Cargo.toml"));
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<PathBuf> =
        members.iter().map(|member| PathBuf::from(member.as_str().unwrap())).collect();
    assert_eq!(members, ROOMS.iter().map(|(_, folder)| PathBuf::from(folder)).collect());
}
