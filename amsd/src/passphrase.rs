//! The passphrase under which the key file is sealed: from a file, from the service manager, or from
//! whoever sits at the terminal; and how the file is sealed, sealed anew, and opened for good.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use ams_crypto::Zeroizing;
use ams_crypto::keyfile::{self, CreateError, Kind, LoadError, Secret};
use ams_crypto::opaque::MIN_PASSWORD;
use ams_rpc::places::Places;

use crate::cli::Args;
use crate::home::{Home, HomeError};

/// The name of the service manager's credential.
pub const CREDENTIAL: &str = "amsd.passphrase";
/// The longest that is read, in bytes.
const LONGEST: u64 = 4096;

/// What people type. It is wiped when it is dropped.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(secret)")
    }
}

/// Why there is no passphrase, or the key file stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The file that has it cannot be read.
    #[error("cannot read the passphrase from {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file has something else.
    #[error("there is no passphrase in {}: {what}", path.display())]
    NotOne {
        /// The file.
        path: PathBuf,
        /// How it is.
        what: &'static str,
    },
    /// Nobody can be asked.
    #[error(
        "{} is sealed under a passphrase: give it with --passphrase-file FILE, as the systemd \
         credential {CREDENTIAL}, or start amsd on a terminal",
        .0.display()
    )]
    Needed(PathBuf),
    /// Nobody can be asked for a new one.
    #[error(
        "a new passphrase is needed, and stdin is not a terminal: give it with \
         --new-passphrase-file FILE"
    )]
    NewNeeded,
    /// The terminal.
    #[error("cannot ask for the passphrase: {0}")]
    Terminal(io::Error),
    /// Nothing was typed.
    #[error("the passphrase is empty; nothing was done")]
    Empty,
    /// A new one that is guessed too soon.
    #[error("a new passphrase has at least {MIN_PASSWORD} characters; nothing was done")]
    Short,
    /// Something else was typed the second time.
    #[error("the two passphrases differ; nothing was done")]
    Differ,
    /// The profile's folders.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The key file cannot be read.
    #[error("cannot read the data key {}: {source}", path.display())]
    Key {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: LoadError,
    },
    /// The key file cannot be written.
    #[error("the data key {} stays as it was: {source}", path.display())]
    Write {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: CreateError,
    },
}

/// The passphrase for a start, where there is one or one is needed. Asks on the terminal; so before
/// anything else goes to the background.
///
/// # Errors
/// [`PassphraseError`], also where one is needed and nobody can be asked.
pub fn for_start(
    places: &Places,
    file: Option<&Path>,
) -> Result<Option<Passphrase>, PassphraseError> {
    let key = key_file(places);
    if let Some(found) = given(file)? {
        // Without a key file, the one that this start makes is sealed under it.
        return if key.exists() { Ok(Some(found)) } else { new_one(found).map(Some) };
    }
    // What else is wrong with the file shows when it is opened.
    if !keyfile::is_sealed(&key, Kind::Data).unwrap_or(false) {
        return Ok(None);
    }
    match ask(&format!("Passphrase of {}: ", key.display())) {
        Ok(typed) => typed.map(Some).ok_or(PassphraseError::Needed(key)),
        Err(error) => Err(error),
    }
}

/// Seals the key file or opens it for good, where the arguments ask for that; says what was done.
///
/// # Errors
/// [`PassphraseError`]; the file is as it was then.
pub fn change(args: &Args, places: &Places) -> Result<Option<&'static str>, PassphraseError> {
    let present = args.passphrase_file.as_deref();
    if args.set_passphrase {
        return set(places, present, args.new_passphrase_file.as_deref()).map(Some);
    }
    if args.remove_passphrase { remove(places, present).map(Some) } else { Ok(None) }
}

/// Seals the key file of a profile that no daemon is using, under another passphrase where it is
/// sealed already. The key stays the same: nothing else has to change.
///
/// # Errors
/// [`PassphraseError`]; the file is as it was then.
pub fn set(
    places: &Places,
    present: Option<&Path>,
    new: Option<&Path>,
) -> Result<&'static str, PassphraseError> {
    let home = Home::look(places.clone())?;
    let (secret, was_sealed) = unlock(&home, present)?;
    let new = match new {
        Some(path) => from_file(path)?,
        None => ask_twice()?,
    };
    let new = new_one(new)?;
    put(&home, &secret, Some(&new))?;
    Ok(match was_sealed {
        true => "the key file is sealed under the new passphrase",
        false => "the key file is sealed; from now on amsd needs the passphrase to start",
    })
}

