//! One transaction, or one snapshot, as typed tables of sealed rows.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use ams_crypto::store::StoreKey;
use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition,
    TableError, WriteTransaction,
};

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

type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

impl Walk {
    /// From where to where; `None`: nothing lies between.
    fn bounds(&self) -> Option<Bounds<'_>> {
        if self.to.as_ref().is_some_and(|to| *to <= self.from) {
            return None;
        }
        let to = self.to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        Some((Bound::Included(&self.from), to))
    }
}

/// Takes one key and its opened row of a walk.
type Step<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>;

/// Keys and rows of a table.
pub type Rows<T> = Vec<(<T as Table>::Key, <T as Table>::Row)>;
/// One key and row of a table.
pub type Found<T> = Option<(<T as Table>::Key, <T as Table>::Row)>;

/// What both a transaction and a snapshot can do.
pub trait Read {
    #[doc(hidden)]
    fn sealer(&self) -> &StoreKey;
    /// The opened row of a key.
    #[doc(hidden)]
    fn raw_get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Steps over opened rows.
    #[doc(hidden)]
    fn raw_walk(&self, table: &'static str, walk: Walk, step: Step<'_>) -> Result<(), StoreError>;
    /// How many rows there are, without a look at them.
    #[doc(hidden)]
    fn raw_count(&self, table: &'static str) -> Result<u64, StoreError>;
    /// How many rows there are on the way of a walk. None is opened.
    #[doc(hidden)]
    fn raw_count_on(&self, table: &'static str, walk: Walk) -> Result<u64, StoreError>;

    /// How many rows a table has. It takes the same time for many as for few.
    fn count<T: Table>(&self) -> Result<u64, StoreError> {
        self.raw_count(T::NAME)
    }

    /// How many rows have a key that begins with `prefix`, from `from` on. Their keys are read,
    /// and no row is opened: less than half of what a walk takes.
    fn count_from<T: Table>(&self, prefix: &impl Key, from: &T::Key) -> Result<u64, StoreError> {
        let to = after(&prefix.to_bytes());
        self.raw_count_on(T::NAME, Walk { from: from.to_bytes(), to, backward: false })
    }

    /// The row of `key`.
    fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Row>, StoreError> {
        match self.raw_get(T::NAME, &key.to_bytes())? {
            Some(row) => decode::<T>(&row).map(Some),
            None => Ok(None),
        }
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
        self.raw_walk(T::NAME, walk, &mut |key, row| {
            let key = T::Key::from_bytes(key).ok_or(StoreError::Damaged(T::NAME))?;
            Ok(step(key, decode::<T>(row)?))
        })
    }
}

fn decode<T: Table>(row: &[u8]) -> Result<T::Row, StoreError> {
    minicbor::decode(row).map_err(|_| StoreError::Damaged(T::NAME))
}

/// What rows are sealed with. It counts those that were looked at: what an answer costs.
pub(super) struct Sealer {
    pub(super) key: StoreKey,
    pub(super) seen: AtomicU64,
}

impl Sealer {
    pub(super) fn new(key: StoreKey) -> Self {
        Self { key, seen: AtomicU64::new(0) }
    }

    fn saw_one(&self) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    fn open(&self, table: &'static str, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.saw_one();
        self.key.open(table, key, sealed).map_err(|_| StoreError::Damaged(table))
    }
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
    pub(super) sealer: &'a Sealer,
    failed: Cell<bool>,
    /// Each is opened once: a list looks into the same few for every message. `None`: it was not
    /// made yet.
    tables: RefCell<BTreeMap<&'static str, Option<Rc<Opened>>>>,
}

type Opened = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl<'a> View<'a> {
    pub(super) fn new(raw: &'a ReadTransaction, sealer: &'a Sealer) -> Self {
        Self { raw, sealer, failed: Cell::new(false), tables: RefCell::default() }
    }

    fn table(&self, table: &'static str) -> Result<Option<Rc<Opened>>, StoreError> {
        if let Some(known) = self.tables.borrow().get(table) {
            return Ok(known.clone());
        }
        let opened = match self.raw.open_table(Raw::new(table)) {
            Ok(opened) => Some(Rc::new(opened)),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        self.tables.borrow_mut().insert(table, opened.clone());
        Ok(opened)
    }

    /// Whether the disk failed under it. Whoever looked may not have said so.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.get()
    }

    fn noted<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        read.inspect_err(|error| self.failed.set(self.failed.get() || error.is_of_the_disk()))
    }

    fn opened_row(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(opened) = self.table(table)? else { return Ok(None) };
        match opened.get(key)? {
            Some(row) => self.sealer.open(table, key, row.value()).map(Some),
            None => Ok(None),
        }
    }

    fn walk_table(
        &self,
        table: &'static str,
        walk: &Walk,
        step: Step<'_>,
    ) -> Result<(), StoreError> {
        let Some(opened) = self.table(table)? else { return Ok(()) };
        walk_over(&*opened, self.sealer, table, walk, step)
    }

    fn rows_of(&self, table: &'static str) -> Result<u64, StoreError> {
        let Some(opened) = self.table(table)? else { return Ok(0) };
        Ok(opened.len()?)
    }

    fn rows_on(&self, table: &'static str, walk: &Walk) -> Result<u64, StoreError> {
        let Some(opened) = self.table(table)? else { return Ok(0) };
        count_over(&*opened, self.sealer, walk)
    }
}

impl Read for View<'_> {
    fn sealer(&self) -> &StoreKey {
        &self.sealer.key
    }

