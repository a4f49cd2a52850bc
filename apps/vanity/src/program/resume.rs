//! A search that survives being stopped: how far it came, in a small file.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use vanity::{AddressKind, PublicKey, SecretKey};

use super::key_file;

const FORMAT: &str = "vanity-search/1";

/// Everything needed to go on but the secret key, which has a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    format: String,
    /// The options that say what is wanted: another search must not go on from here.
    wish: String,
    public_key: String,
    /// Every index below has been searched.
    pub(super) next: u64,
}

pub(super) struct ResumeFile {
    path: PathBuf,
    pub(super) state: State,
    secret: Option<SecretKey>,
}

impl ResumeFile {
    /// Goes on with the file if there is one, else starts it. `given` is the key of `--public-key`.
    pub(super) fn open(path: &Path, wish: String, given: Option<PublicKey>) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::start(path, wish, given),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let state: State =
            serde_json::from_str(&text).with_context(|| format!("{} is not a resume file", path.display()))?;
        ensure!(state.format == FORMAT, "{} has the format {:?}", path.display(), state.format);
        ensure!(state.wish == wish, "{} belongs to another search: {}", path.display(), state.wish);
        let secret = match given {
            Some(_) => None,
            None => Some(key_file::read(&key_path(path))?),
        };
        let key = given.or_else(|| secret.as_ref().map(SecretKey::public_key));
        let key = key.map(|key| key.to_string()).unwrap_or_default();
        ensure!(state.public_key == key, "{} belongs to the public key {}", path.display(), state.public_key);
        Ok(Self { path: path.to_owned(), state, secret })
    }

    fn start(path: &Path, wish: String, given: Option<PublicKey>) -> Result<Self> {
        let secret = if given.is_some() { None } else { Some(SecretKey::generate()?) };
        if let Some(secret) = &secret {
            key_file::write(&key_path(path), secret, AddressKind::P2pkh)?;
        }
        let key = given.or_else(|| secret.as_ref().map(SecretKey::public_key));
        let public_key = key.map(|key| key.to_string()).unwrap_or_default();
        let state = State { format: FORMAT.to_owned(), wish, public_key, next: 0 };
        let file = Self { path: path.to_owned(), state, secret };
        file.save()?;
        Ok(file)
    }

    pub(super) fn secret(&self) -> Option<SecretKey> {
        self.secret.clone()
    }

    pub(super) fn advance(&mut self, points: u64) -> Result<()> {
        self.state.next = self.state.next.saturating_add(points);
        self.save()
    }

    /// Replaces the file in one step: a crash leaves the old state or the new one.
    fn save(&self) -> Result<()> {
        let new = self.path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(serde_json::to_string(&self.state)?.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// The search is over and its key is safe elsewhere.
    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
        if self.secret.is_some() {
            let _ = fs::remove_file(key_path(&self.path));
        }
    }
}

fn key_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".key");
    name.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn public_key() -> PublicKey {
        SecretKey::from_bytes(&[0x42; 32]).expect("a key").public_key()
    }

    /// Opens a file with this text, for a known search.
    fn opened(text: &[u8]) -> Result<State> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state");
        fs::write(&path, text).expect("written");
        Ok(ResumeFile::open(&path, "wish".to_owned(), Some(public_key()))?.state)
    }

    fn state(next: u64) -> State {
        let (format, wish, public_key) = (FORMAT.to_owned(), "wish".to_owned(), public_key().to_string());
        State { format, wish, public_key, next }
    }

    proptest! {
        #[test]
        fn noise_is_refused(text in prop_oneof!["\\PC{0,200}", "[{}\\[\\]\",:0-9a-z]{0,60}"]) {
            prop_assert!(opened(text.as_bytes()).is_err());
        }

        #[test]
        fn bytes_that_are_no_text_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(opened(&bytes).is_err());
        }

        /// One changed byte: refused, or another place of the same search, as far as it can be one.
        #[test]
        fn a_damaged_file_belongs_to_no_other_search(next: u64, at in any::<prop::sample::Index>(), byte in 0x20..0x7f_u8) {
            let written = serde_json::to_string(&state(next)).expect("serialises");
            prop_assert_eq!(opened(written.as_bytes()).expect("as it was written"), state(next));
            let mut damaged = written.into_bytes();
            let at = at.index(damaged.len());
            damaged[at] = byte;
            if let Ok(read) = opened(&damaged) {
                prop_assert_eq!(&read, &state(read.next));
            }
        }
    }
}
