//! Our asking was answered: the relay shows a row with an approval on it.

use ams_crypto::introduction::{self, Completed};
use ams_crypto::pair::Side;
use ams_rpc::types::{ContactFact, Fact as Event};
use ams_wire::from_relay::{Row, RowState};
use ams_wire::id::{Handle, Key};
use ams_wire::to_relay::{Fetched, ToRelay};

use super::ask::{self, Asked, AskedRow};
use super::direct;
use super::link;
use super::row::{self, ContactId, ContactRow, Stage, Verified};
use super::tell::tell;
use super::{
    by_handle, by_identity, free_name, next_generation, next_generation_at, recognise, request,
    snapshot,
};
use crate::fact::Fact;
use crate::outbox::state;
use crate::profile::{self, Me};
use crate::relay::{RelayId, RelayRow};
use crate::session::row::{Ciphers, RootRow, Roots, drop_cipher, roots, sealing_root};
use crate::store::{Read, StoreError, Txn};

/// The relay shows `shown`.
pub fn receive(
    txn: &Txn<'_>,
    me: &Me,
    relay: (RelayId, &RelayRow),
    shown: &Row,
    now: i64,
) -> Result<(), StoreError> {
    let Some((id, contact)) = by_handle(txn, relay.0, shown.handle)? else {
        if relay.1.adopting && shown.state == RowState::Accepted {
            return adopt(txn, me, relay, shown, now);
        }
        // Nobody here knows that row: it is left from a contact that was removed.
        return tell(txn, relay.0, &ToRelay::Remove(shown.handle));
    };
    let known = shown.state == RowState::Accepted
        && contact.paths.iter().any(|path| path.handle == shown.handle && path.missing);
    let contact = if known {
        let found = snapshot::with_missing(&contact, shown.handle, false);
        row::put(txn, id, Some(&contact), &found)?;
        found
    } else {
        contact
    };
    let Some(approval) = &shown.approval else { return Ok(()) };
    if shown.state != RowState::Accepted {
        return Ok(());
    }
    let fetched = ToRelay::Fetched(Fetched {
        handle: shown.handle,
        approval: introduction::approval_id(approval.as_bytes()),
    });
    let Some(asked) = txn.get::<Asked>(&(relay.0, shown.handle))? else {
        // It was opened before; the relay did not hear of it.
        return tell(txn, relay.0, &fetched);
    };
    let mut account = profile::olm(txn)?;
    let completed = asked.secrets()?.complete(&mut account, approval.as_bytes());
    tell(txn, relay.0, &fetched)?;
    match completed {
        // Made up by somebody, or the answer to what we asked before: our request stands.
        Err(_) => ask::ask(txn, me, relay, id, &contact, now),
        Ok(completed) if completed.identity == *me.public() => Ok(()),
        Ok(completed) => {
            let contact = match &asked.link {
                Some(by) => {
                    let whom = (id, &contact);
                    let met = link::met(txn, relay, whom, by, &completed, &shown.peer)?;
                    let Some(met) = met else { return ask::ask(txn, me, relay, id, &contact, now) };
                    met
                }
                None => contact,
            };
            profile::put_olm(txn, &account)?;
            txn.delete::<Asked>(&(relay.0, shown.handle))?;
            complete(txn, me, (relay, shown.handle), (id, contact), (&completed, &asked), now)
        }
    }
}

/// A contact of the account, from before this device was its device: it is asked for keys, on the
/// row that there is.
fn adopt(
    txn: &Txn<'_>,
    me: &Me,
    relay: (RelayId, &RelayRow),
    shown: &Row,
    now: i64,
) -> Result<(), StoreError> {
    let id = ContactId(profile::count(txn, "contacts")?);
    let name = free_name(txn, &shown.peer, &relay.1.nick)?;
    let row = ask::new_row(name, relay.0, shown.peer.clone(), shown.handle, Stage::Asked);
    row::put(txn, id, None, &row)?;
    ask::ask(txn, me, relay, id, &row, now)
}

