//! What a profile is before it has met anybody: the identity and the ratchet account, and the few
//! single values beside them.

use std::sync::{Arc, OnceLock};

use ams_crypto::dh::DhSecret;
use ams_crypto::identity::{IdentityKey, IdentityPublic};
use ams_wire::username::Username;
use minicbor::bytes::ByteVec;

use crate::store::{Read, StoreError, Table, Txn};

/// Name → value, for what there is only one of.
pub struct Singles;
impl Table for Singles {
    const NAME: &'static str = "singles";
    type Key = String;
    type Row = ByteVec;
}

/// Who this profile is.
#[derive(Clone)]
pub struct Me(Arc<Inner>);

struct Inner {
    made: Identity,
    /// From a backup, which takes the place of an identity that nobody ever saw.
    restored: OnceLock<Identity>,
}

struct Identity {
    key: IdentityKey,
    public: IdentityPublic,
}

const IDENTITY: &str = "identity";
const OLM: &str = "olm_account";
const INVISIBLE: &str = "invisible";
const LINK: &str = "direct_secret";
const LAYOUT: &str = "layout";
/// Characters of a fingerprint by which somebody is called on direct links.
const SHORT: usize = 8;

impl Me {
    /// Makes the identity of a new profile.
    pub fn create(txn: &Txn<'_>) -> Result<Self, StoreError> {
        let key = IdentityKey::generate();
        put(txn, IDENTITY, key.to_bytes().to_vec())?;
        put_olm(txn, &ams_crypto::olm::OlmAccount::new())?;
        Ok(Self::from_key(key))
    }

    /// The identity of this profile, if it has been made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find(db: &impl Read) -> Result<Option<Self>, StoreError> {
        let Some(secret) = single(db, IDENTITY)? else { return Ok(None) };
        let secret = secret.as_slice().try_into().map_err(|_| StoreError::Damaged(IDENTITY))?;
        Ok(Some(Self::from_key(IdentityKey::from_bytes(secret))))
    }

    /// The identity of this profile.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when there is none: a profile never lacks it.
    pub fn load(db: &impl Read) -> Result<Self, StoreError> {
        Self::find(db)?.ok_or(StoreError::Damaged(IDENTITY))
    }

    fn from_key(key: IdentityKey) -> Self {
        Self(Arc::new(Inner { made: Identity::new(key), restored: OnceLock::new() }))
    }

    /// The secret half.
    pub fn key(&self) -> &IdentityKey {
        &self.identity().key
    }

    /// The public half.
    pub fn public(&self) -> &IdentityPublic {
        &self.identity().public
    }

    fn identity(&self) -> &Identity {
        self.0.restored.get().unwrap_or(&self.0.made)
    }

    /// A backup was restored, once, and this is on disk ([`restore`]): all clones are that identity
    /// from now on.
    pub(crate) fn become_restored(&self, secret: &[u8; 32]) {
        self.0.restored.get_or_init(|| Identity::new(IdentityKey::from_bytes(secret)));
    }
}

impl Identity {
    fn new(key: IdentityKey) -> Self {
        let public = key.public();
        Self { key, public }
    }
}

/// Puts the identity of a backup in the place of the one that was made at the first start.
pub(crate) fn restore(txn: &Txn<'_>, secret: &[u8; 32]) -> Result<Me, StoreError> {
    put(txn, IDENTITY, secret.to_vec())?;
    Ok(Me::from_key(IdentityKey::from_bytes(secret)))
}

/// What `identity` is called on direct links: `direct-` and the beginning of its fingerprint.
pub fn direct_name(identity: &IdentityPublic) -> Option<Username> {
    let plain: String = identity.fingerprint().chars().filter(|c| *c != '-').take(SHORT).collect();
    Username::new(&format!("direct-{plain}")).ok()
}

/// The device's ratchet account.
pub fn olm(db: &impl Read) -> Result<ams_crypto::olm::OlmAccount, StoreError> {
    let bytes = single(db, OLM)?.ok_or(StoreError::Damaged(OLM))?;
    ams_crypto::olm::OlmAccount::from_bytes(&bytes).map_err(|_| StoreError::Damaged(OLM))
}

/// Keeps the ratchet account after one-time keys were made or used.
pub fn put_olm(txn: &Txn<'_>, account: &ams_crypto::olm::OlmAccount) -> Result<(), StoreError> {
    put(txn, OLM, account.to_bytes().to_vec())
}

/// The secret of this device's key on direct links, made at its first use.
pub fn link_secret(txn: &Txn<'_>) -> Result<DhSecret, StoreError> {
    if let Some(secret) = single(txn, LINK)? {
        let secret = secret.as_slice().try_into().map_err(|_| StoreError::Damaged(LINK))?;
        return Ok(DhSecret::from_bytes(secret));
    }
    let made = DhSecret::generate();
    put(txn, LINK, made.to_bytes().to_vec())?;
    Ok(made)
}

/// Whether the user chose to be invisible; `None` where nothing was chosen yet.
pub fn invisible(db: &impl Read) -> Result<Option<bool>, StoreError> {
    Ok(single(db, INVISIBLE)?.map(|value| value == [1]))
}

/// Keeps that choice.
pub fn set_invisible(txn: &Txn<'_>, invisible: bool) -> Result<(), StoreError> {
    put(txn, INVISIBLE, vec![u8::from(invisible)])
}

/// The form of what lies on disk, from 1.
pub(crate) fn layout(db: &impl Read) -> Result<u64, StoreError> {
    Ok(number(db, LAYOUT)?.unwrap_or(1))
}

/// It has this form now.
pub(crate) fn set_layout(txn: &Txn<'_>, layout: u64) -> Result<(), StoreError> {
    put(txn, LAYOUT, layout.to_be_bytes().to_vec())
}

/// Takes the next number of the counter `name`, from 1.
pub fn count(txn: &Txn<'_>, name: &'static str) -> Result<u64, StoreError> {
    let next = number(txn, name)?.unwrap_or_default().saturating_add(1);
    put(txn, name, next.to_be_bytes().to_vec())?;
    Ok(next)
}

/// The last number that [`count`] gave.
pub(crate) fn counted(db: &impl Read, name: &'static str) -> Result<u64, StoreError> {
    Ok(number(db, name)?.unwrap_or_default())
}

/// [`count`] goes on behind this number.
pub(crate) fn set_counted(txn: &Txn<'_>, name: &str, count: u64) -> Result<(), StoreError> {
    put(txn, name, count.to_be_bytes().to_vec())
}

/// A time that is kept under `name`.
pub(crate) fn moment(db: &impl Read, name: &'static str) -> Result<Option<i64>, StoreError> {
    Ok(number(db, name)?.map(u64::cast_signed))
}

/// It is this one now.
pub(crate) fn set_moment(txn: &Txn<'_>, name: &str, moment: i64) -> Result<(), StoreError> {
    put(txn, name, moment.to_be_bytes().to_vec())
}

fn number(db: &impl Read, name: &'static str) -> Result<Option<u64>, StoreError> {
    let Some(bytes) = single(db, name)? else { return Ok(None) };
    let bytes = bytes.as_slice().try_into().map_err(|_| StoreError::Damaged(name))?;
    Ok(Some(u64::from_be_bytes(bytes)))
}

fn single(db: &impl Read, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(db.get::<Singles>(&name.to_owned())?.map(Into::into))
}

fn put(txn: &Txn<'_>, name: &str, value: Vec<u8>) -> Result<(), StoreError> {
    txn.put::<Singles>(&name.to_owned(), &value.into())
}
