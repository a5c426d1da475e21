//! JSON Schema, as far as the OpenRPC meta-schema and our own documents use it. A keyword or a
//! pattern that it does not know fails the test: nothing is passed over in silence.

use std::collections::BTreeMap;

use ams_rpc::types::Period;
use serde_json::{Map, Value};

/// What says nothing about a value.
const SILENT: &[&str] = &[
    "$comment",
    "$id",
    "$schema",
    "additionalItems",
    "components",
    "default",
    "definitions",
    "description",
    "format",
    "title",
];

/// Documents that refer to each other, by the address they are referred to by.
pub(crate) struct Schemas<'a>(BTreeMap<&'a str, &'a Value>);

/// A schema within a document.
#[derive(Clone, Copy)]
struct At<'a> {
    document: &'a Value,
    schema: &'a Value,
}

impl<'a> Schemas<'a> {
    pub(crate) fn new(documents: &[(&'a str, &'a Value)]) -> Self {
        Self(documents.iter().copied().collect())
    }

    /// What is wrong with `value`, which should be as `schema` within `document` says.
    pub(crate) fn mistakes(
        &self,
        document: &'a Value,
        schema: &'a Value,
        value: &Value,
    ) -> Vec<String> {
        let mut found = Vec::new();
        self.check(At { document, schema }, value, "", &mut found);
        found
    }

    fn fits(&self, at: At<'a>, value: &Value) -> bool {
        let mut found = Vec::new();
        self.check(at, value, "", &mut found);
        found.is_empty()
    }

    fn check(&self, at: At<'a>, value: &Value, place: &str, found: &mut Vec<String>) {
        let rules = match at.schema {
            Value::Bool(true) => return,
            Value::Bool(false) => return found.push(format!("{place}: may not be there")),
            Value::Object(rules) => rules,
            other => panic!("no schema: {other}"),
        };
        for (keyword, rule) in rules {
            let rule = Rule { at, rules, keyword, rule };
            if !SILENT.contains(&keyword.as_str()) && !self.holds(rule, value, place, found) {
                found.push(format!("{place}: {keyword} {rule}, not {value}", rule = rule.rule));
            }
        }
    }

    /// `false`: the rule is broken. What is wrong further in is put into `found` by itself.
    fn holds(&self, rule: Rule<'a>, value: &Value, place: &str, found: &mut Vec<String>) -> bool {
        let Rule { at, rules, keyword, rule } = rule;
        let of = |schema: &'a Value| At { schema, ..at };
        let count = |schemas: &'a Value| {
            let schemas = schemas.as_array().unwrap();
            schemas.iter().filter(|schema| self.fits(of(schema), value)).count()
        };
        let bound = rule.as_u64().and_then(|bound| usize::try_from(bound).ok());
        match keyword {
            "$ref" => self.check(self.find(at, rule.as_str().unwrap()), value, place, found),
            "type" => return is_any_of(rule, value),
            "enum" => return rule.as_array().unwrap().contains(value),
            "const" => return rule == value,
            "oneOf" => return count(rule) == 1,
            "anyOf" => return count(rule) >= 1,
            "minLength" => {
                return value.as_str().is_none_or(|s| s.chars().count() >= bound.unwrap());
            }
            "maxLength" => {
                return value.as_str().is_none_or(|s| s.chars().count() <= bound.unwrap());
            }
            "maxItems" => return value.as_array().is_none_or(|all| all.len() <= bound.unwrap()),
            "minItems" => return value.as_array().is_none_or(|all| all.len() >= bound.unwrap()),
            "minimum" => {
                return value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap());
            }
            "maximum" => {
                return value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap());
            }
            "exclusiveMinimum" => {
                return value.as_f64().is_none_or(|number| number > rule.as_f64().unwrap());
            }
            "pattern" => {
                return value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text));
            }
            "uniqueItems" => {
                let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
                return all.iter().enumerate().all(|(n, item)| !all[..n].contains(item));
            }
            "required" => {
                let names = rule.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                for name in names.filter(|name| value.is_object() && value.get(name).is_none()) {
                    found.push(format!("{place}: lacks `{name}`"));
                }
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    self.check(of(rule), item, &format!("{place}/{number}"), found);
                }
            }
            "propertyNames" => {
                for name in value.as_object().into_iter().flatten().map(|(name, _)| name) {
                    self.check(of(rule), &Value::from(name.as_str()), place, found);
                }
            }
            "properties" | "patternProperties" | "additionalProperties" => {
                let fields = value.as_object().into_iter().flatten();
                for (name, field) in fields {
                    for schema in for_property(keyword, rules, rule, name) {
                        self.check(of(schema), field, &format!("{place}/{name}"), found);
                    }
                }
            }
            unknown => panic!("the keyword {unknown} is not known here"),
        }
        true
    }

    fn find(&self, from: At<'a>, reference: &str) -> At<'a> {
        let (address, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let address = address.trim_end_matches('/');
        let document = if address.is_empty() { from.document } else { self.0[address] };
        let schema = document.pointer(pointer);
        At { document, schema: schema.unwrap_or_else(|| panic!("{reference} is not there")) }
    }
}

#[derive(Clone, Copy)]
struct Rule<'a> {
    at: At<'a>,
    rules: &'a Map<String, Value>,
    keyword: &'a str,
    rule: &'a Value,
}

/// What `keyword` says of a property of that name.
fn for_property<'a>(
    keyword: &str,
    rules: &'a Map<String, Value>,
    rule: &'a Value,
    name: &str,
) -> Vec<&'a Value> {
    let by_name = |rule: &'a Value| rule.get(name);
    let by_pattern = |rule: &'a Value| {
        let patterns = rule.as_object().unwrap().iter();
        patterns.filter(|(pattern, _)| matches(pattern, name)).map(|(_, schema)| schema)
    };
    match keyword {
        "properties" => by_name(rule).into_iter().collect(),
        "patternProperties" => by_pattern(rule).collect(),
        _ => {
            let named = rules.get("properties").and_then(by_name).is_some();
            let patterns = rules.get("patternProperties");
            let patterned = patterns.is_some_and(|rule| by_pattern(rule).next().is_some());
            if named || patterned { Vec::new() } else { vec![rule] }
        }
    }
}

fn is_any_of(types: &Value, value: &Value) -> bool {
    match types {
        Value::Array(types) => types.iter().any(|one| is_any_of(one, value)),
        one => match one.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            unknown => panic!("the type {unknown} is not known here"),
        },
    }
}

/// The few patterns that there are.
fn matches(pattern: &str, text: &str) -> bool {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match pattern {
        "^x-" => text.starts_with("x-"),
        "[0-z]+" => text.chars().any(|c| ('0'..='z').contains(&c)),
        "^[0-9a-f]{32}$" => text.len() == 32 && text.bytes().all(is_hex),
        "^([0-9]+ ?[A-Za-z]+ ?)+$" => text.parse::<Period>().is_ok(),
        "^(direct|relay|relay:.+)$" => {
            let relay = text.strip_prefix("relay:");
            matches!(text, "direct" | "relay") || relay.is_some_and(|nick| !nick.is_empty())
        }
        unknown => panic!("the pattern {unknown} is not known here"),
    }
}
