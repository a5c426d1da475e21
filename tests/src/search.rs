//! Looking for what must not be somewhere: as it is, in base64 and in hex.

use std::fs;
use std::path::{Path, PathBuf};

/// The forms in which a text may hide.
#[derive(Debug, Clone)]
pub struct Canary {
    forms: Vec<(&'static str, Vec<u8>)>,
}

/// Where a canary was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The file, or what else was searched.
    pub place: PathBuf,
    /// In which form.
    pub form: &'static str,
}

impl Canary {
    /// A text to look for; long enough that it is nowhere by chance.
    #[must_use]
    pub fn new(text: &str) -> Self {
        assert!(text.len() >= 9, "{text} is too short to be looked for");
        let bytes = text.as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut forms = vec![
            ("plain", bytes.to_vec()),
            ("hex", hex.clone().into_bytes()),
            ("HEX", hex.to_uppercase().into_bytes()),
            ("backwards", bytes.iter().rev().copied().collect()),
        ];
        // Base64 depends on what stands before it: three ways, each without the characters at its
        // ends, in which the neighbours mix.
        for lead in 0..3 {
            let from = (3 - lead) % 3;
            let whole = &bytes[from..from + (bytes.len() - from) / 3 * 3];
            forms.push(("base64", base64(whole)));
        }
        Self { forms }
    }

    /// In which form it is in there, if it is.
    #[must_use]
    pub fn hides_in(&self, bytes: &[u8]) -> Option<&'static str> {
        let is_in = |form: &[u8]| {
            let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == form[0]);
            starts.into_iter().any(|(at, _)| bytes[at..].starts_with(form))
        };
        self.forms.iter().find(|(_, form)| is_in(form)).map(|(name, _)| *name)
    }

    /// Every file under `folder` in which it is.
    #[must_use]
    pub fn search(&self, folder: &Path) -> Vec<Found> {
        let mut found = Vec::new();
        for file in files(folder) {
            // A file of this moment may be gone in the next.
            let Ok(bytes) = fs::read(&file) else { continue };
            if let Some(form) = self.hides_in(&bytes) {
                found.push(Found { place: file, form });
            }
        }
        found
    }
}

/// Every plain file under `folder`.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

/// Base64 of whole groups of three, for the two alphabets the same unless + or / comes up, which
/// letters, digits and dashes never give in plain ASCII words.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for group in bytes.chunks_exact(3) {
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        for shift in [18, 12, 6, 0] {
            text.push(ALPHABET[(bits >> shift & 63) as usize]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The control: what hides in one of the forms is found, and what is not there is not.
    #[test]
    fn a_canary_is_found_in_every_form() {
        let canary = Canary::new("canary-in-the-mine");
        let within = |lead: usize| ["x".repeat(lead).as_str(), "canary-in-the-mine", "yz"].concat();
        assert_eq!(canary.hides_in(within(2).as_bytes()), Some("plain"));
        for lead in 0..6 {
            let whole = within(lead).into_bytes();
            let padded = [whole.as_slice(), &[b'z'; 2]].concat();
            assert_eq!(canary.hides_in(&base64(&padded)), Some("base64"), "{lead}");
        }
        let hex: String = within(1).bytes().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(canary.hides_in(hex.as_bytes()), Some("hex"));
        assert_eq!(canary.hides_in(hex.to_uppercase().as_bytes()), Some("HEX"));
        assert_eq!(canary.hides_in(b"canary-in-the-mint"), None);

        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/file"), within(0)).unwrap();
        fs::write(folder.path().join("other"), "nothing").unwrap();
        let found = canary.search(folder.path());
        assert_eq!(found, [Found { place: folder.path().join("deep/file"), form: "plain" }]);
    }
}
