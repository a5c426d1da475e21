use ams_wire::limits::RECORD_TAG;
use data_encoding::HEXLOWER;
use proptest::prelude::*;
use snow::TransportState;

use super::vectors::{self, VECTORS};
use super::*;

fn xk() -> (Transport, Transport) {
    let (client, relay) = (DhSecret::generate(), DhSecret::generate());
    let (initiator, first) = XkInitiator::start(&client, &relay.public()).unwrap();
    let (responder, second) = XkResponder::start(&relay, &first).unwrap();
    let (there, third) = initiator.finish(&second).unwrap();
    let here = responder.finish(&third).unwrap();
    assert_eq!(here.remote, client.public());
    assert_eq!(there.remote, relay.public());
    (there, here)
}

fn pass(from: &mut Sealer, to: &mut Opener, plaintext: &[u8]) -> Vec<u8> {
    let mut record = vec![0; plaintext.len() + RECORD_TAG];
    let length = from.seal(plaintext, &mut record).unwrap();
    assert_eq!(length, record.len());
    let mut out = vec![0; record.len()];
    let length = to.open(&record, &mut out).unwrap();
    out.truncate(length);
    out
}

#[test]
fn xk_links_both_ways() {
    let (mut client, mut relay) = xk();
    assert_eq!(client.handshake_hash, relay.handshake_hash);
    for text in [&b""[..], b"hello", &[7; 65_519]] {
        assert_eq!(pass(&mut client.sealer, &mut relay.opener, text), text);
        assert_eq!(pass(&mut relay.sealer, &mut client.opener, text), text);
    }
}

#[test]
fn ik_links_and_tells_who_asks_before_it_answers() {
    let (alice, bob) = (DhSecret::generate(), DhSecret::generate());
    let (initiator, first) = IkInitiator::start(&alice, &bob.public()).unwrap();
    let responder = IkResponder::read(&bob, &first).unwrap();
    assert_eq!(responder.initiator(), alice.public());
    let (mut here, second) = responder.answer().unwrap();
    let mut there = initiator.finish(&second).unwrap();
    assert_eq!(there.handshake_hash, here.handshake_hash);
    assert_eq!((there.remote, here.remote), (bob.public(), alice.public()));
    assert_eq!(pass(&mut there.sealer, &mut here.opener, b"hi"), b"hi");
}

#[test]
fn xx_links_with_payloads_and_tells_who_answers_before_it_goes_on() {
    let (alice, bob) = (DhSecret::generate(), DhSecret::generate());
    let (initiator, first) = XxInitiator::start(&alice).unwrap();
    let (responder, second) = XxResponder::start(&bob, &first, b"I am bob").unwrap();
    assert_eq!(second.len(), XX.1 + 8);
    let (answered, said) = initiator.read(&second).unwrap();
    assert_eq!((answered.responder(), said.as_slice()), (bob.public(), &b"I am bob"[..]));
    let (mut there, third) = answered.finish(b"I am alice").unwrap();
    assert_eq!(third.len(), XX.2 + 10);
    let (mut here, said) = responder.finish(&third).unwrap();
    assert_eq!((here.remote, said.as_slice()), (alice.public(), &b"I am alice"[..]));
    assert_eq!(pass(&mut here.sealer, &mut there.opener, b"hi"), b"hi");
}

#[test]
fn another_key_or_pattern_is_rejected() {
    let (client, relay, other) = (DhSecret::generate(), DhSecret::generate(), DhSecret::generate());
    let (_, first) = XkInitiator::start(&client, &relay.public()).unwrap();
    assert_eq!(XkResponder::start(&other, &first).unwrap_err(), NoiseError::Rejected);

    // The same bytes are no first message of another pattern, even for the same key.
    let (_, ik) = IkInitiator::start(&client, &relay.public()).unwrap();
    let front = ik.first_chunk().unwrap();
    assert_eq!(XkResponder::start(&relay, front).unwrap_err(), NoiseError::Rejected);
}

#[test]
fn every_bit_of_the_handshake_counts() {
    let (client, relay) = (DhSecret::generate(), DhSecret::generate());
    for at in 0..XK.0 {
        let (_, mut first) = XkInitiator::start(&client, &relay.public()).unwrap();
        first[at] ^= 4;
        assert!(XkResponder::start(&relay, &first).is_err(), "first {at}");
    }
    for at in 0..XK.1 {
        let (initiator, first) = XkInitiator::start(&client, &relay.public()).unwrap();
        let (_, mut second) = XkResponder::start(&relay, &first).unwrap();
        second[at] ^= 4;
        assert!(initiator.finish(&second).is_err(), "second {at}");
    }
    for at in 0..XK.2 {
        let (initiator, first) = XkInitiator::start(&client, &relay.public()).unwrap();
        let (responder, second) = XkResponder::start(&relay, &first).unwrap();
        let (_, mut third) = initiator.finish(&second).unwrap();
        third[at] ^= 4;
        assert!(responder.finish(&third).is_err(), "third {at}");
    }
}

