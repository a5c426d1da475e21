//! Accounts by OPAQUE (RFC 9807; crate opaque-ke): Ristretto255 with SHA-512, 3DH, Argon2id on the
//! client. The relay never sees a password, and what it stores has no offline use without its
//! separate seed. All messages have one fixed size.
//!
//! Registration: [`ClientRegistration::start`] → [`RelayAccounts::register`] →
//! [`ClientRegistration::finish`] → [`check_record`]. Login: [`ClientLogin::start`] →
//! [`RelayAccounts::login`] → [`ClientLogin::finish`] → [`RelayLogin::finish`].
//!
//! opaque-ke stands on rand_core 0.6 and digest 0.10; only byte arrays cross from here to the rest.

use std::fmt;

use ams_wire::username::Username;
use argon2::{Algorithm, Argon2, Params, Version};
use opaque_ke::errors::{InternalError, ProtocolError};
use opaque_ke::generic_array::{ArrayLength, GenericArray};
use opaque_ke::ksf::Ksf;
use opaque_ke::{
    CipherSuite, ClientLoginFinishParameters, ClientRegistrationFinishParameters,
    CredentialFinalization, CredentialRequest, CredentialResponse, RegistrationRequest,
    RegistrationResponse, RegistrationUpload, Ristretto255, ServerLogin, ServerLoginParameters,
    ServerRegistration, ServerSetup, TripleDh,
};
use rand_core_06::OsRng;
use zeroize::Zeroizing;

use crate::labels;

/// `RegistrationRequest`, bytes.
pub const REQUEST: usize = 32;
/// `RegistrationResponse`, bytes.
pub const RESPONSE: usize = 64;
/// `RegistrationRecord`, bytes: what a relay stores for an account.
pub const RECORD: usize = 192;
/// `KE1`, bytes.
pub const KE1: usize = 96;
/// `KE2`, bytes.
pub const KE2: usize = 320;
/// `KE3`, bytes.
pub const KE3: usize = 64;
/// Fewest characters of a password.
pub const MIN_PASSWORD: usize = 8;
/// Most bytes of a password: far over any that is typed.
pub const MAX_PASSWORD: usize = 1024;

struct Suite;

impl CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, sha2_010::Sha512>;
    type Ksf = Stretch;
}

/// Argon2id (RFC 9106) with 64 MiB, 3 passes, 1 lane, salt of 16 zeros: its input is already unlike
/// that of any other account. Fixed by the protocol version and never sent, or a relay could ask
/// for less.
#[derive(Default)]
struct Stretch;

const STRETCH_KIB: u32 = 64 * 1024;
const STRETCH_PASSES: u32 = 3;

impl Ksf for Stretch {
    fn hash<L: ArrayLength<u8>>(
        &self,
        input: GenericArray<u8, L>,
    ) -> Result<GenericArray<u8, L>, InternalError> {
        let params = Params::new(STRETCH_KIB, STRETCH_PASSES, 1, None)
            .map_err(|_| InternalError::KsfError)?;
        let mut output = GenericArray::default();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&input, &[0; 16], &mut output)
            .map_err(|_| InternalError::KsfError)?;
        Ok(output)
    }
}

/// A password, wiped when dropped.
pub struct Password(Zeroizing<String>);

/// The password is too short or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// Under [`MIN_PASSWORD`] characters.
    #[error("a password has at least {MIN_PASSWORD} characters")]
    TooShort,
    /// Over [`MAX_PASSWORD`] bytes.
    #[error("a password has at most {MAX_PASSWORD} bytes")]
    TooLong,
}

/// Why a client gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Wrong password, unknown user, or somebody in the middle of the link: nobody can tell which.
    #[error("the login was refused")]
    Refused,
    /// The relay sent bytes that are no OPAQUE message.
    #[error("the relay sent a malformed answer")]
    Malformed,
    /// Not enough memory for the password hash (64 MiB).
    #[error("not enough memory for the password hash")]
    OutOfMemory,
}

/// The client sent bytes that are no OPAQUE message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed OPAQUE message")]
pub struct MalformedMessage;

/// The client did not prove to know the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("login refused")]
pub struct LoginRefused;

/// The stored keys are not those of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the relay's OPAQUE keys are damaged")]
pub struct BadRelayKeys;

