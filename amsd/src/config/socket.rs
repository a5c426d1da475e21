//! `[[socket]]`: a socket beside the daemon's own, with a rule.

use std::path::PathBuf;

use ams_rpc::scope::{Allowed, Scope};
use serde::Deserialize;

use crate::platform;
use crate::scoped::ScopedSocket;

/// Nobody needs more, and each costs memory.
const MAX_SOCKETS: usize = 16;

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSocket {
    path: PathBuf,
    mode: Option<String>,
    group: Option<String>,
    allow: Vec<Allowed>,
    to: Option<Vec<String>>,
}

impl RawSocket {
    /// With a value for everything, beside `others`.
    pub(super) fn checked(self, others: &[ScopedSocket]) -> Result<ScopedSocket, String> {
        let Self { path, mode, group, allow, to } = self;
        if others.len() >= MAX_SOCKETS {
            return Err(format!("there are more than {MAX_SOCKETS} sockets"));
        }
        if !platform::SHARES {
            return Err(platform::NO_SHARING.to_owned());
        }
        if !path.is_absolute() {
            return Err("`path` is absolute, like \"/run/ams/page.sock\"".to_owned());
        }
        if others.iter().any(|other| other.path == path) {
            return Err(format!("another socket has the path {}", path.display()));
        }
        if allow.is_empty() {
            return Err("`allow` says what may be done: \"send\", \"read\" or \"full\"".to_owned());
        }
        let sends = allow.contains(&Allowed::Send) && !allow.contains(&Allowed::Full);
        match &to {
            Some(_) if !sends => {
                return Err("`to` limits `allow = [\"send\"]`, and has no meaning here".to_owned());
            }
            Some(to) if to.is_empty() => {
                return Err("`to` names nobody; without it, every contact is meant".to_owned());
            }
            _ => {}
        }
        let mode = match mode {
            None => 0o600,
            Some(text) => u32::from_str_radix(&text, 8)
                .ok()
                .filter(|mode| mode & !0o777 == 0)
                .ok_or_else(|| format!("`mode` is octal, like \"0660\", and not \"{text}\""))?,
        };
        Ok(ScopedSocket { path, mode, group, scope: Scope::new(allow, to) })
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use crate::config::parse;

    fn socket(text: &str) -> Result<super::ScopedSocket, String> {
        let parsed = parse(&format!("[[socket]]\n{text}\n")).map_err(|mistake| mistake.to_string());
        parsed.map(|config| config.sockets[0].clone())
    }

    #[test]
    fn a_socket_has_its_rule() {
        let page = "path = '/run/ams/page.sock'\nmode = '0660'\ngroup = 'ci'\nallow = ['send']\nto = ['oncall']";
        let page = socket(page).unwrap();
        assert_eq!((page.mode, page.group.as_deref()), (0o660, Some("ci")));
        assert_eq!(page.scope.to_string(), "send to oncall");
        let plain = socket("path = '/x'\nallow = ['read']").unwrap();
        assert_eq!((plain.mode, plain.group), (0o600, None));
    }

    #[test]
    fn what_makes_no_rule_is_refused_with_its_line() {
        for (text, part) in [
            ("path = 'x'\nallow = ['send']", "absolute"),
            ("path = '/x'\nallow = []", "`allow`"),
            ("path = '/x'\nallow = ['write']", "write"),
            ("path = '/x'\nallow = ['read']\nto = ['bob']", "`to`"),
            ("path = '/x'\nallow = ['full', 'send']\nto = ['bob']", "`to`"),
            ("path = '/x'\nallow = ['send']\nto = []", "nobody"),
            ("path = '/x'\nallow = ['send']\nmode = 'rw'", "octal"),
            ("path = '/x'\nallow = ['send']\nmode = '4755'", "octal"),
            ("path = '/x'\nallow = ['send']\n[[socket]]\npath = '/x'\nallow = ['read']", "another"),
            ("allow = ['send']", "path"),
            ("path = '/x'\nallow = ['send']\ncolour = 'red'", "colour"),
        ] {
            let refused = socket(text).unwrap_err();
            assert!(refused.contains(part) && refused.starts_with("line "), "{text}: {refused}");
        }
    }
}
