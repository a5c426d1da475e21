//! The rows of daemon and command line, with the real programs.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use ams_crypto::random;
use ams_rpc::client::Client;
use ams_rpc::methods::message;
use ams_rpc::types::{DaemonStatus, MessageId, SendParams, Stage, StoreCounts, WaitParams};
use anyhow::{Context, Result, ensure};

use crate::daemon::{Person, run};
use crate::relay::Relay;
use crate::table::{Figures, Table, count, micros, millis};

/// Commands of which the middle one counts.
const COMMANDS: usize = 30;
/// Messages from one daemon to another.
const MESSAGES: u64 = 6_400;
/// Calls in one line to the daemon, which takes no more.
const BATCH: u64 = 64;
/// Messages that are waited for, one after the other.
const TRIPS: usize = 200;
/// Contacts that are written to in turn.
const RECIPIENTS: usize = 50;
/// Contacts of the idle daemon.
const CONTACTS: usize = 100;
const IDLE: Duration = Duration::from_secs(10);
const STORED: u64 = 100_032;
/// What is asked of a daemon that keeps many messages.
const STORED_LOOKS: [&[&str]; 7] = [
    &["status"],
    &["reader", "list"],
    &["recv", "--peek", "--max", "10"],
    &["history", "--limit", "20"],
    &["history", "--limit", "20", "--search", "xxx"],
    &["history", "--search", "what nobody said"],
    &["queue", "list"],
];
/// How often.
const LOOKS: usize = 10;

/// Measures the rows that are wanted.
pub(crate) fn measure(table: &mut Table, wants: impl Fn(&str) -> bool) -> Result<()> {
    if wants("direct") {
        direct(table)?;
    }
    if ["send", "throughput", "stored"].into_iter().any(&wants) {
        eprintln!("two daemons");
        let scratch = tempfile::tempdir()?;
        let relay = Relay::start(&scratch.path().join("relay"))?;
        let alice = Person::join(scratch.path(), "alice", &relay)?;
        let bob = Person::join(scratch.path(), "bob", &relay)?;
        alice.meet(&bob)?;
        if wants("send") {
            commands(table, &alice)?;
        }
        if wants("throughput") {
            let what = "daemon to daemon, durable and receipted, one pair";
            throughput(table, (what, ">= 3,000 messages/s"), &alice, &[&bob], Some(&relay))?;
        }
        if wants("stored") {
            stored(table, alice, bob)?;
        }
    }
    if wants("contacts") {
        contacts(table)?;
    }
    if wants("idle") {
        idle(table)?;
    }
    Ok(())
}

fn commands(table: &mut Table, alice: &Person) -> Result<()> {
    let figures = || Figures::new("ms", 2);
    let (mut sent, mut delivered, mut floor) = (figures(), figures(), figures());
    let send = alice.amsctl(&["send", "bob", "disk full on host seven"])?;
    let wait = alice.amsctl(&["send", "bob", "--wait", "delivered", "disk full on host seven"])?;
    let mut commands =
        [(Command::new("true"), &mut floor), (send, &mut sent), (wait, &mut delivered)];
    let (disk, mut synced) = (tempfile::tempfile()?, figures());
    // In turn: what else the machine does concerns all of them alike.
    for _ in 0..COMMANDS {
        synced.add(millis(sync_twice(&disk)?));
        for (command, figures) in &mut commands {
            figures.add(millis(run(command)?));
            alice.until("nothing is on its way", is_through)?;
        }
    }
    let what = "amsctl send, process start to exit (floor: true)";
    table.row(what, "<= 1.5 ms", &sent, Some(&floor));
    table.row("amsctl send --wait delivered", "<= 4 ms", &delivered, Some(&floor));
    table.row("what one commit asks of this disk: 20 pages, two syncs", "", &synced, None);
    Ok(())
}

/// What a commit writes, without the commit. `send` needs one, `--wait delivered` four in a row.
fn sync_twice(disk: &File) -> Result<Duration> {
    let began = Instant::now();
    for page in 1..=20 {
        disk.write_all_at(&random::bytes::<4096>(), page * 8192)?;
    }
    disk.sync_data()?;
    disk.write_all_at(&random::bytes::<320>(), 0)?;
    disk.sync_data()?;
    Ok(began.elapsed())
}

/// Everything that was accepted is receipted.
fn is_through(status: &DaemonStatus) -> bool {
    let queue = status.queue;
    queue.queued + queue.sent + queue.waiting + queue.undelivered == 0
}

