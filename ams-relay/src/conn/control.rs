//! Control frames: what a client does to its contacts and its account. One after the other; each is
//! answered by one frame, in order.
//!
//! The answer to a frame that names somebody is made from the frame and the requester's own rows,
//! never from anything about the one who is named. Whoever is concerned is poked afterwards, through
//! a task that has no way back.

use std::pin::Pin;
use std::sync::Arc;

use ams_crypto::opaque::{self, RelayLogin};
use ams_link::Stream;
use ams_wire::from_relay::{FromRelay, Outcome, PasswordResponse, Redeemed, Request};
use ams_wire::id::Handle;
use ams_wire::to_relay::{Approve, Ask, Fetched, PasswordFinish, PasswordStart, Redeem, ToRelay};
use ams_wire::username::Username;
use tokio::time::Instant;

use super::rows::Rows;
use super::{Conn, Desk, End, GONE};
use crate::accounts::row::{ContactRow, Standing};
use crate::accounts::{AccountsError, Approval};
use crate::hub::Poke;

/// Something of the store's that is waited for.
pub(super) type Task = Pin<Box<dyn Future<Output = Result<Effect, AccountsError>> + Send>>;

/// What came of it.
pub(super) enum Effect {
    /// The client's own row of this handle is now so; it is answered, then somebody is poked.
    Own { handle: Handle, row: Option<ContactRow>, answer: Outcome, poke: Option<Poke> },
    /// It is answered, and nothing of its own changed.
    Answer(Outcome),
    /// The opening of a change of password is answered.
    Password(Box<PasswordResponse>, Box<RelayLogin>),
    /// The account is gone.
    Deleted,
    /// Somebody else changed a row.
    Changed { handle: Handle, row: Option<ContactRow> },
    /// The introductions to this account, and those by its contact links.
    Requests(Vec<Request>, Vec<Redeemed>),
}

/// What a question was counted as.
enum Counted {
    /// The same again: it was counted before.
    Not,
    /// One of the account's requests.
    Request,
    /// A renewal on this row.
    Renewal(Handle),
}

impl Counted {
    /// It could not be written, and comes again on the next link: it does not count.
    fn give_back(&self, desk: &Desk, name: &Username) {
        match self {
            Self::Not => {}
            // The pause between two stays: it keeps the load off a disk that fails.
            Self::Request => desk.asks_a_day.give_back(name),
            Self::Renewal(handle) => desk.renewals.give_back(&(name, *handle)),
        }
    }
}

