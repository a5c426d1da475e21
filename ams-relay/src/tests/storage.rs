//! What is on the disk and in the logs, and above all what is not.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ams_crypto::dh::DhSecret;
use ams_wire::from_relay::{FromRelay, Outcome};
use ams_wire::id::Handle;
use ams_wire::limits::MIN_ENVELOPE;
use ams_wire::to_relay::{Send, ToRelay};

use super::client::{Client, config, handle};
use crate::config::{Config, Storage};

const CANARY: &[u8] = b"canary that nobody may find";
const PASSWORD: &str = "canary of a password";

/// The bytes themselves, and as people print bytes.
fn spellings(canary: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = canary.iter().map(|byte| format!("{byte:02x}")).collect();
    // Each of the three ways that base64 can begin in the middle of something.
    let base64 = (0..3).map(|skip| {
        let whole = canary[skip..].len() / 3 * 3;
        base64(&canary[skip..skip + whole]).into_bytes()
    });
    let mut all = vec![canary.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    all.extend(base64);
    all
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks_exact(3) {
        let group = u32::from_be_bytes([0, chunk[0], chunk[1], chunk[2]]);
        for shift in [18, 12, 6, 0] {
            text.push(DIGITS[usize::try_from(group >> shift & 63).unwrap()].into());
        }
    }
    text
}

fn contains(haystack: &[u8], canary: &[u8]) -> bool {
    spellings(canary)
        .iter()
        .any(|needle| haystack.windows(needle.len()).any(|window| window == needle))
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |entry: io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).ok()?;
        Some((path.display().to_string(), content))
    };
    std::fs::read_dir(folder).unwrap().filter_map(read).collect()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_canary_is_found_where_it_is() {
    for spelling in spellings(CANARY) {
        let mut around = b"before ".to_vec();
        around.extend_from_slice(&spelling);
        around.extend_from_slice(b" after");
        assert!(contains(&around, CANARY));
    }
    assert!(!contains(b"canary that somebody may find", CANARY));
}

#[tokio::test(start_paused = true)]
async fn no_message_and_no_password_is_on_the_disk_or_in_the_logs() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For every test of this process: one of a single thread would miss what others switched off.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("relay");
    let config = Config { storage: Storage::Folder(data.clone()), ..config() };
    let relay = crate::start(config).await.unwrap();

    let mut people = Vec::new();
    for who in ["alice-canary", "bob-canary"] {
        let key = DhSecret::generate();
        let invite = relay.invite(who).await.unwrap();
        let mut client = Client::dial(&relay, &key).await;
        client.hello().await;
        client.join(&invite, PASSWORD).await;
        client.attach().await;
        people.push((client, key));
    }
    let (mut bob, bob_key) = people.pop().unwrap();
    let (mut alice, _) = people.pop().unwrap();
    alice.ask(handle(1), "bob-canary", "intro").await;
    bob.answer().await;
    bob.approve("alice-canary", handle(1), handle(2), "approval").await;
    alice.answer().await;

    let mut envelope = CANARY.repeat(40);
    envelope.truncate(MIN_ENVELOPE);
    let mut send = async |to, number: u8| {
        envelope[0] = number;
        let send = Send { handle: handle(to), ttl: 0, mark: alice.mark, envelope: &envelope };
        alice.say(&ToRelay::Send(send)).await;
        alice.settled().await;
    };
    // Delivered, held for somebody who is away, and on its way to nobody.
    send(1, 1).await;
    bob.answer().await;
    bob.delivered = 1;
    bob.stored().await;
    bob.settled().await;
    drop(bob);
    send(1, 2).await;
    send(7, 3).await;
    let held = files(&data);
    let (bob, _) = Client::again(&relay, &bob_key).await;
    drop((bob, alice));
    relay.stop().await;
    let stopped = files(&data);

    let names: Vec<_> = stopped.iter().map(|(path, _)| path.rsplit('/').next().unwrap()).collect();
    for expected in ["accounts.redb", "relay.key", "oprf.seed", "opaque.keys", "address"] {
        assert!(names.contains(&expected), "{names:?}");
    }
    for (path, content) in held.iter().chain(&stopped) {
        assert!(!contains(content, CANARY), "a message in {path}");
        assert!(!contains(content, PASSWORD.as_bytes()), "a password in {path}");
    }
    let log = log.0.lock().unwrap();
    assert!(!log.is_empty());
    for secret in [CANARY, PASSWORD.as_bytes(), b"alice-canary", b"bob-canary"] {
        assert!(!contains(&log, secret), "{}", String::from_utf8_lossy(&log));
    }
}

/// However many names that nobody has somebody asks, what is kept stays within the quota, on the disk
/// and in memory.
#[tokio::test(start_paused = true)]
async fn asking_nobody_fills_no_disk() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("relay");
    let mut config = Config { storage: Storage::Folder(data.clone()), ..config() };
    config.limits.asks_per_day = u32::MAX;
    config.limits.control_frame_burst = u32::MAX;
    let quota = u8::try_from(config.limits.asks_pending).unwrap();
    let relay = crate::start(config).await.unwrap();
    let (mut alice, _) = Client::person(&relay, "alice").await;
    let intro = "x".repeat(4_096);
    let size = || std::fs::metadata(data.join("accounts.redb")).unwrap().len();
    for number in 0..1_000 {
        let own = Handle(ams_crypto::random::bytes());
        let own = if number < quota.into() { handle(u8::try_from(number).unwrap()) } else { own };
        let done = alice.ask(own, &format!("nobody{number}"), &intro).await;
        let expected = if number < quota.into() { Outcome::Ok } else { Outcome::Limited };
        assert_eq!(done, FromRelay::Done(expected), "{number}");
    }
    let full = size();
    // Taken back, there is room for another one, and no more than that.
    for number in 0..150 {
        let own = handle(u8::try_from(number % u32::from(quota)).unwrap());
        alice.say(&ToRelay::Remove(own)).await;
        assert_eq!(alice.answer().await, FromRelay::Done(Outcome::Ok));
        let done = alice.ask(own, &format!("another{number}"), &intro).await;
        assert_eq!(done, FromRelay::Done(Outcome::Ok));
    }
    assert!(size() <= 2 * full, "{full} bytes became {}", size());
    // Alice, and nobody for any name that she asked.
    assert!(relay.desk().hub.names() <= 2, "{}", relay.desk().hub.names());
}

#[tokio::test]
async fn a_torn_folder_is_not_made_whole_with_new_keys() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("relay");
    let config = || Config { storage: Storage::Folder(data.clone()), ..config() };
    let relay = crate::start(config()).await.unwrap();
    let link = relay.link_text();
    let error = crate::start(config()).await.unwrap_err().to_string();
    assert!(error.contains(&std::process::id().to_string()), "{error}");
    relay.stop().await;
    let relay = crate::start(config()).await.unwrap();
    assert_eq!(relay.link_text(), link);
    relay.stop().await;
    for file in crate::data::KEY_FILES {
        let away = folder.path().join("away");
        std::fs::rename(data.join(file), &away).unwrap();
        let error = crate::start(config()).await.unwrap_err().to_string();
        assert!(error.contains(file) && error.contains("backup"), "{error}");
        assert!(!data.join(file).exists());
        std::fs::rename(&away, data.join(file)).unwrap();
    }
    std::fs::write(data.join("accounts.redb"), []).unwrap();
    assert!(crate::start(config()).await.is_err());
}
