//! One transaction, or one snapshot, as typed tables of sealed rows.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

use ams_crypto::store::StoreKey;
use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::StoreError;
use super::table::{Key, Table};
use crate::fact::Fact;

type Raw = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Which rows of a table to walk over, and which way.
#[doc(hidden)]
pub struct Walk {
    from: Vec<u8>,
    /// Past the last; `None`: to the end of the table.
    to: Option<Vec<u8>>,
    backward: bool,
}

/// Takes one raw row of a walk.
type Step<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>;

/// Keys and rows of a table.
pub type Rows<T> = Vec<(<T as Table>::Key, <T as Table>::Row)>;
/// One key and row of a table.
pub type Found<T> = Option<(<T as Table>::Key, <T as Table>::Row)>;

/// What both a transaction and a snapshot can do.
pub trait Read {
    #[doc(hidden)]
    fn sealer(&self) -> &StoreKey;
    #[doc(hidden)]
    fn raw_get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    #[doc(hidden)]
    fn raw_walk(&self, table: &'static str, walk: Walk, step: Step<'_>) -> Result<(), StoreError>;

    /// The row of `key`.
    fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Row>, StoreError> {
        let key = key.to_bytes();
        let Some(sealed) = self.raw_get(T::NAME, &key)? else { return Ok(None) };
        open::<T>(self.sealer(), &key, &sealed).map(Some)
    }

    /// Walks upward over the rows whose key begins with `prefix`, from `from` on where it is
    /// given, until `step` breaks.
    fn each<T: Table>(
        &self,
        prefix: &impl Key,
        from: Option<&T::Key>,
        mut step: impl FnMut(T::Key, T::Row) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let prefix = prefix.to_bytes();
        let walk = Walk {
            from: from.map_or_else(|| prefix.clone(), Key::to_bytes),
            to: after(&prefix),
            backward: false,
        };
        self.walk::<T>(walk, &mut step)
    }

    /// Walks downward over the rows whose key begins with `prefix`, from below `below` where it is
    /// given, until `step` breaks.
    fn each_back<T: Table>(
        &self,
        prefix: &impl Key,
        below: Option<&T::Key>,
        mut step: impl FnMut(T::Key, T::Row) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let prefix = prefix.to_bytes();
        let to = below.map_or_else(|| after(&prefix), |key| Some(key.to_bytes()));
        self.walk::<T>(Walk { from: prefix, to, backward: true }, &mut step)
    }

