//! Every result as JSON, once, in full: programs read these names.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::*;
use crate::admin;

const TIME: &str = "2026-11-24T10:45:00.000Z";
const ID: &str = "000102030405060708090a0b0c0d0e0f";

fn time() -> Time {
    TIME.parse().unwrap()
}

fn id() -> MessageId {
    ID.parse().unwrap()
}

/// It is written so, and read back the same.
fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: Value) {
    assert_eq!(serde_json::to_value(value).unwrap(), json);
    assert_eq!(&serde_json::from_value::<T>(json).unwrap(), value);
}

fn message() -> Message {
    Message {
        id: id(),
        contact: "alice".into(),
        contact_id: "c1".into(),
        direction: Direction::In,
        from: "alice".into(),
        to: "me".into(),
        body: "hi".into(),
        state: State::Delivered,
        time_sent: time(),
        time_received: Some(time()),
        verified: true,
        via: Some("relay:home".into()),
        reply_to: None,
        title: None,
        priority: Some(3),
        tags: vec!["t".into()],
        choices: None,
    }
}

fn message_json() -> Value {
    json!({
        "id": ID, "contact": "alice", "contact_id": "c1", "direction": "in", "from": "alice",
        "to": "me", "body": "hi", "state": "delivered", "time_sent": TIME, "time_received": TIME,
        "verified": true, "via": "relay:home", "reply_to": null, "title": null, "priority": 3,
        "tags": ["t"], "choices": null
    })
}

fn relay() -> RelayInfo {
    RelayInfo {
        name: "home".into(),
        address: "ams://h:7311/relay#x".into(),
        user: "bob".into(),
        state: LinkState::Down,
        since: Some(time()),
        reason: Some("no route".into()),
    }
}

fn relay_json() -> Value {
    json!({
        "name": "home", "address": "ams://h:7311/relay#x", "user": "bob", "state": "down",
        "since": TIME, "reason": "no route"
    })
}

fn contact() -> Contact {
    Contact {
        id: "c1".into(),
        name: "alice".into(),
        address: Some("alice@home".into()),
        state: ContactState::KeyChanged,
        presence: Presence::Unknown,
        verified: false,
        verified_by: Some(VerifiedBy::Number),
        fingerprint: Some("f".into()),
        offered_fingerprint: Some("g".into()),
        paths: vec![Path {
            kind: PathKind::Relay,
            name: "home".into(),
            active: true,
            state: PathState::Missing,
            since: None,
            reason: Some("gone".into()),
        }],
    }
}

fn contact_json() -> Value {
    json!({
        "id": "c1", "name": "alice", "address": "alice@home", "state": "key_changed",
        "presence": "unknown", "verified": false, "verified_by": "number", "fingerprint": "f",
        "offered_fingerprint": "g", "paths": [{"kind": "relay", "name": "home", "active": true,
            "state": "missing", "since": null, "reason": "gone"}]
    })
}

#[test]
fn daemon_and_identity() {
    golden(
        &DaemonStatus {
            version: "0.1.0".into(),
            pid: 7,
            started: time(),
            home: "/h".into(),
            fingerprint: "f".into(),
            presence: Visibility::Visible,
            listen: vec!["0.0.0.0:7310".into()],
            socks5: Some("127.0.0.1:9050".into()),
            relays: vec![relay()],
            peers: vec![PeerInfo {
                name: "carol".into(),
                address: "h:7310".into(),
                state: LinkState::Up,
                since: None,
                reason: None,
                fingerprint: Some("f".into()),
            }],
            queue: QueueCounts { queued: 1, sent: 2, undelivered: 3, waiting: 4 },
            inbox: InboxCounts { kept: 5 },
            store: StoreCounts { commits: 6, writes: 7 },
            hooks: vec![HookInfo {
                name: "x".into(),
                run: "/bin/x".into(),
                on: vec![EventType::MessageReceived],
                state: HookState::Failing,
                reason: Some("exit 1".into()),
                waiting: 8,
                failed: 9,
            }],
            warnings: vec!["w".into()],
        },
        json!({
            "version": "0.1.0", "pid": 7, "started": TIME, "home": "/h", "fingerprint": "f",
            "presence": "visible", "listen": ["0.0.0.0:7310"],
            "socks5": "127.0.0.1:9050", "relays": [relay_json()],
            "peers": [{"name": "carol", "address": "h:7310", "state": "up", "since": null,
                "reason": null, "fingerprint": "f"}],
            "queue": {"queued": 1, "sent": 2, "undelivered": 3, "waiting": 4},
            "inbox": {"kept": 5},
            "store": {"commits": 6, "writes": 7},
            "hooks": [{"name": "x", "run": "/bin/x", "on": ["message.received"],
                "state": "failing", "reason": "exit 1", "waiting": 8, "failed": 9}],
            "warnings": ["w"]
        }),
    );
    golden(
        &Identity { fingerprint: "f".into(), accounts: vec!["bob@h:1".into()], peer_links: vec![] },
        json!({"fingerprint": "f", "accounts": ["bob@h:1"], "peer_links": []}),
    );
    golden(&PresenceParams { presence: Visibility::Invisible }, json!({"presence": "invisible"}));
    golden(&Done {}, json!({}));
}

