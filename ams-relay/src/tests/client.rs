//! A client that says what the test wants and shows what the relay answers.

use std::collections::VecDeque;
use std::time::Duration;

use ams_crypto::dh::{DhPublic, DhSecret};
use ams_crypto::introduction;
use ams_crypto::opaque::{ClientLogin, ClientRegistration, Password};
use ams_crypto::token::Token;
use ams_link::stream::BoxedStream;
use ams_link::{Receiver, Sender, Stream, handshake};
use ams_wire::address::Link;
use ams_wire::from_relay::{FromRelay, Outcome, Presence, Request, Row};
use ams_wire::id::{Blob, EnvelopeId, Handle, IntroId, InviteToken, Key, RoutingId, WorkMark};
use ams_wire::limits::{MIN_ENVELOPE, PROTOCOL_VERSION};
use ams_wire::to_relay::{
    Approve, Ask, Attach, Await, ClientHello, Fetched, JoinFinish, JoinStart, LoginFinish,
    LoginStart, Redeem, Refuse, Send, Stored, ToRelay,
};
use ams_wire::username::Username;

use crate::Running;
use crate::accounts::OpenInvite;
use crate::config::{Config, Limits, Storage};

pub(super) const PASSWORD: &str = "correct horse";

/// A relay in memory, with limits that do not get into a test's way.
pub(super) fn config() -> Config {
    Config {
        listen: None,
        limits: Limits {
            ask_interval: Duration::ZERO,
            asks_per_day: 1_000,
            presence_tick: Duration::from_millis(1),
            ..Limits::default()
        },
        ..Config::new(Storage::Memory)
    }
}

pub(super) fn name(text: &str) -> Username {
    Username::new(text).unwrap()
}

pub(super) fn handle(byte: u8) -> Handle {
    Handle([byte; 16])
}

pub(super) fn routing(byte: u8) -> RoutingId {
    RoutingId([byte; 16])
}

pub(super) fn blob(text: &str) -> Blob {
    Blob::new(text.as_bytes().to_vec()).unwrap()
}

/// An envelope of the smallest size, named by `number`.
pub(super) fn envelope(number: u32) -> Vec<u8> {
    let mut bytes = vec![0xEE; MIN_ENVELOPE];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

pub(super) fn envelope_id(number: u32) -> EnvelopeId {
    EnvelopeId(envelope(number)[..16].try_into().unwrap())
}

/// A link to a relay.
pub(super) struct Client {
    pub(super) tx: Sender<<BoxedStream as Stream>::Write>,
    pub(super) rx: Receiver<<BoxedStream as Stream>::Read>,
    handshake_hash: [u8; 32],
    /// What came and was not looked at yet.
    waiting: VecDeque<FromRelay<'static>>,
    /// The last one that was looked at.
    intro: IntroId,
    pub(super) mark: WorkMark,
    pub(super) delivered: u64,
}

/// What a client is shown when it attaches.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) rows: Vec<Row>,
    pub(super) requests: Vec<Request>,
    pub(super) online: Vec<Handle>,
}

impl Client {
    /// Up to the handshake.
    pub(super) async fn dial(relay: &Running, key: &DhSecret) -> Self {
        Self::dial_over(relay, key, BoxedStream::new(relay.connect())).await
    }

    /// Up to the handshake, over a stream that leads to the relay.
    pub(super) async fn dial_over(relay: &Running, key: &DhSecret, stream: BoxedStream) -> Self {
        let server = DhPublic::from_bytes(relay.link().relay.0).unwrap();
        let link = handshake::connect(stream, key, &server, Duration::from_secs(5)).await.unwrap();
        Self {
            tx: link.sender,
            rx: link.receiver,
            handshake_hash: link.handshake_hash,
            waiting: VecDeque::new(),
            intro: introduction::id(b"intro"),
            mark: WorkMark::default(),
            delivered: 0,
        }
    }

    pub(super) fn handshake_hash(&self) -> &[u8; 32] {
        &self.handshake_hash
    }

    pub(super) async fn say(&mut self, frame: &ToRelay<'_>) {
        self.tx.push(frame).unwrap();
        self.tx.flush().await.unwrap();
    }

