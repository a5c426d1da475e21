//! `amsd --check` says what is wrong with a profile, each fault as what it is, and changes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that goes wrong may panic"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use ams_crypto::keyfile::{self, Kind};
use ams_crypto::store::StoreKey;
use ams_rpc::places::Places;
use amsd::contacts::ContactId;
use amsd::contacts::row::Names;
use amsd::outbox::row::{Live, OutState};
use amsd::settings::Settings;
use amsd::store::{Store, StoreError, Table, Txn};
use amsd::{Home, Start};

/// A profile that was started once.
struct Profile(tempfile::TempDir);

impl Profile {
    async fn new() -> Self {
        let profile = Self(tempfile::tempdir().unwrap());
        let home = Home::open(Places::in_home(&profile.home())).unwrap();
        let start = Start {
            home,
            settings: Settings::default(),
            listen: Vec::new(),
            public: Vec::new(),
            socket: None,
            disk: None,
        };
        drop(amsd::start(start).await.unwrap().stop().await);
        profile
    }

    fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home().join("data").join(name)
    }

    fn key(&self) -> StoreKey {
        let secret = keyfile::load(&self.file("data.key"), Kind::Data).unwrap();
        StoreKey::new(&secret.to_array::<32>().unwrap())
    }

    /// Writes into the database, under any key.
    async fn write(
        &self,
        key: StoreKey,
        work: impl Fn(&Txn<'_>) -> Result<(), StoreError> + Send + 'static,
    ) {
        let store = Store::open(&self.file("amsd.redb"), key, Arc::new(|_| ())).unwrap();
        store.write(move |txn| work(txn)).await.unwrap();
        store.close().await;
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_amsd"));
        command.arg("--home").arg(self.home()).args(arguments);
        command.env_remove("AMS_HOME").env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        command.output().unwrap()
    }

    /// What a check of a profile that is not whole says. No file changes under it.
    fn finds(&self) -> String {
        let before = files(&self.home().join("data"));
        let checked = self.run(&["--check"]);
        assert_eq!(checked.status.code(), Some(1), "{checked:?}");
        assert_eq!(files(&self.home().join("data")), before, "a check changes nothing");
        let said = [checked.stdout, checked.stderr].concat();
        String::from_utf8(said).unwrap()
    }
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

#[track_caller]
fn says(said: &str, expected: &[&str]) {
    for expected in expected {
        assert!(said.contains(expected), "not said: {expected}\n{said}");
    }
}

/// A table of a version to come.
struct Future;
impl Table for Future {
    const NAME: &'static str = "of_the_future";
    type Key = u64;
    type Row = ();
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_counted_by_their_table() {
    let profile = Profile::new().await;
    let name = |txn: &Txn<'_>| txn.put::<Names>(&[7; 16], &ContactId(9));
    profile.write(StoreKey::new(&[9; 32]), name).await;
    let said = profile.finds();
    says(&said, &["1 of \"contact_names\" cannot", "damaged: restore a backup", "identity   "]);
    assert!(!said.contains("cannot be read\n"), "the identity is whole: {said}");
}

#[tokio::test]
async fn rows_that_do_not_fit_together_are_named() {
    let profile = Profile::new().await;
    let faults = |txn: &Txn<'_>| {
        txn.put::<Names>(&[7; 16], &ContactId(9))?;
        txn.put::<Live>(&(ContactId(9), 3), &OutState::Queued)
    };
    profile.write(profile.key(), faults).await;
    let said = profile.finds();
    says(
        &said,
        &[
            "fault      a name is of contact 9, who is not there",
            "fault      message 3 to contact 9 is queued and not there",
            "damaged",
        ],
    );
}

#[tokio::test]
async fn another_version_is_said_to_be_one() {
    let profile = Profile::new().await;
    profile.write(profile.key(), |txn| txn.put::<Future>(&1, &())).await;
    says(&profile.finds(), &["1 of \"of_the_future\" are of another version of amsd"]);

    fs::write(profile.file("profile"), "ams profile 2\n").unwrap();
    says(&profile.finds(), &["profile is of another version of amsd: start the newer amsd"]);
    // Nor is it started.
    let started = profile.run(&[]);
    assert_eq!(started.status.code(), Some(1));
    says(&String::from_utf8(started.stderr).unwrap(), &["of another version of amsd"]);
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let profile = Profile::new().await;
    let (key, database) = (profile.file("data.key"), profile.file("amsd.redb"));
    let aside = profile.0.path().join("aside");
    fs::rename(&key, &aside).unwrap();
    says(&profile.finds(), &["data.key is missing: put the file back"]);
    // The key of another profile.
    let other = Profile::new().await;
    fs::copy(other.file("data.key"), &key).unwrap();
    says(&profile.finds(), &["0 rows can be read", "put the right key file back"]);
    fs::rename(&aside, &key).unwrap();

    fs::rename(&database, &aside).unwrap();
    says(&profile.finds(), &["amsd.redb is missing"]);
    fs::write(&database, []).unwrap();
    says(&profile.finds(), &["amsd.redb is empty"]);
    fs::write(&database, b"no database at all").unwrap();
    says(&profile.finds(), &["cannot open", "amsd.redb"]);
    fs::rename(&aside, &database).unwrap();
    assert!(profile.run(&["--check"]).status.success());

    // A first start that was cut off is none of these.
    fs::remove_file(profile.file("profile")).unwrap();
    says(&profile.finds(), &["its first start was cut off; the next start of amsd completes it"]);
}

/// Bytes that the disk lost, anywhere in the file: the engine's checksums say so.
#[tokio::test]
async fn a_page_that_is_damaged_is_noticed() {
    let profile = Profile::new().await;
    let database = profile.file("amsd.redb");
    let whole = fs::read(&database).unwrap();
    let used = |page: &&[u8]| page.iter().any(|byte| *byte != 0);
    let pages = whole.chunks(4096).enumerate().skip(1).filter(|(_, page)| used(page));
    let mut noticed = 0_u32;
    for (number, _) in pages.collect::<Vec<_>>() {
        let mut torn = whole.clone();
        torn.iter_mut().skip(number.saturating_mul(4096)).take(4096).for_each(|byte| *byte ^= 0x55);
        fs::write(&database, &torn).unwrap();
        let checked = profile.run(&["--check"]);
        // Pages that nothing leads to any more are nobody's loss.
        if !checked.status.success() {
            noticed = noticed.saturating_add(1);
            assert_eq!(checked.status.code(), Some(1), "{checked:?}");
        }
    }
    assert!(noticed >= 3, "{noticed}");
    fs::write(&database, whole).unwrap();
    assert!(profile.run(&["--check"]).status.success());
}
