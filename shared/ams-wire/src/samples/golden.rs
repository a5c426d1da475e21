//! The test vectors of PROTOCOL.md, which is their one source: each sample encodes to its vector,
//! and each vector decodes to its sample.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;

use super::{approval, aside, body, from_relay, inner, intro, link, signed, to_peer, to_relay};
use crate::address::Link;
use crate::aside::Aside;
use crate::body::Body;
use crate::frame::{self, FrameType};
use crate::from_relay::FromRelay;
use crate::inner::Inner;
use crate::intro::{Approval, Intro, Signed};
use crate::to_peer::ToPeer;
use crate::to_relay::ToRelay;

const PROTOCOL: &str = include_str!("../../PROTOCOL.md");
/// Crypto vectors stand in the same document and are another crate's to check.
const OURS: [&str; 10] = [
    "to-peer/",
    "to-relay/",
    "from-relay/",
    "inner/",
    "body/",
    "aside/",
    "intro/",
    "approval/",
    "signed/",
    "link/",
];
/// Shortest run of one byte that is written as `byte*count`.
const RUN: usize = 8;
const WIDTH: usize = 92;

/// Name → tokens, from lines `vector NAME = TOKENS` and the indented ones below each.
fn document() -> BTreeMap<&'static str, String> {
    let mut found: BTreeMap<&str, String> = BTreeMap::new();
    let mut open = None;
    for line in PROTOCOL.lines() {
        if let Some((name, tokens)) = line.strip_prefix("vector ").and_then(|l| l.split_once(" ="))
        {
            assert!(found.insert(name, tokens.trim().to_owned()).is_none(), "{name} stands twice");
            open = Some(name);
        } else if let (Some(name), true) = (open, line.starts_with("  ")) {
            let tokens = found.get_mut(name).unwrap();
            tokens.push(' ');
            tokens.push_str(line.trim());
        } else {
            open = None;
        }
    }
    found.retain(|name, _| OURS.iter().any(|prefix| name.starts_with(prefix)));
    found
}

fn bytes_of(tokens: &str) -> Vec<u8> {
    let token = |token: &str| {
        let (hex, count) = token.split_once('*').unwrap_or((token, "1"));
        HEXLOWER.decode(hex.as_bytes()).unwrap().repeat(count.parse().unwrap())
    };
    tokens.split_whitespace().flat_map(token).collect()
}

/// As the document writes it.
fn shown(name: &str, bytes: &[u8]) -> String {
    let mut tokens = Vec::new();
    let mut plain = Vec::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        if run.len() < RUN {
            plain.extend_from_slice(run);
            continue;
        }
        tokens.extend(plain.chunks(32).map(|chunk| HEXLOWER.encode(chunk)));
        plain.clear();
        tokens.push(format!("{:02x}*{}", run[0], run.len()));
    }
    tokens.extend(plain.chunks(32).map(|chunk| HEXLOWER.encode(chunk)));
    let mut out = format!("vector {name} =");
    let mut width = out.len();
    for token in tokens {
        if width + 1 + token.len() > WIDTH {
            out.push_str("\n ");
            width = 1;
        }
        out.push(' ');
        out.push_str(&token);
        width += 1 + token.len();
    }
    out
}

fn encoded_to(frame: &ToRelay<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(&mut out).unwrap();
    out
}

fn encoded_from(frame: &FromRelay<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(&mut out).unwrap();
    out
}

fn encoded_peer(frame: &ToPeer<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(&mut out).unwrap();
    out
}

/// Every sample but links, which are text, encoded.
pub(super) fn encoded() -> BTreeMap<&'static str, Vec<u8>> {
    let mut all = BTreeMap::new();
    all.extend(to_relay().iter().map(|(name, frame)| (*name, encoded_to(frame))));
    all.extend(from_relay().iter().map(|(name, frame)| (*name, encoded_from(frame))));
    all.extend(to_peer().iter().map(|(name, frame)| (*name, encoded_peer(frame))));
    all.extend(inner().iter().map(|(name, inner)| (*name, inner.encode().unwrap())));
    all.extend(body().iter().map(|(name, body)| (*name, body.encode().unwrap())));
    all.extend(aside().iter().map(|(name, aside)| (*name, aside.encode().unwrap())));
    all.extend(intro().iter().map(|(name, intro)| (*name, intro.encode())));
    all.extend(approval().iter().map(|(name, approval)| (*name, approval.encode())));
    all.extend(signed().iter().map(|(name, signed)| (*name, signed.encode())));
    all
}

