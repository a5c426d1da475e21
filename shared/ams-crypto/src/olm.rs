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
