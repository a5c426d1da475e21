//! The example configs and the units say what the programs understand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ams_relay::config::{Config, Storage};
use ams_tests::programs::root;
use ams_tests::search::files;
use amsd::config::Config as Daemons;
use clap::Parser;

fn examples(kind: &str) -> Vec<PathBuf> {
    let mut found = files(&root().join("packaging"));
    found.retain(|path| path.file_name().is_some_and(|name| name == kind));
    assert!(!found.is_empty(), "no example of {kind}");
    found
}

/// It says that it shows the defaults.
#[test]
fn the_daemons_example_is_its_defaults() {
    for path in examples("config.toml") {
        let text = fs::read_to_string(&path).unwrap();
        let parsed = amsd::config::parse(&text);
        let parsed = parsed.unwrap_or_else(|mistake| panic!("{}: {mistake}", path.display()));
        assert_eq!(parsed, Daemons::default(), "{}", path.display());
    }
}

/// It says that its limits are the defaults.
#[test]
fn the_relays_example_is_a_config_with_the_usual_limits() {
    for path in examples("relay.toml") {
        let parsed = Config::read(Storage::Memory, &path).unwrap();
        let usual = Config::new(Storage::Memory);
        assert_eq!(format!("{:?}", parsed.limits), format!("{:?}", usual.limits));
        assert_eq!(parsed.listen, usual.listen);
        assert_eq!(parsed.retry_window, usual.retry_window);
        assert_eq!(parsed.registration, usual.registration);
    }
}

/// Sections, each with its keys and all of their values.
type Unit = BTreeMap<String, Vec<(String, String)>>;

fn unit(path: &Path) -> Unit {
    let text = fs::read_to_string(path).unwrap();
    let mut unit = Unit::new();
    let mut section = None;
    for (number, line) in text.lines().enumerate() {
        let place = format!("{}:{}", path.display(), number + 1);
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            unit.entry(name.to_owned()).or_default();
            section = Some(name.to_owned());
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{place}: no `=`"));
        let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        assert!(plain, "{place}: `{key}` is no key");
        let section = section.as_ref().unwrap_or_else(|| panic!("{place}: in no section"));
        unit.get_mut(section).unwrap().push((key.to_owned(), value.to_owned()));
    }
    unit
}

fn values<'a>(unit: &'a Unit, section: &str, key: &str) -> Vec<&'a str> {
    let pairs = unit.get(section).map(Vec::as_slice).unwrap_or_default();
    pairs.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect()
}

#[test]
fn the_units_start_the_programs_as_they_want_to_be_started() {
    let units = files(&root().join("systemd"));
    assert!(units.len() >= 2, "{units:?}");
    for path in units {
        let unit = unit(&path);
        if path.extension().is_some_and(|extension| extension == "socket") {
            assert!(!values(&unit, "Socket", "ListenStream").is_empty(), "{}", path.display());
            continue;
        }
        let [start] = values(&unit, "Service", "ExecStart")[..] else {
            panic!("{}: not one ExecStart", path.display());
        };
        let words: Vec<&str> = start.split_ascii_whitespace().collect();
        let program = Path::new(words[0]);
        assert!(program.is_absolute(), "{}: {start}", path.display());
        let understood = match program.file_name().and_then(|name| name.to_str()) {
            Some("amsd") => amsd::cli::Args::try_parse_from(&words).map(|_| ()),
            Some("ams-relay") => ams_relay::cli::Args::try_parse_from(&words).map(|_| ()),
            other => panic!("{}: starts {other:?}", path.display()),
        };
        understood.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // Where systemd makes the user, what lies in /var/lib is a symbolic link, which is not followed.
        if values(&unit, "Service", "DynamicUser") == ["yes"] {
            let [state] = values(&unit, "Service", "StateDirectory")[..] else {
                panic!("no state")
            };
            let folder = format!("/var/lib/private/{state}");
            assert!(words.contains(&folder.as_str()), "{}: {start}", path.display());
        }
        // A small system has a shell, and perhaps no /bin/kill.
        for reload in values(&unit, "Service", "ExecReload") {
            assert!(reload.starts_with("/bin/sh -c "), "{}: {reload}", path.display());
        }
        // Both say when they are ready.
        assert_eq!(values(&unit, "Service", "Type"), ["notify"], "{}", path.display());
        for (section, key) in [("Unit", "Description"), ("Install", "WantedBy")] {
            assert_eq!(values(&unit, section, key).len(), 1, "{}: {key}", path.display());
        }
    }
}
