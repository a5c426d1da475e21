//! Every table that a profile has, and whether its rows can be read.

use std::collections::BTreeMap;
use std::fmt;

use crate::contacts::ask::Asked;
use crate::contacts::intro::{Intros, Unanswered};
use crate::contacts::link::{Links, Redeemed};
use crate::contacts::row::{Addresses, Contacts, Handles, Identities, Names};
use crate::hooks::row::{HookFailures, HookJobs, Hooks};
use crate::inbox::row::{In, InIds, Known, ReadAhead, Readers, Received};
use crate::inbox::unread::Unread;
use crate::outbox::ids::Gone;
use crate::outbox::row::{Digests, Ends, Live, Out, OutIds, Queued, ReadSeen, Texts, Waiting};
use crate::outbox::wish::{Deadlines, Keyed, OneWay};
use crate::peer::offer::{OwnOffers, Theirs, Told};
use crate::peer::{Approvals, Directs};
use crate::profile::Singles;
use crate::relay::chores::{ChoreCounts, ChoreRows, Chores};
use crate::relay::{Marks, Relays};
use crate::session::row::{Ciphers, Envelopes, Roots};
use crate::store::{Key, Table};
use crate::tally::Tallies;
use crate::timeline::{Arrivals, ByContact, Timeline};

/// How the rows of a database are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Rows that open with the key and say something.
    pub whole: u64,
    /// Table → rows that do not.
    pub damaged: BTreeMap<String, u64>,
    /// Table that this version does not know → its rows.
    pub unknown: BTreeMap<String, u64>,
}

impl Rows {
    /// Whether all of them can be read.
    #[must_use]
    pub fn are_whole(&self) -> bool {
        self.damaged.is_empty() && self.unknown.is_empty()
    }

    pub(super) fn note(&mut self, table: &str, key: &[u8], row: Option<&[u8]>) {
        let Some(reads) = reads(table) else {
            return count(&mut self.unknown, table);
        };
        match row {
            Some(row) if reads(key, row) => self.whole = self.whole.saturating_add(1),
            _ => count(&mut self.damaged, table),
        }
    }
}

fn count(rows: &mut BTreeMap<String, u64>, table: &str) {
    let count = rows.entry(table.to_owned()).or_default();
    *count = count.saturating_add(1);
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows can be read", self.whole)?;
        for (table, count) in &self.damaged {
            write!(f, ", {count} of \"{table}\" cannot")?;
        }
        for (table, count) in &self.unknown {
            write!(f, ", {count} of \"{table}\" are of another version of amsd")?;
        }
        Ok(())
    }
}

/// Whether a key and its opened row say something.
type Reads = fn(&[u8], &[u8]) -> bool;

fn reads_as<T: Table>(key: &[u8], row: &[u8]) -> bool {
    T::Key::from_bytes(key).is_some() && minicbor::decode::<T::Row>(row).is_ok()
}

macro_rules! known {
    ($($table:ident),* $(,)?) => {
        &[$(($table::NAME, reads_as::<$table>)),*]
    };
}

const KNOWN: &[(&str, Reads)] = known![
    Addresses,
    Approvals,
    Arrivals,
    Asked,
    ByContact,
    ChoreCounts,
    ChoreRows,
    Chores,
    Ciphers,
    Contacts,
    Deadlines,
    Digests,
    Directs,
    OwnOffers,
    Theirs,
    Told,
    Ends,
    Envelopes,
    Gone,
    Handles,
    HookFailures,
    HookJobs,
    Hooks,
    Identities,
    In,
    InIds,
    Intros,
    Keyed,
    Known,
    Links,
    Live,
    Marks,
    Names,
    OneWay,
    Out,
    OutIds,
    Queued,
    ReadAhead,
    ReadSeen,
    Readers,
    Received,
    Redeemed,
    Relays,
    Roots,
    Singles,
    Tallies,
    Texts,
    Timeline,
    Unanswered,
    Unread,
    Waiting,
];

fn reads(table: &str) -> Option<Reads> {
    KNOWN.iter().find(|(name, _)| *name == table).map(|(_, reads)| *reads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_what_their_table_holds() {
        let mut rows = Rows::default();
        rows.note(Names::NAME, &[1; 16], Some(&[0x07]));
        assert!(rows.are_whole(), "{rows}");
        rows.note(Names::NAME, &[1; 15], Some(&[0x07]));
        rows.note(Names::NAME, &[1; 16], Some(&[0x60]));
        rows.note(Names::NAME, &[1; 16], None);
        rows.note("of the future", &[1], Some(&[0x07]));
        assert!(!rows.are_whole());
        assert_eq!(
            rows.to_string(),
            "1 rows can be read, 3 of \"contact_names\" cannot, 1 of \"of the future\" are of \
             another version of amsd"
        );
    }
}
