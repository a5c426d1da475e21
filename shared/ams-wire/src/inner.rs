//! The plaintext of an envelope, before padding:
//!
//! ```text
//! kind u8 (1 bare, 2 full) ‖ flags u8 (bit 0: answer) ‖ receipt length u16 ‖ receipt (CBOR)
//! full only: ctr u64 ‖ base u64 ‖ Olm type u8 (0 pre-key, 1 normal) ‖ Olm length u16 ‖ Olm message
//! zeros up to the size that crate::pad gives
//! ```
//! All integers big-endian.

use crate::cbor;
use crate::frame::WireError;
use crate::limits::COUNTER_WINDOW;
use crate::pad;
use crate::receipt::Receipt;

const BARE: u8 = 1;
const FULL: u8 = 2;
const ANSWER: u8 = 1;

/// What an envelope says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inner {
    /// Asks for a receipt in return.
    pub answer: bool,
    /// What the sender of this envelope has taken and read of the other's.
    pub receipt: Receipt,
    /// `None`: bare, nothing but the receipt state.
    pub full: Option<Full>,
}

/// The part that a bare envelope lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// Counts from 1 in each root and direction, unique per ciphertext.
    pub ctr: u64,
    /// The lowest counter whose ciphertext the sender still keeps.
    pub base: u64,
    /// 0: pre-key message, 1: normal message.
    pub olm_type: u8,
    /// The ratchet's ciphertext.
    pub olm: Vec<u8>,
}

impl Inner {
    /// The padded plaintext.
    ///
    /// # Errors
    /// [`WireError::TooLong`] when no size holds it, [`WireError::Malformed`] when a counter or
    /// type is out of its range.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let mut out = Vec::with_capacity(512);
        out.push(if self.full.is_some() { FULL } else { BARE });
        out.push(if self.answer { ANSWER } else { 0 });
        let mut receipt = Vec::with_capacity(64);
        cbor::encode(&self.receipt, &mut receipt);
        put_short(&mut out, &receipt)?;
        if let Some(full) = &self.full {
            if !full.in_range() {
                return Err(WireError::Malformed);
            }
            out.extend_from_slice(&full.ctr.to_be_bytes());
            out.extend_from_slice(&full.base.to_be_bytes());
            out.push(full.olm_type);
            put_short(&mut out, &full.olm)?;
        }
        let size = pad::inner_size(out.len()).ok_or(WireError::TooLong)?;
        out.resize(size, 0);
        Ok(out)
    }

    /// Reads a padded plaintext.
    ///
    /// # Errors
    /// [`WireError::Malformed`] for anything that [`Inner::encode`] does not make.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (&[kind, flags], rest) = bytes.split_first_chunk().ok_or(WireError::Malformed)?;
        let (receipt, rest) = take_short(rest)?;
        let receipt: Receipt = cbor::decode(receipt)?;
        if flags > ANSWER || !receipt.is_bounded() {
            return Err(WireError::Malformed);
        }
        let (full, padding) = match kind {
            BARE => (None, rest),
            FULL => {
                let (full, rest) = Full::decode(rest)?;
                (Some(full), rest)
            }
            _ => return Err(WireError::Malformed),
        };
        if padding.iter().any(|&byte| byte != 0) {
            return Err(WireError::Malformed);
        }
        Ok(Self { answer: flags == ANSWER, receipt, full })
    }
}

impl Full {
    fn in_range(&self) -> bool {
        let span = self.ctr.checked_sub(self.base);
        self.base >= 1 && self.olm_type <= 1 && span.is_some_and(|span| span < COUNTER_WINDOW)
    }

    fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let (ctr, rest) = bytes.split_first_chunk::<8>().ok_or(WireError::Malformed)?;
        let (base, rest) = rest.split_first_chunk::<8>().ok_or(WireError::Malformed)?;
        let (&olm_type, rest) = rest.split_first().ok_or(WireError::Malformed)?;
        let (olm, rest) = take_short(rest)?;
        let full = Self {
            ctr: u64::from_be_bytes(*ctr),
            base: u64::from_be_bytes(*base),
            olm_type,
            olm: olm.to_vec(),
        };
        if full.in_range() { Ok((full, rest)) } else { Err(WireError::Malformed) }
    }
}

fn put_short(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), WireError> {
    let length = u16::try_from(bytes.len()).map_err(|_| WireError::TooLong)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn take_short(bytes: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let (length, rest) = bytes.split_first_chunk::<2>().ok_or(WireError::Malformed)?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(WireError::Malformed)
}
