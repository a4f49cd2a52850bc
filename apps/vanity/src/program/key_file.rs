//! Secret keys on disk: readable by their owner only, never overwritten.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};
use vanity::SecretKey;
use zeroize::Zeroizing;

/// Writes the key as WIF to a new file with mode 0600.
pub(super) fn write(path: &Path, key: &SecretKey) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).with_context(|| format!("cannot create the key file {}", path.display()))?;
    file.write_all(key.to_wif().as_bytes())
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