impl Password {
    /// Takes a password as it was typed.
    ///
    /// # Errors
    /// [`BadPassword`].
    pub fn new(text: impl Into<Zeroizing<String>>) -> Result<Self, BadPassword> {
        let text = text.into();
        if text.chars().count() < MIN_PASSWORD {
            return Err(BadPassword::TooShort);
        }
        if text.len() > MAX_PASSWORD { Err(BadPassword::TooLong) } else { Ok(Self(text)) }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(secret)")
    }
}

/// A registration on the client.
pub struct ClientRegistration {
    state: opaque_ke::ClientRegistration<Suite>,
    password: Password,
}

impl ClientRegistration {
    /// First step.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with a probability of 2^-252.
    pub fn start(password: Password) -> Result<(Self, [u8; REQUEST]), ClientError> {
        let started =
            opaque_ke::ClientRegistration::<Suite>::start(&mut OsRng, password.0.as_bytes())
                .map_err(refused)?;
        let request = fixed(&started.message.serialize());
        Ok((Self { state: started.state, password }, request))
    }

    /// Second step; gives the record that the relay shall store. Takes a tenth of a second and
    /// 64 MiB: run it off the async threads.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn finish(self, response: &[u8; RESPONSE]) -> Result<[u8; RECORD], ClientError> {
        let response =
            RegistrationResponse::deserialize(response).map_err(|_| ClientError::Malformed)?;
        let parameters = ClientRegistrationFinishParameters::default();
        let finished = self
            .state
            .finish(&mut OsRng, self.password.0.as_bytes(), response, parameters)
            .map_err(refused)?;
        Ok(fixed(&finished.message.serialize()))
    }
}

/// A login on the client.
pub struct ClientLogin {
    state: opaque_ke::ClientLogin<Suite>,
    password: Password,
}

impl ClientLogin {
    /// First step.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with a probability of 2^-252.
    pub fn start(password: Password) -> Result<(Self, [u8; KE1]), ClientError> {
        let started = opaque_ke::ClientLogin::<Suite>::start(&mut OsRng, password.0.as_bytes())
            .map_err(refused)?;
        let ke1 = fixed(&started.message.serialize());
        Ok((Self { state: started.state, password }, ke1))
    }

    /// Second step, over the link that `handshake_hash` names. Takes a tenth of a second and
    /// 64 MiB: run it off the async threads.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn finish(
        self,
        ke2: &[u8; KE2],
        handshake_hash: &[u8; 32],
    ) -> Result<[u8; KE3], ClientError> {
        let response = CredentialResponse::deserialize(ke2).map_err(|_| ClientError::Malformed)?;
        let context = context(handshake_hash);
        let parameters = ClientLoginFinishParameters {
            context: Some(&context),
            ..ClientLoginFinishParameters::default()
        };
        let finished = self
            .state
            .finish(&mut OsRng, self.password.0.as_bytes(), response, parameters)
            .map_err(refused)?;
        Ok(fixed(&finished.message.serialize()))
    }
}

/// The relay's OPAQUE keys. The seed belongs into a file apart from the other keys and from the
/// accounts: only with it do stored records allow offline guessing.
pub struct RelayAccounts {
    setup: ServerSetup<Suite>,
    /// Decoded for unknown names, because decoding a record takes time that would tell.
    decoy: [u8; RECORD],
}

impl RelayAccounts {
    /// Bytes of the seed.
    pub const SEED: usize = 64;
    /// Bytes of the other keys.
    pub const KEYS: usize = 64;

    /// New keys. All accounts made under others are lost.
    ///
    /// # Errors
    /// [`BadRelayKeys`], which does not happen.
    pub fn generate() -> Result<Self, BadRelayKeys> {
        Self::new(ServerSetup::new(&mut OsRng))
    }

    /// From what [`RelayAccounts::seed`] and [`RelayAccounts::keys`] gave.
    ///
    /// # Errors
    /// [`BadRelayKeys`].
    pub fn from_parts(
        seed: &[u8; Self::SEED],
        keys: &[u8; Self::KEYS],
    ) -> Result<Self, BadRelayKeys> {
        let mut setup = Zeroizing::new(Vec::with_capacity(Self::SEED + Self::KEYS));
        setup.extend_from_slice(seed);
        setup.extend_from_slice(keys);
        Self::new(ServerSetup::deserialize(&setup).map_err(|_| BadRelayKeys)?)
    }

    fn new(setup: ServerSetup<Suite>) -> Result<Self, BadRelayKeys> {
        let mut decoy = [0; RECORD];
        let public = setup.keypair().public().serialize();
        let (key, _) = decoy.split_first_chunk_mut::<32>().ok_or(BadRelayKeys)?;
        key.copy_from_slice(&public);
        // It must take the same path as a real one.
        check_record(&decoy).map_err(|_| BadRelayKeys)?;
        Ok(Self { setup, decoy })
    }

