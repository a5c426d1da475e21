//! Two worlds that differ in one thing: whether the name bob exists, and what bob does; or, if he is
//! a contact, why he is not there for her. Whatever
//! somebody who asks him, writes to him, watches him or logs in as him tries, everything that the
//! relay sends back is the same: frames, order, sizes, and the moments of a clock that stands still
//! while the relay works.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_crypto::introduction;
use ams_crypto::opaque::RelayAccounts;
use ams_crypto::token::Token;
use ams_link::stream::BoxedStream;
use ams_wire::from_relay::FromRelay;
use ams_wire::id::Key;
use ams_wire::to_relay::{
    Approve, Ask, Await, Fetched, LoginFinish, LoginStart, Redeem, Refuse, Send, ToRelay,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tokio::time::{Instant, timeout_at};

use super::client::{Client, blob, config, envelope, handle, name, routing};
use super::leaking::{Leak, Leaking};
use super::transcript::{Tap, Transcript, difference};
use crate::accounts::store::Store;
use crate::accounts::{Accounts, OpenInvite};
use crate::clock::Clock;
use crate::config::Config;
use crate::data::Keys;
use crate::relay::start_on;
use crate::{Running, accounts};

/// Who bob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bob {
    Nobody,
    Offline,
    Online,
    /// As a contact: he took her off his list as well.
    Refusing,
    Blocking,
    Invisible,
    /// As a contact: he took her off his list.
    Removing,
    Disabled,
    Deleted,
}

/// Bob's handle for alice.
const BOBS_HANDLE: u8 = 9;

/// For a contact, these are what being offline looks like.
const GONE: [Bob; 5] = [Bob::Refusing, Bob::Blocking, Bob::Removing, Bob::Disabled, Bob::Deleted];

const BOBS: [Bob; 7] = [
    Bob::Offline,
    Bob::Online,
    Bob::Refusing,
    Bob::Blocking,
    Bob::Invisible,
    Bob::Disabled,
    Bob::Deleted,
];

/// What alice tries. Names: 0 is bob, 1 somebody who exists in no world, 2 herself.
#[derive(Debug, Clone)]
enum Try {
    Ask {
        own: u8,
        to: u8,
        intro: u8,
    },
    Send {
        own: u8,
        number: u8,
        ttl: u8,
    },
    Burst {
        own: u8,
        first: u8,
        count: u8,
    },
    Block(u8),
    Unblock(u8),
    Remove(u8),
    Fetched(u8),
    Approve {
        to: u8,
        theirs: u8,
        own: u8,
    },
    Refuse {
        to: u8,
        theirs: u8,
    },
    /// By a contact link: 0 is bob's, who waits on it while he is there, 1 nobody's.
    Redeem {
        own: u8,
        by: u8,
        intro: u8,
    },
    /// Answers an introduction by one of these, which she does not have.
    ApproveBy {
        to: u8,
        theirs: u8,
        own: u8,
        by: u8,
    },
    /// Waits on one herself.
    Await(u8),
    Visible(bool),
    /// What comes after it goes out in one record with it.
    Together,
    Login {
        user: u8,
        attach: bool,
    },
    Again,
    Wait(u16),
}

fn tries() -> impl Strategy<Value = Vec<Try>> {
    let one = prop_oneof![
        4 => (1_u8..4, 0_u8..3, 0_u8..2).prop_map(|(own, to, intro)| Try::Ask { own, to, intro }),
        4 => (1_u8..5, any::<u8>(), prop_oneof![Just(0_u8), 1_u8..5])
            .prop_map(|(own, number, ttl)| Try::Send { own, number, ttl }),
        2 => (1_u8..5, any::<u8>(), 2_u8..30)
            .prop_map(|(own, first, count)| Try::Burst { own, first, count }),
        1 => (1_u8..5).prop_map(Try::Block),
        1 => (1_u8..5).prop_map(Try::Unblock),
        1 => (1_u8..5).prop_map(Try::Remove),
        1 => (1_u8..5).prop_map(Try::Fetched),
        2 => (0_u8..3, theirs(), 1_u8..5)
            .prop_map(|(to, theirs, own)| Try::Approve { to, theirs, own }),
        1 => (0_u8..3, theirs()).prop_map(|(to, theirs)| Try::Refuse { to, theirs }),
        4 => (1_u8..4, 0_u8..2, 0_u8..2).prop_map(|(own, by, intro)| Try::Redeem { own, by, intro }),
        1 => (0_u8..3, theirs(), 1_u8..5, 0_u8..2)
            .prop_map(|(to, theirs, own, by)| Try::ApproveBy { to, theirs, own, by }),
        1 => (0_u8..2).prop_map(Try::Await),
        1 => any::<bool>().prop_map(Try::Visible),
        4 => Just(Try::Together),
        1 => (0_u8..2, any::<bool>()).prop_map(|(user, attach)| Try::Login { user, attach }),
        1 => Just(Try::Again),
        2 => prop_oneof![1_u16..70, Just(15 * 60 + 1)].prop_map(Try::Wait),
    ];
    prop::collection::vec(one, 1..25)
}

