//! A daemon in a home of its own, and what its user does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ams_rpc::Method;
use ams_rpc::client::{CallError, Client};
use ams_rpc::methods::{contact, daemon, identity, inbox, message, peer, queue, relay};
use ams_rpc::places::Places;
use ams_rpc::types::{
    Contact, ContactAcceptParams, ContactAddParams, ContactParams, ContactState, DaemonStatus,
    LinkState, Message, MessageId, MessageParams, MessageSteps, NoParams, PeerConnectParams,
    PeerInfo, Period, Presence, QueueListParams, RelayJoinParams, Secret, SendParams, SendResult,
    Stage, State, WaitParams,
};
use ams_wire::address::HostPort;
use amsd::settings::Settings;
use amsd::store::Disk as Bytes;
use amsd::{Home, Running, Start, StartError};
use tokio::sync::Mutex;

use crate::PATIENCE;
use crate::connection::{self, Connection, blocking};
use crate::disk::Disk;
use crate::line::Line;
use crate::reader::Reader;
use crate::relay::Relay;

/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery staple";

/// Somebody with a daemon, running or not.
pub struct Person {
    // Set once.
    name: String,
    home: PathBuf,
    settings: Settings,
    /// Where direct peers are taken.
    listen: Mutex<Vec<SocketAddr>>,
    running: Mutex<Option<Running>>,
    /// In place of the file of the database.
    disk: Mutex<Option<Arc<Disk>>>,
    /// By the relay's nick.
    lines: Mutex<BTreeMap<String, Arc<Line>>>,
}

impl Person {
    pub(crate) async fn start_new(
        name: &str,
        home: &Path,
        settings: Settings,
        listen: Vec<SocketAddr>,
        disk: Option<Arc<Disk>>,
    ) -> Self {
        let person = Self {
            name: name.to_owned(),
            home: home.to_owned(),
            settings,
            listen: Mutex::new(listen),
            running: Mutex::new(None),
            disk: Mutex::new(disk),
            lines: Mutex::new(BTreeMap::new()),
        };
        person.start().await;
        person
    }

