//! At least one sample of everything that travels, for the tests of all modules.
//!
//! The macro writes the list and an exhaustive `match` from the same lines: a variant without a
//! sample does not compile.

use crate::address::{ContactLink, HostPort, InviteLink, Link, PeerLink, RELAY_PORT, RelayLink};
use crate::aside::{Aside, Offer};
use crate::body::{Body, KIND_QUESTION, KIND_TEXT};
use crate::from_relay::{
    Bye, Deliver, FromRelay, Outcome, PasswordResponse, Presence, Redeemed, RelayHello, Request,
    Row, RowState,
};
use crate::id::{
    ApprovalId, Blob, ContactSecret, EnvelopeId, Handle, IntroId, InviteToken, Key, MessageId,
    PingToken, RootTag, RoutingId, Signature, WorkMark,
};
use crate::inner::{Full, Inner};
use crate::intro::{Approval, Intro, Place, Signed};
use crate::limits::{KEM_CIPHERTEXT, KEM_KEY, MIN_ENVELOPE};
use crate::receipt::{Receipt, RootReceipt, Run, Window};
use crate::to_peer::{PeerHello, ToPeer};
use crate::to_relay::{
    Approve, Ask, Attach, Await, ClientHello, Fetched, JoinFinish, JoinStart, LoginFinish,
    LoginStart, PasswordFinish, PasswordStart, Redeem, Refuse, Send, Stored, ToRelay,
};
use crate::username::Username;

mod bounds;
mod golden;
mod properties;
mod strategies;

/// `samples! { fn NAME() -> TYPE { PATTERN => "name": VALUE, … } }`
macro_rules! samples {
    (fn $list:ident() -> $type:ty { $($pattern:pat => $name:literal: $value:expr,)+ }) => {
        pub(crate) fn $list() -> Vec<(&'static str, $type)> {
            let is_listed = |value: &$type| match value { $($pattern => true,)+ };
            let list = vec![$(($name, $value),)+];
            assert!(list.iter().all(|(_, value)| is_listed(value)));
            $(
                let sample = list.iter().find(|(name, _)| *name == $name).map(|(_, value)| value);
                assert!(matches!(sample, Some($pattern)), $name);
            )+
            list
        }
    };
}

const HANDLE: Handle = Handle([0xa1; 16]);
const THEIR_HANDLE: Handle = Handle([0xa2; 16]);
const BY: RoutingId = RoutingId([0xa3; 16]);
const INTRO: IntroId = IntroId([0x31; 32]);
const PING: PingToken = PingToken([0xb2; 8]);
const MARK: WorkMark = WorkMark { counter: 7, nonce: [0xb1; 8] };
const ENVELOPE: [u8; MIN_ENVELOPE] = [0xe1; MIN_ENVELOPE];

fn alice() -> Username {
    Username::new("alice").unwrap()
}

fn bob() -> Username {
    Username::new("bob").unwrap()
}

fn blob(byte: u8) -> Blob {
    Blob::new(vec![byte; 40]).unwrap()
}

fn row(state: RowState, approval: Option<Blob>) -> Row {
    Row { handle: HANDLE, peer: bob(), state, approval }
}

