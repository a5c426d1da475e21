//! Every bound of [`crate::limits`], at its most and one above.

use super::{ENVELOPE, HANDLE, MARK, approval, aside, body, intro};
use crate::address::{HostPort, Link, LinkError, RELAY_PORT};
use crate::aside::{Aside, Offer};
use crate::body::Body;
use crate::cbor;
use crate::frame::{FrameType, WireError};
use crate::from_relay::{FromRelay, Presence};
use crate::id::{Blob, Handle, PingToken, RootTag, RoutingId, Signature};
use crate::inner::{Full, Inner};
use crate::intro::{Approval, Intro, Signed};
use crate::limits::{
    COUNTER_WINDOW, DELIVER_HEADER, ENVELOPE_OVERHEAD, FRAME_HEADER, KEM_CIPHERTEXT, KEM_KEY,
    MAX_BLOB, MAX_BODY_TEXT, MAX_CHOICE, MAX_CHOICES, MAX_CONTACT_LINKS, MAX_ENVELOPE,
    MAX_FIRST_OLM, MAX_FRAME_BODY, MAX_HOST, MAX_LINK, MAX_OFFERED, MAX_OFFERED_ADDRESS,
    MAX_PRESENCE_ENTRIES, MAX_RECEIPT_BITS, MAX_RECEIPT_ROOTS, MAX_RECORD_CIPHERTEXT,
    MAX_RECORD_PLAINTEXT, MAX_TAG, MAX_TAGS, MAX_TITLE, MAX_UNREAD_RUNS, MAX_VERSIONS,
    MIN_ENVELOPE, RECORD_TAG, SEND_HEADER,
};
use crate::pad;
use crate::receipt::{Receipt, RootReceipt, Run, Window};
use crate::to_relay::{Await, ClientHello, Send, ToRelay};

fn cbor_of<T: minicbor::Encode<()>>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    cbor::encode(value, &mut out);
    out
}

#[test]
fn headers_are_as_long_as_they_say() {
    let mut out = Vec::new();
    let send = Send { handle: HANDLE, ttl: 0, mark: MARK, envelope: &ENVELOPE };
    ToRelay::Send(send).encode(&mut out).unwrap();
    assert_eq!(out.len(), FRAME_HEADER + SEND_HEADER + MIN_ENVELOPE);
    out.clear();
    let deliver = crate::from_relay::Deliver { handle: HANDLE, envelope: &ENVELOPE };
    FromRelay::Deliver(deliver).encode(&mut out).unwrap();
    assert_eq!(out.len(), FRAME_HEADER + DELIVER_HEADER + MIN_ENVELOPE);
    assert_eq!(MAX_RECORD_PLAINTEXT + RECORD_TAG, MAX_RECORD_CIPHERTEXT);
    assert_eq!(MAX_FRAME_BODY + FRAME_HEADER, MAX_RECORD_PLAINTEXT);
}

#[test]
fn an_envelope_has_one_of_few_sizes() {
    let read = |size: usize| {
        let body = [&[0; SEND_HEADER][..], &vec![0; size]].concat();
        let send = ToRelay::decode(FrameType::Send as u8, &body).map(|frame| frame.is_some());
        let body = [&[0; DELIVER_HEADER][..], &vec![0; size]].concat();
        let deliver = FromRelay::decode(FrameType::Deliver as u8, &body).map(|f| f.is_some());
        assert_eq!(send, deliver, "{size}");
        send
    };
    for bucket in &pad::BUCKETS[..9] {
        let size = bucket - FRAME_HEADER - SEND_HEADER;
        assert_eq!(read(size), Ok(true), "{size}");
        assert_eq!(read(size - 1), Err(WireError::Malformed));
        assert_eq!(read(size + 1), Err(WireError::Malformed));
    }
    assert_eq!(read(0), Err(WireError::Malformed));
    assert_eq!(read(MAX_FRAME_BODY - SEND_HEADER), Err(WireError::Malformed));
    assert_eq!(pad::inner_size(0), Some(MIN_ENVELOPE - ENVELOPE_OVERHEAD));
    assert_eq!(
        pad::inner_size(MAX_ENVELOPE - ENVELOPE_OVERHEAD),
        Some(MAX_ENVELOPE - ENVELOPE_OVERHEAD)
    );
}

#[test]
fn versions_of_a_hello() {
    let hello = |count: usize| {
        let body = cbor_of(&ClientHello { versions: vec![1; count] });
        ToRelay::decode(FrameType::Hello as u8, &body).map(|frame| frame.is_some())
    };
    assert_eq!(hello(MAX_VERSIONS), Ok(true));
    assert_eq!(hello(MAX_VERSIONS + 1), Err(WireError::TooLong));
}

