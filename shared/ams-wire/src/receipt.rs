//! Receipts are state, not messages: what the recipient has taken and read, as of now. The state
//! travels in every envelope and replaces what an earlier one said.

use minicbor::{Decode, Encode};

use crate::id::{PingToken, RootTag};
use crate::limits::{COUNTER_WINDOW, MAX_RECEIPT_BITS, MAX_RECEIPT_ROOTS, MAX_UNREAD_RUNS};

/// A set of numbers from a base on, at most [`COUNTER_WINDOW`] wide, as a bit map.
///
/// Numbers below the base are in the past: not in the set, and never again put into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    base: u64,
    bits: [u8; MAX_RECEIPT_BITS],
}

/// Where a number stands to a [`Window`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Within the window and not in the set.
    New,
    /// In the set.
    Taken,
    /// Below the base.
    Past,
    /// Further ahead than the window is wide.
    Beyond,
}

impl Window {
    /// An empty set from `base` on.
    pub fn new(base: u64) -> Self {
        Self { base, bits: [0; MAX_RECEIPT_BITS] }
    }

    /// The lowest number that can be in the set.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Where `number` stands.
    pub fn standing(&self, number: u64) -> Standing {
        let Some(offset) = number.checked_sub(self.base) else { return Standing::Past };
        match self.bit(offset) {
            None => Standing::Beyond,
            Some(true) => Standing::Taken,
            Some(false) => Standing::New,
        }
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.standing(number) == Standing::Taken
    }

    /// Puts `number` into the set; one that is past or beyond changes nothing.
    pub fn insert(&mut self, number: u64) {
        let Some(offset) = number.checked_sub(self.base) else { return };
        let Ok(offset) = usize::try_from(offset) else { return };
        if let Some(byte) = self.bits.get_mut(offset / 8) {
            *byte |= 1 << (offset % 8);
        }
    }

    /// Raises the base, dropping what falls below it; a lower base changes nothing.
    pub fn raise_base(&mut self, base: u64) {
        if base <= self.base {
            return;
        }
        let mut raised = Self::new(base);
        for number in self.iter() {
            raised.insert(number);
        }
        *self = raised;
    }

    /// The numbers in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        let (base, bits) = (self.base, self.bits);
        (0..COUNTER_WINDOW).filter_map(move |offset| {
            let set = Self { base, bits }.bit(offset)?;
            if set { base.checked_add(offset) } else { None }
        })
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|&byte| byte == 0)
    }

    /// The highest number in the set.
    pub fn newest(&self) -> Option<u64> {
        self.iter().last()
    }

    fn bit(&self, offset: u64) -> Option<bool> {
        let offset = usize::try_from(offset).ok()?;
        self.bits.get(offset / 8).map(|byte| byte & (1 << (offset % 8)) != 0)
    }
}

impl<C> Encode<C> for Window {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let used =
            self.bits.iter().rposition(|&byte| byte != 0).map_or(0, |last| last.saturating_add(1));
        e.array(2)?.u64(self.base)?.bytes(self.bits.get(..used).unwrap_or_default())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Window {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let malformed = || minicbor::decode::Error::message("not a window");
        if d.array()? != Some(2) {
            return Err(malformed());
        }
        let mut window = Self::new(d.u64()?);
        let bits = d.bytes()?;
        window.bits.get_mut(..bits.len()).ok_or_else(malformed)?.copy_from_slice(bits);
        Ok(window)
    }
}

/// Numbers that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Run {
    /// The lowest.
    #[n(0)]
    pub first: u64,
    /// How many.
    #[n(1)]
    pub count: u64,
}

impl Run {
    /// Whether `number` is one of them.
    pub fn contains(&self, number: u64) -> bool {
        number.checked_sub(self.first).is_some_and(|offset| offset < self.count)
    }
}

/// What was taken under one root.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct RootReceipt {
    /// The root.
    #[n(0)]
    pub root: RootTag,
    /// Every counter from the sender's base on that was taken.
    #[n(1)]
    pub taken: Window,
}

/// The whole receipt state of one direction.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// The root in use and the one before it.
    #[n(0)]
    pub roots: Vec<RootReceipt>,
    /// The sequence numbers that were read: every delivered one below the base, and those in the
    /// set. `None` where read receipts are off.
    #[n(1)]
    pub read: Option<Window>,
    /// Of those below that base, the ones that left the recipient's disk without being read. `None`
    /// where there are none.
    #[n(2)]
    pub unread: Option<Vec<Run>>,
    /// To be said back at once, over the path that it came by. Only in bare envelopes: full ones go
    /// again as the same bytes.
    #[n(3)]
    pub ping: Option<PingToken>,
    /// A ping of the recipient's, said back.
    #[n(4)]
    pub pong: Option<PingToken>,
}

impl Receipt {
    /// Whether the bounds hold that the type does not show.
    pub(crate) fn is_bounded(&self) -> bool {
        self.roots.len() <= MAX_RECEIPT_ROOTS
            && self.unread.as_ref().is_none_or(|runs| runs.len() <= MAX_UNREAD_RUNS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standing_of_each_kind() {
        let mut window = Window::new(10);
        window.insert(12);
        window.insert(9);
        window.insert(10 + COUNTER_WINDOW);
        assert_eq!(window.standing(9), Standing::Past);
        assert_eq!(window.standing(12), Standing::Taken);
        assert_eq!(window.standing(10 + COUNTER_WINDOW - 1), Standing::New);
        assert_eq!(window.standing(10 + COUNTER_WINDOW), Standing::Beyond);
        assert_eq!(window.iter().collect::<Vec<_>>(), [12]);
    }

    #[test]
    fn a_run_has_its_first_and_its_last() {
        let run = Run { first: 5, count: 2 };
        assert_eq!([4, 5, 6, 7].map(|number| run.contains(number)), [false, true, true, false]);
        let none = Run { first: 5, count: 0 };
        assert!(!none.contains(5));
        let all = Run { first: u64::MAX, count: u64::MAX };
        assert!(all.contains(u64::MAX) && !all.contains(0));
    }

    #[test]
    fn a_raised_base_keeps_what_lies_above_it() {
        let mut window = Window::new(1);
        for number in [1, 2, 5, 256] {
            window.insert(number);
        }
        window.raise_base(3);
        window.raise_base(2);
        assert_eq!((window.base(), window.newest()), (3, Some(256)));
        assert_eq!(window.iter().collect::<Vec<_>>(), [5, 256]);
        window.raise_base(u64::MAX);
        assert!(window.is_empty());
        window.insert(u64::MAX);
        assert_eq!(window.newest(), Some(u64::MAX));
    }
}
