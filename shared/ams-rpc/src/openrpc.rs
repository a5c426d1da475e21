//! `rpc.discover`: the table as an OpenRPC 1.3 document, generated from the types, with examples.

use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::ErrorKind;
use crate::methods::{Entry, NOTICES};
use crate::server::{
    MAX_BATCH, MAX_CALLS, MAX_CONNECTIONS, MAX_DEPTH, MAX_LINE, MAX_SUBSCRIPTIONS,
};

/// A call and what it answers, as they are shown. A test makes the calls, in their order.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The method.
    pub method: String,
    /// What it is given.
    pub params: Map<String, Value>,
    /// What it answers; `None` where that is too much to show.
    pub result: Option<Value>,
}

/// What the document says of errors.
const ON_ERRORS: &str = "Errors are one closed table, `components.errors`: any method may answer any \
                         of them, with its code and, in `data`, its kind, its hint and the exit \
                         code of a command that ends with it. A hint may say more than the table.";

/// How to speak to the program at all, for whoever has the document and nothing else.
fn on_connecting() -> String {
    format!(
        "JSON-RPC 2.0 over a local socket, one JSON value on each line in both directions. A daemon \
         listens at `amsd.sock` in its home folder (`--home`, `AMS_HOME`), else in \
         `$XDG_RUNTIME_DIR/ams`; on Windows it is a named pipe. A client that closes its sending \
         half still gets every answer. A batch has at most {MAX_BATCH} requests and is answered by \
         one line; subscribing is refused within one. A line has at most {MAX_LINE} bytes and is \
         nested at most {MAX_DEPTH} deep. {MAX_CALLS} calls of a connection run at once and further \
         lines wait; a connection has at most {MAX_SUBSCRIPTIONS} subscriptions, a socket at most \
         {MAX_CONNECTIONS} clients."
    )
}

/// Examples of the daemon's methods, in an order in which they can be called.
pub const EXAMPLES: &str = include_str!("../examples.json");
/// Examples of the relay's administration.
pub const ADMIN_EXAMPLES: &str = include_str!("../examples-admin.json");

/// Reads [`EXAMPLES`] or [`ADMIN_EXAMPLES`].
///
/// # Errors
/// Where a text is not a list of examples; those two are.
pub fn examples(text: &str) -> serde_json::Result<Vec<Example>> {
    serde_json::from_str(text)
}

/// The document of a table of methods. `title` and `version` name the program that serves it.
#[must_use]
pub fn document(title: &str, version: &str, table: &[Entry], shown: &[Example]) -> Value {
    // Params are described as they are read, results as they are written: there an absent value
    // is `null` and never left out.
    let settings = |mut settings: SchemaSettings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings
    };
    let mut reading = settings(SchemaSettings::draft2020_12().for_deserialize()).into_generator();
    let mut writing = settings(SchemaSettings::draft2020_12().for_serialize()).into_generator();

    let methods: Vec<Value> = table
        .iter()
        .map(|entry| {
            let params = (entry.params)(&mut reading);
            let result = (entry.result)(&mut writing);
            json!({
                "name": entry.name,
                "description": entry.doc,
                "paramStructure": "by-name",
                "params": descriptors(params.as_value()),
                "result": { "name": "result", "schema": result },
                "examples": pairings(entry.name, shown),
            })
        })
        .collect();

    let notices: Vec<Value> = NOTICES
        .iter()
        .filter(|notices| table.iter().any(|entry| entry.name == notices.subscribe))
        .map(|notices| {
            json!({
                "name": notices.name,
                "subscribe": notices.subscribe,
                "unsubscribe": notices.unsubscribe,
                "params": [
                    {
                        "name": "subscription",
                        "required": true,
                        "schema": {
                            "type": "string",
                            "description": format!("What `{}` answered.", notices.subscribe),
                        },
                    },
                    { "name": "result", "required": true, "schema": (notices.item)(&mut writing) },
                ],
            })
        })
        .collect();

    // The relay's commands reach it by themselves.
    let description = match notices.is_empty() {
        true => ON_ERRORS.to_owned(),
        false => format!("{}\n\n{ON_ERRORS}", on_connecting()),
    };
    let mut schemas: Map<String, Value> = reading.take_definitions(true);
    schemas.extend(writing.take_definitions(true));
    let mut whole = json!({
        "openrpc": "1.3.2",
        "info": { "title": title, "version": version, "description": description },
        "methods": methods,
        "components": { "schemas": schemas, "errors": errors() },
    });
    if let (false, Some(whole)) = (notices.is_empty(), whole.as_object_mut()) {
        // OpenRPC knows no notifications that a server sends.
        whole.insert("x-notifications".into(), notices.into());
    }
    whole
}

/// The table of errors, by their kinds.
fn errors() -> Map<String, Value> {
    let error = |kind: &ErrorKind| {
        let data =
            json!({ "kind": kind.as_str(), "hint": kind.hint(), "exit": kind.exit().code() });
        let error = json!({ "code": kind.code(), "message": kind.meaning(), "data": data });
        (kind.as_str().to_owned(), error)
    };
    ErrorKind::ALL.iter().map(error).collect()
}

/// The examples of one method, as OpenRPC writes them.
fn pairings(method: &str, shown: &[Example]) -> Vec<Value> {
    let of_method = shown.iter().filter(|example| example.method == method);
    let pairing = |(number, example): (usize, &Example)| {
        let params: Vec<Value> = example
            .params
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        let name = format!("{method} {}", number.saturating_add(1));
        let mut pairing = json!({ "name": name, "params": params });
        if let (Some(result), Some(fields)) = (&example.result, pairing.as_object_mut()) {
            fields.insert("result".into(), json!({ "name": "result", "value": result }));
        }
        pairing
    };
    of_method.enumerate().map(pairing).collect()
}