#[test]
fn entries_of_a_presence() {
    let presence = |online: usize, offline: usize| {
        let body = cbor_of(&Presence {
            online: vec![Handle([1; 16]); online],
            offline: vec![Handle([2; 16]); offline],
        });
        FromRelay::decode(FrameType::Presence as u8, &body).map(|frame| frame.is_some())
    };
    assert_eq!(presence(MAX_PRESENCE_ENTRIES, 0), Ok(true));
    assert_eq!(presence(MAX_PRESENCE_ENTRIES - 1, 1), Ok(true));
    assert_eq!(presence(MAX_PRESENCE_ENTRIES, 1), Err(WireError::TooLong));
    let mut out = Vec::new();
    let most = Presence { online: vec![HANDLE; MAX_PRESENCE_ENTRIES], offline: Vec::new() };
    assert_eq!(FromRelay::Presence(most).encode(&mut out), Ok(()));
}

#[test]
fn contact_links_that_are_waited_on() {
    let named = |count: usize| {
        let body = cbor_of(&Await { links: vec![RoutingId([1; 16]); count] });
        ToRelay::decode(FrameType::Await as u8, &body).map(|frame| frame.is_some())
    };
    assert_eq!(named(MAX_CONTACT_LINKS), Ok(true));
    assert_eq!(named(MAX_CONTACT_LINKS + 1), Err(WireError::TooLong));
}

#[test]
fn a_blob() {
    assert!(Blob::new(vec![0; MAX_BLOB]).is_some());
    assert!(Blob::new(vec![0; MAX_BLOB + 1]).is_none());
    let read = |length: usize| {
        let mut bytes = Vec::new();
        minicbor::Encoder::new(&mut bytes).bytes(&vec![0; length]).unwrap();
        cbor::decode::<Blob>(&bytes)
    };
    assert!(read(MAX_BLOB).is_ok());
    assert_eq!(read(MAX_BLOB + 1), Err(WireError::Malformed));
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    // Byte string, array and map whose heads promise 2^63 entries and bring none.
    for head in [0x5b, 0x7b, 0x9b, 0xbb] {
        let mut lie = vec![head];
        lie.extend_from_slice(&(1_u64 << 63).to_be_bytes());
        assert!(cbor::decode::<Blob>(&lie).is_err());
        for number in 0..=0xff {
            assert!(!matches!(ToRelay::decode(number, &lie), Ok(Some(_))), "{number}");
            assert!(!matches!(FromRelay::decode(number, &lie), Ok(Some(_))), "{number}");
        }
        assert!(Body::decode(&lie).is_err());
        assert!(Intro::decode(&lie).is_err());
        assert!(Approval::decode(&lie).is_err());
        assert!(Signed::decode(&lie).is_err());
        // The same inside a map: {0: lie}.
        let inside = [&[0xa1, 0][..], &lie].concat();
        for number in [0x01, 0x23, 0x40, 0x4d] {
            assert!(!matches!(ToRelay::decode(number, &inside), Ok(Some(_))), "{number}");
            assert!(!matches!(FromRelay::decode(number, &inside), Ok(Some(_))), "{number}");
        }
    }
}

#[test]
fn fields_of_an_offer() {
    let Aside::Direct(whole) = aside().pop().unwrap().1;
    let both = |change: &dyn Fn(&mut Offer)| {
        let mut offer = whole.clone();
        change(&mut offer);
        let decoded = Aside::decode(&cbor_of(&(1, &offer))).map(|read| read.is_some());
        assert_eq!(Aside::Direct(offer).encode().is_ok(), decoded.is_ok());
        decoded
    };
    let at = |length: usize, count| vec!["x".repeat(length); count];
    assert_eq!(both(&|o| o.addresses = at(MAX_OFFERED_ADDRESS, MAX_OFFERED)), Ok(true));
    assert_eq!(both(&|o| o.addresses = at(1, MAX_OFFERED + 1)), Err(WireError::TooLong));
    assert_eq!(both(&|o| o.addresses = at(MAX_OFFERED_ADDRESS + 1, 1)), Err(WireError::TooLong));
    assert_eq!(both(&|o| o.link_key = None), Err(WireError::TooLong), "addresses of nobody");
    assert_eq!(Aside::decode(&cbor_of(&(2, &whole))), Ok(None), "of a version after this one");
}

