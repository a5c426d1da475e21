//! A relay with people on it, in a folder made for this: written by its own store, since joining one
//! by one would take longer than what is to be measured.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use ams_crypto::dh::{DhPublic, DhSecret};
use ams_crypto::introduction;
use ams_crypto::opaque::{ClientRegistration, Password, RelayAccounts};
use ams_crypto::token::Token;
use ams_relay::accounts::store::Store;
use ams_relay::accounts::{Accounts, Approval, OpenInvite, Record};
use ams_relay::data::Data;
use ams_wire::address::Link;
use ams_wire::id::{Blob, Handle, Key};
use ams_wire::username::Username;
use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::client::Place;

/// Bounds that are not what is measured, and a window that keeps little.
const CONFIG: &str = r#"
listen = "127.0.0.1:0"
retry_window = "1s"

[limits]
accepts_per_second = 1000000
accept_burst = 1000000
source_accepts_per_second = 1000000
source_accept_burst = 1000000
source_strangers = 1000000
source_logins_per_minute = 1000000
name_logins_per_hour = 1000000
name_login_delay = "0s"
handshake_time = "1s"
frames_per_second = 100000000
frame_burst = 100000000
control_frames_per_second = 100000000
control_frame_burst = 100000000
bytes_per_second = 4000000000
byte_burst = 4000000000
asks_per_day = 100000000
asks_pending = 10000
ask_interval = "0s"
held_bytes = 4000000000
sender_held_bytes = 4000000000
sender_held_messages = 4000000
contact_held_messages = 4000000
accounts = 1000000
"#;
/// Accounts that are made with one sweep of spent invites.
const AT_ONCE: usize = 500;

/// Alice's handles.
pub(crate) const ASKED_SOMEBODY: Handle = Handle([1; 16]);
pub(crate) const ASKED_NOBODY: Handle = Handle([2; 16]);
pub(crate) const AWAY: Handle = Handle([3; 16]);
pub(crate) const GONE: Handle = Handle([4; 16]);
pub(crate) const BLOCKING: Handle = Handle([5; 16]);

/// Who is on the relay.
pub(crate) struct World {
    folder: PathBuf,
    pub(crate) alice: DhSecret,
    /// Pings beside her.
    pub(crate) carol: DhSecret,
    /// Her contact who is away, and the one who is there and has blocked her.
    pub(crate) away: DhSecret,
    pub(crate) blocking: DhSecret,
    /// Names, in no order: of nobody, and of somebody.
    pub(crate) names: [Vec<Username>; 2],
}

impl World {
    /// Makes one with `names` names of each kind.
    pub(crate) async fn new(folder: &Path, names: usize) -> Result<Self> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("relay.toml"), CONFIG)?;
        let data = Data::claim(&folder.join("data"))?;
        let (store, _) = data.open()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let register = Register { store, now, record: record()? };
        let keys: [DhSecret; 4] = std::array::from_fn(|_| DhSecret::generate());
        let mut people = Vec::new();
        for (name, key) in ["alice", "carol", "away", "blocking"].into_iter().zip(&keys) {
            people.push((Username::new(name)?, Key(*key.public().as_bytes())));
        }
        for name in ["gone", "somebody"] {
            people.push((Username::new(name)?, Key(ams_crypto::random::bytes())));
        }
        register.add(people).await?;
        let mut found = [Vec::new(), Vec::new()];
        for number in 0..2 * names {
            // Alike in length and in where they stand in a tree.
            let bytes: [u8; 8] = ams_crypto::random::bytes();
            let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            found[number % 2].push(Username::new(&format!("n{text}"))?);
        }
        let somebody = found[1].iter().cloned();
        let accounts: Vec<_> =
            somebody.map(|name| (name, Key(ams_crypto::random::bytes()))).collect();
        for some in accounts.chunks(AT_ONCE) {
            register.add(some.to_vec()).await?;
        }
        register.ask(ASKED_SOMEBODY, "somebody").await?;
        register.ask(ASKED_NOBODY, "nobody-x").await?;
        for (handle, name) in [(AWAY, "away"), (GONE, "gone"), (BLOCKING, "blocking")] {
            register.befriend(handle, name).await?;
        }
        let [alice, carol, away, blocking] = keys;
        Ok(Self { folder: folder.to_owned(), alice, carol, away, blocking, names: found })
    }

    /// The relay as a process of its own: the real one, or the control.
    pub(crate) fn serve(&self, leaking: bool) -> Result<Served> {
        let this = std::env::current_exe()?;
        let mut command = if leaking {
            let mut command = Command::new(&this);
            command.arg(crate::LEAKING_RELAY).arg(&self.folder);
            command
        } else {
            let path = this.with_file_name("ams-relay");
            ensure!(path.is_file(), "{} is missing", path.display());
            let mut command = Command::new(path);
            command.arg("serve").arg("--config").arg(self.folder.join("relay.toml"));
            command.arg("--data").arg(self.folder.join("data"));
            command
        };
        command
            .env_remove("NOTIFY_SOCKET")
            .env("AMS_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("stdout")?).read_line(&mut line)?;
        let place = place(line.trim_end())?;
        Ok(Served { place, child: Some(child), inside: None })
    }

    /// The real relay in this process.
    #[cfg(test)]
    pub(crate) async fn serve_inside(&self) -> Result<Served> {
        use ams_relay::config::{Config, Storage};
        let storage = Storage::Folder(self.folder.join("data"));
        let config = Config::read(storage, &self.folder.join("relay.toml"))?;
        let relay = ams_relay::start(config).await?;
        let place = place(&relay.link_text())?;
        Ok(Served { place, child: None, inside: Some(relay) })
    }
}

