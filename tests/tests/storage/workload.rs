//! What alice and bob do over a relay, from the first start on, while the journal notes what they
//! and the administrator were answered.

use std::sync::Arc;

use ams_rpc::admin;
use ams_rpc::methods::{contact, history, message, presence, queue, relay};
use ams_rpc::types::{
    ContactParams, ContactRenameParams, Direction, HistoryParams, LinkState, MessageId,
    PresenceParams, QueueParams, RelayLoginParams, Secret, SendParams, Stage, State, Visibility,
};
use ams_tests::disk::{Disk, Journal};
use ams_tests::person::PASSWORD;
use ams_tests::{Net, PATIENCE, Person};
use amsd::settings::History;

/// Who keeps something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Alice,
    Bob,
    Relay,
}

/// Something that somebody was told and has to be true from then on.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    /// The first start is over.
    Started(Who),
    /// There is an account, and it is known here.
    Joined(Who),
    /// They are contacts of each other.
    Met,
    /// A message was accepted.
    Sent(Who, MessageId),
    /// A message is on the other's disk.
    Delivered(Who, MessageId),
    /// A reader acknowledged a message.
    Taken(Who, MessageId),
    /// A message was given up by its sender.
    Discarded(Who, MessageId),
    /// The contact has another name.
    Renamed(&'static str),
    /// An invite was made.
    Invited(&'static str),
    /// And taken back.
    Revoked(&'static str),
}

/// A net whose disks keep a journal.
pub(crate) struct Recorded {
    pub(crate) net: Net,
    pub(crate) alice: Person,
    pub(crate) bob: Person,
    pub(crate) journal: Journal<Fact>,
    pub(crate) disks: [(Who, Arc<Disk>); 3],
}

/// When somebody is told something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// When it is answered.
    Then,
    /// When it is asked: a program that answers first and writes later.
    Before,
}

impl Recorded {
    /// Everybody starts, for the first time.
    pub(crate) async fn begin() -> Self {
        let journal = Journal::default();
        let disks = [Who::Relay, Who::Alice, Who::Bob].map(|who| (who, journal.disk(Vec::new())));
        let net = Net::on(Arc::clone(&disks[0].1)).await;
        journal.answered(Fact::Started(Who::Relay));
        let alice = net.stranger_on("alice", Arc::clone(&disks[1].1)).await;
        journal.answered(Fact::Started(Who::Alice));
        let bob = net.stranger_on("bob", Arc::clone(&disks[2].1)).await;
        journal.answered(Fact::Started(Who::Bob));
        Self { net, alice, bob, journal, disks }
    }

    pub(crate) fn person(&self, who: Who) -> &Person {
        if who == Who::Alice { &self.alice } else { &self.bob }
    }

    pub(crate) fn disk(&self, who: Who) -> &Arc<Disk> {
        &self.disks.iter().find(|(of, _)| *of == who).unwrap().1
    }

    /// Stops everybody, the relay last.
    pub(crate) async fn stop(&self) {
        self.alice.stop().await;
        self.bob.stop().await;
        self.net.home().stop().await;
    }

    /// They join and meet.
    pub(crate) async fn meet(&self) {
        for who in [Who::Alice, Who::Bob] {
            self.person(who).join(self.net.home()).await;
            self.journal.answered(Fact::Joined(who));
        }
        self.alice.meet(&self.bob).await;
        self.journal.answered(Fact::Met);
    }

    /// Sends, and says so.
    pub(crate) async fn send(&self, from: Who, to: &str, told: Told) -> MessageId {
        let id = MessageId(ams_crypto::random::bytes());
        if told == Told::Before {
            self.journal.answered(Fact::Sent(from, id));
        }
        let params = SendParams { id: Some(id), ..SendParams::new(to, format!("message {id}")) };
        self.person(from).call::<message::Send>(params).await;
        if told == Told::Then {
            self.journal.answered(Fact::Sent(from, id));
        }
        id
    }

    async fn delivers(&self, from: Who, to: &str) -> MessageId {
        let id = self.send(from, to, Told::Then).await;
        self.is_delivered(from, id).await;
        id
    }

    async fn is_delivered(&self, from: Who, id: MessageId) {
        self.person(from).reaches(id, Stage::Delivered).await;
        self.journal.answered(Fact::Delivered(from, id));
    }

    async fn takes(&self, who: Who, reader: &str, count: usize) {
        let got = self.person(who).reader(reader).await.takes(count).await;
        for message in got {
            self.journal.answered(Fact::Taken(who, message.id));
        }
    }

    /// Everything that there is to do.
    pub(crate) async fn live(&self) {
        self.meet().await;
        self.talk().await;
        self.wait().await;
        self.renew().await;
        self.change().await;
        self.administer().await;
        self.tidy().await;
    }

    /// Both write, one by one and many at once, and read with more than one reader.
    async fn talk(&self) {
        let mut sent = Vec::new();
        for _ in 0..5 {
            sent.push(self.send(Who::Alice, "bob", Told::Then).await);
        }
        for id in sent {
            self.is_delivered(Who::Alice, id).await;
        }
        self.takes(Who::Bob, "default", 3).await;
        for _ in 0..3 {
            self.delivers(Who::Bob, "alice").await;
        }
        self.takes(Who::Alice, "default", 3).await;
        self.takes(Who::Bob, "default", 2).await;
    }

    /// Bob is away, and comes back; the relay restarts.
    async fn wait(&self) {
        self.bob.stop().await;
        let mut sent = Vec::new();
        for _ in 0..4 {
            sent.push(self.send(Who::Alice, "bob", Told::Then).await);
        }
        let given_up = sent.pop().unwrap();
        let params = QueueParams { ids: Some(vec![given_up]), all: None, to: None, after: None };
        self.alice.call::<queue::Discard>(params).await;
        self.journal.answered(Fact::Discarded(Who::Alice, given_up));
        self.net.home().restart().await;
        self.bob.start().await;
        for id in sent {
            self.is_delivered(Who::Alice, id).await;
        }
        self.takes(Who::Bob, "default", 3).await;
        self.alice.restart().await;
    }

    /// Alice's daemon is enrolled anew: fresh keys, with messages in between.
    async fn renew(&self) {
        let line = self.alice.line(self.net.home()).await;
        let params = RelayLoginParams {
            link: self.net.home().address(&line).await,
            user: "alice".to_owned(),
            password: Secret::new(PASSWORD.to_owned()),
            nick: Some("home".to_owned()),
            replace: Some(true),
        };
        self.alice.call::<relay::Login>(params).await;
        self.alice.link_is(self.net.home(), LinkState::Up).await;
        for _ in 0..2 {
            self.delivers(Who::Alice, "bob").await;
            self.delivers(Who::Bob, "alice").await;
        }
    }

    /// What a user changes now and then.
    async fn change(&self) {
        let invisible = PresenceParams { presence: Visibility::Invisible };
        self.bob.call::<presence::Set>(invisible).await;
        let bob = || ContactParams { name: "bob".to_owned() };
        self.alice.call::<contact::Block>(bob()).await;
        self.alice.call::<contact::Unblock>(bob()).await;
        let robert = ContactRenameParams { name: "bob".to_owned(), new: "robert".to_owned() };
        self.alice.call::<contact::Rename>(robert).await;
        self.journal.answered(Fact::Renamed("robert"));
        let visible = PresenceParams { presence: Visibility::Visible };
        self.bob.call::<presence::Set>(visible).await;
        self.delivers(Who::Alice, "robert").await;
    }

    async fn administer(&self) {
        let name = |name: &str| admin::NameParams { name: name.to_owned() };
        let home = self.net.home();
        for invited in ["carol", "dave"] {
            let params = admin::InviteCreateParams { name: invited.to_owned(), expires: None };
            home.admin::<admin::invite::Create>(params).await;
            self.journal.answered(Fact::Invited(invited));
        }
        home.admin::<admin::invite::Revoke>(name("dave")).await;
        self.journal.answered(Fact::Revoked("dave"));
        home.admin::<admin::user::Disable>(name("alice")).await;
        self.alice.send("robert", "while she is locked out").await;
        home.admin::<admin::user::Enable>(name("alice")).await;
    }

    /// What was read leaves both disks.
    async fn tidy(&self) {
        for (who, name) in [(Who::Alice, "robert"), (Who::Bob, "alice")] {
            let person = self.person(who);
            let unread = person.unread().await;
            self.takes(who, "default", usize::try_from(unread).unwrap()).await;
            person.reconfigure(|to| to.history = History::Off).await;
            let params = HistoryParams {
                contact: Some(name.to_owned()),
                search: None,
                limit: None,
                before: None,
            };
            let began = std::time::Instant::now();
            loop {
                let kept = person.call::<history::List>(params.clone()).await.messages;
                let read = |message: &ams_rpc::types::Message| {
                    message.direction == Direction::In && message.state == State::Read
                };
                if !kept.iter().any(read) {
                    break;
                }
                assert!(began.elapsed() < PATIENCE, "{} keeps what was read", person.name());
                tokio::task::yield_now().await;
            }
        }
    }
}
