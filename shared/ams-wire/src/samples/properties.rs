//! Whatever the types can say comes back as it was; whatever else comes in is refused in peace.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::golden::encoded;
use crate::address::{HostPort, InviteLink, Link, RELAY_PORT, RelayLink};
use crate::body::Body;
use crate::frame::{self, FrameType, WireError};
use crate::from_relay::{
    Bye, Deliver, FromRelay, Outcome, PasswordResponse, Presence, RelayHello, Request, Row,
    RowState,
};
use crate::id::{
    Blob, EnvelopeId, Handle, IntroId, InviteToken, Key, MessageId, RootTag, Signature, WorkMark,
};
use crate::inner::{Full, Inner};
use crate::intro::{Approval, Intro, Place, Signed};
use crate::limits::{
    COUNTER_WINDOW, KEM_CIPHERTEXT, KEM_KEY, MAX_BLOB, MAX_FIRST_OLM, MAX_RECEIPT_ROOTS, MAX_TAG,
    MAX_TAGS, MAX_TITLE, MAX_VERSIONS,
};
use crate::pad;
use crate::receipt::{Receipt, RootReceipt, Window};
use crate::to_relay::{
    Approve, Ask, Attach, ClientHello, JoinFinish, JoinStart, LoginFinish, LoginStart,
    PasswordFinish, PasswordStart, Refuse, Send, Stored, ToRelay,
};
use crate::username::Username;

/// `N` bytes, each as likely as any other.
fn bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().unwrap())
}

fn handle() -> impl Strategy<Value = Handle> {
    bytes().prop_map(Handle)
}

fn key() -> impl Strategy<Value = Key> {
    bytes().prop_map(Key)
}

fn mark() -> impl Strategy<Value = WorkMark> {
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

fn to_relay() -> impl Strategy<Value = ToRelay<'static>> {
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
        (username(), handle(), handle(), blob()).prop_map(
            |(to, their_handle, handle, approval)| {
                ToRelay::Approve(Approve { to, their_handle, handle, approval })
            }
        ),
        (username(), handle())
            .prop_map(|(to, their_handle)| ToRelay::Refuse(Refuse { to, their_handle })),
        handle().prop_map(ToRelay::Block),
        handle().prop_map(ToRelay::Unblock),
        handle().prop_map(ToRelay::Remove),
        handle().prop_map(ToRelay::Fetched),
        (bytes(), bytes())
            .prop_map(|(ke1, request)| ToRelay::PasswordStart(PasswordStart { ke1, request })),
        (bytes(), bytes())
            .prop_map(|(ke3, upload)| ToRelay::PasswordFinish(PasswordFinish { ke3, upload })),
    ]
}

fn from_relay() -> impl Strategy<Value = FromRelay<'static>> {
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
    (vec(root, 0..=MAX_RECEIPT_ROOTS), option::of(window()))
        .prop_map(|(roots, read)| Receipt { roots, read })
}

fn inner() -> impl Strategy<Value = Inner> {
    let full =
        (1..u64::MAX - COUNTER_WINDOW, 0..COUNTER_WINDOW, 0..=1_u8, vec(any::<u8>(), 0..4000))
            .prop_map(|(base, span, olm_type, olm)| Full { ctr: base + span, base, olm_type, olm });
    (any::<bool>(), receipt(), option::of(full)).prop_map(|(answer, receipt, full)| Inner {
        answer,
        receipt,
        full,
    })
}

fn body() -> impl Strategy<Value = Body> {
    let numbers = (any::<u32>(), any::<u64>(), any::<u64>(), any::<i64>(), any::<u8>());
    let words = (
        text(2000),
        option::of(text(MAX_TITLE)),
        option::of(vec(text(MAX_TAG), 0..=MAX_TAGS)),
        option::of(1..=5_u8),
    );
    let ids = (bytes().prop_map(MessageId), option::of(bytes().prop_map(MessageId)));
    (ids, numbers, words).prop_map(
        |((id, reply_to), (device, a, b, sent_at, kind), (text, title, tags, priority))| Body {
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
        },
    )
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![key().prop_map(Place::Relay), Just(Place::Direct)]
}