samples! {
    fn to_relay() -> ToRelay<'static> {
        ToRelay::Hello(_) => "to-relay/hello": ToRelay::Hello(ClientHello { versions: vec![1] }),
        ToRelay::Ping => "to-relay/ping": ToRelay::Ping,
        ToRelay::Pong => "to-relay/pong": ToRelay::Pong,
        ToRelay::Bye => "to-relay/bye": ToRelay::Bye,
        ToRelay::JoinStart(_) => "to-relay/join-start": ToRelay::JoinStart(JoinStart {
            token: InviteToken([0xc1; 16]),
            request: [0xd1; 32],
        }),
        ToRelay::JoinFinish(_) => "to-relay/join-finish":
            ToRelay::JoinFinish(JoinFinish { upload: [0xd2; 192] }),
        ToRelay::LoginStart(_) => "to-relay/login-start":
            ToRelay::LoginStart(LoginStart { user: alice(), ke1: [0xd3; 96] }),
        ToRelay::LoginFinish(_) => "to-relay/login-finish":
            ToRelay::LoginFinish(LoginFinish { ke3: [0xd4; 64] }),
        ToRelay::Attach(_) => "to-relay/attach":
            ToRelay::Attach(Attach { mark: MARK, visible: true }),
        ToRelay::Send(_) => "to-relay/send": ToRelay::Send(Send {
            handle: HANDLE,
            ttl: 60,
            mark: MARK,
            envelope: &ENVELOPE,
        }),
        ToRelay::Stored(_) => "to-relay/stored":
            ToRelay::Stored(Stored { count: 3, mark: MARK }),
        ToRelay::Ask(_) => "to-relay/ask":
            ToRelay::Ask(Ask { handle: HANDLE, to: bob(), intro: blob(0xf1) }),
        ToRelay::Approve(Approve { by: None, .. }) => "to-relay/approve":
            ToRelay::Approve(Approve {
                to: alice(),
                their_handle: HANDLE,
                handle: THEIR_HANDLE,
                approval: blob(0xf2),
                by: None,
                intro: INTRO,
            }),
        ToRelay::Approve(Approve { by: Some(_), .. }) => "to-relay/approve-by-link":
            ToRelay::Approve(Approve {
                to: alice(),
                their_handle: HANDLE,
                handle: THEIR_HANDLE,
                approval: blob(0xf2),
                by: Some(BY),
                intro: INTRO,
            }),
        ToRelay::Refuse(_) => "to-relay/refuse":
            ToRelay::Refuse(Refuse { to: alice(), their_handle: HANDLE }),
        ToRelay::Block(_) => "to-relay/block": ToRelay::Block(HANDLE),
        ToRelay::Unblock(_) => "to-relay/unblock": ToRelay::Unblock(HANDLE),
        ToRelay::Remove(_) => "to-relay/remove": ToRelay::Remove(HANDLE),
        ToRelay::Fetched(_) => "to-relay/fetched":
            ToRelay::Fetched(Fetched { handle: HANDLE, approval: ApprovalId([0x32; 32]) }),
        ToRelay::SetPresence(true) => "to-relay/set-presence-visible": ToRelay::SetPresence(true),
        ToRelay::SetPresence(false) => "to-relay/set-presence-invisible":
            ToRelay::SetPresence(false),
        ToRelay::PasswordStart(_) => "to-relay/password-start":
            ToRelay::PasswordStart(PasswordStart { ke1: [0xd3; 96], request: [0xd1; 32] }),
        ToRelay::PasswordFinish(_) => "to-relay/password-finish":
            ToRelay::PasswordFinish(PasswordFinish { ke3: [0xd4; 64], upload: [0xd2; 192] }),
        ToRelay::DeleteAccount => "to-relay/delete-account": ToRelay::DeleteAccount,
        ToRelay::Redeem(_) => "to-relay/redeem":
            ToRelay::Redeem(Redeem { handle: HANDLE, by: BY, intro: blob(0xf3) }),
        ToRelay::Await(_) => "to-relay/await": ToRelay::Await(Await { links: vec![BY] }),
    }
}

samples! {
    fn to_peer() -> ToPeer<'static> {
        ToPeer::Hello(_) => "to-peer/hello": ToPeer::Hello(PeerHello { versions: vec![1] }),
        ToPeer::Ping => "to-peer/ping": ToPeer::Ping,
        ToPeer::Pong => "to-peer/pong": ToPeer::Pong,
        ToPeer::Bye => "to-peer/bye": ToPeer::Bye,
        ToPeer::Introduce(_) => "to-peer/introduce": ToPeer::Introduce(blob(0xf1)),
        ToPeer::Noted(_) => "to-peer/noted": ToPeer::Noted(IntroId([0x31; 32])),
        ToPeer::Approval(_) => "to-peer/approval": ToPeer::Approval(blob(0xf2)),
        ToPeer::Opened(_) => "to-peer/opened": ToPeer::Opened(IntroId([0x37; 32])),
        ToPeer::Settled(None) => "to-peer/settled-without-keys": ToPeer::Settled(None),
        ToPeer::Settled(Some(_)) => "to-peer/settled": ToPeer::Settled(Some(&ENVELOPE)),
        ToPeer::Envelope(_) => "to-peer/envelope": ToPeer::Envelope(&ENVELOPE),
        ToPeer::Handled(_) => "to-peer/handled": ToPeer::Handled(3),
    }
}

