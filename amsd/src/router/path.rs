//! Which path a contact has now: a relay where it is online, else the one used last, else any
//! that is up.

use crate::contacts::{ContactRow, PathRow};
use crate::live::Live;
use crate::relay::RelayId;

/// The path to take; `None`: nothing is up.
pub fn choose<'a>(
    contact: &'a ContactRow,
    live: &Live,
    last: Option<RelayId>,
) -> Option<&'a PathRow> {
    let usable = || contact.paths.iter().filter(|path| !path.missing && live.is_up(path.relay));
    usable()
        .find(|path| live.is_online(path.relay, path.handle))
        .or_else(|| usable().find(|path| Some(path.relay) == last))
        .or_else(|| usable().next())
}
