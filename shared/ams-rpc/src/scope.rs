//! What the callers of one socket may do: looked at before a method is found or its params are
//! read, so that nothing beyond it can be reached, or learned from how it is refused.

use std::collections::BTreeSet;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::{ErrorKind, RpcError};
use crate::types::{Presence, words};

words! {
    /// A part of what a socket may be allowed.
    pub enum Allowed {
        /// Sending messages, and waiting for what becomes of them.
        Send = "send",
        /// Looking at everything, and changing nothing.
        Read = "read",
        /// Everything.
        Full = "full",
    }
}

/// What `read` can call.
const READING: &[&str] = &[
    "contact.list",
    "contact.requests",
    "contact.show",
    "contact.wait",
    "daemon.status",
    "events.subscribe",
    "events.unsubscribe",
    "history.list",
    "hook.list",
    "identity.show",
    "inbox.next",
    "inbox.readers",
    "message.check",
    "message.show",
    "message.wait",
    "queue.list",
    "relay.list",
];
/// What `send` can call, with the parameter that names the contact.
const SENDING: &[(&str, &str)] =
    &[("message.send", "to"), ("message.check", "to"), ("message.wait", "contact")];
/// Parameters of sending that reach further: what else is in the queue, and which relays there are.
const REACHING: &[&str] = &["key", "via"];
/// It describes the interface and nothing of this daemon.
const ANYBODY: &str = "rpc.discover";

/// The rule of one socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    allowed: BTreeSet<Allowed>,
    /// Of `send`: to these contacts alone.
    to: Option<Vec<String>>,
}

impl Scope {
    /// `to` limits `send` to these contacts.
    #[must_use]
    pub fn new(allowed: impl IntoIterator<Item = Allowed>, to: Option<Vec<String>>) -> Self {
        Self { allowed: allowed.into_iter().collect(), to }
    }

    /// The contacts that `send` is limited to, by name.
    #[must_use]
    pub fn names(&self) -> &[String] {
        self.to.as_deref().unwrap_or_default()
    }

    /// Whether a call may be made.
    ///
    /// # Errors
    /// `not_allowed`, which names the rule.
    pub fn check(&self, method: &str, params: Option<&RawValue>) -> Result<(), RpcError> {
        let may = |part| self.allowed.contains(&part);
        if may(Allowed::Full) || method == ANYBODY {
            return Ok(());
        }
        let params: Map<String, Value> =
            params.and_then(|params| serde_json::from_str(params.get()).ok()).unwrap_or_default();
        if may(Allowed::Read) && reads(method, &params) {
            return Ok(());
        }
        let Some((_, contact)) = SENDING.iter().find(|(name, _)| *name == method) else {
            return Err(self.refused(&format!("{} is not allowed here", brief(method))));
        };
        if !may(Allowed::Send) {
            return Err(self.refused(&format!("{method} is not allowed here")));
        }
        let given = |name: &str| params.get(name).is_some_and(|value| !value.is_null());
        if let Some(name) = REACHING.iter().find(|name| given(name)) {
            return Err(self.refused(&format!("`{name}` is not allowed here")));
        }
        let Some(to) = &self.to else { return Ok(()) };
        match params.get(*contact).and_then(Value::as_str) {
            Some(name) if to.iter().any(|allowed| allowed == name) => Ok(()),
            Some(_) => Err(self.refused("that contact is not one of them")),
            None => Err(self.refused(&format!("`{contact}` has to say which contact is meant"))),
        }
    }

    fn refused(&self, what: &str) -> RpcError {
        RpcError::not_allowed(format!("this socket may only {self}: {what}"))
            .with_hint("its rule is a [[socket]] in the daemon's config")
    }

