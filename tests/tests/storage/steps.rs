//! What a user does and a daemon writes down, each of it such that it may be done again.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ams_relay::config::Config;
use ams_rpc::client::{CallError, Client};
use ams_rpc::methods::{contact, history, inbox, message, presence, profile, queue, relay};
use ams_rpc::types::{
    ContactParams, ContactState, LinkState, MessageId, NoParams, Presence, RelayParams, Stage,
    State,
};
use ams_rpc::{Exit, Method};
use ams_tests::disk::Disk;
use ams_tests::person::PASSWORD;
use ams_tests::{Net, Person, Relay};
use serde_json::{Value, json};

macro_rules! steps {
    ($($step:ident)+) => {
        /// One thing that a user does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Step {
            $($step,)+
        }

        /// All of it, in an order in which it can be done.
        pub(crate) const STEPS: &[Step] = &[$(Step::$step),+];
    };
}

steps! {
    Send Read Hide Show Block Unblock SendDirectly Keep Retry Discard Delete ReadOtherwise Forget
    Rename RenameBack Verify Clear Add Remove Accept Link Join Login Resume Password Leave Backup
}

impl Step {
    /// Whether this is what is answered where it is done already.
    pub(crate) fn is_done_once(self, error: &CallError) -> bool {
        let CallError::Failed(failure) = error else { return false };
        let expected = match self {
            Self::Delete | Self::Forget | Self::Rename | Self::RenameBack => Exit::NotFound,
            Self::Remove | Self::Accept | Self::Leave => Exit::NotFound,
            Self::Discard => Exit::Refused,
            _ => return false,
        };
        failure.exit() == expected.code()
    }

    /// Whether nothing has to be written for it.
    pub(crate) fn writes_nothing(self) -> bool {
        matches!(
            self,
            Self::Read | Self::ReadOtherwise | Self::Resume | Self::Password | Self::Backup
        )
    }
}

/// Alice, whose disk fails, and whom she has to do with.
pub(crate) struct User {
    net: Net,
    other: Relay,
    alice: Person,
    disk: Arc<Disk>,
    bob: Person,
    carol: Person,
    sent: MessageId,
    given_up: MessageId,
    invite: OnceLock<String>,
}

impl User {
    /// Alice and bob have met; carol has an account.
    pub(crate) async fn new() -> Self {
        let net = Net::new().await;
        let often = |config: &mut Config| {
            config.limits.source_logins_per_minute = 1000;
            config.limits.name_logins_per_hour = 1000;
            config.limits.name_login_delay = Duration::ZERO;
        };
        let other = net.relay_with("other", often).await;
        let disk = Disk::new(Vec::new());
        let alice = net.stranger_on("alice", Arc::clone(&disk)).await;
        alice.join(net.home()).await;
        let (bob, carol) = (net.person("bob").await, net.person("carol").await);
        alice.meet(&bob).await;
        let id = || MessageId(ams_crypto::random::bytes());
        let (sent, given_up, invite) = (id(), id(), OnceLock::new());
        Self { net, other, alice, disk, bob, carol, sent, given_up, invite }
    }

