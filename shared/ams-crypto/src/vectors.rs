//! The cryptographic test vectors of PROTOCOL.md: the document says what the code does.

use ams_wire::id::IntroId;
use data_encoding::HEXLOWER;

use crate::device;
use crate::dh::DhSecret;
use crate::envelope::{self, Direction};
use crate::identity::{IdentityKey, IdentityPublic};
use crate::labels;
use crate::noise::Pattern;
use crate::opaque;
use crate::pair::{Agreed, RootKeys, Side};
use crate::safety::safety_number;

const PROTOCOL: &str = include_str!("../../ams-wire/PROTOCOL.md");

/// The text of vector `name`, its indented lines joined.
fn text(name: &str) -> String {
    let head = format!("vector crypto/{name} = ");
    let mut lines = PROTOCOL.lines().skip_while(|line| !line.starts_with(&head));
    let first = lines.next().unwrap().strip_prefix(&head).unwrap().to_owned();
    lines.take_while(|line| line.starts_with("  ")).fold(first, |text, line| text + line)
}

/// Its bytes: hex, where `xx*n` is a byte `n` times.
fn bytes(name: &str) -> Vec<u8> {
    let token = |token: &str| {
        let (hex, count) = token.split_once('*').unwrap_or((token, "1"));
        HEXLOWER.decode(hex.as_bytes()).unwrap().repeat(count.parse().unwrap())
    };
    text(name).split_whitespace().flat_map(token).collect()
}

fn key(byte: u8) -> IdentityKey {
    IdentityKey::from_bytes(&[byte; 32])
}

#[test]
fn identities() {
    let [seven, eight] = [7, 8].map(|byte| key(byte).public());
    assert_eq!(bytes("ik-7"), seven.as_bytes());
    assert_eq!(bytes("ik-8"), eight.as_bytes());
    assert_eq!(IdentityPublic::from_fingerprint(&text("fingerprint-7")), Ok(seven));
    assert_eq!(text("fingerprint-7"), seven.fingerprint());
    assert_eq!(text("safety-number-7-8"), safety_number(&seven, &eight).digits());
    assert_eq!(bytes("signature"), key(7).sign(labels::INTRO, b"abc"));
}

#[test]
fn link_and_login() {
    assert_eq!(bytes("link-prologue"), Pattern::Xk.prologue());
    assert_eq!(bytes("known-peer-prologue"), Pattern::Ik.prologue());
    assert_eq!(bytes("first-meeting-prologue"), Pattern::Xx.prologue());
    let device = DhSecret::from_bytes(&[9; 32]).public();
    assert_eq!(bytes("device-record"), device::record(&key(7), &device));
    assert_eq!(bytes("login-context"), opaque::context(&[6; 32]));
}

#[test]
fn root() {
    let roots = RootKeys::derive(&Agreed {
        link: None,
        x25519: &[3; 32],
        kem: &[4; 32],
        intro: &IntroId([1; 32]),
        approval: &[2; 32],
    });
    assert_eq!(bytes("root"), &roots.to_bytes()[..]);
}

#[test]
fn sealed() {
    let [seven, eight] = [7, 8].map(|byte| key(byte).public());
    let roots = RootKeys::from_bytes(&[&[0; 8][..], &[1; 32], &[9; 32]].concat()).unwrap();
    let direction = Direction { from: &seven, to: &eight };
    let opened = envelope::open(roots.opening(Side::Approver), direction, &bytes("envelope"));
    assert_eq!(opened.as_deref(), Ok(&b"padded inner"[..]));
}

#[test]
fn every_label_stands_in_the_document() {
    for label in [
        labels::LINK,
        labels::LOGIN,
        labels::INTRO,
        labels::APPROVAL,
        labels::SEALED_APPROVAL,
        labels::ROOT,
        labels::ROOT_TAG,
        labels::TO_REQUESTER,
        labels::TO_APPROVER,
        labels::ENVELOPE,
        labels::TOKEN,
    ] {
        let label = std::str::from_utf8(label).unwrap();
        assert!(PROTOCOL.contains(label), "{label}");
    }
}