#[test]
fn a_low_order_ephemeral_is_refused() {
    let relay = DhSecret::generate();
    assert_eq!(XkResponder::start(&relay, &[0; XK.0]).unwrap_err(), NoiseError::WeakKey);
    assert_eq!(IkResponder::read(&relay, &[0; IK.0]).unwrap_err(), NoiseError::WeakKey);
    assert_eq!(XxResponder::start(&relay, &[0; XX.0], b"").unwrap_err(), NoiseError::WeakKey);
}

#[test]
fn a_bent_record_ends_the_link() {
    let (mut client, mut relay) = xk();
    let mut record = [0; 5 + RECORD_TAG];
    client.sealer.seal(b"hello", &mut record).unwrap();
    let mut bent = record;
    bent[2] ^= 1;
    let mut out = [0; 5 + RECORD_TAG];
    assert_eq!(relay.opener.open(&bent, &mut out), Err(NoiseError::Rejected));
    assert_eq!(relay.opener.open(&record, &mut out), Err(NoiseError::Rejected));
    // The other direction has nothing to do with it.
    assert_eq!(pass(&mut relay.sealer, &mut client.opener, b"bye"), b"bye");
}

#[test]
fn replay_reflection_and_reordering_are_rejected() {
    let record = |from: &mut Transport| {
        let mut record = [0; 2 + RECORD_TAG];
        from.sealer.seal(b"hi", &mut record).unwrap();
        record
    };
    let mut out = [0; 2 + RECORD_TAG];

    let (mut client, mut relay) = xk();
    let once = record(&mut client);
    assert_eq!(relay.opener.open(&once, &mut out), Ok(2));
    assert_eq!(relay.opener.open(&once, &mut out), Err(NoiseError::Rejected));

    let (mut client, _) = xk();
    let own = record(&mut client);
    assert_eq!(client.opener.open(&own, &mut out), Err(NoiseError::Rejected));

    let (mut client, mut relay) = xk();
    let _lost = record(&mut client);
    let later = record(&mut client);
    assert_eq!(relay.opener.open(&later, &mut out), Err(NoiseError::Rejected));
}

#[test]
fn keys_change_every_thousand_records_in_step() {
    let (mut client, mut relay) = xk();
    for _ in 0..REKEY_AFTER * 2 + 10 {
        assert_eq!(pass(&mut client.sealer, &mut relay.opener, b"tick"), b"tick");
    }
    assert_eq!(pass(&mut relay.sealer, &mut client.opener, b"tock"), b"tock");

    // A receiver that does not change its key with the sender is lost at record 1,001, not before.
    let (mut client, relay) = xk();
    let state = relay.opener.state;
    for count in 1..=REKEY_AFTER + 1 {
        let mut record = [0; 1 + RECORD_TAG];
        client.sealer.seal(b"x", &mut record).unwrap();
        let opened = state.lock().unwrap().read_message(&record, &mut [0; 1 + RECORD_TAG]);
        assert_eq!(opened.is_ok(), count <= REKEY_AFTER, "{count}");
    }
}

#[test]
fn sizes_are_checked() {
    let (mut client, mut relay) = xk();
    assert_eq!(client.sealer.seal(&[0; 65_520], &mut [0; 70_000]), Err(NoiseError::Size));
    assert_eq!(client.sealer.seal(b"hi", &mut [0; 17]), Err(NoiseError::Size));
    assert_eq!(relay.opener.open(&[0; 65_536], &mut [0; 65_536]), Err(NoiseError::Size));
    assert_eq!(relay.opener.open(&[0; 20], &mut [0; 19]), Err(NoiseError::Size));
    // Nothing was used up by that.
    assert_eq!(pass(&mut client.sealer, &mut relay.opener, b"hi"), b"hi");
    assert_eq!(relay.opener.open(&[0; 15], &mut [0; 15]), Err(NoiseError::Rejected));
}

#[test]
fn debug_shows_no_secret() {
    let (client, _) = xk();
    assert_eq!(format!("{client:?}"), "Transport(secret)");
    assert_eq!(format!("{:?} {:?}", client.sealer, client.opener), "Sealer(secret) Opener(secret)");
}

