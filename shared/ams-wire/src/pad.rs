//! Few sizes: records and envelopes are padded to the same steps, so that an observer learns a
//! step and not a length, and one envelope fills one record.

use crate::limits::{ENVELOPE_OVERHEAD, FRAME_HEADER, MAX_RECORD_PLAINTEXT, SEND_HEADER};

/// Sizes of a padded record plaintext, bytes.
pub const BUCKETS: [usize; 10] =
    [512, 1024, 1536, 2048, 4096, 8192, 16_384, 32_768, 49_152, MAX_RECORD_PLAINTEXT];

/// Bytes of a record that a `Send` uses beside its envelope's padded plaintext.
const AROUND: usize = FRAME_HEADER + SEND_HEADER + ENVELOPE_OVERHEAD;

/// Size of the record plaintext that holds `len` bytes of frames; `None` above the largest.
pub fn record_size(len: usize) -> Option<usize> {
    BUCKETS.iter().copied().find(|&bucket| bucket >= len)
}

/// Size of the padded plaintext of an envelope that holds `len` bytes; `None` above the largest.
pub fn inner_size(len: usize) -> Option<usize> {
    // The last bucket is for full records only: no envelope is that large.
    let sizes = BUCKETS.iter().take(BUCKETS.len().saturating_sub(1));
    sizes.map(|bucket| bucket.saturating_sub(AROUND)).find(|&size| size >= len)
}

/// Whether `len` is a size that an envelope has.
pub fn is_envelope_size(len: usize) -> bool {
    len.checked_sub(ENVELOPE_OVERHEAD).is_some_and(|inner| inner_size(inner) == Some(inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_ENVELOPE, MIN_ENVELOPE};

    #[test]
    fn one_envelope_fills_one_record() {
        for bucket in BUCKETS.iter().take(9) {
            let inner = bucket - AROUND;
            assert_eq!(inner_size(inner), Some(inner));
            assert_eq!(
                record_size(FRAME_HEADER + SEND_HEADER + ENVELOPE_OVERHEAD + inner),
                Some(*bucket)
            );
            assert!(is_envelope_size(inner + ENVELOPE_OVERHEAD));
            assert!(!is_envelope_size(inner + ENVELOPE_OVERHEAD - 1));
        }
        assert_eq!(inner_size(0).map(|n| n + ENVELOPE_OVERHEAD), Some(MIN_ENVELOPE));
        assert_eq!(inner_size(MAX_ENVELOPE - ENVELOPE_OVERHEAD + 1), None);
        assert_eq!(record_size(MAX_RECORD_PLAINTEXT + 1), None);
    }
}
