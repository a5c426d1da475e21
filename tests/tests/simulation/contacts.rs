//! Who knows whom: asking and answering, over one relay or two; blocking; removing and meeting
//! again; and strangers, whom nobody approves.

use std::sync::Arc;
use std::time::Duration;

use ams_rpc::methods::{contact, message};
use ams_rpc::types::{
    ContactAcceptParams, ContactAddParams, ContactParams, ContactRenameParams, ContactState,
    NoParams, SendParams,
};
use ams_tests::seed::Seed;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::direct::{Meets, dial, meet_directly};
use super::person::{Person, name};
use super::story::Story;
use super::verdict::taken_from;
use super::world::{World, called, nick};

/// Between two looks at who asked.
const LOOK: Duration = Duration::from_secs(30);

/// Lets a contact write again, if it was blocked.
pub(crate) async fn unblock(world: &World, who: usize, whom: usize) {
    world.books.note_unblocking(who, whom);
    let params = ContactParams { name: name(whom) };
    let _ = world.people[who].insist::<contact::Unblock>(&params).await;
    world.books.note_unblocking(who, whom);
}

/// Two who write to each other, and where they met.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    /// Who asked.
    pub(crate) asker: usize,
    /// Who was asked.
    pub(crate) asked: usize,
    /// At which relay.
    pub(crate) relay: Option<usize>,
    /// And at which one after that.
    pub(crate) second: Option<usize>,
    /// And without any.
    pub(crate) direct: Option<Meets>,
}

/// Whose contact a local name is: `bob@r1` is bob at another relay, not yet known to be the same, and
/// so is whoever is called after bob's fingerprint.
pub(crate) fn name_of(local: &str) -> &str {
    let name = local.split('@').next().unwrap_or(local);
    called(name).unwrap_or(name)
}

/// Who meets whom, where.
pub(crate) fn pairs(seed: &mut Seed, people: usize, relays: usize) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut pair = |seed: &mut Seed, asker, asked| {
        let relay = seed.place(relays);
        let second = (relays > 1 && seed.one_in(2)).then_some(1 - relay.min(1));
        pairs.push(Pair { asker, asked, relay: Some(relay), second, direct: None });
    };
    for asked in 1..people {
        // Everybody has met somebody.
        let asker = seed.place(asked);
        pair(seed, asker, asked);
        for other in (0..asked).filter(|other| *other != asker) {
            if seed.one_in(3) {
                pair(seed, asked, other);
            }
        }
    }
    pairs
}

/// The one asks the other at a relay, as often as it likes.
pub(crate) async fn ask(world: &World, asker: usize, asked: usize, relay: usize) {
    let address = format!("{}@{}", name(asked), nick(relay));
    let params = ContactAddParams { address, local: None };
    if let Err(failure) = world.people[asker].insist::<contact::Add>(&params).await {
        world.books.wrong(format!("{} cannot ask {}: {failure}", name(asker), name(asked)));
    }
}

/// Both ask, where they met.
pub(crate) async fn ask_again(world: &World, pair: Pair) {
    if let Some(relay) = pair.relay {
        ask(world, pair.asker, pair.asked, relay).await;
        ask(world, pair.asked, pair.asker, relay).await;
    }
    if let Some(meets) = pair.direct {
        // That it does not work shows in the end.
        let _ = dial(world, meets.dials, meets.listens).await;
    }
}

/// The one asks the other, at one relay after the other, or without any, until they know each other.
async fn befriend(world: &World, pair: Pair) {
    let Pair { asker, asked, .. } = pair;
    if let Some(meets) = pair.direct.filter(|meets| meets.first) {
        meet_directly(world, meets).await;
    }
    if let Some(relay) = pair.relay {
        ask(world, asker, asked, relay).await;
        until_active(&world.people[asker], asked).await;
        until_active(&world.people[asked], asker).await;
    }
    if let Some(second) = pair.second {
        ask(world, asker, asked, second).await;
    }
    if let Some(meets) = pair.direct.filter(|meets| !meets.first) {
        meet_directly(world, meets).await;
    }
}

