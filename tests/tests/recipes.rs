//! What `packaging/RECIPES.md` tells people to paste does what it says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a surprise ends the test that met it"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use ams_tests::process::{Process, file};
use ams_tests::programs::{program, root};
use ams_tests::shell::{Operator, User};

/// Fenced blocks by the name in the line before them, as far as it is a file, and all in TOML.
fn blocks() -> (BTreeMap<String, String>, Vec<String>) {
    let text = fs::read_to_string(root().join("packaging/RECIPES.md")).unwrap();
    let (mut named, mut toml) = (BTreeMap::new(), Vec::new());
    let (mut name, mut block) = (None, None::<(String, String)>);
    for line in text.lines() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(language)) => block = Some((language.to_owned(), String::new())),
            (Some(_), Some(_)) => {
                let (language, text) = block.take().unwrap();
                if language == "toml" {
                    toml.push(text);
                } else if let Some(name) = name.take() {
                    named.insert(name, text);
                }
            }
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {
                let quoted = line.strip_prefix('`').and_then(|rest| rest.split_once('`'));
                let file = quoted.map(|(path, _)| path.rsplit('/').next().unwrap().to_owned());
                if !line.is_empty() {
                    name = file;
                }
            }
        }
    }
    (named, toml)
}

struct House {
    folder: tempfile::TempDir,
    alice: User,
    oncall: User,
    daemons: Vec<Process>,
    _relay: Operator,
}