fn place(link: &str) -> Result<Place> {
    let link = Link::parse_relay(link)?;
    let key = DhPublic::from_bytes(*link.relay.as_bytes())?;
    Ok(Place { at: link.at.to_string().parse()?, key })
}

/// A relay that runs. Dropping it ends it.
pub(crate) struct Served {
    pub(crate) place: Place,
    child: Option<Child>,
    inside: Option<ams_relay::Running>,
}

impl Served {
    /// Resident memory, MiB.
    pub(crate) fn memory(&self) -> Result<f64> {
        let process = self.child.as_ref().map_or("self".to_owned(), |child| child.id().to_string());
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(self.inside.is_some()),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What writes accounts and rows.
struct Register {
    store: Store,
    now: u64,
    record: Record,
}

impl Register {
    async fn add(&self, people: Vec<(Username, Key)>) -> Result<()> {
        let mut invites = JoinSet::new();
        let mut tokens = Vec::new();
        for (name, key) in people {
            let token = Token::generate().hash();
            tokens.push((token, key));
            let invite = OpenInvite { name, expires: self.now + 1 };
            invites.spawn(self.store.create_invite(invite, token, false, u64::MAX));
        }
        while let Some(made) = invites.join_next().await {
            made??;
        }
        let mut joins = JoinSet::new();
        for (token, key) in tokens {
            joins.spawn(self.store.join(token, key, self.record, self.now, u64::MAX));
        }
        while let Some(joined) = joins.join_next().await {
            joined??.context("an invite is not good")?;
        }
        // Those that are spent would be looked through again and again.
        Ok(self.store.sweep(self.now + 1).await?)
    }

    async fn ask(&self, handle: Handle, name: &str) -> Result<()> {
        let (alice, name) = (Username::new("alice")?, Username::new(name)?);
        let intro = Blob::new(vec![0x5a; 2500]).context("blob")?;
        let asked = self.store.ask(&alice, handle, &name, intro, self.now).await?;
        asked.context("not asked")?;
        Ok(())
    }

    /// A contact of alice's, who then may have gone or blocked her.
    async fn befriend(&self, handle: Handle, name: &str) -> Result<()> {
        self.ask(handle, name).await?;
        let by = Username::new(name)?;
        let theirs = Handle([9; 16]);
        let blob = Blob::new(vec![0x5a; 2500]).context("blob")?;
        let to = Username::new("alice")?;
        let approval = Approval {
            intro: introduction::id(blob.as_bytes()),
            by: by.clone(),
            to,
            their_handle: handle,
            handle: theirs,
            blob,
            link: None,
        };
        ensure!(self.store.approve(approval, self.now).await?.theirs, "not approved");
        match name {
            "gone" => ensure!(self.store.delete(&by).await?, "not deleted"),
            "blocking" => drop(self.store.block(&by, theirs, true).await?),
            _ => {}
        }
        Ok(())
    }
}

/// An OPAQUE record, as a real client makes it.
fn record() -> Result<Record> {
    let password = Password::new("nobody knows".to_owned())?;
    let (registration, request) = ClientRegistration::start(password)?;
    let response = RelayAccounts::generate()?.register(&Username::new("somebody")?, &request)?;
    Ok(registration.finish(&response)?)
}
