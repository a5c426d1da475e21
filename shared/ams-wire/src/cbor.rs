//! Strict CBOR at the doors: minicbor alone accepts bytes behind the value.

use minicbor::{Decode, Encode};

use crate::frame::WireError;

/// Decodes exactly one value that fills `bytes`.
pub(crate) fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, WireError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|_| WireError::Malformed)?;
    if decoder.position() == bytes.len() { Ok(value) } else { Err(WireError::Malformed) }
}

/// Appends the encoding of `value`.
pub(crate) fn encode<T: Encode<()>>(value: &T, out: &mut Vec<u8>) {
    // A Vec takes every byte, and our types ask for nothing that the encoder refuses.
    let encoded = minicbor::encode(value, &mut *out);
    debug_assert!(encoded.is_ok());
}
