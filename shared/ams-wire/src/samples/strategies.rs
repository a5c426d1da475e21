//! Values of every type that travels, drawn by chance.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::ENVELOPE;
use crate::address::{ContactLink, HostPort, InviteLink, Link, PeerLink, RELAY_PORT, RelayLink};
use crate::aside::{Aside, Offer};
use crate::body::Body;
use crate::from_relay::{
    Bye, FromRelay, Outcome, PasswordResponse, Presence, Redeemed, RelayHello, Request, Row,
    RowState,
};
use crate::id::{
    ApprovalId, Blob, ContactSecret, EnvelopeId, Handle, IntroId, InviteToken, Key, MessageId,
    PingToken, RootTag, RoutingId, WorkMark,
};
use crate::inner::{Full, Inner};
use crate::intro::{Approval, Intro, Place};
use crate::limits::{
    COUNTER_WINDOW, KEM_CIPHERTEXT, KEM_KEY, MAX_BLOB, MAX_CHOICE, MAX_CHOICES, MAX_CONTACT_LINKS,
    MAX_FIRST_OLM, MAX_OFFERED, MAX_OFFERED_ADDRESS, MAX_RECEIPT_ROOTS, MAX_TAG, MAX_TAGS,
    MAX_TITLE, MAX_UNREAD_RUNS, MAX_VERSIONS,
};
use crate::receipt::{Receipt, RootReceipt, Run, Window};
use crate::to_peer::{PeerHello, ToPeer};
use crate::to_relay::{
    Approve, Ask, Attach, Await, ClientHello, Fetched, JoinFinish, JoinStart, LoginFinish,
    LoginStart, PasswordFinish, PasswordStart, Redeem, Refuse, Stored, ToRelay,
};
use crate::username::Username;

/// `N` bytes, each as likely as any other.
pub(super) fn bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().unwrap())
}

pub(super) fn handle() -> impl Strategy<Value = Handle> {
    bytes().prop_map(Handle)
}

fn routing_id() -> impl Strategy<Value = RoutingId> {
    bytes().prop_map(RoutingId)
}

fn key() -> impl Strategy<Value = Key> {
    bytes().prop_map(Key)
}

pub(super) fn mark() -> impl Strategy<Value = WorkMark> {
    (any::<u64>(), bytes()).prop_map(|(counter, nonce)| WorkMark { counter, nonce })
}

fn username() -> impl Strategy<Value = Username> {
    let first = prop::sample::select(b"abcdefghijklmnopqrstuvwxyz0123456789".as_slice());
    let later = prop::sample::select(b"abcdefghijklmnopqrstuvwxyz0123456789_.-".as_slice());
    (first, vec(later, 2..32)).prop_map(|(first, later)| {
        let text = String::from_utf8([&[first][..], &later].concat()).unwrap();
        Username::new(&text).unwrap()
    })
}

fn blob() -> impl Strategy<Value = Blob> {
    vec(any::<u8>(), 0..=MAX_BLOB).prop_map(|bytes| Blob::new(bytes).unwrap())
}

fn text(most: usize) -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..=most / 4).prop_map(|chars| chars.into_iter().collect())
}

pub(super) fn to_relay() -> impl Strategy<Value = ToRelay<'static>> {
    prop_oneof![
        vec(any::<u16>(), 0..=MAX_VERSIONS)
            .prop_map(|versions| ToRelay::Hello(ClientHello { versions })),
        prop::sample::select(vec![
            ToRelay::Ping,
            ToRelay::Pong,
            ToRelay::Bye,
            ToRelay::DeleteAccount,
            ToRelay::SetPresence(true),
            ToRelay::SetPresence(false),
        ]),
        (bytes().prop_map(InviteToken), bytes())
            .prop_map(|(token, request)| ToRelay::JoinStart(JoinStart { token, request })),
        bytes().prop_map(|upload| ToRelay::JoinFinish(JoinFinish { upload })),
        (username(), bytes()).prop_map(|(user, ke1)| ToRelay::LoginStart(LoginStart { user, ke1 })),
        bytes().prop_map(|ke3| ToRelay::LoginFinish(LoginFinish { ke3 })),
        (mark(), any::<bool>())
            .prop_map(|(mark, visible)| ToRelay::Attach(Attach { mark, visible })),
        (any::<u64>(), mark()).prop_map(|(count, mark)| ToRelay::Stored(Stored { count, mark })),
        (handle(), username(), blob()).prop_map(|(handle, to, intro)| ToRelay::Ask(Ask {
            handle,
            to,
            intro
        })),
        (username(), handle(), handle(), blob(), option::of(routing_id()), bytes()).prop_map(
            |(to, their_handle, handle, approval, by, intro)| {
                let intro = IntroId(intro);
                ToRelay::Approve(Approve { to, their_handle, handle, approval, by, intro })
            }
        ),
        (handle(), routing_id(), blob()).prop_map(|(handle, by, intro)| ToRelay::Redeem(Redeem {
            handle,
            by,
            intro
        })),
        vec(routing_id(), 0..=MAX_CONTACT_LINKS).prop_map(|links| ToRelay::Await(Await { links })),
        (username(), handle())
            .prop_map(|(to, their_handle)| ToRelay::Refuse(Refuse { to, their_handle })),
        handle().prop_map(ToRelay::Block),
        handle().prop_map(ToRelay::Unblock),
        handle().prop_map(ToRelay::Remove),
        (handle(), bytes()).prop_map(|(handle, approval)| {
            ToRelay::Fetched(Fetched { handle, approval: ApprovalId(approval) })
        }),
        (bytes(), bytes())
            .prop_map(|(ke1, request)| ToRelay::PasswordStart(PasswordStart { ke1, request })),
        (bytes(), bytes())
            .prop_map(|(ke3, upload)| ToRelay::PasswordFinish(PasswordFinish { ke3, upload })),
    ]
}

