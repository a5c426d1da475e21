//! The power goes, at any moment: at each write and each sync of alice, bob and the relay, with
//! what was not synced gone, torn, or there in any order; and again while what is left is mended.
//!
//! `AMS_CUTS=5000` makes it longer, `AMS_CUTS=all` takes every moment in every way;
//! `AMS_CUTS_SEED=N` repeats the choice.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::sync::Arc;

use ams_rpc::admin;
use ams_rpc::methods::{contact, history, identity};
use ams_rpc::types::{ContactParams, HistoryParams, LinkState, Message, MessageId, NoParams};
use ams_tests::Person;
use ams_tests::disk::{Disk, Journal, Loss};
use ams_tests::seed::Seed;
use ams_wire::id::Key;
use amsd::store::Place;

use super::look::{self, Dump};
use super::workload::{Fact, Recorded, Told, Who};

/// Moments in the run that everybody makes.
const CUTS: usize = 200;
/// One in so many of them is followed by a life after it.
const LIVES: usize = 30;

/// The power goes right before a call, with a loss.
#[derive(Debug, Clone, Copy)]
struct Cut {
    who: Who,
    at: usize,
    loss: Loss,
}

/// What was recorded, and what it has to look like at every moment.
struct Recording<'a> {
    recorded: &'a Recorded,
    devices: Vec<Key>,
    /// What a disk holds after a sync.
    synced: BTreeMap<(Who, usize), Dump>,
    seed: Seed,
    /// After the recovery from a cut, it goes in the middle of that recovery: at one moment of it,
    /// or at each.
    again_everywhere: bool,
}

impl<'a> Recording<'a> {
    fn of(recorded: &'a Recorded, seed: Seed) -> Self {
        let devices = [Who::Alice, Who::Bob]
            .map(|who| look::devices(recorded.disk(who), look::key(recorded.person(who).home())));
        let devices = devices.concat();
        Self { recorded, devices, synced: BTreeMap::new(), seed, again_everywhere: false }
    }

    /// Every moment at which `who`'s power can go, once its first start is over.
    fn moments(&self, who: Who) -> Vec<usize> {
        let journal = &self.recorded.journal;
        let is_started = |at: usize| {
            let facts = journal.facts(at);
            facts.iter().any(|fact| matches!(fact, Fact::Started(of) if *of == who))
        };
        let mut calls = journal.calls_to(self.recorded.disk(who));
        calls.push(journal.len());
        let first = calls.partition_point(|at| !is_started(*at));
        calls.split_off(first)
    }

    fn all(&self) -> Vec<Cut> {
        let everybody = [Who::Relay, Who::Alice, Who::Bob];
        let moments = everybody.map(|who| self.moments(who).into_iter().map(move |at| (who, at)));
        let ways = |(who, at)| Loss::ALL.map(|loss| Cut { who, at, loss });
        moments.into_iter().flatten().flat_map(ways).collect()
    }

    fn image(&mut self, cut: Cut) -> Vec<u8> {
        let Recorded { journal, .. } = self.recorded;
        journal.cut(self.recorded.disk(cut.who), cut.at, cut.loss, &mut self.seed)
    }

    /// What is wrong after a cut.
    async fn fault(&mut self, cut: Cut) -> Option<String> {
        let recovery = Journal::<()>::default();
        let image = self.image(cut);
        let disk = recovery.disk(image);
        let at_fault = |fault: String| Some(format!("{cut:?}: {fault}"));
        if let Err(fault) = self.look(cut, &disk).await {
            return at_fault(fault);
        }
        let calls = recovery.len();
        let moments = if self.again_everywhere {
            (0..=calls).collect()
        } else {
            vec![usize::try_from(self.seed.below(calls as u64 + 1)).unwrap()]
        };
        for at in moments {
            let loss = Loss::ALL[usize::try_from(self.seed.below(4)).unwrap()];
            let again = Disk::new(recovery.cut(&disk, at, loss, &mut self.seed));
            if let Err(fault) = self.look(cut, &again).await {
                return at_fault(format!("again before call {at}, {loss:?}: {fault}"));
            }
        }
        None
    }