#[test]
fn messages_and_queue() {
    golden(
        &Messages { messages: vec![message()], more: false },
        json!({"messages": [message_json()], "more": false}),
    );
    let mut queued = message_json();
    queued["reason"] = json!("r");
    let one = QueuedMessage { message: message(), reason: Some("r".into()) };
    golden(
        &QueuedMessages { messages: vec![one], more: true },
        json!({"messages": [queued], "more": true}),
    );
    golden(
        &QueueListParams { to: Some("bob".into()), after: None, limit: Some(3) },
        json!({"to": "bob", "after": null, "limit": 3}),
    );
    let mut with_steps = message_json();
    with_steps["steps"] = json!([{"time": TIME, "what": "sent", "via": null, "reason": null}]);
    with_steps["if_undelivered"] = json!("keep");
    with_steps["expires"] = json!(TIME);
    with_steps["key"] = json!("k");
    with_steps["only_via"] = json!("relay:home");
    golden(
        &MessageShown {
            messages: vec![MessageSteps {
                message: message(),
                steps: vec![Step { time: time(), what: "sent".into(), via: None, reason: None }],
                if_undelivered: Some(IfUndelivered::Keep),
                expires: Some(time()),
                key: Some("k".into()),
                only_via: Some(Via::Through("home".into())),
            }],
        },
        json!({"messages": [with_steps]}),
    );
    golden(
        &SendResult { id: id(), state: State::Queued, reached: false, exit: 8 },
        json!({"id": ID, "state": "queued", "reached": false, "exit": 8}),
    );
    golden(
        &QueueOutcomes {
            messages: vec![QueueOutcome { id: id(), state: State::Discarded }],
            next: Some("1-2".into()),
        },
        json!({"messages": [{"id": ID, "state": "discarded"}], "next": "1-2"}),
    );
    golden(&HistoryCleared { removed: 2, unread: 1 }, json!({"removed": 2, "unread": 1}));
}

#[test]
fn inbox_and_readers() {
    golden(
        &InboxBatch { messages: vec![message()], cursor: Some("c".into()), more: true },
        json!({"messages": [message_json()], "cursor": "c", "more": true}),
    );
    golden(
        &Readers {
            readers: vec![ReaderInfo { name: "default".into(), unread: 2, used: Some(time()) }],
        },
        json!({"readers": [{"name": "default", "unread": 2, "used": TIME}]}),
    );
}

#[test]
fn links_and_backups() {
    golden(
        &ContactLinkMade { link: "ams://h:7311/contact#x".into(), expires: time() },
        json!({"link": "ams://h:7311/contact#x", "expires": TIME}),
    );
    golden(
        &ProfileSummary {
            fingerprint: "f".into(),
            contacts: 1,
            messages: 2,
            accounts: vec![ProfileAccount {
                link: "ams://h:7311/relay#x".into(),
                user: "bob".into(),
            }],
        },
        json!({"fingerprint": "f", "contacts": 1, "messages": 2,
            "accounts": [{"link": "ams://h:7311/relay#x", "user": "bob"}]}),
    );
}

