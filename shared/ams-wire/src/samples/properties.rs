//! Whatever the types can say comes back as it was; whatever else comes in is refused in peace.

use proptest::collection::vec;
use proptest::prelude::*;

use super::golden::encoded;
use super::strategies::{
    approval, aside, body, bytes, from_relay, handle, inner, intro, link, mark, to_peer, to_relay,
};
use crate::address::{HostPort, Link, RELAY_PORT};
use crate::aside::Aside;
use crate::body::Body;
use crate::frame::{self, FrameType, WireError};
use crate::from_relay::{Deliver, FromRelay};
use crate::id::Signature;
use crate::inner::Inner;
use crate::intro::{Approval, Intro, Signed};
use crate::limits::COUNTER_WINDOW;
use crate::pad;
use crate::receipt::Window;
use crate::to_peer::ToPeer;
use crate::to_relay::{Send, ToRelay};
use crate::username::Username;

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
    for (number, body) in frame::frames(bytes).flatten() {
        if let Ok(Some(frame)) = ToPeer::decode(number, body) {
            let mut again = Vec::new();
            frame.encode(&mut again).unwrap();
            let (number, body) = only_frame(&again);
            assert_eq!(ToPeer::decode(number, body), Ok(Some(frame)));
        }
    }
    for number in 0..=u8::MAX {
        let _ = ToPeer::decode(number, bytes);
        let _ = ToRelay::decode(number, bytes);
        let _ = FromRelay::decode(number, bytes);
    }
    if let Ok(inner) = Inner::decode(bytes) {
        assert_eq!(Inner::decode(&inner.encode().unwrap()), Ok(inner));
    }
    if let Ok(Some(aside)) = Aside::decode(bytes) {
        assert_eq!(Aside::decode(&aside.encode().unwrap()), Ok(Some(aside)));
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
    fn frames_to_a_peer_come_back(frame in to_peer()) {
        let mut out = Vec::new();
        frame.encode(&mut out).unwrap();
        let (number, body) = only_frame(&out);
        prop_assert_eq!(ToPeer::decode(number, body), Ok(Some(frame)));
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
    fn words_between_daemons_come_back(aside in aside()) {
        prop_assert_eq!(Aside::decode(&aside.encode().unwrap()), Ok(Some(aside)));
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
        "to-relay" | "from-relay" | "to-peer" => {
            if !cut.is_empty() {
                assert_eq!(frame::frames(cut).last(), Some(Err(WireError::CutFrame)), "{name}");
            }
            if let Some((&number, body)) =
                cut.split_first().and_then(|(n, rest)| Some((n, rest.get(2..)?)))
            {
                let to = ToRelay::decode(number, body);
                let from = FromRelay::decode(number, body);
                // A blob may end anywhere.
                let is_blob = ["to-peer/introduce", "to-peer/approval", "to-peer/settled"];
                let peer = ToPeer::decode(number, body).is_ok() && !is_blob.contains(&name);
                let read = match kind {
                    "to-relay" => to.is_ok(),
                    "to-peer" => peer,
                    _ => from.is_ok(),
                };
                assert!(!read, "{name} cut to {}", cut.len());
            }
        }
        // Only padding may be missing.
        "inner" => drop(Inner::decode(cut)),
        "body" => assert!(cut.is_empty() || Body::decode(cut).is_err(), "{name}"),
        "aside" => assert!(Aside::decode(cut).is_err(), "{name}"),
        "intro" => assert!(Intro::decode(cut).is_err(), "{name}"),
        "approval" => assert!(Approval::decode(cut).is_err(), "{name}"),
        "signed" => assert!(Signed::decode(cut).is_err(), "{name}"),
        other => panic!("{other} has no reader here"),
    }
}
