//! What is read, whatever the pieces in which it comes.

use std::collections::VecDeque;
use std::task::Waker;

use ams_crypto::dh::DhSecret;
use ams_crypto::noise::{Sealer, XkInitiator, XkResponder};
use ams_wire::frame::FrameType;
use ams_wire::limits::RECORD_TAG;
use proptest::prelude::*;

use super::*;

/// Gives its pieces, one per read, then the end.
#[derive(Debug)]
struct Pieces(VecDeque<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.0.pop_front() {
            let rest = piece.split_off(piece.len().min(out.remaining()));
            out.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn keys() -> (Sealer, Opener) {
    let (client, relay) = (DhSecret::from_bytes(&[1; 32]), DhSecret::from_bytes(&[2; 32]));
    let (initiator, first) = XkInitiator::start(&client, &relay.public()).unwrap();
    let (responder, second) = XkResponder::start(&relay, &first).unwrap();
    let (there, third) = initiator.finish(&second).unwrap();
    (there.sealer, responder.finish(&third).unwrap().opener)
}

/// A record of `plaintext` with its length.
fn record(sealer: &mut Sealer, plaintext: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 2 + plaintext.len() + RECORD_TAG];
    let length = sealer.seal(plaintext, &mut out[2..]).unwrap();
    out[..2].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
    out
}

fn frame(number: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[number], &length[..], body].concat()
}

fn receive(receiver: &mut Receiver<Pieces>) -> Result<Vec<Frame>, ReceiveError> {
    match receiver.poll_receive(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.map(Iterator::collect),
        Poll::Pending => panic!("pieces are always ready"),
    }
}

fn receiver(opener: Opener, pieces: impl IntoIterator<Item = Vec<u8>>) -> Receiver<Pieces> {
    Receiver::new(Pieces(pieces.into_iter().collect()), opener)
}

#[test]
fn all_records_of_a_read_are_one_batch_without_padding() {
    let (mut sealer, opener) = keys();
    let mut bytes = Vec::new();
    for number in [7, 8] {
        let mut plaintext = frame(number, &[number; 5]);
        plaintext.extend(frame(0x30, &[9; 300]));
        plaintext.resize(512, 0);
        bytes.extend(record(&mut sealer, &plaintext));
    }
    let mut receiver = receiver(opener, [bytes]);
    let frames = receive(&mut receiver).unwrap();
    let numbers: Vec<_> = frames.iter().map(|frame| frame.number).collect();
    assert_eq!(numbers, [7, 0x30, 8, 0x30]);
    assert_eq!(frames[2].body, [8; 5][..]);
    assert_eq!(frames[3].body, [9; 300][..]);
    assert!(matches!(receive(&mut receiver), Err(ReceiveError::Cut)));
}

#[test]
fn an_idle_link_owns_no_buffer() {
    let (mut sealer, opener) = keys();
    let bytes = record(&mut sealer, &frame(1, &[]));
    let (one, two) = bytes.split_at(7);
    let mut receiver = receiver(opener, [one.to_vec(), two.to_vec()]);
    assert_eq!(receive(&mut receiver).unwrap().len(), 1);
    assert_eq!(receiver.partial.capacity(), 0);
    assert!(size_of::<Receiver<tokio::net::tcp::OwnedReadHalf>>() <= 64);
}

#[test]
fn an_incomplete_record_takes_its_own_size_and_no_more() {
    let (mut sealer, opener) = keys();
    let whole = record(&mut sealer, &[0; 1024]);
    let mut receiver = receiver(opener, [whole[..500].to_vec(), whole[500..600].to_vec()]);
    assert!(matches!(receive(&mut receiver), Err(ReceiveError::Cut)));
    assert_eq!(receiver.partial.len(), 600);
    assert_eq!(receiver.partial.capacity(), whole.len());
}

#[test]
fn a_stranger_does_not_decide_how_much_is_kept() {
    let (mut sealer, opener) = keys();
    let largest = record(&mut sealer, &[0; 4096]);
    let over = record(&mut sealer, &[0; 4097]);
    let (length, begun) = (over[..2].to_vec(), over[2..9].to_vec());
    let mut bounded =
        receiver(opener, [largest[..9].to_vec(), largest[9..].to_vec(), length, begun]);
    bounded.bound(Some(4096 + RECORD_TAG));
    assert_eq!(receive(&mut bounded).unwrap(), []);
    assert!(matches!(receive(&mut bounded), Err(ReceiveError::Malformed)));
    assert!(bounded.partial.capacity() <= 64);
    // What comes in one piece is taken in small ones.
    let (mut sealer, opener) = keys();
    let many = (0..40).flat_map(|_| record(&mut sealer, &frame(1, &[]).repeat(170))).collect();
    let mut bounded = receiver(opener, [many]);
    bounded.bound(Some(4096 + RECORD_TAG));
    let mut frames = 0;
    while let Ok(batch) = receive(&mut bounded) {
        assert!(batch.len() <= 8 * 170);
        frames += batch.len();
    }
    assert_eq!(frames, 40 * 170);
}