/// Somebody's handle, at times the one that bob has for her.
fn theirs() -> impl Strategy<Value = u8> {
    prop_oneof![0_u8..4, Just(BOBS_HANDLE)]
}

fn called(number: u8) -> &'static str {
    ["bob", "dave", "alice"][usize::from(number)]
}

struct Alice<'a> {
    relay: &'a Running,
    key: &'a DhSecret,
    link: Client,
    began: Instant,
    seen: Arc<Mutex<Transcript>>,
}

impl<'a> Alice<'a> {
    async fn new(relay: &'a Running, key: &'a DhSecret) -> Self {
        let (began, seen) = (Instant::now(), Arc::default());
        let link = Self::dial(relay, key, began, &seen).await;
        let mut alice = Self { relay, key, link, began, seen };
        alice.link.say_attach().await;
        alice.settle().await;
        alice
    }

    async fn dial(
        relay: &Running,
        key: &DhSecret,
        began: Instant,
        seen: &Arc<Mutex<Transcript>>,
    ) -> Client {
        let tap = Tap { inner: relay.connect(), began, seen: Arc::clone(seen) };
        let mut link = Client::dial_over(relay, key, BoxedStream::new(tap)).await;
        link.hello().await;
        link
    }

    fn saw(&self, what: String) {
        self.seen.lock().unwrap().push((self.began.elapsed(), what));
    }

    /// Reads up to the answer to a ping.
    async fn settle(&mut self) {
        self.link.say(&ToRelay::Ping).await;
        loop {
            let frame = self.link.heard().await.expect("the link ended");
            self.saw(format!("{frame:?}"));
            if frame == FromRelay::Pong {
                return;
            }
        }
    }