#[test]
fn samples_encode_to_the_vectors() {
    let document = document();
    let mut missing = Vec::new();
    for (name, bytes) in encoded() {
        if document.get(name).is_none_or(|tokens| bytes_of(tokens) != bytes) {
            missing.push(shown(name, &bytes));
        }
    }
    for (name, link) in link() {
        if document.get(name) != Some(&link.to_string()) {
            missing.push(format!("vector {name} = {link}"));
        }
    }
    assert!(missing.is_empty(), "PROTOCOL.md says otherwise:\n\n{}\n", missing.join("\n"));
}

#[test]
fn the_document_has_no_vector_without_a_sample() {
    let mut names: BTreeSet<_> = encoded().into_keys().collect();
    names.extend(link().into_iter().map(|(name, _)| name));
    assert_eq!(document().into_keys().collect::<BTreeSet<_>>(), names);
}

#[test]
fn vectors_decode_to_the_samples() {
    let document = document();
    let bytes = |name: &str| bytes_of(&document[name]);
    for (name, frame) in to_relay() {
        let bytes = bytes(name);
        let (number, body) = only_frame(&bytes);
        assert_eq!(ToRelay::decode(number, body), Ok(Some(frame)), "{name}");
    }
    for (name, frame) in from_relay() {
        let bytes = bytes(name);
        let (number, body) = only_frame(&bytes);
        assert_eq!(FromRelay::decode(number, body), Ok(Some(frame)), "{name}");
    }
    for (name, frame) in to_peer() {
        let bytes = bytes(name);
        let (number, body) = only_frame(&bytes);
        assert_eq!(ToPeer::decode(number, body), Ok(Some(frame)), "{name}");
    }
    for (name, sample) in inner() {
        assert_eq!(Inner::decode(&bytes(name)), Ok(sample), "{name}");
    }
    for (name, sample) in aside() {
        assert_eq!(Aside::decode(&bytes(name)), Ok(Some(sample)), "{name}");
        assert!(Body::decode(&bytes(name)).is_err(), "{name} is no message");
    }
    for (name, sample) in body() {
        assert_eq!(Body::decode(&bytes(name)), Ok(Some(sample)), "{name}");
        assert!(Aside::decode(&bytes(name)).is_err(), "{name} is a message");
    }
    for (name, sample) in intro() {
        assert_eq!(Intro::decode(&bytes(name)), Ok(sample), "{name}");
    }
    for (name, sample) in approval() {
        assert_eq!(Approval::decode(&bytes(name)), Ok(sample), "{name}");
    }
    for (name, sample) in signed() {
        assert_eq!(Signed::decode(&bytes(name)), Ok(sample), "{name}");
    }
    for (name, sample) in link() {
        assert_eq!(Link::parse(&document[name]), Ok(sample), "{name}");
    }
}

fn only_frame(bytes: &[u8]) -> (u8, &[u8]) {
    let mut frames = frame::frames(bytes);
    let first = frames.next().unwrap().unwrap();
    assert!(frames.next().is_none());
    first
}

/// Who may send a frame of this type: a client, a relay, a peer. Exhaustive, so that a new type has
/// to be placed.
fn directions(frame: FrameType) -> (bool, bool, bool) {
    use FrameType as T;
    match frame {
        T::Padding => (false, false, false),
        T::Hello | T::Ping | T::Pong | T::Bye => (true, true, true),
        T::JoinStart
        | T::JoinFinish
        | T::LoginStart
        | T::LoginFinish
        | T::Attach
        | T::Send
        | T::Stored
        | T::Ask
        | T::Approve
        | T::Refuse
        | T::Block
        | T::Unblock
        | T::Remove
        | T::Fetched
        | T::SetPresence
        | T::PasswordStart
        | T::PasswordFinish
        | T::DeleteAccount
        | T::Redeem
        | T::Await => (true, false, false),
        T::JoinResponse
        | T::LoginResponse
        | T::Enrolled
        | T::Refused
        | T::Attached
        | T::Row
        | T::Request
        | T::SnapshotEnd
        | T::Cloned
        | T::Redeemed
        | T::Deliver
        | T::Accepted
        | T::Failed
        | T::PasswordResponse
        | T::Done
        | T::Presence => (false, true, false),
        T::Introduce
        | T::Noted
        | T::Approval
        | T::Opened
        | T::Settled
        | T::Envelope
        | T::Handled => (false, false, true),
    }
}

