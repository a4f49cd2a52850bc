//! Where the parts of an image come from. Whatever the place says, a part is what its digest names.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use gristmill_proto::app::OciDigest;
use sha2::{Digest as _, Sha256};

use super::registry::{Registries, RegistryError};

/// Entries of a layout's archive.
const LAYOUT_ENTRIES_MAX: usize = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("{0} is not in the archive or among the blobs that the app names")]
    NotThere(OciDigest),
    #[error("what came for {wanted} is {found}")]
    Other { wanted: OciDigest, found: OciDigest },
    #[error("{digest} is longer than {size_max} bytes")]
    TooLong { digest: OciDigest, size_max: u64 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where one image's parts are.
pub enum Place {
    /// `registry.example/name`
    Registry(String),
    Parts(Parts),
}

/// Parts that are on this machine: a file, from where in it on, and how long.
#[derive(Debug, Default)]
pub struct Parts(HashMap<OciDigest, (PathBuf, u64, u64)>);

impl Parts {
    pub fn add(&mut self, digest: OciDigest, file: PathBuf) -> io::Result<()> {
        let size = file.metadata()?.len();
        self.0.insert(digest, (file, 0, size));
        Ok(())
    }

    /// A tar archive of an OCI layout.
    pub fn of_layout(archive: &Path) -> io::Result<Self> {
        let mut parts = Self::default();
        let mut tar = tar::Archive::new(File::open(archive)?);
        for entry in tar.entries_with_seek()?.take(LAYOUT_ENTRIES_MAX) {
            let entry = entry?;
            let path = entry.path_bytes();
            let name = std::str::from_utf8(&path).unwrap_or_default().trim_start_matches("./");
            let digest = name.strip_prefix("blobs/sha256/").and_then(|hex| format!("sha256:{hex}").parse().ok());
            if let (Some(digest), true) = (digest, entry.header().entry_type().is_file()) {
                parts.0.insert(digest, (archive.to_owned(), entry.raw_file_position(), entry.size()));
            }
        }
        Ok(parts)
    }

    fn copy(&self, digest: OciDigest, size_max: u64, to: &mut Checked) -> Result<(), FetchError> {
        let (path, start, size) = self.0.get(&digest).ok_or(FetchError::NotThere(digest))?;
        if *size > size_max {
            return Err(FetchError::TooLong { digest, size_max });
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(*start))?;
        let mut chunk = vec![0; 1 << 16];
        let mut part = file.take(*size);
        while let read @ 1.. = part.read(&mut chunk)? {
            to.write(&chunk[..read])?;
        }
        Ok(())
    }
}

impl Place {
    /// Writes a part to a file, which is removed again if it is another.
    pub(super) async fn fetch(
        &self,
        registries: &Registries,
        digest: OciDigest,
        kind: Kind,
        size_max: u64,
        path: &Path,
    ) -> Result<(), FetchError> {
        let mut to = Checked::create(path, digest, size_max)?;
        let written = match self {
            Self::Registry(name) => registries.fetch(name, digest, kind, &mut to).await,
            Self::Parts(parts) => parts.copy(digest, size_max, &mut to),
        };
        written.and_then(|()| to.finish()).inspect_err(|_| drop(std::fs::remove_file(path)))
    }
}

/// Registries keep the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Manifest,
    Blob,
}

/// A file that knows what it must become.
pub(super) struct Checked {
    file: File,
    hasher: Sha256,
    digest: OciDigest,
    size: u64,
    size_max: u64,
}

impl Checked {
    fn create(path: &Path, digest: OciDigest, size_max: u64) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, hasher: Sha256::new(), digest, size: 0, size_max })
    }

    /// Begins anew, for another try.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        (self.hasher, self.size) = (Sha256::new(), 0);
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.size += bytes.len() as u64;
        if self.size > self.size_max {
            return Err(FetchError::TooLong { digest: self.digest, size_max: self.size_max });
        }
        self.hasher.update(bytes);
        Ok(self.file.write_all(bytes)?)
    }

    fn finish(self) -> Result<(), FetchError> {
        let found = OciDigest(self.hasher.finalize().into());
        if found == self.digest { Ok(()) } else { Err(FetchError::Other { wanted: self.digest, found }) }
    }
}