    /// An answer without what goes beyond sending: which relays there are, whether the contact is
    /// there, and what a hint may tell of others: who may be meant by a name that nobody has.
    pub(crate) fn discreet(&self, answer: Box<RawValue>) -> Box<RawValue> {
        let may = |part| self.allowed.contains(&part);
        if may(Allowed::Full) || may(Allowed::Read) {
            return answer;
        }
        let Ok(mut whole) = serde_json::from_str::<Value>(answer.get()) else { return answer };
        if let Some(result) = whole.get_mut("result").and_then(Value::as_object_mut) {
            let mut blank =
                |name: &str, blank: Value| result.get_mut(name).map(|value| *value = blank);
            let via = blank("via", Value::Null);
            let presence = blank("presence", Presence::Unknown.as_str().into());
            let told = via.or(presence).is_some();
            return if told { raw(&whole).unwrap_or(answer) } else { answer };
        }
        let Some(data) = whole.pointer_mut("/error/data").and_then(Value::as_object_mut) else {
            return answer;
        };
        let kind = data.get("kind").and_then(Value::as_str).unwrap_or_default();
        let known = ErrorKind::ALL.iter().find(|known| known.as_str() == kind);
        if let Some(known) = known.filter(|known| **known != ErrorKind::NotAllowed) {
            data.insert("hint".to_owned(), known.hint().into());
        }
        raw(&whole).unwrap_or(answer)
    }
}

fn raw(whole: &Value) -> Option<Box<RawValue>> {
    RawValue::from_string(whole.to_string()).ok()
}

/// `send to oncall`, `read`, `read, send`.
impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<&str> = self.allowed.iter().map(|part| part.as_str()).collect();
        f.write_str(&words.join(", "))?;
        match &self.to {
            Some(to) => write!(f, " to {}", to.join(", ")),
            None => Ok(()),
        }
    }
}

fn reads(method: &str, params: &Map<String, Value>) -> bool {
    // Taking messages moves a reader's position; looking at them does not.
    let looks = params.get("peek").and_then(Value::as_bool) == Some(true);
    READING.contains(&method) && (method != "inbox.next" || looks)
}