#[test]
fn a_side_cannot_read_what_only_the_other_may_receive() {
    for (name, frame) in to_relay() {
        let bytes = encoded_to(&frame);
        let (number, body) = only_frame(&bytes);
        let read = FromRelay::decode(number, body);
        // `Bye` to a relay has no reason, one from it does.
        let both =
            matches!(frame, ToRelay::Hello(_) | ToRelay::Ping | ToRelay::Pong | ToRelay::Bye);
        assert!(both || read == Ok(None), "{name}: {read:?}");
    }
    for (name, frame) in from_relay() {
        let bytes = encoded_from(&frame);
        let (number, body) = only_frame(&bytes);
        let both = matches!(
            frame,
            FromRelay::Hello(_) | FromRelay::Ping | FromRelay::Pong | FromRelay::Bye(_)
        );
        assert!(both || ToRelay::decode(number, body) == Ok(None), "{name}");
        assert!(both || ToPeer::decode(number, body) == Ok(None), "{name}");
    }
    for (name, frame) in to_peer() {
        let bytes = encoded_peer(&frame);
        let (number, body) = only_frame(&bytes);
        let shared = matches!(frame, ToPeer::Hello(_) | ToPeer::Ping | ToPeer::Pong | ToPeer::Bye);
        assert!(shared || ToRelay::decode(number, body) == Ok(None), "{name}");
        assert!(shared || FromRelay::decode(number, body) == Ok(None), "{name}");
    }
}

#[test]
fn numbers_are_the_frame_types() {
    let types = [
        FrameType::Padding,
        FrameType::Hello,
        FrameType::Ping,
        FrameType::Pong,
        FrameType::Bye,
        FrameType::JoinStart,
        FrameType::JoinResponse,
        FrameType::JoinFinish,
        FrameType::LoginStart,
        FrameType::LoginResponse,
        FrameType::LoginFinish,
        FrameType::Enrolled,
        FrameType::Refused,
        FrameType::Attach,
        FrameType::Attached,
        FrameType::Row,
        FrameType::Request,
        FrameType::SnapshotEnd,
        FrameType::Cloned,
        FrameType::Redeemed,
        FrameType::Send,
        FrameType::Deliver,
        FrameType::Accepted,
        FrameType::Stored,
        FrameType::Failed,
        FrameType::Ask,
        FrameType::Approve,
        FrameType::Refuse,
        FrameType::Block,
        FrameType::Unblock,
        FrameType::Remove,
        FrameType::Fetched,
        FrameType::SetPresence,
        FrameType::PasswordStart,
        FrameType::PasswordResponse,
        FrameType::PasswordFinish,
        FrameType::DeleteAccount,
        FrameType::Done,
        FrameType::Presence,
        FrameType::Redeem,
        FrameType::Await,
        FrameType::Introduce,
        FrameType::Noted,
        FrameType::Approval,
        FrameType::Opened,
        FrameType::Settled,
        FrameType::Envelope,
        FrameType::Handled,
    ];
    let first_byte = |bytes: Vec<u8>| bytes[0];
    let to: BTreeSet<u8> = to_relay().iter().map(|(_, f)| first_byte(encoded_to(f))).collect();
    let from: BTreeSet<u8> =
        from_relay().iter().map(|(_, f)| first_byte(encoded_from(f))).collect();
    let peer: BTreeSet<u8> = to_peer().iter().map(|(_, f)| first_byte(encoded_peer(f))).collect();
    for frame in types {
        let number = frame as u8;
        let sent = (to.contains(&number), from.contains(&number), peer.contains(&number));
        assert_eq!(sent, directions(frame), "{frame:?}");
        let table = PROTOCOL.lines().any(|line| line.starts_with(&format!("| `0x{number:02x}` |")));
        assert!(table || frame == FrameType::Padding, "{frame:?} is not in PROTOCOL.md's table");
    }
    let known: BTreeSet<u8> = types.iter().map(|frame| *frame as u8).collect();
    assert_eq!(known.len(), types.len());
    assert!(to.union(&from).chain(&peer).all(|number| known.contains(number)));
}
