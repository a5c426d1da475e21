//! What is installed is in one list, `packaging/files`, which every recipe follows; and the Debian packages
//! have in them what it says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ams_tests::programs::{program, root};
use ams_tests::search::files;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A line of the list.
struct Line {
    package: String,
    kind: String,
    from: String,
    to: String,
}

fn list() -> Vec<Line> {
    let text = fs::read_to_string(root().join("packaging/files")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [package, kind, from, to] = words[..] else { panic!("not four words: {line}") };
        let [package, kind, from, to] = [package, kind, from, to].map(str::to_owned);
        Line { package, kind, from, to }
    });
    lines.collect()
}

/// Package and path of each file that is installed, with its kind.
fn installed(package: &str) -> BTreeMap<String, String> {
    let listed = Command::new(root().join("packaging/stage")).args(["--list", package]).output();
    let listed = listed.unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let text = String::from_utf8(listed.stdout).unwrap();
    let lines = text.lines().map(|line| line.split_once(' ').unwrap());
    let mut found = BTreeMap::new();
    for (kind, path) in lines {
        let again = found.insert(path.to_owned(), kind.to_owned());
        assert_eq!(again, None, "{path} twice");
    }
    found
}

fn of_folder(folder: &str) -> BTreeSet<String> {
    let root = root();
    let found = files(&root.join(folder));
    found
        .iter()
        .map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// Whether a FROM with at most one star is this file.
fn names(from: &str, file: &str) -> bool {
    match from.split_once('*') {
        None => from == file,
        Some((before, after)) => {
            file.starts_with(before) && file.ends_with(after) && file.len() >= from.len() - 1
        }
    }
}

#[test]
fn everything_that_is_made_to_be_installed_is_in_the_list_once() {
    let list = list();
    for folder in ["systemd", "packaging/man"] {
        for file in of_folder(folder) {
            let named = list.iter().filter(|line| names(&line.from, &file)).count();
            assert_eq!(named, 1, "{file}");
        }
    }
    for file in of_folder("packaging/examples") {
        assert!(list.iter().any(|line| names(&line.from, &file)), "{file}");
    }
    for line in &list {
        assert!(["ams", "ams-relay"].contains(&line.package.as_str()), "{}", line.from);
        match line.kind.as_str() {
            "program" => assert!(program(&line.from).is_file()),
            "made" => assert!(line.from.starts_with("amsctl_completions_"), "{}", line.from),
            "file" | "config" => {
                let there = if line.from.contains('*') {
                    let folder = line.from.rsplit_once('/').unwrap().0;
                    of_folder(folder).iter().any(|file| names(&line.from, file))
                } else {
                    root().join(&line.from).is_file()
                };
                assert!(there, "{} is not there", line.from);
            }
            other => panic!("{}: what is a {other}?", line.from),
        }
        assert_eq!(line.kind == "config", line.to.starts_with("/etc/"), "{}", line.to);
    }
    // Nothing is in both.
    let (ams, relay) = (installed("ams"), installed("ams-relay"));
    assert!(ams.keys().all(|path| !relay.contains_key(path)));
    assert!(ams.len() > 60 && relay.len() > 10, "{} and {}", ams.len(), relay.len());
}

/// The units start what is installed, with the config that is.
#[test]
fn the_units_name_installed_files() {
    let everything: BTreeSet<String> = [installed("ams"), installed("ams-relay")]
        .into_iter()
        .flat_map(BTreeMap::into_keys)
        .collect();
    let mut named = 0;
    for unit in of_folder("systemd") {
        let text = fs::read_to_string(root().join(&unit)).unwrap();
        for start in text.lines().filter_map(|line| line.strip_prefix("ExecStart=")) {
            for word in start.split_ascii_whitespace() {
                if word.starts_with("/usr/") || word.starts_with("/etc/") {
                    assert!(everything.contains(word), "{unit}: {word}");
                    named += 1;
                }
            }
        }
        for page in text.lines().filter_map(|line| line.strip_prefix("Documentation=man:")) {
            let page = page.replace('(', ".").replace(')', "");
            assert!(everything.contains(&format!("/usr/share/man/man1/{page}")), "{unit}: {page}");
        }
    }
    assert!(named >= 4, "{named}");
}

/// Each recipe, the packages that it makes, and how it writes its version.
const RECIPES: &[(&str, &[&str], &str)] = &[
    ("packaging/rpm/ams.spec", &["ams", "ams-relay"], "Version:        {}"),
    ("packaging/aur/PKGBUILD", &["ams", "ams-relay"], "pkgver={}"),
    ("packaging/homebrew/ams.rb", &["ams"], "version \"{}\""),
    ("packaging/Containerfile", &["ams-relay"], ""),
];

#[test]
fn every_recipe_follows_the_list_and_has_this_version() {
    for (recipe, packages, version) in RECIPES {
        let text = fs::read_to_string(root().join(recipe)).unwrap();
        // Quotes and commas are the language's.
        let words: Vec<&str> = text
            .split(|c: char| c.is_ascii_whitespace() || "\",;()".contains(c))
            .filter(|word| !word.is_empty())
            .collect();
        let follows: Vec<&str> = words
            .windows(2)
            .filter(|pair| pair[0] == "packaging/stage" && pair[1] != "--list")
            .map(|pair| pair[1])
            .collect();
        // The one with a loop names them before.
        if follows == ["$package"] {
            assert!(
                text.contains(&format!("for package in {}; do", packages.join(" "))),
                "{recipe}"
            );
        } else {
            assert_eq!(follows, *packages, "{recipe}");
        }
        if !version.is_empty() {
            assert!(text.contains(&version.replace("{}", VERSION)), "{recipe} is not {VERSION}");
        }
        // What it installs by itself, beside the list, is nothing.
        for line in text.lines().filter(|line| line.contains("/usr/")) {
            let its = ["zsh", "man", "stage/usr", "usr/bin/ams-relay"];
            assert!(its.iter().any(|word| line.contains(word)), "{recipe}: {line}");
        }
    }
    let formula = fs::read_to_string(root().join("packaging/homebrew/ams.rb")).unwrap();
    for (path, kind) in installed("ams") {
        let below = path.strip_prefix("/usr/share/").or_else(|| path.strip_prefix("/usr/"));
        let Some(below) = below.filter(|_| !path.contains("/systemd/") && kind != "config") else {
            continue;
        };
        let folder = below.rsplit_once('/').unwrap().0;
        let taken = formula.contains(below)
            || formula.contains(&format!("{folder}/*"))
            || below.starts_with("doc/ams/examples/");
        assert!(taken, "the formula leaves out {path}");
    }
}

/// What launchd reads is a property list that starts the daemon.
#[test]
fn launchd_is_told_how_to_start_it() {
    let path = root().join("packaging/launchd/ams.amsd.plist");
    let text = fs::read_to_string(&path).unwrap();
    let body = &text[text.find("<plist").unwrap()..];
    let mut open: Vec<&str> = Vec::new();
    for tag in body.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.trim_start_matches('/').trim_end_matches('/').split(' ').next().unwrap();
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) => assert_eq!(open.pop(), Some(name), "in {tag}"),
            (_, true) => {}
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    for needed in ["<string>ams.amsd</string>", "/usr/local/bin/amsd", "<key>KeepAlive</key>"] {
        assert!(body.contains(needed), "{needed}");
    }
    // 0077.
    assert!(body.contains("<integer>63</integer>"));
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (out, err) = (output.stdout, output.stderr);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&err));
    String::from_utf8(out).unwrap()
}