/// However long the records were, the allocation that a frame keeps is of the size of the frames.
#[test]
fn padding_is_given_back() {
    for (body, most) in [(473, 2_000), (20_000, 42_000), (40_000, 90_000)] {
        let (mut sealer, opener) = keys();
        let mut plaintext = frame(0x20, &vec![1; body]);
        plaintext.resize(60_000, 0);
        let bytes = record(&mut sealer, &plaintext);
        let mut receiver = receiver(opener, [bytes]);
        let batch = receiver.poll_receive(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(batch)) = batch else { panic!("{batch:?}") };
        let capacity = batch.frames.try_into_mut().unwrap().capacity();
        assert!(capacity <= most, "{body}: {capacity}");
    }
}

#[test]
fn a_batch_weighs_what_was_read() {
    let (mut sealer, opener) = keys();
    let mut padded = frame(1, &[]);
    padded.resize(512, 0);
    let mut bytes = record(&mut sealer, &padded);
    bytes.extend(record(&mut sealer, &[0; 2_048]));
    bytes.extend(record(&mut sealer, &frame(1, &[]).repeat(5)));
    let total = u32::try_from(bytes.len()).unwrap();
    let rest = bytes.split_off(700);
    let mut receiver = receiver(opener, [bytes, rest]);
    let mut sum = Weight::default();
    let mut batches = 0;
    while let Poll::Ready(Ok(mut batch)) =
        receiver.poll_receive(&mut Context::from_waker(Waker::noop()))
    {
        let weight = batch.weigh();
        sum.bytes += weight.bytes;
        sum.empty_records += weight.empty_records;
        assert_eq!(batch.weigh(), Weight::default());
        batches += 1;
    }
    assert_eq!((sum, batches), (Weight { bytes: total, empty_records: 1 }, 2));
}

#[test]
fn the_largest_record_arrives() {
    let (mut sealer, opener) = keys();
    let body = vec![3; ams_wire::limits::MAX_FRAME_BODY];
    let bytes = record(&mut sealer, &frame(0x31, &body));
    assert_eq!(bytes.len(), 65_537);
    let frames = receive(&mut receiver(opener, [bytes])).unwrap();
    assert_eq!(frames[0].body, body);
}

#[test]
fn a_record_without_frames_is_an_empty_batch() {
    let (mut sealer, opener) = keys();
    let mut receiver = receiver(opener, [record(&mut sealer, &[0; 512])]);
    assert_eq!(receive(&mut receiver).unwrap(), []);
}

#[test]
fn a_frame_over_the_end_of_its_record_ends_the_link() {
    let (mut sealer, opener) = keys();
    let mut cut = frame(0x30, &[1; 100]);
    cut.pop();
    let mut receiver = receiver(opener, [record(&mut sealer, &cut)]);
    assert!(matches!(receive(&mut receiver), Err(ReceiveError::Malformed)));
}

#[test]
fn a_length_that_is_no_record_ends_the_link() {
    for length in 0..RECORD_TAG {
        let (_, opener) = keys();
        let mut bytes = u16::try_from(length).unwrap().to_be_bytes().to_vec();
        bytes.resize(2 + length, 0xee);
        let mut receiver = receiver(opener, [bytes]);
        assert!(matches!(receive(&mut receiver), Err(ReceiveError::Rejected)), "{length}");
    }
}

#[test]
fn after_a_bent_record_nothing_opens() {
    let (mut sealer, opener) = keys();
    let mut bent = record(&mut sealer, &frame(1, &[5; 20]));
    bent[10] ^= 1;
    let next = record(&mut sealer, &frame(1, &[]));
    let mut receiver = receiver(opener, [bent, next]);
    assert!(matches!(receive(&mut receiver), Err(ReceiveError::Rejected)));
    assert!(matches!(receive(&mut receiver), Err(ReceiveError::Rejected)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn however_the_bytes_are_cut_the_frames_are_the_same(
        bodies in prop::collection::vec(0_usize..3000, 1..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let (mut sealer, opener) = keys();
        let mut bytes = Vec::new();
        for &body in &bodies {
            let mut plaintext = frame(FrameType::Deliver as u8, &vec![0x5a; body]);
            plaintext.resize(ams_wire::pad::record_size(plaintext.len()).unwrap(), 0);
            bytes.extend(record(&mut sealer, &plaintext));
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let pieces = cuts.windows(2).map(|cut| bytes[cut[0]..cut[1]].to_vec());
        let mut receiver = receiver(opener, pieces);
        let mut found = Vec::new();
        while let Ok(frames) = receive(&mut receiver) {
            found.extend(frames.iter().map(|frame| frame.body.len()));
        }
        prop_assert_eq!(found, bodies);
    }

    #[test]
    fn any_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (_, opener) = keys();
        prop_assert!(receive(&mut receiver(opener, [bytes])).is_err());
    }
}