#[test]
fn a_link_keeps_little() {
    assert!(size_of::<TransportState>() <= 192, "{}", size_of::<TransportState>());
    assert!(size_of::<Transport>() <= 128, "{}", size_of::<Transport>());
    assert_eq!(size_of::<XkResponder>(), 8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_first_message_is_an_error(bytes: [u8; 48], more: [u8; 48]) {
        let relay = DhSecret::from_bytes(&[1; 32]);
        prop_assert!(XkResponder::start(&relay, &bytes).is_err());
        let mut long = [0; 96];
        long[..48].copy_from_slice(&bytes);
        long[48..].copy_from_slice(&more);
        prop_assert!(IkResponder::read(&relay, &long).is_err());
    }

    #[test]
    fn any_record_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (_, mut relay) = xk();
        prop_assert_eq!(relay.opener.open(&bytes, &mut [0; 200]), Err(NoiseError::Rejected));
    }
}

/// The suite as it is linked here (ring's cipher, snow's curve and hash) against published vectors.
#[test]
fn published_vectors() {
    let hex = |text: &str| HEXLOWER.decode(text.as_bytes()).unwrap();
    let prologue = hex(vectors::PROLOGUE);
    let [client, client_e, relay, relay_public, relay_e] = [
        vectors::INITIATOR,
        vectors::INITIATOR_EPHEMERAL,
        vectors::RESPONDER,
        vectors::RESPONDER_PUBLIC,
        vectors::RESPONDER_EPHEMERAL,
    ]
    .map(hex);
    let names: Vec<_> = VECTORS.iter().map(|vector| vector.name).collect();
    for pattern in [Pattern::Xk, Pattern::Ik, Pattern::Xx] {
        assert!(names.contains(&pattern.name()));
    }
    assert_eq!(names.len(), 5);

    for vector in VECTORS {
        let one_way = vector.name.starts_with("Noise_N");
        let psk = vector.psk.map(|psk| <[u8; 32]>::try_from(hex(psk)).unwrap());
        let builder = || {
            let builder = Builder::new(vector.name.parse().unwrap()).prologue(&prologue).unwrap();
            match &psk {
                Some(psk) => builder.psk(0, psk).unwrap(),
                None => builder,
            }
        };
        let mut initiator = builder().fixed_ephemeral_key_for_testing_only(&client_e);
        if !one_way {
            initiator = initiator.local_private_key(&client).unwrap();
        }
        if !vector.name.contains("XX") {
            initiator = initiator.remote_public_key(&relay_public).unwrap();
        }
        let mut initiator = initiator.build_initiator().unwrap();
        let mut responder = builder()
            .local_private_key(&relay)
            .unwrap()
            .fixed_ephemeral_key_for_testing_only(&relay_e)
            .build_responder()
            .unwrap();

        let mut messages = vector.messages.iter();
        let (mut sent, mut read) = ([0; 1024], [0; 1024]);
        let mut from_initiator = true;
        while !initiator.is_handshake_finished() {
            let (payload, message) = messages.next().unwrap();
            let (from, to) = if from_initiator {
                (&mut initiator, &mut responder)
            } else {
                (&mut responder, &mut initiator)
            };
            let length = from.write_message(&hex(payload), &mut sent).unwrap();
            assert_eq!(HEXLOWER.encode(&sent[..length]), *message, "{}", vector.name);
            let length = to.read_message(&sent[..length], &mut read).unwrap();
            assert_eq!(HEXLOWER.encode(&read[..length]), *payload);
            from_initiator = !from_initiator;
        }
        assert_eq!(HEXLOWER.encode(initiator.get_handshake_hash()), vector.hash);
        assert_eq!(HEXLOWER.encode(responder.get_handshake_hash()), vector.hash);
        let mut initiator = initiator.into_transport_mode().unwrap();
        let mut responder = responder.into_transport_mode().unwrap();
        for (payload, message) in messages {
            let (from, to) = if from_initiator || one_way {
                (&mut initiator, &mut responder)
            } else {
                (&mut responder, &mut initiator)
            };
            let length = from.write_message(&hex(payload), &mut sent).unwrap();
            assert_eq!(HEXLOWER.encode(&sent[..length]), *message, "{}", vector.name);
            let length = to.read_message(&sent[..length], &mut read).unwrap();
            assert_eq!(HEXLOWER.encode(&read[..length]), *payload);
            from_initiator = !from_initiator;
        }
    }
}
