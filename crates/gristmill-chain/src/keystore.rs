//! Keys on disk: Ethereum keystore files (version 3, scrypt), as geth, MetaMask and cast read them.
//!
//! A key never comes from a flag or an environment variable, where other processes can read it. The password comes from a
//! file or is asked for.
//!
//! ```no_run
//! # fn example(dir: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! use gristmill_chain::keystore::{Password, create, load};
//!
//! let password = Password::read(&dir.join("password"))?;
//! let key = match load(&dir.join("oracle.json"), &password) {
//!     Err(error) if error.is_missing() => create(&dir.join("oracle.json"), &password)?,
//!     other => other?,
//! };
//! println!("{}", key.address());
//! # Ok(()) }
//! ```

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use alloy::{
    primitives::hex,
    signers::{
        k256::elliptic_curve::rand_core::{OsRng, RngCore},
        local::{LocalSignerError, PrivateKeySigner},
    },
};
use zeroize::Zeroizing;

use crate::dev;

/// A keystore file is about 500 bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    #[error("cannot {action} {path}")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} is there already\n\nhint: a key is never overwritten; give another name, or move the file away")]
    Exists(PathBuf),
    #[error("{path} may be read by others (mode {mode:o})\n\nhint: chmod 600 {path}")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{0} is not a keystore file of version 3")]
    NotAKeystore(PathBuf),
    #[error("wrong password for {0}")]
    WrongPassword(PathBuf),
    #[error("the password in {0} is empty\n\nhint: its first line is the password")]
    EmptyPassword(PathBuf),
    #[error("{path} cannot be decrypted")]
    Decrypt {
        path: PathBuf,
        #[source]
        source: LocalSignerError,
    },
    #[error("the key cannot be encrypted")]
    Encrypt(#[source] LocalSignerError),
    #[error(
        "chain {0} is not the embedded development chain, and a plain key is good for no other\n\n\
         hint: make a keystore file"
    )]
    NotTheDevChain(u64),
    #[error("the embedded chain has no account {0} with a known key")]
    NoDevAccount(usize),
}

impl KeystoreError {
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Wiped from memory when dropped; not printable.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Password(…)")
    }
}

impl Password {
    #[must_use]
    pub fn new(password: String) -> Self {
        Self(Zeroizing::new(password))
    }

    /// The first line of a file that only its owner may read.
    pub fn read(path: &Path) -> Result<Self, KeystoreError> {
        let text = read_private(path)?;
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            return Err(KeystoreError::EmptyPassword(path.to_owned()));
        }
        Ok(Self::new(line.to_owned()))
    }
}

/// Where a password comes from: the binary decides how to ask, this crate when.
pub enum PasswordSource<'a> {
    File(&'a Path),
    /// Called with the keystore's path, to be named in the prompt.
    Ask(&'a mut dyn FnMut(&Path) -> io::Result<Password>),
}

impl PasswordSource<'_> {
    pub fn password(&mut self, keystore: &Path) -> Result<Password, KeystoreError> {
        match self {
            Self::File(path) => Password::read(path),
            Self::Ask(ask) => ask(keystore).map_err(failed("ask the password of", keystore)),
        }
    }
}

/// A new random key, in a new file.
pub fn create(path: &Path, password: &Password) -> Result<PrivateKeySigner, KeystoreError> {
    let key = PrivateKeySigner::random_with(&mut OsRng);
    store(path, password, &key)?;
    Ok(key)
}

/// Encrypts `key` into a new file of mode 0600. An existing file is never touched, and a crash leaves no half-written one.
pub fn store(path: &Path, password: &Password, key: &PrivateKeySigner) -> Result<(), KeystoreError> {
    let parent = parent_of(path);
    // The encryption writes the file by itself, with whatever mode the umask gives, so it does that out of sight.
    let scratch = parent.join(format!(".keystore-{}", hex::encode(fresh_bytes())));
    fs::DirBuilder::new().mode(0o700).create(&scratch).map_err(failed("create", &scratch))?;
    let result = store_by(&scratch, path, password, key);
    let _ = fs::remove_dir_all(&scratch);
    result
}

fn store_by(scratch: &Path, path: &Path, password: &Password, key: &PrivateKeySigner) -> Result<(), KeystoreError> {
    const NAME: &str = "key";
    let secret = Zeroizing::new(key.to_bytes().0);
    PrivateKeySigner::encrypt_keystore(scratch, &mut OsRng, secret.as_slice(), password.0.as_bytes(), Some(NAME))
        .map_err(KeystoreError::Encrypt)?;
    let written = scratch.join(NAME);
    fs::set_permissions(&written, fs::Permissions::from_mode(0o600)).map_err(failed("protect", &written))?;
    publish(&written, path)
}

