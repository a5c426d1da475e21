//! A line becomes requests, or an error that says what is wrong with it.
//!
//! Stricter than JSON-RPC libraries are: an object and nothing else, no unknown members, an id that
//! is a string or a number, params that are an object, a bounded depth.

use std::borrow::Cow;

use jsonrpsee_types::{ErrorObjectOwned, Id, TwoPointZero};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::error::RpcError;

/// The longest line, without its `\n`, that is read.
pub const MAX_LINE: usize = 1024 * 1024;
/// The deepest nesting of a line.
pub const MAX_DEPTH: usize = 32;
/// The most requests in one batch.
pub const MAX_BATCH: usize = 64;

/// The id of a request.
#[derive(Debug, Clone)]
pub(crate) enum RequestId {
    /// A string or an unsigned integer, which jsonrpsee can hold.
    Plain(Id<'static>),
    /// Any other number, as it was written.
    Number(Box<RawValue>),
}

/// A request, or a notification where there is no id.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) id: Option<RequestId>,
    pub(crate) method: Cow<'a, str>,
    /// An object.
    pub(crate) params: Option<&'a RawValue>,
}

/// A request that is none, and the answer to it.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// Its id where one could be read.
    pub(crate) id: Option<RequestId>,
    pub(crate) error: RpcError,
}

/// What a line holds.
#[derive(Debug)]
pub(crate) enum Line<'a> {
    Blank,
    One(Result<Request<'a>, Rejected>),
    Batch(Vec<Result<Request<'a>, Rejected>>),
}

/// Reads a line.
pub(crate) fn read_line(line: &[u8]) -> Line<'_> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Line::Blank;
    }
    let rejected = |error| Line::One(Err(Rejected { id: None, error }));
    let Ok(text) = std::str::from_utf8(line) else {
        return rejected(RpcError::parse("the line is not UTF-8"));
    };
    if deeper_than(line, MAX_DEPTH) {
        return rejected(RpcError::invalid_request(format!(
            "the line is nested deeper than {MAX_DEPTH}"
        )));
    }
    if !line.starts_with(b"[") {
        return Line::One(read_request(text));
    }
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Err(error) => rejected(RpcError::parse(format!("the line is not JSON: {error}"))),
        Ok(items) if items.is_empty() => rejected(RpcError::invalid_request("the batch is empty")),
        Ok(items) if items.len() > MAX_BATCH => rejected(RpcError::invalid_request(format!(
            "the batch has {} requests; at most {MAX_BATCH} are taken",
            items.len()
        ))),
        Ok(items) => Line::Batch(items.into_iter().map(|item| read_request(item.get())).collect()),
    }
}

/// A member that is there, even where it is `null`.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict<'a> {
    #[serde(rename = "jsonrpc")]
    _jsonrpc: TwoPointZero,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct IdOnly<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

fn read_request(text: &str) -> Result<Request<'_>, Rejected> {
    // serde reads an array as a struct too; a request is an object.
    if !text.starts_with('{') {
        let error = match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => RpcError::invalid_request("a request is a JSON object"),
            Err(error) => RpcError::parse(format!("the line is not JSON: {error}")),
        };
        return Err(Rejected { id: None, error });
    }
    let request = serde_json::from_str::<Strict<'_>>(text).map_err(|error| {
        if serde_json::from_str::<IgnoredAny>(text).is_err() {
            return Rejected {
                id: None,
                error: RpcError::parse(format!("the line is not JSON: {error}")),
            };
        }
        let id = serde_json::from_str::<IdOnly<'_>>(text).ok().and_then(|found| found.id);
        Rejected {
            id: id.and_then(|id| read_id(id).ok()),
            error: RpcError::invalid_request(format!("not a request: {error}")),
        }
    })?;
    let id = request.id.map(read_id).transpose()?;
    if request.params.is_some_and(|params| !params.get().starts_with('{')) {
        return Err(Rejected { id, error: RpcError::invalid_params("params must be an object") });
    }
    Ok(Request { id, method: request.method, params: request.params })
}

fn read_id(raw: &RawValue) -> Result<RequestId, Rejected> {
    match serde_json::from_str::<Id<'_>>(raw.get()) {
        Ok(id @ (Id::Number(_) | Id::Str(_))) => Ok(RequestId::Plain(id.into_owned())),
        _ if raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            Ok(RequestId::Number(raw.to_owned()))
        }
        _ => Err(Rejected {
            id: None,
            error: RpcError::invalid_request("an id is a string or a number"),
        }),
    }
}

