//! What was accepted, what was shown, and whether the two agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use ams_rpc::types::{Message, MessageId, MessageSteps, State, Step};

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
    /// `send` answered that it is accepted. Otherwise it may have been.
    pub(crate) accepted: bool,
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
    /// Sender and recipient of whose messages the order may be lost.
    disordered: BTreeSet<(usize, usize)>,
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

    /// The order of what `from` sends to `to` is not asked for.
    pub(crate) fn lose_order(&self, from: usize, to: usize) {
        self.pages().disordered.insert((from, to));
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

    /// Whether `to` was shown it.
    pub(crate) fn is_shown(&self, said: &Said) -> bool {
        self.pages().shown.iter().any(|shown| shown.to == said.to && shown.id == said.id)
    }

    /// What was noted as wrong on the way.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.pages().wrong.clone()
    }

    /// Compares what was said with what was shown. `fate` is what became of each accepted message,
    /// `names` what people call each other, `in_order` whether order may be asked for.
    pub(crate) fn balance(
        &self,
        fate: &BTreeMap<MessageId, Option<MessageSteps>>,
        names: impl Fn(usize) -> String,
        in_order: bool,
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
            if (said.to, &said.text, names(said.from))
                != (shown.to, &shown.text, shown.from.clone())
            {
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
            let state = fate.get(&shown.id).and_then(Option::as_ref);
            let strayed = state.is_none_or(has_strayed);
            if strayed || !in_order || pages.disordered.contains(&(said.from, said.to)) {
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
            if delivered && !seen.contains(&said.id) {
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

/// Whether a message lost its place: one that was undelivered or waiting comes when it can.
fn has_strayed(message: &MessageSteps) -> bool {
    // Of very many steps those in the middle are not kept.
    let forgotten = message.steps.len() >= 40;
    let strayed = |what: &str| ["undelivered", "waiting"].contains(&what);
    forgotten || message.steps.iter().any(|step| strayed(&step.what))
}