#[test]
fn fields_of_a_message() {
    let whole = body().pop().unwrap().1;
    let both = |change: &dyn Fn(&mut Body)| {
        let mut body = whole.clone();
        change(&mut body);
        let decoded = Body::decode(&cbor_of(&body)).map(|read| read.is_some());
        assert_eq!(body.encode().is_ok(), decoded.is_ok());
        decoded
    };
    let text = |length: usize| "x".repeat(length);
    assert_eq!(both(&|b| b.text = text(MAX_BODY_TEXT)), Ok(true));
    assert_eq!(both(&|b| b.text = text(MAX_BODY_TEXT + 1)), Err(WireError::TooLong));
    assert_eq!(both(&|b| b.title = Some(text(MAX_TITLE))), Ok(true));
    assert_eq!(both(&|b| b.title = Some(text(MAX_TITLE + 1))), Err(WireError::TooLong));
    assert_eq!(both(&|b| b.tags = Some(vec![text(MAX_TAG); MAX_TAGS])), Ok(true));
    assert_eq!(both(&|b| b.tags = Some(vec![text(1); MAX_TAGS + 1])), Err(WireError::TooLong));
    assert_eq!(both(&|b| b.tags = Some(vec![text(MAX_TAG + 1)])), Err(WireError::TooLong));
    let choices = |count, length| Some(vec![text(length); count]);
    assert_eq!(both(&|b| b.choices = choices(MAX_CHOICES, MAX_CHOICE)), Ok(true));
    assert_eq!(both(&|b| b.choices = choices(MAX_CHOICES + 1, 1)), Err(WireError::TooLong));
    assert_eq!(both(&|b| b.choices = choices(1, MAX_CHOICE + 1)), Err(WireError::TooLong));
    let with_room = |room: usize| {
        both(&|b| {
            b.text = text(MAX_BODY_TEXT - 2 * 5 + room);
            b.choices = choices(2, 3);
        })
    };
    assert_eq!(with_room(0), Ok(true));
    assert_eq!(with_room(1), Err(WireError::TooLong));
    assert_eq!(both(&|b| b.priority = Some(1)), Ok(true));
    assert_eq!(both(&|b| b.priority = Some(0)), Err(WireError::TooLong));
    assert_eq!(both(&|b| b.priority = Some(6)), Err(WireError::TooLong));
    assert_eq!(both(&|b| b.low = b.seq), Ok(true));
    assert_eq!(both(&|b| b.low = b.seq + 1), Err(WireError::TooLong));
    assert_eq!(Body::decode(&[]), Ok(None));
}

/// Bytes that Olm adds to its plaintext, at most: three keys and a ratchet key of 34 bytes each, a
/// counter, a block of padding, the 32-byte MAC, and the tags between them.
const OLM_AROUND: usize = 256;

#[test]
fn the_largest_message_fits_into_the_largest_envelope() {
    let mut body = body().pop().unwrap().1;
    body.device = u32::MAX;
    (body.seq, body.low, body.sent_at) = (u64::MAX, u64::MAX, i64::MIN);
    body.text = "x".repeat(MAX_BODY_TEXT);
    body.title = Some("x".repeat(MAX_TITLE));
    body.tags = Some(vec!["x".repeat(MAX_TAG); MAX_TAGS]);
    let olm = vec![1; body.encode().unwrap().len() + OLM_AROUND];
    let mut taken = Window::new(u64::MAX - COUNTER_WINDOW);
    taken.insert(u64::MAX - 1);
    let root = RootReceipt { root: RootTag([1; 8]), taken };
    let run = Run { first: u64::MAX, count: u64::MAX };
    let unread = Some(vec![run; MAX_UNREAD_RUNS]);
    let roots = vec![root; MAX_RECEIPT_ROOTS];
    let receipt = Receipt { roots, read: Some(taken), unread, ..Receipt::default() };
    let full = Full { ctr: u64::MAX, base: u64::MAX, olm_type: 0, olm };
    let inner = Inner { answer: true, receipt, full: Some(full) };
    assert_eq!(inner.encode().map(|padded| padded.len() + ENVELOPE_OVERHEAD), Ok(MAX_ENVELOPE));
}

#[test]
fn a_short_text_with_a_receipt_fits_into_the_smallest_envelope() {
    let body = body().remove(0).1;
    let olm = vec![1; body.encode().unwrap().len() + OLM_AROUND];
    let mut taken = Window::new(1_000_000);
    taken.insert(1_000_003);
    let root = RootReceipt { root: RootTag([1; 8]), taken };
    let receipt = Receipt { roots: vec![root], read: Some(taken), ..Receipt::default() };
    let full = Full { ctr: 1_000_000, base: 1_000_000, olm_type: 0, olm };
    let inner = Inner { answer: true, receipt, full: Some(full) };
    assert_eq!(inner.encode().map(|padded| padded.len() + ENVELOPE_OVERHEAD), Ok(MIN_ENVELOPE));
}

