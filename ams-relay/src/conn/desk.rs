//! What all links share.

use std::sync::Arc;
use std::time::Duration;

use ams_crypto::opaque::RelayAccounts;
use ams_link::Chance;

use crate::accounts::Accounts;
use crate::clock::Clock;
use crate::config::Limits;
use crate::hub::Hub;
use crate::limits::{Rate, Table};

/// A request, one that crossed it, a renewal, and each of them again after a lost answer.
const APPROVALS_AT_ONCE: u32 = 6;

/// Renewals of a contact in a row, as many as a contact answers: a device that is enrolled anew, or
/// found to be a copy, renews however lately it did.
const RENEWALS_AT_ONCE: u32 = 4;

/// What all links share.
pub(crate) struct Desk {
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) opaque: Arc<RelayAccounts>,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) limits: Limits,
    pub(crate) frames: Rate,
    pub(crate) bytes: Rate,
    pub(crate) control_frames: Rate,
    /// Contact requests a day, by account.
    pub(crate) asks_a_day: Table,
    /// Contact requests in a row, by account.
    pub(crate) asks_in_a_row: Table,
    /// Renewals, by account and handle: a link that begins anew does not begin them anew.
    pub(crate) renewals: Table,
    /// Approvals, by account and the one who asked: each is shown to that one.
    pub(crate) approvals: Table,
    /// Changes of password, by account. Not the gate's table: strangers who guess at a name lock
    /// nothing but enrolment.
    pub(crate) password_changes: Table,
}

impl Desk {
    pub(crate) fn new(
        accounts: Arc<dyn Accounts>,
        hub: Arc<Hub>,
        opaque: Arc<RelayAccounts>,
        (clock, chance): (Clock, Chance),
        limits: Limits,
    ) -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(3600);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            accounts,
            hub,
            opaque,
            clock,
            chance,
            frames: Rate::new(limits.frames_per_second, SECOND, limits.frame_burst),
            bytes: Rate::new(limits.bytes_per_second, SECOND, limits.byte_burst),
            control_frames: Rate::new(
                limits.control_frames_per_second,
                SECOND,
                limits.control_frame_burst,
            ),
            renewals: Table::new(Rate::new(1, limits.renewal_interval, RENEWALS_AT_ONCE)),
            approvals: Table::new(Rate::new(1, limits.renewal_interval, APPROVALS_AT_ONCE)),
            password_changes: Table::new(Rate::new(
                limits.name_logins_per_hour,
                HOUR,
                limits.name_logins_per_hour,
            )),
            asks_a_day: Table::new(Rate::new(limits.asks_per_day, DAY, limits.asks_per_day)),
            asks_in_a_row: Table::new(Rate::new(1, limits.ask_interval, 1)),
            limits,
        }
    }
}