/// Resolves when a contact can be written to.
pub(crate) async fn until_active(person: &Person, other: usize) {
    let params = ContactParams { name: name(other) };
    loop {
        match person.call::<contact::Show>(&params).await {
            Ok(shown) if shown.state == ContactState::Active => return,
            _ => {
                give_plain_name(person, other).await;
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Whether somebody is a contact, by whatever name.
pub(crate) async fn is_known(person: &Person, other: usize) -> bool {
    let listed = person.insist::<contact::List>(&NoParams {}).await.unwrap();
    listed.contacts.iter().any(|known| name_of(&known.name) == name(other))
}

/// Somebody who was asked at a second relay before it was known that both are the same, and whom the
/// first of the two contacts was removed of, is called `bob@r1` since.
pub(crate) async fn give_plain_name(person: &Person, other: usize) {
    let plain = name(other);
    let Ok(listed) = person.call::<contact::List>(&NoParams {}).await else { return };
    let mut same = listed.contacts.iter().filter(|known| name_of(&known.name) == plain);
    if same.clone().any(|known| known.name == plain) {
        return;
    }
    if let Some(known) = same.find(|known| known.state == ContactState::Active) {
        let params = ContactRenameParams { name: known.name.clone(), new: plain };
        let _ = person.call::<contact::Rename>(&params).await;
    }
}

/// A user who says yes to friends, and to others no, or nothing.
pub(crate) async fn answer(world: Arc<World>, who: usize, friends: Vec<usize>, mut chance: Seed) {
    let person = &world.people[who];
    loop {
        person.up().await;
        let requests = person.call::<contact::Requests>(&NoParams {}).await;
        for request in requests.map(|requests| requests.incoming).unwrap_or_default() {
            let from = if request.from == "direct" { &request.name } else { &request.from };
            if friends.iter().any(|friend| name(*friend) == name_of(from)) {
                let local = called(from).filter(|_| !request.again).map(str::to_owned);
                let mut params = ContactAcceptParams { name: request.id, local };
                let accepted = person.call::<contact::Accept>(&params).await;
                // The name may be that of a contact at a relay, not yet known to be the same.
                if accepted.is_err() && params.local.take().is_some() {
                    let _ = person.call::<contact::Accept>(&params).await;
                }
            } else if chance.one_in(8) {
                let _ = person.call::<contact::Reject>(&ContactParams { name: request.id }).await;
            }
        }
        sleep(LOOK).await;
    }
}

impl Story {
    /// Whom somebody answers.
    pub(crate) fn friends(&self, who: usize) -> Vec<usize> {
        let both = self
            .pairs
            .iter()
            .flat_map(|pair| [(pair.asker, pair.asked), (pair.asked, pair.asker)].into_iter());
        both.filter(|(of, _)| *of == who).map(|(_, other)| other).collect()
    }

    /// Whoever shall know each other asks and is answered: before anything goes wrong, or while it
    /// does.
    pub(crate) async fn meet(&mut self) {
        let begin = |pair| {
            let world = self.world.clone();
            let met = self.met[&(pair_key(pair))].clone();
            async move {
                let _turn = met.lock().await;
                befriend(&world, pair).await;
            }
        };
        let meetings: Vec<_> = self.pairs.iter().map(|pair| tokio::spawn(begin(*pair))).collect();
        if self.is_early {
            return;
        }
        for meeting in meetings {
            if timeout(Duration::from_secs(600), meeting).await.is_err() {
                self.world.books.wrong("not all have met within ten minutes".to_owned());
            }
        }
    }

    /// Two of a pair, in one order or the other.
    pub(crate) fn two(&mut self) -> (Pair, usize, usize) {
        let pair = self.seed.pick(&self.pairs);
        match self.seed.one_in(2) {
            true => (pair, pair.asker, pair.asked),
            false => (pair, pair.asked, pair.asker),
        }
    }

    /// Somebody blocks a contact for a while. What comes from it meanwhile must not be taken; what
    /// came before the relay knew comes again in its own time, whatever came after.
    pub(crate) fn block(&mut self, outage: Duration) {
        let (_, who, whom) = self.two();
        self.tell(|| format!("  {} blocks {}", name(who), name(whom)));
        let world = self.world.clone();
        let params = ContactParams { name: name(whom) };
        tokio::spawn(async move {
            let person = &world.people[who];
            world.books.begin_disorder(whom, who);
            let unblocked = world.books.unblockings(who, whom);
            if person.insist::<contact::Block>(&params).await.is_ok() {
                let before = taken_from(person, whom).await;
                sleep(outage).await;
                let after = taken_from(person, whom).await;
                // Unless another block of the same two ended, or it was removed meanwhile.
                let shown = person.insist::<contact::Show>(&params).await;
                let still = shown.is_ok_and(|contact| contact.state == ContactState::Blocked);
                let still = still && world.books.unblockings(who, whom) == unblocked;
                if still && after > before {
                    let wrong =
                        format!("{} took something of {}, who is blocked", person.name, name(whom));
                    world.books.wrong(wrong);
                }
                unblock(&world, who, whom).await;
            }
            world.books.end_disorder(whom, who);
        });
    }

    /// Somebody removes a contact, takes nothing of it for a while, and one of the two asks again.
    pub(crate) fn remove(&mut self, outage: Duration) {
        let (pair, who, whom) = self.two();
        let again = if self.seed.one_in(2) { (who, whom) } else { (whom, who) };
        self.tell(|| format!("  {} removes {}", name(who), name(whom)));
        let (world, met) = (self.world.clone(), self.met[&pair_key(pair)].clone());
        let params = ContactParams { name: name(whom) };
        tokio::spawn(async move {
            // One after the other: they may be meeting just now.
            let _turn = met.lock().await;
            let person = &world.people[who];
            for (from, to) in [(who, whom), (whom, who)] {
                world.books.begin_disorder(from, to);
            }
            world.books.drop_some(who, whom);
            if person.insist::<contact::Remove>(&params).await.is_ok() {
                // Met again, it is blocked no more.
                world.books.note_unblocking(who, whom);
                let before = taken_from(person, whom).await;
                sleep(outage).await;
                let after = taken_from(person, whom).await;
                // The other may have asked for fresh keys, and was taken for somebody who asks; or was
                // asked at a second relay before, and answers now.
                if !is_known(person, whom).await && after > before {
                    let wrong =
                        format!("{} took something of {}, who is removed", person.name, name(whom));
                    world.books.wrong(wrong);
                }
            }
            let (asker, asked) = again;
            befriend(&world, Pair { asker, asked, ..pair }).await;
            for (from, to) in [(who, whom), (whom, who)] {
                world.books.end_disorder(from, to);
            }
        });
    }

    /// A stranger asks somebody, and writes without waiting for an answer.
    pub(crate) fn intrude(&mut self) {
        let Some(stranger) = self.stranger else { return };
        let whom = self.seed.place(self.world.people.len() - 1);
        let relay = self.seed.place(self.world.relays.len());
        let directly = self.plan.is_some() && self.seed.one_in(2);
        let world = self.world.clone();
        tokio::spawn(async move {
            if directly {
                let _ = dial(&world, stranger, whom).await;
            } else {
                ask(&world, stranger, whom, relay).await;
            }
            let params = SendParams::new(name(whom), "let me in");
            let sent = world.people[stranger].insist::<message::Send>(&params).await;
            if sent.is_ok() {
                world.books.wrong(format!("a stranger may write to {}", name(whom)));
            }
        });
    }
}

/// What a pair is found by, whoever asked.
pub(crate) fn pair_key(pair: Pair) -> (usize, usize) {
    (pair.asker.min(pair.asked), pair.asker.max(pair.asked))
}

/// For each pair, who meets or parts just now.
pub(crate) type Met = std::collections::BTreeMap<(usize, usize), Arc<Mutex<()>>>;
