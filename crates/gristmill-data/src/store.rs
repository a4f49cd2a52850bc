use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use gristmill_proto::digest::Digest;

/// Times that one blob may be on its way in at once.
const SIDES_MAX: usize = 8;

/// A folder of blobs. Cheap to clone: it holds only the path.
///
/// Layout: `blobs/ab/cdef…` for whole blobs (read-only, complete, never changed), `partial/` for what is on its way.
#[derive(Clone, Debug)]
pub struct BlobStore {
    dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("blob {digest} is not in the store")]
    Missing { digest: Digest },
    #[error("blob {expected} arrived with other bytes: their digest is {actual}")]
    WrongDigest { expected: Digest, actual: Digest },
    #[error("blob is longer than the {size_max} bytes allowed")]
    TooLong { size_max: u64 },
    #[error("blob {digest} is already being received from {SIDES_MAX} sides")]
    Busy { digest: Digest },
    #[error("{doing} {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

fn io_error<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { doing, path: path.to_owned(), source }
}

impl BlobStore {
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self { dir: dir.into() };
        for part in [store.dir.join("blobs"), store.dir.join("partial")] {
            fs::create_dir_all(&part).map_err(io_error("cannot create", &part))?;
        }
        Ok(store)
    }

    /// Where a blob lies or would lie.
    fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.dir.join("blobs").join(&name[..2]).join(&name[2..])
    }

    pub fn contains(&self, digest: Digest) -> bool {
        self.path(digest).is_file()
    }

    pub fn open_blob(&self, digest: Digest) -> Result<(File, u64), StoreError> {
        let path = self.path(digest);
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing { digest },
            _ => io_error("cannot open", &path)(error),
        })?;
        let size = file.metadata().map_err(io_error("cannot read the size of", &path))?.len();
        Ok((file, size))
    }

    /// The whole blob in memory, its bytes checked against its name.
    pub fn read(&self, digest: Digest, size_max: u64) -> Result<Vec<u8>, StoreError> {
        let (file, size) = self.open_blob(digest)?;
        if size > size_max {
            return Err(StoreError::TooLong { size_max });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(size_max).read_to_end(&mut bytes).map_err(io_error("cannot read", &self.path(digest)))?;
        same_digest(digest, Digest::of(&bytes))?;
        Ok(bytes)
    }

    /// The path of a blob whose bytes have just been checked against its name. A blob that fails is dropped, so that
    /// it can be fetched anew.
    pub fn verified_path(&self, digest: Digest) -> Result<PathBuf, StoreError> {
        let (mut file, _) = self.open_blob(digest)?;
        let path = self.path(digest);
        let mut hasher = blake3::Hasher::new();
        io::copy(&mut file, &mut hasher).map_err(io_error("cannot read", &path))?;
        if let Err(error) = same_digest(digest, Digest(*hasher.finalize().as_bytes())) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(path)
    }

    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if !self.contains(digest) {
            let mut incoming = self.begin(digest, bytes.len() as u64)?;
            incoming.restart()?;
            incoming.write(bytes)?;
            incoming.finish()?;
        }
        Ok(digest)
    }

    /// Starts to take in a blob, or goes on where an earlier try of the same blob stopped.
    pub fn begin(&self, digest: Digest, size_max: u64) -> Result<Incoming, StoreError> {
        let (path, mut file) = self.open_partial(digest)?;
        let mut hasher = blake3::Hasher::new();
        let size = io::copy(&mut file, &mut hasher).map_err(io_error("cannot read", &path))?;
        let mut incoming = Incoming { store: self.clone(), digest, size_max, path, file, hasher, size };
        if size > size_max {
            incoming.restart()?;
        }
        Ok(incoming)
    }

    /// A partial file that nobody else is writing: the same blob may come from several sides at once.
    fn open_partial(&self, digest: Digest) -> Result<(PathBuf, File), StoreError> {
        for side in 0..SIDES_MAX {
            let path = self.dir.join("partial").join(format!("{digest}.{side}"));
            let file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .open(&path)
                .map_err(io_error("cannot open", &path))?;
            match file.try_lock() {
                // A file that was moved into place between our open and our lock is somebody's finished blob.
                Ok(()) if path.exists() => return Ok((path, file)),
                Ok(()) | Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(io_error("cannot lock", &path)(error)),
            }
        }
        Err(StoreError::Busy { digest })
    }
}

