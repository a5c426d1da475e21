//! Olm (the double ratchet with a three-way X25519 start) by the crate vodozemac, always with the
//! session configuration that keeps the full 32-byte MAC.
//!
//! - A one-time key is made for one introduction and used once. There are no fallback keys: a
//!   pre-key message on one would be accepted twice.
//! - Ratchets move on disk before bytes move: sealing commits the session that [`OlmSession::encrypt`]
//!   left behind before the ciphertext leaves, opening works on [`OlmSession::copy`] and commits it
//!   before acknowledging. Encrypting twice from one saved state would repeat key and IV.

use std::fmt;

use ams_wire::id::Key;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig};
use zeroize::Zeroizing;

const CONFIG: SessionConfig = SessionConfig::version_2();

/// The device's Olm account: its identity key and the one-time keys that wait for an approval.
pub struct OlmAccount(Account);

/// One ratchet with one contact.
pub struct OlmSession(Session);

/// A ciphertext of the ratchet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OlmCiphertext {
    /// 0: pre-key message, until the first answer came; 1: normal message.
    pub kind: u8,
    /// The message.
    pub bytes: Vec<u8>,
}

/// The message is no Olm message, was already decrypted, or belongs to another session or key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ratchet does not open this message")]
pub struct BadOlmMessage;

/// One of the keys is of low order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable key for the ratchet")]
pub struct BadOlmKey;

/// The stored bytes are no account or session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored ratchet is damaged")]
pub struct BadPickle;

impl OlmAccount {
    /// A new device.
    #[expect(clippy::new_without_default, reason = "a default that draws keys would surprise")]
    pub fn new() -> Self {
        Self(Account::new())
    }

    /// The device's Curve25519 identity key.
    pub fn identity(&self) -> Key {
        Key(self.0.curve25519_key().to_bytes())
    }

    /// Makes the one-time key of one introduction. The account must be on disk before it leaves.
    pub fn one_time_key(&mut self) -> Key {
        let made = self.0.generate_one_time_keys(1).created;
        self.0.mark_keys_as_published();
        // One key was asked for; without it no approval could ever be opened.
        made.first().map_or_else(|| std::process::abort(), |key| Key(key.to_bytes()))
    }

    /// Forgets the one-time key of an introduction that is given up: no approval of it is opened any
    /// more.
    pub fn forget(&mut self, one_time: Key) {
        // Used up already, or never ours: then there is nothing to be forgotten.
        let _ = self.0.remove_one_time_key(Curve25519PublicKey::from(one_time.0));
    }

    /// One-time keys that still wait for an approval.
    pub fn waiting_keys(&self) -> usize {
        self.0.stored_one_time_key_count()
    }

    /// Opens a ratchet towards the maker of an introduction.
    ///
    /// # Errors
    /// [`BadOlmKey`].
    pub fn outbound(&self, identity: Key, one_time: Key) -> Result<OlmSession, BadOlmKey> {
        let [identity, one_time] = [identity, one_time].map(|key| Curve25519PublicKey::from(key.0));
        let session = self.0.create_outbound_session(CONFIG, identity, one_time);
        session.map(OlmSession).map_err(|_| BadOlmKey)
    }

    /// Opens the ratchet of whoever answered, from their first message, and uses up the one-time
    /// key. Gives the session and what the message said. After an error the account is unchanged.
    ///
    /// # Errors
    /// [`BadOlmMessage`], also when the one-time key was used before.
    pub fn inbound(
        &mut self,
        identity: Key,
        first: &[u8],
    ) -> Result<(OlmSession, Vec<u8>), BadOlmMessage> {
        let OlmMessage::PreKey(first) =
            OlmMessage::from_parts(0, first).map_err(|_| BadOlmMessage)?
        else {
            return Err(BadOlmMessage);
        };
        let made = self
            .0
            .create_inbound_session(CONFIG, Curve25519PublicKey::from(identity.0), &first)
            .map_err(|_| BadOlmMessage)?;
        Ok((OlmSession(made.session), made.plaintext))
    }

    /// The account, for sealed storage.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        pickle(&self.0.pickle())
    }

    /// From what [`OlmAccount::to_bytes`] gave.
    ///
    /// # Errors
    /// [`BadPickle`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadPickle> {
        Ok(Self(Account::from_pickle(unpickle(bytes)?)))
    }
}