samples! {
    fn from_relay() -> FromRelay<'static> {
        FromRelay::Hello(_) => "from-relay/hello":
            FromRelay::Hello(RelayHello { version: 1, window: 60 }),
        FromRelay::Ping => "from-relay/ping": FromRelay::Ping,
        FromRelay::Pong => "from-relay/pong": FromRelay::Pong,
        FromRelay::Bye(Bye::Draining) => "from-relay/bye-draining":
            FromRelay::Bye(Bye::Draining),
        FromRelay::Bye(Bye::Replaced) => "from-relay/bye-replaced":
            FromRelay::Bye(Bye::Replaced),
        FromRelay::Bye(Bye::Superseded) => "from-relay/bye-superseded":
            FromRelay::Bye(Bye::Superseded),
        FromRelay::Bye(Bye::Version) => "from-relay/bye-version": FromRelay::Bye(Bye::Version),
        FromRelay::JoinResponse(_) => "from-relay/join-response":
            FromRelay::JoinResponse([0xd5; 64]),
        FromRelay::LoginResponse(_) => "from-relay/login-response":
            FromRelay::LoginResponse(Box::new([0xd6; 320])),
        FromRelay::Enrolled => "from-relay/enrolled": FromRelay::Enrolled,
        FromRelay::Refused => "from-relay/refused": FromRelay::Refused,
        FromRelay::Attached => "from-relay/attached": FromRelay::Attached,
        FromRelay::Row(Row { state: RowState::Asked, .. }) => "from-relay/row-asked":
            FromRelay::Row(row(RowState::Asked, None)),
        FromRelay::Row(Row { state: RowState::Accepted, .. }) => "from-relay/row-accepted":
            FromRelay::Row(row(RowState::Accepted, Some(blob(0xf2)))),
        FromRelay::Row(Row { state: RowState::Blocked, .. }) => "from-relay/row-blocked":
            FromRelay::Row(row(RowState::Blocked, None)),
        FromRelay::Request(_) => "from-relay/request": FromRelay::Request(Request {
            from: alice(),
            their_handle: HANDLE,
            intro: blob(0xf1),
        }),
        FromRelay::SnapshotEnd => "from-relay/snapshot-end": FromRelay::SnapshotEnd,
        FromRelay::Cloned(_) => "from-relay/cloned": FromRelay::Cloned(7),
        FromRelay::Redeemed(_) => "from-relay/redeemed": FromRelay::Redeemed(Redeemed {
            from: alice(),
            their_handle: HANDLE,
            by: BY,
            intro: blob(0xf3),
        }),
        FromRelay::Deliver(_) => "from-relay/deliver":
            FromRelay::Deliver(Deliver { handle: THEIR_HANDLE, envelope: &ENVELOPE }),
        FromRelay::Accepted(_) => "from-relay/accepted": FromRelay::Accepted(3),
        FromRelay::Failed(_) => "from-relay/failed": FromRelay::Failed(EnvelopeId([0xe1; 16])),
        FromRelay::PasswordResponse(_) => "from-relay/password-response":
            FromRelay::PasswordResponse(Box::new(PasswordResponse {
                ke2: [0xd6; 320],
                response: [0xd5; 64],
            })),
        FromRelay::Done(Outcome::Ok) => "from-relay/done-ok": FromRelay::Done(Outcome::Ok),
        FromRelay::Done(Outcome::Limited) => "from-relay/done-limited":
            FromRelay::Done(Outcome::Limited),
        FromRelay::Done(Outcome::Refused) => "from-relay/done-refused":
            FromRelay::Done(Outcome::Refused),
        FromRelay::Presence(_) => "from-relay/presence": FromRelay::Presence(Presence {
            online: vec![HANDLE],
            offline: vec![THEIR_HANDLE],
        }),
    }
}

fn receipt() -> Receipt {
    let mut taken = Window::new(5);
    for ctr in [5, 6, 8, 260] {
        taken.insert(ctr);
    }
    let mut read = Window::new(40);
    read.insert(41);
    Receipt {
        roots: vec![
            RootReceipt { root: RootTag([0x91; 8]), taken },
            RootReceipt { root: RootTag([0x92; 8]), taken: Window::new(300) },
        ],
        read: Some(read),
        ..Receipt::default()
    }
}

samples! {
    fn inner() -> Inner {
        Inner { full: None, receipt: Receipt { ping: Some(_), .. }, .. } =>
            "inner/bare-ping": Inner {
                answer: false,
                receipt: Receipt { ping: Some(PING), ..Receipt::default() },
                full: None,
            },
        Inner { full: None, receipt: Receipt { pong: Some(_), .. }, .. } =>
            "inner/bare-pong": Inner {
                answer: false,
                receipt: Receipt { pong: Some(PING), ..receipt() },
                full: None,
            },
        Inner { full: None, answer: false, .. } => "inner/bare-empty":
            Inner { answer: false, receipt: Receipt::default(), full: None },
        Inner { full: None, answer: true, receipt: Receipt { unread: Some(_), .. } } =>
            "inner/bare-unread": Inner {
                answer: true,
                receipt: Receipt {
                    unread: Some(vec![Run { first: 7, count: 1 }, Run { first: 20, count: 300 }]),
                    ..receipt()
                },
                full: None,
            },
        Inner { full: None, answer: true, .. } => "inner/bare-answer":
            Inner { answer: true, receipt: receipt(), full: None },
        Inner { full: Some(Full { olm_type: 0, .. }), .. } => "inner/full-first":
            Inner {
                answer: false,
                receipt: Receipt::default(),
                full: Some(Full { ctr: 1, base: 1, olm_type: 0, olm: vec![0x71; 200] }),
            },
        Inner { full: Some(_), .. } => "inner/full-later": Inner {
            answer: true,
            receipt: receipt(),
            full: Some(Full { ctr: 300, base: 45, olm_type: 1, olm: vec![0x72; 500] }),
        },
    }
}

