//! Rows of accounts and invites.

use ams_wire::id::{Key, WorkMark};
use ams_wire::username::Username;
use minicbor::{Decode, Encode};

use super::Record;
use super::row::{decode, encode};

const VERSION: u8 = 1;

/// The device of an account. One for now; the wire names devices by number already.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DeviceRow {
    /// Its link key.
    #[n(0)]
    pub key: Key,
    /// Drawn at random by every enrolment, so that what an earlier one left behind does not count
    /// for this one.
    #[n(1)]
    pub enrolment: u64,
    /// Its highest work mark.
    #[n(2)]
    pub mark: Option<WorkMark>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct UserRow {
    /// When it was made, seconds since 1970.
    #[n(0)]
    pub created: u64,
    /// Locked by the administrator.
    #[n(1)]
    pub disabled: bool,
    /// Its OPAQUE record.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub record: Record,
    /// Its device.
    #[n(3)]
    pub device: Option<DeviceRow>,
}

/// An invite, under the hash of its token.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct InviteRow {
    /// The name that it is bound to.
    #[n(0)]
    pub name: Username,
    /// Until when it is good, seconds since 1970.
    #[n(1)]
    pub expires: u64,
    /// The device that spent it, which may repeat the joining.
    #[n(2)]
    pub spent_by: Option<Key>,
}

macro_rules! stored {
    ($($name:ident)*) => {$(
        impl $name {
            /// The stored form.
            pub fn to_bytes(&self) -> Vec<u8> {
                encode(VERSION, self)
            }

            /// Reads the stored form; `None` when it is damaged or of a later version.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                decode(VERSION, bytes)
            }
        }
    )*};
}
stored!(UserRow InviteRow);

impl InviteRow {
    /// Whether the device `key` may join by it.
    pub fn is_good_for(&self, key: &Key, now: u64) -> bool {
        self.expires > now && self.spent_by.as_ref().is_none_or(|spent| spent == key)
    }

    /// Whether anybody may.
    pub fn is_open(&self, now: u64) -> bool {
        self.expires > now && self.spent_by.is_none()
    }
}
