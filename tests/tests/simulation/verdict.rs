//! Everything is mended and time goes on. Then what must be so is looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use ams_rpc::methods::{contact, history, message, presence, queue, relay};
use ams_rpc::types::{
    ContactParams, ContactState, HistoryParams, IfUndelivered, LinkState, MessageId, MessageParams,
    MessageSteps, NoParams, PresenceParams, QueueListParams, QueueParams, State, Visibility,
};
use amsd::settings::{History, Undeliverable};
use tokio::time::{sleep, timeout};

use super::books::{Said, brief, life};
use super::contacts::{ask_again, give_plain_name, is_known, name_of, pair_key, unblock};
use super::person::{Person, name};
use super::story::Story;

/// After the mending all links come up again within this.
const CALM: Duration = Duration::from_secs(180);
/// Nothing takes longer than this: what waits is asked for at least once an hour.
const QUIET: Duration = Duration::from_secs(4 * 3600);
const LOOK: Duration = Duration::from_secs(20);
/// Whoever has no answer asks again after this.
pub(crate) const ASK_AGAIN: Duration = Duration::from_secs(20 * 60);

/// How many messages `person` has of `whom`, who may be removed.
pub(crate) async fn taken_from(person: &Person, whom: usize) -> usize {
    let params = HistoryParams { limit: Some(1000), ..HistoryParams::default() };
    let shown = person.insist::<history::List>(&params).await;
    let messages = shown.map(|shown| shown.messages).unwrap_or_default();
    messages.iter().filter(|message| name_of(&message.from) == name(whom)).count()
}

impl Story {
    /// Mends everything, waits until all is quiet, and says what is wrong.
    pub(crate) async fn verdict(&mut self) -> Vec<String> {
        self.mend().await;
        sleep(CALM).await;
        let mut wrong = self.links_that_are_not_up().await;
        let mut rested = Duration::ZERO;
        let unmet = self.unmet().await;
        self.tell(|| format!("all is mended; not met: {unmet:?}"));
        let mut fates = BTreeMap::new();
        let mut asked = Duration::ZERO;
        let mut open = self.open_ends(&mut fates).await;
        let mut has_decided = false;
        while !open.is_empty() && rested < QUIET {
            // Once whoever was removed is a contact again, one more try is enough.
            if !has_decided && self.unmet().await.is_empty() {
                has_decided = true;
                if self.retries {
                    self.retry_all().await;
                }
            }
            sleep(LOOK).await;
            rested += LOOK;
            if rested >= asked + ASK_AGAIN {
                asked = rested;
                // As `amsctl status` says: what was made by a clock that is far behind has expired.
                self.world.people.iter().for_each(|person| person.set_clock());
                self.ask_whoever_did_not_answer().await;
            }
            open = self.open_ends(&mut fates).await;
        }
        wrong.extend(open);
        wrong.extend(self.world.books.balance(&fates, name, |from, to| self.in_order(from, to)));
        wrong.extend(self.world.books.faults());
        wrong.extend(self.acquaintances_of_strangers().await);
        wrong
    }

    /// For how long what is between the two keeps a message in its order; `None`: for no time.
    fn in_order(&self, from: usize, to: usize) -> Option<Duration> {
        let two = (from.min(to), from.max(to));
        let pair = self.pairs.iter().find(|pair| pair_key(**pair) == two);
        if pair.is_some_and(|pair| pair.relay.is_none()) {
            // Without a relay nothing is given up in between.
            return Some(Duration::MAX);
        }
        (!self.has_lies).then_some(self.window)
    }

    /// What a user does who sees for twenty minutes that somebody is pending.
    async fn ask_whoever_did_not_answer(&self) {
        for pair in self.unmet().await {
            self.tell(|| format!("{pair:?} ask again"));
            ask_again(&self.world, pair).await;
        }
    }

    /// Who does not know each other yet.
    async fn unmet(&self) -> Vec<super::contacts::Pair> {
        let mut unmet = Vec::new();
        for pair in &self.pairs {
            for (who, whom) in [(pair.asker, pair.asked), (pair.asked, pair.asker)] {
                let params = ContactParams { name: name(whom) };
                let shown = self.world.people[who].insist::<contact::Show>(&params).await;
                if !shown.is_ok_and(|shown| shown.state == ContactState::Active) {
                    give_plain_name(&self.world.people[who], whom).await;
                    unmet.push(*pair);
                    break;
                }
            }
        }
        unmet
    }

    /// Nobody has anything with a stranger but a question.
    async fn acquaintances_of_strangers(&self) -> Vec<String> {
        let Some(stranger) = self.stranger else { return Vec::new() };
        let mut wrong = Vec::new();
        for person in self.world.people.iter().filter(|person| person.number != stranger) {
            if is_known(person, stranger).await {
                wrong.push(format!("{} has a stranger for a contact", person.name));
            }
            if taken_from(person, stranger).await > 0 {
                wrong.push(format!("{} has something of a stranger", person.name));
            }
        }
        wrong
    }

