//! What a link gets: envelopes with the handle that they are for.

use std::collections::BTreeMap;

use ams_wire::id::WorkMark;

use super::path::Route;
use crate::outbox::seal::Outgoing;
use crate::relay::{Parcel, RelayId};

/// Which link gets what, the order kept.
pub(super) fn by_relay(sealed: &[Outgoing]) -> BTreeMap<RelayId, Vec<&Outgoing>> {
    let mut over = BTreeMap::<_, Vec<_>>::new();
    for out in sealed {
        over.entry(out.route.relay).or_default().push(out);
    }
    over
}

/// A full envelope.
pub(super) fn full(out: &Outgoing) -> Parcel {
    Parcel {
        handle: out.route.handle,
        ttl: out.ttl,
        mark: out.mark,
        envelope: out.envelope.clone(),
        key: Some(out.key),
    }
}

/// The receipt state alone: no commit made it, so it has no mark.
pub(super) fn bare(route: Route, envelope: &[u8]) -> Parcel {
    let mark = WorkMark::default();
    Parcel { handle: route.handle, ttl: 0, mark, envelope: envelope.to_vec(), key: None }
}