    /// Never silent for so long that she would be pinged, which happens at random moments.
    async fn wait(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.link.say(&ToRelay::Pong).await;
            let until = end.min(Instant::now() + Duration::from_secs(20));
            while let Ok(frame) = timeout_at(until, self.link.heard()).await {
                let frame = frame.expect("the link ended");
                self.saw(format!("{frame:?}"));
            }
        }
    }

    async fn say(&mut self, frame: ToRelay<'_>, together: bool) {
        self.link.tx.push(&frame).unwrap();
        if !together {
            self.settle().await;
        }
    }

    async fn take(&mut self, attempt: &Try, together: bool) {
        let frame = match *attempt {
            Try::Ask { own, to, intro } => ToRelay::Ask(Ask {
                handle: handle(own),
                to: name(called(to)),
                intro: blob(&format!("intro {intro}")),
            }),
            Try::Send { own, number, ttl } => {
                let envelope = envelope(number.into());
                let mark = self.link.mark;
                let send = Send { handle: handle(own), ttl: ttl.into(), mark, envelope: &envelope };
                return self.say(ToRelay::Send(send), together).await;
            }
            Try::Burst { own, first, count } => {
                for number in 0..count {
                    let envelope = envelope(u32::from(first) * 1_000 + u32::from(number));
                    let (handle, mark) = (handle(own), self.link.mark);
                    let send = Send { handle, ttl: 0, mark, envelope: &envelope };
                    self.link.tx.push(&ToRelay::Send(send)).unwrap();
                }
                if !together {
                    self.settle().await;
                }
                return;
            }
            Try::Block(own) => ToRelay::Block(handle(own)),
            Try::Unblock(own) => ToRelay::Unblock(handle(own)),
            Try::Remove(own) => ToRelay::Remove(handle(own)),
            Try::Fetched(own) => ToRelay::Fetched(Fetched {
                handle: handle(own),
                approval: introduction::approval_id(b"yes"),
            }),
            Try::Approve { to, theirs, own } => ToRelay::Approve(Approve {
                to: name(called(to)),
                their_handle: handle(theirs),
                handle: handle(own),
                approval: blob("yes"),
                by: None,
                intro: introduction::id(b"intro 1"),
            }),
            Try::ApproveBy { to, theirs, own, by } => ToRelay::Approve(Approve {
                to: name(called(to)),
                their_handle: handle(theirs),
                handle: handle(own),
                approval: blob("yes"),
                by: Some(routing(by)),
                intro: introduction::id(b"sealed 1"),
            }),
            Try::Redeem { own, by, intro } => ToRelay::Redeem(Redeem {
                handle: handle(own),
                by: routing(by),
                intro: blob(&format!("sealed {intro}")),
            }),
            Try::Await(by) => ToRelay::Await(Await { links: vec![routing(by)] }),
            Try::Refuse { to, theirs } => {
                ToRelay::Refuse(Refuse { to: name(called(to)), their_handle: handle(theirs) })
            }
            Try::Visible(visible) => ToRelay::SetPresence(visible),
            Try::Together => return,
            Try::Login { user, attach } => return self.login(called(user), attach).await,
            Try::Again => {
                self.link = Self::dial(self.relay, self.key, self.began, &self.seen).await;
                self.link.say_attach().await;
                return self.settle().await;
            }
            Try::Wait(seconds) => return self.wait(Duration::from_secs(seconds.into())).await,
        };
        self.say(frame, together).await;
    }

    /// Guesses a password: the answers look the same up to the last, which is the same.
    async fn login(&mut self, user: &str, attach: bool) {
        let stranger = DhSecret::generate();
        let mut link = Self::dial(self.relay, &stranger, self.began, &self.seen).await;
        let password = ams_crypto::opaque::Password::new("a guess at it".to_owned()).unwrap();
        let ke1 = ams_crypto::opaque::ClientLogin::start(password).unwrap().1;
        link.say(&ToRelay::LoginStart(LoginStart { user: name(user), ke1 })).await;
        match link.answer().await {
            FromRelay::LoginResponse(ke2) => self.saw(format!("response of {}", ke2.len())),
            other => return self.saw(format!("{other:?}")),
        }
        if attach {
            link.say_attach().await;
        } else {
            link.say(&ToRelay::LoginFinish(LoginFinish { ke3: [3; 64] })).await;
        }
        while let Some(frame) = link.heard().await {
            self.saw(format!("{frame:?}"));
        }
    }
}

/// An account without the work of a password.
async fn enrol(accounts: &Arc<dyn Accounts>, who: &str, key: &DhSecret, now: u64) {
    let token = Token::generate().hash();
    let invite = OpenInvite { name: name(who), expires: now + 1_000 };
    accounts.create_invite(invite, token, false, 100).await.unwrap();
    let key = Key(*key.public().as_bytes());
    // A record that decodes, as a real one does.
    let record: accounts::Record = **RECORD;
    accounts.join(token, key, record, now, u64::MAX).await.unwrap().unwrap();
}

static RECORD: std::sync::LazyLock<Box<accounts::Record>> = std::sync::LazyLock::new(|| {
    use ams_crypto::opaque::{ClientRegistration, Password};
    let password = Password::new("nobody knows".to_owned()).unwrap();
    let (registration, request) = ClientRegistration::start(password).unwrap();
    let response = RelayAccounts::generate().unwrap().register(&name("bob"), &request).unwrap();
    Box::new(registration.finish(&response).unwrap())
});