    fn raw_get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.noted(self.opened_row(table, key))
    }

    fn raw_walk(&self, table: &'static str, walk: Walk, step: Step<'_>) -> Result<(), StoreError> {
        self.noted(self.walk_table(table, &walk, step))
    }

    fn raw_count(&self, table: &'static str) -> Result<u64, StoreError> {
        self.noted(self.rows_of(table))
    }

    fn raw_count_on(&self, table: &'static str, walk: Walk) -> Result<u64, StoreError> {
        self.noted(self.rows_on(table, &walk))
    }
}

/// One table of a transaction: opened once, and each changed row sealed once, however often it
/// changes.
struct Sheet<'a> {
    table: redb::Table<'a, &'static [u8], &'static [u8]>,
    /// Changed rows, opened; `None`: deleted.
    changed: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Sheet<'_> {
    fn write_down(&mut self, sealer: &StoreKey, name: &'static str) -> Result<(), StoreError> {
        for (key, row) in std::mem::take(&mut self.changed) {
            match row {
                Some(row) => {
                    let sealed = sealer.seal(name, &key, &row);
                    self.table.insert(key.as_slice(), sealed.as_slice())?;
                }
                None => drop(self.table.remove(key.as_slice())?),
            }
        }
        Ok(())
    }
}

/// A transaction that is being written. It sees its own changes.
pub struct Txn<'a> {
    raw: &'a WriteTransaction,
    sealer: &'a Sealer,
    sheets: RefCell<BTreeMap<&'static str, Rc<RefCell<Sheet<'a>>>>>,
    changes: Cell<u64>,
    facts: RefCell<Vec<Fact>>,
}

impl<'a> Txn<'a> {
    pub(super) fn new(raw: &'a WriteTransaction, sealer: &'a Sealer) -> Self {
        Self {
            raw,
            sealer,
            sheets: RefCell::default(),
            changes: Cell::new(0),
            facts: RefCell::default(),
        }
    }

    /// Puts a row, over the one that may be there.
    pub fn put<T: Table>(&self, key: &T::Key, row: &T::Row) -> Result<(), StoreError> {
        let row = minicbor::to_vec(row).map_err(|_| StoreError::Damaged(T::NAME))?;
        self.change(T::NAME, key.to_bytes(), Some(row))
    }