fn throughput(
    table: &mut Table,
    (what, goal): (&str, &str),
    alice: &Person,
    to: &[&Person],
    relay: Option<&Relay>,
) -> Result<()> {
    let cpu = || -> Result<[Duration; 3]> {
        let recipients = to.iter().map(|person| person.daemon.cpu()).sum::<Result<_>>()?;
        let relay = relay.map_or(Ok(Duration::ZERO), |relay| relay.server.cpu())?;
        Ok([alice.daemon.cpu()?, recipients, relay])
    };
    let written = || -> Result<[StoreCounts; 2]> {
        let mut recipients = StoreCounts::default();
        for person in to {
            let store = person.status()?.store;
            recipients.commits += store.commits;
            recipients.writes += store.writes;
        }
        Ok([alice.status()?.store, recipients])
    };
    let (cpu_before, before) = (cpu()?, written()?);
    let names: Vec<&str> = to.iter().map(|person| person.name()).collect();
    let took = send_all(alice, &names, MESSAGES)?;
    let (cpu_after, after) = (cpu()?, written()?);
    let (mut used, mut shared) = (Vec::new(), Vec::new());
    for ((name, before), after) in
        ["sender", "recipients", "relay"].iter().zip(cpu_before).zip(cpu_after)
    {
        used.push(format!("{name} {:.0}", micros(after - before) / count(MESSAGES)));
    }
    for ((name, before), after) in ["sender", "recipients"].iter().zip(before).zip(after) {
        let commits = count(after.commits - before.commits);
        let writes = count(after.writes - before.writes);
        shared.push(format!(
            "{name} {:.2} ({:.2} changes shared them)",
            commits / count(MESSAGES),
            writes / count(MESSAGES)
        ));
    }
    let rate = Figures::of("messages/s", 0, count(MESSAGES) / took.as_secs_f64());
    table.row(what, goal, &rate, None);
    table.words("CPU per such message, µs", "", used.join(", "));
    table.words("commits per such message", "", shared.join(", "));
    Ok(())
}

/// Two daemons without a relay, beside two with one.
fn direct(table: &mut Table) -> Result<()> {
    eprintln!("two daemons, directly");
    let scratch = tempfile::tempdir()?;
    let relay = Relay::start(&scratch.path().join("relay"))?;
    let join = |name| Person::join(scratch.path(), name, &relay);
    let (carol, dave) = (join("carol")?, join("dave")?);
    carol.meet(&dave)?;
    let listen = |name| Person::listen(scratch.path(), name);
    let (alice, bob) = (listen("alice")?, listen("bob")?);
    alice.meet_directly(&bob)?;

    let figures = || Figures::new("ms", 2);
    let (mut directly, mut relayed, mut synced) = (figures(), figures(), figures());
    let (mut alices, mut carols) = (alice.client()?, carol.client()?);
    let disk = tempfile::tempfile()?;
    for _ in 0..TRIPS {
        synced.add(millis(sync_twice(&disk)?));
        directly.add(millis(trip(&mut alices, "bob")?));
        relayed.add(millis(trip(&mut carols, "dave")?));
    }
    let what = "one message, until it is delivered, directly (floor: one commit's writes)";
    table.row(what, "four commits in a row", &directly, Some(&synced));
    table.row("the same through a relay on this machine", "", &relayed, Some(&synced));
    let what = "daemon to daemon, directly, durable and receipted, one pair";
    throughput(table, (what, ">= through a relay"), &alice, &[&bob], None)
}

/// From the call to the receipt.
fn trip(client: &mut Client, to: &str) -> Result<Duration> {
    let wait = Some(Stage::Delivered);
    let params = SendParams { wait, ..SendParams::new(to, "disk full on host seven") };
    let began = Instant::now();
    let sent = client.call::<message::Send>(&params)?;
    ensure!(sent.reached, "a message is {}", sent.state);
    Ok(began.elapsed())
}

fn contacts(table: &mut Table) -> Result<()> {
    eprintln!("{RECIPIENTS} contacts who are there");
    let scratch = tempfile::tempdir()?;
    let relay = Relay::start(&scratch.path().join("relay"))?;
    let alice = Person::join(scratch.path(), "alice", &relay)?;
    let mut friends = Vec::new();
    for number in 0..RECIPIENTS {
        let friend = Person::join(scratch.path(), &format!("friend-{number}"), &relay)?;
        alice.meet(&friend)?;
        friends.push(friend);
    }
    let what = format!("daemon to daemon, durable and receipted, to {RECIPIENTS} contacts in turn");
    let to: Vec<&Person> = friends.iter().collect();
    throughput(table, (&what, ""), &alice, &to, Some(&relay))
}

