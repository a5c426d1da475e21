//! What a frame of the relay means, by how far the link has come. Nothing here waits.

use std::collections::BTreeSet;
use std::time::Duration;

use ams_link::receiver::Frame;
use ams_wire::from_relay::{Bye, FromRelay, Outcome, Presence};
use ams_wire::limits::{DELIVER_HEADER, PROTOCOL_VERSION};
use ams_wire::to_relay::ToRelay;
use bytes::Bytes;
use tokio::time::Instant;

use super::lane::Item;
use super::serve::{Phase, Served, Unanswered};
use super::{Answer, End};
use crate::relay::event::LinkEvent;
use crate::relay::row::Refusal;

/// The longest window that a relay may have. One that names a longer one could keep a message from
/// ever counting as failed.
const MOST_WINDOW: Duration = Duration::from_secs(60 * 60);
/// Rows that an account may have: far over what relays allow.
const MOST_ROWS: usize = 10_000;

impl Served<'_> {
    pub(super) fn on_frame(&mut self, frame: Frame) -> Result<(), End> {
        let Frame { number, body } = frame;
        let said = FromRelay::decode(number, &body).map_err(|_| nonsense())?;
        match said {
            // Of a version after this one.
            None => Ok(()),
            Some(FromRelay::Ping) => self.push(&ToRelay::Pong),
            Some(FromRelay::Pong) => Ok(()),
            Some(FromRelay::Bye(bye)) => Err(bye.into()),
            Some(said) => match self.phase {
                Phase::Hello => self.on_hello(said),
                Phase::Attaching => self.on_attach_answer(&said),
                Phase::Snapshot(_) | Phase::Settling | Phase::Up => self.on_online(said, &body),
            },
        }
    }

    fn on_hello(&mut self, said: FromRelay<'_>) -> Result<(), End> {
        match said {
            FromRelay::Hello(hello) if hello.version == PROTOCOL_VERSION => {
                self.window = Duration::from_secs(hello.window.into()).min(MOST_WINDOW);
                self.phase = Phase::Attaching;
                Ok(())
            }
            FromRelay::Hello(_) => Err(Bye::Version.into()),
            FromRelay::Refused => Err(End::Refused(Refusal::Replaced)),
            _ => Err(nonsense()),
        }
    }

    fn on_attach_answer(&mut self, said: &FromRelay<'_>) -> Result<(), End> {
        match said {
            FromRelay::Attached => {
                self.phase = Phase::Snapshot(BTreeSet::new());
                Ok(())
            }
            FromRelay::Refused => Err(End::Refused(Refusal::Replaced)),
            FromRelay::Cloned(counter) => Err(End::Cloned(*counter)),
            _ => Err(nonsense()),
        }
    }

    fn on_online(&mut self, said: FromRelay<'_>, body: &Bytes) -> Result<(), End> {
        match said {
            FromRelay::Row(row) => {
                if let Phase::Snapshot(rows) = &mut self.phase {
                    rows.insert(row.handle);
                    if rows.len() > MOST_ROWS {
                        return Err(nonsense());
                    }
                }
                self.lane.push(Item::Row(row));
            }
            FromRelay::Request(request) => self.lane.push(Item::Request(request)),
            FromRelay::Redeemed(redeemed) => self.lane.push(Item::Redeemed(redeemed)),
            FromRelay::SnapshotEnd => {
                let Phase::Snapshot(rows) = &mut self.phase else { return Err(nonsense()) };
                self.lane.push(Item::Snapshot(std::mem::take(rows)));
                self.phase = Phase::Settling;
            }
            FromRelay::Deliver(deliver) => {
                let envelope = body.slice(DELIVER_HEADER..);
                self.lane.push(Item::Deliver { handle: deliver.handle, envelope });
            }
            FromRelay::Accepted(count) => {
                let keys = self.sent.accepted(count).map_err(|_| nonsense())?;
                if !keys.is_empty() {
                    self.events.push(LinkEvent::Taken { relay: self.relay, keys });
                }
            }
            FromRelay::Failed(envelope) => {
                self.events.push(LinkEvent::Failed { relay: self.relay, envelope });
            }
            FromRelay::Presence(Presence { online, offline }) => {
                self.events.push(LinkEvent::Presence { relay: self.relay, online, offline });
            }
            FromRelay::Done(outcome) => return self.on_done(outcome),
            FromRelay::PasswordResponse(response) => {
                let Some(Unanswered::Call(reply)) = self.unanswered.pop_front() else {
                    return Err(nonsense());
                };
                let handshake_hash = self.handshake_hash;
                // Whoever asked may have given up.
                let _ = reply.send(Answer::Password { response, handshake_hash });
            }
            _ => return Err(nonsense()),
        }
        Ok(())
    }

    fn on_done(&mut self, outcome: Outcome) -> Result<(), End> {
        match (self.unanswered.pop_front().ok_or_else(nonsense)?, outcome) {
            (Unanswered::Chore(number), Outcome::Limited) => {
                self.actor.pacing.limited(number, Instant::now());
            }
            // A refused one would be refused again.
            (Unanswered::Chore(number), Outcome::Ok | Outcome::Refused) => {
                self.lane.push(Item::Done(number));
            }
            (Unanswered::Call(reply), outcome) => {
                // Whoever asked may have given up.
                let _ = reply.send(Answer::Done(outcome));
            }
            (Unanswered::Visible, Outcome::Limited) => self.visible_was_limited(),
            (Unanswered::Visible, Outcome::Ok | Outcome::Refused) | (Unanswered::Await, _) => {}
        }
        Ok(())
    }
}

impl From<Bye> for End {
    fn from(bye: Bye) -> Self {
        match bye {
            Bye::Draining => Self::lost("the relay is stopping or restarting"),
            Bye::Replaced => Self::Refused(Refusal::Replaced),
            Bye::Superseded => Self::Superseded,
            Bye::Version => Self::lost(
                "the relay speaks another version of AMS: one of the two needs an update",
            ),
        }
    }
}

fn nonsense() -> End {
    End::lost("the relay said something that makes no sense")
}
