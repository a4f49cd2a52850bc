//! Secret keys on disk: readable by their owner only, never overwritten.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::Path,
};

use anyhow::{Context, Error, Result};
use vanity::{AddressKind, SecretKey};
use zeroize::Zeroizing;

use super::bad_argument;

/// Writes the key to a new file with mode 0600, as wallets for this kind of address import it.
pub(super) fn write(path: &Path, key: &SecretKey, kind: AddressKind) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => bad_argument(format!(
            "there is a key file {} already, and keys are never overwritten; choose another with --out",
            path.display()
        )),
        _ => Error::new(error).context(format!("cannot create the key file {}", path.display())),
    })?;
    file.write_all(key.to_import_text(kind).as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write the key file {}", path.display()))
}

/// Reads WIF or hex.
pub(super) fn read(path: &Path) -> Result<SecretKey> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the key file {}", path.display()))?;
    let text = Zeroizing::new(text);
    SecretKey::from_text(&text).with_context(|| format!("the key file {} is not a key", path.display()))
}