/// Sends messages of 64 B in batches, to one after the other, until all are delivered; gives the time
/// for it.
fn send_all(alice: &Person, to: &[&str], messages: u64) -> Result<Duration> {
    let body = "x".repeat(64);
    let mut stream = UnixStream::connect(alice.socket())?;
    let answers = BufReader::new(stream.try_clone()?);
    // Messages of one contact arrive in order, so the last one is waited for.
    let last = MessageId(random::bytes());
    let mut client = alice.client()?;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut next = to.iter().cycle();
            for batch in 0..messages / BATCH {
                let mut line = String::from("[");
                for number in 0..BATCH {
                    let call = batch * BATCH + number;
                    let id =
                        if call + 1 == messages { last } else { MessageId(random::bytes()) };
                    let comma = if number == 0 { "" } else { "," };
                    let to = next.next().context("nobody to write to")?;
                    write!(
                        line,
                        r#"{comma}{{"jsonrpc":"2.0","id":{call},"method":"message.send","params":{{"to":"{to}","body":"{body}","id":"{id}"}}}}"#
                    )?;
                }
                line.push_str("]\n");
                stream.write_all(line.as_bytes())?;
            }
            Ok::<_, anyhow::Error>(())
        });
        let batches = usize::try_from(messages / BATCH)?;
        for line in answers.lines().take(batches) {
            let line = line?;
            ensure!(!line.contains("\"error\""), "{line}");
        }
        writer.join().map_err(|_| anyhow::anyhow!("the writer failed"))?
    })?;
    let wait = WaitParams { id: last, stage: Stage::Delivered, timeout: None, contact: None };
    client.call::<message::Wait>(&wait)?;
    alice.until("all is delivered", is_through)?;
    Ok(began.elapsed())
}

fn idle(table: &mut Table) -> Result<()> {
    eprintln!("{CONTACTS} contacts");
    let scratch = tempfile::tempdir()?;
    let relay = Relay::start(&scratch.path().join("relay"))?;
    let alice = Person::join(scratch.path(), "alice", &relay)?;
    for number in 0..CONTACTS {
        let friend = Person::join(scratch.path(), &format!("friend-{number}"), &relay)?;
        friend.meet(&alice)?;
        friend.daemon.stop()?;
    }
    let warm = alice.daemon.memory()?;
    let (alice, _) = alice.restart()?;
    alice.until("all contacts are there", |status| !status.relays.is_empty())?;
    std::thread::sleep(Duration::from_secs(1));
    let cpu = alice.daemon.cpu()?;
    std::thread::sleep(IDLE);
    let cpu = alice.daemon.cpu()? - cpu;
    let memory = Figures::of("MiB", 1, alice.daemon.memory()? / 1024.0);
    table.row("idle amsd with 100 contacts, RSS", "<= 15 MiB", &memory, None);
    let warm = format!("{:.1} MiB", warm / 1024.0);
    table.words("the same after it met them, not restarted", "", warm);
    let cpu = format!("{:.0} ms in {} s", millis(cpu), IDLE.as_secs());
    table.words("idle amsd with 100 contacts, CPU", "none measurable", cpu);
    Ok(())
}

/// Start of a daemon that keeps many messages it sent, and of one that keeps as many it received.
fn stored(table: &mut Table, alice: Person, bob: Person) -> Result<()> {
    eprintln!("{STORED} messages");
    let mut left = STORED;
    while left > 0 {
        let some = left.min(100 * BATCH);
        send_all(&alice, &["bob"], some)?;
        left -= some;
    }
    for (person, what) in [(alice, "sent"), (bob, "received")] {
        let (person, took) = person.restart()?;
        let row = |what: &str| format!("100,000 stored messages, {what}");
        let took = Figures::of("ms", 0, millis(took));
        table.row(&row(&format!("{what}: start")), "< 300 ms", &took, None);
        for arguments in STORED_LOOKS {
            let mut figures = Figures::new("ms", 1);
            for _ in 0..LOOKS {
                figures.add(millis(run(&mut person.amsctl(arguments)?)?));
            }
            let what = format!("{what}: {}", arguments.join(" "));
            table.row(&row(&what), "by what is printed", &figures, None);
        }
        let memory = Figures::of("MiB", 1, person.daemon.memory()? / 1024.0);
        table.row(&row(&format!("{what}: RSS after that")), "flat", &memory, None);
    }
    Ok(())
}