    /// The next frame; `None` at the end of the link.
    pub(super) async fn heard(&mut self) -> Option<FromRelay<'static>> {
        while self.waiting.is_empty() {
            for frame in self.rx.receive().await.ok()? {
                let body: &'static [u8] = Box::leak(frame.body.to_vec().into_boxed_slice());
                self.waiting.push_back(FromRelay::decode(frame.number, body).unwrap().unwrap());
            }
        }
        let frame = self.waiting.pop_front();
        if let Some(FromRelay::Request(request)) = &frame {
            self.intro = introduction::id(request.intro.as_bytes());
        }
        frame
    }

    /// Resolves when the relay ended the link.
    pub(super) async fn until_over(&mut self) {
        while self.heard().await.is_some() {}
    }

    /// The type of the next frame, whatever is in it.
    pub(super) async fn any(&mut self) -> Option<u8> {
        Some(self.rx.receive().await.ok()?.last()?.number)
    }

    /// The next frame that is none of those that come by themselves.
    pub(super) async fn answer(&mut self) -> FromRelay<'static> {
        loop {
            match self.heard().await.expect("the link ended") {
                FromRelay::Accepted(_) | FromRelay::Presence(_) | FromRelay::Ping => {}
                answer => return answer,
            }
        }
    }

    pub(super) async fn hello(&mut self) {
        self.say(&ToRelay::Hello(ClientHello { versions: vec![PROTOCOL_VERSION] })).await;
        assert!(matches!(self.heard().await, Some(FromRelay::Hello(_))));
    }

    /// Registers by an invite link; gives the last answer.
    pub(super) async fn join(&mut self, link: &str, password: &str) -> FromRelay<'static> {
        let link = Link::parse_invite(link).unwrap();
        self.join_with(link.token, password).await
    }

    pub(super) async fn join_with(
        &mut self,
        token: InviteToken,
        password: &str,
    ) -> FromRelay<'static> {
        let password = Password::new(password.to_owned()).unwrap();
        let (registration, request) = ClientRegistration::start(password).unwrap();
        self.say(&ToRelay::JoinStart(JoinStart { token, request })).await;
        let response = match self.answer().await {
            FromRelay::JoinResponse(response) => response,
            other => return other,
        };
        let upload = registration.finish(&response).unwrap();
        self.say(&ToRelay::JoinFinish(JoinFinish { upload })).await;
        self.answer().await
    }

    /// Logs in; gives the last answer, or none if the password was found wrong here.
    pub(super) async fn login(&mut self, user: &str, password: &str) -> Option<FromRelay<'static>> {
        let password = Password::new(password.to_owned()).unwrap();
        let (login, ke1) = ClientLogin::start(password).unwrap();
        self.say(&ToRelay::LoginStart(LoginStart { user: name(user), ke1 })).await;
        let ke2 = match self.answer().await {
            FromRelay::LoginResponse(ke2) => ke2,
            other => return Some(other),
        };
        let ke3 = login.finish(&ke2, &self.handshake_hash).ok()?;
        self.say(&ToRelay::LoginFinish(LoginFinish { ke3 })).await;
        Some(self.answer().await)
    }

    pub(super) async fn say_attach(&mut self) {
        let attach = Attach { mark: self.mark, visible: true };
        self.say(&ToRelay::Attach(attach)).await;
    }

    /// Attaches and reads the snapshot.
    pub(super) async fn attach(&mut self) -> Shown {
        self.say_attach().await;
        assert_eq!(self.heard().await, Some(FromRelay::Attached));
        let mut shown = Shown::default();
        loop {
            match self.heard().await.expect("the link ended") {
                FromRelay::Row(row) => shown.rows.push(row),
                FromRelay::Request(request) => shown.requests.push(request),
                FromRelay::Presence(Presence { online, .. }) => shown.online.extend(online),
                FromRelay::SnapshotEnd => return shown,
                other => panic!("{other:?} in a snapshot"),
            }
        }
    }

    /// A person who is on the relay: invited, joined, attached.
    pub(super) async fn person(relay: &Running, who: &str) -> (Self, DhSecret) {
        let key = DhSecret::generate();
        let invite = relay.invite(who).await.unwrap();
        let mut client = Self::dial(relay, &key).await;
        client.hello().await;
        assert_eq!(client.join(&invite, PASSWORD).await, FromRelay::Enrolled);
        client.attach().await;
        (client, key)
    }

    /// The person again, on a new link.
    pub(super) async fn again(relay: &Running, key: &DhSecret) -> (Self, Shown) {
        let mut client = Self::dial(relay, key).await;
        client.hello().await;
        let shown = client.attach().await;
        (client, shown)
    }

    pub(super) async fn ask(&mut self, own: Handle, to: &str, intro: &str) -> FromRelay<'static> {
        let ask = Ask { handle: own, to: name(to), intro: blob(intro) };
        self.say(&ToRelay::Ask(ask)).await;
        self.answer().await
    }

    pub(super) async fn approve(
        &mut self,
        to: &str,
        theirs: Handle,
        own: Handle,
        approval: &str,
    ) -> FromRelay<'static> {
        let (to, approval) = (name(to), blob(approval));
        let intro = self.intro;
        let approve = Approve { to, their_handle: theirs, handle: own, approval, by: None, intro };
        self.say(&ToRelay::Approve(approve)).await;
        self.answer().await
    }

    /// Asks by a contact link.
    pub(super) async fn redeem(
        &mut self,
        own: Handle,
        by: RoutingId,
        intro: &str,
    ) -> FromRelay<'static> {
        self.say(&ToRelay::Redeem(Redeem { handle: own, by, intro: blob(intro) })).await;
        self.answer().await
    }

    /// Names the contact links that are waited on.
    pub(super) async fn waits_on(&mut self, links: &[RoutingId]) {
        self.say(&ToRelay::Await(Await { links: links.to_vec() })).await;
        assert_eq!(self.answer().await, FromRelay::Done(Outcome::Ok));
    }

    pub(super) async fn refuse(&mut self, to: &str, theirs: Handle) -> FromRelay<'static> {
        self.say(&ToRelay::Refuse(Refuse { to: name(to), their_handle: theirs })).await;
        self.answer().await
    }

    pub(super) async fn send(&mut self, to: Handle, number: u32) {
        self.send_for(to, number, 0).await;
    }

    pub(super) async fn send_for(&mut self, to: Handle, number: u32, ttl: u32) {
        let envelope = envelope(number);
        let send = Send { handle: to, ttl, mark: self.mark, envelope: &envelope };
        self.say(&ToRelay::Send(send)).await;
    }

    /// The next envelope: for which handle, and which one.
    pub(super) async fn delivered(&mut self) -> (Handle, u32) {
        match self.answer().await {
            FromRelay::Deliver(deliver) => {
                self.delivered = self.delivered.saturating_add(1);
                let number = deliver.envelope[..4].try_into().unwrap();
                (deliver.handle, u32::from_be_bytes(number))
            }
            other => panic!("{other:?} instead of an envelope"),
        }
    }

    /// Says that everything was stored which was delivered.
    pub(super) async fn stored(&mut self) {
        let stored = Stored { count: self.delivered, mark: self.mark };
        self.say(&ToRelay::Stored(stored)).await;
    }

    /// The next news of who is online.
    pub(super) async fn presence(&mut self) -> Presence {
        loop {
            if let FromRelay::Presence(presence) = self.heard().await.expect("the link ended") {
                return presence;
            }
        }
    }

    /// Waits until the relay has done everything that was said before.
    pub(super) async fn settled(&mut self) {
        self.say(&ToRelay::Ping).await;
        while self.heard().await.expect("the link ended") != FromRelay::Pong {}
    }
}

