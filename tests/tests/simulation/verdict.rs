//! Everything is mended and time goes on. Then what must be so is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ams_rpc::methods::{contact, history, message, presence, queue, relay};
use ams_rpc::types::{
    ContactParams, HistoryParams, LinkState, MessageId, MessageParams, MessageSteps, NoParams,
    PresenceParams, QueueParams, State, Visibility,
};
use tokio::time::sleep;

use super::books::{Said, brief, life};
use super::person::{Person, name};
use super::story::Story;

/// After the mending all links come up again within this.
const CALM: Duration = Duration::from_secs(180);
/// Nothing takes longer than this: what waits is asked for at least once an hour.
const QUIET: Duration = Duration::from_secs(4 * 3600);
const LOOK: Duration = Duration::from_secs(20);

/// How many messages `person` has of `whom`.
pub(crate) async fn taken_from(person: &Person, whom: usize) -> usize {
    let params =
        HistoryParams { contact: Some(name(whom)), limit: Some(1000), ..HistoryParams::default() };
    let shown = person.insist::<history::List>(&params).await;
    let messages = shown.map(|shown| shown.messages).unwrap_or_default();
    messages.iter().filter(|message| message.from == name(whom)).count()
}

impl Story {
    /// Mends everything, waits until all is quiet, and says what is wrong.
    pub(crate) async fn verdict(&mut self) -> Vec<String> {
        self.mend().await;
        sleep(CALM).await;
        let mut wrong = self.links_that_are_not_up().await;
        let mut rested = Duration::ZERO;
        let mut fates = BTreeMap::new();
        let mut open = self.open_ends(&mut fates).await;
        let mut has_decided = false;
        while !open.is_empty() && rested < QUIET {
            if !has_decided && self.retries {
                self.retry_all().await;
            }
            has_decided = true;
            sleep(LOOK).await;
            rested += LOOK;
            open = self.open_ends(&mut fates).await;
        }
        wrong.extend(open);
        wrong.extend(self.world.books.balance(&fates, name, !self.has_lies));
        wrong.extend(self.world.books.faults());
        wrong
    }

    async fn mend(&mut self) {
        let world = &self.world;
        world.net.heal();
        for relay in &world.relays {
            if !relay.is_up() {
                relay.start().await;
            }
        }
        for person in &world.people {
            person.disk.heal();
        }
        // Outages that are under way end, and what is under way with them.
        sleep(Duration::from_secs(700)).await;
        world.net.heal();
        for relay in &world.relays {
            if !relay.is_up() {
                relay.start().await;
            }
        }
        for person in &world.people {
            person.disk.heal();
            let visible = PresenceParams { presence: Visibility::Visible };
            person.insist::<presence::Set>(&visible).await.unwrap();
        }
        for pair in &self.pairs {
            for (who, whom) in [(pair.asker, pair.asked), (pair.asked, pair.asker)] {
                let params = ContactParams { name: name(whom) };
                let _ = world.people[who].insist::<contact::Unblock>(&params).await;
            }
        }
        for slow in self.slow_readers() {
            *slow.lock().unwrap() = Duration::ZERO;
        }
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
        let mut open = Vec::new();
        let mut closed: BTreeSet<MessageId> = BTreeSet::new();
        for said in self.world.books.accepted() {
            let known = fates.get(&said.id).and_then(Option::as_ref);
            let final_before = known.is_some_and(|m| m.message.state == State::Delivered)
                || known.is_some_and(|m| m.message.state == State::Read);
            if !final_before {
                fates.insert(said.id, self.fate(&said).await);
            }
            match self.is_over(&said, fates[&said.id].as_ref()) {
                Ok(()) => {
                    closed.insert(said.id);
                }
                Err(why) => open.push(why),
            }
        }
        open
    }

    async fn fate(&self, said: &Said) -> Option<MessageSteps> {
        let params = MessageParams { id: said.id, contact: None };
        let shown = self.world.people[said.from].insist::<message::Show>(&params).await;
        shown.ok()?.messages.into_iter().next()
    }

    fn is_over(&self, said: &Said, fate: Option<&MessageSteps>) -> Result<(), String> {
        let text = brief(&said.text);
        let Some(fate) = fate else { return Err(format!("`{text}` was accepted and is gone")) };
        match fate.message.state {
            // Where it arrived, its reader has it.
            State::Delivered | State::Read if self.world.books.is_shown(said) => Ok(()),
            State::Discarded | State::Expired | State::Replaced => Ok(()),
            State::Undelivered if !self.retries => Ok(()),
            state => {
                let shown = if self.world.books.is_shown(said) { "was" } else { "was not" };
                Err(format!("`{text}` is {state} for ever, and {shown} shown:{}", life(fate)))
            }
        }
    }
}
