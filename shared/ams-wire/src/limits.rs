//! Every bound of the wire format. Each is checked before anything is allocated for what it bounds.

/// The protocol version that this crate speaks, stated in the first frame of a link.
pub const PROTOCOL_VERSION: u16 = 1;

/// Largest Noise message: its length is a `u16`.
pub const MAX_RECORD_CIPHERTEXT: usize = 65_535;
/// Bytes that a Noise message is longer than its plaintext (Poly1305 tag).
pub const RECORD_TAG: usize = 16;
/// Largest record plaintext.
pub const MAX_RECORD_PLAINTEXT: usize = MAX_RECORD_CIPHERTEXT - RECORD_TAG;

/// Frame header: type `u8`, body length `u16`.
pub const FRAME_HEADER: usize = 3;
/// Largest frame body: a frame lies within one record.
pub const MAX_FRAME_BODY: usize = MAX_RECORD_PLAINTEXT - FRAME_HEADER;

/// Fixed header of a `Send` body: handle 16, ttl 4, work mark 16.
pub const SEND_HEADER: usize = 36;
/// Fixed header of a `Deliver` body: handle 16.
pub const DELIVER_HEADER: usize = 16;

/// Bytes of an envelope outside its padded plaintext: nonce 24, Poly1305 tag 16.
pub const ENVELOPE_OVERHEAD: usize = 40;
/// Largest envelope: the largest bucket of [`crate::pad`], less the frame around it.
pub const MAX_ENVELOPE: usize = 48 * 1024 - FRAME_HEADER - SEND_HEADER;
/// Smallest envelope.
pub const MIN_ENVELOPE: usize = 512 - FRAME_HEADER - SEND_HEADER;

/// Largest text of a message, UTF-8 bytes.
pub const MAX_BODY_TEXT: usize = 46 * 1024;
/// Largest title of a message, UTF-8 bytes.
pub const MAX_TITLE: usize = 256;
/// Most tags on a message.
pub const MAX_TAGS: usize = 16;
/// Largest tag, UTF-8 bytes.
pub const MAX_TAG: usize = 32;

/// Most answers that a question offers.
pub const MAX_CHOICES: usize = 8;
/// Largest answer that a question offers, UTF-8 bytes.
pub const MAX_CHOICE: usize = 32;

/// Most addresses at which a daemon offers to be dialled.
pub const MAX_OFFERED: usize = 4;
/// Longest of them: a host, in brackets or not, and a port.
pub const MAX_OFFERED_ADDRESS: usize = MAX_HOST + 6;

/// Span of counters that may be without a receipt: newest − base is below this.
pub const COUNTER_WINDOW: u64 = 256;
/// Bytes of the bit map of one root in a receipt.
pub const MAX_RECEIPT_BITS: usize = 32;
/// Roots that a receipt speaks of: the one in use and the one before it.
pub const MAX_RECEIPT_ROOTS: usize = 2;
/// Runs of numbers of which a receipt says that they were never read.
pub const MAX_UNREAD_RUNS: usize = 8;

/// Largest introduction or approval on a contact row.
pub const MAX_BLOB: usize = 4096;
/// Largest first Olm message inside an approval.
pub const MAX_FIRST_OLM: usize = 512;

/// Shortest and longest username.
pub const USERNAME_LEN: std::ops::RangeInclusive<usize> = 3..=32;
/// Longest host in an address (RFC 1035 section 2.3.4).
pub const MAX_HOST: usize = 253;
/// Longest `ams://` link.
pub const MAX_LINK: usize = 1024;
/// Most entries in one `Presence` frame.
pub const MAX_PRESENCE_ENTRIES: usize = 512;
/// Most contact links of one account at one relay that are not redeemed.
pub const MAX_CONTACT_LINKS: usize = 20;
/// Most versions in a `Hello`.
pub const MAX_VERSIONS: usize = 16;

/// ML-KEM-768 encapsulation key (FIPS 203).
pub const KEM_KEY: usize = 1184;
/// ML-KEM-768 ciphertext (FIPS 203).
pub const KEM_CIPHERTEXT: usize = 1088;