impl OlmSession {
    /// Encrypts and moves the ratchet.
    ///
    /// # Errors
    /// [`BadOlmKey`] if the other side's ratchet key is of low order.
    pub fn encrypt(&mut self, plaintext: &[u8]) -> Result<OlmCiphertext, BadOlmKey> {
        let (kind, bytes) = self.0.encrypt(plaintext).map_err(|_| BadOlmKey)?.to_parts();
        Ok(OlmCiphertext { kind: u8::from(kind != 0), bytes })
    }

    /// Decrypts and moves the ratchet. Use it on a [`OlmSession::copy`], and keep that only if the
    /// whole message proved good.
    ///
    /// # Errors
    /// [`BadOlmMessage`].
    pub fn decrypt(&mut self, kind: u8, bytes: &[u8]) -> Result<Vec<u8>, BadOlmMessage> {
        let message =
            OlmMessage::from_parts(usize::from(kind), bytes).map_err(|_| BadOlmMessage)?;
        self.0.decrypt(&message).map_err(|_| BadOlmMessage)
    }

    /// A copy to decrypt on. Two copies must never both encrypt.
    pub fn copy(&self) -> Self {
        Self(Session::from_pickle(self.0.pickle()))
    }

    /// The ratchet, for sealed storage.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        pickle(&self.0.pickle())
    }

    /// From what [`OlmSession::to_bytes`] gave.
    ///
    /// # Errors
    /// [`BadPickle`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadPickle> {
        Ok(Self(Session::from_pickle(unpickle(bytes)?)))
    }
}

impl fmt::Debug for OlmAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OlmAccount(secret)")
    }
}

impl fmt::Debug for OlmSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OlmSession(secret)")
    }
}

/// Room for a session with some skipped keys, so that secrets are not left behind by growing.
const PICKLE_ROOM: usize = 8 * 1024;

fn pickle(value: &impl serde::Serialize) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(PICKLE_ROOM));
    // Pickles are maps with text keys, and a Vec takes every byte; an empty pickle must not be kept.
    if serde_json::to_writer(&mut *out, value).is_err() {
        std::process::abort();
    }
    out
}

