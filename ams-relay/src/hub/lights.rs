//! Presence. A link that is online and visible sets a light at each contact that its own accepted
//! rows point at; the contact sees it if its own row points back. So nobody looks at anybody
//! else's rows, and a light that nobody may see is never told.

use std::sync::Arc;

use ams_wire::id::Handle;
use ams_wire::username::Username;

use super::member::Member;
use super::seat::Seat;

/// Somebody is online.
#[derive(Debug)]
pub(super) struct Light {
    member: Arc<Member>,
    handle: Handle,
}

impl Light {
    fn is(&self, name: &Username, handle: Handle) -> bool {
        self.member.name() == name && self.handle == handle
    }
}

impl Seat {
    /// Lets the contact `peer` know, at its handle `to`, that this member is online.
    pub(crate) fn light(&self, own: Handle, peer: &Username, to: Handle) {
        let light = Light { member: Arc::clone(self.member()), handle: own };
        self.hub().member(peer).set_light(to, light);
    }

    /// Takes that back.
    pub(crate) fn darken(&self, own: Handle, peer: &Username, to: Handle) {
        self.hub().member(peer).put_out(to, |light| light.is(self.member().name(), own));
    }

    /// Whether `peer`, whose handle for this member is `theirs`, is online, as this member's handle
    /// `own` sees it.
    pub(crate) fn sees(&self, own: &Handle, peer: &Username, theirs: Handle) -> bool {
        self.member().sees(own, |light| light.is(peer, theirs))
    }
}