/// What bob does, beside alice, until he is dropped.
async fn live(mut bob: Client, how: Bob) {
    while let Some(frame) = bob.heard().await {
        match frame {
            FromRelay::Request(request) if how == Bob::Refusing => {
                bob.say(&ToRelay::Refuse(Refuse {
                    to: request.from,
                    their_handle: request.their_handle,
                }))
                .await;
            }
            FromRelay::Redeemed(redeemed) if how == Bob::Refusing => {
                bob.say(&ToRelay::Refuse(Refuse {
                    to: redeemed.from,
                    their_handle: redeemed.their_handle,
                }))
                .await;
            }
            FromRelay::Ping => bob.say(&ToRelay::Pong).await,
            FromRelay::Deliver(_) => panic!("something was delivered without a contact"),
            _ => {}
        }
    }
}

async fn settle_in(
    relay: &Running,
    accounts: &Arc<dyn Accounts>,
    how: Bob,
    is_contact: bool,
) -> Option<Client> {
    let key = DhSecret::generate();
    if how == Bob::Nobody {
        return None;
    }
    enrol(accounts, "bob", &key, NOW).await;
    if is_contact {
        let (alice, bob) = (name("alice"), name("bob"));
        accounts.ask(&alice, handle(1), &bob, blob("intro"), NOW).await.unwrap().unwrap();
        let approval = accounts::Approval {
            by: bob.clone(),
            to: alice,
            their_handle: handle(1),
            handle: handle(BOBS_HANDLE),
            blob: blob("yes"),
            link: None,
            intro: introduction::id(b"intro"),
        };
        assert!(accounts.approve(approval, NOW).await.unwrap().theirs);
        match how {
            Bob::Blocking => drop(accounts.block(&bob, handle(BOBS_HANDLE), true).await.unwrap()),
            Bob::Removing | Bob::Refusing => {
                accounts.remove(&bob, handle(BOBS_HANDLE)).await.unwrap();
            }
            _ => {}
        }
    }
    match how {
        Bob::Nobody | Bob::Offline => return None,
        Bob::Disabled => {
            accounts.set_disabled(&name("bob"), true).await.unwrap();
            return None;
        }
        Bob::Deleted => {
            accounts.delete(&name("bob")).await.unwrap();
            return None;
        }
        Bob::Online | Bob::Refusing | Bob::Blocking | Bob::Removing | Bob::Invisible => {}
    }
    let (mut bob, _) = Client::again(relay, &key).await;
    bob.waits_on(&[routing(0)]).await;
    if how == Bob::Blocking && !is_contact {
        // He asked for alice once and then wanted nothing of her.
        bob.ask(handle(BOBS_HANDLE), "alice", "from bob").await;
        bob.say(&ToRelay::Block(handle(BOBS_HANDLE))).await;
        bob.answer().await;
    }
    if how == Bob::Invisible {
        bob.say(&ToRelay::SetPresence(false)).await;
        bob.answer().await;
    }
    Some(bob)
}

const NOW: u64 = 1_000_000;

