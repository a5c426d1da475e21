//! The man pages in `packaging/man` say what the programs say of themselves.
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
use std::path::Path;

use ams_tests::programs::root;
use clap::CommandFactory;

/// Pages by the names of their files.
type Pages = BTreeMap<String, String>;

fn read(folder: &Path) -> Pages {
    let Ok(found) = fs::read_dir(folder) else { return Pages::new() };
    let pages = found.map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(&path).unwrap())
    });
    pages.collect()
}

fn made(folder: &Path) -> Pages {
    for program in
        [amsctl::Cli::command(), amsd::cli::Args::command(), ams_relay::cli::Args::command()]
    {
        clap_mangen::generate_to(program.disable_help_subcommand(true), folder).unwrap();
    }
    read(folder)
}

/// `UPDATE_MAN=1 cargo test -p ams-tests --test manuals` writes them anew.
#[test]
fn the_pages_in_the_repository_are_those_of_the_programs() {
    let folder = tempfile::tempdir().unwrap();
    let made = made(folder.path());
    let kept_in = root().join("packaging/man");
    if std::env::var_os("UPDATE_MAN").is_some() {
        let _ = fs::remove_dir_all(&kept_in);
        fs::create_dir_all(&kept_in).unwrap();
        for (name, page) in &made {
            fs::write(kept_in.join(name), page).unwrap();
        }
    }
    let kept = read(&kept_in);
    let old: Vec<&String> =
        made.keys().chain(kept.keys()).filter(|name| made.get(*name) != kept.get(*name)).collect();
    assert!(old.is_empty(), "old: {old:?}; UPDATE_MAN=1 cargo test -p ams-tests --test manuals");
}

/// Every command has its page, and teaches by example.
#[test]
fn every_page_has_examples() {
    let kept = read(&root().join("packaging/man"));
    for page in ["amsd.1", "ams-relay.1", "amsctl.1", "amsctl-send.1", "amsctl-relay-join.1"] {
        assert!(kept.contains_key(page), "{page} of {:?}", kept.keys());
    }
    for (name, page) in &kept {
        // Those that have others below them show theirs.
        if name.starts_with("amsctl") && !page.contains(".SH SUBCOMMANDS") {
            assert!(page.contains("Example"), "{name}");
        }
    }
}