#[test]
fn counters_of_an_envelope() {
    let both = |ctr: u64, base: u64, olm_type: u8| {
        let full = Full { ctr, base, olm_type, olm: vec![1; 3] };
        let inner = Inner { answer: false, receipt: Receipt::default(), full: Some(full.clone()) };
        // kind 2, no flags, receipt {0: []}
        let mut bytes = vec![2, 0, 0, 3, 0xa1, 0, 0x80];
        bytes.extend_from_slice(&ctr.to_be_bytes());
        bytes.extend_from_slice(&base.to_be_bytes());
        bytes.extend_from_slice(&[olm_type, 0, 3, 1, 1, 1]);
        let decoded = Inner::decode(&bytes);
        assert_eq!(inner.encode().is_ok(), decoded.is_ok(), "{ctr} {base}");
        decoded.map(|read| assert_eq!(read.full, Some(full)))
    };
    assert_eq!(both(COUNTER_WINDOW, 1, 1), Ok(()));
    assert_eq!(both(COUNTER_WINDOW + 1, 1, 1), Err(WireError::Malformed));
    assert_eq!(both(5, 5, 0), Ok(()));
    assert_eq!(both(4, 5, 0), Err(WireError::Malformed));
    assert_eq!(both(0, 0, 0), Err(WireError::Malformed));
    assert_eq!(both(5, 5, 2), Err(WireError::Malformed));
    assert_eq!(both(u64::MAX, u64::MAX - COUNTER_WINDOW + 1, 1), Ok(()));
}

#[test]
fn an_inner_plaintext_too_large_for_every_size() {
    let inner = |length: usize| {
        let full = Full { ctr: 1, base: 1, olm_type: 1, olm: vec![1; length] };
        let inner = Inner { answer: false, receipt: Receipt::default(), full: Some(full) };
        inner.encode().map(|padded| padded.len())
    };
    // 4 bytes of head, receipt {0: []} of 3, two counters, type and length.
    let most = MAX_ENVELOPE - ENVELOPE_OVERHEAD - 4 - 3 - 8 - 8 - 1 - 2;
    assert_eq!(inner(most), Ok(MAX_ENVELOPE - ENVELOPE_OVERHEAD));
    assert_eq!(inner(most + 1), Err(WireError::TooLong));
    assert_eq!(inner(usize::from(u16::MAX) + 1), Err(WireError::TooLong));
}

#[test]
fn only_zeros_pad_and_only_known_kinds_and_flags_count() {
    let inner = Inner { answer: true, receipt: Receipt::default(), full: None };
    let good = inner.encode().unwrap();
    assert_eq!(Inner::decode(&good), Ok(inner));
    for (at, byte) in [(0, 0), (0, 3), (1, 2), (good.len() - 1, 1)] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert_eq!(Inner::decode(&bad), Err(WireError::Malformed), "{at}");
    }
}

#[test]
fn a_receipt() {
    let root = RootReceipt { root: RootTag([1; 8]), taken: Window::new(1) };
    let read = |roots: usize, runs: usize| {
        let unread = Some(vec![Run { first: 1, count: 1 }; runs]);
        let roots = vec![root.clone(); roots];
        let receipt = Receipt { roots, unread, ..Receipt::default() };
        Inner::decode(&Inner { answer: false, receipt, full: None }.encode().unwrap())
    };
    assert!(read(MAX_RECEIPT_ROOTS, MAX_UNREAD_RUNS).is_ok());
    assert_eq!(read(MAX_RECEIPT_ROOTS + 1, 0), Err(WireError::Malformed));
    assert_eq!(read(0, MAX_UNREAD_RUNS + 1), Err(WireError::Malformed));
    let window = |bytes: usize| {
        let mut out = Vec::new();
        let mut e = minicbor::Encoder::new(&mut out);
        e.array(2).unwrap().u64(1).unwrap().bytes(&vec![0xff; bytes]).unwrap();
        cbor::decode::<Window>(&out)
    };
    assert_eq!(window(MAX_RECEIPT_BITS).unwrap().newest(), Some(COUNTER_WINDOW));
    assert_eq!(window(MAX_RECEIPT_BITS + 1), Err(WireError::Malformed));
    assert_eq!(MAX_RECEIPT_BITS as u64 * 8, COUNTER_WINDOW);
}