fn unpickle<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, BadPickle> {
    serde_json::from_slice(bytes).map_err(|_| BadPickle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (OlmAccount, OlmSession, OlmAccount, OlmSession) {
        let (mut alice, bob) = (OlmAccount::new(), OlmAccount::new());
        let one_time = alice.one_time_key();
        let mut bobs = bob.outbound(alice.identity(), one_time).unwrap();
        let first = bobs.encrypt(b"").unwrap();
        assert_eq!(first.kind, 0);
        let (alices, said) = alice.inbound(bob.identity(), &first.bytes).unwrap();
        assert_eq!(said, b"");
        (alice, alices, bob, bobs)
    }

    #[test]
    fn a_conversation() {
        let (_, mut alice, _, mut bob) = pair();
        let one = alice.encrypt(b"one").unwrap();
        assert_eq!(one.kind, 1);
        // Before bob heard of alice, his messages are still pre-key messages; she reads them.
        let two = bob.encrypt(b"two").unwrap();
        assert_eq!(two.kind, 0);
        assert_eq!(bob.decrypt(one.kind, &one.bytes).unwrap(), b"one");
        assert_eq!(alice.decrypt(two.kind, &two.bytes).unwrap(), b"two");
        let three = bob.encrypt(b"three").unwrap();
        assert_eq!(three.kind, 1);
        assert_eq!(alice.decrypt(three.kind, &three.bytes).unwrap(), b"three");
        assert_eq!(alice.decrypt(three.kind, &three.bytes), Err(BadOlmMessage));
    }

    #[test]
    fn a_copy_that_decrypts_leaves_the_original() {
        let (_, mut alice, _, bob) = pair();
        let message = alice.encrypt(b"hi").unwrap();
        assert_eq!(bob.copy().decrypt(message.kind, &message.bytes).unwrap(), b"hi");
        assert_eq!(bob.copy().decrypt(message.kind, &message.bytes).unwrap(), b"hi");
    }

    #[test]
    fn a_one_time_key_is_used_once() {
        let (mut alice, bob) = (OlmAccount::new(), OlmAccount::new());
        let one_time = alice.one_time_key();
        assert_eq!(alice.waiting_keys(), 1);
        let first = bob.outbound(alice.identity(), one_time).unwrap().encrypt(b"").unwrap();
        // Damaged, or of somebody else: nothing is used up.
        let mut bent = first.bytes.clone();
        *bent.last_mut().unwrap() ^= 1;
        assert_eq!(alice.inbound(bob.identity(), &bent).unwrap_err(), BadOlmMessage);
        let eve = OlmAccount::new();
        assert_eq!(alice.inbound(eve.identity(), &first.bytes).unwrap_err(), BadOlmMessage);
        assert!(alice.inbound(bob.identity(), &first.bytes).is_ok());
        assert_eq!(alice.waiting_keys(), 0);
        assert_eq!(alice.inbound(bob.identity(), &first.bytes).unwrap_err(), BadOlmMessage);
    }

    #[test]
    fn the_whole_mac_is_sent() {
        // Version 4 in the first byte is vodozemac's mark of the untruncated MAC.
        let (_, mut alice, _, _) = pair();
        let message = alice.encrypt(b"hi").unwrap().bytes;
        assert_eq!(message[0], 4);
        // Version, ratchet key 2 + 32, index 2, ciphertext 2 + 16, MAC 32.
        assert_eq!(message.len(), 1 + 34 + 2 + 18 + 32);
        // A peer that truncates is refused.
        let mut alice = OlmAccount::new();
        let key = Curve25519PublicKey::from(alice.one_time_key().0);
        let bob = Account::new();
        let identity = Curve25519PublicKey::from(alice.identity().0);
        let mut short =
            bob.create_outbound_session(SessionConfig::version_1(), identity, key).unwrap();
        let (_, first) = short.encrypt("").unwrap().to_parts();
        let identity = Key(bob.curve25519_key().to_bytes());
        assert_eq!(alice.inbound(identity, &first).unwrap_err(), BadOlmMessage);
    }

    #[test]
    fn stored_and_restored() {
        let (alice, mut alices, _, bobs) = pair();
        let restored = OlmAccount::from_bytes(&alice.to_bytes()).unwrap();
        assert_eq!(restored.identity(), alice.identity());
        let mut restored = OlmSession::from_bytes(&bobs.to_bytes()).unwrap();
        let message = alices.encrypt(b"hi").unwrap();
        assert_eq!(restored.decrypt(message.kind, &message.bytes).unwrap(), b"hi");
        for damaged in [&b""[..], b"{}", b"{", &alice.to_bytes()] {
            assert_eq!(OlmSession::from_bytes(damaged).unwrap_err(), BadPickle);
        }
    }

    #[test]
    fn a_stored_session_stays_small() {
        let (_, mut alice, _, mut bob) = pair();
        // The worst a window of 32 allows, in the five chains that are kept: all but the last lost.
        for _ in 0..6 {
            for _ in 0..31 {
                alice.encrypt(b"lost").unwrap();
            }
            let kept = alice.encrypt(b"kept").unwrap();
            bob.decrypt(kept.kind, &kept.bytes).unwrap();
            let back = bob.encrypt(b"back").unwrap();
            alice.decrypt(back.kind, &back.bytes).unwrap();
        }
        let (usual, worst) = (alice.to_bytes().len(), bob.to_bytes().len());
        assert!(usual < 4 * 1024, "{usual}");
        assert!(worst < 48 * 1024, "{worst}");
    }

    #[test]
    fn weak_keys_and_junk_are_errors() {
        let (mut alice, mut alices, _, _) = pair();
        let key = alice.one_time_key();
        assert_eq!(alice.outbound(Key([0; 32]), key).unwrap_err(), BadOlmKey);
        assert_eq!(alice.outbound(alice.identity(), Key([0; 32])).unwrap_err(), BadOlmKey);
        for junk in [&b""[..], b"\x03", &[0xff; 100]] {
            for kind in 0..=3 {
                assert_eq!(alices.decrypt(kind, junk), Err(BadOlmMessage));
            }
            assert_eq!(alice.inbound(Key([1; 32]), junk).unwrap_err(), BadOlmMessage);
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let (account, session, _, _) = pair();
        assert_eq!(format!("{account:?} {session:?}"), "OlmAccount(secret) OlmSession(secret)");
    }
}