fn complete(
    txn: &Txn<'_>,
    me: &Me,
    (relay, handle): ((RelayId, &RelayRow), Handle),
    (id, before): (ContactId, ContactRow),
    (completed, asked): (&Completed, &AskedRow),
    now: i64,
) -> Result<(), StoreError> {
    let identity = Key(*completed.identity.as_bytes());
    if before.identity.is_some_and(|known| known != identity) {
        return request::key_changed(txn, relay.0, (id, &before), identity);
    }
    let mut generation = asked.generation;
    // Somebody who is a contact already, at another address: one contact with two paths.
    let (id, before) = match by_identity(txn, &completed.identity)? {
        Some((known, _)) if known != id => {
            generation = generation.max(next_generation_at(txn, known, asked.at)?);
            move_path(txn, me, (relay, handle), (id, &before), known, now)?
        }
        _ => (id, before),
    };
    if before.identity.is_none() {
        recognise(txn, id, identity)?;
    }
    let (identity, stage) = (Some(identity), Stage::Active);
    let verified = before.verified.or(asked.link.as_ref().map(|_| Verified::Link));
    let after = ContactRow { identity, stage, verified, ..before.with_proof(relay.0) };
    if before.offered.is_some() {
        txn.tell(Fact::Hooks);
    }
    row::put(txn, id, Some(&before), &after)?;
    if generation == 0 {
        // Asked by a version that did not note it.
        generation = next_generation(txn, id)?;
    }
    let root = RootRow::new(
        &completed.roots,
        Side::Requester,
        completed.fields.intro,
        generation,
        &completed.session,
        now,
    );
    txn.put::<Roots>(&(id, completed.roots.tag), &root)?;
    seal_anew(txn, id, now)?;
    if before.stage != Stage::Active {
        txn.tell(Fact::event(Event::ContactApproved(ContactFact {
            contact: after.name,
            contact_id: id.to_string(),
            verified: after.verified.is_some(),
        })));
    }
    txn.tell(Fact::Greet(id));
    Ok(())
}

/// The first envelope under a new root, which may be a bare one, ends the roots before it at the
/// contact: what is without a receipt under those would be passed by what is sealed from now on.
fn seal_anew(txn: &Txn<'_>, id: ContactId, now: i64) -> Result<(), StoreError> {
    let roots = roots(txn, id)?;
    let Some((sealing, _)) = sealing_root(&roots) else { return Ok(()) };
    for (key, cipher) in txn.list::<Ciphers>(&id)? {
        if key.1 == *sealing {
            continue;
        }
        drop_cipher(txn, &key)?;
        if let Some(seq) = cipher.seq {
            state::requeue(txn, id, seq, "sealed anew after a renewal", now)?;
        }
    }
    Ok(())
}