    /// All rows whose key begins with `prefix`: for tables that are small there by their nature.
    fn list<T: Table>(&self, prefix: &impl Key) -> Result<Rows<T>, StoreError> {
        let mut rows = Vec::new();
        self.each::<T>(prefix, None, |key, row| {
            rows.push((key, row));
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    /// The last row whose key begins with `prefix`.
    fn last<T: Table>(&self, prefix: &impl Key) -> Result<Found<T>, StoreError> {
        let mut found = None;
        self.each_back::<T>(prefix, None, |key, row| {
            found = Some((key, row));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// The first row whose key begins with `prefix`.
    fn first<T: Table>(&self, prefix: &impl Key) -> Result<Found<T>, StoreError> {
        let mut found = None;
        self.each::<T>(prefix, None, |key, row| {
            found = Some((key, row));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    #[doc(hidden)]
    fn walk<T: Table>(
        &self,
        walk: Walk,
        step: &mut dyn FnMut(T::Key, T::Row) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let sealer = self.sealer();
        self.raw_walk(T::NAME, walk, &mut |key, sealed| {
            let row = open::<T>(sealer, key, sealed)?;
            let key = T::Key::from_bytes(key).ok_or(StoreError::Damaged(T::NAME))?;
            Ok(step(key, row))
        })
    }
}

fn open<T: Table>(sealer: &StoreKey, key: &[u8], sealed: &[u8]) -> Result<T::Row, StoreError> {
    let plain = sealer.open(T::NAME, key, sealed).map_err(|_| StoreError::Damaged(T::NAME))?;
    minicbor::decode(&plain).map_err(|_| StoreError::Damaged(T::NAME))
}

/// The first key behind all that begin with `prefix`.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut key = prefix.to_vec();
    while let Some(last) = key.pop() {
        if let Some(next) = last.checked_add(1) {
            key.push(next);
            return Some(key);
        }
    }
    None
}

/// A snapshot of what is durable.
pub struct View<'a> {
    pub(super) raw: &'a ReadTransaction,
    pub(super) key: &'a StoreKey,
}

impl Read for View<'_> {
    fn sealer(&self) -> &StoreKey {
        self.key
    }

    fn raw_get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.raw.open_table(Raw::new(table)) {
            Ok(table) => Ok(table.get(key)?.map(|row| row.value().to_vec())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn raw_walk(&self, table: &'static str, walk: Walk, step: Step<'_>) -> Result<(), StoreError> {
        match self.raw.open_table(Raw::new(table)) {
            Ok(table) => walk_over(&table, &walk, step),
            Err(TableError::TableDoesNotExist(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A transaction that is being written. It sees its own changes.
pub struct Txn<'a> {
    raw: &'a WriteTransaction,
    key: &'a StoreKey,
    changes: Cell<u64>,
    facts: RefCell<Vec<Fact>>,
}

impl<'a> Txn<'a> {
    pub(super) fn new(raw: &'a WriteTransaction, key: &'a StoreKey) -> Self {
        Self { raw, key, changes: Cell::new(0), facts: RefCell::default() }
    }

    /// Puts a row, over the one that may be there.
    pub fn put<T: Table>(&self, key: &T::Key, row: &T::Row) -> Result<(), StoreError> {
        let key = key.to_bytes();
        let plain = minicbor::to_vec(row).map_err(|_| StoreError::Damaged(T::NAME))?;
        let sealed = self.key.seal(T::NAME, &key, &plain);
        self.changes.set(self.changes.get().saturating_add(1));
        self.raw.open_table(Raw::new(T::NAME))?.insert(key.as_slice(), sealed.as_slice())?;
        Ok(())
    }

    /// Deletes a row, if it is there.
    pub fn delete<T: Table>(&self, key: &T::Key) -> Result<(), StoreError> {
        self.changes.set(self.changes.get().saturating_add(1));
        self.raw.open_table(Raw::new(T::NAME))?.remove(key.to_bytes().as_slice())?;
        Ok(())
    }

    /// Deletes all rows whose key begins with `prefix`.
    pub fn delete_all<T: Table>(&self, prefix: &impl Key) -> Result<(), StoreError> {
        for (key, _) in self.list::<T>(prefix)? {
            self.delete::<T>(&key)?;
        }
        Ok(())
    }

    /// To be told once this is durable.
    pub fn tell(&self, fact: Fact) {
        self.facts.borrow_mut().push(fact);
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes.get()
    }

    pub(super) fn into_facts(self) -> Vec<Fact> {
        self.facts.into_inner()
    }
}

impl Read for Txn<'_> {
    fn sealer(&self) -> &StoreKey {
        self.key
    }

    fn raw_get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.raw.open_table(Raw::new(table))?;
        let row = table.get(key)?.map(|row| row.value().to_vec());
        Ok(row)
    }

    fn raw_walk(&self, table: &'static str, walk: Walk, step: Step<'_>) -> Result<(), StoreError> {
        walk_over(&self.raw.open_table(Raw::new(table))?, &walk, step)
    }
}

fn walk_over(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    walk: &Walk,
    step: Step<'_>,
) -> Result<(), StoreError> {
    let from = std::ops::Bound::Included(walk.from.as_slice());
    let to = walk.to.as_deref().map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
    if walk.to.as_ref().is_some_and(|to| *to <= walk.from) {
        return Ok(());
    }
    let mut rows = table.range::<&[u8]>((from, to))?;
    loop {
        let next = if walk.backward { rows.next_back() } else { rows.next() };
        let Some(row) = next else { return Ok(()) };
        let (key, sealed) = row?;
        if step(key.value(), sealed.value())?.is_break() {
            return Ok(());
        }
    }
}
