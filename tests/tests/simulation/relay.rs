//! A relay that stops, starts and loses its memory.

use std::sync::Arc;
use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_crypto::opaque::RelayAccounts;
use ams_link::Chance;
use ams_relay::accounts::store::Store;
use ams_relay::clock::Clock;
use ams_relay::config::{Config, Limits, PublicAddress, Storage};
use ams_relay::data::Keys;
use ams_relay::relay::start_on;
use ams_tests::seed::Seed;

use super::disk::Disk;
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
}

/// What a relay grants.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// How long it tries.
    pub(crate) window: Duration,
    /// What it holds of one sender.
    pub(crate) sender_held: u32,
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
}

/// Where a relay is.
pub(crate) fn host(number: usize) -> String {
    format!("relay{number}.test")
}

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
        Self { number, net, disk, kept, terms, chance, clock: Clock::following(BEGINNING) }
    }

    /// Runs on what is on its disk.
    pub(crate) async fn start(&self) -> Arc<ams_relay::Running> {
        let mut config = Config::new(Storage::Memory);
        config.listen = None;
        config.public_address = PublicAddress::parse(&host(self.number));
        config.retry_window = self.terms.window;
        config.limits =
            Limits { sender_held_messages: self.terms.sender_held, ..Limits::default() };
        config.clock = self.clock;
        config.chance = self.chance.clone();
        let accounts = Store::inline_on(self.disk.plug()).unwrap();
        let Kept { link, seed, keys, .. } = &self.kept;
        let keys = Keys {
            link: DhSecret::from_bytes(link),
            opaque: RelayAccounts::from_parts(seed, keys).unwrap(),
        };
        let running = Arc::new(start_on(config, Arc::new(accounts), keys).await.unwrap());
        self.net.set_relay(self.number, Some(running.clone()));
        running
    }

    /// Its power goes, and with it what it held in memory.
    pub(crate) fn crash(&self) {
        self.disk.cut_power();
        self.net.set_relay(self.number, None);
        self.net.cut(None, Some(self.number));
        self.disk.restart();
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
    }

    /// Whether it runs.
    pub(crate) fn is_up(&self) -> bool {
        self.net.has_relay(self.number)
    }

    /// What stays of it.
    pub(crate) fn kept(&self) -> Kept {
        Kept { image: self.disk.image(), ..self.kept.clone() }
    }
}