impl<S: Stream> Conn<S> {
    pub(super) fn take_control(&mut self, frame: ToRelay<'_>, now: Instant) -> Result<(), End> {
        let desk = Arc::clone(&self.desk);
        let name = self.seat.member().name().clone();
        match frame {
            ToRelay::Ask(ask) => match self.may_ask(&ask, now) {
                Ok(counted) => {
                    let wall = desk.clock.now();
                    self.start(async move {
                        let put = put_ask(&desk, &name, ask, wall).await;
                        put.inspect_err(|_| counted.give_back(&desk, &name))
                    });
                }
                Err(outcome) => self.answer(outcome),
            },
            ToRelay::Redeem(redeem) => match self.may_redeem(&redeem, now) {
                Ok(counted) => {
                    let wall = desk.clock.now();
                    self.start(async move {
                        let put = put_redeem(&desk, &name, redeem, wall).await;
                        put.inspect_err(|_| counted.give_back(&desk, &name))
                    });
                }
                Err(outcome) => self.answer(outcome),
            },
            ToRelay::Await(named) => {
                self.seat.wait_on(named.links);
                self.requests_changed = true;
                self.answer(Outcome::Ok);
            }
            ToRelay::Approve(approve) => {
                let is_new = self.rows.get(&approve.handle).is_none();
                let is_full = is_new && self.rows.len() >= count(desk.limits.contacts);
                if is_full || !desk.approvals.take(&(&name, &approve.to), now) {
                    self.answer(Outcome::Limited);
                } else {
                    let Approve { to, their_handle, handle, approval: blob, by: link, intro } =
                        approve;
                    let wall = desk.clock.now();
                    self.start(async move {
                        let (by, asker) = (name.clone(), to.clone());
                        let approval = Approval { by, to, their_handle, handle, blob, link, intro };
                        let put = put_approval(&desk, approval, wall).await;
                        put.inspect_err(|_| desk.approvals.give_back(&(&name, &asker)))
                    });
                }
            }
            ToRelay::Refuse(refuse) => self.start(async move {
                desk.accounts.refuse(&name, &refuse.to, refuse.their_handle).await?;
                Ok(Effect::Answer(Outcome::Ok))
            }),
            ToRelay::Block(handle) => self.start_block(handle, true),
            ToRelay::Unblock(handle) => {
                // What asked meanwhile was shown to somebody who did not listen.
                self.requests_told.clear();
                self.requests_changed = true;
                self.start_block(handle, false);
            }
            ToRelay::Remove(handle) => self.start(async move {
                desk.accounts.remove(&name, handle).await?;
                Ok(Effect::Own { handle, row: None, answer: Outcome::Ok, poke: None })
            }),
            ToRelay::Fetched(Fetched { handle, approval }) => self.start(async move {
                let row = desk.accounts.fetched(&name, handle, approval).await?;
                Ok(Effect::Own { handle, row, answer: Outcome::Ok, poke: None })
            }),
            ToRelay::SetPresence(visible) => {
                self.set_visible(visible, now);
                self.answer(Outcome::Ok);
            }
            ToRelay::PasswordStart(start) => {
                if desk.password_changes.take(&name, now) {
                    let hash = self.handshake_hash;
                    self.start(async move {
                        let record = desk.accounts.record(&name).await?;
                        Ok(open_password(&desk, &name, record.as_ref(), &start, &hash))
                    });
                } else {
                    self.answer(Outcome::Limited);
                }
            }
            ToRelay::PasswordFinish(finish) => match self.close_password(&finish) {
                Some(record) => self.start(async move {
                    desk.accounts.set_record(&name, record).await?;
                    Ok(Effect::Answer(Outcome::Ok))
                }),
                None => self.answer(Outcome::Refused),
            },
            ToRelay::DeleteAccount => self.start(async move {
                desk.accounts.delete(&name).await?;
                Ok(Effect::Deleted)
            }),
            _ => return Err(End::Protocol),
        }
        Ok(())
    }

    fn start(
        &mut self,
        task: impl Future<Output = Result<Effect, AccountsError>> + Send + 'static,
    ) {
        self.task = Some(Box::pin(task));
    }

    fn start_block(&mut self, handle: Handle, blocked: bool) {
        let desk = Arc::clone(&self.desk);
        let name = self.seat.member().name().clone();
        self.start(async move {
            let row = desk.accounts.block(&name, handle, blocked).await?;
            let answer = if row.is_some() { Outcome::Ok } else { Outcome::Refused };
            Ok(Effect::Own { handle, row, answer, poke: None })
        });
    }

    /// Whether the client may ask now. From its own rows and its own tries alone.
    fn may_ask(&self, ask: &Ask, now: Instant) -> Result<Counted, Outcome> {
        let name = self.seat.member().name();
        let desk = &self.desk;
        if let Some(row) = self.rows.get(&ask.handle) {
            // The same again, after a lost answer, is no other question.
            let intro = ams_crypto::introduction::id(ask.intro.as_bytes());
            if row.peer == ask.to && !row.is_blocked && row.intro == Some(intro) {
                return Ok(Counted::Not);
            }
        }
        if let Some(row) = self.rows.get(&ask.handle)
            && row.standing == Standing::Accepted
        {
            if row.peer != ask.to || row.is_blocked {
                return Err(Outcome::Refused);
            }
            let may = desk.renewals.take(&(name, ask.handle), now);
            return if may { Ok(Counted::Renewal(ask.handle)) } else { Err(Outcome::Limited) };
        }
        is_room_to_ask(&self.rows, ask, desk)?;
        self.may_ask_more(now)
    }

