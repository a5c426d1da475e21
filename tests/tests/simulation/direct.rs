//! People without a relay between them: who listens, who meets whom that way, and what becomes of it.

use std::time::Duration;

use ams_rpc::methods::peer;
use ams_rpc::types::{LinkState, NoParams, PeerConnectParams, PeerParams};
use ams_tests::seed::Seed;
use ams_wire::address::{HostPort, Link, PeerLink};
use ams_wire::id::Key;
use amsd::settings::{Direct as Offers, Settings};
use tokio::time::{sleep, timeout};

use super::contacts::{Pair, is_known, name_of, until_active};
use super::person::{Person, Unanswered, name};
use super::story::{Kind, Story};
use super::trouble::later;
use super::verdict::ASK_AGAIN;
use super::world::World;

/// What can happen where people have direct links, and how often.
const KINDS: [(Kind, u64); 9] = [
    (Kind::LineCut, 12),
    (Kind::LineCutSoon, 16),
    (Kind::LineHalfOpen, 8),
    (Kind::LinePart, 8),
    (Kind::LineSlow, 6),
    (Kind::Move, 6),
    (Kind::Disconnect, 8),
    (Kind::DialBoth, 8),
    (Kind::Steer, 12),
];
/// Nobody moves more often: of what moves without end a daemon dials only so much.
const MOST_MOVES: u8 = 6;
/// Whoever is not there is dialled again after this.
const TRY_AGAIN: Duration = Duration::from_secs(20);
/// And no more after so many times.
const TRIES: u32 = 100;

/// Who meets whom without a relay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meets {
    /// Who dials.
    pub(crate) dials: usize,
    /// Who listens.
    pub(crate) listens: usize,
    /// The other one does, too, and dials at the same time.
    pub(crate) both: bool,
    /// Before they meet at any relay.
    pub(crate) first: bool,
}

/// Who listens and who tells contacts so, in a run that has direct links. It has a seed of its own: what
/// happens where only relays are stays the same.
pub(crate) struct Plan {
    seed: Seed,
    listens: Vec<bool>,
    offers: Vec<bool>,
}

impl Plan {
    /// For so many people, the last of whom may be a stranger; `None`: this run has relays alone.
    pub(crate) fn draw(number: u64, people: usize, stranger: Option<usize>) -> Option<Self> {
        let mut seed = Seed::new(number ^ 0x0064_6972_6563_7400);
        if seed.one_in(3) {
            return None;
        }
        let known = |person: usize| stranger != Some(person);
        let mut listens: Vec<_> =
            (0..people).map(|person| seed.below(3) > 0 && known(person)).collect();
        let one = seed.place(people - usize::from(stranger.is_some()));
        listens[one] = true;
        let somebody = seed.one_in(2);
        let offers = (0..people).map(|_| seed.below(4) > 0 && somebody).collect();
        Some(Self { seed, listens, offers })
    }

    /// Whether somebody listens.
    pub(crate) fn listens(&self, person: usize) -> bool {
        self.listens[person]
    }

    /// What everybody's config says beyond the rest.
    pub(crate) fn set(&self, settings: &mut [Settings]) {
        for (settings, offers) in settings.iter_mut().zip(&self.offers) {
            settings.direct = if *offers { Offers::Contacts } else { Offers::Off };
        }
    }

    /// What can happen in this run.
    pub(crate) fn kinds(&mut self) -> Vec<(Kind, u64)> {
        KINDS.into_iter().filter(|_| self.seed.one_in(2)).collect()
    }

    /// Of those who meet, some do so without a relay, or both ways.
    pub(crate) fn join(&mut self, pairs: &mut [Pair]) {
        for pair in pairs {
            let (mut dials, mut listens) = (pair.asker, pair.asked);
            if self.seed.one_in(2) {
                (dials, listens) = (listens, dials);
            }
            if !self.listens[listens] {
                (dials, listens) = (listens, dials);
            }
            let (way, both) = (self.seed.below(6), self.seed.one_in(3));
            if !self.listens[listens] || way == 0 {
                continue;
            }
            let (both, first) = (both && self.listens[dials], way > 3);
            pair.direct = Some(Meets { dials, listens, both, first });
            if way < 3 {
                (pair.relay, pair.second) = (None, None);
            }
        }
    }

    /// Whether the two find a direct way without their users, once they are contacts over a relay.
    fn is_offered(&self, pair: &Pair) -> bool {
        let two = [pair.asker, pair.asked];
        pair.relay.is_some()
            && two.iter().all(|one| self.offers[*one])
            && two.iter().any(|one| self.listens[*one])
    }
}

/// The link that somebody hands out.
fn link_of(world: &World, whom: usize) -> String {
    let at = HostPort::from_socket(world.net.street().address(whom));
    let identity = Key(*world.people[whom].me().as_bytes());
    Link::Peer(PeerLink { at, identity }).to_string()
}

fn connecting(address: String, local: Option<String>) -> PeerConnectParams {
    PeerConnectParams { address, local, fingerprint: None, accept_new: None }
}

/// The one dials the other by the link that it has now, once.
pub(crate) async fn dial(world: &World, who: usize, whom: usize) -> Result<(), Unanswered> {
    let person = &world.people[who];
    let local = (!is_known(person, whom).await).then(|| name(whom));
    let params = connecting(link_of(world, whom), local);
    person.call::<peer::Connect>(&params).await.map(|_| ())
}