/// Whether brackets nest deeper than `max`. Strings are skipped; what is no JSON at all is left to
/// the parser.
fn deeper_than(line: &[u8], max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in line {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth = depth.saturating_add(1);
                if depth > max {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// The answer to a request that failed. Without an id it is `null`, as JSON-RPC wants it.
pub(crate) fn error_answer(id: Option<&RequestId>, error: RpcError) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Answer<'a> {
        jsonrpc: TwoPointZero,
        id: &'a RawValue,
        error: ErrorObjectOwned,
    }
    let written = match id {
        None => None,
        Some(RequestId::Number(raw)) => Some(raw.clone()),
        Some(RequestId::Plain(id)) => serde_json::value::to_raw_value(id).ok(),
    };
    let id = written.as_deref().unwrap_or(RawValue::NULL);
    let answer = Answer { jsonrpc: TwoPointZero, id, error: error.into() };
    // A struct of strings and numbers always serialises.
    serde_json::value::to_raw_value(&answer).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Puts a number that jsonrpsee cannot hold into an answer to the id 0.
pub(crate) fn with_number(answer: &RawValue, number: &RawValue) -> Box<RawValue> {
    const HEAD: &str = r#"{"jsonrpc":"2.0","id":"#;
    answer
        .get()
        .strip_prefix(HEAD)
        .and_then(|rest| rest.strip_prefix('0'))
        .and_then(|rest| RawValue::from_string(format!("{HEAD}{}{rest}", number.get())).ok())
        .unwrap_or_else(|| answer.to_owned())
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn kind(line: &str) -> ErrorKind {
        match read_line(line.as_bytes()) {
            Line::One(Err(rejected)) => rejected.error.kind,
            other => panic!("{line} was read as {other:?}"),
        }
    }

    fn nested(depth: usize) -> String {
        let inner = depth - 2;
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":{}{}}}}}"#,
            "[".repeat(inner),
            "]".repeat(inner)
        )
    }

    #[test]
    fn an_array_is_a_batch_and_never_a_request() {
        let Line::Batch(items) = read_line(br#"["2.0",7,"m",null]"#) else { panic!("no batch") };
        assert!(items.iter().all(Result::is_err));
    }

    #[test]
    fn refusals_by_kind() {
        for line in ["{", "nonsense", r#"{"jsonrpc":"2.0"} x"#, "[1,", "\u{1}"] {
            assert_eq!(kind(line), ErrorKind::Parse, "{line}");
        }
        for line in [
            "1",
            "null",
            r#""x""#,
            "[]",
            "{}",
            r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":[1],"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":true,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m","more":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}"#,
        ] {
            assert_eq!(kind(line), ErrorKind::InvalidRequest, "{line}");
        }
        for params in ["[]", "null", "1", r#""x""#, r#"["a","b"]"#] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#);
            assert_eq!(kind(&line), ErrorKind::InvalidParams, "{line}");
        }
    }

    #[test]
    fn depth_has_its_bound() {
        assert!(matches!(read_line(nested(MAX_DEPTH).as_bytes()), Line::One(Ok(_))));
        assert_eq!(kind(&nested(MAX_DEPTH + 1)), ErrorKind::InvalidRequest);
        let in_a_string = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":"\\\"{}"}}}}"#,
            "[".repeat(99)
        );
        assert!(matches!(read_line(in_a_string.as_bytes()), Line::One(Ok(_))), "{in_a_string}");
    }

    #[test]
    fn a_batch_has_its_bound() {
        let batch = |n: usize| {
            let one = r#"{"jsonrpc":"2.0","method":"m"}"#;
            format!("[{}]", vec![one; n].join(","))
        };
        assert!(matches!(read_line(batch(MAX_BATCH).as_bytes()), Line::Batch(_)));
        assert_eq!(kind(&batch(MAX_BATCH + 1)), ErrorKind::InvalidRequest);
    }

    #[test]
    fn the_id_comes_back_with_the_refusal() {
        let Line::One(Err(rejected)) = read_line(br#"{"jsonrpc":"2.0","id":"x","meth":1}"#) else {
            panic!("read");
        };
        let answer = error_answer(rejected.id.as_ref(), rejected.error);
        let answer: serde_json::Value = serde_json::from_str(answer.get()).unwrap();
        assert_eq!(answer["id"], "x");
        assert_eq!(answer["error"]["code"], -32600);
        assert_eq!(answer["error"]["data"]["exit"], 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = read_line(&bytes);
        }

        #[test]
        fn perturbed_requests_are_read_without_panic(
            at in 0_usize..120,
            byte: u8,
            cut in 0_usize..120,
        ) {
            let line = br#"[{"jsonrpc":"2.0","id":-1.5,"method":"message.send","params":{"to":"bob","body":"\u00e4"}},{}]"#;
            let mut changed = line.to_vec();
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
            let _ = read_line(&changed);
            changed.truncate(cut);
            let _ = read_line(&changed);
        }
    }
}