    /// The name, also that of accounts.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The profile's folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    fn socket(&self) -> PathBuf {
        Places::in_home(&self.home).socket
    }

    // The daemon.

    /// Starts the daemon.
    pub async fn start(&self) {
        self.try_start().await.unwrap();
    }

    /// Starts the daemon, which may fail.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn try_start(&self) -> Result<(), StartError> {
        let mut running = self.running.lock().await;
        assert!(running.is_none(), "the daemon of {} runs already", self.name);
        let places = Places::in_home(&self.home);
        let home = blocking(move || Home::open(places)).await.unwrap();
        let disk = self.disk.lock().await.clone().map(|disk| disk as Arc<dyn Bytes>);
        let mut listen = self.listen.lock().await;
        let (public, socket) = (Vec::new(), None);
        let start =
            Start { home, settings: self.settings, listen: listen.clone(), public, socket, disk };
        let started = amsd::start(start).await?;
        // The port that the system chose stays, as a real one would.
        *listen = started.listening().to_vec();
        *running = Some(started);
        Ok(())
    }

    /// Takes direct peers at another place from the next start on, while the daemon does not run.
    pub async fn move_away(&self) {
        assert!(self.running.lock().await.is_none(), "the daemon of {} runs", self.name);
        *self.listen.lock().await = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    }

    /// Puts another disk in the place of the one that it has, while the daemon does not run.
    pub async fn put_disk(&self, disk: Arc<Disk>) {
        assert!(self.running.lock().await.is_none(), "the daemon of {} runs", self.name);
        *self.disk.lock().await = Some(disk);
    }

    /// Stops the daemon.
    pub async fn stop(&self) {
        let running = self.running.lock().await.take();
        running.unwrap_or_else(|| panic!("the daemon of {} does not run", self.name)).stop().await;
    }

    /// Stops the daemon and starts it again.
    pub async fn restart(&self) {
        self.stop().await;
        self.start().await;
    }

    /// The daemon takes another config, as after SIGHUP.
    pub async fn reconfigure(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.settings;
        change(&mut settings);
        self.running.lock().await.as_ref().unwrap().reconfigure(settings).unwrap();
    }

    /// The daemon takes another word on where it is, as after SIGHUP.
    pub async fn is_at(&self, listen: &[SocketAddr], public: Vec<HostPort>) {
        self.running.lock().await.as_ref().unwrap().be_at(listen, public);
    }

    /// A connection of its own, which a test can hold and drop.
    pub async fn connection(&self) -> Connection {
        Connection::open(&self.socket()).await.unwrap()
    }

    /// One call on a connection of its own.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn try_call<M: Method>(&self, params: M::Params) -> Result<M::Result, CallError> {
        Connection::open(&self.socket()).await?.try_call::<M>(params).await
    }

    /// One call, which must answer.
    pub async fn call<M: Method>(&self, params: M::Params) -> M::Result {
        let answer = self.try_call::<M>(params).await;
        answer.unwrap_or_else(|error| panic!("{}: {}: {error}", self.name, M::NAME))
    }

    /// Waits for something that the daemon tells of.
    pub async fn until<T: Send + 'static>(
        &self,
        what: impl Into<String>,
        look: impl FnMut(&mut Client) -> Option<T> + Send + 'static,
    ) -> T {
        let (socket, what) = (self.socket(), what.into());
        blocking(move || connection::until(&socket, &what, look)).await
    }

    /// What `amsctl status` shows.
    pub async fn status(&self) -> DaemonStatus {
        self.call::<daemon::Status>(NoParams {}).await
    }

    // Relays.

    /// The line to `relay`, made at first use.
    pub async fn line(&self, relay: &Relay) -> Arc<Line> {
        let mut lines = self.lines.lock().await;
        if let Some(line) = lines.get(relay.nick()) {
            return Arc::clone(line);
        }
        let line = Arc::new(relay.line().await);
        lines.insert(relay.nick().to_owned(), Arc::clone(&line));
        line
    }

    /// Makes an account on `relay`, and waits until the link to it is up.
    pub async fn join(&self, relay: &Relay) {
        let line = self.line(relay).await;
        let link = relay.invite(&self.name, &line).await;
        self.try_join(&link, Some(relay.nick())).await.unwrap();
        self.link_is(relay, LinkState::Up).await;
    }

    /// `amsctl relay join`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn try_join(&self, link: &str, nick: Option<&str>) -> Result<(), CallError> {
        let params = RelayJoinParams {
            link: link.to_owned(),
            password: Secret::new(PASSWORD.to_owned()),
            nick: nick.map(str::to_owned),
        };
        self.try_call::<relay::Join>(params).await.map(|_| ())
    }

    /// Waits until the link to `relay` is so.
    pub async fn link_is(&self, relay: &Relay, wanted: LinkState) {
        let nick = relay.nick().to_owned();
        self.until(format!("the link to {nick} to be {wanted}"), move |client| {
            let relays = client.call::<relay::List>(&NoParams {}).unwrap().relays;
            relays.into_iter().find(|relay| relay.name == nick && relay.state == wanted)
        })
        .await;
    }

    // Contacts.

    /// Asks for contact with `name` at the relay `home`.
    pub async fn add(&self, name: &str) {
        self.add_address(&format!("{name}@home"), None).await.unwrap();
    }

    /// `amsctl contact add ADDRESS [--as LOCAL]`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn add_address(&self, address: &str, local: Option<&str>) -> Result<(), CallError> {
        let local = local.map(str::to_owned);
        let params = ContactAddParams { address: address.to_owned(), local };
        self.try_call::<contact::Add>(params).await.map(|_| ())
    }

    /// Waits until the request of `name` is there.
    pub async fn is_asked_by(&self, name: &str) {
        let wanted = name.to_owned();
        self.until(format!("the request of {name}"), move |client| {
            let requests = client.call::<contact::Requests>(&NoParams {}).unwrap();
            requests.incoming.into_iter().find(|request| request.name == wanted)
        })
        .await;
    }

    /// Waits for the request of `name`, and accepts it.
    pub async fn accept(&self, name: &str) {
        self.is_asked_by(name).await;
        let params = ContactAcceptParams { name: name.to_owned(), local: None };
        self.call::<contact::Accept>(params).await;
    }

    /// Waits until `name` is in this state here.
    pub async fn contact_is(&self, name: &str, wanted: ContactState) {
        self.contact_shows(name, wanted.as_str(), move |contact| contact.state == wanted).await;
    }

    /// Waits until `name` is seen so.
    pub async fn sees(&self, name: &str, wanted: Presence) {
        self.contact_shows(name, wanted.as_str(), move |contact| contact.presence == wanted).await;
    }

    /// Waits until `contact show` says what is wanted.
    pub async fn contact_shows(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Contact) -> bool + Send + 'static,
    ) -> Contact {
        let shown = name.to_owned();
        self.until(format!("{name} to be {what}"), move |client| {
            let params = ContactParams { name: shown.clone() };
            client.call::<contact::Show>(&params).ok().filter(&wanted)
        })
        .await
    }

    /// `amsctl contact show`.
    pub async fn contact(&self, name: &str) -> Contact {
        self.call::<contact::Show>(ContactParams { name: name.to_owned() }).await
    }

    /// Both become contacts of each other, and can talk.
    pub async fn meet(&self, other: &Self) {
        self.add(other.name()).await;
        other.accept(&self.name).await;
        self.contact_is(other.name(), ContactState::Active).await;
        other.contact_is(&self.name, ContactState::Active).await;
    }

    // Direct links.

    /// Where this person takes direct peers.
    pub async fn listening(&self) -> SocketAddr {
        let at = self.listen.lock().await.first().copied();
        at.unwrap_or_else(|| panic!("{} does not listen", self.name))
    }

    /// The link by which this person can be met directly.
    pub async fn peer_link(&self) -> String {
        let links = self.call::<identity::Show>(NoParams {}).await.peer_links;
        links.into_iter().next().unwrap_or_else(|| panic!("{} does not listen", self.name))
    }

    /// `amsctl peer connect`, for the contact `name`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn connect(&self, address: &str, name: &str) -> Result<PeerInfo, CallError> {
        self.try_call::<peer::Connect>(PeerConnectParams {
            address: address.to_owned(),
            local: Some(name.to_owned()),
            fingerprint: None,
            accept_new: None,
        })
        .await
    }

    /// What a direct stranger is called: by its fingerprint.
    pub async fn stranger_name(&self) -> String {
        let fingerprint = self.call::<identity::Show>(NoParams {}).await.fingerprint;
        let plain: String = fingerprint.chars().filter(|c| *c != '-').take(8).collect();
        format!("direct-{plain}")
    }

    /// Waits for the request of the stranger `other`, and accepts it under its name.
    pub async fn accept_stranger(&self, other: &Self) {
        let name = other.stranger_name().await;
        self.is_asked_by(&name).await;
        let params = ContactAcceptParams { name, local: Some(other.name.clone()) };
        self.call::<contact::Accept>(params).await;
    }

    /// Waits until the direct link to the contact `name` is so.
    pub async fn peer_is(&self, name: &str, wanted: LinkState) -> PeerInfo {
        let peer = name.to_owned();
        self.until(format!("the direct link to {name} to be {wanted}"), move |client| {
            let peers = client.call::<peer::List>(&NoParams {}).unwrap().peers;
            peers.into_iter().find(|found| found.name == peer && found.state == wanted)
        })
        .await
    }

    /// Both become contacts of each other without a relay; `other` listens.
    pub async fn meet_directly(&self, other: &Self) {
        self.connect(&other.peer_link().await, other.name()).await.unwrap();
        other.accept_stranger(self).await;
        self.contact_is(other.name(), ContactState::Active).await;
        other.contact_is(&self.name, ContactState::Active).await;
    }

    // Messages.

    /// Sends; returns when the message is durable here.
    pub async fn send(&self, to: &str, body: impl Into<String>) -> MessageId {
        self.try_send(SendParams::new(to, body)).await.unwrap().id
    }

    /// `amsctl send`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn try_send(&self, params: SendParams) -> Result<SendResult, CallError> {
        self.try_call::<message::Send>(params).await
    }

    /// Waits until a message reached a stage; that it ends otherwise fails the test.
    pub async fn reaches(&self, id: MessageId, stage: Stage) {
        let result = self.wait(id, stage, Some(Period(PATIENCE))).await;
        assert!(result.reached, "{}: {id} is {} and never {stage}", self.name, result.state);
    }

    /// `amsctl message wait`.
    pub async fn wait(&self, id: MessageId, stage: Stage, timeout: Option<Period>) -> SendResult {
        self.call::<message::Wait>(WaitParams { id, stage, timeout, contact: None }).await
    }

    /// Sends, and waits until it is on the other's disk.
    pub async fn delivers(&self, to: &str, body: impl Into<String>) -> MessageId {
        let id = self.send(to, body).await;
        self.reaches(id, Stage::Delivered).await;
        id
    }

    /// Waits until a message is in this state.
    pub async fn message_is(&self, id: MessageId, wanted: State) -> MessageSteps {
        let params = MessageParams { id, contact: None };
        self.until(format!("{id} to be {wanted}"), move |client| {
            let shown = client.call::<message::Show>(&params).ok()?;
            shown.messages.into_iter().find(|shown| shown.message.state == wanted)
        })
        .await
    }

    /// `amsctl message show`, of a message that is there once.
    pub async fn message(&self, id: MessageId) -> MessageSteps {
        let shown = self.call::<message::Show>(MessageParams { id, contact: None }).await;
        let [only] = <[_; 1]>::try_from(shown.messages).unwrap();
        only
    }

    /// What is not delivered yet.
    pub async fn queue(&self) -> Vec<Message> {
        let queued = self.call::<queue::List>(QueueListParams::default()).await.messages;
        queued.into_iter().map(|queued| queued.message).collect()
    }

    /// Waits until nothing is on its way any more.
    pub async fn queue_is_empty(&self) {
        self.until("an empty queue", |client| {
            let queue = client.call::<queue::List>(&QueueListParams::default()).unwrap();
            queue.messages.is_empty().then_some(())
        })
        .await;
    }

    /// A reader of the inbox.
    pub async fn reader(&self, name: &str) -> Reader {
        Reader::new(self.connection().await, name)
    }

    /// The next so many messages of the reader `default`, acknowledged.
    pub async fn receives(&self, count: usize) -> Vec<Message> {
        self.reader("default").await.takes(count).await
    }

    /// The texts of the next messages of the reader `default` are these.
    pub async fn reads(&self, expected: &[&str]) {
        let got = self.receives(expected.len()).await;
        let texts: Vec<&str> = got.iter().map(|message| message.body.as_str()).collect();
        assert_eq!(texts, expected, "{}", self.name);
    }

    /// How many messages the reader `default` has not had.
    pub async fn unread(&self) -> u64 {
        let readers = self.call::<inbox::Readers>(NoParams {}).await.readers;
        readers.iter().find(|reader| reader.name == "default").map_or(0, |reader| reader.unread)
    }
}
