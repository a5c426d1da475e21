//! What may not know what, held by looking at the sources.

use std::path::Path;

fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(!found.is_empty());
    found
}

fn lines_naming<'a>(text: &'a str, words: &[&str]) -> Vec<&'a str> {
    let code = |line: &&str| !line.trim_start().starts_with("//");
    text.lines().filter(code).filter(|line| words.iter().any(|word| line.contains(word))).collect()
}

#[test]
fn the_gate_cannot_reach_the_hub() {
    for (path, text) in sources("gate") {
        let named =
            lines_naming(&text, &["hub::", "conn::", "link::Rooms", "super::super", "crate::*"]);
        // `ams_link::` is the link of a stranger, not the rooms behind the gate.
        assert!(named.is_empty(), "{path}: {named:?}");
    }
}

#[test]
fn the_hub_knows_no_store_and_no_socket() {
    for (path, text) in sources("hub") {
        if path.ends_with("tests.rs") {
            continue;
        }
        let named =
            lines_naming(&text, &["accounts", "ams_link", "std::fs", "tokio::net", "conn::"]);
        assert!(named.is_empty(), "{path}: {named:?}");
    }
}

#[test]
fn what_sends_looks_at_no_account() {
    for file in ["send.rs", "rows.rs", "presence.rs"] {
        let all = sources("conn");
        let (path, text) = all.iter().find(|(path, _)| path.ends_with(file)).unwrap();
        let named = lines_naming(text, &["accounts.", "dyn Accounts", "await"]);
        assert!(named.is_empty(), "{path}: {named:?}");
    }
}

#[test]
fn redb_stays_in_its_folder() {
    for folder in ["", "accounts", "admin", "cli", "conn", "gate", "hub"] {
        for (path, text) in sources(folder) {
            let named = lines_naming(&text, &["redb::", "use redb"]);
            assert!(named.is_empty(), "{path}: {named:?}");
        }
    }
}

/// A log line at any level that prints something which names people would show who is on the
/// relay.
#[test]
fn no_log_line_names_anybody() {
    for folder in ["", "accounts", "accounts/store", "admin", "cli", "conn", "gate", "hub"] {
        for (path, text) in sources(folder) {
            for line in lines_naming(&text, &["tracing::"]) {
                let bad = ["name", "handle", "user", "peer", "{:?}", "?", "from"];
                let named = bad.iter().any(|word| line.contains(word));
                assert!(!named || line.contains("use "), "{path}: {line}");
            }
        }
    }
}
