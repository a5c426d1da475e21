//! How two people who never met get keys for each other.
//!
//! 1. [`request`]: the requester signs an introduction and keeps [`RequestSecrets`].
//! 2. [`verify`]: the approver checks it; what it says is in [`VerifiedIntro`].
//! 3. [`approve`]: the approver answers and has the root keys and a ratchet.
//! 4. [`RequestSecrets::complete`]: the requester opens the answer and has the same.
//!
//! Both sides' secrets must be on disk before their bytes leave. The approval is signed over the
//! introduction's id and sealed to the introduction's key, so it can be neither moved to another
//! introduction nor read by a relay. Checking that the other identity is the expected one, for a
//! known contact, is the caller's.

use std::fmt;

use ams_wire::id::{ApprovalId, IntroId, Key, Signature};
use ams_wire::intro::{Approval, Intro, Place, Signed};
use ams_wire::limits::MAX_BLOB;
use ams_wire::username::Username;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::blob::{self, Purpose};
use crate::dh::{DhPublic, DhSecret};
use crate::identity::{IdentityKey, IdentityPublic};
use crate::kem::{self, KemSecret};
use crate::labels;
use crate::olm::{OlmAccount, OlmSession};
use crate::pair::{Agreed, LinkSecret, RootKeys};

/// Between whom, from the requester's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// The requester's name there.
    pub from: Username,
    /// The name that is asked.
    pub to: Username,
    /// Where.
    pub place: Place,
}

/// What an introduction by contact link needs for its answer.
#[derive(Debug, Clone, Copy)]
pub struct ByLink<'a> {
    /// The link's secret.
    pub secret: &'a LinkSecret,
    /// The approver's name there, which the requester does not know.
    pub name: &'a Username,
}

/// Why an introduction is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntroError {
    /// Not the one encoding of an introduction.
    #[error("malformed introduction")]
    Malformed,
    /// One of its keys is unusable.
    #[error("an introduction with an unusable key")]
    BadKey,
    /// Not signed by the identity that it names.
    #[error("an introduction whose signature does not hold")]
    BadSignature,
}

/// Why an approval is refused. The request stays open: somebody may have made up the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// Not sealed to this introduction.
    #[error("an approval that does not open")]
    Sealed,
    /// Not the one encoding of an approval.
    #[error("malformed approval")]
    Malformed,
    /// One of its keys is unusable.
    #[error("an approval with an unusable key")]
    BadKey,
    /// Not signed by the identity that it names.
    #[error("an approval whose signature does not hold")]
    BadSignature,
    /// Of another introduction, other names, or another place.
    #[error("an approval of another request")]
    Mismatch,
    /// The ratchet's first message does not open; also when this approval was completed before.
    #[error("an approval whose first message does not open")]
    Ratchet,
}

/// A new request: both parts, to commit together before the introduction leaves.
pub struct Request {
    /// Needed to open the answer.
    pub secrets: RequestSecrets,
    /// What travels.
    pub intro: Vec<u8>,
}

/// What a requester keeps until the answer was opened and an envelope came.
pub struct RequestSecrets {
    id: IntroId,
    intro: Vec<u8>,
    ephemeral: DhSecret,
    kem: KemSecret,
    link: Option<LinkSecret>,
}

/// An introduction whose signature and keys hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedIntro {
    /// Who asks.
    pub identity: IdentityPublic,
    /// SHA-256 over the introduction.
    pub id: IntroId,
    /// All that it says.
    pub fields: Intro,
    ephemeral: DhPublic,
}

/// What the approver has after answering.
#[derive(Debug)]
pub struct Approved {
    /// What travels; the same again if the introduction comes again.
    pub approval: Vec<u8>,
    /// Root keys; the approver's side of them is `Side::Approver`.
    pub roots: RootKeys,
    /// The ratchet.
    pub session: OlmSession,
}

/// What the requester has after opening the answer.
#[derive(Debug)]
pub struct Completed {
    /// Who answered.
    pub identity: IdentityPublic,
    /// Root keys; the requester's side of them is `Side::Requester`.
    pub roots: RootKeys,
    /// The ratchet.
    pub session: OlmSession,
    /// All that the approval says.
    pub fields: Approval,
}

/// Names an introduction, checked or not: SHA-256 over its bytes.
pub fn id(intro: &[u8]) -> IntroId {
    IntroId(Sha256::digest(intro).into())
}

/// Names a sealed approval, whether it opens or not: SHA-256 over its bytes.
pub fn approval_id(approval: &[u8]) -> ApprovalId {
    ApprovalId(Sha256::digest(approval).into())
}

