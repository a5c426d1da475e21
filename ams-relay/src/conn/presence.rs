//! What this client was told of who is online: changes are gathered and told at most once a tick,
//! so that their exact moment is nobody's.

use std::collections::HashSet;

use ams_link::Stream;
use ams_wire::from_relay::{FromRelay, Presence};
use ams_wire::id::Handle;
use ams_wire::limits::MAX_PRESENCE_ENTRIES;
use tokio::time::Instant;

use super::Conn;

/// What was told, and what is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Told {
    online: HashSet<Handle>,
    changed: HashSet<Handle>,
    due: Option<Instant>,
    /// When this client's own lights were last lit or put out, and when they will be.
    relit: Option<Instant>,
    relight: Option<Instant>,
}

impl Told {
    pub(super) fn due(&self) -> Option<Instant> {
        [self.due, self.relight].into_iter().flatten().min()
    }
}

impl<S: Stream> Conn<S> {
    /// Somebody's light was lit or put out, or the row that it shines on changed.
    pub(super) fn presence_changed(&mut self, handle: Handle) {
        self.presence.changed.insert(handle);
        if self.presence.due.is_none() {
            let tick = self.desk.limits.presence_tick;
            let half = tick.checked_div(2).unwrap_or(tick);
            let wait = self.desk.chance.within(half..=tick);
            self.presence.due = Instant::now().checked_add(wait);
        }
    }

    /// The client wants to be seen or not. Every contact has to be told, and woken, so it happens
    /// once a tick at most, whatever it says meanwhile.
    pub(super) fn set_visible(&mut self, visible: bool, now: Instant) {
        self.wants_visible = visible;
        if self.presence.relight.is_none() {
            let tick = self.desk.limits.presence_tick;
            let next = self.presence.relit.and_then(|at| at.checked_add(tick));
            self.presence.relight = Some(next.unwrap_or(now));
            self.relight(now);
        }
    }

    /// Lights this client's lights or puts them out, if it is time.
    fn relight(&mut self, now: Instant) {
        if self.presence.relight.is_none_or(|due| due > now) {
            return;
        }
        self.presence.relight = None;
        if self.wants_visible == self.is_visible {
            return;
        }
        self.presence.relit = Some(now);
        self.is_visible = self.wants_visible;
        for (own, peer, to) in self.rows.open() {
            if self.is_visible {
                self.seat.light(*own, peer, to);
            } else {
                self.seat.darken(*own, peer, to);
            }
        }
    }

    /// Tells what changed, and shows this client to others or not, if it is time.
    pub(super) fn tell_presence(&mut self, now: Instant) {
        self.relight(now);
        if self.presence.due.is_none_or(|due| due > now) {
            return;
        }
        self.presence.due = None;
        let changed = std::mem::take(&mut self.presence.changed);
        let mut news = Presence { online: Vec::new(), offline: Vec::new() };
        for handle in changed {
            let is_online = self.is_online(&handle);
            let was_online = self.presence.online.contains(&handle);
            match (was_online, is_online) {
                (false, true) => news.online.push(handle),
                (true, false) => news.offline.push(handle),
                _ => {}
            }
        }
        self.tell_news(news);
    }

    /// Tells who is online, at the start of a link.
    pub(super) fn tell_all_presence(&mut self) {
        self.presence.due = None;
        self.presence.changed.clear();
        let all = self.rows.open().map(|(handle, _, _)| *handle);
        let online = all.filter(|handle| self.is_online(handle)).collect();
        self.tell_news(Presence { online, offline: Vec::new() });
    }

    fn tell_news(&mut self, mut news: Presence) {
        for handle in &news.offline {
            self.presence.online.remove(handle);
        }
        self.presence.online.extend(&news.online);
        while !news.online.is_empty() || !news.offline.is_empty() {
            let online =
                news.online.split_off(news.online.len().saturating_sub(MAX_PRESENCE_ENTRIES));
            let left = MAX_PRESENCE_ENTRIES.saturating_sub(online.len());
            let offline = news.offline.split_off(news.offline.len().saturating_sub(left));
            self.say(&FromRelay::Presence(Presence { online, offline }));
        }
    }

    fn is_online(&self, handle: &Handle) -> bool {
        self.rows
            .get(handle)
            .and_then(|row| Some((row.open_to?, row)))
            .is_some_and(|(theirs, row)| self.seat.sees(handle, &row.peer, theirs))
    }
}