    /// As [`Conn::may_ask`]: the same limits, whether or not anybody waits on the link.
    fn may_redeem(&self, redeem: &Redeem, now: Instant) -> Result<Counted, Outcome> {
        let is_full = match self.rows.get(&redeem.handle) {
            Some(row) if row.by != Some(redeem.by) || row.is_blocked => {
                return Err(Outcome::Refused);
            }
            Some(row) => {
                let intro = ams_crypto::introduction::id(redeem.intro.as_bytes());
                if row.intro == Some(intro) {
                    return Ok(Counted::Not);
                }
                false
            }
            None => is_full(&self.rows, &self.desk),
        };
        if is_full { Err(Outcome::Limited) } else { self.may_ask_more(now) }
    }

    fn may_ask_more(&self, now: Instant) -> Result<Counted, Outcome> {
        let (name, desk) = (self.seat.member().name(), &self.desk);
        let may = desk.asks_in_a_row.take(name, now) && desk.asks_a_day.take(name, now);
        if may { Ok(Counted::Request) } else { Err(Outcome::Limited) }
    }

    pub(super) fn take_effect(&mut self, effect: Result<Effect, AccountsError>) -> Result<(), End> {
        match effect? {
            Effect::Own { handle, row, answer, poke } => {
                self.put_row(handle, row.as_ref());
                self.answer(answer);
                if let Some(poke) = poke {
                    self.desk.hub.poke(poke);
                }
            }
            Effect::Answer(outcome) => self.answer(outcome),
            Effect::Password(response, login) => {
                self.login = Some(login);
                self.say(&FromRelay::PasswordResponse(response));
            }
            Effect::Deleted => {
                self.desk.hub.silence(self.seat.member().name());
                self.answer(Outcome::Ok);
                return Err(End::Ended(GONE));
            }
            Effect::Changed { handle, row } => {
                self.put_row(handle, row.as_ref());
                if let Some(row) = row {
                    self.tell_row(handle, &row);
                }
            }
            Effect::Requests(requests, redeemed) => {
                self.tell_requests(requests);
                self.tell_redeemed(redeemed);
            }
        }
        Ok(())
    }

    /// Reads again what others changed, while this client asks for nothing.
    pub(super) fn start_reading_again(&mut self) {
        let has_changed = self.requests_changed || !self.changed_rows.is_empty();
        if !has_changed || self.task.is_some() || self.tx.is_full() {
            return;
        }
        let desk = Arc::clone(&self.desk);
        let name = self.seat.member().name().clone();
        let wall = desk.clock.now();
        let changed = self.changed_rows.iter().next().copied();
        if let Some(handle) = changed {
            // One look answers everybody who said so before it.
            self.changed_rows.remove(&handle);
            self.start(async move {
                let row = desk.accounts.row(&name, handle, wall).await?;
                Ok(Effect::Changed { handle, row })
            });
        } else {
            self.requests_changed = false;
            let most = count(desk.limits.requests_shown);
            let links = self.seat.awaited().to_vec();
            self.start(async move {
                let requests = desk.accounts.requests(&name, wall, most).await?;
                let redeemed = match links.is_empty() {
                    true => Vec::new(),
                    false => desk.accounts.redeemed(links, wall, most).await?,
                };
                Ok(Effect::Requests(requests, redeemed))
            });
        }
    }

    /// Shows the requests that were not shown on this link, or not since a row was unblocked.
    pub(super) fn tell_requests(&mut self, requests: Vec<Request>) {
        let mut told = Vec::with_capacity(requests.len());
        for request in requests {
            let id = ams_crypto::introduction::id(request.intro.as_bytes()).0;
            if !self.requests_told.contains(&id) {
                self.say(&FromRelay::Request(request));
            }
            told.push(id);
        }
        self.requests_told = told;
    }

