//! `[[hook]]`: a program that is run for what happens.

use std::path::PathBuf;
use std::time::Duration;

use ams_rpc::types::{EventType, Period};
use serde::Deserialize;
use toml::Spanned;

use crate::hooks::Hook;
use crate::hooks::rule::Filter;

/// Nobody needs more.
const MAX_HOOKS: usize = 32;
/// Characters of a hook's name.
const MAX_NAME: usize = 64;
const MAX_TIMEOUT: Duration = Duration::from_hours(1);
const MAX_RETRIES: u32 = 20;
const MAX_PARALLEL: usize = 4;

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHook {
    name: Option<Spanned<String>>,
    on: Option<Spanned<Vec<EventType>>>,
    from: Option<Spanned<Vec<String>>>,
    verified_only: Option<bool>,
    tags: Option<Spanned<Vec<String>>>,
    run: Spanned<Vec<String>>,
    pass_env: Option<Spanned<Vec<String>>>,
    timeout: Option<Spanned<Period>>,
    retries: Option<Spanned<u32>>,
    parallel: Option<Spanned<usize>>,
}

/// What is wrong, and where.
pub(super) type Wrong = (usize, String);

impl RawHook {
    /// With a value for everything, beside `others`. The table begins at `start`.
    pub(super) fn checked(self, start: usize, others: &[Hook]) -> Result<Hook, Wrong> {
        if others.len() >= MAX_HOOKS {
            return Err((start, format!("there are more than {MAX_HOOKS} hooks")));
        }
        let run_at = self.run.span().start;
        let mut words = self.run.into_inner().into_iter();
        let program = words.next().map(PathBuf::from).unwrap_or_default();
        if !program.is_absolute() {
            let what = "`run` begins with the absolute path of a program, like [\"/usr/bin/logger\", \
                        \"-t\", \"ams\"]; no shell is between";
            return Err((run_at, what.to_owned()));
        }
        crate::hooks::platform::check_program(&program)
            .map_err(|error| (run_at, format!("`run`: {error}")))?;
        let name_at = self.name.as_ref().map_or(run_at, |name| name.span().start);
        let name = match self.name {
            Some(name) => name.into_inner(),
            None => program.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        };
        if !(1..=MAX_NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err((name_at, format!("`name` has 1 to {MAX_NAME} characters")));
        }
        if others.iter().any(|other| other.name == name) {
            return Err((
                name_at,
                format!("another hook is called {name}; give this one a `name`"),
            ));
        }
        let some = |key: &str, words: Option<Spanned<Vec<String>>>| match words {
            Some(words) if words.get_ref().is_empty() => {
                Err((words.span().start, format!("`{key}` names none; leave it out for all")))
            }
            words => Ok(words.map(Spanned::into_inner)),
        };
        let filter = Filter {
            from: some("from", self.from)?,
            verified_only: self.verified_only.unwrap_or(false),
            tags: some("tags", self.tags)?,
        };
        let on = events(self.on)?;
        let pass_env = variables(self.pass_env)?;
        let timeout = within("timeout", self.timeout, Period(Duration::from_secs(10)), |value| {
            (!value.0.is_zero() && value.0 <= MAX_TIMEOUT)
                .then_some(value.0)
                .ok_or("more than nothing, and 1h at most")
        })?;
        let retries = within("retries", self.retries, 3, |value| {
            (value <= MAX_RETRIES).then_some(value).ok_or("20 at most")
        })?;
        let parallel = within("parallel", self.parallel, 1, |value| {
            (1..=MAX_PARALLEL).contains(&value).then_some(value).ok_or("1 to 4")
        })?;
        let args = words.collect();
        Ok(Hook { name, on, filter, program, args, pass_env, timeout, retries, parallel })
    }
}

fn events(on: Option<Spanned<Vec<EventType>>>) -> Result<Vec<EventType>, Wrong> {
    let Some(on) = on else { return Ok(vec![EventType::MessageReceived]) };
    let at = on.span().start;
    let on = on.into_inner();
    if on.is_empty() {
        return Err((at, "`on` names no event, like \"message.received\"".to_owned()));
    }
    if on.contains(&EventType::EventsLost) {
        return Err((at, "`on`: events.lost is for those who follow events".to_owned()));
    }
    Ok(on)
}

fn variables(names: Option<Spanned<Vec<String>>>) -> Result<Vec<String>, Wrong> {
    let Some(names) = names else { return Ok(Vec::new()) };
    let at = names.span().start;
    let names = names.into_inner();
    match names.iter().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        Some(name) => Err((at, format!("`pass_env` has names of variables, and not \"{name}\""))),
        None => Ok(names),
    }
}