    /// The OPRF seed, for its own file.
    pub fn seed(&self) -> Zeroizing<[u8; Self::SEED]> {
        self.part(|seed, _| seed)
    }

    /// The key pair's secret and the stand-in public key, for their file.
    pub fn keys(&self) -> Zeroizing<[u8; Self::KEYS]> {
        self.part(|_, keys| keys)
    }

    fn part(&self, pick: impl FnOnce([u8; 64], [u8; 64]) -> [u8; 64]) -> Zeroizing<[u8; 64]> {
        let setup = Zeroizing::new(<[u8; 128]>::from(self.setup.serialize()));
        let (seed, keys) = setup.split_at(Self::SEED);
        Zeroizing::new(pick(fixed(seed), fixed(keys)))
    }

    /// Registration: answers the client's first step. The name comes from the invite.
    ///
    /// # Errors
    /// [`MalformedMessage`].
    pub fn register(
        &self,
        name: &Username,
        request: &[u8; REQUEST],
    ) -> Result<[u8; RESPONSE], MalformedMessage> {
        let request = RegistrationRequest::deserialize(request).map_err(|_| MalformedMessage)?;
        let name = name.as_str().as_bytes();
        let started = ServerRegistration::<Suite>::start(&self.setup, request, name)
            .map_err(|_| MalformedMessage)?;
        Ok(fixed(&started.message.serialize()))
    }

    /// Login: answers the client's first step, over the link that `handshake_hash` names. For an
    /// unknown or disabled name `record` is `None`: the answer looks and costs the same.
    ///
    /// # Errors
    /// [`MalformedMessage`], which depends on `ke1` alone.
    pub fn login(
        &self,
        name: &Username,
        record: Option<&[u8; RECORD]>,
        ke1: &[u8; KE1],
        handshake_hash: &[u8; 32],
    ) -> Result<(RelayLogin, [u8; KE2]), MalformedMessage> {
        let request = CredentialRequest::deserialize(ke1).map_err(|_| MalformedMessage)?;
        let decoded = ServerRegistration::<Suite>::deserialize(record.unwrap_or(&self.decoy)).ok();
        let context = context(handshake_hash);
        let started = ServerLogin::start(
            &mut OsRng,
            &self.setup,
            decoded.filter(|_| record.is_some()),
            request,
            name.as_str().as_bytes(),
            ServerLoginParameters { context: Some(&context), ..ServerLoginParameters::default() },
        )
        .map_err(|_| MalformedMessage)?;
        Ok((RelayLogin(started.state), fixed(&started.message.serialize())))
    }
}

/// Whether `record`, the client's last step of a registration, is well-formed. What passes may be
/// stored.
///
/// # Errors
/// [`MalformedMessage`].
pub fn check_record(record: &[u8; RECORD]) -> Result<(), MalformedMessage> {
    RegistrationUpload::<Suite>::deserialize(record).map(|_| ()).map_err(|_| MalformedMessage)
}

/// A login on the relay, waiting for `KE3`.
pub struct RelayLogin(ServerLogin<Suite>);

impl RelayLogin {
    /// Checks the client's proof. Run it for unknown names too.
    ///
    /// # Errors
    /// [`LoginRefused`], the same for every cause.
    pub fn finish(self, ke3: &[u8; KE3]) -> Result<(), LoginRefused> {
        let proof = CredentialFinalization::deserialize(ke3).map_err(|_| LoginRefused)?;
        // 3DH bound the context at the start; what is given here is not read.
        let finished = self.0.finish(proof, ServerLoginParameters::default());
        finished.map(|_| ()).map_err(|_| LoginRefused)
    }
}

/// The sizes of all messages follow from the suite alone, and the tests see each of them.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or_else(|_| std::process::abort())
}

/// A man in the middle of the link has two handshakes with two hashes, so his login fails.
pub(crate) fn context(handshake_hash: &[u8; 32]) -> Vec<u8> {
    labels::framed(labels::LOGIN, &[handshake_hash])
}

fn refused(error: ProtocolError) -> ClientError {
    match error {
        ProtocolError::LibraryError(InternalError::KsfError) => ClientError::OutOfMemory,
        _ => ClientError::Refused,
    }
}

macro_rules! mute {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    )*};
}
mute!(ClientRegistration ClientLogin RelayAccounts RelayLogin);

#[cfg(test)]
mod tests;