pub(super) fn to_peer() -> impl Strategy<Value = ToPeer<'static>> {
    prop_oneof![
        vec(any::<u16>(), 0..=MAX_VERSIONS)
            .prop_map(|versions| ToPeer::Hello(PeerHello { versions })),
        prop::sample::select(vec![
            ToPeer::Ping,
            ToPeer::Pong,
            ToPeer::Bye,
            ToPeer::Settled(None),
            ToPeer::Settled(Some(&ENVELOPE)),
            ToPeer::Envelope(&ENVELOPE),
        ]),
        blob().prop_map(ToPeer::Introduce),
        blob().prop_map(ToPeer::Approval),
        bytes().prop_map(|id| ToPeer::Noted(IntroId(id))),
        bytes().prop_map(|id| ToPeer::Opened(IntroId(id))),
        any::<u64>().prop_map(ToPeer::Handled),
    ]
}

pub(super) fn from_relay() -> impl Strategy<Value = FromRelay<'static>> {
    let state = prop::sample::select(vec![RowState::Asked, RowState::Accepted, RowState::Blocked]);
    prop_oneof![
        (any::<u16>(), any::<u32>())
            .prop_map(|(version, window)| FromRelay::Hello(RelayHello { version, window })),
        prop::sample::select(vec![
            FromRelay::Ping,
            FromRelay::Pong,
            FromRelay::Enrolled,
            FromRelay::Refused,
            FromRelay::Attached,
            FromRelay::SnapshotEnd,
            FromRelay::Bye(Bye::Draining),
            FromRelay::Bye(Bye::Replaced),
            FromRelay::Bye(Bye::Superseded),
            FromRelay::Bye(Bye::Version),
            FromRelay::Done(Outcome::Ok),
            FromRelay::Done(Outcome::Limited),
            FromRelay::Done(Outcome::Refused),
        ]),
        bytes().prop_map(FromRelay::JoinResponse),
        bytes().prop_map(|ke2| FromRelay::LoginResponse(Box::new(ke2))),
        (handle(), username(), state, option::of(blob())).prop_map(
            |(handle, peer, state, approval)| FromRelay::Row(Row { handle, peer, state, approval })
        ),
        (username(), handle(), blob()).prop_map(|(from, their_handle, intro)| {
            FromRelay::Request(Request { from, their_handle, intro })
        }),
        (username(), handle(), routing_id(), blob()).prop_map(|(from, their_handle, by, intro)| {
            FromRelay::Redeemed(Redeemed { from, their_handle, by, intro })
        }),
        any::<u64>().prop_map(FromRelay::Cloned),
        any::<u64>().prop_map(FromRelay::Accepted),
        bytes().prop_map(|id| FromRelay::Failed(EnvelopeId(id))),
        (bytes(), bytes()).prop_map(|(ke2, response)| {
            FromRelay::PasswordResponse(Box::new(PasswordResponse { ke2, response }))
        }),
        (vec(handle(), 0..20), vec(handle(), 0..20))
            .prop_map(|(online, offline)| FromRelay::Presence(Presence { online, offline })),
    ]
}