/// Keeps the key file of a profile that no daemon is using without a passphrase again.
///
/// # Errors
/// [`PassphraseError`]; the file is as it was then.
pub fn remove(places: &Places, present: Option<&Path>) -> Result<&'static str, PassphraseError> {
    let home = Home::look(places.clone())?;
    let (secret, was_sealed) = unlock(&home, present)?;
    if !was_sealed {
        return Ok("the key file is not sealed; nothing was done");
    }
    put(&home, &secret, None)?;
    Ok("the key file is no longer sealed: whoever can read it can read everything")
}

/// The key, and whether its file is sealed.
fn unlock(home: &Home, present: Option<&Path>) -> Result<(Secret, bool), PassphraseError> {
    let path = home.key_file();
    let failed = |source| PassphraseError::Key { path: path.clone(), source };
    match keyfile::load(&path, Kind::Data) {
        Ok(secret) => return Ok((secret, false)),
        Err(LoadError::Sealed) => {}
        Err(source) => return Err(failed(source)),
    }
    let present = match given(present)? {
        Some(found) => Some(found),
        None => ask("The present passphrase: ")?,
    };
    let present = present.ok_or_else(|| PassphraseError::Needed(path.clone()))?;
    let secret = keyfile::load_with(&path, Kind::Data, present.as_str()).map_err(failed)?;
    Ok((secret, true))
}

fn put(home: &Home, secret: &Secret, new: Option<&Passphrase>) -> Result<(), PassphraseError> {
    let path = home.key_file();
    let put = keyfile::replace(&path, Kind::Data, secret, new.map(Passphrase::as_str));
    put.map_err(|source| PassphraseError::Write { path, source })
}

fn key_file(places: &Places) -> PathBuf {
    places.data.join(crate::home::KEY_FILE)
}

/// From the file that was named, or from the service manager.
fn given(file: Option<&Path>) -> Result<Option<Passphrase>, PassphraseError> {
    if let Some(path) = file {
        return from_file(path).map(Some);
    }
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    match folder.map(|folder| folder.join(CREDENTIAL)).filter(|path| path.exists()) {
        Some(path) => from_file(&path).map(Some),
        None => Ok(None),
    }
}

/// The whole file but for one newline at its end; `-` is stdin.
fn from_file(path: &Path) -> Result<Passphrase, PassphraseError> {
    let failed = |source| PassphraseError::File { path: path.to_owned(), source };
    let not_one = |what| PassphraseError::NotOne { path: path.to_owned(), what };
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LONGEST).unwrap_or(0)));
    let input: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(failed)?),
    };
    input.take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length == LONGEST) {
        return Err(not_one("it is longer than anybody's"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| not_one("it is not UTF-8"))?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() {
        return Err(not_one("it is empty"));
    }
    Ok(Passphrase(Zeroizing::new(text.to_owned())))
}

/// What is typed on the terminal, which does not show it; `None`: there is none.
fn ask(prompt: &str) -> Result<Option<Passphrase>, PassphraseError> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let typed = rpassword::prompt_password(prompt).map_err(PassphraseError::Terminal)?;
    let typed = Passphrase(Zeroizing::new(typed));
    if typed.as_str().is_empty() { Err(PassphraseError::Empty) } else { Ok(Some(typed)) }
}

/// What a key file may be sealed under from now on; one that is sealed opens under what it has.
fn new_one(passphrase: Passphrase) -> Result<Passphrase, PassphraseError> {
    match passphrase.as_str().chars().count() < MIN_PASSWORD {
        true => Err(PassphraseError::Short),
        false => Ok(passphrase),
    }
}

fn ask_twice() -> Result<Passphrase, PassphraseError> {
    let first = ask("A new passphrase: ")?.ok_or(PassphraseError::NewNeeded)?;
    let second = ask("The same again: ")?.ok_or(PassphraseError::NewNeeded)?;
    if first.as_str() == second.as_str() { Ok(first) } else { Err(PassphraseError::Differ) }
}