#[test]
fn a_token_that_is_none_and_a_key_that_is_not_known() {
    let read = |receipt: &[u8]| {
        let mut bytes = vec![1, 0, 0, u8::try_from(receipt.len()).unwrap()];
        bytes.extend_from_slice(receipt);
        Inner::decode(&bytes).map(|inner| inner.receipt.ping)
    };
    let ping = |length: usize| {
        let mut receipt = vec![0xa2, 0, 0x80, 3, 0x40 + u8::try_from(length).unwrap()];
        receipt.extend_from_slice(&vec![7; length]);
        read(&receipt)
    };
    assert_eq!(ping(8), Ok(Some(PingToken([7; 8]))));
    assert_eq!(ping(7), Err(WireError::Malformed));
    assert_eq!(ping(9), Err(WireError::Malformed));
    // As a version reads it that knows fewer keys than the sender.
    assert_eq!(read(&[0xa2, 0, 0x80, 0x17, 0x41, 1]), Ok(None));
}

#[test]
fn keys_and_first_message_of_an_introduction() {
    let asked = |length: usize| {
        let fields = Intro { kem: vec![1; length], ..intro().remove(0).1 };
        Intro::decode(&fields.encode()).map(|_| ())
    };
    assert_eq!(asked(KEM_KEY), Ok(()));
    assert_eq!(asked(KEM_KEY - 1), Err(WireError::Malformed));
    assert_eq!(asked(KEM_KEY + 1), Err(WireError::Malformed));
    let answered = |kem: usize, first: usize| {
        let sample = approval().remove(0).1;
        let fields = Approval { kem: vec![1; kem], first: vec![1; first], ..sample };
        Approval::decode(&fields.encode()).map(|_| ())
    };
    assert_eq!(answered(KEM_CIPHERTEXT, MAX_FIRST_OLM), Ok(()));
    assert_eq!(answered(KEM_CIPHERTEXT, MAX_FIRST_OLM + 1), Err(WireError::Malformed));
    assert_eq!(answered(KEM_CIPHERTEXT + 1, 1), Err(WireError::Malformed));
}

#[test]
fn a_signed_value() {
    let of_size = |size: usize| {
        // Array head 1, byte strings with heads of 3 and 2, signature 64.
        let fields = vec![1; size - 1 - 3 - 2 - 64];
        Signed { fields, signature: Signature([2; 64]) }.encode()
    };
    let most = of_size(MAX_BLOB);
    assert_eq!(most.len(), MAX_BLOB);
    assert!(Signed::decode(&most).is_ok());
    assert_eq!(Signed::decode(&of_size(MAX_BLOB + 1)), Err(WireError::TooLong));
    // The largest introduction and a sealed largest approval are blobs.
    let name = crate::username::Username::new(&"x".repeat(32)).unwrap();
    let fields =
        Intro { from: name.clone(), to: name.clone(), expires: u64::MAX, ..intro().remove(0).1 };
    let signature = Signature([2; 64]);
    assert!(Signed { fields: fields.encode(), signature }.encode().len() <= MAX_BLOB);
    let first = vec![1; MAX_FIRST_OLM];
    let fields = Approval { from: name.clone(), to: name, first, ..approval().remove(0).1 };
    let signed = Signed { fields: fields.encode(), signature }.encode();
    // Noise N: an ephemeral key and a tag.
    assert!(signed.len() + 48 <= MAX_BLOB);
}

#[test]
fn a_signed_value_has_one_encoding() {
    let good = Signed { fields: vec![1; 3], signature: Signature([2; 64]) }.encode();
    assert_eq!(good[1], 0x43);
    // The same length in two bytes: equal fields, another hash.
    let longer = [&good[..1], &[0x58, 3], &good[2..]].concat();
    assert_eq!(Signed::decode(&longer), Err(WireError::Malformed));
    let behind = [&good[..], &[0]].concat();
    assert_eq!(Signed::decode(&behind), Err(WireError::Malformed));
}

#[test]
fn hosts_and_links() {
    let host = |length: usize| {
        let labels = "abcdefghi.".repeat(length / 10 + 1);
        labels[..length].to_owned()
    };
    assert!(HostPort::parse(&host(MAX_HOST), RELAY_PORT).is_ok());
    assert!(HostPort::parse(&host(MAX_HOST + 2), RELAY_PORT).is_err());
    assert!(HostPort::parse(&"a".repeat(63), RELAY_PORT).is_ok());
    assert!(HostPort::parse(&"a".repeat(64), RELAY_PORT).is_err());
    let padded = |length: usize| {
        let link = super::link().remove(0).1.to_string();
        " ".repeat(length - link.len()) + &link
    };
    assert!(Link::parse(&padded(MAX_LINK)).is_ok());
    assert_eq!(Link::parse(&padded(MAX_LINK + 1)), Err(LinkError::NotALink));
}
