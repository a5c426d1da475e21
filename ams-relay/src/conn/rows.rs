//! The account's own rows, as its link needs them: the only thing that `Send` and `Deliver` ever
//! look at.

use std::sync::Arc;

use ams_crypto::introduction;
use ams_wire::id::{Handle, IntroId, RoutingId};
use ams_wire::username::Username;

use crate::accounts::row::{ContactRow, Standing};
use crate::hash::RandomMap;
use crate::hub::lane::Lane;

/// One row.
#[derive(Debug)]
pub(super) struct OwnRow {
    pub(super) peer: Username,
    pub(super) standing: Standing,
    pub(super) is_blocked: bool,
    /// The contact link by which it asks.
    pub(super) by: Option<RoutingId>,
    /// Names the introduction that waits for an answer.
    pub(super) intro: Option<IntroId>,
    /// The contact's handle, while this side lets traffic pass.
    pub(super) open_to: Option<Handle>,
    /// The lane that this handle's envelopes take, once there was one.
    pub(super) lane: Option<Arc<Lane>>,
}

/// All rows.
#[derive(Debug, Default)]
pub(super) struct Rows(RandomMap<Handle, OwnRow>);

/// How a row changed what may pass.
pub(super) struct Change {
    /// It let pass before: to whom, and to which handle of theirs.
    pub(super) before: Option<(Username, Handle)>,
    /// It lets pass now.
    pub(super) after: Option<(Username, Handle)>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, handle: &Handle) -> Option<&OwnRow> {
        self.0.get(handle)
    }

    pub(super) fn get_mut(&mut self, handle: &Handle) -> Option<&mut OwnRow> {
        self.0.get_mut(handle)
    }

    /// Rows that let traffic pass, as (own handle, peer, their handle).
    pub(super) fn open(&self) -> impl Iterator<Item = (&Handle, &Username, Handle)> {
        self.0.iter().filter_map(|(handle, row)| Some((handle, &row.peer, row.open_to?)))
    }

    /// How many wait for an answer, as their owner sees it: one that was refused does too.
    pub(super) fn pending(&self) -> usize {
        self.0.values().filter(|row| row.standing != Standing::Accepted).count()
    }

    /// Whether this side lets pass what comes from `lane` to the handle `to`.
    pub(super) fn passes(&self, to: &Handle, lane: &Lane) -> bool {
        self.0.get(to).is_some_and(|row| {
            row.open_to == Some(lane.handle()) && row.peer == *lane.sender().name()
        })
    }

    /// Puts a row, or none, in its place.
    pub(super) fn put(&mut self, handle: Handle, row: Option<&ContactRow>) -> Change {
        let old = self.0.remove(&handle);
        let pair = |row: &OwnRow| row.open_to.map(|to| (row.peer.clone(), to));
        let before = old.as_ref().and_then(pair);
        let Some(row) = row else { return Change { before, after: None } };
        let lane = old.and_then(|old| old.lane);
        let new = OwnRow {
            peer: row.peer.clone(),
            standing: row.standing,
            is_blocked: row.blocked,
            by: row.by,
            intro: row.intro.as_ref().map(|intro| introduction::id(intro.as_bytes())),
            open_to: row.open_to(),
            lane: None,
        };
        let after = pair(&new);
        let lane = if before == after { lane } else { None };
        self.0.insert(handle, OwnRow { lane, ..new });
        Change { before, after }
    }
}