    pub(crate) fn alice(&self) -> &Person {
        &self.alice
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    async fn asks<M: Method>(&self, params: Value) -> Result<M::Result, CallError> {
        self.alice.try_call::<M>(serde_json::from_value(params).unwrap()).await
    }

    /// What has to be there before.
    pub(crate) async fn prepare(&self, step: Step) {
        is_hurried(&self.alice).await;
        match step {
            Step::Read | Step::ReadOtherwise => {
                self.bob.delivers("alice", "to be read").await;
            }
            Step::Accept => {
                self.carol.add("alice").await;
                self.alice.is_asked_by("carol").await;
            }
            Step::Join => {
                let line = self.alice.line(&self.other).await;
                self.invite.set(self.other.invite("alice", &line).await).unwrap();
            }
            _ => {}
        }
    }

    /// Does it.
    pub(crate) async fn takes(&self, step: Step) -> Result<(), CallError> {
        let bob = json!({"name": "bob"});
        let given_up = json!({"ids": [self.given_up.to_string()]});
        let nick = json!({"nick": "other"});
        match step {
            Step::Send => self.says(json!({"id": self.sent.to_string()})).await,
            Step::SendDirectly => {
                self.says(json!({"id": self.given_up.to_string(), "via": "direct"})).await
            }
            Step::Read => self.reads("default").await,
            Step::ReadOtherwise => self.reads("other").await,
            Step::Hide => {
                self.asks::<presence::Set>(json!({"presence": "invisible"})).await.map(drop)
            }
            Step::Show => {
                self.asks::<presence::Set>(json!({"presence": "visible"})).await.map(drop)
            }
            Step::Block => self.asks::<contact::Block>(bob).await.map(drop),
            Step::Unblock => self.asks::<contact::Unblock>(bob).await.map(drop),
            Step::Keep => self.asks::<queue::Keep>(given_up).await.map(drop),
            Step::Retry => self.asks::<queue::Retry>(given_up).await.map(drop),
            Step::Discard => self.asks::<queue::Discard>(given_up).await.map(drop),
            Step::Delete => self
                .asks::<message::Delete>(json!({"id": self.given_up.to_string()}))
                .await
                .map(drop),
            Step::Forget => self.asks::<inbox::Forget>(json!({"reader": "other"})).await.map(drop),
            Step::Rename => self.renames("bob", "robert").await,
            Step::RenameBack => self.renames("robert", "bob").await,
            Step::Verify => {
                let shown = self.asks::<contact::Verify>(bob.clone()).await?;
                let confirm = json!({"name": "bob", "confirm": shown.safety_number});
                self.asks::<contact::Verify>(confirm).await.map(drop)
            }
            Step::Clear => self.asks::<history::Clear>(json!({"contact": "bob"})).await.map(drop),
            Step::Add => self.asks::<contact::Add>(json!({"address": "dave@home"})).await.map(drop),
            Step::Remove => self.asks::<contact::Remove>(json!({"name": "dave"})).await.map(drop),
            Step::Accept => self.asks::<contact::Accept>(json!({"name": "carol"})).await.map(drop),
            Step::Link => self.asks::<contact::Link>(json!({})).await.map(drop),
            Step::Join => self.joins().await,
            Step::Login => self.logs_in().await,
            Step::Resume => self.asks::<relay::Resume>(nick).await.map(drop),
            Step::Password => {
                let params =
                    json!({"nick": "other", "old_password": PASSWORD, "password": PASSWORD});
                self.asks::<relay::Password>(params).await.map(drop)
            }
            Step::Leave => self.asks::<relay::Leave>(nick).await.map(drop),
            Step::Backup => {
                let name = MessageId(ams_crypto::random::bytes()).to_string();
                let params = json!({"file": self.net.folder().join(name), "passphrase": PASSWORD});
                self.asks::<profile::Backup>(params).await.map(drop)
            }
        }
    }

    async fn says(&self, mut how: Value) -> Result<(), CallError> {
        how["to"] = json!("bob");
        how["body"] = json!("hi");
        self.asks::<message::Send>(how).await.map(drop)
    }

    async fn reads(&self, reader: &str) -> Result<(), CallError> {
        let at = self.alice.reader(reader).await;
        let batch = at.look(at.next()).await?;
        let Some(cursor) = batch.cursor else { return Ok(()) };
        self.asks::<inbox::Ack>(json!({"reader": reader, "cursor": cursor})).await.map(drop)
    }

    async fn renames(&self, name: &str, new: &str) -> Result<(), CallError> {
        self.asks::<contact::Rename>(json!({"name": name, "new": new})).await.map(drop)
    }

    /// The same invite is good again where a try before had no way to write down that it was.
    async fn joins(&self) -> Result<(), CallError> {
        self.alice.try_join(self.invite.get().unwrap(), Some("other")).await
    }

    async fn logs_in(&self) -> Result<(), CallError> {
        let line = self.alice.line(&self.other).await;
        let link = self.other.address(&line).await;
        let params = json!({
            "link": link, "user": "alice", "password": PASSWORD, "nick": "other", "replace": true
        });
        self.asks::<relay::Login>(params).await.map(drop)
    }

    /// What it was done for is so.
    pub(crate) async fn has(&self, step: Step) {
        let alice = &self.alice;
        if step != Step::Leave {
            is_hurried(alice).await;
        }
        match step {
            Step::Send => alice.reaches(self.sent, Stage::Delivered).await,
            Step::Read => assert_eq!(alice.unread().await, 0),
            Step::Hide => self.bob.sees("alice", Presence::Offline).await,
            Step::Show | Step::Unblock => self.bob.sees("alice", Presence::Online).await,
            Step::Block => alice.contact_is("bob", ContactState::Blocked).await,
            Step::SendDirectly | Step::Retry => {
                drop(alice.message_is(self.given_up, State::Queued).await);
            }
            Step::Keep => drop(alice.message_is(self.given_up, State::Waiting).await),
            Step::Discard => drop(alice.message_is(self.given_up, State::Discarded).await),
            Step::Delete => {
                let shown = json!({"id": self.given_up.to_string()});
                assert!(self.asks::<message::Show>(shown).await.is_err());
            }
            Step::Forget => {
                let readers = self.asks::<inbox::Readers>(json!({})).await.unwrap().readers;
                assert!(readers.iter().all(|reader| reader.name != "other"), "{readers:?}");
            }
            Step::Rename => drop(alice.contact("robert").await),
            Step::RenameBack => drop(alice.contact("bob").await),
            Step::Verify => assert!(alice.contact("bob").await.verified),
            Step::Clear => {
                let kept = self.asks::<history::List>(json!({"contact": "bob"})).await.unwrap();
                assert!(kept.messages.is_empty(), "{:?}", kept.messages);
            }
            Step::Add => assert_eq!(alice.contact("dave").await.state, ContactState::Pending),
            Step::Remove => {
                let dave = ContactParams { name: "dave".to_owned() };
                assert!(alice.try_call::<contact::Show>(dave).await.is_err());
            }
            Step::Accept => alice.contact_is("carol", ContactState::Active).await,
            Step::Join | Step::Login | Step::Resume | Step::Password => {
                alice.link_is(&self.other, LinkState::Up).await;
            }
            Step::Leave => {
                let relays = self.asks::<relay::List>(json!({})).await.unwrap().relays;
                assert_eq!(relays.len(), 1, "{relays:?}");
            }
            Step::ReadOtherwise | Step::Link | Step::Backup => {}
        }
    }

    /// All that was sent came, once, and in both directions it goes on.
    pub(crate) async fn ends(self) {
        self.alice.delivers("bob", "last").await;
        self.bob.delivers("alice", "last").await;
        self.bob.reads(&["hi", "last"]).await;
        self.alice.reads(&["last"]).await;
        assert_eq!(self.alice.unread().await + self.bob.unread().await, 0);
    }
}

/// Waits until the links are up.
async fn is_hurried(person: &Person) {
    person.until("the links to be up", |client| hurry(client)?.then_some(())).await;
}

/// Where a link rests after the disk failed, the user hurries it; whether all are up.
pub(crate) fn hurry(client: &mut Client) -> Option<bool> {
    let relays = client.call::<relay::List>(&NoParams {}).ok()?.relays;
    for down in relays.iter().filter(|relay| relay.state == LinkState::Down) {
        client.call::<relay::Connect>(&RelayParams { nick: down.name.clone() }).ok()?;
    }
    Some(relays.iter().all(|relay| relay.state == LinkState::Up))
}
