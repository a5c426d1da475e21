//! What was accepted, what was shown, and whether the two agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use ams_rpc::types::{IfUndelivered, Message, MessageId, MessageSteps, State, Step, Via};

use super::contacts::name_of;

/// What is wanted of a message beyond that it arrives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// Trying ends after this.
    pub(crate) ttl: Option<Duration>,
    /// A newer one with it replaces this one.
    pub(crate) key: Option<String>,
    /// What becomes of it when it cannot be delivered.
    pub(crate) policy: Option<IfUndelivered>,
    /// The only way that it may go, so that others may pass it.
    pub(crate) via: Option<Via>,
}

/// A message that somebody had sent.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// Who.
    pub(crate) from: usize,
    /// To whom.
    pub(crate) to: usize,
    /// Chosen by who sent it.
    pub(crate) id: MessageId,
    /// No two are alike.
    pub(crate) text: String,
    /// What is wanted of it.
    pub(crate) wish: Wish,
    /// `send` answered that it is accepted. Otherwise it may have been.
    pub(crate) accepted: bool,
}

/// A while in which the order of what somebody says may be lost: from one message, to another.
#[derive(Debug, Clone, Copy)]
struct Disorder {
    from: usize,
    to: Option<usize>,
}

/// A text without what only makes it long.
pub(crate) fn brief(text: &str) -> &str {
    text.trim_end_matches('.')
}

/// A message that somebody's reader acknowledged.
#[derive(Debug, Clone)]
struct Shown {
    to: usize,
    from: String,
    id: MessageId,
    text: String,
}

#[derive(Default)]
struct Pages {
    /// In the order in which they were said, for each two.
    said: Vec<Said>,
    shown: Vec<Shown>,
    wrong: Vec<String>,
    /// Sender and recipient → when the order of their messages may be lost.
    disorders: BTreeMap<(usize, usize), Vec<Disorder>>,
    /// Sender and recipient of whose messages some were dropped by their sender.
    dropped: BTreeSet<(usize, usize)>,
    /// Deleted before a reader had them, or perhaps.
    deleted: BTreeSet<MessageId>,
    /// Whose own messages may be gone when they are over.
    forgetful: BTreeSet<(usize, usize)>,
    /// Nobody approved them.
    strangers: BTreeSet<usize>,
    /// How often who was about to unblock whom, and how often that was done.
    unblockings: BTreeMap<(usize, usize), u32>,
}

impl Pages {
    fn is_shown(&self, said: &Said) -> bool {
        self.shown.iter().any(|shown| shown.to == said.to && shown.id == said.id)
    }

    fn of(&self, from: usize, to: usize) -> impl Iterator<Item = (usize, &Said)> {
        let said = self.said.iter().enumerate();
        said.filter(move |(_, said)| (said.from, said.to) == (from, to))
    }

    fn is_in_disorder(&self, place: usize, said: &Said) -> bool {
        let disorders = self.disorders.get(&(said.from, said.to));
        disorders
            .into_iter()
            .flatten()
            .any(|disorder| disorder.from <= place && disorder.to.is_none_or(|end| place < end))
    }
}

/// Everything that people noted.
#[derive(Default)]
pub(crate) struct Books(Mutex<Pages>);