/// Alice, who has pasted it all, and somebody who is on call.
fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let [alice, oncall] = ["alice", "oncall"].map(|name| User::new(&folder.path().join(name)));
    let own = folder.path().join("own");
    for path in [alice.home(), &own] {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let here = own.to_str().unwrap();
    let at_home = |text: &str| {
        text.replace("/run/ams/", &format!("{here}/"))
            .replace("/usr/local/bin/", &format!("{here}/"))
    };
    let executable = |name: &str, text: &str| {
        let path = file(&own, name, text);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let (named, toml) = blocks();
    for name in ["ams-login-alert", "ams-cron", "ams-ci", "ams-echo", "ams-alertmanager"] {
        executable(name, &at_home(&named[name]));
    }
    // Where it is installed, it is found by its name; and the daemon in the place where it is.
    let home = alice.home().display();
    let amsctl = program("amsctl");
    executable(
        "amsctl",
        &format!("#!/bin/sh\nexport AMS_HOME='{home}'\nexec '{}' \"$@\"\n", amsctl.display()),
    );
    // The group is of another machine, and a desktop is for another test.
    let config: Vec<String> =
        toml.iter().filter(|text| !text.contains("notify")).cloned().collect();
    assert_eq!((toml.len(), config.len()), (3, 2));
    let config = at_home(&config.join("\n")).replace("group = \"ci\"\n", "");
    file(alice.home(), "config.toml", &config);
    let path = format!("{here}:{}", std::env::var("PATH").unwrap());
    let mut hers = alice.daemon(&[]).with("PATH", &path);
    hers.start();
    let daemons = vec![hers, oncall.starts_daemon()];
    for (user, name) in [(&alice, "alice"), (&oncall, "oncall")] {
        user.joins(&relay.invites(name)).exits(0);
    }
    alice.meets("alice", &oncall, "oncall");
    House { folder, alice, oncall, daemons, _relay: relay }
}

impl House {
    fn script(&self, name: &str) -> Command {
        let own = self.folder.path().join("own");
        let mut command = Command::new(own.join(name));
        command.env("PATH", format!("{}:{}", own.display(), std::env::var("PATH").unwrap()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// As cron runs it: with a few variables, and with that one which the crontab has to set.
    fn cron(&self, line: &str) -> ExitStatus {
        let run = self.folder.path().join("run");
        if !run.exists() {
            fs::create_dir(&run).unwrap();
            symlink(self.alice.home(), run.join("ams")).unwrap();
        }
        let crontab = fs::read_to_string(root().join("packaging/RECIPES.md")).unwrap();
        assert!(crontab.contains("\n    XDG_RUNTIME_DIR=/run/user/1000\n    0 3 * * * "));
        let amsctl = program("amsctl");
        let mut command = self.script("ams-cron");
        command.env_clear().env("HOME", self.folder.path()).env("XDG_RUNTIME_DIR", run);
        command.env("PATH", format!("{}:/usr/bin:/bin", amsctl.parent().unwrap().display()));
        command.args(["oncall", "sh", "-c", line]).status().unwrap()
    }

    fn oncall_reads(&self) -> serde_json::Value {
        let read = ["recv", "--max", "1", "--timeout", "1m", "--json"];
        serde_json::from_str(&self.oncall.amsctl(&read).ok()).unwrap()
    }
}

fn has(program: &str) -> bool {
    let mut run = Command::new(program);
    run.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    run.status().is_ok_and(|status| status.success())
}

#[test]
fn every_config_of_it_is_one() {
    let (_, toml) = blocks();
    for text in toml {
        // The program is where it is installed; here, something else stands for it.
        let text = text.replace("/usr/bin/amsctl", "/bin/sh");
        let text = text.replace("/usr/local/bin/ams-echo", "/bin/sh");
        amsd::config::parse(&text).unwrap_or_else(|mistake| panic!("{mistake}\n{text}"));
    }
}

#[test]
fn logins_cron_and_ci_page() {
    let house = house();
    let mut login = house.script("ams-login-alert");
    login.env("PAM_TYPE", "open_session").env("PAM_USER", "root").env("PAM_RHOST", "192.0.2.7");
    assert!(login.status().unwrap().success());
    let read = house.oncall_reads();
    assert!(read["body"].as_str().unwrap().starts_with("root from 192.0.2.7 on "), "{read}");
    assert_eq!((&read["title"], &read["tags"][0]), (&"ssh login".into(), &"ssh".into()));
    // At a logout, and without a daemon, it is as quiet.
    assert!(
        house
            .script("ams-login-alert")
            .env("PAM_TYPE", "close_session")
            .status()
            .unwrap()
            .success()
    );

    assert!(house.cron("true").success());
    // Bytes that are no character, or none any more: one beyond the last, half of a pair, a lone one.
    let noise = r"printf 'no \364\220\200\200space \355\240\200— left\377\n'; exit 3";
    assert_eq!(house.cron(noise).code(), Some(3));
    let read = house.oncall_reads();
    let body = read["body"].as_str().unwrap();
    assert!(body.contains("exit 3 on ") && body.ends_with("no space — left"), "{body}");
    assert_eq!(read["title"], "cron: sh");

    assert!(house.script("ams-ci").arg("0").status().unwrap().success());
    let paged = house.script("ams-ci").arg("1").env("CI_JOB_NAME", "test").status().unwrap();
    assert!(paged.success());
    assert_eq!(house.oncall_reads()["body"], "test failed: no address");
    drop(house.daemons);
}

#[test]
fn the_echo_bot_answers_once() {
    if !has("python3") {
        println!("skipped: python3 is not installed");
        return;
    }
    let house = house();
    let sent = house.oncall.amsctl(&["send", "alice", "--print-id", "anybody -- there?"]).ok();
    let read = house.oncall_reads();
    assert_eq!((&read["body"], &read["reply_to"]), (&"anybody -- there?".into(), &sent.into()));
    house.alice.amsctl(&["hook", "test", "echo"]).exits(0);
}

#[test]
fn alertmanager_pages() {
    if !has("python3") {
        println!("skipped: python3 is not installed");
        return;
    }
    let house = house();
    let mut server = house.script("ams-alertmanager").args(["oncall", "0"]).spawn().unwrap();
    let mut complained = server.stderr.take().unwrap();
    let mut said = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let port = said.trim().rsplit(' ').next().unwrap();
    let alert = r#"{"alerts":[{"status":"firing","fingerprint":"c0ffee","labels":{"alertname":"Disk","severity":"critical"},"annotations":{"summary":"disk full"}}]}"#;
    let post = |body: &str| {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        let length = body.len();
        write!(stream, "POST / HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    // What is none of Alertmanager's is refused, in a line and not in a traceback.
    let wrong = ["no JSON", "[]", "{}", r#"{"alerts":[1]}"#, r#"{"alerts":[{"status":"firing"}]}"#];
    for body in wrong {
        let answer = post(body);
        assert!(answer.starts_with("HTTP/1.0 400"), "{body}: {answer}");
    }
    let answer = post(alert);
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let mut lines = String::new();
    complained.read_to_string(&mut lines).unwrap();
    let is_short = |line: &str| line.starts_with("ams-alertmanager: not what Alertmanager sends: ");
    assert!(lines.lines().count() == wrong.len() && lines.lines().all(is_short), "{lines}");
    let read = house.oncall_reads();
    assert_eq!((&read["body"], &read["priority"]), (&"FIRING: disk full".into(), &5.into()));
}

/// As Icinga makes a command line of it: what has no order comes first, by name, and macros are
/// replaced.
#[test]
fn icinga_pages() {
    let house = house();
    let text = fs::read_to_string(root().join("packaging/RECIPES.md")).unwrap();
    let (_, object) = text.split_once("object NotificationCommand").unwrap();
    let (object, _) = object.split_once("```").unwrap();
    let strings = |line: &str| -> Vec<String> {
        line.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let line_of = |begin: &str| object.lines().find(|line| line.trim().starts_with(begin)).unwrap();
    let mut words = strings(line_of("command ="));
    assert_eq!(words.remove(0), "/usr/bin/amsctl");
    words.extend(["\"--tag\"", "\"--title\""].iter().flat_map(|key| strings(line_of(key))));
    let body = line_of("\"text\"");
    assert!(body.contains("skip_key = true, order = 9"), "{body}");
    words.push(strings(body).remove(1));
    let own = house.folder.path().join("own");
    let replaced = words.iter().map(|word| {
        word.replace("/run/ams/", &format!("{}/", own.display()))
            .replace("$notification.type$", "PROBLEM")
            .replace("$host.display_name$", "db 1")
            .replace("$service.display_name$", "disk")
            .replace("$service.state$", "CRITICAL")
            .replace("$service.output$", "DISK CRITICAL - free space: / 3 MB (0%)")
    });
    let sent = Command::new(program("amsctl")).args(replaced).output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let read = house.oncall_reads();
    assert_eq!(read["title"], "PROBLEM: db 1");
    assert_eq!(read["tags"][0], "icinga");
    assert_eq!(read["body"], "disk is CRITICAL: DISK CRITICAL - free space: / 3 MB (0%)");
}

/// What USER.md has for a job of continuous integration, as it stands there, in a shell that stops at
/// what fails.
#[test]
fn a_job_pages_and_asks() {
    if !has("bash") {
        println!("skipped: bash is not installed");
        return;
    }
    let text = fs::read_to_string(root().join("packaging/USER.md")).unwrap();
    let (_, job) = text.split_once("\n## In CI\n").unwrap();
    let indented = job.lines().skip(1).map_while(|line| line.strip_prefix("    "));
    let job: String = indented.flat_map(|line| [line, "\n"]).collect();
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let team = User::new(&folder.path().join("team"));
    let _of_team = team.starts_daemon();
    team.joins(&relay.invites("team")).exits(0);
    let link = team.amsctl(&["contact", "link"]).ok();
    let _of_the_job = User::new(&folder.path().join("ams")).in_the_background();
    let programs = program("amsctl");
    let path = format!("{}:/usr/bin:/bin", programs.parent().unwrap().display());
    let mut run = Command::new("bash");
    run.args(["-e", "-c", &job]).env_clear().env("PATH", path).env("RUNNER_TEMP", folder.path());
    run.env("AMS_INVITE", relay.invites("builds"))
        .env("AMS_PASSWORD", "correct horse battery staple");
    run.env("AMS_CONTACT_LINK", link).env("BUILD", "17").env("RESULT", "green");
    let run =
        run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let read = || -> serde_json::Value {
        let read = ["recv", "--max", "1", "--timeout", "1m", "--json"];
        serde_json::from_str(&team.amsctl(&read).ok()).unwrap()
    };
    let told = read();
    assert_eq!((&told["body"], &told["verified"]), (&"build 17: green".into(), &true.into()));
    let asked = read();
    assert!(asked["body"].as_str().unwrap().starts_with("Deploy?"), "{asked}");
    team.amsctl(&["answer", asked["id"].as_str().unwrap(), "yes"]).exits(0);
    let ended = run.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    let complained = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.ends_with("yes\n"), "{said}\n{complained}");
}

/// Folders that it names.
#[test]
fn what_it_links_to_is_there() {
    let text = fs::read_to_string(root().join("packaging/RECIPES.md")).unwrap();
    for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
        let path: PathBuf = root().join("packaging").join(link.0);
        assert!(Path::new(&path).exists(), "{}", path.display());
    }
}