#[test]
fn relays_and_contacts() {
    let peers = vec![PeerInfo {
        name: "carol".into(),
        address: "h:7310".into(),
        state: LinkState::Down,
        since: None,
        reason: Some("r".into()),
        fingerprint: None,
    }];
    golden(
        &Peers { peers },
        json!({"peers": [{"name": "carol", "address": "h:7310", "state": "down", "since": null,
            "reason": "r", "fingerprint": null}]}),
    );
    golden(&Relays { relays: vec![relay()] }, json!({"relays": [relay_json()]}));
    golden(&Contacts { contacts: vec![contact()] }, json!({"contacts": [contact_json()]}));
    golden(
        &ContactBrief { id: "c1".into(), name: "alice".into(), state: ContactState::Pending },
        json!({"id": "c1", "name": "alice", "state": "pending"}),
    );
    let (name, via) = ("alice".into(), Some("direct".into()));
    golden(
        &ContactPinged { name, via, microseconds: Some(1234), exit: 0 },
        json!({"name": "alice", "via": "direct", "microseconds": 1234, "exit": 0}),
    );
    golden(
        &ContactVerified {
            name: "alice".into(),
            safety_number: "1".repeat(60),
            verified: true,
            verified_by: Some(VerifiedBy::Link),
        },
        json!({"name": "alice", "safety_number": "1".repeat(60), "verified": true,
            "verified_by": "link"}),
    );
    let to = "carol@home".to_owned();
    golden(
        &Requests {
            incoming: vec![IncomingRequest {
                id: "r1".into(),
                from: "alice@home".into(),
                name: "alice".into(),
                fingerprint: "f".into(),
                again: true,
                received: time(),
            }],
            outgoing: vec![OutgoingRequest { id: "r2".into(), to, name: "c".into(), sent: time() }],
            links: vec![WaitingLink { relay: "home".into(), name: None, expires: time() }],
        },
        json!({
            "incoming": [{"id": "r1", "from": "alice@home", "name": "alice", "fingerprint": "f",
                "again": true, "received": TIME}],
            "outgoing": [{"id": "r2", "to": "carol@home", "name": "c", "sent": TIME}],
            "links": [{"relay": "home", "name": null, "expires": TIME}]
        }),
    );
}