impl Books {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap()
    }

    /// Something is not as it must be.
    pub(crate) fn wrong(&self, what: String) {
        self.pages().wrong.push(what);
    }

    /// Somebody begins to send it; gives its number.
    pub(crate) fn say(&self, said: Said) -> usize {
        let mut pages = self.pages();
        pages.said.push(said);
        pages.said.len() - 1
    }

    /// From now on, and of what is under way, the order of what `from` sends to `to` is not asked
    /// for, until [`Books::end_disorder`].
    pub(crate) fn begin_disorder(&self, from: usize, to: usize) {
        let mut pages = self.pages();
        let under_way = pages.of(from, to).find(|(_, said)| !pages.is_shown(said));
        let first = under_way.map_or(pages.said.len(), |(place, _)| place);
        let disorders = pages.disorders.entry((from, to)).or_default();
        disorders.push(Disorder { from: first, to: None });
    }

    /// Whether somebody removed or blocked somebody: what came meanwhile was not to be kept.
    pub(crate) fn has_broken_off(&self, who: usize) -> bool {
        self.pages().disorders.keys().any(|(from, to)| [*from, *to].contains(&who))
    }

    /// What is said from now on comes in its order again.
    pub(crate) fn end_disorder(&self, from: usize, to: usize) {
        let mut pages = self.pages();
        let end = pages.said.len();
        for disorder in pages.disorders.entry((from, to)).or_default() {
            disorder.to = disorder.to.or(Some(end));
        }
    }

    /// `who` is about to unblock `whom`, or has done so.
    pub(crate) fn note_unblocking(&self, who: usize, whom: usize) {
        *self.pages().unblockings.entry((who, whom)).or_default() += 1;
    }

    /// The same number twice: nobody unblocked `whom` in between, or was about to.
    pub(crate) fn unblockings(&self, who: usize, whom: usize) -> u32 {
        self.pages().unblockings.get(&(who, whom)).copied().unwrap_or_default()
    }

    /// `from` may have dropped some of its messages to `to`.
    pub(crate) fn drop_some(&self, from: usize, to: usize) {
        self.pages().dropped.insert((from, to));
    }

    /// Whether it may have.
    pub(crate) fn may_be_dropped(&self, said: &Said) -> bool {
        self.pages().dropped.contains(&(said.from, said.to))
    }

    /// `who` deletes what it has with `whom`: its own messages, and what its reader had not yet.
    pub(crate) fn delete(&self, who: usize, whom: usize) {
        let mut pages = self.pages();
        let unread = pages.of(whom, who).filter(|(_, said)| !pages.is_shown(said));
        let unread: Vec<_> = unread.map(|(_, said)| said.id).collect();
        pages.deleted.extend(unread);
        pages.forgetful.insert((who, whom));
    }

    /// Whether it may be gone at its sender's when it is over.
    pub(crate) fn may_be_gone(&self, said: &Said) -> bool {
        self.pages().forgetful.contains(&(said.from, said.to))
    }

    /// Nobody approves `who`.
    pub(crate) fn is_stranger(&self, who: usize) {
        self.pages().strangers.insert(who);
    }

    /// Whether a later message to the same contact has the same key.
    pub(crate) fn is_replaced(&self, of: &Said) -> bool {
        let pages = self.pages();
        let later = pages.of(of.from, of.to).skip_while(|(_, said)| said.id != of.id).skip(1);
        of.wish.key.is_some() && later.into_iter().any(|(_, said)| said.wish.key == of.wish.key)
    }

    /// It was accepted.
    pub(crate) fn accept(&self, number: usize) {
        self.pages().said[number].accepted = true;
    }

    /// A reader of `to` has had these.
    pub(crate) fn show(&self, to: usize, messages: Vec<Message>) {
        let shown = messages.into_iter().map(|message| Shown {
            to,
            from: message.from,
            id: message.id,
            text: message.body,
        });
        self.pages().shown.extend(shown);
    }

    /// What was accepted.
    pub(crate) fn accepted(&self) -> Vec<Said> {
        self.pages().said.iter().filter(|said| said.accepted).cloned().collect()
    }

    /// Whether its recipient was shown it, or deleted it unread.
    pub(crate) fn is_shown(&self, said: &Said) -> bool {
        let pages = self.pages();
        pages.is_shown(said) || pages.deleted.contains(&said.id)
    }

    /// What was noted as wrong on the way.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.pages().wrong.clone()
    }

    /// Compares what was said with what was shown. `fate` is what became of each accepted message,
    /// `names` what people call each other, `in_order` for how long what is between two keeps a message
    /// in its order; `None`: for no time.
    pub(crate) fn balance(
        &self,
        fate: &BTreeMap<MessageId, Option<MessageSteps>>,
        names: impl Fn(usize) -> String,
        in_order: impl Fn(usize, usize) -> Option<Duration>,
    ) -> Vec<String> {
        let pages = self.pages();
        let mut wrong = Vec::new();
        let by_id: BTreeMap<MessageId, (usize, &Said)> =
            pages.said.iter().enumerate().map(|(place, said)| (said.id, (place, said))).collect();
        let mut seen = BTreeSet::new();
        let mut newest = BTreeMap::new();
        for shown in &pages.shown {
            let Some((place, said)) = by_id.get(&shown.id) else {
                wrong.push(format!("nobody said `{}`", brief(&shown.text)));
                continue;
            };
            let is_right = (said.to, &said.text) == (shown.to, &shown.text);
            if !is_right || names(said.from) != name_of(&shown.from) {
                wrong.push(format!(
                    "`{}` was shown as `{}` of {}",
                    brief(&said.text),
                    brief(&shown.text),
                    shown.from
                ));
            }
            if !seen.insert(shown.id) {
                wrong.push(format!("`{}` was shown twice", brief(&shown.text)));
                continue;
            }
            if pages.strangers.contains(&said.from) {
                wrong.push(format!("`{}` of a stranger was shown", brief(&said.text)));
            }
            let state = fate.get(&shown.id).and_then(Option::as_ref);
            let window = in_order(said.from, said.to);
            let (Some(state), Some(window)) = (state, window) else { continue };
            let has_strayed = has_strayed(state, window) || said.wish.via.is_some();
            if has_strayed || pages.is_in_disorder(*place, said) {
                continue;
            }
            let newest = newest.entry((said.from, said.to)).or_insert(*place);
            if *place < *newest {
                let before = &pages.said[*newest];
                let lives = [said.id, before.id].map(|id| fate.get(&id).and_then(Option::as_ref));
                wrong.push(format!(
                    "`{}` was shown after `{}`:{}\n    and that one:{}",
                    brief(&said.text),
                    brief(&before.text),
                    lives[0].map(life).unwrap_or_default(),
                    lives[1].map(life).unwrap_or_default(),
                ));
            }
            *newest = (*newest).max(*place);
        }
        for said in pages.said.iter().filter(|said| said.accepted) {
            let state = fate.get(&said.id).and_then(Option::as_ref).map(|m| m.message.state);
            let delivered = matches!(state, Some(State::Delivered | State::Read));
            if delivered && !seen.contains(&said.id) && !pages.deleted.contains(&said.id) {
                wrong.push(format!(
                    "`{}` is said to be delivered, and was never shown",
                    brief(&said.text)
                ));
            }
        }
        wrong
    }
}