/// The same, as long as nobody answers there.
pub(crate) async fn connect(world: &World, who: usize, whom: usize) {
    for _ in 0..TRIES {
        if dial(world, who, whom).await.is_ok() {
            return;
        }
        sleep(TRY_AGAIN).await;
    }
}

/// A user who wants a direct link that there was before.
pub(crate) async fn connect_again(person: &Person, whom: usize) {
    let _ = person.insist::<peer::Connect>(&connecting(name(whom), None)).await;
}

/// The two meet without a relay, and know each other when it is done.
pub(crate) async fn meet_directly(world: &World, Meets { dials, listens, both, .. }: Meets) {
    loop {
        if both {
            tokio::join!(connect(world, dials, listens), connect(world, listens, dials));
        } else {
            connect(world, dials, listens).await;
        }
        let know_each_other = async {
            until_active(&world.people[dials], listens).await;
            until_active(&world.people[listens], dials).await;
        };
        if timeout(ASK_AGAIN, know_each_other).await.is_ok() {
            return;
        }
    }
}

/// Whether somebody has a direct link to somebody now; why not.
async fn has_link(person: &Person, whom: usize) -> Result<(), String> {
    let listed = person.insist::<peer::List>(&NoParams {}).await.unwrap();
    let found = listed.peers.into_iter().find(|peer| name_of(&peer.name) == name(whom));
    let Some(found) = found else { return Err("there is no direct way".to_owned()) };
    if found.state == LinkState::Up {
        return Ok(());
    }
    Err(format!("it is {}: {}", found.state, found.reason.unwrap_or_default()))
}

impl Story {
    /// Something happens to the line between two people.
    pub(crate) fn break_line(&mut self, kind: Kind, outage: Duration) {
        let (_, one, other) = self.two();
        self.tell(|| format!("  between {} and {}", name(one), name(other)));
        let net = self.world.net.clone();
        match kind {
            Kind::LineCut => net.street().cut(one, Some(other)),
            Kind::LineCutSoon => {
                let frames = u32::try_from(self.seed.below(24)).unwrap();
                // In the middle of what is said, or of how the next one begins.
                if self.seed.one_in(2) {
                    net.street().cut(one, Some(other));
                }
                net.street().cut_soon(one, other, frames);
            }
            Kind::LineHalfOpen => net.street().half_open(one, other, self.seed.one_in(2)),
            Kind::LinePart => {
                net.street().part(one, other, true);
                later(outage, move || net.street().part(one, other, false));
            }
            Kind::LineSlow => {
                let latency = Duration::from_millis(self.seed.pick(&[20, 200, 1_000, 2_000]));
                net.street().slow(one, other, latency);
                later(outage, move || net.street().slow(one, other, super::net::CLEAR.latency));
            }
            other => panic!("{other:?} is none of a line's"),
        }
    }

    /// Somebody's machine is carried elsewhere.
    pub(crate) fn move_away(&mut self, who: usize) {
        let person = self.world.people[who].clone();
        let (in_order, quietly) = (self.seed.one_in(2), self.seed.one_in(2));
        if !self.world.net.street().move_away(who, MOST_MOVES) {
            return;
        }
        if in_order {
            tokio::spawn(async move { person.stop().await });
        } else {
            person.crash(quietly);
        }
    }

    /// Somebody ends the direct link to a contact, and mostly takes that back.
    pub(crate) fn disconnect(&mut self, outage: Duration) {
        let (_, who, whom) = self.two();
        let is_taken_back = self.seed.below(4) > 0;
        self.tell(|| format!("  {} disconnects {}", name(who), name(whom)));
        let world = self.world.clone();
        tokio::spawn(async move {
            let person = &world.people[who];
            let params = PeerParams { name: name(whom) };
            let ended = person.insist::<peer::Disconnect>(&params).await;
            if ended.is_ok() && is_taken_back {
                sleep(outage).await;
                connect_again(person, whom).await;
            }
        });
    }

    /// Two lose their link, and both dial in the same moment.
    pub(crate) fn dial_both(&mut self) {
        let (_, one, other) = self.two();
        self.tell(|| format!("  {} and {} dial each other", name(one), name(other)));
        let world = self.world.clone();
        tokio::spawn(async move {
            world.net.street().cut(one, Some(other));
            let people = &world.people;
            tokio::join!(connect_again(&people[one], other), connect_again(&people[other], one));
        });
    }

    /// What users do in the end: whoever was disconnected is wanted again, and who has moved to where
    /// nobody is told hands out another link.
    pub(crate) async fn mend_lines(&self) {
        let Some(plan) = &self.plan else { return };
        let world = &self.world;
        for pair in &self.pairs {
            for (who, whom) in [(pair.asker, pair.asked), (pair.asked, pair.asker)] {
                connect_again(&world.people[who], whom).await;
            }
            if let Some(meets) = pair.direct
                && !plan.is_offered(pair)
                && world.net.street().has_moved(meets.listens)
            {
                connect(world, meets.dials, meets.listens).await;
            }
        }
    }

    /// Who should have a direct link and has none.
    pub(crate) async fn lines_that_are_not_up(&self) -> Vec<String> {
        let Some(plan) = &self.plan else { return Vec::new() };
        let mut wrong = Vec::new();
        for pair in self.pairs.iter().filter(|pair| pair.direct.is_some() || plan.is_offered(pair))
        {
            for (who, whom) in [(pair.asker, pair.asked), (pair.asked, pair.asker)] {
                if let Err(why) = has_link(&self.world.people[who], whom).await {
                    wrong.push(format!("{} has no link to {}: {why}", name(who), name(whom)));
                }
            }
        }
        wrong
    }
}
