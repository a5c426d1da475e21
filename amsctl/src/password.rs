//! Passwords: from a prompt on a terminal or from a file, never from an argument or the
//! environment.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use ams_rpc::Exit;
use ams_rpc::types::Secret;
use zeroize::Zeroizing;

use crate::failed::Failed;

/// The shortest one that can be chosen, in characters.
pub const SHORTEST: usize = 8;
/// The longest password that is read, in bytes.
const LONGEST: u64 = 4096;

/// Which file stands for a password.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The file that was named, `-` for stdin.
    pub file: Option<&'a Path>,
    /// The option that names it.
    pub option: &'a str,
}

/// A password that exists already.
///
/// # Errors
/// Exit 2 where there is neither a file nor a terminal.
pub fn existing(source: Source<'_>, prompt: &str) -> Result<Secret, Failed> {
    match source.file {
        Some(path) => from_file(path),
        None => ask(source, prompt),
    }
}

/// A password that is chosen now: on a terminal it is asked for twice.
///
/// # Errors
/// Exit 2 where there is neither a file nor a terminal, it is too short, or the two differ.
pub fn new(source: Source<'_>, prompt: &str) -> Result<Secret, Failed> {
    if let Some(path) = source.file {
        return from_file(path);
    }
    let first = ask(source, prompt)?;
    // The daemon would refuse it; who types it need not do so twice.
    if first.expose_secret().chars().count() < SHORTEST {
        return Err(Failed::usage(format!(
            "that is too short; it has at least {SHORTEST} characters, and nothing was done"
        )));
    }
    let second = ask(source, "The same again: ")?;
    if first != second {
        return Err(Failed::usage("the two passwords differ; nothing was done"));
    }
    Ok(first)
}

fn ask(source: Source<'_>, prompt: &str) -> Result<Secret, Failed> {
    if !io::stdin().is_terminal() {
        return Err(Failed::usage("this needs a password, and stdin is not a terminal")
            .hint(format!("give it in a file, or on stdin with {} -", source.option)));
    }
    let typed = rpassword::prompt_password(prompt)
        .map_err(|error| Failed::new(Exit::Failed, format!("cannot ask for it: {error}")))?;
    nonempty(typed)
}

fn from_file(path: &Path) -> Result<Secret, Failed> {
    let failed = |error: io::Error| {
        Failed::usage(format!("cannot read the password from {}: {error}", path.display()))
    };
    if path == Path::new("-") {
        return from_reader(io::stdin().lock(), failed);
    }
    from_reader(File::open(path).map_err(failed)?, failed)
}

fn from_reader(input: impl Read, failed: impl Fn(io::Error) -> Failed) -> Result<Secret, Failed> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LONGEST).unwrap_or(0)));
    let read = input.take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(read).is_ok_and(|read| read == LONGEST) {
        return Err(Failed::usage("the password is longer than anybody's"));
    }
    let text =
        std::str::from_utf8(&bytes).map_err(|_| Failed::usage("the password is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    nonempty(text.to_owned())
}

fn nonempty(text: String) -> Result<Secret, Failed> {
    if text.is_empty() {
        return Err(Failed::usage("the password is empty; nothing was done"));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> Result<Secret, Failed> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p");
        std::fs::write(&path, content).unwrap();
        existing(Source { file: Some(&path), option: "--password-file" }, "? ")
    }

    #[test]
    fn a_file_loses_one_trailing_newline() {
        assert_eq!(file(b"secret\n").unwrap().expose_secret(), "secret");
        assert_eq!(file(b"secret").unwrap().expose_secret(), "secret");
        assert_eq!(file(b" se cret \n\n").unwrap().expose_secret(), " se cret \n");
    }

    #[test]
    fn what_is_no_password_is_usage() {
        for bad in [&b""[..], b"\n", b"\xff\xfe", &[b'x'; 5000]] {
            assert_eq!(file(bad).unwrap_err().exit, 2);
        }
        let missing = Source { file: Some(Path::new("/nowhere/p")), option: "--password-file" };
        assert!(existing(missing, "? ").unwrap_err().message.unwrap().contains("/nowhere/p"));
    }
}
