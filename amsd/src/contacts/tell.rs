//! What a contact's relay is to know of it, or what is done in its place on a direct way.

use ams_wire::to_relay::ToRelay;

use crate::peer;
use crate::relay::{RelayId, chores};
use crate::store::{StoreError, Txn};

/// Has `frame` told to `relay`, or does on a direct way what it is for.
pub(super) fn tell(txn: &Txn<'_>, relay: RelayId, frame: &ToRelay<'_>) -> Result<(), StoreError> {
    match relay.is_direct() {
        true => peer::instead(txn, relay, frame),
        false => chores::push(txn, relay, frame),
    }
}
