//! Figures for Prometheus (text format 0.0.4), over HTTP/1.1, if the config names an address. Totals
//! alone: a figure for each kind of answer would tell who watches it which names exist.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::Administration;

/// A request is read up to here; one that is longer is not ours.
const MAX_REQUEST: usize = 4096;
/// Time for one request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Requests that are answered at the same time; others wait in the socket.
const MAX_REQUESTS: usize = 4;

/// Answers until `stop`. A client that is slow takes one place and no more.
pub(crate) async fn serve(
    listener: TcpListener,
    administration: Arc<Administration>,
    stop: CancellationToken,
) {
    let mut requests = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            // What is answered just now goes with the set.
            () = stop.cancelled() => return,
            Some(_) = requests.join_next() => continue,
            accepted = listener.accept(), if requests.len() < MAX_REQUESTS => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let administration = Arc::clone(&administration);
                requests.spawn(async move {
                    let answered = tokio::time::timeout(PATIENCE, answer(stream, &administration));
                    if !matches!(answered.await, Ok(Ok(()))) {
                        tracing::debug!("a request for figures was not answered");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a request for figures");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, administration: &Administration) -> std::io::Result<()> {
    let mut request = [0; MAX_REQUEST];
    let mut length = 0_usize;
    // The header's end, without which nothing is answered.
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let room = request.get_mut(length..).unwrap_or_default();
        let count = stream.read(room).await?;
        if count == 0 {
            return Ok(());
        }
        length = length.saturating_add(count);
    }
    let (status, body) = match request.strip_prefix(b"GET /metrics") {
        Some([b' ' | b'?', ..]) => match figures(administration).await {
            Some(figures) => ("200 OK", figures),
            None => ("500 Internal Server Error", String::new()),
        },
        _ => ("404 Not Found", String::new()),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

async fn figures(administration: &Administration) -> Option<String> {
    let status = administration.status().await.ok()?;
    let started = status.started.map_or(0, |started| started.as_millis() / 1000);
    let started = u64::try_from(started).unwrap_or(0);
    let mut text = String::new();
    for (name, help, value) in [
        ("accounts", "Accounts on this relay.", status.accounts),
        ("connections", "Daemons that are connected.", status.connections),
        ("held_messages", "Messages in memory.", status.held_messages),
        ("held_bytes", "Bytes of messages in memory.", status.held_bytes),
        ("start_time_seconds", "When the relay started, seconds since 1970.", started),
    ] {
        let name = format!("ams_relay_{name}");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ams_wire::address::HostPort;

    use super::*;
    use crate::accounts::store::Store;
    use crate::config::{Config, Storage};

    #[tokio::test]
    async fn a_silent_client_holds_up_nobody_and_no_stop() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let store = Arc::new(Store::in_memory().unwrap());
        let key = ams_crypto::dh::DhSecret::generate();
        let link = crate::data::link(&key, &HostPort::parse("192.0.2.1", 443).unwrap());
        let config = Config::new(Storage::Memory);
        let administration = Arc::new(Administration::new(store, config, link, None, None));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, administration, stop.clone()));
        let since = Instant::now();

        let _silent = TcpStream::connect(at).await.unwrap();
        let mut asks = TcpStream::connect(at).await.unwrap();
        asks.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        asks.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("ams_relay_accounts 0"), "{answer}");
        stop.cancel();
        serving.await.unwrap();
        assert!(since.elapsed() < PATIENCE, "{:?}", since.elapsed());
    }
}