    /// Opens what is left, and compares it with what must be left.
    async fn look(&mut self, cut: Cut, disk: &Arc<Disk>) -> Result<(), String> {
        let facts = self.recorded.journal.facts(cut.at);
        let got = self.contents(cut.who, disk, &facts).await?;
        let own = self.recorded.disk(cut.who);
        let (before, next) = self.recorded.journal.syncs_around(own, cut.at);
        let mut differences = Vec::new();
        for sync in [before, next].into_iter().flatten() {
            let expected = self.after(cut.who, sync).await;
            match difference(expected, &got) {
                None => return Ok(()),
                Some(difference) => differences.push(difference),
            }
        }
        Err(format!("neither the last commit nor the one under way: {differences:?}"))
    }

    async fn contents(&self, who: Who, disk: &Arc<Disk>, facts: &[Fact]) -> Result<Dump, String> {
        match who {
            Who::Relay => look::relay(disk, &self.devices, facts).await,
            Who::Alice | Who::Bob => {
                let home = self.recorded.person(who).home();
                look::daemon(who, disk, || look::key(home), facts).await
            }
        }
    }

    async fn after(&mut self, who: Who, sync: usize) -> &Dump {
        if !self.synced.contains_key(&(who, sync)) {
            let whole = self.recorded.journal.whole(self.recorded.disk(who), sync + 1);
            let disk = Disk::new(whole);
            let dump = match who {
                Who::Relay => look::relay(&disk, &self.devices, &[]).await.unwrap(),
                Who::Alice | Who::Bob => {
                    let key = look::key(self.recorded.person(who).home());
                    look::dump(&Place::Disk(disk), key).unwrap()
                }
            };
            self.synced.insert((who, sync), dump);
        }
        &self.synced[&(who, sync)]
    }
}

/// Rows that differ, in words.
fn difference(expected: &Dump, got: &Dump) -> Option<String> {
    let keys: std::collections::BTreeSet<_> = expected.keys().chain(got.keys()).collect();
    let differ: Vec<&str> = keys
        .into_iter()
        .filter(|key| expected.get(*key) != got.get(*key))
        .map(|(table, _)| table.as_str())
        .collect();
    (!differ.is_empty()).then(|| differ.join(" "))
}

