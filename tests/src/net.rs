//! Relays and people together.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use ams_relay::config::Config;
use ams_rpc::types::{Contact, PathState};
use amsd::settings::Settings;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::disk::Disk;
use crate::line::Line;
use crate::person::Person;
use crate::relay::Relay;

/// Everything of one test. Its first relay is called `home`.
pub struct Net {
    folder: TempDir,
    home: Relay,
}

impl Net {
    /// A net with the relay `home`.
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// A net whose relay `home` has another config.
    pub async fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Relay::start_new("home", &folder.path().join("relay-home"), adjust, None).await;
        Self { folder, home }
    }

    /// A net whose relay `home` keeps its accounts on `disk`.
    pub async fn on(disk: Arc<Disk>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("relay-home");
        let home = Relay::start_new("home", &data, |_| (), Some(disk)).await;
        Self { folder, home }
    }

    /// The relay `home`.
    #[must_use]
    pub fn home(&self) -> &Relay {
        &self.home
    }

    /// One more relay.
    pub async fn relay(&self, nick: &str) -> Relay {
        self.relay_with(nick, |_| ()).await
    }

    /// As [`Net::relay`], with another config.
    pub async fn relay_with(&self, nick: &str, adjust: impl FnOnce(&mut Config)) -> Relay {
        Relay::start_new(nick, &self.folder.path().join(format!("relay-{nick}")), adjust, None)
            .await
    }

    /// The folder of everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Somebody whose daemon runs and who has an account on `home`.
    pub async fn person(&self, name: &str) -> Person {
        self.person_with(name, |_| ()).await
    }

    /// As [`Net::person`], with other settings.
    pub async fn person_with(&self, name: &str, adjust: impl FnOnce(&mut Settings)) -> Person {
        let person = self.stranger(name, adjust).await;
        person.join(&self.home).await;
        person
    }

    /// Somebody whose daemon runs and who is on no relay yet.
    pub async fn stranger(&self, name: &str, adjust: impl FnOnce(&mut Settings)) -> Person {
        let mut settings = Settings::default();
        adjust(&mut settings);
        Person::start_new(name, &self.folder.path().join(name), settings, Vec::new(), None).await
    }

    /// Somebody whose daemon runs, keeps everything on `disk`, and is on no relay yet.
    pub async fn stranger_on(&self, name: &str, disk: Arc<Disk>) -> Person {
        let home = self.folder.path().join(name);
        Person::start_new(name, &home, Settings::default(), Vec::new(), Some(disk)).await
    }

    /// Somebody whose daemon takes direct peers, and who is on no relay.
    pub async fn listener(&self, name: &str, adjust: impl FnOnce(&mut Settings)) -> Person {
        self.listener_at(name, SocketAddr::from(([127, 0, 0, 1], 0)), adjust).await
    }

    /// As [`Net::listener`], at this address.
    pub async fn listener_at(
        &self,
        name: &str,
        at: SocketAddr,
        adjust: impl FnOnce(&mut Settings),
    ) -> Person {
        let mut settings = Settings::default();
        adjust(&mut settings);
        let home = self.folder.path().join(name);
        Person::start_new(name, &home, settings, vec![at], None).await
    }

    /// A line to where somebody takes direct peers.
    pub async fn door(&self, person: &Person) -> Line {
        let at = person.listening().await;
        Line::open(watch::channel(Some(at)).1).await
    }

    /// Two people who are contacts of each other.
    pub async fn friends(&self, one: &str, other: &str) -> (Person, Person) {
        let (one, other) = (self.person(one).await, self.person(other).await);
        one.meet(&other).await;
        (one, other)
    }

    /// Two people who know each other over `home` and over another relay: one contact, two ways.
    pub async fn friends_over_both(
        &self,
        relay: &Relay,
        one: &str,
        other: &str,
    ) -> (Person, Person) {
        let people = self.friends(one, other).await;
        people.0.join(relay).await;
        people.1.join(relay).await;
        people.0.add_address(&format!("{other}@{}", relay.nick()), None).await.unwrap();
        people.1.accept(one).await;
        for (person, contact) in [(&people.0, other), (&people.1, one)] {
            let both = |contact: &Contact| {
                contact.paths.iter().filter(|path| path.state == PathState::Up).count() == 2
            };
            person.contact_shows(contact, "reached over both", both).await;
        }
        people
    }
}