/// Step 1. Takes a one-time key from `account`, which must be committed together with the secrets.
/// `expires` is in seconds since 1970. `link` is the secret of the contact link that is redeemed.
pub fn request(
    identity: &IdentityKey,
    account: &mut OlmAccount,
    meeting: Meeting,
    expires: u64,
    link: Option<LinkSecret>,
) -> Request {
    let (ephemeral, kem) = (DhSecret::generate(), KemSecret::generate());
    let fields = Intro {
        identity: Key(*identity.public().as_bytes()),
        olm: account.identity(),
        one_time: account.one_time_key(),
        ephemeral: Key(*ephemeral.public().as_bytes()),
        kem: kem.public(),
        from: meeting.from,
        to: meeting.to,
        place: meeting.place,
        expires,
    };
    let intro = sign(identity, labels::INTRO, fields.encode());
    let secrets = RequestSecrets { id: id(&intro), intro: intro.clone(), ephemeral, kem, link };
    Request { secrets, intro }
}

/// Step 2. Expiry, names and place are the caller's to check.
///
/// # Errors
/// [`IntroError`].
pub fn verify(intro: &[u8]) -> Result<VerifiedIntro, IntroError> {
    let signed = Signed::decode(intro).map_err(|_| IntroError::Malformed)?;
    let fields = Intro::decode(&signed.fields).map_err(|_| IntroError::Malformed)?;
    if fields.encode() != signed.fields {
        return Err(IntroError::Malformed);
    }
    let identity = IdentityPublic::from_bytes(fields.identity.0).map_err(|_| IntroError::BadKey)?;
    identity
        .verify(labels::INTRO, &signed.fields, &signed.signature.0)
        .map_err(|_| IntroError::BadSignature)?;
    let ephemeral = DhPublic::from_bytes(fields.ephemeral.0).map_err(|_| IntroError::BadKey)?;
    for key in [fields.olm, fields.one_time] {
        DhPublic::from_bytes(key.0).map_err(|_| IntroError::BadKey)?;
    }
    kem::check(&fields.kem).map_err(|_| IntroError::BadKey)?;
    Ok(VerifiedIntro { identity, id: id(intro), fields, ephemeral })
}

/// Step 3. `link` where the introduction came by a contact link.
///
/// # Errors
/// [`IntroError::BadKey`]: a key that agrees on nothing.
pub fn approve(
    identity: &IdentityKey,
    account: &OlmAccount,
    intro: &VerifiedIntro,
    link: Option<ByLink<'_>>,
) -> Result<Approved, IntroError> {
    let ephemeral = DhSecret::generate();
    let x25519 = ephemeral.agree(&intro.ephemeral).map_err(|_| IntroError::BadKey)?;
    let kem = kem::encapsulate(&intro.fields.kem).map_err(|_| IntroError::BadKey)?;
    let mut session = account
        .outbound(intro.fields.olm, intro.fields.one_time)
        .map_err(|_| IntroError::BadKey)?;
    // Empty: nothing that a person wrote travels before the contact is active.
    let first = session.encrypt(&[]).map_err(|_| IntroError::BadKey)?;
    let fields = Approval {
        intro: intro.id,
        identity: Key(*identity.public().as_bytes()),
        olm: account.identity(),
        ephemeral: Key(*ephemeral.public().as_bytes()),
        kem: kem.ciphertext.to_vec(),
        first: first.bytes,
        from: link.map_or(&intro.fields.to, |link| link.name).clone(),
        to: intro.fields.from.clone(),
        place: intro.fields.place,
    };
    let signed = sign(identity, labels::APPROVAL, fields.encode());
    let roots = RootKeys::derive(&Agreed {
        link: link.map(|link| link.secret),
        x25519: &x25519,
        kem: &kem.shared,
        intro: &intro.id,
        approval: &Sha256::digest(&signed).into(),
    });
    let approval =
        blob::seal(Purpose::Approval, &intro.ephemeral, &signed).map_err(|_| IntroError::BadKey)?;
    Ok(Approved { approval, roots, session })
}

impl RequestSecrets {
    /// Names the introduction.
    pub fn id(&self) -> IntroId {
        self.id
    }

    /// The introduction, to send it again.
    pub fn intro(&self) -> &[u8] {
        &self.intro
    }

