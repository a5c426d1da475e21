//! The OpenRPC documents are what OpenRPC's own meta-schema says.

use std::fs;
use std::path::Path;

use ams_rpc::ErrorKind;
use ams_rpc::types::EventType;
use ams_tests::programs::root;
use ams_tests::shell::User;
use serde_json::{Value, json};

use crate::schema::Schemas;

const META: &str = "https://meta.open-rpc.org";
const JSON_META: &str = "https://meta.json-schema.tools";

pub(crate) fn read(path: &str) -> Value {
    let text = fs::read_to_string(root().join(Path::new(path))).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What is wrong with an OpenRPC document.
fn mistakes(document: &Value) -> Vec<String> {
    let meta = read("tests/tests/interface/openrpc-meta-schema.json");
    let json_meta = read("tests/tests/interface/json-meta-schema.json");
    let schemas = Schemas::new(&[(META, &meta), (JSON_META, &json_meta)]);
    schemas.mistakes(&meta, &meta, document)
}

#[test]
fn the_documents_are_openrpc() {
    for path in ["shared/ams-rpc/openrpc.json", "shared/ams-rpc/openrpc-admin.json"] {
        assert_eq!(mistakes(&read(path)), [""; 0], "{path}");
    }
}

/// Whoever asks a daemon, and whoever reads the repository, sees one interface.
#[test]
fn a_running_daemon_serves_the_document_of_the_repository() {
    let folder = tempfile::tempdir().unwrap();
    let alice = User::new(&folder.path().join("alice"));
    let _daemon = alice.starts_daemon();
    let mut served: Value =
        serde_json::from_str(&alice.amsctl(&["call", "rpc.discover"]).ok()).unwrap();
    assert_eq!(mistakes(&served), [""; 0]);
    for event in EventType::ALL {
        let shapes = served["components"]["schemas"]["Event"]["oneOf"].as_array().unwrap();
        let is_its = |shape: &&Value| shape["properties"]["type"]["const"] == event.as_str();
        assert!(shapes.iter().any(|shape| is_its(&shape)), "{event}");
    }
    for kind in ErrorKind::ALL {
        let error = &served["components"]["errors"][kind.as_str()];
        assert_eq!(error["code"], kind.code(), "{kind:?}");
        assert_eq!(error["data"]["exit"], kind.exit().code(), "{kind:?}");
    }
    let kept = read("shared/ams-rpc/openrpc.json");
    // The document in the repository is of no version of the program.
    served["info"]["version"] = kept["info"]["version"].clone();
    assert!(served == kept, "UPDATE_OPENRPC=1 cargo test -p ams-rpc openrpc");
}

/// What is broken, and how.
type Broken = (&'static str, fn(&mut Value));

/// The control: what is no OpenRPC is seen, wherever it is.
#[test]
fn what_is_no_openrpc_is_seen() {
    let good = read("shared/ams-rpc/openrpc.json");
    let broken: [Broken; 8] = [
        ("no methods", |whole| drop(whole.as_object_mut().unwrap().remove("methods"))),
        ("no version", |whole| drop(whole["info"].as_object_mut().unwrap().remove("version"))),
        ("another OpenRPC", |whole| whole["openrpc"] = json!("9")),
        ("an unknown field", |whole| whole["methods"][3]["colour"] = json!("red")),
        ("a method without a name", |whole| whole["methods"][0]["name"] = json!("")),
        ("a structure of its own", |whole| whole["methods"][0]["paramStructure"] = json!("any")),
        ("a schema that is none", |whole| whole["methods"][0]["result"]["schema"] = json!(7)),
        ("a type that is none", |whole| {
            whole["components"]["schemas"]["Contact"]["type"] = json!("thing");
        }),
    ];
    for (what, break_it) in broken {
        let mut bad = good.clone();
        break_it(&mut bad);
        assert_ne!(mistakes(&bad), [""; 0], "{what}");
    }
}