impl Running {
    /// An account without the work of a password, attached.
    pub(super) async fn stranger_let_in(&self, who: &str) -> (DhSecret, Client) {
        let (accounts, key) = (&self.desk().accounts, DhSecret::generate());
        let token = Token::generate().hash();
        let invite = OpenInvite { name: name(who), expires: u64::MAX };
        accounts.create_invite(invite, token, false, 100).await.unwrap();
        let device = Key(*key.public().as_bytes());
        accounts.join(token, device, [7; 192], 0, u64::MAX).await.unwrap().unwrap();
        let client = Client::again(self, &key).await.0;
        (key, client)
    }
}

/// Two people who are contacts: alice, whose handle for bob is 1, and bob, whose handle is 2.
pub(super) async fn alice_and_bob(relay: &Running) -> ((Client, DhSecret), (Client, DhSecret)) {
    let (mut alice, alice_key) = Client::person(relay, "alice").await;
    let (mut bob, bob_key) = Client::person(relay, "bob").await;
    assert_eq!(alice.ask(handle(1), "bob", "intro").await, FromRelay::Done(Outcome::Ok));
    assert!(matches!(bob.answer().await, FromRelay::Request(_)));
    let answer = bob.approve("alice", handle(1), handle(2), "approval").await;
    assert_eq!(answer, FromRelay::Done(Outcome::Ok));
    assert!(matches!(alice.answer().await, FromRelay::Row(_)));
    let approval = introduction::approval_id(b"approval");
    alice.say(&ToRelay::Fetched(Fetched { handle: handle(1), approval })).await;
    assert_eq!(alice.answer().await, FromRelay::Done(Outcome::Ok));
    assert_eq!(alice.presence().await.online, [handle(1)]);
    assert_eq!(bob.presence().await.online, [handle(2)]);
    ((alice, alice_key), (bob, bob_key))
}
