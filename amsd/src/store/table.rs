//! Typed tables: what a key and a row are as bytes.

use ams_wire::id::{Handle, IntroId, MessageId, RootTag, RoutingId};
use minicbor::{Decode, Encode};

/// A table: its name, its key, its row. The row is sealed, the key is not: a key holds numbers
/// and random names only, never what somebody wrote.
pub trait Table {
    /// Name on disk.
    const NAME: &'static str;
    /// Key; its bytes sort as its values do.
    type Key: Key;
    /// Row.
    type Row: Encode<()> + for<'b> Decode<'b, ()>;
}

/// A key as bytes that sort alike. Tuples stand one behind the other, so the first part of a
/// key is a prefix by which a table can be walked.
pub trait Key: Sized {
    /// Appends the bytes.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes them off the front.
    fn take(bytes: &mut &[u8]) -> Option<Self>;

    /// The bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        self.put(&mut out);
        out
    }

    /// The key whose bytes these are.
    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let key = Self::take(&mut bytes)?;
        bytes.is_empty().then_some(key)
    }
}

impl Key for () {
    fn put(&self, _: &mut Vec<u8>) {}
    fn take(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

impl<const N: usize> Key for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<N>()?;
        *bytes = rest;
        Some(*head)
    }
}

macro_rules! integer_key {
    ($($integer:ty),*) => {$(
        impl Key for $integer {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                Key::take(bytes).map(Self::from_be_bytes)
            }
        }
    )*};
}
integer_key!(u8, u32, u64);

macro_rules! id_key {
    ($($id:ident),*) => {$(
        impl Key for $id {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                Key::take(bytes).map(Self)
            }
        }
    )*};
}
id_key!(Handle, MessageId, RootTag, IntroId, RoutingId);

/// The rest of the key: last in a tuple.
impl Key for String {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.to_owned();
        *bytes = &[];
        Some(text)
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::take(bytes)?, B::take(bytes)?))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::take(bytes)?, B::take(bytes)?, C::take(bytes)?))
    }
}