#[test]
fn events() {
    let event = |fact| Event { cursor: "9".into(), time: time(), fact };
    let shown = |kind: &str, more: Value| {
        let mut all = json!({"cursor": "9", "time": TIME, "type": kind});
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    let contact = || ContactFact { contact: "a".into(), contact_id: "c".into(), verified: true };
    let contact_json = json!({"contact": "a", "contact_id": "c", "verified": true});
    let link = || LinkFact { name: "home".into(), reason: None };
    let link_json = json!({"name": "home", "reason": null});
    let state = || StateFact {
        id: id(),
        contact: "a".into(),
        contact_id: "c".into(),
        state: State::Undelivered,
        reason: Some("r".into()),
    };
    let state_json = json!({"id": ID, "contact": "a", "contact_id": "c", "state": "undelivered",
        "reason": "r"});
    let request = IncomingRequest {
        id: "r".into(),
        from: "a@home".into(),
        name: "a".into(),
        fingerprint: "f".into(),
        again: false,
        received: time(),
    };
    let request_json = serde_json::to_value(&request).unwrap();
    let mut facts = EventType::ALL.to_vec();
    for (fact, json) in [
        (
            Fact::MessageReceived(ReceivedFact { message: message() }),
            json!({"message": message_json()}),
        ),
        (Fact::MessageState(state()), state_json.clone()),
        (Fact::MessageUndelivered(state()), state_json),
        (Fact::ContactOnline(contact()), contact_json.clone()),
        (Fact::ContactOffline(contact()), contact_json.clone()),
        (Fact::ContactRequest(RequestFact { request }), json!({"request": request_json})),
        (Fact::ContactApproved(contact()), contact_json),
        (
            Fact::ContactKeyChanged(KeyChangedFact {
                contact: "a".into(),
                contact_id: "c".into(),
                fingerprint: "f".into(),
                offered_fingerprint: "g".into(),
            }),
            json!({"contact": "a", "contact_id": "c", "fingerprint": "f",
                "offered_fingerprint": "g"}),
        ),
        (Fact::RelayUp(link()), link_json.clone()),
        (Fact::RelayDown(link()), link_json.clone()),
        (Fact::PeerUp(link()), link_json.clone()),
        (Fact::PeerDown(link()), link_json.clone()),
        (Fact::StateCloned(link()), link_json),
        (Fact::EventsLost(LostFact { count: Some(3) }), json!({"count": 3})),
    ] {
        let kind = fact.kind();
        facts.retain(|left| *left != kind);
        golden(&event(fact), shown(kind.as_str(), json));
    }
    assert!(facts.is_empty(), "without a sample: {facts:?}");
}

#[test]
fn the_relays_administration() {
    golden(
        &admin::InviteLink {
            link: "ams://x".into(),
            name: "bob".into(),
            expires: time(),
            replaced: true,
        },
        json!({"link": "ams://x", "name": "bob", "expires": TIME, "replaced": true}),
    );
    golden(
        &admin::Invites {
            invites: vec![admin::InviteInfo { name: "bob".into(), expires: time() }],
        },
        json!({"invites": [{"name": "bob", "expires": TIME}]}),
    );
    golden(
        &admin::Users {
            users: vec![admin::UserInfo {
                name: "bob".into(),
                state: admin::UserState::Disabled,
                online: false,
                created: time(),
            }],
        },
        json!({"users": [{"name": "bob", "state": "disabled", "online": false, "created": TIME}]}),
    );
    golden(
        &admin::RelayStatus {
            version: "0.1.0".into(),
            running: true,
            pid: Some(7),
            started: Some(time()),
            address: "ams://x".into(),
            accounts: 1,
            connections: 2,
            held_messages: 3,
            held_bytes: 4,
            retry_window: Period(std::time::Duration::from_secs(60)),
            limits: vec![admin::LimitInfo { name: "accounts".into(), used: Some(1), max: 10 }],
        },
        json!({
            "version": "0.1.0", "running": true, "pid": 7, "started": TIME, "address": "ams://x",
            "accounts": 1, "connections": 2, "held_messages": 3, "held_bytes": 4,
            "retry_window": "1m", "limits": [{"name": "accounts", "used": 1, "max": 10}]
        }),
    );
    golden(&admin::RelayAddress { address: "a".into() }, json!({"address": "a"}));
    golden(
        &admin::RelayBackedUp { file: "a".into(), keys_file: "b".into() },
        json!({"file": "a", "keys_file": "b"}),
    );
}

#[test]
fn params_take_what_is_absent_as_null_and_refuse_the_rest() {
    let short: SendParams = serde_json::from_value(json!({"to": "bob", "body": "hi"})).unwrap();
    assert_eq!(short, SendParams::new("bob", "hi"));
    let full = json!({"to": "bob", "body": "hi", "wait": "delivered", "timeout": "30s", "id": ID,
        "reply_to": null, "title": null, "priority": null, "tags": ["a"], "if_undelivered": "keep",
        "ttl": "2h", "key": "status", "via": "relay:home"});
    let full: SendParams = serde_json::from_value(full).unwrap();
    assert_eq!(full.timeout, Some(Period(std::time::Duration::from_secs(30))));
    assert_eq!(full.via, Some(Via::Through("home".into())));
    for good in ["direct", "relay", "relay:home"] {
        assert_eq!(good.parse::<Via>().unwrap().to_string(), good);
    }
    for bad in ["", "Direct", "relay:", "relays", "home"] {
        assert!(bad.parse::<Via>().is_err(), "{bad}");
    }
    assert!(serde_json::from_value::<SendParams>(json!({"to": "b", "body": "", "x": 1})).is_err());
    for bad in ["", "0x", "00010203", &ID.to_uppercase(), &format!("{ID}00")] {
        assert!(bad.parse::<MessageId>().is_err(), "{bad}");
    }
    assert!(serde_json::from_value::<Period>(json!("soon")).is_err());
}

#[test]
fn a_password_is_never_shown() {
    let params: RelayJoinParams =
        serde_json::from_value(json!({"link": "l", "password": "hunter2", "nick": null})).unwrap();
    assert_eq!(params.password.expose_secret(), "hunter2");
    assert_eq!(
        format!("{params:?}"),
        r#"RelayJoinParams { link: "l", password: Secret(..), nick: None }"#
    );
    let wrong = serde_json::from_value::<Secret>(json!(12_345)).unwrap_err().to_string();
    assert!(!wrong.contains("12345") && !wrong.contains("12_345"), "{wrong}");
}

#[test]
fn how_waits_end() {
    use crate::Exit;
    let end = |stage: Stage, state, has_timeout, timed_out| {
        stage.wait_end(state, has_timeout, timed_out).map(|end| (end.reached, end.exit))
    };
    for state in State::ALL.iter().copied() {
        let late = matches!(state, State::Delivered | State::Read);
        let ended = matches!(
            state,
            State::Undelivered | State::Discarded | State::Expired | State::Replaced
        );
        let got = end(Stage::Delivered, state, true, false);
        if late {
            assert_eq!(got, Some((true, Exit::Done)));
        } else if ended {
            assert_eq!(got, Some((false, Exit::Undelivered)));
        } else {
            assert_eq!(got, None, "{state}");
        }
        // A timeout always ends it.
        assert!(end(Stage::Read, state, true, true).is_some(), "{state}");
    }
    assert_eq!(end(Stage::Sent, State::Sent, false, false), Some((true, Exit::Done)));
    assert_eq!(end(Stage::Read, State::Delivered, true, true), Some((false, Exit::Sent)));
    assert_eq!(end(Stage::Delivered, State::Sent, true, true), Some((false, Exit::Sent)));
    assert_eq!(end(Stage::Delivered, State::Queued, true, true), Some((false, Exit::Queued)));
    assert_eq!(end(Stage::Delivered, State::Queued, false, false), None);
    assert_eq!(end(Stage::Delivered, State::Waiting, false, false), Some((false, Exit::Queued)));
    assert_eq!(end(Stage::Delivered, State::Waiting, true, false), None);
}