/// All that alice sees in the world where bob is so.
fn world(how: Bob, is_contact: bool, leak: Option<Leak>, tries: &[Try]) -> Transcript {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::in_memory().unwrap();
        let accounts: Arc<dyn Accounts> = match leak {
            Some(leak) => Arc::new(Leaking { store, leak }),
            None => Arc::new(store),
        };
        let keys = Keys { link: DhSecret::generate(), opaque: RelayAccounts::generate().unwrap() };
        let mut config: Config = Config { clock: Clock::following(NOW), ..config() };
        // Small, so that alice reaches them.
        config.limits.asks_pending = 3;
        config.limits.asks_per_day = 6;
        config.limits.ask_interval = Duration::from_secs(1);
        config.limits.name_logins_per_hour = 2;
        config.limits.contact_held_messages = 8;
        config.limits.sender_held_messages = 40;
        config.limits.sender_held_bytes = 30 * 600;
        let relay = start_on(config, Arc::clone(&accounts), keys).await.unwrap();
        let bob = settle_in(&relay, &accounts, how, is_contact).await;
        let bob = bob.map(|bob| tokio::spawn(live(bob, how)));
        let key = DhSecret::generate();
        enrol(&accounts, "alice", &key, NOW).await;

        let mut alice = Alice::new(&relay, &key).await;
        for (place, attempt) in tries.iter().enumerate() {
            let together = matches!(tries.get(place + 1), Some(Try::Together));
            alice.take(attempt, together).await;
        }
        alice.settle().await;
        alice.wait(Duration::from_secs(70)).await;
        // What she is shown of her rows at the end.
        alice.take(&Try::Again, false).await;
        if let Some(bob) = bob {
            bob.abort();
            if let Err(error) = bob.await {
                assert!(error.is_cancelled(), "bob: {error}");
            }
        }
        alice.seen.lock().unwrap().clone()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn alice_cannot_tell_who_bob_is(tries in tries(), bob in 0..BOBS.len()) {
        let nobody = world(Bob::Nobody, false, None, &tries);
        let somebody = world(BOBS[bob], false, None, &tries);
        let difference = difference(&nobody, &somebody);
        prop_assert!(difference.is_none(), "{:?}: {}", BOBS[bob], difference.unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A contact who blocked her, took her off his list, was locked or is gone looks offline.
    #[test]
    fn alice_cannot_tell_why_bob_is_away(tries in tries(), bob in 0..GONE.len()) {
        let offline = world(Bob::Offline, true, None, &tries);
        let gone = world(GONE[bob], true, None, &tries);
        let difference = difference(&offline, &gone);
        prop_assert!(difference.is_none(), "{:?}: {}", GONE[bob], difference.unwrap());
    }
}

/// What she approves becomes her own row, whatever became of his.
#[test]
fn alice_cannot_tell_by_approving() {
    let approves = |theirs| {
        [
            Try::Approve { to: 0, theirs, own: 3 },
            Try::Together,
            Try::Block(3),
            Try::Unblock(3),
            Try::Send { own: 3, number: 7, ttl: 0 },
            Try::Ask { own: 3, to: 0, intro: 1 },
            Try::Again,
        ]
    };
    for how in GONE {
        let tries = approves(BOBS_HANDLE);
        let offline = world(Bob::Offline, true, None, &tries);
        let gone = world(how, true, None, &tries);
        assert_eq!(difference(&offline, &gone), None, "{how:?}");
    }
    for how in BOBS {
        let tries = approves(BOBS_HANDLE);
        let nobody = world(Bob::Nobody, false, None, &tries);
        let somebody = world(how, false, None, &tries);
        assert_eq!(difference(&nobody, &somebody), None, "{how:?}");
    }
}

/// A renewal that was declined is one that waits, on every link.
#[test]
fn alice_cannot_tell_that_bob_declined() {
    let asks = |intro| Try::Ask { own: 1, to: 0, intro };
    let tries = [
        asks(0),
        Try::Wait(1),
        Try::Again,
        asks(0),
        Try::Together,
        asks(1),
        Try::Wait(1),
        Try::Again,
    ];
    let offline = world(Bob::Offline, true, None, &tries);
    let refusing = world(Bob::Refusing, true, None, &tries);
    assert_eq!(difference(&offline, &refusing), None);
}

/// The control: a store that looks at who is asked is caught, whichever way it shows.
#[test]
fn a_leak_is_caught() {
    for leak in [Leak::Answer, Leak::Time, Leak::Rows, Leak::Link] {
        let mut runner = TestRunner::deterministic();
        let caught = (0..50).any(|_| {
            let tries = tries().new_tree(&mut runner).unwrap().current();
            let nobody = world(Bob::Nobody, false, Some(leak), &tries);
            let somebody = world(Bob::Online, false, Some(leak), &tries);
            difference(&nobody, &somebody).is_some()
        });
        assert!(caught, "{leak:?} was not seen");
    }
}

/// Answers come in the order of the questions, however they were sent.
#[test]
fn answers_keep_the_order_of_questions() {
    let tries = [
        Try::Ask { own: 1, to: 0, intro: 0 },
        Try::Together,
        Try::Block(4),
        Try::Together,
        Try::Remove(4),
        Try::Together,
        Try::Unblock(4),
    ];
    let answers: Vec<_> = world(Bob::Online, false, None, &tries)
        .into_iter()
        .filter(|(_, what)| what.starts_with("Done"))
        .map(|(_, what)| what)
        .collect();
    assert_eq!(answers, ["Done(Ok)", "Done(Refused)", "Done(Ok)", "Done(Refused)"]);
}