fn intro() -> impl Strategy<Value = Intro> {
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

fn approval() -> impl Strategy<Value = Approval> {
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

fn link() -> impl Strategy<Value = Link> {
    prop_oneof![
        (host_port(), key()).prop_map(|(at, relay)| Link::Relay(RelayLink { at, relay })),
        (host_port(), key(), username(), bytes().prop_map(InviteToken)).prop_map(
            |(at, relay, user, token)| Link::Invite(InviteLink { at, relay, user, token })
        ),
    ]
}

fn only_frame(bytes: &[u8]) -> (u8, &[u8]) {
    let mut frames = frame::frames(bytes);
    let first = frames.next().unwrap().unwrap();
    assert!(frames.next().is_none());
    first
}

/// A change to bytes: flip, cut, double or insert.
#[derive(Debug, Clone)]
enum Bend {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Double(prop::sample::Index),
}

fn bends() -> impl Strategy<Value = Vec<Bend>> {
    let at = any::<prop::sample::Index>;
    let bend = prop_oneof![
        (at(), 1..=255_u8).prop_map(|(at, by)| Bend::Flip(at, by)),
        at().prop_map(Bend::Cut),
        (at(), any::<u8>()).prop_map(|(at, byte)| Bend::Insert(at, byte)),
        at().prop_map(Bend::Double),
    ];
    vec(bend, 0..4)
}

fn bend(mut bytes: Vec<u8>, bends: &[Bend]) -> Vec<u8> {
    for bend in bends {
        // A byte more, so that the index exists and the end can be meant.
        let length = bytes.len() + 1;
        match bend {
            Bend::Flip(at, by) => {
                if let Some(byte) = bytes.get_mut(at.index(length)) {
                    *byte ^= by;
                }
            }
            Bend::Cut(at) => bytes.truncate(at.index(length)),
            Bend::Insert(at, byte) => bytes.insert(at.index(length), *byte),
            Bend::Double(at) => {
                let rest = bytes[at.index(length)..].to_vec();
                bytes.extend_from_slice(&rest);
            }
        }
    }
    bytes
}

/// Reads `bytes` as everything. What can be read can be written, and is then read the same.
fn read_as_everything(bytes: &[u8]) {
    for (number, body) in frame::frames(bytes).flatten() {
        if let Ok(Some(frame)) = ToRelay::decode(number, body) {
            let mut again = Vec::new();
            frame.encode(&mut again).unwrap();
            let (number, body) = only_frame(&again);
            assert_eq!(ToRelay::decode(number, body), Ok(Some(frame)));
        }
        if let Ok(Some(frame)) = FromRelay::decode(number, body) {
            let mut again = Vec::new();
            frame.encode(&mut again).unwrap();
            let (number, body) = only_frame(&again);
            assert_eq!(FromRelay::decode(number, body), Ok(Some(frame)));
        }
    }
    for number in 0..=u8::MAX {
        let _ = ToRelay::decode(number, bytes);
        let _ = FromRelay::decode(number, bytes);
    }
    if let Ok(inner) = Inner::decode(bytes) {
        assert_eq!(Inner::decode(&inner.encode().unwrap()), Ok(inner));
    }
    if let Ok(Some(body)) = Body::decode(bytes) {
        assert_eq!(Body::decode(&body.encode().unwrap()), Ok(Some(body)));
    }
    if let Ok(intro) = Intro::decode(bytes) {
        assert_eq!(Intro::decode(&intro.encode()), Ok(intro));
    }
    if let Ok(approval) = Approval::decode(bytes) {
        assert_eq!(Approval::decode(&approval.encode()), Ok(approval));
    }
    if let Ok(signed) = Signed::decode(bytes) {
        assert_eq!(signed.encode(), bytes);
    }
}

proptest! {
    #[test]
    fn frames_to_a_relay_come_back(frame in to_relay()) {
        let mut out = Vec::new();
        frame.encode(&mut out).unwrap();
        let (number, body) = only_frame(&out);
        prop_assert_eq!(ToRelay::decode(number, body), Ok(Some(frame)));
    }

    #[test]
    fn frames_from_a_relay_come_back(frame in from_relay()) {
        let mut out = Vec::new();
        frame.encode(&mut out).unwrap();
        let (number, body) = only_frame(&out);
        prop_assert_eq!(FromRelay::decode(number, body), Ok(Some(frame)));
    }

    #[test]
    fn envelopes_pass_through_both_frames(
        handle in handle(), ttl in any::<u32>(), mark in mark(), step in 0..9_usize, fill in any::<u8>(),
    ) {
        let envelope = vec![fill; pad::BUCKETS[step] - 39];
        let mut out = Vec::new();
        let send = Send { handle, ttl, mark, envelope: &envelope };
        ToRelay::Send(send).encode(&mut out).unwrap();
        // One envelope fills one record.
        prop_assert_eq!(pad::record_size(out.len()), Some(out.len()));
        let (number, body) = only_frame(&out);
        prop_assert_eq!(ToRelay::decode(number, body), Ok(Some(ToRelay::Send(send))));
        let deliver = FromRelay::Deliver(Deliver { handle, envelope: &envelope });
        let mut out = Vec::new();
        deliver.encode(&mut out).unwrap();
        prop_assert_eq!(pad::record_size(out.len()), Some(pad::BUCKETS[step]));
        let (number, body) = only_frame(&out);
        prop_assert_eq!(FromRelay::decode(number, body), Ok(Some(deliver)));
    }

    #[test]
    fn frames_of_one_record_come_back_in_order(frames in vec(to_relay(), 0..12), padding in 0..600_usize) {
        let mut record = Vec::new();
        for frame in &frames {
            frame.encode(&mut record).unwrap();
        }
        record.resize(record.len() + padding, 0);
        let read: Vec<_> = frame::frames(&record)
            .map(|frame| frame.and_then(|(number, body)| ToRelay::decode(number, body)))
            .collect();
        let expected: Vec<Result<_, WireError>> = frames.into_iter().map(|f| Ok(Some(f))).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn an_unknown_type_is_skipped(number in any::<u8>(), body in vec(any::<u8>(), 0..100)) {
        let mut record = vec![number, 0, u8::try_from(body.len()).unwrap()];
        record.extend_from_slice(&body);
        ToRelay::Ping.encode(&mut record).unwrap();
        if number != FrameType::Padding as u8 {
            let read: Vec<_> = frame::frames(&record).collect();
            prop_assert_eq!(read, vec![Ok((number, &body[..])), Ok((FrameType::Ping as u8, &[][..]))]);
        }
    }

    #[test]
    fn inner_plaintexts_come_back(inner in inner()) {
        let padded = inner.encode().unwrap();
        prop_assert!(pad::is_envelope_size(padded.len() + 40));
        prop_assert_eq!(Inner::decode(&padded), Ok(inner));
    }

    #[test]
    fn messages_come_back(body in body()) {
        prop_assert_eq!(Body::decode(&body.encode().unwrap()), Ok(Some(body)));
    }

    #[test]
    fn introductions_come_back(intro in intro(), signature in bytes()) {
        let fields = intro.encode();
        let signed = Signed { fields, signature: Signature(signature) };
        let read = Signed::decode(&signed.encode()).unwrap();
        prop_assert_eq!(&read, &signed);
        prop_assert_eq!(Intro::decode(&read.fields), Ok(intro));
    }

    #[test]
    fn approvals_come_back(approval in approval(), signature in bytes()) {
        let signed = Signed { fields: approval.encode(), signature: Signature(signature) };
        let read = Signed::decode(&signed.encode()).unwrap();
        prop_assert_eq!(Approval::decode(&read.fields), Ok(approval));
    }

    #[test]
    fn links_come_back(link in link()) {
        let text = link.to_string();
        prop_assert_eq!(Link::parse(&text), Ok(link.clone()));
        let around = format!(" {text}\n");
        prop_assert_eq!(Link::parse(&around), Ok(link));
    }

    #[test]
    fn any_text_is_a_link_or_none(text in ".{0,200}", link in link(), bends in bends()) {
        let _ = Link::parse(&text);
        let _ = HostPort::parse(&text, RELAY_PORT);
        let _ = Username::new(&text);
        let bent = bend(link.to_string().into_bytes(), &bends);
        if let Some(read) = String::from_utf8(bent).ok().and_then(|bent| Link::parse(&bent).ok()) {
            prop_assert_eq!(Link::parse(&read.to_string()), Ok(read));
        }
    }

    #[test]
    fn perturbed_samples_do_no_harm(which in any::<prop::sample::Index>(), bends in bends()) {
        let all = encoded();
        let bytes = all.values().nth(which.index(all.len())).unwrap();
        read_as_everything(&bend(bytes.clone(), &bends));
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..700)) {
        read_as_everything(&bytes);
    }

    #[test]
    fn a_window_is_a_set(base in 0..1000_u64, numbers in vec(0..1500_u64, 0..60), raise in 0..1500_u64) {
        let mut window = Window::new(base);
        let mut model = std::collections::BTreeSet::new();
        for number in numbers {
            window.insert(number);
            if (base..base + COUNTER_WINDOW).contains(&number) {
                model.insert(number);
            }
        }
        prop_assert!(window.iter().eq(model.iter().copied()));
        window.raise_base(raise);
        model.retain(|&number| number >= raise);
        prop_assert!(window.iter().eq(model.iter().copied()));
        prop_assert_eq!(window.newest(), model.last().copied());
        prop_assert_eq!(window.base(), base.max(raise));
    }
}

#[test]
fn samples_cut_at_every_byte_do_no_harm() {
    for (name, bytes) in encoded() {
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            read_as_everything_typed(name, cut);
        }
    }
}

/// The reader of the sample's own type; a part of a frame's body is no frame of that type.
fn read_as_everything_typed(name: &str, cut: &[u8]) {
    let kind = name.split('/').next().unwrap();
    match kind {
        "to-relay" | "from-relay" => {
            if !cut.is_empty() {
                assert_eq!(frame::frames(cut).last(), Some(Err(WireError::CutFrame)), "{name}");
            }
            if let Some((&number, body)) =
                cut.split_first().and_then(|(n, rest)| Some((n, rest.get(2..)?)))
            {
                let to = ToRelay::decode(number, body);
                let from = FromRelay::decode(number, body);
                let read = if kind == "to-relay" { to.is_ok() } else { from.is_ok() };
                assert!(!read, "{name} cut to {}", cut.len());
            }
        }
        // Only padding may be missing.
        "inner" => drop(Inner::decode(cut)),
        "body" => assert!(cut.is_empty() || Body::decode(cut).is_err(), "{name}"),
        "intro" => assert!(Intro::decode(cut).is_err(), "{name}"),
        "approval" => assert!(Approval::decode(cut).is_err(), "{name}"),
        "signed" => assert!(Signed::decode(cut).is_err(), "{name}"),
        other => panic!("{other} has no reader here"),
    }
}
