//! A daemon that answers what a test tells it to, on a real socket.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};
use tempfile::TempDir;

/// What a test does with a call.
pub(crate) enum Reply {
    Result(Value),
    Error(Value),
    /// Closes the connection after this result.
    Last(Value),
    /// Closes the connection without a word.
    Break,
    /// As `Break`, and takes the socket away.
    Vanish,
}

/// An error as the daemon sends it.
pub(crate) fn error(kind: &str, exit: u8) -> Reply {
    let data = json!({"kind": kind, "hint": format!("hint of {kind}"), "exit": exit});
    Reply::Error(json!({"code": -1, "message": format!("message of {kind}"), "data": data}))
}

pub(crate) struct Fake {
    pub(crate) folder: TempDir,
    calls: Receiver<(String, Value)>,
}

impl Fake {
    /// Serves until the process ends; `answer` sees each call.
    pub(crate) fn start(answer: impl FnMut(&str, &Value) -> Reply + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("amsd.sock")).unwrap();
        let (sender, calls) = channel();
        let path = folder.path().join("amsd.sock");
        std::thread::spawn(move || serve(&listener, &path, &sender, answer));
        Self { folder, calls }
    }

    pub(crate) fn home(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home().join("amsd.sock")
    }

    /// The calls so far.
    pub(crate) fn calls(&self) -> Vec<(String, Value)> {
        self.calls.try_iter().collect()
    }

    /// Runs `amsctl` on this daemon.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        amsctl().arg("--home").arg(self.home()).args(args).output().unwrap()
    }

    pub(crate) fn run_with(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut child = amsctl()
            .arg("--home")
            .arg(self.home())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let stdin = stdin.to_vec();
        let writing = std::thread::spawn(move || {
            let _ = input.write_all(&stdin);
        });
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap();
        output
    }
}

/// The program, with nothing of this machine's environment that it looks at.
pub(crate) fn amsctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amsctl"));
    command.env_remove("AMS_HOME").env_remove("XDG_RUNTIME_DIR").stdin(Stdio::null());
    command
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", out(output), err(output));
}

fn serve(
    listener: &UnixListener,
    path: &Path,
    calls: &Sender<(String, Value)>,
    mut answer: impl FnMut(&str, &Value) -> Reply,
) {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        if talk(&stream, path, calls, &mut answer).is_none() {
            return;
        }
    }
}

/// `None` when the daemon is to be gone.
fn talk(
    mut stream: &UnixStream,
    path: &Path,
    calls: &Sender<(String, Value)>,
    answer: &mut impl FnMut(&str, &Value) -> Reply,
) -> Option<()> {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        let call: Value = serde_json::from_str(&line).unwrap();
        let method = call["method"].as_str().unwrap();
        let _ = calls.send((method.to_owned(), call["params"].clone()));
        let reply = answer(method, &call["params"]);
        let last = matches!(reply, Reply::Last(_));
        let said = match reply {
            Reply::Result(result) | Reply::Last(result) => {
                json!({"jsonrpc": "2.0", "id": call["id"], "result": result})
            }
            Reply::Error(error) => json!({"jsonrpc": "2.0", "id": call["id"], "error": error}),
            Reply::Break => return Some(()),
            Reply::Vanish => {
                std::fs::remove_file(path).unwrap();
                return None;
            }
        };
        if writeln!(stream, "{said}").is_err() || last {
            break;
        }
    }
    Some(())
}