/// Built from the programs of this test. Where there is no dpkg-deb there are no such packages.
#[test]
fn the_debian_packages_hold_what_the_list_says() {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let programs = program("amsd").parent().unwrap().to_owned();
    run(Command::new(root().join("packaging/deb"))
        .env("AMS_DEB_COMPRESSION", "none")
        .env("SOURCE_DATE_EPOCH", "1793491200")
        .arg("--programs")
        .arg(&programs)
        .arg("--out")
        .arg(folder.path()));
    for package in ["ams", "ams-relay"] {
        let deb = the_one(folder.path(), &format!("{package}_{VERSION}_"));
        let contents = run(Command::new("dpkg-deb").arg("-c").arg(&deb));
        let mut held = BTreeMap::new();
        for line in contents.lines().filter(|line| line.starts_with('-')) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            assert_eq!(words[1], "root/root", "{line}");
            let path = words[5].trim_start_matches('.').to_owned();
            let path = path.replace(".1.gz", ".1");
            held.insert(path, words[0].to_owned());
        }
        assert!(held.remove(&format!("/usr/share/doc/{package}/changelog.gz")).is_some());
        let listed = installed(package);
        assert!(held.keys().eq(listed.keys()), "{package}: {held:?}");
        for (path, kind) in &listed {
            let mode = if kind == "program" { "-rwxr-xr-x" } else { "-rw-r--r--" };
            assert_eq!(held[path], mode, "{path}");
        }
        let control = folder.path().join(package);
        run(Command::new("dpkg-deb").arg("-e").arg(&deb).arg(&control));
        let kept = fs::read_to_string(control.join("conffiles")).unwrap_or_default();
        let config = listed.iter().filter(|(_, kind)| *kind == "config").map(|(path, _)| path);
        assert!(kept.lines().eq(config), "{kept}");
        // Nothing is enabled or begun by an installation; what runs is begun again, and ends with its program.
        assert!(!control.join("preinst").exists());
        let mut done = BTreeSet::new();
        for script in ["postinst", "prerm", "postrm"] {
            let text = fs::read_to_string(control.join(script)).unwrap();
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            let pairs = words.windows(2);
            let calls = pairs.filter(|pair| ["systemctl", "deb-systemd-invoke"].contains(&pair[0]));
            done.extend(calls.map(|pair| pair[1].to_owned()));
            assert!(text.contains("-d /run/systemd/system"), "{script}: {text}");
        }
        assert!(done.iter().eq(["daemon-reload", "stop", "try-restart"]), "{done:?}");
        let about = fs::read_to_string(control.join("control")).unwrap();
        assert!(about.contains("Depends: libc6 (>= 2."), "{about}");
        for word in about.lines() {
            assert!(!word.ends_with(' '), "{about}");
        }
    }
    let unpacked = folder.path().join("unpacked");
    let deb = the_one(folder.path(), &format!("ams_{VERSION}_"));
    run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&unpacked));
    let bash = unpacked.join("usr/share/bash-completion/completions/amsctl");
    assert!(fs::read_to_string(bash).unwrap().contains("amsctl"));
    let zsh = unpacked.join("usr/share/zsh/vendor-completions/_amsctl");
    assert!(fs::read_to_string(zsh).unwrap().starts_with("#compdef amsctl"));
}

fn the_one(folder: &Path, beginning: &str) -> PathBuf {
    let mut found = files(folder);
    found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(beginning));
    assert_eq!(found.len(), 1, "{beginning}: {found:?}");
    found.remove(0)
}