/// What a stranger wrote, short enough to quote.
fn brief(method: &str) -> String {
    method.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::methods::METHODS;

    fn check(scope: &Scope, method: &str, params: &Value) -> Result<(), String> {
        let raw = serde_json::value::to_raw_value(params).unwrap();
        scope.check(method, Some(&raw)).map_err(|error| {
            assert_eq!(error.kind, ErrorKind::NotAllowed);
            error.message
        })
    }

    fn only(part: Allowed, to: &[&str]) -> Scope {
        let to = to.iter().map(|&name| name.to_owned()).collect();
        Scope::new([part], Some(to).filter(|to: &Vec<String>| !to.is_empty()))
    }

    #[test]
    fn sending_reaches_its_contacts_alone() {
        let page = only(Allowed::Send, &["oncall"]);
        for method in METHODS.iter().map(|entry| entry.name) {
            let to_oncall = json!({"to": "oncall", "contact": "oncall", "name": "oncall"});
            let sends = ["message.send", "message.check", "message.wait", "rpc.discover"];
            let may = check(&page, method, &to_oncall);
            assert_eq!(may.is_ok(), sends.contains(&method), "{method}: {may:?}");
            let to_bob = json!({"to": "bob", "contact": "bob", "name": "bob"});
            assert_eq!(check(&page, method, &to_bob).is_ok(), method == "rpc.discover", "{method}");
            assert_eq!(check(&page, method, &json!({})).is_ok(), method == "rpc.discover");
        }
        for more in [json!({"key": "k"}), json!({"via": "relay:home"})] {
            let mut params = json!({"to": "oncall", "body": "x"});
            params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert!(check(&page, "message.send", &params).is_err(), "{params}");
        }
        assert!(check(&page, "message.send", &json!({"to": "oncall", "key": null})).is_ok());
        assert!(check(&page, "message.send", &json!({"to": ["oncall"]})).is_err());
        assert!(check(&page, "message.send", &json!(["oncall"])).is_err());
        let said = check(&page, "contact.list", &json!({})).unwrap_err();
        assert_eq!(said, "this socket may only send to oncall: contact.list is not allowed here");
        // Whether bob exists, nobody is told.
        let of_bob = check(&page, "message.send", &json!({"to": "bob"}));
        assert_eq!(of_bob, check(&page, "message.send", &json!({"to": "nobody"})));
        let anybody = only(Allowed::Send, &[]);
        assert!(check(&anybody, "message.send", &json!({"to": "bob"})).is_ok());
        assert!(check(&anybody, "queue.discard", &json!({"all": true})).is_err());
    }

    /// A method that changes something must not slip in among those that look.
    #[test]
    fn reading_changes_nothing() {
        let read = only(Allowed::Read, &[]);
        for method in METHODS.iter().map(|entry| entry.name) {
            let looks = READING.contains(&method) || method == "rpc.discover";
            assert_eq!(check(&read, method, &json!({"peek": true})).is_ok(), looks, "{method}");
            let verb = method.split('.').nth(1).unwrap();
            let changes = [
                "accept",
                "ack",
                "add",
                "answer",
                "ask",
                "block",
                "clear",
                "confirm",
                "connect",
                "delete",
                "discard",
                "disconnect",
                "forget",
                "join",
                "keep",
                "leave",
                "login",
                "password",
                "reject",
                "remove",
                "rename",
                "replay",
                "resume",
                "retry",
                "send",
                "set",
                "stop",
                "test",
                "trust",
                "unblock",
                "verify",
            ];
            assert!(!(looks && changes.contains(&verb)), "{method}");
        }
        assert!(check(&read, "inbox.next", &json!({"reader": "r"})).is_err());
        assert!(check(&read, "inbox.next", &json!({"peek": false})).is_err());
        for name in READING {
            assert!(METHODS.iter().any(|entry| entry.name == *name), "{name}");
        }
    }

    #[test]
    fn parts_add_up_and_full_is_everything() {
        let both = Scope::new([Allowed::Send, Allowed::Read], Some(vec!["oncall".to_owned()]));
        assert_eq!(both.to_string(), "send, read to oncall");
        assert!(check(&both, "contact.list", &json!({})).is_ok());
        assert!(check(&both, "message.send", &json!({"to": "bob"})).is_err());
        let full = only(Allowed::Full, &[]);
        assert!(METHODS.iter().all(|entry| check(&full, entry.name, &json!({})).is_ok()));
        assert!(check(&only(Allowed::Read, &[]), "no.such", &json!({})).is_err());
    }

    #[test]
    fn a_hint_tells_nothing_of_others() {
        let page = only(Allowed::Send, &["oncall"]);
        let answer = json!({"id": 1, "error": {"code": 701, "message": "m", "data": {
            "kind": "no_such_contact", "hint": "bob@secret may be meant", "exit": 7}}});
        let raw = || RawValue::from_string(answer.to_string()).unwrap();
        assert!(!page.discreet(raw()).get().contains("bob@secret"));
        assert!(page.discreet(raw()).get().contains("no_such_contact"));
        assert_eq!(only(Allowed::Full, &[]).discreet(raw()).get(), raw().get());
        let result = RawValue::from_string("{\"id\":1,\"result\":{}}".to_owned()).unwrap();
        assert_eq!(page.discreet(result.clone()).get(), result.get());
    }

    #[test]
    fn where_a_message_would_go_is_for_others() {
        let told = json!({"id": 1, "result": {"to": "oncall", "presence": "online",
            "via": "relay:home", "waits": false}});
        let raw = || raw(&told).unwrap();
        let blank: Value =
            serde_json::from_str(only(Allowed::Send, &[]).discreet(raw()).get()).unwrap();
        let wanted = json!({"to": "oncall", "presence": "unknown", "via": null, "waits": false});
        assert_eq!(blank["result"], wanted);
        for more in [Allowed::Read, Allowed::Full] {
            let scope = Scope::new([Allowed::Send, more], None);
            assert_eq!(scope.discreet(raw()).get(), raw().get());
        }
    }
}
