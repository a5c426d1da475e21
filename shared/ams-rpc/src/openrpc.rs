//! `rpc.discover`: the table as an OpenRPC 1.3 document, generated from the types.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::methods::Entry;

/// The document of a table of methods. `title` and `version` name the program that serves it.
#[must_use]
pub fn document(title: &str, version: &str, table: &[Entry]) -> Value {
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
            })
        })
        .collect();

    let mut schemas: Map<String, Value> = reading.take_definitions(true);
    schemas.extend(writing.take_definitions(true));
    json!({
        "openrpc": "1.3.2",
        "info": { "title": title, "version": version },
        "methods": methods,
        "components": { "schemas": schemas },
    })
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