fn window() -> impl Strategy<Value = Window> {
    (any::<u64>(), vec(0..COUNTER_WINDOW, 0..40)).prop_map(|(base, offsets)| {
        let mut window = Window::new(base);
        for offset in offsets {
            window.insert(base.saturating_add(offset));
        }
        window
    })
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let root =
        (bytes().prop_map(RootTag), window()).prop_map(|(root, taken)| RootReceipt { root, taken });
    let run = (any::<u64>(), any::<u64>()).prop_map(|(first, count)| Run { first, count });
    let unread = option::of(vec(run, 0..=MAX_UNREAD_RUNS));
    let token = || option::of(bytes().prop_map(PingToken));
    (vec(root, 0..=MAX_RECEIPT_ROOTS), option::of(window()), unread, token(), token())
        .prop_map(|(roots, read, unread, ping, pong)| Receipt { roots, read, unread, ping, pong })
}

pub(super) fn inner() -> impl Strategy<Value = Inner> {
    let full =
        (1..u64::MAX - COUNTER_WINDOW, 0..COUNTER_WINDOW, 0..=1_u8, vec(any::<u8>(), 0..4000))
            .prop_map(|(base, span, olm_type, olm)| Full { ctr: base + span, base, olm_type, olm });
    (any::<bool>(), receipt(), option::of(full)).prop_map(|(answer, receipt, full)| Inner {
        answer,
        receipt,
        full,
    })
}

pub(super) fn body() -> impl Strategy<Value = Body> {
    let numbers = (any::<u32>(), any::<u64>(), any::<u64>(), any::<i64>(), any::<u8>());
    let words = (
        text(2000),
        option::of(text(MAX_TITLE)),
        option::of(vec(text(MAX_TAG), 0..=MAX_TAGS)),
        option::of(1..=5_u8),
        option::of(vec(text(MAX_CHOICE), 0..=MAX_CHOICES)),
    );
    let ids = (bytes().prop_map(MessageId), option::of(bytes().prop_map(MessageId)));
    (ids, numbers, words).prop_map(
        |(
            (id, reply_to),
            (device, a, b, sent_at, kind),
            (text, title, tags, priority, choices),
        )| Body {
            id,
            device,
            seq: a.max(b),
            low: a.min(b),
            sent_at,
            kind,
            text,
            reply_to,
            title,
            priority,
            tags,
            choices,
        },
    )
}

pub(super) fn aside() -> impl Strategy<Value = Aside> {
    let with = (key(), vec(text(MAX_OFFERED_ADDRESS), 0..=MAX_OFFERED));
    (any::<u64>(), option::of(with)).prop_map(|(number, with)| {
        let (link_key, addresses) = with.map_or((None, Vec::new()), |(key, at)| (Some(key), at));
        Aside::Direct(Offer { number, link_key, addresses })
    })
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![key().prop_map(Place::Relay), Just(Place::Direct)]
}

pub(super) fn intro() -> impl Strategy<Value = Intro> {
    let keys = (key(), key(), key(), key(), vec(any::<u8>(), KEM_KEY));
    (keys, username(), username(), place(), any::<u64>()).prop_map(
        |((identity, olm, one_time, ephemeral, kem), from, to, place, expires)| Intro {
            identity,
            olm,
            one_time,
            ephemeral,
            kem,
            from,
            to,
            place,
            expires,
        },
    )
}

pub(super) fn approval() -> impl Strategy<Value = Approval> {
    let keys = (key(), key(), key(), vec(any::<u8>(), KEM_CIPHERTEXT));
    let first = vec(any::<u8>(), 0..=MAX_FIRST_OLM);
    (bytes().prop_map(IntroId), keys, first, username(), username(), place()).prop_map(
        |(intro, (identity, olm, ephemeral, kem), first, from, to, place)| Approval {
            intro,
            identity,
            olm,
            ephemeral,
            kem,
            first,
            from,
            to,
            place,
        },
    )
}

fn host_port() -> impl Strategy<Value = HostPort> {
    let host = prop_oneof![
        "[a-z0-9_-]{1,20}(\\.[a-z0-9-]{1,20}){0,4}",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
    ];
    (host, 1..=u16::MAX)
        .prop_map(|(host, port)| HostPort::parse(&format!("{host}:{port}"), RELAY_PORT).unwrap())
}

pub(super) fn link() -> impl Strategy<Value = Link> {
    prop_oneof![
        (host_port(), key()).prop_map(|(at, relay)| Link::Relay(RelayLink { at, relay })),
        (host_port(), key()).prop_map(|(at, identity)| Link::Peer(PeerLink { at, identity })),
        (host_port(), key(), username(), bytes().prop_map(InviteToken)).prop_map(
            |(at, relay, user, token)| Link::Invite(InviteLink { at, relay, user, token })
        ),
        (host_port(), key(), key(), key(), routing_id(), bytes(), any::<u64>()).prop_map(
            |(at, relay, identity, one_time, by, secret, expires)| {
                let secret = ContactSecret(secret);
                Link::Contact(ContactLink { at, relay, by, identity, one_time, secret, expires })
            }
        ),
    ]
}