/// Takes the path from the contact that was only asked to the one that it turned out to be.
fn move_path(
    txn: &Txn<'_>,
    me: &Me,
    ((relay, own), handle): ((RelayId, &RelayRow), Handle),
    (asked, before): (ContactId, &ContactRow),
    known: ContactId,
    now: i64,
) -> Result<(ContactId, ContactRow), StoreError> {
    let (mut rest, mut moved) = (before.clone(), Vec::new());
    rest.paths.retain(|path| {
        let stays = (path.relay, path.handle) != (relay, handle);
        if !stays {
            moved.push(path.clone());
        }
        stays
    });
    if rest.paths.is_empty() {
        rest.stage = Stage::Removed;
    }
    row::put(txn, asked, Some(before), &rest)?;
    let Some(was) = txn.get::<row::Contacts>(&known)? else { return Ok((asked, rest)) };
    let mut row = ContactRow { verified: was.verified.or(before.verified), ..was.clone() };
    let mut met_again = false;
    for path in &moved {
        // Met again at the same address, by a link: the row from before is not needed any more.
        for old in row.paths.extract_if(.., |old| (old.relay, &old.user) == (relay, &path.user)) {
            ask::withdraw(txn, (relay, old.handle))?;
            tell(txn, relay, &ToRelay::Remove(old.handle))?;
            met_again = true;
        }
    }
    for path in moved {
        direct::add_path(txn, &mut row, path)?;
    }
    row::put(txn, known, Some(&was), &row)?;
    if met_again {
        // Where both used a link of the other's, each keeps the row that the other gave up. Asked by
        // name, the contact answers on the one that it has, and the two belong together.
        ask::ask(txn, me, (relay, own), known, &row, now)?;
    }
    Ok((known, row))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ams_crypto::identity::IdentityKey;
    use ams_crypto::olm::OlmAccount;
    use ams_crypto::store::StoreKey;
    use ams_wire::id::{Blob, IntroId, RootTag, WorkMark};
    use ams_wire::receipt::Window;
    use ams_wire::username::Username;

    use super::*;
    use crate::outbox::row::{Out, OutState, TextRow};
    use crate::outbox::state::Outcome;
    use crate::outbox::wish::Wish;
    use crate::outbox::{Draft, push};
    use crate::session::row::{CipherRow, Envelopes};
    use crate::session::seal::CipherKey;
    use crate::settings::Undeliverable;
    use crate::store::Store;

    const BOB: ContactId = ContactId(1);
    const HOME: RelayId = RelayId(1);
    const OLD: RootTag = RootTag([1; 8]);
    const NOW: i64 = 1_800_000_000_000;

    /// The keys that alice and bob have had until now.
    fn old_root() -> RootRow {
        RootRow {
            keys: Vec::new(),
            requester: true,
            intro: IntroId([1; 32]),
            generation: 1,
            opened: true,
            ratchet: Vec::new(),
            next_ctr: 4,
            taken: Window::new(1),
            made_at: NOW,
            retired: false,
        }
    }

    fn hi() -> Draft {
        let text = TextRow { text: "hi".to_owned(), ..TextRow::default() };
        Draft { to: "bob".to_owned(), id: None, text, wish: Wish::default() }
    }

    /// Seals by hand: what is in it does not matter here.
    fn seal(txn: &Txn<'_>, ctr: u64, seq: Option<u64>) -> Result<CipherKey, StoreError> {
        let cipher = CipherRow { seq, relay: HOME, mark: WorkMark::default() };
        txn.put::<Ciphers>(&(BOB, OLD, ctr), &cipher)?;
        txn.put::<Envelopes>(&(BOB, OLD, ctr), &vec![9; 473].into())?;
        Ok(CipherKey { contact: BOB, root: OLD, ctr })
    }

    /// Otherwise what is sealed under the fresh keys would come before it.
    #[tokio::test]
    async fn what_has_no_receipt_is_sealed_anew_as_soon_as_fresh_keys_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ams.redb");
        let store = Store::create(&path, StoreKey::new(&[7; 32]), Arc::new(|_| {})).unwrap();
        let me = store.write(Me::create).await.unwrap();
        let bob = Arc::new(IdentityKey::generate());
        let shown = store.write(move |txn| {
            let handle = Handle([3; 16]);
            let user = Username::new("bob").unwrap();
            let row = ask::new_row("bob".to_owned(), HOME, user.clone(), handle, Stage::Active);
            let row = ContactRow { identity: Some(Key(*bob.public().as_bytes())), ..row };
            row::put(txn, BOB, None, &row)?;
            txn.put::<Roots>(&(BOB, OLD), &old_root())?;
            // The first is on its way, the second the relay gave up; the third is sealed and has
            // not left; and a question is out.
            for _ in 0..3 {
                push(txn, &hi(), NOW).unwrap();
            }
            let settle = |key, outcome| {
                state::settle(txn, key, outcome, "relay:home", Undeliverable::Ask, NOW)
            };
            settle(seal(txn, 1, Some(1))?, Outcome::Sent)?;
            settle(seal(txn, 2, Some(2))?, Outcome::Failed)?;
            seal(txn, 3, Some(3))?;
            seal(txn, 4, None)?;

            let row = txn.get::<row::Contacts>(&BOB)?.unwrap();
            ask::ask(txn, &me, (HOME, &RelayRow::home()), BOB, &row, NOW)?;
            assert_eq!(txn.list::<Ciphers>(&BOB)?.len(), 4, "asking alone changes nothing");
            let asked = txn.get::<Asked>(&(HOME, handle))?.unwrap().secrets()?;
            let intro = introduction::verify(asked.intro()).unwrap();
            let approved = introduction::approve(&bob, &OlmAccount::new(), &intro, None).unwrap();
            let approval = Blob::new(approved.approval);
            let shown = Row { handle, peer: user, state: RowState::Accepted, approval };
            receive(txn, &me, (HOME, &RelayRow::home()), &shown, NOW)?;
            Ok::<_, StoreError>(approved.roots.tag)
        });
        let fresh = shown.await.unwrap();
        let look = store.read_now(|db| {
            let found = roots(db, BOB)?;
            assert_eq!(sealing_root(&found).map(|(tag, _)| *tag), Some(fresh));
            assert!(db.list::<Ciphers>(&BOB)?.is_empty(), "nothing more goes as it was sealed");
            assert!(db.list::<Envelopes>(&BOB)?.is_empty());
            let rows = db.list::<Out>(&BOB)?;
            Ok::<_, StoreError>(rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>())
        });
        let rows = look.unwrap();
        let states: Vec<_> = rows.iter().map(|row| row.state).collect();
        assert_eq!(states, [OutState::Queued, OutState::Undelivered, OutState::Queued]);
        let last = rows[0].steps.last().unwrap();
        assert_eq!(last.reason.as_deref(), Some("sealed anew after a renewal"));
    }
}