/// Moves a finished file to its name, unless there is one.
fn publish(written: &Path, path: &Path) -> Result<(), KeystoreError> {
    fs::File::open(written).and_then(|file| file.sync_all()).map_err(failed("write", path))?;
    match fs::hard_link(written, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(KeystoreError::Exists(path.to_owned())),
        other => other.map_err(failed("create", path)),
    }?;
    let parent = parent_of(path);
    fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed("write", parent))
}

/// Decrypts a keystore file. Takes a tenth of a second or more: that is what scrypt is for.
pub fn load(path: &Path, password: &Password) -> Result<PrivateKeySigner, KeystoreError> {
    // Read by ourselves first: permissions and size are checked before anything parses it.
    let text = read_private(path)?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|_| KeystoreError::NotAKeystore(path.to_owned()))?;
    if json["version"] != 3 {
        return Err(KeystoreError::NotAKeystore(path.to_owned()));
    }
    PrivateKeySigner::decrypt_keystore(path, password.0.as_bytes()).map_err(|source| {
        if source.to_string().to_lowercase().contains("mac mismatch") {
            KeystoreError::WrongPassword(path.to_owned())
        } else {
            KeystoreError::Decrypt { path: path.to_owned(), source }
        }
    })
}

/// A key that everyone knows, of one of the accounts that have money on the embedded chain; for that chain only, where money
/// is worth nothing and a demonstration should not ask for a password.
pub fn dev_key(index: usize, chain_id: u64) -> Result<PrivateKeySigner, KeystoreError> {
    if chain_id != dev::CHAIN_ID {
        return Err(KeystoreError::NotTheDevChain(chain_id));
    }
    dev::accounts().into_iter().nth(index).ok_or(KeystoreError::NoDevAccount(index))
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, KeystoreError> {
    let metadata = fs::metadata(path).map_err(failed("read", path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeystoreError::Exposed { path: path.to_owned(), mode });
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(KeystoreError::NotAKeystore(path.to_owned()));
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(failed("read", path))
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn fresh_bytes() -> [u8; 8] {
    let mut bytes = [0; 8];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeystoreError {
    let path = path.to_owned();
    move |source| KeystoreError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};

    use super::*;

    fn write_private(path: &Path, text: &str) -> io::Result<()> {
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
    }

    #[test]
    fn a_key_survives_the_round_trip_in_a_file_of_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("oracle.json");
        let password = Password::new("grist".into());
        let key = create(&path, &password).unwrap();
        assert_eq!(load(&path, &password).unwrap().address(), key.address());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
        assert!(matches!(load(&path, &Password::new("mill".into())), Err(KeystoreError::WrongPassword(_))));
        assert!(matches!(create(&path, &password), Err(KeystoreError::Exists(_))));
        assert_eq!(load(&path, &password).unwrap().address(), key.address());
    }

    #[test]
    fn files_that_others_may_read_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        write_private(&path, "grist\nnot this\n").unwrap();
        assert_eq!(Password::read(&path).unwrap().0.as_str(), "grist");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Password::read(&path), Err(KeystoreError::Exposed { mode: 0o640, .. })));
    }

    #[test]
    fn what_is_no_keystore_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let password = Password::new("grist".into());
        assert!(load(&path, &password).unwrap_err().is_missing());
        for text in ["", "{}", "{\"version\":4}", "0x1234"] {
            let _ = fs::remove_file(&path);
            write_private(&path, text).unwrap();
            assert!(matches!(load(&path, &password), Err(KeystoreError::NotAKeystore(_))), "{text}");
        }
    }

    #[test]
    fn known_keys_are_for_the_development_chain() {
        assert_eq!(dev_key(3, dev::CHAIN_ID).unwrap(), dev::accounts()[3]);
        assert!(matches!(dev_key(3, 1), Err(KeystoreError::NotTheDevChain(1))));
        assert!(matches!(dev_key(10_000, dev::CHAIN_ID), Err(KeystoreError::NoDevAccount(10_000))));
    }

    #[test]
    fn a_password_is_not_printed() {
        assert!(!format!("{:?}", Password::new("grist".into())).contains("grist"));
    }
}
