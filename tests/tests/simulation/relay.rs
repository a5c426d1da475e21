//! A relay that stops, starts and loses its memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_crypto::opaque::RelayAccounts;
use ams_crypto::token::TokenHash;
use ams_link::Chance;
use ams_relay::accounts::store::Store;
use ams_relay::accounts::{Accounts, AccountsError, OpenInvite};
use ams_relay::clock::Clock;
use ams_relay::config::{Config, Limits, PublicAddress, Storage};
use ams_relay::data::Keys;
use ams_relay::relay::start_on;
use ams_tests::seed::Seed;
use ams_wire::address::RELAY_PORT;
use ams_wire::id::Key;
use ams_wire::username::Username;
use tokio::sync::watch;

use super::disk::{Disk, Fault};
use super::net::Net;

/// What stays of a relay while it does not run.
#[derive(Clone)]
pub(crate) struct Kept {
    /// Its disk.
    pub(crate) image: Vec<u8>,
    link: [u8; 32],
    seed: [u8; RelayAccounts::SEED],
    keys: [u8; RelayAccounts::KEYS],
}

impl Kept {
    /// Of a relay that never ran.
    pub(crate) fn new() -> Self {
        let opaque = RelayAccounts::generate().unwrap();
        Self {
            image: Vec::new(),
            link: *DhSecret::generate().to_bytes(),
            seed: *opaque.seed(),
            keys: *opaque.keys(),
        }
    }

    /// With these accounts and their devices. Nobody logs in with a password here, so the records
    /// that would take most of the time are none.
    pub(crate) async fn with_accounts(self, accounts: Vec<(Username, Key)>) -> Self {
        let disk = Disk::new(self.image.clone(), Seed::new(1));
        let store = Store::inline_on(disk.plug()).unwrap();
        for (name, device) in accounts {
            let token = TokenHash(ams_crypto::random::bytes());
            let invite = OpenInvite { name, expires: BEGINNING + 1 };
            store.create_invite(invite, token, false, 100).await.unwrap();
            let joined = store.join(token, device, [1; 192], BEGINNING, 100).await.unwrap();
            assert!(joined.is_some());
        }
        drop(store);
        Self { image: disk.image(), ..self }
    }

    /// Its public key.
    pub(crate) fn key(&self) -> Key {
        Key(*DhSecret::from_bytes(&self.link).public().as_bytes())
    }
}

/// What a relay grants.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// How long it tries.
    pub(crate) window: Duration,
    /// What it holds of one sender.
    pub(crate) sender_held: u32,
    /// Bytes that it holds of all.
    pub(crate) held_bytes: u64,
}

/// A relay.
pub(crate) struct Relay {
    number: usize,
    net: Arc<Net>,
    disk: Disk,
    kept: Kept,
    terms: Terms,
    chance: Chance,
    clock: Clock,
    /// What its clock is ahead, in seconds.
    ahead: &'static AtomicI64,
    is_up: watch::Sender<bool>,
}

/// Where a relay is.
pub(crate) fn host(number: usize) -> String {
    format!("relay{number}.test")
}

/// The same, as links have it.
pub(crate) fn address(number: usize) -> String {
    format!("{}:{RELAY_PORT}", host(number))
}

/// What may come in one batch from everybody.
const BATCHES: u64 = 8 << 20;

/// 2027-01-15, in seconds.
pub(crate) const BEGINNING: u64 = 1_800_000_000;

impl Relay {
    /// Does not run yet.
    pub(crate) fn new(
        number: usize,
        net: Arc<Net>,
        kept: Kept,
        terms: Terms,
        mut seed: Seed,
    ) -> Self {
        net.add_relay(host(number), kept.link);
        let disk = Disk::new(kept.image.clone(), Seed::new(seed.draw()));
        let chance = Chance::seeded(seed.draw());
        // The relay's clock is copied everywhere, so what it is set by stands for ever: eight bytes.
        let ahead: &AtomicI64 = Box::leak(Box::default());
        let clock = Clock::set_by(BEGINNING, ahead);
        let is_up = watch::Sender::new(false);
        Self { number, net, disk, kept, terms, chance, clock, ahead, is_up }
    }

    /// Runs on what is on its disk, unless the disk fails.
    pub(crate) async fn start(&self) -> Result<(), AccountsError> {
        let mut config = Config::new(Storage::Memory);
        config.listen = None;
        config.public_address = PublicAddress::parse(&host(self.number));
        config.retry_window = self.terms.window;
        config.limits = Limits {
            sender_held_messages: self.terms.sender_held,
            held_bytes: self.terms.held_bytes,
            ..Limits::default()
        };
        config.clock = self.clock;
        config.chance = self.chance.clone();
        let accounts = Store::inline_on(self.disk.plug())?;
        let Kept { link, seed, keys, .. } = &self.kept;
        let keys = Keys {
            link: DhSecret::from_bytes(link),
            opaque: RelayAccounts::from_parts(seed, keys).unwrap(),
        };
        let running = Arc::new(start_on(config, Arc::new(accounts), keys).await.unwrap());
        self.net.set_relay(self.number, Some(running));
        self.is_up.send_replace(true);
        Ok(())
    }

    /// Resolves when a fault of its disk took its power.
    pub(crate) async fn power_cut(&self) {
        self.disk.power_cut().await;
    }

    /// Waits until it does not run.
    pub(crate) async fn down(&self) {
        let _ = self.is_up.subscribe().wait_for(|is_up| !is_up).await;
    }

    /// Waits until it runs.
    pub(crate) async fn up(&self) {
        let _ = self.is_up.subscribe().wait_for(|is_up| *is_up).await;
    }

    /// Its disk is full, or no longer.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.disk.set_full(is_full);
    }

    /// Something goes wrong with its disk after `calls` more.
    pub(crate) fn set_fault(&self, calls: u32, fault: Fault) {
        self.disk.set_fault(calls, fault);
    }

    /// Nothing is to go wrong with its disk any more.
    pub(crate) fn heal(&self) {
        self.disk.heal();
    }

    /// The disk is as after a restart, for one more try to start.
    pub(crate) fn restart_disk(&self) {
        self.disk.restart();
    }

    /// Its clock is set to another time.
    pub(crate) fn move_clock(&self, by_seconds: i64) {
        self.ahead.fetch_add(by_seconds, Ordering::Relaxed);
    }

    /// Says what it holds, if that is more than it may.
    pub(crate) async fn is_over_its_bound(&self) -> Option<String> {
        let running = self.net.relay(self.number)?;
        let held = running.status().await.ok()?.held_bytes;
        // Each link may have its batch in hand.
        let most = self.terms.held_bytes.saturating_add(BATCHES);
        (held > most).then(|| format!("relay {} holds {held} bytes of {most}", self.number))
    }

    /// Its power goes, and with it what it held in memory.
    pub(crate) fn crash(&self) {
        self.disk.cut_power();
        self.net.set_relay(self.number, None);
        self.net.cut(None, Some(self.number));
        self.disk.restart();
        self.is_up.send_replace(false);
    }

    /// Stops in order.
    pub(crate) async fn stop(&self) {
        if let Some(running) = self.net.set_relay(self.number, None)
            && let Ok(running) = Arc::try_unwrap(running)
        {
            running.stop().await;
        }
        self.net.cut(None, Some(self.number));
        self.disk.restart();
        self.is_up.send_replace(false);
    }

    /// Whether it runs.
    pub(crate) fn is_up(&self) -> bool {
        self.net.has_relay(self.number)
    }
}