/// Every step that a message took.
pub(crate) fn life(message: &MessageSteps) -> String {
    let line = |step: &Step| {
        let reason = step.reason.as_deref().unwrap_or_default();
        format!("\n      {} {} {reason}", step.time, step.what)
    };
    message.steps.iter().map(line).collect()
}

/// Whether a message lost its place: one that was undelivered or waiting comes when it can. So does
/// one that was on its way for longer than the relay's `window`: the relay may have given up on it
/// while its sender's link was dead, and nobody was there to be told. One that its sender had ended is
/// not sent again with the others: where it left before, it comes when it comes.
fn has_strayed(message: &MessageSteps, window: Duration) -> bool {
    // Of very many steps those in the middle are not kept.
    let forgotten = message.steps.len() >= 40;
    let strayed =
        |what: &str| ["undelivered", "waiting", "replaced", "discarded", "expired"].contains(&what);
    let at = |step: &Step| step.time.0.as_millisecond();
    let arrived = message.steps.iter().find(|step| step.what == "delivered");
    let took = arrived.zip(message.steps.first()).map(|(end, begin)| at(end) - at(begin));
    // By a clock that somebody set meanwhile, it says nothing.
    let is_quick = took.is_some_and(|took| {
        u64::try_from(took).is_ok_and(|took| Duration::from_millis(took) < window)
    });
    forgotten || !is_quick || message.steps.iter().any(|step| strayed(&step.what))
}