    /// As [`Conn::tell_requests`]; its own redeeming is nobody's.
    fn tell_redeemed(&mut self, redeemed: Vec<Redeemed>) {
        let mut told = Vec::with_capacity(redeemed.len());
        for one in redeemed {
            let id = ams_crypto::introduction::id(one.intro.as_bytes()).0;
            if !self.redeemed_told.contains(&id) && one.from != *self.seat.member().name() {
                self.say(&FromRelay::Redeemed(one));
            }
            told.push(id);
        }
        self.redeemed_told = told;
    }

    fn close_password(&mut self, finish: &PasswordFinish) -> Option<[u8; 192]> {
        let login = self.login.take()?;
        login.finish(&finish.ke3).ok()?;
        opaque::check_record(&finish.upload).ok()?;
        Some(finish.upload)
    }

    fn answer(&mut self, outcome: Outcome) {
        self.say(&FromRelay::Done(outcome));
    }
}

/// Whether the asker's own rows leave room for another question.
fn is_room_to_ask(rows: &Rows, ask: &Ask, desk: &Desk) -> Result<(), Outcome> {
    let is_full = match rows.get(&ask.handle) {
        Some(row) if row.peer != ask.to || row.is_blocked => return Err(Outcome::Refused),
        Some(_) => false,
        None => is_full(rows, desk),
    };
    if is_full { Err(Outcome::Limited) } else { Ok(()) }
}

fn is_full(rows: &Rows, desk: &Desk) -> bool {
    rows.len() >= count(desk.limits.contacts) || rows.pending() >= count(desk.limits.asks_pending)
}

/// Writes the sealed introduction under the link that it is for. Whether anybody waits on it is not
/// looked at, by this or by anything that it calls.
async fn put_redeem(
    desk: &Desk,
    owner: &Username,
    redeem: Redeem,
    wall: u64,
) -> Result<Effect, AccountsError> {
    let Redeem { handle, by, intro } = redeem;
    let row = desk.accounts.redeem(owner, handle, by, intro, wall).await?;
    Ok(match row {
        Some(row) => Effect::Own {
            handle,
            row: Some(row),
            answer: Outcome::Ok,
            poke: Some(Poke::Redeemed(by)),
        },
        None => Effect::Answer(Outcome::Refused),
    })
}

/// Writes the introduction under the name that it is for. Whether there is such an account is not
/// looked at, by this or by anything that it calls.
async fn put_ask(
    desk: &Desk,
    owner: &Username,
    ask: Ask,
    wall: u64,
) -> Result<Effect, AccountsError> {
    let Ask { handle, to, intro } = ask;
    let row = desk.accounts.ask(owner, handle, &to, intro, wall).await?;
    Ok(match row {
        Some(row) => Effect::Own {
            handle,
            row: Some(row),
            answer: Outcome::Ok,
            poke: Some(Poke::Requests(to)),
        },
        None => Effect::Answer(Outcome::Refused),
    })
}

async fn put_approval(desk: &Desk, approval: Approval, wall: u64) -> Result<Effect, AccountsError> {
    let (handle, to, theirs) = (approval.handle, approval.to.clone(), approval.their_handle);
    let approved = desk.accounts.approve(approval, wall).await?;
    let poke = approved.theirs.then_some(Poke::Row(to, theirs));
    Ok(match approved.own {
        Some(row) => Effect::Own { handle, row: Some(row), answer: Outcome::Ok, poke },
        None => Effect::Answer(Outcome::Ok),
    })
}

fn open_password(
    desk: &Desk,
    name: &Username,
    record: Option<&[u8; 192]>,
    start: &PasswordStart,
    hash: &[u8; 32],
) -> Effect {
    let opened = desk.opaque.login(name, record, &start.ke1, hash).and_then(|(login, ke2)| {
        let response = desk.opaque.register(name, &start.request)?;
        Ok((PasswordResponse { ke2, response }, login))
    });
    match opened {
        Ok((response, login)) => Effect::Password(Box::new(response), Box::new(login)),
        Err(_) => Effect::Answer(Outcome::Refused),
    }
}

fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