fn same_digest(expected: Digest, actual: Digest) -> Result<(), StoreError> {
    if expected == actual { Ok(()) } else { Err(StoreError::WrongDigest { expected, actual }) }
}

/// A blob on its way into the store. Dropping it keeps what has come so far.
pub struct Incoming {
    store: BlobStore,
    digest: Digest,
    size_max: u64,
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    size: u64,
}

impl Incoming {
    /// Bytes that are here already.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Forgets what has come so far.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        self.file.set_len(0).map_err(io_error("cannot truncate", &self.path))?;
        self.hasher.reset();
        self.size = 0;
        Ok(())
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.size += bytes.len() as u64;
        if self.size > self.size_max {
            let _ = fs::remove_file(&self.path);
            return Err(StoreError::TooLong { size_max: self.size_max });
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(io_error("cannot write", &self.path))
    }

    /// Makes the blob durable and visible, if its bytes are those its name promises.
    pub fn finish(self) -> Result<(), StoreError> {
        if let Err(error) = same_digest(self.digest, Digest(*self.hasher.finalize().as_bytes())) {
            let _ = fs::remove_file(&self.path);
            return Err(error);
        }
        self.file.sync_all().map_err(io_error("cannot flush", &self.path))?;
        let target = self.store.path(self.digest);
        let parent = target.parent().expect("a blob lies in a folder");
        fs::create_dir_all(parent).map_err(io_error("cannot create", parent))?;
        fs::rename(&self.path, &target).map_err(io_error("cannot move into place", &target))?;
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(io_error("cannot flush", parent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, BlobStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        (dir, store)
    }

    #[test]
    fn a_blob_comes_back_as_it_went_in() {
        let (_dir, store) = store();
        let digest = store.put(b"flour").unwrap();
        assert_eq!(store.read(digest, 5).unwrap(), b"flour");
        assert!(matches!(store.read(digest, 4), Err(StoreError::TooLong { size_max: 4 })));
        assert!(matches!(store.read(Digest::of(b"x"), 9), Err(StoreError::Missing { .. })));
    }

    #[test]
    fn an_interrupted_blob_goes_on_where_it_stopped() {
        let (_dir, store) = store();
        let digest = Digest::of(b"flour");
        store.begin(digest, 5).unwrap().write(b"flo").unwrap();
        assert!(!store.contains(digest));
        let mut incoming = store.begin(digest, 5).unwrap();
        assert_eq!(incoming.size(), 3);
        incoming.write(b"ur").unwrap();
        incoming.finish().unwrap();
        assert_eq!(store.read(digest, 5).unwrap(), b"flour");
    }

    #[test]
    fn two_sides_may_send_the_same_blob_at_once() {
        let (_dir, store) = store();
        let digest = Digest::of(b"flour");
        let mut first = store.begin(digest, 5).unwrap();
        let mut second = store.begin(digest, 5).unwrap();
        first.write(b"flo").unwrap();
        second.write(b"flour").unwrap();
        first.write(b"ur").unwrap();
        second.finish().unwrap();
        first.finish().unwrap();
        assert_eq!(store.read(digest, 5).unwrap(), b"flour");
    }

    #[test]
    fn other_bytes_never_take_a_blobs_name() {
        let (_dir, store) = store();
        let digest = Digest::of(b"flour");
        let mut incoming = store.begin(digest, 100).unwrap();
        incoming.write(b"chalk").unwrap();
        assert!(matches!(incoming.finish(), Err(StoreError::WrongDigest { .. })));
        assert!(!store.contains(digest));
        assert_eq!(store.begin(digest, 100).unwrap().size(), 0);
    }

    #[test]
    fn a_blob_that_rotted_on_disk_is_noticed_and_dropped() {
        let (_dir, store) = store();
        let digest = store.put(b"flour").unwrap();
        fs::write(store.path(digest), b"mould").unwrap();
        assert!(matches!(store.read(digest, 9), Err(StoreError::WrongDigest { .. })));
        assert!(matches!(store.verified_path(digest), Err(StoreError::WrongDigest { .. })));
        assert!(!store.contains(digest));
    }

    #[test]
    fn a_blob_longer_than_agreed_is_refused() {
        let (_dir, store) = store();
        let mut incoming = store.begin(Digest::of(b"flour"), 4).unwrap();
        assert!(matches!(incoming.write(b"flour"), Err(StoreError::TooLong { size_max: 4 })));
    }
}
