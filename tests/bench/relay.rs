//! A real relay with accounts on it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use ams_crypto::dh::DhPublic;
use ams_crypto::opaque::{ClientRegistration, Password};
use ams_rpc::admin::{InviteCreateParams, invite};
use ams_rpc::client::Client;
use ams_wire::address::Link;
use ams_wire::id::InviteToken;
use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::client::{Account, AmsLink, meet};
use crate::process::{Server, command, program};

/// Bounds that would only slow down the load, and source addresses from which it comes.
const CONFIG: &str = r#"
listen = "127.0.0.1:0"
retry_window = "60s"

[limits]
accepts_per_second = 1000000
accept_burst = 1000000
source_accepts_per_second = 1000000
source_accept_burst = 1000000
strangers = 10000
source_strangers = 10000
source_logins_per_minute = 1000000
frames_per_second = 100000000
frame_burst = 100000000
bytes_per_second = 4000000000
byte_burst = 4000000000
asks_per_day = 10000
asks_pending = 10000
ask_interval = "0s"
requests_shown = 1000
accounts = 100000
presence_tick = "100ms"
"#;
/// Links that are made at the same time.
const AT_ONCE: usize = 16;

/// A relay that runs.
pub(crate) struct Relay {
    pub(crate) server: Server,
    folder: PathBuf,
    pub(crate) at: SocketAddr,
    key: DhPublic,
    /// The upload of the first registration, good for every account: a relay cannot tell, and a
    /// password's stretching for each would take the longest time of all.
    upload: Option<[u8; 192]>,
}

/// Where links lead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) at: SocketAddr,
    pub(crate) key: DhPublic,
}

impl Relay {
    /// Starts a relay in `folder`, with what lies there already.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("relay.toml"), CONFIG)?;
        let server = Server::start(serve(folder)?, folder)?;
        let link = Link::parse_relay(server.line())?;
        let at = link.at.to_string().parse()?;
        let key = DhPublic::from_bytes(*link.relay.as_bytes())?;
        Ok(Self { server, folder: folder.to_owned(), at, key, upload: None })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn place(&self) -> Place {
        Place { at: self.at, key: self.key }
    }

    /// One invite for each name.
    pub(crate) fn invite(&self, names: impl Iterator<Item = String>) -> Result<Vec<String>> {
        let mut admin = Client::connect(&self.folder.join("data/relay.sock"))?;
        let create = |name| {
            let params = InviteCreateParams { name, expires: None };
            Ok(admin.call::<invite::Create>(&params)?.link)
        };
        names.map(create).collect()
    }

    /// Registers `count` accounts by invite.
    pub(crate) async fn register(&mut self, count: u32) -> Result<Vec<Account>> {
        let invites = self.invite((0..count).map(|number| format!("user-{number}")))?;
        let password = Password::new("correct horse battery".to_owned())?;
        let (registration, request) = ClientRegistration::start(password)?;
        let tokens = invites.iter().map(|invite| Ok(Link::parse_invite(invite)?.token));
        let tokens = tokens.collect::<Result<Vec<InviteToken>>>()?;
        let account = |number: u32, token| Ok::<_, anyhow::Error>((Account::new(number)?, token));
        let mut waiting = (0_u32..).zip(tokens).map(|(number, token)| account(number, token));
        let mut accounts = Vec::new();
        if self.upload.is_none() {
            let (account, token) = waiting.next().context("no account")??;
            let mut link = AmsLink::hello(&account, self.place()).await?;
            let response = link.join(token, request).await?;
            let upload = registration.finish(&response)?;
            link.finish_join(upload).await?;
            self.upload = Some(upload);
            accounts.push(account);
        }
        let upload = self.upload.context("no upload")?;
        let place = self.place();
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < AT_ONCE
                && let Some(next) = waiting.next()
            {
                let (account, token) = next?;
                tasks.spawn(async move {
                    let mut link = AmsLink::hello(&account, place).await?;
                    link.join(token, request).await?;
                    link.finish_join(upload).await?;
                    Ok::<_, anyhow::Error>(account)
                });
            }
            let Some(done) = tasks.join_next().await else { break };
            accounts.push(done??);
        }
        accounts.sort_by_key(|account| account.number);
        Ok(accounts)
    }

    /// Makes contacts of every two neighbours.
    pub(crate) async fn pair_up(&self, accounts: &[Account]) -> Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        for two in accounts.chunks_exact(2) {
            if let [one, two] = two {
                meet(one, two, self.place()).await?;
                pairs.push(Pair { one: one.clone(), two: two.clone() });
            }
        }
        ensure!(!pairs.is_empty(), "no pairs");
        Ok(pairs)
    }

    /// Both links of each pair, for envelopes of `size` bytes.
    pub(crate) async fn connect(
        &self,
        pairs: &[Pair],
        size: usize,
    ) -> Result<Vec<(AmsLink, AmsLink)>> {
        let mut links = Vec::new();
        for pair in pairs {
            let one = AmsLink::attach(&pair.one, self.place(), size).await?;
            links.push((one, AmsLink::attach(&pair.two, self.place(), size).await?));
        }
        Ok(links)
    }
}

/// Two accounts that are contacts.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    one: Account,
    two: Account,
}

/// How a relay in `folder` is run.
fn serve(folder: &Path) -> Result<Command> {
    let mut command = command(&program("ams-relay")?);
    command.arg("serve").arg("--config").arg(folder.join("relay.toml"));
    command.arg("--data").arg(folder.join("data"));
    Ok(command)
}

/// Each task's work on one of `items`, so many at once; an error ends it.
pub(crate) async fn all<I, F, T>(
    items: impl Iterator<Item = I>,
    work: impl Fn(I) -> F,
) -> Result<Vec<T>>
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let mut items = items.fuse();
    let (mut tasks, mut done) = (JoinSet::new(), Vec::new());
    loop {
        while tasks.len() < AT_ONCE
            && let Some(item) = items.next()
        {
            tasks.spawn(work(item));
        }
        match tasks.join_next().await {
            Some(result) => done.push(result??),
            None => return Ok(done),
        }
    }
}