samples! {
    fn body() -> Body {
        Body { reply_to: None, title: None, priority: None, tags: None, choices: None, .. } => "body/least":
            Body {
                id: MessageId([0x11; 16]),
                device: 1,
                seq: 1,
                low: 1,
                sent_at: 1_700_000_000_000,
                kind: KIND_TEXT,
                text: "hi".to_owned(),
                reply_to: None,
                title: None,
                priority: None,
                tags: None,
                choices: None,
            },
        Body { choices: Some(_), .. } => "body/question": Body {
            id: MessageId([0x11; 16]),
            device: 1,
            seq: 2,
            low: 1,
            sent_at: 1_700_000_000_000,
            kind: KIND_QUESTION,
            text: "Deploy?".to_owned(),
            reply_to: None,
            title: None,
            priority: None,
            tags: None,
            choices: Some(vec!["yes".to_owned(), "no".to_owned()]),
        },
        Body { .. } => "body/whole": Body {
            id: MessageId([0x11; 16]),
            device: 1,
            seq: 300,
            low: 290,
            sent_at: -1,
            kind: KIND_TEXT,
            text: "disk full\n".to_owned(),
            reply_to: Some(MessageId([0x12; 16])),
            title: Some("web1".to_owned()),
            priority: Some(5),
            tags: Some(vec!["disk".to_owned(), "cron".to_owned()]),
            choices: None,
        },
    }
}

samples! {
    fn aside() -> Aside {
        Aside::Direct(Offer { link_key: None, .. }) => "aside/withdrawn": Aside::Direct(Offer {
            number: 1_700_000_000_001,
            link_key: None,
            addresses: Vec::new(),
        }),
        Aside::Direct(Offer { link_key: Some(_), .. }) => "aside/direct": Aside::Direct(Offer {
            number: 1_700_000_000_000,
            link_key: Some(Key([0x28; 32])),
            addresses: vec!["192.0.2.7:7310".to_owned(), "[2001:db8::1]:7310".to_owned()],
        }),
    }
}

samples! {
    fn intro() -> Intro {
        Intro { place: Place::Relay(_), .. } => "intro/relay": Intro {
            identity: Key([0x21; 32]),
            olm: Key([0x22; 32]),
            one_time: Key([0x23; 32]),
            ephemeral: Key([0x24; 32]),
            kem: vec![0x25; KEM_KEY],
            from: alice(),
            to: bob(),
            place: Place::Relay(Key([0x26; 32])),
            expires: 1_700_000_000,
        },
        Intro { place: Place::Direct, .. } => "intro/direct": Intro {
            identity: Key([0x21; 32]),
            olm: Key([0x22; 32]),
            one_time: Key([0x23; 32]),
            ephemeral: Key([0x24; 32]),
            kem: vec![0x25; KEM_KEY],
            from: alice(),
            to: bob(),
            place: Place::Direct,
            expires: 0,
        },
    }
}

samples! {
    fn approval() -> Approval {
        Approval { .. } => "approval/relay": Approval {
            intro: INTRO,
            identity: Key([0x32; 32]),
            olm: Key([0x33; 32]),
            ephemeral: Key([0x34; 32]),
            kem: vec![0x35; KEM_CIPHERTEXT],
            first: vec![0x36; 180],
            from: bob(),
            to: alice(),
            place: Place::Relay(Key([0x26; 32])),
        },
    }
}

samples! {
    fn signed() -> Signed {
        Signed { .. } => "signed/any":
            Signed { fields: vec![0x41; 300], signature: Signature([0x42; 64]) },
    }
}

samples! {
    fn link() -> Link {
        Link::Relay(_) => "link/relay": Link::Relay(RelayLink {
            at: HostPort::parse("relay.example.org", RELAY_PORT).unwrap(),
            relay: Key([0x26; 32]),
        }),
        Link::Invite(_) => "link/invite": Link::Invite(InviteLink {
            at: HostPort::parse("[2001:db8::1]:7400", RELAY_PORT).unwrap(),
            relay: Key([0x26; 32]),
            user: alice(),
            token: InviteToken([0xc1; 16]),
        }),
        Link::Contact(_) => "link/contact": Link::Contact(ContactLink {
            at: HostPort::parse("relay.example.org", RELAY_PORT).unwrap(),
            relay: Key([0x26; 32]),
            by: BY,
            identity: Key([0x21; 32]),
            one_time: Key([0x27; 32]),
            secret: ContactSecret([0xc2; 16]),
            expires: 1_700_000_000,
        }),
        Link::Peer(_) => "link/peer": Link::Peer(PeerLink {
            at: HostPort::parse("alice.example.org:7310", RELAY_PORT).unwrap(),
            identity: Key([0x21; 32]),
        }),
    }
}