    /// The request is given up: its one-time key goes out of `account`, which must be committed
    /// together with that.
    pub fn withdraw(self, account: &mut OlmAccount) {
        let asked = Signed::decode(&self.intro).and_then(|signed| Intro::decode(&signed.fields));
        if let Ok(asked) = asked {
            account.forget(asked.one_time);
        }
    }

    /// Step 4. On success the one-time key in `account` is used up; after an error it is unchanged.
    ///
    /// # Errors
    /// [`ApprovalError`].
    pub fn complete(
        &self,
        account: &mut OlmAccount,
        approval: &[u8],
    ) -> Result<Completed, ApprovalError> {
        if approval.len() > MAX_BLOB {
            return Err(ApprovalError::Malformed);
        }
        let opened = blob::open(Purpose::Approval, &self.ephemeral, approval)
            .map_err(|_| ApprovalError::Sealed)?;
        let signed = Signed::decode(&opened).map_err(|_| ApprovalError::Malformed)?;
        let fields = Approval::decode(&signed.fields).map_err(|_| ApprovalError::Malformed)?;
        if fields.encode() != signed.fields {
            return Err(ApprovalError::Malformed);
        }
        let identity =
            IdentityPublic::from_bytes(fields.identity.0).map_err(|_| ApprovalError::BadKey)?;
        identity
            .verify(labels::APPROVAL, &signed.fields, &signed.signature.0)
            .map_err(|_| ApprovalError::BadSignature)?;
        if !self.is_answered_by(&fields) {
            return Err(ApprovalError::Mismatch);
        }
        let ephemeral =
            DhPublic::from_bytes(fields.ephemeral.0).map_err(|_| ApprovalError::BadKey)?;
        DhPublic::from_bytes(fields.olm.0).map_err(|_| ApprovalError::BadKey)?;
        let x25519 = self.ephemeral.agree(&ephemeral).map_err(|_| ApprovalError::BadKey)?;
        let kem = self.kem.decapsulate(&fields.kem).map_err(|_| ApprovalError::Malformed)?;
        let roots = RootKeys::derive(&Agreed {
            link: self.link.as_ref(),
            x25519: &x25519,
            kem: &kem,
            intro: &self.id,
            approval: &Sha256::digest(&opened).into(),
        });
        let (session, _) =
            account.inbound(fields.olm, &fields.first).map_err(|_| ApprovalError::Ratchet)?;
        Ok(Completed { identity, roots, session, fields })
    }

    fn is_answered_by(&self, approval: &Approval) -> bool {
        let asked = Signed::decode(&self.intro).and_then(|signed| Intro::decode(&signed.fields));
        asked.is_ok_and(|asked| {
            approval.intro == self.id
                // By a link, the approval says who made it.
                && (self.link.is_some() || approval.from == asked.to)
                && approval.to == asked.from
                && approval.place == asked.place
        })
    }

    /// For sealed storage: version 1, `E` 32, seed of the ML-KEM key 64, link secret 0 or 1 and 16,
    /// introduction.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(self.intro.len().saturating_add(114)));
        out.push(SECRETS_VERSION);
        out.extend_from_slice(&self.ephemeral.to_bytes()[..]);
        out.extend_from_slice(&self.kem.to_bytes()[..]);
        out.push(u8::from(self.link.is_some()));
        let link = self.link.as_ref().map_or_else(Zeroizing::default, LinkSecret::to_bytes);
        out.extend_from_slice(&link[..]);
        out.extend_from_slice(&self.intro);
        out
    }

    /// From what [`RequestSecrets::to_bytes`] gave; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (ephemeral, rest) = rest.split_first_chunk::<32>()?;
        let (kem, rest) = rest.split_first_chunk::<64>()?;
        let (&by_link, rest) = rest.split_first()?;
        let (link, intro) = rest.split_first_chunk::<16>()?;
        let link = match by_link {
            0 => None,
            1 => Some(LinkSecret::from_bytes(*link)),
            _ => return None,
        };
        Signed::decode(intro).ok().filter(|_| version == SECRETS_VERSION)?;
        Some(Self {
            id: id(intro),
            intro: intro.to_vec(),
            ephemeral: DhSecret::from_bytes(ephemeral),
            kem: KemSecret::from_bytes(kem),
            link,
        })
    }
}

const SECRETS_VERSION: u8 = 1;

impl fmt::Debug for RequestSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestSecrets({}, secret)", self.id)
    }
}

fn sign(identity: &IdentityKey, label: &[u8], fields: Vec<u8>) -> Vec<u8> {
    let signature = Signature(identity.sign(label, &fields));
    Signed { fields, signature }.encode()
}

#[cfg(test)]
mod tests;