    /// Deletes a row, if it is there.
    pub fn delete<T: Table>(&self, key: &T::Key) -> Result<(), StoreError> {
        self.change(T::NAME, key.to_bytes(), None)
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

    /// Writes every changed row down, and gives what is to be told after the commit.
    pub(super) fn finish(self) -> Result<Vec<Fact>, StoreError> {
        for (name, sheet) in self.sheets.take() {
            sheet.borrow_mut().write_down(&self.sealer.key, name)?;
        }
        Ok(self.facts.into_inner())
    }

    fn change(
        &self,
        table: &'static str,
        key: Vec<u8>,
        row: Option<Vec<u8>>,
    ) -> Result<(), StoreError> {
        self.changes.set(self.changes.get().saturating_add(1));
        let sheet = self.sheet(table)?;
        let mut sheet = sheet.try_borrow_mut().map_err(|_| StoreError::Damaged(WALKED))?;
        sheet.changed.insert(key, row);
        Ok(())
    }

    fn sheet(&self, table: &'static str) -> Result<Rc<RefCell<Sheet<'a>>>, StoreError> {
        if let Some(sheet) = self.sheets.borrow().get(table) {
            return Ok(sheet.clone());
        }
        let opened = self.raw.open_table(Raw::new(table))?;
        let sheet = Rc::new(RefCell::new(Sheet { table: opened, changed: BTreeMap::new() }));
        self.sheets.borrow_mut().insert(table, sheet.clone());
        Ok(sheet)
    }
}

const WALKED: &str = "a table that was changed while it was walked over";

impl Read for Txn<'_> {
    fn sealer(&self) -> &StoreKey {
        &self.sealer.key
    }

    fn raw_get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let sheet = self.sheet(table)?;
        let sheet = sheet.borrow();
        if let Some(changed) = sheet.changed.get(key) {
            return Ok(changed.clone());
        }
        match sheet.table.get(key)? {
            Some(row) => self.sealer.open(table, key, row.value()).map(Some),
            None => Ok(None),
        }
    }

    /// While it walks, `step` may look into this table but not change it.
    fn raw_walk(&self, table: &'static str, walk: Walk, step: Step<'_>) -> Result<(), StoreError> {
        let sheet = self.sheet(table)?;
        // Within another walk over this table nothing has changed since that began.
        if let Ok(mut sheet) = sheet.try_borrow_mut() {
            sheet.write_down(&self.sealer.key, table)?;
        }
        walk_over(&sheet.borrow().table, self.sealer, table, &walk, step)
    }

    fn raw_count(&self, table: &'static str) -> Result<u64, StoreError> {
        let sheet = self.sheet(table)?;
        if let Ok(mut sheet) = sheet.try_borrow_mut() {
            sheet.write_down(&self.sealer.key, table)?;
        }
        Ok(sheet.borrow().table.len()?)
    }

    fn raw_count_on(&self, table: &'static str, walk: Walk) -> Result<u64, StoreError> {
        let sheet = self.sheet(table)?;
        if let Ok(mut sheet) = sheet.try_borrow_mut() {
            sheet.write_down(&self.sealer.key, table)?;
        }
        count_over(&sheet.borrow().table, self.sealer, &walk)
    }
}

fn walk_over(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    sealer: &Sealer,
    table: &'static str,
    walk: &Walk,
    step: Step<'_>,
) -> Result<(), StoreError> {
    let Some(bounds) = walk.bounds() else { return Ok(()) };
    let mut rows = rows.range::<&[u8]>(bounds)?;
    loop {
        let next = if walk.backward { rows.next_back() } else { rows.next() };
        let Some(row) = next else { return Ok(()) };
        let (key, sealed) = row?;
        let (key, opened) = (key.value(), sealer.open(table, key.value(), sealed.value())?);
        if step(key, &opened)?.is_break() {
            return Ok(());
        }
    }
}

fn count_over(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    sealer: &Sealer,
    walk: &Walk,
) -> Result<u64, StoreError> {
    let Some(bounds) = walk.bounds() else { return Ok(0) };
    let mut count = 0_u64;
    for row in rows.range::<&[u8]>(bounds)? {
        row?;
        sealer.saw_one();
        count = count.saturating_add(1);
    }
    Ok(count)
}
