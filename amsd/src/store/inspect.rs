//! A look at the database of a daemon that does not run. Whatever redb would write, after a crash
//! for example, stays in memory: the file is only read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ams_crypto::store::StoreKey;
use redb::{
    Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableHandle,
};

use super::txn::Sealer;
use super::{CACHE, Disk, Place, StoreError, View};

/// Takes each row: its table, its key, and what is in it, where that opens with the key.
pub type EachRow<'a> = &'a mut dyn FnMut(&str, &[u8], Option<&[u8]>);

/// Checks the whole file, takes every row of it to `each`, and lets `look` see it.
///
/// # Errors
/// When it cannot be read, or is damaged.
pub fn inspect<T, E: From<StoreError>>(
    place: &Place,
    key: StoreKey,
    each: EachRow<'_>,
    look: impl FnOnce(&View<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let overlay = Overlay::over(place).map_err(StoreError::from)?;
    let db = Database::builder()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true)
        .create_with_backend(overlay)
        .map_err(StoreError::from)?;
    let raw = db.begin_read().map_err(StoreError::from)?;
    let sealer = Sealer::new(key);
    let view = View::new(&raw, &sealer);
    every_row(&view, each)?;
    look(&view)
}

fn every_row(view: &View<'_>, each: EachRow<'_>) -> Result<(), StoreError> {
    for table in view.raw.list_tables()? {
        let name = table.name().to_owned();
        let table = view.raw.open_table(TableDefinition::<&[u8], &[u8]>::new(&name))?;
        for row in table.iter()? {
            let (key, sealed) = row?;
            let opened = view.sealer.key.open(&name, key.value(), sealed.value());
            each(&name, key.value(), opened.as_deref().ok());
        }
    }
    Ok(())
}

/// Bytes that are kept together once one of them was written.
const BLOCK: u64 = 4096;

/// What lies below, and over it what was written since.
#[derive(Debug)]
struct Overlay {
    below: Below,
    written: Mutex<Written>,
}

#[derive(Debug)]
enum Below {
    File(File),
    Disk(Arc<dyn Disk>),
}

impl Below {
    /// One reader at a time: whoever comes here holds what was written.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Self::File(file) => {
                let mut file = file;
                file.seek(SeekFrom::Start(offset))?;
                file.read_exact(out)
            }
            Self::Disk(disk) => disk.read(offset, out),
        }
    }
}

#[derive(Debug)]
struct Written {
    len: u64,
    /// From here on what lies below does not count: it was cut here once.
    len_below: u64,
    /// Block number → block.
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    fn over(place: &Place) -> io::Result<Self> {
        let (below, len) = match place {
            Place::File(path) => {
                let file = File::open(path)?;
                let len = file.metadata()?.len();
                (Below::File(file), len)
            }
            Place::Disk(disk) => (Below::Disk(disk.clone()), disk.len()?),
        };
        let written = Written { len, len_below: len, blocks: BTreeMap::new() };
        Ok(Self { below, written: Mutex::new(written) })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as it is below, with zeros behind the end.
    fn block_below(&self, number: u64, len_below: u64) -> io::Result<Box<[u8]>> {
        let start = number.saturating_mul(BLOCK);
        let there = len_below.saturating_sub(start).min(BLOCK);
        let mut block = vec![0; to_usize(BLOCK)?].into_boxed_slice();
        let part = block.get_mut(..to_usize(there)?).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.below.read(start, part)?;
        Ok(block)
    }

    /// Goes over the blocks of `offset..offset + len`: its number, the place in it, and the place
    /// in the range.
    fn each_block(
        offset: u64,
        len: usize,
        mut step: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0_usize;
        while done < len {
            let at = offset.saturating_add(to_u64(done));
            let number = at.checked_div(BLOCK).unwrap_or_default();
            let inside = to_usize(at.checked_rem(BLOCK).unwrap_or_default())?;
            let count = to_usize(BLOCK)?.saturating_sub(inside).min(len.saturating_sub(done));
            let (inside_end, next) = (inside.saturating_add(count), done.saturating_add(count));
            step(number, inside..inside_end, done..next)?;
            done = next;
        }
        Ok(())
    }
}

fn to_usize(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset.saturating_add(to_u64(out.len())) > written.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::each_block(offset, out.len(), |number, inside, range| {
            let fresh;
            let block = match written.blocks.get(&number) {
                Some(block) => block,
                None => {
                    fresh = self.block_below(number, written.len_below)?;
                    &fresh
                }
            };
            let (Some(from), Some(to)) = (block.get(inside), out.get_mut(range)) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            to.copy_from_slice(from);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written();
        let cut = written.len.min(len);
        // What is cut off reads as zeros should the file grow again.
        if len < written.len {
            let first = cut.div_ceil(BLOCK);
            written.blocks.retain(|number, _| *number < first);
            written.len_below = written.len_below.min(len);
            let inside = to_usize(cut.checked_rem(BLOCK).unwrap_or_default())?;
            if let Some(block) = written.blocks.get_mut(&first.saturating_sub(1))
                && inside > 0
            {
                block.iter_mut().skip(inside).for_each(|byte| *byte = 0);
            }
        }
        written.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        let end = offset.saturating_add(to_u64(data.len()));
        written.len = written.len.max(end);
        Self::each_block(offset, data.len(), |number, inside, range| {
            if !written.blocks.contains_key(&number) {
                let block = self.block_below(number, written.len_below)?;
                written.blocks.insert(number, block);
            }
            let place = written.blocks.get_mut(&number).and_then(|block| block.get_mut(inside));
            let (Some(to), Some(from)) = (place, data.get(range)) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            to.copy_from_slice(from);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_file_stays() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let before: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        file.write_all(&before).unwrap();
        let overlay = Overlay::over(&Place::File(file.path().to_owned())).unwrap();
        let mut expected = before.clone();

        overlay.write(4_000, &[1; 5_000]).unwrap();
        expected[4_000..9_000].fill(1);
        overlay.set_len(20_000).unwrap();
        expected.resize(20_000, 0);
        overlay.write(19_990, &[2; 10]).unwrap();
        expected[19_990..].fill(2);
        overlay.set_len(4_500).unwrap();
        overlay.set_len(10_000).unwrap();
        expected.truncate(4_500);
        expected.resize(10_000, 0);

        let mut read = vec![9; 10_000];
        overlay.read(0, &mut read).unwrap();
        assert_eq!(read, expected);
        assert!(overlay.read(9_999, &mut [0; 2]).is_err());
        assert_eq!(std::fs::read(file.path()).unwrap(), before);
    }
}