/// The names that the params of `entry` may have.
#[must_use]
pub fn param_names(entry: &Entry) -> Vec<String> {
    let mut generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let schema = (entry.params)(&mut generator);
    properties(schema.as_value()).map(|(name, _)| name.clone()).collect()
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// One content descriptor per property of an object.
fn descriptors(schema: &Value) -> Vec<Value> {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    properties(schema)
        .map(|(name, property)| {
            json!({
                "name": name,
                "required": required.contains(&name.as_str()),
                "schema": property,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::ADMIN_METHODS;
    use crate::methods::METHODS;
    use crate::types::EventType;

    /// The documents lie in the repository, so that a change of the interface is seen in review.
    /// `UPDATE_OPENRPC=1 cargo test -p ams-rpc openrpc` writes them anew.
    #[test]
    fn the_documents_in_the_repository_are_those_of_the_tables() {
        for (file, title, table, shown) in [
            ("openrpc.json", "amsd", METHODS, EXAMPLES),
            ("openrpc-admin.json", "ams-relay", ADMIN_METHODS, ADMIN_EXAMPLES),
        ] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let made = document(title, "1", table, &examples(shown).unwrap());
            let made = serde_json::to_string_pretty(&made).unwrap() + "\n";
            if std::env::var_os("UPDATE_OPENRPC").is_some() {
                std::fs::write(&path, &made).unwrap();
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == made, "{file} is old: UPDATE_OPENRPC=1 cargo test -p ams-rpc openrpc");
        }
    }

    #[test]
    fn every_event_and_every_error_is_in_the_document() {
        let made = document("amsd", "1", METHODS, &[]);
        let event = &made["x-notifications"][0];
        assert_eq!(event["name"], "event");
        assert_eq!(event["params"][1]["schema"]["$ref"], "#/components/schemas/Event");
        let shapes = made["components"]["schemas"]["Event"]["oneOf"].as_array().unwrap();
        let types: Vec<_> =
            shapes.iter().map(|shape| &shape["properties"]["type"]["const"]).collect();
        assert_eq!(types, EventType::ALL.iter().map(|t| t.as_str()).collect::<Vec<_>>());
        for kind in ErrorKind::ALL {
            let error = &made["components"]["errors"][kind.as_str()];
            assert_eq!(error["code"], kind.code());
            assert_eq!(error["data"]["exit"], kind.exit().code());
            assert_eq!(error["data"]["hint"], kind.hint());
        }
        let admin = document("ams-relay", "1", ADMIN_METHODS, &[]);
        assert_eq!(admin.get("x-notifications"), None, "it tells nothing by itself");
    }

    /// Whoever reads the document has neither our constants nor our links.
    #[test]
    fn the_document_says_bounds_as_numbers() {
        let made = document("amsd", "1", METHODS, &[]);
        assert!(!made.to_string().contains("[`"), "a link of rustdoc");
        let about = made["info"]["description"].as_str().unwrap();
        for said in
            ["amsd.sock", "one JSON value on each line", "at most 64 requests", "256 clients"]
        {
            assert!(about.contains(said), "{said}: {about}");
        }
        let methods = made["methods"].as_array().unwrap();
        let send = methods.iter().find(|method| method["name"] == "message.send").unwrap();
        let schema = |name: &str| {
            let params = send["params"].as_array().unwrap();
            &params.iter().find(|param| param["name"] == name).unwrap()["schema"]
        };
        assert_eq!(schema("body")["minLength"], 1);
        assert_eq!(schema("body")["maxLength"], 46 * 1024);
        assert_eq!(schema("title")["maxLength"], 256);
        assert_eq!(schema("key")["maxLength"], 256);
        assert_eq!(schema("tags")["maxItems"], 16);
        assert_eq!(schema("tags")["items"]["maxLength"], 32);
        let schemas = &made["components"]["schemas"];
        assert_eq!(schemas["MessageId"]["pattern"], "^[0-9a-f]{32}$");
        assert!(schemas["Period"]["pattern"].is_string());
    }

    #[test]
    fn every_reference_has_its_definition() {
        let made = document("amsd", "1", METHODS, &[]);
        let text = made.to_string();
        let schemas = made["components"]["schemas"].as_object().unwrap();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        assert!(!text.contains("$defs"));
    }

    /// A method without one: add it to `examples.json`, where it can be called.
    #[test]
    fn every_method_has_an_example_and_every_example_its_method() {
        for (table, shown) in [(METHODS, EXAMPLES), (ADMIN_METHODS, ADMIN_EXAMPLES)] {
            let shown = examples(shown).unwrap();
            for entry in table {
                let known = param_names(entry);
                let of_method: Vec<_> = shown.iter().filter(|e| e.method == entry.name).collect();
                assert!(!of_method.is_empty(), "{} has no example", entry.name);
                for example in of_method {
                    let unknown = example.params.keys().find(|name| !known.contains(name));
                    assert_eq!(unknown, None, "{}", entry.name);
                }
            }
            let methods: Vec<_> = table.iter().map(|entry| entry.name).collect();
            for example in &shown {
                assert!(methods.contains(&example.method.as_str()), "{}", example.method);
            }
        }
    }

    #[test]
    fn params_are_objects_that_refuse_unknown_names() {
        for entry in METHODS.iter().chain(ADMIN_METHODS) {
            let mut generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
            let schema = (entry.params)(&mut generator);
            assert_eq!(schema.as_value()["type"], "object", "{}", entry.name);
            assert_eq!(schema.as_value()["additionalProperties"], false, "{}", entry.name);
            assert!(!entry.doc.is_empty());
            let (noun, verb) = entry.name.split_once('.').unwrap();
            assert!(!noun.is_empty() && !verb.is_empty());
        }
    }
}