    async fn mend(&mut self) {
        let world = &self.world;
        world.net.heal();
        world.relays.iter().for_each(|relay| relay.heal());
        world.people.iter().for_each(|person| person.disk.heal());
        // Outages that are under way end, and what is under way with them.
        sleep(Duration::from_secs(700)).await;
        world.net.heal();
        world.relays.iter().for_each(|relay| relay.heal());
        for relay in &world.relays {
            let up = timeout(Duration::from_secs(3600), relay.up()).await;
            assert!(up.is_ok(), "a relay does not start any more");
        }
        for person in &world.people {
            person.disk.heal();
            let visible = PresenceParams { presence: Visibility::Visible };
            person.insist::<presence::Set>(&visible).await.unwrap();
        }
        for pair in &self.pairs {
            for (who, whom) in [(pair.asker, pair.asked), (pair.asked, pair.asker)] {
                unblock(world, who, whom).await;
            }
        }
        for slow in self.slow_readers() {
            *slow.lock().unwrap() = Duration::ZERO;
        }
        self.mend_lines().await;
    }

    async fn retry_all(&self) {
        let all = QueueParams { all: Some(true), ..QueueParams::default() };
        for person in &self.world.people {
            person.insist::<queue::Retry>(&all).await.unwrap();
        }
    }

    async fn links_that_are_not_up(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for person in &self.world.people {
            let shown = person.insist::<relay::List>(&NoParams {}).await.unwrap();
            for link in shown.relays.iter().take(self.world.relays.len()) {
                if link.state != LinkState::Up {
                    let why = link.reason.clone().unwrap_or_default();
                    wrong
                        .push(format!("{} at {} is {}: {why}", person.name, link.name, link.state));
                }
            }
        }
        wrong
    }

    /// What has not come to an end, or to one that must not be.
    async fn open_ends(
        &self,
        fates: &mut BTreeMap<MessageId, Option<MessageSteps>>,
    ) -> Vec<String> {
        let unmet = self.unmet().await.into_iter();
        let mut open: Vec<_> =
            unmet.map(|pair| format!("{pair:?} do not know each other")).collect();
        open.extend(self.lines_that_are_not_up().await);
        for said in self.world.books.accepted() {
            let known = fates.get(&said.id).and_then(Option::as_ref);
            if !known.is_some_and(|message| message.message.state.is_final()) {
                fates.insert(said.id, self.fate(&said).await);
            }
            if let Err(why) = self.is_over(&said, fates[&said.id].as_ref()).await {
                open.push(why);
            }
        }
        open
    }

    async fn fate(&self, said: &Said) -> Option<MessageSteps> {
        let params = MessageParams { id: said.id, contact: None };
        let shown = self.world.people[said.from].insist::<message::Show>(&params).await;
        shown.ok()?.messages.into_iter().next()
    }

    /// What becomes of a message when it cannot be delivered, unless its sender decides.
    fn policy(&self, said: &Said) -> IfUndelivered {
        said.wish.policy.unwrap_or(self.settings[said.from].undeliverable.into())
    }

    /// Whether it may have ended without arriving.
    fn may_end(&self, said: &Said) -> bool {
        let books = &self.world.books;
        self.policy(said) == Undeliverable::Discard.into()
            || said.wish.ttl.is_some()
            || books.is_replaced(said)
            || books.may_be_dropped(said)
    }

    async fn is_over(&self, said: &Said, fate: Option<&MessageSteps>) -> Result<(), String> {
        let (text, books) = (brief(&said.text), &self.world.books);
        let is_shown = books.is_shown(said);
        let Some(fate) = fate else {
            let forgets =
                self.settings[said.from].history != History::Forever || books.may_be_gone(said);
            let fits = forgets && (is_shown || self.may_end(said));
            return if fits { Ok(()) } else { Err(format!("`{text}` was accepted and is gone")) };
        };
        let was_undelivered = fate.steps.iter().any(|step| step.what == "undelivered");
        if was_undelivered && self.policy(said) != IfUndelivered::Ask {
            return Err(format!("`{text}` was undelivered, and nobody had to be asked"));
        }
        let by_right = match fate.message.state {
            // Where it arrived, its reader has it.
            State::Delivered | State::Read => is_shown,
            State::Discarded => {
                self.policy(said) == IfUndelivered::Discard || books.may_be_dropped(said)
            }
            State::Expired => said.wish.ttl.is_some(),
            State::Replaced => books.is_replaced(said),
            // One that may go one way only stays so where the two met again over another.
            State::Undelivered => {
                (!self.retries || said.wish.via.is_some()) && self.is_listed(said).await
            }
            State::Queued | State::Sent | State::Waiting => false,
        };
        if by_right {
            return Ok(());
        }
        let shown = if is_shown { "was" } else { "was not" };
        Err(format!(
            "`{text}` is {} for ever, and {shown} shown:{}",
            fate.message.state,
            life(fate)
        ))
    }

    /// Whether its sender sees that it waits for a decision.
    async fn is_listed(&self, said: &Said) -> bool {
        let params = QueueListParams { to: Some(name(said.to)), ..QueueListParams::default() };
        let listed = self.world.people[said.from].insist::<queue::List>(&params).await;
        listed.is_ok_and(|listed| {
            listed.more || listed.messages.iter().any(|queued| queued.message.id == said.id)
        })
    }
}