fn count() -> Option<usize> {
    match env::var("AMS_CUTS").as_deref() {
        Ok("all") => None,
        Ok(number) => Some(number.parse().unwrap()),
        Err(_) => Some(CUTS),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_power_may_go_at_any_moment() {
    let mut seed = Seed::from_environment("AMS_CUTS_SEED");
    let recorded = Recorded::begin().await;
    recorded.live().await;
    recorded.stop().await;
    let mut recording = Recording::of(&recorded, seed.clone());
    let all = recording.all();
    let chosen = match count() {
        None => {
            recording.again_everywhere = true;
            all.clone()
        }
        Some(count) => {
            let mut nth = || usize::try_from(seed.below(all.len() as u64)).unwrap();
            (0..count).map(|_| all[nth()]).collect()
        }
    };
    eprintln!("{} of {} cuts", chosen.len(), all.len());
    let mut faults = Vec::new();
    for cut in &chosen {
        faults.extend(recording.fault(*cut).await);
    }
    assert!(faults.is_empty(), "{} faults: {:#?}", faults.len(), faults.get(..faults.len().min(9)));

    // Everything of one moment, and what comes after it.
    let met = |at: usize| recorded.journal.facts(at).iter().any(|fact| matches!(fact, Fact::Met));
    let first = (0..=recorded.journal.len()).collect::<Vec<_>>().partition_point(|at| !met(*at));
    for _ in 0..chosen.len().div_ceil(LIVES) {
        let span = (recorded.journal.len() - first + 1) as u64;
        let at = first + usize::try_from(seed.below(span)).unwrap();
        lives_on(&mut recording, at).await;
    }
}

/// The power of the whole house goes, and comes back: whatever was accepted arrives, once.
async fn lives_on(recording: &mut Recording<'_>, at: usize) {
    let recorded = recording.recorded;
    let mut image = |who| {
        let loss = Loss::ALL[usize::try_from(recording.seed.below(4)).unwrap()];
        Disk::new(recording.image(Cut { who, at, loss }))
    };
    let home = recorded.net.home();
    home.put_disk(image(Who::Relay)).await;
    recorded.alice.put_disk(image(Who::Alice)).await;
    recorded.bob.put_disk(image(Who::Bob)).await;
    home.start().await;
    for name in ["alice", "bob"] {
        let params = admin::NameParams { name: name.to_owned() };
        home.admin::<admin::user::Enable>(params).await;
    }
    for person in [&recorded.alice, &recorded.bob] {
        person.start().await;
        person.link_is(home, LinkState::Up).await;
    }
    let facts = recorded.journal.facts(at);
    for (from, to) in [(Who::Alice, Who::Bob), (Who::Bob, Who::Alice)] {
        let name = only_contact(recorded.person(from)).await;
        // It may have gone while the contact was blocked.
        let params = ContactParams { name: name.clone() };
        recorded.person(from).call::<contact::Unblock>(params).await;
        let last = recorded.person(from).delivers(&name, "after all that").await;
        recorded.person(from).queue_is_empty().await;
        let came = history_of(recorded.person(to)).await;
        assert_eq!(times(&came, last), 1, "before call {at}");
        for fact in &facts {
            let Fact::Sent(of, id) = fact else { continue };
            let says = |told: &Fact, of: Who| match told {
                Fact::Taken(who, told) => *who == of && told == id,
                Fact::Discarded(who, told) => *who == from && told == id,
                _ => false,
            };
            // What was taken may have left the disk; what was given up may never have come.
            let may_lack = facts.iter().any(|told| says(told, to));
            let times = times(&came, *id);
            let fits = times == 1 || (times == 0 && may_lack);
            assert!(*of != from || fits, "{id} came {times} times; the power went before {at}");
        }
    }
    recorded.stop().await;
}

async fn only_contact(person: &Person) -> String {
    let contacts = person.call::<contact::List>(NoParams {}).await.contacts;
    assert_eq!(contacts.len(), 1, "{contacts:?}");
    contacts[0].name.clone()
}

async fn history_of(person: &Person) -> Vec<Message> {
    let params = HistoryParams { contact: None, search: None, limit: Some(1000), before: None };
    let found = person.call::<history::List>(params).await;
    assert!(!found.more);
    found.messages
}

fn times(messages: &[Message], id: MessageId) -> usize {
    messages.iter().filter(|message| message.id == id).count()
}

/// The power goes while the identity is being made: the next start makes it, or has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_is_cut_off_is_done_again() {
    let journal = Journal::<()>::default();
    let disk = journal.disk(Vec::new());
    let net = ams_tests::Net::new().await;
    let alice = net.stranger_on("alice", Arc::clone(&disk)).await;
    let end = journal.len();
    alice.stop().await;
    let mut seed = Seed::from_environment("AMS_CUTS_SEED");
    for at in 0..=end {
        let loss = Loss::ALL[at % 4];
        // Written when all else is durable.
        fs::remove_file(alice.home().join("data/profile")).unwrap();
        alice.put_disk(Disk::new(journal.cut(&disk, at, loss, &mut seed))).await;
        alice.start().await;
        let made = alice.call::<identity::Show>(NoParams {}).await.fingerprint;
        alice.restart().await;
        let kept = alice.call::<identity::Show>(NoParams {}).await.fingerprint;
        assert_eq!(kept, made, "before call {at}, {loss:?}");
        alice.stop().await;
    }
}

/// The control: a program that answers before it wrote, and a disk that says that it synced and
/// did not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_too_early_is_noticed() {
    let recorded = Recorded::begin().await;
    recorded.meet().await;
    let met = recorded.journal.len();
    recorded.disk(Who::Alice).lie();
    for _ in 0..3 {
        recorded.send(Who::Alice, "bob", Told::Then).await;
        recorded.send(Who::Bob, "alice", Told::Before).await;
    }
    recorded.stop().await;
    let mut recording = Recording::of(&recorded, Seed::new(1));
    let later = |cut: &Cut| cut.at >= met && cut.loss == Loss::Everything;
    let cuts: Vec<Cut> = recording.all().into_iter().filter(later).collect();
    let mut faults = Vec::new();
    for cut in cuts {
        faults.extend(recording.fault(cut).await);
    }
    for who in [Who::Alice, Who::Bob] {
        let told = format!("{who:?} was told what is not so: [Sent(");
        assert!(faults.iter().any(|fault| fault.contains(&told)), "{who:?}: {faults:#?}");
    }
}
