//! What people write, want of it, decide about it, and delete.

use std::sync::Arc;
use std::time::Duration;

use ams_rpc::methods::{history, message, queue};
use ams_rpc::types::{
    HistoryClearParams, IfUndelivered, MessageId, MessageParams, Period, QueueParams, SendParams,
    Via,
};
use ams_tests::seed::Seed;

use super::books::{Said, Wish};
use super::person::{Person, Unanswered, name};
use super::story::{Kind, Story};

/// Lengths of messages, in bytes behind their first words.
const LENGTHS: [usize; 10] = [0, 0, 0, 0, 0, 0, 300, 300, 3_000, 40_000];
/// How long trying may take, in seconds.
const LIVES: [u64; 5] = [1, 5, 60, 600, 7_200];
const POLICIES: [IfUndelivered; 3] =
    [IfUndelivered::Ask, IfUndelivered::Keep, IfUndelivered::Discard];

fn wish(seed: &mut Seed) -> Wish {
    Wish {
        ttl: seed.one_in(3).then(|| Duration::from_secs(seed.pick(&LIVES))),
        key: seed.one_in(3).then(|| seed.pick(&["load", "disk"]).to_owned()),
        policy: seed.one_in(2).then(|| seed.pick(&POLICIES)),
        via: None,
    }
}

impl Story {
    /// Somebody writes to a contact, one message after the other; with wishes, not only that it
    /// arrives; steered, the one over a relay, the other without.
    pub(crate) fn say(&mut self, count: u64, kind: Kind) {
        let (pair, from, to) = self.two();
        let has_both = pair.direct.is_some() && pair.relay.is_some();
        let turn = self.turns[from][to].clone();
        // Many long ones are a matter of throughput, and take most of a run's time.
        let longest = if count > 6 { LENGTHS.len() - 1 } else { LENGTHS.len() };
        let length = self.seed.pick(&LENGTHS[..longest]);
        let mut messages = Vec::new();
        for _ in 0..count {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&self.seed.draw().to_be_bytes());
            id[8..].copy_from_slice(&self.next.to_be_bytes());
            let text = format!("{} to {} {}", name(from), name(to), self.next);
            self.next += 1;
            let wish = match kind {
                Kind::Wish => wish(&mut self.seed),
                Kind::Steer if has_both => {
                    let ways = [None, Some(false), Some(true)];
                    let way = self.seed.pick(&ways).map(|direct| match direct {
                        true => Via::Direct,
                        false => Via::Relay,
                    });
                    Wish { via: way, ..Wish::default() }
                }
                _ => Wish::default(),
            };
            messages.push((MessageId(id), text, wish));
        }
        let (world, is_hasty) = (self.world.clone(), self.is_hasty);
        tokio::spawn(async move {
            for (id, text, wish) in messages {
                let _turn = turn.lock().await;
                let body = format!("{text}{}", ".".repeat(length));
                let params = SendParams {
                    id: Some(id),
                    ttl: wish.ttl.map(Period),
                    key: wish.key.clone(),
                    if_undelivered: wish.policy,
                    via: wish.via.clone(),
                    ..SendParams::new(name(to), body.clone())
                };
                let said = Said { from, to, id, text: body, wish, accepted: false };
                let number = world.books.say(said);
                if is_hasty {
                    world.books.accept(number);
                    let _ = world.people[from].call::<message::Send>(&params).await;
                } else if world.people[from].insist::<message::Send>(&params).await.is_ok() {
                    world.books.accept(number);
                }
            }
        });
    }

    /// The user decides about what is not delivered: all of it, what is for one contact, or one.
    pub(crate) async fn decide(&mut self, person: &Arc<Person>) {
        let me = person.number;
        let friends = self.friends(me);
        let which = match self.seed.below(3) {
            _ if friends.is_empty() => return,
            0 => QueueParams { all: Some(true), ..QueueParams::default() },
            1 => {
                let to = Some(name(self.seed.pick(&friends)));
                QueueParams { to, ..QueueParams::default() }
            }
            _ => {
                let accepted = self.world.books.accepted().into_iter();
                let mine: Vec<_> =
                    accepted.filter(|said| said.from == me).map(|said| said.id).collect();
                if mine.is_empty() {
                    return;
                }
                QueueParams { ids: Some(vec![self.seed.pick(&mine)]), ..QueueParams::default() }
            }
        };
        let _: Result<_, Unanswered> = match self.seed.below(5) {
            0 => {
                friends.iter().for_each(|friend| self.world.books.drop_some(me, *friend));
                person.call::<queue::Discard>(&which).await
            }
            1 | 2 => person.call::<queue::Keep>(&which).await,
            _ => person.call::<queue::Retry>(&which).await,
        };
    }

    /// Somebody deletes what was said with a contact, or one message of it.
    pub(crate) fn delete(&mut self) {
        let (_, who, whom) = self.two();
        let accepted = self.world.books.accepted().into_iter();
        let between = [(who, whom), (whom, who)];
        let theirs: Vec<_> = accepted
            .filter(|said| between.contains(&(said.from, said.to)))
            .map(|said| said.id)
            .collect();
        let one = (!theirs.is_empty() && self.seed.one_in(2)).then(|| self.seed.pick(&theirs));
        let world = self.world.clone();
        tokio::spawn(async move {
            // What comes before it is done may be deleted as well, and its answer may be lost.
            world.books.delete(who, whom);
            let person = &world.people[who];
            let _ = match one {
                Some(id) => {
                    let params = MessageParams { id, contact: None };
                    person.insist::<message::Delete>(&params).await.map(|_| ())
                }
                None => {
                    let params = HistoryClearParams { contact: name(whom) };
                    person.insist::<history::Clear>(&params).await.map(|_| ())
                }
            };
            world.books.delete(who, whom);
        });
    }
}