/// The value of a key, or `usual`, if it is one that may be.
fn within<T, U>(
    key: &str,
    given: Option<Spanned<T>>,
    usual: T,
    checked: impl Fn(T) -> Result<U, &'static str>,
) -> Result<U, Wrong> {
    let at = given.as_ref().map_or(0, |given| given.span().start);
    let value = given.map_or(usual, Spanned::into_inner);
    checked(value).map_err(|most| (at, format!("`{key}` is {most}")))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::parse;

    fn hook(text: &str) -> Result<Hook, String> {
        let parsed = parse(&format!("[[hook]]\n{text}\n")).map_err(|mistake| mistake.to_string());
        parsed.map(|config| config.hooks[0].clone())
    }

    #[test]
    fn a_hook_has_a_value_for_everything() {
        let plain = hook("run = ['/bin/sh', '-c', 'exit 0']").unwrap();
        assert_eq!(plain.name, "sh");
        assert_eq!(plain.on, [EventType::MessageReceived]);
        assert_eq!(plain.filter, Filter::default());
        assert_eq!(plain.args, ["-c", "exit 0"]);
        assert_eq!((plain.timeout, plain.retries, plain.parallel), (Duration::from_secs(10), 3, 1));
        let full = "name = 'page'\non = ['relay.down', 'message.undelivered']\nfrom = ['alice']\n\
                    verified_only = true\ntags = ['cron']\nrun = ['/bin/sh']\n\
                    pass_env = ['DISPLAY']\ntimeout = '1m'\nretries = 0\nparallel = 4";
        let full = hook(full).unwrap();
        assert_eq!(full.on, [EventType::RelayDown, EventType::MessageUndelivered]);
        assert!(full.filter.verified_only && full.filter.from.is_some());
        assert_eq!((full.timeout, full.retries, full.parallel), (Duration::from_mins(1), 0, 4));
    }

    #[test]
    fn what_makes_no_hook_is_refused_with_line_and_key() {
        for (text, line, part) in [
            ("run = []", 2, "`run`"),
            ("run = ['sh']", 2, "absolute path"),
            ("run = 'echo hi'", 2, "`run`"),
            ("name = 'x'\nrun = ['/no/such/program']", 3, "/no/such/program"),
            ("run = ['/bin']", 2, "not a program"),
            ("run = ['/etc/passwd']", 2, "not executable"),
            ("run = ['/bin/sh']\non = []", 3, "`on`"),
            ("run = ['/bin/sh']\non = ['message.sent']", 3, "message.sent"),
            ("run = ['/bin/sh']\non = ['events.lost']", 3, "events.lost"),
            ("run = ['/bin/sh']\nfrom = []", 3, "`from`"),
            ("run = ['/bin/sh']\npass_env = ['A=b']", 3, "`pass_env`"),
            ("run = ['/bin/sh']\ntimeout = '0s'", 3, "`timeout`"),
            ("run = ['/bin/sh']\ntimeout = '2h'", 3, "`timeout`"),
            ("run = ['/bin/sh']\ntimeout = 10", 3, "`timeout`"),
            ("run = ['/bin/sh']\nretries = 21", 3, "`retries`"),
            ("run = ['/bin/sh']\nparallel = 0", 3, "`parallel`"),
            ("run = ['/bin/sh']\n\n[[hook]]\nrun = ['/bin/sh']", 5, "another hook"),
            ("run = ['/bin/sh']\nname = ''", 3, "`name`"),
            ("run = ['/bin/sh']\ncommand = 'x'", 3, "command"),
        ] {
            let refused = hook(text).unwrap_err();
            let there = refused.starts_with(&format!("line {line}: ")) && refused.contains(part);
            assert!(there, "{text}: {refused}");
        }
    }

    /// Whoever could change the program could run anything as us.
    #[test]
    fn a_program_that_others_could_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        let set = |path: &std::path::Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let text = format!("run = ['{}']", path.display());
        for (mode, part) in [(0o700, ""), (0o755, ""), (0o600, "chmod u+x"), (0o775, "chmod go-w")]
        {
            set(&path, mode);
            match hook(&text) {
                Ok(_) => assert_eq!(part, "", "{mode:o}"),
                Err(refused) => assert!(!part.is_empty() && refused.contains(part), "{refused}"),
            }
        }
        set(&path, 0o755);
        set(folder.path(), 0o777);
        assert!(hook(&text).unwrap_err().contains("chmod go-w"));
        // By a link, too, what counts is where it leads.
        let other = tempfile::tempdir().unwrap();
        let link = other.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let by_link = format!("run = ['{}']", link.display());
        assert!(hook(&by_link).unwrap_err().contains("chmod go-w"));
        set(folder.path(), 0o755);
        hook(&by_link).unwrap();
    }
}
