//! Figures for Prometheus (text format 0.0.4), over HTTP/1.1, if the config names an address. Totals
//! alone: a figure for each kind of answer would tell who watches it which names exist.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::admin::Administration;

/// A request is read up to here; one that is longer is not ours.
const MAX_REQUEST: usize = 4096;
/// Time for one request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers one request after the other until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    administration: Arc<Administration>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let answered = tokio::time::timeout(PATIENCE, answer(stream, &administration));
                if !matches!(answered.await, Ok(Ok(()))) {
                    tracing::debug!("a request for figures was not answered");
                }
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
