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
    pub(crate) renewals: Rate,
    /// Contact requests a day, by account.
    pub(crate) asks_a_day: Table,
    /// Contact requests in a row, by account.
    pub(crate) asks_in_a_row: Table,
    /// Password tries, by name.
    pub(crate) tries: Arc<Table>,
}

impl Desk {
    pub(crate) fn new(
        accounts: Arc<dyn Accounts>,
        hub: Arc<Hub>,
        opaque: Arc<RelayAccounts>,
        (clock, chance): (Clock, Chance),
        limits: Limits,
        tries: Arc<Table>,
    ) -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            accounts,
            hub,
            opaque,
            clock,
            chance,
            frames: Rate::new(limits.frames_per_second, SECOND, limits.frame_burst),
            bytes: Rate::new(limits.bytes_per_second, SECOND, limits.byte_burst),
            renewals: Rate::new(1, limits.renewal_interval, 1),
            asks_a_day: Table::new(Rate::new(limits.asks_per_day, DAY, limits.asks_per_day)),
            asks_in_a_row: Table::new(Rate::new(1, limits.ask_interval, 1)),
            tries,
            limits,
        }
    }
}
